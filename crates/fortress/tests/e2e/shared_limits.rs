//! Limits over several instances of the real program, through a real Redis, also while it is hurt.
#![expect(clippy::print_stdout, reason = "says the figures")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    instances::{Answer, Client, Instance, LISTEN},
    program::{Place, until},
    redis::{Redis, skipped},
    upstream::Upstream,
};

fn upstream() -> Upstream {
    Upstream::start(|_| (200, "{}"))
}

/// One API for all clients, with these limits.
fn configuration(upstream: &Upstream, limits: &str, store: &str) -> String {
    let url = upstream.url();
    format!(
        "{LISTEN}apis: {{ a: {{ spec: none, public: true, upstream: {url}, limits: [{limits}] }} }}\nstore: {store}\n"
    )
}

/// Asks all instances from several threads at once for this long, or until nothing has passed for
/// `patience`; gives how many passed, and how many were asked.
fn hammer(instances: &[Instance], time: Duration, patience: Duration, who: &str) -> (u64, u64) {
    let (passed, asked) = (AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    let last = AtomicU64::new(0);
    let now = || u64::try_from(began.elapsed().as_millis()).expect("a short time");
    thread::scope(|scope| {
        for address in instances.iter().map(|instance| instance.address) {
            for _ in 0..2 {
                let (passed, asked, last, now) = (&passed, &asked, &last, &now);
                scope.spawn(move || {
                    let mut client = Client::to(address);
                    while began.elapsed() < time
                        && u128::from(now().saturating_sub(last.load(Relaxed)))
                            < patience.as_millis()
                    {
                        let answer = client.get("/", who);
                        asked.fetch_add(1, Relaxed);
                        match answer.status {
                            200 => {
                                passed.fetch_add(1, Relaxed);
                                last.store(now(), Relaxed);
                            }
                            429 => thread::sleep(Duration::from_millis(5)),
                            other => panic!("{other}: {}", answer.body),
                        }
                    }
                });
            }
        }
    });
    (passed.into_inner(), asked.into_inner())
}

fn calls(instances: &[Instance]) -> u64 {
    instances.iter().map(Instance::calls).sum()
}

#[test]
fn four_instances_share_one_quota_exactly() {
    const LIMIT: u64 = 3_000;
    let Some(redis) = Redis::start() else { return };
    let upstream = upstream();
    let limits = format!("{{ name: all, per: header.X-Client, quota: {LIMIT}/month }}");
    let store = format!("{{ redis: {{ url: '{}', timeout: 2s }} }}", redis.url());
    let configuration = configuration(&upstream, &limits, &store);
    let instances: Vec<_> = (0..4).map(|_| Instance::start(&configuration)).collect();
    let (passed, asked) = hammer(
        &instances,
        Duration::from_secs(60),
        Duration::from_secs(3),
        "alice",
    );
    let calls = calls(&instances);
    println!("{passed} of {LIMIT} passed; {calls} calls for {asked} requests");
    assert_eq!(passed, LIMIT);
    assert!(calls * 4 < asked, "{calls} calls for {asked} requests");
    until("it is told by which count", || {
        instances[0].journal().contains("\"counted\":\"shared\"")
    });
    until("all four are known", || {
        instances
            .iter()
            .all(|of| of.metric("fortress_redis_instances", &[]) == 4)
    });
    // Another client has a quota of its own, and one that stops gives back what it holds.
    let mut instances = instances;
    let mut last = instances.pop().expect("four");
    assert_eq!(Client::to(last.address).get("/", "bob").status, 200);
    last.program.signal("TERM");
    assert!(last.program.wait().success());
    until("three are known", || {
        instances[0].metric("fortress_redis_instances", &[]) == 3
    });
    let (passed, _) = hammer(
        &instances,
        Duration::from_secs(60),
        Duration::from_secs(3),
        "bob",
    );
    assert_eq!(passed, LIMIT - 1);
}

#[test]
fn a_rate_is_overshot_by_no_more_than_what_lies_in_leases() {
    // A lease is at most an eighth of the burst: 10 units.
    const RATE: u64 = 200;
    const BURST: u64 = 80;
    const LEASE: u64 = 10;
    let Some(redis) = Redis::start() else { return };
    let upstream = upstream();
    let limits = format!("{{ per: header.X-Client, rate: {RATE}/s, burst: {BURST} }}");
    let store = format!("{{ redis: {{ url: '{}', timeout: 2s }} }}", redis.url());
    let configuration = configuration(&upstream, &limits, &store);
    let mut instances: Vec<_> = (0..4).map(|_| Instance::start(&configuration)).collect();
    let began = Instant::now();
    let half = Duration::from_secs(2);
    let (first, asked) = hammer(&instances, half, half, "alice");
    println!("{first} of {asked} with {} calls", calls(&instances));
    // One dies with what it has leased.
    instances.pop().expect("four").program.signal("KILL");
    let (second, _) = hammer(&instances, half, half, "alice");
    let took = began.elapsed();
    let allowed = BURST + RATE * u64::try_from(took.as_millis()).expect("short") / 1_000;
    let passed = first + second;
    println!(
        "{passed} passed of {allowed} in {took:?}; the bound is {}",
        allowed + 4 * LEASE
    );
    assert!(passed <= allowed + 4 * LEASE, "{passed} of {allowed}");
    assert!(passed * 2 > allowed, "{passed} of {allowed}");
}

/// Three APIs that differ in what they do while Redis is away.
fn policies(upstream: &Upstream, redis: &str) -> String {
    let api = |policy: &str| {
        format!(
            "  {policy}: {{ spec: none, public: true, upstream: {}, base_path: /{policy}, on_fault: {{ limits: {policy} }}, limits: [{{ name: {policy}, per: header.X-Client, quota: 1000000/month }}] }}\n",
            upstream.url()
        )
    };
    format!(
        "{LISTEN}apis:\n{}{}{}store: {{ redis: {{ url: '{redis}', timeout: 50ms, instances: 2 }} }}\n",
        api("local"),
        api("closed"),
        api("open")
    )
}

/// What holds while Redis is away, and then again.
struct Hurt<'i> {
    instance: &'i Instance,
    slowest: Duration,
}

