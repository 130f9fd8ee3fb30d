//! The keys of `identity`: each entry is one kind of credential, told by the key that names it.

use super::keys::{Block, DAYS, HOURS, Key, Kind, MILLIS, SECONDS};

/// The keys that tell which kind an entry is, in the order in which they are suggested.
pub(super) const KINDS: &[&str] = &[
    "issuer",
    "api_key",
    "certificate",
    "basic",
    "signature",
    "webhook",
];

/// Keys that belong to an entry with `issuer` alone.
pub(super) const OF_ISSUER: &[&str] = &[
    "jwks",
    "secret",
    "ca",
    "audience",
    "algorithms",
    "leeway",
    "type",
    "claims",
    "introspection",
    "dpop",
    "certificate_bound",
    "login",
];

pub(super) static IDENTITY: Block = Block {
    name: "identity.NAME",
    doc: "Who vouches for callers: an issuer of tokens, or one other kind of credential.",
    groups: &[
        &[
            Key::new(
                "issuer",
                Kind::Text,
                "The token's `iss`, compared exactly. Without `jwks` its keys are discovered from this URL.",
            ),
            Key::new(
                "jwks",
                Kind::KeySet,
                "The issuer's keys: `file:` and a path, or an https URL, http on loopback only (default: discovered).",
            ),
            Key::new(
                "secret",
                Kind::Secret,
                "A shared key of at least 32 bytes, for HS256, HS384 and HS512, in place of `jwks`. Whoever can check such tokens can write them.",
            ),
            Key::new(
                "ca",
                Kind::File,
                "Trust the certificates of this PEM file alone when asking the issuer (default: those of the machine).",
            ),
            Key::new(
                "audience",
                Kind::OneOrList(&Kind::Text),
                "The token's `aud` must hold one of them.",
            ),
            Key::new(
                "algorithms",
                Kind::List(&Kind::Algorithm),
                "Algorithms accepted (default: what the keys allow; never `none`).",
            ),
            Key::new(
                "leeway",
                Kind::Duration(0, 300 * SECONDS),
                "Tolerance for `exp` and `nbf` (default: 30s).",
            ),
            Key::new(
                "type",
                Kind::Text,
                "Demanded `typ` of a token, such as `at+jwt` (RFC 9068).",
            ),
            Key::new(
                "claims",
                Kind::Block(&CLAIMS),
                "Where claims are, as dotted paths.",
            ),
            Key::new(
                "introspection",
                Kind::Block(&INTROSPECTION),
                "Opaque tokens are asked about at the issuer (RFC 7662).",
            ),
            Key::new(
                "dpop",
                Kind::Either(
                    &Kind::Word(&["off", "accepted", "required"]),
                    &Kind::Block(&DPOP),
                ),
                "Proofs of possession (RFC 9449): `accepted` (default), `required`, or `off`.",
            ),
            Key::new(
                "certificate_bound",
                Kind::Word(&["accepted", "required"]),
                "Whether each token must be bound to a client certificate (RFC 8705); one that is bound needs its certificate in any case (default: accepted).",
            ),
            Key::new(
                "login",
                Kind::Block(&LOGIN),
                "Logs people in with a browser (OpenID Connect, authorization code with PKCE) and keeps a session cookie.",
            ),
        ],
        &[
            Key::new(
                "api_key",
                Kind::Block(&API_KEY),
                "Keys that `fortress keys` makes, found in the store.",
            ),
            Key::new(
                "certificate",
                Kind::Block(&CLIENT_CERTIFICATE),
                "The client's TLS certificate; needs `tls.clients` at the listener.",
            ),
            Key::new(
                "basic",
                Kind::Block(&BASIC),
                "User name and password (RFC 7617), over TLS only.",
            ),
            Key::new(
                "signature",
                Kind::Block(&SIGNATURE),
                "HTTP message signatures (RFC 9421).",
            ),
            Key::new(
                "webhook",
                Kind::Block(&WEBHOOK),
                "Calls that their sender signed with a shared secret (HMAC).",
            ),
        ],
    ],
    later: &["discovery", "session", "revocation"],
};

