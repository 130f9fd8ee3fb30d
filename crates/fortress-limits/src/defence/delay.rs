//! How long the next attempt has to wait, and how failures are forgotten.
//!
//! A lock would let anybody shut anybody else out. A delay that doubles costs whoever guesses far more
//! than whoever mistypes. No chance is in it: the same failures give the same delay.

use std::time::Duration;

/// Parts of a failure that a level is kept in.
const PARTS: u32 = 256;

/// The most failures that a level holds.
const MOST: u32 = 1 << 16;

/// A delay that doubles with each failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delay {
    /// Failures that cost nothing.
    pub after: u32,
    /// The delay after the next one.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
}

impl Delay {
    /// The delay after so many failures.
    pub fn of(&self, failures: u32) -> Duration {
        let Some(beyond) = failures.checked_sub(self.after) else {
            return Duration::ZERO;
        };
        // `after` failures are free, and the attempt that follows them is the first to wait.
        let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

/// Failures that fade: half of them are forgotten in each half-life.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Level {
    /// In parts of a failure.
    parts: u32,
    /// When it was that, in nanoseconds.
    at: u64,
}

impl Level {
    /// Whole failures at a time.
    pub(super) fn failures(&self, half_life: u64, now: u64) -> u32 {
        // What is all but whole is whole: the last failure was a moment ago.
        self.faded(half_life, now).saturating_add(PARTS / 8) / PARTS
    }

    /// When the last one was counted.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn add(&mut self, half_life: u64, now: u64) {
        let parts = self.faded(half_life, now).saturating_add(PARTS);
        *self = Self {
            parts: parts.min(MOST * PARTS),
            // A clock that was ahead and was set right is right.
            at: now,
        };
    }

    /// Takes one back, as if it had never been there but for the time of the last.
    pub(super) fn take_back(&mut self) {
        self.parts = self.parts.saturating_sub(PARTS);
    }

    pub(super) fn of(failures: u32, at: u64) -> Self {
        Self {
            parts: failures.min(MOST).saturating_mul(PARTS),
            at,
        }
    }

    fn faded(&self, half_life: u64, now: u64) -> u32 {
        let half_life = half_life.max(1);
        let elapsed = now.saturating_sub(self.at);
        let halvings = u32::try_from(elapsed / half_life).unwrap_or(u32::MAX);
        let whole = u64::from(self.parts.checked_shr(halvings).unwrap_or(0));
        // Between two halvings along a line.
        let part = u128::from(elapsed % half_life);
        let lost = u128::from(whole) * part / (u128::from(half_life) * 2);
        let left = whole.saturating_sub(u64::try_from(lost).unwrap_or(whole));
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DELAY: Delay = Delay {
        after: 3,
        first: Duration::from_secs(1),
        most: Duration::from_secs(900),
    };

    #[test]
    fn it_doubles_up_to_a_cap() {
        let seconds: Vec<u64> = [0, 2, 3, 4, 5, 8, 12, 13, 40, u32::MAX]
            .iter()
            .map(|failures| DELAY.of(*failures).as_secs())
            .collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 32, 512, 900, 900, 900]);
    }

    #[test]
    fn half_is_forgotten_in_each_half_life() {
        let mut level = Level::default();
        for _ in 0..8 {
            level.add(1_000, 0);
        }
        let at = |now| level.failures(1_000, now);
        assert_eq!(
            [at(0), at(500), at(1_000), at(2_000), at(3_000)],
            [8, 6, 4, 2, 1]
        );
        assert_eq!(at(20_000), 0);
        assert_eq!(at(u64::MAX), 0);
    }

    proptest! {
        #[test]
        fn more_failures_never_wait_less(failures in 0_u32..100) {
            prop_assert!(DELAY.of(failures) <= DELAY.of(failures + 1));
            prop_assert!(DELAY.of(failures) <= DELAY.most);
        }

        #[test]
        fn a_level_only_fades(adds in prop::collection::vec(0_u64..10_000, 1..50), later in 0_u64..100_000) {
            let mut level = Level::default();
            let mut now = 0;
            for step in adds {
                now += step;
                let before = level.failures(5_000, now);
                level.add(5_000, now);
                prop_assert!(level.failures(5_000, now) > before || before == MOST);
                prop_assert!(level.failures(5_000, now + later) <= level.failures(5_000, now));
            }
        }
    }
}
