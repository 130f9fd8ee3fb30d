//! Who may call an operation: the description's `security`, its schemes matched with the entries of
//! `identity`.

use std::{collections::HashMap, sync::Arc};

use fortress_model::{
    Diagnostic, Mode, Span,
    config::{Api, Config, Spanned},
};
use fortress_spec::{
    ApiDescription, KeyLocation, Operation, Requirement, Security, SecurityScheme,
};
use http::{HeaderName, header};

use super::{
    Effective,
    identity::{CredentialKind, IdentityPlan},
};

/// Who may call an operation.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Anyone.
    Public,
    /// Whoever satisfies one of these.
    AnyOf(Vec<Alternative>),
}

/// Credentials that are all needed.
#[derive(Clone, Debug)]
pub(crate) struct Alternative {
    /// None for an alternative that lets anonymous requests pass.
    pub(crate) credentials: Vec<CredentialPlan>,
}

impl Alternative {
    /// It lets anonymous requests pass.
    fn is_anonymous(&self) -> bool {
        self.credentials.is_empty()
    }

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
    /// The scopes that it must carry, whatever other credentials carry.
    pub(crate) scopes: Vec<String>,
}

/// Where a credential stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// In `Authorization`, behind the name of its scheme.
    Authorization,
    /// The whole value of a header field.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A parameter of the query, where the description declares it.
    Query(Box<str>),
    /// The connection: a client certificate.
    Connection,
    /// Fields of its own kind: a message's signature.
    Message,
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
            let wanted = (name.as_str(), scheme);
            let identity = identity_for(
                config,
                api,
                wanted,
                configured(name),
                identities,
                diagnostics,
            );
            let plan = identity.and_then(|identity| {
                let place = place(name, scheme, &identity).map_err(Unusable::Scheme)?;
                Ok(CredentialPlan {
                    identity,
                    place,
                    scopes: Vec::new(),
                })
            });
            (name.clone(), plan)
        })
        .collect()
}

