//! What an upstream is told of the caller, in place of what the caller says of itself.
//!
//! [`prepare`] comes before the request is inspected: what only the gateway may say is taken away,
//! the credential too unless it is to pass on, and header fields are set, so that description and
//! rules see what the upstream will get. [`finish`] comes after it, so that no issuer is asked, and
//! nothing signed, for a request that is refused. Nothing is told of an anonymous caller.
//! Deliberately not here: who calls (`guard`).

mod exchanger;
mod field;
mod place;
mod speaker;

use std::sync::Arc;

use fortress_auth::internal::{InternalError, InternalIssuer};
use fortress_model::{
    Clock as _, Decision, Denial, Reason, Secret, SystemClock, config::PrincipalField,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use crate::{
    compile::{CredentialKind, OperationPlan},
    guard::principal::{Caller, Principal},
    request::Request,
};

pub(crate) use exchanger::{Exchanger, Failure, Settings as ExchangeSettings};
pub(crate) use field::MAX_FIELD;
pub(crate) use place::remove_cookies;
pub(crate) use speaker::{Speaker, Unsaid};

/// What the upstream of an API is told, compiled.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    pub(crate) way: Way,
    /// Field → what it says.
    pub(crate) fields: Vec<(HeaderName, PrincipalField)>,
    /// The client's certificate goes on in `Client-Cert`.
    pub(crate) certificate: bool,
    /// Names that no client may use, beside those of certificates, in lower case.
    pub(crate) ours: Vec<Box<str>>,
}

/// What becomes of the credential.
#[derive(Debug, Default)]
pub(crate) enum Way {
    /// It passes on as it came.
    #[default]
    AsItCame,
    /// It ends here.
    Removed,
    /// A token of the gateway's own takes its place.
    Internal {
        issuer: InternalIssuer,
        speaker: Arc<Speaker>,
        /// `None` for `Authorization`.
        field: Option<HeaderName>,
    },
    /// A token that the issuer gives for it takes its place.
    Exchanged {
        exchanger: Arc<Exchanger>,
        /// `None` for `Authorization`.
        field: Option<HeaderName>,
    },
}

/// Fields of RFC 9440: only what terminated TLS may say them.
const CERTIFICATES: [&str; 2] = ["client-cert", "client-cert-chain"];

impl Telling {
    /// Only the gateway says this field. Some servers take `X.User` or `X_User` for `X-User`.
    fn is_ours(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        let ours = self.ours.iter().map(|ours| &**ours);
        ours.chain(CERTIFICATES).any(|ours| reads_as(name, ours))
    }
}

/// Whether a server that folds all but letters and digits (RFC 3875, section 4.1.18, and what
/// servers make of it) could take one name for the other.
fn reads_as(one: &str, other: &str) -> bool {
    let fold = |byte: u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' => byte,
        b'A'..=b'Z' => byte.to_ascii_lowercase(),
        _ => b'-',
    };
    one.len() == other.len()
        && one
            .bytes()
            .zip(other.bytes())
            .all(|(one, other)| fold(one) == fold(other))
}

/// A request free of what its client must not say. Built by [`prepare`] alone.
#[derive(Debug)]
#[must_use]
pub(crate) struct Prepared {
    /// The token to be exchanged.
    token: Option<Secret<String>>,
}

/// The field that takes the credential's place, if one does. Built by [`finish`] alone.
#[derive(Debug)]
#[must_use]
pub(crate) struct Told(Option<(HeaderName, HeaderValue)>);

impl Told {
    /// Adds it.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        if let Some((name, value)) = self.0 {
            headers.insert(name, value);
        }
    }
}

