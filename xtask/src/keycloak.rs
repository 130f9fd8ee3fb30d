//! `cargo xtask keycloak`: a real Keycloak as identity provider of the real program. It takes
//! minutes to fetch and to start, so it is no part of the tests.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    Verdict, gateway,
    output::say,
    process::{self, Server},
};

/// What Maven Central has of it.
const ARTIFACT: &str = "org.keycloak:keycloak-quarkus-dist:26.4.0:zip";
const NAME: &str = "keycloak-26.4.0";
const MAVEN: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1";
/// How long it may take to start for the first time.
const PATIENCE: Duration = Duration::from_secs(600);
/// Its administrator, made when it starts; it listens on loopback alone, and for minutes.
const ADMIN: &str = "admin";

/// How to run it.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The Fortress to test [default: target/release/fortress]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A folder with an unpacked Keycloak [default: fetched from Maven Central]
    #[arg(long)]
    keycloak: Option<PathBuf>,
}

/// Runs every scene and prints how each ended.
pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let binary = gateway::binary(options.binary.as_deref())?;
    let home = match &options.keycloak {
        Some(home) => home.clone(),
        None => fetch(&process::root().join("target/bench-tools"))?,
    };
    let folder = process::scratch("keycloak")?;
    let address = process::free_address()?;
    let keycloak = start(&home, &folder, address)?;
    let realm = Realm::make(address)?;
    let upstream = process::free_address()?;
    let _upstream = start_upstream(&folder, upstream)?;
    let listener = process::free_address()?;
    fs::write(folder.join("secret.txt"), SECRET)?;
    fs::write(folder.join("openapi.yaml"), gateway::DESCRIPTION)?;
    let configuration = configuration(listener, upstream, &realm.issuer);
    let _gateway = gateway::start(&binary, &folder, &configuration, listener, None)?;
    let mut scenes = Scenes {
        url: format!("http://{listener}/orders/17"),
        failed: 0,
    };
    play(&mut scenes, &realm, keycloak)?;
    Ok(if scenes.failed == 0 {
        Verdict::Fine
    } else {
        Verdict::Findings
    })
}

/// Every scene. Keycloak ends with the last.
fn play(scenes: &mut Scenes, realm: &Realm, keycloak: Server) -> Result<()> {
    let good = realm.token("orders")?;
    scenes.expect("no token", None, "401")?;
    scenes.expect("a token for this API, by a clerk", Some(&good), "200")?;
    let (audience, subject) = scenes.forwarded(&good)?;
    let (_, own) = said(&good)?;
    scenes.judge(
        "the token that the upstream gets in exchange",
        &format!("{audience} for {subject}"),
        &format!("billing for {own}"),
    );
    let foreign = realm.token("foreign")?;
    scenes.expect("a token for another audience", Some(&foreign), "401")?;
    let reader = realm.token("reader")?;
    scenes.expect("a token without the role", Some(&reader), "403")?;
    let (signed, signature) = good.rsplit_once('.').context("no JWT")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let rest: String = signature.chars().skip(1).collect();
    let forged = format!("{signed}.{first}{rest}");
    scenes.expect("a signature that was changed", Some(&forged), "401")?;
    realm.rotate()?;
    let rotated = realm.token("orders")?;
    ensure!(
        rotated.split('.').next() != good.split('.').next(),
        "Keycloak signs with the old key"
    );
    scenes.expect("a token of a new key", Some(&rotated), "200")?;
    scenes.expect("a token of the key before", Some(&good), "200")?;
    drop(keycloak);
    scenes.expect("a token while Keycloak is away", Some(&rotated), "200")?;
    scenes.expect("a forged one while it is away", Some(&forged), "401")
}

/// Fetches and unpacks it, unless that was done before.
fn fetch(folder: &Path) -> Result<PathBuf> {
    let home = folder.join(NAME);
    if home.join("bin/kc.sh").is_file() {
        return Ok(home);
    }
    fs::create_dir_all(folder)?;
    say("fetching Keycloak from Maven Central …");
    let maven = |goal: &str, more: &[&str]| {
        let mut command = Command::new("mvn");
        command.args(["-q", "-B", &format!("{MAVEN}:{goal}")]);
        command.arg(format!("-Dartifact={ARTIFACT}")).args(more);
        process::output(command.current_dir(folder))
    };
    maven("get", &["-Dtransitive=false"]).context("it needs Maven and Maven Central")?;
    maven("copy", &["-DoutputDirectory=."])?;
    let archive = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "zip"))
        .context("Maven copied no archive")?;
    process::output(
        Command::new("jar")
            .arg("xf")
            .arg(archive)
            .current_dir(folder),
    )?;
    // What jar unpacks is not executable.
    process::output(Command::new("chmod").arg("+x").arg(home.join("bin/kc.sh")))?;
    Ok(home)
}