fn identity_for(
    config: &Config,
    api: &Api,
    (name, scheme): (&str, &SecurityScheme),
    configured: Option<&Spanned<String>>,
    identities: &[Arc<IdentityPlan>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Arc<IdentityPlan>, Unusable> {
    if let Some(wanted) = configured {
        return mapped(config, wanted, (name, scheme), identities, diagnostics);
    }
    let fitting: Vec<_> = identities
        .iter()
        .filter(|identity| fits(scheme, &identity.kind, Choice::Guessed))
        .collect();
    let api = &api.name.value;
    match fitting.as_slice() {
        [only] => Ok(Arc::clone(only)),
        // One was written, and what is wrong with it was said there.
        [] if identities.len() < config.identity.len() => Err(Unusable::Reported),
        [] => Err(lacking(api, name, scheme, identities)),
        [_, _, ..] => Err(Unusable::Identity {
            message: format!(
                "several entries of `identity` could be meant by the security scheme `{name}` of API `{api}`"
            ),
            help: format!("say which: apis.{api}.security: {{ {name}: IDENTITY }}"),
        }),
    }
}

/// The entry that the configuration names for a scheme.
fn mapped(
    config: &Config,
    wanted: &Spanned<String>,
    (name, scheme): (&str, &SecurityScheme),
    identities: &[Arc<IdentityPlan>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Arc<IdentityPlan>, Unusable> {
    let found = identities
        .iter()
        .find(|identity| *identity.name == *wanted.value);
    if let Some(identity) = found {
        if !fits(scheme, &identity.kind, Choice::Written) {
            let message = format!(
                "`{}` judges {}, and the security scheme `{name}` is {}",
                wanted.value,
                identity.kind.what(),
                scheme_name(scheme),
            );
            diagnostics.push(
                Diagnostic::error(wanted.span, message)
                    .help("name an entry of `identity` for that kind of credential"),
            );
            return Err(Unusable::Reported);
        }
        return Ok(Arc::clone(identity));
    }
    let is_written = config
        .identity
        .iter()
        .any(|identity| identity.name.value == wanted.value);
    if !is_written {
        let message = format!("`identity` has no entry `{}`", wanted.value);
        let near = fortress_model::diagnostic::did_you_mean(
            &wanted.value,
            identities.iter().map(|known| &*known.name),
        );
        let diagnostic = Diagnostic::error(wanted.span, message);
        diagnostics.push(match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }
    Err(Unusable::Reported)
}

/// No entry of `identity` fits a scheme.
fn lacking(
    api: &str,
    name: &str,
    scheme: &SecurityScheme,
    identities: &[Arc<IdentityPlan>],
) -> Unusable {
    let is_key = matches!(scheme, SecurityScheme::ApiKey { .. });
    if is_key && !identities.is_empty() {
        return Unusable::Scheme(format!(
            "the security scheme `{name}` is an API key, and `identity` has no entry with `api_key`; if it carries a JWT, say so: apis.{api}.security: {{ {name}: IDENTITY }}"
        ));
    }
    let (what, help) = match scheme {
        SecurityScheme::Bearer { .. }
        | SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. } => (
            "a token",
            "give an entry of `identity` its `issuer` and `audience`, and its `jwks` unless the keys are to be discovered",
        ),
        SecurityScheme::ApiKey { .. } => (
            "an API key",
            "add an entry to `identity`: `partners: { api_key: {} }`",
        ),
        SecurityScheme::Basic => (
            "a password",
            "add an entry to `identity`: `staff: { basic: { users: file:users } }`",
        ),
        SecurityScheme::MutualTls => (
            "a client certificate",
            "add an entry to `identity`: `machines: { certificate: { san: \"dns:*.example.com\" } }`",
        ),
        SecurityScheme::HttpOther(other) => {
            return Unusable::Scheme(format!(
                "the security scheme `{name}` is HTTP {other}; if an entry of `identity` judges it, say so: apis.{api}.security: {{ {name}: IDENTITY }}"
            ));
        }
    };
    Unusable::Identity {
        message: format!(
            "API `{api}` has operations that ask for {what}, but `identity` has no complete entry for it"
        ),
        help: help.into(),
    }
}

/// How an entry came to be considered for a scheme.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Choice {
    /// The configuration says so.
    Written,
    /// It may be the only one possible.
    Guessed,
}

/// Whether a scheme of a description may mean an entry of `identity`. A key (`apiKey`) is taken for
/// something else only if the configuration says so, or if it stands in `Authorization`, where older
/// descriptions put their tokens.
fn fits(scheme: &SecurityScheme, kind: &CredentialKind, choice: Choice) -> bool {
    match kind {
        CredentialKind::Token(_) => may_mean_token(scheme, choice),
        CredentialKind::Certificate(_) => matches!(scheme, SecurityScheme::MutualTls),
        CredentialKind::ApiKey(_) => may_mean_key(scheme, choice),
        CredentialKind::Basic(_) => matches!(scheme, SecurityScheme::Basic),
        CredentialKind::Signature(_) => is_signature(scheme, "signature", choice),
        CredentialKind::Webhook(_) => is_signature(scheme, "hmac", choice),
    }
}

fn may_mean_key(scheme: &SecurityScheme, choice: Choice) -> bool {
    match scheme {
        SecurityScheme::ApiKey { .. } => true,
        SecurityScheme::Bearer { .. } | SecurityScheme::HttpOther(_) => choice == Choice::Written,
        SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. }
        | SecurityScheme::Basic
        | SecurityScheme::MutualTls => false,
    }
}

/// OpenAPI has no words for signatures: they are described as a key in a header field, or by the
/// name of a scheme that is not registered.
fn is_signature(scheme: &SecurityScheme, name: &str, choice: Choice) -> bool {
    match scheme {
        SecurityScheme::HttpOther(other) => other.eq_ignore_ascii_case(name),
        SecurityScheme::ApiKey {
            location: KeyLocation::Header,
            ..
        } => choice == Choice::Written,
        SecurityScheme::ApiKey {
            location: KeyLocation::Cookie | KeyLocation::Query,
            ..
        }
        | SecurityScheme::Bearer { .. }
        | SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. }
        | SecurityScheme::Basic
        | SecurityScheme::MutualTls => false,
    }
}

fn may_mean_token(scheme: &SecurityScheme, choice: Choice) -> bool {
    let written = choice == Choice::Written;
    match scheme {
        SecurityScheme::Bearer { .. }
        | SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. } => true,
        SecurityScheme::ApiKey { location, name } => match location {
            KeyLocation::Header => written || name.eq_ignore_ascii_case("authorization"),
            KeyLocation::Cookie => written,
            // A token in a URL ends in logs and in the history of browsers (RFC 9700, section
            // 4.3.2).
            KeyLocation::Query => false,
        },
        SecurityScheme::HttpOther(other) => written && other.eq_ignore_ascii_case("dpop"),
        SecurityScheme::Basic | SecurityScheme::MutualTls => false,
    }
}

