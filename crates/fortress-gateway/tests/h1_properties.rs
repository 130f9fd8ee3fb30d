//! Properties of the codec over generated and mutated messages: no input panics, the cuts between
//! reads do not matter, cost grows with length alone, and what is accepted is read identically by
//! hyper, an independent parser of the more lenient kind that upstreams have.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod h1_support;

use bytes::{Bytes, BytesMut};
use fortress_gateway::{
    h1::{ChunkedDecoder, ResponseFraming, ScanState, parse_request, parse_response},
    path::{encode_query, split_target},
};
use h1_support::{End, Message, bounds, read_all};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn cuts_between_reads_do_not_matter(input in requests(), cuts in prop::collection::vec(1..40_usize, 0..40)) {
        let whole = read_all([input.as_slice()]);
        let single = read_all(input.chunks(1));
        let pieces = read_all(cut(&input, &cuts));
        for (messages, end) in [&single, &pieces] {
            prop_assert_eq!(messages, &whole.0);
            // Which of two faults is met first may differ; that there is one may not.
            match (&whole.1, end) {
                (End::Refused(_), End::Refused(_)) => {}
                (expected, found) => prop_assert_eq!(expected, found),
            }
        }
    }

    #[test]
    fn hyper_reads_accepted_requests_identically(input in requests()) {
        let (mut messages, end) = read_all([input.as_slice()]);
        // `OPTIONS http://x` asks for `*` (RFC 9112, section 3.2.4), which hyper leaves as `/`.
        for message in messages.iter_mut().filter(|message| message.target == "*") {
            message.target = "/".to_owned();
        }
        let seen = seen_by_hyper(&sent_on(input, &mut messages));
        // Before a refusal the gateway has answered some requests; hyper must have seen the same
        // ones first, though it may go on where the gateway closes.
        match end {
            End::Clean | End::Within(_) | End::Closed => prop_assert_eq!(seen, messages),
            End::Refused(_) => {
                prop_assert!(seen.len() >= messages.len());
                prop_assert_eq!(&seen[..messages.len()], &messages[..]);
            }
        }
    }

    #[test]
    fn hyper_reads_accepted_responses_identically(input in responses(), head_request in any::<bool>()) {
        let method = if head_request { Method::HEAD } else { Method::GET };
        if let Some(ours) = final_response(&input, &method) {
            prop_assert_eq!(answer_seen_by_hyper(&input, &method), Some(ours));
        }
    }

    #[test]
    fn no_bytes_panic(input in prop::collection::vec(any::<u8>(), 0..300), split in 0..300_usize) {
        let mut buffer = BytesMut::from(input.as_slice());
        drop(parse_request(&mut buffer, &bounds(), &mut ScanState::default()));
        let mut buffer = BytesMut::from(input.as_slice());
        drop(parse_response(&mut buffer, &bounds(), &mut ScanState::default(), &Method::GET));
        let mut decoder = ChunkedDecoder::for_request(&bounds());
        let (first, second) = input.split_at(split.min(input.len()));
        let mut out = BytesMut::new();
        if decoder.decode(first, &mut out, 1_000).is_ok_and(|progress| !progress.done) {
            drop(decoder.decode(second, &mut out, 1_000));
        }
        prop_assert!(out.len() <= input.len());
    }
}

/// As an upstream gets it: queries are read more leniently than they are sent on.
fn sent_on(mut input: Vec<u8>, messages: &mut [Message]) -> Vec<u8> {
    for message in messages {
        let (path, Some(query)) = split_target(&message.target) else {
            continue;
        };
        let encoded = encode_query(query.into());
        let (raw, sent) = (format!("?{query} "), format!("?{encoded} "));
        message.target = format!("{path}?{encoded}");
        let mut places = input.windows(raw.len());
        if let Some(place) = places.position(|window| window == raw.as_bytes()) {
            input.splice(place..place + raw.len(), sent.into_bytes());
        }
    }
    input
}

/// `PROPTEST_CASES` asks for more than the usual number.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: asked.cases.max(3_000),
        failure_persistence: None,
        ..asked
    }
}

/// A head that comes byte by byte costs no more reads of a byte than one that comes whole. Counted
/// in work and not in time: a quadratic scan of this head would look at 500 million bytes.
#[test]
fn a_byte_wise_sender_costs_its_length() {
    let head = format!(
        "GET /{} HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "a".repeat(8_000),
        "b".repeat(24_000)
    );
    let body = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n",
        "1\r\na\r\n".repeat(50_000)
    );
    for raw in [head, body] {
        let (messages, end) = read_all(raw.as_bytes().chunks(1));
        assert_eq!((messages.len(), end), (1, End::Clean));
    }
}

/// `input` in pieces of the given sizes, over and over.
fn cut<'a>(input: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle().take_while(|_| !sizes.is_empty()) {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

