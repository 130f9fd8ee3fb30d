//! The JSON Schema Test Suite, draft 2020-12 with the optional formats, through the same way as every
//! body. `.ci/json-schema-tests` fetches it.
//!
//! Formats are asserted and undeclared properties allowed. `check_suite_gaps.txt` lists what answers
//! otherwise, and why; a gap that has closed is an error too.
#![expect(clippy::expect_used, clippy::print_stderr, reason = "tests may fail")]

mod check_support;

use std::{
    collections::BTreeSet,
    panic,
    path::{Path, PathBuf},
};

use check_support::Api;
use fortress_model::config::RequestUndeclared;
use serde_json::Value;

#[test]
fn draft_2020_12() {
    let suite =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/json-schema-tests/draft2020-12");
    if !suite.is_dir() {
        let required = std::env::var_os("FORTRESS_REQUIRE_ALL").is_some_and(|value| value == "1");
        assert!(!required, "run .ci/json-schema-tests first");
        eprintln!(
            "skipped: the JSON Schema Test Suite is not in target/; run .ci/json-schema-tests"
        );
        return;
    }
    let known = gaps();
    let mut failed = BTreeSet::new();
    let mut total = 0;
    for file in files(&suite) {
        let name = file
            .strip_prefix(&suite)
            .expect("inside")
            .display()
            .to_string();
        let text = std::fs::read_to_string(&file).expect("a file");
        let groups: Vec<Value> = serde_json::from_str(&text).expect("groups");
        for group in &groups {
            let description = group["description"].as_str().expect("a description");
            let Some(api) = load(&group["schema"]) else {
                failed.insert(format!("{name} | {description} | does not load"));
                continue;
            };
            for test in group["tests"].as_array().expect("tests") {
                total += 1;
                let expect = test["valid"].as_bool().expect("a verdict");
                let valid = api.json(&test["data"].to_string()).is_empty();
                if valid != expect {
                    failed.insert(format!(
                        "{name} | {description} | {}",
                        test["description"].as_str().unwrap_or("")
                    ));
                }
            }
        }
    }
    let unknown: Vec<_> = failed.difference(&known).collect();
    let closed: Vec<_> = known.difference(&failed).collect();
    assert!(total > 1_500, "only {total} tests were found");
    assert!(
        unknown.is_empty(),
        "{} of {total}:\n{unknown:#?}",
        unknown.len()
    );
    assert!(closed.is_empty(), "no gaps any more: {closed:#?}");
}

fn files(suite: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["", "optional", "optional/format"] {
        for entry in std::fs::read_dir(suite.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// `None` if the description with this schema does not load.
fn load(schema: &Value) -> Option<Api> {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut()
        && !object.contains_key("$id")
    {
        // `#` in the suite means the schema, not the description around it.
        object.insert("$id".to_owned(), "https://example.com/suite.json".into());
    }
    let loaded = panic::catch_unwind(|| Api::body("3.1.0", &schema.to_string(), ""));
    let mut api = loaded.ok()?;
    api.policy.undeclared = RequestUndeclared::Allow;
    Some(api)
}

/// `file | group | test` of each known gap.
fn gaps() -> BTreeSet<String> {
    include_str!("check_suite_gaps.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}
