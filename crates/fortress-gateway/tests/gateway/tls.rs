//! TLS towards clients and upstreams, and HTTP/2, with real certificates.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::support::{DESCRIPTION, Gateway, Upstream};

/// An authority of our own, and what it signed.
pub(super) struct Authority(pub(super) CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        Self::named("an authority")
    }

    pub(super) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Chain and key in PEM.
    pub(super) fn sign(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.0)
            .unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(super) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(super) fn client(&self, alpn: &[u8]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

fn gateway(authority: &Authority, upstream: &str) -> Gateway {
    let config = format!(
        r#"
version: 1
listen:
  - address: 127.0.0.1:0
    tls:
      certificates:
        - {{ chain: file:one.pem, key: file:one.key }}
        - {{ chain: file:two.pem, key: file:two.key }}
    hsts: {{ max_age: 365d, include_subdomains: true }}
  - {{ address: 127.0.0.2:0, redirect: https }}
  - {{ address: 127.0.0.1:0, http2: prior_knowledge }}
apis:
  raw: {upstream}
journal: [{{ file: journal.ndjson }}]
"#
    );
    let (one, one_key) = authority.sign(&["one.test"]);
    let (two, two_key) = authority.sign(&["two.test", "*.two.test"]);
    Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
        ("one.pem", &one),
        ("one.key", &one_key),
        ("two.pem", &two),
        ("two.key", &two_key),
        ("ca.pem", &authority.pem()),
    ])
}

async fn names(
    authority: &Authority,
    address: SocketAddr,
    name: &str,
) -> Result<Vec<u8>, std::io::Error> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = authority.client(b"h2").connect(name, tcp).await?;
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Ok(chain[0].to_vec())
}

async fn get_h2(
    authority: &Authority,
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Response<Bytes> {
    let tcp = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("one.test").unwrap();
    let stream = authority.client(b"h2").connect(name, tcp).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    exchange_h2(TokioIo::new(stream), request).await
}

pub(super) async fn exchange_h2<I>(io: I, request: Request<Full<Bytes>>) -> Response<Bytes>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let task = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    task.abort();
    Response::from_parts(head, body)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://one.test{path}"))
        .body(Full::default())
        .unwrap()
}

#[tokio::test]
async fn certificates_are_chosen_by_name_and_reloaded() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let gateway = gateway(
        &authority,
        &format!(
            "{{ spec: openapi.yaml, upstream: \"http://{}\" }}",
            upstream.address
        ),
    );
    let address = gateway.addresses[0];
    let one = names(&authority, address, "one.test").await.unwrap();
    let two = names(&authority, address, "two.test").await.unwrap();
    assert_ne!(one, two);
    assert_eq!(
        names(&authority, address, "api.two.test").await.unwrap(),
        two
    );
    assert!(
        names(&authority, address, "three.test").await.is_err(),
        "the default has no such name"
    );

    let (chain, key) = authority.sign(&["one.test"]);
    std::fs::write(gateway.directory.path().join("one.pem"), chain).unwrap();
    std::fs::write(gateway.directory.path().join("one.key"), key).unwrap();
    gateway.reload();
    assert_ne!(names(&authority, address, "one.test").await.unwrap(), one);
}

#[tokio::test]
async fn http2_is_served_over_tls_with_hsts_and_the_same_rules() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let gateway = gateway(
        &authority,
        &format!(
            "{{ spec: openapi.yaml, upstream: \"http://{}\" }}",
            upstream.address
        ),
    );
    let address = gateway.addresses[0];
    let response = get_h2(&authority, address, get("/a")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["strict-transport-security"],
        "max-age=31536000; includeSubDomains"
    );
    let seen = upstream.received();
    assert!(
        seen[0].head.starts_with("GET /a HTTP/1.1\r\n"),
        "{}",
        seen[0].head
    );
    assert_eq!(seen[0].header("x-forwarded-proto"), Some("https"));

    assert_eq!(
        get_h2(&authority, address, get("/b")).await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        get_h2(&authority, address, get("/a%2fb")).await.status(),
        StatusCode::BAD_REQUEST
    );
    let post = |body: &'static [u8]| {
        Request::post("https://one.test/a")
            .header("content-type", "application/octet-stream")
            .body(Full::from(body))
            .unwrap()
    };
    assert_eq!(
        get_h2(&authority, address, post(b"abc")).await.status(),
        StatusCode::OK
    );
    assert_eq!(upstream.received()[0].body, b"abc");
    let mut two_hosts = get("/a");
    two_hosts
        .headers_mut()
        .insert("host", "two.test".parse().unwrap());
    assert_eq!(
        get_h2(&authority, address, two_hosts).await.status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    let body = get_h2(&authority, address, get("/b")).await.into_body();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["code"], "route.unknown");
}

