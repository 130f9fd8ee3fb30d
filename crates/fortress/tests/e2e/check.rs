//! `fortress check`: everything at once.

use crate::program::Place;

const DESCRIPTION: &str = "openapi: 3.0.3
info: { title: Small, version: '1' }
paths:
  /a:
    get: { operationId: getA, responses: { '200': { description: ok } } }
    post:
      operationId: postA
      security: []
      parameters: [{ name: q, in: query, schema: { type: string } }]
      responses: { '200': { description: ok } }
";

#[test]
fn mistakes_of_the_configuration_and_of_the_description_are_shown_together() {
    let place = Place::new();
    place.write("openapi.yaml", DESCRIPTION);
    place.write(
        "fortress.yaml",
        "version: 1
listen: [{ address: 127.0.0.1:0 }]
apis:
  small:
    spec: openapi.yaml
    upsteam: http://127.0.0.1:1
    upstream: http://127.0.0.1:1
",
    );
    let shown = place.run(&["check"]).expect(1).out;
    for part in [
        "unknown key `upsteam`",
        "fortress.yaml:6:5",
        "upstream",
        "operation `getA` has no `security`",
        "openapi.yaml:5:5",
        "{ public: true }",
        "public: `postA`",
        "2 operations: 0 protected, 1 public, 1 undecided; 1 unbounded input.",
    ] {
        assert!(shown.contains(part), "`{part}` is missing:\n{shown}");
    }
    assert!(
        shown
            .trim_end()
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("2 errors, ")),
        "{shown}"
    );
    let json = place.run(&["check", "--json"]).expect(1).json();
    assert_eq!(json["errors"], 2);
    assert_eq!(json["public_operations"][0]["operation"], "postA");
}

#[test]
fn a_sound_configuration_is_fine() {
    let place = Place::new();
    place.write("openapi.yaml", DESCRIPTION);
    place.write(
        "fortress.yaml",
        "version: 1
listen: [{ address: 127.0.0.1:0 }]
apis:
  small:
    spec: openapi.yaml
    upstream: http://127.0.0.1:1
    operations: { getA: { public: true, mode: monitor } }
",
    );
    let shown = place.run(&["check"]).expect(0).out;
    assert!(
        shown.contains("public, monitored, not enforced: `getA`"),
        "{shown}"
    );
    assert!(shown.contains("0 errors"), "{shown}");
}

#[test]
fn what_is_not_there_cannot_be_checked() {
    let place = Place::new();
    place.run(&["check"]).expect(3);
    place.run(&["chek"]).expect(2);
    place.run(&[]).expect(2);
    place.run(&["--version"]).expect(0);
}

#[test]
fn the_schema_is_json() {
    let place = Place::new();
    let schema = place.run(&["schema"]).expect(0).json();
    assert!(schema["properties"]["apis"].is_object(), "{schema}");
}

const PROTECTED: &str = "openapi: 3.0.3
info: { title: Small, version: '1' }
components: { securitySchemes: { token: { type: http, scheme: bearer } } }
security: [{ token: [] }]
paths:
  /a: { get: { responses: { '200': { description: ok } } }, put: { responses: { '200': { description: ok } } } }
  /b: { get: { responses: { '200': { description: ok } } } }
";

