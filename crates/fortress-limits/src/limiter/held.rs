//! What a request has taken of its limits, until its cost is known or it is given back.
//!
//! Deliberately not here: taking it.

use smallvec::SmallVec;

use super::{Counted, Due, Limiter, Limits, Measure, Now};
use crate::{
    Key,
    concurrency::Permit,
    cost::{self, Number},
    distributed::Shared,
};
use fortress_model::config::{Factor, MOST_LIMITS};

/// What a request has taken: costs that can be settled, and permits that are given back when this is
/// dropped. Keep it as long as the request.
#[derive(Debug, Default)]
pub struct Held {
    pub(super) taken: SmallVec<[Taken; MOST_LIMITS]>,
    pub(super) permits: SmallVec<[Permit; 2]>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) due: Due,
    /// What was taken: less than the cost where that is more than the part of an instance that is alone.
    pub(super) units: u64,
    pub(super) at: Now,
    pub(super) from: Counted,
}

impl Held {
    /// Takes what the answer says that the request has cost beyond what was taken before. Where the
    /// answer says something that is no number, the limit's all is taken. What a lease does not have
    /// is handed to `owe`.
    pub fn settle<'a>(
        &self,
        limiter: &Limiter,
        limits: &Limits,
        number: impl Fn(&Factor) -> Number<'a>,
        now: Now,
        mut owe: impl FnMut(&Shared, Key, u64),
    ) {
        for taken in &self.taken {
            let Due { index, key, cost } = taken.due;
            let Some(limit) = limits.get(index) else {
                continue;
            };
            if !cost::needs_answer(&limit.cost) {
                continue;
            }
            let whole = cost::evaluate(&limit.cost, limit.most(), &number);
            let extra = whole.saturating_sub(cost);
            let leases = limiter.leases.as_ref();
            if taken.from == Counted::Shared {
                let rest = leases.map_or(0, |leases| leases.drain(key, extra, now.lease_time()));
                if let Some(shared) = limit.shared.as_ref().filter(|_| rest > 0) {
                    owe(shared, key, rest);
                }
                continue;
            }
            let parts = taken.parts();
            match &limit.measure {
                Measure::Rate(rate) => {
                    let rate = rate.share(parts);
                    limiter.rates.charge(key, &rate, extra, now.elapsed);
                }
                Measure::Quota(quota) => match (taken.from, leases) {
                    (Counted::Alone { .. }, Some(leases)) => leases.charge_alone(key, extra),
                    (_, _) => limiter.quotas.charge(key, quota, extra, now.wall),
                },
                Measure::Concurrent(_) => {}
            }
        }
    }

    /// Gives everything back, as if the request had never come.
    pub fn give_back(self, limiter: &Limiter, limits: &Limits) {
        for taken in &self.taken {
            let Due { index, key, .. } = taken.due;
            let units = taken.units;
            let Some(limit) = limits.get(index) else {
                continue;
            };
            let leases = limiter.leases.as_ref();
            if taken.from == Counted::Shared {
                if let Some(leases) = leases {
                    leases.put_back(key, units, taken.at.lease_time());
                }
                continue;
            }
            let parts = taken.parts();
            match &limit.measure {
                Measure::Rate(rate) => limiter.rates.refund(key, &rate.share(parts), units),
                Measure::Quota(quota) => match (taken.from, leases) {
                    (Counted::Alone { .. }, Some(leases)) => leases.not_alone(key, units),
                    (_, _) => limiter.quotas.refund(key, quota, units, taken.at.wall),
                },
                Measure::Concurrent(_) => {}
            }
        }
    }

    /// Goes on with what another stage of the same request took.
    pub fn join(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.permits.extend(other.permits);
    }
}

impl Taken {
    /// Into how many parts the limit was split when it was taken.
    fn parts(&self) -> u32 {
        match self.from {
            Counted::Alone { instances } => instances,
            Counted::Here | Counted::Shared | Counted::Open | Counted::Closed => 1,
        }
    }
}
