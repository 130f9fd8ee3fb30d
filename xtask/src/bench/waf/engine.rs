//! The engines under test, each in a small program of its own that speaks one protocol: built once,
//! started with the rules, told on standard input what to load and how long to run.
//!
//! The program says `ready MICROSECONDS NAME…` when the rules are loaded. `load FILE` is answered by
//! `loaded N` requests; `run N MS` runs the request phases of at most N transactions for about MS
//! milliseconds, at least one, and is answered by `ran N BLOCKED MEDIAN EACH`: a transaction's time, and
//! the processor time of the whole process for each, in nanoseconds.
//! Anything that fails is answered by `error WHY`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    str::FromStr,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::super::PROXY_CORE;
use crate::process;

/// The harness of libmodsecurity.
const MODSECURITY: &str = include_str!("modsecurity.cc");
/// The harness of Coraza.
const CORAZA: &str = include_str!("coraza.go");
const CORAZA_MODULE: &str = "github.com/corazawaf/coraza/v3@v3.8.1";
/// Coraza's own plugin that makes it fastest, with the newest RE2 that it builds with. The plugin's
/// Aho-Corasick runs in wazero, whose version that the plugin asks for crashes under Go 1.26.
const RE2_MODULES: &[&str] = &[
    CORAZA_MODULE,
    "github.com/corazawaf/coraza-wasilibs@v0.2.0",
    "github.com/wasilibs/go-re2@v1.13.0",
    "github.com/tetratelabs/wazero@v1.9.0",
];
/// How long a harness may take to load the rules.
const LOADING: Duration = Duration::from_secs(60);
/// How long it may take to read a file of requests.
const READING: Duration = Duration::from_secs(20);

/// An engine that can be measured.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) name: &'static str,
    program: PathBuf,
    /// Directives that it alone understands.
    pub(super) directives: &'static str,
}

/// Builds an engine's harness in a folder.
type Build = fn(&Path) -> Result<Engine>;

/// Each by name, in the order of the tables.
pub(super) const ALL: &[(&str, Build)] = &[
    ("fortress", fortress),
    ("modsecurity", modsecurity),
    ("coraza-re2", coraza_re2),
    ("coraza", coraza),
];

fn fortress(_: &Path) -> Result<Engine> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--package", "fortress-waf"]);
    cargo.args(["--example", "measure"]);
    process::output(cargo.current_dir(process::root()))?;
    Ok(Engine {
        name: "fortress",
        program: process::root().join("target/release/examples/measure"),
        directives: "",
    })
}

fn modsecurity(folder: &Path) -> Result<Engine> {
    let program = folder.join("modsecurity");
    let source = folder.join("modsecurity.cc");
    if is_stale(&program, &[(source.clone(), MODSECURITY)])? {
        let mut compiler = Command::new("g++");
        compiler.args(["-O2", "-std=c++17", "-o"]);
        compiler.arg(&program).arg(&source).arg("-lmodsecurity");
        process::output(&mut compiler)
            .context("it needs: apt-get install g++ libmodsecurity-dev")?;
    }
    Ok(Engine {
        name: "modsecurity",
        program,
        directives: "",
    })
}

/// Coraza with Go's regexes and with its filter before them, which is off by default.
fn coraza(folder: &Path) -> Result<Engine> {
    let words = "package main\n\nconst regexes = \"(Go regexp, prefilter)\"\n";
    Ok(Engine {
        name: "coraza",
        program: go_build(&folder.join("coraza"), words, &[CORAZA_MODULE])?,
        directives: "SecRxPreFilter On\nSecRequestBodyInMemoryLimit 33554432\n",
    })
}

fn coraza_re2(folder: &Path) -> Result<Engine> {
    let words = "package main\n\nimport wasilibs \"github.com/corazawaf/coraza-wasilibs\"\n\n\
                 const regexes = \"(RE2)\"\n\nfunc init() { wasilibs.Register() }\n";
    Ok(Engine {
        name: "coraza-re2",
        program: go_build(&folder.join("coraza-re2"), words, RE2_MODULES)?,
        directives: "SecRequestBodyInMemoryLimit 33554432\n",
    })
}

