//! One limit over several instances, through a Redis or Valkey that they share: the messages and the
//! decisions, without the connection.
//!
//! An instance leases units: one round trip ([`Call`], [`Reply`]) takes some of them from the shared
//! count, and the instance spends them alone ([`Leases`]). A key that is hot costs one call in as
//! many requests as a lease has units; a key that is not costs one call each. What is in flight is not
//! leased: see [`Slots`].
//!
//! **How far instances can overshoot.** A quota never: what is leased is already counted, and leases
//! end with their window. A rate by what lies in leases: within any time each instance may spend,
//! beside what the rate and burst allow, one lease that it took before, so at most `instances *
//! lease` units in all. A lease is at most an eighth of the burst or quota, and ends after
//! [`LEASE_TIME`], so the bound is at the same time short-lived. When the shared count is lost (a
//! flush, a failover that lost writes), keys begin anew, as after an eviction.
//!
//! When Redis is away the limit's own policy holds ([`Fallback`]), and the way back is slow on
//! purpose ([`Breaker`]). Deliberately not here: sockets, TLS, Sentinel and Cluster; the key has a
//! hash tag, so that a Cluster can hold it.

mod breaker;
mod lease;
mod slots;

pub use breaker::{Admission, Breaker, BreakerSettings, BreakerState};
pub use lease::{Answer, LEASE_TIME, Leases, MOST_LEASED, Spend, most_leased};
pub use slots::{
    Full, Next, Room, SLOT_RENEWAL, SLOT_TIME, SLOTS_SCRIPT, SlotCall, SlotReply, Slots,
};

use std::{fmt::Write, sync::Arc, time::Duration};

use fortress_model::{clock::Timestamp, config::LimitFault};
use sha1::{Digest, Sha1};

use crate::{
    Decision, Key,
    gcra::Rate,
    quota::{Edge, Quota},
};

/// The script of rates and quotas, for `SCRIPT LOAD` and `EVAL`.
pub const SCRIPT: &str = include_str!("take.lua");

/// A script's name for `EVALSHA`: its SHA-1 in hexadecimal.
pub fn script_sha(script: &str) -> String {
    let mut text = String::with_capacity(40);
    for byte in Sha1::digest(script.as_bytes()) {
        // A String takes everything.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// What a limit measures, as Redis is told.
#[derive(Clone, Debug)]
pub enum Shared {
    /// A rate.
    Rate(Rate),
    /// A quota.
    Quota(Arc<Quota>),
}

/// One call of the script.
#[derive(Clone, Debug)]
pub struct Call {
    /// The key of the limit and request.
    pub key: Key,
    /// What the limit measures.
    pub shared: Shared,
    /// Units below which nothing is granted: what the request costs.
    pub least: u64,
    /// Units to lease; at least `least`.
    pub want: u64,
    /// Whether units are given back instead: `want` of them.
    pub returns: bool,
}

/// The largest number that a script's doubles hold exactly, halved for sums.
const LARGEST: u64 = 1 << 52;

impl Call {
    /// The key in Redis. In braces, so that a Cluster places it by that alone.
    pub fn name(&self) -> String {
        let (high, low) = self.key.to_halves();
        let kind = match &self.shared {
            Shared::Rate(_) => 'r',
            Shared::Quota(_) => 'q',
        };
        format!("fortress:{kind}:{{{high:016x}{low:016x}}}")
    }

    /// The arguments after the key. `now` is this instance's clock: it only has to be within a
    /// window of the server's.
    pub fn arguments(&self, now: Timestamp) -> Vec<String> {
        let number = |value: u64| value.min(LARGEST).to_string();
        let want = if self.returns {
            format!("-{}", self.want.min(LARGEST))
        } else {
            number(self.want.max(self.least))
        };
        let least = number(self.least);
        match &self.shared {
            Shared::Rate(rate) => {
                let nanos = u64::try_from(rate.interval().as_nanos()).unwrap_or(LARGEST);
                vec!["r".into(), least, want, number(nanos), number(rate.burst())]
            }
            Shared::Quota(quota) => {
                let windows = quota.windows();
                let current = windows.at(now);
                let before = windows.before(current);
                let next = windows.after(current);
                let fades = if quota.edge() == Edge::Sliding {
                    "1"
                } else {
                    "0"
                };
                let edges = [
                    windows.before(before).start,
                    before.start,
                    current.start,
                    next.start,
                    next.end,
                ];
                let mut arguments =
                    vec!["q".into(), least, want, number(quota.limit()), fades.into()];
                arguments.extend(edges.map(|edge| number(edge.saturating_mul(1_000_000))));
                arguments
            }
        }
    }
}

/// What the script gave.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Units were granted, possibly none.
    Granted {
        /// Units, now this instance's to spend.
        units: u64,
        /// Units that are left for all instances.
        remaining: u64,
        /// How long until what was asked for is there; `None` for never.
        wait: Option<Duration>,
        /// How long until all is there again.
        reset: Duration,
        /// The server's clock.
        now: Timestamp,
    },
    /// This instance's clock is more than a window away from the server's, which is given: ask
    /// again with that time.
    OtherWindow {
        /// The server's clock.
        now: Timestamp,
    },
}

/// Why a reply is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// More numbers than the script gives, or fewer.
    #[error("the script gave a list of another length than it has")]
    Shape,
    /// A number that the script can't give, such as more units than were asked for.
    #[error("the script gave a number out of its range")]
    Range,
}

