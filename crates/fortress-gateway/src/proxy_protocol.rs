//! The PROXY protocol, versions 1 and 2: what a load balancer says of a connection before the
//! connection's own first byte (HAProxy's specification, sections 2.1 and 2.2).
//!
//! One reading and no tolerance: whoever can make two readers disagree about where the header ends
//! can choose its own address. Deliberately not here: whose header is believed, and reading from a
//! socket (`connection`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a header says of its connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// It is somebody else's.
    Proxied {
        /// Who connected.
        source: SocketAddr,
        /// What they connected to.
        destination: SocketAddr,
    },
    /// It is the proxy's own: a health check.
    Local,
    /// It is somebody else's, and the proxy does not know whose: `UNKNOWN`, an unspecified family,
    /// or a Unix socket.
    Unknown,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// Bytes of the longest line of version 1, its end included (section 2.1).
const LONGEST_LINE: usize = 107;
/// Bytes of the longest header of version 2 that is read. The protocol allows for 64 KiB; addresses
/// and what cloud load balancers add take some hundred.
pub const LONGEST: usize = 4 << 10;

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header that a connection begins with, and its length. `None` as long as all bytes may
/// belong to one and its end has not come.
///
/// # Errors
/// The bytes are no header, whatever comes after them.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    if begins(bytes, SIGNATURE) {
        binary(bytes)
    } else if begins(bytes, LINE_START) {
        line(bytes)
    } else {
        Err(Malformed("no header of the PROXY protocol"))
    }
}

/// Whether one of both begins with the other.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

// ---- version 1

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and CRLF.
fn line(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let within = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        if bytes.len() >= LONGEST_LINE {
            return Err(Malformed("a line of more than 107 bytes"));
        }
        return Ok(None);
    };
    let text = within
        .get(..end)
        .and_then(|text| text.strip_suffix(b"\r"))
        .ok_or(Malformed("a line that does not end in CRLF"))?;
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let text = std::str::from_utf8(text)
        .ok()
        .filter(|text| text.as_bytes().iter().all(is_printable))
        .ok_or(Malformed("a line with other than printable ASCII"))?;
    let mut words = text.split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    let header = match family {
        // What follows says nothing, and is ignored.
        "UNKNOWN" => Header::Unknown,
        "TCP4" => addresses(words, |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4))?,
        // With four decimal numbers at the end, too: HAProxy writes them for a client that came by IPv4.
        "TCP6" => addresses(words, |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6))?,
        _ => return Err(Malformed("neither `TCP4` nor `TCP6` nor `UNKNOWN`")),
    };
    Ok(Some((header, end + 1)))
}

fn addresses<'a>(
    mut words: impl Iterator<Item = &'a str>,
    address: impl Fn(&str) -> Option<IpAddr>,
) -> Result<Header, Malformed> {
    let mut next = || words.next().unwrap_or_default();
    let (source, destination) = (address(next()), address(next()));
    let (source_port, destination_port) = (port(next()), port(next()));
    if words.next().is_some() {
        return Err(Malformed("more than two addresses and two ports"));
    }
    let both = |address: Option<IpAddr>, port: Option<u16>| Some(SocketAddr::new(address?, port?));
    match (
        both(source, source_port),
        both(destination, destination_port),
    ) {
        (Some(source), Some(destination)) => Ok(Header::Proxied {
            source,
            destination,
        }),
        (None, _) | (_, None) => Err(Malformed("not two addresses of the family and two ports")),
    }
}

/// A decimal number without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_short = text == "0" || !text.starts_with('0');
    (is_plain && is_short).then(|| text.parse().ok()).flatten()
}

// ---- version 2

/// Signature, version and command, family and transport, length.
const FIXED: usize = 16;

fn binary(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return Ok(None);
    };
    let [.., command, family, high, low] = *fixed;
    let whole = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Err(Malformed("a version other than 2"));
    }
    if whole > LONGEST {
        return Err(Malformed("a header of more than 4 KiB"));
    }
    let is_local = match command & 0x0F {
        0 => true,
        1 => false,
        _ => return Err(Malformed("neither `LOCAL` nor `PROXY`")),
    };
    let Some(bytes) = bytes.get(..whole) else {
        return Ok(None);
    };
    if is_local {
        // The rest is to be discarded, the family included (section 2.2).
        return Ok(Some((Header::Local, whole)));
    }
    let rest = bytes.get(FIXED..).unwrap_or_default();
    let short = Malformed("shorter than the addresses of its family");
    let (header, taken) = match family {
        0x00 => (Header::Unknown, 0),
        0x11 => (ipv4(rest).ok_or(short)?, 12),
        0x21 => (ipv6(rest).ok_or(short)?, 36),
        0x31 => (Header::Unknown, 216),
        _ => return Err(Malformed("a family or transport that is no stream")),
    };
    if rest.len() < taken {
        return Err(short);
    }
    additions(bytes, FIXED + taken)?;
    Ok(Some((header, whole)))
}

