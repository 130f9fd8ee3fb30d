//! Finds strings of a large set in texts, in any ASCII case, overlaps included.
//!
//! Each string is found by one of its *grams*: two or three bytes if it has no more, else the four of
//! it that are rarest in traffic. At each position of a text three small tables are asked for the
//! grams that end there, and for short ones, which are frequent, whether their neighbours fit one of
//! the strings. No step waits for the one before: that is what an automaton of these strings, with
//! megabytes of states, loses by. Only behind a gram that passes is a bucket of strings to compare.
//!
//! INVARIANT: neighbours are looked at by *classes* of bytes and tables are shared by what has the
//! same hash. Both may only let more through; comparing is exact.

use std::collections::{BTreeMap, HashMap};

use super::{
    Flag,
    pieces::{Edge, Piece},
    rarity,
};

/// The strings to find, and what to set where one is found between its neighbours.
#[derive(Debug, Default)]
pub(super) struct Strings(BTreeMap<Vec<u8>, Vec<(Edge, Edge, Flag)>>);

impl Strings {
    /// One more; of two bytes or more, in lower case.
    pub(super) fn add(&mut self, piece: &Piece, flag: Flag) {
        let found = (piece.before, piece.after, flag);
        self.0.entry(piece.bytes.clone()).or_default().push(found);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scanner {
    pairs: Box<[Sides; PAIRS]>,
    triples: Box<[Sides; TRIPLES]>,
    quads: Box<[u64; QUADS / 64]>,
    slots: Box<[Slot]>,
    anchors: Box<[Anchor]>,
    bytes: Box<[u8]>,
    outputs: Box<[Output]>,
    flags: Box<[Flag]>,
    edges: Box<[Edge]>,
}

/// Entries of the tables, which grams share by hashes.
const PAIRS: usize = 1 << 12;
const TRIPLES: usize = 1 << 12;
const QUADS: usize = 1 << 18;

/// The classes that may stand before and after a gram, as bits.
#[derive(Clone, Copy, Debug, Default)]
struct Sides {
    before: u64,
    after: u64,
}

impl Sides {
    fn add(&mut self, other: Self) {
        self.before |= other.before;
        self.after |= other.after;
    }

    /// 1 if the classes may stand there, else 0.
    #[inline]
    fn admit(self, before: u32, after: u32) -> u64 {
        self.before >> (before & 63) & self.after >> (after & 63) & 1
    }
}

/// Where the strings of a gram are. A slot without strings is empty.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    gram: Gram,
    first: u32,
    count: u32,
    sides: Sides,
}

/// A string, seen from its gram.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    /// Its bytes.
    start: u32,
    length: u8,
    /// How many of them there are up to the end of the gram.
    through: u8,
    outputs: u32,
    count: u32,
    /// What may stand beside the gram of this string.
    sides: Sides,
}

/// What a string sets between two neighbours.
#[derive(Clone, Copy, Debug)]
struct Output {
    before: u32,
    after: u32,
    flags: u32,
    count: u32,
}

/// Two to four bytes in lower case, and their number above them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Gram(u64);

impl Gram {
    fn of(bytes: &[u8]) -> Self {
        let window = bytes.iter().fold(0, |window, &byte| window << 8 | u32::from(byte));
        Self::new(bytes.len(), window)
    }

    fn new(length: usize, window: u32) -> Self {
        Self(u64::from(narrow(length)) << 32 | u64::from(window))
    }

    fn slot(self, slots: usize) -> usize {
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap_or_default() & (slots - 1)
    }
}

/// A place in a table for the last `LENGTH` bytes of a window. The top bits of the product depend on
/// all bits of the factor.
#[inline]
fn place<const LENGTH: u32, const SIZE: usize>(window: u32) -> usize {
    let product = (window << (32 - 8 * LENGTH)).wrapping_mul(0x9E37_79B1);
    widen(product >> (32 - SIZE.trailing_zeros())) % SIZE
}

/// The class of what stands before and after the text.
const BORDER: u32 = 63;

#[inline]
fn class(byte: u8) -> u32 {
    CLASSES.get(usize::from(byte)).copied().map_or(0, u32::from)
}

