//! Tokens that only their holder may show, shared keys, and an issuer that is asked about each token.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fortress_auth::{
    Algorithm,
    sign::{SigningKey, hmac_sha256},
};
use fortress_model::{Clock as _, SystemClock};

use super::support::{Gateway, Response, SHARED_KEY, Tokens, Upstream, send};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: tokens, version: "1" }
security: [{ idp: [] }]
paths:
  /a: { get: { operationId: a, parameters: [{ in: query, name: q, schema: { type: string, maxLength: 10 } }], responses: { "200": { description: fine } } }, post: { operationId: b, responses: { "200": { description: fine } } } }
components: { securitySchemes: { idp: { type: http, scheme: bearer } } }
"#;

fn gateway(upstream: &Upstream, identity: &str) -> Gateway {
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\nidentity:\n  idp: {{ issuer: https://idp.test, audience: test, {identity} }}\njournal: [{{ file: journal.ndjson }}]\n",
        upstream.address
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn ask(gateway: &Gateway, fields: &str) -> Response {
    ask_at(gateway.addresses[0], fields)
}

fn ask_at(address: SocketAddr, fields: &str) -> Response {
    let request = format!("GET /a?q=1 HTTP/1.1\r\nHost: api.test\r\n{fields}\r\n");
    send(address, request.as_bytes()).remove(0)
}

fn outcome(response: &Response) -> (u16, String) {
    (response.status, response.code().unwrap_or_default())
}

/// Whoever holds a key, and makes proofs of it.
pub(crate) struct Holder(pub(crate) SigningKey);

impl Holder {
    pub(crate) fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256, "").unwrap();
        Self(key.named_by_thumbprint().unwrap())
    }

    fn token(&self) -> String {
        Tokens::shared().make(&format!("alice jkt={}", self.0.id()))
    }

    /// A proof for `GET http://api.test/a`, with its claims changed.
    pub(crate) fn proof(&self, token: &str, change: impl Fn(&mut serde_json::Value)) -> String {
        use base64::Engine as _;
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
        let ath = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut claims = serde_json::json!({
            "jti": format!("{}", COUNT.fetch_add(1, Ordering::Relaxed)),
            "htm": "GET",
            "htu": "http://api.test/a",
            "iat": SystemClock.now().seconds(),
            "ath": ath,
        });
        change(&mut claims);
        let header = self.0.proof_header();
        self.0
            .sign_raw(header.as_bytes(), claims.to_string().as_bytes())
            .unwrap()
    }
}

#[test]
fn a_bound_token_counts_with_a_fresh_proof_by_its_own_key_alone() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "jwks: file:jwks.json, dpop: required");
    let (holder, thief) = (Holder::new(), Holder::new());
    let token = holder.token();
    let show = |token: &str, proof: &str| {
        let fields = format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
        ask(&gateway, &fields)
    };
    let plain = |_: &mut serde_json::Value| {};
    let proof = holder.proof(&token, plain);
    assert_eq!(outcome(&show(&token, &proof)), (200, String::new()));

    let again = show(&token, &proof);
    assert_eq!(outcome(&again), (401, "credential.replayed".into()));
    let challenge = again.header("www-authenticate").unwrap();
    assert!(
        challenge.starts_with("DPoP realm=\"raw\", error=\"invalid_dpop_proof\", algs=\""),
        "{challenge}"
    );

    let stolen = thief.proof(&token, plain);
    let refused = show(&token, &stolen);
    assert_eq!(outcome(&refused), (401, "credential.unbound".into()));

    let other = holder.token() + "";
    let for_another = holder.proof("another token", plain);
    assert_eq!(
        outcome(&show(&other, &for_another)),
        (401, "credential.invalid".into())
    );
    type Change = fn(&mut serde_json::Value);
    let changes: [(Change, &str); 5] = [
        (|claims| claims["htm"] = "POST".into(), "credential.invalid"),
        (
            |claims| claims["htu"] = "http://api.test/b".into(),
            "credential.invalid",
        ),
        (
            |claims| claims["htu"] = "http://evil.test/a".into(),
            "credential.invalid",
        ),
        (
            |claims| claims["iat"] = (SystemClock.now().seconds() - 3600).into(),
            "credential.expired",
        ),
        (
            |claims| {
                claims.as_object_mut().unwrap().remove("jti");
            },
            "credential.invalid",
        ),
    ];
    for (change, code) in changes {
        let proof = holder.proof(&token, change);
        let found = outcome(&show(&token, &proof));
        assert_eq!(found, (401, code.to_owned()));
    }
    // The query is no part of what is proved, and the scheme's and host's case does not count.
    let proof = holder.proof(&token, |claims| {
        claims["htu"] = "HTTP://API.test:80/a".into()
    });
    assert_eq!(outcome(&show(&token, &proof)).0, 200);

    let unbound = Tokens::shared().make("alice");
    let proof = holder.proof(&unbound, plain);
    assert_eq!(outcome(&show(&unbound, &proof)).0, 401);
    let proofs = (holder.proof(&token, plain), holder.proof(&token, plain));
    let twice = format!(
        "Authorization: DPoP {token}\r\nDPoP: {}\r\nDPoP: {}\r\n",
        proofs.0, proofs.1
    );
    assert_eq!(
        outcome(&ask(&gateway, &twice)),
        (401, "credential.malformed".into())
    );
}

