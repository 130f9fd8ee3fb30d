//! What of logins outlives the process, as bytes for a store.
//!
//! Times are written by the wall clock: what waited while nothing ran has waited. Deliberately not
//! here: where the bytes are kept.

use std::time::Duration;

use fortress_model::Timestamp;

use super::{
    Defence, Level, SECOND,
    bytes::{Reader, Writer},
    nanos,
};
use crate::Key;

/// What a store calls these records.
pub const STORE_KIND: &str = "defence";
/// The record of the secret under which keys are hashed.
pub const STORE_SECRET: &[u8] = b"secret";
/// The record of accounts that were unlocked by hand.
pub const STORE_UNLOCKED: &[u8] = b"unlocked";
/// Pieces that are written at most.
pub const MOST_PIECES: usize = 32;

/// States in a piece, so that one is below 64 KiB.
const PIECE: usize = 2_000;
/// Bytes of a state: what it is, its key, a number and a time.
const STATE: usize = 1 + 16 + 4 + 8;

/// A state that outlives the process. Times are relative, since the clock begins anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kept {
    /// Failures that were counted.
    Failures {
        /// Of what.
        key: Key,
        /// How many.
        failures: u32,
        /// How long ago the last was.
        ago: Duration,
    },
    /// An account that is locked.
    Lock {
        /// The account.
        key: Key,
        /// How much longer.
        left: Duration,
    },
    /// An address from which an account came in.
    Known {
        /// Both.
        key: Key,
        /// How much longer it is known.
        left: Duration,
    },
}

impl Defence {
    /// What is to be kept: locks, then known places, then failures, the largest first; at most `most`
    /// of each.
    pub fn keep(&self, most: usize, now: u64) -> Vec<Kept> {
        let (mut locks, mut failures) = (Vec::new(), Vec::new());
        self.counted.each(now, |key, tally| {
            if tally.locked > now {
                let left = Duration::from_nanos(tally.locked - now);
                locks.push(Kept::Lock { key, left });
            }
            let count = tally.level.failures(3_600 * SECOND, now);
            if count > 0 {
                let ago = Duration::from_nanos(now.saturating_sub(tally.level.at()));
                failures.push((
                    count,
                    Kept::Failures {
                        key,
                        failures: count,
                        ago,
                    },
                ));
            }
        });
        let mut known = Vec::new();
        self.known.each(now, |key, until| {
            let left = Duration::from_nanos(until.0 - now);
            known.push((left, Kept::Known { key, left }));
        });
        failures.sort_unstable_by_key(|(count, _)| std::cmp::Reverse(*count));
        known.sort_unstable_by_key(|(left, _)| std::cmp::Reverse(*left));
        locks.truncate(most);
        locks.extend(known.into_iter().take(most).map(|(_, kept)| kept));
        locks.extend(failures.into_iter().take(most).map(|(_, kept)| kept));
        locks
    }

    /// Takes up what was kept, where nothing newer is known.
    pub fn recall(&self, kept: &[Kept], now: u64) {
        for kept in kept {
            match *kept {
                Kept::Failures { key, failures, ago } => {
                    let at = now.saturating_sub(nanos(ago));
                    self.counted.with(key, now, |tally| {
                        if tally.level.at() == 0 {
                            tally.level = Level::of(failures, at);
                        }
                    });
                }
                Kept::Lock { key, left } => {
                    let until = now.saturating_add(nanos(left));
                    self.counted
                        .with(key, now, |tally| tally.locked = tally.locked.max(until));
                }
                Kept::Known { key, left } => {
                    let until = now.saturating_add(nanos(left));
                    self.known
                        .with(key, now, |known| known.0 = known.0.max(until));
                }
            }
        }
    }
}

/// The id of a piece.
pub fn piece(number: usize) -> Vec<u8> {
    format!("piece {number}").into_bytes()
}

