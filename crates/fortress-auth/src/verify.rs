//! From a string that a stranger sent to a [`Verified`] token, or the reason why not.
//!
//! The order is fixed: syntax, header, key, signature, and only then what the token claims, so
//! that nobody without a key learns anything but that. There is no way to skip a step.

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::digest;
use fortress_model::Timestamp;

use crate::{
    Algorithm, Cache, Claims, Confirmation, JwkSet,
    error::{Shown, TokenError},
    json::Object,
    jwks::Attempt,
    jws::{Compact, Header},
    registered::{self, text},
};

/// What a token must be to be accepted.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// `iss`, exactly. If empty, no token is accepted.
    pub issuer: String,
    /// `aud` must have one of these, exactly. If empty, no token is accepted.
    pub audience: Vec<String>,
    /// The algorithms that are accepted; if empty, all that the keys allow. Those of shared secrets
    /// (`HS256` and its like) are accepted only if they stand here.
    pub algorithms: Vec<Algorithm>,
    /// How far this clock and the issuer's may be apart.
    pub leeway: Duration,
    /// The `typ` that is demanded, such as `at+jwt` (RFC 9068), in any case, with or without
    /// `application/` before it. If none is, `typ` may be absent, `JWT`, `at+jwt` or `JOSE`, but
    /// not the type of something that is no access token (RFC 8725, section 3.11). Where `at+jwt` is
    /// demanded, so are the claims that it must have (RFC 9068, section 2.2).
    pub token_type: Option<String>,
    /// The claim that holds the scopes, as a dotted path; if none, `scope`, else `scp`.
    pub scope_claim: Option<String>,
}

/// Verifies tokens against one set of [`Expectations`].
#[derive(Debug)]
pub struct Verifier {
    expected: Expectations,
    fingerprint: [u8; 32],
}

/// A token that may be believed.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Who it speaks for: `sub`, else `client_id`, else `azp`; empty if it names nobody.
    pub subject: Arc<str>,
    /// What it allows.
    pub scopes: Vec<Box<str>>,
    /// `exp` in seconds since the epoch, a fraction dropped. Only an introspected token may have
    /// none.
    pub expires: Option<u64>,
    /// What vouches for it.
    pub proven: Proven,
    /// Whom it is bound to. INVARIANT: before the token counts, [`bind`](crate::bind) must hold.
    pub confirmation: Confirmation,
    /// Everything that it claims.
    pub claims: Claims,
}

/// What vouches for a token. Printed for the journal: `ES256, key 2026-01`, or `introspection`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Proven {
    /// The issuer's signature.
    Signature {
        /// The algorithm that verified it.
        algorithm: Algorithm,
        /// The `kid` of the key that verified it, if the token names one.
        key_id: Option<Box<str>>,
    },
    /// The issuer itself, which was asked (RFC 7662).
    Introspection,
    /// A browser's session, which begins with a verified ID token.
    Session,
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature {
                algorithm,
                key_id: Some(key_id),
            } => write!(f, "{algorithm}, key {}", Shown::new(key_id)),
            Self::Signature {
                algorithm,
                key_id: None,
            } => write!(f, "{algorithm}"),
            Self::Introspection => f.write_str("introspection"),
            Self::Session => f.write_str("session"),
        }
    }
}

impl Verified {
    /// It has this scope. Scopes are case-sensitive (RFC 6749, section 3.3).
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.iter().any(|held| **held == *scope)
    }
}

impl Verifier {
    /// Takes what is expected of a token.
    pub fn new(expected: Expectations) -> Self {
        let fingerprint = fingerprint(&expected);
        Self {
            expected,
            fingerprint,
        }
    }

    /// What is expected of a token.
    pub fn expectations(&self) -> &Expectations {
        &self.expected
    }

    /// Differs between verifiers that could judge one token differently.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Verifies a compact JWS (RFC 7519, section 7.2), without the `Bearer` before it.
    ///
    /// # Errors
    /// Whatever is wrong first. With [`TokenError::UnknownKey`] newer keys may help.
    pub fn verify(
        &self,
        token: &str,
        keys: &JwkSet,
        now: Timestamp,
    ) -> Result<Verified, TokenError> {
        let (header, claims) = self.signed(token, keys, |given| self.accepts_type(given))?;
        self.judge(header, claims, now)
    }

    /// Syntax, type, key and signature: what says that the issuer wrote these claims, whatever
    /// they are.
    pub(crate) fn signed(
        &self,
        token: &str,
        keys: &JwkSet,
        accepts_type: impl Fn(Option<&str>) -> bool,
    ) -> Result<(Header, Object), TokenError> {
        let token = Compact::parse(token)?;
        let header = token.header()?;
        let given = header.token_type.as_deref();
        if !accepts_type(given) {
            return Err(TokenError::Type(given.map(Shown::new)));
        }
        self.check_signature(&token, &header, keys)?;
        let claims = token.payload()?;
        Ok((header, claims))
    }

    /// What the claims say, once they are known to be the issuer's.
    pub(crate) fn judge(
        &self,
        header: Header,
        claims: Object,
        now: Timestamp,
    ) -> Result<Verified, TokenError> {
        let expires = self.check_claims(&claims, now)?;
        if self.demands_access_token() {
            check_access_token(&claims)?;
        }
        let subject = registered::subject(&claims)?;
        let confirmation = Confirmation::read(&claims)?;
        let claims = Claims::new(claims);
        let scopes = registered::scopes(&claims, self.expected.scope_claim.as_deref())?;
        Ok(Verified {
            subject,
            scopes,
            expires: Some(expires),
            proven: Proven::Signature {
                algorithm: header.algorithm,
                key_id: header.key_id,
            },
            confirmation,
            claims,
        })
    }