static CLAIMS: Block = Block {
    name: "identity.NAME.claims",
    doc: "Where claims are.",
    groups: &[&[
        Key::new(
            "scope",
            Kind::Text,
            "The claim that holds the scopes, such as `realm.scopes` (default: `scope`, then `scp`).",
        ),
        Key::new(
            "roles",
            Kind::Text,
            "The claim that holds the roles, such as `realm_access.roles` (default: `roles`).",
        ),
        Key::new(
            "tenant",
            Kind::Text,
            "The claim that names the tenant, such as `org_id`.",
        ),
    ]],
    later: &["groups", "department"],
};

static INTROSPECTION: Block = Block {
    name: "identity.NAME.introspection",
    doc: "How the issuer is asked about tokens (RFC 7662).",
    groups: &[&[
        Key::new(
            "endpoint",
            Kind::HttpsUrl,
            "Where to ask (default: discovered).",
        ),
        Key::new("client_id", Kind::Text, "Who asks.").required(),
        Key::new(
            "client_secret",
            Kind::Secret,
            "The secret that proves it, sent by HTTP Basic.",
        )
        .required(),
        Key::new(
            "tokens",
            Kind::Word(&["opaque", "all"]),
            "Which tokens are asked about: those that are no JWT (default), or all, so that what the issuer revokes ends with `cache`.",
        ),
        Key::new(
            "cache",
            Kind::Duration(0, HOURS),
            "How long an answer holds, at most until the token expires (default: 60s).",
        ),
        Key::new(
            "negative_cache",
            Kind::Duration(0, HOURS),
            "How long a token that is not active is remembered (default: 10s).",
        ),
        Key::new(
            "timeout",
            Kind::Duration(10 * MILLIS, 30 * SECONDS),
            "How long to wait for an answer (default: 2s).",
        ),
        Key::new(
            "signed",
            Kind::Bool,
            "Demands answers that the issuer signed (RFC 9701) (default: false).",
        ),
    ]],
    later: &[],
};

static DPOP: Block = Block {
    name: "identity.NAME.dpop",
    doc: "Proofs of possession (RFC 9449), in the long form.",
    groups: &[&[
        Key::new(
            "mode",
            Kind::Word(&["off", "accepted", "required"]),
            "`accepted` (default), `required`, or `off`: a bound token is then refused.",
        ),
        Key::new(
            "window",
            Kind::Duration(SECONDS, 600 * SECONDS),
            "How old a proof may be (default: 60s).",
        ),
        Key::new(
            "nonce",
            Kind::Bool,
            "Demands a nonce that the gateway gave (default: false).",
        ),
    ]],
    later: &[],
};