impl Hurt<'_> {
    fn ask(&mut self, path: &str) -> Answer {
        let answer = Client::to(self.instance.address).get(path, "alice");
        self.slowest = self.slowest.max(answer.took);
        answer
    }

    /// Asks until Redis is given up; then the policies hold.
    fn away(&mut self, what: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.instance.metric("fortress_redis_up", &[]) == 1 {
            assert!(Instant::now() < end, "{what}: not noticed");
            self.ask("/local");
        }
        // Whatever was leased before.
        let closed = self.ask("/closed");
        assert_eq!(closed.status, 503, "{what}: {}", closed.body);
        assert!(
            closed.body.contains("limit.unavailable"),
            "{what}: {}",
            closed.body
        );
        assert!(
            closed.head.contains("retry-after: 1\r\n"),
            "{what}: {}",
            closed.head
        );
        for path in ["/local", "/open"] {
            let answer = self.ask(path);
            assert_eq!(answer.status, 200, "{what}: {path} {}", answer.body);
        }
    }

    fn back(&mut self, what: &str) {
        until(what, || self.instance.metric("fortress_redis_up", &[]) == 1);
        // At first only some requests ask; of what is leased others pass. Who has not come before asks.
        let mut number = 0;
        let mut asks = || {
            number += 1;
            let who = format!("{what} {number}");
            Client::to(self.instance.address)
                .get("/closed", &who)
                .status
                == 200
        };
        until(what, || (0..20).all(|_| asks()));
    }
}

