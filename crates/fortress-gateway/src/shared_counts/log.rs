//! The log of logins that instances share: a stream in Redis, which each of them reads in order.
//!
//! An attempt waits until its entry was written and read back, after all that stands before it, longer than
//! a limit would: an upstream takes its time for a password too, and a log that is given up refuses people
//! who have done nothing. So it is given up by what it sees itself alone. Entries go out in portions, one portion at a time: what comes meanwhile
//! goes with the next. Deliberately not here: what comes of an entry (`fortress-limits`), and what holds
//! while Redis is away (`guard::login`).

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use fortress_limits::defence::{
    Attempt, Learnt,
    log::{Entry, Event, Taken},
};
use fortress_model::config::LimitFault;
use redis::Value;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, MissedTickBehavior},
};

use super::{
    Away, Common, QUEUE,
    keeper::{Fault, Keeper, Script},
};
use crate::defence::Logins;

static SCRIPT: &str = include_str!("log.lua");
/// In braces, so that a Cluster places it by that alone.
const KEY: &str = "fortress:{logins}";

/// Entries that are written at once, and that are read at once.
const WRITTEN: usize = 256;
const READ: usize = 512;
/// Entries that Redis keeps, some 300 bytes each: what an instance that starts learns of the past.
const KEPT: usize = 50_000;
/// How long it keeps a log that nobody writes.
const LIFE: Duration = Duration::from_secs(7 * 86_400);
/// How often the log is read where nothing is written.
const LOOK: Duration = Duration::from_millis(200);
/// How long an attempt waits at least, and for how long Redis has to fail until nobody waits for it.
const PATIENCE: Duration = Duration::from_millis(250);
/// Entries that wait for a Redis that is away; the oldest are left out.
const HELD: usize = 1 << 14;
/// Instances whose last entries are known, so that none is taken twice.
const WRITERS: usize = 1 << 12;

/// The log, for requests.
#[derive(Debug)]
pub(crate) struct Log {
    orders: mpsc::Sender<Order>,
    common: Arc<Common>,
    logins: OnceLock<Arc<Logins>>,
    /// All that was there at the start was read.
    is_read: AtomicBool,
    /// What was there is known from elsewhere.
    skips: AtomicBool,
    /// When Redis failed first since it answered last, on the common clock; zero if it answered last.
    failing: AtomicU64,
}

/// What the thread needs of the log.
#[derive(Debug)]
pub(super) struct Readings {
    log: Arc<Log>,
    orders: mpsc::Receiver<Order>,
}

