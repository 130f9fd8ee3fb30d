//! The upstream's answer: held, checked against the description, trimmed, and dressed for the
//! client.
//!
//! Deliberately not here: what the schemas mean (`fortress-spec`), and writing to the wire.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fortress_model::{Decision, Denial, Reason};
use fortress_spec::check::ResponseOutcome;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::{
    compile::OperationPlan,
    decode::{self, Coding},
    guard::{inspect, limit},
    upstream::{Incoming, UpstreamBody, UpstreamError},
};

/// What the client gets.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ReplyBody,
}

/// A reply's body.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// None; the length is what a GET would have had, for an answer to HEAD.
    Empty { announced: Option<u64> },
    /// Held and checked.
    Full(Bytes),
    /// Not held: what was read already, and the rest as it comes.
    Stream(Stream),
}

/// A body that goes through as it comes.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) held: Bytes,
    pub(crate) rest: UpstreamBody,
    /// Bytes in all, if the upstream announced them.
    pub(crate) length: Option<u64>,
    /// The time that the upstream may take between two pieces.
    pub(crate) patience: Duration,
}

impl Stream {
    /// The next piece, or `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        if !self.held.is_empty() {
            return Ok(Some(std::mem::take(&mut self.held)));
        }
        let patience = self.patience;
        self.rest.chunk(|| Instant::now() + patience).await
    }
}

/// Holds and checks the answer.
///
/// # Errors
/// `response.*`, `upstream.*`.
pub(crate) async fn check(
    decision: &mut Decision,
    plan: &OperationPlan,
    method: &Method,
    incoming: Incoming,
    deadline: Instant,
) -> Result<Reply, Denial> {
    let Incoming {
        status,
        mut headers,
        mut body,
    } = incoming;
    clean(&mut headers);
    if method == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
    {
        if plan.operation().is_some() {
            declared_status(decision, plan, status)?;
        }
        let announced = length(&headers);
        return Ok(Reply {
            status,
            headers,
            body: ReplyBody::Empty { announced },
        });
    }
    let Some((_, operation)) = plan.operation() else {
        let incoming = Incoming {
            status,
            headers,
            body,
        };
        return unchecked(decision, plan, incoming, deadline).await;
    };
    if headers
        .get_all(header::CONTENT_TYPE)
        .iter()
        .nth(1)
        .is_some()
    {
        // The check would read the first, a browser the last.
        decision.refuse(Reason::ResponseInvalid, "two `Content-Type` fields")?;
    }
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if operation.response_streams(status.as_u16(), content_type) {
        decision
            .notes
            .push("response not checked: its media type is binary or a stream".into());
        return Ok(streamed(plan, status, headers, Bytes::new(), body));
    }
    match hold(decision, plan, &mut body, deadline).await? {
        Held::Whole(held) => {
            let body = match decoded(decision, plan, &mut headers, &held)? {
                Decoded::Plain => checked(decision, plan, status, &mut headers, held)?,
                Decoded::To(plain) => checked(decision, plan, status, &mut headers, plain)?,
                Decoded::Not => held,
            };
            Ok(Reply {
                status,
                headers,
                body: ReplyBody::Full(body),
            })
        }
        Held::TooLarge(held) => {
            declared_status(decision, plan, status)?;
            decision.notes.push(format!(
                "response not checked: over {} bytes",
                plan.bounds.response
            ));
            Ok(streamed(plan, status, headers, held, body))
        }
    }
}

/// An answer that no description speaks of: it is held for the rules, if they can want to see it.
async fn unchecked(
    decision: &mut Decision,
    plan: &OperationPlan,
    incoming: Incoming,
    deadline: Instant,
) -> Result<Reply, Denial> {
    let Incoming {
        status,
        headers,
        mut body,
    } = incoming;
    decision
        .notes
        .push("response not checked: the API has no description".into());
    if plan.rules.is_none() || !may_be_searched(&headers) {
        return Ok(streamed(plan, status, headers, Bytes::new(), body));
    }
    match hold(decision, plan, &mut body, deadline).await? {
        Held::Whole(held) => Ok(Reply {
            status,
            headers,
            body: ReplyBody::Full(held),
        }),
        Held::TooLarge(held) => Ok(streamed(plan, status, headers, held, body)),
    }
}

