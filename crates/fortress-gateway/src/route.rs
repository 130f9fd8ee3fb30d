//! Which operation a request means: by host, base path, path template and method.
//!
//! The router is a trie over path segments for each host, so its cost depends on the depth of the
//! path and not on how many operations there are. A concrete segment wins over a templated one, and
//! the path decides before the method does (OpenAPI 3.1, "Path Templating Matching").
//!
//! Deliberately not here: normalising the path, which happens once before, and checking the values
//! of path parameters, which `inspect` does.

use std::{collections::HashMap, ops::Range, sync::Arc};

use fortress_model::{Decision, Denial, Reason};
use fortress_spec::description::{Part, PathTemplate, Segment};
use http::{HeaderValue, Method, header};
use smallvec::SmallVec;

use crate::{
    compile::{Gateway, OperationPlan},
    path::NormalizedPath,
    serve::Refused,
};

/// The proof that a request was routed: the operation and the values of its path parameters.
#[derive(Debug)]
pub(crate) struct Routed {
    plan: Arc<OperationPlan>,
    values: Captures,
}

/// Name of a path parameter and where its value stands in the normalised path.
pub(crate) type Captures = SmallVec<[(Arc<str>, Range<usize>); 4]>;

impl Routed {
    /// What is to be done for this operation.
    pub(crate) fn plan(&self) -> &Arc<OperationPlan> {
        &self.plan
    }

    /// The path parameters' raw values.
    pub(crate) fn values<'a>(&'a self, path: &'a str) -> SmallVec<[(&'a str, &'a str); 4]> {
        self.values
            .iter()
            .filter_map(|(name, range)| Some((&**name, path.get(range.clone())?)))
            .collect()
    }
}

/// Finds the operation, and makes its mode the request's mode.
///
/// # Errors
/// `route.unknown`, `method.undeclared` or `path.malformed`. A request that belongs to no API is refused
/// in every mode: there is no upstream to send it to.
pub(crate) fn find(
    gateway: &Gateway,
    decision: &mut Decision,
    host: &str,
    method: &Method,
    path: &NormalizedPath,
) -> Result<Routed, Refused> {
    match gateway.router.find(host, method, path.as_str()) {
        Match::Operation { plan, values } => {
            if path.has_semicolon() && !plan.semicolons {
                return Err(decision
                    .fail(
                        Reason::PathMalformed,
                        "`;` in a path that declares no matrix parameter",
                    )
                    .into());
            }
            decision.api = Some(Arc::clone(&plan.api.name));
            decision.operation = Some(Arc::clone(&plan.id));
            decision.mode = plan.mode;
            Ok(Routed { plan, values })
        }
        Match::OtherMethods(allow) => {
            let detail = format!("`{method}` is not declared; declared: {allow}");
            let passed = unlisted(
                gateway,
                decision,
                (host, method, path),
                Reason::MethodUndeclared,
                detail,
            );
            passed.map_err(|denial| {
                let mut refused = Refused::from(denial);
                if let Ok(value) = HeaderValue::from_str(&allow) {
                    refused.headers.push((header::ALLOW, value));
                }
                refused
            })
        }
        Match::None => {
            let (reason, detail) = if path.has_semicolon() {
                (
                    Reason::PathMalformed,
                    "`;` in a path that declares no matrix parameter",
                )
            } else {
                (Reason::RouteUnknown, "no operation has this host and path")
            };
            let passed = unlisted(
                gateway,
                decision,
                (host, method, path),
                reason,
                detail.into(),
            );
            passed.map_err(Refused::from)
        }
    }
}

/// What no description declares: refused, unless it belongs to an API that is not enforced.
fn unlisted(
    gateway: &Gateway,
    decision: &mut Decision,
    (host, method, path): (&str, &Method, &NormalizedPath),
    reason: Reason,
    detail: String,
) -> Result<Routed, Denial> {
    let Match::Operation { plan, values } = gateway.unlisted.find(host, method, path.as_str())
    else {
        return Err(decision.fail(reason, detail));
    };
    decision.api = Some(Arc::clone(&plan.api.name));
    decision.mode = plan.mode;
    decision.refuse(reason, detail)?;
    Ok(Routed { plan, values })
}

