//! What the request path needs of a store, in memory and at most a second old: all API keys and all
//! revocations. One thread asks the store for what changed, and writes when keys were used.
//!
//! A store that cannot be reached leaves the last state in use; [`Feed::age`] says how old it is, and
//! whoever must not accept a key or a token that may have been revoked since can refuse by it.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use fortress_auth::{
    Revocation, RevocationTarget, Revocations,
    api_key::{BookBuilder, KeyBook, KeyError, KeyHolder, KeyId, Pepper},
};
use fortress_model::{Clock, Timestamp, config::StoreSettings};

use crate::{
    Store, StoreError,
    keys::{Changes, Position},
    place::{self, Presence, master_keys, pepper},
};

/// How often the store is asked what changed.
const POLL: Duration = Duration::from_millis(400);
/// How often it is written when keys were used.
const WRITE: Duration = Duration::from_secs(5);
/// How often what has expired is removed.
const CLEAN: Duration = Duration::from_secs(600);
/// Uses that wait to be written; those beyond are not noted.
const MAX_USES: usize = 65_536;
/// Uses that are written in one transaction.
const BATCH: usize = 5_000;

/// API keys and revocations for the request path. Dropping it writes what is left to be written, and
/// ends its thread.
pub struct Feed {
    shared: Arc<Shared>,
    uses: SyncSender<(KeyId, Timestamp)>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    pepper: Pepper,
    book: ArcSwap<KeyBook>,
    revocations: ArcSwap<Revocations>,
    /// When the store last said that this is its state, in nanoseconds since the epoch.
    confirmed: AtomicU64,
    /// Uses that were not noted since too many waited.
    lost: AtomicU64,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("book", &self.shared.book.load())
            .field("revocations", &self.shared.revocations.load())
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// Opens the store that the configuration names, and starts. Blocks; not within a runtime. The
    /// text is a warning for the operator, if there is one.
    ///
    /// # Errors
    /// If there is no store, no key or no pepper; and as [`Feed::start`].
    pub fn open(
        settings: &StoreSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Option<String>), StoreError> {
        let keys = master_keys(&settings.key.value)?;
        let pepper = pepper(&settings.pepper.value)?;
        let warning = keys.warning();
        let store = place::open(&settings.place.value, Arc::new(keys), Presence::Demanded)?;
        Ok((Self::start(store, pepper, clock)?, warning))
    }

