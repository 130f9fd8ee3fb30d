//! A real OpenID provider in front of the gateway: `idp` of the test material, which node runs.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "where the material is, and that it is not there, comes from and goes to whoever runs the tests"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use super::{
    support::{Gateway, Upstream, send},
    tokens::Holder,
};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: idp, version: "1" }
security: [{ idp: [orders.read] }]
paths:
  /a: { get: { responses: { "200": { description: fine } } } }
  /write: { get: { security: [{ idp: [orders.write] }], responses: { "200": { description: fine } } } }
components:
  securitySchemes:
    idp:
      type: oauth2
      flows: { clientCredentials: { tokenUrl: /token, scopes: { orders.read: read, orders.write: write } } }
"#;

pub(super) struct Provider {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Provider {
    /// `None`, said aloud, where there is no node, no material, or no registry.
    pub(super) fn start() -> Option<Self> {
        let shared = std::env::var("FORTRESS_SHARED")
            .map_or_else(|_| PathBuf::from("../../../shared"), PathBuf::from);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("idp");
        match prepare(&shared.join("idp"), &directory) {
            Ok(()) => {}
            Err(why) => {
                assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "{why}");
                eprintln!("skipped: {why}");
                return None;
            }
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut child = Command::new("node")
            .arg("idp.mjs")
            .arg(address.port().to_string())
            .current_dir(&directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("issuer ")));
        Some(Self { child, address })
    }

    fn ask(&self, head: &str, body: &str) -> String {
        // svc:svc-secret
        self.ask_as("c3ZjOnN2Yy1zZWNyZXQ=", head, "", body)
    }

    fn ask_as(&self, client: &str, head: &str, more: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(
            stream,
            "{head} HTTP/1.0\r\nHost: {}\r\nAuthorization: Basic {client}\r\n{more}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    fn token(&self, audience: &str) -> String {
        let answer = self.ask(
            "POST /token",
            &format!("grant_type=client_credentials&resource=urn:api:{audience}&scope=orders.read"),
        );
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A token of a client whose tokens are bound to the key of its proofs.
    fn bound_token(&self, holder: &Holder, audience: &str) -> String {
        let proof = holder.proof("", |claims| {
            claims["htm"] = "POST".into();
            claims["htu"] = format!("http://{}/token", self.address).into();
            claims.as_object_mut().unwrap().remove("ath");
        });
        let answer = self.ask_as(
            // svc-dpop:svc-secret
            "c3ZjLWRwb3A6c3ZjLXNlY3JldA==",
            "POST /token",
            &format!("DPoP: {proof}\r\n"),
            &format!("grant_type=client_credentials&resource=urn:api:{audience}&scope=orders.read"),
        );
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["token_type"], "DPoP");
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// A token that is bound to a client's certificate, which the provider takes from a field.
    pub(super) fn token_bound_to(&self, certificate: &str) -> String {
        let field: String = certificate
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let answer = self.ask_as(
            // svc-mtls:svc-secret
            "c3ZjLW10bHM6c3ZjLXNlY3JldA==",
            "POST /token",
            &format!("x-test-client-cert: {field}\r\n"),
            "grant_type=client_credentials&resource=urn:api:rs256&scope=orders.read",
        );
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// How often it was asked about tokens.
    fn asked(&self) -> u64 {
        let stats = self.ask("GET /_ctl/stats", "");
        let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
        stats["introspect"].as_u64().unwrap()
    }

    fn control(&self, what: &str) {
        self.ask(&format!("GET /_ctl/{what}"), "");
    }
}

/// Installs it, once for all tests.
fn prepare(material: &Path, directory: &Path) -> Result<(), String> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    install(
        material,
        directory,
        &["idp.mjs", "package.json", "package-lock.json"],
    )
}

/// Copies files of the material and installs what they name.
pub(super) fn install(material: &Path, directory: &Path, files: &[&str]) -> Result<(), String> {
    if Command::new("node").arg("--version").output().is_err() {
        return Err("there is no node".into());
    }
    std::fs::create_dir_all(directory).unwrap();
    for file in files {
        std::fs::copy(material.join(file), directory.join(file))
            .map_err(|error| format!("{}: {error}", material.join(file).display()))?;
    }
    if directory.join("node_modules/oidc-provider").is_dir() {
        return Ok(());
    }
    let installed = Command::new("npm")
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match installed {
        Ok(status) if status.success() => Ok(()),
        _ => Err("npm cannot install the provider".into()),
    }
}

fn get(gateway: &Gateway, path: &str, token: &str) -> (u16, String) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
    let response = send(gateway.addresses[0], request.as_bytes()).remove(0);
    (response.status, response.code().unwrap_or_default())
}

#[test]
fn tokens_of_a_real_provider_pass_and_its_moods_and_rotations_are_survived() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let upstream = Upstream::start();
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\nidentity:\n  idp: {{ issuer: \"http://{issuer}\", audience: [\"urn:api:rs256\", \"urn:api:es256\", \"urn:api:ps256\", \"urn:api:ed25519\"], jwks: \"http://{issuer}/jwks\" }}\n",
        upstream.address,
        issuer = provider.address,
    );
    let gateway = Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)]);
    let ok = (200, String::new());
    for algorithm in ["rs256", "es256", "ps256", "ed25519"] {
        let token = provider.token(algorithm);
        assert_eq!(get(&gateway, "/a", &token), ok, "{algorithm}");
        assert_eq!(get(&gateway, "/write", &token).1, "scope.insufficient");
    }
    // For somebody else.
    let foreign = provider.token("opaque");
    assert_eq!(get(&gateway, "/a", &foreign).1, "credential.malformed");

    let before = provider.token("es256");
    provider.control("rotate");
    let after = provider.token("es256");
    assert_eq!(get(&gateway, "/a", &after), ok);
    assert_eq!(
        get(&gateway, "/a", &before),
        ok,
        "both are valid for a while"
    );

    for mood in ["500", "garbage", "huge", "hang"] {
        provider.control(&format!("jwks/{mood}"));
        assert_eq!(get(&gateway, "/a", &after), ok, "{mood}");
    }
}

