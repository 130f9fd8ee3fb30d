//! An issuer's public keys (RFC 7517, 7518 section 6, 8037, 9964), each bound to the algorithms that it
//! may verify. What is not a public signature key is left out, with the reason.
//!
//! Fetching, keeping and refreshing a set are not done here.

use aws_lc_rs::{
    digest, hmac,
    signature::{ParsedPublicKey, RsaPublicKeyComponents},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Algorithm, SymmetricKey,
    algorithm::Scheme,
    error::{JwksError, Shown},
    json::{self, Object, Value},
};

/// The largest key set that is looked at, in bytes.
pub const MAX_KEY_SET: usize = 256 << 10;
/// The most keys in one set, those left out included.
pub const MAX_KEYS: usize = 100;

/// Objects and arrays that may be open at once in a key set.
const DEPTH: usize = 16;
/// Keys that are tried for one token: where its `kid` is not unique, or it has none.
const ATTEMPTS: usize = 8;
/// A modulus below this can be factored by those who care to (RFC 7518, section 3.3).
const RSA_MIN_BITS: usize = 2048;
/// A modulus above this makes each verification expensive.
const RSA_MAX_BITS: usize = 8192;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct JwkSet {
    keys: Vec<Key>,
    fingerprint: [u8; 32],
}

impl JwkSet {
    /// Reads a JWK Set. The second value names each key that was left out, and why; it never holds
    /// a key's material.
    ///
    /// # Errors
    /// The document is too large, not strict JSON, not an object with an array `keys` of objects,
    /// or has too many of them.
    pub fn parse(json: &[u8]) -> Result<(Self, Vec<String>), JwksError> {
        if json.len() > MAX_KEY_SET {
            return Err(JwksError::TooLarge);
        }
        let document = json::read_object(json, DEPTH)
            .map_err(|rejected| JwksError::Malformed(rejected.what()))?;
        let listed = document
            .get("keys")
            .and_then(Value::as_array)
            .ok_or(JwksError::Malformed("no array `keys`"))?;
        if listed.len() > MAX_KEYS {
            return Err(JwksError::TooManyKeys(listed.len()));
        }
        let mut keys = Vec::with_capacity(listed.len());
        let mut left_out = Vec::new();
        for (index, jwk) in listed.iter().enumerate() {
            let jwk = jwk
                .as_object()
                .ok_or(JwksError::Malformed("a key is not an object"))?;
            match Key::read(jwk) {
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(format!("{} is left out: {why}", label(index, jwk))),
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, json).as_ref());
        Ok((Self { keys, fingerprint }, left_out))
    }

    /// The set of an issuer with which secrets are shared, and nothing else: a set that was fetched
    /// never holds one.
    pub fn symmetric(keys: &[SymmetricKey]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut read = Vec::with_capacity(keys.len());
        for key in keys {
            context.update(&key.fingerprint());
            read.push(Key {
                id: key.id().map(Into::into),
                uses: vec![(
                    key.algorithm(),
                    Material::Shared(Box::new(key.key().clone())),
                )],
            });
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        Self {
            keys: read,
            fingerprint,
        }
    }

    /// How many keys can verify something.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// No key can verify anything.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The `kid` of each key that has one, in their order.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.id.as_deref())
    }

    /// Each key's `kid`, and the key once for each algorithm that it may verify.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (Option<&str>, &[(Algorithm, Material)])> {
        self.keys
            .iter()
            .map(|key| (key.id.as_deref(), key.uses.as_slice()))
    }

    /// SHA-256 of the document: equal for equal sets, so that fetching the same keys again does
    /// not count as a change.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Verifies with the keys that the token may mean: those of its `kid`, which is a hint (RFC 7515,
    /// section 4.1.4), so that keys without one may be meant too where none has that name; or, without
    /// a `kid`, those that fit its algorithm.
    pub(crate) fn verify(
        &self,
        algorithm: Algorithm,
        key_id: Option<&str>,
        signed: &[u8],
        signature: &[u8],
    ) -> Attempt {
        let is_named =
            key_id.is_some_and(|_| self.keys.iter().any(|key| key.id.as_deref() == key_id));
        let mut fits = false;
        let candidates = self
            .keys
            .iter()
            .filter(|key| match key_id {
                Some(_) if is_named => key.id.as_deref() == key_id,
                Some(_) => key.id.is_none(),
                None => true,
            })
            .filter_map(|key| key.material(algorithm))
            .inspect(|_| fits = true)
            .take(ATTEMPTS);
        for material in candidates {
            if material.verifies(signed, signature) {
                return Attempt::Verified;
            }
        }
        if fits && (is_named || key_id.is_none()) {
            Attempt::Failed
        } else if is_named {
            Attempt::Mismatch
        } else {
            Attempt::NoKey
        }
    }
}

