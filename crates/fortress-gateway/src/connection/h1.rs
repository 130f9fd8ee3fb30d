//! HTTP/1.1 with a client: one request after the other, each answered before the next is read.
//!
//! After a refusal of the head or of the framing nothing that follows on the connection can be
//! trusted, so it is closed; and so it is when a body was not read to its end.

use std::{pin::Pin, task::Poll, time::Duration};

use bytes::{Bytes, BytesMut};
use fortress_model::Reason;
use http::{HeaderValue, Method, StatusCode, header};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};

use super::{Context, Io, operations, write_all};
use crate::{
    h1::{
        self, CONTINUE, ChunkedDecoder, Framing, HeadBounds, Refused, RequestHead, ResponseFraming,
        ScanState, Target, Version, parse_request, write_chunk, write_last_chunk,
        write_response_head,
    },
    listen::Service,
    reply::{Reply, ReplyBody, Stream},
    request::{BodyError, Head, RequestBody},
    serve::{self, Answer},
    worker::{Recorder, before},
};

/// Bytes asked for at a time.
const READ: usize = 16 << 10;
/// Bytes asked for where a head is expected: most fit, and a client that only sits there costs no
/// more.
const HEAD_READ: usize = 2 << 10;
/// A buffer that grew beyond this is given back between two requests.
const KEPT_BUFFER: usize = 64 << 10;
/// How long, and for how many bytes, an answer waits in the client's stead before a connection with
/// unread bytes is closed: a reset would take the answer away (RFC 9112, section 9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;
/// How long a client that has closed its side is still taken for one that waits for its answer.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// Bytes of later requests that are taken while an earlier one is with the upstream.
const AHEAD: usize = 16 << 10;

/// Serves a connection to its end.
pub(super) async fn run<I: Io>(context: Context, io: I) {
    let mut wire = Wire {
        io,
        input: BytesMut::new(),
        output: BytesMut::new(),
        since: Instant::now(),
        broken: false,
    };
    requests(&context, &mut wire).await;
    if !wire.broken {
        // Under TLS this says that nothing was cut off.
        drop(tokio::time::timeout(LINGER, wire.io.shutdown()).await);
    }
}

async fn requests<I: Io>(context: &Context, wire: &mut Wire<I>) {
    let mut first = true;
    loop {
        match wire.head(context, first).await {
            Heard::Request(head) => {
                if !exchange(context, wire, *head).await {
                    return;
                }
            }
            Heard::Refused(refused) => {
                let seen = wire.input.len();
                let answer = serve::refuse_head(&context.worker, &context.arrival, refused, seen);
                let sent = wire
                    .send(context, &Method::GET, Version::Http11, answer, false)
                    .await;
                if sent {
                    wire.linger().await;
                }
                return;
            }
            Heard::Nothing => return,
        }
        first = false;
        if wire.input.capacity() > KEPT_BUFFER && wire.input.is_empty() {
            wire.input = BytesMut::new();
        }
    }
}

struct Wire<I> {
    io: I,
    input: BytesMut,
    output: BytesMut,
    /// When the last answer was sent, or the connection began.
    since: Instant,
    /// The client is gone, or has half an answer.
    broken: bool,
}

/// What came where a request was expected.
enum Heard {
    Request(Box<RequestHead>),
    Refused(Refused),
    /// The client went away, or was silent for too long.
    Nothing,
}

/// One request and its answer; says whether another may follow.
async fn exchange<I: Io>(context: &Context, wire: &mut Wire<I>, head: RequestHead) -> bool {
    let RequestHead {
        method,
        target,
        host,
        version,
        headers,
        framing,
        keep_alive,
        expect_continue,
        bytes,
    } = head;
    let target: Box<str> = match target {
        Target::Origin(text) => text,
        Target::Asterisk => "*".into(),
        // CONNECT has no path, so no route: nothing is tunnelled.
        Target::Authority => "".into(),
    };
    let mut body = Body {
        left: match framing {
            Framing::None | Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunked(Box::new(ChunkedDecoder::for_request(
                &HeadBounds::from(&context.bounds),
            ))),
        },
        owes_continue: expect_continue,
        patience: context.bounds.write_time,
        wire,
    };
    let announced_method = method.clone();
    let head = Head {
        method,
        target,
        host: host.as_str().into(),
        headers,
        version: match version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        },
        bytes,
    };
    let answer = match &context.plan.service {
        Service::Apis { .. } => {
            serve::serve(&context.worker, &context.arrival, head, &mut body).await
        }
        Service::Redirect { port } => Answer {
            reply: operations::redirect(&head, *port),
            record: Recorder::none(&context.worker),
        },
        Service::Operations => Answer {
            reply: operations::answer(&context.worker, &head),
            record: Recorder::none(&context.worker),
        },
    };
    let unread = !matches!(body.left, Left::Nothing);
    if wire.broken {
        return false;
    }
    let until_close = version == Version::Http10
        && matches!(&answer.reply.body, ReplyBody::Stream(stream) if stream.length.is_none());
    let keep_alive = keep_alive && !unread && !until_close && !context.worker.is_stopping();
    let sent = wire
        .send(context, &announced_method, version, answer, keep_alive)
        .await;
    if sent && unread {
        wire.linger().await;
    }
    sent && keep_alive
}

