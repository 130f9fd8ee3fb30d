//! Single cases, then what decides: no text that a pattern matches may be lost.

mod core_rules;
mod draw;
mod measure;

use regex_syntax::hir::Hir;

use self::{
    core_rules::{Subject, subjects},
    draw::{Random, mutate, other_case, pattern, string, surround},
};
use super::{Alphabet, Builder, Prefilter, Scratch};
use crate::{ByteSet, bits::Bits, pattern::Pattern};

fn tree(pattern: &str) -> Hir {
    Pattern::parse(pattern.as_bytes()).unwrap().hir
}

fn left(prefilter: &Prefilter, text: &[u8], scratch: &mut Scratch) -> Bits {
    let mut candidates = Bits::new(prefilter.tests());
    candidates.fill(true);
    prefilter.narrow(text, Alphabet::of(text), &mut candidates, scratch);
    candidates
}

#[track_caller]
fn check_test(add: impl Fn(&mut Builder) -> usize, kept: &[&str], dropped: &[&str]) {
    let mut builder = Builder::default();
    let test = add(&mut builder);
    let prefilter = builder.build();
    let mut scratch = Scratch::default();
    // Twice: worked out, and remembered.
    for _ in 0..2 {
        for text in kept {
            assert!(
                left(&prefilter, text.as_bytes(), &mut scratch).contains(test),
                "{text:?} is lost"
            );
        }
        for text in dropped {
            assert!(
                !left(&prefilter, text.as_bytes(), &mut scratch).contains(test),
                "{text:?} stays"
            );
        }
    }
}

#[track_caller]
fn check(pattern: &str, kept: &[&str], dropped: &[&str]) {
    check_test(|builder| builder.regex(&tree(pattern)), kept, dropped);
}

#[test]
fn literals_in_any_case() {
    check(
        "abc",
        &["abc", "xABCx", "aababc"],
        &["", "ab", "abd", "ab c"],
    );
    check("(?i)union", &["UNION", "a unIon b"], &["unio", "nion"]);
    check("ab", &["ab", "aab"], &["ba", "a", ""]);
    check(r"\x00\xc3\x83!", &["a\0\u{c3}!"], &["\0!", "\u{c3}!", "!"]);
}

#[test]
fn beginnings_and_ends() {
    check("^abc", &["abc", "abcd"], &["xabc", " abc"]);
    check("abc$", &["abc", "xabc"], &["abcd"]);
    check("^ab$", &["ab", "AB"], &["aab", "abb"]);
    check(
        r"\bselect\b",
        &["select", "a select b", "(select)"],
        &["selects", "preselect"],
    );
    check(r"\Bab", &["xab"], &["ab", " ab"]);
    check("(?m)^ab", &["ab", "x\nab"], &["xab"]);
    check("^$", &[""], &[]);
}

#[test]
fn parts_that_may_be_absent() {
    check("a?", &["", "b"], &[]);
    check("(?:abc)*", &["", "x"], &[]);
    check("(?:abc|)def", &["def", "abcdef", "xdef"], &["abc"]);
    check(
        "abc(?:def)?ghi",
        &["abcghi", "abcdefghi"],
        &["abcxghi", "ghi"],
    );
    check("(?:ab){2,3}", &["abab"], &["ab", "aab"]);
    check("(?:a|bc){2}x", &["aax", "bcax", "abcx"], &["bx", "x"]);
    check("x*(?:ab+c|d?e)", &["abbc", "e"], &["", "1;"]);
}

#[test]
fn choices() {
    check(
        "(?:aaaa|b(?:cccc|.dddd))",
        &["aaaa", "bcccc", "bxdddd"],
        &["dddd", "aaabxddd"],
    );
    check("(?:foo|ba[rz])=", &["foo=", "BAZ="], &["foo", "bax="]);
    check("(?:[0-9]{3}|abc);", &["123;", "abc;"], &["abd", "12x"]);
}

