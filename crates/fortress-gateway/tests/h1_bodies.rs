//! Chunked bodies, response heads, and what the writers write: each acceptance with the refusals
//! beside it.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

use bytes::BytesMut;
use fortress_gateway::h1::{
    ChunkedDecoder, Framing, HeadBounds, ResponseFraming, ResponseHead, ScanState, Version,
    parse_request, parse_response, write_chunk, write_last_chunk, write_request_head,
    write_response_head,
};
use fortress_model::{Bounds, Reason};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

fn bounds() -> HeadBounds {
    HeadBounds::from(&Bounds::default())
}

/// The data, and how many bytes were left over.
fn decode(raw: &[u8], max: usize) -> Result<(Vec<u8>, bool, usize), Reason> {
    let mut decoder = ChunkedDecoder::for_request(&bounds());
    let mut out = BytesMut::new();
    let progress = decoder
        .decode(raw, &mut out, max)
        .map_err(|refused| refused.reason)?;
    Ok((out.to_vec(), progress.done, raw.len() - progress.consumed))
}

#[track_caller]
fn decodes(raw: &str, data: &str) {
    assert_eq!(
        decode(raw.as_bytes(), 1 << 20),
        Ok((data.into(), true, 0)),
        "{raw:?}"
    );
    let mut decoder = ChunkedDecoder::for_request(&bounds());
    let mut out = BytesMut::new();
    for byte in raw.as_bytes() {
        assert!(!decoder.is_done());
        let progress = decoder.decode(&[*byte], &mut out, 1 << 20).expect("strict");
        assert_eq!(progress.consumed, 1);
    }
    assert!(
        decoder.is_done() && out == data.as_bytes(),
        "{raw:?} byte by byte"
    );
}

#[track_caller]
fn refuses(raw: impl AsRef<[u8]>, reason: Reason) {
    let raw = raw.as_ref();
    assert_eq!(
        decode(raw, 1 << 20),
        Err(reason),
        "{:?}",
        String::from_utf8_lossy(raw)
    );
}

#[test]
fn chunks_are_strict() {
    decodes("0\r\n\r\n", "");
    decodes("2\r\nab\r\n0\r\n\r\n", "ab");
    decodes("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", "abcde");
    decodes("a\r\n0123456789\r\n00\r\n\r\n", "0123456789");
    decodes("A\r\n0123456789\r\n0000000000000000\r\n\r\n", "0123456789");
    decodes("0002\r\n\r\n\r\n0\r\n\r\n", "\r\n");
    for bad in [
        "2\nab\n0\n\n",
        "2\r\nab\n0\r\n\r\n",
        "2\nab\r\n0\r\n\r\n",
        "2\r\nab\r\n0\n\r\n",
        "2\r\nab\r\n0\r\n\n",
        "0x2\r\nab\r\n0\r\n\r\n",
        "+2\r\nab\r\n",
        "-2\r\nab\r\n",
        " 2\r\nab\r\n",
        "2 \r\nab\r\n",
        "2\t\r\nab\r\n",
        "\r\n",
        "\r\nab",
        "g\r\n",
        "2g\r\n",
        "2.\r\n",
        "2,\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        "3\r\nab\r\n0\r\n\r\n",
        "2\r\nab0\r\n\r\n",
        "2\r\nab\r0\r\n\r\n",
        "2\rab",
        "2\r\r\nab",
        "2\r\nab\r\n\r\n",
        "2\r\nab\r\n0\r\nX",
        "00000000000000002\r\nab",
        "10000000000000002\r\nab",
        "2_\r\n",
        "2\0\r\n",
        "\u{b2}\r\n",
        "2\x0b\r\n",
        "0\r\n\rX",
        "2\r\nab\r\r\n",
        "2\u{85}ab",
    ] {
        refuses(
            if bad.contains("0\r\nX") {
                format!("{bad}\r\n\r\n")
            } else {
                bad.to_owned()
            },
            Reason::FramingInvalid,
        );
    }
    for incomplete in [
        "",
        "2",
        "2\r",
        "2\r\n",
        "2\r\na",
        "2\r\nab",
        "2\r\nab\r",
        "2\r\nab\r\n",
        "0\r\n",
        "0\r\n\r",
        "0\r\nX: 1\r\n",
    ] {
        assert_eq!(
            decode(incomplete.as_bytes(), 9).map(|(_, done, left)| (done, left)),
            Ok((false, 0)),
            "{incomplete:?}"
        );
    }
    // What follows belongs to the next request.
    assert_eq!(
        decode(b"1\r\na\r\n0\r\n\r\nGET /", 9),
        Ok((b"a".to_vec(), true, 5))
    );
    for byte in 0..=255_u8 {
        let raw = [&[byte][..], b"\r\n"].concat();
        assert_eq!(
            decode(&raw, 1 << 20).is_ok(),
            byte.is_ascii_hexdigit(),
            "{byte:#x}"
        );
    }
}

