//! What must hold when something goes wrong: slow clients, dead upstreams, reloads and stops under
//! load. Nothing here waits for a fixed time where it can wait for an event.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fortress_gateway::Server;
use fortress_model::config;

use super::support::{EMPTY, Gateway, Upstream, send, until};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: raw, version: "1" }
security: []
paths:
  /a:
    get: { operationId: getA, responses: { "200": { description: fine } } }
    post:
      operationId: postA
      requestBody: { content: { application/octet-stream: { schema: { type: string, format: binary } } } }
      responses: { "200": { description: fine } }
  /file:
    get:
      operationId: getFile
      responses: { "200": { description: fine, content: { application/octet-stream: { schema: { type: string, format: binary } } } } }
"#;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

fn configuration(upstream: SocketAddr, more: &str) -> String {
    format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{upstream}\" }}\njournal: [{{ file: journal.ndjson }}]\n{more}",
    )
}

fn gateway(upstream: SocketAddr, more: &str) -> Gateway {
    Gateway::start(&[
        ("fortress.yaml", &configuration(upstream, more)),
        ("openapi.yaml", DESCRIPTION),
    ])
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// Reads to the end of the connection.
fn rest(mut stream: &TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read) = stream.read(&mut piece) {
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Answers each connection with these bytes and closes it.
fn one_shot(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut piece = [0; 4096];
            if stream.read(&mut piece).is_ok() {
                drop(stream.write_all(answer));
            }
        }
    });
    address
}

#[test]
fn an_upstream_that_dies_mid_body_is_a_502_when_held() {
    let upstream = one_shot(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    let gateway = gateway(upstream, "");
    let [response] = &send(gateway.addresses[0], GET)[..] else {
        panic!()
    };
    assert_eq!(
        (response.status, response.code().as_deref()),
        (502, Some("upstream.broken"))
    );
    until("no answer is in flight", || {
        gateway.server().in_flight() == 0
    });
}

#[test]
fn an_upstream_that_dies_while_streaming_breaks_the_connection_visibly() {
    let upstream =
        one_shot(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nhalf");
    let gateway = gateway(upstream, "");
    let mut stream = connect(gateway.addresses[0]);
    stream
        .write_all(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let text = rest(&stream);
    assert!(
        text.contains("content-length: 100") && text.ends_with("half"),
        "{text}"
    );
    until("the connection is gone", || {
        gateway.server().connections() == 0
    });
}

#[test]
fn an_upstream_that_closes_idle_connections_costs_no_request() {
    let upstream = one_shot(EMPTY);
    let gateway = gateway(upstream, "");
    let twice = [GET, GET].concat();
    for _ in 0..20 {
        let responses = send(gateway.addresses[0], &twice);
        assert_eq!(
            responses
                .iter()
                .map(|response| response.status)
                .collect::<Vec<_>>(),
            [200, 200]
        );
    }
}

#[test]
fn connections_are_bounded_per_client_and_in_all() {
    let upstream = Upstream::start();
    let gateway = gateway(
        upstream.address,
        "defaults: { bounds: { connections: 3, connections_per_client: 2 } }\n",
    );
    let held: Vec<TcpStream> = (0..2).map(|_| connect(gateway.addresses[0])).collect();
    until("both are accepted", || gateway.server().connections() == 2);
    let text = rest(&connect(gateway.addresses[0]));
    assert!(
        text.starts_with("HTTP/1.1 429 ") && text.contains("connections.client_exhausted"),
        "{text}"
    );
    drop(held);
    until("both places are given back", || {
        gateway.server().connections() == 0
    });
    assert_eq!(send(gateway.addresses[0], GET)[0].status, 200);
    drop(gateway);

    let gateway = self::gateway(
        upstream.address,
        "defaults: { bounds: { connections: 1 } }\n",
    );
    let _held = connect(gateway.addresses[0]);
    until("it is accepted", || gateway.server().connections() == 1);
    let text = rest(&connect(gateway.addresses[0]));
    assert!(
        text.starts_with("HTTP/1.1 503 ") && text.contains("connections.exhausted"),
        "{text}"
    );
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    let partial: [&[u8]; 4] = [
        b"",
        b"GET /a HT",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    ];
    for bytes in partial {
        let mut stream = connect(gateway.addresses[0]);
        stream.write_all(bytes).unwrap();
        until("the connection is accepted", || {
            gateway.server().connections() == 1
        });
        drop(stream);
        until("the connection is gone", || {
            gateway.server().connections() == 0
        });
    }
    assert!(
        upstream.received().is_empty(),
        "a half request reached the upstream"
    );
    until("no answer is in flight", || {
        gateway.server().in_flight() == 0
    });
}

#[test]
fn an_idle_connection_is_closed_in_time() {
    let upstream = Upstream::start();
    let gateway = gateway(
        upstream.address,
        "defaults: { bounds: { idle_time: 1s } }\n",
    );
    let mut stream = connect(gateway.addresses[0]);
    stream.write_all(GET).unwrap();
    let text = rest(&stream);
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{text}");
    until("the connection is gone", || {
        gateway.server().connections() == 0
    });
}

#[test]
fn a_client_is_told_to_continue_only_when_its_body_is_wanted() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    let mut stream = connect(gateway.addresses[0]);
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
    };
    stream.write_all(head("/a").as_bytes()).unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").unwrap();
    until("the upstream has it", || {
        upstream
            .received()
            .iter()
            .any(|request| request.body == b"abc")
    });

    let mut stream = connect(gateway.addresses[0]);
    stream.write_all(head("/nowhere").as_bytes()).unwrap();
    let text = rest(&stream);
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
}

#[test]
fn reloads_under_load_lose_no_request() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    let address = gateway.addresses[0];
    let running = Arc::new(AtomicBool::new(true));
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (running, answered) = (Arc::clone(&running), Arc::clone(&answered));
            thread::spawn(move || {
                let mut stream = connect(address);
                while running.load(Ordering::Relaxed) {
                    stream.write_all(GET).unwrap();
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let mut byte = [0];
                        stream.read_exact(&mut byte).unwrap();
                        head.push(byte[0]);
                    }
                    assert!(
                        head.starts_with(b"HTTP/1.1 200 "),
                        "{}",
                        String::from_utf8_lossy(&head)
                    );
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..20 {
        let before = answered.load(Ordering::Relaxed);
        assert_eq!(gateway.reload(), round + 2);
        until("requests go on", || {
            answered.load(Ordering::Relaxed) > before + 20
        });
    }
    running.store(false, Ordering::Relaxed);
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
}

#[test]
fn a_reload_changes_what_is_decided() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    assert_eq!(
        send(gateway.addresses[0], b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")[0].status,
        404
    );
    let wider = DESCRIPTION.replace(
        "  /file:",
        "  /b:\n    get: { responses: { \"200\": { description: fine } } }\n  /file:",
    );
    std::fs::write(gateway.directory.path().join("openapi.yaml"), wider).unwrap();
    gateway.reload();
    assert_eq!(
        send(gateway.addresses[0], b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n")[0].status,
        200
    );
}

/// Answers after `pause`, and says when a request has come.
fn slow(pause: Duration) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || {
                let mut piece = [0; 4096];
                if stream.read(&mut piece).is_ok_and(|read| read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    thread::sleep(pause);
                    drop(stream.write_all(EMPTY));
                }
            });
        }
    });
    (address, came)
}

