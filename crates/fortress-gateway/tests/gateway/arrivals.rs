//! Whose connection it is, and whether they may have it: the PROXY protocol from real load
//! balancers and by hand, and connections that come too fast.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "says what was skipped; the environment says what must be there"
)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt, io::AsyncWriteExt, net::TcpSocket};

use super::{
    support::{DESCRIPTION, Gateway, Upstream, send, until},
    tls::Authority,
};

const GET: &str = "GET /a HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";

/// A gateway with a plain listener, one with TLS, and one for the operator.
fn gateway(authority: &Authority, upstream: &Upstream, more: &str, defaults: &str) -> Gateway {
    let config = format!(
        r#"
version: 1
listen:
  - {{ address: 127.0.0.1:0{more} }}
  - address: 127.0.0.1:0
    tls: {{ certificates: [{{ chain: file:one.pem, key: file:one.key }}] }}{}
  - {{ address: 127.0.0.1:0, serve: operations }}
trusted_proxies: [127.0.0.1/32]
apis:
  raw: {{ spec: openapi.yaml, upstream: "http://{}" }}
defaults: {{ {defaults} }}
journal: [{{ file: journal.ndjson }}]
"#,
        more.replace(", ", "\n    "),
        upstream.address
    );
    let (chain, key) = authority.sign(&["one.test"]);
    Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
        ("one.pem", &chain),
        ("one.key", &key),
    ])
}

fn proxied(upstream: &Upstream, defaults: &str) -> (Authority, Gateway) {
    let authority = Authority::new();
    let gateway = gateway(&authority, upstream, ", proxy_protocol: true", defaults);
    (authority, gateway)
}

fn journal(gateway: &Gateway) -> String {
    std::fs::read_to_string(gateway.journal()).unwrap_or_default()
}

