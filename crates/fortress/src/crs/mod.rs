//! `fortress crs`: gets the OWASP Core Rule Set, proves it to be the release that this version was
//! tested with, and puts it where `waf.rules: crs` looks for it.
//!
//! Deliberately not here: what the rules say (`fortress-waf`), and which of them run (`waf` in the
//! configuration).

mod archive;
mod place;
mod release;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use fortress_gateway::fetch::{Fetcher, Limits};
use serde_json::json;

use crate::{
    command::{self, End},
    screen::{CARE, GOOD, QUIET, Screen, count, grouped, safe},
};
use place::State;
use release::{Files, URL, VERSION};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress crs install
  fortress crs install --from coreruleset-4.28.0-minimal.tar.gz
  fortress crs install --from ./coreruleset --to /etc/fortress/crs --force
  fortress crs show";

/// Bytes of a release as it comes, and its bytes unpacked.
const MAX_PACKED: usize = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Downloads the release, compares each file with its checksum, and installs it
    Install(Install),
    /// Says which rules are installed, and whether they are as they were released
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Install {
    /// Takes the rules from a directory or a tar.gz, and downloads nothing
    #[arg(long, value_name = "DIR|TAR.GZ", conflicts_with = "url")]
    from: Option<PathBuf>,
    /// Where they go: `crs` beside the configuration is found without a word in it
    #[arg(long, value_name = "DIR", default_value = "crs")]
    to: PathBuf,
    /// Replaces rules that are there; files of your own in the places that CRS gives them stay
    #[arg(long)]
    force: bool,
    /// Downloads the same release from elsewhere: a mirror
    #[arg(long, value_name = "URL", default_value = URL)]
    url: String,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Where the rules are
    #[arg(value_name = "DIR", default_value = "crs")]
    directory: PathBuf,
}

/// Installs or shows.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    match &flags.action {
        Action::Install(flags) => install(flags, screen),
        Action::Show(flags) => Ok(show(flags, screen)),
    }
}

fn install(flags: &Install, screen: &Screen) -> Result<End> {
    let replace = place::may_install(&flags.to, flags.force)?;
    if replace == place::Target::Installed {
        installed(flags, &place::Kept::default(), screen);
        return Ok(End::Fine);
    }
    let files = match &flags.from {
        Some(from) => taken(from)?,
        None => downloaded(&flags.url, screen)?,
    };
    let kept = place::install(&flags.to, &files)?;
    installed(flags, &kept, screen);
    Ok(End::Fine)
}

/// The files of a directory or an archive, each proven to be the release's.
fn taken(from: &Path) -> Result<Files> {
    let cannot = || format!("cannot read `{}`", from.display());
    let found = fs::metadata(from).with_context(cannot)?;
    let files = if found.is_dir() {
        archive::directory(from)
    } else {
        let mut bytes = Vec::new();
        let most = u64::try_from(MAX_PACKED).unwrap_or(u64::MAX);
        fs::File::open(from)
            .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
            .with_context(cannot)?;
        if bytes.len() > MAX_PACKED {
            bail!(
                "`{}` has more than {} MiB",
                from.display(),
                MAX_PACKED >> 20
            );
        }
        archive::unpack(&bytes)
    };
    let files = files.map_err(|why| anyhow::anyhow!("`{}`: {why}", from.display()))?;
    proven(files, &from.display().to_string())
}

fn downloaded(url: &str, screen: &Screen) -> Result<Files> {
    if !screen.is_json() {
        screen.note(format!("{QUIET}getting {}{QUIET:#}", safe(url)));
    }
    let limits = Limits {
        bytes: MAX_PACKED,
        time: PATIENCE,
    };
    let bytes = command::runtime()?
        .block_on(Fetcher::new().download(url, limits))
        .map_err(|why| {
            anyhow::anyhow!(
                "cannot download the Core Rule Set: {}\n  where there is no way to the internet, get it elsewhere and name it: fortress crs install --from TAR.GZ",
                safe(&why)
            )
        })?;
    let files = archive::unpack(&bytes).map_err(|why| anyhow::anyhow!("{}: {why}", safe(url)))?;
    proven(files, url)
}

fn proven(files: Files, from: &str) -> Result<Files> {
    release::proven(files).map_err(|why| {
        anyhow::anyhow!(
            "`{}` is not the Core Rule Set {VERSION} as it was released: {why}\n  nothing was installed; to use other rules as they are, name their directory in the configuration: waf: {{ rules: crs, directory: DIR }}",
            safe(from)
        )
    })
}

fn installed(flags: &Install, kept: &place::Kept, screen: &Screen) {
    let directory = flags.to.display().to_string();
    if screen.is_json() {
        screen.line(
            json!({
                "version": VERSION, "directory": directory, "files": release::count(),
                "bytes": kept.bytes, "changed": !kept.already(), "kept": kept.own,
            })
            .to_string(),
        );
        return;
    }
    if kept.already() {
        screen.line(format!(
            "{GOOD}CRS {VERSION}{GOOD:#} is installed in {directory} already"
        ));
    } else {
        screen.line(format!(
            "{GOOD}CRS {VERSION}{GOOD:#} installed in {directory}: {}, {} KiB, each as released",
            count(release::count(), "file"),
            grouped(kept.bytes.div_ceil(1024))
        ));
    }
    for own in &kept.own {
        screen.line(format!("  kept {}", safe(own)));
    }
    if flags.to.file_name().is_none_or(|name| name != "crs") {
        screen.line(format!(
            "A configuration that is not beside it has to name it: waf: {{ directory: {directory} }}"
        ));
    }
}

fn show(flags: &Show, screen: &Screen) -> End {
    let directory = flags.directory.display().to_string();
    let state = place::state(&flags.directory);
    if screen.is_json() {
        screen.line(state.to_json(&directory).to_string());
    } else {
        screen.line(match &state {
            State::Absent => format!(
                "{CARE}no Core Rule Set{CARE:#} in {directory}; get it with `fortress crs install`"
            ),
            State::Other { version } => format!(
                "{CARE}CRS {}{CARE:#} in {directory}; this Fortress was tested with {VERSION}",
                version.as_deref().map_or("of an unknown version".into(), safe)
            ),
            State::Changed { files, .. } => format!(
                "{CARE}CRS {VERSION}{CARE:#} in {directory}, not as released: {}\n  own rules belong in `waf.files`; the release comes back with `fortress crs install --force`",
                files.join(", ")
            ),
            State::AsReleased { .. } => {
                format!("{GOOD}CRS {VERSION}{GOOD:#} in {directory}, as released")
            }
        });
        for own in state.own() {
            screen.line(format!("  of your own: {}", safe(own)));
        }
    }
    match state {
        State::AsReleased { .. } => End::Fine,
        State::Absent | State::Other { .. } | State::Changed { .. } => End::Findings,
    }
}
