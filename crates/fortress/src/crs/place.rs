//! The directory that the rules are installed in: what is there, and putting a release there as a
//! whole or not at all.
//!
//! A release is written beside its place, and takes it by being renamed: whoever reads the rules
//! meets the old ones or the new ones.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::release::{self, Files, VERSION};

/// Files that CRS asks its users to write, each beside its example.
const OWN: &[&str] = &[
    "crs-setup.conf",
    "rules/REQUEST-900-EXCLUSION-RULES-BEFORE-CRS.conf",
    "rules/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf",
];
const PLUGINS: &str = "plugins";
/// Files in `plugins`, and the bytes of one.
const MAX_PLUGINS: usize = 1_000;
const MAX_OWN: u64 = 4 << 20;

/// What is in a directory.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum State {
    Absent,
    /// Rules of another release.
    Other {
        version: Option<String>,
    },
    /// This release, but these files of it are others or missing.
    Changed {
        files: Vec<String>,
        own: Vec<String>,
    },
    AsReleased {
        own: Vec<String>,
    },
}

impl State {
    /// Files of the user's own.
    pub(super) fn own(&self) -> &[String] {
        match self {
            Self::Absent | Self::Other { .. } => &[],
            Self::Changed { own, .. } | Self::AsReleased { own } => own,
        }
    }

    pub(super) fn to_json(&self, directory: &str) -> Value {
        let (version, changed): (Option<&str>, &[String]) = match self {
            Self::Absent => (None, &[]),
            Self::Other { version } => (version.as_deref(), &[]),
            Self::Changed { files, .. } => (Some(VERSION), files),
            Self::AsReleased { .. } => (Some(VERSION), &[]),
        };
        json!({
            "directory": directory,
            "installed": *self != Self::Absent,
            "version": version,
            "as_released": matches!(self, Self::AsReleased { .. }),
            "changed": changed,
            "own": self.own(),
        })
    }
}

/// Looks.
pub(super) fn state(directory: &Path) -> State {
    let setup = directory.join("crs-setup.conf.example");
    let initialization = directory.join("rules/REQUEST-901-INITIALIZATION.conf");
    if !setup.is_file() && !initialization.is_file() {
        return State::Absent;
    }
    let version = read(&initialization).ok().and_then(|text| signature(&text));
    if version.as_deref() != Some(VERSION) {
        return State::Other { version };
    }
    let own = own(directory);
    let files: Vec<String> = release::pinned()
        .filter(|(path, sum)| {
            !read(&directory.join(path)).is_ok_and(|bytes| release::is_released(&bytes, sum))
        })
        .map(|(path, _)| path.to_owned())
        .collect();
    if files.is_empty() {
        State::AsReleased { own }
    } else {
        State::Changed { files, own }
    }
}

/// `4.28.0` of `SecComponentSignature "OWASP_CRS/4.28.0"`.
fn signature(text: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("SecComponentSignature"))
        .find_map(|line| line.split_once("OWASP_CRS/"))?;
    let end = rest.find(['"', '\'', ' ']).unwrap_or(rest.len());
    rest.get(..end).map(str::to_owned)
}

/// Whether a release may take a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Target {
    /// It is free, or may be replaced.
    Open,
    /// The very release is there.
    Installed,
}

