//! Requests in flight of one key over all instances: what this one has, and what it says of that to
//! the shared store.
//!
//! A call ([`SlotCall`]) says how many requests this instance has in flight, and asks for room for
//! those that wait. It replaces what was said before, so that a call which got lost, or a store that was
//! emptied, is made good by the next one. Of one key there is one call at a time; what comes meanwhile
//! is said by the next, so that a key that is hot costs no more calls than there is time for. Room that
//! is not used is given back at once.
//!
//! What was said holds for [`SLOT_TIME`] and is said again after [`SLOT_RENEWAL`]: an instance that dies
//! gives its room back within the former. Nobody is ever evicted; a newcomer without room in the table
//! is not asked for. Deliberately not here: calling, and waking whoever waits.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{LARGEST, ReplyError, decision};
use crate::{Decision, Key};

/// The script, for `SCRIPT LOAD` and `EVAL`.
pub const SLOTS_SCRIPT: &str = include_str!("slots.lua");

/// For how long the store believes what an instance said, in nanoseconds.
pub const SLOT_TIME: u64 = 5_000_000_000;

/// After how long it is said again, in nanoseconds.
pub const SLOT_RENEWAL: u64 = 1_000_000_000;

/// After a refusal a key is not asked for again for so long, in nanoseconds, unless this instance has
/// room to give back: who is over the limit costs at most a thousand calls a second.
const PAUSE: u64 = 1_000_000;

/// For how long a request that was refused is asked for again, in nanoseconds: who has just got an
/// answer from another instance may be here before that one has given its room back.
const RACE: u64 = 250_000_000;

const SHARDS: usize = 64;

/// What this instance has in flight. `W` is whoever waits for an answer.
pub struct Slots<W> {
    shards: [Mutex<HashMap<Key, Slot<W>>>; SHARDS],
    /// Keys in one shard at most.
    most: usize,
    /// How long a request waits at most.
    patience: u64,
    /// Keys of which something is to be said.
    due: Mutex<Vec<Key>>,
    /// Calls so far: the later one counts, should the store see them in another order.
    calls: AtomicU64,
}

struct Slot<W> {
    limit: u64,
    /// Requests in flight.
    used: u64,
    /// For how many of them the store has room for sure.
    held: u64,
    /// How many more all instances could have, by the last answer.
    left: u64,
    /// The store may believe something else: a call failed, or it may have lost everything.
    is_unsure: bool,
    state: State,
    waiting: VecDeque<Waiting<W>>,
    /// When the last call was made.
    said: u64,
    /// When the last call was made after which the store may count any for this instance.
    raised: u64,
    /// Until when what the store said last holds.
    holds: u64,
    /// Not asked for before, after a refusal.
    paused: u64,
}

struct Waiting<W> {
    who: W,
    since: u64,
    was_refused: bool,
}

/// Of one key there is one call at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Nothing is to be said.
    Idle,
    /// It is due, or a call is under way.
    Busy,
    /// It is due when its pause ends.
    Paused,
}

/// One call of the script.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlotCall {
    /// The key of the limit and request.
    pub key: Key,
    /// Requests that may be in flight.
    pub limit: u64,
    /// Those that this instance has.
    pub held: u64,
    /// Those that wait for room.
    pub want: u64,
    number: u64,
    at: u64,
}

/// What the script gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SlotReply {
    granted: u64,
    left: u64,
}

/// What comes of a request in the end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Room {
    /// It counts as in flight until [`Slots::leave`].
    Pass(Decision),
    /// It is refused.
    Refuse(Decision),
    /// The store did not answer.
    Away,
}

/// What is to be said of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// This; then report with [`Slots::answered`] or [`Slots::failed`].
    Call(SlotCall),
    /// Ask again after this time, with [`Slots::resume`].
    Pause(Duration),
    /// Nothing.
    Nothing,
}

/// The table has no room for another key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many keys have requests in flight")]
pub struct Full;

