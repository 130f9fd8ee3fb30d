//! `identity`: who vouches for callers.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{
    ApiKeys, Basic, ClaimPaths, ClientCertificates, Clients, Demand, Dpop, Encoding, Hash,
    Identity, IdentityKind, Introspection, Issuer, JwksSource, KeySource, Signatures, Spanned,
    Webhook, WebhookPreset, WhichTokens,
    identity_keys::{KINDS, OF_ISSUER},
    reader::{Entry, Fields, Literal, PathUse, Reader},
    scalar::{self, BadUrl},
};
use crate::{diagnostic::did_you_mean, document::read::shorten, secret::Secret};

/// Tolerated where nothing is said: clocks that are kept by NTP differ by less.
const LEEWAY: Duration = Duration::from_secs(30);

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

/// Only with `secret` (RFC 7518, section 3.2).
const SYMMETRIC: &[&str] = &["HS256", "HS384", "HS512"];

impl Reader<'_> {
    pub(super) fn identity(&mut self, entry: &Entry<'_>) -> Vec<Identity> {
        let mut found = Vec::new();
        for (name, inner) in self.entries(entry) {
            self.identifier(&name.value, name.span, "an identity");
            if let Some(kind) = self.identity_kind(&inner) {
                found.push(Identity { name, kind });
            }
        }
        found
    }

    /// One key tells what kind of credential an entry judges.
    fn identity_kind(&mut self, entry: &Entry<'_>) -> Option<IdentityKind> {
        let fields = self.fields(entry)?;
        let given: Vec<Entry<'_>> = KINDS.iter().filter_map(|name| fields.get(name)).collect();
        let kind = match given.as_slice() {
            [one] => one,
            [] => {
                let speaks_of_tokens = OF_ISSUER.iter().any(|name| fields.get(name).is_some());
                let message = format!("`{}` has no `issuer`", entry.path);
                let help = if speaks_of_tokens {
                    "add `issuer`: the token's `iss`, compared exactly".to_owned()
                } else {
                    format!("add one of `{}`", KINDS.join("`, `"))
                };
                self.error(entry.place, message, help);
                return None;
            }
            [_, second, ..] => {
                let message = format!("`{}` has two kinds of credentials", entry.path);
                self.error(
                    second.place,
                    message,
                    "write two entries; the description says which of them an operation accepts",
                );
                return None;
            }
        };
        let name = kind.path.rsplit('.').next().unwrap_or_default();
        if name == "issuer" {
            return self
                .issuer(entry, &fields)
                .map(|issuer| IdentityKind::Issuer(Box::new(issuer)));
        }
        for other in OF_ISSUER.iter().filter_map(|other| fields.get(other)) {
            let message = format!("`{}` does not go with `{name}`", other.path);
            self.error(other.place, message, "remove it: it belongs to an `issuer`");
        }
        match name {
            "api_key" => self.api_keys(kind).map(IdentityKind::ApiKey),
            "certificate" => self
                .client_certificates(kind)
                .map(IdentityKind::Certificate),
            "basic" => self.basic(kind).map(IdentityKind::Basic),
            "signature" => self.signatures(kind).map(IdentityKind::Signature),
            "webhook" => self.webhook(kind).map(IdentityKind::Webhook),
            _ => None,
        }
    }

    fn issuer(&mut self, entry: &Entry<'_>, fields: &Fields<'_>) -> Option<Issuer> {
        let issuer = fields.get("issuer").and_then(|entry| self.text(&entry));
        let keys = self.key_source(entry, fields, issuer.as_ref());
        let audience = match fields.get("audience") {
            Some(entry) => self.texts(&entry),
            // Sessions are for the client itself; then no other token is accepted.
            None if fields.get("login").is_some() => Vec::new(),
            None => {
                let message = format!("`{}` has no `audience`", entry.path);
                let help = "add `audience`: the token's `aud` must hold one of them";
                self.error(entry.place, message, help);
                Vec::new()
            }
        };
        let shared = matches!(keys, Some(KeySource::Secret(_)));
        let algorithms = fields
            .get("algorithms")
            .map(|entry| self.algorithms(&entry, shared));
        let leeway = fields.get("leeway").map(|entry| self.duration(&entry));
        let token_type = fields.get("type").map(|entry| self.token_type(&entry));
        let ca = fields
            .get("ca")
            .map(|entry| self.path(&entry, PathUse::Read));
        let claims = fields.get("claims").map(|entry| self.claims(&entry));
        let introspection = fields
            .get("introspection")
            .map(|entry| self.introspection(&entry));
        let dpop = fields.get("dpop").map(|entry| self.dpop(&entry));
        let bound = fields
            .get("certificate_bound")
            .map(|entry| self.demand(&entry));
        let login = fields.get("login").map(|entry| self.login(&entry));
        Some(Issuer {
            issuer: issuer?,
            keys: keys?,
            ca: match ca {
                Some(ca) => Some(ca?),
                None => None,
            },
            audience: Some(audience)
                .filter(|list| !list.is_empty() || fields.get("login").is_some())?,
            algorithms: algorithms.unwrap_or_default(),
            leeway: leeway.flatten().unwrap_or(LEEWAY),
            token_type: token_type.flatten(),
            claims: claims.unwrap_or_default(),
            introspection: match introspection {
                Some(introspection) => Some(introspection?),
                None => None,
            },
            dpop: match dpop {
                Some(dpop) => dpop?,
                None => Dpop::default(),
            },
            certificate_bound: match bound {
                Some(bound) => bound?,
                None => Demand::Accepted,
            },
            login: match login {
                Some(login) => Some(login?),
                None => None,
            },
        })
    }

    fn key_source(
        &mut self,
        entry: &Entry<'_>,
        fields: &Fields<'_>,
        issuer: Option<&Spanned<String>>,
    ) -> Option<KeySource> {
        match (fields.get("jwks"), fields.get("secret")) {
            (Some(_), Some(secret)) => {
                let message = format!("`{}` has both `jwks` and `secret`", entry.path);
                let help = "write two entries: a key has one kind of algorithm";
                self.error(secret.place, message, help);
                None
            }
            (Some(jwks), None) => self.key_set(&jwks).map(KeySource::Jwks),
            (None, Some(secret)) => self.shared_key(&secret).map(KeySource::Secret),
            (None, None) => {
                let issuer = issuer?;
                if let Err(why) = scalar::https_url(&issuer.value).map_err(BadUrl::help) {
                    let message = format!(
                        "`{}` has no `jwks`, and `{}` is no URL at which its keys could be discovered",
                        entry.path,
                        shorten(&issuer.value)
                    );
                    let help = format!("add `jwks: file:PATH` or `jwks: https://…`; or {why}");
                    self.error(entry.place, message, help);
                    return None;
                }
                Some(KeySource::Discovery)
            }
        }
    }

    /// RFC 7518, section 3.2: a key at least as long as the hash; 32 bytes is the least of them.
    fn shared_key(&mut self, entry: &Entry<'_>) -> Option<Spanned<Secret<String>>> {
        const LEAST: usize = 32;
        let secret = self.secret(entry)?;
        if secret.value.expose().len() < LEAST {
            let message = format!("`{}` is shorter than {LEAST} bytes", entry.path);
            let help = "make one: `openssl rand -base64 32`";
            self.error(secret.span, message, help);
            return None;
        }
        Some(secret)
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
        match scalar::https_url(&text) {
            Ok(()) => Some(Spanned {
                value: JwksSource::Url(text),
                span,
            }),
            Err(BadUrl::Exposed) => {
                let message = format!(
                    "`{}`: keys from `{shown}` could be replaced on their way",
                    entry.path
                );
                let help = "write `https://`; `http://` is for loopback addresses alone";
                self.error(span, message, help);
                None
            }
            Err(BadUrl::Form(help)) if literal == Literal::Text => {
                self.error(span, message, help);
                None
            }
            Err(BadUrl::Form(_)) => {
                self.error(span, message, "it must hold an https URL");
                None
            }
        }
    }

    fn algorithms(&mut self, entry: &Entry<'_>, shared: bool) -> Vec<Spanned<String>> {
        let known = if shared { SYMMETRIC } else { ALGORITHMS };
        let mut seen = BTreeSet::new();
        let mut algorithms = Vec::new();
        for item in self.items(entry) {
            let Some(name) = self.text(&item) else {
                continue;
            };
            if known.contains(&name.value.as_str()) {
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
                    "have the issuer sign with a private key, such as `ES256`; or name the shared key in `secret`".to_owned(),
                )
            } else {
                let near = did_you_mean(&name.value, known.iter().copied());
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are `{}`", known.join("`, `")),
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

    fn claims(&mut self, entry: &Entry<'_>) -> ClaimPaths {
        let Some(fields) = self.fields(entry) else {
            return ClaimPaths::default();
        };
        let mut path = |name: &str| fields.get(name).and_then(|entry| self.claim_path(&entry));
        ClaimPaths {
            scope: path("scope"),
            roles: path("roles"),
            tenant: path("tenant"),
        }
    }

    fn claim_path(&mut self, entry: &Entry<'_>) -> Option<String> {
        let text = self.text(entry)?;
        if text.value.split('.').any(str::is_empty) {
            let message = format!("`{}`: `{}` is not a path of claims", entry.path, text.value);
            self.error(
                text.span,
                message,
                "write names with dots between them: `realm.scopes`",
            );
            return None;
        }
        Some(text.value)
    }

    fn introspection(&mut self, entry: &Entry<'_>) -> Option<Introspection> {
        let fields = self.fields(entry)?;
        let endpoint = fields.get("endpoint").map(|entry| self.https_url(&entry));
        let client_id = fields.get("client_id").and_then(|entry| self.text(&entry));
        let secret = fields
            .get("client_secret")
            .and_then(|entry| self.secret(&entry));
        let tokens = fields.get("tokens").map(|entry| self.word(&entry));
        let cache = self.span_of_time(&fields, "cache", Duration::from_secs(60));
        let negative = self.span_of_time(&fields, "negative_cache", Duration::from_secs(10));
        let timeout = self.span_of_time(&fields, "timeout", Duration::from_secs(2));
        let signed = fields.get("signed").map(|entry| self.boolean(&entry));
        Some(Introspection {
            endpoint: match endpoint {
                Some(endpoint) => Some(endpoint?.value),
                None => None,
            },
            client_id: client_id?.value,
            client_secret: secret?.value,
            tokens: match tokens {
                None | Some(Some("opaque")) => WhichTokens::Opaque,
                Some(Some(_)) => WhichTokens::All,
                Some(None) => return None,
            },
            cache: cache?,
            negative_cache: negative?,
            timeout: timeout?,
            signed: match signed {
                Some(signed) => signed?,
                None => false,
            },
        })
    }

    /// A duration, or what holds where nothing is said; `None` if it is wrong.
    pub(super) fn span_of_time(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        unsaid: Duration,
    ) -> Option<Duration> {
        match fields.get(name) {
            Some(entry) => self.duration(&entry),
            None => Some(unsaid),
        }
    }

    fn demand(&mut self, entry: &Entry<'_>) -> Option<Demand> {
        match self.word(entry)? {
            "off" => Some(Demand::Off),
            "accepted" => Some(Demand::Accepted),
            "required" => Some(Demand::Required),
            _ => None,
        }
    }

    fn dpop(&mut self, entry: &Entry<'_>) -> Option<Dpop> {
        let mut dpop = Dpop::default();
        let Some(long) = self.long_form(entry) else {
            dpop.mode = self.demand(&self.short_form(entry))?;
            return Some(dpop);
        };
        let fields = self.fields(&long)?;
        if let Some(mode) = fields.get("mode") {
            dpop.mode = self.demand(&mode)?;
        }
        dpop.window = self.span_of_time(&fields, "window", dpop.window)?;
        if let Some(nonce) = fields.get("nonce") {
            dpop.nonce = self.boolean(&nonce)?;
        }
        Some(dpop)
    }

    fn api_keys(&mut self, entry: &Entry<'_>) -> Option<ApiKeys> {
        let fields = self.fields(entry)?;
        let header = fields.get("header").map(|entry| self.field_name(&entry));
        let environment = fields.get("environment").map(|entry| self.text(&entry));
        Some(ApiKeys {
            header: match header {
                Some(header) => Some(header?),
                None => None,
            },
            environment: match environment {
                Some(environment) => Some(environment?.value),
                None => None,
            },
        })
    }

    fn client_certificates(&mut self, entry: &Entry<'_>) -> Option<ClientCertificates> {
        let fields = self.fields(entry)?;
        let san = fields.get("san").map(|entry| self.spanned_texts(&entry));
        let header = fields.get("header").map(|entry| self.field_name(&entry));
        Some(ClientCertificates {
            san: san.filter(|list| !list.is_empty())?,
            header: match header {
                Some(header) => Some(header?),
                None => None,
            },
        })
    }

    fn basic(&mut self, entry: &Entry<'_>) -> Option<Basic> {
        let fields = self.fields(entry)?;
        let users = fields
            .get("users")
            .and_then(|entry| self.path(&entry, PathUse::Read));
        let cache = self.span_of_time(&fields, "cache", Duration::from_secs(60));
        Some(Basic {
            users: users?,
            cache: cache?,
        })
    }

    fn signatures(&mut self, entry: &Entry<'_>) -> Option<Signatures> {
        let fields = self.fields(entry)?;
        let keys = fields
            .get("keys")
            .and_then(|entry| self.path(&entry, PathUse::Read));
        let components = fields
            .get("components")
            .map(|entry| self.spanned_texts(&entry));
        let max_age = self.span_of_time(&fields, "max_age", Duration::from_secs(300));
        let tag = fields.get("tag").map(|entry| self.text(&entry));
        let replay = fields.get("replay").map(|entry| self.word(&entry));
        Some(Signatures {
            keys: keys?,
            components: components.unwrap_or_default(),
            max_age: max_age?,
            tag: match tag {
                Some(tag) => Some(tag?.value),
                None => None,
            },
            replay: match replay {
                None => false,
                Some(word) => word? == "allow",
            },
        })
    }

    fn webhook(&mut self, entry: &Entry<'_>) -> Option<Webhook> {
        let fields = self.fields(entry)?;
        let mut secrets = Vec::new();
        let mut sound = true;
        for item in fields
            .get("secrets")
            .map(|list| self.items(&list))
            .unwrap_or_default()
        {
            match self.secret(&item) {
                Some(secret) => secrets.push(secret.value),
                None => sound = false,
            }
        }
        let mut text = |name: &str| match fields.get(name) {
            Some(entry) => self.text(&entry).map(|text| Some(text.value)),
            None => Some(None),
        };
        let (sender, prefix) = (text("sender"), text("prefix"));
        let mut field = |name: &str| match fields.get(name) {
            Some(entry) => self.field_name(&entry).map(Some),
            None => Some(None),
        };
        let (header, timestamp_header) = (field("header"), field("timestamp_header"));
        let mut word = |name: &str| fields.get(name).map(|entry| self.word(&entry));
        let (preset, encoding, algorithm) = (word("preset"), word("encoding"), word("algorithm"));
        let tolerance = fields.get("tolerance").map(|entry| self.duration(&entry));
        if preset.is_none() && fields.get("header").is_none() {
            let message = format!("`{}` says not where the signature stands", entry.path);
            self.error(entry.place, message, "add `header` or `preset`");
            return None;
        }
        let sound = sound && !secrets.is_empty();
        sound.then_some(())?;
        Some(Webhook {
            preset: match preset {
                None => None,
                Some(word) => match word? {
                    "github" => Some(WebhookPreset::Github),
                    "stripe" => Some(WebhookPreset::Stripe),
                    "slack" => Some(WebhookPreset::Slack),
                    "standard-webhooks" => Some(WebhookPreset::Standard),
                    _ => return None,
                },
            },
            secrets,
            sender: sender?,
            header: header?,
            prefix: prefix?,
            encoding: match encoding {
                None => None,
                Some(word) if word? == "hex" => Some(Encoding::Hex),
                Some(_) => Some(Encoding::Base64),
            },
            algorithm: match algorithm {
                None => None,
                Some(word) if word? == "sha256" => Some(Hash::Sha256),
                Some(_) => Some(Hash::Sha512),
            },
            timestamp_header: timestamp_header?,
            tolerance: match tolerance {
                Some(tolerance) => Some(tolerance?),
                None => None,
            },
        })
    }

    /// `listen[].tls.clients`.
    pub(super) fn clients(&mut self, entry: &Entry<'_>) -> Option<Clients> {
        let fields = self.fields(entry)?;
        let ca = fields.get("ca").map(|entry| self.paths(&entry));
        let crl = fields.get("crl").map(|entry| self.paths(&entry));
        let required = fields.get("required").map(|entry| self.boolean(&entry));
        Some(Clients {
            ca: ca.flatten().filter(|list| !list.is_empty())?,
            crl: match crl {
                Some(crl) => crl?,
                None => Vec::new(),
            },
            required: match required {
                Some(required) => required?,
                None => false,
            },
        })
    }

    /// Files; `None` if one of them is wrong.
    fn paths(&mut self, entry: &Entry<'_>) -> Option<Vec<Spanned<PathBuf>>> {
        let items = self.items(entry);
        let paths: Vec<_> = items
            .iter()
            .map(|item| self.path(item, PathUse::Read))
            .collect();
        paths.into_iter().collect()
    }
}
