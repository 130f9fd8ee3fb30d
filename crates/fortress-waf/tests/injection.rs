//! The injection detectors say what the C libinjection says, fingerprint and all, and what their
//! first checks dismiss it never finds.
//!
//! `FORTRESS_INJECTION_TEXTS` sets how many texts are made up (20,000 by default).
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests may fail, and say what they skip"
)]

#[path = "injection/oracle.rs"]
mod oracle;
#[path = "injection/texts.rs"]
mod texts;

use std::path::{Path, PathBuf};

use fortress_waf::{
    ByteSet,
    injection::{sqli, xss},
};

use self::{
    oracle::{Answer, Oracle},
    texts::{HTML, Random, SQL},
};

#[test]
fn short_strings() {
    let Some(oracle) = Oracle::build("short") else {
        return;
    };
    let length = if count() > 100_000 { 4 } else { 3 };
    let mut all: Vec<Vec<u8>> = Vec::new();
    for length in 0..=length {
        all.extend(texts::exhaustive(texts::BYTES, length));
    }
    check(&oracle, &all);
    // Whole words instead of bytes: what folding looks at.
    let words = [
        "1", "a", "'", "select", "union", "or", "in", "like", "(", ")", ",", ".", ";", "-", "--",
        "/**/", "@a", "{", "}", "\\", "int", "collate", "x_y", "user", "group by", "::", "if", "`",
        "into x", "exec",
    ];
    let numbers: Vec<u8> = (0..).take(words.len()).collect();
    let strung = texts::exhaustive(&numbers, length).map(|text| {
        let words = text.iter().map(|&word| words[usize::from(word)]);
        words.collect::<Vec<_>>().join(" ").into_bytes()
    });
    check(&oracle, &strung.collect::<Vec<_>>());
}

#[test]
fn made_up_texts() {
    let Some(oracle) = Oracle::build("made-up") else {
        return;
    };
    let mut random = Random::new(0x5eed);
    let mut left = count();
    while left > 0 {
        let batch = left.min(20_000);
        let all: Vec<_> = (0..batch)
            .map(|number| match number % 4 {
                0 => texts::strung(&mut random, HTML, 10),
                1 => texts::strung(&mut random, SQL, 6),
                _ => texts::strung(&mut random, SQL, 14),
            })
            .collect();
        check(&oracle, &all);
        left -= batch;
    }
}

#[test]
fn the_rule_sets_texts_and_their_mutants() {
    let Some(tests) = shared("crs/tests") else {
        return;
    };
    let Some(oracle) = Oracle::build("mutants") else {
        return;
    };
    let seeds = texts::of_rule_set(&tests);
    assert!(seeds.len() > 1_000, "{} texts", seeds.len());
    check(&oracle, &seeds);
    let mut random = Random::new(0xc0de);
    let mut left = count();
    while left > 0 {
        let batch = left.min(20_000);
        let all: Vec<_> = (0..batch)
            .map(|_| texts::mutant(&mut random, &seeds))
            .collect();
        check(&oracle, &all);
        left -= batch;
    }
}

#[test]
fn words_and_numbers_alone() {
    let Some(oracle) = Oracle::build("words") else {
        return;
    };
    let pieces = [
        "0b", "0b1", "0x", "0xf", "1", "2", "23", "2e", "1e5", "d", "f", "union", "UNION", "or",
        "select", "u", "_", "é",
    ];
    let numbers: Vec<u8> = (0..).take(pieces.len()).collect();
    for length in 1..=4 {
        let all: Vec<_> = texts::exhaustive(&numbers, length)
            .map(|text| {
                text.iter()
                    .map(|&word| pieces[usize::from(word)])
                    .collect::<String>()
                    .into_bytes()
            })
            .collect();
        assert!(all.iter().all(|text| !sqli::possible(&ByteSet::of(text))));
        check(&oracle, &all);
    }
}

/// Our answers to each text are C's.
#[track_caller]
fn check(oracle: &Oracle, texts: &[Vec<u8>]) {
    let mut wrong = Vec::new();
    for (text, expected) in texts.iter().zip(oracle.ask(texts)) {
        let bytes = ByteSet::of(text);
        let answer = Answer {
            sqli: sqli::detect(text).map(|found| found.to_string()),
            xss: xss::detect(text),
        };
        let expected = excused(oracle, text, &answer, expected);
        let dismissed = (expected.sqli.is_some() && !sqli::possible(&bytes))
            || (expected.xss && !xss::possible(&bytes));
        if answer != expected || dismissed {
            let text = text.escape_ascii();
            wrong.push(format!(
                "\"{text}\": {answer:?}, C: {expected:?}, dismissed: {dismissed}"
            ));
        }
    }
    wrong.sort_by_key(String::len);
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        texts.len(),
        wrong[..wrong.len().min(25)].join("\n")
    );
}

/// What C is expected to say, given the ways in which this version of it is known to differ.
fn excused(oracle: &Oracle, text: &[u8], ours: &Answer, mut c: Answer) -> Answer {
    let text = text.to_ascii_lowercase();
    let has_exponent = text
        .array_windows()
        .any(|[digit, sign]| matches!(digit, b'0'..=b'9' | b'.') && *sign == b'e');
    if oracle.skips_exponents && (has_exponent || text.array_windows().any(|word| word == b"iif")) {
        c.sqli.clone_from(&ours.sqli);
    }
    let has_on = text.array_windows().any(|word| word == b"on");
    if !oracle.lists_events && c.xss && has_on {
        c.xss = ours.xss;
    }
    c
}

fn count() -> usize {
    option("FORTRESS_INJECTION_TEXTS").map_or(20_000, |count| count.parse().unwrap())
}

fn shared(name: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = option("FORTRESS_SHARED").unwrap_or_else(|| "../shared".to_owned());
    let path = workspace.join(directory).join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(
        option("FORTRESS_REQUIRE_ALL").as_deref() != Some("1"),
        "{} is missing",
        path.display()
    );
    println!("skipped: {} is missing", path.display());
    None
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where things are"
)]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