    /// [`Self::verify`], but a token that was verified before, by these expectations and these
    /// keys, is taken from the cache until it expires.
    ///
    /// # Errors
    /// As [`Self::verify`]; a refusal is never cached.
    pub fn verify_cached(
        &self,
        token: &str,
        keys: &JwkSet,
        now: Timestamp,
        cache: &Cache,
    ) -> Result<Arc<Verified>, TokenError> {
        if let Some(verified) = cache.get(token, self, keys, now) {
            return Ok(verified);
        }
        let verified = Arc::new(self.verify(token, keys, now)?);
        cache.insert(token, self, keys, Arc::clone(&verified));
        Ok(verified)
    }

    fn accepts_type(&self, given: Option<&str>) -> bool {
        match (&self.expected.token_type, given) {
            (Some(demanded), Some(given)) => {
                media_type(given).eq_ignore_ascii_case(media_type(demanded))
            }
            (Some(_), None) => false,
            (None, Some(given)) => is_type(given, &["JWT", ACCESS_TOKEN, "JOSE"]),
            (None, None) => true,
        }
    }

    fn demands_access_token(&self) -> bool {
        let demanded = self.expected.token_type.as_deref();
        demanded.is_some_and(|demanded| is_type(demanded, &[ACCESS_TOKEN]))
    }

    fn check_signature(
        &self,
        token: &Compact<'_>,
        header: &Header,
        keys: &JwkSet,
    ) -> Result<(), TokenError> {
        let algorithm = header.algorithm;
        let allowed = &self.expected.algorithms;
        // Twice opted in: the secret must be configured, and the name that makes use of it.
        if algorithm.is_symmetric() && !allowed.contains(&algorithm) {
            return Err(TokenError::AlgorithmUnknown(Shown::new(algorithm.name())));
        }
        if !allowed.is_empty() && !allowed.iter().any(|one| one.permits(algorithm)) {
            return Err(TokenError::AlgorithmRefused(algorithm));
        }
        let key_id = header.key_id.as_deref();
        match keys.verify(algorithm, key_id, token.signed, &token.signature) {
            Attempt::Verified => Ok(()),
            Attempt::Failed => Err(TokenError::Signature),
            Attempt::Mismatch => Err(TokenError::KeyMismatch {
                algorithm,
                key_id: Shown::new(key_id.unwrap_or_default()),
            }),
            Attempt::NoKey => Err(TokenError::UnknownKey {
                algorithm,
                key_id: key_id.map(Shown::new),
            }),
        }
    }

    /// Issuer, audience and times; returns when the token expires. Types come first, so that a
    /// token with a claim of the wrong type is malformed whatever else it is.
    fn check_claims(&self, claims: &Object, now: Timestamp) -> Result<u64, TokenError> {
        let claimed = registered::Claimed::read(claims)?;
        let issuer = claimed.issuer.ok_or(TokenError::ClaimMissing("iss"))?;
        if issuer.is_empty() || issuer != self.expected.issuer {
            return Err(TokenError::Issuer);
        }
        let audience = claimed.audience.as_deref();
        let audience = audience.ok_or(TokenError::ClaimMissing("aud"))?;
        if !registered::names_one(audience, &self.expected.audience) {
            return Err(TokenError::Audience);
        }
        let expires = claimed.expires.ok_or(TokenError::ClaimMissing("exp"))?;
        claimed.check_times(self.expected.leeway, now)?;
        Ok(expires.as_secs())
    }
}

/// The issuer that a token claims, unverified: only to choose by whose keys to verify it.
///
/// # Errors
/// The token cannot be read, or has no `iss` that is a string.
pub fn peek_issuer(token: &str) -> Result<Box<str>, TokenError> {
    let token = Compact::parse(token)?;
    token.header()?;
    let claims = token.payload()?;
    text(&claims, "iss")?
        .map(Into::into)
        .ok_or(TokenError::ClaimMissing("iss"))
}

/// Whether a token says which key signed it (`kid`). Of one that does not, nobody knows whether its
/// signature is wrong or its key is new.
pub fn names_a_key(token: &str) -> bool {
    let header = Compact::parse(token).and_then(|token| token.header());
    header.is_ok_and(|header| header.key_id.is_some())
}

/// RFC 9068, section 2.1.
const ACCESS_TOKEN: &str = "at+jwt";

/// RFC 9068, section 2.2: the claims that an access token must have, beside those that any must.
fn check_access_token(claims: &Object) -> Result<(), TokenError> {
    match ["sub", "client_id", "iat", "jti"]
        .into_iter()
        .find(|name| claims.get(name).is_none())
    {
        None => Ok(()),
        Some(name) => Err(TokenError::ClaimMissing(name)),
    }
}

/// The type is one of these, in any case, with or without `application/`.
pub(crate) fn is_type(given: &str, accepted: &[&str]) -> bool {
    let given = media_type(given);
    accepted.iter().any(|one| given.eq_ignore_ascii_case(one))
}

/// RFC 7515, section 4.1.9: `application/` may be left out of `typ`.
fn media_type(name: &str) -> &str {
    const PREFIX: &str = "application/";
    match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        Some(_) | None => name,
    }
}

/// `Debug` of strings escapes quotes, so that no two expectations print alike.
pub(crate) fn fingerprint(expected: &impl fmt::Debug) -> [u8; 32] {
    sha256(&[format!("{expected:?}").as_bytes()])
}

/// SHA-256 of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
