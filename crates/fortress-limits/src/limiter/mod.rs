//! All limits of an operation at once: either all of them let a request pass and each has taken its
//! cost, or none has.
//!
//! Rates are asked first, since a refusal there writes nothing, then concurrency, and quotas last:
//! what was taken when a later one refuses is given back, and of a quota that is noticed the most.
//! Nothing here allocates for a request. Deliberately not here: which limits an operation has, and
//! what the instances of a cluster share (`distributed`).

mod held;

use std::{sync::Arc, time::Duration};

use fortress_model::{
    Mode,
    clock::Timestamp,
    config::{Factor, LimitFault, LimitHeaders, LimitMeasure, LimitRule, MOST_LIMITS, Network},
};
use jiff::tz::TimeZoneDatabase;
use smallvec::SmallVec;

use crate::{
    Decision, Key,
    concurrency::{Concurrency, Crowded},
    cost,
    distributed::{Leases, Shared},
    gcra::{Gcra, Rate, RateError},
    key::{KeySpec, NoKey, Part, Prefixes, Secret, Stage, Subject},
    quota::{Quota, Quotas},
};

pub use held::Held;
use held::Taken;

/// The counts of all limits. They outlive a reload of the configuration.
#[derive(Debug)]
pub struct Limiter {
    /// Rates.
    pub rates: Gcra,
    /// Quotas, which a store may keep.
    pub quotas: Arc<Quotas>,
    /// Requests in flight.
    pub concurrency: Arc<Concurrency>,
    /// What was leased of limits that instances share.
    pub leases: Option<Arc<Leases>>,
}

/// For how many keys each table is made; with more of them it begins to forget.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keys {
    /// Of rates: 64 bytes each.
    pub rates: usize,
    /// Of quotas: 192 bytes each.
    pub quotas: usize,
    /// Of requests in flight: 64 bytes each.
    pub concurrent: usize,
}

impl Default for Keys {
    /// 16 MiB, 12 MiB and 1 MiB.
    fn default() -> Self {
        Self {
            rates: 1 << 18,
            quotas: 1 << 16,
            concurrent: 1 << 14,
        }
    }
}

/// The time on both clocks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Now {
    /// Nanoseconds of a clock that does not go back, since the process's start: for rates.
    pub elapsed: u64,
    /// The calendar: for quotas.
    pub wall: Timestamp,
}

/// One limit, ready to be asked.
#[derive(Debug)]
pub struct Limit {
    name: Arc<str>,
    key: KeySpec,
    measure: Measure,
    shared: Option<Shared>,
    cost: fortress_model::config::Cost,
    mode: Mode,
    stage: Stage,
    on_fault: LimitFault,
    headers: LimitHeaders,
    exempt_networks: Box<[Network]>,
    exempt_principals: Box<[String]>,
    /// Lists of networks; it holds for clients in one of them alone, unless there are none.
    within: Box<[String]>,
}

/// How many.
#[derive(Debug)]
pub enum Measure {
    /// Evenly, with bursts.
    Rate(Rate),
    /// In a window of the calendar.
    Quota(Arc<Quota>),
    /// At once.
    Concurrent(u64),
}

/// Why a limit cannot be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LimitError {
    /// The rate.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// The time zone.
    #[error("the built-in database has no such time zone; write one such as `Europe/Berlin`")]
    Zone,
}

