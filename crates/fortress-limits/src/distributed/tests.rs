//! Messages, and instances that lease from a shared count which is a number in memory. The script
//! itself is tested on real servers, in `tests/redis.rs`.

use fortress_model::config::QuotaUnit as Unit;
use jiff::tz::TimeZone;

use super::*;
use crate::key::{KeySpec, Missing, Prefixes, Secret};

const MS: u64 = 1_000_000;
const NOW: i64 = 1_795_910_400_000_000;

fn key(number: u64) -> Key {
    Key::from_halves(number + 1, number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn quota(limit: u64) -> Shared {
    let quota = Quota::new(limit, Unit::Day, TimeZone::UTC, Edge::Calendar);
    Shared::Quota(Arc::new(quota))
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
fn names_and_arguments() {
    let rate = Rate::new(10, Duration::from_secs(1), 20).unwrap();
    let of_rate = call(&Shared::Rate(rate), 2, 5);
    assert_eq!(
        of_rate.name(),
        "fortress:r:{00000000000000029e3779b97f4a7c15}"
    );
    let now = Timestamp(1_795_953_600_000_000_000);
    assert_eq!(of_rate.arguments(now), ["r", "2", "5", "100000000", "20"]);
    let back = Call {
        returns: true,
        least: 0,
        ..of_rate
    };
    assert_eq!(back.arguments(now), ["r", "0", "-5", "100000000", "20"]);
    let quota = quota(1_000);
    let of_quota = call(&quota, 1, 1);
    assert!(of_quota.name().starts_with("fortress:q:{"));
    let day = 86_400_000_000_u64;
    let today = 1_795_910_400_000_000_u64;
    let edges = [
        today - 2 * day,
        today - day,
        today,
        today + day,
        today + 2 * day,
    ];
    let mut expect = vec![
        "q".to_owned(),
        "1".into(),
        "1".into(),
        "1000".into(),
        "0".into(),
    ];
    expect.extend(edges.map(|edge| edge.to_string()));
    assert_eq!(of_quota.arguments(now), expect);
    assert_eq!(script_sha(SCRIPT).len(), 40);
    // Keys are hashes: nothing of a request goes to the store.
    let spec = KeySpec::new(
        &Secret::new([1; 16]),
        "alice",
        [],
        Missing::Share,
        Prefixes::default(),
    );
    assert!(!format!("{spec:?}").contains("alice"));
}

#[test]
fn replies_that_cannot_be_are_errors() {
    let quota = quota(1_000);
    let rate = Rate::new(10, Duration::from_secs(1), 20).unwrap();
    let asked = call(&quota, 2, 5);
    let parse = |numbers: &[i64]| Reply::parse(numbers, &asked);
    let granted = |units, wait| {
        Ok(Reply::Granted {
            units,
            remaining: 7,
            wait,
            reset: Duration::from_micros(9),
            now: Timestamp(1_795_910_400_000_000_000),
        })
    };
    assert_eq!(parse(&[5, 7, 0, 9, NOW]), granted(5, Some(Duration::ZERO)));
    assert_eq!(parse(&[2, 7, 0, 9, NOW]), granted(2, Some(Duration::ZERO)));
    assert_eq!(
        parse(&[0, 7, 3, 9, NOW]),
        granted(0, Some(Duration::from_micros(3)))
    );
    assert_eq!(parse(&[0, 7, -1, 9, NOW]), granted(0, None));
    assert_eq!(
        parse(&[-1, 0, 0, 0, NOW]),
        Ok(Reply::OtherWindow {
            now: Timestamp(1_795_910_400_000_000_000)
        })
    );
    for wrong in [
        [6, 7, 0, 9, NOW],
        [1, 7, 0, 9, NOW],
        [-2, 7, 0, 9, NOW],
        [5, -1, 0, 9, NOW],
        [5, 7, -2, 9, NOW],
        [5, 7, 0, -9, NOW],
        [5, 7, 0, 9, 0],
        [5, 7, 0, 9, i64::MAX],
    ] {
        assert_eq!(parse(&wrong), Err(ReplyError::Range), "{wrong:?}");
    }
    assert_eq!(parse(&[5, 7, 0, 9]), Err(ReplyError::Shape));
    assert_eq!(parse(&[]), Err(ReplyError::Shape));
    let other = call(&Shared::Rate(rate), 2, 5);
    assert_eq!(
        Reply::parse(&[-1, 0, 0, 0, NOW], &other),
        Err(ReplyError::Range)
    );
    let back = Call {
        returns: true,
        ..asked
    };
    assert_eq!(
        Reply::parse(&[1, 0, 0, 0, NOW], &back),
        Err(ReplyError::Range)
    );
}

#[test]
fn fallbacks() {
    assert_eq!(
        Fallback::of(LimitFault::Local, 4),
        Fallback::Alone { instances: 4 }
    );
    assert_eq!(
        Fallback::of(LimitFault::Local, 0),
        Fallback::Alone { instances: 1 }
    );
    assert_eq!(Fallback::of(LimitFault::Closed, 4), Fallback::Refuse);
    assert_eq!(Fallback::of(LimitFault::Open, 4), Fallback::Pass);
}

/// A shared count that only goes down.
struct Count {
    left: u64,
    calls: u64,
}

impl Count {
    fn ask(&mut self, least: u64, want: u64) -> Reply {
        self.calls += 1;
        let there = want.min(self.left);
        let units = if there < least { 0 } else { there };
        self.left -= units;
        Reply::Granted {
            units,
            remaining: self.left,
            wait: Some(Duration::from_secs(3_600)),
            reset: Duration::from_secs(3_600),
            now: Timestamp(1_795_910_400_000_000_000),
        }
    }
}

fn request(leases: &Leases, count: &mut Count, shared: &Shared, cost: u64, now: u64) -> bool {
    match leases.spend(key(1), shared, cost, now) {
        Spend::Pass { refill, .. } => {
            if let Some(units) = refill {
                let reply = count.ask(1, units);
                leases.refilled(key(1), &reply, now);
            }
            true
        }
        Spend::Refuse(decision) => {
            assert!(!decision.allowed);
            false
        }
        Spend::Ask { want } => {
            let reply = count.ask(cost, want);
            matches!(leases.answered(key(1), cost, &reply, now), Answer::Pass(_))
        }
    }
}

#[test]
fn a_hot_key_costs_few_calls_and_a_quota_is_shared_exactly() {
    let quota = quota(10_000);
    let instances: Vec<_> = (0..4).map(|_| Leases::new(100)).collect();
    let mut count = Count {
        left: 10_000,
        calls: 0,
    };
    let (mut passed, mut now) = (0, MS);
    for number in 0..60_000_usize {
        now += MS / 10;
        let leases = &instances[number % 4];
        passed += u64::from(request(leases, &mut count, &quota, 1, now));
    }
    assert_eq!(count.left, 0);
    assert_eq!(passed, 10_000);
    assert!(
        count.calls < 1_000,
        "{} calls for 60,000 requests",
        count.calls
    );
}

#[test]
fn a_lease_is_never_more_than_a_part() {
    let quota = quota(80);
    let leases = Leases::new(100);
    let mut count = Count {
        left: 1_000_000,
        calls: 0,
    };
    let mut now = MS;
    for _ in 0..1_000 {
        now += MS / 100;
        request(&leases, &mut count, &quota, 1, now);
        // The bound that the module states.
        let held = held(&leases, now);
        assert!(held <= 10, "{held}");
    }
    let rate = Rate::new(1_000_000, Duration::from_secs(1), 1_000_000).unwrap();
    let leases = Leases::new(100);
    for _ in 0..5_000 {
        now += MS / 100;
        request(&leases, &mut count, &Shared::Rate(rate), 1, now);
    }
    let held = held(&leases, now);
    assert!(held > 100 && held <= MOST_LEASED, "{held}");
}

#[test]
fn what_is_not_spent_goes_back() {
    let quota = quota(10_000);
    let leases = Leases::new(100);
    let mut count = Count {
        left: 10_000,
        calls: 0,
    };
    let mut now = MS;
    let mut passed = 0;
    for _ in 0..500 {
        now += MS;
        passed += u64::from(request(&leases, &mut count, &quota, 1, now));
    }
    let held = 10_000 - count.left - passed;
    assert!(held > 0);
    let mut back = 0;
    let mut sweep = |later, most| {
        for call in leases.sweep(now + later, false, most) {
            assert_eq!((call.key, call.returns), (key(1), true));
            back += call.want;
        }
        back
    };
    assert_eq!(sweep(LEASE_TIME / 2, 9), 0);
    // As long as there is no room for a call it stays.
    assert_eq!(sweep(2 * LEASE_TIME, 0), 0);
    assert_eq!(sweep(2 * LEASE_TIME, 9), held);
    assert_eq!(sweep(2 * LEASE_TIME, 9), held);
}

/// Units that are in leases, where they stay.
fn held(leases: &Leases, now: u64) -> u64 {
    let calls = leases.sweep(now, true, usize::MAX);
    let put_back = |call: &Call| leases.put_back(call.key, call.want, now);
    calls
        .iter()
        .inspect(|call| put_back(call))
        .map(|call| call.want)
        .sum()
}

/// A reply of a count that has a second until its reset.
fn granted(units: u64, remaining: u64) -> Reply {
    Reply::Granted {
        units,
        remaining,
        wait: Some(Duration::ZERO),
        reset: Duration::from_secs(1),
        now: Timestamp(1_795_910_400_000_000_000),
    }
}

#[test]
fn units_of_a_window_that_is_over_are_not_given_to_the_next_one() {
    let leases = Leases::new(100);
    let quota = quota(10_000);
    let lease = |now| {
        assert!(matches!(
            leases.spend(key(1), &quota, 1, now),
            Spend::Ask { .. }
        ));
        leases.answered(key(1), 1, &granted(9, 9_000), now);
    };
    lease(MS);
    assert_eq!(held(&leases, MS), 8);
    assert_eq!(held(&leases, MS + 1_000 * MS), 0);
    // A rate has no windows: what ended is earned by all.
    let leases = Leases::new(100);
    let rate = Shared::Rate(Rate::new(1, Duration::from_secs(1), 800).unwrap());
    leases.spend(key(1), &rate, 1, MS);
    leases.answered(key(1), 1, &granted(9, 700), MS);
    assert_eq!(held(&leases, MS + 2 * LEASE_TIME), 8);
}

#[test]
fn what_a_reload_has_changed_is_given_back_as_it_was_taken() {
    let leases = Leases::new(100);
    for count in [1, 100] {
        let rate = Rate::new(count, Duration::from_secs(1), 800).unwrap();
        let now = count * 2_000 * MS;
        leases.spend(key(1), &Shared::Rate(rate), 1, now);
        leases.answered(key(1), 1, &granted(9, 700), now);
        let calls = leases.sweep(now, true, usize::MAX);
        assert!(matches!(calls[0].shared, Shared::Rate(of) if of == rate));
    }
}

#[test]
fn a_lease_that_has_enough_for_now_is_refilled_later() {
    let leases = Leases::new(100);
    let quota = quota(10_000);
    let mut count = Count {
        left: 10_000,
        calls: 0,
    };
    while count.calls < 8 {
        assert!(request(&leases, &mut count, &quota, 1, MS));
    }
    // Others have taken most of the quota: a lease has at most twelve units from now on.
    leases.refilled(key(1), &granted(0, 100), MS);
    let refills = (0..10_000).map_while(|_| match leases.spend(key(1), &quota, 1, MS) {
        Spend::Pass { refill, .. } => Some(refill),
        Spend::Refuse(_) | Spend::Ask { .. } => None,
    });
    let refills: Vec<u64> = refills.flatten().collect();
    assert_eq!(refills, [10]);
}

#[test]
fn refusals_are_remembered_for_a_moment_and_only_for_costs_as_large() {
    let quota = quota(100);
    let leases = Leases::new(100);
    let mut count = Count { left: 3, calls: 0 };
    let shared = &quota;
    assert!(!request(&leases, &mut count, shared, 5, MS));
    assert!(!request(&leases, &mut count, shared, 6, 2 * MS));
    assert_eq!(count.calls, 1);
    assert!(request(&leases, &mut count, shared, 2, 3 * MS));
    count.left = 100;
    assert!(!request(
        &leases,
        &mut Count { left: 0, calls: 0 },
        shared,
        2,
        4 * MS
    ));
    assert!(!request(&leases, &mut count, shared, 2, 5 * MS));
    assert!(request(&leases, &mut count, shared, 2, 5 * MS + LEASE_TIME));
}

#[test]
fn a_refill_that_fails_is_tried_again() {
    let quota = quota(10_000);
    let leases = Leases::new(100);
    let shared = &quota;
    let mut count = Count {
        left: 10_000,
        calls: 0,
    };
    let mut now = MS;
    let mut failed = 0;
    for _ in 0..2_000 {
        now += MS / 10;
        match leases.spend(key(1), shared, 1, now) {
            Spend::Pass {
                refill: Some(_), ..
            } => {
                failed += 1;
                leases.failed(key(1), now);
            }
            Spend::Pass { .. } => {}
            Spend::Ask { want } => {
                let reply = count.ask(1, want);
                assert!(matches!(
                    leases.answered(key(1), 1, &reply, now),
                    Answer::Pass(_)
                ));
            }
            Spend::Refuse(_) => panic!("refused"),
        }
    }
    assert!(failed > 10);
    let other = Reply::OtherWindow { now: Timestamp(5) };
    assert_eq!(
        leases.answered(key(1), 1, &other, now),
        Answer::Again(Timestamp(5))
    );
}

#[test]
fn units_go_back_to_the_lease_and_out_of_it() {
    let quota = quota(10_000);
    let leases = Leases::new(100);
    let reply = |units| Reply::Granted {
        units,
        remaining: 9_000,
        wait: Some(Duration::ZERO),
        reset: Duration::from_secs(10),
        now: Timestamp(1_795_910_400_000_000_000),
    };
    assert!(matches!(
        leases.spend(key(1), &quota, 1, MS),
        Spend::Ask { .. }
    ));
    leases.answered(key(1), 1, &reply(11), MS);
    // Ten are there: three go out, two come back, and of twenty more nine are there.
    assert_eq!(leases.drain(key(1), 3, 2 * MS), 0);
    leases.put_back(key(1), 2, 2 * MS);
    assert_eq!(leases.drain(key(1), 20, 2 * MS), 11);
    // Nobody holds the lease of another, and none comes back after its window.
    assert_eq!(leases.drain(key(2), 5, 2 * MS), 5);
    leases.put_back(key(1), 5, 20_000 * MS);
    assert_eq!(leases.drain(key(1), 5, 2 * MS), 5);
}

#[test]
fn a_key_at_its_rate_is_not_asked_for_at_each_unit() {
    // A unit comes back every 100 microseconds; an eighth of the burst in 10 milliseconds.
    let rate = Rate::new(10_000, Duration::from_secs(1), 800).unwrap();
    // Here in 200 microseconds.
    let short = Rate::new(10_000, Duration::from_secs(1), 16).unwrap();
    for (rate, pause) in [(rate, 10 * MS), (short, MS / 5)] {
        let shared = Shared::Rate(rate);
        let leases = Leases::new(100);
        assert!(matches!(
            leases.spend(key(1), &shared, 1, MS),
            Spend::Ask { .. }
        ));
        let reply = Reply::Granted {
            units: 0,
            remaining: 0,
            wait: Some(Duration::from_micros(50)),
            reset: Duration::from_millis(80),
            now: Timestamp(1_795_910_400_000_000_000),
        };
        leases.answered(key(1), 1, &reply, MS);
        let before = leases.spend(key(1), &shared, 1, MS + pause - 1);
        assert!(matches!(before, Spend::Refuse(_)), "{before:?}");
        let after = leases.spend(key(1), &shared, 1, MS + pause);
        assert!(matches!(after, Spend::Ask { .. }), "{after:?}");
    }
}

/// A quota of 100 in a store that is a number, and what an instance is told of it.
fn told(leases: &Leases, used: &mut u64, shared: &Shared, now: u64) -> bool {
    let Spend::Ask { want } = leases.spend(key(1), shared, 1, now) else {
        return true;
    };
    let units = want.min(100 - *used);
    *used += units;
    let reply = Reply::Granted {
        units,
        remaining: 100 - *used,
        wait: Some(Duration::ZERO),
        reset: Duration::from_secs(3_600),
        now: Timestamp(1_795_910_400_000_000_000),
    };
    matches!(leases.answered(key(1), 1, &reply, now), Answer::Pass(_))
}

#[test]
fn around_an_outage_a_quota_that_was_known_is_not_had_twice() {
    let shared = quota(100);
    let Shared::Quota(of) = &shared else { panic!() };
    let wall = Timestamp(1_795_910_400_000_000_000);
    let instances: Vec<Leases> = (0..3).map(|_| Leases::new(64)).collect();
    let (mut used, mut passed) = (0, 0);
    for turn in 0..60_u64 {
        let now = 1 + turn * MS;
        passed += u64::from(told(
            &instances[usize::try_from(turn % 3).unwrap()],
            &mut used,
            &shared,
            now,
        ));
    }
    assert_eq!(passed, 60);
    // Away: each spends its lease, and then its part of what was left when it was told last.
    let mut alone = 0;
    for turn in 0..300_u64 {
        let leases = &instances[usize::try_from(turn % 3).unwrap()];
        let now = 100 * MS + turn;
        match leases.spend(key(1), &shared, 1, now) {
            Spend::Pass { .. } => passed += 1,
            Spend::Refuse(_) => {}
            Spend::Ask { .. } => {
                leases.failed(key(1), now);
                let (decision, taken) = leases.alone(key(1), of, (1, 3), (now, wall));
                assert_eq!(taken, 1);
                alone += u64::from(decision.allowed);
                if !decision.allowed {
                    assert!(decision.retry_after.unwrap() > Duration::from_secs(3_000));
                }
            }
        }
    }
    // What each was told is as old as its last lease; without it this would be 99 more.
    assert!(alone > 0 && passed + alone <= 110, "{passed} {alone}");
    // Back: what passed meanwhile is paid for.
    for turn in 0..300_u64 {
        let now = 200 * MS + turn * MS;
        passed += u64::from(told(
            &instances[usize::try_from(turn % 3).unwrap()],
            &mut used,
            &shared,
            now,
        ));
    }
    assert!(passed + alone <= 115, "{passed} {alone}");
    assert_eq!(used, 100);
}

#[test]
fn alone_and_never_told_an_instance_has_its_part_of_the_whole() {
    let leases = Leases::new(64);
    let shared = quota(100);
    let Shared::Quota(of) = &shared else { panic!() };
    let wall = Timestamp(1_795_910_400_000_000_000 + 86_000 * 1_000 * MS);
    let alone = |cost, now| leases.alone(key(1), of, (cost, 4), (now, wall));
    let (decision, taken) = alone(5, 1);
    assert_eq!((decision.allowed, decision.remaining, taken), (true, 20, 5));
    assert_eq!(decision.reset_after, Duration::from_secs(400));
    // What costs more than the part takes all of it, where it is whole; more than the quota never passes.
    assert!(!alone(60, 2).0.allowed);
    assert_eq!(alone(101, 2).0.retry_after, None);
    leases.not_alone(key(1), 5);
    assert_eq!(alone(60, 3), (decision_of(true, 0), 25));
    assert!(!alone(1, 4).0.allowed);
    // The next day.
    let (next, _) = leases.alone(
        key(1),
        of,
        (1, 4),
        (401_000 * MS, Timestamp(wall.0 + 401_000 * MS)),
    );
    assert!(next.allowed);
}

fn decision_of(allowed: bool, remaining: u64) -> Decision {
    Decision {
        allowed,
        remaining,
        retry_after: Some(Duration::ZERO),
        reset_after: Duration::from_nanos(400_000 * MS - 2),
    }
}

#[test]
fn a_late_answer_pays_for_who_did_not_wait_for_it() {
    let leases = Leases::new(64);
    let shared = quota(100);
    let Shared::Quota(of) = &shared else { panic!() };
    let wall = Timestamp(1_795_910_400_000_000_000);
    let (mut used, mut passed) = (0, 0);
    assert!(told(&leases, &mut used, &shared, 1));
    let want = loop {
        passed += 1;
        if let Spend::Ask { want } = leases.spend(key(1), &shared, 1, 2) {
            break want;
        }
    };
    leases.failed(key(1), 3);
    assert!(leases.alone(key(1), of, (1, 1), (4, wall)).0.allowed);
    // The answer comes after all, and nobody waits for it.
    used += want;
    let late = Reply::Granted {
        units: want,
        remaining: 100 - used,
        wait: Some(Duration::ZERO),
        reset: Duration::from_secs(3_600),
        now: wall,
    };
    assert!(matches!(
        leases.answered(key(1), 1, &late, 5),
        Answer::Pass(_)
    ));
    leases.put_back(key(1), 1, 5);
    passed += 1;
    for turn in 0..200 {
        passed += u64::from(told(&leases, &mut used, &shared, 10 + turn * MS));
    }
    assert_eq!((passed, used), (100, 100));
}
