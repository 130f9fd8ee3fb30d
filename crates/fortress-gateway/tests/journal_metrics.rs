//! The metrics as a scraper sees them.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "journal_support/mod.rs"]
mod support;

use std::{sync::Arc, thread, time::Duration};

use fortress_gateway::{
    journal::{Closed, Journal},
    metrics::Metrics,
};
use fortress_model::{Mode, Outcome, Reason, config::JournalSink, decision::Stage};
use support::{RECEIVED, abandoned, denied, forwarded, monitored, searched, unreadable};

/// The value of a series, by its whole name with labels.
#[track_caller]
fn check(text: &str, series: &str, expect: Option<&str>) {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    assert_eq!(value, expect, "{series} in\n{text}");
}

#[test]
fn matches_of_rules_are_counted_by_what_they_look_for() {
    let metrics = Metrics::new(2, RECEIVED);
    metrics.shard(0).observe(&searched(1));
    metrics.shard(1).observe(&searched(2));
    metrics.shard(1).observe(&forwarded(3));
    let text = metrics.encode();
    let series =
        |kind: &str| format!("fortress_waf_matches_total{{api=\"orders\",kind=\"{kind}\"}}");
    check(&text, &series("sqli"), Some("4"));
    check(&text, &series("xss"), Some("2"));
    check(&text, &series("rce"), None);
    check(
        &text,
        "fortress_waf_exhausted_total{api=\"orders\"}",
        Some("2"),
    );
}

#[test]
fn requests_are_counted_by_operation_outcome_and_status() {
    let metrics = Metrics::new(2, RECEIVED);
    metrics.shard(0).observe(&forwarded(1));
    metrics.shard(1).observe(&forwarded(2));
    metrics.shard(1).observe(&abandoned(3));
    metrics.shard(1).observe(&unreadable(4));
    let mut redirected = unreadable(5);
    (redirected.outcome, redirected.status) = (Outcome::Answered, 308);
    metrics.shard(0).observe(&redirected);
    metrics
        .shard(0)
        .observe(&denied(6, Reason::CredentialMissing, Stage::Authenticate));
    let text = metrics.encode();
    let series = |api: &str, operation: &str, outcome: &str, status: &str| {
        format!(
            "fortress_requests_total{{api=\"{api}\",operation=\"{operation}\",outcome=\"{outcome}\",status=\"{status}\"}}"
        )
    };
    check(
        &text,
        &series("orders", "addComment", "forwarded", "2xx"),
        Some("2"),
    );
    check(
        &text,
        &series("orders", "addComment", "abandoned", "none"),
        Some("1"),
    );
    check(
        &text,
        &series("orders", "addComment", "denied", "4xx"),
        Some("1"),
    );
    check(&text, &series("", "", "denied", "4xx"), Some("1"));
    check(&text, &series("", "", "answered", "3xx"), Some("1"));
    check(
        &text,
        &series("orders", "addComment", "forwarded", "5xx"),
        None,
    );
    check(
        &text,
        "fortress_request_bytes_total{api=\"orders\"}",
        Some("3504"),
    );
    check(
        &text,
        "fortress_response_bytes_total{api=\"orders\"}",
        Some("480"),
    );
    check(&text, "process_start_time_seconds", Some("1795428723"));
    assert!(text.contains("fortress_build_info{version=\""));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn refusals_are_counted_by_reason_once_a_request_and_by_mode() {
    let metrics = Metrics::new(1, RECEIVED);
    let shard = metrics.shard(0);
    shard.observe(&denied(1, Reason::BodyUndeclared, Stage::Inspect));
    let mut twice = monitored(2, Reason::BodyInvalid);
    twice.refuse(Reason::BodyInvalid, "again").unwrap();
    twice.refuse(Reason::BodyReadOnly, "another").unwrap();
    shard.observe(&twice);
    let mut off = forwarded(3);
    off.mode = Mode::Off;
    off.refuse(Reason::BodyMissing, "not looked for").unwrap();
    shard.observe(&off);
    let text = metrics.encode();
    let series = |reason: &str, risk: &str, mode: &str| {
        format!(
            "fortress_refusals_total{{api=\"orders\",reason=\"{reason}\",risk=\"{risk}\",mode=\"{mode}\"}}"
        )
    };
    check(
        &text,
        &series("body.undeclared", "API3", "enforce"),
        Some("1"),
    );
    check(&text, &series("body.invalid", "API8", "monitor"), Some("1"));
    check(
        &text,
        &series("body.read_only", "API3", "monitor"),
        Some("1"),
    );
    check(&text, &series("body.invalid", "API8", "enforce"), None);
    assert!(!text.contains("body.missing"));
}

#[test]
fn every_reason_and_status_is_counted_somewhere() {
    let metrics = Metrics::new(1, RECEIVED);
    let shard = metrics.shard(0);
    for (number, &reason) in (0..).zip(Reason::ALL) {
        shard.observe(&denied(number, reason, Stage::Inspect));
    }
    for status in [0, 99, 100, 599, 600, u16::MAX] {
        let mut odd = forwarded(1_000);
        odd.status = status;
        shard.observe(&odd);
    }
    let text = metrics.encode();
    for reason in Reason::ALL {
        let code = reason.code();
        assert!(text.contains(&format!("reason=\"{code}\"")), "{code}");
    }
    let requests = text
        .lines()
        .filter(|line| line.starts_with("fortress_requests_total{"));
    let total: usize = requests
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap())
        .sum();
    assert_eq!(total, Reason::ALL.len() + 6);
}

