//! A flood of keys, each seen once, into the table of rates and into `governor`: what a decision
//! takes, and what memory. `cargo run --release -p fortress-limits --example flood -- 10000000`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it is there to print figures"
)]

use std::{fs, num::NonZeroU32, time::Duration, time::Instant};

use fortress_limits::{
    Key,
    gcra::{Gcra, Rate},
};
use governor::{Quota, RateLimiter};

fn main() {
    let keys: u64 = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(10_000_000);
    let before = resident();
    let table = Gcra::new(1_000_000);
    let rate = Rate::new(10, Duration::from_secs(1), 20).unwrap();
    // A client at its limit, asked for all along.
    while table.take(key(u64::MAX), &rate, 1, 1).allowed {}
    let made = resident();
    let began = Instant::now();
    let mut passed = 0_u64;
    for number in 0..keys {
        table.take(key(number), &rate, 1, 1);
        if number % 1_000 == 0 && table.take(key(u64::MAX), &rate, 1, 1).allowed {
            passed += 1;
        }
    }
    let took = began.elapsed();
    println!(
        "table for 1,000,000 keys: {} MiB; after {keys} keys {} MiB; {} ns each; {} evicted; who was at the limit passed {passed} times",
        (made - before) >> 10,
        (resident() - before) >> 10,
        took.as_nanos() / u128::from(keys),
        table.evicted(),
    );
    drop(table);
    let before = resident();
    let limiter = RateLimiter::keyed(Quota::per_second(NonZeroU32::new(10).unwrap()));
    let began = Instant::now();
    let mut at_a_million = 0;
    for number in 0..keys {
        limiter.check_key(&number).unwrap_or_default();
        if number == 999_999 {
            at_a_million = resident() - before;
        }
    }
    println!(
        "governor: {} MiB after 1,000,000 keys, {} MiB after {keys}; {} ns each",
        at_a_million >> 10,
        (resident() - before) >> 10,
        began.elapsed().as_nanos() / u128::from(keys),
    );
}

fn key(number: u64) -> Key {
    let mix = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mix = (mix ^ (mix >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Key::from_halves(
        mix ^ (mix >> 27),
        mix.rotate_left(31).wrapping_mul(0x94d0_49bb_1331_11eb),
    )
}

/// KiB of this process in memory.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
