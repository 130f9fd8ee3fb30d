//! Finds strings of a large set in texts, in any ASCII case, overlaps included.
//!
//! Each string is found by one of its *grams*: two or three bytes if it has no more, else the four of
//! it that are rarest in traffic. At each position of a text three small tables are asked for the
//! grams that end there, and for short ones, which are frequent, whether their neighbours fit one of
//! the strings. Only behind a gram that passes is a bucket of strings to compare. An automaton would
//! need megabytes for these strings, and each of its steps waits for the one before.
//!
//! INVARIANT: neighbours are looked at by *classes* of bytes and tables are shared by what has the
//! same hash. Both may only let more through; comparing is exact.

use std::collections::{BTreeMap, HashMap};

use super::{
    Flag,
    pieces::{Edge, Piece, Quick},
    rarity,
};
use crate::ByteSet;

/// The strings to find, and what to set where one is found between its neighbours.
#[derive(Debug, Default)]
pub(super) struct Strings(BTreeMap<Vec<u8>, Vec<(Edge, Edge, Flag)>>);

impl Strings {
    /// One more; of two bytes or more, in lower case.
    pub(super) fn add(&mut self, piece: &Piece, flag: Flag) {
        let found = (piece.before, piece.after, flag);
        // Most have one or two; a vector that grows by itself begins with room for four.
        let all = self.0.entry(piece.bytes.clone()).or_default();
        all.reserve_exact(1);
        all.push(found);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scanner {
    tables: Box<Tables>,
    /// What tells the grams of the slots apart without a look at them, which is seldom in a cache.
    tags: Box<[u16]>,
    slots: Box<[Slot]>,
    anchors: Box<[Anchor]>,
    bytes: Box<[u8]>,
    outputs: Box<[Output]>,
    flags: Box<[Flag]>,
    edges: Box<[Edge]>,
}

/// What is asked at each position: words in which the bits of all grams that share the word are set.
/// In one place, so that it takes one register.
#[derive(Debug)]
struct Tables {
    quads: [u64; QUADS],
    pairs: [u64; PAIRS],
    triples: [u64; TRIPLES],
}

/// Words of the tables.
const PAIRS: usize = 1 << 12;
const TRIPLES: usize = 1 << 12;
const QUADS: usize = 1 << 12;

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

/// Where the strings of a gram are. A slot whose tag is 0 is empty.
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
    sides: Sides,
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
        let window = bytes
            .iter()
            .fold(0, |window, &byte| window << 8 | u32::from(byte));
        Self::new(bytes.len(), window)
    }

    fn new(length: usize, window: u32) -> Self {
        Self(u64::from(narrow(length)) << 32 | u64::from(window))
    }

    /// Where to begin to look for it, and its tag.
    #[inline]
    fn slot(self, slots: usize) -> (usize, u16) {
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let place = usize::try_from(mixed >> 32).unwrap_or_default() & (slots - 1);
        let tag = u16::try_from(mixed >> 16 & 0xFFFF).unwrap_or_default();
        (place, tag | 1)
    }
}

/// The word of a table for the last `LENGTH` bytes of a window, and more bits that tell them apart.
#[inline]
fn place<const LENGTH: u32, const SIZE: usize>(window: u32) -> (usize, u32) {
    // The top bits of the product depend on all bits of the factor.
    let product = (window << (32 - 8 * LENGTH)).wrapping_mul(0x9E37_79B1);
    let rest = 32 - SIZE.trailing_zeros();
    (widen(product >> rest) % SIZE, product >> (rest - 12))
}

/// The bit above the neighbours' for a short gram. The lower bits of a pair's hash are always 0.
#[inline]
fn mark(hash: u32) -> u64 {
    1 << (2 * WIDE + (hash >> 8 & 15))
}

/// The two bits of a gram of four.
#[inline]
fn marks(hash: u32) -> u64 {
    1 << (hash % 64) | 1 << (hash >> 6 & 63)
}

/// The class of what stands before and after the text.
const BORDER: u32 = 63;

#[inline]
fn class(byte: u8) -> u32 {
    CLASSES.get(usize::from(byte)).copied().map_or(0, u32::from)
}

/// A byte as the tables see it: the bit of its wide class, and above those the byte in lower case.
#[inline]
fn code(byte: u8) -> u64 {
    CODES.get(usize::from(byte)).copied().unwrap_or_default()
}

#[inline]
fn shifted([_, second, third, fourth]: [u64; 4], coming: u64) -> [u64; 4] {
    [second, third, fourth, coming]
}

#[inline]
fn byte_of(code: u64) -> u32 {
    u32::try_from(code >> 32).unwrap_or_default()
}

/// The code of a class, without a byte.
const fn code_of(class: u32) -> u64 {
    1 << wide(class)
}

/// How many wide classes there are.
const WIDE: u32 = 24;

