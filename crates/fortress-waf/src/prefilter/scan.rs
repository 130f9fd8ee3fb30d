//! Finds strings of a large set in texts, in any ASCII case, overlaps included.
//!
//! A text is read as *classes* of bytes: letters without case, digits, each punctuation mark. Each
//! string is found by a *gram* of it: three bytes that are rare in traffic, or both if it has no
//! more. At each position of a text one bit is asked, that of the three classes that end there, in a
//! table of 32 KiB of which everyday texts touch a fifth. Only behind a bit that is set is a bucket of
//! strings, and of a string the eight bytes about its gram are compared before all. An automaton
//! would need megabytes for these strings, and each of its steps waits for the one before.
//!
//! INVARIANT: a gram of two bytes sets the bits of all classes that may follow it, and its string is
//! looked for one position later: at the end of a text there is one more, that of its border.
//! Classes only let more through; comparing is exact.

use std::collections::{BTreeMap, HashMap};

use super::{
    Flag,
    pieces::{Edge, Piece},
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
        self.0.entry(piece.bytes.clone()).or_default().push(found);
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Scanner {
    /// For two classes, those that may follow: of grams of three bytes, and behind grams of two.
    gate: Box<[u64; CONTEXTS]>,
    triples: Places<CONTEXTS>,
    pairs: Places<CLASSES>,
    buckets: Box<[Bucket]>,
    anchors: Box<[Anchor]>,
    bytes: Box<[u8]>,
    outputs: Box<[Output]>,
    flags: Box<[Flag]>,
    edges: Box<[Edge]>,
}

/// How many classes there are, and pairs of them.
const CLASSES: usize = 64;
const CONTEXTS: usize = CLASSES * CLASSES;

/// Where the buckets of grams are: the classes that may follow a context, and the number of the
/// bucket that belongs to the lowest of them; the others' follow.
#[derive(Debug)]
struct Places<const CONTEXTS: usize> {
    classes: Box<[u64; CONTEXTS]>,
    firsts: Box<[u32; CONTEXTS]>,
}

impl<const CONTEXTS: usize> Places<CONTEXTS> {
    fn new() -> Self {
        Self {
            classes: Box::new([0; CONTEXTS]),
            firsts: Box::new([0; CONTEXTS]),
        }
    }

    /// The number of the bucket of a context and a class, if there is one.
    #[inline]
    fn find(&self, context: usize, class: u32) -> Option<usize> {
        let classes = *self.classes.get(context)?;
        if classes >> (class & 63) & 1 == 0 {
            return None;
        }
        let below = classes & ((1 << (class & 63)) - 1);
        let first = *self.firsts.get(context)?;
        Some(widen(first + below.count_ones()))
    }

    /// Gives the next number to a context and a class, which come in their order.
    fn add(&mut self, context: usize, class: u32, number: usize) {
        if let (Some(classes), Some(first)) =
            (self.classes.get_mut(context), self.firsts.get_mut(context))
        {
            if *classes == 0 {
                *first = narrow(number);
            }
            *classes |= 1 << (class & 63);
        }
    }
}

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

    /// Whether the classes may stand there.
    #[inline]
    fn admit(self, before: u32, after: u32) -> bool {
        self.before >> (before & 63) & self.after >> (after & 63) & 1 == 1
    }
}

/// Strings of a bucket that are compared one by one.
const FEW: usize = 96;

/// The strings of a gram, in the order of what they have about it.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    sides: Sides,
    first: u32,
    count: u32,
}

/// A string, seen from its gram.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    near: Near,
    /// Its bytes.
    start: u32,
    length: u8,
    /// How many of them there are up to the end of the gram.
    through: u8,
    outputs: u32,
    count: u32,
}

/// Eight bytes: four up to the end of a gram, and four behind it. Of a string those that it has
/// there, and which these are. Bits that tell case are set in all: what differs in no others may be
/// equal but for case.
#[derive(Clone, Copy, Debug)]
struct Near {
    bytes: u64,
    mask: u64,
}

const BEFORE: usize = 4;
const CASE: u64 = 0x2020_2020_2020_2020;

impl Near {
    /// Of a string whose gram ends before `through`.
    fn of(string: &[u8], through: usize) -> Self {
        let mut near = Self { bytes: 0, mask: 0 };
        for place in 0..8 {
            let at = (through + place).checked_sub(BEFORE);
            if let Some(&byte) = at.and_then(|at| string.get(at)) {
                near.bytes |= u64::from(byte) << (8 * place);
                near.mask |= 0xFF << (8 * place);
            }
        }
        near.bytes |= CASE & near.mask;
        near
    }

    /// The bytes of a text about the end of a gram; where there are none they are NUL, which no byte
    /// of a string is taken for without being compared.
    #[inline]
    fn window(text: &[u8], end: usize) -> u64 {
        // Eight bytes that the text has, shifted to where they belong.
        let first = text.len().saturating_sub(8).min(end.saturating_sub(BEFORE));
        let Some(bytes) = text.get(first..).and_then(<[u8]>::first_chunk::<8>) else {
            return Self::short_window(text, end);
        };
        let bytes = u64::from_le_bytes(*bytes);
        let bits = |bytes: usize| u32::try_from(8 * bytes).unwrap_or(u32::MAX);
        let window = match end.checked_sub(BEFORE) {
            Some(start) => bytes.checked_shr(bits(start - first)),
            None => bytes.checked_shl(bits(BEFORE - end)),
        };
        window.unwrap_or_default() | CASE
    }

