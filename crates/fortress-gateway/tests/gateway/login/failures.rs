//! Whatever is not the answer to a login of this browser begins no session.

use std::time::{Duration, Instant};

use super::{As, Browser, Shop, parameter, seen};
use crate::support::Response;

/// The answer does not count, and the journal says why.
#[track_caller]
fn fails(shop: &Shop, browser: &Browser, response: &Response, why: &str) {
    assert_eq!(seen(response), (400, "login.failed".into()), "{response:?}");
    let event = shop.event(response);
    assert!(event.contains(why), "{why}: {event}");
    assert!(
        browser
            .names("__Host-fortress-web")
            .iter()
            .all(|name| name.contains(".login."))
    );
}

/// The address that the issuer sends a browser back to.
fn back(shop: &Shop, browser: &mut Browser) -> String {
    browser.until(&shop.url("/page"), "alice", "/_session/callback")
}

/// With another value of a parameter.
fn with(url: &str, name: &str, value: &str) -> String {
    let old = parameter(url, name).unwrap();
    let mut encoded = String::new();
    for part in url.split('&') {
        let (key, rest) = part.split_once('=').unwrap();
        let bare = key.rsplit('?').next().unwrap();
        let kept = if bare == name { value } else { rest };
        encoded.push_str(&format!(
            "{}{key}={kept}",
            if encoded.is_empty() { "" } else { "&" }
        ));
    }
    assert!(!old.is_empty());
    encoded
}

#[test]
fn answers_that_belong_to_no_login_of_this_browser() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    let url = back(&shop, &mut browser);
    // Somebody else's browser, or one that lost its cookies.
    let mut other = Browser::default();
    let elsewhere = other.open(&url);
    fails(
        &shop,
        &other,
        &elsewhere,
        "belongs to no login of this browser",
    );
    let mut other = Browser::default();
    other.open(&shop.url("/page"));
    let foreign = other.open(&url);
    fails(
        &shop,
        &other,
        &foreign,
        "belongs to no login of this browser",
    );
    // Another state, or none.
    for state in ["A".repeat(43), "x".into(), String::new()] {
        let response = browser.open(&with(&url, "state", &state));
        let why = if state.is_empty() {
            "no `state`"
        } else {
            "belongs to no login"
        };
        fails(&shop, &browser, &response, why);
    }
    let bare = browser.open(&shop.url("/_session/callback"));
    fails(&shop, &browser, &bare, "no `state`");
    // None of these spoilt the login itself.
    assert_eq!(browser.clone().open(&url).status, 303);
    // And it counts once, though the cookie be kept.
    let again = browser.open(&url);
    fails(&shop, &browser, &again, "was given before");
}

#[test]
fn answers_in_another_name_or_without_one() {
    let Some(shop) = Shop::start() else { return };
    for (value, why) in [
        ("http%3A%2F%2Fevil.test", "from another issuer"),
        ("", "another issuer"),
    ] {
        let mut browser = Browser::default();
        let url = back(&shop, &mut browser);
        let mixed = browser.open(&with(&url, "iss", value));
        fails(&shop, &browser, &mixed, why);
        assert!(
            browser.names("__Host-fortress-").is_empty(),
            "it was the only answer"
        );
    }
    let mut browser = Browser::default();
    let url = back(&shop, &mut browser);
    let issuer = url.split('&').find(|part| part.contains("iss=")).unwrap();
    let silent = browser.open(&url.replace(&format!("&{issuer}"), ""));
    fails(&shop, &browser, &silent, "does not name its issuer");
}

#[test]
fn what_the_issuer_refuses() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    let url = browser.until(&shop.url("/page"), "nobody", "/_session/callback");
    assert_eq!(parameter(&url, "error").as_deref(), Some("access_denied"));
    let denied = browser.open(&url);
    fails(
        &shop,
        &browser,
        &denied,
        "the issuer answers `access_denied`",
    );

    // A code of somebody else's login, and a login begun by somebody else (PKCE).
    let mut browser = Browser::default();
    let url = back(&shop, &mut browser);
    let foreign = parameter(&back(&shop, &mut Browser::default()), "code").unwrap();
    let response = browser.open(&with(&url, "code", &foreign));
    fails(&shop, &browser, &response, "`invalid_grant`");

    let mut browser = Browser::default();
    let sent = browser.open(&shop.url("/page"));
    let location = sent.header("location").unwrap();
    let stolen = with(
        location,
        "code_challenge",
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    );
    let url = browser.until(&stolen, "alice", "/_session/callback");
    let response = browser.open(&url);
    fails(&shop, &browser, &response, "`invalid_grant`");
}

