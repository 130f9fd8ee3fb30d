//! The way back: a browser that comes from the issuer, and one that wants to be nobody again.

use std::{sync::Arc, time::Duration};

use fortress_auth::{
    Login as Expected,
    login::{
        Answer, LoginError, MAX_LOGIN, MAX_TOKENS, Pending, Request, Session, Tokens, TokensError,
        cookie_suffix, is_same_origin, logout_location, read_tokens,
    },
    session,
};
use fortress_model::{Decision, Denial, Reason, decision::PrincipalRecord};
use http::{HeaderValue, StatusCode, header};

use super::{
    Failure, LoginPlan, Page, add_cookies, begin::said, memory::later, push, random, redirect,
    sessions,
};
use crate::{
    cookie,
    fetch::{Limits, Posted},
    reply::Reply,
    serve::Refused,
    upstream::Question,
};

/// How long the issuer may take for an answer.
pub(super) const TIME: Duration = Duration::from_secs(5);
/// How long a logout waits for the issuer to revoke its tokens.
const REVOKE_TIME: Duration = Duration::from_secs(2);

/// Takes the issuer's answer, and begins a session if it is the one to a login of this browser.
pub(super) async fn callback(
    decision: &mut Decision,
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
    query: &str,
) -> Result<Reply, Refused> {
    let mut cookies = Vec::new();
    match begun(decision, login, page, query, &mut cookies).await {
        Ok(location) => {
            let mut reply = redirect(StatusCode::SEE_OTHER, location);
            add_cookies(&mut reply, cookies);
            Ok(reply)
        }
        Err(denial) => {
            let mut refused = Refused::from(denial);
            let cookies = cookies.into_iter();
            let fields = cookies.map(|cookie| (header::SET_COOKIE, cookie));
            refused.headers.extend(fields);
            Err(refused)
        }
    }
}

/// Begins a session; gives the way back to the page that the person wanted.
async fn begun(
    decision: &mut Decision,
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
    query: &str,
    cookies: &mut Vec<HeaderValue>,
) -> Result<HeaderValue, Denial> {
    let (pending, session) = end(login, page, query, cookies)
        .await
        .map_err(|failure| said(decision, failure))?;
    let verified = session
        .verified(login.scope_claim.as_deref())
        .ok_or_else(|| decision.fail(Reason::LoginFailed, "the ID token cannot be read"))?;
    decision.principal = Some(PrincipalRecord {
        id: Arc::clone(&verified.subject),
        identity: Arc::clone(&login.name),
        method: "login".to_owned(),
        expires: verified.expires,
    });
    sessions::revoked(login, &session, &verified, page.now)
        .map_err(|why| decision.fail(Reason::CredentialRevoked, why))?;
    login
        .write(&session, page, cookies)
        .map_err(|failure| said(decision, failure))?;
    decision.notes.push("logged in".to_owned());
    HeaderValue::from_str(&pending.return_to)
        .map_err(|_| decision.fail(Reason::LoginFailed, "there is no way back"))
}

/// From the answer to a session.
async fn end(
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
    query: &str,
    cookies: &mut Vec<HeaderValue>,
) -> Result<(Pending, Session), Failure> {
    let answer = Answer::read(query).map_err(refused)?;
    let pending = pending(login, page, &answer).ok_or_else(|| refused(LoginError::State))?;
    // Whatever comes of it, it was this login's only answer.
    let suffix = cookie_suffix(&answer.state).unwrap_or_default();
    let name = format!("{}.{suffix}", login.login_cookies());
    push(cookies, &session::remove_cookie(&name));
    let until = later(pending.begun, MAX_LOGIN);
    login.memory.answered(&answer.state, until, page.now)?;
    let endpoints = login.endpoints().await.map_err(Failure::Unavailable)?;
    let code = pending
        .code(&answer, &login.issuer, endpoints.announces, page.now)
        .map_err(refused)?;
    let endpoint = endpoints.token.ok_or_else(|| {
        Failure::Unavailable(format!(
            "`{}` names no place to redeem codes at",
            login.issuer
        ))
    })?;
    let tokens = redeem(login, &endpoint, &login.client.redeem(&code, &pending))
        .await
        .map_err(|error| match error {
            Redeemed::Unavailable(why) => Failure::Unavailable(why),
            // What is wrong with the client is no fault of the person's.
            Redeemed::Answer(error @ TokensError::Error(_)) => {
                Failure::Unavailable(error.to_string())
            }
            Redeemed::Answer(error) => refused(LoginError::Code(error)),
        })?;
    let id_token = tokens
        .id_token
        .clone()
        .ok_or_else(|| refused(LoginError::NoIdToken))?;
    let expected = Expected {
        nonce: &pending.secrets.nonce,
        access_token: Some(tokens.access_token.expose()),
        max_age: pending.max_age,
    };
    let verified = login
        .identify(|keys| {
            let verifier = &login.id_tokens;
            verifier.verify(id_token.expose(), keys, &expected, page.now)
        })
        .await?;
    let session = Session::begin(
        &random()?,
        tokens,
        (id_token, verified.expires),
        &login.client.scopes,
        page.now,
    );
    Ok((pending, session))
}

