//! Bodies that are too large, too deep, of the wrong type, or read differently by two parsers.
//!
//! Deliberately not here: bodies that break the schema (`inputs`).

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

use super::{Attack, Basis, Body, Kind, Message, Request};

/// The decoded size of a bomb.
const BOMB: usize = 256 << 20;

/// Which bodies are made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sizes<'a> {
    /// Small ones only: a description with hundreds of operations would fill the memory.
    Small,
    /// Also those beyond `bound`, the most that the operation takes, and `bomb`.
    All {
        /// Bytes.
        bound: usize,
        /// Of [`bomb`].
        bomb: &'a [u8],
    },
}

/// All of them, on an operation that takes a body.
pub(super) fn attacks(basis: &Basis, which: Sizes<'_>) -> Vec<Attack> {
    let Some(body) = &basis.request.body else {
        return vec![
            basis.refused(
                Kind::BodyType,
                "a body on an operation that has none",
                basis
                    .request
                    .clone()
                    .with("Content-Type", "application/json")
                    .body(Body::plain("{\"a\":1}")),
            ),
        ];
    };
    let mut found = match which {
        Sizes::All { bound, bomb } => sizes(basis, body, bound, bomb),
        Sizes::Small => Vec::new(),
    };
    found.extend(types(basis, body));
    if is_json(&basis.request) {
        found.extend(malformed(basis, body));
    }
    found
}

/// Whether the request's body is JSON.
pub(super) fn is_json(request: &Request) -> bool {
    request.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type")
            && (value.contains("/json") || value.contains("+json"))
    })
}

fn sizes(basis: &Basis, body: &Body, bound: usize, bomb: &[u8]) -> Vec<Attack> {
    let padded = Body {
        before: body.bytes(),
        fill: b' ',
        count: bound + 1,
        after: Vec::new(),
    };
    let chunked = {
        let mut request = basis.request.clone().with("Transfer-Encoding", "chunked");
        request.body = None;
        let mut raw = request.encode("{host}");
        raw.extend_from_slice(format!("{:x}\r\n", padded.len()).as_bytes());
        raw.extend_from_slice(&padded.bytes());
        raw.extend_from_slice(b"\r\n0\r\n\r\n");
        raw
    };
    let mut found = vec![
        basis.refused(
            Kind::BodyTooLarge,
            format!("{} bytes", padded.len()),
            basis.request.clone().body(padded.clone()),
        ),
        Attack {
            message: Message::Raw(chunked),
            ..basis.refused(
                Kind::BodyTooLarge,
                format!("{} bytes, chunked", padded.len()),
                basis.request.clone(),
            )
        },
        basis.refused(
            Kind::BodyBomb,
            format!("gzip of {} MiB", BOMB >> 20),
            basis
                .request
                .clone()
                .with("Content-Encoding", "gzip")
                .body(Body::plain(bomb)),
        ),
    ];
    if is_json(&basis.request) {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let wide: String = (0..20_000).map(|n| format!("\"p{n}\":1,")).collect();
        for (what, text) in [
            ("200 levels deep", nested(200)),
            ("50,000 levels deep", nested(50_000)),
            ("20,000 properties", format!("{{{wide}\"p\":1}}")),
            ("20,000 items", format!("[{}1]", "1,".repeat(20_000))),
        ] {
            found.push(basis.refused(
                Kind::BodyTooLarge,
                what,
                basis.request.clone().body(Body::plain(text)),
            ));
        }
    }
    found
}

fn types(basis: &Basis, body: &Body) -> Vec<Attack> {
    let request = &basis.request;
    let mut found = Vec::new();
    for (what, value) in [
        ("text instead of its type", "text/plain"),
        ("XML instead of its type", "application/xml"),
        ("a malformed type", "application"),
        ("an unknown charset", "application/json; charset=utf-7"),
        ("UTF-16", "application/json; charset=utf-16"),
    ] {
        found.push(basis.refused(
            Kind::BodyType,
            what,
            request.clone().set("Content-Type", value),
        ));
    }
    found.push(basis.refused(
        Kind::BodyType,
        "no type",
        request.clone().without("Content-Type"),
    ));
    found.push(basis.refused(
        Kind::BodyType,
        "two types",
        request.clone().with("Content-Type", "text/plain"),
    ));
    for (what, value) in [
        ("an unknown encoding", "x-fortress"),
        ("gzip that is none", "gzip"),
        ("gzip twice", "gzip, gzip"),
    ] {
        found.push(basis.refused(
            Kind::BodyType,
            what,
            request.clone().with("Content-Encoding", value),
        ));
    }
    let mut without = request.clone();
    without.body = Some(Body::plain(Vec::new()));
    if !body.is_empty() {
        found.push(basis.refused(Kind::InputMissing, "an empty body", without));
    }
    found
}

