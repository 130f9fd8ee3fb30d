//! What is kept of a key: HMAC-SHA-256 of the key's SHA-256, under a pepper that is kept elsewhere.
//!
//! The inner hash makes keys importable of which only the SHA-256 is left. A slow hash would be of
//! no use: the secrets are random, not chosen by people.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use fortress_model::Secret;

use super::KeyId;

/// Bytes that a pepper must have at least.
pub const MIN_PEPPER: usize = 32;

/// The key of the HMAC: whoever has only the store can neither try nor make keys.
#[derive(Clone)]
pub struct Pepper(hmac::Key);

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A pepper that is too short.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the pepper has {0} bytes; it needs {MIN_PEPPER}")]
pub struct PepperError(pub usize);

impl Pepper {
    /// Takes a pepper of [`MIN_PEPPER`] bytes or more.
    ///
    /// # Errors
    /// If it is shorter.
    pub fn new(secret: &Secret<Vec<u8>>) -> Result<Self, PepperError> {
        let bytes = secret.expose();
        if bytes.len() < MIN_PEPPER {
            return Err(PepperError(bytes.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// What is kept of a key.
    pub fn digest(&self, text: &str) -> Digest {
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        self.digest_of_hash(hash.as_ref())
    }

    /// What is kept of a key of which the SHA-256 is known.
    pub fn digest_of_hash(&self, sha256: &[u8]) -> Digest {
        let tag = hmac::sign(&self.0, sha256);
        let mut digest = Digest([0; 32]);
        digest.0.copy_from_slice(tag.as_ref());
        digest
    }

    /// Tells peppers apart without giving anything away.
    pub fn fingerprint(&self) -> [u8; 8] {
        let tag = hmac::sign(&self.0, b"which pepper this is");
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// What is kept of a key. Equality takes the same time whatever differs.
#[derive(Clone, Copy)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The id of a key that has none of its own, because it was made elsewhere.
    pub fn foreign_id(&self) -> KeyId {
        let first = self.0.first_chunk().copied().unwrap_or_default();
        KeyId::from_number(u64::from_be_bytes(first))
    }
}

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Digest {}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(byte: u8) -> Pepper {
        Pepper::new(&Secret::new(vec![byte; MIN_PEPPER])).unwrap()
    }

    #[test]
    fn the_digest_is_the_hmac_of_the_hash() {
        let hash = digest::digest(&digest::SHA256, b"a key");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let expected = hmac::sign(&key, hash.as_ref());
        assert_eq!(pepper(1).digest("a key").0, expected.as_ref());
        assert_eq!(
            pepper(1).digest_of_hash(hash.as_ref()),
            pepper(1).digest("a key")
        );
    }

    #[test]
    fn another_key_or_pepper_gives_another_digest() {
        let digest = pepper(1).digest("a key");
        assert_ne!(digest, pepper(1).digest("a keY"));
        assert_ne!(digest, pepper(2).digest("a key"));
        assert_ne!(pepper(1).fingerprint(), pepper(2).fingerprint());
    }

    #[test]
    fn short_peppers_are_refused() {
        let short = Pepper::new(&Secret::new(vec![1; MIN_PEPPER - 1]));
        assert_eq!(short.unwrap_err(), PepperError(31));
    }

    #[test]
    fn nothing_is_shown() {
        let pepper = pepper(1);
        assert_eq!(
            format!("{pepper:?} {:?}", pepper.digest("a")),
            "[redacted] [redacted]"
        );
    }
}
