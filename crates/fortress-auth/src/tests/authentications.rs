//! How and when a subject authenticated: step-up demands, and the ID tokens of logins.

use std::time::Duration;

use super::*;
use crate::{IdTokenError, IdTokenVerifier, Login, StepUp, StepUpError};

const CLIENT: &str = "web";

fn demand(acr: &[&str], max_age: Option<u64>) -> StepUp {
    let acr = acr.iter().map(|one| (*one).to_owned());
    StepUp::new(
        acr,
        max_age.map(Duration::from_secs),
        Duration::from_secs(5),
    )
    .expect("a demand")
}

#[test]
fn classes_of_authentication() {
    let mfa = demand(&["urn:mfa", "urn:hardware"], None);
    let check = |demand: &StepUp, changes: &[(&str, &str)]| {
        demand.check(&accepts(&token(changes)), at(NOW))
    };
    assert_eq!(check(&mfa, &[("acr", "\"urn:mfa\"")]), Ok(()));
    assert_eq!(check(&mfa, &[("acr", "\"urn:hardware\"")]), Ok(()));
    for acr in [
        "",
        "\"urn:password\"",
        "\"URN:MFA\"",
        "\"urn:mfa urn:hardware\"",
        "1",
        "[\"urn:mfa\"]",
    ] {
        assert_eq!(
            check(&mfa, &[("acr", acr)]),
            Err(StepUpError::Class),
            "{acr}"
        );
    }
    assert_eq!(check(&demand(&[], None), &[]), Ok(()));
}

#[test]
fn ages_of_authentication() {
    let recent = demand(&[], Some(300));
    let check =
        |auth_time: &str| recent.check(&accepts(&token(&[("auth_time", auth_time)])), at(NOW));
    assert_eq!(check(&NOW.to_string()), Ok(()));
    assert_eq!(check(&(NOW - 305).to_string()), Ok(()));
    assert_eq!(
        check(&(NOW - 306).to_string()),
        Err(StepUpError::TooOld(306))
    );
    assert_eq!(check(&(NOW + 5).to_string()), Ok(()));
    for unknown in ["", "\"1\"", "null", "1e99", &(NOW + 6).to_string()] {
        assert_eq!(check(unknown), Err(StepUpError::AgeUnknown), "{unknown}");
    }
}

#[test]
fn challenges_say_what_to_do() {
    assert_eq!(
        demand(&["urn:mfa", "urn:hardware"], Some(300)).challenge(),
        "error=\"insufficient_user_authentication\", \
         error_description=\"a different authentication is required\", \
         acr_values=\"urn:mfa urn:hardware\", max_age=\"300\""
    );
    for bad in ["", "a b", "a\"b", "a\\b", "a\nb", "é"] {
        assert!(
            StepUp::new([bad.to_owned()], None, Duration::ZERO).is_err(),
            "{bad:?}"
        );
    }
}

fn verifier() -> IdTokenVerifier {
    IdTokenVerifier::new(ISSUER.into(), CLIENT.into(), Vec::new(), Duration::ZERO)
}

fn login() -> Login<'static> {
    Login {
        nonce: "n-0S6_WzA2Mj",
        access_token: Some(ACCESS_TOKEN),
        max_age: None,
    }
}

const ACCESS_TOKEN: &str = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";

/// An ID token with changed claims, of the given type.
fn id_token(token_type: &str, changes: &[(&str, &str)]) -> String {
    let issued = NOW.to_string();
    let mut all = vec![
        ("aud", "\"web\""),
        ("iat", issued.as_str()),
        ("nonce", "\"n-0S6_WzA2Mj\""),
        ("scope", ""),
    ];
    for change in changes {
        match all.iter_mut().find(|member| member.0 == change.0) {
            Some(member) => *member = *change,
            None => all.push(*change),
        }
    }
    KEYS.es256
        .sign_raw(
            KEYS.es256.header(token_type).as_bytes(),
            claims(&all).as_bytes(),
        )
        .expect("a token")
}

fn log_in(changes: &[(&str, &str)]) -> Result<Verified, IdTokenError> {
    verifier().verify(&id_token("JWT", changes), &KEYS.set, &login(), at(NOW))
}

#[track_caller]
fn refused_login(changes: &[(&str, &str)], why: &str) {
    assert_eq!(
        log_in(changes).expect_err("refused").to_string(),
        why,
        "{changes:?}"
    );
}

