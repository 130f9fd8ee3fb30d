//! What limits said of a request: `4 of 20 left, full again in 3 s`.
//!
//! Deliberately not here: counting, which is the gateway's; the journal's event holds what was left.

use fortress_model::decision::Stage;
use serde_json::Value;

use super::{flag, list, number, text};
use crate::screen::{grouped, safe};

/// A line for each limit of a stage.
pub(super) fn lines(stage: Stage, own: &Value) -> Vec<String> {
    let here: Vec<&Value> = list(own, "limits")
        .iter()
        .filter(|limit| text(limit, "/stage") == stage.name())
        .collect();
    // One alone needs no name: nothing else could be meant.
    let is_named = here.len() > 1;
    let named = |limit: &Value| {
        let name = safe(text(limit, "/name"));
        format!("{name}: {}", line(limit))
    };
    here.into_iter()
        .map(|limit| if is_named { named(limit) } else { line(limit) })
        .collect()
}

fn line(limit: &Value) -> String {
    let count = |pointer| grouped(usize::try_from(number(limit, pointer)).unwrap_or(usize::MAX));
    let (left, most) = (count("/left"), count("/most"));
    let when = match (text(limit, "/kind"), number(limit, "/window_s")) {
        ("concurrent", _) => " at once".to_owned(),
        ("quota", 86_400) => " today".to_owned(),
        ("quota", 2_592_000) => " this month".to_owned(),
        ("quota", 3_600) => " this hour".to_owned(),
        ("quota", _) => String::new(),
        _ => format!(", full again in {}", time(number(limit, "/full_in_ms"))),
    };
    let watched = if flag(limit, "enforced") {
        ""
    } else {
        " (watched)"
    };
    // What every instance decided by itself has another meaning.
    let counted = match text(limit, "/counted") {
        "alone" => " (of this instance's part: Redis was away)",
        "open" => return format!("not asked, Redis was away: let through{watched}"),
        "closed" => return format!("not asked, Redis was away: refused{watched}"),
        _ => "",
    };
    format!("{left} of {most} left{when}{counted}{watched}")
}

/// Rounded up, in the largest unit that tells it.
fn time(millis: u64) -> String {
    match millis.div_ceil(1_000) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3_600)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(limit: &Value, expect: &[&str]) {
        let own = json!({ "limits": [limit] });
        assert_eq!(lines(Stage::Throttle, &own), expect);
        assert!(lines(Stage::Quota, &own).is_empty());
    }

    #[test]
    fn what_is_left() {
        check(
            &json!({ "stage": "throttle", "name": "burst", "kind": "rate", "most": 20, "left": 4, "window_s": 20, "full_in_ms": 2_001, "enforced": true }),
            &["4 of 20 left, full again in 3 s"],
        );
        check(
            &json!({ "stage": "throttle", "name": "daily", "kind": "quota", "most": 100_000, "left": 99_871, "window_s": 86_400, "enforced": false }),
            &["99,871 of 100,000 left today (watched)"],
        );
        check(
            &json!({ "stage": "throttle", "name": "c", "kind": "concurrent", "most": 5, "left": 0, "enforced": true }),
            &["0 of 5 left at once"],
        );
        let away = |counted: &str| json!({ "stage": "throttle", "name": "c", "kind": "quota", "most": 100, "left": 24, "window_s": 86_400, "enforced": true, "counted": counted });
        check(&away("shared"), &["24 of 100 left today"]);
        check(
            &away("alone"),
            &["24 of 100 left today (of this instance's part: Redis was away)"],
        );
        check(&away("open"), &["not asked, Redis was away: let through"]);
        check(&away("closed"), &["not asked, Redis was away: refused"]);
        check(&json!({ "stage": "inspect" }), &[]);
        let two = ["a", "b"].map(|name| json!({ "stage": "quota", "name": name, "kind": "concurrent", "most": 2, "left": 1, "enforced": true }));
        assert_eq!(
            lines(Stage::Quota, &json!({ "limits": two })),
            ["a: 1 of 2 left at once", "b: 1 of 2 left at once"]
        );
    }
}
