//! The rate limiter against `governor` under simulated time, against threads, and against floods.

use std::{
    num::NonZeroU32,
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use governor::{Quota, RateLimiter, clock::FakeRelativeClock};
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn key(number: u64) -> Key {
    // What the keyed hash gives is as good as random: so is this (splitmix64).
    let mix = |mut x: u64| {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    Key::from_halves(mix(number), mix(number ^ 0x5555_5555_5555_5555))
}

fn rate(count: u64, seconds: u64, burst: u64) -> Rate {
    Rate::new(count, Duration::from_secs(seconds), burst).unwrap()
}

#[track_caller]
fn allowed(found: Decision, remaining: u64, reset: u64) {
    let expect = Decision {
        allowed: true,
        remaining,
        retry_after: Some(Duration::ZERO),
        reset_after: Duration::from_nanos(reset),
    };
    assert_eq!(found, expect);
}

#[track_caller]
fn refused(found: Decision, remaining: u64, retry: Option<u64>, reset: u64) {
    let expect = Decision {
        allowed: false,
        remaining,
        retry_after: retry.map(Duration::from_nanos),
        reset_after: Duration::from_nanos(reset),
    };
    assert_eq!(found, expect);
}

#[test]
fn a_burst_and_then_the_rate() {
    let table = Gcra::new(100);
    let rate = rate(10, 1, 3);
    let tenth = SECOND / 10;
    allowed(table.take(key(1), &rate, 1, 0), 2, tenth);
    allowed(table.take(key(1), &rate, 1, 0), 1, 2 * tenth);
    allowed(table.take(key(1), &rate, 1, 0), 0, 3 * tenth);
    refused(table.take(key(1), &rate, 1, 0), 0, Some(tenth), 3 * tenth);
    // A nanosecond too early, and in time.
    refused(
        table.take(key(1), &rate, 1, tenth - 1),
        0,
        Some(1),
        2 * tenth + 1,
    );
    allowed(table.take(key(1), &rate, 1, tenth), 0, 3 * tenth);
    // Another key has its own.
    allowed(table.take(key(2), &rate, 1, tenth), 2, tenth);
    // Idleness earns the burst back and no more.
    allowed(table.take(key(1), &rate, 3, SECOND * 3_600), 0, 3 * tenth);
}

#[test]
fn costs() {
    let table = Gcra::new(100);
    let rate = rate(10, 1, 5);
    let tenth = SECOND / 10;
    allowed(table.take(key(1), &rate, 0, 0), 5, 0);
    refused(table.take(key(1), &rate, 6, 0), 5, None, 0);
    refused(table.take(key(1), &rate, u64::MAX, 0), 5, None, 0);
    allowed(table.take(key(1), &rate, 4, 0), 1, 4 * tenth);
    refused(table.take(key(1), &rate, 2, 0), 1, Some(tenth), 4 * tenth);
    allowed(table.take(key(1), &rate, 1, 0), 0, 5 * tenth);
    refused(table.take(key(1), &rate, 6, 0), 0, None, 5 * tenth);
}

#[test]
fn peeking_takes_nothing_and_refunds_give_back() {
    let table = Gcra::new(100);
    let rate = rate(10, 1, 2);
    let tenth = SECOND / 10;
    allowed(table.peek(key(1), &rate, 2, 0), 0, 2 * tenth);
    allowed(table.peek(key(1), &rate, 2, 0), 0, 2 * tenth);
    allowed(table.take(key(1), &rate, 2, 0), 0, 2 * tenth);
    refused(table.peek(key(1), &rate, 1, 0), 0, Some(tenth), 2 * tenth);
    table.refund(key(1), &rate, 2);
    allowed(table.take(key(1), &rate, 2, 0), 0, 2 * tenth);
    // More than was taken is not a larger burst.
    table.refund(key(1), &rate, 1_000_000);
    refused(table.peek(key(1), &rate, 3, 0), 2, None, 0);
    // Nobody is not made somebody.
    table.refund(key(2), &rate, 1);
    assert_eq!(table.live(0), 0);
}

#[test]
fn debts_are_paid_first() {
    let table = Gcra::new(100);
    let rate = rate(10, 1, 2);
    let tenth = SECOND / 10;
    table.charge(key(1), &rate, 5, 0);
    refused(
        table.peek(key(1), &rate, 1, 0),
        0,
        Some(4 * tenth),
        5 * tenth,
    );
    refused(
        table.take(key(1), &rate, 1, 4 * tenth - 1),
        0,
        Some(1),
        tenth + 1,
    );
    allowed(table.take(key(1), &rate, 1, 4 * tenth), 0, 2 * tenth);
    table.charge(key(1), &rate, u64::MAX, 0);
    assert!(!table.peek(key(1), &rate, 1, LONGEST / 2).allowed);
}

#[test]
fn rates_that_cannot_be() {
    let second = Duration::from_secs(1);
    assert_eq!(Rate::new(0, second, 1), Err(RateError::Zero));
    assert_eq!(Rate::new(1, second, 0), Err(RateError::Zero));
    assert_eq!(Rate::new(1, Duration::ZERO, 1), Err(RateError::Zero));
    assert_eq!(Rate::new(SECOND + 1, second, 1), Err(RateError::Range));
    assert_eq!(Rate::new(1, Duration::MAX, 1), Err(RateError::Range));
    assert_eq!(Rate::new(1, second, u64::MAX), Err(RateError::Range));
    assert!(Rate::new(SECOND, second, 1).is_ok());
    // Three a second is never more than three a second.
    assert_eq!(rate(3, 1, 1).interval(), Duration::from_nanos(333_333_334));
}

#[test]
fn shares_add_up_to_no_more() {
    let whole = rate(100, 1, 20);
    let share = whole.share(4);
    assert_eq!(share.interval(), whole.interval() * 4);
    assert_eq!(share.burst(), 5);
    assert_eq!(whole.share(1), whole);
    assert_eq!(whole.share(0), whole);
    // A burst smaller than the number of instances lets each take one.
    assert_eq!(whole.share(50).burst(), 1);
}

#[test]
fn the_end_of_time_refuses() {
    let table = Gcra::new(100);
    let rate = rate(1, 1, 10);
    assert!(!table.take(key(1), &rate, 1, u64::MAX).allowed);
    assert!(!table.take(key(1), &rate, 1, LATEST).allowed);
    assert!(table.take(key(1), &rate, 1, LATEST - SECOND).allowed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn decides_as_governor_does(
        interval in 1_u64..5_000_000_000,
        burst in 1_u32..50,
        // Some seconds in, so that nothing depends on the clock's zero.
        steps in proptest::collection::vec((0_u64..3_000_000_000, 1_u32..8, 0_u64..4), 1..200),
    ) {
        let quota = Quota::with_period(Duration::from_nanos(interval)).unwrap()
            .allow_burst(NonZeroU32::new(burst).unwrap());
        let clock = FakeRelativeClock::default();
        let oracles: Vec<_> = (0..4).map(|_| RateLimiter::direct_with_clock(quota, clock.clone())).collect();
        let table = Gcra::new(64);
        let rate = Rate::new(1, Duration::from_nanos(interval), u64::from(burst)).unwrap();
        let mut now = 0;
        for (wait, cost, who) in steps {
            // Waits of the interval's own size find the edges.
            let wait = if who == 3 { wait % (2 * interval) } else { wait };
            now += wait;
            clock.advance(Duration::from_nanos(wait));
            let oracle = &oracles[usize::try_from(who).unwrap()];
            let expect = matches!(oracle.check_n(NonZeroU32::new(cost).unwrap()), Ok(Ok(())));
            let peeked = table.peek(key(who), &rate, u64::from(cost), now);
            let found = table.take(key(who), &rate, u64::from(cost), now);
            prop_assert_eq!(found.allowed, expect);
            prop_assert_eq!(peeked, found);
        }
    }

    #[test]
    fn never_more_than_the_burst_and_the_rate(
        count in 1_u64..1_000,
        burst in 1_u64..100,
        steps in proptest::collection::vec((0_u64..100_000_000, 1_u64..10), 1..300),
    ) {
        let table = Gcra::new(64);
        let rate = rate(count, 1, burst);
        let (mut now, mut taken) = (0_u64, 0_u64);
        for (wait, cost) in steps {
            now += wait;
            let found = table.take(key(1), &rate, cost, now);
            if found.allowed {
                taken += cost;
            } else if let Some(retry) = found.retry_after {
                // The promise holds to the nanosecond.
                let then = now + u64::try_from(retry.as_nanos()).unwrap();
                prop_assert!(table.peek(key(1), &rate, cost, then).allowed);
                prop_assert!(!table.peek(key(1), &rate, cost, then - 1).allowed);
            }
            // taken <= burst + now * count / second
            let earned = u128::from(now) * u128::from(count) / u128::from(SECOND);
            prop_assert!(u128::from(taken) <= u128::from(burst) + earned);
        }
    }
}

#[test]
fn threads_share_exactly_the_burst() {
    const THREADS: usize = 8;
    const KEYS: u64 = 40;
    const BURST: u64 = 500;
    let table = Gcra::new(1_000);
    let rate = rate(1, 3_600, BURST);
    let taken: Vec<_> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for round in 0..BURST * KEYS / 4 {
                    let who = round % KEYS;
                    let cost = 1 + round % 2;
                    if table.take(key(who), &rate, cost, 5).allowed {
                        taken[usize::try_from(who).unwrap()].fetch_add(cost, Ordering::Relaxed);
                    }
                    if round % 7 == 0 && table.take(key(who), &rate, 1, 5).allowed {
                        table.refund(key(who), &rate, 1);
                    }
                }
                // A cost of two may have been refused where one would fit.
                for who in 0..KEYS {
                    while table.take(key(who), &rate, 1, 5).allowed {
                        taken[usize::try_from(who).unwrap()].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let taken: Vec<_> = taken
        .iter()
        .map(|count| count.load(Ordering::Relaxed))
        .collect();
    assert_eq!(table.evicted(), 0);
    assert_eq!(taken, vec![BURST; usize::try_from(KEYS).unwrap()]);
}

#[test]
fn threads_that_evict_each_other_gain_only_what_eviction_gives() {
    const THREADS: u64 = 8;
    const BURST: u64 = 4;
    // One set of eight slots, and 24 keys that fight for it.
    let table = Gcra::new(1);
    let rate = rate(1, 3_600, BURST);
    let total = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (table, rate, total) = (&table, &rate, &total);
            scope.spawn(move || {
                for round in 0..20_000 {
                    let who = key((round * (thread + 1)) % 24);
                    if table.take(who, rate, 1, 5).allowed {
                        total.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    // Each owner of a slot had one burst, whether it lost the slot or still has it.
    let most = (table.evicted() + 8) * BURST;
    let total = total.load(Ordering::Relaxed);
    assert!(total <= most, "{total} > {most}");
    assert!(table.evicted() > 0 && total > 24 * BURST);
}

#[test]
fn a_flood_of_keys_takes_no_memory_and_forgets_the_heaviest_last() {
    let table = Gcra::new(1_000);
    let rate = rate(1, 3_600, 100);
    let before = table.bytes();
    assert_eq!(before, 4_096 * 16 + size_of_val(&*table.locks));
    // A hundred clients at their limit, and then a million who come once.
    for who in 0..100 {
        assert!(table.take(key(who), &rate, 100, 5).allowed);
    }
    for who in 1_000..1_001_000 {
        assert!(table.take(key(who), &rate, 1, 5).allowed);
    }
    assert_eq!(table.bytes(), before);
    assert!(table.evicted() > 900_000);
    let forgotten = (0..100).filter(|who| table.peek(key(*who), &rate, 1, 5).allowed);
    assert_eq!(forgotten.count(), 0);
}

#[test]
fn keys_that_have_paid_are_evicted_for_nothing() {
    let table = Gcra::new(100);
    let rate = rate(1_000, 1, 10);
    for round in 0..1_000 {
        for who in 0..20 {
            table.take(key(round * 100 + who), &rate, 1, round * SECOND);
        }
    }
    assert_eq!(table.evicted(), 0);
}

/// The table in the README: at a quarter full, one key in thousands loses its state.
#[test]
fn eviction_by_load() {
    let lost = |live: u64| {
        let table = Gcra::new(16_384);
        let rate = rate(1, 3_600, 100);
        for who in 0..live {
            table.take(key(who), &rate, 1, 5);
        }
        table.evicted() * 100_000 / live
    };
    let (quarter, half, full) = (lost(16_384), lost(32_768), lost(65_536));
    // Of 100,000 keys.
    assert!((1..=50).contains(&quarter), "{quarter}");
    assert!((500..=1_500).contains(&half), "{half}");
    assert!((8_000..=20_000).contains(&full), "{full}");
}
