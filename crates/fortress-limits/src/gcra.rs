//! Rates with bursts, by the generic cell rate algorithm (GCRA), in a table that never grows.
//!
//! GCRA keeps one number a key, the theoretical arrival time (TAT): when the key will have paid for
//! all that it took. A request of cost `c` moves it by `c` intervals, and is refused if that puts it
//! further ahead of now than the burst allows. There is no tick and nothing to refill, and a key whose
//! TAT has passed holds no information at all: its slot is as good as empty.
//!
//! Deliberately not here: what a key is made of (`key`), and quotas of calendar windows (`quota`).
//!
//! # The table
//! A slot is 16 bytes: 64 bits of the key's hash as its tag, and 58 bits of TAT with 6 bits of a
//! generation. Eight slots are a set; a key can be in one set only, chosen by other bits of its
//! hash. The hash is keyed, so nobody outside can choose who shares a set.
//!
//! **Exact under contention.** A key that is in the table is found and moved without a lock: one
//! compare-and-swap on its state. The state changes with every move, and its generation with every
//! change of owner, so a swap succeeds only if the slot still belongs to the key and nobody moved it
//! since it was read. (To be fooled, a thread would have to sleep between its read and its swap
//! while the slot changes owners a multiple of 64 times and ends at the same nanosecond.) Only a key
//! that is not there takes a lock, which serialises those who would claim slots of the same set, so
//! that one key never gets two slots.
//!
//! **Eviction.** A set that is full gives the slot with the oldest TAT to the newcomer. If that TAT
//! has passed, nothing is lost. Otherwise the evicted key begins anew, with its whole burst; it is
//! the key of the set that had used the least. So a flood of keys makes the table forgetful about
//! those who are far from their limit, and forgets those who are at their limit last. Each loss is
//! counted ([`Gcra::evicted`]); how often it happens at which load is measured in the crate's README.

use std::{
    array,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Decision, Key};

/// Slots of a set: two cache lines.
const WAYS: usize = 8;

/// Slots for each key that the table is made for: it is at most a quarter full.
const ROOM: usize = 4;

/// The most slots of a table: 4 GiB.
const MOST_SLOTS: usize = 1 << 28;

/// Locks for those who claim slots; more than there are cores.
const LOCKS: usize = 256;

const GENERATION_BITS: u32 = 6;
const GENERATIONS: u64 = (1 << GENERATION_BITS) - 1;

/// A slot that is changing its owner: no time, and never equal to one.
const CLAIMED: u64 = u64::MAX >> GENERATION_BITS;

/// The last time that a slot can hold: nine years after the clock's zero.
const LATEST: u64 = CLAIMED - 1;

/// The longest that a burst may take to be earned back: 4.5 years.
const LONGEST: u64 = 1 << 57;

/// A rate and its burst.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Nanoseconds that one unit takes to be earned back.
    interval: u64,
    /// Units that can be taken at once.
    burst: u64,
    /// `burst` intervals.
    tolerance: u64,
}

/// Why there is no such rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RateError {
    /// Nothing could ever be taken.
    #[error("a rate or burst of zero lets nothing pass; write at least 1")]
    Zero,
    /// More than one unit a nanosecond, or a burst that takes years to be earned back.
    #[error("a rate goes up to 1 a nanosecond, and its burst is earned back within 4 years")]
    Range,
}

impl Rate {
    /// `count` units in each `period`, of which `burst` can be taken at once.
    ///
    /// The interval is rounded up to whole nanoseconds, so that a rate is never exceeded.
    pub fn new(count: u64, period: Duration, burst: u64) -> Result<Self, RateError> {
        if count == 0 || burst == 0 || period.is_zero() {
            return Err(RateError::Zero);
        }
        let period = u64::try_from(period.as_nanos()).map_err(|_| RateError::Range)?;
        if count > period {
            return Err(RateError::Range);
        }
        let interval = period.div_ceil(count);
        let tolerance = interval.checked_mul(burst).ok_or(RateError::Range)?;
        if tolerance > LONGEST {
            return Err(RateError::Range);
        }
        Ok(Self {
            interval,
            burst,
            tolerance,
        })
    }

