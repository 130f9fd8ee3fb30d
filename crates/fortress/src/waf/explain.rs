//! `fortress waf explain`: a request from a file, run through the rules in process, or one of the
//! journal, rule by rule.
//!
//! Deliberately not here: every other guard, which `fortress explain` tells of.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use fortress_gateway::{
    KeyRing, compile,
    journal::read,
    rules::{RawRequest, Trial, load, try_rules},
};
use fortress_model::{Finding, Reason, Sources, config};
use serde_json::{Value, json};

use crate::{
    check::readable,
    command::{End, Usage},
    explain::{self, flag, list, rules, text},
    references::Machine,
    run::rendered,
    screen::{BAD, CARE, GOOD, HEAD, Screen, count, safe},
};

/// Bytes of a request in a file.
const MAX_FILE: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// A file with one HTTP request (`-` for standard input), or the id of a request in the journal
    #[arg(value_name = "FILE|REQUEST-ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    request: String,
    /// The configuration whose rules run, and which names the journal
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The operation whose rules run; else the one that the request goes to
    #[arg(long, value_name = "NAME", conflicts_with = "crs")]
    operation: Option<String>,
    /// Runs the Core Rule Set of this directory, without a configuration
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    crs: Option<PathBuf>,
    /// The paranoia level of these rules
    #[arg(long, value_name = "1-4", requires = "crs", value_parser = clap::value_parser!(u8).range(1..=4))]
    paranoia: Option<u8>,
    /// The journal, for a request's id
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

/// Explains. A file's request that the rules refuse is a finding.
pub(super) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    if flags.request == "-" || Path::new(&flags.request).exists() {
        return from_file(flags, screen);
    }
    let is_id = flags.request.len() <= 26
        && flags
            .request
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric());
    if is_id && flags.crs.is_none() {
        return from_journal(flags, screen);
    }
    bail!("there is no file `{}`", safe(&flags.request))
}

fn from_file(flags: &Flags, screen: &Screen) -> Result<End> {
    let cannot = || format!("cannot read `{}`", safe(&flags.request));
    let mut bytes = Vec::new();
    if flags.request == "-" {
        std::io::stdin()
            .take(MAX_FILE + 1)
            .read_to_end(&mut bytes)
            .with_context(cannot)?;
    } else {
        File::open(&flags.request)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
            .with_context(cannot)?;
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        bail!("the request has more than {} MiB", MAX_FILE >> 20);
    }
    let request = RawRequest::parse(&bytes)
        .map_err(|why| anyhow!("`{}` is no HTTP request: {why}", safe(&flags.request)))?;
    let title = request.title();
    let trial = match &flags.crs {
        Some(directory) => alone(directory, flags.paranoia, request)?,
        None => configured(flags, request)?,
    };
    let told = Told::of(title, &trial);
    if screen.is_json() {
        screen.line(told.to_json().to_string());
    } else {
        screen.line(told.view());
    }
    Ok(match told.refusal {
        Some(_) => End::Findings,
        None => End::Fine,
    })
}

fn alone(directory: &Path, paranoia: Option<u8>, request: RawRequest) -> Result<Trial> {
    let mut sources = Sources::default();
    let mut diagnostics = Vec::new();
    let rules = load(directory, paranoia, &mut sources, &mut diagnostics);
    let Some(rules) = rules else {
        bail!("{}", rendered(RULES, &diagnostics, &sources));
    };
    try_rules(&rules, request).map_err(|why| anyhow!("{why}"))
}

fn configured(flags: &Flags, request: RawRequest) -> Result<Trial> {
    let default = Path::new("fortress.yaml");
    let path = match &flags.config {
        Some(path) => path.as_path(),
        None if default.exists() => default,
        None => {
            let message = "there is no fortress.yaml here; name the configuration with --config FILE, or rules with --crs DIR";
            return Err(Usage(message.into()).into());
        }
    };
    readable(path)?;
    let (config, mut sources, mut diagnostics) = config::load_with(path, &Machine::default());
    let Some(config) = config else {
        bail!("{}", rendered(RULES, &diagnostics, &sources));
    };
    let compiled = compile(&config, &mut sources, &KeyRing::default(), 0);
    diagnostics.extend(compiled.diagnostics);
    let Some(gateway) = compiled.gateway else {
        bail!("{}", rendered(RULES, &diagnostics, &sources));
    };
    gateway
        .try_rules(request, flags.operation.as_deref())
        .map_err(|why| match flags.operation {
            None => anyhow!("{why}; name the operation with --operation NAME"),
            Some(_) => anyhow!("{why}"),
        })
}

/// What has errors where no rule can run.
const RULES: &str = "the rules cannot run:";

