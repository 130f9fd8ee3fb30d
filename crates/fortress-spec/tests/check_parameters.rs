//! Parameters in every place and style.
#![expect(
    clippy::expect_used,
    clippy::too_many_lines,
    reason = "tests may fail, and tables may be long"
)]

mod check_support;

use check_support::{Api, code};
use fortress_model::config::{Cookies, RequestUndeclared};
use fortress_spec::RequestParts;
use http::HeaderMap;

#[test]
fn typed_coercion() {
    Api::query(r#""schema":{"type":"integer"}"#)
        .takes(&["", "p=5", "p=-5", "p=0", "%70=5"])
        .rejects(
            "parameter.invalid",
            &[
                "p=5x",
                "p=%2B5",
                "p=+5",
                "p=0x5",
                "p=5.0",
                "p=05",
                "p=%205",
                "p=5%20",
                "p=",
                "p",
                "p=5e1",
                "p=true",
                "p=null",
                "p=٥",
                "p=1,2",
                "p=99999999999999999999",
            ],
        );
    Api::query(r#""schema":{"type":"number"}"#)
        .takes(&["p=5", "p=5.0", "p=-1e3"])
        .rejects(
            "parameter.invalid",
            &["p=5.", "p=.5", "p=NaN", "p=1e999", "p=Infinity"],
        );
    Api::query(r#""schema":{"type":"boolean"}"#)
        .takes(&["p=true", "p=false"])
        .rejects("parameter.invalid", &["p=True", "p=1", "p=yes", "p="]);
    Api::query(r#""schema":{"type":"string","maxLength":3}"#)
        .takes(&["p=", "p", "p=abc", "p=12", "p=a+b", "p=a%20b"])
        .rejects("parameter.invalid", &["p=abcd"]);
    Api::query(r#""schema":{"type":"string","enum":["a","b"]}"#)
        .takes(&["p=a", "p=%61"])
        .rejects("parameter.invalid", &["p=c", "p=A"]);
    Api::query(r#""schema":{"oneOf":[{"type":"integer"},{"type":"string","enum":["all"]}]}"#)
        .takes(&["p=5", "p=all"])
        .rejects("parameter.invalid", &["p=some", "p=5.5"]);
    Api::query(
        r#""schema":{"anyOf":[{"type":"integer","maximum":9},{"type":"string","pattern":"^1"}]}"#,
    )
    .takes(&["p=5", "p=12"])
    .rejects("parameter.invalid", &["p=22"]);
    Api::query(r#""schema":{}"#).takes(&["p=5", "p=x"]);
    Api::query(r#""required":true,"schema":{"type":"string"}"#)
        .takes(&["p=x"])
        .rejects("parameter.missing", &["", "&"]);
    Api::query(r#""allowEmptyValue":true,"schema":{"type":"integer"}"#)
        .takes(&["p=", "p", "p=5"])
        .rejects("parameter.invalid", &["p=x"]);
}

#[test]
fn undeclared_and_duplicate() {
    let api = Api::query(r#""schema":{"type":"string"}"#);
    api.takes(&["", "p=1", "p=1&"])
        .rejects(
            "parameter.undeclared",
            &[
                "q=1",
                "p=1&q=1",
                "q",
                "p=1&q",
                "P=1",
                "%71=1",
                "p=1&=x",
                "p%5B%5D=1",
                "p[]=1",
                "p%20=1",
                "p=1?q=1&r=2",
            ],
        )
        .rejects(
            "parameter.duplicate",
            &["p=1&p=2", "p=1&p=1", "p=1&%70=2", "p&p"],
        )
        .rejects(
            "parameter.malformed",
            &[
                "p=1;q=2", "p;q=2", "p=%", "p=%zz", "p=%ff", "p=%00", "%zz=1", "p=%c0%80",
            ],
        );
    let mut lax = Api::query(r#""schema":{"type":"integer"}"#);
    lax.policy.undeclared = RequestUndeclared::Allow;
    lax.takes(&["q=1&p=2"])
        .rejects("parameter.invalid", &["q=1&p=x"])
        .rejects("parameter.malformed", &["q=%zz"]);
    let many: Vec<_> = (0..1_001).map(|n| format!("q{n}=1")).collect();
    api.rejects("parameter.malformed", &[&many.join("&")]);
    Api::query(r#""allowReserved":true,"schema":{"type":"string"}"#).takes(&["p=a;b/c?d"]);
}

#[test]
fn arrays() {
    let items = r#""schema":{"type":"array","items":{"type":"integer"},"maxItems":3}"#;
    Api::query(items).takes(&["p=1", "p=1&p=2"]).rejects(
        "parameter.invalid",
        &["p=1,2", "p=x", "p=1&p=x", "p=1&p=2&p=3&p=4"],
    );
    Api::query(&format!(r#""explode":false,{items}"#))
        .takes(&["p=1", "p=1,2", "p=1%2C2", "p="])
        .rejects(
            "parameter.invalid",
            &["p=1,x", "p=1,", "p=1|2", "p=1,2,3,4"],
        )
        .rejects("parameter.duplicate", &["p=1&p=2"]);
    Api::query(&format!(
        r#""style":"spaceDelimited","explode":false,{items}"#
    ))
    .takes(&["p=1%202", "p=1+2"])
    .rejects("parameter.invalid", &["p=1,2"]);
    Api::query(&format!(
        r#""style":"pipeDelimited","explode":false,{items}"#
    ))
    .takes(&["p=1|2", "p=1%7C2"])
    .rejects("parameter.invalid", &["p=1,2"]);
    let strings =
        r#""explode":false,"schema":{"type":"array","items":{"type":"string","maxLength":3}}"#;
    Api::query(strings)
        .takes(&["p=a,b", "p=a%2Cb"])
        .rejects("parameter.invalid", &["p=a,bcde"]);
}

#[test]
fn objects() {
    let object = r#""schema":{"type":"object","required":["r"],"properties":{"r":{"type":"integer"},"g":{"type":"string"},"l":{"type":"array","items":{"type":"integer"}}}}"#;
    Api::query(object)
        .takes(&["", "r=1", "r=1&g=x&l=1&l=2"])
        .rejects("parameter.invalid", &["r=x", "g=x"])
        .rejects("parameter.undeclared", &["r=1&b=2", "p=1"])
        .rejects("parameter.duplicate", &["r=1&r=2", "r=1&%72=2"]);
    Api::query(&format!(r#""explode":false,{object}"#))
        .takes(&["p=r,1", "p=r,1,g,x"])
        .rejects("parameter.undeclared", &["p=r,1,b,2", "r=1"])
        .rejects("parameter.malformed", &["p=r,1,g"])
        .rejects("parameter.duplicate", &["p=r,1,r,2"]);
    Api::query(&format!(r#""style":"deepObject",{object}"#))
        .takes(&[
            "p[r]=1",
            "p%5Br%5D=1&p[g]=x",
            "p[r]=1&p[l][]=1&p[l][]=2",
            "p[r]=1&p[l][0]=1&p[l][1]=2",
        ])
        .rejects("parameter.invalid", &["p[r]=x", "p[g]=x"])
        .rejects(
            "parameter.undeclared",
            &[
                "p[r]=1&p[b]=2",
                "p[r]=1&p[\u{62}]=2",
                "p[r]=1&q[r]=1",
                "p=1",
            ],
        )
        .rejects(
            "parameter.duplicate",
            &["p[r]=1&p[r]=2", "p[r]=1&p%5B%72%5D=2", "p[r]=1&p[r][x]=2"],
        )
        .rejects(
            "parameter.malformed",
            &["p[r=1", "p[r]x=1", "p[[r]]=1", "p[r]=%zz"],
        );
    let free = r#""style":"deepObject","schema":{"type":"object"}"#;
    let deep = |depth: usize| format!("p{}=1", "[a]".repeat(depth));
    Api::query(free)
        .takes(&["p[a][b]=1", &deep(32)])
        .rejects("parameter.malformed", &[&deep(33)]);
    let rest = r#""schema":{"type":"object","additionalProperties":{"type":"integer"}}"#;
    Api::query(rest)
        .takes(&["a=1&b=2"])
        .rejects("parameter.invalid", &["a=x"]);
}

#[test]
fn content_parameters() {
    let api = Api::query(
        r#""content":{"application/json":{"schema":{"type":"object","properties":{"a":{"type":"integer"}}}}}"#,
    );
    api.takes(&["p=%7B%22a%22%3A1%7D", "p={\"a\":1}"])
        .rejects("parameter.invalid", &["p={\"a\":\"x\"}", "p=1"])
        .rejects(
            "parameter.undeclared",
            &["p={\"b\":1}", "p={\"\\u0062\":1}"],
        )
        .rejects("parameter.duplicate", &["p={\"a\":1,\"a\":2}", "p={}&p={}"])
        .rejects(
            "parameter.malformed",
            &["p={", "p={}x", "p=", "p={\"a\":1e999}"],
        );
}

#[test]
fn paths() {
    let path = |style: &str, schema: &str, text: &str| {
        let api = Api::load(&format!(
            r#"{{"openapi":"3.0.3","info":{{"title":"t","version":"1"}},"paths":{{"/x/{{p}}":{{"get":{{"parameters":[{{"name":"p","in":"path","required":true,{style}"schema":{schema}}}],"responses":{{"default":{{"description":"d"}}}}}}}}}}}}"#
        ));
        let headers = HeaderMap::new();
        let values = [("p", text)];
        code(
            &api.request(&RequestParts {
                path_values: &values,
                query: None,
                headers: &headers,
            })
            .0,
        )
    };
    let integer = r#"{"type":"integer"}"#;
    let list = r#"{"type":"array","items":{"type":"integer"}}"#;
    let object =
        r#"{"type":"object","properties":{"r":{"type":"integer"},"g":{"type":"integer"}}}"#;
    let uuid = r#"{"type":"string","format":"uuid"}"#;
    for (style, schema, text, expect) in [
        ("", integer, "5", ""),
        ("", integer, "5x", "parameter.invalid"),
        ("", integer, "%35", ""),
        ("", integer, "+5", "parameter.invalid"),
        ("", integer, "%zz", "parameter.malformed"),
        ("", uuid, "123e4567-e89b-42d3-a456-426614174000", ""),
        (
            "",
            uuid,
            "123e4567-e89b-42d3-a456-42661417400",
            "parameter.invalid",
        ),
        ("", r#"{"type":"string"}"#, "a+b%20c", ""),
        ("", list, "1,2", ""),
        ("", list, "1,x", "parameter.invalid"),
        ("", object, "r,1,g,2", ""),
        ("", object, "r,1,b,2", "parameter.undeclared"),
        (r#""explode":true,"#, object, "r=1,g=2", ""),
        (
            r#""explode":true,"#,
            object,
            "r=1,r=2",
            "parameter.duplicate",
        ),
        (r#""style":"label","#, integer, ".5", ""),
        (r#""style":"label","#, integer, "5", "parameter.malformed"),
        (r#""style":"label","#, list, ".1,2", ""),
        (r#""style":"label","explode":true,"#, list, ".1.2", ""),
        (r#""style":"label","explode":true,"#, object, ".r=1.g=2", ""),
        (r#""style":"label","#, object, ".r,1,g,2", ""),
        (r#""style":"matrix","#, integer, ";p=5", ""),
        (
            r#""style":"matrix","#,
            integer,
            ";q=5",
            "parameter.malformed",
        ),
        (r#""style":"matrix","#, list, ";p=1,2", ""),
        (r#""style":"matrix","explode":true,"#, list, ";p=1;p=2", ""),
        (r#""style":"matrix","#, object, ";p=r,1,g,2", ""),
        (
            r#""style":"matrix","explode":true,"#,
            object,
            ";r=1;g=2",
            "",
        ),
        (
            r#""style":"matrix","explode":true,"#,
            object,
            ";r=1;z=2",
            "parameter.undeclared",
        ),
    ] {
        assert_eq!(path(style, schema, text), expect, "{style} {schema} {text}");
    }
}

fn with_headers(api: &Api, list: &[(&'static str, &str)]) -> (&'static str, Option<String>) {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, value.parse().expect("a value"));
    }
    let (found, cookie) = api.request(&RequestParts {
        path_values: &[],
        query: None,
        headers: &headers,
    });
    (code(&found), cookie)
}

#[test]
fn headers() {
    let api = Api::parameters(
        r#"{"name":"X-Count","in":"header","required":true,"schema":{"type":"integer"}},{"name":"X-List","in":"header","schema":{"type":"array","items":{"type":"integer"}}},{"name":"Authorization","in":"header","required":true,"schema":{"type":"integer"}},{"name":"accept","in":"header","required":true,"schema":{"type":"integer"}}"#,
    );
    for (list, expect) in [
        (&[("x-count", "5")][..], ""),
        (&[("x-count", "5"), ("x-list", "1, 2,3")], ""),
        (&[("x-count", "5"), ("x-list", "1"), ("x-list", "2")], ""),
        (
            &[
                ("x-count", "5"),
                ("accept", "x"),
                ("authorization", "y"),
                ("x-other", "z"),
            ],
            "",
        ),
        (&[], "parameter.missing"),
        (&[("x-count", "5x")], "parameter.invalid"),
        (&[("x-count", "%35")], "parameter.invalid"),
        (&[("x-count", "5"), ("x-count", "5")], "parameter.duplicate"),
        (&[("x-count", "5"), ("x-list", "1,x")], "parameter.invalid"),
    ] {
        assert_eq!(with_headers(&api, list).0, expect, "{list:?}");
    }
}

#[test]
fn cookies() {
    let mut api = Api::parameters(
        r#"{"name":"sid","in":"cookie","required":true,"schema":{"type":"string","pattern":"^[a-z]+$"}}"#,
    );
    let ask = |api: &Api, value: &str| with_headers(api, &[("cookie", value)]);
    assert_eq!(ask(&api, "sid=abc"), ("", None));
    assert_eq!(ask(&api, "x=1; sid=\"abc\"; {weird}"), ("", None));
    assert_eq!(ask(&api, "sid=ABC").0, "parameter.invalid");
    assert_eq!(ask(&api, "x=1").0, "parameter.missing");
    assert_eq!(ask(&api, "sid=abc; sid=abd").0, "parameter.duplicate");
    assert_eq!(ask(&api, "sid=\"abc").0, "parameter.malformed");
    assert_eq!(
        with_headers(&api, &[("cookie", "sid=abc"), ("cookie", "sid=abd")]).0,
        "parameter.duplicate"
    );
    assert_eq!(
        with_headers(&api, &[("cookie", "x=1"), ("cookie", "sid=abd")]).0,
        ""
    );
    api.policy.cookies = Cookies::Refuse;
    assert_eq!(ask(&api, "sid=abc; x=1").0, "cookie.undeclared");
    assert_eq!(ask(&api, "sid=abc").0, "");
    api.policy.cookies = Cookies::Drop;
    assert_eq!(
        ask(&api, "a=1; sid=abc; x=1"),
        ("", Some("sid=abc".to_owned()))
    );
    assert_eq!(ask(&api, "sid=abc"), ("", None));
}

#[test]
fn api_keys_are_declared() {
    let text = r#"{"openapi":"3.0.3","info":{"title":"t","version":"1"},"security":[{"k":[]},{"c":[]}],"paths":{"/x":{"get":{"responses":{"default":{"description":"d"}}}}},"components":{"securitySchemes":{"k":{"type":"apiKey","in":"query","name":"key"},"c":{"type":"apiKey","in":"cookie","name":"sid"}}}}"#;
    let mut api = Api::load(text);
    api.takes(&["key=a"])
        .rejects("parameter.undeclared", &["key=a&other=1", "Key=a"])
        .rejects("parameter.duplicate", &["key=a&key=b", "key=a&%6bey=b"]);
    api.policy.cookies = Cookies::Refuse;
    assert_eq!(with_headers(&api, &[("cookie", "sid=1")]).0, "");
    assert_eq!(
        with_headers(&api, &[("cookie", "other=1")]).0,
        "cookie.undeclared"
    );
}

#[test]
fn locations_name_the_parameter_and_never_the_value() {
    let found = Api::query(r#""schema":{"type":"integer"}"#).asked("p=secret");
    assert_eq!(found[0].location, "query.p");
    assert!(!found[0].detail.contains("secret"));
}

#[test]
fn objects_and_lists_may_be_cookies_of_their_own() {
    let api = Api::parameters(
        r#"{"name":"p","in":"cookie","schema":{"type":"object","required":["R"],"properties":{"R":{"type":"integer"},"G":{"type":"string"}}}},{"name":"l","in":"cookie","schema":{"type":"array","items":{"type":"integer"}}}"#,
    );
    let ask = |value: &str| with_headers(&api, &[("cookie", value)]).0;
    for cookies in [
        "R=1; G=x",
        "R=1; sid=other",
        "sid=other",
        "l=1; l=2",
        "l=1,2",
    ] {
        assert_eq!(ask(cookies), "", "{cookies}");
    }
    for cookies in ["R=x", "G=x", "l=1; l=x", "l=x"] {
        assert_eq!(ask(cookies), "parameter.invalid", "{cookies}");
    }
    assert_eq!(ask("R=1; R=2"), "parameter.duplicate");
    assert_eq!(ask("R=%zz"), "parameter.malformed");
    let api = Api::parameters(
        r#"{"name":"p","in":"cookie","required":true,"schema":{"type":"object","properties":{"R":{"type":"integer"}}}}"#,
    );
    assert_eq!(with_headers(&api, &[("cookie", "R=1")]).0, "");
    assert_eq!(
        with_headers(&api, &[("cookie", "sid=1")]).0,
        "parameter.missing"
    );
}

#[test]
fn a_list_inside_a_deep_object() {
    Api::query(
        r#""style":"deepObject","explode":true,"schema":{"type":"object","properties":{"l":{"type":"array","items":{"type":"integer"}},"s":{"type":"string"},"o":{"type":"object","properties":{"l":{"type":"array","items":{"type":"string"}}}}}}"#,
    )
    .takes(&[
        "p[l]=1",
        "p[l]=1&p[l]=2",
        "p[l][]=1&p[l][]=2",
        "p[l][0]=1&p[l][1]=2",
        "p[o][l]=a&p[o][l]=b",
    ])
    .rejects("parameter.invalid", &["p[l]=x", "p[l]=1&p[l]=x"])
    .rejects(
        "parameter.duplicate",
        &["p[s]=1&p[s]=2", "p[l]=1&p[l][]=2", "p[l][]=1&p[l]=2"],
    );
}

#[test]
fn keywords_tell_the_type_that_is_not_said() {
    Api::query(r#""schema":{"items":{"type":"integer"}}"#)
        .takes(&["p=1", "p=1&p=2"])
        .rejects("parameter.invalid", &["p=x", "p=1&p=x"]);
    Api::query(r#""schema":{"properties":{"a":{"type":"integer"}}}"#)
        .takes(&["a=1", ""])
        .rejects("parameter.invalid", &["a=x"])
        .rejects("parameter.undeclared", &["p=1"]);
}

#[test]
fn a_header_list_that_may_be_null_may_stand_in_several_fields() {
    let api = Api::parameters(
        r#"{"name":"X-A","in":"header","schema":{"type":"array","nullable":true,"items":{"type":"integer"}}}"#,
    );
    assert_eq!(with_headers(&api, &[("x-a", "1"), ("x-a", "2")]).0, "");
    assert_eq!(
        with_headers(&api, &[("x-a", "1"), ("x-a", "x")]).0,
        "parameter.invalid"
    );
}

#[test]
fn a_path_segment_hides_no_parameter_behind_a_semicolon() {
    let ask = |style: &str, value: &str| {
        let text = format!(
            r#"{{"openapi":"3.0.3","info":{{"title":"t","version":"1"}},"paths":{{"/x/{{p}}":{{"get":{{"parameters":[{{"name":"p","in":"path","required":true,"style":"{style}","schema":{{"type":"string"}}}}],"responses":{{"default":{{"description":"d"}}}}}}}}}}}}"#
        );
        let headers = HeaderMap::new();
        let api = Api::load(&text);
        let (found, _) = api.request(&RequestParts {
            path_values: &[("p", value)],
            query: None,
            headers: &headers,
        });
        code(&found)
    };
    assert_eq!(ask("matrix", ";p=a"), "");
    assert_eq!(ask("matrix", ";p=a;q=1"), "parameter.malformed");
    assert_eq!(ask("simple", "a"), "");
    assert_eq!(ask("simple", "a;q=1"), "parameter.malformed");
}
