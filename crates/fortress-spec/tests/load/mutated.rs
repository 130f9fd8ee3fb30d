//! Whatever is done to a description, the loader answers; it never panics.

use crate::support::load_files;
use proptest::prelude::*;

const OPENAPI: &str = r##"openapi: 3.1.0
info: {title: T, version: '1'}
servers: [{url: 'https://{h}/{v}', variables: {v: {default: v1, enum: [v1, v2]}, h: {default: a}}}]
security: [{key: []}]
paths:
  /a/{id}:
    parameters: [{$ref: '#/components/parameters/Id'}]
    x-fortress: {mode: monitor}
    get:
      operationId: getA
      parameters: [{name: q, in: query, style: deepObject, schema: {type: object, properties: {a: {type: string}}}}]
      responses: {'200': {description: d, content: {application/json: {schema: {$ref: '#/components/schemas/Node'}}}}}
    post:
      security: []
      requestBody: {required: true, content: {application/json: {schema: {$ref: other.yaml}}}}
      responses: {default: {description: d}}
components:
  parameters: {Id: {name: id, in: path, required: true, schema: {type: integer, minimum: 1}}}
  securitySchemes: {key: {type: apiKey, in: header, name: X-Key}}
  schemas:
    Node: {$anchor: n, type: object, properties: {next: {$ref: '#n'}, kind: {enum: [a, b]}}}
"##;

const SWAGGER: &str = r##"swagger: '2.0'
info: {title: T, version: '1'}
basePath: /v1
consumes: [application/json]
securityDefinitions: {o: {type: oauth2, flow: implicit, scopes: {r: x}}}
parameters: {Id: {name: id, in: path, required: true, type: string}}
paths:
  /a/{id}:
    parameters: [{$ref: '#/parameters/Id'}]
    post:
      parameters: [{name: b, in: body, schema: {$ref: '#/definitions/P'}}]
      responses: {'200': {description: d, schema: {type: file}, headers: {X: {type: array, items: {type: string}}}}}
    put:
      consumes: [multipart/form-data]
      parameters: [{name: f, in: formData, type: file}, {name: g, in: formData, type: array, items: {type: integer}}]
      responses: {default: {description: d}}
definitions: {P: {type: object, discriminator: k, properties: {k: {type: string, x-nullable: true}}}}
"##;

/// Words that mean something to the loader, put in the place of others.
const WORDS: &[&str] = &[
    "$ref",
    "$id",
    "$anchor",
    "#",
    "#/",
    "#/components/schemas/Node",
    "#/paths/~1a~1%7Bid%7D",
    "other.yaml",
    "../other.yaml",
    "openapi.yaml",
    "https://a/b",
    "null",
    "[]",
    "{}",
    "7",
    "true",
    "''",
    "{id}",
    "/",
    "in",
    "name",
    "schema",
    "content",
    "allOf: [{$ref: '#/components/schemas/Node'}]",
    "get",
    "default",
    "type",
    "\u{e9}",
    "~",
    "%",
];

fn mutate(text: &str, edits: &[(prop::sample::Index, usize, prop::sample::Index)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, length, word) in edits {
        let start = at.index(text.len().max(1)).min(text.len());
        let end = (start + length).min(text.len());
        text.splice(start..end, word.get(WORDS).chars());
    }
    text.into_iter().collect()
}

/// The values of `key: value` pairs exchanged, which keeps the document readable more often.
fn exchange(text: &str, one: prop::sample::Index, other: prop::sample::Index) -> String {
    let tokens: Vec<&str> = text
        .split_inclusive([' ', ',', '{', '}', '[', ']', '\n'])
        .collect();
    let (one, other) = (one.index(tokens.len()), other.index(tokens.len()));
    let mut tokens = tokens;
    tokens.swap(one, other);
    tokens.concat()
}

fn load_all(text: &str) {
    load_files(&[
        ("openapi.yaml", text),
        (
            "other.yaml",
            "{type: object, properties: {back: {$ref: 'openapi.yaml#/components/schemas/Node'}}}",
        ),
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn edits_are_survived(
        swagger: bool,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, any::<prop::sample::Index>()), 1..4),
    ) {
        load_all(&mutate(if swagger { SWAGGER } else { OPENAPI }, &edits));
    }

    #[test]
    fn exchanges_are_survived(swagger: bool, one: prop::sample::Index, other: prop::sample::Index) {
        load_all(&exchange(if swagger { SWAGGER } else { OPENAPI }, one, other));
    }
}

#[test]
fn the_originals_load() {
    for text in [OPENAPI, SWAGGER] {
        let (loaded, _) = load_files(&[("openapi.yaml", text), ("other.yaml", "{type: string}")]);
        assert!(loaded.description.is_some(), "{:?}", loaded.diagnostics);
    }
}
