//! Signs that accounts are tried that others lost: many accounts from one source, one password over
//! many accounts, and fewer logins that succeed than usual.
//!
//! Each sign is a count against a threshold that can be told to whoever asks. Accounts count once,
//! however often they are tried, so that neither one client that keeps failing nor an attacker's own
//! account that keeps succeeding moves them much.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{distinct::Distinct, nanos, table::Worth};

/// When what is counted means an attack.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Suspicion {
    /// Accounts that fail from one address within `within`; a network has four times as many, a TLS
    /// client ten times.
    pub accounts: u32,
    /// Accounts over which one password fails within `within`.
    pub passwords: u32,
    /// The ratio of logins that succeed that is too low, in per cent of what it usually is.
    pub fall: u32,
    /// The time over which is counted.
    pub within: Duration,
    /// How long a source or a password is held to be an attacker's.
    pub hold: Duration,
    /// What happens then.
    pub response: Response,
}

/// What happens to attempts that look like an attack.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Response {
    /// Those of the source are refused until it is forgotten.
    #[default]
    Block,
    /// Each has to come a second time, after a while.
    Slow,
    /// They pass, and the upstream is told, so that it can ask for more.
    Challenge,
}

/// Accounts that failed and succeeded from one source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Source {
    until: u64,
    failed: Distinct<2>,
    succeeded: Distinct<2>,
    flagged: u64,
}

/// How far from a single client a source is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breadth {
    /// An address, or what stands for one machine in IPv6.
    Address,
    /// Its neighbourhood.
    Network,
    /// All clients whose TLS speaks alike.
    Client,
}

impl Breadth {
    fn factor(self) -> u32 {
        match self {
            Self::Address => 1,
            Self::Network => 4,
            Self::Client => 10,
        }
    }
}

impl Source {
    fn roll(&mut self, rules: &Suspicion, now: u64) {
        if now >= self.until {
            let flagged = self.flagged;
            *self = Self {
                until: now.saturating_add(nanos(rules.within)),
                flagged,
                ..Self::default()
            };
        }
    }

    /// Sees an account fail; true if that makes the source one of an attacker's.
    pub(super) fn failed(
        &mut self,
        (rules, breadth): (&Suspicion, Breadth),
        account: u64,
        alarm: bool,
        now: u64,
    ) -> bool {
        self.roll(rules, now);
        self.failed.see(account);
        // Under a general alarm two strangers' accounts from one address are enough: a person has one.
        let accounts = if alarm {
            (rules.accounts / 5).max(2)
        } else {
            rules.accounts
        };
        let failed = self.failed.count();
        let is_attack = failed >= accounts.saturating_mul(breadth.factor())
            // Many people behind one address mistype too, but most of them do come in.
            && failed > self.succeeded.count();
        let is_new = is_attack && self.flagged <= now;
        if is_attack {
            self.flagged = now.saturating_add(nanos(rules.hold));
        }
        is_new
    }

    pub(super) fn succeeded(&mut self, rules: &Suspicion, account: u64, now: u64) {
        self.roll(rules, now);
        self.succeeded.see(account);
    }

    /// Accounts that came in from it lately.
    pub(super) fn welcome(&self, now: u64) -> u32 {
        if now < self.until {
            self.succeeded.count()
        } else {
            0
        }
    }

    /// How long it is still held to be an attacker's.
    pub(super) fn flagged(&self, now: u64) -> Option<Duration> {
        let left = self.flagged.checked_sub(now)?;
        (left > 0).then_some(Duration::from_nanos(left))
    }
}

impl Worth for Source {
    fn worth(&self, now: u64) -> u64 {
        let counted = if now < self.until {
            u64::from(self.failed.count()) + u64::from(self.succeeded.count())
        } else {
            0
        };
        let flagged = u64::from(self.flagged > now) * 1_000;
        // One that was only ever seen once is worth something, or its slot would be no memory.
        counted + flagged + u64::from(now < self.until && !self.failed.is_empty())
    }
}

/// Accounts over which one password failed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spray {
    until: u64,
    accounts: Distinct<2>,
    flagged: u64,
}

