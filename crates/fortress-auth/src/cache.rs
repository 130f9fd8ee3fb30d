//! Tokens that were verified already, so that a client's second request costs a look-up instead
//! of a signature.
//!
//! An entry is bound to what judged it: it is found only under the same expectations, the same
//! keys and before the token expires. Refusals are not kept: an attacker can make those at will.
//! Revocations are checked after the look-up ([`Revocations`](crate::Revocations)), so that they
//! hold at once and nothing must be flushed for them.

use std::{fmt, sync::Arc, time::Duration};

use fortress_model::Timestamp;
use quick_cache::sync;

use crate::{JwkSet, Verified, Verifier, verify::sha256};

/// Verified tokens, by SHA-256 of the token. Shared freely between threads.
pub struct Cache {
    entries: sync::Cache<Name, Entry>,
}

#[derive(Clone)]
struct Entry {
    verified: Arc<Verified>,
    /// Fingerprint of the keys that verified it.
    keys: [u8; 32],
    /// From here on it is not served.
    until: Timestamp,
}

impl Cache {
    /// A cache of at most this many tokens; the ones used least go first.
    pub fn new(entries: usize) -> Self {
        Self {
            entries: sync::Cache::new(entries),
        }
    }

    /// The token as it was verified before, by the same expectations and keys, unless it has
    /// expired since (the verifier's leeway included, as when it was verified).
    pub fn get(
        &self,
        token: &str,
        verifier: &Verifier,
        keys: &JwkSet,
        now: Timestamp,
    ) -> Option<Arc<Verified>> {
        let name = Name::new(token, verifier.fingerprint());
        let entry = self.entries.get(&name)?;
        if entry.keys == *keys.fingerprint() && now < entry.until {
            return Some(entry.verified);
        }
        self.entries.remove(&name);
        None
    }

    /// Keeps a token that `verifier` has just verified with `keys`; one without `exp` is not kept.
    pub fn insert(&self, token: &str, verifier: &Verifier, keys: &JwkSet, verified: Arc<Verified>) {
        let Some(expires) = verified.expires else {
            return;
        };
        let until = Duration::from_secs(expires)
            .saturating_add(verifier.expectations().leeway)
            .as_nanos();
        let entry = Entry {
            verified,
            keys: *keys.fingerprint(),
            until: Timestamp(u64::try_from(until).unwrap_or(u64::MAX)),
        };
        self.entries
            .insert(Name::new(token, verifier.fingerprint()), entry);
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.entries.clear();
    }

    /// How many tokens it holds, those expired but not yet replaced included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// It holds no token.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cache({} tokens)", self.len())
    }
}

/// The verifier is part of the name: what one accepts, another may refuse.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(crate) struct Name {
    token: [u8; 32],
    verifier: [u8; 32],
}

impl Name {
    pub(crate) fn new(token: &str, verifier: &[u8; 32]) -> Self {
        Self {
            token: sha256(&[token.as_bytes()]),
            verifier: *verifier,
        }
    }
}
