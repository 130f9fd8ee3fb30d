//! SecLang, natively: a rule engine that runs the OWASP Core Rule Set.
//!
//! Pure: no file, no socket, no clock, no thread of its own (the runner of tests, `ftw`, borrows some
//! while it runs). A caller gives it texts of rules and the parts of a request, and gets verdicts and
//! findings.

mod bits;
mod body;
pub mod builtin;
mod byteset;
pub mod engine;
pub mod ftw;
pub mod injection;
mod operator;
mod pattern;
mod prefilter;
pub mod seclang;
mod store;
mod transform;

pub use body::{Reading, read_body};
pub use byteset::ByteSet;
pub use transform::Triggers;

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
