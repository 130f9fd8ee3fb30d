//! Logins of browsers: where they are sent, and which answers count.

use std::time::Duration;

use fortress_model::Secret;

use super::{NOW, at};
use crate::{
    login::{
        Announces, Answer, Client, ClientSecret, Fetch, Lifetimes, LoginError, Pending, Session,
        TokensError, Wanted, cookie_suffix, form_decode, is_navigation, is_same_origin,
        logout_location, read_tokens,
    },
    session::LoginSecrets,
};

const ISSUER: &str = "https://idp.test";

fn client(secret: ClientSecret) -> Client {
    Client {
        id: "we b".into(),
        scopes: vec!["openid".into(), "email".into()],
        secret,
    }
}

fn pending() -> Pending {
    Pending {
        secrets: LoginSecrets::new(&[[1; 32], [2; 32], [3; 32]]),
        redirect_uri: "https://shop.test/_session/callback".into(),
        return_to: "/orders?id=1".into(),
        max_age: Some(Duration::from_secs(300)),
        begun: at(NOW),
    }
}

#[test]
fn a_browser_is_sent_with_all_that_binds_the_answer() {
    let (pending, client) = (pending(), client(ClientSecret::None));
    let acr = ["urn:mfa".to_owned(), "urn:b".to_owned()];
    let wanted = Wanted {
        acr: &acr,
        max_age: None,
        prompt: Some("login"),
    };
    let challenge = pending.secrets.challenge();
    let (state, nonce) = (&pending.secrets.state, &pending.secrets.nonce);
    assert_eq!(
        pending.location("https://idp.test/auth?x=1", &client, &wanted),
        format!(
            "https://idp.test/auth?x=1&response_type=code&client_id=we+b\
             &redirect_uri=https%3A%2F%2Fshop.test%2F_session%2Fcallback&scope=openid+email\
             &state={state}&nonce={nonce}&code_challenge={challenge}&code_challenge_method=S256\
             &acr_values=urn%3Amfa+urn%3Ab&max_age=300&prompt=login"
        )
    );
    let plain = pending.location("https://idp.test/auth", &client, &Wanted::default());
    assert!(plain.starts_with("https://idp.test/auth?response_type=code&"));
    assert!(!plain.contains("acr_values") && !plain.contains("prompt"));
    assert!(!plain.contains(pending.secrets.verifier.expose().as_str()));
}

#[test]
fn a_login_is_kept_as_it_was() {
    let before = pending();
    let bytes = before.encode();
    let after = Pending::decode(bytes.expose()).expect("a login");
    assert_eq!(format!("{before:?}"), format!("{after:?}"));
    assert_eq!(
        before.secrets.verifier.expose(),
        after.secrets.verifier.expose()
    );
    for length in 0..bytes.expose().len() {
        assert!(Pending::decode(bytes.expose().split_at(length).0).is_none());
    }
    assert!(Pending::decode(&[bytes.expose().as_slice(), &[0]].concat()).is_none());
}

#[track_caller]
fn code(query: &str, announces: Announces, seconds: u64) -> Result<String, LoginError> {
    let query = query.replace("STATE", &pending().secrets.state);
    let answer = Answer::read(&query)?;
    let code = pending().code(&answer, ISSUER, announces, at(NOW + seconds))?;
    Ok(code.expose().clone())
}

