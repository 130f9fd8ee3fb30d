//! CrowdSec's decisions: reading its stream, and which of them hold.
//!
//! Pure: time is an argument, and asking is `feed`'s.

use std::{collections::HashMap, time::Duration};

use fortress_limits::networks::Networks;
use fortress_model::config::{Network, Verdict};
use fortress_spec::json::{self, Document, Kind, Limits, Value};
use tokio::time::Instant;

/// Decisions of one answer; a whole block list is some ten thousands.
const DECISIONS: usize = 2_000_000;
/// Decisions that are kept.
const KEPT: usize = 4_000_000;

/// What one answer says.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Changes {
    pub(super) new: Vec<(Network, Verdict, Duration)>,
    pub(super) deleted: Vec<(Network, Verdict)>,
}

impl Changes {
    /// Reads the answer to `GET /v1/decisions/stream`. What is not about addresses, or of a kind that is
    /// not known, is left out.
    ///
    /// # Errors
    /// It is no such answer.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let limits = Limits {
            depth: 8,
            properties: 100,
            items: DECISIONS,
        };
        let document = json::read(text, &limits).map_err(|error| error.to_string())?;
        let root = document.root();
        let mut changes = Self::default();
        for decision in list(&document, member(&document, root, "new"))? {
            let duration = string(&document, decision, "duration").and_then(duration);
            if let (Some((network, verdict)), Some(duration)) = (of(&document, decision), duration)
            {
                changes.new.push((network, verdict, duration));
            }
        }
        let deleted = list(&document, member(&document, root, "deleted"))?.iter();
        changes.deleted = deleted
            .filter_map(|decision| of(&document, decision))
            .collect();
        Ok(changes)
    }
}

/// Nothing at all is written as `null`.
fn list<'d>(
    document: &'d Document<'_>,
    value: Option<&'d Value<'d>>,
) -> Result<&'d [Value<'d>], String> {
    match value.map(|value| &value.kind) {
        Some(Kind::Array(range)) => Ok(document.items(*range)),
        Some(Kind::Null) => Ok(&[]),
        Some(Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Object(_)) | None => {
            Err("the answer has no `new` and `deleted`".to_owned())
        }
    }
}

fn member<'d>(document: &'d Document<'_>, value: &Value<'_>, name: &str) -> Option<&'d Value<'d>> {
    let Kind::Object(range) = &value.kind else {
        return None;
    };
    let mut members = document.members(*range).iter();
    members
        .find(|member| member.key == name)
        .map(|member| &member.value)
}

fn string<'d>(document: &'d Document<'_>, decision: &Value<'_>, name: &str) -> Option<&'d str> {
    match &member(document, decision, name)?.kind {
        Kind::String(text) => Some(text),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => None,
    }
}

/// What a decision is about.
fn of(document: &Document<'_>, decision: &Value<'_>) -> Option<(Network, Verdict)> {
    let scope = string(document, decision, "scope")?;
    if !["ip", "range"]
        .iter()
        .any(|known| scope.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let verdict = string(document, decision, "type")?;
    let mut known = Verdict::ALL.into_iter();
    let verdict = known.find(|known| known.name().eq_ignore_ascii_case(verdict))?;
    let network = string(document, decision, "value")?.parse().ok()?;
    Some((network, verdict))
}

/// Go's form of a time: `3h59m57.04s`. `None` for one that is over (`-1s`).
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(end)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit());
        let (unit, after) = after.split_at_checked(unit_end.unwrap_or(after.len()))?;
        let number: f64 = number.parse().ok()?;
        seconds += number
            * match unit {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = after;
    }
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
}

/// The decisions that hold, and until when.
#[derive(Debug, Default)]
pub(super) struct Book(HashMap<(Network, Verdict), Instant>);

/// Whether the sets must be made anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Changed {
    Yes,
    No,
}

impl Book {
    /// Takes all that holds: whatever is not in it does not hold any more.
    pub(super) fn replace(&mut self, changes: Changes, now: Instant) {
        self.0.clear();
        self.apply(changes, now);
    }

    /// Takes what changed. What was taken off is said first: it may be on again.
    pub(super) fn apply(&mut self, changes: Changes, now: Instant) -> Changed {
        let any = !(changes.deleted.is_empty() && changes.new.is_empty());
        for decision in changes.deleted {
            self.0.remove(&decision);
        }
        for (network, verdict, duration) in changes.new {
            // A time that no clock can hold is for ever.
            let until = now.checked_add(duration.min(FOR_EVER)).unwrap_or(now);
            let known = self.0.len();
            if known < KEPT || self.0.contains_key(&(network, verdict)) {
                let end = self.0.entry((network, verdict)).or_insert(until);
                *end = until.max(*end);
            }
        }
        if any { Changed::Yes } else { Changed::No }
    }

