//! May the principal do it: the scopes that the operation's `security` demands, and what `require`
//! does.

use fortress_model::{Decision, Reason};

use super::{
    challenge::{self, Hint},
    principal::{Caller, Principal, Proof},
};
use crate::{
    compile::{Access, OperationPlan},
    serve::Refused,
};

/// The proof that the principal may call the operation.
#[derive(Debug)]
pub(crate) struct Permit(());

/// Checks scopes, roles, and how the caller proved who it is.
///
/// # Errors
/// `scope.insufficient`, `role.insufficient`, `credential.restricted`, `credential.unbound`,
/// `authentication.insufficient`.
pub(crate) fn check(
    decision: &mut Decision,
    plan: &OperationPlan,
    principal: &Principal,
) -> Result<Permit, Refused> {
    let (now, client) = (decision.received, decision.client);
    let mut refuse = |reason: Reason, detail: String, hint: Hint| {
        decision
            .refuse(reason, detail)
            .map_err(|denial| challenge::refused(plan, denial, hint))
    };
    let caller = principal.caller();
    if let Some(scope) = missing_scope(plan, principal) {
        let detail = format!("scope `{scope}` is missing");
        refuse(Reason::ScopeInsufficient, detail, Hint::None)?;
    }
    for caller in principal.callers() {
        let Proof::ApiKey(holder) = &caller.proof else {
            continue;
        };
        let detail = if !holder.access.allows_address(client) {
            Some(format!("the key may not be used from {client}"))
        } else if !holder.access.allows_operation(plan.names()) {
            Some("the key may not call this operation".to_owned())
        } else {
            None
        };
        if let Some(detail) = detail {
            refuse(Reason::CredentialRestricted, detail, Hint::None)?;
        }
    }
    let token = caller.and_then(Caller::token);
    if plan.require.dpop == Some(true)
        && token.is_none_or(|token| token.confirmation.key_thumbprint.is_none())
    {
        let detail = "the operation demands a token that is bound to a key".to_owned();
        refuse(
            Reason::CredentialUnbound,
            detail,
            Hint::dpop("invalid_token", None),
        )?;
    }
    if let Some(step_up) = &plan.step_up {
        let checked = match token {
            Some(token) => step_up.check(token, now).map_err(|error| error.to_string()),
            None => Err("no token tells when and how the person logged in".to_owned()),
        };
        if let Err(detail) = checked {
            refuse(Reason::AuthenticationInsufficient, detail, Hint::StepUp)?;
        }
    }
    if let Some(roles) = &plan.require.roles
        && !roles
            .iter()
            .any(|role| caller.is_some_and(|caller| caller.has_role(role)))
    {
        let detail = format!("none of the roles `{}`", roles.join("`, `"));
        refuse(Reason::RoleInsufficient, detail, Hint::None)?;
    }
    Ok(Permit(()))
}

/// The first scope that the principal lacks.
fn missing_scope<'p>(plan: &'p OperationPlan, principal: &Principal) -> Option<&'p str> {
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    let demanded = missing(principal.caller(), plan.require.scopes());
    // Any alternative will do that the same credentials satisfy: `security` is a list of ORs, and two
    // entries may differ in their scopes alone. Each credential carries its own.
    let own = principal.alternative(plan).and_then(|satisfied| {
        let others = alternatives
            .iter()
            .filter(|other| other.same_credentials(satisfied));
        let missing = others.map(|other| {
            let mut pairs = other.credentials.iter().zip(principal.callers());
            pairs.find_map(|(credential, caller)| missing(Some(caller), &credential.scopes))
        });
        missing
            .reduce(|best, next| if best.is_some() { next } else { best })
            .flatten()
    });
    own.or(demanded)
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
