//! What the verifier accepts and refuses, seen from outside: one line a case, tokens made by
//! [`sign`](crate::sign).

mod authentications;
mod basic;
mod cached;
mod certificate;
mod confusion;
mod differential;
mod introspected;
mod keys;
mod login;
mod message_signature;
mod mutations;
mod outward;
mod proofs;
mod registered_claims;
mod revoked;
mod session;
mod shared_secrets;
mod standards;
mod syntax;
mod vectors;
mod webhook;

use std::{sync::LazyLock, time::Duration};

use fortress_model::Timestamp;

use crate::{
    Algorithm, Expectations, JwkSet, TokenError, Verified, Verifier,
    sign::{self, SigningKey},
};

const NOW: u64 = 1_790_000_000;
const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "orders-api";

/// One key for each of these algorithms, named after it.
struct Keys {
    es256: SigningKey,
    es384: SigningKey,
    rs256: SigningKey,
    eddsa: SigningKey,
    set: JwkSet,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let make = |algorithm: Algorithm| {
        SigningKey::generate(algorithm, algorithm.name()).expect("a key can be made")
    };
    let es256 = make(Algorithm::Es256);
    let es384 = make(Algorithm::Es384);
    let rs256 = make(Algorithm::Rs256);
    let eddsa = make(Algorithm::EdDsa);
    let set = set(&sign::key_set(&[&es256, &es384, &rs256, &eddsa]));
    Keys {
        es256,
        es384,
        rs256,
        eddsa,
        set,
    }
});

/// A set of which no key is left out.
#[track_caller]
fn set(json: &str) -> JwkSet {
    let (set, left_out) = JwkSet::parse(json.as_bytes()).expect("a key set");
    assert!(left_out.is_empty(), "{left_out:?}");
    set
}

fn expectations() -> Expectations {
    Expectations {
        issuer: ISSUER.into(),
        audience: vec![AUDIENCE.into()],
        ..Expectations::default()
    }
}

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000_000)
}

/// A valid token's claims with changes, as JSON: a claim is replaced, added, or, where its value
/// is empty, left out.
fn claims(changes: &[(&str, &str)]) -> String {
    let (issuer, audience) = (sign::quoted(ISSUER), sign::quoted(AUDIENCE));
    let expires = (NOW + 300).to_string();
    let members = [
        ("iss", issuer.as_str()),
        ("aud", audience.as_str()),
        ("exp", expires.as_str()),
        ("sub", "\"alice\""),
        ("scope", "\"orders:read orders:write\""),
    ];
    object(&members, changes)
}

/// An object of members, as JSON texts, of which some are changed, added, or taken away by an empty
/// text.
fn object(members: &[(&str, &str)], changes: &[(&str, &str)]) -> String {
    let mut members = members.to_vec();
    for change in changes {
        match members.iter_mut().find(|member| member.0 == change.0) {
            Some(member) => *member = *change,
            None => members.push(*change),
        }
    }
    let members: Vec<String> = members
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{}:{value}", sign::quoted(name)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A token with changed claims.
fn token(changes: &[(&str, &str)]) -> String {
    KEYS.es256.sign(&claims(changes)).expect("a token")
}

/// A token with valid claims under this header.
fn headed(header: &str) -> String {
    let claims = claims(&[]);
    KEYS.es256
        .sign_raw(header.as_bytes(), claims.as_bytes())
        .expect("a token")
}

fn verify(token: &str) -> Result<Verified, TokenError> {
    Verifier::new(expectations()).verify(token, &KEYS.set, at(NOW))
}

#[track_caller]
fn accepts(token: &str) -> Verified {
    verify(token).unwrap_or_else(|error| panic!("refused: {error}"))
}

#[track_caller]
fn refuses(token: &str, why: &str) {
    refused(verify(token), why);
}

#[track_caller]
fn refused(outcome: Result<Verified, TokenError>, why: &str) {
    match outcome {
        Ok(verified) => panic!("accepted for {:?}, not refused: {why}", verified.subject),
        Err(error) => assert_eq!(error.to_string(), why),
    }
}

/// Under other expectations, at another time.
#[track_caller]
fn judged(
    change: impl FnOnce(&mut Expectations),
    token: &str,
    seconds: u64,
) -> Result<Verified, TokenError> {
    let mut expectations = expectations();
    change(&mut expectations);
    Verifier::new(expectations).verify(token, &KEYS.set, at(seconds))
}

const LEEWAY: Duration = Duration::from_secs(30);
