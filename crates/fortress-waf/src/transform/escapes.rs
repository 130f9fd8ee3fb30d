//! Escapes with a backslash: JavaScript's, CSS's and those of ANSI C.
//!
//! What is no escape loses its backslash, as it does for a browser or a shell.

use memchr::memchr;

use super::{hex, hex_pair, is_white, rewrite};

/// `\uHHHH`, `\xHH`, `\OOO` and single letters. A code beyond a byte gives its low byte; the full
/// width forms give the ASCII that they look like.
pub(super) fn javascript(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr(b'\\', rest),
        |rest| match *rest {
            [_, b'u', a, b, c, d, ..] if let Some(byte) = four_digits(a, b, c, d) => {
                Some((6, Some(byte)))
            }
            [_, b'x', high, low, ..] if let Some(byte) = hex_pair(high, low) => {
                Some((4, Some(byte)))
            }
            // 377 is the largest that fits; of 400 only 40 is the code.
            [_, a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((4, Some(octal(&[a, b, c]))))
            }
            [_, a @ b'0'..=b'7', b @ b'0'..=b'7', ..] => Some((3, Some(octal(&[a, b])))),
            [_, a @ b'0'..=b'7', ..] => Some((2, Some(octal(&[a])))),
            [_, letter, ..] => Some((2, Some(control(letter).unwrap_or(letter)))),
            _ => None,
        },
    )
}

/// `\xHH`, `\OOO` and single letters.
pub(super) fn ansi_c(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr(b'\\', rest),
        |rest| match *rest {
            [_, b'x' | b'X', high, low, ..] if let Some(byte) = hex_pair(high, low) => {
                Some((4, Some(byte)))
            }
            [_, a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((4, Some(octal(&[a, b, c]))))
            }
            [_, a @ b'0'..=b'7', b @ b'0'..=b'7', ..] => Some((3, Some(octal(&[a, b])))),
            [_, a @ b'0'..=b'7', ..] => Some((2, Some(octal(&[a])))),
            [_, letter, ..] => Some((2, Some(control(letter).unwrap_or(letter)))),
            _ => None,
        },
    )
}

/// One to six hexadecimal digits and one white space after them; a line continued; any other
/// character as itself. A backslash at the end goes.
pub(super) fn css(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr(b'\\', rest),
        |rest| {
            let escaped = rest.get(1..).unwrap_or_default();
            let digits = escaped
                .iter()
                .take(6)
                .take_while(|byte| byte.is_ascii_hexdigit())
                .count();
            let (code, after) = escaped.split_at_checked(digits).unwrap_or_default();
            match code {
                [] => Some(match escaped {
                    [] => (1, None),
                    [b'\n', ..] => (2, None),
                    [other, ..] => (2, Some(*other)),
                }),
                code => {
                    let white = after.first().is_some_and(|byte| is_white(*byte));
                    Some((1 + digits + usize::from(white), Some(css_byte(code))))
                }
            }
        },
    )
}

/// The byte of a CSS code: the low one, or the ASCII of a full width form.
fn css_byte(code: &[u8]) -> u8 {
    match *code {
        [a, b, c, d] | [b'0', a, b, c, d] | [b'0', b'0', a, b, c, d] => four_digits(a, b, c, d),
        [.., high, low] => hex_pair(high, low),
        [low] => hex(low),
        [] => None,
    }
    .unwrap_or_default()
}

/// The low byte of a code of four digits; of `ff01` to `ff5e` the ASCII that they look like.
pub(super) fn four_digits(a: u8, b: u8, c: u8, d: u8) -> Option<u8> {
    let (high, low) = (hex_pair(a, b)?, hex_pair(c, d)?);
    let wide = high == 0xFF && (0x01..=0x5E).contains(&low);
    Some(if wide { low + 0x20 } else { low })
}

/// The low byte of an octal number.
fn octal(digits: &[u8]) -> u8 {
    let mut value: u8 = 0;
    for digit in digits {
        value = value.wrapping_mul(8).wrapping_add(digit & 7);
    }
    value
}

/// The control character that a letter after a backslash means.
const fn control(letter: u8) -> Option<u8> {
    match letter {
        b'a' => Some(0x07),
        b'b' => Some(0x08),
        b'f' => Some(0x0C),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(0x0B),
        _ => None,
    }
}
