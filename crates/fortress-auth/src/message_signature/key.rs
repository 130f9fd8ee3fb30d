//! The keys that may sign requests, each bound to one algorithm of RFC 9421, section 3.3: what a
//! request says of its algorithm is compared with it, never believed.

use std::fmt;

use aws_lc_rs::{
    hmac,
    signature::{self, ParsedPublicKey, VerificationAlgorithm},
};
use fortress_model::Secret;

use crate::{Algorithm, JwkSet, Shown, jwks::Material};

/// The shortest shared secret, in bytes (RFC 9421, section 7.3.1, wants full entropy).
pub const MIN_SECRET: usize = 32;
/// The longest name of a key.
const MAX_ID: usize = 256;

macro_rules! algorithms {
    ($( $(#[doc = $doc:literal])+ $name:ident = $text:literal; )+) => {
        /// A signature algorithm by its registered name (RFC 9421, section 6.2.2).
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum SignatureAlgorithm { $( $(#[doc = $doc])+ $name, )+ }

        impl SignatureAlgorithm {
            /// Every algorithm.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            /// The registered name.
            pub fn name(self) -> &'static str { match self { $( Self::$name => $text ),+ } }

            /// The algorithm of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$name), )+ _ => None }
            }
        }
    };
}

algorithms! {
    /// Ed25519.
    Ed25519 = "ed25519";
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256 = "ecdsa-p256-sha256";
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384 = "ecdsa-p384-sha384";
    /// RSASSA-PSS with SHA-512.
    RsaPssSha512 = "rsa-pss-sha512";
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaV15Sha256 = "rsa-v1_5-sha256";
    /// HMAC with SHA-256.
    HmacSha256 = "hmac-sha256";
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl SignatureAlgorithm {
    /// The same algorithm under the name that tokens have for it.
    fn of_token(algorithm: Algorithm) -> Option<Self> {
        use Algorithm as A;
        match algorithm {
            A::EdDsa | A::Ed25519 => Some(Self::Ed25519),
            A::Es256 => Some(Self::EcdsaP256Sha256),
            A::Es384 => Some(Self::EcdsaP384Sha384),
            A::Ps512 => Some(Self::RsaPssSha512),
            A::Rs256 => Some(Self::RsaV15Sha256),
            A::Hs256 => Some(Self::HmacSha256),
            A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Es512 | A::Es256k => None,
            A::MlDsa44 | A::MlDsa65 | A::MlDsa87 | A::Hs384 | A::Hs512 => None,
        }
    }

    /// `None` where the key is a shared secret.
    fn public(self) -> Option<&'static dyn VerificationAlgorithm> {
        match self {
            Self::Ed25519 => Some(&signature::ED25519),
            Self::EcdsaP256Sha256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
            Self::EcdsaP384Sha384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
            Self::RsaPssSha512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::RsaV15Sha256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::HmacSha256 => None,
        }
    }
}

/// A key with its name and its one algorithm.
pub struct Key {
    id: Box<str>,
    algorithm: SignatureAlgorithm,
    material: Material,
}

impl Key {
    /// Takes a public key: `SubjectPublicKeyInfo` in DER (what `BEGIN PUBLIC KEY` holds), or the
    /// bare key.
    ///
    /// # Errors
    /// The key is not one for the algorithm, or the name is empty or too long.
    pub fn public(id: &str, algorithm: SignatureAlgorithm, der: &[u8]) -> Result<Self, String> {
        let verification = algorithm
            .public()
            .ok_or("`hmac-sha256` takes a shared secret, not a public key")?;
        let key = ParsedPublicKey::new(verification, der)
            .map_err(|_| format!("it is not a public key for `{algorithm}`"))?;
        Self::new(id, algorithm, Material::Public(key))
    }

    /// Takes a shared secret for `hmac-sha256`.
    ///
    /// # Errors
    /// The secret is shorter than [`MIN_SECRET`], or the name is empty or too long.
    pub fn shared(id: &str, secret: &Secret<Vec<u8>>) -> Result<Self, String> {
        if secret.expose().len() < MIN_SECRET {
            return Err(format!("a shared secret has at least {MIN_SECRET} bytes"));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose());
        Self::new(
            id,
            SignatureAlgorithm::HmacSha256,
            Material::Shared(Box::new(key)),
        )
    }

    /// Takes the keys of a JWK Set (RFC 7517) by their `kid`: Ed25519, P-256 and P-384, and RSA
    /// where its `alg` says which of the two algorithms it is for (`PS512` or `RS256`).
    ///
    /// # Errors
    /// A key has no `kid`, is not for one algorithm of RFC 9421, or its name cannot be sent.
    pub fn of_set(set: &JwkSet) -> Result<Vec<Self>, String> {
        set.keys()
            .map(|(id, uses)| {
                let id = id.ok_or("each key needs a `kid`: it is the `keyid` of signatures")?;
                let mut found: Option<(SignatureAlgorithm, &Material)> = None;
                for (algorithm, key) in uses {
                    let Some(algorithm) = SignatureAlgorithm::of_token(*algorithm) else {
                        continue;
                    };
                    if found.is_some_and(|(other, _)| other != algorithm) {
                        let id = Shown::new(id);
                        return Err(format!(
                            "the key `{id}` could be for two algorithms; add `alg`: `PS512` or `RS256`"
                        ));
                    }
                    found = Some((algorithm, key));
                }
                let (algorithm, key) = found.ok_or_else(|| {
                    let id = Shown::new(id);
                    format!("the key `{id}` is for no algorithm of RFC 9421")
                })?;
                Self::new(id, algorithm, key.clone())
            })
            .collect()
    }

    fn new(id: &str, algorithm: SignatureAlgorithm, material: Material) -> Result<Self, String> {
        // What a structured field's string can hold; another name could never be sent.
        let can_be_sent = id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if id.is_empty() || id.len() > MAX_ID || !can_be_sent {
            return Err(format!(
                "a key's name has 1 to {MAX_ID} printable ASCII characters"
            ));
        }
        let id = id.into();
        Ok(Self {
            id,
            algorithm,
            material,
        })
    }

    /// The name, as `keyid` has it.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The one algorithm that it verifies.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.material.verifies(message, signature)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {:?})", self.algorithm, self.id)
    }
}

/// Keys by their names.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Takes keys.
    ///
    /// # Errors
    /// Two have one name, or there is none.
    pub fn new(mut keys: Vec<Key>) -> Result<Self, String> {
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        let mut pairs = keys.iter().zip(keys.iter().skip(1));
        if let Some((twice, _)) = pairs.find(|(one, next)| one.id == next.id) {
            return Err(format!("two keys are named `{}`", twice.id));
        }
        if keys.is_empty() {
            return Err("there is no key".into());
        }
        Ok(Self(keys))
    }

    pub(super) fn get(&self, id: &str) -> Option<&Key> {
        let index = self.0.binary_search_by(|key| (*key.id).cmp(id)).ok()?;
        self.0.get(index)
    }
}
