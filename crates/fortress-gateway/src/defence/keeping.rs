//! What is known of logins outlives the process, where there is a store.
//!
//! A thread of its own writes it every few seconds and at the end: the request path never waits for a
//! disk. What was counted since the last time is lost if the process is killed; nothing is written
//! twice as fast for it. Deliberately not here: the bytes (`fortress-limits`), and sharing what is known
//! between instances (`shared_counts::log`): each writes what it knows, and reads it when it starts.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fortress_limits::{defence::kept, key::Secret};
use fortress_model::{Clock, SystemClock, Timestamp, config::StoreSettings};
use fortress_store::{Presence, Store, StoreError};

use super::Logins;
use crate::keys::KeyRing;

/// How often accounts that were unlocked by hand are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether logins are known by now, and what other instances know of them.
const FIRST_LOOK: Duration = Duration::from_millis(20);
/// How long what other instances know is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many looks pass before all is written.
const WRITE: u32 = 10;
/// How long a record is kept that nobody writes any more.
const LIFE: Duration = Duration::from_secs(30 * 86_400);
/// States of each kind.
const MOST: usize = 20_000;

/// The thread; dropping it writes for the last time.
#[derive(Debug)]
pub(crate) struct Keeping {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    begun: Receiver<()>,
}

impl Keeping {
    /// Takes up what was kept, and keeps it from then on. Blocks; not within a runtime.
    ///
    /// # Errors
    /// If the store cannot be opened, or no thread can be made.
    pub(crate) fn start(settings: &StoreSettings, keys: KeyRing) -> Result<Self, StoreError> {
        let seal = Arc::new(fortress_store::master_keys(&settings.key.value)?);
        let store = fortress_store::open(&settings.place.value, seal, Presence::Demanded)?;
        let mut keeper = Keeper {
            store,
            keys,
            logins: None,
            waiting: None,
            pieces: 0,
            unlocked: SystemClock.now(),
            failing: false,
        };
        keeper.look();
        let (stop, stopped) = channel();
        let (begins, begun) = channel();
        let thread = std::thread::Builder::new()
            .name("logins".into())
            .spawn(move || keeper.keep(&stopped, &begins))
            .map_err(|error| StoreError::Unreachable(error.to_string()))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
            begun,
        })
    }

    /// Waits a moment until what was kept is taken up, which may wait for what other instances know.
    pub(crate) fn wait(&self) {
        const MOMENT: Duration = Duration::from_secs(1);
        if self.begun.recv_timeout(MOMENT).is_err() {
            tracing::warn!(
                "what the store holds of logins is taken up later: Redis does not answer"
            );
        }
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            fortress_store::thread::end(thread, "keeps the state of logins");
        }
    }
}

struct Keeper {
    store: Store,
    keys: KeyRing,
    /// Once the first configuration has a login.
    logins: Option<Arc<Logins>>,
    /// Since when what other instances know is waited for.
    waiting: Option<Instant>,
    /// Pieces that were written the last time.
    pieces: usize,
    /// What was unlocked until then is done.
    unlocked: Timestamp,
    failing: bool,
}

