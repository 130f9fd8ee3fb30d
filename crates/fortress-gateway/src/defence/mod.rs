//! What is known of those who log in: living tables that survive a reload, and an operation's
//! defence compiled.
//!
//! Deliberately not here: how it is counted (`fortress-limits`), and what a request that is refused is
//! told (`guard::login`).

mod answers;
mod breached;
mod keeping;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

pub(crate) use answers::{Answers, Verdict};
pub(crate) use breached::{Breaches, Held};
use fortress_limits::{
    Key,
    defence::{
        Attempt, Charge, Defence, Delay, Keys, Kind, Learnt, Lock, Pace, Refused, Response, Rules,
        Suspicion, Trend, WalkRule, Walks, Who,
        log::{Entry, Event, Step, Taken},
    },
    key::{Part, Secret},
};
use fortress_model::{
    Diagnostic, Mode,
    config::{Config, LimitFault, LoginDefence, LoginKind, Spanned, Stuffing, StuffingAction},
    diagnostic::did_you_mean,
};
use fortress_spec::{
    ApiDescription, Operation,
    body::{Content, MediaType, RequestBody},
    door,
};
pub(crate) use keeping::Keeping;

use crate::{
    compile::Effective,
    keys::KeyRing,
    shared_counts::{Away, Log, LogClock},
};

/// What is known of everybody who logs in.
#[derive(Debug)]
pub(crate) struct Logins {
    pub(crate) defence: Defence,
    pub(crate) walks: Walks,
    /// By what counts together.
    courses: Mutex<HashMap<String, Course>>,
    lists: Mutex<HashMap<String, Arc<Breaches>>>,
    /// Refused attempts that are being held.
    held: AtomicU32,
    /// Requests that wait for objects of their caller to be answered.
    waiting: AtomicU32,
    pub(crate) clock: LogClock,
    /// What hashes are made under where instances share what they know.
    secret: Option<fortress_model::Secret<[u8; 16]>>,
}

/// Courses that are kept: names come from other instances too.
const COURSES: usize = 1 << 12;

/// Requests that wait at once for objects of their callers: each looks again some fifty times a second.
const WAITING: u32 = 2_048;

/// One of a bounded number of places, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'l>(&'l AtomicU32);

impl<'l> Place<'l> {
    fn take(taken: &'l AtomicU32, room: u32) -> Option<Self> {
        let place = Self(taken);
        let is_free = taken.fetch_add(1, Ordering::Relaxed) < room;
        is_free.then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How the logins of an operation go.
#[derive(Clone, Debug, Default)]
struct Course {
    trend: Arc<Trend>,
    pace: Arc<Pace>,
}

impl Logins {
    /// Empty tables, under the secret that instances share, or one of their own.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn new(
        shared: Option<fortress_model::Secret<[u8; 16]>>,
    ) -> Result<Arc<Self>, String> {
        let mut secret = [0; 16];
        match &shared {
            Some(shared) => secret = *shared.expose(),
            None => aws_lc_rs::rand::fill(&mut secret)
                .map_err(|_| "the system has no randomness".to_owned())?,
        }
        Ok(Arc::new(Self {
            defence: Defence::new(Secret::new(secret)),
            walks: Walks::default(),
            courses: Mutex::default(),
            lists: Mutex::default(),
            held: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            clock: LogClock::new(),
            secret: shared,
        }))
    }

    /// Nanoseconds since long before the beginning.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Takes an entry of the log. An API that is not configured here has its course too: what an
    /// instance knows must not hang on which configuration it has by now.
    pub(crate) fn take(&self, entry: &Entry, now: u64) -> Taken {
        let course = self.course(&entry.course);
        self.defence.take(entry, &course.trend, now)
    }

    /// Forgets what is over. Walks all tables.
    pub(crate) fn tidy(&self) {
        let now = self.now();
        self.defence.tidy(now);
        self.walks.tidy(now);
    }

    /// A caller, by who it is, or by its address where nobody is known.
    pub(crate) fn caller(&self, name: Option<(&str, &str)>, client: IpAddr) -> Key {
        match name {
            Some((identity, id)) => self
                .defence
                .name(b'i', &[identity.as_bytes(), id.as_bytes()]),
            None => match fortress_limits::key::Prefixes::default().network(client) {
                IpAddr::V4(address) => self.defence.name(b'c', &[&address.octets()]),
                IpAddr::V6(address) => self.defence.name(b'c', &[&address.octets()]),
            },
        }
    }

    /// An object, by its path.
    pub(crate) fn object(&self, api: &str, path: &str) -> Key {
        self.defence.name(b'o', &[api.as_bytes(), path.as_bytes()])
    }

    /// What the journal calls an account.
    pub(crate) fn account(&self, scope: &str, kind: Kind, account: &[u8]) -> String {
        let key = self.defence.account(scope, kind, account);
        format!("{key:?}")
    }

    /// Holds a refused attempt for a while, if there is room. A worker goes on meanwhile.
    pub(crate) async fn tarpit(&self, room: u32, wait: Duration) {
        if let Some(_place) = Place::take(&self.held, room) {
            tokio::time::sleep(wait).await;
        }
    }

    /// A place to wait for objects of one's own to be answered; `None` where too many wait.
    pub(crate) fn wait_for_objects(&self) -> Option<Place<'_>> {
        Place::take(&self.waiting, WAITING)
    }

