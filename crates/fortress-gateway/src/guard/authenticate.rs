//! Who calls: the credential that the request shows, judged by the identity that the operation
//! accepts.
//!
//! Deliberately not here: how each kind of credential is judged (`credential`), whether the principal
//! may do it (`authorize`), and getting hold of keys (`keys`).

use fortress_model::{Decision, Reason};
use http::header;

use super::{
    challenge::{self, Hint},
    credential::{self, Refusal, Shown},
    principal::{Caller, Principal},
};
use crate::{
    client_certificate::ShownCertificate,
    compile::{Access, Alternative, OperationPlan},
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
) -> Result<Principal, Refused> {
    demand_certificate(decision, plan, shown)?;
    let alternatives = match &plan.access {
        Access::Public => return Ok(Principal::ANONYMOUS),
        Access::AnyOf(alternatives) => alternatives,
    };
    let mut nearest: Option<Refusal> = None;
    for (index, alternative) in alternatives.iter().enumerate() {
        match satisfy(alternative, shown).await {
            Ok(caller) => {
                decision.principal = caller.as_ref().map(Caller::record);
                return Ok(Principal {
                    caller,
                    alternative: Some(index),
                });
            }
            Err(refusal) => {
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
    Ok(Principal::ANONYMOUS)
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

/// All credentials of the alternative; `None` if it demands none and none was shown.
async fn satisfy(alternative: &Alternative, shown: &Shown<'_>) -> Result<Option<Caller>, Refusal> {
    let mut satisfied: Option<Caller> = None;
    if alternative.credentials.is_empty() && shown.headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal::new(
            Reason::CredentialInvalid,
            "a credential was shown that no alternative accepts",
        ));
    }
    for credential in &alternative.credentials {
        let caller = credential::judge(credential, shown).await?;
        if let Some(earlier) = &satisfied
            && earlier.id != caller.id
        {
            return Err(Refusal::invalid(
                "two credentials name different principals",
            ));
        }
        satisfied = Some(caller);
    }
    Ok(satisfied)
}
