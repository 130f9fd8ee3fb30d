//! What an API key costs: checked, refused for its form, and unknown.

use std::hint::black_box;

use divan::Bencher;
use fortress_auth::api_key::{
    ApiKey, Environment, KeyBook, KeyRecord, Label, NoRandomness, Pepper,
};
use fortress_model::{Secret, Timestamp};

fn main() {
    divan::main();
}

const NOW: Timestamp = Timestamp(1_790_000_000 * 1_000_000_000);

struct Case {
    book: KeyBook,
    pepper: Pepper,
    texts: Vec<String>,
    unknown: String,
}

fn case(count: usize) -> Option<Case> {
    let pepper = Pepper::new(&Secret::new(vec![1; 32])).ok()?;
    let environment = Environment::new("live").ok()?;
    let owner = Label::new("Example Ltd").ok()?;
    let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness);
    let (mut records, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (id, text) = ApiKey::generate(&environment, &mut random).ok()?;
        let digest = pepper.digest(text.expose());
        let record = KeyRecord::new(id, environment.clone(), owner.clone(), digest, NOW);
        records.push(record);
        texts.push(text.expose().clone());
    }
    let unknown = ApiKey::generate(&environment, &mut random).ok()?.1;
    Some(Case {
        book: KeyBook::of(records),
        pepper,
        texts,
        unknown: unknown.expose().clone(),
    })
}

#[divan::bench(args = [1, 1_000, 100_000])]
fn checked(bencher: Bencher<'_, '_>, count: usize) {
    if let Some(case) = case(count) {
        let mut texts = case.texts.iter().cycle();
        bencher.bench_local(|| {
            texts
                .next()
                .map(|text| case.book.verify(black_box(text), &case.pepper, NOW))
        });
    }
}

#[divan::bench]
fn unknown(bencher: Bencher<'_, '_>) {
    if let Some(case) = case(1_000) {
        bencher.bench(|| {
            case.book
                .verify(black_box(&case.unknown), &case.pepper, NOW)
        });
    }
}

#[divan::bench]
fn malformed(bencher: Bencher<'_, '_>) {
    if let Some(case) = case(1) {
        // The same length with another last letter: only the checksum finds it.
        let mut mistyped = case.unknown.clone();
        let last = mistyped.pop();
        mistyped.push(if last == Some('a') { 'b' } else { 'a' });
        bencher.bench(|| case.book.verify(black_box(&mistyped), &case.pepper, NOW));
    }
}

#[divan::bench]
fn digest(bencher: Bencher<'_, '_>) {
    if let Some(case) = case(1) {
        bencher.bench(|| case.pepper.digest(black_box(&case.unknown)));
    }
}
