//! What the gateway says of callers to others: internal tokens and exchanged ones.

use std::{sync::Arc, time::Duration};

use fortress_model::Timestamp;

use super::{NOW, at, set};
use crate::{
    Algorithm, Expectations, TokenError, Value, Verifier,
    exchange::{ExchangeCache, ExchangeError, ExchangeFor, Exchanged, MAX_ANSWER, read_answer},
    internal::{
        ClaimSource, InternalCache, InternalError, InternalIssuer, InternalKeys, InternalSubject,
        NoClaims,
    },
    json::{Object, read_object},
    sign::SigningKey,
};

fn key(name: &str) -> SigningKey {
    SigningKey::generate(Algorithm::Es256, name).expect("a key")
}

fn issuer(claims: &[&str]) -> InternalIssuer {
    let claims = claims.iter().map(|name| (*name).into()).collect();
    InternalIssuer::new(
        "https://gateway.example.com",
        "orders",
        Duration::from_secs(60),
        claims,
    )
    .expect("an issuer")
}

/// A token of this moment.
fn issue(
    issuer: &InternalIssuer,
    keys: &InternalKeys,
    of: &InternalSubject<'_>,
    id: [u8; 16],
    now: Timestamp,
) -> Result<String, InternalError> {
    issuer.issue(keys, &issuer.statement(of)?, id, now)
}

fn verifier() -> Verifier {
    Verifier::new(Expectations {
        issuer: "https://gateway.example.com".into(),
        audience: vec!["orders".into()],
        ..Expectations::default()
    })
}

#[derive(Debug)]
struct Given(Object);

