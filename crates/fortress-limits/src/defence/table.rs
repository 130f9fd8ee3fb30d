//! A table of states by key that never grows: what is counted about those who log in.
//!
//! As the table of [`gcra`](crate::gcra): sets of eight slots, a key in one set only, chosen by bits of
//! a hash that nobody outside can foresee. States are larger than a word here and change seldom, so
//! that a set has a lock instead of compare-and-swap.
//!
//! **Eviction.** A full set gives the slot of the least [`Worth`] to the newcomer. A flood of new keys,
//! each seen once, evicts others of its kind and leaves those alone that are worth more. What was lost
//! is counted.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crate::Key;

/// Slots of a set.
const WAYS: usize = 8;

/// How much it matters to remember a state.
pub(super) trait Worth: Copy + Default {
    /// Zero means that nothing is lost with it.
    fn worth(&self, now: u64) -> u64;
}

/// States by key.
#[derive(Debug)]
pub(super) struct Table<V> {
    sets: Box<[Mutex<[Slot<V>; WAYS]>]>,
    mask: u64,
    evicted: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot<V> {
    /// Nobody's, if `None`.
    key: Option<Key>,
    state: V,
}

impl<V: Worth> Table<V> {
    /// At least so many slots, rounded up to a power of two; all memory is taken at once.
    pub(super) fn new(slots: usize) -> Self {
        let sets = slots.div_ceil(WAYS).max(1).next_power_of_two();
        Self {
            sets: (0..sets)
                .map(|_| Mutex::new([Slot::default(); WAYS]))
                .collect(),
            mask: u64::try_from(sets.saturating_sub(1)).unwrap_or(0),
            evicted: AtomicU64::new(0),
        }
    }

    /// Changes the state of a key, which begins as the default if it was not there.
    pub(super) fn with<T>(&self, key: Key, now: u64, change: impl FnOnce(&mut V) -> T) -> T {
        let Some(mut set) = self.set(key) else {
            return change(&mut V::default());
        };
        let known = set.iter().position(|slot| slot.key == Some(key));
        let place = known.unwrap_or_else(|| {
            let worth = |slot: &Slot<V>| slot.key.map_or(0, |_| slot.state.worth(now));
            let least = set
                .iter()
                .enumerate()
                .min_by_key(|(_, slot)| worth(slot))
                .map_or(0, |(at, _)| at);
            if set.get(least).is_some_and(|slot| worth(slot) > 0) {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(slot) = set.get_mut(least) {
                *slot = Slot {
                    key: Some(key),
                    state: V::default(),
                };
            }
            least
        });
        match set.get_mut(place) {
            Some(slot) => change(&mut slot.state),
            None => change(&mut V::default()),
        }
    }

    /// Changes the state of a key that is there.
    pub(super) fn if_there(&self, key: Key, change: impl FnOnce(&mut V)) {
        if let Some(mut set) = self.set(key)
            && let Some(slot) = set.iter_mut().find(|slot| slot.key == Some(key))
        {
            change(&mut slot.state);
        }
    }

    /// The state of a key; the default if it is not there.
    pub(super) fn get(&self, key: Key) -> V {
        let Some(set) = self.set(key) else {
            return V::default();
        };
        let found = set.iter().find(|slot| slot.key == Some(key));
        found.map_or_else(V::default, |slot| slot.state)
    }

    /// Empties the slots whose state means nothing any more, so that not even its hash is left.
    pub(super) fn tidy(&self, now: u64) {
        for set in &self.sets {
            for slot in &mut *locked(set) {
                if slot.key.is_some() && slot.state.worth(now) == 0 {
                    *slot = Slot::default();
                }
            }
        }
    }

    /// What is worth anything, set by set: for what is written down, not for requests.
    pub(super) fn each(&self, now: u64, mut see: impl FnMut(Key, &V)) {
        for set in &self.sets {
            for slot in &*locked(set) {
                if let Some(key) = slot.key
                    && slot.state.worth(now) > 0
                {
                    see(key, &slot.state);
                }
            }
        }
    }

    /// Keys that lost a state which still meant something.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    fn set(&self, key: Key) -> Option<MutexGuard<'_, [Slot<V>; WAYS]>> {
        let index = usize::try_from(key.place() & self.mask).unwrap_or(0);
        self.sets.get(index).map(locked)
    }
}

/// A panic between two changes leaves each slot whole.
fn locked<T>(set: &Mutex<T>) -> MutexGuard<'_, T> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default)]
    struct Seen(u64);

    impl Worth for Seen {
        fn worth(&self, now: u64) -> u64 {
            if now < 100 { self.0 } else { 0 }
        }
    }

    fn key(number: u64) -> Key {
        Key::from_halves(number + 1, number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    #[test]
    fn a_flood_of_keys_evicts_those_that_matter_least_and_takes_no_memory() {
        let table: Table<Seen> = Table::new(1024);
        let bytes = table.bytes();
        for number in 0..64 {
            table.with(key(number), 0, |seen| seen.0 = 50);
        }
        for number in 1_000..1_001_000 {
            table.with(key(number), 0, |seen| seen.0 += 1);
        }
        assert_eq!(table.bytes(), bytes);
        assert!(table.evicted() > 990_000);
        for number in 0..64 {
            assert_eq!(table.get(key(number)).0, 50);
        }
    }

    #[test]
    fn what_means_nothing_any_more_is_emptied() {
        let table: Table<Seen> = Table::new(8);
        table.with(key(1), 0, |seen| seen.0 = 3);
        table.if_there(key(1), |seen| seen.0 += 1);
        table.if_there(key(2), |seen| seen.0 += 1);
        let mut found = Vec::new();
        table.each(0, |key, seen| found.push((key, seen.0)));
        assert_eq!(found, [(key(1), 4)]);
        table.tidy(100);
        assert_eq!(table.get(key(1)).0, 0);
        assert_eq!(table.get(key(2)).0, 0);
        assert_eq!(table.evicted(), 0);
    }
}