    fn short_window(text: &[u8], end: usize) -> u64 {
        let window = (0..8).fold(0, |window, place| {
            let at = (end + place).checked_sub(BEFORE);
            let byte = at.and_then(|at| text.get(at)).copied().unwrap_or_default();
            window | u64::from(byte) << (8 * place)
        });
        window | CASE
    }

    #[inline]
    fn fits(self, window: u64) -> bool {
        window & self.mask == self.bytes
    }
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

/// Two or three classes, the last in the lowest bits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Gram {
    Pair(u32),
    Triple(u32),
}

impl Gram {
    fn of(bytes: &[u8]) -> Self {
        let classes = bytes
            .iter()
            .fold(0, |classes, &byte| classes << 6 | class(byte));
        if bytes.len() < 3 {
            Self::Pair(classes)
        } else {
            Self::Triple(classes)
        }
    }
}

/// How many bytes the gram of a string has.
fn length_of(string: &[u8]) -> usize {
    string.len().clamp(2, 3)
}

/// The class of what stands before and after the text.
const BORDER: u32 = 63;

#[inline]
fn class(byte: u8) -> u32 {
    TABLE.get(usize::from(byte)).copied().map_or(0, u32::from)
}

/// The context after a class that follows one.
#[inline]
fn next(context: u32, class: u32) -> u32 {
    context << 6 | class
}

/// A context without what is before its two classes.
#[inline]
fn last_two(context: u32) -> usize {
    widen(context) % CONTEXTS
}

/// The class of what is at a place, if anything is.
#[inline]
fn side(text: &[u8], at: Option<usize>) -> u32 {
    at.and_then(|at| text.get(at))
        .map_or(BORDER, |&byte| class(byte))
}

/// Letters without case; digits; each punctuation mark; space, line ends and other white space; the
/// rest. Together with [`BORDER`] these are 64.
static TABLE: [u8; 256] = table();

