//! The project's own chores, as `cargo xtask NAME`: tidiness rules, benchmarks beside other
//! gateways, and other people's test suites run against the real program.
//!
//! Deliberately not here: anything that a user of Fortress needs, and anything that `cargo test`
//! can do alone.

mod bench;
mod check;
mod flood;
mod gateway;
mod h2spec;
mod keycloak;
mod material;
mod output;
mod process;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Fortress's own chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the tidiness rules and the invariants of the architecture
    Check,
    /// Measures Fortress beside nginx, HAProxy and Envoy on this machine
    Bench(bench::Options),
    /// Runs the HTTP/2 conformance suite against Fortress over TLS
    H2spec(h2spec::Options),
    /// Runs Keycloak as the identity provider of Fortress; takes minutes
    Keycloak(keycloak::Options),
    /// Floods Fortress on loopback, and asserts that it stays bounded and keeps answering
    Floods(flood::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Check => check::run(),
        Command::Bench(options) => bench::run(&options),
        Command::H2spec(options) => h2spec::run(&options),
        Command::Keycloak(options) => keycloak::run(&options),
        Command::Floods(options) => flood::run(&options),
    };
    match outcome {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Findings) => ExitCode::from(1),
        Err(error) => {
            output::complain(format_args!("error: {error:#}"));
            ExitCode::from(3)
        }
    }
}

/// How a chore that could run has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    /// Nothing to mend.
    Fine,
    /// Something to mend; it has been printed.
    Findings,
}