#[test]
fn an_id_token_that_answers_another_login() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    let sent = browser.open(&shop.url("/page"));
    let other = with(sent.header("location").unwrap(), "nonce", "another");
    let url = browser.until(&other, "alice", "/_session/callback");
    let response = browser.open(&url);
    fails(
        &shop,
        &browser,
        &response,
        "the ID token answers another login",
    );
}

#[test]
fn an_issuer_that_is_away() {
    let Some(mut shop) = Shop::start() else {
        return;
    };
    let unavailable = (503, "login.unavailable".to_owned());
    for mood in ["500", "garbage", "401:invalid_client", "429"] {
        let mut browser = Browser::default();
        let url = back(&shop, &mut browser);
        shop.provider.control(&format!("token/{mood}"));
        let response = browser.open(&url);
        if mood == "garbage" {
            fails(&shop, &browser, &response, "malformed");
        } else {
            assert_eq!(seen(&response), unavailable, "{mood}");
        }
        assert!(!shop.event(&response).contains("gw-secret"));
        shop.provider.control("token/ok");
    }
    let mut browser = Browser::default();
    let url = back(&shop, &mut browser);
    shop.provider.child.kill().unwrap();
    shop.provider.child.wait().unwrap();
    assert_eq!(seen(&browser.open(&url)), unavailable);
}

#[test]
fn an_issuer_that_was_never_there_lets_nobody_in() {
    let Some(mut shop) = Shop::start() else {
        return;
    };
    shop.provider.child.kill().unwrap();
    shop.provider.child.wait().unwrap();
    let files = std::fs::read_to_string(shop.gateway.directory.path().join("fortress.yaml"));
    let other = crate::support::Gateway::start(&[
        ("fortress.yaml", &files.unwrap()),
        ("openapi.yaml", super::DESCRIPTION),
    ]);
    let mut browser = Browser::default();
    let page = browser.open(&format!("http://{}/page", other.addresses[0]));
    assert_eq!(seen(&page), (503, "login.unavailable".into()));
}

#[test]
fn nobody_is_sent_to_another_site() {
    let Some(shop) = Shop::start() else { return };
    for target in [
        "%2F%2Fevil.test",
        "%2F%5Cevil.test",
        "https%3A%2F%2Fevil.test",
        "%2Fa%0D%0ASet-Cookie%3Ax",
        "%2F%09%2Fevil.test",
        "javascript%3Aalert(1)",
        "evil",
        "",
    ] {
        let mut browser = Browser::default();
        let link = shop.url(&format!("/_session/login?return={target}"));
        let url = browser.until(&link, "alice", "/_session/callback");
        assert_eq!(browser.open(&url).header("location"), Some("/"), "{target}");
    }
    let mut browser = Browser::default();
    let link = shop.url("/_session/login?return=%2Forders%3Fa%3D%2F%2Fb");
    let url = browser.until(&link, "alice", "/_session/callback");
    assert_eq!(browser.open(&url).header("location"), Some("/orders?a=//b"));
    // Nor by the page itself: what cannot be returned to is not.
    let mut browser = Browser::default();
    let long = shop.url(&format!("/page?x={}", "a".repeat(2_000)));
    let url = browser.until(&long, "alice", "/_session/callback");
    assert_eq!(browser.open(&url).header("location"), Some("/"));
}

#[test]
fn scripts_are_told_and_not_sent() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = Browser::default();
    let told = browser.request("GET", &shop.url("/page"), As::Script, "", "");
    assert_eq!(seen(&told), (401, "credential.missing".into()));
    assert!(
        told.header("www-authenticate")
            .unwrap()
            .starts_with("Bearer ")
    );
    assert!(browser.names("").is_empty());
    let posted = browser.post(&shop.url("/page"), "a=b", "Sec-Fetch-Site: same-origin\r\n");
    assert_eq!(seen(&posted), (401, "credential.missing".into()));
    let token = "Authorization: Bearer e30.e30.c2ln\r\n";
    let shown = browser.request("GET", &shop.url("/page"), As::Page, token, "");
    assert_eq!(shown.status, 401, "who shows a token is no person");
}

