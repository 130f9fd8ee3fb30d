//! A report is honest: excuses must be needed and true, and what is expected can be replaced.

use fortress_model::Sources;

use super::*;
use crate::{ftw::TestFile, seclang::NoFiles};

const TESTS: &str = "
rule_id: 1
tests:
  - test_id: 1
    stages:
      - output: {log: {expect_ids: [1]}}
      - output: {log: {no_expect_ids: [1]}}
  - test_id: 2
    stages:
      - output: {status: 200}
";

fn overrides(text: &str) -> Overrides {
    let mut sources = Sources::default();
    let id = sources.add("o.yaml", format!("test_overrides:\n{text}"));
    Overrides::read(id, &sources).unwrap()
}

fn suite(excused: &str) -> Suite {
    let mut sources = Sources::default();
    let id = sources.add("1.yaml", TESTS);
    Suite {
        tests: TestFile::read(id, &sources).unwrap().tests,
        excused: overrides(excused),
        ..Suite::default()
    }
}

fn observed(rules: &[u64]) -> Observed {
    Observed {
        status: Some(200),
        rules: rules.to_vec(),
        ..Observed::default()
    }
}

/// The first test fails in its second stage, the second passes.
fn report(suite: &Suite) -> Report {
    let all = [observed(&[1]), observed(&[1])];
    suite.judge(&[all.to_vec(), vec![observed(&[])]])
}

#[track_caller]
fn check(excused: &str, is_excused: bool, unneeded: &[&str]) {
    let report = report(&suite(excused));
    match &report.outcomes[0] {
        Outcome::Failed(complaints) => {
            assert!(!is_excused);
            assert_eq!(complaints[0].stage, 1);
            assert_eq!(complaints[0].differences, ["expected rule 1 not to fire"]);
        }
        Outcome::Excused(reason) => assert!(is_excused && reason == "x"),
        Outcome::Passed => panic!("passed"),
    }
    assert_eq!(report.outcomes[1], Outcome::Passed);
    let told: Vec<&str> = report.unneeded.iter().map(|one| &*one.test).collect();
    assert_eq!(told, unneeded);
    assert_eq!(report.is_clean(), is_excused && unneeded.is_empty());
}

#[test]
fn excuses_count_if_they_are_needed_and_true() {
    let one = |rest: &str| format!("  - {{rule_id: 1, reason: x, {rest}}}\n");
    check("  []\n", false, &[]);
    check(&one("test_ids: [1], output: {status: 200}"), true, &[]);
    check(&one("test_ids: [1, 2]"), true, &["1-2"]);
    check(&one("test_ids: [1, 9]"), true, &["1-9"]);
    check(&one("stage_ids: [1]"), true, &["1-2"]);
    check(&one("test_ids: [1], stage_ids: [0]"), false, &["1-1"]);
    check(
        &one("test_ids: [1], output: {status: 400}"),
        false,
        &["1-1"],
    );
    check("  - {rule_id: 2, reason: y}\n", false, &["2"]);
}

#[test]
fn overrides_replace_what_is_expected() {
    let mut suite = suite("  []\n");
    suite.overrides = overrides("  - {rule_id: 1, reason: y, output: {status: 200}}\n");
    assert!(report(&suite).is_clean());
}

#[test]
fn some_tests_can_be_kept_and_their_excuses() {
    let mut suite = suite(
        "  - {rule_id: 1, test_ids: [1, 2], reason: y}\n  - {rule_id: 2, test_ids: [1], reason: y}\n",
    );
    suite.keep(|test| test.id == 2);
    assert_eq!(suite.tests.len(), 1);
    assert_eq!(suite.excused.entries.len(), 1);
    assert_eq!(suite.excused.entries[0].tests, [2]);
}

#[test]
fn levels_come_from_tags_and_order_the_table() {
    let text = "SecAction \"id:1,phase:1,pass,tag:'x',tag:'paranoia-level/3'\"\nSecAction \"id:2,phase:1,pass\"\n";
    let levels = Levels::new(&Ruleset::parse("x", text, &mut NoFiles).unwrap());
    assert_eq!(
        (levels.of(1), levels.of(2), levels.of(3)),
        (Some(3), None, None)
    );
    let suite = suite("  []\n");
    assert_eq!(
        report(&suite).table(&suite, &levels),
        "| paranoia level | tests | passed | failed | excused |\n|---|---:|---:|---:|---:|\n| 3 | 2 | 1 | 1 | 0 |\n| all | 2 | 1 | 1 | 0 |\n"
    );
}
