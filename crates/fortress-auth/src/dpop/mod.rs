//! Proofs that a caller holds the key that a token is bound to (RFC 9449): a small JWS of the
//! caller's own, made for one request.
//!
//! A proof says nothing about who calls, and is worth nothing by itself: [`bind`](crate::bind) ties
//! it to a token, and [`ReplayCache`] sees to it that it is used once. Deliberately absent: the
//! part of an authorization server.

mod nonce;
mod replay;
mod uri;

use std::time::Duration;

use fortress_model::{Reason, Timestamp};

use crate::{
    Algorithm,
    error::TokenError,
    json::Object,
    jwks::Key,
    jws::{Compact, Header},
    registered::{date, text},
    thumbprint::{read_hash, thumbprint},
    verify::{is_type, sha256},
};

pub use nonce::Nonces;
pub use replay::{MAX_REMEMBERED_PROOFS, ReplayCache};

/// The longest `jti`, in bytes. A UUID has 36.
pub const MAX_PROOF_ID: usize = 256;

/// How proofs are judged.
#[derive(Clone, Debug)]
pub struct Dpop {
    /// How old a proof may be by its `iat`.
    pub past: Duration,
    /// How far in the future its `iat` may lie.
    pub future: Duration,
    /// The algorithms that are accepted; if empty, all asymmetric ones.
    pub algorithms: Vec<Algorithm>,
}

impl Default for Dpop {
    /// A minute of age, and five seconds for a clock that is ahead.
    fn default() -> Self {
        Self {
            past: Duration::from_secs(60),
            future: Duration::from_secs(5),
            algorithms: Vec::new(),
        }
    }
}

/// What a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct ProofTarget<'a> {
    /// The request's method, as it came.
    pub method: &'a str,
    /// The request's absolute URI as the client sees it: `https://api.example.com/v1/orders?x=y`.
    pub uri: &'a str,
    /// The token that the proof came with, if one did: the proof must name it (`ath`).
    pub token: Option<&'a str>,
    /// If given, the proof must hold a nonce of these.
    pub nonces: Option<&'a Nonces>,
}

/// A proof that holds for its request; whether for its token, [`bind`](crate::bind) says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proof {
    /// The thumbprint of the key that signed it (RFC 7638).
    pub thumbprint: [u8; 32],
    /// SHA-256 of the key's thumbprint and `jti`: nobody can use up another's proofs by guessing
    /// their ids.
    pub jti_hash: [u8; 32],
    /// `iat`.
    pub issued: Timestamp,
}

/// Why a proof is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DpopError {
    /// RFC 9449, section 4.3, check 1.
    #[error("the request has several `DPoP` header fields")]
    Several,
    /// The header field is not visible ASCII.
    #[error("the `DPoP` header field is not ASCII")]
    NotAscii,
    /// Not a JWS, or a header parameter or claim of it is not what it must be.
    #[error("the DPoP proof, read as a token, is refused: {0}")]
    Jws(#[from] TokenError),
    /// `typ` is not `dpop+jwt`.
    #[error("the DPoP proof's type is not `dpop+jwt`")]
    Type,
    /// A shared secret proves nothing here; another algorithm is not configured.
    #[error("the DPoP proof's algorithm `{0}` is not accepted")]
    Algorithm(Algorithm),
    /// `jwk` is not a public key for the algorithm. Holds none of the key's material.
    #[error("the DPoP proof's key is refused: {0}")]
    Key(String),
    /// The key does not verify the signature.
    #[error("the DPoP proof's signature does not verify")]
    Signature,
    /// `htm` is another method.
    #[error("the DPoP proof is for another method")]
    Method,
    /// `htu` is another URI.
    #[error("the DPoP proof is for another URI")]
    Uri,
    /// The URI that the request was made to cannot be compared.
    #[error("the request's URI is no absolute http URI, so no DPoP proof can be for it")]
    Target,
    /// `iat` is too long ago.
    #[error("the DPoP proof was made {0} s ago")]
    TooOld(u64),
    /// `iat` is to come.
    #[error("the DPoP proof says that it was made {0} s from now")]
    FromFuture(u64),
    /// `ath` is not the hash of the token.
    #[error("the DPoP proof is for another token")]
    Token,
    /// A nonce is demanded, and there is none.
    #[error("the DPoP proof has no `nonce`")]
    NonceMissing,
    /// The nonce is not one of ours, or too old.
    #[error("the DPoP proof's `nonce` is not a current one")]
    Nonce,
    /// The proof was used before.
    #[error("the DPoP proof was used before")]
    Replayed,
    /// So many proofs are remembered that this one could not be: it might be a replay later.
    #[error("too many DPoP proofs to tell this one from a replay")]
    ReplayCacheFull,
}

impl DpopError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Several | Self::NotAscii => Reason::CredentialMalformed,
            Self::Jws(error) => error.reason(),
            Self::TooOld(_) | Self::FromFuture(_) => Reason::CredentialExpired,
            Self::Type
            | Self::Algorithm(_)
            | Self::Key(_)
            | Self::Signature
            | Self::Method
            | Self::Uri
            | Self::Target
            | Self::Token
            | Self::NonceMissing
            | Self::Nonce
            | Self::Replayed
            | Self::ReplayCacheFull => Reason::CredentialInvalid,
        }
    }

    /// The `error` of the challenge (RFC 9449, sections 7.1 and 9). With `use_dpop_nonce` a
    /// `DPoP-Nonce` must go along.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NonceMissing | Self::Nonce => "use_dpop_nonce",
            Self::Several
            | Self::NotAscii
            | Self::Jws(_)
            | Self::Type
            | Self::Algorithm(_)
            | Self::Key(_)
            | Self::Signature
            | Self::Method
            | Self::Uri
            | Self::Target
            | Self::TooOld(_)
            | Self::FromFuture(_)
            | Self::Token
            | Self::Replayed
            | Self::ReplayCacheFull => "invalid_dpop_proof",
        }
    }
}

