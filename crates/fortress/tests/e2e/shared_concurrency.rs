//! Requests in flight over several instances of the real program, through a real Redis, also while it
//! is hurt.
#![expect(clippy::print_stdout, reason = "says the figures")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    instances::{Client, Instance, LISTEN},
    program::until,
    redis::Redis,
    upstream::Upstream,
};

const LIMIT: usize = 8;

/// An upstream that keeps requests until it is told to let some of them go.
struct Gate {
    address: SocketAddr,
    count: Arc<Count>,
}

#[derive(Default)]
struct Count {
    inside: AtomicUsize,
    most: AtomicUsize,
    may_go: AtomicUsize,
}

impl Gate {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let count = Arc::new(Count::default());
        let counts = Arc::clone(&count);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counts = Arc::clone(&counts);
                thread::spawn(move || while counts.serve(&stream).is_some() {});
            }
        });
        Self { address, count }
    }

    fn inside(&self) -> usize {
        self.count.inside.load(SeqCst)
    }

    fn let_go(&self, requests: usize) {
        self.count.may_go.fetch_add(requests, SeqCst);
    }

    fn most(&self) -> usize {
        self.count.most.load(SeqCst)
    }
}

impl Count {
    /// One request; `None` when the other side is gone.
    fn serve(&self, mut stream: &TcpStream) -> Option<()> {
        let mut head = Vec::new();
        let mut piece = [0; 4_096];
        stream.set_read_timeout(None).ok()?;
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece).ok()? {
                0 => return None,
                count => head.extend_from_slice(&piece[..count]),
            }
        }
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(inside, SeqCst);
        let is_there = self.stays(stream);
        // Before the answer: the next request may come as soon as that is read.
        self.inside.fetch_sub(1, SeqCst);
        is_there?;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(answer).ok()
    }

    fn stays(&self, stream: &TcpStream) -> Option<()> {
        let wait = Duration::from_millis(2);
        stream.set_read_timeout(Some(wait)).ok()?;
        loop {
            let taken = self
                .may_go
                .fetch_update(SeqCst, SeqCst, |may| may.checked_sub(1));
            if taken.is_ok() {
                return Some(());
            }
            // Nothing comes, unless the other side goes.
            if stream.peek(&mut [0]).is_ok() {
                return None;
            }
        }
    }
}

fn configuration(upstream: &str, limit: usize, redis: &str, more: &str) -> String {
    format!(
        "{LISTEN}apis: {{ a: {{ spec: none, public: true, upstream: {{ endpoints: [{{ url: '{upstream}' }}], timeouts: {{ first_byte: 120s, total: 180s }} }}, limits: [{{ name: busy, per: header.X-Client, concurrent: {limit} }}] }} }}\nstore: {{ redis: {{ url: '{redis}', timeout: 2s{more} }} }}\n"
    )
}

/// Clients that ask for as long as the test lasts, and again when they are refused.
struct Crowd {
    is_over: Arc<AtomicBool>,
}

impl Crowd {
    fn of(clients: usize, instance: &Instance) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        for _ in 0..clients {
            let (is_over, address) = (Arc::clone(&is_over), instance.address);
            thread::spawn(move || {
                let mut client = Client::to(address);
                while !is_over.load(SeqCst) {
                    match client.try_get("/", "alice") {
                        Some(answer) if answer.status == 429 => {
                            assert!(answer.body.contains("limit.concurrency"));
                            thread::sleep(Duration::from_millis(5));
                        }
                        Some(answer) => assert_eq!(answer.status, 200, "{}", answer.body),
                        // It was killed.
                        None => return,
                    }
                }
            });
        }
        Self { is_over }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.is_over.store(true, SeqCst);
    }
}

/// So many requests that stay; on the way back from an outage some are refused at first.
fn hold(instance: &Instance, gate: &Gate, requests: usize) {
    for _ in 0..requests {
        let (address, inside) = (instance.address, gate.inside());
        thread::spawn(move || {
            let mut client = Client::to(address);
            while client
                .try_get("/", "alice")
                .is_some_and(|answer| answer.status == 429)
            {
                thread::sleep(Duration::from_millis(5));
            }
        });
        until("it is with the upstream", || gate.inside() == inside + 1);
    }
}

fn status(instance: &Instance) -> u16 {
    Client::to(instance.address).get("/", "alice").status
}

/// How many requests Redis knows of.
fn known(redis: &Redis) -> usize {
    let said = redis.say("KEYS fortress:c:*");
    let Some(key) = said.lines().find(|line| line.starts_with("fortress:c:")) else {
        return 0;
    };
    let values = redis.say(&format!("HVALS {key}"));
    let counts = values.lines().filter(|line| line.contains(' '));
    counts
        .filter_map(|line| line.split(' ').next()?.parse::<usize>().ok())
        .sum()
}

