//! `fortress explain`: one request of the journal, stage by stage.
//!
//! Deliberately not here: values of the request beyond what the journal keeps of a rule's match.

mod advice;
mod limits;
pub(crate) mod rules;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fortress_gateway::journal::read;
use fortress_model::{
    Reason,
    config::{self, JournalSink},
    decision::Stage,
};
use serde_json::Value;

use advice::{Advice, advice};

use crate::{
    check::readable,
    command::{End, Usage},
    demo::state::State,
    references::Machine,
    screen::{BAD, CARE, GOOD, HEAD, QUIET, Screen, grouped, safe},
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress explain 01K9Z6T3Q8          the first letters of the id are enough
  fortress explain --last              the last request that was refused
  fortress explain --last --journal /var/log/fortress/journal.ndjson";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The request's id, as the problem or the journal gives it, or its beginning: of several the
    /// newest is meant
    #[arg(required_unless_present = "last", conflicts_with = "last", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    request: Option<String>,
    /// The last request that was refused; if none was, the last one
    #[arg(long)]
    last: bool,
    /// The journal; else that of --config, or of the running demo
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// The configuration that names the journal
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Explains.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    let journal = journal(flags.journal.as_deref(), flags.config.as_deref())?;
    let opened = || format!("cannot read the journal `{}`", journal.display());
    let found = match &flags.request {
        Some(request) => read::find(&journal, request).with_context(opened)?,
        None => {
            let refused = read::last(&journal, |line| line.contains("\"outcome\":\"denied\""))
                .with_context(opened)?;
            match refused {
                Some(line) => Some(line),
                None => read::last(&journal, |_| true).with_context(opened)?,
            }
        }
    };
    let Some(line) = found else {
        screen.error(&match &flags.request {
            Some(request) => format!(
                "no request `{}` in `{}`\n  ids are in a problem's `request_id` and in `x-request-id`; name an older journal with --journal FILE",
                safe(request),
                journal.display()
            ),
            None => format!("no request in `{}` yet", journal.display()),
        });
        return Ok(End::Findings);
    };
    let event: Value = serde_json::from_str(&line).context("the journal's line is not JSON")?;
    if screen.is_json() {
        screen.line(event.to_string());
    } else {
        screen.line(view(&event).trim_end());
    }
    Ok(End::Fine)
}

/// The journal that is meant: named, of a configuration, of the demo, of `./fortress.yaml`.
pub(crate) fn journal(named: Option<&Path>, config: Option<&Path>) -> Result<PathBuf> {
    if let Some(journal) = named {
        return Ok(journal.to_owned());
    }
    let default = Path::new("fortress.yaml");
    let config = match config {
        Some(config) => config,
        None => match State::read()? {
            Some(state) => return Ok(state.journal),
            None if default.exists() => default,
            None => {
                let message = "no demo is running and there is no fortress.yaml here; name the journal with --journal FILE";
                return Err(Usage(message.into()).into());
            }
        },
    };
    readable(config)?;
    let (loaded, _, _) = config::load_with(config, &Machine::default());
    let sinks = loaded.map(|config| config.journal).unwrap_or_default();
    sinks
        .into_iter()
        .find_map(|sink| match sink {
            JournalSink::File(path) => Some(path),
            JournalSink::Stdout => None,
        })
        .ok_or_else(|| {
            Usage(format!(
                "`{}` names no journal file; name one with --journal FILE",
                config.display()
            ))
            .into()
        })
}

