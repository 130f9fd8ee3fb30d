//! Parameters of 2.0, which carry their schema's keywords themselves.

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Member, Node, Value},
};

use super::{Conversion, boolean, entry, object, string};
use crate::load::keys::check_keys;

const PARAMETER: &[&str] = &[
    "name",
    "in",
    "description",
    "required",
    "schema",
    "type",
    "format",
    "allowEmptyValue",
    "items",
    "collectionFormat",
    "default",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "enum",
    "multipleOf",
];

/// Keywords that belong to the schema.
const SCHEMA: &[&str] = &[
    "type",
    "format",
    "default",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "enum",
    "multipleOf",
    "nullable",
];

impl Conversion<'_, '_> {
    /// A parameter that is not of the body.
    pub(super) fn parameter(&mut self, node: &Node) -> Node {
        if !matches!(node.value, Value::Object(_)) {
            return node.clone();
        }
        check_keys(node, PARAMETER, self.diagnostics);
        let mut members = Vec::new();
        for member in node.members() {
            match &*member.key {
                "name" | "in" | "description" | "required" | "allowEmptyValue" => {
                    members.push(member.clone());
                }
                extension if extension.starts_with("x-") => members.push(member.clone()),
                _ => {}
            }
        }
        let place = node.get("in").and_then(Node::as_str).unwrap_or_default();
        members.extend(self.style(node, place));
        if let Some(schema) = self.parameter_schema(node) {
            members.push(entry("schema", schema));
        }
        object(node.span, members)
    }

    /// The schema of a parameter, an item or a header. `None` if it has no type, which the loader
    /// reports.
    pub(super) fn parameter_schema(&mut self, node: &Node) -> Option<Node> {
        let kind = node.get("type")?;
        let mut members: Vec<Member> = node
            .members()
            .iter()
            .filter(|member| SCHEMA.contains(&&*member.key))
            .cloned()
            .collect();
        if kind.as_str() == Some("file") {
            members.retain(|member| !matches!(&*member.key, "type" | "format"));
            members.push(entry("type", string(kind.span, "string")));
            members.push(entry("format", string(kind.span, "binary")));
        }
        if let Some(items) = node.member("items") {
            // The reader bounds how deep a file nests, and so how deep this goes.
            let schema = self.parameter_schema(&items.value);
            members.push(Member {
                key: items.key.clone(),
                key_span: items.key_span,
                value: schema.unwrap_or_else(|| items.value.clone()),
            });
        }
        Some(object(node.span, members))
    }

    /// `collectionFormat` as `style` and `explode`.
    pub(super) fn style(&mut self, node: &Node, place: &str) -> Vec<Member> {
        let is_array = node.get("type").and_then(Node::as_str) == Some("array");
        let format = node.get("collectionFormat");
        if !is_array {
            return Vec::new();
        }
        let span = format.map_or(node.span, |format| format.span);
        let in_query = matches!(place, "query" | "formData");
        let (style, explode) = match format.map_or(Some("csv"), Node::as_str) {
            Some("csv") if in_query => ("form", false),
            Some("csv") => ("simple", false),
            Some("ssv") if in_query => ("spaceDelimited", false),
            Some("pipes") if in_query => ("pipeDelimited", false),
            Some("multi") if in_query => ("form", true),
            other => {
                let error = Diagnostic::error(
                    span,
                    format!(
                        "`collectionFormat: {}` cannot be checked in `{place}`",
                        other.unwrap_or_default()
                    ),
                );
                self.diagnostics
                    .push(error.help("write `csv`; or in a query `ssv`, `pipes` or `multi`"));
                return Vec::new();
            }
        };
        vec![
            entry("style", string(span, style)),
            entry("explode", boolean(span, explode)),
        ]
    }
}
