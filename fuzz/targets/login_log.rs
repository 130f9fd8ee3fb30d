#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes what reads the entries that instances share of logins.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::login_log(data));
