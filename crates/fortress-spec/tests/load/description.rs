//! What the loader accepts, what it refuses, and where it says so.

use crate::support::{check_files, description, load_files, messages};
use fortress_spec::{Dialect, KeyLocation, Security, SecurityScheme};

const HEAD: &str = "openapi: 3.1.0\ninfo: {title: T, version: '1'}\n";

/// Demands exactly one message that contains `expect` (or none for `ok`) from a whole document.
#[track_caller]
fn check_document(text: &str, expect: &str) {
    check_files(&[("openapi.yaml", text)], expect);
}

/// The same for what follows `openapi` and `info`.
#[track_caller]
fn check(text: &str, expect: &str) {
    check_document(&format!("{HEAD}{text}"), expect);
}

/// The same for the inside of an operation, `get /a/{id}`, indented by four.
#[track_caller]
fn check_operation(text: &str, expect: &str) {
    check(
        &format!(
            "paths:\n  /a:\n   get:\n    responses: {{'200': {{description: d}}}}\n{text}\n\
             components:\n  securitySchemes:\n    key: {{type: apiKey, in: header, name: X-Key}}\n    \
             idp: {{type: oauth2, flows: {{implicit: {{scopes: {{read: r}}}}}}}}\n"
        ),
        expect,
    );
}

/// The same for one parameter of that operation.
#[track_caller]
fn check_parameter(text: &str, expect: &str) {
    check_operation(&format!("    parameters: [{text}]"), expect);
}

#[test]
fn versions() {
    let document = |version: &str| {
        format!(
            "{version}\ninfo: {{title: T, version: '1'}}\npaths:\n  /a: {{get: {{responses: {{'200': {{description: d}}}}}}}}\n"
        )
    };
    for version in ["3.0.0", "3.0.3", "3.0.4", "3.1.0", "3.1.1", "'3.0'", "3.1"] {
        check_document(&document(&format!("openapi: {version}")), "ok");
    }
    check_document(&document("swagger: '2.0'"), "ok");
    check_document(&document("swagger: 2.0"), "ok");
    check_document(
        &document("openapi: 3.2.0"),
        "warning openapi.yaml:1:10 OpenAPI `3.2.0` is read by the rules of 3.1",
    );
    check_document(
        &document("openapi: 4.0.0"),
        "error openapi.yaml:1:10 OpenAPI version `4.0.0` is not supported",
    );
    check_document(&document("openapi: 2.0"), "version `2.0` is not supported");
    check_document(&document("openapi: true"), "is not supported");
    check_document(&document("swagger: '1.2'"), "Swagger version `1.2`");
    check_document(&document("asyncapi: 3.0.0"), "AsyncAPI");
    check_document(&document("title: x"), "neither `openapi` nor `swagger`");
    check_document(
        "[]",
        "error openapi.yaml:1:1 an OpenAPI description is an object",
    );
    check_files(
        &[("a.json", "{\"openapi\": \"3.0.0\",}")],
        "error a.json:1:",
    );
    let (loaded, _) = load_files(&[("a.yaml", "a: b: c")]);
    assert!(loaded.description.is_none());
}

#[test]
fn the_dialect_follows_the_version() {
    let of = |version: &str| {
        let text = format!("{version}\ninfo: {{title: T, version: 7}}\npaths: {{}}\n");
        let description = description(&[("a.yaml", &text)]);
        assert_eq!(
            (description.title.as_str(), description.version.as_str()),
            ("T", "7")
        );
        description.dialect
    };
    assert_eq!(of("openapi: 3.0.1"), Dialect::V30);
    assert_eq!(of("openapi: 3.1.1"), Dialect::V31);
    assert_eq!(of("openapi: 3.2.0"), Dialect::V31);
    assert_eq!(of("swagger: '2.0'"), Dialect::V30);
}

#[test]
fn schema_dialects() {
    let with = |dialect: &str, expect: &str| {
        check(
            &format!(
                "jsonSchemaDialect: {dialect}\npaths: {{/a: {{get: {{responses: {{'200': {{description: d}}}}}}}}}}\n"
            ),
            expect,
        );
    };
    with("https://spec.openapis.org/oas/3.1/dialect/base", "ok");
    with("https://json-schema.org/draft/2020-12/schema", "ok");
    with(
        "http://json-schema.org/draft-07/schema#",
        "warning openapi.yaml:3:20 the schema dialect",
    );
}

