//! Nanoseconds of a decision, beside `governor`: one key, a million keys, and all limits of an
//! operation at once. The allocator counts: a decision allocates nothing.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::{
    borrow::Cow,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use divan::Bencher;
use fortress_limits::{
    Key,
    concurrency::Concurrency,
    cost::Number,
    gcra::{Gcra, Rate},
    key::{KeySpec, Missing, Part, Prefixes, Secret, Stage, Subject},
    limiter::{Keys, Limit, Limiter, Limits, Now},
    quota::{Edge, Quota, Quotas, Unit},
};
use fortress_model::{
    Mode,
    clock::Timestamp,
    config::{Factor, LimitFault, settings},
    document::{Format, Sources, read},
};
use governor::{Quota as GovernorQuota, RateLimiter};
use jiff::tz::TimeZone;

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

const MANY: u64 = 1_000_000;

fn main() {
    divan::main();
}

fn key(number: u64) -> Key {
    let mix = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Key::from_halves(
        mix ^ (mix >> 29),
        mix.rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9),
    )
}

fn rate() -> Rate {
    Rate::new(1_000_000, Duration::from_secs(1), 1_000).unwrap()
}

#[divan::bench(threads = [1, 2])]
fn gcra_one_key(bencher: Bencher<'_, '_>) {
    let (table, rate, clock) = (Gcra::new(1_000), rate(), AtomicU64::new(0));
    bencher.bench(|| {
        let now = clock.fetch_add(1_000, Ordering::Relaxed);
        table.take(black_box(key(1)), &rate, 1, now)
    });
}

#[divan::bench(threads = [1, 2])]
fn governor_one_key(bencher: Bencher<'_, '_>) {
    let quota = GovernorQuota::per_second(NonZeroU32::new(1_000_000).unwrap());
    let limiter = RateLimiter::keyed(quota);
    bencher.bench(|| limiter.check_key(black_box(&1_u64)).is_ok());
}

#[divan::bench(threads = [1, 2])]
fn gcra_million_keys(bencher: Bencher<'_, '_>) {
    let (table, rate, clock) = (Gcra::new(1_000_000), rate(), AtomicU64::new(0));
    for number in 0..MANY {
        table.take(key(number), &rate, 1, 0);
    }
    bencher.bench(|| {
        let now = clock.fetch_add(1_000, Ordering::Relaxed);
        let number = (now / 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15) % MANY;
        table.take(key(number), &rate, 1, now)
    });
}

#[divan::bench(threads = [1, 2])]
fn governor_million_keys(bencher: Bencher<'_, '_>) {
    let quota = GovernorQuota::per_second(NonZeroU32::new(1_000_000).unwrap());
    let limiter = RateLimiter::keyed(quota);
    for number in 0..MANY {
        limiter.check_key(&number).unwrap_or_default();
    }
    let clock = AtomicU64::new(0);
    bencher.bench(|| {
        let number = clock
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            % MANY;
        limiter.check_key(&number).is_ok()
    });
}

#[divan::bench]
fn quota_million_keys(bencher: Bencher<'_, '_>) {
    let table = Quotas::new(1_000_000);
    let quota = Quota::new(1_000_000, Unit::Day, TimeZone::UTC, Edge::Calendar);
    let clock = AtomicU64::new(0);
    bencher.bench(|| {
        let number = clock
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            % MANY;
        table.take(key(number), &quota, 1, Timestamp(1_795_910_400_000_000_000))
    });
}

#[divan::bench(threads = [1, 2])]
fn concurrency(bencher: Bencher<'_, '_>) {
    let table = Concurrency::new(10_000);
    let clock = AtomicU64::new(0);
    bencher.bench(|| {
        let number = clock.fetch_add(1, Ordering::Relaxed) % 1_000;
        table.enter(key(number), 5).is_ok()
    });
}

struct Request {
    client: IpAddr,
}

impl Subject for Request {
    fn client(&self) -> IpAddr {
        self.client
    }

    fn part(&self, part: &Part) -> Option<Cow<'_, [u8]>> {
        matches!(part, Part::Operation).then_some(Cow::Borrowed(b"listOrders"))
    }

    fn number(&self, _: &Factor) -> Number<'_> {
        Number::Text(Cow::Borrowed(b"150"))
    }

    fn is_principal(&self, _: &str) -> bool {
        false
    }

    fn is_in(&self, _: &str) -> bool {
        false
    }
}

#[divan::bench]
fn key_of_a_client(bencher: Bencher<'_, '_>) {
    let spec = KeySpec::new(
        &Secret::new([7; 16]),
        "orders#client-10-s",
        [Part::Client],
        Missing::Client,
        Prefixes::default(),
    );
    let request = Request {
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    bencher.bench(|| spec.key(black_box(&request)));
}

#[divan::bench(threads = [1, 2])]
fn three_limits_of_an_operation(bencher: Bencher<'_, '_>) {
    let text = "limits: [{ per: client, rate: 1000000/s, cost: query.n / 100 }, { per: client, quota: 1000000000/day }, { per: client, concurrent: 5 }]";
    let mut sources = Sources::default();
    let id = sources.add("a.yaml", text);
    let (settings, _) = settings(&read(id, &sources, Format::Yaml).unwrap());
    let secret = Secret::new([7; 16]);
    let rules = settings.limits.unwrap();
    let limits = rules.iter().map(|rule| {
        Limit::new(
            &rule.value,
            "orders",
            (Mode::Enforce, LimitFault::Local),
            &secret,
        )
        .unwrap()
    });
    let limits = Limits::new(limits);
    let limiter = Limiter::new(Keys::default());
    let clock = AtomicU64::new(0);
    bencher.bench(|| {
        let number = clock.fetch_add(1, Ordering::Relaxed);
        let client = u32::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000).unwrap();
        let request = Request {
            client: IpAddr::V4(Ipv4Addr::from_bits(client)),
        };
        let now = Now {
            elapsed: number * 1_000,
            wall: Timestamp(1_795_910_400_000_000_000 + number * 1_000),
        };
        limiter.take(&limits, Stage::Head, &request, now).refused
    });
}
