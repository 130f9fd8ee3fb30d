//! What came of it, by OWASP risk.

use fortress_model::Risk;
use serde_json::{Value, json};

use super::{Kind, Message, Plan, Pressed, Target, Verdict, request::escape};

/// The result of an attack on one or two targets.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Operations of the description.
    pub operations: usize,
    /// One for each risk of which something was tried.
    pub rows: Vec<Row>,
    /// Valid requests.
    pub valid: Count,
    /// What got through the first target: what is to be mended.
    pub through: Vec<Through>,
    /// Valid requests which the first target did not answer.
    pub unanswered: Vec<Through>,
    /// Valid requests which it told to come back later: what it remembers is no defect, but whatever
    /// was stopped may have been stopped for that alone.
    pub held: Vec<Through>,
    /// What was not tried, and why.
    pub not_tried: Vec<String>,
}

/// How many of how many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Sent.
    pub total: usize,
    /// Stopped (or, of valid requests, answered) with Fortress.
    pub with: usize,
    /// The same without it; `None` where that was not tried.
    pub without: Option<usize>,
}

/// A line of the table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Row {
    /// The risk.
    pub risk: Risk,
    /// How many of how many.
    pub count: Count,
}

/// An attack that got through, or a valid request that did not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Through {
    /// What was tried.
    pub kind: Kind,
    /// On which operation.
    pub operation: Option<String>,
    /// Which one.
    pub what: String,
    /// What happened.
    pub outcome: String,
    /// The line that shows it.
    pub command: String,
}

impl Report {
    /// Counts. `with` are the verdicts of the target that Fortress protects, on the plan's valid
    /// requests and then its attacks; `without` those of its upstream.
    pub fn new(
        plan: &Plan,
        target: &Target,
        names: &[(String, String)],
        with: &[Verdict],
        without: Option<&[Verdict]>,
    ) -> Self {
        let mut report = Self {
            operations: plan.operations,
            not_tried: plan.not_tried.clone(),
            ..Self::default()
        };
        let mut unsent = 0;
        for (index, attack) in plan.all.iter().enumerate() {
            let verdict = with.get(index).unwrap_or(&Verdict::Unsent);
            if *verdict == Verdict::Unsent {
                unsent += 1;
                continue;
            }
            let direct = without.map(|without| without.get(index) == Some(&Verdict::Stopped));
            let count = report.count_of(attack.kind);
            count.total += 1;
            count.with += usize::from(*verdict == Verdict::Stopped);
            if let Some(direct) = direct {
                count.without = Some(count.without.unwrap_or_default() + usize::from(direct));
            }
            if let Verdict::Through(outcome) | Verdict::Held(outcome) = verdict {
                let through = Through {
                    kind: attack.kind,
                    operation: attack.operation.as_deref().map(str::to_owned),
                    what: attack.what.clone(),
                    outcome: outcome.clone(),
                    command: command(&attack.message, target, names),
                };
                let list = match (attack.kind, verdict) {
                    (_, Verdict::Held(_)) => &mut report.held,
                    (Kind::Valid, _) => &mut report.unanswered,
                    (_, _) => &mut report.through,
                };
                list.push(through);
            }
        }
        if unsent > 0 {
            report.not_tried.push(format!(
                "{unsent} requests could not be sent: no connection, or the time was up"
            ));
        }
        report.rows.sort_by_key(|row| row.risk);
        report
    }

    /// Adds what came of pressing the targets.
    pub fn add(&mut self, with: Vec<Pressed>, without: Option<&[Pressed]>) {
        for pressed in with {
            if pressed.verdict == Verdict::Unsent {
                continue;
            }
            let direct = without.map(|without| {
                let same = without.iter().find(|other| other.kind == pressed.kind);
                same.is_some_and(|other| other.verdict == Verdict::Stopped)
            });
            let count = self.count_of(pressed.kind);
            count.total += 1;
            count.with += usize::from(pressed.verdict == Verdict::Stopped);
            if let Some(direct) = direct {
                count.without = Some(count.without.unwrap_or_default() + usize::from(direct));
            }
            if let Verdict::Through(outcome) = pressed.verdict {
                self.through.push(Through {
                    kind: pressed.kind,
                    operation: pressed.operation.as_deref().map(str::to_owned),
                    what: pressed.what.to_owned(),
                    outcome,
                    command: pressed.command,
                });
            }
        }
        self.rows.sort_by_key(|row| row.risk);
    }