impl Limit {
    /// From the configuration. `place` says where the limit was written (an API, a tag, an
    /// operation): limits with one name at two places count apart. `mode` and `on_fault` are those of
    /// the operation: the limit's own mode can only weaken it, and its own `on_fault` is nearer.
    pub fn new(
        rule: &LimitRule,
        place: &str,
        (mode, on_fault): (Mode, LimitFault),
        secret: &Secret,
    ) -> Result<Self, LimitError> {
        let measure = match &rule.measure {
            LimitMeasure::Rate {
                count,
                period,
                burst,
            } => Measure::Rate(Rate::new(*count, *period, *burst)?),
            LimitMeasure::Quota {
                limit,
                unit,
                zone,
                edge,
            } => {
                let zone = TimeZoneDatabase::bundled().get(zone);
                let zone = zone.map_err(|_| LimitError::Zone)?;
                Measure::Quota(Arc::new(Quota::new(*limit, *unit, zone, *edge)))
            }
            LimitMeasure::Concurrent(count) => Measure::Concurrent(*count),
        };
        let mut parts = rule.per.clone();
        if !rule.shared && !parts.contains(&Part::Operation) {
            parts.push(Part::Operation);
        }
        let key = KeySpec::new(
            secret,
            &format!("{place}#{}", rule.name),
            parts,
            rule.missing,
            Prefixes::new(rule.client_v4, rule.client_v6),
        );
        let needs = if cost::needs_body(&rule.cost) {
            Stage::Body
        } else if rule.exempt_principals.is_empty() {
            Stage::Head
        } else {
            Stage::Identity
        };
        // What is in flight is not leased.
        let shared = match &measure {
            Measure::Rate(rate) => Some(Shared::Rate(*rate)),
            Measure::Quota(quota) => Some(Shared::Quota(Arc::clone(quota))),
            Measure::Concurrent(_) => None,
        };
        Ok(Self {
            name: rule.name.as_str().into(),
            stage: key.stage().max(needs),
            key,
            measure,
            shared,
            cost: rule.cost.clone(),
            mode: mode.weaker(rule.mode),
            on_fault: rule.on_fault.unwrap_or(on_fault),
            headers: rule.headers,
            exempt_networks: rule.exempt_networks.as_slice().into(),
            exempt_principals: rule.exempt_principals.as_slice().into(),
            within: rule
                .networks
                .iter()
                .map(|list| list.value.clone())
                .collect(),
        })
    }

    /// What headers and the journal call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// What of the request its cost is made from, if part of the cost is known from the answer alone:
    /// [`Held::settle`] asks for it again.
    pub fn settled_by(&self) -> Option<impl Iterator<Item = &Factor>> {
        cost::needs_answer(&self.cost).then(|| self.cost.factors())
    }

    /// How many.
    pub fn measure(&self) -> &Measure {
        &self.measure
    }

    /// The same for what instances share by leases; `None` for what is in flight.
    pub fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    /// Enforce, monitor or off.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// When everything is known that it asks for.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// When the store that instances share is away.
    pub fn on_fault(&self) -> LimitFault {
        self.on_fault
    }

    /// How clients are told.
    pub fn headers(&self) -> LimitHeaders {
        self.headers
    }

    /// The most units that a request could take: the `q` of the headers.
    pub fn most(&self) -> u64 {
        match &self.measure {
            Measure::Rate(rate) => rate.burst(),
            Measure::Quota(quota) => quota.limit(),
            Measure::Concurrent(count) => *count,
        }
    }

    /// The time in which that many are there again: the `w` of the headers.
    pub fn window(&self) -> Option<Duration> {
        match &self.measure {
            Measure::Rate(rate) => Some(rate.window()),
            Measure::Quota(quota) => Some(Duration::from_secs(quota.windows().unit().seconds())),
            Measure::Concurrent(_) => None,
        }
    }

    /// The request's key, or why it has none.
    pub fn key(&self, subject: &(impl Subject + ?Sized)) -> Result<Key, NoKey> {
        let client = subject.client();
        let of_network = |network: &Network| network.contains(client);
        let is_exempt = self.exempt_networks.iter().any(of_network)
            || self
                .exempt_principals
                .iter()
                .any(|name| subject.is_principal(name));
        let is_meant = self.within.is_empty() || self.within.iter().any(|list| subject.is_in(list));
        if is_exempt || !is_meant {
            return Err(NoKey::Skip);
        }
        self.key.key(subject)
    }

    /// The request's cost as far as it is known before the answer.
    pub fn cost(&self, subject: &(impl Subject + ?Sized)) -> u64 {
        cost::evaluate(&self.cost, self.most(), |factor| subject.number(factor))
    }

