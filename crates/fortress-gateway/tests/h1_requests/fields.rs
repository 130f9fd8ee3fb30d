//! What the header fields of a request may say, and how large a head may be.

use super::*;

#[test]
fn there_is_one_host_and_it_is_one() {
    for (host, name, port) in [
        ("x", "x", None),
        ("Api.EXAMPLE.com", "api.example.com", None),
        ("x:8080", "x", Some(8080)),
        ("x.", "x", None),
        ("x.:1", "x", Some(1)),
        ("127.0.0.1:1", "127.0.0.1", Some(1)),
        ("[::1]", "[::1]", None),
        ("[2001:DB8::1]:443", "[2001:db8::1]", Some(443)),
        ("my_service-1", "my_service-1", None),
        ("x:65535", "x", Some(65535)),
        ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", None),
        ("  x\t", "x", None),
    ] {
        let found = head(hosted(host)).host;
        assert_eq!((found.name(), found.port()), (name, port), "{host}");
    }
    for host in [
        "",
        " ",
        ":80",
        "x:",
        "x:0",
        "x:080",
        "x:65536",
        "x:+80",
        "x:8 0",
        "x:80:80",
        "x y",
        "x,y",
        "x, y",
        "a@x",
        "a:b@x",
        "x/a",
        "x?",
        "x#",
        "x\\y",
        "é",
        "..",
        ".",
        ".x",
        "x..y",
        "x..",
        "[::1",
        "::1",
        "[]",
        "[x]",
        "[::1]x",
        "[::1]:",
        "[fe80::1%25eth0]",
        "[v1.a]",
        "x%41",
        "x*",
        "<x>",
        "x;y",
        "(x)",
        "http://x",
        "x&y",
        "x=y",
        "x~y",
        "$x",
        "!",
        "*",
        "'x'",
    ] {
        refused(hosted(host), Reason::HostInvalid);
    }
    refused(hosted(&"a".repeat(300)), Reason::HostInvalid);
    refused("GET /a HTTP/1.1\r\n\r\n", Reason::HostInvalid);
    refused("GET /a HTTP/1.0\r\n\r\n", Reason::HostInvalid);
    for two in [
        "Host: x\r\nHost: y",
        "Host: x\r\nHost: x",
        "Host: x\r\nhOST: x",
        "Host: x\r\nX: 1\r\nHost:",
    ] {
        refused(
            format!("GET /a HTTP/1.1\r\n{two}\r\n\r\n"),
            Reason::HostInvalid,
        );
    }
    assert!(
        Authority::parse(b"x:443")
            .expect("a host")
            .is_same(&Authority::parse(b"x").expect("a host"), 443)
    );
    assert!(
        !Authority::parse(b"x:443")
            .expect("a host")
            .is_same(&Authority::parse(b"x").expect("a host"), 80)
    );
}

#[test]
fn field_lines_are_strict() {
    for good in [
        &b"X-A: 1"[..],
        b"X-A:1",
        b"X-A:\t1\t",
        b"X-A:",
        b"X-A:   ",
        b"X_A: 1",
        b"X-A: a\tb",
        b"X-A: \xe9\xff",
        b"x!#$%&'*+-.^_`|~: 1",
        b"X-A: a:b, \"c\"",
        b"0: 1",
    ] {
        head(field(good));
    }
    for bad in [
        &b"X-A : 1"[..],
        b"X-A\t: 1",
        b" X-A: 1",
        b"\tX-A: 1",
        b": 1",
        b"X-A",
        b"X A: 1",
        b"X-A: 1\r\n 2",
        b"X-A: 1\r\n\t2",
        b"X-A: 1\r\n ",
        b"X-A: a\0b",
        b"X-A: \x01",
        b"X-A: \x1b[0m",
        b"X-A: \x7f",
        b"X-A: a\x0bb",
        b"X\xc3\xa9: 1",
        b"X(A): 1",
        b"X,A: 1",
        b"X/A: 1",
        b"X;A: 1",
        b"X=A: 1",
        b"X@A: 1",
        b"X[A]: 1",
        b"X{A}: 1",
        b"\"X\": 1",
        b"X\\A: 1",
        b"X?A: 1",
        b"X<A>: 1",
        b"\0: 1",
        b"X\0: 1",
        b"X-A\r: 1",
        b"X-A: 1\rX-B: 2",
        b"GET /b HTTP/1.1",
    ] {
        refused(field(bad), Reason::HeadMalformed);
    }
    for byte in 0..=255_u8 {
        let name = field(&[b"X", [byte].as_slice(), b"Y: 1"].concat());
        // A colon ends the name.
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte);
        assert_eq!(matches!(parse(&name), Ok(Some(_))), token, "name {byte:#x}");
        let value = field(&[b"X: a", [byte].as_slice(), b"b"].concat());
        let visible = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        assert_eq!(
            matches!(parse(&value), Ok(Some(_))),
            visible,
            "value {byte:#x}"
        );
    }
    // A fold right after the request line would belong to it.
    refused("GET /a HTTP/1.1\r\n Host: x\r\n\r\n", Reason::HeadMalformed);
}

