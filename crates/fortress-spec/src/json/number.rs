//! Numbers as decimals, so that `0.1` steps and 64-bit integers compare exactly.
//!
//! Deliberately not here: arithmetic beyond comparing and dividing evenly.

use std::{cmp::Ordering, fmt};

/// The longest text of a number. A longer one fits no number type that anyone reads JSON into.
const MAX_TEXT: usize = 400;
/// The most significant digits that [`Decimal`] holds.
const MAX_DIGITS: usize = 38;

/// An exact number: `digits × 10^exponent`, with a sign.
///
/// INVARIANT: `digits` does not end in a zero, and zero is `0 × 10^0` without a sign, so that equal
/// numbers are equal field by field.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Decimal {
    negative: bool,
    digits: u128,
    exponent: i32,
}

impl Decimal {
    /// Reads a JSON number (RFC 8259, section 6). `None` if the text is not one, has more than 38
    /// significant digits, or an exponent beyond ±1,000,000.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT || length(text.as_bytes()) != text.len() || text.is_empty() {
            return None;
        }
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)),
            None => (unsigned, Some(0)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let mut digits: u128 = 0;
        // Zeros at the end move into the exponent, so that `1` and 30 zeros still fits.
        let all = whole.bytes().chain(fraction.bytes());
        let mut zeros = 0_i32;
        let mut significant = 0_usize;
        for byte in all {
            let digit = u128::from(byte.wrapping_sub(b'0'));
            if digit == 0 {
                zeros += i32::from(significant > 0);
                continue;
            }
            let shift = u32::try_from(zeros + 1).ok()?;
            significant += if significant > 0 {
                usize::try_from(shift).ok()?
            } else {
                1
            };
            if significant > MAX_DIGITS {
                return None;
            }
            let scale = if digits == 0 {
                1
            } else {
                10_u128.checked_pow(shift)?
            };
            digits = digits.checked_mul(scale)?.checked_add(digit)?;
            zeros = 0;
        }
        if digits == 0 {
            return Some(Self {
                negative: false,
                digits: 0,
                exponent: 0,
            });
        }
        let exponent = exponent?
            .checked_sub(i32::try_from(fraction.len()).ok()?)?
            .checked_add(zeros)?;
        Some(Self {
            negative,
            digits,
            exponent,
        })
    }

    /// Its value, if it is a whole number that 64 bits hold.
    pub fn to_u64(self) -> Option<u64> {
        if self.negative {
            return None;
        }
        let scale = 10_u128.checked_pow(u32::try_from(self.exponent).ok()?)?;
        u64::try_from(self.digits.checked_mul(scale)?).ok()
    }

    /// Whether it has no fraction. `1.0` has none.
    pub fn is_integer(self) -> bool {
        self.exponent >= 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.digits == 0
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.negative
    }

    /// The sum, if it fits.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let scaled = |number: Self| {
            let shift = u32::try_from(number.exponent - exponent).ok()?;
            let digits = number.digits.checked_mul(10_u128.checked_pow(shift)?)?;
            let digits = i128::try_from(digits).ok()?;
            Some(if number.negative { -digits } else { digits })
        };
        let sum = scaled(self)?.checked_add(scaled(other)?)?;
        Self::parse(&format!("{sum}e{exponent}"))
    }

    /// Whether it is a whole multiple of `step`, exactly. Nothing but zero is a multiple of zero.
    pub fn is_multiple_of(self, step: Self) -> bool {
        if self.digits == 0 || step.digits == 0 {
            return self.digits == 0;
        }
        let shift = i64::from(self.exponent) - i64::from(step.exponent);
        if shift < 0 {
            // `digits` has no factor of ten, but may have others: 25 × 10^-2 of 5 × 10^-1 is not whole.
            let scale = u32::try_from(-shift)
                .ok()
                .and_then(|shift| 10_u128.checked_pow(shift))
                .and_then(|scale| scale.checked_mul(step.digits));
            return scale.is_some_and(|scale| self.digits.is_multiple_of(scale));
        }
        let modulus = step.digits;
        let mut remainder = self.digits % modulus;
        let mut left = shift;
        while left > 0 && remainder != 0 {
            // After as many tens as the modulus has twos and fives (at most 127), nothing changes.
            if shift - left > 128 {
                return false;
            }
            remainder = times_ten(remainder, modulus);
            left -= 1;
        }
        remainder == 0
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        if let Ok(zeros @ 0..=20) = usize::try_from(self.exponent) {
            return write!(formatter, "{sign}{}{}", self.digits, "0".repeat(zeros));
        }
        if let Ok(places @ 1..=20) = usize::try_from(-i64::from(self.exponent)) {
            let digits = format!("{:0>1$}", self.digits, places + 1);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            return write!(formatter, "{sign}{whole}.{fraction}");
        }
        write!(formatter, "{sign}{}e{}", self.digits, self.exponent)
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, false) => compare(self, other),
            (true, true) => compare(other, self),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares without signs.
