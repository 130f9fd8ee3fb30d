//! Counters and histograms: one shard per worker, added up when they are read.
//!
//! Every label value comes from the configuration or from a table of ours, so that no client can
//! grow the number of series. A shard outlives a reload: its slots are found by name. Deliberately
//! not here: anything about single requests, which is the journal's.

mod process;
mod shared_counts;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fortress_model::{
    Decision, Outcome, Reason, Timestamp,
    decision::{LimitRecord, Stage},
};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, MetricEncoder, NoLabelSet, text,
    },
    metrics::MetricType,
    registry::{Registry, Unit},
};

use crate::{journal::Counters, keys::KeyRing, shared_counts::SharedCounts};

/// What [`Metrics::encode`] is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Slots of one table: APIs of a shard, operations of an API, listeners. Names that no longer exist
/// after reloads keep their slot; beyond the bound everything is counted under `other`.
const SLOTS: usize = 20_000;

/// Upper ends of the histograms' buckets in microseconds; the last bucket has none.
const BUCKETS: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    shards: Vec<Arc<Shard>>,
    started: Timestamp,
    reloads: AtomicU64,
    failed_reloads: AtomicU64,
    /// Seconds since the epoch.
    loaded: AtomicU64,
    journal: OnceLock<Arc<Counters>>,
    keys: OnceLock<KeyRing>,
}

impl Metrics {
    /// One shard for each of the workers. `started` is when the process began, which is also when
    /// its configuration was first loaded.
    pub fn new(workers: usize, started: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            shards: (0..workers.max(1)).map(|_| Arc::default()).collect(),
            started,
            reloads: AtomicU64::new(0),
            failed_reloads: AtomicU64::new(0),
            loaded: AtomicU64::new(started.seconds()),
            journal: OnceLock::new(),
            keys: OnceLock::new(),
        })
    }

    /// The shard of a worker. Sharing one between workers is correct, but they then slow each
    /// other down; a number beyond the last worker's shares.
    pub fn shard(&self, worker: usize) -> Arc<Shard> {
        let place = worker % self.shards.len().max(1);
        self.shards.get(place).map(Arc::clone).unwrap_or_default()
    }

    /// Also encodes the journal's totals; the first call counts.
    pub fn attach_journal(&self, counters: Arc<Counters>) {
        self.journal.get_or_init(|| counters);
    }

    /// Also encodes what lives outside of configurations; the first call counts.
    pub(crate) fn attach_keys(&self, keys: KeyRing) {
        self.keys.get_or_init(|| keys);
    }

    /// Whether the counts that instances share cannot be had.
    pub(crate) fn shared_counts_are_away(&self) -> bool {
        let counts = self.keys.get().and_then(KeyRing::known_counts);
        let shared = counts.as_ref().and_then(|counts| counts.shared.as_ref());
        shared.is_some_and(SharedCounts::is_away)
    }

    /// A new configuration is in force.
    pub fn reload_succeeded(&self, now: Timestamp) {
        self.reloads.fetch_add(1, Relaxed);
        self.loaded.store(now.seconds(), Relaxed);
    }

    /// A new configuration was refused, and the old one stays.
    pub fn reload_failed(&self) {
        self.failed_reloads.fetch_add(1, Relaxed);
    }

    /// Everything in OpenMetrics' text form (see [`CONTENT_TYPE`]), which Prometheus reads.
    pub fn encode(self: &Arc<Self>) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(self)));
        let mut out = String::new();
        if text::encode(&mut out, &registry).is_err() {
            // Writing to a `String` cannot fail; what was written stands.
            tracing::error!("metrics could not be encoded whole");
        }
        out
    }
}

/// One worker's counters.
///
/// They are atomic, and added to with `fetch_add`, so that a shard may be shared; on a cache line
/// that no other core writes that costs some 5 ns.
#[derive(Debug, Default)]
pub struct Shard {
    apis: Slots<ApiSlot>,
    listeners: Slots<Listener>,
}