#[test]
fn content_length_is_one_plain_number() {
    for (value, length) in [
        ("0", 0),
        ("2", 2),
        ("002", 2),
        ("9999999999999999999", 9_999_999_999_999_999_999),
    ] {
        assert_eq!(
            head(post(&format!("Content-Length: {value}"))).framing,
            Framing::Length(length)
        );
    }
    assert_eq!(
        head(post("content-length:\t7 ")).framing,
        Framing::Length(7)
    );
    assert_eq!(
        head("GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").framing,
        Framing::Length(0)
    );
    for bad in [
        "",
        "+2",
        "-2",
        "-0",
        "2, 2",
        "2,2",
        "2;",
        "0x2",
        "2 2",
        "2.0",
        "1e3",
        "a",
        "\u{b2}",
        "10000000000000000000",
        "99999999999999999999999",
        "00000000000000000002",
        "2\t2",
        "\"2\"",
        "２",
        ",2",
        "2,",
        "0b1",
        "1_000",
        "chunked",
    ] {
        refused(
            post(&format!("Content-Length: {bad}")),
            Reason::FramingInvalid,
        );
    }
    for two in [
        "Content-Length: 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nContent-Length: 3",
        "Content-Length: 2\r\ncontent-length: 2",
        "Content-Length: 0\r\nContent-Length: 0",
        "Content-Length:\r\nContent-Length: 2",
        "Content-Length: 2\r\nX: 1\r\nX: 2\r\nContent-Length: 2",
    ] {
        refused(post(two), Reason::FramingInvalid);
    }
}

#[test]
fn transfer_encoding_is_chunked_once() {
    for good in ["chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked"] {
        assert_eq!(
            head(post(&format!("Transfer-Encoding:{good}"))).framing,
            Framing::Chunked
        );
    }
    for unknown in [
        "identity, chunked",
        "xchunked",
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked;q=1",
        "\"chunked\"",
        "chunkedx",
        "chunked\u{a0}",
        "x\tchunked",
        "chunked x",
    ] {
        refused(
            post(&format!("Transfer-Encoding: {unknown}")),
            Reason::TransferCodingUnknown,
        );
    }
    for broken in [
        "",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        ", ,",
        "chunked,,chunked",
    ] {
        refused(
            post(&format!("Transfer-Encoding: {broken}")),
            Reason::FramingInvalid,
        );
    }
    for two in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Content-Length: 6\r\nTransfer-Encoding: x",
        "Content-Length: x\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "transfer-encoding:\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\nContent-Length: 1",
    ] {
        refused(post(two), Reason::FramingInvalid);
    }
    for old in ["chunked", "identity", ""] {
        refused(
            format!("POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: {old}\r\n\r\n"),
            Reason::FramingInvalid,
        );
    }
    // A near miss in the name is another field, and says nothing of the body.
    assert_eq!(
        head(post("Transfer_Encoding: chunked\r\nContent_Length: 5")).framing,
        Framing::None
    );
    // TE is not Transfer-Encoding.
    assert_eq!(head(post("TE: trailers")).framing, Framing::None);
}

#[test]
fn the_connection_lives_as_the_client_says() {
    let keeps = |version: &str, fields: &str| {
        head(format!("GET /a HTTP/{version}\r\nHost: x\r\n{fields}\r\n")).keep_alive
    };
    assert!(keeps("1.1", ""));
    assert!(keeps("1.1", "Connection: keep-alive\r\n"));
    assert!(keeps("1.1", "Connection: Upgrade, HTTP2-Settings\r\n"));
    assert!(keeps("1.1", "Connection:\r\n"));
    assert!(keeps("1.1", "Connection: closed\r\n"));
    assert!(!keeps("1.1", "Connection: Close\r\n"));
    assert!(!keeps("1.1", "Connection: keep-alive, close\r\n"));
    assert!(!keeps(
        "1.1",
        "Connection: keep-alive\r\nConnection: X-A,close\r\n"
    ));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
    assert!(!keeps("1.0", "Connection: keep-alive, close\r\n"));
    for bad in ["\"close\"", "a b", "close; x", "x/y", "\u{e9}", "a=b"] {
        refused(
            field(format!("Connection: {bad}").as_bytes()),
            Reason::HeadMalformed,
        );
    }
    let listed = head(field(b"Connection: close, X-Secret,, te\r\nConnection: b"));
    let names: Vec<_> = connection_options(&listed.headers).collect();
    assert_eq!(names, [&b"close"[..], b"X-Secret", b"te", b"b"]);
}

