//! SecLang, natively: a rule engine that runs the OWASP Core Rule Set.
//!
//! Pure: no file, no socket, no clock, no thread of its own. A caller gives it texts of rules and
//! the parts of a request, and gets verdicts and findings.

mod byteset;
pub mod seclang;
mod store;

pub use byteset::ByteSet;
