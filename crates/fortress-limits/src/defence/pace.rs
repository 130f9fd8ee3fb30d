//! How long an answer has to be held so that its time tells nothing: a high quantile of the times of
//! answers that judged a password.
//!
//! Whether an account exists shows in the time that its password's hash takes. Answers to failures are
//! released no earlier than the slow ones. **A flood cannot talk the quantile down**: a stretch of times
//! counts only so often in each window, so that however many unknown accounts are tried, a few answers
//! about known ones keep their weight. Good logins are counted too: they took the hash's time.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Two to each doubling, from a microsecond to an hour.
const STRETCHES: usize = 64;

/// How often a stretch counts.
const MOST: u16 = 64;

/// Per cent of the counted answers that are no slower.
const QUANTILE: u32 = 95;

/// How long a count keeps half of its weight.
const WINDOW: u64 = 600 * 1_000_000_000;

/// The times of answers.
#[derive(Debug)]
pub struct Pace(Mutex<Times>);

#[derive(Debug)]
struct Times {
    counts: [u16; STRETCHES],
    since: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Times {
            counts: [0; STRETCHES],
            since: 0,
        }))
    }
}

impl Pace {
    /// An answer took so long.
    pub fn note(&self, took: Duration, now: u64) {
        let mut times = self.times();
        if now.saturating_sub(times.since) >= WINDOW {
            for count in &mut times.counts {
                *count /= 2;
            }
            times.since = now;
        }
        if let Some(count) = times.counts.get_mut(stretch(took)) {
            *count = count.saturating_add(1).min(MOST);
        }
    }

    /// How long an answer about a failure is held, counted from when its request went out; at most
    /// `bound`.
    pub fn hold(&self, bound: Duration) -> Duration {
        let times = self.times();
        let all: u32 = times.counts.iter().map(|count| u32::from(*count)).sum();
        let wanted = all.saturating_mul(QUANTILE).div_ceil(100);
        let mut below = 0;
        for (at, count) in times.counts.iter().enumerate() {
            below += u32::from(*count);
            if below >= wanted && wanted > 0 {
                return end(at).min(bound);
            }
        }
        Duration::ZERO
    }

    fn times(&self) -> std::sync::MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stretch that a time lies in.
fn stretch(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let octave = micros.ilog2();
    let upper = octave
        .checked_sub(1)
        .map_or(0, |below| (micros >> below) & 1);
    let at = u64::from(octave) * 2 + upper;
    usize::try_from(at).unwrap_or(STRETCHES).min(STRETCHES - 1)
}

/// Where it ends.
fn end(stretch: usize) -> Duration {
    let stretch = u32::try_from(stretch).unwrap_or(u32::MAX);
    let begin = 1_u64.checked_shl(stretch / 2).unwrap_or(u64::MAX);
    let micros = if stretch % 2 == 0 {
        begin + begin / 2
    } else {
        begin.saturating_mul(2)
    };
    Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_secs(2);

    #[test]
    fn a_time_lies_before_the_end_of_its_stretch() {
        for micros in (0..100_000).chain([1_000_000, 3_333_333, 60_000_000]) {
            let took = Duration::from_micros(micros);
            let end = end(stretch(took));
            assert!(took <= end, "{took:?} {end:?}");
            assert!(
                end <= took * 2 + Duration::from_micros(2),
                "{took:?} {end:?}"
            );
        }
    }

    #[test]
    fn failures_are_held_as_long_as_the_slow_ones() {
        let pace = Pace::default();
        assert_eq!(pace.hold(BOUND), Duration::ZERO);
        let slow = Duration::from_millis(300);
        for _ in 0..5 {
            pace.note(slow, 0);
        }
        // A flood of unknown accounts, answered at once.
        for _ in 0..100_000 {
            pace.note(Duration::from_millis(2), 0);
        }
        assert!(pace.hold(BOUND) >= slow, "{:?}", pace.hold(BOUND));
        assert!(pace.hold(BOUND) <= slow * 2);
        assert_eq!(
            pace.hold(Duration::from_millis(100)),
            Duration::from_millis(100)
        );
    }

    #[test]
    fn one_slow_answer_holds_nobody_up() {
        let pace = Pace::default();
        for _ in 0..64 {
            pace.note(Duration::from_millis(2), 0);
        }
        pace.note(Duration::from_secs(10), 0);
        assert!(pace.hold(BOUND) < Duration::from_millis(5));
    }

    #[test]
    fn what_was_slow_long_ago_is_forgotten() {
        let pace = Pace::default();
        for _ in 0..64 {
            pace.note(Duration::from_secs(1), 0);
        }
        for window in 1..12 {
            for _ in 0..64 {
                pace.note(Duration::from_millis(2), window * WINDOW);
            }
        }
        assert!(pace.hold(BOUND) < Duration::from_millis(5));
    }
}
