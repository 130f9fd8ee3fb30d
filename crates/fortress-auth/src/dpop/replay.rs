//! Which proofs were used already (RFC 9449, section 11.1).
//!
//! **When it is full, it refuses.** Forgetting the oldest instead would let a thief who holds one
//! valid token push a stolen proof out and use it again. What bounds the harm: only proofs that
//! came with a valid token are remembered, all those of one key share one of many shards, and which
//! one nobody outside knows.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fortress_model::Timestamp;

use super::{DpopError, Proof};

/// Proofs that are remembered at most, whatever is asked for: about 100 bytes each.
pub const MAX_REMEMBERED_PROOFS: usize = 4_000_000;

/// Keys that share a lock and a part of the room.
const SHARDS: usize = 64;

/// The proofs of the last while. Shared freely between threads.
pub struct ReplayCache {
    shards: Box<[Mutex<Shard>]>,
    /// Secret, and other in each process, so that nobody can aim at a shard.
    placing: RandomState,
    /// Nanoseconds; it only grows.
    window: AtomicU64,
    room: usize,
}

#[derive(Default)]
struct Shard {
    used: HashSet<[u8; 32]>,
    /// The same, oldest first, each with the time when it was used.
    order: VecDeque<(Timestamp, [u8; 32])>,
}

impl ReplayCache {
    /// Remembers this many proofs, for [`Dpop::window`](super::Dpop::window) each, the longest of
    /// those that are in force.
    pub fn new(proofs: usize, window: Duration) -> Self {
        let proofs = proofs.min(MAX_REMEMBERED_PROOFS);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            placing: RandomState::new(),
            window: AtomicU64::new(nanoseconds(window)),
            room: proofs.div_ceil(SHARDS).max(1),
        }
    }

    /// Remembers each proof for so long at least, those that are remembered now included. It is
    /// never shortened: what was accepted under the longer window could be shown again.
    pub fn widen(&self, window: Duration) {
        self.window
            .fetch_max(nanoseconds(window), Ordering::Relaxed);
    }

    /// Notes that a proof was used. INVARIANT: called once for each use, after the token was
    /// verified and [`bind`](crate::bind) held.
    ///
    /// # Errors
    /// It was used before, or there is no room to remember it.
    pub fn remember(&self, proof: &Proof, now: Timestamp) -> Result<(), DpopError> {
        let Some(mut shard) = self.shard(&proof.thumbprint) else {
            return Err(DpopError::ReplayCacheFull);
        };
        shard.forget(now, self.window.load(Ordering::Relaxed));
        if shard.used.contains(&proof.jti_hash) {
            return Err(DpopError::Replayed);
        }
        if shard.order.len() >= self.room {
            return Err(DpopError::ReplayCacheFull);
        }
        shard.used.insert(proof.jti_hash);
        shard.order.push_back((now, proof.jti_hash));
        Ok(())
    }

    /// How many proofs are remembered, those that may be forgotten but were not yet included.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).order.len())
            .sum()
    }

    /// No proof is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, thumbprint: &[u8; 32]) -> Option<MutexGuard<'_, Shard>> {
        let hash = self.placing.hash_one(thumbprint).to_le_bytes();
        let [first, ..] = hash;
        self.shards.get(usize::from(first) % SHARDS).map(lock)
    }
}

/// A panic elsewhere leaves no shard half changed: each change is complete before the next call.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    /// Strictly later than the window's end: at the very end a proof is still accepted.
    fn forget(&mut self, now: Timestamp, window: u64) {
        while let Some((used, name)) = self.order.front()
            && used.0.saturating_add(window) < now.0
        {
            self.used.remove(name);
            self.order.pop_front();
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for ReplayCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplayCache({} proofs)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(65);

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1_000_000_000)
    }

    fn proof(key: u8, id: u32) -> Proof {
        let mut jti_hash = [key; 32];
        jti_hash[..4].copy_from_slice(&id.to_be_bytes());
        Proof {
            thumbprint: [key; 32],
            jti_hash,
            issued: at(0),
        }
    }

    #[test]
    fn a_proof_is_used_once_within_its_window() {
        let cache = ReplayCache::new(1_000, WINDOW);
        assert_eq!(cache.remember(&proof(1, 1), at(100)), Ok(()));
        assert_eq!(
            cache.remember(&proof(1, 1), at(100)),
            Err(DpopError::Replayed)
        );
        assert_eq!(
            cache.remember(&proof(1, 1), at(165)),
            Err(DpopError::Replayed)
        );
        assert_eq!(cache.remember(&proof(1, 2), at(165)), Ok(()));
        assert_eq!(cache.len(), 2);
        let after = Timestamp(at(165).0 + 1);
        assert_eq!(cache.remember(&proof(1, 1), after), Ok(()));
        assert_eq!(cache.len(), 2, "the first use was forgotten");
    }

    #[test]
    fn a_longer_window_holds_for_what_is_remembered_already() {
        let cache = ReplayCache::new(1_000, WINDOW);
        assert_eq!(cache.remember(&proof(1, 1), at(100)), Ok(()));
        cache.widen(2 * WINDOW);
        cache.widen(WINDOW);
        assert_eq!(
            cache.remember(&proof(1, 1), at(230)),
            Err(DpopError::Replayed)
        );
        assert_eq!(cache.remember(&proof(1, 1), at(231)), Ok(()));
    }

    #[test]
    fn a_clock_that_goes_back_forgets_nothing() {
        let cache = ReplayCache::new(1_000, WINDOW);
        assert_eq!(cache.remember(&proof(1, 1), at(100)), Ok(()));
        assert_eq!(cache.remember(&proof(1, 2), at(50)), Ok(()));
        assert_eq!(
            cache.remember(&proof(1, 1), at(40)),
            Err(DpopError::Replayed)
        );
        assert_eq!(
            cache.remember(&proof(1, 2), at(115)),
            Err(DpopError::Replayed)
        );
    }

    #[test]
    fn a_full_cache_refuses_and_recovers() {
        let cache = ReplayCache::new(SHARDS * 10, WINDOW);
        for id in 0..10 {
            assert_eq!(cache.remember(&proof(1, id), at(100)), Ok(()));
        }
        assert_eq!(
            cache.remember(&proof(1, 10), at(100)),
            Err(DpopError::ReplayCacheFull)
        );
        assert_eq!(
            cache.remember(&proof(1, 3), at(100)),
            Err(DpopError::Replayed)
        );
        // One key fills its own shard alone; most other keys have another.
        let others = (2..=200).filter(|key| cache.remember(&proof(*key, 0), at(100)).is_ok());
        assert!(others.count() > 150);
        assert_eq!(cache.remember(&proof(1, 10), at(200)), Ok(()));
    }

    #[test]
    fn one_of_many_threads_wins() {
        let cache = ReplayCache::new(1_000, WINDOW);
        let wins: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        (0..100)
                            .filter(|id| cache.remember(&proof(7, *id % 10), at(100)).is_ok())
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum()
        });
        assert_eq!(wins, 10);
    }
}
