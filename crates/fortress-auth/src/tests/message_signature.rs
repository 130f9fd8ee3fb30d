//! Signatures on requests: the vectors of RFC 9421, appendix B, and requests signed here whose
//! signature bases are written out by hand.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_model::{Reason, Secret};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{at, certificate::RFC_9440};
use crate::message_signature::{
    Component, Content, ContentDigest, DigestError, Key, Keys, Nonce, Rules, SignatureAlgorithm,
    SignatureError, Signed, SignedRequest, verify,
};

/// When the RFC's signatures were made.
const CREATED: u64 = 1_618_884_473;
const DIGEST: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
const BODY: &[u8] = br#"{"hello": "world"}"#;
const SECRET: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";

/// RFC 9421, appendix B.1: public keys as `SubjectPublicKeyInfo`, the first as `RSAPublicKey`.
const KEYS: [(&str, SignatureAlgorithm, &str); 4] = [
    (
        "test-key-rsa",
        SignatureAlgorithm::RsaV15Sha256,
        "MIIBCgKCAQEAhAKYdtoeoy8zcAcR874L8cnZxKzAGwd7v36APp7Pv6Q2jdsPBRrwWEBnez6d0UDKDwGbc6nxfEXAy5mbhgajzrw3MOEt8uA5txSKobBpKDeBLOsdJKFqMGmXCQvEG7YemcxDTRPxAleIAgYYRjTSd/QBwVW9OwNFhekro3RtlinV0a75jfZgkne/YiktSvLG34lw2zqXBDTC5NHROUqGTlML4PlNZS5Ri2U4aCNx2rUPRcKIlE0PuKxI4T+HIaFpv8+rdV6eUgOrB2xeI1dSFFn/nnv5OoZJEIB+VmuKn3DCUcCZSFlQPSXSfBDiUGhwOw76WuSSsf1D4b/vLoJ10wIDAQAB",
    ),
    (
        "test-key-rsa-pss",
        SignatureAlgorithm::RsaPssSha512,
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI2wIDAQAB",
    ),
    (
        "test-key-ecc-p256",
        SignatureAlgorithm::EcdsaP256Sha256,
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==",
    ),
    (
        "test-key-ed25519",
        SignatureAlgorithm::Ed25519,
        "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
    ),
];

/// Label, `Signature-Input` and `Signature` of the requests that the RFC signs.
const SIGNED: [(&str, &str, &str); 5] = [
    (
        "sig-b21",
        r#"();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        "d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==",
    ),
    (
        "sig-b22",
        r#"("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
    ),
    (
        "sig-b23",
        r#"("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
    ),
    (
        "sig-b25",
        r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=",
    ),
    (
        "sig-b26",
        r#"("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    ),
];

fn keys() -> Keys {
    let decode = |text: &str| STANDARD.decode(text).unwrap();
    let mut keys: Vec<Key> = KEYS
        .iter()
        .map(|(id, algorithm, key)| Key::public(id, *algorithm, &decode(key)).expect("a key"))
        .collect();
    keys.push(Key::shared("test-shared-secret", &Secret::new(decode(SECRET))).expect("a key"));
    Keys::new(keys).expect("keys")
}

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        fields.append(HeaderName::from_static(name), value);
    }
    fields
}

/// The RFC's `test-request`.
fn test_request() -> HeaderMap {
    fields(&[
        ("host", "example.com"),
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-digest", DIGEST),
        ("content-length", "18"),
    ])
}

fn request(fields: &HeaderMap) -> SignedRequest<'_> {
    SignedRequest {
        method: "POST",
        scheme: "https",
        authority: "example.com",
        path: "/foo",
        query: Some("param=Value&Pet=dog"),
        fields,
        content: Content::Absent,
    }
}

/// Rules that demand nothing.
fn lax() -> Rules {
    Rules {
        required: Vec::new(),
        ..Rules::default()
    }
}

fn sign_rfc(label: &str) -> HeaderMap {
    let (label, input, signature) = SIGNED.iter().find(|(name, ..)| *name == label).unwrap();
    let mut fields = test_request();
    fields.insert(
        "signature-input",
        format!("{label}={input}").parse().unwrap(),
    );
    fields.insert(
        "signature",
        format!("{label}=:{signature}:").parse().unwrap(),
    );
    fields
}

