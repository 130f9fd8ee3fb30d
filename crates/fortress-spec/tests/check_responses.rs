//! Responses: what is declared, and what is left out.

mod check_support;

use check_support::{Api, code};
use fortress_model::config::ResponseUndeclared;
use fortress_spec::ResponseOutcome;

const V30: &str = "3.0.3";
const V31: &str = "3.1.0";
const USER: &str = r#"{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},"name":{"type":"string"},"password":{"type":"string","writeOnly":true},"n":{"type":"object","properties":{"x":{}}}}}"#;

#[test]
fn undeclared_properties_are_cut_out() {
    let api = Api::response(V30, USER, "");
    for (body, expect) in [
        (r#"{"id":1}"#, r#"{"id":1}"#),
        (r#"{"id": 1.0, "debug" : {"a":1}}"#, r#"{"id": 1.0}"#),
        (
            r#"{"debug":true,"id":1,"n":{"x":1,"y":2}}"#,
            r#"{"id":1,"n":{"x":1}}"#,
        ),
        (r#"{"id":1,"password":"secret"}"#, r#"{"id":1}"#),
        (r#"{"id":1,"password":5}"#, r#"{"id":1}"#),
        (r#"{"id":1,"\u0064ebug":1}"#, r#"{"id":1}"#),
        (r#"{"id":"x"}"#, "response.invalid"),
        (r#"{"name":"x"}"#, "response.invalid"),
        (r#"{"id":1,"id":2}"#, "response.invalid"),
        ("{", "response.invalid"),
        ("[]", "response.invalid"),
    ] {
        assert_eq!(api.trim(body), expect, "{body}");
    }
}

#[test]
fn forbidden_properties_are_cut_out_too() {
    let closed =
        r#"{"type":"object","additionalProperties":false,"properties":{"id":{"type":"integer"}}}"#;
    let api = Api::response(V30, closed, "");
    assert_eq!(api.trim(r#"{"id":1,"x":2}"#), r#"{"id":1}"#);
    assert_eq!(api.trim(r#"{"id":"a","x":2}"#), "response.invalid");
    let array = format!(r#"{{"type":"array","items":{closed}}}"#);
    assert_eq!(
        Api::response(V30, &array, "").trim(r#"[{"id":1,"x":2},{"x":3}]"#),
        r#"[{"id":1},{}]"#
    );
    let one = format!(
        r#"{{"oneOf":[{closed},{{"type":"object","additionalProperties":false,"required":["b"],"properties":{{"b":{{}}}}}}]}}"#
    );
    let api = Api::response(V30, &one, "");
    assert_eq!(api.trim(r#"{"b":1,"x":2}"#), r#"{"b":1}"#);
    assert_eq!(api.trim(r#"{"id":1,"x":2}"#), r#"{"id":1}"#);
    let uneval = r#"{"allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}"#;
    assert_eq!(
        Api::response(V31, uneval, "").trim(r#"{"a":1,"b":1}"#),
        r#"{"a":1}"#
    );
    let counted = r#"{"type":"object","maxProperties":1,"properties":{"a":{}}}"#;
    assert_eq!(
        Api::response(V30, counted, "").trim(r#"{"a":1,"b":1}"#),
        r#"{"a":1}"#
    );
    // What is left has to be right by itself.
    let least = r#"{"type":"object","minProperties":2,"properties":{"a":{}}}"#;
    assert_eq!(
        Api::response(V30, least, "").trim(r#"{"a":1,"b":1}"#),
        "response.invalid"
    );
    assert_eq!(
        Api::response(V30, r#"{"type":"object"}"#, "").trim(r#"{"a":1}"#),
        r#"{"a":1}"#
    );
    let open = r#"{"properties":{"a":{}},"additionalProperties":true}"#;
    assert_eq!(
        Api::response(V30, open, "").trim(r#"{"b":1}"#),
        r#"{"b":1}"#
    );
}

#[test]
fn refuse_and_allow() {
    let api = Api::response(V30, USER, "");
    let ask = |body: &str, undeclared| {
        code(
            &api.answer(200, Some("application/json"), body, undeclared)
                .1,
        )
    };
    assert_eq!(ask(r#"{"id":1}"#, ResponseUndeclared::Refuse), "");
    assert_eq!(
        ask(r#"{"id":1,"x":1}"#, ResponseUndeclared::Refuse),
        "response.undeclared"
    );
    let closed = r#"{"properties":{"id":{"type":"integer"}},"additionalProperties":false}"#;
    let api_closed = Api::response(V30, closed, "");
    let ask_closed = |body: &str| {
        let json = Some("application/json");
        code(
            &api_closed
                .answer(200, json, body, ResponseUndeclared::Refuse)
                .1,
        )
    };
    assert_eq!(ask_closed(r#"{"id":1}"#), "");
    assert_eq!(ask_closed(r#"{"id":1,"x":1}"#), "response.undeclared");
    let needed = r#"{"required":["id"],"properties":{"id":{}},"additionalProperties":false}"#;
    let api_needed = Api::response(V30, needed, "");
    assert_eq!(api_needed.trim(r#"{"id":1,"x":1}"#), r#"{"id":1}"#);
    assert_eq!(api_needed.trim(r#"{"x":1}"#), "response.invalid");
    assert_eq!(ask(r#"{"id":1,"x":1}"#, ResponseUndeclared::Allow), "");
    assert_eq!(
        ask(r#"{"id":1,"password":"p"}"#, ResponseUndeclared::Refuse),
        "response.invalid"
    );
    assert_eq!(
        ask(r#"{"id":1,"password":"p"}"#, ResponseUndeclared::Allow),
        "response.invalid"
    );
    assert_eq!(
        ask(r#"{"id":"x"}"#, ResponseUndeclared::Allow),
        "response.invalid"
    );
}

#[test]
fn statuses_and_media_types() {
    let text = r#"{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/x":{"get":{"responses":{"200":{"description":"d","content":{"application/json":{"schema":{"type":"integer"}}}},"2XX":{"description":"d","content":{"application/*":{}, "image/*":{}, "text/event-stream":{}}},"204":{"description":"d"},"404":{"description":"d"}}}}}}"#;
    let api = Api::load(text);
    for (status, content_type, body, expect) in [
        (200, Some("application/json; charset=utf-8"), "1", ""),
        (200, Some("application/json"), "true", "response.invalid"),
        (200, Some("text/html"), "1", "response.undeclared"),
        (200, None, "1", "response.undeclared"),
        (200, None, "", ""),
        (201, Some("application/xml"), "<a/>", ""),
        (201, Some("text/html"), "a", "response.undeclared"),
        (204, None, "", ""),
        (304, None, "", ""),
        (301, None, "", "response.undeclared"),
        (404, None, "", ""),
        (500, Some("text/plain"), "trace", "response.undeclared"),
    ] {
        let (_, found) = api.answer(status, content_type, body, ResponseUndeclared::Drop);
        assert_eq!(code(&found), expect, "{status} {content_type:?} {body}");
    }
    let first = api.first();
    assert!(first.response_streams(201, Some(b"image/png")));
    assert!(first.response_streams(201, Some(b"text/event-stream")));
    assert!(!first.response_streams(201, Some(b"application/json")));
    assert!(!first.response_streams(200, Some(b"image/png")));
    assert!(!first.response_streams(500, Some(b"image/png")));
    let (outcome, _) = api.answer(201, Some("image/png"), b"\x89", ResponseUndeclared::Drop);
    assert!(matches!(outcome, ResponseOutcome::NotChecked(_)));
}

#[test]
fn a_body_where_no_content_is_declared_is_dropped_refused_or_passed() {
    let api = Api::load(
        r#"{"openapi":"3.0.3","info":{"title":"t","version":"1"},"paths":{"/x":{"get":{"responses":{"404":{"description":"d"}}}}}}"#,
    );
    let ask = |undeclared| api.answer(404, Some("text/plain"), "secret", undeclared);
    let (outcome, found) = ask(ResponseUndeclared::Drop);
    let dropped = vec!["response".to_owned()];
    assert_eq!(
        outcome,
        ResponseOutcome::Trimmed {
            body: Vec::new(),
            dropped
        }
    );
    assert!(found.is_empty());
    assert_eq!(
        code(&ask(ResponseUndeclared::Refuse).1),
        "response.undeclared"
    );
    let (outcome, found) = ask(ResponseUndeclared::Allow);
    assert!(matches!(outcome, ResponseOutcome::NotChecked(_)) && found.is_empty());
}

#[test]
fn what_was_dropped_is_named() {
    let api = Api::response(V30, USER, "");
    let (outcome, _) = api.answer(
        200,
        Some("application/json"),
        r#"{"id":1,"n":{"y":1},"z":1}"#,
        ResponseUndeclared::Drop,
    );
    let ResponseOutcome::Trimmed { dropped, .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(dropped, ["response.n.y", "response.z"]);
}

#[test]
fn a_large_answer_full_of_undeclared_properties_takes_no_long_time() {
    let schema = r#"{"type":"object","properties":{"a":{},"s":{"type":"array","items":{"type":"object","properties":{"p":{"writeOnly":true}}}}}}"#;
    let api = Api::response(V30, schema, "");
    let undeclared: Vec<_> = (0..40_000).map(|n| format!("\"k{n}\":0")).collect();
    let hidden = r#"{"p":1},"#.repeat(40_000);
    for body in [
        format!("{{\"a\":1,{}}}", undeclared.join(",")),
        format!("{{\"s\":[{hidden}{{}}]}}"),
    ] {
        for policy in [ResponseUndeclared::Refuse, ResponseUndeclared::Drop] {
            let begin = std::time::Instant::now();
            let (_, found) = api.answer(200, Some("application/json"), &body, policy);
            assert_eq!(found.is_empty(), policy == ResponseUndeclared::Drop);
            assert!(found.len() <= 16);
            assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
        }
    }
}
