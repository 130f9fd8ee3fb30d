//! What upstreams are told of callers: `apis.NAME.upstream.identity` and `internal_tokens`.
//!
//! Keys that the gateway made and tokens that it got survive a reload. Deliberately not here: telling
//! (`told`).

use std::{path::PathBuf, sync::Arc, time::Duration};

use fortress_auth::{
    Algorithm,
    exchange::ExchangeFor,
    internal::{InternalIssuer, InternalKeys},
    sign::SigningKey,
};
use fortress_model::{
    Clock as _, Diagnostic, SystemClock, Timestamp,
    config::{
        Api, Config, Exchange, Forward, IdentityKind, InternalTokens, Serve, Spanned,
        UpstreamIdentity,
    },
};
use fortress_spec::{Operation, parameter::Location};
use http::HeaderName;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};

use super::{Access, CredentialPlan, Gateway, Place, access::Schemes, tls};
use crate::{
    fetch::Fetcher,
    told::{ExchangeSettings, Exchanger, Speaker, Telling, Way},
};

/// How long an internal token holds if nobody says.
const LIFETIME: Duration = Duration::from_secs(60);

/// What speaks for the gateway, and outlives a configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voices {
    /// `None` where no upstream gets internal tokens.
    pub(crate) speaker: Option<Arc<Speaker>>,
    /// How often its keys are replaced.
    pub(crate) rotate: Duration,
    exchangers: Vec<Arc<Exchanger>>,
}

/// Makes them, as far as an earlier configuration did not.
pub(super) struct Voicing<'a> {
    config: &'a Config,
    before: Option<&'a Voices>,
    voices: Voices,
    /// Its trusted certificates are read once.
    fetcher: Option<Fetcher>,
    /// The keys could not be had, which was said.
    mute: bool,
}

impl<'a> Voicing<'a> {
    pub(super) fn new(config: &'a Config, before: Option<&'a Gateway>) -> Self {
        Self {
            config,
            before: before.map(|gateway| &gateway.voices),
            voices: Voices {
                rotate: config.internal_tokens.rotate,
                ..Voices::default()
            },
            fetcher: None,
            mute: false,
        }
    }

    pub(super) fn into_voices(self) -> Voices {
        self.voices
    }

    /// What the upstream of an API is told.
    pub(super) fn telling(&mut self, api: &Api, diagnostics: &mut Vec<Diagnostic>) -> Telling {
        let identity = &api.upstream.identity;
        let field = identity.header.as_ref().and_then(|name| field(&name.value));
        let way = match identity.forward {
            Forward::Token => Way::AsItCame,
            Forward::None | Forward::Claims => Way::Removed,
            Forward::InternalJwt => self
                .internal(api, field, diagnostics)
                .unwrap_or(Way::Removed),
            Forward::Exchange => match &identity.exchange {
                Some(exchange) => self.exchanged(api, exchange, field),
                None => Way::Removed,
            },
        };
        let headers = identity.headers.iter();
        Telling {
            way,
            fields: headers
                .filter_map(|(name, what)| Some((field_of(name)?, what.clone())))
                .collect(),
            certificate: identity.certificate,
            ours: ours(self.config, identity),
        }
    }

