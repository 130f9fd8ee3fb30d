//! The thread that talks to Redis: it connects, sends what it is handed, gives back what was leased and
//! not spent, and counts the instances.
//!
//! Calls do not wait for each other: they go out one behind the other on one connection. Deliberately
//! not here: what requests do meanwhile.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::Duration,
};

use fortress_limits::distributed::{Answer, Call, Reply, SCRIPT, SLOTS_SCRIPT, script_sha};
use fortress_model::{Clock as _, SystemClock, Timestamp, config::RedisSettings};
use redis::{Cmd, ErrorKind, ServerErrorKind, ToRedisArgs, Value};
use tokio::{
    sync::{Notify, Semaphore, mpsc, watch},
    time::Instant,
};

use super::{
    Common, Job, Work,
    connect::{self, Connection, Connector},
    log,
};
use crate::server::{self, ServerError};

/// Calls that are under way at once; more wait in the queue.
const MOST_CALLS: usize = 512;

/// How long an answer may take before it is given up. Whoever asked has gone on by then; what comes
/// late is still put into the lease, so that no unit is lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the thread looks after things.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// How often an instance says that it lives, and after how long without a word it is gone.
const HEARTBEAT: Duration = Duration::from_secs(1);
const GONE: Duration = Duration::from_secs(5);

/// How soon after a failure a connection is tried again, doubled each time, drawn between the half and
/// the whole of it.
const RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(2);

/// How long a stop may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// How long the start waits for the first connection.
const FIRST: Duration = Duration::from_secs(1);

static HEARTBEAT_SCRIPT: &str = include_str!("heartbeat.lua");

/// Starts the thread; gives it once it has connected, or failed to, or a moment has passed.
pub(super) fn start(
    settings: RedisSettings,
    common: Arc<Common>,
    (jobs, log): (mpsc::Receiver<Job>, log::Readings),
    stop: watch::Receiver<bool>,
) -> Result<JoinHandle<()>, ServerError> {
    let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
    let thread = server::thread("counts".into(), move |runtime| {
        runtime.block_on(async move {
            let keeper = Keeper::new(settings, common);
            let reading = log::Reading::new(Rc::clone(&keeper), log).read(stop.clone());
            let reading = tokio::task::spawn_local(reading);
            keeper.keep(jobs, stop, ready, reading).await;
        });
    })?;
    // An error means a time-out or the thread's end: requests fall back either way.
    if is_ready.recv_timeout(FIRST) != Ok(true) {
        tracing::warn!(
            "Redis did not answer at the start; `on_fault` of limits holds until it does"
        );
    }
    Ok(thread)
}

/// A script and its name.
pub(super) struct Script {
    text: &'static str,
    sha: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self {
            text,
            sha: script_sha(text),
        }
    }
}

pub(super) struct Keeper {
    pub(super) common: Arc<Common>,
    connector: RefCell<Option<Connector>>,
    connection: RefCell<Option<Connection>>,
    /// Why there is none.
    lack: RefCell<String>,
    /// Counts connections: a call that failed ends only the one that it was made on.
    generation: Cell<u64>,
    wanted: Notify,
    pub(super) calls: Arc<Semaphore>,
    take: Script,
    heartbeat: Script,
    pub(super) slots: Script,
    /// What this instance is called among others.
    pub(super) name: String,
    /// Others count under another secret, and that was said.
    warned: Cell<bool>,
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// There is no connection, and why.
    Unconnected(String),
    /// The server refused, or the connection failed.
    Refused(String),
    /// The server answered what it cannot.
    Wrong(String),
}

impl Fault {
    pub(super) fn told(&self) -> String {
        match self {
            Self::Unconnected(why) => format!("there is no connection: {why}"),
            Self::Refused(why) => why.clone(),
            Self::Wrong(why) => format!("its answer cannot be: {why}"),
        }
    }
}

