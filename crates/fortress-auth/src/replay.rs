//! What came already: signed requests and webhooks, by a hash of what makes each the one that it
//! is, until it would be refused for its age.
//!
//! **When it is full, it refuses.** Forgetting the oldest instead would let whoever can sign
//! something push another's request out and send it again.

use std::{
    collections::{BTreeSet, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fortress_model::{Reason, Timestamp};

/// The most that is remembered, whatever is asked for: about 150 bytes each.
pub const MAX_REMEMBERED: usize = 4_000_000;

/// Parts with a lock of their own.
const SHARDS: usize = 64;

/// Why something is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplayError {
    /// It came before.
    #[error("this very request came before")]
    Again,
    /// There is no room to remember it, so it could come again unseen.
    #[error("too many signed requests are remembered; raise the room for them")]
    Full,
}

impl ReplayError {
    /// The refusal that this is.
    pub fn reason(self) -> Reason {
        Reason::CredentialInvalid
    }
}

/// What came already. Shared freely between threads.
pub struct Replays {
    shards: Box<[Mutex<Shard>]>,
    room: usize,
}

#[derive(Default)]
struct Shard {
    known: HashSet<[u8; 32]>,
    /// The same, with the time from which on each may be forgotten, the earliest first.
    order: BTreeSet<(Timestamp, [u8; 32])>,
}

impl Replays {
    /// Remembers at most about this many.
    pub fn new(room: usize) -> Self {
        let room = room.min(MAX_REMEMBERED);
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            room: room.div_ceil(SHARDS).max(1),
        }
    }

    /// Notes that something came; `until` it would be refused for its age. INVARIANT: called once
    /// for each, after its signature was verified.
    ///
    /// # Errors
    /// It came before, or there is no room to remember it.
    pub fn remember(
        &self,
        what: &[u8; 32],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), ReplayError> {
        let mut shard = self.shard(what).ok_or(ReplayError::Full)?;
        while let Some(&(over, known)) = shard.order.first()
            && over <= now
        {
            shard.order.pop_first();
            shard.known.remove(&known);
        }
        if shard.known.contains(what) {
            return Err(ReplayError::Again);
        }
        if shard.known.len() >= self.room {
            return Err(ReplayError::Full);
        }
        shard.known.insert(*what);
        shard.order.insert((until, *what));
        Ok(())
    }

    /// How many are remembered, those that may be forgotten but were not yet included.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).known.len())
            .sum()
    }

    /// Nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// By the last byte of a hash that no sender without a key can choose.
    fn shard(&self, what: &[u8; 32]) -> Option<MutexGuard<'_, Shard>> {
        let [.., last] = what;
        self.shards.get(usize::from(*last) % SHARDS).map(lock)
    }
}

/// A panic elsewhere leaves no shard half changed: no step between two changes can panic.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Replays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Replays({} remembered)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: u8) -> [u8; 32] {
        let mut name = [0; 32];
        name[0] = number;
        name
    }

    #[test]
    fn what_came_is_refused_until_its_age_does_so() {
        let replays = Replays::new(1_000);
        let remember =
            |number, now| replays.remember(&name(number), Timestamp(100), Timestamp(now));
        assert_eq!(remember(1, 0), Ok(()));
        assert_eq!(remember(2, 0), Ok(()));
        assert_eq!(remember(1, 0), Err(ReplayError::Again));
        assert_eq!(remember(1, 99), Err(ReplayError::Again));
        assert_eq!(replays.len(), 2);
        assert_eq!(remember(1, 100), Ok(()));
        assert_eq!(replays.len(), 1);
    }

    #[test]
    fn nothing_is_pushed_out() {
        let replays = Replays::new(2 * SHARDS);
        let remember =
            |number, until| replays.remember(&name(number), Timestamp(until), Timestamp(5));
        assert_eq!(remember(1, 10), Ok(()));
        assert_eq!(remember(2, 20), Ok(()));
        assert_eq!(remember(3, 30), Err(ReplayError::Full));
        assert_eq!(remember(1, 10), Err(ReplayError::Again));
        assert_eq!(
            replays.remember(&name(3), Timestamp(30), Timestamp(10)),
            Ok(())
        );
        assert_eq!(
            replays.remember(&name(2), Timestamp(20), Timestamp(10)),
            Err(ReplayError::Again)
        );
        assert!(!replays.is_empty());
    }
}
