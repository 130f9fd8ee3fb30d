//! Issues tokens: for the demo, for tests, and for attacks on one's own gateway. It signs whatever
//! it is given, also what no honest issuer would.
//!
//! Deliberately not an identity provider: no policy, no lifetime, no storage of keys.

use std::fmt::{self, Write as _};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair,
        PqdsaSigningAlgorithm, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Algorithm,
    algorithm::Scheme,
    der::{Der, Malformed},
    json,
    thumbprint::thumbprint,
};

/// A key could not be made or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the {0} key could not be {1}")]
pub struct SignError(Algorithm, &'static str);

/// A private key with its name and its one algorithm.
pub struct SigningKey {
    id: String,
    algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

impl SigningKey {
    /// Makes a key (RSA: 2048 bits, which takes a good part of a second).
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn generate(algorithm: Algorithm, id: &str) -> Result<Self, SignError> {
        let failed = |_| SignError(algorithm, "made");
        let pair = match algorithm.scheme() {
            Scheme::Rsa(_) => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            Scheme::Ecdsa(_) => {
                let signing = ecdsa(algorithm).ok_or(SignError(algorithm, "made"))?;
                Pair::Ecdsa(EcdsaKeyPair::generate(signing).map_err(failed)?)
            }
            Scheme::Ed25519 => Pair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
            Scheme::MlDsa(_) => {
                let signing = ml_dsa(algorithm).ok_or(SignError(algorithm, "made"))?;
                Pair::MlDsa(PqdsaKeyPair::generate(signing).map_err(failed)?)
            }
            Scheme::Hmac(_) => return Err(SignError(algorithm, "made, being a shared secret,")),
        };
        Ok(Self::new(algorithm, id, pair))
    }

    /// Takes an unencrypted PKCS #8 private key.
    ///
    /// # Errors
    /// It is not one for the algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, id: &str, der: &[u8]) -> Result<Self, SignError> {
        let failed = |_| SignError(algorithm, "read");
        let pair = match algorithm.scheme() {
            Scheme::Rsa(_) => Pair::Rsa(RsaKeyPair::from_pkcs8(der).map_err(failed)?),
            Scheme::Ecdsa(_) => {
                let signing = ecdsa(algorithm).ok_or(SignError(algorithm, "read"))?;
                Pair::Ecdsa(EcdsaKeyPair::from_pkcs8(signing, der).map_err(failed)?)
            }
            Scheme::Ed25519 => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(failed)?),
            Scheme::MlDsa(_) => {
                let signing = ml_dsa(algorithm).ok_or(SignError(algorithm, "read"))?;
                Pair::MlDsa(PqdsaKeyPair::from_pkcs8(signing, der).map_err(failed)?)
            }
            Scheme::Hmac(_) => return Err(SignError(algorithm, "read, being a shared secret,")),
        };
        Ok(Self::new(algorithm, id, pair))
    }

    fn new(algorithm: Algorithm, id: &str, pair: Pair) -> Self {
        let id = id.to_owned();
        Self {
            id,
            algorithm,
            pair,
        }
    }

    /// The same key under its thumbprint (RFC 7638), a name that no other key has.
    ///
    /// # Errors
    /// The key has no thumbprint; no key that signs by one of the algorithms lacks one.
    pub fn named_by_thumbprint(mut self) -> Result<Self, SignError> {
        let failed = SignError(self.algorithm, "named");
        let jwk = json::read_object(self.public_jwk().as_bytes(), 2).map_err(|_| failed)?;
        let hash = thumbprint(&jwk).map_err(|_| failed)?;
        self.id = URL_SAFE_NO_PAD.encode(hash);
        Ok(self)
    }

    /// The `kid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The algorithm that it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Signs claims (the text of a JSON object) under an ordinary header: `alg`, `typ` `at+jwt`
    /// (RFC 9068) and `kid`.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn sign(&self, claims: &str) -> Result<String, SignError> {
        self.sign_raw(self.header("at+jwt").as_bytes(), claims.as_bytes())
    }

    /// The header of this key, for changing before [`Self::sign_raw`].
    pub fn header(&self, token_type: &str) -> String {
        format!(
            r#"{{"alg":"{}","typ":{},"kid":{}}}"#,
            self.algorithm,
            quoted(token_type),
            quoted(&self.id)
        )
    }

    /// The header of a DPoP proof by this key (RFC 9449, section 4.2), for [`Self::sign_raw`].
    pub fn proof_header(&self) -> String {
        format!(
            r#"{{"alg":"{}","typ":"dpop+jwt","jwk":{}}}"#,
            self.algorithm,
            self.public_jwk()
        )
    }

    /// Signs any header and payload, whatever they are.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn sign_raw(&self, header: &[u8], payload: &[u8]) -> Result<String, SignError> {
        let mut token = signing_input(header, payload);
        let signature = self.signature(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The bare signature of a message, in the form that a JWS has it.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError(self.algorithm, "used");
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let encoding = rsa(self.algorithm).ok_or(SignError(self.algorithm, "used"))?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Pair::Ecdsa(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().into()),
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().into()),
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                let length = pair
                    .sign(message, &mut signature)
                    .map_err(|_| SignError(self.algorithm, "used"))?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }

    /// The public half as the cryptographic library has it: `RSAPublicKey` in DER, an uncompressed
    /// point, or the bare bytes of an Ed25519 or ML-DSA key.
    pub fn public_key(&self) -> &[u8] {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref(),
            Pair::Ecdsa(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::MlDsa(pair) => pair.public_key().as_ref(),
        }
    }

    /// The public half as a JWK: the text of a JSON object.
    pub fn public_jwk(&self) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = self.public_key();
        let members = match &self.pair {
            Pair::Rsa(_) => {
                let (modulus, exponent) = rsa_numbers(public);
                format!(
                    r#""kty":"RSA","n":"{}","e":"{}""#,
                    encode(modulus),
                    encode(exponent)
                )
            }
            Pair::Ecdsa(_) => {
                // An uncompressed point: a byte 4, then both coordinates.
                let coordinates = public.split_first().map_or(public, |(_, rest)| rest);
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                format!(
                    r#""kty":"EC","crv":"{}","x":"{}","y":"{}""#,
                    curve(self.algorithm),
                    encode(x),
                    encode(y)
                )
            }
            Pair::Ed25519(_) => {
                format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encode(public))
            }
            Pair::MlDsa(_) => format!(r#""kty":"AKP","pub":"{}""#, encode(public)),
        };
        format!(
            r#"{{{members},"use":"sig","alg":"{}","kid":{}}}"#,
            self.algorithm,
            quoted(&self.id)
        )
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {:?})", self.algorithm, self.id)
    }
}

