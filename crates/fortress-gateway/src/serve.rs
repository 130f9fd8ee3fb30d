//! A request's life, from its head to its answer. One way in, one way out, whatever the version of
//! HTTP: a guard either lets the request go on or ends it with a denial, and every end is recorded.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use fortress_limits::adaptive;
use fortress_model::{Decision, Denial, Outcome, Reason, decision::Stage};
use http::{HeaderValue, StatusCode, header};
use tokio::time::Instant;

use crate::{
    browser_login::{self, Browser, Page, send_away},
    client_certificate,
    compile::{Access, Gateway, OperationPlan},
    forwarded,
    guard::{
        authenticate,
        authorize::{self, Permit},
        body::LateBody,
        challenge,
        client::{self, Admitted},
        credential::Shown,
        inspect::{self, Inspected},
        limit::{Counted, Tally, Throttled},
        login::{Allowed, Attempt},
        objects::{Objects, Unwalked},
        principal::Principal,
    },
    h1, load,
    path::{encode_query, split_target},
    reply::{self, Reply},
    request::{self, Arrival, Head, Request, RequestBody},
    route::{self, Routed},
    rules::Examination,
    told::{self, Told},
    upstream::Outgoing,
    worker::{Recorder, Worker},
};

/// The proof that every guard was passed. Nobody outside the guards can make a [`Permit`] or an
/// [`Inspected`], hence nobody but [`guard`] can make a `Cleared`.
#[derive(Debug)]
pub(crate) struct Cleared {
    routed: Routed,
    admitted: Admitted,
    throttled: Throttled,
    principal: Principal,
    counted: Counted,
    unwalked: Unwalked,
    permit: Permit,
    inspected: Inspected,
    allowed: Allowed,
    told: Told,
}

impl Cleared {
    /// The request as it goes out.
    pub(crate) fn into_outgoing(self) -> Outgoing {
        let Self {
            routed,
            admitted,
            throttled,
            principal,
            counted,
            unwalked,
            permit,
            inspected,
            allowed,
            told,
        } = self;
        drop((
            routed, admitted, throttled, principal, counted, unwalked, permit,
        ));
        let (
            Request {
                method,
                path,
                query,
                mut headers,
                target: _,
                ended: _,
            },
            body,
            memory,
        ) = inspected.into_parts();
        allowed.write(&mut headers);
        told.write(&mut headers);
        Outgoing {
            method,
            path,
            query: query.map(encode_query),
            headers,
            body,
            memory,
        }
    }
}

/// An answer, and the record that is to be completed while it is sent.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) record: Recorder,
}

/// Serves a request. `body` is what is still on the wire.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    arrival: &Arrival,
    head: Head,
    body: &mut impl RequestBody,
) -> Answer {
    let started = Instant::now();
    let gateway = worker.gateway();
    let decision = Box::new(begin(worker, &gateway, arrival, &head));
    let id = request::id_value(&decision);
    // From here on the request is recorded, even if nobody waits for its answer any more.
    let mut record = Recorder::new(worker, decision, started);
    let Some(decision) = record.decision() else {
        return Answer {
            reply: reply::nothing(),
            record,
        };
    };
    let mut stopwatch = Stopwatch { since: started };
    let mut examination = Examination::new(worker, arrival.own);
    // What limits gave is given back with the record, whatever becomes of the request.
    let mut tally = Tally::default();
    let mut watch = Watch::default();
    let ran = {
        // Pinned here, since moving it would copy all that it holds.
        let answering = pin!(answer(
            worker,
            (&gateway, arrival),
            decision,
            &mut stopwatch,
            (head, &id),
            body,
            (&mut examination, &mut tally, &mut watch),
        ));
        unwound(answering).await
    };
    let answered = match ran {
        Ok(answered) => answered,
        Err(Panicked) => {
            examination.discard();
            Err(decision
                .fail(Reason::GatewayFault, "a guard panicked")
                .into())
        }
    };
    examination.end(decision);
    stopwatch.lap(decision);
    let mut reply = match answered {
        Ok(reply) => {
            tally.settle(decision, &reply.headers);
            reply
        }
        Err(End::Refused(refused)) => {
            watch.attempt.end(decision);
            refuse(decision, refused)
        }
        Err(End::Gone) => {
            watch.attempt.abandon(decision);
            return Answer {
                reply: reply::nothing(),
                record,
            };
        }
    };
    watch.browser.tell(&mut reply.headers);
    reply::dress(
        &mut reply.headers,
        decision,
        id,
        gateway.hsts(&arrival.listener),
    );
    tally.tell(decision, &mut reply.headers);
    decision.status = reply.status.as_u16();
    watch.objects.note(decision);
    record.keep(tally);
    Answer { reply, record }
}