#[test]
fn a_stop_lets_requests_in_flight_finish() {
    let (upstream, came) = slow(Duration::from_millis(300));
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("fortress.yaml"),
        configuration(upstream, ""),
    )
    .unwrap();
    std::fs::write(directory.path().join("openapi.yaml"), DESCRIPTION).unwrap();
    let (config, mut sources, _) = config::load(&directory.path().join("fortress.yaml"), &|_| None);
    let config = config.unwrap();
    let keys = fortress_gateway::KeyRing::default();
    let gateway = fortress_gateway::compile(&config, &mut sources, &keys, 1)
        .gateway
        .unwrap();
    let server = Server::start(gateway, &config, keys, 2).unwrap();
    let address = server.listening()[0].address;
    let mut busy = connect(address);
    busy.write_all(GET).unwrap();
    let idle = connect(address);
    until("the request is with the upstream", || {
        came.load(Ordering::SeqCst) == 1
    });
    let stopping = thread::spawn(move || server.stop());
    let text = rest(&busy);
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.contains("connection: close"),
        "{text}"
    );
    assert_eq!(rest(&idle), "");
    stopping.join().unwrap();
    assert!(TcpStream::connect(address).is_err());
    let journal = std::fs::read_to_string(directory.path().join("journal.ndjson")).unwrap();
    assert_eq!(journal.lines().count(), 1, "{journal}");
}

#[test]
fn a_refused_client_that_has_sent_its_request_can_read_the_refusal() {
    let upstream = Upstream::start();
    let gateway = gateway(
        upstream.address,
        "defaults: { bounds: { connections_per_client: 1 } }\n",
    );
    let held = connect(gateway.addresses[0]);
    until("it is accepted", || gateway.server().connections() == 1);
    let body = "x".repeat(50_000);
    let request = format!("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n{body}");
    for _ in 0..50 {
        let mut stream = connect(gateway.addresses[0]);
        stream.write_all(request.as_bytes()).unwrap();
        let text = rest(&stream);
        assert!(text.contains("connections.client_exhausted"), "{text:?}");
    }
    drop(held);
    until("the place is given back", || {
        gateway.server().connections() == 0
    });
    assert_eq!(send(gateway.addresses[0], GET)[0].status, 200);
}

#[test]
fn an_address_that_is_taken_is_not_shared() {
    let upstream = Upstream::start();
    let first = gateway(upstream.address, "");
    let directory = tempfile::tempdir().unwrap();
    let start = |address: &str| {
        let text = configuration(upstream.address, "").replace("127.0.0.1:0", address);
        std::fs::write(directory.path().join("fortress.yaml"), text).unwrap();
        std::fs::write(directory.path().join("openapi.yaml"), DESCRIPTION).unwrap();
        let (config, mut sources, _) =
            config::load(&directory.path().join("fortress.yaml"), &|_| None);
        let (config, keys) = (config.unwrap(), fortress_gateway::KeyRing::default());
        let compiled = fortress_gateway::compile(&config, &mut sources, &keys, 1);
        Server::start(compiled.gateway.unwrap(), &config, keys, 2)
    };
    assert!(start(&first.addresses[0].to_string()).is_err());
    let second = start("127.0.0.1:0").unwrap();
    let address = second.listening()[0].address;
    second.stop();
    start(&address.to_string()).unwrap().stop();
}

#[test]
fn a_stop_serves_a_connection_that_was_just_made() {
    let upstream = Upstream::start();
    for _ in 0..10 {
        let mut gateway = gateway(upstream.address, "");
        let mut fresh = connect(gateway.addresses[0]);
        until("it is accepted", || gateway.server().connections() == 1);
        let stopping = gateway.stop();
        thread::sleep(Duration::from_millis(30));
        fresh.write_all(GET).unwrap();
        let text = rest(&fresh);
        assert!(text.starts_with("HTTP/1.1 200 "), "{text:?}");
        stopping.join().unwrap();
    }
}
