//! Paths and methods that nobody declared, and paths that two parsers would read differently.

use std::collections::BTreeSet;

use fortress_spec::{ApiDescription, PathTemplate, Segment};

use super::{Attack, Basis, Judge, Kind, Message, Request};

/// Where services keep what nobody wrote down.
const SHADOWS: [&str; 16] = [
    "/admin",
    "/admin/export",
    "/debug",
    "/debug/vars",
    "/actuator/env",
    "/swagger.json",
    "/openapi.json",
    "/api-docs",
    "/swagger-ui",
    "/v0/orders",
    "/metrics",
    "/.env",
    "/.git/config",
    "/graphql",
    "/internal/config",
    "/server-status",
];

/// Methods beside those that an operation declares.
const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "DEBUG",
];

/// Paths that no template of the description has.
pub(super) fn undeclared(
    description: &ApiDescription,
    base: &str,
    credential: Option<&str>,
) -> Vec<Attack> {
    let mut paths: BTreeSet<String> = SHADOWS.iter().map(|path| (*path).to_owned()).collect();
    for operation in description.operations.iter().take(25) {
        let first: Option<&str> =
            operation
                .template
                .segments
                .first()
                .and_then(|segment| match segment {
                    Segment::Literal(text) => Some(&**text),
                    Segment::Pattern(_) => None,
                });
        if let Some(first) = first.filter(|first| !first.is_empty()) {
            paths.insert(format!("/{first}-internal"));
            paths.insert(format!("/{first}/export/all.csv"));
            paths.insert(format!("/{first}.bak"));
        }
    }
    paths
        .into_iter()
        .filter(|path| !declared(description, path))
        .map(|path| {
            let request = authorized(Request::new("GET", format!("{base}{path}")), credential);
            global(Kind::PathUndeclared, format!("GET {path}"), request)
        })
        .collect()
}

/// Undeclared methods of a declared path.
pub(super) fn methods(description: &ApiDescription, basis: &Basis) -> Vec<Attack> {
    let Some(operation) = description.operations.get(basis.index) else {
        return Vec::new();
    };
    let path = basis.request.path.clone();
    let shape = operation.template.shape();
    let has = |method: &str| {
        description.operations.iter().any(|other| {
            let same = other.template.shape() == shape || matches(&other.template, &path);
            // HEAD and OPTIONS follow from the description in ways of their own, and are not tried.
            same && other.method.as_str() == method
        })
    };
    METHODS
        .into_iter()
        .filter(|method| !has(method) && *method != "CONNECT")
        .map(|method| {
            let request = Request {
                method: method.to_owned(),
                ..basis.request.clone()
            };
            basis.refused(Kind::MethodUndeclared, method, request)
        })
        .collect()
}

/// Ways of writing an undeclared path so that a careless look takes it for a declared one. `open`
/// is the path of an operation, with the base path.
pub(super) fn tricks(open: &Basis, base: &str, credential: Option<&str>) -> Vec<Attack> {
    let open = open.request.path.trim_end_matches('/');
    let below = open.strip_prefix(base).unwrap_or(open);
    let up: String = below.split('/').skip(1).map(|_| "/..").collect();
    let semicolons: String = below.split('/').skip(1).map(|_| "/..;").collect();
    let encoded: String = below.split('/').skip(1).map(|_| "/%2e%2e").collect();
    let double: String = below.split('/').skip(1).map(|_| "/%252e%252e").collect();
    let overlong: String = below.split('/').skip(1).map(|_| "/%c0%ae%c0%ae").collect();
    let paths = [
        ("dot segments", format!("{open}{up}/admin/export")),
        (
            "dot segments with a path parameter",
            format!("{open}{semicolons}/admin/export"),
        ),
        (
            "encoded dot segments",
            format!("{open}{encoded}/admin/export"),
        ),
        (
            "doubly encoded dot segments",
            format!("{open}{double}/admin/export"),
        ),
        (
            "overlong UTF-8 dots",
            format!("{open}{overlong}/admin/export"),
        ),
        ("an encoded slash", format!("{base}/admin%2fexport")),
        ("a doubly encoded slash", format!("{base}/admin%252fexport")),
        ("a backslash", format!("{base}/admin\\export")),
        ("an encoded backslash", format!("{base}/admin%5cexport")),
        ("encoded letters", format!("{base}/%61dmin/%65xport")),
        ("doubly encoded letters", format!("{base}/%2561dmin/export")),
        ("empty segments", format!("{base}//admin//export")),
        ("a path parameter", format!("{base}/admin;a=b/export")),
        ("a NUL", format!("{base}/admin/export%00.css")),
        (
            "an encoded line break",
            format!("{base}/admin/export%0d%0aX-A:%201"),
        ),
        ("a broken escape", format!("{base}/admin/export%")),
        (
            "out of the root",
            format!("{base}/../../../../admin/export"),
        ),
        ("invalid UTF-8", format!("{base}/admin/%ff%fe")),
        ("a fragment", format!("{base}/admin/export#{open}")),
    ];
    paths
        .into_iter()
        .map(|(what, path)| {
            let request = authorized(Request::new("GET", path), credential);
            global(Kind::PathTrick, what, request)
        })
        .collect()
}

fn authorized(request: Request, credential: Option<&str>) -> Request {
    match credential {
        Some(token) => request.with("Authorization", format!("Bearer {token}")),
        None => request,
    }
}

fn global(kind: Kind, what: impl Into<String>, request: Request) -> Attack {
    Attack {
        kind,
        operation: None,
        what: what.into(),
        message: Message::Request(request),
        judge: Judge::Refused,
    }
}

fn declared(description: &ApiDescription, path: &str) -> bool {
    description
        .operations
        .iter()
        .any(|operation| matches(&operation.template, path))
}

/// Whether a path could be this template's: generous, since an attack must not be a valid request.
fn matches(template: &PathTemplate, path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    for segment in &template.segments {
        match (segment, segments.next()) {
            (Segment::Literal(text), Some(given)) if **text == *given => {}
            (Segment::Pattern(_), Some(_)) => {
                if segment_spans(segment) {
                    return true;
                }
            }
            (Segment::Literal(_) | Segment::Pattern(_), _) => return false,
        }
    }
    segments.next().is_none()
}

fn segment_spans(segment: &Segment) -> bool {
    match segment {
        Segment::Literal(_) => false,
        Segment::Pattern(parts) => parts.iter().any(|part| match part {
            fortress_spec::Part::Literal(_) => false,
            fortress_spec::Part::Parameter { spans_segments, .. } => *spans_segments,
        }),
    }
}
