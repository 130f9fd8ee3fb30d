//! What every text that a pattern matches must contain, read off the pattern's tree.
//!
//! A necessary condition, never a sufficient one: [`super`] says why each step is sound. Bounds are
//! everywhere, and what exceeds one is widened to a weaker condition. It does not look at texts.

use std::collections::{BTreeSet, HashMap, HashSet};

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

use super::{
    alphabet::Alphabet,
    pieces::{Edge, Piece, Pieces, Quick},
    rarity,
};
use crate::{ByteSet, pattern::bytes_of};

/// "One of these strings, or a byte of one of these groups."
#[derive(Clone, Debug)]
pub(super) struct Gate {
    /// Identifiers in the [`Lexicon`], ascending.
    literals: Vec<u32>,
    pub(super) groups: Alphabet,
    /// How often it is expected to hold in a benign text; less is better.
    pub(super) score: f32,
}

/// The condition of a whole pattern: each gate holds, and a byte of each of the groups occurs.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) gates: Vec<(Pieces, Alphabet)>,
    pub(super) groups: Vec<Alphabet>,
}

/// Gates and groups that a part of a pattern keeps while the whole is put together.
const GATES: usize = 6;
const GROUPS: usize = 12;
/// Strings of a set that begins or ends a part.
const BORDERS: usize = 256;
/// A class with more bytes than this (cases count once) is a neighbour, not part of a literal.
const SPELLED: u32 = 12;
/// Literals are cut to this: it tells apart what longer ones tell apart, in a smaller automaton.
const LITERAL: usize = 16;

/// The strings of one pattern, so that sets of them are cheap to merge and to compare.
#[derive(Debug, Default)]
pub(super) struct Lexicon {
    ids: HashMap<Piece, u32, Quick>,
    entries: Vec<(Piece, f32)>,
}

/// What is known of a part of a pattern.
struct Need {
    strings: Strings,
    gates: Vec<Gate>,
    groups: Vec<Alphabet>,
    first: Reach,
    last: Reach,
}

/// Which strings a part matches.
enum Strings {
    /// These and no others.
    Exact(Pieces),
    /// Each begins with one of the first and ends with one of the second.
    Open(Pieces, Pieces),
}

/// What a part begins (ends) with.
#[derive(Clone, Copy)]
struct Reach {
    /// Its first (last) byte, where it is not empty.
    filled: ByteSet,
    /// What must follow (precede) where it is empty; none if it cannot be.
    empty: Option<Edge>,
}

impl Reach {
    const NOTHING: Self = Self {
        filled: ByteSet::EMPTY,
        empty: None,
    };

    /// What is met at once by someone who goes through this part and then meets `beyond`.
    fn then(self, beyond: Edge) -> Edge {
        let own = Edge::new(self.filled, false);
        self.empty.map_or(own, |empty| own.or(empty.and(beyond)))
    }

    fn or(self, other: Self) -> Self {
        Self {
            filled: self.filled.union(other.filled),
            empty: match (self.empty, other.empty) {
                (Some(a), Some(b)) => Some(a.or(b)),
                (one, other) => one.or(other),
            },
        }
    }

    /// This part and then the other.
    fn chain(self, next: Self) -> Self {
        match self.empty {
            None => self,
            // The condition on the empty part is kept where both are empty and dropped where the
            // next is not: a wider set.
            Some(empty) => Self {
                filled: self.filled.union(next.filled),
                empty: next.empty.map(|edge| edge.and(empty)),
            },
        }
    }
}

impl Condition {
    /// Of a regular expression.
    pub(super) fn of_regex(hir: &Hir) -> Self {
        let mut lexicon = Lexicon::default();
        let need = lexicon.need(hir);
        lexicon.condition(need)
    }

    /// Of "one of these strings occurs, in any case".
    pub(super) fn of_phrases<'a>(phrases: impl Iterator<Item = Piece> + 'a) -> Self {
        let mut lexicon = Lexicon::default();
        let need = lexicon.alternation(phrases, |lexicon, piece| lexicon.literal(piece));
        lexicon.condition(need)
    }
}