/// The class of what is at a place, if anything is.
fn side(text: &[u8], at: Option<usize>) -> u32 {
    at.and_then(|at| text.get(at)).map_or(BORDER, |&byte| class(byte))
}

/// Letters without case; digits; each punctuation mark; space, line ends and other white space; the
/// rest. Together with [`BORDER`] these are 64.
static CLASSES: [u8; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a constant: an index beyond the end would not compile"
)]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut punctuation = 0;
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            letter @ (b'a'..=b'z' | b'A'..=b'Z') => letter.to_ascii_lowercase() - b'a' + 1,
            b'0'..=b'9' => 27,
            b' ' => 28,
            b'\r' | b'\n' => 29,
            b'\t' | 0x0B | 0x0C => 30,
            0..=0x1F | 0x7F.. => 0,
            _ => {
                punctuation += 1;
                30 + punctuation
            }
        };
        byte += 1;
    }
    assert!(punctuation == 32);
    classes
}

fn classes_of(edge: Edge) -> u64 {
    let border = if edge.border { 1 << BORDER } else { 0 };
    let bytes = edge.bytes.iter();
    bytes.fold(border, |mask, byte| mask | 1 << class(byte))
}

impl Scanner {
    /// Sets in `planes` what the strings of the text set.
    pub(super) fn scan(&self, text: &[u8], planes: &mut [u64]) {
        // The last four bytes, and the last five classes, so that a gram is known with what stands
        // before it; what stands after it comes next. Before the text there seem to be NULs: a
        // string that would begin there fails to compare.
        let mut window = 0;
        let mut classes = u32::MAX;
        let mut ahead = text.iter();
        let Some(mut byte) = ahead.next().copied() else {
            return;
        };
        for at in 0..text.len() {
            let next = ahead.next().copied();
            let after = next.map_or(BORDER, class);
            window = window << 8 | u32::from(byte.to_ascii_lowercase());
            classes = classes << 6 | class(byte);
            byte = next.unwrap_or_default();
            let pair = self.pairs.get(place::<2, PAIRS>(window));
            let triple = self.triples.get(place::<3, TRIPLES>(window));
            let quad = place::<4, QUADS>(window);
            let quads = self.quads.get(quad / 64).copied().unwrap_or_default();
            let found = pair.map_or(0, |sides| sides.admit(classes >> 12, after))
                | triple.map_or(0, |sides| sides.admit(classes >> 18, after)) << 1
                | (quads >> (quad % 64) & 1) << 2;
            if found != 0 {
                self.look(text, at, (found, window), planes);
            }
        }
    }

    /// Compares the strings of the grams that were found, a bit for each length, to end at `at`.
    #[inline(never)]
    fn look(&self, text: &[u8], at: usize, (found, window): (u64, u32), planes: &mut [u64]) {
        let after = side(text, Some(at + 1));
        for (bit, length, mask) in [(1, 2, 0xFFFF), (2, 3, 0xFF_FFFF), (4, 4, u32::MAX)] {
            if found & bit == 0 {
                continue;
            }
            let gram = Gram::new(length, window & mask);
            let before = side(text, (at + 1).checked_sub(length + 1));
            for anchor in self.bucket(gram, before, after) {
                if anchor.sides.admit(before, after) != 0 {
                    self.compare(text, at, anchor, planes);
                }
            }
        }
    }

