//! May the principal do it: the scopes that the operation's `security` demands, and what `require`
//! does.

use fortress_model::{Decision, Denial, Reason};

use super::principal::{Caller, Principal};
use crate::compile::{Access, OperationPlan};

/// The proof that the principal may call the operation.
#[derive(Debug)]
pub(crate) struct Permit(());

/// Checks scopes and roles.
///
/// # Errors
/// `scope.insufficient`, `role.insufficient`.
pub(crate) fn check(
    decision: &mut Decision,
    plan: &OperationPlan,
    principal: &Principal,
) -> Result<Permit, Denial> {
    let caller = principal.caller();
    if let Some(scope) = missing_scope(plan, principal) {
        decision.refuse(
            Reason::ScopeInsufficient,
            format!("scope `{scope}` is missing"),
        )?;
    }
    if let Some(roles) = &plan.require.roles
        && !roles
            .iter()
            .any(|role| caller.is_some_and(|caller| caller.has_role(role)))
    {
        let detail = format!("none of the roles `{}`", roles.join("`, `"));
        decision.refuse(Reason::RoleInsufficient, detail)?;
    }
    Ok(Permit(()))
}

/// The first scope that the principal lacks.
fn missing_scope<'p>(plan: &'p OperationPlan, principal: &Principal) -> Option<&'p str> {
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    let caller = principal.caller();
    // Any alternative will do that the same credential satisfies: `security` is a list of ORs, and
    // two entries may differ in their scopes alone.
    match principal.alternative(plan) {
        None => missing(caller, plan.require.scopes()),
        Some(satisfied) => alternatives
            .iter()
            .filter(|other| other.same_credentials(satisfied))
            .map(|other| missing(caller, other.scopes.iter().chain(plan.require.scopes())))
            .reduce(|best, next| if best.is_some() { next } else { best })
            .flatten(),
    }
}

fn missing<'a>(
    caller: Option<&Caller>,
    demanded: impl IntoIterator<Item = &'a String>,
) -> Option<&'a str> {
    demanded
        .into_iter()
        .map(String::as_str)
        .find(|scope| !caller.is_some_and(|caller| caller.has_scope(scope)))
}
