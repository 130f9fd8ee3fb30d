//! `fortress init`: what it writes is accepted, once what it asked for is there.

use std::fs;

use crate::program::{Place, ask, shared, status};

const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"k",
  "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

const IDENTITY: [&str; 6] = [
    "--issuer",
    "https://idp.example.com",
    "--audience",
    "api",
    "--jwks",
    "jwks.json",
];

/// With everything given, `check` is content; with nothing but the upstream, it says what is missing.
#[track_caller]
fn check(spec: &str, more: &[&str]) {
    let Some(spec) = shared(&format!("specs/{spec}")) else {
        return;
    };
    let spec = spec.to_str().expect("text");
    let place = Place::new();
    place.write("jwks.json", KEYS);
    let mut arguments = vec!["init", spec, "--upstream", "http://127.0.0.1:9", "--force"];
    arguments.extend(more);
    place.run(&arguments).expect(0);
    let checked = place.run(&["check", "--json"]).expect(0).json();
    assert_eq!(checked["errors"], 0);
    assert_eq!(checked["undecided"], 0);
    assert!(checked["operations"].as_u64() > Some(10), "{checked}");

    let bare = place
        .run(&["init", spec, "--json", "--force"])
        .expect(1)
        .json();
    let needed = bare["needed"].as_array().expect("a list");
    assert!(
        needed.iter().any(|need| need["flag"] == "--upstream URL"),
        "{needed:?}"
    );
    assert!(place.run(&["check", "--json"]).expect(1).json()["errors"].as_u64() > Some(0));
}

#[test]
fn vampi() {
    check(
        "vampi.yml",
        &[&IDENTITY[..], &["--public-undeclared"]].concat(),
    );
}

#[test]
fn restaurant() {
    check(
        "dvr.json",
        &[
            &IDENTITY[..],
            &["--public-undeclared", "--public-unverified"],
        ]
        .concat(),
    );
}

#[test]
fn asana() {
    check(
        "asana.yaml",
        &[
            &IDENTITY[..],
            &["--public-undeclared", "--public-unverified"],
        ]
        .concat(),
    );
}

#[test]
fn twilio() {
    check(
        "twilio.json",
        &["--public-undeclared", "--public-unverified"],
    );
}

#[test]
fn github() {
    check(
        "github.json",
        &["--public-undeclared", "--public-unverified"],
    );
}

const SMALL: &str = "openapi: 3.0.3
info: { title: Small, version: '1' }
paths:
  /a: { get: { operationId: getA, responses: { '200': { description: ok } } } }
  /b:
    get: { operationId: getB, tags: [open], responses: { '200': { description: ok } } }
";

#[test]
fn what_is_undecided_is_named_until_it_is_decided() {
    let place = Place::new();
    place.write("openapi.yaml", SMALL);
    let base = ["init", "openapi.yaml", "--upstream", "http://127.0.0.1:9"];
    let first = place.run(&base).expect(1).out;
    for part in ["getA", "getB", "--public OPERATION", "2 undecided"] {
        assert!(first.contains(part), "`{part}` is missing:\n{first}");
    }
    let checked = place.run(&["check"]).expect(1).out;
    assert!(
        checked.contains("operation `getA` has no `security`"),
        "{checked}"
    );
    // The file is not replaced unasked.
    place.run(&base).expect(2);
    let all = place
        .run(&[&base[..], &["--force", "--public", "GET /a,tag:open"]].concat())
        .expect(0);
    assert!(all.out.contains("fortress run"), "{}", all.out);
    let checked = place.run(&["check"]).expect(0).out;
    for part in ["`getA`", "`getB`", "2 public, 0 undecided"] {
        assert!(checked.contains(part), "`{part}` is missing:\n{checked}");
    }
    let unknown = place
        .run(&[&base[..], &["--force", "--public", "getC"]].concat())
        .expect(2);
    assert!(unknown.err.contains("`getC`"), "{}", unknown.err);
}

