//! What a reason means, and what to change if the request was legitimate: in the description, or
//! the one key of the configuration that lets it pass.

use fortress_model::Reason;

/// What to do about a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Advice {
    /// Follows "If this is legitimate traffic, ".
    pub(super) mend: &'static str,
    /// The setting, as a dotted path and its value. `OP` and `API` stand for the operation's and the
    /// API's own place. `None` where nothing may let such requests pass.
    pub(super) key: Option<&'static str>,
}

/// Who sends what cannot be read in one way only must mend it: no setting opens that.
const CLIENT: &str = "the client has to send it correctly: no setting lets it pass";

/// For each reason. The keys are checked against the configuration's own schema by a test.
#[expect(
    clippy::too_many_lines,
    reason = "a table with a row for each reason; a split would need a wildcard"
)]
pub(super) fn advice(reason: Reason) -> Advice {
    let (mend, key) = match reason {
        Reason::ConnectionsExhausted => (
            "raise the bound",
            Some("defaults.bounds.connections: 20000"),
        ),
        Reason::ClientConnectionsExhausted => (
            "raise the bound, or list the proxy in front in `trusted_proxies`",
            Some("defaults.bounds.connections_per_client: 1024"),
        ),
        Reason::ConnectionRate => (
            "raise the bound, or list the proxy in front in `trusted_proxies`",
            Some("defaults.bounds.connection_rate: 20000/s"),
        ),
        Reason::HandshakeRate => (
            "raise the bound, or list the proxy in front in `trusted_proxies`",
            Some("defaults.bounds.handshake_rate: 4000/s"),
        ),
        Reason::ClientDenied => (
            "take the address off the list, or let the list be named no more",
            Some("OP.networks.deny: [blocked]"),
        ),
        Reason::BodyMemoryExhausted => {
            ("raise the bound", Some("defaults.bounds.body_memory: 1GiB"))
        }
        Reason::UpstreamOverloaded => (
            "let it be refused last; for the upstream, raise the least that it gets",
            Some("OP.priority: high"),
        ),
        Reason::ProxyUntrusted => (
            "list the load balancer that it comes through",
            Some("trusted_proxies: [10.0.0.0/8]"),
        ),
        Reason::ProxyMalformed => (
            "let the load balancer send a header of the PROXY protocol, or expect none: remove `proxy_protocol`",
            None,
        ),
        Reason::HeadMalformed
        | Reason::FramingInvalid
        | Reason::TransferCodingUnknown
        | Reason::VersionUnsupported
        | Reason::HostInvalid
        | Reason::HostMismatch
        | Reason::ExpectationUnknown
        | Reason::PathMalformed
        | Reason::ParameterDuplicate
        | Reason::ParameterMalformed
        | Reason::BodyIncomplete
        | Reason::BodyMalformed
        | Reason::BodyDuplicateKey
        | Reason::ContentEncodingUnknown => (CLIENT, None),
        Reason::HeadTooLarge => (
            "raise the bound (fields are counted by `headers`)",
            Some("defaults.bounds.head: 64KiB"),
        ),
        Reason::UriTooLong => ("raise the bound", Some("defaults.bounds.uri: 16KiB")),
        Reason::HeadTimeout => ("give it more time", Some("defaults.bounds.head_time: 30s")),
        Reason::RouteUnknown => (
            "and the description has the path, say below which path the API answers",
            Some("apis.NAME.base_path: /v1"),
        ),
        Reason::MethodUndeclared => ("add the method to the path in the description", None),
        Reason::LimitRate => (
            "raise the rate or its burst; the nearest list of limits replaces those further away",
            Some("OP.limits: [{ per: client, rate: 50/s, burst: 100 }]"),
        ),
        Reason::LimitQuota => (
            "raise the quota; the nearest list of limits replaces those further away",
            Some("OP.limits: [{ per: principal, quota: 1000000/day }]"),
        ),
        Reason::LimitConcurrency => (
            "allow more at once; the nearest list of limits replaces those further away",
            Some("OP.limits: [{ per: client, concurrent: 50 }]"),
        ),
        Reason::LimitUnavailable => (
            "see why Redis does not answer; or let each instance go on with its part of the limit",
            Some("defaults.on_fault.limits: local"),
        ),
        Reason::LimitUnkeyed => (
            "count such requests by their address instead (`missing: client` of the limit); the nearest list of limits replaces those further away",
            Some("OP.limits: [{ per: tenant, quota: 1000/day, missing: client }]"),
        ),
        Reason::LoginDelayed => (
            "allow more failures before the delay, or a shorter one",
            Some("OP.login.delay: { after: 5, most: 1min }"),
        ),
        Reason::LoginLocked => (
            "lift the lock (`fortress login unlock`), or lock later",
            Some("OP.login.lock: { after: 100, for: 5min }"),
        ),
        Reason::LoginStuffing => (
            "raise the number of accounts that may fail from one address, or only watch",
            Some("OP.login.stuffing: { mode: monitor }"),
        ),
        Reason::LoginUncounted => (
            "see why Redis does not answer; or let each instance go on with what it knows",
            Some("OP.login.on_fault: local"),
        ),
        Reason::LoginBreached => (
            "the person has to choose another password; or do not look them up: remove `breached`",
            None,
        ),
        Reason::BreachesUnavailable => (
            "see that the list can be read or asked from here, or let passwords pass meanwhile",
            Some("OP.login.breached.on_fault: open"),
        ),
        Reason::LoginRejected => (
            "the person has to know the password; if clients need the upstream's own answer, say so",
            Some("OP.login.uniform: false"),
        ),
        Reason::ObjectEnumeration => (
            "allow more objects that are not there",
            Some("OP.enumeration.distinct: 500/10min"),
        ),
        Reason::CredentialMissing => (
            "the client has to send a token; if anyone may call this operation, say so",
            Some("OP.public: true"),
        ),
        Reason::CredentialMalformed | Reason::CredentialExpired => (
            "the client has to get a valid token: no setting lets it pass",
            None,
        ),
        Reason::CredentialInvalid => (
            "compare the token's `iss`, `aud` and `kid` with the entry of `identity`",
            None,
        ),
        Reason::CredentialRevoked => (
            "the client has to get a new credential: this one was revoked",
            None,
        ),
        Reason::CredentialUnbound => (
            "the client has to prove that it holds the token's key, or show the certificate that it was issued to; if tokens need not be bound, say so",
            Some("identity.NAME.dpop: accepted"),
        ),
        Reason::CredentialReplayed => (
            "the client has to make a new proof or signature for each request",
            None,
        ),
        Reason::CredentialRestricted => (
            "give the key this operation or address: `fortress keys show ID` tells what it may",
            None,
        ),
        Reason::CertificateMissing => (
            "the client has to show its certificate; the listener has to ask for it, and the operation may do without",
            Some("OP.require.certificate: false"),
        ),
        Reason::IntrospectionUnavailable => (
            "see that the issuer answers from here, in time",
            Some("identity.NAME.introspection.timeout: 5s"),
        ),
        Reason::SessionForged => (
            "and the key of the cookies was changed, keep the one before as `previous_key` for as long as a session lasts",
            Some("identity.NAME.login.previous_key: env:OLD_COOKIE_KEY"),
        ),
        Reason::SessionCrossSite => (
            "the page has to be of the gateway's own origin; if browsers call the gateway by another name than it sees, say by which",
            Some("identity.NAME.login.origin: https://shop.example.com"),
        ),
        Reason::LoginFailed => (
            "the person has to begin anew; what the issuer has registered for this client must be this callback",
            Some("identity.NAME.login.callback: /auth/callback"),
        ),
        Reason::LoginUnavailable => (
            "see that the issuer answers from here, and accepts this client",
            None,
        ),
        Reason::RoleInsufficient => (
            "the principal has to get the role, or the operation should not demand it",
            Some("OP.require.role: NAME"),
        ),
        Reason::AuthenticationInsufficient => (
            "the person has to log in anew, as the challenge says",
            Some("OP.require.max_age: 1h"),
        ),
        Reason::PasswordsExhausted => (
            "find out who sends so many passwords; a longer `cache` checks right ones less often",
            Some("identity.NAME.basic.cache: 10min"),
        ),
        Reason::IdentityTooLarge => (
            "pass fewer claims on to the upstream",
            Some("apis.NAME.upstream.identity.claims: [tenant]"),
        ),
        Reason::ExchangeRefused => (
            "see what the issuer says of the exchange: the journal has its error; it may not know the audience, or not allow it to this client",
            Some("apis.NAME.upstream.identity.audience: orders"),
        ),
        Reason::ExchangeUnavailable => (
            "see that the issuer's token endpoint answers from here within 3s, and takes the client's credentials",
            Some("apis.NAME.upstream.identity.exchange.endpoint: https://idp.example.com/token"),
        ),
        Reason::KeysUnavailable => (
            "see that the issuer's keys can be fetched from here, or keep them in a file",
            Some("identity.NAME.jwks: file:jwks.json"),
        ),
        Reason::ScopeInsufficient => (
            "the client has to get a token with the scope, or the operation's `security` should not demand it",
            None,
        ),
        Reason::ParameterUndeclared => (
            "declare the parameter in the description, or let undeclared ones pass",
            Some("OP.requests.undeclared: allow"),
        ),
        Reason::CookieUndeclared => (
            "declare the cookie in the description, or let undeclared ones pass",
            Some("OP.requests.cookies: allow"),
        ),
        Reason::ParameterMissing | Reason::BodyMissing => {
            ("the description should not say `required` there", None)
        }
        Reason::ParameterInvalid | Reason::BodyInvalid | Reason::BodyReadOnly => {
            ("mend the schema at that place in the description", None)
        }
        Reason::BodyTooLarge => ("raise the bound", Some("OP.bounds.body: 8MiB")),
        Reason::BodyTimeout => ("accept slower bodies", Some("OP.bounds.body_rate: 256B/s")),
        Reason::BodyUnexpected => (
            "add a `requestBody` to the operation in the description",
            None,
        ),
        Reason::ContentTypeUndeclared | Reason::CharsetUndeclared => (
            "add the media type to the operation's `requestBody` in the description",
            None,
        ),
        Reason::ContentEncodingInvalid => (
            "raise the bound, if it decodes at all",
            Some("OP.bounds.expansion: 1000"),
        ),
        Reason::BodyTooComplex => (
            "raise the bound that was exceeded: `depth`, `properties`, `items` or `parts`",
            Some("OP.bounds.properties: 10000"),
        ),
        Reason::BodyUndeclared => (
            "declare the property in the description, or let undeclared ones pass",
            Some("OP.requests.undeclared: allow"),
        ),
        Reason::WafExhausted | Reason::WafResponseExhausted => (
            "raise the bound, or leave out the rules that look longest",
            Some("OP.bounds.inspection: 1GiB"),
        ),
        Reason::WafBodyLimit | Reason::WafResponseLimit => (
            "raise the limit in the file of rules that says it, or let them look at the beginning alone (`SecRequestBodyLimitAction ProcessPartial`, `SecResponseBodyLimitAction ProcessPartial`)",
            None,
        ),
        Reason::WafAnomalyScore | Reason::WafResponseScore => (
            "leave out the rule that matched, for the parameter where it did",
            Some("OP.waf.exclude: [{ rule: 942100, parameter: body.comment }]"),
        ),
        Reason::WafRule => (
            "mend the rule in the file of `waf.files`, or leave it out here",
            Some("OP.waf.exclude: [{ rule: 1000, parameter: body.comment }]"),
        ),
        Reason::UpstreamUnreachable => (
            "see that the upstream runs and can be reached from here",
            Some("API.upstream: http://127.0.0.1:3000"),
        ),
        Reason::UpstreamTimeout => (
            "give the upstream more time, in the long form of its key",
            Some("API.upstream.timeouts.first_byte: 60s"),
        ),
        Reason::UpstreamBroken => (
            "mend the upstream: its answer cannot be read in one way only",
            None,
        ),
        Reason::ResponseUndeclared => (
            "add the status and media type to the operation's `responses` in the description, or let any pass",
            Some("OP.responses.undeclared: allow"),
        ),
        Reason::ResponseInvalid => (
            "mend the upstream, or the schema of the response in the description",
            None,
        ),
        Reason::GatewayFault => ("report it, with the request's id", None),
    };
    Advice { mend, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the configuration's schema has this dotted path.
    fn known(path: &str) -> bool {
        let schema: serde_json::Value =
            serde_json::from_str(&fortress_model::config::json_schema()).unwrap();
        let mut places = vec![&schema];
        for step in path.split('.') {
            let mut next = Vec::new();
            for place in places {
                let mut open = vec![place];
                while let Some(mut one) = open.pop() {
                    while let Some(reference) = one.get("$ref").and_then(|value| value.as_str()) {
                        one = schema.pointer(reference.trim_start_matches('#')).unwrap();
                    }
                    next.extend(one.get("properties").and_then(|all| all.get(step)));
                    next.extend(
                        one.get("additionalProperties")
                            .filter(|all| all.is_object()),
                    );
                    for several in ["anyOf", "oneOf", "allOf"] {
                        let all = one.get(several).and_then(|all| all.as_array());
                        open.extend(all.into_iter().flatten());
                    }
                }
            }
            places = next;
        }
        !places.is_empty()
    }

    #[test]
    fn every_key_is_one_of_the_configuration() {
        let mut keys = 0;
        for reason in Reason::ALL {
            let Some(key) = advice(*reason).key else {
                continue;
            };
            let (path, value) = key.split_once(": ").expect("a path and a value");
            let path = path
                .replace("OP.", "apis.orders.operations.getOrder.")
                .replace("API.", "apis.orders.");
            assert!(known(&path), "{path}");
            assert!(!value.is_empty(), "{key}");
            keys += 1;
        }
        assert!(keys > 10);
        assert!(!known("defaults.bounds.boddy") && !known("apis.orders.operations.getOrder.pubic"));
    }
}
