//! A request as the guards see it: parsed once, normalised once, and already free of what is said
//! only between two hops or what only a proxy may say.
//!
//! The guards look at exactly the header fields that the upstream will get; rules see a few more that
//! the client sent. Deliberately not here: reading from the wire (`h1`, `connection`) and deciding anything about the operation.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use fortress_model::{Decision, Denial, Reason, config::Network};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use smallvec::SmallVec;

use crate::{
    client_certificate::PeerCertificate,
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
}

impl Arrival {
    /// The peer's address, IPv4 where it is mapped into IPv6.
    pub(crate) fn peer_address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
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

/// Who sent the request: the peer, or what a trusted proxy says, read from the right.
///
/// `Forwarded` (RFC 7239) and `X-Forwarded-For` are believed only as far as each hop that appended
/// an entry is itself trusted. An entry that cannot be read ends the search at the last good one.
/// Where both fields are there and disagree, one of them is the client's own invention, and nobody
/// knows which: then it is the peer.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = forwarded_for(headers);
    let x_forwarded = x_forwarded_for(headers);
    match (forwarded.is_empty(), x_forwarded.is_empty()) {
        (true, _) => last_untrusted(peer, &x_forwarded, trusted),
        (false, true) => last_untrusted(peer, &forwarded, trusted),
        (false, false) => {
            let client = last_untrusted(peer, &forwarded, trusted);
            if client == last_untrusted(peer, &x_forwarded, trusted) {
                client
            } else {
                peer
            }
        }
    }
}

fn last_untrusted(peer: IpAddr, entries: &[Option<IpAddr>], trusted: &[Network]) -> IpAddr {
    let mut client = peer;
    for entry in entries.iter().rev() {
        let Some(address) = entry else { break };
        client = *address;
        if !is_trusted(client, trusted) {
            break;
        }
    }
    client
}

/// Whether an address lies in one of these networks.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(address))
}

fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    list(headers, &HeaderName::from_static("x-forwarded-for"))
        .map(parse_address)
        .collect()
}

fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    list(headers, &header::FORWARDED)
        .map(|element| {
            element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim()
                    .eq_ignore_ascii_case("for")
                    .then(|| parse_address(value.trim().trim_matches('"')))?
            })
        })
        .collect()
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
}

/// An address, with or without a port, IPv6 with or without brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let address = match text.parse() {
        Ok(address) => address,
        Err(_) => match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?.0.parse().ok()?,
            None => text
                .rsplit_once(':')
                .map_or(text, |(host, _)| host)
                .parse()
                .ok()?,
        },
    };
    Some(IpAddr::to_canonical(&address))
}

/// Tells the upstream who called, in the fields that it expects from a proxy.
pub(crate) fn add_forwarding(headers: &mut HeaderMap, decision: &Decision, id: &HeaderValue) {
    headers.reserve(4);
    let proto = HeaderValue::from_static(if decision.tls { "https" } else { "http" });
    headers.insert(HeaderName::from_static("x-forwarded-proto"), proto);
    // An address is 45 characters at most.
    let mut address = ArrayText::<48>::default();
    if write!(address, "{}", decision.client).is_ok()
        && let Ok(value) = HeaderValue::from_bytes(address.as_bytes())
    {
        headers.insert(HeaderName::from_static("x-forwarded-for"), value);
    }
    if let Ok(value) = HeaderValue::from_str(&decision.host) {
        headers.insert(HeaderName::from_static("x-forwarded-host"), value);
    }
    headers.insert(HeaderName::from_static("x-request-id"), id.clone());
}

/// Text on the stack.
struct ArrayText<const N: usize> {
    bytes: SmallVec<[u8; N]>,
}

impl<const N: usize> Default for ArrayText<N> {
    fn default() -> Self {
        Self {
            bytes: SmallVec::new(),
        }
    }
}

impl<const N: usize> ArrayText<N> {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<const N: usize> std::fmt::Write for ArrayText<N> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The request's id as a header field's value.
pub(crate) fn id_value(decision: &Decision) -> HeaderValue {
    let mut text = ArrayText::<32>::default();
    if write!(text, "{}", decision.id).is_err() {
        return HeaderValue::from_static("");
    }
    HeaderValue::from_bytes(text.as_bytes()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn client(peer: &str, header: (&str, &str), trusted: &[&str], expect: &str) {
        let mut headers = HeaderMap::new();
        headers.append(
            HeaderName::from_bytes(header.0.as_bytes()).unwrap(),
            header.1.parse().unwrap(),
        );
        let trusted: Vec<Network> = trusted
            .iter()
            .map(|network| {
                let (address, prefix) = network.split_once('/').unwrap();
                Network {
                    address: address.parse().unwrap(),
                    prefix: prefix.parse().unwrap(),
                }
            })
            .collect();
        assert_eq!(
            client_address(peer.parse().unwrap(), &headers, &trusted),
            expect.parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn two_fields_that_disagree_are_not_believed() {
        let trusted = [Network {
            address: "10.0.0.0".parse().unwrap(),
            prefix: 8,
        }];
        for (forwarded, expect) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("for=198.51.100.6", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::FORWARDED, HeaderValue::from_static(forwarded));
            headers.insert(
                HeaderName::from_static("x-forwarded-for"),
                HeaderValue::from_static("203.0.113.9"),
            );
            assert_eq!(
                client_address("10.0.0.1".parse().unwrap(), &headers, &trusted),
                expect.parse::<IpAddr>().unwrap(),
                "{forwarded}"
            );
        }
    }

    #[test]
    fn the_client_is_found_behind_trusted_proxies_and_only_there() {
        client(
            "10.0.0.1",
            ("x-forwarded-for", "203.0.113.9"),
            &["10.0.0.0/8"],
            "203.0.113.9",
        );
        client(
            "192.0.2.1",
            ("x-forwarded-for", "203.0.113.9"),
            &["10.0.0.0/8"],
            "192.0.2.1",
        );
        client(
            "10.0.0.1",
            ("x-forwarded-for", "203.0.113.9"),
            &[],
            "10.0.0.1",
        );
        client(
            "10.0.0.1",
            ("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.2.0.1"),
            &["10.0.0.0/8"],
            "203.0.113.9",
        );
        client(
            "10.0.0.1",
            ("x-forwarded-for", "203.0.113.9, garbage"),
            &["10.0.0.0/8"],
            "10.0.0.1",
        );
        client(
            "10.0.0.1",
            ("x-forwarded-for", "203.0.113.9:1234"),
            &["10.0.0.0/8"],
            "203.0.113.9",
        );
        client(
            "10.0.0.1",
            (
                "forwarded",
                "for=1.1.1.1, For=\"[2001:db8::1]:80\";proto=http",
            ),
            &["10.0.0.0/8"],
            "2001:db8::1",
        );
        client(
            "10.0.0.1",
            ("forwarded", "for=_hidden"),
            &["10.0.0.0/8"],
            "10.0.0.1",
        );
        client(
            "::ffff:10.0.0.1",
            ("x-forwarded-for", "203.0.113.9"),
            &["10.0.0.0/8"],
            "203.0.113.9",
        );
        client(
            "10.0.0.1",
            ("x-forwarded-for", "10.9.9.9"),
            &["10.0.0.0/8"],
            "10.9.9.9",
        );
    }
}