#[test]
fn documents_without_operations() {
    check(
        "paths: {}\n",
        "warning openapi.yaml:3:8 the description declares no operation",
    );
    check(
        "components: {}\n",
        "warning openapi.yaml:1:1 the description has no `paths`",
    );
    check("", "error openapi.yaml:1:1 the description has no `paths`");
    check_document(
        "openapi: 3.0.0\ninfo: {title: t, version: v}\ncomponents: {}\n",
        "error openapi.yaml:1:1 the description has no `paths`",
    );
    check(
        "paths: []\n",
        "error openapi.yaml:3:8 `paths` should be an object, this is a list",
    );
    let (loaded, sources) = load_files(&[(
        "a.yaml",
        "openapi: 3.1.0\ninfo: {title: t, version: v}\nwebhooks: {}\npaths: {}\n",
    )]);
    assert!(
        messages(&loaded, &sources)
            .iter()
            .any(|message| message.contains("`webhooks`"))
    );
}

#[test]
fn paths() {
    let with = |path: &str, expect: &str| {
        check(
            &format!("paths:\n  {path}:\n    get: {{responses: {{'200': {{description: d}}}}}}\n"),
            expect,
        );
    };
    with("/a/b", "ok");
    with(
        "x-internal",
        "warning openapi.yaml:4:3 the description declares no operation",
    );
    let (loaded, sources) = load_files(&[(
        "openapi.yaml",
        &format!("{HEAD}paths:\n  a/b: {{get: {{}}}}\n"),
    )]);
    let messages = messages(&loaded, &sources);
    assert!(
        messages[0].contains(
            "error openapi.yaml:4:3 the path `a/b` does not begin with `/` (write `/a/b`)"
        ),
        "{messages:?}"
    );
}

#[test]
fn path_parameters_and_template_agree() {
    let with = |path: &str, parameters: &str, expect: &str| {
        check(
            &format!(
                "paths:\n  {path}:\n    get:\n      parameters: [{parameters}]\n      responses: {{'200': {{description: d}}}}\n"
            ),
            expect,
        );
    };
    let id = "{name: id, in: path, required: true, schema: {type: string}}";
    with("/a/{id}", id, "ok");
    with(
        "/a/{id}",
        "",
        "error openapi.yaml:5:5 the path parameter `id` of `/a/{id}` is not declared (add a parameter `id` with `in: path`)",
    );
    with(
        "/a",
        id,
        "error openapi.yaml:6:20 the path parameter `id` does not occur in `/a`",
    );
    with(
        "/a/{id}",
        "{name: id, in: path, schema: {type: string}}",
        "warning openapi.yaml:6:20 the path parameter `id` is not `required: true`",
    );
    with(
        "/a/{id}",
        "{name: id, in: query, schema: {type: string}}",
        "error openapi.yaml:5:5 the path parameter `id`",
    );
    let (loaded, sources) = load_files(&[(
        "openapi.yaml",
        &format!(
            "{HEAD}paths:\n  /a/{{orderId}}:\n    get:\n      parameters: [{{name: orderID, in: path, required: true, schema: {{}}}}]\n      responses: {{}}\n"
        ),
    )]);
    let messages = messages(&loaded, &sources);
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages[0].contains("`orderID` is declared; the names must be equal"),
        "{messages:?}"
    );
}