/// Builds Coraza's harness with one more source file, in a module of its own.
fn go_build(folder: &Path, words: &str, modules: &[&str]) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let program = folder.join("measure");
    let listed = modules.join("\n");
    let sources = [
        (folder.join("main.go"), CORAZA),
        (folder.join("regexes.go"), words),
        (folder.join("modules.txt"), &*listed),
    ];
    if !is_stale(&program, &sources)? {
        return Ok(program);
    }
    fs::write(folder.join("go.mod"), "module measure\n")?;
    let go = |arguments: &[&str]| {
        let mut go = Command::new("go");
        process::output(go.args(arguments).current_dir(folder))
    };
    go(&[&["get"], modules].concat()).context("it needs Go and the Go module proxy")?;
    // RE2 in C++ is faster than RE2 in a WebAssembly runtime, but needs `libre2-dev`.
    let build = ["build", "-mod=mod", "-buildvcs=false", "-o", "measure"];
    let native = go(&[&build[..], &["-tags", "re2_cgo"]].concat());
    native.or_else(|_| go(&build))?;
    Ok(program)
}

/// Writes the sources, and says whether the program is missing or was built from others.
fn is_stale(program: &Path, sources: &[(PathBuf, &str)]) -> Result<bool> {
    for (path, text) in sources {
        if fs::read_to_string(path).is_ok_and(|written| written == *text) {
            continue;
        }
        if program.is_file() {
            fs::remove_file(program)?;
        }
        fs::write(path, text)?;
    }
    Ok(!program.is_file())
}

/// A harness that has loaded the rules, on the core of the program under test.
#[derive(Debug)]
pub(super) struct Harness {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    /// How the engine calls itself, with its version.
    pub(super) title: String,
    pub(super) loading: Loading,
}

/// What the rules cost until the first request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loading {
    pub(super) time: Duration,
    /// The most memory that the process held.
    pub(super) peak: u64,
    /// The memory that it holds from then on.
    pub(super) resident: u64,
}

/// What one run of transactions gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) transactions: u64,
    pub(super) blocked: u64,
    /// Of a transaction's time.
    pub(super) median: Duration,
    /// Processor time of all threads, divided by the transactions. It does not contain what other
    /// programs took from the core.
    pub(super) each: Duration,
}

