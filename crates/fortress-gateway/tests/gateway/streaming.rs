//! Answers that go through as they come, answers without a body, and clients that leave or close
//! one side while the upstream thinks. The upstream is a script of the test.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, Instant},
};

use super::support::{Gateway, Upstream, send};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: streams, version: "1" }
security: []
paths:
  /a:
    get:
      responses:
        "200":
          description: fine
          content: { application/json: { schema: { type: object, properties: { a: { type: integer } } } } }
    head: { responses: { "200": { description: fine } } }
  /events:
    get:
      responses: { "200": { description: fine, content: { text/event-stream: { schema: { type: string } } } } }
"#;

fn gateway(upstream: SocketAddr, more: &str) -> Gateway {
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{upstream}\"{more} }}\njournal: [{{ file: journal.ndjson }}]\n",
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// Hands over every connection once its request has come.
fn script() -> (SocketAddr, Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (found, connections): (Sender<TcpStream>, _) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            let mut piece = [0; 4096];
            if stream.read(&mut piece).is_ok_and(|read| read > 0) && found.send(stream).is_err() {
                return;
            }
        }
    });
    (address, connections)
}

/// What can be read until it holds `end`.
#[track_caller]
fn read_until(mut stream: &TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains(end) {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "closed after {text:?}");
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
    text
}

#[test]
fn head_and_each_event_reach_the_client_at_once() {
    let (upstream, connections) = script();
    let gateway = gateway(upstream, "");
    let mut client = connect(gateway.addresses[0]);
    client
        .write_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut server = connections.recv().unwrap();
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let head = read_until(&client, "\r\n\r\n");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    // The next event is sent only when the former was received: nothing may wait for more.
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        server
            .write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
            .unwrap();
        read_until(&client, event);
    }
    server.write_all(b"0\r\n\r\n").unwrap();
    read_until(&client, "0\r\n\r\n");
}

#[test]
fn a_client_that_leaves_takes_its_request_along() {
    for path in ["/a", "/events"] {
        let (upstream, connections) = script();
        let gateway = gateway(upstream, "");
        let mut client = connect(gateway.addresses[0]);
        client
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
            .unwrap();
        let mut server = connections.recv().unwrap();
        if path == "/events" {
            server
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                .unwrap();
            read_until(&client, "\r\n\r\n");
        }
        drop(client);
        let mut piece = [0; 16];
        assert_eq!(server.read(&mut piece).unwrap(), 0, "{path}");
        let deadline = Instant::now() + Duration::from_secs(5);
        while gateway.server().connections() > 0 || gateway.server().in_flight() > 0 {
            assert!(
                Instant::now() < deadline,
                "{path}: something is left behind"
            );
            thread::sleep(Duration::from_millis(2));
        }
        let event = gateway.event(path);
        assert_eq!(event["http_request"]["url"]["path"], path, "{event}");
    }
}

#[test]
fn a_client_that_closes_one_side_still_gets_its_answer() {
    let (upstream, connections) = script();
    let gateway = gateway(upstream, "");
    let mut client = connect(gateway.addresses[0]);
    client
        .write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut server = connections.recv().unwrap();
    thread::sleep(Duration::from_millis(200));
    server
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
        .unwrap();
    assert!(read_until(&client, "{\"a\":1}").starts_with("HTTP/1.1 200 "));
}

#[test]
fn requests_that_are_sent_ahead_are_answered_in_their_order() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
    );
    let many = b"GET /a HTTP/1.1\r\nHost: x\r\nX-Filler: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n"
        .repeat(500);
    let responses = send(gateway.addresses[0], &many);
    assert_eq!(responses.len(), 500);
    assert!(
        responses
            .iter()
            .all(|response| response.body == b"{\"a\":1}")
    );
    assert_eq!(upstream.received().len(), 500);
}

#[test]
fn the_answer_to_head_names_the_length_and_holds_nothing() {
    let upstream = Upstream::start();
    upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 33\r\n\r\n",
    );
    let gateway = gateway(upstream.address, "");
    let [response] = &send(gateway.addresses[0], b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")[..] else {
        panic!()
    };
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-length"), Some("33"));

    // An upstream that sends a body there must not answer the next request with it.
    upstream.answers(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":9}",
    );
    let twice = b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n";
    for _ in 0..5 {
        let [response] = &send(gateway.addresses[0], twice)[..] else {
            panic!()
        };
        assert_eq!((response.status, response.body.len()), (200, 0));
    }
    let [response] = &send(gateway.addresses[0], b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")[..] else {
        panic!()
    };
    assert_eq!(
        (response.status, &response.body[..]),
        (200, &b"{\"a\":9}"[..])
    );
}

#[test]
fn an_answer_that_can_be_read_in_two_ways_is_refused() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    let answers: [(&str, u16, &str); 9] = [
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            200,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            502,
            "response.invalid",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            502,
            "upstream.broken",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n",
            502,
            "upstream.broken",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 7\n\n{\"a\":1}",
            502,
            "upstream.broken",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
            502,
            "upstream.broken",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-A: b\r c\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            502,
            "upstream.broken",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
            200,
            "",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: lzma\r\nContent-Length: 1\r\n\r\nx",
            502,
            "response.invalid",
        ),
    ];
    for (answer, status, code) in answers {
        upstream.answers(answer.as_bytes());
        let [response] = &send(gateway.addresses[0], b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")[..]
        else {
            panic!("{answer}")
        };
        assert_eq!(response.status, status, "{answer}");
        assert_eq!(response.code().unwrap_or_default(), code, "{answer}");
    }
}

#[test]
fn under_monitor_an_answer_that_cannot_be_decoded_passes_as_it_is() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, ", mode: monitor");
    upstream.answers(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: lzma\r\nContent-Length: 1\r\n\r\nx");
    let [response] = &send(gateway.addresses[0], b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")[..] else {
        panic!()
    };
    assert_eq!((response.status, &response.body[..]), (200, &b"x"[..]));
    assert_eq!(response.header("content-encoding"), Some("lzma"));
    let event = gateway.event(response.header("x-request-id").unwrap());
    assert!(event.to_string().contains("response.invalid"), "{event}");
}

#[test]
fn a_request_whose_body_cannot_be_decoded_passes_only_under_monitor() {
    for (mode, status) in [("monitor", 200), ("enforce", 415)] {
        let upstream = Upstream::start();
        let gateway = gateway(upstream.address, &format!(", mode: {mode}"));
        let request = b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: lzma\r\nContent-Length: 1\r\n\r\nx";
        let [response] = &send(gateway.addresses[0], request)[..] else {
            panic!()
        };
        assert_eq!(response.status, status, "{mode}");
        let event = gateway.event(response.header("x-request-id").unwrap());
        assert!(
            event.to_string().contains("content_encoding.unknown"),
            "{event}"
        );
        let passed: Vec<_> = upstream
            .received()
            .into_iter()
            .map(|request| {
                (
                    request.header("content-encoding").map(str::to_owned),
                    request.body,
                )
            })
            .collect();
        let expect = match mode {
            "monitor" => vec![(Some("lzma".to_owned()), b"x".to_vec())],
            _ => vec![],
        };
        assert_eq!(passed, expect);
    }
}
