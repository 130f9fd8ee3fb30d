//! Response heads of upstreams, read as strictly as requests: an answer that could be read in two
//! ways would put the pool's connection out of step (RFC 9112, sections 4 and 6).

use super::{
    HeadBounds, Refused, ScanState, Version,
    fields::{Delimited, Fields},
    scan::FirstLine,
};
use bytes::BytesMut;
use fortress_model::Reason;
use http::{HeaderMap, Method, StatusCode};

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// From 100 to 599, but never 101: Fortress asks for no other protocol.
    pub status: StatusCode,
    /// The version that the upstream speaks.
    pub version: Version,
    /// All fields as they came, in their order, hop-by-hop ones included.
    pub headers: HeaderMap,
    /// How the body ends.
    pub framing: ResponseFraming,
    /// `Content-Length`, also where no body follows (`HEAD`, 304).
    pub content_length: Option<u64>,
    /// Whether the connection may be used again once the body has ended.
    pub keep_alive: bool,
    /// Bytes of the head on the wire.
    pub bytes: usize,
}

/// How a response's body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseFraming {
    /// There is no body: 1xx, 204, 304, or the answer to `HEAD`.
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body is chunked.
    Chunked,
    /// The body ends with the connection.
    UntilClose,
}

impl ResponseFraming {
    /// What a client of `version` understands: HTTP/1.0 has no chunked coding.
    #[must_use]
    pub fn for_version(self, version: Version) -> Self {
        match (self, version) {
            (Self::Chunked, Version::Http10) => Self::UntilClose,
            (Self::None | Self::Length(_) | Self::Chunked | Self::UntilClose, _) => self,
        }
    }
}

/// Splits a whole response head off the front of `buffer`; `None` asks for more bytes. Interim
/// responses (1xx) are heads of their own: the caller goes on reading after them, a bounded number
/// of times.
///
/// # Errors
/// [`Reason::UpstreamBroken`] for a head that is not strictly one response to `request_method`, or
/// exceeds `bounds`. The connection must then close.
pub fn parse_response(
    buffer: &mut BytesMut,
    bounds: &HeadBounds,
    scan: &mut ScanState,
    request_method: &Method,
) -> Result<Option<ResponseHead>, Refused> {
    read(buffer, bounds, scan, request_method).map_err(Refused::by_upstream)
}

fn read(
    buffer: &mut BytesMut,
    bounds: &HeadBounds,
    scan: &mut ScanState,
    request_method: &Method,
) -> Result<Option<ResponseHead>, Refused> {
    let Some(head) = scan.next_head(buffer, bounds, &StatusLineOf)? else {
        return Ok(None);
    };
    let (version, status) = status_line(head.first_line())?;
    let fields = Fields::read(&head)?;
    let delimited = fields.delimited(version)?;
    if status.is_informational() && fields.has_length_or_coding() {
        return Err(broken("an interim response announces a body"));
    }
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || request_method == Method::HEAD;
    let framing = match (bodiless, delimited) {
        (true, _) => ResponseFraming::None,
        (false, Delimited::Length(length)) => ResponseFraming::Length(length),
        (false, Delimited::Chunked) => ResponseFraming::Chunked,
        (false, Delimited::Unsaid) => ResponseFraming::UntilClose,
    };
    // RFC 9110, section 15.3.5: a 204 has no length. Who announces a body there may also send it,
    // and the pool must not take it for the next answer.
    let contradicts = status == StatusCode::NO_CONTENT
        && !matches!(delimited, Delimited::Unsaid | Delimited::Length(0));
    Ok(Some(ResponseHead {
        status,
        version,
        framing,
        content_length: match delimited {
            Delimited::Length(length) => Some(length),
            Delimited::Unsaid | Delimited::Chunked => None,
        },
        keep_alive: fields.keeps_alive(version)
            && framing != ResponseFraming::UntilClose
            && !contradicts,
        bytes: head.bytes.len(),
        headers: fields.headers,
    }))
}

/// `HTTP-version SP status-code [ SP reason-phrase ]`; the last space may be missing.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Refused> {
    let (version, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.1 ", rest)) => (Version::Http11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::Http10, rest),
        Some(_) | None => return Err(broken("the status line does not begin with a version")),
    };
    let (code, phrase) = rest
        .split_at_checked(3)
        .ok_or_else(|| broken("the status line has no status"))?;
    let status = StatusCode::from_bytes(code).map_err(|_| broken("the status is not a number"))?;
    if status.as_u16() > 599 || status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(broken("the status is not one that was asked for"));
    }
    let well_formed = match phrase.split_first() {
        None => true,
        Some((first, phrase)) => {
            *first == b' '
                && phrase
                    .iter()
                    .all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f))
        }
    };
    if !well_formed {
        return Err(broken("the reason phrase is malformed"));
    }
    Ok((version, status))
}

struct StatusLineOf;

impl FirstLine for StatusLineOf {
    const SKIPS_EMPTY_LINE: bool = false;

    fn check(&self, line: &[u8]) -> Result<(), Refused> {
        status_line(line).map(|_| ())
    }

    fn check_partial(&self, line: &[u8]) -> Result<(), Refused> {
        let version = line.get(..7).unwrap_or(line);
        if b"HTTP/1.".starts_with(version) {
            Ok(())
        } else {
            Err(broken("the answer is not HTTP/1"))
        }
    }
}

fn broken(detail: &'static str) -> Refused {
    Refused::new(Reason::UpstreamBroken, detail)
}
