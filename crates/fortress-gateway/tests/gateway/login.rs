//! People who log in with a browser at a real OpenID provider, which node runs.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "where the material is, and that it is not there, comes from and goes to whoever runs the tests"
)]

mod browser;
mod chromium;
mod configuration;
mod failures;
mod renewal;
mod tls;

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use browser::{As, Browser};

use super::{
    idp,
    support::{Gateway, Received, Response, Upstream, send},
};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: shop, version: "1" }
security: [{ login: [] }]
paths:
  /page:
    get: { operationId: page, parameters: [{ name: x, in: query, schema: { type: string } }], responses: { "200": { description: fine, content: { text/html: {} } } } }
    post:
      operationId: change
      requestBody: { content: { application/x-www-form-urlencoded: { schema: { type: object, additionalProperties: true } } } }
      responses: { "200": { description: fine, content: { text/html: {} } } }
  /admin: { get: { operationId: admin, responses: { "200": { description: fine, content: { text/html: {} } } } } }
  /orders: { get: { operationId: orders, security: [{ login: [orders.read] }], responses: { "200": { description: fine, content: { text/html: {} } } } } }
  /write: { get: { operationId: write, security: [{ login: [orders.write] }], responses: { "200": { description: fine, content: { text/html: {} } } } } }
  /safe: { get: { operationId: safe, responses: { "200": { description: fine, content: { text/html: {} } } } } }
  /free: { get: { operationId: free, security: [], responses: { "200": { description: fine, content: { text/html: {} } } } } }
components:
  securitySchemes:
    login: { type: openIdConnect, openIdConnectUrl: "https://idp.test/.well-known/openid-configuration" }
"#;

const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 55\r\n\r\n<!doctype html><title>shop</title><p id=who>welcome</p>";

/// A gateway, the provider that it sends people to, and the API behind.
struct Shop {
    gateway: Gateway,
    upstream: Upstream,
    provider: Provider,
}

impl Shop {
    /// `None`, said aloud, where the provider cannot run.
    fn start() -> Option<Self> {
        Self::start_with("", "", |_| {})
    }

    /// With more keys of the login, more of the configuration, and what no file may say.
    fn start_with(
        login: &str,
        more: &str,
        change: impl Fn(&mut fortress_model::config::Config),
    ) -> Option<Self> {
        let directory = Provider::prepare()?;
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let upstream = Upstream::start();
        upstream.answers(PAGE);
        let config = config(&upstream, address, login, more);
        let files = [("fortress.yaml", &*config), ("openapi.yaml", DESCRIPTION)];
        let gateway = Gateway::start_with(&files, change);
        let provider = Provider::start(&directory, address, gateway.addresses[0]);
        let shop = Self {
            gateway,
            upstream,
            provider,
        };
        // The provider was not there when the gateway first asked.
        let deadline = Instant::now() + Duration::from_secs(10);
        while Browser::default().open(&shop.url("/page")).status == 503 {
            assert!(Instant::now() < deadline, "the issuer is not discovered");
            thread::sleep(Duration::from_millis(50));
        }
        Some(shop)
    }

    fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.gateway.addresses[0])
    }

    /// A browser in which somebody has logged in.
    fn browser(&self, name: &str) -> Browser {
        let mut browser = Browser::default();
        let response = browser.log_in(&self.url("/page"), name);
        assert_eq!(response.status, 200, "{response:?}");
        self.upstream.received();
        browser
    }

    /// A script's request.
    fn ask(&self, browser: &mut Browser, target: &str) -> (u16, String) {
        seen(&browser.request("GET", &self.url(target), As::Script, "", ""))
    }

    /// The journal's event for an answer, as text.
    fn event(&self, response: &Response) -> String {
        let id = response.header("x-request-id").unwrap();
        self.gateway.event(id).to_string()
    }

    /// The one request that the upstream got.
    fn received(&self) -> Received {
        let mut received = self.upstream.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }
}