#[test]
fn durations_fall_into_the_bucket_that_holds_them() {
    let metrics = Metrics::new(1, RECEIVED);
    for micros in [0, 250, 251, 3_000, 20_000_000] {
        let mut decision = forwarded(1);
        decision.duration = Duration::from_micros(micros);
        metrics.shard(0).observe(&decision);
    }
    let text = metrics.encode();
    let bucket = |end: &str| {
        format!("fortress_request_duration_seconds_bucket{{le=\"{end}\",api=\"orders\"}}")
    };
    check(&text, &bucket("0.00025"), Some("2"));
    check(&text, &bucket("0.0005"), Some("3"));
    check(&text, &bucket("0.0025"), Some("3"));
    check(&text, &bucket("0.005"), Some("4"));
    check(&text, &bucket("10.0"), Some("4"));
    check(&text, &bucket("+Inf"), Some("5"));
    let labels = "{api=\"orders\"}";
    check(
        &text,
        &format!("fortress_request_duration_seconds_count{labels}"),
        Some("5"),
    );
    check(
        &text,
        &format!("fortress_request_duration_seconds_sum{labels}"),
        Some("20.003501"),
    );
    check(
        &text,
        &format!("fortress_upstream_duration_seconds_sum{labels}"),
        Some("0.0145"),
    );
}

#[test]
fn a_request_that_never_reached_the_upstream_has_no_upstream_duration() {
    let metrics = Metrics::new(1, RECEIVED);
    metrics
        .shard(0)
        .observe(&denied(1, Reason::RouteUnknown, Stage::Route));
    let text = metrics.encode();
    check(
        &text,
        "fortress_upstream_duration_seconds_count{api=\"orders\"}",
        None,
    );
    check(
        &text,
        "fortress_request_duration_seconds_count{api=\"orders\"}",
        Some("1"),
    );
}

#[test]
fn connections_are_open_until_dropped() {
    let metrics = Metrics::new(2, RECEIVED);
    let name = Arc::from("127.0.0.1:8443");
    let listeners = [
        metrics.shard(0).listener(&name),
        metrics.shard(1).listener(&name),
    ];
    let first = listeners[0].open();
    let second = listeners[1].open();
    drop(listeners[0].open());
    listeners[0].refuse(Reason::ConnectionsExhausted);
    listeners[0].handshake_succeeded();
    listeners[1].handshake_failed();
    let text = metrics.encode();
    let labels = "listener=\"127.0.0.1:8443\"";
    check(
        &text,
        &format!("fortress_connections{{{labels}}}"),
        Some("2"),
    );
    check(
        &text,
        &format!("fortress_connections_accepted_total{{{labels}}}"),
        Some("3"),
    );
    let refused =
        format!("fortress_connections_refused_total{{{labels},reason=\"connections.exhausted\"}}");
    check(&text, &refused, Some("1"));
    for result in ["success", "failure"] {
        let series = format!("fortress_tls_handshakes_total{{{labels},result=\"{result}\"}}");
        check(&text, &series, Some("1"));
    }
    drop((first, second));
    check(
        &metrics.encode(),
        &format!("fortress_connections{{{labels}}}"),
        Some("0"),
    );
}

