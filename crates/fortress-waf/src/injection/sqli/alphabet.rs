//! What the bytes of a value say before it is read: which kinds of tokens they can make, and so
//! whether any attack's shape is within reach.
//!
//! Sound because it only takes away what cannot be: each way to make a token of a kind needs certain
//! bytes, a rule that turns one kind into another is counted as a way to make the second, and more
//! bytes never take a way away.

use std::sync::LazyLock;

use super::{
    token::Kind,
    words::{self, Word},
};
use crate::ByteSet;

/// Bytes that make words and numbers only, with nothing between them.
///
/// A word takes all of them that follow. Numbers come before it: `0b1` with another one of which the
/// first digit is no binary one, `2e` or `0x` without digits. So three tokens are the most, the first
/// two numbers or names; the only shape of the table that is so is a number and `UNION`, which alone
/// is taken for prose.
const WORD: ByteSet = ByteSet::range(b'a', b'z')
    .union(ByteSet::range(b'A', b'Z'))
    .union(ByteSet::range(b'0', b'9'))
    .union(ByteSet::range(0x80, 0xff).minus(ByteSet::of(b"\xa0")))
    .with(b'_');

/// Whether a value of these bytes alone could be found.
pub(super) fn possible(bytes: &ByteSet) -> bool {
    if bytes.minus(WORD).is_empty() {
        return false;
    }
    let kinds = kinds(bytes);
    words::smallest_shapes()
        .iter()
        .any(|shape| shape.within(kinds))
}

/// A kind of tokens, and the bytes of which one is needed to make it (`any`) or all are (`all`).
struct Way {
    kind: Kind,
    any: ByteSet,
    all: ByteSet,
}

const fn any(kind: Kind, bytes: &[u8]) -> Way {
    Way {
        kind,
        any: ByteSet::of(bytes),
        all: ByteSet::EMPTY,
    }
}

const fn all(kind: Kind, bytes: &[u8]) -> Way {
    Way {
        kind,
        any: ByteSet::ALL,
        all: ByteSet::of(bytes),
    }
}

/// Tokens that are no words of the table.
const WAYS: &[Way] = &[
    // A name: what begins a word, `[…]`, backticks, `$`, and `0x` without digits (a letter too).
    Way {
        kind: Kind::BAREWORD,
        any: WORD
            .minus(ByteSet::range(b'0', b'9'))
            .union(ByteSet::of(b"[`$")),
        all: ByteSet::EMPTY,
    },
    // `.5`, `$,`, `\N`, and `X''` that needs a quote and is a digit to nobody.
    any(Kind::NUMBER, b"0123456789$\\"),
    all(Kind::NUMBER, b"b'"),
    all(Kind::NUMBER, b"B'"),
    all(Kind::NUMBER, b"x'"),
    all(Kind::NUMBER, b"X'"),
    any(Kind::STRING, b"'\"$"),
    any(Kind::VARIABLE, b"@"),
    any(Kind::OPERATOR, b"!#%&*+-/:<=>^|~"),
    all(Kind::LOGIC, b"&"),
    all(Kind::LOGIC, b"|"),
    // `--`, `/*`, and the backtick that nothing closes.
    any(Kind::COMMENT, b"#-`"),
    all(Kind::COMMENT, b"/*"),
    all(Kind::EVIL, b"/*"),
    all(Kind::EVIL, b"{`"),
    all(Kind::OPEN, b"("),
    all(Kind::CLOSE, b")"),
    all(Kind::OPEN_BRACE, b"{"),
    all(Kind::CLOSE_BRACE, b"}"),
    all(Kind::COMMA, b","),
    all(Kind::DOT, b"."),
    all(Kind::SEMICOLON, b";"),
    all(Kind::COLON, b":"),
    any(Kind::UNKNOWN, b"?]"),
    all(Kind::BACKSLASH, b"\\"),
];

fn kinds(bytes: &ByteSet) -> Kind {
    let has = |needed: &ByteSet| needed.minus(*bytes).is_empty();
    let signs = WAYS
        .iter()
        .filter(|way| way.any.intersects(*bytes) && has(&way.all))
        .fold(Kind::NONE, |kinds, way| kinds.or(way.kind));
    let folded = bytes.fold_case();
    NEEDS
        .iter()
        .filter(|(kind, needed)| !kind.within(signs) && needed.minus(folded).is_empty())
        .fold(signs, |kinds, (kind, _)| kinds.or(*kind))
}

/// For each kind, the sets of bytes that its words need, without those that include another.
static NEEDS: LazyLock<Vec<(Kind, ByteSet)>> = LazyLock::new(|| {
    let mut needs: Vec<(Kind, ByteSet)> = words::all()
        .iter()
        .flat_map(|word| {
            let needed = ByteSet::of(word.text.as_bytes()).minus(ByteSet::of(b" "));
            becomes(word).map(move |kind| (kind, needed))
        })
        .collect();
    // The name after COLLATE becomes a type.
    needs.push((Kind::TYPE, ByteSet::of(b"COLATE_")));
    let all = needs.clone();
    needs.retain(|(kind, needed)| {
        !all.iter().any(|(other, fewer)| {
            other == kind && fewer != needed && fewer.minus(*needed).is_empty()
        })
    });
    needs.sort_unstable_by_key(|(kind, _)| kind.number());
    needs.dedup();
    needs
});

/// What a word is, or can be turned into by what follows or precedes.
fn becomes(word: &Word) -> impl Iterator<Item = Kind> + use<> {
    let turned = match word.text {
        "IN" | "NOT IN" => Kind::OPERATOR,
        "LIKE" | "NOT LIKE" => Kind::FUNCTION,
        text if text.starts_with("IF") => Kind::TSQL,
        text if words::CALLABLE.contains(&text) => Kind::FUNCTION,
        _ => word.kind,
    };
    [word.kind, turned].into_iter()
}
