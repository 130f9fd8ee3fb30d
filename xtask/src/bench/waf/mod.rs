//! `cargo xtask bench waf`: what the OWASP Core Rule Set costs in Fortress's engine beside
//! libmodsecurity and Coraza, side by side in one run, each in a process of its own on one core.
//!
//! Rounds are interleaved and medians taken, because a shared machine's speed drifts; and engines are
//! compared by processor time, because others' programs take their share of the core. Requests come
//! in many variants, so that no engine profits from remembering one. Only the request phases are
//! timed, from the making of a transaction to its end; who logs what where is not compared.
//!
//! Deliberately not here: a pass or a failure, and whether an engine is right (the conformance
//! runner says that).

mod curve;
mod engine;
mod report;
mod scenario;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use self::{
    curve::Series,
    engine::{Engine, Harness},
    report::{Cell, Loading, Outcome, Point, Report},
    scenario::Scenario,
};
use super::Options;
use crate::{Verdict, output::complain, process};

/// How often each engine loads the rules.
const LOADS: usize = 3;
/// How long one measurement of one scenario takes.
const MEASURED: Duration = Duration::from_millis(400);
/// The same before the first round, which is not counted.
const WARMING: Duration = Duration::from_millis(200);
/// How long one point of a curve is measured.
const POINT: Duration = Duration::from_millis(800);
/// How long one transaction may take until the engine is stopped.
const PATIENCE: Duration = Duration::from_secs(10);
/// More transactions than fit any measurement.
const MANY: u32 = 1_000_000;

/// Runs the comparison and prints what it found.
pub(super) fn run(options: &Options) -> Result<Verdict> {
    let stage = Stage::make(options)?;
    let mut report = Report::default();
    let mut engines = Vec::new();
    for (name, build) in engine::ALL {
        if !options.peer.is_empty() && !options.peer.iter().any(|chosen| chosen == name) {
            continue;
        }
        match build(&stage.folder) {
            Ok(engine) => engines.push(engine),
            Err(error) => report.skip(name, &error),
        }
    }
    let mut subjects = Vec::new();
    for engine in engines {
        match Subject::start(&stage, engine) {
            Ok(subject) => subjects.push(subject),
            Err((name, error)) => report.skip(name, &error),
        }
    }
    ensure!(!subjects.is_empty(), "no engine could be started");
    scenarios(options, &stage, &mut subjects, &mut report)?;
    if options.curves {
        for subject in &subjects {
            curves(&stage, subject, &mut report)?;
        }
    }
    if options.wire {
        drop(subjects);
        wire::run(options, &stage, &mut report)?;
    }
    report::print(&report, options.json);
    Ok(Verdict::Fine)
}

/// Where things are.
#[derive(Debug)]
struct Stage {
    /// What is built is kept here; what is written for a run is overwritten.
    folder: PathBuf,
    crs: PathBuf,
}

impl Stage {
    fn make(options: &Options) -> Result<Self> {
        let crs = super::shared(options).join("crs");
        ensure!(
            crs.join("rules").is_dir(),
            "no Core Rule Set in {}; name the folder that holds it: --shared DIR",
            crs.display()
        );
        let folder = process::root().join("target/bench-waf");
        fs::create_dir_all(&folder)?;
        let crs = crs.canonicalize()?;
        Ok(Self { folder, crs })
    }

    /// Writes what an engine loads.
    fn rules(&self, engine: &Engine, paranoia: u8) -> Result<PathBuf> {
        let file = self
            .folder
            .join(format!("{}-pl{paranoia}.conf", engine.name));
        fs::write(&file, directives(&self.crs, paranoia, engine.directives))?;
        Ok(file)
    }

    fn requests(&self, name: &str, requests: &[Vec<u8>]) -> Result<PathBuf> {
        let file = self.folder.join(format!("{name}.requests"));
        fs::write(&file, scenario::file(requests))?;
        Ok(file)
    }
}

/// The same rules for each engine, with no limit that would spare it work.
fn directives(crs: &Path, paranoia: u8, own: &str) -> String {
    let crs = crs.display();
    format!(
        "SecRuleEngine On\nSecRequestBodyAccess On\nSecResponseBodyAccess Off\n\
         SecAuditEngine Off\nSecRequestBodyLimit 33554432\n\
         SecArgumentsLimit 1000000\nSecRequestBodyJsonDepthLimit 1024\n{own}\
         SecRule REQUEST_HEADERS:Content-Type \"@rx ^(?:application|text)/(?:[a-z.-]+[+])?xml\" \
         \"id:1,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML\"\n\
         SecRule REQUEST_HEADERS:Content-Type \"@rx ^application/(?:[a-z.-]+[+])?json\" \
         \"id:2,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON\"\n\
         SecAction \"id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level={paranoia}\"\n\
         Include {crs}/crs-setup.conf.example\nInclude {crs}/rules/*.conf\n"
    )
}

