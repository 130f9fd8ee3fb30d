//! Writes heads and chunks. What delimits a body comes from the `framing` argument alone: fields
//! that speak of the connection or of the length are never copied from a header map.

use super::{Framing, ResponseFraming, Version, is_connection_field};
use bytes::{BufMut, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};

/// The interim response that a client waits for which sent `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a request head for an upstream. `path` is in origin-form, or `*`; `headers` holds `Host`.
pub fn write_request_head(
    out: &mut BytesMut,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    framing: Framing,
) {
    out.reserve(
        64_usize
            .saturating_add(path.len())
            .saturating_add(headers.len().saturating_mul(48)),
    );
    out.put_slice(method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(path.as_bytes());
    if let Some(query) = query {
        out.put_u8(b'?');
        out.put_slice(query.as_bytes());
    }
    out.put_slice(b" HTTP/1.1\r\n");
    for (name, value) in headers {
        write_field(out, name, value);
    }
    match framing {
        Framing::None => {}
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => out.put_slice(CHUNKED),
    }
    out.put_slice(b"\r\n");
}

/// Appends a response head. `version` is the client's; `framing` is what really follows (see
/// [`ResponseFraming::for_version`]): the answer to `HEAD` names the length that it would have and
/// the caller writes no body. `date` is written unless `headers` has one.
pub fn write_response_head(
    out: &mut BytesMut,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: ResponseFraming,
    date: &[u8],
    keep_alive: bool,
) {
    out.reserve(128_usize.saturating_add(headers.len().saturating_mul(48)));
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    let mut dated = date.is_empty();
    for (name, value) in headers {
        dated |= name == DATE;
        write_field(out, name, value);
    }
    if !dated {
        out.put_slice(b"date: ");
        out.put_slice(date);
        out.put_slice(b"\r\n");
    }
    let has_no_length = status.is_informational() || status == StatusCode::NO_CONTENT;
    match framing {
        ResponseFraming::None | ResponseFraming::UntilClose => {}
        ResponseFraming::Length(_) | ResponseFraming::Chunked if has_no_length => {}
        ResponseFraming::Length(length) => write_length(out, length),
        ResponseFraming::Chunked => out.put_slice(CHUNKED),
    }
    let keep_alive = keep_alive && framing != ResponseFraming::UntilClose;
    match (version, keep_alive) {
        (Version::Http11, true) => {}
        (Version::Http10, true) => out.put_slice(b"connection: keep-alive\r\n"),
        (Version::Http10 | Version::Http11, false) => out.put_slice(b"connection: close\r\n"),
    }
    out.put_slice(b"\r\n");
}

/// Appends `data` as one chunk. Empty data writes nothing, since an empty chunk ends the body.
pub fn write_chunk(out: &mut BytesMut, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    // Sixteen hexadecimal digits hold any length.
    let mut digits = [0_u8; 16];
    let mut rest = data.len();
    let mut used = 0_usize;
    for digit in digits.iter_mut().rev() {
        *digit = HEX.get(rest & 0xf).copied().unwrap_or_default();
        rest >>= 4;
        used = used.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    out.reserve(data.len().saturating_add(20));
    out.put_slice(
        digits
            .get(16_usize.saturating_sub(used)..)
            .unwrap_or_default(),
    );
    out.put_slice(b"\r\n");
    out.put_slice(data);
    out.put_slice(b"\r\n");
}

/// Appends the chunk that ends a body, without trailers.
pub fn write_last_chunk(out: &mut BytesMut) {
    out.put_slice(b"0\r\n\r\n");
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

/// `HeaderName` and `HeaderValue` hold no CR, LF or NUL, so a field cannot end early.
fn write_field(out: &mut BytesMut, name: &HeaderName, value: &HeaderValue) {
    if name == CONTENT_LENGTH || is_connection_field(name) {
        return;
    }
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}

fn write_length(out: &mut BytesMut, length: u64) {
    out.put_slice(b"content-length: ");
    out.put_slice(itoa::Buffer::new().format(length).as_bytes());
    out.put_slice(b"\r\n");
}
