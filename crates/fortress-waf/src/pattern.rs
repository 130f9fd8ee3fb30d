//! A rule's regular expression: written for PCRE, run in linear time by `regex`.
//!
//! PCRE and `regex` read some texts differently without either complaining (`[[a]`, `[a&&b]`,
//! `\<`, `a++`), so a pattern is rewritten token by token first. What the matcher and the
//! prefilters see is then the same tree. What cannot be decided in linear time is refused.

mod rewrite;
#[cfg(test)]
mod tests;

use regex::bytes::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::ByteSet;

/// Compiled programs of the largest CRS patterns take half a megabyte.
const PROGRAM_LIMIT: usize = 32 << 20;
/// The lazy automaton's cache, for each pattern and for each thread that matches at the same time.
const CACHE_LIMIT: usize = 1 << 20;

/// A regular expression, ready to match and open to analysis.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// What decides.
    pub(crate) regex: Regex,
    /// The tree that `regex` was compiled from.
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
    /// Reads a pattern without compiling it. Says whether it matches more than PCRE would: an atomic
    /// group or possessive quantifier becomes an ordinary one and could not be shown to mean the
    /// same. A negated operator (`!@rx`) must not use such a pattern, since it would let pass what
    /// PCRE's meaning stops.
    pub(crate) fn check(pattern: &[u8]) -> Result<bool, Mistake> {
        let rewritten = rewrite::rewrite(pattern)?;
        tree(&rewritten.text, false)?;
        Ok(!rewritten.possessive.iter().all(gives_nothing_back))
    }

    /// Reads and compiles a pattern with the flags that ModSecurity gives to every one: bytes
    /// instead of characters, and a dot that matches line feeds too.
    pub(crate) fn parse(pattern: &[u8]) -> Result<Self, Mistake> {
        let rewritten = rewrite::rewrite(pattern)?;
        let hir = tree(&rewritten.text, false)?;
        let regex = RegexBuilder::new(&rewritten.text)
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(PROGRAM_LIMIT)
            .dfa_size_limit(CACHE_LIMIT)
            .build()
            .map_err(|error| Mistake::Syntax(last_line(&error)))?;
        Ok(Self { regex, hir })
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