static LOGIN: Block = Block {
    name: "identity.NAME.login",
    doc: "OpenID Connect login for browsers.",
    groups: &[&[
        Key::new(
            "client_id",
            Kind::Text,
            "The client as the issuer knows it.",
        )
        .required(),
        Key::new(
            "client_secret",
            Kind::Secret,
            "Its secret; without it the client is a public one.",
        ),
        Key::new(
            "client_auth",
            Kind::Word(&["basic", "post"]),
            "How the secret is sent: by HTTP Basic (default), or in the form.",
        ),
        Key::new(
            "key",
            Kind::Secret,
            "32 bytes in base64 that encrypt the cookies.",
        )
        .required(),
        Key::new(
            "previous_key",
            Kind::Secret,
            "The key before that: sessions under it still hold.",
        ),
        Key::new(
            "scopes",
            Kind::List(&Kind::Text),
            "Scopes to ask for (default: `openid`).",
        ),
        Key::new(
            "prompt",
            Kind::Word(&["login", "consent", "select_account"]),
            "What the issuer is to ask the person each time (default: what it wants to).",
        ),
        Key::new(
            "origin",
            Kind::HttpsUrl,
            "The gateway as browsers call it, such as `https://shop.example.com` (default: what the request says).",
        ),
        Key::new(
            "path",
            Kind::BasePath,
            "Below it are `/callback`, `/login` and `/logout` (default: `/_session`).",
        ),
        Key::new(
            "callback",
            Kind::BasePath,
            "The path to which the issuer sends browsers back (default: `PATH/callback`).",
        ),
        Key::new(
            "logout",
            Kind::BasePath,
            "The path that ends a session (default: `PATH/logout`).",
        ),
        Key::new(
            "after_logout",
            Kind::BasePath,
            "The path to which a browser goes after logout (default: `/`).",
        ),
        Key::new(
            "logout_at",
            Kind::Word(&["issuer", "gateway"]),
            "Whether logout ends the session at the issuer too, where it offers that (default: issuer).",
        ),
        Key::new(
            "session",
            Kind::Either(
                &Kind::Duration(60 * SECONDS, 30 * DAYS),
                &Kind::Block(&SESSION),
            ),
            "How long a session lasts at most (default: 12h).",
        ),
        Key::new(
            "endpoints",
            Kind::Block(&ENDPOINTS),
            "Where the issuer is asked, if that cannot be discovered.",
        ),
    ]],
    later: &[],
};

static SESSION: Block = Block {
    name: "identity.NAME.login.session",
    doc: "How long a session lasts, in the long form.",
    groups: &[&[
        Key::new(
            "absolute",
            Kind::Duration(60 * SECONDS, 30 * DAYS),
            "From login on, whatever happens (default: 12h).",
        ),
        Key::new(
            "idle",
            Kind::Duration(60 * SECONDS, 30 * DAYS),
            "Without a request (default: 30min).",
        ),
    ]],
    later: &[],
};

static ENDPOINTS: Block = Block {
    name: "identity.NAME.login.endpoints",
    doc: "Where the issuer is asked (default: discovered).",
    groups: &[&[
        Key::new(
            "authorization",
            Kind::HttpsUrl,
            "Where browsers are sent to log in.",
        ),
        Key::new("token", Kind::HttpsUrl, "Where codes are redeemed."),
        Key::new(
            "end_session",
            Kind::HttpsUrl,
            "Where browsers are sent to log out.",
        ),
        Key::new(
            "revocation",
            Kind::HttpsUrl,
            "Where tokens are revoked (RFC 7009).",
        ),
    ]],
    later: &[],
};

static API_KEY: Block = Block {
    name: "identity.NAME.api_key",
    doc: "Where API keys stand in a request, and which are accepted.",
    groups: &[&[
        Key::new(
            "header",
            Kind::Text,
            "The header field, such as `X-Api-Key`; `Authorization` means `Bearer KEY` there.",
        ),
        Key::new(
            "environment",
            Kind::Text,
            "The `env` of the keys accepted, such as `live` (default: any).",
        ),
    ]],
    later: &[],
};

static CLIENT_CERTIFICATE: Block = Block {
    name: "identity.NAME.certificate",
    doc: "Which client certificates are accepted, and whom they name.",
    groups: &[&[
        Key::new(
            "san",
            Kind::OneOrList(&Kind::Text),
            "Subject alternative names: `spiffe://example.com/*`, `dns:*.example.com`, `email:*@example.com`, `ip:10.0.0.0/8`. The first that matches is the principal.",
        )
        .required(),
        Key::new(
            "header",
            Kind::Text,
            "A field in RFC 9440's form, believed from `trusted_proxies` alone, such as `Client-Cert` (default: only the connection's own certificate).",
        ),
    ]],
    later: &[],
};

