//! Which values a description proves to be harmless, so that nobody need search them for attacks.
#![expect(clippy::unwrap_used, reason = "tests may fail")]

mod check_support;

use check_support::Api;
use fortress_spec::RequestParts;
use http::{HeaderMap, HeaderValue, header};

/// The pieces of the body that are proven.
#[track_caller]
fn body(schema: &str, body: &str, expect: &[&str]) {
    let schemas =
        r#""Id":{"type":"string","format":"uuid"},"Kind":{"enum":["note","1' OR '1'='1"]}"#;
    let api = Api::body("3.1.0", schema, schemas);
    let mut found = Vec::new();
    let outcome = api.first().check_body(
        &api.description.schemas,
        Some(b"application/json"),
        body.as_bytes(),
        &api.policy,
        &mut found,
    );
    assert!(found.is_empty(), "{body}: {found:?}");
    let proven: Vec<&str> = outcome
        .proven
        .iter()
        .map(|(start, end)| {
            let place = |at: &u32| usize::try_from(*at).unwrap();
            body.get(place(start)..place(end)).unwrap()
        })
        .collect();
    assert_eq!(proven, expect, "{schema} {body}");
}

const UUID: &str = "6f9619ff-8b86-d011-b42d-00c04fc964ff";

#[test]
fn scalars_into_which_no_attack_fits() {
    body(
        r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"boolean"},"c":{"type":"string"},"d":{"type":["number","null"]}}}"#,
        r#"{"a": -12, "b":true,"c":"12","d":1.5e3}"#,
        &["-12", "true", "1.5e3"],
    );
    let uuid = format!(r#"{{"a":"{UUID}","b":"note","c":["2026-11-24","x"]}}"#);
    body(
        r##"{"type":"object","properties":{"a":{"$ref":"#/components/schemas/Id"},"b":{"$ref":"#/components/schemas/Kind"},"c":{"type":"array","items":{"anyOf":[{"type":"string","format":"date"},{"type":"string"}]}}}}"##,
        &uuid,
        &[UUID, "note", "2026-11-24"],
    );
    // A member of an enumeration that is no plain word is searched like any text.
    body(
        r##"{"type":"object","properties":{"b":{"$ref":"#/components/schemas/Kind"}}}"##,
        r#"{"b":"1' OR '1'='1"}"#,
        &[],
    );
    // A text that only looks like a uuid; one of a format that proves little; one behind escapes.
    for (schema, text) in [
        (r#"{"type":"string"}"#, UUID),
        (r#"{"type":"string","format":"uri"}"#, "http://a/"),
        (r#"{"type":"string","pattern":"^a+$"}"#, "a"),
        (r#"{"const":"note"}"#, r"n\u006fte"),
        (r#"{"enum":["a b"]}"#, "a b"),
    ] {
        let schema = format!(r#"{{"type":"object","properties":{{"a":{schema}}}}}"#);
        body(&schema, &format!(r#"{{"a":"{text}"}}"#), &[]);
    }
    // Several schemas of one place prove it once; the outermost value counts too.
    body(
        r#"{"allOf":[{"type":"integer"},{"minimum":1,"type":"number"}]}"#,
        "7",
        &["7"],
    );
}

/// The names of the parameters that are proven.
#[track_caller]
fn parameters(query: &str, cookie: &str, expect: &[&str]) {
    let api = Api::parameters(
        r#"{"name":"page","in":"query","schema":{"type":"integer"}},
           {"name":"q","in":"query","schema":{"type":"string"}},
           {"name":"ids","in":"query","schema":{"type":"array","items":{"type":"integer"}}},
           {"name":"sort","in":"query","schema":{"type":"string","enum":["name","a b"]}},
           {"name":"X-Id","in":"header","schema":{"type":"string","format":"uuid"}},
           {"name":"seen","in":"cookie","schema":{"type":"string","format":"date"}}"#,
    );
    let mut headers = HeaderMap::new();
    headers.insert("x-id", HeaderValue::from_static(UUID));
    headers.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
    let mut found = Vec::new();
    let outcome = api.first().check_parameters(
        &api.description.schemas,
        &RequestParts {
            path_values: &[],
            query: Some(query),
            headers: &headers,
        },
        &api.policy,
        &mut found,
    );
    let operation = api.first();
    let proven: Vec<&str> = outcome
        .proven
        .iter()
        .map(|place| &*operation.parameters.get(usize::from(*place)).unwrap().name)
        .collect();
    assert_eq!(proven, expect, "{query} {found:?}");
}

#[test]
fn parameters_into_which_no_attack_fits() {
    parameters(
        "page=3&q=3&ids=1&ids=2&sort=name",
        "seen=2026-11-24",
        &["page", "sort", "X-Id", "seen"],
    );
    parameters("sort=a+b&page=%33", "seen=x", &["page", "X-Id"]);
    parameters("page=x", "seen=2026-13-24", &["X-Id"]);
}
