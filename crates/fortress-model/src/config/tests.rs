//! What the loader accepts, and each thing that it refuses: what it marks, says and advises.

use std::{fs, path::PathBuf, time::Duration};

use proptest::prelude::*;

use super::{
    Config, Cookies, Http2, References, RequestUndeclared, ResponseUndeclared, Serve, TlsVersion,
    VaultAuth, VaultReference, VaultSettings, json_schema, load, load_partly, load_with, settings,
};
use crate::{
    bounds::Bounds,
    config::{
        LimitFault, LimitHeaders, LimitMeasure, LimitPart, MissingPart, QuotaEdge, QuotaUnit,
        WafRules, WafSettings, nearest_limits,
    },
    decision::Mode,
    diagnostic::{Diagnostic, Severity},
    document::{Format, Sources, read},
    secret::Secret,
};

/// Every key once.
pub(super) const WHOLE: &str = include_str!("whole.yaml");

const LISTEN: &str = "listen: [{ address: 127.0.0.1:0 }]";
const APIS: &str = "apis: { orders: { spec: none, upstream: http://127.0.0.1:1 } }";

pub(super) fn root(fragment: &str) -> String {
    format!("version: 1\n{LISTEN}\n{APIS}\n{fragment}\n")
}

fn listen(fragment: &str) -> String {
    format!("version: 1\n{APIS}\nlisten:\n  - {{ address: 127.0.0.1:0 }}\n  - {{ {fragment} }}\n")
}

fn api(fragment: &str) -> String {
    let idp = "identity: { idp: { issuer: i, audience: a, jwks: file:k } }";
    format!("version: 1\n{LISTEN}\n{idp}\napis:\n  orders: {{ spec: openapi.yaml, {fragment} }}\n")
}

/// An API without a description.
fn undescribed(fragment: &str) -> String {
    api(&format!("upstream: http://127.0.0.1:1, {fragment}")).replace("openapi.yaml", "none")
}

/// An API with an upstream.
fn full_api(fragment: &str) -> String {
    api(&format!("upstream: http://127.0.0.1:1, {fragment}"))
}

fn operation(fragment: &str) -> String {
    full_api(&format!("operations: {{ getOrder: {{ {fragment} }} }}"))
}

fn idp(fragment: &str) -> String {
    root(&format!("identity:\n  idp: {{ {fragment} }}"))
}

/// What the upstream is told of callers.
fn told(fragment: &str) -> String {
    api(&format!(
        "upstream: {{ endpoints: [{{ url: http://127.0.0.1:1 }}], identity: {{ {fragment} }} }}"
    ))
}

/// An identity that lacks nothing.
fn full_idp(fragment: &str) -> String {
    idp(&format!(
        "issuer: https://i, audience: a, jwks: file:k.json, {fragment}"
    ))
}

fn environment(name: &str) -> Option<String> {
    match name {
        "ADDRESS" => Some("127.0.0.1:8080".into()),
        "TRUE" => Some("true".into()),
        "SECONDS" => Some("5s".into()),
        "KEY" => Some("file:key.pem".into()),
        "PEM" => Some("-----BEGIN PRIVATE KEY-----\nhunter2".into()),
        "BAD" => Some("hunter2".into()),
        "DATABASE_URL" => Some("postgres://fortress:hunter2@db.example.com/fortress".into()),
        "PEPPER" => Some("hunter2hunter2hunter2hunter2hunter2".into()),
        "EMPTY" => Some(String::new()),
        "SECRET" => Some("from env".into()),
        "LONG_SECRET" => Some("from an environment with many bytes".into()),
        _ => None,
    }
}

/// In a directory of its own, with some files to refer to.
pub(super) fn try_load(text: &[u8]) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("issuer.txt"), "https://from.file\n").unwrap();
    let path = directory.path().join("fortress.yaml");
    fs::write(&path, text).unwrap();
    load(&path, &environment)
}

#[track_caller]
pub(super) fn fine(text: &str) -> Config {
    let (config, _, diagnostics) = try_load(text.as_bytes());
    assert_eq!(diagnostics, [], "{text}");
    config.unwrap()
}