#[test]
fn a_discovered_provider_vouches_for_opaque_and_bound_tokens_too() {
    let Some(provider) = Provider::start() else {
        return;
    };
    let upstream = Upstream::start();
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\nidentity:\n  idp: {{ issuer: \"http://{}\", audience: [\"urn:api:es256\", \"urn:api:opaque\"], introspection: {{ client_id: gateway, client_secret: env:SECRET }} }}\n",
        upstream.address, provider.address,
    );
    let gateway = Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)]);
    let ok = (200, String::new());
    assert_eq!(get(&gateway, "/a", &provider.token("es256")), ok);
    // Many requests with a token that nobody asked about yet ask about it once.
    let fresh = provider.token("opaque");
    let before = provider.asked();
    let address = gateway.addresses[0];
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let request =
                format!("GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {fresh}\r\n\r\n");
            std::thread::spawn(move || send(address, request.as_bytes()).remove(0).status)
        })
        .collect();
    for one in asking {
        assert_eq!(one.join().unwrap(), 200);
    }
    assert_eq!(provider.asked(), before + 1);

    let opaque = provider.token("opaque");
    assert!(!opaque.contains('.'), "{opaque}");
    assert_eq!(get(&gateway, "/a", &opaque), ok);
    assert_eq!(get(&gateway, "/write", &opaque).1, "scope.insufficient");
    assert_eq!(
        get(&gateway, "/a", &opaque.replacen(|_: char| true, "", 1)).1,
        "credential.invalid"
    );

    let holder = Holder::new();
    for audience in ["es256", "opaque"] {
        let token = provider.bound_token(&holder, audience);
        assert_eq!(get(&gateway, "/a", &token).1, "credential.unbound");
        let show = |proof: &str| {
            let request = format!(
                "GET /a HTTP/1.1\r\nHost: api.test\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\n\r\n"
            );
            let response = send(gateway.addresses[0], request.as_bytes()).remove(0);
            (response.status, response.code().unwrap_or_default())
        };
        let proof = holder.proof(&token, |_| {});
        assert_eq!(show(&proof), ok, "{audience}");
        assert_eq!(show(&proof).1, "credential.replayed");
        let thief = Holder::new().proof(&token, |_| {});
        assert_eq!(show(&thief).1, "credential.unbound");
    }
}
