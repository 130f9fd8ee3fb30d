//! The journal's events against OCSF 1.8.0, and against whoever would like to forge one.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "journal_support/mod.rs"]
mod support;

use std::{net::IpAddr, sync::Arc, time::Duration};

use fortress_gateway::journal::{Closed, Journal, read};
use fortress_model::{Decision, Mode, Outcome, Reason, config::JournalSink, decision::Stage};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{
    abandoned, denied, events, forwarded, monitored,
    ocsf::{faults, schema},
    searched, unreadable,
};

/// Records the decisions in a real journal and reads them back.
fn journalled(decisions: Vec<Decision>) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    let (journal, mut handles) = Journal::start(&[JournalSink::File(path.clone())], 1).unwrap();
    let count = decisions.len();
    for decision in decisions {
        handles[0].record(decision);
    }
    assert_eq!(journal.close(Duration::from_secs(20)), Closed::Drained);
    let events = events(&path);
    assert_eq!(events.len(), count);
    events
}

fn one(decision: Decision) -> Value {
    journalled(vec![decision]).remove(0)
}

#[test]
fn every_kind_of_event_is_valid_ocsf() {
    let schema = schema();
    let mut decisions = vec![forwarded(1), unreadable(2), abandoned(3), searched(4)];
    for (number, &reason) in (10..).zip(Reason::ALL) {
        decisions.push(denied(number, reason, Stage::Inspect));
        decisions.push(monitored(1_000 + number, reason));
    }
    for (number, method) in (5_000..).zip([
        "", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PURGE", "get",
    ]) {
        let mut decision = forwarded(number);
        decision.method = method.to_owned();
        decisions.push(decision);
    }
    let mut bare = forwarded(6_000);
    (bare.principal, bare.operation) = (None, None);
    decisions.push(bare);
    let mut answered = forwarded(6_001);
    (answered.outcome, answered.status, answered.api) = (Outcome::Answered, 308, None);
    decisions.push(answered);
    let mut huge = forwarded(6_002);
    (huge.request_bytes, huge.response_bytes) = (u64::MAX >> 2, 5 << 30);
    huge.duration = Duration::from_secs(1 << 24);
    decisions.push(huge);
    for event in journalled(decisions) {
        assert_eq!(faults(&schema, &event), Vec::<String>::new(), "{event}");
    }
}

#[test]
fn what_rules_matched_stands_in_it() {
    let event = one(searched(1));
    let waf = &event["unmapped"]["fortress"]["waf"];
    assert_eq!(
        (&waf["score"], &waf["threshold"], &waf["response_score"]),
        (&json!(15), &json!(5), &json!(0))
    );
    assert!(waf.get("response_threshold").is_none(), "{waf}");
    assert_eq!((&waf["more"], &waf["proven"]), (&json!(7), &json!(2)));
    let matched = |rule: usize| waf["rules"][rule]["matched"][0].clone();
    assert_eq!(matched(0)["parameter"], "body.text");
    assert_eq!(matched(0)["value"], "1' OR \u{202e}");
    assert_eq!(matched(1)["redacted"], true);
    assert!(matched(1).get("value").is_none(), "{waf}");
    assert_eq!(
        matched(2)["transformations"],
        json!(["urlDecodeUni", "lowercase"])
    );
}

#[test]
fn the_check_itself_refuses() {
    let schema = schema();
    let good = one(forwarded(1));
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut event = good.clone();
        change(&mut event);
        faults(&schema, &event)
    };
    assert!(broken(&|_| ()).is_empty());
    let remove = |name: &'static str| {
        move |event: &mut Value| {
            event.as_object_mut().unwrap().remove(name);
        }
    };
    for name in [
        "activity_id",
        "category_uid",
        "class_uid",
        "metadata",
        "severity_id",
        "time",
        "type_uid",
        "cloud",
    ] {
        assert!(!broken(&remove(name)).is_empty(), "{name}");
    }
    assert!(!broken(&|event| event["invented"] = json!(1)).is_empty());
    assert!(!broken(&|event| event["activity_id"] = json!(55)).is_empty());
    assert!(!broken(&|event| event["time"] = json!("today")).is_empty());
    assert!(!broken(&|event| event["metadata"]["profiles"] = json!([])).is_empty());
    assert!(!broken(&|event| event["api"] = json!({})).is_empty());
    assert!(!broken(&|event| event["src_endpoint"] = json!({})).is_empty());
}

