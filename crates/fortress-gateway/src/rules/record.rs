//! What of a match is kept for the journal: which rule, where, and the beginning of the value, unless
//! it could be a secret.
//!
//! A journal is copied to many places, so a value is shown only where it is known to be harmless to
//! show. Deliberately not here: how a record is written (`journal`).

use std::borrow::Cow;

use fortress_model::{
    config::Parameter,
    decision::{MatchedValue, RuleMatch, RulesRecord},
};
use fortress_waf::{
    builtin,
    engine::{Finding, Matched},
    seclang::Phase,
};
use percent_encoding::percent_decode_str;
use smallvec::SmallVec;

use super::{Message, PATH_ARGUMENT};

/// Bytes of a rule's message.
pub(super) const MESSAGE: usize = 256;
/// Bytes of a rule's `logdata`.
const DATA: usize = 256;
/// Bytes of a variable's name.
const VARIABLE: usize = 128;
/// Bytes of a value.
const EXCERPT: usize = 128;
/// Transformations of a value.
const TRANSFORMATIONS: usize = 12;
/// Rules that a refusal names.
const NAMED: usize = 5;

/// Whether a rule says something of the request, and does not only sum up what others said.
pub(super) fn tells(finding: &Finding) -> bool {
    const SUMS: [&str; 3] = [builtin::EVALUATION, builtin::UNREADABLE, "reporting"];
    !finding.tags.iter().any(|tag| SUMS.contains(&tag.as_str()))
}

/// Keeps a finding.
pub(super) fn add(record: &mut RulesRecord, finding: &Finding, query: Option<&str>) {
    let score = match finding.phase {
        Phase::RequestHeaders | Phase::RequestBody => &mut record.score,
        Phase::ResponseHeaders | Phase::ResponseBody | Phase::Logging => &mut record.response_score,
    };
    *score = score.saturating_add(finding.score);
    if record.matches.len() >= RulesRecord::MATCHES {
        record.more = record.more.saturating_add(1);
        return;
    }
    let shown = Shown::of(&finding.matched);
    // What a rule says of what it matched quotes it, and perhaps what lies around it.
    let is_harmless = !finding.matched.is_empty()
        && finding.matched.iter().all(|matched| shown.has(matched))
        && (shown.is_all_of(&finding.data) || !has_secret_name(&finding.data));
    let data = if is_harmless {
        cut(&finding.data, DATA)
    } else {
        String::new()
    };
    record.matches.push(RuleMatch {
        rule: finding.rule,
        phase: number(finding.phase),
        kind: kind(&finding.tags),
        message: cut(&finding.message, MESSAGE),
        data,
        score: finding.score,
        values: values(&finding.matched, &shown, query),
    });
}

fn values(matched: &[Matched], shown: &Shown<'_>, query: Option<&str>) -> Vec<MatchedValue> {
    matched
        .iter()
        .take(RulesRecord::VALUES)
        .map(|matched| MatchedValue {
            variable: cut(&matched.variable, VARIABLE),
            parameter: parameter(&matched.variable, query).map(|name| name.to_string()),
            excerpt: shown
                .has(matched)
                .then(|| cut(&String::from_utf8_lossy(&matched.value), EXCERPT)),
            transformations: matched
                .transformations
                .iter()
                .take(TRANSFORMATIONS)
                .map(|transformation| transformation.word())
                .collect(),
        })
        .collect()
}

fn number(phase: Phase) -> u8 {
    match phase {
        Phase::RequestHeaders => 1,
        Phase::RequestBody => 2,
        Phase::ResponseHeaders => 3,
        Phase::ResponseBody => 4,
        Phase::Logging => 5,
    }
}

/// Which rules made up a score, and where they matched.
pub(super) fn score(record: Option<&RulesRecord>, message: Message, otherwise: &str) -> String {
    let Some(record) = record else {
        return cut(otherwise, MESSAGE);
    };
    let (score, threshold, phases) = match message {
        Message::Request => (record.score, record.threshold, 1..=2),
        Message::Answer => (record.response_score, record.response_threshold, 3..=4),
    };
    let mut text = format!("score {score}");
    if let Some(threshold) = threshold {
        text.push_str(&format!(", threshold {threshold}"));
    }
    let told = record
        .matches
        .iter()
        .filter(|found| phases.contains(&found.phase) && found.score != 0);
    for (index, found) in told.take(NAMED).enumerate() {
        let between = if index == 0 { ": " } else { ", " };
        text.push_str(&format!("{between}rule {}", found.rule));
        if let Some(value) = found.values.first() {
            let place = value.parameter.as_deref().unwrap_or(&value.variable);
            text.push_str(&format!(" at `{place}`"));
        }
    }
    text
}

