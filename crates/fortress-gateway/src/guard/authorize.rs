//! May the principal do it: the scopes that the operation's `security` and the configuration demand.

use fortress_model::{Decision, Denial, Reason};

use super::authenticate::Principal;
use crate::compile::{Access, OperationPlan};

/// The proof that the principal may call the operation.
#[derive(Debug)]
pub(crate) struct Permit(());

/// Checks the scopes.
///
/// # Errors
/// `scope.insufficient`.
pub(crate) fn check(
    decision: &mut Decision,
    plan: &OperationPlan,
    principal: &Principal,
) -> Result<Permit, Denial> {
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    // Any alternative will do that the same credential satisfies: `security` is a list of ORs, and
    // two entries may differ in their scopes alone.
    let permitted = match principal
        .alternative()
        .and_then(|index| alternatives.get(index))
    {
        None => missing(principal, &plan.require_scopes),
        Some(satisfied) => alternatives
            .iter()
            .filter(|other| other.same_credentials(satisfied))
            .map(|other| missing(principal, other.scopes.iter().chain(&plan.require_scopes)))
            .reduce(|best, next| if best.is_some() { next } else { best })
            .flatten(),
    };
    if let Some(scope) = permitted {
        decision.refuse(
            Reason::ScopeInsufficient,
            format!("scope `{scope}` is missing"),
        )?;
    }
    Ok(Permit(()))
}

/// The first scope that the principal lacks.
fn missing<'a>(
    principal: &Principal,
    demanded: impl IntoIterator<Item = &'a String>,
) -> Option<&'a str> {
    let held = principal
        .verified()
        .map_or(&[][..], |verified| &verified.scopes);
    demanded
        .into_iter()
        .map(String::as_str)
        .find(|scope| held.iter().all(|held| **held != **scope))
}
