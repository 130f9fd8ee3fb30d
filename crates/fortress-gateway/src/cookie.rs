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
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    for pair in pairs {
        if let Some((key, value)) = pair.trim().split_once('=')
            && key == name
        {
            match found {
                Found::None => found = Found::One(value),
                Found::One(_) | Found::Several => return Found::Several,
            }
        }
    }
    found
}