#[test]
fn the_answer_to_a_login_counts_and_no_other() {
    use Announces::{Issuer, Nothing};
    let good = |query: &str, announces| code(query, announces, 600).expect("a code");
    assert_eq!(good("code=a%2Bb+c&state=STATE", Nothing), "a+b c");
    let named = "state=STATE&iss=https%3A%2F%2Fidp.test&code=a&session_state=x";
    assert_eq!(good(named, Issuer), "a");
    assert_eq!(good(named, Nothing), "a");

    let refused = |query: &str, announces| code(query, announces, 1).expect_err("refused");
    let other = LoginSecrets::new(&[[9; 32]; 3]).state;
    assert_eq!(
        refused(&format!("code=a&state={other}"), Nothing),
        LoginError::State
    );
    assert_eq!(refused("code=a&state=S", Nothing), LoginError::State);
    assert_eq!(
        refused("code=a&state=STATE", Issuer),
        LoginError::IssuerMissing
    );
    let foreign = "code=a&state=STATE&iss=https%3A%2F%2Fevil.test";
    assert_eq!(refused(foreign, Issuer), LoginError::Issuer);
    assert_eq!(refused(foreign, Nothing), LoginError::Issuer);
    let error = refused(
        "error=access_denied&state=STATE&error_description=x",
        Nothing,
    );
    assert_eq!(error.to_string(), "the issuer answers `access_denied`");
    // Whose error is it? That is asked first.
    let foreign = "error=access_denied&state=STATE&iss=https%3A%2F%2Fevil.test";
    assert_eq!(refused(foreign, Nothing), LoginError::Issuer);
    let late = code("code=a&state=STATE", Nothing, 601).expect_err("late");
    assert_eq!(late, LoginError::Late(601));
    for malformed in [
        "",
        "code=a",
        "code=a&state=",
        "state=STATE",
        "code=&state=STATE",
        "code=a&code=b&state=STATE",
        "code=a&state=STATE&state=STATE",
        "code=a&state=STATE&iss=a&iss=b",
        "code=%&state=STATE",
        "code=%ff&state=STATE",
        &format!("code={}&state=STATE", "a".repeat(9_000)),
    ] {
        let error = refused(malformed, Nothing);
        assert!(
            matches!(error, LoginError::Malformed(_)),
            "{malformed}: {error}"
        );
    }
}

#[test]
fn the_state_names_its_cookie() {
    assert_eq!(cookie_suffix("abcd_-12rest"), Some("abcd_-12"));
    for bad in [
        "",
        "short",
        "abcd;f=1x",
        "abc def1",
        "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
    ] {
        assert_eq!(cookie_suffix(bad), None, "{bad}");
    }
}

#[test]
fn the_client_proves_who_it_is() {
    let secret = || Secret::new("s e".to_owned());
    let code = Secret::new("c&d".to_owned());
    let verifier = pending().secrets.verifier.expose().clone();
    let form = format!(
        "grant_type=authorization_code&code=c%26d\
         &redirect_uri=https%3A%2F%2Fshop.test%2F_session%2Fcallback&code_verifier={verifier}"
    );
    let basic = client(ClientSecret::Basic(secret())).redeem(&code, &pending());
    assert_eq!(basic.form.expose(), &form);
    let authorization = basic.authorization.expect("a credential");
    // we+b:s+e
    assert_eq!(authorization.expose(), "Basic d2UrYjpzK2U=");
    let post = client(ClientSecret::Post(secret())).redeem(&code, &pending());
    assert_eq!(
        post.form.expose(),
        &format!("{form}&client_id=we+b&client_secret=s+e")
    );
    assert!(post.authorization.is_none());
    let public = client(ClientSecret::None);
    let refresh = public.refresh(&Secret::new("r".to_owned()));
    assert_eq!(
        refresh.form.expose(),
        "grant_type=refresh_token&refresh_token=r&client_id=we+b"
    );
    let revoke = public.revoke(&Secret::new("r".to_owned()), "refresh_token");
    assert_eq!(
        revoke.form.expose(),
        "token=r&token_type_hint=refresh_token&client_id=we+b"
    );
}