fn ipv4(bytes: &[u8]) -> Option<Header> {
    let (source, rest) = bytes.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    let address = |octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*octets));
    Some(proxied(
        (address(source), [a, b]),
        (address(destination), [c, d]),
    ))
}

fn ipv6(bytes: &[u8]) -> Option<Header> {
    let (source, rest) = bytes.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let [a, b, c, d] = *rest.first_chunk::<4>()?;
    let address = |octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets));
    Some(proxied(
        (address(source), [a, b]),
        (address(destination), [c, d]),
    ))
}

fn proxied(source: (IpAddr, [u8; 2]), destination: (IpAddr, [u8; 2])) -> Header {
    let place = |(address, port)| SocketAddr::new(address, u16::from_be_bytes(port));
    Header::Proxied {
        source: place(source),
        destination: place(destination),
    }
}

/// `PP2_TYPE_CRC32C`.
const CHECKSUM: u8 = 0x03;

/// What stands after the addresses (type, length, value): skipped, but for the checksum.
fn additions(bytes: &[u8], from: usize) -> Result<(), Malformed> {
    let mut rest = bytes.get(from..).unwrap_or_default();
    let mut checked = false;
    loop {
        let (kind, value, after) = match rest {
            [] => return Ok(()),
            [kind, high, low, rest @ ..] => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let (value, after) = rest
                    .split_at_checked(length)
                    .ok_or(Malformed("an addition that goes beyond the header"))?;
                (*kind, value, after)
            }
            [_, ..] => return Err(Malformed("an addition that is cut off")),
        };
        if kind == CHECKSUM {
            let value: [u8; 4] = value
                .try_into()
                .map_err(|_| Malformed("a checksum that is not of four bytes"))?;
            let end = bytes.len() - after.len();
            let before = bytes.get(..end - value.len()).unwrap_or_default();
            // As if the checksum itself were zero.
            let sum = [before, &[0; 4], after].into_iter().fold(!0, crc32c);
            if checked || !sum != u32::from_be_bytes(value) {
                return Err(Malformed("a checksum that does not match"));
            }
            checked = true;
        }
        rest = after;
    }
}

