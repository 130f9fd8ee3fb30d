#![no_main]
#![expect(dead_code, reason = "each target calls one of the entries")]
//! Fuzzes the rule engine with the OWASP Core Rule Set: spared rules against all rules.

#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::waf_core_rules(data));
