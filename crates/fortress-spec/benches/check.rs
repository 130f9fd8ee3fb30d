//! What checking a typical request costs, the route aside.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests may fail"
)]

use std::{hint::black_box, io, path::Path};

use fortress_model::{
    Sources,
    config::{Cookies, RequestUndeclared, ResponseUndeclared},
};
use fortress_spec::{ApiDescription, Files, Policy, RequestParts, load};
use http::HeaderMap;

const POLICY: Policy = Policy {
    undeclared: RequestUndeclared::Refuse,
    cookies: Cookies::Allow,
    depth: 32,
    properties: 1_000,
    items: 10_000,
    parts: 1_000,
};

const DESCRIPTION: &str = r##"{"openapi":"3.0.3","info":{"title":"orders","version":"1"},"paths":{"/orders/{id}":{"put":{"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string","format":"uuid"}},{"name":"limit","in":"query","schema":{"type":"integer","minimum":1,"maximum":100}},{"name":"sort","in":"query","schema":{"type":"string","enum":["asc","desc"]}}],"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Order"}}}},"responses":{"200":{"description":"d","content":{"application/json":{"schema":{"$ref":"#/components/schemas/Order"}}}}}}}},"components":{"schemas":{"Order":{"type":"object","required":["customer","items"],"properties":{"id":{"type":"string","readOnly":true},"customer":{"type":"string","maxLength":100},"email":{"type":"string","format":"email"},"placed":{"type":"string","format":"date-time"},"note":{"type":"string","maxLength":500,"nullable":true},"items":{"type":"array","maxItems":100,"items":{"type":"object","required":["sku","count"],"properties":{"sku":{"type":"string","pattern":"^[A-Z]{2}-[0-9]{4}$"},"count":{"type":"integer","minimum":1},"price":{"type":"number","multipleOf":0.01}}}}}}}}}"##;

const BODY: &str = r#"{"customer":"Ada Lovelace","email":"ada@example.com","placed":"2026-01-01T12:00:00Z","note":null,"items":[{"sku":"AB-1234","count":2,"price":19.99},{"sku":"CD-5678","count":1,"price":5},{"sku":"EF-9012","count":10,"price":0.25}]}"#;

struct One;

impl Files for One {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(DESCRIPTION.to_owned())
    }
}

fn api() -> ApiDescription {
    let mut sources = Sources::default();
    load(Path::new("api.json"), &One, &mut sources)
        .description
        .expect("a description")
}

fn main() {
    divan::main();
}

/// Three parameters, no body.
#[divan::bench]
fn parameters(bencher: divan::Bencher<'_, '_>) {
    let api = api();
    let headers = HeaderMap::new();
    let values = [("id", "123e4567-e89b-42d3-a456-426614174000")];
    let request = RequestParts {
        path_values: &values,
        query: Some("limit=20&sort=asc"),
        headers: &headers,
    };
    bencher.bench_local(|| {
        let mut found = Vec::new();
        api.operations[0].check_parameters(&api.schemas, black_box(&request), &POLICY, &mut found);
        assert!(found.is_empty());
    });
}

/// 230 bytes of JSON with three nested objects.
#[divan::bench]
fn body(bencher: divan::Bencher<'_, '_>) {
    let api = api();
    bencher.bench_local(|| {
        let mut found = Vec::new();
        api.operations[0].check_body(
            &api.schemas,
            Some(b"application/json"),
            black_box(BODY.as_bytes()),
            &POLICY,
            &mut found,
        );
        assert!(found.is_empty());
    });
}

/// The same as a response, with nothing to drop.
#[divan::bench]
fn response(bencher: divan::Bencher<'_, '_>) {
    let api = api();
    bencher.bench_local(|| {
        let mut found = Vec::new();
        api.operations[0].check_response(
            &api.schemas,
            200,
            Some(b"application/json"),
            black_box(BODY.as_bytes()),
            ResponseUndeclared::Drop,
            &mut found,
        );
        assert!(found.is_empty());
    });
}