/// The whole view.
fn view(event: &Value) -> String {
    let own = event.pointer("/unmapped/fortress").unwrap_or(&Value::Null);
    let mut lines = vec![title(event, own), circumstances(event, own), String::new()];
    lines.extend(stages(event, own));
    let notes = list(own, "notes");
    for note in notes {
        lines.push(format!(
            "  {QUIET}·{QUIET:#} {}",
            safe(note.as_str().unwrap_or_default())
        ));
    }
    lines.extend(advise(own));
    lines.join("\n")
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

pub(crate) fn number(value: &Value, pointer: &str) -> u64 {
    value
        .pointer(pointer)
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

pub(crate) fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

pub(crate) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn title(event: &Value, own: &Value) -> String {
    let method = text(own, "/method");
    let path = text(event, "/http_request/url/path");
    let status = number(event, "/http_response/code");
    let request = if method.is_empty() {
        String::from("(no readable request line)")
    } else {
        safe(&format!("{method} {path}"))
    };
    let verdict = match text(own, "/outcome") {
        "denied" => format!(
            "{BAD}refused {status}{BAD:#} · {} · OWASP {} · {}",
            text(own, "/reason"),
            text(own, "/risk"),
            text(own, "/mode")
        ),
        "forwarded" => match list(own, "findings").first() {
            None => format!(
                "{GOOD}forwarded, answered {status}{GOOD:#} · {}",
                text(own, "/mode")
            ),
            Some(finding) => format!(
                "{CARE}forwarded, answered {status}{CARE:#} · would have been refused: {} · {}",
                text(finding, "/reason"),
                text(own, "/mode")
            ),
        },
        "abandoned" => format!("{CARE}the client went away{CARE:#}"),
        _ => format!("answered {status} by Fortress itself"),
    };
    format!("{HEAD}{request:<35}{HEAD:#} {verdict}")
}

fn circumstances(event: &Value, own: &Value) -> String {
    let mut parts = Vec::new();
    let millis = i64::try_from(number(event, "/time")).unwrap_or_default();
    if let Ok(time) = jiff::Timestamp::from_millisecond(millis) {
        parts.push(format!("{} UTC", time.strftime("%Y-%m-%d %H:%M:%S%.3f")));
    }
    parts.push(milliseconds(number(own, "/duration_us")));
    parts.push(format!("client {}", safe(text(event, "/src_endpoint/ip"))));
    match own.get("principal") {
        Some(principal) => parts.push(format!(
            "principal {} ({})",
            safe(text(principal, "/id")),
            safe(text(principal, "/identity"))
        )),
        None => parts.push(String::from("no principal")),
    }
    if !text(own, "/operation").is_empty() {
        parts.push(format!("operation {}", safe(text(own, "/operation"))));
    }
    format!(
        "{}\n{QUIET}{}{QUIET:#}",
        parts.join(", "),
        safe(text(event, "/metadata/uid"))
    )
}

/// Microseconds as milliseconds, with two digits.
fn milliseconds(micros: u64) -> String {
    format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10)
}

fn stages(event: &Value, own: &Value) -> Vec<String> {
    let last = text(own, "/stage");
    let reached = Stage::ALL
        .iter()
        .position(|stage| stage.name() == last)
        .unwrap_or_default();
    let denied = text(own, "/outcome") == "denied";
    let findings = list(own, "findings");
    let mut lines = Vec::new();
    for (index, stage) in Stage::ALL.iter().enumerate() {
        let here: Vec<&Value> = findings
            .iter()
            .filter(|finding| text(finding, "/stage") == stage.name())
            .collect();
        let enforced = here.iter().any(|finding| flag(finding, "enforced"));
        let mark = if enforced || (denied && index == reached) {
            format!("{BAD}✗{BAD:#}")
        } else if index > reached {
            format!("{QUIET}·{QUIET:#}")
        } else if here.is_empty() {
            format!("{GOOD}✓{GOOD:#}")
        } else {
            format!("{CARE}!{CARE:#}")
        };
        let limits = limits::lines(*stage, own);
        if limits.is_empty() && here.is_empty() && [Stage::Throttle, Stage::Quota].contains(stage) {
            continue;
        }
        let about = if index > reached {
            String::from("not reached")
        } else {
            about(*stage, event, own)
        };
        let mut told: Vec<String> = here.iter().map(|finding| told(finding)).collect();
        let rules = matches(*stage, own);
        told.extend(limits);
        told.extend(login(*stage, own));
        // A finding says more than the stage's own words.
        let first = if told.is_empty() || !about.is_empty() {
            about
        } else {
            told.remove(0)
        };
        lines.push(
            format!("  {mark} {:<13} {first}", stage.name())
                .trim_end()
                .to_owned(),
        );
        told.extend(rules);
        lines.extend(told.into_iter().map(|line| format!("{:18}{line}", "")));
    }
    lines
}

/// What became of an attempt to log in, told where it was let through or not.
fn login(stage: Stage, own: &Value) -> Option<String> {
    let login = own.get("login").filter(|_| stage == Stage::Inspect)?;
    let account = match text(login, "/account") {
        "" => "no account".to_owned(),
        account => format!("account {}", safe(account)),
    };
    let failures = number(login, "/failures");
    let found = match text(login, "/found") {
        "" => String::new(),
        found => format!("; {}", safe(found)),
    };
    Some(format!(
        "{} of {account}, {failures} failures before: {}{found}",
        safe(text(login, "/kind")),
        safe(text(login, "/outcome")),
    ))
}

/// What rules found in a stage.
fn matches(stage: Stage, own: &Value) -> Vec<String> {
    let message = match stage {
        Stage::Inspect => rules::Message::Request,
        Stage::Reply => rules::Message::Answer,
        Stage::Parse
        | Stage::Route
        | Stage::Throttle
        | Stage::Authenticate
        | Stage::Quota
        | Stage::Authorize
        | Stage::Forward => return Vec::new(),
    };
    own.get("waf")
        .map(|waf| rules::lines(waf, message))
        .unwrap_or_default()
}

fn told(finding: &Value) -> String {
    let monitored = if flag(finding, "enforced") {
        ""
    } else {
        " (would have been refused; monitored)"
    };
    format!(
        "{}: {}{monitored}",
        text(finding, "/reason"),
        safe(text(finding, "/detail"))
    )
}

/// What a stage that was entered had to do with.
fn about(stage: Stage, event: &Value, own: &Value) -> String {
    let bytes =
        |pointer: &str| grouped(usize::try_from(number(own, pointer)).unwrap_or(usize::MAX));
    match stage {
        Stage::Parse => format!(
            "{}{}, head {} B, body {} B",
            safe(text(event, "/http_request/version")),
            if flag(own, "tls") { " over TLS" } else { "" },
            bytes("/head_bytes"),
            bytes("/request_bytes"),
        ),
        Stage::Route => match (text(own, "/api"), text(own, "/operation")) {
            ("", _) | (_, "") => String::new(),
            (api, operation) => safe(&format!("{api} · {operation}")),
        },
        Stage::Throttle | Stage::Quota => String::new(),
        Stage::Authenticate => match own.get("principal") {
            Some(principal) => credential(event, principal),
            None if text(own, "/stage") != stage.name() => String::from("anyone may call this"),
            None => String::new(),
        },
        Stage::Authorize | Stage::Inspect if text(own, "/stage") == stage.name() => String::new(),
        Stage::Authorize => match own.get("principal") {
            Some(_) => String::from("as the operation demands"),
            None => String::from("nothing to demand"),
        },
        Stage::Inspect => String::from("as declared"),
        Stage::Forward => match number(own, "/upstream_status") {
            0 => String::new(),
            status => format!(
                "the upstream answered {status}, {}",
                milliseconds(number(own, "/timings_us/forward"))
            ),
        },
        Stage::Reply => format!("body {} B", bytes("/response_bytes")),
    }
}

fn credential(event: &Value, principal: &Value) -> String {
    let mut parts = vec![safe(text(principal, "/identity"))];
    if !text(principal, "/method").is_empty() {
        parts.push(safe(text(principal, "/method")));
    }
    let at = number(event, "/time") / 1_000;
    if let Some(left) = principal
        .get("expires")
        .and_then(Value::as_u64)
        .map(|expires| expires.saturating_sub(at))
    {
        parts.push(match left {
            0..=119 => format!("{left} s left"),
            120..=7_199 => format!("{} min left", left / 60),
            _ => format!("{} h left", left / 3_600),
        });
    }
    parts.join(", ")
}

/// What the reason means, and what to do if the request was legitimate. A request that was only
/// watched is advised on as if it had been refused.
fn advise(own: &Value) -> Vec<String> {
    let watched = list(own, "findings")
        .first()
        .map(|finding| text(finding, "/reason"));
    let code = match text(own, "/reason") {
        "" => watched.unwrap_or_default(),
        code => code,
    };
    let Some(reason) = Reason::ALL.iter().find(|reason| reason.code() == code) else {
        return Vec::new();
    };
    let mut lines = vec![String::new()];
    // A paragraph is a line: the terminal knows its width.
    let paragraphs = reason.explanation().split("\n\n");
    lines.extend(paragraphs.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")));
    let Advice { mend, key } = advice(*reason);
    let excluded = excluded(*reason, own);
    let key = excluded.as_deref().or(key);
    let key = key.and_then(|key| placed(key, own));
    let end = if key.is_some() { ":" } else { "." };
    lines.push(String::new());
    lines.push(format!("If this is legitimate traffic, {mend}{end}"));
    lines.extend(key.map(|key| format!("    {HEAD}{key}{HEAD:#}")));
    lines
}

/// The rules to leave out, for a refusal that rules made.
fn excluded(reason: Reason, own: &Value) -> Option<String> {
    let detail = list(own, "findings")
        .iter()
        .find(|finding| text(finding, "/reason") == reason.code())
        .map(|finding| text(finding, "/detail"))
        .unwrap_or_default();
    let list = rules::exclusions(own.get("waf")?, reason, detail)?;
    Some(format!("OP.waf.exclude: {list}"))
}

/// A key with the names of the API and the operation in it; `None` if it needs one that the request
/// did not get to.
pub(crate) fn placed(key: &str, own: &Value) -> Option<String> {
    let quoted = |name: &str| {
        let plain = name
            .chars()
            .all(|c| c.is_alphanumeric() || "-_/:".contains(c));
        let name = safe(name);
        if plain { name } else { format!("\"{name}\"") }
    };
    let (api, operation) = (text(own, "/api"), text(own, "/operation"));
    if let Some(rest) = key.strip_prefix("OP.") {
        let named = !api.is_empty() && !operation.is_empty();
        return named.then(|| {
            format!(
                "apis.{}.operations.{}.{rest}",
                quoted(api),
                quoted(operation)
            )
        });
    }
    if let Some(rest) = key.strip_prefix("API.") {
        return (!api.is_empty()).then(|| format!("apis.{}.{rest}", quoted(api)));
    }
    Some(key.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused() -> Value {
        json!({
            "metadata": { "uid": "01K9Z6T3Q8" }, "time": 1_764_000_000_417_u64,
            "src_endpoint": { "ip": "203.0.113.9" },
            "http_request": { "version": "HTTP/1.1", "url": { "path": "/users/me" } },
            "http_response": { "code": 400 },
            "unmapped": { "fortress": {
                "outcome": "denied", "reason": "body.undeclared", "risk": "API3", "mode": "enforce",
                "stage": "inspect", "method": "PATCH", "api": "orders", "operation": "updateMe",
                "findings": [{ "stage": "inspect", "reason": "body.undeclared",
                               "detail": "body.role is not declared\u{1b}[2J", "enforced": true }],
                "notes": [], "duration_us": 310, "head_bytes": 812, "request_bytes": 16,
                "principal": { "id": "alice", "identity": "demo", "method": "ES256, key demo", "expires": 1_764_003_120_u64 }
            } }
        })
    }

    #[test]
    fn a_refusal_is_told_stage_by_stage() {
        let view = anstream::adapter::strip_str(&view(&refused())).to_string();
        for line in [
            "PATCH /users/me                     refused 400 · body.undeclared · OWASP API3 · enforce",
            "0.31 ms, client 203.0.113.9, principal alice (demo), operation updateMe",
            "  ✓ parse         HTTP/1.1, head 812 B, body 16 B",
            "  ✓ route         orders · updateMe",
            "  ✓ authenticate  demo, ES256, key demo, 52 min left",
            "  ✗ inspect       body.undeclared: body.role is not declared",
            "  · forward       not reached",
            "The body has a property which no branch of its schema declares.",
            "If this is legitimate traffic, declare the property in the description, or let undeclared ones pass:",
            "    apis.orders.operations.updateMe.requests.undeclared: allow",
        ] {
            assert!(view.contains(line), "{line}\n---\n{view}");
        }
        assert!(
            !view.contains('\u{1b}'),
            "what came from outside commands the terminal"
        );
    }

    #[test]
    fn a_request_that_went_through_has_no_advice() {
        let mut event = refused();
        let own = event.pointer_mut("/unmapped/fortress").unwrap();
        own["outcome"] = "forwarded".into();
        own["stage"] = "reply".into();
        own["findings"] = json!([]);
        own.as_object_mut().unwrap().remove("reason");
        let view = anstream::adapter::strip_str(&view(&event)).to_string();
        assert!(
            view.contains("forwarded, answered 400") && !view.contains("legitimate"),
            "{view}"
        );
        assert!(!view.contains('✗'), "{view}");
        assert!(view.contains("  ✓ inspect       as declared"), "{view}");
    }

    #[test]
    fn a_watched_request_says_what_would_have_been_refused() {
        let mut event = refused();
        let own = event.pointer_mut("/unmapped/fortress").unwrap();
        own["outcome"] = "forwarded".into();
        own["mode"] = "monitor".into();
        own["stage"] = "reply".into();
        own["findings"][0]["enforced"] = false.into();
        own["operation"] = "api.users.me".into();
        own.as_object_mut().unwrap().remove("reason");
        let view = anstream::adapter::strip_str(&view(&event)).to_string();
        for part in [
            "would have been refused: body.undeclared · monitor",
            "  ! inspect ",
            "    apis.orders.operations.\"api.users.me\".requests.undeclared: allow",
        ] {
            assert!(view.contains(part), "{part}\n---\n{view}");
        }
        assert!(!view.contains('✗'), "{view}");
    }

    #[test]
    fn a_request_that_found_no_operation_is_not_told_an_operations_key() {
        let mut event = refused();
        let own = event
            .pointer_mut("/unmapped/fortress")
            .unwrap()
            .as_object_mut()
            .unwrap();
        own.remove("operation");
        own.insert("reason".into(), "body.too_large".into());
        let view = anstream::adapter::strip_str(&view(&event)).to_string();
        assert!(!view.contains("operations."), "{view}");
    }
}