#[expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a constant: an index beyond the end would not compile"
)]
const fn table() -> [u8; 256] {
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
        const STEP: usize = 8;
        let mut context = next(BORDER, BORDER);
        let (steps, rest) = text.as_chunks::<STEP>();
        for (step, bytes) in steps.iter().enumerate() {
            // Bits are gathered, so that the processor guesses once for all of them.
            let mut found = 0;
            for (at, &byte) in bytes.iter().enumerate() {
                let class = class(byte);
                found |= self.asks(context, class) << at;
                context = next(context, class);
            }
            if found != 0 {
                self.look_at(text, step * STEP, found, planes);
            }
        }
        let start = text.len() - rest.len();
        let mut found = 0;
        for (at, &byte) in rest.iter().enumerate() {
            let class = class(byte);
            found |= self.asks(context, class) << at;
            context = next(context, class);
        }
        found |= self.asks(context, BORDER) << rest.len();
        if found != 0 {
            self.look_at(text, start, found, planes);
        }
    }

    /// 1 if a gram may end with this class, or before it.
    #[inline]
    fn asks(&self, context: u32, class: u32) -> u64 {
        let classes = self.gate.get(last_two(context)).copied();
        classes.unwrap_or_default() >> (class & 63) & 1
    }

    /// Looks at the places from `start` on whose bits are set.
    // Apart from the loop, which has no register to spare.
    #[inline(never)]
    fn look_at(&self, text: &[u8], start: usize, mut found: u64, planes: &mut [u64]) {
        while found != 0 {
            let at = start + usize::try_from(found.trailing_zeros()).unwrap_or_default();
            found &= found - 1;
            self.look(text, at, planes);
        }
    }

    /// Compares the strings of the grams that end at `at`, or before it.
    fn look(&self, text: &[u8], at: usize, planes: &mut [u64]) {
        let beside = |back: usize| side(text, at.checked_sub(back));
        let (first, second, third) = (beside(2), beside(1), beside(0));
        if let Some(number) = self.pairs.find(widen(first), second) {
            self.bucket(number, (beside(3), third), text, at, planes);
        }
        if let Some(number) = self.triples.find(last_two(next(first, second)), third) {
            let sides = (beside(3), side(text, Some(at + 1)));
            self.bucket(number, sides, text, at + 1, planes);
        }
    }

    /// Compares the strings of a gram that ends before `end`.
    fn bucket(
        &self,
        number: usize,
        (before, after): (u32, u32),
        text: &[u8],
        end: usize,
        planes: &mut [u64],
    ) {
        let Some(bucket) = self.buckets.get(number) else {
            return;
        };
        if !bucket.sides.admit(before, after) {
            return;
        }
        let window = Near::window(text, end);
        let mut anchors = part(&self.anchors, bucket.first, bucket.count);
        // Where a pattern spells out digits there are a thousand.
        while anchors.len() > FEW
            && let Some(first) = anchors.first()
        {
            let mask = first.near.mask;
            let length = anchors.partition_point(|anchor| anchor.near.mask <= mask);
            let (alike, others) = anchors.split_at_checked(length).unwrap_or_default();
            let wanted = window & mask;
            let from = alike.partition_point(|anchor| anchor.near.bytes < wanted);
            let alike = alike.get(from..).unwrap_or_default().iter();
            for anchor in alike.take_while(|anchor| anchor.near.bytes == wanted) {
                self.compare(text, end, anchor, planes);
            }
            anchors = others;
        }
        for anchor in anchors {
            if anchor.near.fits(window) {
                self.compare(text, end, anchor, planes);
            }
        }
    }

    fn compare(&self, text: &[u8], end: usize, anchor: &Anchor, planes: &mut [u64]) {
        let own = part(&self.bytes, anchor.start, u32::from(anchor.length));
        let Some(start) = end.checked_sub(usize::from(anchor.through)) else {
            return;
        };
        let end = start + own.len();
        let found = text.get(start..end).unwrap_or_default();
        let mut pairs = found.iter().zip(own);
        if found.len() < own.len() || pairs.any(|(byte, own)| byte.to_ascii_lowercase() != *own) {
            return;
        }
        let before = start.checked_sub(1).and_then(|at| text.get(at)).copied();
        let after = text.get(end).copied();
        let classes = (before.map_or(BORDER, class), after.map_or(BORDER, class));
        for output in part(&self.outputs, anchor.outputs, anchor.count) {
            if output.sides.admit(classes.0, classes.1)
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
            gate: Box::new([0; CONTEXTS]),
            triples: Places::new(),
            pairs: Places::new(),
            buckets: Box::default(),
            anchors: Box::default(),
            bytes: Box::default(),
            outputs: Box::default(),
            flags: Box::default(),
            edges: Box::default(),
        };
        let (mut bytes, mut outputs, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let mut edges = Numbers::default();
        let mut buckets = BTreeMap::<Gram, (Sides, Vec<Anchor>)>::new();
        // Short ones first: they have the least choice.
        let mut strings: Vec<_> = strings.0.into_iter().collect();
        strings.sort_by_key(|(string, _)| string.len());
        for (string, found) in strings {
            let (gram, start) = choose(&string, &buckets);
            let through = start + length_of(&string);
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
                near: Near::of(&string, through),
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

    /// Gives the buckets their places, in the order of their grams.
    fn fill(&mut self, buckets: BTreeMap<Gram, (Sides, Vec<Anchor>)>) {
        let mut anchors = Vec::new();
        let mut list = Vec::with_capacity(buckets.len());
        for (gram, (sides, mut bucket)) in buckets {
            match gram {
                Gram::Pair(classes) => {
                    let first = widen(classes >> 6);
                    self.pairs.add(first, classes % narrow(CLASSES), list.len());
                    self.announce(widen(classes), sides.after);
                }
                Gram::Triple(classes) => {
                    let (context, class) = (widen(classes >> 6), classes % narrow(CLASSES));
                    self.triples.add(context, class, list.len());
                    self.announce(context, 1 << class);
                }
            }
            list.push(Bucket {
                sides,
                first: narrow(anchors.len()),
                count: narrow(bucket.len()),
            });
            bucket.sort_by_key(|anchor| (anchor.near.mask, anchor.near.bytes));
            anchors.extend(bucket);
        }
        self.buckets = list.into();
        self.anchors = anchors.into();
    }

    fn announce(&mut self, context: usize, classes: u64) {
        if let Some(word) = self.gate.get_mut(context) {
            *word |= classes;
        }
    }

    #[cfg(test)]
    pub(super) fn describe(&self) -> String {
        let mut lengths = [0; 17];
        for anchor in &self.anchors {
            lengths[usize::from(anchor.length)] += 1;
        }
        let largest = self.buckets.iter().map(|bucket| bucket.count).max();
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
        let places = 12 * (CONTEXTS + CLASSES);
        size_of_val(&*self.gate)
            + places
            + size_of_val(&*self.buckets)
            + size_of_val(&*self.anchors)
            + size_of_val(&*self.bytes)
            + size_of_val(&*self.outputs)
            + size_of_val(&*self.flags)
            + size_of_val(&*self.edges)
    }
}

/// The gram of a string, and where in it it begins: one that is rare in traffic, best one that others
/// have already, for every other one opens the gate more often. But not too many should share it.
fn choose(string: &[u8], buckets: &BTreeMap<Gram, (Sides, Vec<Anchor>)>) -> (Gram, usize) {
    const SHARED: f32 = 0.3;
    let length = length_of(string);
    let cost = |gram: Gram, window: &[u8]| {
        let shared = buckets.get(&gram).map(|(_, bucket)| bucket.len());
        let shared = shared.map(|shared| f32::from(u16::try_from(shared).unwrap_or(u16::MAX)));
        rarity::classes(window) * shared.map_or(1.0, |shared| SHARED * (1.0 + shared))
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
    known: HashMap<Edge, u32>,
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
