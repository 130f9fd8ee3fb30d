//! `fortress run`: starts the gateway, says when it is ready, keeps it at what the files say, and
//! lets it finish what it began.
//!
//! Deliberately not here: anything of a request. The program's own log goes to standard error,
//! requests go to the journal.

mod log;
mod notify;
mod watch;

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use fortress_gateway::{Exposure, Gateway, KeyRing, Server, ServerError, compile};
use fortress_model::{Diagnostic, Mode, Severity, Sources, config, diagnostic};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::{Value, json};
use tokio::{
    signal::unix::{self, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    check::readable,
    command::{self, End},
    exposure::{self, Counts},
    references::Machine,
    screen::{Screen, count},
    store,
};
use notify::Supervisor;
use watch::Watch;

pub(crate) const EXAMPLES: &str = "Examples:
  fortress run
  fortress run deploy/fortress.yaml --json 2>fortress.log

Signals: SIGHUP reloads (as does a change of a file) and reopens the journal; SIGTERM and SIGINT
drain, a second one ends at once.";

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often the vault is asked whether its values changed.
const ASK: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The configuration
    #[arg(default_value = "fortress.yaml")]
    config: PathBuf,
    /// Threads that serve; else one for each processor
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: Option<u16>,
}

/// Serves until a signal ends it.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    let began = Instant::now();
    let supervisor = Supervisor::find();
    let json = screen.is_json() || supervisor.is_present();
    log::start(json);
    command::runtime()?.block_on(async {
        let mut stop = Stop::listen()?;
        let mut hangup = signal(SignalKind::hangup())?;
        outlive_limits()?;
        let mut serving = Serving::open(&flags.config, flags.workers.map(usize::from))?;
        let took = began.elapsed();
        if json {
            screen.line(serving.ready_json(took).to_string());
        } else {
            screen.line(serving.ready(took));
        }
        supervisor.ready(&serving.ready(took));
        serving.keep(&mut stop, &mut hangup, &supervisor).await;
        tracing::info!("stopping: requests in flight are finished, new ones refused");
        supervisor.stopping();
        serving.drain(&mut stop).await;
        Ok(End::Fine)
    })
}

/// Lets no limit of the system's end the program or starve it: a file that may not grow further is
/// the journal's to announce, and connections are bounded by the configuration.
fn outlive_limits() -> Result<()> {
    // Once it is listened to, the signal ends nothing; the write that caused it fails.
    drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(limit = ?limit.current, "the limit of open files could not be raised");
    }
    Ok(())
}

/// The signals that end a program.
#[derive(Debug)]
pub(crate) struct Stop {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Stop {
    /// From now on they do not end it by themselves.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub(crate) async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A gateway that serves, and the file that it serves by.
#[derive(Debug)]
pub(crate) struct Serving {
    path: PathBuf,
    server: Server,
    apis: usize,
    exposures: Vec<Exposure>,
    rules: Vec<String>,
    watch: Watch,
    /// What commands and the vault gave, if there is a vault.
    asked: Option<u64>,
}

impl Serving {
    /// Starts with a small number of threads: for the demo.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        Self::open(path, Some(2))
    }

    fn open(path: &Path, workers: Option<usize>) -> Result<Self> {
        readable(path)?;
        let (config, mut sources, mut diagnostics) = config::load_with(path, &Machine::default());
        let Some(config) = config else {
            bail!("{}", rendered(CONFIGURATION, &diagnostics, &sources));
        };
        let keys = KeyRing::default();
        let compiled = compile(&config, &mut sources, &keys, 1);
        diagnostics.extend(compiled.diagnostics);
        let Some(gateway) = compiled.gateway else {
            bail!("{}", rendered(CONFIGURATION, &diagnostics, &sources));
        };
        warn(&diagnostics, &sources);
        let mut files = config.files.clone();
        files.extend(gateway.files().iter().cloned());
        let rules = rules(&gateway);
        let workers =
            workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        Ok(Self {
            path: path.to_owned(),
            server: Server::start(gateway, &config, keys, workers).map_err(|error| hint(&error))?,
            apis: config.apis.len(),
            exposures: compiled.exposures,
            rules,
            watch: Watch::new(files),
            asked: config.vault.as_ref().map(|_| config.asked),
        })
    }

