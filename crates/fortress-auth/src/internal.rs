//! What the gateway itself says to an upstream: a short-lived token under a key of its own, and the
//! key set to verify it by.
//!
//! **A key is published before it signs and after it signed**: an upstream that fetched the set a
//! while ago knows the next key already, and still knows the last. Deliberately not here: where
//! keys are kept, and serving the set.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use fortress_model::Timestamp;

use crate::{
    Algorithm, Value,
    sign::{self, SignError, SigningKey},
};

/// The shortest lifetime of a token: an upstream's clock may be some seconds off.
pub const MIN_LIFETIME: Duration = Duration::from_secs(5);
/// The longest lifetime of a token.
pub const MAX_LIFETIME: Duration = Duration::from_secs(600);
/// The most claims that are passed on.
pub const MAX_CLAIMS: usize = 32;
/// The longest payload, in bytes: what an upstream's server takes in one field of a header.
pub const MAX_PAYLOAD: usize = 6 << 10;

/// What the gateway says itself, and no caller's claim may.
const OWN: [&str; 9] = [
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "cnf",
];

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InternalError {
    /// The claims are longer than [`MAX_PAYLOAD`].
    #[error("the internal token's claims are longer than {MAX_PAYLOAD} bytes; pass fewer on")]
    TooLarge,
    /// Signing failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// The key that signs, and those that are published beside it.
#[derive(Clone)]
pub struct InternalKeys {
    current: Arc<SigningKey>,
    next: Arc<SigningKey>,
    previous: Option<Arc<SigningKey>>,
    /// When `current` began to sign.
    since: Timestamp,
}

impl InternalKeys {
    /// Takes the key that signs from now on and the one that will sign after it, each best named by
    /// [`SigningKey::named_by_thumbprint`].
    ///
    /// # Errors
    /// One is not for ES256 or EdDSA, or both have one name.
    pub fn new(
        current: SigningKey,
        next: SigningKey,
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        for key in [&current, &next] {
            check_algorithm(key)?;
        }
        if current.id() == next.id() {
            return Err("two keys of internal tokens have one name");
        }
        Ok(Self {
            current: Arc::new(current),
            next: Arc::new(next),
            previous: None,
            since: now,
        })
    }

    /// Whether the key that signs has done so for this long.
    pub fn is_due(&self, every: Duration, now: Timestamp) -> bool {
        now.since(self.since) >= every
    }

    /// The next key signs, the one that signed is published a while longer, and a fresh one is
    /// published to be the next. Rotate no faster than upstreams fetch the key set.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn rotated(&self, fresh: SigningKey, now: Timestamp) -> Result<Self, &'static str> {
        check_algorithm(&fresh)?;
        if [&self.current, &self.next]
            .iter()
            .any(|key| key.id() == fresh.id())
        {
            return Err("two keys of internal tokens have one name");
        }
        Ok(Self {
            current: Arc::clone(&self.next),
            next: Arc::new(fresh),
            previous: Some(Arc::clone(&self.current)),
            since: now,
        })
    }

    /// The public halves as a JWK Set (RFC 7517): the text of a JSON object.
    pub fn key_set(&self) -> String {
        let keys = [
            Some(&self.current),
            Some(&self.next),
            self.previous.as_ref(),
        ];
        let keys: Vec<&SigningKey> = keys.into_iter().flatten().map(|key| &**key).collect();
        sign::key_set(&keys)
    }

    /// The key that signs.
    pub fn current(&self) -> &SigningKey {
        &self.current
    }
}

impl fmt::Debug for InternalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "InternalKeys({:?}, then {:?})",
            self.current.id(),
            self.next.id()
        )
    }
}

fn check_algorithm(key: &SigningKey) -> Result<(), &'static str> {
    let short = [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ed25519];
    if short.contains(&key.algorithm()) {
        Ok(())
    } else {
        Err("internal tokens are signed by ES256 or EdDSA")
    }
}

/// Issues the tokens for one upstream.
#[derive(Clone, Debug)]
pub struct InternalIssuer {
    issuer: Box<str>,
    audience: Box<str>,
    lifetime: Duration,
    /// Names of the claims that are passed on.
    claims: Vec<Box<str>>,
}

