//! What a request costs: the expression of the configuration over the request's own numbers.
//!
//! A value that is not there counts as zero, and a cost is at least one: leaving a parameter out is
//! as cheap as what the upstream does without it. **A value that is there and is no whole number
//! costs all that the limit has**: who sends one is trying what the gateway makes of it.
//! Deliberately not here: reading expressions, which is the configuration's.

use std::borrow::Cow;

use fortress_model::config::{Cost, Factor};

/// What a source of a number holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Number<'a> {
    /// Nothing.
    Absent,
    /// One value, as it was sent.
    Text(Cow<'a, [u8]>),
    /// Several, or something that is no scalar.
    Unclear,
}

/// The cost of a request at the limit's `most` units: from 1 to `most + 1`, which none can pay.
pub fn evaluate<'a>(cost: &Cost, most: u64, number: impl Fn(&Factor) -> Number<'a>) -> u64 {
    let mut sum: u128 = 0;
    for term in &cost.terms {
        let mut product: u128 = 1;
        for factor in &term.factors {
            let Some(value) = value(factor, &number) else {
                return most.max(1);
            };
            product = product.saturating_mul(u128::from(value));
        }
        sum = sum.saturating_add(product.div_ceil(u128::from(term.divisor.max(1))));
    }
    u64::try_from(sum)
        .unwrap_or(u64::MAX)
        .clamp(1, most.saturating_add(1))
}

/// Whether part of the cost is known from the answer alone.
pub fn needs_answer(cost: &Cost) -> bool {
    cost.factors()
        .any(|factor| matches!(factor, Factor::ResponseHeader(_)))
}

/// Whether part of the cost is known from the body alone.
pub fn needs_body(cost: &Cost) -> bool {
    cost.factors()
        .any(|factor| matches!(factor, Factor::Body(_)))
}

fn value<'a>(factor: &Factor, number: &impl Fn(&Factor) -> Number<'a>) -> Option<u64> {
    if let Factor::Number(number) = factor {
        return Some(*number);
    }
    match number(factor) {
        Number::Absent => Some(0),
        Number::Text(text) => whole(&text),
        Number::Unclear => None,
    }
}

/// Digits alone: no sign, point, exponent or space, of which upstreams make different things.
fn whole(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

#[cfg(test)]
mod tests {
    use fortress_model::config::Term;

    use super::*;

    fn page_size() -> Cost {
        Cost {
            terms: vec![Term {
                factors: vec![Factor::Query("page_size".into())],
                divisor: 100,
            }],
        }
    }

    #[track_caller]
    fn check(value: Number<'static>, expect: u64) {
        let found = evaluate(&page_size(), 20, |factor| {
            assert_eq!(factor, &Factor::Query("page_size".into()));
            value.clone()
        });
        assert_eq!(found, expect, "{value:?}");
    }

    fn text(text: &'static str) -> Number<'static> {
        Number::Text(Cow::Borrowed(text.as_bytes()))
    }

    #[test]
    fn a_number_from_the_request() {
        check(text("100"), 1);
        check(text("101"), 2);
        check(text("2000"), 20);
        check(text("2001"), 21);
        check(text("18446744073709551615"), 21);
        check(text("0"), 1);
        check(Number::Absent, 1);
    }

    #[test]
    fn what_is_no_number_costs_everything() {
        check(text("18446744073709551616"), 20);
        check(text("abc"), 20);
        check(text("-5"), 20);
        check(text("+5"), 20);
        check(text("1e3"), 20);
        check(text("1.0"), 20);
        check(text(" 1"), 20);
        check(text(""), 20);
        check(text("\u{663}"), 20);
        check(Number::Text(Cow::Borrowed(b"\xff")), 20);
        check(Number::Unclear, 20);
    }

    #[test]
    fn sums_and_products() {
        let cost = Cost {
            terms: vec![
                Term {
                    factors: vec![Factor::Query("w".into()), Factor::Query("h".into())],
                    divisor: 1_000,
                },
                Term {
                    factors: vec![Factor::Number(2)],
                    divisor: 1,
                },
            ],
        };
        let with = |w: &'static str, h: &'static str| {
            let w_or_h = |factor: &Factor| *factor == Factor::Query("w".into());
            evaluate(&cost, 1_000, |factor| {
                text(if w_or_h(factor) { w } else { h })
            })
        };
        assert_eq!(with("100", "100"), 12);
        assert_eq!(with("1", "1"), 3);
        assert_eq!(with("18446744073709551615", "18446744073709551615"), 1_001);
        assert_eq!(
            evaluate(&cost, u64::MAX, |_| text("18446744073709551615")),
            u64::MAX
        );
        assert!(!needs_answer(&cost) && !needs_body(&cost));
    }
}
