//! What limits do over several requests: in flight, over a reload, behind proxies.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use super::support::{DESCRIPTION, Gateway, Upstream, send, until};

/// Its connection is not used again: each request comes on one of its own.
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n";

fn configuration(upstream: SocketAddr, limits: &str, more: &str) -> String {
    format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\n{more}\
         apis:\n  test: {{ spec: openapi.yaml, upstream: http://{upstream}, limits: [{limits}] }}\n\
         journal: [{{ file: journal.ndjson }}]\n"
    )
}

fn gateway(upstream: SocketAddr, limits: &str, more: &str) -> Gateway {
    Gateway::start(&[
        ("fortress.yaml", &configuration(upstream, limits, more)),
        ("openapi.yaml", DESCRIPTION),
    ])
}

fn status(gateway: &Gateway, head: &str) -> u16 {
    let text = format!("GET /a HTTP/1.1\r\nHost: api.test\r\n{head}\r\n");
    send(gateway.addresses[0], text.as_bytes())[0].status
}

/// An upstream that answers when it is told to.
struct Slow {
    address: SocketAddr,
    arrived: mpsc::Receiver<TcpStream>,
}

impl Slow {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, arrived) = mpsc::channel();
        let sender = Arc::new(Mutex::new(sender));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let sender = sender.lock().unwrap().clone();
                thread::spawn(move || {
                    let mut seen = Vec::new();
                    let mut piece = [0; 4096];
                    while !seen.windows(4).any(|end| end == b"\r\n\r\n") {
                        match stream.read(&mut piece) {
                            Ok(0) | Err(_) => return,
                            Ok(read) => seen.extend_from_slice(&piece[..read]),
                        }
                    }
                    sender.send(stream).ok();
                });
            }
        });
        Self { address, arrived }
    }

    fn next(&self) -> TcpStream {
        self.arrived.recv_timeout(Duration::from_secs(20)).unwrap()
    }
}

fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(GET).unwrap();
    stream
}

fn first_line(mut stream: &TcpStream) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !text.windows(2).any(|end| end == b"\r\n") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "the connection was closed");
        text.extend_from_slice(&piece[..read]);
    }
    let text = String::from_utf8(text).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[test]
fn requests_in_flight_give_their_place_back_on_every_way_out() {
    let upstream = Slow::start();
    let gateway = gateway(upstream.address, "{ per: client, concurrent: 1 }", "");
    let address = gateway.addresses[0];
    let refused = || first_line(&ask(address)).starts_with("HTTP/1.1 429 ");

    // An answer.
    let first = ask(address);
    let mut waiting = upstream.next();
    assert!(refused());
    waiting.write_all(LAST).unwrap();
    assert!(first_line(&first).starts_with("HTTP/1.1 200 "));

    // A client that goes away while its request is with the upstream.
    let second = ask(address);
    let waiting = upstream.next();
    assert!(refused());
    drop(second);
    until("the place of who went away is free", || {
        gateway.server().in_flight() == 0
    });
    drop(waiting);

    // An upstream that breaks off.
    let third = ask(address);
    drop(upstream.next());
    assert!(first_line(&third).starts_with("HTTP/1.1 502 "));

    let last = ask(address);
    upstream.next().write_all(LAST).unwrap();
    assert!(first_line(&last).starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_place_is_held_until_the_whole_answer_was_sent() {
    let upstream = Slow::start();
    let limits = "{ per: client, concurrent: 1 }";
    // Nothing describes the answer, so that it streams.
    let config = configuration(upstream.address, limits, "")
        .replace("spec: openapi.yaml", "spec: none, public: true");
    let gateway = Gateway::start(&[("fortress.yaml", &config)]);
    let address = gateway.addresses[0];
    let client = ask(address);
    let mut waiting = upstream.next();
    waiting
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 200000000\r\n\r\ndata: 1\n\n")
        .unwrap();
    assert!(first_line(&client).starts_with("HTTP/1.1 200 "));
    assert!(first_line(&ask(address)).starts_with("HTTP/1.1 429 "));
    drop(client);
    until("the stream's end frees its place", || {
        let another = ask(address);
        let status = match upstream.arrived.recv_timeout(Duration::from_millis(200)) {
            Ok(mut stream) => {
                stream.write_all(LAST).unwrap();
                first_line(&another)
            }
            Err(_) => return false,
        };
        status.starts_with("HTTP/1.1 200 ")
    });
}

#[test]
fn counts_survive_a_reload() {
    let upstream = Upstream::start();
    let gateway = gateway(
        upstream.address,
        "{ name: few, per: client, quota: 2/day }",
        "",
    );
    assert_eq!(status(&gateway, ""), 200);
    assert_eq!(status(&gateway, ""), 200);
    assert_eq!(status(&gateway, ""), 429);
    let more = configuration(
        upstream.address,
        "{ name: few, per: client, quota: 3/day }",
        "",
    );
    std::fs::write(gateway.directory.path().join("fortress.yaml"), more).unwrap();
    gateway.reload();
    assert_eq!(status(&gateway, ""), 200);
    assert_eq!(status(&gateway, ""), 429);
}

#[test]
fn who_is_counted_behind_a_proxy() {
    let upstream = Upstream::start();
    let limits = "{ per: client, quota: 1/day }";
    let believed = gateway(upstream.address, limits, "trusted_proxies: [127.0.0.0/8]\n");
    assert_eq!(status(&believed, "X-Forwarded-For: 2001:db8::1\r\n"), 200);
    // Its neighbour in the same /64 is the same client.
    assert_eq!(status(&believed, "X-Forwarded-For: 2001:db8::2\r\n"), 429);
    assert_eq!(
        status(&believed, "X-Forwarded-For: 2001:db8:0:1::1\r\n"),
        200
    );
    // What the client itself wrote stands further left.
    let spoofed = "X-Forwarded-For: 198.51.100.7, 2001:db8::3\r\n";
    assert_eq!(status(&believed, spoofed), 429);

    let direct = gateway(upstream.address, limits, "");
    assert_eq!(status(&direct, "X-Forwarded-For: 192.0.2.1\r\n"), 200);
    assert_eq!(status(&direct, "X-Forwarded-For: 192.0.2.2\r\n"), 429);
}

#[test]
fn a_flood_is_refused_before_any_cryptography() {
    let upstream = Upstream::start();
    let secured = DESCRIPTION.replace(
        "security: []",
        "security: [{ token: [] }]\ncomponents: { securitySchemes: { token: { type: http, scheme: bearer } } }",
    );
    let config = configuration(
        upstream.address,
        "{ per: client, quota: 1/day }",
        "identity: { idp: { issuer: https://idp.test, audience: test, jwks: file:jwks.json } }\n",
    );
    let gateway = Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", &secured)]);
    let head = "Authorization: Bearer abc\r\n";
    assert_eq!(status(&gateway, head), 401);
    assert_eq!(status(&gateway, head), 429);
}

#[test]
fn quotas_are_exact_under_contention() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "{ per: client, quota: 100/day }", "");
    let address = gateway.addresses[0];
    let clients: Vec<_> = (0..8)
        .map(|_| {
            thread::spawn(move || {
                let passed = (0..25).filter(|_| send(address, GET)[0].status == 200);
                passed.count()
            })
        })
        .collect();
    let passed: usize = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    assert_eq!(passed, 100);
    assert_eq!(upstream.received().len(), 100);
}
