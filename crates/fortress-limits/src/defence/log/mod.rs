//! What instances tell each other of logins: one log that each of them reads in the same order, so that
//! all of them know the same.
//!
//! Whoever is asked whether an attempt may be made writes the question into the log, and answers it once
//! it reads it there, after all that stands before it. So a thousand attempts at once over fifty
//! instances are answered as one instance would. An entry carries the numbers by which it is judged: what
//! comes of it does not hang on who reads it, nor on a configuration that is being rolled out.
//!
//! Nothing but keyed hashes is in it: no account, no address, no password. Deliberately not here: where
//! the log is kept, and its clock.

use std::time::Duration;

use super::{
    Attempt, Charge, Defence, Delay, Keys, Kind, Learnt, Lock, Refused, Response, Rules, Suspicion,
    Trend, WalkRule,
    bytes::{Reader, Writer},
    nanos,
};
use crate::Key;

/// An entry of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A step of an attempt.
    Attempt(Box<Entry>),
    /// A caller asked for an object that it may not see or that is not there.
    Missed {
        /// The caller.
        who: Key,
        /// The object.
        object: Key,
        /// What it is judged by.
        rule: WalkRule,
    },
}

/// A step of an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What has a [`Trend`] of its own: the API and the kind of operation. At most 255 bytes are told.
    pub course: Box<str>,
    /// What it is judged by.
    pub rules: Rules,
    /// Who attempts.
    pub keys: Keys,
    /// Which step.
    pub step: Step,
}

/// A step of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// [`Defence::ask`].
    Ask,
    /// [`Defence::note`].
    Note,
    /// [`Defence::settle`].
    Settle {
        /// What the attempt was.
        attempt: Attempt,
        /// As its [`Charge`] says.
        stranger: bool,
    },
}

/// What came of an entry.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// Whether the attempt may be made.
    Asked(Result<Charge, Refused>),
    /// It was counted.
    Noted(Charge),
    /// What was learnt.
    Settled(Learnt),
}

impl Taken {
    /// Of a question.
    pub fn asked(self) -> Option<Result<Charge, Refused>> {
        match self {
            Self::Asked(asked) => Some(asked),
            Self::Noted(_) | Self::Settled(_) => None,
        }
    }

    /// Of what was counted.
    pub fn noted(self) -> Option<Charge> {
        match self {
            Self::Noted(charge) => Some(charge),
            Self::Asked(_) | Self::Settled(_) => None,
        }
    }

    /// Of what is settled.
    pub fn settled(self) -> Option<Learnt> {
        match self {
            Self::Settled(learnt) => Some(learnt),
            Self::Asked(_) | Self::Noted(_) => None,
        }
    }
}

impl Charge {
    /// The last step of the attempt.
    #[must_use]
    pub fn end(&self, attempt: Attempt) -> Step {
        Step::Settle {
            attempt,
            stranger: self.stranger,
        }
    }
}

impl Defence {
    /// Takes an entry. `trend` is its course's; `now` is the log's time.
    pub fn take(&self, entry: &Entry, trend: &Trend, now: u64) -> Taken {
        let (rules, keys) = (&entry.rules, &entry.keys);
        match entry.step {
            Step::Ask => Taken::Asked(self.ask(rules, trend, keys, now)),
            Step::Note => Taken::Noted(self.note(rules, keys, now)),
            Step::Settle { attempt, stranger } => {
                let charge = Charge {
                    keys: *keys,
                    stranger,
                    suspect: None,
                    failures: 0,
                };
                Taken::Settled(self.settle(rules, trend, &charge, attempt, now))
            }
        }
    }
}

/// What an entry begins with; another version of the program may write others, which are left out.
const ATTEMPT: u8 = 1;
const MISSED: u8 = 2;

impl Event {
    /// Whether it begins an attempt, which somebody waits to make.
    pub fn begins(&self) -> bool {
        match self {
            Self::Attempt(entry) => matches!(entry.step, Step::Ask | Step::Note),
            Self::Missed { .. } => false,
        }
    }

    /// As bytes: below 600.
    pub fn write(&self) -> Vec<u8> {
        let mut to = Writer(Vec::with_capacity(256));
        match self {
            Self::Attempt(entry) => {
                to.byte(ATTEMPT);
                let (course, _) = entry.course.split_at(entry.course.floor_char_boundary(255));
                to.byte(u8::try_from(course.len()).unwrap_or(u8::MAX));
                to.0.extend(course.as_bytes());
                to.rules(&entry.rules);
                to.keys(&entry.keys);
                match entry.step {
                    Step::Ask => to.byte(0),
                    Step::Note => to.byte(1),
                    Step::Settle { attempt, stranger } => {
                        to.byte(match attempt {
                            Attempt::Failed => 2,
                            Attempt::Succeeded => 3,
                            Attempt::Unjudged => 4,
                        });
                        to.byte(u8::from(stranger));
                    }
                }
            }
            Self::Missed { who, object, rule } => {
                to.byte(MISSED);
                to.key(*who);
                to.key(*object);
                to.number(rule.distinct);
                to.time(rule.within);
            }
        }
        to.0
    }