const KEYED: &str = "openapi: 3.0.3
info: { title: \"It's Keyed: API\", version: '1' }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-Token }
    password: { type: http, scheme: basic }
paths:
  /a: { get: { operationId: getA, security: [{ key: [] }], responses: { '200': { description: ok } } } }
  /b: { get: { operationId: getB, security: [{ password: [] }], responses: { '200': { description: ok } } } }
";

#[test]
fn what_this_version_cannot_verify_is_asked_about() {
    let place = Place::new();
    place.write("openapi.yaml", KEYED);
    place.write("jwks.json", KEYS);
    let base = [
        "init",
        "openapi.yaml",
        "--upstream",
        "http://127.0.0.1:9",
        "--force",
    ];
    let first = place.run(&base).expect(1).out;
    for part in ["getA (key)", "getB (password)", "--jwt-scheme SCHEME"] {
        assert!(first.contains(part), "`{part}` is missing:\n{first}");
    }
    let given = [
        &base[..],
        &IDENTITY,
        &["--jwt-scheme", "key", "--public", "getB"],
    ]
    .concat();
    place.run(&given).expect(0);
    let checked = place.run(&["check"]).expect(0).out;
    assert!(
        checked.contains("1 protected, 1 public, 0 undecided"),
        "{checked}"
    );
    let written = fs::read_to_string(place.work().join("fortress.yaml")).expect("written");
    assert!(written.contains("\n  its-keyed-api:\n"), "{written}");
}

#[test]
fn what_is_no_description_is_refused() {
    let place = Place::new();
    place.write("openapi.yaml", "a: [");
    place
        .run(&["init", "openapi.yaml", "--upstream", "http://127.0.0.1:9"])
        .expect(1);
    place
        .run(&["init", "nowhere.yaml", "--upstream", "http://127.0.0.1:9"])
        .expect(3);
    assert!(!place.work().join("fortress.yaml").exists());
}

#[test]
fn what_it_writes_runs() {
    let place = Place::new();
    place.write("openapi.yaml", SMALL);
    fs::create_dir(place.work().join("deploy")).expect("made");
    place
        .run(&[
            "init",
            "openapi.yaml",
            "--upstream",
            "http://127.0.0.1:9",
            "--listen",
            "127.0.0.1:0",
            "--public-undeclared",
            "-o",
            "deploy/fortress.yaml",
        ])
        .expect(0);
    let program = place.start(&["run", "deploy/fortress.yaml", "--json"]);
    let ready: serde_json::Value =
        serde_json::from_str(&program.line(|line| line.starts_with('{'))).expect("JSON");
    let url = format!(
        "http://{}",
        ready["listening"][0]["address"]
            .as_str()
            .expect("an address")
    );
    assert_eq!(
        status(&ask(&url, "GET /a HTTP/1.1", "")),
        502,
        "nothing is behind it"
    );
    assert_eq!(status(&ask(&url, "GET /c HTTP/1.1", "")), 404);
}

const DOORS: &str = "openapi: 3.0.3
info: { title: Doors, version: '1' }
security: []
paths:
  /login:
    post:
      operationId: login
      requestBody:
        content:
          application/json:
            schema: { type: object, properties: { email: { type: string }, pass: { type: string } } }
      responses: { '200': { description: ok } }
  /register:
    post:
      operationId: register
      requestBody:
        content:
          application/json:
            schema: { type: object, properties: { user: { type: object, properties: { name: { type: string }, password: { type: string } } } } }
      responses: { '200': { description: ok } }
  /orders:
    post:
      operationId: createOrder
      requestBody:
        content: { application/json: { schema: { type: object, properties: { name: { type: string } } } } }
      responses: { '200': { description: ok } }
";

#[test]
fn what_lets_people_in_is_defended_and_limits_are_written() {
    let place = Place::new();
    place.write("openapi.yaml", DOORS);
    place
        .run(&["init", "openapi.yaml", "--upstream", "http://127.0.0.1:9"])
        .expect(0);
    let written = std::fs::read_to_string(place.work().join("fortress.yaml")).expect("written");
    for line in [
        "      login: { login: { account: body.email, password: body.pass } }\n",
        "      register: { login: { account: body.user.name, kind: registration } }\n",
        "    - { per: principal, rate: 100/min, burst: 20 }\n",
        "    - { per: principal, quota: 100000/day }\n",
        "# the upstream's own on.\ndetect: { stuffing: {}, enumeration: {} }\n",
    ] {
        assert!(written.contains(line), "`{line}` is missing:\n{written}");
    }
    assert!(!written.contains("createOrder"), "{written}");
    place.run(&["check"]).expect(0);
    // An account that the description does not know would not be counted.
    place.write(
        "fortress.yaml",
        &written.replace("body.email", "body.emial"),
    );
    let checked = place.run(&["check"]).expect(0);
    let said = format!("{}{}", checked.out, checked.err);
    assert!(said.contains("did you mean `body.email`?"), "{said}");
}
