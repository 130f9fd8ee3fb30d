//! Requests in flight over all instances: how a request gets room, and how the thread tells Redis what
//! this instance has.
//!
//! A request that goes gives its room back by dropping its permit, and waits for nobody. Deliberately
//! not here: what is told, and when (`fortress_limits::distributed::Slots`).

use std::{fmt, rc::Rc, sync::Arc, time::Duration};

use fortress_limits::{
    Decision, Key,
    distributed::{Next, Room, SlotCall, SlotReply, Slots},
    limiter::{Counted, Due, Given, Limit, Verdict},
};
use fortress_model::config::MOST_LIMITS;
use smallvec::SmallVec;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    Common, SharedCounts,
    keeper::{Fault, Keeper, LOOK},
};

/// Keys that an instance has requests in flight of; a request of one more is decided by `on_fault`.
const KEYS: usize = 1 << 16;

/// What this instance has in flight.
#[derive(Debug)]
pub(super) struct SharedSlots {
    pub(super) table: Slots<oneshot::Sender<Entered>>,
    /// Something is to be told.
    wanted: Notify,
}

impl SharedSlots {
    pub(super) fn new(patience: Duration) -> Self {
        let patience = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        Self {
            table: Slots::new(KEYS, patience),
            wanted: Notify::new(),
        }
    }
}

/// One request in flight. Dropping it ends it.
pub(crate) struct Permit {
    common: Arc<Common>,
    key: Key,
}

/// Those of a request.
pub(crate) type Permits = SmallVec<[Permit; 2]>;

impl Drop for Permit {
    fn drop(&mut self) {
        let slots = &self.common.slots;
        if slots.table.leave(self.key) {
            slots.wanted.notify_one();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({:?})", self.key)
    }
}

/// What a request that waited gets.
#[derive(Debug)]
pub(super) enum Entered {
    Pass(Permit, Decision),
    Refuse(Decision),
    Away,
}

/// What is known of a request's room, and what is still asked.
#[derive(Debug)]
pub(super) struct Entering<'l> {
    given: SmallVec<[Given; MOST_LIMITS]>,
    permits: Permits,
    asked: SmallVec<[(Due, &'l Limit, oneshot::Receiver<Entered>); 2]>,
}

impl SharedCounts {
    /// Begins to find room for a request; of what asks Redis the answers are waited for with
    /// [`Entering::wait`].
    pub(super) fn enter<'l>(&self, due: impl Iterator<Item = (Due, &'l Limit)>) -> Entering<'l> {
        let mut entering = Entering {
            given: SmallVec::new(),
            permits: SmallVec::new(),
            asked: SmallVec::new(),
        };
        for (due, limit) in due {
            let (common, table) = (&self.common, &self.common.slots.table);
            let verdict = if !common.may_decide(limit.on_fault()) {
                self.enter_alone(due, limit, &mut entering.permits)
            } else if let Some(decision) = table.enter(due.key, limit.most(), common.now()) {
                entering.permits.push(self.permit(due.key));
                Verdict::InFlight(decision, Counted::Shared)
            } else if let Some(answer) = self.ask(due.key, limit.most()) {
                entering.asked.push((due, limit, answer));
                continue;
            } else {
                self.enter_alone(due, limit, &mut entering.permits)
            };
            entering.given.push(Given { due, verdict });
        }
        entering
    }

    /// What is known of a request that another limit has refused: nothing is asked for it.
    pub(super) fn peek<'l>(
        &self,
        due: impl Iterator<Item = (Due, &'l Limit)>,
    ) -> impl Iterator<Item = Given> {
        due.map(|(due, limit)| {
            let decision = self.common.slots.table.peek(due.key, limit.most());
            let verdict = Verdict::InFlight(decision, Counted::Shared);
            Given { due, verdict }
        })
    }

    fn ask(&self, key: Key, most: u64) -> Option<oneshot::Receiver<Entered>> {
        if !self.common.admits() {
            return None;
        }
        let slots = &self.common.slots;
        let (answer, answered) = oneshot::channel();
        let is_news = slots.table.ask(key, most, answer, self.common.now()).ok()?;
        if is_news {
            slots.wanted.notify_one();
        }
        Some(answered)
    }

    /// What a limit does without the shared count. Who passes is in flight all the same, and Redis is
    /// told when it is back.
    fn enter_alone(&self, due: Due, limit: &Limit, permits: &mut Permits) -> Verdict {
        let mut enter = |part| {
            let table = &self.common.slots.table;
            let entered = table.enter_alone(due.key, limit.most(), part).ok();
            if entered.is_some_and(|decision| decision.allowed) {
                permits.push(self.permit(due.key));
            }
            entered
        };
        match self.fall_back(limit.on_fault()) {
            Verdict::Alone { instances } => {
                let part = (limit.most() / u64::from(instances.max(1))).max(1);
                let decision = enter(part).unwrap_or(Decision::NOTHING);
                Verdict::InFlight(decision, Counted::Alone { instances })
            }
            verdict @ Verdict::Open => {
                // Without room in the table it is not counted, and passes.
                enter(u64::MAX);
                verdict
            }
            verdict @ (Verdict::Closed | Verdict::Shared(_) | Verdict::InFlight(..)) => verdict,
        }
    }

    fn permit(&self, key: Key) -> Permit {
        Permit {
            common: Arc::clone(&self.common),
            key,
        }
    }
}

