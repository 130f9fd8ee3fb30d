//! DPoP proofs: what holds for its request, and what does not.

use std::time::Duration;

use fortress_model::Secret;

use super::*;
use crate::{
    Dpop, DpopError, Nonces, Proof, ProofTarget, ReplayCache, TokenScheme, bind, proof_field,
    thumbprint::read_hash, verify::sha256,
};

const METHOD: &str = "GET";
const URI: &str = "https://api.example.com/v1/orders?page=2";
const TOKEN: &str = "an.access.token";

fn target() -> ProofTarget<'static> {
    ProofTarget {
        method: METHOD,
        uri: URI,
        token: Some(TOKEN),
        nonces: None,
    }
}

fn encode(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

/// A valid proof's claims with changes, as [`claims`].
fn proof_claims(changes: &[(&str, &str)]) -> String {
    let hash = sign::quoted(&encode(&sha256(&[TOKEN.as_bytes()])));
    let issued = NOW.to_string();
    let members = [
        ("jti", "\"e1j3V_bKic8-LAEB\""),
        ("htm", "\"GET\""),
        ("htu", "\"https://api.example.com/v1/orders\""),
        ("iat", issued.as_str()),
        ("ath", hash.as_str()),
    ];
    object(&members, changes)
}

fn signed(key: &SigningKey, header: &str, changes: &[(&str, &str)]) -> String {
    key.sign_raw(header.as_bytes(), proof_claims(changes).as_bytes())
        .expect("a proof")
}

fn proof(changes: &[(&str, &str)]) -> String {
    signed(&KEYS.es256, &KEYS.es256.proof_header(), changes)
}

fn judge(proof: &str) -> Result<Proof, DpopError> {
    Dpop::default().verify(proof, &target(), at(NOW))
}

#[track_caller]
fn good(changes: &[(&str, &str)]) {
    judge(&proof(changes)).unwrap_or_else(|error| panic!("{changes:?}: {error}"));
}

#[track_caller]
fn bad(changes: &[(&str, &str)], why: &str) {
    assert_eq!(
        judge(&proof(changes)).unwrap_err().to_string(),
        why,
        "{changes:?}"
    );
}

#[track_caller]
fn bad_header(header: &str, why: &str) {
    let proof = signed(&KEYS.es256, header, &[]);
    assert_eq!(judge(&proof).unwrap_err().to_string(), why, "{header}");
}

#[test]
fn a_proof_of_each_algorithm_holds() {
    for &algorithm in Algorithm::ALL {
        if algorithm.is_symmetric() {
            continue;
        }
        let key = SigningKey::generate(algorithm, "k").expect("a key");
        let proof = signed(&key, &key.proof_header(), &[]);
        let proof = judge(&proof).unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(proof.issued, at(NOW));
    }
}

#[test]
fn only_for_its_method_uri_and_token() {
    good(&[]);
    good(&[("htu", "\"https://API.example.com:443/v1/orders?other#x\"")]);
    good(&[("htu", "\"https://api.example.com/v1/../v1/%6frders\"")]);
    bad(
        &[("htm", "\"POST\"")],
        "the DPoP proof is for another method",
    );
    bad(
        &[("htm", "\"get\"")],
        "the DPoP proof is for another method",
    );
    let other_uri = "the DPoP proof is for another URI";
    bad(
        &[("htu", "\"https://api.example.com/v1/orders/\"")],
        other_uri,
    );
    bad(
        &[("htu", "\"http://api.example.com/v1/orders\"")],
        other_uri,
    );
    bad(
        &[("htu", "\"https://api.example.com:8443/v1/orders\"")],
        other_uri,
    );
    bad(
        &[("htu", "\"https://evil.example.com/v1/orders\"")],
        other_uri,
    );
    bad(
        &[("htu", "\"https://u@api.example.com/v1/orders\"")],
        other_uri,
    );
    bad(&[("htu", "\"/v1/orders\"")], other_uri);
    bad(&[("htu", "\"\"")], other_uri);
    bad(
        &[("ath", "\"AAAA\"")],
        "the DPoP proof is for another token",
    );
    let padded = format!("\"{}=\"", encode(&sha256(&[TOKEN.as_bytes()])));
    bad(&[("ath", &padded)], "the DPoP proof is for another token");

    let without = ProofTarget {
        token: None,
        ..target()
    };
    let dpop = Dpop::default();
    dpop.verify(&proof(&[("ath", "")]), &without, at(NOW))
        .expect("no token was shown");
    let relative = ProofTarget {
        uri: "/v1/orders",
        ..target()
    };
    let error = dpop.verify(&proof(&[("htu", "\"/v1/orders\"")]), &relative, at(NOW));
    assert_eq!(error, Err(DpopError::Target));
}

#[test]
fn only_for_a_while() {
    let dpop = Dpop::default();
    let judge = |seconds| dpop.verify(&proof(&[]), &target(), at(seconds));
    assert!(judge(NOW + 60).is_ok());
    assert_eq!(judge(NOW + 61), Err(DpopError::TooOld(61)));
    assert!(judge(NOW - 5).is_ok());
    assert_eq!(judge(NOW - 6), Err(DpopError::FromFuture(6)));
    assert_eq!(dpop.window(), Duration::from_secs(65));
}

#[test]
fn claims_have_their_types() {
    let prefix = "the DPoP proof, read as a token, is refused: ";
    for name in ["jti", "htm", "htu", "iat", "ath"] {
        bad(&[(name, "")], &format!("{prefix}the token has no `{name}`"));
    }
    for name in ["jti", "htm", "htu", "ath", "nonce"] {
        bad(
            &[(name, "1")],
            &format!("{prefix}the token's `{name}` is not a string"),
        );
    }
    let iat = format!(
        "{prefix}the token's `iat` is not a number of seconds since 1970, up to the year 9999"
    );
    for value in ["\"1\"", "null", "-1", "1e30", "1790000000000"] {
        bad(&[("iat", value)], &iat);
    }
    let jti = format!("{prefix}the token's `jti` is not a non-empty string of at most 256 bytes");
    bad(&[("jti", "\"\"")], &jti);
    good(&[("jti", &format!("\"{}\"", "x".repeat(256)))]);
    bad(&[("jti", &format!("\"{}\"", "x".repeat(257)))], &jti);
    let twice = proof_claims(&[]).replacen('{', "{\"htm\":\"GET\",", 1);
    let header = KEYS.es256.proof_header();
    let twice = KEYS
        .es256
        .sign_raw(header.as_bytes(), twice.as_bytes())
        .expect("a proof");
    assert_eq!(
        judge(&twice).unwrap_err().to_string(),
        format!("{prefix}the token's payload is malformed: a member stands twice")
    );
}

#[test]
fn headers_that_are_no_proofs() {
    let jwk = KEYS.es256.public_jwk();
    let prefix = "the DPoP proof, read as a token, is refused: ";
    let header = |members: &str| format!(r#"{{"alg":"ES256",{members}}}"#);
    let typed = "the DPoP proof's type is not `dpop+jwt`";
    bad_header(&header(&format!(r#""jwk":{jwk}"#)), typed);
    bad_header(&header(&format!(r#""typ":"JWT","jwk":{jwk}"#)), typed);
    bad_header(&header(&format!(r#""typ":"at+jwt","jwk":{jwk}"#)), typed);
    let no_key = format!("{prefix}the token's header is malformed: no object `jwk`");
    bad_header(&header(r#""typ":"dpop+jwt""#), &no_key);
    bad_header(&header(r#""typ":"dpop+jwt","jwk":"x""#), &no_key);
    for name in ["jku", "x5u", "x5c", "crit", "b64"] {
        let header = header(&format!(r#""typ":"dpop+jwt","jwk":{jwk},"{name}":[]"#));
        bad_header(
            &header,
            &format!("{prefix}the token's header has `{name}`, which is never accepted"),
        );
    }
    let none = format!(r#"{{"alg":"none","typ":"dpop+jwt","jwk":{jwk}}}"#);
    bad_header(
        &none,
        &format!("{prefix}the token's algorithm `none` is never accepted"),
    );
    let hmac = format!(r#"{{"alg":"HS256","typ":"dpop+jwt","jwk":{jwk}}}"#);
    bad_header(&hmac, "the DPoP proof's algorithm `HS256` is not accepted");
}

#[test]
fn keys_that_prove_nothing() {
    let with = |jwk: &str| format!(r#"{{"alg":"ES256","typ":"dpop+jwt","jwk":{jwk}}}"#);
    let private = KEYS.es256.public_jwk().replacen('{', r#"{"d":"AA","#, 1);
    bad_header(
        &with(&private),
        "the DPoP proof's key is refused: it holds private members, so it is compromised; publish a new key without them",
    );
    bad_header(
        &with(r#"{"kty":"oct","k":"AAAA"}"#),
        "the DPoP proof's key is refused: it is symmetric",
    );
    bad_header(
        &with("{}"),
        "the DPoP proof's key is refused: it has no `kty`",
    );
    bad_header(
        &with(&KEYS.rs256.public_jwk()),
        "the DPoP proof's key is refused: it is not a key for ES256",
    );
    let other = SigningKey::generate(Algorithm::Es256, "other").expect("a key");
    bad_header(
        &with(&other.public_jwk()),
        "the DPoP proof's signature does not verify",
    );

    let only_rsa = Dpop {
        algorithms: vec![Algorithm::Rs256],
        ..Dpop::default()
    };
    assert_eq!(only_rsa.algorithm_names(), "RS256");
    assert_eq!(
        only_rsa.verify(&proof(&[]), &target(), at(NOW)),
        Err(DpopError::Algorithm(Algorithm::Es256))
    );
    assert!(!Dpop::default().algorithm_names().contains("HS"));
    assert!(Dpop::default().algorithm_names().contains("ES256"));
}

/// RFC 9449, section 7.1, and the proof of section 4.1.
#[test]
fn the_examples_of_the_standard() {
    const FOR_TOKEN: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
    const FOR_RESOURCE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
    let key = read_hash("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").expect("a hash");
    let dpop = Dpop::default();
    let token_request = ProofTarget {
        method: "POST",
        uri: "https://server.example.com/token",
        token: None,
        nonces: None,
    };
    let proof = dpop
        .verify(FOR_TOKEN, &token_request, at(1_562_262_616))
        .expect("section 4.1");
    assert_eq!(proof.thumbprint, key);
    let request = ProofTarget {
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
        nonces: None,
    };
    let proof = dpop
        .verify(FOR_RESOURCE, &request, at(1_562_262_618))
        .expect("section 7.1");
    assert_eq!(proof.thumbprint, key);
    let stolen = ProofTarget {
        token: Some("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxV"),
        ..request
    };
    let outcome = dpop.verify(FOR_RESOURCE, &stolen, at(1_562_262_618));
    assert_eq!(outcome, Err(DpopError::Token));
}

/// Each byte counts: with any one of them changed or left out, the proof does not hold.
#[test]
fn no_byte_of_a_proof_can_be_changed() {
    let proof = signed(&KEYS.eddsa, &KEYS.eddsa.proof_header(), &[]);
    judge(&proof).expect("as it was made");
    for at in 0..proof.len() {
        let (before, after) = proof.split_at(at);
        let (byte, after) = after.split_at(1);
        judge(&format!("{before}{after}")).expect_err("a byte left out");
        for other in ["A", "b", "-", "=", ".", " "] {
            if other != byte {
                judge(&format!("{before}{other}{after}")).expect_err("a byte changed");
            }
        }
    }
}

#[test]
fn a_nonce_is_demanded_or_not() {
    let nonces = Nonces::new(&Secret::new([7; 32]), Duration::from_secs(60));
    let demanding = ProofTarget {
        nonces: Some(&nonces),
        ..target()
    };
    let judge = |proof: &str| Dpop::default().verify(proof, &demanding, at(NOW));
    let error = judge(&proof(&[])).unwrap_err();
    assert_eq!(error, DpopError::NonceMissing);
    assert_eq!(error.code(), "use_dpop_nonce");
    let error = judge(&proof(&[("nonce", "\"x\"")])).unwrap_err();
    assert_eq!(
        (error.clone(), error.code()),
        (DpopError::Nonce, "use_dpop_nonce")
    );
    let nonce = sign::quoted(&nonces.issue(at(NOW)));
    judge(&proof(&[("nonce", &nonce)])).expect("a current nonce");
    good(&[("nonce", "\"whatever\"")]);
}

#[test]
fn one_header_field() {
    let fields = |values: &[&'static str]| {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        proof_field(values.into_iter())
    };
    assert_eq!(fields(&[]), Ok(None));
    assert_eq!(fields(&["a.b.c"]), Ok(Some("a.b.c")));
    assert_eq!(fields(&["a.b.c", "a.b.c"]), Err(DpopError::Several));
    assert_eq!(fields(&["é"]), Err(DpopError::NotAscii));
    // What a proxy joined is no proof either.
    assert!(matches!(
        judge("a.b.c, a.b.c"),
        Err(DpopError::Jws(TokenError::NotCompact(_)))
    ));
}

/// The whole way of a bound token: verified, bound to its proof, and used once.
#[test]
fn a_bound_token_counts_once_and_for_its_holder_alone() {
    let holder = judge(&proof(&[])).expect("a proof");
    let cnf = format!(r#"{{"jkt":"{}"}}"#, encode(&holder.thumbprint));
    let verified = accepts(&token(&[("cnf", &cnf)]));
    let bound = |proof, scheme| bind(&verified.confirmation, proof, None, scheme);
    assert_eq!(bound(Some(&holder), TokenScheme::Dpop), Ok(()));
    assert!(bound(Some(&holder), TokenScheme::Bearer).is_err());
    assert!(bound(None, TokenScheme::Dpop).is_err());
    let thief = signed(&KEYS.rs256, &KEYS.rs256.proof_header(), &[]);
    let thief = judge(&thief).expect("a proof of its own");
    assert!(bound(Some(&thief), TokenScheme::Dpop).is_err());
    assert_ne!(
        thief.jti_hash, holder.jti_hash,
        "the same `jti`, but another key"
    );

    let used = ReplayCache::new(1_000, Dpop::default().window());
    assert_eq!(used.remember(&holder, at(NOW)), Ok(()));
    assert_eq!(
        used.remember(&holder, at(NOW + 1)),
        Err(DpopError::Replayed)
    );
    refuses(
        &token(&[("cnf", "{\"kid\":\"1\"}")]),
        "the token is bound (`cnf`) in a way that is not verified here",
    );
}