#[test]
fn extensions_of_tokens_are_dropped() {
    for good in ["2;a=b", "2;a", "2;a;b", "2;a=b;c=d", "2;!#$%&'*+-.^_`|~=9"] {
        decodes(&format!("{good}\r\nab\r\n0\r\n\r\n"), "ab");
        decodes(
            &format!("2\r\nab\r\n{}\r\n\r\n", good.replacen('2', "0", 1)),
            "ab",
        );
    }
    for bad in [
        "2;",
        "2;;",
        "2;=",
        "2;=b",
        "2;a=",
        "2;a=;b",
        "2;a=\"b\"",
        "2; a=b",
        "2 ;a=b",
        "2;a =b",
        "2;a= b",
        "2;a=b ",
        "2;a=b=c",
        "2;a\n",
        "2;a\rb",
        "2;a,b",
        "2;\r\n2;",
        "2;a\0",
        "2;\u{e9}",
        ";a",
    ] {
        refuses(format!("{bad}\r\nab\r\n0\r\n\r\n"), Reason::FramingInvalid);
    }
    refuses(format!("2;{}", "a".repeat(20_000)), Reason::FramingInvalid);
}

#[test]
fn chunk_lines_may_not_outweigh_the_data() {
    let many = |chunk: &str, count: usize| format!("{}0\r\n\r\n", chunk.repeat(count));
    // The smallest chunks there are, as many as a body may hold.
    decodes(&many("1\r\na\r\n", 50_000), &"a".repeat(50_000));
    // The same, blown up.
    refuses(
        many("0000000000000001\r\na\r\n", 50_000),
        Reason::FramingInvalid,
    );
    refuses(
        many("1;aaaaaaaaaaaa\r\na\r\n", 50_000),
        Reason::FramingInvalid,
    );
    decodes(&many("1;aaaaaaaaaaaa\r\na\r\n", 50), &"a".repeat(50));
}

#[test]
fn the_body_is_bounded_as_soon_as_its_size_is_known() {
    assert!(decode(b"3\r\nabc\r\n0\r\n\r\n", 3).is_ok());
    assert_eq!(decode(b"4\r\n", 3), Err(Reason::BodyTooLarge));
    assert_eq!(decode(b"2\r\nab\r\n2\r\n", 3), Err(Reason::BodyTooLarge));
    assert_eq!(
        decode(b"ffffffffffffffff\r\n", 3),
        Err(Reason::BodyTooLarge)
    );
    assert_eq!(
        decode(b"2\r\nab\r\nffffffffffffffff\r\n", usize::MAX),
        Err(Reason::BodyTooLarge)
    );
    assert!(decode(b"0\r\n\r\n", 0).is_ok());
    assert_eq!(decode(b"1\r\n", 0), Err(Reason::BodyTooLarge));
}

#[test]
fn trailers_are_validated_bounded_and_dropped() {
    for good in [
        "X-T: 1",
        "X-T:",
        "X-T: a\tb \u{e9}",
        "A: 1\r\nB: 2",
        "Content-Length: 7",
        "X: a:b",
    ] {
        decodes(&format!("2\r\nab\r\n0\r\n{good}\r\n\r\n"), "ab");
    }
    for bad in [
        "X-T : 1",
        " X-T: 1",
        ": 1",
        "X-T",
        "X T: 1",
        "X: a\0",
        "X: a\x01",
        "X: \x7f",
        "X: 1\n",
        "X: 1\r\n 2",
        "X: 1\rY: 2",
        "X(: 1",
        "\u{e9}: 1",
        "X: 1\n\r",
    ] {
        refuses(
            format!("2\r\nab\r\n0\r\n{bad}\r\n\r\n"),
            Reason::FramingInvalid,
        );
    }
    let fields = |count: usize| format!("0\r\n{}\r\n", "X: 1\r\n".repeat(count));
    decodes(&fields(100), "");
    refuses(fields(101), Reason::HeadTooLarge);
    refuses(
        format!("0\r\nX: {}", "a".repeat(40_000)),
        Reason::HeadTooLarge,
    );
}

fn response_to(method: &Method, raw: &[u8]) -> Result<Option<ResponseHead>, Reason> {
    let mut scan = ScanState::default();
    parse_response(&mut BytesMut::from(raw), &bounds(), &mut scan, method)
        .map_err(|refused| refused.reason)
}

