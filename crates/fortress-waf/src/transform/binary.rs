//! Base64, hexadecimal, hashes, parity and the length.

use md5::{Digest, Md5};
use memchr::memchr2;
use sha1::Sha1;

use super::{hex, hex_pair, rewrite, urls::digit};
use crate::ByteSet;

/// Decodes up to the first byte that is not base64; line breaks are skipped, padding may be
/// missing. ModSecurity 2 and Coraza do so, too; ModSecurity 3 decodes nothing at all if there is
/// one such byte, so that a byte of rubbish at the end would hide what a lenient server decodes.
pub(super) fn base64_decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let until = |byte: &u8| sextet(*byte).is_some() || matches!(byte, b'\r' | b'\n');
    let sextets = input.iter().take_while(|byte| until(byte));
    join_sextets(sextets.filter_map(|byte| sextet(*byte)), out);
    // Four bytes give three at most: what is not empty is shorter.
    !input.is_empty()
}

/// Decodes what is base64 and skips what is not.
pub(super) fn base64_decode_forgiving(input: &[u8], out: &mut Vec<u8>) -> bool {
    join_sextets(input.iter().filter_map(|byte| sextet(*byte)), out);
    !input.is_empty()
}

/// Four times six bits to three bytes. Bits that make no byte are dropped.
fn join_sextets(sextets: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    let mut bits: u8 = 0;
    let mut left = 0;
    for sextet in sextets {
        match left {
            0 => {
                bits = sextet << 2;
                left = 6;
                continue;
            }
            2 => out.push(bits | sextet),
            4 => out.push(bits | sextet >> 2),
            _ => out.push(bits | sextet >> 4),
        }
        left -= 2;
        bits = match left {
            0 => 0,
            2 => sextet << 6,
            _ => sextet << 4,
        };
    }
}

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// To base64, with padding.
pub(super) fn base64_encode(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(input.len().div_ceil(3) * 4);
    for group in input.chunks(3) {
        let (a, b, c) = match *group {
            [a] => (a, 0, 0),
            [a, b] => (a, b, 0),
            [a, b, c] => (a, b, c),
            _ => (0, 0, 0),
        };
        let mut code = [a >> 2, a << 4 | b >> 4, b << 2 | c >> 6, c].map(base64_digit);
        let [_, _, third, fourth] = &mut code;
        if group.len() < 2 {
            *third = b'=';
        }
        if group.len() < 3 {
            *fourth = b'=';
        }
        out.extend_from_slice(&code);
    }
    !input.is_empty()
}

/// The digit of the low six bits.
const fn base64_digit(bits: u8) -> u8 {
    match bits & 0x3F {
        bits @ 0..=25 => b'A' + bits,
        bits @ 26..=51 => b'a' + bits - 26,
        bits @ 52..=61 => b'0' + bits - 52,
        62 => b'+',
        _ => b'/',
    }
}

/// Two digits to a byte. What is no digit is taken as if it were one, so that it cannot hide what
/// follows; a digit without its other half is dropped.
pub(super) fn hex_decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    let digit = |byte: u8| match byte {
        b'A'.. => (byte & 0xDF).wrapping_sub(b'A').wrapping_add(10),
        _ => byte.wrapping_sub(b'0'),
    };
    let pairs = input.as_chunks::<2>().0.iter();
    out.extend(pairs.map(|[high, low]| digit(*high).wrapping_mul(16).wrapping_add(digit(*low))));
    !input.is_empty()
}

/// To hexadecimal, in lower case.
pub(super) fn hex_encode(input: &[u8], out: &mut Vec<u8>) -> bool {
    out.reserve(input.len() * 2);
    out.extend(
        input
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(*byte)]),
    );
    !input.is_empty()
}