/// States in pieces; what has no room is left out, the last first.
pub fn write(kept: &[Kept], now: Timestamp) -> Vec<Vec<u8>> {
    let pieces = kept.chunks(PIECE).take(MOST_PIECES);
    pieces
        .map(|states| {
            let mut to = Writer(Vec::with_capacity(8 + states.len() * STATE));
            to.long(now.0);
            for state in states {
                let (what, key, number, time) = match *state {
                    Kept::Failures { key, failures, ago } => (1_u8, key, failures, ago),
                    Kept::Lock { key, left } => (2, key, 0, left),
                    Kept::Known { key, left } => (3, key, 0, left),
                };
                to.byte(what);
                to.key(key);
                to.number(number);
                to.long(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            }
            to.0
        })
        .collect()
}

/// The states of a piece, as they are by now. What cannot be read is left out.
pub fn read(bytes: &[u8], now: Timestamp) -> Vec<Kept> {
    let mut from = Reader(bytes);
    let Some(written) = from.long() else {
        return Vec::new();
    };
    let passed = Duration::from_nanos(now.0.saturating_sub(written));
    let states = from.0.chunks_exact(STATE);
    states.filter_map(|state| one(state, passed)).collect()
}

/// When a piece was written.
pub fn written(bytes: &[u8]) -> Option<Timestamp> {
    Reader(bytes).long().map(Timestamp)
}

fn one(state: &[u8], passed: Duration) -> Option<Kept> {
    let mut from = Reader(state);
    let (what, key, number) = (from.byte()?, from.key()?, from.number()?);
    let time = Duration::from_millis(from.long()?);
    let left = time.checked_sub(passed).filter(|left| !left.is_zero());
    match what {
        1 => Some(Kept::Failures {
            key,
            failures: number,
            ago: time.saturating_add(passed),
        }),
        2 => Some(Kept::Lock { key, left: left? }),
        3 => Some(Kept::Known { key, left: left? }),
        _ => None,
    }
}

/// Accounts that were unlocked by hand, each with when.
pub fn read_unlocked(bytes: &[u8]) -> Vec<(Key, Timestamp)> {
    let records = bytes.chunks_exact(24);
    records
        .filter_map(|record| {
            let mut from = Reader(record);
            Some((from.key()?, Timestamp(from.long()?)))
        })
        .collect()
}

/// The same as bytes, the latest thousand.
pub fn write_unlocked(unlocked: &[(Key, Timestamp)]) -> Vec<u8> {
    let mut to = Writer(Vec::new());
    for (key, time) in unlocked.iter().rev().take(1_000).rev() {
        to.key(*key);
        to.long(time.0);
    }
    to.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn states_come_back_as_much_later_as_it_is() {
        let key = Key::from_halves(3, 4);
        let seconds = Duration::from_secs;
        let kept = [
            Kept::Failures {
                key,
                failures: 7,
                ago: seconds(10),
            },
            Kept::Lock {
                key,
                left: seconds(100),
            },
            Kept::Known {
                key,
                left: seconds(1_000),
            },
        ];
        let pieces = write(&kept, Timestamp(5 * SECOND));
        assert_eq!(pieces.len(), 1);
        assert_eq!(read(&pieces[0], Timestamp(5 * SECOND)), kept);
        assert_eq!(written(&pieces[0]), Some(Timestamp(5 * SECOND)));
        let later = read(&pieces[0], Timestamp(125 * SECOND));
        let expect = [
            Kept::Failures {
                key,
                failures: 7,
                ago: seconds(130),
            },
            Kept::Known {
                key,
                left: seconds(880),
            },
        ];
        assert_eq!(later, expect);
        assert!(read(b"x", Timestamp(0)).is_empty());
    }

    #[test]
    fn pieces_are_bounded() {
        let lock = Kept::Lock {
            key: Key::from_halves(1, 2),
            left: Duration::from_secs(1),
        };
        let pieces = write(&vec![lock; 100_000], Timestamp(0));
        assert_eq!(pieces.len(), MOST_PIECES);
        assert!(pieces.iter().all(|piece| piece.len() < 64 << 10));
    }

    #[test]
    fn the_latest_unlocked_are_kept() {
        let unlocked: Vec<_> = (0..1_500)
            .map(|number| (Key::from_halves(number, 1), Timestamp(number)))
            .collect();
        let read = read_unlocked(&write_unlocked(&unlocked));
        assert_eq!(read, unlocked[500..]);
    }
}
