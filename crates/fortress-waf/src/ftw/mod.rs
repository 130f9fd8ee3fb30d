//! Runs regression tests in go-ftw's format, those of the OWASP Core Rule Set above all.
//!
//! A test says which bytes a client sends, and what status and which log entries come of them.
//! Deliberately not here: files and sockets (the caller brings texts, and may bring outcomes that
//! it observed elsewhere), and any leniency: what a test or an excuse does not say is not assumed.

pub mod backend;
mod fields;
mod format;
pub mod front;
mod judge;
mod overrides;
mod request;

pub use self::{
    format::{Input, Output, Stage, Test, TestFile},
    judge::{Observed, judge},
    overrides::{Override, Overrides},
};
