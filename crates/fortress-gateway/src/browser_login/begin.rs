//! The way to the issuer: where a browser is sent, and what it keeps until it comes back.

use std::sync::Arc;

use fortress_auth::{
    login::{self, MAX_LOGIN, MAX_LOGINS, Pending, Wanted, form_decode, is_navigation},
    session::{self, LoginSecrets, is_local_target},
};
use fortress_model::{Decision, Denial, Reason, Timestamp};
use http::{HeaderValue, Method, StatusCode, header};

use super::{Browser, Failure, LoginPlan, Page, Sessions, add_cookies, push, random, redirect};
use crate::{
    compile::{Access, CredentialKind, OperationPlan},
    cookie,
    reply::Reply,
    serve::Refused,
};

/// Refusals that a login may mend, if the request showed no other credential.
const MENDED: [Reason; 5] = [
    Reason::CredentialMissing,
    Reason::CredentialExpired,
    Reason::CredentialRevoked,
    Reason::SessionForged,
    Reason::AuthenticationInsufficient,
];

/// Who logged in a moment ago and is still not let in would be sent back and forth for ever: an
/// issuer need not know what `acr_values` asks for.
const JUST_NOW: std::time::Duration = std::time::Duration::from_secs(30);

/// Turns a refusal into a way to the issuer, if a person looks at a page and a login may help.
pub(crate) async fn send_away(
    decision: &mut Decision,
    plan: &OperationPlan,
    page: &Page<'_>,
    (sessions, browser): (&Sessions, &mut Browser),
    refused: Refused,
) -> Refused {
    let reason = refused.denial.reason;
    let may_help = MENDED.contains(&reason)
        && page.method == Method::GET
        && !page.headers.contains_key(header::AUTHORIZATION)
        && is_navigation(&page.fetch());
    let Some(login) = login_of(plan).filter(|_| may_help) else {
        return refused;
    };
    let steps_up = reason == Reason::AuthenticationInsufficient;
    if steps_up && sessions.began_within(JUST_NOW, page.now) {
        return refused;
    }
    let acr = plan.require.acr.as_deref().unwrap_or_default();
    let wanted = Wanted {
        acr,
        max_age: plan.require.max_age,
        // Without it an issuer may answer with the login that was not enough.
        prompt: (steps_up && !acr.is_empty())
            .then_some("login")
            .or(login.prompt),
    };
    match begin(login, page, &wanted, page.target, &mut browser.cookies).await {
        Ok(location) => {
            decision
                .notes
                .push(format!("sent to `{}` to log in", login.name));
            // Nothing was wrong with a request that shows nothing.
            decision
                .findings
                .pop_if(|finding| finding.reason == reason && reason != Reason::SessionForged);
            Refused {
                redirect: Some(Box::new(location)),
                ..refused
            }
        }
        Err(Failure::Refused(why)) => {
            decision.notes.push(format!("not sent to log in: {why}"));
            refused
        }
        Err(Failure::Unavailable(why)) => decision.fail(Reason::LoginUnavailable, why).into(),
    }
}

/// A page's own link to log in: `?return=/path`.
pub(super) async fn page(
    decision: &mut Decision,
    login: &Arc<LoginPlan>,
    page: &Page<'_>,
    query: &str,
) -> Result<Reply, Refused> {
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("return="))
        .and_then(form_decode)
        .filter(|target| is_local_target(target));
    let wanted = Wanted {
        prompt: login.prompt,
        ..Wanted::default()
    };
    let mut cookies = Vec::new();
    let target = asked.as_deref().unwrap_or("/");
    let began = begin(login, page, &wanted, target, &mut cookies).await;
    let location = began.map_err(|failure| said(decision, failure))?;
    decision
        .notes
        .push(format!("sent to `{}` to log in", login.name));
    let mut reply = redirect(StatusCode::FOUND, location);
    add_cookies(&mut reply, cookies);
    Ok(reply)
}