#[test]
fn parameters() {
    check_parameter("{name: q, in: query, schema: {type: string}}", "ok");
    check_parameter(
        "{name: q, in: query, content: {application/json: {schema: {type: object}}}}",
        "ok",
    );
    check_parameter(
        "{name: q, in: query}",
        "error openapi.yaml:7:18 the parameter `q` has neither `schema` nor `content`",
    );
    check_parameter(
        "{name: q, in: query, type: string}",
        "since OpenAPI 3 its `type`",
    );
    check_parameter(
        "{name: q, in: query, content: {}}",
        "has 0 media types instead of one",
    );
    check_parameter(
        "{name: q, in: query, content: {a/b: {}, c/d: {}}}",
        "has 2 media types instead of one",
    );
    check_parameter(
        "{name: q, in: query, schema: {}, content: {a/b: {}}}",
        "both `schema` and `content`",
    );
    check_parameter("{name: q, in: querry, schema: {}}", "did you mean `query`?");
    check_parameter(
        "{name: q, in: body, schema: {}}",
        "since OpenAPI 3 a body is declared as `requestBody`",
    );
    check_parameter("{name: q, in: 3, schema: {}}", "`in` should be a string");
    check_parameter("{name: q, schema: {}}", "this parameter has no `in`");
    check_parameter("{in: query, schema: {}}", "this parameter has no `name`");
    check_parameter(
        "{name: '', in: query, schema: {}}",
        "`name` should be a string that is not empty",
    );
    check_parameter("7", "a parameter should be an object, this is a number");
    check_parameter(
        "{name: q, in: query, schema: {type: string}}, {name: Q, in: query, schema: {type: string}}",
        "ok",
    );
    check_parameter(
        "{name: q, in: query, schema: {type: string}}, {name: q, in: query, schema: {type: string}}",
        "error openapi.yaml:7:64 the query parameter `q` is declared twice",
    );
    check_parameter(
        "{name: X-A, in: header, schema: {type: string}}, {name: x-a, in: header, schema: {type: string}}",
        "declared twice",
    );
    check_parameter(
        "{name: Authorization, in: header, schema: {type: string}}",
        "warning openapi.yaml:7:18 the header parameter `Authorization` is ignored",
    );
    check_parameter(
        "{name: q, in: query, schema: {type: string}, explod: true}",
        "warning openapi.yaml:7:63 unknown key `explod` is ignored (did you mean `explode`?)",
    );
    check_parameter(
        "{name: q, in: query, schema: {type: string}, x-explod: true, internal: yes}",
        "ok",
    );
    check_operation(
        "    parameters: {}",
        "`parameters` should be a list, this is an object",
    );
    check_operation("    parameters:", "warning");
}

#[test]
fn parameters_of_path_and_operation_are_merged() {
    let text = format!(
        "{HEAD}paths:\n  /a:\n    parameters:\n      - {{name: q, in: query, schema: {{type: string}}}}\n      - {{name: r, in: query, schema: {{type: string}}}}\n    get:\n      parameters:\n        - {{name: q, in: query, required: true, schema: {{type: integer}}}}\n      responses: {{'200': {{description: d}}}}\n"
    );
    let description = description(&[("a.yaml", &text)]);
    let mut names: Vec<_> = description.operations[0]
        .parameters
        .iter()
        .map(|parameter| (&*parameter.name, parameter.required))
        .collect();
    names.sort_unstable();
    assert_eq!(names, [("q", true), ("r", false)]);
}

#[test]
fn template_conflicts() {
    let two = |one: &str, other: &str, expect: &str| {
        let of = |name: &str, method: &str| {
            format!(
                "  /a/{{{name}}}:\n    {method}:\n      parameters: [{{name: {name}, in: path, required: true, schema: {{type: string}}}}]\n      responses: {{'200': {{description: d}}}}\n"
            )
        };
        check(
            &format!("paths:\n{}{}", of("x", one), of("y", other)),
            expect,
        );
    };
    two(
        "get",
        "get",
        "error openapi.yaml:9:5 `/a/{y}` matches the same paths as `/a/{x}`, both with `GET`",
    );
    two(
        "get",
        "put",
        "warning openapi.yaml:9:5 `/a/{y}` matches the same paths as `/a/{x}`",
    );
}

#[test]
fn operation_ids() {
    let two = |one: &str, other: &str, expect: &str| {
        check(
            &format!(
                "paths:\n  /a:\n    get: {{operationId: {one}, responses: {{'200': {{description: d}}}}}}\n    put: {{operationId: {other}, responses: {{'200': {{description: d}}}}}}\n"
            ),
            expect,
        );
    };
    two("one", "other", "ok");
    two(
        "one",
        "one",
        "error openapi.yaml:6:5 the operationId `one` is also that of `GET /a`",
    );
    two(
        "one",
        "''",
        "error openapi.yaml:6:24 `operationId` should be a string that is not empty",
    );
    let text = format!("{HEAD}paths:\n  /a: {{get: {{responses: {{}}}}}}\n");
    assert_eq!(
        &*description(&[("a.yaml", &text)]).operations[0].id,
        "GET /a"
    );
}