impl Reply {
    /// From the five numbers of the script's list. What cannot be is an error, and the limit's
    /// failure policy then decides: a wrong server must not grant anything.
    pub fn parse(numbers: &[i64], call: &Call) -> Result<Self, ReplyError> {
        let [units, remaining, wait, reset, now] = *numbers else {
            return Err(ReplyError::Shape);
        };
        let number = |value: i64| u64::try_from(value).map_err(|_| ReplyError::Range);
        let micros = |value: i64| number(value).map(Duration::from_micros);
        // Before 2001, or after 2100: not a clock.
        if !(1_000_000_000_000_000..4_102_444_800_000_000).contains(&now) {
            return Err(ReplyError::Range);
        }
        let now = Timestamp(number(now)?.saturating_mul(1_000));
        if units == -1 {
            return match &call.shared {
                Shared::Quota(_) => Ok(Self::OtherWindow { now }),
                Shared::Rate(_) => Err(ReplyError::Range),
            };
        }
        let units = number(units)?;
        let most = if call.returns {
            0
        } else {
            call.want.max(call.least)
        };
        let too_few = units > 0 && units < call.least;
        if units > most || too_few {
            return Err(ReplyError::Range);
        }
        Ok(Self::Granted {
            units,
            remaining: number(remaining)?,
            wait: if wait == -1 {
                None
            } else {
                Some(micros(wait)?)
            },
            reset: micros(reset)?,
            now,
        })
    }
}

/// What holds while the shared count cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fallback {
    /// This instance goes on alone, with its part of the limit.
    Alone {
        /// Into how many parts the limit is split.
        instances: u32,
    },
    /// The request is refused.
    Refuse,
    /// The request passes.
    Pass,
}

impl Fallback {
    /// By the limit's `on_fault`. `instances` is how many there are believed to be; at least 1.
    pub fn of(policy: LimitFault, instances: u32) -> Self {
        match policy {
            LimitFault::Local => Self::Alone {
                instances: instances.max(1),
            },
            LimitFault::Closed => Self::Refuse,
            LimitFault::Open => Self::Pass,
        }
    }
}

/// A decision about one request, from what was granted to it.
pub(crate) fn decision(
    allowed: bool,
    remaining: u64,
    wait: Option<Duration>,
    reset: Duration,
) -> Decision {
    Decision {
        allowed,
        remaining,
        retry_after: if allowed { Some(Duration::ZERO) } else { wait },
        reset_after: reset,
    }
}

#[cfg(test)]
mod tests;