/// What came of verifying a signature with a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attempt {
    /// A key verifies it.
    Verified,
    /// Keys fit, but none verifies it.
    Failed,
    /// The key that was named is not one for the algorithm.
    Mismatch,
    /// There is no key of this name, or none for the algorithm.
    NoKey,
}

/// A key, once for each algorithm that it may verify.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    id: Option<Box<str>>,
    uses: Vec<(Algorithm, Material)>,
}

/// What verifies.
#[derive(Clone, Debug)]
pub(crate) enum Material {
    Public(ParsedPublicKey),
    Shared(Box<hmac::Key>),
}

impl Material {
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(signed, signature).is_ok(),
            // Compares in constant time.
            Self::Shared(key) => hmac::verify(key, signed, signature).is_ok(),
        }
    }
}

impl Key {
    /// Reads a public JWK. The error says why not, and never holds the key's material.
    pub(crate) fn read(jwk: &Object) -> Result<Self, String> {
        let kty = text(jwk, "kty")?.ok_or("it has no `kty`")?;
        if kty == "oct" {
            return Err("it is symmetric".into());
        }
        // Whoever publishes a private key has lost it: what it signs proves nothing.
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]
            .iter()
            .any(|name| jwk.get(name).is_some())
        {
            return Err(
                "it holds private members, so it is compromised; publish a new key without them"
                    .into(),
            );
        }
        may_verify(jwk)?;
        let id = text(jwk, "kid")?.map(Into::into);
        let candidates = match kty {
            "RSA" => RSA,
            "EC" => ecdsa(jwk)?,
            "OKP" => okp(jwk)?,
            "AKP" => akp(jwk)?,
            _ => return Err(format!("its `kty` `{}` is not supported", Shown::new(kty))),
        };
        let declared = declared_algorithm(jwk, candidates)?;
        let numbers = Numbers::read(jwk, kty)?;
        let mut uses = Vec::new();
        for &algorithm in candidates {
            if declared.is_none_or(|declared| declared.permits(algorithm)) {
                uses.push((algorithm, Material::Public(numbers.parse(algorithm)?)));
            }
        }
        Ok(Self { id, uses })
    }

    pub(crate) fn material(&self, algorithm: Algorithm) -> Option<&Material> {
        self.uses
            .iter()
            .find(|(allowed, _)| *allowed == algorithm)
            .map(|(_, key)| key)
    }
}

const RSA: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// `use` and `key_ops`, where they stand, must allow verification (RFC 7517, sections 4.2, 4.3).
fn may_verify(jwk: &Object) -> Result<(), String> {
    if let Some(usage) = text(jwk, "use")?
        && usage != "sig"
    {
        return Err(format!("its `use` is `{}`", Shown::new(usage)));
    }
    let Some(operations) = jwk.get("key_ops") else {
        return Ok(());
    };
    let operations: Vec<&str> = operations
        .as_array()
        .and_then(|items| items.iter().map(Value::as_str).collect())
        .ok_or("its `key_ops` is not an array of strings")?;
    if operations.contains(&"verify") {
        Ok(())
    } else {
        Err("its `key_ops` does not have `verify`".into())
    }
}

fn ecdsa(jwk: &Object) -> Result<&'static [Algorithm], String> {
    match text(jwk, "crv")? {
        Some("P-256") => Ok(&[Algorithm::Es256]),
        Some("P-384") => Ok(&[Algorithm::Es384]),
        Some("P-521") => Ok(&[Algorithm::Es512]),
        Some("secp256k1") => Ok(&[Algorithm::Es256k]),
        Some(curve) => Err(unsupported_curve(curve)),
        None => Err("it has no `crv`".into()),
    }
}

fn okp(jwk: &Object) -> Result<&'static [Algorithm], String> {
    match text(jwk, "crv")? {
        Some("Ed25519") => Ok(&[Algorithm::EdDsa, Algorithm::Ed25519]),
        Some(curve) => Err(unsupported_curve(curve)),
        None => Err("it has no `crv`".into()),
    }
}

/// RFC 9964, section 3: `alg` must be there, and says which parameter set the key is of.
fn akp(jwk: &Object) -> Result<&'static [Algorithm], String> {
    match text(jwk, "alg")? {
        Some("ML-DSA-44") => Ok(&[Algorithm::MlDsa44]),
        Some("ML-DSA-65") => Ok(&[Algorithm::MlDsa65]),
        Some("ML-DSA-87") => Ok(&[Algorithm::MlDsa87]),
        Some(other) => Err(format!(
            "its `alg` `{}` is not supported",
            Shown::new(other)
        )),
        None => Err("it has no `alg`".into()),
    }
}

fn unsupported_curve(curve: &str) -> String {
    format!("its `crv` `{}` is not supported", Shown::new(curve))
}

