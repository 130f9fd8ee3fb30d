//! The words and phrases that mean something in SQL, and the shapes that are attacks.
//!
//! Both are the tables of the `barbacane-libinjection` crate, put into an order in which a word is
//! found with one comparison or none: most words of most values are in no table.

use std::{collections::BTreeSet, sync::LazyLock};

use libinjectionrs::sqli::sqli_data::SQL_KEYWORDS;

use super::token::{Kind, Token};
use crate::ByteSet;

/// A word of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    /// In capitals; a phrase has single spaces.
    pub(super) text: &'static str,
    /// What it is.
    pub(super) kind: Kind,
    /// Whether it is in the table itself, not only as the beginning of a phrase.
    pub(super) listed: bool,
    /// Whether a phrase of the table continues it.
    pub(super) leads: bool,
    /// Whether it becomes a function before a parenthesis.
    pub(super) callable: bool,
}

/// Names that are functions where a parenthesis follows and columns otherwise.
pub(super) const CALLABLE: [&str; 11] = [
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "DATABASE",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "PASSWORD",
    "USER",
    "USER_ID",
    "USER_NAME",
];

/// Buckets of the hash table, a power of two: four for each word.
const BUCKETS: usize = 4096;

static WORDS: LazyLock<Words> = LazyLock::new(Words::new);
static SHAPES: LazyLock<Shapes> = LazyLock::new(Shapes::new);

/// The word with this text, without regard to ASCII case.
pub(super) fn find(text: &[u8]) -> Option<&'static Word> {
    if text.len() > Token::TEXT {
        return None;
    }
    let bucket = bucket(text);
    let from = usize::from(*WORDS.starts.get(bucket)?);
    let to = usize::from(*WORDS.starts.get(bucket + 1)?);
    WORDS
        .sorted
        .get(from..to)?
        .iter()
        .find(|word| word.text.as_bytes().eq_ignore_ascii_case(text))
}

/// Whether the lexer takes a whole text for one name or word, by a look at its letters and dots: it
/// begins with a letter, has nothing that ends a word, and no word of the table can end before a dot.
/// A single token is no attack's shape.
pub(super) fn is_single(text: &[u8]) -> bool {
    let [first, second, rest @ ..] = text else {
        return false;
    };
    if !first.is_ascii_alphabetic() || !is_inner(*second) {
        return false;
    }
    let lengths = WORDS.lengths.get(start(*first, *second)).copied();
    let mut lengths = lengths.unwrap_or(u64::MAX) >> 2;
    for byte in rest {
        if *byte == b'.' && lengths & 1 == 1 || *byte != b'.' && !is_inner(*byte) {
            return false;
        }
        lengths >>= 1;
    }
    true
}

/// Whether a byte is inside of a word, wherever it stands.
fn is_inner(byte: u8) -> bool {
    const INNER: ByteSet = ByteSet::range(b'a', b'z')
        .union(ByteSet::range(b'A', b'Z'))
        .union(ByteSet::range(b'0', b'9'))
        .union(ByteSet::of(b"_"));
    INNER.contains(byte)
}

/// A number for the two bytes that a word begins with; what is no letter is all one.
fn start(first: u8, second: u8) -> usize {
    let letter = |byte: u8| match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => usize::from(letter - b'a'),
        _ => 26,
    };
    letter(first) * 27 + letter(second)
}

/// All words.
pub(super) fn all() -> &'static [Word] {
    &WORDS.sorted
}

/// Whether a value of this shape is an attack. `kinds` are the tokens' in order, five at most.
pub(super) fn is_attack(kinds: &[Kind]) -> bool {
    let [first, rest @ ..] = kinds else {
        return false;
    };
    if let [second, ..] = rest {
        let seconds = SHAPES.pairs.get(usize::from(shape_number(*first)));
        if seconds.is_none_or(|seconds| seconds & (1 << shape_number(*second)) == 0) {
            return false;
        }
    }
    SHAPES.sorted.binary_search(&pack(kinds)).is_ok()
}

/// The smallest sets of kinds that make an attack's shape: each shape's kinds include one of them.
pub(super) fn smallest_shapes() -> &'static [Kind] {
    &SHAPES.smallest
}

struct Words {
    /// Where each bucket begins in `sorted`, and the end.
    starts: Vec<u16>,
    sorted: Vec<Word>,
    /// By [`start`], the lengths of the words that begin so, as bits.
    lengths: Vec<u64>,
}

