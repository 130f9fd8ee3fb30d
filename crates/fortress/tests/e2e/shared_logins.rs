//! Logins over several instances of the real program, through a real Redis, also while it is hurt.
#![expect(clippy::print_stdout, reason = "says the figures")]

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use crate::{
    defence::{Gate, LOGIN, address, stuffing},
    program::{Place, until},
    redis::Redis,
};

fn gates(count: usize, operations: &str, redis: &Redis) -> Vec<Gate> {
    let store = format!(
        "store: {{ redis: {{ url: '{}', timeout: 2s }} }}\n",
        redis.url()
    );
    (0..count)
        .map(|_| Gate::start_with(operations, Place::new(), &store))
        .collect()
}

/// Failures cost an hour from the fourth on.
pub(crate) const SLOW: &str = "{ login: { login: { account: body.username, failure: [401], delay: { first: 1h, most: 1h }, stuffing: { mode: 'off' } } } }";

#[test]
fn whoever_guesses_has_as_many_tries_at_four_instances_as_at_one() {
    let Some(redis) = Redis::start() else { return };
    let gates = gates(4, SLOW, &redis);
    let tried = AtomicUsize::new(0);
    thread::scope(|scope| {
        for gate in &gates {
            for thread in 0..4 {
                let (mut client, tried) = (gate.client(), &tried);
                scope.spawn(move || {
                    for guess in 0..10 {
                        let guess = format!("guess {thread} {guess}");
                        let got = client.login("/login", "203.0.113.9", "ann", &guess);
                        match got.code.as_str() {
                            "login.rejected" => tried.fetch_add(1, Relaxed),
                            "login.delayed" => 0,
                            other => panic!("{other}: {got:?}"),
                        };
                    }
                });
            }
        }
    });
    println!("160 guesses at 4 instances at once: {tried:?} were tried");
    assert_eq!(tried.into_inner(), 3);
    let seen: usize = gates.iter().map(|gate| gate.upstream.seen().len()).sum();
    assert_eq!(seen, 3);
    // Who comes in at one instance is at home at all of them, and failures there are forgotten.
    let login = |gate: &Gate, password| {
        gate.client()
            .login("/login", "198.51.100.7", "bob", password)
            .code
    };
    for turn in 0..8 {
        for _ in 0..2 {
            assert_eq!(login(&gates[turn % 4], "wrong"), "login.rejected");
        }
        assert_eq!(login(&gates[(turn + 1) % 4], "right"), "");
    }
}

#[test]
fn an_account_that_one_instance_locks_is_locked_at_all() {
    const LOCKED: &str = "{ login: { login: { account: body.username, failure: [401], lock: { after: 6, for: 10min }, delay: { after: 20 }, stuffing: { mode: 'off' } } } }";
    let Some(redis) = Redis::start() else { return };
    let gates = gates(3, LOCKED, &redis);
    let codes: Vec<String> = (0..12)
        .map(|number| {
            let from = address(104, number);
            let mut client = gates[number % 3].client();
            client.login("/login", &from, "ann", "guess").code
        })
        .collect();
    let tried = codes.iter().filter(|code| *code == "login.rejected");
    assert_eq!(tried.count(), 6, "{codes:?}");
    for gate in &gates {
        let got = gate.client().login("/login", "203.0.113.9", "ann", "right");
        assert_eq!(got.code, "login.locked");
        assert!(got.wait > Duration::from_secs(500), "{:?}", got.wait);
        let got = gate.client().login("/login", "203.0.113.9", "bob", "right");
        assert_eq!(got.status, 200);
    }
}

#[test]
fn lists_of_accounts_over_four_instances_are_noticed_and_people_come_in() {
    let Some(redis) = Redis::start() else { return };
    stuffing(gates(4, LOGIN, &redis));
}

#[test]
fn ids_in_a_row_over_three_instances_are_noticed() {
    let Some(redis) = Redis::start() else { return };
    let gates = gates(3, "{}", &redis);
    let mut clients: Vec<_> = gates.iter().map(Gate::client).collect();
    let began = Instant::now();
    let mut found = 0;
    for id in 1_000.. {
        let got = clients[id % 3].get(&format!("/things/{id}"), "203.0.113.9");
        if got.status == 429 {
            assert_eq!(got.code, "object.enumeration");
            break;
        }
        found += 1;
        // What one has seen is heard of within a look.
        thread::sleep(Duration::from_millis(20));
    }
    println!(
        "{found} ids in a row over 3 instances, in {:?}",
        began.elapsed()
    );
    assert!((45..90).contains(&found), "{found}");
    until("all of them know", || {
        clients
            .iter_mut()
            .all(|client| client.get("/things/9999", "203.0.113.9").status == 429)
    });
    assert_eq!(clients[0].get("/things/1", "198.51.100.7").status, 200);
}

