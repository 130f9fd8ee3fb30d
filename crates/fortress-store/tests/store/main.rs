//! The store from outside: the same cases on both databases, faults, and the feed.
#![expect(
    clippy::panic,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cases;
mod faults;
mod feed;
#[path = "postgres.rs"]
mod postgres_server;
mod server;
mod support;
