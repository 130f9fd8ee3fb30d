//! `fortress waf`: what the rules that look for attacks do, apart from any gateway.
//!
//! Deliberately not here: getting them (`crs`), what a rule means (`fortress-waf`), and which rules
//! an operation has (`fortress-gateway`).

mod explain;
mod test;

use anyhow::Result;

use crate::{command::End, screen::Screen};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress waf explain request.http
  fortress waf explain request.http --operation addComment
  fortress waf explain - --crs ./crs --paranoia 2 < request.http
  fortress waf explain 01K9Z6T3Q8
  fortress waf test --crs coreruleset
  fortress waf test --crs coreruleset --only 942100-7 --show";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Says which rules a request matches, where, and which exclusion lets it pass
    Explain(explain::Flags),
    /// Runs regression tests in go-ftw's format, those of the Core Rule Set above all
    #[command(after_help = test::EXAMPLES)]
    Test(Box<test::Flags>),
}

/// Runs what was asked for.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    match &flags.action {
        Action::Explain(flags) => explain::run(flags, screen),
        Action::Test(flags) => test::run(flags, screen),
    }
}
