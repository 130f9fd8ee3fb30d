//! Key sets: what is read, what is left out and why, what is an error.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::*;
use crate::{JwksError, MAX_KEY_SET};

/// Reads a set of this one key.
fn one(jwk: &str) -> (JwkSet, Vec<String>) {
    JwkSet::parse(format!("{{\"keys\":[{jwk}]}}").as_bytes()).expect("a key set")
}

#[track_caller]
fn taken(jwk: &str) {
    let (set, left_out) = one(jwk);
    assert_eq!((set.len(), left_out), (1, Vec::new()));
}

#[track_caller]
fn left_out(jwk: &str, why: &str) {
    let (set, reasons) = one(jwk);
    assert!(set.is_empty());
    let label = if jwk.contains("\"kid\":\"") {
        "key 1 (`k`)"
    } else {
        "key 1"
    };
    assert_eq!(reasons, [format!("{label} is left out: {why}")]);
}

/// A public EC key with members changed, added, or (where empty) removed.
fn ec(changes: &[(&str, &str)]) -> String {
    changed(&KEYS.es256, changes)
}

fn rsa(changes: &[(&str, &str)]) -> String {
    changed(&KEYS.rs256, changes)
}

fn okp(changes: &[(&str, &str)]) -> String {
    changed(&KEYS.eddsa, changes)
}

fn changed(key: &SigningKey, changes: &[(&str, &str)]) -> String {
    let mut jwk: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&key.public_jwk()).expect("JSON");
    jwk.insert("kid".into(), "k".into());
    for (name, value) in changes {
        if value.is_empty() {
            jwk.remove(*name);
        } else {
            jwk.insert((*name).into(), serde_json::from_str(value).expect("JSON"));
        }
    }
    serde_json::to_string(&jwk).expect("JSON")
}

fn encoded(bytes: &[u8]) -> String {
    sign::quoted(&URL_SAFE_NO_PAD.encode(bytes))
}

fn decoded(key: &SigningKey, member: &str) -> Vec<u8> {
    let jwk: serde_json::Value = serde_json::from_str(&key.public_jwk()).expect("JSON");
    let text = jwk.get(member).and_then(serde_json::Value::as_str);
    URL_SAFE_NO_PAD
        .decode(text.expect("a string"))
        .expect("base64url")
}

