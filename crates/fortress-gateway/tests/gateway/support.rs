//! A gateway, an upstream that remembers what it got, and tokens.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use fortress_auth::{
    Algorithm,
    sign::{SigningKey, key_set},
};
use fortress_gateway::{KeyRing, Server, compile};
use fortress_model::{Clock, Diagnostic, Severity, SystemClock, config};

/// An API that takes anything at `/a`, from anyone.
pub(crate) const DESCRIPTION: &str = r#"
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
"#;

/// An upstream that answers every request as it is told, and remembers it.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Mutex<Vec<u8>>>,
}

/// A request as the upstream got it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

impl Upstream {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(EMPTY.to_vec()));
        let (requests, reply) = (Arc::clone(&seen), Arc::clone(&answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (requests, reply) = (Arc::clone(&requests), Arc::clone(&reply));
                thread::spawn(move || while exchange(&stream, &requests, &reply).is_some() {});
            }
        });
        Self {
            address,
            seen,
            answer,
        }
    }

    /// Answers with these bytes from now on.
    pub(crate) fn answers(&self, bytes: &[u8]) {
        *self.answer.lock().unwrap() = bytes.to_vec();
    }

    /// What came since the last call.
    pub(crate) fn received(&self) -> Vec<Received> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn exchange(
    mut stream: &TcpStream,
    seen: &Mutex<Vec<Received>>,
    answer: &Mutex<Vec<u8>>,
) -> Option<()> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_some(stream, &mut bytes)?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut received = Received {
        head,
        body: Vec::new(),
    };
    let length: usize = received
        .header("content-length")
        .map_or(0, |length| length.parse().unwrap());
    assert!(
        received.header("transfer-encoding").is_none(),
        "the gateway sends held bodies with a length"
    );
    while bytes.len() < end + length {
        read_some(stream, &mut bytes)?;
    }
    received.body = bytes[end..].to_vec();
    assert_eq!(
        received.body.len(),
        length,
        "bytes that belong to no request"
    );
    seen.lock().unwrap().push(received);
    let reply = answer.lock().unwrap().clone();
    stream.write_all(&reply).ok()
}

fn read_some(mut stream: &TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 64 << 10];
    match stream.read(&mut piece) {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            bytes.extend_from_slice(&piece[..read]);
            Some(())
        }
    }
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A gateway with its files.
pub(crate) struct Gateway {
    pub(crate) directory: tempfile::TempDir,
    server: Option<Server>,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Gateway {
    /// Starts a gateway from files: `fortress.yaml`, and whatever it names.
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        Self::start_with(files, |_| {})
    }

    /// As [`Self::start`], with something in the configuration that no file may say.
    pub(crate) fn start_with(files: &[(&str, &str)], change: impl Fn(&mut config::Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        std::fs::write(directory.path().join("jwks.json"), Tokens::shared().jwks()).unwrap();
        let (config, mut sources, diagnostics) =
            config::load(&directory.path().join("fortress.yaml"), &environment);
        let mut config = config.unwrap_or_else(|| panic!("{}", render(&diagnostics, &sources)));
        change(&mut config);
        let keys = KeyRing::default();
        let compiled = compile(&config, &mut sources, &keys, 1);
        let gateway = compiled
            .gateway
            .unwrap_or_else(|| panic!("{}", render(&compiled.diagnostics, &sources)));
        let server = Server::start(gateway, &config, keys, 1).unwrap();
        let addresses = server
            .listening()
            .iter()
            .map(|listening| listening.address)
            .collect();
        Self {
            directory,
            server: Some(server),
            addresses,
        }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Reads the configuration again and puts it in force.
    pub(crate) fn reload(&self) -> u64 {
        let path = self.directory.path().join("fortress.yaml");
        let (config, mut sources, _) = config::load(&path, &environment);
        let compiled = self.server().compile(&config.unwrap(), &mut sources);
        self.server().apply(compiled.gateway.unwrap()).unwrap()
    }

    /// Begins to stop it.
    pub(crate) fn stop(&mut self) -> thread::JoinHandle<()> {
        let server = self.server.take().unwrap();
        thread::spawn(move || server.stop())
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.directory.path().join("journal.ndjson")
    }

    /// The journal's event for a request, as soon as it is there.
    pub(crate) fn event(&self, request_id: &str) -> serde_json::Value {
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if let Some(line) = lines(&self.journal())
                .into_iter()
                .find(|line| line.contains(request_id))
            {
                return serde_json::from_str(&line).unwrap();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!(
            "no event for {request_id} in {}",
            std::fs::read_to_string(self.journal()).unwrap_or_default()
        );
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// What `env:NAME` means in these tests.
fn environment(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("gw-secret".into()),
        "SHARED_KEY" => Some(SHARED_KEY.into()),
        "COOKIE_KEY" => Some(COOKIE_KEY.into()),
        "NEW_COOKIE_KEY" => Some("Y2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2M=".into()),
        _ => None,
    }
}

/// A key for HMAC.
pub(crate) const SHARED_KEY: &str = "a key that only the tests share, of 40 b";

/// A key for the cookies of sessions.
pub(crate) const COOKIE_KEY: &str = "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=";

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn render(diagnostics: &[Diagnostic], sources: &fortress_model::Sources) -> String {
    diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .map(|diagnostic| {
            let place = diagnostic.span.and_then(|span| sources.position(span));
            format!(
                "{place:?}: {} ({:?})\n",
                diagnostic.message, diagnostic.help
            )
        })
        .collect()
}

/// A response as it came over the wire.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Received {
            head: self.head.clone(),
            body: Vec::new(),
        }
        .header(name)?;
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn code(&self) -> Option<String> {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(problem.get("code")?.as_str()?.to_owned())
    }
}

/// Sends bytes on a connection of their own and reads everything that comes back.
pub(crate) fn send(address: SocketAddr, bytes: &[u8]) -> Vec<Response> {
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(8)))
        .unwrap();
    let mut sender = stream.try_clone().unwrap();
    let head = bytes.starts_with(b"HEAD ");
    let bytes = bytes.to_vec();
    let writer = thread::spawn(move || sender.write_all(&bytes).is_ok());
    let mut received = Vec::new();
    let mut responses = Vec::new();
    // A connection that stays open after the last whole response is in step, and is closed here.
    loop {
        match read_some(&stream, &mut received) {
            None => break,
            Some(()) => {
                while let Some(response) = take_response(&mut received, head) {
                    responses.push(response);
                }
                if received.is_empty() && !responses.is_empty() {
                    stream
                        .set_read_timeout(Some(Duration::from_millis(40)))
                        .unwrap();
                }
            }
        }
    }
    assert!(
        received.is_empty(),
        "bytes that are no response: {:?}",
        String::from_utf8_lossy(&received)
    );
    drop(writer.join());
    responses
}

