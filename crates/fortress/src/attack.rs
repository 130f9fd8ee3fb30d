//! `fortress attack`: sends what the description forbids, with Fortress in front and without, and
//! shows what was stopped.

mod campaign;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use fortress_audit::attack::{
    Count, Kind, Pace, Plan, Reach, Report, Sources, Subject, Target, Through, Verdict, plan,
    press, run as send, target,
};

use crate::{
    command::{self, End, Usage},
    screen::{BAD, CARE, GOOD, HEAD, QUIET, Screen, count, grouped, safe},
};
use campaign::Campaign;

pub(crate) const EXAMPLES: &str = "Examples:
  fortress attack                      the running demo
  fortress attack fortress.yaml --token env:TOKEN
  fortress attack fortress.yaml --token env:TOKEN \\
      --target https://staging.example.com --i-own-this-target

It attacks loopback addresses only, unless --i-own-this-target is given. It sends real
requests, valid ones too: what they create, change or delete is created, changed and deleted.";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The configuration; without it the running demo, else ./fortress.yaml
    config: Option<PathBuf>,
    /// Where Fortress listens, as a URL; else the configuration's first listener
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// The API without Fortress, for comparison; else the configuration's upstream, if it is loopback
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// A genuine token; several for several scopes
    #[arg(long, value_name = "env:NAME")]
    token: Vec<String>,
    /// A token that the issuer signed and that has expired
    #[arg(long, value_name = "env:NAME")]
    expired_token: Option<String>,
    /// The target is not on this machine, and it is yours
    #[arg(long)]
    i_own_this_target: bool,
    /// Certificates to trust, in PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Requests of an API, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000)]
    limit: usize,
    /// Requests a second, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Also slow requests, a flood of connections, and dodging limits: some 15 s more
    #[arg(long)]
    pressure: bool,
    /// Minutes, at most
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_440))]
    time: u64,
}

/// Attacks.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    command::runtime()?.block_on(attack(flags, screen))
}

async fn attack(flags: &Flags, screen: &Screen) -> Result<End> {
    let campaign = Campaign::find(flags)?;
    let reach = if flags.i_own_this_target {
        Reach::Anywhere
    } else {
        Reach::Loopback
    };
    let read = |path: &PathBuf| {
        std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let ca = flags.ca.as_ref().map(read).transpose()?;
    let find = async |url: &str| {
        target(url, reach, ca.as_deref())
            .await
            .map_err(|error| anyhow::Error::new(Usage(error.to_string())))
    };
    let pace = Pace {
        rate: flags.rate,
        time: Duration::from_secs(flags.time * 60),
        ..Pace::default()
    };
    let mut report = Report::default();
    let mut upstreams = Vec::new();
    let began = Instant::now();
    for (index, (subject, host, upstream)) in campaign.subjects.iter().enumerate() {
        let mut with = find(&campaign.target).await?;
        if let Some(host) = host {
            with.host.clone_from(host);
        }
        // The upstream is somebody else's more often than the gateway is; without an explicit
        // --upstream it is attacked only where that needs no permission.
        let without = match &flags.upstream {
            Some(url) => Some(find(url).await?),
            None => target(upstream, reach, ca.as_deref()).await.ok(),
        };
        upstreams.extend(without.as_ref().map(|target| target.base.clone()));
        let drawn = drawn()?;
        let sources = Sources::find(&with, drawn, |own| campaign.believes(own)).await;
        let made = plan(&Subject {
            sources,
            drawn,
            ..subject.clone()
        });
        let mut result = one(
            &made,
            (&with, sources),
            without.as_ref(),
            pace,
            &campaign.names(),
            screen,
        )
        .await?;
        if index + 1 == campaign.subjects.len() {
            pressed(flags, &made, (&with, without.as_ref()), &mut result).await;
        }
        report.append(result);
    }
    if screen.is_json() {
        let json = report.to_json(&campaign.target, upstreams.first().map(String::as_str));
        screen.line(json.to_string());
    } else {
        show(&report, began.elapsed(), screen);
    }
    Ok(if report.is_clean() {
        End::Fine
    } else {
        End::Findings
    })
}

/// A number for this run alone: what a gateway remembers of the last one is not this one's.
fn drawn() -> Result<u32> {
    let mut bytes = [0; 4];
    aws_lc_rs::rand::fill(&mut bytes).context("no randomness")?;
    Ok(u32::from_ne_bytes(bytes))
}

/// What takes time or many connections, once and at the end, on both targets at the same time.
async fn pressed(
    flags: &Flags,
    made: &Plan,
    (with, without): (&Target, Option<&Target>),
    report: &mut Report,
) {
    if !flags.pressure {
        let note = "slow requests, floods of connections, dodged limits: add --pressure";
        report.not_tried.push(note.to_owned());
        return;
    }
    let direct = async {
        match without {
            Some(without) => Some(press(made, without).await),
            None => None,
        }
    };
    let (with, direct) = tokio::join!(press(made, with), direct);
    report.add(with, direct.as_deref());
}

async fn one(
    made: &Plan,
    with: (&Target, Sources),
    without: Option<&Target>,
    pace: Pace,
    names: &[(String, String)],
    screen: &Screen,
) -> Result<Report> {
    let total = made.all.len();
    let title = format!(
        "{}, {} and {} against {}",
        count(made.operations, "operation"),
        count(made.attacks(), "attack"),
        count(total - made.attacks(), "valid request"),
        with.0.base
    );
    let bar = screen.progress(&title, total * if without.is_some() { 2 } else { 1 });
    let ticking = bar.clone();
    let tick: Arc<dyn Fn() + Send + Sync> = Arc::new(move || ticking.inc(1));
    let stopped = send(made, with, pace, Arc::clone(&tick)).await;
    if stopped.iter().all(|verdict| *verdict == Verdict::Unsent) && total > 0 {
        bar.finish_and_clear();
        anyhow::bail!(
            "nothing answers at {}; is `fortress run` or `fortress demo` up?",
            with.0.base
        );
    }
    let direct = match without {
        // It is somebody who does not know us: where from is all the same to it.
        Some(without) => Some(send(made, (without, Sources::One), pace, tick).await),
        None => None,
    };
    bar.finish_and_clear();
    if !screen.is_json() {
        screen.line(title);
    }
    // An upstream that is not there says nothing about what Fortress adds.
    let direct =
        direct.filter(|verdicts| verdicts.iter().any(|verdict| *verdict != Verdict::Unsent));
    Ok(Report::new(
        made,
        with.0,
        names,
        &stopped,
        direct.as_deref(),
    ))
}

/// Columns of a risk's code and title, and a gap.
const LABEL: usize = 51;

/// Findings of one kind that are shown.
const SHOWN: usize = 3;

fn show(report: &Report, took: Duration, screen: &Screen) {
    screen.line("");
    for doubt in doubts(report) {
        screen.line(format!("{CARE}!{CARE:#} {doubt}\n"));
    }
    for (title, list) in [
        ("got through", &report.through),
        ("valid, but not answered", &report.unanswered),
        ("valid, but told to come back", &report.held),
    ] {
        findings(title, list, screen);
    }
    let compared =
        report.valid.without.is_some() || report.rows.iter().any(|row| row.count.without.is_some());
    let heading = if compared {
        "without Fortress   with Fortress"
    } else {
        "                   with Fortress"
    };
    screen.line(format!(
        "{HEAD}{:<LABEL$}{heading}{HEAD:#}",
        "OWASP API Security Top 10"
    ));
    for row in &report.rows {
        let label = format!("{:<5}  {}", row.risk.code(), row.risk.title());
        screen.line(line(&label, row.count));
    }
    screen.line(line("valid requests answered", report.valid));
    let (stopped, total) = report.stopped();
    let style = if report.is_clean() { GOOD } else { BAD };
    screen.line(format!(
        "\n{style}stopped {} of {}{style:#} in {}.{:02} s. {QUIET}Not tried:{QUIET:#}",
        grouped(stopped),
        grouped(total),
        took.as_secs(),
        took.subsec_millis() / 10
    ));
    for note in &report.not_tried {
        screen.line(format!("  {QUIET}{}{QUIET:#}", safe(note)));
    }
}

/// What makes the whole report worth less than it looks: what is refused for another reason than the
/// attack proves nothing about the attack.
fn doubts(report: &Report) -> Vec<&'static str> {
    let doubts = [
        (
            "credential.",
            "a token that was given is refused: what was stopped behind it may have been stopped for that alone. Give a genuine one",
        ),
        (
            "limit.",
            "limits refuse what is sent, and what was stopped may have been stopped for that alone. Try a configuration without `defaults.limits`",
        ),
        (
            "login.",
            "Fortress still takes this machine for an attacker, or the description's example cannot log in. Wait for the time of `login.stuffing.for`, or start Fortress anew",
        ),
        (
            "object.enumeration",
            "the caller whose token was given walked through ids a while ago, in an earlier run. Give a token of somebody else too, who does that, or wait for the time of `enumeration.distinct`",
        ),
        (
            "upstream.",
            "the upstream does not answer as it should behind Fortress: see that it runs, and `upstream` in the configuration",
        ),
    ];
    doubts
        .into_iter()
        .filter(|(reason, _)| {
            let mut valid = report.unanswered.iter().chain(&report.held);
            valid.any(|valid| valid.outcome.contains(reason))
        })
        .map(|(_, doubt)| doubt)
        .collect()
}

