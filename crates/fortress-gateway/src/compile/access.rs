//! Who may call an operation: the description's `security`, its schemes matched with the entries of
//! `identity`.

use std::{collections::HashMap, sync::Arc};

use fortress_auth::{Algorithm, Cache, Expectations, Verifier};
use fortress_model::{
    Diagnostic, Mode,
    config::{Api, Config, Identity, Spanned},
};
use fortress_spec::{
    ApiDescription, KeyLocation, Operation, Requirement, Security, SecurityScheme,
};
use http::HeaderName;

use super::Effective;
use crate::keys::{KeyRing, Keys};

/// Verified tokens that one identity keeps.
const CACHED_TOKENS: usize = 10_000;

/// Who may call an operation.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Anyone.
    Public,
    /// Whoever satisfies one of these.
    AnyOf(Vec<Alternative>),
}

/// Credentials that are all needed, and the scopes that they must carry.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    /// None for an alternative that lets anonymous requests pass.
    pub(crate) credentials: Vec<CredentialPlan>,
    pub(crate) scopes: Vec<String>,
}

impl Alternative {
    /// The same credentials, whatever the scopes.
    pub(crate) fn same_credentials(&self, other: &Self) -> bool {
        self.credentials.len() == other.credentials.len()
            && self
                .credentials
                .iter()
                .zip(&other.credentials)
                .all(|(one, other)| {
                    Arc::ptr_eq(&one.identity, &other.identity) && one.place == other.place
                })
    }
}

/// A credential that is looked for.
#[derive(Clone, Debug)]
pub(crate) struct CredentialPlan {
    pub(crate) identity: Arc<IdentityPlan>,
    pub(crate) place: Place,
}

/// Where a credential stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// `Authorization: Bearer`.
    Bearer,
    /// The whole value of a header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
}

/// An entry of `identity`, compiled.
#[derive(Debug)]
pub(crate) struct IdentityPlan {
    pub(crate) name: Arc<str>,
    pub(crate) verifier: Verifier,
    pub(crate) keys: Arc<Keys>,
    pub(crate) cache: Cache,
}

/// An operation and who may call it, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exposure {
    /// The API's name.
    pub api: String,
    /// The operation's id; `any` for the whole of an API without a description.
    pub operation: String,
    /// Whether a description declares it.
    pub described: bool,
    /// Who may call.
    pub access: Exposed,
    /// Enforce, monitor or off.
    pub mode: Mode,
}

/// How far an operation is exposed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exposed {
    /// Only with a credential.
    Protected,
    /// To anyone, and somebody said so.
    Public,
    /// Nobody decided; nothing starts with this.
    Undecided,
}

impl Exposure {
    pub(super) fn new(api: &str, operation: &str, access: &Option<Access>, mode: Mode) -> Self {
        let access = match access {
            None => Exposed::Undecided,
            Some(Access::Public) => Exposed::Public,
            Some(Access::AnyOf(alternatives)) => {
                let anonymous = alternatives
                    .iter()
                    .any(|alternative| alternative.credentials.is_empty());
                if anonymous {
                    Exposed::Public
                } else {
                    Exposed::Protected
                }
            }
        };
        Self {
            api: api.into(),
            operation: operation.into(),
            described: true,
            access,
            mode,
        }
    }

