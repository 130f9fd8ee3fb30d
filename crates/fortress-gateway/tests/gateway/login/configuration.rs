//! Logins that could not work are told before anybody comes.

use fortress_gateway::{KeyRing, compile};
use fortress_model::config;

use crate::support::{COOKIE_KEY, Tokens, render};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: shop, version: "1" }
security: [{ login: [] }]
paths:
  /page: { get: { operationId: page, responses: { "200": { description: fine } } } }
components: { securitySchemes: { login: { type: openIdConnect, openIdConnectUrl: "https://idp.test" } } }
"#;

/// What `check` says of a configuration; empty if it is fine.
fn told(listen: &str, identity: &str, more: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "version: 1\nlisten: [{{ {listen} }}]\napis: {{ shop: {{ spec: openapi.yaml, upstream: \"http://127.0.0.1:1\", security: {{ login: web }} }} }}\nidentity:\n{identity}\n{more}\n"
    );
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    write("fortress.yaml", &text);
    write("openapi.yaml", DESCRIPTION);
    write("jwks.json", &Tokens::shared().jwks());
    let path = directory.path().join("fortress.yaml");
    let (config, mut sources, diagnostics) = config::load(&path, &|name| match name {
        "KEY" => Some(COOKIE_KEY.to_owned()),
        "SHORT" => Some("c2hvcnQ=".to_owned()),
        "WORDS" => Some("not base64 at all, and no key".to_owned()),
        _ => None,
    });
    let Some(config) = config else {
        return render(&diagnostics, &sources);
    };
    let compiled = compile(&config, &mut sources, &KeyRing::default(), 1);
    let told = render(&compiled.diagnostics, &sources);
    assert_eq!(compiled.gateway.is_some(), told.is_empty(), "{told}");
    told
}

const LOOPBACK: &str = "address: 127.0.0.1:0";

fn web(login: &str) -> String {
    format!("  web: {{ issuer: \"https://idp.test\", login: {{ client_id: web, {login} }} }}")
}

#[track_caller]
fn says(found: &str, part: &str) {
    assert!(found.contains(part), "{part}: {found}");
}

#[test]
fn a_login_that_works_is_fine() {
    assert_eq!(told(LOOPBACK, &web("key: env:KEY"), ""), "");
    assert_eq!(told("address: \"[::1]:0\"", &web("key: env:KEY"), ""), "");
}

#[test]
fn keys_are_32_bytes() {
    for key in ["SHORT", "WORDS"] {
        let found = told(LOOPBACK, &web(&format!("key: env:{key}")), "");
        says(&found, "`identity.web.login.key` is not 32 bytes");
        says(&found, "openssl rand -base64 32");
        let previous = web(&format!("key: env:KEY, previous_key: env:{key}"));
        let found = told(LOOPBACK, &previous, "");
        says(&found, "`identity.web.login.previous_key` is not");
    }
    says(&told(LOOPBACK, &web("key: env:ABSENT"), ""), "ABSENT");
}

#[test]
fn browsers_keep_sessions_over_tls_alone() {
    let plain = "address: 0.0.0.0:8080";
    let found = told(plain, &web("key: env:KEY"), "");
    says(&found, "does not work at `0.0.0.0:8080`");
    let proxied = "trusted_proxies: [10.0.0.0/8]";
    assert_eq!(told(plain, &web("key: env:KEY"), proxied), "");
    let named = web("key: env:KEY, origin: \"https://shop.test\"");
    assert_eq!(told(plain, &named, ""), "");
}

#[test]
fn what_is_not_discovered_is_written() {
    let with = |more: &str| {
        let login = format!("client_id: web, key: env:KEY{more}");
        let identity =
            format!("  web: {{ issuer: i, jwks: file:jwks.json, login: {{ {login} }} }}");
        told(LOOPBACK, &identity, "")
    };
    says(&with(""), "has no `authorization` and no `token`");
    let one = ", endpoints: { token: \"https://idp.test/t\" }";
    says(&with(one), "has no `authorization`,");
    let both =
        ", endpoints: { token: \"https://idp.test/t\", authorization: \"https://idp.test/a\" }";
    assert_eq!(with(both), "");
}

#[test]
fn no_two_pages_have_one_path() {
    let other = "  other: { issuer: \"https://b.test\", login: { client_id: web, key: env:KEY";
    let both = format!("{}\n{other} }} }}", web("key: env:KEY"));
    let found = told(LOOPBACK, &both, "");
    says(
        &found,
        "`identity.other.login` has two pages at `/_session/login`",
    );
    let both = format!("{}\n{other}, path: /_other }} }}", web("key: env:KEY"));
    assert_eq!(told(LOOPBACK, &both, ""), "");
    let found = told(LOOPBACK, &web("key: env:KEY, logout: /_session/login"), "");
    says(&found, "two pages at `/_session/login`");
    let found = told(LOOPBACK, &web("key: env:KEY, callback: /"), "");
    says(&found, "a page of the API's");
    let found = told(LOOPBACK, &web("key: env:KEY, callback: /page"), "");
    says(&found, "operation `page` of API `shop` is at `/page`");
}
