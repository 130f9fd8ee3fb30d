//! Finds strings of a large set in texts, in any ASCII case, overlaps included.
//!
//! Each string is found by one of its *grams*: itself if it has two or three bytes, else the four
//! bytes of it that are rarest in traffic. At each position of a text three bitmaps are asked for
//! the grams that end there; they are small enough for the first-level cache, and no step waits for
//! the one before, which is what an automaton of these strings (megabytes of states) loses by: it
//! took three times as long on everyday text. Behind a bit that is set is a bucket of strings to
//! compare.

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
    pairs: Bitmap<1024>,
    triples: Bitmap<512>,
    quads: Bitmap<4096>,
    slots: Box<[Slot]>,
    anchors: Box<[Anchor]>,
    bytes: Box<[u8]>,
    outputs: Box<[Output]>,
    edges: Box<[Edge]>,
}

/// Where the strings of a gram are. A slot without strings is empty.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    gram: Gram,
    first: u32,
    count: u32,
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
}

/// What a string sets.
#[derive(Clone, Copy, Debug)]
struct Output {
    before: u32,
    after: u32,
    flag: Flag,
}

/// Two to four bytes, and how many there are above them.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Gram(u64);

impl Gram {
    fn of(bytes: &[u8]) -> Self {
        let window = bytes.iter().fold(0, |window, &byte| window << 8 | u64::from(byte));
        Self(u64::try_from(bytes.len()).unwrap_or_default() << 32 | window)
    }

    fn slot(self, slots: usize) -> usize {
        let mixed = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        usize::try_from(mixed).unwrap_or_default() & (slots - 1)
    }
}

/// A set of hashes, of 64 times as many bits as words.
#[derive(Debug)]
struct Bitmap<const WORDS: usize>(Box<[u64; WORDS]>);

impl<const WORDS: usize> Bitmap<WORDS> {
    fn new() -> Self {
        Self(Box::new([0; WORDS]))
    }

    #[inline]
    fn place(window: u32) -> (usize, u32) {
        // The top bits of the product depend on all of the window's.
        let hash = window.wrapping_mul(0x9E37_79B1) >> (32 - 6 - WORDS.trailing_zeros());
        (usize::try_from(hash >> 6).unwrap_or_default() % WORDS, hash & 63)
    }

    fn insert(&mut self, window: u32) {
        let (word, bit) = Self::place(window);
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// 1 if the window may be in it, else 0.
    #[inline]
    fn holds(&self, window: u32) -> u64 {
        let (word, bit) = Self::place(window);
        self.0.get(word).map_or(1, |word| word >> bit & 1)
    }
}

const PAIR: u32 = 0xFFFF;
const TRIPLE: u32 = 0xFF_FFFF;

impl Scanner {
    /// Sets in `planes` what the strings of the text set.
    pub(super) fn scan(&self, text: &[u8], planes: &mut [u64]) {
        // Before the text there seem to be NULs. A string that would begin there fails to compare.
        let mut window = 0;
        for (at, byte) in text.iter().enumerate() {
            window = window << 8 | u32::from(byte.to_ascii_lowercase());
            let pair = self.pairs.holds(window & PAIR);
            let triple = self.triples.holds(window & TRIPLE);
            let quad = self.quads.holds(window);
            if pair | triple | quad != 0 {
                self.look(text, at, window, planes);
            }
        }
    }

    /// Compares the strings of the grams that end at `at`.
    fn look(&self, text: &[u8], at: usize, window: u32, planes: &mut [u64]) {
        for (length, window) in [(2, window & PAIR), (3, window & TRIPLE), (4, window)] {
            let gram = Gram(length << 32 | u64::from(window));
            for anchor in self.bucket(gram) {
                self.compare(text, at, anchor, planes);
            }
        }
    }

