//! Who a browser is, by its session's cookie.

use std::{sync::Arc, time::Duration};

use fortress_auth::{
    Verified,
    login::{Session, is_same_origin},
    session::{self, SessionError, Stale},
};
use fortress_model::{Reason, Secret, Timestamp};
use http::{HeaderValue, header};
use smallvec::SmallVec;

use super::{Browser, Failure, LoginPlan, Page, memory::Unrenewed, memory::later, renew::renew};
use crate::{
    compile::{Access, CredentialKind, IdentityPlan, OperationPlan},
    cookie,
};

/// A session that counts.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) verified: Verified,
    started: Timestamp,
    access_token: Secret<String>,
}

impl Live {
    /// For the upstream.
    pub(crate) fn access_token(&self) -> &Secret<String> {
        &self.access_token
    }
}

/// What is known of the browser, by the entries of `identity` that an operation accepts.
#[derive(Debug, Default)]
pub(crate) struct Sessions(SmallVec<[(Arc<str>, Known); 1]>);

/// A session, or why it is none.
pub(crate) type Known = Result<Arc<Live>, (Reason, String)>;

impl Sessions {
    /// The session at an entry; `None` if none was shown.
    pub(crate) fn of(&self, identity: &IdentityPlan) -> Option<&Known> {
        let mut known = self.0.iter();
        known.find_map(|(name, known)| (*name == identity.name).then_some(known))
    }

    /// One of them began so short a time ago.
    pub(super) fn began_within(&self, time: Duration, now: Timestamp) -> bool {
        let mut known = self.0.iter();
        known.any(|(_, known)| {
            known
                .as_ref()
                .is_ok_and(|live| now.since(live.started) < time)
        })
    }
}

/// Looks for sessions that the operation accepts. `browser` learns what it is to change.
pub(crate) async fn recognise(
    plan: &OperationPlan,
    page: &Page<'_>,
    browser: &mut Browser,
) -> Sessions {
    let mut sessions = Sessions::default();
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    // Who shows a token means the token: a page of another site cannot make a browser send one.
    if !page.headers.contains_key(header::COOKIE)
        || page.headers.contains_key(header::AUTHORIZATION)
    {
        return sessions;
    }
    let credentials = alternatives.iter().flat_map(|one| &one.credentials);
    for credential in credentials {
        let CredentialKind::Token(token) = &credential.identity.kind else {
            continue;
        };
        let Some(login) = &token.login else { continue };
        if sessions.of(&credential.identity).is_some() {
            continue;
        }
        let known = match open(login, page) {
            None => continue,
            Some(opened) => judge(login, page, opened, &mut browser.cookies).await,
        };
        browser.is_known |= known.is_ok();
        sessions.0.push((Arc::clone(&login.name), known));
    }
    sessions
}

/// A session as its cookie says it.
pub(super) struct Opened {
    pub(super) session: Session,
    is_stale: Stale,
}

/// Decrypts the session's cookie; `None` if there is none.
pub(super) fn open(login: &LoginPlan, page: &Page<'_>) -> Option<Result<Opened, SessionError>> {
    let name = login.cookie();
    let value = session::join(&name, |piece| match cookie::find(page.headers, piece) {
        cookie::Found::One(value) => Some(value),
        // Not one of base64: it does not decrypt.
        cookie::Found::Several => Some("?"),
        cookie::Found::None => None,
    })?;
    let opened = login.sealer.open(&name, &value, page.now);
    Some(opened.and_then(|opened| {
        // What was sealed here and cannot be read is of another version.
        let session = Session::decode(opened.content.expose()).ok_or(SessionError::Expired(0))?;
        Ok(Opened {
            session,
            is_stale: opened.is_stale,
        })
    }))
}

