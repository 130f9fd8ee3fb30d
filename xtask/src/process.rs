//! Programs that a chore starts: ready when their port answers, pinned to a core if asked, measured
//! through `/proc`, and gone with everything they started when the handle is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a server may take to end before it is killed.
const FAREWELL: Duration = Duration::from_secs(3);

/// The project's root.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// An empty folder `target/NAME`.
pub(crate) fn scratch(name: &str) -> Result<PathBuf> {
    let folder = root().join("target").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The first of `places` or of the search path that holds `program`.
pub(crate) fn find(program: &str, places: &[PathBuf]) -> Option<PathBuf> {
    let search = std::env::var_os("PATH").unwrap_or_default();
    places
        .iter()
        .cloned()
        .chain(std::env::split_paths(&search))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start `{name}`"))?;
    ensure!(
        output.status.success(),
        "`{name}` failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// A program that ran to its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) elapsed: Duration,
    /// Bytes of memory that it held at most: the kernel's own mark, last read less than a
    /// millisecond before the end, because the mark goes with the process.
    pub(crate) peak: u64,
}

/// Runs a program to its end, its words unread, and measures it.
pub(crate) fn measured(command: &mut Command) -> Result<Ran> {
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let mut child = quiet
        .spawn()
        .with_context(|| format!("cannot start {quiet:?}"))?;
    let mut peak = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            let elapsed = began.elapsed();
            ensure!(status.success(), "{quiet:?} ended with {status}");
            return Ok(Ran { elapsed, peak });
        }
        peak = memory(child.id(), "VmHWM:").unwrap_or(peak);
        thread::sleep(Duration::from_micros(200));
    }
}

/// A command that runs on one core alone.
pub(crate) fn pinned(core: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core]).arg(program);
    command
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts `command`, whose words go to `log`, and waits until `address` answers.
    pub(crate) fn start(command: &mut Command, log: &Path, address: SocketAddr) -> Result<Self> {
        Self::start_within(command, log, address, PATIENCE)
    }

    /// The same of a server that takes its time.
    pub(crate) fn start_within(
        command: &mut Command,
        log: &Path,
        address: SocketAddr,
        patience: Duration,
    ) -> Result<Self> {
        let file = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let mut server = Self { child };
        let began = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            let ended = server.child.try_wait()?;
            if ended.is_some() || began.elapsed() > patience {
                let words = fs::read_to_string(log).unwrap_or_default();
                let words: Vec<&str> = words.trim().lines().rev().take(5).collect();
                let last = words.into_iter().rev().collect::<Vec<_>>().join("; ");
                match ended {
                    Some(status) => bail!("ended with {status}: {last}"),
                    None => bail!("does not listen after {} s: {last}", patience.as_secs()),
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Processor time that it and its children have spent.
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        let tree = process_tree(self.child.id())?;
        let ticks: u64 = tree
            .iter()
            .filter_map(|pid| Stat::read(*pid))
            .map(|stat| stat.ticks)
            .sum();
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        Ok(Duration::from_millis(ticks * 1000 / per_second))
    }

    /// Bytes of memory that it and its children hold.
    pub(crate) fn resident(&self) -> Result<u64> {
        let mut total = 0;
        for pid in process_tree(self.child.id())? {
            total += memory(pid, "VmRSS:").unwrap_or_default();
        }
        Ok(total)
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<String>> {
        Ok(self.child.try_wait()?.map(|status| status.to_string()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A master that is killed at once would leave its workers behind: ask first.
        let tree = process_tree(self.child.id()).unwrap_or_default();
        signal(self.child.id(), Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < FAREWELL {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        // Nothing may stay behind; that it is gone already is as good.
        if matches!(self.child.try_wait(), Ok(None)) {
            for pid in tree {
                signal(pid, Signal::KILL);
            }
            drop(self.child.wait());
        }
    }
}

/// Signals a process; false if there is none any more.
fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Eq, PartialEq)]
struct Stat {
    parent: u32,
    /// User and system time together, in clock ticks.
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The program's name, in parentheses, may hold anything, so fields count from the last one.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(1)?).ok()?,
            ticks: number(11)? + number(12)?,
        })
    }
}

/// Bytes of memory in one `field` of `/proc/PID/status`; none of a process that has ended.
pub(crate) fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kilobytes: u64 = kilobytes.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024)
}

/// A process and all its descendants.
fn process_tree(root: u32) -> Result<BTreeSet<u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let pid = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok());
        if let Some((pid, stat)) = pid.and_then(|pid| Some((pid, Stat::read(pid)?))) {
            parents.insert(pid, stat.parent);
        }
    }
    let mut tree = BTreeSet::from([root]);
    loop {
        let children: Vec<u32> = parents
            .iter()
            .filter(|(pid, parent)| tree.contains(parent) && !tree.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if children.is_empty() {
            return Ok(tree);
        }
        tree.extend(children);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_read_past_the_strangest_name() {
        let text = "7 (a) b) S 3 7 7 0 -1 0 1 2 3 4 500 25 9 9 20 0";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                parent: 3,
                ticks: 525
            })
        );
        assert_eq!(Stat::parse("7 (a) S 3"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn the_tree_holds_children_and_goes_with_its_root() {
        let child = Command::new("sh")
            .args(["-c", "sleep 30 & wait"])
            .spawn()
            .unwrap();
        let server = Server { child };
        let root = server.child.id();
        let began = Instant::now();
        let tree = loop {
            let tree = process_tree(root).unwrap();
            if tree.len() == 2 {
                break tree;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "{tree:?}");
            thread::yield_now();
        };
        assert!(tree.contains(&root) && server.resident().unwrap() > 0);
        for pid in tree.iter().filter(|pid| **pid != root) {
            signal(*pid, Signal::TERM);
        }
        drop(server);
        assert_eq!(Stat::read(root), None);
    }

    #[test]
    fn a_run_is_measured_unless_it_fails() {
        let ran = measured(Command::new("sleep").arg("0.02")).unwrap();
        assert!(ran.elapsed >= Duration::from_millis(20) && ran.peak > 0);
        assert!(measured(&mut Command::new("false")).is_err());
    }

    #[test]
    fn a_server_that_ends_at_once_says_why() {
        let log = std::env::temp_dir().join(format!("xtask-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such key; exit 3"]);
        let error = Server::start(&mut command, &log, free_address().unwrap()).unwrap_err();
        assert!(error.to_string().contains("no such key"), "{error}");
        fs::remove_file(log).unwrap();
    }
}
