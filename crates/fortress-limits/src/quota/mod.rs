//! Quotas: so many units in each second, minute, hour, day or month of the calendar.
//!
//! A *calendar* quota is there anew at the window's edge, as a contract says it ("1000 a day"); two
//! quotas can be spent around an edge within moments. A *sliding* quota also counts the window
//! before, by the share of it that a window ending now would still cover, so that no window of that
//! length holds more than the quota if the one before was spent evenly.
//!
//! The table is bounded: eight slots a set, 48 bytes a slot, in shards with a lock each. A newcomer
//! to a full set takes a slot whose count no longer means anything, or else the smallest count's:
//! the least is forgotten. Quotas are for keys that someone vouches for (principals, tenants); where
//! anybody can make new keys, a rate forgets less (see `gcra`).
//!
//! Deliberately not here: storing. [`Quotas::unstored`], [`Quotas::stored`] and [`Quotas::import`] are for
//! whoever does.

mod window;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fortress_model::clock::Timestamp;
pub use fortress_model::config::QuotaEdge as Edge;
use jiff::tz::TimeZone;

pub use window::{Span, Unit, Windows};

use crate::{Decision, Key, shards::Shards};

/// So many units in each window.
#[derive(Clone, Debug)]
pub struct Quota {
    limit: u64,
    windows: Arc<Windows>,
    edge: Edge,
}

impl Quota {
    /// `limit` units in each `unit` of `zone`'s calendar.
    pub fn new(limit: u64, unit: Unit, zone: TimeZone, edge: Edge) -> Self {
        Self {
            limit,
            windows: Arc::new(Windows::new(unit, zone)),
            edge,
        }
    }

    /// One of `parts` equal shares, for instances that cannot ask each other. At least one unit, or
    /// nothing could ever be taken.
    #[must_use]
    pub fn share(&self, parts: u32) -> Self {
        Self {
            limit: (self.limit / u64::from(parts.max(1))).max(1),
            ..self.clone()
        }
    }

    /// Units of a window.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The windows.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// What happens at a window's edge.
    pub fn edge(&self) -> Edge {
        self.edge
    }
}

/// What a store knows of a key's count. It holds nothing of what the key was made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// The key's halves ([`Key::to_halves`]).
    pub key: (u64, u64),
    /// The window.
    pub window: Span,
    /// Units taken in it.
    pub used: u64,
}

/// What a store does not know yet of a key's count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unstored {
    /// The key's halves ([`Key::to_halves`]).
    pub key: (u64, u64),
    /// The window that is counted.
    pub window: Span,
    /// Units taken in it since; negative for units that were given back.
    pub more: i64,
}

/// The counts of all keys.
pub struct Quotas {
    slots: Shards<Slot>,
    evicted: AtomicU64,
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: (u64, u64),
    /// A packed [`Span`]; zero is an empty slot.
    window: u64,
    used: u64,
    before: u64,
    /// Of `used`, what a store knows.
    stored: u64,
}

/// What of a slot counts in a window.
#[derive(Clone, Copy, Default)]
struct Count {
    used: u64,
    before: u64,
    stored: u64,
}

impl Quotas {
    /// A table that is a quarter full with `keys` keys. It takes 192 bytes a key, at once and for
    /// good.
    pub fn new(keys: usize) -> Self {
        Self {
            slots: Shards::new(keys),
            evicted: AtomicU64::new(0),
        }
    }

    /// Takes `cost` units if they are there.
    pub fn take(&self, key: Key, quota: &Quota, cost: u64, now: Timestamp) -> Decision {
        let span = quota.windows.at(now);
        self.slots.with_set(key, |set| {
            let slot = place(set, key);
            let held = slot.as_deref().copied();
            let span = held.map_or(span, |slot| slot.current(span));
            let count = held.map_or_else(Count::default, |slot| slot.count(span, quota));
            let decision = quota.judge(count, span, cost, now);
            if decision.allowed && cost > 0 {
                let count = Count {
                    used: count.used.saturating_add(cost),
                    ..count
                };
                self.put(set, key, span, count);
            }
            decision
        })
    }

