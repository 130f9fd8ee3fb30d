//! Over TLS and HTTP/2, which may send each cookie in a field of its own.

use http::{Request, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use crate::{
    signers,
    support::{Gateway, Upstream},
    tls::{Authority, exchange_h2},
};

const DESCRIPTION: &str = r#"
openapi: 3.0.3
info: { title: shop, version: "1" }
security: [{ login: [] }]
paths:
  /page: { get: { operationId: page, responses: { "200": { description: fine } } } }
components: { securitySchemes: { login: { type: openIdConnect, openIdConnectUrl: "https://idp.test" } } }
"#;

#[tokio::test]
async fn a_session_comes_over_http2_in_any_of_its_fields() {
    let authority = Authority::new();
    let upstream = Upstream::start();
    let config = format!(
        r#"
version: 1
listen: [{{ address: 127.0.0.1:0, tls: {{ certificates: [{{ chain: file:one.pem, key: file:one.key }}] }} }}]
apis: {{ shop: {{ spec: openapi.yaml, upstream: "http://{}" }} }}
identity:
  web: {{ issuer: "https://idp.test", jwks: file:jwks.json, login: {{ client_id: shop, key: env:COOKIE_KEY, endpoints: {{ authorization: "https://idp.test/auth", token: "https://idp.test/token" }} }} }}
"#,
        upstream.address
    );
    let (chain, key) = authority.sign(&["one.test"]);
    let gateway = Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
        ("one.pem", &chain),
        ("one.key", &key),
    ]);
    let ask = async |fields: &[(&str, &str)]| {
        let mut request = Request::get("https://one.test/page");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).unwrap();
        let tcp = TcpStream::connect(gateway.addresses[0]).await.unwrap();
        let name = ServerName::try_from("one.test").unwrap();
        let stream = authority.client(b"h2").connect(name, tcp).await.unwrap();
        exchange_h2(TokioIo::new(stream), request).await
    };
    let sent = ask(&[("sec-fetch-mode", "navigate")]).await;
    assert_eq!(sent.status(), 302);
    let location = sent.headers()[header::LOCATION].to_str().unwrap();
    let back = "&redirect_uri=https%3A%2F%2Fone.test%2F_session%2Fcallback&";
    assert!(location.contains(back), "{location}");

    let session = signers::session("alice");
    let known = ask(&[("cookie", "theme=dark"), ("cookie", &session)]).await;
    assert_eq!(known.status(), 200);
    let received = upstream.received();
    assert_eq!(received[0].header("cookie"), Some("theme=dark"));
    assert_eq!(ask(&[("cookie", "theme=dark")]).await.status(), 401);
    // The connections end, so that the gateway need not wait for them.
    tokio::task::yield_now().await;
}
