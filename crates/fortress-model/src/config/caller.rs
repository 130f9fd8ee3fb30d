//! What the configuration says of callers, typed: who vouches for them, what they must have, and what
//! upstreams are told of them.

use std::{path::PathBuf, time::Duration};

use super::Spanned;
use crate::{document::Span, secret::Secret};

/// An entry of `identity`.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Its key.
    pub name: Spanned<String>,
    /// What kind of credential it judges.
    pub kind: IdentityKind,
}

/// The kinds of credentials.
#[derive(Clone, Debug)]
pub enum IdentityKind {
    /// Tokens of an issuer.
    Issuer(Box<Issuer>),
    /// Keys of the store.
    ApiKey(ApiKeys),
    /// TLS certificates.
    Certificate(ClientCertificates),
    /// Names and passwords.
    Basic(Basic),
    /// HTTP message signatures.
    Signature(Signatures),
    /// Signed calls.
    Webhook(Webhook),
}

/// An issuer of tokens (RFC 6750, 7519, 7662, 9068).
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `iss`, compared exactly.
    pub issuer: Spanned<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// Trust these certificates alone when asking it.
    pub ca: Option<Spanned<PathBuf>>,
    /// One of them must be in `aud`.
    pub audience: Vec<String>,
    /// Algorithms accepted; empty for what the keys allow.
    pub algorithms: Vec<Spanned<String>>,
    /// Tolerance for `exp` and `nbf`.
    pub leeway: Duration,
    /// Demanded `typ`, such as `at+jwt`.
    pub token_type: Option<String>,
    /// Where claims are.
    pub claims: ClaimPaths,
    /// How opaque tokens are asked about.
    pub introspection: Option<Introspection>,
    /// Proofs of possession.
    pub dpop: Dpop,
    /// Tokens bound to client certificates: [`Demand::Accepted`] or [`Demand::Required`].
    pub certificate_bound: Demand,
    /// Login with a browser.
    pub login: Option<Login>,
}

/// Where an issuer's keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A key set.
    Jwks(Spanned<JwksSource>),
    /// OpenID Connect Discovery at the issuer's URL.
    Discovery,
    /// A shared key for HMAC, at least 32 bytes.
    Secret(Spanned<Secret<String>>),
}

/// Where a key set comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JwksSource {
    /// A file, watched.
    File(PathBuf),
    /// An https URL, or http on loopback.
    Url(String),
}

/// Claims by dotted paths.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ClaimPaths {
    /// The scopes (default: `scope`, then `scp`).
    pub scope: Option<String>,
    /// The roles (default: `roles`).
    pub roles: Option<String>,
    /// The tenant; none if not said.
    pub tenant: Option<String>,
}

/// How an issuer is asked about tokens (RFC 7662).
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Where; discovered if not said.
    pub endpoint: Option<String>,
    /// Who asks.
    pub client_id: String,
    /// The secret that proves it.
    pub client_secret: Secret<String>,
    /// Which tokens are asked about.
    pub tokens: WhichTokens,
    /// How long an answer holds at most.
    pub cache: Duration,
    /// How long an inactive token is remembered.
    pub negative_cache: Duration,
    /// How long to wait for an answer.
    pub timeout: Duration,
    /// Demands signed answers (RFC 9701).
    pub signed: bool,
}

/// Which tokens the issuer is asked about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum WhichTokens {
    /// Those that are no JWT.
    #[default]
    Opaque,
    /// Every one.
    All,
}

/// How much a binding of tokens is demanded.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Demand {
    /// Not understood: a bound token is refused.
    Off,
    /// A bound token must prove it, others pass.
    #[default]
    Accepted,
    /// Every token must be bound.
    Required,
}

/// Proofs of possession (RFC 9449).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dpop {
    /// Whether they are demanded.
    pub mode: Demand,
    /// How old a proof may be.
    pub window: Duration,
    /// Whether a nonce of the gateway's is demanded.
    pub nonce: bool,
}

impl Default for Dpop {
    fn default() -> Self {
        Self {
            mode: Demand::default(),
            window: Duration::from_secs(60),
            nonce: false,
        }
    }
}

