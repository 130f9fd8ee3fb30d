//! What upstreams are told of callers: the gateway's own tokens, verified as an upstream would by the
//! key set that the gateway serves, and tokens got in exchange from an issuer in all its moods.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fortress_auth::{Expectations, JwkSet, Verified, Verifier};
use fortress_model::{Clock as _, SystemClock, config};

use super::support::{Gateway, Response, Tokens, Upstream, render, send};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: told, version: "1" }
security: [{ idp: [] }]
paths:
  /a: { get: { operationId: a, responses: { "200": { description: fine } } } }
  /open: { get: { operationId: open, security: [], responses: { "200": { description: fine } } } }
components: { securitySchemes: { idp: { type: http, scheme: bearer } } }
"#;

fn config_of(upstream: SocketAddr, told: &str, more: &str) -> String {
    format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, serve: operations }}]\napis:\n  orders:\n    spec: openapi.yaml\n    upstream: {{ endpoints: [{{ url: \"http://{upstream}\" }}], identity: {{ {told} }} }}\nidentity:\n  idp: {{ issuer: https://idp.test, audience: test, jwks: file:jwks.json }}\njournal: [{{ file: journal.ndjson }}]\n{more}"
    )
}

fn start(upstream: &Upstream, told: &str) -> Gateway {
    let config = config_of(upstream.address, told, "");
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn ask(gateway: &Gateway, path: &str, token: &str) -> Response {
    ask_at(gateway.addresses[0], path, token)
}

fn ask_at(address: SocketAddr, path: &str, token: &str) -> Response {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    send(address, request.as_bytes()).remove(0)
}

fn outcome(response: &Response) -> (u16, String) {
    (response.status, response.code().unwrap_or_default())
}

const GOOD: (u16, &str) = (200, "");

#[track_caller]
fn check(response: &Response, expect: (u16, &str)) {
    let (status, code) = outcome(response);
    assert_eq!((status, code.as_str()), expect);
}

/// The key set as an upstream fetches it.
fn key_set(gateway: &Gateway) -> JwkSet {
    let request = b"GET /jwks.json HTTP/1.1\r\nHost: x\r\n\r\n";
    let response = send(gateway.addresses[1], request).remove(0);
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("cache-control"),
        Some("public, max-age=300")
    );
    assert_eq!(
        response.header("content-type"),
        Some("application/jwk-set+json")
    );
    let text = String::from_utf8(response.body.clone()).unwrap();
    assert!(!text.contains("\"d\""), "a private key is served");
    let (set, left_out) = JwkSet::parse(&response.body).unwrap();
    assert!(left_out.is_empty(), "{left_out:?}");
    set
}

fn verify(set: &JwkSet, token: &str) -> Result<Arc<Verified>, fortress_auth::TokenError> {
    let verifier = Verifier::new(Expectations {
        issuer: "fortress".into(),
        audience: vec!["orders".into()],
        ..Expectations::default()
    });
    let cache = fortress_auth::Cache::new(10);
    verifier.verify_cached(token, set, SystemClock.now(), &cache)
}

/// What stood in the field that the upstream got last.
fn seen(upstream: &Upstream, name: &str) -> String {
    let received = upstream.received();
    let last = received.last().expect("a request");
    last.header(name).unwrap_or_default().to_owned()
}

fn internal(gateway: &Gateway, upstream: &Upstream, token: &str) -> String {
    check(&ask(gateway, "/a", token), GOOD);
    let seen = seen(upstream, "authorization");
    seen.strip_prefix("Bearer ").expect("a bearer token").into()
}

#[test]
fn an_upstream_verifies_that_the_gateway_spoke() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "forward: internal_jwt, claims: [roles, acr]");
    let alice = Tokens::shared().make("alice scope=read,write roles=staff acr=gold");
    let before = SystemClock.now().seconds();
    let token = internal(&gateway, &upstream, &alice);
    let set = key_set(&gateway);
    assert_eq!(set.len(), 2, "the key that signs and the next");
    let verified = verify(&set, &token).unwrap();
    assert_eq!(&*verified.subject, "alice");
    assert_eq!(verified.scopes, ["read", "write"].map(Box::<str>::from));
    assert_eq!(verified.claims.text("identity"), Some("idp"));
    assert_eq!(verified.claims.text("acr"), Some("gold"));
    assert!(verified.claims.texts("roles").eq(["staff"]));
    assert_eq!(verified.claims.text("jti").map(str::len), Some(32));
    let expires = verified.expires.unwrap();
    assert!((before + 60..=before + 65).contains(&expires), "{expires}");

    assert_eq!(internal(&gateway, &upstream, &alice), token, "kept");
    let bob = internal(&gateway, &upstream, &Tokens::shared().make("bob"));
    assert_eq!(&*verify(&set, &bob).unwrap().subject, "bob");
    assert_ne!(
        verify(&set, &bob).unwrap().claims.text("jti"),
        verified.claims.text("jti")
    );

    // Another gateway's keys do not vouch for it.
    let other = start(&upstream, "forward: internal_jwt");
    assert!(verify(&key_set(&other), &token).is_err());

    check(&ask(&gateway, "/open", "forged"), GOOD);
    assert_eq!(
        seen(&upstream, "authorization"),
        "",
        "of nobody nothing is said"
    );
}

#[test]
fn a_token_never_outlives_the_callers() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "forward: internal_jwt, lifetime: 10min");
    let alice = Tokens::shared().make("alice expires=20");
    let token = internal(&gateway, &upstream, &alice);
    let verified = verify(&key_set(&gateway), &token).unwrap();
    assert!(verified.expires.unwrap() <= SystemClock.now().seconds() + 20);
}