    fn due(&self, index: usize, subject: &(impl Subject + ?Sized)) -> Option<Due> {
        let key = self.key(subject).ok()?;
        let cost = self.cost(subject);
        Some(Due { index, key, cost })
    }

    fn order(&self) -> u8 {
        match self.measure {
            Measure::Rate(_) => 0,
            Measure::Concurrent(_) => 1,
            Measure::Quota(_) => 2,
        }
    }
}

/// The limits of an operation.
#[derive(Debug, Default)]
pub struct Limits(Box<[Limit]>);

impl Limits {
    /// In the order in which they are asked. Those that are off, and those beyond [`MOST_LIMITS`],
    /// which the configuration refuses, are left out.
    pub fn new(limits: impl IntoIterator<Item = Limit>) -> Self {
        let on = limits.into_iter().filter(|limit| limit.mode != Mode::Off);
        let mut limits: Vec<_> = on.take(MOST_LIMITS).collect();
        limits.sort_by_key(Limit::order);
        Self(limits.into())
    }

    /// Each limit; its place here is the `index` of a [`Report`].
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Limit> {
        self.0.iter()
    }

    /// A limit by its index.
    pub fn get(&self, index: usize) -> Option<&Limit> {
        self.0.get(index)
    }

    /// The limits of a stage that instances share by leases, with what the request counts as and costs.
    /// Those that do not hold for it, or refuse it without counting, are left out.
    pub fn shared_due<'l>(
        &'l self,
        stage: Stage,
        subject: &(impl Subject + ?Sized),
    ) -> impl Iterator<Item = (Due, &'l Limit, &'l Shared)> {
        self.at(stage).filter_map(|(index, limit)| {
            let shared = limit.shared.as_ref()?;
            Some((limit.due(index, subject)?, limit, shared))
        })
    }

    /// The same for those of what is in flight.
    pub fn in_flight_due<'l>(
        &'l self,
        stage: Stage,
        subject: &(impl Subject + ?Sized),
    ) -> impl Iterator<Item = (Due, &'l Limit)> {
        self.at(stage)
            .filter(|(_, limit)| limit.shared.is_none())
            .filter_map(|(index, limit)| Some((limit.due(index, subject)?, limit)))
    }

    fn at(&self, stage: Stage) -> impl Iterator<Item = (usize, &Limit)> {
        let limits = self.0.iter().enumerate();
        limits.filter(move |(_, limit)| limit.stage == stage)
    }

    /// Whether any limit is asked at a stage.
    pub fn any_at(&self, stage: Stage) -> bool {
        self.0.iter().any(|limit| limit.stage == stage)
    }
}

/// A request before a limit that instances share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Due {
    /// Which limit.
    pub index: usize,
    /// What the request counts as.
    pub key: Key,
    /// What it costs.
    pub cost: u64,
}

/// What was found out about a limit that instances share, before all limits are asked at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Given {
    /// Of which limit, and for which request.
    pub due: Due,
    /// What was found out.
    pub verdict: Verdict,
}

/// What was found out about a limit that instances share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The shared count has decided; if it allows, the cost was taken out of the lease.
    Shared(Decision),
    /// Of what is in flight, by this count; if it allows, the caller holds the room.
    InFlight(Decision, Counted),
    /// It could not be asked: this instance goes on alone with its part.
    Alone {
        /// Into how many parts the limit is split.
        instances: u32,
    },
    /// It could not be asked, and requests pass.
    Open,
    /// It could not be asked, and requests are refused.
    Closed,
}

/// By which count a limit decided.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Counted {
    /// By this instance's, which is the only one.
    #[default]
    Here,
    /// By the one that instances share.
    Shared,
    /// That one is away: by this instance's part.
    Alone {
        /// Into how many parts the limit is split.
        instances: u32,
    },
    /// That one is away: not at all, and the request passes.
    Open,
    /// That one is away: not at all, and the request is refused.
    Closed,
}

/// What one limit said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Report {
    /// Which limit.
    pub index: usize,
    /// What it said.
    pub decision: Decision,
    /// Why it refused, if it did.
    pub refused: Option<Refusal>,
    /// By which count.
    pub counted: Counted,
}

