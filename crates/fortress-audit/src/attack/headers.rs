//! Headers that ask for another method or path, that only a proxy may set, or that are too large.

use super::{Attack, Basis, Judge, Kind, Request};

/// What must not come back from an upstream: no header of a client's own carries it there.
const CANARY: &str = "203.0.113.77";

/// Another method or path than the request line's.
pub(super) fn overrides(basis: &Basis) -> Vec<Attack> {
    let other = if basis.request.method == "DELETE" {
        "PUT"
    } else {
        "DELETE"
    };
    let fields = [
        ("X-HTTP-Method-Override", other),
        ("X-Method-Override", other),
        ("X-HTTP-Method", other),
        ("X-Original-URL", "/admin/export"),
        ("X-Rewrite-URL", "/admin/export"),
    ];
    fields
        .into_iter()
        .map(|(name, value)| {
            without_effect(
                basis,
                Kind::MethodOverride,
                format!("`{name}: {value}`"),
                None,
                |request| request.with(name, value),
            )
        })
        .collect()
}

/// What only a trusted proxy may say, and what belongs to one connection.
pub(super) fn spoofs(basis: &Basis) -> Vec<Attack> {
    let canary = || Some(CANARY.to_owned());
    let fields = [
        ("X-Forwarded-For", CANARY.to_owned()),
        ("Forwarded", format!("for={CANARY}")),
        ("X-Real-IP", CANARY.to_owned()),
        ("True-Client-IP", CANARY.to_owned()),
        ("CF-Connecting-IP", CANARY.to_owned()),
        ("X-Client-IP", CANARY.to_owned()),
        ("X-Forwarded-Host", CANARY.to_owned()),
    ];
    let mut found: Vec<Attack> = fields
        .into_iter()
        .map(|(name, value)| {
            without_effect(
                basis,
                Kind::HeaderSpoofed,
                format!("`{name}` of a client"),
                canary(),
                |request| request.with(name, value),
            )
        })
        .collect();
    found.push(without_effect(
        basis,
        Kind::HeaderSpoofed,
        "a field that `Connection` names",
        canary(),
        |request| {
            request
                .with("Connection", "close, X-Hop")
                .with("X-Hop", CANARY)
        },
    ));
    found.push(without_effect(
        basis,
        Kind::HeaderSpoofed,
        "an upgrade to h2c",
        None,
        |request| {
            request
                .with("Connection", "Upgrade, HTTP2-Settings")
                .with("Upgrade", "h2c")
                .with("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
        },
    ));
    found
}

/// Heads beyond any use.
pub(super) fn sizes(basis: &Basis) -> Vec<Attack> {
    let many = (0..300).fold(basis.request.clone(), |request, n| {
        request.with(format!("X-{n}"), "1")
    });
    vec![
        basis.refused(
            Kind::HeadTooLarge,
            "a field of 64 KiB",
            basis.request.clone().with("X-A", "a".repeat(64 << 10)),
        ),
        basis.refused(Kind::HeadTooLarge, "300 fields", many),
        basis.refused(
            Kind::HeadTooLarge,
            "a URI of 16 KiB",
            basis
                .request
                .clone()
                .query(&format!("a={}", "a".repeat(16 << 10))),
        ),
    ]
}

fn without_effect(
    basis: &Basis,
    kind: Kind,
    what: impl Into<String>,
    canary: Option<String>,
    change: impl FnOnce(Request) -> Request,
) -> Attack {
    Attack {
        judge: Judge::NoEffect {
            plain: basis.request.clone(),
            canary,
        },
        ..basis.refused(kind, what, change(basis.request.clone()))
    }
}