/// Exactly one diagnostic: what it marks, and parts of its message and its help.
#[track_caller]
fn refused(text: &str, marked: &str, message: &str, help: &str) {
    let (config, sources, diagnostics) = try_load(text.as_bytes());
    assert_eq!(diagnostics.len(), 1, "{text}\n{diagnostics:#?}");
    let found = &diagnostics[0];
    assert_eq!(found.severity, Severity::Error, "{found:?}");
    assert!(config.is_none(), "{text}");
    let span = found.span.unwrap();
    let found_mark = sources
        .get(span.source)
        .unwrap()
        .text
        .get(span.bytes())
        .unwrap();
    assert_eq!(found_mark, marked, "{text}\n{found:?}");
    assert!(found.message.contains(message), "{text}\n{found:?}");
    assert!(
        found.help.as_deref().unwrap_or_default().contains(help),
        "{text}\n{found:?}"
    );
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
}

#[track_caller]
fn warned(text: &str, message: &str) {
    let (config, _, diagnostics) = try_load(text.as_bytes());
    assert!(config.is_some(), "{diagnostics:?}");
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    assert_eq!(diagnostics[0].severity, Severity::Warning);
    assert!(diagnostics[0].message.contains(message), "{diagnostics:?}");
}

#[test]
fn the_shortest_configuration() {
    let config = fine(&root(""));
    assert_eq!(config.listen.len(), 1);
    assert_eq!(config.apis[0].name.value, "orders");
    assert!(config.apis[0].spec.is_none());
    assert_eq!(config.apis[0].upstream.endpoints[0].weight, 1);
    assert_eq!(config.files.len(), 1);
    assert!(config.journal.is_empty() && config.identity.is_empty());
}

#[test]
fn every_key_is_understood() {
    let config = fine(WHOLE);
    let Serve::Apis { tls, hsts, http2 } = &config.listen[0].serve else {
        panic!()
    };
    let tls = tls.as_ref().unwrap();
    assert_eq!((tls.minimum, *http2), (TlsVersion::V13, Http2::Off));
    assert!(tls.certificates[1].key.value.ends_with("key.pem"));
    assert_eq!(
        hsts.as_ref().unwrap().max_age,
        Duration::from_secs(90 * 86_400)
    );
    assert!(matches!(config.listen[1].serve, Serve::RedirectHttps));
    assert!(matches!(config.listen[2].serve, Serve::Operations));
    assert_eq!(config.listen[4].address.value.port(), 8080);
    assert_eq!(config.trusted_proxies[0].prefix, 8);
}

#[test]
fn every_key_of_an_api_is_understood() {
    let config = fine(WHOLE);
    let api = &config.apis[0];
    assert_eq!(api.hosts, ["api.example.com", "*.example.org"]);
    assert_eq!(api.upstream.endpoints[0].url.value.prefix, "/x");
    assert_eq!(api.upstream.endpoints[1].url.value.port, 443);
    assert_eq!(api.upstream.timeouts.connect, Duration::from_millis(250));
    assert_eq!(api.upstream.timeouts.first_byte, Duration::from_secs(5));
    assert!(api.upstream.http2);
    assert_eq!(
        api.upstream.tls.server_name.as_ref().unwrap().value,
        "orders.internal"
    );
    assert_eq!(api.settings.mode, Some(Mode::Monitor));
    assert_eq!(api.security[0].1.value, "idp");
    let [health, post, admin] = api.operations.as_slice() else {
        panic!()
    };
    assert!(health.1.public.as_ref().unwrap().value);
    assert_eq!(post.1.requests_undeclared, Some(RequestUndeclared::Allow));
    assert_eq!(post.1.cookies, Some(Cookies::Drop));
    assert_eq!(admin.1.require.scopes(), ["a", "b"]);
    assert_eq!(admin.1.mode, Some(Mode::Off));
    assert_eq!(
        admin.1.responses_undeclared,
        Some(ResponseUndeclared::Refuse)
    );
    assert_eq!(config.apis[1].base_path.as_ref().unwrap().value, "");
}

