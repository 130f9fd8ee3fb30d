//! The entries of `identity`, compiled: for each kind of credential what its guard needs.
//!
//! Deliberately not here: which operation accepts which entry (`access`).

mod basic;
mod certificate;
mod login;
mod signature;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

pub(crate) use basic::BasicPlan;
pub(crate) use certificate::CertificatePlan;
pub(super) use certificate::{any_could_come, field as certificate_field};
use fortress_auth::{
    Algorithm, AnswerExpectations, Dpop, Expectations, Introspector, JwkSet, SymmetricKey,
    Verifier, client_authorization,
};
use fortress_model::{
    Diagnostic, Secret, Span,
    config::{
        ApiKeys, ClaimPaths, Config, Demand, Identity, IdentityKind, Introspection, Issuer,
        JwksSource, KeySource, Spanned, WhichTokens,
    },
};
use http::HeaderName;
pub(super) use login::logins;
pub(crate) use signature::{SIGNED_REQUESTS, SignaturePlan, WebhookPlan};

use crate::{
    browser_login::LoginPlan,
    keys::{KeyRing, Keys, Memory, Source, Spans, StoreFeed},
    questions::Questions,
};

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
    /// Keys of the store.
    ApiKey(ApiKeyPlan),
    /// Client certificates.
    Certificate(CertificatePlan),
    /// User names and passwords.
    Basic(BasicPlan),
    /// HTTP message signatures.
    Signature(Box<SignaturePlan>),
    /// Calls signed with a shared secret.
    Webhook(Box<WebhookPlan>),
}

/// API keys.
#[derive(Debug)]
pub(crate) struct ApiKeyPlan {
    pub(crate) store: StoreFeed,
    /// Where they stand if no description says so.
    pub(crate) header: HeaderName,
    /// The environment that they must be for.
    pub(crate) environment: Option<String>,
}

/// An issuer of tokens.
#[derive(Debug)]
pub(crate) struct TokenPlan {
    pub(crate) verifier: Verifier,
    pub(crate) keys: Arc<Keys>,
    pub(crate) memory: Arc<Memory>,
    /// Knows which tokens were revoked.
    pub(crate) store: StoreFeed,
    pub(crate) claims: ClaimPaths,
    /// `None` where proofs of possession are off.
    pub(crate) dpop: Option<DpopPlan>,
    /// Each token must be bound to a certificate.
    pub(crate) certificate_bound: bool,
    pub(crate) introspection: Option<IntrospectionPlan>,
    /// How people log in with a browser.
    pub(crate) login: Option<Arc<LoginPlan>>,
}

/// Proofs of possession.
#[derive(Debug)]
pub(crate) struct DpopPlan {
    pub(crate) proofs: Dpop,
    /// Each token must be bound to a key.
    pub(crate) required: bool,
    /// A proof must hold a nonce of ours.
    pub(crate) nonce: bool,
}

/// How an issuer is asked about tokens.
#[derive(Debug)]
pub(crate) struct IntrospectionPlan {
    pub(crate) introspector: Introspector,
    /// As configured; else it is discovered.
    pub(crate) endpoint: Option<String>,
    pub(crate) client_id: String,
    pub(crate) authorization: Secret<String>,
    pub(crate) tokens: WhichTokens,
    pub(crate) timeout: Duration,
    pub(crate) signed: bool,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) under_way: Questions,
    /// The issuer failed, and is left alone until then (nanoseconds since the epoch).
    pub(crate) left_alone: AtomicU64,
}

impl CredentialKind {
    /// For messages.
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Token(_) => "tokens",
            Self::ApiKey(_) => "API keys",
            Self::Certificate(_) => "client certificates",
            Self::Basic(_) => "passwords",
            Self::Signature(_) => "message signatures",
            Self::Webhook(_) => "signed webhooks",
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
            let kind = kind(config, identity, keys, diagnostics)?;
            Some(Arc::new(IdentityPlan {
                name: identity.name.value.as_str().into(),
                kind,
            }))
        })
        .collect()
}

