//! The bytes that go-ftw sends for a test's input.
//!
//! Deliberately not here: any care for HTTP's rules, which tests break on purpose.

use super::format::Input;

const CONTENT_TYPE: &str = "Content-Type";
const FORM: &str = "application/x-www-form-urlencoded";

impl Input {
    /// The request as it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        if let Some(encoded) = &self.encoded {
            return encoded.clone();
        }
        let mut headers = self.headers.clone();
        let mut data = self.data.clone();
        if self.autocomplete && !data.is_empty() {
            if !has(&headers, CONTENT_TYPE) {
                headers.push((CONTENT_TYPE.into(), FORM.into()));
            }
            if types(&headers).any(|value| value.eq_ignore_ascii_case(FORM)) {
                data = encode_form(data);
            }
        }
        let is_multipart = |value: &str| {
            let value = value.to_ascii_lowercase();
            value.contains("multipart/form-data;")
        };
        if types(&headers).any(is_multipart) {
            data = with_crlf(&data);
        }
        if self.autocomplete {
            if !has(&headers, "Connection") {
                headers.push(("Connection".into(), "close".into()));
            }
            let wants_length = !data.is_empty() || takes_body(&self.method);
            if wants_length && !has(&headers, "Content-Length") {
                headers.push(("Content-Length".into(), data.len().to_string()));
            }
        }
        let mut bytes = format!("{} {} {}\r\n", self.method, self.uri, self.version).into_bytes();
        for (name, value) in &headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&data);
        bytes
    }
}

fn has(headers: &[(String, String)], wanted: &str) -> bool {
    let mut names = headers.iter().map(|(name, _)| name);
    names.any(|name| name.eq_ignore_ascii_case(wanted))
}

fn types(headers: &[(String, String)]) -> impl Iterator<Item = &str> {
    let types = headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE));
    types.map(|(_, value)| value.as_str())
}

/// go-ftw asks with a regular expression whose anchors bind less than they seem to:
/// `^POST|PUT|PATCH|DELETE$`.
fn takes_body(method: &str) -> bool {
    method.starts_with("POST")
        || method.contains("PUT")
        || method.contains("PATCH")
        || method.ends_with("DELETE")
}

/// Tests write forms as people read them. One that decoding would change is taken to be encoded.
fn encode_form(data: Vec<u8>) -> Vec<u8> {
    if data.contains(&b'%') || data.contains(&b'+') {
        return data;
    }
    // A final `&` has nothing behind it, not an empty pair.
    let pairs = data.strip_suffix(b"&").unwrap_or(&data);
    let mut encoded = Vec::with_capacity(data.len() * 2);
    for (index, pair) in pairs.split(|byte| *byte == b'&').enumerate() {
        if index > 0 {
            encoded.push(b'&');
        }
        // Only the first `=` parts name and value.
        for (index, part) in pair.splitn(2, |byte| *byte == b'=').enumerate() {
            if index > 0 {
                encoded.push(b'=');
            }
            escape(part, &mut encoded);
        }
    }
    encoded
}

fn escape(part: &[u8], encoded: &mut Vec<u8>) {
    for byte in part {
        match byte {
            b' ' => encoded.push(b'+'),
            b'-' | b'_' | b'.' | b'~' => encoded.push(*byte),
            byte if byte.is_ascii_alphanumeric() => encoded.push(*byte),
            byte => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

/// YAML has only line feeds, and the lines of a multipart body end in CRLF.
fn with_crlf(data: &[u8]) -> Vec<u8> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut changed = lines.next().unwrap_or_default().to_vec();
    for line in lines {
        changed.extend_from_slice(b"\r\n");
        changed.extend_from_slice(line);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(method: &str, headers: &[(&str, &str)], data: &str) -> Input {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Input {
            address: String::new(),
            port: 80,
            method: method.into(),
            uri: "/".into(),
            version: "HTTP/1.1".into(),
            headers: headers.iter().map(owned).collect(),
            data: data.as_bytes().to_vec(),
            autocomplete: true,
            encoded: None,
        }
    }

    #[track_caller]
    fn check(input: &Input, expected: &str) {
        assert_eq!(String::from_utf8(input.bytes()).unwrap(), expected);
    }

    #[test]
    fn what_is_missing_is_completed() {
        check(
            &input("GET", &[], ""),
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        );
        check(
            &input("POST", &[("Host", "x")], ""),
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
        check(
            &input("GET", &[], "a=<b> c&d&e=f=g"),
            "GET / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\nContent-Length: 21\r\n\r\na=%3Cb%3E+c&d&e=f%3Dg",
        );
    }

    #[test]
    fn what_is_given_stays() {
        check(
            &input("POST", &[("connection", "x"), ("content-length", "9")], ""),
            "POST / HTTP/1.1\r\nconnection: x\r\ncontent-length: 9\r\n\r\n",
        );
        let json = [("Content-Type", "application/json"), ("Connection", "x")];
        check(
            &input("POST", &json, "<>"),
            "POST / HTTP/1.1\r\nContent-Type: application/json\r\nConnection: x\r\nContent-Length: 2\r\n\r\n<>",
        );
        let mut raw = input("PUT", &[("A", "b")], "a=<b>");
        raw.autocomplete = false;
        check(&raw, "PUT / HTTP/1.1\r\nA: b\r\n\r\na=<b>");
        raw.encoded = Some(b"\0".to_vec());
        check(&raw, "\0");
    }

    #[test]
    fn a_form_that_is_encoded_is_not_encoded_again() {
        for (data, expected) in [
            ("a=%3C>", "a=%3C>"),
            ("a=b+<", "a=b+<"),
            ("a=b&", "a=b"),
            ("&&", "&"),
            ("=", "="),
            ("a b", "a+b"),
            ("é~-_.", "%C3%A9~-_."),
        ] {
            let encoded = encode_form(data.as_bytes().to_vec());
            assert_eq!(String::from_utf8(encoded).unwrap(), expected);
        }
    }

    #[test]
    fn lines_of_multipart_bodies_end_in_crlf() {
        let mut multipart = input(
            "POST",
            &[("Content-Type", "Multipart/form-data; boundary=x")],
            "a\nb\n",
        );
        multipart.autocomplete = false;
        check(
            &multipart,
            "POST / HTTP/1.1\r\nContent-Type: Multipart/form-data; boundary=x\r\n\r\na\r\nb\r\n",
        );
        assert_eq!(with_crlf(b"a"), b"a");
        assert_eq!(with_crlf(b"a\r\n"), b"a\r\r\n");
    }

    #[test]
    fn methods_take_a_body_as_go_ftw_sees_it() {
        for method in [
            "POST", "POSTER", "PUT", "XPUTX", "PATCH", "DELETE", "XDELETE",
        ] {
            assert!(takes_body(method), "{method}");
        }
        for method in ["GET", "post", "DELETED", "OPTIONS", "XPOST"] {
            assert!(!takes_body(method), "{method}");
        }
    }
}