/// All operations of all APIs, by host.
#[derive(Debug, Default)]
pub(crate) struct Router {
    exact: HashMap<Box<str>, Trie>,
    /// `*.example.com` is kept as `.example.com`, the longest first.
    suffixes: Vec<(Box<str>, Trie)>,
    any: Trie,
}

/// What the router found.
#[derive(Debug)]
pub(crate) enum Match {
    Operation {
        plan: Arc<OperationPlan>,
        values: Captures,
    },
    /// The path is declared with these methods only.
    OtherMethods(String),
    None,
}

/// Two operations that cannot be told apart.
#[derive(Debug)]
pub(crate) struct Conflict {
    /// The one that was there first.
    pub(crate) earlier: Arc<OperationPlan>,
}

impl Router {
    /// Adds an operation under a host pattern (empty: any host) and base path.
    pub(crate) fn add(
        &mut self,
        host: Option<&str>,
        base_path: &str,
        template: &PathTemplate,
        method: &Method,
        plan: &Arc<OperationPlan>,
    ) -> Result<(), Conflict> {
        self.trie(host).add(base_path, template, method, plan)
    }

    /// Adds an API without a description: everything under its base path.
    pub(crate) fn add_any(
        &mut self,
        host: Option<&str>,
        base_path: &str,
        plan: &Arc<OperationPlan>,
    ) -> Result<(), Conflict> {
        let node = self.trie(host).descend_literals(base_path);
        match &node.rest {
            Some(earlier) => Err(Conflict {
                earlier: Arc::clone(earlier),
            }),
            None => {
                node.rest = Some(Arc::clone(plan));
                Ok(())
            }
        }
    }

    fn trie(&mut self, host: Option<&str>) -> &mut Trie {
        match host {
            None => &mut self.any,
            Some(host) => match host.strip_prefix('*') {
                None => self.exact.entry(host.into()).or_default(),
                Some(suffix) => self.suffix(suffix),
            },
        }
    }

    fn suffix(&mut self, suffix: &str) -> &mut Trie {
        let at = match self
            .suffixes
            .iter()
            .position(|(known, _)| &**known == suffix)
        {
            Some(at) => at,
            None => {
                let at = self
                    .suffixes
                    .iter()
                    .position(|(known, _)| known.len() < suffix.len())
                    .unwrap_or(self.suffixes.len());
                self.suffixes.insert(at, (suffix.into(), Trie::default()));
                at
            }
        };
        match self.suffixes.get_mut(at) {
            Some((_, trie)) => trie,
            None => &mut self.any,
        }
    }

    /// The operation for a request. `host` is in lower case and may have a port, which does not count.
    pub(crate) fn find(&self, host: &str, method: &Method, path: &str) -> Match {
        let name = host_name(host);
        let mut found = Match::None;
        let suffixes = self
            .suffixes
            .iter()
            .filter(|(suffix, _)| name.len() > suffix.len() && name.ends_with(&**suffix))
            .map(|(_, trie)| trie);
        for trie in self
            .exact
            .get(name)
            .into_iter()
            .chain(suffixes)
            .chain([&self.any])
        {
            match trie.find(method, path) {
                Match::None => {}
                operation @ Match::Operation { .. } => return operation,
                others @ Match::OtherMethods(_) => {
                    if matches!(found, Match::None) {
                        found = others;
                    }
                }
            }
        }
        found
    }
}

/// The host without its port. IPv6 literals keep their brackets.
pub(crate) fn host_name(host: &str) -> &str {
    let colon = memchr::memrchr(b':', host.as_bytes());
    match colon.and_then(|at| host.split_at_checked(at)) {
        Some((name, port)) if !port.contains(']') => name,
        Some(_) | None => host,
    }
}

#[derive(Debug, Default)]
struct Trie {
    literals: HashMap<Box<str>, Trie>,
    /// Segments such as `{name}.{ext}`: tried before a plain parameter, the more literal first.
    mixed: Vec<(Vec<Part>, Trie)>,
    parameter: Option<Box<Trie>>,
    /// A parameter whose value may contain slashes.
    spanning: Option<Box<Trie>>,
    /// What ends here.
    operations: Vec<(Method, Arc<OperationPlan>, Vec<Arc<str>>)>,
    /// An API without a description takes all that is below.
    rest: Option<Arc<OperationPlan>>,
}