#[test]
fn the_rfcs_requests_are_accepted() {
    for (label, ..) in SIGNED {
        let fields = sign_rfc(label);
        let signed = verify(&request(&fields), &keys(), &lax(), at(CREATED + 10))
            .unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(signed.created, CREATED);
        assert_eq!(signed.until, at(CREATED + 300));
        assert_eq!(signed.nonce.is_some(), label == "sig-b21");
        assert_eq!(
            signed.content_digest.is_some(),
            matches!(label, "sig-b22" | "sig-b23")
        );
    }
}

#[test]
fn the_rfcs_requests_are_refused_once_something_signed_is_changed() {
    let refused = |label: &str, change: fn(&mut SignedRequest<'_>)| {
        let fields = sign_rfc(label);
        let mut request = request(&fields);
        change(&mut request);
        let found = verify(&request, &keys(), &lax(), at(CREATED));
        assert_eq!(found, Err(SignatureError::Signature), "{label}");
    };
    refused("sig-b22", |request| request.authority = "example.org");
    refused("sig-b22", |request| {
        request.query = Some("param=Value&Pet=cat")
    });
    refused("sig-b23", |request| request.method = "PUT");
    refused("sig-b23", |request| request.path = "/fooo");
    refused("sig-b23", |request| request.query = None);
    refused("sig-b26", |request| request.method = "post");
    // What is not signed may change; that is for the rules to forbid.
    let fields = sign_rfc("sig-b26");
    let mut other = request(&fields);
    other.query = None;
    assert!(verify(&other, &keys(), &lax(), at(CREATED)).is_ok());
    let strict = verify(&request(&fields), &keys(), &Rules::default(), at(CREATED));
    assert_eq!(strict, Err(SignatureError::Uncovered("@query".into())));
    for (label, ..) in SIGNED {
        for (name, from, to) in [
            (
                "signature-input",
                "created=1618884473",
                "created=1618884474",
            ),
            ("signature", "=:", "=:AAAA"),
        ] {
            let mut fields = sign_rfc(label);
            let changed = fields[name].to_str().unwrap().replace(from, to);
            fields.insert(name, changed.parse().unwrap());
            let found = verify(&request(&fields), &keys(), &lax(), at(CREATED));
            assert!(found.is_err(), "{label} {name}");
        }
    }
}

#[test]
fn the_rfcs_proxy_signs_the_clients_certificate() {
    // Appendix B.3.
    let certificate = format!(":{RFC_9440}:");
    let mut fields = fields(&[
        ("client-cert", &certificate),
        (
            "signature-input",
            r#"ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#,
        ),
        (
            "signature",
            "ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:",
        ),
    ]);
    let judged = |fields: &HeaderMap| {
        let request = SignedRequest {
            authority: "service.internal.example",
            ..request(fields)
        };
        verify(&request, &keys(), &Rules::default(), at(CREATED))
    };
    assert_eq!(
        judged(&fields).map(|signed| signed.key_id),
        Ok("test-key-ecc-p256".into())
    );
    fields.insert("client-cert", ":AQI=:".parse().unwrap());
    assert_eq!(judged(&fields), Err(SignatureError::Signature));
}

#[test]
fn a_responses_signature_is_none_of_a_request() {
    // Appendix B.2.4.
    let fields = fields(&[
        (
            "signature-input",
            r#"sig-b24=("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#,
        ),
        (
            "signature",
            "sig-b24=:wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==:",
        ),
    ]);
    let found = verify(&request(&fields), &keys(), &lax(), at(CREATED)).unwrap_err();
    assert_eq!(
        found.to_string(),
        "the signed component `@status` belongs to a response"
    );
}

