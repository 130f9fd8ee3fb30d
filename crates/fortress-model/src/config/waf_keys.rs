//! The keys of `waf`: what runs, how strict it is, and what is left out.
//!
//! Deliberately not here: how a value becomes a type (`waf.rs`), and what the rules say
//! (`fortress-waf`).

use super::keys::{Block, Key, Kind};

/// `waf` in the configuration.
pub(super) const WAF_KEY: &[Key] = &[Key::new("waf", Kind::Block(&WAF), WAF_DOC)];

/// `waf` in a description, which must not name this machine's files.
pub(super) const WAF_KEY_OF_DESCRIPTION: &[Key] =
    &[Key::new("waf", Kind::Block(&WAF_OF_DESCRIPTION), WAF_DOC)];

const WAF_DOC: &str =
    "The rules that look for attacks: which, how strict, and what they leave out.";

static WAF: Block = Block {
    name: "waf",
    doc: WAF_DOC,
    groups: &[WAF_SETTINGS, WAF_FILES],
    later: &[],
};

static WAF_OF_DESCRIPTION: Block = Block {
    name: "waf",
    doc: WAF_DOC,
    groups: &[WAF_SETTINGS],
    later: &[],
};

const WAF_FILES: &[Key] = &[
    Key::new(
        "directory",
        Kind::File,
        "Where the Core Rule Set is: a directory with `rules` and `crs-setup.conf` or its example (default: `crs`, where `fortress crs install` puts it).",
    ),
    Key::new(
        "files",
        Kind::Items(&Kind::File),
        "Files of your own in SecLang, read after the rules: exclusions, and rules.",
    ),
];

const WAF_SETTINGS: &[Key] = &[
    Key::new(
        "rules",
        Kind::Word(&["crs", "builtin", "none"]),
        "`crs`: the OWASP Core Rule Set; `builtin`: the small set that comes with Fortress; `none`: only those of `files` (default: `crs` if it is installed, else `builtin`).",
    ),
    Key::new(
        "mode",
        Kind::Word(&["enforce", "monitor", "off"]),
        "As `mode`, of the rules alone, and never stricter than it (default: enforce).",
    ),
    Key::new(
        "paranoia",
        Kind::Count(1, 4),
        "The paranoia level: more rules, and more that are wrong about valid requests (default: 1).",
    ),
    Key::new(
        "threshold",
        Kind::Count(1, 10_000),
        "The anomaly score at which a request is refused; a critical rule adds 5 (default: 5).",
    ),
    Key::new(
        "response_threshold",
        Kind::Count(1, 10_000),
        "The anomaly score at which a response is replaced (default: 4).",
    ),
    Key::new(
        "schema_aware",
        Kind::Bool,
        "Values that the description proved to be a uuid, a number, a boolean, a date or one of an `enum` are not searched for attacks (default: true).",
    ),
    Key::new(
        "exclude",
        Kind::Items(&EXCLUSIONS),
        "Rules that do not count here.",
    ),
];

static EXCLUSIONS: Kind = Kind::Block(&EXCLUSION);

static EXCLUSION: Block = Block {
    name: "waf.exclude[]",
    doc: "Rules that do not count here: as a whole, or for one parameter.",
    groups: &[&[
        Key::new(
            "rule",
            Kind::Rules,
            "A rule's id, a range of ids such as `942100-942199`, or a tag such as `attack-sqli`.",
        )
        .required(),
        Key::new(
            "parameter",
            Kind::Parameter,
            "Where the rule does not look: `query.q`, `body.comment`, `header.X-Note`, `cookie.draft` or `path` (default: anywhere).",
        ),
    ]],
    later: &[],
};
