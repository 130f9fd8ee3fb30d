//! API keys of a real store in front of an API: found, bound to their limits, and revoked while the
//! gateway runs.

use std::{path::Path, sync::Arc, time::Duration};

use fortress_auth::{
    Revocation, RevocationTarget,
    api_key::{ApiKey, Environment, KeyRecord, Label},
};
use fortress_model::{
    Clock as _, SystemClock,
    config::{SecretSource, StorePlace},
};
use fortress_store::{MasterKeys, Presence, Store};

use super::support::{Gateway, Response, Tokens, Upstream, send};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: keys, version: "1" }
security: [{ key: [] }]
paths:
  /a: { get: { operationId: a, tags: [reading], responses: { "200": { description: fine } } } }
  /b: { get: { operationId: b, responses: { "200": { description: fine } } } }
  /role: { get: { operationId: role, responses: { "200": { description: fine } } } }
  /query: { get: { operationId: query, security: [{ query: [] }], responses: { "200": { description: fine } } } }
  /token: { get: { operationId: token, security: [{ token: [] }], responses: { "200": { description: fine } } } }
components:
  securitySchemes:
    key: { type: apiKey, in: header, name: X-Api-Key }
    query: { type: apiKey, in: query, name: key }
    token: { type: http, scheme: bearer }
"#;

