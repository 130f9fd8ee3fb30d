//! The compact form: parts, base64url, JSON, sizes.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD},
};

use super::*;
use crate::{MAX_TOKEN, peek_issuer};

const THREE: &str = "the token is not a compact JWS: not three parts";

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<String> = token.split('.').map(Into::into).collect();
    parts.try_into().expect("three parts")
}

#[test]
fn three_parts() {
    let token = token(&[]);
    let [header, payload, signature] = parts(&token);
    accepts(&token);
    for wrong in [
        String::new(),
        ".".into(),
        header.clone(),
        format!("{header}.{payload}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}..{payload}.{signature}"),
        format!("{token}.....{token}"),
        ".".repeat(MAX_TOKEN),
    ] {
        refuses(&wrong, THREE);
    }
    refuses(
        &format!("{token}.{payload}.{signature}"),
        "the token is not a compact JWS: five parts: it is encrypted (JWE)",
    );
    refuses(
        "....",
        "the token is not a compact JWS: five parts: it is encrypted (JWE)",
    );
    refuses("..", "the token's header is malformed: not an object");
    refuses(
        &format!("{header}..{signature}"),
        "the token's signature does not verify",
    );
    refuses(
        &format!("{header}.{payload}."),
        "the token's signature does not verify",
    );
    // The JSON forms of RFC 7515, section 7.2.
    refuses(
        &format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
        THREE,
    );
}

#[test]
fn base64url_in_its_one_spelling() {
    let token = token(&[("sub", "\"??>>~~\"")]);
    let [header, payload, signature] = parts(&token);
    let bad = |which: &str| format!("the token is not a compact JWS: the {which} is not base64url");
    for wrong in ["=", "==", " ", "\n", "\t", "\0", "%3D", "é", "+", "/", "*"] {
        refuses(
            &format!("{header}{wrong}.{payload}.{signature}"),
            &bad("header"),
        );
        refuses(
            &format!("{header}.{payload}{wrong}.{signature}"),
            &bad("payload"),
        );
        refuses(&format!("{token}{wrong}"), &bad("signature"));
        refuses(&format!("{wrong}{token}"), &bad("header"));
    }
    // The same bytes in the padded and in the other alphabet.
    let text = claims(&[("sub", "\"??>>~~??\""), ("pad", "\"\"")]);
    for engine in [&URL_SAFE, &STANDARD] {
        let mut text = text.clone();
        while text.len().is_multiple_of(3) {
            text.push(' ');
        }
        let payload = engine.encode(text);
        refuses(&format!("{header}.{payload}.{signature}"), &bad("payload"));
    }
}

#[test]
fn trailing_bits_are_zero() {
    // Ed25519 signatures have 64 bytes: the last character of 86 carries two bits of data.
    let token = KEYS.eddsa.sign(&claims(&[])).expect("a token");
    accepts(&token);
    let (stem, last) = token.split_at(token.len() - 1);
    assert!("AQgw".contains(last), "{last}");
    for other in "BCDEFGHIJKLMNOPRSTUVWXYZabcdefhijklmnopqrstuvxyz0123456789-_".chars() {
        refuses(
            &format!("{stem}{other}"),
            "the token is not a compact JWS: the signature is not base64url",
        );
    }
    for other in "AQgw".chars().filter(|other| !last.contains(*other)) {
        refuses(
            &format!("{stem}{other}"),
            "the token's signature does not verify",
        );
    }
}

#[test]
fn sizes() {
    let long = |length: usize| {
        let claim = sign::quoted(&"x".repeat(length));
        token(&[("long", &claim)])
    };
    let fitting = (MAX_TOKEN - long(0).len()) / 4 * 3 - 4;
    let largest = long(fitting);
    assert!(largest.len() <= MAX_TOKEN && largest.len() > MAX_TOKEN - 16);
    accepts(&largest);
    let too_long = "the token is longer than 16384 bytes";
    refuses(&long(fitting + 16), too_long);
    refuses(&"a".repeat(MAX_TOKEN + 1), too_long);
    refuses(&".".repeat(10_000_000), too_long);
}

