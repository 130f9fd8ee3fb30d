//! Counts that all instances share, through Redis: the handle that requests ask.
//!
//! A request spends what this instance has leased, and asks only when that is used up. It hands its
//! question to one thread (`keeper`), over a queue with a bound, and waits for the answer no longer
//! than `store.redis.timeout`; a Redis that does not answer is left alone for a while (`Breaker`), and
//! the policy of the limit holds meanwhile. Deliberately not here: how limits count
//! (`fortress-limits`), and the connection (`connect`).

mod clock;
mod connect;
mod keeper;
mod log;
mod slots;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use aws_lc_rs::digest;
use fortress_limits::{
    Key,
    distributed::{
        Admission, Answer, Breaker, BreakerSettings, BreakerState, Call, Fallback, Leases, Shared,
        Spend,
    },
    key::{Stage, Subject},
    limiter::{Due, Given, Limit, Limits, Now, Verdict},
};
use fortress_model::{
    Mode, Timestamp,
    config::{LimitFault, MOST_LIMITS, RedisServers, RedisSettings},
};
use smallvec::SmallVec;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

pub(crate) use clock::LogClock;
pub(crate) use log::Log;
pub(crate) use slots::Permits;
use slots::SharedSlots;

use crate::{
    journal::{NoteStatus, Notes},
    server::ServerError,
};

/// Questions that wait for the thread; those beyond are not asked, and the policy holds.
pub(crate) const QUEUE: usize = 4_096;

/// Keys that an instance has leases of; with more of them leases of idle keys are forgotten.
const LEASED_KEYS: usize = 1 << 16;

/// The counts that all instances share.
#[derive(Debug)]
pub(crate) struct SharedCounts {
    jobs: mpsc::Sender<Job>,
    common: Arc<Common>,
    log: Arc<Log>,
    /// What the thread needs, until it is started.
    waiting: Mutex<Option<(mpsc::Receiver<Job>, log::Readings, RedisSettings)>>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Of the settings: others need a restart.
    fingerprint: [u8; 32],
}

/// What requests and the thread have in common.
#[derive(Debug)]
struct Common {
    leases: Arc<Leases>,
    slots: SharedSlots,
    breaker: Breaker,
    /// There is a connection on which Redis answered, and it was not silent since.
    is_there: AtomicBool,
    /// The zero of the clock that does not go back.
    began: Instant,
    timeout: Duration,
    patience: Duration,
    /// How many instances the configuration says there are.
    said: Option<u32>,
    /// How many Redis knew last.
    known: AtomicU32,
    random: RandomState,
    drawn: AtomicU64,
    /// Tells which secret keys are hashed under.
    under: String,
    pub(crate) totals: Totals,
    notes: OnceLock<Notes>,
}

/// Totals since the start; they only grow.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Calls that Redis answered in time.
    pub(crate) answered: AtomicU64,
    /// Calls that it answered late, wrongly or not at all.
    pub(crate) failed: AtomicU64,
    /// Questions that found the queue full.
    pub(crate) crowded: AtomicU64,
    /// Times that Redis was given up.
    pub(crate) lost: AtomicU64,
    /// Requests that a limit or the defence of logins decided about without Redis: alone, let through, refused.
    pub(crate) fallbacks: [AtomicU64; 3],
}

/// Something to be done by the thread.
#[derive(Debug)]
struct Job {
    work: Work,
    sent: Instant,
}

#[derive(Debug)]
enum Work {
    /// Units for a request that waits.
    Ask(Call, Timestamp, oneshot::Sender<Answer>),
    /// Units for a lease, beside a request that passes.
    Refill(Call, Timestamp),
    /// Units that nobody waits for: given back, or owed.
    Settle(Call, Timestamp),
}

/// The shared count could not be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the counts that instances share cannot be had")]
pub(crate) struct Away;

