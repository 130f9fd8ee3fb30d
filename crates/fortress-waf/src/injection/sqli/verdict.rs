//! Whether a folded value is an attack: its shape is in the table, and it is not one of the shapes
//! that innocent values have too.

use memchr::memmem;

use super::{
    Fingerprint,
    fold::Folded,
    token::{Kind, Token},
    words,
};

/// The fingerprint of an attack.
pub(super) fn judge(text: &[u8], folded: &Folded<'_>) -> Option<Fingerprint> {
    let tokens = folded.tokens();
    if tokens.iter().any(|token| token.kind == Kind::EVIL) {
        return Some(Fingerprint::new(&[Kind::EVIL]));
    }
    let mut kinds = [Kind::NONE; 5];
    for (kind, token) in kinds.iter_mut().zip(tokens) {
        *kind = token.kind;
    }
    let kinds = kinds.get(..tokens.len())?;
    let guilty = words::is_attack(kinds) && (hides(text, kinds) || convicts(text, folded));
    guilty.then(|| Fingerprint::new(kinds))
}

/// SQL Server keeps statements with this word out of its log, comments included.
fn hides(text: &[u8], kinds: &[Kind]) -> bool {
    matches!(kinds, [_, .., Kind::COMMENT]) && memmem::find(text, b"sp_password").is_some()
}

/// Whether a shape of the table counts for this text.
fn convicts(text: &[u8], folded: &Folded<'_>) -> bool {
    match folded.tokens() {
        [a, b] => convicts_two(text, a, b, folded.read),
        [a, b, c] => convicts_three(a, b, c, folded.read),
        _ => true,
    }
}

fn convicts_two(text: &[u8], a: &Token<'_>, b: &Token<'_>, read: usize) -> bool {
    if b.kind == Kind::UNION {
        // `1 union` alone is prose.
        return read != 2;
    }
    let sign = b.text.first().copied().unwrap_or_default();
    if sign == b'#' || a.kind == Kind::BAREWORD && b.kind == Kind::COMMENT && sign != b'/' {
        return false;
    }
    if a.kind == Kind::NUMBER && b.kind == Kind::COMMENT {
        // `1234-ABCD--` has the same shape as `1234--`. What follows the number tells them apart, or
        // that something was folded. C compares signed bytes: beyond ASCII all are white.
        return sign == b'/'
            || read > 2
            || match text.get(a.text.len()..) {
                Some([0..=b' ' | 0x80.., ..] | [b'/', b'*', ..] | [b'-', b'-', ..]) => true,
                Some([..]) | None => false,
            };
    }
    // Many put `--` into prose, few at its end.
    !(b.text.len() > 2 && sign == b'-')
}

fn convicts_three(a: &Token<'_>, b: &Token<'_>, c: &Token<'_>, read: usize) -> bool {
    match (a.kind, b.kind, c.kind) {
        // `…foo' + 'bar…`: a string that was open before, and one that stays open.
        (Kind::STRING, Kind::OPERATOR | Kind::LOGIC, Kind::STRING) => {
            a.open == 0 && c.close == 0 && a.close == c.open
        }
        // `sexy and 17` is prose, `sexy and 17<18` is not.
        (Kind::STRING, Kind::LOGIC, Kind::BAREWORD)
        | (Kind::BAREWORD, Kind::LOGIC, Kind::NUMBER)
        | (Kind::NUMBER, Kind::LOGIC, Kind::NUMBER | Kind::VARIABLE | Kind::STRING) => read != 3,
        (_, Kind::KEYWORD, _) => {
            let into = b.text.get(..4).filter(|_| b.text.len() >= 5);
            into.is_some_and(|word| word.eq_ignore_ascii_case(b"INTO"))
        }
        _ => true,
    }
}