/// One or more requests of plausible and hostile pieces, some of them damaged.
fn requests() -> impl Strategy<Value = Vec<u8>> {
    let method = pick(
        &[
            "GET", "POST", "PUT", "OPTIONS", "HEAD", "X-ODD", "get", "G@T",
        ],
        8,
    );
    let target = pick(
        &[
            "/",
            "/a",
            "/a/b?c=d",
            "/a?x[y]=1|2",
            "/%C3%A9",
            "*",
            "http://x/a",
            "http://y/a",
            "http://x",
            "http://x?q",
            "/a%zz",
            "/a b",
            "/a#b",
            "/\u{e9}",
            "//x/y",
            "/a?",
            "/a?b=\"<{^`}>\\|",
            "http://x?\u{c3}\u{a9}",
        ],
        5,
    );
    let version = pick(
        &[
            "HTTP/1.1",
            "HTTP/1.0",
            "HTTP/2.0",
            "HTTP/1.1 ",
            "http/1.1",
            "HTTP/1.2",
        ],
        8,
    );
    let field = prop_oneof![
        4 => Just("X-A: 1"), 2 => Just("Accept: a, b"), 1 => Just("X-A:\t2 "), 1 => Just("X_B: 3"), 1 => Just("X-E:"), 1 => Just("X-O: \u{e9}"),
        1 => Just("Content-Length: 5"), 1 => Just("Content-Length: 0"), 1 => Just("Content-Length: +5"), 1 => Just("Content-Length: 5, 5"), 1 => Just("Content-Length: 05"), 2 => Just("Transfer-Encoding: chunked"),
        1 => Just("Transfer-Encoding: CHUNKED "), 1 => Just("Transfer-Encoding: identity, chunked"), 1 => Just("Transfer-Encoding: chunked, chunked"), 1 => Just("Transfer-Encoding:\u{b}chunked"), 1 => Just("Transfer_Encoding: chunked"),
        1 => Just("Content-Length : 5"), 1 => Just(" Content-Length: 5"), 1 => Just("Connection: close"), 1 => Just("Connection: keep-alive, x"), 1 => Just("Expect: 100-continue"), 1 => Just("Host: y"),
        1 => Just("X: a\rb"), 1 => Just("X: a\nb"), 1 => Just("X: a\0b"), 1 => Just("X"), 1 => Just(": x"), 1 => Just("Upgrade: h2c"), 1 => Just("Trailer: X-T"),
    ];
    let body = pick(
        &[
            "",
            "",
            "hello",
            "5\r\nhello\r\n0\r\n\r\n",
            "0\r\n\r\n",
            "2;a=b\r\nab\r\n0\r\nX-T: 1\r\n\r\n",
            "05\r\nhello\r\n00\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n",
            "0\r\nX-T : 1\r\n\r\n",
            "\r\n",
        ],
        3,
    );
    let request = (
        method,
        target,
        version,
        prop::collection::vec(field, 0..4),
        body,
    )
        .prop_map(|(method, target, version, fields, body)| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            latin1(&format!(
                "{method} {target} {version}\r\nHost: x\r\n{fields}\r\n{body}"
            ))
        });
    // Requests whose framing and body agree reach the later ones, which is where desyncs show.
    let sound = pick(&["GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "PUT /b?c HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\nh\r\n0\r\nX-T: 1\r\nX-U:\r\n\r\n",
        "\r\nGET http://x:80/a?b HTTP/1.1\r\nHost: X\r\n\r\n"], 1).prop_map(latin1);
    let message = prop_oneof![1 => request, 2 => sound];
    (prop::collection::vec(message, 1..4), damages())
        .prop_map(|(messages, damages)| damage(messages.concat(), &damages))
}

fn responses() -> impl Strategy<Value = Vec<u8>> {
    let interim = pick(
        &[
            "",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
        ],
        4,
    );
    let line = pick(
        &[
            "HTTP/1.1 200 OK",
            "HTTP/1.1 200",
            "HTTP/1.1 404 ",
            "HTTP/1.0 200 OK",
            "HTTP/1.1 204 No Content",
            "HTTP/1.1 304 Not Modified",
            "HTTP/1.1 599 \u{e9}",
            "HTTP/2.0 200 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1 20 OK",
        ],
        3,
    );
    let field = pick(
        &[
            "X-A: 1",
            "Content-Length: 5",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Connection: close",
            "Content-Length: 5, 5",
            "Transfer-Encoding: gzip",
            "Set-Cookie: a=b",
            "X : 1",
            "X: \u{e9}",
            " X: 1",
        ],
        3,
    );
    let body = pick(
        &[
            "",
            "hello",
            "5\r\nhello\r\n0\r\n\r\n",
            "hello world",
            "2;a=b\r\nab\r\n0\r\nX-T: 1\r\n\r\n",
            "5\nhello\n0\n\n",
        ],
        1,
    );
    (
        interim,
        line,
        prop::collection::vec(field, 0..3),
        body,
        damages(),
    )
        .prop_map(|(interim, line, fields, body, damages)| {
            let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
            damage(
                latin1(&format!("{interim}{line}\r\n{fields}\r\n{body}")),
                &damages,
            )
        })
}

