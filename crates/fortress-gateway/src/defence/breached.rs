//! Passwords that were in a breach, in the k-anonymity format: SHA-1 hashes by their first five
//! digits, from files or from a range service.
//!
//! Of a file only what is asked for is read: one small file of a directory, or a few places of one
//! large file that is sorted. A service gets the first five digits of the hash, as some thousand other
//! passwords have them too, and answers with padding. Deliberately not here: what follows from it.

use std::{
    collections::VecDeque,
    fs::File,
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use fortress_model::config::BreachSource;
use tokio::{sync::Semaphore, time::Instant};

use crate::fetch::{Fetcher, Limits};

/// Look-ups that run at once.
const AT_ONCE: usize = 16;
/// How long one may take, its turn included.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of one range: some thousand lines of 40 bytes.
const RANGE: usize = 256 << 10;
/// Ranges of a service that are kept.
const KEPT: usize = 256;
/// How long they are.
const FRESH: Duration = Duration::from_secs(3_600);
/// Bytes of a line of a large file.
const LINE: usize = 256;

/// Whether a password is in a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Held {
    /// It is not.
    Clean,
    /// It is, so many times.
    Breached(u64),
}

/// A list of passwords.
#[derive(Debug)]
pub(crate) struct Breaches {
    place: Place,
    running: Arc<Semaphore>,
    ranges: Mutex<VecDeque<(String, Instant, Arc<str>)>>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    Url(String, Fetcher),
}

impl Breaches {
    pub(crate) fn new(source: &BreachSource) -> Self {
        Self {
            place: match source {
                BreachSource::File(path) => Place::File(path.clone()),
                BreachSource::Url(url) => Place::Url(url.clone(), Fetcher::new()),
            },
            running: Arc::new(Semaphore::new(AT_ONCE)),
            ranges: Mutex::default(),
        }
    }

    /// Whether there is anything to look into; a service is not asked.
    ///
    /// # Errors
    /// Says what is missing.
    pub(crate) fn is_there(&self) -> Result<(), String> {
        match &self.place {
            Place::Url(..) => Ok(()),
            Place::File(path) => match std::fs::metadata(path) {
                Ok(_) => Ok(()),
                Err(error) => Err(format!("cannot read `{}`: {error}", path.display())),
            },
        }
    }

    /// Looks a password up.
    ///
    /// # Errors
    /// It could not be, for the operator; nothing of the password is in it.
    pub(crate) async fn holds(&self, password: &[u8]) -> Result<Held, String> {
        let held = tokio::time::timeout(PATIENCE, self.look_up(hash(password)));
        let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
        held.await.map_err(late)?
    }

    async fn look_up(&self, hash: String) -> Result<Held, String> {
        // A task on a file keeps its turn to its end, also if nobody waits for it any more.
        let turn = Arc::clone(&self.running).acquire_owned();
        let turn = turn.await.map_err(|_| "the gateway stops".to_owned())?;
        match &self.place {
            Place::File(path) => {
                let path = path.clone();
                let task = tokio::task::spawn_blocking(move || {
                    let held = in_files(&path, &hash);
                    drop(turn);
                    held.map_err(|error| format!("cannot read `{}`: {error}", path.display()))
                });
                task.await.map_err(|_| "the look-up failed".to_owned())?
            }
            Place::Url(url, fetcher) => {
                let (prefix, rest) = split(&hash);
                let range = self.range(url, fetcher, prefix).await?;
                Ok(in_range(&range, rest))
            }
        }
    }

    async fn range(&self, url: &str, fetcher: &Fetcher, prefix: &str) -> Result<Arc<str>, String> {
        if let Some(range) = self.kept(prefix) {
            return Ok(range);
        }
        let limits = Limits {
            bytes: RANGE,
            time: PATIENCE,
        };
        let url = format!("{}/{prefix}", url.trim_end_matches('/'));
        let bytes = fetcher.range(&url, limits).await?;
        let text = std::str::from_utf8(&bytes).map_err(|_| "the range is no text".to_owned())?;
        let range: Arc<str> = text.into();
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        if ranges.len() >= KEPT {
            ranges.pop_front();
        }
        ranges.push_back((prefix.to_owned(), Instant::now(), Arc::clone(&range)));
        Ok(range)
    }

    fn kept(&self, prefix: &str) -> Option<Arc<str>> {
        let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
        ranges.retain(|(_, since, _)| since.elapsed() < FRESH);
        let (_, _, range) = ranges.iter().find(|(known, ..)| known == prefix)?;
        Some(Arc::clone(range))
    }
}

/// SHA-1 in upper-case hexadecimal: the lists have no other.
fn hash(password: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, password);
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02X}"));
    digits.collect()
}

fn split(hash: &str) -> (&str, &str) {
    hash.split_at_checked(5).unwrap_or((hash, ""))
}

/// A line `REST:COUNT` of a range; those with a count of zero are padding.
fn in_range(range: &str, rest: &str) -> Held {
    let count = range.lines().find_map(|line| {
        let (known, count) = line.trim().split_once(':')?;
        known
            .eq_ignore_ascii_case(rest)
            .then(|| count.trim().parse().unwrap_or(1))
    });
    match count {
        None | Some(0) => Held::Clean,
        Some(count) => Held::Breached(count),
    }
}

