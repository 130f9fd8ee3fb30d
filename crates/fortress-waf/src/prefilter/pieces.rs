//! Sets of strings with what may stand beside them: the currency in which a pattern's necessary
//! literals are computed.
//!
//! Everything is without regard to ASCII case: bytes are lower-cased, and a set of neighbours has
//! both cases of its letters. Each operation may only enlarge what a set admits, never shrink it.

use std::hash::{BuildHasher, Hasher};

use crate::ByteSet;

/// What may stand beside a position: one of these bytes, or the end of the text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Edge {
    pub(super) bytes: ByteSet,
    /// Whether the text may begin (or end) here.
    pub(super) border: bool,
}

impl Edge {
    pub(super) const ANY: Self = Self::new(ByteSet::ALL, true);
    pub(super) const BORDER: Self = Self::new(ByteSet::EMPTY, true);

    pub(super) const fn new(bytes: ByteSet, border: bool) -> Self {
        Self {
            bytes: bytes.fold_case(),
            border,
        }
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.and(other.bytes),
            border: self.border && other.border,
        }
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.union(other.bytes),
            border: self.border || other.border,
        }
    }

    pub(super) fn admits(self, neighbour: Option<u8>) -> bool {
        match neighbour {
            Some(byte) => self.bytes.contains(byte),
            None => self.border,
        }
    }

    fn is_empty(self) -> bool {
        !self.border && self.bytes.is_empty()
    }

    /// Whether everything that `other` admits is admitted.
    fn covers(self, other: Self) -> bool {
        other.bytes.minus(self.bytes).is_empty() && (self.border || !other.border)
    }
}

/// A string, lower case, and its neighbours.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    pub(super) before: Edge,
    pub(super) after: Edge,
}

impl Piece {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_ascii_lowercase(),
            before: Edge::ANY,
            after: Edge::ANY,
        }
    }

    pub(super) fn beside(before: Edge, after: Edge) -> Self {
        Self {
            bytes: Vec::new(),
            before,
            after,
        }
    }

    /// The string followed by the other at once, if that is possible at all.
    fn then(&self, next: &Self) -> Option<Self> {
        // A string without bytes hands its conditions on.
        let before = match self.bytes.last() {
            Some(&last) => next.before.admits(Some(last)).then_some(self.before)?,
            None => self.before.and(next.before),
        };
        let after = match next.bytes.first() {
            Some(&first) => self.after.admits(Some(first)).then_some(next.after)?,
            None => self.after.and(next.after),
        };
        if before.is_empty() || after.is_empty() {
            return None;
        }
        Some(Self {
            bytes: [self.bytes.as_slice(), &next.bytes].concat(),
            before,
            after,
        })
    }

    /// What the string can begin with, seen from before it.
    fn first(&self) -> Edge {
        match self.bytes.first() {
            Some(&byte) => Edge::new(ByteSet::EMPTY.with(byte), false),
            None => self.after,
        }
    }

    /// Whether a text that has this one must have `other`'s, so that asking for either is the same
    /// as asking for `other`.
    pub(super) fn implies(&self, other: &Self) -> bool {
        other.before.covers(self.before)
            && other.after.covers(self.after)
            && self.bytes == other.bytes
    }
}

/// Hashes strings of rules. Nobody attacks with those, so it is quick instead of keyed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quick(u64);

impl BuildHasher for Quick {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_usize(&mut self, size: usize) {
        self.write_u64(u64::try_from(size).unwrap_or(u64::MAX));
    }

    fn finish(&self) -> u64 {
        // The table takes the lower bits, and the product is best in the upper ones.
        self.0 ^ self.0 >> 32
    }
}

/// A set of strings of which one must be there. No string at all: nothing can match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Pieces(pub(super) Vec<Piece>);

impl Pieces {
    /// The empty string, anywhere: no condition.
    pub(super) fn free() -> Self {
        Self(vec![Piece::beside(Edge::ANY, Edge::ANY)])
    }

    pub(super) fn one(piece: Piece) -> Self {
        Self(vec![piece])
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All strings of one followed by all of the other, if there are few.
    pub(super) fn then(&self, next: &Self) -> Option<Self> {
        // A long list times a longer one explodes; a long list times two or three does not. Small
        // sets may multiply freely: that is how `[0-9a-f]` becomes part of a literal.
        const SMALL: usize = 64;
        const FEW: usize = 4;
        let product = self.len().saturating_mul(next.len());
        if product > SMALL && (self.len().min(next.len()) > FEW || product > Self::MOST) {
            return None;
        }
        let pairs = self
            .0
            .iter()
            .flat_map(|left| next.0.iter().filter_map(|right| left.then(right)));
        Some(Self(pairs.collect()).merged())
    }

    /// More strings than this are not kept; the largest alternation of CRS has some 1,500.
    pub(super) const MOST: usize = 4096;

    /// Those of either.
    pub(super) fn or(mut self, mut other: Self) -> Self {
        self.0.append(&mut other.0);
        self
    }

    /// The same set, with strings that differ in one edge only joined.
    pub(super) fn merged(mut self) -> Self {
        if self.len() < 2 {
            return self;
        }
        self.0.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        let mut kept: Vec<Piece> = Vec::with_capacity(self.len());
        for piece in self.0 {
            // Only the neighbours in the order have the same bytes; there are few of them.
            let joined = kept
                .iter_mut()
                .rev()
                .take_while(|other| other.bytes == piece.bytes)
                .find(|other| {
                    other.before == piece.before
                        || other.after == piece.after
                        || piece.implies(other)
                });
            match joined {
                Some(other) => {
                    other.before = other.before.or(piece.before);
                    other.after = other.after.or(piece.after);
                }
                None => kept.push(piece),
            }
        }
        Self(kept)
    }

    /// Each string replaced by what may follow the position before it.
    pub(super) fn as_after(&self) -> Self {
        let edge = self.0.iter().map(Piece::first).reduce(Edge::or);
        Self(
            edge.map(|after| Piece::beside(Edge::ANY, after))
                .into_iter()
                .collect(),
        )
    }

    /// At most `most` strings, each a beginning of what it was.
    pub(super) fn beginnings(self, most: usize) -> Self {
        self.shortened(most, |piece, length| {
            if let Some(&next) = piece.bytes.get(length) {
                piece.bytes.truncate(length);
                piece.after = Edge::new(ByteSet::EMPTY.with(next), false);
            }
        })
    }

    /// At most `most` strings, each an end of what it was.
    pub(super) fn ends(self, most: usize) -> Self {
        self.shortened(most, |piece, length| {
            let cut = piece.bytes.len().saturating_sub(length);
            if cut > 0 {
                let tail = piece.bytes.split_off(cut);
                let head = std::mem::replace(&mut piece.bytes, tail);
                let last = head
                    .last()
                    .map_or(ByteSet::ALL, |&last| ByteSet::EMPTY.with(last));
                piece.before = Edge::new(last, false);
            }
        })
    }

    fn shortened(mut self, most: usize, mut cut: impl FnMut(&mut Piece, usize)) -> Self {
        // What does not fit at three bytes says more as a set of single neighbours than as pairs.
        for length in [usize::MAX, 8, 5, 3, 1, 0] {
            if self.len() <= most {
                return self;
            }
            for piece in &mut self.0 {
                if length != usize::MAX {
                    cut(piece, length);
                }
            }
            self = self.merged();
        }
        if self.len() <= most {
            self
        } else {
            Self::free()
        }
    }
}
