//! `identity.NAME.login`, compiled: the keys of the cookies, the client, and where the gateway answers
//! by itself.

use std::sync::Arc;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD},
};
use fortress_auth::{
    Algorithm, IdTokenVerifier,
    login::{Client, ClientSecret, Lifetimes},
    session::{KEY, Sealer},
};
use fortress_model::{
    Diagnostic, Secret,
    config::{Config, Identity, Issuer, KeySource, Login, Serve, Spanned},
};

use super::{CredentialKind, IdentityPlan};
use crate::{
    browser_login::{LoginPlan, Logins, Paths},
    keys::{KeyRing, Keys},
};

/// The login of an issuer, if it has one.
pub(super) fn of(
    of: (&Config, &Identity, &Issuer),
    by: (&Arc<Keys>, &[Algorithm]),
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Option<Arc<LoginPlan>>> {
    let Some(login) = &of.2.login else {
        return Some(None);
    };
    let plan = compile(of, login, by, ring, diagnostics)?;
    Some(Some(Arc::new(plan)))
}

fn compile(
    (config, identity, issuer): (&Config, &Identity, &Issuer),
    login: &Login,
    (keys, algorithms): (&Arc<Keys>, &[Algorithm]),
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<LoginPlan> {
    let name = &identity.name.value;
    let before = diagnostics.len();
    reachable(identity, issuer, login, diagnostics);
    kept(config, identity, login, diagnostics);
    apart(config, identity, login, diagnostics);
    let mut key = |key: &Spanned<Secret<String>>, which: &str| match decoded(&key.value) {
        Some(key) => Some(key),
        None => {
            let message = format!("`identity.{name}.login.{which}` is not {KEY} bytes in base64");
            let help = "make one: `openssl rand -base64 32`";
            diagnostics.push(Diagnostic::error(key.span, message).help(help));
            None
        }
    };
    let current = key(&login.key, "key");
    let previous = login
        .previous_key
        .as_ref()
        .map(|previous| key(previous, "previous_key"));
    if diagnostics.len() > before {
        return None;
    }
    let issuer_name = issuer.issuer.value.clone();
    // A line break is in neither.
    let client = format!("{issuer_name}\n{}", login.client_id);
    let sealer = Sealer::new(&current?, previous.flatten().as_ref(), &client).ok()?;
    let secret = match (&login.client_secret, login.secret_in_form) {
        (None, _) => ClientSecret::None,
        (Some(secret), true) => ClientSecret::Post(secret.clone()),
        (Some(secret), false) => ClientSecret::Basic(secret.clone()),
    };
    Some(LoginPlan {
        name: name.as_str().into(),
        client: Client {
            id: login.client_id.clone(),
            scopes: login.scopes.clone(),
            secret,
        },
        sealer,
        lifetimes: Lifetimes {
            idle: login.idle,
            absolute: login.absolute,
        },
        id_tokens: IdTokenVerifier::new(
            issuer_name.clone(),
            login.client_id.clone(),
            algorithms.to_vec(),
            issuer.leeway,
        ),
        issuer: issuer_name,
        keys: Arc::clone(keys),
        endpoints: login.endpoints.clone(),
        paths: Paths {
            login: login.login_path.value.clone(),
            callback: login.callback.value.clone(),
            logout: login.logout.value.clone(),
            after_logout: login.after_logout.clone(),
        },
        origin: login.origin.clone(),
        logout_at_issuer: login.logout_at_issuer,
        prompt: login.prompt,
        scope_claim: issuer.claims.scope.clone(),
        memory: ring.login(name),
        store: ring.store(),
    })
}

/// The logins of all entries.
pub(in crate::compile) fn logins(identities: &[Arc<IdentityPlan>]) -> Logins {
    let login = |identity: &Arc<IdentityPlan>| match &identity.kind {
        CredentialKind::Token(token) => token.login.clone(),
        CredentialKind::ApiKey(_)
        | CredentialKind::Certificate(_)
        | CredentialKind::Basic(_)
        | CredentialKind::Signature(_)
        | CredentialKind::Webhook(_) => None,
    };
    Logins(identities.iter().filter_map(login).collect())
}

fn decoded(key: &Secret<String>) -> Option<Secret<Vec<u8>>> {
    let text = key.expose().trim();
    let engines = [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD];
    let bytes = engines
        .into_iter()
        .find_map(|engine| engine.decode(text).ok())?;
    let bytes = Secret::new(bytes);
    (bytes.expose().len() == KEY).then_some(bytes)
}

/// What is not discovered must be written.
fn reachable(
    identity: &Identity,
    issuer: &Issuer,
    login: &Login,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let name = &identity.name.value;
    match &issuer.keys {
        KeySource::Discovery => {}
        KeySource::Secret(_) => {
            let message = format!("`identity.{name}.login` needs the issuer's public keys");
            let help = "put the login into an entry of its own, without `secret`";
            diagnostics.push(Diagnostic::error(identity.name.span, message).help(help));
        }
        KeySource::Jwks(_) => {
            let missing: Vec<&str> = [
                ("authorization", &login.endpoints.authorization),
                ("token", &login.endpoints.token),
            ]
            .into_iter()
            .filter_map(|(name, endpoint)| endpoint.is_none().then_some(name))
            .collect();
            if missing.is_empty() {
                return;
            }
            let message = format!(
                "`identity.{name}.login.endpoints` has no `{}`, and with `jwks` nothing is discovered",
                missing.join("` and no `")
            );
            let help = "add it, or remove `jwks`: all is then discovered from `issuer`";
            diagnostics.push(Diagnostic::error(identity.name.span, message).help(help));
        }
    }
}

/// Browsers take cookies with `__Host-` over TLS alone: a login that no browser can end is a mistake.
fn kept(config: &Config, identity: &Identity, login: &Login, diagnostics: &mut Vec<Diagnostic>) {
    let is_proxied = !config.trusted_proxies.is_empty()
        || login
            .origin
            .as_ref()
            .is_some_and(|origin| origin.starts_with("https://"));
    if is_proxied {
        return;
    }
    for listener in &config.listen {
        let address = listener.address.value;
        let is_plain = matches!(listener.serve, Serve::Apis { tls: None, .. });
        if !is_plain || address.ip().is_loopback() {
            continue;
        }
        let name = &identity.name.value;
        let message = format!(
            "`identity.{name}.login` does not work at `{address}`: browsers keep a session over TLS alone"
        );
        let help =
            "add `tls`; behind a proxy that speaks it, add `trusted_proxies` or `login.origin`";
        diagnostics.push(Diagnostic::error(listener.address.span, message).help(help));
    }
}

/// No two pages have one path.
fn apart(config: &Config, identity: &Identity, login: &Login, diagnostics: &mut Vec<Diagnostic>) {
    let paths = |login: &Login| {
        [&login.login_path, &login.callback, &login.logout].map(|path| path.value.clone())
    };
    let own = paths(login);
    let others = config
        .identity
        .iter()
        .take_while(|other| other.name.value != identity.name.value)
        .filter_map(|other| other.issuer()?.login.as_ref())
        .flat_map(paths);
    let mut known: Vec<String> = others.collect();
    for path in own {
        let name = &identity.name.value;
        if path.is_empty() || path == login.after_logout {
            let message = format!("`identity.{name}.login` has a page at `{}/`", path);
            let help =
                "that is a page of the API's: give `callback` and `logout` paths of their own";
            diagnostics.push(Diagnostic::error(login.callback.span, message).help(help));
        } else if known.contains(&path) {
            let message = format!("`identity.{name}.login` has two pages at `{path}`");
            let help = "give it a `path` of its own";
            diagnostics.push(Diagnostic::error(login.callback.span, message).help(help));
        }
        known.push(path);
    }
}