#[test]
fn request_bodies() {
    let with = |method: &str, body: &str, expect: &str| {
        check(
            &format!(
                "paths:\n  /a:\n    {method}:\n      requestBody: {body}\n      responses: {{'200': {{description: d}}}}\n"
            ),
            expect,
        );
    };
    let json = "{content: {application/json: {schema: {type: object}}}}";
    for method in ["post", "put", "patch", "delete", "options"] {
        with(method, json, "ok");
    }
    with(
        "get",
        json,
        "warning openapi.yaml:6:7 a body in a GET request",
    );
    with(
        "head",
        json,
        "warning openapi.yaml:6:7 a body in a HEAD request",
    );
    with(
        "trace",
        json,
        "error openapi.yaml:6:7 a TRACE request must not have a body",
    );
    with("post", "{content: {}}", "declares no media type");
    with(
        "post",
        "{required: true}",
        "this request body has no `content`",
    );
    with(
        "post",
        "7",
        "`requestBody` should be an object, this is a number",
    );
    with("post", "{contents: {a/b: {}}, content: {a/b: {}}}", "ok");
}

#[test]
fn responses() {
    let with = |responses: &str, expect: &str| {
        check(
            &format!("paths:\n  /a: {{get: {{responses: {responses}}}}}\n"),
            expect,
        );
    };
    with(
        "{'200': {description: d}, 4XX: {description: d}, default: {description: d}, x-a: 1}",
        "ok",
    );
    with("{200: {description: d}}", "ok");
    with(
        "{'600': {description: d}}",
        "error openapi.yaml:4:26 `600` is not a status",
    );
    with("{'20': {description: d}}", "is not a status");
    with("{Default: {description: d}}", "is not a status");
    with(
        "{'200': 7}",
        "a response should be an object, this is a number",
    );
    with("[]", "`responses` should be an object, this is a list");
    check(
        "paths:\n  /a:\n    get: {summary: s}\n",
        "warning openapi.yaml:5:5 this operation declares no `responses`",
    );
}

#[test]
fn security() {
    check_operation("    security: [{key: []}]", "ok");
    check_operation("    security: [{key: [], idp: [read]}, {}]", "ok");
    check_operation("    security: []", "ok");
    check_operation(
        "    security: [{keys: []}]",
        "error openapi.yaml:7:17 the security scheme `keys` is not declared (did you mean `key`?)",
    );
    check_operation(
        "    security: [{other: []}]",
        "declare it under `components.securitySchemes`",
    );
    check_operation(
        "    security: [{idp: [write]}]",
        "warning openapi.yaml:7:23 the scope `write` is demanded, but no flow",
    );
    check_operation(
        "    security: {key: []}",
        "`security` of this operation should be a list, this is an object (write `security: []` to declare it public)",
    );
    check_operation(
        "    security:",
        "`security` of this operation should be a list, this is null",
    );
    check_operation(
        "    security: [key]",
        "a security requirement should be an object, this is a string",
    );
    check_operation(
        "    security: [{key: }]",
        "scopes should be a list, this is null",
    );
    check_operation(
        "    security: [{idp: [7]}]",
        "a scope should be a string, this is a number",
    );
    check_operation(
        "    securty: []",
        "warning openapi.yaml:7:5 unknown key `securty` is ignored (did you mean `security`?)",
    );
}

#[test]
fn security_is_inherited_and_overridden() {
    let of = |root: &str, own: &str| {
        let text = format!(
            "{HEAD}{root}\npaths:\n  /a:\n    get:\n      responses: {{}}\n      {own}\ncomponents: {{securitySchemes: {{key: {{type: apiKey, in: cookie, name: sid}}}}}}\n"
        );
        description(&[("a.yaml", &text)]).operations[0]
            .security
            .clone()
    };
    let one = |schemes: &[&str]| {
        fortress_spec::Requirement(
            schemes
                .iter()
                .map(|name| ((*name).to_owned(), vec![]))
                .collect(),
        )
    };
    assert_eq!(of("", ""), Security::Undeclared);
    assert_eq!(of("security: []", ""), Security::Public);
    assert_eq!(
        of("security: [{key: []}]", ""),
        Security::AnyOf(vec![one(&["key"])])
    );
    assert_eq!(
        of("security: [{key: []}]", "security: []"),
        Security::Public
    );
    assert_eq!(
        of("security: []", "security: [{key: []}]"),
        Security::AnyOf(vec![one(&["key"])])
    );
    assert_eq!(of("", "security: [{}]"), Security::AnyOf(vec![one(&[])]));
}