impl Lexicon {
    /// The recursion is as deep as the parser's nesting limit at most.
    fn need(&mut self, hir: &Hir) -> Need {
        match hir.kind() {
            HirKind::Empty => Need::exact(Pieces::free(), Reach::anywhere(), Reach::anywhere()),
            HirKind::Literal(literal) => self.literal(Piece::new(&literal.0)),
            HirKind::Class(class) => Need::class(class),
            HirKind::Look(look) => Need::look(*look),
            HirKind::Repetition(repetition) => self.repetition(repetition),
            HirKind::Capture(capture) => self.need(&capture.sub),
            HirKind::Concat(parts) => {
                let parts = parts.iter().map(|part| self.need(part)).collect();
                self.concat(parts)
            }
            HirKind::Alternation(parts) => self.alternation(parts.iter(), Self::need),
        }
    }

    fn literal(&self, piece: Piece) -> Need {
        let one = |byte: Option<&u8>, edge: Edge| match byte {
            Some(&byte) => Reach {
                filled: ByteSet::EMPTY.with(byte).fold_case(),
                empty: None,
            },
            None => Reach {
                filled: ByteSet::EMPTY,
                empty: Some(edge),
            },
        };
        let first = one(piece.bytes.first(), piece.after);
        let last = one(piece.bytes.last(), piece.before);
        let mut groups = Vec::new();
        for &byte in &piece.bytes {
            require(&mut groups, Alphabet::of(&[byte]));
        }
        Need {
            groups,
            ..Need::exact(Pieces::one(piece), first, last)
        }
    }

    fn repetition(&mut self, repetition: &Repetition) -> Need {
        let mut sub = self.need(&repetition.sub);
        let (min, max) = (repetition.min, repetition.max);
        if min == 0 {
            let (first, last) = (
                sub.first.or(Reach::anywhere()),
                sub.last.or(Reach::anywhere()),
            );
            return match sub.strings {
                Strings::Exact(strings) if max == Some(1) => {
                    Need::exact(strings.or(Pieces::free()).merged(), first, last)
                }
                _ if max == Some(0) => Need::exact(Pieces::free(), first, last),
                Strings::Exact(_) | Strings::Open(..) => {
                    Need::open(Pieces::free(), Pieces::free(), first, last)
                }
            };
        }
        if let Strings::Exact(once) = &sub.strings {
            let mut strings = once.clone();
            let mut times = 1;
            while times < min
                && let Some(more) = strings.then(once).filter(within)
            {
                strings = more;
                times += 1;
            }
            if times == min && max == Some(min) {
                sub.strings = Strings::Exact(strings);
            } else {
                sub.gates.extend(self.gate(&strings));
                let beginning = strings.clone().beginnings(BORDERS);
                sub.strings = Strings::Open(beginning, strings.ends(BORDERS));
            }
        }
        sub
    }

    fn concat(&mut self, parts: Vec<Need>) -> Need {
        // What is met at once before and behind each part.
        let mut ahead = vec![Edge::ANY];
        for part in parts.iter().rev() {
            let beyond = ahead.last().copied().unwrap_or(Edge::ANY);
            ahead.push(part.first.then(beyond));
        }
        let mut behind = Edge::ANY;
        let mut whole = Need::exact(Pieces::free(), Reach::anywhere(), Reach::anywhere());
        whole.first = chain(parts.iter().map(|part| part.first));
        whole.last = chain(parts.iter().rev().map(|part| part.last));
        // The strings that end where the next part begins.
        let mut run = Pieces::free();
        let mut beginning = None;
        for part in parts {
            let next = ahead.pop().unwrap_or(Edge::ANY);
            // `ahead` was built from the end: its top is this part with all that follows.
            behind = part.last.then(behind);
            whole.gates.extend(part.gates);
            for mask in part.groups {
                require(&mut whole.groups, mask);
            }
            let (before, after) = match part.strings {
                Strings::Exact(strings) => match run.then(&strings).filter(within) {
                    Some(longer) => {
                        run = longer;
                        continue;
                    }
                    None => (strings.clone(), strings),
                },
                Strings::Open(before, after) => (before, after),
            };
            let ended = run
                .then(&Pieces::one(Piece::beside(Edge::ANY, next)))
                .unwrap_or(run);
            let longer = ended.then(&before).filter(within);
            let ended = match longer.or_else(|| ended.then(&before.as_after())) {
                Some(longer) => longer,
                None => ended,
            };
            whole.gates.extend(self.gate(&ended));
            beginning.get_or_insert_with(|| ended.beginnings(BORDERS));
            run = after
                .then(&Pieces::one(Piece::beside(behind, Edge::ANY)))
                .unwrap_or(after);
        }
        best(&mut whole.gates);
        match beginning {
            None => whole.strings = Strings::Exact(run),
            Some(beginning) => {
                whole.gates.extend(self.gate(&run));
                whole.strings = Strings::Open(beginning, run.ends(BORDERS));
            }
        }
        whole
    }

