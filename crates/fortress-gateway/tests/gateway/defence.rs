//! Logins that no single request shows: many at once, clients that hang up, and answers whose time
//! tells nothing.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::support::{Gateway, Response, send, until};

const DESCRIPTION: &str = r##"
openapi: 3.0.3
info: { title: door, version: "1" }
security: []
paths:
  /login:
    post:
      operationId: login
      requestBody:
        content:
          application/json:
            schema:
              type: object
              properties: { username: { type: string }, password: { type: string } }
      responses: { default: { description: whatever } }
"##;

/// An upstream that answers when it is told to.
struct Door {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Door {
    /// Answers 200 to the password `right`, 401 to others; to accounts that begin with `slow` after
    /// a while.
    fn start(is_open: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let open = Arc::new((Mutex::new(is_open), Condvar::new()));
        let (count, gate) = (Arc::clone(&came), Arc::clone(&open));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
                thread::spawn(move || while answer(&stream, &count, &gate).is_some() {});
            }
        });
        Self {
            address,
            came,
            open,
        }
    }

    fn open(&self) {
        *self.open.0.lock().unwrap() = true;
        self.open.1.notify_all();
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    fn wait_for(&self, requests: usize) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.came() < requests {
            assert!(Instant::now() < deadline, "{} came", self.came());
            thread::yield_now();
        }
    }
}

fn answer(mut stream: &TcpStream, came: &AtomicUsize, gate: &(Mutex<bool>, Condvar)) -> Option<()> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    let text = loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if length.is_some_and(|length| body.len() >= length.parse().unwrap()) {
                break text;
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    };
    came.fetch_add(1, Ordering::SeqCst);
    drop(gate.1.wait_while(gate.0.lock().unwrap(), |open| !*open));
    if text.contains("\"slow") {
        thread::sleep(Duration::from_millis(150));
    }
    let status = if text.contains("\"right\"") {
        "200 OK"
    } else {
        "401 Unauthorized"
    };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok()
}

fn gateway(door: &Door, login: &str) -> Gateway {
    gateway_with(door, login, "")
}

