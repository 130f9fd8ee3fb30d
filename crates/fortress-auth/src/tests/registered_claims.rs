//! What a signed token claims: types, issuer, audience, times, subject, scopes.

use fortress_model::Reason;

use super::*;

#[track_caller]
fn with(claim: &str, value: &str, why: &str) {
    refuses(&token(&[(claim, value)]), why);
}

#[test]
fn a_valid_token() {
    let verified = accepts(&token(&[("tenant", "{\"id\":7}")]));
    assert_eq!(&*verified.subject, "alice");
    assert_eq!(
        verified.scopes,
        ["orders:read".into(), "orders:write".into()]
    );
    assert!(verified.has_scope("orders:read"));
    assert!(!verified.has_scope("orders"));
    assert!(!verified.has_scope("Orders:Read"));
    assert!(!verified.has_scope(""));
    assert_eq!(verified.expires, Some(NOW + 300));
    assert_eq!(verified.proven.to_string(), "ES256, key ES256");
    assert_eq!(verified.claims.number("tenant.id"), Some(7.0));
}

#[test]
fn strings_are_strings() {
    for claim in ["iss", "sub", "jti", "client_id", "azp"] {
        for value in [
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "1.5",
            "[]",
            "{}",
            "[\"a\"]",
            "[\"https://idp.example.com\"]",
            "{\"a\":\"b\"}",
        ] {
            with(
                claim,
                value,
                &format!("the token's `{claim}` is not a string"),
            );
        }
        if claim != "iss" {
            accepts(&token(&[(claim, "\"text\"")]));
            accepts(&token(&[(claim, "")]));
        }
    }
}

#[test]
fn issuers_are_exact() {
    with("iss", "", "the token has no `iss`");
    for issuer in [
        "",
        "https://idp.example.com/",
        "https://IDP.example.com",
        "http://idp.example.com",
        "https://idp.example.com ",
        "https://idp.example.com\\u0000",
        "https://idp.example.co",
        "https://idp.example.com.evil.example",
        "idp.example.com",
        "https://idp.example.com:443",
        "https://evil.example/https://idp.example.com",
    ] {
        with(
            "iss",
            &format!("\"{issuer}\""),
            "the token is from another issuer",
        );
    }
    accepts(&token(&[("iss", "\"https:\\/\\/idp.example.com\"")]));
    refused(
        judged(|e| e.issuer.clear(), &token(&[("iss", "\"\"")]), NOW),
        "the token is from another issuer",
    );
}

#[test]
fn audiences() {
    let other = "the token is for another audience";
    let malformed = "the token's `aud` is not a string or an array of strings";
    accepts(&token(&[("aud", "\"orders-api\"")]));
    accepts(&token(&[("aud", "[\"orders-api\"]")]));
    accepts(&token(&[("aud", "[\"other\",\"orders-api\",\"third\"]")]));
    with("aud", "", "the token has no `aud`");
    for value in [
        "\"\"",
        "[]",
        "[\"\"]",
        "\"other\"",
        "[\"other\"]",
        "\"Orders-Api\"",
        "\"orders-api \"",
        "\"orders-api,other\"",
        "\"orders-api other\"",
        "\"orders-apis\"",
        "\"*\"",
        "\"orders\"",
        "[\"orders\",\"api\"]",
    ] {
        with("aud", value, other);
    }
    for value in [
        "null",
        "true",
        "1",
        "{}",
        "{\"orders-api\":true}",
        "[null]",
        "[1]",
        "[[\"orders-api\"]]",
        "[{\"aud\":\"orders-api\"}]",
        "[\"orders-api\",null]",
        "[\"orders-api\",1]",
        "[\"orders-api\",[]]",
    ] {
        with("aud", value, malformed);
    }
    let several = |token: &str| judged(|e| e.audience = vec!["a".into(), "b".into()], token, NOW);
    several(&token(&[("aud", "\"b\"")])).expect("one of two");
    refused(several(&token(&[])), other);
    refused(judged(|e| e.audience.clear(), &token(&[]), NOW), other);
    let nobody = |e: &mut Expectations| e.audience = vec![String::new()];
    refused(judged(nobody, &token(&[("aud", "\"\"")]), NOW), other);
}