    /// The whole of an API without a description.
    pub(super) fn undescribed(api: &str, access: &Option<Access>, mode: Mode) -> Self {
        Self {
            described: false,
            ..Self::new(api, "any", access, mode)
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
        .filter_map(|identity| compile_identity(identity, keys, diagnostics))
        .collect()
}

fn compile_identity(
    identity: &Identity,
    keys: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<IdentityPlan>> {
    let algorithms = identity
        .algorithms
        .iter()
        .filter_map(|name| Algorithm::from_name(&name.value))
        .collect();
    let keys = match keys.get(&identity.jwks.value) {
        Ok((keys, left_out)) => {
            diagnostics.extend(
                left_out
                    .into_iter()
                    .map(|why| Diagnostic::warning(identity.jwks.span, why)),
            );
            keys
        }
        Err(message) => {
            diagnostics.push(Diagnostic::error(identity.jwks.span, message));
            return None;
        }
    };
    let verifier = Verifier::new(Expectations {
        issuer: identity.issuer.value.clone(),
        audience: identity.audience.clone(),
        algorithms,
        leeway: identity.leeway,
        token_type: identity.token_type.clone(),
        scope_claim: identity.scope_claim.clone(),
    });
    Some(Arc::new(IdentityPlan {
        name: identity.name.value.as_str().into(),
        verifier,
        keys,
        cache: Cache::new(CACHED_TOKENS),
    }))
}

/// Which credential a scheme of the description means; the error says why none.
pub(super) type Schemes = HashMap<String, Result<CredentialPlan, Unusable>>;

/// Why a scheme cannot be kept, by how often that is said.
#[derive(Clone, Debug)]
pub(super) enum Unusable {
    /// This version does not verify it: for each operation, since each may be decided differently.
    Scheme(String),
    /// `identity` has no entry for it: once for an API, since one entry mends them all.
    Identity { message: String, help: String },
    /// The configuration's own error was reported at its place.
    Reported,
}

pub(super) fn schemes(
    config: &Config,
    api: &Api,
    description: &ApiDescription,
    identities: &[Arc<IdentityPlan>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Schemes {
    for (scheme, _) in &api.security {
        if description.security_scheme(&scheme.value).is_none() {
            let message = format!("the description has no security scheme `{}`", scheme.value);
            let known = description
                .security_schemes
                .iter()
                .map(|(name, _)| name.as_str());
            let near = fortress_model::diagnostic::did_you_mean(&scheme.value, known);
            let diagnostic = Diagnostic::error(scheme.span, message);
            diagnostics.push(match near {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            });
        }
    }
    let configured = |name: &str| {
        api.security
            .iter()
            .find(|(scheme, _)| scheme.value == name)
            .map(|(_, identity)| identity)
    };
    description
        .security_schemes
        .iter()
        .map(|(name, scheme)| {
            let identity =
                identity_for(config, api, name, configured(name), identities, diagnostics);
            let mapped = configured(name).is_some();
            let plan = identity.and_then(|identity| {
                let place = place(api, name, scheme, mapped).map_err(Unusable::Scheme)?;
                Ok(CredentialPlan { identity, place })
            });
            (name.clone(), plan)
        })
        .collect()
}

fn identity_for(
    config: &Config,
    api: &Api,
    scheme: &str,
    configured: Option<&Spanned<String>>,
    identities: &[Arc<IdentityPlan>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Arc<IdentityPlan>, Unusable> {
    if let Some(name) = configured {
        if let Some(identity) = identities
            .iter()
            .find(|identity| *identity.name == *name.value)
        {
            return Ok(Arc::clone(identity));
        }
        let message = format!("`identity` has no entry `{}`", name.value);
        let near = fortress_model::diagnostic::did_you_mean(
            &name.value,
            identities.iter().map(|known| &*known.name),
        );
        let diagnostic = Diagnostic::error(name.span, message);
        diagnostics.push(match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
        return Err(Unusable::Reported);
    }
    let api = &api.name.value;
    match identities {
        [only] => Ok(Arc::clone(only)),
        // One was written, and what is wrong with its keys was said there.
        [] if !config.identity.is_empty() => Err(Unusable::Reported),
        [] => Err(Unusable::Identity {
            message: format!(
                "API `{api}` has operations that ask for a token, but `identity` has no complete entry"
            ),
            help: "give an entry of `identity` its `issuer`, `audience` and `jwks`".into(),
        }),
        _ => Err(Unusable::Identity {
            message: format!(
                "several entries of `identity` could be meant by the security scheme `{scheme}` of API `{api}`"
            ),
            help: format!("say which: apis.{api}.security: {{ {scheme}: IDENTITY }}"),
        }),
    }
}

/// Where the credential of a scheme stands. A key (`apiKey`) is taken for a token only if the
/// configuration says so, or if it stands in `Authorization`, where older descriptions put theirs.
fn place(api: &Api, name: &str, scheme: &SecurityScheme, mapped: bool) -> Result<Place, String> {
    let not_yet = |kind: &str| {
        Err(format!(
            "the security scheme `{name}` is {kind}, which this version does not verify"
        ))
    };
    let unmapped = || {
        Err(format!(
            "the security scheme `{name}` is an API key; if it carries a JWT, say so: apis.{}.security: {{ {name}: IDENTITY }}",
            api.name.value,
        ))
    };
    match scheme {
        SecurityScheme::Bearer { .. }
        | SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. } => Ok(Place::Bearer),
        SecurityScheme::ApiKey {
            location: KeyLocation::Header,
            name: header,
        } => {
            if header.eq_ignore_ascii_case("authorization") {
                return Ok(Place::Bearer);
            }
            match HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) if mapped => Ok(Place::Header(header)),
                Ok(_) => unmapped(),
                Err(_) => Err(format!(
                    "the security scheme `{name}` names no valid header"
                )),
            }
        }
        SecurityScheme::ApiKey {
            location: KeyLocation::Cookie,
            name: cookie,
        } if mapped => Ok(Place::Cookie(cookie.as_str().into())),
        SecurityScheme::ApiKey {
            location: KeyLocation::Cookie,
            ..
        } => unmapped(),
        SecurityScheme::ApiKey {
            location: KeyLocation::Query,
            ..
        } => not_yet("a key in the query"),
        SecurityScheme::Basic => not_yet("HTTP Basic"),
        SecurityScheme::HttpOther(other) => not_yet(&format!("HTTP {other}")),
        SecurityScheme::MutualTls => not_yet("mutual TLS"),
    }
}

/// Who may call an operation. `None` if nobody decided, or the decision cannot be kept; a
/// diagnostic says which.
pub(super) fn described(
    api: &Api,
    operation: &Operation,
    effective: &Effective,
    schemes: &Schemes,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Access> {
    let mark = format!(
        "apis.{}.operations.{}: {{ public: true }}",
        api.name.value,
        key(&operation.id)
    );
    let marked = effective.public.as_ref().map(|public| public.value);
    if marked == Some(true) {
        return Some(Access::Public);
    }
    match &operation.security {
        Security::Public if marked.is_none() => Some(Access::Public),
        Security::Public | Security::Undeclared => {
            let message = format!("operation `{}` has no `security`", operation.id);
            let help = format!("add `security`, or mark it: {mark}");
            diagnostics.push(Diagnostic::error(operation.span, message).help(help));
            None
        }
        Security::AnyOf(requirements) => {
            let mut alternatives = Vec::new();
            let mut why = Vec::new();
            let mut told = false;
            for requirement in requirements {
                match alternative(requirement, schemes) {
                    Ok(alternative) => alternatives.push(alternative),
                    Err(Unusable::Scheme(cause)) => why.push(cause),
                    Err(Unusable::Reported) => told = true,
                    Err(Unusable::Identity { message, help }) => {
                        told = true;
                        once(
                            Diagnostic::error(api.name.span, message).help(help),
                            diagnostics,
                        );
                    }
                }
            }
            // One that can be kept is enough: the others are refused, which is the safe side.
            if alternatives.is_empty() {
                if !told {
                    let message = format!(
                        "operation `{}` cannot be protected: {}",
                        operation.id,
                        why.join("; ")
                    );
                    let help = format!("or leave it to the upstream: {mark}");
                    diagnostics.push(Diagnostic::error(operation.span, message).help(help));
                }
                return None;
            }
            for cause in why {
                let message = format!(
                    "operation `{}`: an alternative of `security` is refused: {cause}",
                    operation.id
                );
                diagnostics.push(Diagnostic::warning(operation.span, message));
            }
            Some(Access::AnyOf(alternatives))
        }
    }
}

/// Adds what was not said yet.
fn once(diagnostic: Diagnostic, diagnostics: &mut Vec<Diagnostic>) {
    let said = diagnostics
        .iter()
        .any(|known| known.span == diagnostic.span && known.message == diagnostic.message);
    if !said {
        diagnostics.push(diagnostic);
    }
}

/// A key as YAML takes it, and as nobody takes it for two.
fn key(operation: &str) -> String {
    if operation.contains([' ', '.', '{']) {
        format!("\"{operation}\"")
    } else {
        operation.to_owned()
    }
}

fn alternative(requirement: &Requirement, schemes: &Schemes) -> Result<Alternative, Unusable> {
    let mut alternative = Alternative {
        credentials: Vec::new(),
        scopes: Vec::new(),
    };
    for (scheme, scopes) in &requirement.0 {
        match schemes.get(scheme) {
            Some(Ok(credential)) => alternative.credentials.push(credential.clone()),
            Some(Err(why)) => return Err(why.clone()),
            None => {
                let why = format!("no security scheme `{scheme}` is declared");
                return Err(Unusable::Scheme(why));
            }
        }
        alternative.scopes.extend(scopes.iter().cloned());
    }
    Ok(alternative)
}

/// What is lost without a description, said once for each API: whoever writes `spec: none` to begin
/// with must not take a quiet start for a protected API.
pub(super) fn lost(api: &Api, access: Option<&Access>, diagnostics: &mut Vec<Diagnostic>) {
    let callers = match access {
        Some(Access::Public) => "anyone may call, ",
        Some(Access::AnyOf(_)) => "no scope is demanded, ",
        None => "",
    };
    let message = format!(
        "API `{}` has no description: {callers}every path and method passes, and parameters, bodies and answers are not checked",
        api.name.value
    );
    let help = "what holds: strict HTTP and paths, `bounds`, the token where one is demanded; a description in `spec` closes the rest";
    diagnostics.push(Diagnostic::warning(api.name.span, message).help(help));
}

/// Who may call an API without a description.
pub(super) fn undescribed(
    api: &Api,
    effective: &Effective,
    identities: &[Arc<IdentityPlan>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Access> {
    if effective.public.as_ref().is_some_and(|public| public.value) {
        return Some(Access::Public);
    }
    if identities.is_empty() {
        let message = format!(
            "API `{}` has no description and no `identity` that could vouch for callers",
            api.name.value
        );
        let help = format!(
            "add an entry to `identity`, or mark it: apis.{}.public: true",
            api.name.value
        );
        diagnostics.push(Diagnostic::error(api.name.span, message).help(help));
        return None;
    }
    let alternatives = identities.iter().map(|identity| Alternative {
        credentials: vec![CredentialPlan {
            identity: Arc::clone(identity),
            place: Place::Bearer,
        }],
        scopes: Vec::new(),
    });
    Some(Access::AnyOf(alternatives.collect()))
}
