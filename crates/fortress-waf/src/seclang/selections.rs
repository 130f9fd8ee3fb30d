//! Which rules are meant: identifiers, ranges of them; and numbers within bounds.
//!
//! Whether such rules exist is the compiler's question.

use std::ops::RangeInclusive;

use super::{
    Selection,
    mistake::{Wrong, shown},
};

/// `1 2 3-5`, also with commas.
pub(super) fn ids(text: &str) -> Result<Selection, Wrong> {
    let ranges: Vec<(u64, u64)> = text
        .split([' ', '\t', ','])
        .filter(|word| !word.is_empty())
        .map(range)
        .collect::<Result<_, _>>()?;
    if ranges.is_empty() {
        return Err(Wrong::new("a rule's id is missing"));
    }
    Ok(Selection::Ids(ranges))
}

/// Rules by tag.
pub(super) fn tag(text: &str) -> Result<Selection, Wrong> {
    filled(text, "a tag").map(str::to_owned).map(Selection::Tag)
}

/// Rules by message.
pub(super) fn message(text: &str) -> Result<Selection, Wrong> {
    filled(text, "a message")
        .map(str::to_owned)
        .map(Selection::Message)
}

/// One rule's id.
pub(super) fn id(text: &str) -> Result<u64, Wrong> {
    number(text, 1..=i64::MAX.unsigned_abs()).map_err(|_| {
        Wrong::new(format!(
            "`{}` is no rule's id; an id is a number from 1 to {}",
            shown(text),
            i64::MAX
        ))
    })
}

/// A decimal number within bounds.
pub(super) fn number<N>(text: &str, bounds: RangeInclusive<N>) -> Result<N, Wrong>
where
    N: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| {
            Wrong::new(format!(
                "`{}` is no number from {} to {}",
                shown(text),
                bounds.start(),
                bounds.end()
            ))
        })
}

/// The text, unless it is empty.
pub(super) fn filled<'a>(text: &'a str, what: &str) -> Result<&'a str, Wrong> {
    if text.trim_ascii().is_empty() {
        return Err(Wrong::new(format!("{what} is missing")));
    }
    Ok(text)
}

fn range(word: &str) -> Result<(u64, u64), Wrong> {
    let (low, high) = match word.split_once('-') {
        Some((low, high)) => (id(low)?, id(high)?),
        None => (id(word)?, id(word)?),
    };
    if low > high {
        return Err(Wrong::new(format!(
            "the range `{word}` ends before it begins"
        )));
    }
    Ok((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(u64, u64)]) {
        assert_eq!(ids(text), Ok(Selection::Ids(expected.to_vec())));
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        assert_eq!(ids(text).unwrap_err().message, expected);
    }

    #[test]
    fn identifiers() {
        check("1", &[(1, 1)]);
        check("1 2  3-5", &[(1, 1), (2, 2), (3, 5)]);
        check("1,7-7", &[(1, 1), (7, 7)]);
        refused("", "a rule's id is missing");
        refused("5-3", "the range `5-3` ends before it begins");
        let bounds = "an id is a number from 1 to 9223372036854775807";
        refused("0", &format!("`0` is no rule's id; {bounds}"));
        refused("x", &format!("`x` is no rule's id; {bounds}"));
        refused("1-", &format!("`` is no rule's id; {bounds}"));
        refused("1-2-3", &format!("`2-3` is no rule's id; {bounds}"));
        refused(
            "9223372036854775808",
            &format!("`9223372036854775808` is no rule's id; {bounds}"),
        );
    }
}
