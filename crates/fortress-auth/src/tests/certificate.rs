//! Names in certificates and what rules make of them. The certificates in `data/certificates` were
//! made by OpenSSL: `many` has a name of each kind, `bare` has none, `odd` two common names, a
//! wildcard and kinds that nobody reads, `nul` a NUL in a DNS name, `crowd` 65 names.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::certificate::{
    CertificateError, CertificateRules, ClientCertificate, MAX_CERTIFICATE, NameRule, client_cert,
    client_cert_chain, parse_client_cert, parse_client_cert_chain, x5t_s256,
};

const MANY: &[u8] = include_bytes!("data/certificates/many.der");
const BARE: &[u8] = include_bytes!("data/certificates/bare.der");
const ODD: &[u8] = include_bytes!("data/certificates/odd.der");
const NUL: &[u8] = include_bytes!("data/certificates/nul.der");
const CROWD: &[u8] = include_bytes!("data/certificates/crowd.der");

/// The client's certificate of RFC 9440, appendix A.
pub(super) const RFC_9440: &str = "MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=";

fn rules(rules: &[&str]) -> CertificateRules {
    let parse = |rule: &&str| rule.parse().unwrap_or_else(|why| panic!("{rule}: {why}"));
    CertificateRules::new(rules.iter().map(parse).collect())
}

#[track_caller]
fn names(der: &[u8], given: &[&str], id: &str) {
    let certificate = ClientCertificate::parse(der).expect("a certificate");
    let principal = rules(given).principal(&certificate).expect("a principal");
    assert_eq!(principal.id, id);
    assert_eq!(principal.thumbprint, certificate.thumbprint());
}

#[track_caller]
fn names_nobody(der: &[u8], given: &[&str]) {
    let certificate = ClientCertificate::parse(der).expect("a certificate");
    let found = rules(given).principal(&certificate);
    assert_eq!(found, Err(CertificateError::NoName), "{given:?}");
}

#[track_caller]
fn malformed(der: &[u8]) {
    assert_eq!(
        ClientCertificate::parse(der),
        Err(CertificateError::Malformed)
    );
}

#[test]
fn the_first_rule_that_fits_decides() {
    let spiffe = "spiffe://example.com/ns/prod/sa/orders";
    names(MANY, &["spiffe://example.com/*"], spiffe);
    names(MANY, &["spiffe://example.com/ns/*/sa/orders"], spiffe);
    names(MANY, &["spiffe://example.com/ns/*/sa/*"], spiffe);
    names(MANY, &[spiffe], spiffe);
    names(MANY, &["dns:*.example.com", spiffe], "orders.example.com");
    names(MANY, &["dns:ORDERS.example.com"], "orders.example.com");
    names(MANY, &["dns:b.example.org"], "b.example.org");
    names(MANY, &["email:ops@example.com"], "ops@example.com");
    names(MANY, &["email:*@EXAMPLE.com"], "ops@example.com");
    names(MANY, &["ip:10.1.0.0/16"], "10.1.2.3");
    names(MANY, &["ip:2001:db8::/32"], "2001:db8::7");
    names(MANY, &["cn:orders"], "CN=orders");
    names(BARE, &["cn:*"], "CN=orders");
    let der = STANDARD.decode(RFC_9440).unwrap();
    names(&der, &["email:*@example.com"], "bdc@example.com");
}

#[test]
fn other_names_are_nobodys() {
    names_nobody(MANY, &[]);
    names_nobody(MANY, &["spiffe://example.org/*"]);
    names_nobody(MANY, &["spiffe://example.com/ns/*/sa"]);
    names_nobody(MANY, &["spiffe://example.com/*/orders"]);
    names_nobody(MANY, &["spiffe://example.com/ns/prod/sa/order"]);
    names_nobody(MANY, &["spiffe://EXAMPLE.com/*"]);
    names_nobody(MANY, &["dns:*.orders.example.com"]);
    names_nobody(
        MANY,
        &["dns:example.com", "dns:xample.com", "dns:*.b.example.org"],
    );
    names_nobody(MANY, &["email:Ops@example.com", "email:*@sub.example.com"]);
    names_nobody(MANY, &["ip:10.2.0.0/16", "ip:10.1.2.4"]);
    // A common name counts only where it is asked for, and only if there is one.
    names_nobody(BARE, &["dns:*.example.com", "spiffe://orders/*"]);
    names_nobody(MANY, &["cn:Orders"]);
    names_nobody(ODD, &["cn:*"]);
    names_nobody(ODD, &["dns:*.example.com"]);
}