#[test]
fn rotation_never_surprises_an_upstream() {
    let upstream = Upstream::start();
    let config = config_of(upstream.address, "forward: internal_jwt", "");
    let files = [
        ("fortress.yaml", config.as_str()),
        ("openapi.yaml", DESCRIPTION),
    ];
    let gateway = Gateway::start_with(&files, |config| {
        config.internal_tokens.rotate = Duration::from_secs(2);
    });
    let alice = Tokens::shared().make("alice");
    let key_of = |token: &str| token.split('.').next().unwrap().to_owned();
    let mut known = key_set(&gateway);
    let mut last = internal(&gateway, &upstream, &alice);
    let mut keys = BTreeSet::from([key_of(&last)]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while keys.len() < 3 {
        assert!(Instant::now() < deadline, "{} keys", keys.len());
        let token = internal(&gateway, &upstream, &alice);
        // The set of a moment ago knows the key of now, and the set of now knows the last token's.
        assert!(
            verify(&known, &token).is_ok(),
            "a key that was not known before"
        );
        known = key_set(&gateway);
        assert!(
            verify(&known, &last).is_ok(),
            "a token that is not known any more"
        );
        keys.insert(key_of(&token));
        last = token;
    }
    assert_eq!(known.len(), 3);
}

#[test]
fn keys_survive_a_reload_and_the_operators_are_read_anew() {
    let upstream = Upstream::start();
    let alice = Tokens::shared().make("alice");
    let own = start(&upstream, "forward: internal_jwt");
    let token = internal(&own, &upstream, &alice);
    own.reload();
    assert!(verify(&key_set(&own), &token).is_ok());
    assert_eq!(internal(&own, &upstream, &alice), token);

    let pem = || rcgen::KeyPair::generate().unwrap().serialize_pem();
    let (first, second) = (pem(), pem());
    let more = "internal_tokens: { key: file:a.pem, previous_key: file:b.pem }\n";
    let config = config_of(upstream.address, "forward: internal_jwt", more);
    let files = [
        ("fortress.yaml", config.as_str()),
        ("openapi.yaml", DESCRIPTION),
        ("a.pem", &first),
        ("b.pem", &second),
    ];
    let gateway = Gateway::start(&files);
    let known = key_set(&gateway);
    let before = internal(&gateway, &upstream, &alice);
    assert!(verify(&known, &before).is_ok());
    // The operator lets the other one sign.
    std::fs::write(gateway.directory.path().join("a.pem"), &second).unwrap();
    std::fs::write(gateway.directory.path().join("b.pem"), &first).unwrap();
    gateway.reload();
    let after = internal(&gateway, &upstream, &alice);
    assert_ne!(before.split('.').next(), after.split('.').next());
    assert!(verify(&known, &after).is_ok(), "known before it signed");
    assert!(verify(&key_set(&gateway), &before).is_ok());
}

#[test]
fn keys_that_cannot_sign_are_told_with_their_place() {
    let directory = tempfile::tempdir().unwrap();
    let more = "internal_tokens: { key: file:a.pem }\n";
    let address = "127.0.0.1:1".parse().unwrap();
    let config = config_of(address, "forward: internal_jwt", more);
    let write = |name: &str, text: &str| {
        std::fs::write(directory.path().join(name), text).unwrap();
    };
    write("fortress.yaml", &config);
    write("openapi.yaml", DESCRIPTION);
    write("jwks.json", r#"{"keys":[]}"#);
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    for text in ["no key", &p384.serialize_pem()] {
        write("a.pem", text);
        let path = directory.path().join("fortress.yaml");
        let (config, mut sources, _) = config::load(&path, &|_| None);
        let keys = fortress_gateway::KeyRing::default();
        let compiled = fortress_gateway::compile(&config.unwrap(), &mut sources, &keys, 1);
        assert!(compiled.gateway.is_none());
        let told = render(&compiled.diagnostics, &sources);
        assert!(
            told.contains("a.pem` holds no private key of EC P-256 or Ed25519"),
            "{told}"
        );
        assert!(told.contains("openssl genpkey"), "{told}");
    }
}

#[test]
fn what_is_too_long_for_the_upstream_is_refused() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "forward: internal_jwt, claims: [acr]");
    let long = |length: usize| Tokens::shared().make(&format!("alice acr={}", "x".repeat(length)));
    check(&ask(&gateway, "/a", &long(4000)), GOOD);
    let refused = (431, "identity.too_large");
    check(&ask(&gateway, "/a", &long(6200)), refused);

    let gateway = start(&upstream, "headers: { X-Acr: principal.claims.acr }");
    check(&ask(&gateway, "/a", &long(4096)), GOOD);
    check(&ask(&gateway, "/a", &long(4097)), refused);
}

