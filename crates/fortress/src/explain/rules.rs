//! What the rules of `waf` said of a request: which matched where, after which transformations, and
//! the exclusion that would let it pass.
//!
//! Deliberately not here: values that the journal did not keep.

use fortress_model::{Reason, decision::RulesRecord};
use serde_json::{Value, json};

use super::{flag, list, number, text};
use crate::screen::{CARE, QUIET, count, grouped, safe};

/// Which of two messages is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Message {
    Request,
    Answer,
}

impl Message {
    fn has(self, found: &Value) -> bool {
        let phase = number(found, "/phase");
        match self {
            Self::Request => phase <= 2,
            Self::Answer => phase > 2,
        }
    }
}

/// A record as the journal writes it.
pub(crate) fn to_json(record: &RulesRecord) -> Value {
    let rules: Vec<Value> = record
        .matches
        .iter()
        .map(|found| {
            let matched: Vec<Value> = found
                .values
                .iter()
                .map(|value| {
                    json!({
                        "variable": value.variable, "parameter": value.parameter, "value": value.excerpt,
                        "redacted": value.excerpt.is_none(), "transformations": value.transformations,
                    })
                })
                .collect();
            json!({
                "rule": found.rule, "phase": found.phase, "kind": found.kind, "message": found.message,
                "data": found.data, "score": found.score, "matched": matched,
            })
        })
        .collect();
    json!({
        "score": record.score, "threshold": record.threshold,
        "response_score": record.response_score, "response_threshold": record.response_threshold,
        "proven": record.proven, "more": record.more, "exhausted": record.exhausted, "rules": rules,
    })
}

/// The places at which rules matched, each with its rules, and the sum.
pub(crate) fn lines(waf: &Value, message: Message) -> Vec<String> {
    let rules: Vec<&Value> = list(waf, "rules")
        .iter()
        .filter(|found| message.has(found))
        .collect();
    if rules.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    for place in places(&rules) {
        lines.push(place.clone());
        let here = rules.iter().filter(|found| place_of(found) == place);
        for found in here {
            lines.extend(rule(found));
        }
    }
    let (score, threshold) = match message {
        Message::Request => ("/score", "/threshold"),
        Message::Answer => ("/response_score", "/response_threshold"),
    };
    let mut sum = format!("score {}", number(waf, score));
    if waf.pointer(threshold).is_some_and(Value::is_u64) {
        sum.push_str(&format!(", threshold {}", number(waf, threshold)));
    }
    lines.push(sum);
    let more = usize::try_from(number(waf, "/more")).unwrap_or(usize::MAX);
    if more > 0 {
        lines.push(format!(
            "{CARE}and {} more{CARE:#}, which were not kept",
            grouped(more)
        ));
    }
    let proven = usize::try_from(number(waf, "/proven")).unwrap_or(usize::MAX);
    if proven > 0 && message == Message::Request {
        lines.push(format!(
            "{QUIET}{} not searched: the description proved them harmless{QUIET:#}",
            count(proven, "value")
        ));
    }
    lines
}

