//! The server behind the gateway: `fortress_waf::ftw::backend` on a port of this machine.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use fortress_waf::ftw::{backend::Backend, front};

/// Bytes of a request.
const MAX_REQUEST: u64 = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs as long as the program.
pub(super) struct Upstream(SocketAddr);

impl Upstream {
    /// On a free port.
    pub(super) fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let backend = Arc::new(Mutex::new(Backend::default()));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let backend = Arc::clone(&backend);
                // A client that breaks off has its answer: none.
                thread::spawn(move || drop(serve(stream, &backend)));
            }
        });
        Ok(Self(address))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0
    }
}

/// One request, and the connection ends.
fn serve(mut stream: TcpStream, backend: &Mutex<Backend>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let bytes = read(&mut stream)?;
    if bytes.is_empty() {
        return Ok(());
    }
    let Ok(request) = front::read(&bytes) else {
        return stream
            .write_all(b"HTTP/1.1 400 \r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = backend.answer(&request.method, &request.target, &request.body);
    drop(backend);
    let mut head = format!("HTTP/1.1 {} \r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method != b"HEAD" {
        stream.write_all(&answer.body)?;
    }
    stream.flush()
}

/// A whole request.
fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut reading = stream.take(MAX_REQUEST);
    let mut piece = [0; 16 << 10];
    while !is_whole(&bytes) {
        let length = reading.read(&mut piece)?;
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    Ok(bytes)
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = super::find(bytes, b"\r\n\r\n") else {
        return false;
    };
    let (head, body) = bytes.split_at_checked(end + 4).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(name, _)| *name == wanted)
            .map(|(_, value)| value.trim().to_owned())
    };
    if field("transfer-encoding").is_some() {
        return body.ends_with(b"0\r\n\r\n");
    }
    let length = field("content-length").and_then(|length| length.parse().ok());
    body.len() >= length.unwrap_or(0)
}
