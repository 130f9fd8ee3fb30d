//! `identity`: who vouches for callers.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Identity, JwksSource, Spanned,
    reader::{Entry, Fields, Literal, Reader},
    scalar,
};
use crate::diagnostic::did_you_mean;

/// Tolerated where nothing is said: clocks that are kept by NTP differ by less.
const LEEWAY: Duration = Duration::from_secs(30);

/// Signatures by asymmetric keys only (RFC 7518, section 3.1; RFC 8037, 8812, 9864 and 9964).
const ALGORITHMS: &[&str] = &[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "ES256K",
    "EdDSA",
    "Ed25519",
    "ML-DSA-44",
    "ML-DSA-65",
    "ML-DSA-87",
];

impl Reader<'_> {
    pub(super) fn identity(&mut self, entry: &Entry<'_>) -> Vec<Identity> {
        let mut found = Vec::new();
        for (name, inner) in self.entries(entry) {
            self.identifier(&name.value, name.span, "an identity");
            found.extend(self.issuer(name, &inner));
        }
        found
    }

    fn issuer(&mut self, name: Spanned<String>, entry: &Entry<'_>) -> Option<Identity> {
        let fields = self.fields(entry)?;
        let issuer = fields.get("issuer").and_then(|entry| self.text(&entry));
        let jwks = fields.get("jwks").and_then(|entry| self.key_set(&entry));
        let audience = fields.get("audience").map(|entry| self.audience(&entry));
        let algorithms = fields
            .get("algorithms")
            .map(|entry| self.algorithms(&entry));
        let leeway = fields.get("leeway").map(|entry| self.duration(&entry));
        let token_type = fields.get("type").map(|entry| self.token_type(&entry));
        let scope_claim = self.scope_claim(&fields);
        Some(Identity {
            name,
            issuer: issuer?,
            jwks: jwks?,
            audience: audience.filter(|list| !list.is_empty())?,
            algorithms: algorithms.unwrap_or_default(),
            leeway: leeway.flatten().unwrap_or(LEEWAY),
            token_type: token_type.flatten(),
            scope_claim,
        })
    }

    fn key_set(&mut self, entry: &Entry<'_>) -> Option<Spanned<JwksSource>> {
        let (text, shown, literal) = self.path_text(entry)?;
        let span = entry.node.span;
        if let Some(path) = text.strip_prefix("file:") {
            if path.trim().is_empty() || path.chars().any(char::is_control) {
                let message = format!("`{}`: `{shown}` is not a path", entry.path);
                self.error(
                    span,
                    message,
                    "write `file:` and a path, relative to this file",
                );
                return None;
            }
            let path = self.directory.join(path);
            self.watch(&path);
            return Some(Spanned {
                value: JwksSource::File(path),
                span,
            });
        }
        let message = format!("`{}`: `{shown}` is not a key set's place", entry.path);
        if !text.contains("://") {
            let help = if literal == Literal::Text && !text.starts_with('{') {
                format!("write `file:{shown}`, or an https URL")
            } else {
                "write `file:` and a path, or an https URL".to_owned()
            };
            self.error(span, message, help);
            return None;
        }
        // A query may be part of such a URL, unlike of an upstream's.
        let (before_query, _) = text.split_once('?').unwrap_or((&text, ""));
        let has_odd_bytes = !text.bytes().all(|byte| byte.is_ascii_graphic());
        match url(before_query) {
            _ if has_odd_bytes || text.contains('#') => {
                self.error(span, message, "write a URL without spaces and without `#`");
                None
            }
            Err(help) if literal == Literal::Text => {
                self.error(span, message, help);
                None
            }
            Err(_) => {
                self.error(span, message, "it must hold an https URL");
                None
            }
            Ok(Reach::Exposed) => {
                let message = format!(
                    "`{}`: keys from `{shown}` could be replaced on their way",
                    entry.path
                );
                self.error(
                    span,
                    message,
                    "write `https://`; `http://` is for loopback addresses alone",
                );
                None
            }
            Ok(Reach::Safe) => Some(Spanned {
                value: JwksSource::Url(text),
                span,
            }),
        }
    }

    fn audience(&mut self, entry: &Entry<'_>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let mut audience = Vec::new();
        for item in self.items(entry) {
            if let Some(text) = self.text(&item)
                && self.once(&mut seen, &text.value, text.span, &entry.path)
            {
                audience.push(text.value);
            }
        }
        audience
    }

    fn algorithms(&mut self, entry: &Entry<'_>) -> Vec<Spanned<String>> {
        let mut seen = BTreeSet::new();
        let mut algorithms = Vec::new();
        for item in self.items(entry) {
            let Some(name) = self.text(&item) else {
                continue;
            };
            if ALGORITHMS.contains(&name.value.as_str()) {
                if self.once(&mut seen, &name.value, name.span, &entry.path) {
                    algorithms.push(name);
                }
                continue;
            }
            let upper = name.value.to_ascii_uppercase();
            let (message, help) = if upper == "NONE" {
                (
                    "algorithm `none` means no signature: anyone could write tokens".to_owned(),
                    "remove it (RFC 8725, section 3.2)".to_owned(),
                )
            } else if upper.starts_with("HS") {
                (
                    format!(
                        "algorithm `{}` is refused: whoever can check such tokens can write them",
                        name.value
                    ),
                    "have the issuer sign with a private key, such as `ES256`".to_owned(),
                )
            } else {
                let near = did_you_mean(&name.value, ALGORITHMS.iter().copied());
                let help = match near {
                    // So like a name that is known, and yet another curve.
                    Some(near) if upper != "ED448" => format!("did you mean `{near}`?"),
                    Some(_) | None => format!("known are `{}`", ALGORITHMS.join("`, `")),
                };
                (format!("unknown algorithm `{}`", name.value), help)
            };
            self.error(name.span, message, help);
        }
        algorithms
    }

    /// The `typ` of a token: a media type, whose `application/` may be left out (RFC 7515, section
    /// 4.1.9).
    fn token_type(&mut self, entry: &Entry<'_>) -> Option<String> {
        let text = self.text(entry)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+/".contains(&byte);
        if text.value.bytes().all(is_token) {
            return Some(text.value);
        }
        let message = format!("`{}`: `{}` is not a media type", entry.path, text.value);
        self.error(text.span, message, "write for example `at+jwt`");
        None
    }

    fn scope_claim(&mut self, fields: &Fields<'_>) -> Option<String> {
        let entry = fields.get("claims")?;
        let claims = self.fields(&entry)?;
        let scope = claims.get("scope")?;
        let text = self.text(&scope)?;
        if text.value.split('.').any(str::is_empty) {
            let message = format!("`{}`: `{}` is not a path of claims", scope.path, text.value);
            self.error(
                text.span,
                message,
                "write names with dots between them: `realm.scopes`",
            );
            return None;
        }
        Some(text.value)
    }
}

/// Who stands between the gateway and a URL.
enum Reach {
    /// TLS or this machine keeps others out.
    Safe,
    Exposed,
}

fn url(text: &str) -> Result<Reach, String> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err("write an https URL".into());
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let origin = scalar::origin(&format!("{scheme}://{authority}"))?;
    if origin.tls || scalar::is_loopback(&origin) {
        Ok(Reach::Safe)
    } else {
        Ok(Reach::Exposed)
    }
}
