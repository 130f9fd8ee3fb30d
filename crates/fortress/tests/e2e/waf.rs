//! `fortress waf explain`: a request of a file or of the journal, rule by rule, and the exclusion
//! that it prints, which must be the one that lets the request pass.

use std::{io::Write, process::Stdio};

use serde_json::Value;

use crate::{
    program::{Ended, Place, ask, shared, status, until},
    upstream::Upstream,
};

const DESCRIPTION: &str = r#"
openapi: 3.1.0
info: { title: comments, version: "1" }
security: []
paths:
  /comments:
    post:
      operationId: addComment
      parameters: [{ name: page, in: query, schema: { type: integer } }]
      requestBody:
        content:
          application/json:
            schema: { type: object, properties: { text: { type: string }, note: { type: array, items: { type: string } } } }
      responses: { "200": { description: fine } }
"#;

const ATTACK: &str = "POST /comments?page=3 HTTP/1.1\nContent-Type: application/json\n\n\
     {\"text\":\"1' OR '1'='1\",\"note\":[\"<script>alert(1)</script>\"]}\n";

fn configure(place: &Place, upstream: &str, operation: &str) {
    place.write("openapi.yaml", DESCRIPTION);
    place.write(
        "fortress.yaml",
        &format!(
            "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\n\
             defaults: {{ waf: {{ rules: builtin }} }}\n\
             apis: {{ shop: {{ spec: openapi.yaml, upstream: \"{upstream}\", operations: {{ {operation} }} }} }}\n\
             journal: [{{ file: journal.ndjson }}]\n"
        ),
    );
}

/// The exclusion as a line to be typed, without the place where it belongs.
fn exclusion(out: &str) -> String {
    out.lines()
        .find_map(|line| line.trim().strip_prefix("apis.shop.operations.addComment."))
        .unwrap_or_else(|| panic!("no exclusion in\n{out}"))
        .replacen("waf.exclude: ", "addComment: { waf: { exclude: ", 1)
        + " } }"
}

#[test]
fn a_request_in_a_file_is_explained_and_the_exclusion_lets_it_pass() {
    let place = Place::new();
    configure(&place, "http://127.0.0.1:1", "");
    place.write("attack.http", ATTACK);
    let told = place.run(&["waf", "explain", "attack.http"]).expect(1).out;
    for part in [
        "POST /comments ",
        "refused · waf.anomaly_score · operation addComment",
        "body.text = 1' OR '1'='1",
        "4700110  SQL injection   +5",
        "body.note = <script>alert(1)</script>",
        "4700120  ",
        "score 10, threshold 5",
        "1 value not searched",
        "{ rule: 4700110, parameter: body.text }",
    ] {
        assert!(told.contains(part), "`{part}` is missing:\n{told}");
    }
    let json = place
        .run(&["waf", "explain", "attack.http", "--json"])
        .expect(1)
        .json();
    assert_eq!(json["refused"], "waf.anomaly_score");
    assert_eq!(json["waf"]["score"], 10);
    configure(&place, "http://127.0.0.1:1", &exclusion(&told));
    let told = place.run(&["waf", "explain", "attack.http"]).expect(0).out;
    assert!(told.contains("no rule matches"), "{told}");
}

#[test]
fn a_request_of_the_journal_is_explained_and_its_exclusion_lets_it_pass() {
    let place = Place::new();
    let upstream = Upstream::start(|_| (200, ""));
    configure(&place, &upstream.url(), "");
    let program = place.start(&["run", "--json"]);
    let ready: Value =
        serde_json::from_str(&program.line(|line| line.starts_with('{'))).expect("JSON");
    let url = format!(
        "http://{}",
        ready["listening"][0]["address"].as_str().expect("text")
    );
    let head = "POST /comments HTTP/1.1\r\nContent-Type: application/json";
    let body = "{\"text\":\"8.8.8.8; cat /etc/passwd\"}";
    let answer = ask(&url, head, body);
    assert_eq!(status(&answer), 403, "{answer}");
    until("a record", || {
        place.run(&["explain", "--last"]).out.contains("waf.")
    });
    let told = place.run(&["explain", "--last"]).expect(0).out;
    for part in [
        "✗ inspect       waf.anomaly_score: score 10, threshold 5: rule 4700130 at `body.text`",
        "body.text = 8.8.8.8; cat /etc/passwd",
        "    4700130  Command of a shell   +5",
        "apis.shop.operations.addComment.waf.exclude: [{ rule: 4700130, parameter: body.text }, ",
    ] {
        assert!(told.contains(part), "`{part}` is missing:\n{told}");
    }
    let id = answer
        .split("\"request_id\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("an id");
    let by_id = place.run(&["waf", "explain", id]).expect(0).out;
    assert!(by_id.contains("body.text = 8.8.8.8; cat"), "{by_id}");
    configure(&place, &upstream.url(), &exclusion(&told));
    program.signal("HUP");
    until("the exclusion", || status(&ask(&url, head, body)) == 200);
}

fn piped(place: &Place, arguments: &[&str], input: &str) -> Ended {
    let mut child = place
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    Ended::of(&child.wait_with_output().expect("ended"))
}

#[test]
fn the_core_rule_set_can_be_tried_by_itself() {
    let Some(crs) = shared("crs") else { return };
    let place = Place::new();
    let crs = crs.to_str().expect("text");
    let flags = ["waf", "explain", "-", "--crs", crs, "--paranoia", "2"];
    let told = piped(&place, &flags, ATTACK).expect(1).out;
    for part in ["942100  ", "941", "body.text = ", "waf.exclude: [{ rule: "] {
        assert!(told.contains(part), "`{part}` is missing:\n{told}");
    }
    let harmless = "GET /comments HTTP/1.1\nUser-Agent: a/1\nAccept: */*\nHost: shop.test\n";
    let told = piped(&place, &flags, harmless).expect(0).out;
    assert!(told.contains("no rule matches"), "{told}");
}

#[test]
fn what_is_not_there_is_said() {
    let place = Place::new();
    let told = |arguments: &[&str], code: i32, part: &str| {
        let ended = place
            .run(&[&["waf", "explain"], arguments].concat())
            .expect(code);
        assert!(ended.err.contains(part), "{arguments:?}: {}", ended.err);
    };
    told(&["nowhere.http"], 3, "there is no file `nowhere.http`");
    place.write("a.http", "GET /elsewhere HTTP/1.1\n");
    told(&["a.http"], 2, "--config FILE");
    told(
        &["a.http", "--crs", "nowhere"],
        3,
        "there is no Core Rule Set in `nowhere`",
    );
    configure(&place, "http://127.0.0.1:1", "");
    told(&["a.http"], 3, "name the operation with --operation");
    told(
        &["a.http", "--operation", "adComment"],
        3,
        "no operation `adComment`",
    );
    place.write("journal.ndjson", "");
    told(&["01K9Z6T3Q8"], 1, "no request `01K9Z6T3Q8`");
    place.write("b.http", "nonsense\n");
    told(&["b.http"], 3, "is no HTTP request");
    place
        .run(&["waf", "explain", "a.http", "--operation", "shop.addComment"])
        .expect(0);
}
