//! The server behind the rules in CRS's own test set-up, `albedo`: it answers anything with an
//! empty 200, and `POST /reflect` with whatever answer the body describes.
//!
//! Deliberately not here: sockets, and the endpoint that lists the others.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_model::{
    Node, Sources,
    document::{Format, Value, read},
};

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Header fields; the length of the body among them.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The server, with the endpoints that were configured while it ran.
#[derive(Debug, Default)]
pub struct Backend {
    configured: BTreeMap<(Vec<u8>, Vec<u8>), Reflection>,
}

/// What is to be answered.
#[derive(Clone, Debug, Default)]
struct Reflection {
    status: i64,
    fields: BTreeMap<String, String>,
    body: String,
    encoded_body: String,
}

impl Backend {
    /// Answers a request.
    pub fn answer(&mut self, method: &[u8], target: &[u8], body: &[u8]) -> Answer {
        let path = target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        match (method, path.strip_suffix(b"/").unwrap_or(path)) {
            (b"POST", b"/reflect") => {
                Reflection::parse(body).map_or_else(not_json, |(reflection, _)| reflection.answer())
            }
            (b"POST", b"/configure_reflection") => {
                let Some((reflection, endpoints)) = Reflection::parse(body) else {
                    return not_json();
                };
                for endpoint in endpoints {
                    self.configured.insert(endpoint, reflection.clone());
                }
                answer(200, Vec::new(), Vec::new())
            }
            (b"PUT", b"/reset") => {
                self.configured.clear();
                answer(200, Vec::new(), Vec::new())
            }
            _ => {
                let key = (method.to_vec(), target.to_vec());
                match self.configured.get(&key) {
                    Some(reflection) => reflection.answer(),
                    None => answer(200, Vec::new(), Vec::new()),
                }
            }
        }
    }
}

fn not_json() -> Answer {
    answer(400, Vec::new(), b"Invalid JSON in request body".to_vec())
}

type Endpoint = (Vec<u8>, Vec<u8>);

impl Reflection {
    /// `None` if the body is not such a description. As Go reads JSON, keys match in any case,
    /// `null` is nothing, and unknown keys are skipped.
    fn parse(body: &[u8]) -> Option<(Self, Vec<Endpoint>)> {
        let mut sources = Sources::default();
        let id = sources.add("body", String::from_utf8_lossy(body));
        let node = read(id, &sources, Format::Json).ok()?;
        if !matches!(node.value, Value::Object(_) | Value::Null) {
            return None;
        }
        let mut reflection = Self::default();
        let mut endpoints = Vec::new();
        for member in node.members() {
            let value = &member.value;
            if matches!(value.value, Value::Null) {
                continue;
            }
            match member.key.to_ascii_lowercase().as_str() {
                "status" => reflection.status = value.as_number()?.parse().ok()?,
                "headers" => reflection.fields = fields(value)?,
                "body" => reflection.body = value.as_str()?.to_owned(),
                "encodedbody" => reflection.encoded_body = value.as_str()?.to_owned(),
                "endpoints" => endpoints = value.items().iter().map(endpoint).collect(),
                _ => {}
            }
        }
        Some((reflection, endpoints))
    }

    fn answer(&self) -> Answer {
        let fields = self.fields.iter();
        let fields: Vec<_> = fields
            .filter(|(name, value)| is_field(name, value))
            .map(|(name, value)| (canonical(name), value.clone()))
            .collect();
        let status = match u16::try_from(self.status) {
            Ok(0) => 200,
            Ok(status @ 100..=599) => status,
            _ => {
                let message = format!("Invalid status code: {}", self.status);
                return answer(400, fields, message.into_bytes());
            }
        };
        let body = if self.body.is_empty() {
            // By then the head is out, so what cannot be decoded changes only the body.
            let broken = |_| b"invalid base64 encoding of response body".to_vec();
            STANDARD.decode(&self.encoded_body).unwrap_or_else(broken)
        } else {
            self.body.clone().into_bytes()
        };
        let has_body = !matches!(status, 100..=199 | 204 | 304);
        answer(status, fields, if has_body { body } else { Vec::new() })
    }
}

fn fields(node: &Node) -> Option<BTreeMap<String, String>> {
    if !matches!(node.value, Value::Object(_)) {
        return None;
    }
    let members = node.members().iter();
    members
        .map(|member| Some((member.key.to_string(), member.value.as_str()?.to_owned())))
        .collect()
}

fn endpoint(node: &Node) -> Endpoint {
    let text = |key| node.get(key).and_then(Node::as_str).unwrap_or_default();
    (text("method").into(), text("url").into())
}

/// Go's server drops fields that HTTP does not allow.
fn is_field(name: &str, value: &str) -> bool {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_text = |c: char| c == '\t' || !c.is_control();
    !name.is_empty() && name.chars().all(is_tchar) && value.chars().all(is_text)
}

/// `content-type` as Go's server writes it: `Content-Type`.
fn canonical(name: &str) -> String {
    let mut is_first = true;
    let change = |c: char| {
        let changed = if is_first {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        };
        is_first = c == '-';
        changed
    };
    name.chars().map(change).collect()
}

fn answer(status: u16, mut fields: Vec<(String, String)>, body: Vec<u8>) -> Answer {
    let has = |fields: &[(String, String)], wanted: &str| {
        fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    let has_body = !matches!(status, 100..=199 | 204 | 304);
    if !body.is_empty() && !has(&fields, "Content-Type") && !has(&fields, "Content-Encoding") {
        fields.push(("Content-Type".into(), sniff(&body).into()));
    }
    if has_body && !has(&fields, "Content-Length") {
        fields.push(("Content-Length".into(), body.len().to_string()));
    }
    Answer {
        status,
        fields,
        body,
    }
}

/// Bytes that Go's server looks at to tell a media type that nobody named.
const SNIFFED: usize = 512;

/// The tags that make a body HTML, by the WHATWG's MIME sniffing (section 7.1), which Go follows.
const TAGS: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

/// Media types by first bytes.
const MAGIC: [(&[u8], &str); 16] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (b"\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\x0D\x0A\x1A\x0A", "image/png"),
    (b"\xFF\xD8\xFF", "image/jpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"\x1F\x8B\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"Rar!\x1A\x07", "application/x-rar-compressed"),
    (b"\x00asm", "application/wasm"),
];

