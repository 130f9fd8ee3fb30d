//! `fortress waf`: what the rules that look for attacks do, apart from any gateway.
//!
//! Deliberately not here: getting them (`crs`), and which of them run (`waf` in the configuration).

mod test;

use anyhow::Result;

use crate::{command::End, screen::Screen};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress waf test --crs coreruleset
  fortress waf test --crs coreruleset --only 942100-7 --show";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Runs regression tests in go-ftw's format, those of the Core Rule Set above all
    #[command(after_help = test::EXAMPLES)]
    Test(Box<test::Flags>),
}

/// Whichever is asked for.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    match &flags.action {
        Action::Test(flags) => test::run(flags, screen),
    }
}
