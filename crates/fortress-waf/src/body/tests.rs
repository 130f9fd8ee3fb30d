//! Tables and properties of the body processors.

use bytes::Bytes;

use super::{Collected, Flags, Limits, process, read_body};
use crate::{seclang::BodyProcessor, store::Store};

mod json;
mod multipart;
mod urlencoded;
mod xml;

/// Pairs as `name=value`, what is not ASCII escaped.
fn shown(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<String> {
    pairs
        .iter()
        .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
        .collect()
}

fn collect(
    processor: BodyProcessor,
    content_type: &str,
    body: &[u8],
    limits: &Limits,
) -> (Store, Collected) {
    let mut store = Store::default();
    store.set_body(Bytes::copy_from_slice(body));
    let mut out = Collected::default();
    process(
        processor,
        &mut store,
        content_type.as_bytes(),
        b'&',
        limits,
        &mut out,
    );
    (store, out)
}

#[track_caller]
fn check_type(content_type: &str, expected: Option<BodyProcessor>) {
    let found = BodyProcessor::for_content_type(content_type.as_bytes());
    assert_eq!(found, expected, "{content_type}");
}

#[test]
fn media_types() {
    use BodyProcessor::{Json, Multipart, UrlEncoded, Xml};
    check_type("application/x-www-form-urlencoded", Some(UrlEncoded));
    check_type(
        "application/x-www-form-urlencoded;charset=utf-8",
        Some(UrlEncoded),
    );
    check_type("multipart/form-data; boundary=x", Some(Multipart));
    check_type("Multipart/Form-Data", Some(Multipart));
    check_type("application/json", Some(Json));
    check_type(" application/JSON ; charset=utf-8", Some(Json));
    check_type("application/problem+json", Some(Json));
    check_type("text/xml", Some(Xml));
    check_type("application/xml", Some(Xml));
    check_type("application/soap+xml; action=x", Some(Xml));
    check_type("image/svg+xml", Some(Xml));
    check_type("", None);
    check_type("text/plain", None);
    check_type("text/json5", None);
    check_type("multipart/mixed; boundary=x", None);
    check_type("application/jsonp", None);
    check_type("text/plain; x=application/json", None);
}

#[test]
fn nothing_in_nothing() {
    for processor in [
        BodyProcessor::Json,
        BodyProcessor::Xml,
        BodyProcessor::Multipart,
        BodyProcessor::UrlEncoded,
    ] {
        assert_eq!(read_body(processor, b"", Bytes::new()).error, None);
    }
}

#[test]
fn clearing_keeps_the_memory() {
    let (mut store, mut out) = collect(
        BodyProcessor::Json,
        "",
        br#"{"a":[1,2,3],"b":"\n"}"#,
        &Limits::default(),
    );
    let capacity = out.arguments.capacity();
    out.clear(usize::MAX);
    store.clear(usize::MAX);
    assert!(out.arguments.is_empty() && out.fault.is_none());
    assert_eq!(out.flags, Flags::default());
    assert_eq!(out.arguments.capacity(), capacity);
}