impl Keeper {
    fn new(settings: RedisSettings, common: Arc<Common>) -> Rc<Self> {
        let name = format!("{} {:016x}", common.under, common.random());
        let patience = PATIENCE.max(2 * common.timeout);
        Rc::new(Self {
            common,
            connector: RefCell::new(Some(Connector::new(settings, patience))),
            connection: RefCell::default(),
            lack: RefCell::default(),
            generation: Cell::new(0),
            wanted: Notify::new(),
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            take: Script::new(SCRIPT),
            heartbeat: Script::new(HEARTBEAT_SCRIPT),
            slots: Script::new(SLOTS_SCRIPT),
            name,
            warned: Cell::new(false),
        })
    }

    async fn keep(
        self: &Rc<Self>,
        mut jobs: mpsc::Receiver<Job>,
        mut stop: watch::Receiver<bool>,
        ready: std::sync::mpsc::SyncSender<bool>,
        reading: tokio::task::JoinHandle<()>,
    ) {
        tokio::task::spawn_local(Rc::clone(self).stay_connected(ready));
        tokio::task::spawn_local(Rc::clone(self).keep_slots());
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beaten = None;
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                _ = look.tick() => self.look_after(&mut beaten),
                job = self.next(&mut jobs) => match job {
                    Some(job) => job,
                    None => break,
                },
            }
        }
        // An error means that it took too long: what is not given back is earned back with time.
        if tokio::time::timeout(FAREWELL, self.leave(reading))
            .await
            .is_err()
        {
            tracing::debug!("what was leased could not be given back in time");
        }
    }

    /// Takes the next job, when there is room for another call, and lets it run beside the others.
    async fn next(self: &Rc<Self>, jobs: &mut mpsc::Receiver<Job>) -> Option<()> {
        let calls = Arc::clone(&self.calls);
        // Never closed.
        let call = calls.acquire_owned().await.ok()?;
        let job = jobs.recv().await?;
        let keeper = Rc::clone(self);
        tokio::task::spawn_local(async move {
            keeper.work(job).await;
            drop(call);
        });
        Some(())
    }

    fn look_after(self: &Rc<Self>, beaten: &mut Option<Instant>) {
        // While Redis is given up the heartbeat is what tries whether it is there again: no request
        // has to wait for that.
        let is_open = self.common.is_open();
        let is_due = beaten.is_none_or(|last: Instant| last.elapsed() >= HEARTBEAT);
        if (is_due || is_open) && self.common.admits() {
            *beaten = Some(Instant::now());
            let keeper = Rc::clone(self);
            tokio::task::spawn_local(async move {
                keeper.beat().await;
            });
        }
        self.sweep(false);
    }

    /// Gives back what was not spent in time, as far as there is room for calls.
    fn sweep(self: &Rc<Self>, all: bool) -> Vec<tokio::task::JoinHandle<()>> {
        if !self.is_connected() {
            return Vec::new();
        }
        let room = self.calls.available_permits();
        let calls = self.common.leases.sweep(self.common.now(), all, room);
        // Permits are taken on this thread alone.
        let permitted = calls.into_iter().map_while(|call| {
            let permit = Arc::clone(&self.calls).try_acquire_owned().ok()?;
            let keeper = Rc::clone(self);
            Some(tokio::task::spawn_local(async move {
                keeper.settle(&call, SystemClock.now()).await;
                drop(permit);
            }))
        });
        permitted.collect()
    }

    async fn leave(self: &Rc<Self>, reading: tokio::task::JoinHandle<()>) {
        drop(reading.await);
        // In portions: a stop has more to give back than there may be calls at once.
        loop {
            let running = self.sweep(true);
            if running.is_empty() {
                break;
            }
            for one in running {
                drop(one.await);
            }
        }
        let gone = GONE.as_millis().to_string();
        drop(
            self.call(
                &self.heartbeat,
                "fortress:{instances}",
                &[self.name.clone(), gone, "1".into()],
            )
            .await,
        );
        self.end_slots().await;
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.borrow().is_some()
    }

    async fn work(&self, job: Job) {
        let sent = job.sent;
        match job.work {
            Work::Ask(call, wall, answer) => {
                let asked = self.ask(&call, wall).await;
                // Who gave up has counted that as a failure.
                if !answer.is_closed() {
                    self.judge(sent, asked.as_ref().err());
                }
                let now = self.common.now();
                let leases = &self.common.leases;
                let Ok(reply) = asked else {
                    return leases.failed(call.key, now);
                };
                let decided = leases.answered(call.key, call.least, &reply, now);
                let has_passed = matches!(decided, Answer::Pass(_));
                if answer.send(decided).is_err() && has_passed {
                    leases.put_back(call.key, call.least, now);
                }
            }
            Work::Refill(call, wall) => {
                let asked = self.ask(&call, wall).await;
                self.judge(sent, asked.as_ref().err());
                match asked {
                    Ok(reply) => self
                        .common
                        .leases
                        .refilled(call.key, &reply, self.common.now()),
                    Err(_) => self.common.leases.failed(call.key, self.common.now()),
                }
            }
            Work::Settle(call, wall) => self.settle(&call, wall).await,
        }
    }

    async fn settle(&self, call: &Call, wall: Timestamp) {
        let sent = Instant::now();
        let asked = self.ask(call, wall).await;
        self.judge(sent, asked.as_ref().err());
    }

    /// Counts a call as answered or failed. Slow is failed: whoever waits has gone on by then.
    pub(super) fn judge(&self, sent: Instant, fault: Option<&Fault>) {
        match fault {
            Some(fault) => self.common.failed(&fault.told()),
            None if sent.elapsed() > self.common.patience => {
                self.common.failed("it answers too slowly");
            }
            None => self.common.succeeded(),
        }
    }

    /// One call of the limits' script; a second one where the clocks are a window apart.
    async fn ask(&self, call: &Call, wall: Timestamp) -> Result<Reply, Fault> {
        let wrong =
            |error: fortress_limits::distributed::ReplyError| Fault::Wrong(error.to_string());
        let name = call.name();
        let numbers = self.call(&self.take, &name, &call.arguments(wall)).await?;
        let reply = Reply::parse(&numbers, call).map_err(wrong)?;
        let Reply::OtherWindow { now } = reply else {
            return Ok(reply);
        };
        let numbers = self.call(&self.take, &name, &call.arguments(now)).await?;
        match Reply::parse(&numbers, call).map_err(wrong)? {
            Reply::OtherWindow { .. } => {
                Err(Fault::Wrong("it has no window for its own time".into()))
            }
            reply @ Reply::Granted { .. } => Ok(reply),
        }
    }

    /// Says that this instance lives, and tells whether it was heard.
    async fn beat(&self) -> bool {
        let gone = GONE.as_millis().to_string();
        let arguments = [self.name.clone(), gone, "0".into()];
        let sent = Instant::now();
        let beaten = self
            .call(&self.heartbeat, "fortress:{instances}", &arguments)
            .await;
        let beaten = beaten.and_then(|numbers| match *numbers {
            [same, other] => Ok((same, other)),
            _ => Err(Fault::Wrong("not two numbers".into())),
        });
        self.judge(sent, beaten.as_ref().err());
        let Ok((same, other)) = beaten else {
            return false;
        };
        let same = u32::try_from(same).unwrap_or(1).max(1);
        self.common.known.store(same, Relaxed);
        if other > 0 && !self.warned.replace(other > 0) {
            tracing::warn!(
                "{other} instances count under another `store.pepper` or password: limits are not shared with them"
            );
        }
        if other == 0 {
            self.warned.set(false);
        }
        true
    }

    /// Runs a script that gives numbers.
    pub(super) async fn call(
        &self,
        script: &Script,
        key: &str,
        arguments: &[String],
    ) -> Result<Vec<i64>, Fault> {
        numbers(self.run(script, key, arguments).await?)
    }

    /// Runs a script with one key, by its name where the server knows it.
    pub(super) async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: &[impl ToRedisArgs],
    ) -> Result<Value, Fault> {
        let connection = self.connection.borrow().clone();
        let generation = self.generation.get();
        let lack = || Fault::Unconnected(self.lack.borrow().clone());
        let mut connection = connection.ok_or_else(lack)?;
        let command = |name: &str, script: &str| {
            let mut command = Cmd::with_capacity(4 + arguments.len(), 64);
            command.arg(name).arg(script).arg(1).arg(key);
            arguments.iter().for_each(|argument| {
                command.arg(argument);
            });
            command
        };
        let mut said = connection.call(&command("EVALSHA", &script.sha)).await;
        if said
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
        {
            said = connection.call(&command("EVAL", script.text)).await;
        }
        match said {
            Ok(value) => {
                if self.generation.get() == generation && self.is_connected() {
                    self.common.is_there.store(true, Relaxed);
                }
                Ok(value)
            }
            Err(error) => {
                if error.is_timeout() {
                    self.common.is_there.store(false, Relaxed);
                }
                let is_open = self.common.is_open();
                // A probe that failed: the server may be another one by now.
                if is_open || connect::is_elsewhere(&error) {
                    self.disconnect(generation, connect::told(&error));
                }
                Err(Fault::Refused(connect::told(&error)))
            }
        }
    }

    fn disconnect(&self, generation: u64, why: String) {
        if self.generation.get() == generation && self.connection.take().is_some() {
            self.common.is_there.store(false, Relaxed);
            self.lack.replace(why);
            self.wanted.notify_one();
        }
    }

    /// Connects whenever there is no connection, for ever.
    async fn stay_connected(self: Rc<Self>, ready: std::sync::mpsc::SyncSender<bool>) {
        let Some(mut connector) = self.connector.take() else {
            return;
        };
        let mut wait = RETRY;
        loop {
            let lost = Arc::new(Notify::new());
            match connector.connect(&lost).await {
                Ok(connection) => {
                    let generation = self.generation.get() + 1;
                    self.generation.set(generation);
                    self.connection.replace(Some(connection));
                    // It may be another server, or an empty one.
                    self.common.slots.table.lost();
                    // Whether it answers too, is found out at once: instances that lost it together come
                    // back by the times that each drew for itself.
                    let keeper = Rc::clone(&self);
                    let ready = ready.clone();
                    tokio::task::spawn_local(async move {
                        let answers = keeper.beat().await;
                        tell(&ready, answers);
                    });
                    let connected = Instant::now();
                    tokio::select! {
                        () = self.wanted.notified() => {}
                        () = lost.notified() => {
                            self.disconnect(generation, "the connection was closed".into());
                            // By itself, and nobody else.
                            self.wanted.notified().await;
                        }
                    }
                    // A server that takes connections and refuses every call is left in peace too.
                    if connected.elapsed() > LONGEST_RETRY {
                        wait = RETRY;
                    }
                }
                Err(why) => {
                    // Said once for each reason: the way back is told by who answers again.
                    if *self.lack.borrow() != why {
                        tracing::warn!("Redis cannot be connected to: {why}");
                    }
                    self.common.failed(&why);
                    self.lack.replace(why);
                    tell(&ready, false);
                }
            }
            let half = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) / 2;
            let more = self.common.random() % half.max(1);
            tokio::time::sleep(Duration::from_millis(half + more)).await;
            wait = (2 * wait).min(LONGEST_RETRY);
        }
    }
}

/// Tells the start how the first try went.
fn tell(ready: &std::sync::mpsc::SyncSender<bool>, answers: bool) {
    if ready.try_send(answers).is_err() {
        tracing::debug!("the start waits no longer");
    }
}

/// The list of numbers that a script gives.
fn numbers(value: Value) -> Result<Vec<i64>, Fault> {
    let Value::Array(items) = value else {
        return Err(Fault::Wrong("not a list".into()));
    };
    let number = |item| {
        if let Value::Int(number) = item {
            Some(number)
        } else {
            None
        }
    };
    let numbers: Option<Vec<i64>> = items.into_iter().map(number).collect();
    numbers.ok_or_else(|| Fault::Wrong("not a list of numbers".into()))
}
