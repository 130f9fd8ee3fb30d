//! AES-256-GCM with a random nonce before what it sealed.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
    rand,
};
use fortress_model::Secret;
use zeroize::Zeroize;

/// Records that one key may seal: random nonces of 96 bits stay safe up to 2³² (NIST SP 800-38D,
/// section 8.3).
pub(crate) const MAX_USES: i64 = 1 << 31;

/// A key that seals.
pub(crate) struct DataKey(LessSafeKey);

impl DataKey {
    pub(crate) fn new(key: &Secret<[u8; 32]>) -> Result<Self, Unspecified> {
        Ok(Self(LessSafeKey::new(UnboundKey::new(
            &AES_256_GCM,
            key.expose(),
        )?)))
    }

    /// Seals, bound to `context`.
    pub(crate) fn seal(&self, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let nonce = random::<NONCE_LEN>()?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(nonce.expose());
        sealed.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(*nonce.expose());
        let (_, body) = sealed.split_at_mut(NONCE_LEN);
        match self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(context), body)
        {
            Ok(tag) => {
                sealed.extend_from_slice(tag.as_ref());
                Ok(sealed)
            }
            Err(error) => {
                sealed.zeroize();
                Err(error)
            }
        }
    }

    /// Opens what was sealed with the same context; `None` if anything of it was changed.
    pub(crate) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Secret<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = Secret::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(context), plain.expose_mut().as_mut_slice())
            .ok()?;
        let length = opened.len();
        plain.expose_mut().truncate(length);
        Some(plain)
    }
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> Result<Secret<[u8; N]>, Unspecified> {
    let mut bytes = Secret::new([0; N]);
    rand::fill(bytes.expose_mut())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_context_alone() {
        let key = DataKey::new(&Secret::new([1; 32])).unwrap();
        let other = DataKey::new(&Secret::new([2; 32])).unwrap();
        let sealed = key.seal(b"a", b"plain text").unwrap();
        assert!(!sealed.windows(5).any(|window| window == b"plain"));
        assert_ne!(sealed, key.seal(b"a", b"plain text").unwrap());
        assert_eq!(key.open(b"a", &sealed).unwrap().expose(), b"plain text");
        assert!(key.open(b"b", &sealed).is_none());
        assert!(other.open(b"a", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(b"a", &changed).is_none(), "{at}");
            assert!(key.open(b"a", &sealed[..at]).is_none(), "{at}");
        }
    }
}
