//! HTTP/1.1 towards an endpoint, by the same strict codec that faces the clients.
//!
//! A connection goes back to the pool only when its answer was read to a known end and nothing
//! follows it: an answer that nobody asked for would otherwise go to the next client.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    EndpointPlan, Incoming, Outgoing, Patience, UpstreamBody, UpstreamError, connect::Stream,
    pool::Idle,
};
use crate::h1::{
    ChunkedDecoder, Framing, HeadBounds, ResponseFraming, ResponseHead, ScanState, parse_response,
    write_request_head,
};

/// What an upstream's response head may hold.
const RESPONSE_HEAD: HeadBounds = HeadBounds {
    head: 64 << 10,
    headers: 200,
    uri: 0,
};
/// Interim (1xx) answers that are skipped before the final one.
const INTERIM: usize = 8;
/// Bytes asked for at a time.
const READ: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    buffer: BytesMut,
    /// Kept between requests, so that writing one allocates nothing.
    out: BytesMut,
    fresh: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            out: BytesMut::new(),
            fresh: true,
        }
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.buffer.is_empty() && self.stream.is_quiet()
    }

    async fn read(&mut self) -> std::io::Result<usize> {
        self.buffer.reserve(READ);
        self.stream.read_buf(&mut self.buffer).await
    }
}

/// Sends a request and reads the head of its answer.
pub(super) async fn exchange(
    mut connection: Connection,
    endpoint: &EndpointPlan,
    request: &Outgoing,
    patience: Patience,
    idle: &Rc<Idle>,
) -> Result<Incoming, UpstreamError> {
    let early = patience
        .sent(write(&mut connection, endpoint, request))
        .await??;
    let head = patience
        .answered(read_head(&mut connection, &request.method))
        .await??;
    connection.fresh = false;
    // An answer that came before the request was written whole leaves the connection out of step.
    let keep_alive = head.keep_alive && !early;
    let remaining = match head.framing {
        ResponseFraming::None | ResponseFraming::Length(0) => {
            if keep_alive && connection.buffer.is_empty() {
                idle.put(connection);
            }
            return Ok(Incoming {
                status: head.status,
                headers: head.headers,
                body: UpstreamBody::Empty,
            });
        }
        ResponseFraming::Length(length) => Remaining::Length(length),
        ResponseFraming::Chunked => {
            Remaining::Chunked(ChunkedDecoder::for_response(&RESPONSE_HEAD))
        }
        ResponseFraming::UntilClose => Remaining::UntilClose,
    };
    let body = Body {
        announced: match head.framing {
            ResponseFraming::Length(length) => Some(length),
            ResponseFraming::None | ResponseFraming::Chunked | ResponseFraming::UntilClose => None,
        },
        connection: Some(connection),
        remaining,
        keep_alive,
        idle: Rc::clone(idle),
    };
    Ok(Incoming {
        status: head.status,
        headers: head.headers,
        body: UpstreamBody::H1(Box::new(body)),
    })
}

/// Writes the request. Gives `true` if the upstream stopped reading before the end but may have
/// answered already (a 413, say).
async fn write(
    connection: &mut Connection,
    endpoint: &EndpointPlan,
    request: &Outgoing,
) -> Result<bool, UpstreamError> {
    let Connection { stream, out, .. } = connection;
    out.clear();
    let joined;
    let path = if endpoint.prefix.is_empty() {
        request.path.as_str()
    } else {
        joined = format!("{}{}", endpoint.prefix, request.path.as_str());
        &joined
    };
    let length = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
    let framing = match length {
        0 if !expects_body(&request.method) => Framing::None,
        _ => Framing::Length(length),
    };
    write_request_head(
        out,
        &request.method,
        path,
        request.query.as_deref(),
        &request.headers,
        framing,
    );
    let written = if request.body.len() <= READ {
        out.extend_from_slice(&request.body);
        stream.write_all(out).await
    } else {
        match stream.write_all(out).await {
            Ok(()) => stream.write_all(&request.body).await,
            failed => failed,
        }
    };
    let flushed = match written {
        Ok(()) => stream.flush().await,
        failed => failed,
    };
    match flushed {
        Ok(()) => Ok(false),
        Err(_) if !connection.fresh => Err(UpstreamError::Stale),
        Err(_) => Ok(true),
    }
}

