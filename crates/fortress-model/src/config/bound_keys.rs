//! The keys of `bounds`: ranges, defaults, and the fields that they set.
//!
//! Deliberately not here: what a bound protects from; see [`Bounds`](crate::Bounds).

use super::keys::{DAYS, HOURS, Key, Kind, MILLIS};
use crate::bounds::Frequency;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Bounds that can be known per operation.
pub(super) const NEAR_BOUNDS: &[Key] = &[
    Key::new(
        "body",
        Kind::Size(1, GIB),
        "Bytes of a request body, before and after decoding (default: 1MiB).",
    )
    .sets(|bounds, value| bounds.body = size(value)),
    Key::new(
        "expansion",
        Kind::Count(1, 10_000),
        "How many times larger a decoded body may be than it came (default: 100).",
    )
    .sets(|bounds, value| bounds.expansion = size(value)),
    Key::new(
        "depth",
        Kind::Count(1, 128),
        "Nesting of a body or a `deepObject` parameter (default: 32).",
    )
    .sets(|bounds, value| bounds.depth = size(value)),
    Key::new(
        "properties",
        Kind::Count(1, 1_000_000),
        "Properties of one object (default: 1000).",
    )
    .sets(|bounds, value| bounds.properties = size(value)),
    Key::new(
        "items",
        Kind::Count(1, 10_000_000),
        "Items of one array (default: 10000).",
    )
    .sets(|bounds, value| bounds.items = size(value)),
    Key::new(
        "parts",
        Kind::Count(1, 100_000),
        "Parts of a multipart body, parameters of a query or form (default: 1000).",
    )
    .sets(|bounds, value| bounds.parts = size(value)),
    Key::new(
        "inspection",
        Kind::Size(KIB, 64 * GIB),
        "What the rules of `waf` may examine for one request and its answer: bytes, each as often as a rule looks at it (default: 256MiB).",
    )
    .sets(|bounds, value| bounds.inspection = value),
    Key::new(
        "body_rate",
        Kind::Rate(1, GIB),
        "What a body must reach after five seconds; what comes faster buys ten seconds of silence at most (default: 1KiB/s).",
    )
    .sets(|bounds, value| bounds.body_rate = value),
    Key::new(
        "response",
        Kind::Size(1, GIB),
        "Bytes of a response that are held for checking; a larger one streams unchecked and is recorded so (default: 4MiB).",
    )
    .sets(|bounds, value| bounds.response = size(value)),
    Key::new(
        "write_time",
        Kind::Duration(10 * MILLIS, HOURS),
        "How long a client may take in nothing of a response (default: 30s).",
    )
    .sets(|bounds, value| bounds.write_time = time(value)),
];

/// Bounds of connections and heads, before any operation is known.
pub(super) const GATEWAY_BOUNDS: &[Key] = &[
    Key::new(
        "head",
        Kind::Size(256, MIB),
        "Bytes of a request head (default: 32KiB).",
    )
    .sets(|bounds, value| bounds.head = size(value)),
    Key::new(
        "headers",
        Kind::Count(1, 10_000),
        "Header fields of a request (default: 100).",
    )
    .sets(|bounds, value| bounds.headers = size(value)),
    Key::new(
        "uri",
        Kind::Size(16, 64 * KIB),
        "Bytes of a request target (default: 8KiB).",
    )
    .sets(|bounds, value| bounds.uri = size(value)),
    Key::new(
        "head_time",
        Kind::Duration(10 * MILLIS, HOURS),
        "From a request's first byte to the end of its head (default: 10s).",
    )
    .sets(|bounds, value| bounds.head_time = time(value)),
    Key::new(
        "idle_time",
        Kind::Duration(10 * MILLIS, DAYS),
        "A connection without a request is closed after this (default: 60s).",
    )
    .sets(|bounds, value| bounds.idle_time = time(value)),
    Key::new(
        "connections",
        Kind::Count(1, 10_000_000),
        "Connections in all (default: 10000).",
    )
    .sets(|bounds, value| bounds.connections = size(value)),
    Key::new(
        "connections_per_client",
        Kind::Count(1, 10_000_000),
        "Connections of one client address, of IPv6 one /64 (default: 256).",
    )
    .sets(|bounds, value| bounds.connections_per_client = size(value)),
    Key::new(
        "connection_rate",
        Kind::Frequency,
        "New connections of one client address, of IPv6 one /64, and as many at once (default: 10000/s).",
    )
    .sets(|bounds, value| bounds.connection_rate = Frequency::unpacked(value)),
    Key::new(
        "handshake_rate",
        Kind::Frequency,
        "TLS handshakes of one client address, of IPv6 one /64, and as many at once (default: 2000/s).",
    )
    .sets(|bounds, value| bounds.handshake_rate = Frequency::unpacked(value)),
    Key::new(
        "body_memory",
        Kind::Size(MIB, 1024 * GIB),
        "Bytes of all request bodies that are held at one time (default: 512MiB).",
    )
    .sets(|bounds, value| bounds.body_memory = value),
    Key::new(
        "streams",
        Kind::Count(1, 10_000),
        "Concurrent HTTP/2 streams of a connection (default: 100).",
    )
    .sets(|bounds, value| bounds.streams = small(value)),
    Key::new(
        "resets",
        Kind::Count(1, 100_000),
        "HTTP/2 resets and control frames of a connection within ten seconds (default: 200).",
    )
    .sets(|bounds, value| bounds.resets = small(value)),
    Key::new(
        "continuations",
        Kind::Count(1, 1_000),
        "CONTINUATION frames of one header block (default: 8).",
    )
    .sets(|bounds, value| bounds.continuations = small(value)),
    Key::new(
        "drain_time",
        Kind::Duration(0, HOURS),
        "How long a stop waits for requests in flight (default: 30s).",
    )
    .sets(|bounds, value| bounds.drain_time = time(value)),
];

// INVARIANT: the ranges above keep values well within these types.
fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn small(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn time(nanoseconds: u64) -> std::time::Duration {
    std::time::Duration::from_nanos(nanoseconds)
}
