//! Tests, what is said beside them, and what came of them all.
//!
//! A test that fails may be excused, for a reason and with the outcome that stands in its place. An
//! excuse that is not needed is a failure of the run: the list cannot rot.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    format::Test,
    judge::{Observed, judge},
    overrides::{Override, Overrides},
};
use crate::seclang::{Action, DirectiveKind, Link, Piece, Ruleset};

/// Tests, and what is said beside them.
#[derive(Debug, Default)]
pub struct Suite {
    /// The tests.
    pub tests: Vec<Test>,
    /// What a platform does otherwise; it replaces what tests expect.
    pub overrides: Overrides,
    /// Tests that may fail.
    pub excused: Overrides,
}

/// What came of a test.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Everything is as expected.
    Passed,
    /// Not as expected, and excused: why.
    Excused(String),
    /// Not as expected: in which stages, and in what.
    Failed(Vec<Complaint>),
}

/// A stage that is not as expected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    /// Which, from 0.
    pub stage: usize,
    /// In what.
    pub differences: Vec<String>,
}

/// What came of all tests.
#[derive(Debug)]
pub struct Report {
    /// Of each test, in order.
    pub outcomes: Vec<Outcome>,
    /// Excuses without need.
    pub unneeded: Vec<Unneeded>,
}

/// An excuse for a test that passes without, or that is not there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unneeded {
    /// The test; a rule alone if the excuse is for all of its tests and there are none.
    pub test: String,
    /// The reason that it gives.
    pub reason: String,
}

impl Suite {
    /// Keeps the tests of a rule (`942100`), or one of them (`942100-7`), and their excuses.
    pub fn keep(&mut self, wanted: impl Fn(&Test) -> bool) {
        self.tests.retain(|test| wanted(test));
        let tests = &self.tests;
        let is_here =
            |entry: &Override| tests.iter().any(|test| entry.concerns(test.rule, test.id));
        for entry in &mut self.excused.entries {
            let here = |id: &u64| {
                tests
                    .iter()
                    .any(|test| (test.rule, test.id) == (entry.rule, *id))
            };
            entry.tests.retain(here);
        }
        self.excused.entries.retain(is_here);
    }

    /// Compares what came of each test (stage by stage) with what it expects.
    #[must_use]
    pub fn judge(&self, observed: &[Vec<Observed>]) -> Report {
        let mut needed = BTreeSet::new();
        let pairs = self.tests.iter().zip(observed);
        let outcomes = pairs
            .map(|(test, stages)| self.outcome(test, stages, &mut needed))
            .collect();
        Report {
            outcomes,
            unneeded: self.unneeded(&needed),
        }
    }

    fn outcome(
        &self,
        test: &Test,
        observed: &[Observed],
        needed: &mut BTreeSet<(usize, u64)>,
    ) -> Outcome {
        let mut complaints = Vec::new();
        let mut reasons = Vec::new();
        for (index, (stage, observed)) in test.stages.iter().zip(observed).enumerate() {
            let replaced = self.overrides.find(test.rule, test.id, index);
            let expected = replaced.map_or(&stage.output, |(_, entry)| &entry.output);
            let differences = judge(expected, observed);
            if differences.is_empty() {
                continue;
            }
            match self.excused.find(test.rule, test.id, index) {
                Some((entry, excuse)) if judge(&excuse.output, observed).is_empty() => {
                    needed.insert((entry, test.id));
                    reasons.push(excuse.reason.clone());
                }
                Some(_) | None => complaints.push(Complaint {
                    stage: index,
                    differences,
                }),
            }
        }
        if !complaints.is_empty() {
            Outcome::Failed(complaints)
        } else if reasons.is_empty() {
            Outcome::Passed
        } else {
            reasons.dedup();
            Outcome::Excused(reasons.join("; "))
        }
    }

    fn unneeded(&self, needed: &BTreeSet<(usize, u64)>) -> Vec<Unneeded> {
        let mut unneeded = Vec::new();
        for (index, entry) in self.excused.entries.iter().enumerate() {
            let of_rule = self.tests.iter().filter(|test| test.rule == entry.rule);
            let tests: Vec<u64> = if entry.tests.is_empty() {
                of_rule.map(|test| test.id).collect()
            } else {
                entry.tests.clone()
            };
            let mut say = |test: String| {
                unneeded.push(Unneeded {
                    test,
                    reason: entry.reason.clone(),
                });
            };
            if tests.is_empty() {
                say(entry.rule.to_string());
            }
            for id in tests {
                if !needed.contains(&(index, id)) {
                    say(format!("{}-{id}", entry.rule));
                }
            }
        }
        unneeded
    }
}

