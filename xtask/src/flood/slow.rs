//! Slow connections: each sends a byte now and then and never finishes its request's head, the way
//! of Slowloris.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use super::End;

/// How long the configuration gives a head.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(4);
/// How much later the last connection may be closed.
const GRACE: Duration = Duration::from_secs(6);
/// How many connections.
const COUNT: u32 = 2_000;
/// What each of them spells, a byte at a time.
const HEAD: &[u8] =
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Opens them all, feeds each a byte every 200 ms, and waits until the server has closed them.
pub(super) fn connections(address: SocketAddr) -> Result<End> {
    let mut open = Vec::new();
    for number in 0..COUNT {
        let stream = TcpStream::connect_timeout(&address, GRACE)
            .with_context(|| format!("connection {number} (is `ulimit -n` above 4,200?)"))?;
        stream.set_nonblocking(true)?;
        open.push(stream);
    }
    let began = Instant::now();
    let mut bytes = HEAD.iter();
    while !open.is_empty() && began.elapsed() < HEAD_TIME + GRACE {
        let byte = bytes.next().copied().unwrap_or(b'a');
        open.retain_mut(|stream| is_open(stream, byte));
        std::thread::sleep(Duration::from_millis(200));
    }
    if open.is_empty() {
        Ok(End::Closed(COUNT))
    } else {
        Ok(End::Taken(COUNT))
    }
}

/// Sends a byte, and says whether the server still holds the connection.
fn is_open(stream: &mut TcpStream, byte: u8) -> bool {
    let waits = |error: &std::io::Error| error.kind() == ErrorKind::WouldBlock;
    if stream.write(&[byte]).is_err_and(|error| !waits(&error)) {
        return false;
    }
    // An answer (408) is followed by the end, which may come a moment later.
    let mut answer = [0; 1024];
    loop {
        match stream.read(&mut answer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return waits(&error),
        }
    }
}
