//! How a web server in front of the rules reads a request: as the Apache server of CRS's own test
//! set-up does, which refuses what is not HTTP and leaves every other oddity to the rules.
//!
//! Deliberately not here: the gateway's own reading, which is stricter. This one only stands in
//! for a server where tests run in process.

/// A request that was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// The method.
    pub method: Vec<u8>,
    /// The request target as it stands.
    pub target: Vec<u8>,
    /// `HTTP/1.1` and the like; `HTTP/0.9` where there is none.
    pub protocol: Vec<u8>,
    /// The header fields, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body, without its transfer coding.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether the client spoke HTTP/0.9: the answer has no head.
    pub fn is_simple(&self) -> bool {
        self.protocol == SIMPLE
    }
}

/// Why a request is not HTTP: the answer is 400, and no rule sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub &'static str);

const SIMPLE: &[u8] = b"HTTP/0.9";

/// Reads the first request of a connection on which the client sends `bytes` and no more.
///
/// # Errors
/// What makes it no request.
pub fn read(bytes: &[u8]) -> Result<Request, Refusal> {
    let (line, rest) = line(bytes).ok_or(Refusal("no request line"))?;
    let mut request = request_line(line)?;
    if request.is_simple() {
        return Ok(request);
    }
    let (fields, body) = header(rest)?;
    request.fields = fields;
    host(&request)?;
    frame(&mut request, body)?;
    Ok(request)
}

/// The text up to a line feed, without a carriage return before it, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let (line, rest) = bytes.split_at_checked(end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest.get(1..)?))
}

fn request_line(line: &[u8]) -> Result<Request, Refusal> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (method, target) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let protocol = parts.next().unwrap_or_default();
    if !is_token(method) {
        return Err(Refusal("the method is not a token"));
    }
    if !is_target(method, target) {
        return Err(Refusal("the request target has no form that HTTP knows"));
    }
    let protocol = match protocol {
        b"" => SIMPLE,
        protocol if is_protocol(protocol) => protocol,
        _ => return Err(Refusal("the protocol is not HTTP/1.0 or later")),
    };
    Ok(Request {
        method: method.to_vec(),
        target: target.to_vec(),
        protocol: protocol.to_vec(),
        ..Request::default()
    })
}

fn is_token(text: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_tchar)
}

/// RFC 9112, section 3.2. Apache lets bytes pass that no URI has, `<` and those above 0x7F among
/// them, but no control, no space and no fragment.
fn is_target(method: &[u8], target: &[u8]) -> bool {
    if target
        .iter()
        .any(|byte| *byte <= b' ' || matches!(byte, 0x7F | b'#'))
    {
        return false;
    }
    if target.starts_with(b"/") || target == b"*" {
        return true;
    }
    let after_colon = memchr::memchr(b':', target).and_then(|colon| target.get(colon + 1..));
    after_colon.is_some_and(|after| {
        after.starts_with(b"//")
            || (is_port(after) && (method == b"CONNECT" || method == b"OPTIONS"))
    })
}

fn is_port(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

fn is_protocol(text: &[u8]) -> bool {
    match text.strip_prefix(b"HTTP/") {
        Some([major, b'.', minor]) => matches!(major, b'1'..=b'9') && minor.is_ascii_digit(),
        Some([major]) => matches!(major, b'1'..=b'9'),
        _ => false,
    }
}

type Header<'b> = (Vec<(Vec<u8>, Vec<u8>)>, &'b [u8]);

fn header(bytes: &[u8]) -> Result<Header<'_>, Refusal> {
    let mut fields: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut rest = bytes;
    loop {
        let (text, after) = line(rest).ok_or(Refusal("the header does not end"))?;
        rest = after;
        if text.is_empty() {
            return Ok((fields, rest));
        }
        if text
            .iter()
            .any(|byte| matches!(byte, 0..=8 | 10..=31 | 0x7F))
        {
            return Err(Refusal("a control character in the header"));
        }
        if let [b' ' | b'\t', ..] = text {
            let Some((_, value)) = fields.last_mut() else {
                return Err(Refusal("the header begins with a folded line"));
            };
            value.push(b' ');
            value.extend_from_slice(text.trim_ascii());
            continue;
        }
        let colon = memchr::memchr(b':', text).ok_or(Refusal("a header line without a colon"))?;
        let (name, value) = text.split_at_checked(colon).unwrap_or_default();
        if !is_token(name) {
            return Err(Refusal("a header field's name is not a token"));
        }
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        fields.push((name.to_vec(), value.to_vec()));
    }
}

