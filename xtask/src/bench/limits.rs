//! `cargo xtask bench limits`: what a limit costs, counted by one instance and shared through Redis,
//! beside nginx's `limit_req`, which counts by itself. Once all requests are of one client, and once of
//! a hundred thousand, which is the worst for leases: hardly a client comes twice.
//!
//! The limits are so high that they refuse nobody. Redis runs on the load's core.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{
    LOAD_CORE, Options, PROXY_CORE,
    load::{self, Sample},
    report::Samples,
};
use crate::{
    Verdict, gateway,
    output::{complain, say},
    process::{self, Server},
};

/// Clients of the second load.
const CLIENTS: u32 = 100_000;

/// Something under test.
struct Subject {
    name: &'static str,
    server: Server,
    address: SocketAddr,
}

/// What is measured of a subject under a load.
#[derive(Default)]
struct Cell {
    samples: Samples,
    /// Calls to Redis, and the requests that they were made for.
    calls: u64,
    requests: u64,
}

/// Measures every subject in turn, round by round, and prints medians.
pub(super) fn run(options: &Options, folder: &Path, upstream: SocketAddr) -> Result<Verdict> {
    let redis = process::free_address()?;
    let _redis = start_redis(folder, redis)?;
    let subjects = [
        nginx(folder, upstream, "nginx", "")?,
        nginx(
            folder,
            upstream,
            "nginx, limit_req",
            "limit_req zone=clients burst=100000 nodelay;",
        )?,
        fortress(options, folder, upstream, "fortress", "", None)?,
        fortress(
            options,
            folder,
            upstream,
            "fortress, own limit",
            LIMIT,
            None,
        )?,
        fortress(
            options,
            folder,
            upstream,
            "fortress, limit in Redis",
            LIMIT,
            Some(redis),
        )?,
    ];
    let many = format!(
        "local n = 0\nrequest = function()\n  n = (n * 1103515245 + 12345) % 2147483648\n  \
         return wrk.format('GET', nil, {{ ['X-Client'] = 'client-' .. (n % {CLIENTS}) }})\nend\n"
    );
    let loads = [
        ("one client", "wrk.headers['X-Client'] = 'client'\n"),
        ("100,000 clients", &*many),
    ];
    let mut cells: Vec<Vec<Cell>> = loads
        .iter()
        .map(|_| subjects.iter().map(|_| Cell::default()).collect())
        .collect();
    for round in 0..=options.rounds {
        for ((_, words), cells) in loads.iter().zip(&mut cells) {
            for (subject, cell) in subjects.iter().zip(cells) {
                let seconds = if round == 0 { 1 } else { options.seconds };
                let (before, spent) = (calls(redis)?, subject.server.processor_time()?);
                let target = format!("http://{}/orders/17", subject.address);
                let sample = load::repeat(&target, words, seconds, folder)
                    .with_context(|| subject.name.to_owned())?;
                let spent = subject.server.processor_time()?.saturating_sub(spent);
                if round > 0 {
                    cell.calls += calls(redis)?.saturating_sub(before);
                    cell.requests += sample.requests;
                    cell.samples.push(Sample { spent, ..sample });
                }
            }
        }
        complain(format_args!("round {round} of {}", options.rounds));
    }
    for ((title, _), cells) in loads.iter().zip(&cells) {
        say("");
        say(format_args!(
            "{title:<28} {:>8} {:>12} {:>9} {:>14} {:>9}",
            "CPU µs", "requests/s", "p99 ms", "calls/request", "refused"
        ));
        for (subject, cell) in subjects.iter().zip(cells) {
            say(line(subject.name, cell));
        }
    }
    Ok(Verdict::Fine)
}

fn line(name: &str, cell: &Cell) -> String {
    let samples = &cell.samples;
    let count = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    format!(
        "  {name:<26} {:>8.2} {:>12.0} {:>9.2} {:>14.4} {:>9}",
        samples.cost(),
        samples.rate(),
        samples.median(|sample| sample.p99.as_secs_f64() * 1e3),
        count(cell.calls) / count(cell.requests).max(1.0),
        samples.failed(),
    )
}

const LIMIT: &str =
    "limits: [{ name: clients, per: header.X-Client, rate: 1000000/s, burst: 100000 }]";

fn start_redis(folder: &Path, address: SocketAddr) -> Result<Server> {
    let Some(program) = process::find("redis-server", &[]) else {
        bail!("no redis-server; install it: apt-get install redis-server");
    };
    let port = address.port().to_string();
    let mut command = process::pinned(LOAD_CORE, &program);
    command
        .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
        .current_dir(folder);
    Server::start(&mut command, &folder.join("redis.log"), address)
}

/// Runs of scripts that Redis has seen.
fn calls(address: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"INFO commandstats\r\nQUIT\r\n")?;
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    let count = told.lines().find_map(|line| {
        let rest = line.strip_prefix("cmdstat_evalsha:calls=")?;
        rest.split(',').next()?.parse().ok()
    });
    Ok(count.unwrap_or(0))
}

fn nginx(folder: &Path, upstream: SocketAddr, name: &'static str, limit: &str) -> Result<Subject> {
    let address = process::free_address()?;
    let file = if limit.is_empty() { "bare" } else { "limited" };
    let text = format!(
        "{preamble}http {{\n{http}  proxy_http_version 1.1;\n  proxy_set_header Connection '';\n  \
         limit_req_zone $http_x_client zone=clients:64m rate=1000000r/s;\n  \
         upstream orders {{ server {upstream}; keepalive 128; keepalive_requests 100000000; }}\n  \
         server {{ listen {address} backlog=4096; location / {{ {limit} proxy_pass http://orders; }} }}\n}}\n",
        preamble = gateway::nginx_preamble(folder),
        http = gateway::nginx_http(folder),
    );
    Ok(Subject {
        name,
        server: gateway::start_nginx(folder, file, &text, address, Some(PROXY_CORE))?,
        address,
    })
}

fn fortress(
    options: &Options,
    folder: &Path,
    upstream: SocketAddr,
    name: &'static str,
    limit: &str,
    redis: Option<SocketAddr>,
) -> Result<Subject> {
    let binary = gateway::binary(options.binary.as_deref())?;
    let address = process::free_address()?;
    let comma = if limit.is_empty() { "" } else { ", " };
    // Redis waits for the core that it shares with the load: a time-out would measure `on_fault` instead.
    let store = redis
        .map(|redis| format!("store: {{ redis: {{ url: \"redis://{redis}\", timeout: 1s }} }}\n"));
    let configuration = format!(
        "version: 1\nlisten: [{{ address: \"{address}\" }}]\napis:\n  orders: {{ spec: none, public: true, \
         upstream: \"http://{upstream}\"{comma}{limit} }}\n{}",
        store.unwrap_or_default()
    );
    let folder = folder.join(name.replace([' ', ','], "-"));
    fs::create_dir_all(&folder)?;
    Ok(Subject {
        name,
        server: gateway::start(&binary, &folder, &configuration, address, Some(PROXY_CORE))?,
        address,
    })
}
