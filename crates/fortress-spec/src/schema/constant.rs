//! Values of `enum` and `const`, compared as JSON compares: `1` equals `1.0`, and the order of an
//! object's members does not count.

use fortress_model::document::{Node, Value as NodeValue};

use super::Values;
use crate::json::{Decimal, Document, Kind, Value};

/// A value from a description.
#[derive(Debug)]
pub(crate) enum Constant {
    Null,
    Bool(bool),
    /// `None` for a number that no request can hold.
    Number(Option<Decimal>),
    String(Box<str>),
    Array(Vec<Constant>),
    /// Sorted by name.
    Object(Vec<(Box<str>, Constant)>),
}

impl Constant {
    /// Recursion is bounded by the depth that documents may have.
    pub(crate) fn of(node: &Node) -> Self {
        match &node.value {
            NodeValue::Null => Self::Null,
            NodeValue::Bool(value) => Self::Bool(*value),
            NodeValue::Number(text) => Self::Number(Decimal::parse(text)),
            NodeValue::String(text) => Self::String(text.clone()),
            NodeValue::Array(items) => Self::Array(items.iter().map(Self::of).collect()),
            NodeValue::Object(members) => {
                let mut members: Vec<_> = members
                    .iter()
                    .map(|member| (member.key.clone(), Self::of(&member.value)))
                    .collect();
                members.sort_by(|one, other| one.0.cmp(&other.0));
                Self::Object(members)
            }
        }
    }

    pub(crate) fn equals(&self, document: &Document<'_>, value: &Value<'_>) -> bool {
        match (self, &value.kind) {
            (Self::Null, Kind::Null) => true,
            (Self::Bool(one), Kind::Bool(other)) => one == other,
            (Self::Number(Some(one)), Kind::Number(text)) => Decimal::parse(text) == Some(*one),
            (Self::String(one), Kind::String(other)) => **one == **other,
            (Self::Array(constants), Kind::Array(range)) => {
                let items = document.items(*range);
                items.len() == constants.len()
                    && constants
                        .iter()
                        .zip(items)
                        .all(|(constant, item)| constant.equals(document, item))
            }
            (Self::Object(constants), Kind::Object(range)) => {
                let members = document.members(*range);
                members.len() == constants.len()
                    && members.iter().all(|member| {
                        constants
                            .binary_search_by(|(name, _)| (**name).cmp(&member.key))
                            .ok()
                            .and_then(|index| constants.get(index))
                            .is_some_and(|(_, constant)| constant.equals(document, &member.value))
                    })
            }
            (
                Self::Null
                | Self::Bool(_)
                | Self::Number(_)
                | Self::String(_)
                | Self::Array(_)
                | Self::Object(_),
                _,
            ) => false,
        }
    }

    /// A value that is neither an array nor an object, as JSON text.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Null => Some("null".to_owned()),
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(number) => number.map(|number| number.to_string()),
            Self::String(text) => {
                let mut out = String::new();
                write_string(text, &mut out);
                Some(out)
            }
            Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// A node of a description as JSON text.
    pub(crate) fn write(node: &Node, out: &mut String) {
        match &node.value {
            NodeValue::Null => out.push_str("null"),
            NodeValue::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            NodeValue::Number(text) => out.push_str(text),
            NodeValue::String(text) => write_string(text, out),
            NodeValue::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    Self::write(item, out);
                }
                out.push(']');
            }
            NodeValue::Object(members) => {
                out.push('{');
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(&member.key, out);
                    out.push(':');
                    Self::write(&member.value, out);
                }
                out.push('}');
            }
        }
    }
}

/// A JSON string with what has to be escaped.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\u{1f}' => {
                let code = u32::from(character);
                out.push_str(&format!("\\u{code:04x}"));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

impl Values {
    pub(super) fn of<'n>(nodes: impl Iterator<Item = &'n Node>) -> Self {
        let mut values = Self::default();
        for node in nodes {
            if let Some(text) = node.as_str() {
                values.strings.push(text.into());
            } else {
                values.others.push(Constant::of(node));
            }
        }
        values.strings.sort_unstable();
        values
    }

    pub(super) fn contain(&self, document: &Document<'_>, value: &Value<'_>) -> bool {
        if let Kind::String(text) = &value.kind {
            return self
                .strings
                .binary_search_by(|candidate| (**candidate).cmp(text))
                .is_ok();
        }
        self.others
            .iter()
            .any(|constant| constant.equals(document, value))
    }
}

/// Whether two values of a document are equal as JSON.
pub(super) fn equal(document: &Document<'_>, one: &Value<'_>, other: &Value<'_>) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Null, Kind::Null) => true,
        (Kind::Bool(one), Kind::Bool(other)) => one == other,
        (Kind::Number(one), Kind::Number(other)) => {
            one == other || Decimal::parse(one) == Decimal::parse(other)
        }
        (Kind::String(one), Kind::String(other)) => one == other,
        (Kind::Array(one), Kind::Array(other)) => {
            one.len == other.len
                && document
                    .items(*one)
                    .iter()
                    .zip(document.items(*other))
                    .all(|(one, other)| equal(document, one, other))
        }
        (Kind::Object(one), Kind::Object(other)) => {
            one.len == other.len && {
                let sorted = |range| {
                    let mut members: Vec<_> = document.members(range).iter().collect();
                    members.sort_unstable_by(|one, other| one.key.cmp(&other.key));
                    members
                };
                let (one, other) = (sorted(*one), sorted(*other));
                one.iter().zip(&other).all(|(one, other)| {
                    one.key == other.key && equal(document, &one.value, &other.value)
                })
            }
        }
        (
            Kind::Null
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::String(_)
            | Kind::Array(_)
            | Kind::Object(_),
            _,
        ) => false,
    }
}
