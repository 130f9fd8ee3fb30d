#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes what looks for SQL and script in a value.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::waf_injection(data));
