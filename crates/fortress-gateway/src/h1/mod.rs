//! HTTP/1.1, strict by construction: bytes in, heads and body octets out, and the reverse.
//!
//! There is one parse, and what it accepts has one reading: a parser further on that is more
//! lenient finds nothing to be lenient about. The codec does no IO, keeps no time and knows no
//! route; it never continues after a refusal, and the caller closes the connection then.
//! Bodies of requests and responses pass through [`ChunkedDecoder`] or are counted by the caller.

mod authority;
mod chunked;
mod fields;
mod request;
mod response;
mod scan;
mod write;

pub use authority::Authority;
pub use chunked::{ChunkedDecoder, Progress};
pub use fields::{connection_options, is_connection_field, is_forwardable_name};
pub use request::{Framing, RequestHead, Target, parse_request};
pub use response::{ResponseFraming, ResponseHead, parse_response};
pub use scan::ScanState;
pub use write::{CONTINUE, write_chunk, write_last_chunk, write_request_head, write_response_head};

use fortress_model::{Bounds, Reason};

/// The two versions that this codec speaks (RFC 9112, section 2.3).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Version {
    /// `HTTP/1.0`: no chunked coding, and the connection ends unless `keep-alive` was asked for.
    Http10,
    /// `HTTP/1.1`.
    Http11,
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => Self::HTTP_10,
            Version::Http11 => Self::HTTP_11,
        }
    }
}

/// Why bytes were not taken as a message. Nothing after them on the connection can be trusted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The reason in the product's vocabulary.
    pub reason: Reason,
    /// For the operator: what was wrong. Never holds a field's value.
    pub detail: String,
}

impl Refused {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }

    /// The same fault, committed by the upstream.
    fn by_upstream(self) -> Self {
        Self {
            reason: Reason::UpstreamBroken,
            detail: self.detail,
        }
    }
}

/// The bounds of a message head.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeadBounds {
    /// Bytes of the head, from its first byte to its empty line; also bytes of a trailer section.
    pub head: usize,
    /// Header fields of the head; also of a trailer section.
    pub headers: usize,
    /// Bytes of the request target, as it was sent.
    pub uri: usize,
}

impl From<&Bounds> for HeadBounds {
    fn from(bounds: &Bounds) -> Self {
        Self {
            head: bounds.head,
            headers: bounds.headers,
            uri: bounds.uri,
        }
    }
}