/// Whether a release may be put there, before anything is downloaded.
///
/// # Errors
/// Why not: what is there is not CRS's to replace, or nobody said that it may be.
pub(super) fn may_install(directory: &Path, force: bool) -> Result<Target> {
    let shown = directory.display();
    let found = match fs::symlink_metadata(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Target::Open),
        Err(error) => return Err(error).with_context(|| format!("cannot read `{shown}`")),
    };
    if !found.is_dir() {
        bail!("`{shown}` is not a directory");
    }
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read `{shown}`"))? {
        let name = entry?.file_name();
        let known = name.to_str().is_some_and(|name| {
            matches!(name, "LICENSE" | "crs-setup.conf.example" | "rules")
                || name == PLUGINS
                || OWN.contains(&name)
        });
        // Whatever is not of a release would be lost.
        if !known {
            bail!(
                "`{shown}` holds `{}`, which is not of the Core Rule Set\n  move it away, or name another directory with --to",
                crate::screen::safe(&name.to_string_lossy())
            );
        }
    }
    match state(directory) {
        State::AsReleased { .. } => Ok(Target::Installed),
        State::Absent => Ok(Target::Open),
        State::Other { .. } | State::Changed { .. } if force => Ok(Target::Open),
        State::Other { version } => bail!(
            "`{shown}` holds the Core Rule Set {}\n  to replace it with {VERSION}: fortress crs install --force",
            version.as_deref().unwrap_or("in another version")
        ),
        State::Changed { files, .. } => bail!(
            "`{shown}` holds the Core Rule Set {VERSION} with changes in {}\n  to replace it with the release: fortress crs install --force",
            files.join(", ")
        ),
    }
}

/// What installing did.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Kept {
    /// Bytes that were written; none if the release was there.
    pub(super) bytes: usize,
    /// Files of the user's own that stayed.
    pub(super) own: Vec<String>,
}

impl Kept {
    pub(super) fn already(&self) -> bool {
        self.bytes == 0
    }
}

/// Puts a proven release there.
///
/// # Errors
/// What could not be written; then everything is as it was.
pub(super) fn install(directory: &Path, files: &Files) -> Result<Kept> {
    let staging = Staging::beside(directory)?;
    let mut kept = Kept::default();
    for (path, bytes) in files {
        write(&staging.0.join(path), bytes)?;
        kept.bytes += bytes.len();
    }
    kept.own = own(directory);
    for path in &kept.own {
        let from = directory.join(path);
        let bytes = read(&from).with_context(|| format!("cannot read `{}`", from.display()))?;
        write(&staging.0.join(path), &bytes)?;
    }
    let cannot = || format!("cannot write `{}`", directory.display());
    let former = staging.former();
    let had_one = match fs::rename(directory, &former) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error).with_context(cannot),
    };
    if let Err(error) = fs::rename(&staging.0, directory) {
        if had_one {
            fs::rename(&former, directory).with_context(|| {
                format!(
                    "the former rules are in `{}`: put them back",
                    former.display()
                )
            })?;
        }
        return Err(error).with_context(cannot);
    }
    if had_one {
        fs::remove_dir_all(&former)
            .with_context(|| format!("cannot remove the former `{}`", former.display()))?;
    }
    Ok(kept)
}

