//! What a run needs, read from disk: rules, tests, and what is said beside them.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use fortress_model::{Diagnostic, SourceId, Sources, diagnostic};
use fortress_waf::{
    ftw::{EXCUSED, EXCUSED_ON_THE_WIRE, Overrides, RuleFile, RuleFiles, Setup, Suite, TestFile},
    seclang::{Files, Mistake, Ruleset},
};

use super::Flags;

/// Bytes of one file.
const MAX_FILE: u64 = 16 << 20;
/// Files of a directory and below.
const MAX_FILES: usize = 20_000;

/// The material of a run.
#[derive(Debug)]
pub(super) struct Material {
    /// Where the rule set is.
    pub(super) directory: PathBuf,
    pub(super) files: RuleFiles,
    pub(super) suite: Suite,
}

impl Material {
    pub(super) fn read(flags: &Flags) -> Result<Self> {
        let files = rules(&flags.crs)?;
        let tests = match &flags.tests {
            Some(tests) => tests.clone(),
            None => flags.crs.join("tests/regression/tests"),
        };
        let mut suite = Suite {
            tests: Vec::new(),
            overrides: match &flags.overrides {
                Some(path) => overrides(&path.display().to_string(), &text(path)?)?,
                None => Overrides::default(),
            },
            excused: match &flags.excused {
                Some(path) => overrides(&path.display().to_string(), &text(path)?)?,
                None if flags.wire => overrides("excused-wire.yaml", EXCUSED_ON_THE_WIRE)?,
                None => overrides("excused.yaml", EXCUSED)?,
            },
        };
        let mut sources = Sources::default();
        let mut diagnostics = Vec::new();
        for path in below(&tests, ".yaml")? {
            let id = sources.add(path.display().to_string(), text(&path)?);
            match TestFile::read(id, &sources) {
                Ok(file) => suite.tests.extend(file.tests),
                Err(found) => diagnostics.extend(found),
            }
        }
        told(&diagnostics, &sources)?;
        if suite.tests.is_empty() {
            bail!("there are no tests in `{}`", tests.display());
        }
        Ok(Self {
            directory: flags.crs.clone(),
            files,
            suite,
        })
    }

    /// The rules, set up for a run.
    pub(super) fn ruleset(&self, setup: &Setup) -> Result<Ruleset> {
        let ruleset = self.files.ruleset(setup, &mut Disk);
        ruleset.map_err(|found| anyhow!(mistakes(&found)))
    }
}

/// All mistakes, a line each.
pub(super) fn mistakes(found: &[Mistake]) -> String {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    format!("the rules have mistakes:\n  {}", lines.join("\n  "))
}

/// The files of a rule set.
fn rules(directory: &Path) -> Result<RuleFiles> {
    let mut setups = ["crs-setup.conf", "crs-setup.conf.example"]
        .map(|name| directory.join(name))
        .into_iter();
    let folder = directory.join("rules");
    let Some(setup) = setups
        .find(|path| path.is_file())
        .filter(|_| folder.is_dir())
    else {
        bail!(
            "there is no Core Rule Set in `{}`: it needs `rules` and `crs-setup.conf` or its example; name its directory with --crs DIR",
            directory.display()
        );
    };
    let file = |path: &Path| -> Result<RuleFile> {
        Ok(RuleFile {
            name: path.display().to_string(),
            text: bytes(path).with_context(|| format!("cannot read `{}`", path.display()))?,
        })
    };
    let rules = below(&folder, ".conf")?;
    Ok(RuleFiles {
        setup: file(&setup)?,
        rules: rules.iter().map(|path| file(path)).collect::<Result<_>>()?,
    })
}

fn overrides(name: &str, text: &str) -> Result<Overrides> {
    let mut sources = Sources::default();
    let id: SourceId = sources.add(name, text);
    match Overrides::read(id, &sources) {
        Ok(overrides) => Ok(overrides),
        Err(found) => {
            told(&found, &sources)?;
            Ok(Overrides::default())
        }
    }
}

fn told(diagnostics: &[Diagnostic], sources: &Sources) -> Result<()> {
    if diagnostics.is_empty() {
        return Ok(());
    }
    let shown = diagnostic::render(diagnostics, sources, false, 100);
    bail!("the tests have mistakes:\n{}", shown.trim_end())
}

fn text(path: &Path) -> Result<String> {
    let bytes = bytes(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    String::from_utf8(bytes).with_context(|| format!("`{}` is no text", path.display()))
}

fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        let message = format!("it has more than {} MiB", MAX_FILE >> 20);
        return Err(std::io::Error::other(message));
    }
    Ok(bytes)
}

/// The files below a directory whose names end so, in order.
fn below(directory: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let cannot = |path: &Path| format!("cannot read `{}`", path.display());
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| cannot(&folder))? {
            let path = entry.with_context(|| cannot(&folder))?.path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.to_str().is_some_and(|name| name.ends_with(ending)) {
                found.push(path);
            }
            if found.len() + folders.len() > MAX_FILES {
                bail!("`{}` has too many files", directory.display());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Files that rules name.
struct Disk;

impl Files for Disk {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        bytes(&folder.join(name)).map_err(|error| error.to_string())
    }

    fn list(&mut self, pattern: &str, _: &str) -> Result<Vec<String>, String> {
        Err(format!("`{pattern}` cannot be included here: name a file"))
    }
}
