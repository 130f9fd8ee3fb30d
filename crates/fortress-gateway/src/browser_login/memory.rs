//! What must not happen twice, or must not be forgotten: answers that were given, sessions that were
//! logged out, and tokens that were renewed. Living: it survives a reload, but neither a restart nor
//! the way to another instance, where the issuer is the one who refuses (a code counts once, RFC
//! 6749, section 4.1.2; a revoked refresh token gives nothing).

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::digest;
use fortress_auth::{
    login::{LoginError, Session},
    replay::{ReplayError, Replays},
};
use fortress_model::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::Failure;

/// Answers of issuers that are remembered until they would be too late anyway.
const ANSWERS: usize = 100_000;
/// Sessions that were logged out; beyond them those that nobody shows any more are forgotten.
const ENDED: usize = 100_000;
/// Sessions whose new tokens are kept for requests that still come with the old ones: of one page,
/// many at once. About 8 KiB each.
const RENEWED: usize = 4_000;
/// Renewals that may be under way at once; more wait for their next request.
const RENEWALS: usize = 1_000;
/// Questions to one issuer that may be under way at once.
const QUESTIONS: usize = 128;

/// An issuer that failed is left alone for so long: who waits for it would only wait longer.
const LEFT_ALONE: Duration = Duration::from_secs(2);

/// What one login remembers.
pub(crate) struct LoginMemory {
    answers: Replays,
    ended: Cache<String, Timestamp>,
    renewed: Cache<[u8; 32], Arc<Session>>,
    flights: Mutex<HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>>,
    questions: Semaphore,
    left_alone: AtomicU64,
}

/// What came of renewing tokens. Told to all who wait for it.
pub(super) type Outcome = Result<Arc<Session>, Unrenewed>;

/// Why there are no new tokens.
#[derive(Clone, Debug)]
pub(super) enum Unrenewed {
    /// The issuer does not give any: the session is over.
    Ended(Arc<str>),
    /// The issuer could not be asked.
    Unavailable(Arc<str>),
}

/// What a request does about tokens that are due.
pub(super) enum Role {
    Ask(Flight),
    Wait(watch::Receiver<Option<Outcome>>),
    GiveUp,
}

/// A renewal under way. Dropping it without an outcome lets those who wait ask themselves.
pub(super) struct Flight {
    memory: Arc<LoginMemory>,
    name: [u8; 32],
    outcome: watch::Sender<Option<Outcome>>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.memory.flights().remove(&self.name);
    }
}

impl Flight {
    /// Tells all who wait.
    pub(super) fn land(self, outcome: Outcome) {
        if let Ok(session) = &outcome {
            // Before the flight ends, so that nobody asks again in between.
            self.memory.renewed.insert(self.name, Arc::clone(session));
        }
        self.outcome.send_replace(Some(outcome));
    }

    /// To wait for it oneself.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Outcome>> {
        self.outcome.subscribe()
    }
}

impl Default for LoginMemory {
    fn default() -> Self {
        Self {
            answers: Replays::new(ANSWERS),
            ended: Cache::new(ENDED),
            renewed: Cache::new(RENEWED),
            flights: Mutex::default(),
            questions: Semaphore::new(QUESTIONS),
            left_alone: AtomicU64::new(0),
        }
    }
}

impl LoginMemory {
    /// Notes that a login was answered, which it is once.
    pub(super) fn answered(
        &self,
        state: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let noted = self.answers.remember(&hash(state), until, now);
        noted.map_err(|error| match error {
            ReplayError::Again => Failure::Refused(LoginError::Again.to_string()),
            ReplayError::Full => {
                Failure::Unavailable(format!("{ANSWERS} logins were answered a moment ago"))
            }
        })
    }

    /// Notes that a session was logged out.
    pub(super) fn end(&self, session: &Session, until: Timestamp) {
        self.ended.insert(session.id.clone(), until);
    }

    /// It was logged out.
    pub(super) fn is_ended(&self, session: &Session, now: Timestamp) -> bool {
        self.ended.get(&session.id).is_some_and(|until| now < until)
    }

    /// What a session's tokens were renewed to before, if that is newer.
    pub(super) fn renewed(&self, session: &Session) -> Option<Arc<Session>> {
        let found = self.renewed.get(&session.fingerprint())?;
        (found.got > session.got).then_some(found)
    }

    /// Who asks the issuer for a session's new tokens: one alone.
    pub(super) fn role(self: &Arc<Self>, session: &Session) -> Role {
        let name = session.fingerprint();
        let mut flights = self.flights();
        if let Some(under_way) = flights.get(&name) {
            return Role::Wait(under_way.clone());
        }
        if flights.len() >= RENEWALS {
            return Role::GiveUp;
        }
        let (outcome, waiting) = watch::channel(None);
        flights.insert(name, waiting);
        Role::Ask(Flight {
            memory: Arc::clone(self),
            name,
            outcome,
        })
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among the questions; `None` if there is none.
    pub(super) fn question(&self) -> Option<SemaphorePermit<'_>> {
        self.questions.try_acquire().ok()
    }

    /// The issuer failed a moment ago.
    pub(super) fn is_left_alone(&self, now: Timestamp) -> bool {
        now.0 < self.left_alone.load(Ordering::Relaxed)
    }

    /// The issuer failed.
    pub(super) fn leave_alone(&self, now: Timestamp) {
        let until = later(now, LEFT_ALONE);
        self.left_alone.store(until.0, Ordering::Relaxed);
    }
}

impl fmt::Debug for LoginMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginMemory({:?})", self.answers)
    }
}

pub(super) fn hash(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    for (into, byte) in hash.iter_mut().zip(digest.as_ref()) {
        *into = *byte;
    }
    hash
}

pub(super) fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(time.0.saturating_add(by))
}
