//! What a token costs: verified, found in the cache, and the bare signature to compare with.

use std::{hint::black_box, time::Duration};

use aws_lc_rs::{
    digest,
    signature::{self, ParsedPublicKey, VerificationAlgorithm},
};
use divan::Bencher;
use fortress_auth::{
    Algorithm, Answer, AnswerExpectations, Cache, Dpop, Expectations, Introspector, JwkSet,
    OpaqueCache, ProofTarget, Revocation, RevocationTarget, Revocations, Verifier, peek_issuer,
    sign::{self, SigningKey},
};
use fortress_model::Timestamp;

fn main() {
    divan::main();
}

const NOW: Timestamp = Timestamp(1_790_000_000 * 1_000_000_000);
const ALGORITHMS: [Algorithm; 3] = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];
/// An access token as a large identity provider issues it.
const CLAIMS: &str = r#"{"iss":"https://idp.example.com","aud":["orders-api","account"],
"exp":1790000300,"iat":1790000000,"nbf":1790000000,"jti":"0f9c2a4e-5a75-4d0c-9a3e-2b1f8a6f3c11",
"sub":"7d1f1c9e-6c6a-4f0e-8f8d-0a4b6c1d2e3f","azp":"web","sid":"e1b5f2b4-5d0e-4c5b-9b0a-7f6e5d4c3b2a",
"acr":"1","realm_access":{"roles":["offline_access","default","user"]},
"resource_access":{"account":{"roles":["manage-account","view-profile"]}},
"scope":"openid profile email orders:read orders:write","email_verified":true,
"name":"Alice Example","preferred_username":"alice","email":"alice@example.com"}"#;

struct Case {
    verifier: Verifier,
    keys: JwkSet,
    token: String,
    bare: ParsedPublicKey,
    signature: Vec<u8>,
}

fn case(algorithm: Algorithm) -> Option<Case> {
    let key = SigningKey::generate(algorithm, "2026-01").ok()?;
    let token = key.sign(CLAIMS).ok()?;
    let (keys, _) = JwkSet::parse(sign::key_set(&[&key]).as_bytes()).ok()?;
    let (signed, _) = token.rsplit_once('.')?;
    let signature = key.signature(signed.as_bytes()).ok()?;
    Some(Case {
        verifier: Verifier::new(Expectations {
            issuer: "https://idp.example.com".into(),
            audience: vec!["orders-api".into()],
            ..Expectations::default()
        }),
        bare: bare(&key)?,
        keys,
        signature,
        token,
    })
}

/// The library's own key, without anything of ours around it.
fn bare(key: &SigningKey) -> Option<ParsedPublicKey> {
    let algorithm: &'static dyn VerificationAlgorithm = if key.algorithm() == Algorithm::Es256 {
        &signature::ECDSA_P256_SHA256_FIXED
    } else if key.algorithm() == Algorithm::Rs256 {
        &signature::RSA_PKCS1_2048_8192_SHA256
    } else {
        &signature::ED25519
    };
    ParsedPublicKey::new(algorithm, key.public_key()).ok()
}

#[divan::bench(args = ALGORITHMS)]
fn bare_signature(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    if let Some(case) = case(algorithm) {
        let signed = case.token.rsplit_once('.').map_or("", |(signed, _)| signed);
        bencher.bench(|| {
            case.bare
                .verify_sig(black_box(signed.as_bytes()), &case.signature)
        });
    }
}

#[divan::bench(args = ALGORITHMS)]
fn verified(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    if let Some(case) = case(algorithm) {
        bencher.bench(|| {
            case.verifier
                .verify(black_box(&case.token), &case.keys, NOW)
        });
    }
}

