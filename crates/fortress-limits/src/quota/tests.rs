//! Quotas over edges of windows, against a naive count, and through a store.

use std::thread;

use proptest::prelude::*;

use super::*;

const S: u64 = 1_000_000_000;

/// 2026-11-29T00:00:00Z.
const MIDNIGHT: u64 = 1_795_910_400;

fn at(second: u64) -> Timestamp {
    Timestamp((MIDNIGHT + second) * S)
}

fn key(number: u64) -> Key {
    Key::from_halves(number + 1, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7)
}

fn quota(limit: u64, unit: Unit, edge: Edge) -> Quota {
    Quota::new(limit, unit, TimeZone::UTC, edge)
}

#[track_caller]
fn check(found: Decision, allowed: bool, remaining: u64, retry: Option<u64>, reset: u64) {
    let expect = Decision {
        allowed,
        remaining,
        retry_after: retry.map(Duration::from_secs),
        reset_after: Duration::from_secs(reset),
    };
    assert_eq!(found, expect);
}

#[test]
fn a_calendar_quota_is_there_anew_at_midnight() {
    let table = Quotas::new(100);
    let quota = quota(10, Unit::Day, Edge::Calendar);
    check(
        table.take(key(1), &quota, 7, at(86_000)),
        true,
        3,
        Some(0),
        400,
    );
    check(
        table.take(key(1), &quota, 4, at(86_100)),
        false,
        3,
        Some(300),
        300,
    );
    check(
        table.take(key(1), &quota, 11, at(86_100)),
        false,
        3,
        None,
        300,
    );
    check(
        table.peek(key(1), &quota, 3, at(86_100)),
        true,
        0,
        Some(0),
        300,
    );
    check(
        table.take(key(1), &quota, 3, at(86_399)),
        true,
        0,
        Some(0),
        1,
    );
    check(
        table.take(key(1), &quota, 1, at(86_399)),
        false,
        0,
        Some(1),
        1,
    );
    check(
        table.take(key(1), &quota, 1, at(86_400)),
        true,
        9,
        Some(0),
        86_400,
    );
    check(
        table.take(key(2), &quota, 1, at(86_399)),
        true,
        9,
        Some(0),
        1,
    );
}

#[test]
fn a_sliding_quota_remembers_the_window_before() {
    let table = Quotas::new(100);
    let quota = quota(60, Unit::Minute, Edge::Sliding);
    check(table.take(key(1), &quota, 60, at(30)), true, 0, Some(0), 90);
    check(
        table.take(key(1), &quota, 1, at(30)),
        false,
        0,
        Some(31),
        90,
    );
    // Nothing has faded yet, and then one unit a second.
    check(table.take(key(1), &quota, 1, at(60)), false, 0, Some(1), 60);
    check(table.take(key(1), &quota, 2, at(61)), false, 1, Some(1), 59);
    check(table.take(key(1), &quota, 2, at(62)), true, 0, Some(0), 118);
    check(table.peek(key(1), &quota, 1, at(90)), true, 27, Some(0), 90);
    // Two windows later nothing is left of it.
    check(
        table.take(key(1), &quota, 60, at(180)),
        true,
        0,
        Some(0),
        120,
    );
}

#[test]
fn refunds_go_to_the_window_that_they_came_from() {
    let table = Quotas::new(100);
    let quota = quota(10, Unit::Minute, Edge::Sliding);
    table.take(key(1), &quota, 10, at(59));
    table.refund(key(1), &quota, 4, at(59));
    check(table.peek(key(1), &quota, 4, at(59)), true, 0, Some(0), 61);
    table.take(key(1), &quota, 4, at(60));
    table.refund(key(1), &quota, 6, at(59));
    check(table.peek(key(1), &quota, 6, at(60)), true, 0, Some(0), 120);
    table.refund(key(1), &quota, 100, at(0));
    table.refund(key(9), &quota, 1, at(0));
    check(table.peek(key(9), &quota, 10, at(0)), true, 0, Some(0), 120);
}

#[test]
fn debts_count_too() {
    let table = Quotas::new(100);
    let quota = quota(10, Unit::Day, Edge::Calendar);
    table.charge(key(1), &quota, 15, at(0));
    check(
        table.take(key(1), &quota, 1, at(0)),
        false,
        0,
        Some(86_400),
        86_400,
    );
    table.charge(key(1), &quota, u64::MAX, at(0));
    assert!(!table.take(key(1), &quota, 1, at(0)).allowed);
    assert!(table.take(key(1), &quota, 10, at(86_400)).allowed);
}

