//! `fortress waf test`: the regression tests of a rule set against this engine, in this process or
//! through a gateway of its own.
//!
//! Deliberately not here: what a test means and whether it passes (`fortress_waf::ftw`).

mod material;
mod shown;
mod wire;

use std::{num::NonZeroUsize, path::PathBuf, str::FromStr, sync::Arc, thread, time::Instant};

use anyhow::{Result, anyhow};
use fortress_waf::{
    engine::{Engine, Screening},
    ftw::{Levels, Mode, Observed, Process, Setup, Test, compare, in_parallel, refusing},
    seclang::Ruleset,
};

use crate::{
    command::{End, Usage},
    screen::{Screen, count, grouped},
};
use material::{Material, mistakes};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress waf test --crs coreruleset
  fortress waf test --crs coreruleset --only 942100-7 --show
  fortress waf test --crs coreruleset --compare --paranoia 2
  fortress waf test --crs coreruleset --blocking
  fortress waf test --crs coreruleset --wire

Exit codes: 0 all passed, 1 a test failed or an excuse is not needed.";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The rule set: a directory with `rules`, and `crs-setup.conf` or its example
    #[arg(long, value_name = "DIR", default_value = "crs")]
    crs: PathBuf,
    /// The tests; else `tests/regression/tests` in the rule set's directory
    #[arg(long, value_name = "DIR")]
    tests: Option<PathBuf>,
    /// Only the tests of a rule, or one of them; several times for several
    #[arg(long, value_name = "RULE[-TEST]")]
    only: Vec<Only>,
    /// Shows every test, with its request and the rules that it set off
    #[arg(long)]
    show: bool,
    /// What a platform does otherwise than the tests expect, in go-ftw's format
    #[arg(long, value_name = "FILE")]
    overrides: Option<PathBuf>,
    /// Tests that may fail, and why, in the same format; else those that are known to
    #[arg(long, value_name = "FILE")]
    excused: Option<PathBuf>,
    /// The paranoia level; only tests of rules up to it run [default: 4; with --blocking 1]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(1..=4))]
    paranoia: Option<u8>,
    /// Asks every rule, also those that cannot match
    #[arg(long)]
    exhaustive: bool,
    /// Runs every request both ways, and tells each difference in what is found
    #[arg(long, conflicts_with_all = ["exhaustive", "blocking", "wire", "table"])]
    compare: bool,
    /// Lets the rules refuse, and tells how many attacks are refused
    #[arg(long, conflicts_with_all = ["wire", "table"])]
    blocking: bool,
    /// Sends the requests to a gateway of its own, over connections
    #[arg(long, conflicts_with_all = ["exhaustive", "table"])]
    wire: bool,
    /// Prints the table of conformance, in Markdown, and nothing else
    #[arg(long)]
    table: bool,
}

/// `942100`, or `942100-7`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Only {
    rule: u64,
    test: Option<u64>,
}

impl FromStr for Only {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write the number of a rule, or of a test too: `942100-7`";
        let (rule, test) = match text.split_once('-') {
            None => (text, None),
            Some((rule, test)) => (rule, Some(test.parse().map_err(|_| WRONG)?)),
        };
        let rule = rule.parse().map_err(|_| WRONG)?;
        Ok(Self { rule, test })
    }
}

impl Only {
    fn is(self, test: &Test) -> bool {
        self.rule == test.rule && self.test.is_none_or(|id| id == test.id)
    }
}

/// Runs tests.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    let mut material = Material::read(flags)?;
    let setup = Setup {
        paranoia: flags.paranoia.unwrap_or(if flags.blocking { 1 } else { 4 }),
        mode: if flags.blocking {
            Mode::Refuse
        } else {
            Mode::Detect
        },
    };
    let ruleset = material.ruleset(&setup)?;
    let levels = Levels::new(&ruleset);
    let is_plain = !flags.compare && !flags.blocking;
    material.suite.keep(|test| {
        let is_wanted = flags.only.is_empty() || flags.only.iter().any(|only| only.is(test));
        // Requests for rules of higher levels are requests like any other where no rule is expected.
        let is_in_level = levels
            .of(test.rule)
            .is_none_or(|level| level <= setup.paranoia);
        is_wanted && (is_in_level || !is_plain)
    });
    if material.suite.tests.is_empty() {
        return Err(Usage("there is no such test".to_owned()).into());
    }
    if flags.compare {
        return differences(&material, &ruleset, screen);
    }
    let began = Instant::now();
    let observed = if flags.wire {
        wire::observe(&material, &setup, screen)?
    } else {
        observe(&material, &ruleset, screening(flags), screen)?
    };
    if flags.blocking {
        let sum = refusing(&material.suite.tests, &observed, &levels, setup.paranoia);
        shown::refusing(&sum, &setup, screen);
        return Ok(end(sum.wrong.is_empty()));
    }
    let run = shown::Run {
        suite: &material.suite,
        observed: &observed,
        report: &material.suite.judge(&observed),
        levels: &levels,
        took: began.elapsed(),
    };
    if flags.table {
        screen.line(run.report.table(run.suite, &levels).trim_end());
    } else if screen.is_json() {
        screen.line(run.to_json().to_string());
    } else {
        run.print(flags.show, screen);
    }
    Ok(end(run.report.is_clean()))
}

fn end(is_clean: bool) -> End {
    if is_clean { End::Fine } else { End::Findings }
}

fn screening(flags: &Flags) -> Screening {
    if flags.exhaustive {
        Screening::Exhaustive
    } else {
        Screening::Prefiltered
    }
}

/// What comes of all tests in this process.
fn observe(
    material: &Material,
    ruleset: &Ruleset,
    screening: Screening,
    screen: &Screen,
) -> Result<Vec<Vec<Observed>>> {
    let engine = Engine::compile(ruleset, screening).map_err(|found| anyhow!(mistakes(&found)))?;
    let engine = Arc::new(engine);
    let tests = &material.suite.tests;
    let bar = screen.progress(&count(tests.len(), "test"), tests.len());
    let observed = in_parallel(tests, threads(), || {
        let mut process = Process::new(Arc::clone(&engine));
        let bar = bar.clone();
        move |test: &Test| {
            bar.inc(1);
            process.observe(test)
        }
    });
    bar.finish_and_clear();
    Ok(observed)
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn differences(material: &Material, ruleset: &Ruleset, screen: &Screen) -> Result<End> {
    let one = observe(material, ruleset, Screening::Prefiltered, screen)?;
    let other = observe(material, ruleset, Screening::Exhaustive, screen)?;
    let found = compare(&material.suite.tests, &one, &other);
    shown::differences(&found, material.suite.tests.len(), screen);
    Ok(end(found.is_empty()))
}

/// `1.25 s`.
fn seconds(took: std::time::Duration) -> String {
    let hundredths = usize::try_from(took.subsec_millis() / 10).unwrap_or_default();
    let whole = usize::try_from(took.as_secs()).unwrap_or(usize::MAX);
    format!("{}.{hundredths:02} s", grouped(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_by_rule_and_number() {
        let only = |rule, test| Ok(Only { rule, test });
        assert_eq!("942100".parse::<Only>(), only(942_100, None));
        assert_eq!("942100-7".parse::<Only>(), only(942_100, Some(7)));
        for wrong in ["", "x", "942100-", "-7", "942100-x", "1-2-3"] {
            assert!(wrong.parse::<Only>().is_err(), "{wrong}");
        }
    }
}