fn values<'r>(request: &'r Request, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    let is_it = move |field: &&(Vec<u8>, Vec<u8>)| field.0.eq_ignore_ascii_case(name.as_bytes());
    request
        .fields
        .iter()
        .filter(is_it)
        .map(|(_, value)| value.as_slice())
}

/// RFC 9112, section 3.2: since HTTP/1.1 a request names its host, once.
fn host(request: &Request) -> Result<(), Refusal> {
    let is_old = request.protocol == b"HTTP/1.0";
    let mut hosts = values(request, "Host");
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(Refusal("two hosts")),
        (None | Some(b""), _) if !is_old => Err(Refusal("no host")),
        (Some(host), None) if !host.iter().all(is_host_byte) => {
            Err(Refusal("the host is no host name"))
        }
        _ => Ok(()),
    }
}

fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:[]".contains(byte)
}

/// Takes the body. One that is shorter than announced is handed over as far as it came.
fn frame(request: &mut Request, body: &[u8]) -> Result<(), Refusal> {
    let chunked = match values(request, "Transfer-Encoding").last() {
        None => false,
        Some(coding) if coding.to_ascii_lowercase().ends_with(b"chunked") => true,
        Some(_) => return Err(Refusal("the body's end cannot be known")),
    };
    if chunked {
        // RFC 9112, section 6.3: the coding overrides the length, which goes no further.
        let is_length = |name: &[u8]| name.eq_ignore_ascii_case(b"Content-Length");
        request.fields.retain(|(name, _)| !is_length(name));
        request.body = unchunk(body)?;
        return Ok(());
    }
    let mut length = None;
    for value in values(request, "Content-Length") {
        let number = std::str::from_utf8(value).ok().filter(|_| is_port(value));
        let number: Option<usize> = number.and_then(|text| text.parse().ok());
        match (number, length) {
            (None, _) => return Err(Refusal("the length is not a number")),
            (Some(new), Some(old)) if new != old => return Err(Refusal("two lengths")),
            (Some(new), _) => length = Some(new),
        }
    }
    let length = length.unwrap_or(0).min(body.len());
    request.body = body.get(..length).unwrap_or_default().to_vec();
    Ok(())
}

