//! One account is written in many ways: most servers know `Ann@x.test ` and `ann@x.test` as the same, and
//! whoever guesses must not get a fresh count for each.
//!
//! As RFC 8265, section 3.3, has it for names where case does not matter (compatibility forms, small
//! letters), and beyond it: what nobody sees is left out, as many servers do. Two accounts that are one
//! here share their counts, which delays them and opens neither.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::{CodePointSetData, props::DefaultIgnorableCodePoint};

/// The one way in which it is counted. What is no text is left as it is.
pub(super) fn normal(account: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(account) else {
        return Cow::Borrowed(account);
    };
    let text = text.trim();
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !byte.is_ascii_uppercase();
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text.as_bytes());
    }
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let is_seen = |letter: &char| !letter.is_control() && !ignorable.contains(*letter);
    let forms = ComposingNormalizerBorrowed::new_nfkc();
    let seen: String = text.chars().filter(is_seen).collect();
    // Small letters may have another composed form; sigma has two of them.
    let small = forms
        .normalize(&seen)
        .to_lowercase()
        .replace('\u{3c2}', "\u{3c3}");
    Cow::Owned(forms.normalize(small.trim()).as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(one: &str, other: &str) {
        assert_eq!(
            normal(one.as_bytes()),
            normal(other.as_bytes()),
            "{one:?} {other:?}"
        );
    }

    #[test]
    fn spellings_of_one_account() {
        same("ann@x.test", " Ann@X.test ");
        same("jos\u{e9}", "jose\u{301}");
        same("ann", "\u{ff41}\u{ff4e}\u{ff4e}");
        for unseen in [
            '\u{200b}',
            '\u{ad}',
            '\0',
            '\u{feff}',
            '\u{2060}',
            '\u{e0041}',
            '\t',
        ] {
            same("ann", &format!("an{unseen}n"));
        }
        same("kassa", "ka\u{17f}sa");
        same(
            "\u{398}\u{395}\u{39f}\u{3a3}",
            "\u{3b8}\u{3b5}\u{3bf}\u{3c2}",
        );
        same("\u{130}x", "i\u{307}x");
        same("a\u{3000}b", "a b");
    }

    #[test]
    fn other_accounts() {
        for other in ["anna", "an", "a nn", "\u{e4}nn", "ann\u{301}", ""] {
            assert_ne!(normal(b"ann"), normal(other.as_bytes()), "{other:?}");
        }
        assert_eq!(&*normal(&[0xFF]), [0xFF]);
        assert_ne!(normal(&[0xFF]), normal(b""));
    }
}