#[test]
fn punctuation_decides_by_the_alphabet() {
    check(r"[;|].*[()]", &[";(", "|x)"], &[";", "()", "abc"]);
    check(r"\$\{.+\}", &["${a}"], &["$a", "{a}"]);
    check(r"[^a-zA-Z0-9]", &["a b", "\u{e9}"], &["abc1", ""]);
}

#[test]
fn lists_of_phrases() {
    let phrases = |list: &'static [&str]| {
        move |builder: &mut Builder| builder.phrases(list.iter().map(|phrase| phrase.as_bytes()))
    };
    check_test(
        phrases(&["nikto", "sql map", "0"]),
        &["xNIKTOx", "SQL MAP", "1"],
        &["sqlmap", ""],
    );
    check_test(phrases(&[";"]), &["a;b"], &["a:b", ""]);
    check_test(phrases(&[]), &[], &["", "a"]);
    check_test(phrases(&["", "abc"]), &["", "x"], &[]);
    check_test(
        phrases(&["a phrase that is longer than the scanner looks"]),
        &["A phrase that is longer than the scanner looks"],
        &["a phrase that is"],
    );
}

#[test]
fn sets_of_bytes_and_judges() {
    check_test(
        |builder| builder.bytes(ByteSet::of(b"\0\xff")),
        &["\0"],
        &["a", ""],
    );
    check_test(|builder| builder.bytes(ByteSet::EMPTY), &[], &["a", ""]);
    check_test(|builder| builder.judged(|_| true), &["", "a"], &[]);
    // It is asked about all bytes of the groups that a text has.
    let judge = |builder: &mut Builder| builder.judged(|bytes| bytes.contains(b'x'));
    check_test(judge, &["x", "abc", "1a"], &["", "1", "(;"]);
}

/// More alphabets than are remembered come and come again, for two prefilters in turn.
#[test]
fn alphabets_that_were_forgotten_are_worked_out_again() {
    let of = |patterns: &[&str]| {
        let mut builder = Builder::default();
        for pattern in patterns {
            builder.regex(&tree(pattern));
        }
        builder.build()
    };
    let (one, other) = (of(&["[;|].*[()]", "#"]), of(&["#", "[;|].*[()]"]));
    const SIGNS: &[u8] = b"!#$%&()*+,;|";
    let mut scratch = Scratch::default();
    for _ in 0..2 {
        for number in 0..1_usize << SIGNS.len() {
            let signs = SIGNS.iter().enumerate();
            let text: Vec<u8> = signs
                .filter(|(at, _)| number >> at & 1 == 1)
                .map(|(_, sign)| *sign)
                .collect();
            let has = |signs: &[u8]| text.iter().any(|byte| signs.contains(byte));
            let (both, hash) = (has(b";|") && has(b"()"), has(b"#"));
            let kept = left(&one, &text, &mut scratch);
            assert_eq!((kept.contains(0), kept.contains(1)), (both, hash));
            let kept = left(&other, &text, &mut scratch);
            assert_eq!((kept.contains(0), kept.contains(1)), (hash, both));
        }
    }
}

#[test]
fn only_candidates_are_kept_and_scratch_serves_any_prefilter() {
    let of = |patterns: &[&str]| {
        let mut builder = Builder::default();
        for pattern in patterns {
            builder.regex(&tree(pattern));
        }
        builder.build()
    };
    let (none, one, many) = (of(&[]), of(&["abc"]), of(&["x"; 100]));
    let mut scratch = Scratch::default();
    for _ in 0..3 {
        assert_eq!(left(&none, b"abc", &mut scratch).count(), 0);
        assert_eq!(left(&one, b"abc", &mut scratch).count(), 1);
        assert_eq!(left(&one, b"abd", &mut scratch).count(), 0);
        assert_eq!(left(&many, b"abc", &mut scratch).count(), 100);
        assert_eq!(left(&many, b"123", &mut scratch).count(), 0);
    }
    let mut candidates = Bits::new(1);
    one.narrow(b"abc", Alphabet::of(b"abc"), &mut candidates, &mut scratch);
    assert!(!candidates.any());
}

