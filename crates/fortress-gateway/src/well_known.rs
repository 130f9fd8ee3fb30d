//! What the gateway says of its APIs to OAuth clients by itself: protected resource metadata (RFC
//! 9728), so that a client finds the issuer, and can tell that it talks to the right API.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use crate::{
    compile::{Access, CredentialKind, OperationPlan},
    reply::{Reply, ReplyBody},
};

/// Where metadata stand (RFC 9728, section 3).
const PREFIX: &str = "/.well-known/oauth-protected-resource";

/// The metadata of one API.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// In lower case, with the port if the URL has one.
    host: Box<str>,
    path: Box<str>,
    /// Where clients find them.
    pub(crate) url: Box<str>,
}

impl Metadata {
    /// Of the API with this URL; `None` if it is none.
    pub(crate) fn of(resource: &str) -> Option<Self> {
        let uri: Uri = resource.parse().ok()?;
        let host = uri.authority()?.as_str().to_ascii_lowercase();
        let path = format!("{PREFIX}{}", uri.path().trim_end_matches('/'));
        Some(Self {
            url: format!("{}://{host}{path}", uri.scheme_str()?).into(),
            host: host.into(),
            path: path.into(),
        })
    }
}

/// A document that is served.
#[derive(Debug)]
pub(crate) struct Document {
    host: Box<str>,
    path: Box<str>,
    body: Bytes,
}

/// The documents of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Documents(Vec<Document>);

impl Documents {
    /// Adds the metadata of an API, if any of its operations takes tokens.
    pub(crate) fn add(
        &mut self,
        metadata: &Metadata,
        resource: &str,
        plans: &[Arc<OperationPlan>],
    ) {
        let Some(body) = describe(resource, plans) else {
            return;
        };
        self.0.push(Document {
            host: metadata.host.clone(),
            path: metadata.path.clone(),
            body: body.into(),
        });
    }

    /// The answer to a request for one of them.
    pub(crate) fn answer(&self, method: &Method, host: &str, target: &str) -> Option<Reply> {
        if self.0.is_empty() || !target.starts_with(PREFIX) {
            return None;
        }
        let path = target.split('?').next().unwrap_or(target);
        let document = self
            .0
            .iter()
            .find(|document| *document.path == *path && same_host(&document.host, host))?;
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        let briefly = HeaderValue::from_static("max-age=300");
        headers.insert(header::CACHE_CONTROL, briefly);
        let (status, body) = match *method {
            Method::GET => (StatusCode::OK, ReplyBody::Full(document.body.clone())),
            Method::HEAD => {
                let announced = u64::try_from(document.body.len()).ok();
                (StatusCode::OK, ReplyBody::Empty { announced })
            }
            _ => return None,
        };
        Some(Reply {
            status,
            headers,
            body,
        })
    }
}

/// The same but for a default port that one of them may name.
fn same_host(ours: &str, given: &str) -> bool {
    let [ours, given] = [ours, given].map(|host| host.strip_suffix(":443").unwrap_or(host));
    ours == given
}

/// RFC 9728, section 2.
fn describe(resource: &str, plans: &[Arc<OperationPlan>]) -> Option<String> {
    let mut issuers: Vec<&str> = Vec::new();
    let mut scopes: Vec<&str> = Vec::new();
    let mut algorithms = None;
    let (mut bound, mut all_dpop) = (false, true);
    for plan in plans {
        scopes.extend(plan.demanded_scopes());
        let Access::AnyOf(alternatives) = &plan.access else {
            continue;
        };
        let credentials = alternatives.iter().flat_map(|one| &one.credentials);
        for credential in credentials {
            let CredentialKind::Token(token) = &credential.identity.kind else {
                continue;
            };
            issuers.push(&token.verifier.expectations().issuer);
            bound |= token.certificate_bound;
            all_dpop &= token.dpop.as_ref().is_some_and(|dpop| dpop.required);
            if let Some(dpop) = &token.dpop {
                algorithms = Some(dpop.proofs.algorithm_names());
            }
        }
    }
    if issuers.is_empty() {
        return None;
    }
    for list in [&mut issuers, &mut scopes] {
        list.sort_unstable();
        list.dedup();
    }
    let mut text = String::from("{\"resource\":");
    quote(&mut text, resource);
    let mut list = |name: &str, items: &mut dyn Iterator<Item = &str>| {
        text.push_str(&format!(",\"{name}\":["));
        for (index, item) in items.enumerate() {
            if index > 0 {
                text.push(',');
            }
            quote(&mut text, item);
        }
        text.push(']');
    };
    list("authorization_servers", &mut issuers.iter().copied());
    if !scopes.is_empty() {
        list("scopes_supported", &mut scopes.iter().copied());
    }
    list("bearer_methods_supported", &mut ["header"].into_iter());
    if let Some(algorithms) = &algorithms {
        let names = &mut algorithms.split(' ');
        list("dpop_signing_alg_values_supported", names);
        text.push_str(&format!(
            ",\"dpop_bound_access_tokens_required\":{all_dpop}"
        ));
    }
    if bound {
        text.push_str(",\"tls_client_certificate_bound_access_tokens\":true");
    }
    text.push('}');
    Some(text)
}

fn quote(out: &mut String, text: &str) {
    fortress_model::diagnostic::quote(out, Some(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_stand_between_host_and_path() {
        let metadata = Metadata::of("https://API.example.com/v1/").unwrap();
        assert_eq!(
            &*metadata.url,
            "https://api.example.com/.well-known/oauth-protected-resource/v1"
        );
        assert!(Metadata::of("/v1").is_none());
    }

    #[test]
    fn a_default_port_makes_no_difference() {
        assert!(same_host("a.example", "a.example:443"));
        assert!(same_host("a.example:443", "a.example"));
        assert!(!same_host("a.example:444", "a.example"));
        assert!(!same_host("a.example", "b.example"));
    }
}
