//! One thing wrong with what the operator wrote: where it is, and what to write instead.

mod render;
mod suggest;

pub use render::quote;
pub use render::{render, to_json};
pub use suggest::did_you_mean;

use crate::document::Span;

/// How bad it is. Only an error stops a start.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Severity {
    /// Nothing starts with this.
    Error,
    /// It works, but is probably not what was meant, or leaves something open.
    Warning,
}

/// A message for the operator, with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Lower case, no full stop, the value in backticks.
    pub message: String,
    /// Where it is; `None` where no file is to blame.
    pub span: Option<Span>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            span: span.into(),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(span: impl Into<Option<Span>>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            message: message.into(),
            span: span.into(),
            help: None,
        }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