impl SharedCounts {
    /// Nothing runs before [`SharedCounts::start`]. `under` tells which secret keys are hashed under.
    pub(crate) fn new(settings: &RedisSettings, began: Instant, under: String) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        let patience = patience(settings.timeout);
        let common = Common {
            leases: Arc::new(Leases::new(LEASED_KEYS)),
            slots: SharedSlots::new(patience),
            breaker: Breaker::new(BreakerSettings::default()),
            is_there: AtomicBool::new(false),
            began,
            timeout: settings.timeout,
            patience,
            said: settings.instances,
            known: AtomicU32::new(1),
            random: RandomState::new(),
            drawn: AtomicU64::new(0),
            under,
            totals: Totals::default(),
            notes: OnceLock::new(),
        };
        let common = Arc::new(common);
        let (log, readings) = Log::new(Arc::clone(&common));
        Self {
            jobs,
            common,
            log,
            waiting: Mutex::new(Some((waiting, readings, settings.clone()))),
            stop: watch::Sender::new(false),
            thread: Mutex::default(),
            fingerprint: fingerprint(settings),
        }
    }

    /// Whether these are the settings that it was made with.
    pub(crate) fn is_of(&self, settings: &RedisSettings) -> bool {
        self.fingerprint == fingerprint(settings)
    }

    /// Starts the thread, and waits a moment for its first connection; a second time it does nothing.
    /// Blocks; not within a runtime.
    ///
    /// # Errors
    /// No thread or no runtime could be made.
    pub(crate) fn start(&self, notes: Notes) -> Result<(), ServerError> {
        let waiting = lock(&self.waiting).take();
        let Some((jobs, log, settings)) = waiting else {
            return Ok(());
        };
        let logins = self.log();
        self.common.notes.get_or_init(|| notes);
        let common = Arc::clone(&self.common);
        let thread = keeper::start(settings, common, (jobs, log), self.stop.subscribe())?;
        *lock(&self.thread) = Some(thread);
        logins.wait();
        Ok(())
    }

    /// Gives back what is leased and ends the thread, within a moment. Blocks; not within a runtime.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that asks Redis has panicked");
        }
    }

    /// The leases, for [`fortress_limits::limiter::Limiter`].
    pub(crate) fn leases(&self) -> Arc<Leases> {
        Arc::clone(&self.common.leases)
    }

    /// The log of logins.
    pub(crate) fn log(&self) -> Arc<Log> {
        Arc::clone(&self.log)
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.common.totals
    }

    /// Whether Redis is left alone for a while.
    pub(crate) fn is_away(&self) -> bool {
        self.common.is_open()
    }

    /// How many instances there are believed to be; at least 1.
    pub(crate) fn instances(&self) -> u32 {
        let known = || self.common.known.load(Relaxed);
        self.common.said.unwrap_or_else(known).max(1)
    }

    /// Finds out about all limits of a stage that instances share. Waits only where a lease is used
    /// up and for what is in flight, for all of them at once, and at most `store.redis.timeout`.
    pub(crate) async fn find_out(
        &self,
        limits: &Limits,
        stage: Stage,
        subject: &impl Subject,
        now: Now,
    ) -> Found {
        let mut given: SmallVec<[Given; MOST_LIMITS]> = SmallVec::new();
        let mut asked: SmallVec<[(Due, &Limit, oneshot::Receiver<Answer>); 2]> = SmallVec::new();
        let mut is_refused = false;
        for (due, limit, shared) in limits.shared_due(stage, subject) {
            let verdict = match self.spend(due, limit, shared, now) {
                Spent::Decided(verdict) => {
                    is_refused |= refuses(limit, verdict);
                    verdict
                }
                Spent::Asked(answer) => {
                    asked.push((due, limit, answer));
                    continue;
                }
                Spent::Away => self.fall_back(limit.on_fault()),
            };
            given.push(Given { due, verdict });
        }
        let deadline = Instant::now() + self.common.timeout;
        let in_flight = limits.in_flight_due(stage, subject);
        let entering = if is_refused {
            given.extend(self.peek(in_flight));
            None
        } else {
            Some(self.enter(in_flight))
        };
        let patient = Instant::now() + self.common.patience;
        for (due, limit, answer) in asked {
            // Of a rate one decision more or less is soon forgotten; all else is to be exact.
            let is_exact = matches!(limit.shared(), Some(Shared::Quota(_)));
            let until = if is_exact { patient } else { deadline };
            let verdict = match tokio::time::timeout_at(until, answer).await {
                Ok(Ok(Answer::Pass(decision) | Answer::Refuse(decision))) => {
                    Verdict::Shared(decision)
                }
                Ok(Ok(Answer::Again(_)) | Err(_)) => self.fall_back(limit.on_fault()),
                Err(_) => {
                    self.common.leases.failed(due.key, self.common.now());
                    if is_exact {
                        self.common.failed("it does not answer in time");
                    }
                    self.fall_back(limit.on_fault())
                }
            };
            given.push(Given { due, verdict });
        }
        let permits = match entering {
            Some(entering) => entering.wait(self, patient, &mut given).await,
            None => Permits::new(),
        };
        Found { given, permits }
    }

    /// Takes what a request has cost beyond what was taken before; nobody waits for it.
    pub(crate) fn owe(&self, shared: &Shared, key: Key, units: u64, wall: Timestamp) {
        let call = Call {
            key,
            shared: shared.clone(),
            least: 0,
            want: units,
            returns: false,
        };
        if self.common.admits() {
            self.send(Work::Settle(call, wall));
        }
    }

    fn spend(&self, due: Due, limit: &Limit, shared: &Shared, now: Now) -> Spent {
        if !self.common.may_decide(limit.on_fault()) {
            return Spent::Away;
        }
        let leases = &self.common.leases;
        let call = |least, want| Call {
            key: due.key,
            shared: shared.clone(),
            least,
            want,
            returns: false,
        };
        match leases.spend(due.key, shared, due.cost, now.lease_time()) {
            Spend::Pass { decision, refill } => {
                if let Some(units) = refill
                    && !(self.common.admits() && self.send(Work::Refill(call(1, units), now.wall)))
                {
                    leases.failed(due.key, now.lease_time());
                }
                Spent::Decided(Verdict::Shared(decision))
            }
            Spend::Refuse(decision) => Spent::Decided(Verdict::Shared(decision)),
            Spend::Ask { want } => {
                let (answer, answered) = oneshot::channel();
                let asks = || Work::Ask(call(due.cost, want), now.wall, answer);
                if self.common.admits() && self.send(asks()) {
                    return Spent::Asked(answered);
                }
                leases.failed(due.key, now.lease_time());
                Spent::Away
            }
        }
    }

    fn fall_back(&self, policy: LimitFault) -> Verdict {
        self.common.fell_back(policy);
        match Fallback::of(policy, self.instances()) {
            Fallback::Alone { instances } => Verdict::Alone { instances },
            Fallback::Pass => Verdict::Open,
            Fallback::Refuse => Verdict::Closed,
        }
    }

    fn send(&self, work: Work) -> bool {
        let job = Job {
            work,
            sent: Instant::now(),
        };
        let sent = self.jobs.try_send(job).is_ok();
        if !sent {
            self.common.totals.crowded.fetch_add(1, Relaxed);
            self.common
                .failed("more questions wait for it than there is room for");
        }
        sent
    }
}