#[test]
fn every_key_of_a_limit_is_understood() {
    let config = fine(WHOLE);
    let limits = config.apis[0].settings.limits.as_ref().unwrap();
    let [rate, quota, concurrent, parts] = limits.as_slice() else {
        panic!()
    };
    let rate = &rate.value;
    assert_eq!(rate.name, "principal-10-s");
    assert_eq!(rate.per, [LimitPart::Principal]);
    let expect = LimitMeasure::Rate {
        count: 10,
        period: Duration::from_secs(1),
        burst: 20,
    };
    assert_eq!(rate.measure, expect);
    assert_eq!(rate.cost.to_string(), "query.page_size / 100");
    assert_eq!(
        (rate.mode, rate.on_fault),
        (Mode::Monitor, Some(LimitFault::Open))
    );
    assert!(rate.shared);
    let quota = &quota.value;
    let expect = LimitMeasure::Quota {
        limit: 1_000,
        unit: QuotaUnit::Day,
        zone: "Europe/Berlin".into(),
        edge: QuotaEdge::Sliding,
    };
    assert_eq!(quota.measure, expect);
    assert_eq!(quota.name, "tenant-operation-1000-day");
    assert_eq!((quota.shared, quota.missing), (false, MissingPart::Refuse));
    let concurrent = &concurrent.value;
    assert_eq!(concurrent.measure, LimitMeasure::Concurrent(5));
    assert_eq!(concurrent.name, "at_once");
    assert_eq!((concurrent.client_v4, concurrent.client_v6), (24, 56));
    let parts = &parts.value;
    assert_eq!(
        parts.name,
        "claim-realm-team-header-x-team-query-team-body-team-id-100-min"
    );
    assert_eq!(parts.per.len(), 4);
    assert_eq!(parts.exempt_networks.len(), 2);
    assert_eq!(parts.exempt_principals, ["monitoring"]);
    assert_eq!(parts.headers, LimitHeaders::Draft);
    // Without `burst`, as many at once as the rate says.
    assert!(matches!(
        parts.measure,
        LimitMeasure::Rate { burst: 100, .. }
    ));
}

#[test]
fn the_nearest_list_of_limits_replaces() {
    let config = fine(WHOLE);
    let api = &config.apis[0];
    let names = |layers: &[&super::Settings]| -> Vec<String> {
        let found = nearest_limits(layers.iter().copied());
        found.iter().map(|limit| limit.value.name.clone()).collect()
    };
    let health = &api.operations[0].1;
    let admin = &api.operations[2].1;
    assert_eq!(names(&[&config.defaults]), ["key-5-h"]);
    assert_eq!(names(&[&config.defaults, &api.settings, health]).len(), 4);
    assert!(names(&[&config.defaults, &api.settings, admin]).is_empty());
    assert!(names(&[]).is_empty());
}

#[test]
fn nearer_bounds_win_key_by_key() {
    let config = fine(WHOLE);
    let mut bounds = Bounds::default();
    config.defaults.bounds.apply(&mut bounds);
    config.apis[0].settings.bounds.apply(&mut bounds);
    config.apis[0].operations[1].1.bounds.apply(&mut bounds);
    assert_eq!((bounds.head, bounds.body, bounds.depth), (16 << 10, 100, 3));
    assert_eq!(
        (bounds.head_time, bounds.body_rate),
        (Duration::from_secs(3), 2048)
    );
    assert_eq!(
        (bounds.connections, bounds.streams, bounds.headers),
        (5, 7, 100)
    );
}

#[test]
fn nearer_rules_win_key_by_key_and_lists_replace() {
    let config = fine(WHOLE);
    let mut waf = WafSettings::default();
    assert!(waf.rules.is_none() && waf.schema_aware && waf.mode == Mode::Enforce);
    waf.apply(&config.defaults.waf);
    assert_eq!(waf.rules.as_ref().unwrap().value, WafRules::Builtin);
    assert_eq!((waf.threshold, waf.exclude.len()), (Some(7), 1));
    waf.apply(&config.apis[0].settings.waf);
    let excluded: Vec<_> = waf
        .exclude
        .iter()
        .map(|one| one.value.to_string())
        .collect();
    assert_eq!(
        excluded,
        [
            "942100 for body.comment",
            "920000-920999 for header.X-Note",
            "attack-sqli"
        ]
    );
    assert_eq!(waf.rules.as_ref().unwrap().value, WafRules::Crs);
    assert_eq!((waf.mode, waf.schema_aware), (Mode::Monitor, false));
    assert_eq!(
        waf.directory.as_ref().unwrap().value,
        PathBuf::from("/usr/share/crs")
    );
    waf.apply(&config.apis[0].operations[2].1.waf);
    assert_eq!((waf.paranoia, waf.threshold), (Some(4), Some(10)));
    assert_eq!(waf.response_threshold, Some(8));
    assert!(waf.exclude.is_empty());
    assert_eq!(waf.files.len(), 2);
    assert!(waf.files[0].value.ends_with("exclusions.conf"));
    assert_eq!(config.directory, config.files[0].parent().unwrap());
}

