//! Comments of SQL, C, HTML and shells. An unterminated comment reaches to the end.

use memchr::{memchr_iter, memchr2_iter, memmem};

use super::rewrite;

/// `/* … */` to one space.
pub(super) fn replace(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(input, out, opening, |rest| {
        Some((through(rest, 2).unwrap_or(rest.len()), Some(b' ')))
    })
}

/// The first `/*`. Stars are rarer than slashes.
fn opening(rest: &[u8]) -> Option<usize> {
    memchr_iter(b'*', rest)
        .filter_map(|star| star.checked_sub(1))
        .find(|slash| rest.get(*slash) == Some(&b'/'))
}

/// `/* … */` and `<!-- … -->` away, and everything after `--` or `#`. Either end ends either
/// comment; what is unterminated leaves a space.
pub(super) fn remove(input: &[u8], out: &mut Vec<u8>) -> bool {
    let block = |rest: &[u8], opening| match through_either(rest, opening) {
        Some(length) => (length, None),
        None => (rest.len(), Some(b' ')),
    };
    rewrite(input, out, mark, |rest| match rest {
        [b'/', b'*', ..] => Some(block(rest, 2)),
        [b'<', b'!', b'-', b'-', ..] => Some(block(rest, 4)),
        [b'#', ..] | [b'-', b'-', ..] => Some((rest.len(), None)),
        _ => None,
    })
}

/// The characters that open and close comments away: `/*`, `*/`, `<!--`, `-->`, `--`, `#`.
pub(super) fn remove_characters(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(input, out, mark, |rest| {
        let length = match rest {
            [b'<', b'!', b'-', b'-', ..] => 4,
            [b'-', b'-', b'>', ..] => 3,
            [b'/', b'*', ..] | [b'*', b'/', ..] | [b'-', b'-', ..] => 2,
            [b'#', ..] => 1,
            _ => return None,
        };
        Some((length, None))
    })
}

fn mark(rest: &[u8]) -> Option<usize> {
    rest.iter()
        .position(|byte| matches!(byte, b'/' | b'*' | b'<' | b'-' | b'#'))
}

/// The length up to and with the first `*/` that follows the opening.
fn through(rest: &[u8], opening: usize) -> Option<usize> {
    let inside = rest.get(opening..)?;
    Some(opening + memmem::find(inside, b"*/")? + 2)
}

/// The same with the first of `*/` and `-->`, in one look: two would be quadratic in the comments.
fn through_either(rest: &[u8], opening: usize) -> Option<usize> {
    let inside = rest.get(opening..)?;
    let ends = |at: &usize| {
        let upto = inside.get(..=*at).unwrap_or_default();
        upto.ends_with(b"*/") || upto.ends_with(b"-->")
    };
    Some(opening + memchr2_iter(b'/', b'>', inside).find(ends)? + 1)
}
