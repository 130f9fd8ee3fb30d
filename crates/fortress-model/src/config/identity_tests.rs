//! What the loader makes of identities, and of what upstreams are told.

use std::time::Duration;

use super::{
    Demand, Dpop, Forward, IdentityKind, JournalSink, JwksSource, KeySource, PrincipalField,
    SecretSource, Serve, StorePlace, WebhookPreset, WhichTokens,
    tests::{WHOLE, fine, root, try_load},
};

#[test]
fn every_key_of_an_identity_is_understood() {
    let config = fine(WHOLE);
    let issuer = |index: usize| config.identity[index].issuer().unwrap();
    let idp = issuer(0);
    assert_eq!(idp.issuer.value, "https://from.file");
    let KeySource::Jwks(jwks) = &idp.keys else {
        panic!()
    };
    assert_eq!(
        jwks.value,
        JwksSource::Url("https://idp.example.com/keys?v=1".into())
    );
    assert_eq!(
        (idp.leeway, issuer(1).leeway),
        (Duration::ZERO, Duration::from_secs(30))
    );
    assert_eq!(idp.claims.scope.as_deref(), Some("realm.scopes"));
    assert_eq!(idp.claims.tenant.as_deref(), Some("org_id"));
    assert_eq!(idp.certificate_bound, Demand::Required);
    assert_eq!(idp.dpop.mode, Demand::Required);
    assert_eq!(issuer(1).dpop, Dpop::default());
    let introspection = idp.introspection.as_ref().unwrap();
    assert_eq!(introspection.tokens, WhichTokens::All);
    assert_eq!(introspection.client_secret.expose(), "from env");
    let other = issuer(2);
    assert!(matches!(other.keys, KeySource::Discovery));
    assert_eq!(
        (other.dpop.mode, other.dpop.window, other.dpop.nonce),
        (Demand::Accepted, Duration::from_secs(30), true)
    );
    let login = other.login.as_ref().unwrap();
    assert_eq!(login.scopes, ["openid", "email"]);
    assert_eq!(login.callback.value, "/account/callback");
    assert_eq!(
        (login.login_path.value.as_str(), login.logout.value.as_str()),
        ("/account/login", "/bye")
    );
    assert_eq!(login.origin.as_deref(), Some("https://shop.example.com"));
    assert!(login.secret_in_form && !login.logout_at_issuer);
    assert_eq!(
        (login.prompt, login.after_logout.as_str()),
        (Some("login"), "/")
    );
    let (hour, minutes) = (Duration::from_secs(3600), Duration::from_secs(600));
    assert_eq!((login.absolute, login.idle), (hour, minutes));
    let endpoint = login.endpoints.authorization.as_deref();
    assert_eq!(endpoint, Some("https://a.example/auth?x=1"));
    assert!(matches!(issuer(3).keys, KeySource::Secret(_)));
    let kinds: Vec<_> = config.identity.iter().skip(4).collect();
    assert!(matches!(&kinds[0].kind, IdentityKind::ApiKey(keys)
        if keys.header.as_ref().unwrap().value == "x-api-key"));
    assert!(matches!(&kinds[1].kind, IdentityKind::Certificate(of) if of.san.len() == 2));
    assert!(matches!(&kinds[2].kind, IdentityKind::Basic(basic)
        if basic.cache == Duration::from_secs(30)));
    assert!(matches!(&kinds[3].kind, IdentityKind::Signature(of)
        if of.replay && of.components.len() == 2));
    assert!(matches!(&kinds[4].kind, IdentityKind::Webhook(hook)
        if hook.preset == Some(WebhookPreset::Github) && hook.secrets.len() == 1));
    assert!(matches!(config.journal[0], JournalSink::File(_)));
    assert!(matches!(config.journal[1], JournalSink::Stdout));
}