/// What goes from the guards to the answer, and is learnt of whoever asks from it.
#[derive(Debug, Default)]
struct Watch {
    attempt: Attempt,
    objects: Objects,
    browser: Browser,
}

/// Why there is no answer of the upstream's.
enum End {
    Refused(Refused),
    /// The client went away, and its request with it.
    Gone,
}

impl<T: Into<Refused>> From<T> for End {
    fn from(refused: T) -> Self {
        Self::Refused(refused.into())
    }
}

/// Answers a head that could not be read.
pub(crate) fn refuse_head(
    worker: &Rc<Worker>,
    arrival: &Arrival,
    refused: h1::Refused,
    seen: usize,
) -> Answer {
    let mut decision = arrival.decision(worker, arrival.peer_address());
    decision.head_bytes = u64::try_from(seen).unwrap_or_default();
    let denial = decision.fail(refused.reason, refused.detail);
    let gateway = worker.gateway();
    let mut reply = refuse(&mut decision, denial.into());
    let id = request::id_value(&decision);
    reply::dress(
        &mut reply.headers,
        &decision,
        id,
        gateway.hsts(&arrival.listener),
    );
    decision.status = reply.status.as_u16();
    Answer {
        reply,
        record: Recorder::new(worker, Box::new(decision), Instant::now()),
    }
}

/// A denial, with what its answer must carry beside the problem.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) denial: Denial,
    pub(crate) headers: challenge::Fields,
    /// Where a person's browser is sent instead of the problem.
    pub(crate) redirect: Option<Box<HeaderValue>>,
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self {
            denial,
            headers: challenge::Fields::new(),
            redirect: None,
        }
    }
}

fn begin(worker: &Worker, gateway: &Gateway, arrival: &Arrival, head: &Head) -> Decision {
    let client =
        forwarded::client_address(arrival.peer.ip(), &head.headers, arrival.trusted(gateway));
    let mut decision = arrival.decision(worker, client);
    decision.version = head.version;
    decision.ja4 = arrival.ja4(gateway).cloned();
    head.method.as_str().clone_into(&mut decision.method);
    decision.host = String::from(&*head.host);
    decision.path = String::from(split_target(&head.target).0);
    decision.head_bytes = u64::try_from(head.bytes).unwrap_or_default();
    if let Some(agent) = head.headers.get(header::USER_AGENT) {
        let agent = agent.as_bytes();
        let cut = agent.get(..256).unwrap_or(agent);
        decision.user_agent = String::from_utf8_lossy(cut).into_owned();
    }
    decision
}

async fn answer(
    worker: &Rc<Worker>,
    (gateway, arrival): (&Gateway, &Arrival),
    decision: &mut Decision,
    stopwatch: &mut Stopwatch,
    (head, id): (Head, &HeaderValue),
    body: &mut impl RequestBody,
    (examination, tally, watch): (&mut Examination, &mut Tally, &mut Watch),
) -> Result<Reply, End> {
    let method = head.method.clone();
    if let Some(reply) = gateway.documents.answer(&method, &head.host, &head.target) {
        decision.outcome = Outcome::Answered;
        return Ok(reply);
    }
    if let Some(answered) = gateway
        .logins
        .answer(gateway, decision, arrival, &head)
        .await
    {
        return Ok(answered?);
    }
    let cleared = guard(
        (gateway, arrival),
        decision,
        stopwatch,
        (head, id),
        &mut *body,
        (examination, tally, watch),
    )
    .await?;
    let plan = Arc::clone(cleared.routed.plan());
    stopwatch.enter(decision, Stage::Forward);
    let passing = load::enter(decision, &plan)?;
    let upstream = &plan.api.upstream;
    let began = stopwatch.since;
    let deadline = began + upstream.timeouts.total;
    let ended = {
        // Pinned here, since `select!` would copy all that it holds.
        let forwarding = pin!(async {
            let incoming = match worker.upstreams.send(upstream, cleared, began).await {
                Ok(incoming) => incoming,
                Err(error) => return Err(decision.fail(error.reason(), error.to_string()).into()),
            };
            stopwatch.enter(decision, Stage::Reply);
            decision.upstream_status = Some(incoming.status.as_u16());
            let head = (incoming.status, &incoming.headers);
            watch.attempt.judge_head(decision, head).await?;
            let reply = reply::check(decision, &plan, &method, incoming, deadline).await?;
            watch.attempt.judge_whole(decision, &reply).await?;
            let reply = watch.attempt.level(decision, reply).await;
            if let Some(run) = examination.run() {
                run.answer(decision, &reply)?;
            }
            decision.outcome = Outcome::Forwarded;
            Ok(reply)
        });
        tokio::select! {
            biased;
            answered = forwarding => answered,
            () = body.gone() => Err(End::Gone),
        }
    };
    if let Some(passing) = passing {
        passing.finish(outcome(decision, &ended));
    }
    ended
}

