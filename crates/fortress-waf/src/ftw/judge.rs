//! Whether what came of a request is what its test expects.
//!
//! Deliberately not here: how it was found out; the same judge serves requests in process and over
//! a socket.

use regex::bytes::Regex;

use super::format::Output;
use crate::engine::{Finding, Verdict};

/// What came of a request.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The answer's status; `None` if there was no answer, or none that is HTTP.
    pub status: Option<u16>,
    /// The answer, head and body.
    pub answer: Vec<u8>,
    /// The rules that were logged, in order.
    pub rules: Vec<u64>,
    /// The log entries, a line each.
    pub log: Vec<String>,
    /// What the rules found, where that is known in full: in process.
    pub findings: Vec<Finding>,
    /// What the rules said, where that is known and they were asked.
    pub verdict: Option<Verdict>,
}

/// Everything in which the two differ; nothing if the stage passed.
pub fn judge(expected: &Output, observed: &Observed) -> Vec<String> {
    let mut complaints = Vec::new();
    match observed.status {
        None if !expected.expect_error => {
            complaints.push("expected an answer, got none".to_owned());
        }
        Some(status) if expected.expect_error => {
            complaints.push(format!("expected no answer, got {status}"));
        }
        Some(status) if !expected.status.is_empty() && !expected.status.contains(&status) => {
            let wanted = list(&expected.status, " or ");
            complaints.push(format!("expected status {wanted}, got {status}"));
        }
        Some(_) | None => {}
    }
    if let Some(text) = &expected.response_contains
        && memchr::memmem::find(&observed.answer, text.as_bytes()).is_none()
    {
        complaints.push(format!("expected an answer that contains `{text}`"));
    }
    let fired = |id: &&u64| observed.rules.contains(id);
    let missing: Vec<u64> = expected
        .expect_ids
        .iter()
        .filter(|id| !fired(id))
        .copied()
        .collect();
    if !missing.is_empty() {
        complaints.push(format!("expected rule {}", list(&missing, ", ")));
    }
    let unwanted: Vec<u64> = expected
        .no_expect_ids
        .iter()
        .filter(fired)
        .copied()
        .collect();
    if !unwanted.is_empty() {
        complaints.push(format!(
            "expected rule {} not to fire",
            list(&unwanted, ", ")
        ));
    }
    let is_other = |id: &u64| !expected.expect_ids.contains(id);
    if expected.isolated && observed.rules.iter().any(is_other) {
        complaints.push("expected no other rule".to_owned());
    }
    let logged = |regex: &&Regex| {
        observed
            .log
            .iter()
            .any(|line| regex.is_match(line.as_bytes()))
    };
    for regex in expected.matches.iter().filter(|regex| !logged(regex)) {
        complaints.push(format!("expected a log entry that matches `{regex}`"));
    }
    for regex in expected.no_matches.iter().filter(logged) {
        complaints.push(format!("expected no log entry that matches `{regex}`"));
    }
    complaints
}

fn list<T: ToString>(items: &[T], between: &str) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed() -> Observed {
        Observed {
            status: Some(200),
            answer: b"HTTP/1.1 200 OK\r\n\r\nhello".to_vec(),
            rules: vec![1, 2],
            log: vec![
                r#"[id "1"] [msg "a"]"#.into(),
                r#"[id "2"] [msg "b"]"#.into(),
            ],
            ..Observed::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Output), expected: &[&str]) {
        let mut output = Output::default();
        change(&mut output);
        assert_eq!(judge(&output, &observed()), expected);
    }

    fn regex(text: &str) -> Vec<Regex> {
        vec![Regex::new(text).unwrap()]
    }

    #[test]
    fn what_is_not_expected_does_not_matter() {
        check(|_| {}, &[]);
    }

    #[test]
    fn answers_are_compared() {
        check(|output| output.status = vec![403, 200], &[]);
        check(
            |output| output.status = vec![400, 403],
            &["expected status 400 or 403, got 200"],
        );
        check(
            |output| output.expect_error = true,
            &["expected no answer, got 200"],
        );
        check(
            |output| output.response_contains = Some("hello".into()),
            &[],
        );
        check(
            |output| output.response_contains = Some("bye".into()),
            &["expected an answer that contains `bye`"],
        );
        let nothing = Observed::default();
        assert_eq!(
            judge(&Output::default(), &nothing),
            ["expected an answer, got none"]
        );
        let output = Output {
            expect_error: true,
            status: vec![200],
            ..Output::default()
        };
        assert!(judge(&output, &nothing).is_empty());
    }

    #[test]
    fn rules_are_compared() {
        check(|output| output.expect_ids = vec![2, 1], &[]);
        check(
            |output| output.expect_ids = vec![1, 3, 4],
            &["expected rule 3, 4"],
        );
        check(|output| output.no_expect_ids = vec![3], &[]);
        check(
            |output| output.no_expect_ids = vec![2, 3],
            &["expected rule 2 not to fire"],
        );
        check(
            |output| (output.isolated, output.expect_ids) = (true, vec![1]),
            &["expected no other rule"],
        );
        check(
            |output| (output.isolated, output.expect_ids) = (true, vec![1, 2]),
            &[],
        );
    }

    #[test]
    fn log_entries_are_compared_line_by_line() {
        check(|output| output.matches = regex(r#"id "1".*msg "a""#), &[]);
        check(
            |output| output.matches = regex(r#"(?s)id "1".*msg "b""#),
            &[r#"expected a log entry that matches `(?s)id "1".*msg "b"`"#],
        );
        check(|output| output.no_matches = regex("msg \"c"), &[]);
        check(
            |output| output.no_matches = regex(r#"\[id "\d+"\]"#),
            &[r#"expected no log entry that matches `\[id "\d+"\]`"#],
        );
    }
}
