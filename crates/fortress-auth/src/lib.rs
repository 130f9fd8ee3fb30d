//! Who calls: a strict verifier of JWS-signed tokens (RFC 7515, 7519, 8725, 9068), the keys behind
//! it (RFC 7517, 7518, 8037, 9864), and API keys ([`api_key`]).
//!
//! Everything here is a plain function on borrowed data. Deliberately absent: IO, clocks, tokio,
//! encrypted tokens (JWE), shared-secret signatures (HMAC) and `none`.
//!
//! ```
//! use fortress_auth::{Algorithm, Expectations, JwkSet, Verifier, sign};
//! use fortress_model::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = sign::SigningKey::generate(Algorithm::Es256, "2026-01")?;
//! let (keys, left_out) = JwkSet::parse(sign::key_set(&[&key]).as_bytes())?;
//! assert!(left_out.is_empty());
//!
//! let verifier = Verifier::new(Expectations {
//!     issuer: "https://idp.example.com".into(),
//!     audience: vec!["orders-api".into()],
//!     ..Expectations::default()
//! });
//! let token = key.sign(
//!     r#"{"iss":"https://idp.example.com","aud":"orders-api","exp":1800000000,"sub":"alice"}"#,
//! )?;
//! let now = Timestamp(1_790_000_000 * 1_000_000_000);
//! assert_eq!(&*verifier.verify(&token, &keys, now)?.subject, "alice");
//! assert!(verifier.verify(&format!("{token}A"), &keys, now).is_err());
//! # Ok(())
//! # }
//! ```

mod algorithm;
pub mod api_key;
mod cache;
mod claims;
mod error;
mod json;
mod jwks;
mod jws;
pub mod sign;
mod verify;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use cache::Cache;
pub use claims::Claims;
pub use error::{JwksError, Shown, TokenError};
pub use json::{Number, Object, Value};
pub use jwks::{JwkSet, MAX_KEY_SET, MAX_KEYS};
pub use jws::MAX_TOKEN;
pub use verify::{Expectations, Verified, Verifier, peek_issuer};
