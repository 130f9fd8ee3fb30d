//! JA4 of real clients over real TLS: openssl, curl, Python, and one of our own that sends byte by
//! byte.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "says what was skipped; the environment says what must be there"
)]

use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{
    support::{DESCRIPTION, Gateway, Upstream},
    tls::Authority,
};

struct Setup {
    authority: Authority,
    gateway: Gateway,
    #[expect(dead_code, reason = "answers as long as the test lasts")]
    upstream: Upstream,
}

fn setup(more: &str) -> Setup {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let config = format!(
        r#"
version: 1
listen:
  - address: 127.0.0.1:0
    tls: {{ certificates: [{{ chain: file:one.pem, key: file:one.key }}] }}
{more}
apis:
  raw: {{ spec: openapi.yaml, upstream: "http://{}", limits: [{{ per: ja4, rate: 3/h }}] }}
journal: [{{ file: journal.ndjson }}]
"#,
        upstream.address
    );
    let (chain, key) = authority.sign(&["one.test", "127.0.0.1"]);
    let gateway = Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
        ("one.pem", &chain),
        ("one.key", &key),
        ("ca.pem", &authority.pem()),
    ]);
    Setup {
        authority,
        gateway,
        upstream,
    }
}

impl Setup {
    /// The fingerprints of all requests so far, as soon as there are so many records.
    fn fingerprints(&self, records: usize) -> Vec<Option<String>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(self.gateway.journal()).unwrap_or_default();
            let found: Vec<_> = text
                .lines()
                .map(|line| {
                    let event: serde_json::Value = serde_json::from_str(line).unwrap();
                    let ja4 = event["unmapped"]["fortress"]["ja4"].as_str();
                    ja4.map(str::to_owned)
                })
                .collect();
            if found.len() >= records {
                return found;
            }
            assert!(Instant::now() < deadline, "{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    async fn ask(&self, address: std::net::SocketAddr) -> String {
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = "one.test".try_into().unwrap();
        let connector = self.authority.client(b"http/1.1");
        let mut stream = connector.connect(name, tcp).await.unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }
}

/// Passes on what a client sends first byte by byte.
async fn dripping(to: std::net::SocketAddr) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(to).await.unwrap();
        server.set_nodelay(true).unwrap();
        for sent in 0..700 {
            let byte = client.read_u8().await.unwrap();
            server.write_all(&[byte]).await.unwrap();
            // The client waits for an answer when its hello has ended.
            let mut next = [0; 1];
            let hello = tokio::time::timeout(Duration::from_millis(100), client.peek(&mut next));
            if sent > 100 && hello.await.is_err() {
                break;
            }
        }
        drop(copy_bidirectional(&mut client, &mut server).await);
    });
    address
}

#[tokio::test]
async fn a_hello_has_one_fingerprint_however_it_comes_and_limits_count_by_it() {
    let setup = setup("");
    let address = setup.gateway.addresses[0];
    assert!(setup.ask(address).await.starts_with("HTTP/1.1 200"));
    let slow = dripping(address).await;
    assert!(setup.ask(slow).await.starts_with("HTTP/1.1 200"));
    assert!(setup.ask(address).await.starts_with("HTTP/1.1 200"));
    assert!(setup.ask(address).await.starts_with("HTTP/1.1 429"));
    let found = setup.fingerprints(4);
    let first = found[0].clone().unwrap();
    // rustls: TLS 1.3, a name, `http/1.1`.
    assert!(
        first.starts_with("t13d") && protocol(&first) == "h1",
        "{first}"
    );
    assert!(
        found.iter().all(|other| *other == Some(first.clone())),
        "{found:?}"
    );
}

/// The last two characters of a fingerprint's first part.
fn protocol(ja4: &str) -> &str {
    ja4.split('_').next().unwrap().get(8..).unwrap()
}

/// A client that is given a request; `None`, said aloud, where it is missing.
fn start(program: &str, arguments: &[&str], directory: &Path) -> Option<Child> {
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match child {
        Ok(mut child) => {
            let head = "GET /a HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
            // Only openssl reads it; the others may be gone.
            drop(child.stdin.take().unwrap().write_all(head.as_bytes()));
            Some(child)
        }
        Err(error) => {
            let why = format!("{program}: {error}");
            assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "{why}");
            eprintln!("skipped: {why}");
            None
        }
    }
}

#[test]
fn openssl_curl_and_python_are_told_apart() {
    let setup = setup("");
    let port = setup.gateway.addresses[0].port();
    let directory = setup.gateway.directory.path();
    let url = format!("https://127.0.0.1:{port}/a");
    let python = format!(
        "import ssl,urllib.request as u;print(u.urlopen('{url}',context=ssl._create_unverified_context()).status)"
    );
    let at = format!("127.0.0.1:{port}");
    // What each says, and how its fingerprint begins.
    let clients: [(&str, Vec<&str>, &str, &str); 4] = [
        ("curl", vec!["-sk", "--http1.1", &url], "t13i", "h1"),
        (
            "curl",
            vec!["-sk", "--http1.1", "--tls-max", "1.2", &url],
            "t12i",
            "h1",
        ),
        (
            "openssl",
            vec![
                "s_client",
                "-quiet",
                "-connect",
                &at,
                "-servername",
                "one.test",
                "-alpn",
                "http/1.1",
            ],
            "t13d",
            "h1",
        ),
        ("python3", vec!["-c", &python], "t13i", "00"),
    ];
    let mut begins = Vec::new();
    for (program, arguments, begin, protocol) in clients {
        if let Some(mut client) = start(program, &arguments, directory) {
            begins.push((program, begin, protocol));
            setup.fingerprints(begins.len());
            drop(client.kill());
            client.wait().unwrap();
        }
    }
    let found = setup.fingerprints(begins.len());
    for ((program, begin, expected), ja4) in begins.iter().zip(&found) {
        let ja4 = ja4.as_deref().unwrap();
        let is_so = ja4.starts_with(begin) && protocol(ja4) == *expected;
        assert!(is_so, "{program}: {ja4}");
    }
    let mut all = found.clone();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), found.len(), "{found:?}");
}

#[tokio::test]
async fn behind_a_proxy_that_ends_tls_there_is_none() {
    let setup = setup("trusted_proxies: [127.0.0.1/32]");
    setup.ask(setup.gateway.addresses[0]).await;
    assert_eq!(setup.fingerprints(1), [None]);
}
