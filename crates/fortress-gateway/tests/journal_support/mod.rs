//! What the journal's tests share: decisions to record, and waiting for what threads do.

#![expect(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod ocsf;

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fortress_model::{
    Decision, Mode, Outcome, Reason, Timestamp,
    decision::{MatchedValue, PrincipalRecord, RequestId, RuleMatch, RulesRecord, Stage},
};
use serde_json::Value;

/// 2026-11-23 10:12:03.417 UTC.
pub(crate) const RECEIVED: Timestamp = Timestamp(1_795_428_723_417_000_000);

/// A request that was let through, with everything filled in.
pub(crate) fn forwarded(number: u128) -> Decision {
    let client = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
    let mut decision = Decision::begin(RequestId::new(RECEIVED, number), RECEIVED, client);
    decision.client_port = 50_123;
    decision.listener = Arc::from("127.0.0.1:8443");
    decision.tls = true;
    decision.method = "POST".to_owned();
    decision.host = "api.example.com:8443".to_owned();
    decision.path = "/v1/orders/17/comments".to_owned();
    decision.user_agent = "curl/8.5.0".to_owned();
    decision.api = Some(Arc::from("orders"));
    decision.operation = Some(Arc::from("addComment"));
    decision.principal = Some(PrincipalRecord {
        id: Arc::from("alice"),
        identity: Arc::from("idp"),
        method: "ES256, key demo".to_owned(),
        expires: Some(1_795_432_323),
    });
    decision.stage = Stage::Reply;
    decision.outcome = Outcome::Forwarded;
    decision.status = 201;
    decision.upstream_status = Some(201);
    decision.head_bytes = 812;
    decision.request_bytes = 64;
    decision.response_bytes = 120;
    decision.duration = Duration::from_micros(3_170);
    decision
        .timings
        .add(Stage::Parse, Duration::from_micros(12));
    decision
        .timings
        .add(Stage::Forward, Duration::from_micros(2_900));
    decision
        .notes
        .push("response.body.internalId dropped".to_owned());
    decision
}

/// A request that was refused.
pub(crate) fn denied(number: u128, reason: Reason, stage: Stage) -> Decision {
    let mut decision = forwarded(number);
    decision.stage = stage;
    decision.upstream_status = None;
    decision.notes.clear();
    let denial = decision.fail(reason, "what was expected");
    decision.outcome = Outcome::Denied(denial.reason);
    decision.status = denial.reason.status().as_u16();
    decision
}

/// A request in which rules matched: one value is shown, and one could be a secret.
pub(crate) fn searched(number: u128) -> Decision {
    let mut decision = denied(number, Reason::WafAnomalyScore, Stage::Inspect);
    let value = |variable: &str, excerpt: Option<&str>| MatchedValue {
        variable: variable.to_owned(),
        parameter: Some(variable.replace("ARGS:json.", "body.")),
        excerpt: excerpt.map(str::to_owned),
        transformations: vec!["urlDecodeUni", "lowercase"],
    };
    let found = |rule: u64, kind: &'static str, value: MatchedValue| RuleMatch {
        rule,
        phase: 2,
        kind,
        message: "An \"attack\"\u{1b}".to_owned(),
        data: String::new(),
        score: 5,
        values: vec![value],
    };
    decision.rules = Some(Box::new(RulesRecord {
        matches: vec![
            found(
                942_100,
                "sqli",
                value("ARGS:json.text", Some("1' OR \u{202e}")),
            ),
            found(942_101, "sqli", value("ARGS:json.password", None)),
            found(941_100, "xss", value("ARGS:json.text", Some("<script>"))),
        ],
        more: 7,
        score: 15,
        threshold: Some(5),
        response_score: -3,
        response_threshold: None,
        proven: 2,
        exhausted: true,
    }));
    decision
}

/// A request that would have been refused under `enforce`.
pub(crate) fn monitored(number: u128, reason: Reason) -> Decision {
    let mut decision = forwarded(number);
    decision.mode = Mode::Monitor;
    decision.stage = Stage::Inspect;
    decision.refuse(reason, "what was expected").unwrap();
    decision.stage = Stage::Reply;
    decision
}

/// A connection's first bytes were no request: nothing is known.
pub(crate) fn unreadable(number: u128) -> Decision {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut decision = Decision::begin(RequestId::new(RECEIVED, number), RECEIVED, client);
    let denial = decision.fail(Reason::HeadMalformed, "bare line feed");
    decision.outcome = Outcome::Denied(denial.reason);
    decision.status = 400;
    decision
}

/// The client went away.
pub(crate) fn abandoned(number: u128) -> Decision {
    let mut decision = forwarded(number);
    decision.outcome = Outcome::Abandoned;
    decision.status = 0;
    decision.upstream_status = None;
    decision
}

/// Waits until a file or thread has come so far.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < patience, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The file's lines, each of which must be JSON, and the last of which must be whole.
#[track_caller]
pub(crate) fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "half a line in {path:?}"
    );
    parse(&text)
}

/// Each line must be JSON.
#[track_caller]
pub(crate) fn parse(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| {
            let event = serde_json::from_str(line);
            assert!(event.is_ok(), "{event:?}: {line}");
            event.unwrap()
        })
        .collect()
}

/// How many of these are requests, and how many records the losses among them name.
pub(crate) fn tally(events: &[Value]) -> (u64, u64) {
    let requests = events.iter().filter(|event| event["class_uid"] == 4002);
    let lost = events
        .iter()
        .filter(|event| event["class_uid"] == 6008)
        .map(|event| event["unmapped"]["fortress"]["lost"].as_u64().unwrap());
    (u64::try_from(requests.count()).unwrap(), lost.sum())
}