    /// What [`Quotas::take`] would say, without taking.
    pub fn peek(&self, key: Key, quota: &Quota, cost: u64, now: Timestamp) -> Decision {
        let span = quota.windows.at(now);
        let held = self.slots.with_set(key, |set| place(set, key).copied());
        let span = held.map_or(span, |slot| slot.current(span));
        let count = held.map_or_else(Count::default, |slot| slot.count(span, quota));
        quota.judge(count, span, cost, now)
    }

    /// Takes `cost` units whether or not they are there: a cost that is known only afterwards.
    pub fn charge(&self, key: Key, quota: &Quota, cost: u64, now: Timestamp) {
        let span = quota.windows.at(now);
        self.slots.with_set(key, |set| {
            let held = place(set, key).copied();
            let span = held.map_or(span, |slot| slot.current(span));
            let count = held.map_or_else(Count::default, |slot| slot.count(span, quota));
            let used = count.used.saturating_add(cost);
            self.put(set, key, span, Count { used, ..count });
        });
    }

    /// Gives back `cost` units that were taken at `taken`. If that window is no longer counted,
    /// there is nothing to give back.
    pub fn refund(&self, key: Key, quota: &Quota, cost: u64, taken: Timestamp) {
        let window = quota.windows.at(taken);
        self.slots.with_set(key, |set| {
            let Some(slot) = place(set, key) else {
                return;
            };
            let current = Span::unpack(slot.window);
            if current == window {
                slot.used = slot.used.saturating_sub(cost);
            } else if window.end == current.start {
                slot.before = slot.before.saturating_sub(cost);
            }
        });
    }

    /// Shows what a store does not know yet, of windows that are not over at `now`, or only just. It locks
    /// one shard at a time.
    pub fn unstored(&self, now: Timestamp, mut show: impl FnMut(Unstored)) {
        self.slots.each(|slot| {
            let window = Span::unpack(slot.window);
            let over = window.end.saturating_mul(1_000_000_000);
            let matters = now.0 < over.saturating_add(window.length());
            if slot.window == 0 || slot.used == slot.stored || !matters {
                return;
            }
            let number = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
            show(Unstored {
                key: slot.key,
                window,
                more: number(slot.used) - number(slot.stored),
            });
        });
    }

    /// What was shown is stored, and the store's count is `total` now: with what others have counted
    /// beside it, which counts here too from now on.
    pub fn stored(&self, what: &Unstored, total: u64) {
        let key = Key::from_halves(what.key.0, what.key.1);
        self.slots.with_set(key, |set| {
            let Some(slot) = place(set, key) else {
                return;
            };
            if Span::unpack(slot.window) != what.window {
                return;
            }
            let known = slot.stored.saturating_add_signed(what.more);
            slot.used = slot.used.saturating_sub(known).saturating_add(total);
            slot.stored = total;
        });
    }

    /// Takes back what was stored. What was counted here meanwhile is added to it, so that a store
    /// that answers late loses nothing. Of two windows of a key the later one comes first.
    pub fn import(&self, record: Record) {
        let key = Key::from_halves(record.key.0, record.key.1);
        if record.window.end <= record.window.start {
            return;
        }
        self.slots.with_set(key, |set| {
            let count = Count {
                used: record.used,
                before: 0,
                stored: record.used,
            };
            let Some(slot) = place(set, key) else {
                self.put(set, key, record.window, count);
                return;
            };
            let held = Span::unpack(slot.window);
            if held == record.window {
                slot.used = slot.used.saturating_add(record.used);
                slot.stored = slot.stored.saturating_add(record.used);
            } else if record.window.end == held.start {
                slot.before = slot.before.saturating_add(record.used);
            } else if held.end <= record.window.start {
                self.put(set, key, record.window, count);
            }
        });
    }

