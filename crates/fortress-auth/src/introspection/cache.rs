//! What issuers said about opaque tokens, for a while: asking takes a round trip, and no issuer
//! should see each request.
//!
//! Errors are not kept: they say nothing of the token. Refusals have room of their own, so that
//! invented tokens cannot push good ones out.

use std::{fmt, sync::Arc, time::Duration};

use fortress_model::Timestamp;
use quick_cache::sync;

use super::{Answer, Introspector};
use crate::{Verified, cache::Name, error::TokenError};

/// Answers by SHA-256 of the token. Shared freely between threads.
pub struct OpaqueCache {
    active: sync::Cache<Name, (Arc<Verified>, Timestamp)>,
    refused: sync::Cache<Name, (TokenError, Timestamp)>,
    active_life: Duration,
    refused_life: Duration,
}

impl OpaqueCache {
    /// At most so many active tokens, and as many refused ones; those used least go first. An
    /// active one is believed for `active_life` or until it expires, whichever is first: that long
    /// the issuer's revocations take. A refused one is refused without asking for `refused_life`.
    pub fn new(entries: usize, active_life: Duration, refused_life: Duration) -> Self {
        Self {
            active: sync::Cache::new(entries),
            refused: sync::Cache::new(entries),
            active_life,
            refused_life,
        }
    }

    /// What is still known of a token under the same expectations.
    pub fn get(&self, token: &str, introspector: &Introspector, now: Timestamp) -> Option<Answer> {
        let name = Name::new(token, introspector.fingerprint());
        if let Some((verified, until)) = self.active.get(&name) {
            if now < until {
                return Some(Answer::Active(verified));
            }
            self.active.remove(&name);
        }
        if let Some((error, until)) = self.refused.get(&name) {
            if now < until {
                return Some(Answer::Refused(error));
            }
            self.refused.remove(&name);
        }
        None
    }

    /// Keeps an answer that `introspector` has just judged.
    pub fn insert(
        &self,
        token: &str,
        introspector: &Introspector,
        answer: &Answer,
        now: Timestamp,
    ) {
        let name = Name::new(token, introspector.fingerprint());
        match answer {
            Answer::Active(verified) => {
                let mut until = later(now, self.active_life);
                if let Some(expires) = verified.expires {
                    let life = Duration::from_secs(expires)
                        .saturating_add(introspector.expectations().leeway);
                    until = until.min(later(Timestamp(0), life));
                }
                self.refused.remove(&name);
                self.active.insert(name, (Arc::clone(verified), until));
            }
            Answer::Refused(error) => {
                self.active.remove(&name);
                let until = later(now, self.refused_life);
                self.refused.insert(name, (error.clone(), until));
            }
        }
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.active.clear();
        self.refused.clear();
    }

    /// How many answers it holds, those too old but not yet replaced included.
    pub fn len(&self) -> usize {
        self.active.len() + self.refused.len()
    }

    /// It holds no answer.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn later(now: Timestamp, life: Duration) -> Timestamp {
    let then = u128::from(now.0).saturating_add(life.as_nanos());
    Timestamp(u64::try_from(then).unwrap_or(u64::MAX))
}

impl fmt::Debug for OpaqueCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpaqueCache({} answers)", self.len())
    }
}
