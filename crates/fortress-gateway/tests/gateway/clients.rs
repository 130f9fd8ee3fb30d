//! Certificates of clients, with real TLS: whom they name, what is refused, and what a reload means for
//! connections that are open. And passwords, which need TLS.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    CertificateParams, CertificateRevocationListParams, KeyIdMethod, KeyPair, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    idp::Provider,
    support::{Gateway, Upstream},
    tls::Authority,
};

const DESCRIPTION: &str = r#"
openapi: 3.1.0
info: { title: machines, version: "1" }
components:
  securitySchemes:
    machine: { type: mutualTLS }
    person: { type: http, scheme: basic }
paths:
  /a:
    get: { operationId: getA, security: [{ machine: [] }], responses: { "200": { description: fine } } }
  /open:
    get: { operationId: open, security: [], responses: { "200": { description: fine } } }
  /closed:
    get: { operationId: closed, security: [], responses: { "200": { description: fine } } }
  /staff:
    get: { operationId: staff, security: [{ person: [] }], responses: { "200": { description: fine } } }
"#;

/// Alice's password is `correct horse`.
const USERS: &str = "alice:$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$0AuQxA+RjPiJeA19Op7DwrFxnfh9xeTU2T6mFj2wThc\n";

fn config(clients: &str, upstream: SocketAddr) -> String {
    format!(
        r#"
version: 1
listen:
  - address: 127.0.0.1:0
    tls:
      certificates: [{{ chain: file:one.pem, key: file:one.key }}]
      clients: {clients}
  - {{ address: 127.0.0.2:0 }}
apis:
  machines:
    spec: openapi.yaml
    upstream: "http://{upstream}"
    operations: {{ closed: {{ require: {{ certificate: true }} }} }}
identity:
  machines: {{ certificate: {{ san: "spiffe://example.com/*" }} }}
  staff: {{ basic: {{ users: file:users }} }}
journal: [{{ file: journal.ndjson }}]
"#
    )
}

struct Setup {
    authority: Authority,
    gateway: Gateway,
    upstream: Upstream,
}

impl Setup {
    fn new(clients: &str) -> Self {
        let (authority, upstream) = (Authority::new(), Upstream::start());
        let (chain, key) = authority.sign(&["one.test"]);
        let gateway = Gateway::start(&[
            ("fortress.yaml", &config(clients, upstream.address)),
            ("openapi.yaml", DESCRIPTION),
            ("one.pem", &chain),
            ("one.key", &key),
            ("ca.pem", &authority.pem()),
            ("crl.pem", &revoked(&authority, &[])),
            ("users", USERS),
        ]);
        Self {
            authority,
            gateway,
            upstream,
        }
    }

    fn reload(&self, clients: &str) {
        let file = self.gateway.directory.path().join("fortress.yaml");
        std::fs::write(&file, config(clients, self.upstream.address)).unwrap();
        self.gateway.reload();
    }

    async fn connect(&self, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.gateway.addresses[0]).await?;
        client
            .connect(ServerName::try_from("one.test").unwrap(), tcp)
            .await
    }

    /// A connection on which one request after the other is sent.
    async fn open(&self, client: &TlsConnector) -> http1::SendRequest<Full<Bytes>> {
        let io = TokioIo::new(self.connect(client).await.unwrap());
        let (sender, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// Everything that the journal has to say.
    fn journal_has(&self, texts: &[&str]) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let read = || std::fs::read_to_string(self.gateway.journal()).unwrap_or_default();
        let found = |journal: &str| {
            journal
                .lines()
                .any(|line| texts.iter().all(|text| line.contains(text)))
        };
        while !found(&read()) {
            assert!(
                std::time::Instant::now() < deadline,
                "{texts:?}: {}",
                read()
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

/// A certificate for `spiffe://example.com/NAME`, and its key.
fn certificate(authority: &Authority, name: &str, serial: u64) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let uri = format!("spiffe://example.com/{name}");
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.serial_number = Some(SerialNumber::from(serial));
    (params.signed_by(&key, &authority.0).unwrap(), key)
}

/// A client with a certificate for `spiffe://example.com/NAME`, or none.
fn client(trusts: &Authority, shows: Option<(&Authority, &str, u64)>, alpn: &[u8]) -> TlsConnector {
    let shows = shows.map(|(authority, name, serial)| certificate(authority, name, serial));
    client_with(trusts, shows.as_ref(), alpn)
}

fn client_with(
    trusts: &Authority,
    shows: Option<&(rcgen::Certificate, KeyPair)>,
    alpn: &[u8],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.0.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from(certificate.der().to_vec())];
            let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    config.alpn_protocols = vec![alpn.to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// A list of revoked certificates, by their serial numbers.
fn revoked(authority: &Authority, serials: &[u64]) -> String {
    let revoked_certs = serials
        .iter()
        .map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        })
        .collect();
    CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2099, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    }
    .signed_by(&authority.0)
    .unwrap()
    .pem()
    .unwrap()
}

async fn get(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    path: &str,
    authorization: Option<&str>,
) -> (StatusCode, String) {
    let mut request = Request::get(path).header("host", "one.test");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let request = request.body(Full::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default().to_owned();
    (status, code)
}

fn ok() -> (StatusCode, String) {
    (StatusCode::OK, String::new())
}

fn denied(code: &str) -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, code.to_owned())
}

