//! The configuration, as the operator wrote it and already typed: `fortress.yaml`.
//!
//! The language is defined once, in the tables of `keys.rs`; [`load`] gives all mistakes at once.
//! Deliberately not here: what needs the descriptions (which operation a name means) and what needs
//! compiling (certificates, keys, schemas). That is the gateway's `compile`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

mod api;
mod bound_keys;
mod caller;
mod cost;
mod defence;
mod defence_keys;
#[cfg(test)]
mod defence_tests;
mod identity;
mod identity_keys;
#[cfg(test)]
mod identity_tests;
mod journal_keys;
mod json_schema;
mod keys;
mod limit_keys;
mod limits;
mod listen;
mod listen_keys;
mod load;
mod load_keys;
mod login;
mod network_keys;
mod networks;
mod reader;
mod redis;
mod references;
mod scalar;
mod secrets;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod values;
mod waf;
mod waf_keys;

pub use caller::{
    ApiKeys, Basic, ClaimPaths, ClientCertificates, Clients, Demand, Dpop, Encoding, Exchange,
    Forward, Hash, Identity, IdentityKind, InternalTokens, Introspection, Issuer, JwksSource,
    KeySource, Login, LoginEndpoints, PrincipalField, Require, Signatures, UpstreamIdentity,
    Webhook, WebhookPreset, WhichTokens,
};
pub use cost::{Cost, Factor, Term};
pub use defence::{
    AccountLock, BreachSource, Breached, Detect, Enumeration, LoginDefence, LoginKind, Sign,
    Stuffing, StuffingAction,
};
pub use json_schema::json_schema;
pub use limits::{
    LimitFault, LimitHeaders, LimitMeasure, LimitPart, LimitRule, MOST_LIMITS, MissingPart,
    QuotaEdge, QuotaUnit, nearest_limits,
};
pub use load::{load, load_partly, load_partly_with, load_with};
pub use networks::{CrowdSec, NetworkList, NetworkRules, Verdict};
pub use redis::{RedisAddress, RedisServers, RedisSettings, RedisTls};
pub use references::{References, VaultReference};
pub use secrets::{VaultAuth, VaultSettings};
pub use settings::settings;
pub use store::{SecretSource, StorePlace, StoreSettings};
pub use waf::{Exclusion, Parameter, RuleSelector, WafPatch, WafRules, WafSettings};

use crate::{decision::Mode, document::Span};

/// A value with the place where it was written.
#[derive(Clone, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub span: Span,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listener>,
    /// Networks whose `Forwarded` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<Network>,
    /// Lists of networks, by name.
    pub networks: Vec<NetworkList>,
    /// The APIs, in the file's order; at least one.
    pub apis: Vec<Api>,
    /// Who vouches for callers.
    pub identity: Vec<Identity>,
    /// How the gateway signs what it says to upstreams.
    pub internal_tokens: InternalTokens,
    /// Where API keys are kept.
    pub store: Option<StoreSettings>,
    /// Where instances share their counts.
    pub redis: Option<Spanned<RedisSettings>>,
    /// What holds where nothing nearer is said.
    pub defaults: Settings,
    /// What is looked for over many requests.
    pub detect: Detect,
    /// Where requests are recorded; empty means nowhere.
    pub journal: Vec<JournalSink>,
    /// The directory of the file: what relative paths are relative to.
    pub directory: PathBuf,
    /// A hash of what commands and the vault gave, to see by whether it changed.
    pub asked: u64,
    /// The vault that `vault:` references are asked of.
    pub vault: Option<VaultSettings>,
    /// Every file that the configuration names, to be watched for changes (its own path first).
    pub files: Vec<PathBuf>,
}

/// One address to listen on.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address; port 0 takes a free one.
    pub address: Spanned<SocketAddr>,
    /// What is served there.
    pub serve: Serve,
    /// Whether connections begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// From where its clients may come.
    pub networks: NetworkRules,
}

/// Whether a listener's connections begin with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ProxyProtocol {
    /// They begin with TLS or HTTP.
    #[default]
    Off,
    /// Each of them does, or it is refused.
    Required,
}

