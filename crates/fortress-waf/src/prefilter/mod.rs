//! Which of many tests can match a text, so that the others need not be asked.
//!
//! A test is a regular expression, a list of phrases or a set of bytes. From each, when rules are
//! loaded, a *condition* is read that every text it matches fulfils; for each text those tests are
//! kept whose condition holds. Nothing here decides that a test matches, and nothing here knows
//! rules, targets or transformations.
//!
//! # Why no match is lost
//!
//! Every step says less than the one before, never more:
//!
//! 1. *From the pattern to its condition* (`need`). By induction over the tree: a literal must occur,
//!    a class demands one of its bytes. A sequence demands what each of its parts demands, and
//!    strings of neighbours join, since nothing stands between them; what may stand beside a string
//!    is the union over everything that the tree allows there, skipped parts included. A choice
//!    demands "this of one branch *or* that of the other", made of one demand of each branch; a
//!    branch without demands leaves none to the choice. A part that may be left out demands nothing;
//!    one that is repeated demands what one round does. An assertion restricts the neighbours of the
//!    empty string. Whatever exceeds a bound is dropped from an "and", or replaced by a beginning or
//!    an end of itself, which occurs wherever the whole does.
//! 2. *Case*. Strings and sets of neighbours are folded, texts are folded while they are read, and
//!    the groups of an alphabet do not tell case apart. So a condition that takes case into account
//!    implies the one that is asked, and the answer is the same for a text in any ASCII case.
//! 3. *Groups* (`alphabet`). A byte of a set occurs only if its group is in the text's alphabet. A
//!    test goes when one of its masks does not meet the alphabet.
//! 4. *Gates*. "One of these strings, or a byte of these groups" holds if the alphabet meets the
//!    groups (step 3) or the scanner finds one of the strings between neighbours that are allowed. A
//!    test goes when one of its gates does not hold.
//! 5. *Everyday texts* (`prune`). A text has a byte that was cut out of the pattern, or matches what
//!    is left of it: the condition of what is left holds, or a byte of those groups occurs.
//! 6. *The scanner* (`scan`) finds every string: a string lies under its gram, whose bit is set, whose
//!    bucket has the string; every position of the text is looked at.
//! 7. *Judges*. A test that another says for which bytes it can match (libinjection) is judged by all
//!    bytes of the text's groups: more bytes only ever make it more likely.
//! 8. *Length*. A match of a pattern has as many bytes as its shortest string at least.
//! 9. *The memory of alphabets* holds what steps 3 and 7 gave for exactly this alphabet and these
//!    tests.

mod alphabet;
mod need;
mod pieces;
mod prune;
mod rarity;
mod scan;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use regex_syntax::hir::Hir;

pub(crate) use self::alphabet::Alphabet;
use self::{
    need::Condition,
    pieces::Piece,
    scan::{Scanner, Strings},
};
use crate::{
    ByteSet,
    bits::{Bits, each},
};

/// Gates that a pattern has at most, besides those of what is left of it in everyday texts. A third
/// keeps out next to nothing that two let pass, and every gate brings strings to look for.
const PLANES: usize = 2;

/// Texts shorter than this are asked whether they are long enough.
const SHORT: usize = 16;

/// What it costs to ask one test about a text besides its bytes, and to look at one byte for all
/// strings, in the time that a test takes for a byte.
const ASKING: u64 = 64;
const LOOKING: u64 = 3;

/// Tests that are asked for their demands one by one: what is made by decoding has an alphabet that
/// nobody remembers, and few tests look at it.
const FEW: u32 = 8;

/// Alphabets that a thread remembers. Benign traffic has some tens; an attacker who makes up more
/// costs the time of working them out, which is that of a few hundred bytes of text.
const REMEMBERED: usize = 512;
/// Places of the memory that an alphabet may have: with one alone, two that everyday requests have
/// would drive each other out for ever.
const WAYS: usize = 4;
const SETS: usize = REMEMBERED / WAYS;

/// Says whether a text of these bytes alone could match.
pub(crate) type Judge = fn(&ByteSet) -> bool;

/// Collects tests.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    conditions: Vec<Condition>,
    /// How long a text must be for each test.
    least: Vec<usize>,
    judged: Vec<(Judge, usize)>,
}