/// Takes away what only the gateway may say, and the credential unless it passes on; sets the header
/// fields that are configured. With the principal comes the client's certificate (DER), if it showed
/// one that counts.
///
/// # Errors
/// `identity.too_large`.
pub(crate) fn prepare(
    decision: &mut Decision,
    plan: &OperationPlan,
    (principal, certificate): (&Principal, Option<&[u8]>),
    request: &mut Request,
) -> Result<Prepared, Denial> {
    let telling = &plan.api.telling;
    disbelieve(decision, telling, &mut request.headers);
    let token = match &telling.way {
        Way::AsItCame => None,
        Way::Removed | Way::Internal { .. } => {
            remove_credentials(plan, request);
            None
        }
        Way::Exchanged { .. } => {
            let token = subject_token(plan, principal, request);
            remove_credentials(plan, request);
            token
        }
    };
    if let Some(caller) = principal.caller() {
        for (name, what) in &telling.fields {
            let value = field::value(what, caller).map_err(|field::TooLong| {
                let detail = format!("`{name}` would be longer than {MAX_FIELD} bytes");
                decision.fail(Reason::IdentityTooLarge, detail)
            })?;
            if let Some(value) = value {
                request.headers.insert(name.clone(), value);
            }
        }
    }
    let certificate = certificate.filter(|_| telling.certificate && principal.caller().is_some());
    if let Some(value) = certificate.and_then(field::certificate) {
        let name = HeaderName::from_static("client-cert");
        request.headers.insert(name, value);
    }
    Ok(Prepared { token })
}

fn disbelieve(decision: &mut Decision, telling: &Telling, headers: &mut HeaderMap) {
    let found = headers.keys().filter(|name| telling.is_ours(name));
    let found: SmallVec<[HeaderName; 2]> = found.cloned().collect();
    for name in found {
        headers.remove(&name);
        decision.notes.push(format!("header `{name}` removed"));
    }
}

/// Whatever the request shows: also a credential that no alternative asked for would tell the
/// upstream of a caller that nobody checked.
fn remove_credentials(plan: &OperationPlan, request: &mut Request) {
    request.headers.remove(header::AUTHORIZATION);
    request.headers.remove(HeaderName::from_static("dpop"));
    for place in &plan.credentials {
        place::remove(place, request);
    }
}

/// The token that the caller was recognised by.
fn subject_token(
    plan: &OperationPlan,
    principal: &Principal,
    request: &Request,
) -> Option<Secret<String>> {
    if let Some(live) = principal.caller().and_then(Caller::session) {
        return Some(live.access_token().clone());
    }
    let alternative = principal.alternative(plan)?;
    let is_token = |kind: &CredentialKind| matches!(kind, CredentialKind::Token(_));
    let mut credentials = alternative.credentials.iter();
    let credential = credentials.find(|credential| is_token(&credential.identity.kind))?;
    place::text(&credential.place, request)
}

/// Gets the token that takes the credential's place.
///
/// # Errors
/// `identity.too_large`, `exchange.refused`, `exchange.unavailable`. There is no mode in which the
/// request goes on without it: the upstream would take it for somebody else's, or nobody's.
pub(crate) async fn finish(
    decision: &mut Decision,
    plan: &OperationPlan,
    principal: &Principal,
    prepared: Prepared,
) -> Result<Told, Denial> {
    let Some(caller) = principal.caller() else {
        return Ok(Told(None));
    };
    // Reading the body may have taken a while.
    let now = SystemClock.now();
    match &plan.api.telling.way {
        // A session came without its token, which is here.
        Way::AsItCame => match caller.session() {
            Some(live) => written(decision, None, live.access_token()),
            None => Ok(Told(None)),
        },
        Way::Removed => Ok(Told(None)),
        Way::Internal {
            issuer,
            speaker,
            field,
        } => {
            let token = speaker
                .token(issuer, caller, now)
                .map_err(|unsaid| said(decision, &unsaid))?;
            written(decision, field.as_ref(), &token)
        }
        Way::Exchanged { exchanger, field } => {
            let Some(token) = prepared.token else {
                let detail = format!("`{}` gave no token to be exchanged", caller.identity.name);
                return Err(decision.fail(Reason::ExchangeRefused, detail));
            };
            let exchanged = exchanger.exchange(&token, now).await;
            let exchanged = exchanged.map_err(|failure| match failure {
                Failure::Refused(why) => decision.fail(Reason::ExchangeRefused, &*why),
                Failure::Unavailable(why) => decision.fail(Reason::ExchangeUnavailable, &*why),
            })?;
            written(decision, field.as_ref(), &exchanged.token)
        }
    }
}

fn said(decision: &mut Decision, unsaid: &Unsaid) -> Denial {
    let reason = match unsaid {
        Unsaid::Token(InternalError::TooLarge) => Reason::IdentityTooLarge,
        Unsaid::Token(_) | Unsaid::Random => Reason::GatewayFault,
    };
    decision.fail(reason, unsaid.to_string())
}

