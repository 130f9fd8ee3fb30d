//! Swagger 2.0 into OpenAPI 3.0, node for node, so that every span still points into the file.
//!
//! Schemas are not copied: the converted document refers to them where they stand, and only what
//! 2.0 writes differently (`discriminator`, `x-nullable`, `type: file`) is rewritten in place.
//! Deliberately not here: any check that the loader makes of the result.

mod body;
mod parameter;
mod response;

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Member, Node, Span, Value},
};

use super::{
    document::Resolver,
    keys::{METHODS, check_keys},
    pointer, uri,
};
use crate::schema::{Place, Resolve as _};

const DOCUMENT: &[&str] = &[
    "swagger",
    "info",
    "host",
    "basePath",
    "schemes",
    "consumes",
    "produces",
    "paths",
    "definitions",
    "parameters",
    "responses",
    "securityDefinitions",
    "security",
    "tags",
    "externalDocs",
];
const OPERATION: &[&str] = &[
    "tags",
    "summary",
    "description",
    "externalDocs",
    "operationId",
    "consumes",
    "produces",
    "parameters",
    "responses",
    "schemes",
    "deprecated",
    "security",
];

/// How many references may follow each other.
const LONGEST_CHAIN: usize = 64;

/// Converts the document at `root`. `None` if it is too broken to go on.
pub(super) fn convert<'d>(
    resolver: &Resolver<'d>,
    root: Place<'d>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Node> {
    let mut conversion = Conversion {
        resolver,
        root: root.node,
        diagnostics,
    };
    Some(conversion.document(root))
}