#[test]
fn answers_with_tokens_and_answers_without() {
    let good = r#"{"access_token":"a","token_type":"bearer","id_token":"i","refresh_token":"r","expires_in":60,"scope":"openid"}"#;
    let tokens = read_tokens(good.as_bytes()).expect("tokens");
    assert_eq!(tokens.access_token.expose(), "a");
    assert_eq!(tokens.lifetime, Some(Duration::from_secs(60)));
    assert_eq!(format!("{tokens:?}"), "Tokens([redacted])");
    let least = read_tokens(br#"{"access_token":"a","token_type":"Bearer","refresh_token":null}"#);
    let least = least.expect("tokens");
    assert!(least.id_token.is_none() && least.refresh_token.is_none() && least.lifetime.is_none());
    let text = read_tokens(br#"{"access_token":"a","token_type":"Bearer","expires_in":"60"}"#);
    assert_eq!(
        text.expect("tokens").lifetime,
        Some(Duration::from_secs(60))
    );

    let error = |body: &str| read_tokens(body.as_bytes()).expect_err("none");
    assert!(matches!(
        error(r#"{"error":"invalid_grant"}"#),
        TokensError::Refused(_)
    ));
    assert!(matches!(
        error(r#"{"error":"invalid_client"}"#),
        TokensError::Error(_)
    ));
    for bad in [
        "",
        "[]",
        r#"{"token_type":"Bearer"}"#,
        r#"{"access_token":"a"}"#,
        r#"{"access_token":"a","token_type":"DPoP"}"#,
        r#"{"access_token":"a b","token_type":"Bearer"}"#,
        r#"{"access_token":"","token_type":"Bearer"}"#,
        r#"{"access_token":"a","token_type":"Bearer","expires_in":-1}"#,
        r#"{"access_token":"a","token_type":"Bearer","expires_in":true}"#,
        r#"{"access_token":"a","token_type":"Bearer","expires_in":"soon"}"#,
        r#"{"access_token":"a","token_type":"Bearer","scope":[]}"#,
        r#"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#,
        r#"{"error":1}"#,
    ] {
        assert!(matches!(error(bad), TokensError::Malformed(_)), "{bad}");
    }
}

/// `{"sub":"alice","roles":["admin"],"realm":{"scopes":"x"}}`, between a header and a signature.
const ID_TOKEN: &str =
    "e30.eyJzdWIiOiJhbGljZSIsInJvbGVzIjpbImFkbWluIl0sInJlYWxtIjp7InNjb3BlcyI6IngifX0.c2ln";

fn session(lifetime: Option<u64>, refresh: Option<&str>) -> Session {
    let mut tokens = read_tokens(br#"{"access_token":"a","token_type":"Bearer"}"#).expect("tokens");
    tokens.lifetime = lifetime.map(Duration::from_secs);
    tokens.refresh_token = refresh.map(|token| Secret::new(token.to_owned()));
    let id_token = (Secret::new(ID_TOKEN.to_owned()), Some(NOW + 900));
    let asked = ["openid".to_owned(), "email".to_owned()];
    Session::begin(&[7; 16], tokens, id_token, &asked, at(NOW))
}

#[test]
fn a_session_lasts_as_long_as_its_use_and_no_longer_than_it_may() {
    let session = session(Some(100), Some("r"));
    let lifetimes = Lifetimes {
        idle: Duration::from_secs(80),
        absolute: Duration::from_secs(100),
    };
    assert_eq!(session.ends(&lifetimes), at(NOW + 80));
    assert!(!session.is_to_be_noted(&lifetimes, at(NOW + 9)));
    assert!(session.is_to_be_noted(&lifetimes, at(NOW + 10)));
    let used = Session {
        seen: at(NOW + 50),
        ..session
    };
    assert_eq!(used.ends(&lifetimes), at(NOW + 100));
}

#[test]
fn tokens_are_renewed_before_they_are_over() {
    let short = session(Some(100), Some("r"));
    assert!(!short.is_due(at(NOW + 79)) && short.is_due(at(NOW + 80)));
    assert!(!short.is_over(at(NOW + 99)) && short.is_over(at(NOW + 100)));
    let long = session(Some(3_600), None);
    assert!(!long.is_due(at(NOW + 3_539)) && long.is_due(at(NOW + 3_540)));
    // Else the ID token says it.
    let unsaid = session(None, None);
    assert_eq!(unsaid.expires, at(NOW + 900));

    let answer = br#"{"access_token":"b","token_type":"Bearer","expires_in":50}"#;
    let renewed = short.renewed(read_tokens(answer).expect("tokens"), None, at(NOW + 90));
    assert_eq!(renewed.access_token.expose(), "b");
    assert_eq!(renewed.expires, at(NOW + 140));
    assert_eq!((renewed.started, renewed.got), (at(NOW), at(NOW + 90)));
    let kept = renewed.refresh_token.as_ref().expect("the old one");
    assert_eq!(kept.expose(), "r");
    assert_eq!(renewed.id_token.expose(), ID_TOKEN);
    assert_eq!(renewed.fingerprint(), short.fingerprint());
    let rotated = br#"{"access_token":"b","token_type":"Bearer","refresh_token":"s"}"#;
    let rotated = short.renewed(read_tokens(rotated).expect("tokens"), None, at(NOW + 90));
    assert_eq!(rotated.refresh_token.as_ref().expect("new").expose(), "s");
    assert_ne!(rotated.fingerprint(), short.fingerprint());
}

#[test]
fn a_session_is_who_logged_in() {
    let session = session(Some(60), Some("r"));
    let bytes = session.encode();
    let after = Session::decode(bytes.expose()).expect("a session");
    assert_eq!(after.encode().expose(), bytes.expose());
    for length in 0..bytes.expose().len() {
        assert!(Session::decode(bytes.expose().split_at(length).0).is_none());
    }
    let verified = after.verified(None).expect("a principal");
    assert_eq!(&*verified.subject, "alice");
    assert!(verified.has_scope("email") && !verified.has_scope("x"));
    assert_eq!(verified.expires, Some(NOW + 60));
    assert_eq!(verified.proven.to_string(), "session");
    let claimed = after.verified(Some("realm.scopes")).expect("a principal");
    assert!(claimed.has_scope("x") && claimed.has_scope("email"));
    assert!(!format!("{after:?}").contains(ID_TOKEN));
    let broken = Session {
        id_token: Secret::new("none".to_owned()),
        ..after
    };
    assert!(broken.verified(None).is_none());
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let check = |site, origin, expect| {
        let fetch = Fetch {
            site,
            origin,
            ..Fetch::default()
        };
        assert_eq!(
            is_same_origin(&fetch, "https://shop.test"),
            expect,
            "{fetch:?}"
        );
    };
    check(Some("same-origin"), None, true);
    check(Some("none"), None, true);
    check(None, Some("https://shop.test"), true);
    check(None, Some("HTTPS://Shop.test"), true);
    for site in ["same-site", "cross-site", "", "same-origin, none"] {
        check(Some(site), Some("https://shop.test"), false);
    }
    for origin in [
        "null",
        "http://shop.test",
        "https://shop.test.evil",
        "https://shop.test:8443",
        "",
    ] {
        check(None, Some(origin), false);
    }
    check(None, None, false);
}

#[test]
fn only_a_person_is_sent_to_log_in() {
    let check = |mode, destination, accept, expect| {
        let fetch = Fetch {
            mode,
            destination,
            accept,
            ..Fetch::default()
        };
        assert_eq!(is_navigation(&fetch), expect, "{fetch:?}");
    };
    check(Some("navigate"), Some("document"), None, true);
    check(Some("navigate"), None, Some("*/*"), true);
    check(
        None,
        None,
        Some("text/html,application/xhtml+xml;q=0.9"),
        true,
    );
    check(None, None, Some("application/json, Text/HTML;q=0.1"), true);
    check(Some("cors"), None, Some("text/html"), false);
    check(Some("no-cors"), Some("image"), None, false);
    check(Some("navigate"), Some("iframe"), None, false);
    check(None, None, Some("*/*"), false);
    check(None, None, Some("text/html5"), false);
    check(None, None, None, false);
}

#[test]
fn logout_tells_the_issuer_whose_session_ends() {
    let client = client(ClientSecret::None);
    let location = |token: &str| {
        let token = Secret::new(token.to_owned());
        logout_location(
            "https://idp.test/end",
            &client,
            &token,
            "https://shop.test/",
        )
    };
    assert_eq!(
        location("a.b.c"),
        "https://idp.test/end?id_token_hint=a.b.c&client_id=we+b&post_logout_redirect_uri=https%3A%2F%2Fshop.test%2F"
    );
    assert!(!location(&"a".repeat(7_000)).contains("id_token_hint"));
}

#[test]
fn values_of_queries() {
    assert_eq!(form_decode("a%2Fb+c%C3%A9").as_deref(), Some("a/b c\u{e9}"));
    for bad in ["%", "%2", "%zz", "%ff", "%C3"] {
        assert_eq!(form_decode(bad), None, "{bad}");
    }
}
