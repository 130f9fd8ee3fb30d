//! The same requests where rules refuse: whether attacks are refused, and nothing else is.
//!
//! Deliberately not here: paranoia levels above the one that the rules were set up with.

use super::{format::Test, judge::Observed, suite::Levels};
use crate::{
    engine::{RefusalKind, Verdict},
    seclang::Phase,
};

/// What came of requests where rules refuse.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refusing {
    /// Requests that set off a rule of the level, by their test.
    pub attacks: usize,
    /// Those of them that were refused.
    pub refused: usize,
    /// Those of them that weigh less than the threshold.
    pub light: usize,
    /// Requests that set off none, by their test.
    pub clean: usize,
    /// Those of them that were passed.
    pub passed: usize,
    /// Requests that were refused although they weigh too little, or passed although they weigh
    /// enough; attacks in which the rule was not set off.
    pub wrong: Vec<String>,
}

/// CRS's thresholds for requests and for responses.
const THRESHOLDS: (i64, i64) = (5, 4);

/// Sums up a run in which rules refuse, set up at a paranoia level.
#[must_use]
pub fn refusing(
    tests: &[Test],
    observed: &[Vec<Observed>],
    levels: &Levels,
    paranoia: u8,
) -> Refusing {
    let mut sum = Refusing::default();
    for (test, observed) in tests.iter().zip(observed) {
        for (number, (stage, observed)) in test.stages.iter().zip(observed).enumerate() {
            // What is no HTTP, no rule has seen.
            let Some(verdict) = &observed.verdict else {
                continue;
            };
            let in_level = |id: &&u64| levels.of(**id).is_some_and(|level| level <= paranoia);
            let expected: Vec<u64> = stage
                .output
                .expect_ids
                .iter()
                .filter(in_level)
                .copied()
                .collect();
            let is_refused = matches!(verdict, Verdict::Refuse(_));
            let is_heavy = is_heavy(observed);
            let mut wrong = wrong(verdict, is_heavy, observed);
            if !expected.is_empty() {
                sum.attacks += 1;
                sum.refused += usize::from(is_refused);
                sum.light += usize::from(!is_refused && !is_heavy);
                // Where a request is refused, rules for its answer are not asked.
                let fired = expected.iter().any(|id| observed.rules.contains(id));
                if !fired && !is_refused {
                    wrong = Some(format!("no rule of {expected:?} was set off"));
                }
            } else if stage.output.expect_ids.is_empty() {
                sum.clean += 1;
                sum.passed += usize::from(!is_refused);
            }
            if let Some(wrong) = wrong {
                sum.wrong
                    .push(format!("{} stage {number}: {wrong}", test.name()));
            }
        }
    }
    sum
}

fn wrong(verdict: &Verdict, is_heavy: bool, observed: &Observed) -> Option<String> {
    let rules = &observed.rules;
    match verdict {
        Verdict::Exhausted => Some("the rules did not come to their end".to_owned()),
        Verdict::TooLarge(_) => Some("the body is refused for its length".to_owned()),
        Verdict::Pass if is_heavy => Some(format!("passed, with rules {rules:?}")),
        Verdict::Pass => None,
        Verdict::Refuse(refusal) => match refusal.kind {
            RefusalKind::Score if refusal.status != 403 => {
                Some(format!("refused with {}", refusal.status))
            }
            RefusalKind::Score if !is_heavy => {
                Some(format!("refused by {}, with rules {rules:?}", refusal.rule))
            }
            RefusalKind::Score | RefusalKind::Body => None,
            RefusalKind::Rule => Some(format!("refused by {} itself", refusal.rule)),
        },
    }
}

fn is_heavy(observed: &Observed) -> bool {
    let (mut request, mut response) = (0, 0);
    for finding in &observed.findings {
        match finding.phase {
            Phase::RequestHeaders | Phase::RequestBody => request += finding.score,
            Phase::ResponseHeaders | Phase::ResponseBody => response += finding.score,
            Phase::Logging => {}
        }
    }
    request >= THRESHOLDS.0 || response >= THRESHOLDS.1
}