#[track_caller]
fn check(event: &Value, pointer: &str, expect: Value) {
    assert_eq!(
        event.pointer(pointer),
        Some(&expect),
        "{pointer} in {event:#}"
    );
}

#[track_caller]
fn absent(event: &Value, pointer: &str) {
    assert_eq!(event.pointer(pointer), None, "{pointer} in {event:#}");
}

#[test]
fn a_forwarded_request_tells_all_of_it() {
    let event = one(forwarded(7));
    check(&event, "/class_uid", json!(4002));
    check(&event, "/category_uid", json!(4));
    check(&event, "/type_uid", json!(400_206));
    check(&event, "/activity_id", json!(6));
    check(&event, "/severity_id", json!(1));
    check(&event, "/status_id", json!(1));
    check(&event, "/status_code", json!("201"));
    check(&event, "/time", json!(1_795_428_723_417_u64));
    check(&event, "/end_time", json!(1_795_428_723_420_u64));
    check(&event, "/duration", json!(3));
    check(&event, "/metadata/version", json!("1.8.0"));
    check(&event, "/metadata/product/name", json!("Fortress"));
    let id = forwarded(7).id.to_string();
    check(&event, "/metadata/uid", json!(id));
    check(&event, "/http_request/uid", json!(id));
    check(&event, "/http_request/http_method", json!("POST"));
    check(&event, "/http_request/version", json!("HTTP/1.1"));
    check(&event, "/http_request/user_agent", json!("curl/8.5.0"));
    check(
        &event,
        "/http_request/url/path",
        json!("/v1/orders/17/comments"),
    );
    check(
        &event,
        "/http_request/url/hostname",
        json!("api.example.com"),
    );
    check(&event, "/http_request/url/port", json!(8443));
    check(&event, "/http_request/url/scheme", json!("https"));
    check(&event, "/http_request/length", json!(876));
    check(&event, "/http_response/code", json!(201));
    check(&event, "/http_response/length", json!(120));
    check(&event, "/src_endpoint/ip", json!("203.0.113.9"));
    check(&event, "/src_endpoint/port", json!(50_123));
    check(&event, "/dst_endpoint/ip", json!("127.0.0.1"));
    check(&event, "/dst_endpoint/port", json!(8443));
    check(&event, "/actor/user/uid", json!("alice"));
    check(&event, "/api/operation", json!("addComment"));
    check(&event, "/api/service/name", json!("orders"));
    check(&event, "/action", json!("Allowed"));
    check(&event, "/disposition", json!("Allowed"));
    check(&event, "/is_alert", json!(false));
    let ours = &event["unmapped"]["fortress"];
    check(ours, "/outcome", json!("forwarded"));
    check(ours, "/mode", json!("enforce"));
    check(ours, "/stage", json!("reply"));
    check(ours, "/upstream_status", json!(201));
    check(ours, "/duration_us", json!(3170));
    check(ours, "/timings_us/forward", json!(2900));
    check(ours, "/timings_us/authorize", json!(0));
    check(ours, "/principal/method", json!("ES256, key demo"));
    check(ours, "/principal/expires", json!(1_795_432_323));
    check(ours, "/notes", json!(["response.body.internalId dropped"]));
    check(ours, "/findings", json!([]));
    absent(ours, "/reason");
    absent(ours, "/truncated");
    absent(&event, "/status_detail");
}

#[test]
fn a_refusal_says_why() {
    let event = one(denied(1, Reason::BodyUndeclared, Stage::Inspect));
    check(&event, "/action_id", json!(2));
    check(&event, "/disposition", json!("Blocked"));
    check(&event, "/status_id", json!(2));
    check(&event, "/status_code", json!("400"));
    check(&event, "/status_detail", json!("body.undeclared"));
    check(&event, "/firewall_rule/uid", json!("body.undeclared"));
    check(&event, "/severity", json!("Medium"));
    check(&event, "/is_alert", json!(true));
    let ours = &event["unmapped"]["fortress"];
    check(ours, "/reason", json!("body.undeclared"));
    check(ours, "/risk", json!("API3"));
    let finding = json!({
        "stage": "inspect", "reason": "body.undeclared", "detail": "what was expected", "enforced": true
    });
    check(ours, "/findings", json!([finding]));
    absent(ours, "/upstream_status");
}

