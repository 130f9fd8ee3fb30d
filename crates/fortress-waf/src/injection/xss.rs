//! `@detectXSS`: whether a browser could find script in a value.
//!
//! The `barbacane-libinjection` crate reads the HTML, five times: as text and within each kind of
//! attribute. Here is what tells beforehand that it cannot find anything.

use memchr::{memchr, memchr_iter};

use crate::ByteSet;

/// Whether the value carries script.
#[must_use]
pub fn detect(text: &[u8]) -> bool {
    (has_tag(text) || has_attribute(text)) && libinjectionrs::detect_xss(text).is_injection()
}

/// Whether a value made of these bytes alone could be found: if not, it need not be read. More bytes
/// only ever make it so.
///
/// From text nothing but `<` leads into markup, from a quoted or bare attribute nothing but `=` or `<`
/// to a value. Names of tags, attributes, declarations and processing instructions have letters;
/// a comment without letters is only found for a backtick.
#[must_use]
pub fn possible(bytes: &ByteSet) -> bool {
    const LETTERS: ByteSet = ByteSet::range(b'a', b'z').union(ByteSet::range(b'A', b'Z'));
    bytes.intersects(ByteSet::of(b"<=")) && bytes.intersects(LETTERS)
        || ByteSet::of(b"<`").minus(*bytes).is_empty()
}

/// Whether a `<` opens markup: before anything else it is text, wherever the reader is.
fn has_tag(text: &[u8]) -> bool {
    memchr_iter(b'<', text).any(|at| {
        matches!(
            text.get(at + 1),
            Some(b'!' | b'/' | b'?' | b'%' | 0 | b'a'..=b'z' | b'A'..=b'Z')
        )
    })
}

/// Whether what stands before a `=` could be the name of an attribute that matters.
fn has_attribute(text: &[u8]) -> bool {
    let mut from = 0;
    while let Some(found) = memchr(b'=', text.get(from..).unwrap_or_default()) {
        let before = text.get(from..from + found).unwrap_or_default();
        if ends_in_name(before) {
            return true;
        }
        from += found + 1;
    }
    false
}

/// Whether a text ends in such a name. White space, `/` and `>` end names, and a quote may have
/// closed the value before: a name begins after any of these, and `=` was the last that ended one.
///
/// Of the names that matter some are matched by their beginning (`on…`, `xmlns…`, `xlink…`), and all
/// others are letters and `:` throughout, at least two.
fn ends_in_name(text: &[u8]) -> bool {
    let end = text.iter().rposition(|&byte| !is_white(byte));
    let run = text
        .get(..end.map_or(0, |last| last + 1))
        .unwrap_or_default();
    let start = run
        .iter()
        .rposition(|&byte| is_white(byte) || matches!(byte, b'/' | b'>'));
    let run = run
        .get(start.map_or(0, |last| last + 1)..)
        .unwrap_or_default();
    let mut names = run
        .iter()
        .enumerate()
        .filter(|(_, byte)| matches!(byte, b'\'' | b'"' | b'`'))
        .map(|(at, _)| run.get(at + 1..).unwrap_or_default());
    is_name(run) || names.any(is_name)
}

fn is_name(name: &[u8]) -> bool {
    let starts = |word: &[u8]| {
        let start = name.get(..word.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b':';
    starts(b"on")
        || starts(b"xmlns")
        || starts(b"xlink")
        || name.len() >= 2 && name.iter().all(is_letter)
}

fn is_white(byte: u8) -> bool {
    matches!(byte, 0 | 9..=13 | b' ')
}
