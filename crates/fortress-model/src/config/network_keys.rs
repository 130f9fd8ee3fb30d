//! The keys of `networks`: lists of addresses, and who uses them.
//!
//! Deliberately not here: how a value becomes a type (`networks.rs`).

use super::keys::{Block, DAYS, Key, Kind, SECONDS};

/// One list.
pub(super) static NETWORK_LIST: Block = Block {
    name: "networks.NAME",
    doc: "A list of addresses and networks: what its sources say, together.",
    groups: &[&[
        Key::new(
            "addresses",
            Kind::Items(&Kind::Network),
            "Addresses and networks, written here.",
        ),
        Key::new(
            "file",
            Kind::File,
            "A file with one in each line, and comments after `#` or `;`. It is watched.",
        ),
        Key::new(
            "url",
            Kind::HttpsUrl,
            "A document like such a file, fetched again and again. What was had last is kept while it cannot be had.",
        ),
        Key::new(
            "crowdsec",
            Kind::HttpsUrl,
            "CrowdSec's local API, whose decisions on addresses and ranges are followed.",
        ),
        Key::new(
            "key",
            Kind::Secret,
            "With `crowdsec`: the bouncer's API key, as a reference. Each instance needs its own.",
        ),
        Key::new(
            "decisions",
            Kind::OneOrList(&Kind::Word(&["ban", "captcha", "throttle"])),
            "With `crowdsec`: which decisions (default: ban).",
        ),
        Key::new(
            "ca",
            Kind::File,
            "With `url` and `crowdsec`: trust the certificates of this PEM file alone (default: those of the machine).",
        ),
        Key::new(
            "refresh",
            Kind::Duration(SECONDS, 30 * DAYS),
            "How often `url` (default: 1h) and `crowdsec` (default: 10s) are asked.",
        ),
    ]],
    later: &["geo", "asn"],
};

/// `networks` of whatever has clients.
pub(super) const NETWORKS_KEY: Key = Key::new(
    "networks",
    Kind::Block(&NETWORK_RULES),
    "From where clients may come, by lists of `networks`.",
);

static NETWORK_RULES: Block = Block {
    name: "networks of a listener, an API or an operation",
    doc: "From where clients may come, by lists of `networks`.",
    groups: &[&[
        Key::new(
            "allow",
            Kind::OneOrList(&Kind::Text),
            "Lists: only clients in one of them (default: all).",
        ),
        Key::new(
            "deny",
            Kind::OneOrItems(&Kind::Text),
            "Lists: no clients in one of them, whatever `allow` says (default: none); `[]` lifts what is denied further away.",
        ),
    ]],
    later: &[],
};