fn take_response(bytes: &mut Vec<u8>, to_head: bool) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(head.starts_with("HTTP/1.1 "), "no response: {head}");
    let status: u16 = head.get(9..12).unwrap().parse().unwrap();
    let received = Received {
        head: head.clone(),
        body: Vec::new(),
    };
    if status == 100 {
        bytes.drain(..end);
        return take_response(bytes, to_head);
    }
    let body = if received.header("transfer-encoding") == Some("chunked") {
        let (body, used) = unchunk(&bytes[end..])?;
        bytes.drain(..end + used);
        body
    } else {
        let announced = received.header("content-length").filter(|_| !to_head);
        let length: usize = announced.map_or(0, |length| length.parse().unwrap());
        let body = bytes.get(end..end + length)?.to_vec();
        bytes.drain(..end + length);
        body
    };
    Some(Response { status, head, body })
}

fn unchunk(mut bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let whole = bytes.len();
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        bytes = &bytes[line + 2..];
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
        if size == 0 {
            return Some((body, whole - bytes.len()));
        }
    }
}

/// Makes tokens that the gateways of these tests accept, and some that they do not.
pub(crate) struct Tokens {
    key: SigningKey,
    stranger: SigningKey,
}

impl Tokens {
    pub(crate) fn shared() -> &'static Self {
        static TOKENS: std::sync::LazyLock<Tokens> = std::sync::LazyLock::new(|| Tokens {
            key: SigningKey::generate(Algorithm::Es256, "test").unwrap(),
            stranger: SigningKey::generate(Algorithm::Es256, "test").unwrap(),
        });
        &TOKENS
    }

    pub(crate) fn jwks(&self) -> String {
        key_set(&[&self.key])
    }

    /// `alice scope=a,b roles=a,b expires=-60 aud=… iss=… typ=… key=stranger acr=… auth=-60`; the rest is
    /// `alice`'s.
    pub(crate) fn make(&self, wish: &str) -> String {
        let now = SystemClock.now().seconds();
        let (mut subject, mut scope, mut expires) = ("alice", String::new(), 600_i64);
        let (mut audience, mut issuer, mut key, mut token_type) =
            ("test", "https://idp.test", &self.key, "JWT");
        let mut more = String::new();
        for word in wish.split_whitespace() {
            match word.split_once('=') {
                None => subject = word,
                Some(("scope", list)) => scope = list.replace(',', " "),
                Some(("expires", seconds)) => expires = seconds.parse().unwrap(),
                Some(("aud", value)) => audience = value,
                Some(("iss", value)) => issuer = value,
                Some(("typ", value)) => token_type = value,
                Some(("key", "stranger")) => key = &self.stranger,
                Some(("roles", list)) => {
                    let roles: Vec<_> = list.split(',').map(|role| format!("\"{role}\"")).collect();
                    more.push_str(&format!(",\"roles\":[{}]", roles.join(",")));
                }
                Some(("jkt", value)) => {
                    more.push_str(&format!(",\"cnf\":{{\"jkt\":\"{value}\"}}"));
                }
                Some(("acr", value)) => more.push_str(&format!(",\"acr\":\"{value}\"")),
                Some(("auth", seconds)) => {
                    let at = i64::try_from(now).unwrap() + seconds.parse::<i64>().unwrap();
                    more.push_str(&format!(",\"auth_time\":{at}"));
                }
                Some(other) => panic!("unknown wish {other:?}"),
            }
        }
        let expires = i64::try_from(now).unwrap() + expires;
        let claims = format!(
            r#"{{"iss":"{issuer}","aud":"{audience}","sub":"{subject}","exp":{expires},"iat":{},"scope":"{scope}"{more}}}"#,
            now - 3600,
        );
        key.sign_raw(key.header(token_type).as_bytes(), claims.as_bytes())
            .unwrap()
    }
}