    fn internal(
        &mut self,
        api: &Api,
        field: Option<HeaderName>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Way> {
        let identity = &api.upstream.identity;
        let name = &api.name.value;
        let issuer = InternalIssuer::new(
            &self.config.internal_tokens.issuer,
            identity.audience.as_deref().unwrap_or(name),
            identity.lifetime.unwrap_or(LIFETIME),
            identity
                .claims
                .iter()
                .map(|claim| claim.as_str().into())
                .collect(),
        );
        let issuer = issuer
            .map_err(|why| {
                let message = format!("`apis.{name}.upstream.identity`: {why}");
                diagnostics.push(Diagnostic::error(api.name.span, message));
            })
            .ok()?;
        let served = self.config.listen.iter();
        if !served
            .into_iter()
            .any(|listener| matches!(listener.serve, Serve::Operations))
        {
            let message = format!(
                "nothing serves the keys that the upstream of API `{name}` verifies internal tokens by"
            );
            diagnostics.push(Diagnostic::warning(api.name.span, message).help(
                "add a listener: `listen: [{ address: 127.0.0.1:9090, serve: operations }]`",
            ));
        }
        let speaker = self.speaker(diagnostics)?;
        Some(Way::Internal {
            issuer,
            speaker,
            field,
        })
    }

    fn speaker(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Arc<Speaker>> {
        if let Some(speaker) = &self.voices.speaker {
            return Some(Arc::clone(speaker));
        }
        if self.mute {
            return None;
        }
        let settings = &self.config.internal_tokens;
        let before = self.before.and_then(|before| before.speaker.as_ref());
        let now = SystemClock.now();
        let speaker = match (&settings.key, before.filter(|speaker| speaker.is_own())) {
            (Some(key), _) => operators(settings, key, now, diagnostics).map(Arc::new),
            (None, Some(before)) => Some(Arc::clone(before)),
            (None, None) => match Speaker::new(now) {
                Ok(speaker) => Some(Arc::new(speaker)),
                Err(message) => {
                    diagnostics.push(Diagnostic::error(None, message));
                    None
                }
            },
        };
        self.mute = speaker.is_none();
        self.voices.speaker.clone_from(&speaker);
        speaker
    }

    fn exchanged(&mut self, api: &Api, exchange: &Exchange, field: Option<HeaderName>) -> Way {
        let audience = api.upstream.identity.audience.as_ref();
        let to = ExchangeFor {
            // A resource names the upstream already.
            audience: match (audience, &exchange.resource) {
                (Some(audience), _) => Some(audience.clone()),
                (None, Some(_)) => None,
                (None, None) => Some(api.name.value.clone()),
            },
            resource: exchange.resource.clone(),
            scopes: exchange.scopes.clone(),
        };
        let endpoint = &exchange.endpoint.value;
        let secret = &exchange.client_secret;
        let settings = ExchangeSettings::new(endpoint, &exchange.client_id, secret, to);
        let earlier = self.before.map_or(&[][..], |before| &before.exchangers);
        let mut known = self.voices.exchangers.iter().chain(earlier);
        let exchanger = match known.find(|known| known.serves(&settings)) {
            Some(known) => Arc::clone(known),
            None => {
                let fetcher = self.fetcher.get_or_insert_with(Fetcher::new).clone();
                Arc::new(Exchanger::new(settings, fetcher))
            }
        };
        self.voices.exchangers.push(Arc::clone(&exchanger));
        Way::Exchanged { exchanger, field }
    }
}

/// The operator's keys, from their files.
fn operators(
    settings: &InternalTokens,
    key: &Spanned<PathBuf>,
    now: Timestamp,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Speaker> {
    let mut read = |file: &Spanned<PathBuf>| match signing_key(file) {
        Ok(key) => Some(key),
        Err(message) => {
            let help = "make one: `openssl genpkey -algorithm ED25519 -out internal.pem`";
            diagnostics.push(Diagnostic::error(file.span, message).help(help));
            None
        }
    };
    let current = read(key);
    let published = match &settings.previous_key {
        Some(file) => read(file).map(Some),
        None => Some(None),
    };
    match InternalKeys::fixed(current?, published?, now) {
        Ok(keys) => Some(Speaker::fixed(keys)),
        Err(message) => {
            diagnostics.push(Diagnostic::error(key.span, message));
            None
        }
    }
}

/// A key of the operator's, named by its thumbprint, so that all instances name it alike.
fn signing_key(file: &Spanned<PathBuf>) -> Result<SigningKey, String> {
    let pem = tls::read(&file.value)?;
    let unfit = || {
        let shown = file.value.display();
        format!("`{shown}` holds no private key of EC P-256 or Ed25519 in PKCS#8 PEM")
    };
    // The parser's own error could show a piece of the key.
    let Ok(PrivateKeyDer::Pkcs8(der)) = PrivateKeyDer::from_pem_slice(&pem) else {
        return Err(unfit());
    };
    // `EdDSA` is what libraries know; the name of RFC 9864 is young.
    [Algorithm::Es256, Algorithm::EdDsa]
        .into_iter()
        .find_map(|algorithm| SigningKey::from_pkcs8(algorithm, "", der.secret_pkcs8_der()).ok())
        .and_then(|key| key.named_by_thumbprint().ok())
        .ok_or_else(unfit)
}

/// The fields that clients may not use.
fn ours(config: &Config, identity: &UpstreamIdentity) -> Vec<Box<str>> {
    let told = identity.headers.iter().map(|(name, _)| name.value.as_str());
    let header = identity.header.as_ref().map(|name| name.value.as_str());
    let proxied = config
        .identity
        .iter()
        .filter_map(|identity| match &identity.kind {
            IdentityKind::Certificate(certificates) => {
                Some(certificates.header.as_ref()?.value.as_str())
            }
            IdentityKind::Issuer(_)
            | IdentityKind::ApiKey(_)
            | IdentityKind::Basic(_)
            | IdentityKind::Signature(_)
            | IdentityKind::Webhook(_) => None,
        });
    let names = told.chain(header).chain(proxied);
    // A client may send `Authorization`: what becomes of it is decided with the credential.
    let names = names.filter(|name| !name.eq_ignore_ascii_case("authorization"));
    names.map(|name| name.to_ascii_lowercase().into()).collect()
}

fn field(name: &str) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).ok()
}

fn field_of(name: &Spanned<String>) -> Option<HeaderName> {
    field(&name.value)
}

/// Where an operation's requests may show a credential, `Authorization` aside, which always counts:
/// where its own alternatives stand, and the header fields and cookies of all schemes of its API,
/// unless the operation declares a parameter of that name.
pub(super) fn credentials(
    access: &Access,
    schemes: Option<&Schemes>,
    operation: Option<&Operation>,
) -> Vec<Place> {
    let alternatives: &[_] = match access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    let own = alternatives
        .iter()
        .flat_map(|alternative| &alternative.credentials);
    let declares = |location: Location, name: &str| {
        operation.is_some_and(|operation| {
            let mut parameters = operation.parameters.iter();
            parameters.any(|parameter| {
                parameter.location == location && parameter.name.eq_ignore_ascii_case(name)
            })
        })
    };
    let is_foreign = |credential: &&CredentialPlan| match &credential.place {
        Place::Header(name) => !declares(Location::Header, name.as_str()),
        Place::Cookie(name) => !declares(Location::Cookie, name),
        Place::Authorization | Place::Query(_) | Place::Connection | Place::Message => false,
    };
    let others = schemes
        .into_iter()
        .flat_map(|schemes| schemes.values())
        .filter_map(|scheme| scheme.as_ref().ok())
        .filter(is_foreign);
    let mut places: Vec<Place> = Vec::new();
    for credential in own.chain(others) {
        if !places.contains(&credential.place) {
            places.push(credential.place.clone());
        }
    }
    places
}
