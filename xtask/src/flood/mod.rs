//! `cargo xtask floods`: what has brought other HTTP servers down, tried on Fortress on loopback.
//! Each flood is bounded in count and time, and asserts three things: the connection was closed or
//! held back, memory stayed within a bound, and someone else was still answered.
//!
//! Deliberately not here: floods that only a network can stop (SYN, bandwidth).

mod frames;
mod http2;
mod slow;

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::{
    Verdict, gateway,
    output::say,
    process::{self, Server},
};

/// How much more memory Fortress may hold during a flood, in bytes.
const GROWTH: u64 = 64 << 20;
/// How long someone else may wait for an answer during a flood.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How to run the floods.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The Fortress to flood [default: target/release/fortress]
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Only the floods whose name holds this
    #[arg(long)]
    only: Option<String>,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// The server closed the connection after this many frames or connections.
    Closed(u32),
    /// The server stopped reading: the sender is held back, and nothing grows.
    HeldBack(u32),
    /// Everything was taken.
    Taken(u32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(sent) => write!(f, "closed after {sent}"),
            Self::HeldBack(sent) => write!(f, "held back after {sent}"),
            Self::Taken(sent) => write!(f, "took all {sent}"),
        }
    }
}

/// A flood by name, and whether its sender must be cut off.
struct Flood {
    name: &'static str,
    run: fn(SocketAddr) -> Result<End>,
}

const FLOODS: &[Flood] = &[
    Flood {
        name: "rapid reset",
        run: http2::rapid_reset,
    },
    Flood {
        name: "continuation",
        run: http2::continuation,
    },
    Flood {
        name: "settings",
        run: http2::settings,
    },
    Flood {
        name: "ping",
        run: http2::ping,
    },
    Flood {
        name: "ping, never reading",
        run: http2::ping_unread,
    },
    Flood {
        name: "priority",
        run: http2::priority,
    },
    Flood {
        name: "empty data",
        run: http2::empty_data,
    },
    Flood {
        name: "2,000 slow connections",
        run: slow::connections,
    },
];

/// Runs every flood and prints what each came to.
pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let binary = gateway::binary(options.binary.as_deref())?;
    let folder = process::scratch("floods")?;
    let upstream_address = process::free_address()?;
    let _upstream = gateway::start_upstream(&folder, upstream_address, None)?;
    let address = process::free_address()?;
    let configuration = format!(
        "version: 1\nlisten: [{{ address: \"{address}\", http2: prior_knowledge }}]\n\
         apis:\n  orders: {{ spec: none, public: true, upstream: \"http://{upstream_address}\" }}\n\
         defaults: {{ bounds: {{ connections: 5000, connections_per_client: 4000, head_time: {}s }} }}\n",
        slow::HEAD_TIME.as_secs()
    );
    let mut server = gateway::start(&binary, &folder, &configuration, address, None)?;
    let mut verdict = Verdict::Fine;
    let chosen = |flood: &&Flood| {
        options
            .only
            .as_ref()
            .is_none_or(|part| flood.name.contains(part))
    };
    for flood in FLOODS.iter().filter(chosen) {
        let said = match watch(&mut server, address, flood) {
            Ok(said) => format!("ok      {said}"),
            Err(error) => {
                verdict = Verdict::Findings;
                format!("FAILED  {error:#}")
            }
        };
        say(format_args!("{:<24} {said}", flood.name));
    }
    Ok(verdict)
}

/// Runs one flood with a witness beside it, and judges it.
fn watch(server: &mut Server, address: SocketAddr, flood: &Flood) -> Result<String> {
    let before = server.resident()?;
    let witness = Witness::start(address);
    let began = Instant::now();
    let end = (flood.run)(address);
    let took = began.elapsed();
    let growth = server.resident()?.saturating_sub(before);
    let (answers, longest) = witness.stop()?;
    let end = end.context("the flood itself could not run")?;
    if let Some(how) = server.ended()? {
        bail!("fortress ended with {how}");
    }
    let told = format!(
        "{end} in {:.1} s; memory +{} KiB; {answers} others answered, the slowest in {} ms",
        took.as_secs_f64(),
        growth >> 10,
        longest.as_millis()
    );
    if matches!(end, End::Taken(_)) {
        bail!("nothing stopped it: {told}");
    }
    if growth > GROWTH {
        bail!("memory grew beyond {} MiB: {told}", GROWTH >> 20);
    }
    if longest > LONGEST_WAIT {
        bail!("others waited too long: {told}");
    }
    Ok(told)
}

/// Someone else, who sends a plain request every 50 ms while a flood goes on.
struct Witness {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(u32, Duration)>>,
}

impl Witness {
    fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut answers = 0;
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) || answers == 0 {
                let began = Instant::now();
                ask(address).context("someone else was not answered")?;
                longest = longest.max(began.elapsed());
                answers += 1;
                thread::sleep(Duration::from_millis(50));
            }
            Ok((answers, longest))
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<(u32, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the witness panicked"))?
    }
}

/// Sends one request on a connection of its own and expects 200.
fn ask(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, LONGEST_WAIT * 2)?;
    stream.set_read_timeout(Some(LONGEST_WAIT * 2))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let line = String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    if !line.starts_with("HTTP/1.1 200") {
        bail!("the answer was `{line}`");
    }
    Ok(())
}
