//! The one place that records requests: each worker hands its decisions through a queue of its own
//! to one thread, which writes them as OCSF events, a line each, to files and standard output.
//!
//! The request path never waits for a journal. What cannot be queued or written is counted, said
//! in the program's own log, and announced in the journal itself where the gap is. Deliberately
//! not here: the program's own log, which is `tracing`, and any promise about power loss (`fsync`
//! for each record would cost more than the request).

mod json;
mod ocsf;
pub mod read;
mod sink;
mod writer;

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering, fence},
        mpsc,
    },
    thread::{self, Thread},
    time::Duration,
};

use fortress_model::{Clock, Decision, SystemClock, config::JournalSink};
use rtrb::Producer;

use sink::{Output, Queue};
use writer::Writer;

/// Records that wait in one worker's queue; a full queue loses the record and counts it. At 100,000
/// requests a second and worker this is 40 ms, eight times the time between two looks.
pub const QUEUE_RECORDS: usize = 4_096;
/// Bytes that wait for one sink; beyond, its records are lost and counted.
pub const SINK_BYTES: usize = 4 << 20;

/// The running journal. Dropping it without [`Journal::close`] lets its threads write what is
/// queued, without waiting for them.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    /// Nothing is ever sent: it disconnects when the last thread is done.
    done: mpsc::Receiver<()>,
}

/// How [`Journal::close`] ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Closed {
    /// Everything queued was written, or counted as lost.
    Drained,
    /// The time was over first: a disk or a reader hangs.
    TimedOut,
}

/// What the journal's threads and handles share.
#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    closing: AtomicBool,
    writer: OnceLock<Thread>,
    queues: Vec<Arc<Queue>>,
    counters: Arc<Counters>,
}

/// The writer looks at the queues by itself, every few milliseconds.
const AWAKE: u8 = 0;
/// The writer waits to be woken by the next record.
const ASLEEP: u8 = 1;
/// The writer is gone.
const CLOSED: u8 = 2;

impl Journal {
    /// Opens the sinks and starts the threads. The handles, one per worker, are in no order.
    ///
    /// # Errors
    /// A file that cannot be opened for appending or created; the message names it.
    pub fn start(sinks: &[JournalSink], workers: usize) -> io::Result<(Self, Vec<JournalHandle>)> {
        Self::start_with(sinks, workers, Arc::new(SystemClock))
    }

    /// As [`Journal::start`], with the clock that dates losses.
    ///
    /// # Errors
    /// As [`Journal::start`].
    pub fn start_with(
        sinks: &[JournalSink],
        workers: usize,
        clock: Arc<dyn Clock>,
    ) -> io::Result<(Self, Vec<JournalHandle>)> {
        let outputs = sinks
            .iter()
            .map(Output::open)
            .collect::<io::Result<Vec<_>>>()?;
        let counters = Arc::new(Counters {
            overflowed: AtomicU64::new(0),
            sinks: outputs
                .iter()
                .map(|output| Arc::new(SinkCounters::new(output.name())))
                .collect(),
        });
        let shared = Arc::new(Shared {
            state: AtomicU8::new(AWAKE),
            closing: AtomicBool::new(false),
            writer: OnceLock::new(),
            queues: counters
                .sinks
                .iter()
                .map(|counted| Arc::new(Queue::new(Arc::clone(counted))))
                .collect(),
            counters,
        });
        let (running, done) = mpsc::channel();
        let journal = Self {
            shared: Arc::clone(&shared),
            done,
        };
        if outputs.is_empty() {
            let handles = (0..workers).map(|_| JournalHandle::idle(&shared)).collect();
            return Ok((journal, handles));
        }
        for (output, queue) in outputs.into_iter().zip(&shared.queues) {
            let (queue, clock, running) = (Arc::clone(queue), Arc::clone(&clock), running.clone());
            thread::Builder::new()
                .name("journal-sink".to_owned())
                .spawn(move || sink::run(output, &queue, &*clock, running))?;
        }
        let (producers, consumers): (Vec<_>, Vec<_>) = (0..workers)
            .map(|_| rtrb::RingBuffer::new(QUEUE_RECORDS))
            .unzip();
        let writer = Writer::new(consumers, Arc::clone(&shared), clock);
        let thread = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(running))?;
        shared.writer.get_or_init(|| thread.thread().clone());
        let handles = producers
            .into_iter()
            .map(|queue| JournalHandle {
                queue: Some(queue),
                shared: Arc::clone(&shared),
                unheard: 0,
            })
            .collect();
        Ok((journal, handles))
    }

    /// Opens every file anew, whether it was rotated away or not. Lines that wait go to the new one.
    /// A rotation is noticed without this too, by the next line or within a second.
    pub fn reopen(&self) {
        for queue in &self.shared.queues {
            queue.reopen();
        }
    }

    /// What was written and lost so far, live.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.shared.counters)
    }

    /// For what happens beside requests.
    pub(crate) fn notes(&self) -> Notes {
        Notes(Arc::clone(&self.shared))
    }

    /// Writes everything that was recorded until now and ends. Blocks for at most `deadline`.
    /// Records that come later are counted as lost.
    pub fn close(self, deadline: Duration) -> Closed {
        self.shared.begin_closing();
        match self.done.recv_timeout(deadline) {
            Err(mpsc::RecvTimeoutError::Disconnected) | Ok(()) => Closed::Drained,
            Err(mpsc::RecvTimeoutError::Timeout) => Closed::TimedOut,
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.shared.begin_closing();
    }
}

