//! The keys of `limits`: how many requests, of whom, and what happens beyond.
//!
//! Deliberately not here: how a value becomes a type and what keys mean together (`limits.rs`).

use super::keys::{Block, Key, Kind};

/// `limits` of anything.
pub(super) const LIMITS_KEY: &[Key] = &[
    Key::new(
        "limits",
        Kind::Items(&LIMITS),
        "Rates, quotas and concurrency; all of them hold (default: none).",
    ),
    Key::new(
        "on_fault",
        Kind::Block(&ON_FAULT),
        "What a guard does when what it needs is away.",
    ),
];

static ON_FAULT: Block = Block {
    name: "on_fault",
    doc: "What a guard does when what it needs is away.",
    groups: &[&[Key::new(
        "limits",
        ON_FAULT_OF_LIMITS,
        "When the store that instances share is away: each goes on alone with its part (`local`, the default), requests are refused (`closed`), or let through (`open`). A limit's own `on_fault` is nearer.",
    )]],
    later: &["identity"],
};

/// What holds while the store that instances share is away.
pub(super) const ON_FAULT_OF_LIMITS: Kind = Kind::Word(&["local", "closed", "open"]);

static LIMITS: Kind = Kind::Block(&LIMIT);

static LIMIT: Block = Block {
    name: "limits[]",
    doc: "One limit: `rate` with `burst`, `quota`, or `concurrent`.",
    groups: &[&[
        Key::new(
            "per",
            Kind::OneOrList(&Kind::LimitPart),
            "What is counted by: `client`, `principal`, `key`, `tenant`, `operation`, `ja4`, `claim.NAME`, `header.NAME`, `query.NAME`, `body.NAME`, or a list of them, each combination by itself.",
        )
        .required(),
        Key::new(
            "rate",
            Kind::Frequency,
            "How often, evenly: `10/s`, `100/min`, `1000/h` or `1000/day`.",
        ),
        Key::new(
            "burst",
            Kind::Count(1, 1_000_000_000),
            "With `rate`: how many at once (default: as many as the rate's number).",
        ),
        Key::new(
            "quota",
            Kind::Frequency,
            "How many in each second, minute, hour, day or month of the calendar: `1000/day`.",
        ),
        Key::new(
            "zone",
            Kind::Zone,
            "With `quota`: whose calendar, such as `Europe/Berlin` (default: UTC).",
        ),
        Key::new(
            "window",
            Kind::Word(&["calendar", "sliding"]),
            "With `quota`: all of it is there anew at the window's edge (`calendar`, the default), or the window before fades over this one (`sliding`).",
        ),
        Key::new(
            "concurrent",
            Kind::Count(1, 1_000_000),
            "How many requests in flight at once.",
        ),
        Key::new(
            "cost",
            Kind::Cost,
            "How many units a request takes: a number, or from the request or its answer, such as `query.page_size / 100` or `response.header.X-Cost` (default: 1).",
        ),
        Key::new(
            "name",
            Kind::Text,
            "What headers and the journal call it (default: made from what it says).",
        ),
        Key::new(
            "shared",
            Kind::Bool,
            "One count over all operations that it stands for (`true`, the default), or one for each (`false`).",
        ),
        Key::new(
            "missing",
            Kind::Word(&["client", "share", "skip", "refuse"]),
            "For requests that lack something of `per`: the client's address stands in for it (`client`, the default), they are counted together (`share`), the limit does not hold (`skip`), or they are refused (`refuse`).",
        ),
        Key::new(
            "mode",
            Kind::Word(&["enforce", "monitor", "off"]),
            "As `mode`, of this limit alone, and never stricter than it (default: enforce).",
        ),
        Key::new(
            "on_fault",
            ON_FAULT_OF_LIMITS,
            "When the store that instances share is away: each goes on alone with its part (`local`), requests are refused (`closed`), or let through (`open`); default: `on_fault.limits`.",
        ),
        Key::new(
            "exempt",
            Kind::Block(&EXEMPT),
            "Who it does not hold for.",
        ),
        Key::new(
            "networks",
            Kind::OneOrList(&Kind::Text),
            "Lists of `networks`: the limit holds for clients in one of them alone (default: for all).",
        ),
        Key::new(
            "client",
            Kind::Block(&CLIENT),
            "How much of an address is one client.",
        ),
        Key::new(
            "headers",
            Kind::Word(&["draft", "draft-6", "draft-7", "x-ratelimit", "none"]),
            "How clients are told: `RateLimit-Policy` and `RateLimit` of the current IETF draft (`draft`, the default), an older form of them, `X-RateLimit-…`, or not at all (`none`). Limits of one list have one form.",
        ),
    ]],
    later: &[],
};

static EXEMPT: Block = Block {
    name: "limits[].exempt",
    doc: "Who a limit does not hold for.",
    groups: &[&[
        Key::new(
            "networks",
            Kind::List(&Kind::Network),
            "Clients with an address in one of them.",
        ),
        Key::new(
            "principals",
            Kind::List(&Kind::Text),
            "Principals, as `IDENTITY/NAME`, or by the name alone, of whichever identity; compared exactly.",
        ),
    ]],
    later: &[],
};

static CLIENT: Block = Block {
    name: "limits[].client",
    doc: "How much of an address is one client.",
    groups: &[&[
        Key::new(
            "ipv4",
            Kind::Count(8, 32),
            "Bits of an IPv4 address (default: 32).",
        ),
        Key::new(
            "ipv6",
            Kind::Count(16, 128),
            "Bits of an IPv6 address (default: 64, which one machine has to itself).",
        ),
    ]],
    later: &[],
};
