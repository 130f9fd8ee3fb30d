//! A Redis of the test's own: started, hurt, and ended with the test.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::program::until;

/// Says that a part was left out, or fails where everything must be there.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment says what must be there"
)]
pub(crate) fn skipped(why: &str) {
    let required = std::env::var("FORTRESS_REQUIRE_ALL").as_deref() == Ok("1");
    assert!(!required, "{why}");
    drop(writeln!(std::io::stderr(), "skipped: {why}"));
}

/// A port that is free, and low enough for a node of a Cluster, which takes another one 10,000 above.
fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if port < 55_000 && is_free(port + 10_000) {
            return port;
        }
    }
}

/// Whether a program is there.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok()
}

pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
}

impl Redis {
    /// `None`, and a word about it, where there is no Redis.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with more arguments; `$DIR` is its directory, `$PORT` its port.
    pub(crate) fn start_with(more: &[&str]) -> Option<Self> {
        if !has("redis-server") {
            skipped("there is no redis-server; install it: apt-get install redis-server");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
                .map(str::to_owned)
                .to_vec();
        if !more.contains(&"--port") {
            arguments.extend(["--port".to_owned(), port.to_string()]);
        }
        let place = directory.path().display().to_string();
        let filled = more.iter().map(|one| {
            one.replace("$DIR", &place)
                .replace("$PORT", &port.to_string())
        });
        arguments.extend(filled);
        let child = spawn(&arguments, directory.path());
        let server = Self {
            child,
            port,
            arguments,
            directory,
        };
        server.listens();
        Some(server)
    }

    /// A Sentinel with these lines of configuration.
    pub(crate) fn sentinel(lines: &[&str]) -> Option<Self> {
        if !has("redis-server") {
            skipped("there is no redis-server; install it: apt-get install redis-server");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let port = free_port();
        let text = format!("port {port}\nbind 127.0.0.1\n{}\n", lines.join("\n"));
        fs::write(directory.path().join("sentinel.conf"), text).expect("written");
        let arguments = ["sentinel.conf", "--sentinel"].map(str::to_owned).to_vec();
        let child = spawn(&arguments, directory.path());
        let server = Self {
            child,
            port,
            arguments,
            directory,
        };
        server.listens();
        Some(server)
    }

    fn listens(&self) {
        until("Redis listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends a command of words, and gives the beginning of the answer.
    pub(crate) fn say(&self, words: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("set");
        stream
            .write_all(format!("{words}\r\n").as_bytes())
            .expect("sent");
        let mut answer = [0; 4_096];
        let count = stream.read(&mut answer).expect("answered");
        String::from_utf8_lossy(&answer[..count]).into_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// Starts it again, empty.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.arguments, self.directory.path());
        self.listens();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(arguments: &[String], directory: &Path) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a log");
    Command::new("redis-server")
        .args(arguments)
        .current_dir(directory)
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("started")
}
