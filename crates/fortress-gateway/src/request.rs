//! A request as the guards see it: parsed once, normalised once, and already free of what is said
//! only between two hops or what only a proxy may say.
//!
//! The guards look at exactly the header fields that the upstream will get; rules see a few more that
//! the client sent. Deliberately not here: reading from the wire (`h1`, `connection`) and deciding anything about the operation.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use fortress_model::{Decision, Denial, Reason, config::Network};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use smallvec::SmallVec;

use crate::{
    client_certificate::PeerCertificate,
    compile::Gateway,
    forwarded::{Scheme, is_trusted},
    h1::{connection_options, is_forwardable_name},
    path::{NormalizedPath, Semicolons, split_target},
    worker::Worker,
};

/// A request's head as a connection hands it over, whatever the version of HTTP.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Path and query as they came; `*` for the server-wide `OPTIONS`.
    pub(crate) target: Box<str>,
    /// In lower case, with the port if one was given.
    pub(crate) host: Box<str>,
    pub(crate) headers: HeaderMap,
    pub(crate) version: &'static str,
    pub(crate) bytes: usize,
}

/// The connection that a request came on.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// The own address that the peer connected to.
    pub(crate) own: SocketAddr,
    pub(crate) listener: Arc<str>,
    pub(crate) tls: bool,
    /// What the client showed in the handshake. Whether it counts for a request is asked of
    /// `client_certificate::of_request`.
    pub(crate) certificate: Option<Arc<PeerCertificate>>,
    /// How the peer speaks TLS, if it does.
    pub(crate) ja4: Option<Arc<str>>,
    pub(crate) standing: Standing,
}

/// Whether the peer's address is who sends the connection's requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// It is, as the socket says, or a trusted proxy in a header of the PROXY protocol.
    Known,
    /// The address is a trusted proxy's, which said that it does not know whose connection it
    /// passes on. So nothing that is said in it is the proxy's own word.
    Nameless,
}

impl Arrival {
    /// The peer's address, IPv4 where it is mapped into IPv6.
    pub(crate) fn peer_address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// The networks whose word about other addresses counts on this connection.
    pub(crate) fn trusted<'g>(&self, gateway: &'g Gateway) -> &'g [Network] {
        match self.standing {
            Standing::Known => gateway.trusted_proxies(),
            Standing::Nameless => &[],
        }
    }

    /// The peer is a trusted proxy, and speaks for others.
    pub(crate) fn is_proxied(&self, gateway: &Gateway) -> bool {
        is_trusted(self.peer_address(), self.trusted(gateway))
    }

    /// The fingerprint of the client's TLS (JA4); behind a proxy that ends TLS it would be the proxy's.
    pub(crate) fn ja4(&self, gateway: &Gateway) -> Option<&Arc<str>> {
        self.ja4.as_ref().filter(|_| !self.is_proxied(gateway))
    }

    /// The record of something that came on this connection, with all that the connection tells.
    pub(crate) fn decision(&self, worker: &Worker, client: IpAddr) -> Decision {
        let now = worker.now();
        let mut decision = Decision::begin(worker.request_id(now), now, client);
        decision.client_port = self.peer.port();
        decision.listener = Arc::clone(&self.listener);
        decision.tls = self.tls;
        decision
    }
}

/// A request's body on the wire.
pub(crate) trait RequestBody {
    /// The length, where it is announced: `Some(0)` means that there is none.
    fn announced(&self) -> Option<u64>;
    /// The next piece, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, BodyError>;
    /// Ends when the client has gone away, and not before. Asked after the body's end.
    async fn gone(&mut self);
}

/// Why a body cannot be read on.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The framing is broken.
    Framing(Reason, String),
    /// The client went away.
    Incomplete,
}

/// A request after parsing.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) path: NormalizedPath,
    /// As it came.
    pub(crate) query: Option<Box<str>>,
    /// Path and query as they came, for signatures of them.
    pub(crate) target: Box<str>,
    pub(crate) headers: HeaderMap,
    /// Fields that end here, for rules alone: what a client says in them can be an attack on whoever
    /// reads them, or tell that it is none of the usual clients.
    pub(crate) ended: SmallVec<[(HeaderName, HeaderValue); 2]>,
}

/// Normalises the path and cleans the header fields; notes what was taken away.
pub(crate) fn parse(decision: &mut Decision, head: Head) -> Result<(Request, Box<str>), Denial> {
    let (path, query) = split_target(&head.target);
    if !path.starts_with('/') {
        // `OPTIONS *` asks about the server as a whole, CONNECT for a tunnel: neither is an operation.
        return Err(decision.fail(Reason::RouteUnknown, "the target is no path"));
    }
    let path = NormalizedPath::parse(path, Semicolons::Kept)
        .map_err(|refused| decision.fail(refused.reason, refused.detail))?;
    decision.path.clear();
    decision.path.push_str(path.as_str());
    let mut headers = head.headers;
    let ended = ended(&headers);
    clean(decision, &mut headers)?;
    let query = query.map(Box::from);
    Ok((
        Request {
            method: head.method,
            path,
            query,
            target: head.target,
            headers,
            ended,
        },
        head.host,
    ))
}

fn ended(headers: &HeaderMap) -> SmallVec<[(HeaderName, HeaderValue); 2]> {
    let told = [
        header::CONNECTION,
        header::FORWARDED,
        HeaderName::from_static("x-forwarded-for"),
    ];
    let values = told.iter().flat_map(|name| {
        let values = headers.get_all(name).iter();
        values.map(|value| (name.clone(), value.clone()))
    });
    values.collect()
}