/// The server's alert may come with the first read after the client's part of the handshake.
async fn is_turned_away(setup: &Setup, client: &TlsConnector) -> bool {
    let Ok(stream) = setup.connect(client).await else {
        return true;
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/open").header("host", "one.test");
    let request = request.body(Full::<Bytes>::default()).unwrap();
    sender.send_request(request).await.is_err()
}

#[tokio::test]
async fn a_certificate_names_the_principal_and_is_demanded() {
    let setup = Setup::new("{ ca: file:ca.pem }");
    let machine = client(
        &setup.authority,
        Some((&setup.authority, "till", 1)),
        b"http/1.1",
    );
    let mut sender = setup.open(&machine).await;
    assert_eq!(get(&mut sender, "/a", None).await, ok());
    assert_eq!(get(&mut sender, "/closed", None).await, ok());
    setup.journal_has(&["spiffe://example.com/till", "\"method\":\"certificate "]);

    let nobody = client(&setup.authority, None, b"http/1.1");
    let mut sender = setup.open(&nobody).await;
    assert_eq!(get(&mut sender, "/open", None).await, ok());
    assert_eq!(
        get(&mut sender, "/a", None).await,
        denied("credential.missing")
    );
    assert_eq!(
        get(&mut sender, "/closed", None).await,
        denied("certificate.missing")
    );

    let stranger = Authority::new();
    let stranger = client(&setup.authority, Some((&stranger, "till", 1)), b"http/1.1");
    assert!(is_turned_away(&setup, &stranger).await);
    // Both authorities of the tests have one name, so it is the signature that is wrong.
    setup.journal_has(&[
        "credential.invalid",
        "the client's certificate cannot be verified",
    ]);
}

#[tokio::test]
async fn http2_carries_certificates_too() {
    let setup = Setup::new("{ ca: file:ca.pem, required: true }");
    let machine = client(
        &setup.authority,
        Some((&setup.authority, "press", 2)),
        b"h2",
    );
    let io = TokioIo::new(setup.connect(&machine).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://one.test/a").body(Full::<Bytes>::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    setup.journal_has(&["spiffe://example.com/press"]);
}

#[tokio::test]
async fn who_shows_none_is_turned_away_where_one_is_required() {
    let setup = Setup::new("{ ca: file:ca.pem, required: true }");
    let nobody = client(&setup.authority, None, b"http/1.1");
    assert!(is_turned_away(&setup, &nobody).await);
    setup.journal_has(&["certificate.missing"]);
}

#[tokio::test]
async fn a_newer_list_of_revoked_certificates_counts_at_once_and_drops_no_connection() {
    let clients = "{ ca: file:ca.pem, crl: file:crl.pem }";
    let setup = Setup::new(clients);
    let (lost, kept) = (
        client(
            &setup.authority,
            Some((&setup.authority, "lost", 7)),
            b"http/1.1",
        ),
        client(
            &setup.authority,
            Some((&setup.authority, "kept", 8)),
            b"http/1.1",
        ),
    );
    let (mut lost_open, mut kept_open) = (setup.open(&lost).await, setup.open(&kept).await);
    assert_eq!(get(&mut lost_open, "/a", None).await, ok());
    assert_eq!(get(&mut kept_open, "/a", None).await, ok());

    let list = revoked(&setup.authority, &[7]);
    std::fs::write(setup.gateway.directory.path().join("crl.pem"), list).unwrap();
    setup.reload(clients);
    assert_eq!(
        get(&mut lost_open, "/a", None).await,
        denied("credential.revoked")
    );
    assert_eq!(
        get(&mut lost_open, "/open", None).await,
        ok(),
        "the connection lasts"
    );
    assert_eq!(get(&mut kept_open, "/a", None).await, ok());
    // Both clients would resume their session if they could.
    assert!(is_turned_away(&setup, &lost).await);
    let again = setup.connect(&kept).await.unwrap();
    assert_eq!(
        again.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );
    setup.journal_has(&["credential.revoked"]);

    setup.reload("{ ca: file:ca.pem, required: true }");
    assert_eq!(get(&mut kept_open, "/a", None).await, ok());
}

#[tokio::test]
async fn what_no_list_tells_of_is_refused() {
    let clients = "{ ca: file:ca.pem, crl: file:other.pem }";
    let setup = Setup::new("{ ca: file:ca.pem }");
    let machine = client(
        &setup.authority,
        Some((&setup.authority, "till", 1)),
        b"http/1.1",
    );
    let mut sender = setup.open(&machine).await;
    assert_eq!(get(&mut sender, "/a", None).await, ok());
    let list = revoked(&Authority::named("another"), &[]);
    std::fs::write(setup.gateway.directory.path().join("other.pem"), list).unwrap();
    setup.reload(clients);
    assert_eq!(
        get(&mut sender, "/a", None).await,
        denied("credential.invalid")
    );
    setup.journal_has(&["on no list that says whether it was revoked"]);
}

#[tokio::test]
async fn a_listener_that_begins_to_require_certificates_does_so_on_open_connections() {
    let setup = Setup::new("{ ca: file:ca.pem }");
    let nobody = client(&setup.authority, None, b"http/1.1");
    let mut sender = setup.open(&nobody).await;
    assert_eq!(get(&mut sender, "/open", None).await, ok());
    setup.reload("{ ca: file:ca.pem, required: true }");
    assert_eq!(
        get(&mut sender, "/open", None).await,
        denied("certificate.missing")
    );
}

#[tokio::test]
async fn passwords_are_believed_over_tls_alone() {
    let setup = Setup::new("{ ca: file:ca.pem }");
    let nobody = client(&setup.authority, None, b"http/1.1");
    let mut sender = setup.open(&nobody).await;
    // alice:correct horse, and alice:wrong
    let (right, wrong) = (
        "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==",
        "Basic YWxpY2U6d3Jvbmc=",
    );
    assert_eq!(get(&mut sender, "/staff", Some(right)).await, ok());
    assert_eq!(
        get(&mut sender, "/staff", Some(wrong)).await,
        denied("credential.invalid")
    );
    assert_eq!(
        get(&mut sender, "/staff", None).await,
        denied("credential.missing")
    );
    setup.journal_has(&["\"uid\":\"alice\"", "\"method\":\"password\""]);

    let plain = format!("GET /staff HTTP/1.1\r\nHost: one.test\r\nAuthorization: {right}\r\n\r\n");
    let answers = super::support::send(setup.gateway.addresses[1], plain.as_bytes());
    assert_eq!(answers[0].status, 401);
    assert_eq!(answers[0].code().as_deref(), Some("credential.invalid"));
    setup.journal_has(&["the password came in plain text"]);
    let journal = std::fs::read_to_string(setup.gateway.journal()).unwrap();
    assert!(!journal.contains("Y29ycmVjdCBob3JzZQ") && !journal.contains("correct horse"));
}

/// RFC 8705, section 3, with a real provider.
#[tokio::test]
async fn a_token_that_a_provider_bound_to_a_certificate_needs_it() {
    const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: bound, version: "1" }
security: [{ idp: [] }]
paths: { /a: { get: { responses: { "200": { description: fine } } } } }
components: { securitySchemes: { idp: { type: http, scheme: bearer } } }
"#;
    let Some(provider) = Provider::start() else {
        return;
    };
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let (chain, key) = authority.sign(&["one.test"]);
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{{ chain: file:one.pem, key: file:one.key }}], clients: {{ ca: file:ca.pem }} }} }}]\napis:\n  a: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\nidentity:\n  idp: {{ issuer: \"http://{issuer}\", audience: \"urn:api:rs256\", jwks: \"http://{issuer}/jwks\" }}\njournal: [{{ file: journal.ndjson }}]\n",
        upstream.address,
        issuer = provider.address,
    );
    let gateway = Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
        ("one.pem", &chain),
        ("one.key", &key),
        ("ca.pem", &authority.pem()),
    ]);
    let setup = Setup {
        authority,
        gateway,
        upstream,
    };
    let own = certificate(&setup.authority, "till", 1);
    let thief = certificate(&setup.authority, "thief", 2);
    let token = provider.token_bound_to(&own.0.pem());
    let bearer = format!("Bearer {token}");
    for (shown, expected) in [
        (Some(&own), ok()),
        (Some(&thief), denied("credential.unbound")),
        (None, denied("credential.unbound")),
    ] {
        let client = client_with(&setup.authority, shown, b"http/1.1");
        let mut sender = setup.open(&client).await;
        assert_eq!(get(&mut sender, "/a", Some(&bearer)).await, expected);
    }
}
