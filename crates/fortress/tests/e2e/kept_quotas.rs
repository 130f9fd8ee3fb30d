//! Quotas outlive the process without Redis: in the store.

use crate::{
    instances::{Client, Instance, LISTEN},
    program::{Place, until},
    upstream::Upstream,
};

const LIMIT: usize = 40;

fn configuration(upstream: &Upstream) -> String {
    let url = upstream.url();
    format!(
        "{LISTEN}apis: {{ a: {{ spec: none, public: true, upstream: {url}, limits: [{{ per: header.X-Client, quota: {LIMIT}/month }}] }} }}\nstore: {{ embedded: fortress.db, key: file:store.key, pepper: file:pepper.key }}\n"
    )
}

fn ready(configuration: &str) -> Place {
    let place = Place::new();
    place.write("fortress.yaml", configuration);
    place.run(&["store", "init"]).expect(0);
    place
}

/// How many of so many requests pass.
fn passes(instance: &Instance, who: &str, times: usize) -> usize {
    let mut client = Client::to(instance.address);
    (0..times)
        .filter(|_| client.get("/", who).status == 200)
        .count()
}

#[test]
fn a_quota_goes_on_where_it_was_after_a_stop_and_after_a_crash() {
    let upstream = Upstream::start(|_| (200, "{}"));
    let configuration = configuration(&upstream);
    let mut instance = Instance::start_in(ready(&configuration), &configuration, |_| {});
    assert_eq!(passes(&instance, "alice", 15), 15);
    // A stop loses nothing, however soon it comes.
    instance.program.signal("TERM");
    assert!(instance.program.wait().success());
    let mut instance = instance.again(&configuration);
    assert_eq!(passes(&instance, "alice", 5), 5);
    // A crash loses nothing of what was written.
    until("it is written", || {
        instance.metric("fortress_quotas_written_total", &[]) >= 1
    });
    instance.program.signal("KILL");
    instance.program.wait();
    let mut instance = instance.again(&configuration);
    assert_eq!(passes(&instance, "alice", 10), 10);
    assert_eq!(passes(&instance, "bob", LIMIT + 5), LIMIT);
    // What is lost is what was taken since it was written last: at most a second's.
    until("it is written", || {
        instance.metric("fortress_quotas_written_total", &[]) >= 2
    });
    let late = passes(&instance, "alice", 4);
    instance.program.signal("KILL");
    instance.program.wait();
    let instance = instance.again(&configuration);
    let rest = passes(&instance, "alice", LIMIT);
    let left = LIMIT - 30;
    assert!((left - late..=left).contains(&rest), "{rest}");
    assert_eq!(passes(&instance, "bob", 5), 0);
}

#[test]
fn instances_with_one_store_learn_what_the_others_took() {
    let upstream = Upstream::start(|_| (200, "{}"));
    let first = ready(&configuration(&upstream));
    let shared = first.work().display().to_string();
    let configuration = ["fortress.db", "store.key", "pepper.key"]
        .iter()
        .fold(configuration(&upstream), |text, name| {
            text.replace(name, &format!("{shared}/{name}"))
        });
    let one = Instance::start_in(first, &configuration, |_| {});
    let other = Instance::start(&configuration);
    let is_written = |instance: &Instance| {
        until("it is written", || {
            instance.metric("fortress_quotas_written_total", &[]) >= 1
        });
    };
    assert_eq!(passes(&one, "alice", 30), 30);
    is_written(&one);
    // It has to write itself before it learns.
    assert_eq!(passes(&other, "alice", 1), 1);
    is_written(&other);
    assert_eq!(passes(&other, "alice", LIMIT), LIMIT - 31);
}

#[test]
fn requests_pass_and_are_counted_while_the_store_cannot_be_written() {
    let upstream = Upstream::start(|_| (200, "{}"));
    let configuration = configuration(&upstream);
    let instance = Instance::start_in(ready(&configuration), &configuration, |_| {});
    // Somebody holds the file: SQLite lets nobody write then.
    let database = instance.place.work().join("fortress.db");
    let held = std::process::Command::new("python3")
        .args(["-c", "import sqlite3,sys,time\nc = sqlite3.connect(sys.argv[1])\nc.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\ntime.sleep(60)"])
        .arg(&database)
        .stdout(std::process::Stdio::piped())
        .spawn();
    let Ok(mut held) = held else {
        return crate::redis::skipped("there is no python3");
    };
    let mut line = [0; 4];
    let out = held.stdout.as_mut().expect("piped");
    std::io::Read::read_exact(out, &mut line).expect("held");
    assert_eq!(passes(&instance, "alice", LIMIT + 5), LIMIT);
    held.kill().expect("killed");
    held.wait().expect("ended");
    until("it is written", || {
        instance.metric("fortress_quotas_written_total", &[]) >= 1
    });
}
