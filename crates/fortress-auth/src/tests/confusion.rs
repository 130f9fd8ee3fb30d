//! Algorithms, keys and types: whatever a token says, the key decides what it may verify.

use super::*;

fn never(name: &str) -> String {
    format!("the token's algorithm `{name}` is never accepted")
}

#[test]
fn every_algorithm_verifies_what_it_signed() {
    let asymmetric = Algorithm::ALL.iter().filter(|one| !one.is_symmetric());
    for &algorithm in asymmetric {
        let key = SigningKey::generate(algorithm, "k").expect("a key");
        let other = SigningKey::generate(algorithm, "k").expect("a key");
        let token = key.sign(&claims(&[])).expect("a token");
        let verifier = Verifier::new(expectations());
        let verified = verifier
            .verify(&token, &set(&sign::key_set(&[&key])), at(NOW))
            .unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(verified.proven.to_string(), format!("{algorithm}, key k"));
        refused(
            verifier.verify(&token, &set(&sign::key_set(&[&other])), at(NOW)),
            "the token's signature does not verify",
        );
        // Two keys of one name, as during a rotation: both are tried.
        let both = set(&sign::key_set(&[&other, &key]));
        verifier
            .verify(&token, &both, at(NOW))
            .expect("the second key verifies it");
    }
}