impl Shard {
    /// Counts a finished request.
    pub fn observe(&self, decision: &Decision) {
        self.apis.with(decision.api.as_ref(), |api| {
            api.operations.with(decision.operation.as_ref(), |slot| {
                slot.add(decision.outcome, decision.status);
            });
            api.duration.add(decision.duration);
            if decision.upstream_status.is_some() {
                let micros = decision.timings.micros(Stage::Forward);
                api.upstream.add(Duration::from_micros(u64::from(micros)));
            }
            let came = decision.head_bytes.saturating_add(decision.request_bytes);
            api.request_bytes.fetch_add(came, Relaxed);
            api.response_bytes
                .fetch_add(decision.response_bytes, Relaxed);
            if let Outcome::Denied(reason) = decision.outcome {
                api.enforced.add(reason);
            }
            if let Some(rules) = &decision.rules {
                for found in &rules.matches {
                    api.matches
                        .get(Some(&Arc::from(found.kind)))
                        .fetch_add(1, Relaxed);
                }
                api.exhausted.fetch_add(u64::from(rules.exhausted), Relaxed);
            }
            if let Some(login) = &decision.login {
                let name = Arc::from(format!("{} {}", login.kind, login.outcome));
                api.logins.get(Some(&name)).fetch_add(1, Relaxed);
            }
            for limit in &decision.limits {
                api.limits.with(Some(&limit.name), |slot| slot.add(limit));
            }
            // A reason counts once a request, however often it was met.
            for (place, finding) in decision.findings.iter().enumerate() {
                let seen = decision.findings.iter().take(place);
                if !finding.enforced && !seen.into_iter().any(|f| f.reason == finding.reason) {
                    api.monitored.add(finding.reason);
                }
            }
        });
    }

    /// The counters of a listener, by its configured address. Look them up once.
    pub fn listener(&self, name: &Arc<str>) -> Arc<Listener> {
        self.listeners.get(Some(name))
    }
}

/// A table of slots by name, which only grows, and only up to [`SLOTS`].
#[derive(Debug)]
struct Slots<T> {
    /// For what has no name.
    nameless: Arc<T>,
    named: RwLock<HashMap<Arc<str>, Arc<T>>>,
}

impl<T: Default> Default for Slots<T> {
    fn default() -> Self {
        Self {
            nameless: Arc::default(),
            named: RwLock::default(),
        }
    }
}

impl<T: Default> Slots<T> {
    /// Does something with a slot. Readers and the scraper share the lock; only the first sight of
    /// a name takes it alone.
    fn with(&self, name: Option<&Arc<str>>, act: impl FnOnce(&T)) {
        let Some(name) = name else {
            return act(&self.nameless);
        };
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = named.get(name) {
            return act(slot);
        }
        drop(named);
        act(&self.get(Some(name)));
    }

    fn get(&self, name: Option<&Arc<str>>) -> Arc<T> {
        let Some(name) = name else {
            return Arc::clone(&self.nameless);
        };
        let mut named = self.named.write().unwrap_or_else(PoisonError::into_inner);
        let name = if named.len() < SLOTS || named.contains_key(name) {
            Arc::clone(name)
        } else {
            Arc::from("other")
        };
        Arc::clone(named.entry(name).or_default())
    }

    /// The slots by name; the nameless one is `""`. Holds the lock for the copy of pointers only.
    fn list(&self) -> Vec<(Arc<str>, Arc<T>)> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        let mut list = Vec::with_capacity(named.len() + 1);
        list.push((Arc::from(""), Arc::clone(&self.nameless)));
        list.extend(
            named
                .iter()
                .map(|(name, slot)| (Arc::clone(name), Arc::clone(slot))),
        );
        list
    }
}

/// What is counted of an API. Aligned so that two workers' slots never share a cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct ApiSlot {
    operations: Slots<OperationSlot>,
    duration: Histogram,
    upstream: Histogram,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    enforced: Reasons,
    monitored: Reasons,
    /// Matches of rules by their kind, which is a word of ours.
    matches: Slots<AtomicU64>,
    /// Attempts to log in by what they were for and how they ended, which are words of ours.
    logins: Slots<AtomicU64>,
    exhausted: AtomicU64,
    /// What limits said, by their names.
    limits: Slots<LimitSlot>,
}

/// What a limit said: `passed`, `refused`, and what it would have refused under `monitor`.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LimitSlot([AtomicU64; VERDICTS.len()]);

const VERDICTS: [&str; 3] = ["passed", "refused", "monitored"];

impl LimitSlot {
    fn add(&self, limit: &LimitRecord) {
        let [passed, refused, monitored] = &self.0;
        let cell = match (limit.refused, limit.enforced) {
            (false, _) => passed,
            (true, true) => refused,
            (true, false) => monitored,
        };
        cell.fetch_add(1, Relaxed);
    }
}

/// Requests by outcome and class of status.
#[derive(Debug, Default)]
#[repr(align(128))]
struct OperationSlot {
    requests: [[AtomicU64; CLASSES.len()]; OUTCOMES.len()],
}

const OUTCOMES: [&str; 4] = ["denied", "forwarded", "answered", "abandoned"];
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