impl Words {
    fn new() -> Self {
        let leads: BTreeSet<&'static str> = listed()
            .flat_map(|(text, _)| {
                text.match_indices(' ')
                    .filter_map(move |(at, _)| text.get(..at))
            })
            .collect();
        let mut sorted: Vec<Word> = listed()
            .map(|(text, kind)| Word {
                text,
                kind,
                listed: true,
                leads: leads.contains(text),
                callable: CALLABLE.contains(&text),
            })
            .collect();
        let known: BTreeSet<&str> = sorted.iter().map(|word| word.text).collect();
        sorted.extend(
            leads
                .iter()
                .filter(|text| !known.contains(*text))
                .map(|text| Word {
                    text,
                    kind: Kind::BAREWORD,
                    listed: false,
                    leads: true,
                    callable: false,
                }),
        );
        sorted.sort_by_key(|word| bucket(word.text.as_bytes()));
        let starts = (0..=BUCKETS)
            .map(|at| sorted.partition_point(|word| bucket(word.text.as_bytes()) < at))
            .map(|start| u16::try_from(start).unwrap_or(u16::MAX))
            .collect();
        let mut lengths = vec![0; 27 * 27];
        for word in &sorted {
            if let [first, second, ..] = word.text.as_bytes()
                && let Some(lengths) = lengths.get_mut(start(*first, *second))
            {
                *lengths |= 1 << word.text.len().min(63);
            }
        }
        Self {
            starts,
            sorted,
            lengths,
        }
    }
}

struct Shapes {
    /// Packed shapes.
    sorted: Vec<u32>,
    /// By first kind, the kinds that can be second: most values are dismissed here.
    pairs: [u32; 32],
    smallest: Vec<Kind>,
}

impl Shapes {
    fn new() -> Self {
        let mut shapes = Self {
            sorted: Vec::new(),
            pairs: [0; 32],
            smallest: Vec::new(),
        };
        let mut sets = Vec::new();
        for shape in SQL_KEYWORDS.iter().filter(|word| word.token_type == b'F') {
            let letters = shape.word.as_bytes().iter().skip(1);
            let kinds: Vec<Kind> = letters.filter_map(|&letter| of_capital(letter)).collect();
            if kinds.len() + 1 != shape.word.len() {
                continue;
            }
            shapes.sorted.push(pack(&kinds));
            if let [first, second, ..] = *kinds.as_slice()
                && let Some(seconds) = shapes.pairs.get_mut(usize::from(shape_number(first)))
            {
                *seconds |= 1 << shape_number(second);
            }
            sets.push(kinds.into_iter().fold(Kind::NONE, Kind::or));
        }
        shapes.sorted.sort_unstable();
        let smaller = |set: &Kind| sets.iter().any(|other| other != set && other.within(*set));
        for set in &sets {
            if !shapes.smallest.contains(set) && !smaller(set) {
                shapes.smallest.push(*set);
            }
        }
        shapes
    }
}

/// Words and phrases of the table with their kinds. Shapes stand in the same table, as kind `F`.
fn listed() -> impl Iterator<Item = (&'static str, Kind)> {
    SQL_KEYWORDS
        .iter()
        .filter_map(|word| Some((word.word, Kind::of_letter(word.token_type)?)))
}

/// The kind that a shape's letter means: shapes are written in capitals, where `t` and `T` are one.
fn of_capital(letter: u8) -> Option<Kind> {
    Kind::of_letter(letter).or_else(|| Kind::of_letter(letter.to_ascii_lowercase()))
}

/// A kind's number in shapes, in which SQL's types and T-SQL's statements are written alike.
fn shape_number(kind: Kind) -> u8 {
    match kind {
        Kind::TYPE => Kind::TSQL.number(),
        other => other.number(),
    }
}

fn pack(kinds: &[Kind]) -> u32 {
    kinds.iter().fold(0, |packed, &kind| {
        packed << 5 | (u32::from(shape_number(kind)) + 1)
    })
}

fn bucket(text: &[u8]) -> usize {
    let at = |index: usize| {
        text.get(index)
            .map_or(0, |byte| usize::from(byte.to_ascii_uppercase()))
    };
    let length = text.len();
    let sum = [
        at(1),
        at(2),
        at(length / 2),
        at(length.wrapping_sub(1)),
        length,
    ]
    .into_iter()
    .fold(at(0), |sum, next| sum.wrapping_mul(37).wrapping_add(next));
    (sum ^ sum >> 12) & (BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::{all, is_single};
    use crate::injection::sqli::{Context, detect, detect_in};

    #[test]
    fn what_is_taken_for_a_single_name_is_never_an_attack() {
        let (mut single, mut several) = (0, 0);
        let ends = ["", ".a", "x", ".select", ".1", "1.union", "_.", "..a"];
        let beginnings = ["", "a", "json.", "_", "1", "n", "x."];
        for word in all() {
            for (before, after) in beginnings
                .iter()
                .flat_map(|before| ends.iter().map(move |after| (before, after)))
            {
                let text = format!("{before}{}{after}", word.text.replace(' ', "_"));
                if is_single(text.as_bytes()) {
                    single += 1;
                    assert_eq!(detect_in(text.as_bytes(), Context::Bare), None, "{text}");
                } else {
                    several += 1;
                }
            }
        }
        assert!(single > 10_000 && several > 10_000, "{single}, {several}");
    }

    #[test]
    fn a_word_before_a_dot_is_a_token_of_its_own() {
        assert!(is_single(b"json.lines.0.a") && is_single(b"a1") && is_single(b"json_lines.x"));
        assert!(!is_single(b"select.a") && !is_single(b"SELECT.a") && !is_single(b"x.select a"));
        assert!(!is_single(b"1a") && !is_single(b"a") && !is_single(b".ab") && !is_single(b"a'b"));
        assert!(detect(b"1 union select 2").is_some());
    }
}
