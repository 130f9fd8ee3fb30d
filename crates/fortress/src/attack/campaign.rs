//! What is attacked: the running demo, or the gateway of a configuration.
//!
//! Deliberately not here: how it is attacked, and what is shown of it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use fortress_audit::attack::{Credential, Sources, Subject, Tokens, Wrong};
use fortress_gateway::{Compiled, Exposed, KeyRing, compile};
use fortress_model::{
    Bounds, Diagnostic, Severity,
    config::{
        self, Api, Config, Cookies, JwksSource, KeySource, Network, RequestUndeclared, Serve,
    },
};
use fortress_spec::Policy;

use super::Flags;
use crate::{
    check::readable, command::Usage, demo::state::State, environment, references::Machine,
};

/// What is attacked.
pub(super) struct Campaign {
    pub(super) target: String,
    tokens: Tokens,
    /// Whom the target believes who its clients are.
    trusted_proxies: Vec<Network>,
    /// Each API, with the host that it answers to and its upstream.
    pub(super) subjects: Vec<(Subject, Option<String>, String)>,
}

impl Campaign {
    pub(super) fn find(flags: &Flags) -> Result<Self> {
        let state = match &flags.config {
            Some(_) => None,
            None => State::read()?,
        };
        let (path, mut tokens, demo) = match state {
            Some(state) => (state.config, state.tokens, Some(state.fortress)),
            None => (written(flags)?, Tokens::default(), None),
        };
        given(flags, &mut tokens)?;
        let (config, compiled) = sound(&path)?;
        if tokens.keys.is_none() {
            tokens.keys = keys(&config);
        }
        let target = match flags.target.clone().or(demo).or_else(|| listener(&config)) {
            Some(target) => target,
            None => {
                let message =
                    "the configuration has no listener for APIs; name the target with --target URL";
                return Err(Usage(message.into()).into());
            }
        };
        let subjects: Vec<_> = compiled
            .descriptions
            .iter()
            .filter_map(|(name, description)| {
                let api = config.apis.iter().find(|api| api.name.value == *name)?;
                let bounds = bounds(&config, api);
                let subject = Subject {
                    description: Arc::clone(description),
                    base_path: api.base_path.as_ref().map(|path| path.value.clone()),
                    public: public(&compiled, name),
                    policy: policy(&bounds),
                    bounds,
                    tokens: tokens.clone(),
                    limit: flags.limit,
                    // Both are known when there is a target.
                    sources: Sources::One,
                    drawn: 0,
                };
                Some((subject, host(api), upstream(api)))
            })
            .collect();
        if subjects.is_empty() {
            let message = "no API of the configuration has a description to make attacks from";
            return Err(Usage(message.into()).into());
        }
        Ok(Self {
            target,
            tokens,
            trusted_proxies: config.trusted_proxies,
            subjects,
        })
    }

    /// Whether the target believes what this address says of others.
    pub(super) fn believes(&self, address: IpAddr) -> bool {
        let mut trusted = self.trusted_proxies.iter();
        trusted.any(|network| network.contains(address))
    }

    pub(super) fn names(&self) -> Vec<(String, String)> {
        self.tokens
            .genuine
            .iter()
            .map(|credential| (credential.name.clone(), credential.token.clone()))
            .collect()
    }
}

/// The configuration that was named, or the one that lies here.
fn written(flags: &Flags) -> Result<PathBuf> {
    if let Some(config) = &flags.config {
        return Ok(config.clone());
    }
    let path = PathBuf::from("fortress.yaml");
    if path.exists() {
        return Ok(path);
    }
    let message =
        "no demo is running and there is no fortress.yaml here; name one, or start `fortress demo`";
    Err(Usage(message.into()).into())
}

/// Adds the tokens that the flags name; they come before the demo's.
fn given(flags: &Flags, tokens: &mut Tokens) -> Result<()> {
    for (number, reference) in flags.token.iter().enumerate() {
        let (name, token) = secret(reference)?;
        tokens.genuine.insert(number, Credential { name, token });
    }
    if let Some(reference) = &flags.expired_token {
        tokens.wrong.push((Wrong::Expired, secret(reference)?.1));
    }
    Ok(())
}