#[test]
fn the_answer_to_a_login() {
    assert_eq!(&*log_in(&[]).expect("a login").subject, "alice");
    log_in(&[("azp", "\"web\"")]).expect("the client itself");
    log_in(&[("aud", "[\"web\",\"api\"]"), ("azp", "\"web\"")]).expect("several audiences");
    // OpenID Connect Core, appendix A.4: the hash of this access token under SHA-256.
    log_in(&[("at_hash", "\"77QmUPtjPfzWtF2AnpK9RQ\"")]).expect("its access token");

    let other = "the ID token answers another login";
    refused_login(&[("nonce", "\"other\"")], other);
    refused_login(&[("nonce", "")], other);
    refused_login(&[("nonce", "\"\"")], other);
    refused_login(&[("nonce", "1")], "the token's `nonce` is not a string");
    let party = "the ID token was issued to another client";
    refused_login(&[("azp", "\"app\"")], party);
    refused_login(&[("aud", "[\"web\",\"api\"]")], party);
    refused_login(&[("aud", "[\"web\",\"api\"]"), ("azp", "\"api\"")], party);
    let foreign = "the ID token came with another access token";
    refused_login(&[("at_hash", "\"77QmUPtjPfzWtF2AnpK9RR\"")], foreign);
    refused_login(&[("at_hash", "\"\"")], foreign);
    refused_login(&[("aud", "\"app\"")], "the token is for another audience");
    refused_login(&[("iss", "\"x\"")], "the token is from another issuer");
    refused_login(&[("sub", "")], "the token has no `sub`");
    refused_login(&[("iat", "")], "the token has no `iat`");
    refused_login(
        &[("exp", "1")],
        &format!("the token expired {} s ago", NOW - 1),
    );
}

#[test]
fn no_other_token_answers_a_login() {
    let judge =
        |token: &str, login: &Login<'_>| verifier().verify(token, &KEYS.set, login, at(NOW));
    for (kind, shown) in [("at+jwt", "`at+jwt`"), ("logout+jwt", "`logout+jwt`")] {
        let error = judge(&id_token(kind, &[]), &login()).expect_err("another kind");
        let expected = format!("the token's type {shown} is not accepted here");
        assert_eq!(error.to_string(), expected);
    }
    let forgotten = Login {
        nonce: "",
        ..login()
    };
    let outcome = judge(&id_token("JWT", &[("nonce", "")]), &forgotten);
    assert_eq!(outcome.expect_err("no nonce was sent"), IdTokenError::Nonce);
    // At the API an ID token is for another audience: the client.
    refuses(&id_token("JWT", &[]), "the token is for another audience");
}

#[test]
fn a_login_may_have_to_be_recent() {
    let recent = Login {
        max_age: Some(Duration::from_secs(300)),
        ..login()
    };
    let judge = |auth_time: &str| {
        let token = id_token("JWT", &[("auth_time", auth_time)]);
        verifier().verify(&token, &KEYS.set, &recent, at(NOW))
    };
    judge(&(NOW - 300).to_string()).expect("recent");
    for auth_time in ["", &(NOW - 301).to_string(), &(NOW + 1).to_string()] {
        let error = judge(auth_time).expect_err("not recent");
        assert_eq!(error, IdTokenError::Age, "{auth_time}");
    }
}

#[test]
fn refreshed_tokens_are_of_the_same_person_and_login() {
    let before = log_in(&[("auth_time", "1000")]).expect("a login");
    let refreshed = |changes: &[(&str, &str)]| {
        let token = id_token("JWT", changes);
        verifier().verify_refreshed(&token, &KEYS.set, &before, ACCESS_TOKEN, at(NOW))
    };
    let same = [("nonce", "\"n-0S6_WzA2Mj\""), ("auth_time", "1000")];
    assert_eq!(&*refreshed(&same).expect("the same").subject, "alice");
    assert!(refreshed(&[("nonce", "")]).is_ok(), "it need not be there");
    let error = |changes: &[(&str, &str)]| refreshed(changes).expect_err("refused");
    assert_eq!(error(&[("sub", "\"bob\"")]), IdTokenError::Subject);
    assert_eq!(error(&[("nonce", "\"other\"")]), IdTokenError::Nonce);
    assert_eq!(error(&[("auth_time", "2000")]), IdTokenError::Age);
    let party = IdTokenError::AuthorizedParty;
    assert_eq!(error(&[("azp", "\"app\"")]), party);
    let foreign = ("at_hash", "\"77QmUPtjPfzWtF2AnpK9RR\"");
    assert_eq!(error(&[foreign]), IdTokenError::AccessToken);
    for change in [
        ("iss", "\"x\""),
        ("aud", "\"app\""),
        ("iat", ""),
        ("exp", "1"),
    ] {
        let error = error(&[change]);
        assert!(
            matches!(error, IdTokenError::Token(_)),
            "{change:?}: {error}"
        );
    }
}
