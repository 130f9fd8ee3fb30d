#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes what reads the head of an upstream's response.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::response_head(data));