#[test]
fn unsecured_and_symmetric_tokens() {
    let payload = claims(&[]);
    for name in [
        "none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "es256", "ES256 ",
    ] {
        let header = format!(r#"{{"alg":"{name}","kid":"ES256"}}"#);
        for signature in [&b""[..], b"x", &[0; 64]] {
            let token = sign::unsigned(header.as_bytes(), payload.as_bytes(), signature);
            refuses(&token, &never(name));
        }
        refuses(&headed(&header), &never(name));
    }
    for name in [
        "RSA-OAEP", "dir", "A256KW", "Ed448", "ES256K1", "RS1", "ESP256", "ML-DSA", "HSS-LMS",
    ] {
        refuses(&headed(&format!(r#"{{"alg":"{name}"}}"#)), &never(name));
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let payload = claims(&[]);
    for key in [&KEYS.rs256, &KEYS.es256, &KEYS.eddsa] {
        let jwk = key.public_jwk();
        for alg in ["HS256", key.algorithm().name()] {
            let header = format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, key.id());
            let token = sign::hmac_sha256(jwk.as_bytes(), header.as_bytes(), payload.as_bytes());
            verify(&token).expect_err("signed with a public key");
        }
    }
}

#[test]
fn the_key_binds_the_algorithm() {
    let payload = claims(&[]);
    let keys = [&KEYS.es256, &KEYS.es384, &KEYS.rs256, &KEYS.eddsa];
    for &algorithm in Algorithm::ALL {
        for key in keys {
            let header = format!(r#"{{"alg":"{algorithm}","kid":"{}"}}"#, key.id());
            let token = key
                .sign_raw(header.as_bytes(), payload.as_bytes())
                .expect("a token");
            if key.algorithm().permits(algorithm) {
                accepts(&token);
            } else if algorithm.is_symmetric() {
                refuses(&token, &never(algorithm.name()));
            } else {
                let id = key.id();
                refuses(
                    &token,
                    &format!("the token's algorithm `{algorithm}` does not fit the key `{id}`"),
                );
            }
        }
    }
}

#[test]
fn keys_of_another_curve_do_not_fit() {
    let payload = claims(&[]);
    // ES256 claimed, but signed with P-384 and SHA-384: no `kid` leads to the right key.
    let token = KEYS
        .es384
        .sign_raw(br#"{"alg":"ES256"}"#, payload.as_bytes());
    refuses(
        &token.expect("a token"),
        "the token's signature does not verify",
    );
    let token = KEYS
        .es384
        .sign_raw(br#"{"alg":"ES512"}"#, payload.as_bytes());
    refuses(
        &token.expect("a token"),
        "no key (none given) for the token's algorithm `ES512`",
    );
}

#[test]
fn the_configuration_narrows_the_algorithms() {
    let token = token(&[]);
    let ed25519 = KEYS
        .eddsa
        .sign_raw(
            br#"{"alg":"Ed25519","kid":"EdDSA"}"#,
            claims(&[]).as_bytes(),
        )
        .expect("a token");
    let eddsa = KEYS.eddsa.sign(&claims(&[])).expect("a token");
    let only = |algorithms: &[Algorithm], token: &str| {
        judged(|e| e.algorithms = algorithms.to_vec(), token, NOW)
    };
    let outside = |name: &str| {
        format!("the token's algorithm `{name}` is not in the configured `algorithms`")
    };
    only(&[], &token).expect("all that the keys allow");
    only(&[Algorithm::Es256], &token).expect("the one");
    only(&[Algorithm::Rs256, Algorithm::Es256], &token).expect("one of two");
    refused(only(&[Algorithm::Rs256], &token), &outside("ES256"));
    refused(
        only(&[Algorithm::Es384, Algorithm::Es256k], &token),
        &outside("ES256"),
    );
    only(&[Algorithm::EdDsa], &ed25519).expect("the fully specified name");
    only(&[Algorithm::EdDsa], &eddsa).expect("the old name");
    only(&[Algorithm::Ed25519], &ed25519).expect("the fully specified name");
    refused(only(&[Algorithm::Ed25519], &eddsa), &outside("EdDSA"));
}

#[test]
fn key_ids_are_opaque() {
    let token = |kid: &str| headed(&format!(r#"{{"alg":"ES256","kid":{}}}"#, sign::quoted(kid)));
    accepts(&token("ES256"));
    for kid in [
        "",
        "es256",
        "ES256 ",
        " ES256",
        "ES256\0",
        "../../dev/null",
        "' OR 1=1 --",
        "*",
        "0",
        "https://evil.example.com/key",
        "/etc/passwd",
        "${jndi:ldap://x}",
    ] {
        let error = verify(&token(kid)).expect_err("unknown");
        let TokenError::UnknownKey { key_id, algorithm } = &error else {
            panic!("{error}");
        };
        assert_eq!(*algorithm, Algorithm::Es256);
        assert_eq!(key_id.as_ref(), Some(&crate::Shown::new(kid)));
    }
    refuses(
        &token("a\r\nSet-Cookie: x\u{1b}[31m"),
        "no key `a\\u{d}\\u{a}Set-Cookie: x\\u{1b}[31m` for the token's algorithm `ES256`",
    );
    refuses(
        &token(&"k".repeat(5000)),
        &format!(
            "no key `{}...` for the token's algorithm `ES256`",
            "k".repeat(45)
        ),
    );
}

/// RFC 7515, section 4.1.4: `kid` is a hint.
#[test]
fn a_key_without_an_id_may_be_meant_by_any() {
    let set = |id: Option<&str>, key: &SigningKey| {
        let mut jwk: serde_json::Value = serde_json::from_str(&key.public_jwk()).expect("JSON");
        match id {
            Some(id) => jwk["kid"] = id.into(),
            None => drop(jwk.as_object_mut().map(|jwk| jwk.remove("kid"))),
        }
        let keys = serde_json::json!({ "keys": [jwk] }).to_string();
        JwkSet::parse(keys.as_bytes()).expect("a key set").0
    };
    let token = token(&[]);
    let verifier = Verifier::new(expectations());
    let judged = |set: &JwkSet| verifier.verify(&token, set, at(NOW)).map(drop);
    assert_eq!(judged(&set(None, &KEYS.es256)), Ok(()));
    let other = SigningKey::generate(Algorithm::Es256, "other").expect("a key");
    let unknown =
        |error: Result<(), TokenError>| matches!(error, Err(TokenError::UnknownKey { .. }));
    assert!(unknown(judged(&set(None, &other))));
    assert!(unknown(judged(&set(Some("another"), &KEYS.es256))));
}

#[test]
fn without_a_key_id_the_fitting_keys_are_tried() {
    for key in [&KEYS.es256, &KEYS.es384, &KEYS.rs256, &KEYS.eddsa] {
        let header = format!(r#"{{"alg":"{}"}}"#, key.algorithm());
        let token = key
            .sign_raw(header.as_bytes(), claims(&[]).as_bytes())
            .expect("a token");
        assert_eq!(accepts(&token).proven.to_string(), key.algorithm().name());
    }
    let stranger = SigningKey::generate(Algorithm::Es256, "").expect("a key");
    let token = stranger.sign_raw(br#"{"alg":"ES256"}"#, claims(&[]).as_bytes());
    refuses(
        &token.expect("a token"),
        "the token's signature does not verify",
    );
    let empty = set(r#"{"keys":[]}"#);
    let outcome = Verifier::new(expectations()).verify(&super::token(&[]), &empty, at(NOW));
    refused(outcome, "no key `ES256` for the token's algorithm `ES256`");
}

#[test]
fn the_number_of_tried_keys_is_bounded() {
    let strangers: Vec<SigningKey> = (0..8)
        .map(|_| SigningKey::generate(Algorithm::Es256, "same").expect("a key"))
        .collect();
    let mine = SigningKey::generate(Algorithm::Es256, "same").expect("a key");
    let token = mine.sign(&claims(&[])).expect("a token");
    let verifier = Verifier::new(expectations());
    let keys: Vec<&SigningKey> = strangers.iter().take(7).chain([&mine]).collect();
    verifier
        .verify(&token, &set(&sign::key_set(&keys)), at(NOW))
        .expect("the eighth");
    let keys: Vec<&SigningKey> = strangers.iter().chain([&mine]).collect();
    refused(
        verifier.verify(&token, &set(&sign::key_set(&keys)), at(NOW)),
        "the token's signature does not verify",
    );
}

/// What RFC 9068, section 2.2, demands beside what every token must have.
const ACCESS_TOKEN: &[(&str, &str)] = &[
    ("client_id", "\"web\""),
    ("iat", "1790000000"),
    ("jti", "\"t1\""),
];

#[test]
fn access_tokens_where_they_are_demanded() {
    let demanded = |changes: &[(&str, &str)]| {
        let changed = |(name, _): &&(&str, &str)| !changes.iter().any(|change| change.0 == *name);
        let kept = ACCESS_TOKEN.iter().filter(changed).copied();
        let all: Vec<(&str, &str)> = kept.chain(changes.iter().copied()).collect();
        judged(|e| e.token_type = Some("at+jwt".into()), &token(&all), NOW)
    };
    demanded(&[]).expect("an access token");
    for name in ["sub", "client_id", "iat", "jti"] {
        refused(
            demanded(&[(name, "")]),
            &format!("the token has no `{name}`"),
        );
    }
    // Where no type is demanded, neither are they.
    accepts(&token(&[("sub", "")]));
}

#[test]
fn types() {
    let claims = claims(ACCESS_TOKEN);
    let headed = |header: &str| {
        let token = KEYS.es256.sign_raw(header.as_bytes(), claims.as_bytes());
        token.expect("a token")
    };
    let typed = |typ: &str| headed(&format!(r#"{{"alg":"ES256","kid":"ES256","typ":"{typ}"}}"#));
    let untyped = headed(r#"{"alg":"ES256","kid":"ES256"}"#);
    let wrong = |typ: &str| format!("the token's type `{typ}` is not accepted here");

    let demanded = |token: &str| judged(|e| e.token_type = Some("at+jwt".into()), token, NOW);
    for typ in [
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "Application/At+Jwt",
    ] {
        demanded(&typed(typ)).expect("an access token");
        judged(|e| e.token_type = Some(typ.into()), &typed("at+jwt"), NOW).expect("the same type");
    }
    refused(
        demanded(&untyped),
        "the token's type (none given) is not accepted here",
    );
    for typ in [
        "JWT",
        "",
        "at",
        "at+jwt ",
        "x-at+jwt",
        "application/",
        "application/application/at+jwt",
        "text/at+jwt",
        "at+jwt;charset=utf-8",
        "logout+jwt",
    ] {
        refused(demanded(&typed(typ)), &wrong(typ));
    }

    accepts(&untyped);
    for typ in [
        "JWT",
        "jwt",
        "application/jwt",
        "at+jwt",
        "application/at+jwt",
        "JOSE",
    ] {
        accepts(&typed(typ));
    }
    for typ in [
        "",
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "application/secevent+jwt",
        "vc+sd-jwt",
        "oauth-authz-req+jwt",
        "token-introspection+jwt",
        "JOSE+JSON",
        "JWE",
        "JWTX",
    ] {
        refuses(&typed(typ), &wrong(typ));
    }
    let secevent = typed("secevent+jwt");
    judged(
        |e| e.token_type = Some("secevent+jwt".into()),
        &secevent,
        NOW,
    )
    .expect("as configured");
}
