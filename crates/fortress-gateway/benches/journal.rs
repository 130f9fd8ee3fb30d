//! What recording and counting cost on the request's thread; the budget is 300 ns together. The
//! decisions are made beforehand: making them is part of serving the request.

#![expect(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use divan::{Bencher, black_box};
use fortress_gateway::{
    journal::{Journal, QUEUE_RECORDS},
    metrics::Metrics,
};
use fortress_model::{
    Decision, Outcome, Timestamp,
    config::JournalSink,
    decision::{PrincipalRecord, RequestId},
};

fn main() {
    divan::main();
}

fn decision(api: &Arc<str>, operation: &Arc<str>) -> Decision {
    let now = Timestamp(1_795_428_723_417_000_000);
    let mut decision = Decision::begin(RequestId::new(now, 7), now, Ipv4Addr::LOCALHOST.into());
    decision.method = "GET".to_owned();
    decision.host = "api.example.com".to_owned();
    decision.path = "/v1/orders/17".to_owned();
    decision.user_agent = "curl/8.5.0".to_owned();
    decision.api = Some(Arc::clone(api));
    decision.operation = Some(Arc::clone(operation));
    decision.principal = Some(PrincipalRecord {
        id: Arc::clone(api),
        identity: Arc::clone(operation),
        method: "ES256, key demo".to_owned(),
        expires: Some(1_795_432_323),
    });
    decision.outcome = Outcome::Forwarded;
    decision.status = 200;
    decision.upstream_status = Some(200);
    decision.duration = Duration::from_micros(310);
    decision
}

/// A round of the benchmark: fewer than the queue holds, so that what is measured is a queue with
/// room. Between the rounds the writer catches up.
const ROUND: usize = QUEUE_RECORDS / 4;

fn rounds(bencher: Bencher<'_, '_>, mut act: impl FnMut(Decision)) {
    let (api, operation) = (Arc::from("orders"), Arc::from("getOrder"));
    bencher
        .counter(divan::counter::ItemsCount::new(ROUND))
        .with_inputs(|| {
            std::thread::sleep(Duration::from_millis(20));
            (0..ROUND)
                .map(|_| decision(&api, &operation))
                .collect::<Vec<_>>()
        })
        .bench_local_values(|decisions| decisions.into_iter().for_each(&mut act));
}

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let sinks = [JournalSink::File("/dev/null".into())];
    let (_journal, mut handles) = Journal::start(&sinks, 1).unwrap();
    let mut handle = handles.remove(0);
    rounds(bencher, |decision| handle.record(decision));
}

#[divan::bench]
fn observe(bencher: Bencher<'_, '_>) {
    let metrics = Metrics::new(2, Timestamp::default());
    let shard = metrics.shard(0);
    let (api, operation) = (Arc::from("orders"), Arc::from("getOrder"));
    for number in 0..1_000 {
        shard.observe(&decision(&api, &Arc::from(format!("operation{number}"))));
    }
    let decision = decision(&api, &operation);
    bencher.bench_local(|| shard.observe(black_box(&decision)));
}

#[divan::bench]
fn record_and_observe(bencher: Bencher<'_, '_>) {
    let sinks = [JournalSink::File("/dev/null".into())];
    let (_journal, mut handles) = Journal::start(&sinks, 1).unwrap();
    let mut handle = handles.remove(0);
    let shard = Metrics::new(2, Timestamp::default()).shard(0);
    rounds(bencher, |decision| {
        shard.observe(&decision);
        handle.record(decision);
    });
}