impl Shared {
    fn begin_closing(&self) {
        self.closing.store(true, Ordering::SeqCst);
        if self.writer.get().is_some() {
            self.wake();
        } else {
            // The start failed half-way: there is no writer that would end the sinks.
            self.queues.iter().for_each(|queue| queue.close());
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// A worker's end of the journal.
#[derive(Debug)]
pub struct JournalHandle {
    /// `None` where there is no sink.
    queue: Option<Producer<Box<Decision>>>,
    shared: Arc<Shared>,
    /// Records since the writer was last woken.
    unheard: usize,
}

impl JournalHandle {
    fn idle(shared: &Arc<Shared>) -> Self {
        Self {
            queue: None,
            shared: Arc::clone(shared),
            unheard: 0,
        }
    }

    /// Records a request. Never blocks; a record that finds the queue full, or the journal closed,
    /// is lost and counted.
    ///
    /// The writer is woken (one system call) by the first record after a pause of some 50 ms, and
    /// whenever a quarter of the queue has filled within its own 5 ms; otherwise it comes by itself.
    pub fn record(&mut self, decision: impl Into<Box<Decision>>) {
        let Some(queue) = &mut self.queue else {
            return;
        };
        if self.shared.state.load(Ordering::Relaxed) == CLOSED
            || queue.push(decision.into()).is_err()
        {
            self.shared
                .counters
                .overflowed
                .fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.unheard = self.unheard.saturating_add(1);
        // INVARIANT: pairs with the fence in `Writer::sleep`. Of the push above and the writer's
        // going to sleep, the later one sees the other, so that no record waits unnoticed.
        fence(Ordering::SeqCst);
        let state = &self.shared.state;
        let asleep = state.load(Ordering::Relaxed) == ASLEEP
            && state
                .compare_exchange(ASLEEP, AWAKE, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if asleep || self.unheard >= QUEUE_RECORDS / 4 {
            self.unheard = 0;
            self.shared.wake();
        }
    }
}

/// Tells the journal what happened beside requests, such as a store that is away: seldom, and each change
/// once.
#[derive(Clone, Debug)]
pub(crate) struct Notes(Arc<Shared>);

impl Notes {
    /// Writes an event. `code` is `noun.state`, like a reason's; `detail` holds no secret. Never waits
    /// for a disk.
    pub(crate) fn note(&self, code: &'static str, status: NoteStatus, detail: &str) {
        let now = SystemClock.now();
        let mut lines = Vec::new();
        ocsf::note(&mut lines, code, status, now, detail);
        for queue in &self.0.queues {
            queue.push(&lines, 0, &SystemClock);
        }
    }
}

/// Whether a note tells of something bad or of its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoteStatus {
    Failure,
    Success,
}

/// Totals since the start; they only grow.
#[derive(Debug)]
pub struct Counters {
    overflowed: AtomicU64,
    sinks: Vec<Arc<SinkCounters>>,
}

impl Counters {
    /// Records lost because a worker's queue was full or the journal closed: for every sink.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// The sinks, in the configuration's order.
    pub fn sinks(&self) -> &[Arc<SinkCounters>] {
        &self.sinks
    }

    /// Records lost, for whatever reason, to any of the sinks.
    pub fn dropped(&self) -> u64 {
        let sinks = self.sinks.iter().map(|sink| sink.dropped());
        sinks.fold(self.overflowed(), u64::saturating_add)
    }
}

/// One sink's totals.
#[derive(Debug)]
pub struct SinkCounters {
    name: String,
    written: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
}

impl SinkCounters {
    fn new(name: String) -> Self {
        Self {
            name,
            written: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// The file's path as configured, or `stdout`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Records written whole, announcements of losses not counted.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Records that this sink lost.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Bytes written, announcements included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The files among the sinks, for `explain`.
pub fn files(sinks: &[JournalSink]) -> impl Iterator<Item = &PathBuf> {
    sinks.iter().filter_map(|sink| match sink {
        JournalSink::File(path) => Some(path),
        JournalSink::Stdout => None,
    })
}