    /// One of these, of each of which `need` says what it needs, one after the other: there may be
    /// thousands.
    fn alternation<T>(
        &mut self,
        parts: impl Iterator<Item = T>,
        need: impl Fn(&mut Self, T) -> Need,
    ) -> Need {
        let mut whole = Need::exact(Pieces::default(), Reach::NOTHING, Reach::NOTHING);
        let mut groups: Option<Vec<Alphabet>> = None;
        let mut exact = Pieces::default();
        let mut borders: Option<(Pieces, Pieces)> = None;
        let mut gates: Option<Vec<Gate>> = None;
        for part in parts {
            let mut part = need(self, part);
            whole.first = whole.first.or(part.first);
            whole.last = whole.last.or(part.last);
            groups = Some(match groups {
                None => part.groups.clone(),
                Some(groups) => either_groups(&groups, &part.groups),
            });
            match part.strings {
                Strings::Exact(strings) => exact = exact.or(strings),
                Strings::Open(before, after) => {
                    let (all_before, all_after) = borders.take().unwrap_or_default();
                    borders = Some((
                        all_before.or(before).merged().beginnings(BORDERS),
                        all_after.or(after).merged().ends(BORDERS),
                    ));
                    part.gates
                        .extend(part.groups.into_iter().map(Gate::of_groups));
                    gates = Some(either(gates, part.gates));
                }
            }
        }
        whole.groups = groups.unwrap_or_default();
        exact = exact.merged();
        whole.strings = match borders {
            None if within(&exact) => Strings::Exact(exact),
            borders => {
                let (before, after) = borders.unwrap_or_default();
                if !exact.0.is_empty() {
                    let own = self.gate(&exact).into_iter().collect();
                    gates = Some(either(gates, own));
                }
                let all_before = before.or(exact.clone()).merged();
                let all_after = after.or(exact).merged();
                Strings::Open(all_before.beginnings(BORDERS), all_after.ends(BORDERS))
            }
        };
        whole.gates = gates.unwrap_or_default();
        whole
    }

    /// "One of these strings" as a gate; nothing if it asks for nothing.
    fn gate(&mut self, strings: &Pieces) -> Option<Gate> {
        let mut gate = Gate::of_groups(Alphabet::default());
        for piece in &strings.0 {
            if piece.bytes.len() >= 2 {
                gate.literals.push(self.id(piece));
                continue;
            }
            // Too short for the automaton: the rarest group among its byte and its neighbours.
            let sides = [piece.before, piece.after].into_iter();
            let sides = sides.filter(|edge| !edge.border).map(|edge| edge.bytes);
            let own = piece.bytes.first().map(|&byte| ByteSet::EMPTY.with(byte));
            let mask = sides
                .chain(own)
                .map(Alphabet::mask)
                .min_by(|a, b| rarity::groups(*a).total_cmp(&rarity::groups(*b)))?;
            gate.groups.0 |= mask.0;
        }
        gate.literals.sort_unstable();
        gate.literals.dedup();
        gate.score = rarity::groups(gate.groups)
            + gate.literals.iter().map(|&id| self.score(id)).sum::<f32>();
        Some(gate)
    }

    fn id(&mut self, piece: &Piece) -> u32 {
        let cut = (piece.bytes.len() > LITERAL).then(|| cut(piece));
        let piece = cut.as_ref().unwrap_or(piece);
        if let Some(&id) = self.ids.get(piece) {
            return id;
        }
        let id = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.entries.push((piece.clone(), rarity::literal(piece)));
        self.ids.insert(piece.clone(), id);
        id
    }

    fn entry(&self, id: u32) -> Option<&(Piece, f32)> {
        self.entries.get(usize::try_from(id).ok()?)
    }

    fn score(&self, id: u32) -> f32 {
        self.entry(id).map_or(1.0, |entry| entry.1)
    }

    fn condition(&mut self, mut need: Need) -> Condition {
        if let Strings::Exact(strings) = &need.strings {
            need.gates.extend(self.gate(strings));
        }
        need.gates.sort_by(|a, b| a.score.total_cmp(&b.score));
        let mut condition = Condition {
            gates: Vec::new(),
            groups: need.groups,
        };
        for gate in need.gates {
            if gate.literals.is_empty() {
                require(&mut condition.groups, gate.groups);
                continue;
            }
            let strings = gate.literals.iter().filter_map(|&id| self.entry(id));
            let strings = Pieces(strings.map(|entry| entry.0.clone()).collect());
            // A gate that holds nearly always costs more than it keeps out.
            let worthless = gate.score > if condition.gates.is_empty() { 3.0 } else { 1.0 };
            let known = condition.gates.iter().any(|(known, _)| *known == strings);
            if !worthless && !known && condition.gates.len() < super::PLANES {
                condition.gates.push((minimal(strings), gate.groups));
            }
        }
        condition
    }
}

