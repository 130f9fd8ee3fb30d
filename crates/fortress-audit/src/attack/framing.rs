//! Messages whose end, or whose fields, two parsers would see differently: the raw material of
//! request smuggling (RFC 9112, sections 2 to 7).
//!
//! Each is complete in every reading, so that no peer has to wait for more.

use super::{Attack, Basis, Judge, Kind, Message};

/// Sent on one operation without a body and one with a body; the parser is the same for all.
pub(super) fn attacks(without_body: Option<&Basis>, with_body: Option<&Basis>) -> Vec<Attack> {
    let mut found = Vec::new();
    if let Some(basis) = without_body {
        let start = format!("{} {}", basis.request.method, basis.request.target());
        let fields = fields(basis);
        for (what, raw) in heads(&start, &fields) {
            found.push(raw_attack(basis, what, raw));
        }
    }
    if let Some(basis) = with_body {
        let fields = fields(basis);
        let body = basis
            .request
            .body
            .as_ref()
            .map(super::Body::bytes)
            .unwrap_or_default();
        let start = format!(
            "{} {} HTTP/1.1\r\nHost: {{host}}\r\n{fields}",
            basis.request.method,
            basis.request.target()
        );
        for (what, raw) in lengths(&start, &body) {
            found.push(raw_attack(basis, what, raw));
        }
        for (what, raw) in chunks(&start, &body) {
            found.push(raw_attack(basis, what, raw));
        }
    }
    found
}

fn raw_attack(basis: &Basis, what: &str, raw: Vec<u8>) -> Attack {
    Attack {
        kind: Kind::Framing,
        operation: Some(basis.operation.clone()),
        what: what.to_owned(),
        message: Message::Raw(raw),
        judge: Judge::Refused,
    }
}

fn fields(basis: &Basis) -> String {
    basis
        .request
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect()
}

/// The head itself.
#[expect(clippy::too_many_lines, reason = "a table, one entry a message")]
fn heads(start: &str, fields: &str) -> Vec<(&'static str, Vec<u8>)> {
    let target = start.split(' ').nth(1).unwrap_or("/");
    let request = |line: &str, more: &str| {
        format!("{line}\r\nHost: {{host}}\r\n{fields}{more}\r\n").into_bytes()
    };
    let line = format!("{start} HTTP/1.1");
    let with = |more: &str| request(&line, more);
    vec![
        (
            "bare LF as line ending",
            format!("{line}\nHost: {{host}}\n{}\n", fields.replace("\r\n", "\n")).into_bytes(),
        ),
        ("a bare LF inside a field", with("X-A: 1\nX-B: 2\r\n")),
        ("a bare CR inside a field", with("X-A: 1\rX-B: 2\r\n")),
        ("a folded field (obs-fold)", with("X-A: 1\r\n  folded\r\n")),
        ("a space before the colon", with("X-A : 1\r\n")),
        ("a field without a colon", with("X-A\r\n")),
        ("a field without a name", with(": 1\r\n")),
        ("NUL in a field", with("X-A: a\0b\r\n")),
        ("a control character in a name", with("X\x01A: 1\r\n")),
        ("a space inside a name", with("X A: 1\r\n")),
        (
            "white space before the first field",
            format!("{line}\r\n Host: {{host}}\r\n{fields}\r\n").into_bytes(),
        ),
        ("no Host", format!("{line}\r\n{fields}\r\n").into_bytes()),
        ("two Hosts", with("Host: other.example\r\n")),
        (
            "a Host with a path",
            format!("{line}\r\nHost: {{host}}/admin\r\n{fields}\r\n").into_bytes(),
        ),
        (
            "a Host with user information",
            format!("{line}\r\nHost: a@{{host}}\r\n{fields}\r\n").into_bytes(),
        ),
        (
            "two spaces in the request line",
            request(&line.replacen(' ', "  ", 1), ""),
        ),
        (
            "a tab in the request line",
            request(&line.replacen(' ', "\t", 1), ""),
        ),
        (
            "four words in the request line",
            request(&format!("{line} x"), ""),
        ),
        (
            "an unknown version",
            request(&format!("{start} HTTP/1.9x"), ""),
        ),
        (
            "a lower-case version",
            request(&format!("{start} http/1.1"), ""),
        ),
        ("no version", request(start, "")),
        (
            "an absolute target of another host",
            request(
                &line.replacen(target, &format!("http://other.example{target}"), 1),
                "",
            ),
        ),
        (
            "both lengths on a request without a body",
            with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")
                .into_iter()
                .chain(*b"0\r\n\r\n")
                .collect(),
        ),
        ("an unknown expectation", with("Expect: 200-maybe\r\n")),
    ]
}