/// Login with a browser (OpenID Connect Core, authorization code flow; RFC 7636).
#[derive(Clone, Debug)]
pub struct Login {
    /// The client as the issuer knows it.
    pub client_id: String,
    /// Its secret; none for a public client.
    pub client_secret: Option<Secret<String>>,
    /// The secret is sent in the form.
    pub secret_in_form: bool,
    /// Encrypts the cookies; 32 bytes in base64.
    pub key: Spanned<Secret<String>>,
    /// Sessions under it still hold.
    pub previous_key: Option<Spanned<Secret<String>>>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// What the issuer is to ask the person each time.
    pub prompt: Option<&'static str>,
    /// Scheme, host and port of the gateway as browsers call it, if the configuration says so.
    pub origin: Option<String>,
    /// Where one's own page begins a login.
    pub login_path: Spanned<String>,
    /// Where the issuer sends browsers back.
    pub callback: Spanned<String>,
    /// What ends a session.
    pub logout: Spanned<String>,
    /// Where browsers go after that.
    pub after_logout: String,
    /// Logout ends the session at the issuer too.
    pub logout_at_issuer: bool,
    /// How long a session lasts at most.
    pub absolute: Duration,
    /// How long it lasts without a request.
    pub idle: Duration,
    /// Where the issuer is asked, as far as that is not discovered.
    pub endpoints: LoginEndpoints,
}

/// Where an issuer is asked in the course of a login and after it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LoginEndpoints {
    /// Browsers are sent there to log in.
    pub authorization: Option<String>,
    /// Codes are redeemed there.
    pub token: Option<String>,
    /// Browsers are sent there to log out.
    pub end_session: Option<String>,
    /// Tokens are revoked there (RFC 7009).
    pub revocation: Option<String>,
}

/// Keys that `fortress keys` makes.
#[derive(Clone, Debug)]
pub struct ApiKeys {
    /// Where they stand, if the configuration says so rather than the description.
    pub header: Option<Spanned<String>>,
    /// The `env` accepted; any if not said.
    pub environment: Option<String>,
}

/// Client certificates.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// Patterns of subject alternative names; the first that matches names the principal.
    pub san: Vec<Spanned<String>>,
    /// A field that trusted proxies pass the certificate on in (RFC 9440).
    pub header: Option<Spanned<String>>,
}

/// User names and passwords (RFC 7617).
#[derive(Clone, Debug)]
pub struct Basic {
    /// `name:hash` a line.
    pub users: Spanned<PathBuf>,
    /// How long a right password is not checked again.
    pub cache: Duration,
}

/// HTTP message signatures (RFC 9421).
#[derive(Clone, Debug)]
pub struct Signatures {
    /// A JWK set whose `kid`s are the `keyid`s.
    pub keys: Spanned<PathBuf>,
    /// What must be signed.
    pub components: Vec<Spanned<String>>,
    /// How old `created` may be.
    pub max_age: Duration,
    /// The `tag` that must be there.
    pub tag: Option<String>,
    /// Whether one signature may be shown twice.
    pub replay: bool,
}

/// Calls signed with a shared secret.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// A well-known sender's form.
    pub preset: Option<WebhookPreset>,
    /// The shared secrets.
    pub secrets: Vec<Secret<String>>,
    /// The principal's name.
    pub sender: Option<String>,
    /// The field of the signature.
    pub header: Option<Spanned<String>>,
    /// What stands before the signature.
    pub prefix: Option<String>,
    /// How the signature is written.
    pub encoding: Option<Encoding>,
    /// The hash.
    pub algorithm: Option<Hash>,
    /// The field whose seconds are signed too.
    pub timestamp_header: Option<Spanned<String>>,
    /// How far the timestamp may be from now.
    pub tolerance: Option<Duration>,
}

/// Forms of well-known senders.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WebhookPreset {
    /// `X-Hub-Signature-256: sha256=HEX` over the body.
    Github,
    /// `Stripe-Signature: t=…,v1=HEX` over `t.body`.
    Stripe,
    /// `X-Slack-Signature: v0=HEX` over `v0:timestamp:body`.
    Slack,
    /// `webhook-signature: v1,BASE64` over `id.timestamp.body`.
    Standard,
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// Two digits a byte.
    Hex,
    /// RFC 4648, section 4.
    Base64,
}

/// A hash of HMAC.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// `listen[].tls.clients`.
#[derive(Clone, Debug)]
pub struct Clients {
    /// The authorities.
    pub ca: Vec<Spanned<PathBuf>>,
    /// Lists of revoked certificates.
    pub crl: Vec<Spanned<PathBuf>>,
    /// No connection without a certificate.
    pub required: bool,
}

