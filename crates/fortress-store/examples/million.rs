//! What a million API keys cost: `cargo run --release -p fortress-store --example million [KEYS]`.
//!
//! Makes a store in a temporary directory, fills it, loads it as the gateway does at its start, and
//! looks keys up in random order, so that they are not in the processor's cache.
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that fails has no figures"
)]

use std::{
    hint::black_box,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use fortress_auth::api_key::{
    ApiKey, BookBuilder, Environment, KeyRecord, Label, NoRandomness, Pepper,
};
use fortress_model::{Secret, Timestamp, config::StorePlace};
use fortress_store::{MasterKeys, Presence, open};

const NOW: Timestamp = Timestamp(1_790_000_000 * 1_000_000_000);
const LOOK_UPS: usize = 1_000_000;

fn main() {
    let count = std::env::args().nth(1);
    let count: usize = count.map_or(1_000_000, |count| count.parse().unwrap());
    let mut out = std::io::stdout().lock();
    let mut say = |text: String| writeln!(out, "{text}").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let seal = Arc::new(MasterKeys::create(&directory.path().join("key")).unwrap());
    let file = directory.path().join("fortress.db");
    let store = open(&StorePlace::Embedded(file.clone()), seal, Presence::Made).unwrap();

    let pepper = Pepper::new(&Secret::new(vec![1; 32])).unwrap();
    let environment = Environment::new("live").unwrap();
    let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness);
    let mut texts = Vec::with_capacity(count);
    let began = Instant::now();
    while texts.len() < count {
        let mut batch = Vec::new();
        for _ in 0..(count - texts.len()).min(20_000) {
            let (id, text) = ApiKey::generate(&environment, &mut random).unwrap();
            let number = texts.len();
            let owner = Label::new(&format!("customer {number}")).unwrap();
            let digest = pepper.digest(text.expose());
            let mut key = KeyRecord::new(id, environment.clone(), owner, digest, NOW);
            let scopes = ["orders:read", "orders:write"].iter().take(1 + number % 2);
            key.access.scopes = scopes.map(|scope| Label::new(scope).unwrap()).collect();
            batch.push(key);
            texts.push(text.expose().clone());
        }
        store.insert_keys(&batch).unwrap();
    }
    let size = std::fs::metadata(&file).unwrap().len();
    say(format!(
        "made and stored {count} keys in {:.1} s; the file has {} bytes a key",
        began.elapsed().as_secs_f64(),
        size / u64::try_from(count).unwrap()
    ));

    let before = resident();
    let began = Instant::now();
    let mut builder = BookBuilder::default();
    store
        .load(&mut |key| builder.add(&key), &mut |_| {})
        .unwrap();
    let book = builder.finish();
    let took = began.elapsed();
    say(format!(
        "loaded in {:.2} s ({:.2} µs a key); {} bytes of memory a key",
        took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap_or(u32::MAX)),
        (resident().saturating_sub(before)) / count
    ));

    // A stride that is prime to the count visits every key, far from the one before.
    let mut at = 0;
    let mut next = || {
        at = (at + 7_368_787) % count;
        at
    };
    let began = Instant::now();
    for _ in 0..LOOK_UPS {
        let text = texts.get(next()).unwrap();
        black_box(book.verify(black_box(text), &pepper, NOW)).unwrap();
    }
    say(format!("checked a key: {}", each(began.elapsed())));
    let began = Instant::now();
    for _ in 0..LOOK_UPS {
        black_box(pepper.digest(black_box(texts.get(next()).unwrap())));
    }
    say(format!("of this its digest: {}", each(began.elapsed())));

    let changed = store.keys().unwrap();
    let changed = changed.first().cloned().into_iter().collect::<Vec<_>>();
    let began = Instant::now();
    let book = black_box(book.with(&changed));
    say(format!("one key changed: {:?}", began.elapsed()));
    assert_eq!(book.len(), count);
}

fn each(took: Duration) -> String {
    format!(
        "{:.0} ns",
        took.as_secs_f64() * 1e9 / f64::from(u32::try_from(LOOK_UPS).unwrap_or(u32::MAX))
    )
}

/// Bytes of memory that this process has (Linux; elsewhere zero).
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kibibytes.unwrap_or(0) * 1024
}