/// The most used crate for it, with the same library under it and as strict as it can be told to be.
#[divan::bench(args = ALGORITHMS)]
fn jsonwebtoken(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let named = if algorithm == Algorithm::Es256 {
        jsonwebtoken::Algorithm::ES256
    } else if algorithm == Algorithm::Rs256 {
        jsonwebtoken::Algorithm::RS256
    } else {
        jsonwebtoken::Algorithm::EdDSA
    };
    let mut validation = jsonwebtoken::Validation::new(named);
    validation.set_issuer(&["https://idp.example.com"]);
    validation.set_audience(&["orders-api"]);
    // The token's time is the benchmark's, which this crate does not take as an argument.
    validation.validate_exp = false;
    if let Ok(key) = SigningKey::generate(algorithm, "2026-01")
        && let Ok(token) = key.sign(CLAIMS)
        && let Ok(set) = serde_json::from_str::<jsonwebtoken::jwk::JwkSet>(&sign::key_set(&[&key]))
        && let Some(jwk) = set.keys.first()
        && let Ok(key) = jsonwebtoken::DecodingKey::from_jwk(jwk)
    {
        bencher.bench(|| {
            jsonwebtoken::decode::<serde_json::Value>(black_box(&token), &key, &validation)
        });
    }
}

#[divan::bench(args = ALGORITHMS)]
fn cached(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    if let Some(case) = case(algorithm) {
        let cache = Cache::new(10_000);
        bencher.bench(|| {
            case.verifier
                .verify_cached(black_box(&case.token), &case.keys, NOW, &cache)
        });
    }
}

/// A proof is never cached: each request brings a new one, with the key inside.
#[divan::bench(args = ALGORITHMS)]
fn proof(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    const PROOF: &str = r#"{"jti":"e1j3V_bKic8-LAEB","htm":"GET",
"htu":"https://api.example.com/v1/orders","iat":1790000000}"#;
    let target = ProofTarget {
        method: "GET",
        uri: "https://api.example.com/v1/orders?page=2",
        token: None,
        nonces: None,
    };
    if let Ok(key) = SigningKey::generate(algorithm, "client")
        && let Ok(proof) = key.sign_raw(key.proof_header().as_bytes(), PROOF.as_bytes())
    {
        let dpop = Dpop::default();
        bencher.bench(|| dpop.verify(black_box(&proof), &target, NOW));
    }
}

/// A token that is not among a hundred thousand revoked ones.
#[divan::bench]
fn revoked(bencher: Bencher<'_, '_>) {
    let records = (0..100_000).map(|number| Revocation {
        target: RevocationTarget::Token {
            issuer: "https://idp.example.com".into(),
            id: number.to_string().into(),
        },
        issued_before: None,
        until: None,
    });
    if let (Ok(revoked), Some(case)) = (Revocations::build(records, NOW), case(Algorithm::Es256))
        && let Ok(verified) = case.verifier.verify(&case.token, &case.keys, NOW)
    {
        let issuer = "https://idp.example.com";
        bencher.bench(|| revoked.check(black_box(&verified), issuer, NOW));
    }
}

const ANSWER_LIFE: Duration = Duration::from_secs(60);

/// What an issuer said a moment ago about an opaque token.
#[divan::bench]
fn introspected(bencher: Bencher<'_, '_>) {
    let asked = Introspector::new(AnswerExpectations::default());
    let answer = CLAIMS.replacen('{', r#"{"active":true,"#, 1);
    if let Ok(answer @ Answer::Active(_)) = asked.judge(answer.as_bytes(), NOW) {
        let cache = OpaqueCache::new(10_000, ANSWER_LIFE, ANSWER_LIFE);
        let token = "2YotnFZFEjr1zCsicMWpAA";
        cache.insert(token, &asked, &answer, NOW);
        bencher.bench(|| cache.get(black_box(token), &asked, NOW));
    }
}

#[divan::bench]
fn hashed(bencher: Bencher<'_, '_>) {
    if let Some(case) = case(Algorithm::Es256) {
        bencher.bench(|| digest::digest(&digest::SHA256, black_box(case.token.as_bytes())));
    }
}

#[divan::bench]
fn peeked(bencher: Bencher<'_, '_>) {
    if let Some(case) = case(Algorithm::Es256) {
        bencher.bench(|| peek_issuer(black_box(&case.token)));
    }
}
