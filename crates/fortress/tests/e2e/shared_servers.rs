//! The other ways to a Redis: in TLS as a user with few rights, behind a Sentinel, and as a Cluster.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    defence::Gate,
    instances::{Client, Instance, LISTEN},
    program::{Place, until},
    redis::{Redis, has, skipped},
    shared_logins::SLOW,
    upstream::Upstream,
};

const PASSWORD: &str = "correct-horse-battery";

/// What the manual says that a user needs.
const RIGHTS: &str = "~fortress:* +eval +evalsha +time +get +set +hmget +hgetall +hset +hdel +pexpire +zadd +zrem +zrange +zremrangebyscore +xadd +xrange +xrevrange +del";

fn configuration(upstream: &Upstream, quota: u32, store: &str) -> String {
    let url = upstream.url();
    format!(
        "{LISTEN}apis: {{ a: {{ spec: none, public: true, upstream: {url}, on_fault: {{ limits: closed }}, limits: [{{ per: header.X-Client, quota: {quota}/month }}, {{ per: header.X-Client, concurrent: 100 }}] }} }}\nstore: {store}\n"
    )
}

/// How many of so many requests pass.
fn passes(instance: &Instance, who: &str, times: usize) -> usize {
    let mut client = Client::to(instance.address);
    (0..times)
        .filter(|_| client.get("/", who).status == 200)
        .count()
}

/// An authority, and a certificate of its for this machine.
fn certificates(place: &Path) {
    let file = |name: &str| place.join(name);
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("parameters")
        .signed_by(&key, &authority)
        .expect("a certificate");
    fs::write(file("ca.pem"), authority.pem()).expect("written");
    fs::write(file("cert.pem"), leaf.pem()).expect("written");
    fs::write(file("key.pem"), key.serialize_pem()).expect("written");
}

#[test]
fn in_tls_as_a_user_with_few_rights() {
    let place = tempfile::tempdir().expect("a directory");
    let file = |name: &str| place.path().join(name).display().to_string();
    certificates(place.path());
    let password = format!(">{PASSWORD}");
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let mut arguments = vec![
        "--tls-port",
        "$PORT",
        "--port",
        "0",
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
        "--user",
        "default",
        "off",
        "--user",
        "fortress",
        "on",
        &password,
    ];
    arguments.extend(RIGHTS.split(' '));
    let Some(redis) = Redis::start_with(&arguments) else {
        return;
    };
    let upstream = Upstream::start(|_| (200, "{}"));
    let start = |password: &str, ca: &str| {
        let store = format!("{{ redis: {{ url: env:REDIS_URL, timeout: 2s{ca} }} }}");
        let url = format!("rediss://fortress:{password}@127.0.0.1:{}", redis.port);
        Instance::start_in(
            Place::new(),
            &configuration(&upstream, 10, &store),
            |command| {
                command.env("REDIS_URL", url);
            },
        )
    };
    let trusted = format!(", ca: {}", file("ca.pem"));
    let (one, other) = (start(PASSWORD, &trusted), start(PASSWORD, &trusted));
    assert_eq!(passes(&one, "alice", 6) + passes(&other, "alice", 6), 10);
    until("it is told by which count", || {
        one.journal().contains("\"counted\":\"shared\"")
    });
    // A wrong password and an authority that is not trusted are said, and close what is closed.
    let wrong = start("wrong-password", &trusted);
    assert_eq!(passes(&wrong, "alice", 3), 0);
    wrong.program.logged("WRONGPASS");
    let distrusted = start(PASSWORD, "");
    assert_eq!(passes(&distrusted, "alice", 3), 0);
    distrusted.program.logged("certificate");
    for instance in [one, other, wrong, distrusted] {
        for text in [instance.program.log(), instance.journal()] {
            assert!(
                !text.contains(PASSWORD) && !text.contains("wrong-password"),
                "{text}"
            );
        }
    }
}

#[test]
fn behind_a_sentinel_that_makes_another_the_master() {
    let Some(mut master) = Redis::start() else {
        return;
    };
    let port = master.port.to_string();
    let Some(replica) = Redis::start_with(&["--replicaof", "127.0.0.1", &port]) else {
        return;
    };
    until("the replica follows", || {
        master.say("INFO replication").contains("state=online")
    });
    let Some(sentinel) = Redis::sentinel(&[
        &format!("sentinel monitor main 127.0.0.1 {port} 1"),
        "sentinel down-after-milliseconds main 500",
        "sentinel failover-timeout main 3000",
    ]) else {
        return;
    };
    let of_replica = replica.port.to_string();
    until("the Sentinel knows the replica", || {
        sentinel.say("SENTINEL REPLICAS main").contains(&of_replica)
    });
    let upstream = Upstream::start(|_| (200, "{}"));
    let store = format!(
        "{{ redis: {{ sentinels: ['redis://127.0.0.1:{}'], master: main, timeout: 1s }} }}",
        sentinel.port
    );
    let instance = Instance::start(&configuration(&upstream, 20, &store));
    let before = passes(&instance, "alice", 8);
    assert_eq!(before, 8);
    // Written to the replica too, before the master dies.
    until("the replica has it", || {
        replica.say("DBSIZE").trim() != ":0"
    });
    master.kill();
    let began = Instant::now();
    let mut client = Client::to(instance.address);
    let mut after = 0;
    let mut is_back = false;
    while !is_back {
        assert!(
            began.elapsed() < Duration::from_secs(40),
            "{}",
            instance.program.log()
        );
        let answer = client.get("/", "alice");
        after += usize::from(answer.status == 200);
        assert!(answer.took < Duration::from_secs(4));
        is_back = client.get("/", "bob").status == 200
            && replica.say("ROLE").contains("master")
            && instance.metric("fortress_redis_up", &[]) == 1;
    }
    // At first only some requests ask.
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match client.get("/", "alice").status {
            200 => after += 1,
            429 => break,
            _ => assert!(Instant::now() < end, "never used up"),
        }
    }
    // Two units may have died in a lease.
    assert!((18..=20).contains(&(before + after)), "{before} {after}");
}