/// The user's own files, by their path in the release.
fn own(directory: &Path) -> Vec<String> {
    let mut own: Vec<String> = OWN
        .iter()
        .filter(|path| directory.join(path).is_file())
        .map(|path| (*path).to_owned())
        .collect();
    let plugins = fs::read_dir(directory.join(PLUGINS)).into_iter().flatten();
    let mut plugins: Vec<String> = plugins
        .flatten()
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| Some(format!("{PLUGINS}/{}", entry.file_name().to_str()?)))
        .take(MAX_PLUGINS)
        .collect();
    plugins.sort();
    own.extend(plugins);
    own
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(File::open(path)?, MAX_OWN + 1),
        &mut bytes,
    )?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_OWN {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    Ok(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| {
            let mut file = File::create_new(path)?;
            file.write_all(bytes)?;
            // A rename that survives a crash without what it names would be half a release.
            file.sync_all()
        });
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

/// A directory beside the place, gone if it did not take it.
#[derive(Debug)]
struct Staging(PathBuf);

impl Staging {
    fn beside(directory: &Path) -> Result<Self> {
        let path = Self::name(directory, "new")?;
        fs::create_dir(&path).with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// Where what was there goes for the time being.
    fn former(&self) -> PathBuf {
        self.0.with_extension("former")
    }

    fn name(directory: &Path, what: &str) -> Result<PathBuf> {
        let Some(name) = directory.file_name() else {
            bail!("`{}` is no directory that can be made", directory.display());
        };
        let mut random = [0; 4];
        aws_lc_rs::rand::fill(&mut random).context("no randomness")?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!("-{:08x}.{what}", u32::from_le_bytes(random)));
        Ok(directory.with_file_name(hidden))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // There is nobody left to tell.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let text = format!("SecComponentSignature \"OWASP_CRS/{VERSION}\"\n");
        Files::from([
            ("crs-setup.conf.example".to_owned(), b"setup".to_vec()),
            (
                "rules/REQUEST-901-INITIALIZATION.conf".to_owned(),
                text.into_bytes(),
            ),
        ])
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_release_takes_its_place_as_a_whole() {
        let place = tempfile::tempdir().unwrap();
        let crs = place.path().join("crs");
        assert_eq!(state(&crs), State::Absent);
        assert_eq!(may_install(&crs, false).unwrap(), Target::Open);
        let kept = install(&crs, &files()).unwrap();
        assert!(kept.own.is_empty() && !kept.already());
        assert_eq!(names(place.path()), ["crs"]);
        assert_eq!(names(&crs), ["crs-setup.conf.example", "rules"]);
        // These are not the release's own bytes.
        let State::Changed { files: changed, .. } = state(&crs) else {
            panic!()
        };
        assert!(changed.contains(&"crs-setup.conf.example".to_owned()));
    }

    #[test]
    fn files_of_the_users_own_stay() {
        let place = tempfile::tempdir().unwrap();
        let crs = place.path().join("crs");
        install(&crs, &files()).unwrap();
        fs::create_dir(crs.join("plugins")).unwrap();
        let own = [
            "crs-setup.conf",
            "rules/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf",
            "plugins/mine-config.conf",
        ];
        for path in own {
            fs::write(crs.join(path), path).unwrap();
        }
        let why = may_install(&crs, false).unwrap_err().to_string();
        assert!(why.contains("--force"), "{why}");
        assert_eq!(may_install(&crs, true).unwrap(), Target::Open);
        assert_eq!(install(&crs, &files()).unwrap().own, own);
        for path in own {
            assert_eq!(fs::read_to_string(crs.join(path)).unwrap(), path);
        }
        assert_eq!(names(place.path()), ["crs"]);
    }

    #[test]
    fn nothing_that_is_not_of_crs_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let crs = place.path().join("crs");
        fs::write(&crs, "a file").unwrap();
        assert!(may_install(&crs, true).is_err());
        fs::remove_file(&crs).unwrap();
        std::os::unix::fs::symlink(place.path(), &crs).unwrap();
        assert!(may_install(&crs, true).is_err());
        fs::remove_file(&crs).unwrap();
        fs::create_dir(&crs).unwrap();
        assert_eq!(may_install(&crs, false).unwrap(), Target::Open);
        fs::write(crs.join("notes.txt"), "mine").unwrap();
        let why = may_install(&crs, true).unwrap_err().to_string();
        assert!(why.contains("`notes.txt`"), "{why}");
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let crs = place.path().join("crs");
        // A file where a directory has to be.
        let mut wrong = files();
        wrong.insert("crs-setup.conf.example/x".to_owned(), Vec::new());
        assert!(install(&crs, &wrong).is_err());
        assert!(names(place.path()).is_empty());
        assert!(install(&place.path().join("a/b"), &files()).is_err());
        assert!(names(place.path()).is_empty());
    }

    #[test]
    fn versions_are_read_from_the_rules() {
        let at = |text: &str| signature(text.as_bytes());
        assert_eq!(
            at("# SecComponentSignature\nSecComponentSignature \"OWASP_CRS/3.3.5\"\n").as_deref(),
            Some("3.3.5")
        );
        assert_eq!(at("SecComponentSignature \"mine\""), None);
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("rules")).unwrap();
        fs::write(
            place.path().join("rules/REQUEST-901-INITIALIZATION.conf"),
            "SecComponentSignature \"OWASP_CRS/4.25.0\"",
        )
        .unwrap();
        let version = Some("4.25.0".to_owned());
        assert_eq!(state(place.path()), State::Other { version });
        let why = may_install(place.path(), false).unwrap_err().to_string();
        assert!(why.contains("4.25.0") && why.contains("--force"), "{why}");
    }
}