/// What the end of a request says of its upstream's load.
fn outcome(decision: &Decision, ended: &Result<Reply, End>) -> adaptive::Outcome {
    let reason = match ended {
        Ok(_) => None,
        Err(End::Refused(refused)) => Some(refused.denial.reason),
        Err(End::Gone) => return adaptive::Outcome::Ignored,
    };
    match (decision.upstream_status, reason) {
        (Some(503), _) => adaptive::Outcome::Overloaded,
        (Some(_), _) => adaptive::Outcome::Answered,
        (None, Some(Reason::UpstreamTimeout | Reason::UpstreamUnreachable)) => {
            adaptive::Outcome::Overloaded
        }
        (None, _) => adaptive::Outcome::Ignored,
    }
}

/// Every guard, in its place.
async fn guard(
    (gateway, arrival): (&Gateway, &Arrival),
    decision: &mut Decision,
    stopwatch: &mut Stopwatch,
    (mut head, id): (Head, &HeaderValue),
    body: &mut impl RequestBody,
    (examination, tally, watch): (&mut Examination, &mut Tally, &mut Watch),
) -> Result<Cleared, Refused> {
    let vouched = client_certificate::take_fields(gateway, arrival, decision, &mut head.headers);
    let (peer, trusted) = (arrival.peer_address(), arrival.trusted(gateway));
    let scheme = forwarded::client_scheme(arrival.tls, peer, &head.headers, trusted);
    let is_stated = forwarded::stated_scheme(peer, &head.headers, trusted).is_some();
    client::at_listener(decision, gateway, arrival)?;
    let (mut request, host) = request::parse(decision, head)?;
    stopwatch.enter(decision, Stage::Route);
    let routed = route::find(gateway, decision, &host, &request.method, &request.path)?;
    let plan = routed.plan();
    stopwatch.enter(decision, Stage::Throttle);
    let admitted = client::check(decision, plan)?;
    let throttled = tally.throttle(decision, &routed, &request).await?;
    stopwatch.enter_after(plan, decision, Stage::Authenticate);
    let certificate = client_certificate::of_request(gateway, arrival, decision, &vouched)?;
    let page = Page::new(&request, (&host, scheme), arrival, decision.received);
    let sessions = browser_login::recognise(plan, &page, &mut watch.browser).await;
    let shown = Shown {
        method: &request.method,
        host: &host,
        path: &request.path,
        query: request.query.as_deref(),
        target: &request.target,
        scheme,
        is_unstated: arrival.is_proxied(gateway) && !is_stated,
        headers: &request.headers,
        certificate: &certificate,
        sessions: &sessions,
        now: decision.received,
    };
    let mut body = LateBody::new(body, &gateway.memory);
    let asked = (&routed, &request, &shown);
    let known = admit(decision, stopwatch, asked, &mut body, (tally, watch)).await;
    let (principal, counted, unwalked, permit) = match known {
        Ok(known) => known,
        Err(refused) => {
            let away = (&sessions, &mut watch.browser);
            return Err(send_away(decision, plan, &page, away, refused).await);
        }
    };
    gateway.logins.strip(&mut request.headers);
    let certificate = certificate.good().map(|certificate| certificate.der());
    let prepared = told::prepare(decision, plan, (&principal, certificate), &mut request)?;
    stopwatch.enter_after(plan, decision, Stage::Inspect);
    request::add_forwarding(&mut request.headers, decision, (scheme, id));
    let counting = (tally, &principal);
    let inspected =
        inspect::check(decision, &routed, request, &mut body, examination, counting).await?;
    let allowed = watch
        .attempt
        .ask(decision, &routed, &inspected, principal.caller())
        .await?;
    let told = told::finish(decision, plan, &principal, prepared).await?;
    Ok(Cleared {
        routed,
        admitted,
        throttled,
        principal,
        counted,
        unwalked,
        permit,
        inspected,
        allowed,
        told,
    })
}

