//! What is wrong with a text, where, and what was probably meant.
//!
//! Nothing here decides whether something is wrong.

use std::{cmp::Reverse, fmt};

use super::Place;

/// One mistake of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// The word that was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}",
            self.place.file, self.place.line, self.message
        )?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean `{suggestion}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Mistake {}

/// A mistake whose place only the caller knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
        }
    }

    /// ``unknown KIND `word` ``, with the nearest of the words that there are.
    pub(super) fn unknown<'a>(
        kind: &str,
        word: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            message: format!("unknown {kind} `{}`", shown(word)),
            suggestion: nearest(word, known).map(str::to_owned),
        }
    }
}

/// What one argument of a directive led to besides its meaning, each at its offset in the argument.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) wrong: Vec<(usize, Wrong)>,
    /// Documented words without meaning here.
    pub(super) without_effect: Vec<(usize, &'static str)>,
}

/// As much of a word as a message can hold.
pub(super) fn shown(word: &str) -> String {
    const LONGEST: usize = 60;
    match word.char_indices().nth(LONGEST) {
        None => word.to_owned(),
        Some((end, _)) => format!("{}…", word.get(..end).unwrap_or_default()),
    }
}

/// Mistakes that are told of one argument; after so many it is no SecLang at all.
pub(super) const MOST_IN_ARGUMENT: usize = 50;

/// The word that differs least from `word`, if it differs little.
fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer than any word there is; and the distance is quadratic. Markers may be many.
    const LONGEST: usize = 64;
    const MOST: usize = 1_000;
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_ascii_lowercase();
    known
        .into_iter()
        .take(MOST)
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| {
            let distance = strsim::osa_distance(&word, &candidate.to_ascii_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= 1 + candidate.len() / 5 && *distance < word.len()
        })
        .min_by_key(|(distance, candidate)| (*distance, Reverse(begins_alike(&word, candidate))))
        .map(|(_, candidate)| candidate)
}

/// How many letters two words have in common at their beginning.
fn begins_alike(word: &str, other: &str) -> usize {
    let pairs = word.bytes().zip(other.bytes());
    pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(word: &str, expected: Option<&str>) {
        let known = ["ARGS", "ARGS_NAMES", "REQUEST_HEADERS", "FILES"];
        assert_eq!(nearest(word, known), expected);
    }

    #[test]
    fn near_words_are_suggested() {
        check("ARG", Some("ARGS"));
        check("args_name", Some("ARGS_NAMES"));
        check("REQUEST_HEADER", Some("REQUEST_HEADERS"));
        check("FLIES", Some("FILES"));
        check("FILED", Some("FILES"));
        check("", None);
        check("X", None);
        check("BODY", None);
        check(&"ARGS".repeat(100), None);
    }

    #[test]
    fn long_words_are_cut() {
        assert_eq!(shown(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
        assert_eq!(shown(&"ä".repeat(60)), "ä".repeat(60));
    }
}