impl Override {
    fn concerns(&self, rule: u64, test: u64) -> bool {
        self.rule == rule && (self.tests.is_empty() || self.tests.contains(&test))
    }
}

/// How many tests passed, failed, and were excused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// As expected.
    pub passed: usize,
    /// Not as expected.
    pub failed: usize,
    /// Not as expected, and excused.
    pub excused: usize,
}

impl Tally {
    /// Of some outcomes.
    #[must_use]
    pub fn of<'o>(outcomes: impl IntoIterator<Item = &'o Outcome>) -> Self {
        let mut tally = Self::default();
        for outcome in outcomes {
            match outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed(_) => tally.failed += 1,
                Outcome::Excused(_) => tally.excused += 1,
            }
        }
        tally
    }

    /// All of them.
    #[must_use]
    pub fn tests(self) -> usize {
        self.passed + self.failed + self.excused
    }
}

impl Report {
    /// Nothing failed, and no excuse is without need.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        Tally::of(&self.outcomes).failed == 0 && self.unneeded.is_empty()
    }

    /// By the paranoia level of the tests' rules; last those of rules that have none.
    #[must_use]
    pub fn by_level(&self, suite: &Suite, levels: &Levels) -> BTreeMap<u8, Tally> {
        let mut of_level: BTreeMap<u8, Vec<&Outcome>> = BTreeMap::new();
        for (test, outcome) in suite.tests.iter().zip(&self.outcomes) {
            let level = levels.of(test.rule).unwrap_or(Levels::NONE);
            of_level.entry(level).or_default().push(outcome);
        }
        let tallies = of_level.into_iter();
        tallies
            .map(|(level, outcomes)| (level, Tally::of(outcomes)))
            .collect()
    }

    /// The table of conformance, in Markdown.
    #[must_use]
    pub fn table(&self, suite: &Suite, levels: &Levels) -> String {
        let mut table = String::from(
            "| paranoia level | tests | passed | failed | excused |\n|---|---:|---:|---:|---:|\n",
        );
        let mut row = |name: &str, tally: Tally| {
            let Tally {
                passed,
                failed,
                excused,
            } = tally;
            let tests = tally.tests();
            table.push_str(&format!(
                "| {name} | {tests} | {passed} | {failed} | {excused} |\n"
            ));
        };
        for (level, tally) in self.by_level(suite, levels) {
            match level {
                Levels::NONE => row("evaluation", tally),
                level => row(&level.to_string(), tally),
            }
        }
        row("all", Tally::of(&self.outcomes));
        table
    }
}

/// The paranoia levels of rules, from their tags.
#[derive(Debug)]
pub struct Levels(HashMap<u64, u8>);

impl Levels {
    /// Where a level is said, of rules that have none: those that weigh what the others found.
    pub const NONE: u8 = u8::MAX;

    /// Of these rules.
    #[must_use]
    pub fn new(ruleset: &Ruleset) -> Self {
        let rules = ruleset.directives().iter().filter_map(|directive| {
            if let DirectiveKind::Rule(rule) = &directive.kind {
                rule.links.first()
            } else {
                None
            }
        });
        Self(rules.filter_map(id_and_level).collect())
    }

    /// Of a rule; `None` if it says none.
    #[must_use]
    pub fn of(&self, rule: u64) -> Option<u8> {
        self.0.get(&rule).copied()
    }
}

fn id_and_level(link: &Link) -> Option<(u64, u8)> {
    let (mut id, mut level) = (None, None);
    for action in &link.actions {
        if let Action::Id(found) = action {
            id = Some(*found);
        } else if let Action::Tag(tag) = action
            && let [Piece::Text(text)] = tag.0.as_slice()
            && let Some([digit @ b'1'..=b'4']) = text.strip_prefix(b"paranoia-level/")
        {
            level = Some(digit - b'0');
        }
    }
    Some((id?, level?))
}

#[cfg(test)]
mod tests;
