//! Too much at once: bodies beyond the memory for them, and an upstream that is asked for three times
//! what it can do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use super::support::{DESCRIPTION, Gateway, Upstream, send, until};

fn gateway(upstream: SocketAddr, long: &str, operations: &str, bounds: &str) -> Gateway {
    let config = format!(
        r#"
version: 1
listen: [{{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, serve: operations }}]
apis:
  raw:
    spec: openapi.yaml
    upstream: {{ endpoints: [{{ url: "http://{upstream}" }}]{long} }}
    operations: {{ {operations} }}
defaults: {{ bounds: {{ {bounds} }} }}
journal: [{{ file: journal.ndjson }}]
"#
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let text = String::from_utf8(send(gateway.addresses[1], text)[0].body.clone()).unwrap();
    let start = format!("{name} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .parse()
        .unwrap()
}

/// Begins a body and sends so much of it.
fn begin(gateway: &Gateway, length: usize, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    write!(
        stream,
        "POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: {length}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(&vec![7; sent]).unwrap();
    stream
}

fn head(mut stream: &TcpStream) -> String {
    let mut text = Vec::new();
    let mut piece = [0; 4096];
    while !text.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece).unwrap();
        assert!(read > 0, "closed without an answer");
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

const MEMORY: &str = "fortress_body_memory_bytes";

#[test]
fn a_body_that_came_fast_and_then_no_more_gives_its_memory_back() {
    let upstream = Upstream::start();
    let gateway = gateway(upstream.address, "", "", "body: 1MiB, body_memory: 1MiB");
    // At the rate that bodies must reach this would pay for a quarter of an hour.
    let mut stalled = begin(&gateway, 1_000_000, 900_000);
    until("it is held", || metric(&gateway, MEMORY) == 900_000);
    stalled
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut answer = String::new();
    stalled.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("\"code\":\"body.timeout\""), "{answer}");
    until("it is free", || metric(&gateway, MEMORY) == 0);
}

#[test]
fn bodies_share_a_memory_and_give_it_back_on_every_path() {
    let upstream = Upstream::start();
    let bounds = "body: 1MiB, body_memory: 1MiB";
    let gateway = gateway(upstream.address, "", "", bounds);
    // Held, and not yet whole.
    let mut first = begin(&gateway, 700_000, 600_000);
    until("the first body", || metric(&gateway, MEMORY) == 600_000);
    let second = begin(&gateway, 600_000, 600_000);
    let refused = head(&second);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        refused.to_ascii_lowercase().contains("retry-after: 1"),
        "{refused}"
    );
    assert!(refused.contains("body.memory_exhausted"), "{refused}");
    // What was refused holds nothing, and what needs none passes.
    until("the second's", || metric(&gateway, MEMORY) == 600_000);
    let plain = send(gateway.addresses[0], b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(plain[0].status, 200);
    first.write_all(&[7; 100_000]).unwrap();
    assert!(head(&first).starts_with("HTTP/1.1 200"));
    until("the first's", || metric(&gateway, MEMORY) == 0);
    // A client that goes away takes nothing along, nor does one that sends too much.
    let third = begin(&gateway, 900_000, 800_000);
    until("the third body", || metric(&gateway, MEMORY) == 800_000);
    drop(third);
    until("the third's", || metric(&gateway, MEMORY) == 0);
    let fourth = begin(&gateway, 2_000_000, 0);
    assert!(head(&fourth).starts_with("HTTP/1.1 413"));
    assert_eq!(metric(&gateway, MEMORY), 0);
    assert_eq!(
        metric(&gateway, "fortress_body_memory_limit_bytes"),
        1 << 20
    );
}

/// An upstream with some workers and a queue without end.
struct Saturated {
    address: SocketAddr,
}

const WORKERS: usize = 4;
const TAKES: Duration = Duration::from_millis(40);

impl Saturated {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let free = Arc::new((Mutex::new(WORKERS), Condvar::new()));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let free = Arc::clone(&free);
                thread::spawn(move || while serve(&stream, &free).is_some() {});
            }
        });
        Self { address }
    }
}

