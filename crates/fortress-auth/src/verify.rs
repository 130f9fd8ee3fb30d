//! From a string that a stranger sent to a [`Verified`] token, or the reason why not.
//!
//! The order is fixed: syntax, header, key, signature, and only then what the token claims, so
//! that nobody without a key learns anything but that. There is no way to skip a step.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::digest;
use fortress_model::Timestamp;

use crate::{
    Algorithm, Cache, Claims, JwkSet,
    error::{Shown, TokenError},
    json::{Object, Value},
    jwks::Attempt,
    jws::{Compact, Header},
};

/// The last second of the year 9999. A date beyond it is most likely one in milliseconds, which
/// would be a token that never expires.
const MAX_DATE: u64 = 253_402_300_799;

/// What a token must be to be accepted.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// `iss`, exactly. If empty, no token is accepted.
    pub issuer: String,
    /// `aud` must have one of these, exactly. If empty, no token is accepted.
    pub audience: Vec<String>,
    /// The algorithms that are accepted; if empty, all that the keys allow.
    pub algorithms: Vec<Algorithm>,
    /// How far this clock and the issuer's may be apart.
    pub leeway: Duration,
    /// The `typ` that is demanded, such as `at+jwt` (RFC 9068), in any case, with or without
    /// `application/` before it. If none is, `typ` may be absent, `JWT`, `at+jwt` or `JOSE`, but
    /// not the type of something that is no access token (RFC 8725, section 3.11).
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
    /// `exp` in seconds since the epoch, a fraction dropped.
    pub expires: u64,
    /// The algorithm that verified it.
    pub algorithm: Algorithm,
    /// The `kid` of the key that verified it, if it names one.
    pub key_id: Option<Box<str>>,
    /// Everything that it claims.
    pub claims: Claims,
}

