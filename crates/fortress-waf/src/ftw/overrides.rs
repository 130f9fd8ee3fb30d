//! Override files: what a platform does otherwise than the tests expect, and why.
//!
//! CRS keeps one for each platform that it is tested on. The list of excused tests has the same
//! format, so that it can be handed to anyone who runs the same tests.

use fortress_model::{
    Diagnostic, Node, SourceId, Sources, Span,
    document::{Format, read},
};

use super::{
    fields::Fields,
    format::{Output, output},
};

/// An override file.
#[derive(Debug, Default)]
pub struct Overrides {
    /// Its entries, in order.
    pub entries: Vec<Override>,
}

/// What some tests of a rule are to give instead of what they say.
#[derive(Debug)]
pub struct Override {
    /// The rule.
    pub rule: u64,
    /// Its tests; empty for all.
    pub tests: Vec<u64>,
    /// Stages, from 0; empty for all.
    pub stages: Vec<usize>,
    /// Why.
    pub reason: String,
    /// What they give.
    pub output: Output,
    /// Where it is written.
    pub span: Span,
}

impl Override {
    fn covers(&self, rule: u64, test: u64, stage: usize) -> bool {
        self.rule == rule
            && (self.tests.is_empty() || self.tests.contains(&test))
            && (self.stages.is_empty() || self.stages.contains(&stage))
    }
}

impl Overrides {
    /// Reads an override file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(id: SourceId, sources: &Sources) -> Result<Self, Vec<Diagnostic>> {
        let node = read(id, sources, Format::Yaml)?;
        let mut fields = Fields::default();
        let mut overrides = Self::default();
        let known = ["version", "meta", "test_overrides"];
        for member in fields.object(&node, "the file", &known) {
            match &*member.key {
                "meta" => {
                    let known = ["engine", "platform", "annotations"];
                    fields.object(&member.value, "`meta`", &known);
                }
                "test_overrides" => {
                    let entries = fields.list(&member.value, "`test_overrides`").iter();
                    overrides.entries = entries.map(|node| entry(node, &mut fields)).collect();
                }
                _ => {}
            }
        }
        if fields.diagnostics.is_empty() {
            Ok(overrides)
        } else {
            Err(fields.diagnostics)
        }
    }

    /// The entry for a stage, and which it is; the last one counts, as in go-ftw.
    pub fn find(&self, rule: u64, test: u64, stage: usize) -> Option<(usize, &Override)> {
        let mut entries = self.entries.iter().enumerate();
        entries.rfind(|(_, entry)| entry.covers(rule, test, stage))
    }
}

fn entry(node: &Node, fields: &mut Fields) -> Override {
    let mut entry = Override {
        rule: 0,
        tests: Vec::new(),
        stages: Vec::new(),
        reason: String::new(),
        output: Output::default(),
        span: node.span,
    };
    let known = [
        "rule_id",
        "test_ids",
        "stage_ids",
        "reason",
        "retry_once",
        "output",
    ];
    for member in fields.object(node, "an override", &known) {
        let (value, what) = (&member.value, format!("`{}`", member.key));
        match &*member.key {
            "rule_id" => entry.rule = fields.number(value, &what),
            "test_ids" => entry.tests = fields.numbers(value, &what),
            "stage_ids" => entry.stages = fields.numbers(value, &what),
            "reason" => entry.reason = fields.text(value, &what).trim().to_owned(),
            "retry_once" => _ = fields.boolean(value, &what),
            "output" => entry.output = output(value, fields),
            _ => {}
        }
    }
    if entry.rule == 0 || entry.reason.is_empty() {
        fields.wrong(node.span, "an override needs `rule_id` and `reason`");
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Overrides, String> {
        let mut sources = Sources::default();
        let id = sources.add("overrides.yaml", text);
        Overrides::read(id, &sources).map_err(|diagnostics| {
            let messages = diagnostics.into_iter().map(|diagnostic| diagnostic.message);
            messages.collect::<Vec<_>>().join("\n")
        })
    }

    const TEXT: &str = "version: v0\nmeta: {engine: e, platform: p, annotations: [{os: x}]}\ntest_overrides:\n  - rule_id: 1\n    test_ids: [4, 5]\n    reason: because\n    output: {status: 400}\n  - rule_id: 1\n    test_ids: [5]\n    stage_ids: [1]\n    reason: later\n  - {rule_id: 2, reason: all}\n";

    #[track_caller]
    fn check(rule: u64, test: u64, stage: usize, expected: Option<&str>) {
        let overrides = parse(TEXT).unwrap();
        let found = overrides.find(rule, test, stage);
        assert_eq!(found.map(|(_, entry)| entry.reason.as_str()), expected);
    }

    #[test]
    fn the_last_entry_that_covers_a_stage_counts() {
        check(1, 4, 0, Some("because"));
        check(1, 5, 0, Some("because"));
        check(1, 5, 1, Some("later"));
        check(1, 6, 0, None);
        check(2, 99, 3, Some("all"));
        check(3, 1, 0, None);
    }

    #[test]
    fn mistakes_are_reported() {
        for (text, expected) in [
            ("test_overrides:\n  - {rule_id: 1}\n", "`reason`"),
            ("test_overrides:\n  - {reason: x}\n", "`rule_id`"),
            ("test_override: []\n", "unknown key `test_override`"),
            (
                "test_overrides:\n  - {rule_id: 1, reason: x, output: {state: 4}}\n",
                "unknown key `state`",
            ),
        ] {
            let told = parse(text).map(|_| "accepted").unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }
}
