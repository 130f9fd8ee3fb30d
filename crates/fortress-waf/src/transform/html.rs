//! HTML's entities: decimal and hexadecimal ones, and the five names that ModSecurity knows.
//!
//! Not here: the other names of HTML. The rules for script spell `&colon;`, `&tab;` and `&newline;`
//! themselves and would not know what to do with more.

use memchr::memchr;

use super::{hex, rewrite};

/// Decodes entities; the semicolon may be missing. A code beyond a byte gives its low byte.
pub(super) fn entities(input: &[u8], out: &mut Vec<u8>) -> bool {
    rewrite(
        input,
        out,
        |rest| memchr(b'&', rest),
        |rest| {
            let (taken, byte) = entity(rest)?;
            let closed = rest.get(taken) == Some(&b';');
            Some((taken + usize::from(closed), Some(byte)))
        },
    )
}

/// The length of the entity without its semicolon, and its byte.
fn entity(rest: &[u8]) -> Option<(usize, u8)> {
    match rest {
        [_, b'#', b'x' | b'X', digits @ ..] => {
            let (count, byte) = number(digits, 16)?;
            Some((3 + count, byte))
        }
        [_, b'#', digits @ ..] => {
            let (count, byte) = number(digits, 10)?;
            Some((2 + count, byte))
        }
        [_, name @ ..] => {
            // The longest name has four letters; a fifth makes it another.
            let name = name
                .iter()
                .take(5)
                .take_while(|byte| byte.is_ascii_alphanumeric());
            let count = name.count();
            let name = rest.get(1..=count)?;
            let (_, byte) = NAMES
                .iter()
                .find(|(known, _)| name.eq_ignore_ascii_case(known))?;
            Some((1 + count, *byte))
        }
        [] => None,
    }
}

/// How many digits there are, and the low byte of the number. What no 63 bits hold is the largest
/// that they do.
fn number(text: &[u8], base: i64) -> Option<(usize, u8)> {
    let mut value: i64 = 0;
    let mut count = 0;
    for digit in text.iter().map_while(|byte| hex(*byte)) {
        let digit = i64::from(digit);
        if digit >= base {
            break;
        }
        value = value.saturating_mul(base).saturating_add(digit);
        count += 1;
    }
    let [low, ..] = value.to_le_bytes();
    (count > 0).then_some((count, low))
}

const NAMES: [(&[u8], u8); 5] = [
    (b"lt", b'<'),
    (b"gt", b'>'),
    (b"amp", b'&'),
    (b"quot", b'"'),
    (b"nbsp", 0xA0),
];
