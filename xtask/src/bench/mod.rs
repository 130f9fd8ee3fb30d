//! `cargo xtask bench`: what a request costs in Fortress beside nginx, HAProxy and Envoy, on this
//! machine, in front of the same upstream, under the same load.
//!
//! The proxy under test has core 0 to itself; the upstream and the load share core 1. So requests
//! per second say little by themselves, and the processor time per request is what is compared.
//! Rounds are interleaved and medians taken, because a shared machine's speed drifts.
//!
//! `cargo xtask bench check` leaves the others out: what a larger description costs Fortress.
//! `cargo xtask bench provider` breaks the identity provider meanwhile.
//! `cargo xtask bench limits` compares limits, also those that instances share.
//! `cargo xtask bench waf` compares rule engines, in process, under the OWASP Core Rule Set.
//!
//! Deliberately not here: a pass or a failure. A timing never decides a test.

mod check;
mod generated;
mod limits;
mod load;
mod peers;
mod provider;
mod report;
mod waf;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use self::{
    load::Sample,
    peers::{Peer, Stage},
    report::Cell,
};
use crate::{Verdict, gateway, output::complain, process};

/// The core of the proxy under test.
const PROXY_CORE: &str = "0";
/// The core of the upstream and of the load.
const LOAD_CORE: &str = "1";

/// What to measure, and for how long.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The suite to run
    #[arg(value_enum, default_value = "proxy")]
    suite: Suite,
    /// Rounds; each measures every case with every peer once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds of load for one measurement
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: u32,
    /// Prints JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Of the proxy suite, only this case; may be given several times
    #[arg(long, value_enum)]
    only: Vec<Case>,
    /// Only these peers; of the proxy suite: nginx, haproxy, envoy, fortress; of the waf suite:
    /// fortress, modsecurity, coraza-re2, coraza
    #[arg(long)]
    peer: Vec<String>,
    /// Of the waf suite, also how the cost grows with bodies of 1 KB to 10 MB, arguments and
    /// headers; an engine that takes over 10 s for one request is stopped there
    #[arg(long)]
    curves: bool,
    /// Of the waf suite, also nginx with ModSecurity beside Fortress, through sockets under load
    #[arg(long)]
    wire: bool,
    /// The Fortress to measure [default: target/release/fortress]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// The folder whose `specs` the check suite loads, and whose `crs` the waf suite loads
    /// [default: $FORTRESS_SHARED, ../shared]
    #[arg(long)]
    shared: Option<PathBuf>,
}

/// A suite of cases.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Suite {
    /// The request path beside other proxies
    Proxy,
    /// Fortress alone: requests before small and large descriptions, and the loading of real ones
    Check,
    /// Rule engines in process, with the OWASP Core Rule Set: Fortress's, libmodsecurity and
    /// Coraza (in Go's regexes and in RE2). Builds a harness for each in target/bench-waf, which
    /// needs `apt-get install g++ libmodsecurity-dev libre2-dev` and Go; what is missing is skipped
    Waf,
    /// What a limit costs, counted by one instance and shared through Redis, beside nginx's
    /// `limit_req`; and how many calls to Redis it takes
    Limits,
    /// Fortress alone: how long answers take while the identity provider is well, hangs, sends
    /// garbage, or refuses
    Provider,
}

/// One kind of request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub(crate) enum Case {
    /// GET over plain HTTP/1.1
    Get,
    /// POST of 1 KiB of JSON, held whole before the upstream sees it
    Post,
    /// GET over TLS with HTTP/1.1
    TlsHttp1,
    /// GET over TLS with HTTP/2
    TlsHttp2,
    /// GET with a JSON Web Token; Fortress checks the description too, both ways
    Jwt,
    /// The same for a POST of 1 KiB of JSON
    JwtPost,
}

impl Case {
    const ALL: &'static [Self] = &[
        Self::Get,
        Self::Post,
        Self::TlsHttp1,
        Self::TlsHttp2,
        Self::Jwt,
        Self::JwtPost,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::Get => "plain GET",
            Self::Post => "POST of 1 KiB JSON, buffered",
            Self::TlsHttp1 => "GET, TLS, HTTP/1.1",
            Self::TlsHttp2 => "GET, TLS, HTTP/2",
            Self::Jwt => "GET with JWT (Fortress: and the description, both ways)",
            Self::JwtPost => "POST with JWT (Fortress: and the description, both ways)",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::TlsHttp1 => "tls-http1",
            Self::TlsHttp2 => "tls-http2",
            Self::Jwt => "jwt",
            Self::JwtPost => "jwt-post",
        }
    }

    fn posts(self) -> bool {
        matches!(self, Self::Post | Self::JwtPost)
    }

    fn over_tls(self) -> bool {
        matches!(self, Self::TlsHttp1 | Self::TlsHttp2)
    }

    fn with_token(self) -> bool {
        matches!(self, Self::Jwt | Self::JwtPost)
    }
}