#[test]
fn both_kinds_of_store_are_understood() {
    let store = fine(WHOLE).store.unwrap();
    let StorePlace::Postgres { url, ca } = &store.place.value else {
        panic!()
    };
    assert!(url.expose().ends_with("@db.example.com/fortress"));
    assert!(ca.as_ref().unwrap().ends_with("ca.pem"));
    assert!(matches!(&store.key.value, SecretSource::File(path) if path.ends_with("store.key")));
    assert!(matches!(store.pepper.value, SecretSource::Value(_)));
    assert!(!format!("{store:?}").contains("hunter2"));

    let config = fine(&root(
        "store: { embedded: a.db, key: file:b.key, pepper: file:c.key }",
    ));
    let place = config.store.unwrap().place.value;
    assert!(matches!(place, StorePlace::Embedded(path) if path.ends_with("a.db")));
    // What is written to, and what may not be there yet, is not watched.
    assert_eq!(config.files.len(), 1);
}

#[test]
fn every_key_of_what_upstreams_are_told_is_understood() {
    let config = fine(WHOLE);
    let told = &config.apis[0].upstream.identity;
    assert_eq!(told.forward, Forward::InternalJwt);
    assert_eq!(told.headers[0].0.value, "x-user-id");
    assert_eq!(told.headers[1].1, PrincipalField::Claim("org.name".into()));
    assert_eq!(told.lifetime, Some(Duration::from_secs(30)));
    assert_eq!(config.apis[1].upstream.identity.forward, Forward::Token);
    let exchanged = &config.apis[2].upstream.identity;
    assert_eq!(exchanged.forward, Forward::Exchange);
    assert_eq!(exchanged.exchange.as_ref().unwrap().scopes, ["a"]);
    assert_eq!(config.internal_tokens.issuer, "edge");
    let Serve::Apis { tls: Some(tls), .. } = &config.listen[0].serve else {
        panic!()
    };
    let clients = tls.clients.as_ref().unwrap();
    assert_eq!((clients.ca.len(), clients.crl.len()), (2, 1));
    assert!(clients.required);
}

#[test]
fn a_login_says_what_is_wrong_with_it() {
    let identity = |login: &str| {
        root(&format!(
            "identity: {{ web: {{ issuer: \"https://idp.example.com\", login: {{ {login} }} }} }}"
        ))
    };
    // An audience is for tokens that come by themselves.
    let config = fine(&identity("client_id: web, key: env:SECRET"));
    let issuer = config.identity[0].issuer().unwrap();
    let login = issuer.login.as_ref().unwrap();
    assert!(issuer.audience.is_empty() && login.client_secret.is_none());
    assert_eq!(login.scopes, ["openid"]);
    assert_eq!(login.callback.value, "/_session/callback");
    assert_eq!(
        (login.absolute.as_secs(), login.idle.as_secs()),
        (43_200, 1_800)
    );
    let short = fine(&identity("client_id: web, key: env:SECRET, session: 10min"));
    let login = short.identity[0].issuer().unwrap().login.as_ref().unwrap();
    assert_eq!((login.absolute.as_secs(), login.idle.as_secs()), (600, 600));
    for (login, message) in [
        ("key: env:SECRET", "has no `client_id`"),
        ("client_id: web", "has no `key`"),
        ("client_id: web, key: literal", "takes a reference"),
        ("client_id: web, key: env:ABSENT", "ABSENT"),
        (
            "client_id: web, key: env:SECRET, client_secret: env:ABSENT",
            "ABSENT",
        ),
        (
            "client_id: web, key: env:SECRET, origin: \"https://a/b\"",
            "origin",
        ),
        (
            "client_id: web, key: env:SECRET, callback: auth",
            "callback",
        ),
        ("client_id: web, key: env:SECRET, idle: 10min", "idle"),
        ("client_id: web, key: env:SECRET, prompt: none", "prompt"),
    ] {
        let (config, _, diagnostics) = try_load(identity(login).as_bytes());
        assert!(config.is_none(), "{login}");
        let said = diagnostics.iter().any(|one| one.message.contains(message));
        assert!(said, "{login}: {diagnostics:?}");
    }
}
