//! Values that were looked at before, in this transaction or an earlier one, and the hits they had.
//!
//! Names of header fields and arguments, media types, user agents and small numbers come with almost
//! every request, and looking at them again finds the same again. A hit whose operator then does not
//! match is no hit the next time. Deliberately not here: looking (`screen`), and asking (`run`).
//!
//! INVARIANT: the hits of a value that no description proves depend on the program, the kind of value
//! and its bytes, and on nothing else; so does what an operator without macros says of it; and all
//! bytes are compared. A client that sends values which drive others out makes them be looked at, as
//! they would be without this.

use super::{
    screen::Hit,
    values::{Bucket, State},
};

/// Values that are known at a time: 90 KB.
const ENTRIES: usize = 512;
/// Longer ones are seldom the same.
const LONGEST: usize = 120;
/// Values with more hits are not kept.
const MOST_HITS: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Made when the first value is kept.
    entries: Box<[Entry]>,
    program: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    /// It was asked for since another value wanted its place.
    is_wanted: bool,
    length: u8,
    hits: u8,
    found: [(u16, bool); MOST_HITS],
    text: [u8; LONGEST],
}

/// What besides its bytes decides what is found in a value: the program, the bucket, and the number
/// of the field.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Key {
    program: u64,
    place: u64,
}

/// Where a value is, if it is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot(usize);

impl Known {
    /// Serves a transaction of this program from now on.
    pub(super) fn serve(&mut self, program: u64) {
        self.program = program;
    }

    /// The key of a value at a place.
    pub(super) fn key_of(&self, state: &State, bucket: Bucket, index: usize) -> Key {
        let is_field = matches!(bucket, Bucket::Field | Bucket::AnswerField);
        let field = is_field.then(|| state.field_number(bucket, index));
        self.key(bucket, field.unwrap_or_default())
    }

    fn key(&self, bucket: Bucket, field: u16) -> Key {
        let bucket = u64::try_from(bucket.index()).unwrap_or(u64::MAX);
        Key {
            program: self.program,
            place: bucket << 16 | u64::from(field),
        }
    }

    /// Where a value belongs, unless it is too long or nothing is to be known.
    pub(super) fn slot(key: Key, text: &[u8]) -> Option<Slot> {
        if text.len() > LONGEST || key.program == 0 {
            return None;
        }
        let length = u64::try_from(text.len()).unwrap_or_default();
        let start = key.program ^ key.place << 32 ^ length << 24;
        let (pairs, rest) = text.as_chunks::<16>();
        let mixed = pairs.iter().fold(start, |mixed, pair| {
            let (first, second) = ends(pair);
            fold(mixed ^ first, second)
        });
        // What is left, or of a longer text its end.
        let (first, second) = ends(text.last_chunk::<16>().map_or(rest, |last| last));
        let mixed = fold(mixed ^ first, second);
        Some(Slot(
            usize::try_from(mixed >> 32).unwrap_or_default() % ENTRIES,
        ))
    }

    /// The hits of a value, if it is known: the tests, and whether a chain changes the value.
    #[inline]
    pub(super) fn hits(&mut self, slot: Slot, key: Key, text: &[u8]) -> Option<&[(u16, bool)]> {
        let entry = self.entries.get_mut(slot.0)?;
        if !entry.is(key, text) {
            return None;
        }
        entry.is_wanted = true;
        entry.found.get(..usize::from(entry.hits))
    }

    /// Forgets a hit of a value: the test's operator was asked about it, and it does not match.
    pub(super) fn refute(&mut self, key: Key, text: &[u8], test: u16) {
        let slot = Self::slot(key, text);
        let entry = slot.and_then(|slot| self.entries.get_mut(slot.0));
        let Some(entry) = entry.filter(|entry| entry.is(key, text)) else {
            return;
        };
        let found = entry.found.get_mut(..usize::from(entry.hits));
        let found = found.unwrap_or_default();
        let Some(at) = found.iter().position(|(of, _)| *of == test) else {
            return;
        };
        if let Some((last, others)) = found.split_last_mut() {
            if let Some(other) = others.get_mut(at) {
                std::mem::swap(other, last);
            }
            entry.hits -= 1;
        }
    }

    /// Keeps the hits of a value, if there are few, unless the value in its place is asked for more.
    pub(super) fn keep(&mut self, slot: Slot, key: Key, text: &[u8], hits: &[Hit]) {
        if hits.len() > MOST_HITS {
            return;
        }
        if self.entries.is_empty() {
            self.entries = vec![Entry::EMPTY; ENTRIES].into();
        }
        let Some(entry) = self.entries.get_mut(slot.0) else {
            return;
        };
        if entry.is_wanted {
            entry.is_wanted = false;
            return;
        }
        let (Some(own), Ok(length)) = (entry.text.get_mut(..text.len()), u8::try_from(text.len()))
        else {
            return;
        };
        own.copy_from_slice(text);
        entry.length = length;
        entry.key = key;
        entry.hits = 0;
        for (found, hit) in entry.found.iter_mut().zip(hits) {
            *found = (hit.test(), hit.is_changed());
            entry.hits += 1;
        }
    }
}