pub(crate) struct Place {
    directory: tempfile::TempDir,
    store: Store,
    pepper: fortress_auth::api_key::Pepper,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let keys = MasterKeys::create(&file("store.key")).unwrap();
        fortress_store::make_pepper(&file("pepper.key")).unwrap();
        let pepper = fortress_store::pepper(&SecretSource::File(file("pepper.key"))).unwrap();
        let place = StorePlace::Embedded(file("fortress.db"));
        let store = fortress_store::open(&place, Arc::new(keys), Presence::Made).unwrap();
        store.use_pepper(&pepper).unwrap();
        Self {
            directory,
            store,
            pepper,
        }
    }

    /// Where the store and its keys are.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A key with its record changed.
    pub(crate) fn key(
        &self,
        owner: &str,
        change: impl FnOnce(&mut KeyRecord),
    ) -> (KeyRecord, String) {
        let environment = Environment::new("live").unwrap();
        let (id, text) = ApiKey::generate(&environment, &mut |bytes: &mut [u8]| {
            aws_lc_rs::rand::fill(bytes).map_err(|_| fortress_auth::api_key::NoRandomness)
        })
        .unwrap();
        let digest = self.pepper.digest(text.expose());
        let owner = Label::new(owner).unwrap();
        let mut record = KeyRecord::new(id, environment, owner, digest, SystemClock.now());
        change(&mut record);
        self.store
            .insert_keys(std::slice::from_ref(&record))
            .unwrap();
        (record, text.expose().clone())
    }

    /// Revokes the tokens of a subject of the tests' issuer.
    pub(crate) fn revoke(&self, subject: &str) {
        let revocation = Revocation {
            target: RevocationTarget::Subject {
                issuer: "https://idp.test".into(),
                subject: subject.into(),
            },
            issued_before: None,
            until: None,
        };
        self.store.revoke(&revocation, SystemClock.now()).unwrap();
    }

    /// Revokes what was issued to a subject until now.
    pub(crate) fn revoke_at(&self, issuer: &str, subject: &str) {
        let now = SystemClock.now();
        let revocation = Revocation {
            target: RevocationTarget::Subject {
                issuer: issuer.into(),
                subject: subject.into(),
            },
            issued_before: Some(now),
            until: None,
        };
        self.store.revoke(&revocation, now).unwrap();
    }

    fn gateway(&self, upstream: &Upstream) -> Gateway {
        let config = format!(
            "version: 1
listen: [{{ address: 127.0.0.1:0 }}]
apis:
  raw:
    spec: openapi.yaml
    upstream: \"http://{}\"
    operations: {{ role: {{ require: {{ role: admin }} }} }}
identity:
  partners: {{ api_key: {{ environment: live }} }}
  idp: {{ issuer: https://idp.test, audience: test, jwks: file:jwks.json }}
store: {{ embedded: {path}/fortress.db, key: file:{path}/store.key, pepper: file:{path}/pepper.key }}
journal: [{{ file: journal.ndjson }}]
",
            upstream.address,
            path = self.path().display()
        );
        Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
    }
}

fn get(gateway: &Gateway, target: &str, fields: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: api.test\r\n{fields}\r\n");
    send(gateway.addresses[0], request.as_bytes()).remove(0)
}

fn outcome(response: &Response) -> (u16, String) {
    (response.status, response.code().unwrap_or_default())
}

fn with_key(gateway: &Gateway, target: &str, key: &str) -> (u16, String) {
    outcome(&get(gateway, target, &format!("X-Api-Key: {key}\r\n")))
}

/// Waits until a request ends so: a store's change takes less than a second.
#[track_caller]
fn soon(expected: (u16, &str), ask: impl Fn() -> (u16, String)) {
    let began = std::time::Instant::now();
    loop {
        let found = ask();
        if (found.0, found.1.as_str()) == expected {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_key_opens_what_it_is_for_and_nothing_else() {
    let (place, upstream) = (Place::new(), Upstream::start());
    let (_, acme) = place.key("acme", |_| {});
    let (_, admin) = place.key("admin", |record| {
        record.access.roles = vec![Label::new("admin").unwrap()];
    });
    let (_, reader) = place.key("reader", |record| {
        record.access.operations = vec![Label::new("tag:reading").unwrap()];
    });
    let (_, elsewhere) = place.key("elsewhere", |record| {
        record.access.addresses = vec!["10.0.0.0/8".parse().unwrap()];
    });
    let (_, old) = place.key("old", |record| {
        record.expires = Some(fortress_model::Timestamp(1));
    });
    let gateway = place.gateway(&upstream);
    let ok = (200, String::new());

    let response = get(&gateway, "/a", &format!("X-Api-Key: {acme}\r\n"));
    assert_eq!(outcome(&response), ok);
    let event = gateway
        .event(response.header("x-request-id").unwrap())
        .to_string();
    assert!(event.contains("\"uid\":\"acme\""), "{event}");
    let secret = acme.rsplit('_').next().unwrap();
    assert!(!event.contains(secret), "{event}");

    assert_eq!(with_key(&gateway, "/role", &admin), ok);
    assert_eq!(
        with_key(&gateway, "/role", &acme),
        (403, "role.insufficient".into())
    );
    assert_eq!(with_key(&gateway, "/a", &reader), ok);
    let restricted = (403, "credential.restricted".to_owned());
    assert_eq!(with_key(&gateway, "/b", &reader), restricted);
    assert_eq!(with_key(&gateway, "/a", &elsewhere), restricted);
    assert_eq!(
        with_key(&gateway, "/a", &old),
        (401, "credential.expired".into())
    );

    let missing = get(&gateway, "/a", "");
    assert_eq!(outcome(&missing), (401, "credential.missing".into()));
    assert_eq!(
        missing.header("www-authenticate"),
        Some("ApiKey realm=\"raw\"")
    );
    let changed = acme.replace(secret, &"0".repeat(secret.len()));
    assert_eq!(
        with_key(&gateway, "/a", &changed),
        (401, "credential.malformed".into())
    );
    // Another store's key: its form is right, and nobody knows it.
    let (_, foreign) = Place::new().key("acme", |_| {});
    assert_eq!(
        with_key(&gateway, "/a", &foreign),
        (401, "credential.invalid".into())
    );
    let twice = format!("X-Api-Key: {acme}\r\nX-Api-Key: {acme}\r\n");
    assert_eq!(
        outcome(&get(&gateway, "/a", &twice)),
        (401, "credential.malformed".into())
    );

    // In the query only where the description puts it.
    assert_eq!(
        outcome(&get(&gateway, &format!("/query?key={acme}"), "")),
        ok
    );
    let astray = get(&gateway, &format!("/a?key={acme}"), "");
    assert_eq!(outcome(&astray), (401, "credential.malformed".into()));
    assert_eq!(with_key(&gateway, "/token", &acme).1, "credential.missing");
}

#[test]
fn a_revocation_holds_within_a_second() {
    let (place, upstream) = (Place::new(), Upstream::start());
    let (record, key) = place.key("acme", |_| {});
    let gateway = place.gateway(&upstream);
    assert_eq!(with_key(&gateway, "/a", &key).0, 200);
    place
        .store
        .update_key(record.id, |record| {
            record.revoked = Some(SystemClock.now());
            Ok(())
        })
        .unwrap();
    soon((401, "credential.revoked"), || {
        with_key(&gateway, "/a", &key)
    });
    // A key that is made meanwhile is known as soon.
    let (_, new) = place.key("new", |_| {});
    soon((200, ""), || with_key(&gateway, "/a", &new));

    let show = |name: &str| {
        let token = Tokens::shared().make(name);
        outcome(&get(
            &gateway,
            "/token",
            &format!("Authorization: Bearer {token}\r\n"),
        ))
    };
    assert_eq!(show("alice").0, 200);
    place.revoke("alice");
    soon((401, "credential.revoked"), || show("alice"));
    assert_eq!(show("bob").0, 200);
}
