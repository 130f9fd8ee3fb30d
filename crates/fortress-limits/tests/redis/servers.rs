//! The script on real servers: Redis, and Valkey where it is installed.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "says what was skipped, and the figures; the environment says what must be there"
)]

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fortress_limits::{
    Key,
    distributed::{Answer, Call, Leases, Reply, SCRIPT, Shared, Spend, script_sha},
    gcra::Rate,
    quota::{Edge, Quota, Unit},
};
use fortress_model::clock::{Clock, SystemClock, Timestamp};
use jiff::tz::TimeZone;
use redis::{Connection, ErrorKind, RedisError, ServerErrorKind, cmd};

/// A server of this test's own, ended with it.
pub(crate) struct Server {
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

impl Server {
    fn start(program: &str, more: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let child = Command::new(program)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .args(more)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self {
            child,
            port,
            _directory: directory,
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "{program} does not listen"
            );
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    pub(crate) fn connect(&self) -> Client {
        let address = format!("redis://127.0.0.1:{}", self.port);
        let client = redis::Client::open(address).unwrap();
        Client(client.get_connection().unwrap())
    }
}

/// Every server that is installed; Redis must be.
pub(crate) fn servers() -> Vec<Server> {
    let mut servers = Vec::new();
    for program in ["redis-server", "valkey-server"] {
        match Server::start(program, &[]) {
            Some(server) => servers.push(server),
            None => println!("skipped: no {program}"),
        }
    }
    let required = std::env::var("FORTRESS_REQUIRE_ALL").as_deref() == Ok("1");
    assert!(!servers.is_empty() || !required, "install redis-server");
    servers
}

pub(crate) struct Client(pub(crate) Connection);

impl Client {
    fn load(&mut self) {
        let sha: String = cmd("SCRIPT")
            .arg("LOAD")
            .arg(SCRIPT)
            .query(&mut self.0)
            .unwrap();
        assert_eq!(sha, script_sha(SCRIPT));
    }

    fn run(
        &mut self,
        (name, script): (&str, &str),
        call: &Call,
        now: Timestamp,
    ) -> Result<Vec<i64>, RedisError> {
        let mut command = cmd(name);
        command.arg(script).arg(1).arg(call.name());
        command.arg(call.arguments(now)).query(&mut self.0)
    }

    fn call(&mut self, call: &Call, now: Timestamp) -> Reply {
        let numbers = self
            .run(("EVALSHA", &script_sha(SCRIPT)), call, now)
            .unwrap();
        Reply::parse(&numbers, call).unwrap()
    }

    /// Units granted, left, and microseconds to wait.
    fn take(&mut self, call: &Call) -> (u64, u64, Option<u128>) {
        match self.call(call, SystemClock.now()) {
            Reply::Granted {
                units,
                remaining,
                wait,
                ..
            } => (units, remaining, wait.map(|wait| wait.as_micros())),
            Reply::OtherWindow { now } => panic!("{now:?}"),
        }
    }

    /// A number that the server gives for a command of words.
    pub(crate) fn number(&mut self, words: &str) -> i64 {
        let mut words = words.split(' ');
        let mut command = cmd(words.next().unwrap());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query(&mut self.0).unwrap()
    }
}

impl Client {
    fn info(&mut self, section: &str) -> String {
        cmd("INFO").arg(section).query(&mut self.0).unwrap()
    }

    /// Bytes that the server has in use.
    fn memory(&mut self) -> u64 {
        let info = self.info("memory");
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        line.unwrap().trim().parse().unwrap()
    }

