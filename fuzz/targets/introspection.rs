#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes what reads an issuer's answer about a token.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::introspection(data));
