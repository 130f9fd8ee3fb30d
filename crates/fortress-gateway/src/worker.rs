//! A worker: one thread with its own runtime, connections, upstream pool and journal ring.
//!
//! Nothing of a worker is shared but the snapshot, the counters and the bound on connections, so
//! that two requests on two cores never meet.

use std::{
    cell::RefCell,
    hash::{BuildHasher, RandomState},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, UNIX_EPOCH},
};

use arc_swap::{ArcSwap, Cache};
use fortress_model::{Clock, Decision, Outcome, SystemClock, Timestamp, decision::RequestId};
use fortress_waf::engine::{Desk, Memory};
use httpdate::HttpDate;
use tokio::{
    sync::watch,
    time::{Instant, error::Elapsed},
};

use crate::{
    compile::Gateway,
    connection::Open,
    connections::{Connections, Rates},
    guard::limit::Tally,
    journal::JournalHandle,
    metrics::{Metrics, Shard},
    upstream::Upstreams,
};

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gateway: Arc<ArcSwap<Gateway>>,
    pub(crate) connections: Connections,
    pub(crate) rates: Rates,
    pub(crate) metrics: Arc<Metrics>,
    /// Becomes `true` when the gateway is to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) in_flight: AtomicU64,
}

/// One thread's state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) upstreams: Upstreams,
    gateway: RefCell<Cache<Arc<ArcSwap<Gateway>>, Arc<Gateway>>>,
    journal: RefCell<JournalHandle>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) open: Open,
    ids: RequestIds,
    date: RefCell<(u64, [u8; 29])>,
    /// Memory of transactions that ended, for the next ones.
    #[expect(
        clippy::vec_box,
        reason = "a transaction takes and gives the box itself"
    )]
    memories: RefCell<Vec<Box<Memory>>>,
    desk: Rc<RefCell<Desk>>,
}

/// Memories that a worker keeps; more requests at once than that allocate theirs anew.
const MEMORIES: usize = 64;

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, journal: JournalHandle, shard: Arc<Shard>) -> Rc<Self> {
        let gateway = RefCell::new(Cache::new(Arc::clone(&shared.gateway)));
        Rc::new(Self {
            shared,
            upstreams: Upstreams::default(),
            gateway,
            journal: RefCell::new(journal),
            shard,
            open: Open::default(),
            ids: RequestIds::default(),
            date: RefCell::new((u64::MAX, *b"Thu, 01 Jan 1970 00:00:00 GMT")),
            memories: RefCell::default(),
            desk: Rc::default(),
        })
    }

    /// The snapshot in force. A request takes it once and keeps it to its end.
    pub(crate) fn gateway(&self) -> Arc<Gateway> {
        Arc::clone(self.gateway.borrow_mut().load())
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.shared.stopping.borrow()
    }

    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    pub(crate) fn request_id(&self, now: Timestamp) -> RequestId {
        self.ids.next(now)
    }

    pub(crate) fn lend_memory(&self) -> Box<Memory> {
        self.memories.borrow_mut().pop().unwrap_or_default()
    }

    /// Where its transactions run their rules.
    pub(crate) fn desk(&self) -> Rc<RefCell<Desk>> {
        Rc::clone(&self.desk)
    }

    pub(crate) fn take_back(&self, memory: Box<Memory>) {
        let mut memories = self.memories.borrow_mut();
        if memories.len() < MEMORIES {
            memories.push(memory);
        }
    }

    /// The `Date` field's value for this second (RFC 9110, section 5.6.7).
    pub(crate) fn date(&self) -> [u8; 29] {
        let now = self.now().seconds();
        let mut date = self.date.borrow_mut();
        if date.0 != now {
            let text = HttpDate::from(UNIX_EPOCH + Duration::from_secs(now)).to_string();
            *date = (now, text.as_bytes().try_into().unwrap_or(date.1));
        }
        date.1
    }
}

/// Carries a decision to the journal, whatever becomes of the request: dropping it records it.
#[derive(Debug)]
pub(crate) struct Recorder {
    worker: Rc<Worker>,
    decision: Option<Box<Decision>>,
    started: Instant,
    ended: Option<Instant>,
    /// Ends with the request.
    tally: Tally,
}

impl Recorder {
    pub(crate) fn new(worker: &Rc<Worker>, decision: Box<Decision>, started: Instant) -> Self {
        worker.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            worker: Rc::clone(worker),
            decision: Some(decision),
            started,
            ended: None,
            tally: Tally::default(),
        }
    }

    /// For an answer that is not recorded: the operations listener's, a redirect.
    pub(crate) fn none(worker: &Rc<Worker>) -> Self {
        worker.shared.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            worker: Rc::clone(worker),
            decision: None,
            started: Instant::now(),
            ended: None,
            tally: Tally::default(),
        }
    }

    /// The record, to complete it.
    pub(crate) fn decision(&mut self) -> Option<&mut Decision> {
        self.decision.as_deref_mut()
    }

    /// What limits gave stays taken until the answer was sent.
    pub(crate) fn keep(&mut self, tally: Tally) {
        self.tally = tally;
    }

    /// The client did not get the whole answer.
    pub(crate) fn abandon(&mut self) {
        if let Some(decision) = &mut self.decision
            && matches!(decision.outcome, Outcome::Forwarded | Outcome::Answered)
        {
            decision.outcome = Outcome::Abandoned;
        }
    }

    /// Records, and tells when that was.
    pub(crate) fn end(mut self) -> Instant {
        *self.ended.insert(Instant::now())
    }

    /// Counts bytes of the body that were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(decision) = &mut self.decision {
            decision.response_bytes += u64::try_from(bytes).unwrap_or_default();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.worker.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut decision) = self.decision.take() {
            let ended = self.ended.unwrap_or_else(Instant::now);
            decision.duration = ended.duration_since(self.started);
            self.worker.shard.observe(&decision);
            self.worker.journal.borrow_mut().record(decision);
        }
    }
}

/// Request ids that nobody can foresee from others.
#[derive(Debug, Default)]
struct RequestIds {
    state: RandomState,
    count: std::cell::Cell<u64>,
}

impl RequestIds {
    fn next(&self, now: Timestamp) -> RequestId {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let low = u128::from(self.state.hash_one(count));
        let high = u128::from(self.state.hash_one(!count));
        RequestId::new(now, (high << 64) | low)
    }
}

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Waits until the gateway is to stop.
pub(crate) async fn stop(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, which means the same.
    if stopping.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("the gateway's handle is gone");
    }
}

/// How often a worker looks after what is idle.
pub(crate) const TIDY: Duration = Duration::from_secs(1);

/// Waits for `work` until `deadline`. What is ready at once costs neither a timer nor a look at the
/// clock.
///
/// # Errors
/// The deadline passed first.
pub(crate) async fn before<T>(
    deadline: impl FnOnce() -> Instant,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    let mut work = std::pin::pin!(work);
    let ready = std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    });
    match ready.await {
        Some(done) => Ok(done),
        None => tokio::time::timeout_at(deadline(), work).await,
    }
}

/// As [`before`], for a time from now on.
///
/// # Errors
/// The time passed first.
pub(crate) async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    before(|| Instant::now() + time, work).await
}
