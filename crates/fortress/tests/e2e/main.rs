//! The real program, end to end: spawned, waited for by its own words, ended by signals.
#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod attack;
mod check;
mod crs;
mod defence;
mod demo;
mod explain;
mod init;
mod instances;
mod kept_quotas;
mod keys;
mod manual;
mod many_clients;
mod postgres;
#[expect(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../../fortress-store/tests/store/postgres.rs"]
mod postgres_server;
mod program;
mod protect;
mod redis;
mod run;
mod shared_concurrency;
mod shared_limits;
mod shared_logins;
mod shared_servers;
mod upstream;
mod waf;
mod waf_test;