/// What the tags of the Core Rule Set and of the built-in rules call an attack: the label of a
/// metric, so it comes from this table.
fn kind(tags: &[String]) -> &'static str {
    const KINDS: [&str; 19] = [
        "sqli",
        "nosqli",
        "xss",
        "rce",
        "lfi",
        "rfi",
        "ssrf",
        "ssti",
        "injection-php",
        "injection-java",
        "injection-generic",
        "generic",
        "fixation",
        "protocol",
        "multipart-header",
        "deprecated-header",
        "reputation-scanner",
        "disclosure",
        "dos",
    ];
    let named = tags.iter().filter_map(|tag| tag.strip_prefix("attack-"));
    let mut known = named.filter_map(|name| KINDS.iter().find(|kind| **kind == name));
    known.next().copied().unwrap_or("other")
}

/// What `waf.exclude` calls a variable of the rules, if it has a name there. `query` tells the
/// arguments of the query from those of the body.
pub fn parameter(variable: &str, query: Option<&str>) -> Option<Parameter> {
    if PATHS.contains(&variable) {
        return Some(Parameter::Path);
    }
    let (collection, name) = variable.split_once(':')?;
    // What the configuration could not hold is no advice.
    if name.is_empty() || name.len() > VARIABLE || name.chars().any(char::is_control) {
        return None;
    }
    match collection {
        "ARGS" | "ARGS_GET" | "ARGS_NAMES" | "ARGS_GET_NAMES"
            if name.starts_with(PATH_ARGUMENT)
                && !query.is_some_and(|query| has_name(query, name)) =>
        {
            Some(Parameter::Path)
        }
        "ARGS_GET" | "ARGS_GET_NAMES" => Some(Parameter::Query(name.to_owned())),
        "ARGS_POST" | "ARGS_POST_NAMES" | "FILES" | "FILES_NAMES" => body(name),
        "ARGS" | "ARGS_NAMES" if query.is_some_and(|query| has_name(query, name)) => {
            Some(Parameter::Query(name.to_owned()))
        }
        "ARGS" | "ARGS_NAMES" => body(name),
        "REQUEST_HEADERS" | "REQUEST_HEADERS_NAMES" => Some(Parameter::Header(name.to_owned())),
        "REQUEST_COOKIES" | "REQUEST_COOKIES_NAMES" => Some(Parameter::Cookie(name.to_owned())),
        _ => None,
    }
}

/// What `path` means in `waf.exclude`.
const PATHS: [&str; 5] = [
    "REQUEST_FILENAME",
    "REQUEST_BASENAME",
    "REQUEST_URI",
    "REQUEST_URI_RAW",
    "REQUEST_LINE",
];

/// `a` of a form; `a.b` of what rules call `json.a.0.b`. The outermost value has no name.
fn body(name: &str) -> Option<Parameter> {
    if name == "json" {
        return None;
    }
    let Some(way) = name.strip_prefix("json.") else {
        return Some(Parameter::Body(name.to_owned()));
    };
    let is_index = |step: &&str| !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
    let steps: Vec<&str> = way.split('.').filter(|step| !is_index(step)).collect();
    let name = steps.join(".");
    (!name.is_empty()).then_some(Parameter::Body(name))
}

fn has_name(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| {
        let raw = pair.split('=').next().unwrap_or_default();
        let raw = if raw.contains('+') {
            Cow::Owned(raw.replace('+', " "))
        } else {
            Cow::Borrowed(raw)
        };
        percent_decode_str(&raw).decode_utf8_lossy() == name
    })
}

/// What of a finding may be shown.
struct Shown<'f> {
    matched: &'f [Matched],
    values: SmallVec<[&'f [u8]; 4]>,
}

impl<'f> Shown<'f> {
    fn of(matched: &'f [Matched]) -> Self {
        let shown = matched.iter().filter(|one| may_be_shown(&one.variable));
        Self {
            matched,
            values: shown.map(|one| one.value.as_slice()).collect(),
        }
    }