/// The one proof of a request, given the values of its `DPoP` header fields.
///
/// # Errors
/// There are several, or one that is not ASCII.
pub fn proof_field<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<&'a str>, DpopError> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(DpopError::Several);
    }
    if !value.is_ascii() {
        return Err(DpopError::NotAscii);
    }
    std::str::from_utf8(value)
        .map(Some)
        .map_err(|_| DpopError::NotAscii)
}

impl Dpop {
    /// Judges a proof by RFC 9449, section 4.3, but for two checks: that its key is the token's
    /// ([`bind`](crate::bind)), and that it was not used before ([`ReplayCache::remember`], after
    /// everything else, since only then is it known to be from a caller with a token).
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn verify(
        &self,
        proof: &str,
        target: &ProofTarget<'_>,
        now: Timestamp,
    ) -> Result<Proof, DpopError> {
        let compact = Compact::parse(proof)?;
        let (header, jwk) = compact.proof_header()?;
        let given = header.token_type.as_deref().unwrap_or_default();
        if !is_type(given, &["dpop+jwt"]) {
            return Err(DpopError::Type);
        }
        let thumbprint = self.check_signature(&compact, &header, &jwk)?;
        let claims = compact.payload()?;
        let issued = self.check_claims(&claims, target, now)?;
        let id = proof_id(&claims)?;
        Ok(Proof {
            thumbprint,
            jti_hash: sha256(&[&thumbprint, id.as_bytes()]),
            issued,
        })
    }

    /// How long a proof can be shown after it was first seen, which is how long it must be
    /// remembered: one that was made ahead of time is good the longest.
    pub fn window(&self) -> Duration {
        self.past.saturating_add(self.future)
    }

    /// The names of the accepted algorithms with spaces between them, for `algs` of a challenge
    /// (RFC 9449, section 7.1).
    pub fn algorithm_names(&self) -> String {
        let names: Vec<&str> = Algorithm::ALL
            .iter()
            .filter(|algorithm| self.accepts(**algorithm))
            .map(|algorithm| algorithm.name())
            .collect();
        names.join(" ")
    }

    /// A shared secret would prove nothing (RFC 9449, section 4.2).
    fn accepts(&self, algorithm: Algorithm) -> bool {
        let listed = self.algorithms.iter().any(|one| one.permits(algorithm));
        !algorithm.is_symmetric() && (self.algorithms.is_empty() || listed)
    }

    /// Returns the thumbprint of the key that verified it.
    fn check_signature(
        &self,
        compact: &Compact<'_>,
        header: &Header,
        jwk: &Object,
    ) -> Result<[u8; 32], DpopError> {
        let algorithm = header.algorithm;
        if !self.accepts(algorithm) {
            return Err(DpopError::Algorithm(algorithm));
        }
        let key = Key::read(jwk).map_err(DpopError::Key)?;
        let material = key
            .material(algorithm)
            .ok_or_else(|| DpopError::Key(format!("it is not a key for {algorithm}")))?;
        let thumbprint = thumbprint(jwk).map_err(DpopError::Key)?;
        if material.verifies(compact.signed, &compact.signature) {
            Ok(thumbprint)
        } else {
            Err(DpopError::Signature)
        }
    }

    /// Method, URI, time, token and nonce; returns when it was made.
    fn check_claims(
        &self,
        claims: &Object,
        target: &ProofTarget<'_>,
        now: Timestamp,
    ) -> Result<Timestamp, DpopError> {
        let missing = TokenError::ClaimMissing;
        let method = text(claims, "htm")?.ok_or(missing("htm"))?;
        let shown_uri = text(claims, "htu")?.ok_or(missing("htu"))?;
        let issued = date(claims, "iat")?.ok_or(missing("iat"))?;
        let token = text(claims, "ath")?;
        let nonce = text(claims, "nonce")?;

        // Methods are case-sensitive (RFC 9110, section 9.1).
        if method != target.method {
            return Err(DpopError::Method);
        }
        let asked = uri::normalized(target.uri).ok_or(DpopError::Target)?;
        if uri::normalized(shown_uri).is_none_or(|shown| shown != asked) {
            return Err(DpopError::Uri);
        }
        let now = Duration::from_nanos(now.0);
        if now > issued.saturating_add(self.past) {
            return Err(DpopError::TooOld(now.saturating_sub(issued).as_secs()));
        }
        if issued > now.saturating_add(self.future) {
            let ahead = issued.saturating_sub(now).as_secs();
            return Err(DpopError::FromFuture(ahead));
        }
        if let Some(shown) = target.token {
            let hash = token.ok_or(missing("ath"))?;
            if read_hash(hash) != Some(sha256(&[shown.as_bytes()])) {
                return Err(DpopError::Token);
            }
        }
        if let Some(nonces) = target.nonces {
            let nonce = nonce.ok_or(DpopError::NonceMissing)?;
            if !nonces.accepts(nonce, Timestamp(saturating_nanos(now))) {
                return Err(DpopError::Nonce);
            }
        }
        Ok(Timestamp(saturating_nanos(issued)))
    }
}

fn saturating_nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn proof_id(claims: &Object) -> Result<&str, TokenError> {
    let id = text(claims, "jti")?.ok_or(TokenError::ClaimMissing("jti"))?;
    if id.is_empty() || id.len() > MAX_PROOF_ID {
        return Err(TokenError::ClaimMalformed {
            claim: "jti",
            expected: "a non-empty string of at most 256 bytes",
        });
    }
    Ok(id)
}