#[test]
fn four_instances_share_what_is_in_flight() {
    let Some(redis) = Redis::start() else { return };
    let gate = Gate::start();
    let url = format!("http://{}", gate.address);
    let configuration = configuration(&url, LIMIT, &redis.url(), "");
    let instances: Vec<_> = (0..4).map(|_| Instance::start(&configuration)).collect();
    let crowds: Vec<_> = instances.iter().map(|of| Crowd::of(5, of)).collect();
    // Whenever some go others come, until all of the limit is used again.
    for round in 0..30 {
        until("all of the limit is used", || gate.inside() == LIMIT);
        gate.let_go(1 + round % LIMIT);
        until("they went", || gate.count.may_go.load(SeqCst) == 0);
    }
    until("all of the limit is used", || gate.inside() == LIMIT);
    assert_eq!(gate.most(), LIMIT);
    let sum = |name: &str| instances.iter().map(|of| of.metric(name, &[])).sum::<u64>();
    assert_eq!(sum("fortress_limit_fallbacks_total"), 0);
    println!(
        "{} calls for {} requests",
        instances.iter().map(Instance::calls).sum::<u64>(),
        sum("fortress_requests_total")
    );
    let refused = Client::to(instances[0].address).get("/", "alice");
    assert_eq!(refused.status, 429);
    assert!(
        refused.head.contains("retry-after: 1\r\n"),
        "{}",
        refused.head
    );
    // Another client has a limit of its own.
    let (address, inside) = (instances[0].address, gate.inside());
    thread::spawn(move || Client::to(address).try_get("/", "bob").map(drop));
    until("another client passes", || gate.inside() == inside + 1);
    drop(crowds);
    gate.let_go(1_000);
    until("the journal says by which count", || {
        let journal = instances[0].journal();
        let of_limit = journal.lines().filter(|line| line.contains("\"busy\""));
        let mut shared = of_limit.filter(|line| line.contains("\"counted\":\"shared\""));
        shared.any(|line| line.contains("limit.concurrency"))
    });
    until("Redis holds nothing of it", || known(&redis) == 0);
}

#[test]
fn one_after_the_other_through_all_instances() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Upstream::start(|_| (200, "{}"));
    let configuration = configuration(&upstream.url(), 1, &redis.url(), "");
    let instances: Vec<_> = (0..3).map(|_| Instance::start(&configuration)).collect();
    let mut clients: Vec<_> = instances.iter().map(|of| Client::to(of.address)).collect();
    let statuses = (0..300).map(|number| clients[number % 3].get("/", "alice").status);
    let refused = statuses.filter(|status| *status == 429).count();
    println!("{refused} of 300 refused");
    // None, unless the machine stops for as long as a request that was refused is tried again.
    assert!(refused <= 3, "{refused}");
}

#[test]
fn what_a_killed_instance_had_in_flight_is_free_again_within_seconds() {
    let Some(redis) = Redis::start() else { return };
    let gate = Gate::start();
    let url = format!("http://{}", gate.address);
    let configuration = configuration(&url, LIMIT, &redis.url(), "");
    let mut dies = Instance::start(&configuration);
    let lives = Instance::start(&configuration);
    hold(&dies, &gate, 5);
    hold(&lives, &gate, 3);
    assert_eq!(status(&lives), 429);
    let began = Instant::now();
    dies.program.signal("KILL");
    dies.program.wait();
    let crowd = Crowd::of(7, &lives);
    until("the other has all of it", || gate.inside() == LIMIT);
    let took = began.elapsed();
    println!("free again after {took:?}");
    assert_eq!(gate.most(), LIMIT);
    // What the manual says, and some time for a busy machine.
    assert!(took < Duration::from_secs(5 + 5), "{took:?}");
    drop(crowd);
    gate.let_go(1_000);
}

#[test]
fn what_was_in_flight_counts_when_redis_is_back() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let gate = Gate::start();
    let url = format!("http://{}", gate.address);
    let configuration = configuration(&url, LIMIT, &redis.url(), ", instances: 2");
    let (one, other) = (
        Instance::start(&configuration),
        Instance::start(&configuration),
    );
    hold(&one, &gate, 5);
    hold(&other, &gate, 1);
    assert_eq!(known(&redis), 6);
    redis.kill();
    let up = |instance: &Instance| instance.metric("fortress_redis_up", &[]);
    until("it is missed", || up(&one) == 0 && up(&other) == 0);
    // The half of the limit is 4: one has more already, the other may have three more.
    assert_eq!(status(&one), 429);
    hold(&other, &gate, 3);
    assert_eq!(status(&other), 429);
    redis.restart();
    until("what is in flight is told again", || known(&redis) == 9);
    let is_shared = |instance: &Instance| {
        status(instance) == 429
            && instance
                .journal()
                .lines()
                .next_back()
                .is_some_and(|line| line.contains("\"counted\":\"shared\""))
    };
    until("both ask again", || is_shared(&one) && is_shared(&other));
    gate.let_go(2);
    until("two have gone", || known(&redis) == 7);
    hold(&one, &gate, 1);
    assert_eq!(status(&other), 429);
    // A Redis that was emptied learns it within a second.
    redis.say("FLUSHALL");
    until("it is told again", || known(&redis) == LIMIT);
    assert_eq!((status(&one), status(&other)), (429, 429));
    gate.let_go(1_000);
}