    /// How long one unit takes to be earned back.
    pub fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// Units that can be taken at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// How long the whole burst takes to be earned back: the window of the headers.
    pub fn window(&self) -> Duration {
        Duration::from_nanos(self.tolerance)
    }

    /// One of `parts` equal shares, for instances that cannot ask each other. At least one unit can
    /// be taken at once, or nothing ever could.
    #[must_use]
    pub fn share(&self, parts: u32) -> Self {
        let parts = u64::from(parts.max(1));
        let interval = self.interval.saturating_mul(parts).min(LONGEST);
        let burst = (self.burst / parts).clamp(1, LONGEST / interval);
        Self {
            interval,
            burst,
            tolerance: interval.saturating_mul(burst),
        }
    }

    /// The decision for a key with this TAT, and the TAT that it moves to if it moves.
    fn judge(&self, tat: u64, cost: u64, now: u64) -> (Decision, Option<u64>) {
        let start = tat.max(now);
        let horizon = now.saturating_add(self.tolerance);
        let next = start.saturating_add(self.interval.saturating_mul(cost));
        let fits = next <= horizon && next <= LATEST;
        let end = if fits { next } else { start };
        let wait = if fits {
            Some(0)
        } else if cost > self.burst {
            None
        } else {
            Some(next.saturating_sub(horizon).max(1))
        };
        let decision = Decision {
            allowed: fits,
            remaining: horizon.saturating_sub(end) / self.interval,
            retry_after: wait.map(Duration::from_nanos),
            reset_after: Duration::from_nanos(end.saturating_sub(now)),
        };
        (decision, (fits && cost > 0).then_some(next))
    }

    /// The TAT of a key that owes `cost` more, whether or not it may.
    fn owing(&self, tat: u64, cost: u64, now: u64) -> u64 {
        let debt = self.interval.saturating_mul(cost).min(LONGEST);
        let furthest = now.saturating_add(LONGEST).min(LATEST);
        tat.max(now).saturating_add(debt).min(furthest)
    }
}

/// The table of all keys.
#[derive(Debug)]
pub struct Gcra {
    sets: Box<[Set]>,
    mask: u64,
    locks: Box<[Mutex<()>]>,
    evicted: AtomicU64,
}

#[derive(Debug)]
#[repr(align(128))]
struct Set {
    slots: [Slot; WAYS],
}

#[derive(Debug, Default)]
struct Slot {
    /// Bits of the key's hash; zero is nobody.
    tag: AtomicU64,
    /// TAT and generation.
    state: AtomicU64,
}

impl Gcra {
    /// A table that is a quarter full with `keys` live keys. It takes `64 * keys` bytes, rounded up
    /// to a power of two and capped at 4 GiB, at once and for good.
    pub fn new(keys: usize) -> Self {
        let slots = keys.saturating_mul(ROOM).clamp(WAYS, MOST_SLOTS);
        let sets = (slots / WAYS).next_power_of_two();
        Self {
            sets: (0..sets)
                .map(|_| Set {
                    slots: array::from_fn(|_| Slot::default()),
                })
                .collect(),
            mask: u64::try_from(sets.saturating_sub(1)).unwrap_or(0),
            locks: (0..LOCKS).map(|_| Mutex::new(())).collect(),
            evicted: AtomicU64::new(0),
        }
    }

    /// Takes `cost` units if they are there. `now` is in nanoseconds of a clock that does not go
    /// back, counted from the process's start.
    ///
    /// Cost zero is always allowed and takes nothing.
    pub fn take(&self, key: Key, rate: &Rate, cost: u64, now: u64) -> Decision {
        self.update(key, now, |tat| rate.judge(tat, cost, now))
    }

    /// What [`Gcra::take`] would say, without taking.
    pub fn peek(&self, key: Key, rate: &Rate, cost: u64, now: u64) -> Decision {
        let tat = self.find(key).map_or(0, |(_, state)| tat_of(state));
        rate.judge(tat, cost, now).0
    }

    /// Takes `cost` units whether or not they are there: a cost that is known only afterwards. The
    /// key pays the debt before anything is allowed again.
    pub fn charge(&self, key: Key, rate: &Rate, cost: u64, now: u64) {
        if cost > 0 {
            self.update(key, now, |tat| ((), Some(rate.owing(tat, cost, now))));
        }
    }

