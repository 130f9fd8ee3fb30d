//! The Core Rule Set in the gateway, as a whole; what its rules decide, its own tests say.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "where the material is, and that it is not there, comes from and goes to whoever runs the tests"
)]

use std::path::PathBuf;

use fortress_model::config;

use super::support::{Gateway, Response, Upstream, send};

const DESCRIPTION: &str = r#"
openapi: 3.1.0
info: { title: comments, version: "1" }
security: []
paths:
  /comments:
    get:
      operationId: list
      parameters:
        - { name: q, in: query, schema: { type: string } }
        - { name: page, in: query, schema: { type: integer } }
      responses: { "200": { description: fine, content: { application/json: {} } } }
    post:
      operationId: add
      requestBody:
        content: { application/json: { schema: { type: object, properties: { text: { type: string } } } } }
      responses: { "200": { description: fine } }
"#;

/// A gateway with the Core Rule Set; `None` where that is not there.
fn start(upstream: &Upstream, waf: &str) -> Option<Gateway> {
    let shared = std::env::var("FORTRESS_SHARED")
        .map_or_else(|_| PathBuf::from("../../../shared"), PathBuf::from);
    let Ok(crs) = shared.join("crs").canonicalize() else {
        assert!(
            std::env::var("FORTRESS_REQUIRE_ALL").is_err(),
            "crs is missing"
        );
        eprintln!("skipped: crs is not at {}", shared.display());
        return None;
    };
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\n\
         apis:\n  test:\n    spec: openapi.yaml\n    upstream: http://{}\n    waf: {{ rules: crs, directory: {}, {waf} }}\n\
         journal: [{{ file: journal.ndjson }}]\n",
        upstream.address,
        crs.display()
    );
    Some(Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
    ]))
}

#[track_caller]
fn ask(gateway: &Gateway, head: &str, body: &str) -> Response {
    let length = match body {
        "" => String::new(),
        body => format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ),
    };
    let text = format!(
        "{head} HTTP/1.1\r\nHost: api.test\r\nUser-Agent: client/1.0\r\nAccept: */*\r\n{length}\r\n{body}"
    );
    let mut responses = send(gateway.addresses[0], text.as_bytes());
    assert_eq!(responses.len(), 1);
    responses.remove(0)
}

#[test]
fn attacks_are_refused_and_ordinary_requests_are_not() {
    let upstream = Upstream::start();
    let Some(gateway) = start(&upstream, "paranoia: 1") else {
        return;
    };
    for (head, body) in [
        ("GET /comments?q=what%20people%20search&page=3", ""),
        ("GET /comments", ""),
        ("POST /comments", r#"{"text":"It's fine, isn't it?"}"#),
        ("POST /comments", r#"{"text":"Ünïcödé, 中文"}"#),
    ] {
        let response = ask(&gateway, head, body);
        let event = gateway.event(response.header("x-request-id").unwrap());
        assert_eq!(response.status, 200, "{head} {body}: {event}");
        // Not even a score: nothing that every request has may look odd to a rule.
        let own = &event["unmapped"]["fortress"];
        assert!(own.get("waf").is_none(), "{head} {body}: {own}");
    }
    upstream.received();
    for (head, body, parameter) in [
        ("GET /comments?q=1%27%20OR%20%271%27=%271", "", "query.q"),
        (
            "POST /comments",
            r#"{"text":"<script>alert(1)</script>"}"#,
            "body.text",
        ),
        (
            "POST /comments",
            r#"{"text":"8.8.8.8; cat /etc/passwd"}"#,
            "body.text",
        ),
    ] {
        let response = ask(&gateway, head, body);
        assert_eq!(response.code().as_deref(), Some("waf.anomaly_score"));
        let event = gateway.event(response.header("x-request-id").unwrap());
        let waf = &event["unmapped"]["fortress"]["waf"];
        assert_eq!(waf["threshold"], 5, "{waf}");
        assert!(waf["score"].as_u64().unwrap() >= 5, "{waf}");
        let first = &waf["rules"][0]["matched"][0];
        assert_eq!(first["parameter"], parameter, "{waf}");
    }
    assert!(upstream.received().is_empty());
}

#[test]
fn requests_in_chunks_and_packed_ones_look_like_others() {
    let upstream = Upstream::start();
    let Some(gateway) = start(&upstream, "paranoia: 1") else {
        return;
    };
    let chunked = "POST /comments HTTP/1.1\r\nHost: api.test\r\nUser-Agent: a/1\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nd\r\n{\"text\":\"fi\"}\r\n0\r\n\r\n";
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, b"{\"text\":\"1' OR '1'='1\"}").unwrap();
    let packed = packed.finish().unwrap();
    let mut hidden = format!(
        "POST /comments HTTP/1.1\r\nHost: api.test\r\nUser-Agent: a/1\r\nAccept: */*\r\nContent-Type: application/json\r\n\
         Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    )
    .into_bytes();
    hidden.extend_from_slice(&packed);
    let sent = send(gateway.addresses[0], chunked.as_bytes());
    let event = gateway.event(sent[0].header("x-request-id").unwrap());
    assert_eq!(sent[0].status, 200, "{event}");
    assert!(
        event["unmapped"]["fortress"].get("waf").is_none(),
        "{event}"
    );
    let sent = send(gateway.addresses[0], &hidden);
    assert_eq!(sent[0].code().as_deref(), Some("waf.anomaly_score"));
    let event = gateway.event(sent[0].header("x-request-id").unwrap());
    let waf = &event["unmapped"]["fortress"]["waf"];
    assert!(!waf.to_string().contains("ncoding"), "{waf}");
}

#[test]
fn they_hold_after_a_reload_too() {
    let upstream = Upstream::start();
    let Some(gateway) = start(&upstream, "paranoia: 1") else {
        return;
    };
    let path = gateway.directory.path().join("fortress.yaml");
    let (config, mut sources, _) = config::load(&path, &|_| None);
    let compiled = gateway
        .server()
        .compile(&config.unwrap(), &mut sources)
        .gateway
        .unwrap();
    gateway.server().apply(compiled).unwrap();
    let response = ask(&gateway, "GET /comments?q=1%27%20OR%20%271%27=%271", "");
    assert_eq!(response.code().as_deref(), Some("waf.anomaly_score"));
}
