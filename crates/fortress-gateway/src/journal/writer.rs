//! The thread that empties the workers' queues, serialises, and hands batches of lines to the
//! sinks. It never touches a file: a disk that hangs must not keep the queues from being emptied.

use std::{
    sync::{
        Arc,
        atomic::{Ordering, fence},
        mpsc,
    },
    thread,
    time::Duration,
};

use fortress_model::{Clock, Decision, Timestamp};
use rtrb::Consumer;

use super::{ASLEEP, AWAKE, CLOSED, Shared, ocsf};

/// Between two looks at the queues while there is traffic: batches form, and nobody is woken.
const LOOK: Duration = Duration::from_millis(5);
/// After so many looks in vain the writer sleeps until the next record wakes it.
const LOOKS_IN_VAIN: u32 = 10;
/// A batch goes to the sinks when it has so many bytes.
const BATCH_BYTES: usize = 256 << 10;
/// A loss that goes on is announced this often.
const LOSS_EVERY: Duration = Duration::from_secs(10);
/// A loss is over when nothing more was lost for this long.
const LOSS_OVER: Duration = Duration::from_millis(100);

pub(super) struct Writer {
    queues: Vec<Consumer<Box<Decision>>>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    batch: Vec<u8>,
    records: u64,
    overflow: Overflow,
}

/// Records that the workers could not queue.
struct Overflow {
    /// Of the counter, what was already announced.
    announced: u64,
    /// The counter when last looked at.
    seen: u64,
    /// When last looked at.
    looked: Timestamp,
    /// When the loss began, if there is one to be announced, and when it last grew.
    open: Option<(Timestamp, Timestamp)>,
}

impl Writer {
    pub(super) fn new(
        queues: Vec<Consumer<Box<Decision>>>,
        shared: Arc<Shared>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let looked = clock.now();
        Self {
            queues,
            shared,
            clock,
            batch: Vec::with_capacity(BATCH_BYTES),
            records: 0,
            overflow: Overflow {
                announced: 0,
                seen: 0,
                looked,
                open: None,
            },
        }
    }

    /// Runs until the journal closes. `_running` is dropped at the end, which says so.
    pub(super) fn run(mut self, _running: mpsc::Sender<()>) {
        let mut in_vain = 0;
        loop {
            // INVARIANT: read before the queues are emptied, so that what was recorded before
            // `close` is written.
            let closing = self.shared.is_closing();
            in_vain = if self.drain() { 0 } else { in_vain + 1 };
            self.watch_overflow(closing);
            self.hand_over();
            if closing {
                break;
            }
            if in_vain < LOOKS_IN_VAIN {
                thread::park_timeout(LOOK);
            } else {
                self.sleep();
            }
        }
        self.shared.state.store(CLOSED, Ordering::SeqCst);
        self.drain();
        self.hand_over();
        for queue in &self.shared.queues {
            queue.close();
        }
    }

    /// Empties the queues by turns, so that a busy worker does not keep the others waiting.
    fn drain(&mut self) -> bool {
        const TURN: usize = 256;
        let mut any = false;
        loop {
            let mut more = false;
            for place in 0..self.queues.len() {
                for _ in 0..TURN {
                    let Some(Ok(decision)) = self.queues.get_mut(place).map(Consumer::pop) else {
                        break;
                    };
                    ocsf::event(&mut self.batch, &decision);
                    self.records += 1;
                    more = true;
                    if self.batch.len() >= BATCH_BYTES {
                        self.hand_over();
                    }
                }
            }
            if !more {
                return any;
            }
            any = true;
        }
    }

    fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        for queue in &self.shared.queues {
            queue.push(&self.batch, self.records, &*self.clock);
        }
        self.batch.clear();
        // One record of hostile size must not be paid for ever after.
        self.batch.shrink_to(2 * BATCH_BYTES);
        self.records = 0;
    }

    fn watch_overflow(&mut self, closing: bool) {
        let total = self.shared.counters.overflowed();
        let now = self.clock.now();
        if total == self.overflow.seen && self.overflow.open.is_none() {
            self.overflow.looked = now;
            return;
        }
        if total != self.overflow.seen {
            let since = match self.overflow.open {
                Some((since, _)) => since,
                None => {
                    tracing::error!(
                        "journal cannot keep up: records are lost; see `fortress_journal_dropped_total`"
                    );
                    self.overflow.looked
                }
            };
            self.overflow.open = Some((since, now));
            self.overflow.seen = total;
        }
        self.overflow.looked = now;
        let Some((since, grew)) = self.overflow.open else {
            return;
        };
        if !closing && now.since(grew) < LOSS_OVER && now.since(since) < LOSS_EVERY {
            return;
        }
        let count = total.saturating_sub(self.overflow.announced);
        tracing::warn!("journal lost {count} records: the workers' queues were full");
        ocsf::loss(
            &mut self.batch,
            ocsf::LossCause::Queue,
            count,
            since,
            grew,
            "the queues between the workers and the journal were full",
        );
        self.overflow.announced = total;
        self.overflow.open = None;
    }

    fn sleep(&mut self) {
        self.shared.state.store(ASLEEP, Ordering::Relaxed);
        // INVARIANT: pairs with the fence in `JournalHandle::record`.
        fence(Ordering::SeqCst);
        let nothing = self.queues.iter().all(Consumer::is_empty)
            && !self.shared.is_closing()
            && self.overflow.open.is_none();
        if nothing {
            thread::park_timeout(Duration::from_secs(1));
        }
        self.shared.state.store(AWAKE, Ordering::Relaxed);
    }
}
