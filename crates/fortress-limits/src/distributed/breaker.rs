//! When to ask the shared store, and when not: a store that fails is left alone for a while, tried
//! by one request at a time, and loaded again step by step.
//!
//! Instances that lost the store at the same moment must not come back at the same moment: each wait
//! is drawn at random between half of it and all of it, a probe is one request and not all that
//! wait, and after a probe that succeeded the share of requests that may ask doubles with each step.
//! Deliberately not here: what a request gets that may not ask (`Fallback`).

use std::sync::{Mutex, PoisonError};

/// How patient a breaker is; times are nanoseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BreakerSettings {
    /// Failures in a row after which the store is left alone.
    pub failures: u32,
    /// How long it has to fail: many calls that wait for one late answer are one failure, and a machine that
    /// is busy for a moment is no store that is away.
    pub least: u64,
    /// The first wait; it doubles with each probe that fails.
    pub wait: u64,
    /// The longest wait.
    pub longest: u64,
    /// The length of a step of the way back.
    pub step: u64,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            least: 100_000_000,
            wait: 200_000_000,
            longest: 10_000_000_000,
            step: 250_000_000,
        }
    }
}

/// What a request may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Admission {
    /// Ask the store.
    Ask,
    /// Ask the store, as the one that tries; the others wait for what it reports.
    Probe,
    /// Don't ask: take the fallback.
    Fallback,
}

/// For metrics and the journal, which tells each change once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BreakerState {
    /// The store answers.
    Closed,
    /// It is left alone.
    Open,
    /// It answers again, and is asked by more and more.
    Recovering,
}

/// The state for one store.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed {
        failures: u32,
        /// Of the first of them.
        since: u64,
    },
    Open {
        wait: u64,
        until: u64,
        probing: Option<u64>,
    },
    Recovering {
        since: u64,
        wait: u64,
    },
}

impl State {
    const WELL: Self = Self::Closed {
        failures: 0,
        since: 0,
    };
}

/// A probe that reported nothing for this long is taken for lost.
const LOST: u64 = 5_000_000_000;

/// Steps of the way back: 1/16, 1/8, 1/4, 1/2 of the requests, then all.
const STEPS: u64 = 4;

