//! Sends bytes as they are and reads the answer. An HTTP client would mend the very things that an
//! attack consists of.
//!
//! Deliberately not here: keep-alive, redirects, HTTP/2. One attack, one connection.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::Source;

/// How long a connection may take to open.
pub(super) const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take in all.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a second answer is waited for, where one would be a finding.
const SECOND: Duration = Duration::from_millis(150);
/// The longest head of an answer.
const HEAD: usize = 64 << 10;
/// As much of a body as is looked at.
const BODY: usize = 1 << 20;
/// The most bytes that are read of one connection.
const TOTAL: usize = 16 << 20;

/// Where attacks go.
#[derive(Clone)]
pub struct Target {
    /// `http://127.0.0.1:8080`, without a path.
    pub base: String,
    /// The `Host` field.
    pub host: String,
    /// Where to connect.
    pub address: SocketAddr,
    /// TLS with this configuration, to this name.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// Where from.
    pub source: Source,
}

#[cfg(test)]
impl Target {
    /// A server of a test's.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self {
            base: format!("http://{address}"),
            host: address.to_string(),
            address,
            tls: None,
            source: Source::Own,
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("base", &self.base)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// The final status; `None` where none came.
    pub status: Option<u16>,
    /// Header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as much of it as is looked at.
    pub body: Vec<u8>,
    /// Another answer followed which nobody asked for: the peer read two requests where one was
    /// sent.
    pub second: bool,
    /// Why there is no status.
    pub failure: Option<Failure>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// Nothing listens there.
    Unreachable,
    /// The connection ended without an answer.
    Closed,
    /// It stayed open without an answer.
    Silent,
    /// What came was not HTTP.
    Garbled,
}

impl Answer {
    /// The value of the first field of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.as_str())
    }

    fn failed(failure: Failure) -> Self {
        Self {
            failure: Some(failure),
            ..Self::default()
        }
    }
}

/// Whether a further answer on the connection is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Watch {
    /// The first answer is all.
    First,
    /// A second one would be a finding.
    Second,
}

/// Sends `bytes` on a connection of their own.
pub(super) async fn send(target: &Target, bytes: &[u8], watch: Watch) -> Answer {
    match connect(target).await {
        Some(stream) => exchange(stream, bytes, watch).await,
        None => Answer::failed(Failure::Unreachable),
    }
}

/// A connection, with TLS where the target speaks it.
pub(super) async fn connect(target: &Target) -> Option<Box<dyn Io>> {
    let connecting = target.socket().ok()?.connect(target.address);
    let stream = timeout(CONNECT, connecting).await.ok()?.ok()?;
    // Without it the last small write of an attack waits for an acknowledgement.
    stream.set_nodelay(true).ok()?;
    let Some((config, name)) = &target.tls else {
        return Some(Box::new(stream));
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let handshake = connector.connect(name.clone(), stream);
    let stream = timeout(CONNECT, handshake).await.ok()?.ok()?;
    Some(Box::new(stream))
}

/// What is written to and read from.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

async fn exchange(stream: impl AsyncRead + AsyncWrite, bytes: &[u8], watch: Watch) -> Answer {
    let (reader, mut writer) = tokio::io::split(stream);
    // A peer that refuses early closes while we still write: the answer counts, not the write.
    let write = async {
        drop(writer.write_all(bytes).await);
        drop(writer.flush().await);
        std::future::pending::<Answer>().await
    };
    let mut input = Input {
        reader,
        buffer: BytesMut::new(),
        ended: false,
        total: 0,
    };
    let read = async {
        let mut answer = input.answer(bytes.starts_with(b"HEAD ")).await;
        if watch == Watch::Second && answer.status.is_some() {
            let second = timeout(SECOND, input.starts_http()).await;
            answer.second = second.unwrap_or_default();
        }
        answer
    };
    let either = async {
        tokio::select! { answer = read => answer, answer = write => answer }
    };
    timeout(ANSWER, either)
        .await
        .unwrap_or_else(|_| Answer::failed(Failure::Silent))
}

struct Input<R> {
    reader: R,
    buffer: BytesMut,
    ended: bool,
    total: usize,
}

/// A head that could be read: status and fields.
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

impl<R: AsyncRead + Unpin> Input<R> {
    /// The final answer: interim ones (1xx) are passed over.
    async fn answer(&mut self, head_only: bool) -> Answer {
        const INTERIM: usize = 8;
        for _ in 0..INTERIM {
            let head = match self.head().await {
                Ok(head) => head,
                Err(failure) => return Answer::failed(failure),
            };
            if (100..200).contains(&head.status) && head.status != 101 {
                continue;
            }
            let mut answer = Answer {
                status: Some(head.status),
                headers: head.headers,
                ..Answer::default()
            };
            if !head_only && !matches!(head.status, 101 | 204 | 304) {
                answer.body = self.body(&answer).await;
            }
            return answer;
        }
        Answer::failed(Failure::Garbled)
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        let mut seen = 0;
        loop {
            // Goes on where the last look ended, less the length of what is looked for.
            let from = usize::saturating_sub(seen, 3);
            let unseen = self.buffer.get(from..).unwrap_or_default();
            if let Some(at) = unseen.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = self.buffer.split_to(from + at + 4);
                return parse_head(&head).ok_or(Failure::Garbled);
            }
            seen = self.buffer.len();
            if seen > HEAD {
                return Err(Failure::Garbled);
            }
            if !self.fill().await {
                return Err(if seen == 0 {
                    Failure::Closed
                } else {
                    Failure::Garbled
                });
            }
        }
    }

    async fn body(&mut self, answer: &Answer) -> Vec<u8> {
        let chunked = answer
            .header("transfer-encoding")
            .is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
        let length = answer
            .header("content-length")
            .and_then(|text| text.parse().ok());
        if chunked {
            return self.chunked().await;
        }
        let length = length.unwrap_or(usize::MAX).min(BODY);
        while self.buffer.len() < length && self.fill().await {}
        self.buffer.split_to(length.min(self.buffer.len())).to_vec()
    }

    async fn chunked(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < BODY {
            let Some(line) = self.line().await else { break };
            let digits = line.split(';').next().unwrap_or_default().trim();
            let Ok(size) = usize::from_str_radix(digits, 16) else {
                break;
            };
            if size == 0 {
                // Trailers, up to the empty line.
                while self.line().await.is_some_and(|line| !line.is_empty()) {}
                break;
            }
            while self.buffer.len() < size.saturating_add(2) && self.fill().await {}
            let data = self.buffer.split_to(size.min(self.buffer.len()));
            body.extend_from_slice(&data);
            let _ending = self.buffer.split_to(2.min(self.buffer.len()));
        }
        body
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(at + 1);
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > HEAD || !self.fill().await {
                return None;
            }
        }
    }

    async fn starts_http(&mut self) -> bool {
        while self.buffer.len() < 5 && self.fill().await {}
        self.buffer.starts_with(b"HTTP/")
    }

    /// Reads some more; `false` at the end, an error, or the bound.
    async fn fill(&mut self) -> bool {
        if self.ended || self.total > TOTAL {
            return false;
        }
        match self.reader.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => {
                self.ended = true;
                false
            }
            Ok(read) => {
                self.total += read;
                true
            }
        }
    }
}

