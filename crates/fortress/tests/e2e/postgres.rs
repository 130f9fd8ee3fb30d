//! The program with its store in PostgreSQL.

use std::time::{Duration, Instant};

use crate::{
    defence::Gate,
    postgres_server::{MISSING, Postgres},
    program::{Place, until},
    redis::skipped,
};

#[test]
fn the_program_serves_with_its_store_in_postgres() {
    const STORE: &str =
        "store: { postgres: file:url.txt, key: file:store.key, pepper: file:pepper.key }\n";
    const LOCKED: &str = "{ login: { login: { account: body.username, failure: [401], lock: { after: 3, for: 10min } } }, getThing: { limits: [{ name: few, per: client, quota: 3/month }] } }";
    let Some(postgres) = Postgres::start(&[], |_| {}) else {
        return skipped(MISSING);
    };
    let place = Place::new();
    place.write("url.txt", &postgres.url("postgres"));
    place.write(
        "store.yaml",
        &format!("version: 1\nlisten: [{{ address: '127.0.0.1:0' }}]\napis: {{ a: {{ spec: none, public: true, upstream: 'http://127.0.0.1:1' }} }}\n{STORE}"),
    );
    until("PostgreSQL answers and takes the store", || {
        let made = place.run(&["store", "init", "--config", "store.yaml"]);
        made.code == 0
    });
    let gate = Gate::start_with(LOCKED, place, STORE);
    let mut client = gate.client();
    for number in 0..3 {
        let from = format!("203.0.{number}.1");
        let got = client.login("/login", &from, "ann", "guess");
        assert_eq!(got.code, "login.rejected");
        assert_eq!(client.get("/things/1", "198.51.100.7").status, 200);
    }
    let quota = client.get("/things/1", "198.51.100.7");
    assert_eq!((quota.status, quota.code.as_str()), (429, "limit.quota"));
    let locked = client.login("/login", "198.51.100.7", "ann", "right");
    assert_eq!(locked.code, "login.locked");
    // What was counted, and the lock, are there again after a restart.
    let place = gate.end();
    let gate = Gate::start_with(LOCKED, place, STORE);
    let mut client = gate.client();
    let locked = client.login("/login", "198.51.100.7", "ann", "right");
    assert_eq!(locked.code, "login.locked");
    assert_eq!(client.get("/things/1", "198.51.100.7").status, 429);
    // A reload goes through the store too, and a stop does not wait for one that is silent.
    gate.program.signal("HUP");
    gate.program.logged("reloaded in");
    assert_eq!(client.get("/things/1", "198.51.100.7").status, 429);
    postgres.signal("STOP");
    let began = Instant::now();
    drop(gate.end());
    let took = began.elapsed();
    postgres.signal("CONT");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
