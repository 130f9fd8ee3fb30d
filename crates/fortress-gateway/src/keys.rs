//! Key sets of token issuers: living things that survive a reload.
//!
//! A set from a file is read when the configuration is compiled (and again when the file changes,
//! which is a reload). A set from a URL is fetched by one task outside the request path: before it
//! gets old, and when a token names a key that is not there, a bounded number of times, so that
//! nobody can make Fortress flood an issuer. An issuer that is down does not lock out anybody: the
//! last good set is used until the hard limit.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use fortress_auth::JwkSet;
use fortress_model::config::JwksSource;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::fetch::{self, Fetcher};

/// How often a set is fetched anew.
const REFRESH: Duration = Duration::from_secs(300);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The same while there are no keys at all and every request has to be refused.
const RETRY_WITHOUT: Duration = Duration::from_secs(1);
/// So many fetches may tokens with unknown keys ask for at once: an issuer that has just started
/// may rotate its keys soon. Another one may be asked for after each cooldown.
const BURST: u32 = 2;
const COOLDOWN: Duration = Duration::from_secs(5);
/// A set that could not be refreshed for this long is not used any more.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(3);

/// All key sets, by where they come from.
#[derive(Clone, Debug, Default)]
pub struct KeyRing(Arc<Mutex<HashMap<String, Arc<Keys>>>>);

/// One issuer's keys.
pub(crate) struct Keys {
    source: JwksSource,
    current: ArcSwapOption<KeySet>,
    wanted: Notify,
    /// Counts the attempts to fetch, successful or not.
    attempts: watch::Sender<u64>,
    asking: Mutex<Asking>,
}

/// Who may ask for a fetch.
#[derive(Debug)]
struct Asking {
    /// One was asked for, or runs: whoever needs keys waits for its end.
    under_way: bool,
    left: u32,
    counted: Instant,
}

