//! HTTP/2 with a client: hyper speaks it, the meter bounds it, and every stream is a request like
//! any other.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    convert::Infallible,
    error::Error,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use bytes::Bytes;
use fortress_model::Reason;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt;
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::{Context, Io, meter::Meter};
use crate::{
    h1::{Authority, Refused},
    path::validate_target,
    reply::{Reply, ReplyBody, Stream},
    request::{BodyError, Head, RequestBody},
    serve::{self, Answer},
    upstream::UpstreamError,
    worker::{LocalExecutor, Recorder, stop},
};

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_secs(1);
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const SEND_BUFFER: usize = 256 << 10;
/// Bytes of a held answer that are handed over at a time.
const PIECE: usize = 64 << 10;

/// Serves a connection to its end.
pub(super) async fn run<I: Io>(context: Context, io: I) {
    let bounds = &context.bounds;
    let io = TokioIo::new(Meter::new(io, bounds));
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_header_list_size(u32::try_from(bounds.head).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(Some(
            usize::try_from(bounds.resets).unwrap_or(usize::MAX),
        ))
        .max_local_error_reset_streams(Some(usize::try_from(bounds.resets).unwrap_or(usize::MAX)))
        .keep_alive_interval(Some(bounds.idle_time.max(Duration::from_secs(2)) / 2))
        .keep_alive_timeout(Duration::from_secs(10));
    let streams = Rc::new(Streams {
        open: Cell::new(0),
        offered: RefCell::default(),
        next: Cell::new(0),
        last: Cell::new(Instant::now()),
    });
    let context = Rc::new(context);
    let service = service_fn({
        let (context, streams) = (Rc::clone(&context), Rc::clone(&streams));
        move |request: Request<Incoming>| {
            let (context, guard) = (Rc::clone(&context), Streams::enter(&streams));
            async move { Ok::<_, Infallible>(exchange(&context, request, guard).await) }
        }
    });
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let stopping = stop(context.worker.shared.stopping.clone());
    tokio::pin!(stopping);
    let mut graceful = false;
    loop {
        tokio::select! {
            ended = &mut connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, peer = %context.arrival.peer, "HTTP/2 connection ended");
                }
                return;
            }
            () = &mut stopping, if !graceful => {
                graceful = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(LOOK) => match streams.look(&context) {
                Look::Fine => {}
                Look::Idle if graceful => {}
                Look::Idle => {
                    graceful = true;
                    connection.as_mut().graceful_shutdown();
                }
                // Dropping it closes it: the client takes nothing, or was told to go and stays.
                Look::Stuck => return,
            },
        }
    }
}

/// What a connection's streams are doing.
#[derive(Debug)]
struct Streams {
    open: Cell<usize>,
    /// Streams whose answer waits for its client to take more, and since when. Other frames of the
    /// client's do not count: pings are easily sent.
    offered: RefCell<HashMap<u64, Instant>>,
    next: Cell<u64>,
    last: Cell<Instant>,
}

enum Look {
    Fine,
    Idle,
    Stuck,
}

impl Streams {
    fn enter(this: &Rc<Self>) -> Entered {
        this.open.set(this.open.get() + 1);
        this.last.set(Instant::now());
        let id = this.next.get();
        this.next.set(id.wrapping_add(1));
        Entered {
            streams: Rc::clone(this),
            id,
        }
    }

    fn look(&self, context: &Context) -> Look {
        let bounds = &context.bounds;
        let oldest = self.offered.borrow().values().min().copied();
        if oldest.is_some_and(|since| since.elapsed() > bounds.write_time) {
            return Look::Stuck;
        }
        let silent = self.last.get().elapsed();
        match self.open.get() {
            0 if silent > bounds.idle_time * 2 => Look::Stuck,
            0 if silent > bounds.idle_time => Look::Idle,
            _ => Look::Fine,
        }
    }
}

/// A stream's place among the others.
#[derive(Debug)]
struct Entered {
    streams: Rc<Streams>,
    id: u64,
}

impl Entered {
    /// From now on it is the client's turn.
    fn offers(&self) {
        let now = Instant::now();
        self.streams.offered.borrow_mut().insert(self.id, now);
        self.streams.last.set(now);
    }

    /// The client has taken everything; it is the upstream's turn.
    fn has_nothing(&self) {
        self.streams.offered.borrow_mut().remove(&self.id);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let streams = &self.streams;
        streams.open.set(streams.open.get().saturating_sub(1));
        streams.offered.borrow_mut().remove(&self.id);
        streams.last.set(Instant::now());
    }
}

async fn exchange(
    context: &Context,
    request: Request<Incoming>,
    entered: Entered,
) -> Response<Sent> {
    let (parts, incoming) = request.into_parts();
    let head_request = parts.method == Method::HEAD;
    let answer = match head(context, parts) {
        Ok(head) => {
            let mut body = Received(incoming);
            serve::serve(&context.worker, &context.arrival, head, &mut body).await
        }
        Err(refused) => serve::refuse_head(&context.worker, &context.arrival, refused, 0),
    };
    entered.offers();
    response(context, answer, head_request, entered)
}