#[test]
fn files_that_are_read_are_watched() {
    let config = fine(WHOLE);
    let names: Vec<_> = config
        .files
        .iter()
        .filter_map(|path| path.file_name())
        .collect();
    for name in [
        "fortress.yaml",
        "cert.pem",
        "key.pem",
        "b.pem",
        "openapi.yaml",
        "ca.pem",
        "c.pem",
        "c.key",
        "issuer.txt",
        "exclusions.conf",
        "more.conf",
    ] {
        assert!(
            names.iter().any(|known| *known == name),
            "{name} is not watched"
        );
    }
    assert!(!names.iter().any(|name| *name == "journal.ndjson"));
    assert_eq!(names[0], "fortress.yaml");
}

#[test]
fn an_api_without_a_description_can_be_public() {
    let public = |spec: &str| {
        format!(
            "version: 1\n{LISTEN}\napis: {{ orders: {{ spec: {spec}, public: true, upstream: http://a }} }}\n"
        )
    };
    let config = fine(&public("none"));
    assert!(config.apis[0].settings.public.as_ref().unwrap().value);
    let (config, _, found) = try_load(public("openapi.yaml").as_bytes());
    assert!(config.is_none());
    assert!(
        found
            .iter()
            .any(|found| found.message.contains("`apis.orders.public`")),
        "{found:?}"
    );
}

#[test]
fn mistakes_are_told_all_at_once_and_in_order() {
    let text = "version: 2\nlisten:\n  - { address: 8080, tsl: 1 }\napis:\n  a b: { spec: x.yaml }\nidentity:\n  idp: { isuer: x }\nisten: 1\n";
    let (config, sources, diagnostics) = try_load(text.as_bytes());
    assert!(config.is_none());
    let lines: Vec<_> = diagnostics
        .iter()
        .map(|found| {
            (
                sources.position(found.span.unwrap()).unwrap().line,
                found.message.as_str(),
            )
        })
        .collect();
    let expect = [
        (1, "`version` is `2`; this Fortress reads version 1"),
        (
            3,
            "`listen[0].address`: `8080` is not an address such as `127.0.0.1:8080`",
        ),
        (3, "unknown key `tsl` in `listen[0]`"),
        (5, "`a b` is not a name for an API"),
        (5, "`apis.a b` has no `upstream`"),
        (7, "`identity.idp` has no `issuer`"),
        (7, "unknown key `isuer` in `identity.idp`"),
        (8, "unknown key `isten`"),
    ];
    assert_eq!(lines, expect);
    assert_eq!(
        diagnostics[6].help.as_deref(),
        Some("did you mean `issuer`?")
    );
    assert_eq!(
        diagnostics[7].help.as_deref(),
        Some("did you mean `listen`?")
    );
}

#[test]
fn a_part_is_there_in_spite_of_mistakes_if_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fortress.yaml");
    fs::write(
        &path,
        format!("version: 1\nversion: 1\n{LISTEN}\napis: {{ a: {{ spec: b.yaml }} }}\n"),
    )
    .unwrap();
    let (config, _, diagnostics) = load_partly(&path, &environment);
    assert_eq!(diagnostics.len(), 2, "{diagnostics:?}");
    assert!(config.unwrap().apis[0].spec.is_some());
    assert!(load(&path, &environment).0.is_none());
}

#[test]
fn files_that_are_no_configuration() {
    let missing = PathBuf::from("/nonexistent/fortress.yaml");
    let (config, _, diagnostics) = load(&missing, &environment);
    assert!(config.is_none());
    assert!(
        diagnostics[0]
            .message
            .starts_with("cannot read `/nonexistent/fortress.yaml`")
    );
    let (_, sources, diagnostics) = try_load(b"version: 1\nlisten: \xff\napis: {}\n");
    assert_eq!(diagnostics[0].message, "this is not UTF-8");
    let position = sources.position(diagnostics[0].span.unwrap()).unwrap();
    assert_eq!((position.line, position.column), (2, 9));
    let json = r#"{"version": 1, "listen": [{"address": "127.0.0.1:0"}], "apis": {"a": {"spec": "none", "upstream": "http://a"}}}"#;
    fine(json);
    fine(&format!("\u{feff}{}", root("")));
}