#[test]
fn dates_are_numbers_within_range() {
    for claim in ["exp", "nbf", "iat"] {
        let why = format!(
            "the token's `{claim}` is not a number of seconds since 1970, up to the year 9999"
        );
        for value in [
            "null",
            "true",
            "false",
            "\"\"",
            "\"1790000300\"",
            "\"1e10\"",
            "\"NaN\"",
            "[]",
            "{}",
            "[1790000300]",
            "{\"a\":1790000300}",
            "\"2030-01-01T00:00:00Z\"",
            "-1",
            "-1790000300",
            "-0.5",
            "-1e300",
            "1e400",
            "-1e400",
            "1e300",
            "1790000300000",
            "253402300800",
            "18446744073709551615",
            "18446744073709551616",
            "9223372036854775808",
            "1790000300000000000000000000000000000000",
        ] {
            with(claim, value, &why);
        }
    }
    let expires = |value: &str| accepts(&token(&[("exp", value)])).expires.expect("`exp`");
    assert_eq!(expires("1790000001"), 1_790_000_001);
    assert_eq!(expires("1790000001.999"), 1_790_000_001);
    assert_eq!(expires("1.7900003e9"), 1_790_000_300);
    assert_eq!(expires("17900003E+2"), 1_790_000_300);
    assert_eq!(expires("4102444800"), 4_102_444_800);
    assert_eq!(expires("253402300799"), 253_402_300_799);
    accepts(&token(&[("nbf", "0"), ("iat", "-0")]));
    accepts(&token(&[("nbf", "1789999999.5"), ("iat", "1e-5")]));
}

#[test]
fn expiry() {
    with("exp", "", "the token has no `exp`");
    with("exp", "1789999999", "the token expired 1 s ago");
    with("exp", "1790000000", "the token expired 0 s ago");
    with("exp", "0", "the token expired 1790000000 s ago");
    with("exp", "1.5", "the token expired 1789999998 s ago");
    accepts(&token(&[("exp", "1790000000.5")]));
    accepts(&token(&[("exp", "1790000001")]));
    let token = token(&[]);
    let lenient = |seconds: u64| judged(|e| e.leeway = LEEWAY, &token, seconds);
    let strict = |seconds: u64| judged(|_| (), &token, seconds);
    strict(NOW + 299).expect("still valid");
    refused(strict(NOW + 300), "the token expired 0 s ago");
    lenient(NOW + 329).expect("within the leeway");
    refused(lenient(NOW + 330), "the token expired 30 s ago");
    refused(
        lenient(u64::MAX / 1_000_000_000),
        "the token expired 16656743773 s ago",
    );
    let endless = |e: &mut Expectations| e.leeway = Duration::MAX;
    judged(endless, &token, NOW).expect("no overflow");
}

#[test]
fn not_before_and_issued_at() {
    for (claim, why) in [
        ("nbf", "the token is not valid before 30 s from now"),
        ("iat", "the token says that it was issued 30 s from now"),
    ] {
        accepts(&token(&[(claim, "1790000000")]));
        accepts(&token(&[(claim, "1500000000")]));
        accepts(&token(&[(claim, "")]));
        let soon = token(&[(claim, "1790000030")]);
        refuses(&soon, why);
        judged(|e| e.leeway = LEEWAY, &soon, NOW).expect("within the leeway");
        refused(
            judged(|e| e.leeway = LEEWAY, &soon, NOW - 1),
            &why.replace("30", "31"),
        );
        judged(|_| (), &soon, NOW + 30).expect("its time has come");
        verify(&token(&[(claim, "1790000000.001")])).expect_err("a millisecond early");
        verify(&token(&[(claim, "253402300799")])).expect_err("in the year 9999");
    }
}

#[test]
fn subjects() {
    let subject = |changes: &[(&str, &str)]| accepts(&token(changes)).subject;
    assert_eq!(&*subject(&[]), "alice");
    assert_eq!(&*subject(&[("client_id", "\"app\"")]), "alice");
    assert_eq!(&*subject(&[("sub", ""), ("client_id", "\"app\"")]), "app");
    assert_eq!(&*subject(&[("sub", ""), ("azp", "\"party\"")]), "party");
    assert_eq!(
        &*subject(&[("sub", ""), ("azp", "\"party\""), ("client_id", "\"app\"")]),
        "app"
    );
    assert_eq!(&*subject(&[("sub", "")]), "");
    assert_eq!(
        &*subject(&[("sub", "\"auth0|507f üser\"")]),
        "auth0|507f üser"
    );
    for value in [
        "\"\"",
        "\"a\\u0000\"",
        "\"a\\r\\nX: y\"",
        "\"\\u007f\"",
        "\"\\u0085\"",
    ] {
        let why = "is not a non-empty string without control characters";
        with("sub", value, &format!("the token's `sub` {why}"));
        refuses(
            &token(&[("sub", ""), ("client_id", value)]),
            &format!("the token's `client_id` {why}"),
        );
    }
}