fn config(upstream: &Upstream, provider: SocketAddr, login: &str, more: &str) -> String {
    let client = if login.contains("client_id") {
        ""
    } else {
        "client_id: web, client_secret: env:SECRET, "
    };
    let key = if login.contains("key:") {
        ""
    } else {
        "key: env:COOKIE_KEY, "
    };
    format!(
        r#"
version: 1
listen: [{{ address: 127.0.0.1:0 }}]
apis:
  shop:
    spec: openapi.yaml
    upstream: {{ endpoints: [{{ url: "http://{}" }}], identity: {{ forward: token, headers: {{ X-User: principal.id, X-Tenant: principal.tenant }} }} }}
    operations:
      admin: {{ require: {{ role: admin }} }}
      safe: {{ require: {{ acr: ["urn:mfa"], max_age: 10min }} }}
identity:
  web:
    issuer: "http://{provider}"
    claims: {{ tenant: org_id }}
    login: {{ {client}{key}scopes: [openid, orders.read], {login} }}
journal: [{{ file: journal.ndjson }}]
{more}
"#,
        upstream.address
    )
}

/// The real provider.
struct Provider {
    child: Child,
    address: SocketAddr,
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Provider {
    /// Installs it, once for all tests.
    fn prepare() -> Option<PathBuf> {
        static INSTALLING: Mutex<()> = Mutex::new(());
        let _one = INSTALLING
            .lock()
            .unwrap_or_else(|broken| broken.into_inner());
        let shared = std::env::var("FORTRESS_SHARED")
            .map_or_else(|_| PathBuf::from("../../../shared"), PathBuf::from);
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("login-idp");
        match install(&shared.join("idp"), &directory) {
            Ok(()) => Some(directory),
            Err(why) => {
                skipped(&why);
                None
            }
        }
    }

    fn start(directory: &Path, address: SocketAddr, gateway: SocketAddr) -> Self {
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .arg(address.port().to_string())
            .arg(format!("http://{gateway}"))
            .current_dir(directory)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().starts_with("issuer ")));
        Self { child, address }
    }

    /// Sets how it behaves, and tells what it counted.
    fn control(&self, what: &str) -> serde_json::Value {
        let request = format!(
            "GET /control/{what} HTTP/1.1\r\nHost: {}\r\n\r\n",
            self.address
        );
        let response = send(self.address, request.as_bytes()).remove(0);
        serde_json::from_slice(&response.body).unwrap()
    }

    /// How often codes and refresh tokens were redeemed.
    fn redeemed(&self) -> u64 {
        self.control("state")["grants"]["all"].as_u64().unwrap_or(0)
    }
}

fn skipped(why: &str) {
    assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "{why}");
    eprintln!("skipped: {why}");
}

fn install(material: &Path, directory: &Path) -> Result<(), String> {
    idp::install(material, directory, &["package.json", "package-lock.json"])?;
    let script = include_str!("login/provider.mjs");
    std::fs::write(directory.join("provider.mjs"), script).unwrap();
    Ok(())
}

fn seen(response: &Response) -> (u16, String) {
    (response.status, response.code().unwrap_or_default())
}

/// A parameter of an address, decoded.
fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    fortress_auth::login::form_decode(value)
}

#[test]
fn a_person_logs_in_and_is_known_from_then_on() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    let sent = browser.open(&shop.url("/page?x=1"));
    assert_eq!(sent.status, 302, "{sent:?}");
    assert_eq!(sent.header("cache-control"), Some("no-store"));
    let location = sent.header("location").unwrap().to_owned();
    assert!(location.starts_with(&format!("http://{}/auth?", shop.provider.address)));
    let said = |name: &str| parameter(&location, name).unwrap_or_default();
    assert_eq!(said("response_type"), "code");
    assert_eq!(said("client_id"), "web");
    assert_eq!(said("scope"), "openid orders.read");
    assert_eq!(said("code_challenge_method"), "S256");
    assert_eq!(said("redirect_uri"), shop.url("/_session/callback"));
    let secrets = [said("state"), said("nonce"), said("code_challenge")];
    assert!(
        secrets.iter().all(|secret| secret.len() == 43),
        "{secrets:?}"
    );
    let event = shop.event(&sent);
    assert!(event.contains("sent to `web` to log in"), "{event}");
    assert!(!event.contains(&said("state")), "{event}");
    assert_eq!(browser.names("__Host-fortress-web.login.").len(), 1);

    let back = browser.until(&location, "alice", "/_session/callback");
    let began = browser.open(&back);
    assert_eq!(
        (began.status, began.header("location")),
        (303, Some("/page?x=1"))
    );
    assert_eq!(browser.names("__Host-fortress-"), ["__Host-fortress-web"]);
    let event = shop.event(&began);
    assert!(
        event.contains("logged in") && event.contains("alice"),
        "{event}"
    );
    assert!(
        !event.contains(&parameter(&back, "code").unwrap()),
        "{event}"
    );
    assert!(shop.upstream.received().is_empty());

    let page = browser.open(&shop.url("/page?x=1"));
    assert_eq!(
        (page.status, page.body.as_slice()),
        (200, &PAGE[PAGE.len() - 55..])
    );
    let received = shop.received();
    assert_eq!(received.header("x-user"), Some("alice"));
    assert_eq!(received.header("x-tenant"), Some("acme"));
    assert_eq!(received.header("cookie"), None);
    let token = received.header("authorization").unwrap();
    assert!(token.starts_with("Bearer ") && token.len() > 20, "{token}");
    assert!(
        received.head.starts_with("GET /page?x=1 "),
        "{}",
        received.head
    );
}