/// Classes that are put together where there is room for 24 only.
const fn wide(class: u32) -> u32 {
    match class {
        BORDER => 0,
        // Letters; then digits, space, line ends, other white space, controls and the upper half.
        1..=26 => 1,
        27..=30 => class - 25,
        0 => 6,
        // In the order of ASCII: ! " # $ % & ' ( ) * + , - . / : ; < = > ? @ [ \\ ] ^ _ ` { | } ~
        32 => 7,
        36 => 8,
        37 => 9,
        38 | 39 => 10,
        42 => 11,
        43 => 12,
        44 => 13,
        45 => 14,
        46 => 15,
        47 => 16,
        48 | 50 => 17,
        49 => 18,
        51 => 19,
        57 => 20,
        60 => 21,
        34 | 35 => 22,
        _ => 23,
    }
}

/// The class of what is at a place, if anything is.
fn side(text: &[u8], at: Option<usize>) -> u32 {
    at.and_then(|at| text.get(at))
        .map_or(BORDER, |&byte| class(byte))
}

/// Letters without case; digits; each punctuation mark; space, line ends and other white space; the
/// rest. Together with [`BORDER`] these are 64.
static CLASSES: [u8; 256] = classes();
static CODES: [u64; 256] = codes();

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

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a constant: an index beyond the end would not compile"
)]
const fn codes() -> [u64; 256] {
    let classes = classes();
    let mut codes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let lower = (byte as u8).to_ascii_lowercase() as u64;
        codes[byte] = lower << 32 | code_of(classes[byte] as u32);
        byte += 1;
    }
    codes
}

impl Tables {
    /// Of which lengths there may be a gram that ends the window, as bits: 1, 2 and 4 for two, three
    /// and four bytes. `codes` are those of the last four bytes, `after` that of what follows.
    #[inline]
    fn find(&self, window: u32, codes: [u64; 4], after: u64) -> u64 {
        let [third, second, ..] = codes;
        let after = (after & NEIGHBOURS) << WIDE;
        let (place, hash) = place::<2, PAIRS>(window);
        let pair = second & NEIGHBOURS | after | mark(hash);
        let pairs = self.pairs.get(place).copied().unwrap_or_default();
        let (place, hash) = self::place::<3, TRIPLES>(window);
        let triple = third & NEIGHBOURS | after | mark(hash);
        let triples = self.triples.get(place).copied().unwrap_or_default();
        let (place, hash) = self::place::<4, QUADS>(window);
        let quad = marks(hash);
        let quads = self.quads.get(place).copied().unwrap_or_default();
        u64::from(pair & !pairs == 0)
            | u64::from(triple & !triples == 0) << 1
            | u64::from(quad & !quads == 0) << 2
    }
}

const NEIGHBOURS: u64 = (1 << WIDE) - 1;

/// The neighbours that a word of a table lets pass.
fn neighbours(sides: Sides) -> u64 {
    let mask = |classes: u64| {
        (0..64).fold(0, |mask, class| {
            mask | if classes >> class & 1 == 1 {
                code_of(class)
            } else {
                0
            }
        })
    };
    mask(sides.before) | mask(sides.after) << WIDE
}

fn classes_of(edge: Edge) -> u64 {
    let border = if edge.border { 1 << BORDER } else { 0 };
    let bytes = edge.bytes.iter();
    bytes.fold(border, |mask, byte| mask | 1 << class(byte))
}

impl Scanner {
    /// Sets in `planes` what the strings of the text set.
    pub(super) fn scan(&self, text: &[u8], planes: &mut [u64]) {
        let Some((&first, rest)) = text.split_first() else {
            return;
        };
        // Before the text there seem to be NULs: a string that would begin there fails to compare.
        let mut window = 0;
        let mut codes = [code_of(BORDER); 4];
        let mut coming = code(first);
        for (at, &next) in rest.iter().enumerate() {
            codes = shifted(codes, coming);
            window = window << 8 | byte_of(coming);
            coming = code(next);
            let found = self.tables.find(window, codes, coming);
            if found != 0 {
                self.look(text, at, (found, window), planes);
            }
        }
        codes = shifted(codes, coming);
        window = window << 8 | byte_of(coming);
        let found = self.tables.find(window, codes, code_of(BORDER));
        self.look(text, rest.len(), (found, window), planes);
    }