impl Verified {
    /// The `kid`, safe to print.
    pub fn shown_key_id(&self) -> Option<Shown> {
        self.key_id.as_deref().map(Shown::new)
    }

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
        let token = Compact::parse(token)?;
        let header = token.header()?;
        self.check_type(header.token_type.as_deref())?;
        self.check_signature(&token, &header, keys)?;
        let claims = token.payload()?;
        let expires = self.check_claims(&claims, now)?;
        let subject = subject(&claims)?;
        let claims = Claims::new(claims);
        let scopes = self.scopes(&claims)?;
        Ok(Verified {
            subject,
            scopes,
            expires,
            algorithm: header.algorithm,
            key_id: header.key_id,
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

    fn check_type(&self, given: Option<&str>) -> Result<(), TokenError> {
        let given_type = given.map(media_type);
        let accepted = match (&self.expected.token_type, given_type) {
            (Some(demanded), Some(given)) => given.eq_ignore_ascii_case(media_type(demanded)),
            (Some(_), None) => false,
            (None, Some(given)) => ["JWT", "at+jwt", "JOSE"]
                .iter()
                .any(|usual| given.eq_ignore_ascii_case(usual)),
            (None, None) => true,
        };
        if accepted {
            Ok(())
        } else {
            Err(TokenError::Type(given.map(Shown::new)))
        }
    }

    fn check_signature(
        &self,
        token: &Compact<'_>,
        header: &Header,
        keys: &JwkSet,
    ) -> Result<(), TokenError> {
        let algorithm = header.algorithm;
        let allowed = &self.expected.algorithms;
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
        let issuer = text(claims, "iss")?;
        let audience = audience(claims)?;
        let expires = date(claims, "exp")?;
        let not_before = date(claims, "nbf")?;
        let issued = date(claims, "iat")?;
        for name in ["jti", "client_id", "azp"] {
            text(claims, name)?;
        }

        let issuer = issuer.ok_or(TokenError::ClaimMissing("iss"))?;
        if issuer.is_empty() || issuer != self.expected.issuer {
            return Err(TokenError::Issuer);
        }
        let audience = audience.ok_or(TokenError::ClaimMissing("aud"))?;
        let accepted = |one: &&str| self.expected.audience.iter().any(|ours| ours == one);
        if !audience.iter().any(|one| !one.is_empty() && accepted(one)) {
            return Err(TokenError::Audience);
        }
        let expires = expires.ok_or(TokenError::ClaimMissing("exp"))?;
        self.check_times(expires, not_before, issued, now)?;
        Ok(expires.as_secs())
    }

    fn check_times(
        &self,
        expires: Duration,
        not_before: Option<Duration>,
        issued: Option<Duration>,
        now: Timestamp,
    ) -> Result<(), TokenError> {
        let now = Duration::from_nanos(now.0);
        let leeway = self.expected.leeway;
        // RFC 7519, section 4.1.4: the token must not be accepted on or after its expiry.
        if now >= expires.saturating_add(leeway) {
            return Err(TokenError::Expired(now.saturating_sub(expires).as_secs()));
        }
        let latest = now.saturating_add(leeway);
        let ahead = |date: Duration| date.saturating_sub(now).as_secs();
        if let Some(date) = not_before.filter(|date| *date > latest) {
            return Err(TokenError::NotYetValid(ahead(date)));
        }
        if let Some(date) = issued.filter(|date| *date > latest) {
            return Err(TokenError::IssuedInFuture(ahead(date)));
        }
        Ok(())
    }

    fn scopes(&self, claims: &Claims) -> Result<Vec<Box<str>>, TokenError> {
        let (claim, value) = match &self.expected.scope_claim {
            Some(path) => ("configured scope claim", claims.get(path)),
            None => claims
                .all()
                .get("scope")
                .map_or(("scp", claims.all().get("scp")), |value| {
                    ("scope", Some(value))
                }),
        };
        let malformed = TokenError::ClaimMalformed {
            claim,
            expected: "a string or an array of strings",
        };
        match value {
            None => Ok(Vec::new()),
            Some(Value::String(text)) => Ok(text
                .split(' ')
                .filter(|scope| !scope.is_empty())
                .map(Into::into)
                .collect()),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| item.as_str().map(Into::into))
                .collect::<Option<_>>()
                .ok_or(malformed),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                Err(malformed)
            }
        }
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

/// RFC 7515, section 4.1.9: `application/` may be left out of `typ`.
fn media_type(name: &str) -> &str {
    const PREFIX: &str = "application/";
    match name.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        Some(_) | None => name,
    }
}

/// Who the token speaks for. An empty name or one with control characters is nobody's, and would
/// only be good for fooling whatever compares or prints it later.
fn subject(claims: &Object) -> Result<Arc<str>, TokenError> {
    let subject = match text(claims, "sub")? {
        Some(subject) => Some(("sub", subject)),
        None => ["client_id", "azp"]
            .into_iter()
            .find_map(|name| Some((name, claims.get(name)?.as_str()?))),
    };
    match subject {
        None => Ok(Arc::from("")),
        Some((_, name)) if !name.is_empty() && !name.contains(char::is_control) => {
            Ok(Arc::from(name))
        }
        Some((claim, _)) => Err(TokenError::ClaimMalformed {
            claim,
            expected: "a non-empty string without control characters",
        }),
    }
}

fn audience(claims: &Object) -> Result<Option<Vec<&str>>, TokenError> {
    let malformed = TokenError::ClaimMalformed {
        claim: "aud",
        expected: "a string or an array of strings",
    };
    match claims.get("aud") {
        None => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one])),
        Some(Value::Array(items)) => items
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .map(Some)
            .ok_or(malformed),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(malformed),
    }
}

/// A `NumericDate` (RFC 7519, section 2) as the time since the epoch.
fn date(claims: &Object, claim: &'static str) -> Result<Option<Duration>, TokenError> {
    let malformed = TokenError::ClaimMalformed {
        claim,
        expected: "a number of seconds since 1970, up to the year 9999",
    };
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::Number(number)) => number
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|date| date.as_secs() <= MAX_DATE)
            .map(Some)
            .ok_or(malformed),
        Some(
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
        ) => Err(malformed),
    }
}

fn text<'a>(claims: &'a Object, claim: &'static str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(TokenError::ClaimMalformed {
            claim,
            expected: "a string",
        }),
    }
}

fn fingerprint(expected: &Expectations) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    // `Debug` of strings escapes quotes, so that no two expectations print alike.
    context.update(format!("{expected:?}").as_bytes());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