#[test]
fn while_redis_is_gone_nobody_is_let_in_unless_that_is_said() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let closed = gates(2, SLOW, &redis);
    let said = |policy: &str| {
        SLOW.replace(
            "login: { account",
            &format!("login: {{ on_fault: {policy}, account"),
        )
    };
    let local = gates(1, &said("local"), &redis);
    let open = gates(1, &said("open"), &redis);
    let login = |gate: &Gate, account: &str, password: &str| {
        gate.client()
            .login("/login", "203.0.113.9", account, password)
    };
    for _ in 0..2 {
        assert_eq!(login(&closed[0], "ann", "guess").code, "login.rejected");
    }
    redis.kill();
    until("it is noticed", || {
        login(&closed[0], "zoe", "right").status == 503
    });
    let got = login(&closed[1], "zoe", "right");
    assert_eq!((got.status, got.code.as_str()), (503, "login.uncounted"));
    // By what it knows: two failures, and one more that costs nothing.
    let codes: Vec<String> = (0..4)
        .map(|_| login(&local[0], "ann", "guess").code)
        .collect();
    assert_eq!(codes[0], "login.rejected", "{codes:?}");
    assert_eq!(codes[3], "login.delayed", "{codes:?}");
    // Once Redis is given up, nothing that was known refuses anybody.
    open[0].program.logged("Redis is left alone");
    for _ in 0..8 {
        assert_eq!(login(&open[0], "ann", "guess").code, "login.rejected");
    }
    redis.restart();
    for gate in closed.iter().chain(&local).chain(&open) {
        until("it is back", || login(gate, "bob", "right").status == 200);
    }
    // What one let through alone, the others have heard of.
    let alone = |gate: &Gate| login(gate, "ann", "guess").code;
    until("told by who counted alone", || {
        alone(&closed[1]) == "login.delayed"
    });
    // It came back empty; those who run have forgotten nothing.
    assert_eq!(alone(&closed[0]), "login.delayed");
    assert!(closed[1].journal().contains("login.uncounted"));
    assert!(
        local[0]
            .journal()
            .contains("counted by this instance alone")
    );
    assert!(open[0].journal().contains("let through: Redis is away"));
}

#[test]
fn nobody_is_refused_because_redis_is_not_quick() {
    let Some(redis) = Redis::start() else { return };
    // The default time-out, which limits go by.
    let store = format!("store: {{ redis: '{}' }}\n", redis.url());
    let gates: Vec<Gate> = (0..2)
        .map(|_| Gate::start_with(LOGIN, Place::new(), &store))
        .collect();
    thread::scope(|scope| {
        for people in 0..8_usize {
            let mut client = gates[people % 2].client();
            scope.spawn(move || {
                for person in 0..40 {
                    let home = address(60, people * 40 + person);
                    let name = format!("p{people}-{person}");
                    let got = client.login("/login", &home, &name, "right");
                    assert_eq!(got.status, 200, "{got:?}");
                }
            });
        }
    });
}

#[test]
fn a_frozen_redis_delays_no_login_beyond_its_timeout() {
    let Some(redis) = Redis::start() else { return };
    let gates = gates(1, SLOW, &redis);
    let mut client = gates[0].client();
    assert_eq!(
        client.login("/login", "203.0.113.9", "zoe", "right").status,
        200
    );
    redis.signal("STOP");
    let mut longest = Duration::ZERO;
    for number in 0..20 {
        let began = Instant::now();
        let got = client.login("/login", "203.0.113.9", &format!("p{number}"), "right");
        assert_eq!((got.status, got.code.as_str()), (503, "login.uncounted"));
        longest = longest.max(began.elapsed());
    }
    redis.signal("CONT");
    until("it is back", || {
        client.login("/login", "203.0.113.9", "zoe", "right").status == 200
    });
    println!("while Redis was frozen the slowest of 20 logins took {longest:?}");
    assert!(longest < Duration::from_secs(10), "{longest:?}");
}

#[test]
fn what_is_known_of_logins_outlives_all_instances() {
    let Some(redis) = Redis::start() else { return };
    let before = gates(2, SLOW, &redis);
    let login = |gate: &Gate, password: &str| {
        gate.client()
            .login("/login", "203.0.113.9", "ann", password)
            .code
    };
    for turn in 0..3 {
        assert_eq!(login(&before[turn % 2], "guess"), "login.rejected");
    }
    // Killed, not stopped.
    drop(before);
    let after = gates(1, SLOW, &redis);
    assert_eq!(login(&after[0], "right"), "login.delayed");
}
