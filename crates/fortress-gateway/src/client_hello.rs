//! The ClientHello of a TLS connection, as far as it tells which program wrote it, and JA4, the
//! fingerprint of that (FoxIO's JA4: TLS client fingerprinting, without the rest of JA4+).
//!
//! It reads what a client sends before anything is known of it, so everything is bounded and nothing
//! is copied but numbers. Deliberately not here: TLS itself. What is no ClientHello to this reader may
//! be one to rustls, and has no fingerprint then; the handshake does not depend on it.

use std::fmt;

use aws_lc_rs::digest;
use smallvec::SmallVec;

/// Bytes of records within which a ClientHello must end. The largest with post-quantum key shares
/// and encrypted names are a quarter of it.
pub const LONGEST: usize = 16 << 10;

/// Ciphers, extensions and signature algorithms that are looked at, of each.
const MOST: usize = 256;

/// The bytes are no ClientHello.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotOne;

/// What was read of the records so far.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// All of it.
    Whole(Box<ClientHello>),
    /// It is not worth trying again before there are so many bytes.
    Needs(usize),
}

/// A fingerprint, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Ja4([u8; 36]);

impl Ja4 {
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ja4({})", self.as_str())
    }
}

/// What JA4 is made from. Reserved values that clients throw in to keep servers tolerant (GREASE, RFC
/// 8701) are left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClientHello {
    version: u16,
    ciphers: SmallVec<[u16; 32]>,
    extensions: SmallVec<[u16; 32]>,
    signatures: SmallVec<[u16; 16]>,
    /// The first protocol of ALPN.
    protocol: SmallVec<[u8; 16]>,
}

const SERVER_NAME: u16 = 0x0000;
const SIGNATURE_ALGORITHMS: u16 = 0x000D;
const ALPN: u16 = 0x0010;
const SUPPORTED_VERSIONS: u16 = 0x002B;

impl ClientHello {
    /// Reads the records that a connection begins with.
    ///
    /// # Errors
    /// They are no ClientHello, or one beyond [`LONGEST`].
    pub fn read(records: &[u8]) -> Result<Progress, NotOne> {
        let mut message: SmallVec<[u8; 2048]> = SmallVec::new();
        let mut rest = records;
        loop {
            if let Some(body) = body(&message)? {
                let hello = Self::of(body).ok_or(NotOne)?;
                return Ok(Progress::Whole(Box::new(hello)));
            }
            let consumed = records.len() - rest.len();
            if consumed > LONGEST {
                return Err(NotOne);
            }
            match rest {
                // Handshake, TLS 1.x; the record's own version says nothing more (RFC 8446, 5.1).
                [22, 3, _, high, low, after @ ..] => {
                    let length = usize::from(u16::from_be_bytes([*high, *low]));
                    if length == 0 || length > LONGEST {
                        return Err(NotOne);
                    }
                    // Part of a record may be all that is needed, but is not taken apart.
                    let Some((fragment, after)) = after.split_at_checked(length) else {
                        return Ok(Progress::Needs(consumed + 5 + length));
                    };
                    message.extend_from_slice(fragment);
                    rest = after;
                }
                [] | [22] | [22, 3] | [22, 3, _] | [22, 3, _, _] => {
                    return Ok(Progress::Needs(consumed + 5));
                }
                [..] => return Err(NotOne),
            }
        }
    }

    /// From the message's body (RFC 8446, section 4.1.2).
    fn of(body: &[u8]) -> Option<Self> {
        let mut input = Input(body);
        let mut hello = Self {
            version: input.number()?,
            ..Self::default()
        };
        input.take(32)?;
        input.short()?;
        let ciphers = input.long()?;
        hello.ciphers = numbers(ciphers)?;
        input.short()?;
        // TLS 1.2 may end here.
        if input.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = Input(input.long()?);
        if !input.0.is_empty() {
            return None;
        }
        while !extensions.0.is_empty() {
            let kind = extensions.number()?;
            let mut value = Input(extensions.long()?);
            if is_grease(kind) {
                continue;
            }
            if hello.extensions.len() >= MOST {
                return None;
            }
            hello.extensions.push(kind);
            match kind {
                SIGNATURE_ALGORITHMS => hello.signatures = numbers(value.long()?)?,
                ALPN => {
                    let mut protocols = Input(value.long()?);
                    hello.protocol = protocols.short()?.into();
                }
                SUPPORTED_VERSIONS => {
                    let versions: SmallVec<[u16; 16]> = numbers(value.short()?)?;
                    hello.version = versions.into_iter().max().unwrap_or(hello.version);
                }
                _ => {}
            }
        }
        Some(hello)
    }

