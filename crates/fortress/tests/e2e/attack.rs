//! `fortress attack`: all of it is stopped in front of the demo, and what is not protected shows.

use std::collections::BTreeSet;

use crate::{
    demo,
    program::{Ended, Place, Program, ask, status},
};

#[test]
fn the_demo_stops_everything_and_answers_what_is_valid() {
    let place = Place::new();
    let demo = demo::start(&place);
    let ended = place.run(&["attack", "--json"]);
    let report = ended.json();
    assert_eq!(
        report["through"],
        serde_json::json!([]),
        "{:#}",
        report["through"]
    );
    assert_eq!(
        report["unanswered"],
        serde_json::json!([]),
        "{:#}",
        report["unanswered"]
    );
    let ended = ended.expect(0);
    let report = ended.json();
    assert!(
        report["attacks"].as_u64() > Some(400),
        "{}",
        report["attacks"]
    );
    assert_eq!(report["attacks"], report["stopped"]);
    let valid = &report["valid"];
    assert!(valid["requests"].as_u64() >= Some(12), "{valid}");
    assert_eq!(valid["requests"], valid["answered_without"]);
    for risk in ["API2", "API3", "API4", "API5", "API8", "API9"] {
        let rows = report["risks"].as_array().expect("rows");
        let row = rows
            .iter()
            .find(|row| row["risk"] == risk)
            .unwrap_or_else(|| panic!("nothing on {risk}"));
        let without = row["stopped_without"].as_u64().expect("compared");
        assert!(
            Some(without) < row["attacks"].as_u64(),
            "the sample API stops all of {risk} by itself"
        );
    }
    // What stands in free text is stopped by rules.
    let ended = place.run(&["attack", "--target", &demo.upstream, "--json"]);
    let through = ended.json()["through"].to_string();
    for kind in [
        "sql",
        "script",
        "command",
        "path",
        "query",
        "expression",
        "code",
        "address",
    ] {
        assert!(
            through.contains(&format!("\"injected.{kind}\"")),
            "{kind}: {through}"
        );
    }
    // The attack left the demo as it was.
    let head = format!(
        "GET /users/me HTTP/1.1\r\nAuthorization: Bearer {}",
        demo.alice
    );
    assert_eq!(status(&ask(&demo.fortress, &head, "")), 200);
}

