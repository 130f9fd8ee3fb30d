//! What people and machines read of a run.

use std::time::Duration;

use fortress_waf::ftw::{
    Complaint, Difference, Levels, Observed, Outcome, Refusing, Report, Setup, Suite, Tally, Test,
};
use serde_json::{Value, json};

use super::seconds;
use crate::screen::{BAD, CARE, GOOD, HEAD, QUIET, Screen, count, grouped, safe};

/// Bytes of a request that are shown.
const SHOWN: usize = 2_000;

/// A run, judged.
pub(super) struct Run<'r> {
    pub(super) suite: &'r Suite,
    pub(super) observed: &'r [Vec<Observed>],
    pub(super) report: &'r Report,
    pub(super) levels: &'r Levels,
    pub(super) took: Duration,
}

impl Run<'_> {
    /// For people: what failed, then the numbers.
    pub(super) fn print(&self, show: bool, screen: &Screen) {
        for (test, observed, outcome) in self.all() {
            match outcome {
                Outcome::Passed if show => {
                    screen.line(format!("{GOOD}✓{GOOD:#} {}", title(test)));
                    stages(test, observed, &[], screen);
                }
                Outcome::Excused(reason) => {
                    screen.line(format!(
                        "{CARE}–{CARE:#} {}\n  {QUIET}excused:{QUIET:#} {}",
                        title(test),
                        safe(reason)
                    ));
                    if show {
                        stages(test, observed, &[], screen);
                    }
                }
                Outcome::Failed(complaints) => {
                    screen.line(format!("{BAD}✗{BAD:#} {}", title(test)));
                    stages(test, observed, complaints, screen);
                }
                Outcome::Passed => {}
            }
        }
        for one in &self.report.unneeded {
            screen.line(format!(
                "{BAD}✗{BAD:#} {}: the excuse is not needed: {}",
                one.test,
                safe(&one.reason)
            ));
        }
        self.table(screen);
        let Tally {
            passed,
            failed,
            excused,
        } = Tally::of(&self.report.outcomes);
        let style = if self.report.is_clean() { GOOD } else { BAD };
        screen.line(format!(
            "{style}{passed} passed, {failed} failed, {excused} excused{style:#}"
        ));
    }

    fn table(&self, screen: &Screen) {
        let took = seconds(self.took);
        screen.line(format!(
            "{HEAD}paranoia level    tests   passed   failed  excused{HEAD:#}   {QUIET}{took}{QUIET:#}"
        ));
        for (level, tally) in self.report.by_level(self.suite, self.levels) {
            let style = if tally.failed == 0 { GOOD } else { BAD };
            screen.line(format!(
                "{:<14} {:>8} {:>8} {style}{:>8}{style:#} {:>8}",
                name(level),
                grouped(tally.tests()),
                grouped(tally.passed),
                grouped(tally.failed),
                grouped(tally.excused)
            ));
        }
    }

    /// For machines.
    pub(super) fn to_json(&self) -> Value {
        let tally = Tally::of(&self.report.outcomes);
        let levels = self.report.by_level(self.suite, self.levels).into_iter();
        let levels: Vec<Value> = levels
            .map(|(level, tally)| {
                json!({
                    "level": name(level), "tests": tally.tests(), "passed": tally.passed,
                    "failed": tally.failed, "excused": tally.excused,
                })
            })
            .collect();
        let mut failures = Vec::new();
        let mut excused = Vec::new();
        for (test, observed, outcome) in self.all() {
            match outcome {
                Outcome::Passed => {}
                Outcome::Excused(reason) => {
                    excused.push(json!({ "test": test.name(), "reason": reason }));
                }
                Outcome::Failed(complaints) => failures.push(failure(test, observed, complaints)),
            }
        }
        let unneeded = self.report.unneeded.iter();
        let unneeded: Vec<Value> = unneeded
            .map(|one| json!({ "test": one.test, "reason": one.reason }))
            .collect();
        json!({
            "tests": tally.tests(), "passed": tally.passed, "failed": tally.failed,
            "excused": tally.excused, "levels": levels, "failures": failures,
            "excuses": excused, "unneeded_excuses": unneeded,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn all(&self) -> impl Iterator<Item = (&Test, &Vec<Observed>, &Outcome)> {
        let tests = self.suite.tests.iter().zip(self.observed);
        let all = tests.zip(&self.report.outcomes);
        all.map(|((test, observed), outcome)| (test, observed, outcome))
    }
}

fn name(level: u8) -> String {
    match level {
        Levels::NONE => "evaluation".to_owned(),
        level => level.to_string(),
    }
}

fn title(test: &Test) -> String {
    let description = safe(test.description.lines().next().unwrap_or_default());
    format!("{HEAD}{}{HEAD:#}  {description}", test.name())
}

fn stages(test: &Test, observed: &[Observed], complaints: &[Complaint], screen: &Screen) {
    for (index, (stage, observed)) in test.stages.iter().zip(observed).enumerate() {
        let complaint = complaints.iter().find(|complaint| complaint.stage == index);
        // Of a test that failed, what did not fail is of no interest.
        if complaint.is_none() && !complaints.is_empty() {
            continue;
        }
        for difference in complaint
            .iter()
            .flat_map(|complaint| &complaint.differences)
        {
            screen.line(format!("  {CARE}{}{CARE:#}", safe(difference)));
        }
        for line in request(&stage.input.bytes()).lines() {
            screen.line(format!("    {QUIET}{}{QUIET:#}", safe(line)));
        }
        let status = observed
            .status
            .map_or("no answer".to_owned(), |status| status.to_string());
        screen.line(format!("  {status}; rules: {}", list(&observed.rules)));
        for entry in &observed.log {
            screen.line(format!("    {QUIET}{}{QUIET:#}", safe(entry)));
        }
    }
}

fn list(rules: &[u64]) -> String {
    if rules.is_empty() {
        return "none".to_owned();
    }
    let rules: Vec<String> = rules.iter().map(u64::to_string).collect();
    rules.join(", ")
}

/// The request as text; what is no text is escaped, and a long one is cut.
fn request(bytes: &[u8]) -> String {
    let (shown, rest) = bytes.split_at_checked(SHOWN).unwrap_or((bytes, &[]));
    let mut text = String::new();
    for chunk in shown.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if !rest.is_empty() {
        text.push_str(&format!("\n… and {}", count(rest.len(), "byte")));
    }
    text
}

fn failure(test: &Test, observed: &[Observed], complaints: &[Complaint]) -> Value {
    let stages: Vec<Value> = complaints
        .iter()
        .map(|complaint| {
            let stage = test.stages.get(complaint.stage);
            let observed = observed.get(complaint.stage);
            json!({
                "stage": complaint.stage,
                "differences": complaint.differences,
                "request": stage.map(|stage| request(&stage.input.bytes())),
                "status": observed.and_then(|observed| observed.status),
                "rules": observed.map(|observed| &observed.rules),
                "log": observed.map(|observed| &observed.log),
            })
        })
        .collect();
    json!({ "test": test.name(), "description": test.description, "stages": stages })
}

/// In what the two ways of finding rules differ.
pub(super) fn differences(found: &[Difference], tests: usize, screen: &Screen) {
    if screen.is_json() {
        let found: Vec<Value> = found
            .iter()
            .map(|one| json!({ "test": one.test, "stage": one.stage, "differences": one.what }))
            .collect();
        screen.line(json!({ "tests": tests, "differences": found }).to_string());
        return;
    }
    for one in found {
        screen.line(format!(
            "{BAD}✗{BAD:#} {HEAD}{}{HEAD:#} stage {}",
            one.test, one.stage
        ));
        for what in &one.what {
            screen.line(format!("  {}", safe(what)));
        }
    }
    let style = if found.is_empty() { GOOD } else { BAD };
    screen.line(format!(
        "{style}{}{style:#} between all rules and those that can match, in {}",
        count(found.len(), "difference"),
        count(tests, "test")
    ));
}

/// How many attacks were refused.
pub(super) fn refusing(sum: &Refusing, setup: &Setup, screen: &Screen) {
    if screen.is_json() {
        let json = json!({
            "paranoia": setup.paranoia, "attacks": sum.attacks, "refused": sum.refused,
            "below_threshold": sum.light, "clean": sum.clean, "passed": sum.passed,
            "wrong": sum.wrong,
        });
        screen.line(json.to_string());
        return;
    }
    for wrong in &sum.wrong {
        screen.line(format!("{BAD}✗{BAD:#} {}", safe(wrong)));
    }
    screen.line(format!(
        "paranoia level {}: {} of {} refused, {} below the threshold",
        setup.paranoia,
        grouped(sum.refused),
        count(sum.attacks, "attack"),
        grouped(sum.light)
    ));
    screen.line(format!(
        "{} of {} that a rule is not to find passed",
        grouped(sum.passed),
        count(sum.clean, "request")
    ));
    let style = if sum.wrong.is_empty() { GOOD } else { BAD };
    screen.line(format!(
        "{style}{} otherwise than they weigh{style:#}",
        grouped(sum.wrong.len())
    ));
}