impl Builder {
    /// A regular expression (without Unicode, see `pattern`); gives the test's number: 0, 1, 2 …
    pub(crate) fn regex(&mut self, hir: &Hir) -> usize {
        let mut condition = Condition::of_regex(hir);
        let mut before: Option<(Option<Hir>, Alphabet)> = None;
        for kept in [prune::NAMES, prune::TEXTS] {
            let pruned = prune::prune(hir, kept);
            // Nothing was cut out, or the same as before: the condition is known.
            if pruned.1 == Alphabet::default() || before.as_ref() == Some(&pruned) {
                continue;
            }
            let (left, cut) = &*before.insert(pruned);
            // Each demand of what is left, or a byte that was cut out.
            let Some(left) = left else {
                condition.groups.push(*cut);
                continue;
            };
            let left = Condition::of_regex(left);
            let groups = left.groups.into_iter().map(|mask| mask.union(*cut));
            condition.groups.extend(groups);
            let gates = left.gates.into_iter().take(1);
            let gates = gates.map(|(pieces, groups)| (pieces, groups.union(*cut)));
            condition.gates.extend(gates);
        }
        let least = hir.properties().minimum_len();
        self.add(condition, least.unwrap_or_default())
    }

    /// One of these phrases occurs, in any ASCII case. An empty list never matches, an empty phrase
    /// always does.
    pub(crate) fn phrases<'a>(&mut self, phrases: impl Iterator<Item = &'a [u8]>) -> usize {
        let pieces: Vec<Piece> = phrases.map(Piece::new).collect();
        let least = pieces.iter().map(|piece| piece.bytes.len()).min();
        let condition = Condition::of_phrases(pieces.into_iter());
        self.add(condition, least.unwrap_or_default())
    }

    /// A byte of this set occurs.
    pub(crate) fn bytes(&mut self, set: ByteSet) -> usize {
        let condition = Condition {
            gates: Vec::new(),
            groups: vec![Alphabet::mask(set)],
        };
        self.add(condition, 1)
    }

    /// What says itself for which bytes it can match.
    pub(crate) fn judged(&mut self, judge: Judge) -> usize {
        let test = self.add(Condition::default(), 0);
        self.judged.push((judge, test));
        test
    }

    fn add(&mut self, condition: Condition, least: usize) -> usize {
        self.conditions.push(condition);
        self.least.push(least);
        self.conditions.len() - 1
    }

    /// The prefilter of these tests.
    pub(crate) fn build(self) -> Prefilter {
        // Scratch memories tell prefilters apart by it; 0 is nobody's.
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let tests = self.conditions.len();
        let mut every = Bits::new(tests);
        every.fill(true);
        let width = every.words().len();
        let short = (0..SHORT).map(|length| {
            let mut possible = Bits::new(tests);
            let least = self.least.iter().enumerate();
            for (test, _) in least.filter(|(_, least)| **least <= length) {
                possible.set(test);
            }
            possible
        });
        let short = short.collect();
        let planes = self
            .conditions
            .iter()
            .map(|condition| condition.gates.len());
        let planes = planes.max().unwrap_or_default();
        let mut absent: Vec<u64> = (0..planes).flat_map(|_| every.words()).copied().collect();
        let mut demands = BTreeMap::<Alphabet, Vec<usize>>::new();
        let mut own = Vec::with_capacity(tests);
        let mut unjudged = every.clone();
        for (_, test) in &self.judged {
            Flag::new(0, *test).clear(unjudged.words_mut());
        }
        let mut gates = Vec::new();
        let mut strings = Strings::default();
        for (test, condition) in self.conditions.into_iter().enumerate() {
            for mask in &condition.groups {
                demands.entry(*mask).or_default().push(test);
            }
            own.push(condition.groups.into());
            for (plane, (pieces, groups)) in condition.gates.into_iter().enumerate() {
                let flag = Flag::new(plane * width, test);
                flag.clear(&mut absent);
                if groups != Alphabet::default() {
                    gates.push((groups, flag));
                }
                for piece in &pieces.0 {
                    strings.add(piece, flag);
                }
            }
        }
        Prefilter {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            tests,
            every,
            short,
            absent,
            demands: demands.into_iter().collect(),
            own,
            judged: self.judged,
            unjudged,
            gates,
            scanner: Scanner::new(strings),
        }
    }
}

fn is_few(tests: &Bits) -> bool {
    let words = tests.words().iter();
    words.map(|word| word.count_ones()).sum::<u32>() <= FEW
}

fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// One bit of the planes, or several of one word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Flag {
    word: usize,
    bit: u64,
}

impl Flag {
    fn new(plane: usize, test: usize) -> Self {
        Self {
            word: plane + test / 64,
            bit: 1 << (test % 64),
        }
    }

    #[inline]
    fn set(self, planes: &mut [u64]) {
        if let Some(word) = planes.get_mut(self.word) {
            *word |= self.bit;
        }
    }

    fn clear(self, planes: &mut [u64]) {
        if let Some(word) = planes.get_mut(self.word) {
            *word &= !self.bit;
        }
    }
}

/// The tests' conditions, ready to be asked.
#[derive(Debug)]
pub(crate) struct Prefilter {
    number: u64,
    tests: usize,
    every: Bits,
    /// The tests that a text of each length can match.
    short: Vec<Bits>,
    /// The planes, one after the other, each a set of tests: plane 0 says whose first gate holds.
    /// Here the gates that tests do not have, which hold always.
    absent: Vec<u64>,
    /// The tests that demand a byte of these groups.
    demands: Vec<(Alphabet, Vec<usize>)>,
    /// The same by test.
    own: Vec<Box<[Alphabet]>>,
    judged: Vec<(Judge, usize)>,
    /// The tests that nobody judges.
    unjudged: Bits,
    /// The gates that a byte of these groups opens.
    gates: Vec<(Alphabet, Flag)>,
    scanner: Scanner,
}

impl Prefilter {
    /// How many tests there are.
    pub(crate) fn tests(&self) -> usize {
        self.tests
    }

    /// Keeps in `candidates`, of which there may be [`Self::tests`], those that can match a text.
    /// `alphabet` is [`Alphabet::of`] the text.
    pub(crate) fn narrow(
        &self,
        text: &[u8],
        alphabet: Alphabet,
        candidates: &mut Bits,
        scratch: &mut Scratch,
    ) {
        if let Some(possible) = self.short.get(text.len()) {
            each(candidates.words_mut(), possible.words(), |own, possible| {
                own & possible
            });
            if candidates.words().iter().fold(0, |any, word| any | word) == 0 {
                return;
            }
        }
        if is_few(candidates) && !self.can_any(candidates, alphabet) {
            candidates.fill(false);
            return;
        }
        let width = self.every.words().len();
        let (row, planes) = scratch.row(self, alphabet);
        let (possible, row) = row.split_at_checked(width).unwrap_or_default();
        let (open, gates) = row.split_at_checked(width).unwrap_or_default();
        each(candidates.words_mut(), possible, |own, possible| {
            own & possible
        });
        let words = candidates.words().iter().zip(open);
        if words.fold(0, |waiting, (word, open)| waiting | word & !open) == 0 {
            return;
        }
        // Where few are left, asking them costs less than looking for their strings.
        let length = widen(text.len());
        if ASKING + length < length * LOOKING {
            let left = candidates.words().iter().zip(open);
            let left: u32 = left.map(|(word, open)| (word & !open).count_ones()).sum();
            if u64::from(left) * (ASKING + length) < length * LOOKING {
                return;
            }
        }
        planes.copy_from_slice(gates);
        self.scanner.scan(text, planes);
        for (at, word) in candidates.words_mut().iter_mut().enumerate() {
            let mut place = at;
            while *word != 0
                && let Some(held) = planes.get(place)
            {
                *word &= held;
                place += width;
            }
        }
    }

    /// Whether one of these tests could match a text whose alphabet is this one or a part of it: more
    /// groups only ever leave more tests.
    pub(crate) fn leaves(&self, tests: &Bits, alphabet: Alphabet, scratch: &mut Scratch) -> bool {
        if is_few(tests) {
            return self.can_any(tests, alphabet);
        }
        let (row, _) = scratch.row(self, alphabet);
        let mut words = tests.words().iter().zip(row);
        words.any(|(word, possible)| word & possible != 0)
    }

    /// Whether one of these tests can match a text of this alphabet, without the memory.
    fn can_any(&self, tests: &Bits, alphabet: Alphabet) -> bool {
        tests.iter_ones().any(|test| {
            let mut demands = self.own.get(test).into_iter().flatten();
            if !demands.all(|groups| alphabet.intersects(*groups)) {
                return false;
            }
            if self.unjudged.contains(test) {
                return true;
            }
            let bytes = alphabet.bytes();
            let mut judges = self.judged.iter().filter(|(_, of)| *of == test);
            judges.all(|(judge, _)| judge(&bytes))
        })
    }

