//! Every key of the configuration: its name, what it takes, and what it means. The loader, the
//! suggestions for unknown keys and the JSON Schema all read these tables, so that none of them can
//! know a key that the others do not.
//!
//! Deliberately not here: how a value becomes a type, and what keys mean together.

use super::{
    bound_keys::{GATEWAY_BOUNDS, NEAR_BOUNDS},
    defence_keys::{DETECT, ENUMERATION_KEY, LOGIN_KEY, LOGIN_KEY_OF_DESCRIPTION},
    identity_keys::{self, IDENTITY},
    journal_keys::SINK,
    limit_keys::LIMITS_KEY,
    listen_keys::{CERTIFICATE, LISTENER},
    load_keys::{CONCURRENCY, PRIORITY},
    network_keys::{self, NETWORKS_KEY},
    store::STORE,
    waf_keys::{WAF_KEY, WAF_KEY_OF_DESCRIPTION},
};
use crate::bounds::Bounds;

/// An object of the configuration with a fixed set of keys.
#[derive(Debug)]
pub(super) struct Block {
    /// Where it stands, for messages: `apis.NAME.upstream`.
    pub(super) name: &'static str,
    /// What it is for.
    pub(super) doc: &'static str,
    /// Its keys.
    pub(super) groups: &'static [&'static [Key]],
    /// Keys of the language that this version does not have yet.
    pub(super) later: &'static [&'static str],
}

impl Block {
    /// All keys, in the order of the tables.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().copied().flatten()
    }

    /// The key with a name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// A key of a block.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// What it means; the default is named here.
    pub(super) doc: &'static str,
    /// For keys of `bounds`: the field that it sets.
    pub(super) set: Option<fn(&mut Bounds, u64)>,
}

impl Key {
    pub(super) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            required: false,
            doc,
            set: None,
        }
    }

    pub(super) const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub(super) const fn sets(mut self, set: fn(&mut Bounds, u64)) -> Self {
        self.set = Some(set);
        self
    }
}

