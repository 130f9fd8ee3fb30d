//! A hundred thousand clients at two instances of the real program, which share one limit through a
//! real Redis. In a debug build each asks once, and a sample of them more often.
#![expect(clippy::print_stdout, reason = "says the figures")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use crate::{
    instances::{Instance, LISTEN},
    redis::Redis,
    upstream::Upstream,
};

const CLIENTS: u32 = 100_000;
/// Connections over which they come: a part of [`CLIENTS`] without a rest.
const CONNECTIONS: u32 = 20;
/// Every so-manieth of them asks again.
const SAMPLE: usize = 50;
/// What an instance may grow by, in KiB: its tables are taken before anybody comes, so that it is what a
/// few connections hold. A hundred bytes for each of its clients would be more.
const GROWTH: u64 = 4 << 10;

#[test]
fn a_hundred_thousand_clients_have_a_share_each_and_no_more() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Upstream::start(|_| (200, "{}"));
    let configuration = format!(
        "{}trusted_proxies: [127.0.0.1/32]
apis: {{ a: {{ spec: none, public: true, upstream: {}, limits: [{{ per: client, rate: 1/h, burst: 1, headers: none }}] }} }}
defaults: {{ waf: {{ mode: 'off' }} }}
store: {{ redis: {{ url: '{}', timeout: 5s }} }}
",
        LISTEN.replace("journal: [{ file: journal.ndjson }]\n", ""),
        upstream.url(),
        redis.url()
    );
    let instances = [
        Instance::start(&configuration),
        Instance::start(&configuration),
    ];
    // Once around, so that what the first requests take is not counted.
    for instance in &instances {
        ask(instance.address, CLIENTS..CLIENTS + 500, 1);
    }
    let before = instances.each_ref().map(resident);
    let began = Instant::now();
    // In turn at one instance and the other, over several connections each.
    let passed = thread::scope(|scope| {
        let part = CLIENTS / CONNECTIONS;
        let asking: Vec<_> = (0..CONNECTIONS)
            .zip(instances.iter().cycle().map(|instance| instance.address))
            .map(|(number, address)| {
                scope.spawn(move || ask(address, number * part..(number + 1) * part, 1))
            })
            .collect();
        let statuses = asking
            .into_iter()
            .flat_map(|one| one.join().expect("asked"));
        statuses.filter(|status| *status == 200).count()
    });
    let took = began.elapsed();
    assert_eq!(passed, usize::try_from(CLIENTS).expect("a count"));
    // Whoever had its share at one instance has none at the other, nor at the first.
    for (index, instance) in instances.iter().enumerate() {
        let again = ask(instance.address, 0..CLIENTS, SAMPLE);
        let refused = again.iter().filter(|status| **status == 429).count();
        assert_eq!(refused, again.len(), "at instance {index}");
    }
    let grown: Vec<u64> = instances
        .iter()
        .zip(before)
        .map(|(instance, before)| resident(instance).saturating_sub(before))
        .collect();
    println!("{CLIENTS} clients in {took:?}; the instances grew by {grown:?} KiB");
    assert!(grown.iter().all(|grown| *grown < GROWTH), "{grown:?}");
    for instance in &instances {
        assert_eq!(instance.metric("fortress_limit_fallbacks_total", &[]), 0);
    }
    let space = redis.say("INFO keyspace");
    let of = |name: &str| -> u64 {
        let value = space
            .split([',', ':', '\r'])
            .find_map(|one| one.strip_prefix(name));
        value.expect(name).parse().expect("a count")
    };
    assert!(of("keys=") >= u64::from(CLIENTS), "{space}");
    assert_eq!(of("keys="), of("expires="), "{space}");
}

/// Every so-manieth of the clients asks once, over one connection that stays open; what they got.
fn ask(address: SocketAddr, clients: Range<u32>, step: usize) -> Vec<u16> {
    /// Requests that are under way at once.
    const AT_ONCE: usize = 32;
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("a time");
    let mut stream = BufReader::new(stream);
    let clients: Vec<u32> = clients.step_by(step).collect();
    let mut statuses = Vec::with_capacity(clients.len());
    for some in clients.chunks(AT_ONCE) {
        let requests: String = some
            .iter()
            .map(|client| {
                let name = Ipv4Addr::from(0x6400_0000 + client);
                format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {name}\r\n\r\n")
            })
            .collect();
        let sent = stream.get_mut().write_all(requests.as_bytes());
        sent.expect("sent");
        statuses.extend(some.iter().map(|_| status(&mut stream)));
    }
    statuses
}

/// The status of the next answer; its body is passed over.
fn status(stream: &mut BufReader<TcpStream>) -> u16 {
    let (mut line, mut status, mut length) = (String::new(), 0, 0);
    loop {
        line.clear();
        stream.read_line(&mut line).expect("an answer");
        let text = line.trim_end().to_ascii_lowercase();
        if let Some(rest) = text.strip_prefix("http/1.1 ") {
            let number = rest.split(' ').next().expect("a word");
            status = number.parse().expect("a status");
        } else if let Some(value) = text.strip_prefix("content-length: ") {
            length = value.parse().expect("a length");
        } else if text.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    status
}

/// What a process holds in memory, in KiB.
fn resident(instance: &Instance) -> u64 {
    let path = format!("/proc/{}/status", instance.program.id());
    let text = fs::read_to_string(path).expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.expect("VmRSS").parse().expect("a size")
}
