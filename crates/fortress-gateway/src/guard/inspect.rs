//! What the request holds: parameters, then the whole body, against the description and the rules.
//!
//! The body is read to its end, within its bounds, before the upstream sees a byte. The description
//! comes first: it says more exactly what is wrong. Deliberately not here: what the schemas mean
//! (`fortress-spec`), and what the rules mean (`fortress-waf`).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fortress_limits::budget::Reservation;
use fortress_model::{Bounds, Decision, Denial, Reason};
use fortress_spec::check::{RequestParts, Violation};
use http::{HeaderMap, HeaderValue, header};
use tokio::time::Instant;

use super::{
    body::{LateBody, Memory},
    limit::Tally,
    principal::Principal,
};
use crate::{
    compile::OperationPlan,
    decode::{self, Coding},
    request::{self, BodyError, Request, RequestBody},
    route::Routed,
    rules::{Examination, Length},
    serve::Refused,
    worker,
};

/// A request that was read whole, within its bounds, and looked at.
#[derive(Debug)]
pub(crate) struct Inspected {
    request: Request,
    body: Bytes,
    memory: Option<Reservation>,
}

impl Inspected {
    /// The request, and its body as it will go on.
    pub(crate) fn parts(&self) -> (&Request, &Bytes) {
        (&self.request, &self.body)
    }

    pub(crate) fn into_parts(self) -> (Request, Bytes, Option<Reservation>) {
        (self.request, self.body, self.memory)
    }
}

/// Inspects parameters and body.
///
/// # Errors
/// `parameter.*`, `cookie.*`, `body.*`, `content_type.*`, `content_encoding.*`, `charset.*`, `limit.*`, `waf.*`.
pub(crate) async fn check(
    decision: &mut Decision,
    routed: &Routed,
    mut request: Request,
    wire: &mut LateBody<'_, impl RequestBody>,
    examination: &mut Examination,
    (tally, principal): (&mut Tally, &Principal),
) -> Result<Inspected, Refused> {
    let plan = routed.plan();
    request::drop_overrides(decision, &mut request.headers, &plan.declared_overrides);
    let proven = parameters(decision, routed, &mut request)?;
    if !plan.ranges {
        // A part of a document cannot be held against its schema.
        request.headers.remove(header::RANGE);
        request.headers.remove(header::IF_RANGE);
    }
    let packing = Packing::of(decision, &request.headers)?;
    if let Some(rules) = &plan.rules {
        let length = wire.announced().map_or(Length::Unknown, |_| Length::Known);
        let operation = plan.operation().map(|(_, operation)| operation);
        let run = examination.begin(decision, rules);
        for (name, value) in routed.values(request.path.as_str()) {
            run.path_value(name, value);
        }
        run.head(decision, &request, length, operation, &proven)?;
    }
    let raw = wire.whole(decision, &plan.bounds).await?;
    if matches!(packing, Packing::Coded(_)) && !raw.is_empty() {
        // Beside it as it came there is it as it is meant.
        let most = raw.len().saturating_mul(plan.bounds.expansion);
        wire.memory().grow(decision, most.min(plan.bounds.body))?;
    }
    let (body, is_plain) = decoded(decision, plan, &mut request.headers, packing, raw)?;
    let proven = if is_plain {
        described(decision, plan, &request.headers, &body)?
    } else {
        Vec::new()
    };
    let plain = is_plain.then_some(&*body);
    tally
        .body(decision, routed, &request, principal, plain)
        .await?;
    if let Some(run) = examination.run() {
        // What could not be decoded passed under `monitor`: rules would find noise in it.
        let body = if is_plain { body.clone() } else { Bytes::new() };
        run.body(decision, request.query.as_deref(), body, &proven)?;
    }
    wire.memory().settle(body.len());
    let memory = wire.take_memory();
    Ok(Inspected {
        request,
        body,
        memory,
    })
}

/// The body against its description; gives the stretches of it that this proved harmless.
pub(crate) fn described(
    decision: &mut Decision,
    plan: &OperationPlan,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<(u32, u32)>, Denial> {
    let Some((description, operation)) = plan.operation() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let content_type = single_content_type(headers);
    let outcome = operation.check_body(
        &description.schemas,
        content_type.as_deref(),
        body,
        &plan.policy,
        &mut found,
    );
    refuse_all(decision, found)?;
    Ok(outcome.proven)
}

/// The parameters against their description; gives the places, among those declared, of those that
/// this proved harmless.
pub(crate) fn parameters(
    decision: &mut Decision,
    routed: &Routed,
    request: &mut Request,
) -> Result<Vec<u16>, Denial> {
    let plan = routed.plan();
    let Some((description, operation)) = plan.operation() else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    let outcome = {
        let parts = RequestParts {
            path_values: &routed.values(request.path.as_str()),
            query: request.query.as_deref(),
            headers: &request.headers,
        };
        operation.check_parameters(&description.schemas, &parts, &plan.policy, &mut found)
    };
    refuse_all(decision, found)?;
    if let Some(cookie) = outcome.cookie {
        request.headers.remove(header::COOKIE);
        if let Ok(value) = HeaderValue::from_str(&cookie)
            && !cookie.is_empty()
        {
            request.headers.insert(header::COOKIE, value);
        }
        decision.notes.push("undeclared cookies removed".into());
    }
    Ok(outcome.proven)
}

/// Records every violation; the first one that is enforced ends the request.
pub(crate) fn refuse_all(decision: &mut Decision, found: Vec<Violation>) -> Result<(), Denial> {
    let mut verdict = Ok(());
    for violation in found {
        let detail = if violation.location.is_empty() {
            violation.detail
        } else {
            format!("`{}`: {}", violation.location, violation.detail)
        };
        let refused = decision.refuse(violation.reason, detail);
        verdict = verdict.and(refused);
    }
    verdict
}

/// Several `Content-Type` fields are joined by commas, which no media type holds: the check then
/// refuses them as malformed.
fn single_content_type(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let mut joined = values.next()?.as_bytes().to_vec();
    for value in values {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value.as_bytes());
    }
    Some(joined)
}

