//! The cache never serves what the verifier would not.

use std::sync::Arc;

use super::*;
use crate::Cache;

#[test]
fn a_token_is_served_until_it_expires() {
    let cache = Cache::new(100);
    let verifier = Verifier::new(Expectations {
        leeway: LEEWAY,
        ..expectations()
    });
    let token = token(&[]);
    assert!(cache.get(&token, &verifier, &KEYS.set, at(NOW)).is_none());
    let first = verifier
        .verify_cached(&token, &KEYS.set, at(NOW), &cache)
        .expect("valid");
    let second = verifier
        .verify_cached(&token, &KEYS.set, at(NOW + 329), &cache)
        .expect("valid");
    assert!(Arc::ptr_eq(&first, &second));
    let end = Timestamp(at(NOW + 330).0 - 1);
    assert!(cache.get(&token, &verifier, &KEYS.set, end).is_some());
    assert!(
        cache
            .get(&token, &verifier, &KEYS.set, at(NOW + 330))
            .is_none()
    );
    assert!(cache.is_empty(), "what expired is dropped when it is met");
    verifier
        .verify_cached(&token, &KEYS.set, at(NOW + 330), &cache)
        .expect_err("expired");
    assert!(cache.is_empty(), "refusals are not kept");
}

#[test]
fn other_keys_do_not_serve_it() {
    let cache = Cache::new(100);
    let verifier = Verifier::new(expectations());
    let token = token(&[]);
    verifier
        .verify_cached(&token, &KEYS.set, at(NOW), &cache)
        .expect("valid");
    let rotated = set(&sign::key_set(&[&KEYS.rs256]));
    assert!(cache.get(&token, &verifier, &rotated, at(NOW)).is_none());
    let error = verifier
        .verify_cached(&token, &rotated, at(NOW), &cache)
        .expect_err("the key is gone");
    assert!(matches!(error, TokenError::UnknownKey { .. }), "{error}");
    let fetched_again = KEYS.set.clone();
    verifier
        .verify_cached(&token, &fetched_again, at(NOW), &cache)
        .expect("valid");
    assert!(cache.get(&token, &verifier, &KEYS.set, at(NOW)).is_some());
    cache.flush();
    assert!(cache.get(&token, &verifier, &KEYS.set, at(NOW)).is_none());
}

#[test]
fn other_expectations_do_not_serve_it() {
    let cache = Cache::new(100);
    let verifier = Verifier::new(expectations());
    let token = token(&[]);
    verifier
        .verify_cached(&token, &KEYS.set, at(NOW), &cache)
        .expect("valid");
    let same = Verifier::new(expectations());
    assert!(
        cache.get(&token, &same, &KEYS.set, at(NOW)).is_some(),
        "after a reload"
    );
    let changes: [fn(&mut Expectations); 6] = [
        |e| e.issuer = "https://other.example.com".into(),
        |e| e.audience.push("other".into()),
        |e| e.algorithms = vec![Algorithm::Rs256],
        |e| e.leeway = LEEWAY,
        |e| e.token_type = Some("at+jwt".into()),
        |e| e.scope_claim = Some("roles".into()),
    ];
    for change in changes {
        let mut other = expectations();
        change(&mut other);
        let other = Verifier::new(other);
        assert!(cache.get(&token, &other, &KEYS.set, at(NOW)).is_none());
    }
    assert!(cache.get(&token, &verifier, &KEYS.set, at(NOW)).is_some());
}

#[test]
fn tokens_are_told_apart_and_bounded() {
    let cache = Cache::new(10);
    let verifier = Verifier::new(expectations());
    for number in 0..100 {
        let token = token(&[("sub", &format!("\"user {number}\""))]);
        let verified = verifier.verify_cached(&token, &KEYS.set, at(NOW), &cache);
        assert_eq!(*verified.expect("valid").subject, format!("user {number}"));
        if let Some(served) = cache.get(&token, &verifier, &KEYS.set, at(NOW)) {
            assert_eq!(*served.subject, format!("user {number}"));
        }
        let (stem, _) = token.split_at(token.len() - 1);
        assert!(cache.get(stem, &verifier, &KEYS.set, at(NOW)).is_none());
    }
    assert!((1..=16).contains(&cache.len()), "{}", cache.len());
}
