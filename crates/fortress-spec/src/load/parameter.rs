//! The parameters of an operation: the path's and its own, each checked on its own and against the
//! template.
//!
//! Deliberately not here: styles, schemas and values, which `parameter` compiles.

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Node, Span, Value},
};

use super::{
    Reader,
    keys::{self, closest},
    template::mark_spanning,
};
use crate::{description::PathTemplate, schema::Place};

/// How many parameters one list may have.
const MAX_PARAMETERS: usize = 1_000;

/// A parameter that is worth compiling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Declared<'a> {
    /// The Parameter Object itself, references followed.
    pub(super) place: Place<'a>,
    name: &'a str,
    location: &'a str,
    /// Where it is listed.
    span: Span,
}

impl Declared<'_> {
    /// Whether both declare the same parameter; header names have no case (RFC 9110, section 5.1).
    fn is_same(&self, other: &Self) -> bool {
        self.location == other.location
            && if self.location == "header" {
                self.name.eq_ignore_ascii_case(other.name)
            } else {
                self.name == other.name
            }
    }
}

impl<'a> Reader<'a, '_> {
    /// The `parameters` of a path item or an operation, each checked. Those with errors are left out.
    pub(super) fn parameters(&mut self, parent: Place<'a>) -> Vec<Declared<'a>> {
        let Some(list) = parent.get("parameters") else {
            return Vec::new();
        };
        let items = match &list.node.value {
            Value::Array(items) if items.len() > MAX_PARAMETERS => {
                self.error(
                    list.node.span,
                    format!("more than {MAX_PARAMETERS} parameters"),
                );
                return Vec::new();
            }
            Value::Array(items) => items,
            Value::Null => {
                self.warn(list.node.span, "`parameters` is empty");
                return Vec::new();
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                self.error(
                    list.node.span,
                    format!(
                        "`parameters` should be a list, this is {}",
                        list.node.kind()
                    ),
                );
                return Vec::new();
            }
        };
        let mut declared: Vec<Declared<'a>> = Vec::with_capacity(items.len());
        for item in items {
            let Some(parameter) = self.parameter(list.at(item)) else {
                continue;
            };
            if declared.iter().any(|other| other.is_same(&parameter)) {
                self.error(
                    parameter.span,
                    format!(
                        "the {} parameter `{}` is declared twice",
                        parameter.location, parameter.name
                    ),
                );
                continue;
            }
            declared.push(parameter);
        }
        declared
    }

    fn parameter(&mut self, item: Place<'a>) -> Option<Declared<'a>> {
        let place = self.reference_object(item)?;
        let node = place.node;
        if !matches!(node.value, Value::Object(_)) {
            self.error(
                node.span,
                format!("a parameter should be an object, this is {}", node.kind()),
            );
            return None;
        }
        self.check_keys(node, keys::PARAMETER);
        let name = self.required_text(node, "name")?;
        let location = self.required_text(node, "in")?;
        match location {
            "query" | "header" | "cookie" => {}
            "path" => {
                if node.get("required").and_then(Node::as_bool) != Some(true) {
                    self.diagnostics.push(
                        Diagnostic::warning(
                            node.span,
                            format!("the path parameter `{name}` is not `required: true`"),
                        )
                        .help("a path parameter is always required; say so"),
                    );
                }
            }
            other => {
                let span = node.get("in").map_or(node.span, |node| node.span);
                let error = Diagnostic::error(
                    span,
                    format!("the parameter `{name}` is in `{other}`, which is no place for one"),
                );
                const PLACES: [&str; 4] = ["path", "query", "header", "cookie"];
                self.diagnostics.push(match closest(other, PLACES) {
                    Some(meant) => error.help(format!("did you mean `{meant}`?")),
                    None if matches!(other, "body" | "formData") => {
                        error.help("since OpenAPI 3 a body is declared as `requestBody`")
                    }
                    None => error.help("write `path`, `query`, `header` or `cookie`"),
                });
                return None;
            }
        }
        self.has_one_description(place, name).then_some(Declared {
            place,
            name,
            location,
            span: item.node.span,
        })
    }

    /// A parameter says what it may be by `schema`, or by `content` with one media type.
    fn has_one_description(&mut self, place: Place<'a>, name: &str) -> bool {
        let node = place.node;
        let Some(content) = node.get("content") else {
            let declared = node.get("schema").is_some();
            if !declared {
                let error = Diagnostic::error(
                    node.span,
                    format!("the parameter `{name}` has neither `schema` nor `content`"),
                );
                self.diagnostics.push(if node.get("type").is_some() {
                    error.help("since OpenAPI 3 its `type` and the like stand under `schema`")
                } else {
                    error.help("write `schema: {}` if it may be anything")
                });
            }
            return declared;
        };
        if node.get("schema").is_some() {
            self.error(
                content.span,
                format!("the parameter `{name}` has both `schema` and `content`"),
            );
            return false;
        }
        let count = content.members().len();
        if count != 1 {
            self.error(
                content.span,
                format!(
                    "`content` of the parameter `{name}` has {count} media types instead of one"
                ),
            );
            return false;
        }
        true
    }

    /// The path's and the operation's parameters together, the operation's winning, checked against
    /// the template. Header parameters that OpenAPI says to ignore are left out.
    pub(super) fn merge(
        &mut self,
        shared: &[Declared<'a>],
        own: Vec<Declared<'a>>,
        template: &mut PathTemplate,
        operation: Span,
    ) -> Vec<Declared<'a>> {
        let mut merged = own;
        for parameter in shared {
            if !merged.iter().any(|other| other.is_same(parameter)) {
                merged.push(*parameter);
            }
        }
        merged.retain(|parameter| !self.is_ignored(parameter));
        for name in template.parameters() {
            let is_declared = |parameter: &Declared<'_>| {
                parameter.location == "path" && parameter.name == &**name
            };
            if !merged.iter().any(is_declared) {
                let error = Diagnostic::error(
                    operation,
                    format!("the path parameter `{name}` of `{template}` is not declared"),
                );
                let names = merged
                    .iter()
                    .filter(|parameter| parameter.location == "path")
                    .map(|parameter| parameter.name);
                self.diagnostics.push(match closest(name, names) {
                    Some(near) => {
                        error.help(format!("`{near}` is declared; the names must be equal"))
                    }
                    None => error.help(format!("add a parameter `{name}` with `in: path`")),
                });
            }
        }
        for parameter in merged
            .iter()
            .filter(|parameter| parameter.location == "path")
        {
            if !template.parameters().any(|name| **name == *parameter.name) {
                self.error(
                    parameter.span,
                    format!(
                        "the path parameter `{}` does not occur in `{template}`",
                        parameter.name
                    ),
                );
            }
        }
        self.spanning(&merged, template);
        merged
    }

    fn spanning(&mut self, merged: &[Declared<'a>], template: &mut PathTemplate) {
        let marked: Vec<&Declared<'a>> = merged
            .iter()
            .filter(|parameter| {
                let mark = parameter.place.node.get("x-multi-segment");
                parameter.location == "path" && mark.and_then(Node::as_bool) == Some(true)
            })
            .collect();
        let names: Vec<&str> = marked.iter().map(|parameter| parameter.name).collect();
        for refused in mark_spanning(template, &names) {
            let span = marked
                .iter()
                .find(|parameter| parameter.name == refused)
                .map(|parameter| parameter.span);
            self.diagnostics.push(Diagnostic::warning(
                span,
                format!("`{refused}` shares its segment of `{template}` with other text; it is matched within that segment"),
            ));
        }
    }

    /// OpenAPI: the definitions of these three header parameters shall be ignored, since the content
    /// types and `security` say the same.
    fn is_ignored(&mut self, parameter: &Declared<'_>) -> bool {
        let ignored = parameter.location == "header"
            && ["accept", "content-type", "authorization"]
                .iter()
                .any(|name| parameter.name.eq_ignore_ascii_case(name));
        if ignored {
            self.warn(
                parameter.span,
                format!(
                    "the header parameter `{}` is ignored, as OpenAPI prescribes",
                    parameter.name
                ),
            );
        }
        ignored
    }

    fn required_text(&mut self, node: &'a Node, key: &str) -> Option<&'a str> {
        match node.get(key) {
            Some(found) => match found.as_str().filter(|text| !text.is_empty()) {
                Some(text) => Some(text),
                None => {
                    self.error(
                        found.span,
                        format!("`{key}` should be a string that is not empty"),
                    );
                    None
                }
            },
            None => {
                self.error(node.span, format!("this parameter has no `{key}`"));
                None
            }
        }
    }
}