    /// Bytes of memory that it holds.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        let demands = self
            .demands
            .iter()
            .map(|(_, tests)| size_of_val(tests.as_slice()));
        size_of::<Self>()
            + size_of_val(self.every.words())
            + SHORT * size_of_val(self.every.words())
            + size_of_val(self.absent.as_slice())
            + size_of_val(self.demands.as_slice())
            + demands.sum::<usize>()
            + self
                .own
                .iter()
                .map(|own| size_of_val(&**own) + size_of_val(own))
                .sum::<usize>()
            + size_of_val(self.unjudged.words())
            + size_of_val(self.gates.as_slice())
            + self.scanner.memory()
    }

    #[cfg(test)]
    fn describe(&self) -> String {
        let demands: usize = self.demands.iter().map(|(_, tests)| tests.len()).sum();
        format!(
            "{} masks for {demands} demands, {} gates with groups; {}",
            self.demands.len(),
            self.gates.len(),
            self.scanner.describe()
        )
    }

    /// The words of a row: the tests that an alphabet leaves, those of them whose gates all hold
    /// whatever the strings, and the planes.
    fn row_length(&self) -> usize {
        2 * self.every.words().len() + self.absent.len()
    }

    fn work_out(&self, alphabet: Alphabet, row: &mut [u64]) {
        let width = self.every.words().len();
        let (possible, row) = row.split_at_mut_checked(width).unwrap_or_default();
        let (open, planes) = row.split_at_mut_checked(width).unwrap_or_default();
        possible.copy_from_slice(self.every.words());
        for (groups, tests) in &self.demands {
            if !alphabet.intersects(*groups) {
                for &test in tests {
                    Flag::new(0, test).clear(possible);
                }
            }
        }
        let bytes = alphabet.bytes();
        for (judge, test) in &self.judged {
            if !judge(&bytes) {
                Flag::new(0, *test).clear(possible);
            }
        }
        planes.copy_from_slice(&self.absent);
        for (groups, flag) in &self.gates {
            if alphabet.intersects(*groups) {
                flag.set(planes);
            }
        }
        open.copy_from_slice(self.every.words());
        for plane in planes.chunks_exact(width.max(1)) {
            for (open, held) in open.iter_mut().zip(plane) {
                *open &= held;
            }
        }
    }
}

/// A thread's memory: what alphabets gave, and room to work. Any prefilter may use it.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Whose row it is: the prefilter's number and the alphabet.
    owners: Vec<[(u64, Alphabet); WAYS]>,
    rows: Vec<u64>,
    /// The words from one row to the next: those of the longest so far.
    stride: usize,
    planes: Vec<u64>,
    /// Which of its places the next alphabet takes: any will do.
    turn: usize,
}

impl Scratch {
    /// The row of an alphabet, and planes to write to.
    fn row(&mut self, prefilter: &Prefilter, alphabet: Alphabet) -> (&[u64], &mut [u64]) {
        let length = prefilter.row_length();
        if length > self.stride || self.owners.is_empty() {
            self.stride = length;
            self.owners = vec![[(0, Alphabet::default()); WAYS]; SETS];
            self.rows = vec![0; SETS * WAYS * length];
            self.planes = vec![0; length];
        }
        let set = alphabet.slot(prefilter.number) % SETS;
        let owner = (prefilter.number, alphabet);
        let mut nobody = [(0, Alphabet::default()); WAYS];
        let owners = self.owners.get_mut(set).unwrap_or(&mut nobody);
        let known = owners.iter().position(|known| *known == owner);
        let way = known.unwrap_or(self.turn % WAYS);
        let start = (set * WAYS + way) * self.stride;
        let row = self.rows.get_mut(start..start + length).unwrap_or_default();
        if known.is_none() {
            self.turn = self.turn.wrapping_add(1);
            if let Some(place) = owners.get_mut(way) {
                *place = owner;
            }
            prefilter.work_out(alphabet, row);
        }
        let planes = self.planes.get_mut(..prefilter.absent.len());
        (row, planes.unwrap_or_default())
    }
}