/// What was found out about the limits of a stage.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) given: SmallVec<[Given; MOST_LIMITS]>,
    /// For what is in flight: kept as long as the request, if all limits let it pass.
    pub(crate) permits: Permits,
}

enum Spent {
    Decided(Verdict),
    Asked(oneshot::Receiver<Answer>),
    Away,
}

impl Common {
    /// Nanoseconds of the clock that does not go back; never zero.
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    fn random(&self) -> u64 {
        self.random.hash_one(self.drawn.fetch_add(1, Relaxed))
    }

    fn is_open(&self) -> bool {
        self.breaker.state(self.now()) == BreakerState::Open
    }

    /// Whether what was taken before may still decide, for a limit with this policy: one that refuses
    /// while Redis is away does so from the moment that this is known.
    fn may_decide(&self, policy: LimitFault) -> bool {
        match policy {
            LimitFault::Closed => self.is_there.load(Relaxed) && !self.is_open(),
            LimitFault::Local | LimitFault::Open => true,
        }
    }

    /// Whether Redis may be asked now.
    fn admits(&self) -> bool {
        match self.breaker.admit(self.now(), self.random()) {
            Admission::Ask | Admission::Probe => true,
            Admission::Fallback => false,
        }
    }

    /// Counts a decision that was made without Redis.
    fn fell_back(&self, policy: LimitFault) {
        let [alone, open, closed] = &self.totals.fallbacks;
        let total = match policy {
            LimitFault::Local => alone,
            LimitFault::Open => open,
            LimitFault::Closed => closed,
        };
        total.fetch_add(1, Relaxed);
    }