    /// The fingerprint of a client that came over TCP.
    pub fn ja4(&self) -> Ja4 {
        let version = match self.version {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            0x0002 => "s2",
            _ => "00",
        };
        let name = match self.extensions.contains(&SERVER_NAME) {
            true => 'd',
            false => 'i',
        };
        let ciphers = self.ciphers.len().min(99);
        let extensions = self.extensions.len().min(99);
        let (first, last) = ends(&self.protocol);
        let head = format!("t{version}{name}{ciphers:02}{extensions:02}{first}{last}");
        let mut sorted = self.ciphers.clone();
        sorted.sort_unstable();
        let ciphers = hashed(&listed(&sorted));
        let mut sorted: SmallVec<[u16; 32]> = self.extensions.clone();
        sorted.retain(|kind| *kind != SERVER_NAME && *kind != ALPN);
        sorted.sort_unstable();
        let mut text = listed(&sorted);
        if !self.signatures.is_empty() {
            text.push('_');
            text.push_str(&listed(&self.signatures));
        }
        let extensions = hashed(&text);
        let mut out = [b'0'; 36];
        let whole = format!("{head}_{ciphers}_{extensions}");
        for (place, byte) in out.iter_mut().zip(whole.bytes()) {
            *place = byte;
        }
        Ja4(out)
    }
}

/// The body of a ClientHello as soon as it is whole.
fn body(message: &[u8]) -> Result<Option<&[u8]>, NotOne> {
    let [kind, high, middle, low, rest @ ..] = message else {
        return match message.first() {
            None | Some(1) => Ok(None),
            Some(_) => Err(NotOne),
        };
    };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if *kind != 1 || length > LONGEST {
        return Err(NotOne);
    }
    Ok(rest.get(..length))
}

/// RFC 8701, section 2: `0A0A`, `1A1A` … `FAFA`.
fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0F == 0x0A
}

/// Numbers of two bytes each.
fn numbers<const N: usize>(bytes: &[u8]) -> Option<SmallVec<[u16; N]>>
where
    [u16; N]: smallvec::Array<Item = u16>,
{
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > MOST {
        return None;
    }
    let all = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
    Some(all.filter(|number| !is_grease(*number)).collect())
}

/// First and last character of a protocol's name; of its hexadecimal form if one of them is neither
/// letter nor digit.
fn ends(protocol: &[u8]) -> (char, char) {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else {
        return ('0', '0');
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return (char::from(*first), char::from(*last));
    }
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    (digit(first >> 4), digit(last & 0x0F))
}

fn listed(numbers: &[u16]) -> String {
    let numbers: Vec<String> = numbers
        .iter()
        .map(|number| format!("{number:04x}"))
        .collect();
    numbers.join(",")
}

/// The first twelve digits of SHA-256; of nothing, zeros.
fn hashed(text: &str) -> String {
    if text.is_empty() {
        return "000000000000".to_owned();
    }
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let bytes = hash.as_ref().iter().take(6);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that are taken from the front.
struct Input<'b>(&'b [u8]);