/// Patterns and texts over a few bytes, so that a third of the pairs match.
#[test]
fn no_text_of_a_random_pattern_is_lost() {
    const BYTES: &[u8] = b"aabbccABC; \n\0\xff_1";
    let mut random = Random(1);
    let mut scratch = Scratch::default();
    let (mut matched, mut dropped) = (0, 0);
    for _ in 0..1500 {
        let text = pattern(3, &mut random);
        let Ok(pattern) = Pattern::parse(text.as_bytes()) else {
            continue;
        };
        let mut builder = Builder::default();
        builder.regex(&pattern.hir);
        let prefilter = builder.build();
        for turn in 0..40 {
            let value = if turn % 2 == 0 {
                (0..random.below(12))
                    .map(|_| BYTES[random.below(BYTES.len())])
                    .collect()
            } else {
                let mut value = string(&pattern.hir, turn, &mut random);
                mutate(&mut value, &mut random);
                value
            };
            let possible = left(&prefilter, &value, &mut scratch).any();
            if pattern.regex.is_match(&value) {
                matched += 1;
                assert!(
                    possible,
                    "`{text}` loses {:?}",
                    value.escape_ascii().to_string()
                );
            } else if !possible {
                dropped += 1;
            }
        }
    }
    assert!(
        matched > 10_000 && dropped > 2_000,
        "{matched} matched, {dropped} dropped"
    );
}

fn prefilter_of(subjects: &[(String, Subject)]) -> Prefilter {
    let mut builder = Builder::default();
    for (_, subject) in subjects {
        match subject {
            Subject::Regex(pattern) => builder.regex(&pattern.hir),
            Subject::Phrases(phrases, _) => builder.phrases(phrases.iter().map(Vec::as_slice)),
        };
    }
    builder.build()
}

/// A text that may match, drawn from the subject itself.
fn draw(subject: &Subject, turn: usize, random: &mut Random) -> Vec<u8> {
    let mut text = match subject {
        Subject::Regex(pattern) => string(&pattern.hir, turn, random),
        Subject::Phrases(phrases, _) => phrases[turn % phrases.len()].clone(),
    };
    mutate(&mut text, random);
    surround(&text, random)
}

/// How many strings are drawn for each pattern, and how many of them must really match.
const DRAWN: usize = 1000;
const MATCHING: usize = 250;

#[test]
fn no_text_of_a_rule_of_the_core_rule_set_is_lost() {
    let Some(subjects) = subjects() else { return };
    assert!(subjects.len() > 340);
    let prefilter = prefilter_of(&subjects);
    let mut scratch = Scratch::default();
    let mut weak = Vec::new();
    let mut matched_in_all = 0;
    for (test, (place, subject)) in subjects.iter().enumerate() {
        let mut random = Random(u64::try_from(test).unwrap());
        let mut matched = 0;
        for turn in 0..DRAWN {
            let mut text = draw(subject, turn, &mut random);
            if !subject.matches(&text) {
                continue;
            }
            matched += 1;
            let kept = left(&prefilter, &text, &mut scratch);
            let shown = text.escape_ascii().to_string();
            assert!(kept.contains(test), "{place} loses {shown}");
            text.iter_mut().for_each(|byte| *byte = other_case(*byte));
            assert_eq!(
                kept,
                left(&prefilter, &text, &mut scratch),
                "the case of {shown} matters"
            );
        }
        matched_in_all += matched;
        if matched < MATCHING {
            weak.push(format!("{place}: {matched}"));
        }
    }
    // What is anchored and long is hit less often by strings that surroundings spoil.
    assert!(
        weak.len() < 20 && matched_in_all > 200 * DRAWN,
        "{matched_in_all} {weak:#?}"
    );
}
