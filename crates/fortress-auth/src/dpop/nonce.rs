//! Nonces that the gateway hands out (RFC 9449, section 9), so that a proof cannot be made long
//! before it is used. Nothing is stored: a nonce is a code over the current period of time.
//!
//! All callers get the same nonce for a period; what makes a proof single-use is its `jti`.

use std::{fmt, time::Duration};

use aws_lc_rs::{constant_time, hmac};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Secret, Timestamp};

/// Issues nonces and knows them again.
pub struct Nonces {
    key: hmac::Key,
    period: Duration,
}

/// Bytes of the code in a nonce. Guessing one within its life is out of reach.
const LENGTH: usize = 16;

impl Nonces {
    /// A nonce is good for one `period` at least, and for two at most. Instances with the same key
    /// know each other's; the key must be random.
    pub fn new(key: &Secret<[u8; 32]>, period: Duration) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()),
            // No period is shorter than a second: clients must get around to using it.
            period: period.max(Duration::from_secs(1)),
        }
    }

    /// The nonce to use from now on, for `DPoP-Nonce`.
    pub fn issue(&self, now: Timestamp) -> String {
        self.of(self.number(now))
    }

    /// Whether the nonce is of this period or the one before.
    pub fn accepts(&self, nonce: &str, now: Timestamp) -> bool {
        let current = self.number(now);
        let is = |number: Option<u128>| {
            number.is_some_and(|number| {
                let expected = self.of(number);
                constant_time::verify_slices_are_equal(expected.as_bytes(), nonce.as_bytes())
                    .is_ok()
            })
        };
        is(Some(current)) || is(current.checked_sub(1))
    }

    fn number(&self, now: Timestamp) -> u128 {
        u128::from(now.0)
            .checked_div(self.period.as_nanos())
            .unwrap_or_default()
    }

    fn of(&self, number: u128) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"DPoP nonce\0");
        context.update(&number.to_be_bytes());
        let code = context.sign();
        URL_SAFE_NO_PAD.encode(code.as_ref().get(..LENGTH).unwrap_or_default())
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonces(for {:?})", self.period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn nonces(byte: u8) -> Nonces {
        Nonces::new(&Secret::new([byte; 32]), PERIOD)
    }

    #[test]
    fn a_nonce_lives_for_one_to_two_periods() {
        let nonces = nonces(1);
        let nonce = nonces.issue(at(3_000));
        assert_eq!(nonce.len(), 22);
        assert_eq!(nonces.issue(at(3_029)), nonce);
        assert_ne!(nonces.issue(at(3_030)), nonce);
        assert!(nonces.accepts(&nonce, at(3_000)));
        assert!(nonces.accepts(&nonce, at(3_059)));
        assert!(!nonces.accepts(&nonce, at(3_060)));
        assert!(
            !nonces.accepts(&nonce, at(2_999)),
            "not before it was issued"
        );
    }

    #[test]
    fn only_ones_own_nonces_count() {
        let nonce = nonces(1).issue(at(3_000));
        assert!(
            nonces(1).accepts(&nonce, at(3_000)),
            "an instance with the same key"
        );
        assert!(!nonces(2).accepts(&nonce, at(3_000)));
        for other in [
            "",
            "A",
            nonce.split_at(1).1,
            &format!("{nonce}A"),
            &nonce.to_uppercase(),
        ] {
            assert!(!nonces(1).accepts(other, at(3_000)), "{other}");
        }
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", nonces(1)), "Nonces(for 30s)");
    }
}
