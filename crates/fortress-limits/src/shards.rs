//! A table of bounded size whose slots are larger than an atomic: sets of eight, in shards with a
//! lock each. A lock is held for the look at one set, and never while anything waits.
//!
//! Deliberately not here: what a slot holds, and which slot a newcomer gets.

use std::sync::{Mutex, PoisonError};

use crate::Key;

/// Slots that a key can be in.
pub(crate) const WAYS: usize = 8;

/// Slots for each key that a table is made for: it is at most a quarter full.
const ROOM: usize = 4;

/// The most slots of a table.
const MOST_SLOTS: usize = 1 << 26;

/// The most shards: more than there are cores.
const MOST_SHARDS: usize = 256;

/// A table of slots.
pub(crate) struct Shards<S> {
    shards: Box<[Mutex<Box<[S]>>]>,
    shard_mask: u64,
    set_mask: u64,
    shard_bits: u32,
}

impl<S: Clone + Default> Shards<S> {
    /// A table that is a quarter full with `keys` keys.
    pub(crate) fn new(keys: usize) -> Self {
        let slots = keys.saturating_mul(ROOM).clamp(WAYS, MOST_SLOTS);
        let sets = (slots / WAYS).next_power_of_two();
        let shards = sets.min(MOST_SHARDS);
        let each = sets / shards;
        let mask = |count: usize| u64::try_from(count.saturating_sub(1)).unwrap_or(0);
        Self {
            shards: (0..shards)
                .map(|_| Mutex::new(vec![S::default(); each * WAYS].into_boxed_slice()))
                .collect(),
            shard_mask: mask(shards),
            set_mask: mask(each),
            shard_bits: shards.trailing_zeros(),
        }
    }

    /// Lets `look` at the key's set, alone.
    pub(crate) fn with_set<T>(&self, key: Key, look: impl FnOnce(&mut [S]) -> T) -> T {
        let index = |bits: u64| usize::try_from(bits).unwrap_or(0);
        let shard = index(key.place() & self.shard_mask);
        let start = index((key.place() >> self.shard_bits) & self.set_mask) * WAYS;
        let Some(shard) = self.shards.get(shard) else {
            return look(&mut []);
        };
        // A slot is whole after every statement: a panic leaves nothing half changed.
        let mut slots = shard.lock().unwrap_or_else(PoisonError::into_inner);
        look(slots.get_mut(start..start + WAYS).unwrap_or_default())
    }

    /// Shows every slot, one shard at a time.
    pub(crate) fn each(&self, mut show: impl FnMut(&mut S)) {
        for shard in &self.shards {
            let mut slots = shard.lock().unwrap_or_else(PoisonError::into_inner);
            slots.iter_mut().for_each(&mut show);
        }
    }

    /// Bytes of the table.
    pub(crate) fn bytes(&self) -> usize {
        let slots: usize = self
            .shards
            .iter()
            .map(|shard| size_of_val(&**shard.lock().unwrap_or_else(PoisonError::into_inner)))
            .sum();
        slots + size_of_val(&*self.shards)
    }
}