#[test]
fn kinds_of_refusal_are_told_apart() {
    let verdict = |reason| {
        let event = one(denied(1, reason, Stage::Parse));
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (
            text("disposition"),
            text("severity"),
            event["is_alert"] == true,
        )
    };
    let is =
        |disposition: &str, severity: &str, alert| (disposition.into(), severity.into(), alert);
    assert_eq!(
        verdict(Reason::CredentialMissing),
        is("Unauthorized", "Low", false)
    );
    assert_eq!(
        verdict(Reason::CredentialInvalid),
        is("Unauthorized", "Medium", true)
    );
    assert_eq!(
        verdict(Reason::ScopeInsufficient),
        is("Unauthorized", "Medium", true)
    );
    assert_eq!(verdict(Reason::HeadMalformed), is("Blocked", "Low", false));
    assert_eq!(
        verdict(Reason::ResponseInvalid),
        is("Blocked", "Medium", true)
    );
    assert_eq!(
        verdict(Reason::UpstreamTimeout),
        is("Error", "Medium", true)
    );
    assert_eq!(verdict(Reason::GatewayFault), is("Error", "High", true));
}

#[test]
fn monitor_is_observed_and_an_alert_but_no_refusal() {
    let event = one(monitored(1, Reason::ParameterInvalid));
    check(&event, "/action", json!("Observed"));
    check(&event, "/disposition", json!("Alert"));
    check(&event, "/is_alert", json!(true));
    check(&event, "/status_id", json!(1));
    check(&event, "/status_detail", json!("parameter.invalid"));
    check(&event, "/unmapped/fortress/mode", json!("monitor"));
    check(
        &event,
        "/unmapped/fortress/findings/0/enforced",
        json!(false),
    );
    absent(&event, "/unmapped/fortress/reason");
}

#[test]
fn an_abandoned_request_has_no_response() {
    let event = one(abandoned(1));
    absent(&event, "/http_response");
    absent(&event, "/status_code");
    check(&event, "/status", json!("Abandoned"));
    check(&event, "/unmapped/fortress/outcome", json!("abandoned"));
}

#[test]
fn another_method_is_named_without_breaking_the_enumeration() {
    let mut decision = forwarded(1);
    decision.method = "PURGE".to_owned();
    let event = one(decision);
    check(&event, "/activity_id", json!(99));
    check(&event, "/activity_name", json!("PURGE"));
    check(&event, "/unmapped/fortress/method", json!("PURGE"));
    absent(&event, "/http_request/http_method");
}

