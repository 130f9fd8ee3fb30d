//! `application/x-www-form-urlencoded`, for bodies and query strings.
//!
//! Decoded once, as ModSecurity's `ARGS` are: `%XX` and `+`. An invalid encoding stays as it is.
//! `%uXXXX` is not decoded here; that is what the transformation `urlDecodeUni` is for.

use memchr::{memchr, memchr_iter, memchr2};

use super::{Argument, Fault, Limits};
use crate::store::{Store, Text};

/// What was noticed besides the arguments.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Urlencoded {
    /// `URLENCODED_ERROR`.
    pub(crate) invalid_encoding: bool,
    /// The limit that was exceeded.
    pub(crate) fault: Option<Fault>,
}

/// Adds the arguments of `input`. One without `=` is a name with an empty value; nothing between
/// two separators is no argument.
pub(crate) fn urlencoded(
    store: &mut Store,
    input: Text,
    separator: u8,
    limits: &Limits,
    out: &mut Vec<Argument>,
) -> Urlencoded {
    let mut told = Urlencoded::default();
    let mut start = 0;
    // Vectors that double would take half as much again while they move.
    let whole = store.get(input);
    let pairs = memchr_iter(separator, whole).count() + 1;
    let encoded = memchr2(b'%', b'+', whole).map_or(0, |_| whole.len());
    out.reserve(pairs.min(limits.arguments.saturating_sub(out.len())));
    store.reserve(encoded);
    while start < input.len() {
        let rest = store.get(input.part(start, input.len()));
        let length = memchr(separator, rest).unwrap_or(rest.len());
        let pair = rest.get(..length).unwrap_or_default();
        let equals = memchr(b'=', pair);
        let end = start + length;
        if length > 0 {
            if out.len() >= limits.arguments {
                told.fault = Some(Fault {
                    processor: "URLENCODED",
                    what: "more arguments than the limit",
                    at: start,
                });
                break;
            }
            let (name, value) = match equals {
                Some(at) => (start..start + at, start + at + 1..end),
                None => (start..end, end..end),
            };
            let name = decoded(store, input.part(name.start, name.end), &mut told);
            let value = decoded(store, input.part(value.start, value.end), &mut told);
            out.push(Argument { name, value });
        }
        start = end + 1;
    }
    told
}

/// The text itself if there is nothing to decode, so that nearly nothing is ever copied.
fn decoded(store: &mut Store, text: Text, told: &mut Urlencoded) -> Text {
    if memchr2(b'%', b'+', store.get(text)).is_none() {
        return text;
    }
    let start = store.used();
    let mut at = 0;
    loop {
        let rest = store.get(text.part(at, text.len()));
        let Some(run) = memchr2(b'%', b'+', rest) else {
            store.append(text.part(at, text.len()));
            return store.since(start);
        };
        let (byte, width) = match rest.get(run..) {
            Some([b'+', ..]) => (b' ', 1),
            Some([b'%', high, low, ..]) => match byte_of(*high, *low) {
                Some(byte) => (byte, 3),
                None => (b'%', 1),
            },
            _ => (b'%', 1),
        };
        told.invalid_encoding |= byte == b'%' && width == 1;
        store.append(text.part(at, at + run));
        store.push(byte);
        at += run + width;
    }
}

/// The byte that two hexadecimal digits name.
pub(super) fn byte_of(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? << 4 | digit(low)?)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}
