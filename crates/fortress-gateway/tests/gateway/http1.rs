//! Other people's raw requests: `http1/cases.json` of the test material, with what the upstream saw.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "where the material is, and that it is not there, comes from and goes to whoever runs the tests"
)]

use std::path::PathBuf;

use super::support::{DESCRIPTION, EMPTY, Gateway, Received, Response, Upstream, send};

#[test]
fn every_raw_request_is_answered_as_listed_and_stays_in_step() {
    let shared = std::env::var("FORTRESS_SHARED")
        .map_or_else(|_| PathBuf::from("../../../shared"), PathBuf::from);
    let Ok(text) = std::fs::read_to_string(shared.join("http1/cases.json")) else {
        assert!(
            std::env::var("FORTRESS_REQUIRE_ALL").is_err(),
            "http1/cases.json is missing"
        );
        eprintln!("skipped: http1/cases.json is not at {}", shared.display());
        return;
    };
    let cases: serde_json::Value = serde_json::from_str(&text).unwrap();
    let upstream = Upstream::start();
    let config = format!(
        "version: 1\nlisten: [{{ address: 127.0.0.1:0 }}]\napis:\n  raw: {{ spec: openapi.yaml, upstream: \"http://{}\" }}\n",
        upstream.address,
    );
    let gateway = Gateway::start(&[("fortress.yaml", &config), ("openapi.yaml", DESCRIPTION)]);
    let mut wrong = Vec::new();
    let list = cases["cases"].as_array().unwrap();
    for case in list {
        upstream.answers(EMPTY);
        let raw: Vec<u8> = case["raw_latin1"]
            .as_str()
            .unwrap()
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect();
        let responses = send(gateway.addresses[0], &raw);
        if let Err(why) = judge(case, &responses, &upstream.received()) {
            wrong.push(format!("{}: {why}", case["name"]));
        }
    }
    assert!(list.len() >= 40, "only {} cases", list.len());
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        list.len(),
        wrong.join("\n")
    );
}

fn judge(
    case: &serde_json::Value,
    responses: &[Response],
    seen: &[Received],
) -> Result<(), String> {
    let [response] = responses else {
        return Err(format!("{} responses: {responses:?}", responses.len()));
    };
    let allowed: Vec<u64> = case["status"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| status.as_u64().unwrap())
        .collect();
    if !allowed.contains(&u64::from(response.status)) {
        return Err(format!(
            "{} instead of {allowed:?}: {}",
            response.status,
            String::from_utf8_lossy(&response.body)
        ));
    }
    let upstream = case["upstream"].as_str().unwrap();
    let (count, without) = match upstream.split_once(" without ") {
        None => (upstream, None),
        Some((count, header)) => (count, Some(header)),
    };
    let right = match count {
        "none" => seen.is_empty(),
        "one" => seen.len() == 1,
        "at-most-one" => seen.len() <= 1,
        other => return Err(format!("the case says `{other}`")),
    };
    if !right {
        return Err(format!(
            "the upstream got {} requests, not {count}",
            seen.len()
        ));
    }
    match without {
        Some(header) if seen.iter().any(|request| request.header(header).is_some()) => {
            Err(format!("the upstream got `{header}`"))
        }
        _ => Ok(()),
    }
}
