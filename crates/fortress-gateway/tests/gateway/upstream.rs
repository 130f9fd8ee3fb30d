//! Which upstream gets a request, and what becomes of it when one is away.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
};

use super::support::{Gateway, Upstream, send};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: raw, version: "1" }
security: []
paths:
  /a:
    get: { responses: { "200": { description: fine } } }
    post: { responses: { "200": { description: fine } } }
"#;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const POST: &[u8] = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";

fn gateway(upstream: &str) -> Gateway {
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: {upstream} }}\n",
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn endpoints_take_turns_by_their_weight() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let gateway = gateway(&format!(
        "{{ endpoints: [{{ url: \"http://{}\", weight: 3 }}, {{ url: \"http://{}\" }}] }}",
        one.address, other.address
    ));
    for _ in 0..8 {
        assert_eq!(send(gateway.addresses[0], GET)[0].status, 200);
    }
    assert_eq!((one.received().len(), other.received().len()), (6, 2));
}

#[test]
fn a_request_goes_to_another_endpoint_when_one_is_away() {
    let upstream = Upstream::start();
    let (away, here) = (nobody(), upstream.address);
    for endpoints in [[away, here], [here, away]] {
        let gateway = gateway(&format!(
            "{{ endpoints: [{{ url: \"http://{}\" }}, {{ url: \"http://{}\" }}] }}",
            endpoints[0], endpoints[1]
        ));
        for request in [GET, POST, GET, POST, GET, POST] {
            assert_eq!(send(gateway.addresses[0], request)[0].status, 200);
        }
    }
    assert_eq!(upstream.received().len(), 12);

    let gateway = gateway(&format!(
        "{{ endpoints: [{{ url: \"http://{}\" }}, {{ url: \"http://{}\" }}] }}",
        away,
        nobody()
    ));
    let response = &send(gateway.addresses[0], GET)[0];
    assert_eq!(
        (response.status, response.code().as_deref()),
        (502, Some("upstream.unreachable"))
    );
}

/// Reads one request on each connection and closes it without an answer; counts them.
fn mute() -> (SocketAddr, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, requests) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut piece = [0; 4096];
            if let Ok(read) = stream.read(&mut piece)
                && sender
                    .send(String::from_utf8_lossy(&piece[..read]).into_owned())
                    .is_err()
            {
                return;
            }
        }
    });
    (address, requests)
}

#[test]
fn a_request_that_an_upstream_may_have_seen_is_not_sent_to_another() {
    let (dies, requests) = mute();
    let gateway = gateway(&format!("\"http://{dies}\""));
    let response = &send(gateway.addresses[0], POST)[0];
    assert_eq!(
        (response.status, response.code().as_deref()),
        (502, Some("upstream.broken"))
    );
    assert!(requests.recv().unwrap().starts_with("POST /a "));
    assert!(requests.try_recv().is_err(), "it was sent twice");
}

#[test]
fn deadlines_of_the_upstream_hold() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let timeouts = "timeouts: { connect: 500ms, first_byte: 300ms, total: 900ms }";
    let gateway_to = |address: SocketAddr| {
        gateway(&format!(
            "{{ endpoints: [{{ url: \"http://{address}\" }}], {timeouts} }}"
        ))
    };
    let gateway = gateway_to(silent.local_addr().unwrap());
    let response = &send(gateway.addresses[0], GET)[0];
    assert_eq!(
        (response.status, response.code().as_deref()),
        (504, Some("upstream.timeout"))
    );

    // Sends a byte now and then: each is in time, the whole is not.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway_to(listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut piece = [0; 4096];
        assert!(stream.read(&mut piece).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            .unwrap();
        while stream.write_all(b"x").is_ok() {
            thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let response = &send(gateway.addresses[0], GET)[0];
    assert_eq!(
        (response.status, response.code().as_deref()),
        (504, Some("upstream.timeout"))
    );
}