/// Why a limit refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// There is nothing left, or less than the cost.
    Spent,
    /// The request lacks a part of the key, and the limit refuses such.
    Unkeyed,
    /// The table of requests in flight has no room for another key.
    Crowded,
    /// The count that instances share cannot be had, and the limit refuses then.
    Unavailable,
}

/// What all limits of a stage said.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What each limit that holds for the request said.
    pub reports: SmallVec<[Report; MOST_LIMITS]>,
    /// The index of the limit because of which the request is refused. Limits under `monitor` are
    /// in `reports` alone.
    pub refused: Option<usize>,
    /// What was taken.
    pub held: Held,
}

impl Limiter {
    /// Tables for so many keys.
    pub fn new(keys: Keys) -> Self {
        Self {
            rates: Gcra::new(keys.rates),
            quotas: Arc::new(Quotas::new(keys.quotas)),
            concurrency: Concurrency::new(keys.concurrent),
            leases: None,
        }
    }

    /// With a table for leases of what instances share.
    #[must_use]
    pub fn sharing(self, leases: Arc<Leases>) -> Self {
        Self {
            leases: Some(leases),
            ..self
        }
    }

    /// Asks all limits that are due at `stage`, and takes from all of them or from none.
    pub fn take(
        &self,
        limits: &Limits,
        stage: Stage,
        subject: &(impl Subject + ?Sized),
        now: Now,
    ) -> Outcome {
        self.take_given(limits, stage, subject, now, &[])
    }

    /// The same, with what was found out before about those that instances share.
    pub fn take_given(
        &self,
        limits: &Limits,
        stage: Stage,
        subject: &(impl Subject + ?Sized),
        now: Now,
        given: &[Given],
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for (index, limit) in limits.at(stage) {
            let known = given.iter().find(|known| known.due.index == index);
            let is_refused = outcome.refused.is_some();
            let (decision, refused, counted) = if let Some(known) = known {
                let held = &mut outcome.held;
                let (decision, refused, counted) = self.judge(limit, known, is_refused, now, held);
                // Another limit has refused: that this one would have is not told, as of the others.
                (decision, refused.filter(|_| !is_refused), counted)
            } else {
                let key = match limit.key(subject) {
                    Ok(key) => Some(key),
                    Err(NoKey::Skip) => continue,
                    Err(NoKey::Refuse) => None,
                };
                let (decision, refused) = match key {
                    None => (Decision::NOTHING, Some(Refusal::Unkeyed)),
                    Some(key) if is_refused => {
                        (self.peek(limit, key, limit.cost(subject), now), None)
                    }
                    Some(key) => self.ask(index, limit, key, subject, now, &mut outcome.held),
                };
                (decision, refused, Counted::Here)
            };
            outcome.reports.push(Report {
                index,
                decision,
                refused,
                counted,
            });
            if refused.is_some() && limit.mode == Mode::Enforce && outcome.refused.is_none() {
                outcome.refused = Some(index);
            }
        }
        if outcome.refused.is_some() {
            std::mem::take(&mut outcome.held).give_back(self, limits);
        }
        outcome
    }

    /// What a limit would say to a request.
    pub fn peek(&self, limit: &Limit, key: Key, cost: u64, now: Now) -> Decision {
        match &limit.measure {
            Measure::Rate(rate) => self.rates.peek(key, rate, cost, now.elapsed),
            Measure::Quota(quota) => self.quotas.peek(key, quota, cost, now.wall),
            Measure::Concurrent(most) => {
                let left = most.saturating_sub(self.concurrency.in_flight(key));
                Decision {
                    allowed: left > 0,
                    remaining: left,
                    retry_after: (left > 0).then_some(Duration::ZERO),
                    reset_after: Duration::ZERO,
                }
            }
        }
    }