fn json(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn exchanged(token: &str, expires_in: u32) -> Vec<u8> {
    let body = format!(
        r#"{{"access_token":"{token}","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":{expires_in}}}"#
    );
    json("200 OK", &body)
}

fn exchange_at(issuer: SocketAddr, more: &str) -> String {
    format!(
        "forward: exchange, exchange: {{ endpoint: \"http://{issuer}/token\", client_id: \"a b\", client_secret: env:SECRET, scope: orders }}{more}"
    )
}

#[test]
fn a_token_is_exchanged_once_for_the_upstreams_own() {
    let (upstream, issuer) = (Upstream::start(), Upstream::start());
    let gateway = start(&upstream, &exchange_at(issuer.address, ""));
    issuer.answers(&exchanged("for-orders", 300));
    let alice = Tokens::shared().make("alice");
    for _ in 0..3 {
        check(&ask(&gateway, "/a", &alice), GOOD);
        assert_eq!(seen(&upstream, "authorization"), "Bearer for-orders");
    }
    let asked = issuer.received();
    let [asked] = asked.as_slice() else {
        panic!("asked {} times", asked.len());
    };
    assert!(asked.head.starts_with("POST /token HTTP/1.1\r\n"));
    // `a+b:gw-secret`, form-encoded before it is put together.
    assert_eq!(
        asked.header("authorization"),
        Some("Basic YStiOmd3LXNlY3JldA==")
    );
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    for part in [
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
        &format!("subject_token={alice}"),
        "audience=orders",
        "scope=orders",
    ] {
        assert!(
            form.split('&').any(|found| found == part),
            "{part} in {form}"
        );
    }

    // What was got survives a reload; another caller's token is another question.
    gateway.reload();
    check(&ask(&gateway, "/a", &alice), GOOD);
    assert!(issuer.received().is_empty());
    issuer.answers(&exchanged("for-bob", 300));
    check(&ask(&gateway, "/a", &Tokens::shared().make("bob")), GOOD);
    assert!(
        upstream
            .received()
            .iter()
            .any(|request| { request.header("authorization") == Some("Bearer for-bob") })
    );
    // One that is over in no time is not kept.
    issuer.answers(&exchanged("brief", 5));
    issuer.received();
    let carol = Tokens::shared().make("carol");
    for _ in 0..2 {
        check(&ask(&gateway, "/a", &carol), GOOD);
    }
    assert_eq!(issuer.received().len(), 2);
    // A token that was not verified is shown to nobody.
    let forged = ask(&gateway, "/a", &Tokens::shared().make("alice key=stranger"));
    check(&forged, (401, "credential.invalid"));
    assert!(issuer.received().is_empty());
}

#[test]
fn an_exchanged_token_may_have_a_field_of_its_own() {
    let (upstream, issuer) = (Upstream::start(), Upstream::start());
    let gateway = start(&upstream, &exchange_at(issuer.address, ", header: X-Token"));
    issuer.answers(&exchanged("for-orders", 300));
    check(&ask(&gateway, "/a", &Tokens::shared().make("alice")), GOOD);
    let received = upstream.received().remove(0);
    assert_eq!(received.header("x-token"), Some("for-orders"));
    assert_eq!(received.header("authorization"), None);
}

#[test]
fn an_issuer_in_any_mood_is_told_from_a_refusal() {
    let (upstream, issuer) = (Upstream::start(), Upstream::start());
    let gateway = start(&upstream, &exchange_at(issuer.address, ""));
    let (refused, unavailable) = ((403, "exchange.refused"), (503, "exchange.unavailable"));
    let huge = json("200 OK", &format!("{{\"a\":\"{}\"}}", "x".repeat(10 << 20)));
    let moods: [(Vec<u8>, _); 11] = [
        (
            json("400 Bad Request", r#"{"error":"invalid_target"}"#),
            refused,
        ),
        (
            json("400 Bad Request", r#"{"error":"invalid_request"}"#),
            refused,
        ),
        (
            json("401 Unauthorized", r#"{"error":"invalid_client"}"#),
            unavailable,
        ),
        (
            json("500 Oops", r#"{"error":"invalid_target"}"#),
            unavailable,
        ),
        (json("200 OK", r#"{"access_token":"#), unavailable),
        (json("200 OK", "[]"), unavailable),
        (exchanged(r"a\r\nX-Admin: 1", 300), unavailable),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_vec(),
            unavailable,
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\n{".to_vec(),
            unavailable,
        ),
        (b"garbage\r\n\r\n".to_vec(), unavailable),
        (huge, unavailable),
    ];
    for (answer, expect) in moods {
        issuer.answers(&answer);
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let token = Tokens::shared().make("alice");
        let response = ask(&gateway, "/a", &token);
        let (status, code) = outcome(&response);
        assert_eq!((status, code.as_str()), expect, "{shown}");
        let event = gateway
            .event(response.header("x-request-id").unwrap())
            .to_string();
        assert!(
            !event.contains("eyJ") && !event.contains("gw-secret"),
            "{event}"
        );
        // A refusal holds for a while; anything else may be over the next moment.
        issuer.received();
        issuer.answers(&exchanged("for-orders", 300));
        let again = if expect == refused { refused } else { GOOD };
        check(&ask(&gateway, "/a", &token), again);
        assert_eq!(issuer.received().len(), usize::from(expect != refused));
    }
    assert_eq!(upstream.received().len(), 9);
}

/// An issuer that takes its time, and counts.
fn slow_issuer(pause: Option<Duration>) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                let read = stream.read(&mut buffer);
                assert!(read.is_ok());
                match pause {
                    // For ever, as far as anybody here is concerned.
                    None => while matches!(stream.read(&mut buffer), Ok(1..)) {},
                    Some(pause) => {
                        thread::sleep(pause);
                        drop(stream.write_all(&exchanged("for-orders", 300)));
                    }
                }
            });
        }
    });
    (address, asked)
}

#[test]
fn many_requests_with_one_token_ask_once() {
    let upstream = Upstream::start();
    let (issuer, asked) = slow_issuer(Some(Duration::from_millis(700)));
    let gateway = start(&upstream, &exchange_at(issuer, ""));
    let address = gateway.addresses[0];
    let alice = Tokens::shared().make("alice");
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let alice = alice.clone();
            thread::spawn(move || outcome(&ask_at(address, "/a", &alice)))
        })
        .collect();
    for asking in asking {
        assert_eq!(asking.join().unwrap(), (200, String::new()));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn an_issuer_that_hangs_holds_up_those_alone_who_need_it() {
    let upstream = Upstream::start();
    let (issuer, _) = slow_issuer(None);
    let gateway = start(&upstream, &exchange_at(issuer, ""));
    let address = gateway.addresses[0];
    let waiting = thread::spawn(move || {
        let began = Instant::now();
        let response = ask_at(address, "/a", &Tokens::shared().make("alice"));
        (outcome(&response), began.elapsed())
    });
    let mut others = 0;
    while !waiting.is_finished() {
        check(&ask(&gateway, "/open", "x"), GOOD);
        others += 1;
    }
    let (outcome, took) = waiting.join().unwrap();
    assert_eq!(outcome, (503, "exchange.unavailable".to_owned()));
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert!(others > 3, "{others} others were served meanwhile");
}

/// Printed, not judged: `cargo test --release … -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
#[expect(
    clippy::print_stdout,
    reason = "what it measures is for whoever runs it"
)]
fn cost_of_an_internal_token() {
    use fortress_auth::{
        Algorithm,
        internal::{
            InternalCache, InternalError, InternalIssuer, InternalKeys, InternalSubject, NoClaims,
        },
        sign::SigningKey,
    };
    let key = |id| SigningKey::generate(Algorithm::Es256, id).unwrap();
    let now = SystemClock.now();
    let keys = InternalKeys::new(key("a"), key("b"), now).unwrap();
    let issuer =
        InternalIssuer::new("fortress", "orders", Duration::from_secs(60), vec![]).unwrap();
    let cache = InternalCache::new();
    let scopes = ["orders.read", "orders.write"];
    let token = |subject: &str| {
        let statement = issuer
            .statement(&InternalSubject {
                subject,
                identity: "idp",
                expires: None,
                scopes: &scopes,
                claims: &NoClaims,
            })
            .unwrap();
        let random = || Ok::<_, InternalError>([7; 16]);
        cache
            .get_or_issue(&issuer, &keys, statement, random, now)
            .unwrap()
    };
    let rounds = 10_000_u32;
    let began = Instant::now();
    for round in 0..rounds {
        token(&round.to_string());
    }
    println!("made: {:?}", began.elapsed() / rounds);
    token("alice");
    let began = Instant::now();
    for _ in 0..rounds {
        token("alice");
    }
    println!("kept: {:?}", began.elapsed() / rounds);
}
