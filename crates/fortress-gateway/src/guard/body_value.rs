//! One value of a request's body, by a dotted path: `user.email` of JSON, `email` of a form. What means the
//! same is the same value, however it is written: numbers by their value, JSON without its white space.
//!
//! Deliberately not here: whether the body is as declared, which was checked before; a body that
//! cannot be read holds nothing.

use std::borrow::Cow;

use fortress_limits::cost::Number;
use fortress_spec::{
    body::multipart,
    json::{self, Document, Kind, Limits, Value},
};
use http::{HeaderMap, header};

use super::limit::{joined, one, pairs};

/// A body, read as far as paths need it.
#[derive(Debug)]
pub(crate) enum Body<'b> {
    /// Its bytes, and what they say.
    Json(&'b [u8], Box<Document<'b>>),
    /// `application/x-www-form-urlencoded`.
    Form(&'b str),
    /// `multipart/form-data`: names and values.
    Multipart(Vec<(Cow<'b, str>, &'b [u8])>),
    /// Anything else.
    Unknown,
}

impl<'b> Body<'b> {
    pub(crate) fn read(headers: &HeaderMap, raw: &'b [u8], limits: &Limits) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let whole = kind.and_then(|value| value.to_str().ok()).unwrap_or("");
        let kind = whole.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("multipart/form-data") {
            let values = multipart::values(whole, raw, limits.properties);
            return values.map_or(Self::Unknown, Self::Multipart);
        }
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
            Self::Multipart(values) => joined(named(values, path)),
            Self::Json(raw, document) => {
                let value = match find(document, path) {
                    Found::No => return None,
                    Found::Several => return Some(Cow::Borrowed(NO_NAME)),
                    Found::One(value) => value,
                };
                match &value.kind {
                    Kind::Null => None,
                    Kind::String(text) => Some(Cow::Borrowed(text.as_bytes())),
                    Kind::Number(text) => Some(number(text)),
                    Kind::Bool(_) | Kind::Array(_) | Kind::Object(_) => {
                        let start = usize::try_from(value.start).ok()?;
                        let end = usize::try_from(value.end).ok()?;
                        raw.get(start..end).map(compact)
                    }
                }
            }
        }
    }

    /// What names an account. Whatever is neither text nor a number is one and the same.
    pub(super) fn name(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        if let Self::Json(_, document) = self
            && let Found::One(value) = find(document, path)
            && matches!(value.kind, Kind::Bool(_) | Kind::Array(_) | Kind::Object(_))
        {
            return Some(Cow::Borrowed(NO_NAME));
        }
        self.part(path)
    }

    /// What costs are made from.
    pub(super) fn number(&self, path: &str) -> Number<'_> {
        match self {
            Self::Unknown => Number::Absent,
            Self::Form(text) => one(pairs(Some(text), path)),
            Self::Multipart(values) => one(named(values, path)),
            Self::Json(_, document) => match find(document, path) {
                Found::No => Number::Absent,
                Found::Several => Number::Unclear,
                Found::One(value) => match &value.kind {
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

/// No text has this byte.
const NO_NAME: &[u8] = &[0xFF];

fn named<'v>(
    values: &'v [(Cow<'_, str>, &'v [u8])],
    name: &str,
) -> impl Iterator<Item = Cow<'v, [u8]>> {
    let values = values.iter().filter(move |(known, _)| known == name);
    values.map(|(_, value)| Cow::Borrowed(*value))
}

/// `1e2` and `100.0` are 100.
fn number(text: &str) -> Cow<'_, [u8]> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Cow::Borrowed(text.as_bytes());
    }
    match text.parse::<f64>() {
        Ok(number) => Cow::Owned(number.to_string().into_bytes()),
        Err(_) => Cow::Borrowed(text.as_bytes()),
    }
}

/// JSON without the white space between its tokens (RFC 8259, section 2).
fn compact(json: &[u8]) -> Cow<'_, [u8]> {
    if !json.iter().any(u8::is_ascii_whitespace) {
        return Cow::Borrowed(json);
    }
    let (mut in_string, mut is_escaped) = (false, false);
    let kept = json.iter().copied().filter(|byte| {
        let is_kept = in_string || !byte.is_ascii_whitespace();
        in_string ^= *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_kept
    });
    Cow::Owned(kept.collect())
}

/// What stands at a dotted path.
enum Found<'v, 'b> {
    No,
    One(&'v Value<'b>),
    /// Names may have dots themselves, and which value the upstream reads is not known.
    Several,
}

