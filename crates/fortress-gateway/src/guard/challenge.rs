//! What a client that was refused is told to do about it: `WWW-Authenticate` (RFC 9110, section
//! 11.6.1) in the words of RFC 6750, section 3, RFC 9449, section 7.1, RFC 9470, section 3, and RFC
//! 9728, section 5.1, and no more than they want.

use std::fmt::Write as _;

use fortress_model::{Denial, Reason};
use http::{HeaderName, HeaderValue, StatusCode, header};
use smallvec::SmallVec;

use crate::{
    compile::{Access, CredentialKind, OperationPlan},
    serve::Refused,
};

/// Header fields of a refusal.
pub(crate) type Fields = SmallVec<[(HeaderName, HeaderValue); 1]>;

/// What a client is told beside the reason.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Hint {
    /// Nothing more.
    #[default]
    None,
    /// The token was shown as `DPoP`, or should have been.
    Dpop {
        error: &'static str,
        /// For the next proof.
        nonce: Option<HeaderValue>,
    },
    /// The person has to log in anew.
    StepUp,
}

impl Hint {
    pub(crate) fn dpop(error: &'static str, nonce: Option<HeaderValue>) -> Self {
        Self::Dpop { error, nonce }
    }
}

/// A denial with its challenges.
pub(crate) fn refused(plan: &OperationPlan, denial: Denial, hint: Hint) -> Refused {
    let reason = denial.reason;
    let error = if matches!(
        reason,
        Reason::CredentialMissing | Reason::CertificateMissing
    ) {
        String::new()
    } else if reason == Reason::ScopeInsufficient {
        let scopes = plan.demanded_scopes().join(" ");
        format!(", error=\"insufficient_scope\", scope=\"{scopes}\"")
    } else if hint == Hint::StepUp {
        let step_up = plan.step_up.as_ref();
        step_up.map_or(String::new(), |step_up| {
            format!(", {}", step_up.challenge())
        })
    } else if reason.status() == StatusCode::UNAUTHORIZED {
        ", error=\"invalid_token\"".to_owned()
    } else {
        return denial.into();
    };
    let mut refused = Refused::from(denial);
    for challenge in challenges(plan, &error, &hint) {
        refused.headers.push((header::WWW_AUTHENTICATE, challenge));
    }
    if let Hint::Dpop {
        nonce: Some(nonce), ..
    } = hint
    {
        let name = HeaderName::from_static("dpop-nonce");
        refused.headers.push((name, nonce));
    }
    refused
}

/// One for each kind of credential that the operation accepts and that has a scheme.
fn challenges(plan: &OperationPlan, error: &str, hint: &Hint) -> SmallVec<[HeaderValue; 1]> {
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    let mut texts: SmallVec<[String; 1]> = SmallVec::new();
    for credential in alternatives
        .iter()
        .flat_map(|alternative| &alternative.credentials)
    {
        let mut text = match &credential.identity.kind {
            CredentialKind::Token(token) => {
                let dpop = match (&token.dpop, hint) {
                    (Some(dpop), Hint::Dpop { error, .. }) => Some((dpop, Some(*error))),
                    (Some(dpop), Hint::None | Hint::StepUp)
                        if dpop.required || plan.require.dpop == Some(true) =>
                    {
                        Some((dpop, None))
                    }
                    (Some(_) | None, Hint::None | Hint::StepUp | Hint::Dpop { .. }) => None,
                };
                match dpop {
                    None => format!("Bearer realm=\"{}\"{error}", plan.api.name),
                    Some((dpop, own)) => {
                        let own = own.map(|own| format!(", error=\"{own}\""));
                        format!(
                            "DPoP realm=\"{}\"{}, algs=\"{}\"",
                            plan.api.name,
                            own.as_deref().unwrap_or(error),
                            dpop.proofs.algorithm_names()
                        )
                    }
                }
            }
            CredentialKind::ApiKey(_) => format!("ApiKey realm=\"{}\"", plan.api.name),
            // No scheme is registered for certificates: a name of its own, since a 401 needs a
            // challenge (RFC 9110, section 15.5.2) and one for tokens would mislead.
            CredentialKind::Certificate(_) => format!("Certificate realm=\"{}\"", plan.api.name),
            // RFC 7617, section 2.1.
            CredentialKind::Basic(_) => {
                format!("Basic realm=\"{}\", charset=\"UTF-8\"", plan.api.name)
            }
            // Nor for these.
            CredentialKind::Signature(_) | CredentialKind::Webhook(_) => {
                format!("Signature realm=\"{}\"", plan.api.name)
            }
        };
        let is_token = matches!(credential.identity.kind, CredentialKind::Token(_));
        if let Some(metadata) = plan.api.metadata.as_ref().filter(|_| is_token) {
            // An error of formatting into a text is none.
            let written = write!(text, ", resource_metadata=\"{}\"", metadata.url);
            debug_assert!(written.is_ok());
        }
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
        .iter()
        .filter_map(|text| HeaderValue::from_str(text).ok())
        .collect()
}