#[track_caller]
fn payload_is(payload: impl AsRef<[u8]>, why: &str) {
    let header = KEYS.es256.header("JWT");
    let token = KEYS
        .es256
        .sign_raw(header.as_bytes(), payload.as_ref())
        .expect("a token");
    refuses(&token, &format!("the token's payload is malformed: {why}"));
    peek_issuer(&token).expect_err("unreadable");
}

#[test]
fn payloads_that_are_no_strict_json() {
    let valid = claims(&[]);
    payload_is("", "not an object");
    payload_is("null", "not an object");
    payload_is("[]", "not an object");
    payload_is(format!("[{valid}]"), "not an object");
    payload_is(sign::quoted(&valid), "not an object");
    payload_is(format!("{valid}{valid}"), "bytes after the object");
    payload_is(format!("{valid}\0"), "bytes after the object");
    payload_is(format!("\u{feff}{valid}"), "not an object");
    payload_is([valid.as_bytes(), b"\xff"].concat(), "invalid UTF-8");
    payload_is(valid.replace('"', "'"), "not a string");
    payload_is(claims(&[("exp", "NaN")]), "not a JSON value");
    payload_is(claims(&[("exp", "Infinity")]), "not a JSON value");
    payload_is(claims(&[("exp", "-Infinity")]), "a bad number");
    payload_is(claims(&[("exp", "0x7fffffff")]), "no comma between members");
    payload_is(
        claims(&[("exp", "01790000300")]),
        "no comma between members",
    );
    payload_is(
        claims(&[("sub", "\"\\ud800\"")]),
        "a lone surrogate in a string",
    );
    payload_is(
        claims(&[("sub", "\"a\u{1}\"")]),
        "a control character or no end in a string",
    );
    payload_is(
        format!("{},}}", valid.trim_end_matches('}')),
        "not a string",
    );
    payload_is(
        format!("{}//}}", valid.trim_end_matches('}')),
        "no comma between members",
    );
    // A nested token, as `cty: JWT` announces it.
    payload_is(token(&[]), "not an object");
}

#[test]
fn payloads_with_white_space_are_json() {
    let header = KEYS.es256.header("JWT");
    let payload = format!(" \r\n\t{}\n ", claims(&[]).replace(',', " ,\n"));
    let token = KEYS.es256.sign_raw(header.as_bytes(), payload.as_bytes());
    accepts(&token.expect("a token"));
}

