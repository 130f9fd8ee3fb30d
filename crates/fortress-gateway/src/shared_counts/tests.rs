//! The log of logins over a real Redis; limits over it are tested with the whole program.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use fortress_limits::defence::{
    Attempt, Charge, Delay, Kind, Learnt, Refused, Rules, Who,
    log::{Entry, Step, Taken},
};
use fortress_model::config::{RedisAddress, RedisServers, RedisTls};

use super::*;
use crate::{defence::Logins, journal::Journal};

struct Server {
    child: Child,
    port: u16,
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
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = port.local_addr().unwrap().port();
    if let Ok(child) = start(port) {
        return Some(Server { child, port });
    }
    let required = std::env::var("FORTRESS_REQUIRE_ALL").as_deref() == Ok("1");
    assert!(!required, "install redis-server");
    println!("skipped: no redis-server");
    None
}

fn start(port: u16) -> std::io::Result<Child> {
    let number = port.to_string();
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &number, "--save", ""])
        .stdout(Stdio::null())
        .spawn()?;
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::yield_now();
    }
    Ok(child)
}

/// An instance of the gateway, as far as it shares logins.
struct Instance {
    counts: SharedCounts,
    logins: Arc<Logins>,
}

impl Instance {
    fn new(port: u16) -> Self {
        let settings = RedisSettings {
            servers: RedisServers::One(RedisAddress {
                host: "127.0.0.1".into(),
                port,
            }),
            user: None,
            password: None,
            database: 0,
            tls: RedisTls::Plain,
            timeout: Duration::from_secs(5),
            instances: None,
            pepper: None,
        };
        let counts = SharedCounts::new(&settings, Instant::now(), "test".into());
        let logins = Logins::new(Some(fortress_model::Secret::new([7; 16]))).unwrap();
        counts.log().share(&logins);
        let (journal, _) = Journal::start(&[], 1).unwrap();
        counts.start(journal.notes()).unwrap();
        Self { counts, logins }
    }

    /// The same, once it has read what was.
    fn ready(port: u16) -> Self {
        let made = Self::new(port);
        let began = Instant::now();
        while !made.counts.log().is_read() {
            assert!(began.elapsed() < Duration::from_secs(20));
            std::thread::yield_now();
        }
        made
    }

    fn entry(&self, account: &str, address: &str) -> Entry {
        let who = Who {
            scope: "shop",
            account: Some(account.as_bytes()),
            address: address.parse().unwrap(),
            client: None,
            password: None,
        };
        Entry {
            course: "shop login".into(),
            rules: RULES,
            keys: self.logins.defence.keys(Kind::Login, &who),
            step: Step::Ask,
        }
    }

    async fn ask(&self, account: &str, address: &str) -> Result<Result<Charge, Refused>, Away> {
        let entry = self.entry(account, address);
        self.counts.log().take(entry, Taken::asked).await
    }

    async fn settle(&self, account: &str, address: &str, charge: &Charge, was: Attempt) -> Learnt {
        let entry = Entry {
            step: charge.end(was),
            ..self.entry(account, address)
        };
        self.counts.log().settle(entry).await
    }