fn serve(mut stream: &TcpStream, free: &(Mutex<usize>, Condvar)) -> Option<()> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(read) => head.extend_from_slice(&piece[..read]),
        }
    }
    let (count, changed) = free;
    {
        let mut count = changed
            .wait_while(count.lock().unwrap(), |count| *count == 0)
            .unwrap();
        *count -= 1;
    }
    thread::sleep(TAKES);
    *count.lock().unwrap() += 1;
    changed.notify_one();
    stream.write_all(super::support::EMPTY).ok()
}

/// What clients got: how long answers took, and how many were refused.
#[derive(Default)]
struct Got {
    answered: Vec<Duration>,
    refused: usize,
}

impl Got {
    fn late(&self) -> Duration {
        let mut all = self.answered.clone();
        all.sort();
        all[all.len() * 95 / 100]
    }
}

/// Clients that ask again and again, for some seconds; whoever is refused waits a moment. Gives what
/// those of `GET` and of `POST` got, after a time in which the limit is found.
fn offer(gateway: &Gateway, getting: usize, posting: usize) -> (Got, Got) {
    let address = gateway.addresses[0];
    let began = Instant::now();
    let (warm, whole) = (Duration::from_secs(3), Duration::from_secs(7));
    let client = |request: &'static [u8], got: &Mutex<Got>| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        while began.elapsed() < whole {
            let asked = Instant::now();
            stream.write_all(request).unwrap();
            let answer = head(&stream);
            let is_good = answer.starts_with("HTTP/1.1 200");
            if began.elapsed() > warm {
                let mut got = got.lock().unwrap();
                match is_good {
                    true => got.answered.push(asked.elapsed()),
                    false => got.refused += 1,
                }
            }
            if !is_good {
                assert!(answer.contains("upstream.overloaded"), "{answer}");
                thread::sleep(Duration::from_millis(100));
                // The body of the refusal may follow its head.
                stream = TcpStream::connect(address).unwrap();
                stream
                    .set_read_timeout(Some(Duration::from_secs(20)))
                    .unwrap();
            }
        }
    };
    let (gets, posts) = (Mutex::default(), Mutex::default());
    thread::scope(|scope| {
        for _ in 0..getting {
            scope.spawn(|| client(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", &gets));
        }
        for _ in 0..posting {
            scope.spawn(|| {
                let request = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 1\r\n\r\n7";
                client(request, &posts);
            });
        }
    });
    (gets.into_inner().unwrap(), posts.into_inner().unwrap())
}

#[test]
fn an_upstream_that_is_overloaded_answers_what_it_can_and_what_matters_most() {
    let saturated = Saturated::start();
    // 48 at once for 4 workers: whoever waits for all takes ten times as long as the answer.
    let open = gateway(saturated.address, "", "", "");
    let (queued, _) = offer(&open, 48, 0);
    assert_eq!(queued.refused, 0);
    assert!(queued.late() > TAKES * 8, "{:?}", queued.late());
    drop(open);
    let bounded = gateway(
        saturated.address,
        ", concurrency: { min: 4, start: 12, max: 200 }",
        "postA: { priority: high }",
        "",
    );
    let (normal, high) = offer(&bounded, 42, 3);
    // Answers stay quick, the upstream stays busy, and what matters passes.
    assert!(
        normal.late() < queued.late() * 2 / 3,
        "{:?} of {:?}",
        normal.late(),
        queued.late()
    );
    let answered = normal.answered.len() + high.answered.len();
    assert!(
        answered * 2 > queued.answered.len(),
        "{answered} of {}",
        queued.answered.len()
    );
    assert!(normal.refused > 0);
    let share = |got: &Got| got.refused * 100 / (got.refused + got.answered.len()).max(1);
    assert!(
        share(&high) * 2 < share(&normal),
        "{} {}",
        share(&high),
        share(&normal)
    );
    let limit = metric(&bounded, "fortress_upstream_concurrency{api=\"raw\"}");
    assert!((4..=30).contains(&limit), "{limit}");
    until("all is done", || {
        metric(&bounded, "fortress_upstream_in_flight{api=\"raw\"}") == 0
    });
}
