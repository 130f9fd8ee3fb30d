//! One value of a request's body, by a dotted path: `user.email` of JSON, `email` of a form.
//!
//! Deliberately not here: whether the body is as declared, which was checked before; a body that
//! cannot be read holds nothing.

use std::borrow::Cow;

use fortress_limits::cost::Number;
use fortress_spec::json::{self, Document, Kind, Limits, Value};
use http::{HeaderMap, header};

use super::limit::{joined, one, pairs};

/// A body, read as far as paths need it.
#[derive(Debug)]
pub(crate) enum Body<'b> {
    /// Its bytes, and what they say.
    Json(&'b [u8], Box<Document<'b>>),
    /// `application/x-www-form-urlencoded`.
    Form(&'b str),
    /// Anything else.
    Unknown,
}

impl<'b> Body<'b> {
    pub(crate) fn read(headers: &HeaderMap, raw: &'b [u8], limits: &Limits) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return std::str::from_utf8(raw).map_or(Self::Unknown, Self::Form);
        }
        match json::read(raw, limits) {
            Ok(document) => Self::Json(raw, Box::new(document)),
            Err(_) => Self::Unknown,
        }
    }

    /// What limits count by; `None` if there is no such value, or it is `null`.
    pub(crate) fn part(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Unknown => None,
            Self::Form(text) => joined(pairs(Some(text), path)),
            Self::Json(raw, document) => {
                let value = find(document, document.root(), path)?;
                match &value.kind {
                    Kind::Null => None,
                    Kind::String(text) => Some(Cow::Borrowed(text.as_bytes())),
                    Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => {
                        let start = usize::try_from(value.start).ok()?;
                        let end = usize::try_from(value.end).ok()?;
                        raw.get(start..end).map(Cow::Borrowed)
                    }
                }
            }
        }
    }

    /// What costs are made from.
    pub(super) fn number(&self, path: &str) -> Number<'_> {
        match self {
            Self::Unknown => Number::Absent,
            Self::Form(text) => one(pairs(Some(text), path)),
            Self::Json(_, document) => match find(document, document.root(), path) {
                None => Number::Absent,
                Some(value) => match &value.kind {
                    Kind::Null => Number::Absent,
                    Kind::Number(text) | Kind::String(text) => {
                        Number::Text(Cow::Borrowed(text.as_bytes()))
                    }
                    Kind::Bool(_) | Kind::Array(_) | Kind::Object(_) => Number::Unclear,
                },
            },
        }
    }
}

/// The value at a dotted path. Names may have dots themselves: the longest that is there is taken.
fn find<'d, 'b>(
    document: &'d Document<'b>,
    value: &'d Value<'b>,
    path: &str,
) -> Option<&'d Value<'b>> {
    let Kind::Object(range) = &value.kind else {
        return None;
    };
    let members = document.members(*range);
    let mut name = path;
    loop {
        if let Some(member) = members.iter().find(|member| *member.key == *name) {
            let rest = path.get(name.len()..).unwrap_or_default();
            let found = match rest.strip_prefix('.') {
                None => Some(&member.value),
                Some(rest) => find(document, &member.value, rest),
            };
            if found.is_some() {
                return found;
            }
        }
        name = name.rsplit_once('.')?.0;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(kind: &'static str, body: &str, path: &str, part: Option<&str>, number: &Number<'_>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let limits = Limits {
            depth: 8,
            properties: 8,
            items: 8,
        };
        let read = Body::read(&headers, body.as_bytes(), &limits);
        assert_eq!(read.part(path).as_deref(), part.map(str::as_bytes));
        assert_eq!(read.number(path), *number);
    }

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

    #[test]
    fn values_by_their_paths() {
        let text = |text: &'static str| Number::Text(Cow::Borrowed(text.as_bytes()));
        let body = r#"{"a":{"b":"x","c":7},"a.b":"dotted","n":null,"l":[1, 2],"t":true}"#;
        check(JSON, body, "a.b", Some("dotted"), &text("dotted"));
        check(JSON, body, "a.c", Some("7"), &text("7"));
        check(JSON, body, "n", None, &Number::Absent);
        check(JSON, body, "l", Some("[1, 2]"), &Number::Unclear);
        check(JSON, body, "t", Some("true"), &Number::Unclear);
        check(JSON, body, "a.d", None, &Number::Absent);
        check(JSON, body, "a.b.c", None, &Number::Absent);
        check(JSON, "[1]", "a", None, &Number::Absent);
        check(JSON, r#"{"a":1,"a":2}"#, "a", None, &Number::Absent);
        check(FORM, "a=1&b=2", "b", Some("2"), &text("2"));
        check(FORM, "a=1&a=2", "a", Some("1\u{0}2"), &Number::Unclear);
    }
}