/// Each place once, in the order in which rules found them.
fn places(rules: &[&Value]) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for found in rules {
        let place = place_of(found);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// `body.text = 1' OR 1=1 --`.
fn place_of(found: &Value) -> String {
    let Some(first) = list(found, "matched").first() else {
        return String::from("the request as a whole");
    };
    let name = name(first);
    let value = text(first, "/value");
    if flag(first, "redacted") {
        format!("{name}   {QUIET}(the value was not kept: it could be a secret){QUIET:#}")
    } else {
        format!("{name} = {}", safe(value))
    }
}

fn name(matched: &Value) -> String {
    safe(match text(matched, "/parameter") {
        "" => text(matched, "/variable"),
        parameter => parameter,
    })
}

/// `942100  SQL injection   +5, after urlDecodeUni`, what it quotes, and where else it matched.
fn rule(found: &Value) -> Vec<String> {
    let matched = list(found, "matched");
    let transformations: Vec<&str> = matched
        .first()
        .map(|first| list(first, "transformations"))
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let mut line = format!(
        "  {}  {}   +{}",
        number(found, "/rule"),
        safe(text(found, "/message")),
        number(found, "/score")
    );
    if !transformations.is_empty() {
        line.push_str(&format!(", after {}", transformations.join(", ")));
    }
    let mut lines = vec![line];
    let data = text(found, "/data");
    if !data.is_empty() {
        lines.push(format!("          {QUIET}{}{QUIET:#}", safe(data)));
    }
    let others: Vec<String> = matched.iter().skip(1).map(name).collect();
    if !others.is_empty() {
        lines.push(format!("          also in {}", others.join(", ")));
    }
    lines
}

/// The value of `waf.exclude` that would let the request pass; `None` if no rule made the refusal.
pub(crate) fn exclusions(waf: &Value, reason: Reason, detail: &str) -> Option<String> {
    // `rule 1000: its message`, of one that refuses by itself.
    let alone: Option<u64> = detail
        .strip_prefix("rule ")
        .and_then(|rest| rest.split(':').next())
        .and_then(|id| id.parse().ok());
    let message = if reason == Reason::WafResponseScore {
        Message::Answer
    } else if [Reason::WafAnomalyScore, Reason::WafRule].contains(&reason) {
        Message::Request
    } else {
        return None;
    };
    let counts = |found: &&Value| match alone {
        Some(id) => number(found, "/rule") == id,
        None => message.has(found) && number(found, "/score") > 0,
    };
    let meant: Vec<&Value> = list(waf, "rules").iter().filter(counts).collect();
    let mut entries: Vec<(u64, Option<String>)> = Vec::new();
    for found in meant {
        let rule = number(found, "/rule");
        for parameter in parameters(found) {
            let entry = (rule, parameter);
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
    }
    // Without a parameter it is left out everywhere.
    let whole: Vec<u64> = entries
        .iter()
        .filter(|(_, parameter)| parameter.is_none())
        .map(|(rule, _)| *rule)
        .collect();
    entries.retain(|(rule, parameter)| parameter.is_none() || !whole.contains(rule));
    // What leaves a rule out for a cookie does so for the field that carries it too.
    let of_cookies: Vec<u64> = entries
        .iter()
        .filter(|(_, parameter)| {
            parameter
                .as_ref()
                .is_some_and(|name| name.starts_with("cookie."))
        })
        .map(|(rule, _)| *rule)
        .collect();
    entries.retain(|(rule, parameter)| {
        let is_carrier = |name: &String| name.eq_ignore_ascii_case("header.cookie");
        !(parameter.as_ref().is_some_and(is_carrier) && of_cookies.contains(rule))
    });
    if entries.is_empty() {
        return None;
    }
    let entries: Vec<String> = entries
        .iter()
        .map(|(rule, parameter)| match parameter {
            None => format!("{{ rule: {rule} }}"),
            Some(parameter) => format!("{{ rule: {rule}, parameter: {} }}", yaml(parameter)),
        })
        .collect();
    Some(format!("[{}]", entries.join(", ")))
}

/// The parameters for which a rule is to be left out; `None` stands for all. A target is taken from
/// the first rule of a chain, so what that looked at has to be a parameter.
fn parameters(found: &Value) -> Vec<Option<String>> {
    let named: Vec<Option<String>> = list(found, "matched")
        .iter()
        .map(|matched| {
            let parameter = text(matched, "/parameter");
            // Cut: it names nothing.
            (!parameter.is_empty() && !parameter.ends_with('…')).then(|| parameter.to_owned())
        })
        .collect();
    match named.first() {
        Some(Some(_)) => named.into_iter().filter(Option::is_some).collect(),
        Some(None) | None => vec![None],
    }
}

/// A word of YAML, in quotes if it has to be.
fn yaml(text: &str) -> String {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: u64, phase: u64, score: u64, parameters: &[Option<&str>]) -> Value {
        let matched: Vec<Value> = parameters
            .iter()
            .map(|parameter| {
                json!({ "variable": "REQUEST_BODY", "parameter": parameter, "value": "1' OR 1=1 --",
                        "transformations": ["urlDecodeUni"] })
            })
            .collect();
        json!({ "rule": rule, "phase": phase, "score": score, "message": "SQL injection",
                "data": "s&1c", "matched": matched })
    }

    #[track_caller]
    fn check(rules: &[Value], reason: Reason, detail: &str, expect: Option<&str>) {
        let waf = json!({ "rules": rules });
        assert_eq!(exclusions(&waf, reason, detail).as_deref(), expect);
    }

    #[test]
    fn one_list_covers_all_that_matched() {
        use Reason::{WafAnomalyScore, WafResponseScore, WafRule};
        let text = Some("body.text");
        check(
            &[
                found(1, 2, 5, &[text]),
                found(2, 1, 5, &[Some("query.q"), text]),
            ],
            WafAnomalyScore,
            "score 10",
            Some(
                "[{ rule: 1, parameter: body.text }, { rule: 2, parameter: query.q }, { rule: 2, parameter: body.text }]",
            ),
        );
        // Twice the same, and once everywhere.
        check(
            &[
                found(1, 2, 5, &[text]),
                found(1, 2, 5, &[text]),
                found(2, 2, 5, &[text]),
                found(2, 2, 5, &[None]),
                found(3, 2, 0, &[text]),
                found(4, 4, 4, &[None]),
            ],
            WafAnomalyScore,
            "",
            Some("[{ rule: 1, parameter: body.text }, { rule: 2 }]"),
        );
        check(
            &[found(4, 4, 4, &[None]), found(1, 2, 5, &[text])],
            WafResponseScore,
            "score 4",
            Some("[{ rule: 4 }]"),
        );
        check(
            &[found(1, 2, 5, &[text]), found(7, 2, 0, &[text])],
            WafRule,
            "rule 7: mine",
            Some("[{ rule: 7, parameter: body.text }]"),
        );
        check(
            &[found(1, 2, 5, &[Some("query.a b")])],
            WafAnomalyScore,
            "",
            Some("[{ rule: 1, parameter: \"query.a b\" }]"),
        );
        // One for the cookie is enough; one for the field alone is another matter.
        let field = Some("header.Cookie");
        check(
            &[
                found(1, 2, 5, &[Some("cookie.a"), field]),
                found(2, 2, 5, &[field]),
            ],
            WafAnomalyScore,
            "",
            Some("[{ rule: 1, parameter: cookie.a }, { rule: 2, parameter: header.Cookie }]"),
        );
        check(&[], WafAnomalyScore, "", None);
        check(&[found(1, 2, 5, &[text])], Reason::BodyMalformed, "", None);
    }

    #[test]
    fn rules_stand_below_the_place_where_they_matched() {
        let waf = json!({
            "score": 10, "threshold": 5, "proven": 2, "more": 1,
            "rules": [found(942_100, 2, 5, &[Some("body.text")]), found(942_101, 2, 5, &[Some("body.text"), Some("query.q")])],
        });
        let lines = lines(&waf, Message::Request).join("\n");
        let lines = anstream::adapter::strip_str(&lines).to_string();
        assert_eq!(
            lines,
            "body.text = 1' OR 1=1 --\n  942100  SQL injection   +5, after urlDecodeUni\n          s&1c\n  942101  SQL injection   +5, after urlDecodeUni\n          s&1c\n          also in query.q\nscore 10, threshold 5\nand 1 more, which were not kept\n2 values not searched: the description proved them harmless"
        );
        assert!(super::lines(&waf, Message::Answer).is_empty());
    }
}
