//! Opaque tokens: the question, the answers, and what is kept of them.

use std::{sync::Arc, time::Duration};

use fortress_model::{Reason, Secret};

use super::*;
use crate::{
    Answer, AnswerExpectations, IntrospectionError, Introspector, MAX_INTROSPECTION, MAX_TOKEN,
    OpaqueCache, Proven, client_authorization, introspection_body,
};

fn introspector() -> Introspector {
    Introspector::new(AnswerExpectations {
        issuer: ISSUER.into(),
        audience: vec![AUDIENCE.into()],
        ..AnswerExpectations::default()
    })
}

/// An active answer with changes, as [`claims`].
fn answer(changes: &[(&str, &str)]) -> String {
    let mut all = vec![("active", "true"), ("token_type", "\"Bearer\"")];
    all.extend_from_slice(changes);
    claims(&all)
}

fn judge(body: &str) -> Result<Answer, IntrospectionError> {
    introspector().judge(body.as_bytes(), at(NOW))
}

#[track_caller]
fn active(body: &str) -> Arc<Verified> {
    match judge(body) {
        Ok(Answer::Active(verified)) => verified,
        other => panic!("{body}: {other:?}"),
    }
}

#[track_caller]
fn refused(changes: &[(&str, &str)], why: &str) {
    match judge(&answer(changes)) {
        Ok(Answer::Refused(error)) => assert_eq!(error.to_string(), why, "{changes:?}"),
        other => panic!("{changes:?}: {other:?}"),
    }
}

#[track_caller]
fn no_answer(body: &str, why: &str) {
    let error = judge(body).expect_err("no answer");
    assert_eq!(error.to_string(), why, "{body}");
    assert_eq!(error.reason(), Reason::KeysUnavailable);
}

#[test]
fn an_active_token_is_like_a_signed_one() {
    let verified = active(&answer(&[("client_id", "\"web\"")]));
    assert_eq!(&*verified.subject, "alice");
    assert!(verified.has_scope("orders:read"));
    assert_eq!(verified.expires, Some(NOW + 300));
    assert_eq!(verified.proven, Proven::Introspection);
    assert_eq!(verified.proven.to_string(), "introspection");
    assert_eq!(verified.claims.text("client_id"), Some("web"));
    assert!(!verified.confirmation.is_bound());

    assert_eq!(active(&answer(&[("exp", "")])).expires, None);
    active(&answer(&[("iss", "")]));
    active(&answer(&[("token_type", "")]));
    active(&answer(&[("token_type", "\"bearer\"")]));
    assert_eq!(
        &*active(&answer(&[("sub", ""), ("client_id", "\"web\"")])).subject,
        "web"
    );
    let certificate = r#"{"x5t#S256":"A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"}"#;
    let bound = active(&answer(&[("cnf", certificate)]));
    assert!(bound.confirmation.certificate_sha256.is_some());
}

