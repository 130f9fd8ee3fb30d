//! The manual is in step with the program: every reason, and every key of the configuration.

use std::{collections::BTreeSet, fs, path::Path};

use fortress_model::Reason;
use serde_json::Value;

use crate::program::Place;

fn manual() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/manual.md");
    fs::read_to_string(path).expect("the manual")
}

/// The table as it must stand there.
fn reasons() -> String {
    let mut table = String::from("| code | status | OWASP | |\n|---|---|---|---|\n");
    for reason in Reason::ALL {
        let words: Vec<&str> = reason.explanation().split_whitespace().collect();
        let row = format!(
            "| `{}` | {} | {} | {} |\n",
            reason.code(),
            reason.status().as_u16(),
            reason.risk().code(),
            words.join(" ")
        );
        table.push_str(&row);
    }
    table
}

#[test]
fn the_reasons_are_those_of_the_program() {
    let manual = manual();
    let written = manual
        .split_once("<!-- reasons -->\n")
        .and_then(|(_, rest)| rest.split_once("<!-- /reasons -->"))
        .map(|(table, _)| table)
        .expect("a place for the reasons");
    let expected = reasons();
    assert!(
        written == expected,
        "write this between the marks of docs/manual.md:\n{expected}"
    );
}

/// The names of all keys below a part of the schema.
fn keys(part: &Value, found: &mut BTreeSet<String>) {
    match part {
        Value::Object(members) => {
            for (name, member) in members {
                // One of the keys is itself named `properties`.
                if let ("properties", Value::Object(properties)) = (name.as_str(), member) {
                    found.extend(properties.keys().cloned());
                    properties.values().for_each(|below| keys(below, found));
                } else {
                    keys(member, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_key_of_the_configuration_is_in_the_manual() {
    let schema = Place::new().run(&["schema"]).expect(0).json();
    let mut found = BTreeSet::new();
    keys(&schema, &mut found);
    assert!(found.len() > 50, "{found:?}");
    let manual = manual();
    // Only what is written as code counts.
    let code: String = manual
        .split('`')
        .skip(1)
        .step_by(2)
        .collect::<Vec<_>>()
        .join(" ");
    let words: BTreeSet<&str> = code
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .collect();
    let missing: Vec<&String> = found
        .iter()
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/manual.md lacks {missing:?}");
}