    /// Gives back `cost` units that were taken. A key that was evicted since has nothing to get.
    pub fn refund(&self, key: Key, rate: &Rate, cost: u64) {
        let credit = rate.interval.saturating_mul(cost);
        while let Some((slot, state)) = self.find(key) {
            let next = with_tat(state, tat_of(state).saturating_sub(credit));
            if slot.swap(state, next) {
                return;
            }
        }
    }

    /// Keys that lost a state which still meant something, because their set was full.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Keys whose state means something at `now`. It walks the whole table: for metrics, not for
    /// requests.
    pub fn live(&self, now: u64) -> usize {
        let slots = self.sets.iter().flat_map(|set| &set.slots);
        slots
            .filter(|slot| {
                let state = slot.state.load(Ordering::Relaxed);
                slot.tag.load(Ordering::Relaxed) != 0 && tat_of(state) > now
            })
            .count()
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.sets) + size_of_val(&*self.locks)
    }

    /// Finds a key's state and moves it, or gives it a slot. `judge` may be asked again when others
    /// were faster; what it says last holds.
    fn update<T>(&self, key: Key, now: u64, judge: impl Fn(u64) -> (T, Option<u64>)) -> T {
        loop {
            if let Some((slot, state)) = self.find(key) {
                let (said, next) = judge(tat_of(state));
                let Some(next) = next else {
                    return said;
                };
                if slot.swap(state, with_tat(state, next)) {
                    return said;
                }
            } else {
                let (said, next) = judge(0);
                let Some(next) = next else {
                    return said;
                };
                if self.claim(key, next, now) {
                    return said;
                }
            }
        }
    }

    fn set(&self, key: Key) -> &[Slot] {
        let index = usize::try_from(key.place() & self.mask).unwrap_or(0);
        self.sets.get(index).map_or(&[], |set| &set.slots)
    }

    /// The key's slot, and its state as it was while the slot was the key's.
    fn find(&self, key: Key) -> Option<(&Slot, u64)> {
        let tag = key.tag();
        self.set(key).iter().find_map(|slot| {
            if slot.tag.load(Ordering::Relaxed) != tag {
                return None;
            }
            // INVARIANT: the tag is read after the state. An owner sets the tag before its first
            // state, and claims the slot before it sets the tag: if the tag is the key's and the
            // state is one that another owner left, the swap that follows fails.
            let state = slot.state.load(Ordering::Acquire);
            let is_key = slot.tag.load(Ordering::Acquire) == tag && tat_of(state) != CLAIMED;
            is_key.then_some((slot, state))
        })
    }

    /// Gives the key a slot; false if it has one already.
    fn claim(&self, key: Key, tat: u64, now: u64) -> bool {
        let lock = usize::try_from(key.place() & self.mask).unwrap_or(0) % LOCKS;
        let Some(lock) = self.locks.get(lock) else {
            return true;
        };
        // The lock guards no data that a panic could leave half changed.
        let _guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find(key).is_some() {
            return false;
        }
        loop {
            let oldest = self
                .set(key)
                .iter()
                .map(|slot| (slot, slot.state.load(Ordering::Acquire)))
                .min_by_key(|(_, state)| tat_of(*state));
            let Some((slot, state)) = oldest else {
                return true;
            };
            let generation = state.wrapping_add(1) & GENERATIONS;
            if !slot.swap(state, (CLAIMED << GENERATION_BITS) | generation) {
                continue;
            }
            if tat_of(state) > now {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            slot.tag.store(key.tag(), Ordering::Release);
            let first = (tat << GENERATION_BITS) | generation;
            slot.state.store(first, Ordering::Release);
            return true;
        }
    }
}

impl Slot {
    fn swap(&self, old: u64, new: u64) -> bool {
        self.state
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

fn tat_of(state: u64) -> u64 {
    state >> GENERATION_BITS
}

fn with_tat(state: u64, tat: u64) -> u64 {
    (tat << GENERATION_BITS) | (state & GENERATIONS)
}

#[cfg(test)]
mod tests;