    fn bucket(&self, gram: Gram) -> &[Anchor] {
        let mut place = gram.slot(self.slots.len());
        // At least half of the slots are empty.
        while let Some(slot) = self.slots.get(place)
            && slot.count != 0
        {
            if slot.gram == gram {
                return part(&self.anchors, slot.first, slot.count);
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
        if !text.get(start..end).is_some_and(|found| found.eq_ignore_ascii_case(own)) {
            return;
        }
        let before = start.checked_sub(1).and_then(|at| text.get(at)).copied();
        let after = text.get(end).copied();
        for output in part(&self.outputs, anchor.outputs, anchor.count) {
            if self.admits(output.before, before) && self.admits(output.after, after) {
                output.flag.set(planes);
            }
        }
    }

    fn admits(&self, edge: u32, neighbour: Option<u8>) -> bool {
        let edge = self.edges.get(widen(edge));
        edge.is_none_or(|edge| edge.admits(neighbour))
    }

    pub(super) fn new(strings: Strings) -> Self {
        let mut scanner = Self {
            pairs: Bitmap::new(),
            triples: Bitmap::new(),
            quads: Bitmap::new(),
            slots: Box::default(),
            anchors: Box::default(),
            bytes: Box::default(),
            outputs: Box::default(),
            edges: Box::default(),
        };
        let (mut bytes, mut outputs) = (Vec::new(), Vec::new());
        let mut edges = Numbers::default();
        let mut buckets = BTreeMap::<Gram, Vec<Anchor>>::new();
        for (string, found) in strings.0 {
            let (gram, through) = choose(&string, &buckets);
            scanner.insert(gram);
            buckets.entry(gram).or_default().push(Anchor {
                start: narrow(bytes.len()),
                length: u8::try_from(string.len()).unwrap_or(u8::MAX),
                through: u8::try_from(through).unwrap_or(u8::MAX),
                outputs: narrow(outputs.len()),
                count: narrow(found.len()),
            });
            bytes.extend_from_slice(&string);
            outputs.extend(found.into_iter().map(|(before, after, flag)| Output {
                before: edges.of(before),
                after: edges.of(after),
                flag,
            }));
        }
        scanner.bytes = bytes.into();
        scanner.outputs = outputs.into();
        scanner.edges = edges.list.into();
        scanner.fill(buckets);
        scanner
    }

    fn insert(&mut self, gram: Gram) {
        // The length is above the bytes.
        let window = u32::try_from(gram.0 & u64::from(u32::MAX)).unwrap_or_default();
        match gram.0 >> 32 {
            2 => self.pairs.insert(window),
            3 => self.triples.insert(window),
            _ => self.quads.insert(window),
        }
    }

    fn fill(&mut self, buckets: BTreeMap<Gram, Vec<Anchor>>) {
        let size = (2 * buckets.len()).next_power_of_two();
        let mut slots = vec![Slot::default(); size];
        let mut anchors = Vec::new();
        for (gram, bucket) in buckets {
            let mut place = gram.slot(size);
            while slots.get(place).is_some_and(|slot| slot.count != 0) {
                place = (place + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(place) {
                slot.gram = gram;
                slot.first = narrow(anchors.len());
                slot.count = narrow(bucket.len());
            }
            anchors.extend(bucket);
        }
        self.slots = slots.into();
        self.anchors = anchors.into();
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
            "{} strings of lengths {lengths:?}, largest bucket {largest:?}; {} outputs, {outputs:?} at most; {} edges",
            self.anchors.len(),
            self.outputs.len(),
            self.edges.len()
        )
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> usize {
        size_of_val(&*self.pairs.0)
            + size_of_val(&*self.triples.0)
            + size_of_val(&*self.quads.0)
            + size_of_val(&*self.slots)
            + size_of_val(&*self.anchors)
            + size_of_val(&*self.bytes)
            + size_of_val(&*self.outputs)
            + size_of_val(&*self.edges)
    }
}

/// The gram of a string, and how many bytes there are up to its end. Of those that are equally
/// rare, one that few strings share: a bucket is walked for each occurrence of its gram.
fn choose(string: &[u8], buckets: &BTreeMap<Gram, Vec<Anchor>>) -> (Gram, usize) {
    let length = string.len().clamp(2, 4);
    let cost = |gram: Gram, window: &[u8]| {
        let shared = buckets.get(&gram).map_or(0, Vec::len);
        let shared = f32::from(u16::try_from(shared).unwrap_or(u16::MAX));
        rarity::string(window) * (1.0 + shared)
    };
    string
        .windows(length)
        .enumerate()
        .map(|(start, window)| {
            let gram = Gram::of(window);
            (cost(gram, window), gram, start + length)
        })
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or((Gram::of(string), string.len()), |(_, gram, through)| (gram, through))
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
    all.get(widen(first)..widen(first) + widen(count)).unwrap_or_default()
}

/// Lists are far shorter than 4 GiB: texts of rules are.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn widen(size: u32) -> usize {
    usize::try_from(size).unwrap_or_default()
}
