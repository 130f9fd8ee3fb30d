//! One sink: a bounded buffer of lines in front of it, a thread that writes them, and what happens
//! when that fails.
//!
//! A line is written whole or not at all, as far as the file system lets us: what a full disk left
//! of a line is cut off again, and where that is impossible the next line starts on a new one.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering, mpsc},
    thread,
    time::Duration,
};

use fortress_model::{Clock, Timestamp, config::JournalSink};
use rustix::fs::{Mode, OFlags};

use super::{SINK_BYTES, SinkCounters, ocsf};

/// How often an idle sink looks whether its file was rotated away, and a failing one whether it
/// can be written again.
const LOOK: Duration = Duration::from_secs(1);
/// A failure that comes and goes is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Lines that wait for one sink.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    ready: Condvar,
    counters: Arc<SinkCounters>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    records: u64,
    overflow: Option<Loss>,
    reopen: bool,
    closed: bool,
}

/// Records that were lost, and when.
#[derive(Clone, Debug)]
struct Loss {
    count: u64,
    since: Timestamp,
    until: Timestamp,
    detail: String,
}

impl Queue {
    pub(super) fn new(counters: Arc<SinkCounters>) -> Self {
        Self {
            waiting: Mutex::default(),
            ready: Condvar::new(),
            counters,
        }
    }

    /// Adds lines, of which `records` are requests; loses them if there is no room. Holds the lock
    /// for a copy only.
    pub(super) fn push(&self, lines: &[u8], records: u64, clock: &dyn Clock) {
        let mut waiting = self.lock();
        if waiting.lines.len().saturating_add(lines.len()) <= SINK_BYTES {
            waiting.lines.extend_from_slice(lines);
            waiting.records = waiting.records.saturating_add(records);
            drop(waiting);
            self.ready.notify_one();
            return;
        }
        self.counters.dropped.fetch_add(records, Ordering::Relaxed);
        let now = clock.now();
        let began = waiting.overflow.is_none();
        let loss = waiting.overflow.get_or_insert_with(|| Loss {
            count: 0,
            since: now,
            until: now,
            detail: "the sink takes no more: its reader or disk is too slow".to_owned(),
        });
        loss.count = loss.count.saturating_add(records);
        loss.until = now;
        drop(waiting);
        // Said here because the sink's own thread may hang in a write.
        if began {
            tracing::error!(
                "journal `{}` takes no more, records are lost: its reader or disk is too slow",
                self.counters.name
            );
        }
    }

    pub(super) fn reopen(&self) {
        self.lock().reopen = true;
        self.ready.notify_one();
    }

    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can be left half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do, or [`LOOK`]. Swaps the lines into `lines`, which is empty.
    fn take(&self, lines: &mut Vec<u8>) -> Waiting {
        let waiting = self.lock();
        let (mut waiting, _) = self
            .ready
            .wait_timeout_while(waiting, LOOK, |waiting| {
                waiting.lines.is_empty() && !waiting.reopen && !waiting.closed
            })
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut waiting.lines, lines);
        Waiting {
            lines: Vec::new(),
            records: std::mem::take(&mut waiting.records),
            overflow: waiting.overflow.take(),
            reopen: std::mem::take(&mut waiting.reopen),
            closed: waiting.closed,
        }
    }
}

/// The sink's thread: runs until its queue is closed and empty. `_running` is dropped at the end.
pub(super) fn run(output: Output, queue: &Queue, clock: &dyn Clock, _running: mpsc::Sender<()>) {
    let mut sink = Sink {
        output,
        counters: &queue.counters,
        clock,
        loss: None,
        failing: false,
        logged: None,
    };
    let mut lines = Vec::new();
    loop {
        let taken = queue.take(&mut lines);
        sink.output.follow(taken.reopen);
        sink.write(&lines, taken.records);
        // The overflow came after the lines that filled the queue, and is announced after them.
        if let Some(overflow) = taken.overflow {
            sink.lose(overflow);
            sink.write(&[], 0);
        }
        lines.clear();
        lines.shrink_to(SINK_BYTES / 4);
        if taken.closed {
            if let Some(loss) = sink.loss {
                tracing::error!(
                    "journal `{}` lost {} records",
                    sink.counters.name,
                    loss.count
                );
            }
            return;
        }
    }
}

struct Sink<'a> {
    output: Output,
    counters: &'a SinkCounters,
    clock: &'a dyn Clock,
    /// Lost, and not yet announced in the journal.
    loss: Option<Loss>,
    failing: bool,
    logged: Option<Timestamp>,
}