fn gateway_with(door: &Door, login: &str, upstream: &str) -> Gateway {
    let config = format!(
        "version: 1
listen: [{{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, serve: operations }}]
trusted_proxies: [127.0.0.0/8]
apis:
  test:
    spec: openapi.yaml
    upstream: {{ endpoints: [{{ url: 'http://{}' }}], {upstream} }}
    operations: {{ login: {{ login: {{ account: body.username, {login} }} }} }}
journal: [{{ file: journal.ndjson }}]
",
        door.address
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn request(from: &str, account: &str, password: &str) -> Vec<u8> {
    let body = format!("{{\"username\":\"{account}\",\"password\":\"{password}\"}}");
    format!(
        "POST /login HTTP/1.1\r\nHost: door\r\nX-Forwarded-For: {from}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn attempt(gateway: &Gateway, from: &str, account: &str, password: &str) -> Response {
    let mut responses = send(gateway.addresses[0], &request(from, account, password));
    assert_eq!(responses.len(), 1);
    responses.remove(0)
}

fn metrics(gateway: &Gateway) -> String {
    let request = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    let response = send(gateway.addresses[1], request).remove(0);
    String::from_utf8(response.body).unwrap()
}

#[test]
fn many_at_once_do_not_pass_before_the_first_is_judged() {
    let door = Door::start(false);
    let gateway = gateway(&door, "failure: [401]");
    let address = gateway.addresses[0];
    let runs: Vec<_> = (0..60)
        .map(|number| {
            thread::spawn(move || {
                let guess = format!("guess{number}");
                send(address, &request("192.0.2.1", "ann", &guess)).remove(0)
            })
        })
        .collect();
    door.wait_for(3);
    // All others are refused while those three still wait for their answer.
    let deadline = Instant::now() + Duration::from_secs(10);
    while runs.iter().filter(|run| run.is_finished()).count() < 57 {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(door.came(), 3);
    door.open();
    let codes: Vec<_> = runs
        .into_iter()
        .map(|run| run.join().unwrap().code())
        .collect();
    let count = |code| {
        codes
            .iter()
            .filter(|known| known.as_deref() == Some(code))
            .count()
    };
    assert_eq!((count("login.rejected"), count("login.delayed")), (3, 57));
    let metrics = metrics(&gateway);
    for line in [
        "fortress_logins_total{api=\"test\",kind=\"login\",outcome=\"failed\"} 3",
        "fortress_logins_total{api=\"test\",kind=\"login\",outcome=\"refused\"} 57",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}

#[test]
fn whoever_hangs_up_has_had_an_attempt() {
    let door = Door::start(false);
    let gateway = gateway(&door, "failure: [401], delay: { first: 10min }");
    for number in 1..=3 {
        let mut stream = TcpStream::connect(gateway.addresses[0]).unwrap();
        stream
            .write_all(&request("192.0.2.1", "ann", "guess"))
            .unwrap();
        door.wait_for(number);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    // It is recorded when the gateway notices that the client is gone.
    while std::fs::read_to_string(gateway.journal())
        .unwrap_or_default()
        .matches("\"kind\":\"login\",\"outcome\":\"abandoned\"")
        .count()
        < 3
    {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }
    door.open();
    let refused = attempt(&gateway, "192.0.2.1", "ann", "right");
    assert_eq!(refused.code().as_deref(), Some("login.delayed"));
    assert_eq!(door.came(), 3);
    // Another account, to see that nothing else holds it back.
    assert_eq!(attempt(&gateway, "192.0.2.1", "bob", "right").status, 200);
}

#[test]
fn what_never_came_to_the_upstream_is_no_attempt() {
    let door = Door::start(false);
    let login = "failure: [401], delay: { after: 1, first: 10min }";
    let gateway = gateway_with(&door, login, "concurrency: { min: 1, start: 1, max: 1 }");
    let address = gateway.addresses[0];
    let first = thread::spawn(move || send(address, &request("192.0.2.1", "ann", "no")).remove(0));
    door.wait_for(1);
    for _ in 0..5 {
        let refused = attempt(&gateway, "192.0.2.2", "bob", "no");
        assert_eq!(refused.code().as_deref(), Some("upstream.overloaded"));
    }
    door.open();
    let rejected = first.join().unwrap();
    assert_eq!(rejected.code().as_deref(), Some("login.rejected"));
    assert_eq!(attempt(&gateway, "192.0.2.2", "bob", "right").status, 200);
    // Ann has had her attempt, and the record says what the upstream said of it.
    let refused = attempt(&gateway, "192.0.2.1", "ann", "right");
    assert_eq!(refused.code().as_deref(), Some("login.delayed"));
    until("the record is there", || {
        let journal = std::fs::read_to_string(gateway.journal()).unwrap_or_default();
        journal.contains("\"upstream_status\":401") && journal.contains("the upstream answered 401")
    });
}

#[test]
fn counts_survive_a_reload() {
    let door = Door::start(true);
    let gateway = gateway(&door, "failure: [401], delay: { after: 1, first: 10min }");
    assert_eq!(attempt(&gateway, "192.0.2.1", "ann", "no").status, 401);
    gateway.reload();
    let refused = attempt(&gateway, "192.0.2.1", "ann", "right");
    assert_eq!(refused.code().as_deref(), Some("login.delayed"));
}

#[test]
fn an_unknown_account_takes_as_long_as_a_known_one() {
    let door = Door::start(true);
    let gateway = gateway(&door, "failure: [401], stuffing: { mode: off }");
    // People log in, and hashing their passwords takes its time.
    for number in 0..4 {
        let account = format!("slow{number}");
        assert_eq!(
            attempt(&gateway, "198.51.100.1", &account, "right").status,
            200
        );
    }
    let began = Instant::now();
    let unknown = attempt(&gateway, "192.0.2.2", "nobody", "guess");
    let took = began.elapsed();
    assert_eq!(unknown.code().as_deref(), Some("login.rejected"));
    assert!(took >= Duration::from_millis(150), "{took:?}");
    let known = attempt(&gateway, "192.0.2.3", "slow1", "guess");
    let plain = |response: &Response| {
        let lines = response.head.lines();
        let varies = ["x-request-id", "date"];
        lines
            .filter(|line| !varies.iter().any(|name| line.starts_with(name)))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(plain(&known), plain(&unknown));
}

#[test]
fn refused_attempts_are_held_where_there_is_room() {
    let door = Door::start(true);
    let gateway = gateway(
        &door,
        "failure: [401], delay: { after: 1, first: 400ms, hold: 1 }",
    );
    assert_eq!(attempt(&gateway, "192.0.2.1", "ann", "no").status, 401);
    let began = Instant::now();
    let refused = attempt(&gateway, "192.0.2.1", "ann", "no");
    assert_eq!(refused.code().as_deref(), Some("login.delayed"));
    assert!(
        began.elapsed() >= Duration::from_millis(100),
        "{:?}",
        began.elapsed()
    );
    // The worker was free meanwhile, and the time has passed.
    thread::sleep(Duration::from_millis(400));
    assert_eq!(attempt(&gateway, "192.0.2.1", "ann", "right").status, 200);
}

#[test]
fn a_range_service_gets_five_digits_and_is_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).unwrap();
            let head = String::from_utf8_lossy(&bytes[..read]).to_ascii_lowercase();
            log.lock().unwrap().push(head);
            // The rest of the hash of `password`, and padding.
            let body = "0000000000000000000000000000000000A:0\r\n1E4C9B93F3F0682250B6CF8331B7EE68FD8:42\r\n";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let door = Door::start(true);
    let settings = format!(
        "kind: registration, delay: {{ after: 100 }}, breached: {{ url: \"http://{service}/range\" }}"
    );
    let gateway = gateway(&door, &settings);
    for account in ["ann", "bob"] {
        let refused = attempt(&gateway, "192.0.2.1", account, "password");
        assert_eq!(refused.code().as_deref(), Some("login.breached"));
    }
    assert_eq!(door.came(), 0);
    assert_eq!(attempt(&gateway, "192.0.2.1", "carl", "right").status, 200);
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(
        asked[0].starts_with("get /range/5baa6 http/1.1"),
        "{asked:?}"
    );
    assert!(asked[0].contains("add-padding: true"), "{asked:?}");
    assert!(!asked[0].contains("5baa61"), "{asked:?}");
}
