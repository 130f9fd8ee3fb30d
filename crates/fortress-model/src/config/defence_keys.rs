//! The keys of `login`, `enumeration` and `detect`: who is kept from trying accounts and ids.
//!
//! Deliberately not here: how a value becomes a type and what keys mean together (`defence.rs`).

use super::{
    keys::{Block, DAYS, Key, Kind, MILLIS, SECONDS},
    limit_keys::ON_FAULT_OF_LIMITS,
};

/// `login` of an operation.
pub(super) const LOGIN_KEY: &[Key] = &[Key::new(
    "login",
    Kind::Block(&LOGIN),
    "The operation lets people in: failures are counted, delayed and looked at.",
)];

/// The same in a description, which names no files.
pub(super) const LOGIN_KEY_OF_DESCRIPTION: &[Key] = &[Key::new(
    "login",
    Kind::Block(&LOGIN_OF_DESCRIPTION),
    "The operation lets people in: failures are counted, delayed and looked at.",
)];

/// `enumeration` of anything.
pub(super) const ENUMERATION_KEY: &[Key] = &[Key::new(
    "enumeration",
    Kind::Block(&ENUMERATION),
    "How many different objects a caller may ask for that are refused or not there.",
)];

/// `detect` of the whole file.
pub(super) static DETECT: Block = Block {
    name: "detect",
    doc: "What is looked for over many requests.",
    groups: &[&[
        Key::new(
            "stuffing",
            Kind::Block(&STUFFING),
            "What stands for `login.stuffing` where an operation says nothing of its own.",
        ),
        Key::new(
            "enumeration",
            Kind::Block(&ENUMERATION),
            "What stands for `enumeration` where nothing nearer is said; without it nothing is counted.",
        ),
    ]],
    later: &["exfiltration", "scanner", "flow"],
};

static LOGIN: Block = Block {
    name: "login",
    doc: "How an operation that lets people in is defended.",
    groups: &[
        WITHOUT_FILES,
        &[Key::new(
            "breached",
            Kind::Block(&BREACHED),
            "Refuses passwords that were in a breach (default: not looked up).",
        )],
    ],
    later: &[],
};

static LOGIN_OF_DESCRIPTION: Block = Block {
    name: "login",
    doc: "How an operation that lets people in is defended.",
    groups: &[WITHOUT_FILES],
    later: &["breached"],
};

const WITHOUT_FILES: &[Key] = &[
    Key::new(
        "account",
        Kind::LimitPart,
        "What names the account: `body.username`, `query.user`, `header.X-User` or `principal`.",
    )
    .required(),
    Key::new(
        "password",
        Kind::LimitPart,
        "What proves it; only a keyed hash of it is kept, for `stuffing.within` (default: `body.password`).",
    ),
    Key::new(
        "failure",
        Kind::OneOrList(&Kind::Sign),
        "What an answer to a failure looks like: a status (`401`, `4xx`), `response.NAME`, `response.NAME == VALUE` or `response.header.NAME` (default: 4xx but 408, 409, 413, 415 and 429).",
    ),
    Key::new(
        "success",
        Kind::OneOrList(&Kind::Sign),
        "What an answer to a success looks like (default: 2xx and 3xx that are no failure).",
    ),
    Key::new(
        "kind",
        Kind::Word(&["login", "otp", "reset", "registration"]),
        "`login` (default); `otp`, a one-time code: the account is locked for 15 minutes after 10 failures; `reset` and `registration`: each request counts, whatever the answer.",
    ),
    Key::new(
        "delay",
        Kind::Block(&DELAY),
        "How long the next attempt waits.",
    ),
    Key::new(
        "forget",
        Kind::Duration(60 * SECONDS, 30 * DAYS),
        "The time in which half of the failures are forgotten (default: 1h).",
    ),
    Key::new(
        "known",
        Kind::Duration(0, 366 * DAYS),
        "How long an address is known from which the account came in, and delayed by its own failures alone (default: 30d).",
    ),
    Key::new(
        "lock",
        Kind::Block(&LOCK),
        "Locks an account for strangers after many failures (default: only for `kind: otp`).",
    ),
    Key::new(
        "stuffing",
        Kind::Block(&STUFFING),
        "When attempts look like those of somebody who tries accounts that others lost.",
    ),
    Key::new(
        "on_fault",
        ON_FAULT_OF_LIMITS,
        "When the store that instances share is away: attempts are refused (`closed`, the default), each instance goes on with what it knows (`local`), or all are let through (`open`).",
    ),
    Key::new(
        "uniform",
        Kind::Bool,
        "All failures get the same answer, `login.rejected`, and no sooner than slow ones (default: true for `login` and `otp`). Of `reset` and `registration` every answer becomes 202 without a body.",
    ),
    Key::new(
        "mode",
        Kind::Word(&["enforce", "monitor", "off"]),
        "As `mode`, of this defence alone, and never stricter than it (default: enforce).",
    ),
];

