//! HTTP/2 from clients that speak it frame by frame: what a well-behaved library would not send.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::support::{Gateway, Upstream};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: raw, version: "1" }
security: []
paths:
  /a:
    get:
      responses:
        "200":
          description: fine
          content: { application/json: { schema: { type: string } } }
    head: { responses: { "200": { description: fine } } }
"#;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;

fn gateway(upstream: SocketAddr, bounds: &str) -> Gateway {
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0, http2: prior_knowledge }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{upstream}\" }}\njournal: [{{ file: journal.ndjson }}]\ndefaults: {{ bounds: {{ {bounds} }} }}\n",
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A request without a body; fields of the static table by number, the rest as they are.
fn request(stream: u32, method: u8, authority: &str) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x04, 2];
    block.extend_from_slice(b"/a");
    block.extend_from_slice(&[0x01, u8::try_from(authority.len()).unwrap()]);
    block.extend_from_slice(authority.as_bytes());
    // END_STREAM and END_HEADERS.
    frame(HEADERS, 0x05, stream, &block)
}

const GET: u8 = 0x82;

struct Client(TcpStream);

impl Client {
    /// `window` is how much of each stream's answer may come.
    fn connect(address: SocketAddr, window: u32) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut settings = vec![0, 4];
        settings.extend_from_slice(&window.to_be_bytes());
        stream.write_all(PREFACE).unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &settings)).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// The next frame: kind, flags, stream, length. `None` at the connection's end.
    fn next(&mut self) -> Option<(u8, u8, u32, usize)> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, length))
    }

    /// Frames up to the end of a stream: how many bytes of DATA it had.
    fn stream_end(&mut self, stream: u32) -> usize {
        let mut data = 0;
        loop {
            let (kind, flags, of, length) = self.next().expect("the stream ends first");
            if of != stream {
                continue;
            }
            match kind {
                DATA => data += length,
                HEADERS => {}
                other => panic!("frame of kind {other}"),
            }
            if flags & 1 == 1 {
                return data;
            }
        }
    }
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut_off_even_if_it_pings() {
    let upstream = Upstream::start();
    let body = format!("\"{}\"", "x".repeat(300_000));
    upstream.answers(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
    let gateway = gateway(upstream.address, "write_time: 1s");
    let mut client = Client::connect(gateway.addresses[0], 0);
    assert!(client.send(&request(1, GET, "x")));
    let started = Instant::now();
    let mut pings = client.0.try_clone().unwrap();
    let pinging = thread::spawn(move || {
        while pings.write_all(&frame(PING, 0, 0, &[0; 8])).is_ok()
            && started.elapsed() < Duration::from_secs(10)
        {
            thread::sleep(Duration::from_millis(200));
        }
    });
    while client.next().is_some() {}
    assert!(
        started.elapsed() < Duration::from_secs(6),
        "{:?}",
        started.elapsed()
    );
    pinging.join().unwrap();

    // One that takes it in small steps gets all of it.
    let mut client = Client::connect(gateway.addresses[0], 1 << 20);
    let update = (1_u32 << 20).to_be_bytes();
    assert!(client.send(&frame(8, 0, 0, &update)));
    assert!(client.send(&request(1, GET, "x")));
    assert_eq!(client.stream_end(1), body.len());
}

#[test]
fn the_answer_to_head_has_no_data_even_when_the_head_is_refused() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "");
    let mut client = Client::connect(gateway.addresses[0], 65_535);
    for (stream, method) in [(1, "HEAD"), (3, "FIND")] {
        // `:method` as a literal, and a `host` (38 in the static table) that is not `:authority`.
        let mut block = vec![0x02, 4];
        block.extend_from_slice(method.as_bytes());
        block.extend_from_slice(b"\x86\x04\x02/a\x01\x01x\x0f\x17\x01y");
        assert!(client.send(&frame(HEADERS, 0x05, stream, &block)));
        let data = client.stream_end(stream);
        assert_eq!(data == 0, method == "HEAD", "{method}: {data}");
    }
}

#[test]
fn a_request_that_is_reset_is_recorded_and_leaves_nothing_behind() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway(upstream.local_addr().unwrap(), "");
    let mut client = Client::connect(gateway.addresses[0], 65_535);
    assert!(client.send(&request(1, GET, "x")));
    let (mut waiting, _) = upstream.accept().unwrap();
    let mut piece = [0; 4096];
    assert!(waiting.read(&mut piece).unwrap() > 0);
    assert!(client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes())));
    // The upstream's connection is closed, since its answer is nobody's.
    assert_eq!(waiting.read(&mut piece).unwrap(), 0);
    let event = gateway.event("\"/a\"");
    assert_eq!(event["http_request"]["http_method"], "GET", "{event}");
    let deadline = Instant::now() + Duration::from_secs(5);
    while gateway.server().in_flight() > 0 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(2));
    }
}