#[test]
fn reloads_are_counted_and_values_survive_them() {
    let metrics = Metrics::new(1, RECEIVED);
    metrics.shard(0).observe(&forwarded(1));
    metrics.reload_failed();
    let loaded = "fortress_config_loaded_timestamp_seconds";
    check(&metrics.encode(), loaded, Some("1795428723"));
    metrics.reload_succeeded(fortress_model::Timestamp(1_795_428_800_000_000_000));
    // The names of the new snapshot are other allocations.
    let mut decision = forwarded(2);
    decision.api = Some(Arc::from("orders".to_owned()));
    decision.operation = Some(Arc::from("addComment".to_owned()));
    metrics.shard(0).observe(&decision);
    let text = metrics.encode();
    let series = "fortress_requests_total{api=\"orders\",operation=\"addComment\",outcome=\"forwarded\",status=\"2xx\"}";
    check(&text, series, Some("2"));
    check(&text, loaded, Some("1795428800"));
    check(
        &text,
        "fortress_config_reloads_total{result=\"success\"}",
        Some("1"),
    );
    check(
        &text,
        "fortress_config_reloads_total{result=\"failure\"}",
        Some("1"),
    );
}

#[test]
fn names_of_the_configuration_cannot_break_the_format() {
    let metrics = Metrics::new(1, RECEIVED);
    let mut decision = forwarded(1);
    decision.operation = Some(Arc::from("a\"b\\c\nd"));
    metrics.shard(0).observe(&decision);
    let text = metrics.encode();
    let series = "fortress_requests_total{api=\"orders\",operation=\"a\\\"b\\\\c\\nd\",outcome=\"forwarded\",status=\"2xx\"}";
    check(&text, series, Some("1"));
}

#[test]
fn the_number_of_series_is_bounded() {
    let metrics = Metrics::new(1, RECEIVED);
    let mut decision = forwarded(1);
    for number in 0..20_100 {
        decision.operation = Some(Arc::from(format!("operation{number}")));
        metrics.shard(0).observe(&decision);
    }
    let text = metrics.encode();
    let series = "fortress_requests_total{api=\"orders\",operation=\"other\",outcome=\"forwarded\",status=\"2xx\"}";
    check(&text, series, Some("100"));
}

#[test]
fn workers_and_scrapes_do_not_lose_counts() {
    let metrics = Metrics::new(4, RECEIVED);
    thread::scope(|scope| {
        for worker in 0..4 {
            let metrics = &metrics;
            scope.spawn(move || {
                let shard = metrics.shard(worker % 3);
                (0..10_000).for_each(|number| shard.observe(&forwarded(number)));
            });
        }
        for _ in 0..20 {
            assert!(metrics.encode().ends_with("# EOF\n"));
        }
    });
    let series = "fortress_requests_total{api=\"orders\",operation=\"addComment\",outcome=\"forwarded\",status=\"2xx\"}";
    check(&metrics.encode(), series, Some("40000"));
}

#[test]
fn the_journal_is_counted_by_sink() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    let sinks = [
        JournalSink::File(path.clone()),
        JournalSink::File("/dev/full".into()),
    ];
    let (journal, mut handles) = Journal::start(&sinks, 1).unwrap();
    let metrics = Metrics::new(1, RECEIVED);
    assert!(!metrics.encode().contains("fortress_journal"));
    metrics.attach_journal(journal.counters());
    handles[0].record(forwarded(1));
    assert_eq!(journal.close(Duration::from_secs(20)), Closed::Drained);
    let text = metrics.encode();
    let file = path.display();
    check(
        &text,
        &format!("fortress_journal_written_total{{sink=\"{file}\"}}"),
        Some("1"),
    );
    check(
        &text,
        "fortress_journal_written_total{sink=\"/dev/full\"}",
        Some("0"),
    );
    check(
        &text,
        &format!("fortress_journal_dropped_total{{sink=\"{file}\",cause=\"sink\"}}"),
        Some("0"),
    );
    check(
        &text,
        "fortress_journal_dropped_total{sink=\"/dev/full\",cause=\"sink\"}",
        Some("1"),
    );
    check(
        &text,
        "fortress_journal_dropped_total{sink=\"\",cause=\"queue\"}",
        Some("0"),
    );
    let size = std::fs::metadata(&path).unwrap().len().to_string();
    check(
        &text,
        &format!("fortress_journal_bytes_total{{sink=\"{file}\"}}"),
        Some(&size),
    );
}