#[track_caller]
fn response(raw: &str) -> ResponseHead {
    match response_to(&Method::GET, raw.as_bytes()) {
        Ok(Some(head)) => head,
        other => panic!("{raw:?}: {other:?}"),
    }
}

#[track_caller]
fn broken(raw: impl AsRef<[u8]>) {
    let raw = raw.as_ref();
    match response_to(&Method::GET, raw) {
        Err(reason) => assert_eq!(reason, Reason::UpstreamBroken),
        Ok(found) => panic!("{:?} is taken: {found:?}", String::from_utf8_lossy(raw)),
    }
}

#[test]
fn status_lines_are_strict() {
    for (line, status) in [
        ("HTTP/1.1 200 OK", 200),
        ("HTTP/1.1 200 ", 200),
        ("HTTP/1.1 200", 200),
        ("HTTP/1.0 404 Not Found", 404),
        ("HTTP/1.1 599 \u{e9}\t!", 599),
        ("HTTP/1.1 299 a b", 299),
    ] {
        assert_eq!(
            response(&format!("{line}\r\n\r\n")).status.as_u16(),
            status,
            "{line}"
        );
    }
    for bad in [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 20x OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 600 X",
        "HTTP/1.1 999 X",
        "HTTP/1.1 099 X",
        "HTTP/1.1 000",
        "HTTP/1.1 -20",
        "HTTP/1.1 200\tOK",
        "HTTP/1.1 200OK",
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1\t200 OK",
        "HTTP 200 OK",
        "ICY 200 OK",
        " HTTP/1.1 200 OK",
        "200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x7fK",
        "HTTP/1.1 200 O\x1bK",
        "HTTP/1.1 101 Switching Protocols",
        "<html>",
        "HTTP/1.1 +20 OK",
    ] {
        broken(format!("{bad}\r\n\r\n"));
    }
    broken("\r\nHTTP/1.1 200 OK\r\n\r\n");
    broken("SSH-2.0");
    broken("\x15\x03");
    broken("HTTP/1.1 200 OK\n\n");
    assert!(matches!(
        response_to(&Method::GET, b"HTTP/1.1 200 OK\r\nA: b\r\n"),
        Ok(None)
    ));
    assert!(matches!(response_to(&Method::GET, b"HT"), Ok(None)));
}

