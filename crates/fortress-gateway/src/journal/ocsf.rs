//! A decision as an OCSF 1.8.0 HTTP Activity event (class 4002), one line of JSON, and the loss of
//! records as an Application Error event (class 6008).
//!
//! What OCSF has no attribute for stands under `unmapped.fortress`. Deliberately not here: query
//! strings, header values and bodies. A journal is copied to many places, and secrets travel in
//! all three. Only where a rule matched stands the beginning of the value, if it can be no secret.

use std::{net::SocketAddr, time::Duration};

use fortress_model::{
    Decision, Finding, Mode, Outcome, Reason, Risk, Timestamp,
    decision::{MatchedValue, PrincipalRecord, RuleMatch, RulesRecord, Stage},
};

use super::{NoteStatus, json::Json};

/// Bytes of a path; `bounds.uri` is the same by default.
const PATH: usize = 8 << 10;
/// Bytes of a name: host, method, operation, principal, user agent.
const NAME: usize = 256;
/// Bytes of a finding's detail or of a note.
const DETAIL: usize = 1 << 10;
/// Notes of one record.
const NOTES: usize = 32;

/// Appends the event and a line feed.
pub(super) fn event(out: &mut Vec<u8>, decision: &Decision) {
    let verdict = Verdict::of(decision);
    let mut json = Json::new(out);
    json.line();
    metadata(&mut json, decision);
    class(&mut json, decision);
    times(&mut json, decision);
    judgement(&mut json, decision, verdict);
    exchange(&mut json, decision);
    endpoints(&mut json, decision);
    if let Some(principal) = &decision.principal {
        actor(&mut json, principal);
    }
    if let Some(api) = &decision.api {
        called(&mut json, api, decision);
    }
    observables(&mut json, decision);
    unmapped(&mut json, decision);
    json.end_line();
}

/// Why records were lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LossCause {
    /// A worker's queue was full: the journal's thread could not keep up.
    Queue,
    /// A sink could not be written: the disk is full, the pipe is closed, the reader is too slow.
    Sink,
}

/// Appends the event that says how many records are missing at this place of the journal.
pub(super) fn loss(
    out: &mut Vec<u8>,
    cause: LossCause,
    count: u64,
    since: Timestamp,
    until: Timestamp,
    detail: &str,
) {
    let mut json = Json::new(out);
    begin_error(&mut json);
    json.number("severity_id", 4u32);
    json.word("severity", "High");
    json.number("time", until.millis());
    json.number("start_time", since.millis());
    json.number("end_time", until.millis());
    json.number("timezone_offset", 0u32);
    json.number("count", integer(count));
    json.number("status_id", 2u32);
    json.word("status", "Failure");
    json.word("status_code", "journal.lost");
    json.text("status_detail", detail, DETAIL);
    json.text(
        "message",
        &format!(
            "{count} records lost between {} and {}",
            utc(since),
            utc(until)
        ),
        DETAIL,
    );
    json.object("unmapped");
    json.object("fortress");
    json.number("lost", count);
    json.word(
        "cause",
        match cause {
            LossCause::Queue => "queue",
            LossCause::Sink => "sink",
        },
    );
    json.end_object();
    json.end_object();
    json.end_line();
}

/// Begins an event of the class Application Error.
fn begin_error(json: &mut Json<'_>) {
    json.line();
    json.object("metadata");
    product(json);
    json.end_object();
    json.number("category_uid", 6u32);
    json.word("category_name", "Application Activity");
    json.number("class_uid", 6008u32);
    json.word("class_name", "Application Error");
    json.number("activity_id", 1u32);
    json.word("activity_name", "General Error");
    json.number("type_uid", 600_801u32);
    json.word("type_name", "Application Error: General Error");
}

