//! How many requests an upstream can have at once before it answers more slowly, found by watching
//! it, so that what is too much is refused at once instead of queueing.
//!
//! The limit follows a gradient: the time that an answer takes when nothing queues, over the time
//! that answers take now. While they are equal the limit grows by its square root, a small queue;
//! as answers slow down it shrinks in proportion, and a failure that means overload takes a tenth.
//! The time without a queue is the least that was seen; since a busy upstream never shows it, the
//! limit is halved for one window each minute to see it again. (Netflix' gradient2 keeps a long
//! average instead, which a long overload teaches to take the overload for normal.)
//!
//! Of what there is, low requests may use seven tenths and normal ones nine; the rest is kept for
//! critical ones. Deliberately not here: timers and upstreams; time and outcomes come in.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Thousandths, in which the limit is kept between windows.
const MILLI: u64 = 1_000;

/// Answers of a window, below which it says nothing.
const SAMPLES: u64 = 10;

/// The shortest window, in nanoseconds.
const WINDOW: u64 = 100_000_000;

/// A window that has waited this long for answers takes those that it has.
const PATIENCE: u64 = 1_000_000_000;

/// How long the least time holds before it is measured again.
const BASELINE: u64 = 60_000_000_000;

/// Bounds of the limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The limit is never lower; at least 1.
    pub min: u32,
    /// The limit is never higher.
    pub max: u32,
    /// Where it begins.
    pub start: u32,
    /// Answers may take this many percent of the time without a queue before the limit shrinks.
    pub tolerance: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            min: 4,
            max: 1_000,
            start: 50,
            tolerance: 150,
        }
    }
}

/// What is refused first.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// Refused first: what can wait.
    Low,
    /// Most requests.
    #[default]
    Normal,
    /// Refused last.
    Critical,
}

/// How a request ended at the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It answered.
    Answered,
    /// It did not, or said that it is overloaded: a timeout, a refused connection, 503.
    Overloaded,
    /// It says nothing about the upstream: the client went away.
    Ignored,
}

/// The limit of one upstream.
#[derive(Debug)]
pub struct Adaptive {
    settings: Settings,
    limit: AtomicU64,
    in_flight: AtomicU64,
    estimate: Mutex<Estimate>,
}

/// A request at the upstream. Dropping it without an outcome ends it as [`Outcome::Ignored`].
pub struct Pass {
    of: Arc<Adaptive>,
    began: u64,
    /// Requests in flight with this one.
    beside: u64,
    is_done: bool,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}

/// The upstream has enough.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Overload;

#[derive(Debug)]
struct Estimate {
    /// The limit in thousandths.
    limit: u64,
    /// Nanoseconds that an answer takes without a queue; zero is not known yet.
    baseline: u64,
    /// When it has to be measured again.
    due: u64,
    /// The limit to go back to after measuring.
    probing: Option<u64>,
    window: Window,
}

#[derive(Debug, Default)]
struct Window {
    began: u64,
    answers: u64,
    total: u64,
    overloaded: bool,
    /// The most requests that were in flight.
    peak: u64,
}

impl Adaptive {
    /// For one upstream.
    pub fn new(settings: Settings) -> Arc<Self> {
        let min = settings.min.max(1);
        let settings = Settings {
            min,
            max: settings.max.max(min),
            tolerance: settings.tolerance.max(100),
            ..settings
        };
        let start = u64::from(settings.start.clamp(settings.min, settings.max));
        Arc::new(Self {
            settings,
            limit: AtomicU64::new(start),
            in_flight: AtomicU64::new(0),
            estimate: Mutex::new(Estimate {
                limit: start * MILLI,
                baseline: 0,
                due: 0,
                probing: None,
                window: Window::default(),
            }),
        })
    }