/// Right-aligned under both headings.
fn line(label: &str, count: Count) -> String {
    let of = |number: usize| format!("{} of {}", grouped(number), grouped(count.total));
    let without = count.without.map(of).unwrap_or_default();
    let style = if count.with == count.total { GOOD } else { BAD };
    format!(
        "{label:<LABEL$}{without:>16}   {style}{:>13}{style:#}",
        of(count.with)
    )
}

/// What is to be mended, by kind: each with the line that shows it and the key that stops it.
fn findings(title: &str, list: &[Through], screen: &Screen) {
    let mut kinds: Vec<Kind> = list.iter().map(|through| through.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    for kind in kinds {
        let of_kind: Vec<&Through> = list.iter().filter(|through| through.kind == kind).collect();
        let (verb, number) = (
            if kind == Kind::Valid {
                ""
            } else {
                "stopped by "
            },
            of_kind.len(),
        );
        screen.line(format!(
            "{BAD}✗{BAD:#} {HEAD}{} {title}{HEAD:#}: {} · {CARE}{verb}{}{CARE:#}",
            grouped(number),
            kind.id(),
            kind.remedy()
        ));
        for through in of_kind.iter().take(SHOWN) {
            let operation = through.operation.as_deref().unwrap_or("any operation");
            screen.line(format!(
                "  {operation}: {} — {}",
                safe(&through.what),
                safe(&through.outcome)
            ));
            screen.line(safe(&through.command));
        }
        if of_kind.len() > SHOWN {
            screen.line(format!(
                "  {QUIET}… and {} more (--json lists them){QUIET:#}",
                of_kind.len() - SHOWN
            ));
        }
        screen.line("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        let count = Count {
            total: 24,
            with: 24,
            without: Some(0),
        };
        let shown =
            anstream::adapter::strip_str(&line("API1   broken object level authorization", count))
                .to_string();
        assert_eq!(
            shown,
            "API1   broken object level authorization                    0 of 24        24 of 24"
        );
    }
}