impl Sink<'_> {
    /// Announces an open loss, then writes the lines; what cannot be written is lost.
    fn write(&mut self, lines: &[u8], records: u64) {
        if let Some(loss) = &self.loss {
            let mut announcement = Vec::new();
            ocsf::loss(
                &mut announcement,
                ocsf::LossCause::Sink,
                loss.count,
                loss.since,
                loss.until,
                &loss.detail,
            );
            if let Err(failure) = self.output.write(&announcement) {
                self.fail(&failure.error, records);
                return;
            }
            self.count_bytes(announcement.len());
            tracing::warn!(
                "journal `{}` is written again; it lost {} records: {}",
                self.counters.name,
                loss.count,
                loss.detail
            );
            self.loss = None;
            self.failing = false;
        }
        if lines.is_empty() {
            return;
        }
        match self.output.write(lines) {
            Ok(()) => {
                self.count_bytes(lines.len());
                self.counters.written.fetch_add(records, Ordering::Relaxed);
            }
            Err(failure) => {
                self.count_bytes(failure.whole.len());
                let written = requests(failure.whole);
                self.counters.written.fetch_add(written, Ordering::Relaxed);
                self.fail(&failure.error, records.saturating_sub(written));
            }
        }
    }

    fn fail(&mut self, error: &io::Error, lost: u64) {
        let now = self.clock.now();
        self.counters.dropped.fetch_add(lost, Ordering::Relaxed);
        let quiet = self.logged.is_some_and(|at| now.since(at) < LOG_EVERY);
        if !std::mem::replace(&mut self.failing, true) && !quiet {
            self.logged = Some(now);
            tracing::error!(
                "journal `{}` cannot be written, records are lost: {error}",
                self.counters.name
            );
        }
        if lost > 0 {
            self.lose(Loss {
                count: lost,
                since: now,
                until: now,
                detail: error.to_string(),
            });
        }
    }

    fn lose(&mut self, more: Loss) {
        match &mut self.loss {
            Some(loss) => {
                loss.count = loss.count.saturating_add(more.count);
                loss.until = more.until;
            }
            None => self.loss = Some(more),
        }
    }

    fn count_bytes(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// How many of these lines are records of requests.
fn requests(lines: &[u8]) -> u64 {
    let lines = lines
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(ocsf::LINE_START.as_bytes()));
    u64::try_from(lines.count()).unwrap_or(u64::MAX)
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct Output {
    file: File,
    /// `None` for standard output.
    path: Option<PathBuf>,
    /// The last line may be broken off.
    broken: bool,
    /// Reopening failed, and that was said.
    stuck: bool,
}

/// A write that did not succeed.
struct Failure<'a> {
    error: io::Error,
    /// The lines that did get through.
    whole: &'a [u8],
}

impl Output {
    pub(super) fn open(sink: &JournalSink) -> io::Result<Self> {
        match sink {
            JournalSink::File(path) => {
                let file = open_file(path).map_err(|error| {
                    let said = format!("journal `{}` cannot be opened: {error}", path.display());
                    io::Error::new(error.kind(), said)
                })?;
                Ok(Self {
                    broken: ends_mid_line(path),
                    file,
                    path: Some(path.clone()),
                    stuck: false,
                })
            }
            // Not `io::stdout`, whose buffer would hide how much was written.
            JournalSink::Stdout => Ok(Self {
                file: File::from(io::stdout().as_fd().try_clone_to_owned()?),
                path: None,
                broken: false,
                stuck: false,
            }),
        }
    }

    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "stdout".to_owned(),
        }
    }

    /// Opens the file anew if its name now belongs to another file, or to none. Keeps the old one
    /// where that fails: a record in a rotated file is better than none.
    fn follow(&mut self, reopen: bool) {
        let Some(path) = &self.path else {
            return;
        };
        let here = self.file.metadata().map(|data| (data.dev(), data.ino()));
        let there = path.metadata().map(|data| (data.dev(), data.ino()));
        let same = matches!((here, there), (Ok(here), Ok(there)) if here == there);
        if same && !reopen {
            self.stuck = false;
            return;
        }
        match open_file(path) {
            Ok(file) => {
                self.broken = ends_mid_line(path);
                self.file = file;
                self.stuck = false;
            }
            Err(error) if !self.stuck => {
                self.stuck = true;
                tracing::error!("journal `{}` cannot be reopened: {error}", path.display());
            }
            Err(_) => {}
        }
    }

    fn write<'a>(&mut self, lines: &'a [u8]) -> Result<(), Failure<'a>> {
        let failed = |error, whole| Failure { error, whole };
        if self.broken && self.path.as_deref().is_none_or(ends_mid_line) {
            self.write_some(b"\n")
                .map_err(|(error, _)| failed(error, [].as_slice()))?;
        }
        self.broken = false;
        let before = self.file.metadata().map(|data| data.len());
        self.write_some(lines).map_err(|(error, written)| {
            let whole = lines.get(..written).unwrap_or_default();
            let end = whole.iter().rposition(|&byte| byte == b'\n');
            let whole = whole
                .get(..end.map_or(0, |end| end + 1))
                .unwrap_or_default();
            self.broken = whole.len() < written
                && !before.is_ok_and(|before| self.cut(before, written, whole.len()));
            failed(error, whole)
        })
    }

    /// Cuts the file back to its last whole line, if it is a file and nobody else wrote to it.
    fn cut(&self, before: u64, written: usize, whole: usize) -> bool {
        let end = |length| {
            u64::try_from(length)
                .ok()
                .and_then(|length| before.checked_add(length))
        };
        let (Ok(data), Some(now), Some(then)) = (self.file.metadata(), end(written), end(whole))
        else {
            return false;
        };
        data.is_file() && data.len() == now && self.file.set_len(then).is_ok()
    }

    /// As `write_all`, but says how much was written before it failed.
    fn write_some(&mut self, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
        // A pipe that someone set to non-blocking: give its reader two seconds without progress.
        const PATIENCE: u32 = 400;
        let mut written = 0;
        let mut patience = PATIENCE;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match (&self.file).write(rest) {
                Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
                Ok(count) => {
                    written += count;
                    patience = PATIENCE;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience > 0 => {
                    patience -= 1;
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err((error, written)),
            }
        }
        Ok(())
    }
}

/// Appends, and creates for the owner and group alone: a journal holds names and addresses.
/// Non-blocking matters for a named pipe only: opening one that nobody reads must not hang.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let opened: OwnedFd = rustix::fs::open(path, flags, mode)?;
    Ok(File::from(opened))
}

/// Whether the file's last byte is not a line feed: a crash or a full disk left half a line.
/// A file that cannot be read back is taken to be whole.
fn ends_mid_line(path: &Path) -> bool {
    let last = || -> io::Result<u8> {
        if !path.metadata()?.is_file() {
            return Ok(b'\n');
        }
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        let [last] = last;
        Ok(last)
    };
    last().is_ok_and(|last| last != b'\n')
}
