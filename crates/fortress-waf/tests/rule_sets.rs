//! The rule sets that people run parse without a mistake.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may fail, and say what they skip"
)]

mod material;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use fortress_waf::seclang::{DirectiveKind, Ruleset, RulesetBuilder};
use material::{Disk, folder, listed};

/// The rule set of the files, which has every rule that their lines begin.
#[track_caller]
fn check(setups: &[PathBuf], rules: &Path, suffixes: &[&str], without_effect: &[&str]) {
    let files = listed(rules, suffixes);
    let mut builder = RulesetBuilder::default();
    let mut begun = 0;
    for path in setups.iter().chain(&files) {
        let text = fs::read_to_string(path).unwrap();
        builder.add_file(path.to_str().unwrap(), &text, &mut Disk);
        let begins = |line: &&str| {
            let line = line.trim_start();
            line.starts_with("SecRule ") || line.starts_with("SecAction ")
        };
        begun += text.lines().filter(begins).count();
    }
    let ruleset = builder.build().unwrap_or_else(|mistakes| {
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{} mistakes:\n{}", shown.len(), shown.join("\n"))
    });
    assert!(begun > 600);
    assert_eq!(links(&ruleset), begun);
    let words: BTreeSet<&str> = ruleset
        .without_effect()
        .iter()
        .map(|found| found.word)
        .collect();
    assert_eq!(words, without_effect.iter().copied().collect());
}

fn links(ruleset: &Ruleset) -> usize {
    let links = ruleset.directives().iter().map(|directive| {
        if let DirectiveKind::Rule(rule) = &directive.kind {
            rule.links.len()
        } else {
            0
        }
    });
    links.sum()
}

#[test]
fn crs_4() {
    if let Some(crs) = folder("FORTRESS_SHARED", "../shared", "crs") {
        check(
            &[crs.join("crs-setup.conf.example")],
            &crs.join("rules"),
            &[".conf", ".conf.example"],
            &["ctl:auditEngine"],
        );
    }
}

/// Debian's package `modsecurity-crs`, installed or unpacked to `FORTRESS_CRS3`.
#[test]
fn crs_3() {
    if let Some(rules) = folder("FORTRESS_CRS3", "/", "usr/share/modsecurity-crs/rules") {
        let etc = rules.join("../../../../etc/modsecurity/crs");
        check(
            &[
                etc.join("crs-setup.conf"),
                etc.join("REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf"),
            ],
            &rules,
            &[".conf"],
            &["@geoLookup", "@rbl", "ctl:auditEngine", "ctl:auditLogParts"],
        );
    }
}