impl Entering<'_> {
    /// Waits for what was asked.
    pub(super) async fn wait(
        mut self,
        counts: &SharedCounts,
        deadline: Instant,
        given: &mut SmallVec<[Given; MOST_LIMITS]>,
    ) -> Permits {
        given.append(&mut self.given);
        for (due, limit, answer) in self.asked {
            let verdict = match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(Entered::Pass(permit, decision))) => {
                    self.permits.push(permit);
                    Verdict::InFlight(decision, Counted::Shared)
                }
                Ok(Ok(Entered::Refuse(decision))) => Verdict::InFlight(decision, Counted::Shared),
                Ok(Ok(Entered::Away) | Err(_)) => counts.enter_alone(due, limit, &mut self.permits),
                Err(_) => {
                    counts.common.failed("it does not answer in time");
                    counts.enter_alone(due, limit, &mut self.permits)
                }
            };
            given.push(Given { due, verdict });
        }
        self.permits
    }
}

impl Keeper {
    /// Tells Redis what is in flight, as it changes and from time to time.
    pub(super) async fn keep_slots(self: Rc<Self>) {
        let slots = &self.common.slots;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = slots.wanted.notified() => {}
                _ = look.tick() => {
                    let now = self.common.now();
                    slots.table.forget(now);
                    if self.is_connected() && !self.common.is_open() {
                        slots.table.renew(now);
                    }
                }
            }
            for key in slots.table.due() {
                tokio::task::spawn_local(Rc::clone(&self).tell_of(key));
            }
        }
    }

    /// Waits until what was given back before a stop was told.
    pub(super) async fn end_slots(&self) {
        while self.is_connected() && !self.common.slots.table.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Calls as long as there is something to be told of a key.
    async fn tell_of(self: Rc<Self>, key: Key) {
        let table = &self.common.slots.table;
        loop {
            // Never closed.
            let Ok(permit) = Arc::clone(&self.calls).acquire_owned().await else {
                return;
            };
            let call = match table.next(key, self.common.now(), oneshot::Sender::is_closed) {
                Next::Call(call) => call,
                Next::Nothing => return,
                Next::Pause(time) => {
                    drop(permit);
                    tokio::time::sleep(time).await;
                    if table.resume(key) {
                        continue;
                    }
                    return;
                }
            };
            match self.tell(&call).await {
                Ok(reply) => self.hand_out(key, table.answered(&call, reply, self.common.now())),
                Err(_) => return self.hand_out(key, table.failed(key)),
            }
        }
    }

    async fn tell(&self, call: &SlotCall) -> Result<SlotReply, Fault> {
        // For those who wait the breaker was asked; all else can be told when Redis is back.
        if call.want == 0 && self.common.is_open() {
            return Err(Fault::Unconnected("Redis is left alone".into()));
        }
        let sent = Instant::now();
        let arguments = call.arguments(&self.name);
        let told = self.call(&self.slots, &call.name(), &arguments).await;
        let reply = told.and_then(|numbers| {
            SlotReply::parse(&numbers, call).map_err(|error| Fault::Wrong(error.to_string()))
        });
        self.judge(sent, reply.as_ref().err());
        reply
    }

    fn hand_out(&self, key: Key, rooms: Vec<(oneshot::Sender<Entered>, Room)>) {
        for (who, room) in rooms {
            let entered = match room {
                Room::Pass(decision) => {
                    let common = Arc::clone(&self.common);
                    Entered::Pass(Permit { common, key }, decision)
                }
                Room::Refuse(decision) => Entered::Refuse(decision),
                Room::Away => Entered::Away,
            };
            // Who waits no more leaves again.
            drop(who.send(entered));
        }
    }
}
