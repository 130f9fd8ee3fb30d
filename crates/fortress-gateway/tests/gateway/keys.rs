//! Keys of an identity provider that is well, slow, silent, talks rubbish or too much, or changes
//! its keys. The provider is a script of the test; `idp.rs` asks a real one.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fortress_auth::{
    Algorithm,
    sign::{SigningKey, key_set},
};
use fortress_model::{Clock, SystemClock};

use super::support::{Gateway, Response, Upstream, send, until};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: keys, version: "1" }
security: [{ idp: [] }]
paths:
  /a: { get: { responses: { "200": { description: fine } } } }
  /open: { get: { security: [], responses: { "200": { description: fine } } } }
components: { securitySchemes: { idp: { type: http, scheme: bearer, bearerFormat: JWT } } }
"#;

/// What the provider does when it is asked.
#[derive(Clone)]
enum Mood {
    Answers(Vec<u8>),
    Hangs,
    Closes,
}

struct Provider {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mood = Arc::new(Mutex::new(mood));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shown, count) = (Arc::clone(&mood), Arc::clone(&asked));
        thread::spawn(move || {
            let mut hung = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let mut piece = [0; 4096];
                if stream.read(&mut piece).is_ok_and(|read| read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    match shown.lock().unwrap().clone() {
                        Mood::Answers(answer) => drop(stream.write_all(&answer)),
                        Mood::Hangs => hung.push(stream),
                        Mood::Closes => {}
                    }
                }
            }
        });
        Self {
            address,
            mood,
            asked,
        }
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn document(body: &str) -> Mood {
    Mood::Answers(
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

fn gateway(provider: &Provider, upstream: &Upstream) -> Gateway {
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\nidentity:\n  idp: {{ issuer: https://idp.test, audience: test, jwks: \"http://{}/jwks\" }}\n",
        upstream.address, provider.address,
    );
    Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)])
}

fn key(id: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256, id).unwrap()
}

fn get(gateway: &Gateway, key: &SigningKey) -> Response {
    get_at(gateway.addresses[0], key)
}

fn get_at(address: SocketAddr, key: &SigningKey) -> Response {
    get_with(address, key, &key.header("JWT"))
}