/// A length is sent even if it is 0 (RFC 9110, section 8.6).
fn expects_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

async fn read_head(
    connection: &mut Connection,
    method: &Method,
) -> Result<ResponseHead, UpstreamError> {
    let mut scan = ScanState::default();
    let mut interim = 0;
    let mut seen = false;
    loop {
        if !connection.buffer.is_empty() {
            seen = true;
            match parse_response(&mut connection.buffer, &RESPONSE_HEAD, &mut scan, method) {
                Err(refused) => return Err(UpstreamError::Broken(refused.detail)),
                Ok(Some(head)) if head.status.is_informational() => {
                    interim += 1;
                    if interim > INTERIM {
                        return Err(UpstreamError::Broken("too many interim answers".into()));
                    }
                    scan = ScanState::default();
                    continue;
                }
                Ok(Some(head)) => return Ok(head),
                Ok(None) => {}
            }
        }
        match connection.read().await {
            Ok(0) | Err(_) if !connection.fresh && !seen => return Err(UpstreamError::Stale),
            Ok(0) => {
                return Err(UpstreamError::Broken(
                    "the connection was closed before an answer".into(),
                ));
            }
            Ok(_) => {}
            Err(error) => return Err(UpstreamError::Broken(error.to_string())),
        }
    }
}

/// The rest of an answer.
#[derive(Debug)]
pub(crate) struct Body {
    connection: Option<Connection>,
    remaining: Remaining,
    announced: Option<u64>,
    keep_alive: bool,
    /// Where the connection goes after the last byte.
    idle: Rc<Idle>,
}

#[derive(Debug)]
enum Remaining {
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl Body {
    pub(super) fn announced(&self) -> Option<u64> {
        self.announced
    }

    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let Some(connection) = self.connection.as_mut() else {
                return Ok(None);
            };
            if !connection.buffer.is_empty() {
                let (piece, done) = take(&mut self.remaining, &mut connection.buffer)?;
                if done {
                    self.finish();
                }
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                if done {
                    return Ok(None);
                }
            }
            let Some(connection) = self.connection.as_mut() else {
                return Ok(None);
            };
            match connection.read().await {
                Ok(0) if matches!(self.remaining, Remaining::UntilClose) => {
                    self.connection = None;
                    return Ok(None);
                }
                Ok(0) => {
                    return Err(UpstreamError::Broken(
                        "the connection was closed mid-body".into(),
                    ));
                }
                Ok(_) => {}
                Err(error) => {
                    return Err(UpstreamError::Broken(format!(
                        "broke off mid-body: {error}"
                    )));
                }
            }
        }
    }

    fn finish(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.keep_alive
            && connection.buffer.is_empty()
        {
            self.idle.put(connection);
        }
    }
}

/// Takes what belongs to the body out of the buffer; says whether that was the end.
fn take(remaining: &mut Remaining, buffer: &mut BytesMut) -> Result<(Bytes, bool), UpstreamError> {
    match remaining {
        Remaining::Length(length) => {
            let have = buffer
                .len()
                .min(usize::try_from(*length).unwrap_or(usize::MAX));
            let piece = buffer.split_to(have).freeze();
            *length -= u64::try_from(have).unwrap_or_default();
            Ok((piece, *length == 0))
        }
        Remaining::Chunked(decoder) => {
            let mut out = BytesMut::new();
            let progress = decoder
                .decode(buffer, &mut out, usize::MAX)
                .map_err(|refused| UpstreamError::Broken(refused.detail))?;
            drop(buffer.split_to(progress.consumed));
            Ok((out.freeze(), progress.done))
        }
        Remaining::UntilClose => Ok((buffer.split().freeze(), false)),
    }
}
