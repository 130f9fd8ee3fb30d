//! `cost`: how many units a request takes, as a number or from what the request or its answer says.
//!
//! A sum of products: `1`, `query.page_size / 100`, `query.width * query.height / 1000000 + 1`.
//! Division is by numbers alone, so there is none by zero. Deliberately not here: evaluating it,
//! which is the limiter's.

use std::fmt;

use super::scalar;

/// Numbers and sources of one expression.
const MOST_OPERANDS: usize = 16;

/// The largest number of an expression.
const LARGEST: u64 = 1_000_000_000;

/// How many units a request takes: the sum of the terms, rounded up to a whole number.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Cost {
    /// At least one.
    pub terms: Vec<Term>,
}

/// A product, divided.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Term {
    /// Multiplied with each other; at least one.
    pub factors: Vec<Factor>,
    /// What the product is divided by; at least 1.
    pub divisor: u64,
}

/// A number, or where one is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Factor {
    /// As it is.
    Number(u64),
    /// A query parameter.
    Query(Box<str>),
    /// A parameter of the path.
    Path(Box<str>),
    /// A header field of the request.
    Header(Box<str>),
    /// A property of the body, as a dotted path.
    Body(Box<str>),
    /// A header field of the upstream's answer.
    ResponseHeader(Box<str>),
}

impl Default for Cost {
    /// One unit.
    fn default() -> Self {
        Self {
            terms: vec![Term {
                factors: vec![Factor::Number(1)],
                divisor: 1,
            }],
        }
    }
}

impl Cost {
    /// The cost, where it is the same for every request.
    pub fn fixed(&self) -> Option<u64> {
        let mut sum: u64 = 0;
        for term in &self.terms {
            let mut product: u128 = 1;
            for factor in &term.factors {
                let Factor::Number(number) = factor else {
                    return None;
                };
                product = product.saturating_mul(u128::from(*number));
            }
            let value = product.div_ceil(u128::from(term.divisor.max(1)));
            sum = sum.saturating_add(u64::try_from(value).unwrap_or(u64::MAX));
        }
        Some(sum)
    }

    /// Where its numbers come from.
    pub fn factors(&self) -> impl Iterator<Item = &Factor> {
        self.terms.iter().flat_map(|term| &term.factors)
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Body(name) => write!(f, "body.{name}"),
            Self::ResponseHeader(name) => write!(f, "response.header.{name}"),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, term) in self.terms.iter().enumerate() {
            f.write_str(if number > 0 { " + " } else { "" })?;
            for (number, factor) in term.factors.iter().enumerate() {
                f.write_str(if number > 0 { " * " } else { "" })?;
                factor.fmt(f)?;
            }
            if term.divisor > 1 {
                write!(f, " / {}", term.divisor)?;
            }
        }
        Ok(())
    }
}

/// Reads an expression; operands and operators stand apart, since names may hold `-`, `*` and `+`.
pub(super) fn cost(text: &str) -> Result<Cost, String> {
    let mut words = text.split_ascii_whitespace();
    let mut terms: Vec<Term> = Vec::new();
    let mut operands = 0;
    let mut operator = "+";
    loop {
        let Some(operand) = words.next() else {
            return Err(
                "write a number, or one from the request such as `query.page_size / 100`".into(),
            );
        };
        operands += 1;
        if operands > MOST_OPERANDS {
            return Err(format!(
                "an expression has at most {MOST_OPERANDS} operands"
            ));
        }
        let factor = factor(operand)?;
        match (operator, terms.last_mut(), factor) {
            ("*", Some(term), factor) => term.factors.push(factor),
            ("/", Some(term), Factor::Number(number)) if number > 0 => {
                let divisor = term.divisor.checked_mul(number);
                term.divisor = divisor.ok_or("the divisors are too large together")?;
            }
            ("/", ..) => return Err("divide by a number from 1".into()),
            (_, _, factor) => terms.push(Term {
                factors: vec![factor],
                divisor: 1,
            }),
        }
        operator =
            match words.next() {
                None => return Ok(Cost { terms }),
                Some(found @ ("+" | "*" | "/")) => found,
                Some("-") => return Err("there is no `-`: a cost only grows".into()),
                Some(_) => return Err(
                    "write operators apart: `query.page_size / 100`; there are `*`, `/` and `+`"
                        .into(),
                ),
            };
    }
}