    fn course(&self, name: &str) -> Course {
        let mut courses = self.courses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(course) = courses.get(name) {
            return course.clone();
        }
        let course = Course::default();
        if courses.len() < COURSES {
            courses.insert(name.to_owned(), course.clone());
        }
        course
    }

    fn list(&self, source: &fortress_model::config::BreachSource) -> Arc<Breaches> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        lists.retain(|_, list| Arc::strong_count(list) > 1);
        let list = lists
            .entry(format!("{source:?}"))
            .or_insert_with(|| Arc::new(Breaches::new(source)));
        Arc::clone(list)
    }
}

/// The defence of an operation that lets people in.
#[derive(Debug)]
pub(crate) struct LoginPlan {
    pub(crate) logins: Arc<Logins>,
    pub(crate) kind: LoginKind,
    pub(crate) mode: Mode,
    pub(crate) stuffing_mode: Mode,
    pub(crate) rules: Rules,
    pub(crate) account: Part,
    pub(crate) password: Option<Part>,
    pub(crate) answers: Answers,
    pub(crate) uniform: bool,
    pub(crate) pace: Arc<Pace>,
    /// Refused attempts that are held at once.
    pub(crate) hold: u32,
    pub(crate) breached: Option<BreachedPlan>,
    pub(crate) on_fault: LimitFault,
    course: Box<str>,
    trend: Arc<Trend>,
    /// Where instances share what they know.
    log: Option<Arc<Log>>,
}

/// Who has counted an attempt, and is to hear what it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CountedBy {
    /// This instance alone.
    Here,
    /// All of them.
    Shared,
}

/// Where passwords are looked up.
#[derive(Debug)]
pub(crate) struct BreachedPlan {
    pub(crate) list: Arc<Breaches>,
    pub(crate) closed: bool,
    pub(crate) refuse_login: bool,
}

impl LoginPlan {
    /// `None` where nobody is let in, or nobody looks.
    pub(crate) fn compile(
        (keys, config): (&KeyRing, &Config),
        effective: &Effective,
        api: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let written = effective.login.as_ref()?;
        let login = &written.value;
        let mode = effective.mode.weaker(login.mode);
        if mode == Mode::Off {
            return None;
        }
        let (logins, log) = match keys.defence(config) {
            Ok(found) => found,
            Err(why) => {
                diagnostics.push(Diagnostic::error(written.span, why));
                return None;
            }
        };
        let stuffing = login
            .stuffing
            .or(config.detect.stuffing)
            .unwrap_or_default();
        let stuffing_mode = mode.weaker(stuffing.mode);
        // Two operations of one API that let people in are two doors of one house.
        let name = format!("{api} {}", login.kind.name());
        let course = logins.course(&name);
        let breached = login.breached.as_ref().map(|breached| BreachedPlan {
            list: logins.list(&breached.source),
            closed: breached.closed,
            refuse_login: breached.refuse_login,
        });
        if let Some(breached) = &breached
            && let Err(why) = breached.list.is_there()
        {
            let help = "see `login.breached` in the manual";
            diagnostics.push(Diagnostic::error(written.span, why).help(help));
        }
        Some(Self {
            kind: login.kind,
            mode,
            stuffing_mode,
            rules: rules(login, (stuffing_mode != Mode::Off).then_some(stuffing)),
            account: login.account.clone(),
            password: login.password.clone().or_else(|| beside(&login.account)),
            answers: Answers::new(&login.failure, &login.success),
            uniform: login.uniform,
            pace: course.pace,
            hold: login.hold,
            breached,
            on_fault: login.on_fault,
            course: name.into(),
            trend: course.trend,
            logins,
            log,
        })
    }

    /// Whether all that ask get one answer, whatever came of it.
    pub(crate) fn is_level(&self) -> bool {
        self.uniform && self.mode == Mode::Enforce && self.rules.kind.counts_all()
    }

    /// Whoever attempts, as it is counted.
    pub(crate) fn keys(&self, who: &Who<'_>) -> Keys {
        self.logins.defence.keys(self.rules.kind, who)
    }

