#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes what reads the header of the PROXY protocol.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::proxy_protocol(data));