#[test]
fn what_a_person_may_is_what_the_issuer_says() {
    let Some(shop) = Shop::start() else { return };
    let mut alice = shop.browser("alice");
    let fine = (200, String::new());
    assert_eq!(shop.ask(&mut alice, "/orders"), fine);
    let refused = |code: &str| (403, code.to_owned());
    assert_eq!(
        shop.ask(&mut alice, "/write"),
        refused("scope.insufficient")
    );
    assert_eq!(shop.ask(&mut alice, "/admin"), refused("role.insufficient"));
    assert_eq!(shop.ask(&mut shop.browser("root"), "/admin"), fine);
    // A page that is free for all gets none of it.
    shop.upstream.received();
    let more = "Cookie: theme=dark\r\n";
    let free = alice.request("GET", &shop.url("/free"), As::Script, more, "");
    assert_eq!(free.status, 200);
    let received = shop.received();
    assert_eq!(received.header("cookie"), Some("theme=dark"));
    assert_eq!(received.header("authorization"), None);
}

#[test]
fn every_way_to_prove_the_client_is_taken() {
    for client in [
        "client_id: post, client_secret: env:SECRET, client_auth: post, callback: /auth/callback",
        "client_id: public",
    ] {
        let Some(shop) = Shop::start_with(client, "", |_| {}) else {
            return;
        };
        let mut browser = shop.browser("alice");
        assert_eq!(shop.ask(&mut browser, "/page").0, 200, "{client}");
    }
}

#[test]
fn a_session_is_as_large_as_several_cookies_and_no_larger() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    assert_eq!(browser.log_in(&shop.url("/page"), "large").status, 200);
    let names = [
        "__Host-fortress-web",
        "__Host-fortress-web.1",
        "__Host-fortress-web.2",
    ];
    assert_eq!(browser.names("__Host-fortress-"), names);
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);
    // One that is shorter takes the place of all of them.
    let location = browser.open(&shop.url("/safe"));
    assert_eq!(
        location.status, 401,
        "one who logged in just now is not sent again"
    );
    let link = shop.url("/_session/login?return=%2Forders");
    let mut other = browser.clone();
    // The provider forgot who it is, and asks.
    other.forget("_session");
    assert_eq!(other.log_in(&link, "alice").status, 200);
    assert_eq!(other.names("__Host-fortress-"), ["__Host-fortress-web"]);
    assert_eq!(shop.ask(&mut other, "/orders").0, 200);

    let mut huge = Browser::default();
    let refused = huge.log_in(&shop.url("/page"), "huge");
    assert_eq!(seen(&refused), (400, "login.failed".into()));
    assert!(shop.event(&refused).contains("does not fit"));
    assert!(huge.names("__Host-").is_empty());
}

#[test]
fn several_tabs_log_in_at_once_and_not_without_end() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    let mut tabs = Vec::new();
    for number in 0..8 {
        let sent = browser.open(&shop.url(&format!("/page?x={number}")));
        tabs.push(sent.header("location").unwrap().to_owned());
        let open = browser.names("__Host-fortress-web.login.").len();
        assert_eq!(open, (number + 1).min(5));
    }
    // The oldest gave way to the youngest.
    for (number, location) in tabs.iter().enumerate() {
        let back = browser.until(location, "alice", "/_session/callback");
        let ended = browser.open(&back);
        if number < 3 {
            assert_eq!(seen(&ended), (400, "login.failed".into()), "{number}");
        } else {
            let page = format!("/page?x={number}");
            assert_eq!(ended.header("location"), Some(page.as_str()));
        }
    }
    assert!(browser.names("__Host-fortress-web.login.").is_empty());
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);
}