#[test]
fn a_clock_that_was_years_ahead_locks_nobody_out() {
    let table = Quotas::new(100);
    let quota = quota(5, Unit::Day, Edge::Calendar);
    let years = 4 * 366 * 86_400;
    assert!(table.take(key(1), &quota, 1, at(0)).allowed);
    assert!(table.take(key(1), &quota, 1, at(years)).allowed);
    check(
        table.take(key(1), &quota, 4, at(3_600)),
        true,
        0,
        Some(0),
        82_800,
    );
    let refused = table.take(key(1), &quota, 1, at(3_601));
    assert_eq!(refused.retry_after, Some(Duration::from_secs(82_799)));
}

#[test]
fn a_clock_that_goes_back_gives_nothing() {
    let table = Quotas::new(100);
    let quota = quota(10, Unit::Day, Edge::Calendar);
    assert!(table.take(key(1), &quota, 10, at(86_400)).allowed);
    assert!(!table.take(key(1), &quota, 1, at(86_399)).allowed);
    assert!(!table.take(key(1), &quota, 1, at(86_401)).allowed);
}

#[test]
fn a_zone_that_is_changed_forgives_nothing() {
    let table = Quotas::new(100);
    let utc = quota(10, Unit::Day, Edge::Calendar);
    assert!(table.take(key(1), &utc, 10, at(0)).allowed);
    let berlin = TimeZone::posix("CET-1").unwrap();
    let berlin = Quota::new(10, Unit::Day, berlin, Edge::Calendar);
    assert!(!table.take(key(1), &berlin, 1, at(80_000)).allowed);
}

#[test]
fn counts_survive_a_restart() {
    let quota = quota(10, Unit::Day, Edge::Calendar);
    let before = Quotas::new(100);
    for who in 0..50 {
        assert!(before.take(key(who), &quota, 8, at(100)).allowed);
    }
    let mut unstored = Vec::new();
    before.unstored(at(200), |what| unstored.push(what));
    assert_eq!(unstored.len(), 50);
    let stored: Vec<_> = unstored
        .iter()
        .map(|what| Record {
            key: what.key,
            window: what.window,
            used: u64::try_from(what.more).unwrap(),
        })
        .collect();
    // Of another size, and already counting.
    let after = Quotas::new(5_000);
    assert!(after.take(key(3), &quota, 1, at(300)).allowed);
    for record in &stored {
        after.import(*record);
    }
    check(
        after.take(key(3), &quota, 2, at(300)),
        false,
        1,
        Some(86_100),
        86_100,
    );
    assert!(after.take(key(4), &quota, 2, at(300)).allowed);
    assert!(!after.take(key(4), &quota, 1, at(300)).allowed);
    // What is long over is not stored.
    let mut late = 0;
    before.unstored(at(3 * 86_400), |_| late += 1);
    assert_eq!(late, 0);
    // What is older than what is counted is not taken for newer.
    let newer = Quotas::new(100);
    newer.take(key(1), &quota, 1, at(10 * 86_400));
    stored.iter().for_each(|record| newer.import(*record));
    check(
        newer.take(key(1), &quota, 9, at(10 * 86_400)),
        true,
        0,
        Some(0),
        86_400,
    );
    // Nonsense is left out.
    newer.import(Record {
        window: Span { start: 5, end: 5 },
        ..stored[0]
    });
}