impl Trie {
    fn descend_literals(&mut self, path: &str) -> &mut Self {
        let mut node = self;
        for segment in path.split('/').skip(1) {
            node = node.literals.entry(segment.into()).or_default();
        }
        node
    }

    fn add(
        &mut self,
        base_path: &str,
        template: &PathTemplate,
        method: &Method,
        plan: &Arc<OperationPlan>,
    ) -> Result<(), Conflict> {
        let mut node = self.descend_literals(base_path);
        for segment in &template.segments {
            node = node.child(segment);
        }
        let names = template.parameters().cloned().collect();
        if let Some((_, earlier, _)) = node.operations.iter().find(|(known, ..)| known == method) {
            return Err(Conflict {
                earlier: Arc::clone(earlier),
            });
        }
        node.operations
            .push((method.clone(), Arc::clone(plan), names));
        Ok(())
    }

    fn child(&mut self, segment: &Segment) -> &mut Self {
        let parts = match segment {
            Segment::Literal(text) => return self.literals.entry(text.clone()).or_default(),
            Segment::Pattern(parts) => parts,
        };
        match parts.as_slice() {
            [
                Part::Parameter {
                    spans_segments: true,
                    ..
                },
            ] => self.spanning.get_or_insert_default(),
            [Part::Parameter { .. }] => self.parameter.get_or_insert_default(),
            parts => self.mixed_child(parts),
        }
    }

    fn mixed_child(&mut self, parts: &[Part]) -> &mut Self {
        let known = self
            .mixed
            .iter()
            .position(|(known, _)| same_shape(known, parts));
        let at = known.unwrap_or_else(|| {
            let weight = literal_bytes(parts);
            let at = self
                .mixed
                .iter()
                .position(|(known, _)| literal_bytes(known) < weight)
                .unwrap_or(self.mixed.len());
            self.mixed.insert(at, (parts.to_vec(), Self::default()));
            at
        });
        match self.mixed.get_mut(at) {
            Some((_, trie)) => trie,
            None => self.parameter.get_or_insert_default(),
        }
    }

    fn find(&self, method: &Method, path: &str) -> Match {
        let mut walk = Walk {
            method,
            path,
            captures: SmallVec::new(),
            steps: 0,
        };
        walk.visit(self, 1)
    }
}

/// One search. Backtracking is bounded in steps: how far it goes depends on the description's
/// shape, and no description may let a path cost more than this.
struct Walk<'a> {
    method: &'a Method,
    path: &'a str,
    captures: SmallVec<[Range<usize>; 4]>,
    steps: usize,
}

const STEPS: usize = 4_096;

