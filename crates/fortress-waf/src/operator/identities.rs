//! Numbers that carry a check: of payment cards and of people.
//!
//! Each is asked about one match of the operator's regular expression; what is no digit in it is
//! ignored. None says that the number was ever given to anybody.

use smallvec::SmallVec;

/// The digits of a match. The longest number has 19; a text with more is no number.
fn digits(found: &[u8]) -> Option<SmallVec<[u32; 24]>> {
    const MOST: usize = 19;
    let mut digits = SmallVec::new();
    for byte in found.iter().filter(|byte| byte.is_ascii_digit()) {
        if digits.len() == MOST {
            return None;
        }
        digits.push(u32::from(byte - b'0'));
    }
    Some(digits)
}

fn weighted(digits: &[u32], weights: impl IntoIterator<Item = u32>) -> u32 {
    digits
        .iter()
        .zip(weights)
        .map(|(digit, weight)| digit * weight)
        .sum()
}

/// `verifyCC`: Luhn's sum (ISO/IEC 7812-1, annex B) of every second digit doubled.
pub(crate) fn is_card_number(found: &[u8]) -> bool {
    let Some(digits) = digits(found) else {
        return false;
    };
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([false, true].into_iter().cycle())
        .map(|(digit, doubled)| match (doubled, digit) {
            (true, 5..) => digit * 2 - 9,
            (true, _) => digit * 2,
            (false, _) => *digit,
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// `verifySSN`: nine digits whose area, group and serial number can have been given. Since 2011
/// areas up to 899 are given; ModSecurity ends at 739 and misses them.
pub(crate) fn is_ssn(found: &[u8]) -> bool {
    let Some(digits) = digits(found) else {
        return false;
    };
    let &[a, b, c, d, e, f, g, h, i] = digits.as_slice() else {
        return false;
    };
    let area = a * 100 + b * 10 + c;
    let given = !matches!(area, 0 | 666 | 900..) && d + e > 0 && f + g + h + i > 0;
    // What people type to fill a field: 123456789, 333333333.
    let steps = |step: u32| {
        digits
            .windows(2)
            .all(|pair| matches!(pair, [x, y] if x + step == *y))
    };
    given && !steps(0) && !steps(1)
}

/// `verifyCPF`: eleven digits, the last two of which are sums of those before, modulo 11.
pub(crate) fn is_cpf(found: &[u8]) -> bool {
    let Some(digits) = digits(found) else {
        return false;
    };
    let [body @ .., first, second] = digits.as_slice() else {
        return false;
    };
    let check = |sum: u32| match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    let [lead, rest @ ..] = body else {
        return false;
    };
    let repeated = rest
        .iter()
        .chain([first, second])
        .all(|digit| digit == lead);
    body.len() == 9
        && !repeated
        && check(weighted(body, (2..=10).rev())) == *first
        && check(weighted(body, (3..=11).rev()) + first * 2) == *second
}

/// `verifySVNR`: the ten digits of an Austrian insurance number: three of a sequence from 100, the
/// check (modulo 11), and the date of birth.
pub(crate) fn is_svnr(found: &[u8]) -> bool {
    let Some(digits) = digits(found) else {
        return false;
    };
    let [1..=9, _, _, check, _, _, _, _, _, _] = digits.as_slice() else {
        return false;
    };
    weighted(&digits, [3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11 == *check
}
