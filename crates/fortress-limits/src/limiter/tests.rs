//! Limits as they are written in a configuration, asked by requests.

use std::{borrow::Cow, net::IpAddr, thread};

use fortress_model::config::{LimitRule, Spanned, settings};
use fortress_model::document::{Format, Sources, read};

use super::*;
use crate::cost::Number;

const S: u64 = 1_000_000_000;

#[derive(Clone, Default)]
struct Request {
    client: &'static str,
    principal: Option<&'static str>,
    operation: &'static str,
    page_size: Option<&'static str>,
    answer: Option<&'static str>,
}

impl Subject for Request {
    fn client(&self) -> IpAddr {
        self.client.parse().unwrap()
    }

    fn part(&self, part: &Part) -> Option<Cow<'_, [u8]>> {
        let value = if *part == Part::Principal {
            self.principal
        } else {
            (*part == Part::Operation).then_some(self.operation)
        };
        value.map(|value| Cow::Borrowed(value.as_bytes()))
    }

    fn number(&self, factor: &Factor) -> Number<'_> {
        let value = if matches!(factor, Factor::Query(_)) {
            self.page_size
        } else {
            self.answer
                .filter(|_| matches!(factor, Factor::ResponseHeader(_)))
        };
        value.map_or(Number::Absent, |value| {
            Number::Text(Cow::Borrowed(value.as_bytes()))
        })
    }

    fn is_principal(&self, name: &str) -> bool {
        self.principal == Some(name)
    }

    fn is_in(&self, list: &str) -> bool {
        list == "local" && self.client().is_loopback()
    }
}

fn from(client: &'static str) -> Request {
    Request {
        client,
        operation: "listOrders",
        ..Request::default()
    }
}

fn rules(text: &str) -> Vec<Spanned<LimitRule>> {
    let mut sources = Sources::default();
    let id = sources.add("a.yaml", format!("limits: [{text}]"));
    let (settings, diagnostics) = settings(&read(id, &sources, Format::Yaml).unwrap());
    assert_eq!(diagnostics, []);
    settings.limits.unwrap()
}

fn limits(text: &str) -> Limits {
    let secret = Secret::new([1; 16]);
    Limits::new(rules(text).iter().map(|rule| {
        Limit::new(
            &rule.value,
            "orders",
            (Mode::Enforce, LimitFault::Local),
            &secret,
        )
        .unwrap()
    }))
}

fn limiter() -> Limiter {
    Limiter::new(Keys {
        rates: 100,
        quotas: 100,
        concurrent: 100,
    })
}

fn at(second: u64) -> Now {
    Now {
        elapsed: second * S,
        wall: Timestamp((1_795_910_400 + second) * S),
    }
}

#[test]
fn all_limits_pass_or_none_is_taken() {
    let limiter = limiter();
    let limits = limits(
        "{ per: client, quota: 3/day }, { per: client, rate: 10/s }, { per: client, concurrent: 2 }",
    );
    let take = || limiter.take(&limits, Stage::Head, &from("192.0.2.1"), at(0));
    let first = take();
    assert_eq!((first.refused, first.reports.len()), (None, 3));
    let second = take();
    let third = take();
    // The third has no room, and has taken neither of the rate nor of the quota.
    let index = third.refused.unwrap();
    assert_eq!(limits.get(index).unwrap().name(), "client-2-at-once");
    assert!(third.held.taken.is_empty());
    drop(second);
    let fourth = take();
    assert_eq!(fourth.refused, None);
    let left: Vec<_> = fourth
        .reports
        .iter()
        .map(|report| report.decision.remaining)
        .collect();
    assert_eq!(left, [7, 0, 0]);
    drop(fourth);
    let fifth = take();
    let refused = fifth.reports[fifth.refused.unwrap()];
    assert_eq!(limits.get(refused.index).unwrap().name(), "client-3-day");
    assert_eq!(refused.refused, Some(Refusal::Spent));
    assert_eq!(
        refused.decision.retry_after,
        Some(Duration::from_secs(86_400))
    );
    // The permit came back, and the rate still has its seven.
    drop(first);
    let key = limits.get(0).unwrap().key(&from("192.0.2.1")).unwrap();
    let rate = limiter.peek(limits.get(0).unwrap(), key, 1, at(0));
    assert_eq!(rate.remaining, 6);
    assert_eq!(take().reports[1].decision.remaining, 1);
}

#[test]
fn every_limit_is_reported_even_after_a_refusal() {
    let limiter = limiter();
    let limits = limits("{ per: client, rate: 1/s }, { per: client, quota: 5/day }");
    let take = || limiter.take(&limits, Stage::Head, &from("192.0.2.1"), at(0));
    assert_eq!(take().refused, None);
    let second = take();
    assert_eq!(second.refused, Some(0));
    assert_eq!(second.reports.len(), 2);
    assert!(second.reports[1].decision.allowed);
    // Peeked, not taken: what would be left after one more.
    assert_eq!(second.reports[1].decision.remaining, 3);
    assert_eq!(take().reports[1].decision.remaining, 3);
}

