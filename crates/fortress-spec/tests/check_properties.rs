//! What holds for any input: no panic, agreement with another engine, and that a trimmed response is
//! valid and shows nothing undeclared.

mod check_support;

use check_support::{Api, code};
use fortress_model::config::{RequestUndeclared, ResponseUndeclared};
use fortress_spec::{RequestParts, ResponseOutcome};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Small values over few names, so that schemas and instances meet.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        prop_oneof![Just(0.5), Just(1.0), Just(2.5)].prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn schema() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec![
        "null", "boolean", "integer", "number", "string", "array", "object",
    ]);
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!(false)),
        Just(json!({})),
        types.prop_map(|name| json!({ "type": name })),
        (-2_i64..3).prop_map(|n| json!({ "minimum": n })),
        (-2_i64..3).prop_map(|n| json!({ "exclusiveMaximum": n })),
        Just(json!({ "multipleOf": 0.5 })),
        (0_u64..3).prop_map(|n| json!({ "minLength": n, "minItems": n, "minProperties": n })),
        (0_u64..3).prop_map(|n| json!({ "maxLength": n, "maxItems": n, "maxProperties": n })),
        Just(json!({ "pattern": "^a" })),
        Just(json!({ "uniqueItems": true })),
        value().prop_map(|value| json!({ "const": value })),
        prop::collection::vec(value(), 1..4).prop_map(|values| json!({ "enum": values })),
        prop::collection::vec("[a-d]", 0..3).prop_map(|names| {
            let names: std::collections::BTreeSet<_> = names.into_iter().collect();
            json!({ "required": names })
        }),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let map = || prop::collection::btree_map("[a-d]", inner.clone(), 1..4);
        let list = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            map().prop_map(|map| json!({ "properties": map })),
            (map(), inner.clone()).prop_map(|(map, rest)| json!({ "properties": map, "additionalProperties": rest })),
            (map(), inner.clone()).prop_map(|(map, rest)| json!({ "properties": map, "unevaluatedProperties": rest })),
            (list(), inner.clone()).prop_map(|(list, rest)| json!({ "allOf": list, "unevaluatedProperties": rest.clone(), "unevaluatedItems": rest })),
            (list(), inner.clone()).prop_map(|(list, rest)| json!({ "anyOf": list, "unevaluatedProperties": rest })),
            list().prop_map(|list| json!({ "allOf": list })),
            list().prop_map(|list| json!({ "anyOf": list })),
            list().prop_map(|list| json!({ "oneOf": list })),
            inner.clone().prop_map(|one| json!({ "not": one })),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| json!({ "if": a, "then": b, "else": c })),
            inner.clone().prop_map(|one| json!({ "items": one })),
            (list(), inner.clone()).prop_map(|(list, rest)| json!({ "prefixItems": list, "items": rest })),
            (list(), inner.clone()).prop_map(|(list, rest)| json!({ "prefixItems": list, "unevaluatedItems": rest })),
            (inner.clone(), 0_u64..3, 1_u64..3).prop_map(|(one, min, max)| json!({ "contains": one, "minContains": min, "maxContains": max })),
            inner.clone().prop_map(|one| json!({ "patternProperties": { "^[ab]": one } })),
            inner.clone().prop_map(|one| json!({ "propertyNames": one })),
            map().prop_map(|map| json!({ "dependentSchemas": map })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_another_engine(schema in schema(), values in prop::collection::vec(value(), 1..8)) {
        let other = jsonschema::draft202012::new(&schema).expect("a schema");
        let mut api = Api::body("3.1.0", &schema.to_string(), "");
        api.policy.undeclared = RequestUndeclared::Allow;
        for value in values {
            let code = api.json(&value.to_string());
            prop_assert_eq!(code.is_empty(), other.is_valid(&value), "{} {} {}", schema, value, code);
        }
    }

    #[test]
    fn strictness_only_refuses_more(schema in schema(), value in value()) {
        let strict = Api::body("3.1.0", &schema.to_string(), "");
        let other = jsonschema::draft202012::new(&schema).expect("a schema");
        let text = schema.to_string();
        // Closed branches let a `oneOf` choose; without one, strict is a part of plain.
        if !text.contains("oneOf") && !text.contains("not") && !text.contains("if") && strict.json(&value.to_string()).is_empty() {
            prop_assert!(other.is_valid(&value), "{} {}", schema, value);
        }
    }

    #[test]
    fn what_passes_is_evaluated_by_some_schema(names in prop::collection::btree_set("[a-d]", 1..3), inner in schema(), value in value()) {
        let properties: serde_json::Map<_, _> = names.into_iter().map(|name| (name, json!(true))).collect();
        let schema = json!({ "properties": properties, "allOf": [inner] });
        let text = schema.to_string();
        // Demanded names count as declared, and closed branches choose differently.
        if !text.contains("required") && !text.contains("oneOf") {
            let closed = json!({ "allOf": [schema], "unevaluatedProperties": false });
            let other = jsonschema::draft202012::new(&closed).expect("a schema");
            let strict = Api::body("3.1.0", &text, "");
            if strict.json(&value.to_string()).is_empty() {
                prop_assert!(other.is_valid(&value), "{} {}", text, value);
            }
            let (outcome, found) = Api::response("3.1.0", &text, "").answer(200, Some("application/json"), value.to_string(), ResponseUndeclared::Drop);
            if let (ResponseOutcome::Trimmed { body, .. }, true) = (outcome, found.is_empty()) {
                let trimmed: Value = serde_json::from_slice(&body).expect("JSON");
                prop_assert!(other.is_valid(&trimmed), "{} {}", text, trimmed);
            }
        }
    }

    #[test]
    fn trimmed_responses_are_valid_and_declared(schema in schema(), value in value()) {
        let api = Api::response("3.1.0", &schema.to_string(), "");
        let body = value.to_string();
        let (outcome, found) = api.answer(200, Some("application/json"), &body, ResponseUndeclared::Drop);
        if let (ResponseOutcome::Trimmed { body, .. }, true) = (outcome, found.is_empty()) {
            let (_, found) = api.answer(200, Some("application/json"), &body, ResponseUndeclared::Refuse);
            prop_assert_eq!(code(&found), "", "{} {}", schema, String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn examples_are_accepted(schema in schema()) {
        let api = Api::body("3.1.0", &schema.to_string(), "");
        let id = api.first().body.as_ref().and_then(|body| body.media_types().next()).and_then(|media| media.schema);
        if let Some(example) = id.and_then(|id| api.description.schemas.example(id)) {
            prop_assert_eq!(api.json(&example), "", "{} {}", schema, example);
        }
    }
}

proptest! {
    #[test]
    fn bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), content_type in "[ -~]{0,40}") {
        let members = r#""requestBody":{"content":{"application/json":{"schema":{}},"multipart/form-data":{"schema":{"type":"object"}},"application/x-www-form-urlencoded":{"schema":{"type":"object"}},"text/*":{"schema":{"type":"string"}}}}"#;
        let api = Api::operation("3.1.0", members, "");
        api.send(Some(&content_type), &body);
        for known in ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=B"] {
            api.send(Some(known), &body);
        }
    }

    #[test]
    fn json_agrees_with_serde(text in "[\\[\\]{}:,\"a0-9eE.+\\- \\\\untrlfs]{0,16}") {
        let api = Api::body("3.1.0", "true", "");
        let ours = api.json(&text);
        // Only what we refuse on purpose differs.
        if ours.is_empty() {
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        } else if ours == "body.malformed" && !text.contains(['e', 'E']) && text.bytes().filter(u8::is_ascii_digit).count() < 16 {
            prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
        }
    }

    #[test]
    fn parameters_never_panic(query in "[ -~é]{0,60}", cookie in "[ -~]{0,40}", path in "[ -~]{0,20}") {
        let list = r#"{"name":"a","in":"query","schema":{"type":"array","items":{"type":"integer"}}},{"name":"b","in":"query","style":"deepObject","schema":{"type":"object"}},{"name":"c","in":"cookie","schema":{"type":"string"}},{"name":"d","in":"query","schema":{"type":"object","properties":{"e":{}}}}"#;
        let api = Api::parameters(list);
        let mut headers = http::HeaderMap::new();
        headers.insert("cookie", cookie.parse().expect("a value"));
        let values = [("p", path.as_str())];
        for query in [query.clone(), format!("b[{query}]=1&a={query}&d={query}&e={query}")] {
            api.request(&RequestParts { path_values: &values, query: Some(&query), headers: &headers });
        }
    }
}

#[test]
fn examples_of_parameters_and_media_types_come_first() {
    let api = Api::operation(
        "3.0.3",
        r##""parameters":[{"name":"p","in":"query","example":"wrong","examples":{"b":{"value":7}},"schema":{"type":"integer"}},{"name":"q","in":"query","example":"wrong","schema":{"type":"boolean"}}],"requestBody":{"content":{"application/json":{"examples":{"a":{"$ref":"#/components/schemas/x-example"}},"schema":{"type":"object","example":{"s":"own"},"properties":{"s":{"type":"string"}}}}}}"##,
        r#""x-example":{"value":{"s":"offered"}}"#,
    );
    let example = |id| api.description.schemas.example(id);
    let parameters: Vec<_> = api
        .first()
        .parameters
        .iter()
        .map(|parameter| example(parameter.schema))
        .collect();
    assert_eq!(parameters.first(), Some(&Some("7".to_owned())));
    assert_ne!(parameters.get(1), Some(&Some("\"wrong\"".to_owned())));
    let body = api
        .first()
        .body
        .as_ref()
        .and_then(|body| body.media_types().next()?.schema);
    assert_eq!(
        body.and_then(example).as_deref(),
        Some(r#"{"s":"offered"}"#)
    );
}
