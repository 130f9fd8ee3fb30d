//! The algorithms that the configuration takes are those that are verified: a name that only one of
//! the two knows would be dropped from a list, and an empty list means all.
#![expect(clippy::unwrap_used, reason = "tests may fail")]

use std::path::Path;

use fortress_auth::Algorithm;
use fortress_model::config::load;

/// What is said of a configuration that lists these algorithms.
fn said(file: &str, algorithms: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let text = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\n\
         apis: {{ a: {{ spec: none, upstream: http://127.0.0.1:1 }} }}\n\
         identity: {{ i: {{ issuer: i, audience: a, jwks: file:k, algorithms: [{algorithms}] }} }}\n"
    );
    std::fs::write(&path, text).unwrap();
    let (_, _, diagnostics) = load(&path, &|_| None);
    diagnostics
        .into_iter()
        .map(|found| format!("{} {}", found.message, found.help.unwrap_or_default()))
        .collect()
}

#[test]
fn each_verified_algorithm_can_be_listed_and_no_other() {
    let asymmetric: Vec<&str> = Algorithm::ALL
        .iter()
        .filter(|algorithm| !algorithm.is_symmetric())
        .map(|algorithm| algorithm.name())
        .collect();
    let all = said("all-algorithms.yaml", &asymmetric.join(", "));
    assert!(all.is_empty(), "{all:?}");

    let unknown = said("unknown-algorithm.yaml", "Ed448").concat();
    let (_, known) = unknown.split_once("known are ").unwrap();
    let mut known: Vec<&str> = known
        .split(", ")
        .map(|name| name.trim_matches('`'))
        .collect();
    let mut verified = asymmetric;
    known.sort_unstable();
    verified.sort_unstable();
    assert_eq!(known, verified);
    for symmetric in Algorithm::ALL.iter().filter(|one| one.is_symmetric()) {
        assert!(
            !said("symmetric.yaml", symmetric.name()).is_empty(),
            "{symmetric}"
        );
    }
}
