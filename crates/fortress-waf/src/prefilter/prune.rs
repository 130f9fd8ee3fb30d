//! What is left of a pattern in everyday texts: without the bytes that only attacks and prose have.
//!
//! Patterns against evasion allow quotes, dollars and brackets between any two letters of a word, so
//! they need no string at all. But a text without such bytes can match only what is left of the
//! pattern when every part that needs one is cut out, and that needs the plain words. The condition
//! of what is left, "or one of the bytes that were cut out", holds for every text that the whole
//! pattern matches.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, Hir, HirKind, Repetition};

use super::alphabet::Alphabet;
use crate::{ByteSet, pattern::bytes_of};

/// Bytes that names, numbers, dates and identifiers are made of.
pub(super) const NAMES: ByteSet = ByteSet::range(b'a', b'z')
    .union(ByteSet::range(b'A', b'Z'))
    .union(ByteSet::range(b'0', b'9'))
    .union(ByteSet::of(b"._-"));

/// And those of addresses, media types and browsers' names.
pub(super) const TEXTS: ByteSet = NAMES.union(ByteSet::of(b" /:,+@;()"));

/// What is left of a pattern in texts of these bytes alone, and the groups of bytes of which a text
/// must have one to match anything else. Nothing is left if every match has one.
pub(super) fn prune(hir: &Hir, kept: ByteSet) -> (Option<Hir>, Alphabet) {
    let mut pruner = Pruner {
        kept,
        cut: Alphabet::default(),
    };
    let left = pruner.prune(hir);
    (left, pruner.cut)
}

struct Pruner {
    kept: ByteSet,
    cut: Alphabet,
}

impl Pruner {
    /// The recursion is as deep as the parser's nesting limit at most.
    fn prune(&mut self, hir: &Hir) -> Option<Hir> {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Some(hir.clone()),
            HirKind::Literal(literal) => {
                let rare = literal.0.iter().find(|byte| !self.kept.contains(**byte));
                match rare {
                    None => Some(hir.clone()),
                    Some(byte) => self.without(ByteSet::EMPTY.with(*byte)),
                }
            }
            HirKind::Class(class) => self.class(hir, class),
            HirKind::Repetition(repetition) => match self.prune(&repetition.sub) {
                Some(sub) => Some(Hir::repetition(Repetition {
                    sub: Box::new(sub),
                    ..repetition.clone()
                })),
                None if repetition.min == 0 => Some(Hir::empty()),
                None => None,
            },
            HirKind::Capture(capture) => self.prune(&capture.sub),
            HirKind::Concat(parts) => {
                let mut left = Vec::with_capacity(parts.len());
                for part in parts {
                    // What the parts behind one that is gone would have cut, nobody needs.
                    left.push(self.prune(part)?);
                }
                Some(Hir::concat(left))
            }
            HirKind::Alternation(parts) => {
                let left: Vec<Hir> = parts.iter().filter_map(|part| self.prune(part)).collect();
                (!left.is_empty()).then(|| Hir::alternation(left))
            }
        }
    }

    fn class(&mut self, hir: &Hir, class: &Class) -> Option<Hir> {
        let Class::Bytes(_) = class else {
            // Of characters, which no pattern here has.
            return Some(hir.clone());
        };
        let all = bytes_of(class);
        let rare = all.minus(self.kept);
        if rare.is_empty() {
            return Some(hir.clone());
        }
        self.cut = self.cut.union(Alphabet::mask(rare));
        let left = all.and(self.kept);
        if left.is_empty() {
            return None;
        }
        let ranges = left.iter().map(|byte| ClassBytesRange::new(byte, byte));
        Some(Hir::class(Class::Bytes(ClassBytes::new(ranges))))
    }

    fn without(&mut self, rare: ByteSet) -> Option<Hir> {
        self.cut = self.cut.union(Alphabet::mask(rare));
        None
    }
}