/// A scheme, for messages.
fn scheme_name(scheme: &SecurityScheme) -> String {
    match scheme {
        SecurityScheme::Bearer { .. } => "a bearer token".into(),
        SecurityScheme::OAuth2 { .. } => "OAuth 2.0".into(),
        SecurityScheme::OpenIdConnect { .. } => "OpenID Connect".into(),
        SecurityScheme::ApiKey { location, .. } => match location {
            KeyLocation::Header => "a key in a header field".into(),
            KeyLocation::Cookie => "a key in a cookie".into(),
            KeyLocation::Query => "a key in the query".into(),
        },
        SecurityScheme::Basic => "HTTP Basic".into(),
        SecurityScheme::HttpOther(other) => format!("HTTP {other}"),
        SecurityScheme::MutualTls => "mutual TLS".into(),
    }
}

/// Where the credential of a scheme stands.
fn place(name: &str, scheme: &SecurityScheme, identity: &IdentityPlan) -> Result<Place, String> {
    let read = match &identity.kind {
        CredentialKind::Signature(_) => Some("signature"),
        CredentialKind::Webhook(plan) => Some(plan.header.as_str()),
        CredentialKind::Token(_)
        | CredentialKind::ApiKey(_)
        | CredentialKind::Certificate(_)
        | CredentialKind::Basic(_) => None,
    };
    if let Some(read) = read {
        return match scheme {
            SecurityScheme::ApiKey { name: header, .. } if !header.eq_ignore_ascii_case(read) => {
                Err(format!(
                    "the security scheme `{name}` names the header `{header}`, and `{}` reads `{read}`",
                    identity.name
                ))
            }
            SecurityScheme::ApiKey { .. }
            | SecurityScheme::HttpOther(_)
            | SecurityScheme::Bearer { .. }
            | SecurityScheme::OAuth2 { .. }
            | SecurityScheme::OpenIdConnect { .. }
            | SecurityScheme::Basic
            | SecurityScheme::MutualTls => Ok(Place::Message),
        };
    }
    match scheme {
        SecurityScheme::Bearer { .. }
        | SecurityScheme::OAuth2 { .. }
        | SecurityScheme::OpenIdConnect { .. }
        | SecurityScheme::Basic => Ok(Place::Authorization),
        SecurityScheme::ApiKey {
            location: KeyLocation::Header,
            name: header,
        } => {
            if header.eq_ignore_ascii_case("authorization") {
                return Ok(Place::Authorization);
            }
            HeaderName::from_bytes(header.as_bytes())
                .map(Place::Header)
                .map_err(|_| format!("the security scheme `{name}` names no valid header"))
        }
        SecurityScheme::ApiKey {
            location: KeyLocation::Cookie,
            name: cookie,
        } => Ok(Place::Cookie(cookie.as_str().into())),
        SecurityScheme::ApiKey {
            location: KeyLocation::Query,
            name: query,
        } => Ok(Place::Query(query.as_str().into())),
        SecurityScheme::HttpOther(_) | SecurityScheme::MutualTls => Ok(usual_place(identity)),
    }
}