/// A token in its field: in `Authorization` as a bearer token, elsewhere as it is.
fn written(
    decision: &mut Decision,
    field: Option<&HeaderName>,
    token: &Secret<String>,
) -> Result<Told, Denial> {
    let value = match field {
        None | Some(&header::AUTHORIZATION) => {
            let bearer = Secret::new(format!("Bearer {}", token.expose()));
            HeaderValue::from_str(bearer.expose())
        }
        Some(_) => HeaderValue::from_str(token.expose()),
    };
    let mut value = value.map_err(|_| {
        let detail = "the token for the upstream is not fit for a header field";
        decision.fail(Reason::GatewayFault, detail)
    })?;
    value.set_sensitive(true);
    let name = field.cloned().unwrap_or(header::AUTHORIZATION);
    Ok(Told(Some((name, value))))
}

impl fortress_auth::internal::ClaimSource for Caller {
    fn claim(&self, name: &str) -> Option<&fortress_auth::Value> {
        Self::claim(self, name)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use fortress_model::{Timestamp, decision::RequestId};
    use proptest::prelude::*;

    use super::*;

    fn telling(names: &[&str]) -> Telling {
        Telling {
            ours: names.iter().map(|name| (*name).into()).collect(),
            ..Telling::default()
        }
    }

    fn cleaned(telling: &Telling, fields: &[(String, String)]) -> (HeaderMap, Vec<String>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut decision = Decision::begin(RequestId(1), Timestamp(0), client);
        disbelieve(&mut decision, telling, &mut headers);
        let notes = decision.notes.iter().map(ToString::to_string).collect();
        (headers, notes)
    }

    #[test]
    fn every_spelling_of_our_fields_goes_and_others_stay() {
        let fields = [
            ("x-user-id", "a"),
            ("x-user-id", "b"),
            ("x_user_id", "c"),
            ("x.user~id", "d"),
            ("client-cert", "e"),
            ("client_cert-chain", "f"),
            ("x-user-ids", "g"),
            ("x-userid", "h"),
            ("xx-user-id", "i"),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (left, notes) = cleaned(&telling(&["x-user-id"]), &fields);
        let mut names: Vec<_> = left.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["x-user-ids", "x-userid", "xx-user-id"]);
        assert_eq!(notes.len(), 5, "{notes:?}");
        assert!(notes.contains(&"header `x-user-id` removed".to_owned()));
    }

    proptest! {
        /// Whatever a client sends, nothing arrives that a server could take for a field of ours.
        #[test]
        fn no_field_of_ours_comes_from_a_client(
            ours in proptest::collection::vec("[a-z][a-z0-9-]{0,12}", 1..4),
            picked in proptest::collection::vec((0..4_usize, proptest::collection::vec(0..4_u8, 16), "[ -~]{0,8}"), 0..8),
            others in proptest::collection::vec(("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,14}", "[ -~]{0,8}"), 0..8),
        ) {
            let names: Vec<&str> = ours.iter().map(String::as_str).collect();
            let telling = telling(&names);
            // Names of ours, each byte in one of its disguises, among any others.
            let disguised = picked.iter().map(|(index, how, value)| {
                let name = names[index % names.len()];
                let name: String = name.bytes().zip(how.iter().cycle()).map(|(byte, how)| match (byte, how) {
                    (b'-', 0) => '-',
                    (b'-', 1) => '_',
                    (b'-', 2) => '.',
                    (b'-', _) => '~',
                    (_, 0) => char::from(byte.to_ascii_uppercase()),
                    (_, _) => char::from(byte),
                }).collect();
                (name, value.trim().to_owned())
            });
            let fields: Vec<_> = disguised
                .chain(others.iter().map(|(name, value)| (name.clone(), value.trim().to_owned())))
                .collect();
            let (left, _) = cleaned(&telling, &fields);
            let fold = |name: &str| -> String {
                name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
            };
            let ours: Vec<String> = names.iter().map(|name| fold(name)).collect();
            for name in left.keys() {
                prop_assert!(!ours.contains(&fold(name.as_str())), "{name}");
            }
            // And nothing else is lost.
            for (name, _) in &fields {
                let is_ours = ours.contains(&fold(name)) || ["client_cert", "client_cert_chain"].contains(&fold(name).as_str());
                prop_assert_eq!(left.contains_key(name.as_str()), !is_ours, "{}", name);
            }
        }
    }
}