    /// Asks whether an attempt may be made now, with or without looking for stuffing.
    ///
    /// # Errors
    /// [`Away`]: instances share what they know, and it cannot be had.
    pub(crate) async fn ask(
        &self,
        keys: &Keys,
        suspicious: bool,
    ) -> Result<Result<Charge, Refused>, Away> {
        let Some(log) = &self.log else {
            return Ok(self.ask_alone(keys, suspicious));
        };
        if log.is_away() {
            return Err(Away);
        }
        let entry = self.entry(keys, suspicious, Step::Ask);
        // What is refused anyway is not written: a flood of it costs the others nothing. What refuses it may
        // be over since this instance has read the log, for somebody who came in at another one.
        if self.refuses(keys, &entry.rules).is_some() {
            log.look().await;
            if let Some(refused) = self.refuses(keys, &entry.rules) {
                return Ok(Err(refused));
            }
        }
        log.take(entry, Taken::asked).await
    }

    /// The same, by what this instance knows alone.
    pub(crate) fn ask_alone(&self, keys: &Keys, suspicious: bool) -> Result<Charge, Refused> {
        let (rules, now) = (self.rules_for(suspicious), self.logins.now());
        let charge = self.logins.defence.ask(&rules, &self.trend, keys, now)?;
        self.tell_others(keys, suspicious, Step::Note);
        Ok(charge)
    }

    /// Counts an attempt that is only watched, and says who has counted it.
    pub(crate) async fn note(&self, keys: &Keys) -> (Charge, CountedBy) {
        if let Some(log) = &self.log {
            let entry = self.entry(keys, true, Step::Note);
            if let Ok(charge) = log.take(entry, Taken::noted).await {
                return (charge, CountedBy::Shared);
            }
        }
        (self.note_alone(keys), CountedBy::Here)
    }

    /// The same, by this instance alone.
    pub(crate) fn note_alone(&self, keys: &Keys) -> Charge {
        let now = self.logins.now();
        let charge = self.logins.defence.note(&self.rules, keys, now);
        self.tell_others(keys, true, Step::Note);
        charge
    }

    /// Who has counted an attempt that was asked for.
    pub(crate) fn counted_by(&self) -> CountedBy {
        match self.log {
            Some(_) => CountedBy::Shared,
            None => CountedBy::Here,
        }
    }

    /// Counts that an attempt was decided about by `on_fault`.
    pub(crate) fn fell_back(&self) {
        if let Some(log) = &self.log {
            log.fell_back(self.on_fault);
        }
    }

    /// What an attempt was, where somebody waits for what is learnt from it.
    pub(crate) async fn settle(&self, charge: &Charge, was: Attempt, by: CountedBy) -> Learnt {
        match (&self.log, by) {
            (Some(log), CountedBy::Shared) => {
                log.settle(self.entry(charge.keys(), true, charge.end(was)))
                    .await
            }
            (Some(_) | None, _) => self.settle_alone(charge, was),
        }
    }

    /// What an attempt was, where nobody waits.
    pub(crate) fn tell(&self, charge: &Charge, was: Attempt, by: CountedBy) -> Learnt {
        match (&self.log, by) {
            (Some(log), CountedBy::Shared) => {
                let entry = self.entry(charge.keys(), true, charge.end(was));
                log.tell(Event::Attempt(entry.into()));
                Learnt::default()
            }
            (Some(_) | None, _) => self.settle_alone(charge, was),
        }
    }

    fn refuses(&self, keys: &Keys, rules: &Rules) -> Option<Refused> {
        let (defence, now) = (&self.logins.defence, self.logins.now());
        defence.refuses(rules, &self.trend, keys, now)
    }

    fn settle_alone(&self, charge: &Charge, was: Attempt) -> Learnt {
        let (defence, now) = (&self.logins.defence, self.logins.now());
        let learnt = defence.settle(&self.rules, &self.trend, charge, was, now);
        self.tell_others(charge.keys(), true, charge.end(was));
        learnt
    }

    /// What this instance took alone, while the log could not be had, the others take when it is back.
    fn tell_others(&self, keys: &Keys, suspicious: bool, step: Step) {
        if let Some(log) = &self.log {
            let entry = self.entry(keys, suspicious, step);
            log.tell_others(Event::Attempt(entry.into()));
        }
    }

    fn entry(&self, keys: &Keys, suspicious: bool, step: Step) -> Entry {
        Entry {
            course: self.course.clone(),
            rules: self.rules_for(suspicious),
            keys: *keys,
            step,
        }
    }

    fn rules_for(&self, suspicious: bool) -> Rules {
        Rules {
            suspicion: self.rules.suspicion.filter(|_| suspicious),
            ..self.rules
        }
    }
}