static DELAY: Block = Block {
    name: "login.delay",
    doc: "How long the next attempt waits: twice as long after each failure.",
    groups: &[&[
        Key::new(
            "after",
            Kind::Count(1, 1_000),
            "Failures of an account from one address that cost nothing; an address has five times as many, a network twenty times (default: 3).",
        ),
        Key::new(
            "first",
            Kind::Duration(100 * MILLIS, 3_600 * SECONDS),
            "The first delay (default: 1s).",
        ),
        Key::new(
            "most",
            Kind::Duration(SECONDS, DAYS),
            "The longest; what strangers wait for an account under attack is a thirtieth of it (default: 15min).",
        ),
        Key::new(
            "hold",
            Kind::Count(0, 10_000),
            "So many refused attempts at once are held for up to 5 s before they are answered, which costs whoever guesses a connection (default: 0).",
        ),
    ]],
    later: &[],
};

static LOCK: Block = Block {
    name: "login.lock",
    doc: "Locks an account for strangers after many failures.",
    groups: &[&[
        Key::new(
            "after",
            Kind::Count(3, 10_000),
            "Failures of the account, from wherever.",
        )
        .required(),
        Key::new(
            "for",
            Kind::Duration(SECONDS, 30 * DAYS),
            "How long it lasts (default: 15min).",
        ),
    ]],
    later: &[],
};

static STUFFING: Block = Block {
    name: "login.stuffing",
    doc: "When attempts look like those of somebody who tries accounts that others lost.",
    groups: &[&[
        Key::new(
            "accounts",
            Kind::Count(2, 50),
            "Accounts that fail from one address; a network has four times as many, a TLS client ten times (default: 10).",
        ),
        Key::new(
            "passwords",
            Kind::Count(2, 500),
            "Accounts for which one password fails (default: 10).",
        ),
        Key::new(
            "fall",
            Kind::Percent,
            "An alarm, when the part of accounts that come in falls below so much of what is usual (default: 50%).",
        ),
        Key::new(
            "within",
            Kind::Duration(10 * SECONDS, DAYS),
            "The time over which accounts are counted (default: 10min).",
        ),
        Key::new(
            "for",
            Kind::Duration(SECONDS, 30 * DAYS),
            "How long a source is held to be an attacker's (default: 15min).",
        ),
        Key::new(
            "action",
            Kind::Word(&["block", "slow", "challenge"]),
            "Refuse (`block`, the default), make each attempt come a second time (`slow`), or tell the upstream in `Fortress-Login` to ask for more (`challenge`).",
        ),
        Key::new(
            "mode",
            Kind::Word(&["enforce", "monitor", "off"]),
            "As `mode`, of this alone (default: enforce).",
        ),
    ]],
    later: &[],
};

static BREACHED: Block = Block {
    name: "login.breached",
    doc: "Passwords that were in a breach: `file` or `url`.",
    groups: &[&[
        Key::new(
            "file",
            Kind::File,
            "SHA-1 hashes: a directory of files `ABCDE.txt` with lines `REST:COUNT`, or one sorted file of whole hashes.",
        ),
        Key::new(
            "url",
            Kind::HttpsUrl,
            "A range service: the first five digits of the hash are put behind it, and it answers with lines `REST:COUNT`.",
        ),
        Key::new(
            "on_fault",
            Kind::Word(&["open", "closed"]),
            "When it cannot be looked up: let pass (`open`, the default), or refuse (`closed`).",
        ),
        Key::new(
            "login",
            Kind::Word(&["note", "refuse"]),
            "Whoever logs in with one: recorded (`note`, the default), or refused.",
        ),
    ]],
    later: &[],
};

static ENUMERATION: Block = Block {
    name: "enumeration",
    doc: "How many different objects a caller may ask for that are refused or not there.",
    groups: &[&[
        Key::new(
            "distinct",
            Kind::Distinct,
            "Objects in a time, such as `50/10min` (the default), for each principal, or each client where nobody is known.",
        ),
        Key::new(
            "mode",
            Kind::Word(&["enforce", "monitor", "off"]),
            "As `mode`, of this alone (default: enforce).",
        ),
    ]],
    later: &[],
};
