//! The Core Rule Set in the gateway, as a whole; what its rules decide, its own tests say.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "where the rules are, and that they are not there, comes from and goes to whoever runs the tests"
)]

use std::path::PathBuf;

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

/// What the fields say to the gateway itself is nobody else's, and is searched all the same.
#[test]
fn fields_that_end_at_the_gateway_are_searched() {
    let upstream = Upstream::start();
    let Some(gateway) = start(&upstream, "paranoia: 1") else {
        return;
    };
    let judged = |lines: &str| {
        let text = format!(
            "GET /comments?q=fine HTTP/1.1\r\nHost: api.test\r\n{}\r\n",
            lines.replace('\n', "\r\n")
        );
        let sent = send(gateway.addresses[0], text.as_bytes());
        let event = gateway.event(sent[0].header("x-request-id").unwrap());
        let waf = event["unmapped"]["fortress"].get("waf").cloned();
        (sent[0].status, waf.unwrap_or_default())
    };
    for ordinary in [
        "User-Agent: curl/8.9.1\nAccept: */*\nAccept-Encoding: deflate, gzip, br, zstd\n",
        "User-Agent: curl/8.9.1\nAccept: */*\nConnection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\n",
        "User-Agent: ApacheBench/2.3\nAccept: */*\nConnection: Keep-Alive\n",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\n\
         Accept: text/html,application/xhtml+xml,*/*;q=0.8\nAccept-Language: en-US,en;q=0.5\n\
         Accept-Encoding: gzip, deflate, br, zstd\nConnection: keep-alive\nReferer: https://app.test/a?b=c\n\
         Sec-Fetch-Mode: navigate\nUpgrade-Insecure-Requests: 1\nDNT: 1\n",
        "User-Agent: a/1\nAccept: */*\nX-Forwarded-For: 203.0.113.9, 2001:db8::1\nForwarded: for=\"[2001:db8::1]\";proto=https\nVia: 1.1 proxy\n",
    ] {
        let (status, waf) = judged(ordinary);
        assert_eq!((status, waf), (200, serde_json::Value::Null), "{ordinary}");
    }
    for request in upstream.received() {
        let forwarded = request.header("x-forwarded-for");
        assert_eq!(forwarded, Some("127.0.0.1"), "{request:?}");
        for ended in ["accept-encoding", "connection", "forwarded"] {
            assert_eq!(request.header(ended), None, "{request:?}");
        }
    }
    let long = format!("Accept-Encoding: {}\n", "a".repeat(101));
    for (odd, rule, parameter) in [
        (
            "Connection: keep-alive, close\n",
            920_210,
            "header.connection",
        ),
        (long.as_str(), 920_520, "header.accept-encoding"),
        (
            "X-Forwarded-For: <?=phpinfo()?>\n",
            933_100,
            "header.x-forwarded-for",
        ),
        (
            "Forwarded: for=\"<?=phpinfo()?>\"\n",
            933_100,
            "header.forwarded",
        ),
    ] {
        let (_, waf) = judged(&format!("User-Agent: a/1\nAccept: */*\n{odd}"));
        let found = waf["rules"].as_array().into_iter().flatten();
        let mut found = found.filter(|found| found["rule"] == rule);
        let first = found.next().unwrap_or_else(|| panic!("{odd}: {waf}"));
        assert_eq!(first["matched"][0]["parameter"], parameter, "{waf}");
    }
}

/// Browsers send some characters raw in a query. They are searched as they came, and go on encoded.
#[test]
fn a_query_is_searched_as_it_came() {
    let upstream = Upstream::start();
    let Some(gateway) = start(&upstream, "paranoia: 1") else {
        return;
    };
    let response = ask(&gateway, "GET /comments?q=[caf\u{e9}]|{x}", "");
    let event = gateway.event(response.header("x-request-id").unwrap());
    assert_eq!(response.status, 200, "{event}");
    assert_eq!(
        upstream.received()[0].head.lines().next().unwrap(),
        "GET /comments?q=%5Bcaf%C3%A9%5D%7C%7Bx%7D HTTP/1.1"
    );
    let response = ask(&gateway, "GET /comments?q=<script>alert(1)</script>", "");
    assert_eq!(response.code().as_deref(), Some("waf.anomaly_score"));
    assert!(upstream.received().is_empty());
}

#[test]
fn they_hold_after_a_reload_too() {
    let upstream = Upstream::start();
    let Some(gateway) = start(&upstream, "paranoia: 1") else {
        return;
    };
    gateway.reload();
    let response = ask(&gateway, "GET /comments?q=1%27%20OR%20%271%27=%271", "");
    assert_eq!(response.code().as_deref(), Some("waf.anomaly_score"));
}
