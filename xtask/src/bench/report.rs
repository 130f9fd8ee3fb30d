//! Medians, ratios, and the tables that show them.

use serde_json::{Value, json};

use super::{Case, load::Sample};
use crate::output::say;

/// All samples of one peer in one case.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) case: Case,
    pub(super) peer: String,
    version: String,
    pub(super) samples: Samples,
}

impl Cell {
    pub(super) fn new(case: Case, peer: &str, version: &str) -> Self {
        Self {
            case,
            peer: peer.to_owned(),
            version: version.to_owned(),
            samples: Samples::default(),
        }
    }
}

/// What one thing under test gave, round by round.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

impl Samples {
    pub(super) fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// Microseconds of processor time for one request.
    pub(super) fn cost(&self) -> f64 {
        self.median(cost_of)
    }

    /// The lowest and the highest cost of all rounds.
    pub(super) fn spread(&self) -> (f64, f64) {
        let costs = self.0.iter().map(cost_of);
        (
            costs.clone().fold(f64::INFINITY, f64::min),
            costs.fold(0.0, f64::max),
        )
    }

    pub(super) fn rate(&self) -> f64 {
        self.median(|sample| quotient(sample.requests, sample.elapsed.as_secs_f64()))
    }

    pub(super) fn failed(&self) -> u64 {
        self.0.iter().map(|sample| sample.failed).sum()
    }

    pub(super) fn median(&self, value: fn(&Sample) -> f64) -> f64 {
        median(self.0.iter().map(value))
    }
}

/// The middle value; of an even number, the upper one.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn cost_of(sample: &Sample) -> f64 {
    sample.spent.as_secs_f64() * 1e6 / number(sample.requests).max(1.0)
}

fn quotient(count: u64, seconds: f64) -> f64 {
    number(count) / seconds.max(f64::MIN_POSITIVE)
}

/// Counts of one benchmark fit 32 bits; a larger one would show as the largest.
fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Prints every case, as tables or as JSON.
pub(super) fn print(cells: &[Cell], skipped: &[String], as_json: bool) {
    if as_json {
        let rows: Vec<Value> = cells.iter().map(|cell| row(cell, cells)).collect();
        say(json!({ "cases": rows, "skipped": skipped }));
        return;
    }
    for case in Case::ALL {
        let rows: Vec<&Cell> = cells.iter().filter(|cell| cell.case == *case).collect();
        let Some((_, base)) = base(*case, cells) else {
            continue;
        };
        say("");
        say(format_args!(
            "{:<58} CPU µs   lowest–highest   × {base:<7}  requests/s    p50 ms    p99 ms",
            case.title()
        ));
        for cell in rows {
            say(table_line(cell, cells));
        }
    }
    say("");
    for line in skipped {
        say(format_args!("skipped: {line}"));
    }
}

fn table_line(cell: &Cell, cells: &[Cell]) -> String {
    let (lowest, highest) = cell.samples.spread();
    let failed = match cell.samples.failed() {
        0 => String::new(),
        failed => format!("   {failed} FAILED"),
    };
    format!(
        "  {:<56} {:>6.2}   {lowest:>6.2}–{highest:<6.2}    {:>9.2}  {:>10.0}  {:>8.3}  {:>8.3}{failed}",
        format!("{} {}", cell.peer, cell.version),
        cell.samples.cost(),
        ratio(cell, cells),
        cell.samples.rate(),
        cell.samples
            .median(|sample| sample.median.as_secs_f64() * 1e3),
        cell.samples.median(|sample| sample.p99.as_secs_f64() * 1e3),
    )
}

fn row(cell: &Cell, cells: &[Cell]) -> Value {
    let (lowest, highest) = cell.samples.spread();
    json!({
        "case": cell.case.name(),
        "peer": cell.peer,
        "version": cell.version,
        "cpu_us_per_request": cell.samples.cost(),
        "cpu_us_lowest": lowest,
        "cpu_us_highest": highest,
        "compared_with": base(cell.case, cells).map(|(_, name)| name),
        "ratio": ratio(cell, cells),
        "requests_per_second": cell.samples.rate(),
        "p50_ms": cell.samples.median(|sample| sample.median.as_secs_f64() * 1e3),
        "p99_ms": cell.samples.median(|sample| sample.p99.as_secs_f64() * 1e3),
        "failed": cell.samples.failed(),
        "rounds": cell.samples.0.len(),
    })
}

/// What the others are compared with: nginx, or Envoy where nginx has no such feature.
fn base(case: Case, cells: &[Cell]) -> Option<(&Cell, &str)> {
    let of = |name: &str| {
        cells
            .iter()
            .find(|cell| cell.case == case && cell.peer == name)
    };
    let cell = of("nginx")
        .or_else(|| of("envoy"))
        .or_else(|| cells.iter().find(|cell| cell.case == case))?;
    Some((cell, &cell.peer))
}

fn ratio(cell: &Cell, cells: &[Cell]) -> f64 {
    base(cell.case, cells).map_or(0.0, |(base, _)| {
        cell.samples.cost() / base.samples.cost().max(f64::MIN_POSITIVE)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cell(case: Case, peer: &str, micros: &[u64]) -> Cell {
        let sample = |spent: &u64| Sample {
            requests: 1000,
            elapsed: Duration::from_secs(1),
            spent: Duration::from_millis(*spent),
            ..Sample::default()
        };
        Cell {
            samples: Samples(micros.iter().map(sample).collect()),
            ..Cell::new(case, peer, "1")
        }
    }

    #[test]
    fn medians_and_ratios() {
        let cells = [
            cell(Case::Get, "nginx", &[10, 30, 20]),
            cell(Case::Get, "fortress", &[25, 24, 90]),
            cell(Case::Jwt, "envoy", &[50]),
            cell(Case::Jwt, "fortress", &[25]),
        ];
        let ratios: Vec<f64> = cells.iter().map(|cell| ratio(cell, &cells)).collect();
        assert_eq!(ratios, [1.0, 1.25, 1.0, 0.5]);
        assert_eq!(cells[1].samples.spread(), (24.0, 90.0));
        assert_eq!(row(&cells[3], &cells)["compared_with"], "envoy");
    }
}
