//! Defence of logins: what is counted of failures, how long the next attempt waits, and what looks
//! like somebody who tries accounts that others lost.
//!
//! **An attempt counts as a failure from when it is let through**, and is taken back if it was none. So
//! a thousand attempts at once do not pass before the first is judged, and whoever hangs up before the
//! answer has still had an attempt.
//!
//! **Nobody can lock another out.** What counts most is the account together with the address. The
//! account alone delays strangers only, each by the same short while and not one after the other, and
//! an address from which the account came in before is no stranger. What counts for an address is
//! offset by the accounts that come in from it, so that an office is not its worst typist.
//!
//! Nothing here keeps an account, an address or a password: all are keyed hashes, in tables whose
//! memory is taken at once. Deliberately not here: what an answer means (the gateway reads it), and
//! what refused clients are told.

mod account;
mod bytes;
mod delay;
mod distinct;
pub mod kept;
pub mod log;
mod pace;
mod suspicion;
mod table;
mod terms;
mod walk;

#[cfg(test)]
mod tests;

use std::{borrow::Cow, hash::Hasher as _, net::IpAddr, sync::OnceLock, time::Duration};

use siphasher::sip128::Hasher128 as _;

pub use delay::Delay;
pub use kept::Kept;
pub use pace::Pace;
pub use suspicion::{Breadth, Fall, Response, Suspicion, Trend};
pub use terms::{Attempt, By, Kind, Learnt, Lock, Refused, Rules, Sign, Who, Why};
pub use walk::{InFlight, NotNow, WalkRule, Walks};

use crate::{
    Key,
    key::{self, Prefixes, Secret},
};
use account::normal;
use delay::Level;
use suspicion::{Source, Spray};
use table::{Table, Worth};

const SECOND: u64 = 1_000_000_000;

/// Accounts, addresses, networks and pairs whose failures are counted: 16 MiB.
const COUNTED: usize = 1 << 18;
/// Sources that are watched for stuffing.
const SOURCES: usize = 1 << 15;
/// Passwords that are watched.
const PASSWORDS: usize = 1 << 15;
/// Pairs of account and address that came in: 5 MiB.
const KNOWN: usize = 1 << 17;

/// How long whoever was told to come back has time to do so.
const PATIENCE: u64 = 300 * SECOND;

/// Attempts at once that do not count as failures before they are judged, where the account is known.
const TRUSTED: u32 = 8;

/// An attempt that was let through, until it is known what it was.
#[derive(Clone, Copy, Debug)]
pub struct Charge {
    keys: Keys,
    /// From where the account did not come in before.
    stranger: bool,
    /// Why it looks like an attack although it passed.
    pub suspect: Option<Sign>,
    /// Failures of the account at this address before it.
    pub failures: u32,
}

impl Charge {
    /// Whose it is.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The account's keyed hash, for the journal: the same for the same account, and nothing of it.
    pub fn account(&self) -> Option<Key> {
        self.keys.named
    }
}

/// What is known of everybody who attempts to log in.
#[derive(Debug)]
pub struct Defence {
    secret: Secret,
    /// The one of a store, which takes its place.
    adopted: OnceLock<Secret>,
    counted: Table<Tally>,
    sources: Table<Source>,
    passwords: Table<Spray>,
    known: Table<Known>,
    address: Prefixes,
    network: Prefixes,
}

/// Why an attempt that passes looks like an attack, and the wait that a general alarm costs it.
type Suspect = (Option<Sign>, Option<Duration>);

/// Failures of a key.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    level: Level,
    /// When it was told to come back.
    asked: Option<u64>,
    /// Locked until then.
    locked: u64,
    /// Attempts that are not judged yet; of pairs alone.
    pending: u32,
}

impl Tally {
    /// Whether it is too soon after the last failure.
    fn delayed(
        &self,
        by: By,
        delay: Option<Delay>,
        is_known: bool,
        half_life: u64,
        now: u64,
    ) -> Result<(), Refused> {
        let counted = self.level.failures(half_life, now);
        // A program at home may log in several times at once.
        let trusted = if is_known {
            self.pending.min(TRUSTED)
        } else {
            0
        };
        let failures = counted.saturating_sub(trusted);
        let wait = delay.map_or(Duration::ZERO, |delay| delay.of(failures));
        // A clock that was ahead makes nobody wait for longer than that.
        let ready = self.level.at().min(now).saturating_add(nanos(wait));
        if wait.is_zero() || ready <= now {
            return Ok(());
        }
        Err(Refused {
            why: Why::Delayed { by, failures },
            wait: Duration::from_nanos(ready - now),
        })
    }
}

