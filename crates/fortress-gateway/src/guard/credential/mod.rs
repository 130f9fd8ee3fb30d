//! One module for each kind of credential: from what a request shows to a [`Caller`].
//!
//! Deliberately not here: which kinds an operation accepts (`authenticate`), and the cryptography
//! (`fortress-auth`).

mod api_key;
mod basic;
mod certificate;
mod signature;
mod token;
mod webhook;

use std::sync::Arc;

use fortress_model::{Bounds, Decision, Denial, Reason, Timestamp};
use http::{HeaderMap, Method, header};

use super::{body::LateBody, challenge::Hint, principal::Caller};
use crate::{
    browser_login::Sessions,
    client_certificate::ShownCertificate,
    compile::{CredentialKind, CredentialPlan, IdentityPlan, Place},
    cookie,
    forwarded::Scheme,
    path::NormalizedPath,
    request::{Arrival, RequestBody},
};

/// Everything of a request that a credential may be judged by, before its body is read.
#[derive(Debug)]
pub(crate) struct Shown<'r> {
    pub(crate) arrival: &'r Arrival,
    pub(crate) method: &'r Method,
    /// In lower case, with the port if one was given.
    pub(crate) host: &'r str,
    pub(crate) path: &'r NormalizedPath,
    /// As it came.
    pub(crate) query: Option<&'r str>,
    /// The target as it came.
    pub(crate) target: &'r str,
    /// What the client spoke, as far as anybody knows who is believed.
    pub(crate) scheme: Scheme,
    /// A trusted proxy sent it on.
    pub(crate) proxied: bool,
    pub(crate) headers: &'r HeaderMap,
    /// The client's certificate that counts for this request.
    pub(crate) certificate: &'r ShownCertificate,
    /// Who the browser is, by its cookies.
    pub(crate) sessions: &'r Sessions,
    pub(crate) now: Timestamp,
}

impl Shown<'_> {
    /// SHA-256 of the client's certificate in DER, if it showed one that its listener trusts, or a
    /// trusted proxy passes one on: what certificate-bound tokens are compared with (RFC 8705).
    pub(crate) fn certificate_sha256(&self) -> Option<[u8; 32]> {
        let certificate = self.certificate.good()?;
        Some(certificate.sha256())
    }

    /// What the client may have called this request, without its query. A proxy in front may have
    /// spoken https where it does not speak it to us.
    pub(super) fn uris(&self) -> impl Iterator<Item = String> {
        let schemes: &[&str] = match (self.arrival.tls, self.proxied) {
            (true, _) => &["https"],
            (false, true) => &["https", "http"],
            (false, false) => &["http"],
        };
        let rest = format!("{}{}", self.host, self.path.as_str());
        schemes
            .iter()
            .map(move |scheme| format!("{scheme}://{rest}"))
    }
}

/// Why a credential was not accepted.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
    /// What the client is told beside the reason.
    pub(crate) hint: Hint,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            hint: Hint::None,
        }
    }

    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self::new(Reason::CredentialMissing, detail)
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::CredentialMalformed, detail)
    }

    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Reason::CredentialInvalid, detail)
    }

    /// With what the client is told beside the reason.
    pub(super) fn hint(self, hint: Hint) -> Self {
        Self { hint, ..self }
    }

    /// The credential was shown under the scheme `DPoP`, so the challenge is one of that scheme.
    pub(super) fn under_dpop(self) -> Self {
        match self.hint {
            Hint::None => self.hint(Hint::dpop("invalid_token", None)),
            Hint::Dpop { .. } | Hint::StepUp => self,
        }
    }

    /// How near the credential came: a missing one tells the least.
    pub(super) fn rank(&self) -> usize {
        const FARTHEST_FIRST: [Reason; 4] = [
            Reason::CredentialMissing,
            Reason::CredentialMalformed,
            Reason::CredentialInvalid,
            Reason::CredentialExpired,
        ];
        let place = FARTHEST_FIRST
            .iter()
            .position(|reason| *reason == self.reason);
        place.unwrap_or(FARTHEST_FIRST.len())
    }
}