static BASIC: Block = Block {
    name: "identity.NAME.basic",
    doc: "Users and their passwords.",
    groups: &[&[
        Key::new(
            "users",
            Kind::File,
            "A file with one `name:hash` a line, the hash by argon2id (`fortress keys hash-password` makes one).",
        )
        .required(),
        Key::new(
            "cache",
            Kind::Duration(0, HOURS),
            "How long a password that was right is not checked again (default: 60s).",
        ),
    ]],
    later: &[],
};

static SIGNATURE: Block = Block {
    name: "identity.NAME.signature",
    doc: "HTTP message signatures (RFC 9421) with digests (RFC 9530).",
    groups: &[&[
        Key::new(
            "keys",
            Kind::File,
            "A JWK set; `kid` is `keyid`, and names the principal.",
        )
        .required(),
        Key::new(
            "components",
            Kind::List(&Kind::Text),
            "What must be signed (default: `@method`, `@target-uri`; `content-digest` too where there is a body).",
        ),
        Key::new(
            "max_age",
            Kind::Duration(SECONDS, HOURS),
            "How old `created` may be (default: 5min).",
        ),
        Key::new("tag", Kind::Text, "The `tag` that must be there."),
        Key::new(
            "replay",
            Kind::Word(&["refuse", "allow"]),
            "Whether one signature may be shown twice within `max_age` (default: refuse).",
        ),
    ]],
    later: &[],
};

static WEBHOOK: Block = Block {
    name: "identity.NAME.webhook",
    doc: "Calls signed with a shared secret.",
    groups: &[&[
        Key::new(
            "preset",
            Kind::Word(&["github", "stripe", "slack", "standard-webhooks"]),
            "The form that a well-known sender uses; the other keys change single parts of it.",
        ),
        Key::new(
            "secrets",
            Kind::List(&Kind::Secret),
            "The shared secrets; several while one replaces another.",
        )
        .required(),
        Key::new(
            "sender",
            Kind::Text,
            "The principal's name (default: the entry's).",
        ),
        Key::new(
            "header",
            Kind::Text,
            "The field that holds the signature, such as `X-Signature`.",
        ),
        Key::new(
            "prefix",
            Kind::Text,
            "What stands before the signature, such as `sha256=`.",
        ),
        Key::new(
            "encoding",
            Kind::Word(&["hex", "base64"]),
            "How the signature is written (default: hex).",
        ),
        Key::new(
            "algorithm",
            Kind::Word(&["sha256", "sha512"]),
            "The hash of the HMAC (default: sha256).",
        ),
        Key::new(
            "timestamp_header",
            Kind::Text,
            "The field whose seconds are signed as `TIMESTAMP.BODY`; without it the body alone is signed.",
        ),
        Key::new(
            "tolerance",
            Kind::Duration(SECONDS, HOURS),
            "How far the timestamp may be from now (default: 5min).",
        ),
    ]],
    later: &[],
};

/// `listen[].tls.clients`.
pub(super) static CLIENTS: Block = Block {
    name: "listen[].tls.clients",
    doc: "Certificates of clients (mutual TLS).",
    groups: &[&[
        Key::new(
            "ca",
            Kind::OneOrList(&Kind::File),
            "The authorities that issue them, in PEM.",
        )
        .required(),
        Key::new(
            "crl",
            Kind::OneOrList(&Kind::File),
            "Lists of revoked certificates, in PEM or DER; once one is named, a certificate whose status no list tells is refused.",
        ),
        Key::new(
            "required",
            Kind::Bool,
            "No connection without one (default: false; operations demand it by `require` or an identity).",
        ),
    ]],
    later: &[],
};