/// Signs by HMAC what a test says is to be signed.
fn signed_as(lines: &[(&'static str, &str)], input: &str, base: &[&str]) -> HeaderMap {
    let input = format!(r#"{input};keyid="test-shared-secret""#);
    let mut text = base.join("\n");
    if !base.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("\"@signature-params\": {input}"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(SECRET).unwrap());
    let signature = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
    let mut fields = fields(lines);
    fields.insert("signature-input", format!("a={input}").parse().unwrap());
    fields.insert("signature", format!("a=:{signature}:").parse().unwrap());
    fields
}

fn judge(fields: &HeaderMap, query: Option<&str>) -> Result<Signed, SignatureError> {
    let request = SignedRequest {
        authority: "Example.COM:443",
        query,
        ..request(fields)
    };
    verify(&request, &keys(), &lax(), at(CREATED))
}

#[track_caller]
fn covers(lines: &[(&'static str, &str)], query: &str, component: &str, value: &str) {
    let input = format!("({component});created={CREATED}");
    let fields = signed_as(lines, &input, &[&format!("{component}: {value}")]);
    if let Err(error) = judge(&fields, Some(query)) {
        panic!("{component}: {error}");
    }
    let fields = signed_as(lines, &input, &[&format!("{component}: {value}x")]);
    assert_eq!(judge(&fields, Some(query)), Err(SignatureError::Signature));
}

#[test]
fn components_have_the_values_of_the_rfc() {
    covers(&[], "a=b", r#""@method""#, "POST");
    covers(
        &[],
        "a=b",
        r#""@target-uri""#,
        "https://example.com/foo?a=b",
    );
    covers(&[], "", r#""@target-uri""#, "https://example.com/foo?");
    covers(&[], "a=b", r#""@authority""#, "example.com");
    covers(&[], "a=b", r#""@scheme""#, "https");
    covers(&[], "a=b", r#""@request-target""#, "/foo?a=b");
    covers(&[], "a=b", r#""@path""#, "/foo");
    covers(&[], "", r#""@query""#, "?");
    // Section 2.2.8.
    let query = "var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&empty=&bare";
    covers(
        &[],
        query,
        r#""@query-param";name="var""#,
        "this%20is%20a%20big%0Amultiline%20value",
    );
    covers(
        &[],
        query,
        r#""@query-param";name="bar""#,
        "with%20plus%20whitespace",
    );
    covers(
        &[],
        query,
        r#""@query-param";name="fa%C3%A7ade%22%3A%20""#,
        "something",
    );
    covers(&[], query, r#""@query-param";name="empty""#, "");
    covers(&[], query, r#""@query-param";name="bare""#, "");
}

#[test]
fn fields_have_the_values_of_the_rfc() {
    // Sections 2.1 to 2.1.3.
    covers(
        &[("x-ows", "  Leading and trailing.  "), ("x-ows", "two")],
        "",
        r#""x-ows""#,
        "Leading and trailing., two",
    );
    covers(&[("x-empty", "")], "", r#""x-empty""#, "");
    covers(
        &[("example-dict", "  a=1, b=2;x=1;y=2, c=(a   b    c), d")],
        "",
        r#""example-dict";key="a""#,
        "1",
    );
    covers(
        &[("example-dict", "  a=1, b=2;x=1;y=2, c=(a   b    c), d")],
        "",
        r#""example-dict";key="b""#,
        "2;x=1;y=2",
    );
    covers(
        &[
            ("example-dict", "  a=1, b=2;x=1;y=2"),
            ("example-dict", "c=(a   b    c), d"),
        ],
        "",
        r#""example-dict";key="c""#,
        "(a b c)",
    );
    covers(
        &[("example-dict", "  a=1, d")],
        "",
        r#""example-dict";key="d""#,
        "?1",
    );
    covers(
        &[
            ("example-header", "value, with, lots"),
            ("example-header", "of, commas"),
        ],
        "",
        r#""example-header";bs"#,
        ":dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:",
    );
    covers(
        &[("priority", "u=1,   i")],
        "",
        r#""priority";sf"#,
        "u=1, i",
    );
}

#[track_caller]
fn not_a_component(lines: &[(&'static str, &str)], query: &str, component: &str, why: &str) {
    let input = format!("({component});created={CREATED}");
    let fields = signed_as(lines, &input, &[]);
    let found = judge(&fields, Some(query))
        .expect_err(component)
        .to_string();
    assert!(found.ends_with(why), "{component}: {found}");
}

#[test]
fn what_is_not_supported_or_not_there_is_refused() {
    let check = |component: &str, why: &str| {
        not_a_component(&[("x-a", "1")], "a=1&a=2&b=%zz", component, why)
    };
    check(r#""@unknown""#, "is not known");
    check(r#""@method";req"#, "has a parameter that is not supported");
    check(r#""@query-param""#, "needs a `name`, and nothing else");
    check(r#""@query-param";name="b""#, "is badly encoded");
    check(r#""@query-param";name="c""#, "is not in the query");
    check(r#""x-a";req"#, "is not of this request's header");
    check(r#""x-a";tr"#, "is not of this request's header");
    check(r#""x-a";other"#, "has a parameter that is not supported");
    check(
        r#""x-a";sf"#,
        "has `sf`, and is not known to be a structured field",
    );
    check(r#""x-a";bs;key="a""#, "has both `bs` and another form");
    check(r#""x-a";key="a""#, "is not a dictionary");
    check(r#""X-A""#, "is not in lower case");
    check(r#""x-b""#, "is not in the request");
    check(r#""x-b";bs"#, "is not in the request");
    check(r#""x a""#, "is not a field's name");
    check(r#""x-a" "x-a""#, "stands twice");
    check("x-a", "is not a string");
    let twice = |component: &str, why: &str| not_a_component(&[], "a=1&%61=2", component, why);
    twice(r#""@query-param";name="a""#, "stands twice in the query");
    twice(r#""@query-param";name="z""#, "is not in the query");
}

#[test]
fn parameters_are_read_strictly() {
    let found = |parameters: &str| judge(&signed_as(&[], &format!("(){parameters}"), &[]), None);
    let created = format!(";created={CREATED}");
    assert!(found(&format!("{created};alg=\"hmac-sha256\"")).is_ok());
    assert_eq!(
        found(&format!("{created};alg=\"ed25519\"")),
        Err(SignatureError::Algorithm(SignatureAlgorithm::HmacSha256))
    );
    assert_eq!(found(""), Err(SignatureError::ParameterMissing("created")));
    const MALFORMED: Reason = Reason::CredentialMalformed;
    for (parameters, reason) in [
        (";created=-1", MALFORMED),
        (";created=\"1618884473\"", MALFORMED),
        (";created=1618884473.0", MALFORMED),
        (";created=1618884473;created=1618884473", MALFORMED),
        (";created=1618884473;nonce=1", MALFORMED),
        (";created=1618884473;nonce=\"\"", MALFORMED),
        (";created=1618884473;unknown", MALFORMED),
        (";created=1618884473;tag=a", MALFORMED),
        (
            ";created=1618884473;expires=1618884473",
            Reason::CredentialExpired,
        ),
        (";created=1618884473;expires=1618884472", MALFORMED),
        (";created=1618884493;expires=1618884492", MALFORMED),
    ] {
        let error = found(parameters).expect_err(parameters);
        assert_eq!(error.reason(), reason, "{parameters}: {error}");
    }
}

#[test]
fn signatures_have_their_time() {
    let fields = sign_rfc("sig-b25");
    let judged = |now| verify(&request(&fields), &keys(), &lax(), at(now)).map(drop);
    assert_eq!(judged(CREATED - 30), Ok(()));
    assert_eq!(judged(CREATED - 31), Err(SignatureError::InFuture(31)));
    assert_eq!(judged(CREATED + 299), Ok(()));
    assert_eq!(judged(CREATED + 300), Err(SignatureError::Expired(0)));
    assert_eq!(judged(CREATED + 330), Err(SignatureError::Expired(30)));
    let input = format!("();created={CREATED};expires={}", CREATED + 10);
    let fields = signed_as(&[], &input, &[]);
    let signed = judge(&fields, None).expect("a signature");
    assert_eq!(signed.until, at(CREATED + 10));
}

#[test]
fn what_must_be_signed_is_said_by_rules() {
    let component = |text: &str| {
        text.parse::<Component>()
            .unwrap_or_else(|why| panic!("{why}"))
    };
    let judged = |covered: &str, base: &[&str], required: &[&str]| {
        let input = format!("({covered});created={CREATED}");
        let fields = signed_as(&[("content-digest", DIGEST)], &input, base);
        let rules = Rules {
            required: required.iter().map(|text| component(text)).collect(),
            ..Rules::default()
        };
        let request = SignedRequest {
            query: Some("a=b"),
            ..request(&fields)
        };
        verify(&request, &keys(), &rules, at(CREATED)).map(drop)
    };
    let uri = (
        r#""@target-uri""#,
        [r#""@target-uri": https://example.com/foo?a=b"#],
    );
    let all = [
        "@scheme",
        "@authority",
        "@path",
        "@query",
        "@request-target",
        "@target-uri",
        "@query-param;name=\"a\"",
    ];
    assert_eq!(judged(uri.0, &uri.1, &all), Ok(()));
    assert_eq!(
        judged(uri.0, &uri.1, &["@method"]),
        Err(SignatureError::Uncovered("@method".into()))
    );
    let target = (r#""@request-target""#, [r#""@request-target": /foo?a=b"#]);
    assert_eq!(judged(target.0, &target.1, &["@path", "@query"]), Ok(()));
    assert!(judged(target.0, &target.1, &["@authority"]).is_err());
    let line = format!("\"content-digest\": {DIGEST}");
    assert_eq!(
        judged(r#""content-digest""#, &[&line], &["content-digest"]),
        Ok(())
    );
    let key = DIGEST.replace("sha-512=", "\"content-digest\";key=\"sha-512\": ");
    let covered = r#""content-digest";key="sha-512""#;
    assert_eq!(
        judged(covered, &[&key], &["content-digest;key=\"sha-512\""]),
        Ok(())
    );
    assert!(judged(covered, &[&key], &["content-digest"]).is_err());
    for text in [
        "",
        "@status",
        "Content-Digest",
        "@query-param",
        "a b",
        "x;sf",
        "@path;x",
    ] {
        assert!(text.parse::<Component>().is_err(), "{text}");
    }
}

#[test]
fn content_must_be_signed_by_its_digest() {
    let judged = |label: &str| {
        let fields = sign_rfc(label);
        let request = SignedRequest {
            content: Content::Present,
            ..request(&fields)
        };
        verify(&request, &keys(), &lax(), at(CREATED))
    };
    assert_eq!(judged("sig-b25"), Err(SignatureError::ContentUncovered));
    let digest = judged("sig-b23")
        .expect("a signature")
        .content_digest
        .expect("a digest");
    let mut check = digest.clone().check();
    check.update(&BODY[..5]);
    check.update(&BODY[5..]);
    assert_eq!(check.finish(), Ok(()));
    let mut check = digest.check();
    check.update(b"{}");
    assert_eq!(check.finish(), Err(DigestError::Mismatch));
}

#[test]
fn digests_are_read_strictly() {
    let of = |value: &str| ContentDigest::of(&fields(&[("content-digest", value)]));
    // RFC 9530, appendix B.1 and the RFC 9421 request, both at once.
    let both =
        format!("sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:, {DIGEST}, md5=:AAAA:");
    let mut check = of(&both).expect("digests").check();
    check.update(BODY);
    assert_eq!(check.finish(), Ok(()));
    // One right and one wrong.
    let one = format!("sha-256=:{}:, {DIGEST}", STANDARD.encode([0; 32]));
    let mut check = of(&one).expect("digests").check();
    check.update(BODY);
    assert_eq!(check.finish(), Err(DigestError::Mismatch));
    for value in [
        "",
        "md5=:AAAA:",
        "sha-256=:AAAA:",
        "sha-256=a",
        "sha-256",
        "sha-256=(a)",
        "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
        "SHA-256=:AAAA:",
    ] {
        assert!(of(value).is_err(), "{value}");
    }
    assert!(ContentDigest::of(&HeaderMap::new()).is_err());
}

#[test]
fn the_signature_that_is_meant_is_found() {
    let judged = |fields: &HeaderMap, tag: Option<&str>| {
        let rules = Rules {
            tag: tag.map(Into::into),
            ..lax()
        };
        verify(&request(fields), &keys(), &rules, at(CREATED)).map(|signed| signed.key_id)
    };
    let tagged = sign_rfc("sig-b22");
    assert_eq!(
        judged(&tagged, Some("header-example")),
        Ok("test-key-rsa-pss".into())
    );
    assert!(
        judged(&tagged, Some("other"))
            .unwrap_err()
            .to_string()
            .contains("`other`")
    );
    // Beside one by a stranger's key, in lines of their own.
    let mut fields = sign_rfc("sig-b25");
    fields.append(
        "signature-input",
        r#"other=("@status" "x");created=1;keyid="stranger";q"#
            .parse()
            .unwrap(),
    );
    fields.append("signature", "other=:AAAA:".parse().unwrap());
    assert_eq!(judged(&fields, None), Ok("test-shared-secret".into()));
    // Beside a second one by a known key.
    fields.append(
        "signature-input",
        r#"third=();created=1;keyid="test-key-ed25519""#.parse().unwrap(),
    );
    assert_eq!(judged(&fields, None), Err(SignatureError::Ambiguous));

    let refused = |input: &str, signature: &str, reason: Reason| {
        let fields = super::message_signature::fields(&[
            ("signature-input", input),
            ("signature", signature),
        ]);
        let error = judged(&fields, None).expect_err(input);
        assert_eq!(error.reason(), reason, "{error}");
    };
    let malformed = Reason::CredentialMalformed;
    refused(
        r#"a=();created=1;keyid="stranger""#,
        "a=:AAAA:",
        Reason::CredentialInvalid,
    );
    refused("a=();created=1", "a=:AAAA:", Reason::CredentialInvalid);
    refused(r#"a=();keyid="test-key-ed25519""#, "b=:AAAA:", malformed);
    refused(r#"a=();keyid="test-key-ed25519""#, "a=\"AAAA\"", malformed);
    refused(r#"a;keyid="test-key-ed25519""#, "a=:AAAA:", malformed);
    refused("a=(", "a=:AAAA:", malformed);
    refused("a=(), a=()", "a=:AAAA:", malformed);
    refused("", "a=:AAAA:", Reason::CredentialMissing);
    let many: Vec<String> = (0..9).map(|n| format!("a{n}=()")).collect();
    refused(&many.join(", "), "a=:AAAA:", malformed);
    let crowd: Vec<String> = (0..65).map(|n| format!("\"x-{n}\"")).collect();
    let crowd = format!(r#"a=({});keyid="test-key-ed25519""#, crowd.join(" "));
    refused(&crowd, "a=:AAAA:", malformed);
    assert_eq!(
        judged(&test_request(), None),
        Err(SignatureError::Missing("Signature-Input"))
    );
}

#[test]
fn copies_are_told_by_their_nonce_or_by_all_that_is_signed() {
    let signed = |nonce: &str, path: &'static str| {
        let input = format!("(\"@path\");created={CREATED}{nonce}");
        let fields = signed_as(&[], &input, &[&format!("\"@path\": {path}")]);
        let request = SignedRequest {
            path,
            ..request(&fields)
        };
        verify(&request, &keys(), &lax(), at(CREATED))
            .expect("a signature")
            .replay
    };
    assert_eq!(signed(";nonce=\"n\"", "/a"), signed(";nonce=\"n\"", "/b"));
    assert_ne!(signed(";nonce=\"n\"", "/a"), signed(";nonce=\"m\"", "/a"));
    assert_eq!(signed("", "/a"), signed("", "/a"));
    assert_ne!(signed("", "/a"), signed("", "/b"));

    let rules = Rules {
        nonce: Nonce::Required,
        ..lax()
    };
    let fields = sign_rfc("sig-b25");
    let found = verify(&request(&fields), &keys(), &rules, at(CREATED));
    assert_eq!(found, Err(SignatureError::ParameterMissing("nonce")));
    let fields = sign_rfc("sig-b21");
    assert!(verify(&request(&fields), &keys(), &rules, at(CREATED)).is_ok());
}

#[test]
fn keys_are_bound_to_their_algorithm() {
    let der = |index: usize| STANDARD.decode(KEYS[index].2).unwrap();
    for (index, (_, own, _)) in KEYS.iter().enumerate() {
        for &algorithm in SignatureAlgorithm::ALL {
            let rsa = [
                SignatureAlgorithm::RsaPssSha512,
                SignatureAlgorithm::RsaV15Sha256,
            ];
            let fits = algorithm == *own || (rsa.contains(own) && rsa.contains(&algorithm));
            assert_eq!(
                Key::public("k", algorithm, &der(index)).is_ok(),
                fits,
                "{own} {algorithm}"
            );
        }
    }
    // A public key as the secret of an HMAC: the attack that `alg` from the request would allow.
    let input = format!(r#"();created={CREATED};keyid="test-key-ed25519";alg="hmac-sha256""#);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &der(3));
    let base = format!("\"@signature-params\": {input}");
    let signature = STANDARD.encode(hmac::sign(&key, base.as_bytes()));
    let fields = fields(&[
        ("signature-input", &format!("a={input}")),
        ("signature", &format!("a=:{signature}:")),
    ]);
    let found = verify(&request(&fields), &keys(), &lax(), at(CREATED));
    assert_eq!(
        found,
        Err(SignatureError::Algorithm(SignatureAlgorithm::Ed25519))
    );

    assert!(Key::shared("k", &Secret::new(vec![1; 31])).is_err());
    assert!(Key::shared("", &Secret::new(vec![1; 32])).is_err());
    assert!(Key::shared("\u{e9}", &Secret::new(vec![1; 32])).is_err());
    let shared = || Key::shared("k", &Secret::new(vec![1; 32])).unwrap();
    assert!(Keys::new(vec![shared(), shared()]).is_err());
    assert!(Keys::new(Vec::new()).is_err());
    assert!(!format!("{:?}", keys()).contains("uzvJ"));
    for &algorithm in SignatureAlgorithm::ALL {
        assert_eq!(
            SignatureAlgorithm::from_name(algorithm.name()),
            Some(algorithm)
        );
    }
    assert_eq!(SignatureAlgorithm::from_name("none"), None);
}

#[test]
fn keys_come_from_a_jwk_set() {
    use crate::{
        Algorithm,
        sign::{SigningKey, key_set},
    };
    let made = |algorithm, id| SigningKey::generate(algorithm, id).unwrap();
    let of = |keys: &[&SigningKey]| Key::of_set(&super::set(&key_set(keys)));
    let key = made(Algorithm::Es256, "partner");
    let keys = Keys::new(
        of(&[
            &key,
            &made(Algorithm::Ed25519, "e"),
            &made(Algorithm::Rs256, "r"),
        ])
        .unwrap(),
    )
    .unwrap();
    let input = format!(r#"("@path");created={CREATED};keyid="partner""#);
    let signature = key
        .signature(format!("\"@path\": /foo\n\"@signature-params\": {input}").as_bytes())
        .unwrap();
    let fields = fields(&[
        ("signature-input", &format!("a={input}")),
        ("signature", &format!("a=:{}:", STANDARD.encode(signature))),
    ]);
    assert!(verify(&request(&fields), &keys, &lax(), at(CREATED)).is_ok());

    assert!(
        of(&[&made(Algorithm::Es512, "x")])
            .unwrap_err()
            .contains("`x`")
    );
    let rsa = made(Algorithm::Ps512, "r").public_jwk();
    let without = format!(r#"{{"keys":[{}]}}"#, rsa.replace(r#","alg":"PS512""#, ""));
    assert!(
        Key::of_set(&super::set(&without))
            .unwrap_err()
            .contains("two algorithms")
    );
    let nameless = format!(r#"{{"keys":[{}]}}"#, rsa.replace(r#","kid":"r""#, ""));
    assert!(
        Key::of_set(&super::set(&nameless))
            .unwrap_err()
            .contains("`kid`")
    );
}

#[test]
fn a_p384_signature_is_verified() {
    use aws_lc_rs::{rand::SystemRandom, signature::*};
    let pair = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let public = pair.public_key().as_ref();
    let key = Key::public("p384", SignatureAlgorithm::EcdsaP384Sha384, public).unwrap();
    let input = format!(r#"("@path");created={CREATED};keyid="p384";alg="ecdsa-p384-sha384""#);
    let base = format!("\"@path\": /foo\n\"@signature-params\": {input}");
    let signature = STANDARD.encode(pair.sign(&SystemRandom::new(), base.as_bytes()).unwrap());
    let fields = fields(&[
        ("signature-input", &format!("a={input}")),
        ("signature", &format!("a=:{signature}:")),
    ]);
    let keys = Keys::new(vec![key]).unwrap();
    let judged = |path| {
        let request = SignedRequest {
            path,
            ..request(&fields)
        };
        verify(&request, &keys, &lax(), at(CREATED)).map(drop)
    };
    assert_eq!(judged("/foo"), Ok(()));
    assert_eq!(judged("/bar"), Err(SignatureError::Signature));
}