impl Worth for Tally {
    fn worth(&self, now: u64) -> u64 {
        let lock = u64::from(self.locked > now) * (1 << 32);
        let asked = u64::from(
            self.asked
                .is_some_and(|at| now < at.saturating_add(PATIENCE)),
        );
        // The half-life is not known here; what is a day old was a typo.
        let fresh = now < self.level.at().saturating_add(86_400 * SECOND);
        let level = if fresh {
            u64::from(self.level.failures(3_600 * SECOND, now)) * 2
        } else {
            0
        };
        lock + asked + level
    }
}

/// Until when an address is one of the account's.
#[derive(Clone, Copy, Debug, Default)]
struct Known(u64);

impl Worth for Known {
    fn worth(&self, now: u64) -> u64 {
        self.0.saturating_sub(now)
    }
}

/// Who attempts, as nothing but keyed hashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keys {
    named: Option<Key>,
    account: Key,
    pair: Key,
    place: Key,
    address: Key,
    network: Key,
    client: Option<Key>,
    password: Option<Key>,
}

impl Keys {
    /// The account, for maps of accounts.
    fn mark(&self) -> u64 {
        self.account.to_halves().0
    }

    fn sources(&self) -> impl Iterator<Item = (Breadth, Key)> {
        let client = self.client.map(|key| (Breadth::Client, key));
        [
            (Breadth::Address, self.address),
            (Breadth::Network, self.network),
        ]
        .into_iter()
        .chain(client)
    }
}

impl Defence {
    /// Empty tables. Hashes are made under the secret.
    pub fn new(secret: Secret) -> Self {
        Self {
            secret,
            adopted: OnceLock::new(),
            counted: Table::new(COUNTED),
            sources: Table::new(SOURCES),
            passwords: Table::new(PASSWORDS),
            known: Table::new(KNOWN),
            address: Prefixes::default(),
            network: Prefixes::new(24, 48),
        }
    }

    /// Asks whether an attempt may be made now; if so, it counts as a failure until it is settled.
    /// `now` is in nanoseconds of a clock that does not go back.
    ///
    /// # Errors
    /// It may not; nothing is counted then.
    pub fn ask(
        &self,
        rules: &Rules,
        trend: &Trend,
        keys: &Keys,
        now: u64,
    ) -> Result<Charge, Refused> {
        let (is_known, (suspect, asked_again)) = self.bar(rules, trend, keys, now)?;
        let failures = self.charge(rules, keys, is_known, now)?;
        if !is_known && let Err(refused) = self.wait(rules, keys, asked_again, now) {
            self.take_back(keys, By::Account);
            return Err(refused);
        }
        Ok(Charge {
            keys: *keys,
            stranger: !is_known,
            suspect,
            failures,
        })
    }

    /// Why [`Defence::ask`] would refuse an attempt without counting anything, as far as that is to be
    /// seen at once. It changes nothing.
    pub fn refuses(&self, rules: &Rules, trend: &Trend, keys: &Keys, now: u64) -> Option<Refused> {
        let is_known = match self.bar(rules, trend, keys, now) {
            Ok((is_known, _)) => is_known,
            Err(refused) => return Some(refused),
        };
        let pair = self.counted.get(keys.pair);
        let delayed = pair.delayed(
            By::Pair,
            Some(rules.delay),
            is_known,
            nanos(rules.forget),
            now,
        );
        delayed.err()
    }

    /// Counts an attempt that [`Defence::ask`] refused and that was made nevertheless.
    pub fn note(&self, rules: &Rules, keys: &Keys, now: u64) -> Charge {
        let stranger = self.known.get(keys.place).0 <= now;
        let half_life = nanos(rules.forget);
        for key in [keys.pair, keys.address, keys.network, keys.account] {
            self.counted.with(key, now, |tally| {
                tally.level.add(half_life, now);
                tally.pending += u32::from(key == keys.pair);
            });
        }
        Charge {
            keys: *keys,
            stranger,
            suspect: None,
            failures: 0,
        }
    }