#[test]
fn a_nonce_is_given_and_then_demanded() {
    let upstream = Upstream::start();
    let gateway = gateway(
        &upstream,
        "jwks: file:jwks.json, dpop: { mode: required, nonce: true }",
    );
    let holder = Holder::new();
    let token = holder.token();
    let show = |proof: &str| {
        let fields = format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
        ask(&gateway, &fields)
    };
    let refused = show(&holder.proof(&token, |_| {}));
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"use_dpop_nonce\""),
        "{challenge}"
    );
    let nonce = refused.header("dpop-nonce").unwrap().to_owned();
    let good = holder.proof(&token, |claims| claims["nonce"] = nonce.clone().into());
    assert_eq!(show(&good).status, 200);
    let made_up = holder.proof(&token, |claims| claims["nonce"] = "made up".into());
    assert_eq!(show(&made_up).status, 401);
}

#[test]
fn proofs_are_remembered_over_a_reload() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "jwks: file:jwks.json");
    let holder = Holder::new();
    let token = holder.token();
    let proof = holder.proof(&token, |_| {});
    let fields = format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    assert_eq!(ask(&gateway, &fields).status, 200);
    gateway.reload();
    assert_eq!(
        outcome(&ask(&gateway, &fields)),
        (401, "credential.replayed".into())
    );
}

#[test]
fn a_shared_key_verifies_its_own_algorithm_alone() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "secret: env:SHARED_KEY");
    let claims = format!(
        r#"{{"iss":"https://idp.test","aud":"test","sub":"alice","exp":{}}}"#,
        SystemClock.now().seconds() + 60
    );
    let show = |token: &str| {
        outcome(&ask(
            &gateway,
            &format!("Authorization: Bearer {token}\r\n"),
        ))
    };
    let good = hmac_sha256(
        SHARED_KEY.as_bytes(),
        br#"{"alg":"HS256","typ":"JWT"}"#,
        claims.as_bytes(),
    );
    assert_eq!(show(&good), (200, String::new()));
    let guessed = hmac_sha256(
        b"another key that nobody shares, 32 b",
        br#"{"alg":"HS256","typ":"JWT"}"#,
        claims.as_bytes(),
    );
    assert_eq!(show(&guessed), (401, "credential.invalid".into()));
    assert_eq!(
        show(&Tokens::shared().make("alice")),
        (401, "credential.invalid".into())
    );
}

