//! The same tokens to the `jsonwebtoken` crate, configured as strictly as it can be. Where the two
//! disagree, the reason stands beside the case; a disagreement without one fails the test, and so
//! does a reason without a disagreement.

use jsonwebtoken::{DecodingKey, Validation, jwk::Jwk};

use super::*;

/// `jsonwebtoken` asks the machine for the time, so these tokens are valid for decades.
const EXPIRES: &str = "4102444800";

fn theirs(token: &str, key: &SigningKey, algorithm: jsonwebtoken::Algorithm) -> bool {
    let jwk: Jwk = serde_json::from_str(&key.public_jwk()).expect("a key");
    let key = DecodingKey::from_jwk(&jwk).expect("a key");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = 0;
    jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation).is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Agreed {
    Accepted,
    Refused,
    /// Only `jsonwebtoken` accepts it.
    Laxer,
    /// Only we accept it.
    Narrower,
}
use Agreed::{Accepted, Laxer, Narrower, Refused};

#[track_caller]
fn compare(name: &str, token: &str, expected: Agreed, why: &str) {
    let ours = verify(token).is_ok();
    let theirs = theirs(token, &KEYS.es256, jsonwebtoken::Algorithm::ES256);
    let outcome = match (ours, theirs) {
        (true, true) => Accepted,
        (false, false) => Refused,
        (false, true) => Laxer,
        (true, false) => Narrower,
    };
    assert_eq!(outcome, expected, "{name}");
    assert_eq!(
        why.is_empty(),
        matches!(expected, Accepted | Refused),
        "{name}"
    );
}

#[track_caller]
fn claim(name: &str, value: &str, expected: Agreed, why: &str) {
    let token = token(&[("exp", EXPIRES), (name, value)]);
    compare(&format!("`{name}` is {value}"), &token, expected, why);
}

#[test]
fn claims_that_both_judge() {
    claim("other", "1", Accepted, "");
    claim("exp", "", Refused, "");
    claim("exp", "1", Refused, "");
    claim("exp", "\"4102444800\"", Refused, "");
    claim("exp", "null", Refused, "");
    claim("exp", "[]", Refused, "");
    claim("exp", "-1", Refused, "");
    claim("exp", "4102444800.5", Accepted, "");
    claim(
        "exp",
        "4102444800000",
        Laxer,
        "a date in milliseconds never expires",
    );
    claim(
        "exp",
        "18446744073709551615",
        Laxer,
        "no date is that far away",
    );
    claim("iss", "", Refused, "");
    claim("iss", "\"x\"", Refused, "");
    claim(
        "iss",
        "[\"https://idp.example.com\"]",
        Laxer,
        "RFC 7519, 4.1.1: `iss` is one string",
    );
    claim("aud", "", Refused, "");
    claim("aud", "\"x\"", Refused, "");
    claim("aud", "[]", Refused, "");
    claim("aud", "[\"x\",\"orders-api\"]", Accepted, "");
    claim("aud", "[1,\"orders-api\"]", Refused, "");
    claim("nbf", "1", Accepted, "");
    claim("nbf", "4102444800", Refused, "");
    claim("nbf", "\"1\"", Refused, "");
    claim("nbf", "null", Refused, "");
    claim("iat", "4102444800", Laxer, "`iat` is not looked at");
    claim("iat", "\"1\"", Laxer, "`iat` is not looked at");
    claim("sub", "7", Laxer, "`sub` is compared, not typed");
    claim("scope", "7", Laxer, "scopes are not looked at");
}

