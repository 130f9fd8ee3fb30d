//! Who calls: the credential that the request shows, judged by the identity that the operation
//! accepts.
//!
//! Deliberately not here: whether the principal may do it (`authorize`), the cryptography
//! (`fortress-auth`), and getting hold of keys (`keys`).

use std::sync::Arc;

use fortress_auth::{TokenError, Verified};
use fortress_model::{Decision, Denial, Reason, Timestamp, decision::PrincipalRecord};
use http::{HeaderMap, header};

use crate::{
    compile::{Access, Alternative, CredentialPlan, IdentityPlan, OperationPlan, Place},
    cookie,
};

/// Who calls. Built here and nowhere else, so holding one proves that the credentials were checked.
#[derive(Debug)]
pub(crate) struct Principal {
    verified: Option<Arc<Verified>>,
    /// The alternative of the operation's `security` that is satisfied, scopes aside.
    alternative: Option<usize>,
}

impl Principal {
    const ANONYMOUS: Self = Self {
        verified: None,
        alternative: None,
    };

    /// The verified token, if one was shown.
    pub(crate) fn verified(&self) -> Option<&Verified> {
        self.verified.as_deref()
    }

    pub(crate) fn alternative(&self) -> Option<usize> {
        self.alternative
    }
}

/// Checks the credentials.
///
/// # Errors
/// `credential.*` or `keys.unavailable`. Of several alternatives the first that is satisfied
/// counts; if none is, the answer says what is wrong with the credential that came nearest.
pub(crate) async fn check(
    decision: &mut Decision,
    plan: &OperationPlan,
    headers: &HeaderMap,
) -> Result<Principal, Denial> {
    let alternatives = match &plan.access {
        Access::Public => return Ok(Principal::ANONYMOUS),
        Access::AnyOf(alternatives) => alternatives,
    };
    let mut nearest: Option<Refusal> = None;
    for (index, alternative) in alternatives.iter().enumerate() {
        match satisfy(alternative, headers, decision.received).await {
            Ok(Some((identity, verified))) => {
                decision.principal = Some(record(identity, &verified));
                return Ok(Principal {
                    verified: Some(verified),
                    alternative: Some(index),
                });
            }
            Ok(None) => {
                return Ok(Principal {
                    verified: None,
                    alternative: Some(index),
                });
            }
            Err(refusal) => {
                let nearer = nearest
                    .as_ref()
                    .is_none_or(|best| refusal.rank() > best.rank());
                if nearer {
                    nearest = Some(refusal);
                }
            }
        }
    }
    let refusal = nearest.unwrap_or(Refusal {
        reason: Reason::CredentialMissing,
        detail: "no credential".into(),
    });
    decision.refuse(refusal.reason, refusal.detail)?;
    Ok(Principal::ANONYMOUS)
}

struct Refusal {
    reason: Reason,
    detail: String,
}

impl Refusal {
    /// How near the credential came: a missing one tells the least.
    fn rank(&self) -> usize {
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

type Satisfied<'a> = Option<(&'a Arc<IdentityPlan>, Arc<Verified>)>;

/// All credentials of the alternative; `None` if it demands none and none was shown.
async fn satisfy<'a>(
    alternative: &'a Alternative,
    headers: &HeaderMap,
    now: Timestamp,
) -> Result<Satisfied<'a>, Refusal> {
    let mut satisfied: Satisfied<'a> = None;
    if alternative.credentials.is_empty() && headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal {
            reason: Reason::CredentialInvalid,
            detail: "a credential was shown that no alternative accepts".into(),
        });
    }
    for credential in &alternative.credentials {
        let token = present(credential, headers)?;
        let verified = verify(&credential.identity, &token, now).await?;
        if let Some((_, earlier)) = &satisfied
            && earlier.subject != verified.subject
        {
            return Err(Refusal {
                reason: Reason::CredentialInvalid,
                detail: "two credentials name different principals".into(),
            });
        }
        satisfied = Some((&credential.identity, verified));
    }
    Ok(satisfied)
}

fn present(credential: &CredentialPlan, headers: &HeaderMap) -> Result<String, Refusal> {
    let missing = |detail: &str| Refusal {
        reason: Reason::CredentialMissing,
        detail: detail.into(),
    };
    let malformed = |detail: &str| Refusal {
        reason: Reason::CredentialMalformed,
        detail: detail.into(),
    };
    let name = match &credential.place {
        Place::Bearer => header::AUTHORIZATION,
        Place::Header(name) => name.clone(),
        Place::Cookie(name) => {
            return match cookie::find(headers, name) {
                cookie::Found::One(value) => Ok(value.to_owned()),
                cookie::Found::None => Err(missing("no such cookie")),
                cookie::Found::Several => Err(malformed("the cookie is given twice")),
            };
        }
    };
    let mut values = headers.get_all(&name).iter();
    let value = values.next().ok_or_else(|| missing("no credential"))?;
    if values.next().is_some() {
        return Err(malformed("the credential's header field is given twice"));
    }
    let text = value.to_str().map_err(|_| malformed("not ASCII"))?;
    if matches!(credential.place, Place::Header(_)) && name != header::AUTHORIZATION {
        return Ok(text.to_owned());
    }
    // RFC 9110, section 11.4: the scheme's name is compared without case, then one space follows.
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            if token.is_empty() || token.contains([' ', ',', '\t']) {
                return Err(malformed("not `Bearer` and one token"));
            }
            Ok(token.to_owned())
        }
        Some(_) => Err(missing("a credential of another scheme")),
        None if text.eq_ignore_ascii_case("bearer") => Err(malformed("`Bearer` without a token")),
        None => Err(missing("a credential of another scheme")),
    }
}

async fn verify(
    identity: &Arc<IdentityPlan>,
    token: &str,
    now: Timestamp,
) -> Result<Arc<Verified>, Refusal> {
    let refusal = |error: &TokenError| Refusal {
        reason: error.reason(),
        detail: error.to_string(),
    };
    let unavailable = || Refusal {
        reason: Reason::KeysUnavailable,
        detail: format!("the keys of `{}` could not be had", identity.name),
    };
    let keys = match identity.keys.current() {
        Some(keys) => keys,
        None => identity
            .keys
            .refreshed(None)
            .await
            .ok_or_else(unavailable)?,
    };
    match identity
        .verifier
        .verify_cached(token, &keys.set, now, &identity.cache)
    {
        Ok(verified) => Ok(verified),
        Err(unknown @ TokenError::UnknownKey { .. }) => {
            // The issuer may have rotated its keys: ask once, together with all who wait.
            let fresh = identity.keys.refreshed(Some(keys.generation)).await;
            let Some(fresh) = fresh else {
                return Err(refusal(&unknown));
            };
            identity
                .verifier
                .verify_cached(token, &fresh.set, now, &identity.cache)
                .map_err(|error| refusal(&error))
        }
        Err(error) => Err(refusal(&error)),
    }
}

fn record(identity: &IdentityPlan, verified: &Verified) -> PrincipalRecord {
    PrincipalRecord {
        id: Arc::clone(&verified.subject),
        identity: Arc::clone(&identity.name),
        method: verified.proven.to_string(),
        expires: verified.expires,
    }
}
