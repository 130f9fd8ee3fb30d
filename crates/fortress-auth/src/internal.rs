//! What the gateway itself says to an upstream: a short-lived token under a key of its own, and the
//! key set to verify it by.
//!
//! **A key is published before it signs and after it signed**: an upstream that fetched the set a
//! while ago knows the next key already, and still knows the last. Deliberately not here: where
//! keys are kept, and serving the set.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use fortress_model::{Secret, Timestamp};
use quick_cache::{Weighter, sync};

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
const OWN: [&str; 10] = [
    "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "identity", "cnf",
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
    /// None where the operator decides when another key signs.
    next: Option<Arc<SigningKey>>,
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
            next: Some(Arc::new(next)),
            previous: None,
            since: now,
        })
    }

    /// Takes the operator's key, and perhaps another that is published beside it: the one before,
    /// or the one to come. These are never due.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn fixed(
        current: SigningKey,
        published: Option<SigningKey>,
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        for key in [Some(&current), published.as_ref()].into_iter().flatten() {
            check_algorithm(key)?;
        }
        if published
            .as_ref()
            .is_some_and(|key| key.id() == current.id())
        {
            return Err("two keys of internal tokens have one name");
        }
        Ok(Self {
            current: Arc::new(current),
            next: None,
            previous: published.map(Arc::new),
            since: now,
        })
    }

    /// Whether the key that signs has done so for this long.
    pub fn is_due(&self, every: Duration, now: Timestamp) -> bool {
        self.next.is_some() && now.since(self.since) >= every
    }

    /// The next key signs, the one that signed is published a while longer, and a fresh one is
    /// published to be the next. Rotate no faster than upstreams fetch the key set.
    ///
    /// # Errors
    /// As [`Self::new`]; also for keys that are the operator's.
    pub fn rotated(&self, fresh: SigningKey, now: Timestamp) -> Result<Self, &'static str> {
        check_algorithm(&fresh)?;
        let next = self.next.as_ref();
        let next = next.ok_or("the keys of internal tokens are the operator's")?;
        if [&self.current, next]
            .iter()
            .any(|key| key.id() == fresh.id())
        {
            return Err("two keys of internal tokens have one name");
        }
        Ok(Self {
            current: Arc::clone(next),
            next: Some(Arc::new(fresh)),
            previous: Some(Arc::clone(&self.current)),
            since: now,
        })
    }

    /// The public halves as a JWK Set (RFC 7517): the text of a JSON object.
    pub fn key_set(&self) -> String {
        let keys = [
            Some(&self.current),
            self.next.as_ref(),
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
            self.next.as_ref().map(|key| key.id())
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
    /// The name of what vouched for it: `identity`.
    pub identity: &'a str,
    /// When its credential expires, in seconds since the epoch: a token does not outlive it, but is
    /// valid for [`MIN_LIFETIME`] in any case.
    pub expires: Option<u64>,
    /// What the caller may do.
    pub scopes: &'a [&'a str],
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

    /// What a token says of a caller, whenever it is made: the beginning of its claims.
    ///
    /// # Errors
    /// The claims are too long.
    pub fn statement(&self, of: &InternalSubject<'_>) -> Result<Statement, InternalError> {
        let mut claims = String::with_capacity(512);
        claims.push_str(r#"{"iss":"#);
        claims.push_str(&sign::quoted(&self.issuer));
        claims.push_str(r#","sub":"#);
        claims.push_str(&sign::quoted(of.subject));
        claims.push_str(r#","aud":"#);
        claims.push_str(&sign::quoted(&self.audience));
        claims.push_str(r#","identity":"#);
        claims.push_str(&sign::quoted(of.identity));
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
        if claims.len() > MAX_PAYLOAD {
            return Err(InternalError::TooLarge);
        }
        Ok(Statement {
            claims: claims.into(),
            expires: of.expires,
        })
    }

    /// Makes a token that says it. `id` must be random: `jti` is made of it.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn issue(
        &self,
        keys: &InternalKeys,
        statement: &Statement,
        id: [u8; 16],
        now: Timestamp,
    ) -> Result<String, InternalError> {
        let issued = now.seconds();
        let expires = self.expiry(statement, now);
        let id = u128::from_be_bytes(id);
        let claims = format!(
            r#"{},"iat":{issued},"exp":{expires},"jti":"{id:032x}"}}"#,
            statement.claims
        );
        let key = keys.current();
        Ok(key.sign_raw(key.header("JWT").as_bytes(), claims.as_bytes())?)
    }

    /// Not after the caller's credential, but for [`MIN_LIFETIME`]: one that is accepted within the
    /// leeway has expired by our clock, and a token that is expired when it is made is worth nothing.
    fn expiry(&self, statement: &Statement, now: Timestamp) -> u64 {
        let after = |time: Duration| now.seconds().saturating_add(time.as_secs());
        let longest = after(self.lifetime);
        let end = statement.expires.unwrap_or(longest).min(longest);
        end.max(after(MIN_LIFETIME))
    }

    /// `aud`, as the upstream expects it.
    pub fn audience(&self) -> &str {
        &self.audience
    }
}

/// What tokens of one caller for one upstream say, but for when.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Statement {
    /// The text of an object that is not closed.
    claims: Box<str>,
    /// When the caller's credential expires.
    expires: Option<u64>,
}

/// Bytes of tokens and statements that are kept.
pub const MAX_KEPT: u64 = 16 << 20;
/// About how many tokens that is.
const KEPT: usize = 16_384;

/// Tokens that were made, each for half of its time. Shared freely between threads.
///
/// INVARIANT: what a token is kept under is all that it says, and the key that signed it, so that
/// nobody is ever given a token that says something else.
pub struct InternalCache {
    entries: sync::Cache<Name, Arc<Kept>, Size>,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct Name {
    statement: Statement,
    key: Box<str>,
    lifetime: Duration,
}

struct Kept {
    token: Arc<Secret<String>>,
    /// Then another is made.
    until: Timestamp,
}

#[derive(Clone)]
struct Size;

impl Weighter<Name, Arc<Kept>> for Size {
    fn weight(&self, name: &Name, kept: &Arc<Kept>) -> u64 {
        let bytes = [
            name.statement.claims.len(),
            name.key.len(),
            kept.token.expose().len(),
            128,
        ];
        bytes.into_iter().fold(0, |sum, length| {
            sum.saturating_add(u64::try_from(length).unwrap_or(u64::MAX))
        })
    }
}

impl InternalCache {
    /// Keeps at most [`MAX_KEPT`] bytes; what was used least goes first.
    pub fn new() -> Self {
        Self {
            entries: sync::Cache::with_weighter(KEPT, MAX_KEPT, Size),
        }
    }

    /// A token that says it, made at most half of its time ago. `random` is asked for sixteen bytes
    /// if one has to be made.
    ///
    /// # Errors
    /// As [`InternalIssuer::issue`].
    pub fn get_or_issue<E: From<InternalError>>(
        &self,
        issuer: &InternalIssuer,
        keys: &InternalKeys,
        statement: Statement,
        random: impl FnOnce() -> Result<[u8; 16], E>,
        now: Timestamp,
    ) -> Result<Arc<Secret<String>>, E> {
        let name = Name {
            statement,
            key: keys.current().id().into(),
            lifetime: issuer.lifetime,
        };
        if let Some(kept) = self.entries.get(&name)
            && now < kept.until
        {
            return Ok(Arc::clone(&kept.token));
        }
        let token = issuer.issue(keys, &name.statement, random()?, now)?;
        let token = Arc::new(Secret::new(token));
        let half = u64::try_from((issuer.lifetime / 2).as_nanos()).unwrap_or(0);
        let end = issuer.expiry(&name.statement, now);
        let until = now
            .0
            .saturating_add(half)
            .min(end.saturating_mul(1_000_000_000));
        let kept = Kept {
            token: Arc::clone(&token),
            until: Timestamp(until),
        };
        self.entries.insert(name, Arc::new(kept));
        Ok(token)
    }

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No token is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Default for InternalCache {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InternalCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InternalCache({} tokens)", self.len())
    }
}
