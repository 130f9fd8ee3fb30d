//! JSON's strings and numbers: where they end, whether they are valid, what they say.
//!
//! A surrogate without its other half has no UTF-8; it stays as the escape that it was written as,
//! so that rules see it.

use memchr::memchr;

use crate::body::{Fault, cursor::Cursor};

/// What stands between two quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    bytes: &'a [u8],
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether there is a backslash in it.
    pub(super) escaped: bool,
}

impl<'a> Raw<'a> {
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Reads a string with its quotes; its escapes are valid afterwards.
pub(super) fn string<'a>(cursor: &mut Cursor<'a>) -> Result<Raw<'a>, Fault> {
    let opening = cursor.at();
    cursor.skip(1);
    let start = cursor.at();
    let mut escaped = false;
    loop {
        cursor.skip_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1F));
        match cursor.peek() {
            Some(b'"') => {
                let raw = Raw {
                    bytes: cursor.since(start),
                    start,
                    end: cursor.at(),
                    escaped,
                };
                cursor.skip(1);
                return Ok(raw);
            }
            Some(b'\\') => {
                escaped = true;
                match cursor.rest() {
                    [
                        _,
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't',
                        ..,
                    ] => {
                        cursor.skip(2);
                    }
                    [_, b'u', a, b, c, d, ..] if unit([*a, *b, *c, *d]).is_some() => {
                        cursor.skip(6);
                    }
                    _ => return Err(cursor.fault("invalid escape")),
                }
            }
            Some(_) => return Err(cursor.fault("control character in a string")),
            None => return Err(cursor.fault_at("string without end", opening)),
        }
    }
}

/// Reads a number.
pub(super) fn number(cursor: &mut Cursor<'_>) -> Result<(), Fault> {
    let digits = |cursor: &mut Cursor<'_>| cursor.skip_while(|byte| byte.is_ascii_digit());
    let expected = "expected a digit";
    cursor.eat(b"-");
    if !cursor.eat(b"0") && digits(cursor) == 0 {
        return Err(cursor.fault(expected));
    }
    if cursor.eat(b".") && digits(cursor) == 0 {
        return Err(cursor.fault(expected));
    }
    if cursor.eat(b"e") || cursor.eat(b"E") {
        if !cursor.eat(b"+") {
            cursor.eat(b"-");
        }
        if digits(cursor) == 0 {
            return Err(cursor.fault(expected));
        }
    }
    Ok(())
}

/// Appends what a string says.
pub(super) fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest) {
        let (plain, escape) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(plain);
        rest = match escape {
            [_, b'u', a, b, c, d, more @ ..] => character([*a, *b, *c, *d], more, out),
            [_, letter, more @ ..] => {
                out.push(match letter {
                    b'b' => 0x08,
                    b'f' => 0x0C,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    itself => *itself,
                });
                more
            }
            unfinished => {
                out.extend_from_slice(unfinished);
                &[]
            }
        };
    }
    out.extend_from_slice(rest);
}

/// Appends the character of a `\u` escape, which may go on in `more`; returns what follows it.
fn character<'a>(digits: [u8; 4], more: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let first = unit(digits).unwrap_or_default();
    let (code, rest) = match more {
        [b'\\', b'u', a, b, c, d, rest @ ..] if (0xD800..0xDC00).contains(&first) => {
            match unit([*a, *b, *c, *d]) {
                Some(second @ 0xDC00..0xE000) => (
                    0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    rest,
                ),
                _ => (first, more),
            }
        }
        _ => (first, more),
    };
    match char::from_u32(code) {
        Some(character) => {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        None => {
            out.extend_from_slice(b"\\u");
            out.extend_from_slice(&digits);
        }
    }
    rest
}

fn unit(digits: [u8; 4]) -> Option<u32> {
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit << 4 | char::from(*digit).to_digit(16)?)
    })
}

/// Appends a number in decimal.
pub(super) fn decimal(number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let mut left = number;
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"
            .get(usize::try_from(left % 10).unwrap_or_default())
            .copied()
            .unwrap_or_default();
        left /= 10;
        used += 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}
