//! Each raw request of the shared collection is answered, as far as the codec and the path decide,
//! with a status that the collection lists, whole and byte by byte.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod h1_support;

use fortress_gateway::path::{NormalizedPath, Semicolons, split_target};
use h1_support::{End, Message, read_all};
use std::path::PathBuf;

#[test]
fn every_shared_case_is_answered_as_listed() {
    let Some(cases) = shared_cases() else { return };
    assert!(cases.len() >= 40, "only {} cases", cases.len());
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let raw: Vec<u8> = case["raw_latin1"]
            .as_str()
            .expect("a request")
            .chars()
            .map(|c| u8::try_from(u32::from(c)).expect("Latin-1"))
            .collect();
        let listed: Vec<u16> = case["status"]
            .as_array()
            .expect("statuses")
            .iter()
            .map(|status| u16::try_from(status.as_u64().expect("a status")).expect("a status"))
            .collect();
        for (how, outcome) in [
            ("whole", read_all([raw.as_slice()])),
            ("byte by byte", read_all(raw.chunks(1))),
        ] {
            let status = answer(&outcome);
            assert!(
                status.is_some_and(|status| listed.contains(&status)),
                "{name}, {how}: {outcome:?} gives {status:?}, not one of {listed:?}"
            );
        }
    }
}

/// What the gateway of the collection would answer: it declares `GET /a` and `POST /a`.
fn answer((messages, end): &(Vec<Message>, End)) -> Option<u16> {
    match (messages.as_slice(), end) {
        ([], End::Refused(reason)) => Some(reason.status().as_u16()),
        ([message], End::Clean | End::Closed) => {
            let (path, _) = split_target(&message.target);
            Some(match NormalizedPath::parse(path, Semicolons::Refused) {
                Err(refused) => refused.reason.status().as_u16(),
                Ok(path) if path.as_str() != "/a" => 404,
                Ok(_) if !matches!(message.method.as_str(), "GET" | "POST") => 405,
                Ok(_) => 200,
            })
        }
        // Two answers, or none: the connection would be out of step.
        _ => None,
    }
}

/// The collection; without it the test is skipped, and says so.
fn shared_cases() -> Option<Vec<serde_json::Value>> {
    let shared = std::env::var_os("FORTRESS_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let file = shared.join("http1/cases.json");
    match std::fs::read(&file) {
        Ok(text) => {
            let all: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            Some(all["cases"].as_array().expect("a list").clone())
        }
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "a skipped test says so")]
            {
                eprintln!("skipped: {} cannot be read: {error}", file.display());
            }
            assert!(
                std::env::var_os("FORTRESS_SHARED").is_none(),
                "the shared cases are missing"
            );
            None
        }
    }
}