/// The guards that ask who calls, in their order: a refusal of theirs may be mended by logging in.
async fn admit(
    decision: &mut Decision,
    stopwatch: &mut Stopwatch,
    (routed, request, shown): (&Routed, &Request, &Shown<'_>),
    body: &mut LateBody<'_, impl RequestBody>,
    (tally, watch): (&mut Tally, &mut Watch),
) -> Result<(Principal, Counted, Unwalked, Permit), Refused> {
    let plan = routed.plan();
    let principal = authenticate::check(decision, plan, shown, body).await?;
    stopwatch.enter_after(plan, decision, Stage::Quota);
    let counted = tally.quota(decision, routed, request, &principal).await?;
    let unwalked = watch
        .objects
        .check(decision, plan, principal.caller())
        .await?;
    stopwatch.enter_after(plan, decision, Stage::Authorize);
    let permit = authorize::check(decision, plan, &principal)?;
    Ok((principal, counted, unwalked, permit))
}

fn refuse(decision: &mut Decision, refused: Refused) -> Reply {
    let mut reply = match refused.redirect {
        Some(location) => {
            decision.outcome = Outcome::Answered;
            browser_login::redirect(StatusCode::FOUND, *location)
        }
        None => {
            decision.outcome = Outcome::Denied(refused.denial.reason);
            reply::problem(decision, refused.denial.reason)
        }
    };
    let reason = refused.denial.reason;
    if matches!(
        reason,
        Reason::UpstreamOverloaded | Reason::BodyMemoryExhausted
    ) {
        // What it waits for is over in a moment, or nobody knows.
        reply
            .headers
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    for (name, value) in refused.headers {
        reply.headers.append(name, value);
    }
    reply
}

/// Work that panicked.
#[derive(Debug)]
struct Panicked;

/// Runs work whose panic is a defect of ours, but must not end a request without a verdict, nor the
/// other requests of its connection.
async fn unwound<T>(mut work: Pin<&mut impl Future<Output = T>>) -> Result<T, Panicked> {
    std::future::poll_fn(|cx| {
        let polled =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// Tells how long each stage took.
#[derive(Debug)]
struct Stopwatch {
    since: Instant,
}

impl Stopwatch {
    fn lap(&mut self, decision: &mut Decision) {
        let now = Instant::now();
        decision.timings.add(decision.stage, now - self.since);
        self.since = now;
    }

    /// As [`Stopwatch::enter`], but looks at the clock only if the stage that ends had something to do:
    /// a look takes longer than nothing does, which counts for the next stage.
    fn enter_after(&mut self, plan: &OperationPlan, decision: &mut Decision, stage: Stage) {
        if !is_idle(plan, decision.stage) {
            self.lap(decision);
        }
        decision.stage = stage;
    }

    fn enter(&mut self, decision: &mut Decision, stage: Stage) {
        self.lap(decision);
        decision.stage = stage;
    }
}

/// Whether a request of this operation has nothing to do in a stage.
fn is_idle(plan: &OperationPlan, stage: Stage) -> bool {
    match stage {
        Stage::Throttle => plan.limits.is_none(),
        Stage::Quota => plan.limits.is_none() && plan.objects.is_none(),
        Stage::Authenticate | Stage::Authorize => matches!(plan.access, Access::Public),
        Stage::Parse | Stage::Route | Stage::Inspect | Stage::Forward | Stage::Reply => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fortress_model::{
        Timestamp,
        decision::{RequestId, Timings},
    };

    use super::*;

    #[test]
    fn a_stage_that_had_nothing_to_do_is_not_timed() {
        let plan = OperationPlan::named("open");
        let client = std::net::Ipv4Addr::LOCALHOST.into();
        let mut decision = Decision::begin(RequestId(1), Timestamp(0), client);
        let mut stopwatch = Stopwatch {
            since: Instant::now() - Duration::from_millis(5),
        };
        decision.stage = Stage::Throttle;
        for stage in [
            Stage::Authenticate,
            Stage::Quota,
            Stage::Authorize,
            Stage::Inspect,
        ] {
            stopwatch.enter_after(&plan, &mut decision, stage);
        }
        assert_eq!(decision.timings, Timings::default());
        stopwatch.enter_after(&plan, &mut decision, Stage::Forward);
        assert!(decision.timings.micros(Stage::Inspect) >= 5_000);
        assert_eq!(decision.stage, Stage::Forward);
    }

    #[tokio::test]
    async fn a_panic_becomes_a_verdict() {
        assert!(matches!(unwound(pin!(async { 1 })).await, Ok(1)));
        assert!(unwound(pin!(async { panic!("a defect") })).await.is_err());
    }
}