#[tokio::test]
async fn http2_in_plain_text_only_where_it_is_switched_on() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let gateway = gateway(
        &authority,
        &format!(
            "{{ spec: openapi.yaml, upstream: \"http://{}\" }}",
            upstream.address
        ),
    );
    let prior_knowledge = TcpStream::connect(gateway.addresses[2]).await.unwrap();
    let response = exchange_h2(TokioIo::new(prior_knowledge), get("/a")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let plain = super::support::send(gateway.addresses[2], b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(plain[0].status, 200);
    let redirect = super::support::send(gateway.addresses[1], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(redirect[0].status, 505);
}

#[tokio::test]
async fn plain_http_is_redirected() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let gateway = gateway(
        &authority,
        &format!(
            "{{ spec: openapi.yaml, upstream: \"http://{}\" }}",
            upstream.address
        ),
    );
    let responses = super::support::send(
        gateway.addresses[1],
        b"GET /a?b={c} HTTP/1.1\r\nHost: one.test:80\r\n\r\n",
    );
    assert_eq!(responses[0].status, 308);
    let location = responses[0].header("location").unwrap();
    assert!(
        location.starts_with("https://one.test:") && location.ends_with("/a?b=%7Bc%7D"),
        "{location}"
    );
    assert!(upstream.received().is_empty());
}

/// An upstream that speaks TLS, and HTTP/2 if it is asked for.
async fn tls_upstream(
    authority: &Authority,
    alpn: &[u8],
) -> (SocketAddr, Arc<Mutex<Vec<http::Version>>>) {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let (chain, key) = authority.sign(&["internal.test"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![alpn.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let versions = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(tcp).await else {
                continue;
            };
            let versions = Arc::clone(&versions);
            let service =
                hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    versions.lock().unwrap().push(request.version());
                    async {
                        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                if h2 {
                    drop(
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await,
                    );
                } else {
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(io, service)
                            .await,
                    );
                }
            });
        }
    });
    (address, seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_are_verified_by_their_own_trust_store_and_name() {
    let authority = Authority::new();
    let (address, versions) = tls_upstream(&authority, b"http/1.1").await;
    let status = async |tls: &str| {
        let upstream = format!("{{ endpoints: [{{ url: \"https://{address}\" }}], {tls} }}");
        let gateway = gateway(
            &authority,
            &format!("{{ spec: openapi.yaml, upstream: {upstream} }}"),
        );
        get_h2(&authority, gateway.addresses[0], get("/a"))
            .await
            .status()
    };
    assert_eq!(
        status("tls: { ca: file:ca.pem, server_name: internal.test }").await,
        StatusCode::OK
    );
    assert_eq!(
        versions.lock().unwrap().as_slice(),
        [http::Version::HTTP_11]
    );
    assert_eq!(
        status("tls: { ca: file:ca.pem, server_name: other.test }").await,
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(
        status("tls: { ca: file:ca.pem }").await,
        StatusCode::BAD_GATEWAY
    );
    assert_eq!(
        status("tls: { ca: file:one.pem, server_name: internal.test }").await,
        StatusCode::BAD_GATEWAY
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_may_speak_http2() {
    let authority = Authority::new();
    let (address, versions) = tls_upstream(&authority, b"h2").await;
    let upstream = format!(
        "{{ endpoints: [{{ url: \"https://{address}\" }}], http2: true, tls: {{ ca: file:ca.pem, server_name: internal.test }} }}"
    );
    let gateway = gateway(
        &authority,
        &format!("{{ spec: openapi.yaml, upstream: {upstream} }}"),
    );
    for _ in 0..3 {
        assert_eq!(
            get_h2(&authority, gateway.addresses[0], get("/a"))
                .await
                .status(),
            StatusCode::OK
        );
    }
    assert_eq!(
        versions.lock().unwrap().as_slice(),
        [http::Version::HTTP_2; 3]
    );
}

#[tokio::test]
async fn http1_over_tls() {
    let (authority, upstream) = (Authority::new(), Upstream::start());
    let gateway = gateway(
        &authority,
        &format!(
            "{{ spec: openapi.yaml, upstream: \"http://{}\" }}",
            upstream.address
        ),
    );
    let tcp = TcpStream::connect(gateway.addresses[0]).await.unwrap();
    let stream = authority
        .client(b"http/1.1")
        .connect(ServerName::try_from("one.test").unwrap(), tcp)
        .await
        .unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        let mut request = Request::get("/a")
            .header("host", "one.test")
            .body(Full::<Bytes>::default())
            .unwrap();
        *request.version_mut() = http::Version::HTTP_11;
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        drop(response.into_body().collect().await.unwrap());
        sender.ready().await.unwrap();
    }
    assert!(Path::new(&gateway.journal()).exists());
}
