//! Units that this instance has taken from a shared limit and not spent yet.
//!
//! A lease grows while a key uses it up quickly, and shrinks when it doesn't; it is never more than
//! an eighth of the limit, nor of what is left for all, so that near its end a limit is shared unit
//! by unit. Before a lease is empty it is refilled beside a request that passes. What is not spent in
//! time is given back ([`Leases::sweep`]). A refusal is remembered for a moment, so that a key that is
//! over its limit costs the store nothing.
//!
//! The table is bounded like the others; what is evicted with it is lost to all until its limit
//! recovers, and never spent twice. Deliberately not here: calling.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Call, Reply, Shared, decision};
use crate::{Decision, Key, quota::Quota, shards::Shards};
use fortress_model::clock::Timestamp;

/// How long leased units of a rate may be spent, and after how long without a call they are given
/// back, in nanoseconds.
pub const LEASE_TIME: u64 = 1_000_000_000;

/// The most units of a lease.
pub const MOST_LEASED: u64 = 1_000;

/// A lease that is used up sooner than this grows, in nanoseconds.
const QUICK: u64 = 100_000_000;

/// A key that is at its rate is asked for so seldom, in nanoseconds: units are earned back one by one, and
/// would else cost a call each.
const PAUSE: u64 = 10_000_000;

const SECOND: u64 = 1_000_000_000;

/// Of a limit, or of what is left of it, a lease is at most this part.
const PART: u64 = 8;

/// The leases of all keys.
pub struct Leases {
    slots: Shards<Slot>,
    /// Keys that hold units, which [`Leases::sweep`] looks at: the table is far too large to be walked ten
    /// times a second.
    holders: Mutex<HashSet<Key>>,
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Slot {
    key: (u64, u64),
    /// What the limit measured when units were asked for: what is given back has to be told by it, also
    /// where a reload has changed the limit.
    shared: Option<Shared>,
    /// Units to spend.
    units: u64,
    /// Until then.
    expires: u64,
    /// Units that the next lease has.
    size: u64,
    /// When the store was last asked; zero is an empty slot.
    asked: u64,
    /// A lease is being fetched.
    pending: bool,
    /// What was left for all instances.
    remaining: u64,
    /// When all of it is there again.
    reset: u64,
    /// Until then costs from `refused` on are refused without asking.
    blocked: u64,
    refused: u64,
    /// When `refused` units will be there; zero for never.
    retry: u64,
    /// While the store is away: of a quota, what this instance may still let through.
    part: Option<u64>,
    /// What it has let through so, and the store does not know yet.
    debt: u64,
}

/// What to do with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spend {
    /// It passes. If `refill` is some, fetch that many units beside it, and report with
    /// [`Leases::refilled`].
    Pass {
        /// For the headers.
        decision: Decision,
        /// Units to lease.
        refill: Option<u64>,
    },
    /// It is refused, by what the store said a moment ago.
    Refuse(Decision),
    /// Ask the store for at least the cost and up to `want` units, and report with
    /// [`Leases::answered`] or [`Leases::failed`].
    Ask {
        /// Units to lease; at least the cost.
        want: u64,
    },
}

/// What the store's reply means for the request that asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It passes.
    Pass(Decision),
    /// It is refused.
    Refuse(Decision),
    /// Ask again, with arguments for this time: the clocks are a window apart.
    Again(Timestamp),
}

impl Leases {
    /// A table for `keys` keys: 600 bytes each.
    pub fn new(keys: usize) -> Self {
        Self {
            slots: Shards::new(keys),
            holders: Mutex::default(),
        }
    }

