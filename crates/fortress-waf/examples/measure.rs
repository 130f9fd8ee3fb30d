//! Measures the engine for `cargo xtask bench waf`, which says the protocol (engine.rs): loads the
//! rules once, then runs transactions (request phases) as it is told on standard input.
//!
//! Deliberately not here: anything that the others' programs do not do. Requests are split into
//! their parts when they are loaded; what the engine is given is timed from there.

use std::{
    env, fs,
    hint::black_box,
    io::{self, BufRead, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use fortress_waf::{
    engine::{Desk, Engine, Memory, Opening, Screening, Transaction, Verdict},
    seclang::{Files, Mistake, Ruleset},
};
use rustix::time::{ClockId, clock_gettime};

/// The program's allocator is the gateway's, so that memory is counted as it will be.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let began = Instant::now();
    let engine = match env::args().nth(1).ok_or("usage: measure RULES".to_owned()) {
        Ok(rules) => compile(&rules),
        Err(usage) => Err(usage),
    };
    let engine = match engine {
        Ok(engine) => Arc::new(engine),
        Err(error) => return writeln!(out, "error {error}"),
    };
    let (spent, version) = (began.elapsed().as_micros(), env!("CARGO_PKG_VERSION"));
    writeln!(out, "ready {spent} fortress {version}")?;
    let mut bench = Bench {
        engine,
        memory: None,
        desk: Desk::default(),
        requests: Vec::new(),
        next: 0,
    };
    for line in io::stdin().lock().lines() {
        let line = line?;
        match bench.obey(&line) {
            Ok(answer) => writeln!(out, "{answer}")?,
            Err(error) => writeln!(out, "error {error}")?,
        }
    }
    Ok(())
}

/// Reads and compiles a file of rules. Nothing of what was read stays in memory.
fn compile(rules: &str) -> Result<Engine, String> {
    let screening = match env::args().nth(2).as_deref() {
        Some("exhaustive") => Screening::Exhaustive,
        _ => Screening::Prefiltered,
    };
    let text = fs::read(rules).map_err(|error| format!("{rules}: {error}"))?;
    let ruleset = Ruleset::parse(rules, text, &mut Disk).map_err(told)?;
    Engine::compile(&ruleset, screening).map_err(told)
}

fn told(mistakes: Vec<Mistake>) -> String {
    let lines: Vec<String> = mistakes.iter().take(5).map(ToString::to_string).collect();
    lines.join("; ")
}

/// Files of rules as they are on the disk; a pattern may have one `*`, in its last part.
struct Disk;

impl Files for Disk {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        fs::read(beside(from, name)).map_err(|error| error.to_string())
    }

    fn list(&mut self, pattern: &str, from: &str) -> Result<Vec<String>, String> {
        let pattern = beside(from, pattern);
        let file = pattern.file_name().and_then(|name| name.to_str());
        let (Some(folder), Some((start, end))) =
            (pattern.parent(), file.and_then(|name| name.split_once('*')))
        else {
            return Err("not a pattern that this program knows".to_owned());
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
            let path = entry.map_err(|error| error.to_string())?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(start) && name.ends_with(end)) {
                names.push(path.to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

fn beside(from: &str, name: &str) -> PathBuf {
    Path::new(from).parent().unwrap_or(Path::new("")).join(name)
}

/// What is run, and the memory that one transaction leaves to the next.
#[derive(Debug)]
struct Bench {
    engine: Arc<Engine>,
    memory: Option<Box<Memory>>,
    desk: Desk,
    requests: Vec<Request>,
    next: usize,
}

impl Bench {
    fn obey(&mut self, line: &str) -> Result<String, String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "load" => {
                self.requests = load(rest)?;
                self.next = 0;
                Ok(format!("loaded {}", self.requests.len()))
            }
            "run" => {
                let numbers = rest.split_once(' ');
                let numbers = numbers.and_then(|(most, time)| {
                    let time = Duration::from_millis(time.parse().ok()?);
                    Some((most.parse().ok()?, time))
                });
                let (most, time) = numbers.ok_or(format!("not understood: {line}"))?;
                self.run(most, time)
            }
            _ => Err(format!("not understood: {line}")),
        }
    }

    fn run(&mut self, most: usize, limit: Duration) -> Result<String, String> {
        let deadline = Instant::now() + limit;
        let before = processor_time();
        let mut times = Vec::new();
        let mut blocked = 0;
        while times.is_empty() || (times.len() < most && Instant::now() < deadline) {
            let at = self.next % self.requests.len().max(1);
            self.next += 1;
            let request = self.requests.get(at).ok_or("no requests are loaded")?;
            let start = Instant::now();
            let verdict = inspect(&self.engine, (&mut self.memory, &mut self.desk), request);
            times.push(start.elapsed());
            match verdict {
                Verdict::Pass => {}
                Verdict::Refuse(_) => blocked += 1,
                Verdict::Exhausted => return Err("the budget is used up".to_owned()),
                Verdict::TooLarge(_) => return Err("a body is over the rules' limit".to_owned()),
            }
        }
        let spent = processor_time().saturating_sub(before).as_nanos();
        times.sort_unstable();
        let median = times.get(times.len() / 2).map_or(0, Duration::as_nanos);
        let count = u128::try_from(times.len()).unwrap_or(1);
        let each = spent / count.max(1);
        Ok(format!("ran {count} {blocked} {median} {each}"))
    }
}

/// What the process has spent so far.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// One request through both phases, as far as it comes. What was found is taken, as the gateway
/// takes it for its journal. Not inlined, so that profilers can be told to look at it alone.
#[inline(never)]
fn inspect(
    engine: &Arc<Engine>,
    (memory, desk): (&mut Option<Box<Memory>>, &mut Desk),
    request: &Request,
) -> Verdict {
    let opening = Opening {
        client: SocketAddr::from((Ipv4Addr::new(203, 0, 113, 7), 40_000)),
        server: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80)),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_500_000),
        id: "01K9Z6T3Q8M4V7X2",
        // What is measured is the work, and not how well it is cut off.
        budget: u64::MAX,
    };
    let kept = memory.take().unwrap_or_default();
    let mut transaction = Transaction::new(Arc::clone(engine), kept, &opening);
    transaction.request_line(&request.method, &request.target, &request.protocol);
    for (name, value) in &request.fields {
        transaction.request_field(name, value);
    }
    let mut verdict = transaction.request_head(desk);
    if verdict == Verdict::Pass {
        verdict = transaction.request_body(desk, request.body.clone());
    }
    black_box(transaction.findings().to_vec());
    *memory = Some(transaction.into_memory());
    verdict
}