#[test]
fn queries_and_credentials_stay_out_whatever_came() {
    let path_of = |path: &str| {
        let mut decision = unreadable(1);
        decision.path = path.to_owned();
        one(decision)["http_request"]["url"]["path"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(path_of("/a%zz?token=secret"), "/a%zz");
    assert_eq!(path_of("/a#secret"), "/a");
    assert_eq!(path_of("http://user:secret@host/a?b"), "/a");
    assert_eq!(path_of("http://user:secret@host"), "/");
    assert_eq!(
        path_of("/redirect/http://host/x"),
        "/redirect/http://host/x"
    );
    let host_of = |host: &str| {
        let mut decision = unreadable(1);
        decision.host = host.to_owned();
        let url = one(decision)["http_request"]["url"].clone();
        (
            url["hostname"].as_str().unwrap().to_owned(),
            url["port"].as_u64(),
        )
    };
    assert_eq!(
        host_of("user:secret@host:81"),
        ("host".to_owned(), Some(81))
    );
    assert_eq!(host_of("host"), ("host".to_owned(), None));
    assert_eq!(host_of("[::1]:8080"), ("[::1]".to_owned(), Some(8080)));
    assert_eq!(host_of("[::1]"), ("[::1]".to_owned(), None));
    assert_eq!(host_of("::1"), ("::1".to_owned(), None));
    assert_eq!(host_of("host:99999"), ("host:99999".to_owned(), None));
}

#[test]
fn addresses_are_printed_in_their_own_family() {
    let ip_of = |client: &str| {
        let mut decision = forwarded(1);
        decision.client = client.parse::<IpAddr>().unwrap();
        one(decision)["src_endpoint"]["ip"].clone()
    };
    assert_eq!(ip_of("2001:db8::7"), json!("2001:db8::7"));
    assert_eq!(ip_of("::ffff:203.0.113.9"), json!("203.0.113.9"));
}

#[test]
fn long_texts_are_cut_and_said_to_be() {
    let mut decision = forwarded(1);
    decision.path = format!("/{}", "a".repeat(100_000));
    decision.host = "h".repeat(100_000);
    decision.notes = vec!["n".repeat(100_000); 1_000];
    let event = one(decision);
    assert!(event.to_string().len() < 64_000);
    let path = event["http_request"]["url"]["path"].as_str().unwrap();
    assert!(path.ends_with("aaa…") && path.len() < 8_200);
    check(&event, "/unmapped/fortress/truncated", json!(true));
}

#[test]
fn a_hostile_name_cannot_forge_a_record() {
    let mut decision = forwarded(1);
    let forged = format!("x\"}}\n{{\"metadata\":{{\"uid\":\"{}", forwarded(2).id);
    decision.user_agent.clone_from(&forged);
    decision.path.clone_from(&forged);
    decision.host = forged.clone();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    let (journal, mut handles) = Journal::start(&[JournalSink::File(path.clone())], 1).unwrap();
    handles[0].record(decision);
    assert_eq!(journal.close(Duration::from_secs(20)), Closed::Drained);
    let events = events(&path);
    assert_eq!(events.len(), 1);
    check(&events[0], "/http_request/user_agent", json!(forged));
    assert!(
        read::find(&path, &forwarded(1).id.to_string())
            .unwrap()
            .is_some()
    );
    assert!(
        read::find(&path, &forwarded(2).id.to_string())
            .unwrap()
            .is_none()
    );
}

/// Texts that attack a log: quotes, controls, line ends of every script, half-made escapes.
fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        any::<String>(),
        proptest::sample::select(vec![
            "\"",
            "\\",
            "\n",
            "\r\n",
            "\0",
            "\u{1b}[2J",
            "\u{7f}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{feff}",
            "\\u0022",
            "{\"metadata\":{\"uid\":\"",
            "é",
            "\u{10ffff}",
            "</script>",
            "%0a",
        ])
        .prop_map(str::to_owned),
    ];
    proptest::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_texts_stay_one_valid_line_each(
        texts in proptest::collection::vec(proptest::collection::vec(hostile(), 10), 1..16),
        status in any::<u16>(),
    ) {
        let schema = schema();
        let mut decisions = Vec::new();
        for (number, texts) in (1..).zip(&texts) {
            let mut decision = if number % 2 == 0 {
                denied(number, Reason::ALL[usize::from(status) % Reason::ALL.len()], Stage::Route)
            } else {
                forwarded(number)
            };
            decision.method.clone_from(&texts[0]);
            decision.host.clone_from(&texts[1]);
            decision.path.clone_from(&texts[2]);
            decision.user_agent.clone_from(&texts[3]);
            decision.api = Some(Arc::from(texts[4].as_str()));
            decision.operation = Some(Arc::from(texts[5].as_str()));
            if let Some(principal) = &mut decision.principal {
                principal.id = Arc::from(texts[6].as_str());
                principal.method.clone_from(&texts[7]);
            }
            decision.notes.push(texts[8].clone());
            decision.mode = Mode::Monitor;
            decision.refuse(Reason::BodyInvalid, texts[9].clone()).unwrap();
            decisions.push(decision);
        }
        let agents: Vec<String> = decisions.iter().map(|one| one.user_agent.clone()).collect();
        let events = journalled(decisions);
        for (event, agent) in events.iter().zip(agents) {
            prop_assert_eq!(faults(&schema, event), Vec::<String>::new());
            if agent.len() <= 256 && !agent.is_empty() {
                prop_assert_eq!(&event["http_request"]["user_agent"], &json!(agent));
            }
            let line = event.to_string();
            prop_assert!(!line.contains('\n'));
        }
    }
}