/// Whether rules can want to see a body of this media type: text, JSON or XML that ends.
fn may_be_searched(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE);
    let named = named
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = named
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media != "text/event-stream"
        && (media.starts_with("text/") || media.ends_with("json") || media.ends_with("xml"))
}

/// Holds a whole body against the description; gives what is left of it.
fn checked(
    decision: &mut Decision,
    plan: &OperationPlan,
    status: StatusCode,
    headers: &mut HeaderMap,
    held: Bytes,
) -> Result<Bytes, Denial> {
    let Some((description, operation)) = plan.operation() else {
        return Ok(held);
    };
    let mut found = Vec::new();
    let outcome = operation.check_response(
        &description.schemas,
        status.as_u16(),
        headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes),
        &held,
        plan.responses,
        &mut found,
    );
    inspect::refuse_all(decision, found)?;
    match outcome {
        ResponseOutcome::Unchanged => Ok(held),
        ResponseOutcome::NotChecked(why) => {
            decision.notes.push(format!("response not checked: {why}"));
            Ok(held)
        }
        ResponseOutcome::Trimmed { body, dropped } => {
            decision.notes.push(format!(
                "response properties dropped: {}",
                dropped.join(", ")
            ));
            if body.is_empty() {
                headers.remove(header::CONTENT_TYPE);
            }
            // They described the bytes that the upstream sent.
            for name in [
                "content-md5",
                "digest",
                "content-digest",
                "repr-digest",
                "etag",
                "accept-ranges",
            ] {
                headers.remove(name);
            }
            Ok(Bytes::from(body))
        }
    }
}

fn declared_status(
    decision: &mut Decision,
    plan: &OperationPlan,
    status: StatusCode,
) -> Result<(), Denial> {
    let declared = plan
        .operation()
        .is_some_and(|(_, operation)| operation.responses.media_types(status.as_u16()).is_some());
    if declared || status == StatusCode::NOT_MODIFIED || plan.allows_undeclared_responses() {
        return Ok(());
    }
    decision.refuse(
        Reason::ResponseUndeclared,
        format!("status {} is not declared", status.as_u16()),
    )
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn streamed(
    plan: &OperationPlan,
    status: StatusCode,
    headers: HeaderMap,
    held: Bytes,
    rest: UpstreamBody,
) -> Reply {
    let length = rest.announced();
    let patience = plan.api.upstream.timeouts.total;
    Reply {
        status,
        headers,
        body: ReplyBody::Stream(Stream {
            held,
            rest,
            length,
            patience,
        }),
    }
}

enum Held {
    Whole(Bytes),
    TooLarge(Bytes),
}

async fn hold(
    decision: &mut Decision,
    plan: &OperationPlan,
    body: &mut UpstreamBody,
    deadline: Instant,
) -> Result<Held, Denial> {
    if body.announced().is_some_and(|length| {
        usize::try_from(length).is_ok_and(|length| length > plan.bounds.response)
    }) {
        return Ok(Held::TooLarge(Bytes::new()));
    }
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        let piece = match body.chunk(|| deadline).await {
            Ok(Some(piece)) => piece,
            Ok(None) if more.is_empty() => return Ok(Held::Whole(first)),
            Ok(None) => return Ok(Held::Whole(more.freeze())),
            Err(error) => return Err(decision.fail(error.reason(), error.to_string())),
        };
        if first.is_empty() && more.is_empty() {
            first = piece;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&first);
            }
            more.extend_from_slice(&piece);
        }
        if first.len().max(more.len()) > plan.bounds.response {
            return Ok(Held::TooLarge(if more.is_empty() {
                first
            } else {
                more.freeze()
            }));
        }
    }
}

enum Decoded {
    /// It was not encoded.
    Plain,
    To(Bytes),
    /// It cannot be, and the mode lets it pass as it is.
    Not,
}