impl<I: Io> Wire<I> {
    async fn head(&mut self, context: &Context, first: bool) -> Heard {
        let bounds = HeadBounds::from(&context.bounds);
        let mut scan = ScanState::default();
        // The clock is not looked at for a head that comes in one piece.
        let mut begun = first.then_some(self.since);
        if self.input.is_empty() {
            let patience = if first {
                context.bounds.head_time
            } else {
                context.bounds.idle_time
            };
            context.waiting.begin(self.since, patience);
            let read = self.read(HEAD_READ).await;
            context.waiting.end();
            match read {
                Ok(0) | Err(_) => return Heard::Nothing,
                Ok(_) => {}
            }
        }
        loop {
            match parse_request(&mut self.input, &bounds, &mut scan) {
                Ok(Some(head)) => return Heard::Request(Box::new(head)),
                Ok(None) => {}
                Err(refused) => return Heard::Refused(refused),
            }
            let deadline = *begun.get_or_insert_with(Instant::now) + context.bounds.head_time;
            match before(|| deadline, self.read(HEAD_READ)).await {
                Ok(Ok(0) | Err(_)) => return Heard::Nothing,
                Ok(Ok(_)) => {}
                Err(_) if self.input.is_empty() => return Heard::Nothing,
                Err(_) => {
                    let detail = format!("no whole head within {:?}", context.bounds.head_time);
                    return Heard::Refused(Refused {
                        reason: Reason::HeadTimeout,
                        detail,
                    });
                }
            }
        }
    }

    async fn read(&mut self, bytes: usize) -> std::io::Result<usize> {
        self.input.reserve(bytes);
        self.io.read_buf(&mut self.input).await
    }

    /// Writes an answer; says whether all of it was written.
    async fn send(
        &mut self,
        context: &Context,
        method: &Method,
        version: Version,
        answer: Answer,
        keep_alive: bool,
    ) -> bool {
        let Answer { reply, mut record } = answer;
        let Reply {
            status,
            headers,
            body,
        } = reply;
        let framing = framing(status, method, version, &body);
        self.output.clear();
        let date = context.worker.date();
        write_response_head(
            &mut self.output,
            version,
            status,
            &headers,
            framing,
            &date,
            keep_alive,
        );
        let patience = context.bounds.write_time;
        let sent = match body {
            ReplyBody::Empty { .. } => write_all(&mut self.io, &self.output, patience)
                .await
                .is_ok(),
            ReplyBody::Full(bytes) => self.send_whole(&bytes, patience, &mut record).await,
            ReplyBody::Stream(stream) => {
                let chunked = framing == ResponseFraming::Chunked;
                self.send_stream(stream, chunked, patience, &mut record)
                    .await
            }
        };
        if !sent {
            self.broken = true;
            record.abandon();
        }
        self.since = record.end();
        sent
    }

    /// Ends when the client has gone away. What it sends meanwhile is kept, up to a bound.
    async fn gone(&mut self) {
        let mut piece = [0; 64];
        while self.input.len() < AHEAD {
            match self.io.read(&mut piece).await {
                Ok(0) => {
                    tokio::time::sleep(HALF_CLOSED).await;
                    self.broken = true;
                    return;
                }
                Ok(read) => self
                    .input
                    .extend_from_slice(piece.get(..read).unwrap_or_default()),
                Err(_) => {
                    self.broken = true;
                    return;
                }
            }
        }
        std::future::pending().await
    }

    async fn send_whole(
        &mut self,
        bytes: &Bytes,
        patience: Duration,
        record: &mut Recorder,
    ) -> bool {
        let joined = bytes.len() <= READ;
        if joined {
            self.output.extend_from_slice(bytes);
        }
        let mut sent = write_all(&mut self.io, &self.output, patience)
            .await
            .is_ok();
        if sent && !joined {
            sent = write_all(&mut self.io, bytes, patience).await.is_ok();
        }
        if sent {
            record.sent(bytes.len());
        }
        sent
    }