#[test]
fn pages_of_other_sites_change_nothing() {
    let Some(shop) = Shop::start() else { return };
    let mut browser = shop.browser("alice");
    let own = format!("http://{}", shop.gateway.addresses[0]);
    let mut post = |more: &str| {
        let response = browser.request("POST", &shop.url("/page"), As::Script, more, "a=b");
        (seen(&response), shop.upstream.received().len())
    };
    let fine = ((200, String::new()), 1);
    assert_eq!(post("Sec-Fetch-Site: same-origin\r\n"), fine);
    assert_eq!(post("Sec-Fetch-Site: none\r\n"), fine);
    assert_eq!(post(&format!("Origin: {own}\r\n")), fine);
    let refused = ((403, "session.cross_site".into()), 0);
    assert_eq!(post("Sec-Fetch-Site: cross-site\r\n"), refused);
    assert_eq!(post("Sec-Fetch-Site: same-site\r\n"), refused);
    assert_eq!(
        post(&format!("Sec-Fetch-Site: cross-site\r\nOrigin: {own}\r\n")),
        refused
    );
    assert_eq!(
        post("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n"),
        refused
    );
    assert_eq!(post("Origin: https://evil.test\r\n"), refused);
    assert_eq!(post("Origin: null\r\n"), refused);
    assert_eq!(post(""), refused);
    // Reading is another matter: a link of another site leads here.
    let more = "Sec-Fetch-Site: cross-site\r\n";
    let page = browser.request("GET", &shop.url("/page"), As::Page, more, "");
    assert_eq!(page.status, 200);
}

#[test]
fn cookies_that_were_not_written_here() {
    let Some(shop) = Shop::start() else { return };
    let browser = shop.browser("alice");
    let name = "__Host-fortress-web";
    let mut changed = browser.clone();
    changed.change(name, |value| {
        let last = value.pop().unwrap();
        value.push(if last == 'A' { 'B' } else { 'A' });
    });
    let told = changed.request("GET", &shop.url("/page"), As::Script, "", "");
    assert_eq!(seen(&told), (401, "session.forged".into()));
    assert!(changed.names(name).is_empty(), "it is taken away");
    let mut cut = browser.clone();
    cut.change(name, |value| value.truncate(value.len() / 2));
    let sent = cut.open(&shop.url("/page"));
    assert_eq!(sent.status, 302, "a person may begin anew");
    assert!(shop.event(&sent).contains("session.forged"));
    let mut free = browser.clone();
    free.change(name, |value| value.insert(3, 'x'));
    assert_eq!(
        shop.ask(&mut free, "/free").0,
        200,
        "where nobody need be known"
    );
}

#[test]
fn a_session_ends_by_itself() {
    // Shorter than the configuration may say.
    let short = |config: &mut fortress_model::config::Config| {
        if let fortress_model::config::IdentityKind::Issuer(issuer) = &mut config.identity[0].kind {
            let login = issuer.login.as_mut().unwrap();
            (login.idle, login.absolute) = (Duration::from_secs(3), Duration::from_secs(6));
        }
    };
    let Some(shop) = Shop::start_with("", "", short) else {
        return;
    };
    let began = Instant::now();
    let mut browser = shop.browser("alice");
    let mut unused = browser.clone();
    let mut lived = Duration::ZERO;
    let end = loop {
        std::thread::sleep(Duration::from_millis(400));
        let asked = began.elapsed();
        match shop.ask(&mut browser, "/page") {
            (200, _) => lived = asked,
            told => break told,
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "no use prolongs it for ever"
        );
    };
    let expired = (401, "credential.expired".to_owned());
    assert_eq!(end, expired);
    assert!(lived > Duration::from_secs(3), "it was used: {lived:?}");
    assert!(
        began.elapsed() >= Duration::from_secs(6),
        "it may last so long"
    );
    assert_eq!(shop.ask(&mut unused, "/page"), expired);
    assert_eq!(browser.open(&shop.url("/page")).status, 302);
}