fn start(home: &Path, folder: &Path, address: SocketAddr) -> Result<Server> {
    say("starting Keycloak; the first time takes minutes …");
    let data = home.join("data");
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    let mut command = Command::new(home.join("bin/kc.sh"));
    command
        .args(["start-dev", "--http-host=127.0.0.1"])
        .arg(format!("--http-port={}", address.port()))
        .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
        .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN);
    let log = folder.join("keycloak.log");
    Server::start_within(&mut command, &log, address, PATIENCE)
}

/// Answers every request alike, and tells which credential came.
fn start_upstream(folder: &Path, address: SocketAddr) -> Result<Server> {
    let text = format!(
        "{}http {{\n{}  server {{ listen {address}; default_type application/json;\n    \
         location / {{ add_header X-Seen $http_authorization; return 200 '{}'; }} }}\n}}\n",
        gateway::nginx_preamble(folder),
        gateway::nginx_http(folder),
        gateway::ANSWER,
    );
    gateway::start_nginx(folder, "upstream", &text, address, None)
}

fn configuration(listener: SocketAddr, upstream: SocketAddr, issuer: &str) -> String {
    format!(
        "version: 1\nlisten: [{{ address: \"{listener}\" }}]\napis:\n  orders:\n    \
         spec: openapi.yaml\n    upstream:\n      endpoints: [{{ url: \"http://{upstream}\" }}]\n      \
         identity: {{ forward: exchange, audience: billing, exchange: {{ \
         endpoint: \"{issuer}/protocol/openid-connect/token\", client_id: gateway, \
         client_secret: \"file:secret.txt\" }} }}\n    operations:\n      \
         getOrder: {{ require: {{ role: clerk }} }}\nidentity:\n  keycloak:\n    \
         issuer: \"{issuer}\"\n    audience: orders-api\n    claims: {{ roles: realm_access.roles }}\njournal: [{{ file: journal.ndjson }}]\n"
    )
}

/// A realm with three clients: one that may call the API as a clerk, one that may not, and one of
/// another API.
#[derive(Debug)]
struct Realm {
    issuer: String,
    admin: String,
}

const SECRET: &str = "a-secret-of-a-realm-that-lives-for-minutes";

impl Realm {
    fn make(address: SocketAddr) -> Result<Self> {
        let base = format!("http://{address}");
        let began = Instant::now();
        let form =
            format!("grant_type=password&client_id=admin-cli&username={ADMIN}&password={ADMIN}");
        let token = format!("{base}/realms/master/protocol/openid-connect/token");
        let bearer = loop {
            match ask(&[&token, "--data", &form]) {
                Ok(answer) => break text(&answer, "access_token")?,
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_secs(1)),
            }
        };
        let realm = Self {
            issuer: format!("{base}/realms/fortress"),
            admin: format!("{base}/admin/realms"),
        };
        let make = |path: &str, value: &Value| realm.post(&bearer, path, value);
        make("", &json!({ "realm": "fortress", "enabled": true }))?;
        make("/fortress/roles", &json!({ "name": "clerk" }))?;
        make(
            "/fortress/client-scopes",
            &json!({
                "name": "orders", "protocol": "openid-connect",
                "attributes": { "include.in.token.scope": "true" },
            }),
        )?;
        for (name, audiences) in [
            ("billing", &["billing"][..]),
            // Who exchanges a token must be among those that it is for.
            ("orders", &["orders-api", "gateway"]),
            ("reader", &["orders-api", "gateway"]),
            ("foreign", &["another-api"]),
            ("gateway", &["billing"]),
        ] {
            make("/fortress/clients", &client(name, audiences))?;
        }
        let account = realm.account(&bearer, "orders")?;
        let roles = format!("{}/fortress/roles/clerk", realm.admin);
        let role = ask(&[&roles, "--oauth2-bearer", &bearer])?;
        let path = format!("/fortress/users/{account}/role-mappings/realm");
        realm.post(&bearer, &path, &json!([role]))?;
        Ok(realm)
    }

    /// The user that a client is when it calls for itself.
    fn account(&self, bearer: &str, client: &str) -> Result<String> {
        let all = format!("{}/fortress/clients?clientId={client}", self.admin);
        let clients = ask(&[&all, "--oauth2-bearer", bearer])?;
        let id = text(clients.get(0).context("no such client")?, "id")?;
        let user = format!("{}/fortress/clients/{id}/service-account-user", self.admin);
        text(&ask(&[&user, "--oauth2-bearer", bearer])?, "id")
    }

    fn post(&self, bearer: &str, path: &str, value: &Value) -> Result<()> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "--oauth2-bearer", bearer]);
        curl.args(["-H", "Content-Type: application/json", "--data"]);
        curl.arg(value.to_string())
            .arg(format!("{}{path}", self.admin));
        process::output(&mut curl).with_context(|| format!("POST {path}"))?;
        Ok(())
    }

    /// An access token for a client.
    fn token(&self, client: &str) -> Result<String> {
        let url = format!("{}/protocol/openid-connect/token", self.issuer);
        let form = format!(
            "grant_type=client_credentials&client_id={client}&client_secret={SECRET}&scope=orders"
        );
        text(&ask(&[&url, "--data", &form])?, "access_token")
    }

    /// Adds a signing key that comes before the one there is.
    fn rotate(&self) -> Result<()> {
        let base = self.admin.trim_end_matches("/admin/realms");
        let url = format!("{base}/realms/master/protocol/openid-connect/token");
        let form =
            format!("grant_type=password&client_id=admin-cli&username={ADMIN}&password={ADMIN}");
        let bearer = text(&ask(&[&url, "--data", &form])?, "access_token")?;
        let provider = json!({
            "name": "newer", "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": { "priority": ["200"], "enabled": ["true"], "active": ["true"], "algorithm": ["RS256"] },
        });
        self.post(&bearer, "/fortress/components", &provider)
    }
}