#[test]
fn a_missing_identity_is_one_mistake_and_not_one_for_each_operation() {
    let place = Place::new();
    place.write("openapi.yaml", PROTECTED);
    let api = "version: 1
listen: [{ address: 127.0.0.1:0 }]
apis: { small: { spec: openapi.yaml, upstream: http://127.0.0.1:1 } }
";
    let entry = "issuer: https://idp.example.com, audience: a, jwks: file:nowhere.json";
    for (identity, errors, said) in [
        (String::new(), 1, "has no complete entry"),
        (
            "identity: { idp: { issuer: https://idp.example.com } }\n".into(),
            2,
            "audience",
        ),
        (
            format!("identity: {{ idp: {{ {entry} }} }}\n"),
            1,
            "nowhere.json",
        ),
        (
            format!("identity: {{ one: {{ {entry} }}, two: {{ {entry} }} }}\n"),
            2,
            "nowhere.json",
        ),
    ] {
        place.write("fortress.yaml", &format!("{api}{identity}"));
        let shown = place.run(&["check"]).expect(1).out;
        assert!(shown.contains(&format!("\n{errors} error")), "{shown}");
        assert!(shown.contains(said), "{shown}");
        assert!(!shown.contains("cannot be protected"), "{shown}");
    }
}

const UNDESCRIBED: &str = "version: 1
listen: [{ address: 127.0.0.1:0 }]
apis:
  old: { spec: none, upstream: http://127.0.0.1:1 }
";

#[test]
fn an_api_without_a_description_says_what_is_lost() {
    let place = Place::new();
    place.write("fortress.yaml", UNDESCRIBED);
    let shown = place.run(&["check"]).expect(1).out;
    for part in [
        "API `old` has no description and no `identity` that could vouch for callers",
        "mark it: apis.old.public: true",
        "1 error, 2 warnings. 1 API without a description (undecided).",
    ] {
        assert!(shown.contains(part), "`{part}` is missing:\n{shown}");
    }

    let public = UNDESCRIBED.replace("none,", "none, public: true,");
    place.write("fortress.yaml", &public);
    let shown = place.run(&["check"]).expect(0).out;
    for part in [
        "API `old` has no description: anyone may call, every path and method passes,",
        "parameters, bodies and answers are not checked",
        "public: every path and method of `old`",
        "0 errors, 2 warnings. 1 API without a description (public).",
    ] {
        assert!(shown.contains(part), "`{part}` is missing:\n{shown}");
    }
    let json = place.run(&["check", "--json"]).expect(0).json();
    assert_eq!(json["operations"], 0);
    assert_eq!(json["undescribed"][0]["api"], "old");
    assert_eq!(json["undescribed"][0]["access"], "public");

    let gateway = place.start(&["run"]);
    gateway.line(|line| line.contains("; 1 API, 1 API without a description (public), enforce; "));
    gateway.logged("API `old` has no description");
}

#[test]
fn rules_are_compiled_and_their_mistakes_told_where_they_stand() {
    let place = Place::new();
    let check = |waf: &str, code: i32| {
        let with = UNDESCRIBED.replace("none,", &format!("none, public: true, {waf},"));
        place.write("fortress.yaml", &with);
        place.run(&["check"]).expect(code).out
    };
    let shown = check("waf: { paranoia: 2 }, bounds: { inspection: 1MiB }", 0);
    assert!(shown.contains("fortress crs install --to"), "{shown}");
    let shown = check("waf: { rules: builtin }", 0);
    assert!(!shown.contains("crs install"), "{shown}");
    // The text is SecLang; only compiling shows that the expression is none.
    place.write(
        "mine.conf",
        "# mine\nSecRule ARGS \"@rx (\" \"id:1,phase:2,deny\"\n",
    );
    let shown = check("waf: { rules: none, files: [mine.conf] }", 1);
    assert!(shown.contains("mine.conf:2:"), "{shown}");
    let shown = check("waf: { mode: off, rules: none, files: [mine.conf] }", 0);
    // The excerpt of `fortress.yaml` names the file; no mistake in it may be told.
    assert!(!shown.contains("mine.conf:"), "{shown}");
}

#[test]
fn what_is_open_to_anyone_demands_nothing_of_callers() {
    let place = Place::new();
    place.write("openapi.yaml", DESCRIPTION);
    let write = |operations: &str| {
        place.write(
            "fortress.yaml",
            &format!(
                "version: 1
listen: [{{ address: 127.0.0.1:0 }}]
apis:
  small:
    spec: openapi.yaml
    upstream: http://127.0.0.1:1
    operations: {operations}
"
            ),
        );
    };
    write("{ getA: { public: true, require: { role: clerk } }, postA: { require: { scope: a } } }");
    let shown = place.run(&["check"]).expect(1).out;
    for operation in ["getA", "postA"] {
        let part = format!("operation `{operation}` is open to anyone, and its `require` demands");
        assert!(shown.contains(&part), "`{part}` is missing:\n{shown}");
    }
    write("{ getA: { public: true } }");
    place.run(&["check"]).expect(0);
}

#[test]
fn a_certificate_that_does_not_hold_now_is_told() {
    let place = Place::new();
    place.write("openapi.yaml", DESCRIPTION);
    place.write(
        "fortress.yaml",
        "version: 1
listen: [{ address: 127.0.0.1:0, tls: { certificates: [{ chain: file:cert.pem, key: file:key.pem }] } }]
apis: { small: { spec: openapi.yaml, upstream: http://127.0.0.1:1, operations: { getA: { public: true } } } }
",
    );
    let told = |from: i32, to: i32| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut named = rcgen::CertificateParams::new(["a.test".to_owned()]).expect("a name");
        named.not_before = rcgen::date_time_ymd(from, 1, 1);
        named.not_after = rcgen::date_time_ymd(to, 1, 1);
        place.write("cert.pem", &named.self_signed(&key).expect("signed").pem());
        place.write("key.pem", &key.serialize_pem());
        place.run(&["check"]).expect(0).out
    };
    let over = told(2020, 2021);
    assert!(over.contains("cert.pem` has expired"), "{over}");
    let early = told(2090, 2091);
    assert!(early.contains("is not valid yet"), "{early}");
    let fine = told(2020, 2090);
    assert!(!fine.contains("a certificate of"), "{fine}");
}