impl<'b> Input<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let (taken, rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*taken))
    }

    /// Bytes behind their length of one byte.
    fn short(&mut self) -> Option<&'b [u8]> {
        let (length, rest) = self.0.split_first()?;
        self.0 = rest;
        self.take(usize::from(*length))
    }

    /// Bytes behind their length of two bytes.
    fn long(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello in records of `piece` bytes.
    fn records(message: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for fragment in message.chunks(piece) {
            out.extend([22, 3, 1]);
            out.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
            out.extend(fragment);
        }
        out
    }

    fn long(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        [&length[..], bytes].concat()
    }

    fn pairs(numbers: &[u16]) -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    fn message(version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.extend([2, 1, 1]);
        body.extend(long(&pairs(ciphers)));
        body.extend([1, 0]);
        let extensions: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, value)| [kind.to_be_bytes().to_vec(), long(value)].concat())
            .collect();
        body.extend(long(&extensions));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    /// Chrome's, as FoxIO's description of JA4 takes it apart, with GREASE thrown in.
    fn chrome() -> Vec<u8> {
        let ciphers = [
            0x4A4A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8, 0xC013,
            0xC014, 0x009C, 0x009D, 0x002F, 0x0035,
        ];
        let algorithms = [
            0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
        ];
        let mut extensions: Vec<(u16, Vec<u8>)> = vec![
            (0x1A1A, vec![]),
            (0x001B, vec![1]),
            (0x0000, long(b"whatever")),
            (0x0033, vec![1, 2]),
            (0x0010, long(b"\x02h2\x08http/1.1")),
            (0x4469, vec![]),
            (0x0017, vec![]),
            (0x002D, vec![1, 1]),
            (0x000D, long(&pairs(&algorithms))),
            (0x0005, vec![1]),
            (0x0023, vec![]),
            (0x0012, vec![]),
            (0x002B, [vec![6], pairs(&[0xBABA, 0x0303, 0x0304])].concat()),
            (0xFF01, vec![0]),
            (0x000B, vec![1, 0]),
            (0x000A, vec![]),
            (0x0015, vec![0; 40]),
        ];
        extensions.push((0x8A8A, vec![0]));
        message(0x0303, &ciphers, &extensions)
    }

    #[track_caller]
    fn check(message: &[u8], expect: &str) {
        for piece in [1, 7, 100, 4_000] {
            let records = records(message, piece);
            let whole = ClientHello::read(&records);
            let Ok(Progress::Whole(hello)) = &whole else {
                panic!("{whole:?}");
            };
            assert_eq!(hello.ja4().as_str(), expect);
            for cut in 0..records.len() {
                let Ok(Progress::Needs(needs)) = ClientHello::read(&records[..cut]) else {
                    panic!("{piece} {cut}");
                };
                assert!(
                    needs > cut && needs <= records.len(),
                    "{piece} {cut} {needs}"
                );
            }
            let more = [&records[..], &[23, 3, 3, 0, 1, 9]].concat();
            assert_eq!(ClientHello::read(&more), whole);
        }
    }

    #[test]
    fn the_published_example() {
        check(&chrome(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    /// Python 3.11 with OpenSSL 3, as it came over the wire; FoxIO's table has the rest of it for Python.
    #[test]
    fn a_real_one() {
        let hello = ClientHello::read(include_bytes!("../../../fuzz/seeds/client_hello/python"));
        let Ok(Progress::Whole(hello)) = hello else {
            panic!("{hello:?}");
        };
        let ja4 = hello.ja4();
        assert_eq!(ja4.as_str(), "t13d181100_85036bcba153_d41ae481755e");
    }

    #[test]
    fn what_is_missing_is_zero() {
        // SHA-256 of `002f` and of `000a`.
        check(
            &message(0x0303, &[0x002F], &[(0x000A, vec![])]),
            "t12i010100_ba72b8082249_a8f3e973773c",
        );
        check(
            &message(0x0301, &[0x0A0A], &[]),
            "t10i000000_000000000000_000000000000",
        );
        let bare = message(0x0303, &[0x002F], &[]);
        let mut bare = bare[..bare.len() - 2].to_vec();
        bare[3] -= 2;
        check(&bare, "t12i010000_ba72b8082249_000000000000");
    }

    #[test]
    fn odd_protocols_are_written_in_hexadecimal() {
        assert_eq!(ends(b"h2"), ('h', '2'));
        assert_eq!(ends(b"http/1.1"), ('h', '1'));
        assert_eq!(ends(b"x"), ('x', 'x'));
        assert_eq!(ends(b""), ('0', '0'));
        assert_eq!(ends(b"\xAB"), ('a', 'b'));
        assert_eq!(ends(b"\xAB\xCD"), ('a', 'd'));
        assert_eq!(ends(b"h\xCD"), ('6', 'd'));
        assert_eq!(ends(b"\x30\xAB"), ('3', 'b'));
    }

    #[test]
    fn what_is_no_client_hello_is_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[22, 2],
            &[23, 3, 1, 0, 1, 1],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0, 1, 2],
            &[22, 3, 1, 0, 5, 1, 255, 255, 255, 0],
            &[22, 3, 1, 0, 5, 1, 0, 0, 1, 0],
        ] {
            assert_eq!(ClientHello::read(bytes), Err(NotOne), "{bytes:?}");
        }
        let mut beyond = chrome();
        beyond.push(0);
        beyond[3] += 1;
        assert_eq!(ClientHello::read(&records(&beyond, 4_000)), Err(NotOne));
        // Records without end that never make a whole message.
        let mut endless = vec![1, 0, 63, 255];
        endless.resize(LONGEST, 0);
        assert_eq!(ClientHello::read(&records(&endless, 64)), Err(NotOne));
        let many: Vec<(u16, Vec<u8>)> = (0..300).map(|kind| (kind * 3 + 1_000, vec![])).collect();
        let many = message(0x0303, &[1], &many);
        assert_eq!(ClientHello::read(&records(&many, 4_000)), Err(NotOne));
    }
}