    /// Compares the strings of the grams that were found, a bit for each length, to end at `at`.
    // Apart from the loop, which has no register to spare.
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
        let (mut place, wanted) = gram.slot(self.tags.len());
        // At least half of the slots are empty.
        while let Some(&tag) = self.tags.get(place)
            && tag != 0
        {
            if tag == wanted
                && let Some(slot) = self.slots.get(place)
                && slot.gram == gram
            {
                let fits = slot.sides.admit(before, after) != 0;
                return part(&self.anchors, slot.first, if fits { slot.count } else { 0 });
            }
            place = (place + 1) & (self.tags.len() - 1);
        }
        &[]
    }

    fn compare(&self, text: &[u8], at: usize, anchor: &Anchor, planes: &mut [u64]) {
        let own = part(&self.bytes, anchor.start, u32::from(anchor.length));
        let Some(start) = (at + 1).checked_sub(usize::from(anchor.through)) else {
            return;
        };
        let end = start + own.len();
        // What is no longer than its gram has been compared with it.
        let found = text.get(start..end).unwrap_or_default();
        if own.len() > 4 && !found.eq_ignore_ascii_case(own) {
            return;
        }
        let before = start.checked_sub(1).and_then(|at| text.get(at)).copied();
        let after = text.get(end).copied();
        let classes = (before.map_or(BORDER, class), after.map_or(BORDER, class));
        for output in part(&self.outputs, anchor.outputs, anchor.count) {
            if output.sides.admit(classes.0, classes.1) != 0
                && self.admits(output.before, before)
                && self.admits(output.after, after)
            {
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
            tables: Box::new(Tables {
                quads: [0; QUADS],
                pairs: [0; PAIRS],
                triples: [0; TRIPLES],
            }),
            tags: Box::default(),
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
            let found: Vec<_> = found
                .into_iter()
                .map(|(before, after, flag)| (edges.of(before), edges.of(after), flag))
                .collect();
            let own = beside(&string, start, through, &found, &edges);
            sides.add(own);
            let first = outputs.len();
            let mut alike = BTreeMap::<_, (Sides, BTreeMap<usize, u64>)>::new();
            for (before, after, flag) in found {
                let (sides, words) = alike.entry((before, after)).or_default();
                *sides = Sides {
                    before: edges.classes(before),
                    after: edges.classes(after),
                };
                *words.entry(flag.word).or_default() |= flag.bit;
            }
            for ((before, after), (sides, words)) in alike {
                outputs.push(Output {
                    sides,
                    before: edges.beyond_classes(before),
                    after: edges.beyond_classes(after),
                    flags: narrow(flags.len()),
                    count: narrow(words.len()),
                });
                flags.extend(words.into_iter().map(|(word, bit)| Flag { word, bit }));
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
        let mut tags = vec![0; size];
        let mut anchors = Vec::new();
        for (gram, (sides, bucket)) in buckets {
            self.announce(gram, sides);
            let (mut place, own) = gram.slot(size);
            while tags.get(place).is_some_and(|&tag| tag != 0) {
                place = (place + 1) & (size - 1);
            }
            if let Some(tag) = tags.get_mut(place) {
                *tag = own;
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
        self.tags = tags.into();
        self.slots = slots.into();
        self.anchors = anchors.into();
    }

    fn announce(&mut self, Gram(gram): Gram, sides: Sides) {
        // The number of bytes is cut off.
        let window = u32::try_from(gram & u64::from(u32::MAX)).unwrap_or_default();
        let tables = &mut self.tables;
        let (word, bits) = match gram >> 32 {
            2 => {
                let (place, hash) = place::<2, PAIRS>(window);
                (tables.pairs.get_mut(place), neighbours(sides) | mark(hash))
            }
            3 => {
                let (place, hash) = place::<3, TRIPLES>(window);
                (
                    tables.triples.get_mut(place),
                    neighbours(sides) | mark(hash),
                )
            }
            _ => {
                let (place, hash) = place::<4, QUADS>(window);
                (tables.quads.get_mut(place), marks(hash))
            }
        };
        if let Some(word) = word {
            *word |= bits;
        }
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
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.tables)
            + size_of_val(&*self.tags)
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
fn beside(
    string: &[u8],
    start: usize,
    through: usize,
    found: &[(u32, u32, Flag)],
    edges: &Numbers,
) -> Sides {
    let outside = |side: fn(&(u32, u32, Flag)) -> u32| {
        let all = found.iter().map(side);
        all.fold(0, |mask, edge| mask | edges.classes(edge))
    };
    let own = |byte: &u8| 1 << class(*byte);
    let before = start.checked_sub(1).and_then(|at| string.get(at));
    Sides {
        before: before.map_or_else(|| outside(|found| found.0), own),
        after: string
            .get(through)
            .map_or_else(|| outside(|found| found.1), own),
    }
}

/// Stands for an edge that consists of whole classes.
const ITS_CLASSES: u32 = u32::MAX;

/// Numbers for edges, of which there are few different ones.
#[derive(Default)]
struct Numbers {
    list: Vec<Edge>,
    classes: Vec<u64>,
    /// Whether the classes have bytes that the edge does not.
    rough: Vec<bool>,
    known: HashMap<Edge, u32, Quick>,
}

impl Numbers {
    fn of(&mut self, edge: Edge) -> u32 {
        let Self {
            list,
            classes,
            rough,
            known,
        } = self;
        *known.entry(edge).or_insert_with(|| {
            list.push(edge);
            let own = classes_of(edge);
            let mut others = ByteSet::ALL.minus(edge.bytes).iter();
            rough.push(others.any(|byte| own >> class(byte) & 1 == 1));
            classes.push(own);
            narrow(list.len() - 1)
        })
    }

    /// The edge, if its classes do not say all of it; else [`ITS_CLASSES`].
    fn beyond_classes(&self, edge: u32) -> u32 {
        let rough = self.rough.get(widen(edge)).is_none_or(|&rough| rough);
        if rough { edge } else { ITS_CLASSES }
    }

    fn classes(&self, edge: u32) -> u64 {
        self.classes.get(widen(edge)).copied().unwrap_or(u64::MAX)
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
