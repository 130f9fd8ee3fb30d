//! How many requests a key has in flight at once.
//!
//! A [`Permit`] is held for as long as the request lives and is given back when it is dropped, on
//! every way out. Nobody is ever evicted: a slot whose requests are in flight is in use. A newcomer
//! whose set is full of such slots is refused, so the table is made for at least as many keys as
//! there can be requests in flight; at a quarter full that is one newcomer in thousands (see the
//! crate's README).
//! Deliberately not here: what protects an upstream as a whole (`adaptive`).

use std::{fmt, sync::Arc};

use crate::{Key, shards::Shards};

/// The requests in flight of all keys.
pub struct Concurrency {
    slots: Shards<Slot>,
}

#[derive(Clone, Default)]
struct Slot {
    /// Bits of the key's hash.
    tag: u64,
    /// Requests in flight; zero is an empty slot.
    count: u64,
}

/// One request in flight. Dropping it ends it.
pub struct Permit {
    table: Arc<Concurrency>,
    key: Key,
    remaining: u64,
}

impl Permit {
    /// Requests that the key could have had in flight beside this one and those before it.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.table.leave(self.key);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.key)
    }
}

impl fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrency").finish_non_exhaustive()
    }
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Crowded {
    /// The key has as many requests in flight as it may.
    Limit,
    /// The table has no room for another key.
    Table,
}

impl Concurrency {
    /// A table for the requests of `keys` keys at once: 64 bytes a key, at once and for good.
    pub fn new(keys: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: Shards::new(keys),
        })
    }

    /// One more request of the key, if it has fewer than `limit`.
    pub fn enter(self: &Arc<Self>, key: Key, limit: u64) -> Result<Permit, Crowded> {
        let count = self.slots.with_set(key, |set| {
            let found = set
                .iter_mut()
                .find(|slot| slot.count > 0 && slot.tag == key.tag());
            if let Some(slot) = found {
                if slot.count >= limit {
                    return Err(Crowded::Limit);
                }
                slot.count += 1;
                return Ok(slot.count);
            }
            if limit == 0 {
                return Err(Crowded::Limit);
            }
            let free = set.iter_mut().find(|slot| slot.count == 0);
            let Some(slot) = free else {
                return Err(Crowded::Table);
            };
            *slot = Slot {
                tag: key.tag(),
                count: 1,
            };
            Ok(1)
        })?;
        Ok(Permit {
            table: Arc::clone(self),
            key,
            remaining: limit.saturating_sub(count),
        })
    }

    /// Requests that the key has in flight.
    pub fn in_flight(&self, key: Key) -> u64 {
        self.slots.with_set(key, |set| {
            let found = set
                .iter()
                .find(|slot| slot.count > 0 && slot.tag == key.tag());
            found.map_or(0, |slot| slot.count)
        })
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    fn leave(&self, key: Key) {
        self.slots.with_set(key, |set| {
            let found = set
                .iter_mut()
                .find(|slot| slot.count > 0 && slot.tag == key.tag());
            if let Some(slot) = found {
                slot.count -= 1;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    fn key(number: u64) -> Key {
        Key::from_halves(number + 1, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7)
    }

    #[test]
    fn permits_come_back_when_dropped() {
        let table = Concurrency::new(100);
        let first = table.enter(key(1), 2).unwrap();
        assert_eq!(first.remaining(), 1);
        let second = table.enter(key(1), 2).unwrap();
        assert_eq!(second.remaining(), 0);
        assert_eq!(table.enter(key(1), 2).unwrap_err(), Crowded::Limit);
        assert!(table.enter(key(2), 2).is_ok());
        drop(first);
        assert_eq!(table.in_flight(key(1)), 1);
        assert!(table.enter(key(1), 2).is_ok());
        drop(second);
        assert_eq!(table.in_flight(key(1)), 0);
        assert_eq!(table.enter(key(1), 0).unwrap_err(), Crowded::Limit);
    }

    #[test]
    fn a_panic_gives_back_too() {
        let table = Concurrency::new(100);
        let inner = Arc::clone(&table);
        let ended = thread::spawn(move || {
            let _permit = inner.enter(key(1), 1).unwrap();
            panic!("a guard failed");
        });
        assert!(ended.join().is_err());
        assert_eq!(table.in_flight(key(1)), 0);
    }

    #[test]
    fn a_full_table_refuses_newcomers_and_keeps_who_is_in() {
        let table = Concurrency::new(1);
        let held: Vec<_> = (0..8)
            .map(|who| table.enter(key(who), 5).unwrap())
            .collect();
        assert_eq!(table.enter(key(9), 5).unwrap_err(), Crowded::Table);
        assert!(table.enter(key(3), 5).is_ok());
        drop(held);
        assert!(table.enter(key(9), 5).is_ok());
    }

    #[test]
    fn threads_never_hold_more_than_the_limit() {
        let table = Concurrency::new(100);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Ok(permit) = table.enter(key(1), 3) {
                            let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(count, Ordering::SeqCst);
                            now.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(table.in_flight(key(1)), 0);
    }
}