    /// Keys that lost a count which still meant something, because their set was full.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.slots.bytes()
    }

    fn put(&self, set: &mut [Slot], key: Key, span: Span, count: Count) {
        let next = Slot {
            key: key.to_halves(),
            window: span.pack(),
            used: count.used,
            before: count.before,
            stored: count.stored,
        };
        if let Some(slot) = place(set, key) {
            *slot = next;
            return;
        }
        // What is over goes first, then what had counted the least.
        let over = |slot: &Slot| Span::unpack(slot.window).end <= span.start;
        let victim = set
            .iter_mut()
            .min_by_key(|slot| (!over(slot), slot.used.saturating_add(slot.before)));
        if let Some(slot) = victim {
            if !over(slot) {
                self.evicted.fetch_add(1, Ordering::Relaxed);
            }
            *slot = next;
        }
    }
}

impl Slot {
    /// The window to count in: a clock that went back over an edge does not give a new quota. One that was
    /// years ahead for a moment does not lock anybody out until then.
    fn current(&self, now: Span) -> Span {
        let held = Span::unpack(self.window);
        if held.start == now.end { held } else { now }
    }

    fn count(&self, span: Span, quota: &Quota) -> Count {
        let held = Span::unpack(self.window);
        if held == span {
            Count {
                used: self.used,
                before: self.before,
                stored: self.stored,
            }
        } else if held.end == span.start && quota.edge == Edge::Sliding {
            Count {
                before: self.used,
                ..Count::default()
            }
        } else if held.end > span.start {
            // The zone or unit was changed, and the windows overlap; or a clock was ahead: nothing is
            // forgiven.
            Count {
                used: self.used,
                before: self.before,
                stored: 0,
            }
        } else {
            Count::default()
        }
    }
}

impl Quota {
    fn judge(&self, count: Count, span: Span, cost: u64, now: Timestamp) -> Decision {
        let used = count
            .used
            .saturating_add(self.faded(count.before, span, now));
        let left = self.limit.saturating_sub(used);
        let allowed = cost <= left;
        let taken = if allowed { cost } else { 0 };
        let retry_after = if allowed {
            Some(0)
        } else {
            self.wait(count, span, cost, now)
        };
        Decision {
            allowed,
            remaining: left - taken,
            retry_after: retry_after.map(Duration::from_nanos),
            reset_after: Duration::from_nanos(self.reset(count, taken, span, now)),
        }
    }

    /// What the window before still counts for, rounded up.
    fn faded(&self, before: u64, span: Span, now: Timestamp) -> u64 {
        let length = u128::from(span.length().max(1));
        let left = u128::from(span.left(now)).min(length);
        let faded = (u128::from(before) * left).div_ceil(length);
        match self.edge {
            Edge::Sliding => u64::try_from(faded).unwrap_or(u64::MAX),
            Edge::Calendar => 0,
        }
    }

    /// Nanoseconds until `cost` units are there, if nobody takes any.
    fn wait(&self, count: Count, span: Span, cost: u64, now: Timestamp) -> Option<u64> {
        let room = self.limit.checked_sub(cost)?;
        let left = span.left(now);
        if self.edge == Edge::Calendar {
            return Some(left);
        }
        // `amount` fades to `room` when this much of its window is left.
        let until = |amount: u64, room: u64| {
            let share = u128::from(room) * u128::from(span.length()) / u128::from(amount.max(1));
            u64::try_from(share).unwrap_or(u64::MAX)
        };
        match room.checked_sub(count.used) {
            Some(room) => Some(left.saturating_sub(until(count.before, room))),
            None => {
                let next = span.length().saturating_sub(until(count.used, room));
                Some(left.saturating_add(next))
            }
        }
    }

    /// Nanoseconds until all of it is there again.
    fn reset(&self, count: Count, taken: u64, span: Span, now: Timestamp) -> u64 {
        let used = count.used.saturating_add(taken);
        match self.edge {
            Edge::Calendar => span.left(now),
            Edge::Sliding if used > 0 => span.left(now).saturating_add(span.length()),
            Edge::Sliding if count.before > 0 => span.left(now),
            Edge::Sliding => 0,
        }
    }
}

fn place(set: &mut [Slot], key: Key) -> Option<&mut Slot> {
    set.iter_mut()
        .find(|slot| slot.window != 0 && slot.key == key.to_halves())
}

#[cfg(test)]
mod tests;
