//! What limits count: living tables that survive a reload, and an operation's limits compiled.
//!
//! Deliberately not here: how they count (`fortress-limits`), and what a request that is refused is
//! told (`guard::limit`).

use std::sync::Arc;

use fortress_limits::{
    key::Secret,
    limiter::{Keys, Limit, Limiter, Limits, Now},
};
use fortress_model::{Diagnostic, Timestamp};
use tokio::time::Instant;

use crate::compile::Effective;

/// The counts of all limits.
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) limiter: Limiter,
    secret: Secret,
    began: Instant,
}

impl Counts {
    /// Empty tables, under a secret of their own.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn new() -> Result<Arc<Self>, String> {
        let mut secret = [0; 16];
        aws_lc_rs::rand::fill(&mut secret)
            .map_err(|_| "the system has no randomness".to_owned())?;
        Ok(Arc::new(Self {
            limiter: Limiter::new(Keys::default()),
            secret: Secret::new(secret),
            began: Instant::now(),
        }))
    }

    /// The time on both clocks; `wall` is the calendar's.
    pub(crate) fn now(&self, wall: Timestamp) -> Now {
        let elapsed = self.began.elapsed().as_nanos();
        Now {
            elapsed: u64::try_from(elapsed).unwrap_or(u64::MAX),
            wall,
        }
    }
}

/// The limits of an operation.
#[derive(Debug)]
pub(crate) struct LimitsPlan {
    pub(crate) counts: Arc<Counts>,
    pub(crate) limits: Limits,
    /// What `per: operation` counts by: no two APIs share one.
    pub(crate) operation: Box<str>,
}

impl LimitsPlan {
    /// `None` where no limit holds.
    pub(crate) fn compile(
        counts: impl FnOnce() -> Result<Arc<Counts>, String>,
        effective: &Effective,
        (api, operation): (&str, &str),
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let first = effective.limits.first()?;
        let counts = match counts() {
            Ok(counts) => counts,
            Err(why) => {
                diagnostics.push(Diagnostic::error(first.span, why));
                return None;
            }
        };
        let mut made = Vec::new();
        for rule in &effective.limits {
            let place = &effective.limits_place;
            match Limit::new(&rule.value, place, effective.mode, &counts.secret) {
                Ok(limit) => made.push(limit),
                Err(error) => {
                    let message = format!("this limit cannot be kept: {error}");
                    let found = Diagnostic::error(rule.span, message);
                    if !diagnostics.contains(&found) {
                        diagnostics.push(found);
                    }
                }
            }
        }
        let limits = Limits::new(made);
        // Those that are off are left out.
        limits.iter().next()?;
        Some(Self {
            counts,
            limits,
            operation: format!("{api} {operation}").into(),
        })
    }
}