#[test]
fn what_a_star_stands_for_is_plain() {
    let fits = |uri: &str| {
        let mut certificate = ClientCertificate::parse(BARE).unwrap();
        certificate.names.push(crate::certificate::Name::Uri(uri));
        rules(&["spiffe://example.com/*"])
            .principal(&certificate)
            .is_ok()
    };
    assert!(fits("spiffe://example.com/a"));
    assert!(fits("spiffe://example.com/a/b-c_d.e"));
    for uri in [
        "spiffe://example.com",
        "spiffe://example.com/",
        "spiffe://example.com//a",
        "spiffe://example.com/a/",
        "spiffe://example.com/a/../b",
        "spiffe://example.com/.",
        "spiffe://example.com/a%2fb",
        "spiffe://example.com/a?b",
        "spiffe://example.com/a#b",
        "spiffe://example.com.evil/a",
        "Spiffe://example.com/a",
    ] {
        assert!(!fits(uri), "{uri}");
    }
}

#[test]
fn certificates_are_read_strictly() {
    malformed(&[]);
    malformed(NUL);
    malformed(&[MANY, &[0]].concat());
    for end in 0..MANY.len() {
        malformed(&MANY[..end]);
    }
    // The subject's key id as a second list of names.
    let key_id = [0x06, 0x03, 0x55, 0x1d, 0x0e];
    let at = MANY.windows(5).position(|window| window == key_id).unwrap();
    let mut twice = MANY.to_vec();
    twice[at + 4] = 0x11;
    malformed(&twice);
    assert_eq!(
        ClientCertificate::parse(CROWD),
        Err(CertificateError::TooManyNames)
    );
    let long = vec![0x30; MAX_CERTIFICATE + 1];
    assert_eq!(
        ClientCertificate::parse(&long),
        Err(CertificateError::TooLarge)
    );
}

#[test]
fn changed_bytes_never_panic() {
    for at in 0..MANY.len() {
        for change in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut der = MANY.to_vec();
            der[at] ^= change;
            drop(ClientCertificate::parse(&der));
        }
    }
}

#[test]
fn patterns_that_would_surprise_are_refused() {
    for pattern in [
        "",
        "*",
        "example.com",
        "dns:",
        "dns:*",
        "dns:*.com",
        "dns:a.*.com",
        "dns:*a.example.com",
        "dns:-a.example.com",
        "email:example.com",
        "email:a*@example.com",
        "email:@example.com",
        "email:*@",
        "ip:10.0.0.0/33",
        "ip:10.0.0.0/+8",
        "ip:10.0.0",
        "ip:",
        "cn:",
        "spiffe://*/a",
        "spiffe://example.com/a*",
        "*://example.com/a",
        "spiffe:///a",
        "urn:a:*",
        "http:a",
        "dns:a.\u{e9}.com",
    ] {
        assert!(pattern.parse::<NameRule>().is_err(), "{pattern}");
    }
    for pattern in [
        "spiffe://example.com/*",
        "dns:*.example.com",
        "email:*@example.com",
        "ip:10.0.0.0/8",
        "cn:a",
        "urn:example:orders",
    ] {
        assert_eq!(pattern.parse::<NameRule>().unwrap().to_string(), pattern);
    }
}

#[test]
fn thumbprints_are_those_of_openssl() {
    // `openssl x509 -fingerprint -sha256`
    let expected = "E6:73:89:99:03:55:1F:FF:A1:14:0C:7B:4F:E7:8B:55:29:F3:E4:D7:4C:AA:40:84:53:06:0D:41:C3:37:2E:2C";
    let found = ClientCertificate::parse(MANY).unwrap().thumbprint();
    let found: Vec<String> = found.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(found.join(":"), expected);
    assert_eq!(x5t_s256(MANY).len(), 43);
}

#[test]
fn client_cert_is_passed_on_and_read() {
    let der = STANDARD.decode(RFC_9440).unwrap();
    let value = client_cert(&der);
    assert_eq!(value, format!(":{RFC_9440}:"));
    assert_eq!(parse_client_cert(&value).as_ref(), Ok(&der));
    let chain = client_cert_chain(&[MANY, BARE]);
    assert_eq!(
        parse_client_cert_chain(&chain),
        Ok(vec![MANY.to_vec(), BARE.to_vec()])
    );
    assert_eq!(client_cert_chain(&[]), "");

    for value in [
        "",
        "AQI=",
        ":AQI=:;a",
        ":AQI=:, :AQI=:",
        "\"a\"",
        "(:AQI=:)",
        ":AQI",
    ] {
        assert!(parse_client_cert(value).is_err(), "{value}");
    }
    for value in ["(:AQI=:)", ":AQI=:,", ":AQI=: :AQI=:", "a", ":AQI=:;q=1"] {
        assert!(parse_client_cert_chain(value).is_err(), "{value}");
    }
    let nine = client_cert_chain(&[BARE; 9]);
    assert!(parse_client_cert_chain(&nine).is_err());
    let long = client_cert(&vec![0; MAX_CERTIFICATE + 1]);
    assert!(parse_client_cert(&long).is_err());
}
