//! The chunked transfer coding (RFC 9112, section 7.1), decoded byte by byte, so that no input,
//! however cut, costs more than its length.
//!
//! Chunk extensions of tokens are read and dropped, within the bound on overhead; quoted ones are
//! refused. Trailers are validated, bounded and dropped: merged into the fields they could change
//! what was already decided.

use super::{HeadBounds, Refused, fields::is_token};
use bytes::BytesMut;
use fortress_model::Reason;

/// Bytes of chunk lines that are always taken.
const OVERHEAD_GRACE: u64 = 16 << 10;
/// Bytes of chunk lines for each byte of data: chunks of a single byte need five.
const OVERHEAD_RATIO: u64 = 8;
/// Sixteen hexadecimal digits are all that fit 64 bits.
const SIZE_DIGITS: u8 = 16;

/// Decodes one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of data that were announced, decoded or still to come.
    total: u64,
    /// Bytes of chunk lines.
    overhead: u64,
    trailer: Trailer,
    /// The reasons of a request's body are of the client, those of a response's of the upstream.
    of_response: bool,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Bytes of the input that belong to the body and were taken.
    pub consumed: usize,
    /// The body has ended; what was not consumed belongs to the next message.
    pub done: bool,
}

#[derive(Clone, Copy, Debug)]
struct Trailer {
    bytes_left: usize,
    fields_left: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Size { digits: u8, value: u64 },
    ExtensionName { empty: bool, size: u64 },
    ExtensionValue { empty: bool, size: u64 },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl ChunkedDecoder {
    /// For a request's body; `bounds.head` and `bounds.headers` hold for its trailers.
    pub fn for_request(bounds: &HeadBounds) -> Self {
        Self {
            state: SIZE,
            total: 0,
            overhead: 0,
            trailer: Trailer {
                bytes_left: bounds.head,
                fields_left: bounds.headers,
            },
            of_response: false,
        }
    }

    /// For an upstream's response: every refusal is [`Reason::UpstreamBroken`].
    pub fn for_response(bounds: &HeadBounds) -> Self {
        Self {
            of_response: true,
            ..Self::for_request(bounds)
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Appends the data in `input` to `out`. `max` bounds the data of the whole body in bytes, and
    /// holds as soon as a chunk announces its size. All of `input` is consumed until the body ends.
    ///
    /// # Errors
    /// [`Reason::FramingInvalid`] for anything but strict chunks, and for chunk lines out of all
    /// proportion to the data; [`Reason::BodyTooLarge`]; [`Reason::HeadTooLarge`] for the trailers.
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut BytesMut,
        max: usize,
    ) -> Result<Progress, Refused> {
        self.run(input, out, max).map_err(|refused| {
            if self.of_response {
                refused.by_upstream()
            } else {
                refused
            }
        })
    }

    fn run(&mut self, input: &[u8], out: &mut BytesMut, max: usize) -> Result<Progress, Refused> {
        let mut rest = input;
        loop {
            match self.state {
                State::Done => break,
                State::Data { left } => {
                    rest = self.take_data(left, rest, out);
                    if rest.is_empty() {
                        break;
                    }
                    continue;
                }
                State::Size { digits: 0, .. } => {
                    if let Some((size, after)) = whole_size_line(rest) {
                        let used = rest.len().saturating_sub(after.len());
                        self.weigh(u64::try_from(used).unwrap_or(u64::MAX))?;
                        self.state = self.announce(size, max)?;
                        rest = after;
                        continue;
                    }
                }
                State::DataCr => {
                    if let Some(after) = rest.strip_prefix(b"\r\n") {
                        self.state = SIZE;
                        rest = after;
                        continue;
                    }
                }
                State::Size { .. }
                | State::ExtensionName { .. }
                | State::ExtensionValue { .. }
                | State::SizeLf { .. }
                | State::DataLf
                | State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf => {}
            }
            let Some((byte, after)) = rest.split_first() else {
                break;
            };
            self.state = self.step(*byte, max)?;
            rest = after;
        }
        Ok(Progress {
            consumed: input.len().saturating_sub(rest.len()),
            done: self.state == State::Done,
        })
    }

    /// Appends what there is of a chunk's data, and returns what follows.
    fn take_data<'a>(&mut self, left: u64, input: &'a [u8], out: &mut BytesMut) -> &'a [u8] {
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at_checked(take).unwrap_or((input, b""));
        out.extend_from_slice(data);
        let left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.state = if left == 0 {
            State::DataCr
        } else {
            State::Data { left }
        };
        rest
    }