/// Runs the benchmark and prints what it found.
pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let cores = std::thread::available_parallelism()?;
    ensure!(
        cores.get() >= 2,
        "two cores are needed: one for the proxy, one for the load"
    );
    match options.suite {
        Suite::Proxy => on_wire(options, proxies),
        Suite::Check => on_wire(options, check::run),
        Suite::Waf => waf::run(options),
        Suite::Limits => on_wire(options, limits::run),
        Suite::Provider => on_wire(options, provider::run),
    }
}

/// A suite that sends requests through proxies to an upstream.
fn on_wire(options: &Options, suite: OnWire) -> Result<Verdict> {
    let folder = process::scratch("bench")?;
    let upstream = process::free_address()?;
    let _upstream = gateway::start_upstream(&folder, upstream, Some(LOAD_CORE))
        .context("cannot start the upstream")?;
    suite(options, &folder, upstream)
}

type OnWire = fn(&Options, &Path, SocketAddr) -> Result<Verdict>;

/// The folder of what is tested with and belongs to others.
fn shared(options: &Options) -> PathBuf {
    let named = options.shared.clone();
    named
        .or_else(|| std::env::var_os("FORTRESS_SHARED").map(PathBuf::from))
        .unwrap_or_else(|| process::root().join("../shared"))
}

/// The request path beside other proxies.
fn proxies(options: &Options, folder: &Path, upstream: SocketAddr) -> Result<Verdict> {
    let stage = Stage::make(folder, upstream)?;
    let cases: Vec<Case> = Case::ALL
        .iter()
        .copied()
        .filter(|case| options.only.is_empty() || options.only.contains(case))
        .collect();

    let mut peers = Vec::new();
    let mut skipped = Vec::new();
    for (name, start) in peers::ALL {
        if !options.peer.is_empty() && !options.peer.iter().any(|chosen| chosen == name) {
            continue;
        }
        match start(&stage, options.binary.as_deref()) {
            Ok(peer) => peers.push(peer),
            Err(error) => skipped.push(format!("{name}: {error:#}")),
        }
    }
    for line in &skipped {
        complain(format_args!("skipped: {line}"));
    }
    ensure!(!peers.is_empty(), "no proxy could be started");
    let cells = measure(options, &stage, &cases, &peers, folder)?;
    report::print(&cells, &skipped, options.json);
    Ok(Verdict::Fine)
}

fn measure(
    options: &Options,
    stage: &Stage,
    cases: &[Case],
    peers: &[Peer],
    folder: &Path,
) -> Result<Vec<Cell>> {
    let mut cells: Vec<Cell> = Vec::new();
    for case in cases {
        for peer in peers.iter().filter(|peer| peer.address(*case).is_some()) {
            cells.push(Cell::new(*case, &peer.name, &peer.version));
        }
    }
    let seconds = options.seconds;
    for round in 0..=options.rounds {
        for cell in &mut cells {
            let Some(peer) = peers.iter().find(|peer| peer.name == cell.peer) else {
                continue;
            };
            let Some(address) = peer.address(cell.case) else {
                continue;
            };
            // Round 0 warms connections, caches and branch predictors, and is not counted.
            let length = if round == 0 { 1 } else { seconds };
            let before = peer.processor_time()?;
            let run = load::run(&load::Request {
                case: cell.case,
                address,
                seconds: length,
                stage,
                folder,
            })
            .with_context(|| format!("{} under `{}`", peer.name, cell.case.name()))?;
            let spent: Duration = peer.processor_time()?.saturating_sub(before);
            if round > 0 {
                cell.samples.push(Sample { spent, ..run });
            }
        }
        complain(format_args!("round {round} of {}", options.rounds));
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_named_as_they_are_typed() {
        for case in Case::ALL {
            let typed = case.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), case.name());
        }
        assert_eq!(Case::ALL.len(), Case::value_variants().len());
    }
}
