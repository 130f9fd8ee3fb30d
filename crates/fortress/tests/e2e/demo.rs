//! `fortress demo`: its commands work as printed, and nothing stays behind.

use std::process::Command;

use serde_json::Value;

use crate::program::{Ended, Place, Program, ask, status};

/// A demo that runs, and its addresses.
pub(crate) struct Demo {
    pub(crate) program: Program,
    pub(crate) fortress: String,
    pub(crate) upstream: String,
    pub(crate) alice: String,
    pub(crate) config: std::path::PathBuf,
}

pub(crate) fn start(place: &Place) -> Demo {
    let program = place.start(&["demo", "--json", "--port", "0", "--upstream-port", "0"]);
    let line: Value =
        serde_json::from_str(&program.line(|line| line.starts_with('{'))).expect("JSON");
    let text = |pointer: &str| {
        line.pointer(pointer)
            .and_then(Value::as_str)
            .expect("text")
            .to_owned()
    };
    Demo {
        fortress: text("/fortress"),
        upstream: text("/upstream"),
        alice: text("/tokens/ALICE"),
        config: text("/config").into(),
        program,
    }
}

#[test]
fn every_printed_command_does_what_is_printed() {
    let place = Place::new();
    let program = place.start(&["demo", "--port", "0", "--upstream-port", "0"]);
    let mut exports = String::new();
    let mut expected = String::new();
    let mut tried = 0;
    let mut by_rules = 0;
    loop {
        let line = program.line(|line| !line.is_empty());
        if line.starts_with("export ") {
            exports.push_str(&format!("{line}\n"));
        } else if line.starts_with("curl ") {
            let script = format!(
                "{exports}{}",
                line.replacen("curl -i", "curl -si --max-time 20", 1)
            );
            let output = Command::new("sh")
                .args(["-c", &script])
                .output()
                .expect("sh and curl");
            let ended = Ended::of(&output).expect(0);
            check_trial(&expected, &line, &ended.out);
            tried += 1;
            by_rules += u32::from(expected.ends_with("→ 403 waf.anomaly_score (OWASP API8)"));
        } else if line.ends_with("fortress attack") {
            // As it was started here: no shell finds it by its name.
            assert_eq!(line, concat!(env!("CARGO_BIN_EXE_fortress"), " attack"));
            break;
        }
        expected = line;
    }
    assert!(tried >= 10, "{tried}");
    // SQL, a script, a command, the way to a file.
    assert_eq!(by_rules, 4);
}

/// `expected` is the line above: `What it shows → 400 reason.code (OWASP API8)`.
fn check_trial(expected: &str, line: &str, answer: &str) {
    let (_, told) = expected.rsplit_once("→ ").expect("an expectation");
    let mut words = told.split_whitespace();
    let wanted: u16 = words
        .next()
        .and_then(|word| word.trim_end_matches(',').parse().ok())
        .expect("a status");
    assert_eq!(status(answer), wanted, "{line}\n{answer}");
    if wanted >= 400 {
        let code = words.next().expect("a reason");
        assert!(
            answer.contains(&format!("\"code\":\"{code}\"")),
            "{line}\n{answer}"
        );
    }
    if expected.contains("declared alone") || expected.contains("without the password hash") {
        assert!(!answer.contains("passwordHash"), "{answer}");
    }
    if expected.contains("on its own") {
        assert!(answer.contains("passwordHash"), "{answer}");
    }
}

#[test]
fn nothing_stays_behind() {
    let place = Place::new();
    let mut demo = start(&place);
    assert!(
        !place.left_behind().is_empty(),
        "it keeps its files somewhere"
    );
    demo.program.signal("INT");
    assert!(demo.program.wait().success());
    assert_eq!(place.left_behind(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_sample_api_is_as_weak_as_it_says() {
    let place = Place::new();
    let demo = start(&place);
    let direct = |head: &str, body: &str| ask(&demo.upstream, head, body);
    // Broken object level authorization: Bob's order, without any token.
    assert!(direct("GET /orders/42 HTTP/1.1", "").contains("\"owner\":\"bob\""));
    assert!(direct("GET /admin/export HTTP/1.1", "").contains("passwordHash"));
    // A token that nobody signed: {"alg":"none"}.{"sub":"alice"}.
    let nobody = "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.";
    let me = format!("PATCH /users/me HTTP/1.1\r\n{nobody}");
    assert!(direct(&me, "{\"role\":\"admin\"}").contains("\"role\":\"admin\""));
    let list = format!("GET /orders?q=%27%20OR%201=1%20-- HTTP/1.1\r\n{nobody}");
    let all = direct(&list, "");
    assert!(
        all.contains("\"owner\":\"bob\"") && all.contains("\"owner\":\"alice\""),
        "{all}"
    );
    let cancelled = direct(
        "GET /orders/17 HTTP/1.1\r\nX-HTTP-Method-Override: DELETE",
        "",
    );
    assert_eq!(status(&cancelled), 204);
    // What anybody writes is shown to everybody.
    let script = "{\"text\":\"<script>alert(1)</script>\"}";
    let shown = direct("POST /orders/17/comments HTTP/1.1", script);
    assert!(shown.contains("<script>alert(1)</script>"), "{shown}");
    // None of which Fortress lets through.
    let token = format!("Authorization: Bearer {}", demo.alice);
    for (head, body, expect) in [
        ("GET /orders/42 HTTP/1.1".to_owned(), "", 401),
        ("GET /admin/export HTTP/1.1".to_owned(), "", 404),
        (me.clone(), "{\"role\":\"admin\"}", 401),
        (list.clone(), "", 401),
        (
            format!("PATCH /users/me HTTP/1.1\r\nContent-Type: application/json\r\n{token}"),
            "{\"role\":\"admin\"}",
            400,
        ),
        (
            format!("GET /orders/17 HTTP/1.1\r\nX-HTTP-Method-Override: DELETE\r\n{token}"),
            "",
            200,
        ),
        (
            format!("POST /orders/17/comments HTTP/1.1\r\nContent-Type: application/json\r\n{token}"),
            script,
            403,
        ),
    ] {
        let answer = ask(&demo.fortress, &head, body);
        assert_eq!(status(&answer), expect, "{head}\n{answer}");
    }
}
