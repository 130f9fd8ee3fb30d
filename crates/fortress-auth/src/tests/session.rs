//! Sessions of browsers: what can be read back, and by whom.

use fortress_model::Secret;

use super::{NOW, at};
use crate::session::{
    LoginSecrets, MAX_COOKIE, MAX_PIECES, Sealer, SessionError, Stale, challenge, is_local_target,
    join, piece_name, pieces, remove_cookie, same_state, set_cookie,
};

const NAME: &str = "__Host-session";

fn secret(byte: u8) -> Secret<Vec<u8>> {
    Secret::new(vec![byte; 32])
}

fn sealer(client: &str, key: u8, previous: Option<u8>) -> Sealer {
    let previous = previous.map(secret);
    Sealer::new(&secret(key), previous.as_ref(), client).expect("a sealer")
}

fn seal(sealer: &Sealer, content: &[u8]) -> String {
    sealer
        .seal(NAME, &Secret::new(content.to_vec()), [3; 12], at(NOW + 600))
        .expect("a value")
}

#[track_caller]
fn reads(sealer: &Sealer, value: &str, stale: Stale) {
    let opened = sealer.open(NAME, value, at(NOW + 599)).expect("a session");
    assert_eq!(opened.content.expose(), b"alice");
    assert_eq!(opened.expires, at(NOW + 600));
    assert_eq!(opened.is_stale, stale);
}

#[track_caller]
fn unreadable(sealer: &Sealer, name: &str, value: &str) {
    assert_eq!(
        sealer.open(name, value, at(NOW)).err(),
        Some(SessionError::Unreadable)
    );
}

#[test]
fn a_session_is_read_by_its_keys_under_its_name_for_its_client() {
    let own = sealer("web", 1, None);
    let value = seal(&own, b"alice");
    reads(&own, &value, Stale::No);
    reads(&sealer("web", 1, Some(9)), &value, Stale::No);
    reads(&sealer("web", 2, Some(1)), &value, Stale::Yes);
    unreadable(&sealer("web", 2, None), NAME, &value);
    unreadable(&sealer("web", 2, Some(3)), NAME, &value);
    unreadable(&sealer("app", 1, None), NAME, &value);
    unreadable(&own, "__Host-login", &value);
    assert!(
        !value.contains("alice")
            && !format!("{own:?} {:?}", own.open(NAME, &value, at(NOW))).contains("alice")
    );
}

#[test]
fn a_changed_value_is_not_read() {
    let own = sealer("web", 1, None);
    let value = seal(&own, b"alice");
    for at in 0..value.len() {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        unreadable(&own, NAME, std::str::from_utf8(&changed).unwrap());
        unreadable(&own, NAME, value.split_at(at).0);
    }
    unreadable(&own, NAME, &format!("{value}="));
    unreadable(&own, NAME, &format!("{value}AA"));
    unreadable(&own, NAME, &"A".repeat(MAX_PIECES * MAX_COOKIE + 1));
}

#[test]
fn a_session_ends() {
    let own = sealer("web", 1, None);
    let value = seal(&own, b"alice");
    let error = |now| own.open(NAME, &value, at(now)).err();
    assert_eq!(error(NOW + 599), None);
    assert_eq!(error(NOW + 600), Some(SessionError::Expired(0)));
    assert_eq!(error(NOW + 700), Some(SessionError::Expired(100)));
}

#[test]
fn a_long_session_is_cut_into_cookies_and_put_together_again() {
    let own = sealer("web", 1, None);
    for (length, count) in [(5, 1), (2_800, 1), (2_900, 2), (8_000, 3), (11_000, 4)] {
        let content = vec![7; length];
        let cut = pieces(NAME, &seal(&own, &content));
        assert_eq!(cut.len(), count, "{length}");
        let names: Vec<_> = (0..count).map(|index| piece_name(NAME, index)).collect();
        for (name, piece) in names.iter().zip(&cut) {
            assert!(name.len() + piece.len() <= MAX_COOKIE, "{length}");
        }
        let find = |wanted: &str| {
            let index = names.iter().position(|name| name == wanted)?;
            Some(cut[index].as_str())
        };
        let joined = join(NAME, find).expect("a first piece");
        let opened = own.open(NAME, &joined, at(NOW)).expect("a session");
        assert_eq!(opened.content.expose(), &content);
        // A piece that is gone, or one more than there should be, is noticed or ignored.
        if count > 1 {
            let torn = join(NAME, |name| find(name).filter(|_| name != names[1]));
            unreadable(&own, NAME, &torn.expect("a first piece"));
        }
        let stale = join(NAME, |name| find(name).or(Some("stale")));
        assert_eq!(stale.as_deref(), Some(joined.as_str()));
        assert_eq!(join(NAME, |_| None), None);
        unreadable(
            &own,
            NAME,
            &join(NAME, |_| Some("9")).expect("a first piece"),
        );
        unreadable(
            &own,
            NAME,
            &join(NAME, |_| Some("")).expect("a first piece"),
        );
    }
    let large = own.seal(NAME, &Secret::new(vec![7; 11_700]), [0; 12], at(NOW));
    assert_eq!(large, Err(SessionError::TooLarge));
}

#[test]
fn cookies_are_kept_from_scripts_and_other_hosts() {
    assert_eq!(
        set_cookie(NAME, "v", 600),
        "__Host-session=v; Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
    );
    assert_eq!(
        remove_cookie(NAME),
        "__Host-session=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    );
    let short = Secret::new(vec![1; 31]);
    assert!(Sealer::new(&short, None, "web").is_err());
    assert!(Sealer::new(&secret(1), Some(&short), "web").is_err());
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