fn malformed(basis: &Basis, body: &Body) -> Vec<Attack> {
    let bytes = body.bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut found: Vec<Attack> = [
        ("bytes after the value", [bytes.as_slice(), b" {}"].concat()),
        (
            "a byte order mark",
            [b"\xef\xbb\xbf", bytes.as_slice()].concat(),
        ),
        ("invalid UTF-8", [bytes.as_slice(), b"\xff"].concat()),
        ("a comment", [b"/* a */", bytes.as_slice()].concat()),
        ("NUL after the value", [bytes.as_slice(), b"\0"].concat()),
        (
            "half of it",
            bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec(),
        ),
        ("NaN", b"NaN".to_vec()),
        ("single quotes", text.replace('"', "'").into_bytes()),
    ]
    .into_iter()
    .map(|(what, bytes)| {
        basis.refused(
            Kind::BodyMalformed,
            what,
            basis.request.clone().body(Body::plain(bytes)),
        )
    })
    .collect();
    if let Some(inner) = text.strip_suffix('}') {
        found.push(
            basis.refused(
                Kind::BodyMalformed,
                "a comma at the end",
                basis
                    .request
                    .clone()
                    .body(Body::plain(format!("{inner},}}"))),
            ),
        );
    }
    // The first member once more, spelled as it is and with its first letter escaped.
    if let Some((key, value)) = first_member(&bytes) {
        let again = |key: &str| text.replacen('{', &format!("{{{key}:{value},"), 1);
        let escaped = key
            .chars()
            .nth(1)
            .map(|c| key.replacen(c, &format!("\\u{:04x}", u32::from(c)), 1));
        for (what, key) in [
            ("the same key twice", Some(key.clone())),
            ("the same key twice, once escaped", escaped),
        ] {
            if let Some(key) = key {
                found.push(basis.refused(
                    Kind::InputDuplicate,
                    what,
                    basis.request.clone().body(Body::plain(again(&key))),
                ));
            }
        }
    }
    found
}

fn first_member(bytes: &[u8]) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let (key, value) = value.as_object()?.iter().next()?;
    Some((serde_json::to_string(key).ok()?, value.to_string()))
}

/// Spaces, compressed: 256 MiB in about 256 KiB. Made once for all operations.
pub(super) fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![b' '; 1 << 20];
    for _ in 0..BOMB / block.len() {
        if encoder.write_all(&block).is_err() {
            break;
        }
    }
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis() -> Basis {
        Basis {
            operation: "add".into(),
            index: 0,
            request: Request::new("POST", "/a")
                .with("Content-Type", "application/json")
                .body(Body::plain("{\"a\":\"b\"}")),
            bearer: None,
        }
    }

    #[test]
    fn each_body_differs_from_the_valid_one() {
        let basis = basis();
        let attacks = attacks(
            &basis,
            Sizes::All {
                bound: 100,
                bomb: b"bomb",
            },
        );
        assert!(attacks.len() > 20);
        for attack in &attacks {
            if let Message::Request(request) = &attack.message {
                assert_ne!(request, &basis.request, "{}", attack.what);
            }
        }
    }

    #[test]
    fn the_same_key_twice_is_the_same_key_twice() {
        let attacks = malformed(&basis(), &Body::plain("{\"a\":\"b\"}"));
        let body = |what: &str| {
            let attack = attacks.iter().find(|attack| attack.what == what).unwrap();
            let Message::Request(request) = &attack.message else {
                panic!("raw")
            };
            String::from_utf8(request.body.as_ref().unwrap().bytes()).unwrap()
        };
        assert_eq!(body("the same key twice"), "{\"a\":\"b\",\"a\":\"b\"}");
        assert_eq!(
            body("the same key twice, once escaped"),
            "{\"\\u0061\":\"b\",\"a\":\"b\"}"
        );
    }
}
