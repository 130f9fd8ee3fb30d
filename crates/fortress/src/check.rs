//! `fortress check`: every diagnostic of the configuration and of its descriptions at once.

use std::path::PathBuf;

use fortress_gateway::{Compiled, Exposed, Exposure, KeyRing, compile};
use fortress_model::{Diagnostic, Mode, Severity, Sources, config, diagnostic};
use fortress_spec::Posture;
use serde_json::{Value, json};

use crate::{
    command::End,
    exposure::{self, Counts},
    references::Machine,
    screen::{BAD, CARE, GOOD, QUIET, Screen, count},
    store,
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress check
  fortress check deploy/fortress.yaml
  fortress check --json | jq .diagnostics";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The configuration
    #[arg(default_value = "fortress.yaml")]
    config: PathBuf,
}

/// Everything that is known of a configuration.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) sources: Sources,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) exposures: Vec<Exposure>,
    pub(crate) postures: Vec<(String, Posture)>,
}

impl Checked {
    /// Reads and compiles.
    pub(crate) fn read(path: &std::path::Path) -> Self {
        let (config, mut sources, mut diagnostics) =
            config::load_partly_with(path, &Machine::default());
        let Some(config) = config else {
            return Self {
                sources,
                diagnostics,
                exposures: Vec::new(),
                postures: Vec::new(),
            };
        };
        let Compiled {
            gateway,
            diagnostics: found,
            exposures,
            descriptions,
        } = compile(&config, &mut sources, &KeyRing::default(), 0);
        drop(gateway);
        diagnostics.extend(found);
        diagnostics.extend(config.store.iter().flat_map(store::look::faults));
        let postures = descriptions
            .iter()
            .map(|(name, description)| (name.clone(), description.posture()))
            .collect();
        Self {
            sources,
            diagnostics,
            exposures,
            postures,
        }
    }

    pub(crate) fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    fn unbounded(&self) -> usize {
        self.postures
            .iter()
            .map(|(_, posture)| posture.unbounded.len())
            .sum()
    }

    /// `2 errors, 1 warning. 12 operations: …`.
    fn summary(&self) -> String {
        let mut text = format!(
            "{}, {}.",
            count(self.errors(), "error"),
            count(self.count(Severity::Warning), "warning")
        );
        let counts = Counts::operations(&self.exposures);
        let mut parts = Vec::new();
        if counts.total() > 0 {
            parts.push(format!(
                "{}: {} protected, {} public, {} undecided",
                count(counts.total(), "operation"),
                counts.protected,
                counts.public,
                counts.undecided,
            ));
        }
        parts.extend(exposure::undescribed(&self.exposures));
        if counts.total() > 0 {
            parts.push(count(self.unbounded(), "unbounded input"));
        }
        if !parts.is_empty() {
            text.push_str(&format!(" {}.", parts.join("; ")));
        }
        text
    }

    fn to_json(&self) -> Value {
        let diagnostics: Vec<Value> = self
            .diagnostics
            .iter()
            .filter_map(|found| {
                serde_json::from_str(&diagnostic::to_json(found, &self.sources)).ok()
            })
            .collect();
        let public: Vec<Value> = self
            .exposures
            .iter()
            .filter(|exposure| exposure.described && exposure.access == Exposed::Public)
            .map(|exposure| json!({ "api": exposure.api, "operation": exposure.operation }))
            .collect();
        let counts = Counts::operations(&self.exposures);
        json!({
            "diagnostics": diagnostics,
            "errors": self.errors(),
            "warnings": self.count(Severity::Warning),
            "operations": counts.total(),
            "protected": counts.protected,
            "public": counts.public,
            "undecided": counts.undecided,
            "unbounded": self.unbounded(),
            "public_operations": public,
            "undescribed": exposure::undescribed_json(&self.exposures),
        })
    }

    /// The diagnostics as people read them, errors first.
    pub(crate) fn print_diagnostics(&self, screen: &Screen) {
        let mut sorted = self.diagnostics.clone();
        sorted.sort_by_key(|diagnostic| diagnostic.severity);
        if !sorted.is_empty() {
            screen.line(
                diagnostic::render(&sorted, &self.sources, screen.has_colour(), screen.width())
                    .trim_end(),
            );
            screen.line("");
        }
    }
}

/// Whether there is a file at all: if not, the command could not run, which is not a finding.
pub(crate) fn readable(path: &std::path::Path) -> anyhow::Result<()> {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    let why = match opened {
        Ok(found) if !found.is_dir() => return Ok(()),
        Ok(_) => String::from("it is a directory"),
        Err(error) => error.to_string(),
    };
    let path = path.display();
    anyhow::bail!(
        "cannot read `{path}`: {why}\n  write one with `fortress init openapi.yaml --upstream URL -o {path}`, or name another file"
    )
}

/// Checks.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> anyhow::Result<End> {
    readable(&flags.config)?;
    let checked = Checked::read(&flags.config);
    if screen.is_json() {
        screen.line(checked.to_json().to_string());
    } else {
        checked.print_diagnostics(screen);
        exposures(&checked, screen);
        let style = match (checked.errors(), checked.count(Severity::Warning)) {
            (0, 0) => GOOD,
            (0, _) => CARE,
            (_, _) => BAD,
        };
        screen.line(format!("{style}{}{style:#}", checked.summary()));
    }
    Ok(if checked.errors() == 0 {
        End::Fine
    } else {
        End::Findings
    })
}

/// Each operation that anyone may call, and each that is not enforced.
fn exposures(checked: &Checked, screen: &Screen) {
    let mut listed = false;
    for exposure in &checked.exposures {
        let public = exposure.access == Exposed::Public;
        let mode = match exposure.mode {
            Mode::Enforce => "",
            Mode::Monitor => "monitored, not enforced",
            Mode::Off => "not checked (mode: off)",
        };
        if public || !mode.is_empty() {
            let said: Vec<&str> = [if public { "public" } else { "" }, mode]
                .into_iter()
                .filter(|word| !word.is_empty())
                .collect();
            let name = if exposure.described {
                format!(
                    "`{}` {QUIET}({}){QUIET:#}",
                    exposure.operation, exposure.api
                )
            } else {
                format!("every path and method of `{}`", exposure.api)
            };
            screen.line(format!("{CARE}{}{CARE:#}: {name}", said.join(", ")));
            listed = true;
        }
    }
    if listed {
        screen.line("");
    }
}
