//! Values as text and as numbers.

use memchr::{memchr_iter, memmem};

use crate::ByteSet;

/// What a value is as a number: white space, a sign and digits at its beginning; otherwise zero.
/// What no 64 bits hold is the number nearest to it. (C's `atoi` would give any number there, and
/// `@gt 1000` would not see twenty digits.)
pub(crate) fn number(value: &[u8]) -> i64 {
    // The vertical tab, too, which Rust does not count as white space.
    let white = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let begins = value.iter().position(|byte| !white(byte));
    let value = value.get(begins.unwrap_or_default()..).unwrap_or_default();
    let (negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let mut number: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(digit - b'0');
        number = number.saturating_mul(10);
        number = if negative {
            number.saturating_sub(digit)
        } else {
            number.saturating_add(digit)
        };
    }
    number
}

/// `contains` and `strmatch`.
pub(crate) fn contains(value: &[u8], argument: &[u8]) -> bool {
    find(value, argument)
}

/// Whether a text has another in it. Short ones are compared place by place, longer ones wherever a
/// byte stands that few texts have: to get ready for a search in long ones costs more than that.
fn find(text: &[u8], part: &[u8]) -> bool {
    const SHORT: usize = 64;
    const LONG: usize = 512;
    const COMMON: ByteSet = ByteSet::of(b"etaoinsrhldc/-_. ");
    let Some(first) = part.first() else {
        return true;
    };
    if text.len() <= SHORT {
        return (text.windows(part.len())).any(|here| here.first() == Some(first) && here == part);
    }
    if text.len() > LONG {
        return memmem::find(text, part).is_some();
    }
    let rare = part.iter().position(|byte| !COMMON.contains(*byte));
    let rare = rare.unwrap_or_default();
    let wanted = part.get(rare).unwrap_or(first);
    memchr_iter(*wanted, text).any(|at| {
        let start = at.checked_sub(rare);
        let here = start.and_then(|start| text.get(start..start + part.len()));
        here == Some(part)
    })
}

/// `containsWord`: it stands there with no letter on either side. Digits and the underscore do not
/// make a longer word.
pub(crate) fn contains_word(value: &[u8], argument: &[u8]) -> bool {
    if argument.is_empty() {
        return true;
    }
    let letter = |at: Option<usize>| {
        let byte = at.and_then(|at| value.get(at));
        byte.is_some_and(u8::is_ascii_alphabetic)
    };
    let finder = memmem::Finder::new(argument);
    let mut from = 0;
    // Occurrences may overlap: the word `a a` of `xa a a` is the second.
    while let Some(found) = value.get(from..).and_then(|rest| finder.find(rest)) {
        let at = from + found;
        if !letter(at.checked_sub(1)) && !letter(Some(at + argument.len())) {
            return true;
        }
        from = at + 1;
    }
    false
}

/// `beginsWith`.
pub(crate) fn begins_with(value: &[u8], argument: &[u8]) -> bool {
    value.starts_with(argument)
}

/// `endsWith`.
pub(crate) fn ends_with(value: &[u8], argument: &[u8]) -> bool {
    value.ends_with(argument)
}

/// `within`: the argument contains the value. An empty value is within anything.
pub(crate) fn within(value: &[u8], argument: &[u8]) -> bool {
    contains(argument, value)
}