impl Walk<'_> {
    /// Matches the path from `start`, one past a slash, against `node`.
    fn visit(&mut self, node: &Trie, start: usize) -> Match {
        self.steps += 1;
        if self.steps > STEPS {
            return Match::None;
        }
        if start > self.path.len() {
            return self.end(node);
        }
        let rest = self.path.get(start..).unwrap_or_default();
        let end = start + memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len());
        let segment = self.path.get(start..end).unwrap_or_default();
        if let Some(child) = node.literals.get(segment) {
            let found = self.visit(child, end + 1);
            if !matches!(found, Match::None) {
                return found;
            }
        }
        let mut other: Option<String> = None;
        // A template parameter is never empty (OpenAPI 3.1, "Path Templating").
        if !segment.is_empty() {
            let depth = self.captures.len();
            for (parts, child) in &node.mixed {
                if capture(parts, segment, start, &mut self.captures) {
                    let found = self.visit(child, end + 1);
                    if !matches!(found, Match::None) {
                        return found;
                    }
                }
                self.captures.truncate(depth);
            }
            if let Some(child) = &node.parameter {
                self.captures.push(start..end);
                match self.visit(child, end + 1) {
                    Match::None => {}
                    // A description may have the same path once with a parameter that takes
                    // slashes, for other methods.
                    Match::OtherMethods(allow) if node.spanning.is_some() => other = Some(allow),
                    found @ (Match::Operation { .. } | Match::OtherMethods(_)) => return found,
                }
                self.captures.truncate(depth);
            }
        }
        if let Some(child) = &node.spanning
            && !segment.is_empty()
        {
            match (self.visit_spanning(child, start), other.take()) {
                (Match::None, kept) => other = kept,
                (Match::OtherMethods(more), Some(kept)) => {
                    return Match::OtherMethods(union(&kept, &more));
                }
                (found, _) => return found,
            }
        }
        if let Some(allow) = other {
            return Match::OtherMethods(allow);
        }
        match &node.rest {
            Some(plan) => Match::Operation {
                plan: Arc::clone(plan),
                values: Captures::new(),
            },
            None => Match::None,
        }
    }

    /// Tries every end of a value that may contain slashes, the longest first.
    fn visit_spanning(&mut self, child: &Trie, start: usize) -> Match {
        let depth = self.captures.len();
        let rest = self.path.get(start..).unwrap_or_default();
        let ends = memchr::memrchr_iter(b'/', rest.as_bytes()).map(|at| start + at);
        for end in std::iter::once(self.path.len()).chain(ends) {
            self.captures.push(start..end);
            let found = self.visit(child, end + 1);
            if !matches!(found, Match::None) {
                return found;
            }
            self.captures.truncate(depth);
        }
        Match::None
    }

    fn end(&self, node: &Trie) -> Match {
        if let Some((_, plan, names)) = node
            .operations
            .iter()
            .find(|(known, ..)| known == self.method)
        {
            let values = names
                .iter()
                .cloned()
                .zip(self.captures.iter().cloned())
                .collect();
            return Match::Operation {
                plan: Arc::clone(plan),
                values,
            };
        }
        if let Some(plan) = &node.rest {
            return Match::Operation {
                plan: Arc::clone(plan),
                values: Captures::new(),
            };
        }
        if node.operations.is_empty() {
            return Match::None;
        }
        let mut methods: Vec<&str> = node
            .operations
            .iter()
            .map(|(known, ..)| known.as_str())
            .collect();
        methods.sort_unstable();
        Match::OtherMethods(methods.join(", "))
    }
}

/// The methods of two `Allow` lists, each once, in order.
fn union(one: &str, other: &str) -> String {
    let mut methods: Vec<&str> = one.split(", ").chain(other.split(", ")).collect();
    methods.sort_unstable();
    methods.dedup();
    methods.join(", ")
}

/// Matches one segment against literals and parameters in turn. A parameter takes as little as it
/// can, the last one all that is left; linear, since each literal is searched for once.
fn capture(
    parts: &[Part],
    segment: &str,
    offset: usize,
    captures: &mut SmallVec<[Range<usize>; 4]>,
) -> bool {
    let mut at = 0;
    let mut open: Option<usize> = None;
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Parameter { .. } => open = Some(at),
            Part::Literal(text) => {
                let rest = segment.get(at..).unwrap_or_default();
                let found = match open {
                    None => rest.starts_with(&**text).then_some(0),
                    Some(_) if index + 1 == parts.len() => {
                        rest.ends_with(&**text).then(|| rest.len() - text.len())
                    }
                    // A parameter holds at least one byte.
                    Some(_) => rest
                        .char_indices()
                        .nth(1)
                        .and_then(|(skip, _)| Some(skip + rest.get(skip..)?.find(&**text)?)),
                };
                let Some(found) = found else { return false };
                if let Some(from) = open.take() {
                    if found == 0 {
                        return false;
                    }
                    captures.push(offset + from..offset + at + found);
                }
                at += found + text.len();
            }
        }
    }
    match open {
        Some(from) if from < segment.len() => {
            captures.push(offset + from..offset + segment.len());
            true
        }
        Some(_) => false,
        None => at == segment.len(),
    }
}

fn same_shape(a: &[Part], b: &[Part]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|pair| match pair {
            (Part::Literal(a), Part::Literal(b)) => a == b,
            (Part::Parameter { .. }, Part::Parameter { .. }) => true,
            (Part::Literal(_), Part::Parameter { .. })
            | (Part::Parameter { .. }, Part::Literal(_)) => false,
        })
}