/// The request in the terms of HTTP/1.1, held to the same rules.
fn head(context: &Context, parts: http::request::Parts) -> Result<Head, Refused> {
    let refused = |reason, detail: &str| Refused {
        reason,
        detail: detail.into(),
    };
    let bounds = &context.bounds;
    let target: Box<str> = match parts.uri.path_and_query() {
        Some(target) if target.as_str() == "*" => "*".into(),
        Some(target) if target.as_str().len() > bounds.uri => {
            return Err(refused(Reason::UriTooLong, "the target is too long"));
        }
        Some(target) => validate_target(target.as_str().as_bytes())?.into(),
        None => "".into(),
    };
    let mut headers = parts.headers;
    if headers.len() > bounds.headers {
        return Err(refused(Reason::HeadTooLarge, "too many header fields"));
    }
    let host = host(&parts.uri, &headers)?;
    headers.remove(header::HOST);
    join_cookies(&mut headers);
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum::<usize>()
        + target.len();
    Ok(Head {
        method: parts.method,
        target,
        host: host.as_str().into(),
        headers,
        version: "HTTP/2",
        bytes,
    })
}

/// `:authority`, to which a `Host` must be equal (RFC 9113, section 8.3.1).
fn host(uri: &http::Uri, headers: &HeaderMap) -> Result<Authority, Refused> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields
        .next()
        .map(|value| Authority::parse(value.as_bytes()))
        .transpose()?;
    if fields.next().is_some() {
        return Err(Refused {
            reason: Reason::HostInvalid,
            detail: "two `Host` fields".into(),
        });
    }
    let default_port = if uri.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    match (uri.authority(), field) {
        (None, None) => Err(Refused {
            reason: Reason::HostInvalid,
            detail: "no authority".into(),
        }),
        (None, Some(host)) => Ok(host),
        (Some(authority), field) => {
            let authority = Authority::parse(authority.as_str().as_bytes())?;
            match field {
                Some(host) if !host.is_same(&authority, default_port) => Err(Refused {
                    reason: Reason::HostMismatch,
                    detail: "`:authority` is not the one of `Host`".into(),
                }),
                Some(_) | None => Ok(authority),
            }
        }
    }
}

/// Cookies may come in several fields; upstreams get one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (values.next(), values.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(values) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, value);
    }
}

struct Received(Incoming);

impl RequestBody for Received {
    fn announced(&self) -> Option<u64> {
        if self.0.is_end_stream() {
            Some(0)
        } else {
            self.0.size_hint().exact()
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a request's body broke off");
                    return Err(BodyError::Incomplete);
                }
                Some(Ok(frame)) => {
                    // Trailers are dropped, as in HTTP/1.1.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn gone(&mut self) {
        // hyper drops the whole request then.
        std::future::pending().await
    }
}

fn response(context: &Context, answer: Answer, head: bool, entered: Entered) -> Response<Sent> {
    let Answer { reply, record } = answer;
    let Reply {
        status,
        mut headers,
        body,
    } = reply;
    headers.remove(header::CONTENT_LENGTH);
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_bytes(&context.worker.date())
    {
        headers.insert(header::DATE, date);
    }
    let announced = match &body {
        ReplyBody::Empty { announced } => announced.filter(|_| head),
        ReplyBody::Full(bytes) => u64::try_from(bytes.len()).ok(),
        ReplyBody::Stream(stream) => stream.length,
    };
    if let Some(length) = announced {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let source = match body {
        ReplyBody::Empty { .. } => Source::Whole(Bytes::new()),
        ReplyBody::Full(_) if head => Source::Whole(Bytes::new()),
        ReplyBody::Full(bytes) => Source::Whole(bytes),
        ReplyBody::Stream(stream) => Source::Stream(next(stream)),
    };
    let mut response = Response::new(Sent {
        source,
        record,
        done: false,
        entered,
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A reply's body as hyper takes it. It is recorded when hyper lets go of it.
struct Sent {
    source: Source,
    record: Recorder,
    done: bool,
    entered: Entered,
}

enum Source {
    Whole(Bytes),
    Stream(Next),
}

type Next = Pin<Box<dyn Future<Output = (Stream, Result<Option<Bytes>, UpstreamError>)>>>;

fn next(mut stream: Stream) -> Next {
    Box::pin(async move {
        let piece = stream.next().await;
        (stream, piece)
    })
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if this.done {
            return Poll::Ready(None);
        }
        match &mut this.source {
            Source::Whole(bytes) => {
                // In pieces: what hyper has taken waits for the client out of our sight.
                let piece = bytes.split_to(bytes.len().min(PIECE));
                this.done = bytes.is_empty();
                this.record.sent(piece.len());
                this.entered.offers();
                if piece.is_empty() {
                    Poll::Ready(None)
                } else {
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                }
            }
            Source::Stream(future) => {
                let (stream, piece) = match future.as_mut().poll(cx) {
                    Poll::Pending => {
                        this.entered.has_nothing();
                        return Poll::Pending;
                    }
                    Poll::Ready(ready) => ready,
                };
                this.entered.offers();
                match piece {
                    Ok(Some(piece)) => {
                        this.record.sent(piece.len());
                        this.source = Source::Stream(next(stream));
                        Poll::Ready(Some(Ok(Frame::data(piece))))
                    }
                    Ok(None) => {
                        this.done = true;
                        Poll::Ready(None)
                    }
                    Err(error) => {
                        this.done = true;
                        if let Some(decision) = this.record.decision() {
                            let denial = decision
                                .fail(error.reason(), format!("after the head was sent: {error}"));
                            tracing::debug!(
                                detail = denial.detail,
                                "a streamed response broke off"
                            );
                        }
                        Poll::Ready(Some(Err(error.into())))
                    }
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done || matches!(&self.source, Source::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or_default())
            }
            Source::Stream(_) => SizeHint::default(),
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if !self.done && !self.is_end_stream() {
            self.record.abandon();
        }
    }
}