    /// Spends `cost` units of the lease, or says what to ask for. `now` is in nanoseconds of a clock
    /// that does not go back and is not at its zero.
    pub fn spend(&self, key: Key, shared: &Shared, cost: u64, now: u64) -> Spend {
        let most = most_leased(shared);
        self.slots.with_set(key, |set| {
            let slot = take_slot(set, key, now);
            let Some(slot) = slot else {
                return Spend::Ask { want: cost };
            };
            if now < slot.blocked && cost >= slot.refused {
                let wait =
                    (slot.retry > 0).then(|| Duration::from_nanos(slot.retry.saturating_sub(now)));
                let left = slot.remaining.min(cost.saturating_sub(1));
                return Spend::Refuse(decision(false, left, wait, slot.resets_in(now)));
            }
            let there = if now < slot.expires { slot.units } else { 0 };
            if there < cost {
                let want = slot.want(most, now, 0).max(cost);
                slot.shared = Some(shared.clone());
                return Spend::Ask {
                    want: want.saturating_add(slot.owed(now)),
                };
            }
            slot.units = there - cost;
            let is_low = slot.units < slot.size / 4;
            let more = if is_low {
                slot.want(most, now, slot.units)
            } else {
                0
            };
            if more > 0 {
                slot.shared = Some(shared.clone());
            }
            let left = slot.remaining.saturating_add(slot.units);
            Spend::Pass {
                decision: decision(true, left, None, slot.resets_in(now)),
                refill: (more > 0).then_some(more),
            }
        })
    }

    /// The store replied to a request that asked: its `cost` is spent, the rest is leased.
    pub fn answered(&self, key: Key, cost: u64, reply: &Reply, now: u64) -> Answer {
        let Reply::Granted {
            units,
            remaining,
            wait,
            reset,
            ..
        } = *reply
        else {
            let Reply::OtherWindow { now: theirs } = *reply else {
                return Answer::Refuse(decision(false, 0, None, Duration::ZERO));
            };
            return Answer::Again(theirs);
        };
        self.slots.with_set(key, |set| {
            if let Some(slot) = take_slot(set, key, now) {
                slot.learn(units.saturating_sub(cost), remaining, reset, now);
                self.hold(key, slot);
                if units < cost {
                    let nanos = wait.and_then(|wait| u64::try_from(wait.as_nanos()).ok());
                    let nanos = nanos.map(|nanos| nanos.max(slot.pause()));
                    slot.retry = nanos.map_or(0, |nanos| now.saturating_add(nanos));
                    slot.refused = cost;
                    slot.blocked = now.saturating_add(nanos.unwrap_or(LEASE_TIME).min(LEASE_TIME));
                }
            }
        });
        if units >= cost {
            let left = remaining.saturating_add(units - cost);
            Answer::Pass(decision(true, left, None, reset))
        } else {
            Answer::Refuse(decision(false, remaining, wait, reset))
        }
    }

    /// The store replied to a refill.
    pub fn refilled(&self, key: Key, reply: &Reply, now: u64) {
        let Reply::Granted {
            units,
            remaining,
            reset,
            ..
        } = *reply
        else {
            return self.failed(key, now);
        };
        self.slots.with_set(key, |set| {
            if let Some(slot) = take_slot(set, key, now) {
                slot.learn(units, remaining, reset, now);
                self.hold(key, slot);
            }
        });
    }

    /// The store did not reply.
    pub fn failed(&self, key: Key, now: u64) {
        self.slots.with_set(key, |set| {
            if let Some(slot) = take_slot(set, key, now) {
                slot.pending = false;
            }
        });
    }

    /// A request that was refused by another limit gives its units back to the lease.
    pub fn put_back(&self, key: Key, units: u64, now: u64) {
        self.slots.with_set(key, |set| {
            if let Some(slot) = held(set, key)
                && now < slot.expires
            {
                slot.units = slot.units.saturating_add(units);
                slot.pay(now);
                self.hold(key, slot);
            }
        });
    }

