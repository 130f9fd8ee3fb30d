//! The store from outside: the same cases on both databases, faults, and the feed.
#![expect(
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod cases;
mod faults;
mod feed;
mod server;
mod support;
