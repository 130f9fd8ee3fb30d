//! Keys that `fortress keys` made: looked up in memory, which is at most a second behind the store.

use std::{sync::Arc, time::Duration};

use fortress_auth::api_key::{ApiKey, KeyError};
use fortress_model::Reason;

use super::{Caller, Refusal, Shown, present};
use crate::{
    compile::{ApiKeyPlan, IdentityPlan, Place},
    guard::principal::Proof,
};

/// A store that was not heard of for so long may have revoked any key since: then none counts.
const STALE: Duration = Duration::from_secs(15 * 60);

/// Judges the key that a request shows.
pub(super) fn judge(
    identity: &Arc<IdentityPlan>,
    plan: &ApiKeyPlan,
    place: &Place,
    shown: &Shown<'_>,
) -> Result<Caller, Refusal> {
    let presented = present(place, shown).map_err(|refusal| astray(refusal, place, shown))?;
    let text = match presented.scheme {
        None => &*presented.text,
        // Older descriptions put the bare key into `Authorization`.
        Some(bare) if presented.text.is_empty() => bare,
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer") => &*presented.text,
        Some(_) => return Err(Refusal::missing("a credential of another scheme")),
    };
    let unavailable = |detail: &str| Refusal::new(Reason::KeysUnavailable, detail);
    let feed = plan
        .store
        .get()
        .ok_or_else(|| unavailable("the store of keys is not open"))?;
    if feed.age(shown.now) > STALE {
        return Err(unavailable("the store of keys was not heard of for long"));
    }
    let holder = feed
        .verify(text, shown.now)
        .map_err(|error| Refusal::new(reason(error), error.to_string()))?;
    let environment = holder.access.environment.as_str();
    if plan
        .environment
        .as_deref()
        .is_some_and(|demanded| demanded != environment)
    {
        return Err(Refusal::invalid("the key is for another environment"));
    }
    Ok(Caller {
        id: Arc::from(&*holder.owner),
        identity: Arc::clone(identity),
        proof: Proof::ApiKey(holder),
    })
}

fn reason(error: KeyError) -> Reason {
    if error == KeyError::Revoked {
        Reason::CredentialRevoked
    } else {
        error.reason()
    }
}

/// A key in a URL ends in logs and histories: where the description does not put it there, its sender
/// is told, instead of that none was sent.
fn astray(refusal: Refusal, place: &Place, shown: &Shown<'_>) -> Refusal {
    let in_query = shown
        .query
        .unwrap_or_default()
        .split(['&', '='])
        .any(ApiKey::is_own);
    if in_query && !matches!(place, Place::Query(_)) {
        return Refusal::malformed("a key stands in the query, where it is not accepted");
    }
    refusal
}