fn kind(
    config: &Config,
    identity: &Identity,
    keys: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CredentialKind> {
    match &identity.kind {
        IdentityKind::Issuer(issuer) => token(config, identity, issuer, keys, diagnostics),
        IdentityKind::ApiKey(api_keys) => api_key(config, identity, api_keys, keys, diagnostics),
        IdentityKind::Certificate(certificates) => {
            let plan = certificate::compile(config, identity, certificates, diagnostics)?;
            Some(CredentialKind::Certificate(plan))
        }
        IdentityKind::Basic(basic) => {
            let plan = basic::compile(config, identity, basic, keys, diagnostics)?;
            Some(CredentialKind::Basic(plan))
        }
        IdentityKind::Signature(signatures) => {
            let plan = signature::signature(identity, signatures, keys, diagnostics)?;
            Some(CredentialKind::Signature(Box::new(plan)))
        }
        IdentityKind::Webhook(webhook) => {
            let plan = signature::webhook(identity, webhook, keys, diagnostics)?;
            Some(CredentialKind::Webhook(Box::new(plan)))
        }
    }
}

fn api_key(
    config: &Config,
    identity: &Identity,
    api_keys: &ApiKeys,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CredentialKind> {
    if config.store.is_none() {
        let message = format!("`identity.{}` needs a store of keys", identity.name.value);
        let help = "add `store: { embedded: fortress.db, key: file:store.key, pepper: file:pepper.key }`, then `fortress store init`";
        diagnostics.push(Diagnostic::error(identity.name.span, message).help(help));
        return None;
    }
    let header = match &api_keys.header {
        None => HeaderName::from_static("x-api-key"),
        // The loader took it for the name of a field.
        Some(header) => HeaderName::from_bytes(header.value.as_bytes()).ok()?,
    };
    Some(CredentialKind::ApiKey(ApiKeyPlan {
        store: ring.store(),
        header,
        environment: api_keys.environment.clone(),
    }))
}

fn token(
    config: &Config,
    identity: &Identity,
    issuer: &Issuer,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CredentialKind> {
    let mut algorithms: Vec<Algorithm> = issuer
        .algorithms
        .iter()
        .filter_map(|name| Algorithm::from_name(&name.value))
        .collect();
    let keys = match &issuer.keys {
        KeySource::Secret(secret) => shared(identity, secret, &mut algorithms, ring, diagnostics)?,
        KeySource::Jwks(_) | KeySource::Discovery => fetched(issuer, ring, diagnostics)?,
    };
    if let KeySource::Jwks(jwks) = &issuer.keys
        && let JwksSource::File(path) = &jwks.value
    {
        diagnostics.extend(unusable(identity, (path, jwks.span), &algorithms, &keys));
    }
    let dpop = dpop(issuer, ring);
    let unasked = Duration::from_secs(1);
    let spans = Spans {
        active: issuer
            .introspection
            .as_ref()
            .map_or(unasked, |asked| asked.cache),
        inactive: issuer
            .introspection
            .as_ref()
            .map_or(unasked, |asked| asked.negative_cache),
    };
    let memory = match ring.memory(&identity.name.value, spans) {
        Ok(memory) => memory,
        Err(message) => {
            diagnostics.push(Diagnostic::error(identity.name.span, message));
            return None;
        }
    };
    let introspection = match &issuer.introspection {
        None => None,
        Some(asked) => Some(introspection(
            identity,
            issuer,
            asked,
            &algorithms,
            diagnostics,
        )?),
    };
    let asked = (&keys, algorithms.as_slice());
    let login = login::of((config, identity, issuer), asked, ring, diagnostics)?;
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
        memory,
        store: ring.store(),
        claims: issuer.claims.clone(),
        dpop,
        certificate_bound: issuer.certificate_bound == Demand::Required,
        introspection,
        login,
    })))
}

fn dpop(issuer: &Issuer, ring: &KeyRing) -> Option<DpopPlan> {
    if issuer.dpop.mode == Demand::Off {
        return None;
    }
    let proofs = Dpop {
        past: issuer.dpop.window,
        ..Dpop::default()
    };
    ring.widen_proofs(proofs.window());
    Some(DpopPlan {
        proofs,
        required: issuer.dpop.mode == Demand::Required,
        nonce: issuer.dpop.nonce,
    })
}