impl<W> Slots<W> {
    /// A table for at least `keys` keys with requests in flight, which wait at most `patience`
    /// nanoseconds. It takes memory for those that have.
    pub fn new(keys: usize, patience: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            // Hashes do not spread evenly.
            most: (2 * keys / SHARDS).max(8),
            patience,
            due: Mutex::default(),
            calls: AtomicU64::new(0),
        }
    }

    /// One more request, if the store has room for it that no other uses.
    pub fn enter(&self, key: Key, limit: u64, now: u64) -> Option<Decision> {
        let mut shard = self.shard(key);
        let slot = shard.get_mut(&key)?;
        slot.limit = limit;
        slot.enter_spare(now)
    }

    /// A request that waits for room. Gives whether there is work to be done: see [`Slots::due`].
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask(&self, key: Key, limit: u64, who: W, now: u64) -> Result<bool, Full> {
        let mut shard = self.shard(key);
        let slot = slot_of(&mut shard, (key, limit), self.most)?;
        slot.waiting.push_back(Waiting {
            who,
            since: now,
            was_refused: false,
        });
        let is_idle = slot.state == State::Idle;
        if is_idle {
            slot.state = State::Busy;
            self.push(key);
        }
        Ok(is_idle)
    }

    /// One more request without asking, if this instance has fewer than `part`. The store is told when
    /// it is back.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter_alone(&self, key: Key, limit: u64, part: u64) -> Result<Decision, Full> {
        let mut shard = self.shard(key);
        let slot = slot_of(&mut shard, (key, limit), self.most)?;
        if slot.used >= part {
            return Ok(decided(false, 0));
        }
        slot.used += 1;
        Ok(decided(true, part - slot.used))
    }

    /// What is known of a key without asking.
    pub fn peek(&self, key: Key, limit: u64) -> Decision {
        let shard = self.shard(key);
        let left = shard.get(&key).map_or(limit, |slot| slot.left);
        decided(left > 0, left)
    }

    /// A request ends. Gives whether there is work to be done: see [`Slots::due`].
    pub fn leave(&self, key: Key) -> bool {
        let mut shard = self.shard(key);
        let Some(slot) = shard.get_mut(&key) else {
            return false;
        };
        slot.used = slot.used.saturating_sub(1);
        if slot.is_over() {
            shard.remove(&key);
            return false;
        }
        let is_due = slot.state != State::Busy;
        if is_due {
            slot.state = State::Busy;
            self.push(key);
        }
        is_due
    }

    /// Takes the keys of which something is to be said; each is followed by [`Slots::next`].
    pub fn due(&self) -> Vec<Key> {
        std::mem::take(&mut *lock(&self.due))
    }

    /// After a pause: whether the key is still to be followed by [`Slots::next`].
    pub fn resume(&self, key: Key) -> bool {
        let mut shard = self.shard(key);
        let slot = shard.get_mut(&key);
        let paused = slot.filter(|slot| slot.state == State::Paused);
        paused.map(|slot| slot.state = State::Busy).is_some()
    }

    /// What is to be said of a key now. `is_gone` tells of whoever waits no more.
    pub fn next(&self, key: Key, now: u64, is_gone: impl Fn(&W) -> bool) -> Next {
        let mut shard = self.shard(key);
        let Some(slot) = shard.get_mut(&key) else {
            return Next::Nothing;
        };
        slot.waiting.retain(|waiting| !is_gone(&waiting.who));
        let has_news = slot.used != slot.held || slot.is_unsure || slot.is_old(now);
        if slot.waiting.is_empty() && !has_news {
            slot.state = State::Idle;
            if slot.is_over() {
                shard.remove(&key);
            }
            return Next::Nothing;
        }
        if now < slot.paused && !has_news {
            slot.state = State::Paused;
            return Next::Pause(Duration::from_nanos(slot.paused - now));
        }
        let want = u64::try_from(slot.waiting.len()).unwrap_or(u64::MAX);
        let call = SlotCall {
            key,
            limit: slot.limit.min(LARGEST),
            held: slot.used,
            want: want.min(slot.limit),
            number: self.calls.fetch_add(1, Relaxed),
            at: now,
        };
        // Sure before the call and after it.
        slot.held = slot.held.min(slot.used);
        slot.said = now;
        if call.held + call.want > 0 {
            slot.raised = now;
        }
        Next::Call(call)
    }

    /// The store replied. Gives what comes of those who waited; the key is followed by another
    /// [`Slots::next`].
    pub fn answered(&self, call: &SlotCall, reply: SlotReply, now: u64) -> Vec<(W, Room)> {
        let mut shard = self.shard(call.key);
        let Some(slot) = shard.get_mut(&call.key) else {
            return Vec::new();
        };
        slot.held = call.held + reply.granted;
        slot.left = reply.left;
        slot.is_unsure = false;
        slot.holds = call.at.saturating_add(SLOT_TIME);
        let mut granted = reply.granted;
        let mut done = Vec::new();
        let mut again = VecDeque::new();
        for _ in 0..call.want {
            let Some(waiting) = slot.waiting.pop_front() else {
                break;
            };
            if granted > 0 {
                granted -= 1;
                slot.used += 1;
                done.push((waiting.who, Room::Pass(decided(true, reply.left))));
            } else if waiting.may_race(now, self.patience) {
                again.push_back(Waiting {
                    was_refused: true,
                    ..waiting
                });
            } else {
                done.push((waiting.who, Room::Refuse(decided(false, 0))));
            }
        }
        if reply.granted < call.want {
            slot.paused = now.saturating_add(PAUSE);
        }
        again.append(&mut slot.waiting);
        slot.waiting = again;
        done
    }

    /// The store did not reply, or was not asked. Gives all who wait.
    pub fn failed(&self, key: Key) -> Vec<(W, Room)> {
        let mut shard = self.shard(key);
        let Some(slot) = shard.get_mut(&key) else {
            return Vec::new();
        };
        slot.state = State::Idle;
        slot.is_unsure = true;
        let waiting = slot.waiting.drain(..);
        waiting.map(|one| (one.who, Room::Away)).collect()
    }

    /// The store may have lost everything: it is told anew with the next [`Slots::renew`].
    pub fn lost(&self) {
        for shard in &self.shards {
            for slot in lock(shard).values_mut() {
                slot.is_unsure = true;
                slot.said = 0;
            }
        }
    }

    /// Makes due what was not said for a while. Gives whether anything is.
    pub fn renew(&self, now: u64) -> bool {
        let mut is_due = false;
        for shard in &self.shards {
            for (key, slot) in lock(shard).iter_mut() {
                if slot.state == State::Idle && slot.is_old(now) {
                    slot.state = State::Busy;
                    self.push(*key);
                    is_due = true;
                }
            }
        }
        is_due
    }

    /// Forgets keys without requests of which the store has forgotten by itself what it was not told.
    pub fn forget(&self, now: u64) {
        for shard in &self.shards {
            lock(shard).retain(|_, slot| {
                let is_in_use = slot.used > 0 || !slot.waiting.is_empty();
                let is_quiet = slot.state == State::Idle;
                is_in_use || !is_quiet || now < slot.raised.saturating_add(SLOT_TIME)
            });
        }
    }

    /// Whether there is nothing in flight, and the store knows it.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| lock(shard).is_empty())
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<Key, Slot<W>>> {
        let place = usize::try_from(key.place()).unwrap_or_default() % SHARDS;
        // There are as many.
        let [first, ..] = &self.shards;
        lock(self.shards.get(place).unwrap_or(first))
    }

    fn push(&self, key: Key) {
        lock(&self.due).push(key);
    }
}

