//! HTTP message signatures (RFC 9421). The content counts only after it was compared with the digest
//! that the signature covers (RFC 9530).

use std::sync::Arc;

use fortress_auth::{
    message_signature::{self, Content, SignedRequest},
    replay::ReplayError,
};
use fortress_model::{Bounds, Decision, Reason};

use super::{Caller, Refusal, Shown, Stop};
use crate::{
    compile::{IdentityPlan, SignaturePlan},
    guard::{body::LateBody, principal::Proof},
    path::split_target,
    request::RequestBody,
};

/// Judges the signature of a request, and its content where it has some.
pub(super) async fn judge<B: RequestBody>(
    identity: &Arc<IdentityPlan>,
    plan: &SignaturePlan,
    shown: &Shown<'_>,
    (decision, bounds): (&mut Decision, &Bounds),
    body: &mut LateBody<'_, B>,
) -> Result<Caller, Stop> {
    let (path, query) = split_target(shown.target);
    let request = SignedRequest {
        method: shown.method.as_str(),
        scheme: shown.scheme.as_str(),
        authority: shown.host,
        path,
        query,
        fields: shown.headers,
        content: match body.announced() {
            Some(0) => Content::Absent,
            Some(_) | None => Content::Present,
        },
    };
    let signed = message_signature::verify(&request, &plan.keys, &plan.rules, shown.now)
        .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    if let Some(digest) = signed.content_digest {
        let content = body.whole(decision, bounds).await?;
        let mut check = digest.check();
        check.update(&content);
        check
            .finish()
            .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    }
    if let Some(replays) = &plan.replays {
        replays
            .remember(&signed.replay, signed.until, shown.now)
            .map_err(replayed)?;
    }
    Ok(Caller {
        id: (*signed.key_id).into(),
        identity: Arc::clone(identity),
        proof: Proof::Signature,
    })
}

/// What may be shown once only was shown before, or nobody could tell.
pub(super) fn replayed(error: ReplayError) -> Refusal {
    Refusal::new(Reason::CredentialReplayed, error.to_string())
}
