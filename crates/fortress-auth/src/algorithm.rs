//! The signature algorithms that a token may use, by their registered names (RFC 7518, 8037, 8812,
//! 9864 and 9964), and what each demands of a key.
//!
//! There is no `none`. HMAC is here for those who configure a secret of their own: a key set never
//! yields one, so that a public key can never be taken for a shared secret. `Ed448` (RFC 9864) is
//! unknown, because the cryptographic library does not have it.

use std::fmt;

use aws_lc_rs::{
    digest, hmac,
    signature::{self, EcdsaVerificationAlgorithm, PqdsaVerificationAlgorithm, RsaParameters},
};

macro_rules! algorithms {
    ($( $(#[doc = $doc:literal])+ $name:ident = $text:literal; )+) => {
        /// A signature algorithm.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Algorithm { $( $(#[doc = $doc])+ $name, )+ }

        impl Algorithm {
            /// Every algorithm that Fortress knows.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            /// The registered name, as `alg` has it.
            pub fn name(self) -> &'static str { match self { $( Self::$name => $text ),+ } }

            /// The algorithm of this name. Names are case-sensitive (RFC 7515, section 4.1.1).
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$name), )+ _ => None }
            }
        }
    };
}

algorithms! {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = "RS256";
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384 = "RS384";
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512 = "RS512";
    /// RSASSA-PSS with SHA-256 and a salt of its length.
    Ps256 = "PS256";
    /// RSASSA-PSS with SHA-384 and a salt of its length.
    Ps384 = "PS384";
    /// RSASSA-PSS with SHA-512 and a salt of its length.
    Ps512 = "PS512";
    /// ECDSA on P-256 with SHA-256.
    Es256 = "ES256";
    /// ECDSA on P-384 with SHA-384.
    Es384 = "ES384";
    /// ECDSA on P-521 with SHA-512.
    Es512 = "ES512";
    /// ECDSA on secp256k1 with SHA-256 (RFC 8812).
    Es256k = "ES256K";
    /// `EdDSA`; here always on Ed25519 (RFC 8037).
    EdDsa = "EdDSA";
    /// The same signature under its fully specified name (RFC 9864).
    Ed25519 = "Ed25519";
    /// ML-DSA-44 (RFC 9964), in its pure form with an empty context.
    MlDsa44 = "ML-DSA-44";
    /// ML-DSA-65 (RFC 9964), in its pure form with an empty context.
    MlDsa65 = "ML-DSA-65";
    /// ML-DSA-87 (RFC 9964), in its pure form with an empty context.
    MlDsa87 = "ML-DSA-87";
    /// HMAC with SHA-256, under a configured [`SymmetricKey`](crate::SymmetricKey) alone.
    Hs256 = "HS256";
    /// HMAC with SHA-384, under a configured [`SymmetricKey`](crate::SymmetricKey) alone.
    Hs384 = "HS384";
    /// HMAC with SHA-512, under a configured [`SymmetricKey`](crate::SymmetricKey) alone.
    Hs512 = "HS512";
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Algorithm {
    /// Whether a permission for `self` is one for `used`. `EdDSA` is the older, wider name of
    /// `Ed25519`; every other name means itself alone.
    pub fn permits(self, used: Self) -> bool {
        self == used || (self == Self::EdDsa && used == Self::Ed25519)
    }

    pub(crate) fn scheme(self) -> Scheme {
        match self {
            Self::Rs256 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Scheme::Ecdsa(&Curve {
                name: "P-256",
                coordinate: 32,
                verification: &signature::ECDSA_P256_SHA256_FIXED,
            }),
            Self::Es384 => Scheme::Ecdsa(&Curve {
                name: "P-384",
                coordinate: 48,
                verification: &signature::ECDSA_P384_SHA384_FIXED,
            }),
            Self::Es512 => Scheme::Ecdsa(&Curve {
                name: "P-521",
                coordinate: 66,
                verification: &signature::ECDSA_P521_SHA512_FIXED,
            }),
            Self::Es256k => Scheme::Ecdsa(&Curve {
                name: "secp256k1",
                coordinate: 32,
                verification: &signature::ECDSA_P256K1_SHA256_FIXED,
            }),
            Self::EdDsa | Self::Ed25519 => Scheme::Ed25519,
            Self::MlDsa44 => Scheme::MlDsa(&Lattice {
                public_key: 1312,
                verification: &signature::ML_DSA_44,
            }),
            Self::MlDsa65 => Scheme::MlDsa(&Lattice {
                public_key: 1952,
                verification: &signature::ML_DSA_65,
            }),
            Self::MlDsa87 => Scheme::MlDsa(&Lattice {
                public_key: 2592,
                verification: &signature::ML_DSA_87,
            }),
            Self::Hs256 => Scheme::Hmac(hmac::HMAC_SHA256),
            Self::Hs384 => Scheme::Hmac(hmac::HMAC_SHA384),
            Self::Hs512 => Scheme::Hmac(hmac::HMAC_SHA512),
        }
    }

    /// Whoever can verify with it can also sign.
    pub fn is_symmetric(self) -> bool {
        matches!(self.scheme(), Scheme::Hmac(_))
    }

    /// The hash by which an ID token that is signed like this names an access token (OpenID
    /// Connect Core, section 3.1.3.6). None is defined for ML-DSA.
    pub(crate) fn token_hash(self) -> Option<&'static digest::Algorithm> {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 | Self::Es256k | Self::Hs256 => {
                Some(&digest::SHA256)
            }
            Self::Rs384 | Self::Ps384 | Self::Es384 | Self::Hs384 => Some(&digest::SHA384),
            // Ed25519 hashes with SHA-512 inside (RFC 8032, section 5.1).
            Self::Rs512 | Self::Ps512 | Self::Es512 | Self::Hs512 | Self::EdDsa | Self::Ed25519 => {
                Some(&digest::SHA512)
            }
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => None,
        }
    }
}

/// What an algorithm demands of its key.
#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    /// `kty` RSA.
    Rsa(&'static RsaParameters),
    /// `kty` EC.
    Ecdsa(&'static Curve),
    /// `kty` OKP, `crv` Ed25519.
    Ed25519,
    /// `kty` AKP.
    MlDsa(&'static Lattice),
    /// `kty` oct.
    Hmac(hmac::Algorithm),
}

/// A curve of `kty` EC; each has exactly one algorithm (RFC 7518, section 3.4).
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    /// Bytes of one coordinate, and of each half of a signature.
    pub(crate) coordinate: usize,
    pub(crate) verification: &'static EcdsaVerificationAlgorithm,
}

/// A parameter set of ML-DSA.
pub(crate) struct Lattice {
    /// Bytes of a public key (FIPS 204, section 4).
    pub(crate) public_key: usize,
    pub(crate) verification: &'static PqdsaVerificationAlgorithm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for &algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
        for name in [
            "",
            "none",
            "None",
            "NONE",
            "nOnE",
            "HS1",
            "hs256",
            "ML-DSA",
            "ml-dsa-44",
            "ESP256",
            "rs256",
            "es256",
            "RS1",
            "RS256 ",
            "EDDSA",
            "eddsa",
            "Ed448",
            "ed25519",
            "RSA-OAEP",
            "dir",
            "ES256k",
            "\0",
        ] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn only_eddsa_permits_another_name() {
        for &one in Algorithm::ALL {
            for &other in Algorithm::ALL {
                let permitted =
                    one == other || (one, other) == (Algorithm::EdDsa, Algorithm::Ed25519);
                assert_eq!(one.permits(other), permitted, "{one} {other}");
            }
        }
    }
}
