//! Finds records in a journal file, newest first, for `fortress explain`. Memory is bounded by the
//! longest line, not by the file.
//!
//! Deliberately not here: parsing. A record is handed out as its line of JSON.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::ocsf;

/// Bytes read at a time.
const CHUNK: u64 = 64 << 10;
/// Bytes of a line; a longer one is not ours, and is skipped.
const LINE: usize = 1 << 20;

/// The newest record whose request id begins with `prefix`, in the file or the one that was rotated
/// away last (`.1`). The prefix may be typed as people read it: in either case, with `O` for 0 and
/// `I` or `L` for 1, as Crockford's base 32 allows.
///
/// # Errors
/// The journal cannot be read.
pub fn find(path: &Path, prefix: &str) -> io::Result<Option<String>> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let prefix = prefix
        .to_ascii_uppercase()
        .replace('O', "0")
        .replace(['I', 'L'], "1");
    let start = format!("{}{prefix}", ocsf::LINE_START);
    last(path, |line| line.starts_with(&start))
}

/// The newest record of a request that `accept` takes.
///
/// # Errors
/// The journal cannot be read.
pub fn last(path: &Path, mut accept: impl FnMut(&str) -> bool) -> io::Result<Option<String>> {
    for line in lines(path)? {
        let line = line?;
        if line.starts_with(ocsf::LINE_START) && accept(&line) {
            return Ok(Some(line));
        }
    }
    Ok(None)
}

/// Every line, newest first: of the file, then of the one rotated away last, if there is one.
/// Losses are lines too (`class_uid` 6008); what is not UTF-8, too long or broken off is skipped.
///
/// # Errors
/// The file cannot be opened.
pub fn lines(path: &Path) -> io::Result<Lines> {
    let mut older = path.as_os_str().to_owned();
    older.push(".1");
    Ok(Lines {
        file: Backwards::open(path)?,
        older: Some(PathBuf::from(older)),
    })
}

/// See [`lines`].
#[derive(Debug)]
pub struct Lines {
    file: Backwards,
    older: Option<PathBuf>,
}

impl Iterator for Lines {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.file.next_line() {
                Ok(Some(line)) => {
                    if line.first() == Some(&b'{')
                        && let Ok(line) = String::from_utf8(line)
                    {
                        return Some(Ok(line));
                    }
                }
                Ok(None) => match Backwards::open(&self.older.take()?) {
                    Ok(older) => self.file = older,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                    Err(error) => return Some(Err(error)),
                },
                Err(error) => {
                    self.older = None;
                    self.file.position = 0;
                    self.file.tail.clear();
                    self.file.finished = true;
                    return Some(Err(error));
                }
            }
        }
    }
}

/// Reads a file from its end.
#[derive(Debug)]
struct Backwards {
    file: File,
    /// Everything from here on was read.
    position: u64,
    /// Read but not yet handed out: the bytes from `position` on, up to the last line feed.
    tail: Vec<u8>,
    /// The line being read is over [`LINE`] and is dropped.
    overlong: bool,
    /// What was read first may be a line that is still being written.
    begun: bool,
    finished: bool,
}

impl Backwards {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let position = file.seek(SeekFrom::End(0))?;
        Ok(Self {
            file,
            position,
            tail: Vec::new(),
            overlong: false,
            begun: false,
            finished: false,
        })
    }

    /// The next line towards the start, without its line feed. The first one is what follows the
    /// last line feed: nothing, or half a line, which the caller cannot tell from a whole one and
    /// which is therefore left out.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(feed) = self.tail.iter().rposition(|&byte| byte == b'\n') {
                let line = self.tail.split_off(feed + 1);
                self.tail.truncate(feed);
                if let Some(line) = self.complete(line) {
                    return Ok(Some(line));
                }
                continue;
            }
            if self.tail.len() > LINE {
                self.tail.clear();
                self.overlong = true;
            }
            if self.position == 0 {
                if std::mem::replace(&mut self.finished, true) {
                    return Ok(None);
                }
                let line = std::mem::take(&mut self.tail);
                match self.complete(line) {
                    Some(line) => return Ok(Some(line)),
                    None => return Ok(None),
                }
            }
            self.read_more()?;
        }
    }

    fn complete(&mut self, line: Vec<u8>) -> Option<Vec<u8>> {
        let whole = std::mem::replace(&mut self.begun, true);
        let overlong = std::mem::take(&mut self.overlong);
        (whole && !overlong && !line.is_empty()).then_some(line)
    }

    fn read_more(&mut self) -> io::Result<()> {
        let count = self.position.min(CHUNK);
        self.position -= count;
        self.file.seek(SeekFrom::Start(self.position))?;
        let mut chunk = Vec::new();
        (&self.file).take(count).read_to_end(&mut chunk)?;
        chunk.append(&mut self.tail);
        self.tail = chunk;
        Ok(())
    }
}