fn sniff(body: &[u8]) -> &'static str {
    let body = body.get(..SNIFFED).unwrap_or(body);
    let text = body.trim_ascii_start();
    let is_tag = |tag: &str| {
        let (begin, after) = text.split_at_checked(tag.len()).unwrap_or_default();
        // A comment begins as it stands; a tag's name must end.
        begin.eq_ignore_ascii_case(tag.as_bytes())
            && (tag == "<!--" || matches!(after.first(), Some(b' ' | b'>')))
    };
    if TAGS.into_iter().any(is_tag) {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    let mut magic = MAGIC.iter();
    if let Some((_, media)) = magic.find(|(begin, _)| body.starts_with(begin)) {
        return media;
    }
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31);
    if body.iter().any(is_binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reflect(body: &str) -> Answer {
        Backend::default().answer(b"POST", b"/reflect", body.as_bytes())
    }

    #[track_caller]
    fn check(body: &str, status: u16, fields: &[(&str, &str)], expected: &str) {
        let answer = reflect(body);
        assert_eq!(answer.status, status);
        let got: Vec<_> = answer
            .fields
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(got, fields);
        assert_eq!(String::from_utf8(answer.body).unwrap(), expected);
    }

    const PLAIN: (&str, &str) = ("Content-Type", "text/plain; charset=utf-8");

    #[test]
    fn anything_is_answered_with_an_empty_200() {
        let mut backend = Backend::default();
        for (method, target) in [
            ("GET", "/reflect"),
            ("POST", "/"),
            ("GET", "/x?/reflect"),
            ("FOO", "*"),
        ] {
            let answer = backend.answer(method.as_bytes(), target.as_bytes(), b"{\"status\": 500}");
            assert_eq!(
                (answer.status, answer.body.as_slice()),
                (200, &b""[..]),
                "{method} {target}"
            );
        }
    }

    #[test]
    fn descriptions_are_reflected() {
        check("{}", 200, &[("Content-Length", "0")], "");
        check(
            r#"{"body": "a"}"#,
            200,
            &[PLAIN, ("Content-Length", "1")],
            "a",
        );
        check(
            r#"{"Body": "a", "more": [1]}"#,
            200,
            &[PLAIN, ("Content-Length", "1")],
            "a",
        );
        check(
            r#"{"encodedBody": "SGk="}"#,
            200,
            &[PLAIN, ("Content-Length", "2")],
            "Hi",
        );
        check(
            r#"{"status": 503, "headers": {"content-type": "x/y", "a b": "c", "d": "e\nf"}, "body": "<"}"#,
            503,
            &[("Content-Type", "x/y"), ("Content-Length", "1")],
            "<",
        );
        check(r#"{"status": 204, "body": "a"}"#, 204, &[], "");
        let mut backend = Backend::default();
        assert_eq!(
            backend
                .answer(b"POST", b"/reflect/?x", b"{\"status\": 418}")
                .status,
            418
        );
    }

    #[test]
    fn what_is_no_description_is_a_400() {
        let (invalid, length) = ("Invalid JSON in request body", ("Content-Length", "28"));
        for body in [
            "",
            "[]",
            "{",
            "a=b",
            r#"{"status": "200"}"#,
            r#"{"body": 1}"#,
            r#"{"headers": {"a": 1}}"#,
        ] {
            check(body, 400, &[PLAIN, length], invalid);
        }
        check(
            r#"{"status": 600}"#,
            400,
            &[PLAIN, ("Content-Length", "24")],
            "Invalid status code: 600",
        );
        check(
            r#"{"status": 99}"#,
            400,
            &[PLAIN, ("Content-Length", "23")],
            "Invalid status code: 99",
        );
        check(
            r#"{"encodedBody": "!"}"#,
            200,
            &[PLAIN, ("Content-Length", "40")],
            "invalid base64 encoding of response body",
        );
    }

    #[test]
    fn endpoints_are_configured_and_forgotten() {
        let mut backend = Backend::default();
        let body = br#"{"status": 201, "endpoints": [{"method": "GET", "url": "/a?b"}]}"#;
        assert_eq!(
            backend
                .answer(b"POST", b"/configure_reflection", body)
                .status,
            200
        );
        assert_eq!(backend.answer(b"GET", b"/a?b", b"").status, 201);
        assert_eq!(backend.answer(b"GET", b"/a", b"").status, 200);
        backend.answer(b"PUT", b"/reset", b"");
        assert_eq!(backend.answer(b"GET", b"/a?b", b"").status, 200);
    }

    #[test]
    fn media_types_are_told_from_first_bytes() {
        for (body, expected) in [
            (&b"  <html>"[..], "text/html; charset=utf-8"),
            (b"<!-- x", "text/html; charset=utf-8"),
            (b"<bracket>", "text/plain; charset=utf-8"),
            (b"<b", "text/plain; charset=utf-8"),
            (b"<?xml version", "text/xml; charset=utf-8"),
            (b"<?php", "text/plain; charset=utf-8"),
            (b"PK\x03\x04", "application/zip"),
            (b"a\x00", "application/octet-stream"),
            (b"{\"a\": 1}", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(sniff(body), expected, "{body:?}");
        }
    }
}
