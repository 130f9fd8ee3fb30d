//! Directories and files that only this user reads, and that go away when they are dropped.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// A directory of one run, mode 0700. Everything in it is removed with it.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// Makes one in the machine's temporary directory, under a name that nobody can guess.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).context("no randomness")?;
        let name = format!("fortress-{purpose}-{:016x}", u64::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // There is nobody left to tell.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Writes a file that only this user reads, replacing it as a whole.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        drop(fs::remove_file(&beside));
        return Err(error).with_context(|| format!("cannot write `{}`", path.display()));
    }
    Ok(())
}

/// The directory of this user's running demo: in `XDG_RUNTIME_DIR`, else in the temporary directory
/// under the user's number. There, others may make files: a directory that is not this user's own
/// is refused. `None` if there is none and `make` does not ask for it.
pub(crate) fn shared(make: Make) -> Result<Option<PathBuf>> {
    let user = rustix::process::geteuid().as_raw();
    let path = match crate::environment::variable("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("fortress"),
        Some(_) | None => std::env::temp_dir().join(format!("fortress-{user}")),
    };
    if make == Make::IfMissing {
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make `{}`", path.display()));
            }
        }
    }
    let found = match fs::symlink_metadata(&path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    if !found.is_dir() || found.uid() != user || found.mode() & 0o077 != 0 {
        bail!(
            "`{}` is not a private directory of this user",
            path.display()
        );
    }
    Ok(Some(path))
}

/// Whether a missing directory is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Make {
    /// It is.
    IfMissing,
    /// It is not.
    Never,
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_private_and_goes_away() {
        let directory = Directory::new("test").unwrap();
        let (path, file) = (directory.path().to_owned(), directory.path().join("a"));
        write(&file, "one").unwrap();
        write(&file, "two").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "two");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        drop(directory);
        assert!(!path.exists());
    }
}
