//! How much a client and a caller may do: before any cryptography (`throttle`), once the caller is
//! known (`quota`), and once the body was read.
//!
//! All limits of a stage are asked at once, and take from all of them or from none. What an earlier
//! stage took stays taken when a later one refuses: attempts count. Deliberately not here: counting
//! (`fortress-limits`), and which limits an operation has (`limits`).

use std::{borrow::Cow, cell::OnceCell, net::IpAddr, sync::Arc, time::Duration};

use fortress_auth::Value;
use fortress_limits::{
    cost::Number,
    headers::{self, Told},
    key::{Part, Stage as At, Subject},
    limiter::{Counted as CountedBy, Held, Limit, Measure, Refusal, Report},
};
use fortress_model::{
    Decision, Denial, Mode, Outcome, Reason,
    config::Factor,
    decision::{LimitRecord, Stage},
};
use fortress_spec::json;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::{body_value::Body, principal::Caller, principal::Principal};
use crate::{
    compile::OperationPlan,
    request::Request,
    route::Routed,
    serve::Refused,
    shared_counts::{Found, Permits},
};

/// The proof that the limits were asked that need nothing but the head.
#[derive(Debug)]
pub(crate) struct Throttled(());

/// The proof that the limits were asked that count by who calls.
#[derive(Debug)]
pub(crate) struct Counted(());

/// What limits gave to a request. Dropping it ends the request for those that count what is in
/// flight.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    kept: Option<Kept>,
}

#[derive(Debug)]
struct Kept {
    plan: Arc<OperationPlan>,
    held: Held,
    /// Of what is in flight over all instances.
    permits: Permits,
    /// What costs are made from that are settled by the answer; the request is gone by then.
    numbers: Vec<(Factor, Number<'static>)>,
}

impl Tally {
    /// Before any cryptography.
    ///
    /// # Errors
    /// `limit.*`.
    pub(crate) async fn throttle(
        &mut self,
        decision: &mut Decision,
        routed: &Routed,
        request: &Request,
    ) -> Result<Throttled, Refused> {
        self.ask(decision, At::Head, (routed, request), None, None)
            .await?;
        Ok(Throttled(()))
    }

    /// Once the caller is known.
    ///
    /// # Errors
    /// `limit.*`.
    pub(crate) async fn quota(
        &mut self,
        decision: &mut Decision,
        routed: &Routed,
        request: &Request,
        principal: &Principal,
    ) -> Result<Counted, Refused> {
        let caller = principal.caller();
        self.ask(decision, At::Identity, (routed, request), caller, None)
            .await?;
        Ok(Counted(()))
    }

    /// Once the body was read; `None` for one that could not be decoded.
    ///
    /// # Errors
    /// `limit.*`.
    pub(crate) async fn body(
        &mut self,
        decision: &mut Decision,
        routed: &Routed,
        request: &Request,
        principal: &Principal,
        body: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let caller = principal.caller();
        self.ask(decision, At::Body, (routed, request), caller, body)
            .await
    }

    async fn ask(
        &mut self,
        decision: &mut Decision,
        at: At,
        (routed, request): (&Routed, &Request),
        caller: Option<&Caller>,
        body: Option<&[u8]>,
    ) -> Result<(), Refused> {
        let plan = routed.plan();
        let Some(limits) = plan.limits.as_ref().filter(|of| of.limits.any_at(at)) else {
            return Ok(());
        };
        let mut asked = Asked::new(decision.client, (routed, request), caller, body);
        asked.ja4.clone_from(&decision.ja4);
        let now = limits.counts.now(decision.received);
        let found = match &limits.counts.shared {
            Some(shared) => shared.find_out(&limits.limits, at, &asked, now).await,
            None => Found::default(),
        };
        let limiter = &limits.counts.limiter;
        let outcome = limiter.take_given(&limits.limits, at, &asked, now, &found.given);
        let kept = self.kept.get_or_insert_with(|| Kept {
            plan: Arc::clone(plan),
            held: Held::default(),
            permits: Permits::new(),
            numbers: Vec::new(),
        });
        kept.held.join(outcome.held);
        if outcome.refused.is_none() {
            kept.permits.extend(found.permits);
        }
        let mut verdict = Ok(());
        let mut wait: Option<Duration> = None;
        for report in &outcome.reports {
            let Some(limit) = limits.limits.get(report.index) else {
                continue;
            };
            kept.remember(limit, &asked);
            decision.limits.push(record(decision.stage, limit, report));
            let Some(refusal) = report.refused else {
                continue;
            };
            let (reason, detail) = told(limit, report, refusal);
            let refused = decision.refuse_under(limit.mode(), reason, detail);
            if refused.is_err() {
                wait = wait.max(retry(limit, report));
            }
            verdict = verdict.and(refused);
        }
        verdict.map_err(|denial| refused(denial, wait))
    }

