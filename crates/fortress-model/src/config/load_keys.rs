//! The keys of what protects an upstream from too much at once.
//!
//! Deliberately not here: how a limit is found (`fortress-limits`).

use super::keys::{Block, Key, Kind};

/// `concurrency` of an upstream.
pub(super) static CONCURRENCY: Block = Block {
    name: "apis.NAME.upstream.concurrency",
    doc: "Within what the number of requests at the upstream is sought.",
    groups: &[&[
        Key::new("min", Kind::Count(1, 100_000), "Never fewer (default: 4)."),
        Key::new(
            "max",
            Kind::Count(1, 100_000),
            "Never more (default: 1000).",
        ),
        Key::new(
            "start",
            Kind::Count(1, 100_000),
            "What it begins with (default: 50).",
        ),
        Key::new(
            "tolerance",
            Kind::Count(100, 1_000),
            "Percent of the time of an unhurried answer that answers may take (default: 150).",
        ),
    ]],
    later: &[],
};

/// `priority` of anything.
pub(super) const PRIORITY: Key = Key::new(
    "priority",
    Kind::Word(&["high", "normal", "low"]),
    "What is refused last or first when the upstream has too much to do (default: normal).",
);
