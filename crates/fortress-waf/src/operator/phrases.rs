//! `@pm` and `@pmFromFile`: whether one of many phrases occurs, in any ASCII case.

use std::{ops::Range, sync::OnceLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};

/// Phrases of which one is to occur. The automaton that finds them is made when it is first asked:
/// the screen keeps most values away from it.
#[derive(Debug)]
pub(crate) struct Phrases {
    list: Box<[Box<[u8]>]>,
    automaton: OnceLock<Result<AhoCorasick, String>>,
}

/// Bytes of phrases of which an automaton is certain to have few enough states (2^31) to be made;
/// more are tried at once.
const CERTAIN: usize = 64 << 20;

impl Phrases {
    /// Takes phrases.
    pub(crate) fn new(phrases: Vec<Vec<u8>>) -> Result<Self, String> {
        let length: usize = phrases.iter().map(Vec::len).sum();
        let list = phrases.into_iter().map(Vec::into_boxed_slice);
        let phrases = Self {
            list: list.collect(),
            automaton: OnceLock::new(),
        };
        if length > CERTAIN {
            phrases.find(b"")?;
        }
        Ok(phrases)
    }

    /// The phrases.
    pub(crate) fn list(&self) -> impl Iterator<Item = &[u8]> {
        self.list.iter().map(AsRef::as_ref)
    }

    /// Where the first of them stands. An error means that it is not known.
    pub(crate) fn find(&self, text: &[u8]) -> Result<Option<Range<usize>>, String> {
        let automaton = self.automaton.get_or_init(|| {
            AhoCorasickBuilder::new()
                .ascii_case_insensitive(true)
                .match_kind(MatchKind::LeftmostFirst)
                .kind(Some(AhoCorasickKind::ContiguousNFA))
                .build(&self.list)
                .map_err(|error| error.to_string())
        });
        match automaton {
            Ok(automaton) => Ok(automaton.find(text).map(|found| found.range())),
            Err(error) => Err(error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Phrases;

    #[track_caller]
    fn check(text: &str, expected: Option<(usize, usize)>) {
        let phrases = vec![b"union".to_vec(), b"select".to_vec(), b"\x00".to_vec()];
        let phrases = Phrases::new(phrases).unwrap();
        let found = phrases.find(text.as_bytes()).unwrap();
        assert_eq!(found.map(|found| (found.start, found.end)), expected);
        assert_eq!(phrases.list().count(), 3);
    }

    #[test]
    fn phrases_are_found_in_any_case() {
        check("a UNION b", Some((2, 7)));
        check("sElectunion", Some((0, 6)));
        check("a\0", Some((1, 2)));
        check("unio selec", None);
        check("", None);
    }

    #[test]
    fn no_phrase_matches_nothing() {
        let phrases = Phrases::new(Vec::new()).unwrap();
        assert_eq!(phrases.find(b"a").unwrap(), None);
    }
}
