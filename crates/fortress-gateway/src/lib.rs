//! The request path: listeners, guards, upstreams, replies and the journal.
//!
//! Deliberately not here: anything of the admin side or of the offline half (audit, attack).

pub mod h1;
pub mod journal;
pub mod metrics;
pub mod path;
