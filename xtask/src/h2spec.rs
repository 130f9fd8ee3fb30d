//! `cargo xtask h2spec`: summerwind's conformance suite for HTTP/2 and HPACK, run over TLS against
//! the real program.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{Verdict, gateway, material::Certificate, output::say, process};

/// The release that is run, as the Go module proxy serves it.
const RELEASE: &str = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible";

/// How to run the suite.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The Fortress to test [default: target/release/fortress]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Prints the suite's whole report, not only its failures
    #[arg(long)]
    verbose: bool,
}

/// Runs the suite and prints how many of its cases passed.
pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let binary = gateway::binary(options.binary.as_deref())?;
    let suite = suite()?;
    let folder = process::scratch("h2spec")?;
    let upstream_address = process::free_address()?;
    let _upstream = gateway::start_upstream(&folder, upstream_address, None)?;
    let address = process::free_address()?;
    let certificate = Certificate::make(&folder)?;
    let configuration = format!(
        "version: 1\nlisten:\n  - {{ address: \"{address}\", \
         tls: {{ certificates: [{{ chain: \"file:{}\", key: \"file:{}\" }}] }} }}\n\
         apis:\n  orders: {{ spec: none, public: true, upstream: \"http://{upstream_address}\" }}\n",
        certificate.chain.display(),
        certificate.key.display(),
    );
    let _gateway = gateway::start(&binary, &folder, &configuration, address, None)?;
    let output = Command::new(suite)
        .args(["-h", "127.0.0.1", "-p", &address.port().to_string()])
        .args(["-t", "-k", "-o", "3", "-P", "/"])
        .output()
        .context("cannot start h2spec")?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((passed, total)) = totals(&report) else {
        bail!(
            "h2spec printed no totals: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    };
    if options.verbose {
        say(&report);
    } else if let Some((_, failures)) = report.split_once("Failures:") {
        say(failures.trim());
    }
    say(format_args!("h2spec: {passed} of {total}"));
    Ok(if passed == total {
        Verdict::Fine
    } else {
        Verdict::Findings
    })
}

/// Where h2spec is; builds it into `target/bench-tools/bin` if it is nowhere.
fn suite() -> Result<PathBuf> {
    let folder = process::root().join("target/bench-tools/bin");
    let known = [folder.clone(), process::root().join("target/ci-tools/bin")];
    if let Some(found) = process::find("h2spec", &known) {
        return Ok(found);
    }
    process::output(
        Command::new("go")
            .args(["install", RELEASE])
            .env("GOBIN", &folder),
    )?;
    Ok(folder.join("h2spec"))
}

/// Passed and total of the closing line `146 tests, 145 passed, 1 skipped, 0 failed`.
fn totals(report: &str) -> Option<(u32, u32)> {
    let line = report
        .lines()
        .rev()
        .find(|line| line.contains(" tests, "))?;
    let count = |word: &str| {
        let (before, _) = line.split_once(word)?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((count(" passed")?, count(" tests")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_the_last_line() {
        assert_eq!(
            totals("x\n145 tests, 144 passed, 0 skipped, 1 failed\n"),
            Some((144, 145))
        );
        assert_eq!(totals("connection refused"), None);
    }
}