#[derive(Debug)]
struct Request {
    method: Bytes,
    target: Bytes,
    protocol: Bytes,
    fields: Vec<(Bytes, Bytes)>,
    body: Bytes,
}

/// The requests of a file, which holds each after a line `request LENGTH`. They are parts of the
/// file's one buffer, so that nothing is freed that would hide what the engine takes.
fn load(path: &str) -> Result<Vec<Request>, String> {
    let mut file = Bytes::from(fs::read(path).map_err(|error| format!("{path}: {error}"))?);
    let mut requests = Vec::new();
    while !file.is_empty() {
        let line = until(&mut file, b"\n").ok_or("a line without an end")?;
        let length = line.strip_prefix(b"request ").and_then(|length| {
            let length = std::str::from_utf8(length).ok()?;
            length.parse().ok().filter(|length| *length <= file.len())
        });
        let raw = file.split_to(length.ok_or("`request LENGTH` was expected")?);
        requests.push(parse(raw).ok_or("a request that is none")?);
    }
    Ok(requests)
}

/// One raw HTTP/1.1 request; the file is the benchmark's own, so it is not checked.
fn parse(mut raw: Bytes) -> Option<Request> {
    let method = until(&mut raw, b" ")?;
    let target = until(&mut raw, b" ")?;
    let protocol = until(&mut raw, b"\r\n")?;
    let mut fields = Vec::new();
    loop {
        let mut line = until(&mut raw, b"\r\n")?;
        if line.is_empty() {
            break;
        }
        fields.push((until(&mut line, b": ")?, line));
    }
    Some(Request {
        method,
        target,
        protocol,
        fields,
        body: raw,
    })
}

/// What stands before `end`, which is taken away with it.
fn until(text: &mut Bytes, end: &[u8]) -> Option<Bytes> {
    let at = memchr::memmem::find(text, end)?;
    let before = text.split_to(at);
    drop(text.split_to(end.len()));
    Some(before)
}
