//! What the prefilter costs and what it leaves, printed:
//! `cargo test --release -p fortress-waf --lib prefilter::tests::measure -- --ignored --nocapture`.

#![expect(
    clippy::print_stdout,
    clippy::as_conversions,
    reason = "it prints figures for people"
)]

use std::{fmt::Write, fs, hint::black_box, path::Path, time::Instant};

use fortress_model::document::Sources;

use super::{
    Alphabet, Bits, Prefilter, Scratch, Subject,
    core_rules::{shared, subjects},
    prefilter_of,
};
use crate::ftw::TestFile;

/// Everyday traffic.
const BENIGN: &[&str] = &[
    "true",
    "42",
    "name",
    "Alice",
    "2024-05-17",
    "2024-05-17T09:30:00Z",
    "json.12.items.3.name",
    "json.customer.address.city",
    "alice.smith@example.com",
    "Rua das Flores 12",
    "+49 30 1234567",
    "a3bb189e-8bf9-3888-9912-ace4e6543002",
    "EUR",
    "19.99",
    "pending_payment",
    "en-GB",
    "https://www.example.com/products/12345?ref=home",
    "/api/v2/orders/12345/items",
    "gzip, deflate, br",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "application/json; charset=utf-8",
    "keep-alive",
    "en-US,en;q=0.5",
    "max-age=0",
    "shop.example.com",
    "\"Chromium\";v=\"124\", \"Google Chrome\";v=\"124\", \"Not-A.Brand\";v=\"99\"",
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "Please deliver after 5 pm; ring twice & leave it with the neighbour (no. 14) if nobody answers!",
    "session=4f9c2b7e1d; theme=dark; _ga=GA1.2.1234567890.1715936400",
    "M\u{fc}ller Stra\u{df}e",
    "size:large",
    "#ff8800",
    "order_by=created_at&limit=50&page=2",
    "4111-1111-1111-1111",
    "v1.2.3-beta+build.5",
    "",
];

fn jwt() -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = super::Random(7);
    (0..500)
        .map(|at| match at {
            40 | 400 => '.',
            _ => char::from(ALPHABET[random.below(64)]),
        })
        .collect()
}

/// A body as an API gets it, as one text.
fn body() -> String {
    let mut out = String::from("[");
    let mut item = 0;
    while out.len() < 1 << 20 {
        let (first, second) = (BENIGN[item % BENIGN.len()], BENIGN[item * 7 % BENIGN.len()]);
        writeln!(
            out,
            "{{\"id\": {item}, \"title\": {first:?}, \"note\": {second:?}}},"
        )
        .unwrap();
        item += 1;
    }
    out
}

fn english() -> String {
    "She had not been in the office for long when the first of the letters arrived, and nobody could say who had selected it from the list. ".repeat(8)
}

/// Texts of the requests that the rules' own tests send: decoded and not.
fn attacks() -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let Some(folder) = shared("crs/tests/regression/tests") else {
        return texts;
    };
    for group in fs::read_dir(folder).unwrap() {
        let group = group.unwrap().path();
        if group.is_dir() {
            for file in fs::read_dir(group).unwrap() {
                add_file(&file.unwrap().path(), &mut texts);
            }
        }
    }
    texts.sort();
    texts.dedup();
    texts
}

fn add_file(path: &Path, texts: &mut Vec<Vec<u8>>) {
    let mut sources = Sources::default();
    let id = sources.add(path.to_str().unwrap(), fs::read_to_string(path).unwrap());
    let file = TestFile::read(id, &sources).unwrap();
    for stage in file.tests.iter().flat_map(|test| &test.stages) {
        let input = &stage.input;
        let query = input.uri.split_once('?').map_or("", |parts| parts.1);
        let data = String::from_utf8_lossy(&input.data).into_owned();
        for value in query.split('&').chain(data.split('&')) {
            let value = value.split_once('=').map_or(value, |parts| parts.1);
            texts.push(value.as_bytes().to_vec());
            texts.push(decoded(value.as_bytes()));
        }
        texts.push(input.uri.clone().into_bytes());
        texts.extend(
            input
                .headers
                .iter()
                .map(|field| field.1.clone().into_bytes()),
        );
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if crate::seclang::Transformation::UrlDecodeUni.apply(text, &mut out) {
        out
    } else {
        text.to_vec()
    }
}

/// Nanoseconds that this thread has had a processor: others may have it at the same time.
fn on_processor() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Nanoseconds for one text, the best of some rounds.
fn time(prefilter: &Prefilter, text: &[u8]) -> f64 {
    let mut scratch = Scratch::default();
    let mut every = Bits::new(prefilter.tests());
    every.fill(true);
    let mut candidates = every.clone();
    let turns = 1 + 200_000 / (text.len() + 20);
    let mut best = f64::MAX;
    for _ in 0..40 {
        let start = Instant::now();
        for _ in 0..turns {
            candidates.copy_from(&every);
            let text = black_box(text);
            prefilter.narrow(text, Alphabet::of(text), &mut candidates, &mut scratch);
            black_box(&candidates);
        }
        best = best
            .min(start.elapsed().as_secs_f64() * 1e9 / f64::from(u32::try_from(turns).unwrap()));
    }
    best
}

fn share(prefilter: &Prefilter, subjects: &[(String, Subject)], name: &str, texts: &[Vec<u8>]) {
    let mut scratch = Scratch::default();
    let (mut kept, mut matched) = (0, 0);
    let mut often = vec![0; subjects.len()];
    for text in texts {
        let left = super::left(prefilter, text, &mut scratch);
        kept += left.count();
        for (test, (place, subject)) in subjects.iter().enumerate() {
            if left.contains(test) {
                often[test] += 1;
            }
            if subject.matches(text) {
                matched += 1;
                assert!(left.contains(test), "{place} loses {}", text.escape_ascii());
            }
        }
    }
    let pairs = texts.len() * subjects.len();
    println!(
        "{name}: {} texts, {kept} of {pairs} pairs left ({:.2} a text), {matched} match",
        texts.len(),
        kept as f64 / texts.len() as f64
    );
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    order.sort_by_key(|&test| usize::MAX - often[test]);
    for &test in order.iter().take(12) {
        println!("    {} {}", often[test], subjects[test].0);
    }
}

#[test]
#[ignore = "it decides nothing: it prints what things cost"]
fn costs() {
    let Some(subjects) = subjects() else { return };
    let start = on_processor();
    let prefilter = prefilter_of(&subjects);
    println!(
        "{} tests, built in {} ms, {} KiB",
        subjects.len(),
        (on_processor() - start) / 1_000_000,
        prefilter.memory() / 1024
    );
    println!("{}", prefilter.describe());
    let mut all = 0.0;
    for text in BENIGN {
        let taken = time(&prefilter, text.as_bytes());
        all += taken;
        println!("{taken:8.0} ns  {:4} bytes  {:.40}", text.len(), text);
    }
    println!("{:8.0} ns each", all / BENIGN.len() as f64);
    for (name, text) in [("token", jwt()), ("english", english()), ("body", body())] {
        let taken = time(&prefilter, text.as_bytes());
        println!(
            "{taken:8.0} ns  {name}, {} bytes, {:.0} MB/s",
            text.len(),
            text.len() as f64 * 1e3 / taken
        );
    }
    let benign: Vec<Vec<u8>> = BENIGN.iter().map(|text| text.as_bytes().to_vec()).collect();
    share(&prefilter, &subjects, "benign", &benign);
    share(
        &prefilter,
        &subjects,
        "long",
        &[jwt().into_bytes(), english().into_bytes()],
    );
    share(&prefilter, &subjects, "attacks", &attacks());
}
