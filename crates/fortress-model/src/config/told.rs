//! What upstreams are told of callers: `upstream.identity`, and `internal_tokens`, which signs it.

use super::{
    Exchange, Forward, InternalTokens, PrincipalField, Spanned, UpstreamIdentity,
    reader::{Entry, Fields, PathUse, Reader},
    scalar,
};
use crate::document::read::shorten;

impl Reader<'_> {
    /// `internal_tokens`.
    pub(super) fn internal_tokens(&mut self, entry: &Entry<'_>) -> Option<InternalTokens> {
        let unsaid = InternalTokens::default();
        let fields = self.fields(entry)?;
        let issuer = fields.get("issuer").map(|entry| self.text(&entry));
        let mut file = |name: &str| match fields.get(name) {
            Some(entry) => self.path(&entry, PathUse::Secret).map(Some),
            None => Some(None),
        };
        let (key, previous_key) = (file("key"), file("previous_key"));
        let rotate = self.span_of_time(&fields, "rotate", unsaid.rotate);
        Some(InternalTokens {
            issuer: match issuer {
                Some(issuer) => issuer?.value,
                None => unsaid.issuer,
            },
            key: key?,
            previous_key: previous_key?,
            rotate: rotate?,
        })
    }

    /// `upstream.identity`.
    pub(super) fn upstream_identity(&mut self, entry: &Entry<'_>) -> Option<UpstreamIdentity> {
        let fields = self.fields(entry)?;
        let forward = fields.get("forward").map(|entry| self.word(&entry));
        let headers = fields
            .get("headers")
            .map(|entry| self.principal_headers(&entry));
        let audience = fields.get("audience").map(|entry| self.text(&entry));
        let lifetime = fields.get("lifetime").map(|entry| self.duration(&entry));
        let claims = fields.get("claims").map(|entry| self.texts(&entry));
        let header = fields.get("header").map(|entry| self.field_name(&entry));
        let certificate = fields.get("certificate").map(|entry| self.boolean(&entry));
        let exchange = fields.get("exchange").map(|entry| self.exchange(&entry));
        let headers = match headers {
            Some(headers) => headers?,
            None => Vec::new(),
        };
        let forward = match forward {
            None if !headers.is_empty() => Forward::Claims,
            None => Forward::default(),
            Some(word) => match word? {
                "none" => Forward::None,
                "token" => Forward::Token,
                "claims" => Forward::Claims,
                "internal_jwt" => Forward::InternalJwt,
                "exchange" => Forward::Exchange,
                _ => return None,
            },
        };
        self.fits_forward(entry, &fields, forward)?;
        Some(UpstreamIdentity {
            forward,
            headers,
            audience: match audience {
                Some(audience) => Some(audience?.value),
                None => None,
            },
            lifetime: match lifetime {
                Some(lifetime) => Some(lifetime?),
                None => None,
            },
            claims: claims.unwrap_or_default(),
            header: match header {
                Some(header) => Some(header?),
                None => None,
            },
            certificate: match certificate {
                Some(certificate) => certificate?,
                None => false,
            },
            exchange: match exchange {
                Some(exchange) => Some(exchange?),
                None => None,
            },
        })
    }

    /// Keys that mean nothing under a way of forwarding would be believed to mean something.
    fn fits_forward(
        &mut self,
        entry: &Entry<'_>,
        fields: &Fields<'_>,
        forward: Forward,
    ) -> Option<()> {
        let goes_with = |name: &str| match name {
            "exchange" => matches!(forward, Forward::Exchange),
            "lifetime" | "claims" => matches!(forward, Forward::InternalJwt),
            _ => matches!(forward, Forward::InternalJwt | Forward::Exchange),
        };
        for name in ["exchange", "lifetime", "claims", "audience", "header"] {
            if let Some(found) = fields.get(name).filter(|_| !goes_with(name)) {
                let message = format!("`{}` has no effect with this `forward`", found.path);
                self.error(found.place, message, "remove it, or change `forward`");
                return None;
            }
        }
        let lacks = match forward {
            Forward::Claims if fields.get("headers").is_none() => "headers",
            Forward::Exchange if fields.get("exchange").is_none() => "exchange",
            Forward::None
            | Forward::Token
            | Forward::Claims
            | Forward::InternalJwt
            | Forward::Exchange => return Some(()),
        };
        let message = format!("`{}` has no `{lacks}`", entry.path);
        self.error(entry.place, message, format!("add `{lacks}`"));
        None
    }

    fn principal_headers(
        &mut self,
        entry: &Entry<'_>,
    ) -> Option<Vec<(Spanned<String>, PrincipalField)>> {
        let mut headers = Vec::new();
        let mut sound = true;
        for (name, inner) in self.entries(entry) {
            let field = match scalar::field_name(&name.value) {
                Ok(field) if !OWNED.contains(&field.as_str()) => Some(field),
                Ok(field) => {
                    let message = format!("`{field}` is not free for what upstreams are told");
                    self.error(name.span, message, "take a name such as `X-User-Id`");
                    None
                }
                Err(help) => {
                    let message = format!("`{}` is not a header field", shorten(&name.value));
                    self.error(name.span, message, help);
                    None
                }
            };
            let value = self.parsed(&inner, principal_field);
            match (field, value) {
                (Some(field), Some(value)) => headers.push((
                    Spanned {
                        value: field,
                        span: name.span,
                    },
                    value.value,
                )),
                (_, _) => sound = false,
            }
        }
        sound.then_some(headers)
    }

    fn exchange(&mut self, entry: &Entry<'_>) -> Option<Exchange> {
        let fields = self.fields(entry)?;
        let endpoint = fields
            .get("endpoint")
            .and_then(|entry| self.https_url(&entry));
        let client_id = fields.get("client_id").and_then(|entry| self.text(&entry));
        let secret = fields
            .get("client_secret")
            .and_then(|entry| self.secret(&entry));
        let scopes = fields.get("scope").map(|entry| self.scopes(&entry));
        let resource = fields.get("resource").map(|entry| self.text(&entry));
        Some(Exchange {
            endpoint: endpoint?,
            client_id: client_id?.value,
            client_secret: secret?.value,
            scopes: scopes.unwrap_or_default(),
            resource: match resource {
                Some(resource) => Some(resource?.value),
                None => None,
            },
        })
    }
}

/// Fields with a meaning of their own between HTTP's parties.
const OWNED: &[&str] = &[
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "transfer-encoding",
    "upgrade",
];

fn principal_field(text: &str) -> Result<PrincipalField, String> {
    const HELP: &str = "write `principal.id`, `principal.tenant`, `principal.roles`, `principal.scopes`, `principal.identity` or `principal.claims.NAME`";
    match text {
        "principal.id" => Ok(PrincipalField::Id),
        "principal.tenant" => Ok(PrincipalField::Tenant),
        "principal.roles" => Ok(PrincipalField::Roles),
        "principal.scopes" => Ok(PrincipalField::Scopes),
        "principal.identity" => Ok(PrincipalField::Identity),
        _ => match text.strip_prefix("principal.claims.") {
            Some(path) if !path.split('.').any(str::is_empty) => {
                Ok(PrincipalField::Claim(path.to_owned()))
            }
            Some(_) | None => Err(HELP.to_owned()),
        },
    }
}
