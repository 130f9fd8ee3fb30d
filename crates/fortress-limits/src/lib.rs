//! Limits: rates, quotas, concurrency and load protection, for very many keys in bounded memory.
//!
//! Time and randomness come in as arguments, and nothing here does IO: a limit can be tested under
//! simulated time, and what several instances share is here as the messages alone. Deliberately not
//! here: where requests come from, which limits an operation has, and who talks to Redis.

pub mod adaptive;
pub mod budget;
pub mod concurrency;
pub mod cost;
pub mod defence;
pub mod distributed;
pub mod gcra;
pub mod headers;
pub mod key;
pub mod limiter;
pub mod networks;
pub mod quota;
mod shards;

use std::time::Duration;

pub use key::Key;

/// What a limit says of one request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Decision {
    /// Whether the cost was taken.
    pub allowed: bool,
    /// Units that could still be taken at once, after this decision.
    pub remaining: u64,
    /// How long until the same cost could be taken: zero if it was, `None` if it never can be
    /// because it is larger than the limit itself, or if no one knows (concurrency).
    pub retry_after: Option<Duration>,
    /// How long until the limit is as if it had never been used, if nothing more is taken.
    pub reset_after: Duration,
}

impl Decision {
    /// Nothing left, and no one knows until when.
    pub const NOTHING: Self = Self {
        allowed: false,
        remaining: 0,
        retry_after: None,
        reset_after: Duration::ZERO,
    };
}