    /// A later link of a chain often looks again at what the one before matched, or captured of it.
    fn has(&self, matched: &Matched) -> bool {
        let variable = &matched.variable;
        let is_capture = variable
            .strip_prefix("TX:")
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        may_be_shown(variable)
            || (variable == "MATCHED_VAR" || is_capture) && self.has_part(&matched.value)
    }

    /// Whether a `logdata` quotes nothing but what is shown. In the form that nearly all rules of the
    /// Core Rule Set have, what is quoted can be told from the rest; words in it (`/etc/passwd`) then
    /// tell nothing of a secret.
    fn is_all_of(&self, data: &str) -> bool {
        let Some(quote) = data.strip_prefix("Matched Data: ") else {
            return false;
        };
        let is_whole = |rest: &str, name: &str| {
            let value = rest.strip_prefix(name);
            value.is_some_and(|value| {
                value.is_empty()
                    || value
                        .strip_prefix(": ")
                        .is_some_and(|value| self.has_part(value.as_bytes()))
            })
        };
        quote.match_indices(WITHIN).any(|(at, _)| {
            let piece = quote.get(..at).unwrap_or_default();
            let rest = quote.get(at + WITHIN.len()..).unwrap_or_default();
            let mut names = self.matched.iter().map(|matched| &matched.variable);
            self.has_part(piece.as_bytes()) && names.any(|name| is_whole(rest, name))
        })
    }

    fn has_part(&self, piece: &[u8]) -> bool {
        let mut values = self.values.iter();
        values.any(|value| memchr::memmem::find(value, piece).is_some())
    }
}

const WITHIN: &str = " found within ";

/// Whether a journal may hold the beginning of this variable's value: one parameter, field or name,
/// and none that is called like a secret. A whole (`REQUEST_BODY`, `QUERY_STRING`, `XML`) has secrets
/// in it, an answer is what is not to leak, and a cookie is a credential.
fn may_be_shown(variable: &str) -> bool {
    const SHOWN: [&str; 21] = [
        "ARGS",
        "ARGS_GET",
        "ARGS_POST",
        "ARGS_NAMES",
        "ARGS_GET_NAMES",
        "ARGS_POST_NAMES",
        "FILES",
        "FILES_NAMES",
        "MULTIPART_FILENAME",
        "MULTIPART_NAME",
        "REQUEST_HEADERS",
        "REQUEST_HEADERS_NAMES",
        "REQUEST_COOKIES_NAMES",
        "REQUEST_FILENAME",
        "REQUEST_BASENAME",
        "REQUEST_METHOD",
        "REQUEST_PROTOCOL",
        "REQBODY_PROCESSOR",
        "REQUEST_BODY_LENGTH",
        "ARGS_COMBINED_SIZE",
        "REMOTE_ADDR",
    ];
    let bare = variable.trim_start_matches('&');
    // What was matched before in the same rule, by its own name.
    let bare = bare.strip_prefix("MATCHED_VARS:").unwrap_or(bare);
    let (collection, name) = bare.split_once(':').unwrap_or((bare, ""));
    SHOWN.contains(&collection) && !has_secret_name(name)
}

/// Whether a text has a word in it that secrets are called by.
fn has_secret_name(text: &str) -> bool {
    const PARTS: [&str; 24] = [
        "passw",
        "passphrase",
        "passcode",
        "pwd",
        "secret",
        "token",
        "credential",
        "authorization",
        "cookie",
        "session",
        "apikey",
        "api-key",
        "api_key",
        "accesskey",
        "access-key",
        "access_key",
        "privatekey",
        "private_key",
        "signature",
        "jwt",
        "cardnumber",
        "card_number",
        "iban",
        "otp",
    ];
    const WHOLE: [&str; 8] = ["pass", "pin", "cvv", "cvc", "ssn", "key", "card", "sid"];
    let lower = text.to_ascii_lowercase();
    let is_word = |word: &str| WHOLE.contains(&word);
    PARTS.iter().any(|part| lower.contains(part))
        || lower
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(is_word)
}

