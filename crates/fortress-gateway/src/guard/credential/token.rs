//! Tokens of an issuer.

use std::sync::Arc;

use fortress_auth::{TokenError, Verified};
use fortress_model::{Reason, Timestamp};

use super::{Caller, Presented, Refusal, Shown, present};
use crate::{
    compile::{IdentityPlan, Place, TokenPlan},
    guard::principal::Proof,
};

/// Judges the token that a request shows.
pub(super) async fn judge(
    identity: &Arc<IdentityPlan>,
    plan: &TokenPlan,
    place: &Place,
    shown: &Shown<'_>,
) -> Result<Caller, Refusal> {
    let presented = present(place, shown)?;
    let token = text(&presented)?;
    let verified = verify(identity, plan, token, shown.now).await?;
    Ok(Caller {
        id: Arc::clone(&verified.subject),
        identity: Arc::clone(identity),
        proof: Proof::Token(verified),
    })
}

/// The token itself (RFC 6750, section 2.1).
fn text<'p>(presented: &'p Presented<'_>) -> Result<&'p str, Refusal> {
    let Some(scheme) = presented.scheme else {
        return Ok(&presented.text);
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::missing("a credential of another scheme"));
    }
    if presented.text.is_empty() {
        return Err(Refusal::malformed("`Bearer` without a token"));
    }
    if presented.text.contains([' ', ',', '\t']) {
        return Err(Refusal::malformed("not `Bearer` and one token"));
    }
    Ok(&presented.text)
}

async fn verify(
    identity: &IdentityPlan,
    plan: &TokenPlan,
    token: &str,
    now: Timestamp,
) -> Result<Arc<Verified>, Refusal> {
    let refusal = |error: &TokenError| Refusal::new(error.reason(), error.to_string());
    let unavailable = || {
        let detail = format!("the keys of `{}` could not be had", identity.name);
        Refusal::new(Reason::KeysUnavailable, detail)
    };
    let keys = match plan.keys.current() {
        Some(keys) => keys,
        None => plan.keys.refreshed(None).await.ok_or_else(unavailable)?,
    };
    match plan
        .verifier
        .verify_cached(token, &keys.set, now, &plan.cache)
    {
        Ok(verified) => Ok(verified),
        Err(unknown @ TokenError::UnknownKey { .. }) => {
            // The issuer may have rotated its keys: ask once, together with all who wait.
            let fresh = plan.keys.refreshed(Some(keys.generation)).await;
            let Some(fresh) = fresh else {
                return Err(refusal(&unknown));
            };
            plan.verifier
                .verify_cached(token, &fresh.set, now, &plan.cache)
                .map_err(|error| refusal(&error))
        }
        Err(error) => Err(refusal(&error)),
    }
}