/// What a listener does.
#[derive(Clone, Debug)]
pub enum Serve {
    /// The APIs.
    Apis {
        /// TLS, or plain text.
        tls: Option<Tls>,
        /// `Strict-Transport-Security`, sent over TLS only.
        hsts: Option<Hsts>,
        /// HTTP/2: by ALPN, by prior knowledge too, or not at all.
        http2: Http2,
    },
    /// Sends every client to the same URL over https (`redirect: https`).
    RedirectHttps,
    /// `/metrics`, `/livez`, `/readyz`.
    Operations,
}

/// Which HTTP/2 a listener speaks (`http2: true | false | prior_knowledge`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Http2 {
    /// Where TLS negotiates it.
    #[default]
    Alpn,
    /// Also in plain text, if the client begins with the HTTP/2 preface.
    PriorKnowledge,
    /// HTTP/1.1 only.
    Off,
}

/// A listener's TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// By SNI; the first is the default.
    pub certificates: Vec<Certificate>,
    /// The lowest version spoken.
    pub minimum: TlsVersion,
    /// Asks clients for certificates.
    pub clients: Option<Clients>,
}

/// A certificate chain and its key, as files in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Leaf first.
    pub chain: Spanned<PathBuf>,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: Spanned<PathBuf>,
}

/// The lowest TLS version.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246) with forward secrecy and AEADs only.
    #[default]
    V12,
    /// TLS 1.3 (RFC 8446).
    V13,
}

/// HTTP Strict Transport Security (RFC 6797).
#[derive(Clone, Debug)]
pub struct Hsts {
    /// How long browsers remember.
    pub max_age: Duration,
    /// Also for subdomains.
    pub include_subdomains: bool,
}

/// An address block.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Network {
    /// Any address of it.
    pub address: std::net::IpAddr,
    /// How many leading bits count.
    pub prefix: u8,
}

impl Network {
    /// Whether the address lies in the block. An IPv4 address mapped into IPv6 is taken as IPv4.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        use std::net::IpAddr::{V4, V6};
        let leading = |differing: u32| differing >= u32::from(self.prefix);
        match (self.address.to_canonical(), address.to_canonical()) {
            (V4(block), V4(address)) => {
                leading((block.to_bits() ^ address.to_bits()).leading_zeros())
            }
            (V6(block), V6(address)) => {
                leading((block.to_bits() ^ address.to_bits()).leading_zeros())
            }
            (V4(_), V6(_)) | (V6(_), V4(_)) => false,
        }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl std::str::FromStr for Network {
    /// What to write instead.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        scalar::network(text)
    }
}

/// One API.
#[derive(Clone, Debug)]
pub struct Api {
    /// Its key in `apis`.
    pub name: Spanned<String>,
    /// Its description; `None` for `spec: none`.
    pub spec: Option<Spanned<PathBuf>>,
    /// Hosts that it answers to, in lower case; empty for any. `*.example.com` is allowed.
    pub hosts: Vec<String>,
    /// Replaces the base path of the description's `servers`; begins with `/`, has none at the end.
    /// Empty for `/`.
    pub base_path: Option<Spanned<String>>,
    /// Where its requests go.
    pub upstream: Upstream,
    /// Its URL as clients know it (RFC 9728, section 1.2).
    pub resource: Option<Spanned<String>>,
    /// Security scheme of the description → entry of `identity`.
    pub security: Vec<(Spanned<String>, Spanned<String>)>,
    /// What is said of the whole API.
    pub settings: Settings,
    /// What is said of operations: operationId, `METHOD /template`, or `tag:NAME`.
    pub operations: Vec<(Spanned<String>, Settings)>,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How its certificate is checked and what we show it.
    pub tls: UpstreamTls,
    /// How long we wait.
    pub timeouts: Timeouts,
    /// Speak HTTP/2 to it: over TLS by ALPN, in plain text by prior knowledge (`http2: true`).
    pub http2: bool,
    /// What it is told of the caller.
    pub identity: UpstreamIdentity,
    /// Within what the number of requests that it gets is sought; `None`: it gets all.
    pub concurrency: Option<Concurrency>,
}

