//! API keys: `frt_<env>_<id>_<secret><check>`, found by id, compared as an HMAC under a pepper.
//!
//! A key is checked in this order: form and checksum (no look-up for what cannot be a key), then the
//! look-up, then the secret. An id that is not there and a secret that is wrong are one error and
//! cost the same work. Keys that were made elsewhere have no id of their own; theirs is drawn from
//! their digest, so that they are found like any other.
//!
//! Deliberately not here: where records are kept (`fortress-store`), and what a key may be used for
//! (the gateway's guards).
//!
//! ```
//! use fortress_auth::api_key::{ApiKey, Environment, KeyBook, KeyRecord, Label, Pepper};
//! use fortress_model::{Secret, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| fortress_auth::api_key::NoRandomness);
//! # let now = Timestamp(1_790_000_000 * 1_000_000_000);
//! let pepper = Pepper::new(&Secret::new(vec![7; 32]))?;
//! let environment = Environment::new("live")?;
//! let (id, text) = ApiKey::generate(&environment, &mut random)?;
//! let digest = pepper.digest(text.expose());
//! let record = KeyRecord::new(id, environment, Label::new("Example Ltd")?, digest, now);
//!
//! let book = KeyBook::of([record]);
//! assert_eq!(&*book.verify(text.expose(), &pepper, now)?.owner, "Example Ltd");
//! # Ok(())
//! # }
//! ```

mod book;
mod digest;
mod record;
mod text;

pub use book::{BookBuilder, KeyBook, KeyHolder};
pub use digest::{Digest, MIN_PEPPER, Pepper, PepperError};
pub use record::{
    Access, KeyRecord, KeySecret, KeyState, Label, LabelError, MAX_SECRETS, RotateError,
};
pub use text::{ApiKey, Environment, EnvironmentError, KeyId, MAX_KEY, NoRandomness};

use fortress_model::Reason;

/// Why a key was refused. Nothing of the key is in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It cannot be a key: its form or its checksum is wrong. Nothing was looked up.
    #[error("the API key is malformed: {0}")]
    Malformed(&'static str),
    /// No such id, or another secret: the two are not told apart.
    #[error("the API key is not known")]
    Unknown,
    /// The key, or this secret of it, has expired.
    #[error("the API key has expired")]
    Expired,
    /// The key was revoked.
    #[error("the API key was revoked")]
    Revoked,
}

impl KeyError {
    /// The refusal that this is.
    pub fn reason(self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::CredentialMalformed,
            Self::Unknown | Self::Revoked => Reason::CredentialInvalid,
            Self::Expired => Reason::CredentialExpired,
        }
    }
}
