//! The entries of `identity`, compiled: for each kind of credential what its guard needs.
//!
//! Deliberately not here: which operation accepts which entry (`access`).

use std::sync::Arc;

use fortress_auth::{Algorithm, Cache, Expectations, Verifier};
use fortress_model::{
    Diagnostic,
    config::{ClaimPaths, Config, Identity, IdentityKind, Issuer, KeySource},
};

use crate::keys::{KeyRing, Keys};

/// Verified tokens that one identity keeps.
const CACHED_TOKENS: usize = 10_000;

/// An entry of `identity`, compiled.
#[derive(Debug)]
pub(crate) struct IdentityPlan {
    pub(crate) name: Arc<str>,
    pub(crate) kind: CredentialKind,
}

/// What is judged, and by what.
#[derive(Debug)]
pub(crate) enum CredentialKind {
    /// Tokens of an issuer.
    Token(Box<TokenPlan>),
}

/// An issuer of tokens.
#[derive(Debug)]
pub(crate) struct TokenPlan {
    pub(crate) verifier: Verifier,
    pub(crate) keys: Arc<Keys>,
    pub(crate) cache: Cache,
    pub(crate) claims: ClaimPaths,
}

impl CredentialKind {
    /// For messages.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Token(_) => "tokens",
        }
    }
}

/// The entries of `identity`.
pub(super) fn identities(
    config: &Config,
    keys: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Arc<IdentityPlan>> {
    config
        .identity
        .iter()
        .filter_map(|identity| {
            let kind = kind(identity, keys, diagnostics)?;
            Some(Arc::new(IdentityPlan {
                name: identity.name.value.as_str().into(),
                kind,
            }))
        })
        .collect()
}

fn kind(
    identity: &Identity,
    keys: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CredentialKind> {
    let what = match &identity.kind {
        IdentityKind::Issuer(issuer) => return token(identity, issuer, keys, diagnostics),
        IdentityKind::ApiKey(_) => "API keys",
        IdentityKind::Certificate(_) => "client certificates",
        IdentityKind::Basic(_) => "passwords",
        IdentityKind::Signature(_) => "message signatures",
        IdentityKind::Webhook(_) => "signed webhooks",
    };
    let message = format!("{what} are not available in this version");
    diagnostics.push(Diagnostic::error(identity.name.span, message));
    None
}

fn token(
    identity: &Identity,
    issuer: &Issuer,
    keys: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CredentialKind> {
    let algorithms = issuer
        .algorithms
        .iter()
        .filter_map(|name| Algorithm::from_name(&name.value))
        .collect();
    let KeySource::Jwks(jwks) = &issuer.keys else {
        let message = "keys by discovery and shared keys are not available in this version";
        diagnostics.push(Diagnostic::error(identity.name.span, message));
        return None;
    };
    let keys = match keys.get(&jwks.value) {
        Ok((keys, left_out)) => {
            diagnostics.extend(
                left_out
                    .into_iter()
                    .map(|why| Diagnostic::warning(jwks.span, why)),
            );
            keys
        }
        Err(message) => {
            diagnostics.push(Diagnostic::error(jwks.span, message));
            return None;
        }
    };
    let verifier = Verifier::new(Expectations {
        issuer: issuer.issuer.value.clone(),
        audience: issuer.audience.clone(),
        algorithms,
        leeway: issuer.leeway,
        token_type: issuer.token_type.clone(),
        scope_claim: issuer.claims.scope.clone(),
    });
    Some(CredentialKind::Token(Box::new(TokenPlan {
        verifier,
        keys,
        cache: Cache::new(CACHED_TOKENS),
        claims: issuer.claims.clone(),
    })))
}