#[test]
fn what_is_stored_is_not_stored_again_and_what_others_stored_counts() {
    let quota = quota(100, Unit::Day, Edge::Calendar);
    let table = Quotas::new(100);
    let unstored = || {
        let mut found = Vec::new();
        table.unstored(at(200), |what| found.push(what));
        found
    };
    assert!(table.take(key(1), &quota, 8, at(100)).allowed);
    let first = unstored();
    assert_eq!(first.iter().map(|what| what.more).collect::<Vec<_>>(), [8]);
    // Two are taken while it is written, and others have stored 20.
    assert!(table.take(key(1), &quota, 2, at(100)).allowed);
    table.stored(&first[0], 28);
    assert_eq!(table.peek(key(1), &quota, 0, at(100)).remaining, 70);
    let second = unstored();
    assert_eq!(second[0].more, 2);
    table.stored(&second[0], 30);
    assert_eq!(unstored(), []);
    assert_eq!(table.peek(key(1), &quota, 0, at(100)).remaining, 70);
    // What is given back is given back there too.
    table.refund(key(1), &quota, 3, at(100));
    let third = unstored();
    assert_eq!(third[0].more, -3);
    table.stored(&third[0], 27);
    assert_eq!(table.peek(key(1), &quota, 0, at(100)).remaining, 73);
    // A window that is over is not written any more.
    assert!(table.take(key(1), &quota, 5, at(86_500)).allowed);
    table.stored(&third[0], 1_000);
    assert_eq!(table.peek(key(1), &quota, 0, at(86_500)).remaining, 95);
}

#[test]
fn a_sliding_quota_comes_back_with_the_window_before() {
    let quota = quota(100, Unit::Day, Edge::Sliding);
    let table = Quotas::new(100);
    let record = |day: u64, used| Record {
        key: key(1).to_halves(),
        window: quota.windows().at(at(day * 86_400)),
        used,
    };
    table.import(record(1, 10));
    table.import(record(0, 80));
    // Half of the day before still counts.
    assert_eq!(
        table.peek(key(1), &quota, 0, at(86_400 + 43_200)).remaining,
        50
    );
}

#[test]
fn a_full_set_forgets_the_least() {
    let table = Quotas::new(1);
    let quota = quota(1_000, Unit::Day, Edge::Calendar);
    for who in 0..8 {
        table.take(key(who), &quota, 10 + who, at(0));
    }
    assert_eq!(table.evicted(), 0);
    let bytes = table.bytes();
    table.take(key(100), &quota, 50, at(0));
    assert_eq!((table.evicted(), table.bytes()), (1, bytes));
    assert_eq!(table.peek(key(0), &quota, 0, at(0)).remaining, 1_000);
    assert_eq!(table.peek(key(7), &quota, 0, at(0)).remaining, 983);
    // The next day all slots are free.
    for who in 200..208 {
        table.take(key(who), &quota, 1, at(86_400));
    }
    assert_eq!(table.evicted(), 1);
}

#[test]
fn threads_share_exactly_the_quota() {
    let table = Quotas::new(1_000);
    let quota = quota(5_000, Unit::Month, Edge::Calendar);
    let total: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let taken = (0..5_000).filter(|_| table.take(key(1), &quota, 1, at(0)).allowed);
                    u64::try_from(taken.count()).unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(total, 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counts_as_a_list_of_all_requests_does(
        limit in 1_u64..50,
        steps in proptest::collection::vec((0_u64..40_000_000_000, 1_u64..8, 0_u64..3), 1..200),
        sliding in any::<bool>(),
    ) {
        let edge = if sliding { Edge::Sliding } else { Edge::Calendar };
        let table = Quotas::new(64);
        let quota = quota(limit, Unit::Minute, edge);
        let mut all: Vec<(u64, u64, u64)> = Vec::new();
        let mut now = MIDNIGHT * S;
        for (wait, cost, who) in steps {
            now += wait;
            let minute = now / (60 * S);
            let sum = |of: u64| all.iter().filter(|(id, when, _)| (*id, when / (60 * S)) == (who, of)).map(|(_, _, cost)| cost).sum::<u64>();
            let left = 60 * S - now % (60 * S);
            let faded = (u128::from(sum(minute - 1)) * u128::from(left)).div_ceil(u128::from(60 * S));
            let before = if sliding { u64::try_from(faded).unwrap() } else { 0 };
            let expect = sum(minute) + before + cost <= limit;
            let peeked = table.peek(key(who), &quota, cost, Timestamp(now));
            let found = table.take(key(who), &quota, cost, Timestamp(now));
            prop_assert_eq!(found.allowed, expect);
            prop_assert_eq!(found, peeked);
            if found.allowed {
                all.push((who, now, cost));
            } else if let Some(retry) = found.retry_after {
                let then = Timestamp(now + u64::try_from(retry.as_nanos()).unwrap());
                prop_assert!(table.peek(key(who), &quota, cost, then).allowed);
            } else {
                prop_assert!(cost > limit);
            }
        }
    }
}