/// An upstream that encodes although it was not asked to is decoded, for nothing else can be checked.
fn decoded(
    decision: &mut Decision,
    plan: &OperationPlan,
    headers: &mut HeaderMap,
    held: &[u8],
) -> Result<Decoded, Denial> {
    let coding = match Coding::of(headers) {
        Ok(None) => return Ok(Decoded::Plain),
        Ok(Some(coding)) => coding,
        Err(unknown) => {
            decision.refuse(
                Reason::ResponseInvalid,
                format!("content encoding `{unknown}` cannot be checked"),
            )?;
            return Ok(Decoded::Not);
        }
    };
    let limits = decode::Limits {
        size: plan.bounds.response,
        expansion: usize::MAX,
    };
    match decode::decode(coding, held, limits) {
        Ok(plain) => {
            headers.remove(header::CONTENT_ENCODING);
            Ok(Decoded::To(Bytes::from(plain)))
        }
        Err(error) => {
            decision.refuse(
                Reason::ResponseInvalid,
                format!("content encoding: {error}"),
            )?;
            Ok(Decoded::Not)
        }
    }
}

/// Takes away what belongs to the hop from the upstream, and what tells an attacker about it.
fn clean(headers: &mut HeaderMap) {
    let listed: SmallVec<[HeaderName; 2]> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::CONTENT_TYPE && *name != header::CONTENT_ENCODING)
        .collect();
    for name in listed {
        headers.remove(name);
    }
    let unwelcome: SmallVec<[HeaderName; 4]> = headers
        .keys()
        .filter(|name| is_unwelcome(name.as_str()))
        .cloned()
        .collect();
    for name in unwelcome {
        headers.remove(name);
    }
}

fn is_unwelcome(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "server"
            | "x-powered-by"
            | "x-aspnet-version"
            | "x-aspnetmvc-version"
            | "x-runtime"
            | "x-generator"
            | "x-debug-token"
            | "x-debug-token-link"
            | "x-sourcemap"
            | "sourcemap"
            | "alt-svc"
            | "date"
            | "x-request-id"
    )
}

/// Adds what keeps browsers and caches from misusing an answer, where the upstream says nothing.
pub(crate) fn dress(
    headers: &mut HeaderMap,
    decision: &Decision,
    id: HeaderValue,
    hsts: Option<&HeaderValue>,
) {
    headers.reserve(7);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::X_FRAME_OPTIONS)
        .or_insert(HeaderValue::from_static("DENY"));
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("no-referrer"));
    let html = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .get(..9)
            .is_some_and(|text| text.eq_ignore_ascii_case(b"text/html"))
    });
    if !html {
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(policy);
    }
    // What a principal may see is not for a shared cache, unless the upstream says so.
    if decision.principal.is_some() {
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    if let Some(hsts) = hsts.filter(|_| decision.tls) {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    headers.insert(HeaderName::from_static("x-request-id"), id);
}

/// That something was asked for, and nothing of what came of it.
pub(crate) fn accepted() -> Reply {
    Reply {
        status: StatusCode::ACCEPTED,
        ..nothing()
    }
}

/// What stands for an answer when nobody is there to read it. It is never sent.
pub(crate) fn nothing() -> Reply {
    Reply {
        status: StatusCode::NO_CONTENT,
        headers: HeaderMap::new(),
        body: ReplyBody::Empty { announced: None },
    }
}

/// The answer to a refusal: RFC 9457, with the reason's code, the request's id, and nothing else.
pub(crate) fn problem(decision: &Decision, reason: Reason) -> Reply {
    let status = reason.status();
    let body = format!(
        "{{{},\"title\":\"{}\",\"status\":{},\"code\":\"{}\",\"request_id\":\"{}\"}}",
        limit::problem_type(decision, reason),
        status.canonical_reason().unwrap_or("Error"),
        status.as_u16(),
        reason.code(),
        decision.id,
    );
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let body = match decision.method.as_str() {
        "HEAD" => ReplyBody::Empty {
            announced: u64::try_from(body.len()).ok(),
        },
        _ => ReplyBody::Full(Bytes::from(body)),
    };
    Reply {
        status,
        headers,
        body,
    }
}
