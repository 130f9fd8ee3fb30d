//! The load: wrk for HTTP/1.1, h2load for HTTP/2. Both run on the load's core, for a bounded time,
//! against loopback.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Case, LOAD_CORE, peers::Stage};
use crate::{gateway, process};

/// Open HTTP/1.1 connections.
const CONNECTIONS: u32 = 32;
/// Open HTTP/2 connections, and requests in flight on each.
const HTTP2: (u32, u32) = (8, 4);

/// What wrk says in the end.
const DONE: &str = r#"done = function(summary, latency, requests)
local e = summary.errors
io.write(string.format('RESULT {"requests":%d,"us":%d,"p50":%d,"p99":%d,"failed":%d}\n',
summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// What to send where.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) case: Case,
    pub(super) address: SocketAddr,
    pub(super) seconds: u32,
    pub(super) stage: &'a Stage,
    pub(super) folder: &'a Path,
}

/// One measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    /// Requests answered.
    pub(super) requests: u64,
    /// Of them, or beside them, those that failed: no answer, or one that is not 2xx.
    pub(super) failed: u64,
    /// How long the load ran.
    pub(super) elapsed: Duration,
    /// Processor time of the proxy.
    pub(super) spent: Duration,
    /// The median of the answers' times.
    pub(super) median: Duration,
    /// The 99th percentile.
    pub(super) p99: Duration,
}

/// Runs the load once.
pub(super) fn run(request: &Request<'_>) -> Result<Sample> {
    let sample = match request.case {
        Case::TlsHttp2 => h2load(request),
        Case::Get | Case::Post | Case::TlsHttp1 | Case::Jwt | Case::JwtPost => wrk(request),
    }?;
    ensure!(sample.requests > 0, "no request was answered");
    Ok(sample)
}

fn target(request: &Request<'_>) -> String {
    let scheme = if request.case.over_tls() {
        "https"
    } else {
        "http"
    };
    let path = if request.case.posts() {
        "/orders"
    } else {
        "/orders/17?expand=items&limit=20"
    };
    format!("{scheme}://{}{path}", request.address)
}

fn pinned(program: &str) -> Result<Command> {
    let Some(path) = process::find(program, &[]) else {
        bail!("no {program}; install it: apt-get install wrk nghttp2-client");
    };
    Ok(process::pinned(LOAD_CORE, &path))
}

fn wrk(request: &Request<'_>) -> Result<Sample> {
    let mut words = String::new();
    if request.case.posts() {
        words.push_str("wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n");
        words.push_str(&format!("wrk.body = [[{}]]\n", gateway::order_body()));
    }
    if request.case.with_token() {
        words.push_str(&format!(
            "wrk.headers['Authorization'] = 'Bearer {}'\n",
            request.stage.issuer.token
        ));
    }
    repeat(&target(request), &words, request.seconds, request.folder)
}

/// wrk with a script that says the request (a GET of `target`, unless `words` in Lua say otherwise)
/// and prints the result as one line of JSON.
pub(super) fn repeat(target: &str, words: &str, seconds: u32, folder: &Path) -> Result<Sample> {
    let script = format!("{DONE}{words}");
    let file = folder.join("load.lua");
    fs::write(&file, script)?;
    let printed = process::output(
        pinned("wrk")?
            .args([
                "-t1",
                &format!("-c{CONNECTIONS}"),
                &format!("-d{seconds}s"),
                "--timeout",
                "5s",
            ])
            .arg("-s")
            .arg(&file)
            .arg(target),
    )?;
    wrk_result(std::str::from_utf8(&printed)?)
}

fn wrk_result(printed: &str) -> Result<Sample> {
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .context("wrk printed no result")?;
    let result: Value = serde_json::from_str(line)?;
    let number = |name: &str| {
        result
            .get(name)
            .and_then(Value::as_u64)
            .context("wrk's result is not whole")
    };
    Ok(Sample {
        requests: number("requests")?,
        failed: number("failed")?,
        elapsed: Duration::from_micros(number("us")?),
        median: Duration::from_micros(number("p50")?),
        p99: Duration::from_micros(number("p99")?),
        spent: Duration::ZERO,
    })
}

/// h2load, whose log has a line for each answer: when, the status, and how long in microseconds.
fn h2load(request: &Request<'_>) -> Result<Sample> {
    let log = request.folder.join("h2load.log");
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let (connections, streams) = HTTP2;
    process::output(
        pinned("h2load")?
            .args(["-t1", &format!("-c{connections}"), &format!("-m{streams}")])
            .arg(format!("-D{}", request.seconds))
            .arg(format!("--log-file={}", log.display()))
            .arg(target(request)),
    )?;
    h2load_result(
        &fs::read_to_string(&log)?,
        Duration::from_secs(request.seconds.into()),
    )
}

fn h2load_result(log: &str, elapsed: Duration) -> Result<Sample> {
    let mut times = Vec::new();
    let mut failed = 0;
    for line in log.lines() {
        let mut fields = line.split('\t').skip(1);
        let status = fields.next().context("h2load's log lacks a status")?;
        let time: u64 = fields
            .next()
            .context("h2load's log lacks a time")?
            .trim()
            .parse()?;
        failed += u64::from(!status.starts_with('2'));
        times.push(time);
    }
    times.sort_unstable();
    let percentile = |percent: usize| {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        Duration::from_micros(times.get(at).copied().unwrap_or_default())
    };
    Ok(Sample {
        requests: u64::try_from(times.len())?,
        failed,
        elapsed,
        median: percentile(50),
        p99: percentile(99),
        spent: Duration::ZERO,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_wrk_is_read() {
        let printed =
            "Running\nRESULT {\"requests\":10,\"us\":2000,\"p50\":3,\"p99\":4,\"failed\":1}\n";
        let sample = wrk_result(printed).unwrap();
        assert_eq!(
            (sample.requests, sample.failed, sample.p99.as_micros()),
            (10, 1, 4)
        );
        assert!(wrk_result("Running\n").is_err());
        assert!(wrk_result("RESULT {\"requests\":10}").is_err());
    }

    #[test]
    fn the_log_of_h2load_is_read() {
        let log: String = (1..=100)
            .map(|n| format!("1700000000\t{}\t{n}\n", if n == 7 { 503 } else { 200 }))
            .collect();
        let sample = h2load_result(&log, Duration::from_secs(1)).unwrap();
        assert_eq!((sample.requests, sample.failed), (100, 1));
        assert_eq!(
            (sample.median.as_micros(), sample.p99.as_micros()),
            (51, 100)
        );
        assert!(h2load_result("1700000000\t200\n", Duration::ZERO).is_err());
    }
}
