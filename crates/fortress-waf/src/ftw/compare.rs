//! In what two runs of the same tests differ: what finds the rules that can match must not change
//! what they find.

use super::{format::Test, judge::Observed};
use crate::engine::Finding;

/// A stage in which two runs differ.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The test.
    pub test: String,
    /// The stage, from 0.
    pub stage: usize,
    /// In what.
    pub what: Vec<String>,
}

/// Every stage in which two runs in process differ, in whatever they observed.
#[must_use]
pub fn compare(tests: &[Test], one: &[Vec<Observed>], other: &[Vec<Observed>]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for ((test, one), other) in tests.iter().zip(one).zip(other) {
        for (stage, (one, other)) in one.iter().zip(other).enumerate() {
            let what = between(one, other);
            if !what.is_empty() {
                let test = test.name();
                differences.push(Difference { test, stage, what });
            }
        }
    }
    differences
}

fn between(one: &Observed, other: &Observed) -> Vec<String> {
    let mut what = Vec::new();
    let lacks = |findings: &[Finding], wanted: &Finding| !findings.contains(wanted);
    for (side, from, to) in [("first", one, other), ("second", other, one)] {
        let only = from
            .findings
            .iter()
            .filter(|found| lacks(&to.findings, found));
        what.extend(only.map(|found| format!("only the {side}: {found:?}")));
    }
    if what.is_empty() && one.rules != other.rules {
        what.push(format!("{:?} and {:?}", one.rules, other.rules));
    }
    if one.verdict != other.verdict {
        what.push(format!("{:?} and {:?}", one.verdict, other.verdict));
    }
    if (one.status, &one.answer) != (other.status, &other.answer) {
        what.push(format!("status {:?} and {:?}", one.status, other.status));
    }
    what
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{engine::Verdict, seclang::Phase};

    fn observed(messages: &[&str]) -> Observed {
        let findings = messages.iter().map(|message| Finding {
            rule: 1,
            phase: Phase::RequestHeaders,
            message: (*message).to_owned(),
            data: String::new(),
            severity: None,
            version: String::new(),
            tags: Vec::new(),
            score: 0,
            matched: Vec::new(),
        });
        Observed {
            rules: vec![1; messages.len()],
            findings: findings.collect(),
            ..Observed::default()
        }
    }

    #[track_caller]
    fn check(one: &Observed, other: &Observed, differences: usize) {
        assert_eq!(between(one, other).len(), differences);
    }

    #[test]
    fn everything_that_was_observed_is_compared() {
        let one = observed(&["a", "b"]);
        check(&one, &one, 0);
        check(&one, &observed(&["a"]), 1);
        check(&one, &observed(&["a", "c"]), 2);
        check(&observed(&["a", "a"]), &observed(&["a"]), 1);
        let mut other = one.clone();
        other.verdict = Some(Verdict::Exhausted);
        other.status = Some(1);
        check(&one, &other, 2);
    }
}