#[test]
fn headers_that_both_judge() {
    let with = |members: &str| {
        KEYS.es256
            .sign_raw(
                format!(r#"{{"alg":"ES256","kid":"ES256"{members}}}"#).as_bytes(),
                claims(&[("exp", EXPIRES)]).as_bytes(),
            )
            .expect("a token")
    };
    for (members, expected, why) in [
        ("", Accepted, ""),
        (r#","typ":"JWT""#, Accepted, ""),
        (
            r#","typ":"logout+jwt""#,
            Laxer,
            "any type of token passes for an access token",
        ),
        (
            r#","crit":["exp"]"#,
            Laxer,
            "RFC 7515, 4.1.11: what is critical must be understood",
        ),
        (
            r#","crit":[]"#,
            Laxer,
            "RFC 7515, 4.1.11: an empty list is not allowed",
        ),
        (
            r#","b64":false,"crit":["b64"]"#,
            Laxer,
            "RFC 7797 changes what is signed",
        ),
        (
            r#","jku":"https://evil.example.com""#,
            Laxer,
            "read, though not followed",
        ),
        (
            r#","x5u":"https://evil.example.com""#,
            Laxer,
            "read, though not followed",
        ),
        (r#","x5c":["MIIB"]"#, Laxer, "read, though not followed"),
        (
            r#","zip":"DEF""#,
            Laxer,
            "compression is not undone, so the payload is not what it says",
        ),
        (r#","kid":"other""#, Refused, ""),
        (r#","typ":1"#, Refused, ""),
    ] {
        compare(members, &with(members), expected, why);
    }
    let jwk = format!(r#","jwk":{}"#, KEYS.rs256.public_jwk());
    compare("jwk", &with(&jwk), Laxer, "read, though not followed");
}

#[test]
fn texts_that_both_read() {
    let valid = claims(&[("exp", EXPIRES)]);
    let with = |payload: &str| {
        let header = KEYS.es256.header("JWT");
        KEYS.es256
            .sign_raw(header.as_bytes(), payload.as_bytes())
            .expect("a token")
    };
    let stem = valid.trim_end_matches('}');
    for (payload, expected, why) in [
        (valid.clone(), Accepted, ""),
        (format!("{stem},\"sub\":\"mallory\"}}"), Refused, ""),
        (
            format!("{stem},\"x\":1,\"x\":2}}"),
            Laxer,
            "the last of two members wins silently",
        ),
        (
            format!("{stem},\"x\":1,\"\\u0078\":2}}"),
            Laxer,
            "the last of two members wins silently",
        ),
        (format!("{valid}x"), Refused, ""),
        (format!("{valid} "), Accepted, ""),
        (format!("\u{feff}{valid}"), Refused, ""),
        (
            format!("{stem},\"x\":{}1{}}}", "[".repeat(100), "]".repeat(100)),
            Laxer,
            "depth",
        ),
        (
            format!("{stem},\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200)),
            Refused,
            "",
        ),
        (
            format!("{stem},\"x\":1e999}}"),
            Narrower,
            "a number nobody asks for is not converted",
        ),
    ] {
        compare(&payload, &with(&payload), expected, why);
    }
    let token = with(&valid);
    for (name, token, expected, why) in [
        ("padded", format!("{token}="), Refused, ""),
        ("four parts", format!("{token}."), Refused, ""),
        (
            "no signature",
            token.rsplit_once('.').expect("parts").0.to_owned() + ".",
            Refused,
            "",
        ),
    ] {
        compare(name, &token, expected, why);
    }
    let large = "x".repeat(20_000);
    compare(
        "20 KB",
        &with(&format!("{stem},\"x\":\"{large}\"}}")),
        Laxer,
        "the size of a token is not bounded",
    );
}

#[test]
fn every_shared_algorithm() {
    for (algorithm, other) in [
        (Algorithm::Rs256, jsonwebtoken::Algorithm::RS256),
        (Algorithm::Rs384, jsonwebtoken::Algorithm::RS384),
        (Algorithm::Rs512, jsonwebtoken::Algorithm::RS512),
        (Algorithm::Ps256, jsonwebtoken::Algorithm::PS256),
        (Algorithm::Ps384, jsonwebtoken::Algorithm::PS384),
        (Algorithm::Ps512, jsonwebtoken::Algorithm::PS512),
        (Algorithm::Es256, jsonwebtoken::Algorithm::ES256),
        (Algorithm::Es384, jsonwebtoken::Algorithm::ES384),
        (Algorithm::EdDsa, jsonwebtoken::Algorithm::EdDSA),
    ] {
        let key = SigningKey::generate(algorithm, "k").expect("a key");
        let token = key.sign(&claims(&[("exp", EXPIRES)])).expect("a token");
        assert!(theirs(&token, &key, other), "{algorithm}");
        let verifier = Verifier::new(expectations());
        verifier
            .verify(&token, &set(&sign::key_set(&[&key])), at(NOW))
            .expect("verified");
        let (stem, _) = token.split_at(token.len() - 4);
        assert!(!theirs(&format!("{stem}AAAA"), &key, other), "{algorithm}");
        verifier
            .verify(
                &format!("{stem}AAAA"),
                &set(&sign::key_set(&[&key])),
                at(NOW),
            )
            .expect_err("changed");
    }
}