fn compare(one: &Decimal, other: &Decimal) -> Ordering {
    if one.digits == 0 || other.digits == 0 {
        return one.digits.cmp(&other.digits);
    }
    let magnitude =
        |number: &Decimal| i64::from(number.digits.ilog10()) + i64::from(number.exponent);
    magnitude(one).cmp(&magnitude(other)).then_with(|| {
        // Equal magnitudes: the one with fewer digits is filled up with zeros, which fits 39 digits.
        let fill = |number: &Decimal, to: &Decimal| {
            let missing = to.digits.ilog10().saturating_sub(number.digits.ilog10());
            number
                .digits
                .saturating_mul(10_u128.saturating_pow(missing))
        };
        fill(one, other).cmp(&fill(other, one))
    })
}

/// `value × 10 mod modulus` without overflow; `value < modulus`.
fn times_ten(value: u128, modulus: u128) -> u128 {
    value.checked_mul(10).map_or_else(
        || {
            let twice = |value: u128| add(value, value, modulus);
            let eight = twice(twice(twice(value)));
            add(eight, twice(value), modulus)
        },
        |product| product % modulus,
    )
}

fn add(one: u128, other: u128, modulus: u128) -> u128 {
    let room = modulus - one;
    if other >= room {
        other - room
    } else {
        one + other
    }
}

fn exponent_of(text: &str) -> Option<i32> {
    let exponent: i32 = text.strip_prefix('+').unwrap_or(text).parse().ok()?;
    (-1_000_000..=1_000_000)
        .contains(&exponent)
        .then_some(exponent)
}

/// How many bytes at the start of `text` are a JSON number; 0 for none.
pub(crate) fn length(text: &[u8]) -> usize {
    let digits = |from: usize| {
        text.iter()
            .skip(from)
            .take_while(|byte| byte.is_ascii_digit())
            .count()
    };
    let mut at = usize::from(text.first() == Some(&b'-'));
    match text.get(at) {
        Some(b'0') => at += 1,
        Some(b'1'..=b'9') => at += digits(at),
        _ => return 0,
    }
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return 0;
        }
        at += 1 + fraction;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return 0;
        }
        at += 1 + sign + exponent;
    }
    at
}

/// Whether a JSON number means the same to everyone: an integer literal fits 64 bits, anything else
/// a finite double that is not zero by underflow.
pub(crate) fn fits(text: &str) -> bool {
    if text.len() <= 18
        && text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        return true;
    }
    let Some(decimal) = Decimal::parse(text) else {
        return is_zero(text);
    };
    if text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        return text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
    }
    text.parse::<f64>()
        .is_ok_and(|value| value.is_finite() && (value == 0.0) == decimal.is_zero())
}

/// A zero with an absurd exponent.
fn is_zero(text: &str) -> bool {
    text.len() <= MAX_TEXT
        && text
            .split(['e', 'E'])
            .next()
            .is_some_and(|mantissa| !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
    }

    #[test]
    fn equal_numbers_are_equal() {
        for (one, other) in [
            ("1", "1.0"),
            ("1", "1e0"),
            ("100", "1E2"),
            ("0", "-0.0"),
            ("0.1", "1e-1"),
            ("120000000000000000000000000000000000000000000", "1.2e44"),
            ("0", "0e999999999999"),
        ] {
            if one == "0" && other.contains("9999") {
                assert!(fits(other));
                continue;
            }
            assert_eq!(number(one), number(other), "{one} {other}");
        }
    }

    #[test]
    fn order() {
        let ascending = [
            "-1e300",
            "-9007199254740993",
            "-9007199254740992",
            "-1.5",
            "-1",
            "-0.1",
            "0",
            "1e-300",
            "0.09",
            "0.1",
            "0.10000000000000000001",
            "1",
            "1.5",
            "2",
            "10",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "1e300",
        ];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
            assert!(number(pair[1]) > number(pair[0]), "{pair:?}");
        }
    }

    #[test]
    fn multiples() {
        for (value, step, expect) in [
            ("0.3", "0.1", true),
            ("0.35", "0.1", false),
            ("4.5", "1.5", true),
            ("35", "1.5", false),
            ("0.0075", "0.0001", true),
            ("0.00751", "0.0001", false),
            ("1e300", "7", false),
            ("1e300", "8", true),
            ("9007199254740993", "2", false),
            ("-6", "3", true),
            ("0", "5", true),
            ("25e-2", "5e-1", false),
            ("50", "0.25", true),
            ("1e308", "0.5", true),
            ("1", "1e300", false),
            ("170141183460469231731687303715884105727", "3", false),
        ] {
            let value_is = Decimal::parse(value);
            let Some(value_is) = value_is else { continue };
            assert_eq!(
                value_is.is_multiple_of(number(step)),
                expect,
                "{value} {step}"
            );
        }
    }

    #[test]
    fn not_numbers() {
        for text in [
            "", "-", "+1", "01", "1.", ".1", "1e", "0x1", " 1", "1 ", "NaN", "1e+", "--1",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn writing() {
        for text in ["0", "1", "-1", "100", "0.5", "-0.05", "12.345", "1e30"] {
            assert_eq!(number(&number(text).to_string()), number(text), "{text}");
        }
        assert_eq!(number("-0.05").to_string(), "-0.05");
        assert_eq!(number("1.5").plus(number("-0.25")), Some(number("1.25")));
    }

    #[test]
    fn integers() {
        assert!(number("1.0").is_integer());
        assert!(!number("15e-1").is_integer());
        assert!(number("1e2").is_integer());
        assert!(number("0.0").is_integer());
    }
}