/// The beginning of a text.
pub(super) fn cut(text: &str, bound: usize) -> String {
    match text.get(..text.floor_char_boundary(bound)) {
        Some(kept) if kept.len() < text.len() => format!("{kept}…"),
        Some(_) | None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use fortress_waf::seclang::{Operator, Transformation};

    use super::*;

    #[track_caller]
    fn check_parameter(variable: &str, query: &str, expect: Option<&str>) {
        let found = parameter(variable, Some(query)).map(|name| name.to_string());
        assert_eq!(found.as_deref(), expect, "{variable}");
    }

    #[test]
    fn variables_have_the_names_of_the_configuration() {
        check_parameter("ARGS:q", "a=1&q=2", Some("query.q"));
        check_parameter("ARGS:q", "a=q", Some("body.q"));
        check_parameter("ARGS:a b", "a+b=2", Some("query.a b"));
        check_parameter("ARGS:a[b]", "a%5Bb%5D=2", Some("query.a[b]"));
        check_parameter("ARGS_GET:q", "", Some("query.q"));
        check_parameter("ARGS:path.id", "", Some("path"));
        check_parameter("ARGS:path.id", "path.id=1", Some("query.path.id"));
        check_parameter("ARGS_POST:q", "q=1", Some("body.q"));
        check_parameter("ARGS:json.a.0.b", "", Some("body.a.b"));
        check_parameter("ARGS:json.0.a", "", Some("body.a"));
        check_parameter("ARGS_POST:json.text", "", Some("body.text"));
        check_parameter("ARGS:json", "", None);
        check_parameter("ARGS:json.0", "", None);
        check_parameter("REQUEST_HEADERS:User-Agent", "", Some("header.User-Agent"));
        check_parameter("REQUEST_COOKIES:draft", "", Some("cookie.draft"));
        check_parameter("REQUEST_FILENAME", "", Some("path"));
        check_parameter("REQUEST_URI", "", Some("path"));
        check_parameter("QUERY_STRING", "", None);
        check_parameter("ARGS_NAMES:q", "q=1", Some("query.q"));
        check_parameter("ARGS_NAMES:json.a", "q=1", Some("body.a"));
        check_parameter("FILES_NAMES:f", "", Some("body.f"));
        check_parameter("REQUEST_COOKIES_NAMES:a", "", Some("cookie.a"));
        check_parameter("ARGS_NAMES", "q=1", None);
        check_parameter("TX:1", "", None);
        check_parameter("ARGS:", "", None);
        check_parameter("ARGS:a\nb", "", None);
    }

    #[test]
    fn secrets_are_not_shown() {
        for variable in [
            "ARGS:q",
            "ARGS:json.comment.text",
            "REQUEST_HEADERS:user-agent",
            "REQUEST_COOKIES_NAMES:a",
            "&ARGS",
            "MATCHED_VARS:ARGS:a",
            "ARGS:author",
            "ARGS:monkey",
        ] {
            assert!(may_be_shown(variable), "{variable}");
        }
        for variable in [
            "ARGS:password",
            "ARGS:json.user.newPassword",
            "ARGS:access_token",
            "ARGS:api-key",
            "ARGS:pin",
            "REQUEST_HEADERS:authorization",
            "REQUEST_HEADERS:cookie",
            "REQUEST_HEADERS:x-api-key",
            "REQUEST_COOKIES:a",
            "REQUEST_BODY",
            "QUERY_STRING",
            "REQUEST_URI",
            "XML:/*",
            "RESPONSE_BODY",
            "RESPONSE_HEADERS:location",
            "MATCHED_VAR",
            "MATCHED_VARS:ARGS:pin",
            "MATCHED_VARS:REQUEST_COOKIES:a",
            "TX:0",
        ] {
            assert!(!may_be_shown(variable), "{variable}");
        }
    }

    fn finding(variable: &str, value: &str) -> Finding {
        Finding {
            rule: 942_100,
            phase: Phase::RequestBody,
            version: String::new(),
            message: "SQL injection".into(),
            data: format!("{value} found within {variable}"),
            severity: Some(2),
            tags: vec!["paranoia-level/1".into(), "attack-sqli".into()],
            score: 5,
            matched: vec![Matched {
                variable: variable.into(),
                value: value.into(),
                transformations: vec![Transformation::UrlDecodeUni],
                operator: Operator::DetectSqli,
                negated: false,
            }],
        }
    }

    #[test]
    fn a_match_is_kept_within_its_bounds() {
        let mut record = RulesRecord::default();
        add(
            &mut record,
            &finding("ARGS:q", &"1' OR ".repeat(100)),
            Some("q=1"),
        );
        let kept = &record.matches[0];
        assert_eq!((kept.rule, kept.phase, kept.kind), (942_100, 2, "sqli"));
        assert_eq!(kept.values[0].parameter.as_deref(), Some("query.q"));
        assert_eq!(kept.values[0].transformations, ["urlDecodeUni"]);
        assert!(kept.values[0].excerpt.as_ref().unwrap().len() <= EXCERPT + 3);
        assert!(kept.data.len() <= DATA + 3);
        for _ in 0..30 {
            add(&mut record, &finding("ARGS:q", "x"), Some("q=1"));
        }
        assert_eq!(
            (record.matches.len(), record.more, record.score),
            (20, 11, 155)
        );
        record.threshold = Some(5);
        let text = score(Some(&record), Message::Request, "");
        assert!(
            text.starts_with("score 155, threshold 5: rule 942100 at `query.q`, "),
            "{text}"
        );
        assert!(text.len() < 256, "{text}");
    }

    #[test]
    fn the_value_of_a_secret_is_kept_nowhere() {
        let mut record = RulesRecord::default();
        add(&mut record, &finding("ARGS:password", "hunter2"), None);
        add(
            &mut record,
            &finding("REQUEST_COOKIES:sid", "hunter2"),
            None,
        );
        add(&mut record, &finding("RESPONSE_BODY", "hunter2"), None);
        assert_eq!(record.matches.len(), 3);
        assert!(!format!("{record:?}").contains("hunter2"), "{record:?}");
    }

    #[track_caller]
    fn check_data(chain: &[(&str, &str)], data: &str, is_kept: bool) {
        let mut finding = finding("ARGS:q", "");
        let matched = chain.iter().map(|(variable, value)| Matched {
            variable: (*variable).into(),
            value: (*value).into(),
            ..finding.matched[0].clone()
        });
        finding.matched = matched.collect();
        finding.data = data.into();
        let mut record = RulesRecord::default();
        add(&mut record, &finding, None);
        assert_eq!(record.matches[0].data == data, is_kept, "{data}");
        let quotes = |value: &MatchedValue| value.excerpt.is_some();
        let all = record.matches[0].values.iter().all(quotes);
        assert!(all || !is_kept, "{record:?}");
    }

    #[test]
    fn what_a_rule_quotes_is_kept_where_it_is_shown_anyway() {
        let path = [("ARGS:q", "a /etc/passwd")];
        check_data(&path, "Matched Data: passwd found within ARGS:q", true);
        check_data(
            &path,
            "Matched Data: passwd found within ARGS:q: a /etc/passwd",
            true,
        );
        // It lies elsewhere, or nobody knows where.
        for data in [
            "Matched Data: token=a found within ARGS:q: a /etc/passwd",
            "Matched Data: passwd found within ARGS:q: passwd=a",
            "Matched Data: passwd found within ARGS:token: a /etc/passwd",
            "Matched Data: passwd found within ARGS:q=a",
            "passwd found within ARGS:q: a /etc/passwd",
            "Matched Data: passwd",
        ] {
            check_data(&path, data, false);
        }
        let chain = [
            ("REQUEST_HEADERS:referer", "a#b /etc/passwd"),
            ("TX:0", "#b /etc/passwd"),
            ("MATCHED_VAR", "#b /etc/passwd"),
            ("MATCHED_VARS:REQUEST_HEADERS:referer", "a#b /etc/passwd"),
        ];
        let data = "Matched Data: b found within REQUEST_HEADERS:referer: #b /etc/passwd";
        check_data(&chain, data, true);
        for secret in [
            ("TX:0", "hunter2"),
            ("MATCHED_VAR", "hunter2"),
            ("TX:sid", "b"),
            ("MATCHED_VARS:ARGS:password", "b"),
        ] {
            check_data(&[chain[0], secret], data, false);
        }
    }

    #[test]
    fn rules_that_sum_up_are_not_matches() {
        let mut sum = finding("TX:blocking_inbound_anomaly_score", "5");
        assert!(tells(&sum));
        sum.tags = vec!["OWASP_CRS".into(), "anomaly-evaluation".into()];
        assert!(!tells(&sum));
    }
}
