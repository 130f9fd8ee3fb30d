//! Reading a token from the place where it stands, and taking a credential out of it: of a query that
//! parameter alone, of the cookies that cookie alone.

use std::borrow::Cow;

use fortress_model::Secret;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::percent_decode_str;

use crate::{compile::Place, cookie, request::Request};

/// The token that stands at a place, without the name of its scheme.
pub(super) fn text(place: &Place, request: &Request) -> Option<Secret<String>> {
    let headers = &request.headers;
    let text = match place {
        Place::Authorization => {
            let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
            value.split_once(' ')?.1
        }
        Place::Header(name) => headers.get(name)?.to_str().ok()?,
        Place::Cookie(name) => match cookie::find(headers, name) {
            cookie::Found::One(value) => value,
            cookie::Found::None | cookie::Found::Several => return None,
        },
        Place::Query(_) | Place::Connection | Place::Message => return None,
    };
    Some(Secret::new(text.to_owned()))
}

/// Takes away what stands at a place.
pub(super) fn remove(place: &Place, request: &mut Request) {
    match place {
        Place::Authorization => {
            request.headers.remove(header::AUTHORIZATION);
        }
        Place::Header(name) => {
            request.headers.remove(name);
        }
        Place::Cookie(name) => remove_cookie(&mut request.headers, name),
        Place::Query(name) => {
            if let Some(query) = &request.query {
                request.query = without(query, name);
            }
        }
        Place::Connection => {}
        Place::Message => {
            for name in ["signature", "signature-input"] {
                request.headers.remove(HeaderName::from_static(name));
            }
        }
    }
}

/// Servers trim names, and take what they cannot decode as it is: so do we.
fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    remove_cookies(headers, |key| key == name.as_bytes());
}

/// As for one cookie, for all whose names are such.
pub(crate) fn remove_cookies(headers: &mut HeaderMap, is_such: impl Fn(&[u8]) -> bool) {
    let is_it = |pair: &&[u8]| {
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        is_such(key.trim_ascii())
    };
    let mut left: Vec<Vec<u8>> = Vec::new();
    let mut found = false;
    for value in headers.get_all(header::COOKIE) {
        let (those, kept): (Vec<&[u8]>, Vec<&[u8]>) = value
            .as_bytes()
            .split(|byte| *byte == b';')
            .map(<[u8]>::trim_ascii)
            .partition(is_it);
        found |= !those.is_empty();
        let kept: Vec<&[u8]> = kept.into_iter().filter(|pair| !pair.is_empty()).collect();
        if !kept.is_empty() {
            left.push(kept.join(&b"; "[..]));
        }
    }
    if !found {
        return;
    }
    headers.remove(header::COOKIE);
    for value in left {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(header::COOKIE, value);
        }
    }
}

/// A query without a parameter, which may be spelt in several ways; `None` if nothing is left.
fn without(query: &str, name: &str) -> Option<Box<str>> {
    let is_it = |pair: &&str| {
        let key = pair.split('=').next().unwrap_or_default();
        let spaced: Cow<'_, str> = if key.contains('+') {
            key.replace('+', " ").into()
        } else {
            key.into()
        };
        [key, &spaced].iter().any(|key| {
            percent_decode_str(key)
                .decode_utf8()
                .is_ok_and(|key| key == name)
        })
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_it(pair)).collect();
    let kept = kept.join("&");
    (!kept.is_empty()).then(|| kept.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_query(query: &str, expect: Option<&str>) {
        assert_eq!(without(query, "key").as_deref(), expect, "{query}");
    }

    #[test]
    fn only_the_parameter_leaves_the_query() {
        check_query("key=1", None);
        check_query("a=1&key=2&b=3", Some("a=1&b=3"));
        check_query("a=1&k%65y=2&key&key=3", Some("a=1"));
        check_query("keys=1&KEY=2&a=key", Some("keys=1&KEY=2&a=key"));
        check_query("a&&b", Some("a&&b"));
        assert_eq!(without("a+b=1&c=2", "a b").as_deref(), Some("c=2"));
        assert_eq!(without("a%2Bb=1&c=2", "a+b").as_deref(), Some("c=2"));
    }

    #[track_caller]
    fn check_cookies(cookies: &[&[u8]], expect: &[&[u8]]) {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, HeaderValue::from_bytes(cookie).unwrap());
        }
        remove_cookie(&mut headers, "sid");
        let left: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        let left: Vec<_> = left.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(left, expect);
    }

    #[test]
    fn only_the_cookie_leaves_the_cookies() {
        check_cookies(&[b"sid=1"], &[]);
        check_cookies(&[b"a=1; sid=2; b=3"], &[b"a=1; b=3"]);
        check_cookies(
            &[b"a=1;sid =2", b"sid=3; sid=4", b"c=\xff"],
            &[b"a=1", b"c=\xff"],
        );
        check_cookies(&[b"sids=1;  SID=2"], &[b"sids=1;  SID=2"]);
        check_cookies(&[b"sid; a=sid"], &[b"a=sid"]);
    }
}
