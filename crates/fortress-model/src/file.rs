//! Opening files that a configuration names.

use std::{
    fs::{self, File},
    io::{Error, ErrorKind, Read as _, Result},
    path::Path,
};

/// Opens what is a file. Opening a pipe would wait for whoever writes it, perhaps for ever; a reload
/// would find it empty; a device has no end.
///
/// # Errors
/// As those of the system; [`ErrorKind::InvalidInput`] for whatever is no file.
pub fn open(path: &Path) -> Result<File> {
    if fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(Error::new(ErrorKind::InvalidInput, "not a regular file"))
    }
}

/// The whole of what is a file.
///
/// # Errors
/// As [`open`], and those of reading.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_file_is_opened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::NotFound);
        fs::write(&path, "x").unwrap();
        assert_eq!(read(&path).unwrap(), b"x");
        for other in [directory.path(), Path::new("/dev/null")] {
            assert_eq!(open(other).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        // Nobody writes it: opening it by itself would not return.
        let pipe = directory.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(open(&pipe).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
