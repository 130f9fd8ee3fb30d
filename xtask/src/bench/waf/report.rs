//! The tables of the WAF comparison: medians, ratios to Fortress, budgets, and the curves.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::report::{Samples, median},
    curve::Series,
    engine::{self, Run},
    scenario::Scenario,
};
use crate::output::{complain, say};

/// What the others are compared with.
const OURS: &str = "fortress";
/// What loading the rules may cost: milliseconds and MB.
const LOADING: (f64, f64) = (500.0, 40.0);

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) loadings: Vec<Loading>,
    pub(super) cells: Vec<Cell>,
    pub(super) points: Vec<Point>,
    pub(super) wired: Vec<Wired>,
    skipped: Vec<String>,
}

impl Report {
    pub(super) fn skip(&mut self, name: &str, error: &anyhow::Error) {
        let line = format!("{name}: {error:#}");
        complain(format_args!("skipped: {line}"));
        self.skipped.push(line);
    }
}

/// One engine's loading of the rules.
#[derive(Debug)]
pub(super) struct Loading {
    pub(super) engine: &'static str,
    pub(super) title: String,
    pub(super) runs: Vec<engine::Loading>,
}

impl Loading {
    fn milliseconds(&self) -> f64 {
        median(self.runs.iter().map(|run| run.time.as_secs_f64() * 1e3))
    }

    fn peak(&self) -> f64 {
        median(self.runs.iter().map(|run| megabytes(run.peak)))
    }

    fn resident(&self) -> f64 {
        median(self.runs.iter().map(|run| megabytes(run.resident)))
    }
}

/// One engine in one scenario.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) scenario: Scenario,
    pub(super) engine: &'static str,
    pub(super) runs: Vec<Run>,
}

impl Cell {
    /// Microseconds: the median of the rounds' medians.
    fn time(&self) -> f64 {
        median(self.runs.iter().map(|run| micros(run.median)))
    }

    /// Microseconds of processor time, which is what engines are compared by.
    fn cost(&self) -> f64 {
        median(self.runs.iter().map(|run| micros(run.each)))
    }

    /// How many of all transactions were blocked: `none`, `all`, or so many.
    fn blocked(&self) -> String {
        let blocked: u64 = self.runs.iter().map(|run| run.blocked).sum();
        let all: u64 = self.runs.iter().map(|run| run.transactions).sum();
        match blocked {
            0 => "none".to_owned(),
            _ if blocked == all => "all".to_owned(),
            _ => format!("{blocked} of {all}"),
        }
    }
}

/// One engine at one point of a curve.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) series: Series,
    pub(super) size: usize,
    /// Of the whole request.
    pub(super) bytes: usize,
    pub(super) engine: &'static str,
    pub(super) outcome: Outcome,
}

/// What came of a point.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// Memory: the most that it took beyond what it held before, the request itself included.
    Measured {
        run: Run,
        memory: u64,
    },
    TooLong(Duration),
    Failed(String),
}

impl Outcome {
    fn cell(&self, bytes: usize) -> String {
        match self {
            Self::Measured { run, memory } => {
                let share = megabytes(*memory) * 1e6 / f64::from(u32::try_from(bytes).unwrap_or(1));
                let memory = match bytes {
                    100_000.. => format!("{share:.1} ×"),
                    _ => String::new(),
                };
                let mark = if run.blocked > 0 { "b" } else { " " };
                format!("{:>11} {mark} {memory:>8}", time(run.each))
            }
            Self::TooLong(limit) => {
                format!("{:>11} {:>10}", format!("> {} s", limit.as_secs()), "")
            }
            Self::Failed(_) => format!("{:>11} {:>10}", "failed", ""),
        }
    }
}

/// One proxy in one scenario on the wire.
#[derive(Debug)]
pub(super) struct Wired {
    pub(super) scenario: Scenario,
    pub(super) proxy: &'static str,
    pub(super) samples: Samples,
}

/// Prints everything, as tables or as JSON.
pub(super) fn print(report: &Report, as_json: bool) {
    if as_json {
        say(json(report));
        return;
    }
    print_loadings(report);
    for scenario in Scenario::ALL {
        print_scenario(report, *scenario);
    }
    for series in Series::ALL {
        print_curve(report, *series);
    }
    print_wired(report);
    say("");
    for line in &report.skipped {
        say(format_args!("skipped: {line}"));
    }
}

