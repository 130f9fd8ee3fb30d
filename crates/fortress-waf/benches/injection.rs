//! What it costs to look for SQL and script in one value: our detectors, their first checks alone,
//! and the crate `barbacane-libinjection` beside them.

use divan::Bencher;
use fortress_waf::{
    ByteSet,
    injection::{sqli, xss},
};

const VALUES: &[(&str, &str)] = &[
    ("word", "description"),
    ("number", "1048576"),
    ("uuid", "6f1c2a9e-7b44-4d0e-9a53-0c8e51d2f7ab"),
    ("date", "2026-11-24T05:38:11Z"),
    ("email", "first.last@mail.example.org"),
    (
        "sentence",
        "The quick brown fox jumps over the lazy dog, and then rests",
    ),
    ("apostrophes", "it's a nice day, isn't it"),
    (
        "agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "token",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJl-_x==",
    ),
    ("sql", "1' OR '1'='1"),
    (
        "union",
        "-1 UNION ALL SELECT name, password FROM users WHERE 1=1 -- ",
    ),
    ("script", "<script>alert(document.cookie)</script>"),
    ("event", "\"><img src=x onerror=alert(1)>"),
];

fn main() {
    divan::main();
}

fn names() -> impl Iterator<Item = &'static str> {
    VALUES.iter().map(|(name, _)| *name)
}

fn value(name: &str) -> &'static [u8] {
    let found = VALUES.iter().find(|(known, _)| *known == name);
    found.map_or(b"", |(_, value)| value.as_bytes())
}

#[divan::bench(args = names())]
fn sqli_ours(bencher: Bencher<'_, '_>, name: &str) {
    let value = value(name);
    bencher.bench(|| sqli::detect(divan::black_box(value)));
}

#[divan::bench(args = names())]
fn sqli_crate(bencher: Bencher<'_, '_>, name: &str) {
    let value = value(name);
    bencher.bench(|| libinjectionrs::detect_sqli(divan::black_box(value)).is_injection());
}

#[divan::bench(args = names())]
fn sqli_possible(bencher: Bencher<'_, '_>, name: &str) {
    let bytes = ByteSet::of(value(name));
    bencher.bench(|| sqli::possible(divan::black_box(&bytes)));
}

#[divan::bench(args = names())]
fn xss_ours(bencher: Bencher<'_, '_>, name: &str) {
    let value = value(name);
    bencher.bench(|| xss::detect(divan::black_box(value)));
}

#[divan::bench(args = names())]
fn xss_crate(bencher: Bencher<'_, '_>, name: &str) {
    let value = value(name);
    bencher.bench(|| libinjectionrs::detect_xss(divan::black_box(value)).is_injection());
}
