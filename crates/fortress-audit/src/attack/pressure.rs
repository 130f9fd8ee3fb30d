//! Attacks that take time or many connections instead of one request: a limit that is dodged by
//! claiming other addresses, heads and bodies that never end, a flood of connections.
//!
//! Each is bounded in time and number, and made once on a target, at the end: what a limit or a bound
//! remembers of it would spoil other attacks. Deliberately not here: floods that measure how much a
//! target can take (`cargo xtask floods`).

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    Kind, Message, Plan, Request, Target, Verdict,
    send::{Watch, connect, send},
};

/// Requests in which a limit has to show.
const ASKED: usize = 60;
/// What an attacker claims to be, each with an address that nobody has.
const CLAIMS: [&str; 8] = [
    "X-Forwarded-For",
    "Forwarded",
    "X-Real-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "Fastly-Client-IP",
];
/// Requests by each claim, with another address each time.
const CLAIMED: u8 = 3;
/// How long something slow is kept up: more than the default of each bound that ends it.
const SLOW: Duration = Duration::from_secs(13);
/// Between two bytes of it.
const DRIP: Duration = Duration::from_millis(500);
/// Connections of a flood: more than the default of one client.
const FLOOD: usize = 400;
/// How long a connection of a flood has to stay open to count.
const HELD: Duration = Duration::from_secs(1);

/// What was tried, and what came of it.
#[derive(Clone, Debug)]
pub struct Pressed {
    /// What was tried.
    pub kind: Kind,
    /// On which operation, where it is one.
    pub operation: Option<Arc<str>>,
    /// In a few words.
    pub what: &'static str,
    /// The line that shows it.
    pub command: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// Presses a target with what a plan knows to be valid. It takes some [`SLOW`] in all.
pub async fn press(plan: &Plan, target: &Target) -> Vec<Pressed> {
    let valid = plan.all.get(..plan.valid).unwrap_or_default();
    let requests = || {
        valid.iter().filter_map(|attack| match &attack.message {
            Message::Request(request) => Some((attack.operation.clone(), request)),
            Message::Raw(_) => None,
        })
    };
    let plain = requests().find(|(_, request)| request.method == "GET");
    let with_body = requests().find(|(_, request)| {
        let body = request.body.as_ref();
        body.is_some_and(|body| body.len() > 1)
    });
    let mut all = Vec::new();
    let slow = async {
        let body = async {
            match &with_body {
                Some((operation, request)) => {
                    Some(slow_body(operation.clone(), request, target).await)
                }
                None => None,
            }
        };
        tokio::join!(slow_head(target), body)
    };
    let (head, body) = slow.await;
    all.push(head);
    all.extend(body);
    all.push(flood(target).await);
    // The last: whoever was limited stays so for a while.
    if let Some((operation, request)) = plain {
        all.extend(dodge(operation, request, target).await);
    }
    all
}

/// Whether a limit that stops a client can be dodged by claiming another address. `None` where none
/// stops it.
async fn dodge(operation: Option<Arc<str>>, request: &Request, target: &Target) -> Option<Pressed> {
    let status = async |request: &Request| {
        let answer = send(target, &request.encode(&target.host), Watch::First).await;
        answer.status
    };
    let mut limited = false;
    for _ in 0..ASKED {
        if status(request).await == Some(429) {
            limited = true;
            break;
        }
    }
    if !limited {
        return None;
    }
    let mut verdict = Verdict::Stopped;
    let mut command = request.clone();
    'claims: for name in CLAIMS {
        for last in 1..=CLAIMED {
            let address = format!("198.51.100.{last}");
            let value = match name {
                "Forwarded" => format!("for={address}"),
                _ => address,
            };
            let claiming = request.clone().with(name, value);
            let seen = status(&claiming).await;
            if seen.is_some_and(|status| status < 400) {
                verdict = Verdict::Through(format!("answered again with another `{name}`"));
                command = claiming;
                break 'claims;
            }
        }
    }
    Some(Pressed {
        kind: Kind::LimitDodged,
        operation,
        what: "a limit, by claiming other addresses",
        command: command.curl(&target.base, &[]),
        verdict,
    })
}

/// A head that never ends.
async fn slow_head(target: &Target) -> Pressed {
    let begin = format!("GET / HTTP/1.1\r\nHost: {}\r\nX-Slow: ", target.host);
    Pressed {
        kind: Kind::HeadSlow,
        operation: None,
        what: "a head that never ends",
        command: format!(
            "(printf 'GET / HTTP/1.1\\r\\nHost: {}\\r\\nX-Slow: '; sleep {}) | nc {} {}",
            target.host,
            SLOW.as_secs(),
            target.address.ip(),
            target.address.port()
        ),
        verdict: drip(target, begin.as_bytes()).await,
    }
}

/// A body that never ends.
async fn slow_body(operation: Option<Arc<str>>, request: &Request, target: &Target) -> Pressed {
    let whole = request.encode(&target.host);
    let head = whole.windows(4).position(|four| four == b"\r\n\r\n");
    let begin = head.and_then(|end| whole.get(..end + 5));
    Pressed {
        kind: Kind::BodySlow,
        operation,
        what: "a body that never ends",
        command: format!("{} --limit-rate 1", request.curl(&target.base, &[])),
        verdict: drip(target, begin.unwrap_or(&whole)).await,
    }
}

