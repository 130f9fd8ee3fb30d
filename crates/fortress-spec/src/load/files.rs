//! Where the text of descriptions comes from.

use std::{
    io::{Error, ErrorKind, Read as _, Result},
    path::Path,
};

use fortress_model::file;

/// How many files one description may consist of.
pub const MAX_FILES: usize = 1_000;

/// How many bytes the files of one description may have together: 128 MiB.
pub const MAX_BYTES: usize = 128 << 20;

/// Gives the text of files. Tests and fuzzers bring their own.
pub trait Files {
    /// The whole text of the file at `path`.
    ///
    /// # Errors
    /// As reading a file: it does not exist, may not be read, or is not UTF-8.
    fn read(&self, path: &Path) -> Result<String>;
}

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    /// Devices, pipes and directories are refused, and so is a file over [`MAX_BYTES`], before it
    /// is in memory.
    fn read(&self, path: &Path) -> Result<String> {
        let file = file::open(path)?;
        let metadata = file.metadata()?;
        let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        if metadata.len() > most {
            return Err(Error::new(
                ErrorKind::FileTooLarge,
                format!("larger than {} MiB", MAX_BYTES >> 20),
            ));
        }
        let mut text = String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.take(most).read_to_string(&mut text)?;
        Ok(text)
    }
}