impl OperationSlot {
    fn add(&self, outcome: Outcome, status: u16) {
        let outcome = match outcome {
            Outcome::Denied(_) => 0,
            Outcome::Forwarded => 1,
            Outcome::Answered => 2,
            Outcome::Abandoned => 3,
        };
        let class = usize::from(status / 100).min(CLASSES.len() - 1);
        if let Some(cell) = self.requests.get(outcome).and_then(|row| row.get(class)) {
            cell.fetch_add(1, Relaxed);
        }
    }
}

/// A counter for each reason.
#[derive(Debug)]
struct Reasons([AtomicU64; Reason::ALL.len()]);

impl Default for Reasons {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; Reason::ALL.len()])
    }
}

impl Reasons {
    fn add(&self, reason: Reason) {
        let of_reason = Reason::ALL.iter().zip(&self.0);
        if let Some((_, cell)) = of_reason.into_iter().find(|(other, _)| **other == reason) {
            cell.fetch_add(1, Relaxed);
        }
    }
}

/// How often a time fell into each bucket, and the sum of the times in microseconds.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = BUCKETS.partition_point(|&end| end < micros);
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(micros, Relaxed);
    }
}

/// What is counted of a listener.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Listener {
    accepted: AtomicU64,
    closed: AtomicU64,
    refused: Reasons,
    handshakes: AtomicU64,
    failed_handshakes: AtomicU64,
}

impl Listener {
    /// A connection was accepted; it is open until the value is dropped.
    #[must_use]
    pub fn open(self: &Arc<Self>) -> OpenConnection {
        self.accepted.fetch_add(1, Relaxed);
        OpenConnection(Arc::clone(self))
    }

    /// A connection was closed at once, and why.
    pub fn refuse(&self, reason: Reason) {
        self.refused.add(reason);
    }

    /// A TLS handshake succeeded.
    pub fn handshake_succeeded(&self) {
        self.handshakes.fetch_add(1, Relaxed);
    }

    /// A TLS handshake failed or took too long.
    pub fn handshake_failed(&self) {
        self.failed_handshakes.fetch_add(1, Relaxed);
    }
}

/// Counts its connection as open while it lives.
#[derive(Debug)]
pub struct OpenConnection(Arc<Listener>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Relaxed);
    }
}

// ---- reading

/// All shards added up.
#[derive(Default)]
struct Totals {
    apis: BTreeMap<Arc<str>, ApiTotals>,
    listeners: BTreeMap<Arc<str>, ListenerTotals>,
}

#[derive(Default)]
struct ApiTotals {
    operations: BTreeMap<Arc<str>, [[u64; CLASSES.len()]; OUTCOMES.len()]>,
    duration: HistogramTotals,
    upstream: HistogramTotals,
    request_bytes: u64,
    response_bytes: u64,
    enforced: ReasonTotals,
    monitored: ReasonTotals,
    matches: BTreeMap<Arc<str>, u64>,
    logins: BTreeMap<Arc<str>, u64>,
    limits: BTreeMap<Arc<str>, [u64; VERDICTS.len()]>,
    exhausted: u64,
}

#[derive(Default)]
struct ListenerTotals {
    accepted: u64,
    closed: u64,
    refused: ReasonTotals,
    handshakes: u64,
    failed_handshakes: u64,
}

/// Which of an API's totals a metric shows.
type Reading<T> = fn(&ApiTotals) -> T;
type HistogramReading = fn(&ApiTotals) -> &HistogramTotals;

type HistogramTotals = ([u64; BUCKETS.len() + 1], u64);

struct ReasonTotals([u64; Reason::ALL.len()]);

impl Default for ReasonTotals {
    fn default() -> Self {
        Self([0; Reason::ALL.len()])
    }
}

impl ReasonTotals {
    fn nonzero(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = Reason::ALL.iter().copied().zip(self.0);
        all.filter(|(_, count)| *count > 0)
    }
}

fn add_each<'a>(
    sums: impl IntoIterator<Item = &'a mut u64>,
    cells: impl IntoIterator<Item = &'a AtomicU64>,
) {
    for (sum, cell) in sums.into_iter().zip(cells) {
        *sum = sum.wrapping_add(cell.load(Relaxed));
    }
}

impl Totals {
    fn of(shards: &[Arc<Shard>]) -> Self {
        let mut totals = Self::default();
        for shard in shards {
            for (name, slot) in shard.apis.list() {
                totals.apis.entry(name).or_default().add(&slot);
            }
            for (name, slot) in shard.listeners.list() {
                if !name.is_empty() {
                    totals.listeners.entry(name).or_default().add(&slot);
                }
            }
        }
        totals
    }
}