#[test]
fn each_mistake_is_refused_with_its_place_and_a_help() {
    let lines = include_str!("refusals.txt").lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let mut cases = 0;
    for (number, line) in lines {
        let parts: Vec<_> = line.split('|').map(str::trim).collect();
        let [place, fragment, marked, message, help] = parts.as_slice() else {
            panic!("refusals.txt:{}: {line}", number + 1);
        };
        refused(&place_fragment(place, fragment), marked, message, help);
        cases += 1;
    }
    assert!(cases > 200, "{cases}");
}

/// The whole file around a fragment.
fn place_fragment(place: &str, fragment: &str) -> String {
    match place {
        "root" => root(fragment),
        "listen" => listen(fragment),
        "api" => api(fragment),
        "full_api" => full_api(fragment),
        "undescribed" => undescribed(fragment),
        "operation" => operation(fragment),
        "idp" => idp(fragment),
        "told" => told(fragment),
        "full_idp" => full_idp(fragment),
        "file" => fragment.replace("\\n", "\n"),
        _ => panic!("`{place}` is no place for a fragment"),
    }
}

#[test]
fn what_is_right_is_accepted() {
    const CERTIFICATE: &str = "certificates: [{ chain: a, key: file:b }]";
    for text in [
        listen("address: \"[::]:0\""),
        listen("address: 127.0.0.1:0"),
        listen(&format!("address: 127.0.0.1:1, tls: {{ {CERTIFICATE} }}")),
        listen(&format!(
            "address: 127.0.0.1:1, tls: {{ {CERTIFICATE}, minimum: 1.2 }}"
        )),
        listen(&format!(
            "address: 127.0.0.1:1, tls: {{ {CERTIFICATE}, minimum: \"1.3\" }}"
        )),
        listen(&format!(
            "address: 127.0.0.1:1, tls: {{ {CERTIFICATE} }}, hsts: {{ max_age: 0s }}"
        )),
        listen("address: 127.0.0.1:1, tls: { certificates: [{ chain: a, key: env:KEY }] }"),
        listen("address: 0.0.0.0:1, serve: operations, public: true"),
        listen("address: \"[::ffff:127.0.0.1]:1\", serve: operations"),
        listen("address: 127.0.0.1:1, serve: apis, http2: false"),
        full_api("hosts: [a.example, \"[::1]\"]"),
        full_api(
            "operations: { \"GET /orders/{id}\": { public: true }, \"tag:a b\": { mode: off }, x: {} }",
        ),
        operation("require: { scope: admin }"),
        operation("waf: {}"),
        operation("waf: { exclude: [{ rule: \"942100-942199\", parameter: cookie.a }] }"),
        root("defaults: { waf: { mode: off, files: [] } }"),
        undescribed("public: true, mode: monitor, bounds: { body: 1KiB }"),
        undescribed("hosts: [a.example], base_path: /v1"),
        api("upstream: { endpoints: [{ url: \"https://a\" }], timeouts: { total: 5s } }"),
        idp("issuer: i, audience: a, jwks: https://a/k"),
        idp("issuer: i, audience: a, jwks: http://localhost:8/k"),
        idp("issuer: i, audience: a, jwks: \"http://[::1]:8/k\""),
        full_idp("leeway: env:SECONDS"),
        root("trusted_proxies: []"),
        root("journal: []"),
        root("").replace("version: 1", "version: \"1\""),
        root("").replace("spec: none", "spec: file:x.yaml"),
    ] {
        fine(&text);
    }
}