/// Ends the load, also where the test fails.
struct Ends<'d>(&'d AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn while_redis_is_hurt_requests_are_answered_and_limits_keep_their_policy() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let upstream = upstream();
    let instance = Instance::start(&policies(&upstream, &redis.url()));
    let mut hurt = Hurt {
        instance: &instance,
        slowest: Duration::ZERO,
    };
    hurt.back("at first");
    // The same requests go on all the time.
    let done = AtomicBool::new(false);
    let ends = Ends(&done);
    let (address, is_done) = (instance.address, &done);
    let slowest = thread::scope(|scope| {
        let load = scope.spawn(move || {
            let mut client = Client::to(address);
            let (mut slowest, mut number) = (Duration::ZERO, 0_u64);
            while !is_done.load(Relaxed) {
                let path = ["/local", "/open"][usize::from(number % 2 == 0)];
                let answer = client.get(path, &format!("client-{}", number % 50));
                assert_eq!(answer.status, 200, "{}", answer.body);
                slowest = slowest.max(answer.took);
                number += 1;
                thread::sleep(Duration::from_millis(2));
            }
            slowest
        });
        redis.signal("STOP");
        hurt.away("frozen");
        redis.signal("CONT");
        hurt.back("not frozen any more");
        redis.say("REPLICAOF 127.0.0.1 1");
        hurt.away("read-only");
        redis.say("REPLICAOF NO ONE");
        hurt.back("not read-only any more");
        redis.kill();
        hurt.away("killed");
        redis.restart();
        hurt.back("restarted, and empty");
        // Scripts and counts are gone; nobody notices.
        redis.say("SCRIPT FLUSH");
        redis.say("FLUSHALL");
        for _ in 0..20 {
            assert_eq!(hurt.ask("/closed").status, 200);
        }
        drop(ends);
        load.join().expect("the load")
    });
    println!("slowest: {:?} and {slowest:?}", hurt.slowest);
    assert!(slowest.max(hurt.slowest) < Duration::from_secs(2));
    for what in [
        "\"status_code\":\"store.away\"",
        "\"status_code\":\"store.back\"",
        "\"counted\":\"alone\"",
        "\"counted\":\"open\"",
        "\"counted\":\"closed\"",
        "\"counted\":\"shared\"",
        "READONLY",
    ] {
        until(what, || instance.journal().contains(what));
    }
    assert!(instance.metric("fortress_redis_losses_total", &[]) >= 3);
    for policy in ["local", "open", "closed"] {
        let label = format!("policy=\"{policy}\"");
        assert!(instance.metric("fortress_limit_fallbacks_total", &[&label]) > 0);
    }
}

/// Leaves units in the lease of each policy, hurts Redis, and asks nothing but `/closed` until it is
/// refused.
fn closes_with_units_in_the_lease(instance: &Instance, hurt: impl FnOnce()) {
    let mut client = Client::to(instance.address);
    for path in ["/local", "/open", "/closed"] {
        for _ in 0..100 {
            until("it passes", || client.get(path, "alice").status == 200);
        }
    }
    hurt();
    let began = Instant::now();
    let mut spent = 0;
    until("it is closed", || {
        let status = client.get("/closed", "alice").status;
        spent += u32::from(status == 200);
        status == 503
    });
    println!("closed after {:?} and {spent} requests", began.elapsed());
    for path in ["/local", "/open"] {
        assert_eq!(client.get(path, "alice").status, 200);
    }
}

#[test]
fn what_is_closed_refuses_as_soon_as_redis_is_known_to_be_away() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let upstream = upstream();
    let instance = Instance::start(&policies(&upstream, &redis.url()));
    let mut hurt = Hurt {
        instance: &instance,
        slowest: Duration::ZERO,
    };
    hurt.back("at first");
    closes_with_units_in_the_lease(&instance, || redis.kill());
    redis.restart();
    hurt.back("restarted");
    closes_with_units_in_the_lease(&instance, || redis.signal("STOP"));
    redis.signal("CONT");
    hurt.back("not frozen any more");
}

#[test]
fn alone_an_instance_keeps_to_its_part_of_a_limit() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let upstream = upstream();
    let store = format!(
        "{{ redis: {{ url: '{}', timeout: 2s, instances: 4 }} }}",
        redis.url()
    );
    let limits = "{ per: header.X-Client, quota: 100/month }";
    let instance = Instance::start(&configuration(&upstream, limits, &store));
    redis.kill();
    let mut client = Client::to(instance.address);
    let passed = (0..60)
        .filter(|_| client.get("/", "alice").status == 200)
        .count();
    assert_eq!(passed, 25);
}

#[test]
fn instances_know_how_many_they_are() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let upstream = upstream();
    let store = format!("{{ redis: {{ url: '{}', timeout: 2s }} }}", redis.url());
    let limits = "{ per: header.X-Client, quota: 100/month }";
    let configuration = configuration(&upstream, limits, &store);
    let instances = [
        Instance::start(&configuration),
        Instance::start(&configuration),
    ];
    until("both are known", || {
        instances
            .iter()
            .all(|of| of.metric("fortress_redis_instances", &[]) == 2)
    });
    redis.kill();
    for instance in &instances {
        let mut client = Client::to(instance.address);
        let passed = (0..60)
            .filter(|_| client.get("/", "alice").status == 200)
            .count();
        assert_eq!(passed, 50);
    }
}

