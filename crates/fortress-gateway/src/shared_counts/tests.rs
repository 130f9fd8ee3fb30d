//! Counts of their own, over a real Redis; limits over it are tested with the whole program.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use fortress_model::config::{RedisAddress, RedisServers, RedisTls};

use super::*;
use crate::journal::Journal;

struct Server {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// `None`, and a word about it, where there is no Redis.
#[expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "says what was skipped; the environment says what must be there"
)]
fn server() -> Option<Server> {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port();
    let number = port.to_string();
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &number, "--save", ""])
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .spawn();
    let Ok(child) = child else {
        let required = std::env::var("FORTRESS_REQUIRE_ALL").as_deref() == Ok("1");
        assert!(!required, "install redis-server");
        println!("skipped: no redis-server");
        return None;
    };
    let server = Server {
        child,
        port,
        _directory: directory,
    };
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    Some(server)
}

fn counts(port: u16) -> SharedCounts {
    let settings = RedisSettings {
        servers: RedisServers::One(RedisAddress {
            host: "127.0.0.1".into(),
            port,
        }),
        user: None,
        password: None,
        database: 0,
        tls: RedisTls::Plain,
        timeout: Duration::from_secs(2),
        instances: None,
        pepper: None,
    };
    let counts = SharedCounts::new(&settings, Instant::now(), "test".into());
    let (journal, _) = Journal::start(&[], 1).unwrap();
    counts.start(journal.notes()).unwrap();
    counts
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn counts_are_shared_and_end_with_their_window() {
    let Some(server) = server() else { return };
    let (one, other) = (counts(server.port), counts(server.port));
    let long = Duration::from_secs(3_600);
    runtime().block_on(async {
        assert_eq!(one.count("alice", 0, long).await, Ok(0));
        assert_eq!(one.count("alice", 1, long).await, Ok(1));
        assert_eq!(other.count("alice", 2, long).await, Ok(3));
        assert_eq!(other.count("bob", 1, long).await, Ok(1));
        assert_eq!(one.count("alice", 0, long).await, Ok(3));
        // Nothing is less than nothing.
        assert_eq!(one.count("alice", -9, long).await, Ok(0));
        // A window begins with the first, and is not made longer by the next.
        let short = Duration::from_millis(300);
        assert_eq!(one.count("carol", 1, short).await, Ok(1));
        let began = Instant::now();
        while other.count("carol", 0, short).await == Ok(1) {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        assert!(began.elapsed() >= Duration::from_millis(200));
    });
    one.stop();
    other.stop();
}

#[test]
fn a_connection_that_closes_is_noticed_without_a_call() {
    let Some(mut server) = server() else { return };
    let counts = counts(server.port);
    let long = Duration::from_secs(3_600);
    assert_eq!(runtime().block_on(counts.count("alice", 1, long)), Ok(1));
    assert!(counts.common.may_decide(LimitFault::Closed));
    server.child.kill().unwrap();
    let began = Instant::now();
    while counts.common.may_decide(LimitFault::Closed) {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    // Not by calls that failed.
    assert!(!counts.is_away());
    assert!(counts.common.may_decide(LimitFault::Local));
    counts.stop();
}

#[test]
fn counts_that_cannot_be_had_are_told_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let counts = counts(port);
    let began = Instant::now();
    runtime().block_on(async {
        for _ in 0..100 {
            let found = counts.count("alice", 1, Duration::from_secs(60)).await;
            assert_eq!(found, Err(Away));
        }
    });
    assert!(began.elapsed() < Duration::from_secs(2));
    assert!(counts.is_away());
    counts.stop();
}
