//! Just enough of HTTP/2 to misuse it: frames are written by hand, because a proper client refuses
//! to send what a flood needs (RFC 9113, sections 4 and 6).

/// What a client says first (RFC 9113, section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kind of a frame (RFC 9113, section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    Ping,
    GoAway,
    Continuation,
    /// Any other; floods send none, and a server may.
    Other(u8),
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::ResetStream => 3,
            Self::Settings => 4,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::Continuation => 9,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        [
            Self::Data,
            Self::Headers,
            Self::Priority,
            Self::ResetStream,
            Self::Settings,
            Self::Ping,
            Self::GoAway,
            Self::Continuation,
        ]
        .into_iter()
        .find(|kind| kind.code() == code)
        .unwrap_or(Self::Other(code))
    }
}

/// The flag of the last DATA or HEADERS frame of a stream.
pub(super) const END_STREAM: u8 = 0x1;
/// The flag of the last frame of a header block.
pub(super) const END_HEADERS: u8 = 0x4;
/// The flag of a SETTINGS or PING frame that answers another.
pub(super) const ACK: u8 = 0x1;

/// Appends a frame. Payloads longer than a frame's 24-bit length are cut: no flood sends one.
pub(super) fn write(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .min(0x00FF_FFFF);
    let [_, high, middle, low] = length.to_be_bytes();
    out.extend([high, middle, low, kind.code(), flags]);
    out.extend(stream.to_be_bytes());
    out.extend(
        payload
            .iter()
            .take(usize::try_from(length).unwrap_or_default()),
    );
}

/// The header block of `GET / HTTP/2` (RFC 7541: three indexed fields and one literal).
pub(super) fn get_block() -> Vec<u8> {
    // :method GET, :path /, :scheme http; then :authority, literal without Huffman coding.
    let mut block = vec![0x82, 0x84, 0x86, 0x01, 9];
    block.extend(b"localhost");
    block
}

/// A literal field that is not remembered: `x-N: aaaa…` with a value of 100 bytes.
pub(super) fn padding_field(number: u32) -> Vec<u8> {
    let name = format!("x-{:06}", number % 1_000_000);
    let mut field = vec![0x00, 8];
    field.extend(name.bytes());
    field.push(100);
    field.extend([b'a'; 100]);
    field
}

/// A frame that the server sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) flags: u8,
}

/// Takes the whole frames from the front of `received`.
pub(super) fn take(received: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut taken = 0;
    while let Some([high, middle, low, code, flags, ..]) = received.get(taken..taken + 9) {
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        let end = taken + 9 + usize::try_from(length).unwrap_or(usize::MAX - 1_000_000);
        if end > received.len() {
            break;
        }
        frames.push(Frame {
            kind: Kind::from_code(*code),
            flags: *flags,
        });
        taken = end;
    }
    received.drain(..taken);
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_and_taken() {
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Ping, 0, 0, &[7; 8]);
        assert_eq!(bytes, [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat());
        write(&mut bytes, Kind::Headers, END_HEADERS, 3, &get_block());
        let whole = bytes.len();
        write(&mut bytes, Kind::Data, END_STREAM, 3, &[0; 300]);
        bytes.truncate(whole + 20);
        let frames = take(&mut bytes);
        assert_eq!(
            frames,
            [
                Frame {
                    kind: Kind::Ping,
                    flags: 0
                },
                Frame {
                    kind: Kind::Headers,
                    flags: END_HEADERS
                }
            ]
        );
        assert_eq!(bytes.len(), 20);
        assert_eq!(take(&mut Vec::new()), []);
    }

    #[test]
    fn kinds_keep_their_codes() {
        for code in 0..=255 {
            assert_eq!(Kind::from_code(code).code(), code);
        }
    }
}
