//! Reading the fields of test and override files, with every mistake reported at its place.
//!
//! Deliberately not here: what the fields mean.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_model::{
    Diagnostic, Node, Span,
    diagnostic::did_you_mean,
    document::{Member, Value},
};
use regex::bytes::{Regex, RegexBuilder};

/// Collects what is wrong while fields are read.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Fields {
    /// Reports a mistake.
    pub(super) fn wrong(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    /// The members of an object that may have the keys `known` and no other. Nothing at all is an
    /// object without members.
    pub(super) fn object<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&'static str],
    ) -> &'n [Member] {
        if !matches!(node.value, Value::Object(_) | Value::Null) {
            self.wrong(
                node.span,
                format!("{what} must be an object, not {}", node.kind()),
            );
        }
        for member in node.members() {
            if known.contains(&&*member.key) {
                continue;
            }
            let message = format!("unknown key `{}` in {what}", member.key);
            let mut diagnostic = Diagnostic::error(member.key_span, message);
            if let Some(meant) = did_you_mean(&member.key, known.iter().copied()) {
                diagnostic = diagnostic.help(format!("did you mean `{meant}`?"));
            }
            self.diagnostics.push(diagnostic);
        }
        node.members()
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if !matches!(node.value, Value::Array(_) | Value::Null) {
            self.wrong(
                node.span,
                format!("{what} must be a list, not {}", node.kind()),
            );
        }
        node.items()
    }

    /// Text. Numbers and booleans without quotes are text too, as they are written: versions,
    /// lengths and ages stand so in the tests.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> String {
        match &node.value {
            Value::Null => String::new(),
            Value::Bool(value) => value.to_string(),
            Value::Number(text) | Value::String(text) => text.to_string(),
            Value::Array(_) | Value::Object(_) => {
                self.wrong(
                    node.span,
                    format!("{what} must be text, not {}", node.kind()),
                );
                String::new()
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> bool {
        node.as_bool().unwrap_or_else(|| {
            self.wrong(
                node.span,
                format!("{what} must be `true` or `false`, not {}", node.kind()),
            );
            false
        })
    }

    /// A whole number.
    pub(super) fn number<N: std::str::FromStr + Default>(&mut self, node: &Node, what: &str) -> N {
        if let Some(number) = node.as_number().and_then(|text| text.parse().ok()) {
            return number;
        }
        self.wrong(
            node.span,
            format!("{what} must be a whole number, not {}", node.kind()),
        );
        N::default()
    }

    /// A number, or a list of them.
    pub(super) fn numbers<N: std::str::FromStr + Default>(
        &mut self,
        node: &Node,
        what: &str,
    ) -> Vec<N> {
        if matches!(node.value, Value::Array(_)) {
            let items = node.items().iter();
            items.map(|item| self.number(item, what)).collect()
        } else {
            vec![self.number(node, what)]
        }
    }

    /// Base64, strictly.
    pub(super) fn base64(&mut self, node: &Node, what: &str) -> Vec<u8> {
        let text = self.text(node, what);
        // Long ones are folded onto several lines; Go's decoder skips line breaks too.
        let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        STANDARD.decode(text).unwrap_or_else(|error| {
            self.wrong(node.span, format!("{what} is not base64: {error}"));
            Vec::new()
        })
    }

    /// A regular expression; an empty one asks for nothing.
    pub(super) fn regex(&mut self, node: &Node, what: &str) -> Option<Regex> {
        let text = self.text(node, what);
        if text.is_empty() {
            return None;
        }
        let regex = RegexBuilder::new(&text).unicode(false).build();
        regex
            .map_err(|error| {
                self.wrong(
                    node.span,
                    format!("{what} is not a regular expression: {error}"),
                );
            })
            .ok()
    }
}