#[test]
fn only_the_continue_expectation_is_known() {
    let expects = |raw: &str| head(raw).expect_continue;
    assert!(expects(&post("Content-Length: 2\r\nExpect: 100-continue")));
    assert!(expects(&post(
        "Transfer-Encoding: chunked\r\nExpect: 100-Continue"
    )));
    assert!(!expects(&post("Content-Length: 2")));
    // Nothing to wait for, or a version that does not know it.
    assert!(!expects(&post("Content-Length: 0\r\nExpect: 100-continue")));
    assert!(!expects(&post("Expect: 100-continue")));
    assert!(!expects(
        "POST /a HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    ));
    for bad in [
        "Expect:",
        "Expect: 200-ok",
        "Expect: 100-continue, x",
        "Expect: 100-continue\r\nExpect: 100-continue",
        "Expect: 100-continue;a=b",
        "Expect: x",
    ] {
        refused(
            post(&format!("Content-Length: 2\r\n{bad}")),
            Reason::ExpectationUnknown,
        );
    }
}

#[test]
fn fields_of_the_connection_and_folding_names_are_told_apart() {
    let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).expect("a name");
    for hop in [
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
    ] {
        assert!(is_connection_field(&name(hop)), "{hop}");
    }
    for end in [
        "Host",
        "Content-Length",
        "Content-Type",
        "Authorization",
        "X-Upgrade",
    ] {
        assert!(!is_connection_field(&name(end)), "{end}");
    }
    assert!(is_forwardable_name(&name("X-User")));
    assert!(!is_forwardable_name(&name("X_User")));
    assert!(!is_forwardable_name(&name("X-User_")));
}

#[test]
fn heads_are_bounded() {
    let fields = |count: usize| {
        (0..count)
            .map(|at| format!("X-{at}: 1\r\n"))
            .collect::<String>()
    };
    let with_fields = |count| format!("GET /a HTTP/1.1\r\nHost: x\r\n{}\r\n", fields(count));
    head(with_fields(99));
    refused(with_fields(100), Reason::HeadTooLarge);
    refused(
        format!(
            "GET /a HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "a".repeat(40_000)
        ),
        Reason::HeadTooLarge,
    );
    head(line(&format!("GET /{} HTTP/1.1", "a".repeat(8_191))));
    for length in [8_192, 20_000, 60_000] {
        refused(
            line(&format!("GET /{} HTTP/1.1", "a".repeat(length))),
            Reason::UriTooLong,
        );
        // Told before the line ends.
        refused(
            format!("GET /{}", "a".repeat(length + 64)),
            Reason::UriTooLong,
        );
    }
    refused(
        format!("GET /a HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(40_000)),
        Reason::HeadTooLarge,
    );
    let raw = line("GET /a HTTP/1.1");
    let exact = HeadBounds {
        head: raw.len(),
        headers: 1,
        uri: 2,
    };
    assert!(
        parse_within(raw.as_bytes(), &exact)
            .expect("within")
            .is_some()
    );
    for (tight, reason) in [
        (
            HeadBounds {
                head: raw.len() - 1,
                ..exact
            },
            Reason::HeadTooLarge,
        ),
        (
            HeadBounds {
                headers: 0,
                ..exact
            },
            Reason::HeadTooLarge,
        ),
        (HeadBounds { uri: 1, ..exact }, Reason::UriTooLong),
    ] {
        assert_eq!(
            parse_within(raw.as_bytes(), &tight).expect_err("over"),
            reason
        );
    }
}

#[test]
fn what_cannot_become_a_request_is_refused_at_once() {
    for early in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\0",
        b"{\"a\"",
        b"\r\n\r\n",
        b"GET /a HTTP/2.0\r\n",
        b"GET /a\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\n",
        b"SSH-2.0-OpenSSH_9.9 Debian\r\n",
        b"\n",
        b"\rX",
        &[b'M'; 64],
    ] {
        assert!(parse(early).is_err(), "{early:?}");
    }
    for possible in [
        &b""[..],
        b"\r",
        b"\r\n",
        b"G",
        b"GET ",
        b"GET /a HTTP/1.1",
        b"GET /a HTTP/1.1\r",
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r",
    ] {
        assert!(matches!(parse(possible), Ok(None)), "{possible:?}");
    }
}
