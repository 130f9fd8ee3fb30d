//! Request bodies: JSON against schemas of both dialects, forms, media types.

mod check_support;

use check_support::{Api, code};
use fortress_model::config::RequestUndeclared;

const V30: &str = "3.0.3";
const V31: &str = "3.1.0";

#[test]
fn undeclared_properties() {
    let plain = r#"{"type":"object","properties":{"a":{"type":"integer"},"n":{"type":"object","properties":{"x":{"type":"string"}}}}}"#;
    Api::body(V30, plain, "")
        .accepts(&["{}", r#"{"a":1}"#, r#"{"a":1,"n":{"x":"y"}}"#])
        .refuses(
            "body.undeclared",
            &[
                r#"{"b":1}"#,
                r#"{"a":1,"b":1}"#,
                r#"{"n":{"y":1}}"#,
                r#"{"\u0062":1}"#,
                r#"{"A":1}"#,
            ],
        );
    let open = r#"{"type":"object","properties":{"a":{}},"additionalProperties":true}"#;
    Api::body(V30, open, "").accepts(&[r#"{"b":{"c":1}}"#]);
    let typed =
        r#"{"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}}"#;
    Api::body(V30, typed, "")
        .accepts(&[r#"{"b":1}"#])
        .refuses("body.invalid", &[r#"{"b":"x"}"#]);
    Api::body(V30, r#"{"type":"object"}"#, "").accepts(&[r#"{"b":{"c":1}}"#]);
    Api::body(V30, r#"{"type":"object","additionalProperties":false}"#, "")
        .accepts(&["{}"])
        .refuses("body.undeclared", &[r#"{"b":1}"#]);
    Api::body(
        V31,
        r#"{"patternProperties":{"^x-":{"type":"string"}}}"#,
        "",
    )
    .accepts(&[r#"{"x-a":"b"}"#])
    .refuses("body.undeclared", &[r#"{"y":"b"}"#]);
    let mut lax = Api::body(V30, plain, "");
    lax.policy.undeclared = RequestUndeclared::Allow;
    lax.accepts(&[r#"{"b":1,"n":{"y":1}}"#])
        .refuses("body.invalid", &[r#"{"a":"x"}"#]);
}

#[test]
fn undeclared_through_branches() {
    let all = r##"{"allOf":[{"properties":{"a":{"type":"integer"}}},{"$ref":"#/components/schemas/B"}]}"##;
    let b = r#""B":{"type":"object","properties":{"b":{"type":"integer"}}}"#;
    Api::body(V30, all, b)
        .accepts(&[r#"{"a":1,"b":2}"#])
        .refuses("body.undeclared", &[r#"{"a":1,"b":2,"c":3}"#]);
    let any = r#"{"anyOf":[{"properties":{"a":{}},"required":["a"]},{"properties":{"b":{}},"required":["b"]}]}"#;
    Api::body(V30, any, "")
        .accepts(&[r#"{"a":1}"#, r#"{"a":1,"b":1}"#])
        .refuses("body.undeclared", &[r#"{"a":1,"c":1}"#])
        .refuses("body.invalid", &[r#"{"c":1}"#]);
    let one = r#"{"oneOf":[{"properties":{"a":{},"k":{"enum":["a"]}},"required":["k"]},{"properties":{"b":{},"k":{"enum":["b"]}},"required":["k"]}]}"#;
    Api::body(V30, one, "")
        .accepts(&[r#"{"k":"a","a":1}"#, r#"{"k":"b","b":1}"#])
        .refuses(
            "body.undeclared",
            &[r#"{"k":"a","b":1}"#, r#"{"k":"b","b":1,"a":1}"#],
        );
    // The place counts, not the schema that leads to it.
    let nested = r#"{"allOf":[{"properties":{"n":{"properties":{"x":{}}}}},{"properties":{"n":{"properties":{"y":{}}}}}]}"#;
    Api::body(V30, nested, "")
        .accepts(&[r#"{"n":{"x":1,"y":1}}"#])
        .refuses("body.undeclared", &[r#"{"n":{"x":1,"z":1}}"#]);
    let closed = r#"{"allOf":[{"properties":{"a":{}},"additionalProperties":false},{"properties":{"b":{}}}]}"#;
    Api::body(V30, closed, "")
        .accepts(&[r#"{"a":1}"#])
        .refuses("body.undeclared", &[r#"{"b":1}"#]);
    let conditional = r#"{"properties":{"k":{}},"if":{"properties":{"k":{"const":1}}},"then":{"properties":{"a":{}}},"else":{"properties":{"b":{}}}}"#;
    Api::body(V31, conditional, "")
        .accepts(&[r#"{"k":1,"a":1}"#, r#"{"k":2,"b":1}"#])
        .refuses("body.undeclared", &[r#"{"k":1,"b":1}"#, r#"{"k":2,"a":1}"#]);
    let dependent = r#"{"properties":{"k":{}},"dependentSchemas":{"k":{"properties":{"a":{}}}}}"#;
    Api::body(V31, dependent, "")
        .accepts(&[r#"{"k":1,"a":1}"#])
        .refuses("body.undeclared", &[r#"{"a":1}"#]);
    Api::body(
        V31,
        r#"{"properties":{"a":{}},"unevaluatedProperties":{"type":"integer"}}"#,
        "",
    )
    .accepts(&[r#"{"a":"x","b":1}"#])
    .refuses("body.invalid", &[r#"{"b":"x"}"#]);
    let items = r#"{"type":"array","items":{"type":"object","properties":{"a":{}}}}"#;
    Api::body(V30, items, "")
        .accepts(&[r#"[{"a":1},{}]"#])
        .refuses("body.undeclared", &[r#"[{"a":1},{"b":1}]"#]);
}

#[test]
fn a_failed_branch_inside_a_branch_hides_nothing() {
    let schema = r#"{"anyOf":[{"oneOf":[{"type":"string"},{"type":"integer"}]},{"anyOf":[{"type":"null"}]},{"properties":{"a":{}}}]}"#;
    Api::body(V30, schema, "")
        .accepts(&[r#"{"a":1}"#])
        .refuses("body.undeclared", &[r#"{"a":1,"b":1}"#]);
    let several =
        r#"{"anyOf":[{"oneOf":[{"required":["a"]},{"type":"object"}]},{"properties":{"a":{}}}]}"#;
    Api::body(V30, several, "").refuses("body.undeclared", &[r#"{"a":1,"b":1}"#]);
}

#[test]
fn binary_bodies_are_bounded_in_bytes() {
    let members = r#""requestBody":{"content":{"application/octet-stream":{"schema":{"type":"string","format":"binary","maxLength":3}}}}"#;
    let api = Api::operation(V30, members, "");
    assert_eq!(
        code(&api.send(Some("application/octet-stream"), b"\xff\0\x01")),
        ""
    );
    assert_eq!(
        code(&api.send(Some("application/octet-stream"), b"\xff\0\x01\x02")),
        "body.invalid"
    );
}

#[test]
fn demanded_properties_are_declared() {
    let schema = r#"{"type":"object","properties":{"a":{}},"required":["b"]}"#;
    Api::body(V30, schema, "")
        .accepts(&[r#"{"b":1}"#])
        .refuses("body.undeclared", &[r#"{"b":1,"c":1}"#])
        .refuses("body.invalid", &["{}"]);
}

#[test]
fn branches_without_marks_are_told_apart_by_their_properties() {
    let one = r#"{"oneOf":[{"type":"object","properties":{"a":{}}},{"type":"object","properties":{"b":{}}}]}"#;
    Api::body(V30, one, "")
        .accepts(&[r#"{"a":1}"#, r#"{"b":1}"#])
        .refuses("body.invalid", &["{}", r#"{"a":1,"b":1}"#, r#"{"c":1}"#]);
    let mut lax = Api::body(V30, one, "");
    lax.policy.undeclared = RequestUndeclared::Allow;
    lax.refuses("body.invalid", &[r#"{"a":1}"#]);
}

#[test]
fn read_only_and_write_only() {
    let schema = r#"{"type":"object","required":["id","name","secret"],"properties":{"id":{"type":"integer","readOnly":true},"name":{"type":"string"},"secret":{"type":"string","writeOnly":true}}}"#;
    Api::body(V30, schema, "")
        .accepts(&[r#"{"name":"n","secret":"s"}"#])
        .refuses(
            "body.read_only",
            &[r#"{"id":1,"name":"n","secret":"s"}"#, r#"{"id":"x"}"#],
        )
        .refuses("body.invalid", &[r#"{"name":"n"}"#]);
    let split = r#"{"allOf":[{"properties":{"id":{"readOnly":true},"n":{"properties":{"at":{"readOnly":true}}}}},{"required":["id"]}]}"#;
    Api::body(V30, split, "")
        .accepts(&["{}", r#"{"n":{}}"#])
        .refuses(
            "body.read_only",
            &[r#"{"n":{"at":1}}"#, r#"{"n":{"\u0061t":1}}"#],
        );
    let mut lax = Api::body(V30, schema, "");
    lax.policy.undeclared = RequestUndeclared::Allow;
    lax.refuses("body.read_only", &[r#"{"id":1,"name":"n","secret":"s"}"#]);
}

#[test]
fn openapi_3_0() {
    Api::body(V30, r#"{"type":"string","nullable":true}"#, "")
        .accepts(&["null", "\"a\""])
        .refuses("body.invalid", &["1"]);
    Api::body(V30, r#"{"type":"string","nullable":true,"enum":["a"]}"#, "")
        .accepts(&["null", "\"a\""])
        .refuses("body.invalid", &["\"b\""]);
    Api::body(V30, r#"{"type":"string"}"#, "").refuses("body.invalid", &["null"]);
    Api::body(V31, r#"{"type":["string","null"]}"#, "")
        .accepts(&["null", "\"a\""])
        .refuses("body.invalid", &["1"]);
    Api::body(V31, r#"{"type":"string","nullable":true}"#, "").refuses("body.invalid", &["null"]);
    Api::body(V30, r#"{"type":"number","minimum":1,"exclusiveMinimum":true,"maximum":3,"exclusiveMaximum":true}"#, "")
        .accepts(&["1.001", "2", "2.999"]).refuses("body.invalid", &["1", "1.0", "3", "0", "4"]);
    Api::body(
        V30,
        r#"{"type":"number","minimum":1,"exclusiveMinimum":false}"#,
        "",
    )
    .accepts(&["1"])
    .refuses("body.invalid", &["0.99"]);
    Api::body(V31, r#"{"exclusiveMinimum":1}"#, "")
        .accepts(&["1.1", "\"x\""])
        .refuses("body.invalid", &["1"]);
    // Siblings of `$ref` are ignored in 3.0 and count in 3.1.
    let sibling = r##"{"$ref":"#/components/schemas/S","maxLength":1}"##;
    Api::body(V30, sibling, r#""S":{"type":"string"}"#).accepts(&["\"ab\""]);
    Api::body(V31, sibling, r#""S":{"type":"string"}"#)
        .accepts(&["\"a\""])
        .refuses("body.invalid", &["\"ab\"", "1"]);
}

#[test]
fn discriminators() {
    let schemas = r##""Cat":{"type":"object","required":["kind"],"properties":{"kind":{"type":"string"},"purr":{"type":"boolean"}}},"Dog":{"type":"object","required":["kind"],"properties":{"kind":{"type":"string"},"bark":{"type":"boolean"}}}"##;
    let implicit = r##"{"oneOf":[{"$ref":"#/components/schemas/Cat"},{"$ref":"#/components/schemas/Dog"}],"discriminator":{"propertyName":"kind"}}"##;
    Api::body(V30, implicit, schemas)
        .accepts(&[
            r#"{"kind":"Cat","purr":true}"#,
            r#"{"kind":"Dog","bark":true}"#,
            r#"{"kind":"Dog"}"#,
        ])
        .refuses(
            "body.invalid",
            &[
                r#"{"kind":"Cow"}"#,
                r#"{"purr":true}"#,
                r#"{"kind":1}"#,
                "{}",
                r#"{"kind":"Cat","purr":1}"#,
            ],
        )
        .refuses("body.undeclared", &[r#"{"kind":"Cat","bark":true}"#]);
    let mapped = r##"{"oneOf":[{"$ref":"#/components/schemas/Cat"},{"$ref":"#/components/schemas/Dog"}],"discriminator":{"propertyName":"kind","mapping":{"c":"#/components/schemas/Cat","d":"Dog"}}}"##;
    Api::body(V31, mapped, schemas)
        .accepts(&[r#"{"kind":"c","purr":true}"#, r#"{"kind":"d","bark":true}"#])
        .refuses("body.invalid", &[r#"{"kind":"Cat"}"#]);
    let base = r##""Pet":{"type":"object","required":["kind"],"properties":{"kind":{"type":"string"}},"discriminator":{"propertyName":"kind"}},"Cat":{"allOf":[{"$ref":"#/components/schemas/Pet"},{"properties":{"purr":{"type":"boolean"}}}]}"##;
    Api::body(V30, r##"{"$ref":"#/components/schemas/Pet"}"##, base)
        .accepts(&[r#"{"kind":"Cat","purr":true}"#, r#"{"kind":"Pet"}"#])
        .refuses(
            "body.invalid",
            &[r#"{"kind":"Dog"}"#, r#"{"kind":"Cat","purr":1}"#, "{}"],
        )
        .refuses(
            "body.undeclared",
            &[
                r#"{"kind":"Pet","purr":true}"#,
                r#"{"kind":"Cat","bark":1}"#,
            ],
        );
}

#[test]
fn cyclic_schemas() {
    let tree = r##""T":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/components/schemas/T"}}}}"##;
    Api::body(V30, r##"{"$ref":"#/components/schemas/T"}"##, tree)
        .accepts(&[r#"{"v":1,"kids":[{"v":2,"kids":[{}]}]}"#])
        .refuses("body.invalid", &[r#"{"kids":[{"kids":[{"v":"x"}]}]}"#])
        .refuses("body.undeclared", &[r#"{"kids":[{"kids":[{"w":1}]}]}"#]);
    // A circle that consumes nothing ends, and refuses.
    let circle = r##""A":{"anyOf":[{"$ref":"#/components/schemas/B"}]},"B":{"oneOf":[{"$ref":"#/components/schemas/A"}]}"##;
    let api = Api::body(V30, r##"{"$ref":"#/components/schemas/A"}"##, circle);
    assert_ne!(api.json("1"), "");
}

#[test]
fn the_strict_reader_guards_every_body() {
    let api = Api::body(V30, r#"{"type":"object"}"#, "");
    api.refuses(
        "body.duplicate_key",
        &[r#"{"a":1,"a":2}"#, r#"{"x":{"a":1,"\u0061":2}}"#],
    )
    .refuses(
        "body.malformed",
        &[
            "{",
            "{} x",
            "\u{feff}{}",
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
            " ",
        ],
    )
    .refuses("body.missing", &[""]);
    assert_eq!(
        code(&api.send(Some("application/json"), b"{\"a\":\"\xff\"}")),
        "body.malformed"
    );
    let deep = format!("{}1{}", "{\"a\":".repeat(33), "}".repeat(33));
    let fits = format!("{}1{}", "{\"a\":".repeat(32), "}".repeat(32));
    api.refuses("body.too_complex", &[&deep]).accepts(&[&fits]);
    let many: Vec<_> = (0..1_001).map(|n| format!("\"k{n}\":0")).collect();
    api.refuses("body.too_complex", &[&format!("{{{}}}", many.join(","))]);
    // The bound is each object's: a long list of small ones is no attack.
    let list = vec![r#"{"k":0,"l":0}"#; 600].join(",");
    api.accepts(&[&format!(r#"{{"a":[{list}]}}"#)]);
    let items = |count: usize| format!("{{\"a\":[{}]}}", vec!["0"; count].join(","));
    api.refuses("body.too_complex", &[&items(10_001)])
        .accepts(&[&items(10_000)]);
}

#[test]
fn numbers_are_exact() {
    Api::body(V30, r#"{"type":"integer","maximum":9007199254740993}"#, "")
        .accepts(&["9007199254740993"])
        .refuses("body.invalid", &["9007199254740994"]);
    Api::body(V30, r#"{"type":"number","multipleOf":0.1}"#, "")
        .accepts(&["0.3", "1.1", "100000.7"])
        .refuses("body.invalid", &["0.35"]);
    Api::body(V30, r#"{"type":"integer"}"#, "")
        .accepts(&["1.0", "1e2"])
        .refuses("body.invalid", &["1.5", "\"1\"", "true"]);
    Api::body(V30, r#"{"type":"integer","format":"int32"}"#, "")
        .accepts(&["2147483647"])
        .refuses("body.invalid", &["2147483648"]);
    Api::body(V30, r#"{"enum":[1,"a",{"b":[1]}]}"#, "")
        .accepts(&["1.0", "\"a\"", r#"{"b":[1.0]}"#])
        .refuses("body.invalid", &["2", "\"1\"", r#"{"b":[2]}"#]);
    Api::body(V30, r#"{"type":"string","minLength":2,"maxLength":2}"#, "")
        .accepts(&["\"😀é\""])
        .refuses("body.invalid", &["\"😀\"", "\"abc\""]);
    Api::body(V30, r#"{"type":"array","uniqueItems":true}"#, "")
        .accepts(&["[1,2]", r#"[{"a":1},{"a":2}]"#])
        .refuses(
            "body.invalid",
            &[
                "[1,1.0]",
                r#"[{"a":1,"b":2},{"b":2,"a":1}]"#,
                "[1,2,3,4,5,6,7,8,9,10,10.0]",
            ],
        );
}

#[test]
fn media_types() {
    let api = Api::body(V30, r#"{"type":"object"}"#, "");
    for (content_type, expect) in [
        (Some("application/json"), ""),
        (Some("Application/JSON; charset=UTF-8"), ""),
        (Some("application/json;charset=\"utf-8\""), ""),
        (
            Some("application/json; charset=latin1"),
            "charset.undeclared",
        ),
        (
            Some("application/json; charset=utf-16"),
            "charset.undeclared",
        ),
        (
            Some("application/json; charset=utf-8; charset=utf-8"),
            "content_type.undeclared",
        ),
        (
            Some("application/json, text/plain"),
            "content_type.undeclared",
        ),
        (Some("text/plain"), "content_type.undeclared"),
        (Some("application/problem+json"), "content_type.undeclared"),
        (Some("*/*"), "content_type.undeclared"),
        (Some("application/*"), "content_type.undeclared"),
        (Some(""), "content_type.undeclared"),
        (None, "content_type.undeclared"),
    ] {
        assert_eq!(
            code(&api.send(content_type, "{}")),
            expect,
            "{content_type:?}"
        );
    }
    let none = Api::operation(V30, r#""summary":"s""#, "");
    assert_eq!(
        code(&none.send(Some("application/json"), "{}")),
        "body.unexpected"
    );
    assert_eq!(code(&none.send(None, "")), "");
    let ranges = r#""requestBody":{"content":{"*/*":{"schema":{"type":"integer"}},"application/*":{"schema":{"type":"string"}},"application/vnd.a+json":{"schema":{"type":"boolean"}},"text/plain":{"schema":{"type":"string","maxLength":3}}}}"#;
    let api = Api::operation(V30, ranges, "");
    assert_eq!(code(&api.send(Some("application/json"), "\"a\"")), "");
    assert_eq!(
        code(&api.send(Some("application/vnd.b+json"), "true")),
        "body.invalid"
    );
    assert_eq!(code(&api.send(Some("application/vnd.a+json"), "true")), "");
    assert_eq!(code(&api.send(Some("text/plain"), "abc")), "");
    assert_eq!(code(&api.send(Some("text/plain"), "abcd")), "body.invalid");
    assert_eq!(
        code(&api.send(Some("text/plain"), b"\xff")),
        "body.malformed"
    );
    assert_eq!(code(&api.send(Some("image/png"), b"\x89PNG")), "");
    assert_eq!(code(&api.send(None, "")), "");
}

#[test]
fn urlencoded_forms() {
    let form = |schema: &str, more: &str| {
        let members = format!(
            r#""requestBody":{{"content":{{"application/x-www-form-urlencoded":{{"schema":{schema}{more}}}}}}}"#
        );
        Api::operation(V30, &members, "")
    };
    let send =
        |api: &Api, body: &str| code(&api.send(Some("application/x-www-form-urlencoded"), body));
    let schema = r#"{"type":"object","required":["a"],"properties":{"a":{"type":"integer"},"t":{"type":"array","items":{"type":"string"}},"o":{"type":"object","properties":{"k":{"type":"integer"}}},"f":{"type":"boolean"}}}"#;
    let api = form(schema, "");
    for (body, expect) in [
        ("a=1", ""),
        ("a=1&t=x&t=y&f=true", ""),
        ("a=1&t=x", ""),
        ("a=1&o%5Bk%5D=5", ""),
        ("a=1&o=%7B%22k%22%3A5%7D", ""),
        ("%61=1", ""),
        ("a=1x", "body.invalid"),
        ("t=x", "body.invalid"),
        ("a=1&f=yes", "body.invalid"),
        ("a=1&b=2", "body.undeclared"),
        ("a=1&b", "body.undeclared"),
        ("a=1&o%5Bz%5D=5", "body.undeclared"),
        ("a=1&a=2", "body.duplicate_key"),
        ("a=1&%61=2", "body.duplicate_key"),
        ("a=1&o%5Bk%5D=5&o%5Bk%5D=6", "body.duplicate_key"),
        ("a=%zz", "body.malformed"),
        ("a=%ff", "body.malformed"),
        ("a=%00", "body.malformed"),
        ("a=1;b=2", "body.malformed"),
        ("a=1\n", "body.malformed"),
        ("{\"a\": 1}", "body.malformed"),
    ] {
        assert_eq!(send(&api, body), expect, "{body}");
    }
    let listed = form(
        schema,
        r#","encoding":{"t":{"style":"form","explode":false}}"#,
    );
    assert_eq!(send(&listed, "a=1&t=x,y"), "");
    assert_eq!(send(&listed, "a=1&t=x&t=y"), "body.duplicate_key");
}

#[test]
fn multipart_forms() {
    let members = r#""requestBody":{"content":{"multipart/form-data":{"schema":{"type":"object","required":["n"],"properties":{"n":{"type":"integer"},"file":{"type":"string","format":"binary","maxLength":10},"meta":{"type":"object","properties":{"k":{"type":"string"}}},"tags":{"type":"array","items":{"type":"string"}}}},"encoding":{"file":{"contentType":"image/png, image/*"}}}}}"#;
    let api = Api::operation(V30, members, "");
    let n = "Content-Disposition: form-data; name=\"n\"\r\n\r\n5";
    let send = |parts: &[&str]| {
        let mut body = String::new();
        for part in parts {
            body.push_str(&format!("--B\r\n{part}\r\n"));
        }
        body.push_str("--B--\r\n");
        code(&api.send(Some("multipart/form-data; boundary=B"), body))
    };
    assert_eq!(send(&[n]), "");
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\nPNG"
        ]),
        ""
    );
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\nContent-Type: text/html\r\n\r\nPNG"
        ]),
        "content_type.undeclared"
    );
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"file\"\r\nContent-Type: image/gif\r\n\r\n12345678901"
        ]),
        "body.invalid"
    );
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n{\"k\":\"v\"}"
        ]),
        ""
    );
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"meta\"\r\n\r\n{\"k\":\"v\",\"k\":1}"
        ]),
        "body.duplicate_key"
    );
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"meta\"\r\n\r\n{\"z\":1}"
        ]),
        "body.undeclared"
    );
    assert_eq!(
        send(&[
            n,
            "Content-Disposition: form-data; name=\"tags\"\r\n\r\na",
            "Content-Disposition: form-data; name=\"tags\"\r\n\r\nb"
        ]),
        ""
    );
    assert_eq!(send(&[n, n]), "body.duplicate_key");
    assert_eq!(send(&[]), "body.invalid");
    assert_eq!(
        send(&["Content-Disposition: form-data; name=\"tags\"\r\n\r\na"]),
        "body.invalid"
    );
    assert_eq!(
        send(&[n, "Content-Disposition: form-data; name=\"z\"\r\n\r\na"]),
        "body.undeclared"
    );
    for part in [
        "Content-Disposition: form-data\r\n\r\n5",
        "Content-Disposition: form-data; name=\"\"\r\n\r\n5",
        "Content-Disposition: form-data; name=\"a\"; name=\"n\"\r\n\r\n5",
        "Content-Disposition: form-data; name=\"n\"; filename*=utf-7''x\r\n\r\n5",
        "Content-Disposition: form-data; name=\"n\"; filename*=utf-8''%ff\r\n\r\n5",
        "Content-Disposition: form-data; name=\"n\"; filename*=x\r\n\r\n5",
        "Content-Disposition: form-data; name*=utf-8''n\r\n\r\n5",
        "Content-Disposition: attachment; name=\"n\"\r\n\r\n5",
        "Content-Disposition: form-data; name=\"n\"\r\nContent-Disposition: form-data; name=\"m\"\r\n\r\n5",
        "Content-Disposition: form-data; name=\"n\"\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n5",
        "Content-Disposition: form-data; name=\"n\"\r\nContent-Transfer-Encoding: base64\r\n\r\nNQ==",
        "Content-Disposition: form-data; name=\"n\"\n\n5",
        "\r\n5",
    ] {
        assert_eq!(send(&[part]), "body.malformed", "{part}");
    }
    for (content_type, body) in [
        ("multipart/form-data", format!("--B\r\n{n}\r\n--B--\r\n")),
        (
            "multipart/form-data; boundary=\"a\u{1}\"",
            format!("--B\r\n{n}\r\n--B--\r\n"),
        ),
        (
            "multipart/form-data; boundary=B",
            format!("x\r\n--B\r\n{n}\r\n--B--\r\n"),
        ),
        (
            "multipart/form-data; boundary=B",
            format!("--B\r\n{n}\r\n--B--\r\ntail"),
        ),
        ("multipart/form-data; boundary=B", format!("--B\r\n{n}\r\n")),
        (
            "multipart/form-data; boundary=B",
            format!("--B\n{n}\n--B--\n"),
        ),
        (
            "multipart/form-data; boundary=B",
            format!("--Bx\r\n{n}\r\n--B--\r\n"),
        ),
    ] {
        let expect = if content_type.contains('\u{1}') {
            "content_type.undeclared"
        } else {
            "body.malformed"
        };
        assert_eq!(
            code(&api.send(Some(content_type), &body)),
            expect,
            "{content_type} {body}"
        );
    }
}

#[test]
fn messages_say_where_and_what_was_expected() {
    let schema = r#"{"type":"object","properties":{"items":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"}}}}}}"#;
    let api = Api::body(V30, schema, "");
    let found = api.send(
        Some("application/json"),
        r#"{"items":[{"name":"a"},{"name":5}]}"#,
    );
    assert_eq!(found[0].location, "body.items[1].name");
    assert_eq!(found[0].detail, "expected a string, found a number");
    let found = api.send(
        Some("application/json"),
        r#"{"items":[{"secret\u0007":1}]}"#,
    );
    assert_eq!(found[0].location, "body.items[0].secret\u{fffd}");
    let found = api.send(
        Some("application/json"),
        format!("{{\"items\":[{}]}}", vec!["1"; 100].join(",")),
    );
    assert_eq!(found.len(), 16);
    let one = r#"{"oneOf":[{"type":"object","required":["a"],"properties":{"a":{"type":"object","properties":{"b":{"type":"integer"}}}}},{"type":"object","required":["z"],"properties":{"z":{}}}]}"#;
    let found = Api::body(V30, one, "").send(Some("application/json"), r#"{"a":{"b":"x"}}"#);
    assert_eq!(found[0].location, "body.a.b");
}

#[test]
fn examples_are_valid() {
    for schema in [
        r#"{"type":"object","required":["a","b","c"],"properties":{"a":{"type":"integer","minimum":5,"multipleOf":5},"b":{"type":"string","format":"uuid"},"c":{"type":"array","minItems":2,"items":{"enum":["x","y"]}},"d":{"type":"string","readOnly":true}}}"#,
        r#"{"oneOf":[{"type":"string","pattern":"^[a-f0-9]{8}$"},{"type":"integer"}]}"#,
        r#"{"type":"number","exclusiveMinimum":0.5,"maximum":0.75}"#,
        r#"{"type":"string","minLength":40,"maxLength":40}"#,
        r#"{"type":"string","example":"given"}"#,
        r#"{"const":{"a":[1,null]}}"#,
        r#"{"allOf":[{"required":["a"]},{"properties":{"a":{"type":"boolean"}}}]}"#,
    ] {
        let api = Api::body(V31, schema, "");
        let id = api
            .first()
            .body
            .as_ref()
            .and_then(|body| body.media_types().next())
            .and_then(|media| media.schema);
        let example = api.description.schemas.example(id.expect("a schema"));
        if schema.contains("0.5") || schema.contains("const") {
            // Found or not, but never invalid.
            assert!(example.is_none_or(|example| api.json(&example).is_empty()));
            continue;
        }
        api.accepts(&[&example.unwrap_or_else(|| panic!("an example of {schema}"))]);
    }
}

#[test]
fn a_file_may_have_an_extended_name() {
    let members = r#""requestBody":{"content":{"multipart/form-data":{"schema":{"type":"object","properties":{"f":{"type":"string","format":"binary"}}}}}}"#;
    let api = Api::operation(V30, members, "");
    let ask = |disposition: &str| {
        let body =
            format!("--B\r\nContent-Disposition: form-data; {disposition}\r\n\r\nx\r\n--B--\r\n");
        code(&api.send(Some("multipart/form-data; boundary=B"), body))
    };
    assert_eq!(ask("name=\"f\"; filename*=UTF-8''na%C3%AFve.txt"), "");
    assert_eq!(ask("name=\"f\"; filename=\"n\"; filename*=utf-8'en'n"), "");
    assert_eq!(
        ask("name=\"f\"; filename*=utf-8''a; filename*=utf-8''b"),
        "body.malformed"
    );
    assert_eq!(ask("name=\"f\"; filename*=iso-8859-1''a"), "body.malformed");
    let dated = "filename=n; modification-date=\"Mon, 01 Jan 2024 00:00:00 GMT\"; size=1; name=f";
    assert_eq!(ask(dated), "");
    assert_eq!(ask("name=f; size=1; SIZE=2"), "body.malformed");
    assert_eq!(ask("name=f; other=1"), "body.malformed");
}

#[test]
fn a_list_that_may_be_null_is_still_a_list() {
    let schema = r#"{"type":"object","properties":{"l":{"type":"array","nullable":true,"items":{"type":"integer"}},"u":{"items":{"type":"integer"}},"o":{"properties":{"a":{"type":"integer"}}}}}"#;
    let members = format!(
        r#""requestBody":{{"content":{{"multipart/form-data":{{"schema":{schema}}},"application/x-www-form-urlencoded":{{"schema":{schema}}}}}}}"#
    );
    let api = Api::operation(V30, &members, "");
    let parts = |fields: &[(&str, &str)]| {
        let mut body = String::new();
        for (name, value) in fields {
            body += &format!(
                "--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        code(&api.send(Some("multipart/form-data; boundary=B"), body + "--B--\r\n"))
    };
    let form = |body: &str| code(&api.send(Some("application/x-www-form-urlencoded"), body));
    for name in ["l", "u"] {
        assert_eq!(parts(&[(name, "1"), (name, "2")]), "", "{name}");
        assert_eq!(parts(&[(name, "1")]), "", "{name}");
        assert_eq!(parts(&[(name, "1"), (name, "x")]), "body.invalid", "{name}");
        assert_eq!(form(&format!("{name}=1&{name}=2")), "", "{name}");
        assert_eq!(form(&format!("{name}=x")), "body.invalid", "{name}");
    }
    assert_eq!(parts(&[("o", r#"{"a":1}"#)]), "");
    assert_eq!(parts(&[("o", r#"{"z":1}"#)]), "body.undeclared");
}

#[test]
fn a_form_encodes_the_commas_of_a_list() {
    let members = r#""requestBody":{"content":{"application/x-www-form-urlencoded":{"schema":{"type":"object","properties":{"ids":{"type":"array","maxItems":2,"items":{"type":"integer"}}}},"encoding":{"ids":{"style":"form","explode":false}}}}}"#;
    let api = Api::operation(V30, members, "");
    let form = |body: &str| code(&api.send(Some("application/x-www-form-urlencoded"), body));
    assert_eq!(form("ids=1,2"), "");
    assert_eq!(form("ids=1%2C2"), "");
    assert_eq!(form("ids=1%2Cx"), "body.invalid");
    assert_eq!(form("ids=1%2C2%2c3"), "body.invalid");
}

#[test]
fn plain_text_is_held_to_its_schema_whatever_its_type() {
    let api = |schema: &str| {
        let members =
            format!(r#""requestBody":{{"content":{{"text/plain":{{"schema":{schema}}}}}}}"#);
        Api::operation(V30, &members, "")
    };
    let ask = |api: &Api, body: &str| code(&api.send(Some("text/plain"), body));
    let number = api(r#"{"type":"integer"}"#);
    assert_eq!(ask(&number, "5"), "");
    assert_eq!(ask(&number, "5x"), "body.invalid");
    let object = api(r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#);
    assert_eq!(ask(&object, r#"{"a":1}"#), "");
    assert_eq!(ask(&object, r#"{"a":1,"b":2}"#), "body.undeclared");
    assert_eq!(ask(&object, "a"), "body.malformed");
}

#[test]
fn a_range_lets_nothing_pass_that_its_schema_cannot_describe() {
    let members = r#""requestBody":{"content":{"*/*":{"schema":{"type":"object","properties":{"a":{"type":"integer"}}}}}}"#;
    let api = Api::operation(V30, members, "");
    for (media_type, body, expect) in [
        ("application/json", r#"{"a":1}"#, ""),
        ("application/json", r#"{"b":1}"#, "body.undeclared"),
        ("application/x-www-form-urlencoded", "a=1", ""),
        ("text/plain", r#"{"b":1}"#, "body.undeclared"),
        ("text/x", r#"{"b":1}"#, "content_type.undeclared"),
        ("application/x", r#"{"b":1}"#, "content_type.undeclared"),
    ] {
        assert_eq!(
            code(&api.send(Some(media_type), body)),
            expect,
            "{media_type}"
        );
    }
    let members = r#""requestBody":{"content":{"image/*":{"schema":{"type":"string","format":"binary"}},"application/xml":{"schema":{"type":"object"}}}}"#;
    let api = Api::operation(V30, members, "");
    assert_eq!(code(&api.send(Some("image/png"), b"\x89")), "");
    assert_eq!(code(&api.send(Some("application/xml"), "<a/>")), "");
}

#[test]
fn beside_a_reference_3_0_hears_null_and_direction_alone() {
    let schema = r##"{"type":"object","properties":{"n":{"$ref":"#/components/schemas/O","nullable":true},"p":{"$ref":"#/components/schemas/O"},"r":{"$ref":"#/components/schemas/O","readOnly":true},"i":{"$ref":"#/components/schemas/S","maxLength":1}}}"##;
    let schemas =
        r#""O":{"type":"object","properties":{"a":{"type":"integer"}}},"S":{"type":"string"}"#;
    Api::body(V30, schema, schemas)
        .accepts(&[r#"{"n":null}"#, r#"{"n":{"a":1}}"#, r#"{"i":"abc"}"#])
        .refuses("body.invalid", &[r#"{"p":null}"#, r#"{"n":{"a":"x"}}"#])
        .refuses("body.undeclared", &[r#"{"n":{"b":1}}"#])
        .refuses("body.read_only", &[r#"{"r":{"a":1}}"#]);
}

#[test]
fn bytes_without_a_name_are_held_to_their_length() {
    let members = r#""requestBody":{"content":{"application/octet-stream":{"schema":{"type":"string","format":"binary","maxLength":3}}}}"#;
    let api = Api::operation(V30, members, "");
    for media_type in [None, Some("application/octet-stream")] {
        assert_eq!(code(&api.send(media_type, b"\x00\xff")), "");
        assert_eq!(
            code(&api.send(media_type, b"\x00\xff\x00\xff")),
            "body.invalid"
        );
    }
}
