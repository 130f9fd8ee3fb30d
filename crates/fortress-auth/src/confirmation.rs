//! Whom a token is bound to (RFC 7800 `cnf`): the holder of a key that signs DPoP proofs (RFC
//! 9449), of a client certificate (RFC 8705), or nobody.
//!
//! A token that is bound in a way that is not understood here is refused: taken as unbound it
//! would be good for any thief.

use fortress_model::Reason;

use crate::{dpop::Proof, error::TokenError, json::Object, thumbprint::read_hash};

/// What a token's `cnf` demands of whoever shows it. Both may stand, and then both must hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Confirmation {
    /// `jkt`: the thumbprint of the key that signs the proof (RFC 9449, section 6.1).
    pub key_thumbprint: Option<[u8; 32]>,
    /// `x5t#S256`: the SHA-256 of the client's certificate in DER (RFC 8705, section 3.1).
    pub certificate_sha256: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads `cnf`, if there is one.
    ///
    /// # Errors
    /// It is not an object, or holds something other than `jkt` and `x5t#S256`, or nothing.
    pub(crate) fn read(claims: &Object) -> Result<Self, TokenError> {
        let malformed = |expected| TokenError::ClaimMalformed {
            claim: "cnf",
            expected,
        };
        let Some(value) = claims.get("cnf") else {
            return Ok(Self::default());
        };
        let members = value.as_object().ok_or(malformed("an object"))?;
        let mut confirmation = Self::default();
        for (name, value) in members.iter() {
            let hash = value.as_str().and_then(read_hash);
            let place = match name {
                "jkt" => &mut confirmation.key_thumbprint,
                "x5t#S256" => &mut confirmation.certificate_sha256,
                _ => return Err(TokenError::Unbindable),
            };
            *place = Some(hash.ok_or(malformed("a SHA-256 hash in base64url"))?);
        }
        if confirmation == Self::default() {
            return Err(TokenError::Unbindable);
        }
        Ok(confirmation)
    }

    /// It is bound to something.
    pub fn is_bound(&self) -> bool {
        *self != Self::default()
    }
}

/// How a token was shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenScheme {
    /// `Authorization: Bearer` (RFC 6750), or a place that has no scheme.
    Bearer,
    /// `Authorization: DPoP` (RFC 9449, section 7.1).
    Dpop,
}

impl TokenScheme {
    /// The scheme of this name, in any case (RFC 9110, section 11.1).
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("Bearer") {
            Some(Self::Bearer)
        } else if name.eq_ignore_ascii_case("DPoP") {
            Some(Self::Dpop)
        } else {
            None
        }
    }

    /// Its name, as challenges have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// Why a token does not count for whoever showed it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// RFC 9449, section 7.2: a stolen token would otherwise be good without the key.
    #[error("the token is bound to a key, but was shown as `Bearer` instead of `DPoP`")]
    BoundShownAsBearer,
    /// RFC 9449, section 7.1: the scheme promises a binding that the token does not have.
    #[error("the token was shown as `DPoP`, but is bound to no key")]
    NotBound,
    /// The scheme `DPoP` without a proof.
    #[error("the token is bound to a key, but no DPoP proof came with it")]
    ProofMissing,
    /// The proof was signed by another key.
    #[error("the token is bound to another key than that of the DPoP proof")]
    ProofKey,
    /// No client certificate was shown.
    #[error("the token is bound to a certificate, but the client showed none")]
    CertificateMissing,
    /// Another client certificate was shown.
    #[error("the token is bound to another certificate than the client's")]
    Certificate,
}

impl BindError {
    /// The refusal that this is.
    pub fn reason(self) -> Reason {
        Reason::CredentialInvalid
    }

    /// The `error` of the challenge (RFC 9449, section 7.1; RFC 8705, section 3).
    pub fn code(self) -> &'static str {
        match self {
            Self::ProofMissing => "invalid_dpop_proof",
            Self::BoundShownAsBearer
            | Self::NotBound
            | Self::ProofKey
            | Self::CertificateMissing
            | Self::Certificate => "invalid_token",
        }
    }
}

