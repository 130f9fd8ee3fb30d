//! A rule's regular expression: written for PCRE, run in linear time by `regex`.
//!
//! PCRE and `regex` read some texts differently without either complaining (`[[a]`, `[a&&b]`,
//! `\<`, `a++`), so a pattern is rewritten token by token first. What the matcher and the
//! prefilters see is then the same tree. What cannot be decided in linear time is refused.

mod rewrite;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::ByteSet;

/// Compiled programs of the largest CRS patterns take half a megabyte.
const PROGRAM_LIMIT: usize = 32 << 20;
/// The lazy automaton's cache, for each pattern and for each thread that matches at the same time.
const CACHE_LIMIT: usize = 1 << 20;

/// A regular expression, ready to match.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// What decides.
    pub(crate) regex: Regex,
    /// The tree that `regex` was compiled from.
    #[cfg(test)]
    pub(crate) hir: Hir,
}

/// Why a pattern is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Mistake {
    /// Something that only a backtracking matcher could do.
    #[error("{what} at byte {at} of the pattern cannot be matched in linear time; {instead}")]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// Where, from 0.
        at: usize,
        /// What to write.
        instead: &'static str,
    },
    /// Not a regular expression.
    #[error("the pattern is not a regular expression: {0}")]
    Syntax(String),
}

impl Pattern {
    /// Reads and compiles a pattern with the flags that ModSecurity gives to every one: bytes
    /// instead of characters, and a dot that matches line feeds too.
    pub(crate) fn parse(pattern: &[u8]) -> Result<Self, Mistake> {
        let read = Read::new(pattern)?;
        let regex = compile(&read.text)?;
        Ok(Self {
            regex,
            #[cfg(test)]
            hir: read.hir,
        })
    }
}

/// A pattern that has been read and not been compiled.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    text: String,
    /// The tree that it means.
    pub(crate) hir: Hir,
    /// Whether it matches more than PCRE would: an atomic group or possessive quantifier becomes an
    /// ordinary one and could not be shown to mean the same. A negated operator (`!@rx`) must not
    /// use such a pattern, since it would let pass what PCRE's meaning stops.
    pub(crate) is_widened: bool,
}

impl Read {
    /// Reads a pattern.
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, Mistake> {
        let rewritten = rewrite::rewrite(pattern)?;
        let hir = tree(&rewritten.text, false)?;
        Ok(Self {
            is_widened: !rewritten.possessive.iter().all(gives_nothing_back),
            text: rewritten.text,
            hir,
        })
    }

    /// Puts the compiling off, where it is certain that it will succeed; a pattern that could be too
    /// large is compiled now.
    pub(crate) fn defer(self) -> Result<(Deferred, Hir), Mistake> {
        let regex = OnceLock::new();
        if size(&self.hir) > PROGRAM_LIMIT {
            let compiled = compile(&self.text)?;
            // It is new and nobody else's.
            let _is_set = regex.set(Some(compiled));
        }
        let text = self.text.into();
        Ok((Deferred { text, regex }, self.hir))
    }
}

/// A pattern that is compiled when it is first asked. Of the hundreds of a rule set, benign traffic
/// asks some tens, and compiling all takes longer, and more memory, than all else that is loaded.
#[derive(Debug)]
pub(crate) struct Deferred {
    text: Box<str>,
    regex: OnceLock<Option<Regex>>,
}

impl Deferred {
    /// The compiled pattern. `None` would be a pattern that is too large after all; whoever asks
    /// must not take that for "does not match".
    #[inline]
    pub(crate) fn get(&self) -> Option<&Regex> {
        self.regex.get_or_init(|| compile(&self.text).ok()).as_ref()
    }
}

fn compile(text: &str) -> Result<Regex, Mistake> {
    RegexBuilder::new(text)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(PROGRAM_LIMIT)
        .dfa_size_limit(CACHE_LIMIT)
        .build()
        .map_err(|error| Mistake::Syntax(last_line(&error)))
}

