//! People and attackers beside each other, under simulated time.

use proptest::prelude::*;

use super::*;

/// What many accounts and passwords of one source are.
pub(super) const SUSPICION: Suspicion = Suspicion {
    accounts: 10,
    passwords: 10,
    fall: 50,
    within: Duration::from_secs(600),
    hold: Duration::from_secs(900),
    response: Response::Block,
};

pub(super) const RULES: Rules = Rules {
    kind: Kind::Login,
    delay: Delay {
        after: 3,
        first: Duration::from_secs(1),
        most: Duration::from_secs(900),
    },
    forget: Duration::from_secs(3_600),
    lock: None,
    suspicion: Some(SUSPICION),
    known: Duration::from_secs(30 * 86_400),
};

/// People and attackers under simulated time.
struct World {
    defence: Defence,
    trend: Trend,
    rules: Rules,
    now: u64,
}

impl World {
    fn new(rules: Rules) -> Self {
        Self {
            defence: Defence::new(Secret::new([7; 16])),
            trend: Trend::default(),
            rules,
            now: 0,
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
    }

    fn ask(&self, account: &str, address: &str, password: &str) -> Result<Charge, Refused> {
        let who = Who {
            scope: "api",
            account: Some(account.as_bytes()),
            address: address.parse().unwrap(),
            client: None,
            password: Some(password.as_bytes()),
        };
        let keys = self.defence.keys(self.rules.kind, &who);
        self.defence.ask(&self.rules, &self.trend, &keys, self.now)
    }

    fn settle(&self, charge: Charge, attempt: Attempt) -> Learnt {
        self.defence
            .settle(&self.rules, &self.trend, &charge, attempt, self.now)
    }

    fn attempt(&self, account: &str, address: &str, attempt: Attempt) -> Result<Learnt, Refused> {
        let password = format!("{account} {address} {}", self.now);
        let charge = self.ask(account, address, &password)?;
        Ok(self.settle(charge, attempt))
    }

    fn fail(&self, account: &str, address: &str) -> Result<Learnt, Refused> {
        self.attempt(account, address, Attempt::Failed)
    }

    fn succeed(&self, account: &str, address: &str) -> Result<Learnt, Refused> {
        self.attempt(account, address, Attempt::Succeeded)
    }
}

fn address(number: u32) -> String {
    let [_, b, c, d] = number.to_be_bytes();
    format!("10.{b}.{c}.{d}")
}

#[test]
fn three_are_free_and_then_the_delay_doubles() {
    let mut world = World::new(RULES);
    for _ in 0..3 {
        world.fail("ann", "192.0.2.1").unwrap();
    }
    let refused = world.fail("ann", "192.0.2.1").unwrap_err();
    assert_eq!(
        refused.why,
        Why::Delayed {
            by: By::Pair,
            failures: 3
        }
    );
    assert_eq!(refused.wait, Duration::from_secs(1));
    // Whoever asks too early does not make it worse.
    for _ in 0..1_000 {
        assert!(world.fail("ANN ", "192.0.2.1").is_err());
    }
    let mut tries = 0;
    let begin = world.now;
    while world.now < begin + 3_600 * SECOND {
        match world.fail("ann", "192.0.2.1") {
            Ok(_) => tries += 1,
            Err(_) => world.pass(1),
        }
    }
    assert!(tries < 16, "{tries} in an hour");
}

#[test]
fn success_resets() {
    let mut world = World::new(RULES);
    for _ in 0..10 {
        for _ in 0..2 {
            world.fail("ann", "192.0.2.1").unwrap();
        }
        world.succeed("ann", "192.0.2.1").unwrap();
        world.pass(1);
    }
}

#[test]
fn many_at_once_do_not_pass_before_the_first_is_judged() {
    let world = World::new(RULES);
    let passed: Vec<_> = (0..1_000)
        .filter_map(|number| {
            world
                .ask("ann", "192.0.2.1", &format!("guess {number}"))
                .ok()
        })
        .collect();
    assert_eq!(passed.len(), 3);
    // The same from a thousand addresses.
    let passed = (0..1_000)
        .filter(|number| {
            world
                .ask("bob", &address(*number * 65_536), "guess")
                .is_ok()
        })
        .count();
    assert_eq!(passed, 9);
}

#[test]
fn a_program_at_home_logs_in_several_times_at_once() {
    let world = World::new(RULES);
    world.succeed("ann", "192.0.2.1").unwrap();
    let at_once = || {
        (0..20)
            .filter_map(|_| world.ask("ann", "192.0.2.1", "right").ok())
            .collect::<Vec<_>>()
    };
    let first = at_once();
    assert_eq!(first.len(), 11);
    for charge in first {
        world.settle(charge, Attempt::Succeeded);
    }
    // The same, guessing from there: nothing is free once it is judged.
    for charge in at_once() {
        world.settle(charge, Attempt::Failed);
    }
    assert!(world.ask("ann", "192.0.2.1", "right").is_err());
}

#[test]
fn what_nobody_judged_is_taken_back() {
    let world = World::new(RULES);
    for _ in 0..1_000 {
        world
            .attempt("ann", "192.0.2.1", Attempt::Unjudged)
            .unwrap();
    }
}

#[test]
fn a_stranger_cannot_lock_the_owner_out() {
    let lock = Lock {
        after: 20,
        hold: Duration::from_secs(3_600),
    };
    for lock in [None, Some(lock)] {
        let mut world = World::new(Rules { lock, ..RULES });
        world.succeed("ann", "198.51.100.7").unwrap();
        let mut attackers = 0;
        for number in 0..10_000 {
            attackers += u32::from(world.fail("ann", &address(number * 1_000)).is_ok());
            if number % 100 == 0 {
                world.succeed("ann", "198.51.100.7").unwrap();
                world.pass(1);
            }
        }
        // After each success of the owner's the count begins anew.
        assert!(attackers < 1_200, "{attackers}");
    }
}

#[test]
fn the_owner_at_a_new_address_waits_a_little_and_once() {
    let mut world = World::new(RULES);
    let mut waited = Duration::ZERO;
    for round in 0..100 {
        for number in 0..100 {
            world.fail("ann", &address(number * 65_536 + round)).ok();
        }
    }
    loop {
        match world.succeed("ann", "198.51.100.7") {
            Ok(_) => break,
            Err(refused) => {
                waited += refused.wait;
                world.now += nanos(refused.wait);
                // They go on meanwhile.
                for number in 0..100 {
                    world.fail("ann", &address(number * 65_536)).ok();
                }
            }
        }
    }
    assert!(waited <= Duration::from_secs(30), "{waited:?}");
}

#[test]
fn ten_thousand_accounts_from_two_hundred_addresses() {
    let mut world = World::new(RULES);
    let mut locked_out = 0;
    let mut passed = 0;
    for number in 0..10_000_u32 {
        // Addresses far apart, each account once.
        let from = address((number % 200) * 65_536 + 1);
        passed += u32::from(world.fail(&format!("victim{number}"), &from).is_ok());
        if number % 20 == 0 {
            let person = number / 20;
            let (name, home) = (format!("person{person}"), address(person * 512 + 7));
            // One in twenty mistypes first.
            if person.is_multiple_of(20)
                && let Err(refused) = world.fail(&name, &home)
            {
                world.now += nanos(refused.wait);
                world.fail(&name, &home).ok();
            }
            let mut tries = 0;
            while let Err(refused) = world.succeed(&name, &home) {
                world.now += nanos(refused.wait);
                tries += 1;
                if tries > 2 {
                    locked_out += 1;
                    break;
                }
            }
        }
        world.now += SECOND / 100;
    }
    assert!(passed < 700, "{passed} of 10000 passed");
    assert_eq!(locked_out, 0);
}

#[test]
fn one_password_over_many_accounts_from_everywhere() {
    let world = World::new(RULES);
    let mut passed = 0;
    for number in 0..1_000 {
        let name = format!("victim{number}");
        if let Ok(charge) = world.ask(&name, &address(number * 65_536), "Summer2026!") {
            passed += 1;
            world.settle(charge, Attempt::Failed);
        }
    }
    assert!(passed < 15, "{passed}");
    // The same password of somebody who is at home.
    world.succeed("ann", "198.51.100.7").unwrap();
    assert!(world.ask("ann", "198.51.100.7", "Summer2026!").is_ok());
    assert_eq!(
        world
            .ask("bob", "198.51.100.9", "Summer2026!")
            .unwrap_err()
            .why,
        Why::Stuffing(Sign::Password)
    );
}

#[test]
fn the_same_tls_from_everywhere() {
    let world = World::new(RULES);
    let ask = |account: &str, from: &str, client: &str| {
        let who = Who {
            scope: "api",
            account: Some(account.as_bytes()),
            address: from.parse().unwrap(),
            client: Some(client),
            password: None,
        };
        let keys = world.defence.keys(RULES.kind, &who);
        world.defence.ask(&RULES, &world.trend, &keys, 0)
    };
    for number in 0..2_000 {
        if let Ok(charge) = ask(&format!("v{number}"), &address(number * 8_192), "t13d_bot") {
            world.settle(charge, Attempt::Failed);
        }
    }
    let refused = ask("somebody", "198.51.100.7", "t13d_bot").unwrap_err();
    assert_eq!(refused.why, Why::Stuffing(Sign::Source(Breadth::Client)));
    // Another client only has to come back: there is a general alarm.
    let refused = ask("somebody", "198.51.100.7", "t13d_browser").unwrap_err();
    assert_eq!(refused.why, Why::Stuffing(Sign::Ratio));
    assert!(refused.wait <= Duration::from_secs(2));
}

#[test]
fn codes_lock_after_ten_tries_wherever_they_come_from() {
    let rules = Rules {
        kind: Kind::Otp,
        lock: Some(Lock {
            after: 10,
            hold: Duration::from_secs(900),
        }),
        ..RULES
    };
    let mut world = World::new(rules);
    let mut passed = 0;
    for number in 0..200 {
        passed += u32::from(world.fail("ann", &address(number * 65_536)).is_ok());
        if number % 10 == 9 {
            world.pass(2);
        }
    }
    assert!(passed <= 10, "{passed}");
    // Coming back after the wait fills it up to ten, and not one more.
    for _ in 0..10 {
        world.pass(31);
        for number in 0..200 {
            passed += u32::from(world.fail("ann", &address(number * 65_536)).is_ok());
        }
    }
    assert_eq!(passed, 10);
    assert_eq!(
        world.fail("ann", "198.51.100.7").unwrap_err().why,
        Why::Locked
    );
    world.pass(900);
    assert!(world.fail("ann", "198.51.100.7").is_ok());
}

#[test]
fn an_account_is_unlocked() {
    let rules = Rules {
        lock: Some(Lock {
            after: 3,
            hold: Duration::from_secs(900),
        }),
        ..RULES
    };
    let world = World::new(rules);
    assert!(!world.fail("ann", "192.0.2.1").unwrap().locked);
    world.fail("ann", "192.0.2.1").unwrap();
    assert!(world.fail("ann", "192.0.2.1").unwrap().locked);
    assert_eq!(world.fail("ann", "192.0.2.9").unwrap_err().why, Why::Locked);
    let key = world.defence.account("api", Kind::Login, b"Ann");
    assert!(world.defence.unlock(key));
    world.succeed("ann", "192.0.2.9").unwrap();
}

#[test]
fn registrations_and_resets_count_whatever_the_answer() {
    for kind in [Kind::Registration, Kind::Reset] {
        let world = World::new(Rules { kind, ..RULES });
        let passed = (0..100)
            .filter(|number| world.succeed(&format!("new{number}"), "192.0.2.1").is_ok())
            .count();
        assert!((8..13).contains(&passed), "{kind:?} {passed}");
        let passed = (0..100)
            .filter(|number| world.succeed("ann", &address(number * 65_536)).is_ok())
            .count();
        assert!(passed <= 9, "{kind:?} {passed}");
    }
}

#[test]
fn an_office_behind_one_address_comes_in() {
    let mut world = World::new(RULES);
    let mut refused = 0;
    for person in 0..500 {
        let name = format!("person{person}");
        if person % 20 == 0 {
            refused += u32::from(world.fail(&name, "192.0.2.1").is_err());
        }
        refused += u32::from(world.succeed(&name, "192.0.2.1").is_err());
        world.now += SECOND;
    }
    assert_eq!(refused, 0);
}

#[test]
fn a_million_accounts_take_no_more_memory() {
    let world = World::new(Rules {
        suspicion: None,
        ..RULES
    });
    for _ in 0..3 {
        world.fail("hammered", "192.0.2.1").unwrap();
    }
    let before = world.defence.bytes();
    for number in 0..1_000_000_u32 {
        let who = Who {
            scope: "api",
            account: Some(&number.to_be_bytes()),
            address: IpAddr::from(number.to_be_bytes()),
            client: None,
            password: None,
        };
        let keys = world.defence.keys(world.rules.kind, &who);
        world.defence.note(&world.rules, &keys, 0);
    }
    assert_eq!(world.defence.bytes(), before);
    assert!(before < 48 << 20, "{before}");
    assert!(world.defence.evicted() > 0);
    // Who is worth more than the flood is still there.
    assert!(world.fail("hammered", "192.0.2.1").is_err());
}

#[test]
fn state_outlives_the_process() {
    let rules = Rules {
        lock: Some(Lock {
            after: 3,
            hold: Duration::from_secs(900),
        }),
        ..RULES
    };
    let mut before = World::new(rules);
    before.pass(500);
    before.succeed("bob", "192.0.2.2").unwrap();
    for _ in 0..3 {
        before.fail("ann", "192.0.2.1").unwrap();
    }
    for number in 0..3 {
        before.fail("bob", &address(number)).unwrap();
    }
    let kept = before.defence.keep(1_000, before.now);
    let mut after = World::new(rules);
    after.pass(3);
    after.defence.recall(&kept, after.now);
    assert_eq!(after.fail("ann", "192.0.2.9").unwrap_err().why, Why::Locked);
    assert_eq!(after.fail("bob", "192.0.2.9").unwrap_err().why, Why::Locked);
    after.succeed("bob", "192.0.2.2").unwrap();
    assert_eq!(before.defence.keep(1, before.now).len(), 3);
}

proptest! {
    /// Whatever the order, no address has more attempts at an account than its delays allow.
    #[test]
    fn no_pair_passes_its_delays(steps in prop::collection::vec((0_u64..120, 0_u32..3), 1..200)) {
        let mut world = World::new(Rules { suspicion: None, ..RULES });
        let mut last: Option<u64> = None;
        // What is remembered at least, in parts of a failure: half is forgotten in each half-life, and
        // of the one that is not over no more than 7/10 of that part of it.
        const PARTS: u128 = 1024;
        let forget = u128::from(nanos(RULES.forget));
        let mut kept: u128 = 0;
        for (wait, from) in steps {
            world.pass(wait);
            let passed = world.fail("ann", &address(from)).is_ok();
            if from == 0 && passed {
                if let Some(last) = last {
                    let elapsed = world.now - last;
                    let halvings = u128::from(elapsed) / forget;
                    let part = u128::from(elapsed) % forget;
                    kept >>= halvings.min(100);
                    kept -= kept * part * 7 / (forget * 10);
                    let remembered = u32::try_from(kept / PARTS).unwrap();
                    prop_assert!(elapsed >= nanos(RULES.delay.of(remembered)).min(nanos(RULES.delay.most)));
                }
                kept += PARTS;
                last = Some(world.now);
            }
        }
    }
}