/// Why a credential gives no caller.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is not accepted; another one may be.
    Refused(Refusal),
    /// The body that it signs could not be read, so the request is over.
    Denied(Denial),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

/// Judges the credential that a request shows at the plan's place.
pub(super) async fn judge<B: RequestBody>(
    credential: &CredentialPlan,
    shown: &Shown<'_>,
    reading: (&mut Decision, &Bounds),
    body: &mut LateBody<'_, B>,
) -> Result<Caller, Stop> {
    let identity: &Arc<IdentityPlan> = &credential.identity;
    let place = &credential.place;
    Ok(match &identity.kind {
        CredentialKind::Token(plan) => token::judge(identity, plan, place, shown).await?,
        CredentialKind::ApiKey(plan) => api_key::judge(identity, plan, place, shown)?,
        CredentialKind::Certificate(plan) => certificate::judge(identity, plan, shown)?,
        CredentialKind::Basic(plan) => basic::judge(identity, plan, place, shown).await?,
        CredentialKind::Signature(plan) => {
            signature::judge(identity, plan, shown, reading, body).await?
        }
        CredentialKind::Webhook(plan) => {
            webhook::judge(identity, plan, shown, reading, body).await?
        }
    })
}

/// A credential's text, and the scheme before it where it stands in `Authorization`.
struct Presented<'r> {
    scheme: Option<&'r str>,
    text: std::borrow::Cow<'r, str>,
}

/// What stands at a place that holds a text.
fn present<'r>(place: &Place, shown: &Shown<'r>) -> Result<Presented<'r>, Refusal> {
    let plain = |text: &'r str| Presented {
        scheme: None,
        text: text.into(),
    };
    match place {
        Place::Authorization => {
            let value = field(shown.headers, &header::AUTHORIZATION)?;
            // RFC 9110, section 11.4: the scheme's name is compared without case, then spaces follow.
            match value.split_once(' ') {
                Some((scheme, text)) => Ok(Presented {
                    scheme: Some(scheme),
                    text: text.trim_start_matches(' ').into(),
                }),
                None => Ok(Presented {
                    scheme: Some(value),
                    text: "".into(),
                }),
            }
        }
        Place::Header(name) => field(shown.headers, name).map(plain),
        Place::Cookie(name) => match cookie::find(shown.headers, name) {
            cookie::Found::One(value) => Ok(plain(value)),
            cookie::Found::None => Err(Refusal::missing("no such cookie")),
            cookie::Found::Several => Err(Refusal::malformed("the cookie is given twice")),
        },
        Place::Query(name) => query(shown.query.unwrap_or_default(), name),
        Place::Connection | Place::Message => Err(Refusal::missing("no credential")),
    }
}

/// The one value of a field.
fn field<'r>(headers: &'r HeaderMap, name: &http::HeaderName) -> Result<&'r str, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| Refusal::missing("no credential"))?;
    if values.next().is_some() {
        return Err(Refusal::malformed(
            "the credential's header field is given twice",
        ));
    }
    value.to_str().map_err(|_| Refusal::malformed("not ASCII"))
}

/// The one value of a parameter in a query.
fn query<'r>(query: &'r str, name: &str) -> Result<Presented<'r>, Refusal> {
    let decoded = |text: &'r str| percent_encoding::percent_decode_str(text).decode_utf8();
    let mut found = None;
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key).is_ok_and(|key| key == name) && found.replace(value).is_some() {
            return Err(Refusal::malformed("the credential is given twice"));
        }
    }
    let value = found.ok_or_else(|| Refusal::missing("no credential"))?;
    let text = decoded(value).map_err(|_| Refusal::malformed("not UTF-8"))?;
    Ok(Presented { scheme: None, text })
}