    fn count_of(&mut self, kind: Kind) -> &mut Count {
        if kind == Kind::Valid {
            return &mut self.valid;
        }
        let risk = kind.risk();
        let at = self
            .rows
            .iter()
            .position(|row| row.risk == risk)
            .unwrap_or_else(|| {
                self.rows.push(Row {
                    risk,
                    count: Count::default(),
                });
                self.rows.len() - 1
            });
        match self.rows.get_mut(at) {
            Some(row) => &mut row.count,
            None => &mut self.valid,
        }
    }

    /// Adds another API's.
    pub fn append(&mut self, other: Self) {
        let add = |to: &mut Count, from: Count| {
            to.total += from.total;
            to.with += from.with;
            to.without = match (to.without, from.without) {
                (Some(one), Some(other)) => Some(one + other),
                (one, other) => one.or(other),
            };
        };
        self.operations += other.operations;
        add(&mut self.valid, other.valid);
        for row in other.rows {
            match self.rows.iter_mut().find(|own| own.risk == row.risk) {
                Some(own) => add(&mut own.count, row.count),
                None => self.rows.push(row),
            }
        }
        self.rows.sort_by_key(|row| row.risk);
        self.through.extend(other.through);
        self.unanswered.extend(other.unanswered);
        self.held.extend(other.held);
        for note in other.not_tried {
            if !self.not_tried.contains(&note) {
                self.not_tried.push(note);
            }
        }
    }

    /// Attacks sent, and stopped.
    pub fn stopped(&self) -> (usize, usize) {
        self.rows.iter().fold((0, 0), |(stopped, total), row| {
            (stopped + row.count.with, total + row.count.total)
        })
    }

    /// Whether nothing got through and every valid request was answered.
    pub fn is_clean(&self) -> bool {
        self.through.is_empty() && self.unanswered.is_empty() && self.held.is_empty()
    }

    /// For machines.
    pub fn to_json(&self, target: &str, upstream: Option<&str>) -> Value {
        let through = |list: &[Through]| -> Vec<Value> {
            list.iter()
                .map(|one| {
                    json!({
                        "kind": one.kind.id(), "risk": one.kind.risk().code(), "operation": one.operation,
                        "what": one.what, "outcome": one.outcome, "command": one.command,
                        "remedy": one.kind.remedy(),
                    })
                })
                .collect()
        };
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "risk": row.risk.code(), "title": row.risk.title(), "attacks": row.count.total,
                    "stopped": row.count.with, "stopped_without": row.count.without,
                })
            })
            .collect();
        let (stopped, attacks) = self.stopped();
        json!({
            "target": target, "upstream": upstream, "operations": self.operations,
            "attacks": attacks, "stopped": stopped, "risks": rows,
            "valid": { "requests": self.valid.total, "answered": self.valid.with,
                       "answered_without": self.valid.without },
            "through": through(&self.through), "unanswered": through(&self.unanswered),
            "held": through(&self.held),
            "not_tried": self.not_tried,
        })
    }
}

/// The line that repeats a message.
fn command(message: &Message, target: &Target, names: &[(String, String)]) -> String {
    match message {
        Message::Request(request) => request.curl(&target.base, names),
        Message::Raw(_) => {
            let bytes = message.encode(&target.host);
            let peer = if target.tls.is_some() {
                format!("openssl s_client -quiet -connect {}", target.address)
            } else {
                format!("nc -w 2 {} {}", target.address.ip(), target.address.port())
            };
            format!("printf {} | {peer}", escape(&bytes))
        }
    }
}