fn find<'d, 'b>(document: &'d Document<'b>, path: &str) -> Found<'d, 'b> {
    let mut found = Found::No;
    look(document, document.root(), path, &mut found);
    found
}

fn look<'d, 'b>(
    document: &'d Document<'b>,
    value: &'d Value<'b>,
    path: &str,
    found: &mut Found<'d, 'b>,
) {
    let Kind::Object(range) = &value.kind else {
        return;
    };
    for member in document.members(*range) {
        let Some(rest) = path.strip_prefix(&*member.key) else {
            continue;
        };
        if let Some(rest) = rest.strip_prefix('.') {
            look(document, &member.value, rest, found);
        } else if rest.is_empty() {
            *found = match found {
                Found::No => Found::One(&member.value),
                Found::One(_) | Found::Several => Found::Several,
            };
        }
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
        let body = r#"{"a":{"b":"x","c":7},"d.e":"dotted","n":null,"l":[1, 2],"t":true}"#;
        check(JSON, body, "a.b", Some("x"), &text("x"));
        check(JSON, body, "d.e", Some("dotted"), &text("dotted"));
        check(JSON, body, "a.c", Some("7"), &text("7"));
        check(JSON, body, "n", None, &Number::Absent);
        check(JSON, body, "l", Some("[1,2]"), &Number::Unclear);
        check(JSON, body, "t", Some("true"), &Number::Unclear);
        check(JSON, body, "a.d", None, &Number::Absent);
        check(JSON, body, "a.b.c", None, &Number::Absent);
        check(JSON, "[1]", "a", None, &Number::Absent);
        check(JSON, r#"{"a":1,"a":2}"#, "a", None, &Number::Absent);
        check(FORM, "a=1&b=2", "b", Some("2"), &text("2"));
        check(FORM, "a=1&a=2", "a", Some("1\u{0}2"), &Number::Unclear);
        let parts = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--b\r\nContent-Disposition: form-data; name=n\r\n\r\n7\r\n--b--\r\n";
        let kind = "multipart/form-data; boundary=b";
        check(kind, parts, "a", Some("x"), &text("x"));
        check(kind, parts, "n", Some("7"), &text("7"));
        check(kind, parts, "c", None, &Number::Absent);
        check("multipart/form-data", parts, "a", None, &Number::Absent);
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for text in ["100", "100.0", "1e2", "1E+2", "1000e-1"] {
            assert_eq!(&*number(text), b"100", "{text}");
        }
        assert_ne!(number("100"), number("100.5"));
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        let same = r#"{"a b":["c \" d",1]}"#;
        for text in [same, r#" { "a b" : [ "c \" d" , 1 ] } "#] {
            assert_eq!(compact(text.as_bytes()), same.as_bytes());
        }
        assert_ne!(compact(br#"["a b"]"#), compact(br#"["ab"]"#));
        assert_eq!(&*compact(br#"["\\" , "x y"]"#), br#"["\\","x y"]"#);
    }

    #[test]
    fn two_values_at_one_path_are_no_value_of_their_own() {
        let limits = Limits {
            depth: 8,
            properties: 8,
            items: 8,
        };
        let part = |body: &str| {
            let read = Body::read(&HeaderMap::new(), body.as_bytes(), &limits);
            assert_eq!(read.number("a.b"), Number::Unclear);
            read.part("a.b").map(Cow::into_owned)
        };
        let both = part(r#"{"a":{"b":"x"},"a.b":"y"}"#);
        assert!(both.is_some());
        assert_eq!(part(r#"{"a.b":"z","a":{"b":"x"}}"#), both);
    }

    #[test]
    fn what_is_no_name_is_one_and_the_same() {
        let name = |body: &str| {
            let limits = Limits {
                depth: 8,
                properties: 8,
                items: 8,
            };
            let read = Body::read(&HeaderMap::new(), body.as_bytes(), &limits);
            read.name("u").map(Cow::into_owned)
        };
        let array = name(r#"{"u":["ann"]}"#);
        assert!(array.is_some());
        for other in [
            r#"{"u":[ "ANN"]}"#,
            r#"{"u":{"$ne":null}}"#,
            r#"{"u":true}"#,
        ] {
            assert_eq!(name(other), array, "{other}");
        }
        assert_eq!(name(r#"{"u":"ann"}"#).as_deref(), Some(&b"ann"[..]));
        assert_eq!(name(r#"{"u":7}"#), name(r#"{"u":7.0}"#));
        assert_eq!(name(r#"{"u":null}"#), None);
    }
}