#[test]
fn monitored_limits_are_reported_and_refuse_nothing() {
    let limiter = limiter();
    let limits =
        limits("{ per: client, rate: 1/s, mode: monitor }, { per: client, rate: 3/s, mode: off }");
    assert_eq!(limits.iter().len(), 1);
    let take = || limiter.take(&limits, Stage::Head, &from("192.0.2.1"), at(0));
    assert_eq!(take().reports[0].refused, None);
    let second = take();
    assert_eq!(second.refused, None);
    assert_eq!(second.reports[0].refused, Some(Refusal::Spent));
    // An operation under `monitor` weakens a limit that enforces.
    let rule = &rules("{ per: client, rate: 1/s }")[0].value;
    let weak = Limit::new(
        rule,
        "orders",
        (Mode::Monitor, LimitFault::Open),
        &Secret::new([1; 16]),
    )
    .unwrap();
    assert_eq!(weak.mode(), Mode::Monitor);
}

#[test]
fn limits_are_asked_when_what_they_need_is_known() {
    let limits = limits(
        "{ per: client, rate: 1/s }, { per: principal, rate: 2/s }, { per: body.name, rate: 3/s }, { per: client, rate: 4/s, cost: body.n }, { per: client, rate: 5/s, exempt: { principals: [a] } }",
    );
    let stages: Vec<_> = limits.iter().map(Limit::stage).collect();
    let expect = [
        Stage::Head,
        Stage::Identity,
        Stage::Body,
        Stage::Body,
        Stage::Identity,
    ];
    assert_eq!(stages, expect);
    let found = limiter().take(&limits, Stage::Identity, &from("192.0.2.1"), at(0));
    let asked: Vec<_> = found.reports.iter().map(|report| report.index).collect();
    assert_eq!(asked, [1, 4]);
    assert!(limits.any_at(Stage::Body) && !Limits::default().any_at(Stage::Head));
}

#[test]
fn exemptions() {
    let limiter = limiter();
    let limits = limits(
        "{ per: client, rate: 1/s, exempt: { networks: [10.0.0.0/8, \"2001:db8::/32\"], principals: [monitoring] } }",
    );
    let reports = |request: &Request| {
        limiter
            .take(&limits, Stage::Identity, request, at(0))
            .reports
            .len()
    };
    assert_eq!(reports(&from("10.1.2.3")), 0);
    assert_eq!(reports(&from("::ffff:10.1.2.3")), 0);
    assert_eq!(reports(&from("2001:db8:1::1")), 0);
    assert_eq!(reports(&from("11.1.2.3")), 1);
    assert_eq!(reports(&from("2001:db9::1")), 1);
    let named = |principal| Request {
        principal: Some(principal),
        ..from("192.0.2.1")
    };
    assert_eq!(reports(&named("monitoring")), 0);
    assert_eq!(reports(&named("Monitoring")), 1);
}

#[test]
fn shared_or_each_operation_by_itself() {
    let limiter = limiter();
    let other = Request {
        operation: "getOrder",
        ..from("192.0.2.1")
    };
    for (text, expect) in [
        ("{ per: client, rate: 1/s }", Some(0)),
        (
            "{ per: client, rate: 1/s, shared: false, name: each }",
            None,
        ),
    ] {
        let limits = limits(text);
        assert_eq!(
            limiter
                .take(&limits, Stage::Head, &from("192.0.2.1"), at(0))
                .refused,
            None
        );
        assert_eq!(
            limiter.take(&limits, Stage::Head, &other, at(0)).refused,
            expect,
            "{text}"
        );
    }
    // The same words at another place are another limit.
    let rule = &rules("{ per: client, rate: 1/s }")[0].value;
    let elsewhere = Limit::new(
        rule,
        "billing",
        (Mode::Enforce, LimitFault::Local),
        &Secret::new([1; 16]),
    )
    .unwrap();
    let elsewhere = Limits::new([elsewhere]);
    assert_eq!(
        limiter.take(&elsewhere, Stage::Head, &other, at(0)).refused,
        None
    );
}

#[test]
fn a_request_without_a_key() {
    let limiter = limiter();
    let limits = limits(
        "{ per: header.X-Team, rate: 9/s, missing: refuse }, { per: header.X-Team, rate: 8/s, missing: skip }",
    );
    let found = limiter.take(&limits, Stage::Head, &from("192.0.2.1"), at(0));
    assert_eq!(found.refused, Some(0));
    assert_eq!(found.reports.len(), 1);
    assert_eq!(found.reports[0].refused, Some(Refusal::Unkeyed));
}