impl Need {
    fn exact(strings: Pieces, first: Reach, last: Reach) -> Self {
        Self {
            strings: Strings::Exact(strings),
            gates: Vec::new(),
            groups: Vec::new(),
            first,
            last,
        }
    }

    fn open(before: Pieces, after: Pieces, first: Reach, last: Reach) -> Self {
        Self {
            strings: Strings::Open(before, after),
            ..Self::exact(Pieces::default(), first, last)
        }
    }

    fn class(class: &Class) -> Self {
        let set = bytes_of(class).fold_case();
        let reach = Reach {
            filled: set,
            empty: None,
        };
        let edge = Edge::new(set, false);
        const UPPER: ByteSet = ByteSet::range(b'A', b'Z');
        let lower = set.minus(UPPER);
        // A class of characters may match several bytes, the first of which is known.
        let bytes = match class {
            Class::Bytes(_) => true,
            Class::Unicode(class) => class.is_ascii(),
        };
        let mut need = if !bytes {
            let before = Pieces::one(Piece::beside(Edge::ANY, edge));
            let end = Reach {
                filled: set.union(ByteSet::range(0x80, 0xFF)),
                empty: None,
            };
            Self::open(before, Pieces::free(), reach, end)
        } else if lower.len() <= SPELLED {
            let spelled = lower.iter().map(|byte| Piece::new(&[byte]));
            Self::exact(Pieces(spelled.collect()), reach, reach)
        } else {
            let before = Pieces::one(Piece::beside(Edge::ANY, edge));
            let after = Pieces::one(Piece::beside(edge, Edge::ANY));
            Self::open(before, after, reach, reach)
        };
        need.groups.push(Alphabet::mask(set));
        need
    }

    fn look(look: Look) -> Self {
        const WORD: ByteSet = ByteSet::range(b'a', b'z')
            .union(ByteSet::range(b'A', b'Z'))
            .union(ByteSet::range(b'0', b'9'))
            .with(b'_');
        const ANY: Edge = Edge::ANY;
        let inside = Edge::new(WORD, false);
        let outside = Edge::new(ByteSet::ALL.minus(WORD), true);
        let feed = Edge::new(ByteSet::of(b"\n"), true);
        let ends = Edge::new(ByteSet::of(b"\r\n"), true);
        let pairs: &[(Edge, Edge)] = match look {
            Look::Start => &[(Edge::BORDER, ANY)],
            Look::End => &[(ANY, Edge::BORDER)],
            Look::StartLF => &[(feed, ANY)],
            Look::EndLF => &[(ANY, feed)],
            Look::StartCRLF => &[(ends, ANY)],
            Look::EndCRLF => &[(ANY, ends)],
            Look::WordAscii => &[(inside, outside), (outside, inside)],
            Look::WordAsciiNegate => &[(inside, inside), (outside, outside)],
            Look::WordStartAscii => &[(outside, inside)],
            Look::WordEndAscii => &[(inside, outside)],
            Look::WordStartHalfAscii => &[(outside, ANY)],
            Look::WordEndHalfAscii => &[(ANY, outside)],
            // What a Unicode word is takes more than one byte to see.
            Look::WordUnicode
            | Look::WordUnicodeNegate
            | Look::WordStartUnicode
            | Look::WordEndUnicode
            | Look::WordStartHalfUnicode
            | Look::WordEndHalfUnicode => &[(ANY, ANY)],
        };
        let side = |edges: &mut dyn Iterator<Item = Edge>| Reach {
            filled: ByteSet::EMPTY,
            empty: edges.reduce(Edge::or),
        };
        let first = side(&mut pairs.iter().map(|pair| pair.1));
        let last = side(&mut pairs.iter().map(|pair| pair.0));
        let pieces = pairs
            .iter()
            .map(|&(before, after)| Piece::beside(before, after));
        let mut need = Self::exact(Pieces(pieces.collect()), first, last);
        if matches!(
            look,
            Look::WordAscii | Look::WordStartAscii | Look::WordEndAscii
        ) {
            need.groups.push(Alphabet::mask(WORD));
        }
        need
    }
}