fn factor(text: &str) -> Result<Factor, String> {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return match scalar::count(text) {
            Ok(number) if number <= LARGEST => Ok(Factor::Number(number)),
            Ok(_) | Err(scalar::Bad::Large) => Err(format!("numbers go up to {LARGEST}")),
            Err(scalar::Bad::Form(_)) => {
                Err("numbers are whole; write operators apart: `query.page_size / 100`".into())
            }
        };
    }
    let help = || {
        Err("write a number, `query.NAME`, `path.NAME`, `header.NAME`, `body.NAME` or `response.header.NAME`".to_owned())
    };
    let Some((place, name)) = text.split_once('.') else {
        return help();
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        return help();
    }
    if name.contains(['/', '*', '+']) {
        return Err("write operators apart: `query.page_size / 100`".into());
    }
    match place {
        "query" => Ok(Factor::Query(name.into())),
        "path" => Ok(Factor::Path(name.into())),
        "body" => Ok(Factor::Body(name.into())),
        "header" => Ok(Factor::Header(header(name)?)),
        "response" => match name.split_once('.') {
            Some(("header", name)) => Ok(Factor::ResponseHeader(header(name)?)),
            Some(_) | None => Err("of the answer there is `response.header.NAME`".into()),
        },
        _ => help(),
    }
}

/// A header field's name, in lower case.
pub(super) fn header(name: &str) -> Result<Box<str>, String> {
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Ok(name.as_str().into()),
        Err(_) => Err("that is no name of a header field".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let found = cost(text).unwrap();
        assert_eq!(found.to_string(), expect);
        assert_eq!(cost(expect), Ok(found));
    }

    #[track_caller]
    fn refused(text: &str, help: &str) {
        let found = cost(text).unwrap_err();
        assert!(found.contains(help), "{text}: {found}");
    }

    #[test]
    fn expressions() {
        check("1", "1");
        check("query.page_size / 100", "query.page_size / 100");
        check(
            "  query.w   * query.h / 10 / 10 + 2",
            "query.w * query.h / 100 + 2",
        );
        check("response.header.X-Cost", "response.header.x-cost");
        check("header.X-Size / 1024", "header.x-size / 1024");
        check("body.items.count * 3", "body.items.count * 3");
        check("path.n + 0", "path.n + 0");
        assert_eq!(cost("7 / 2 + 3").unwrap().fixed(), Some(7));
        assert_eq!(cost("7 / 2 + query.a").unwrap().fixed(), None);
        assert_eq!(Cost::default().fixed(), Some(1));
    }

    #[test]
    fn what_is_no_expression() {
        refused("", "a number");
        refused("-1", "a number");
        refused("1.5", "whole");
        refused("2000000000", "up to");
        refused("99999999999999999999", "up to");
        refused("query.a/100", "apart");
        refused("100/query.a", "apart");
        refused("query.a /", "write a number");
        refused("query.a / 0", "from 1");
        refused("1 / query.a", "from 1");
        refused("query.a - 1", "only grows");
        refused("query.a 1", "apart");
        refused("query.", "query.NAME");
        refused("cookie.a", "query.NAME");
        refused("page_size", "query.NAME");
        refused("header.a:b", "no name of a header");
        refused("response.status", "response.header.NAME");
        refused(&"1 + ".repeat(17), "at most 16");
        refused("1 / 1000000000 / 1000000000 / 1000000000", "too large");
    }
}