    /// What a limit says of which something was found out before.
    fn judge(
        &self,
        limit: &Limit,
        known: &Given,
        is_refused: bool,
        now: Now,
        held: &mut Held,
    ) -> (Decision, Option<Refusal>, Counted) {
        let due = known.due;
        let (decision, units, counted) = match known.verdict {
            Verdict::Shared(decision) => (decision, due.cost, Counted::Shared),
            Verdict::InFlight(decision, counted) => {
                let refused = (!decision.allowed).then_some(Refusal::Spent);
                return (decision, refused, counted);
            }
            Verdict::Alone { instances } => {
                let (decision, units) = self.alone(limit, due, instances, is_refused, now);
                (decision, units, Counted::Alone { instances })
            }
            Verdict::Open => {
                let decision = Decision {
                    allowed: true,
                    remaining: limit.most(),
                    ..Decision::NOTHING
                };
                return (decision, None, Counted::Open);
            }
            Verdict::Closed => {
                return (
                    Decision::NOTHING,
                    Some(Refusal::Unavailable),
                    Counted::Closed,
                );
            }
        };
        if !decision.allowed {
            return (decision, Some(Refusal::Spent), counted);
        }
        // What is alone and refused was not taken, only looked at.
        if !is_refused || counted == Counted::Shared {
            held.taken.push(Taken {
                due,
                units,
                at: now,
                from: counted,
            });
        }
        (decision, None, counted)
    }

    /// By this instance's part, and what was taken of it. What costs more than the whole part takes the
    /// whole part: it passes where the limit itself would let it.
    fn alone(
        &self,
        limit: &Limit,
        due: Due,
        instances: u32,
        is_refused: bool,
        now: Now,
    ) -> (Decision, u64) {
        let Due { key, cost, .. } = due;
        match &limit.measure {
            Measure::Rate(whole) => {
                let rate = whole.share(instances);
                let units = if cost > whole.burst() {
                    cost
                } else {
                    cost.min(rate.burst())
                };
                let decision = if is_refused {
                    self.rates.peek(key, &rate, units, now.elapsed)
                } else {
                    self.rates.take(key, &rate, units, now.elapsed)
                };
                (decision, units)
            }
            Measure::Quota(whole) => {
                let Some(leases) = &self.leases else {
                    return (Decision::NOTHING, 0);
                };
                let time = (now.lease_time(), now.wall);
                let (decision, units) = leases.alone(key, whole, (cost, instances), time);
                if is_refused && decision.allowed {
                    leases.not_alone(key, units);
                }
                (decision, units)
            }
            Measure::Concurrent(_) => (Decision::NOTHING, 0),
        }
    }

    fn ask(
        &self,
        index: usize,
        limit: &Limit,
        key: Key,
        subject: &(impl Subject + ?Sized),
        now: Now,
        held: &mut Held,
    ) -> (Decision, Option<Refusal>) {
        if let Measure::Concurrent(most) = limit.measure {
            return match self.concurrency.enter(key, most) {
                Ok(permit) => {
                    let decision = Decision {
                        allowed: true,
                        remaining: permit.remaining(),
                        ..Decision::NOTHING
                    };
                    held.permits.push(permit);
                    (decision, None)
                }
                Err(Crowded::Limit) => (Decision::NOTHING, Some(Refusal::Spent)),
                Err(Crowded::Table) => (Decision::NOTHING, Some(Refusal::Crowded)),
            };
        }
        let cost = limit.cost(subject);
        let decision = match &limit.measure {
            Measure::Rate(rate) => self.rates.take(key, rate, cost, now.elapsed),
            Measure::Quota(quota) => self.quotas.take(key, quota, cost, now.wall),
            Measure::Concurrent(_) => Decision::NOTHING,
        };
        if !decision.allowed {
            return (decision, Some(Refusal::Spent));
        }
        held.taken.push(Taken {
            due: Due { index, key, cost },
            units: cost,
            at: now,
            from: Counted::Here,
        });
        (decision, None)
    }
}

impl Now {
    /// For [`Leases`], to whom zero is an empty slot.
    pub fn lease_time(self) -> u64 {
        self.elapsed.saturating_add(1)
    }
}

#[cfg(test)]
mod tests;