    /// Takes what the answer says that the request has cost.
    pub(crate) fn settle(&self, decision: &Decision, answer: &HeaderMap) {
        let Some(kept) = &self.kept else {
            return;
        };
        let Some(limits) = &kept.plan.limits else {
            return;
        };
        if decision.outcome != Outcome::Forwarded {
            return;
        }
        let now = limits.counts.now(decision.received);
        let number = |factor: &Factor| match factor {
            Factor::ResponseHeader(name) => field(answer, name),
            Factor::Number(_)
            | Factor::Query(_)
            | Factor::Path(_)
            | Factor::Header(_)
            | Factor::Body(_) => {
                let known = kept.numbers.iter().find(|(known, _)| known == factor);
                known.map_or(Number::Absent, |(_, number)| number.clone())
            }
        };
        let limiter = &limits.counts.limiter;
        kept.held.settle(
            limiter,
            &limits.limits,
            number,
            now,
            |shared, key, units| {
                if let Some(counts) = &limits.counts.shared {
                    counts.owe(shared, key, units, now.wall);
                }
            },
        );
    }

    /// Tells the client what is left, in the form that the limits ask for.
    pub(crate) fn tell(&self, decision: &Decision, fields: &mut HeaderMap) {
        let limits = self
            .kept
            .as_ref()
            .and_then(|kept| kept.plan.limits.as_ref());
        let Some(form) = limits
            .and_then(|limits| limits.limits.iter().next())
            .map(Limit::headers)
        else {
            return;
        };
        let told: SmallVec<[Told<'_>; 4]> = decision
            .limits
            .iter()
            .filter(|limit| limit.enforced)
            .map(|limit| Told {
                name: &limit.name,
                quota: limit.most,
                window: limit.window,
                remaining: limit.left,
                reset: limit.full_in,
            })
            .collect();
        let mut text = String::new();
        headers::write(form, &told, decision.received, &mut text, |name, value| {
            if let Ok(value) = HeaderValue::from_str(value) {
                fields.insert(HeaderName::from_static(name), value);
            }
        });
    }
}

impl Kept {
    fn remember(&mut self, limit: &Limit, asked: &Asked<'_>) {
        for factor in limit.settled_by().into_iter().flatten() {
            if self.numbers.iter().any(|(known, _)| known == factor) {
                continue;
            }
            let number = match asked.number(factor) {
                Number::Absent => Number::Absent,
                Number::Text(text) => Number::Text(Cow::Owned(text.into_owned())),
                Number::Unclear => Number::Unclear,
            };
            self.numbers.push((factor.clone(), number));
        }
    }
}

/// The members of a problem that say of which kind it is: of a refused limit in the words of
/// draft-ietf-httpapi-ratelimit-headers.
pub(crate) fn problem_type(decision: &Decision, reason: Reason) -> String {
    let is_limit = [
        Reason::LimitRate,
        Reason::LimitQuota,
        Reason::LimitConcurrency,
    ]
    .contains(&reason);
    if !is_limit {
        return "\"type\":\"about:blank\"".to_owned();
    }
    let violated: SmallVec<[&str; 4]> = decision
        .limits
        .iter()
        .filter(|limit| limit.refused && limit.enforced)
        .map(|limit| &*limit.name)
        .collect();
    headers::problem(&violated)
}

fn record(stage: Stage, limit: &Limit, report: &Report) -> LimitRecord {
    LimitRecord {
        stage,
        name: limit.shared_name(),
        kind: match limit.measure() {
            Measure::Rate(_) => "rate",
            Measure::Quota(_) => "quota",
            Measure::Concurrent(_) => "concurrent",
        },
        most: limit.most(),
        window: limit.window(),
        left: report.decision.remaining,
        full_in: report.decision.reset_after,
        retry_in: report.decision.retry_after,
        refused: report.refused.is_some(),
        enforced: limit.mode() == Mode::Enforce,
        counted: match report.counted {
            CountedBy::Here => "here",
            CountedBy::Shared => "shared",
            CountedBy::Alone { .. } => "alone",
            CountedBy::Open => "open",
            CountedBy::Closed => "closed",
        },
    }
}

fn told(limit: &Limit, report: &Report, refusal: Refusal) -> (Reason, String) {
    let name = limit.name();
    let most = limit.most();
    let reason = match limit.measure() {
        Measure::Rate(_) => Reason::LimitRate,
        Measure::Quota(_) => Reason::LimitQuota,
        Measure::Concurrent(_) => Reason::LimitConcurrency,
    };
    match refusal {
        Refusal::Unkeyed => (
            Reason::LimitUnkeyed,
            format!("limit `{name}` counts by something that the request lacks"),
        ),
        Refusal::Crowded => (
            reason,
            format!("limit `{name}` has no room for another key"),
        ),
        Refusal::Unavailable => (
            Reason::LimitUnavailable,
            format!("limit `{name}` cannot be asked, and refuses then"),
        ),
        Refusal::Spent => {
            let left = report.decision.remaining;
            let wait = match report.decision.retry_after {
                Some(wait) => format!(", enough again in {} s", headers::retry_after(wait)),
                None => String::new(),
            };
            (
                reason,
                format!("limit `{name}`: {left} of {most} left{wait}"),
            )
        }
    }
}

/// How long a client is told to wait; `None` where waiting does not help. Nobody knows when a request
/// in flight ends: a second is as good as any.
fn retry(limit: &Limit, report: &Report) -> Option<Duration> {
    match (report.refused, limit.measure()) {
        (Some(Refusal::Unavailable), _) => Some(Duration::from_secs(1)),
        (Some(Refusal::Spent | Refusal::Crowded), Measure::Concurrent(_)) => {
            Some(Duration::from_secs(1))
        }
        (Some(Refusal::Spent | Refusal::Crowded), Measure::Rate(_) | Measure::Quota(_)) => {
            report.decision.retry_after
        }
        (Some(Refusal::Unkeyed) | None, _) => None,
    }
}

fn refused(denial: Denial, wait: Option<Duration>) -> Refused {
    let mut refused = Refused::from(denial);
    if let Some(wait) = wait {
        let value = HeaderValue::from(headers::retry_after(wait));
        refused.headers.push((header::RETRY_AFTER, value));
    }
    refused
}

/// A request, as far as it is asked what it is counted by.
pub(super) struct Asked<'r> {
    plan: &'r OperationPlan,
    client: IpAddr,
    ja4: Option<Arc<str>>,
    routed: &'r Routed,
    request: &'r Request,
    caller: Option<&'r Caller>,
    raw: Option<&'r [u8]>,
    /// Read when the first limit asks for it.
    body: OnceCell<Body<'r>>,
}

impl<'r> Asked<'r> {
    pub(super) fn new(
        client: IpAddr,
        (routed, request): (&'r Routed, &'r Request),
        caller: Option<&'r Caller>,
        raw: Option<&'r [u8]>,
    ) -> Self {
        Self {
            plan: routed.plan(),
            client,
            ja4: None,
            routed,
            request,
            caller,
            raw,
            body: OnceCell::new(),
        }
    }