    async fn send_stream(
        &mut self,
        mut stream: Stream,
        chunked: bool,
        patience: Duration,
        record: &mut Recorder,
    ) -> bool {
        loop {
            let piece = {
                let mut next = std::pin::pin!(stream.next());
                match at_once(next.as_mut()).await {
                    Some(piece) => piece,
                    None => {
                        // The client has what there is while the upstream takes its time.
                        if write_all(&mut self.io, &self.output, patience)
                            .await
                            .is_err()
                        {
                            return false;
                        }
                        self.output.clear();
                        tokio::select! {
                            biased;
                            piece = next => piece,
                            () = self.gone() => return false,
                        }
                    }
                }
            };
            match piece {
                Ok(Some(piece)) => {
                    if chunked {
                        write_chunk(&mut self.output, &piece);
                    } else {
                        self.output.extend_from_slice(&piece);
                    }
                    if write_all(&mut self.io, &self.output, patience)
                        .await
                        .is_err()
                    {
                        return false;
                    }
                    record.sent(piece.len());
                    self.output.clear();
                }
                Ok(None) => {
                    if chunked {
                        write_last_chunk(&mut self.output);
                    }
                    return write_all(&mut self.io, &self.output, patience)
                        .await
                        .is_ok();
                }
                Err(error) => {
                    // The status is out: all that is left is to let the client see the break.
                    if let Some(decision) = record.decision() {
                        let denial = decision
                            .fail(error.reason(), format!("after the head was sent: {error}"));
                        tracing::debug!(detail = denial.detail, "a streamed response broke off");
                    }
                    return false;
                }
            }
        }
    }

    /// Closes so that the client can read the answer although not all that it sent was read.
    async fn linger(&mut self) {
        let mut seen = 0;
        let deadline = Instant::now() + LINGER;
        match tokio::time::timeout_at(deadline, self.io.shutdown()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
        while seen < LINGER_BYTES {
            self.input.clear();
            match tokio::time::timeout_at(deadline, self.read(HEAD_READ)).await {
                Ok(Ok(read)) if read > 0 => seen += read,
                Ok(Ok(_) | Err(_)) | Err(_) => return,
            }
        }
    }
}

/// What a future gives without waiting.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn framing(
    status: StatusCode,
    method: &Method,
    version: Version,
    body: &ReplyBody,
) -> ResponseFraming {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return ResponseFraming::None;
    }
    let length = |length: usize| ResponseFraming::Length(u64::try_from(length).unwrap_or(u64::MAX));
    match body {
        ReplyBody::Empty {
            announced: Some(announced),
        } if method == Method::HEAD => ResponseFraming::Length(*announced),
        ReplyBody::Empty { .. } if method == Method::HEAD => ResponseFraming::None,
        ReplyBody::Empty { .. } => ResponseFraming::Length(0),
        ReplyBody::Full(bytes) => length(bytes.len()),
        ReplyBody::Stream(stream) => match stream.length {
            Some(length) => ResponseFraming::Length(length),
            None => ResponseFraming::Chunked.for_version(version),
        },
    }
}

/// A short answer as bytes, for a connection that is closed at once.
pub(super) fn whole(reply: &Reply, date: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let framing = framing(reply.status, &Method::GET, Version::Http11, &reply.body);
    let mut headers = reply.headers.clone();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    write_response_head(
        &mut out,
        Version::Http11,
        reply.status,
        &headers,
        framing,
        date,
        false,
    );
    if let ReplyBody::Full(bytes) = &reply.body {
        out.extend_from_slice(bytes);
    }
    out
}

/// A request's body on the connection.
struct Body<'w, I> {
    wire: &'w mut Wire<I>,
    left: Left,
    owes_continue: bool,
    patience: Duration,
}

enum Left {
    Nothing,
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
}

impl<I: Io> RequestBody for Body<'_, I> {
    fn announced(&self) -> Option<u64> {
        match &self.left {
            Left::Nothing => Some(0),
            Left::Length(length) => Some(*length),
            Left::Chunked(_) => None,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            if matches!(self.left, Left::Nothing) {
                return Ok(None);
            }
            if !self.wire.input.is_empty() {
                let piece = self.take()?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                if matches!(self.left, Left::Nothing) {
                    return Ok(None);
                }
            }
            if std::mem::take(&mut self.owes_continue)
                && write_all(&mut self.wire.io, CONTINUE, self.patience)
                    .await
                    .is_err()
            {
                return Err(BodyError::Incomplete);
            }
            match self.wire.read(READ).await {
                Ok(0) | Err(_) => return Err(BodyError::Incomplete),
                Ok(_) => self.owes_continue = false,
            }
        }
    }

    async fn gone(&mut self) {
        self.wire.gone().await;
    }
}

impl<I: Io> Body<'_, I> {
    /// Takes what belongs to the body out of the input.
    fn take(&mut self) -> Result<Bytes, BodyError> {
        let input = &mut self.wire.input;
        match &mut self.left {
            Left::Nothing => Ok(Bytes::new()),
            Left::Length(left) => {
                let have = input
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                let piece = input.split_to(have).freeze();
                *left -= u64::try_from(have).unwrap_or_default();
                if *left == 0 {
                    self.left = Left::Nothing;
                }
                Ok(piece)
            }
            Left::Chunked(decoder) => {
                let mut out = BytesMut::new();
                let progress = h1::ChunkedDecoder::decode(decoder, input, &mut out, usize::MAX)
                    .map_err(|refused| BodyError::Framing(refused.reason, refused.detail))?;
                drop(input.split_to(progress.consumed));
                if progress.done {
                    self.left = Left::Nothing;
                }
                Ok(out.freeze())
            }
        }
    }
}
