//! `a=b&c=d`, and cookies.

use proptest::prelude::*;

use super::*;
use crate::body::{cookies, urlencoded};

#[track_caller]
fn check(body: &str, expected: &[&str], invalid: bool) {
    // In the body and in the arena, where query strings stand, it must be the same.
    let read = read_body(
        BodyProcessor::UrlEncoded,
        b"",
        Bytes::copy_from_slice(body.as_bytes()),
    );
    assert_eq!(shown(&read.arguments), expected, "{body}");
    let mut store = Store::default();
    store.add(b"before");
    let input = store.add(body.as_bytes());
    let mut out = Vec::new();
    let told = urlencoded(&mut store, input, b'&', &Limits::default(), &mut out);
    let own = |text| store.get(text).to_vec();
    let pairs: Vec<_> = out.iter().map(|a| (own(a.name), own(a.value))).collect();
    assert_eq!(shown(&pairs), expected, "{body}");
    assert_eq!(
        (told.invalid_encoding, told.fault),
        (invalid, None),
        "{body}"
    );
}

#[test]
fn pairs() {
    check("", &[], false);
    check("a=b", &["a=b"], false);
    check("a=b&c=d", &["a=b", "c=d"], false);
    check("a=b&a=c", &["a=b", "a=c"], false);
    check("a", &["a="], false);
    check("a=", &["a="], false);
    check("=b", &["=b"], false);
    check("=", &["="], false);
    check("&&a=b&&", &["a=b"], false);
    check("a=b=c", &["a=b=c"], false);
    check("a;b=c", &["a;b=c"], false);
    check("a=b;c=d", &["a=b;c=d"], false);
}

#[test]
fn encodings() {
    check("a%41=%42", &["aA=B"], false);
    check("a+b=c+d", &["a b=c d"], false);
    check("a=%2b%2B", &["a=++"], false);
    check("a=%00", &["a=\\x00"], false);
    check("a=%26&b=%3d", &["a=&", "b=="], false);
    check("a=%2541", &["a=%41"], false);
    check("a=%", &["a=%"], true);
    check("a=%4", &["a=%4"], true);
    check("a=%zz", &["a=%zz"], true);
    check("a=%u0041", &["a=%u0041"], true);
    check("a=%%41", &["a=%A"], true);
    check("%g1=1+1&b=%41", &["%g1=1 1", "b=A"], true);
    check("a=%25", &["a=%"], false);
}

#[test]
fn the_separator() {
    let mut store = Store::default();
    let input = store.add(b"a=1;b=2&c");
    let mut out = Vec::new();
    urlencoded(&mut store, input, b';', &Limits::default(), &mut out);
    assert_eq!(out.len(), 2);
    assert_eq!(store.get(out[1].value), b"2&c");
}

#[test]
fn too_many() {
    let limits = Limits {
        arguments: 2,
        ..Limits::default()
    };
    let (_, out) = collect(BodyProcessor::UrlEncoded, "", b"a&b&c", &limits);
    assert_eq!(out.arguments.len(), 2);
    assert!(out.flags.reqbody_processor_error);
    let said = out.fault.map(|fault| fault.to_string());
    assert_eq!(
        said.as_deref(),
        Some("URLENCODED: more arguments than the limit at byte 4")
    );
    let (_, out) = collect(BodyProcessor::UrlEncoded, "", b"a&b&", &limits);
    assert_eq!(out.fault, None);
}

#[test]
fn what_stands_there_is_not_copied() {
    let read = read_body(
        BodyProcessor::UrlEncoded,
        b"",
        Bytes::from_static(b"a=b&c=d"),
    );
    assert_eq!(read.written, 0);
}

#[track_caller]
fn check_cookies(field: &str, expected: &[&str]) {
    let mut store = Store::default();
    let input = store.add(field.as_bytes());
    let mut out = Vec::new();
    let fault = cookies(&store, input, &Limits::default(), &mut out);
    let own = |text| store.get(text).to_vec();
    let pairs: Vec<_> = out.iter().map(|a| (own(a.name), own(a.value))).collect();
    assert_eq!(
        (shown(&pairs), fault),
        (expected.iter().map(|s| (*s).to_owned()).collect(), None)
    );
}

#[test]
fn cookie_fields() {
    check_cookies("", &[]);
    check_cookies("a=b", &["a=b"]);
    check_cookies("a=b; c=d", &["a=b", "c=d"]);
    check_cookies("a=b;c=d;", &["a=b", "c=d"]);
    check_cookies("  a = b ;\tc\t", &["a=b", "c="]);
    check_cookies("a=b=c==", &["a=b=c=="]);
    check_cookies("=x; ; y", &["=x", "y="]);
    check_cookies("a=%41+b", &["a=%41+b"]);
    check_cookies(
        "$Version=1; a=\"b;c\"",
        &["$Version=1", "a=\\\"b", "c\\\"="],
    );
}

#[test]
fn too_many_cookies() {
    let mut store = Store::default();
    let input = store.add(b"a;b;c");
    let limits = Limits {
        arguments: 2,
        ..Limits::default()
    };
    let fault = cookies(&store, input, &limits, &mut Vec::new());
    assert_eq!(fault.map(|fault| fault.at), Some(4));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(pairs: Vec<(Vec<u8>, Vec<u8>)>, plus: bool) {
        let mut body = String::new();
        for (name, value) in &pairs {
            for (text, end) in [(name, '='), (value, '&')] {
                for byte in text {
                    match byte {
                        b' ' if plus => body.push('+'),
                        byte if byte.is_ascii_alphanumeric() => body.push(char::from(*byte)),
                        byte => body.push_str(&format!("%{byte:02x}")),
                    }
                }
                body.push(end);
            }
        }
        let read = read_body(BodyProcessor::UrlEncoded, b"", Bytes::from(body));
        prop_assert_eq!(read.arguments, pairs);
    }

    #[test]
    fn any_bytes_are_read(body: Vec<u8>) {
        let length = body.len();
        let read = read_body(BodyProcessor::UrlEncoded, b"", Bytes::from(body));
        prop_assert_eq!(read.error, None);
        prop_assert!(read.written <= length);
    }
}