    /// While the store is away: takes from this instance's part of a quota. Its part is one of as many as
    /// there are instances, of what was left for all when that was told last, or else of the whole. What
    /// passes is a debt, which is paid once the store answers. Gives what was taken too: what costs more
    /// than a whole part takes all of one, where the quota itself would let it pass.
    pub fn alone(
        &self,
        key: Key,
        quota: &Arc<Quota>,
        (cost, instances): (u64, u32),
        (now, wall): (u64, Timestamp),
    ) -> (Decision, u64) {
        self.slots.with_set(key, |set| {
            let Some(slot) = take_slot(set, key, now) else {
                return (decision(false, 0, None, Duration::ZERO), 0);
            };
            slot.shared
                .get_or_insert_with(|| Shared::Quota(Arc::clone(quota)));
            if now >= slot.reset {
                let window = quota.windows().at(wall);
                let left = (window.end.saturating_mul(SECOND)).saturating_sub(wall.0);
                (slot.reset, slot.part, slot.debt) = (now.saturating_add(left), None, 0);
                slot.remaining = u64::MAX;
            }
            let whole = quota.share(instances).limit();
            let told =
                (slot.remaining < u64::MAX).then(|| slot.remaining / u64::from(instances.max(1)));
            let part = slot
                .part
                .get_or_insert_with(|| told.unwrap_or(whole).min(whole));
            let is_possible = cost <= quota.limit();
            let taken = if is_possible { cost.min(whole) } else { cost };
            let allowed = taken <= *part;
            if allowed {
                *part -= taken;
                slot.debt = slot.debt.saturating_add(taken);
            }
            let left = *part;
            let reset = slot.resets_in(now);
            (
                decision(allowed, left, is_possible.then_some(reset), reset),
                taken,
            )
        })
    }

    /// A request that was refused by another limit gives back what [`Leases::alone`] took.
    pub fn not_alone(&self, key: Key, cost: u64) {
        self.slots.with_set(key, |set| {
            if let Some(slot) = held(set, key) {
                let back = cost.min(slot.debt);
                slot.debt -= back;
                slot.part = slot.part.map(|part| part.saturating_add(back));
            }
        });
    }

    /// A cost that became known after [`Leases::alone`].
    pub fn charge_alone(&self, key: Key, cost: u64) {
        self.slots.with_set(key, |set| {
            if let Some(slot) = held(set, key) {
                slot.debt = slot.debt.saturating_add(cost);
                slot.part = slot.part.map(|part| part.saturating_sub(cost));
            }
        });
    }

    /// Takes up to `units` out of the lease, for a cost that became known afterwards, and says how
    /// many of them were not there.
    pub fn drain(&self, key: Key, units: u64, now: u64) -> u64 {
        self.slots.with_set(key, |set| {
            let Some(slot) = held(set, key) else {
                return units;
            };
            let there = if now < slot.expires { slot.units } else { 0 };
            let taken = units.min(there);
            slot.units = there - taken;
            units - taken
        })
    }

    /// Takes out what was not spent in time, as calls that give it back to all; with `all`,
    /// everything, before this instance stops. It gives at most `most` of them: what there is no room for
    /// stays for the next time.
    pub fn sweep(&self, now: u64, all: bool, most: usize) -> Vec<Call> {
        // Nobody waits for this lock while a set is locked here.
        let holders = std::mem::take(&mut *self.holders());
        let mut calls = Vec::new();
        for key in holders {
            let (call, holds) = if calls.len() < most {
                self.slots.with_set(key, |set| match held(set, key) {
                    None => (None, false),
                    Some(slot) => slot.overdue(now, all),
                })
            } else {
                (None, true)
            };
            if holds {
                self.holders().insert(key);
            }
            calls.extend(call);
        }
        calls
    }

    fn hold(&self, key: Key, slot: &Slot) {
        if slot.units > 0 {
            self.holders().insert(key);
        }
    }

    fn holders(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the table.
    pub fn bytes(&self) -> usize {
        self.slots.bytes()
    }
}

impl Slot {
    /// What is to be given back, and whether units are still held.
    fn overdue(&mut self, now: u64, all: bool) -> (Option<Call>, bool) {
        let is_idle = now.saturating_sub(self.asked) >= LEASE_TIME;
        let is_over = now >= self.expires;
        if self.units == 0 || !(all || is_idle || is_over) {
            return (None, self.units > 0);
        }
        let units = std::mem::take(&mut self.units);
        // Of a window that is over: given back, they would be the next one's.
        let is_lost = is_over && matches!(self.shared, Some(Shared::Quota(_)));
        let shared = self.shared.as_ref().filter(|_| !is_lost);
        let call = shared.map(|shared| Call {
            key: Key::from_halves(self.key.0, self.key.1),
            shared: shared.clone(),
            least: 0,
            want: units,
            returns: true,
        });
        (call, false)
    }