impl Keeper {
    fn keep(mut self, stopped: &Receiver<()>, begins: &Sender<()>) {
        let (mut looks, mut has_begun) = (0, false);
        loop {
            if self.logins.is_some() && !has_begun {
                has_begun = true;
                if begins.send(()).is_err() {
                    tracing::debug!("nobody waits for what the store holds of logins any more");
                }
            }
            let pause = match self.logins {
                Some(_) => LOOK,
                None => FIRST_LOOK,
            };
            if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                break;
            }
            self.look();
            looks += 1;
            if looks >= WRITE {
                looks = 0;
                self.write();
            }
        }
        self.write();
    }

    fn look(&mut self) {
        let looked = match &self.logins {
            None => self.begin(),
            Some(logins) => self.unlock(&Arc::clone(logins)),
        };
        self.tell(looked);
    }

    fn tell(&mut self, done: Result<(), StoreError>) {
        match done {
            Ok(()) => self.failing = false,
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::warn!(%error, "the store does not keep the state of logins");
            }
            Err(_) => {}
        }
    }

    /// Takes up the secret, and what was kept under it.
    fn begin(&mut self) -> Result<(), StoreError> {
        let Some((logins, log)) = self.keys.known_defence() else {
            return Ok(());
        };
        if let Some(log) = log.filter(|log| !log.is_read()) {
            // What the others know is newer than what is kept.
            let since = *self.waiting.get_or_insert_with(Instant::now);
            if since.elapsed() < PATIENCE {
                return Ok(());
            }
            log.skip();
        }
        let now = SystemClock.now();
        self.agree(&logins, now)?;
        let kind = kept::STORE_KIND;
        for number in 0..kept::MOST_PIECES {
            let Some(piece) = self.store.state(kind, &kept::piece(number), now)? else {
                break;
            };
            self.pieces = number + 1;
            if let Some(written) = kept::written(piece.expose()) {
                self.unlocked = self.unlocked.min(written);
            }
            let states = kept::read(piece.expose(), now);
            logins.defence.recall(&states, logins.now());
        }
        self.unlock(&logins)?;
        self.logins = Some(logins);
        Ok(())
    }

    /// One secret for the logins and the store, by which `fortress login` finds an account.
    fn agree(&self, logins: &Logins, now: Timestamp) -> Result<(), StoreError> {
        let (kind, id) = (kept::STORE_KIND, kept::STORE_SECRET);
        let known = self.store.state(kind, id, now)?;
        let known: Option<[u8; 16]> =
            known.and_then(|secret| secret.expose().as_slice().try_into().ok());
        if let Some(shared) = &logins.secret {
            if known.as_ref() != Some(shared.expose()) {
                self.store.put_state(kind, id, shared.expose(), FOR_EVER)?;
            }
            return Ok(());
        }
        let secret = match known {
            Some(secret) => secret,
            None => {
                let mut secret = [0; 16];
                aws_lc_rs::rand::fill(&mut secret).map_err(|_| {
                    StoreError::Unreachable("the system has no randomness".to_owned())
                })?;
                self.store.put_state(kind, id, &secret, FOR_EVER)?;
                secret
            }
        };
        logins.defence.adopt(Secret::new(secret));
        Ok(())
    }

    /// Forgets what was unlocked by hand.
    fn unlock(&mut self, logins: &Logins) -> Result<(), StoreError> {
        let now = SystemClock.now();
        let (kind, id) = (kept::STORE_KIND, kept::STORE_UNLOCKED);
        let Some(bytes) = self.store.state(kind, id, now)? else {
            return Ok(());
        };
        let mut latest = self.unlocked;
        for (account, time) in kept::read_unlocked(bytes.expose()) {
            if time > self.unlocked {
                logins.defence.unlock(account);
                latest = latest.max(time);
                tracing::info!("account {account:?} was unlocked");
            }
        }
        self.unlocked = latest;
        Ok(())
    }

    fn write(&mut self) {
        let Some(logins) = self.logins.clone() else {
            return;
        };
        let now = SystemClock.now();
        let mut pieces = kept::write(&logins.defence.keep(MOST, logins.now()), now);
        let written = pieces.len();
        // What was there before is overwritten, or it would come back.
        pieces.resize(self.pieces.max(written), now.0.to_be_bytes().to_vec());
        let life = u64::try_from(LIFE.as_nanos()).unwrap_or(u64::MAX);
        let end = Timestamp(now.0.saturating_add(life));
        let done = pieces.iter().enumerate().try_for_each(|(number, bytes)| {
            let id = kept::piece(number);
            self.store.put_state(kept::STORE_KIND, &id, bytes, end)
        });
        if done.is_ok() {
            self.pieces = written;
        }
        self.tell(done);
    }
}

/// The last time that the store can hold.
const FOR_EVER: Timestamp = Timestamp(i64::MAX.cast_unsigned());