#[test]
fn an_attack_can_be_repeated_at_once() {
    let place = Place::new();
    let demo = demo::start(&place);
    for run in ["first", "second"] {
        let ended = place.run(&["attack", "--json"]);
        let report = ended.json();
        for list in ["through", "unanswered", "held"] {
            assert_eq!(report[list], serde_json::json!([]), "{run}: {list}");
        }
        ended.expect(0);
    }
    // It came from many addresses, and was stopped there too.
    let journal =
        std::fs::read_to_string(demo.config.with_file_name("journal.ndjson")).expect("a journal");
    let sources: BTreeSet<&str> = journal
        .split("\"src_endpoint\":{\"ip\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(sources.len() > 100, "{}", sources.len());
    for reason in ["login.delayed", "login.stuffing", "object.enumeration"] {
        assert!(journal.contains(reason), "{reason}");
    }
}

#[test]
fn what_a_limit_remembers_is_no_defect() {
    let place = Place::new();
    let demo = demo::start(&place);
    let _gateway = another(&place, &demo, "{}", "detect: { enumeration: {} }\n");
    // One caller, who walks through ids too.
    let attack = || {
        let output = place
            .command(&["attack", "fortress.yaml", "--json", "--token", "env:TOKEN"])
            .env("TOKEN", &demo.alice)
            .output()
            .expect("started");
        Ended::of(&output).expect(1).json()
    };
    let first = attack();
    assert_eq!(first["unanswered"], serde_json::json!([]));
    assert_eq!(first["held"], serde_json::json!([]), "{:#}", first["held"]);
    let walked = |report: &serde_json::Value| report["through"].to_string();
    assert!(
        !walked(&first).contains("object.walked"),
        "{:#}",
        first["through"]
    );
    let second = attack();
    assert_eq!(second["unanswered"], serde_json::json!([]));
    let held = second["held"].as_array().expect("a list");
    assert!(!held.is_empty());
    for one in held {
        let outcome = one["outcome"].as_str().expect("text");
        assert!(
            outcome.starts_with("refused 429 object.enumeration, retry in "),
            "{outcome}"
        );
    }
}

#[test]
fn what_gets_through_comes_first_and_can_be_repeated() {
    let place = Place::new();
    let demo = demo::start(&place);
    // The sample API itself, as if it were protected.
    let ended = place
        .run(&["attack", "--target", &demo.upstream, "--limit", "300"])
        .expect(1);
    let at = |text: &str| {
        ended
            .out
            .find(text)
            .unwrap_or_else(|| panic!("`{text}` is missing:\n{}", ended.out))
    };
    assert!(
        at("got through") < at("OWASP API Security Top 10"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.lines().any(|line| line.starts_with("curl -i ")),
        "{}",
        ended.out
    );
    assert!(!ended.out.contains('\u{1b}'), "colour without a terminal");
}

/// A second gateway in front of the demo's API.
fn another(place: &Place, demo: &demo::Demo, operations: &str, more: &str) -> Program {
    let files = demo.config.parent().expect("a directory");
    for name in ["openapi.yaml", "jwks.json"] {
        std::fs::copy(files.join(name), place.work().join(name)).expect("copied");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    place.write(
        "fortress.yaml",
        &format!(
            "version: 1
listen: [{{ address: {address} }}]
apis:
  orders:
    spec: openapi.yaml
    upstream: {}
    operations: {operations}
identity:
  demo: {{ issuer: https://idp.demo.example, audience: orders, jwks: file:jwks.json }}
{more}",
            demo.upstream
        ),
    );
    let gateway = place.start(&["run"]);
    gateway.line(|line| line.contains(" ready: "));
    gateway
}

#[test]
fn what_a_configuration_opens_is_found() {
    let place = Place::new();
    let demo = demo::start(&place);
    // With two doors open.
    let operations = "{ updateMe: { requests: { undeclared: allow } }, getUser: { responses: { undeclared: allow } } }";
    let _gateway = another(&place, &demo, operations, "");
    let ended = place
        .command(&["attack", "fortress.yaml", "--json", "--token", "env:TOKEN"])
        .env("TOKEN", &demo.alice)
        .output()
        .expect("started");
    let ended = Ended::of(&ended).expect(1);
    let report = ended.json();
    let found: BTreeSet<(&str, &str)> = report["through"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["operation"].as_str().unwrap_or(""),
                one["kind"].as_str().unwrap_or(""),
            )
        })
        .collect();
    let expected = [
        ("updateMe", "property.undeclared"),
        ("getUser", "response.leak"),
        // Nobody counts logins here, nor ids.
        ("login", "login.guessed"),
        ("login", "login.stuffed"),
        ("getUser", "object.walked"),
    ];
    assert!(expected.iter().all(|one| found.contains(one)), "{found:?}");
    let opened =
        |(operation, _): &(&str, &str)| ["updateMe", "getUser", "login"].contains(operation);
    assert!(found.iter().all(opened), "{found:?}");
    assert_eq!(
        report["unanswered"],
        serde_json::json!([]),
        "{:#}",
        report["unanswered"]
    );
    assert!(
        report["not_tried"]
            .to_string()
            .contains("1 operation beyond"),
        "no administrator's token was given"
    );
}

#[test]
fn pressure_is_withstood() {
    // Each on a demo of its own: a gateway remembers an attacker.
    let resources = |arguments: &[&str]| {
        let place = Place::new();
        let _demo = demo::start(&place);
        let ended = place.run(&[&["attack", "--json", "--limit", "60"], arguments].concat());
        let report = ended.expect(0).json();
        assert_eq!(report["through"], serde_json::json!([]));
        let rows = report["risks"].as_array().expect("rows").clone();
        let row = rows.iter().find(|row| row["risk"] == "API4");
        let attacks = row.and_then(|row| row["attacks"].as_u64());
        (attacks.unwrap_or_default(), report["not_tried"].to_string())
    };
    let (plain, not_tried) = resources(&[]);
    assert!(not_tried.contains("--pressure"), "{not_tried}");
    // A slow head, a slow body, a flood; and a limit to dodge where the demo has one.
    let (pressed, not_tried) = resources(&["--pressure"]);
    assert!(pressed >= plain + 3, "{plain} {pressed}");
    assert!(!not_tried.contains("--pressure"), "{not_tried}");
}

#[test]
fn only_loopback_is_attacked_unasked() {
    let place = Place::new();
    let _demo = demo::start(&place);
    let ended = place
        .run(&["attack", "--target", "http://192.0.2.1:80"])
        .expect(2);
    assert!(ended.err.contains("--i-own-this-target"), "{}", ended.err);
}

#[test]
fn without_a_target_it_says_what_to_do() {
    let place = Place::new();
    let ended = place.run(&["attack"]).expect(2);
    assert!(ended.err.contains("fortress demo"), "{}", ended.err);
    let ended = place.run(&["attack", "--token", "eyJ…"]).expect(2);
    assert!(
        ended.err.contains("env:NAME") || ended.err.contains("fortress demo"),
        "{}",
        ended.err
    );
}

#[test]
fn a_token_that_is_refused_casts_doubt_on_the_whole() {
    let place = Place::new();
    let demo = demo::start(&place);
    let files = demo.config.parent().expect("a directory");
    for name in ["openapi.yaml", "jwks.json", "fortress.yaml"] {
        std::fs::copy(files.join(name), place.work().join(name)).expect("copied");
    }
    let attack = |token: &str| {
        let output = place
            .command(&["attack", "fortress.yaml", "--limit", "200"])
            .args(["--token", "env:TOKEN"])
            .env("TOKEN", token)
            .output()
            .expect("started");
        Ended::of(&output).out
    };
    let doubt = "a token that was given is refused";
    let refused = attack("eyJhbGciOiJFUzI1NiIsImtpZCI6ImRlbW8ifQ.e30.AAAA");
    assert!(refused.contains(doubt), "{refused}");
    let genuine = attack(&demo.alice);
    assert!(!genuine.contains(doubt), "{genuine}");
}
