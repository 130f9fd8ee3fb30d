//! Request heads: each acceptance with the refusals beside it.
#![expect(
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod fields;
#[path = "../h1_support/mod.rs"]
mod h1_support;

use bytes::BytesMut;
use fortress_gateway::h1::{
    Authority, Framing, HeadBounds, RequestHead, ScanState, Target, Version, connection_options,
    is_connection_field, is_forwardable_name, parse_request,
};
use fortress_model::Reason;
use h1_support::{End, bounds, read_all};
use http::HeaderName;

fn parse(raw: &[u8]) -> Result<Option<RequestHead>, Reason> {
    parse_within(raw, &bounds())
}

fn parse_within(raw: &[u8], bounds: &HeadBounds) -> Result<Option<RequestHead>, Reason> {
    let mut buffer = BytesMut::from(raw);
    parse_request(&mut buffer, bounds, &mut ScanState::default()).map_err(|refused| refused.reason)
}

#[track_caller]
fn head(raw: impl AsRef<[u8]>) -> RequestHead {
    let raw = raw.as_ref();
    match parse(raw) {
        Ok(Some(head)) => head,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(raw)),
    }
}

#[track_caller]
fn refused(raw: impl AsRef<[u8]>, reason: Reason) {
    let raw = raw.as_ref();
    match parse(raw) {
        Err(found) => assert_eq!(found, reason, "{:?}", String::from_utf8_lossy(raw)),
        Ok(found) => panic!("{:?} is taken: {found:?}", String::from_utf8_lossy(raw)),
    }
    // The same bytes one by one never end differently.
    let (messages, end) = read_all(raw.chunks(1));
    assert!(
        messages.is_empty() && matches!(end, End::Refused(_)),
        "{:?} byte by byte: {messages:?}, {end:?}",
        String::from_utf8_lossy(raw)
    );
}

/// A request whose first line is given.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: x\r\n\r\n")
}

/// A request with one more field line, given whole.
fn field(field: &[u8]) -> Vec<u8> {
    [b"GET /a HTTP/1.1\r\nHost: x\r\n", field, b"\r\n\r\n"].concat()
}

fn post(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n")
}

fn hosted(host: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn a_plain_request_is_read_whole() {
    let raw = "PATCH /a/b?c=d HTTP/1.1\r\nHost: API.Example:8443\r\nX-One: 1\r\nx-one:  2 \t\r\nAccept:\r\n\r\n";
    let head = head(raw);
    assert_eq!(head.method, "PATCH");
    assert_eq!(head.target, Target::Origin("/a/b?c=d".into()));
    assert_eq!(head.host.as_str(), "api.example:8443");
    assert_eq!(
        (head.host.name(), head.host.port()),
        ("api.example", Some(8443))
    );
    assert_eq!(head.version, Version::Http11);
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive && !head.expect_continue);
    assert_eq!(head.bytes, raw.len());
    let ones: Vec<_> = head.headers.get_all("x-one").iter().collect();
    assert_eq!(ones, ["1", "2"]);
    assert_eq!(head.headers["accept"], "");
}

#[test]
fn what_follows_the_head_stays_in_the_buffer() {
    let mut buffer = BytesMut::from("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /2");
    let mut scan = ScanState::default();
    assert!(
        parse_request(&mut buffer, &bounds(), &mut scan)
            .expect("strict")
            .is_some()
    );
    assert_eq!(&buffer[..], b"GET /2");
    assert!(
        parse_request(&mut buffer, &bounds(), &mut scan)
            .expect("so far")
            .is_none()
    );
    buffer.extend_from_slice(b" HTTP/1.1\r\nHost: y\r\n\r\n");
    let second = parse_request(&mut buffer, &bounds(), &mut scan)
        .expect("strict")
        .expect("whole");
    assert_eq!((second.target.as_str(), second.host.as_str()), ("/2", "y"));
    assert!(buffer.is_empty());
}