/// What makes some servers answer another request than the one that was checked. An operation that
/// declares one as a header parameter gets it.
pub(crate) const OVERRIDES: &[&str] = &[
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
    "x-original-url",
    "x-rewrite-url",
];

/// Fields that mean the same at every hop. A `Connection` that lists one is an attempt to make it
/// vanish between the check and the upstream.
const END_TO_END: &[&str] = &[
    "host",
    "authorization",
    "cookie",
    "content-type",
    "content-length",
    "content-encoding",
    "cache-control",
    "transfer-encoding",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "forwarded",
    "x-request-id",
];

fn clean(decision: &mut Decision, headers: &mut HeaderMap) -> Result<(), Denial> {
    drop_listed(decision, headers)?;
    // One pass over what came: most requests have nothing to take away.
    let unwelcome: SmallVec<[HeaderName; 4]> = headers
        .keys()
        .filter(|name| fate(name) != Fate::Kept)
        .cloned()
        .collect();
    for name in unwelcome {
        headers.remove(&name);
        if fate(&name) == Fate::Disbelieved {
            decision.notes.push(format!("header `{name}` removed"));
        }
    }
    Ok(())
}

/// Takes away what `Connection` lists.
fn drop_listed(decision: &mut Decision, headers: &mut HeaderMap) -> Result<(), Denial> {
    if !headers.contains_key(header::CONNECTION) {
        return Ok(());
    }
    let listed: Vec<String> = connection_options(headers)
        .map(|option| String::from_utf8_lossy(option).to_ascii_lowercase())
        .filter(|option| option != "close" && option != "keep-alive")
        .collect();
    for listed in listed {
        if END_TO_END.contains(&listed.as_str()) {
            return Err(decision.fail(
                Reason::HeadMalformed,
                format!("`Connection` lists `{listed}`, which is not a hop-by-hop field"),
            ));
        }
        if let Ok(name) = HeaderName::from_bytes(listed.as_bytes()) {
            headers.remove(name);
        }
    }
    Ok(())
}

/// What becomes of a header field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Kept,
    /// Ends at this hop (RFC 9110, section 7.6.1, and custom).
    Hop,
    /// Only a proxy in front of the upstream may say it, or an upstream could take it for another
    /// field.
    Disbelieved,
}

fn fate(name: &HeaderName) -> Fate {
    match name.as_str() {
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "expect"
        | "http2-settings" => Fate::Hop,
        // The operation may declare them: `drop_overrides` decides.
        "x-original-url" | "x-rewrite-url" => Fate::Kept,
        "forwarded"
        | "forwarded-for"
        | "client-ip"
        | "true-client-ip"
        | "cf-connecting-ip"
        | "fastly-client-ip"
        | "x-real-ip"
        | "x-client-ip"
        | "x-cluster-client-ip"
        | "x-remote-ip"
        | "x-remote-addr"
        | "x-proxyuser-ip"
        | "x-envoy-external-address"
        | "x-request-id"
        | "x-host"
        | "x-http-host-override"
        | "x-forwarded" => Fate::Disbelieved,
        text if text.starts_with("x-forwarded-") || text.starts_with("x-original-") => {
            Fate::Disbelieved
        }
        _ if !is_forwardable_name(name) => Fate::Disbelieved,
        _ => Fate::Kept,
    }
}

/// Takes away the override headers that the operation does not declare.
pub(crate) fn drop_overrides(
    decision: &mut Decision,
    headers: &mut HeaderMap,
    declared: &[HeaderName],
) {
    let undeclared =
        |name: &&HeaderName| OVERRIDES.contains(&name.as_str()) && !declared.contains(name);
    let found: SmallVec<[HeaderName; 2]> = headers.keys().filter(undeclared).cloned().collect();
    for name in found {
        headers.remove(&name);
        decision.notes.push(format!("header `{name}` removed"));
    }
}

/// Tells the upstream who called, and what the client spoke, in the fields that it expects from a
/// proxy.
pub(crate) fn add_forwarding(
    headers: &mut HeaderMap,
    decision: &Decision,
    (scheme, id): (Scheme, &HeaderValue),
) {
    headers.reserve(4);
    let proto = HeaderValue::from_static(scheme.as_str());
    headers.insert(HeaderName::from_static("x-forwarded-proto"), proto);
    if let Some(value) = address_value(decision.client) {
        headers.insert(HeaderName::from_static("x-forwarded-for"), value);
    }
    if let Ok(value) = HeaderValue::from_str(&decision.host) {
        headers.insert(HeaderName::from_static("x-forwarded-host"), value);
    }
    headers.insert(HeaderName::from_static("x-request-id"), id.clone());
}

/// An address as text. That of IPv4 is not left to `Display`, which takes five times as long.
fn address_value(address: IpAddr) -> Option<HeaderValue> {
    let value = match address {
        IpAddr::V4(address) => {
            let mut text = SmallVec::<[u8; 16]>::new();
            for octet in address.octets() {
                text.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
                text.push(b'.');
            }
            text.pop();
            HeaderValue::from_bytes(&text)
        }
        IpAddr::V6(address) => HeaderValue::try_from(address.to_string()),
    };
    value.ok()
}

/// The request's id as a header field's value.
pub(crate) fn id_value(decision: &Decision) -> HeaderValue {
    HeaderValue::from_bytes(&decision.id.text()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        for text in ["0.0.0.0", "10.200.3.255", "::", "2001:db8::17"] {
            assert_eq!(address_value(text.parse().unwrap()).unwrap(), text);
        }
    }
}
