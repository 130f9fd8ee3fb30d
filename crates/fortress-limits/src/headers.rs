//! How clients are told of their limits: the fields of draft-ietf-httpapi-ratelimit-headers-10 and
//! later, three older forms, `Retry-After` (RFC 9110, section 10.2.3), and the draft's problem types.
//!
//! The older forms are byte for byte what express-rate-limit 8 sends. They can tell of one limit
//! alone, the one that is nearest to refusing. Deliberately not here: putting fields into an answer.

use std::{fmt::Write, time::Duration};

use fortress_model::{clock::Timestamp, config::LimitHeaders};

/// The type of a problem for a client that has spent what it may.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// One limit as a client is told of it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Its name; letters, digits, `-` and `_`.
    pub name: &'a str,
    /// Units in all.
    pub quota: u64,
    /// The time in which they are there again; `None` for requests in flight.
    pub window: Option<Duration>,
    /// Units left.
    pub remaining: u64,
    /// When they are there again.
    pub reset: Duration,
}

/// Writes the fields of a form, by name and value. `text` is a buffer to build values in, which a
/// caller keeps from one request to the next; a value is good until the next is written.
pub fn write(
    form: LimitHeaders,
    told: &[Told<'_>],
    now: Timestamp,
    text: &mut String,
    mut field: impl FnMut(&'static str, &str),
) {
    let Some(nearest) = nearest(told) else {
        return;
    };
    let window = seconds(nearest.window.unwrap_or_default());
    let reset = seconds(nearest.reset);
    let mut put = |name, value: std::fmt::Arguments<'_>| {
        text.clear();
        // A String takes everything.
        if text.write_fmt(value).is_ok() {
            field(name, text);
        }
    };
    match form {
        LimitHeaders::None => {}
        LimitHeaders::Draft => {
            list(told, policy, text, |text| field("ratelimit-policy", text));
            list(told, state, text, |text| field("ratelimit", text));
        }
        LimitHeaders::Draft6 => {
            put(
                "ratelimit-policy",
                format_args!("{};w={window}", nearest.quota),
            );
            put("ratelimit-limit", format_args!("{}", nearest.quota));
            put("ratelimit-remaining", format_args!("{}", nearest.remaining));
            put("ratelimit-reset", format_args!("{reset}"));
        }
        LimitHeaders::Draft7 => {
            put(
                "ratelimit-policy",
                format_args!("{};w={window}", nearest.quota),
            );
            put(
                "ratelimit",
                format_args!(
                    "limit={}, remaining={}, reset={reset}",
                    nearest.quota, nearest.remaining
                ),
            );
        }
        LimitHeaders::Legacy => {
            put("x-ratelimit-limit", format_args!("{}", nearest.quota));
            put(
                "x-ratelimit-remaining",
                format_args!("{}", nearest.remaining),
            );
            let nanos = u128::from(now.0) + nearest.reset.as_nanos();
            put(
                "x-ratelimit-reset",
                format_args!("{}", nanos.div_ceil(1_000_000_000)),
            );
        }
    }
}

/// `Retry-After` in whole seconds, rounded up: a client that is told less comes back too early. At
/// least 1, since zero would be no wait at all.
pub fn retry_after(wait: Duration) -> u64 {
    seconds(wait).max(1)
}

/// The members that a problem (RFC 9457) has beside the usual ones, each as JSON: `type` and, of a
/// refused limit, `violated-policies`.
pub fn problem(violated: &[&str]) -> String {
    let mut text = format!("\"type\":\"{QUOTA_EXCEEDED}\"");
    if !violated.is_empty() {
        text.push_str(",\"violated-policies\":[");
        for (number, name) in violated.iter().enumerate() {
            text.push_str(if number > 0 { ",\"" } else { "\"" });
            text.extend(name.chars().filter(|c| is_name(*c)));
            text.push('"');
        }
        text.push(']');
    }
    text
}

/// The limit that will refuse first: the smallest part left, and of equals the one that takes
/// longest to be there again.
fn nearest<'t, 'a>(told: &'t [Told<'a>]) -> Option<&'t Told<'a>> {
    told.iter().min_by(|one, other| {
        let part =
            |of: &Told<'_>, with: &Told<'_>| u128::from(of.remaining) * u128::from(with.quota);
        part(one, other)
            .cmp(&part(other, one))
            .then(other.reset.cmp(&one.reset))
    })
}

