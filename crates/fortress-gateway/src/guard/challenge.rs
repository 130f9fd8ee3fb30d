//! What a client that was refused is told to do about it: `WWW-Authenticate` (RFC 9110, section
//! 11.6.1) in the words of RFC 6750, section 3, and no more than they want.

use fortress_model::{Denial, Reason};
use http::{HeaderName, HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use crate::{
    compile::{Access, CredentialKind, OperationPlan},
    serve::Refused,
};

/// What a client is told beside the reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Hint {
    /// Nothing more.
    #[default]
    None,
}

/// A denial with its challenges.
pub(crate) fn refused(plan: &OperationPlan, denial: Denial, hint: Hint) -> Refused {
    let error = match denial.reason {
        Reason::CredentialMissing => String::new(),
        Reason::ScopeInsufficient => {
            let scopes = plan.demanded_scopes().join(" ");
            format!(", error=\"insufficient_scope\", scope=\"{scopes}\"")
        }
        reason if reason.status() == StatusCode::UNAUTHORIZED => {
            ", error=\"invalid_token\"".to_owned()
        }
        _ => return denial.into(),
    };
    let Hint::None = hint;
    let mut refused = Refused::from(denial);
    for challenge in challenges(plan, &error) {
        refused.headers.push((header::WWW_AUTHENTICATE, challenge));
    }
    refused
}

/// One for each kind of credential that the operation accepts and that has a scheme.
fn challenges(plan: &OperationPlan, error: &str) -> SmallVec<[HeaderValue; 1]> {
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    let mut texts: SmallVec<[String; 1]> = SmallVec::new();
    for credential in alternatives
        .iter()
        .flat_map(|alternative| &alternative.credentials)
    {
        let text = match &credential.identity.kind {
            CredentialKind::Token(_) => {
                format!("Bearer realm=\"{}\"{error}", plan.api.name)
            }
        };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
        .iter()
        .filter_map(|text| HeaderValue::from_str(text).ok())
        .collect()
}

/// Header fields of a refusal.
pub(crate) type Fields = SmallVec<[(HeaderName, HeaderValue); 1]>;