#[test]
fn check_and_reload_say_what_changes_nothing() {
    let upstream = upstream();
    let place = Place::new();
    let place_of = |limits: &str, store: &str| {
        place.write("fortress.yaml", &configuration(&upstream, limits, store));
        let checked = place.run(&["check"]);
        format!("{}{}", checked.out, checked.err)
    };
    let redis = "{ redis: { url: 'redis://127.0.0.1:1' } }";
    let limit = "{ per: client, quota: 100/month }";
    let pointless = place_of("", redis);
    assert!(
        pointless.contains("`store.redis` shares nothing"),
        "{pointless}"
    );
    let in_flight = place_of("{ per: client, concurrent: 5 }", redis);
    assert!(!in_flight.contains("shares nothing"), "{in_flight}");
    let open = place_of(limit, redis);
    assert!(open.contains("neither a pepper nor a password"), "{open}");
    assert!(!open.contains("shares nothing"), "{open}");
    let instance = Instance::start(&configuration(&upstream, limit, redis));
    let other = "{ redis: { url: 'redis://127.0.0.1:1', timeout: 9ms } }";
    instance
        .place
        .write("fortress.yaml", &configuration(&upstream, limit, other));
    instance.program.signal("HUP");
    instance
        .program
        .logged("the former stays in use until the restart");
    // Without a store that instances share there is nothing to fall back from.
    let alone = "{ per: client, quota: 100/month, on_fault: closed }";
    let text = configuration(&upstream, alone, redis).replace("store:", "# store:");
    place.write("fortress.yaml", &text);
    let checked = place.run(&["check"]);
    let said = format!("{}{}", checked.out, checked.err);
    assert!(
        said.contains("`on_fault` of a limit changes nothing"),
        "{said}"
    );
}

#[test]
fn a_server_that_answers_wrongly_is_one_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut stream = stream;
                let mut piece = [0; 65_536];
                while let Ok(count) = stream.read(&mut piece) {
                    if piece[..count].windows(5).any(|word| word == b"HELLO")
                        && stream.write_all(b"%1\r\n+server\r\n+redis\r\n").is_err()
                    {
                        return;
                    }
                    // As many units as nobody asked for.
                    let commands = piece[..count].windows(7).filter(|word| *word == b"EVALSHA");
                    let wrong = b"*5\r\n:999999\r\n:1\r\n:0\r\n:0\r\n:1795910400000000\r\n";
                    if count == 0
                        || !commands
                            .map(|_| stream.write_all(wrong))
                            .all(|sent| sent.is_ok())
                    {
                        return;
                    }
                }
            });
        }
    });
    let upstream = upstream();
    let instance = Instance::start(&policies(&upstream, &url));
    let mut hurt = Hurt {
        instance: &instance,
        slowest: Duration::ZERO,
    };
    hurt.away("wrong");
    until("the journal says why", || {
        instance.journal().contains("its answer cannot be")
    });
}

#[test]
fn clocks_that_are_seconds_apart_share_one_window() {
    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    if !std::path::Path::new(LIBRARY).exists() {
        return skipped("there is no faketime; install it: apt-get install faketime");
    }
    let Some(redis) = Redis::start() else { return };
    let upstream = upstream();
    let store = format!("{{ redis: {{ url: '{}', timeout: 2s }} }}", redis.url());
    // A window of a second: clocks that are five seconds apart are never in the same.
    let limits = "{ per: header.X-Client, quota: 20/s }";
    let configuration = configuration(&upstream, limits, &store);
    let instances: Vec<_> = ["-5s", "+0s", "+5s"]
        .iter()
        .map(|apart| {
            Instance::start_in(Place::new(), &configuration, |command| {
                command.env("LD_PRELOAD", LIBRARY).env("FAKETIME", apart);
            })
        })
        .collect();
    let began = Instant::now();
    let (passed, _) = hammer(
        &instances,
        Duration::from_secs(4),
        Duration::from_secs(4),
        "alice",
    );
    let windows = began.elapsed().as_secs() + 2;
    println!("{passed} passed in at most {windows} windows of 20");
    assert!(passed <= 20 * windows, "{passed}");
    assert!(passed >= 20 * 2, "{passed}");
    for instance in &instances {
        assert_eq!(instance.metric("fortress_limit_fallbacks_total", &[]), 0);
        assert!(instance.calls() > 4);
    }
}
