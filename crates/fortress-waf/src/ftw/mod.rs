//! Runs regression tests in go-ftw's format, those of the OWASP Core Rule Set above all.
//!
//! A test says which bytes a client sends, and what status and which log entries come of them.
//! Deliberately not here: files and sockets (the caller brings texts, and may bring outcomes that
//! it observed elsewhere), and any leniency: what a test or an excuse does not say is not assumed.

pub mod backend;
mod compare;
mod fields;
mod format;
pub mod front;
mod judge;
mod log;
mod overrides;
mod process;
mod refusing;
mod request;
mod setup;
mod suite;

pub use self::{
    compare::{Difference, compare},
    format::{Input, Output, Stage, Test, TestFile},
    judge::{Observed, judge},
    log::field as log_field,
    overrides::{Override, Overrides},
    process::{Process, in_parallel},
    refusing::{Refusing, refusing},
    setup::{Mode, RuleFile, RuleFiles, Setup},
    suite::{Complaint, Levels, Outcome, Report, Suite, Tally, Unneeded},
};

/// The tests of CRS that this engine does not pass in process, and why: an override file.
pub const EXCUSED: &str = include_str!("../../tests/excused.yaml");

/// Those that the gateway does not pass on the wire: it refuses what is no HTTP before any rule.
pub const EXCUSED_ON_THE_WIRE: &str = include_str!("../../tests/excused-wire.yaml");
