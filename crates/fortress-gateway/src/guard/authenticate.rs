//! Who calls: the credential that the request shows, judged by the identity that the operation
//! accepts.
//!
//! Deliberately not here: how each kind of credential is judged (`credential`), whether the principal
//! may do it (`authorize`), and getting hold of keys (`keys`).

use fortress_model::{Bounds, Decision, Reason};
use http::header;
use smallvec::SmallVec;

use super::{
    body::LateBody,
    challenge::{self, Hint},
    credential::{self, Refusal, Shown, Stop},
    principal::{Caller, Principal},
};
use crate::{
    client_certificate::ShownCertificate,
    compile::{Access, Alternative, OperationPlan},
    request::RequestBody,
    serve::Refused,
};

/// Checks the credentials.
///
/// # Errors
/// `credential.*` or `keys.unavailable`. Of several alternatives the first that is satisfied
/// counts; if none is, the answer says what is wrong with the credential that came nearest.
pub(crate) async fn check(
    decision: &mut Decision,
    plan: &OperationPlan,
    shown: &Shown<'_>,
    body: &mut LateBody<'_, impl RequestBody>,
) -> Result<Principal, Refused> {
    demand_certificate(decision, plan, shown)?;
    let alternatives = match &plan.access {
        Access::Public => return Ok(Principal::anonymous()),
        Access::AnyOf(alternatives) => alternatives,
    };
    let mut nearest: Option<Refusal> = None;
    for (index, alternative) in alternatives.iter().enumerate() {
        match satisfy(alternative, shown, (&mut *decision, &plan.bounds), body).await {
            Ok(callers) => {
                let principal = Principal::of(callers, index);
                record(decision, &principal);
                return Ok(principal);
            }
            Err(Stop::Denied(denial)) => return Err(denial.into()),
            Err(Stop::Refused(refusal)) => {
                let nearer = nearest
                    .as_ref()
                    .is_none_or(|best| refusal.rank() > best.rank());
                if nearer {
                    nearest = Some(refusal);
                }
            }
        }
    }
    let refusal = nearest.unwrap_or(Refusal::missing("no credential"));
    decision
        .refuse(refusal.reason, refusal.detail)
        .map_err(|denial| challenge::refused(plan, denial, refusal.hint))?;
    Ok(Principal::anonymous())
}

/// Who calls, and who else was named.
fn record(decision: &mut Decision, principal: &Principal) {
    let Some(caller) = principal.caller() else {
        return;
    };
    for other in principal.callers() {
        if !std::ptr::eq(caller, other) {
            let other = other.record();
            let note = format!("also shown: {}, of `{}`", other.method, other.id);
            decision.notes.push(note);
        }
    }
    decision.principal = Some(caller.record());
}

/// What `require.certificate` demands, whoever else vouches for the caller.
fn demand_certificate(
    decision: &mut Decision,
    plan: &OperationPlan,
    shown: &Shown<'_>,
) -> Result<(), Refused> {
    if plan.require.certificate != Some(true) {
        return Ok(());
    }
    let (reason, detail) = match shown.certificate {
        ShownCertificate::Good(_) => return Ok(()),
        ShownCertificate::Bad(why) => (why.reason, why.detail.clone()),
        ShownCertificate::None => (
            Reason::CertificateMissing,
            "`require.certificate` demands one".to_owned(),
        ),
    };
    decision
        .refuse(reason, detail)
        .map_err(|denial| challenge::refused(plan, denial, Hint::None))
}

/// All credentials of the alternative; nobody if it demands none and none was shown.
async fn satisfy<B: RequestBody>(
    alternative: &Alternative,
    shown: &Shown<'_>,
    (decision, bounds): (&mut Decision, &Bounds),
    body: &mut LateBody<'_, B>,
) -> Result<SmallVec<[Caller; 1]>, Stop> {
    if alternative.credentials.is_empty() && shown.headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal::new(
            Reason::CredentialInvalid,
            "a credential was shown that no alternative accepts",
        )
        .into());
    }
    let mut callers = SmallVec::new();
    for credential in &alternative.credentials {
        callers.push(credential::judge(credential, shown, (&mut *decision, bounds), body).await?);
    }
    Ok(callers)
}