    /// Loads everything, which blocks, and keeps it fresh from then on.
    ///
    /// # Errors
    /// If the store cannot be read, or its keys were digested under another pepper.
    pub fn start(store: Store, pepper: Pepper, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        store.use_pepper(&pepper)?;
        let now = clock.now();
        let (book, revoked, position) = load(&store)?;
        let shared = Arc::new(Shared {
            pepper,
            book: ArcSwap::from_pointee(book),
            revocations: ArcSwap::from_pointee(set(&revoked, now)?),
            confirmed: AtomicU64::new(now.0),
            lost: AtomicU64::new(0),
        });
        let (uses, used) = mpsc::sync_channel(MAX_USES);
        let (stop, stopped) = mpsc::channel();
        let keeper = Keeper {
            store,
            clock,
            shared: Arc::clone(&shared),
            position,
            revoked,
            used,
            waiting: HashMap::new(),
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || keeper.keep(&stopped))
            .map_err(|error| StoreError::Unreachable(error.to_string()))?;
        Ok(Self {
            shared,
            uses,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Whose key this is, and notes that it was used. Never blocks.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn verify(&self, text: &str, now: Timestamp) -> Result<Arc<KeyHolder>, KeyError> {
        let holder = self
            .shared
            .book
            .load()
            .verify(text, &self.shared.pepper, now)?;
        if holder.note_use(now) && self.uses.try_send((holder.id, now)).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(holder)
    }

    /// The keys as they are now: one state for as long as it is held.
    pub fn book(&self) -> Guard<Arc<KeyBook>> {
        self.shared.book.load()
    }

    /// The revocations as they are now: to be asked for each request, after the signature was
    /// verified or the token was found in a cache.
    pub fn revocations(&self) -> Guard<Arc<Revocations>> {
        self.shared.revocations.load()
    }

    /// How long ago the store last confirmed this state: less than a second, unless it cannot be
    /// reached.
    pub fn age(&self, now: Timestamp) -> Duration {
        now.since(Timestamp(self.shared.confirmed.load(Ordering::Relaxed)))
    }

    /// Uses of keys that were not noted since too many waited to be written.
    pub fn lost_uses(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            crate::thread::end(thread, "asks the store");
        }
    }
}

/// What the thread holds.
struct Keeper {
    store: Store,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    position: Position,
    /// What the set in use was made from.
    revoked: Revoked,
    used: Receiver<(KeyId, Timestamp)>,
    /// Not written yet.
    waiting: HashMap<KeyId, Timestamp>,
    failing: bool,
}

impl Keeper {
    fn keep(mut self, stopped: &Receiver<()>) {
        let (mut written, mut cleaned) = (Instant::now(), Instant::now());
        loop {
            let stop = stopped.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout);
            if stop {
                let done = self.write_uses();
                self.report("the last uses of API keys could not be written", done);
                return;
            }
            let polled = self.poll();
            self.report("changes of the store could not be read", polled);
            if written.elapsed() >= WRITE {
                written = Instant::now();
                let done = self.write_uses();
                self.report("uses of API keys could not be written", done);
            }
            if cleaned.elapsed() >= CLEAN {
                cleaned = Instant::now();
                let done = self.store.remove_expired(self.clock.now()).map(drop);
                self.report("what has expired could not be removed", done);
            }
        }
    }

    fn poll(&mut self) -> Result<(), StoreError> {
        loop {
            let now = self.clock.now();
            match self.store.changes_since(self.position)? {
                Changes::None => {
                    self.shared.confirmed.store(now.0, Ordering::Relaxed);
                    return Ok(());
                }
                Changes::Some {
                    keys,
                    revocations,
                    position,
                } => {
                    if !keys.is_empty() {
                        let book = self.shared.book.load().with(&keys);
                        self.shared.book.store(Arc::new(book));
                    }
                    if !revocations.is_empty() {
                        let still = |one: &Revocation| one.until.is_none_or(|until| now < until);
                        self.revoked.retain(|_, one| still(one));
                        self.revoked.extend(named(revocations));
                        self.renew_revocations(now)?;
                    }
                    self.position = position;
                }
                Changes::Everything => {
                    tracing::info!("a backup was brought back into the store; reading it anew");
                    self.store.use_pepper(&self.shared.pepper)?;
                    let (book, revoked, position) = load(&self.store)?;
                    self.shared.book.store(Arc::new(book));
                    self.revoked = revoked;
                    self.renew_revocations(now)?;
                    self.position = position;
                }
            }
        }
    }

    fn renew_revocations(&self, now: Timestamp) -> Result<(), StoreError> {
        let set = set(&self.revoked, now)?;
        self.shared.revocations.store(Arc::new(set));
        Ok(())
    }

    fn write_uses(&mut self) -> Result<(), StoreError> {
        for (id, time) in self.used.try_iter() {
            if self.waiting.len() < MAX_USES || self.waiting.contains_key(&id) {
                self.waiting.insert(id, time);
            } else {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        // In one order everywhere, so that two instances never wait for each other.
        let mut uses: Vec<_> = self.waiting.iter().map(|(id, time)| (*id, *time)).collect();
        uses.sort();
        for batch in uses.chunks(BATCH) {
            self.store.note_used(batch)?;
            for (id, _) in batch {
                self.waiting.remove(id);
            }
        }
        Ok(())
    }

    /// Once when it begins to fail, and once when it works again.
    fn report(&mut self, what: &'static str, done: Result<(), StoreError>) {
        match done {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("the store can be reached again");
            }
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(%error, "{what}; the last state stays in use");
            }
            Ok(()) => {}
            Err(error) => tracing::debug!(%error, "{what}"),
        }
    }
}

/// One for each target: the last that was said.
type Revoked = HashMap<RevocationTarget, Revocation>;

fn load(store: &Store) -> Result<(KeyBook, Revoked, Position), StoreError> {
    let (mut builder, mut revoked) = (BookBuilder::default(), Vec::new());
    let position = store.load(&mut |key| builder.add(&key), &mut |one| revoked.push(one))?;
    Ok((builder.finish(), named(revoked).collect(), position))
}

fn named(revocations: Vec<Revocation>) -> impl Iterator<Item = (RevocationTarget, Revocation)> {
    revocations
        .into_iter()
        .map(|revocation| (revocation.target.clone(), revocation))
}

fn set(revoked: &Revoked, now: Timestamp) -> Result<Revocations, StoreError> {
    Revocations::build(revoked.values().cloned(), now)
        .map_err(|_| StoreError::TooMany("revocations"))
}