impl ApiTotals {
    fn add(&mut self, slot: &ApiSlot) {
        for (name, operation) in slot.operations.list() {
            let sums = self.operations.entry(name).or_default();
            for (sums, cells) in sums.iter_mut().zip(&operation.requests) {
                add_each(sums, cells);
            }
        }
        for (totals, histogram) in [
            (&mut self.duration, &slot.duration),
            (&mut self.upstream, &slot.upstream),
        ] {
            add_each(&mut totals.0, &histogram.buckets);
            add_each([&mut totals.1], [&histogram.sum]);
        }
        add_each([&mut self.request_bytes], [&slot.request_bytes]);
        add_each([&mut self.response_bytes], [&slot.response_bytes]);
        add_each(&mut self.enforced.0, &slot.enforced.0);
        add_each(&mut self.monitored.0, &slot.monitored.0);
        for (name, limit) in slot.limits.list() {
            add_each(self.limits.entry(name).or_default(), &limit.0);
        }
        for (name, count) in slot.logins.list() {
            add_each([self.logins.entry(name).or_default()], [&*count]);
        }
        for (kind, count) in slot.matches.list() {
            add_each([self.matches.entry(kind).or_default()], [&*count]);
        }
        add_each([&mut self.exhausted], [&slot.exhausted]);
    }
}

impl ListenerTotals {
    fn add(&mut self, slot: &Listener) {
        // What is closed is read first: a connection that opens and closes between the two reads
        // must not make the gauge negative.
        add_each([&mut self.closed], [&slot.closed]);
        add_each([&mut self.accepted], [&slot.accepted]);
        add_each(&mut self.refused.0, &slot.refused.0);
        add_each([&mut self.handshakes], [&slot.handshakes]);
        add_each([&mut self.failed_handshakes], [&slot.failed_handshakes]);
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = Totals::of(&self.shards);
        requests(&mut encoder, &totals)?;
        refusals(&mut encoder, &totals)?;
        limits(&mut encoder, &totals)?;
        rules(&mut encoder, &totals)?;
        logins(&mut encoder, &totals)?;
        histograms(&mut encoder, &totals)?;
        bytes(&mut encoder, &totals)?;
        process::connections(&mut encoder, &totals)?;
        if let Some(counters) = self.journal.get() {
            process::journal(&mut encoder, counters)?;
        }
        if let Some(keys) = self.keys.get() {
            process::networks(&mut encoder, &keys.feeds())?;
            process::load(&mut encoder, &keys.loads())?;
        }
        if let Some(counts) = self.keys.get().and_then(KeyRing::known_counts) {
            shared_counts::encode(&mut encoder, &counts)?;
        }
        self.process(&mut encoder)
    }
}

impl Metrics {
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut reloads = encoder.encode_descriptor(
            "fortress_config_reloads",
            "Attempts to load a changed configuration.",
            None,
            MetricType::Counter,
        )?;
        count(
            &mut reloads,
            &[("result", "success")],
            self.reloads.load(Relaxed),
        )?;
        count(
            &mut reloads,
            &[("result", "failure")],
            self.failed_reloads.load(Relaxed),
        )?;
        encoder
            .encode_descriptor(
                "fortress_config_loaded_timestamp",
                "When the configuration in force was loaded, since the epoch.",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?
            .encode_gauge(&self.loaded.load(Relaxed))?;
        encoder
            .encode_descriptor(
                "fortress_build",
                "The running version.",
                None,
                MetricType::Info,
            )?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        encoder
            .encode_descriptor(
                "process_start_time",
                "When the process began, since the epoch.",
                Some(&Unit::Seconds),
                MetricType::Gauge,
            )?
            .encode_gauge(&self.started.seconds())
    }
}

