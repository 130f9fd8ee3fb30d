//! A spawned `fortress` with a directory of its own: ended when it is dropped, its output shown when
//! the test failed.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for a test: the program's own temporary and runtime directories are in it, so that
/// what is left behind can be seen, and tests do not see each other's demos.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        for below in ["tmp", "runtime", "work"] {
            fs::create_dir(place.0.path().join(below)).expect("a directory");
        }
        place
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.path().join("work")
    }

    /// What lies in the temporary and runtime directories.
    pub(crate) fn left_behind(&self) -> Vec<PathBuf> {
        ["tmp", "runtime"]
            .iter()
            .flat_map(|below| fs::read_dir(self.0.path().join(below)).expect("a directory"))
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.work().join(name);
        fs::write(&path, text).expect("written");
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fortress"));
        command
            .args(arguments)
            .current_dir(self.work())
            .env("TMPDIR", self.0.path().join("tmp"))
            .env("XDG_RUNTIME_DIR", self.0.path().join("runtime"))
            .env_remove("NOTIFY_SOCKET")
            .env_remove("NO_COLOR");
        command
    }

    /// Runs to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(
            &self
                .command(arguments)
                .stdin(Stdio::null())
                .output()
                .expect("started"),
        )
    }

    /// Starts, and keeps.
    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        Program::spawn(self.command(arguments))
    }
}

impl Program {
    /// Starts a command, and keeps it.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, receiver) = mpsc::channel();
        let out = child.stdout.take().expect("piped");
        follow(out, Arc::clone(&log), Some(lines));
        let err = child.stderr.take().expect("piped");
        follow(err, Arc::clone(&log), None);
        Self {
            child,
            log,
            lines: receiver,
        }
    }
}

fn follow(
    stream: impl Read + Send + 'static,
    log: Arc<Mutex<String>>,
    lines: Option<mpsc::Sender<String>>,
) {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock()
                .expect("unpoisoned")
                .push_str(&format!("{line}\n"));
            if let Some(lines) = &lines
                && lines.send(line).is_err()
            {
                return;
            }
        }
    });
}

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\n--- stdout\n{}\n--- stderr\n{}",
            self.out, self.err
        );
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// A program that runs.
pub(crate) struct Program {
    child: Child,
    log: Arc<Mutex<String>>,
    lines: Receiver<String>,
}

impl Program {
    /// The next line of standard output that `wanted` takes.
    #[track_caller]
    pub(crate) fn line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if wanted(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("the line did not come: {error}"),
            }
        }
    }

    /// Waits until its log has this.
    #[track_caller]
    pub(crate) fn logged(&self, text: &str) {
        until(&format!("`{text}` in the log"), || {
            self.log.lock().expect("unpoisoned").contains(text)
        });
    }

    /// Everything that it said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("unpoisoned").clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            let log = self.log.lock().map(|log| log.clone()).unwrap_or_default();
            drop(writeln!(std::io::stderr(), "--- fortress\n{log}---"));
        }
    }
}

/// Waits for something to become true.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a request with `Connection: close` and gives the whole answer. `url` is `http://host:port`.
pub(crate) fn ask(url: &str, head: &str, body: &str) -> String {
    let address = url.strip_prefix("http://").expect("plain http");
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let request = format!("{head}\r\nHost: {address}\r\nConnection: close\r\n{length}\r\n{body}");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

pub(crate) fn status(answer: &str) -> u16 {
    answer
        .get(9..12)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status: {answer}"))
}

/// A description of the shared collection; `None`, and a word about it, where that is not there.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("FORTRESS_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = shared.join(name);
    if path.exists() {
        return Some(path.canonicalize().expect("a path"));
    }
    drop(writeln!(
        std::io::stderr(),
        "skipped: {} is not there",
        path.display()
    ));
    None
}