impl Harness {
    pub(super) fn start(engine: &Engine, rules: &Path) -> Result<Self> {
        let mut command = process::pinned(PROXY_CORE, &engine.program);
        command
            .arg(rules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // What it complains of, for whoever looks for why it ended.
        let complaints = File::create(rules.with_extension("log"))?;
        let mut child = command
            .stderr(complaints)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = child.stdout.take().context("no standard output")?;
        let (sender, answers) = mpsc::channel();
        // Ends with the program's output, or when nobody waits for answers any more.
        thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines
                .map_while(Result::ok)
                .all(|line| sender.send(line).is_ok())
        });
        let mut harness = Self {
            child,
            input,
            answers,
            title: String::new(),
            loading: Loading::default(),
        };
        let answer = harness.answer("ready", LOADING)?;
        let (micros, title) = answer
            .context("the rules take too long to load")?
            .split_once(' ')
            .and_then(|(micros, title)| Some((micros.parse().ok()?, title.to_owned())))
            .context("its first line is not understood")?;
        harness.title = title;
        let memory = |field| process::memory(harness.child.id(), field).unwrap_or_default();
        harness.loading = Loading {
            time: Duration::from_micros(micros),
            peak: memory("VmHWM:"),
            resident: memory("VmRSS:"),
        };
        Ok(harness)
    }

    /// Gives it a file of requests; returns how many there are.
    pub(super) fn load(&mut self, file: &Path) -> Result<usize> {
        self.tell(&format!("load {}", file.display()))?;
        let answer = self.answer("loaded", READING)?;
        Ok(answer.context("it does not load the requests")?.parse()?)
    }

    /// Runs transactions for about `time`; none if even the first takes longer than `patience`.
    /// After that the harness is of no more use.
    pub(super) fn run(
        &mut self,
        most: u32,
        time: Duration,
        patience: Duration,
    ) -> Result<Option<Run>> {
        self.tell(&format!("run {most} {}", time.as_millis()))?;
        let answer = self.answer("ran", patience.max(time) + time)?;
        answer.map(|answer| answer.parse()).transpose()
    }

    /// Forgets the highest use of memory so far; returns the use now.
    pub(super) fn mark_memory(&self) -> Result<u64> {
        let process = self.child.id();
        fs::write(format!("/proc/{process}/clear_refs"), "5")?;
        process::memory(process, "VmRSS:").context("it has ended")
    }

    /// The highest use of memory since the mark.
    pub(super) fn peak_memory(&self) -> Result<u64> {
        process::memory(self.child.id(), "VmHWM:").context("it has ended")
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        writeln!(self.input, "{line}").with_context(|| format!("it ended before `{line}`"))
    }

    /// What follows `verb` in the next line; none if no line comes in time.
    fn answer(&mut self, verb: &str, patience: Duration) -> Result<Option<String>> {
        let line = match self.answers.recv_timeout(patience) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("it ended with {}", self.child.wait()?)
            }
        };
        let rest = line
            .strip_prefix(verb)
            .and_then(|rest| rest.strip_prefix(' '));
        match rest {
            Some(rest) => Ok(Some(rest.to_owned())),
            None => bail!("{}", line.trim()),
        }
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        // It holds nothing that it would have to put away; that it has ended is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl FromStr for Run {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [transactions, blocked, median, each] = numbers.as_slice() else {
            bail!("four numbers were expected, not `{text}`");
        };
        Ok(Self {
            transactions: *transactions,
            blocked: *blocked,
            median: Duration::from_nanos(*median),
            each: Duration::from_nanos(*each),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A harness of three lines.
    fn spoken(script: &str) -> Result<Harness> {
        let folder = new_folder();
        let program = folder.join("harness");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&program, mode).unwrap();
        let engine = Engine {
            name: "test",
            program,
            directives: "",
        };
        let started = Harness::start(&engine, Path::new("rules.conf"));
        fs::remove_dir_all(folder).unwrap();
        started
    }

    fn new_folder() -> PathBuf {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("xtask-waf-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn the_protocol_is_spoken() {
        let mut harness = spoken(
            "echo ready 1500 an engine 1.0; read l; echo loaded 64; read l; echo ran 9 1 2000 3000",
        )
        .unwrap();
        assert_eq!(harness.title, "an engine 1.0");
        assert_eq!(harness.loading.time, Duration::from_micros(1500));
        assert_eq!(harness.load(Path::new("x")).unwrap(), 64);
        let second = Duration::from_secs(10);
        let run = harness.run(10, second, second).unwrap().unwrap();
        assert_eq!((run.transactions, run.blocked), (9, 1));
        assert_eq!(run.median, Duration::from_micros(2));
    }

    #[test]
    fn what_goes_wrong_is_said() {
        let error = spoken("echo error no such rule").unwrap_err();
        assert_eq!(error.to_string(), "error no such rule");
        let error = spoken("exit 3").unwrap_err();
        assert!(error.to_string().contains("exit status: 3"), "{error}");
        assert!("1 2 3".parse::<Run>().is_err());
        assert!("1 2 3 x".parse::<Run>().is_err());
    }

    #[test]
    fn a_transaction_that_does_not_end_is_left() {
        let mut harness = spoken("echo ready 1 a; read l; exec sleep 60").unwrap();
        let soon = Duration::from_millis(20);
        assert_eq!(harness.run(1, soon, soon).unwrap(), None);
    }
}
