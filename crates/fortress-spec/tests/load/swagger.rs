//! Swagger 2.0: what becomes of each of its words.

use crate::support::{check_files, description, load_files, messages};
use fortress_spec::{ApiDescription, Security, SecurityScheme};

const HEAD: &str = "swagger: '2.0'\ninfo: {title: T, version: '1'}\n";

/// A document with `post /a`, whose inside is `operation`.
fn document(root: &str, operation: &str) -> String {
    format!("{HEAD}{root}paths:\n  /a:\n    post:\n      operationId: one\n{operation}\n")
}

fn one(root: &str, operation: &str) -> ApiDescription {
    let text = document(root, operation);
    let operation = "      responses: {'200': {description: d}}\n";
    let text = if text.contains("responses") {
        text
    } else {
        format!("{text}{operation}")
    };
    description(&[("a.yaml", &text)])
}

#[track_caller]
fn check(operation: &str, expect: &str) {
    let operation = format!("      responses: {{'200': {{description: d}}}}\n{operation}");
    check_files(&[("a.yaml", &document("", &operation))], expect);
}

fn media_types(description: &ApiDescription) -> Vec<String> {
    let body = description.operations[0].body.as_ref().expect("a body");
    body.media_types()
        .map(|media_type| media_type.name.to_string())
        .collect()
}

#[test]
fn host_base_path_and_schemes() {
    let of = |root: &str| one(root, "").base_paths;
    assert_eq!(of(""), [""]);
    assert_eq!(of("basePath: /v1/\n"), ["/v1"]);
    assert_eq!(
        of("host: a.example.com\nbasePath: v1\nschemes: [http, https]\n"),
        ["/v1"]
    );
    let text = document(
        "basePath: 7\n",
        "      responses: {'200': {description: d}}",
    );
    check_files(
        &[("a.yaml", &text)],
        "error a.yaml:3:11 `basePath` should be a string",
    );
}

#[test]
fn bodies() {
    let body = "      parameters: [{name: b, in: body, required: true, schema: {$ref: '#/definitions/Pet'}}]";
    let definitions = "definitions: {Pet: {type: object, properties: {name: {type: string}}}}\n";
    let of =
        |root: &str, extra: &str| one(&format!("{definitions}{root}"), &format!("{body}\n{extra}"));
    assert_eq!(media_types(&of("", "")), ["application/json"]);
    assert_eq!(
        media_types(&of("consumes: [application/xml]\n", "")),
        ["application/xml"]
    );
    assert_eq!(
        media_types(&of(
            "consumes: [application/xml]\n",
            "      consumes: [application/json, text/plain]\n"
        )),
        ["application/json", "text/plain"]
    );
    let description = of("", "");
    let body = description.operations[0].body.as_ref().expect("a body");
    assert!(body.required);
    let schema = body
        .media_types()
        .next()
        .and_then(|media_type| media_type.schema)
        .expect("a schema");
    let properties = description.schemas.properties(schema);
    assert_eq!(
        properties
            .iter()
            .map(|property| &*property.name)
            .collect::<Vec<_>>(),
        ["name"]
    );
}

#[test]
fn bodies_that_are_not_clear_are_refused() {
    let schema = "schema: {type: object}";
    check(
        &format!("      parameters: [{{name: b, in: body, {schema}}}]"),
        "ok",
    );
    check(
        "      parameters: [{name: b, in: body}]",
        "error a.yaml:8:20 this body parameter has no `schema`",
    );
    check(
        &format!(
            "      parameters: [{{name: b, in: body, {schema}}}, {{name: c, in: body, {schema}}}]"
        ),
        "only one parameter with `in: body`",
    );
    check(
        &format!(
            "      parameters: [{{name: b, in: body, {schema}}}, {{name: c, in: formData, type: string}}]"
        ),
        "in `body` and in `formData`",
    );
    check(
        "      parameters: [{name: c, in: formData, type: string}, {name: c, in: formData, type: string}]",
        "declared twice",
    );
    check(
        "      parameters: [{name: c, in: formData}]",
        "has no `type`",
    );
    check(
        "      parameters: [{in: formData, type: string}]",
        "has no `name`",
    );
    check(
        "      parameters: [{name: b, in: body, schema: {$ref: '#/definitions/No'}}]",
        "leads nowhere",
    );
}

#[test]
fn forms() {
    let text = "      parameters:\n        - {name: a, in: formData, type: string, required: true}\n        - {name: b, in: formData, type: array, items: {type: integer}, collectionFormat: multi}\n";
    let plain = one("", text);
    assert_eq!(media_types(&plain), ["application/x-www-form-urlencoded"]);
    let body = plain.operations[0].body.as_ref().expect("a body");
    assert!(body.required);
    let schema = body
        .media_types()
        .next()
        .and_then(|media_type| media_type.schema)
        .expect("a schema");
    let properties = plain.schemas.properties(schema);
    let seen: Vec<_> = properties
        .iter()
        .map(|property| (&*property.name, property.required))
        .collect();
    assert_eq!(seen, [("a", true), ("b", false)]);
    let file = format!("{text}        - {{name: f, in: formData, type: file}}\n");
    assert_eq!(media_types(&one("", &file)), ["multipart/form-data"]);
    let consumes =
        "consumes: [application/x-www-form-urlencoded, multipart/form-data, application/json]\n";
    assert_eq!(
        media_types(&one(consumes, text)),
        ["application/x-www-form-urlencoded", "multipart/form-data"]
    );
    assert_eq!(media_types(&one(consumes, &file)), ["multipart/form-data"]);
}