    /// What an attempt was.
    pub fn settle(
        &self,
        rules: &Rules,
        trend: &Trend,
        charge: &Charge,
        attempt: Attempt,
        now: u64,
    ) -> Learnt {
        let keys = charge.keys;
        // People at home are many and come in: beside them an attack would not show.
        let trend = charge.stranger.then_some(trend);
        match attempt {
            Attempt::Failed => self.failed(rules, trend, &keys, now),
            Attempt::Succeeded if rules.kind.counts_all() => self.failed(rules, trend, &keys, now),
            Attempt::Succeeded => {
                self.succeeded(rules, trend, &keys, now);
                Learnt::default()
            }
            Attempt::Unjudged => {
                self.take_back(&keys, By::Pair);
                Learnt::default()
            }
        }
    }

    /// Forgets the failures and the lock of an account; true if there were any.
    pub fn unlock(&self, account: Key) -> bool {
        let mut had = false;
        self.counted.if_there(account, |tally| {
            had = true;
            *tally = Tally::default();
        });
        had
    }

    /// The key of an account, as [`Defence::unlock`] takes it.
    pub fn account(&self, scope: &str, kind: Kind, account: &[u8]) -> Key {
        account_key(self.secret(), scope, kind, account)
    }

    /// Takes a secret that outlives the process instead of its own, before anything is counted; the
    /// first one stays.
    pub fn adopt(&self, secret: Secret) {
        self.adopted.get_or_init(|| secret);
    }

    fn secret(&self) -> &Secret {
        self.adopted.get().unwrap_or(&self.secret)
    }

    /// A key of whatever else is counted under the same secret.
    pub fn name(&self, what: u8, parts: &[&[u8]]) -> Key {
        name(self.secret(), what, parts)
    }

    /// Empties what means nothing any more. Walks all tables: not for a request.
    pub fn tidy(&self, now: u64) {
        self.counted.tidy(now);
        self.sources.tidy(now);
        self.passwords.tidy(now);
        self.known.tidy(now);
    }

    /// Keys that lost a state which still meant something, because their set was full.
    pub fn evicted(&self) -> u64 {
        self.counted.evicted()
            + self.sources.evicted()
            + self.passwords.evicted()
            + self.known.evicted()
    }

    /// Bytes of all tables.
    pub fn bytes(&self) -> usize {
        self.counted.bytes() + self.sources.bytes() + self.passwords.bytes() + self.known.bytes()
    }

    /// Whoever attempts, as [`Defence::ask`] takes it.
    pub fn keys(&self, kind: Kind, who: &Who<'_>) -> Keys {
        let scope = who.scope.as_bytes();
        let kind = [kind.code()];
        let address = octets(self.address.network(who.address));
        // Those who name no account are not one account: each counts by its address.
        let account = who.account.map_or_else(|| address.clone(), normal);
        let network = octets(self.network.network(who.address));
        let what = if who.account.is_some() { b'a' } else { b'0' };
        let own = self.name(what, &[scope, &kind, &account]);
        Keys {
            named: who.account.map(|_| own),
            account: own,
            pair: self.name(b'p', &[scope, &kind, &account, &address]),
            // Known places are the same for all that an account does.
            place: self.name(b'k', &[scope, &account, &address]),
            address: self.name(b's', &[scope, &kind, &address]),
            network: self.name(b'n', &[scope, &kind, &network]),
            client: who
                .client
                .map(|client| self.name(b'j', &[scope, &kind, client.as_bytes()])),
            password: who
                .password
                .map(|password| self.name(b'w', &[scope, password])),
        }
    }

    /// What bars an attempt whatever its delays; else whether the account came in from there before,
    /// and what [`Defence::suspect`] says.
    fn bar(
        &self,
        rules: &Rules,
        trend: &Trend,
        keys: &Keys,
        now: u64,
    ) -> Result<(bool, Suspect), Refused> {
        if rules.kind.knows_places() && self.known.get(keys.place).0 > now {
            return Ok((true, (None, None)));
        }
        let account = self.counted.get(keys.account);
        if account.locked > now {
            return Err(Refused {
                why: Why::Locked,
                wait: Duration::from_nanos(account.locked - now),
            });
        }
        Ok((false, self.suspect(rules, trend, keys, now)?))
    }

