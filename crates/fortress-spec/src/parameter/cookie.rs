//! The `Cookie` field (RFC 6265, section 4.2).
//!
//! Deliberately lenient about cookies that nobody declares: browsers send what the domain set, and it
//! is not for an API to judge them, unless the configuration says so.

use std::borrow::Cow;

use super::decode::{Plus, decode};

/// A cookie: its name, its value as it came, and both together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cookie<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) pair: &'a str,
}

/// The cookies of one field.
pub(super) fn cookies(text: &str) -> impl Iterator<Item = Cookie<'_>> {
    text.split(';')
        .map(|pair| pair.trim_matches([' ', '\t']))
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or(("", pair));
            Cookie {
                name: name.trim_end_matches([' ', '\t']),
                value,
                pair,
            }
        })
}

/// What a declared cookie's value stands for, without its quotes.
///
/// # Errors
/// Characters that a cookie cannot have, quotes that do not close, bad percent-encoding.
pub(super) fn value(text: &str) -> Result<Cow<'_, str>, &'static str> {
    let inner = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').ok_or("quotes that do not close")?,
        None => text,
    };
    let octet =
        |byte: u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2c..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    if !inner.bytes().all(octet) {
        return Err("a character that a cookie cannot have");
    }
    decode(inner, Plus::Plus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        let names: Vec<_> = cookies("a=1; b=\"2\";c ; d=x=y;; e=")
            .map(|cookie| (cookie.name, cookie.value))
            .collect();
        assert_eq!(
            names,
            [
                ("a", "1"),
                ("b", "\"2\""),
                ("", "c"),
                ("d", "x=y"),
                ("e", "")
            ]
        );
    }

    #[test]
    fn values() {
        assert_eq!(value("abc").as_deref(), Ok("abc"));
        assert_eq!(value("\"abc\"").as_deref(), Ok("abc"));
        assert_eq!(value("a%20b").as_deref(), Ok("a b"));
        for text in ["\"abc", "a b", "a\"b", "a\\b", "é", "%zz", "a%00"] {
            assert!(value(text).is_err(), "{text}");
        }
    }
}