    /// Counts bytes of chunk lines against the data so far.
    fn weigh(&mut self, bytes: u64) -> Result<(), Refused> {
        self.overhead = self.overhead.saturating_add(bytes);
        let allowed = self
            .total
            .saturating_mul(OVERHEAD_RATIO)
            .saturating_add(OVERHEAD_GRACE);
        if self.overhead > allowed {
            return Err(invalid("the chunk lines outweigh the data"));
        }
        Ok(())
    }

    fn step(&mut self, byte: u8, max: usize) -> Result<State, Refused> {
        match self.state {
            State::Size { .. }
            | State::ExtensionName { .. }
            | State::ExtensionValue { .. }
            | State::SizeLf { .. } => self.chunk_line(byte, max),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(SIZE),
            State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf => self.trailer_line(byte),
            State::DataCr | State::DataLf | State::Data { .. } | State::Done => {
                Err(invalid("a chunk's data does not end with CRLF"))
            }
        }
    }

    fn chunk_line(&mut self, byte: u8, max: usize) -> Result<State, Refused> {
        self.weigh(1)?;
        match (self.state, byte) {
            (State::Size { digits, value }, byte) if byte.is_ascii_hexdigit() => {
                if digits >= SIZE_DIGITS {
                    return Err(invalid("a chunk size has more than 16 digits"));
                }
                Ok(State::Size {
                    digits: digits.saturating_add(1),
                    value: (value << 4) | u64::from(hex_value(byte).unwrap_or_default()),
                })
            }
            (State::Size { digits: 1.., value }, b'\r') => Ok(State::SizeLf { size: value }),
            (State::Size { digits: 1.., value }, b';') => Ok(State::ExtensionName {
                empty: true,
                size: value,
            }),
            (State::ExtensionName { size, .. }, byte) if is_token(byte) => {
                Ok(State::ExtensionName { empty: false, size })
            }
            (State::ExtensionValue { size, .. }, byte) if is_token(byte) => {
                Ok(State::ExtensionValue { empty: false, size })
            }
            (State::ExtensionName { empty: false, size }, b'=') => {
                Ok(State::ExtensionValue { empty: true, size })
            }
            (
                State::ExtensionName { empty: false, size }
                | State::ExtensionValue { empty: false, size },
                b';',
            ) => Ok(State::ExtensionName { empty: true, size }),
            (
                State::ExtensionName { empty: false, size }
                | State::ExtensionValue { empty: false, size },
                b'\r',
            ) => Ok(State::SizeLf { size }),
            (State::SizeLf { size }, b'\n') => self.announce(size, max),
            _ => Err(invalid("a chunk line is malformed")),
        }
    }

    /// What follows a chunk line: data, or the trailers after the last chunk.
    fn announce(&mut self, size: u64, max: usize) -> Result<State, Refused> {
        if size == 0 {
            return Ok(State::TrailerStart);
        }
        let total = self.total.checked_add(size);
        match total {
            Some(total) if total <= u64::try_from(max).unwrap_or(u64::MAX) => {
                self.total = total;
                Ok(State::Data { left: size })
            }
            Some(_) | None => Err(Refused::new(
                Reason::BodyTooLarge,
                format!("the chunks announce more than {max} bytes"),
            )),
        }
    }

    fn trailer_line(&mut self, byte: u8) -> Result<State, Refused> {
        self.trailer.bytes_left = self
            .trailer
            .bytes_left
            .checked_sub(1)
            .ok_or_else(trailers_too_large)?;
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerStart, byte) if is_token(byte) => {
                self.trailer.fields_left = self
                    .trailer
                    .fields_left
                    .checked_sub(1)
                    .ok_or_else(trailers_too_large)?;
                Ok(State::TrailerName)
            }
            (State::TrailerName, byte) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, byte) if byte == b'\t' || (byte >= b' ' && byte != 0x7f) => {
                Ok(State::TrailerValue)
            }
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(invalid("a trailer is malformed")),
        }
    }
}

const SIZE: State = State::Size {
    digits: 0,
    value: 0,
};

/// The size of a chunk line that is there whole and has no extension, and what follows it. Anything
/// else goes byte by byte.
fn whole_size_line(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut size = 0_u64;
    // Eight digits cannot overflow, and are more than a body has.
    for (at, byte) in input.iter().take(9).enumerate() {
        match hex_value(*byte) {
            Some(digit) => size = (size << 4) | u64::from(digit),
            None if at == 0 => return None,
            None => {
                let rest = input.get(at..)?.strip_prefix(b"\r\n")?;
                return Some((size, rest));
            }
        }
    }
    None
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

fn invalid(detail: &'static str) -> Refused {
    Refused::new(Reason::FramingInvalid, detail)
}

fn trailers_too_large() -> Refused {
    Refused::new(
        Reason::HeadTooLarge,
        "the trailers are larger than a head may be",
    )
}