async fn judge(
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
    opened: Result<Opened, SessionError>,
    cookies: &mut Vec<HeaderValue>,
) -> Known {
    let judged = match opened {
        Err(error @ SessionError::Expired(_)) => {
            Err((Reason::CredentialExpired, error.to_string()))
        }
        Err(error) => Err((Reason::SessionForged, error.to_string())),
        Ok(opened) => live(login, page, opened, cookies).await,
    };
    // A session of another site's request, or one whose issuer is away, is still a session.
    let is_gone = |reason: &Reason| {
        [
            Reason::CredentialExpired,
            Reason::CredentialRevoked,
            Reason::SessionForged,
        ]
        .contains(reason)
    };
    if judged.as_ref().is_err_and(|(reason, _)| is_gone(reason)) {
        login.clear(page, cookies);
    }
    judged.map(Arc::new)
}

async fn live(
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
    Opened {
        mut session,
        is_stale,
    }: Opened,
    cookies: &mut Vec<HeaderValue>,
) -> Result<Live, (Reason, String)> {
    let now = page.now;
    let expired = |why: &str| (Reason::CredentialExpired, why.to_owned());
    if now >= session.ends(&login.lifetimes) {
        return Err(expired("the session lasted longer than it may"));
    }
    if login.memory.is_ended(&session, now) {
        let why = "the session was logged out".to_owned();
        return Err((Reason::CredentialRevoked, why));
    }
    let read = |session: &Session| {
        let verified = session.verified(login.scope_claim.as_deref());
        verified.ok_or_else(|| expired("the session's ID token cannot be read"))
    };
    let mut verified = read(&session)?;
    revoked(login, &session, &verified, now).map_err(|why| (Reason::CredentialRevoked, why))?;
    same_origin(login, page)?;
    let mut is_changed = is_stale == Stale::Yes || session.is_to_be_noted(&login.lifetimes, now);
    if session.is_due(now) && session.refresh_token.is_some() {
        match renew(login, &session, now).await {
            Ok(renewed) => {
                session = Session::clone(&renewed);
                verified = read(&session)?;
                is_changed = true;
            }
            Err(Unrenewed::Ended(why)) => {
                let until = later(session.started, login.lifetimes.absolute);
                login.memory.end(&session, until);
                return Err((
                    Reason::CredentialExpired,
                    format!("the session ended: {why}"),
                ));
            }
            Err(Unrenewed::Unavailable(why)) if session.is_over(now) => {
                let why = format!("the session's tokens are over: {why}");
                return Err((Reason::LoginUnavailable, why));
            }
            // What there is holds for a while.
            Err(Unrenewed::Unavailable(_)) => {}
        }
    }
    if session.is_over(now) {
        return Err(expired(
            "the session's tokens are over, and there is no way to new ones",
        ));
    }
    if is_changed {
        session.seen = now;
        match login.write(&session, page, cookies) {
            Ok(()) => {}
            Err(Failure::Refused(why) | Failure::Unavailable(why)) => {
                return Err((Reason::LoginUnavailable, why));
            }
        }
    }
    Ok(Live {
        verified,
        started: session.started,
        access_token: session.access_token,
    })
}

/// Whether an operator revoked a session: as for tokens, but by when the person logged in, since its
/// tokens are new again and again.
pub(super) fn revoked(
    login: &LoginPlan,
    session: &Session,
    verified: &Verified,
    now: Timestamp,
) -> Result<(), String> {
    let Some(store) = login.store.get() else {
        return Ok(());
    };
    let began = Some(session.started);
    let revocations = store.revocations();
    let checked = revocations.check_issued(verified, &login.issuer, began, now);
    checked.map_err(|error| error.to_string())
}

/// A browser sends the cookie whoever made it send the request: what may change something must come
/// from a page of this origin.
fn same_origin(login: &LoginPlan, page: &Page<'_>) -> Result<(), (Reason, String)> {
    if page.method.is_safe() {
        return Ok(());
    }
    let fetch = page.fetch();
    let own = login.origin(page).unwrap_or_default();
    if is_same_origin(&fetch, &own) {
        return Ok(());
    }
    let why = match (fetch.site, fetch.origin) {
        (Some(_), _) => "the request comes from a page of another site",
        (None, Some(_)) => "the request's `Origin` is another one",
        (None, None) => "the request says neither `Sec-Fetch-Site` nor `Origin`",
    };
    Err((Reason::SessionCrossSite, why.to_owned()))
}