fn print_loadings(report: &Report) {
    let (time, memory) = LOADING;
    say("");
    say(format_args!(
        "{:<52} {:>10} {:>10} {:>10}   (budget {time:.0} ms, {memory:.0} MB held)",
        "Loading the Core Rule Set", "ms", "peak MB", "held MB"
    ));
    for loading in &report.loadings {
        say(format_args!(
            "  {:<50} {:>10.0} {:>10.1} {:>10.1}",
            loading.title,
            loading.milliseconds(),
            loading.peak(),
            loading.resident()
        ));
    }
}

fn print_scenario(report: &Report, scenario: Scenario) {
    let budget = scenario
        .budget()
        .map_or_else(String::new, |budget| format!("   (budget {budget:.0} µs)"));
    say("");
    say(format_args!(
        "{:<52} {:>10} {:>10} {:>10}   blocked{budget}",
        scenario.title(),
        "median µs",
        "CPU µs",
        "CPU ×"
    ));
    for cell in report.cells.iter().filter(|cell| cell.scenario == scenario) {
        let ratio = ratio(report, cell).map_or_else(String::new, |ratio| format!("{ratio:.1}"));
        say(format_args!(
            "  {:<50} {:>10.1} {:>10.1} {ratio:>10}   {}",
            title(report, cell.engine),
            cell.time(),
            cell.cost(),
            cell.blocked()
        ));
    }
}

/// One line for each size, one column for each engine.
fn print_curve(report: &Report, series: Series) {
    let points = || report.points.iter().filter(|point| point.series == series);
    if points().next().is_none() {
        return;
    }
    say("");
    let engines: Vec<&str> = report
        .loadings
        .iter()
        .map(|loading| loading.engine)
        .collect();
    let heads: Vec<String> = engines
        .iter()
        .map(|engine| format!("{engine:>22}"))
        .collect();
    let title = format!("{}: CPU, memory", series.title());
    say(format_args!("{title:<52}{}", heads.join(" ")));
    for size in series.sizes() {
        let label = if series.is_counted() {
            size.to_string()
        } else {
            format!("{} KB", size / 1000)
        };
        let cells: Vec<String> = engines
            .iter()
            .map(|engine| {
                let point = points().find(|point| point.size == *size && point.engine == *engine);
                point.map_or_else(
                    || format!("{:>22}", ""),
                    |point| point.outcome.cell(point.bytes),
                )
            })
            .collect();
        say(format_args!("  {label:>48}  {}", cells.join(" ")));
    }
}

fn print_wired(report: &Report) {
    for scenario in Scenario::ALL {
        let cells = || {
            report
                .wired
                .iter()
                .filter(|cell| cell.scenario == *scenario)
        };
        if cells().next().is_none() {
            continue;
        }
        say("");
        say(format_args!(
            "{:<52} {:>10} {:>12} {:>9} {:>9}   refused",
            format!("Wire: {}", scenario.title()),
            "CPU µs",
            "requests/s",
            "p50 ms",
            "p99 ms"
        ));
        for cell in cells() {
            let samples = &cell.samples;
            say(format_args!(
                "  {:<50} {:>10.1} {:>12.0} {:>9.3} {:>9.3}   {}",
                cell.proxy,
                samples.cost(),
                samples.rate(),
                samples.median(|sample| sample.median.as_secs_f64() * 1e3),
                samples.median(|sample| sample.p99.as_secs_f64() * 1e3),
                samples.failed()
            ));
        }
    }
}