#[test]
fn security_schemes() {
    let of = |scheme: &str| {
        let text = format!("{HEAD}paths: {{}}\ncomponents: {{securitySchemes: {{s: {scheme}}}}}\n");
        let (loaded, sources) = load_files(&[("a.yaml", &text)]);
        let messages = messages(&loaded, &sources);
        loaded
            .description
            .map(|description| description.security_schemes[0].1.clone())
            .ok_or_else(|| messages.join("\n"))
    };
    let key = |location| SecurityScheme::ApiKey {
        location,
        name: "k".to_owned(),
    };
    assert_eq!(
        of("{type: http, scheme: Bearer, bearerFormat: JWT}"),
        Ok(SecurityScheme::Bearer {
            format: Some("JWT".to_owned())
        })
    );
    assert_eq!(of("{type: http, scheme: basic}"), Ok(SecurityScheme::Basic));
    assert_eq!(
        of("{type: http, scheme: Digest}"),
        Ok(SecurityScheme::HttpOther("digest".to_owned()))
    );
    assert_eq!(
        of("{type: apiKey, in: query, name: k}"),
        Ok(key(KeyLocation::Query))
    );
    assert_eq!(
        of("{type: apiKey, in: header, name: k}"),
        Ok(key(KeyLocation::Header))
    );
    assert_eq!(
        of("{type: apiKey, in: cookie, name: k}"),
        Ok(key(KeyLocation::Cookie))
    );
    assert_eq!(of("{type: mutualTLS}"), Ok(SecurityScheme::MutualTls));
    assert_eq!(
        of("{type: openIdConnect, openIdConnectUrl: 'https://a/b'}"),
        Ok(SecurityScheme::OpenIdConnect {
            url: "https://a/b".to_owned()
        })
    );
    assert_eq!(
        of("{type: oauth2, flows: {implicit: {scopes: {b: x, a: x}}, password: {scopes: {a: x}}}}"),
        Ok(SecurityScheme::OAuth2 {
            scopes: vec!["a".to_owned(), "b".to_owned()]
        })
    );
    for (scheme, expect) in [
        (
            "{type: apikey, in: query, name: k}",
            "did you mean `apiKey`?",
        ),
        (
            "{type: apiKey, in: body, name: k}",
            "an API key cannot be in `body`",
        ),
        ("{type: apiKey, in: query}", "`name` is missing"),
        ("{type: http}", "`scheme` is missing"),
        ("{type: openIdConnect}", "`openIdConnectUrl` is missing"),
        ("{type: magic}", "unknown type `magic`"),
        ("{}", "`type` is missing"),
    ] {
        let message = of(scheme).expect_err("an error");
        assert!(
            message.contains(expect) && message.starts_with("error a.yaml:4:"),
            "{message}"
        );
    }
}

#[track_caller]
fn check_servers(servers: &str, expect: &[&str]) {
    let text = format!("{HEAD}servers: {servers}\npaths: {{}}\n");
    assert_eq!(description(&[("a.yaml", &text)]).base_paths, expect);
}

#[test]
fn servers() {
    check_servers("[]", &[""]);
    check_servers("[{url: /}]", &[""]);
    check_servers("[{url: /v1}]", &["/v1"]);
    check_servers("[{url: /v1/}]", &["/v1"]);
    check_servers("[{url: v1}]", &["/v1"]);
    check_servers("[{url: './v1'}]", &["/v1"]);
    check_servers("[{url: '../v1'}]", &["/v1"]);
    check_servers("[{url: 'https://a.example.com'}]", &[""]);
    check_servers(
        "[{url: 'https://a.example.com:8443/api/1.0/'}]",
        &["/api/1.0"],
    );
    check_servers("[{url: '//a.example.com/x'}]", &["/x"]);
    check_servers(
        "[{url: 'https://a/v1'}, {url: 'https://b/v1'}, {url: 'https://b/v2'}]",
        &["/v1", "/v2"],
    );
    check_servers(
        "[{url: 'https://a/%7eme/%c3%a9/a b'}]",
        &["/~me/%C3%A9/a%20b"],
    );
    check_servers("[{url: 'https://a/b/../c/./d//e'}]", &["/c/d/e"]);
    check_servers("[{url: 'https://a/b/%2e%2e/c'}]", &["/c"]);
    check_servers("[{url: 'https://{host}/v1'}]", &["/v1"]);
    check_servers(
        "[{url: 'https://a/{v}', variables: {v: {default: v1, enum: [v1, v2]}}}]",
        &["/v1", "/v2"],
    );
    check_servers(
        "[{url: '{root}/x', variables: {root: {default: 'https://a/b'}}}]",
        &["/b/x"],
    );
    check_servers(
        "[{url: 'https://a:{port}/v{n}', variables: {port: {default: 443}, n: {default: 1}}}]",
        &["/v1"],
    );
}