fn parse_head(head: &[u8]) -> Option<Head> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let rest = lines.next()?.strip_prefix("HTTP/1.")?;
    let status = rest.get(2..5)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Head { status, headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one connection with `reply`, then keeps it open or not.
    async fn answer_of(reply: &'static [u8], keep: Duration, watch: Watch) -> Answer {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 256];
            let _read = stream.read(&mut request).await.unwrap();
            stream.write_all(reply).await.unwrap();
            tokio::time::sleep(keep).await;
        });
        let target = Target::plain(address);
        let answer = send(&target, b"GET / HTTP/1.1\r\n\r\n", watch).await;
        server.abort();
        answer
    }

    const NOW: Duration = Duration::ZERO;
    const LATER: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn every_framing_of_an_answer_is_read() {
        let answer = answer_of(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nhi",
            LATER,
            Watch::First,
        )
        .await;
        assert_eq!(
            (answer.status, answer.body.as_slice(), answer.header("x-a")),
            (Some(200), &b"hi"[..], Some("b"))
        );
        let answer = answer_of(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1;a=b\r\n!\r\n0\r\n\r\n", LATER, Watch::First).await;
        assert_eq!(answer.body, b"hi!");
        let answer = answer_of(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n\r\nuntil close",
            NOW,
            Watch::First,
        )
        .await;
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (Some(404), &b"until close"[..])
        );
        let answer = answer_of(b"HTTP/1.1 204 No Content\r\n\r\n", LATER, Watch::First).await;
        assert_eq!(answer.status, Some(204));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_asked_for_is_seen() {
        const TWO: &[u8] = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
        assert!(answer_of(TWO, LATER, Watch::Second).await.second);
        let one = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
        assert!(!answer_of(one, LATER, Watch::Second).await.second);
    }

    #[tokio::test]
    async fn what_is_not_an_answer_is_told_apart() {
        assert_eq!(
            answer_of(b"", NOW, Watch::First).await.failure,
            Some(Failure::Closed)
        );
        assert_eq!(
            answer_of(b"SSH-2.0\r\n\r\n", NOW, Watch::First)
                .await
                .failure,
            Some(Failure::Garbled)
        );
        assert_eq!(
            answer_of(b"HTTP/1.1 200", NOW, Watch::First).await.failure,
            Some(Failure::Garbled)
        );
    }
}