impl Spray {
    /// Sees the password fail for an account; true if that shows that it is sprayed.
    pub(super) fn failed(&mut self, rules: &Suspicion, account: u64, now: u64) -> bool {
        if now >= self.until {
            *self = Self {
                until: now.saturating_add(nanos(rules.within)),
                flagged: self.flagged,
                accounts: Distinct::default(),
            };
        }
        self.accounts.see(account);
        let is_attack = self.accounts.count() >= rules.passwords;
        let is_new = is_attack && self.flagged <= now;
        if is_attack {
            self.flagged = now.saturating_add(nanos(rules.within));
        }
        is_new
    }

    pub(super) fn flagged(&self, now: u64) -> Option<Duration> {
        let left = self.flagged.checked_sub(now)?;
        (left > 0).then_some(Duration::from_nanos(left))
    }
}

impl Worth for Spray {
    fn worth(&self, now: u64) -> u64 {
        let counted = if now < self.until {
            self.accounts.count()
        } else {
            0
        };
        u64::from(counted) + u64::from(self.flagged > now) * 1_000
    }
}

/// The stretches in which logins are counted.
const BUCKET: u64 = 60 * super::SECOND;

/// Accounts that must have been tried before a ratio means anything.
const ENOUGH: u32 = 50;

/// Accounts of a stretch from which the usual ratio is learnt.
const ENOUGH_TO_LEARN: u32 = 20;

/// What is usual as long as nothing is known, per mille: most logins succeed.
const FIRST_USUAL: u32 = 800;

/// How long an alarm lasts after the ratio was last too low.
const ALARM: u64 = 5 * 60 * super::SECOND;

/// How many logins succeed, over everybody who logs in from where nobody knows them.
#[derive(Debug, Default)]
pub struct Trend(Mutex<State>);

#[derive(Debug)]
struct State {
    since: u64,
    failed: Distinct<128>,
    succeeded: Distinct<128>,
    /// Counts of the stretch before.
    before: (u32, u32),
    /// Per mille.
    usual: u32,
    alarm: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            since: 0,
            failed: Distinct::default(),
            succeeded: Distinct::default(),
            before: (0, 0),
            usual: FIRST_USUAL,
            alarm: 0,
        }
    }
}

/// Why there is an alarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fall {
    /// The ratio of accounts that came in, per cent.
    pub ratio: u32,
    /// What is usual, per cent.
    pub usual: u32,
    /// Accounts that were tried.
    pub accounts: u32,
}

impl Trend {
    /// Sees an account fail; says why if that raises an alarm.
    pub(super) fn failed(&self, rules: &Suspicion, account: u64, now: u64) -> Option<Fall> {
        let mut state = self.state();
        state.roll(now);
        state.failed.see(account);
        let fall = state.fall()?;
        let limit = u64::from(fall.usual) * u64::from(rules.fall) / 100;
        if u64::from(fall.ratio) >= limit.max(1) {
            return None;
        }
        let is_new = state.alarm <= now;
        state.alarm = now.saturating_add(ALARM);
        is_new.then_some(fall)
    }

    pub(super) fn succeeded(&self, account: u64, now: u64) {
        let mut state = self.state();
        state.roll(now);
        state.succeeded.see(account);
    }