/// Appends an event that no request is the reason of.
pub(super) fn note(
    out: &mut Vec<u8>,
    code: &'static str,
    status: NoteStatus,
    at: Timestamp,
    detail: &str,
) {
    let (severity_id, severity, status_id, status) = match status {
        NoteStatus::Failure => (4u32, "High", 2u32, "Failure"),
        NoteStatus::Success => (1, "Informational", 1, "Success"),
    };
    let mut json = Json::new(out);
    begin_error(&mut json);
    json.number("severity_id", severity_id);
    json.word("severity", severity);
    json.number("time", at.millis());
    json.number("timezone_offset", 0u32);
    json.number("status_id", status_id);
    json.word("status", status);
    json.word("status_code", code);
    json.text("status_detail", detail, DETAIL);
    json.text("message", detail, DETAIL);
    json.end_line();
}

/// As in RFC 3339, in UTC. OCSF's own times are milliseconds; this is for the reader of a message.
fn utc(time: Timestamp) -> String {
    // Howard Hinnant's `civil_from_days`: years begin in March, so that leap days come last. A
    // `Timestamp` ends in the year 2554, and nothing here can overflow.
    let (days, second) = (time.seconds() / 86_400, time.seconds() % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let millis = time.millis() % 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The request's id comes first of all, at a fixed place: that is how the reader finds a record
/// without parsing those around it.
pub(super) const LINE_START: &str = "{\"metadata\":{\"uid\":\"";

fn metadata(json: &mut Json<'_>, decision: &Decision) {
    json.object("metadata");
    json.display("uid", decision.id);
    product(json);
    json.array("profiles");
    json.item_text("security_control", NAME);
    if decision.principal.is_some() {
        json.item_text("host", NAME);
    }
    if decision.api.is_some() {
        json.item_text("cloud", NAME);
    }
    json.end_array();
    json.end_object();
}

fn product(json: &mut Json<'_>) {
    json.word("version", "1.8.0");
    json.object("product");
    json.word("name", "Fortress");
    json.word("vendor_name", "Fortress");
    json.word("version", env!("CARGO_PKG_VERSION"));
    json.end_object();
    json.word("log_name", "journal");
}

fn class(json: &mut Json<'_>, decision: &Decision) {
    json.number("category_uid", 4u32);
    json.word("category_name", "Network Activity");
    json.number("class_uid", 4002u32);
    json.word("class_name", "HTTP Activity");
    let activity = activity(&decision.method);
    json.number("activity_id", activity.id);
    match activity.id {
        OTHER_ACTIVITY => json.text("activity_name", &decision.method, NAME),
        _ => json.word("activity_name", activity.name),
    }
    json.number("type_uid", 400_200 + activity.id);
    json.word("type_name", activity.type_name);
}

struct Activity {
    id: u32,
    name: &'static str,
    type_name: &'static str,
}

const OTHER_ACTIVITY: u32 = 99;

fn activity(method: &str) -> Activity {
    let (id, name, type_name) = match method {
        "" => (0, "Unknown", "HTTP Activity: Unknown"),
        "CONNECT" => (1, "Connect", "HTTP Activity: Connect"),
        "DELETE" => (2, "Delete", "HTTP Activity: Delete"),
        "GET" => (3, "Get", "HTTP Activity: Get"),
        "HEAD" => (4, "Head", "HTTP Activity: Head"),
        "OPTIONS" => (5, "Options", "HTTP Activity: Options"),
        "POST" => (6, "Post", "HTTP Activity: Post"),
        "PUT" => (7, "Put", "HTTP Activity: Put"),
        "TRACE" => (8, "Trace", "HTTP Activity: Trace"),
        "PATCH" => (9, "Patch", "HTTP Activity: Patch"),
        _ => (OTHER_ACTIVITY, "Other", "HTTP Activity: Other"),
    };
    Activity {
        id,
        name,
        type_name,
    }
}

fn times(json: &mut Json<'_>, decision: &Decision) {
    let received = decision.received.millis();
    let duration = millis(decision.duration);
    json.number("time", received);
    json.number("start_time", received);
    json.number("end_time", received.saturating_add(duration));
    json.number("duration", duration);
    json.number("timezone_offset", 0u32);
}

/// What the profile `security_control` says of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Verdict {
    action: (u32, &'static str),
    disposition: (u32, &'static str),
    severity: (u32, &'static str),
    status: (u32, &'static str),
    alert: bool,
}

impl Verdict {
    fn of(decision: &Decision) -> Self {
        let observed = !decision.findings.is_empty();
        match decision.outcome {
            Outcome::Denied(reason) => Self::denied(reason),
            Outcome::Forwarded | Outcome::Answered | Outcome::Abandoned if observed => Self {
                action: (3, "Observed"),
                disposition: (19, "Alert"),
                severity: (2, "Low"),
                status: status(decision),
                alert: true,
            },
            Outcome::Forwarded | Outcome::Answered => Self {
                action: (1, "Allowed"),
                disposition: (1, "Allowed"),
                severity: (1, "Informational"),
                status: status(decision),
                alert: false,
            },
            Outcome::Abandoned => Self {
                action: (0, "Unknown"),
                disposition: (99, "Abandoned"),
                severity: (1, "Informational"),
                status: (99, "Abandoned"),
                alert: false,
            },
        }
    }

    fn denied(reason: Reason) -> Self {
        let severity = severity(reason);
        let disposition = if FAULTS.contains(&reason) {
            (27, "Error")
        } else if matches!(reason.status().as_u16(), 401 | 403) {
            (26, "Unauthorized")
        } else {
            (2, "Blocked")
        };
        Self {
            action: (2, "Denied"),
            disposition,
            severity,
            status: (2, "Failure"),
            alert: severity.0 >= 3,
        }
    }
}

/// Refusals which are nobody's attack: something that a request needs was away.
const FAULTS: &[Reason] = &[
    Reason::KeysUnavailable,
    Reason::UpstreamUnreachable,
    Reason::UpstreamTimeout,
    Reason::UpstreamBroken,
    Reason::GatewayFault,
];

/// A defect is high; what answers a risk of access or data is medium, unless honest clients cause
/// it every day; the rest is low.
fn severity(reason: Reason) -> (u32, &'static str) {
    const EVERYDAY: &[Reason] = &[Reason::CredentialMissing, Reason::CredentialExpired];
    if reason == Reason::GatewayFault {
        return (4, "High");
    }
    if EVERYDAY.contains(&reason) {
        return (2, "Low");
    }
    if FAULTS.contains(&reason) {
        return (3, "Medium");
    }
    match reason.risk() {
        Risk::Api1
        | Risk::Api2
        | Risk::Api3
        | Risk::Api5
        | Risk::Api6
        | Risk::Api7
        | Risk::Api10 => (3, "Medium"),
        Risk::Api4 | Risk::Api8 | Risk::Api9 => (2, "Low"),
    }
}

/// How the exchange went for the client, whatever Fortress thought of it.
fn status(decision: &Decision) -> (u32, &'static str) {
    match decision.status {
        100..=399 => (1, "Success"),
        400..=599 => (2, "Failure"),
        _ => (0, "Unknown"),
    }
}

fn judgement(json: &mut Json<'_>, decision: &Decision, verdict: Verdict) {
    json.number("severity_id", verdict.severity.0);
    json.word("severity", verdict.severity.1);
    json.number("status_id", verdict.status.0);
    json.word("status", verdict.status.1);
    if decision.status != 0 {
        json.display("status_code", decision.status);
    }
    let finding = telling(decision);
    if let Some(finding) = finding {
        json.text("status_detail", finding.reason.code(), NAME);
    }
    json.number("action_id", verdict.action.0);
    json.word("action", verdict.action.1);
    json.number("disposition_id", verdict.disposition.0);
    json.word("disposition", verdict.disposition.1);
    json.flag("is_alert", verdict.alert);
    if let Some(finding) = finding {
        // OCSF's word for what decided: here the reason, which is our rule's name.
        json.object("firewall_rule");
        json.word("uid", finding.reason.code());
        json.word("name", finding.reason.code());
        json.text("desc", &finding.detail, DETAIL);
        json.word("category", finding.reason.risk().code());
        json.end_object();
    }
}

/// The finding that ended the request, or the first that would have.
fn telling(decision: &Decision) -> Option<&Finding> {
    let ended = match decision.outcome {
        Outcome::Denied(reason) => decision
            .findings
            .iter()
            .rfind(|finding| finding.enforced && finding.reason == reason),
        Outcome::Forwarded | Outcome::Answered | Outcome::Abandoned => None,
    };
    ended.or(decision.findings.first())
}

fn exchange(json: &mut Json<'_>, decision: &Decision) {
    json.object("http_request");
    json.display("uid", decision.id);
    if !matches!(activity(&decision.method).id, 0 | OTHER_ACTIVITY) {
        json.text("http_method", &decision.method, NAME);
    }
    json.object("url");
    json.text("path", bare_path(&decision.path), PATH);
    let (hostname, port) = host_and_port(&decision.host);
    if !hostname.is_empty() {
        json.text("hostname", hostname, NAME);
    }
    if let Some(port) = port {
        json.number("port", port);
    }
    json.word("scheme", if decision.tls { "https" } else { "http" });
    json.end_object();
    json.word("version", decision.version);
    if !decision.user_agent.is_empty() {
        json.text("user_agent", &decision.user_agent, NAME);
    }
    json.number("body_length", integer(decision.request_bytes));
    json.number(
        "length",
        integer(decision.head_bytes.saturating_add(decision.request_bytes)),
    );
    json.end_object();
    if decision.status != 0 {
        json.object("http_response");
        json.number("code", decision.status);
        json.number("body_length", integer(decision.response_bytes));
        json.number("length", integer(decision.response_bytes));
        json.number("latency", integer(millis(decision.duration)));
        json.end_object();
    }
    json.object("traffic");
    let came = decision.head_bytes.saturating_add(decision.request_bytes);
    json.number("bytes", came.saturating_add(decision.response_bytes));
    json.number("bytes_in", came);
    json.number("bytes_out", decision.response_bytes);
    json.end_object();
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// OCSF's `integer_t` has 32 bits, signed.
fn integer(value: u64) -> u64 {
    value.min(u64::from(u32::MAX >> 1))
}

/// A path that could not be normalised stands as it came, and may hold what a journal must not:
/// a query, a fragment, or the credentials of an absolute form (RFC 9110, section 4.2.4).
fn bare_path(path: &str) -> &str {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((_, rest)) if !path.starts_with('/') => rest
            .find('/')
            .map_or("/", |start| rest.get(start..).unwrap_or_default()),
        Some(_) | None => path,
    }
}

/// Splits off the port, and drops what a hostile `Host` puts before an `@`.
fn host_and_port(host: &str) -> (&str, Option<u16>) {
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            match port.parse::<u16>() {
                Ok(port) => (name, Some(port)),
                Err(_) => (host, None),
            }
        }
        Some(_) | None => (host, None),
    }
}

fn endpoints(json: &mut Json<'_>, decision: &Decision) {
    json.object("src_endpoint");
    json.display("ip", decision.client.to_canonical());
    if decision.client_port != 0 {
        json.number("port", decision.client_port);
    }
    json.end_object();
    if decision.listener.is_empty() && decision.api.is_none() {
        return;
    }
    json.object("dst_endpoint");
    match decision.listener.parse::<SocketAddr>() {
        Ok(address) => {
            json.display("ip", address.ip().to_canonical());
            json.number("port", address.port());
        }
        Err(_) if decision.listener.is_empty() => {}
        Err(_) => json.text("name", &decision.listener, NAME),
    }
    if let Some(api) = &decision.api {
        json.text("svc_name", api, NAME);
    }
    json.end_object();
}

fn actor(json: &mut Json<'_>, principal: &PrincipalRecord) {
    json.object("actor");
    json.object("user");
    json.text("uid", &principal.id, NAME);
    json.text("domain", &principal.identity, NAME);
    json.end_object();
    json.object("idp");
    json.text("name", &principal.identity, NAME);
    json.end_object();
    if let Some(expires) = principal.expires {
        json.object("session");
        json.number("expiration_time", expires.saturating_mul(1_000));
        json.end_object();
    }
    json.end_object();
}

/// `api` belongs to the profile `cloud`, which demands a `cloud` object. A gateway does not know
/// where it runs, and says so.
fn called(json: &mut Json<'_>, api: &str, decision: &Decision) {
    json.object("api");
    json.text(
        "operation",
        decision.operation.as_deref().unwrap_or("unknown"),
        NAME,
    );
    json.object("service");
    json.text("name", api, NAME);
    json.end_object();
    json.end_object();
    json.object("cloud");
    json.word("provider", "unknown");
    json.end_object();
}

fn observables(json: &mut Json<'_>, decision: &Decision) {
    json.array("observables");
    json.item_object();
    json.word("name", "src_endpoint.ip");
    json.number("type_id", 2u32);
    json.word("type", "IP Address");
    json.display("value", decision.client.to_canonical());
    json.end_object();
    if let Some(principal) = &decision.principal {
        json.item_object();
        json.word("name", "actor.user.uid");
        json.number("type_id", 31u32);
        json.word("type", "User Object: uid");
        json.text("value", &principal.id, NAME);
        json.end_object();
    }
    json.end_array();
}

fn unmapped(json: &mut Json<'_>, decision: &Decision) {
    json.object("unmapped");
    json.object("fortress");
    match decision.outcome {
        Outcome::Denied(reason) => {
            json.word("outcome", "denied");
            json.word("reason", reason.code());
            json.word("risk", reason.risk().code());
        }
        Outcome::Forwarded => json.word("outcome", "forwarded"),
        Outcome::Answered => json.word("outcome", "answered"),
        Outcome::Abandoned => json.word("outcome", "abandoned"),
    }
    json.word("mode", Mode::name(decision.mode));
    json.word("stage", decision.stage.name());
    if !decision.method.is_empty() {
        json.text("method", &decision.method, NAME);
    }
    if let Some(api) = &decision.api {
        json.text("api", api, NAME);
    }
    if let Some(operation) = &decision.operation {
        json.text("operation", operation, NAME);
    }
    findings(json, decision);
    if let Some(record) = &decision.rules {
        rules(json, record);
    }
    limits(json, decision);
    login(json, decision);
    measures(json, decision);
    if let Some(principal) = &decision.principal {
        json.object("principal");
        json.text("id", &principal.id, NAME);
        json.text("identity", &principal.identity, NAME);
        json.text("method", &principal.method, NAME);
        if let Some(expires) = principal.expires {
            json.number("expires", expires);
        }
        json.end_object();
    }
    if json.was_cut() {
        json.flag("truncated", true);
    }
    json.end_object();
    json.end_object();
}

/// Microseconds and bytes, and where the request came in.
fn measures(json: &mut Json<'_>, decision: &Decision) {
    json.number(
        "duration_us",
        u64::try_from(decision.duration.as_micros()).unwrap_or(u64::MAX),
    );
    json.object("timings_us");
    for &stage in Stage::ALL {
        json.number(stage.name(), decision.timings.micros(stage));
    }
    json.end_object();
    if let Some(status) = decision.upstream_status {
        json.number("upstream_status", status);
    }
    json.text("listener", &decision.listener, NAME);
    json.flag("tls", decision.tls);
    if let Some(ja4) = &decision.ja4 {
        json.text("ja4", ja4, NAME);
    }
    json.number("head_bytes", decision.head_bytes);
    json.number("request_bytes", decision.request_bytes);
    json.number("response_bytes", decision.response_bytes);
}

/// What limits said; nothing where none holds.
fn limits(json: &mut Json<'_>, decision: &Decision) {
    if decision.limits.is_empty() {
        return;
    }
    json.array("limits");
    for limit in &decision.limits {
        json.item_object();
        json.word("stage", limit.stage.name());
        json.text("name", &limit.name, NAME);
        json.word("kind", limit.kind);
        json.number("most", limit.most);
        if let Some(window) = limit.window {
            json.number("window_s", window.as_secs());
        }
        json.number("left", limit.left);
        json.number("full_in_ms", millis(limit.full_in));
        if let Some(wait) = limit.retry_in {
            json.number("retry_in_ms", millis(wait));
        }
        json.flag("refused", limit.refused);
        json.flag("enforced", limit.enforced);
        json.word("counted", limit.counted);
        json.end_object();
    }
    json.end_array();
}

/// What became of an attempt to log in; the account is a keyed hash.
fn login(json: &mut Json<'_>, decision: &Decision) {
    let Some(login) = &decision.login else {
        return;
    };
    json.object("login");
    json.word("kind", login.kind);
    json.word("outcome", login.outcome);
    if let Some(account) = &login.account {
        json.text("account", account, NAME);
    }
    json.number("failures", login.failures);
    if let Some(wait) = login.wait {
        json.number("wait_s", fortress_limits::headers::retry_after(wait));
    }
    if let Some(found) = login.found {
        json.word("found", found);
    }
    json.end_object();
}

fn findings(json: &mut Json<'_>, decision: &Decision) {
    json.array("findings");
    for finding in &decision.findings {
        json.item_object();
        json.word("stage", finding.stage.name());
        json.word("reason", finding.reason.code());
        json.text("detail", &finding.detail, DETAIL);
        json.flag("enforced", finding.enforced);
        json.end_object();
    }
    json.end_array();
    json.array("notes");
    for note in decision.notes.iter().take(NOTES) {
        json.item_text(note, DETAIL);
    }
    json.end_array();
}

/// What the rules said. Its texts were cut to size when they were recorded.
fn rules(json: &mut Json<'_>, record: &RulesRecord) {
    json.object("waf");
    json.number("score", positive(record.score));
    if let Some(threshold) = record.threshold {
        json.number("threshold", threshold);
    }
    json.number("response_score", positive(record.response_score));
    if let Some(threshold) = record.response_threshold {
        json.number("response_threshold", threshold);
    }
    json.number("proven", record.proven);
    json.number("more", record.more);
    json.flag("exhausted", record.exhausted);
    json.array("rules");
    for found in &record.matches {
        rule(json, found);
    }
    json.end_array();
    json.end_object();
}

fn rule(json: &mut Json<'_>, found: &RuleMatch) {
    json.item_object();
    json.number("rule", found.rule);
    json.number("phase", found.phase);
    json.word("kind", found.kind);
    json.text("message", &found.message, DETAIL);
    if !found.data.is_empty() {
        json.text("data", &found.data, DETAIL);
    }
    json.number("score", positive(found.score));
    json.array("matched");
    for value in &found.values {
        matched(json, value);
    }
    json.end_array();
    json.end_object();
}

fn matched(json: &mut Json<'_>, value: &MatchedValue) {
    json.item_object();
    json.text("variable", &value.variable, DETAIL);
    if let Some(parameter) = &value.parameter {
        json.text("parameter", parameter, DETAIL);
    }
    match &value.excerpt {
        Some(excerpt) => json.text("value", excerpt, DETAIL),
        None => json.flag("redacted", true),
    }
    json.array("transformations");
    for transformation in &value.transformations {
        json.item_text(transformation, NAME);
    }
    json.end_array();
    json.end_object();
}

/// A score is negative only where rules of one's own take from it.
fn positive(score: i64) -> u64 {
    u64::try_from(score).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: u64, millis: u64, expect: &str) {
        let time = Timestamp(seconds * 1_000_000_000 + millis * 1_000_000);
        assert_eq!(utc(time), expect);
    }

    #[test]
    fn times_are_printed_in_utc() {
        check(0, 0, "1970-01-01T00:00:00.000Z");
        check(951_782_399, 999, "2000-02-28T23:59:59.999Z");
        check(951_782_400, 0, "2000-02-29T00:00:00.000Z");
        check(951_868_800, 0, "2000-03-01T00:00:00.000Z");
        check(1_709_251_199, 1, "2024-02-29T23:59:59.001Z");
        check(1_795_428_723, 417, "2026-11-23T10:12:03.417Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00.000Z");
        check(18_446_744_073, 709, "2554-07-21T23:34:33.709Z");
    }
}
