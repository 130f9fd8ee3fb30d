//! A request that will be sent as bytes, and that people can repeat with curl.

use std::fmt::Write;

/// One HTTP/1.1 request, already encoded where HTTP wants that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, percent-encoded, with the API's base path.
    pub path: String,
    /// The query without its `?`; empty for none.
    pub query: String,
    /// Header fields beside `Host`, `Connection` and `Content-Length`.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Body>,
}

/// A body: what precedes, one byte many times over, what follows. Large bodies stay small in
/// memory and in the line that repeats them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Body {
    /// First.
    pub before: Vec<u8>,
    /// Repeated.
    pub fill: u8,
    /// How often.
    pub count: usize,
    /// Last.
    pub after: Vec<u8>,
}

impl Body {
    /// A body as it is.
    pub fn plain(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            before: bytes.into(),
            fill: b' ',
            count: 0,
            after: Vec::new(),
        }
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.before.len() + self.count + self.after.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.extend_from_slice(&self.before);
        bytes.resize(self.before.len() + self.count, self.fill);
        bytes.extend_from_slice(&self.after);
        bytes
    }
}

impl Request {
    /// A request without query, headers and body.
    pub fn new(method: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
            body: None,
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with this field in the place of all of its name.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self.with(name, value)
    }

    /// The same without the fields of this name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(field, _)| !field.eq_ignore_ascii_case(name));
        self
    }

    /// The bearer token that it shows.
    pub fn bearer(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(name, _)| name == "Authorization")?;
        value.strip_prefix("Bearer ")
    }

    /// The same with one more query parameter, already encoded.
    #[must_use]
    pub fn query(mut self, pair: &str) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(pair);
        self
    }

    /// The same with another body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }

    /// Path and query.
    pub fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    /// What goes over the wire. The connection ends with the answer.
    pub fn encode(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target());
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("connection"))
        {
            head.push_str("Connection: close\r\n");
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if let Some(body) = &self.body {
            bytes.extend_from_slice(&body.bytes());
        }
        bytes
    }

    /// The line that repeats it. `names` are the tokens which the reader has in a variable.
    pub fn curl(&self, base: &str, names: &[(String, String)]) -> String {
        let mut line = String::from("curl -i --path-as-is");
        if self.method != "GET" || self.body.is_some() {
            line.push_str(&format!(" -X {}", quote(&self.method, names)));
        }
        for (name, value) in &self.headers {
            if value.len() > LONG {
                line.push_str(&format!(
                    " -H \"{name}: $(head -c {} /dev/zero | tr '\\0' {})\"",
                    value.len(),
                    value.get(..1).unwrap_or("a")
                ));
            } else {
                line.push_str(&format!(
                    " -H {}",
                    quote(&format!("{name}: {value}"), names)
                ));
            }
        }
        let mut source = String::new();
        if let Some(body) = &self.body {
            if body.count == 0 && std::str::from_utf8(&body.before).is_ok() {
                let text = String::from_utf8_lossy(&body.before);
                line.push_str(&format!(" --data-binary {}", quote(&text, names)));
            } else {
                source = format!("({}) | ", produce(body));
                line.push_str(" --data-binary @-");
            }
        }
        let target = self.target();
        let url = format!("{base}{target}");
        if url.len() > LONG {
            let _written = write!(line, " {}…", quote(url.get(..80).unwrap_or(base), names));
        } else {
            line.push_str(&format!(" {}", quote(&url, names)));
        }
        source + &line
    }
}

/// Longer than this is not printed as it is.
const LONG: usize = 2048;

fn produce(body: &Body) -> String {
    let mut parts = Vec::new();
    if !body.before.is_empty() {
        parts.push(format!("printf {}", escape(&body.before)));
    }
    if body.count > 0 {
        let fill = escape(&[body.fill]);
        parts.push(format!(
            "head -c {} /dev/zero | tr '\\0' {fill}",
            body.count
        ));
    }
    if !body.after.is_empty() {
        parts.push(format!("printf {}", escape(&body.after)));
    }
    parts.join("; ")
}

/// Bytes as `printf` of every shell takes them.
pub(super) fn escape(bytes: &[u8]) -> String {
    let mut text = String::from("'");
    for byte in bytes.iter().take(LONG) {
        match byte {
            b'\r' => text.push_str("\\r"),
            b'\n' => text.push_str("\\n"),
            b'\t' => text.push_str("\\t"),
            b'%' => text.push_str("%%"),
            b'\\' => text.push_str("\\\\"),
            b'\'' => text.push_str("'\\''"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\{byte:03o}")),
        }
    }
    if bytes.len() > LONG {
        text.push('…');
    }
    text.push('\'');
    text
}

/// One shell word. A token that has a name is written as that variable, which only double quotes
/// let through.
fn quote(text: &str, names: &[(String, String)]) -> String {
    for (name, token) in names {
        if !token.is_empty() && text.contains(token.as_str()) {
            let text = text.replace(token.as_str(), "\u{0}");
            let escaped: String = text
                .chars()
                .map(|c| match c {
                    '\u{0}' => format!("${name}"),
                    '"' | '\\' | '$' | '`' => format!("\\{c}"),
                    _ => c.to_string(),
                })
                .collect();
            return format!("\"{escaped}\"");
        }
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_has_a_length_and_ends_the_connection() {
        let request = Request::new("POST", "/a")
            .query("b=1")
            .with("X-A", "1")
            .body(Body::plain("hi"));
        assert_eq!(
            String::from_utf8(request.encode("h:1")).unwrap(),
            "POST /a?b=1 HTTP/1.1\r\nHost: h:1\r\nX-A: 1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"
        );
    }

    #[track_caller]
    fn check_curl(request: &Request, expect: &str) {
        let names = [(String::from("ALICE"), String::from("ey.a.b"))];
        assert_eq!(request.curl("http://127.0.0.1:1", &names), expect);
    }

    #[test]
    fn curl_lines_are_quoted_for_the_shell() {
        check_curl(
            &Request::new("GET", "/a").with("Authorization", "Bearer ey.a.b"),
            "curl -i --path-as-is -H \"Authorization: Bearer $ALICE\" http://127.0.0.1:1/a",
        );
        check_curl(
            &Request::new("GET", "/a").query("q=%27&b=c"),
            "curl -i --path-as-is 'http://127.0.0.1:1/a?q=%27&b=c'",
        );
        check_curl(
            &Request::new("PATCH", "/a").body(Body::plain("{\"a\":\"it's\"}")),
            "curl -i --path-as-is -X PATCH --data-binary '{\"a\":\"it'\\''s\"}' http://127.0.0.1:1/a",
        );
        check_curl(
            &Request::new("POST", "/a").body(Body {
                before: b"{}".to_vec(),
                fill: b' ',
                count: 9,
                after: vec![],
            }),
            "(printf '{}'; head -c 9 /dev/zero | tr '\\0' ' ') | curl -i --path-as-is -X POST --data-binary @- http://127.0.0.1:1/a",
        );
    }
}
