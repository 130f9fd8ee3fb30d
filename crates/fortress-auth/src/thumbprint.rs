//! A key's name that follows from the key itself: the JWK SHA-256 thumbprint (RFC 7638, 8037
//! section 2, 9964 section 6).
//!
//! Only of keys that were read strictly: a number that is spelt with leading zeros would give one
//! key two names.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{json::Object, verify::sha256};

/// The thumbprint of a public JWK; the error says why it has none.
pub(crate) fn thumbprint(jwk: &Object) -> Result<[u8; 32], String> {
    let member = |name: &str| {
        jwk.get(name)
            .and_then(|value| value.as_str())
            .ok_or_else(|| format!("it has no string `{name}`"))
    };
    // In the order of section 3.2: by name. Each value is a registered name or base64url, so that
    // none needs an escape.
    let names: &[&str] = match member("kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        "AKP" => &["alg", "kty", "pub"],
        _ => return Err("its `kty` is not supported".into()),
    };
    let mut canonical = String::new();
    for name in names {
        let value = member(name)?;
        if !value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        {
            return Err(format!("its `{name}` is not base64url"));
        }
        if matches!(*name, "e" | "n") && has_leading_zero(value) {
            return Err(format!(
                "its `{name}` has leading zeros (RFC 7518, section 2)"
            ));
        }
        canonical.push_str(if canonical.is_empty() { "{\"" } else { ",\"" });
        canonical.push_str(name);
        canonical.push_str("\":\"");
        canonical.push_str(value);
        canonical.push('"');
    }
    canonical.push('}');
    Ok(sha256(&[canonical.as_bytes()]))
}

fn has_leading_zero(number: &str) -> bool {
    URL_SAFE_NO_PAD
        .decode(number)
        .is_ok_and(|bytes| bytes.first().is_none_or(|byte| *byte == 0))
}

/// A SHA-256 hash in base64url, as `cnf` and `ath` have it: 43 characters, one spelling.
pub(crate) fn read_hash(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::read_object;

    fn of(jwk: &str) -> Result<String, String> {
        let jwk = read_object(jwk.as_bytes(), 4).expect("an object");
        thumbprint(&jwk).map(|hash| URL_SAFE_NO_PAD.encode(hash))
    }

    #[test]
    fn the_examples_of_the_standards() {
        // RFC 7638, section 3.1.
        let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        assert_eq!(
            of(rsa).as_deref(),
            Ok("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
        );
        // RFC 8037, appendix A.3.
        let ed25519 =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(
            of(ed25519).as_deref(),
            Ok("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
        );
        // RFC 9449, section 6.1: the key of the proofs in sections 4 to 7.
        let ec = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
        assert_eq!(
            of(ec).as_deref(),
            Ok("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")
        );
    }

    #[test]
    fn what_has_no_single_name() {
        assert_eq!(of("{}").unwrap_err(), "it has no string `kty`");
        assert_eq!(
            of(r#"{"kty":"oct","k":"AA"}"#).unwrap_err(),
            "its `kty` is not supported"
        );
        assert_eq!(
            of(r#"{"kty":"OKP","crv":"Ed25519","x":"a\"b"}"#).unwrap_err(),
            "its `x` is not base64url"
        );
        assert_eq!(
            of(r#"{"kty":"RSA","n":"AQAB","e":"AAEAAQ"}"#).unwrap_err(),
            "its `e` has leading zeros (RFC 7518, section 2)"
        );
    }

    #[test]
    fn hashes_have_one_spelling() {
        let hash = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        assert!(read_hash(hash).is_some());
        assert!(read_hash(&format!("{hash}=")).is_none());
        assert!(read_hash(&format!("{hash}A")).is_none());
        // The last character carries two bits that must be zero.
        assert!(read_hash("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J").is_none());
        assert!(read_hash("").is_none());
    }
}