    /// Keys that end by themselves.
    fn expiring(&mut self) -> u64 {
        let info = self.info("keyspace");
        let (_, rest) = info.split_once("expires=").unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    }
}

fn key(number: u64) -> Key {
    Key::from_halves(number + 1, number)
}

fn call(shared: &Shared, least: u64, want: u64) -> Call {
    Call {
        key: key(1),
        shared: shared.clone(),
        least,
        want,
        returns: false,
    }
}

#[test]
fn a_rate_grants_its_burst_and_no_more() {
    for server in servers() {
        let mut client = server.connect();
        client.load();
        let rate = Rate::new(1, Duration::from_secs(3_600), 10).unwrap();
        let shared = &Shared::Rate(rate);
        assert_eq!(client.take(&call(shared, 1, 1)), (1, 9, Some(0)));
        assert_eq!(client.take(&call(shared, 2, 4)), (4, 5, Some(0)));
        // As much as there is, if that is enough.
        assert_eq!(client.take(&call(shared, 1, 9)), (5, 0, Some(0)));
        let (units, left, wait) = client.take(&call(shared, 1, 9));
        assert_eq!((units, left), (0, 0));
        assert!(
            (3_590_000_000..=3_600_000_000).contains(&wait.unwrap()),
            "{wait:?}"
        );
        assert_eq!(client.take(&call(shared, 11, 11)), (0, 0, None));
        let back = Call {
            returns: true,
            ..call(shared, 0, 3)
        };
        assert_eq!(client.take(&back), (0, 3, Some(0)));
        assert_eq!(client.take(&call(shared, 1, 9)), (3, 0, Some(0)));
        // More than was ever taken gives no larger burst.
        assert_eq!(
            client.take(&Call {
                want: 1_000,
                ..back
            }),
            (0, 10, Some(0))
        );
        assert_eq!(client.take(&call(shared, 1, 50)).0, 10);
        // It does not stay for good.
        let time = client.number(&format!("PTTL {}", call(shared, 1, 1).name()));
        assert!((35_990_000..=36_001_000).contains(&time), "{time}");
    }
}

#[test]
fn a_rate_is_earned_back_by_the_servers_clock() {
    for server in servers() {
        let mut client = server.connect();
        client.load();
        // One in 200 ms.
        let rate = Rate::new(5, Duration::from_secs(1), 1).unwrap();
        let shared = &Shared::Rate(rate);
        let began = Instant::now();
        let mut granted = 0;
        while granted < 5 {
            let (units, _, wait) = client.take(&call(shared, 1, 1));
            granted += units;
            thread::sleep(Duration::from_micros(u64::try_from(wait.unwrap()).unwrap()));
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(800), "{took:?}");
    }
}

#[test]
fn a_quota_of_the_calendar() {
    for server in servers() {
        let mut client = server.connect();
        client.load();
        let quota = Quota::new(100, Unit::Month, TimeZone::UTC, Edge::Calendar);
        let quota = Arc::new(quota);
        let shared = &Shared::Quota(Arc::clone(&quota));
        assert_eq!(client.take(&call(shared, 1, 30)), (30, 70, Some(0)));
        assert_eq!(client.take(&call(shared, 71, 80)).0, 0);
        assert_eq!(client.take(&call(shared, 101, 101)), (0, 70, None));
        let back = Call {
            returns: true,
            ..call(shared, 0, 10)
        };
        assert_eq!(client.take(&back), (0, 80, Some(0)));
        assert_eq!(client.take(&call(shared, 80, 80)), (80, 0, Some(0)));
        let (units, _, wait) = client.take(&call(shared, 1, 1));
        assert_eq!(units, 0);
        let window = quota.windows().at(SystemClock.now());
        let left = u128::from(window.end) * 1_000_000 - u128::from(SystemClock.now().0 / 1_000);
        assert!(wait.unwrap().abs_diff(left) < 2_000_000, "{wait:?} {left}");
    }
}

#[test]
fn a_window_of_a_clock_that_was_years_ahead_is_forgotten() {
    for server in servers() {
        let mut client = server.connect();
        client.load();
        let quota = Arc::new(Quota::new(100, Unit::Day, TimeZone::UTC, Edge::Calendar));
        let shared = &Shared::Quota(Arc::clone(&quota));
        let call = call(shared, 1, 30);
        assert_eq!(client.take(&call), (30, 70, Some(0)));
        let held = |window: u64| (window * 1_000_000).to_string();
        let set = |client: &mut Client, window: u64| {
            let words = ["HSET", &call.name(), "w", &held(window)].map(str::to_owned);
            client.number(&words.join(" "));
        };
        let now = quota.windows().at(SystemClock.now());
        set(&mut client, now.start + 4 * 366 * 86_400);
        assert_eq!(client.take(&call), (30, 40, Some(0)));
        let left = |wait: Option<u128>| wait.unwrap() <= 86_400_000_000;
        let (units, _, wait) = client.take(&Call {
            least: 41,
            want: 41,
            ..call.clone()
        });
        assert!(units == 0 && left(wait), "{wait:?}");
        // The next one is that of a clock that went back over an edge.
        set(&mut client, now.end);
        assert_eq!(client.take(&call), (30, 10, Some(0)));
        assert_eq!(
            client.number(&format!("HGET {} w", call.name())),
            i64::try_from(now.end * 1_000_000).unwrap()
        );
    }
}

#[test]
fn windows_change_and_fade() {
    for server in servers() {
        let mut client = server.connect();
        client.load();
        for (edge, number) in [(Edge::Calendar, 1), (Edge::Sliding, 2)] {
            let quota = Quota::new(1_000, Unit::Second, TimeZone::UTC, edge);
            let shared = Shared::Quota(Arc::new(quota));
            let of = |least, want| Call {
                key: key(number),
                ..call(&shared, least, want)
            };
            // Wait for a second's beginning, spend it, and look into the next.
            let begin = SystemClock.now().seconds() + 1;
            while SystemClock.now().seconds() < begin {}
            assert_eq!(client.take(&of(1_000, 1_000)).0, 1_000, "{edge:?}");
            assert_eq!(client.take(&of(1, 1)).0, 0);
            while SystemClock.now().seconds() < begin + 1 {}
            let (_, left, _) = client.take(&of(0, 0));
            match edge {
                Edge::Calendar => assert_eq!(left, 1_000),
                Edge::Sliding => assert!(left < 500, "{left}"),
            }
            while SystemClock.now().0 < (begin + 1) * 1_000_000_000 + 800_000_000 {}
            let (_, left, _) = client.take(&of(0, 0));
            assert!(left >= 790, "{edge:?} {left}");
        }
    }
}

#[test]
fn clocks_that_are_apart() {
    for server in servers() {
        let mut client = server.connect();
        client.load();
        let quota = Quota::new(1_000, Unit::Minute, TimeZone::UTC, Edge::Calendar);
        let asked = call(&Shared::Quota(Arc::new(quota)), 1, 1);
        let now = SystemClock.now();
        let before = client.take(&asked).1;
        // Seconds apart: the same count, by the server's clock.
        for apart in [-5_i64, 5, -59, 59] {
            let skewed = Timestamp(now.0.saturating_add_signed(apart * 1_000_000_000));
            let reply = client.call(&asked, skewed);
            assert!(
                matches!(reply, Reply::Granted { units: 1, .. }),
                "{apart} {reply:?}"
            );
        }
        let after = client.take(&asked).1;
        assert!(after == before - 5 || after > before, "{before} {after}");
        // An hour apart: the server says its time, and with that it works.
        let skewed = Timestamp(now.0 - 3_600_000_000_000);
        let Reply::OtherWindow { now: theirs } = client.call(&asked, skewed) else {
            panic!("granted by a window that is over");
        };
        assert!(theirs.0.abs_diff(now.0) < 10_000_000_000);
        assert!(matches!(
            client.call(&asked, theirs),
            Reply::Granted { units: 1, .. }
        ));
    }
}

/// One request on one instance: asks where it must, and counts calls.
fn request(
    leases: &Leases,
    client: &mut Client,
    shared: &Shared,
    calls: &AtomicU64,
    began: Instant,
) -> bool {
    let elapsed = || u64::try_from(began.elapsed().as_nanos()).unwrap() + 1;
    let mut ask = |least, want| {
        calls.fetch_add(1, Ordering::Relaxed);
        client.call(&call(shared, least, want), SystemClock.now())
    };
    match leases.spend(key(1), shared, 1, elapsed()) {
        Spend::Refuse(_) => false,
        Spend::Pass { refill, .. } => {
            if let Some(units) = refill {
                let reply = ask(1, units);
                leases.refilled(key(1), &reply, elapsed());
            }
            true
        }
        Spend::Ask { want } => {
            let reply = ask(1, want);
            matches!(
                leases.answered(key(1), 1, &reply, elapsed()),
                Answer::Pass(_)
            )
        }
    }
}

#[test]
fn four_instances_share_one_quota_exactly() {
    const LIMIT: u64 = 20_000;
    for server in servers() {
        server.connect().load();
        let quota = Quota::new(LIMIT, Unit::Month, TimeZone::UTC, Edge::Calendar);
        let shared = Shared::Quota(Arc::new(quota));
        let (passed, calls) = (AtomicU64::new(0), AtomicU64::new(0));
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let leases = Leases::new(100);
                    let mut client = server.connect();
                    for _ in 0..LIMIT {
                        if request(&leases, &mut client, &shared, &calls, began) {
                            passed.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    // Stopping, it gives back what it holds.
                    for back in leases.sweep(1, true, usize::MAX) {
                        client.call(&back, SystemClock.now());
                    }
                });
            }
        });
        let mut client = server.connect();
        let (rest, ..) = client.take(&call(&shared, 0, LIMIT));
        let (passed, calls) = (
            passed.load(Ordering::Relaxed),
            calls.load(Ordering::Relaxed),
        );
        println!(
            "{passed} passed and {rest} left of {LIMIT}, with {calls} calls for 80,000 requests"
        );
        assert_eq!(passed + rest, LIMIT);
        assert!(rest <= 40, "{rest}");
        assert!(calls < 4_000, "{calls}");
    }
}

