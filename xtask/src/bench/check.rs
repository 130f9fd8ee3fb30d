//! What a larger description costs Fortress: the processor time of a request, the start and the
//! memory before generated descriptions of 10 to 10,000 operations; and the loading of real ones.
//!
//! Deliberately not here: other proxies, which know no description.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    Options, PROXY_CORE, generated, load,
    report::{self, Samples},
};
use crate::{
    Verdict, gateway,
    material::{AUDIENCE, ISSUER, Issuer},
    output::{complain, say},
    process::{self, Ran, Server},
};

/// Operations of the generated descriptions. The first is what the others are compared with.
const SIZES: &[usize] = &[10, 100, 1_000, 10_000];
/// The real descriptions, in `specs` of the shared folder.
const REAL: &[&str] = &[
    "dvr.json",
    "vampi.yml",
    "twilio.json",
    "asana.yaml",
    "github.json",
];
/// How often each real description is loaded.
const LOADS: u32 = 3;
/// How long the ready line may take after the port answers.
const PATIENCE: Duration = Duration::from_secs(5);

/// Measures both, and prints them.
pub(super) fn run(options: &Options, folder: &Path, upstream: SocketAddr) -> Result<Verdict> {
    ensure!(
        options.only.is_empty() && options.peer.is_empty(),
        "`--only` and `--peer` choose within the proxy suite; leave them out"
    );
    let binary = gateway::binary(options.binary.as_deref())?;
    // First, while nothing else runs.
    let (loads, skipped) = load_all(&binary, &specs(options), folder)?;
    let mut served = Vec::new();
    for operations in SIZES {
        served.push(
            Served::start(&binary, *operations, folder, upstream)
                .with_context(|| format!("with {operations} operations"))?,
        );
    }
    measure(options, &mut served, folder)?;
    print(&served, &loads, &skipped, options.json);
    Ok(Verdict::Fine)
}

/// A Fortress before one generated description.
#[derive(Debug)]
struct Served {
    operations: usize,
    url: String,
    server: Server,
    /// From the start of the program to its ready line, as it says itself.
    start: Duration,
    /// Bytes, after the start and before the first request.
    resident: u64,
    samples: Samples,
}

impl Served {
    /// One worker, because it has one core.
    fn start(
        binary: &Path,
        operations: usize,
        folder: &Path,
        upstream: SocketAddr,
    ) -> Result<Self> {
        let folder = folder.join(format!("operations-{operations}"));
        fs::create_dir_all(&folder)?;
        let generated = generated::describe(operations)?;
        fs::write(folder.join("openapi.yaml"), generated.text)?;
        let address = process::free_address()?;
        let configuration = format!(
            "version: 1\nlisten: [{{ address: \"{address}\" }}]\n\
             apis:\n  generated: {{ spec: openapi.yaml, upstream: \"http://{upstream}\" }}\n"
        );
        let server = gateway::start(binary, &folder, &configuration, address, Some(PROXY_CORE))?;
        let start = ready(&folder.join("fortress.log"))?;
        Ok(Self {
            operations,
            url: format!("http://{address}{}", generated.target),
            resident: server.resident()?,
            server,
            start,
            samples: Samples::default(),
        })
    }
}

/// Waits for the ready line, and reads how long the start took.
fn ready(log: &Path) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let words = fs::read_to_string(log)?;
        if let Some(took) = words.lines().find_map(ready_time) {
            return Ok(took);
        }
        if began.elapsed() > PATIENCE {
            bail!("no ready line in {}", log.display());
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The time in `fortress 0.1.0 ready: …; 12 ms`.
fn ready_time(line: &str) -> Option<Duration> {
    let (_, rest) = line.split_once(" ready: ")?;
    let (_, took) = rest.rsplit_once("; ")?;
    took.strip_suffix(" ms")?
        .parse()
        .ok()
        .map(Duration::from_millis)
}

fn measure(options: &Options, served: &mut [Served], folder: &Path) -> Result<()> {
    for round in 0..=options.rounds {
        for one in &mut *served {
            // Round 0 warms up, and is not counted.
            let seconds = if round == 0 { 1 } else { options.seconds };
            let before = one.server.processor_time()?;
            let sample = load::repeat(&one.url, "", seconds, folder)
                .with_context(|| format!("with {} operations", one.operations))?;
            ensure!(sample.requests > 0, "no request was answered");
            let spent = one.server.processor_time()?.saturating_sub(before);
            if round > 0 {
                one.samples.push(load::Sample { spent, ..sample });
            }
        }
        complain(format_args!("round {round} of {}", options.rounds));
    }
    Ok(())
}

fn specs(options: &Options) -> PathBuf {
    super::shared(options).join("specs")
}

/// The loading of one real description.
#[derive(Debug)]
struct Load {
    name: String,
    /// Of the file.
    bytes: u64,
    operations: u64,
    runs: Vec<Ran>,
}

impl Load {
    fn milliseconds(&self) -> f64 {
        report::median(self.runs.iter().map(|run| run.elapsed.as_secs_f64() * 1e3))
    }

    fn peak(&self) -> f64 {
        report::median(self.runs.iter().map(|run| mebibytes(run.peak)))
    }
}

/// Loads each description that is there; the others are named, with why.
fn load_all(binary: &Path, specs: &Path, folder: &Path) -> Result<(Vec<Load>, Vec<String>)> {
    let issuer = Issuer::make(folder)?;
    let mut loads = Vec::new();
    let mut skipped = Vec::new();
    for name in REAL {
        let description = specs.join(name);
        if description.is_file() {
            let load = load_one(binary, &description, name, &issuer, folder);
            loads.push(load.with_context(|| (*name).to_owned())?);
        } else {
            skipped.push(format!("{name}: not in {}", specs.display()));
        }
    }
    Ok((loads, skipped))
}

/// `fortress check` on what `fortress init` writes: tokens where the description asks for them, and
/// public what it leaves open, so that the whole of the check runs.
fn load_one(
    binary: &Path,
    description: &Path,
    name: &str,
    issuer: &Issuer,
    folder: &Path,
) -> Result<Load> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("fortress.yaml");
    let mut init = Command::new(binary);
    init.arg("init")
        .arg(fs::canonicalize(description)?)
        .args(["--upstream", "http://127.0.0.1:9"])
        .args(["--public-undeclared", "--public-unverified"])
        .args(["--issuer", ISSUER, "--audience", AUDIENCE, "--jwks"])
        .arg(&issuer.jwks)
        .arg("--output")
        .arg(&configuration);
    process::output(&mut init)?;
    let check = || {
        let mut command = Command::new(binary);
        command.arg("check").arg(&configuration);
        command
    };
    // This one warms the file cache too.
    let said: Value = serde_json::from_slice(&process::output(check().arg("--json"))?)?;
    let operations = said
        .get("operations")
        .and_then(Value::as_u64)
        .context("`fortress check --json` names no number of operations")?;
    Ok(Load {
        name: name.to_owned(),
        bytes: fs::metadata(description)?.len(),
        operations,
        runs: (0..LOADS)
            .map(|_| process::measured(&mut check()))
            .collect::<Result<_>>()?,
    })
}