fn literal_bytes(parts: &[Part]) -> usize {
    parts
        .iter()
        .map(|part| match part {
            Part::Literal(text) => text.len(),
            Part::Parameter { .. } => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> PathTemplate {
        let segment = |segment: &str| match segment.strip_prefix('{') {
            None => Segment::Literal(segment.into()),
            Some(name) => Segment::Pattern(vec![Part::Parameter {
                name: name.trim_end_matches('}').into(),
                spans_segments: false,
            }]),
        };
        PathTemplate {
            text: text.into(),
            segments: text.split('/').skip(1).map(segment).collect(),
        }
    }

    /// Looks at every template: concrete segments win over parameters, the leftmost first.
    fn naive(declared: &BTreeSet<(String, &'static str)>, method: &str, path: &str) -> String {
        let matches = |text: &str| {
            let (ours, theirs): (Vec<_>, Vec<_>) =
                (text.split('/').collect(), path.split('/').collect());
            ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(ours, theirs)| {
                    ours == theirs || (ours.starts_with('{') && !theirs.is_empty())
                })
        };
        let concrete = |text: &str| {
            text.split('/')
                .map(|part| part.starts_with('{'))
                .collect::<Vec<_>>()
        };
        let best = declared
            .iter()
            .filter(|(text, _)| matches(text))
            .min_by_key(|(text, _)| concrete(text));
        let Some((best, _)) = best else {
            return "none".into();
        };
        let methods: Vec<&str> = declared
            .iter()
            .filter(|(text, _)| text == best)
            .map(|(_, method)| *method)
            .collect();
        if methods.contains(&method) {
            format!("{method} {best}")
        } else {
            methods.join(", ")
        }
    }

    fn found(router: &Router, method: &str, path: &str) -> String {
        match router.find("api.test", &method.parse().unwrap(), path) {
            Match::Operation { plan, .. } => plan.id.to_string(),
            Match::OtherMethods(allow) => allow,
            Match::None => "none".into(),
        }
    }

    fn segments(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(of), 1..5).prop_map(|segments| {
            segments
                .iter()
                .map(|segment| format!("/{segment}"))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_router_finds_what_a_naive_matcher_finds(
            declared in proptest::collection::btree_set(
                (segments(&["a", "b", "{x}", ""]), proptest::sample::select(&["DELETE", "GET"][..])), 0..12),
            path in segments(&["a", "b", "c", ""]),
            method in proptest::sample::select(&["DELETE", "GET", "POST"][..]),
        ) {
            let mut router = Router::default();
            for (text, method) in &declared {
                let plan = OperationPlan::named(&format!("{method} {text}"));
                router.add(None, "", &template(text), &method.parse().unwrap(), &plan).unwrap();
            }
            prop_assert_eq!(found(&router, method, &path), naive(&declared, method, &path));
        }
    }

    #[test]
    fn equal_operations_are_a_conflict() {
        let mut router = Router::default();
        let mut add = |text: &str, method: Method| {
            router
                .add(
                    None,
                    "",
                    &template(text),
                    &method,
                    &OperationPlan::named(text),
                )
                .is_ok()
        };
        assert!(add("/a/{x}", Method::GET));
        assert!(add("/a/{x}", Method::POST));
        assert!(!add("/a/{y}", Method::GET));
    }

    #[test]
    fn many_wide_templates_do_not_make_a_search_long() {
        let mut router = Router::default();
        for number in 0..4_096_u32 {
            let text: String = (0..12)
                .map(|bit| if number >> bit & 1 == 1 { "/{x}" } else { "/a" })
                .collect();
            let plan = OperationPlan::named(&text);
            router
                .add(None, "", &template(&text), &Method::GET, &plan)
                .unwrap();
        }
        assert_eq!(found(&router, "GET", &"/a".repeat(12)), "/a".repeat(12));
        assert_eq!(
            found(&router, "GET", &format!("{}/", "/a".repeat(12))),
            "none"
        );
    }
}
