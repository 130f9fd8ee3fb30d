//! HMAC: only where a secret is configured and its algorithm named, and never with a public key.

use fortress_model::Secret;

use super::*;
use crate::{SymmetricKey, SymmetricKeyError};

const SECRET: &[u8; 64] = &[7; 64];

fn key(algorithm: Algorithm, id: Option<&str>) -> SymmetricKey {
    SymmetricKey::new(&Secret::new(SECRET.to_vec()), algorithm, id).expect("a key")
}

fn naming(algorithms: &[Algorithm]) -> Verifier {
    Verifier::new(Expectations {
        algorithms: algorithms.to_vec(),
        ..expectations()
    })
}

fn hmac_token(header: &str) -> String {
    sign::hmac_sha256(SECRET, header.as_bytes(), claims(&[]).as_bytes())
}

#[test]
fn a_configured_secret_verifies() {
    let keys = JwkSet::symmetric(&[key(Algorithm::Hs256, Some("s1"))]);
    let verifier = naming(&[Algorithm::Hs256]);
    for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"s1"}"#] {
        verifier
            .verify(&hmac_token(header), &keys, at(NOW))
            .expect("verified");
    }
    let token = hmac_token(r#"{"alg":"HS256","kid":"s2"}"#);
    let error = verifier.verify(&token, &keys, at(NOW)).unwrap_err();
    assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
    let other = sign::hmac_sha256(&[8; 64], br#"{"alg":"HS256"}"#, claims(&[]).as_bytes());
    refused(
        verifier.verify(&other, &keys, at(NOW)),
        "the token's signature does not verify",
    );
    let good = hmac_token(r#"{"alg":"HS256"}"#);
    let (signed, code) = good.rsplit_once('.').expect("parts");
    // The first 16 bytes of the code alone, as some truncate it.
    let cut = format!("{signed}.{}", code.split_at(20).0);
    refused(
        verifier.verify(&cut, &keys, at(NOW)),
        "the token's signature does not verify",
    );
}

#[test]
fn the_secret_is_bound_to_its_algorithm() {
    let token = hmac_token(r#"{"alg":"HS256"}"#);
    let keys = JwkSet::symmetric(&[key(Algorithm::Hs512, None)]);
    let all = naming(&[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512]);
    refused(
        all.verify(&token, &keys, at(NOW)),
        "no key (none given) for the token's algorithm `HS256`",
    );
    // Having the key is not enough: the algorithm must be named, too.
    let keys = JwkSet::symmetric(&[key(Algorithm::Hs256, None)]);
    for silent in [
        naming(&[]),
        naming(&[Algorithm::Hs384]),
        naming(&[Algorithm::Es256]),
    ] {
        refused(
            silent.verify(&token, &keys, at(NOW)),
            "the token's algorithm `HS256` is never accepted",
        );
    }
}

#[test]
fn no_fetched_set_holds_a_secret() {
    let jwk = format!(
        r#"{{"keys":[{{"kty":"oct","alg":"HS256","k":"{}"}}]}}"#,
        "A".repeat(86)
    );
    let (keys, left_out) = JwkSet::parse(jwk.as_bytes()).expect("a set");
    assert!(keys.is_empty());
    assert_eq!(left_out, ["key 1 is left out: it is symmetric"]);
    // A public key as the secret, with every algorithm allowed.
    let token = sign::hmac_sha256(
        KEYS.es256.public_key(),
        br#"{"alg":"HS256","kid":"ES256"}"#,
        claims(&[]).as_bytes(),
    );
    let outcome = naming(Algorithm::ALL).verify(&token, &KEYS.set, at(NOW));
    refused(
        outcome,
        "the token's algorithm `HS256` does not fit the key `ES256`",
    );
}

#[test]
fn short_secrets_are_refused() {
    let make = |length, algorithm| {
        SymmetricKey::new(&Secret::new(vec![7; length]), algorithm, None).map(|_| ())
    };
    for (algorithm, minimum) in [
        (Algorithm::Hs256, 32),
        (Algorithm::Hs384, 48),
        (Algorithm::Hs512, 64),
    ] {
        assert_eq!(make(minimum, algorithm), Ok(()));
        let error = make(minimum - 1, algorithm).unwrap_err();
        let expected = format!(
            "the secret has {} bytes; `{algorithm}` needs at least {minimum} random ones",
            minimum - 1
        );
        assert_eq!(error.to_string(), expected);
    }
    assert_eq!(
        make(64, Algorithm::Es256),
        Err(SymmetricKeyError::Algorithm(Algorithm::Es256))
    );
    assert!(SigningKey::generate(Algorithm::Hs256, "k").is_err());
}

#[test]
fn other_secrets_are_other_sets() {
    let print = |key: &SymmetricKey| *JwkSet::symmetric(std::slice::from_ref(key)).fingerprint();
    let one = key(Algorithm::Hs256, None);
    assert_eq!(print(&one), print(&key(Algorithm::Hs256, None)));
    assert_ne!(print(&one), print(&key(Algorithm::Hs384, None)));
    assert_ne!(print(&one), print(&key(Algorithm::Hs256, Some(""))));
    let other =
        SymmetricKey::new(&Secret::new(vec![8; 64]), Algorithm::Hs256, None).expect("a key");
    assert_ne!(print(&one), print(&other));
    assert_eq!(format!("{one:?}"), "SymmetricKey(HS256 None)");
}