fn list(
    told: &[Told<'_>],
    one: fn(&Told<'_>, &mut String),
    text: &mut String,
    field: impl FnOnce(&str),
) {
    text.clear();
    for (number, told) in told.iter().enumerate() {
        text.push_str(if number > 0 { ", \"" } else { "\"" });
        text.extend(told.name.chars().filter(|c| is_name(*c)));
        text.push('"');
        one(told, text);
    }
    field(text);
}

/// What the limit is. Of requests, which are the default, the unit is not said.
fn policy(told: &Told<'_>, text: &mut String) {
    integer(text, ";q=", told.quota);
    match told.window {
        Some(window) => integer(text, ";w=", seconds(window)),
        None => text.push_str(";qu=\"concurrent-requests\""),
    }
}

/// What is left of it. Nobody knows when a request in flight ends.
fn state(told: &Told<'_>, text: &mut String) {
    integer(text, ";r=", told.remaining);
    if told.window.is_some() {
        integer(text, ";t=", seconds(told.reset));
    }
}

/// An Integer of structured fields has at most 15 digits (RFC 9651, section 3.3.1).
fn integer(text: &mut String, key: &str, value: u64) {
    const LARGEST: u64 = 999_999_999_999_999;
    text.push_str(key);
    // A String takes everything.
    write!(text, "{}", value.min(LARGEST)).unwrap_or_default();
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(
        name: &'static str,
        quota: u64,
        window: u64,
        remaining: u64,
        reset: u64,
    ) -> Told<'static> {
        Told {
            name,
            quota,
            window: (window > 0).then_some(Duration::from_secs(window)),
            remaining,
            reset: Duration::from_millis(reset),
        }
    }

    #[track_caller]
    fn check(form: LimitHeaders, all: &[Told<'_>], expect: &[(&str, &str)]) {
        let mut found = Vec::new();
        let now = Timestamp(1_795_910_400_000_000_001);
        write(form, all, now, &mut String::new(), |name, value| {
            found.push((name, value.to_owned()));
        });
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn the_current_draft() {
        let rate = told("burst", 100, 60, 50, 29_001);
        let at_once = told("at_once", 5, 0, 4, 0);
        check(
            LimitHeaders::Draft,
            &[rate, at_once],
            &[
                (
                    "ratelimit-policy",
                    "\"burst\";q=100;w=60, \"at_once\";q=5;qu=\"concurrent-requests\"",
                ),
                ("ratelimit", "\"burst\";r=50;t=30, \"at_once\";r=4"),
            ],
        );
    }

    #[test]
    fn older_forms_tell_of_the_nearest() {
        let far = told("far", 1_000, 86_400, 900, 80_000_000);
        let near = told("near", 10, 60, 1, 59_500);
        check(
            LimitHeaders::Draft6,
            &[far, near],
            &[
                ("ratelimit-policy", "10;w=60"),
                ("ratelimit-limit", "10"),
                ("ratelimit-remaining", "1"),
                ("ratelimit-reset", "60"),
            ],
        );
        check(
            LimitHeaders::Draft7,
            &[near, far],
            &[
                ("ratelimit-policy", "10;w=60"),
                ("ratelimit", "limit=10, remaining=1, reset=60"),
            ],
        );
        check(
            LimitHeaders::Legacy,
            &[near],
            &[
                ("x-ratelimit-limit", "10"),
                ("x-ratelimit-remaining", "1"),
                ("x-ratelimit-reset", "1795910460"),
            ],
        );
        // Both are spent: what counts is who makes the client wait longer.
        let spent = [told("a", 10, 60, 0, 1_000), told("b", 5, 60, 0, 2_000)];
        check(
            LimitHeaders::Draft7,
            &spent,
            &[
                ("ratelimit-policy", "5;w=60"),
                ("ratelimit", "limit=5, remaining=0, reset=2"),
            ],
        );
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(retry_after(Duration::ZERO), 1);
        assert_eq!(retry_after(Duration::from_nanos(1)), 1);
        assert_eq!(retry_after(Duration::from_millis(1_001)), 2);
    }

    #[test]
    fn problems() {
        assert_eq!(
            problem(&["burst", "a\"b"]),
            "\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\"violated-policies\":[\"burst\",\"ab\"]"
        );
    }
}
