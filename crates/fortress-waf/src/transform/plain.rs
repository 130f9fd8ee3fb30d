//! Case, white space, NUL and the evasions of command lines.

use memchr::memchr;
use std::iter::repeat_n;

use super::{is_white, rewrite};

/// ASCII to lower case.
pub(super) fn lowercase(input: &[u8], out: &mut Vec<u8>) -> bool {
    let changed = any_in_strides(input, |byte| byte.is_ascii_uppercase());
    if changed {
        out.extend(input.iter().map(u8::to_ascii_lowercase));
    }
    changed
}

/// ASCII to upper case.
pub(super) fn uppercase(input: &[u8], out: &mut Vec<u8>) -> bool {
    let changed = any_in_strides(input, |byte| byte.is_ascii_lowercase());
    if changed {
        out.extend(input.iter().map(u8::to_ascii_uppercase));
    }
    changed
}

/// Whether any byte is so. A stride is looked at as a whole, which the compiler makes a few vector
/// instructions.
fn any_in_strides(input: &[u8], is: impl Fn(&u8) -> bool) -> bool {
    input
        .chunks(64)
        .any(|stride| stride.iter().fold(false, |any, byte| any | is(byte)))
}

/// Runs of white space to one space.
pub(super) fn compress_whitespace(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(input, out, white, |rest| {
        let run = rest.iter().take_while(|byte| is_white(**byte)).count();
        (run > 1 || rest.first() != Some(&b' ')).then_some((run, Some(b' ')))
    })
}

/// White space away, and the space that does not break, as Latin-1 (what `&nbsp;` decodes to) and
/// as UTF-8.
pub(super) fn remove_whitespace(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| {
            let is = |byte: &u8| is_white(*byte) || matches!(byte, 0xA0 | 0xC2);
            rest.iter().position(is)
        },
        |rest| match rest {
            [0xC2, 0xA0, ..] => Some((2, None)),
            [0xC2, ..] => None,
            _ => Some((1, None)),
        },
    )
}

fn white(rest: &[u8]) -> Option<usize> {
    rest.iter().position(|byte| is_white(*byte))
}

/// NUL away.
pub(super) fn remove_nulls(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr(0, rest),
        |rest| Some((rest.iter().take_while(|byte| **byte == 0).count(), None)),
    )
}

/// NUL to space.
pub(super) fn replace_nulls(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr(0, rest),
        |rest| {
            let run = rest.iter().take_while(|byte| **byte == 0).count();
            Some((run, repeat_n(b' ', run)))
        },
    )
}

/// White space at both ends away.
pub(super) fn trim(input: &[u8], out: &mut Vec<u8>) -> bool {
    trimmed(input, without_right(without_left(input)), out)
}

/// At the beginning.
pub(super) fn trim_left(input: &[u8], out: &mut Vec<u8>) -> bool {
    trimmed(input, without_left(input), out)
}

/// At the end.
pub(super) fn trim_right(input: &[u8], out: &mut Vec<u8>) -> bool {
    trimmed(input, without_right(input), out)
}

fn trimmed(input: &[u8], trimmed: &[u8], out: &mut Vec<u8>) -> bool {
    let changed = trimmed.len() < input.len();
    if changed {
        out.extend_from_slice(trimmed);
    }
    changed
}

fn without_left(mut input: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = input
        && is_white(*first)
    {
        input = rest;
    }
    input
}

fn without_right(mut input: &[u8]) -> &[u8] {
    while let [rest @ .., last] = input
        && is_white(*last)
    {
        input = rest;
    }
    input
}

/// What shells ignore away (`\ " ' ^`), runs of white space, commas and semicolons to one space,
/// none before `/` and `(`, and lower case.
pub(super) fn command_line(input: &[u8], out: &mut Vec<u8>) -> bool {
    let find = |rest: &[u8]| {
        let is = |byte: &u8| byte.is_ascii_uppercase() || is_ignored(*byte) || is_gap(*byte);
        rest.iter().position(is)
    };
    rewrite(input, out, find, |rest| {
        let first = *rest.first()?;
        if first.is_ascii_uppercase() {
            return Some((1, Some(first.to_ascii_lowercase())));
        }
        // What is ignored does not end a gap: `a ' /b` is `a/b`.
        let mut run = 0;
        let mut gap = false;
        for byte in rest {
            match *byte {
                byte if is_gap(byte) => gap = true,
                byte if is_ignored(byte) => {}
                _ => break,
            }
            run += 1;
        }
        gap &= !matches!(rest.get(run), Some(b'/' | b'('));
        let unchanged = gap && run == 1 && first == b' ';
        (!unchanged).then_some((run, gap.then_some(b' ')))
    })
}

const fn is_ignored(byte: u8) -> bool {
    matches!(byte, b'\\' | b'"' | b'\'' | b'^')
}

const fn is_gap(byte: u8) -> bool {
    matches!(byte, b' ' | b',' | b';' | b'\t' | b'\r' | b'\n')
}