/// Of whom a token speaks.
#[derive(Clone, Copy, Debug)]
pub struct InternalSubject<'a> {
    /// The principal's id.
    pub subject: &'a str,
    /// What the caller may do.
    pub scopes: &'a [Box<str>],
    /// What is known of the caller beside; only the configured claims of these are passed on.
    pub claims: &'a dyn ClaimSource,
}

/// Where the values of claims come from.
pub trait ClaimSource: fmt::Debug {
    /// The value of a claim, by its name.
    fn claim(&self, name: &str) -> Option<&Value>;
}

impl ClaimSource for crate::Claims {
    fn claim(&self, name: &str) -> Option<&Value> {
        self.get(name)
    }
}

/// No claims: a principal that no token vouches for.
#[derive(Clone, Copy, Debug)]
pub struct NoClaims;

impl ClaimSource for NoClaims {
    fn claim(&self, _: &str) -> Option<&Value> {
        None
    }
}

impl InternalIssuer {
    /// Takes `iss`, `aud`, how long a token is valid, and the names of claims to pass on.
    ///
    /// # Errors
    /// What to write instead: an empty name, a lifetime out of [`MIN_LIFETIME`] to
    /// [`MAX_LIFETIME`], too many claims, or one that the gateway says itself.
    pub fn new(
        issuer: &str,
        audience: &str,
        lifetime: Duration,
        claims: Vec<Box<str>>,
    ) -> Result<Self, String> {
        if issuer.is_empty() || audience.is_empty() {
            return Err("an internal token names its issuer and its audience".into());
        }
        if !(MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) {
            return Err("an internal token is valid for 5s to 10min".into());
        }
        if claims.len() > MAX_CLAIMS {
            return Err(format!("at most {MAX_CLAIMS} claims are passed on"));
        }
        if let Some(own) = claims.iter().find(|name| OWN.contains(&&***name)) {
            return Err(format!(
                "`{own}` is said by the gateway itself; leave it out"
            ));
        }
        let names: BTreeSet<&str> = claims.iter().map(|name| &**name).collect();
        if names.len() < claims.len() {
            return Err("a claim stands twice".into());
        }
        Ok(Self {
            issuer: issuer.into(),
            audience: audience.into(),
            lifetime,
            claims,
        })
    }

    /// Makes a token. `id` must be random: `jti` is made of it.
    ///
    /// # Errors
    /// The claims are too long, or the cryptographic library failed.
    pub fn issue(
        &self,
        keys: &InternalKeys,
        of: &InternalSubject<'_>,
        id: [u8; 16],
        now: Timestamp,
    ) -> Result<String, InternalError> {
        let issued = now.seconds();
        let expires = issued.saturating_add(self.lifetime.as_secs());
        let id = u128::from_be_bytes(id);
        let mut claims = format!(
            r#"{{"iss":{},"sub":{},"aud":{},"iat":{issued},"exp":{expires},"jti":"{id:032x}""#,
            sign::quoted(&self.issuer),
            sign::quoted(of.subject),
            sign::quoted(&self.audience),
        );
        if !of.scopes.is_empty() {
            claims.push_str(r#","scope":"#);
            claims.push_str(&sign::quoted(&of.scopes.join(" ")));
        }
        for name in &self.claims {
            if let Some(value) = of.claims.claim(name) {
                claims.push(',');
                claims.push_str(&sign::quoted(name));
                claims.push(':');
                claims.push_str(&value.to_string());
            }
            if claims.len() > MAX_PAYLOAD {
                return Err(InternalError::TooLarge);
            }
        }
        claims.push('}');
        if claims.len() > MAX_PAYLOAD {
            return Err(InternalError::TooLarge);
        }
        let key = keys.current();
        Ok(key.sign_raw(key.header("JWT").as_bytes(), claims.as_bytes())?)
    }

    /// `aud`, as the upstream expects it.
    pub fn audience(&self) -> &str {
        &self.audience
    }
}