#[derive(Debug)]
enum Order {
    Write(Written),
    /// To hear when what there is by now was read.
    Look(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Written {
    event: Event,
    answer: Option<oneshot::Sender<Taken>>,
    /// This instance has taken it already, while the log could not be had.
    is_taken: bool,
}

impl Log {
    pub(super) fn new(common: Arc<Common>) -> (Arc<Self>, Readings) {
        let (sender, orders) = mpsc::channel(QUEUE);
        let log = Arc::new(Self {
            orders: sender,
            common,
            logins: OnceLock::new(),
            is_read: AtomicBool::new(false),
            skips: AtomicBool::new(false),
            failing: AtomicU64::new(0),
        });
        let readings = Readings {
            log: Arc::clone(&log),
            orders,
        };
        (log, readings)
    }

    /// Reads the log for these logins from now on.
    pub(crate) fn share(&self, logins: &Arc<Logins>) {
        self.logins.get_or_init(|| Arc::clone(logins));
    }

    /// Whether nobody waits for Redis any more. It is asked all the same, five times a second.
    pub(crate) fn is_away(&self) -> bool {
        let since = self.failing.load(Relaxed);
        let passed = self.common.now().saturating_sub(since);
        since != 0 && Duration::from_nanos(passed) >= PATIENCE
    }

    /// How long an attempt waits.
    fn patience(&self) -> Duration {
        self.common.timeout.max(PATIENCE)
    }

    fn note(&self, answered: bool) {
        if answered {
            self.failing.store(0, Relaxed);
        } else if self.failing.load(Relaxed) == 0 {
            self.failing.store(self.common.now(), Relaxed);
        }
    }

    /// Whether it is read for these logins.
    pub(crate) fn is_of(&self, logins: &Arc<Logins>) -> bool {
        self.logins
            .get()
            .is_some_and(|own| Arc::ptr_eq(own, logins))
    }

    /// Whether all was read that was there at the start.
    pub(crate) fn is_read(&self) -> bool {
        self.is_read.load(Relaxed)
    }

    /// Waits a moment until all was read that was there at the start, if logins are shared: those who come
    /// first would have to wait for it. Blocks; not within a runtime.
    pub(super) fn wait(&self) {
        const MOMENT: Duration = Duration::from_secs(3);
        let end = Instant::now() + MOMENT;
        let waits = || self.logins.get().is_some() && !self.is_read() && !self.is_away();
        while waits() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What was there at the start is known from elsewhere, and is not read.
    pub(crate) fn skip(&self) {
        self.skips.store(true, Relaxed);
    }

    /// What comes of an entry that begins an attempt, in its turn.
    ///
    /// # Errors
    /// [`Away`]: the caller's own policy holds then.
    pub(crate) async fn take<T>(
        &self,
        entry: Entry,
        of: fn(Taken) -> Option<T>,
    ) -> Result<T, Away> {
        if self.is_away() {
            return Err(Away);
        }
        let (answer, answered) = oneshot::channel();
        let sent = self.send(Event::Attempt(entry.into()), Some(answer));
        if !sent {
            return Err(Away);
        }
        match tokio::time::timeout(self.patience(), answered).await {
            Ok(taken) => taken.ok().and_then(of).ok_or(Away),
            Err(_) => {
                self.note(false);
                Err(Away)
            }
        }
    }

    /// Waits until all was read that is written by now, or that could not be had. It costs no more calls
    /// however many wait.
    pub(crate) async fn look(&self) {
        let (answer, answered) = oneshot::channel();
        if self.order(Order::Look(answer)) {
            // An error means that what was known before has to do.
            drop(tokio::time::timeout(self.patience(), answered).await);
        }
    }

    /// What is learnt from the end of an attempt. It is written as soon as Redis takes it, also if
    /// nobody can wait for that.
    pub(crate) async fn settle(&self, entry: Entry) -> Learnt {
        let (answer, answered) = oneshot::channel();
        self.send(Event::Attempt(entry.into()), Some(answer));
        if self.is_away() {
            return Learnt::default();
        }
        let taken = tokio::time::timeout(self.patience(), answered).await;
        // Neither being late nor being left out is an error of the request's.
        let taken = taken.ok().and_then(Result::ok);
        taken.and_then(Taken::settled).unwrap_or_default()
    }

    /// Writes an entry that nobody waits for, as soon as Redis takes it.
    pub(crate) fn tell(&self, event: Event) {
        self.send(event, None);
    }

    /// The same, for the others: this instance has taken it.
    pub(crate) fn tell_others(&self, event: Event) {
        self.order(Order::Write(Written {
            event,
            answer: None,
            is_taken: true,
        }));
    }

    /// Counts a decision that was made without the log.
    pub(crate) fn fell_back(&self, policy: LimitFault) {
        self.common.fell_back(policy);
    }

    fn send(&self, event: Event, answer: Option<oneshot::Sender<Taken>>) -> bool {
        self.order(Order::Write(Written {
            event,
            answer,
            is_taken: false,
        }))
    }

    fn order(&self, order: Order) -> bool {
        let sent = self.orders.try_send(order).is_ok();
        if !sent {
            self.common.totals.crowded.fetch_add(1, Relaxed);
        }
        sent
    }
}

/// Reads the log, and writes it, on the thread that talks to Redis.
pub(super) struct Reading {
    keeper: Rc<Keeper>,
    log: Arc<Log>,
    orders: mpsc::Receiver<Order>,
    script: Script,
    /// Tells this instance's entries from others'.
    writer: u64,
    /// Numbers this instance's entries.
    number: u64,
    /// Not written yet, or written and nobody knows whether.
    unsent: VecDeque<Sent>,
    /// Written, and not read yet.
    sent: VecDeque<Sent>,
    /// Who waits for what is read next.
    looking: Vec<oneshot::Sender<()>>,
    /// The id that was read last.
    position: Vec<u8>,
    /// The last entry of each instance.
    read: BTreeMap<u64, u64>,
}

struct Sent {
    number: u64,
    written: Written,
}

impl Sent {
    /// Whoever wanted to make an attempt does not wait any more, and was answered otherwise.
    fn is_obsolete(&self) -> bool {
        let answer = self.written.answer.as_ref();
        !self.written.is_taken
            && self.written.event.begins()
            && answer.is_none_or(oneshot::Sender::is_closed)
    }
}

/// An entry that was read.
struct Found {
    /// By the clock of Redis, in milliseconds.
    at: i64,
    writer: u64,
    number: u64,
    /// `None` if another version wrote it.
    event: Option<Event>,
}

impl Reading {
    pub(super) fn new(keeper: Rc<Keeper>, readings: Readings) -> Self {
        let Readings { log, orders } = readings;
        let writer = keeper.common.random();
        Self {
            keeper,
            log,
            orders,
            script: Script::new(SCRIPT),
            writer,
            number: 0,
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            looking: Vec::new(),
            position: b"0-0".to_vec(),
            read: BTreeMap::new(),
        }
    }

    /// Until the stop, and once more then.
    pub(super) async fn read(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_over = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => true,
                order = self.orders.recv() => {
                    order.into_iter().for_each(|order| self.obey(order));
                    false
                }
                _ = look.tick() => false,
            };
            while let Ok(order) = self.orders.try_recv() {
                self.obey(order);
            }
            let Some(logins) = self.log.logins.get().cloned() else {
                if is_over {
                    break;
                }
                continue;
            };
            while self.round(&logins).await {}
            // Dropping them says that there is no more to wait for.
            self.looking.clear();
            if is_over {
                break;
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Write(written) => self.queue(written),
            Order::Look(answer) => self.looking.push(answer),
        }
    }

    fn queue(&mut self, written: Written) {
        if self.unsent.len() >= HELD {
            self.unsent.pop_front();
        }
        self.number += 1;
        let number = self.number;
        self.unsent.push_back(Sent { number, written });
    }

    /// Writes a portion and reads on; true if there is more to do at once.
    async fn round(&mut self, logins: &Logins) -> bool {
        self.unsent.retain(|sent| !sent.is_obsolete());
        if self.log.skips.swap(false, Relaxed) && !self.log.is_read() {
            self.position = b"$".to_vec();
        }
        let portion = self.unsent.len().min(WRITTEN);
        let arguments = self.arguments(portion);
        let began = Instant::now();
        let answer = self.keeper.run(&self.script, KEY, &arguments).await;
        let answer = answer.and_then(|value| parse(value).ok_or_else(wrong));
        // What takes its time is a failure only if nobody can wait for it: an instance that starts has much to
        // read, and a machine may be busy.
        let is_late = portion > 0 && began.elapsed() > self.log.patience();
        self.log.note(answer.is_ok() && !is_late);
        if let Err(fault) = &answer {
            self.log.common.failed(&fault.told());
        }
        let Ok(answer) = answer else {
            self.unanswered(portion);
            return false;
        };
        self.position = answer.position;
        self.sent.extend(self.unsent.drain(..portion));
        logins.clock.follow(answer.clock);
        for found in answer.found {
            self.take(logins, found);
        }
        if !answer.more {
            self.log.is_read.store(true, Relaxed);
        }
        answer.more || !self.unsent.is_empty()
    }

    fn arguments(&self, portion: usize) -> Vec<Vec<u8>> {
        let number = |number: usize| number.to_string().into_bytes();
        let life = LIFE.as_millis().to_string().into_bytes();
        let mut arguments = vec![self.position.clone(), number(READ), number(KEPT), life];
        arguments.extend(self.unsent.iter().take(portion).map(|sent| {
            let mut entry = self.writer.to_be_bytes().to_vec();
            entry.extend(sent.number.to_be_bytes());
            entry.extend(sent.written.event.write());
            entry
        }));
        arguments
    }

    /// Nobody knows whether they were written. What an attempt was is written again, and counts once;
    /// whether one may be made is not asked again.
    fn unanswered(&mut self, portion: usize) {
        let mut at = 0;
        self.unsent.retain(|sent| {
            at += 1;
            at > portion || sent.written.is_taken || !sent.written.event.begins()
        });
    }

    fn take(&mut self, logins: &Logins, found: Found) {
        let Found {
            at,
            writer,
            number,
            event,
        } = found;
        let is_own = writer == self.writer;
        let own = if is_own { self.sent_of(number) } else { None };
        if self.read.len() >= WRITERS {
            self.read.clear();
        }
        let last = self.read.entry(writer).or_default();
        if number <= *last {
            return;
        }
        *last = number;
        if own.as_ref().is_some_and(|own| own.is_taken) {
            return;
        }
        let now = logins.clock.at(at);
        match event {
            None => {}
            Some(Event::Missed { who, object, rule }) => {
                logins.walks.note(who, object, &rule, now);
            }
            Some(Event::Attempt(entry)) => {
                let taken = logins.take(&entry, now);
                let unheard = match own.and_then(|own| own.answer) {
                    Some(answer) => answer.send(taken).is_err(),
                    None => true,
                };
                if is_own && unheard {
                    self.undo(&entry, taken);
                }
            }
        }
    }

    /// The entry as this instance wrote it.
    fn sent_of(&mut self, number: u64) -> Option<Written> {
        while let Some(sent) = self.sent.pop_front() {
            if sent.number == number {
                return Some(sent.written);
            }
            if sent.number > number {
                self.sent.push_front(sent);
                return None;
            }
        }
        None
    }

    /// An attempt that was let through when nobody waited any more was not made.
    fn undo(&mut self, entry: &Entry, taken: Taken) {
        let charge = match taken {
            Taken::Asked(Ok(charge)) | Taken::Noted(charge) => charge,
            Taken::Asked(Err(_)) | Taken::Settled(_) => return,
        };
        let entry = Entry {
            step: charge.end(Attempt::Unjudged),
            ..entry.clone()
        };
        let event = Event::Attempt(entry.into());
        self.queue(Written {
            event,
            answer: None,
            is_taken: false,
        });
    }
}

fn wrong() -> Fault {
    Fault::Wrong("not a clock, an id, and ids with entries".into())
}

/// What the script gives.
struct Read {
    /// Milliseconds.
    clock: i64,
    /// The id up to which was read.
    position: Vec<u8>,
    more: bool,
    found: Vec<Found>,
}

fn parse(value: Value) -> Option<Read> {
    let Value::Array(items) = value else {
        return None;
    };
    let mut items = items.into_iter();
    let Value::Int(clock) = items.next()? else {
        return None;
    };
    let position = bytes(items.next()?).filter(|id| is_id(id))?;
    let more = items.next()? == Value::Int(1);
    let mut found = Vec::new();
    while let Some(at) = items.next() {
        let (Value::Int(at), Some(entry)) = (at, items.next().and_then(bytes)) else {
            return None;
        };
        // What somebody else has written is left out.
        found.extend(entry_of(at, &entry));
    }
    Some(Read {
        clock,
        position,
        more,
        found,
    })
}

fn entry_of(at: i64, entry: &[u8]) -> Option<Found> {
    let (writer, rest) = entry.split_first_chunk()?;
    let (number, event) = rest.split_first_chunk()?;
    Some(Found {
        at,
        writer: u64::from_be_bytes(*writer),
        number: u64::from_be_bytes(*number),
        event: Event::read(event),
    })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value {
        Some(bytes)
    } else {
        None
    }
}

fn is_id(id: &[u8]) -> bool {
    let id = std::str::from_utf8(id).unwrap_or_default();
    let parts = id.split_once('-');
    parts.is_some_and(|(clock, number)| {
        clock.parse::<u64>().is_ok() && number.parse::<u64>().is_ok()
    })
}
