//! What ModSecurity would write to its error log, for tests that look there.
//!
//! Deliberately not here: where a rule stands, which no test asks for.

use crate::engine::Finding;

/// The entry of a finding, for a request to `target`.
pub(super) fn entry(finding: &Finding, target: &[u8]) -> String {
    let mut entry = String::from("ModSecurity: Warning.");
    if let Some(matched) = finding.matched.first() {
        let not = if matched.negated { "!" } else { "" };
        let (operator, variable) = (matched.operator.word(), &matched.variable);
        entry.push_str(&format!(" Matched \"{not}@{operator}\" at {variable}."));
    }
    field(&mut entry, "id", finding.rule.to_string().as_bytes());
    if !finding.message.is_empty() {
        field(&mut entry, "msg", finding.message.as_bytes());
    }
    if !finding.data.is_empty() {
        field(&mut entry, "data", finding.data.as_bytes());
    }
    let severity = finding.severity.map(usize::from);
    if let Some(word) = severity.and_then(|severity| SEVERITIES.get(severity)) {
        field(&mut entry, "severity", word.as_bytes());
    }
    if !finding.version.is_empty() {
        field(&mut entry, "ver", finding.version.as_bytes());
    }
    for tag in &finding.tags {
        field(&mut entry, "tag", tag.as_bytes());
    }
    let path = target.split(|byte| *byte == b'?').next();
    field(&mut entry, "uri", path.unwrap_or_default());
    entry
}

const SEVERITIES: [&str; 8] = [
    "EMERGENCY",
    "ALERT",
    "CRITICAL",
    "ERROR",
    "WARNING",
    "NOTICE",
    "INFO",
    "DEBUG",
];

/// ` [name "value"]`: what would end a value or the line is escaped.
pub fn field(entry: &mut String, name: &str, value: &[u8]) {
    entry.push_str(&format!(" [{name} \""));
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => entry.extend(['\\', c]),
                c if c.is_control() => entry.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => entry.push(c),
            }
        }
        for byte in chunk.invalid() {
            entry.push_str(&format!("\\x{byte:02x}"));
        }
    }
    entry.push_str("\"]");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Matched,
        seclang::{Operator, Phase},
    };

    #[test]
    fn entries_are_lines_of_named_values() {
        let finding = Finding {
            rule: 942100,
            phase: Phase::RequestBody,
            message: "a \"b\"".into(),
            data: "x\n\\".into(),
            severity: Some(2),
            version: "v".into(),
            tags: vec!["t/1".into(), "t/2".into()],
            score: 5,
            matched: vec![Matched {
                variable: "ARGS:q".into(),
                value: b"v".to_vec(),
                transformations: Vec::new(),
                operator: Operator::DetectSqli,
                negated: true,
            }],
        };
        assert_eq!(
            entry(&finding, b"/\xFF?q=1"),
            r#"ModSecurity: Warning. Matched "!@detectSQLi" at ARGS:q. [id "942100"] [msg "a \"b\""] [data "x\x0a\\"] [severity "CRITICAL"] [ver "v"] [tag "t/1"] [tag "t/2"] [uri "/\xff"]"#
        );
        let bare = Finding {
            message: String::new(),
            data: String::new(),
            severity: None,
            version: String::new(),
            tags: Vec::new(),
            matched: Vec::new(),
            ..finding
        };
        assert_eq!(
            entry(&bare, b"*"),
            r#"ModSecurity: Warning. [id "942100"] [uri "*"]"#
        );
    }
}