/// `apis.NAME.upstream.identity`.
pub(super) static UPSTREAM_IDENTITY: Block = Block {
    name: "apis.NAME.upstream.identity",
    doc: "What the upstream is told of the caller.",
    groups: &[&[
        Key::new(
            "forward",
            Kind::Word(&["none", "token", "claims", "internal_jwt", "exchange"]),
            "Nothing, the credential as it came (default), selected claims as header fields, a short-lived token of the gateway's own, or one that the issuer gives in exchange (RFC 8693).",
        ),
        Key::new(
            "headers",
            Kind::Map("header field", &Kind::Text),
            "Field → `principal.id`, `principal.tenant`, `principal.roles`, `principal.scopes`, `principal.identity` or `principal.claims.NAME`. What clients send in these fields is removed.",
        ),
        Key::new(
            "audience",
            Kind::Text,
            "`aud` of the internal or exchanged token (default: the API's name).",
        ),
        Key::new(
            "lifetime",
            Kind::Duration(10 * SECONDS, 600 * SECONDS),
            "How long an internal token holds (default: 60s).",
        ),
        Key::new(
            "claims",
            Kind::List(&Kind::Text),
            "Claims that the internal token carries on, as dotted paths.",
        ),
        Key::new(
            "header",
            Kind::Text,
            "The field of the internal or exchanged token (default: `Authorization`, as `Bearer`).",
        ),
        Key::new(
            "certificate",
            Kind::Bool,
            "Passes the client's certificate on as `Client-Cert` (RFC 9440) (default: false).",
        ),
        Key::new(
            "exchange",
            Kind::Block(&EXCHANGE),
            "Where a token is exchanged; with `forward: exchange`.",
        ),
    ]],
    later: &[],
};

static EXCHANGE: Block = Block {
    name: "apis.NAME.upstream.identity.exchange",
    doc: "Token exchange (RFC 8693).",
    groups: &[&[
        Key::new("endpoint", Kind::HttpsUrl, "The issuer's token endpoint.").required(),
        Key::new("client_id", Kind::Text, "Who asks.").required(),
        Key::new("client_secret", Kind::Secret, "The secret that proves it.").required(),
        Key::new("scope", Kind::OneOrList(&Kind::Text), "Scopes to ask for."),
        Key::new("resource", Kind::Text, "`resource` to ask for (RFC 8707)."),
    ]],
    later: &[],
};

/// `internal_tokens`: how the gateway signs what it says to upstreams.
pub(super) static INTERNAL_TOKENS: Block = Block {
    name: "internal_tokens",
    doc: "The keys of the tokens that the gateway signs for upstreams (`forward: internal_jwt`). Upstreams find the public keys at `/jwks.json` of a listener with `serve: operations`.",
    groups: &[&[
        Key::new(
            "issuer",
            Kind::Text,
            "`iss` of the tokens (default: `fortress`).",
        ),
        Key::new(
            "key",
            Kind::SecretFile,
            "A private key in PKCS#8 PEM, EC P-256 or Ed25519, shared by all instances (default: made at the start and changed each `rotate`).",
        ),
        Key::new(
            "previous_key",
            Kind::SecretFile,
            "The key before that: published on, not used.",
        ),
        Key::new(
            "rotate",
            Kind::Duration(HOURS, 365 * DAYS),
            "How often a key that the gateway made is replaced (default: 24h).",
        ),
    ]],
    later: &[],
};

/// What a caller must have, beside scopes.
pub(super) const REQUIRE: &[Key] = &[
    Key::new(
        "scope",
        Kind::OneOrList(&Kind::Text),
        "Scopes, all of them.",
    ),
    Key::new("role", Kind::OneOrList(&Kind::Text), "Roles, one of them."),
    Key::new(
        "certificate",
        Kind::Bool,
        "`true`: the connection shows a client certificate that its listener trusts.",
    ),
    Key::new(
        "acr",
        Kind::OneOrList(&Kind::Text),
        "Authentication contexts, one of them (RFC 9470).",
    ),
    Key::new(
        "max_age",
        Kind::Duration(SECONDS, 365 * DAYS),
        "How long ago the person may have logged in (RFC 9470).",
    ),
    Key::new(
        "dpop",
        Kind::Bool,
        "`true`: the token is bound to a key whose possession the request proves (RFC 9449).",
    ),
];
