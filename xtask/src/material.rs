//! Certificates, keys and tokens for chores, made by the `openssl` program: independent of the
//! code under test.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Clock as _, SystemClock};
use serde_json::json;

use crate::process;

/// Who issues the tokens.
pub(crate) const ISSUER: &str = "https://idp.bench.example";
/// Whom they are for.
pub(crate) const AUDIENCE: &str = "orders-api";

/// A certificate for loopback, and its key, in PEM.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes one with P-256 in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let made = Self {
            chain: folder.join("cert.pem"),
            key: folder.join("key.pem"),
        };
        process::output(
            Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ])
                .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
                .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
                .arg("-keyout")
                .arg(&made.key)
                .arg("-out")
                .arg(&made.chain),
        )?;
        Ok(made)
    }
}

/// An RSA key that signs tokens, its public half in two forms, and one token.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// The public key as a JWK set.
    pub(crate) jwks: PathBuf,
    /// The public key in PEM.
    pub(crate) public: PathBuf,
    /// A token that is valid for an hour.
    pub(crate) token: String,
}

impl Issuer {
    /// Makes a key in `folder`, and a token of `alice` with the scope `orders`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        Self::named(folder, ISSUER)
    }

    /// The same under another name.
    pub(crate) fn named(folder: &Path, name: &str) -> Result<Self> {
        let key = folder.join("issuer.pem");
        let public = folder.join("issuer.pub.pem");
        let openssl = || Command::new("openssl");
        process::output(openssl().args(["genrsa", "-out"]).arg(&key).arg("2048"))?;
        process::output(
            openssl()
                .args(["rsa", "-pubout", "-in"])
                .arg(&key)
                .arg("-out")
                .arg(&public),
        )?;
        let modulus = process::output(
            openssl()
                .args(["rsa", "-noout", "-modulus", "-in"])
                .arg(&key),
        )?;
        let modulus = modulus_bytes(std::str::from_utf8(&modulus)?)?;
        let jwks = folder.join("jwks.json");
        let set = json!({ "keys": [{
            "kty": "RSA", "kid": "bench", "use": "sig", "alg": "RS256",
            "n": URL_SAFE_NO_PAD.encode(modulus), "e": "AQAB",
        }]});
        fs::write(&jwks, set.to_string())?;

        let now = SystemClock.now().millis() / 1000;
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "bench" });
        let claims = json!({
            "iss": name, "aud": AUDIENCE, "sub": "alice", "scope": "orders",
            "iat": now, "exp": now + 3600,
        });
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let message = folder.join("token.txt");
        fs::write(&message, &signed)?;
        let signature = process::output(
            openssl()
                .args(["dgst", "-sha256", "-sign"])
                .arg(&key)
                .arg(&message),
        )?;
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        Ok(Self {
            jwks,
            public,
            token,
        })
    }
}

/// The bytes of `Modulus=C0FFEE…`.
fn modulus_bytes(text: &str) -> Result<Vec<u8>> {
    let digits = text
        .trim()
        .strip_prefix("Modulus=")
        .context("openssl printed no modulus")?;
    ensure!(
        digits.len().is_multiple_of(2) && digits.is_ascii(),
        "an odd modulus"
    );
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modulus_is_read_from_hexadecimal() {
        assert_eq!(
            modulus_bytes("Modulus=C0FFEE\n").unwrap(),
            [0xC0, 0xFF, 0xEE]
        );
        assert!(modulus_bytes("Modulus=C0F").is_err());
        assert!(modulus_bytes("C0FF").is_err());
        assert!(modulus_bytes("Modulus=XY").is_err());
    }
}
