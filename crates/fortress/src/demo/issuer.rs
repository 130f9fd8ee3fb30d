//! The demo's identity provider: one key, made at the start and forgotten at the end.

use std::sync::Arc;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_audit::attack::{Credential, Stolen, Tokens, Wrong};
use fortress_auth::{
    Algorithm,
    sign::{SigningKey, key_set},
};
use fortress_model::{Clock, SystemClock};
use serde_json::json;

/// `iss` of the demo's tokens.
pub(crate) const ISSUER: &str = "https://idp.demo.example";
/// `aud` of the demo's tokens.
pub(crate) const AUDIENCE: &str = "orders";
/// How long they are valid.
const HOUR: u64 = 3_600;

/// What the demo's customers may do.
const CUSTOMER: &str = "orders:write";
/// What its administrator may do.
const ADMIN: &str = "orders:write users:admin";

/// Signs the demo's tokens.
#[derive(Clone, Debug)]
pub(crate) struct Issuer(Arc<SigningKey>);

impl Issuer {
    /// With a fresh ES256 key.
    pub(crate) fn new() -> Result<Self> {
        let key = SigningKey::generate(Algorithm::Es256, "demo").context("no key")?;
        Ok(Self(Arc::new(key)))
    }

    /// The public key, as a JWK Set.
    pub(crate) fn keys(&self) -> String {
        key_set(&[&self.0])
    }

    /// A token that is valid for an hour.
    pub(crate) fn token(&self, name: &str, scope: &str) -> Result<String> {
        let now = SystemClock.now().seconds();
        self.sign(&json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": name, "scope": scope, "iat": now, "exp": now + HOUR,
        }))
    }

    /// Tokens for ALICE, BOB and CAROL, and those that nobody may accept.
    pub(crate) fn tokens(&self) -> Result<Tokens> {
        let mut tokens = Tokens {
            keys: Some(self.keys()),
            ..Tokens::default()
        };
        for (name, scope) in [("alice", CUSTOMER), ("bob", CUSTOMER), ("carol", ADMIN)] {
            tokens.genuine.push(Credential {
                name: name.to_ascii_uppercase(),
                token: self.token(name, scope)?,
            });
        }
        let now = SystemClock.now().seconds();
        for (wrong, _) in Wrong::ALL {
            let mut claims = json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "scope": ADMIN, "iat": now, "exp": now + HOUR,
            });
            let Some(members) = claims.as_object_mut() else {
                continue;
            };
            match wrong {
                Wrong::Expired => drop(members.insert("exp".into(), (now - HOUR).into())),
                Wrong::NotYet => drop(members.insert("nbf".into(), (now + HOUR).into())),
                Wrong::Endless => drop(members.remove("exp")),
                Wrong::Audience => drop(members.insert("aud".into(), "billing".into())),
                Wrong::Issuer => {
                    drop(members.insert("iss".into(), "https://idp.other.example".into()))
                }
            }
            tokens.wrong.push((*wrong, self.sign(&claims)?));
        }
        tokens.stolen = self.bound()?;
        Ok(tokens)
    }

    /// Tokens that count with the key or certificate alone that they are bound to; nobody here has
    /// either, and one proof of the key was overheard.
    fn bound(&self) -> Result<Vec<Stolen>> {
        let now = SystemClock.now().seconds();
        let token = |binding: serde_json::Value| {
            self.sign(&json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "scope": ADMIN, "iat": now,
                "exp": now + HOUR, "cnf": binding,
            }))
        };
        let holder = SigningKey::generate(Algorithm::Es256, "")
            .and_then(SigningKey::named_by_thumbprint)
            .context("no key")?;
        let claims = json!({
            "jti": "overheard", "htm": "GET", "htu": "https://orders.example/users/me",
            "iat": now - HOUR,
        });
        let proof = holder
            .sign_raw(
                holder.proof_header().as_bytes(),
                claims.to_string().as_bytes(),
            )
            .context("cannot sign a proof")?;
        // The SHA-256 of no certificate.
        let certificate = URL_SAFE_NO_PAD.encode([7_u8; 32]);
        Ok(vec![
            Stolen {
                what: "bound to a key".into(),
                token: token(json!({ "jkt": holder.id() }))?,
                proof: Some(proof),
            },
            Stolen {
                what: "bound to a certificate".into(),
                token: token(json!({ "x5t#S256": certificate }))?,
                proof: None,
            },
        ])
    }

    fn sign(&self, claims: &serde_json::Value) -> Result<String> {
        self.0
            .sign(&claims.to_string())
            .context("cannot sign a token")
    }
}

#[cfg(test)]
mod tests {
    use fortress_auth::{Expectations, JwkSet, Verifier};

    use super::*;

    #[test]
    fn genuine_tokens_verify_and_wrong_ones_do_not() {
        let issuer = Issuer::new().unwrap();
        let (keys, _) = JwkSet::parse(issuer.keys().as_bytes()).unwrap();
        let verifier = Verifier::new(Expectations {
            issuer: ISSUER.into(),
            audience: vec![AUDIENCE.into()],
            ..Expectations::default()
        });
        let tokens = issuer.tokens().unwrap();
        let verify = |token: &str| verifier.verify(token, &keys, SystemClock.now());
        for credential in &tokens.genuine {
            let verified = verify(&credential.token).unwrap();
            assert_eq!(verified.subject.to_ascii_uppercase(), credential.name);
        }
        for (wrong, token) in &tokens.wrong {
            assert!(verify(token).is_err(), "{wrong:?}");
        }
        assert_eq!(tokens.wrong.len(), Wrong::ALL.len());
        for stolen in &tokens.stolen {
            let verified = verify(&stolen.token).unwrap();
            assert!(verified.confirmation.is_bound(), "{}", stolen.what);
        }
    }
}