    /// From bytes; `None` if they are none of this version's.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let event = match from.byte()? {
            ATTEMPT => {
                let length = usize::from(from.byte()?);
                let course = std::str::from_utf8(from.bytes(length)?).ok()?.into();
                Self::Attempt(Box::new(Entry {
                    course,
                    rules: from.rules()?,
                    keys: from.keys()?,
                    step: from.step()?,
                }))
            }
            MISSED => Self::Missed {
                who: from.key()?,
                object: from.key()?,
                rule: WalkRule {
                    distinct: from.number()?,
                    within: from.time()?,
                },
            },
            _ => return None,
        };
        from.0.is_empty().then_some(event)
    }
}

impl Writer {
    fn time(&mut self, time: Duration) {
        self.long(nanos(time));
    }

    fn maybe<T>(&mut self, what: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.byte(u8::from(what.is_some()));
        if let Some(what) = what {
            write(self, what);
        }
    }

    fn rules(&mut self, rules: &Rules) {
        self.byte(rules.kind.code());
        self.number(rules.delay.after);
        self.time(rules.delay.first);
        self.time(rules.delay.most);
        self.time(rules.forget);
        self.time(rules.known);
        self.maybe(rules.lock, |to, lock| {
            to.number(lock.after);
            to.time(lock.hold);
        });
        self.maybe(rules.suspicion, |to, suspicion| {
            to.number(suspicion.accounts);
            to.number(suspicion.passwords);
            to.number(suspicion.fall);
            to.time(suspicion.within);
            to.time(suspicion.hold);
            to.byte(match suspicion.response {
                Response::Block => 0,
                Response::Slow => 1,
                Response::Challenge => 2,
            });
        });
    }

    fn keys(&mut self, keys: &Keys) {
        self.byte(u8::from(keys.named.is_some()));
        for key in [
            keys.account,
            keys.pair,
            keys.place,
            keys.address,
            keys.network,
        ] {
            self.key(key);
        }
        self.maybe(keys.client, Self::key);
        self.maybe(keys.password, Self::key);
    }
}

impl Reader<'_> {
    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn time(&mut self) -> Option<Duration> {
        self.long().map(Duration::from_nanos)
    }

    fn maybe<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.flag()? {
            read(self).map(Some)
        } else {
            Some(None)
        }
    }

    fn rules(&mut self) -> Option<Rules> {
        Some(Rules {
            kind: Kind::of_code(self.byte()?)?,
            delay: Delay {
                after: self.number()?,
                first: self.time()?,
                most: self.time()?,
            },
            forget: self.time()?,
            known: self.time()?,
            lock: self.maybe(|from| {
                Some(Lock {
                    after: from.number()?,
                    hold: from.time()?,
                })
            })?,
            suspicion: self.maybe(Self::suspicion)?,
        })
    }

    fn suspicion(&mut self) -> Option<Suspicion> {
        Some(Suspicion {
            accounts: self.number()?,
            passwords: self.number()?,
            fall: self.number()?,
            within: self.time()?,
            hold: self.time()?,
            response: match self.byte()? {
                0 => Response::Block,
                1 => Response::Slow,
                2 => Response::Challenge,
                _ => return None,
            },
        })
    }

    fn keys(&mut self) -> Option<Keys> {
        let is_named = self.flag()?;
        let account = self.key()?;
        Some(Keys {
            named: is_named.then_some(account),
            account,
            pair: self.key()?,
            place: self.key()?,
            address: self.key()?,
            network: self.key()?,
            client: self.maybe(Self::key)?,
            password: self.maybe(Self::key)?,
        })
    }

    fn step(&mut self) -> Option<Step> {
        let attempt = match self.byte()? {
            0 => return Some(Step::Ask),
            1 => return Some(Step::Note),
            2 => Attempt::Failed,
            3 => Attempt::Succeeded,
            4 => Attempt::Unjudged,
            _ => return None,
        };
        Some(Step::Settle {
            attempt,
            stranger: self.flag()?,
        })
    }
}

#[cfg(test)]
mod tests;