impl<W> Slot<W> {
    fn enter_spare(&mut self, now: u64) -> Option<Decision> {
        let has_spare = self.used < self.held.min(self.limit);
        if !has_spare || self.is_unsure || now >= self.holds {
            return None;
        }
        self.used += 1;
        Some(decided(true, self.left))
    }

    /// Whether what the store knows has to be said again.
    fn is_old(&self, now: u64) -> bool {
        let is_known = self.used == 0 && self.held == 0 && !self.is_unsure;
        !is_known && now.saturating_sub(self.said) >= SLOT_RENEWAL
    }

    /// Whether nothing is in flight, and the store knows it.
    fn is_over(&self) -> bool {
        let is_known = self.held == 0 && !self.is_unsure;
        let is_quiet = self.state == State::Idle && self.waiting.is_empty();
        self.used == 0 && is_known && is_quiet
    }
}

impl<W> Waiting<W> {
    /// Whether another instance may be about to give back what this request was refused for.
    fn may_race(&self, now: u64, patience: u64) -> bool {
        let waited = now.saturating_sub(self.since);
        waited < patience / 2 && (!self.was_refused || waited < RACE)
    }
}

impl SlotCall {
    /// The key in Redis. In braces, so that a Cluster places it by that alone.
    pub fn name(&self) -> String {
        let (high, low) = self.key.to_halves();
        format!("fortress:c:{{{high:016x}{low:016x}}}")
    }

    /// The arguments after the key. `instance` is what this one is called.
    pub fn arguments(&self, instance: &str) -> Vec<String> {
        let number = |value: u64| value.to_string();
        vec![
            instance.to_owned(),
            number(self.number),
            number(self.held),
            number(self.want),
            number(self.limit),
            number(SLOT_TIME / 1_000_000),
        ]
    }
}

impl SlotReply {
    /// From the two numbers of the script's list. What cannot be is an error, and the limit's failure
    /// policy then decides.
    pub fn parse(numbers: &[i64], call: &SlotCall) -> Result<Self, ReplyError> {
        let [granted, left] = *numbers else {
            return Err(ReplyError::Shape);
        };
        let number = |value: i64| u64::try_from(value).map_err(|_| ReplyError::Range);
        let (granted, left) = (number(granted)?, number(left)?);
        let all = call.held.saturating_add(granted).saturating_add(left);
        let has_room = granted == 0 || all <= call.limit;
        if granted > call.want || left > call.limit || !has_room {
            return Err(ReplyError::Range);
        }
        Ok(Self { granted, left })
    }
}

impl<W> fmt::Debug for Slots<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").finish_non_exhaustive()
    }
}

/// The key's slot; a new one if it has none. The limit is as the configuration has it now.
fn slot_of<W>(
    shard: &mut HashMap<Key, Slot<W>>,
    (key, limit): (Key, u64),
    most: usize,
) -> Result<&mut Slot<W>, Full> {
    let is_full = shard.len() >= most;
    let slot = match shard.entry(key) {
        Entry::Occupied(slot) => slot.into_mut(),
        Entry::Vacant(_) if is_full => return Err(Full),
        Entry::Vacant(free) => free.insert(Slot {
            limit,
            used: 0,
            held: 0,
            left: limit,
            is_unsure: false,
            state: State::Idle,
            waiting: VecDeque::new(),
            said: 0,
            raised: 0,
            holds: 0,
            paused: 0,
        }),
    };
    slot.limit = limit;
    Ok(slot)
}

/// Nobody knows when a request in flight ends.
fn decided(allowed: bool, left: u64) -> Decision {
    decision(allowed, left, None, Duration::ZERO)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left is whole after each statement that matters: counts are said again.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
