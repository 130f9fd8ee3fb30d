//! Who calls: a strict verifier of JWS-signed tokens (RFC 7515, 7519, 8725, 9068) and the keys
//! behind it (RFC 7517, 7518, 8037, 9864, 9964), and what makes a token count or not: an issuer's
//! answer about it ([`Introspector`], RFC 7662 and 9701), whom it is bound to ([`bind`], [`Dpop`],
//! RFC 8705 and 9449), whether it was revoked ([`Revocations`]), how its subject authenticated
//! ([`StepUp`], RFC 9470), and which login it answers ([`IdTokenVerifier`]). And API keys
//! ([`api_key`]).
//!
//! Other credentials have a module each: [`certificate`], [`message_signature`], [`webhook`],
//! [`basic`], and [`login`] and [`session`] for browsers. [`internal`] and [`exchange`] are what upstreams are
//! told instead of the caller's token; [`replay`] remembers what came already.
//!
//! Everything here is a plain function on borrowed data. Deliberately absent: IO, clocks, tokio,
//! encrypted tokens (JWE) and `none`. Shared secrets (HMAC) only where one is configured.
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
pub mod basic;
mod cache;
pub mod certificate;
mod claims;
mod confirmation;
mod der;
mod dpop;
mod error;
pub mod exchange;
mod id_token;
pub mod internal;
mod introspection;
mod json;
mod jwks;
mod jws;
pub mod login;
pub mod message_signature;
mod registered;
pub mod replay;
mod revocation;
pub mod session;
pub mod sign;
mod step_up;
mod structured;
mod symmetric;
mod thumbprint;
mod validity;
mod verify;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use algorithm::Algorithm;
pub use cache::Cache;
pub use claims::Claims;
pub use confirmation::{BindError, Confirmation, TokenScheme, bind};
pub use dpop::{
    Dpop, DpopError, MAX_PROOF_ID, MAX_REMEMBERED_PROOFS, Nonces, Proof, ProofTarget, ReplayCache,
    proof_field,
};
pub use error::{JwksError, RevokedBy, Shown, TokenError};
pub use id_token::{IdTokenError, IdTokenVerifier, Login};
pub use introspection::{
    Answer, AnswerExpectations, IntrospectionError, Introspector, MAX_INTROSPECTION, OpaqueCache,
    client_authorization, introspection_body,
};
pub use json::{Number, Object, Value};
pub use jwks::{JwkSet, MAX_KEY_SET, MAX_KEYS};
pub use jws::MAX_TOKEN;
pub use revocation::{
    MAX_REVOCATIONS, Revocation, RevocationTarget, Revocations, TooManyRevocations,
};
pub use step_up::{BadAcr, StepUp, StepUpError};
pub use symmetric::{MIN_SYMMETRIC_KEY, SymmetricKey, SymmetricKeyError};
pub use validity::validity;
pub use verify::{Expectations, Proven, Verified, Verifier, names_a_key, peek_issuer};