impl ClaimSource for Given {
    fn claim(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

fn given(json: &str) -> Given {
    Given(read_object(json.as_bytes(), 8).expect("claims"))
}

#[test]
fn an_upstream_can_verify_that_the_gateway_spoke() {
    let keys = InternalKeys::new(key("a"), key("b"), at(NOW)).expect("keys");
    let claims =
        given(r#"{"tenant":{"id":"a\"b","n":[1.50,true,null]},"secret":"x","roles":["r"]}"#);
    let scopes = ["read", "write"];
    let of = InternalSubject {
        subject: "alice",
        identity: "idp",
        expires: None,
        scopes: &scopes,
        claims: &claims,
    };
    let token = issue(
        &issuer(&["tenant", "roles", "absent"]),
        &keys,
        &of,
        [7; 16],
        at(NOW),
    )
    .expect("a token");
    let verified = verifier()
        .verify(&token, &set(&keys.key_set()), at(NOW + 59))
        .expect("a valid token");
    assert_eq!(&*verified.subject, "alice");
    assert_eq!(verified.scopes, scopes.map(Box::from));
    assert_eq!(verified.expires, Some(NOW + 60));
    let all = verified.claims.all();
    let names: Vec<&str> = all.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "iss", "sub", "aud", "identity", "scope", "tenant", "roles", "iat", "exp", "jti"
        ]
    );
    assert_eq!(all.get("tenant"), claims.0.get("tenant"));
    assert_eq!(
        verified.claims.text("jti"),
        Some("07070707070707070707070707070707")
    );

    let late = verifier().verify(&token, &set(&keys.key_set()), at(NOW + 60));
    assert_eq!(late.err(), Some(TokenError::Expired(0)));
    let others = InternalKeys::new(key("a"), key("b"), at(NOW)).expect("keys");
    let forged = verifier().verify(&token, &set(&others.key_set()), at(NOW));
    assert_eq!(forged.err(), Some(TokenError::Signature));
}

#[test]
fn a_subject_cannot_write_claims() {
    let keys = InternalKeys::new(key("a"), key("b"), at(NOW)).expect("keys");
    let scopes = [r#"x","sub":"root"#];
    let of = InternalSubject {
        subject: r#"a","sub":"root"#,
        identity: "idp",
        expires: None,
        scopes: &scopes,
        claims: &NoClaims,
    };
    let token = issue(&issuer(&["tenant"]), &keys, &of, [0; 16], at(NOW)).expect("a token");
    let verified = verifier()
        .verify(&token, &set(&keys.key_set()), at(NOW))
        .expect("a valid token");
    assert_eq!(&*verified.subject, r#"a","sub":"root"#);
}

#[test]
fn keys_are_published_before_and_after_they_sign() {
    let mut keys = InternalKeys::new(key("k0"), key("k1"), at(NOW)).expect("keys");
    let of = InternalSubject {
        subject: "alice",
        identity: "idp",
        expires: None,
        scopes: &[],
        claims: &NoClaims,
    };
    let issuer = issuer(&[]);
    let mut published = set(&keys.key_set());
    for round in 0..4_u64 {
        let now = at(NOW + round);
        let token = issue(&issuer, &keys, &of, [1; 16], now).expect("a token");
        // With the set of before the last rotation, and with the one of after the next.
        assert!(
            verifier().verify(&token, &published, now).is_ok(),
            "{round}"
        );
        published = set(&keys.key_set());
        assert_eq!(keys.current().id(), format!("k{round}"));
        keys = keys
            .rotated(key(&format!("k{}", round + 2)), at(NOW + round + 1))
            .expect("keys");
        assert!(
            verifier()
                .verify(&token, &set(&keys.key_set()), now)
                .is_ok(),
            "{round}"
        );
        assert_eq!(set(&keys.key_set()).len(), 3);
    }
    assert!(!keys.is_due(Duration::from_secs(10), at(NOW + 13)));
    assert!(keys.is_due(Duration::from_secs(10), at(NOW + 14)));
    assert!(!keys.key_set().contains("\"d\""));
}

#[test]
fn a_key_is_named_by_its_thumbprint() {
    let key = key("a").named_by_thumbprint().expect("a name");
    assert_eq!(key.id().len(), 43);
    let again = key.id().to_owned();
    assert_eq!(key.named_by_thumbprint().expect("a name").id(), again);
    let ed25519 = SigningKey::generate(Algorithm::Ed25519, "b").expect("a key");
    assert_ne!(ed25519.named_by_thumbprint().expect("a name").id(), again);
}

#[test]
fn unfit_keys_and_claims_are_refused() {
    assert!(InternalKeys::new(key("a"), key("a"), at(NOW)).is_err());
    let es384 = || SigningKey::generate(Algorithm::Es384, "c").expect("a key");
    assert!(InternalKeys::new(es384(), key("a"), at(NOW)).is_err());
    let keys = InternalKeys::new(key("a"), key("b"), at(NOW)).expect("keys");
    assert!(keys.rotated(key("a"), at(NOW)).is_err());
    assert!(keys.rotated(es384(), at(NOW)).is_err());
    let made = |claims: &[&str], seconds| {
        let claims = claims.iter().map(|name| (*name).into()).collect();
        InternalIssuer::new("i", "a", Duration::from_secs(seconds), claims)
    };
    assert!(made(&["tenant"], 60).is_ok());
    for own in [
        "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "scope", "identity", "cnf",
    ] {
        assert!(made(&[own], 60).is_err(), "{own}");
    }
    assert!(made(&["a", "a"], 60).is_err());
    assert!(made(&["a"; 33], 60).is_err());
    assert!(made(&[], 4).is_err());
    assert!(made(&[], 601).is_err());
    assert!(InternalIssuer::new("", "a", Duration::from_secs(60), vec![]).is_err());
    let long = given(&format!(r#"{{"a":"{}"}}"#, "x".repeat(7 << 10)));
    let of = InternalSubject {
        subject: "alice",
        identity: "idp",
        expires: None,
        scopes: &[],
        claims: &long,
    };
    assert_eq!(
        issue(&issuer(&["a"]), &keys, &of, [0; 16], at(NOW)),
        Err(InternalError::TooLarge)
    );
}

#[test]
fn keys_of_the_operator_stay() {
    let keys = InternalKeys::fixed(key("a"), Some(key("b")), at(NOW)).expect("keys");
    assert_eq!(set(&keys.key_set()).len(), 2);
    assert_eq!(keys.current().id(), "a");
    assert!(!keys.is_due(Duration::from_secs(1), at(NOW + 100_000)));
    assert!(keys.rotated(key("c"), at(NOW)).is_err());
    let alone = InternalKeys::fixed(key("a"), None, at(NOW)).expect("keys");
    assert_eq!(set(&alone.key_set()).len(), 1);
    assert!(InternalKeys::fixed(key("a"), Some(key("a")), at(NOW)).is_err());
}

#[test]
fn a_token_is_kept_for_half_of_its_time_and_for_the_same_words_alone() {
    let keys = InternalKeys::new(key("a"), key("b"), at(NOW)).expect("keys");
    let cache = InternalCache::new();
    let issuer = issuer(&[]);
    let of = |subject, expires| InternalSubject {
        subject,
        identity: "idp",
        expires,
        scopes: &[],
        claims: &NoClaims,
    };
    let get = |keys: &InternalKeys, subject, expires, now| {
        let statement = issuer.statement(&of(subject, expires)).expect("short");
        let random = || {
            let mut id = [0; 16];
            aws_lc_rs::rand::fill(&mut id).expect("random bytes");
            Ok::<_, InternalError>(id)
        };
        let token = cache.get_or_issue(&issuer, keys, statement, random, at(now));
        token.expect("a token").expose().clone()
    };
    let first = get(&keys, "alice", None, NOW);
    assert_eq!(get(&keys, "alice", None, NOW + 29), first);
    assert_ne!(get(&keys, "bob", None, NOW + 29), first);
    assert_ne!(get(&keys, "alice", None, NOW + 30), first);
    let rotated = keys.rotated(key("c"), at(NOW)).expect("keys");
    assert_ne!(get(&rotated, "alice", None, NOW), first);
    // It does not outlive the credential.
    let short = get(&keys, "alice", Some(NOW + 10), NOW);
    assert_ne!(short, first);
    let key_set = set(&keys.key_set());
    let verified = verifier().verify(&short, &key_set, at(NOW)).expect("valid");
    assert_eq!(verified.expires, Some(NOW + 10));
    assert_eq!(get(&keys, "alice", Some(NOW + 10), NOW + 9), short);
    assert_ne!(get(&keys, "alice", Some(NOW + 10), NOW + 10), short);
    // What is accepted within the leeway is told for as long as a token lives at least.
    for over in [NOW - 10, NOW, NOW + 1] {
        let late = get(&keys, "alice", Some(over), NOW);
        let verified = verifier().verify(&late, &key_set, at(NOW)).expect("valid");
        assert_eq!(verified.expires, Some(NOW + 5), "{over}");
    }
}

#[test]
fn the_question_of_an_exchange() {
    let to = ExchangeFor {
        audience: Some("orders & more".into()),
        resource: Some("https://orders.example.com/".into()),
        scopes: vec!["a".into(), "b".into()],
    };
    assert_eq!(
        to.form("x.y+z").expose(),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=x.y%2Bz&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&audience=orders+%26+more&resource=https%3A%2F%2Forders.example.com%2F&scope=a+b"
    );
    assert!(!ExchangeFor::default().form("t").expose().contains("scope"));
}

const ANSWER: &str = r#"{"access_token":"new","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":60}"#;

#[test]
fn answers_are_read_strictly() {
    let read = |answer: &str| read_answer(answer.as_bytes(), at(NOW));
    let got = read(ANSWER).expect("a token");
    assert_eq!(got.token.expose(), "new");
    assert_eq!(got.until, at(NOW + 50));
    assert!(!format!("{got:?}").contains("new"));
    assert_eq!(
        read(&ANSWER.replace("Bearer", "bearer")).map(|got| got.until),
        Ok(at(NOW + 50))
    );
    assert_eq!(
        read(&ANSWER.replace(",\"expires_in\":60", "")).map(|got| got.until),
        Ok(at(NOW))
    );
    assert_eq!(
        read(&ANSWER.replace("60", "99999999999")).map(|got| got.until),
        Ok(at(NOW + 86_390))
    );
    for (from, to) in [
        ("\"access_token\":\"new\",", ""),
        ("\"new\"", "1"),
        ("\"new\"", "\"\""),
        ("\"new\"", "\"a b\""),
        ("\"new\"", "\"a\\r\\nb\""),
        ("Bearer", "DPoP"),
        ("Bearer", "N_A"),
        ("\"Bearer\"", "null"),
        ("access_token\",\"token_type", "saml2\",\"token_type"),
        ("60", "\"60\""),
        ("60", "-1"),
        ("60", "1.5"),
        ("}", "}}"),
        ("{", "{\"access_token\":\"other\","),
        ("\"new\"", &format!("\"{}\"", "x".repeat(17 << 10))),
    ] {
        let changed = ANSWER.replacen(from, to, 1);
        assert_ne!(changed, ANSWER);
        assert!(
            matches!(read(&changed), Err(ExchangeError::Malformed(_))),
            "{changed}"
        );
    }
    let refused = read(r#"{"error":"invalid_target","error_description":"no"}"#);
    assert_eq!(
        refused.err().map(|error| error.to_string()),
        Some("the token exchange was refused: `invalid_target`".into())
    );
    assert!(read(r#"{"error":1}"#).is_err());
    assert_eq!(
        read_answer(&vec![b' '; MAX_ANSWER + 1], at(NOW)).err(),
        Some(ExchangeError::TooLarge)
    );
}

impl PartialEq for Exchanged {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until && self.token.expose() == other.token.expose()
    }
}

#[test]
fn answers_are_kept_while_they_are_valid() {
    let cache = ExchangeCache::new(10);
    let to = |audience: &str| ExchangeFor {
        audience: Some(audience.into()),
        ..ExchangeFor::default()
    };
    let got = Arc::new(read_answer(ANSWER.as_bytes(), at(NOW)).expect("a token"));
    cache.insert(&to("a"), "old", Arc::clone(&got), at(NOW));
    assert_eq!(
        cache.get(&to("a"), "old", at(NOW + 49)),
        Some(Arc::clone(&got))
    );
    assert_eq!(cache.get(&to("b"), "old", at(NOW)), None);
    assert_eq!(cache.get(&to("a"), "other", at(NOW)), None);
    assert_eq!(cache.get(&to("a"), "old", at(NOW + 50)), None);
    assert!(cache.is_empty());
    let brief = Exchanged {
        until: at(NOW),
        ..(*got).clone()
    };
    cache.insert(&to("a"), "old", Arc::new(brief), at(NOW));
    assert!(cache.is_empty());
    cache.insert(&to("a"), "old", got, Timestamp(0));
    cache.flush();
    assert_eq!(cache.len(), 0);
}