fn json(report: &Report) -> Value {
    let loadings = report.loadings.iter().map(|loading| {
        json!({
            "engine": loading.engine,
            "version": loading.title,
            "load_ms": loading.milliseconds(),
            "peak_mb": loading.peak(),
            "held_mb": loading.resident(),
        })
    });
    let cells = report.cells.iter().map(|cell| {
        json!({
            "scenario": cell.scenario.name(),
            "paranoia": cell.scenario.paranoia(),
            "engine": cell.engine,
            "median_us": cell.time(),
            "cpu_us": cell.cost(),
            "ratio_to_fortress": ratio(report, cell),
            "budget_us": cell.scenario.budget(),
            "blocked": cell.blocked(),
            "rounds": cell.runs.len(),
        })
    });
    let points = report.points.iter().map(|point| {
        let (cpu, memory, blocked) = match &point.outcome {
            Outcome::Measured { run, memory } => (
                Some(micros(run.each)),
                Some(*memory),
                Some(run.blocked > 0),
            ),
            Outcome::TooLong(_) | Outcome::Failed(_) => (None, None, None),
        };
        let stopped = match &point.outcome {
            Outcome::Measured { .. } => None,
            Outcome::TooLong(limit) => Some(format!("over {} s", limit.as_secs())),
            Outcome::Failed(why) => Some(why.clone()),
        };
        json!({
            "series": point.series.name(),
            "size": point.size,
            "bytes": point.bytes,
            "engine": point.engine,
            "cpu_us": cpu,
            "memory": memory,
            "blocked": blocked,
            "stopped": stopped,
        })
    });
    let wired = report.wired.iter().map(|cell| {
        json!({
            "scenario": cell.scenario.name(),
            "proxy": cell.proxy,
            "cpu_us_per_request": cell.samples.cost(),
            "requests_per_second": cell.samples.rate(),
            "p50_ms": cell.samples.median(|sample| sample.median.as_secs_f64() * 1e3),
            "p99_ms": cell.samples.median(|sample| sample.p99.as_secs_f64() * 1e3),
            "refused": cell.samples.failed(),
        })
    });
    json!({
        "loading": loadings.collect::<Vec<_>>(),
        "scenarios": cells.collect::<Vec<_>>(),
        "curves": points.collect::<Vec<_>>(),
        "wire": wired.collect::<Vec<_>>(),
        "skipped": report.skipped,
    })
}

/// How often Fortress would do it for the same processor time, if it was measured.
fn ratio(report: &Report, cell: &Cell) -> Option<f64> {
    let mut cells = report.cells.iter();
    let ours = cells.find(|other| other.engine == OURS && other.scenario == cell.scenario)?;
    Some(cell.cost() / ours.cost().max(f64::MIN_POSITIVE))
}

fn title<'a>(report: &'a Report, engine: &'a str) -> &'a str {
    let mut loadings = report.loadings.iter();
    let loading = loadings.find(|loading| loading.engine == engine);
    loading.map_or(engine, |loading| &loading.title)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// In steps of a kilobyte, which is finer than any memory is counted.
fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1e3
}

/// A time in the unit that suits it.
fn time(time: Duration) -> String {
    let micros = micros(time);
    if micros < 1e3 {
        format!("{micros:.1} µs")
    } else if micros < 1e6 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(engine: &'static str, scenario: Scenario, micros: &[u64], blocked: u64) -> Cell {
        let run = |micros: &u64| Run {
            transactions: 10,
            blocked,
            median: Duration::from_micros(*micros),
            each: Duration::from_micros(*micros),
        };
        Cell {
            scenario,
            engine,
            runs: micros.iter().map(run).collect(),
        }
    }

    #[test]
    fn others_are_compared_with_ours() {
        let mut report = Report {
            cells: vec![
                cell("coraza", Scenario::Service, &[90, 600, 500], 0),
                cell(OURS, Scenario::Service, &[5, 5, 90], 10),
                cell("coraza", Scenario::Json, &[90], 3),
            ],
            ..Report::default()
        };
        let ratios: Vec<Option<f64>> = report.cells.iter().map(|c| ratio(&report, c)).collect();
        assert_eq!(ratios, [Some(100.0), Some(1.0), None]);
        let blocked: Vec<String> = report.cells.iter().map(Cell::blocked).collect();
        assert_eq!(blocked, ["none", "all", "3 of 10"]);
        report.cells.clear();
        assert_eq!(json(&report)["scenarios"], json!([]));
    }

    #[test]
    fn times_are_shown_in_the_unit_that_suits_them() {
        assert_eq!(time(Duration::from_nanos(5400)), "5.4 µs");
        assert_eq!(time(Duration::from_micros(1489)), "1.49 ms");
        assert_eq!(time(Duration::from_millis(65_000)), "65.00 s");
    }

    #[test]
    fn a_point_over_the_limit_says_so() {
        let cell = Outcome::TooLong(Duration::from_secs(10)).cell(1);
        assert_eq!(cell.trim(), "> 10 s");
        assert_eq!(cell.chars().count(), 22);
    }
}