    fn bucket(&self, gram: Gram, before: u32, after: u32) -> &[Anchor] {
        let mut place = gram.slot(self.slots.len());
        // At least half of the slots are empty.
        while let Some(slot) = self.slots.get(place)
            && slot.count != 0
        {
            if slot.gram == gram {
                let fits = slot.sides.admit(before, after) != 0;
                return part(&self.anchors, slot.first, if fits { slot.count } else { 0 });
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
        &[]
    }

    fn compare(&self, text: &[u8], at: usize, anchor: &Anchor, planes: &mut [u64]) {
        let own = part(&self.bytes, anchor.start, u32::from(anchor.length));
        let Some(start) = (at + 1).checked_sub(usize::from(anchor.through)) else {
            return;
        };
        let end = start + own.len();
        let found = text.get(start..end).unwrap_or_default();
        if !found.eq_ignore_ascii_case(own) {
            return;
        }
        let before = start.checked_sub(1).and_then(|at| text.get(at)).copied();
        let after = text.get(end).copied();
        for output in part(&self.outputs, anchor.outputs, anchor.count) {
            if self.admits(output.before, before) && self.admits(output.after, after) {
                for flag in part(&self.flags, output.flags, output.count) {
                    flag.set(planes);
                }
            }
        }
    }

    fn admits(&self, edge: u32, neighbour: Option<u8>) -> bool {
        let edge = self.edges.get(widen(edge));
        edge.is_none_or(|edge| edge.admits(neighbour))
    }

    pub(super) fn new(strings: Strings) -> Self {
        let mut scanner = Self {
            pairs: Box::new([Sides::default(); PAIRS]),
            triples: Box::new([Sides::default(); TRIPLES]),
            quads: Box::new([0; QUADS / 64]),
            slots: Box::default(),
            anchors: Box::default(),
            bytes: Box::default(),
            outputs: Box::default(),
            flags: Box::default(),
            edges: Box::default(),
        };
        let (mut bytes, mut outputs, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let mut edges = Numbers::default();
        let mut buckets = BTreeMap::<Gram, (Sides, Vec<Anchor>)>::new();
        for (string, found) in strings.0 {
            let (gram, start) = choose(&string, &buckets);
            let through = start + string.len().min(4);
            let (sides, bucket) = buckets.entry(gram).or_default();
            let own = beside(&string, start, through, &found);
            sides.add(own);
            let first = outputs.len();
            let mut alike = BTreeMap::<(u32, u32), Vec<Flag>>::new();
            for (before, after, flag) in found {
                let key = (edges.of(before), edges.of(after));
                alike.entry(key).or_default().push(flag);
            }
            for ((before, after), same) in alike {
                outputs.push(Output {
                    before,
                    after,
                    flags: narrow(flags.len()),
                    count: narrow(same.len()),
                });
                flags.extend(same);
            }
            bucket.push(Anchor {
                start: narrow(bytes.len()),
                length: u8::try_from(string.len()).unwrap_or(u8::MAX),
                through: u8::try_from(through).unwrap_or(u8::MAX),
                outputs: narrow(first),
                count: narrow(outputs.len() - first),
                sides: own,
            });
            bytes.extend_from_slice(&string);
        }
        scanner.bytes = bytes.into();
        scanner.outputs = outputs.into();
        scanner.flags = flags.into();
        scanner.edges = edges.list.into();
        scanner.fill(buckets);
        scanner
    }

    fn fill(&mut self, buckets: BTreeMap<Gram, (Sides, Vec<Anchor>)>) {
        let size = (2 * buckets.len()).next_power_of_two();
        let mut slots = vec![Slot::default(); size];
        let mut anchors = Vec::new();
        for (gram, (sides, bucket)) in buckets {
            self.announce(gram, sides);
            let mut place = gram.slot(size);
            while slots.get(place).is_some_and(|slot| slot.count != 0) {
                place = (place + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(place) {
                *slot = Slot {
                    gram,
                    first: narrow(anchors.len()),
                    count: narrow(bucket.len()),
                    sides,
                };
            }
            anchors.extend(bucket);
        }
        self.slots = slots.into();
        self.anchors = anchors.into();
    }

    fn announce(&mut self, Gram(gram): Gram, sides: Sides) {
        // The number of bytes is cut off.
        let window = u32::try_from(gram & u64::from(u32::MAX)).unwrap_or_default();
        let entry = match gram >> 32 {
            2 => self.pairs.get_mut(place::<2, PAIRS>(window)),
            3 => self.triples.get_mut(place::<3, TRIPLES>(window)),
            _ => {
                let place = place::<4, QUADS>(window);
                if let Some(word) = self.quads.get_mut(place / 64) {
                    *word |= 1 << (place % 64);
                }
                return;
            }
        };
        if let Some(entry) = entry {
            entry.add(sides);
        }
    }

    #[cfg(test)]
    pub(super) fn hits(&self, text: &[u8]) -> Vec<(String, [usize; 3])> {
        let mut all = std::collections::HashMap::<String, [usize; 3]>::new();
        for at in 0..text.len() {
            for length in 2..=4.min(at + 1) {
                let gram = Gram::of(&text[at + 1 - length..=at].to_ascii_lowercase());
                let before = side(text, (at + 1).checked_sub(length + 1));
                let after = side(text, Some(at + 1));
                let mut walked = 0;
                for anchor in self.bucket(gram, before, after) {
                    walked += 1;
                    let own = part(&self.bytes, anchor.start, u32::from(anchor.length));
                    if anchor.sides.admit(before, after) != 0 {
                        let name = own.escape_ascii().to_string();
                        let counts = all.entry(name).or_default();
                        counts[0] += 1;
                        let same = at + 1 >= usize::from(anchor.through)
                            && text[at + 1 - usize::from(anchor.through)..].to_ascii_lowercase().starts_with(own);
                        if same {
                            counts[1] += 1;
                            counts[2] += widen(anchor.count);
                        }
                    }
                }
                if walked > 0 {
                    let counts = all.entry(format!("bucket of {length}")).or_default();
                    counts[0] += 1;
                    counts[1] += walked;
                }
            }
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(_, counts)| usize::MAX - counts[0]);
        all
    }

    #[cfg(test)]
    pub(super) fn describe(&self) -> String {
        let mut lengths = [0; 17];
        for anchor in &self.anchors {
            lengths[usize::from(anchor.length)] += 1;
        }
        let largest = self.slots.iter().map(|slot| slot.count).max();
        let outputs = self.anchors.iter().map(|anchor| anchor.count).max();
        format!(
            "{} strings of lengths {lengths:?}, largest bucket {largest:?}; {} outputs, {outputs:?} at most, {} flags; {} edges",
            self.anchors.len(),
            self.outputs.len(),
            self.flags.len(),
            self.edges.len()
        )
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.pairs)
            + size_of_val(&*self.triples)
            + size_of_val(&*self.quads)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.anchors)
            + size_of_val(&*self.bytes)
            + size_of_val(&*self.outputs)
            + size_of_val(&*self.flags)
            + size_of_val(&*self.edges)
    }
}

/// The gram of a string, and where in it it begins. Of those that are equally rare, one that few
/// strings share: a bucket is walked for each occurrence of its gram.
fn choose(string: &[u8], buckets: &BTreeMap<Gram, (Sides, Vec<Anchor>)>) -> (Gram, usize) {
    let length = string.len().clamp(2, 4);
    let cost = |gram: Gram, window: &[u8]| {
        let shared = buckets.get(&gram).map_or(0, |(_, bucket)| bucket.len());
        let shared = f32::from(u16::try_from(shared).unwrap_or(u16::MAX));
        rarity::string(window) * (1.0 + shared)
    };
    string
        .windows(length)
        .enumerate()
        .map(|(start, window)| {
            let gram = Gram::of(window);
            (cost(gram, window), gram, start)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or((Gram::of(string), 0), |(_, gram, start)| (gram, start))
}

/// What may stand beside the gram `start..through` of a string: its own bytes, or its neighbours.
fn beside(string: &[u8], start: usize, through: usize, found: &[(Edge, Edge, Flag)]) -> Sides {
    let outside = |side: fn(&(Edge, Edge, Flag)) -> Edge| {
        found.iter().map(side).fold(0, |mask, edge| mask | classes_of(edge))
    };
    let own = |byte: &u8| 1 << class(*byte);
    let before = start.checked_sub(1).and_then(|at| string.get(at));
    Sides {
        before: before.map_or_else(|| outside(|found| found.0), own),
        after: string.get(through).map_or_else(|| outside(|found| found.1), own),
    }
}

/// Numbers for edges, of which there are few different ones.
#[derive(Default)]
struct Numbers {
    list: Vec<Edge>,
    known: HashMap<Edge, u32>,
}

impl Numbers {
    fn of(&mut self, edge: Edge) -> u32 {
        let Self { list, known } = self;
        *known.entry(edge).or_insert_with(|| {
            list.push(edge);
            narrow(list.len() - 1)
        })
    }
}

fn part<T>(all: &[T], first: u32, count: u32) -> &[T] {
    all.get(widen(first)..widen(first) + widen(count))
        .unwrap_or_default()
}

/// Lists are far shorter than 4 GiB: texts of rules are.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn widen(size: u32) -> usize {
    usize::try_from(size).unwrap_or_default()
}
