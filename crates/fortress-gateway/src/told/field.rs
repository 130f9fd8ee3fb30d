//! What a header field says of a caller: text that cannot be anything but a value.
//!
//! All that is not visible ASCII is percent-encoded, and `%` itself, so that no claim can end the
//! field, begin another, or be cut by who reads it; decoding gives back what the issuer said.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_auth::Value;
use fortress_model::config::PrincipalField;
use http::HeaderValue;

use crate::guard::principal::Caller;

/// The longest value, in bytes: what an upstream's server takes in one field.
pub(crate) const MAX_FIELD: usize = 4 << 10;

/// The value is longer than [`MAX_FIELD`].
#[derive(Debug, Eq, PartialEq)]
pub(super) struct TooLong;

/// The value of a field; `None` where there is nothing to say.
pub(super) fn value(
    what: &PrincipalField,
    caller: &Caller,
) -> Result<Option<HeaderValue>, TooLong> {
    let text = match what {
        PrincipalField::Id => encoded([&*caller.id], ""),
        PrincipalField::Tenant => encoded(caller.tenant(), ""),
        PrincipalField::Roles => encoded(caller.roles(), ","),
        PrincipalField::Scopes => encoded(caller.scopes(), " "),
        PrincipalField::Identity => encoded([&*caller.identity.name], ""),
        PrincipalField::Claim(path) => caller.claim(path).map_or(Ok(String::new()), claim),
    }?;
    if text.is_empty() {
        return Ok(None);
    }
    // INVARIANT: `encoded` gives visible ASCII and single spaces between words alone.
    HeaderValue::from_str(&text).map(Some).map_err(|_| TooLong)
}

/// A certificate (DER) as `Client-Cert` says it (RFC 9440, section 2.2).
pub(super) fn certificate(der: &[u8]) -> Option<HeaderValue> {
    let mut text = String::from(":");
    STANDARD.encode_string(der, &mut text);
    text.push(':');
    HeaderValue::from_str(&text).ok()
}

/// A list of scalars with commas between them, an object or a list of lists as JSON.
fn claim(value: &Value) -> Result<String, TooLong> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.to_string()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    };
    let texts: Option<Vec<String>> = match value {
        Value::Null => Some(Vec::new()),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => {
            return encoded(scalar(value).as_deref(), "");
        }
        Value::Array(items) => items.iter().map(scalar).collect(),
        Value::Object(_) => None,
    };
    match texts {
        Some(texts) => encoded(texts.iter().map(String::as_str), ","),
        None => encoded([value.to_string().as_str()], ""),
    }
}

/// Texts with a separator between them, which is encoded where a text holds it. Empty ones are left
/// out.
fn encoded<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    separator: &'static str,
) -> Result<String, TooLong> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| char::from(HEX.get(usize::from(value)).copied().unwrap_or_default());
    let mut out = String::new();
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        if !out.is_empty() {
            out.push_str(separator);
        }
        for byte in text.bytes() {
            let is_plain =
                byte.is_ascii_graphic() && byte != b'%' && !separator.as_bytes().contains(&byte);
            if is_plain {
                out.push(char::from(byte));
            } else {
                out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
            if out.len() > MAX_FIELD {
                return Err(TooLong);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(texts: &[&str], separator: &'static str, expect: &str) {
        let found = encoded(texts.iter().copied(), separator);
        assert_eq!(found.as_deref(), Ok(expect));
    }

    #[test]
    fn values_are_visible_ascii() {
        check(&["auth0|123"], "", "auth0|123");
        check(&["Zoë O'Brien"], "", "Zo%C3%AB%20O'Brien");
        check(&["a\r\nX-Admin: 1"], "", "a%0D%0AX-Admin:%201");
        check(&["100%\u{7f}\0"], "", "100%25%7F%00");
        check(&["a", "b,c", "", "d e"], ",", "a,b%2Cc,d%20e");
        check(&["a", "b"], " ", "a b");
        check(&[""], "", "");
        let most = "x".repeat(MAX_FIELD);
        check(&[&most], "", &most);
        assert_eq!(encoded([&*most, "x"], ""), Err(TooLong));
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_and_holds_no_control(texts in proptest::collection::vec(".{1,20}", 1..5)) {
            let found = encoded(texts.iter().map(String::as_str), ",").unwrap();
            prop_assert!(found.bytes().all(|byte| byte.is_ascii_graphic()));
            let back: Vec<String> = found
                .split(',')
                .map(|text| percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned())
                .collect();
            prop_assert_eq!(back, texts);
        }
    }
}