/// MySQL's `0x616263` to its bytes; an odd digit stays.
pub(super) fn sql_hex_decode(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(input, out, literal, |rest| {
        let digits = rest
            .get(2..)?
            .iter()
            .take_while(|byte| hex(**byte).is_some());
        let pairs = digits.count() / 2;
        let taken = 2 + pairs * 2;
        let digits = rest.get(2..taken)?.as_chunks::<2>().0.iter();
        (pairs > 0).then(|| {
            (
                taken,
                digits.filter_map(|[high, low]| hex_pair(*high, *low)),
            )
        })
    })
}

/// The first `0x`. The `x` is rarer than the zero.
fn literal(rest: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = memchr2(b'x', b'X', rest.get(from..)?) {
        from += at + 1;
        if let Some(zero) = from.checked_sub(2)
            && rest.get(zero) == Some(&b'0')
        {
            return Some(zero);
        }
    }
    None
}

/// The length in decimal.
pub(super) fn length(input: &[u8], out: &mut Vec<u8>) -> bool {
    let mut digits = [0; 20];
    let mut rest = input.len();
    let mut count = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        count += 1;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let text = digits.get(digits.len() - count..).unwrap_or_default();
    // `1` has the length 1.
    let changed = text != input;
    if changed {
        out.extend_from_slice(text);
    }
    changed
}

/// MD5, raw.
pub(super) fn md5(input: &[u8], out: &mut Vec<u8>) -> bool {
    hashed(input, &Md5::digest(input), out)
}

/// SHA-1, raw.
pub(super) fn sha1(input: &[u8], out: &mut Vec<u8>) -> bool {
    hashed(input, &Sha1::digest(input), out)
}

fn hashed(input: &[u8], digest: &[u8], out: &mut Vec<u8>) -> bool {
    let changed = digest != input;
    if changed {
        out.extend_from_slice(digest);
    }
    changed
}

/// The high bit to zero.
pub(super) fn parity_zero(input: &[u8], out: &mut Vec<u8>) -> bool {
    mapped(input, zero, out)
}

/// The high bit to one where the number of ones is odd, to zero where it is even. As in ModSecurity
/// the high bit itself is counted: the data is meant to have seven.
pub(super) fn parity_even(input: &[u8], out: &mut Vec<u8>) -> bool {
    mapped(input, even, out)
}

/// The other way round.
pub(super) fn parity_odd(input: &[u8], out: &mut Vec<u8>) -> bool {
    mapped(input, odd, out)
}

fn mapped(input: &[u8], map: fn(u8) -> u8, out: &mut Vec<u8>) -> bool {
    let changed = input.iter().any(|byte| map(*byte) != *byte);
    if changed {
        out.extend(input.iter().map(|byte| map(*byte)));
    }
    changed
}

const fn zero(byte: u8) -> u8 {
    byte & 0x7F
}

const fn even(byte: u8) -> u8 {
    if byte.count_ones().is_multiple_of(2) {
        byte & 0x7F
    } else {
        byte | 0x80
    }
}

const fn odd(byte: u8) -> u8 {
    even(byte) ^ 0x80
}

/// What [`parity_even`] changes: the high bit says something else than the parity.
pub(super) const PARITY_EVEN: ByteSet = odd_ones(0x00, 0x7F).union(even_ones(0x80, 0xFF));
/// What [`parity_odd`] changes.
pub(super) const PARITY_ODD: ByteSet = even_ones(0x00, 0x7F).union(odd_ones(0x80, 0xFF));

/// The bytes of a range that have an even number of ones.
const fn even_ones(low: u8, high: u8) -> ByteSet {
    ByteSet::range(low, high).minus(odd_ones(low, high))
}

/// The bytes of a range that have an odd number of ones.
const fn odd_ones(low: u8, high: u8) -> ByteSet {
    let mut set = ByteSet::EMPTY;
    let mut byte = low;
    loop {
        if !byte.count_ones().is_multiple_of(2) {
            set = set.with(byte);
        }
        if byte == high {
            return set;
        }
        byte += 1;
    }
}
