//! Header fields: splitting lines into names and values, and reading the few fields that decide
//! how a message ends. What the other fields mean is not this module's business.
//!
//! Values may hold obs-text (bytes 0x80 to 0xFF): RFC 9110 section 5.5 calls them opaque, no
//! parser gives them a structure, and real clients send names in Latin-1 or UTF-8. Names and the
//! fields read here never hold them.

use super::{Refused, Version, scan::Head};
use fortress_model::Reason;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

/// Room for fields that the gateway adds: four of a request, seven of an answer. A map that grows is
/// hashed anew.
const ADDED: usize = 7;

/// The fields of a head, and what they say about its body and its connection.
pub(super) struct Fields {
    pub(super) headers: HeaderMap,
    length: Seen<u64>,
    coding: Seen<Coding>,
    connection: ConnectionOptions,
}

/// How a message's body is delimited according to its fields alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delimited {
    Unsaid,
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy)]
enum Seen<T> {
    Never,
    Once(Option<T>),
    Repeated,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Coding {
    Chunked,
    Other,
}

#[derive(Clone, Copy, Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
}

impl Fields {
    /// Reads every field line of `head`.
    pub(super) fn read(head: &Head) -> Result<Self, Refused> {
        let room = head.field_count().saturating_add(ADDED);
        let headers = HeaderMap::try_with_capacity(room).map_err(|_| too_many())?;
        let mut fields = Self {
            headers,
            length: Seen::Never,
            coding: Seen::Never,
            connection: ConnectionOptions::default(),
        };
        for (start, end) in head.field_lines() {
            let (name, value) = field(head, start, end)?;
            fields.note(&name, &value)?;
            fields
                .headers
                .try_append(name, value)
                .map_err(|_| too_many())?;
        }
        Ok(fields)
    }

    fn note(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Refused> {
        if name == CONTENT_LENGTH {
            self.length = self.length.and(content_length(value.as_bytes()));
        } else if name == TRANSFER_ENCODING {
            self.coding = self.coding.and(coding(value.as_bytes()));
        } else if name == CONNECTION {
            self.connection.read(value.as_bytes())?;
        }
        Ok(())
    }

    /// RFC 9112, section 6.3, with every ambiguity that it describes refused.
    pub(super) fn delimited(&self, version: Version) -> Result<Delimited, Refused> {
        match (self.length, self.coding) {
            (Seen::Never, Seen::Never) => Ok(Delimited::Unsaid),
            (Seen::Once(Some(length)), Seen::Never) => Ok(Delimited::Length(length)),
            (Seen::Once(None), Seen::Never) => Err(framing("content-length is not a number")),
            (Seen::Repeated, _) => Err(framing("content-length is given more than once")),
            (_, Seen::Repeated) => Err(framing("transfer-encoding is given more than once")),
            (Seen::Once(_), Seen::Once(_)) => Err(framing(
                "both content-length and transfer-encoding are given",
            )),
            (Seen::Never, Seen::Once(coding)) => match (version, coding) {
                (Version::Http10, _) => Err(framing("transfer-encoding is given in HTTP/1.0")),
                (Version::Http11, Some(Coding::Chunked)) => Ok(Delimited::Chunked),
                (Version::Http11, Some(Coding::Other)) => Err(Refused::new(
                    Reason::TransferCodingUnknown,
                    "transfer-encoding is not exactly chunked",
                )),
                (Version::Http11, None) => Err(framing("transfer-encoding is not a coding")),
            },
        }
    }

    /// Whether the peer lets the connection live on (RFC 9112, section 9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        match version {
            Version::Http10 => self.connection.keep_alive && !self.connection.close,
            Version::Http11 => !self.connection.close,
        }
    }

    /// Whether either field that delimits a body was there.
    pub(super) fn has_length_or_coding(&self) -> bool {
        !matches!((self.length, self.coding), (Seen::Never, Seen::Never))
    }
}

impl<T> Seen<T> {
    fn and(&self, value: Option<T>) -> Self {
        match self {
            Self::Never => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        }
    }
}

impl ConnectionOptions {
    fn read(&mut self, value: &[u8]) -> Result<(), Refused> {
        for option in list(value) {
            if !option.iter().copied().all(is_token) {
                return Err(malformed("connection holds something other than tokens"));
            }
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
        Ok(())
    }
}

/// The names that the `Connection` fields list: those fields end at the next hop (RFC 9110,
/// section 7.6.1).
pub fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| list(value.as_bytes()))
}

/// Whether a field speaks of one connection only and is therefore never forwarded, whatever
/// `Connection` lists (RFC 9110, section 7.6.1). The writers leave these out, and the two that
/// delimit a body, which they write themselves.
pub fn is_connection_field(name: &HeaderName) -> bool {
    name == CONNECTION
        || name == TRANSFER_ENCODING
        || name == TE
        || name == TRAILER
        || name == UPGRADE
        || matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "http2-settings"
        )
}

/// Whether an upstream reads the name as what it is. CGI-like upstreams fold `-` and `_`, so that
/// `X_User` would arrive as `X-User`.
pub fn is_forwardable_name(name: &HeaderName) -> bool {
    memchr::memchr(b'_', name.as_str().as_bytes()).is_none()
}

/// A token character (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// A decimal number without sign, space or list. Nineteen digits always fit.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| byte.wrapping_sub(b'0'))?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

fn coding(value: &[u8]) -> Option<Coding> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Some(Coding::Chunked);
    }
    // `chunked` applied twice, or beside nothing, is no unknown coding but a broken framing.
    list(value)
        .any(|coding| !coding.eq_ignore_ascii_case(b"chunked"))
        .then_some(Coding::Other)
}

/// One field line: `name ":" OWS value OWS` (RFC 9112, section 5).
fn field(head: &Head, start: usize, end: usize) -> Result<(HeaderName, HeaderValue), Refused> {
    let line = head.bytes.get(start..end).unwrap_or_default();
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(malformed("a field is folded over several lines"));
    }
    let Some(colon) = memchr::memchr(b':', line) else {
        return Err(malformed("a field has no colon"));
    };
    // `HeaderName` takes tokens only, so a space before the colon is refused here too.
    let name = HeaderName::from_bytes(line.get(..colon).unwrap_or_default())
        .map_err(|_| malformed("a field name is not a token"))?;
    let mut from = start.saturating_add(colon).saturating_add(1);
    let mut to = end;
    while from < to && matches!(head.bytes.get(from), Some(b' ' | b'\t')) {
        from = from.saturating_add(1);
    }
    while to > from && matches!(head.bytes.get(to.saturating_sub(1)), Some(b' ' | b'\t')) {
        to = to.saturating_sub(1);
    }
    // `HeaderValue` refuses control characters other than HTAB.
    let value = HeaderValue::from_maybe_shared(head.bytes.slice(from..to))
        .map_err(|_| malformed("a field value holds a control character"))?;
    Ok((name, value))
}

/// The non-empty elements of a comma-separated list (RFC 9110, section 5.6.1).
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

fn framing(detail: &'static str) -> Refused {
    Refused::new(Reason::FramingInvalid, detail)
}

fn malformed(detail: &'static str) -> Refused {
    Refused::new(Reason::HeadMalformed, detail)
}

fn too_many() -> Refused {
    Refused::new(Reason::HeadTooLarge, "the head has too many fields")
}