fn metrics(gateway: &Gateway) -> String {
    let responses = send(
        gateway.addresses[2],
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    String::from_utf8(responses[0].body.clone()).unwrap()
}

/// Everything that comes back, however the connection ends.
fn answer(mut stream: &TcpStream) -> String {
    stream
        .set_read_timeout(Some(Duration::from_secs(8)))
        .unwrap();
    let mut all = Vec::new();
    let mut piece = [0; 4096];
    while let Ok(read) = stream.read(&mut piece) {
        if read == 0 {
            break;
        }
        all.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(all).unwrap()
}

/// What an https client gets from an address of its own, after some bytes before its TLS.
async fn over_tls(
    authority: &Authority,
    address: SocketAddr,
    from: Ipv4Addr,
    before: &[&[u8]],
) -> std::io::Result<String> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut tcp = socket.connect(address).await?;
    tcp.set_nodelay(true)?;
    for piece in before {
        tcp.write_all(piece).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let name = "one.test".try_into().unwrap();
    let mut stream = authority.client(b"http/1.1").connect(name, tcp).await?;
    stream.write_all(GET.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C\xCB\0\x71\x05\x7F\0\0\x01\x12\x34\x01\xBB";

#[tokio::test]
async fn a_header_comes_before_tls_and_in_pieces() {
    let upstream = Upstream::start();
    let (authority, gateway) = proxied(&upstream, "");
    let whole: Vec<&[u8]> = vec![V2];
    let bytewise: Vec<&[u8]> = V2.chunks(1).collect();
    let line = b"PROXY TCP4 203.0.113.5 127.0.0.1 4660 443\r\n";
    let halves: Vec<&[u8]> = vec![&line[..20], &line[20..line.len() - 1], b"\n"];
    for pieces in [whole, bytewise, halves] {
        let text = over_tls(
            &authority,
            gateway.addresses[1],
            Ipv4Addr::LOCALHOST,
            &pieces,
        );
        let text = text.await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        let received = upstream.received();
        assert_eq!(received[0].header("x-forwarded-for"), Some("203.0.113.5"));
    }
    until("the journal", || journal(&gateway).lines().count() == 3);
    assert!(journal(&gateway).contains(r#""ip":"203.0.113.5","port":4660"#));
}

#[test]
fn connections_are_counted_by_who_the_header_names() {
    let upstream = Upstream::start();
    let (_, gateway) = proxied(&upstream, "bounds: { connections_per_client: 1 }");
    let connect = |client: &str| {
        let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
        write!(
            stream,
            "PROXY TCP4 {client} 127.0.0.1 1 80\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        .unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        (stream, String::from_utf8(status.to_vec()).unwrap())
    };
    let (first, status) = connect("203.0.113.5");
    assert_eq!(status, "HTTP/1.1 200");
    assert_eq!(connect("203.0.113.6").1, "HTTP/1.1 200");
    assert_eq!(connect("203.0.113.5").1, "HTTP/1.1 429");
    until("the refusal", || {
        let journal = journal(&gateway);
        let refusal = journal
            .lines()
            .find(|line| line.contains("client_exhausted"));
        refusal.is_some_and(|line| line.contains("203.0.113.5"))
    });
    drop(first);
    until("a place", || connect("203.0.113.5").1 == "HTTP/1.1 200");
}

#[test]
fn a_header_that_is_late_or_too_long_ends_the_connection() {
    let upstream = Upstream::start();
    let (_, gateway) = proxied(&upstream, "bounds: { head_time: 300ms }");
    let began = Instant::now();
    for part in [&V2[..20], b"PROXY TCP4 203.0.113.5"] {
        let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
        stream.write_all(part).unwrap();
        assert_eq!(answer(&stream), "");
    }
    assert!(began.elapsed() >= Duration::from_millis(600));
    let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
    let endless = format!("PROXY UNKNOWN {}", " ".repeat(200));
    stream.write_all(endless.as_bytes()).unwrap();
    assert_eq!(answer(&stream), "");
    let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
    stream.write_all(&V2[..20]).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(answer(&stream), "");
    // Whoever only looks whether the port is open is no attack.
    drop(TcpStream::connect(gateway.addresses[0]).unwrap());
    until("four refusals", || {
        journal(&gateway)
            .matches("\"uid\":\"proxy.malformed\"")
            .count()
            == 4
    });
    let journal = journal(&gateway);
    for detail in ["no whole header within", "107 bytes", "broke off"] {
        assert!(journal.contains(detail), "{detail}: {journal}");
    }
    assert!(upstream.received().is_empty());
    let refused = "reason=\"proxy.malformed\"} 4";
    assert!(metrics(&gateway).contains(refused));
}

#[tokio::test]
async fn handshakes_that_come_too_fast_are_cut_off_before_tls() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let gateway = gateway(&authority, &upstream, "", "bounds: { handshake_rate: 2/h }");
    let ask = |last| {
        let from = Ipv4Addr::new(127, 0, 0, last);
        over_tls(&authority, gateway.addresses[1], from, &[])
    };
    for _ in 0..2 {
        assert!(ask(7).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    ask(7).await.unwrap_err();
    assert!(ask(8).await.unwrap().starts_with("HTTP/1.1 200"));
    // The proxy speaks for many.
    for _ in 0..4 {
        assert!(ask(1).await.unwrap().starts_with("HTTP/1.1 200"));
    }
    until("the refusal", || {
        journal(&gateway).contains("handshakes.rate")
    });
    let metrics = metrics(&gateway);
    assert!(metrics.contains("reason=\"handshakes.rate\"} 1"));
    assert!(metrics.contains("result=\"failure\"} 0"), "TLS had no work");
}

#[test]
fn a_flood_of_refused_connections_is_counted_and_not_written_out() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let bounds = "bounds: { connections_per_client: 1 }";
    // The peer is a stranger, and so counted.
    let gateway = gateway(&authority, &upstream, ", proxy_protocol: true", bounds);
    let address = gateway.addresses[0];
    let refused = 300;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..refused {
            let socket = TcpSocket::new_v4().unwrap();
            socket
                .bind((Ipv4Addr::new(127, 0, 0, 9), 0).into())
                .unwrap();
            let mut tcp = socket.connect(address).await.unwrap();
            let mut text = Vec::new();
            // Reset or closed.
            drop(tcp.read_to_end(&mut text).await);
            assert!(text.is_empty());
        }
    });
    until("the metric", || {
        metrics(&gateway).contains(&format!("reason=\"proxy.untrusted\"}} {refused}"))
    });
    let told = || {
        let journal = journal(&gateway);
        let mut told = 0;
        for line in journal.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            let detail = event["firewall_rule"]["desc"].as_str().unwrap();
            told += match detail.split_once(" more connections") {
                Some((count, _)) => count.parse::<usize>().unwrap(),
                None => 1,
            };
        }
        (told, journal.lines().count())
    };
    until("all are accounted for", || told().0 == refused);
    assert!(told().1 < refused / 2, "{:?}", told());
}

/// A program that ends with the test.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

/// `None`, said aloud, where the program is missing.
fn peer(program: &str, arguments: &[&str], port: u16) -> Option<Peer> {
    let started = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let child = match started {
        Ok(child) => child,
        Err(error) => {
            let why = format!("{program}: {error}");
            assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "{why}");
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let peer = Peer(child);
    until(program, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some(peer)
}

/// A client at an address of its own is known by it behind the load balancer.
async fn is_known_behind(authority: &Authority, upstream: &Upstream, port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let from = Ipv4Addr::new(127, 0, 0, 33);
    let text = over_tls(authority, address, from, &[]).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    let received = upstream.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].header("x-forwarded-for"), Some("127.0.0.33"));
}

#[tokio::test]
async fn haproxy_says_whose_connections_it_passes_on() {
    let upstream = Upstream::start();
    let (authority, gateway) = proxied(&upstream, "");
    let ports = [free_port(), free_port(), free_port(), free_port()];
    let to = gateway.addresses[1];
    let listen = |(port, option): (&u16, &str)| {
        format!("listen l{port}\n  bind 127.0.0.1:{port}\n  server g {to} {option}\n")
    };
    let options = [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl",
        "send-proxy-v2 check inter 50ms fall 1 rise 1",
    ];
    let listeners: String = ports.iter().zip(options).map(listen).collect();
    let config = format!(
        "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 5s\n  timeout server 5s\n{listeners}"
    );
    let file = gateway.directory.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let arguments = ["-db", "-f", file.to_str().unwrap()];
    let Some(_peer) = peer("haproxy", &arguments, ports[0]) else {
        return;
    };
    for port in ports {
        is_known_behind(&authority, &upstream, port).await;
    }
    // It is alive by the checks that it makes in its own name, and none of them is a fault.
    tokio::time::sleep(Duration::from_millis(300)).await;
    is_known_behind(&authority, &upstream, ports[3]).await;
    assert!(
        !journal(&gateway).contains("proxy."),
        "{}",
        journal(&gateway)
    );
}

#[tokio::test]
async fn nginx_says_whose_connections_it_passes_on() {
    let module = "/usr/lib/nginx/modules/ngx_stream_module.so";
    if !std::path::Path::new(module).exists() {
        assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "{module}");
        eprintln!("skipped: no {module}");
        return;
    }
    let upstream = Upstream::start();
    let (authority, gateway) = proxied(&upstream, "");
    let (port, to) = (free_port(), gateway.addresses[1]);
    let directory = gateway.directory.path().display();
    let config = format!(
        "load_module {module};\ndaemon off;\npid {directory}/nginx.pid;\nerror_log {directory}/nginx.log;\nevents {{}}\n\
         stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass {to}; proxy_protocol on; }} }}\n"
    );
    let file = gateway.directory.path().join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let arguments = ["-c", file.to_str().unwrap()];
    let Some(_peer) = peer("nginx", &arguments, port) else {
        return;
    };
    is_known_behind(&authority, &upstream, port).await;
}