fn from_journal(flags: &Flags, screen: &Screen) -> Result<End> {
    let journal = explain::journal(flags.journal.as_deref(), flags.config.as_deref())?;
    let found = read::find(&journal, &flags.request)
        .with_context(|| format!("cannot read the journal `{}`", journal.display()))?;
    let Some(line) = found else {
        screen.error(&format!(
            "there is no file `{0}`, and no request `{0}` in `{1}`",
            safe(&flags.request),
            journal.display()
        ));
        return Ok(End::Findings);
    };
    let event: Value = serde_json::from_str(&line).context("the journal's line is not JSON")?;
    let told = Told::recorded(&event);
    if screen.is_json() {
        screen.line(told.to_json().to_string());
    } else {
        screen.line(told.view());
    }
    Ok(End::Fine)
}

/// What is told of a request.
#[derive(Debug)]
struct Told {
    title: String,
    /// The API and the operation, as far as there are any.
    place: Value,
    /// How many rules ran, where that is known.
    rules: Option<usize>,
    /// What the rules refuse it for, and whether that is enforced.
    refusal: Option<(Reason, String, bool)>,
    waf: Value,
}

/// Reasons that rules give.
const OF_RULES: [Reason; 6] = [
    Reason::WafAnomalyScore,
    Reason::WafRule,
    Reason::WafExhausted,
    Reason::WafResponseExhausted,
    Reason::WafResponseScore,
    Reason::BodyMalformed,
];

impl Told {
    fn of(title: String, trial: &Trial) -> Self {
        let decision = &trial.decision;
        let of_rules = |finding: &&Finding| OF_RULES.contains(&finding.reason);
        let refusal = decision.findings.iter().find(of_rules);
        let waf = decision.rules.as_deref().map(rules::to_json);
        Self {
            title,
            place: json!({ "api": decision.api.as_deref(), "operation": decision.operation.as_deref() }),
            rules: Some(trial.rules),
            refusal: refusal.map(|found| (found.reason, found.detail.clone(), found.enforced)),
            waf: waf.unwrap_or(Value::Null),
        }
    }

    fn recorded(event: &Value) -> Self {
        let own = event.pointer("/unmapped/fortress").unwrap_or(&Value::Null);
        let refusal = list(own, "findings").iter().find_map(|finding| {
            let code = text(finding, "/reason");
            let reason = OF_RULES.iter().find(|reason| reason.code() == code)?;
            let detail = text(finding, "/detail").to_owned();
            Some((*reason, detail, flag(finding, "enforced")))
        });
        let path = text(event, "/http_request/url/path");
        Self {
            title: format!("{} {path}", text(own, "/method")),
            place: own.clone(),
            rules: None,
            refusal,
            waf: own.get("waf").cloned().unwrap_or(Value::Null),
        }
    }

    fn exclusion(&self) -> Option<String> {
        let (reason, detail, _) = self.refusal.as_ref()?;
        let list = rules::exclusions(&self.waf, *reason, detail)?;
        Some(
            explain::placed(&format!("OP.waf.exclude: {list}"), &self.place)
                .unwrap_or_else(|| format!("waf.exclude: {list}")),
        )
    }

    fn view(&self) -> String {
        let title = safe(&self.title);
        let verdict = match &self.refusal {
            Some((reason, _, true)) => format!("{BAD}refused{BAD:#} · {}", reason.code()),
            Some((reason, _, false)) => {
                format!(
                    "{CARE}would be refused{CARE:#} (monitored) · {}",
                    reason.code()
                )
            }
            None if self.waf.is_null() => format!("{GOOD}no rule matches{GOOD:#}"),
            None => format!("{GOOD}passes the rules{GOOD:#}"),
        };
        let mut parts = vec![verdict];
        if !text(&self.place, "/operation").is_empty() {
            let operation = safe(text(&self.place, "/operation"));
            parts.push(format!("operation {operation}"));
        }
        parts.extend(self.rules.map(|rules| count(rules, "rule")));
        let mut lines = vec![format!("{HEAD}{title:<35}{HEAD:#} {}", parts.join(" · "))];
        let mut found = rules::lines(&self.waf, rules::Message::Request);
        found.extend(rules::lines(&self.waf, rules::Message::Answer));
        if found.is_empty() {
            found.extend(self.refusal.iter().map(|(_, detail, _)| safe(detail)));
        }
        if !found.is_empty() {
            lines.push(String::new());
            lines.extend(found.into_iter().map(|line| format!("  {line}")));
        }
        if let Some(exclusion) = self.exclusion() {
            lines.push(String::new());
            lines.push(
                "If this is legitimate traffic, leave the rules out where they matched:".into(),
            );
            lines.push(format!("    {HEAD}{exclusion}{HEAD:#}"));
        }
        lines.join("\n")
    }

    fn to_json(&self) -> Value {
        json!({
            "request": self.title,
            "api": self.place.get("api"),
            "operation": self.place.get("operation"),
            "refused": self.refusal.as_ref().map(|(reason, _, _)| reason.code()),
            "enforced": self.refusal.as_ref().is_some_and(|(_, _, enforced)| *enforced),
            "detail": self.refusal.as_ref().map(|(_, detail, _)| detail),
            "rules": self.rules,
            "waf": self.waf,
            "exclude": self.exclusion(),
        })
    }
}
