//! Finding one cookie. Strict reading of the whole `Cookie` field is `inspect`'s.

use http::{HeaderMap, header};

/// What was found.
pub(crate) enum Found<'a> {
    None,
    One(&'a str),
    Several,
}

/// The cookie of this name (RFC 6265, section 4.2.1).
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut found = Found::None;
    for (key, value) in all(headers) {
        if key == name {
            match found {
                Found::None => found = Found::One(value),
                Found::One(_) | Found::Several => return Found::Several,
            }
        }
    }
    found
}

/// All cookies that can be read, as they came.
pub(crate) fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}
