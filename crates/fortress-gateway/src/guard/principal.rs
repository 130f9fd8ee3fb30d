//! Who calls, whatever the kind of credential that said so.

use std::sync::Arc;

use fortress_auth::{Value, Verified, api_key::KeyHolder};
use fortress_model::{config::ClaimPaths, decision::PrincipalRecord};
use smallvec::SmallVec;

use crate::browser_login::Live;
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
    /// A browser's session.
    Session(Arc<Live>),
    /// A key of the store.
    ApiKey(Arc<KeyHolder>),
    /// A client certificate.
    Certificate(Arc<PeerCertificate>),
    /// A user's name and password.
    Password,
    /// A message's signature; the caller's id is the key's.
    Signature,
    /// A signed call, by which of the shared secrets, from 0.
    Webhook { secret: usize },
}

impl Caller {
    /// It was granted this scope.
    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        match &self.proof {
            Proof::Token(verified) => verified.has_scope(scope),
            Proof::Session(live) => live.verified.has_scope(scope),
            Proof::ApiKey(holder) => holder.access.has_scope(scope),
            // Nobody granted it any.
            Proof::Certificate(_) | Proof::Password | Proof::Signature | Proof::Webhook { .. } => {
                false
            }
        }
    }

    /// It has this role.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        match &self.proof {
            Proof::ApiKey(holder) => holder.access.has_role(role),
            Proof::Token(_)
            | Proof::Session(_)
            | Proof::Certificate(_)
            | Proof::Password
            | Proof::Signature
            | Proof::Webhook { .. } => self.claimed_roles().any(|held| held == role),
        }
    }

    /// What it may do.
    pub(crate) fn scopes(&self) -> Vec<&str> {
        match &self.proof {
            Proof::Token(verified) => verified.scopes.iter().map(|scope| &**scope).collect(),
            Proof::Session(live) => {
                let scopes = live.verified.scopes.iter();
                scopes.map(|scope| &**scope).collect()
            }
            Proof::ApiKey(holder) => holder.access.scopes.iter().map(|scope| &**scope).collect(),
            // Nobody granted it any.
            Proof::Certificate(_) | Proof::Password | Proof::Signature | Proof::Webhook { .. } => {
                Vec::new()
            }
        }
    }

    /// Its roles.
    pub(crate) fn roles(&self) -> Vec<&str> {
        match &self.proof {
            Proof::ApiKey(holder) => holder.access.roles.iter().map(|role| &**role).collect(),
            Proof::Token(_)
            | Proof::Session(_)
            | Proof::Certificate(_)
            | Proof::Password
            | Proof::Signature
            | Proof::Webhook { .. } => self.claimed_roles().collect(),
        }
    }

    fn claimed_roles(&self) -> impl Iterator<Item = &str> {
        let path = self.claims().and_then(|claims| claims.roles.as_deref());
        names(self.claim(path.unwrap_or("roles")))
    }

    /// Where claims are, if it showed a token.
    fn claims(&self) -> Option<&ClaimPaths> {
        match &self.identity.kind {
            CredentialKind::Token(plan) => Some(&plan.claims),
            CredentialKind::ApiKey(_)
            | CredentialKind::Certificate(_)
            | CredentialKind::Basic(_)
            | CredentialKind::Signature(_)
            | CredentialKind::Webhook(_) => None,
        }
    }

    /// Its tenant, if its identity has tenants.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant_claim()?.as_str()
    }

    /// When its credential expires, in seconds since the epoch.
    pub(crate) fn expires(&self) -> Option<u64> {
        self.token()?.expires
    }

    /// A claim of its token, as a dotted path; other credentials have none.
    pub(crate) fn claim(&self, path: &str) -> Option<&Value> {
        self.token()?.claims.get(path)
    }

    /// The token, if it showed one, or that of its login.
    pub(crate) fn token(&self) -> Option<&Verified> {
        match &self.proof {
            Proof::Token(verified) => Some(verified),
            Proof::Session(live) => Some(&live.verified),
            Proof::ApiKey(_)
            | Proof::Certificate(_)
            | Proof::Password
            | Proof::Signature
            | Proof::Webhook { .. } => None,
        }
    }

    /// Its session, if it is a browser that logged in.
    pub(crate) fn session(&self) -> Option<&Live> {
        match &self.proof {
            Proof::Session(live) => Some(live),
            Proof::Token(_)
            | Proof::ApiKey(_)
            | Proof::Certificate(_)
            | Proof::Password
            | Proof::Signature
            | Proof::Webhook { .. } => None,
        }
    }

    /// The claim that names its tenant, whatever it holds.
    pub(crate) fn tenant_claim(&self) -> Option<&Value> {
        self.claim(self.claims()?.tenant.as_deref()?)
    }

    /// The id of its API key; other credentials have none.
    pub(crate) fn api_key(&self) -> Option<String> {
        match &self.proof {
            Proof::ApiKey(holder) => Some(holder.id.to_string()),
            Proof::Token(_)
            | Proof::Session(_)
            | Proof::Certificate(_)
            | Proof::Password
            | Proof::Signature
            | Proof::Webhook { .. } => None,
        }
    }

    /// For the journal.
    pub(crate) fn record(&self) -> PrincipalRecord {
        let method = match &self.proof {
            Proof::Token(verified) => verified.proven.to_string(),
            Proof::Session(live) => live.verified.proven.to_string(),
            Proof::ApiKey(holder) => format!("API key {}", holder.id),
            Proof::Certificate(certificate) => certificate.to_string(),
            Proof::Password => "password".to_owned(),
            Proof::Signature => "message signature".to_owned(),
            Proof::Webhook { secret } => format!("webhook, secret {}", secret + 1),
        };
        PrincipalRecord {
            id: Arc::clone(&self.id),
            identity: Arc::clone(&self.identity.name),
            method,
            expires: self.expires(),
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
    /// What was shown, in the order of the alternative's credentials.
    callers: SmallVec<[Caller; 1]>,
    /// Which of them counts as who calls.
    first: usize,
    /// The alternative of the operation's `security` that is satisfied, scopes aside.
    alternative: Option<usize>,
}

impl Principal {
    pub(super) fn anonymous() -> Self {
        Self {
            callers: SmallVec::new(),
            first: 0,
            alternative: None,
        }
    }

    /// Of the credentials of an alternative, all of which count. Who calls is whom a token or a session
    /// names, since it speaks of a person; then whom a key, a password or a signature names; and last
    /// whom a certificate names, which is often the program's.
    pub(super) fn of(callers: SmallVec<[Caller; 1]>, alternative: usize) -> Self {
        let ranks = callers.iter().enumerate();
        let first = ranks.min_by_key(|(_, caller)| match &caller.proof {
            Proof::Token(_) | Proof::Session(_) => 0,
            Proof::ApiKey(_) | Proof::Password | Proof::Signature | Proof::Webhook { .. } => 1,
            Proof::Certificate(_) => 2,
        });
        Self {
            first: first.map_or(0, |(at, _)| at),
            callers,
            alternative: Some(alternative),
        }
    }

    /// Who it is, if a credential was shown.
    pub(crate) fn caller(&self) -> Option<&Caller> {
        self.callers.get(self.first)
    }

    /// Everybody whom a credential names, in the order of the alternative's credentials.
    pub(crate) fn callers(&self) -> &[Caller] {
        &self.callers
    }

    /// The alternative of the operation's `security` that it satisfies, scopes aside.
    pub(crate) fn alternative<'p>(&self, plan: &'p OperationPlan) -> Option<&'p Alternative> {
        match &plan.access {
            Access::Public => None,
            Access::AnyOf(alternatives) => alternatives.get(self.alternative?),
        }
    }
}