    /// Whether an attempt looks like an attack: what it may pass with, and the wait that a general
    /// alarm costs.
    fn suspect(
        &self,
        rules: &Rules,
        trend: &Trend,
        keys: &Keys,
        now: u64,
    ) -> Result<Suspect, Refused> {
        let Some(suspicion) = &rules.suspicion else {
            return Ok((None, None));
        };
        let source = keys.sources().find_map(|(breadth, key)| {
            let left = self.sources.get(key).flagged(now)?;
            Some((Sign::Source(breadth), left))
        });
        let found = source.or_else(|| {
            let left = self.passwords.get(keys.password?).flagged(now)?;
            Some((Sign::Password, left))
        });
        let alarm = trend.alarm(now);
        match (found, suspicion.response) {
            (Some((sign, wait)), Response::Block) => Err(Refused {
                why: Why::Stuffing(sign),
                wait,
            }),
            (Some((sign, _)), Response::Slow) => Ok((Some(sign), Some(rules.of_account().most))),
            (Some((sign, _)), Response::Challenge) => Ok((Some(sign), None)),
            (None, Response::Challenge) => Ok((alarm.then_some(Sign::Ratio), None)),
            (None, Response::Block | Response::Slow) => {
                let wait = rules.delay.first.saturating_mul(2);
                Ok((None, alarm.then_some(wait)))
            }
        }
    }

    /// Charges account and address together, then the wider ones; all or none.
    fn charge(&self, rules: &Rules, keys: &Keys, is_known: bool, now: u64) -> Result<u32, Refused> {
        let half_life = nanos(rules.forget);
        let failures = self.counted.get(keys.pair).level.failures(half_life, now);
        let take = |by: By, key: Key, delay: Option<Delay>| {
            self.counted.with(key, now, |tally| {
                tally.delayed(by, delay, is_known, half_life, now)?;
                tally.level.add(half_life, now);
                tally.pending += u32::from(by == By::Pair);
                Ok(())
            })
        };
        // What is offset stays below what costs: people who come in pay for those who mistype.
        let offset = |delay: Delay, key: Key| {
            let welcome = self.sources.get(key).welcome(now);
            (!is_known).then(|| Delay {
                after: delay.after.saturating_add(welcome),
                ..delay
            })
        };
        take(By::Pair, keys.pair, Some(rules.delay))?;
        let address = offset(rules.of_address(), keys.address);
        if let Err(refused) = take(By::Address, keys.address, address) {
            self.take_back(keys, By::Address);
            return Err(refused);
        }
        let network = offset(rules.of_network(), keys.network);
        if let Err(refused) = take(By::Network, keys.network, network) {
            self.take_back(keys, By::Network);
            return Err(refused);
        }
        Ok(failures)
    }

    /// Charges the account, and lets a stranger come back first where it is under attack.
    ///
    /// Strangers do not wait for each other: each has a time of its own, or whoever asks most often
    /// would keep the owner out.
    fn wait(
        &self,
        rules: &Rules,
        keys: &Keys,
        alarm: Option<Duration>,
        now: u64,
    ) -> Result<(), Refused> {
        let half_life = nanos(rules.forget);
        let failures = self
            .counted
            .get(keys.account)
            .level
            .failures(half_life, now);
        if let Some(lock) = rules.lock
            && failures >= lock.after
        {
            // As many as may fail are in flight.
            return Err(Refused {
                why: Why::Delayed {
                    by: By::Account,
                    failures,
                },
                wait: rules.delay.first,
            });
        }
        let own = rules.of_account().of(failures);
        // Whoever comes back and fails again waits twice as long: only the first wait is short.
        let tries = self.counted.get(keys.pair).level;
        let before = tries.failures(half_life, now).saturating_sub(1);
        let factor = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        let wait = own.max(alarm.unwrap_or_default());
        let wait = nanos(wait.saturating_mul(factor).min(rules.delay.most));
        if wait > 0 {
            let left = self.counted.with(keys.pair, now, |tally| {
                match tally.asked.map(|asked| asked.min(now)) {
                    Some(asked) if now < asked.saturating_add(wait) => {
                        Some(asked.saturating_add(wait) - now)
                    }
                    Some(asked) if now < asked.saturating_add(wait).saturating_add(PATIENCE) => {
                        tally.asked = None;
                        None
                    }
                    Some(_) | None => {
                        tally.asked = Some(now);
                        Some(wait)
                    }
                }
            });
            if let Some(left) = left {
                let why = if own.is_zero() {
                    Why::Stuffing(Sign::Ratio)
                } else {
                    Why::Delayed {
                        by: By::Account,
                        failures,
                    }
                };
                return Err(Refused {
                    why,
                    wait: Duration::from_nanos(left),
                });
            }
        }
        self.counted
            .with(keys.account, now, |tally| tally.level.add(half_life, now));
        Ok(())
    }

