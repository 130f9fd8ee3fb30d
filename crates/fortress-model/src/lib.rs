//! The words that every crate of Fortress shares: the reasons for a refusal, the record of a
//! decision, documents with positions, diagnostics, bounds and the configuration.
//!
//! Deliberately not here: anything that does IO beyond reading a configuration file, and anything
//! that knows how a request is checked.

pub mod bounds;
pub mod clock;
pub mod config;
pub mod decision;
pub mod diagnostic;
pub mod document;
pub mod file;
pub mod reason;
pub mod secret;

pub use bounds::{Bounds, Frequency};
pub use clock::{Clock, SystemClock, Timestamp};
pub use decision::{Decision, Denial, Finding, Mode, Outcome};
pub use diagnostic::{Diagnostic, Severity};
pub use document::{Node, Source, SourceId, Sources, Span};
pub use reason::{Reason, Risk};
pub use secret::Secret;
