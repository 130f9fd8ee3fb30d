//! Case, white space, NUL and the evasions of command lines.

use memchr::memchr;
use std::iter::repeat_n;

use super::{is_white, rewrite};
use crate::ByteSet;

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
    let start = out.len();
    let mut rest = input;
    let mut changed = false;
    while !rest.is_empty() {
        let plain = rest.iter().position(|byte| SPECIAL.contains(*byte));
        let (plain, special) = rest
            .split_at_checked(plain.unwrap_or(rest.len()))
            .unwrap_or_default();
        out.extend(plain.iter().map(u8::to_ascii_lowercase));
        // What is ignored does not end a gap: `a ' /b` is `a/b`.
        let run = special.iter().take_while(|byte| SPECIAL.contains(**byte));
        let (run, after) = special.split_at_checked(run.count()).unwrap_or_default();
        let gap =
            run.iter().any(|byte| GAPS.contains(*byte)) && !matches!(after, [b'/' | b'(', ..]);
        if gap {
            out.push(b' ');
        }
        changed |= run != if gap { &b" "[..] } else { b"" };
        rest = after;
    }
    changed |= any_in_strides(input, |byte| byte.is_ascii_uppercase());
    if !changed {
        out.truncate(start);
    }
    changed
}

/// What shells ignore, and what divides words.
const IGNORED: ByteSet = ByteSet::of(b"\\\"'^");
const GAPS: ByteSet = ByteSet::of(b" ,;\t\r\n");
const SPECIAL: ByteSet = IGNORED.union(GAPS);
