//! Percent encoding and `%uXXXX`, in both directions.

use memchr::memchr2;
use smallvec::SmallVec;

use super::{bestfit, escapes::four_digits, hex_pair, rewrite};
use crate::ByteSet;

/// `%HH` and `+`. What is no valid encoding stays.
pub(super) fn decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr2(b'%', b'+', rest),
        |rest| match *rest {
            [b'+', ..] => Some((1, Some(b' '))),
            [_, high, low, ..] => Some((3, Some(hex_pair(high, low)?))),
            _ => None,
        },
    )
}

/// `%HH`, `%uHHHH` and `+`. A code beyond a byte gives the ASCII that US-ASCII's best fit (code
/// page 20127, what ModSecurity's recommended configuration loads) makes of it, as a server on
/// Windows may do; otherwise the full width forms give the ASCII that they look like, and the rest
/// its low byte.
pub(super) fn decode_unicode(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr2(b'%', b'+', rest),
        |rest| match *rest {
            [b'+', ..] => Some((1, Some(b' '))),
            [_, b'u' | b'U', a, b, c, d, ..] => {
                let low = four_digits(a, b, c, d)?;
                let (high, exact) = (hex_pair(a, b)?, hex_pair(c, d)?);
                let code = u16::from_be_bytes([high, exact]);
                Some((6, Some(bestfit::ascii(code).unwrap_or(low))))
            }
            [_, high, low, ..] => Some((3, Some(hex_pair(high, low)?))),
            _ => None,
        },
    )
}

/// What [`encode`] keeps, and the space, which it makes a plus.
pub(super) const KEPT: ByteSet = ByteSet::of(b"*")
    .union(ByteSet::range(b'0', b'9'))
    .union(ByteSet::range(b'A', b'Z'))
    .union(ByteSet::range(b'a', b'z'));

/// To percent encoding, in lower case.
pub(super) fn encode(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| rest.iter().position(|byte| !KEPT.contains(*byte)),
        |rest| {
            let byte = *rest.first()?;
            Some((
                1,
                match byte {
                    b' ' => SmallVec::<[u8; 3]>::from_slice(b"+"),
                    _ => SmallVec::from_slice(&[b'%', digit(byte >> 4), digit(byte)]),
                },
            ))
        },
    )
}

/// Characters beyond ASCII to `%uXXXX`, in lower case. Overlong forms and surrogates, by which
/// decoders are deceived, are decoded as well; what is no character stays.
pub(super) fn from_utf8(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(input, out, beyond_ascii, |rest| {
        let (taken, code) = character(rest)?;
        let mut text = SmallVec::<[u8; 8]>::from_slice(b"%u");
        let [_, a, b, c] = code.to_be_bytes();
        let digits = [a >> 4, a, b >> 4, b, c >> 4, c].map(digit);
        // Four digits at least.
        let zeros = digits.iter().take(2).take_while(|digit| **digit == b'0');
        text.extend_from_slice(digits.get(zeros.count()..).unwrap_or_default());
        Some((taken, text))
    })
}

/// The first byte that is not ASCII, looked for in strides.
fn beyond_ascii(rest: &[u8]) -> Option<usize> {
    const STRIDE: usize = 32;
    let ascii = rest
        .chunks_exact(STRIDE)
        .take_while(|chunk| chunk.is_ascii())
        .count()
        * STRIDE;
    let at = rest
        .get(ascii..)?
        .iter()
        .position(|byte| !byte.is_ascii())?;
    Some(ascii + at)
}

/// The length and the code of the character at the beginning.
fn character(rest: &[u8]) -> Option<(usize, u32)> {
    let bits = |byte: u8, mask: u8| u32::from(byte & mask);
    match *rest {
        [a @ 0xC0..=0xDF, b @ 0x80..=0xBF, ..] => Some((2, bits(a, 0x1F) << 6 | bits(b, 0x3F))),
        [a @ 0xE0..=0xEF, b @ 0x80..=0xBF, c @ 0x80..=0xBF, ..] => {
            Some((3, bits(a, 0x0F) << 12 | bits(b, 0x3F) << 6 | bits(c, 0x3F)))
        }
        [
            a @ 0xF0..=0xF4,
            b @ 0x80..=0xBF,
            c @ 0x80..=0xBF,
            d @ 0x80..=0xBF,
            ..,
        ] => Some((
            4,
            bits(a, 0x07) << 18 | bits(b, 0x3F) << 12 | bits(c, 0x3F) << 6 | bits(d, 0x3F),
        )),
        _ => None,
    }
    .filter(|(_, code)| *code <= 0x10_FFFF)
}

/// The hexadecimal digit of the low four bits.
pub(super) const fn digit(bits: u8) -> u8 {
    let bits = bits & 0x0F;
    if bits < 10 {
        b'0' + bits
    } else {
        b'a' + bits - 10
    }
}
