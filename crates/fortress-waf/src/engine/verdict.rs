//! What rules say of a request or a response.

use crate::seclang::{Operator, Phase, Transformation};

/// What becomes of a request or a response.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// A rule refuses it.
    Refuse(Refusal),
    /// The rules did not come to their end within the budget: what was not looked at is not known to
    /// be harmless.
    Exhausted,
    /// A body is longer than the rules' own settings accept, and they say `Reject`. No rule has
    /// looked at it.
    TooLarge(TooLarge),
}

/// A body that is longer than the rules' own settings accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLarge {
    /// Which setting.
    pub limit: Limit,
    /// What it accepts, in bytes.
    pub most: u64,
    /// How many came.
    pub length: u64,
}

/// A setting that limits bodies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Limit {
    /// `SecRequestBodyLimit`.
    Request,
    /// `SecRequestBodyNoFilesLimit`: what is left of the body without the files in it.
    WithoutFiles,
    /// `SecResponseBodyLimit`.
    Response,
}

impl Limit {
    /// The directive's name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Request => "SecRequestBodyLimit",
            Self::WithoutFiles => "SecRequestBodyNoFilesLimit",
            Self::Response => "SecResponseBodyLimit",
        }
    }
}

/// A rule's refusal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The rule.
    pub rule: u64,
    /// The phase.
    pub phase: Phase,
    /// The status that the rule asks for.
    pub status: u16,
    /// Where `redirect` leads.
    pub location: Option<String>,
    /// Why, in kind.
    pub kind: RefusalKind,
    /// The rule's message, macros resolved.
    pub message: String,
}

/// Why a rule refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefusalKind {
    /// The anomaly score reached its threshold (the rule has the tag `anomaly-evaluation`).
    Score,
    /// The body cannot be read (the tag `fortress/body`).
    Body,
    /// The rule refuses by itself.
    Rule,
}

/// A rule that matched and is to be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The rule's id.
    pub rule: u64,
    /// Its phase.
    pub phase: Phase,
    /// Its message, macros resolved.
    pub message: String,
    /// Its `logdata`, macros resolved.
    pub data: String,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its `ver`.
    pub version: String,
    /// What it added to anomaly scores.
    pub score: i64,
    /// What matched, first to last, as far as it was kept.
    pub matched: Vec<Matched>,
}

/// A value that a rule matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Matched {
    /// The variable by its full name: `ARGS:q`, `REQUEST_HEADERS:User-Agent`, `XML`.
    pub variable: String,
    /// The value as the operator saw it, cut to a few hundred bytes.
    pub value: Vec<u8>,
    /// What was done to it before.
    pub transformations: Vec<Transformation>,
    /// What was asked.
    pub operator: Operator,
    /// Whether the rule matches where the operator does not.
    pub negated: bool,
}
