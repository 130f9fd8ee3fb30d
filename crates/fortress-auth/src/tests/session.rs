//! Sessions of browsers: what can be read back, and by whom.

use std::time::Duration;

use fortress_model::Secret;

use super::{NOW, at};
use crate::session::{
    LoginSecrets, MAX_COOKIE, SessionCookie, SessionError, Stale, challenge, is_local_target,
    same_state,
};

fn secret(byte: u8) -> Secret<Vec<u8>> {
    Secret::new(vec![byte; 32])
}

fn cookie(name: &str, key: u8, previous: Option<u8>) -> SessionCookie {
    let previous = previous.map(secret);
    SessionCookie::new(
        name,
        &secret(key),
        previous.as_ref(),
        Duration::from_secs(600),
    )
    .expect("a cookie")
}

fn seal(cookie: &SessionCookie, content: &[u8]) -> String {
    cookie
        .seal(&Secret::new(content.to_vec()), [3; 12], at(NOW))
        .expect("a value")
}

#[track_caller]
fn reads(cookie: &SessionCookie, value: &str, stale: Stale) {
    let opened = cookie.open(value, at(NOW + 599)).expect("a session");
    assert_eq!(opened.content.expose(), b"alice");
    assert_eq!(opened.expires, at(NOW + 600));
    assert_eq!(opened.is_stale, stale);
}

#[track_caller]
fn unreadable(cookie: &SessionCookie, value: &str) {
    assert_eq!(
        cookie.open(value, at(NOW)).err(),
        Some(SessionError::Unreadable)
    );
}

#[test]
fn a_session_is_read_by_its_keys_under_its_name() {
    let own = cookie("session", 1, None);
    let value = seal(&own, b"alice");
    reads(&own, &value, Stale::No);
    reads(&cookie("session", 1, Some(9)), &value, Stale::No);
    reads(&cookie("session", 2, Some(1)), &value, Stale::Yes);
    unreadable(&cookie("session", 2, None), &value);
    unreadable(&cookie("session", 2, Some(3)), &value);
    unreadable(&cookie("login", 1, None), &value);
    assert!(
        !value.contains("alice")
            && !format!("{own:?} {:?}", own.open(&value, at(NOW))).contains("alice")
    );
}

#[test]
fn a_changed_value_is_not_read() {
    let own = cookie("session", 1, None);
    let value = seal(&own, b"alice");
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        unreadable(&own, std::str::from_utf8(&changed).unwrap());
        unreadable(&own, value.split_at(at).0);
    }
    unreadable(&own, &format!("{value}="));
    unreadable(&own, &format!("{value}AA"));
    unreadable(&own, &"A".repeat(MAX_COOKIE + 1));
}

#[test]
fn a_session_ends() {
    let own = cookie("session", 1, None);
    let value = seal(&own, b"alice");
    assert_eq!(
        own.open(&value, at(NOW + 600)).err(),
        Some(SessionError::Expired(0))
    );
    assert_eq!(
        own.open(&value, at(NOW + 700)).err(),
        Some(SessionError::Expired(100))
    );
}

#[test]
fn a_session_fits_a_cookie() {
    let own = cookie("session", 1, None);
    let fits = seal(&own, &[7; 2_850]);
    assert!(own.name().len() + fits.len() <= MAX_COOKIE);
    let large = own.seal(&Secret::new(vec![7; 2_900]), [0; 12], at(NOW));
    assert_eq!(large, Err(SessionError::TooLarge));
}

#[test]
fn cookies_are_kept_from_scripts_and_other_hosts() {
    let own = cookie("session", 1, None);
    assert_eq!(
        own.set("v"),
        "__Host-session=v; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
    );
    assert_eq!(
        own.remove(),
        "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    );
    for name in ["", "a b", "a=b", "a;", "\u{e9}", &"a".repeat(65)] {
        assert!(
            SessionCookie::new(name, &secret(1), None, Duration::from_secs(1)).is_err(),
            "{name}"
        );
    }
    let short = Secret::new(vec![1; 31]);
    assert!(SessionCookie::new("a", &short, None, Duration::from_secs(1)).is_err());
    assert!(SessionCookie::new("a", &secret(1), Some(&short), Duration::from_secs(1)).is_err());
    assert!(SessionCookie::new("a", &secret(1), None, Duration::ZERO).is_err());
}

#[test]
fn a_page_proves_that_it_is_of_this_session() {
    let own = cookie("session", 1, None);
    let token = own.csrf_token(b"one");
    assert!(own.is_csrf_token(b"one", &token));
    assert!(cookie("session", 2, Some(1)).is_csrf_token(b"one", &token));
    assert!(!own.is_csrf_token(b"two", &token));
    assert!(!cookie("session", 2, None).is_csrf_token(b"one", &token));
    for token in ["", "AAAA", "?", token.split_at(1).1] {
        assert!(!own.is_csrf_token(b"one", token), "{token}");
    }
}

#[test]
fn a_login_has_secrets_of_its_own() {
    // RFC 7636, appendix B.
    assert_eq!(
        challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    );
    let login = LoginSecrets::new(&[[1; 32], [2; 32], [3; 32]]);
    assert_eq!(login.verifier.expose().len(), 43);
    assert_eq!(login.challenge(), challenge(login.verifier.expose()));
    assert!(login.state != login.nonce && login.state.len() == 43);
    assert!(same_state(&login.state, &login.state.clone()));
    assert!(!same_state(&login.state, &login.nonce));
    assert!(!same_state(&login.state, ""));
    assert!(!format!("{login:?}").contains(login.verifier.expose().as_str()));
}

#[test]
fn one_returns_to_this_host_only() {
    for target in ["/", "/orders?id=1&next=//x#top", "/a%2fb"] {
        assert!(is_local_target(target), "{target}");
    }
    let long = format!("/{}", "a".repeat(1 << 10));
    for target in [
        "",
        "orders",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil",
        "https://evil.example",
        "/a\r\nSet-Cookie: x",
        "/\t/evil",
        "/a b",
        "/\u{e9}",
        "javascript:alert(1)",
        &long,
    ] {
        assert!(!is_local_target(target), "{target}");
    }
}