/// Rewrites what 2.0 says differently inside schemas. Runs over each file as it is read.
pub(super) fn rewrite(root: &mut Node) {
    let mut pending = vec![root];
    while let Some(node) = pending.pop() {
        match &mut node.value {
            Value::Object(members) => {
                rewrite_members(members);
                let inside = members.iter_mut().filter(|member| {
                    !matches!(&*member.key, "example" | "examples" | "enum" | "default")
                        && !member.key.starts_with("x-")
                });
                pending.extend(inside.map(|member| &mut member.value));
            }
            Value::Array(items) => pending.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

fn rewrite_members(members: &mut Vec<Member>) {
    let has = |members: &[Member], key: &str| members.iter().any(|member| *member.key == *key);
    let is_parameter = has(members, "in");
    let has_nullable = has(members, "nullable");
    let mut format = None;
    for member in members.iter_mut() {
        let span = member.value.span;
        match (&*member.key, &member.value.value) {
            ("discriminator", Value::String(_)) => {
                let name = std::mem::replace(&mut member.value.value, Value::Null);
                let name = entry("propertyName", Node { span, value: name });
                member.value.value = Value::Object(vec![name]);
            }
            ("x-nullable" | "x-isnullable", Value::Bool(_)) if !has_nullable => {
                member.key = "nullable".into();
            }
            ("type", Value::String(name)) if **name == *"file" && !is_parameter => {
                member.value.value = Value::String("string".into());
                format = Some(span);
            }
            _ => {}
        }
    }
    if let Some(span) = format
        && !has(members, "format")
    {
        members.push(entry("format", string(span, "binary")));
    }
}

/// A node of the original with the pointer to it.
#[derive(Clone)]
struct At<'d> {
    place: Place<'d>,
    pointer: String,
}

impl<'d> At<'d> {
    fn get(&self, key: &str) -> Option<Self> {
        self.place.get(key).map(|place| Self {
            place,
            pointer: format!("{}/{}", self.pointer, pointer::escape(key)),
        })
    }

    fn item(&self, index: usize, node: &'d Node) -> Self {
        Self {
            place: self.place.at(node),
            pointer: format!("{}/{index}", self.pointer),
        }
    }

    fn node(&self) -> &'d Node {
        self.place.node
    }

    /// `{ $ref: … }` to this place.
    fn reference(&self) -> Node {
        let span = self.node().span;
        let text = Resolver::internal_reference(self.place.base, &self.pointer);
        object(span, vec![entry("$ref", string(span, &text))])
    }
}

struct Conversion<'c, 'd> {
    resolver: &'c Resolver<'d>,
    root: &'d Node,
    diagnostics: &'c mut Vec<Diagnostic>,
}

impl<'d> Conversion<'_, 'd> {
    fn document(&mut self, root: Place<'d>) -> Node {
        let node = root.node;
        check_keys(node, DOCUMENT, self.diagnostics);
        let at = At {
            place: root,
            pointer: String::new(),
        };
        let span = node.span;
        let mut members = Vec::new();
        if let Some(version) = node.member("swagger") {
            members.push(renamed(
                version,
                "openapi",
                string(version.value.span, "3.0.3"),
            ));
        }
        members.push(entry("servers", self.servers()));
        for member in node.members() {
            let key = &*member.key;
            match key {
                "info" | "tags" | "security" => members.push(member.clone()),
                "securityDefinitions" => {
                    let schemes = self.security_schemes(&member.value);
                    let schemes = entry("securitySchemes", schemes);
                    let components = object(member.value.span, vec![schemes]);
                    members.push(renamed(member, "components", components));
                }
                "paths" => {
                    if let Some(paths) = at.get("paths") {
                        members.push(with_value(member, self.paths(&paths)));
                    }
                }
                extension if extension.starts_with("x-") => members.push(member.clone()),
                _ => {}
            }
        }
        object(span, members)
    }

    /// `schemes`, `host` and `basePath` as URLs.
    fn servers(&mut self) -> Node {
        let text = |key: &str| self.root.get(key).and_then(Node::as_str);
        let path = self.root.get("basePath");
        let span = path.map_or(self.root.span, |path| path.span);
        if let Some(path) = path
            && path.as_str().is_none()
        {
            self.diagnostics.push(Diagnostic::error(
                path.span,
                format!("`basePath` should be a string, this is {}", path.kind()),
            ));
        }
        let path = format!(
            "/{}",
            text("basePath").unwrap_or_default().trim_start_matches('/')
        );
        let schemes = self.root.get("schemes").map_or(&[][..], Node::items);
        let urls: Vec<String> = match text("host") {
            Some(host) if schemes.is_empty() => vec![format!("https://{host}{path}")],
            Some(host) => schemes
                .iter()
                .filter_map(Node::as_str)
                .map(|scheme| format!("{scheme}://{host}{path}"))
                .collect(),
            None => vec![path],
        };
        let server = |url: &String| object(span, vec![entry("url", string(span, url))]);
        array(span, urls.iter().map(server).collect())
    }

    fn security_schemes(&mut self, definitions: &Node) -> Node {
        let convert = |member: &Member| with_value(member, security_scheme(&member.value));
        if matches!(definitions.value, Value::Object(_)) {
            let members = definitions.members().iter().map(convert).collect();
            object(definitions.span, members)
        } else {
            definitions.clone()
        }
    }

    fn paths(&mut self, paths: &At<'d>) -> Node {
        if !matches!(paths.node().value, Value::Object(_)) {
            return paths.node().clone();
        }
        let mut members = Vec::new();
        for member in paths.node().members() {
            if member.key.starts_with("x-") {
                members.push(member.clone());
                continue;
            }
            let Some(item) = paths.get(&member.key).and_then(|item| self.follow(item)) else {
                continue;
            };
            members.push(with_value(member, self.path_item(&item)));
        }
        object(paths.node().span, members)
    }

    fn path_item(&mut self, item: &At<'d>) -> Node {
        if !matches!(item.node().value, Value::Object(_)) {
            return item.node().clone();
        }
        let shared = self.parameters(item);
        let mut members = Vec::new();
        for member in item.node().members() {
            let key = &*member.key;
            if key == "parameters" {
                continue;
            }
            let Some(operation) = METHODS.contains(&key).then(|| item.get(key)).flatten() else {
                members.push(member.clone());
                continue;
            };
            members.push(with_value(member, self.operation(&operation, &shared)));
        }
        object(item.node().span, members)
    }

    fn operation(&mut self, operation: &At<'d>, shared: &[At<'d>]) -> Node {
        let node = operation.node();
        if !matches!(node.value, Value::Object(_)) {
            return node.clone();
        }
        check_keys(node, OPERATION, self.diagnostics);
        let own = self.parameters(operation);
        let parameters = merge(shared, own);
        let mut members = Vec::new();
        for member in node.members() {
            match &*member.key {
                "tags" | "summary" | "description" | "operationId" | "deprecated" | "security" => {
                    members.push(member.clone());
                }
                "responses" => {
                    if let Some(responses) = operation.get("responses") {
                        let produces = self.media_types(node, "produces");
                        let responses = self.responses(&responses, &produces);
                        members.push(with_value(member, responses));
                    }
                }
                extension if extension.starts_with("x-") => members.push(member.clone()),
                _ => {}
            }
        }
        if let Some(body) = self.request_body(node, &parameters) {
            members.push(entry("requestBody", body));
        }
        let list = parameters
            .iter()
            .filter(|parameter| !is_in(parameter.node(), &["body", "formData"]))
            .map(|parameter| self.parameter(parameter.node()))
            .collect();
        let span = node.get("parameters").map_or(node.span, |list| list.span);
        members.push(entry("parameters", array(span, list)));
        object(node.span, members)
    }

    /// The parameters that `parent` lists, references followed.
    fn parameters(&mut self, parent: &At<'d>) -> Vec<At<'d>> {
        let Some(list) = parent.get("parameters") else {
            return Vec::new();
        };
        if !matches!(list.node().value, Value::Array(_) | Value::Null) {
            self.diagnostics.push(Diagnostic::error(
                list.node().span,
                format!(
                    "`parameters` should be a list, this is {}",
                    list.node().kind()
                ),
            ));
        }
        let items = list.node().items().iter().enumerate();
        items
            .filter_map(|(index, node)| self.follow(list.item(index, node)))
            .collect()
    }

    /// `consumes` or `produces`: the operation's, else the document's.
    fn media_types(&mut self, operation: &'d Node, key: &str) -> Vec<(Span, &'d str)> {
        let Some(list) = operation.get(key).or_else(|| self.root.get(key)) else {
            return Vec::new();
        };
        if !matches!(list.value, Value::Array(_) | Value::Null) {
            self.diagnostics.push(Diagnostic::error(
                list.span,
                format!("`{key}` should be a list, this is {}", list.kind()),
            ));
        }
        let mut types: Vec<(Span, &str)> = Vec::new();
        for item in list.items() {
            if let Some(text) = item.as_str()
                && !types
                    .iter()
                    .any(|(_, known)| known.eq_ignore_ascii_case(text))
            {
                types.push((item.span, text));
            }
        }
        types
    }

    fn follow(&mut self, from: At<'d>) -> Option<At<'d>> {
        let start = from.node().span;
        let mut at = from;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = at.node().get("$ref") else {
                return Some(at);
            };
            let text = reference.as_str().unwrap_or_default();
            let target = self.resolver.resolve(at.place.base, text, reference.span);
            let place = match target {
                Ok(place) => place,
                Err(found) => {
                    self.diagnostics.push(found);
                    return None;
                }
            };
            let pointer = uri::split(text).1.unwrap_or_default().to_owned();
            at = At { place, pointer };
        }
        self.diagnostics.push(Diagnostic::error(
            start,
            "this reference leads back to itself",
        ));
        None
    }
}

