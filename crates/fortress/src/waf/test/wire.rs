//! Runs tests through a gateway of its own: the same program, started with the same rules, in front
//! of a server as CRS's tests want it. Which rules were set off stands in its journal.
//!
//! Deliberately not here: any leniency for what the gateway refuses before the rules see it; that
//! is excused by name, or a failure.

mod upstream;

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use fortress_waf::ftw::{Input, Observed, Setup, Test, in_parallel, log_field};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{material::Material, threads};
use crate::{
    private::Directory,
    screen::{Screen, count},
};
use upstream::Upstream;

/// How long the gateway may take to be ready and to end.
const START: Duration = Duration::from_secs(120);
/// How long an answer may take. Tests that announce more than they send wait this long.
const ANSWER: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const MAX_ANSWER: u64 = 16 << 20;
/// Connections at a time, for each processor: most of the time they wait.
const CONNECTIONS: usize = 8;

/// What comes of all tests.
pub(super) fn observe(
    material: &Material,
    setup: &Setup,
    screen: &Screen,
) -> Result<Vec<Vec<Observed>>> {
    let place = Directory::new("waf-test")?;
    let upstream = Upstream::start().context("cannot start the server behind the gateway")?;
    configure(place.path(), material, setup, upstream.address())?;
    let gateway = Gateway::start(place.path())?;
    let tests = &material.suite.tests;
    let bar = screen.progress(&count(tests.len(), "test"), tests.len());
    let answers = in_parallel(tests, threads() * CONNECTIONS, || {
        let (bar, address) = (bar.clone(), gateway.address);
        move |test: &Test| {
            bar.inc(1);
            let stages = test.stages.iter();
            stages
                .map(|stage| Answer::to(address, &stage.input.bytes()))
                .collect::<Vec<_>>()
        }
    });
    bar.finish_and_clear();
    gateway.stop()?;
    let journal = journal(&place.path().join("journal.ndjson"))?;
    let observed = tests.iter().zip(answers).map(|(test, answers)| {
        let stages = test.stages.iter().zip(answers);
        let observed = stages.map(|(stage, answer)| answer.observed(&journal, &stage.input));
        observed.collect()
    });
    Ok(observed.collect())
}

