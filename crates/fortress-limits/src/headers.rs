//! How clients are told of their limits: the fields of draft-ietf-httpapi-ratelimit-headers-10 and
//! later, three older forms, `Retry-After` (RFC 9110, section 10.2.3), and the draft's problem types.
//!
//! The older forms are byte for byte what express-rate-limit 8 sends. They can tell of one limit
//! alone, the one that is nearest to refusing. Deliberately not here: putting fields into an answer.

use std::{fmt::Write, time::Duration};

use fortress_model::{clock::Timestamp, config::LimitHeaders};

/// The type of a problem for a client that has spent what it may.
pub const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// The type of a problem for a server that can take less than usual.
pub const REDUCED_CAPACITY: &str =
    "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";

/// The type of a problem for a client whose requests look like an attack.
pub const ABNORMAL_USAGE: &str =
    "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

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
    /// What tells this client's count from others', if it is to be told: it goes out in base64.
    pub partition: Option<&'a [u8]>,
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
pub fn problem(kind: &str, violated: &[&str]) -> String {
    let mut text = format!("\"type\":\"{kind}\"");
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
        if let Some(partition) = told.partition {
            text.push_str(";pk=:");
            base64(partition, text);
            text.push(':');
        }
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

fn base64(bytes: &[u8], text: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for digit in 0..4_usize {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let found = usize::try_from(value).ok().and_then(|at| DIGITS.get(at));
            let is_there = digit <= group.len();
            text.push(
                found
                    .filter(|_| is_there)
                    .map_or('=', |byte| char::from(*byte)),
            );
        }
    }
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
            partition: None,
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
        let keyed = Told {
            partition: Some(b"sdfjLJUOUH=="),
            ..told("peruser", 100, 60, 0, 0)
        };
        check(
            LimitHeaders::Draft,
            &[keyed],
            &[
                (
                    "ratelimit-policy",
                    "\"peruser\";q=100;w=60;pk=:c2RmakxKVU9VSD09:",
                ),
                ("ratelimit", "\"peruser\";r=0;t=0;pk=:c2RmakxKVU9VSD09:"),
            ],
        );
        check(
            LimitHeaders::Draft,
            &[told("a\"\r\nb", u64::MAX, 1, u64::MAX, 1)],
            &[
                ("ratelimit-policy", "\"ab\";q=999999999999999;w=1"),
                ("ratelimit", "\"ab\";r=999999999999999;t=1"),
            ],
        );
        check(LimitHeaders::Draft, &[], &[]);
        check(LimitHeaders::None, &[rate], &[]);
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
            problem(QUOTA_EXCEEDED, &["burst", "a\"b"]),
            "\"type\":\"https://iana.org/assignments/http-problem-types#quota-exceeded\",\"violated-policies\":[\"burst\",\"ab\"]"
        );
        assert_eq!(
            problem(REDUCED_CAPACITY, &[]),
            "\"type\":\"https://iana.org/assignments/http-problem-types#temporary-reduced-capacity\""
        );
    }

    #[test]
    fn bytes_in_base64() {
        for (bytes, expect) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            let mut text = String::new();
            base64(bytes.as_bytes(), &mut text);
            assert_eq!(text, expect);
        }
    }
}