/// A body may be this slow in its beginning.
const GRACE: Duration = Duration::from_secs(5);

/// What came faster than it had to buys so much silence at most: else a body that came at once but for
/// its last byte would hold its memory for as long as a slow one may take.
const CREDIT: Duration = Duration::from_secs(10);

/// Reads the body whole. What cannot be read cannot be forwarded: these refusals hold in any mode.
pub(super) async fn read(
    decision: &mut Decision,
    bounds: &Bounds,
    wire: &mut impl RequestBody,
    memory: &mut Memory,
) -> Result<Bytes, Denial> {
    let too_large = |decision: &mut Decision| {
        decision.fail(Reason::BodyTooLarge, format!("over {} bytes", bounds.body))
    };
    let announced = wire.announced();
    if announced == Some(0) {
        return Ok(Bytes::new());
    }
    if announced
        .is_some_and(|length| usize::try_from(length).is_ok_and(|length| length > bounds.body))
    {
        return Err(too_large(decision));
    }
    let started = Instant::now();
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut received = 0_usize;
    let mut deadline = started + GRACE;
    loop {
        let piece = match worker::before(|| deadline, wire.next()).await {
            Err(_) => {
                let detail = format!("{received} bytes in {:?}", started.elapsed());
                return Err(decision.fail(Reason::BodyTimeout, detail));
            }
            Ok(Err(BodyError::Framing(reason, detail))) => {
                return Err(decision.fail(reason, detail));
            }
            Ok(Err(BodyError::Incomplete)) => {
                let detail = format!("the client closed after {received} bytes");
                return Err(decision.fail(Reason::BodyIncomplete, detail));
            }
            Ok(Ok(None)) => break,
            Ok(Ok(Some(piece))) => piece,
        };
        received = received.saturating_add(piece.len());
        deadline =
            (deadline + time_for(piece.len(), bounds.body_rate)).min(Instant::now() + CREDIT);
        decision.request_bytes = u64::try_from(received).unwrap_or(u64::MAX);
        if received > bounds.body {
            return Err(too_large(decision));
        }
        memory.grow(decision, piece.len())?;
        match &first {
            None => first = Some(piece),
            Some(_) => rest.extend_from_slice(&piece),
        }
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// How long so many bytes may take.
fn time_for(bytes: usize, rate: u64) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How a body came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Packing {
    Plain,
    Coded(Coding),
    /// In a way that is not undone here, which the mode let pass.
    Unknown,
}

impl Packing {
    /// As the fields say, before anything of the body is read.
    fn of(decision: &mut Decision, headers: &HeaderMap) -> Result<Self, Denial> {
        match Coding::of(headers) {
            Ok(None) => Ok(Self::Plain),
            Ok(Some(coding)) => Ok(Self::Coded(coding)),
            Err(unknown) => {
                let detail = format!("`{unknown}`; decoded are gzip, br and zstd, one at a time");
                decision.refuse(Reason::ContentEncodingUnknown, detail)?;
                Ok(Self::Unknown)
            }
        }
    }
}

/// Undoes `Content-Encoding`, so that the upstream gets the very bytes that were checked. Says
/// whether that succeeded: where the mode lets pass what did not, it goes on as it came, unchecked.
fn decoded(
    decision: &mut Decision,
    plan: &OperationPlan,
    headers: &mut HeaderMap,
    packing: Packing,
    raw: Bytes,
) -> Result<(Bytes, bool), Denial> {
    headers.remove(header::CONTENT_LENGTH);
    // What clients accept is between them and the gateway: an encoded answer could not be checked.
    headers.remove(header::ACCEPT_ENCODING);
    let coding = match packing {
        Packing::Unknown => return Ok((raw, false)),
        Packing::Plain => None,
        Packing::Coded(coding) => Some(coding),
    };
    let Some(coding) = coding.filter(|_| !raw.is_empty()) else {
        headers.remove(header::CONTENT_ENCODING);
        return Ok((raw, true));
    };
    let bounds = decode::Limits {
        size: plan.bounds.body,
        expansion: plan.bounds.expansion,
    };
    let (reason, detail) = match decode::decode(coding, &raw, bounds) {
        Ok(body) => {
            headers.remove(header::CONTENT_ENCODING);
            // It is that of the bytes as they came (RFC 9530, section 2).
            headers.remove("content-digest");
            return Ok((Bytes::from(body), true));
        }
        Err(decode::DecodeError::TooLarge) => (
            Reason::BodyTooLarge,
            format!("over {} bytes when decoded", plan.bounds.body),
        ),
        Err(error) => (Reason::ContentEncodingInvalid, error.to_string()),
    };
    decision.refuse(reason, detail)?;
    Ok((raw, false))
}