/// A failure, recorded.
pub(super) fn said(decision: &mut Decision, failure: Failure) -> Denial {
    match failure {
        Failure::Refused(why) => decision.fail(Reason::LoginFailed, why),
        Failure::Unavailable(why) => decision.fail(Reason::LoginUnavailable, why),
    }
}

/// The login that an operation's callers may use: of several the first.
fn login_of(plan: &OperationPlan) -> Option<&Arc<LoginPlan>> {
    let alternatives: &[_] = match &plan.access {
        Access::Public => &[],
        Access::AnyOf(alternatives) => alternatives,
    };
    let mut credentials = alternatives
        .iter()
        .flat_map(|alternative| &alternative.credentials);
    credentials.find_map(|credential| match &credential.identity.kind {
        CredentialKind::Token(plan) => plan.login.as_ref(),
        CredentialKind::ApiKey(_)
        | CredentialKind::Certificate(_)
        | CredentialKind::Basic(_)
        | CredentialKind::Signature(_)
        | CredentialKind::Webhook(_) => None,
    })
}

/// Begins a login: where the browser is to go, and the cookie that it comes back with.
async fn begin(
    login: &LoginPlan,
    page: &Page<'_>,
    wanted: &Wanted<'_>,
    return_to: &str,
    cookies: &mut Vec<HeaderValue>,
) -> Result<HeaderValue, Failure> {
    let plain = || Failure::Refused("a login in plain text would keep nothing secret".to_owned());
    let origin = login.origin(page).ok_or_else(plain)?;
    let endpoints = login.endpoints().await.map_err(Failure::Unavailable)?;
    let endpoint = endpoints.authorization.ok_or_else(|| {
        Failure::Unavailable(format!("`{}` names no place to log in at", login.issuer))
    })?;
    let pending = Pending {
        secrets: LoginSecrets::new(&[random()?, random()?, random()?]),
        redirect_uri: format!("{origin}{}", login.paths.callback),
        return_to: if is_local_target(return_to) {
            return_to.to_owned()
        } else {
            "/".to_owned()
        },
        max_age: wanted.max_age,
        begun: page.now,
    };
    let span = u64::try_from(MAX_LOGIN.as_nanos()).unwrap_or(u64::MAX);
    let expires = Timestamp(page.now.0.saturating_add(span));
    let names = login.login_cookies();
    let sealed = login
        .sealer
        .seal(&names, &pending.encode(), random()?, expires)
        .map_err(|error| Failure::Refused(error.to_string()))?;
    let suffix = login::cookie_suffix(&pending.secrets.state).unwrap_or_default();
    make_room(login, page, cookies);
    let cookie = session::set_cookie(&format!("{names}.{suffix}"), &sealed, MAX_LOGIN.as_secs());
    push(cookies, &cookie);
    let location = pending.location(&endpoint, &login.client, wanted);
    HeaderValue::from_str(&location)
        .map_err(|_| Failure::Unavailable("the issuer's address is no address".to_owned()))
}

/// Takes away cookies of logins that can be ended no more, and the oldest of too many.
fn make_room(login: &LoginPlan, page: &Page<'_>, cookies: &mut Vec<HeaderValue>) {
    let names = login.login_cookies();
    let mut open: Vec<(Timestamp, &str)> = Vec::new();
    for (name, value) in cookie::all(page.headers) {
        if !name
            .strip_prefix(&*names)
            .is_some_and(|rest| rest.starts_with('.'))
        {
            continue;
        }
        let opened = login.sealer.open(&names, value, page.now);
        match opened
            .ok()
            .and_then(|opened| Pending::decode(opened.content.expose()))
        {
            Some(pending) => open.push((pending.begun, name)),
            None => push(cookies, &session::remove_cookie(name)),
        }
    }
    open.sort_unstable();
    let surplus = (open.len() + 1).saturating_sub(MAX_LOGINS);
    for (_, name) in open.into_iter().take(surplus) {
        push(cookies, &session::remove_cookie(name));
    }
}