fn unchunk(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    const BROKEN: Refusal = Refusal("a broken chunk");
    let mut body = Vec::new();
    let mut rest = bytes;
    loop {
        let (head, data) = line(rest).ok_or(BROKEN)?;
        let digits = head.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits.trim_ascii()).map_err(|_| BROKEN)?;
        let size = usize::from_str_radix(digits, 16).map_err(|_| BROKEN)?;
        if size == 0 {
            return Ok(body);
        }
        let (chunk, after) = data.split_at_checked(size).ok_or(BROKEN)?;
        body.extend_from_slice(chunk);
        let (end, after) = line(after).ok_or(BROKEN)?;
        if !end.is_empty() {
            return Err(BROKEN);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(bytes: &str, expected: &str) {
        assert_eq!(
            read(bytes.as_bytes()).map(|_| ()).unwrap_err().0,
            expected,
            "{bytes:?}"
        );
    }

    #[track_caller]
    fn accepted(bytes: &str) -> Request {
        read(bytes.as_bytes()).unwrap_or_else(|refusal| panic!("{bytes:?}: {refusal}"))
    }

    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
    }

    #[test]
    fn requests_stay_as_they_stand() {
        let request =
            accepted("|GET /a%00\"<é HTTP/4.0\nHost:x:80\r\nX_y:  a b \r\nx_Y:\r\n z\r\n\r\nrest");
        assert_eq!(request.method, b"|GET");
        assert_eq!(request.target, "/a%00\"<é".as_bytes());
        assert_eq!(request.protocol, b"HTTP/4.0");
        let fields = [("Host", "x:80"), ("X_y", "a b"), ("x_Y", " z")];
        let fields = fields.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(request.fields, fields);
        assert_eq!(request.body, b"");
    }

    #[test]
    fn targets_have_a_form() {
        for target in ["/", "*", "http://localhost", "ftp://x/y?z"] {
            accepted(&get(target));
        }
        accepted("CONNECT 1.2.3.4:80 HTTP/1.1\r\nHost: x\r\n\r\n");
        for target in ["\\", "x", "x:80", "/#f", "/\u{7f}"] {
            refused(
                &get(target),
                "the request target has no form that HTTP knows",
            );
        }
        for line in [
            "CONNECT www.coreruleset.org HTTP/1.1",
            "CONNECT x: HTTP/1.1",
        ] {
            let request = format!("{line}\r\nHost: x\r\n\r\n");
            refused(&request, "the request target has no form that HTTP knows");
        }
    }

    #[test]
    fn protocols_are_http() {
        for protocol in ["HTTP/1.0", "HTTP/2", "HTTP/2.0", "HTTP/4.0"] {
            accepted(&format!("GET / {protocol}\r\nHost: x\r\n\r\n"));
        }
        for protocol in [
            "HTTP/0.9",
            "HTTP/0.8",
            "1.1",
            "TEST",
            "JUNK/1.0",
            "HTTP\\1.0",
            "HTTP/1.1 x",
            "http/1.1",
        ] {
            let request = format!("GET / {protocol}\r\nHost: x\r\n\r\n");
            refused(&request, "the protocol is not HTTP/1.0 or later");
        }
        let simple = accepted("GET / \r\nHost: x\r\n\r\n");
        assert!(simple.is_simple() && simple.fields.is_empty());
        assert!(accepted("GET /\n").is_simple());
        for line in [" GET / HTTP/1.1", "\tGET / HTTP/1.1", "", "G@T / HTTP/1.1"] {
            refused(&format!("{line}\r\n\r\n"), "the method is not a token");
        }
        refused("GET / HTTP/1.1", "no request line");
    }

    #[test]
    fn headers_are_lines_with_names() {
        for (field, expected) in [
            ("a\rb: c", "a control character in the header"),
            ("a: b\rc: d", "a control character in the header"),
            ("a: \u{0}", "a control character in the header"),
            ("a", "a header line without a colon"),
            (": b", "a header field's name is not a token"),
            ("a : b", "a header field's name is not a token"),
        ] {
            refused(&format!("GET / HTTP/1.1\r\n{field}\r\n\r\n"), expected);
        }
        refused(
            "GET / HTTP/1.1\r\n a: b\r\n\r\n",
            "the header begins with a folded line",
        );
        refused("GET / HTTP/1.1\r\na: b\r\n", "the header does not end");
    }

    #[test]
    fn hosts_are_named_once() {
        accepted("GET / HTTP/1.0\r\n\r\n");
        accepted("GET / HTTP/1.0\r\nHost:\r\n\r\n");
        accepted("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n");
        refused("GET / HTTP/1.1\r\n\r\n", "no host");
        refused("GET / HTTP/1.1\r\nHost: \r\n\r\n", "no host");
        refused("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", "two hosts");
        refused(
            "GET / HTTP/1.1\r\nHost: a%00\r\n\r\n",
            "the host is no host name",
        );
    }

    #[track_caller]
    fn body(rest: &str, expected: &str) {
        let request = accepted(&format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}"));
        assert_eq!(String::from_utf8(request.body).unwrap(), expected);
    }

    #[track_caller]
    fn no_body(rest: &str, expected: &str) {
        refused(&format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}"), expected);
    }

    #[test]
    fn bodies_end_where_they_say() {
        body("\r\nabc", "");
        body("Content-Length: 2\r\n\r\nabc", "ab");
        body("Content-Length: 9\r\n\r\nabc", "abc");
        body("Content-Length: 2\r\ncontent-length: 2\r\n\r\nabc", "ab");
        no_body(
            "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
            "two lengths",
        );
        for wrong in ["x", "3;", "+3", "-1", "", "99999999999999999999999"] {
            no_body(
                &format!("Content-Length: {wrong}\r\n\r\nabc"),
                "the length is not a number",
            );
        }
        body(
            "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\nA\r\n0123456789\r\n0\r\n\r\n",
            "ab0123456789",
        );
        for wrong in [
            "",
            "x\r\n",
            "2\r\na",
            "2\r\nabc\r\n0\r\n",
            "ffffffffffffffffff\r\na",
        ] {
            no_body(
                &format!("Transfer-Encoding: chunked\r\n\r\n{wrong}"),
                "a broken chunk",
            );
        }
        no_body(
            "Transfer-Encoding: gzip\r\n\r\n",
            "the body's end cannot be known",
        );
    }

    #[test]
    fn the_coding_overrides_the_length() {
        let request = accepted(
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        );
        assert_eq!(request.body, b"a");
        assert_eq!(request.fields.len(), 2);
    }
}