/// Bytes that no program of a pattern exceeds: a state has some 32, a range of a class 8, and the
/// compiler adds a state or two to each node. Both are taken four times over.
///
/// The depth is bounded by the parser's nesting limit.
fn size(hir: &Hir) -> usize {
    const STATE: usize = 128;
    let states = |count: usize| count.saturating_mul(STATE);
    let all = |parts: &[Hir]| {
        let sizes = parts.iter().map(size);
        sizes.fold(states(2), |sum, size| {
            sum.saturating_add(size).saturating_add(STATE)
        })
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => states(2),
        HirKind::Literal(literal) => states(literal.0.len().saturating_add(2)),
        HirKind::Class(Class::Bytes(class)) => states(2 + class.ranges().len() / 4),
        // Of characters, which no pattern here has: up to four bytes each.
        HirKind::Class(Class::Unicode(class)) => states(class.ranges().len().saturating_mul(64)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min);
            let times = most.max(repetition.min).saturating_add(1);
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            let once = size(&repetition.sub).saturating_add(states(2));
            once.saturating_mul(times)
        }
        HirKind::Capture(capture) => size(&capture.sub).saturating_add(states(2)),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
    }
}

/// Parses as `regex` does with the flags of [`Pattern::parse`].
fn tree(text: &str, any_case: bool) -> Result<Hir, Mistake> {
    regex_syntax::ParserBuilder::new()
        .utf8(false)
        .unicode(false)
        .dot_matches_new_line(true)
        .case_insensitive(any_case)
        .build()
        .parse(text)
        .map_err(|error| Mistake::Syntax(last_line(&error)))
}

/// `regex` draws the pattern with a marker below it, which is of no use for eight kilobytes; the
/// last line says what is wrong.
fn last_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Whether a possessive quantifier means what the ordinary one means: it repeats single bytes of
/// one set, and what follows in its group must begin with a byte that is not in the set. Giving
/// bytes back could then never help, because the next byte would be one that was given back.
fn gives_nothing_back(quantifier: &rewrite::Possessive) -> bool {
    let (Ok(atom), Ok(rest)) = (tree(&quantifier.atom, true), tree(&quantifier.rest, true)) else {
        return false;
    };
    let props = atom.properties();
    let single = props.minimum_len() == Some(1) && props.maximum_len() == Some(1);
    let (repeated, _) = first_bytes(&atom);
    let (following, may_be_empty) = first_bytes(&rest);
    single && !may_be_empty && !repeated.intersects(following)
}

/// The bytes that a match can begin with, and whether it can be empty. Assertions count as empty.
///
/// The depth is bounded by the parser's nesting limit.
fn first_bytes(hir: &Hir) -> (ByteSet, bool) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (ByteSet::EMPTY, true),
        HirKind::Literal(literal) => match literal.0.first() {
            Some(&byte) => (ByteSet::EMPTY.with(byte), false),
            None => (ByteSet::EMPTY, true),
        },
        HirKind::Class(class) => (bytes_of(class), false),
        HirKind::Repetition(repetition) => {
            let (set, empty) = first_bytes(&repetition.sub);
            (set, empty || repetition.min == 0)
        }
        HirKind::Capture(capture) => first_bytes(&capture.sub),
        HirKind::Concat(parts) => {
            let mut all = ByteSet::EMPTY;
            for part in parts {
                let (set, empty) = first_bytes(part);
                all = all.union(set);
                if !empty {
                    return (all, false);
                }
            }
            (all, true)
        }
        HirKind::Alternation(parts) => parts
            .iter()
            .map(first_bytes)
            .fold((ByteSet::EMPTY, false), |(all, any_empty), (set, empty)| {
                (all.union(set), any_empty || empty)
            }),
    }
}

/// The bytes that a character of the class can begin with; those of a class of bytes exactly.
pub(crate) fn bytes_of(class: &Class) -> ByteSet {
    match class {
        Class::Bytes(class) => class.iter().fold(ByteSet::EMPTY, |set, range| {
            set.union(ByteSet::range(range.start(), range.end()))
        }),
        // Patterns are read as bytes, so this is for trees that come from elsewhere.
        Class::Unicode(class) => class.iter().fold(ByteSet::EMPTY, |set, range| {
            let ascii = |edge: char| u8::try_from(edge).ok().filter(u8::is_ascii);
            let set = match ascii(range.start()) {
                Some(start) => set.union(ByteSet::range(start, ascii(range.end()).unwrap_or(0x7F))),
                None => set,
            };
            match ascii(range.end()) {
                Some(_) => set,
                None => set.union(ByteSet::range(0x80, 0xFF)),
            }
        }),
    }
}