impl Breaker {
    /// For one store.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: Mutex::new(State::WELL),
        }
    }

    /// Whether a request may ask. `random` is any 64 bits; `now` is in nanoseconds of a clock that
    /// does not go back.
    pub fn admit(&self, now: u64, random: u64) -> Admission {
        let mut state = self.lock();
        match &mut *state {
            State::Closed { .. } => Admission::Ask,
            State::Open { until, probing, .. } => {
                let is_lost = probing.is_some_and(|began| now.saturating_sub(began) > LOST);
                if now < *until || (probing.is_some() && !is_lost) {
                    return Admission::Fallback;
                }
                *probing = Some(now);
                Admission::Probe
            }
            State::Recovering { since, .. } => {
                let step = now.saturating_sub(*since) / self.settings.step.max(1);
                if step >= STEPS {
                    *state = State::WELL;
                    return Admission::Ask;
                }
                let share = 1_u64 << step;
                if random % (1 << STEPS) < share {
                    Admission::Ask
                } else {
                    Admission::Fallback
                }
            }
        }
    }

    /// A call succeeded. Gives the new state if it is another.
    pub fn succeeded(&self, now: u64) -> Option<BreakerState> {
        let mut state = self.lock();
        match &mut *state {
            State::Closed { failures, .. } => {
                *failures = 0;
                None
            }
            State::Open { wait, .. } => {
                *state = State::Recovering {
                    since: now,
                    wait: *wait,
                };
                Some(BreakerState::Recovering)
            }
            State::Recovering { .. } => None,
        }
    }

    /// A call failed: a time-out, an error, or a reply that cannot be. Gives the new state if it is
    /// another.
    pub fn failed(&self, now: u64, random: u64) -> Option<BreakerState> {
        let mut state = self.lock();
        let wait = match &mut *state {
            State::Closed { failures, since } => {
                if *failures == 0 {
                    *since = now;
                }
                *failures = failures.saturating_add(1);
                let is_short = now.saturating_sub(*since) < self.settings.least;
                if *failures < self.settings.failures || is_short {
                    return None;
                }
                self.settings.wait
            }
            State::Open { until, probing, .. } if now < *until || probing.is_none() => {
                // A call from before: nothing new.
                return None;
            }
            State::Open { wait, .. } | State::Recovering { wait, .. } => {
                wait.saturating_mul(2).min(self.settings.longest)
            }
        };
        let was_open = matches!(*state, State::Open { .. });
        let half = wait / 2;
        let until = now
            .saturating_add(half)
            .saturating_add(random % half.max(1));
        *state = State::Open {
            wait,
            until,
            probing: None,
        };
        (!was_open).then_some(BreakerState::Open)
    }

    /// The state at `now`.
    pub fn state(&self, now: u64) -> BreakerState {
        match *self.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Recovering { since, .. } => {
                let step = now.saturating_sub(since) / self.settings.step.max(1);
                if step >= STEPS {
                    BreakerState::Closed
                } else {
                    BreakerState::Recovering
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Each state is set at once: a panic leaves none half made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn opened(random: u64) -> Breaker {
        let breaker = Breaker::new(BreakerSettings {
            least: 0,
            ..BreakerSettings::default()
        });
        for _ in 0..4 {
            assert_eq!(breaker.failed(0, random), None);
        }
        assert_eq!(breaker.failed(0, random), Some(BreakerState::Open));
        breaker
    }

    #[test]
    fn a_moment_without_answers_is_no_store_that_is_away() {
        let breaker = Breaker::new(BreakerSettings::default());
        for _ in 0..1_000 {
            assert_eq!(breaker.failed(1_000 * MS, 0), None);
        }
        assert_eq!(breaker.failed(1_099 * MS, 0), None);
        assert_eq!(breaker.succeeded(1_100 * MS), None);
        for time in [2_000, 2_020, 2_040, 2_060, 2_080] {
            assert_eq!(breaker.failed(time * MS, 0), None);
        }
        assert_eq!(breaker.failed(2_100 * MS, 0), Some(BreakerState::Open));
    }

    #[test]
    fn a_success_between_failures_starts_the_count_anew() {
        let breaker = Breaker::new(BreakerSettings::default());
        for _ in 0..20 {
            for _ in 0..4 {
                assert_eq!(breaker.failed(0, 0), None);
            }
            assert_eq!(breaker.succeeded(0), None);
        }
        assert_eq!(breaker.admit(0, 0), Admission::Ask);
    }

    #[test]
    fn one_probe_at_a_time_and_longer_waits() {
        let breaker = opened(0);
        assert_eq!(breaker.admit(99 * MS, 0), Admission::Fallback);
        assert_eq!(breaker.admit(100 * MS, 0), Admission::Probe);
        assert_eq!(breaker.admit(100 * MS, 0), Admission::Fallback);
        assert_eq!(breaker.failed(105 * MS, 0), None);
        // 400 ms, at least half of it.
        assert_eq!(breaker.admit(304 * MS, 0), Admission::Fallback);
        assert_eq!(breaker.admit(305 * MS, 0), Admission::Probe);
        // Stragglers from before don't make it wait longer.
        assert_eq!(breaker.failed(306 * MS, 0), None);
        assert_eq!(breaker.failed(307 * MS, 0), None);
        assert_eq!(breaker.admit(306 * MS + 400 * MS, 0), Admission::Probe);
        // A probe that never reports does not keep it open for good.
        assert_eq!(breaker.admit(5_000 * MS, 0), Admission::Fallback);
        assert_eq!(breaker.admit(6_000 * MS, 0), Admission::Probe);
    }

    #[test]
    fn instances_come_back_at_different_times_and_step_by_step() {
        // A thousand instances lose the store at once.
        let mut state = 1_u64;
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state >> 20
        };
        let breakers: Vec<_> = (0..1_000).map(|_| opened(random())).collect();
        let mut most = 0;
        for time in 0..200 {
            let probes = breakers
                .iter()
                .filter(|breaker| breaker.admit(time * MS, 0) == Admission::Probe);
            most = most.max(probes.count());
        }
        assert!(most <= 30, "{most} of 1000 in one millisecond");
        let breaker = &breakers[0];
        assert_eq!(breaker.succeeded(200 * MS), Some(BreakerState::Recovering));
        let mut share = |at: u64| {
            let asked = (0..1_600).filter(|_| breaker.admit(at, random()) == Admission::Ask);
            asked.count()
        };
        assert!((50..=160).contains(&share(201 * MS)));
        assert!((300..=500).contains(&share(800 * MS)));
        assert_eq!(share(1_300 * MS), 1_600);
        assert_eq!(breaker.state(1_300 * MS), BreakerState::Closed);
    }

    #[test]
    fn a_failure_on_the_way_back_opens_it_again() {
        let breaker = opened(0);
        assert_eq!(breaker.admit(100 * MS, 0), Admission::Probe);
        assert_eq!(breaker.succeeded(101 * MS), Some(BreakerState::Recovering));
        assert_eq!(breaker.failed(102 * MS, 0), Some(BreakerState::Open));
        assert_eq!(breaker.state(103 * MS), BreakerState::Open);
        assert_eq!(breaker.admit(103 * MS, 0), Admission::Fallback);
    }
}