/// Castagnoli's CRC, reflected, bit by bit: some headers of a trusted proxy have one, and none is
/// long.
fn crc32c(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0x82F6_3B78 & (sum & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(bytes: &[u8], expect: Header) {
        assert_eq!(parse(bytes), Ok(Some((expect, bytes.len()))));
        // What follows belongs to the connection, and before the end there is none.
        let more = [bytes, b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(parse(&more), Ok(Some((expect, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[track_caller]
    fn refused(bytes: &[u8], why: &str) {
        let Malformed(found) = parse(bytes).unwrap_err();
        assert!(found.contains(why), "{found}");
    }

    fn of(source: &str, destination: &str) -> Header {
        Header::Proxied {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    #[test]
    fn lines() {
        read(
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            of("192.0.2.1:56324", "198.51.100.2:443"),
        );
        read(
            b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            of("255.255.255.255:65535", "255.255.255.255:65535"),
        );
        read(
            b"PROXY TCP6 2001:db8::1 2001:DB8::2 0 443\r\n",
            of("[2001:db8::1]:0", "[2001:db8::2]:443"),
        );
        read(
            b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n",
            of("[::ffff:192.0.2.1]:1", "[::1]:2"),
        );
        read(b"PROXY UNKNOWN\r\n", Header::Unknown);
        // The longest line of the specification.
        let long = format!(
            "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
            ["ffff"; 8].join(":")
        );
        assert_eq!(long.len(), LONGEST_LINE);
        read(long.as_bytes(), Header::Unknown);
    }

    #[test]
    fn lines_that_are_none() {
        for (line, why) in [
            ("GET / HTTP/1.1\r\n", "no header"),
            ("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no header"),
            ("PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", "no header"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "CRLF"),
            ("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", "neither"),
            ("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n", "neither"),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "neither"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "two"),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", "two"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "more than two"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "more than two"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "two"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "two"),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "two"),
            ("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "two"),
            ("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "two"),
            ("PROXY TCP4 ::1 ::1 1 2\r\n", "two"),
            ("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", "two"),
            ("PROXY TCP6 [::1] ::1 1 2\r\n", "two"),
            ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "two"),
            ("PROXY TCP4 1.2.3.4\r1.2.3.4 1 2\r\n", "printable"),
            ("PROXY UNKNOWN \u{1}\r\n", "printable"),
            ("PROXY UNKNOWN é\r\n", "printable"),
            ("PROXY UNKNOWNS\r\n", "neither"),
        ] {
            refused(line.as_bytes(), why);
        }
        let endless = format!("PROXY UNKNOWN {}", "a".repeat(LONGEST_LINE));
        refused(endless.as_bytes(), "107");
        refused(format!("{endless}\r\n").as_bytes(), "107");
    }

    /// A header of version 2 with its length.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x01, 0xBB];

    #[test]
    fn headers_of_version_2() {
        let v4 = of("192.0.2.1:56324", "198.51.100.2:443");
        read(&binary(0x21, 0x11, V4), v4);
        let noop = [V4, &[0x04, 0, 3, 1, 2, 3, 0xE0, 0, 0]].concat();
        read(&binary(0x21, 0x11, &noop), v4);
        let mut v6 = Ipv6Addr::LOCALHOST.octets().to_vec();
        v6.extend("2001:db8::2".parse::<Ipv6Addr>().unwrap().octets());
        v6.extend([0, 1, 0, 2]);
        read(&binary(0x21, 0x21, &v6), of("[::1]:1", "[2001:db8::2]:2"));
        read(&binary(0x20, 0x00, &[]), Header::Local);
        read(&binary(0x20, 0xFF, b"discarded"), Header::Local);
        read(&binary(0x21, 0x00, &[]), Header::Unknown);
        read(&binary(0x21, 0x31, &[0; 216]), Header::Unknown);
        let largest = [V4, &[0x04, 0x0F, 0xE1], &[0; 0xFE1]].concat();
        read(&binary(0x21, 0x11, &largest), v4);
    }

    #[test]
    fn headers_of_version_2_that_are_none() {
        refused(b"\r\n\r\n\0\r\nQUIX", "no header");
        refused(&binary(0x11, 0x11, V4), "version");
        refused(&binary(0x31, 0x11, V4), "version");
        refused(&binary(0x22, 0x11, V4), "neither");
        refused(&binary(0x21, 0x12, V4), "stream");
        refused(&binary(0x21, 0x41, V4), "stream");
        refused(&binary(0x21, 0x11, &V4[..11]), "shorter");
        refused(&binary(0x21, 0x21, V4), "shorter");
        refused(&binary(0x21, 0x31, &[0; 215]), "shorter");
        refused(&binary(0x21, 0x11, &[V4, &[4]].concat()), "cut off");
        refused(&binary(0x21, 0x11, &[V4, &[4, 0]].concat()), "cut off");
        refused(&binary(0x21, 0x11, &[V4, &[4, 0, 1]].concat()), "beyond");
        refused(&binary(0x21, 0x00, &[0; 4]), "cut off");
        // Refused before so much of it has come.
        refused(&binary(0x21, 0x11, &[0; LONGEST])[..FIXED], "4 KiB");
    }

    #[test]
    fn a_checksum_must_match() {
        // RFC 3720, section B.4.
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8A91_36AA);
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        let with = |sum: [u8; 4]| {
            let rest = [V4, &[CHECKSUM, 0, 4], &sum, &[0x04, 0, 1, 7]].concat();
            binary(0x21, 0x11, &rest)
        };
        let sum = !crc32c(!0, &with([0; 4]));
        let good = with(sum.to_be_bytes());
        read(&good, of("192.0.2.1:56324", "198.51.100.2:443"));
        for place in FIXED..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            // Of another type it is no checksum.
            assert_eq!(parse(&bad).is_err(), place != 28, "{place}");
        }
        refused(&with([0; 4]), "match");
        let twice = [V4, &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat();
        refused(&binary(0x21, 0x11, &twice), "match");
        refused(
            &binary(0x21, 0x11, &[V4, &[CHECKSUM, 0, 1, 0]].concat()),
            "four bytes",
        );
    }
}
