//! The keys of `listen`.
//!
//! Deliberately not here: how a value becomes a type and what keys mean together (`listen.rs`).

use super::{
    identity_keys,
    keys::{Block, DAYS, Key, Kind},
    network_keys::NETWORKS_KEY,
};

/// One address to listen on.
pub(super) static LISTENER: Block = Block {
    name: "listen[]",
    doc: "One address to listen on. It serves the APIs unless it says otherwise.",
    groups: &[&[
        Key::new(
            "address",
            Kind::Address,
            "IP address and port; port 0 takes a free one.",
        )
        .required(),
        Key::new("tls", Kind::Block(&TLS), "TLS; without it, plain text."),
        Key::new(
            "hsts",
            Kind::Block(&HSTS),
            "Sends `Strict-Transport-Security` (RFC 6797); needs `tls`.",
        ),
        Key::new(
            "http2",
            Kind::Word(&["true", "false", "prior_knowledge"]),
            "HTTP/2: where TLS negotiates it (`true`, the default), also in plain text if the client begins with it (`prior_knowledge`), or not at all (`false`).",
        ),
        Key::new(
            "redirect",
            Kind::Word(&["https"]),
            "Sends every client to the same URL over https.",
        ),
        Key::new(
            "serve",
            Kind::Word(&["apis", "operations"]),
            "`apis` (default), or `operations`: /metrics, /livez and /readyz, on a loopback address.",
        ),
        Key::new(
            "public",
            Kind::Bool,
            "With `serve: operations`: the address may be other than loopback. Whoever reaches it sees the metrics.",
        ),
        Key::new(
            "proxy_protocol",
            Kind::Bool,
            "Each connection begins with a header of the PROXY protocol, version 1 or 2, which says whose it is; it is believed of `trusted_proxies`, and from others refused (default: false).",
        ),
        NETWORKS_KEY,
    ]],
    later: &["http3", "limits"],
};

static TLS: Block = Block {
    name: "listen[].tls",
    doc: "TLS of a listener.",
    groups: &[&[
        Key::new(
            "certificates",
            Kind::List(&Kind::Block(&CERTIFICATE)),
            "Chosen by the name that the client asks for (SNI); the first is the default.",
        )
        .required(),
        Key::new(
            "minimum",
            Kind::Word(&["1.2", "1.3"]),
            "The lowest version spoken (default: 1.2).",
        ),
        Key::new(
            "clients",
            Kind::Block(&identity_keys::CLIENTS),
            "Asks clients for certificates.",
        ),
    ]],
    later: &["acme"],
};

/// A certificate and its key.
pub(super) static CERTIFICATE: Block = Block {
    name: "listen[].tls.certificates[]",
    doc: "A certificate and its key, in PEM.",
    groups: &[&[
        Key::new("chain", Kind::File, "The certificates, leaf first.").required(),
        Key::new(
            "key",
            Kind::SecretFile,
            "The private key (PKCS#8, PKCS#1 or SEC1): `file:` and a path.",
        )
        .required(),
    ]],
    later: &[],
};

static HSTS: Block = Block {
    name: "listen[].hsts",
    doc: "HTTP Strict Transport Security (RFC 6797).",
    groups: &[&[
        Key::new(
            "max_age",
            Kind::Duration(0, 3_650 * DAYS),
            "How long browsers remember (default: 365d).",
        ),
        Key::new(
            "include_subdomains",
            Kind::Bool,
            "Also for subdomains (default: false).",
        ),
    ]],
    later: &["preload"],
};