#[test]
fn tokens_that_do_not_count() {
    refused(
        &[("active", "false")],
        "the issuer says that the token is not active",
    );
    refused(&[("exp", &NOW.to_string())], "the token expired 0 s ago");
    let later = (NOW + 9).to_string();
    refused(
        &[("nbf", &later)],
        "the token is not valid before 9 s from now",
    );
    refused(
        &[("iat", &later)],
        "the token says that it was issued 9 s from now",
    );
    refused(
        &[("iss", "\"https://other\"")],
        "the token is from another issuer",
    );
    refused(&[("aud", "\"other\"")], "the token is for another audience");
    refused(&[("aud", "")], "the token has no `aud`");
    let kind = "the issuer says that the token is no access token";
    refused(&[("token_type", "\"refresh_token\"")], kind);
    refused(&[("token_type", "\"N_A\"")], kind);
    refused(&[("token_type", "\"DPoP\"")], "the token has no `cnf`");
    refused(
        &[("cnf", "{\"jwk\":{}}")],
        "the token is bound (`cnf`) in a way that is not verified here",
    );
    match judge(r#"{"active":false}"#) {
        Ok(Answer::Refused(TokenError::Inactive)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_an_audience_none_is_looked_at() {
    let open = Introspector::new(AnswerExpectations::default());
    for changes in [[("aud", "")], [("aud", "\"other\"")], [("iss", "\"x\"")]] {
        let outcome = open.judge(answer(&changes).as_bytes(), at(NOW));
        assert!(matches!(outcome, Ok(Answer::Active(_))), "{outcome:?}");
    }
}

#[test]
fn answers_that_are_none() {
    no_answer("", "the issuer's answer is malformed: not an object");
    no_answer("<html>", "the issuer's answer is malformed: not an object");
    no_answer("[true]", "the issuer's answer is malformed: not an object");
    let silent = "the issuer's answer does not say `active`: true or false";
    no_answer("{}", silent);
    for value in ["1", "\"true\"", "null", "[true]", "{}"] {
        no_answer(&answer(&[("active", value)]), silent);
    }
    no_answer(
        r#"{"active":false,"active":true}"#,
        "the issuer's answer is malformed: a member stands twice",
    );
    no_answer(
        &answer(&[("x", &format!("{}1{}", "[".repeat(20), "]".repeat(20)))]),
        "the issuer's answer is malformed: nested too deeply",
    );
    for (name, value) in [
        ("exp", "\"1\""),
        ("nbf", "null"),
        ("iat", "true"),
        ("iss", "1"),
        ("aud", "{}"),
        ("sub", "7"),
        ("sub", "\"\""),
        ("scope", "7"),
        ("client_id", "7"),
        ("token_type", "7"),
        ("cnf", "\"x\""),
    ] {
        let error = judge(&answer(&[(name, value)])).expect_err("no answer");
        assert!(
            matches!(error, IntrospectionError::Member(_)),
            "{name}: {error}"
        );
    }
    let long = answer(&[("x", &format!("\"{}\"", "x".repeat(MAX_INTROSPECTION)))]);
    no_answer(&long, "the issuer's answer is longer than 65536 bytes");
}

/// A signed answer with changes to its claims, and to the member that holds the answer.
fn signed_answer(changes: &[(&str, &str)], inner: &[(&str, &str)]) -> String {
    let (inner, issued) = (answer(inner), NOW.to_string());
    let mut all = vec![
        ("aud", "\"gateway\""),
        ("exp", ""),
        ("sub", ""),
        ("scope", ""),
        ("iat", issued.as_str()),
        ("token_introspection", inner.as_str()),
    ];
    all.extend_from_slice(changes);
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (name, value) in all {
        match seen.iter_mut().find(|member| member.0 == name) {
            Some(member) => member.1 = value,
            None => seen.push((name, value)),
        }
    }
    let header = KEYS.es256.header("token-introspection+jwt");
    KEYS.es256
        .sign_raw(header.as_bytes(), claims(&seen).as_bytes())
        .expect("an answer")
}

fn judge_signed(answer: &str, seconds: u64) -> Result<Answer, IntrospectionError> {
    introspector().judge_signed(
        answer,
        "gateway",
        &[Algorithm::Es256],
        &KEYS.set,
        at(seconds),
    )
}

#[test]
fn signed_answers() {
    let good = signed_answer(&[], &[]);
    assert!(matches!(judge_signed(&good, NOW), Ok(Answer::Active(_))));
    assert!(matches!(
        judge_signed(&good, NOW + 60),
        Ok(Answer::Active(_))
    ));
    assert!(matches!(
        judge_signed(&good, NOW + 61),
        Err(IntrospectionError::Stale(61))
    ));
    let inactive = signed_answer(&[], &[("active", "false")]);
    assert!(matches!(
        judge_signed(&inactive, NOW),
        Ok(Answer::Refused(TokenError::Inactive))
    ));

    #[track_caller]
    fn bad(answer: &str, why: &str) {
        let error = judge_signed(answer, NOW).expect_err("refused").to_string();
        assert_eq!(error, why);
    }
    let refused = |why: &str| format!("the issuer's signed answer is refused: {why}");
    let changed = |changes: &[(&str, &str)]| signed_answer(changes, &[]);
    bad(
        &changed(&[("iss", "\"x\"")]),
        &refused("the token is from another issuer"),
    );
    bad(&changed(&[("iss", "")]), &refused("the token has no `iss`"));
    bad(
        &changed(&[("aud", "\"other\"")]),
        &refused("the token is for another audience"),
    );
    bad(&changed(&[("aud", "")]), &refused("the token has no `aud`"));
    bad(&changed(&[("iat", "")]), &refused("the token has no `iat`"));
    bad(
        &changed(&[("token_introspection", "")]),
        "the issuer's answer is malformed: no object `token_introspection`",
    );
    bad(
        &changed(&[("token_introspection", "true")]),
        "the issuer's answer is malformed: no object `token_introspection`",
    );
    // An access token is no answer, whatever it says.
    bad(
        &token(&[("aud", "\"gateway\"")]),
        &refused("the token's type `at+jwt` is not accepted here"),
    );
    let (stem, _) = good.split_at(good.len() - 4);
    bad(
        &format!("{stem}AAAA"),
        &refused("the token's signature does not verify"),
    );
    let other =
        introspector().judge_signed(&good, "gateway", &[Algorithm::Rs256], &KEYS.set, at(NOW));
    assert!(matches!(
        other,
        Err(IntrospectionError::Signed(TokenError::AlgorithmRefused(_)))
    ));
    let nobody = Introspector::new(AnswerExpectations::default());
    let outcome = nobody.judge_signed(&good, "gateway", &[], &KEYS.set, at(NOW));
    assert!(matches!(
        outcome,
        Err(IntrospectionError::Signed(TokenError::Issuer))
    ));
    // And an answer is no access token.
    refuses(
        &good,
        "the token's type `token-introspection+jwt` is not accepted here",
    );
}

#[test]
fn the_question() {
    let body = |token: &str| introspection_body(token).map(|body| body.expose().clone());
    assert_eq!(
        body("aB0-._~+/=="),
        Ok("token=aB0-._%7E%2B%2F%3D%3D&token_type_hint=access_token".into())
    );
    for token in ["", "=", "a b", "a&b", "a=b", "é", "a\r\n", "a%20", "\"a\""] {
        assert_eq!(body(token), Err(TokenError::NotOpaque), "{token}");
    }
    assert!(body(&"a".repeat(MAX_TOKEN)).is_ok());
    assert_eq!(body(&"a".repeat(MAX_TOKEN + 1)), Err(TokenError::TooLarge));

    // `a:b c` and `p%é+/` form-encoded, with the colon between them: RFC 6749, section 2.3.1.
    let value = client_authorization("a:b c", &Secret::new("p%é+/".to_owned()));
    let encoded = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        "a%3Ab+c:p%25%C3%A9%2B%2F",
    );
    assert_eq!(*value.expose(), format!("Basic {encoded}"));
    assert_eq!(format!("{value:?}"), "[redacted]");
}

fn cache() -> OpaqueCache {
    OpaqueCache::new(100, Duration::from_secs(60), Duration::from_secs(5))
}

fn kept(cache: &OpaqueCache, token: &str, seconds: u64) -> Option<bool> {
    cache
        .get(token, &introspector(), at(seconds))
        .map(|answer| matches!(answer, Answer::Active(_)))
}

#[test]
fn answers_are_kept_for_a_while() {
    let (cache, asker) = (cache(), introspector());
    let keep = |token: &str, changes: &[(&str, &str)]| {
        let answer = judge(&answer(changes)).expect("an answer");
        cache.insert(token, &asker, &answer, at(NOW));
    };
    keep("long", &[]);
    keep("short", &[("exp", &(NOW + 10).to_string())]);
    keep("endless", &[("exp", "")]);
    keep("gone", &[("active", "false")]);
    keep("foreign", &[("aud", "\"other\"")]);
    for (token, seconds, expected) in [
        ("long", 0, Some(true)),
        ("long", 59, Some(true)),
        ("long", 60, None),
        ("short", 9, Some(true)),
        ("short", 10, None),
        ("endless", 59, Some(true)),
        ("endless", 60, None),
        ("gone", 4, Some(false)),
        ("gone", 5, None),
        ("foreign", 4, Some(false)),
        ("other", 0, None),
    ] {
        assert_eq!(
            kept(&cache, token, NOW + seconds),
            expected,
            "{token} after {seconds}"
        );
    }
    keep("long", &[]);
    cache.flush();
    assert!(cache.is_empty());
    assert_eq!(kept(&cache, "long", NOW), None);
}

#[test]
fn the_last_answer_counts() {
    let (cache, asker) = (cache(), introspector());
    let (yes, no) = (answer(&[]), answer(&[("active", "false")]));
    for body in [&yes, &no, &yes] {
        let answer = judge(body).expect("an answer");
        cache.insert("t", &asker, &answer, at(NOW));
        assert_eq!(kept(&cache, "t", NOW), Some(body == &yes));
    }
    let others = Introspector::new(AnswerExpectations {
        audience: vec!["other".into()],
        ..introspector().expectations().clone()
    });
    assert!(cache.get("t", &others, at(NOW)).is_none());
}

#[test]
fn invented_tokens_push_no_good_one_out() {
    let (cache, asker) = (cache(), introspector());
    let good = judge(&answer(&[])).expect("an answer");
    cache.insert("good", &asker, &good, at(NOW));
    let none = Answer::Refused(TokenError::Inactive);
    for number in 0..10_000 {
        cache.insert(&format!("invented-{number}"), &asker, &none, at(NOW));
    }
    assert_eq!(kept(&cache, "good", NOW), Some(true));
    assert!(cache.len() < 250, "{}", cache.len());
}