#[test]
fn a_stronger_login_is_asked_for_where_it_is_demanded() {
    let Some(shop) = Shop::start() else { return };
    // Who comes by that page first logs in as it demands.
    let mut browser = Browser::default();
    let sent = browser.open(&shop.url("/safe"));
    let location = sent.header("location").unwrap();
    assert_eq!(
        parameter(location, "acr_values").as_deref(),
        Some("urn:mfa")
    );
    assert_eq!(parameter(location, "max_age").as_deref(), Some("600"));
    assert_eq!(browser.log_in(&shop.url("/safe"), "alice").status, 200);
    // Who logged in weakly, just now, is told so rather than sent back and forth.
    let mut weak = shop.browser("alice");
    let told = weak.open(&shop.url("/safe"));
    assert_eq!(seen(&told), (401, "authentication.insufficient".into()));
    let challenge = told.header("www-authenticate").unwrap();
    assert!(challenge.contains("acr_values=\"urn:mfa\""), "{challenge}");
    assert_eq!(shop.ask(&mut weak, "/safe").0, 401);
}

#[test]
fn logout_ends_a_session_here_and_at_the_issuer() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = shop.browser("alice");
    let copy = browser.clone();
    let logout = shop.url("/_session/logout");
    // A picture, a form or a link of another site logs nobody out.
    for site in ["cross-site", "same-site"] {
        let more = format!("Sec-Fetch-Site: {site}\r\n");
        for method in ["GET", "POST"] {
            let refused = browser.request(method, &logout, As::Page, &more, "");
            assert_eq!(seen(&refused), (403, "session.cross_site".into()));
        }
    }
    assert_eq!(
        browser.open(&logout).status,
        403,
        "nobody says where it comes from"
    );
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);

    let more = "Sec-Fetch-Site: same-origin\r\n";
    let out = browser.post(&logout, "", more);
    assert_eq!(out.status, 303, "{out:?}");
    assert!(browser.names("__Host-fortress-").is_empty());
    let location = out.header("location").unwrap().to_owned();
    assert!(location.starts_with(&format!("http://{}/session/end?", shop.provider.address)));
    assert_eq!(
        parameter(&location, "post_logout_redirect_uri"),
        Some(shop.url("/"))
    );
    assert_eq!(parameter(&location, "client_id").as_deref(), Some("web"));
    assert_eq!(
        parameter(&location, "id_token_hint")
            .unwrap()
            .split('.')
            .count(),
        3
    );
    assert_eq!(shop.provider.control("state")["revocations"], 1);
    // The provider knows the hint, and asks.
    let asked = browser.open(&location);
    let page = String::from_utf8(asked.body).unwrap();
    let secret = page.split("name=\"xsrf\" value=\"").nth(1).unwrap();
    let secret = secret.split('"').next().unwrap();
    let confirm = format!("http://{}/session/end/confirm", shop.provider.address);
    let left = browser.post(&confirm, &format!("xsrf={secret}&logout=yes"), "");
    let back = left.header("location").unwrap();
    assert_eq!(back.split('?').next(), Some(shop.url("/").as_str()));

    // A copy of the cookie is worth nothing, and whoever comes again is asked for a name.
    let mut copy = copy;
    assert_eq!(
        shop.ask(&mut copy, "/page"),
        (401, "credential.revoked".into())
    );
    let sent = browser.open(&shop.url("/page"));
    let asked = browser.open(sent.header("location").unwrap());
    assert!(
        asked
            .header("location")
            .unwrap()
            .starts_with("/interaction/")
    );
}

#[test]
fn logout_may_stay_here() {
    let Some(shop) = Shop::start_with("logout_at: gateway, after_logout: /bye", "", |_| {}) else {
        return;
    };
    let mut browser = shop.browser("alice");
    let more = "Sec-Fetch-Site: same-origin\r\n";
    let out = browser.request("GET", &shop.url("/_session/logout"), As::Page, more, "");
    assert_eq!((out.status, out.header("location")), (303, Some("/bye")));
    assert!(browser.names("__Host-fortress-").is_empty());
    // Nobody is logged out twice.
    let out = browser.request("GET", &shop.url("/_session/logout"), As::Page, more, "");
    assert_eq!((out.status, out.header("location")), (303, Some("/bye")));
}
