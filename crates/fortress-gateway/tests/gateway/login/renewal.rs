//! Sessions that outlive their tokens, their keys, and their issuer's moods.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{As, Shop, config, seen};
use crate::support::send;

/// Tokens that hold so long are renewed in their last fifth.
const LIFETIME: u64 = 5;

fn wait(seconds: f64) {
    thread::sleep(Duration::from_secs_f64(seconds));
}

#[test]
fn many_requests_at_once_renew_a_session_once() {
    let Some(shop) = Shop::start() else { return };
    shop.provider.control(&format!("lifetime/{LIFETIME}"));
    let browser = shop.browser("alice");
    let before = shop.provider.redeemed();
    wait(4.2);
    // A page with many parts, each with the cookie that the page had: the provider takes a refresh
    // token once, and ends everything when it comes again.
    let address = shop.gateway.addresses[0];
    let bytes = browser.bytes("GET", &shop.url("/page"), As::Script, "", "");
    let sent: Vec<_> = (0..8)
        .map(|_| {
            let bytes = bytes.clone();
            thread::spawn(move || send(address, &bytes).remove(0))
        })
        .collect();
    let answers: Vec<_> = sent.into_iter().map(|one| one.join().unwrap()).collect();
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.header("set-cookie").is_some(), "{answer:?}");
    }
    assert_eq!(shop.provider.redeemed(), before + 1);
    // Who comes late with the old cookie is no thief.
    let mut late = browser.clone();
    assert_eq!(shop.ask(&mut late, "/page").0, 200);
    assert_eq!(shop.provider.redeemed(), before + 1);
    // The upstream gets the new token, and the session goes on with any of the answers.
    let tokens: Vec<_> = shop
        .upstream
        .received()
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert!(tokens.windows(2).all(|two| two[0] == two[1]), "{tokens:?}");
    let mut browser = browser;
    browser.keep(&address.to_string(), "/", &answers[7]);
    wait(4.2);
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);
    assert_eq!(shop.provider.redeemed(), before + 2);
}

#[test]
fn a_session_goes_on_without_its_issuer_as_long_as_its_tokens_hold() {
    let Some(shop) = Shop::start() else { return };
    shop.provider.control(&format!("lifetime/{LIFETIME}"));
    let mut browser = shop.browser("alice");
    let began = Instant::now();
    shop.provider.control("token/500");
    wait(4.2);
    assert_eq!(
        shop.ask(&mut browser, "/page").0,
        200,
        "{:?}",
        began.elapsed()
    );
    wait(1.2);
    let unavailable = (503, "login.unavailable".to_owned());
    assert_eq!(shop.ask(&mut browser, "/page"), unavailable);
    // A person is not sent away for that: what is not known to be over is not ended.
    assert_eq!(seen(&browser.open(&shop.url("/page"))), unavailable);
    shop.provider.control("token/ok");
    wait(2.1);
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);
}

#[test]
fn a_session_ends_when_the_issuer_says_so() {
    let Some(shop) = Shop::start() else { return };
    shop.provider.control(&format!("lifetime/{LIFETIME}"));
    let mut browser = shop.browser("alice");
    shop.provider.control("token/400:invalid_grant");
    wait(4.2);
    let copy = browser.clone();
    let told = browser.request("GET", &shop.url("/page"), As::Script, "", "");
    assert_eq!(seen(&told), (401, "credential.expired".into()));
    assert!(shop.event(&told).contains("invalid_grant"));
    assert!(browser.names("__Host-fortress-").is_empty());
    shop.provider.control("token/ok");
    assert_eq!(
        shop.ask(&mut copy.clone(), "/page").0,
        401,
        "once over, always over"
    );
    assert_eq!(browser.open(&shop.url("/page")).status, 302);
}

#[test]
fn a_refresh_token_that_stays_the_same_is_used_again() {
    let Some(shop) = Shop::start() else { return };
    shop.provider.control("rotate/no");
    shop.provider.control(&format!("lifetime/{LIFETIME}"));
    let mut browser = shop.browser("alice");
    let before = shop.provider.redeemed();
    for round in 1..=2 {
        wait(4.2);
        assert_eq!(shop.ask(&mut browser, "/page").0, 200);
        assert_eq!(shop.provider.redeemed(), before + round);
    }
}

#[test]
fn keys_are_replaced_without_logging_anybody_out() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = shop.browser("alice");
    let old = browser.clone();
    let change = |keys: &str| {
        let text = config(&shop.upstream, shop.provider.address, keys, "");
        std::fs::write(shop.gateway.directory.path().join("fortress.yaml"), text).unwrap();
        shop.gateway.reload();
    };
    change("key: env:NEW_COOKIE_KEY, previous_key: env:COOKIE_KEY");
    let page = browser.request("GET", &shop.url("/page"), As::Script, "", "");
    assert_eq!(page.status, 200);
    assert!(page.header("set-cookie").is_some(), "it is written anew");
    change("key: env:NEW_COOKIE_KEY");
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);
    let forged = (401, "session.forged".to_owned());
    assert_eq!(shop.ask(&mut old.clone(), "/page"), forged);
    // The same key for another client is another key.
    change("client_id: post, client_secret: env:SECRET, key: env:NEW_COOKIE_KEY");
    assert_eq!(shop.ask(&mut browser, "/page"), forged);
}

#[test]
fn an_operator_ends_the_sessions_of_a_person() {
    let place = crate::api_keys::Place::new();
    let path = place.path().display();
    let store = format!(
        "store: {{ embedded: {path}/fortress.db, key: file:{path}/store.key, pepper: file:{path}/pepper.key }}"
    );
    let Some(shop) = Shop::start_with("", &store, |_| {}) else {
        return;
    };
    let mut browser = shop.browser("alice");
    let mut other = shop.browser("root");
    assert_eq!(shop.ask(&mut browser, "/page").0, 200);
    place.revoke_at(&format!("http://{}", shop.provider.address), "alice");
    let deadline = Instant::now() + Duration::from_secs(5);
    while shop.ask(&mut browser.clone(), "/page").0 == 200 {
        assert!(Instant::now() < deadline, "the revocation does not arrive");
        wait(0.05);
    }
    let told = shop.ask(&mut browser, "/page");
    assert_eq!(told, (401, "credential.revoked".into()));
    assert!(browser.names("__Host-fortress-").is_empty());
    assert_eq!(shop.ask(&mut other, "/page").0, 200);
    // Who logs in again is somebody new.
    let page = browser.log_in(&shop.url("/page"), "alice");
    assert_eq!(page.status, 200, "{page:?}");
}