/// A configuration without errors: one that has any is not what runs.
fn sound(path: &Path) -> Result<(Config, Compiled)> {
    readable(path)?;
    let (config, mut sources, _) = config::load_with(path, &Machine::default());
    let Some(config) = config else {
        anyhow::bail!(
            "`{}` has errors; see them with `fortress check {0}`",
            path.display()
        );
    };
    let compiled = compile(&config, &mut sources, &KeyRing::default(), 0);
    let wrong = |found: &Diagnostic| found.severity == Severity::Error;
    if compiled.diagnostics.iter().any(wrong) {
        anyhow::bail!(
            "`{}` has errors; see them with `fortress check {0}`",
            path.display()
        );
    }
    Ok((config, compiled))
}

fn public(compiled: &Compiled, api: &str) -> BTreeSet<String> {
    compiled
        .exposures
        .iter()
        .filter(|exposure| exposure.api == api && exposure.access == Exposed::Public)
        .map(|exposure| exposure.operation.clone())
        .collect()
}

/// The name and value of an `env:NAME`. A literal would be in the shell's history and in every
/// process list.
fn secret(reference: &str) -> Result<(String, String)> {
    let Some(name) = reference.strip_prefix("env:") else {
        return Err(
            Usage("a token is given as env:NAME, the variable that holds it".into()).into(),
        );
    };
    match environment::variable(name) {
        Some(value) if !value.trim().is_empty() => Ok((name.to_owned(), value.trim().to_owned())),
        Some(_) | None => Err(Usage(format!("the variable `{name}` is not set")).into()),
    }
}

fn keys(config: &Config) -> Option<String> {
    config
        .identity
        .iter()
        .filter_map(|identity| identity.issuer())
        .find_map(|issuer| match &issuer.keys {
            KeySource::Jwks(jwks) => match &jwks.value {
                JwksSource::File(path) => std::fs::read_to_string(path).ok(),
                JwksSource::Url(_) => None,
            },
            KeySource::Discovery | KeySource::Secret(_) => None,
        })
}

/// The first listener for APIs, as a URL that reaches it from here.
fn listener(config: &Config) -> Option<String> {
    config
        .listen
        .iter()
        .find_map(|listener| match &listener.serve {
            Serve::Apis { tls, .. } => {
                let mut address: SocketAddr = listener.address.value;
                if address.ip().is_unspecified() {
                    address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
                }
                Some(format!(
                    "{}://{address}",
                    if tls.is_some() { "https" } else { "http" }
                ))
            }
            Serve::RedirectHttps | Serve::Operations => None,
        })
}

fn host(api: &Api) -> Option<String> {
    api.hosts.first().map(|host| match host.strip_prefix("*.") {
        Some(domain) => format!("www.{domain}"),
        None => host.clone(),
    })
}

fn upstream(api: &Api) -> String {
    api.upstream
        .endpoints
        .first()
        .map(|endpoint| {
            let origin = &endpoint.url.value;
            let host = if origin.host.contains(':') {
                format!("[{}]", origin.host)
            } else {
                origin.host.clone()
            };
            format!(
                "{}://{host}:{}{}",
                if origin.tls { "https" } else { "http" },
                origin.port,
                origin.prefix
            )
        })
        .unwrap_or_default()
}

fn bounds(config: &Config, api: &Api) -> Bounds {
    let mut bounds = Bounds::default();
    config.defaults.bounds.apply(&mut bounds);
    api.settings.bounds.apply(&mut bounds);
    bounds
}

/// What the description forbids, whatever the configuration allows: the difference is a finding.
fn policy(bounds: &Bounds) -> Policy {
    Policy {
        undeclared: RequestUndeclared::Refuse,
        cookies: Cookies::Allow,
        depth: bounds.depth,
        properties: bounds.properties,
        items: bounds.items,
        parts: bounds.parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_from_the_environment_alone() {
        assert!(secret("eyJhbGciOi").unwrap_err().is::<Usage>());
        assert!(
            secret("env:FORTRESS_TEST_NO_SUCH_VARIABLE")
                .unwrap_err()
                .is::<Usage>()
        );
    }
}