#[test]
fn in_a_cluster_of_three() {
    const CLIENTS: usize = 12;
    let Some(nodes) = cluster() else { return };
    let upstream = Upstream::start(|_| (200, "{}"));
    // One node is enough to find the others.
    let store = format!(
        "{{ redis: {{ cluster: ['{}'], timeout: 2s }} }}",
        nodes[0].url()
    );
    let configuration = configuration(&upstream, 5, &store);
    let instances = [
        Instance::start(&configuration),
        Instance::start(&configuration),
    ];
    for client in 0..CLIENTS {
        let who = format!("client-{client}");
        let passed: usize = instances.iter().map(|of| passes(of, &who, 4)).sum();
        assert_eq!(passed, 5, "{who}");
    }
    // Each node has some of them.
    for node in &nodes {
        assert_ne!(node.say("DBSIZE").trim(), ":0");
    }
}

#[test]
fn without_memory_for_counts_redis_is_away_until_it_has_some() {
    let Some(redis) = Redis::start() else { return };
    let upstream = Upstream::start(|_| (200, "{}"));
    let store = format!("{{ redis: {{ url: '{}', timeout: 2s }} }}", redis.url());
    let instance = Instance::start(&configuration(&upstream, 1_000, &store));
    let mut client = Client::to(instance.address);
    assert_eq!(client.get("/", "alice").status, 200);
    assert!(redis.say("CONFIG SET maxmemory 1").contains("OK"));
    until("it is noticed", || {
        client.get("/", "bob").status == 503 && instance.metric("fortress_redis_up", &[]) == 0
    });
    // Heartbeats go on; they are no sign that it counts again.
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        assert_eq!(instance.metric("fortress_redis_up", &[]), 0);
        assert_eq!(client.get("/", "carol").status, 503);
    }
    assert!(redis.say("CONFIG SET maxmemory 0").contains("OK"));
    until("it is back", || client.get("/", "dave").status == 200);
    let journal = instance.journal();
    assert_eq!(journal.matches("store.back").count(), 1, "{journal}");
}

#[test]
fn certificates_that_are_not_there_are_found_by_check() {
    let place = Place::new();
    place.write(
        "fortress.yaml",
        "version: 1\nlisten: [{ address: '127.0.0.1:0' }]\napis: { a: { spec: none, public: true, upstream: 'http://127.0.0.1:1', limits: [{ per: client, rate: 1/s }] } }\nstore: { redis: { url: 'rediss://127.0.0.1:1', ca: nope.pem } }\n",
    );
    let found = place.run(&["check"]).expect(1);
    let told = format!("{}{}", found.out, found.err);
    assert!(told.contains("nope.pem"), "{told}");
}

/// Three nodes that are one Cluster.
fn cluster() -> Option<[Redis; 3]> {
    if !has("redis-cli") {
        skipped("there is no redis-cli; install it: apt-get install redis-tools");
        return None;
    }
    let node = || {
        Redis::start_with(&[
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            "nodes.conf",
            "--cluster-node-timeout",
            "2000",
        ])
    };
    let (Some(one), Some(two), Some(three)) = (node(), node(), node()) else {
        return None;
    };
    let nodes = [one, two, three];
    let addresses: Vec<String> = nodes
        .iter()
        .map(|node| format!("127.0.0.1:{}", node.port))
        .collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .stdin(Stdio::null())
        .output()
        .expect("redis-cli");
    assert!(made.status.success(), "{made:?}");
    until("the Cluster is whole", || {
        nodes
            .iter()
            .all(|node| node.say("CLUSTER INFO").contains("cluster_state:ok"))
    });
    Some(nodes)
}

#[test]
fn logins_in_a_cluster_and_as_a_user_with_few_rights() {
    let tries = |store: &str| {
        let gates: Vec<Gate> = (0..2)
            .map(|_| {
                let place = Place::new();
                place.write("redis.txt", PASSWORD);
                Gate::start_with(SLOW, place, &format!("store: {{ redis: {store} }}\n"))
            })
            .collect();
        let tried = (0..8).filter(|turn| {
            let mut client = gates[turn % 2].client();
            let got = client.login("/login", "203.0.113.9", "ann", "guess");
            got.code == "login.rejected"
        });
        tried.count()
    };
    let password = format!(">{PASSWORD}");
    let mut arguments = vec![
        "--user", "default", "off", "--user", "fortress", "on", &password,
    ];
    arguments.extend(RIGHTS.split(' '));
    let Some(redis) = Redis::start_with(&arguments) else {
        return;
    };
    let user = "user: fortress, password: file:redis.txt";
    let few_rights = format!("{{ url: '{}', {user}, timeout: 2s }}", redis.url());
    assert_eq!(tries(&few_rights), 3);
    let nobody = format!("{{ url: '{}', timeout: 2s }}", redis.url());
    assert_eq!(tries(&nobody), 0);
    let Some(nodes) = cluster() else { return };
    let in_cluster = format!("{{ cluster: ['{}'], timeout: 2s }}", nodes[1].url());
    assert_eq!(tries(&in_cluster), 3);
}
