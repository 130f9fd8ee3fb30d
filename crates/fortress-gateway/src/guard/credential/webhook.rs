//! Calls that their sender signed with a shared secret. The signature covers the body, so nothing is
//! believed before the body was read.

use std::sync::Arc;

use fortress_auth::webhook::WebhookError;
use fortress_model::{Bounds, Decision};

use super::{Caller, Refusal, Shown, Stop, signature::replayed};
use crate::{
    compile::{IdentityPlan, WebhookPlan},
    guard::{body::LateBody, principal::Proof},
    request::RequestBody,
};

/// Judges the signature of a call, and with it the body.
pub(super) async fn judge<B: RequestBody>(
    identity: &Arc<IdentityPlan>,
    plan: &WebhookPlan,
    shown: &Shown<'_>,
    (decision, bounds): (&mut Decision, &Bounds),
    body: &mut LateBody<'_, B>,
) -> Result<Caller, Stop> {
    let refusal = |error: WebhookError| Refusal::new(error.reason(), error.to_string());
    // The fields first: whoever shows none does not make the gateway read a body.
    let mut checking = plan
        .webhook
        .begin(shown.headers, shown.now)
        .map_err(refusal)?;
    checking.update(&body.whole(decision, bounds).await?);
    let accepted = checking.finish().map_err(refusal)?;
    // What carries no time never gets too old to come again; remembering it for a while would refuse
    // what its sender delivers anew on purpose, and stop nobody who waits.
    if let Some(until) = accepted.until {
        plan.replays
            .remember(&accepted.replay, until, shown.now)
            .map_err(replayed)?;
    }
    Ok(Caller {
        id: Arc::clone(&plan.sender),
        identity: Arc::clone(identity),
        proof: Proof::Webhook {
            secret: accepted.secret,
        },
    })
}