#[test]
fn a_hundred_thousand_clients() {
    const CLIENTS: u64 = 100_000;
    let Some(server) = Server::start("redis-server", &[]) else {
        return;
    };
    let mut client = server.connect();
    client.load();
    let shared = Shared::Rate(Rate::new(5, Duration::from_secs(3_600), 5).unwrap());
    let leases = [Leases::new(1 << 14), Leases::new(1 << 14)];
    let bytes = leases[0].bytes();
    let began = Instant::now();
    let empty = client.memory();
    let mut granted = 0;
    // Each client once on each of two instances, whose tables have room for an eighth of them.
    for from in (0..CLIENTS).step_by(1_000) {
        for leases in &leases {
            let mut pipe = redis::pipe();
            let mut asked = Vec::new();
            for number in from..from + 1_000 {
                let key = Key::from_halves(number + 1, number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let Spend::Ask { want } = leases.spend(key, &shared, 1, 1) else {
                    panic!("a lease that nobody took");
                };
                let call = Call {
                    key,
                    ..call(&shared, 1, want)
                };
                pipe.cmd("EVALSHA")
                    .arg(script_sha(SCRIPT))
                    .arg(1)
                    .arg(call.name());
                pipe.arg(call.arguments(Timestamp(0)));
                asked.push(call);
            }
            let replies: Vec<Vec<i64>> = pipe.query(&mut client.0).unwrap();
            for (call, numbers) in asked.iter().zip(&replies) {
                let reply = Reply::parse(numbers, call).unwrap();
                let answer = leases.answered(call.key, 1, &reply, 1);
                granted += u64::from(matches!(answer, Answer::Pass(_)));
            }
        }
    }
    let each = (client.memory() - empty) / CLIENTS;
    println!(
        "{granted} of {} requests passed in {:?}; {each} bytes of Redis for a client, {bytes} bytes of leases",
        2 * CLIENTS,
        began.elapsed()
    );
    assert_eq!(granted, 2 * CLIENTS);
    assert_eq!(leases[0].bytes(), bytes);
    assert!(each < 400, "{each}");
    // Each client's count is one, and ends by itself.
    assert_eq!(client.number("DBSIZE"), i64::try_from(CLIENTS).unwrap());
    assert_eq!(client.expiring(), CLIENTS);
}

#[test]
fn what_servers_refuse() {
    let rate = Rate::new(1, Duration::from_secs(1), 10).unwrap();
    let asked = call(&Shared::Rate(rate), 1, 1);
    let sha = script_sha(SCRIPT);
    let kind = |error: &RedisError| error.kind();
    for server in servers() {
        let mut client = server.connect();
        let by_name = client.run(("EVALSHA", &sha), &asked, Timestamp(0));
        let expect = ErrorKind::Server(ServerErrorKind::NoScript);
        assert_eq!(by_name.as_ref().err().map(kind), Some(expect));
        let whole = client.run(("EVAL", SCRIPT), &asked, Timestamp(0)).unwrap();
        assert_eq!(whole[..2], [1, 9]);
        let by_name = client.run(("EVALSHA", &sha), &asked, Timestamp(0)).unwrap();
        assert_eq!(by_name[..2], [1, 8]);
    }
    let Some(master) = Server::start("redis-server", &[]) else {
        return;
    };
    let replica = Server::start(
        "redis-server",
        &["--replicaof", "127.0.0.1", &master.port.to_string()],
    )
    .unwrap();
    let mut client = replica.connect();
    // While it joins its master it may answer nothing at all.
    let found = client.run(("EVAL", SCRIPT), &asked, Timestamp(0));
    assert!(found.is_err(), "{found:?}");
}