#[test]
fn servers_that_are_not_clear_are_refused() {
    let with = |servers: &str, expect: &str| {
        check(
            &format!(
                "servers: {servers}\npaths: {{/a: {{get: {{responses: {{'200': {{description: d}}}}}}}}}}\n"
            ),
            expect,
        );
    };
    with("[{url: /v1}]", "ok");
    with(
        "[{url: '/{v}'}]",
        "error openapi.yaml:3:17 the path of the server `/{v}` has a variable that is not declared",
    );
    with("[{url: '/%zz'}]", "broken percent-encoding");
    with("[{url: 7}]", "`url` should be a string, this is a number");
    with("[{}]", "this server has no `url`");
    with("{url: /}", "`servers` should be a list, this is an object");
    with(
        "[{url: '/v1?a=b'}]",
        "warning openapi.yaml:3:17 the query or fragment",
    );
    with(
        "[{url: '/{v}', variables: {v: {default: a, enum: [b]}}}]",
        "warning",
    );
    let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let many = many.join(",");
    with(
        &format!(
            "[{{url: '/{{a}}/{{b}}', variables: {{a: {{default: 1, enum: [{many}]}}, b: {{default: 1, enum: [{many}]}}}}}}]"
        ),
        "more than 1000 URLs",
    );
}

#[test]
fn servers_of_paths_and_operations() {
    let text = format!(
        "{HEAD}servers: [{{url: /root}}]\npaths:\n  /a:\n    servers: [{{url: /path}}]\n    get: {{responses: {{}}}}\n    put: {{servers: [{{url: /own}}], responses: {{}}}}\n  /b: {{get: {{responses: {{}}}}}}\n"
    );
    let description = description(&[("a.yaml", &text)]);
    let paths: Vec<_> = description
        .operations
        .iter()
        .map(|operation| description.base_paths_of(operation)[0].as_str())
        .collect();
    assert_eq!(paths, ["/path", "/own", "/root"]);
}

#[test]
fn extensions_are_kept() {
    let text = format!(
        "{HEAD}x-fortress: {{mode: monitor}}\npaths:\n  /a:\n    x-fortress: {{public: true}}\n    get: {{responses: {{}}}}\n    put: {{responses: {{}}, x-fortress: {{public: false}}}}\n"
    );
    let description = description(&[("a.yaml", &text)]);
    assert!(
        description
            .extension
            .as_ref()
            .is_some_and(|node| node.get("mode").is_some())
    );
    let public: Vec<Vec<Option<bool>>> = description
        .operations
        .iter()
        .map(|operation| {
            let values = operation.extension.iter();
            values.map(|node| node.get("public")?.as_bool()).collect()
        })
        .collect();
    assert_eq!(public, [vec![Some(true)], vec![Some(true), Some(false)]]);
    let posture = description.posture();
    assert_eq!(
        posture.public.iter().map(|id| &**id).collect::<Vec<_>>(),
        ["GET /a"]
    );
    assert_eq!(
        posture.undecided.iter().map(|id| &**id).collect::<Vec<_>>(),
        ["PUT /a"]
    );
}

#[test]
fn mistyped_keys() {
    check(
        "path: {}\npaths: {/a: {get: {responses: {'200': {description: d}}}}}\n",
        "ok",
    );
    check(
        "serverz: []\npaths: {/a: {get: {responses: {'200': {description: d}}}}}\n",
        "warning openapi.yaml:3:1 unknown key `serverz` is ignored (did you mean `servers`?)",
    );
    check_operation("    parametres: []", "did you mean `parameters`?");
    check_operation("    request_body: {}", "did you mean `requestBody`?");
    check_operation("    x-parametres: []", "ok");
    check_operation("    amazing: 7", "ok");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = format!(
        "{HEAD}paths:\n  a: {{}}\n  /b/{{x}}: {{get: {{responses: {{}}}}}}\n  /c: {{get: {{security: [{{no: []}}], responses: {{'9': {{}}}}}}}}\n"
    );
    let (loaded, sources) = load_files(&[("a.yaml", &text)]);
    let messages = messages(&loaded, &sources);
    assert!(
        messages
            .iter()
            .filter(|message| message.starts_with("error"))
            .count()
            >= 3,
        "{messages:#?}"
    );
}