/// The operation's parameters, and those of the path that it does not redeclare. Any parameter for
/// the body takes the place of all those of the path.
fn merge<'d>(shared: &[At<'d>], own: Vec<At<'d>>) -> Vec<At<'d>> {
    let text = |at: &At<'d>, key: &str| at.node().get(key).and_then(Node::as_str);
    let is_body = |at: &At<'d>| is_in(at.node(), &["body", "formData"]);
    let own_body = own.iter().any(|at| is_in(at.node(), &["body"]));
    let mut merged = own;
    for parameter in shared {
        let redeclared = merged.iter().any(|other| {
            text(other, "in") == text(parameter, "in")
                && text(other, "name") == text(parameter, "name")
        });
        if !(redeclared || own_body && is_body(parameter)) {
            merged.push(parameter.clone());
        }
    }
    merged
}

fn is_in(parameter: &Node, places: &[&str]) -> bool {
    parameter
        .get("in")
        .and_then(Node::as_str)
        .is_some_and(|place| places.contains(&place))
}

fn security_scheme(definition: &Node) -> Node {
    let span = definition.span;
    let Some(kind) = definition.get("type").and_then(Node::as_str) else {
        return definition.clone();
    };
    match kind {
        "basic" => object(
            span,
            vec![
                entry("type", string(span, "http")),
                entry("scheme", string(span, "basic")),
            ],
        ),
        "oauth2" => {
            let flow = definition.get("flow").and_then(Node::as_str);
            let name = match flow {
                Some("application") => "clientCredentials",
                Some("accessCode") => "authorizationCode",
                Some(other) => other,
                None => "implicit",
            };
            let kept = ["authorizationUrl", "tokenUrl", "scopes"];
            let members = kept
                .iter()
                .filter_map(|key| definition.member(key))
                .cloned();
            let flows = object(span, vec![entry(name, object(span, members.collect()))]);
            object(
                span,
                vec![entry("type", string(span, "oauth2")), entry("flows", flows)],
            )
        }
        _ => definition.clone(),
    }
}

fn object(span: Span, members: Vec<Member>) -> Node {
    Node {
        span,
        value: Value::Object(members),
    }
}

fn array(span: Span, items: Vec<Node>) -> Node {
    Node {
        span,
        value: Value::Array(items),
    }
}

fn string(span: Span, text: &str) -> Node {
    Node {
        span,
        value: Value::String(text.into()),
    }
}

fn boolean(span: Span, value: bool) -> Node {
    Node {
        span,
        value: Value::Bool(value),
    }
}

/// A member that the original does not have; it stands where its value does.
fn entry(key: &str, value: Node) -> Member {
    Member {
        key: key.into(),
        key_span: value.span,
        value,
    }
}

fn renamed(member: &Member, key: &str, value: Node) -> Member {
    Member {
        key: key.into(),
        key_span: member.key_span,
        value,
    }
}

fn with_value(member: &Member, value: Node) -> Member {
    renamed(member, &member.key, value)
}