    /// Forgets what is over.
    pub(super) fn expire(&mut self, now: Instant) -> Changed {
        let before = self.0.len();
        self.0.retain(|_, until| *until > now);
        if before == self.0.len() {
            Changed::No
        } else {
            Changed::Yes
        }
    }

    /// What a verdict is on.
    pub(super) fn networks(&self, verdict: Verdict) -> Networks {
        let decisions = self.0.keys();
        Networks::new(
            decisions
                .filter(|(_, known)| *known == verdict)
                .map(|(network, _)| *network),
        )
    }
}

/// Ten years.
const FOR_EVER: Duration = Duration::from_secs(3_652 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_go() {
        let check = |text: &str, expect: Option<f64>| {
            assert_eq!(
                duration(text).map(|time| time.as_secs_f64()),
                expect,
                "{text}"
            );
        };
        check("4h0m0s", Some(14_400.0));
        check("3h59m57.5s", Some(14_397.5));
        check("250ms", Some(0.25));
        check("1m1ms", Some(60.001));
        for wrong in ["", "-1h", "0s", "5", "h", "5d", "1..5s", "5 s"] {
            check(wrong, None);
        }
    }

    const ANSWER: &str = r#"{"deleted":null,"new":[
        {"duration":"3h59m","id":1,"origin":"cscli","scenario":"x","scope":"Ip","type":"ban","value":"203.0.113.9"},
        {"duration":"1m","id":2,"origin":"cscli","scenario":"x","scope":"range","type":"captcha","value":"198.51.100.0/24"},
        {"duration":"1m","id":3,"origin":"cscli","scenario":"x","scope":"Country","type":"ban","value":"AQ"},
        {"duration":"-1m","id":4,"origin":"cscli","scenario":"x","scope":"Ip","type":"ban","value":"203.0.113.10"},
        {"duration":"1m","id":5,"origin":"cscli","scenario":"x","scope":"Ip","type":"mfa","value":"203.0.113.11"},
        {"duration":"1m","id":6,"origin":"cscli","scenario":"x","scope":"Ip","type":"ban","value":"nobody"}]}"#;

    #[test]
    fn decisions_hold_until_they_are_deleted_or_over() {
        let holds = |book: &Book, verdict, address: &str| {
            book.networks(verdict).contains(address.parse().unwrap())
        };
        let now = Instant::now();
        let mut book = Book::default();
        book.replace(Changes::read(ANSWER.as_bytes()).unwrap(), now);
        assert_eq!(book.0.len(), 2);
        assert!(holds(&book, Verdict::Ban, "203.0.113.9"));
        assert!(holds(&book, Verdict::Captcha, "198.51.100.77"));
        assert!(!holds(&book, Verdict::Ban, "198.51.100.77"));
        let quiet = Changes::read(br#"{"new":null,"deleted":null}"#).unwrap();
        assert_eq!(book.apply(quiet, now), Changed::No);
        // Deleted and decided anew in one answer: it holds.
        let again = ANSWER.replace(
            "null",
            r#"[{"duration":"-1s","scope":"Ip","type":"ban","value":"203.0.113.9"}]"#,
        );
        let again = Changes::read(again.as_bytes()).unwrap();
        assert_eq!(book.apply(again, now), Changed::Yes);
        assert!(holds(&book, Verdict::Ban, "203.0.113.9"));
        assert_eq!(book.expire(now + Duration::from_secs(59)), Changed::No);
        assert_eq!(book.expire(now + Duration::from_secs(61)), Changed::Yes);
        assert!(!holds(&book, Verdict::Captcha, "198.51.100.77"));
        let deleted =
            br#"{"new":[],"deleted":[{"scope":"ip","type":"ban","value":"203.0.113.9"}]}"#;
        book.apply(Changes::read(deleted).unwrap(), now);
        assert_eq!(book.0.len(), 0);
    }

    #[test]
    fn answers_that_are_none() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"new":[]}"#,
            r#"{"new":{},"deleted":[]}"#,
            "<html>",
        ] {
            Changes::read(text.as_bytes()).unwrap_err();
        }
    }
}