#[test]
fn scopes() {
    let scopes = |changes: &[(&str, &str)]| accepts(&token(changes)).scopes.join("|");
    assert_eq!(scopes(&[]), "orders:read|orders:write");
    assert_eq!(scopes(&[("scope", "")]), "");
    assert_eq!(scopes(&[("scope", "\"\"")]), "");
    assert_eq!(scopes(&[("scope", "\"  a   b \"")]), "a|b");
    assert_eq!(scopes(&[("scope", "\"a\\tb\"")]), "a\tb");
    assert_eq!(scopes(&[("scope", "[\"a\",\"b\"]")]), "a|b");
    assert_eq!(scopes(&[("scope", ""), ("scp", "\"a b\"")]), "a|b");
    assert_eq!(
        scopes(&[("scope", ""), ("scp", "[\"a\",\"b c\"]")]),
        "a|b c"
    );
    assert_eq!(scopes(&[("scope", ""), ("scp", "[]")]), "");
    assert_eq!(scopes(&[("scope", "\"a\""), ("scp", "[\"admin\"]")]), "a");
    for value in [
        "null",
        "true",
        "1",
        "{}",
        "{\"admin\":true}",
        "[1]",
        "[null]",
        "[[\"a\"]]",
    ] {
        let why = "is not a string or an array of strings";
        with("scope", value, &format!("the token's `scope` {why}"));
        refuses(
            &token(&[("scope", ""), ("scp", value)]),
            &format!("the token's `scp` {why}"),
        );
        let nested = format!("{{\"roles\":{value}}}");
        refused(
            judged(
                |e| e.scope_claim = Some("realm.roles".into()),
                &token(&[("realm", &nested)]),
                NOW,
            ),
            &format!("the token's `configured scope claim` {why}"),
        );
    }
    let configured = |changes: &[(&str, &str)]| {
        judged(
            |e| e.scope_claim = Some("realm.roles".into()),
            &token(changes),
            NOW,
        )
        .expect("a valid token")
        .scopes
        .join("|")
    };
    assert_eq!(configured(&[("realm", "{\"roles\":[\"a\",\"b\"]}")]), "a|b");
    assert_eq!(configured(&[("realm", "{\"roles\":\"a b\"}")]), "a|b");
    assert_eq!(configured(&[("realm.roles", "\"c\"")]), "c");
    assert_eq!(configured(&[("realm", "{}")]), "");
    assert_eq!(configured(&[]), "", "`scope` is not looked at");
}

#[test]
fn reasons() {
    let reason = |token: &str| verify(token).expect_err("refused").reason();
    assert_eq!(reason("a.b"), Reason::CredentialMalformed);
    assert_eq!(reason("e30.e30."), Reason::CredentialMalformed);
    assert_eq!(reason(&"a".repeat(20_000)), Reason::CredentialMalformed);
    assert_eq!(
        reason(&token(&[("exp", "\"1\"")])),
        Reason::CredentialMalformed
    );
    assert_eq!(reason(&token(&[("exp", "")])), Reason::CredentialInvalid);
    assert_eq!(reason(&token(&[("exp", "1")])), Reason::CredentialExpired);
    assert_eq!(
        reason(&token(&[("nbf", "1890000000")])),
        Reason::CredentialExpired
    );
    assert_eq!(
        reason(&token(&[("iat", "1890000000")])),
        Reason::CredentialExpired
    );
    assert_eq!(
        reason(&token(&[("iss", "\"x\"")])),
        Reason::CredentialInvalid
    );
    assert_eq!(
        reason(&token(&[("aud", "\"x\"")])),
        Reason::CredentialInvalid
    );
    assert_eq!(
        reason(&headed(r#"{"alg":"none"}"#)),
        Reason::CredentialInvalid
    );
    assert_eq!(
        reason(&headed(r#"{"alg":"ES256","kid":"x"}"#)),
        Reason::CredentialInvalid
    );
    assert_eq!(
        reason(&headed(r#"{"alg":"ES256","crit":[]}"#)),
        Reason::CredentialInvalid
    );
    let types_first = token(&[("iss", "\"x\""), ("nbf", "\"x\"")]);
    assert_eq!(reason(&types_first), Reason::CredentialMalformed);
}

#[test]
fn nothing_that_is_claimed_reaches_a_refusal_or_a_debug() {
    let mark = "\"hunter2\"";
    for claim in ["iss", "aud", "exp", "nbf", "iat", "scope", "other"] {
        for extra in [(claim, mark), ("exp", "1")] {
            if let Err(error) = verify(&token(&[("sub", mark), (claim, mark), extra])) {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
            }
        }
    }
    let verified = accepts(&token(&[("email", mark)]));
    assert!(!format!("{verified:?}").contains("hunter2"));
}
