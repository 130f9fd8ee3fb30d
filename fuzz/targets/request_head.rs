#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes what reads the head of a request, as a client sends it.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::request_head(data));
