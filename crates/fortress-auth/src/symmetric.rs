//! A secret that is shared with an issuer, for those who have no other: whoever can check such
//! tokens can also write them. It is used only where it is configured, and for one algorithm.

use std::fmt;

use aws_lc_rs::hmac;
use fortress_model::Secret;

use crate::{Algorithm, algorithm::Scheme};

/// The shortest secret, in bytes. HS384 and HS512 need 48 and 64 (RFC 7518, section 3.2: at least
/// the length of the hash).
pub const MIN_SYMMETRIC_KEY: usize = 32;

/// A shared secret, bound to one of HS256, HS384 and HS512.
#[derive(Clone)]
pub struct SymmetricKey {
    id: Option<Box<str>>,
    algorithm: Algorithm,
    key: hmac::Key,
}

/// Why a secret cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SymmetricKeyError {
    /// The algorithm is not one of shared secrets.
    #[error("`{0}` takes no shared secret; known are `HS256`, `HS384` and `HS512`")]
    Algorithm(Algorithm),
    /// A short secret can be guessed from a single token.
    #[error("the secret has {length} bytes; `{algorithm}` needs at least {minimum} random ones")]
    TooShort {
        /// What it is for.
        algorithm: Algorithm,
        /// Its length.
        length: usize,
        /// The least length, in bytes.
        minimum: usize,
    },
}

impl SymmetricKey {
    /// Binds a secret to its algorithm. With an `id`, tokens that name a `kid` must name this one;
    /// without, only tokens without a `kid` are verified by it.
    ///
    /// # Errors
    /// The algorithm is asymmetric, or the secret too short for it.
    pub fn new(
        secret: &Secret<Vec<u8>>,
        algorithm: Algorithm,
        id: Option<&str>,
    ) -> Result<Self, SymmetricKeyError> {
        let Scheme::Hmac(hmac) = algorithm.scheme() else {
            return Err(SymmetricKeyError::Algorithm(algorithm));
        };
        let length = secret.expose().len();
        let minimum = hmac.tag_len().max(MIN_SYMMETRIC_KEY);
        if length < minimum {
            return Err(SymmetricKeyError::TooShort {
                algorithm,
                length,
                minimum,
            });
        }
        Ok(Self {
            id: id.map(Into::into),
            algorithm,
            key: hmac::Key::new(hmac, secret.expose()),
        })
    }

    /// The `kid` that it answers to.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }

    /// Equal for equal keys; tells nothing of the secret.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"fingerprint of a key set\0");
        context.update(self.algorithm.name().as_bytes());
        context.update(format!("\0{:?}", self.id).as_bytes());
        let mut fingerprint = [0; 32];
        for (to, from) in fingerprint.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        fingerprint
    }
}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SymmetricKey({} {:?})", self.algorithm, self.id)
    }
}