#[test]
fn sets() {
    let set = set(r#"{"keys":[],"other":1}"#);
    assert!(set.is_empty());
    let refused = |text: &str| {
        JwkSet::parse(text.as_bytes())
            .map(|_| ())
            .expect_err("no key set")
            .to_string()
    };
    assert_eq!(refused(""), "the key set is malformed: not an object");
    assert_eq!(refused("<html>"), "the key set is malformed: not an object");
    assert_eq!(refused("[]"), "the key set is malformed: not an object");
    assert_eq!(refused("{}"), "the key set is malformed: no array `keys`");
    assert_eq!(
        refused(r#"{"keys":{}}"#),
        "the key set is malformed: no array `keys`"
    );
    assert_eq!(
        refused(r#"{"keys":null}"#),
        "the key set is malformed: no array `keys`"
    );
    assert_eq!(
        refused(r#"{"Keys":[]}"#),
        "the key set is malformed: no array `keys`"
    );
    assert_eq!(
        refused(r#"{"keys":["x"]}"#),
        "the key set is malformed: a key is not an object"
    );
    assert_eq!(
        refused(r#"{"keys":[null]}"#),
        "the key set is malformed: a key is not an object"
    );
    assert_eq!(
        refused(r#"{"keys":[],"keys":[]}"#),
        "the key set is malformed: a member stands twice"
    );
    assert_eq!(
        refused(r#"{"keys":[{"kty":"EC","k\u0074y":"EC"}]}"#),
        "the key set is malformed: a member stands twice"
    );
    assert_eq!(
        refused(r#"{"keys":[]}x"#),
        "the key set is malformed: bytes after the object"
    );
    assert_eq!(
        refused(&format!("{{\"keys\":{}", "[".repeat(10_000))),
        "the key set is malformed: nested too deeply"
    );
    // A bare key is no set.
    assert_eq!(
        refused(&ec(&[])),
        "the key set is malformed: no array `keys`"
    );
    let (_, left_out) = one(&KEYS.es256.public_jwk());
    assert!(left_out.is_empty());
}

#[test]
fn bounds() {
    let many = |count: usize| format!("{{\"keys\":[{}]}}", vec![ec(&[]); count].join(","));
    let (set, left_out) = JwkSet::parse(many(100).as_bytes()).expect("as many as are accepted");
    assert_eq!((set.len(), left_out.len()), (100, 0));
    let refused = JwkSet::parse(many(101).as_bytes()).expect_err("one too many");
    assert_eq!(refused, JwksError::TooManyKeys(101));
    assert_eq!(
        refused.to_string(),
        "the key set has 101 keys; at most 100 are accepted"
    );
    let padded = |length: usize| [&b"{\"keys\":[]}"[..], &vec![b' '; length - 11]].concat();
    JwkSet::parse(&padded(MAX_KEY_SET)).expect("as large as is accepted");
    let refused = JwkSet::parse(&padded(MAX_KEY_SET + 1)).expect_err("a byte too large");
    assert_eq!(refused, JwksError::TooLarge);
}

#[test]
fn one_bad_key_does_not_spoil_the_others() {
    let (set, left_out) = one(&format!(
        "{},{},{},{}",
        ec(&[("kty", "\"oct\""), ("k", "\"c2VjcmV0\"")]),
        KEYS.rs256.public_jwk(),
        ec(&[("crv", "\"P-192\""), ("kid", "\"a`\\n\"")]),
        KEYS.es256.public_jwk(),
    ));
    assert_eq!(set.key_ids().collect::<Vec<_>>(), ["RS256", "ES256"]);
    assert_eq!(
        left_out,
        [
            "key 1 (`k`) is left out: it is symmetric",
            "key 3 (`a\\`\\u{a}`) is left out: its `crv` `P-192` is not supported",
        ]
    );
    let verifier = Verifier::new(expectations());
    verifier
        .verify(&token(&[]), &set, at(NOW))
        .expect("the good key still verifies");
}

#[test]
fn what_a_key_may_do() {
    taken(&ec(&[]));
    taken(&ec(&[("use", ""), ("alg", ""), ("kid", "")]));
    taken(&ec(&[("key_ops", "[\"verify\"]")]));
    taken(&ec(&[("key_ops", "[\"sign\",\"verify\"]"), ("use", "")]));
    taken(&ec(&[
        ("x5t", "\"x\""),
        ("x5c", "[\"MIIB\"]"),
        ("exp", "1"),
        ("iat", "1"),
    ]));
    left_out(&ec(&[("use", "\"enc\"")]), "its `use` is `enc`");
    left_out(&ec(&[("use", "\"SIG\"")]), "its `use` is `SIG`");
    left_out(&ec(&[("use", "\"\"")]), "its `use` is ``");
    left_out(&ec(&[("use", "[\"sig\"]")]), "its `use` is not a string");
    left_out(
        &ec(&[("key_ops", "[\"sign\"]")]),
        "its `key_ops` does not have `verify`",
    );
    left_out(
        &ec(&[("key_ops", "[]")]),
        "its `key_ops` does not have `verify`",
    );
    left_out(
        &ec(&[("key_ops", "[\"encrypt\",\"wrapKey\"]")]),
        "its `key_ops` does not have `verify`",
    );
    left_out(
        &ec(&[("key_ops", "\"verify\"")]),
        "its `key_ops` is not an array of strings",
    );
    left_out(
        &ec(&[("key_ops", "[\"verify\",1]")]),
        "its `key_ops` is not an array of strings",
    );
    left_out(&ec(&[("kid", "1")]), "its `kid` is not a string");
    left_out(&ec(&[("alg", "null")]), "its `alg` is not a string");
    for alg in [
        "ES384", "RS256", "HS256", "none", "ECDH-ES", "es256", "EdDSA",
    ] {
        left_out(
            &ec(&[("alg", &sign::quoted(alg))]),
            &format!("its `alg` `{alg}` is not a signature algorithm of such a key"),
        );
    }
    for alg in ["RSA-OAEP", "RSA1_5", "RS1", "ES256", "HS256"] {
        left_out(
            &rsa(&[("alg", &sign::quoted(alg))]),
            &format!("its `alg` `{alg}` is not a signature algorithm of such a key"),
        );
    }
}

#[test]
fn private_and_symmetric_keys() {
    let private = "it holds private members, so it is compromised; publish a new key without them";
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        left_out(&ec(&[(member, "\"c2VjcmV0LXZhbHVl\"")]), private);
        left_out(&rsa(&[(member, "\"c2VjcmV0LXZhbHVl\"")]), private);
        left_out(&okp(&[(member, "null")]), private);
    }
    left_out(
        "{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"alg\":\"HS256\"}",
        "it is symmetric",
    );
    left_out(
        &ec(&[("kty", "\"LMS\"")]),
        "its `kty` `LMS` is not supported",
    );
    left_out(&ec(&[("kty", "\"ec\"")]), "its `kty` `ec` is not supported");
    left_out(&ec(&[("kty", "")]), "it has no `kty`");
    left_out(&ec(&[("kty", "1")]), "its `kty` is not a string");
    left_out(&ec(&[("kty", "\"RSA\""), ("alg", "")]), "it has no `n`");
}

#[test]
fn lattices() {
    let key = SigningKey::generate(Algorithm::MlDsa44, "k").expect("a key");
    let lattice = |changes: &[(&str, &str)]| changed(&key, changes);
    taken(&lattice(&[]));
    let private = "it holds private members, so it is compromised; publish a new key without them";
    left_out(&lattice(&[("priv", "\"c2VjcmV0\"")]), private);
    left_out(&lattice(&[("alg", "")]), "it has no `alg`");
    left_out(&lattice(&[("alg", "1")]), "its `alg` is not a string");
    left_out(
        &lattice(&[("alg", "\"ES256\"")]),
        "its `alg` `ES256` is not supported",
    );
    left_out(
        &lattice(&[("alg", "\"ML-DSA-65\"")]),
        "its `pub` is not the 1952 bytes of ML-DSA-65",
    );
    left_out(&lattice(&[("pub", "")]), "it has no `pub`");
    left_out(
        &lattice(&[("pub", "\"AAAA\"")]),
        "its `pub` is not the 1312 bytes of ML-DSA-44",
    );
}

#[test]
fn elliptic_curves() {
    let x = decoded(&KEYS.es256, "x");
    let y = decoded(&KEYS.es256, "y");
    left_out(&ec(&[("crv", "")]), "it has no `crv`");
    left_out(&ec(&[("crv", "1")]), "its `crv` is not a string");
    left_out(
        &ec(&[("crv", "\"p-256\"")]),
        "its `crv` `p-256` is not supported",
    );
    left_out(
        &ec(&[("crv", "\"Ed25519\"")]),
        "its `crv` `Ed25519` is not supported",
    );
    left_out(&ec(&[("x", "")]), "it has no `x`");
    left_out(&ec(&[("y", "")]), "it has no `y`");
    left_out(&ec(&[("x", "1")]), "its `x` is not a string");
    left_out(&ec(&[("x", "\"a=\"")]), "its `x` is not base64url");
    left_out(&ec(&[("x", "\"+/+/\"")]), "its `x` is not base64url");
    let size = "a coordinate on P-256 has 32 bytes";
    left_out(&ec(&[("x", "\"\"")]), size);
    left_out(&ec(&[("x", &encoded(&x[1..]))]), size);
    left_out(&ec(&[("y", &encoded(&[&[0], &y[..]].concat()))]), size);
    left_out(
        &ec(&[("crv", "\"P-384\""), ("alg", "")]),
        "a coordinate on P-384 has 48 bytes",
    );
    let off = "its point is not on P-256";
    left_out(&ec(&[("x", &encoded(&y))]), off);
    left_out(
        &ec(&[("x", &encoded(&[0; 32])), ("y", &encoded(&[0; 32]))]),
        off,
    );
    left_out(&ec(&[("x", &encoded(&[0xff; 32]))]), off);
    left_out(
        &ec(&[("crv", "\"secp256k1\""), ("alg", "")]),
        "its point is not on secp256k1",
    );
}

#[test]
fn ed25519() {
    taken(&okp(&[]));
    taken(&okp(&[("alg", "\"Ed25519\"")]));
    taken(&okp(&[("alg", "")]));
    left_out(
        &okp(&[("crv", "\"X25519\"")]),
        "its `crv` `X25519` is not supported",
    );
    left_out(
        &okp(&[("crv", "\"Ed448\"")]),
        "its `crv` `Ed448` is not supported",
    );
    left_out(&okp(&[("crv", "")]), "it has no `crv`");
    left_out(
        &okp(&[("x", &encoded(&[9; 31]))]),
        "an Ed25519 key has 32 bytes",
    );
    left_out(
        &okp(&[("x", &encoded(&[9; 33]))]),
        "an Ed25519 key has 32 bytes",
    );
    left_out(&okp(&[("x", "\"\"")]), "an Ed25519 key has 32 bytes");

    let only = set(&format!(
        "{{\"keys\":[{}]}}",
        okp(&[("alg", "\"Ed25519\"")])
    ));
    let token = |alg: &str| {
        let header = format!("{{\"alg\":\"{alg}\",\"kid\":\"k\"}}");
        KEYS.eddsa
            .sign_raw(header.as_bytes(), claims(&[]).as_bytes())
            .expect("a token")
    };
    let verifier = Verifier::new(expectations());
    verifier
        .verify(&token("Ed25519"), &only, at(NOW))
        .expect("the declared name");
    refused(
        verifier.verify(&token("EdDSA"), &only, at(NOW)),
        "the token's algorithm `EdDSA` does not fit the key `k`",
    );
}

#[test]
fn rsa_numbers() {
    let modulus = decoded(&KEYS.rs256, "n");
    taken(&rsa(&[]));
    taken(&rsa(&[("n", &encoded(&[&[0], &modulus[..]].concat()))]));
    taken(&rsa(&[("e", "\"AAEAAQ\"")]));
    taken(&rsa(&[("e", "\"Aw\"")]));
    left_out(&rsa(&[("n", "")]), "it has no `n`");
    left_out(&rsa(&[("e", "")]), "it has no `e`");
    left_out(&rsa(&[("e", "65537")]), "its `e` is not a string");
    left_out(&rsa(&[("n", "\"_\"")]), "its `n` is not base64url");
    let bits = |bits: usize| format!("its modulus has {bits} bits; 2048 to 8192 are accepted");
    left_out(&rsa(&[("n", "\"\"")]), &bits(0));
    left_out(
        &rsa(&[("n", &encoded(&modulus[1..]))]),
        &bits(8 * 255 - usize::try_from(modulus[1].leading_zeros()).expect("few")),
    );
    left_out(&rsa(&[("n", &encoded(&[0xff; 128]))]), &bits(1024));
    left_out(
        &rsa(&[("n", &encoded(&[&[0x7f], &[0xff; 255][..]].concat()))]),
        &bits(2047),
    );
    left_out(
        &rsa(&[("n", &encoded(&[&[0x01], &[0xff; 1024][..]].concat()))]),
        &bits(8193),
    );
    left_out(&rsa(&[("n", &encoded(&[0xff; 10_000]))]), &bits(80_000));
    let even = [&modulus[..255], &[0]].concat();
    left_out(&rsa(&[("n", &encoded(&even))]), "its modulus is even");
    let exponent = "its exponent is not an odd number from 3 to 33 bits";
    for wrong in [
        "\"\"",
        "\"AA\"",
        "\"AQ\"",
        "\"Ag\"",
        "\"AQAA\"",
        "\"AwAAAAE\"",
        "\"____________\"",
    ] {
        left_out(&rsa(&[("e", wrong)]), exponent);
    }
}

#[test]
fn the_algorithm_of_a_key_narrows_it() {
    let free = set(&format!("{{\"keys\":[{}]}}", rsa(&[("alg", "")])));
    let bound = set(&format!("{{\"keys\":[{}]}}", rsa(&[("alg", "\"PS256\"")])));
    let token = KEYS
        .rs256
        .sign_raw(br#"{"alg":"RS256","kid":"k"}"#, claims(&[]).as_bytes())
        .expect("a token");
    let verifier = Verifier::new(expectations());
    verifier
        .verify(&token, &free, at(NOW))
        .expect("the key allows every RSA algorithm");
    refused(
        verifier.verify(&token, &bound, at(NOW)),
        "the token's algorithm `RS256` does not fit the key `k`",
    );
}

#[test]
fn equal_documents_have_equal_fingerprints() {
    let text = sign::key_set(&[&KEYS.es256]);
    assert_eq!(set(&text).fingerprint(), set(&text).fingerprint());
    assert_ne!(set(&text).fingerprint(), KEYS.set.fingerprint());
}