    /// Far fewer logins succeed than usual.
    pub fn alarm(&self, now: u64) -> bool {
        self.state().alarm > now
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins a new stretch when it is time, and learns from the one that ended.
    fn roll(&mut self, now: u64) {
        let elapsed = now.saturating_sub(self.since);
        if elapsed < BUCKET {
            return;
        }
        let ended = (self.failed.count(), self.succeeded.count());
        if let Some(ratio) = per_mille(ended, ENOUGH_TO_LEARN) {
            // An attack teaches next to nothing, or whoever attacks long enough would be usual.
            let weight = if self.alarm > now { 128 } else { 8 };
            self.usual = (self.usual * (weight - 1) + ratio) / weight;
        }
        self.before = if elapsed < 2 * BUCKET { ended } else { (0, 0) };
        self.since = now;
        self.failed = Distinct::default();
        self.succeeded = Distinct::default();
    }

    /// The ratio of this stretch if it has enough accounts, else with the one before.
    fn fall(&self) -> Option<Fall> {
        let here = (self.failed.count(), self.succeeded.count());
        let both = (here.0 + self.before.0, here.1 + self.before.1);
        let (ratio, of) = per_mille(here, ENOUGH)
            .map(|ratio| (ratio, here))
            .or_else(|| Some((per_mille(both, ENOUGH)?, both)))?;
        Some(Fall {
            ratio: ratio / 10,
            usual: self.usual / 10,
            accounts: of.0 + of.1,
        })
    }
}

fn per_mille((failed, succeeded): (u32, u32), enough: u32) -> Option<u32> {
    let all = failed.saturating_add(succeeded);
    (all >= enough).then(|| {
        let ratio = u64::from(succeeded) * 1_000 / u64::from(all.max(1));
        u32::try_from(ratio).unwrap_or(1_000)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defence::tests::SUSPICION as RULES;

    fn account(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 29)
    }

    #[test]
    fn many_accounts_from_one_address() {
        let mut source = Source::default();
        let at = (&RULES, Breadth::Address);
        let flagged: Vec<u64> = (0..20)
            .filter(|number| source.failed(at, account(*number), false, *number))
            .collect();
        assert_eq!(flagged.len(), 1);
        assert!((8..12).contains(&flagged[0]), "{flagged:?}");
        assert!(source.flagged(20).is_some());
        assert!(source.flagged(20 + nanos(RULES.hold)).is_none());
    }

    #[test]
    fn one_account_that_keeps_failing_is_no_stuffing() {
        let mut source = Source::default();
        for now in 0..1_000 {
            assert!(!source.failed((&RULES, Breadth::Address), account(1), true, now));
        }
    }

    #[test]
    fn an_office_of_people_who_mistype_is_no_attacker() {
        let mut source = Source::default();
        for person in 0..500 {
            source.succeeded(&RULES, account(person), 0);
        }
        for person in 0..25 {
            assert!(!source.failed((&RULES, Breadth::Address), account(person), false, 0));
        }
        assert!(source.welcome(0) > 300);
        assert_eq!(source.welcome(nanos(RULES.within)), 0);
    }

    #[test]
    fn one_password_over_many_accounts() {
        let mut spray = Spray::default();
        let flagged = (0..20).position(|number| spray.failed(&RULES, account(number), 0));
        assert!((8..12).contains(&flagged.unwrap()), "{flagged:?}");
        let mut one = Spray::default();
        assert!(!(0..1_000).any(|_| one.failed(&RULES, account(1), 0)));
    }

    #[test]
    fn fewer_logins_that_succeed_than_usual() {
        let trend = Trend::default();
        let mut now = 0;
        // An hour of people of whom one in twenty mistypes.
        for minute in 0..60 {
            for person in 0..100 {
                trend.succeeded(account(minute * 1_000 + person), now);
                if person % 20 == 0 {
                    assert_eq!(
                        trend.failed(&RULES, account(minute * 1_000 + person), now),
                        None
                    );
                }
            }
            now += BUCKET;
        }
        assert!(!trend.alarm(now));
        let raised = (0..10_000).position(|number| {
            trend
                .failed(&RULES, account(1_000_000 + number), now)
                .is_some()
        });
        assert!(raised.unwrap() < 200, "{raised:?}");
        assert!(trend.alarm(now));
        assert!(!trend.alarm(now + ALARM));
    }

    #[test]
    fn own_logins_over_and_over_hide_no_attack() {
        let trend = Trend::default();
        let raised = (0..10_000).position(|number| {
            trend.succeeded(account(7), 0);
            trend.failed(&RULES, account(1_000 + number), 0).is_some()
        });
        assert!(raised.unwrap() < 100, "{raised:?}");
    }

    #[test]
    fn an_api_where_most_fail_is_learnt() {
        let trend = Trend::default();
        let mut now = 0;
        for minute in 0..600 {
            for person in 0..40 {
                trend.failed(&RULES, account(minute * 1_000 + person), now);
            }
            for person in 0..10 {
                trend.succeeded(account(minute * 1_000 + 500 + person), now);
            }
            now += BUCKET;
        }
        assert!(!trend.alarm(now + ALARM));
        let fall = trend.failed(&RULES, account(1), now);
        assert_eq!(fall, None);
    }
}