#[test]
fn costs_of_the_request() {
    let limiter = limiter();
    let limits = limits("{ per: client, rate: 10/s, burst: 20, cost: query.page_size / 100 }");
    let with = |page_size| Request {
        page_size: Some(page_size),
        ..from("192.0.2.1")
    };
    let take = |request: &Request| limiter.take(&limits, Stage::Head, request, at(0));
    assert_eq!(take(&with("150")).reports[0].decision.remaining, 18);
    assert_eq!(take(&from("192.0.2.1")).reports[0].decision.remaining, 17);
    let large = take(&with("5000"));
    assert_eq!(large.reports[0].decision.retry_after, None);
    assert_eq!(large.refused, Some(0));
    // No number: all that there is.
    assert_eq!(take(&with("many")).refused, Some(0));
    let fresh = Request {
        client: "192.0.2.9",
        ..with("many")
    };
    let found = take(&fresh);
    assert_eq!(
        (found.refused, found.reports[0].decision.remaining),
        (None, 0)
    );
}

#[test]
fn costs_of_the_answer() {
    let limiter = limiter();
    let limits = limits(
        "{ per: client, rate: 10/s, burst: 20, cost: response.header.X-Cost }, { per: client, quota: 100/day, cost: response.header.X-Cost }",
    );
    let request = from("192.0.2.1");
    let answered = |answer| {
        let found = limiter.take(&limits, Stage::Head, &request, at(0));
        assert_eq!(found.refused, None);
        let answer = Request {
            answer,
            ..request.clone()
        };
        found.held.settle(
            &limiter,
            &limits,
            |factor| answer.number(factor),
            at(0),
            |_, _, _| panic!("owes"),
        );
        let left = |index: usize| {
            let limit = limits.get(index).unwrap();
            limiter
                .peek(limit, limit.key(&request).unwrap(), 0, at(0))
                .remaining
        };
        (left(0), left(1))
    };
    assert_eq!(answered(Some("5")), (15, 95));
    assert_eq!(answered(Some("0")), (14, 94));
    assert_eq!(answered(None), (13, 93));
    // Nonsense costs all of it.
    assert_eq!(answered(Some("5 units")), (0, 0));
}

#[test]
fn threads_share_a_quota_whatever_else_refuses() {
    let limiter = limiter();
    let limits = limits(
        "{ per: operation, rate: 1000000/s }, { per: operation, concurrent: 3 }, { per: operation, quota: 2000/day }",
    );
    let total: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let tries = (0..10_000).filter(|_| {
                        limiter
                            .take(&limits, Stage::Head, &from("192.0.2.1"), at(0))
                            .refused
                            .is_none()
                    });
                    tries.count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(total, 2_000);
}

/// What a shared count would have said of a request, for all limits of it.
fn given(limits: &Limits, request: &Request, verdict: Verdict) -> Vec<Given> {
    let due = limits.shared_due(Stage::Head, request);
    due.map(|(due, ..)| Given { due, verdict }).collect()
}

#[test]
fn what_is_shared_was_decided_before() {
    let limits = limits(
        "{ name: a, per: client, rate: 2/h }, { name: b, per: client, quota: 9/day }, { name: c, per: client, concurrent: 1 }",
    );
    let (limiter, request) = (limiter(), from("192.0.2.1"));
    let says = |allowed| {
        Verdict::Shared(Decision {
            allowed,
            remaining: 7,
            retry_after: Some(Duration::ZERO),
            reset_after: Duration::ZERO,
        })
    };
    let ask = |verdict| {
        let given = given(&limits, &request, verdict);
        assert_eq!(given.len(), 2);
        limiter.take_given(&limits, Stage::Head, &request, at(0), &given)
    };
    // However often: this instance's own tables are not asked.
    for _ in 0..10 {
        let outcome = ask(says(true));
        assert_eq!(outcome.refused, None);
        let counted: Vec<_> = outcome.reports.iter().map(|of| of.counted).collect();
        assert_eq!(counted, [Counted::Shared, Counted::Here, Counted::Shared]);
    }
    let outcome = ask(says(false));
    assert_eq!(outcome.refused, Some(0));
    assert_eq!(outcome.reports[0].refused, Some(Refusal::Spent));
    // A later one does not tell that it refuses too, and what is in flight is not held.
    assert_eq!(outcome.reports[2].refused, None);
    drop(outcome);
    assert_eq!(ask(Verdict::Open).refused, None);
    let outcome = ask(Verdict::Closed);
    assert_eq!(outcome.reports[0].refused, Some(Refusal::Unavailable));
    assert_eq!(outcome.reports[0].counted, Counted::Closed);
}

