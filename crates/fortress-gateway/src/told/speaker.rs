//! The gateway's own voice: the keys of its internal tokens, which live longer than a configuration,
//! and the tokens that were made.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use fortress_auth::{
    Algorithm,
    internal::{InternalCache, InternalError, InternalIssuer, InternalKeys, InternalSubject},
    sign::{SignError, SigningKey},
};
use fortress_model::{Secret, Timestamp};

use crate::guard::principal::Caller;

/// Why there is no token of the gateway's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsaid {
    /// It could not be made.
    #[error(transparent)]
    Token(#[from] InternalError),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Random,
}

/// Signs, and tells by what.
#[derive(Debug)]
pub(crate) struct Speaker {
    keys: ArcSwap<InternalKeys>,
    cache: InternalCache,
    /// The gateway made its keys itself, and replaces them.
    own: bool,
}

impl Speaker {
    /// One with keys of its own.
    ///
    /// # Errors
    /// The cryptographic library failed.
    pub(crate) fn new(now: Timestamp) -> Result<Self, String> {
        let made = || fresh_key().map_err(|error| error.to_string());
        let keys = InternalKeys::new(made()?, made()?, now)?;
        Ok(Self::with(keys, true))
    }

    /// One with the operator's keys.
    pub(crate) fn fixed(keys: InternalKeys) -> Self {
        Self::with(keys, false)
    }

    fn with(keys: InternalKeys, own: bool) -> Self {
        Self {
            keys: ArcSwap::from_pointee(keys),
            cache: InternalCache::new(),
            own,
        }
    }

    /// Its keys are its own: they stay what they are while a configuration replaces another.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// Replaces the key that signs once it has done so for this long. Called by one thread alone.
    pub(crate) fn tend(&self, every: Duration, now: Timestamp) {
        let keys = self.keys.load();
        if !keys.is_due(every, now) {
            return;
        }
        let rotated = fresh_key()
            .map_err(|error| error.to_string())
            .and_then(|fresh| keys.rotated(fresh, now).map_err(str::to_owned));
        match rotated {
            Ok(rotated) => {
                tracing::info!(
                    key = rotated.current().id(),
                    "another key signs internal tokens"
                );
                self.keys.store(Arc::new(rotated));
            }
            // The old one signs on, and the next attempt comes soon.
            Err(error) => {
                tracing::error!(error, "the key of internal tokens could not be replaced")
            }
        }
    }

    /// The key set that upstreams verify by.
    pub(crate) fn key_set(&self) -> String {
        self.keys.load().key_set()
    }

    /// A token that says who calls.
    pub(super) fn token(
        &self,
        issuer: &InternalIssuer,
        caller: &Caller,
        now: Timestamp,
    ) -> Result<Arc<Secret<String>>, Unsaid> {
        let statement = issuer.statement(&InternalSubject {
            subject: &caller.id,
            identity: &caller.identity.name,
            expires: caller.expires(),
            scopes: &caller.scopes(),
            claims: caller,
        })?;
        let random = || {
            let mut id = [0; 16];
            match aws_lc_rs::rand::fill(&mut id) {
                Ok(()) => Ok(id),
                Err(_) => Err(Unsaid::Random),
            }
        };
        let keys = self.keys.load();
        self.cache
            .get_or_issue(issuer, &keys, statement, random, now)
    }
}

fn fresh_key() -> Result<SigningKey, SignError> {
    SigningKey::generate(Algorithm::Es256, "")?.named_by_thumbprint()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_replaced_when_they_are_due_and_known_before_they_sign() {
        let at = |hours: u64| Timestamp(hours * 3_600_000_000_000);
        let speaker = Speaker::new(at(0)).unwrap();
        let day = Duration::from_secs(86_400);
        let current = || speaker.keys.load().current().id().to_owned();
        let first = current();
        speaker.tend(day, at(23));
        assert_eq!(current(), first);
        let published = speaker.key_set();
        speaker.tend(day, at(24));
        let second = current();
        assert_ne!(second, first);
        assert!(published.contains(&second), "known before it signed");
        assert!(speaker.key_set().contains(&first), "still known");
        speaker.tend(day, at(25));
        assert_eq!(current(), second);
        speaker.tend(day, at(48));
        assert!(!speaker.key_set().contains(&first), "gone");
        let fixed = InternalKeys::fixed(fresh_key().unwrap(), None, at(0)).unwrap();
        let fixed = Speaker::fixed(fixed);
        let kept = fixed.key_set();
        fixed.tend(day, at(1000));
        assert_eq!(fixed.key_set(), kept);
        assert!(!fixed.is_own() && speaker.is_own());
    }
}