    /// A call was answered in time, and as it should be.
    fn succeeded(&self) {
        self.totals.answered.fetch_add(1, Relaxed);
        match self.breaker.succeeded(self.now()) {
            Some(BreakerState::Recovering | BreakerState::Closed) => {
                tracing::info!("Redis answers again: instances share their counts");
                self.note(
                    "store.back",
                    NoteStatus::Success,
                    "Redis answers again: instances share their counts",
                );
            }
            Some(BreakerState::Open) | None => {}
        }
    }

    /// A call failed. `why` is for the operator, and holds no secret.
    fn failed(&self, why: &str) {
        self.totals.failed.fetch_add(1, Relaxed);
        match self.breaker.failed(self.now(), self.random()) {
            Some(BreakerState::Open) => {
                self.totals.lost.fetch_add(1, Relaxed);
                tracing::warn!(
                    "Redis is left alone for a while: {why}; `on_fault` of limits holds"
                );
                let detail = format!("Redis is left alone for a while: {why}");
                self.note("store.away", NoteStatus::Failure, &detail);
            }
            Some(BreakerState::Closed | BreakerState::Recovering) | None => {}
        }
    }

    fn note(&self, code: &'static str, status: NoteStatus, detail: &str) {
        if let Some(notes) = self.notes.get() {
            notes.note(code, status, detail);
        }
    }
}

/// Whether nothing else needs to be asked: the request is refused.
fn refuses(limit: &Limit, verdict: Verdict) -> bool {
    let is_refusal = match verdict {
        Verdict::Shared(decision) | Verdict::InFlight(decision, _) => !decision.allowed,
        Verdict::Closed => true,
        Verdict::Alone { .. } | Verdict::Open => false,
    };
    is_refusal && limit.mode() == Mode::Enforce
}

/// How long an answer may take before it is a failure of Redis. A few milliseconds late is what a busy
/// machine makes of a healthy one.
fn patience(timeout: Duration) -> Duration {
    const MOST: Duration = Duration::from_millis(50);
    (5 * timeout).min(MOST).max(timeout)
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells settings apart, passwords included.
fn fingerprint(settings: &RedisSettings) -> [u8; 32] {
    let secret = |secret: &Option<fortress_model::Secret<String>>| {
        let secret = secret.as_ref().map(|secret| secret.expose().as_bytes());
        digest::digest(&digest::SHA256, secret.unwrap_or_default())
    };
    let mut all = digest::Context::new(&digest::SHA256);
    // What is secret is left out of `Debug`.
    all.update(format!("{settings:?}").as_bytes());
    all.update(secret(&settings.password).as_ref());
    if let RedisServers::Sentinels { password, .. } = &settings.servers {
        all.update(secret(password).as_ref());
    }
    let mut found = [0; 32];
    let whole = all.finish();
    found.copy_from_slice(whole.as_ref());
    found
}

#[cfg(test)]
mod tests;