#[test]
fn what_is_in_flight_over_all_instances_was_decided_before() {
    let limits = limits("{ per: client, concurrent: 1 }");
    let (limiter, request) = (limiter(), from("192.0.2.1"));
    let ask = |allowed, counted| {
        let decision = Decision {
            allowed,
            ..Decision::NOTHING
        };
        let (due, limit) = limits.in_flight_due(Stage::Head, &request).next().unwrap();
        assert_eq!(limit.most(), 1);
        let verdict = Verdict::InFlight(decision, counted);
        limiter.take_given(
            &limits,
            Stage::Head,
            &request,
            at(0),
            &[Given { due, verdict }],
        )
    };
    // More than one at a time: this instance's own table is not asked.
    let (one, other) = (ask(true, Counted::Shared), ask(true, Counted::Shared));
    assert_eq!((one.refused, other.refused), (None, None));
    let alone = Counted::Alone { instances: 4 };
    let outcome = ask(false, alone);
    assert_eq!(outcome.refused, Some(0));
    assert_eq!(outcome.reports[0].refused, Some(Refusal::Spent));
    assert_eq!(outcome.reports[0].counted, alone);
    assert!(limits.shared_due(Stage::Head, &request).next().is_none());
}

#[test]
fn alone_an_instance_has_its_part() {
    let limits = limits(
        "{ name: a, per: client, rate: 8/h }, { name: b, per: client, quota: 100/day, cost: query.page_size / 10 }",
    );
    let limiter = limiter().sharing(Arc::new(Leases::new(100)));
    let passed = |client: &'static str, page_size: Option<&'static str>, times: usize| {
        let request = Request {
            page_size,
            ..from(client)
        };
        let ask = || {
            let given = given(&limits, &request, Verdict::Alone { instances: 4 });
            let outcome = limiter.take_given(&limits, Stage::Head, &request, at(0), &given);
            outcome.refused.is_none()
        };
        (0..times).filter(|_| ask()).count()
    };
    assert_eq!(passed("192.0.2.1", None, 10), 2);
    // Of the quota one has 25: what costs 60 takes all of them, and what costs 200 never passed.
    assert_eq!(passed("192.0.2.2", Some("600"), 10), 1);
    assert_eq!(passed("192.0.2.3", Some("2000"), 10), 0);
}

#[test]
fn alone_what_was_known_before_the_answer_is_not_charged_after_it() {
    let limits =
        limits("{ per: client, rate: 8/h, cost: query.page_size / 10 + response.header.X-Cost }");
    let limiter = limiter().sharing(Arc::new(Leases::new(100)));
    let request = Request {
        page_size: Some("60"),
        ..from("192.0.2.1")
    };
    let ask = || {
        let given = given(&limits, &request, Verdict::Alone { instances: 4 });
        limiter.take_given(&limits, Stage::Head, &request, at(0), &given)
    };
    // It costs six, and takes the whole part, which is two: the answer says no more.
    let Outcome { held, refused, .. } = ask();
    assert_eq!(refused, None);
    let number = |factor: &Factor| request.number(factor);
    held.settle(&limiter, &limits, number, at(0), |_, _, _| panic!("owed"));
    let wait = ask().reports[0].decision.retry_after.unwrap();
    assert_eq!(wait, Duration::from_secs(3_600));
    held.give_back(&limiter, &limits);
    assert_eq!(ask().refused, None);
}

#[test]
fn what_another_limit_refuses_goes_back_to_the_lease() {
    use crate::distributed::{Reply, Spend};
    let limits =
        limits("{ name: a, per: client, concurrent: 1 }, { name: b, per: client, quota: 9/day }");
    let leases = Arc::new(Leases::new(100));
    let limiter = limiter().sharing(Arc::clone(&leases));
    let request = from("192.0.2.1");
    let now = at(5);
    let (due, _, shared) = limits.shared_due(Stage::Head, &request).next().unwrap();
    let ask = || {
        let spent = leases.spend(due.key, shared, due.cost, now.lease_time());
        let Spend::Pass { decision, .. } = spent else {
            panic!("{spent:?}");
        };
        let verdict = Verdict::Shared(decision);
        limiter.take_given(
            &limits,
            Stage::Head,
            &request,
            now,
            &[Given { due, verdict }],
        )
    };
    assert!(matches!(
        leases.spend(due.key, shared, 1, now.lease_time()),
        Spend::Ask { .. }
    ));
    let reply = Reply::Granted {
        units: 4,
        remaining: 5,
        wait: Some(Duration::ZERO),
        reset: Duration::from_secs(60),
        now: Timestamp(1_795_910_400_000_000_000),
    };
    leases.answered(due.key, 1, &reply, now.lease_time());
    let first = ask();
    assert_eq!(first.refused, None);
    for _ in 0..10 {
        assert_eq!(ask().refused, Some(0));
    }
    drop(first);
    assert_eq!(ask().refused, None);
    assert_eq!(leases.drain(due.key, 9, now.lease_time()), 8);
}
