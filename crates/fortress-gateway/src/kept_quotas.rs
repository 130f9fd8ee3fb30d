//! Quotas that outlive the process: what was taken is written to the store once a second, in batches, and
//! read when the process starts.
//!
//! One thread writes; no request waits for it. What was taken within the last second is lost with a
//! process that is killed, and nothing with one that stops. Instances that have one store in common learn
//! what the others have taken with each of their own writes. Deliberately not here: limits whose counts
//! instances share through Redis, which keeps them itself (`shared_counts`), and rates, whose bursts are
//! earned back in less time than a restart is worth.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use fortress_limits::quota::{Quotas, Record, Span, Unstored};
use fortress_model::{Clock as _, SystemClock, Timestamp, config::StoreSettings};
use fortress_store::{Count, Presence, Store, StoreError};

use crate::server::ServerError;

/// How often what was taken is written.
const WRITE: Duration = Duration::from_secs(1);

/// Counts that are written in one transaction.
const BATCH: usize = 5_000;

/// How the counters of quotas are called: then follow the key, and the seconds of the window.
const PREFIX: &str = "quota:";

/// Keeps quotas in the store. Dropping it writes what is left to be written, and ends its thread.
#[derive(Debug)]
pub(crate) struct KeptQuotas {
    written: Arc<AtomicU64>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl KeptQuotas {
    /// Reads what is stored, which blocks, and writes from then on. Not within a runtime.
    ///
    /// # Errors
    /// The store cannot be opened or read, or no thread could be made.
    pub(crate) fn start(
        settings: &StoreSettings,
        quotas: Arc<Quotas>,
    ) -> Result<Self, ServerError> {
        let keys = fortress_store::master_keys(&settings.key.value).map_err(StoreError::from)?;
        let place = &settings.place.value;
        let store = fortress_store::open(place, Arc::new(keys), Presence::Demanded)?;
        load(&store, &quotas)?;
        let written = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = mpsc::channel();
        let keeper = Keeper {
            store,
            quotas,
            written: Arc::clone(&written),
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("quotas".into())
            .spawn(move || keeper.keep(&stopped))
            .map_err(ServerError::Worker)?;
        Ok(Self {
            written,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Counts that were written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }
}

impl Drop for KeptQuotas {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            fortress_store::thread::end(thread, "writes quotas");
        }
    }
}

struct Keeper {
    store: Store,
    quotas: Arc<Quotas>,
    written: Arc<AtomicU64>,
    failing: bool,
}

impl Keeper {
    fn keep(mut self, stopped: &Receiver<()>) {
        loop {
            let is_last = stopped.recv_timeout(WRITE) != Err(RecvTimeoutError::Timeout);
            let done = self.write();
            self.report(done);
            if is_last {
                return;
            }
        }
    }

    /// Writes all that is not stored by now, batch by batch. What comes meanwhile waits for the next time,
    /// or busy keys would keep all others from being written, and a stop from coming to its end.
    fn write(&self) -> Result<(), StoreError> {
        let mut all: Vec<Unstored> = Vec::new();
        self.quotas
            .unstored(SystemClock.now(), |what| all.push(what));
        for batch in all.chunks(BATCH) {
            let names: Vec<String> = batch.iter().map(name).collect();
            let counts: Vec<Count<'_>> = batch
                .iter()
                .zip(&names)
                .map(|(what, name)| Count {
                    name,
                    began: at(what.window.start),
                    more: what.more,
                    // A window longer, because it may fade.
                    expires: at(what.window.end.saturating_add(length(what.window))),
                })
                .collect();
            let totals = self.store.count(&counts)?;
            for (what, total) in batch.iter().zip(totals) {
                self.quotas.stored(what, u64::try_from(total).unwrap_or(0));
            }
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            self.written.fetch_add(count, Relaxed);
        }
        Ok(())
    }

    /// Once when it begins to fail, and once when it works again.
    fn report(&mut self, done: Result<(), StoreError>) {
        match done {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("quotas are written to the store again");
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(%error, "quotas cannot be written to the store; they go on in memory");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

fn load(store: &Store, quotas: &Quotas) -> Result<(), StoreError> {
    // Those that began last come first, as `import` wants it.
    store.counters(PREFIX, SystemClock.now(), &mut |name, began, value| {
        if let Some(record) = record(name, began, value) {
            quotas.import(record);
        }
    })
}

fn name(what: &Unstored) -> String {
    let (high, low) = what.key;
    format!("{PREFIX}{high:016x}{low:016x}:{}", length(what.window))
}

/// `None` for what was not written here.
fn record(name: &str, began: Timestamp, value: i64) -> Option<Record> {
    let (key, length) = name.strip_prefix(PREFIX)?.split_once(':')?;
    let (high, low) = key.split_at_checked(16)?;
    let half = |text: &str| u64::from_str_radix(text, 16).ok();
    let start = began.seconds();
    Some(Record {
        key: (half(high)?, half(low)?),
        window: Span {
            start,
            end: start.saturating_add(length.parse().ok()?),
        },
        used: u64::try_from(value).unwrap_or(0),
    })
}

fn length(window: Span) -> u64 {
    window.end.saturating_sub(window.start)
}

fn at(second: u64) -> Timestamp {
    Timestamp(second.saturating_mul(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_it_counts() {
        let what = Unstored {
            key: (1, u64::MAX),
            window: Span {
                start: 86_400,
                end: 2 * 86_400,
            },
            more: 5,
        };
        let name = name(&what);
        assert_eq!(name, "quota:0000000000000001ffffffffffffffff:86400");
        let found = record(&name, at(86_400), 7).unwrap();
        assert_eq!(
            (found.key, found.window, found.used),
            (what.key, what.window, 7)
        );
        assert_eq!(record(&name, at(86_400), -7).unwrap().used, 0);
        for other in [
            "",
            "quota:",
            "quota:12:5",
            "login:0000000000000001ffffffffffffffff:5",
        ] {
            assert_eq!(record(other, at(5), 1), None, "{other}");
        }
    }
}