/// `require`: what a caller must have. `None` is unsaid.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Require {
    /// Scopes, all of them.
    pub scopes: Option<Vec<String>>,
    /// Roles, one of them.
    pub roles: Option<Vec<String>>,
    /// A client certificate that the listener trusts.
    pub certificate: Option<bool>,
    /// Authentication contexts, one of them.
    pub acr: Option<Vec<String>>,
    /// How long ago the person may have logged in.
    pub max_age: Option<Duration>,
    /// A proof of possession.
    pub dpop: Option<bool>,
}

impl Require {
    /// Whether it demands what no anonymous caller has; a certificate is none of that, since whoever
    /// shows one may stay anonymous.
    #[must_use]
    pub fn demands_caller(&self) -> bool {
        let some =
            |names: &Option<Vec<String>>| names.as_ref().is_some_and(|names| !names.is_empty());
        some(&self.scopes)
            || some(&self.roles)
            || some(&self.acr)
            || self.max_age.is_some()
            || self.dpop == Some(true)
    }

    /// Takes over what a nearer place says; the rest stays.
    pub fn overlay(&mut self, nearer: &Self) {
        fn take<T: Clone>(into: &mut Option<T>, from: &Option<T>) {
            if from.is_some() {
                into.clone_from(from);
            }
        }
        take(&mut self.scopes, &nearer.scopes);
        take(&mut self.roles, &nearer.roles);
        take(&mut self.certificate, &nearer.certificate);
        take(&mut self.acr, &nearer.acr);
        take(&mut self.max_age, &nearer.max_age);
        take(&mut self.dpop, &nearer.dpop);
    }

    /// The scopes demanded.
    pub fn scopes(&self) -> &[String] {
        self.scopes.as_deref().unwrap_or_default()
    }
}

/// `upstream.identity`.
#[derive(Clone, Debug, Default)]
pub struct UpstreamIdentity {
    /// What goes on.
    pub forward: Forward,
    /// Field → what it says.
    pub headers: Vec<(Spanned<String>, PrincipalField)>,
    /// `aud` of an internal or exchanged token; the API's name if not said.
    pub audience: Option<String>,
    /// How long an internal token holds.
    pub lifetime: Option<Duration>,
    /// Claims that an internal token carries on.
    pub claims: Vec<String>,
    /// The field of the internal or exchanged token; `Authorization` if not said.
    pub header: Option<Spanned<String>>,
    /// Passes the client's certificate on (RFC 9440).
    pub certificate: bool,
    /// Where tokens are exchanged.
    pub exchange: Option<Exchange>,
}

/// What of the credential goes on to the upstream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Forward {
    /// Nothing.
    None,
    /// The credential as it came.
    #[default]
    Token,
    /// Claims, as header fields.
    Claims,
    /// A short-lived token that the gateway signs.
    InternalJwt,
    /// A token that the issuer gives in exchange (RFC 8693).
    Exchange,
}

/// What of a principal a header field says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PrincipalField {
    /// Its id.
    Id,
    /// Its tenant.
    Tenant,
    /// Its roles, with commas between them.
    Roles,
    /// Its scopes, with spaces between them.
    Scopes,
    /// The entry of `identity` that vouched for it.
    Identity,
    /// A claim, as a dotted path.
    Claim(String),
}

/// Token exchange (RFC 8693).
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The token endpoint.
    pub endpoint: Spanned<String>,
    /// Who asks.
    pub client_id: String,
    /// The secret that proves it.
    pub client_secret: Secret<String>,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// `resource` to ask for.
    pub resource: Option<String>,
}

/// `internal_tokens`.
#[derive(Clone, Debug)]
pub struct InternalTokens {
    /// `iss`.
    pub issuer: String,
    /// A key of the operator's; made at the start if none is named.
    pub key: Option<Spanned<PathBuf>>,
    /// Published on, not used.
    pub previous_key: Option<Spanned<PathBuf>>,
    /// How often a key that the gateway made is replaced.
    pub rotate: Duration,
}

impl Default for InternalTokens {
    fn default() -> Self {
        Self {
            issuer: "fortress".to_owned(),
            key: None,
            previous_key: None,
            rotate: Duration::from_secs(86_400),
        }
    }
}

impl Identity {
    /// The entry's name in the file.
    pub fn span(&self) -> Span {
        self.name.span
    }

    /// The issuer, if it is one.
    pub fn issuer(&self) -> Option<&Issuer> {
        match &self.kind {
            IdentityKind::Issuer(issuer) => Some(issuer),
            IdentityKind::ApiKey(_)
            | IdentityKind::Certificate(_)
            | IdentityKind::Basic(_)
            | IdentityKind::Signature(_)
            | IdentityKind::Webhook(_) => None,
        }
    }
}