impl Asking {
    /// Takes one of the fetches that tokens may ask for.
    fn take(&mut self, now: Instant) -> bool {
        while self.left < BURST && now.duration_since(self.counted) >= COOLDOWN {
            self.left += 1;
            self.counted += COOLDOWN;
        }
        if self.left == BURST {
            self.counted = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// The keys at one time.
#[derive(Debug)]
pub(crate) struct KeySet {
    pub(crate) set: JwkSet,
    pub(crate) generation: u64,
    fetched: Instant,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The keys of a source, and which keys of a file were left out. A file is read now; a URL is
    /// fetched by the task that [`KeyRing::keep_fresh`] runs.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub(crate) fn get(&self, source: &JwksSource) -> Result<(Arc<Keys>, Vec<String>), String> {
        let mut left_out = Vec::new();
        let parsed = match source {
            JwksSource::Url(_) => None,
            JwksSource::File(path) => {
                let shown = path.display();
                let text = std::fs::read(path)
                    .map_err(|error| format!("cannot read `{shown}`: {error}"))?;
                let (set, without) = JwkSet::parse(&text)
                    .map_err(|error| format!("`{shown}` is no key set: {error}"))?;
                left_out.extend(
                    without
                        .into_iter()
                        .map(|why| format!("a key of `{shown}` is left out: {why}")),
                );
                if set.is_empty() {
                    return Err(format!("`{shown}` holds no key that could verify a token"));
                }
                Some(set)
            }
        };
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = ring
            .entry(format!("{source:?}"))
            .or_insert_with(|| Arc::new(Keys::new(source.clone())));
        if let Some(set) = parsed {
            keys.install(set);
        }
        Ok((Arc::clone(keys), left_out))
    }

    /// Fetches the sets that come from URLs, for ever. Runs outside the request path.
    pub(crate) async fn keep_fresh(&self) {
        let fetcher = Fetcher::new();
        let mut running: HashMap<String, tokio::task::JoinHandle<()>> = HashMap::new();
        loop {
            running.retain(|_, task| !task.is_finished());
            let known: Vec<(String, Arc<Keys>)> = {
                let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                // What no configuration in use names any more is held here and by its task alone.
                ring.retain(|name, keys| {
                    Arc::strong_count(keys) > 1 + usize::from(running.contains_key(name))
                });
                running.retain(|name, task| {
                    let kept = ring.contains_key(name);
                    if !kept {
                        task.abort();
                    }
                    kept
                });
                ring.iter()
                    .map(|(name, keys)| (name.clone(), Arc::clone(keys)))
                    .collect()
            };
            for (name, keys) in known {
                if let JwksSource::Url(url) = keys.source.clone()
                    && !running.contains_key(&name)
                {
                    let fetcher = fetcher.clone();
                    running.insert(
                        name,
                        tokio::task::spawn_local(keys.fetch_for_ever(url, fetcher)),
                    );
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Keys {
    fn new(source: JwksSource) -> Self {
        Self {
            source,
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            attempts: watch::Sender::new(0),
            // The first fetch begins by itself.
            asking: Mutex::new(Asking {
                under_way: true,
                left: BURST,
                counted: Instant::now(),
            }),
        }
    }

    /// The keys, if there are any that are not too old.
    pub(crate) fn current(&self) -> Option<Arc<KeySet>> {
        let keys = self.current.load_full()?;
        let usable = matches!(self.source, JwksSource::File(_)) || keys.fetched.elapsed() < STALE;
        usable.then_some(keys)
    }

    /// Keys that are newer than `generation`, fetched together with all others who ask. `None` if
    /// there are none: the source is a file, or was asked a moment ago, or does not answer.
    pub(crate) async fn refreshed(&self, generation: Option<u64>) -> Option<Arc<KeySet>> {
        let newer = || {
            self.current()
                .filter(|keys| generation.is_none_or(|known| keys.generation > known))
        };
        if let Some(keys) = newer() {
            return Some(keys);
        }
        if matches!(self.source, JwksSource::File(_)) {
            return None;
        }
        let mut attempts = self.attempts.subscribe();
        if !self.is_under_way(generation.is_some()) {
            // The fetch may have ended just now.
            return newer();
        }
        let waited = tokio::time::timeout(PATIENCE, attempts.changed()).await;
        if waited.is_err() {
            tracing::debug!("no keys within {PATIENCE:?}");
        }
        newer()
    }

    /// Whether a fetch is on its way, which a token with an unknown key may ask for. Without any
    /// keys the next one comes soon by itself.
    fn is_under_way(&self, may_ask: bool) -> bool {
        let mut asking = self.asking();
        if !asking.under_way && may_ask && asking.take(Instant::now()) {
            asking.under_way = true;
            self.wanted.notify_one();
        }
        asking.under_way
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, set: JwkSet) {
        let known = self.current.load_full();
        if known
            .as_ref()
            .is_some_and(|known| known.set.fingerprint() == set.fingerprint())
        {
            let generation = known.map_or(0, |known| known.generation);
            self.current.store(Some(Arc::new(KeySet {
                set,
                generation,
                fetched: Instant::now(),
            })));
            return;
        }
        let generation = known.map_or(1, |known| known.generation + 1);
        self.current.store(Some(Arc::new(KeySet {
            set,
            generation,
            fetched: Instant::now(),
        })));
    }

    async fn fetch_for_ever(self: Arc<Self>, url: String, fetcher: Fetcher) {
        loop {
            self.asking().under_way = true;
            let pause = match self.fetch_once(&url, &fetcher).await {
                Ok(()) => REFRESH,
                Err(why) => {
                    tracing::warn!(url, why, "keys could not be fetched");
                    if self.current().is_some() {
                        RETRY
                    } else {
                        RETRY_WITHOUT
                    }
                }
            };
            self.asking().under_way = false;
            self.attempts.send_modify(|attempts| *attempts += 1);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    async fn fetch_once(&self, url: &str, fetcher: &Fetcher) -> Result<(), String> {
        let body = fetcher
            .get(
                url,
                fetch::Limits {
                    bytes: fortress_auth::MAX_KEY_SET,
                    time: PATIENCE,
                },
            )
            .await?;
        let (set, left_out) = JwkSet::parse(&body).map_err(|error| error.to_string())?;
        for why in left_out {
            tracing::debug!(url, why, "a key is left out");
        }
        if set.is_empty() {
            return Err("the set holds no key that could verify a token".into());
        }
        self.install(set);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_may_ask_for_few_fetches_at_once_and_then_one_each_cooldown() {
        let start = Instant::now();
        let mut asking = Asking {
            under_way: false,
            left: BURST,
            counted: start,
        };
        let mut count = |after: Duration| (0..100).filter(|_| asking.take(start + after)).count();
        assert_eq!(count(Duration::from_secs(1)), 2);
        assert_eq!(count(Duration::from_secs(3)), 0);
        assert_eq!(count(Duration::from_secs(6)), 1);
        assert_eq!(count(Duration::from_secs(7)), 0);
        assert_eq!(count(Duration::from_secs(1000)), 2);
    }
}
