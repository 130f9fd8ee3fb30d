//! The clock of logins: this process' own, and once the log was read, that of Redis, so that instances
//! whose clocks differ count the same.
//!
//! Deliberately not here: the clocks of limits, which Redis reads itself.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// The clock. It begins long after zero, since what the log holds happened before.
#[derive(Debug)]
pub(crate) struct LogClock {
    began: Instant,
    follows: Mutex<Option<Follows>>,
}

#[derive(Clone, Copy, Debug)]
struct Follows {
    /// The other clock's milliseconds at this one's zero.
    zero: i64,
    /// How far this one is moved, in nanoseconds.
    ahead: i64,
}

impl Follows {
    /// In nanoseconds of this clock.
    fn at(&self, clock: i64) -> i128 {
        (i128::from(clock) - i128::from(self.zero)) * i128::from(LogClock::MILLI)
    }
}

impl LogClock {
    /// Nanoseconds before the start that there are.
    const BEFORE: u64 = 400 * 86_400 * 1_000_000_000;
    const MILLI: u64 = 1_000_000;
    /// A server whose clock is so far from where it was is another one.
    const ANOTHER: i64 = 60 * 1_000_000_000;

    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            follows: Mutex::new(None),
        }
    }

    /// Nanoseconds; it goes back by no more than the other clock does.
    pub(crate) fn now(&self) -> u64 {
        let ahead = self.follows().map_or(0, |follows| follows.ahead);
        self.own().saturating_add_signed(ahead)
    }

    /// The other clock stands at so many milliseconds now.
    pub(super) fn follow(&self, clock: i64) {
        let own = self.own();
        let mut follows = self.lock();
        let known = follows.and_then(|known| {
            let ahead = i64::try_from(known.at(clock) - i128::from(own)).ok()?;
            let moved = ahead.checked_sub(known.ahead)?;
            (moved.abs() < Self::ANOTHER).then_some(Follows { ahead, ..known })
        });
        let anew = || {
            let ahead = follows.map_or(0, |known| known.ahead);
            let now = own.saturating_add_signed(ahead);
            Follows {
                zero: clock.saturating_sub_unsigned(now / Self::MILLI),
                ahead,
            }
        };
        let next = known.unwrap_or_else(anew);
        *follows = Some(next);
    }

    /// When it was, by the other clock's milliseconds.
    pub(super) fn at(&self, clock: i64) -> u64 {
        let at = self.follows().map_or(0, |follows| follows.at(clock));
        u64::try_from(at.max(0)).unwrap_or(u64::MAX)
    }

    fn own(&self) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self::BEFORE.saturating_add(elapsed)
    }

    fn follows(&self) -> Option<Follows> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Follows>> {
        self.follows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// In milliseconds.
    const NOON: i64 = 1_800_000_000_000;

    #[track_caller]
    fn near(one: u64, other: u64) {
        assert!(one.abs_diff(other) < SECOND, "{one} {other}");
    }

    #[test]
    fn it_follows_the_other_one_and_does_not_jump_when_it_begins_to() {
        let clock = LogClock::new();
        let before = clock.now();
        clock.follow(NOON);
        near(clock.now(), before);
        near(clock.at(NOON), before);
        // Both clocks run; what one gains is followed.
        clock.follow(NOON + 5_000);
        near(clock.now(), before + 5 * SECOND);
        clock.follow(NOON - 5_000);
        near(clock.now(), before - 5 * SECOND);
        near(clock.at(NOON), before);
    }

    #[test]
    fn what_happened_before_the_start_was_before() {
        let clock = LogClock::new();
        clock.follow(NOON);
        near(
            clock.at(NOON - 300 * 86_400_000) + 300 * 86_400 * SECOND,
            clock.now(),
        );
        // As far back as it goes.
        assert_eq!(clock.at(0), 0);
    }

    #[test]
    fn another_server_s_clock_does_not_move_it() {
        let clock = LogClock::new();
        clock.follow(NOON);
        clock.follow(NOON + 2_000);
        let before = clock.now();
        for other in [NOON + 3_600_000, 0, NOON - 86_400_000, i64::MAX] {
            clock.follow(other);
            near(clock.now(), before);
            near(clock.at(other), before);
        }
    }
}