#[test]
fn every_bound_is_accepted() {
    for bounds in [
        "head: 32KiB, headers: 100, uri: 8KiB, body: 1MiB, depth: 32, head_time: 10s, idle_time: 60s",
        "body_rate: 1KiB/s, connections: 10000, connections_per_client: 256, connection_rate: 1/s, handshake_rate: 6000/min, expansion: 10, properties: 5",
        "body_memory: 1GiB, inspection: 1KiB, items: 5, parts: 5, streams: 1, resets: 1, continuations: 1, response: 1, write_time: 1s, drain_time: 0s",
    ] {
        fine(&root(&format!("defaults: {{ bounds: {{ {bounds} }} }}")));
    }
}

#[test]
fn what_is_suspicious_is_warned_of() {
    warned(
        &listen("address: 127.0.0.1:1, http2: true"),
        "has no effect without `tls`",
    );
    warned(
        &root("trusted_proxies: [0.0.0.0/0]"),
        "believes every client",
    );
}

#[test]
fn addresses_are_listened_on_once() {
    let text = root("").replace(
        "[{ address: 127.0.0.1:0 }]",
        "[{ address: 127.0.0.1:8 }, { address: 127.0.0.1:8 }]",
    );
    let (_, sources, diagnostics) = try_load(text.as_bytes());
    assert_eq!(
        diagnostics[0].message,
        "`listen` says `127.0.0.1:8` a second time"
    );
    let position = sources.position(diagnostics[0].span.unwrap()).unwrap();
    assert_eq!((position.line, position.column), (2, 47));
}

#[test]
fn a_literal_key_is_not_shown_with_its_line() {
    let pem = "-----BEGIN PRIVATE KEY-----\\nhunter2";
    let text = listen(&format!(
        "address: 127.0.0.1:1, tls: {{ certificates: [{{ chain: a, key: \"{pem}\" }}] }}"
    ));
    let (_, sources, diagnostics) = try_load(text.as_bytes());
    let shown = crate::diagnostic::render(&diagnostics, &sources, false, 400);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[track_caller]
fn extension(text: &str, expect: &[&str]) -> super::Settings {
    let mut sources = Sources::default();
    let id = sources.add("openapi.yaml", text);
    let (settings, diagnostics) = settings(&read(id, &sources, Format::Yaml).unwrap());
    let messages: Vec<_> = diagnostics
        .iter()
        .map(|found| found.message.as_str())
        .collect();
    assert_eq!(messages, expect, "{text}");
    settings
}

#[test]
fn extensions_of_a_description() {
    let found = extension(
        "public: true\nmode: monitor\nbounds: { body: 1KiB }\nrequire: { scope: a }",
        &[],
    );
    assert!(found.public.unwrap().value);
    assert_eq!(found.mode, Some(Mode::Monitor));
    assert_eq!(found.require.scopes(), ["a"]);
    extension("publik: true", &["unknown key `publik` in `x-fortress`"]);
    extension(
        "bounds: { head: 1KiB }",
        &["unknown key `head` in `x-fortress.bounds`"],
    );
    let found = extension(
        "waf: { paranoia: 3, exclude: [{ rule: 5, parameter: path }] }",
        &[],
    );
    assert_eq!(found.waf.paranoia, Some(3));
    assert_eq!(found.waf.exclude.unwrap().len(), 1);
    extension(
        "waf: { files: [/etc/passwd], directory: /etc }",
        &[
            "unknown key `files` in `x-fortress.waf`",
            "unknown key `directory` in `x-fortress.waf`",
        ],
    );
    extension("5", &["`x-fortress` takes an object, not a number"]);
    extension(
        "mode: env:TRUE",
        &["`x-fortress.mode` is a reference, and a description has none"],
    );
    extension(
        "mode: file:/etc/passwd",
        &["`x-fortress.mode` is a reference, and a description has none"],
    );
    extension(
        "bounds: { body: 0 }\nmode: of",
        &[
            "`x-fortress.mode` cannot be `of`",
            "`x-fortress.bounds.body` cannot be `0`",
        ],
    );
}

#[test]
fn the_schema_is_json_and_knows_the_keys() {
    let schema = json_schema();
    let mut sources = Sources::default();
    let id = sources.add("schema.json", schema.as_str());
    let schema = read(id, &sources, Format::Json).unwrap();
    let path = [
        "properties",
        "identity",
        "additionalProperties",
        "properties",
        "issuer",
        "description",
    ];
    let found = path.iter().try_fold(&schema, |node, key| node.get(key));
    assert_eq!(
        found.and_then(|node| node.as_str()),
        Some(
            "The token's `iss`, compared exactly. Without `jwks` its keys are discovered from this URL."
        )
    );
    assert!(schema.get("properties").unwrap().get("alerts").is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_makes_the_loader_panic(text in "(version|listen|apis|identity|defaults|journal|address|tls|spec|bounds|body|mode|env:|file:|none|1|true|[:\\-\\[\\]{},\"' \n]|: |\n  ){0,60}") {
        let (config, _, diagnostics) = try_load(text.as_bytes());
        prop_assert!(config.is_some() || !diagnostics.is_empty());
    }

    #[test]
    fn a_broken_configuration_is_never_given(position in 0_usize..400, byte in any::<u8>()) {
        let mut text = full_idp("leeway: 5s").into_bytes();
        let position = position % text.len();
        text[position] = byte;
        let (config, _, diagnostics) = try_load(&text);
        let has_error = diagnostics.iter().any(|found| found.severity == Severity::Error);
        prop_assert_eq!(config.is_none(), has_error);
    }
}

/// A machine with credentials of systemd, on which one command can be run.
struct Machine(String);

impl References for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "CREDENTIALS_DIRECTORY").then(|| self.0.clone())
    }

    fn run(&self, command: &[&str]) -> Result<Secret<String>, String> {
        match command {
            ["tell", "issuer", "a=b"] => Ok(Secret::new("https://from.command".into())),
            _ => Err("the command failed with status 1".into()),
        }
    }

    fn vault(
        &self,
        vault: &VaultSettings,
        reference: &VaultReference<'_>,
    ) -> Result<Secret<String>, String> {
        let VaultAuth::Token(token) = &vault.auth else {
            return Err("another way".into());
        };
        match (token.expose().as_str(), reference.path) {
            ("https://from.systemd", "a/b") => Ok(Secret::new("https://from.vault".into())),
            _ => Err("the vault has no such value".into()),
        }
    }
}