    async fn fail(&self, account: &str, address: &str) -> bool {
        match self.ask(account, address).await.unwrap() {
            Ok(charge) => {
                self.settle(account, address, &charge, Attempt::Failed)
                    .await;
                true
            }
            Err(_) => false,
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.counts.stop();
    }
}

const RULES: Rules = Rules {
    kind: Kind::Login,
    delay: Delay {
        after: 3,
        first: Duration::from_secs(3_600),
        most: Duration::from_secs(3_600),
    },
    forget: Duration::from_secs(86_400),
    lock: None,
    suspicion: None,
    known: Duration::from_secs(86_400),
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn instances_know_of_each_other_s_logins() {
    let Some(server) = server() else { return };
    let instances: Vec<Instance> = (0..3).map(|_| Instance::ready(server.port)).collect();
    runtime().block_on(async {
        let mut passed = 0;
        for turn in 0..9 {
            passed += u32::from(instances[turn % 3].fail("ann", "192.0.2.1").await);
        }
        assert_eq!(passed, 3);
        // Whoever comes in is known to all of them.
        let charge = instances[0].ask("bob", "192.0.2.2").await.unwrap().unwrap();
        instances[0]
            .settle("bob", "192.0.2.2", &charge, Attempt::Succeeded)
            .await;
        for number in 0..20 {
            let from = format!("198.51.{number}.1");
            instances[1].fail("bob", &from).await;
        }
        assert!(!instances[2].fail("bob", "198.51.100.9").await);
        assert!(instances[2].fail("bob", "192.0.2.2").await);
        // One that begins now reads what was.
        let later = Instance::ready(server.port);
        assert!(!later.fail("ann", "192.0.2.1").await);
        assert!(later.fail("ann", "203.0.113.1").await);
    });
}

#[test]
fn a_connection_that_closes_is_noticed_without_a_call() {
    let Some(mut server) = server() else { return };
    let instance = Instance::ready(server.port);
    let counts = &instance.counts;
    assert!(runtime().block_on(instance.ask("ann", "192.0.2.1")).is_ok());
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
}

#[test]
fn a_thousand_attempts_at_once_over_three_instances() {
    let Some(server) = server() else { return };
    let instances: Vec<_> = (0..3)
        .map(|_| Arc::new(Instance::ready(server.port)))
        .collect();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime(), async {
        let mut asked = tokio::task::JoinSet::new();
        for turn in 0..999 {
            let instance = Arc::clone(&instances[turn % 3]);
            asked.spawn_local(async move { instance.ask("ann", "192.0.2.1").await.unwrap() });
        }
        let said = asked.join_all().await;
        assert_eq!(said.iter().filter(|said| said.is_ok()).count(), 3);
    });
}

#[test]
fn a_flushed_log_begins_anew_and_nobody_forgets() {
    let Some(server) = server() else { return };
    let (one, other) = (Instance::ready(server.port), Instance::ready(server.port));
    runtime().block_on(async {
        for _ in 0..3 {
            assert!(one.fail("ann", "192.0.2.1").await);
        }
        assert!(!other.fail("ann", "192.0.2.1").await);
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
        assert!(!one.fail("ann", "192.0.2.1").await);
        assert!(!other.fail("ann", "192.0.2.1").await);
        for _ in 0..3 {
            assert!(one.fail("bob", "192.0.2.1").await);
        }
        assert!(!other.fail("bob", "192.0.2.1").await);
    });
}

#[test]
fn what_somebody_else_writes_into_the_log_is_left_out() {
    let Some(server) = server() else { return };
    let one = Instance::ready(server.port);
    runtime().block_on(async {
        assert!(one.fail("ann", "192.0.2.1").await);
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        for number in 0..2_000_u64 {
            let mut add = redis::cmd("XADD");
            add.arg("fortress:{logins}").arg("*");
            match number % 4 {
                0 => add.arg("e").arg("garbage"),
                1 => add.arg("t").arg("1").arg("e").arg("short"),
                2 => add
                    .arg("t")
                    .arg("never")
                    .arg("e")
                    .arg([0_u8; 64].as_slice()),
                _ => add
                    .arg("t")
                    .arg(u64::MAX)
                    .arg("e")
                    .arg([7_u8; 300].as_slice()),
            };
            add.exec(&mut connection).unwrap();
        }
        let other = Instance::ready(server.port);
        assert!(other.fail("ann", "192.0.2.1").await);
        assert!(one.fail("ann", "192.0.2.1").await);
        let refused = other.ask("ann", "192.0.2.1").await.unwrap().unwrap_err();
        assert!(refused.wait <= Duration::from_secs(3_600), "{refused:?}");
        assert!(one.fail("bob", "192.0.2.1").await);
    });
}

#[test]
fn a_log_whose_ids_lie_far_ahead_begins_anew() {
    let Some(server) = server() else { return };
    let (one, other) = (Instance::ready(server.port), Instance::ready(server.port));
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port)).unwrap();
    let mut connection = client.get_connection().unwrap();
    runtime().block_on(async {
        for id in [
            "4102444800000-0",
            "9007199254740995-9007199254740993",
            "18446744073709551615-18446744073709551615",
        ] {
            let mut add = redis::cmd("XADD");
            add.arg("fortress:{logins}").arg(id).arg("x").arg("y");
            add.exec(&mut connection).unwrap();
            for _ in 0..3 {
                assert!(one.fail(id, "192.0.2.1").await);
            }
            let refused = other.ask(id, "192.0.2.1").await.unwrap().unwrap_err();
            assert!(refused.wait <= Duration::from_secs(3_600), "{refused:?}");
        }
    });
}

#[test]
fn what_an_attempt_was_is_told_when_redis_is_back_and_counts_once() {
    let Some(mut server) = server() else { return };
    let instance = Instance::ready(server.port);
    runtime().block_on(async {
        let mut charges = Vec::new();
        for _ in 0..3 {
            charges.push(instance.ask("ann", "192.0.2.1").await.unwrap().unwrap());
        }
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        while !instance.counts.is_away() {
            assert!(instance.ask("ann", "192.0.2.1").await.is_err());
        }
        // Three attempts were under way, and one of them came in.
        for (charge, was) in
            charges
                .iter()
                .zip([Attempt::Failed, Attempt::Failed, Attempt::Succeeded])
        {
            instance.settle("ann", "192.0.2.1", charge, was).await;
        }
        server.child = start(server.port).unwrap();
        let began = Instant::now();
        loop {
            match instance.ask("ann", "192.0.2.1").await {
                Ok(asked) => {
                    assert!(asked.is_ok());
                    break;
                }
                Err(Away) => assert!(began.elapsed() < Duration::from_secs(20)),
            }
        }
    });
}

#[test]
fn what_cannot_be_had_is_told_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let instance = Instance::new(port);
    let began = Instant::now();
    runtime().block_on(async {
        while !instance.counts.is_away() {
            assert!(instance.ask("ann", "192.0.2.1").await.is_err());
        }
        for _ in 0..100 {
            assert!(instance.ask("ann", "192.0.2.1").await.is_err());
        }
    });
    assert!(began.elapsed() < Duration::from_secs(20));
}
