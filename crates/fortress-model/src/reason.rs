//! Every way in which Fortress refuses a request. This table is the product's vocabulary: the
//! journal, the metric label, the `code` of the problem+json body, the manual and the tests all
//! read it, and nothing else names a refusal.

use http::StatusCode;

/// The OWASP API Security Top 10 (2023) risk which a reason answers.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Risk {
    /// Broken object level authorization.
    Api1,
    /// Broken authentication.
    Api2,
    /// Broken object property level authorization.
    Api3,
    /// Unrestricted resource consumption.
    Api4,
    /// Broken function level authorization.
    Api5,
    /// Unrestricted access to sensitive business flows.
    Api6,
    /// Server side request forgery.
    Api7,
    /// Security misconfiguration (strict parsing and validation are counted here).
    Api8,
    /// Improper inventory management.
    Api9,
    /// Unsafe consumption of APIs.
    Api10,
}

impl Risk {
    /// All ten, in OWASP's order.
    pub const ALL: &'static [Self] = &[
        Self::Api1,
        Self::Api2,
        Self::Api3,
        Self::Api4,
        Self::Api5,
        Self::Api6,
        Self::Api7,
        Self::Api8,
        Self::Api9,
        Self::Api10,
    ];

    /// OWASP's short name, such as `API3`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Api1 => "API1",
            Self::Api2 => "API2",
            Self::Api3 => "API3",
            Self::Api4 => "API4",
            Self::Api5 => "API5",
            Self::Api6 => "API6",
            Self::Api7 => "API7",
            Self::Api8 => "API8",
            Self::Api9 => "API9",
            Self::Api10 => "API10",
        }
    }

    /// OWASP's title of the risk, in lower case.
    pub fn title(self) -> &'static str {
        match self {
            Self::Api1 => "broken object level authorization",
            Self::Api2 => "broken authentication",
            Self::Api3 => "broken object property level authorization",
            Self::Api4 => "unrestricted resource consumption",
            Self::Api5 => "broken function level authorization",
            Self::Api6 => "unrestricted access to sensitive business flows",
            Self::Api7 => "server side request forgery",
            Self::Api8 => "security misconfiguration",
            Self::Api9 => "improper inventory management",
            Self::Api10 => "unsafe consumption of APIs",
        }
    }
}