#[test]
fn response_framing_is_unambiguous() {
    let framing = |method: &Method, raw: &str| {
        response_to(method, raw.as_bytes())
            .expect("strict")
            .expect("whole")
            .framing
    };
    let get = |raw: &str| framing(&Method::GET, raw);
    assert_eq!(
        get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ResponseFraming::Length(5)
    );
    assert_eq!(
        get("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
        ResponseFraming::Chunked
    );
    assert_eq!(get("HTTP/1.1 200 OK\r\n\r\n"), ResponseFraming::UntilClose);
    assert_eq!(get("HTTP/1.0 200 OK\r\n\r\n"), ResponseFraming::UntilClose);
    for bodiless in [
        "100 Continue",
        "103 Early Hints",
        "204 No Content",
        "304 Not Modified",
    ] {
        assert_eq!(
            get(&format!("HTTP/1.1 {bodiless}\r\n\r\n")),
            ResponseFraming::None
        );
    }
    for fields in [
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "",
    ] {
        assert_eq!(
            framing(&Method::HEAD, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n")),
            ResponseFraming::None
        );
    }
    assert_eq!(
        response("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").content_length,
        Some(5)
    );
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length:",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:",
        "X: 1\r\n folded",
        "X : 1",
        "X",
        ": 1",
        "X: a\0",
        "X: 1\nY: 2",
        "X: 1\rY: 2",
        "Connection: a b",
        "Content-Length: 18446744073709551616",
    ] {
        broken(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"));
    }
    broken("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    broken("HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n");
    broken("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n");
    broken(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(101)));
    broken(format!(
        "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
        "a".repeat(40_000)
    ));
    broken(format!("HTTP/1.1 200 {}", "a".repeat(40_000)));
}

#[test]
fn an_upstream_connection_is_used_again_only_in_step() {
    let keeps = |raw: &str| response(raw).keep_alive;
    assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
    assert!(keeps("HTTP/1.1 204 No Content\r\n\r\n"));
    assert!(keeps(
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
    ));
    assert!(keeps(
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    ));
    for ends in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert!(!keeps(ends), "{ends:?}");
    }
}

#[test]
fn interim_responses_are_heads_of_their_own() {
    let mut buffer = BytesMut::from(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
    );
    let mut scan = ScanState::default();
    let mut next = || {
        parse_response(&mut buffer, &bounds(), &mut scan, &Method::POST)
            .expect("strict")
            .expect("whole")
    };
    assert_eq!(next().status, StatusCode::CONTINUE);
    assert_eq!(next().framing, ResponseFraming::Length(1));
    assert_eq!(&buffer[..], b"a");
}

#[test]
fn a_response_body_is_the_upstreams_fault() {
    let mut decoder = ChunkedDecoder::for_response(&bounds());
    let refused = decoder
        .decode(b"2\nab", &mut BytesMut::new(), usize::MAX)
        .expect_err("bare LF");
    assert_eq!(refused.reason, Reason::UpstreamBroken);
}

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

#[test]
fn a_written_request_holds_one_framing_and_no_hop() {
    let headers = headers(&[
        ("host", "x"),
        ("connection", "x-a"),
        ("content-length", "9"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("keep-alive", "1"),
        ("proxy-connection", "1"),
        ("http2-settings", "A"),
        ("accept", "a"),
    ]);
    let write = |framing| {
        let mut out = BytesMut::new();
        write_request_head(
            &mut out,
            &Method::POST,
            "/a",
            Some("b=c"),
            &headers,
            framing,
        );
        String::from_utf8(out.to_vec()).expect("ASCII")
    };
    let sent = "POST /a?b=c HTTP/1.1\r\nhost: x\r\naccept: a\r\n";
    assert_eq!(write(Framing::None), format!("{sent}\r\n"));
    assert_eq!(
        write(Framing::Length(7)),
        format!("{sent}content-length: 7\r\n\r\n")
    );
    assert_eq!(
        write(Framing::Chunked),
        format!("{sent}transfer-encoding: chunked\r\n\r\n")
    );
    let mut buffer = BytesMut::from(write(Framing::Length(7)).as_str());
    let head = parse_request(&mut buffer, &bounds(), &mut ScanState::default())
        .expect("strict")
        .expect("whole");
    assert_eq!(
        (head.target.as_str(), head.framing),
        ("/a?b=c", Framing::Length(7))
    );
}

#[test]
fn a_written_response_says_how_it_ends() {
    let write = |version, status, fields: &[(&'static str, &'static str)], framing, keep_alive| {
        let mut out = BytesMut::new();
        write_response_head(
            &mut out,
            version,
            status,
            &headers(fields),
            framing,
            b"now",
            keep_alive,
        );
        String::from_utf8(out.to_vec()).expect("ASCII")
    };
    use ResponseFraming::{Chunked, Length, None as Nothing, UntilClose};
    use Version::{Http10, Http11};
    let ok = StatusCode::OK;
    assert_eq!(
        write(Http11, ok, &[("a", "b")], Length(5), true),
        "HTTP/1.1 200 OK\r\na: b\r\ndate: now\r\ncontent-length: 5\r\n\r\n"
    );
    assert_eq!(
        write(
            Http11,
            ok,
            &[("date", "then"), ("content-length", "7")],
            Length(5),
            false
        ),
        "HTTP/1.1 200 OK\r\ndate: then\r\ncontent-length: 5\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        write(Http11, ok, &[("transfer-encoding", "x")], Chunked, true),
        "HTTP/1.1 200 OK\r\ndate: now\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        write(Http11, ok, &[], UntilClose, true),
        "HTTP/1.1 200 OK\r\ndate: now\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(
        write(Http10, ok, &[], Length(0), true),
        "HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n"
    );
    assert_eq!(
        write(Http10, ok, &[], Chunked.for_version(Http10), true),
        "HTTP/1.1 200 OK\r\ndate: now\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(Chunked.for_version(Http11), Chunked);
    assert_eq!(
        write(Http11, StatusCode::NO_CONTENT, &[], Length(0), true),
        "HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n"
    );
    assert_eq!(
        write(Http11, StatusCode::NOT_MODIFIED, &[], Nothing, true),
        "HTTP/1.1 304 Not Modified\r\ndate: now\r\n\r\n"
    );
    let odd = StatusCode::from_u16(299).expect("a status");
    assert!(write(Http11, odd, &[], Length(0), true).starts_with("HTTP/1.1 299 \r\n"));
}

#[test]
fn written_chunks_are_read_again() {
    let mut out = BytesMut::new();
    for data in [&b"a"[..], b"", b"0123456789abcdef", &[b'x'; 4_097]] {
        write_chunk(&mut out, data);
    }
    write_last_chunk(&mut out);
    assert!(out.starts_with(b"1\r\na\r\n10\r\n0123"));
    let (data, done, left) = decode(&out, 1 << 20).expect("strict");
    assert_eq!((data.len(), done, left), (1 + 16 + 4_097, true, 0));
}