    /// Takes back what was charged before `by`, or all of it for the pair itself.
    fn take_back(&self, keys: &Keys, by: By) {
        let charged: &[Key] = match by {
            By::Address => &[keys.pair],
            By::Network => &[keys.pair, keys.address],
            By::Account => &[keys.pair, keys.address, keys.network],
            By::Pair => &[keys.pair, keys.address, keys.network, keys.account],
        };
        for key in charged {
            self.counted.if_there(*key, |tally| {
                tally.level.take_back();
                tally.pending = tally.pending.saturating_sub(1);
            });
        }
    }

    fn failed(&self, rules: &Rules, trend: Option<&Trend>, keys: &Keys, now: u64) -> Learnt {
        let mut learnt = Learnt::default();
        self.counted.if_there(keys.pair, |tally| {
            tally.pending = tally.pending.saturating_sub(1);
        });
        if let Some(lock) = rules.lock {
            let half_life = nanos(rules.forget);
            self.counted.if_there(keys.account, |tally| {
                if tally.level.failures(half_life, now) >= lock.after {
                    learnt.locked = tally.locked <= now;
                    // What led to the lock is paid for by it.
                    *tally = Tally {
                        level: Level::default(),
                        asked: None,
                        pending: tally.pending,
                        locked: now.saturating_add(nanos(lock.hold)),
                    };
                }
            });
        }
        let Some(suspicion) = &rules.suspicion else {
            return learnt;
        };
        let mark = keys.mark();
        if let Some(trend) = trend.filter(|_| !rules.kind.counts_all()) {
            learnt.fall = trend.failed(suspicion, mark, now);
        }
        let alarm = trend.is_some_and(|trend| trend.alarm(now));
        for (breadth, key) in keys.sources() {
            let is_new = self.sources.with(key, now, |source| {
                source.failed((suspicion, breadth), mark, alarm, now)
            });
            if is_new {
                // The narrowest comes first, and says most.
                learnt.found.get_or_insert(Sign::Source(breadth));
            }
        }
        if let Some(key) = keys.password.filter(|_| !rules.kind.counts_all()) {
            let is_new = self
                .passwords
                .with(key, now, |spray| spray.failed(suspicion, mark, now));
            if is_new {
                learnt.found.get_or_insert(Sign::Password);
            }
        }
        learnt
    }

    fn succeeded(&self, rules: &Rules, trend: Option<&Trend>, keys: &Keys, now: u64) {
        for key in [keys.pair, keys.account] {
            self.counted
                .if_there(key, |tally| *tally = Tally::default());
        }
        // An attacker's own account must not wash the others' failures away: one is taken back.
        for key in [keys.address, keys.network] {
            self.counted.if_there(key, |tally| tally.level.take_back());
        }
        if rules.kind.knows_places() {
            let until = now.saturating_add(nanos(rules.known));
            self.known.with(keys.place, now, |known| known.0 = until);
        }
        let Some(suspicion) = &rules.suspicion else {
            return;
        };
        let mark = keys.mark();
        if let Some(trend) = trend {
            trend.succeeded(mark, now);
        }
        for (_, key) in keys.sources() {
            self.sources
                .with(key, now, |source| source.succeeded(suspicion, mark, now));
        }
    }
}

/// The key of an account under a secret.
pub fn account_key(secret: &Secret, scope: &str, kind: Kind, account: &[u8]) -> Key {
    let account = normal(account);
    name(secret, b'a', &[scope.as_bytes(), &[kind.code()], &account])
}

fn name(secret: &Secret, what: u8, parts: &[&[u8]]) -> Key {
    let mut hasher = secret.hasher();
    hasher.write_u8(what);
    for part in parts {
        key::write(&mut hasher, 0, part);
    }
    let hash = hasher.finish128();
    Key::from_halves(hash.h1, hash.h2)
}

fn octets(address: IpAddr) -> Cow<'static, [u8]> {
    match address {
        IpAddr::V4(address) => Cow::Owned(address.octets().to_vec()),
        IpAddr::V6(address) => Cow::Owned(address.octets().to_vec()),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