fn refused(error: LoginError) -> Failure {
    Failure::Refused(error.to_string())
}

/// The login that an answer belongs to, by the cookie that this browser kept of it.
fn pending(login: &LoginPlan, page: &Page<'_>, answer: &Answer) -> Option<Pending> {
    let names = login.login_cookies();
    let suffix = cookie_suffix(&answer.state)?;
    let cookie::Found::One(value) = cookie::find(page.headers, &format!("{names}.{suffix}")) else {
        return None;
    };
    let opened = login.sealer.open(&names, value, page.now).ok()?;
    let pending = Pending::decode(opened.content.expose())?;
    session::same_state(&pending.secrets.state, &answer.state).then_some(pending)
}

/// What came of asking for tokens.
#[derive(Debug)]
pub(super) enum Redeemed {
    Unavailable(String),
    Answer(TokensError),
}

/// Asks the issuer for tokens.
pub(super) async fn redeem(
    login: &LoginPlan,
    endpoint: &str,
    request: &Request,
) -> Result<Tokens, Redeemed> {
    let posted = post(login, endpoint, request, TIME).await;
    let posted = posted.map_err(Redeemed::Unavailable)?;
    let status = posted.status;
    let of_status = || {
        let status = status.as_u16();
        Redeemed::Unavailable(format!("the issuer's answer has status {status}"))
    };
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(of_status());
    }
    match read_tokens(&posted.body) {
        Ok(tokens) if status == StatusCode::OK => Ok(tokens),
        Ok(_) => Err(of_status()),
        Err(error) => Err(Redeemed::Answer(error)),
    }
}

async fn post(
    login: &LoginPlan,
    endpoint: &str,
    request: &Request,
    time: Duration,
) -> Result<Posted, String> {
    let Some(_place) = login.memory.question() else {
        return Err("too many questions are under way".to_owned());
    };
    let question = Question {
        accept: "application/json",
        authorization: request.authorization.as_ref(),
        api_key: None,
        form: Some(&request.form),
    };
    let limits = Limits {
        bytes: MAX_TOKENS,
        time,
    };
    let posted = login.keys.fetcher().post(endpoint, question, limits);
    posted.await
}

/// Ends a session: here, and at the issuer where it offers that.
pub(super) async fn logout(
    decision: &mut Decision,
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
) -> Result<Reply, Refused> {
    let origin = login.origin(page).unwrap_or_default();
    // Another site's picture or form must not log anybody out.
    if !is_same_origin(&page.fetch(), &origin) {
        let detail = "a logout that does not come from a page of this origin";
        decision.refuse(Reason::SessionCrossSite, detail)?;
    }
    let mut cookies = Vec::new();
    let session = sessions::open(login, page).and_then(Result::ok);
    login.clear(page, &mut cookies);
    let mut location = login.paths.after_logout.clone();
    if let Some(opened) = session {
        let session = opened.session;
        login
            .memory
            .end(&session, later(session.started, login.lifetimes.absolute));
        if let Some(verified) = session.verified(None) {
            decision.principal = Some(PrincipalRecord {
                id: verified.subject,
                identity: Arc::clone(&login.name),
                method: "session".to_owned(),
                expires: verified.expires,
            });
        }
        decision.notes.push("logged out".to_owned());
        match login.endpoints().await {
            Ok(endpoints) => {
                if let Some(endpoint) = &endpoints.revocation {
                    revoke(decision, login, endpoint, &session).await;
                }
                if let Some(endpoint) = endpoints.end_session.filter(|_| login.logout_at_issuer) {
                    let back = format!("{origin}{}", login.paths.after_logout);
                    location = logout_location(&endpoint, &login.client, &session.id_token, &back);
                }
            }
            // It is over here in any case.
            Err(why) => decision
                .notes
                .push(format!("not logged out at the issuer: {why}")),
        }
    }
    let location = HeaderValue::from_str(&location)
        .map_err(|_| decision.fail(Reason::LoginUnavailable, "the issuer's address is none"))?;
    let mut reply = redirect(StatusCode::SEE_OTHER, location);
    add_cookies(&mut reply, cookies);
    Ok(reply)
}

/// Revokes what would outlive the session (RFC 7009): with the refresh token go the access tokens
/// that it gave.
async fn revoke(decision: &mut Decision, login: &LoginPlan, endpoint: &str, session: &Session) {
    let (token, kind) = match &session.refresh_token {
        Some(token) => (token, "refresh_token"),
        None => (&session.access_token, "access_token"),
    };
    let request = login.client.revoke(token, kind);
    let why = match post(login, endpoint, &request, REVOKE_TIME).await {
        Ok(posted) if posted.status == StatusCode::OK => return,
        Ok(posted) => format!("status {}", posted.status.as_u16()),
        Err(why) => why,
    };
    decision.notes.push(format!("tokens not revoked: {why}"));
}
