//! Who calls, whatever the kind of credential that said so.

use std::sync::Arc;

use fortress_auth::{Value, Verified, api_key::KeyHolder};
use fortress_model::decision::PrincipalRecord;

use crate::client_certificate::PeerCertificate;
use crate::compile::{Access, Alternative, CredentialKind, IdentityPlan, OperationPlan};

/// A caller whose credential was checked.
#[derive(Debug)]
pub(crate) struct Caller {
    /// What the credential says who it is.
    pub(crate) id: Arc<str>,
    /// The entry of `identity` that vouched for it.
    pub(crate) identity: Arc<IdentityPlan>,
    /// What was shown, once it was verified.
    pub(crate) proof: Proof,
}

/// A verified credential.
#[derive(Debug)]
pub(crate) enum Proof {
    /// A token.
    Token(Arc<Verified>),
    /// A key of the store.
    ApiKey(Arc<KeyHolder>),
    /// A client certificate.
    Certificate(Arc<PeerCertificate>),
}

impl Caller {
    /// It was granted this scope.
    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        match &self.proof {
            Proof::Token(verified) => verified.has_scope(scope),
            Proof::ApiKey(holder) => holder.access.has_scope(scope),
            // Nobody granted it any.
            Proof::Certificate(_) => false,
        }
    }

    /// It has this role.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        match &self.proof {
            Proof::Token(verified) => {
                let configured = match &self.identity.kind {
                    CredentialKind::Token(plan) => plan.claims.roles.as_deref(),
                    CredentialKind::ApiKey(_) | CredentialKind::Certificate(_) => None,
                };
                let path = configured.unwrap_or("roles");
                names(verified.claims.get(path)).any(|held| held == role)
            }
            Proof::ApiKey(holder) => holder.access.has_role(role),
            // Nobody gave it any.
            Proof::Certificate(_) => false,
        }
    }

    /// A claim of its token, as a dotted path; other credentials have none.
    pub(crate) fn claim(&self, path: &str) -> Option<&Value> {
        self.token()?.claims.get(path)
    }

    /// The token, if it showed one.
    pub(crate) fn token(&self) -> Option<&Verified> {
        match &self.proof {
            Proof::Token(verified) => Some(verified),
            Proof::ApiKey(_) | Proof::Certificate(_) => None,
        }
    }

    /// Its tenant, where its identity says which claim names it.
    pub(crate) fn tenant(&self) -> Option<&Value> {
        match &self.identity.kind {
            CredentialKind::Token(plan) => self.token()?.claims.get(plan.claims.tenant.as_deref()?),
            CredentialKind::ApiKey(_) | CredentialKind::Certificate(_) => None,
        }
    }

    /// The id of its API key; other credentials have none.
    pub(crate) fn api_key(&self) -> Option<String> {
        match &self.proof {
            Proof::ApiKey(holder) => Some(holder.id.to_string()),
            Proof::Token(_) | Proof::Certificate(_) => None,
        }
    }

    /// For the journal.
    pub(crate) fn record(&self) -> PrincipalRecord {
        let (method, expires) = match &self.proof {
            Proof::Token(verified) => (verified.proven.to_string(), verified.expires),
            Proof::ApiKey(holder) => (format!("API key {}", holder.id), None),
            Proof::Certificate(certificate) => (certificate.to_string(), None),
        };
        PrincipalRecord {
            id: Arc::clone(&self.id),
            identity: Arc::clone(&self.identity.name),
            method,
            expires,
        }
    }
}

/// The names in a claim that is a text (with spaces between them) or a list of texts.
fn names(claim: Option<&Value>) -> impl Iterator<Item = &str> {
    let (text, list) = match claim {
        Some(Value::String(text)) => (Some(&**text), None),
        Some(Value::Array(items)) => (None, Some(items)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {
            (None, None)
        }
    };
    let texts = text.into_iter().flat_map(|text| text.split(' '));
    let items = list.into_iter().flatten().filter_map(Value::as_str);
    texts.chain(items)
}

/// Who calls. Built by `authenticate` and nowhere else, so holding one proves that the credentials
/// were checked.
#[derive(Debug)]
pub(crate) struct Principal {
    pub(super) caller: Option<Caller>,
    /// The alternative of the operation's `security` that is satisfied, scopes aside.
    pub(super) alternative: Option<usize>,
}

impl Principal {
    pub(super) const ANONYMOUS: Self = Self {
        caller: None,
        alternative: None,
    };

    /// Who it is, if a credential was shown.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.caller.as_ref()
    }

    /// The alternative of the operation's `security` that it satisfies, scopes aside.
    pub(crate) fn alternative<'p>(&self, plan: &'p OperationPlan) -> Option<&'p Alternative> {
        match &plan.access {
            Access::Public => None,
            Access::AnyOf(alternatives) => alternatives.get(self.alternative?),
        }
    }
}
