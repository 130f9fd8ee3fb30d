//! Keys and demands of HTTP message signatures, and the forms and secrets of webhooks.

use std::{path::Path, sync::Arc};

use fortress_auth::{
    JwkSet,
    message_signature::{Component, Key, Keys, Rules},
    replay::Replays,
    webhook::{self, Content, Layout, Preset, Scheme},
};
use fortress_model::{
    Diagnostic, Secret,
    config::{Encoding, Hash, Identity, Signatures, Webhook, WebhookPreset},
};
use http::HeaderName;

use crate::keys::KeyRing;

/// Signed requests that one entry of `identity` remembers until they are too old.
pub(crate) const SIGNED_REQUESTS: usize = 1_000_000;

/// HTTP message signatures.
#[derive(Debug)]
pub(crate) struct SignaturePlan {
    pub(crate) keys: Keys,
    pub(crate) rules: Rules,
    /// What came already; `None` where it may come again.
    pub(crate) replays: Option<Arc<Replays>>,
}

/// Calls signed with a shared secret.
#[derive(Debug)]
pub(crate) struct WebhookPlan {
    pub(crate) webhook: webhook::Webhook,
    /// The field with the signature.
    pub(crate) header: HeaderName,
    /// The principal.
    pub(crate) sender: Arc<str>,
    pub(crate) replays: Arc<Replays>,
}

pub(super) fn signature(
    identity: &Identity,
    signatures: &Signatures,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SignaturePlan> {
    let keys = match keys(&signatures.keys.value) {
        Ok(keys) => Some(keys),
        Err(message) => {
            diagnostics.push(Diagnostic::error(signatures.keys.span, message));
            None
        }
    };
    let mut rules = Rules {
        tag: signatures.tag.as_deref().map(Into::into),
        max_age: signatures.max_age,
        ..Rules::default()
    };
    let mut sound = true;
    let mut required = Vec::new();
    for component in &signatures.components {
        match component.value.parse::<Component>() {
            Ok(component) => required.push(component),
            Err(message) => {
                sound = false;
                diagnostics.push(Diagnostic::error(component.span, message).help(
                    "write `@method`, `@target-uri`, `@authority`, `@path`, `@query`, or the name of a header field",
                ));
            }
        }
    }
    if !required.is_empty() {
        rules.required = required;
    }
    let keys = keys.filter(|_| sound)?;
    Some(SignaturePlan {
        keys,
        rules,
        replays: (!signatures.replay).then(|| ring.replays(&identity.name.value)),
    })
}

fn keys(path: &Path) -> Result<Keys, String> {
    let shown = path.display();
    let text = fortress_model::file::read(path)
        .map_err(|error| format!("cannot read `{shown}`: {error}"))?;
    let (set, left_out) =
        JwkSet::parse(&text).map_err(|error| format!("`{shown}` is no key set: {error}"))?;
    if let Some(why) = left_out.first() {
        return Err(format!("a key of `{shown}` cannot be used: {why}"));
    }
    Key::of_set(&set)
        .and_then(Keys::new)
        .map_err(|why| format!("`{shown}`: {why}"))
}

pub(super) fn webhook(
    identity: &Identity,
    webhook: &Webhook,
    ring: &KeyRing,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<WebhookPlan> {
    let mut fault = |message: &str| {
        let message = format!("`identity.{}.webhook`: {message}", identity.name.value);
        diagnostics.push(Diagnostic::error(identity.name.span, message));
    };
    let preset = webhook.preset.map(preset_of);
    let scheme = match scheme(webhook, preset) {
        Ok(scheme) => scheme,
        Err(message) => {
            fault(message);
            return None;
        }
    };
    let mut secrets = Vec::new();
    for (index, shown) in webhook.secrets.iter().enumerate() {
        let bytes = match preset {
            Some(preset) => preset.secret(shown.expose()),
            None => Ok(Secret::new(shown.expose().as_bytes().to_vec())),
        };
        match bytes {
            Ok(bytes) => secrets.push(bytes),
            Err(why) => {
                fault(&format!("secret {} cannot be used: {why}", index + 1));
                return None;
            }
        }
    }
    let header = scheme.header.clone();
    match webhook::Webhook::new(scheme, &secrets) {
        Ok(made) => Some(WebhookPlan {
            webhook: made,
            header,
            sender: webhook
                .sender
                .as_deref()
                .unwrap_or(&identity.name.value)
                .into(),
            replays: ring.replays(&identity.name.value),
        }),
        Err(message) => {
            fault(message);
            None
        }
    }
}

fn preset_of(preset: WebhookPreset) -> Preset {
    match preset {
        WebhookPreset::Github => Preset::Github,
        WebhookPreset::Stripe => Preset::Stripe,
        WebhookPreset::Slack => Preset::Slack,
        WebhookPreset::Standard => Preset::StandardWebhooks,
    }
}

/// The preset's form with the changes that the configuration names, or one of the operator's own.
fn scheme(webhook: &Webhook, preset: Option<Preset>) -> Result<Scheme, &'static str> {
    let named = |name: &str| {
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| "that is no name of a header field")
    };
    let header = match &webhook.header {
        Some(header) => Some(named(&header.value)?),
        None => None,
    };
    let mut scheme = match (preset, &header) {
        (Some(preset), _) => preset.scheme(),
        (None, Some(header)) => Scheme {
            header: header.clone(),
            layout: Layout::Plain("".into()),
            encoding: webhook::Encoding::Hex,
            hash: webhook::Hash::Sha256,
            content: Content::default(),
            timestamp: None,
            id: None,
            // GitHub's form has no time, and the tolerance of all forms.
            tolerance: Preset::Github.scheme().tolerance,
        },
        (None, None) => return Err("add `header` or `preset`"),
    };
    if let Some(header) = header {
        scheme.header = header;
    }
    if let Some(prefix) = &webhook.prefix {
        if !matches!(scheme.layout, Layout::Plain(_)) {
            return Err("this preset's signatures have no `prefix`");
        }
        scheme.layout = Layout::Plain(prefix.as_str().into());
    }
    match webhook.encoding {
        None => {}
        Some(Encoding::Hex) => scheme.encoding = webhook::Encoding::Hex,
        Some(Encoding::Base64) => scheme.encoding = webhook::Encoding::Base64,
    }
    match webhook.algorithm {
        None => {}
        Some(Hash::Sha256) => scheme.hash = webhook::Hash::Sha256,
        Some(Hash::Sha512) => scheme.hash = webhook::Hash::Sha512,
    }
    if let Some(timestamp) = &webhook.timestamp_header {
        if matches!(scheme.layout, Layout::Pairs(_)) {
            return Err("this preset has its time in the signature's own field");
        }
        let had_time = scheme.timestamp.replace(named(&timestamp.value)?).is_some();
        if !had_time {
            scheme.content = Content::parse("{timestamp}.{body}")?;
        }
    }
    if let Some(tolerance) = webhook.tolerance {
        scheme.tolerance = tolerance;
    }
    Ok(scheme)
}