/// What a key takes. Ranges include both ends.
#[derive(Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A string that is not empty.
    Text,
    /// One of these, compared by its text.
    Word(&'static [&'static str]),
    /// A whole number.
    Count(u64, u64),
    /// `250ms`, `10s`, `5min`, `24h`, `90d`; the range is in nanoseconds.
    Duration(u64, u64),
    /// `64KiB`, `1MiB` or bytes.
    Size(u64, u64),
    /// `1KiB/s`; bytes a second.
    Rate(u64, u64),
    /// `127.0.0.1:8080`.
    Address,
    /// An address or a block in CIDR notation.
    Network,
    /// A host name, possibly `*.` and one.
    Host,
    /// `/v1`.
    BasePath,
    /// `http://…` or `https://…` of an upstream.
    Url,
    /// A path, with `file:` before it or without.
    File,
    /// A path to a secret: only with `file:`.
    SecretFile,
    /// `file:…`, or an https URL.
    KeySet,
    /// `redis://…` or `rediss://…`; with a password only as a reference.
    RedisUrl,
    /// A secret, by reference alone; its file need not be there yet.
    SecretSource,
    /// A secret: only as a reference.
    Secret,
    /// An https URL, or http on loopback.
    HttpsUrl,
    /// An algorithm of JWS.
    Algorithm,
    /// A rule's id, a range of ids, or a tag.
    Rules,
    /// `body.comment`: a part of a request.
    Parameter,
    /// `10/s`, `1000/day`.
    Frequency,
    /// What a limit counts by.
    LimitPart,
    /// `query.page_size / 100`.
    Cost,
    /// `Europe/Berlin`.
    Zone,
    /// `50%`; from 1 to 99.
    Percent,
    /// `50/10min`: different things in a time.
    Distinct,
    /// `401`, `response.ok == false`: what an answer looks like.
    Sign,
    /// An object with fixed keys.
    Block(&'static Block),
    /// A list with at least one item.
    List(&'static Kind),
    /// A list that may be empty.
    Items(&'static Kind),
    /// One or a list with at least one item.
    OneOrList(&'static Kind),
    /// One or a list that may be empty.
    OneOrItems(&'static Kind),
    /// An object whose keys are names; the text says of what.
    Map(&'static str, &'static Kind),
    /// Short or long.
    Either(&'static Kind, &'static Kind),
}

impl Kind {
    /// What to write, for messages.
    pub(super) fn expects(&self) -> &'static str {
        match self {
            Self::Bool => "`true` or `false`",
            Self::Text => "text",
            Self::Word(_) | Self::Algorithm => "a word",
            Self::Count(..) => "a whole number",
            Self::Duration(..) => "a duration such as `10s`",
            Self::Size(..) => "a size such as `64KiB`",
            Self::Rate(..) => "bytes a second such as `1KiB/s`",
            Self::Address => "an address such as `127.0.0.1:8080`",
            Self::Network => "a network such as `10.0.0.0/8`",
            Self::Host => "a host name",
            Self::BasePath => "a path such as `/v1`",
            Self::Url => "a URL such as `http://127.0.0.1:3000`",
            Self::File => "a path",
            Self::SecretFile => "`file:` and a path",
            Self::KeySet => "`file:` and a path, or an https URL",
            Self::RedisUrl => {
                "an address such as `redis://127.0.0.1:6379`, or a reference such as `env:REDIS_URL`"
            }
            Self::SecretSource => "a reference such as `file:store.key` or `env:NAME`",
            Self::Secret => "a reference such as `env:NAME` or `file:PATH`",
            Self::HttpsUrl => "an https URL",
            Self::Rules => "a rule's id, a range of them, or a tag",
            Self::Parameter => "a parameter such as `body.comment`",
            Self::Frequency => "a frequency such as `10/s`",
            Self::LimitPart => "something to count by",
            Self::Cost => "a cost",
            Self::Zone => "a time zone",
            Self::Percent => "a part such as `50%`",
            Self::Distinct => "a count in a time such as `50/10min`",
            Self::Sign => "a sign such as `401` or `response.ok == false`",
            Self::Block(_) | Self::Map(..) => "an object",
            Self::List(_) | Self::Items(_) => "a list",
            Self::OneOrList(_) | Self::OneOrItems(_) => "one or a list",
            Self::Either(short, _) => short.expects(),
        }
    }

    /// The block behind this kind, if there is one.
    pub(super) fn block(&self) -> Option<&'static Block> {
        match self {
            Self::Block(block) => Some(block),
            Self::List(kind)
            | Self::Items(kind)
            | Self::OneOrList(kind)
            | Self::OneOrItems(kind)
            | Self::Map(_, kind) => kind.block(),
            Self::Either(short, long) => long.block().or_else(|| short.block()),
            Self::Bool
            | Self::Text
            | Self::Word(_)
            | Self::Count(..)
            | Self::Duration(..)
            | Self::Size(..)
            | Self::Rate(..)
            | Self::Address
            | Self::Network
            | Self::Host
            | Self::BasePath
            | Self::Url
            | Self::File
            | Self::SecretFile
            | Self::KeySet
            | Self::RedisUrl
            | Self::SecretSource
            | Self::Secret
            | Self::HttpsUrl
            | Self::Algorithm
            | Self::Rules
            | Self::Parameter
            | Self::Frequency
            | Self::LimitPart
            | Self::Cost
            | Self::Zone
            | Self::Percent
            | Self::Distinct
            | Self::Sign => None,
        }
    }
}

pub(super) const MILLIS: u64 = 1_000_000;
pub(super) const SECONDS: u64 = 1_000 * MILLIS;
pub(super) const HOURS: u64 = 3_600 * SECONDS;
pub(super) const DAYS: u64 = 24 * HOURS;

/// The whole file.
pub(super) static ROOT: Block = Block {
    name: "the configuration",
    doc: "The configuration of Fortress.",
    groups: &[&[
        Key::new(
            "version",
            Kind::Word(&["1"]),
            "The version of this language: `1`.",
        )
        .required(),
        Key::new(
            "listen",
            Kind::List(&Kind::Block(&LISTENER)),
            "Where to listen.",
        )
        .required(),
        Key::new(
            "trusted_proxies",
            Kind::Items(&Kind::Network),
            "Networks whose `Forwarded` and `X-Forwarded-For` are believed (default: none).",
        ),
        Key::new(
            "networks",
            Kind::Map(
                "list of networks",
                &Kind::Block(&network_keys::NETWORK_LIST),
            ),
            "Lists of addresses, by name, for `networks` of listeners, APIs, operations and limits.",
        ),
        Key::new(
            "apis",
            Kind::Map("API", &Kind::Block(&API)),
            "The APIs, by name.",
        )
        .required(),
        Key::new(
            "identity",
            Kind::Map("identity", &Kind::Block(&IDENTITY)),
            "Who vouches for callers, by name.",
        ),
        Key::new(
            "internal_tokens",
            Kind::Block(&identity_keys::INTERNAL_TOKENS),
            "How the gateway signs what it says to upstreams.",
        ),
        Key::new(
            "store",
            Kind::Block(&STORE),
            "Where API keys and what else outlives the process are kept.",
        ),
        Key::new(
            "secrets",
            Kind::Block(&super::secrets::SECRETS),
            "Where secrets are kept outside of files.",
        ),
        Key::new(
            "defaults",
            Kind::Block(&DEFAULTS),
            "What holds where nothing nearer is said.",
        ),
        Key::new(
            "detect",
            Kind::Block(&DETECT),
            "What is looked for over many requests.",
        ),
        Key::new(
            "journal",
            Kind::Items(&Kind::Block(&SINK)),
            "Where requests are recorded (default: nowhere).",
        ),
    ]],
    later: &[
        "policies",
        "alerts",
        "respond",
        "audit_log",
        "admin",
        "redact",
        "cors",
        "waf",
        "cache",
    ],
};

static API: Block = Block {
    name: "apis.NAME",
    doc: "An API: its description, its upstream, and what the description cannot say.",
    groups: &[
        &[
            Key::new(
                "spec",
                Kind::File,
                "The OpenAPI description, or `none`: any path and method, only the other guards.",
            )
            .required(),
            Key::new(
                "hosts",
                Kind::List(&Kind::Host),
                "Hosts that it answers to; `*.example.com` stands for every name one level below (default: any).",
            ),
            Key::new(
                "base_path",
                Kind::BasePath,
                "Replaces the base path of the description's `servers`.",
            ),
            Key::new(
                "upstream",
                Kind::Either(&Kind::Url, &Kind::Block(&UPSTREAM)),
                "Where its requests go: a URL, or the long form.",
            )
            .required(),
            Key::new(
                "security",
                Kind::Map("security scheme", &Kind::Text),
                "Security scheme of the description → entry of `identity`; needed only where the match is not the only one possible.",
            ),
            Key::new(
                "resource",
                Kind::HttpsUrl,
                "The API's URL as clients know it: its metadata for OAuth clients (RFC 9728) are served below `/.well-known/oauth-protected-resource` (default: the first of `hosts`, where it is a name).",
            ),
            Key::new(
                "public",
                Kind::Bool,
                "With `spec: none`: no request needs a credential.",
            ),
            Key::new(
                "operations",
                Kind::Map("operation", &Kind::Block(&OPERATION)),
                "By operationId, `METHOD /template`, or `tag:NAME`.",
            ),
        ],
        SETTINGS,
        WAF_KEY,
        LIMITS_KEY,
        ENUMERATION_KEY,
    ],
    later: &[
        "cors", "redact", "permit", "owner", "cache", "policies", "require", "discover",
    ],
};

static UPSTREAM: Block = Block {
    name: "apis.NAME.upstream",
    doc: "Where requests go, in the long form.",
    groups: &[&[
        Key::new(
            "endpoints",
            Kind::List(&Kind::Block(&ENDPOINT)),
            "The addresses that share the requests.",
        )
        .required(),
        Key::new(
            "tls",
            Kind::Block(&UPSTREAM_TLS),
            "How the upstream's certificate is checked, and what it is shown.",
        ),
        Key::new("timeouts", Kind::Block(&TIMEOUTS), "How long to wait."),
        Key::new(
            "http2",
            Kind::Bool,
            "Speak HTTP/2: over TLS by ALPN, in plain text by prior knowledge (default: false).",
        ),
        Key::new(
            "identity",
            Kind::Block(&identity_keys::UPSTREAM_IDENTITY),
            "What the upstream is told of the caller.",
        ),
        Key::new(
            "concurrency",
            Kind::Either(&Kind::Word(&["off"]), &Kind::Block(&CONCURRENCY)),
            "Finds out how many requests the upstream answers without answering more slowly, and refuses those beyond at once (default: off).",
        ),
    ]],
    later: &["balance", "health", "retries", "breaker"],
};

static ENDPOINT: Block = Block {
    name: "apis.NAME.upstream.endpoints[]",
    doc: "One address of an upstream.",
    groups: &[&[
        Key::new(
            "url",
            Kind::Url,
            "`http` or `https`; a path in it is put before each request's path.",
        )
        .required(),
        Key::new(
            "weight",
            Kind::Count(1, 1_000),
            "Its share of the requests (default: 1).",
        ),
    ]],
    later: &[],
};

static UPSTREAM_TLS: Block = Block {
    name: "apis.NAME.upstream.tls",
    doc: "TLS towards an upstream.",
    groups: &[&[
        Key::new(
            "ca",
            Kind::File,
            "Trust the certificates of this PEM file alone (default: those of the machine).",
        ),
        Key::new(
            "server_name",
            Kind::Host,
            "The name that the certificate must have (default: the URL's host).",
        ),
        Key::new(
            "certificate",
            Kind::Block(&CERTIFICATE),
            "A certificate to show.",
        ),
    ]],
    later: &[],
};

static TIMEOUTS: Block = Block {
    name: "apis.NAME.upstream.timeouts",
    doc: "How long an upstream may take.",
    groups: &[&[
        Key::new(
            "connect",
            Kind::Duration(MILLIS, 300 * SECONDS),
            "To connect, TLS included (default: 1s).",
        ),
        Key::new(
            "first_byte",
            Kind::Duration(MILLIS, HOURS),
            "From the request's last byte to the response's first (default: 15s).",
        ),
        Key::new(
            "total",
            Kind::Duration(MILLIS, DAYS),
            "For the whole exchange; of a response that streams, only between its bytes (default: 60s).",
        ),
    ]],
    later: &[],
};

/// What is said of one operation or tag.
pub(super) static OPERATION: Block = Block {
    name: "apis.NAME.operations.NAME",
    doc: "What is said of one operation or of all that have a tag.",
    groups: &[
        ON_OPERATION,
        SETTINGS,
        WAF_KEY,
        LIMITS_KEY,
        LOGIN_KEY,
        ENUMERATION_KEY,
    ],
    later: LATER_ON_OPERATION,
};

/// `x-fortress` of a description.
pub(super) static EXTENSION: Block = Block {
    name: "x-fortress",
    doc: "The same keys in the description; the configuration wins.",
    groups: &[
        ON_OPERATION,
        SETTINGS,
        WAF_KEY_OF_DESCRIPTION,
        LIMITS_KEY,
        LOGIN_KEY_OF_DESCRIPTION,
        ENUMERATION_KEY,
    ],
    later: LATER_ON_OPERATION,
};

const ON_OPERATION: &[Key] = &[
    Key::new("public", Kind::Bool, "Needs no credential."),
    Key::new(
        "require",
        Kind::Block(&REQUIRE),
        "Demanded beside what the description demands.",
    ),
];

const LATER_ON_OPERATION: &[&str] = &[
    "owner",
    "tenant",
    "cache",
    "permit",
    "deprecated",
    "sunset",
    "link",
    "redact",
    "cors",
    "properties",
    "upstream",
];

static REQUIRE: Block = Block {
    name: "apis.NAME.operations.NAME.require",
    doc: "What a caller must have.",
    groups: &[identity_keys::REQUIRE],
    later: &["claims"],
};

static DEFAULTS: Block = Block {
    name: "defaults",
    doc: "What holds where nothing nearer is said.",
    groups: &[
        &[
            MODE,
            Key::new(
                "bounds",
                Kind::Block(&ALL_BOUNDS),
                "Sizes, counts and times.",
            ),
            REQUESTS_KEY,
            RESPONSES_KEY,
            NETWORKS_KEY,
            PRIORITY,
        ],
        WAF_KEY,
        LIMITS_KEY,
        ENUMERATION_KEY,
    ],
    later: &["redact", "cors", "cache", "permit"],
};

const SETTINGS: &[Key] = &[
    MODE,
    Key::new("bounds", Kind::Block(&BOUNDS), "Sizes, counts and times."),
    REQUESTS_KEY,
    RESPONSES_KEY,
    NETWORKS_KEY,
    PRIORITY,
];

const MODE: Key = Key::new(
    "mode",
    Kind::Word(&["enforce", "monitor", "off"]),
    "Refuse, only record what would be refused, or look for nothing (default: enforce).",
);

const REQUESTS_KEY: Key = Key::new(
    "requests",
    Kind::Block(&REQUESTS),
    "What requests may hold that the description does not declare.",
);

const RESPONSES_KEY: Key = Key::new(
    "responses",
    Kind::Block(&RESPONSES),
    "What responses may hold that the description does not declare.",
);

static REQUESTS: Block = Block {
    name: "requests",
    doc: "What requests may hold that the description does not declare.",
    groups: &[&[
        Key::new(
            "undeclared",
            Kind::Word(&["refuse", "allow"]),
            "Undeclared query parameters and properties (default: refuse).",
        ),
        Key::new(
            "cookies",
            Kind::Word(&["allow", "drop", "refuse"]),
            "Undeclared cookies (default: allow; browsers send what the domain set).",
        ),
    ]],
    later: &[],
};

static RESPONSES: Block = Block {
    name: "responses",
    doc: "What responses may hold that the description does not declare.",
    groups: &[&[Key::new(
        "undeclared",
        Kind::Word(&["drop", "refuse", "allow"]),
        "Undeclared properties: hidden from the client (default), the response replaced, or let through.",
    )]],
    later: &[],
};

static ALL_BOUNDS: Block = Block {
    name: "defaults.bounds",
    doc: "Sizes, counts and times.",
    groups: &[NEAR_BOUNDS, GATEWAY_BOUNDS],
    later: &[],
};

static BOUNDS: Block = Block {
    name: "bounds",
    doc: "Sizes, counts and times. What is bounded before the operation is known stands in `defaults.bounds` alone.",
    groups: &[NEAR_BOUNDS],
    later: &[],
};

/// The key of `bounds` with a name.
pub(super) fn bound(name: &str) -> Option<&'static Key> {
    ALL_BOUNDS.key(name)
}

/// The blocks that have a key, by name, each once, for "it belongs in …".
pub(super) fn owners(key: &str) -> Vec<&'static str> {
    fn walk(block: &'static Block, key: &str, found: &mut Vec<&'static str>) {
        if block.key(key).is_some() && !found.contains(&block.name) {
            found.push(block.name);
        }
        // INVARIANT: the tables have no cycle.
        for inner in block.keys().filter_map(|key| key.kind.block()) {
            walk(inner, key, found);
        }
    }
    let mut found = Vec::new();
    walk(&ROOT, key, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_block(block: &'static Block, depth: usize) {
        assert!(depth < 10, "{} has a cycle", block.name);
        let mut names = std::collections::BTreeSet::new();
        for key in block.keys() {
            assert!(names.insert(key.name), "{}.{} twice", block.name, key.name);
            assert!(key.doc.ends_with('.'), "{}.{}", block.name, key.name);
            assert!(
                !block.later.contains(&key.name),
                "{}.{}",
                block.name,
                key.name
            );
            if let Some(inner) = key.kind.block() {
                check_block(inner, depth + 1);
            }
        }
        assert!(block.doc.ends_with('.'), "{}", block.name);
    }

    #[test]
    fn the_tables_are_consistent() {
        check_block(&ROOT, 0);
        check_block(&EXTENSION, 0);
        for key in ALL_BOUNDS.keys() {
            assert!(key.set.is_some(), "{}", key.name);
        }
    }

    #[test]
    fn owners_of_a_key() {
        assert_eq!(owners("issuer"), ["identity.NAME", "internal_tokens"]);
        assert_eq!(owners("head"), ["defaults.bounds"]);
        assert_eq!(owners("cookies"), ["requests"]);
        assert_eq!(owners("paranoia"), ["waf"]);
        assert!(owners("nonsense").is_empty());
    }
}