#[test]
fn the_method_is_a_token_of_32_bytes_at_most() {
    for method in [
        "GET",
        "get",
        "M-SEARCH",
        "X!#$%&'*+.^_`|~9",
        &"M".repeat(32),
    ] {
        assert_eq!(head(line(&format!("{method} /a HTTP/1.1"))).method, method);
    }
    for method in [
        "",
        " ",
        "G@T",
        "GE(T",
        "G/T",
        "\"GET\"",
        "G\0T",
        "G\tT",
        "GÉT",
        &"M".repeat(33),
    ] {
        refused(
            line(&format!("{method} /a HTTP/1.1")),
            Reason::HeadMalformed,
        );
    }
    for byte in 0..=255_u8 {
        let raw = [b"G", [byte].as_slice(), b"T /a HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert_eq!(matches!(parse(&raw), Ok(Some(_))), token, "{byte:#x}");
    }
}

#[test]
fn the_request_line_has_two_spaces_and_no_more() {
    for bad in [
        "GET  /a HTTP/1.1",
        "GET /a  HTTP/1.1",
        "GET /a HTTP/1.1 ",
        " GET /a HTTP/1.1",
        "GET\t/a HTTP/1.1",
        "GET /a\tHTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a",
        "GET",
        "GET ",
        "GET /a ",
        "GET  HTTP/1.1",
        "GET HTTP/1.1",
        "GET /a HTTP/1.1\x0b",
        "GET\x0c/a HTTP/1.1",
        "/a HTTP/1.1",
        "\u{feff}GET /a HTTP/1.1",
        "GET /a\u{a0}HTTP/1.1",
        "GET /a\0 HTTP/1.1",
        "GET /a%20 b HTTP/1.1",
    ] {
        refused(line(bad), Reason::HeadMalformed);
    }
}

#[test]
fn the_version_is_1_0_or_1_1() {
    assert_eq!(head(line("GET /a HTTP/1.0")).version, Version::Http10);
    assert_eq!(head(line("GET /a HTTP/1.1")).version, Version::Http11);
    for unsupported in ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"] {
        refused(
            line(&format!("GET /a {unsupported}")),
            Reason::VersionUnsupported,
        );
    }
    for bad in [
        "http/1.1",
        "HTTP/1.1.",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/11",
        "HTTP/01.1",
        "HTTP/1.01",
        "HTTP/ 1.1",
        "HTTP 1.1",
        "HTTPS/1.1",
        "HTTP/+1.1",
        "HTTP/1,1",
        "HTTP/a.1",
        "XTTP/1.1",
        "HTTP/-1.1",
        "ICY/1.1",
    ] {
        refused(line(&format!("GET /a {bad}")), Reason::HeadMalformed);
    }
    // The preface of HTTP/2 is no request of HTTP/1.
    refused(
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        Reason::VersionUnsupported,
    );
}

#[test]
fn lines_end_with_crlf_alone() {
    for bad in [
        "GET /a HTTP/1.1\nHost: x\n\n",
        "GET /a HTTP/1.1\r\nHost: x\n\r\n",
        "GET /a HTTP/1.1\nHost: x\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\n\n",
        "GET /a HTTP/1.1\rHost: x\r\r",
        "GET /a HTTP/1.1\r\r\nHost: x\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: a\rb\r\nHost: x\r\n\r\n",
        "GET /a HTTP/1.1\r\nX: a\nb\r\nHost: x\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: x\r\n\rX",
        "\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
        "\rGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a HTTP/1.1\n\r\nHost: x\r\n\r\n",
    ] {
        refused(bad, Reason::HeadMalformed);
    }
}

#[test]
fn one_empty_line_before_a_request_is_skipped() {
    assert_eq!(
        head("\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            .target
            .as_str(),
        "/a"
    );
    refused(
        "\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
        Reason::HeadMalformed,
    );
    // A client that ends its body with a stray CRLF and then closes has not begun a request.
    let raw = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab\r\n";
    for (messages, end) in [read_all([raw.as_slice()]), read_all(raw.chunks(1))] {
        assert_eq!((messages.len(), end), (1, End::Clean));
    }
}

#[test]
fn a_target_holds_the_characters_of_a_uri() {
    for target in [
        "/",
        "/a",
        "/a/b/",
        "/a%20b",
        "/%C3%A9",
        "/a?",
        "/a?b",
        "/a?b=c&d=e?f/g",
        "/~a-b_c.d!$&'()*+,;=:@",
        "/a?ids=1|2&filter[x]=y",
        "/a?q=%00",
        "/a//b",
        "/../a",
        "/a?%7B%22%7D",
        "/a?\"x\"&<x>&{x}&`^\\",
        "/a?é",
        "//x/y",
    ] {
        assert_eq!(
            head(line(&format!("GET {target} HTTP/1.1"))).target,
            Target::Origin(target.into())
        );
    }
    for target in [
        "a",
        "/a#b",
        "/a\"b",
        "/<a>",
        "/a^b",
        "/a`b",
        "/{id}",
        "/a|b",
        "/é",
        "/a\u{7f}",
        "/a\x01",
        "/a?b#c",
        "/a?b\u{7f}",
        "/a?b\0",
        "?a",
        "#",
        "/[a]",
        ".",
        "../a",
        "%2fa",
        "a/b",
    ] {
        refused(
            line(&format!("GET {target} HTTP/1.1")),
            Reason::HeadMalformed,
        );
    }
    for target in [
        "/%zz", "/%", "/%1", "/a%2", "/%u0041", "/a%%20", "/%/a", "/% 1", "/a\\b", "/%-1",
        "/a%?b=c",
    ] {
        if target.contains(' ') {
            refused(
                line(&format!("GET {target} HTTP/1.1")),
                Reason::HeadMalformed,
            );
        } else {
            refused(
                line(&format!("GET {target} HTTP/1.1")),
                Reason::PathMalformed,
            );
        }
    }
    for target in ["/a?%", "/a?x=%g0", "/a?x=100%", "/a?%u0041"] {
        refused(
            line(&format!("GET {target} HTTP/1.1")),
            Reason::ParameterMalformed,
        );
    }
    for byte in 0..=255_u8 {
        let raw =
            |prefix: &[u8]| [b"GET ", prefix, &[byte], b"z HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let in_path = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte);
        assert_eq!(
            matches!(parse(&raw(b"/")), Ok(Some(_))),
            in_path,
            "path {byte:#x}"
        );
        // A byte beyond ASCII alone is no UTF-8.
        let in_query = in_path || b"[]|{}<>^`\"\\".contains(&byte);
        assert_eq!(
            matches!(parse(&raw(b"/?")), Ok(Some(_))),
            in_query,
            "query {byte:#x}"
        );
    }
}

#[test]
fn an_absolute_target_names_the_host() {
    for (target, host, expected) in [
        ("http://x/a", "x", "/a"),
        ("HTTP://X/a?b", "x", "/a?b"),
        ("http://x", "x", "/"),
        ("http://x?q", "x", "/?q"),
        ("http://x:80/a", "x", "/a"),
        ("http://x/a", "x:80", "/a"),
        ("https://x/a", "x:443", "/a"),
        ("http://x:8080/a", "X:8080", "/a"),
        ("http://[::1]:3000/", "[::1]:3000", "/"),
        ("http://x./a", "x", "/a"),
    ] {
        let head = head(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(head.target.as_str(), expected, "{target}");
    }
    for (target, host) in [
        ("http://evil/a", "x"),
        ("http://x:81/a", "x"),
        ("https://x:80/a", "x"),
        ("http://x/a", "x:443"),
        ("http://x.y/a", "x"),
        ("http://xx", "x"),
    ] {
        refused(
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Reason::HostMismatch,
        );
    }
    for target in [
        "http:///a",
        "http://user@x/a",
        "http://u:p@x/a",
        "http://x:/a",
        "http://",
        "http://x,y/a",
        "http://x:99999/",
    ] {
        refused(
            format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
            Reason::HostInvalid,
        );
    }
    for target in [
        "ftp://x/a",
        "http:/x/a",
        "http:x",
        "file:///etc/passwd",
        "x:80",
        "javascript://x/a",
        "httpx://x/",
        "ws://x/a",
    ] {
        refused(
            format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"),
            Reason::HeadMalformed,
        );
    }
    refused("GET http://x/a HTTP/1.1\r\n\r\n", Reason::HostInvalid);
    refused(
        "GET http://x/a#b HTTP/1.1\r\nHost: x\r\n\r\n",
        Reason::HeadMalformed,
    );
}

#[test]
fn asterisk_and_authority_belong_to_one_method_each() {
    assert_eq!(head(line("OPTIONS * HTTP/1.1")).target, Target::Asterisk);
    assert_eq!(
        head(line("OPTIONS http://x HTTP/1.1")).target,
        Target::Asterisk
    );
    assert_eq!(
        head(line("OPTIONS /a HTTP/1.1")).target,
        Target::Origin("/a".into())
    );
    for bad in [
        "GET * HTTP/1.1",
        "POST * HTTP/1.1",
        "OPTIONS ** HTTP/1.1",
        "OPTIONS *?a HTTP/1.1",
        "options * HTTP/1.1",
    ] {
        refused(line(bad), Reason::HeadMalformed);
    }
    let connect = head("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n");
    assert_eq!(connect.target, Target::Authority);
    refused(
        "CONNECT y:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
        Reason::HostMismatch,
    );
    refused(
        "CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        Reason::HostMismatch,
    );
    refused(line("CONNECT x HTTP/1.1"), Reason::HeadMalformed);
    refused(line("CONNECT /a HTTP/1.1"), Reason::HostInvalid);
    refused(line("CONNECT http://x/ HTTP/1.1"), Reason::HostInvalid);
}