#[test]
fn values_come_from_commands_and_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = tempfile::tempdir().unwrap();
    let credential = credentials.path().join("issuer");
    fs::write(&credential, "https://from.systemd\n").unwrap();
    let machine = Machine(credentials.path().display().to_string());
    let path = directory.path().join("fortress.yaml");
    let load = |reference: &str| {
        let text = format!(
            "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis: {{ a: {{ spec: none, upstream: \"{reference}\" }} }}\n"
        );
        fs::write(&path, text).unwrap();
        load_with(&path, &machine)
    };
    let host = |reference: &str| {
        let config = load(reference).0.expect("a configuration");
        config.apis[0].upstream.endpoints[0].url.value.host.clone()
    };
    assert_eq!(host("exec:tell  issuer a=b"), "from.command");
    assert_eq!(host("file:$CREDENTIALS_DIRECTORY/issuer"), "from.systemd");
    let config = load("file:$CREDENTIALS_DIRECTORY/issuer").0.unwrap();
    assert!(config.files.contains(&credential), "it is watched");
    // `secrets` is read first, wherever it stands.
    let with_vault = |reference: &str| {
        let text = format!(
            "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis: {{ a: {{ spec: none, upstream: \"{reference}\" }} }}\nsecrets: {{ vault: {{ address: https://vault.example, auth: {{ token: file:$CREDENTIALS_DIRECTORY/issuer }} }} }}\n"
        );
        fs::write(&path, text).unwrap();
        load_with(&path, &machine)
    };
    let (config, _, _) = with_vault("vault:secret/a/b#c");
    let config = config.expect("a configuration");
    assert_eq!(
        config.apis[0].upstream.endpoints[0].url.value.host,
        "from.vault"
    );
    assert_ne!(
        config.asked,
        with_vault("http://127.0.0.1").0.unwrap().asked
    );
    let (config, _, diagnostics) = with_vault("vault:secret/a/c#c");
    assert!(config.is_none());
    assert!(
        format!("{diagnostics:?}").contains("has no such value"),
        "{diagnostics:?}"
    );
    let (config, _, diagnostics) = load("exec:tell something");
    assert!(config.is_none());
    let shown = format!("{diagnostics:?}");
    assert!(
        shown.contains("failed with status 1") && !shown.contains("from.command"),
        "{shown}"
    );
}