/// One of the choices, the first of them `bias` times as likely.
fn pick(choices: &'static [&'static str], bias: u32) -> impl Strategy<Value = &'static str> {
    prop_oneof![bias => Just(choices[0]), 4 => prop::sample::select(choices)]
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
        .collect()
}

/// What parsers disagree about.
const INSERTED: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"0",
    b"5",
    b"a",
    b"\x0b",
    b"\x85",
    b"\xff",
    b"%",
    b"=",
    b"\"",
    b"X: 1\r\n",
];

type Damage = (prop::sample::Index, u8, &'static [u8]);

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let insert = prop::sample::select(INSERTED);
    let one = (any::<prop::sample::Index>(), 0..3_u8, insert);
    prop_oneof![3 => Just(Vec::new()), 2 => prop::collection::vec(one, 1..3)]
}

fn damage(mut input: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for (index, kind, bytes) in damages {
        if input.is_empty() {
            break;
        }
        let at = index.index(input.len());
        let removed = usize::from(*kind != 0);
        let inserted: &[u8] = if *kind == 1 { b"" } else { bytes };
        input.splice(at..at + removed, inserted.iter().copied());
    }
    input
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// What an application behind hyper's server would have got, whole bodies only.
fn seen_by_hyper(input: &[u8]) -> Vec<Message> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_service = Arc::clone(&seen);
    block_on(async move {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(input).await.expect("room for all");
        client.shutdown().await.expect("a half close");
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let seen = Arc::clone(&seen_by_service);
            async move {
                let (parts, body) = request.into_parts();
                if let Ok(body) = body.collect().await {
                    let message = Message {
                        method: parts.method.to_string(),
                        target: match parts.uri.query() {
                            None if parts.uri.path() == "*" => "/".to_owned(),
                            Some(query) => format!("{}?{query}", parts.uri.path()),
                            None => parts.uri.path().to_owned(),
                        },
                        headers: flat(&parts.headers),
                        body: body.to_bytes().to_vec(),
                    };
                    seen.lock().expect("not poisoned").push(message);
                }
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        drop(
            hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(TokioIo::new(server), service)
                .await,
        );
    });
    let seen = seen.lock().expect("not poisoned");
    seen.clone()
}

/// A response, as one who asked for it would see it.
#[derive(Debug, Eq, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fn answer_seen_by_hyper(input: &[u8], method: &Method) -> Option<Answer> {
    block_on(async move {
        let (client, mut server) = tokio::io::duplex(1 << 20);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
            .await
            .ok()?;
        let request = Request::builder()
            .method(method)
            .uri("/a")
            .header("host", "x")
            .body(Full::new(Bytes::new()))
            .ok()?;
        let answer = async {
            let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
            let body = body.collect().await.ok()?.to_bytes().to_vec();
            Some(Answer {
                status: parts.status.as_u16(),
                headers: flat(&parts.headers),
                body,
            })
        };
        let upstream = async {
            // hyper refuses an answer that comes before the request.
            let mut request = [0; 1_024];
            let mut length = 0;
            while !request[..length].ends_with(b"\r\n\r\n") {
                length += server
                    .read(&mut request[length..])
                    .await
                    .expect("a request");
            }
            server.write_all(input).await.expect("room for all");
            server.shutdown().await.expect("a half close");
        };
        let (answer, ()) = tokio::select! {
            both = async { tokio::join!(answer, upstream) } => both,
            never = async { drop(connection.await); std::future::pending().await } => never,
        };
        answer
    })
}

/// What the gateway makes of the same bytes: the first answer that is not interim.
fn final_response(input: &[u8], method: &Method) -> Option<Answer> {
    let mut buffer = BytesMut::from(input);
    let mut scan = ScanState::default();
    let head = loop {
        let head = parse_response(&mut buffer, &bounds(), &mut scan, method).ok()??;
        if !head.status.is_informational() {
            break head;
        }
    };
    let mut body = BytesMut::new();
    match head.framing {
        ResponseFraming::None => {}
        ResponseFraming::Length(length) => {
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= buffer.len())?;
            body.extend_from_slice(&buffer[..length]);
        }
        ResponseFraming::Chunked => {
            let mut decoder = ChunkedDecoder::for_response(&bounds());
            let progress = decoder.decode(&buffer, &mut body, usize::MAX).ok()?;
            if !progress.done {
                return None;
            }
        }
        ResponseFraming::UntilClose => body.extend_from_slice(&buffer),
    }
    Some(Answer {
        status: head.status.as_u16(),
        headers: flat(&head.headers),
        body: body.to_vec(),
    })
}

fn flat(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
        .collect()
}