/// A shared key, for each algorithm that may be meant.
fn shared(
    identity: &Identity,
    secret: &Spanned<Secret<String>>,
    algorithms: &mut Vec<Algorithm>,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<Keys>> {
    // RFC 7518, section 3.2: the shortest key that is taken is one for HS256.
    if algorithms.is_empty() {
        algorithms.extend(Algorithm::from_name("HS256"));
    }
    let bytes = Secret::new(secret.value.expose().as_bytes().to_vec());
    let mut keys = Vec::new();
    for algorithm in algorithms.iter() {
        match SymmetricKey::new(&bytes, *algorithm, None) {
            Ok(key) => keys.push(key),
            Err(error) => {
                let message = format!("`identity.{}.secret`: {error}", identity.name.value);
                diagnostics.push(
                    Diagnostic::error(secret.span, message)
                        .help("make one: `openssl rand -base64 64`"),
                );
                return None;
            }
        }
    }
    Some(ring.shared(&identity.name.value, JwkSet::symmetric(&keys)))
}

fn fetched(
    issuer: &Issuer,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<Keys>> {
    let (source, span) = match &issuer.keys {
        KeySource::Jwks(jwks) => match &jwks.value {
            JwksSource::File(path) => (Source::File(path.clone()), jwks.span),
            JwksSource::Url(url) => (Source::Url(url.clone()), jwks.span),
        },
        KeySource::Discovery | KeySource::Secret(_) => (
            Source::Discovery(issuer.issuer.value.clone()),
            issuer.issuer.span,
        ),
    };
    let ca = issuer.ca.as_ref();
    match ring.get(&source, ca.map(|ca| ca.value.as_path())) {
        Ok((keys, left_out)) => {
            let warnings = left_out.into_iter();
            diagnostics.extend(warnings.map(|why| Diagnostic::warning(span, why)));
            Some(keys)
        }
        Err(message) => {
            // A file that cannot be read is either; the message names it.
            let span = match ca {
                Some(ca) if !matches!(source, Source::File(_)) => ca.span,
                Some(_) | None => span,
            };
            diagnostics.push(Diagnostic::error(span, message));
            None
        }
    }
}

/// A warning, since the file may get the key while the gateway runs.
fn unusable(
    identity: &Identity,
    (path, span): (&Path, Span),
    algorithms: &[Algorithm],
    keys: &Keys,
) -> Option<Diagnostic> {
    let current = keys.current()?;
    let is_fit = algorithms.iter().any(|one| current.set.verifies(*one));
    (!algorithms.is_empty() && !is_fit).then(|| {
        let names: Vec<&str> = algorithms.iter().map(|one| one.name()).collect();
        let message = format!(
            "no key of `{}` verifies by {}: no token of `identity.{}` can be accepted",
            path.display(),
            names.join(" or "),
            identity.name.value
        );
        Diagnostic::warning(span, message)
            .help("add the key, or name the algorithms of the keys that are there in `algorithms`")
    })
}

fn introspection(
    identity: &Identity,
    issuer: &Issuer,
    asked: &Introspection,
    algorithms: &[Algorithm],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<IntrospectionPlan> {
    let name = &identity.name.value;
    let is_discovered = matches!(issuer.keys, KeySource::Discovery);
    if asked.endpoint.is_none() && !is_discovered {
        let message = format!("`identity.{name}.introspection` has no `endpoint`");
        let help = "add it, or remove `jwks`: both are then discovered from `issuer`";
        diagnostics.push(Diagnostic::error(identity.name.span, message).help(help));
        return None;
    }
    if asked.signed && matches!(issuer.keys, KeySource::Secret(_)) {
        let message =
            format!("`identity.{name}.introspection.signed` needs the issuer's public keys");
        diagnostics.push(Diagnostic::error(identity.name.span, message).help("add `jwks`"));
        return None;
    }
    Some(IntrospectionPlan {
        introspector: Introspector::new(AnswerExpectations {
            issuer: issuer.issuer.value.clone(),
            audience: issuer.audience.clone(),
            leeway: issuer.leeway,
            scope_claim: issuer.claims.scope.clone(),
        }),
        endpoint: asked.endpoint.clone(),
        client_id: asked.client_id.clone(),
        authorization: client_authorization(&asked.client_id, &asked.client_secret),
        tokens: asked.tokens,
        timeout: asked.timeout,
        signed: asked.signed,
        algorithms: algorithms.to_vec(),
        under_way: Questions::default(),
        left_alone: AtomicU64::new(0),
    })
}