fn in_files(path: &Path, hash: &str) -> std::io::Result<Held> {
    if !std::fs::metadata(path)?.is_dir() {
        return in_sorted(&File::open(path)?, hash);
    }
    let (prefix, rest) = split(hash);
    let file = match File::open(path.join(format!("{prefix}.txt"))) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // A prefix without a file is one without breached passwords, if there are any at all.
            return match std::fs::read_dir(path)?.next() {
                Some(_) => Ok(Held::Clean),
                None => Err(std::io::Error::other("the directory is empty")),
            };
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let most = u64::try_from(RANGE).unwrap_or(u64::MAX);
    file.take(most).read_to_string(&mut text)?;
    Ok(in_range(&text, rest))
}

/// Halves the file until the line is found: some thirty reads of a gigabyte.
fn in_sorted(file: &File, hash: &str) -> std::io::Result<Held> {
    let (mut low, mut high) = (0_u64, file.metadata()?.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let Some((start, line, next)) = line_at(file, middle, low)? else {
            high = middle;
            continue;
        };
        let (known, count) = line.split_once(':').unwrap_or((&line, "1"));
        match known.to_ascii_uppercase().as_str().cmp(hash) {
            std::cmp::Ordering::Equal => {
                return Ok(Held::Breached(count.trim().parse().unwrap_or(1)));
            }
            std::cmp::Ordering::Less => low = next,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    Ok(Held::Clean)
}

/// The line that holds a place: its start, its text, and where the next one starts.
fn line_at(file: &File, place: u64, low: u64) -> std::io::Result<Option<(u64, String, u64)>> {
    let reach = u64::try_from(LINE).unwrap_or(u64::MAX);
    let from = place.saturating_sub(reach).max(low);
    let mut bytes = vec![0; LINE * 2];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let at = from + u64::try_from(read).unwrap_or(u64::MAX);
        match file.read_at(rest, at)? {
            0 => break,
            more => read += more,
        }
    }
    let bytes = bytes.get(..read).unwrap_or_default();
    let within = usize::try_from(place - from).unwrap_or(usize::MAX);
    let (Some(before), Some(after)) = (bytes.get(..within), bytes.get(within..)) else {
        return Ok(None);
    };
    let start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let end = within + memchr::memchr(b'\n', after).unwrap_or(after.len());
    let Some(line) = bytes.get(start..end).filter(|line| line.len() <= LINE) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(line).trim().to_owned();
    let offset = |at: usize| from + u64::try_from(at).unwrap_or(u64::MAX);
    Ok(Some((offset(start), text, offset(end) + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn hashes_are_those_of_the_lists() {
        assert_eq!(
            hash(b"password"),
            "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8"
        );
    }

    #[test]
    fn a_range_with_padding() {
        let found = hash(b"password");
        let (_, rest) = split(&found);
        let range = format!("0000000000000000000000000000000000A:3\r\n{rest}:42\r\nFFF:0\r\n");
        assert_eq!(in_range(&range, rest), Held::Breached(42));
        assert_eq!(in_range("FFF:0", "FFF"), Held::Clean);
        assert_eq!(in_range("", rest), Held::Clean);
    }

    #[test]
    fn one_sorted_file_is_halved() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hashes.txt");
        let mut hashes: Vec<String> = (0..5_000)
            .map(|number| hash(format!("pass{number}").as_bytes()))
            .collect();
        hashes.sort();
        for (end, carriage) in [("\n", ""), ("\r\n", "\r"), ("", "")] {
            let mut text = String::new();
            for (number, hash) in hashes.iter().enumerate() {
                let last = number + 1 == hashes.len();
                let line_end = if last {
                    end.to_owned()
                } else {
                    format!("{carriage}\n")
                };
                write!(text, "{hash}:{}{line_end}", number + 1).unwrap();
            }
            std::fs::write(&path, &text).unwrap();
            let file = File::open(&path).unwrap();
            for (number, hash) in hashes.iter().enumerate() {
                let count = u64::try_from(number + 1).unwrap();
                assert_eq!(in_sorted(&file, hash).unwrap(), Held::Breached(count));
            }
            for number in 0..500 {
                let other = hash(format!("other{number}").as_bytes());
                assert_eq!(in_sorted(&file, &other).unwrap(), Held::Clean);
            }
        }
    }

    #[test]
    fn a_directory_of_ranges() {
        let directory = tempfile::tempdir().unwrap();
        let found = hash(b"password");
        assert!(in_files(directory.path(), &found).is_err());
        let (prefix, rest) = split(&found);
        let path = directory.path().join(format!("{prefix}.txt"));
        std::fs::write(path, format!("{rest}:9\n")).unwrap();
        assert_eq!(
            in_files(directory.path(), &found).unwrap(),
            Held::Breached(9)
        );
        let other = hash(b"another");
        assert_eq!(in_files(directory.path(), &other).unwrap(), Held::Clean);
        let nowhere = directory.path().join("nowhere");
        assert!(in_files(&nowhere, &found).is_err());
    }
}