/// `Content-Length` and `Transfer-Encoding`.
#[expect(clippy::too_many_lines, reason = "a table, one entry a message")]
fn lengths(start: &str, body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let length = body.len();
    let chunked = [format!("{length:x}\r\n").as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    let all = chunked.len();
    let message =
        |fields: &str, body: &[u8]| [format!("{start}{fields}\r\n").as_bytes(), body].concat();
    vec![
        (
            "CL.TE: both lengths, the first one counts",
            message(
                &format!("Content-Length: {all}\r\nTransfer-Encoding: chunked\r\n"),
                &chunked,
            ),
        ),
        (
            "TE.CL: both lengths, the second one counts",
            message(
                &format!("Transfer-Encoding: chunked\r\nContent-Length: {all}\r\n"),
                &chunked,
            ),
        ),
        (
            "Content-Length twice, equal",
            message(
                &format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"),
                body,
            ),
        ),
        (
            "Content-Length twice, different",
            message(
                &format!("Content-Length: {length}\r\nContent-Length: 0\r\n"),
                body,
            ),
        ),
        (
            "a list of lengths",
            message(&format!("Content-Length: {length}, {length}\r\n"), body),
        ),
        (
            "a length with a sign",
            message(&format!("Content-Length: +{length}\r\n"), body),
        ),
        ("a negative length", message("Content-Length: -1\r\n", body)),
        (
            "a hexadecimal length",
            message(&format!("Content-Length: 0x{length:x}\r\n"), body),
        ),
        (
            "a length that overflows",
            message("Content-Length: 18446744073709551617\r\n", body),
        ),
        ("an empty length", message("Content-Length: \r\n", body)),
        (
            "chunked twice",
            message(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                &chunked,
            ),
        ),
        (
            "chunked, then identity",
            message("Transfer-Encoding: chunked, identity\r\n", &chunked),
        ),
        (
            "an unknown transfer coding",
            message("Transfer-Encoding: xchunked\r\n", &chunked),
        ),
        (
            "a vertical tab in the coding",
            message("Transfer-Encoding: \x0bchunked\r\n", &chunked),
        ),
        (
            "a quoted coding",
            message("Transfer-Encoding: \"chunked\"\r\n", &chunked),
        ),
        (
            "chunked in HTTP/1.0",
            replace_version(message("Transfer-Encoding: chunked\r\n", &chunked)),
        ),
    ]
}

fn replace_version(message: Vec<u8>) -> Vec<u8> {
    const FROM: &[u8] = b" HTTP/1.1\r\n";
    match message.windows(FROM.len()).position(|part| part == FROM) {
        Some(at) => {
            let (before, after) = message.split_at(at);
            let after = after.get(FROM.len()..).unwrap_or_default();
            [before, b" HTTP/1.0\r\n", after].concat()
        }
        None => message,
    }
}

/// The chunks.
fn chunks(start: &str, body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let length = body.len();
    let message = |size: &str, between: &str, end: &str| {
        [
            format!("{start}Transfer-Encoding: chunked\r\n\r\n{size}{between}").as_bytes(),
            body,
            end.as_bytes(),
        ]
        .concat()
    };
    let good = "\r\n0\r\n\r\n";
    vec![
        (
            "a chunk size with 0x",
            message(&format!("0x{length:x}"), "\r\n", good),
        ),
        (
            "a chunk size with a sign",
            message(&format!("+{length:x}"), "\r\n", good),
        ),
        (
            "a chunk size with a space before",
            message(&format!(" {length:x}"), "\r\n", good),
        ),
        (
            "a chunk size that overflows",
            message(&format!("F0000000000000000{length:x}"), "\r\n", good),
        ),
        (
            "a bare LF after the chunk size",
            message(&format!("{length:x}"), "\n", good),
        ),
        (
            "a bare LF in a chunk extension",
            message(&format!("{length:x};a\nb"), "\r\n", good),
        ),
        (
            "no line ending after the chunk",
            message(&format!("{length:x}"), "\r\n", "XX0\r\n\r\n"),
        ),
        (
            "a bare LF after the chunk",
            message(&format!("{length:x}"), "\r\n", "\n0\r\n\r\n"),
        ),
        (
            "a bare LF at the end",
            message(&format!("{length:x}"), "\r\n", "\r\n0\n\n"),
        ),
        (
            "an invalid trailer",
            message(&format!("{length:x}"), "\r\n", "\r\n0\r\nX-A : 1\r\n\r\n"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::{Body, Request};

    #[test]
    fn the_pieces_are_where_they_belong() {
        let basis = Basis {
            operation: "add".into(),
            index: 0,
            request: Request::new("POST", "/a")
                .with("X", "1")
                .body(Body::plain("ab")),
            bearer: None,
        };
        let attacks = attacks(Some(&basis), Some(&basis));
        let raw = |what: &str| {
            let attack = attacks
                .iter()
                .find(|attack| attack.what.starts_with(what))
                .unwrap();
            String::from_utf8(attack.message.encode("h:1")).unwrap()
        };
        assert_eq!(
            raw("CL.TE"),
            "POST /a HTTP/1.1\r\nHost: h:1\r\nX: 1\r\nContent-Length: 12\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
        );
        assert_eq!(
            raw("two Hosts"),
            "POST /a HTTP/1.1\r\nHost: h:1\r\nX: 1\r\nHost: other.example\r\n\r\n"
        );
        assert!(raw("chunked in HTTP/1.0").starts_with("POST /a HTTP/1.0\r\n"));
        assert!(raw("an absolute target").starts_with("POST http://other.example/a HTTP/1.1\r\n"));
    }
}
