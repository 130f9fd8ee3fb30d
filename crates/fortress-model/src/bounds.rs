//! Every size, count and time that is bounded, by name.

use std::time::Duration;

/// How often something may happen, evenly, and as many times at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frequency {
    /// How many times; at least 1.
    pub count: u32,
    /// In how many seconds; at least 1.
    pub seconds: u32,
}

impl Frequency {
    /// Both numbers in one.
    pub fn packed(self) -> u64 {
        (u64::from(self.count) << 32) | u64::from(self.seconds)
    }

    /// From what [`Frequency::packed`] gave.
    pub fn unpacked(packed: u64) -> Self {
        let low = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(1);
        Self {
            count: low(packed >> 32).max(1),
            seconds: low(packed).max(1),
        }
    }
}

/// The bounds of one operation, API or the whole gateway. Nearest wins, key by key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Bytes of a request head: request line and header fields together.
    pub head: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Bytes of the request target.
    pub uri: usize,
    /// Bytes of a request body, before and after decoding.
    pub body: usize,
    /// A decoded body may be at most this many times as large as it came.
    pub expansion: usize,
    /// Nesting of a body or a `deepObject` parameter.
    pub depth: usize,
    /// Properties of one object.
    pub properties: usize,
    /// Items of one array.
    pub items: usize,
    /// Parts of a multipart body, and parameters of a query or form.
    pub parts: usize,
    /// Work that the rules may do for one request and its answer: bytes, each counted as often as a
    /// rule looks at it.
    pub inspection: u64,
    /// From a connection's or request's first byte to the end of its head.
    pub head_time: Duration,
    /// A connection without a request is closed after this.
    pub idle_time: Duration,
    /// Bytes a second that a body must reach, after a grace of five seconds; what comes faster buys ten
    /// seconds of silence at most.
    pub body_rate: u64,
    /// Connections to all listeners together.
    pub connections: usize,
    /// Connections of one client address (IPv6: of one /64).
    pub connections_per_client: usize,
    /// New connections of one client address (IPv6: of one /64).
    pub connection_rate: Frequency,
    /// TLS handshakes of one client address (IPv6: of one /64).
    pub handshake_rate: Frequency,
    /// Bytes of all request bodies that are held at one time.
    pub body_memory: u64,
    /// Concurrent HTTP/2 streams of a connection.
    pub streams: u32,
    /// Streams that a peer may reset, and control frames (SETTINGS, PING, PRIORITY, empty DATA)
    /// that it may send, within ten seconds, before the connection is closed.
    pub resets: u32,
    /// CONTINUATION frames of one header block.
    pub continuations: u32,
    /// Bytes of a response that are held for checking; a larger one streams and is journalled as
    /// not checked.
    pub response: usize,
    /// Time to write a response to a client that reads slowly, without progress.
    pub write_time: Duration,
    /// How long a stop waits for requests in flight.
    pub drain_time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            head: 32 << 10,
            headers: 100,
            uri: 8 << 10,
            body: 1 << 20,
            expansion: 100,
            depth: 32,
            properties: 1_000,
            items: 10_000,
            parts: 1_000,
            inspection: 256 << 20,
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            body_rate: 1 << 10,
            connections: 10_000,
            connections_per_client: 256,
            connection_rate: Frequency {
                count: 10_000,
                seconds: 1,
            },
            handshake_rate: Frequency {
                count: 2_000,
                seconds: 1,
            },
            body_memory: 512 << 20,
            streams: 100,
            resets: 200,
            continuations: 8,
            response: 4 << 20,
            write_time: Duration::from_secs(30),
            drain_time: Duration::from_secs(30),
        }
    }
}