    /// Reloads when asked to or when a file changed, until it is time to stop.
    async fn keep(&mut self, stop: &mut Stop, hangup: &mut unix::Signal, supervisor: &Supervisor) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ask = tokio::time::interval_at(tokio::time::Instant::now() + ASK, ASK);
        ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                _ = hangup.recv() => {
                    self.server.reopen_journal();
                    self.reload(supervisor);
                }
                _ = look.tick() => if self.watch.changed() {
                    self.reload(supervisor);
                },
                _ = ask.tick() => if self.is_told_otherwise() {
                    self.reload(supervisor);
                },
            }
        }
    }

    /// Whether the vault gives other values than those in force.
    fn is_told_otherwise(&self) -> bool {
        let Some(asked) = self.asked else {
            return false;
        };
        let (config, _, _) = config::load_with(&self.path, &Machine::default());
        match config {
            Some(config) => config.asked != asked,
            None => {
                tracing::warn!(
                    "the values of `vault:` references cannot be had anew; the former stay in force"
                );
                false
            }
        }
    }

    /// What cannot be put in force as a whole changes nothing.
    fn reload(&mut self, supervisor: &Supervisor) {
        supervisor.reloading();
        let began = Instant::now();
        match self.try_reload() {
            Ok(revision) => tracing::info!(
                revision,
                "reloaded in {} ms: {}",
                began.elapsed().as_millis(),
                self.protection()
            ),
            Err(error) => {
                self.server.refused();
                tracing::error!("not reloaded, the former configuration stays in force: {error:#}");
            }
        }
        supervisor.ready(&self.protection());
    }

    fn try_reload(&mut self) -> Result<u64> {
        let (config, mut sources, mut diagnostics) =
            config::load_with(&self.path, &Machine::default());
        let Some(config) = config else {
            bail!("{}", rendered(CONFIGURATION, &diagnostics, &sources));
        };
        let compiled = self.server.compile(&config, &mut sources);
        diagnostics.extend(compiled.diagnostics);
        // The store that is open stays open; what would keep the next start from opening it is said now.
        let faults: Vec<_> = config.store.iter().flat_map(store::look::faults).collect();
        let is_sound = faults.iter().all(|fault| fault.severity != Severity::Error);
        diagnostics.extend(faults);
        let Some(gateway) = compiled.gateway.filter(|_| is_sound) else {
            bail!("{}", rendered(CONFIGURATION, &diagnostics, &sources));
        };
        warn(&diagnostics, &sources);
        let mut files = config.files.clone();
        files.extend(gateway.files().iter().cloned());
        let rules = rules(&gateway);
        let revision = self
            .server
            .apply(gateway)
            .context("cannot be put in force")?;
        self.watch.follow(files);
        self.apis = config.apis.len();
        self.asked = config.vault.as_ref().map(|_| config.asked);
        self.exposures = compiled.exposures;
        self.rules = rules;
        Ok(revision)
    }

    /// Waits for requests in flight; a second signal ends the wait.
    pub(crate) async fn drain(self, stop: &mut Stop) {
        let (done, finished) = oneshot::channel::<()>();
        let server = self.server;
        // Not a task: it blocks, and a runtime would wait for it after a second signal.
        let stopping = thread::spawn(move || {
            server.stop();
            drop(done);
        });
        tokio::select! {
            _ = finished => drop(stopping.join()),
            () = stop.wait() => tracing::warn!("stopped at once: requests in flight are lost"),
        }
    }

    /// `fortress 0.1.0 ready: …`.
    fn ready(&self, took: Duration) -> String {
        let addresses: Vec<String> = self
            .server
            .listening()
            .iter()
            .map(|listening| format!("{} {}", listening.scheme, listening.address))
            .collect();
        format!(
            "fortress {} ready: {}; {}, {}; {} ms",
            env!("CARGO_PKG_VERSION"),
            addresses.join(", "),
            count(self.apis, "API"),
            self.protection(),
            took.as_millis()
        )
    }

    /// `12 operations (9 protected, 2 public), enforce; CRS 4.28.0 PL1`.
    fn protection(&self) -> String {
        let mut text = operations(&self.exposures);
        if !self.rules.is_empty() {
            text.push_str(&format!("; {}", self.rules.join(", ")));
        }
        text
    }

    fn ready_json(&self, took: Duration) -> Value {
        let listening: Vec<Value> = self
            .server
            .listening()
            .iter()
            .map(|listening| json!({ "scheme": listening.scheme, "address": listening.address.to_string() }))
            .collect();
        let counts = Counts::operations(&self.exposures);
        json!({
            "ready": true, "version": env!("CARGO_PKG_VERSION"), "listening": listening, "apis": self.apis,
            "operations": counts.total(), "protected": counts.protected,
            "public": counts.public, "undescribed": exposure::undescribed_json(&self.exposures),
            "modes": modes(&self.exposures), "rules": self.rules,
            "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// Which rules run, each once.
fn rules(gateway: &Gateway) -> Vec<String> {
    let mut names = Vec::new();
    for rules in gateway.rules() {
        let name = rules_name(rules.components(), || rules.paranoia());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// `CRS 4.28.0 PL1`, by what the rules call themselves.
fn rules_name<'r>(
    mut components: impl Iterator<Item = &'r str>,
    paranoia: impl FnOnce() -> Option<u8>,
) -> String {
    let known = components.find_map(|component| match component.split_once('/')? {
        ("OWASP_CRS", version) => Some(Some(version)),
        ("Fortress_builtin", _) => Some(None),
        _ => None,
    });
    match (known, paranoia()) {
        (None, _) => "own rules".to_owned(),
        (Some(None), _) => "built-in rules".to_owned(),
        (Some(Some(version)), None) => format!("CRS {version}"),
        (Some(Some(version)), Some(level)) => format!("CRS {version} PL{level}"),
    }
}

/// `12 operations (9 protected, 2 public), enforce`.
fn operations(exposures: &[Exposure]) -> String {
    let counts = Counts::operations(exposures);
    let undescribed = exposure::undescribed(exposures);
    let mut parts = Vec::new();
    if counts.total() > 0 || undescribed.is_none() {
        parts.push(format!(
            "{} ({} protected, {} public)",
            count(counts.total(), "operation"),
            counts.protected,
            counts.public
        ));
    }
    parts.extend(undescribed);
    parts.push(modes(exposures));
    parts.join(", ")
}

/// `enforce`, or `enforce 10, monitor 2`.
fn modes(exposures: &[Exposure]) -> String {
    let counted: Vec<(Mode, usize)> = [Mode::Enforce, Mode::Monitor, Mode::Off]
        .into_iter()
        .map(|mode| {
            (
                mode,
                exposures
                    .iter()
                    .filter(|exposure| exposure.mode == mode)
                    .count(),
            )
        })
        .filter(|(_, number)| *number > 0)
        .collect();
    match counted.as_slice() {
        [] => Mode::default().name().to_owned(),
        [(only, _)] => only.name().to_owned(),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|(mode, number)| format!("{} {number}", mode.name()))
                .collect();
            each.join(", ")
        }
    }
}

/// What the system said, and what can be done about it.
fn hint(error: &ServerError) -> anyhow::Error {
    let listen = [
        (
            io::ErrorKind::AddrInUse,
            "\n  stop what listens there, or write another address in `listen`",
        ),
        (
            io::ErrorKind::PermissionDenied,
            "\n  ports below 1024 need CAP_NET_BIND_SERVICE; write another in `listen`, or grant it",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "\n  this machine has no such address; write one that it has, or 0.0.0.0, in `listen`",
        ),
    ];
    let todo = match error {
        ServerError::Listen { cause, .. } => listen
            .iter()
            .find(|(kind, _)| *kind == cause.kind())
            .map_or("", |(_, todo)| *todo),
        ServerError::Journal(_) => "\n  name a file that this user may write in `journal`",
        // The store says itself what to do.
        ServerError::Store(_) | ServerError::Worker(_) => "",
    };
    anyhow!("{error}{todo}")
}

/// What has errors where `run` does not start.
const CONFIGURATION: &str = "the configuration has";

/// Every error at its place; `what` is said before their number.
pub(crate) fn rendered(what: &str, diagnostics: &[Diagnostic], sources: &Sources) -> String {
    const WIDTH: usize = 100;
    let errors: Vec<Diagnostic> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .cloned()
        .collect();
    format!(
        "{what} {}\n{}",
        count(errors.len(), "error"),
        diagnostic::render(&errors, sources, false, WIDTH).trim_end()
    )
}

/// Warnings of an operator's own files: one line each, the rest is `check`'s.
fn warn(diagnostics: &[Diagnostic], sources: &Sources) {
    const SHOWN: usize = 10;
    let warnings: Vec<&Diagnostic> = diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Warning)
        .collect();
    for warning in warnings.iter().take(SHOWN) {
        match warning.span.and_then(|span| sources.position(span)) {
            Some(at) => {
                tracing::warn!("{}:{}:{}: {}", at.name, at.line, at.column, warning.message)
            }
            None => tracing::warn!("{}", warning.message),
        }
    }
    if warnings.len() > SHOWN {
        tracing::warn!(
            "{} more; see `fortress check`",
            count(warnings.len() - SHOWN, "warning")
        );
    }
}

#[cfg(test)]
mod tests {
    use fortress_gateway::Exposed;

    use super::*;

    fn exposure(access: Exposed, mode: Mode) -> Exposure {
        Exposure {
            api: "a".into(),
            operation: "o".into(),
            described: true,
            access,
            mode,
        }
    }

    #[test]
    fn the_ready_line_names_the_rules() {
        let name = |components: &[&str], level| rules_name(components.iter().copied(), || level);
        assert_eq!(name(&["OWASP_CRS/4.28.0"], Some(1)), "CRS 4.28.0 PL1");
        assert_eq!(name(&["plugin/1", "OWASP_CRS/3.3.5"], None), "CRS 3.3.5");
        assert_eq!(name(&["Fortress_builtin/1"], Some(2)), "built-in rules");
        assert_eq!(name(&["plugin"], None), "own rules");
        assert_eq!(name(&[], None), "own rules");
    }

    #[test]
    fn the_ready_line_counts_operations() {
        let two = [
            exposure(Exposed::Protected, Mode::Enforce),
            exposure(Exposed::Public, Mode::Enforce),
        ];
        assert_eq!(
            operations(&two),
            "2 operations (1 protected, 1 public), enforce"
        );
        let mixed = [
            exposure(Exposed::Protected, Mode::Enforce),
            exposure(Exposed::Public, Mode::Monitor),
        ];
        assert_eq!(modes(&mixed), "enforce 1, monitor 1");
        let whole = Exposure {
            described: false,
            ..exposure(Exposed::Public, Mode::Enforce)
        };
        assert_eq!(
            operations(&[two[0].clone(), whole.clone()]),
            "1 operation (1 protected, 0 public), 1 API without a description (public), enforce"
        );
        assert_eq!(
            operations(&[whole]),
            "1 API without a description (public), enforce"
        );
    }
}