/// Keeps a request up by a byte now and then. Whoever ends it, with or without an answer, stops it.
async fn drip(target: &Target, begin: &[u8]) -> Verdict {
    let Some(stream) = connect(target).await else {
        return Verdict::Unsent;
    };
    let (mut reader, mut writer) = tokio::io::split(stream);
    if writer.write_all(begin).await.is_err() || writer.flush().await.is_err() {
        return Verdict::Unsent;
    }
    let began = Instant::now();
    let ended = async {
        let mut piece = [0; 512];
        // Whatever comes, and the end, ends it: the request is not whole.
        drop(reader.read(&mut piece).await);
    };
    tokio::pin!(ended);
    while began.elapsed() < SLOW {
        tokio::select! {
            () = &mut ended => return Verdict::Stopped,
            () = tokio::time::sleep(DRIP) => {
                // A space belongs to a field's value and, where one is, to JSON.
                if writer.write_all(b" ").await.is_err() || writer.flush().await.is_err() {
                    return Verdict::Stopped;
                }
            }
        }
    }
    Verdict::Through(format!("still waited for after {} s", SLOW.as_secs()))
}

/// Many connections of one client, all at once.
async fn flood(target: &Target) -> Pressed {
    let mut open = Vec::new();
    let mut failed = 0;
    for _ in 0..FLOOD {
        match timeout(HELD, TcpStream::connect(target.address)).await {
            Ok(Ok(stream)) => open.push(stream),
            Ok(Err(_)) | Err(_) => failed += 1,
        }
    }
    let held = open.len();
    tokio::time::sleep(HELD).await;
    let refused = open.iter().filter(|stream| is_refused(stream)).count();
    drop(open);
    let verdict = if held == 0 {
        Verdict::Unsent
    } else if refused + failed > 0 {
        Verdict::Stopped
    } else {
        Verdict::Through(format!("{held} connections of one client were held"))
    };
    let (ip, port) = (target.address.ip(), target.address.port());
    Pressed {
        kind: Kind::ConnectionFlood,
        operation: None,
        what: "a flood of connections",
        command: format!("for n in $(seq {FLOOD}); do sleep 9 | nc {ip} {port} & done; wait"),
        verdict,
    }
}

/// Whether a connection was closed, or told something, without having asked for anything.
fn is_refused(stream: &TcpStream) -> bool {
    match stream.try_read(&mut [0; 1]) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;

    use super::*;

    /// A server that does `act` with each connection.
    async fn server<F>(act: impl Fn(TcpStream) -> F + Send + 'static) -> Target
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(act(stream));
            }
        });
        Target::plain(address)
    }

    async fn patient(mut stream: TcpStream) {
        let mut piece = [0; 512];
        while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {}
    }

    #[tokio::test]
    async fn what_is_waited_for_gets_through_and_what_is_ended_is_stopped() {
        let waits = server(patient).await;
        let ends = server(|stream| async move { drop(stream) }).await;
        let (through, stopped) = tokio::join!(slow_head(&waits), slow_head(&ends));
        assert!(
            matches!(through.verdict, Verdict::Through(_)),
            "{through:?}"
        );
        assert_eq!(stopped.verdict, Verdict::Stopped);
    }

    #[tokio::test]
    async fn a_flood_that_is_held_gets_through() {
        let waits = server(patient).await;
        let through = flood(&waits).await;
        assert!(
            matches!(through.verdict, Verdict::Through(_)),
            "{through:?}"
        );
        let count = Arc::new(AtomicUsize::new(0));
        let bounded = server(move |stream| {
            let count = Arc::clone(&count);
            async move {
                if count.fetch_add(1, Ordering::Relaxed) < 100 {
                    patient(stream).await;
                }
            }
        })
        .await;
        assert_eq!(flood(&bounded).await.verdict, Verdict::Stopped);
    }

    /// Answers ten requests, then 429; a claimed address is believed if `field` says it.
    async fn limited(field: &'static str) -> Target {
        let count = Arc::new(AtomicUsize::new(0));
        server(move |mut stream| {
            let count = Arc::clone(&count);
            async move {
                let mut piece = [0; 2048];
                let read = stream.read(&mut piece).await.unwrap();
                let head = String::from_utf8_lossy(&piece[..read]).into_owned();
                let believed = !field.is_empty() && head.contains(field);
                let spent = count.fetch_add(1, Ordering::Relaxed) >= 10;
                let status = if spent && !believed {
                    "429 No"
                } else {
                    "200 OK"
                };
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_limit_that_believes_a_field_is_dodged() {
        let request = Request::new("GET", "/");
        for (field, dodged) in [
            ("", false),
            ("True-Client-IP", true),
            ("Forwarded: for=", true),
        ] {
            let target = limited(field).await;
            let pressed = dodge(None, &request, &target).await.unwrap();
            let through = matches!(pressed.verdict, Verdict::Through(_));
            assert_eq!(through, dodged, "{field}: {pressed:?}");
        }
        let open = server(|mut stream| async move {
            let mut piece = [0; 2048];
            let _read = stream.read(&mut piece).await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        })
        .await;
        assert!(dodge(None, &request, &open).await.is_none());
    }
}