    /// What names an account.
    pub(super) fn name(&self, part: &Part) -> Option<Cow<'_, [u8]>> {
        if let Part::Body(path) = part {
            return self.of_body().name(path);
        }
        self.part(part)
    }

    fn of_body(&self) -> &Body<'_> {
        self.body.get_or_init(|| match self.raw {
            None => Body::Unknown,
            Some(raw) => {
                let policy = &self.plan.policy;
                let limits = json::Limits {
                    depth: policy.depth,
                    properties: policy.properties,
                    items: policy.items,
                };
                Body::read(&self.request.headers, raw, &limits)
            }
        })
    }
}

impl Subject for Asked<'_> {
    fn client(&self) -> IpAddr {
        self.client
    }

    fn part(&self, part: &Part) -> Option<Cow<'_, [u8]>> {
        match part {
            // The limiter asks for the address itself.
            Part::Client => None,
            Part::Ja4 => bytes(self.ja4.as_deref()?),
            Part::Operation => {
                let limits = self.plan.limits.as_ref()?;
                Some(Cow::Borrowed(limits.operation.as_bytes()))
            }
            Part::Header(name) => joined(
                self.request
                    .headers
                    .get_all(&**name)
                    .iter()
                    .map(|value| Cow::Borrowed(value.as_bytes())),
            ),
            Part::Query(name) => joined(pairs(self.request.query.as_deref(), name)),
            Part::Body(path) => self.of_body().part(path),
            Part::Principal => self.caller.map(|caller| {
                // Two identities may name different people alike.
                Cow::Owned(format!("{}\n{}", caller.identity.name, caller.id).into_bytes())
            }),
            Part::ApiKey => Some(Cow::Owned(self.caller?.api_key()?.into_bytes())),
            Part::Tenant => self.caller?.tenant_claim().and_then(claim),
            Part::Claim(path) => self.caller?.claim(path).and_then(claim),
        }
    }

    fn number(&self, factor: &Factor) -> Number<'_> {
        match factor {
            Factor::Number(number) => Number::Text(Cow::Owned(number.to_string().into_bytes())),
            Factor::Query(name) => one(pairs(self.request.query.as_deref(), name)),
            Factor::Path(name) => {
                let values = self.routed.values(self.request.path.as_str());
                one(values
                    .into_iter()
                    .filter(|(known, _)| *known == &**name)
                    .map(|(_, value)| decoded(value, Plus::Plus)))
            }
            Factor::Header(name) => field(&self.request.headers, name),
            Factor::Body(path) => self.of_body().number(path),
            Factor::ResponseHeader(_) => Number::Absent,
        }
    }

    /// `IDENTITY/ID`, or `*/ID` of whichever identity.
    fn is_principal(&self, name: &str) -> bool {
        self.caller.is_some_and(|caller| {
            let rest = name.strip_prefix(&*caller.identity.name);
            let rest = rest.or_else(|| name.strip_prefix('*'));
            rest.and_then(|rest| rest.strip_prefix('/')) == Some(&*caller.id)
        })
    }

    fn is_in(&self, list: &str) -> bool {
        let lists = &self.plan.limit_networks;
        let mut known = lists.iter().filter(|known| &*known.name == list);
        known.any(|list| list.contains(self.client))
    }
}