/// Bounds of how many requests an upstream gets at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Concurrency {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// What it begins with.
    pub start: u32,
    /// Percent of the time of an unhurried answer that answers may take.
    pub tolerance: u32,
}

/// What is refused last or first when there is too much to do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Priority {
    /// First.
    Low,
    /// In between.
    #[default]
    Normal,
    /// Last.
    High,
}

impl Priority {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// One upstream address.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `http` or `https`; a path in it is put before each request's path.
    pub url: Spanned<Origin>,
    /// Its share of the requests; at least 1.
    pub weight: u32,
}

/// Scheme, host, port and path prefix of an upstream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// `https`.
    pub tls: bool,
    /// A name or an address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// Empty, or begins with `/` and has none at the end.
    pub prefix: String,
}

/// TLS towards an upstream.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// Trust these certificates alone, instead of the machine's.
    pub ca: Option<Spanned<PathBuf>>,
    /// The name to check, where it is not the URL's host.
    pub server_name: Option<Spanned<String>>,
    /// A certificate to show.
    pub certificate: Option<Certificate>,
}

/// How long an upstream may take.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// To connect, TLS included.
    pub connect: Duration,
    /// From the request's last byte to the response's first.
    pub first_byte: Duration,
    /// For the whole exchange; a response that streams is bounded between its bytes only.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(15),
            total: Duration::from_secs(60),
        }
    }
}

/// What can be said of everything, an API, a tag or an operation. `None` is unsaid.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Enforce, monitor or off.
    pub mode: Option<Mode>,
    /// Needs no credential. Only for operations and tags.
    pub public: Option<Spanned<bool>>,
    /// Sizes, times and counts.
    pub bounds: BoundsPatch,
    /// Undeclared query parameters and properties of requests.
    pub requests_undeclared: Option<RequestUndeclared>,
    /// Undeclared cookies.
    pub cookies: Option<Cookies>,
    /// Undeclared properties of responses.
    pub responses_undeclared: Option<ResponseUndeclared>,
    /// What a caller must have beside the description's scopes.
    pub require: Require,
    /// The rule engine.
    pub waf: WafPatch,
    /// From where clients may come.
    pub networks: NetworkRules,
    /// What is refused last or first when the upstream has too much to do.
    pub priority: Option<Priority>,
    /// Rates, quotas and concurrency; a list replaces the one of a place further away.
    pub limits: Option<Vec<Spanned<LimitRule>>>,
    /// What limits do when the store that instances share is away (`on_fault.limits`).
    pub limits_fault: Option<LimitFault>,
    /// Lets people in. Only for operations and tags.
    pub login: Option<Spanned<LoginDefence>>,
    /// How many objects that are not there a caller may ask for.
    pub enumeration: Option<Enumeration>,
}

/// `requests.undeclared`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RequestUndeclared {
    /// A denial.
    #[default]
    Refuse,
    /// Passes.
    Allow,
}

/// `requests.cookies`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Cookies {
    /// Passes: browsers send what the domain set.
    #[default]
    Allow,
    /// The upstream does not see it.
    Drop,
    /// A denial.
    Refuse,
}

/// `responses.undeclared`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ResponseUndeclared {
    /// The client does not see it.
    #[default]
    Drop,
    /// The response is replaced by a 502.
    Refuse,
    /// Passes.
    Allow,
}

/// Where requests are recorded.
#[derive(Clone, Debug)]
pub enum JournalSink {
    /// Appended; reopened when the file was rotated away.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// `bounds`, as far as they are said.
#[derive(Clone, Debug, Default)]
pub struct BoundsPatch(
    /// Applied in order to a [`Bounds`]; each is one key of the file.
    pub Vec<BoundSetting>,
);

/// One key of `bounds` with its value already typed and in its range.
#[derive(Clone, Debug)]
pub struct BoundSetting {
    /// The key.
    pub name: &'static str,
    /// Bytes, counts, a time in nanoseconds, or a frequency ([`Frequency::packed`]).
    ///
    /// [`Frequency::packed`]: crate::bounds::Frequency::packed
    pub value: u64,
}