/// Where a credential stands if no description says so.
fn usual_place(identity: &IdentityPlan) -> Place {
    match &identity.kind {
        CredentialKind::Token(_) => Place::Authorization,
        CredentialKind::ApiKey(keys) if keys.header == header::AUTHORIZATION => {
            Place::Authorization
        }
        CredentialKind::ApiKey(keys) => Place::Header(keys.header.clone()),
        CredentialKind::Basic(_) => Place::Authorization,
        CredentialKind::Certificate(_) => Place::Connection,
        CredentialKind::Signature(_) | CredentialKind::Webhook(_) => Place::Message,
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
    let what = format!("operation `{}`", operation.id);
    let mark = format!(
        "apis.{}.operations.{}: {{ public: true }}",
        api.name.value,
        key(&operation.id)
    );
    let marked = effective.public.as_ref().map(|public| public.value);
    let demands = effective.require.demands_caller();
    let requirements = match &operation.security {
        Security::Public if marked != Some(false) => None,
        Security::Undeclared | Security::AnyOf(_) if marked == Some(true) => None,
        Security::Public | Security::Undeclared => {
            let message = format!("{what} has no `security`");
            let help = format!("add `security`, or mark it: {mark}");
            diagnostics.push(Diagnostic::error(operation.span, message).help(help));
            return None;
        }
        Security::AnyOf(requirements) => Some(requirements),
    };
    let Some(requirements) = requirements else {
        if demands {
            diagnostics.push(nobody(&what, operation.span));
            return None;
        }
        return Some(Access::Public);
    };
    let (mut alternatives, why, told) = usable(api, requirements, schemes, diagnostics);
    if demands && alternatives.iter().any(Alternative::is_anonymous) {
        // Whoever is anonymous could not meet it.
        alternatives.retain(|alternative| !alternative.is_anonymous());
        if alternatives.is_empty() {
            diagnostics.push(nobody(&what, operation.span));
            return None;
        }
    }
    // One that can be kept is enough: the others are refused, which is the safe side.
    if alternatives.is_empty() {
        if !told {
            let message = format!("{what} cannot be protected: {}", why.join("; "));
            let help = format!("or leave it to the upstream: {mark}");
            diagnostics.push(Diagnostic::error(operation.span, message).help(help));
        }
        return None;
    }
    for cause in why {
        let message = format!("{what}: an alternative of `security` is refused: {cause}");
        diagnostics.push(Diagnostic::warning(operation.span, message));
    }
    Some(Access::AnyOf(alternatives))
}

/// The alternatives that can be kept, why others cannot, and whether a diagnostic tells of that.
fn usable(
    api: &Api,
    requirements: &[Requirement],
    schemes: &Schemes,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<Alternative>, Vec<String>, bool) {
    let (mut alternatives, mut why, mut told) = (Vec::new(), Vec::new(), false);
    for requirement in requirements {
        match alternative(requirement, schemes) {
            Ok(alternative) => alternatives.push(alternative),
            Err(Unusable::Scheme(cause)) => why.push(cause),
            Err(Unusable::Reported) => told = true,
            Err(Unusable::Identity { message, help }) => {
                told = true;
                let diagnostic = Diagnostic::error(api.name.span, message).help(help);
                once(diagnostic, diagnostics);
            }
        }
    }
    (alternatives, why, told)
}

/// Adds what was not said yet.
pub(super) fn once(diagnostic: Diagnostic, diagnostics: &mut Vec<Diagnostic>) {
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
    };
    for (scheme, scopes) in &requirement.0 {
        match schemes.get(scheme) {
            Some(Ok(credential)) => alternative.credentials.push(CredentialPlan {
                scopes: scopes.clone(),
                ..credential.clone()
            }),
            Some(Err(why)) => return Err(why.clone()),
            None => {
                let why = format!("no security scheme `{scheme}` is declared");
                return Err(Unusable::Scheme(why));
            }
        }
    }
    Ok(alternative)
}

/// What is open to anyone and demands of callers what only known ones have.
fn nobody(what: &str, span: Span) -> Diagnostic {
    let message = format!(
        "{what} is open to anyone, and its `require` demands a known caller: nobody could call it"
    );
    let help =
        "write `require` at the operations that it is meant for, or say in `security` who may call";
    Diagnostic::error(span, message).help(help)
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
        if effective.require.demands_caller() {
            let what = format!("API `{}`", api.name.value);
            diagnostics.push(nobody(&what, api.name.span));
            return None;
        }
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
            place: usual_place(identity),
            scopes: Vec::new(),
        }],
    });
    Some(Access::AnyOf(alternatives.collect()))
}