fn client(name: &str, audiences: &[&str]) -> Value {
    let mappers = audiences.iter().map(|audience| {
        json!({
            "name": audience, "protocol": "openid-connect",
            "protocolMapper": "oidc-audience-mapper",
            "config": { "included.custom.audience": audience, "access.token.claim": "true" },
        })
    });
    json!({
        "clientId": name, "secret": SECRET, "serviceAccountsEnabled": true,
        "standardFlowEnabled": false, "publicClient": false,
        "attributes": { "standard.token.exchange.enabled": (name == "gateway").to_string() },
        "defaultClientScopes": ["basic", "roles"], "optionalClientScopes": ["orders"],
        "protocolMappers": mappers.collect::<Vec<_>>(),
    })
}

/// The audience and the subject of a token, as JSON.
fn said(token: &str) -> Result<(String, String)> {
    let claims = token.split('.').nth(1).context("no JWT")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let audience = claims.get("aud").context("no `aud`")?;
    let audience = audience
        .as_str()
        .map_or(audience.to_string(), str::to_owned);
    Ok((audience, text(&claims, "sub")?))
}

/// What curl gets, as JSON; an error if the status says so.
fn ask(arguments: &[&str]) -> Result<Value> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail-with-body", "--max-time", "30"]);
    let body = process::output(curl.args(arguments))?;
    serde_json::from_slice(&body).context("no JSON came")
}

fn text(value: &Value, member: &str) -> Result<String> {
    let text = value.get(member).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no `{member}`"))?.to_owned())
}

/// What is asked of the gateway, and how often it answered otherwise than it should.
#[derive(Debug)]
struct Scenes {
    url: String,
    failed: u32,
}

impl Scenes {
    fn expect(&mut self, scene: &str, token: Option<&str>, expected: &str) -> Result<()> {
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--max-time",
            "30",
        ]);
        if let Some(token) = token {
            curl.args(["--oauth2-bearer", token]);
        }
        let status = process::output(curl.arg(&self.url))?;
        let status = String::from_utf8_lossy(&status).into_owned();
        if status.is_empty() {
            bail!("the gateway does not answer");
        }
        self.judge(scene, &status, expected);
        Ok(())
    }

    fn judge(&mut self, scene: &str, seen: &str, expected: &str) {
        let verdict = if seen == expected { "ok" } else { "FAILED" };
        self.failed += u32::from(seen != expected);
        say(format_args!(
            "{verdict:6} {scene}: {seen}, expected {expected}"
        ));
    }

    /// The audience and the subject of the token that the upstream gets for this one.
    fn forwarded(&self, token: &str) -> Result<(String, String)> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-D", "-", "-o", "/dev/null", "--max-time", "30"]);
        curl.args(["--oauth2-bearer", token, &self.url]);
        let head = String::from_utf8(process::output(&mut curl)?)?;
        let mut lines = head.lines();
        let seen = lines.find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("X-Seen").then_some(value)
        });
        let seen = seen.with_context(|| format!("the upstream saw no credential: {head}"))?;
        said(seen.strip_prefix("Bearer ").unwrap_or(seen))
    }
}