/// An engine with the rules loaded, at each paranoia level that is asked for.
#[derive(Debug)]
struct Subject {
    engine: Engine,
    ordinary: Harness,
    paranoid: Harness,
    loadings: Vec<engine::Loading>,
}

impl Subject {
    fn start(stage: &Stage, engine: Engine) -> Result<Self, (&'static str, anyhow::Error)> {
        let name = engine.name;
        let load = || {
            let rules = stage.rules(&engine, 1)?;
            let ordinary = Harness::start(&engine, &rules)?;
            let mut loadings = vec![ordinary.loading];
            for _ in 1..LOADS {
                loadings.push(Harness::start(&engine, &rules)?.loading);
            }
            let paranoid = Harness::start(&engine, &stage.rules(&engine, 4)?)?;
            Ok((ordinary, paranoid, loadings))
        };
        let (ordinary, paranoid, loadings) = load().map_err(|error| (name, error))?;
        Ok(Self {
            engine,
            ordinary,
            paranoid,
            loadings,
        })
    }

    fn harness(&mut self, scenario: Scenario) -> &mut Harness {
        match scenario.paranoia() {
            1 => &mut self.ordinary,
            _ => &mut self.paranoid,
        }
    }
}

/// Every scenario with every engine in turn, round by round.
fn scenarios(
    options: &Options,
    stage: &Stage,
    subjects: &mut [Subject],
    report: &mut Report,
) -> Result<()> {
    for subject in &*subjects {
        report.loadings.push(Loading {
            engine: subject.engine.name,
            title: subject.ordinary.title.clone(),
            runs: subject.loadings.clone(),
        });
        let cells = Scenario::ALL.iter().map(|scenario| Cell {
            scenario: *scenario,
            engine: subject.engine.name,
            runs: Vec::new(),
        });
        report.cells.extend(cells);
    }
    for round in 0..=options.rounds {
        for scenario in Scenario::ALL {
            let file = stage.requests(scenario.name(), &scenario.requests())?;
            for subject in &mut *subjects {
                let name = subject.engine.name;
                let measure = |harness: &mut Harness| {
                    harness.load(&file)?;
                    let time = if round == 0 { WARMING } else { MEASURED };
                    let run = harness.run(MANY, time, PATIENCE)?;
                    run.context("a transaction does not end")
                };
                let run = measure(subject.harness(*scenario))
                    .with_context(|| format!("{name} under `{}`", scenario.name()))?;
                let mut cells = report.cells.iter_mut();
                let cell = cells.find(|cell| cell.engine == name && cell.scenario == *scenario);
                if let (Some(cell), 1..) = (cell, round) {
                    cell.runs.push(run);
                }
            }
        }
        complain(format_args!("round {round} of {}", options.rounds));
    }
    Ok(())
}

/// Every curve of one engine, each until the engine takes too long.
fn curves(stage: &Stage, subject: &Subject, report: &mut Report) -> Result<()> {
    let engine = &subject.engine;
    let rules = stage.rules(engine, 1)?;
    for series in Series::ALL {
        let mut harness = Harness::start(engine, &rules)?;
        let mut outcome = None;
        for size in series.sizes() {
            if !matches!(outcome, None | Some(Outcome::Measured { .. })) {
                break;
            }
            let request = series.request(*size);
            let bytes = request.len();
            let file = stage.requests("curve", &[request])?;
            let measured = point(&mut harness, &file)
                .unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
            report.points.push(Point {
                series: *series,
                size: *size,
                bytes,
                engine: engine.name,
                outcome: measured.clone(),
            });
            outcome = Some(measured);
        }
        complain(format_args!("{}: {}", engine.name, series.name()));
    }
    Ok(())
}

fn point(harness: &mut Harness, file: &Path) -> Result<Outcome> {
    harness.load(file)?;
    let before = harness.mark_memory()?;
    let Some(run) = harness.run(MANY, POINT, PATIENCE)? else {
        return Ok(Outcome::TooLong(PATIENCE));
    };
    Ok(Outcome::Measured {
        run,
        memory: harness.peak_memory()?.saturating_sub(before),
    })
}