/// An issuer that says of tokens what the test says; counts how often it was asked.
struct Issuer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut seen = Vec::new();
                let mut piece = [0; 4096];
                let is_whole = |seen: &[u8]| {
                    let text = String::from_utf8_lossy(seen);
                    text.split_once("\r\n\r\n")
                        .is_some_and(|(_, body)| body.contains("token_type_hint"))
                };
                while !is_whole(&seen) {
                    match stream.read(&mut piece) {
                        Ok(0) | Err(_) => break,
                        Ok(read) => seen.extend_from_slice(&piece[..read]),
                    }
                }
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream.write_all(answer(&String::from_utf8_lossy(&seen)).as_bytes()));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn json(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// What an issuer says, by the token that it is asked about.
fn says(request: &str) -> String {
    // gateway:gw-secret
    assert!(
        request.contains("Basic Z2F0ZXdheTpndy1zZWNyZXQ="),
        "{request}"
    );
    if request.contains("token=good-token") {
        json(r#"{"active":true,"sub":"alice","aud":"test","scope":"a","client_id":"web"}"#)
    } else if request.contains("token=foreign") {
        json(r#"{"active":true,"sub":"alice","aud":"another"}"#)
    } else if request.contains("token=broken") {
        json(r#"{"active":"true","sub":"alice","aud":"test"}"#)
    } else if request.contains("token=unwelcome") {
        json("{}").replacen("200 OK", "400 Bad Request", 1)
    } else if request.contains("token=huge") {
        json(&format!(
            "{{\"active\":true,\"x\":\"{}\"}}",
            "x".repeat(1 << 20)
        ))
    } else {
        json(r#"{"active":false}"#)
    }
}

#[test]
fn what_the_issuer_says_of_an_opaque_token_holds_for_a_while() {
    let upstream = Upstream::start();
    let issuer = Issuer::start(says);
    let gateway = gateway(
        &upstream,
        &format!(
            "jwks: file:jwks.json, introspection: {{ endpoint: \"http://{}/i\", client_id: gateway, client_secret: env:SECRET }}",
            issuer.address
        ),
    );
    let show = |token: &str| ask(&gateway, &format!("Authorization: Bearer {token}\r\n"));
    let first = show("good-token");
    assert_eq!(outcome(&first), (200, String::new()));
    let event = gateway
        .event(first.header("x-request-id").unwrap())
        .to_string();
    assert!(
        event.contains("\"uid\":\"alice\"") && !event.contains("good-token"),
        "{event}"
    );
    assert_eq!(show("good-token").status, 200);
    assert_eq!(issuer.asked(), 1, "an answer is kept");
    assert_eq!(
        outcome(&show("unknown")),
        (401, "credential.invalid".into())
    );
    assert_eq!(
        outcome(&show("unknown")),
        (401, "credential.invalid".into())
    );
    assert_eq!(issuer.asked(), 2, "so is a refusal");
    assert_eq!(
        outcome(&show("foreign")),
        (401, "credential.invalid".into())
    );
    // A token that the issuer signed is not asked about.
    assert_eq!(show(&Tokens::shared().make("alice")).status, 200);
    assert_eq!(issuer.asked(), 3);
    // What is no answer is never an active token, and concerns that token alone.
    for odd in ["broken", "unwelcome"] {
        let unavailable = (503, "introspection.unavailable".into());
        assert_eq!(outcome(&show(odd)), unavailable);
    }
    assert_eq!(
        outcome(&show("another")),
        (401, "credential.invalid".into())
    );
    assert_eq!(issuer.asked(), 6);
    // An issuer that fails is left alone for a moment.
    for token in ["huge", "yet-another"] {
        let unavailable = (503, "introspection.unavailable".into());
        assert_eq!(outcome(&show(token)), unavailable);
    }
    assert_eq!(issuer.asked(), 7);
    assert_eq!(show("good-token").status, 200, "what is known still holds");
}

#[test]
fn many_who_show_one_opaque_token_wait_for_one_answer() {
    let upstream = Upstream::start();
    let issuer = Issuer::start(|_| {
        std::thread::sleep(Duration::from_millis(200));
        json(r#"{"active":true,"sub":"alice","aud":"test","scope":"a","client_id":"web"}"#)
    });
    let gateway = gateway(
        &upstream,
        &format!(
            "jwks: file:jwks.json, introspection: {{ endpoint: \"http://{}/i\", client_id: gateway, client_secret: env:SECRET }}",
            issuer.address
        ),
    );
    let address = gateway.addresses[0];
    std::thread::scope(|scope| {
        let show = || ask_at(address, "Authorization: Bearer a-token\r\n").status;
        let shown: Vec<_> = (0..20).map(|_| scope.spawn(show)).collect();
        for shown in shown {
            assert_eq!(shown.join().unwrap(), 200);
        }
    });
    assert_eq!(issuer.asked(), 1);
}