/// Mebibytes; what is measured here fits 32 bits of kibibytes.
fn mebibytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) / 1024.0
}

fn print(served: &[Served], loads: &[Load], skipped: &[String], as_json: bool) {
    let base = served.first().map_or(0.0, |one| one.samples.cost());
    if as_json {
        let flat: Vec<Value> = served.iter().map(|one| served_row(one, base)).collect();
        let loads: Vec<Value> = loads.iter().map(load_row).collect();
        say(json!({ "flatness": flat, "loading": loads, "skipped": skipped }));
        return;
    }
    say("");
    say("operations   CPU µs   lowest–highest   × first  requests/s   start ms   resident MiB");
    for one in served {
        let (lowest, highest) = one.samples.spread();
        let failed = match one.samples.failed() {
            0 => String::new(),
            failed => format!("   {failed} FAILED"),
        };
        say(format_args!(
            "{:>10}   {:>6.2}   {lowest:>6.2}–{highest:<6.2}    {:>7.2}  {:>10.0}   {:>8}   {:>12.1}{failed}",
            one.operations,
            one.samples.cost(),
            one.samples.cost() / base.max(f64::MIN_POSITIVE),
            one.samples.rate(),
            one.start.as_millis(),
            mebibytes(one.resident),
        ));
    }
    say("");
    say("fortress check        file MiB   operations         ms   peak MiB");
    for load in loads {
        say(format_args!(
            "  {:<16}    {:>10.2}   {:>10}   {:>8.1}   {:>8.1}",
            load.name,
            mebibytes(load.bytes),
            load.operations,
            load.milliseconds(),
            load.peak(),
        ));
    }
    say("");
    for line in skipped {
        say(format_args!("skipped: {line}"));
    }
}

fn served_row(served: &Served, base: f64) -> Value {
    let (lowest, highest) = served.samples.spread();
    json!({
        "operations": served.operations,
        "cpu_us_per_request": served.samples.cost(),
        "cpu_us_lowest": lowest,
        "cpu_us_highest": highest,
        "ratio": served.samples.cost() / base.max(f64::MIN_POSITIVE),
        "requests_per_second": served.samples.rate(),
        "failed": served.samples.failed(),
        "start_ms": served.start.as_secs_f64() * 1e3,
        "resident_mib": mebibytes(served.resident),
    })
}

fn load_row(load: &Load) -> Value {
    json!({
        "description": load.name,
        "file_mib": mebibytes(load.bytes),
        "operations": load.operations,
        "check_ms": load.milliseconds(),
        "peak_mib": load.peak(),
        "runs": load.runs.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_says_how_long_the_start_took() {
        let line = "fortress 0.1.0 ready: http 127.0.0.1:1; 1 API, 10 operations: 10 public; 12 ms";
        assert_eq!(ready_time(line), Some(Duration::from_millis(12)));
        assert_eq!(ready_time("fortress 0.1.0 ready: http 127.0.0.1:1"), None);
        assert_eq!(ready_time("warning: slow; 12 ms"), None);
    }

    #[test]
    fn a_load_is_the_median_of_its_runs() {
        let run = |milliseconds, peak: u64| Ran {
            elapsed: Duration::from_millis(milliseconds),
            peak: peak << 20,
        };
        let load = Load {
            name: "a.json".to_owned(),
            bytes: 1 << 19,
            operations: 3,
            runs: vec![run(9, 30), run(1, 10), run(5, 20)],
        };
        let row = load_row(&load);
        assert_eq!(
            (&row["check_ms"], &row["peak_mib"]),
            (&json!(5.0), &json!(20.0))
        );
        assert_eq!(row["file_mib"], 0.5);
        assert_eq!(report::median(std::iter::empty()), 0.0);
    }
}