fn declared_algorithm(jwk: &Object, candidates: &[Algorithm]) -> Result<Option<Algorithm>, String> {
    let Some(name) = text(jwk, "alg")? else {
        return Ok(None);
    };
    Algorithm::from_name(name)
        .filter(|algorithm| candidates.contains(algorithm))
        .map(Some)
        .ok_or_else(|| {
            let name = Shown::new(name);
            format!("its `alg` `{name}` is not a signature algorithm of such a key")
        })
}

/// The numbers of a public key, decoded.
enum Numbers {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Point { x: Vec<u8>, y: Vec<u8> },
    Bytes(Vec<u8>),
}

impl Numbers {
    fn read(jwk: &Object, kty: &str) -> Result<Self, String> {
        match kty {
            "RSA" => {
                let modulus = number(jwk, "n")?;
                let exponent = number(jwk, "e")?;
                check_rsa(&modulus, &exponent)?;
                Ok(Self::Rsa { modulus, exponent })
            }
            "EC" => Ok(Self::Point {
                x: bytes(jwk, "x")?,
                y: bytes(jwk, "y")?,
            }),
            "AKP" => Ok(Self::Bytes(bytes(jwk, "pub")?)),
            _ => Ok(Self::Bytes(bytes(jwk, "x")?)),
        }
    }

    fn parse(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, String> {
        match (self, algorithm.scheme()) {
            (Self::Rsa { modulus, exponent }, Scheme::Rsa(parameters)) => RsaPublicKeyComponents {
                n: modulus,
                e: exponent,
            }
            .to_parsed_public_key(parameters)
            .map_err(|_| "it is not a valid RSA key".into()),
            (Self::Point { x, y }, Scheme::Ecdsa(curve)) => {
                // RFC 7518, section 6.2.1.2: the full size, leading zeros included.
                if x.len() != curve.coordinate || y.len() != curve.coordinate {
                    return Err(format!(
                        "a coordinate on {} has {} bytes",
                        curve.name, curve.coordinate
                    ));
                }
                let point = [&[4], x.as_slice(), y.as_slice()].concat();
                ParsedPublicKey::new(curve.verification, point)
                    .map_err(|_| format!("its point is not on {}", curve.name))
            }
            (Self::Bytes(bytes), Scheme::Ed25519) => {
                if bytes.len() != 32 {
                    return Err("an Ed25519 key has 32 bytes".into());
                }
                ParsedPublicKey::new(&aws_lc_rs::signature::ED25519, bytes)
                    .map_err(|_| "it is not a valid Ed25519 key".into())
            }
            (Self::Bytes(bytes), Scheme::MlDsa(lattice)) => {
                if bytes.len() != lattice.public_key {
                    let length = lattice.public_key;
                    return Err(format!(
                        "its `pub` is not the {length} bytes of {algorithm}"
                    ));
                }
                ParsedPublicKey::new(lattice.verification, bytes)
                    .map_err(|_| format!("it is not a valid {algorithm} key"))
            }
            (Self::Rsa { .. } | Self::Point { .. } | Self::Bytes(_), _) => {
                Err(format!("it is not a key for {algorithm}"))
            }
        }
    }
}

fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), String> {
    let bits = bit_length(modulus);
    if !(RSA_MIN_BITS..=RSA_MAX_BITS).contains(&bits) {
        return Err(format!(
            "its modulus has {bits} bits; {RSA_MIN_BITS} to {RSA_MAX_BITS} are accepted"
        ));
    }
    let is_even = |number: &[u8]| number.last().is_none_or(|byte| byte % 2 == 0);
    if is_even(modulus) {
        return Err("its modulus is even".into());
    }
    // 1 would make every signature its own message; a long one would make verifying slow.
    if is_even(exponent) || exponent == [1] || bit_length(exponent) > 33 {
        return Err("its exponent is not an odd number from 3 to 33 bits".into());
    }
    Ok(())
}

/// Bits of a big-endian number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    let leading = number.first().map_or(0, |byte| byte.leading_zeros());
    (number.len() * 8).saturating_sub(usize::try_from(leading).unwrap_or_default())
}

/// A number (RFC 7518, section 2: Base64urlUInt). Leading zeros, which some libraries write
/// against section 6.3.1.1, do not change a number.
fn number(jwk: &Object, name: &str) -> Result<Vec<u8>, String> {
    let bytes = bytes(jwk, name)?;
    Ok(bytes.into_iter().skip_while(|&byte| byte == 0).collect())
}

fn bytes(jwk: &Object, name: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, name)?.ok_or_else(|| format!("it has no `{name}`"))?;
    URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| format!("its `{name}` is not base64url"))
}

fn text<'a>(jwk: &'a Object, name: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its `{name}` is not a string")),
    }
}

fn label(index: usize, jwk: &Object) -> String {
    let number = index + 1;
    match jwk.get("kid").and_then(Value::as_str) {
        Some(id) => format!("key {number} (`{}`)", Shown::new(id)),
        None => format!("key {number}"),
    }
}