/// Writes the gateway's files. The set-up of tests stands in `crs-setup.conf`, where it is read
/// before the rules; the rules themselves stay where they are.
fn configure(place: &Path, material: &Material, setup: &Setup, upstream: SocketAddr) -> Result<()> {
    let crs = place.join("crs");
    fs::create_dir(&crs).context("cannot make a directory for the rules")?;
    let mut text = material.files.setup.text.clone();
    text.push(b'\n');
    text.extend_from_slice(setup.text().as_bytes());
    fs::write(crs.join("crs-setup.conf"), text)?;
    let rules = fs::canonicalize(material.directory.join("rules"))?;
    symlink(rules, crs.join("rules"))?;
    let config = format!(
        "version: 1
listen: [{{ address: \"127.0.0.1:0\" }}]
apis:
  tests:
    spec: none
    public: true
    upstream: http://{upstream}
    mode: monitor
    waf: {{ rules: crs, directory: crs, paranoia: {}, mode: monitor }}
journal: [{{ file: journal.ndjson }}]
",
        setup.paranoia
    );
    fs::write(place.join("fortress.yaml"), config)?;
    Ok(())
}

/// A gateway of our own; ended when it is dropped.
struct Gateway {
    child: Child,
    address: SocketAddr,
}

impl Gateway {
    fn start(place: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the own program")?;
        let log = fs::File::create(place.join("log"))?;
        let mut child = Command::new(program)
            .args(["run", "--json", "fortress.yaml"])
            .current_dir(place)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start a gateway")?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            // One line, then silence; a gateway that cannot start closes its end.
            BufReader::new(out.take(1 << 20)).read_line(&mut line)?;
        }
        let ready: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = ready
            .pointer("/listening/0/address")
            .and_then(Value::as_str);
        let address = address.and_then(|address| address.parse().ok());
        let mut gateway = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        match address {
            Some(address) => gateway.address = address,
            None => {
                let log = fs::read_to_string(place.join("log")).unwrap_or_default();
                bail!(
                    "the gateway does not start: {}\n{}",
                    line.trim_end(),
                    log.trim_end()
                );
            }
        }
        Ok(gateway)
    }

    /// Lets it write its journal to the end.
    fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or_else(|| anyhow!("the gateway has no process id"))?;
        kill_process(id, Signal::TERM).context("cannot stop the gateway")?;
        let end = Instant::now() + START;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                bail!("the gateway does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What came back on a connection.
struct Answer(Vec<u8>);

impl Answer {
    /// To a request on a connection of its own; nothing if the connection breaks, or ends too late.
    fn to(address: SocketAddr, request: &[u8]) -> Self {
        let mut bytes = Vec::new();
        // A gateway that has refused reads no further: what it said before is its answer.
        drop(exchange(address, request, &mut bytes));
        Self(bytes)
    }

    fn head(&self) -> &str {
        let end = find(&self.0, b"\r\n\r\n").unwrap_or(self.0.len());
        std::str::from_utf8(self.0.get(..end).unwrap_or_default()).unwrap_or_default()
    }

    fn status(&self) -> Option<u16> {
        let line = self.head().lines().next()?.strip_prefix("HTTP/1.")?;
        line.split(' ').nth(1)?.parse().ok()
    }

    fn field(&self, wanted: &str) -> Option<&str> {
        let fields = self.head().lines().skip(1);
        let mut fields = fields.filter_map(|line| line.split_once(':'));
        let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.trim())
    }

    fn is_complete(&self, is_head: bool) -> bool {
        let Some(end) = find(&self.0, b"\r\n\r\n") else {
            return false;
        };
        let body = self.0.get(end + 4..).unwrap_or_default();
        if is_head || matches!(self.status(), Some(204 | 304)) {
            return true;
        }
        if self.field("Transfer-Encoding").is_some() {
            return body.ends_with(b"0\r\n\r\n");
        }
        let length = self
            .field("Content-Length")
            .and_then(|length| length.parse().ok());
        length.is_some_and(|length: usize| body.len() >= length)
    }

    fn observed(self, journal: &Journal, input: &Input) -> Observed {
        let recorded = self.field("x-request-id").and_then(|id| journal.get(id));
        let mut recorded = recorded.cloned().unwrap_or_default();
        // The gateway has names of fields in lower case; a test looks for them as it sent them.
        for (name, _) in &input.headers {
            let place = |name: &str| format!("REQUEST_HEADERS:{name}: ");
            let (known, sent) = (place(&name.to_ascii_lowercase()), place(name));
            for entry in &mut recorded.log {
                *entry = entry.replace(&known, &sent);
            }
        }
        Observed {
            status: self.status(),
            rules: recorded.rules,
            log: recorded.log,
            answer: self.0,
            ..Observed::default()
        }
    }
}

fn exchange(address: SocketAddr, request: &[u8], answer: &mut Vec<u8>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    drop(stream.write_all(request));
    let is_head = request.starts_with(b"HEAD ");
    let mut reading = stream.take(MAX_ANSWER);
    let mut piece = [0; 16 << 10];
    loop {
        match reading.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        let so_far = Answer(std::mem::take(answer));
        let is_complete = so_far.is_complete(is_head);
        *answer = so_far.0;
        if is_complete {
            return Ok(());
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

/// What the journal says of requests, by their id.
type Journal = HashMap<String, Recorded>;

/// What the rules found in a request.
#[derive(Clone, Debug, Default)]
struct Recorded {
    rules: Vec<u64>,
    log: Vec<String>,
}

fn journal(path: &Path) -> Result<Journal> {
    let file = fs::File::open(path).context("the gateway kept no journal")?;
    let mut journal = Journal::new();
    for line in BufReader::new(file).lines() {
        let event: Value = serde_json::from_str(&line?).context("the journal is not JSON")?;
        let Some(id) = event.pointer("/metadata/uid").and_then(Value::as_str) else {
            // Without an id it can only tell of records that were lost.
            bail!("the journal lost records: {event}");
        };
        journal.insert(id.to_owned(), recorded(&event));
    }
    Ok(journal)
}

/// Rules that only sum up are not in the journal: it has the sums.
const SUMS: [(u64, &str, &str, &str); 2] = [
    (949_110, "score", "threshold", "Inbound"),
    (959_100, "response_score", "response_threshold", "Outbound"),
];

fn recorded(event: &Value) -> Recorded {
    let fortress = event.pointer("/unmapped/fortress").unwrap_or(&Value::Null);
    let waf = fortress.get("waf").unwrap_or(&Value::Null);
    let text = |of: &Value, key| {
        of.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut recorded = Recorded::default();
    for found in waf
        .get("rules")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(rule) = found.get("rule").and_then(Value::as_u64) else {
            continue;
        };
        let (message, data) = (text(found, "message"), text(found, "data"));
        recorded.add(rule, &message, &data);
    }
    for (rule, score, threshold, word) in SUMS {
        let number = |key| waf.get(key).and_then(Value::as_u64);
        if let (Some(score), Some(threshold)) = (number(score), number(threshold))
            && score >= threshold
        {
            let message = format!("{word} Anomaly Score Exceeded (Total Score: {score})");
            recorded.add(rule, &message, "");
        }
    }
    // Not a rule, but what a person who looks for the rule has to know.
    if text(fortress, "outcome") == "denied" {
        let mut findings = fortress
            .get("findings")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let detail = findings.next_back().map(|found| text(found, "detail"));
        let (reason, detail) = (text(fortress, "reason"), detail.unwrap_or_default());
        recorded.log.push(format!("refused: {reason}: {detail}"));
    }
    recorded
}

impl Recorded {
    fn add(&mut self, rule: u64, message: &str, data: &str) {
        self.rules.push(rule);
        let mut entry = String::from("ModSecurity: Warning.");
        log_field(&mut entry, "id", rule.to_string().as_bytes());
        log_field(&mut entry, "msg", message.as_bytes());
        log_field(&mut entry, "data", data.as_bytes());
        self.log.push(entry);
    }
}