impl Reach {
    /// Of the empty string.
    fn anywhere() -> Self {
        Self {
            filled: ByteSet::EMPTY,
            empty: Some(Edge::ANY),
        }
    }
}

impl Gate {
    fn of_groups(groups: Alphabet) -> Self {
        Self {
            literals: Vec::new(),
            groups,
            score: rarity::groups(groups),
        }
    }

    fn or(&self, other: &Self) -> Self {
        let mut literals = [self.literals.as_slice(), &other.literals].concat();
        literals.sort_unstable();
        literals.dedup();
        Self {
            literals,
            groups: Alphabet(self.groups.0 | other.groups.0),
            score: self.score + other.score,
        }
    }
}

fn chain(parts: impl Iterator<Item = Reach>) -> Reach {
    parts.fold(Reach::anywhere(), Reach::chain)
}

/// Whether a set is small enough to be carried on.
fn within(strings: &Pieces) -> bool {
    const BYTES: usize = 128 << 10;
    strings.len() <= Pieces::MOST && strings.0.iter().map(|p| p.bytes.len()).sum::<usize>() <= BYTES
}

/// The gates of "one or the other": each of the first with each of the second. `None` stands for
/// "no alternative yet".
fn either(one: Option<Vec<Gate>>, mut other: Vec<Gate>) -> Vec<Gate> {
    best(&mut other);
    let Some(one) = one else { return other };
    let mut pairs: Vec<_> = one
        .iter()
        .flat_map(|a| other.iter().map(move |b| (a.score + b.score, a, b)))
        .collect();
    // The sum is what the union will score unless they overlap; only the best are made.
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut gates: Vec<_> = pairs
        .into_iter()
        .take(GATES)
        .map(|(_, a, b)| a.or(b))
        .collect();
    best(&mut gates);
    gates
}

/// Keeps the few best.
fn best(gates: &mut Vec<Gate>) {
    gates.sort_by(|a, b| a.score.total_cmp(&b.score));
    gates.dedup_by(|a, b| a.literals == b.literals && a.groups == b.groups);
    gates.truncate(GATES);
}

/// Adds a mask to a conjunction of masks, of which only the minimal ones say anything.
fn require(groups: &mut Vec<Alphabet>, mask: Alphabet) {
    if groups.iter().any(|known| known.0 & !mask.0 == 0) {
        return;
    }
    groups.retain(|known| mask.0 & !known.0 != 0);
    groups.push(mask);
    if groups.len() > GROUPS {
        // The commonest says the least.
        groups.sort_by(|a, b| rarity::groups(*a).total_cmp(&rarity::groups(*b)));
        groups.truncate(GROUPS);
    }
}

/// The masks of "one or the other".
fn either_groups(one: &[Alphabet], other: &[Alphabet]) -> Vec<Alphabet> {
    let mut both = Vec::new();
    for a in one {
        for b in other {
            require(&mut both, Alphabet(a.0 | b.0));
        }
    }
    both
}

/// The beginning of a long literal.
fn cut(piece: &Piece) -> Piece {
    let mut piece = piece.clone();
    if let Some(&next) = piece.bytes.get(LITERAL) {
        piece.bytes.truncate(LITERAL);
        piece.after = Edge::new(ByteSet::EMPTY.with(next), false);
    }
    piece
}

/// Without the strings that contain another one: that one is hit as well.
fn minimal(strings: Pieces) -> Pieces {
    let free: HashSet<&[u8], Quick> = strings
        .0
        .iter()
        .filter(|piece| piece.before == Edge::ANY && piece.after == Edge::ANY)
        .map(|piece| piece.bytes.as_slice())
        .collect();
    if free.is_empty() {
        return strings.merged();
    }
    let lengths: BTreeSet<usize> = free.iter().map(|bytes| bytes.len()).collect();
    let contains = |piece: &Piece| {
        let whole = piece.bytes.len();
        lengths.range(..=whole).any(|&length| {
            piece.bytes.windows(length).any(|window| {
                let itself =
                    length == whole && piece.before == Edge::ANY && piece.after == Edge::ANY;
                !itself && free.contains(window)
            })
        })
    };
    let kept: Vec<bool> = strings.0.iter().map(|piece| !contains(piece)).collect();
    let kept = strings.0.into_iter().zip(kept).filter(|(_, kept)| *kept);
    Pieces(kept.map(|(piece, _)| piece).collect()).merged()
}