    /// Lets a request through if the upstream can take it. `now` is in nanoseconds of a clock that
    /// does not go back.
    pub fn enter(self: &Arc<Self>, priority: Priority, now: u64) -> Result<Pass, Overload> {
        let limit = self.limit();
        let share = match priority {
            Priority::Low => limit * 7 / 10,
            Priority::Normal => limit * 9 / 10,
            Priority::Critical => limit,
        };
        let share = share.max(1);
        let one_more = |count: u64| (count < share).then_some(count + 1);
        let before = self
            .in_flight
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more);
        match before {
            Ok(before) => Ok(Pass {
                of: Arc::clone(self),
                began: now,
                beside: before + 1,
                is_done: false,
            }),
            Err(_) => Err(Overload),
        }
    }

    /// The limit now.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Requests at the upstream now.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// What an answer takes when nothing queues, as far as it was seen.
    pub fn baseline(&self) -> Duration {
        Duration::from_nanos(self.lock().baseline)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Estimate> {
        // The estimate is numbers, each of which is fine whatever the others are.
        self.estimate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn learn(&self, took: u64, beside: u64, outcome: Outcome, now: u64) {
        let mut estimate = self.lock();
        let is_probing = estimate.probing.is_some();
        let window = &mut estimate.window;
        // What was let through before measuring began waited behind more than is let through now.
        if is_probing && now.saturating_sub(took) < window.began {
            return;
        }
        window.peak = window.peak.max(beside);
        match outcome {
            Outcome::Answered => {
                window.answers += 1;
                window.total = window.total.saturating_add(took);
            }
            Outcome::Overloaded => window.overloaded = true,
            Outcome::Ignored => return,
        }
        let age = now.saturating_sub(window.began);
        let enough = window.answers >= SAMPLES && age >= WINDOW;
        let waited = age >= PATIENCE && (window.answers > 0 || window.overloaded);
        if enough || waited {
            estimate.close(&self.settings, now);
            self.limit
                .store((estimate.limit / MILLI).max(1), Ordering::Relaxed);
        }
    }
}

impl Estimate {
    fn close(&mut self, settings: &Settings, now: u64) {
        let window = std::mem::take(&mut self.window);
        self.window.began = now;
        let (low, high) = (
            u64::from(settings.min) * MILLI,
            u64::from(settings.max) * MILLI,
        );
        let took = window.total.checked_div(window.answers);
        if let Some(before) = self.probing.take() {
            self.limit = before;
            let took = took.unwrap_or(self.baseline);
            // Much less than believed: even a quarter may have been too much, so look again.
            let again = took.saturating_mul(4) < self.baseline.saturating_mul(3);
            self.baseline = took;
            self.due = if again {
                now
            } else {
                now.saturating_add(BASELINE)
            };
            return;
        }
        let limit = self.limit / MILLI;
        let is_busy = window.peak.saturating_mul(2) >= limit;
        if let Some(took) = took {
            if self.baseline == 0 {
                self.baseline = took.max(1);
                self.due = if is_busy {
                    now
                } else {
                    now.saturating_add(BASELINE)
                };
            } else if took < self.baseline {
                self.baseline = took.max(1);
                self.due = now.saturating_add(BASELINE);
            }
        }
        let next = if window.overloaded {
            self.limit / 10 * 9
        } else if let Some(took) = took {
            let fine = self.baseline.saturating_mul(u64::from(settings.tolerance)) / 100;
            let gradient = (fine.saturating_mul(MILLI) / took.max(1)).clamp(MILLI / 2, MILLI);
            let target = limit * gradient + limit.isqrt().max(1) * MILLI;
            // A quarter of the way, so that one odd window does little.
            (self.limit * 3 + target) / 4
        } else {
            self.limit
        };
        // Idle windows say nothing about what more would do.
        if is_busy || next < self.limit {
            self.limit = next.clamp(low, high);
        }
        if is_busy && now >= self.due {
            self.probing = Some(self.limit);
            self.limit = (self.limit / 4).clamp(low, high);
        }
    }
}

impl Pass {
    /// The upstream is done with it.
    pub fn finish(mut self, outcome: Outcome, now: u64) {
        self.end(outcome, now);
    }

    fn end(&mut self, outcome: Outcome, now: u64) {
        if !self.is_done {
            self.is_done = true;
            self.of.in_flight.fetch_sub(1, Ordering::AcqRel);
            let took = now.saturating_sub(self.began);
            self.of.learn(took, self.beside, outcome, now);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.end(Outcome::Ignored, self.began);
    }
}

#[cfg(test)]
mod tests {
    use std::{cmp::Reverse, collections::BinaryHeap};

    use super::*;

    const MS: u64 = 1_000_000;

    /// An upstream with workers that take a fixed time, and a queue without end.
    struct Upstream {
        free: BinaryHeap<Reverse<u64>>,
        takes: u64,
    }

    impl Upstream {
        fn new(workers: usize, takes: u64) -> Self {
            Self {
                free: (0..workers).map(|_| Reverse(0)).collect(),
                takes,
            }
        }

        /// When a request that comes now is answered.
        fn serve(&mut self, now: u64) -> u64 {
            let Reverse(free) = self.free.pop().unwrap();
            let end = free.max(now) + self.takes;
            self.free.push(Reverse(end));
            end
        }
    }

    /// Answers and refusals of a run.
    #[derive(Default)]
    struct Run {
        times: Vec<u64>,
        refused: [u64; 3],
        sent: [u64; 3],
    }

    impl Run {
        fn p99(&mut self) -> u64 {
            self.times.sort_unstable();
            self.times[self.times.len() * 99 / 100]
        }
    }

    /// A request each `every` nanoseconds, in turn of each priority given.
    fn run(
        adaptive: &Arc<Adaptive>,
        upstream: &mut Upstream,
        priorities: &[Priority],
        (from, to, every): (u64, u64, u64),
    ) -> Run {
        let mut run = Run::default();
        let mut pending: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
        let mut passes: Vec<Option<Pass>> = Vec::new();
        let mut now = from;
        let mut number = 0;
        while now < to {
            while let Some(Reverse((end, id))) = pending.peek().copied() {
                if end > now {
                    break;
                }
                pending.pop();
                passes[id].take().unwrap().finish(Outcome::Answered, end);
            }
            let priority = priorities[number % priorities.len()];
            let class = match priority {
                Priority::Low => 0,
                Priority::Normal => 1,
                Priority::Critical => 2,
            };
            run.sent[class] += 1;
            match adaptive.enter(priority, now) {
                Ok(pass) => {
                    let end = upstream.serve(now);
                    run.times.push(end - now);
                    pending.push(Reverse((end, passes.len())));
                    passes.push(Some(pass));
                }
                Err(Overload) => run.refused[class] += 1,
            }
            number += 1;
            now += every;
        }
        while let Some(Reverse((end, id))) = pending.pop() {
            passes[id].take().unwrap().finish(Outcome::Answered, end);
        }
        run
    }

    #[test]
    fn five_times_too_much_is_answered_as_fast_as_what_fits() {
        // 20 workers, 10 ms: 2,000 a second. 10,000 a second come for two minutes.
        let adaptive = Adaptive::new(Settings::default());
        let mut upstream = Upstream::new(20, 10 * MS);
        let normal = [Priority::Normal];
        run(&adaptive, &mut upstream, &normal, (0, 10_000 * MS, MS / 10));
        let mut busy = run(
            &adaptive,
            &mut upstream,
            &normal,
            (10_000 * MS, 130_000 * MS, MS / 10),
        );
        let p99 = busy.p99();
        let answered = busy.times.len();
        assert!(p99 <= 25 * MS, "p99 {} ms", p99 / MS);
        assert!(answered >= 2_000 * 120 * 95 / 100, "{answered} of 240,000");
        assert_eq!(adaptive.in_flight(), 0);
        assert!((20..60).contains(&adaptive.limit()), "{}", adaptive.limit());
    }

    #[test]
    fn without_overload_nothing_is_refused() {
        let adaptive = Adaptive::new(Settings::default());
        let mut upstream = Upstream::new(20, 10 * MS);
        let found = run(
            &adaptive,
            &mut upstream,
            &[Priority::Low],
            (0, 150_000 * MS, MS),
        );
        assert_eq!(found.refused, [0; 3]);
    }

    #[test]
    fn an_upstream_that_slows_down_and_recovers() {
        let adaptive = Adaptive::new(Settings::default());
        let mut upstream = Upstream::new(20, 10 * MS);
        let normal = [Priority::Normal];
        run(&adaptive, &mut upstream, &normal, (0, 20_000 * MS, MS / 2));
        upstream.takes = 100 * MS;
        run(
            &adaptive,
            &mut upstream,
            &normal,
            (20_000 * MS, 40_000 * MS, MS / 2),
        );
        let slow = adaptive.limit();
        let mut late = run(
            &adaptive,
            &mut upstream,
            &normal,
            (40_000 * MS, 60_000 * MS, MS / 2),
        );
        assert!(late.p99() <= 400 * MS, "{}", late.p99() / MS);
        upstream.takes = 10 * MS;
        let after = run(
            &adaptive,
            &mut upstream,
            &normal,
            (60_000 * MS, 120_000 * MS, MS / 2),
        );
        assert!(slow < 30, "{slow}");
        assert!(
            after.times.len() > 2_000 * 60 * 80 / 100,
            "{}",
            after.times.len()
        );
    }

    #[test]
    fn the_important_is_refused_last() {
        let adaptive = Adaptive::new(Settings::default());
        let mut upstream = Upstream::new(20, 10 * MS);
        // 4,000 a second, a quarter of it critical: half of all must go.
        let mix = [
            Priority::Critical,
            Priority::Low,
            Priority::Normal,
            Priority::Low,
        ];
        run(&adaptive, &mut upstream, &mix, (0, 10_000 * MS, MS / 4));
        let found = run(
            &adaptive,
            &mut upstream,
            &mix,
            (10_000 * MS, 40_000 * MS, MS / 4),
        );
        let share = |class: usize| found.refused[class] * 100 / found.sent[class];
        assert!(share(2) <= 2, "critical {}%", share(2));
        assert!(
            share(0) > share(1) && share(1) >= share(2),
            "{:?}",
            found.refused
        );
    }

    #[test]
    fn failures_shrink_the_limit_and_never_below_the_least() {
        let settings = Settings {
            min: 5,
            ..Settings::default()
        };
        let adaptive = Adaptive::new(settings);
        let mut now = 0;
        for _ in 0..100 {
            now += 1_100 * MS;
            let pass = adaptive.enter(Priority::Normal, now).unwrap();
            pass.finish(Outcome::Overloaded, now + MS);
        }
        assert_eq!(adaptive.limit(), 5);
    }

    #[test]
    fn what_is_dropped_is_no_longer_there_and_teaches_nothing() {
        let adaptive = Adaptive::new(Settings {
            start: 1,
            min: 1,
            ..Settings::default()
        });
        let pass = adaptive.enter(Priority::Critical, 0).unwrap();
        assert_eq!(adaptive.enter(Priority::Critical, 0).unwrap_err(), Overload);
        drop(pass);
        assert_eq!(adaptive.in_flight(), 0);
        assert_eq!(adaptive.baseline(), Duration::ZERO);
        assert!(adaptive.enter(Priority::Low, 0).is_ok());
    }
}