fn get_with(address: SocketAddr, key: &SigningKey, header: &str) -> Response {
    let expires = SystemClock.now().seconds() + 600;
    let claims =
        format!(r#"{{"iss":"https://idp.test","aud":"test","sub":"alice","exp":{expires}}}"#);
    let token = key.sign_raw(header.as_bytes(), claims.as_bytes()).unwrap();
    let request = format!("GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    send(address, request.as_bytes()).remove(0)
}

#[test]
fn keys_that_cannot_be_had_refuse_what_needs_them_and_nothing_else() {
    let signer = key("one");
    let (upstream, huge) = (Upstream::start(), "x".repeat(10 << 20));
    let unusable = [
        Mood::Closes,
        document("<html>welcome</html>"),
        document(r#"{"keys":[]}"#),
        document(&format!(r#"{{"keys":[],"x":"{huge}"}}"#)),
        Mood::Answers(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Mood::Answers(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
                .to_vec(),
        ),
        Mood::Answers(b"\x00\xff garbage".to_vec()),
    ];
    for mood in unusable {
        let provider = Provider::start(mood);
        let gateway = gateway(&provider, &upstream);
        let response = get(&gateway, &signer);
        assert_eq!(
            (response.status, response.code().as_deref()),
            (503, Some("keys.unavailable"))
        );
        let open = send(
            gateway.addresses[0],
            b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n",
        );
        assert_eq!(open[0].status, 200);
        assert_eq!(upstream.received().len(), 1);
        // It comes back by itself.
        provider.becomes(document(&key_set(&[&signer])));
        until("the keys are there", || {
            get(&gateway, &signer).status == 200
        });
        drop(upstream.received());
    }
}

#[test]
fn a_provider_that_hangs_delays_a_request_for_a_bounded_time() {
    let (signer, upstream) = (key("one"), Upstream::start());
    let provider = Provider::start(Mood::Hangs);
    let gateway = gateway(&provider, &upstream);
    let started = Instant::now();
    assert_eq!(get(&gateway, &signer).status, 503);
    assert!(started.elapsed() < Duration::from_secs(6));
    let started = Instant::now();
    let open = send(
        gateway.addresses[0],
        b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    assert_eq!(open[0].status, 200);
    assert!(started.elapsed() < Duration::from_secs(1), "others waited");
}

#[test]
fn requests_do_not_flood_a_provider_that_is_down() {
    let (signer, upstream) = (key("one"), Upstream::start());
    let provider = Provider::start(Mood::Closes);
    let gateway = gateway(&provider, &upstream);
    let started = Instant::now();
    for _ in 0..40 {
        assert_eq!(get(&gateway, &signer).status, 503);
    }
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let asked = provider.asked();
    assert!(asked <= seconds + 2, "asked {asked} times in {seconds} s");
}

#[test]
fn rotated_keys_are_found_at_once_and_the_old_ones_forgotten() {
    let (old, new, stranger) = (key("old"), key("new"), key("stranger"));
    let upstream = Upstream::start();
    let provider = Provider::start(document(&key_set(&[&old])));
    let gateway = gateway(&provider, &upstream);
    assert_eq!(get(&gateway, &old).status, 200);
    assert_eq!(get(&gateway, &new).status, 401);
    provider.becomes(document(&key_set(&[&new])));
    assert_eq!(get(&gateway, &new).status, 200);
    let refused = get(&gateway, &old);
    assert_eq!(
        (refused.status, refused.code().as_deref()),
        (401, Some("credential.invalid"))
    );

    // Tokens with keys that nobody has do not make the gateway ask for each: they wait for one answer.
    let address = gateway.addresses[0];
    thread::scope(|scope| {
        let shown: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| get_at(address, &stranger).status))
            .collect();
        for shown in shown {
            assert_eq!(shown.join().unwrap(), 401);
        }
    });
    assert!(provider.asked() <= 6, "asked {} times", provider.asked());

    // A provider that goes down takes nobody along; whether it knows a key is then not known.
    provider.becomes(Mood::Closes);
    assert_eq!(get(&gateway, &new).status, 200);
    let unknown = get(&gateway, &stranger);
    assert_eq!(
        (unknown.status, unknown.code().as_deref()),
        (503, Some("keys.unavailable"))
    );
    assert_eq!(get(&gateway, &new).status, 200);
}

#[test]
fn no_stranger_keeps_a_new_key_from_being_found() {
    let (old, new) = (key("old"), key("new"));
    let upstream = Upstream::start();
    let provider = Provider::start(document(&key_set(&[&old])));
    let gateway = gateway(&provider, &upstream);
    assert_eq!(get(&gateway, &old).status, 200);
    // More than may be asked for at once.
    for stranger in ["a", "b", "c"] {
        assert_eq!(get(&gateway, &key(stranger)).status, 401);
    }
    provider.becomes(document(&key_set(&[&old, &new])));
    assert_eq!(get(&gateway, &new).status, 200);
}

#[test]
fn a_key_without_a_name_is_found_when_it_is_new() {
    let (old, new) = (key("old"), key("new"));
    let set = |key: &SigningKey| {
        let mut jwk: serde_json::Value = serde_json::from_str(&key.public_jwk()).unwrap();
        jwk.as_object_mut().unwrap().remove("kid");
        document(&serde_json::json!({ "keys": [jwk] }).to_string())
    };
    let upstream = Upstream::start();
    let provider = Provider::start(set(&old));
    let gateway = gateway(&provider, &upstream);
    let get = |key: &SigningKey| get_with(gateway.addresses[0], key, r#"{"alg":"ES256"}"#).status;
    assert_eq!(get(&old), 200);
    assert_eq!(get(&new), 401);
    provider.becomes(set(&new));
    assert_eq!(get(&new), 200);
    assert_eq!(get(&old), 401);
}