/// The public halves as a JWK Set: the text of a JSON object.
pub fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| key.public_jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// A token with any signature, also none.
pub fn unsigned(header: &[u8], payload: &[u8], signature: &[u8]) -> String {
    let mut token = signing_input(header, payload);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// A token under HMAC-SHA-256, as an attacker makes it who hopes that a public key is taken for
/// the secret.
pub fn hmac_sha256(secret: &[u8], header: &[u8], payload: &[u8]) -> String {
    let message = signing_input(header, payload);
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret),
        message.as_bytes(),
    );
    unsigned(header, payload, tag.as_ref())
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..='\u{1f}' => {
                // Writing to a string cannot fail.
                write!(quoted, "\\u{:04x}", u32::from(character)).unwrap_or_default();
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

fn signing_input(header: &[u8], payload: &[u8]) -> String {
    let mut input = URL_SAFE_NO_PAD.encode(header);
    input.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut input);
    input
}

fn curve(algorithm: Algorithm) -> &'static str {
    match algorithm.scheme() {
        Scheme::Ecdsa(curve) => curve.name,
        Scheme::Rsa(_) | Scheme::Ed25519 | Scheme::MlDsa(_) | Scheme::Hmac(_) => "",
    }
}

fn ecdsa(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    use Algorithm as A;
    match algorithm {
        A::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        A::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        A::Es512 => Some(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
        A::Es256k => Some(&signature::ECDSA_P256K1_SHA256_FIXED_SIGNING),
        A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512 => None,
        A::EdDsa | A::Ed25519 | A::MlDsa44 | A::MlDsa65 | A::MlDsa87 => None,
        A::Hs256 | A::Hs384 | A::Hs512 => None,
    }
}

fn ml_dsa(algorithm: Algorithm) -> Option<&'static PqdsaSigningAlgorithm> {
    use Algorithm as A;
    match algorithm {
        A::MlDsa44 => Some(&signature::ML_DSA_44_SIGNING),
        A::MlDsa65 => Some(&signature::ML_DSA_65_SIGNING),
        A::MlDsa87 => Some(&signature::ML_DSA_87_SIGNING),
        A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512 => None,
        A::Es256 | A::Es384 | A::Es512 | A::Es256k | A::EdDsa | A::Ed25519 => None,
        A::Hs256 | A::Hs384 | A::Hs512 => None,
    }
}

fn rsa(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    use Algorithm as A;
    match algorithm {
        A::Rs256 => Some(&signature::RSA_PKCS1_SHA256),
        A::Rs384 => Some(&signature::RSA_PKCS1_SHA384),
        A::Rs512 => Some(&signature::RSA_PKCS1_SHA512),
        A::Ps256 => Some(&signature::RSA_PSS_SHA256),
        A::Ps384 => Some(&signature::RSA_PSS_SHA384),
        A::Ps512 => Some(&signature::RSA_PSS_SHA512),
        A::Es256 | A::Es384 | A::Es512 | A::Es256k | A::EdDsa | A::Ed25519 => None,
        A::MlDsa44 | A::MlDsa65 | A::MlDsa87 | A::Hs256 | A::Hs384 | A::Hs512 => None,
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1), which is a sequence of
/// these two integers in DER.
fn rsa_numbers(der: &[u8]) -> (&[u8], &[u8]) {
    let read = || {
        let mut numbers = Der::new(Der::new(der).take(0x30)?);
        let modulus = numbers.take(0x02)?;
        let exponent = numbers.take(0x02)?;
        Ok::<_, Malformed>((unsigned_integer(modulus), unsigned_integer(exponent)))
    };
    read().unwrap_or_default()
}

fn unsigned_integer(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}