#[test]
fn members_that_stand_twice() {
    let twice = "a member stands twice";
    let with = |member: &str| format!("{{{member},{}", claims(&[]).trim_start_matches('{'));
    for member in [
        "\"sub\":\"mallory\"",
        "\"sub\":\"alice\"",
        "\"s\\u0075b\":\"mallory\"",
        "\"\\u0073\\u0075\\u0062\":\"mallory\"",
        "\"exp\":9999999999",
        "\"e\\u0078p\":9999999999",
        "\"iss\":\"https://evil.example.com\"",
        "\"aud\":\"other\"",
        "\"scope\":\"admin\"",
        "\"x\":{\"y\":1,\"y\":2}",
        "\"x\":{\"y\":1,\"\\u0079\":2}",
        "\"x\":[{\"y\":1,\"y\":1}]",
    ] {
        payload_is(with(member), twice);
    }
    let header = KEYS.es256.header("JWT");
    let other = format!("{{\"sub2\":1,{}", claims(&[]).trim_start_matches('{'));
    let token = KEYS.es256.sign_raw(header.as_bytes(), other.as_bytes());
    accepts(&token.expect("a token"));

    let malformed = "the token's header is malformed: a member stands twice";
    refuses(
        &headed(r#"{"alg":"none","alg":"ES256","kid":"ES256"}"#),
        malformed,
    );
    refuses(
        &headed(r#"{"alg":"ES256","alg":"ES256","kid":"ES256"}"#),
        malformed,
    );
    refuses(
        &headed(r#"{"\u0061lg":"none","alg":"ES256","kid":"ES256"}"#),
        malformed,
    );
    refuses(
        &headed(r#"{"alg":"ES256","kid":"ES256","k\u0069d":"x"}"#),
        malformed,
    );
}

#[test]
fn depth() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    accepts(&token(&[("deep", &nested(15))]));
    let deep = "nested too deeply";
    payload_is(claims(&[("deep", &nested(16))]), deep);
    payload_is(claims(&[("deep", &nested(4000))]), deep);
    payload_is(claims(&[("deep", &"[".repeat(8000))]), deep);
    payload_is("{\"a\":".repeat(2000), deep);
    let header = format!(r#"{{"alg":"ES256","x":{}}}"#, nested(4));
    refuses(
        &headed(&header),
        "the token's header is malformed: nested too deeply",
    );
}

#[test]
fn many_members_take_no_long_time() {
    let members: Vec<String> = (0..1400).map(|n| format!("\"{n}\":0")).collect();
    let crowd = format!("{{{}}}", members.join(","));
    assert_eq!(
        accepts(&token(&[("crowd", &crowd)]))
            .claims
            .get("crowd.1399")
            .and_then(crate::Value::as_f64),
        Some(0.0)
    );
}

#[track_caller]
fn header_is(header: impl AsRef<[u8]>, why: &str) {
    let token = KEYS
        .es256
        .sign_raw(header.as_ref(), claims(&[]).as_bytes())
        .expect("a token");
    refuses(&token, &format!("the token's header is malformed: {why}"));
    peek_issuer(&token).expect_err("unreadable");
}

#[test]
fn headers() {
    accepts(&headed(r#"{"alg":"ES256","kid":"ES256"}"#));
    accepts(&headed(
        r#"{"alg":"ES256","kid":"ES256","x5t":"abc","nonce":"n","other":[1]}"#,
    ));
    accepts(&headed(r#"{"alg":"ES256","kid":"ES256","cty":"json"}"#));
    accepts(&headed(" {\"alg\" : \"\\u0045S256\"}\r\n"));
    header_is("", "not an object");
    header_is("null", "not an object");
    header_is("ES256", "not an object");
    header_is("{}{}", "bytes after the object");
    header_is(b"{\"alg\":\"ES256\",\"x\":\"\xff\"}", "invalid UTF-8");
    header_is("{}", "no `alg`");
    header_is(r#"{"kid":"ES256"}"#, "no `alg`");
    header_is(r#"{"ALG":"ES256","kid":"ES256"}"#, "no `alg`");
    for value in ["null", "1", "true", "{}", "[]", "[\"ES256\"]"] {
        header_is(format!(r#"{{"alg":{value}}}"#), "`alg` is not a string");
        for name in ["kid", "typ", "cty"] {
            header_is(
                format!(r#"{{"alg":"ES256","{name}":{value}}}"#),
                &format!("`{name}` is not a string"),
            );
        }
    }
}

#[test]
fn header_parameters_that_are_never_accepted() {
    for (name, values) in [
        (
            "crit",
            &[
                "[]",
                "[\"b64\"]",
                "[\"exp\"]",
                "[\"alg\"]",
                "null",
                "\"exp\"",
                "{}",
            ][..],
        ),
        ("b64", &["false", "true", "null", "\"false\""][..]),
        ("zip", &["\"DEF\"", "null"][..]),
        ("enc", &["\"A256GCM\""][..]),
        ("jwk", &["{}", "null", "{\"kty\":\"oct\"}"][..]),
        (
            "jku",
            &["\"https://evil.example.com/jwks.json\"", "\"\"", "null"][..],
        ),
        (
            "x5u",
            &["\"https://evil.example.com/cert.pem\"", "null"][..],
        ),
        ("x5c", &["[]", "[\"MIIB\"]", "null"][..]),
        ("epk", &["{}"][..]),
    ] {
        let why = format!("the token's header has `{name}`, which is never accepted");
        for value in values {
            refuses(
                &headed(&format!(
                    r#"{{"alg":"ES256","kid":"ES256","{name}":{value}}}"#
                )),
                &why,
            );
            refuses(
                &headed(&format!(r#"{{"{name}":{value},"alg":"none"}}"#)),
                &why,
            );
        }
    }
    let jwk = KEYS.es256.public_jwk();
    refuses(
        &headed(&format!(r#"{{"alg":"ES256","jwk":{jwk}}}"#)),
        "the token's header has `jwk`, which is never accepted",
    );
    refuses(
        &headed(r#"{"alg":"ES256","kid":"ES256","\u0063rit":[]}"#),
        "the token's header has `crit`, which is never accepted",
    );
}

#[test]
fn the_issuer_is_found_without_a_key() {
    let other = token(&[("iss", "\"https://other.example.com\"")]);
    assert_eq!(
        peek_issuer(&other).as_deref(),
        Ok("https://other.example.com")
    );
    let forged = sign::unsigned(br#"{"alg":"ES256"}"#, br#"{"iss":"x"}"#, b"");
    assert_eq!(peek_issuer(&forged).as_deref(), Ok("x"));
    let peeked = |payload: &[u8]| {
        peek_issuer(&sign::unsigned(br#"{"alg":"ES256"}"#, payload, b""))
            .expect_err("no issuer")
            .to_string()
    };
    assert_eq!(peeked(b"{}"), "the token has no `iss`");
    assert_eq!(peeked(br#"{"iss":1}"#), "the token's `iss` is not a string");
    assert_eq!(
        peeked(br#"{"iss":["x"]}"#),
        "the token's `iss` is not a string"
    );
    assert_eq!(
        peeked(br#"{"iss":"x","iss":"y"}"#),
        "the token's payload is malformed: a member stands twice"
    );
    peek_issuer("opaque-token").expect_err("no token");
    peek_issuer(&sign::unsigned(
        br#"{"alg":"none"}"#,
        br#"{"iss":"x"}"#,
        b"",
    ))
    .expect_err("`none`");
}

#[test]
fn the_signature_has_one_form() {
    let token = token(&[]);
    let [header, payload, signature] = parts(&token);
    let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let with =
        |signature: &[u8]| format!("{header}.{payload}.{}", URL_SAFE_NO_PAD.encode(signature));
    accepts(&with(&bytes));
    let (r, s) = bytes.split_at(32);
    // As DER, which is how X.509 has it (RFC 7518, section 3.4, has the two numbers bare).
    let integer = |number: &[u8]| {
        let padding: &[u8] = if number[0] >= 0x80 { &[0] } else { &[] };
        let length = u8::try_from(number.len() + padding.len()).expect("short");
        [&[2, length], padding, number].concat()
    };
    let numbers = [integer(r), integer(s)].concat();
    let der = [
        &[0x30, u8::try_from(numbers.len()).expect("short")],
        &numbers[..],
    ]
    .concat();
    let zero = [0_u8; 32];
    let one = [&[0; 31][..], &[1]].concat();
    let order = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
        0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    for wrong in [
        der,
        [s, r].concat(),
        [&zero[..], s].concat(),
        [r, &zero[..]].concat(),
        [zero, zero].concat(),
        [&one[..], &one[..]].concat(),
        [order, order].concat(),
        [&order[..], s].concat(),
        [r, &order[..]].concat(),
        [&[0], r, s].concat(),
        [&[0], r, &[0], s].concat(),
        [&bytes[..], &[0]].concat(),
        bytes[..63].to_vec(),
        bytes[1..].to_vec(),
        r.to_vec(),
        vec![0xff; 64],
        vec![0; 132],
        vec![7; 8000],
        Vec::new(),
    ] {
        refuses(&with(&wrong), "the token's signature does not verify");
    }
}