macro_rules! reasons {
    ($( $(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:ident, $risk:ident; )+) => {
        /// Why a request was refused.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason { $( $(#[doc = $doc])+ $name, )+ }

        impl Reason {
            /// Every reason, in the order in which a request could meet them.
            pub const ALL: &'static [Self] = &[ $( Self::$name ),+ ];

            /// The stable name: never renamed, never reused.
            pub fn code(self) -> &'static str { match self { $( Self::$name => $code ),+ } }
            /// The status that the client gets.
            pub fn status(self) -> StatusCode { match self { $( Self::$name => StatusCode::$status ),+ } }
            /// The risk that the refusal answers.
            pub fn risk(self) -> Risk { match self { $( Self::$name => Risk::$risk ),+ } }
            /// The doc comment above, as the operator reads it.
            pub fn explanation(self) -> &'static str { match self { $( Self::$name => concat!($($doc, "\n"),+) ),+ } }
        }
    };
}

reasons! {
    // ---- listen
    /// The gateway holds as many connections as `bounds.connections` allows.
    ///
    /// Raise the bound, or find out who opens so many.
    ConnectionsExhausted = "connections.exhausted", SERVICE_UNAVAILABLE, Api4;
    /// One client address holds as many connections as `bounds.connections_per_client` allows.
    ///
    /// Behind a load balancer list it in `trusted_proxies`, or raise the bound.
    ClientConnectionsExhausted = "connections.client_exhausted", TOO_MANY_REQUESTS, Api4;

    /// One client address opens connections faster than `bounds.connection_rate` allows.
    ///
    /// Behind a load balancer list it in `trusted_proxies`, or raise the bound.
    ConnectionRate = "connections.rate", TOO_MANY_REQUESTS, Api4;
    /// One client address begins TLS handshakes faster than `bounds.handshake_rate` allows.
    ///
    /// Each costs a signature. Clients that keep their connections open need few.
    HandshakeRate = "handshakes.rate", TOO_MANY_REQUESTS, Api4;
    /// The client's address is in a list that `networks.deny` names, or in none that `networks.allow`
    /// names.
    ///
    /// The detail says in which. Take the address off the list, or the list off the rule.
    ClientDenied = "client.denied", FORBIDDEN, Api8;
    /// The listener has `proxy_protocol`, and the peer is none of `trusted_proxies`: whatever it
    /// says of itself would be believed.
    ProxyUntrusted = "proxy.untrusted", FORBIDDEN, Api8;
    /// The listener has `proxy_protocol`, and the connection does not begin with a header of it: it
    /// is missing, not what the PROXY protocol prescribes, or late.
    ///
    /// Let the load balancer send one (`send-proxy-v2`), or remove `proxy_protocol`.
    ProxyMalformed = "proxy.malformed", BAD_REQUEST, Api8;

    // ---- parse
    /// The request head is not strict HTTP: a line ending, a character, a header name or the
    /// request line is not what RFC 9112 prescribes.
    ///
    /// A parser further on could read it differently, which is how requests are smuggled.
    HeadMalformed = "head.malformed", BAD_REQUEST, Api8;
    /// The message's length is ambiguous or broken: `Content-Length` with `Transfer-Encoding`, one
    /// of them twice, an invalid value, or a chunk that does not parse (RFC 9112, section 6).
    FramingInvalid = "framing.invalid", BAD_REQUEST, Api8;
    /// The request uses a transfer coding other than `chunked`.
    TransferCodingUnknown = "transfer_coding.unknown", NOT_IMPLEMENTED, Api8;
    /// The request speaks a version of HTTP that this listener does not.
    VersionUnsupported = "version.unsupported", HTTP_VERSION_NOT_SUPPORTED, Api8;
    /// The request head is larger than `bounds.head` or has more fields than `bounds.headers`.
    HeadTooLarge = "head.too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Api4;
    /// The request target is longer than `bounds.uri`.
    UriTooLong = "uri.too_long", URI_TOO_LONG, Api4;
    /// The request head did not arrive within `bounds.head_time`.
    HeadTimeout = "head.timeout", REQUEST_TIMEOUT, Api4;
    /// `Host` is missing, given twice, or not a host (RFC 9112, section 3.2).
    HostInvalid = "host.invalid", BAD_REQUEST, Api8;
    /// The authority of the request target and `Host` disagree.
    HostMismatch = "host.mismatch", MISDIRECTED_REQUEST, Api8;
    /// The request carries an `Expect` other than `100-continue`.
    ExpectationUnknown = "expectation.unknown", EXPECTATION_FAILED, Api8;
    /// The path cannot be read in one way only: an encoded slash, a backslash, a double encoding,
    /// a path parameter (`;`), an empty or dot segment that leaves the root, or invalid UTF-8.
    PathMalformed = "path.malformed", BAD_REQUEST, Api8;

    // ---- route
    /// No API has this host, or no operation of its description has this path.
    ///
    /// Fortress forwards only what a description declares. If this call is legitimate, add the
    /// operation to the API's OpenAPI document.
    RouteUnknown = "route.unknown", NOT_FOUND, Api9;
    /// The path is declared, but not with this method; `Allow` lists those that are.
    MethodUndeclared = "method.undeclared", METHOD_NOT_ALLOWED, Api9;

    // ---- throttle, quota
    /// The client, or whoever else the limit counts by, sends requests faster than `rate` and `burst`
    /// allow.
    ///
    /// `Retry-After` tells when the next one will pass.
    LimitRate = "limit.rate", TOO_MANY_REQUESTS, Api4;
    /// The client, or whoever else the limit counts by, has used up the `quota` of this window.
    ///
    /// `Retry-After` tells when there is some of it again.
    LimitQuota = "limit.quota", TOO_MANY_REQUESTS, Api4;
    /// The client, or whoever else the limit counts by, has as many requests in flight as `concurrent`
    /// allows.
    LimitConcurrency = "limit.concurrency", TOO_MANY_REQUESTS, Api4;
    /// The request lacks something that a limit counts by, and the limit refuses such (`missing: refuse`).
    LimitUnkeyed = "limit.unkeyed", BAD_REQUEST, Api4;
    /// The count that instances share cannot be had, and the limit refuses meanwhile (`on_fault: closed`).
    LimitUnavailable = "limit.unavailable", SERVICE_UNAVAILABLE, Api4;

    // ---- authenticate
    /// The request carries no credential that the operation accepts.
    CredentialMissing = "credential.missing", UNAUTHORIZED, Api2;
    /// The credential cannot be read: not the syntax of its kind, given twice, or too large.
    CredentialMalformed = "credential.malformed", UNAUTHORIZED, Api2;
    /// The credential was not issued for this API: its issuer, audience, type or signature is not
    /// one that the configuration accepts.
    CredentialInvalid = "credential.invalid", UNAUTHORIZED, Api2;
    /// The credential is outside its time: expired, or not valid yet.
    CredentialExpired = "credential.expired", UNAUTHORIZED, Api2;
    /// The credential was revoked before its time was over.
    CredentialRevoked = "credential.revoked", UNAUTHORIZED, Api2;
    /// The token is bound to a key or to a client certificate, and the request does not prove that
    /// its sender holds it; or the configuration demands a bound token, and this one is not (RFC
    /// 9449, RFC 8705).
    ///
    /// A token that was stolen without its key ends here.
    CredentialUnbound = "credential.unbound", UNAUTHORIZED, Api2;
    /// What may be shown once only was shown before: a proof of possession or a signature.
    CredentialReplayed = "credential.replayed", UNAUTHORIZED, Api2;
    /// The credential is good, but not for this: not for this operation, or not from this address.
    CredentialRestricted = "credential.restricted", FORBIDDEN, Api5;
    /// The operation demands a client certificate, and the connection showed none.
    CertificateMissing = "certificate.missing", UNAUTHORIZED, Api2;
    /// The issuer could not be asked about the token, so the token cannot be judged.
    IntrospectionUnavailable = "introspection.unavailable", SERVICE_UNAVAILABLE, Api2;
    /// So many passwords wait to be checked that there is no room for this one.
    ///
    /// Checking one takes long on purpose. Who sends so many? Passwords that were right a moment ago
    /// pass meanwhile.
    PasswordsExhausted = "passwords.exhausted", SERVICE_UNAVAILABLE, Api4;
    /// The keys of the token's issuer cannot be had, so the token cannot be judged.
    KeysUnavailable = "keys.unavailable", SERVICE_UNAVAILABLE, Api2;

    /// A session's cookie was not written by this gateway, or was changed, or by a key that is gone:
    /// its authenticated decryption fails.
    ///
    /// Without a rotation of `login.key` somebody tries cookies.
    SessionForged = "session.forged", UNAUTHORIZED, Api2;
    /// A request that may change something came with a session's cookie from a page of another site,
    /// or does not say where from (`Sec-Fetch-Site`, `Origin`).
    ///
    /// Browsers send cookies whoever makes them; a page of the gateway's own origin passes.
    SessionCrossSite = "session.cross_site", FORBIDDEN, Api2;
    /// A browser came back from its login with an answer that does not count: of another login or
    /// browser, shown twice, of another issuer, late, an error of the issuer's, or a token that does
    /// not answer it.
    LoginFailed = "login.failed", BAD_REQUEST, Api2;
    /// The issuer could not be asked in the course of a login, or to renew a session's tokens that
    /// are over.
    LoginUnavailable = "login.unavailable", SERVICE_UNAVAILABLE, Api2;

    // ---- authorize
    /// The principal lacks a scope which the operation's `security` demands.
    ScopeInsufficient = "scope.insufficient", FORBIDDEN, Api5;

    /// The principal has none of the roles which `require.role` names.
    RoleInsufficient = "role.insufficient", FORBIDDEN, Api5;
    /// The person logged in too long ago, or not strongly enough, for this operation (RFC 9470).
    ///
    /// The client is told to let them log in anew.
    AuthenticationInsufficient = "authentication.insufficient", UNAUTHORIZED, Api2;

    // ---- inspect: parameters
    /// A query parameter which the operation does not declare.
    ParameterUndeclared = "parameter.undeclared", BAD_REQUEST, Api3;
    /// A cookie which the operation does not declare, where the configuration refuses those.
    CookieUndeclared = "cookie.undeclared", BAD_REQUEST, Api8;
    /// A required parameter is missing.
    ParameterMissing = "parameter.missing", BAD_REQUEST, Api8;
    /// A single-valued parameter is given more than once, or under two spellings.
    ParameterDuplicate = "parameter.duplicate", BAD_REQUEST, Api8;
    /// A parameter cannot be read in its declared style: bad percent-encoding, invalid UTF-8.
    ParameterMalformed = "parameter.malformed", BAD_REQUEST, Api8;
    /// A parameter does not match its schema.
    ParameterInvalid = "parameter.invalid", BAD_REQUEST, Api8;

    // ---- inspect: body
    /// The body is larger than the operation's `bounds.body`, before or after decoding.
    BodyTooLarge = "body.too_large", PAYLOAD_TOO_LARGE, Api4;
    /// All request bodies together take as much memory as `bounds.body_memory` allows.
    ///
    /// The client may try again in a moment. Raise the bound, or lower `bounds.body`.
    BodyMemoryExhausted = "body.memory_exhausted", SERVICE_UNAVAILABLE, Api4;
    /// The body did not arrive at `bounds.body_rate`, or not at all.
    BodyTimeout = "body.timeout", REQUEST_TIMEOUT, Api4;
    /// The client ended the body before its announced length.
    BodyIncomplete = "body.incomplete", BAD_REQUEST, Api8;
    /// The operation declares no request body, but one came.
    BodyUnexpected = "body.unexpected", BAD_REQUEST, Api8;
    /// The operation requires a request body, but none came.
    BodyMissing = "body.missing", BAD_REQUEST, Api8;
    /// The body's media type is missing, malformed, or not one that the operation declares.
    ContentTypeUndeclared = "content_type.undeclared", UNSUPPORTED_MEDIA_TYPE, Api8;
    /// The body's charset is not UTF-8 and not one that the operation declares.
    CharsetUndeclared = "charset.undeclared", UNSUPPORTED_MEDIA_TYPE, Api8;
    /// The body's `Content-Encoding` is not one that the gateway decodes (gzip, br, zstd), or more
    /// than one coding was applied.
    ContentEncodingUnknown = "content_encoding.unknown", UNSUPPORTED_MEDIA_TYPE, Api8;
    /// The compressed body does not decode, or grows beyond `bounds.expansion` times its size.
    ContentEncodingInvalid = "content_encoding.invalid", BAD_REQUEST, Api4;
    /// The body is not what its media type says: a syntax error, invalid UTF-8, a byte order mark,
    /// trailing bytes, a number that does not fit.
    BodyMalformed = "body.malformed", BAD_REQUEST, Api8;
    /// The same key stands twice in one object; parsers disagree about which of them counts.
    BodyDuplicateKey = "body.duplicate_key", BAD_REQUEST, Api8;
    /// The body is nested deeper, or has more properties or items, than the bounds allow.
    BodyTooComplex = "body.too_complex", BAD_REQUEST, Api4;
    /// The body has a property which no branch of its schema declares.
    BodyUndeclared = "body.undeclared", BAD_REQUEST, Api3;
    /// The body has a property which only the server may set (`readOnly`).
    BodyReadOnly = "body.read_only", BAD_REQUEST, Api3;
    /// The body does not match the operation's schema.
    BodyInvalid = "body.invalid", BAD_REQUEST, Api8;

    // ---- inspect: rules
    /// The body is longer than the rules themselves accept: `SecRequestBodyLimit` or
    /// `SecRequestBodyNoFilesLimit` in one of their files, with `SecRequestBodyLimitAction Reject`.
    WafBodyLimit = "waf.body_limit", PAYLOAD_TOO_LARGE, Api4;
    /// The rules did not come to their end within `bounds.inspection`, so what they would have
    /// found is not known.
    ///
    /// The request has more values, or longer ones, than the rules can look at for that much work.
    WafExhausted = "waf.exhausted", PAYLOAD_TOO_LARGE, Api4;
    /// The rules that matched add up to the anomaly score of `waf.threshold`: the request looks like
    /// an attack.
    WafAnomalyScore = "waf.anomaly_score", FORBIDDEN, Api8;
    /// A rule that refuses by itself, outside of the anomaly score, matched: one of `waf.files`.
    WafRule = "waf.rule", FORBIDDEN, Api8;

    // ---- inspect: logins and objects
    /// The account, the address or both failed so often that the next attempt has to wait; the delay
    /// doubles with each failure.
    ///
    /// `Retry-After` tells how long. An address from which the account came in before is delayed by
    /// its own failures alone.
    LoginDelayed = "login.delayed", TOO_MANY_REQUESTS, Api2;
    /// The account failed so often that it is locked for a while, as `login.lock` says.
    ///
    /// Addresses from which it came in before still pass. `fortress login unlock` lifts the lock.
    LoginLocked = "login.locked", TOO_MANY_REQUESTS, Api2;
    /// The attempt looks like one of somebody who tries accounts that others lost: many accounts
    /// failed from its source, its password failed for many accounts, or far fewer logins succeed
    /// than usual.
    LoginStuffing = "login.stuffing", TOO_MANY_REQUESTS, Api2;
    /// What instances know of logins together cannot be had, and the operation lets nobody in meanwhile
    /// (`login.on_fault: closed`).
    LoginUncounted = "login.uncounted", SERVICE_UNAVAILABLE, Api2;
    /// The password was in a breach, and everybody who guesses knows it.
    LoginBreached = "login.breached", UNPROCESSABLE_ENTITY, Api2;
    /// Whether the password was in a breach could not be looked up, and `login.breached.on_fault` is
    /// `closed`.
    BreachesUnavailable = "breaches.unavailable", SERVICE_UNAVAILABLE, Api2;
    /// The upstream did not let the account in. With `login.uniform` every failure gets this answer,
    /// whether the account exists or not.
    LoginRejected = "login.rejected", UNAUTHORIZED, Api2;
    /// The caller asked for more different objects that it may not see, or that do not exist, than
    /// `enumeration` allows: it walks through ids.
    ObjectEnumeration = "object.enumeration", TOO_MANY_REQUESTS, Api1;

    // ---- forward
    /// What the upstream is to be told of the caller is longer than its server would take: claims in
    /// an internal token beyond 6 KiB, or a header field beyond 4 KiB.
    IdentityTooLarge = "identity.too_large", REQUEST_HEADER_FIELDS_TOO_LARGE, Api2;
    /// The issuer does not exchange the caller's token for one that the upstream takes (RFC 8693).
    ExchangeRefused = "exchange.refused", FORBIDDEN, Api2;
    /// The issuer could not be asked for a token that the upstream takes, or did not answer as it
    /// should.
    ///
    /// Tokens that were exchanged before are used on until they expire.
    ExchangeUnavailable = "exchange.unavailable", SERVICE_UNAVAILABLE, Api2;
    /// The upstream has as many requests as it can answer without answering all of them more slowly
    /// (`upstream.concurrency`).
    ///
    /// The client may try again in a moment. What must not wait has `priority: high`.
    UpstreamOverloaded = "upstream.overloaded", SERVICE_UNAVAILABLE, Api4;
    /// No connection to the upstream could be made within `timeouts.connect`.
    UpstreamUnreachable = "upstream.unreachable", BAD_GATEWAY, Api8;
    /// The upstream did not answer within its time.
    UpstreamTimeout = "upstream.timeout", GATEWAY_TIMEOUT, Api4;
    /// The upstream's answer is not HTTP, is ambiguous, or broke off.
    UpstreamBroken = "upstream.broken", BAD_GATEWAY, Api10;

    // ---- reply
    /// The upstream answered with a status or media type which the operation does not declare, or
    /// with an undeclared property where `responses.undeclared` is `refuse`.
    ResponseUndeclared = "response.undeclared", BAD_GATEWAY, Api10;
    /// The upstream's answer does not match the operation's schema, and dropping undeclared
    /// properties does not mend it.
    ResponseInvalid = "response.invalid", BAD_GATEWAY, Api10;

    /// The answer's body is longer than the rules themselves accept: `SecResponseBodyLimit` in one of
    /// their files, with `SecResponseBodyLimitAction Reject`.
    WafResponseLimit = "waf.response_limit", BAD_GATEWAY, Api10;
    /// The rules did not come to the end of the upstream's answer within `bounds.inspection`, so what
    /// they would have found is not known.
    ///
    /// The answer has more values, or longer ones, than the rules can look at for that much work.
    WafResponseExhausted = "waf.response_exhausted", BAD_GATEWAY, Api10;
    /// The rules that matched the upstream's answer add up to the anomaly score of
    /// `waf.response_threshold`: it looks like leaked data, an error message of a program or a
    /// database, or a web shell.
    WafResponseScore = "waf.response_score", BAD_GATEWAY, Api8;

    // ---- faults of our own
    /// The gateway itself failed. This is a defect; the journal has the request id.
    GatewayFault = "gateway.fault", INTERNAL_SERVER_ERROR, Api8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_well_formed_and_explained() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        codes.sort_unstable();
        let total = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), total);
        for reason in Reason::ALL {
            let (noun, state) = reason.code().split_once('.').expect("noun.state");
            assert!([noun, state].iter().all(|part| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            }));
            assert!(
                reason.explanation().trim().ends_with('.'),
                "{}",
                reason.code()
            );
            assert!(reason.status().is_client_error() || reason.status().is_server_error());
        }
    }
}