fn field<'h>(fields: &'h HeaderMap, name: &str) -> Number<'h> {
    let values = fields.get_all(name).iter();
    one(values.map(|value| Cow::Borrowed(value.as_bytes())))
}

fn bytes(text: &str) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(text.as_bytes()))
}

fn claim(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::Null => None,
        Value::String(text) => bytes(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(Cow::Owned(value.to_string().into_bytes()))
        }
    }
}

/// All values of something that may be there several times; `None` if it is not there.
pub(super) fn joined<'v>(mut values: impl Iterator<Item = Cow<'v, [u8]>>) -> Option<Cow<'v, [u8]>> {
    let mut all = values.next()?;
    for value in values {
        let all = all.to_mut();
        all.push(0);
        all.extend_from_slice(&value);
    }
    Some(all)
}

/// The only value; several are unclear.
pub(super) fn one<'v>(mut values: impl Iterator<Item = Cow<'v, [u8]>>) -> Number<'v> {
    match (values.next(), values.next()) {
        (None, _) => Number::Absent,
        (Some(value), None) => Number::Text(value),
        (Some(_), Some(_)) => Number::Unclear,
    }
}

/// Whether `+` means a space.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plus {
    Plus,
    Space,
}

/// The values of a name in `a=1&b=2`.
pub(super) fn pairs<'q>(text: Option<&'q str>, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    text.unwrap_or_default().split('&').filter_map(move |pair| {
        let (known, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_it = !pair.is_empty() && *decoded(known, Plus::Space) == *name.as_bytes();
        is_it.then(|| decoded(value, Plus::Space))
    })
}

pub(super) fn decoded(text: &str, plus: Plus) -> Cow<'_, [u8]> {
    if plus == Plus::Space && text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_encoding::percent_decode_str(&spaced).collect());
    }
    percent_encoding::percent_decode_str(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_query(query: &str, part: Option<&str>, number: &Number<'_>) {
        let found = joined(pairs(Some(query), "a"));
        assert_eq!(found.as_deref(), part.map(str::as_bytes), "{query}");
        assert_eq!(one(pairs(Some(query), "a")), *number, "{query}");
    }

    #[test]
    fn values_of_a_query() {
        let text = |text: &'static str| Number::Text(Cow::Borrowed(text.as_bytes()));
        check_query("a=1", Some("1"), &text("1"));
        check_query("b=2&a=x%20y+z", Some("x y z"), &text("x y z"));
        check_query("%61=1", Some("1"), &text("1"));
        check_query("a", Some(""), &text(""));
        check_query("a=1&a=2", Some("1\u{0}2"), &Number::Unclear);
        check_query("b=1&&aa=1", None, &Number::Absent);
        check_query("", None, &Number::Absent);
    }

    #[test]
    fn claims_as_they_are_counted() {
        assert_eq!(claim(&Value::Null), None);
        let text = |value: &Value| claim(value).map(Cow::into_owned);
        assert_eq!(text(&Value::String("a\"b".into())), Some(b"a\"b".to_vec()));
        assert_eq!(text(&Value::Bool(true)), Some(b"true".to_vec()));
    }
}