fn count<V: EncodeLabelValue, const N: usize>(
    encoder: &mut MetricEncoder<'_>,
    labels: &[(&'static str, V); N],
    value: u64,
) -> fmt::Result
where
    [(&'static str, V); N]: EncodeLabelSet,
{
    encoder
        .encode_family(labels)?
        .encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

fn requests(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "fortress_requests",
        "Requests by operation, outcome and class of the client's status.",
        None,
        MetricType::Counter,
    )?;
    for (api, of_api) in &totals.apis {
        for (operation, rows) in &of_api.operations {
            for (outcome, row) in OUTCOMES.iter().zip(rows) {
                for (class, &value) in CLASSES.iter().zip(row).filter(|(_, value)| **value > 0) {
                    let labels = [
                        ("api", &**api),
                        ("operation", operation),
                        ("outcome", outcome),
                        ("status", class),
                    ];
                    count(&mut metric, &labels, value)?;
                }
            }
        }
    }
    Ok(())
}

fn refusals(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "fortress_refusals",
        "Requests refused (enforce), or that would have been (monitor), by reason.",
        None,
        MetricType::Counter,
    )?;
    for (api, of_api) in &totals.apis {
        for (mode, reasons) in [
            ("enforce", &of_api.enforced),
            ("monitor", &of_api.monitored),
        ] {
            for (reason, value) in reasons.nonzero() {
                let labels = [
                    ("api", &**api),
                    ("reason", reason.code()),
                    ("risk", reason.risk().code()),
                    ("mode", mode),
                ];
                count(&mut metric, &labels, value)?;
            }
        }
    }
    Ok(())
}

fn limits(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "fortress_limits",
        "Requests that a limit was asked about, by what it said.",
        None,
        MetricType::Counter,
    )?;
    for (api, of_api) in &totals.apis {
        for (name, verdicts) in of_api.limits.iter().filter(|(name, _)| !name.is_empty()) {
            for (verdict, &value) in VERDICTS.iter().zip(verdicts) {
                let labels = [("api", &**api), ("limit", &**name), ("verdict", verdict)];
                count(&mut metric, &labels, value)?;
            }
        }
    }
    Ok(())
}

fn logins(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "fortress_logins",
        "Attempts to log in, by what they were for and how they ended.",
        None,
        MetricType::Counter,
    )?;
    for (api, of_api) in &totals.apis {
        for (name, &value) in of_api.logins.iter().filter(|(_, count)| **count > 0) {
            let (kind, outcome) = name.split_once(' ').unwrap_or((name, ""));
            let labels = [("api", &**api), ("kind", kind), ("outcome", outcome)];
            count(&mut metric, &labels, value)?;
        }
    }
    Ok(())
}

fn rules(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(
        "fortress_waf_matches",
        "Rules that matched, refused or not, by what they look for.",
        None,
        MetricType::Counter,
    )?;
    for (api, of_api) in &totals.apis {
        for (kind, &value) in of_api.matches.iter().filter(|(_, count)| **count > 0) {
            count(&mut metric, &[("api", &**api), ("kind", &**kind)], value)?;
        }
    }
    let mut exhausted = encoder.encode_descriptor(
        "fortress_waf_exhausted",
        "Requests or answers on which the rules spent `bounds.inspection` without coming to their end.",
        None,
        MetricType::Counter,
    )?;
    for (api, of_api) in totals.apis.iter().filter(|(_, api)| api.exhausted > 0) {
        count(&mut exhausted, &[("api", &**api)], of_api.exhausted)?;
    }
    Ok(())
}

fn histograms(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let families: [(&str, &str, HistogramReading); 2] = [
        (
            "fortress_request_duration",
            "From the end of a request's head to the end of its response.",
            |api| &api.duration,
        ),
        (
            "fortress_upstream_duration",
            "Of that, the time spent with the upstream.",
            |api| &api.upstream,
        ),
    ];
    for (name, help, of) in families {
        let mut metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (api, of_api) in &totals.apis {
            let (buckets, sum) = of(of_api);
            let total = buckets.iter().sum();
            if total == 0 {
                continue;
            }
            let ends = BUCKETS
                .iter()
                .map(|&end| seconds(end))
                .chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = ends.zip(buckets.iter().copied()).collect();
            metric
                .encode_family(&[("api", &**api)])?
                .encode_histogram::<NoLabelSet>(seconds(*sum), total, &buckets, None)?;
        }
    }
    Ok(())
}

/// Microseconds as seconds.
fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

fn bytes(encoder: &mut DescriptorEncoder<'_>, totals: &Totals) -> fmt::Result {
    let families: [(&str, &str, Reading<u64>); 2] = [
        (
            "fortress_request",
            "Bytes received: heads and bodies.",
            |api| api.request_bytes,
        ),
        (
            "fortress_response",
            "Bytes of responses' bodies sent.",
            |api| api.response_bytes,
        ),
    ];
    for (name, help, of) in families {
        let mut metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Counter)?;
        for (api, of_api) in totals.apis.iter().filter(|(_, api)| of(api) > 0) {
            count(&mut metric, &[("api", &**api)], of(of_api))?;
        }
    }
    Ok(())
}