    /// How long a key that is at its rate is not asked for again at least: [`PAUSE`], or as long as a
    /// lease takes to be earned back, so that nothing is left unspent by it.
    fn pause(&self) -> u64 {
        match &self.shared {
            Some(shared @ Shared::Rate(rate)) => {
                let interval = u64::try_from(rate.interval().as_nanos()).unwrap_or(u64::MAX);
                interval.saturating_mul(most_leased(shared)).min(PAUSE)
            }
            Some(Shared::Quota(_)) | None => 0,
        }
    }

    fn resets_in(&self, now: u64) -> Duration {
        Duration::from_nanos(self.reset.saturating_sub(now))
    }

    /// How much to lease, with `held` units still there; marks the lease as being fetched, unless that is
    /// nothing.
    fn want(&mut self, most: u64, now: u64, held: u64) -> u64 {
        if self.pending {
            // Another request fetches the lease; this one asks for itself.
            return 0;
        }
        let age = now.saturating_sub(self.asked);
        self.size = if age < QUICK {
            self.size.saturating_mul(2)
        } else if age > 10 * QUICK {
            self.size / 2
        } else {
            self.size
        };
        let of_rest = (self.remaining / PART).max(1);
        self.size = self.size.clamp(1, most.min(of_rest).max(1));
        let more = self.size.saturating_sub(held);
        if more > 0 {
            self.asked = now;
            self.pending = true;
        }
        more
    }

    /// What is owed within the window that is not over.
    fn owed(&self, now: u64) -> u64 {
        if now < self.reset { self.debt } else { 0 }
    }

    /// Pays what is owed from what is held.
    fn pay(&mut self, now: u64) {
        let paid = self.owed(now).min(self.units);
        self.units -= paid;
        self.debt -= paid;
    }

    fn learn(&mut self, units: u64, remaining: u64, reset: Duration, now: u64) {
        self.pending = false;
        self.part = None;
        if now >= self.reset {
            self.debt = 0;
        }
        let held = if now < self.expires { self.units } else { 0 };
        self.units = held.saturating_add(units);
        self.remaining = remaining;
        let reset = u64::try_from(reset.as_nanos()).unwrap_or(u64::MAX);
        self.reset = now.saturating_add(reset);
        // A rate's units end soon; a quota's are good for as long as its window.
        let time = match self.shared {
            Some(Shared::Quota(_)) => reset,
            Some(Shared::Rate(_)) | None => LEASE_TIME,
        };
        self.expires = now.saturating_add(time);
        self.blocked = 0;
        self.pay(now);
    }
}

/// Of one instance, the most units of a limit that are leased at once.
pub fn most_leased(shared: &Shared) -> u64 {
    let whole = match shared {
        Shared::Rate(rate) => rate.burst(),
        Shared::Quota(quota) => quota.limit(),
    };
    (whole / PART).clamp(1, MOST_LEASED)
}

/// The key's slot, if it has one.
fn held(set: &mut [Slot], key: Key) -> Option<&mut Slot> {
    let halves = key.to_halves();
    set.iter_mut()
        .find(|slot| slot.asked != 0 && slot.key == halves)
}

/// The key's slot; a new one if it has none. Who holds nothing and is not blocked goes first.
fn take_slot(set: &mut [Slot], key: Key, now: u64) -> Option<&mut Slot> {
    let halves = key.to_halves();
    let found = set
        .iter()
        .position(|slot| slot.asked != 0 && slot.key == halves);
    if let Some(at) = found {
        return set.get_mut(at);
    }
    let worth = |slot: &Slot| {
        let held = if now < slot.expires { slot.units } else { 0 };
        let held = held.saturating_add(slot.owed(now));
        (slot.asked != 0, held, now < slot.blocked, slot.asked)
    };
    let slot = set.iter_mut().min_by_key(|slot| worth(slot))?;
    *slot = Slot {
        key: halves,
        asked: now.max(1),
        size: 1,
        // Not known before the first reply.
        remaining: u64::MAX,
        ..Slot::default()
    };
    Some(slot)
}