#[test]
fn parameters() {
    let with =
        |parameter: &str, expect: &str| check(&format!("      parameters: [{parameter}]"), expect);
    with(
        "{name: q, in: query, type: integer, format: int32, minimum: 1}",
        "ok",
    );
    with(
        "{name: q, in: query, type: array, items: {type: string}}",
        "ok",
    );
    with(
        "{name: q, in: query, type: array, items: {type: string}, collectionFormat: ssv}",
        "ok",
    );
    with(
        "{name: q, in: query, type: array, items: {type: string}, collectionFormat: pipes}",
        "ok",
    );
    with(
        "{name: q, in: query, type: array, items: {type: string}, collectionFormat: multi}",
        "ok",
    );
    with(
        "{name: q, in: query, type: array, items: {type: string}, collectionFormat: tsv}",
        "error a.yaml:8:95 `collectionFormat: tsv` cannot be checked in `query`",
    );
    with(
        "{name: X-Q, in: header, type: array, items: {type: string}, collectionFormat: multi}",
        "cannot be checked in `header`",
    );
    with("{name: q, in: query}", "error");
    with(
        "{name: q, in: query, type: string, defualt: x}",
        "warning a.yaml:8:55 unknown key `defualt` is ignored (did you mean `default`?)",
    );
    with("{$ref: '#/parameters/No'}", "leads nowhere");
}

#[test]
fn shared_parameters_and_responses() {
    let text = format!(
        "{HEAD}parameters:\n  Id: {{name: id, in: path, required: true, type: string, maxLength: 9}}\n  Body: {{name: b, in: body, schema: {{type: object}}}}\nresponses:\n  Fine: {{description: d, schema: {{type: string}}, headers: {{X-A: {{type: integer}}}}}}\npaths:\n  /a/{{id}}:\n    parameters: [{{$ref: '#/parameters/Id'}}, {{$ref: '#/parameters/Body'}}]\n    put:\n      operationId: one\n      responses: {{'200': {{$ref: '#/responses/Fine'}}}}\n    post:\n      operationId: two\n      parameters: [{{name: c, in: body, schema: {{type: array, items: {{}}}}}}]\n      responses: {{default: {{description: d}}}}\n"
    );
    let description = description(&[("a.yaml", &text)]);
    for id in ["one", "two"] {
        let operation = description.operation(id).expect("the operation");
        assert_eq!(operation.parameters.iter().count(), 1);
        assert!(operation.body.is_some());
    }
}

#[test]
fn across_files() {
    let root = format!("{HEAD}paths:\n  /a: {{$ref: 'paths.yaml#/a'}}\n");
    let paths = "a:\n  post:\n    operationId: one\n    parameters:\n      - {$ref: '#/parameters/B'}\n      - {name: q, in: query, type: string}\n    responses: {'200': {description: d, schema: {$ref: 'more.yaml#/definitions/P'}}}\nparameters:\n  B: {name: b, in: body, schema: {$ref: 'more.yaml#/definitions/P'}}\n";
    let more = "definitions: {P: {type: object, discriminator: kind, required: [kind], properties: {kind: {type: string}}}}";
    let description = description(&[
        ("a.yaml", &root),
        ("paths.yaml", paths),
        ("more.yaml", more),
    ]);
    let operation = description.operation("one").expect("the operation");
    assert_eq!(operation.parameters.iter().count(), 1);
    assert!(operation.body.is_some());
}

#[test]
fn security_definitions() {
    let text = format!(
        "{HEAD}securityDefinitions:\n  b: {{type: basic}}\n  k: {{type: apiKey, in: header, name: X-K}}\n  o: {{type: oauth2, flow: accessCode, authorizationUrl: u, tokenUrl: t, scopes: {{r: x}}}}\nsecurity: [{{o: [r]}}]\npaths:\n  /a: {{get: {{responses: {{'200': {{description: d}}}}}}}}\n"
    );
    let loaded = description(&[("a.yaml", &text)]);
    assert_eq!(loaded.security_scheme("b"), Some(&SecurityScheme::Basic));
    assert!(matches!(
        loaded.security_scheme("k"),
        Some(SecurityScheme::ApiKey { .. })
    ));
    assert_eq!(
        loaded.security_scheme("o"),
        Some(&SecurityScheme::OAuth2 {
            scopes: vec!["r".to_owned()]
        })
    );
    assert!(matches!(loaded.operations[0].security, Security::AnyOf(_)));
    check_files(
        &[("a.yaml", &text.replace("[{o: [r]}]", "[{p: [r]}]"))],
        "the security scheme `p` is not declared",
    );
}

#[test]
fn words_of_2_0_inside_schemas() {
    let schema = "{type: object, discriminator: kind, required: [kind], properties: {kind: {type: string}, n: {type: string, x-nullable: true}}}";
    check(
        &format!("      parameters: [{{name: b, in: body, schema: {schema}}}]"),
        "ok",
    );
    let text = document(
        "",
        "      produces: [image/png]\n      responses: {'200': {description: d, schema: {type: file}}}",
    );
    check_files(&[("a.yaml", &text)], "ok");
}

#[test]
fn mistakes_keep_their_places() {
    let text = format!(
        "{HEAD}paths:\n  /a/{{id}}:\n    get:\n      parameters: [{{name: no, in: path, required: true, type: string}}]\n      responses: {{'200': {{description: d}}}}\n"
    );
    let (loaded, sources) = load_files(&[("a.yaml", &text)]);
    let messages = messages(&loaded, &sources);
    assert!(
        messages[0].starts_with("error a.yaml:5:5 the path parameter `id`"),
        "{messages:?}"
    );
    assert!(
        messages[1].starts_with("error a.yaml:6:20 the path parameter `no`"),
        "{messages:?}"
    );
}