/// Whether a verified token counts for whoever showed it: with this proof, over a connection with
/// this client certificate (SHA-256 of its DER), under this scheme.
///
/// # Errors
/// A binding does not hold. A token that is bound to nothing counts under `Bearer` alone.
pub fn bind(
    confirmation: &Confirmation,
    proof: Option<&Proof>,
    certificate_sha256: Option<&[u8; 32]>,
    scheme: TokenScheme,
) -> Result<(), BindError> {
    match (&confirmation.key_thumbprint, scheme) {
        (None, TokenScheme::Bearer) => {}
        (None, TokenScheme::Dpop) => return Err(BindError::NotBound),
        (Some(_), TokenScheme::Bearer) => return Err(BindError::BoundShownAsBearer),
        (Some(bound), TokenScheme::Dpop) => {
            let proof = proof.ok_or(BindError::ProofMissing)?;
            if proof.thumbprint != *bound {
                return Err(BindError::ProofKey);
            }
        }
    }
    if let Some(bound) = &confirmation.certificate_sha256 {
        let shown = certificate_sha256.ok_or(BindError::CertificateMissing)?;
        if shown != bound {
            return Err(BindError::Certificate);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json::read_object, verify::sha256};
    use fortress_model::Timestamp;

    const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    /// RFC 8705, section 3.1: the thumbprint of appendix A's certificate.
    const CERTIFICATE: &str = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0";

    fn read(cnf: &str) -> Result<Confirmation, String> {
        let claims = format!("{{\"cnf\":{cnf}}}");
        let claims = read_object(claims.as_bytes(), 8).expect("an object");
        Confirmation::read(&claims).map_err(|error| error.to_string())
    }

    #[test]
    fn known_bindings_are_read() {
        let none = Confirmation::read(&read_object(b"{}", 8).expect("an object")).expect("none");
        assert!(!none.is_bound());
        let both = format!(r#"{{"jkt":"{KEY}","x5t#S256":"{CERTIFICATE}"}}"#);
        let both = read(&both).expect("both");
        assert_eq!(both.key_thumbprint, read_hash(KEY));
        assert_eq!(both.certificate_sha256, read_hash(CERTIFICATE));
        assert!(both.is_bound());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        #[track_caller]
        fn refused(cnf: &str, expected: &str) {
            assert_eq!(
                read(cnf).unwrap_err(),
                format!("the token's `cnf` is not {expected}")
            );
        }
        #[track_caller]
        fn unbindable(cnf: &str) {
            assert_eq!(read(cnf).unwrap_err(), TokenError::Unbindable.to_string());
        }
        refused("null", "an object");
        refused("\"x\"", "an object");
        refused("[]", "an object");
        unbindable("{}");
        unbindable(r#"{"kid":"1"}"#);
        unbindable(r#"{"jwk":{}}"#);
        unbindable(&format!(r#"{{"jkt":"{KEY}","jwe":"x"}}"#));
        unbindable(r#"{"x5t":"x"}"#);
        refused(r#"{"jkt":1}"#, "a SHA-256 hash in base64url");
        refused(r#"{"jkt":""}"#, "a SHA-256 hash in base64url");
        refused(
            &format!(r#"{{"jkt":"{KEY}="}}"#),
            "a SHA-256 hash in base64url",
        );
        refused(r#"{"x5t#S256":null}"#, "a SHA-256 hash in base64url");
    }

    /// RFC 8705, appendix A: the certificate, whose hash `cnf` of section 3.1 holds.
    #[test]
    fn the_example_of_the_standard() {
        let der = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVowDzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au08/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQEKTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=",
        )
        .expect("base64");
        let bound = read(&format!(r#"{{"x5t#S256":"{CERTIFICATE}"}}"#)).expect("bound");
        let shown = sha256(&[&der]);
        assert_eq!(
            bind(&bound, None, Some(&shown), TokenScheme::Bearer),
            Ok(())
        );
    }

    #[test]
    fn a_binding_holds_or_the_token_does_not_count() {
        use BindError as E;
        use TokenScheme::{Bearer, Dpop};
        let proof = |thumbprint| Proof {
            thumbprint,
            jti_hash: [0; 32],
            issued: Timestamp(0),
        };
        let (ours, other) = (proof([1; 32]), proof([2; 32]));
        let none = Confirmation::default();
        let key = Confirmation {
            key_thumbprint: Some([1; 32]),
            ..none
        };
        let certificate = Confirmation {
            certificate_sha256: Some([3; 32]),
            ..none
        };
        let both = Confirmation {
            key_thumbprint: Some([1; 32]),
            certificate_sha256: Some([3; 32]),
        };
        for (bound, proof, shown, scheme, expected) in [
            (none, None, None, Bearer, Ok(())),
            (none, Some(&ours), None, Bearer, Ok(())),
            (none, None, None, Dpop, Err(E::NotBound)),
            (none, Some(&ours), None, Dpop, Err(E::NotBound)),
            (key, Some(&ours), None, Dpop, Ok(())),
            (key, Some(&ours), None, Bearer, Err(E::BoundShownAsBearer)),
            (key, None, None, Bearer, Err(E::BoundShownAsBearer)),
            (key, None, None, Dpop, Err(E::ProofMissing)),
            (key, Some(&other), None, Dpop, Err(E::ProofKey)),
            (certificate, None, Some(&[3; 32]), Bearer, Ok(())),
            (certificate, None, None, Bearer, Err(E::CertificateMissing)),
            (
                certificate,
                None,
                Some(&[4; 32]),
                Bearer,
                Err(E::Certificate),
            ),
            (
                certificate,
                Some(&ours),
                Some(&[3; 32]),
                Dpop,
                Err(E::NotBound),
            ),
            (both, Some(&ours), Some(&[3; 32]), Dpop, Ok(())),
            (both, Some(&ours), None, Dpop, Err(E::CertificateMissing)),
            (both, Some(&other), Some(&[3; 32]), Dpop, Err(E::ProofKey)),
            (
                both,
                None,
                Some(&[3; 32]),
                Bearer,
                Err(E::BoundShownAsBearer),
            ),
        ] {
            assert_eq!(
                bind(&bound, proof, shown, scheme),
                expected,
                "{bound:?} {scheme:?}"
            );
        }
    }

    #[test]
    fn schemes_are_read_in_any_case() {
        assert_eq!(TokenScheme::from_name("bEARER"), Some(TokenScheme::Bearer));
        assert_eq!(TokenScheme::from_name("dpop"), Some(TokenScheme::Dpop));
        assert_eq!(TokenScheme::from_name("Basic"), None);
    }
}