/// The first and the last eight bytes, or what there is of them.
#[inline]
fn ends(text: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        let [first, last] = [first, last].map(|four| u64::from(u32::from_le_bytes(*four)));
        return (first, last);
    }
    let bytes = text.iter();
    let number = bytes.fold(0, |number, byte| number << 8 | u64::from(*byte));
    (number, 0)
}

/// Mixes two numbers.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    let one = one ^ 0x9E37_79B9_7F4A_7C15;
    let product = u128::from(one) * u128::from(other ^ 0xD1B5_4A32_D192_ED03);
    let half = |half: u128| u64::try_from(half & u128::from(u64::MAX)).unwrap_or_default();
    half(product) ^ half(product >> 64)
}

impl Entry {
    #[inline]
    fn is(&self, key: Key, text: &[u8]) -> bool {
        let own = self.text.get(..usize::from(self.length));
        self.key == key && own == Some(text)
    }

    const EMPTY: Self = Self {
        key: Key {
            program: 0,
            place: 0,
        },
        is_wanted: false,
        length: 0,
        hits: 0,
        found: [(0, false); MOST_HITS],
        text: [0; LONGEST],
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let mut known = Known::default();
        known.serve(1);
        known
    }

    #[test]
    fn only_the_same_value_at_the_same_place_of_the_same_program_is_known() {
        let mut known = known();
        let key = known.key(Bucket::Field, 3);
        let text = b"application/json";
        let slot = Known::slot(key, text).unwrap();
        assert_eq!(known.hits(slot, key, text), None);
        let hits = [Hit::new(7, Bucket::Field, 0, true)];
        known.keep(slot, key, text, &hits);
        assert_eq!(known.hits(slot, key, text), Some(&[(7, true)][..]));
        // Whatever has the same slot is compared.
        assert_eq!(known.hits(slot, key, b"application/jsoN"), None);
        assert_eq!(known.hits(slot, key, b"application/jso"), None);
        assert_eq!(known.hits(slot, key, b""), None);
        let other = known.key(Bucket::Field, 4);
        assert_eq!(known.hits(slot, other, text), None);
        let other = known.key(Bucket::Query, 3);
        assert_eq!(known.hits(slot, other, text), None);
        known.serve(2);
        let other = known.key(Bucket::Field, 3);
        assert_eq!(known.hits(slot, other, text), None);
    }

    #[test]
    fn a_refuted_hit_is_none_the_next_time() {
        let mut known = known();
        let key = known.key(Bucket::Field, 3);
        let hits = [4, 7, 9].map(|test| Hit::new(test, Bucket::Field, 0, false));
        let slot = Known::slot(key, b"value").unwrap();
        known.keep(slot, key, b"value", &hits);
        known.refute(key, b"valuE", 7);
        known.refute(key, b"value", 8);
        assert_eq!(known.hits(slot, key, b"value").map(<[_]>::len), Some(3));
        for (test, left) in [(4, &[9, 7][..]), (7, &[9]), (9, &[]), (9, &[])] {
            known.refute(key, b"value", test);
            let tests = known.hits(slot, key, b"value").unwrap().iter();
            assert_eq!(tests.map(|(test, _)| *test).collect::<Vec<_>>(), left);
        }
    }

    #[test]
    fn a_value_that_is_asked_for_outlives_one_that_is_not() {
        let mut known = known();
        let key = known.key(Bucket::Field, 3);
        let slot = Known::slot(key, b"often").unwrap();
        known.keep(slot, key, b"often", &[]);
        for _ in 0..3 {
            assert!(known.hits(slot, key, b"often").is_some());
            known.keep(slot, key, b"once", &[]);
        }
        assert!(known.hits(slot, key, b"often").is_some());
        known.keep(slot, key, b"twice", &[]);
        known.keep(slot, key, b"twice", &[]);
        assert!(known.hits(slot, key, b"often").is_none());
        assert!(known.hits(slot, key, b"twice").is_some());
    }

    #[test]
    fn a_program_without_a_number_knows_nothing() {
        let mut known = known();
        known.serve(0);
        let key = known.key(Bucket::Field, 3);
        assert!(Known::slot(key, b"value").is_none());
    }

    #[test]
    fn long_values_and_many_hits_are_not_kept() {
        let mut known = known();
        let key = known.key(Bucket::Query, 0);
        assert!(Known::slot(key, &[b'a'; LONGEST + 1]).is_none());
        let text = [b'a'; LONGEST];
        let slot = Known::slot(key, &text).unwrap();
        let hits = [Hit::new(1, Bucket::Query, 0, false); MOST_HITS + 1];
        known.keep(slot, key, &text, &hits);
        assert_eq!(known.hits(slot, key, &text), None);
        known.keep(slot, key, &text, &hits[1..]);
        assert_eq!(
            known.hits(slot, key, &text).map(<[_]>::len),
            Some(MOST_HITS)
        );
    }
}