fn rules(login: &LoginDefence, stuffing: Option<Stuffing>) -> Rules {
    Rules {
        kind: match login.kind {
            LoginKind::Login => Kind::Login,
            LoginKind::Otp => Kind::Otp,
            LoginKind::Reset => Kind::Reset,
            LoginKind::Registration => Kind::Registration,
        },
        delay: Delay {
            after: login.after,
            first: login.first,
            most: login.most,
        },
        forget: login.forget,
        lock: login.lock.map(|lock| Lock {
            after: lock.after,
            hold: lock.hold,
        }),
        suspicion: stuffing.map(|stuffing| Suspicion {
            accounts: stuffing.accounts,
            passwords: stuffing.passwords,
            fall: stuffing.fall,
            within: stuffing.within,
            hold: stuffing.hold,
            response: match stuffing.action {
                StuffingAction::Block => Response::Block,
                StuffingAction::Slow => Response::Slow,
                StuffingAction::Challenge => Response::Challenge,
            },
        }),
        known: login.known,
    }
}

/// Bodies of which no account is read: who writes `login` believes that accounts are counted.
pub(crate) fn unnamed(
    login: &Spanned<LoginDefence>,
    description: &ApiDescription,
    operation: &Operation,
) -> Vec<Diagnostic> {
    let Part::Body(path) = &login.value.account else {
        return Vec::new();
    };
    let media_types = operation.body.iter().flat_map(RequestBody::media_types);
    let unread = media_types.filter(|media_type| match media_type.content() {
        Content::Json | Content::Form | Content::Multipart => false,
        Content::Text | Content::Stream | Content::Binary => true,
    });
    let warning = |media_type: &MediaType| {
        let message = format!(
            "the body of operation `{}` may be `{}`, of which no account is read: it is counted by the address alone",
            operation.id, media_type.name
        );
        let help =
            "declare only JSON, `application/x-www-form-urlencoded` and `multipart/form-data`";
        Diagnostic::warning(login.span, message).help(help)
    };
    let mut found: Vec<Diagnostic> = unread.map(warning).collect();
    found.extend(undeclared(login, path, description, operation));
    found
}

/// A property that names the account and that the description does not know.
fn undeclared(
    login: &Spanned<LoginDefence>,
    path: &str,
    description: &ApiDescription,
    operation: &Operation,
) -> Option<Diagnostic> {
    let known = door::properties(description, operation)?;
    if known.iter().any(|known| known == path) {
        return None;
    }
    let message = format!(
        "the body of operation `{}` has no `{path}`, so that no account is counted",
        operation.id
    );
    let near = did_you_mean(path, known.iter().map(String::as_str));
    let help = match near {
        Some(near) => format!("did you mean `body.{near}`?"),
        None => format!("it has `{}`", known.join("`, `")),
    };
    Some(Diagnostic::warning(login.span, message).help(help))
}

/// Where a password usually stands: in the body, beside the account.
fn beside(account: &Part) -> Option<Part> {
    let Part::Body(path) = account else {
        return None;
    };
    let beside = match path.rsplit_once('.') {
        Some((parent, _)) => format!("{parent}.password"),
        None => "password".to_owned(),
    };
    Some(Part::Body(beside.into()))
}

/// How many objects a caller may ask for that are refused or not there.
#[derive(Debug)]
pub(crate) struct ObjectsPlan {
    pub(crate) logins: Arc<Logins>,
    pub(crate) rule: WalkRule,
    pub(crate) mode: Mode,
    /// Whoever has too much in flight waits; where it is only watched, nobody does.
    pub(crate) waits: bool,
    /// Where instances share what they know.
    log: Option<Arc<Log>>,
}

impl ObjectsPlan {
    /// `None` where nobody counts.
    pub(crate) fn compile(
        (keys, config): (&KeyRing, &Config),
        effective: &Effective,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let enumeration = effective.enumeration.or(config.detect.enumeration)?;
        let mode = effective.mode.weaker(enumeration.mode);
        if mode == Mode::Off {
            return None;
        }
        match keys.defence(config) {
            Ok((logins, log)) => Some(Self {
                logins,
                log,
                mode,
                waits: mode == Mode::Enforce,
                rule: WalkRule {
                    distinct: enumeration.distinct,
                    within: enumeration.within,
                },
            }),
            Err(why) => {
                diagnostics.push(Diagnostic::error(None, why));
                None
            }
        }
    }

    /// Counts an object that the caller may not see, or that is not there.
    pub(crate) fn note(&self, who: Key, object: Key) {
        let (walks, now) = (&self.logins.walks, self.logins.now());
        let is_new = walks.note(who, object, &self.rule, now);
        // The others need to hear of a new one alone.
        if let Some(log) = self.log.as_ref().filter(|_| is_new) {
            log.tell_others(Event::Missed {
                who,
                object,
                rule: self.rule,
            });
        }
    }
}
