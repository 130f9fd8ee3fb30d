//! `fortress waf`: what the rules of `waf` say of one request.
//!
//! Deliberately not here: what a rule means (`fortress-waf`), and which rules an operation has
//! (`fortress-gateway`).

mod explain;

use anyhow::Result;

use crate::{command::End, screen::Screen};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress waf explain request.http
  fortress waf explain request.http --operation addComment
  fortress waf explain - --crs ./crs --paranoia 2 < request.http
  fortress waf explain 01K9Z6T3Q8";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Says which rules a request matches, where, and which exclusion lets it pass
    Explain(explain::Flags),
}

/// Runs what was asked for.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    match &flags.action {
        Action::Explain(flags) => explain::run(flags, screen),
    }
}
