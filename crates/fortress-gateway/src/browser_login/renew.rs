//! New tokens for a session, before the old ones are over: asked for once, however many requests
//! come meanwhile.
//!
//! An issuer may take a refresh token once only, and end everything when it comes again (RFC 9700,
//! section 4.14.2). So one request asks, in a task that nobody's going away ends; the others wait for
//! it; and those who come later with the old cookie get what was got before.

use std::sync::Arc;

use fortress_auth::{
    Verified,
    login::{Session, TokensError},
};
use fortress_model::Timestamp;

use super::{
    Failure, LoginPlan,
    ends::{Redeemed, redeem},
    memory::{Outcome, Role, Unrenewed},
};

/// How often a request looks whether what was got before is due itself.
const HOPS: usize = 8;

/// The session with new tokens.
pub(super) async fn renew(login: &Arc<LoginPlan>, session: &Session, now: Timestamp) -> Outcome {
    let mut current = Arc::new(session.clone());
    for _ in 0..HOPS {
        match login.memory.renewed(&current) {
            Some(next) if !next.is_due(now) => return Ok(next),
            Some(next) => current = next,
            None => break,
        }
    }
    let unavailable = |why: &str| Err(Unrenewed::Unavailable(why.into()));
    if login.memory.is_left_alone(now) {
        return unavailable("the issuer failed a moment ago");
    }
    let mut outcome = match login.memory.role(&current) {
        Role::GiveUp => return unavailable("too many sessions are being renewed"),
        Role::Wait(outcome) => outcome,
        Role::Ask(flight) => {
            let outcome = flight.watch();
            let login = Arc::clone(login);
            tokio::task::spawn_local(async move {
                let outcome = ask(&login, &current, now).await;
                if let Err(Unrenewed::Unavailable(why)) = &outcome {
                    login.memory.leave_alone(now);
                    tracing::warn!(identity = &*login.name, why = &**why, "no new tokens");
                }
                flight.land(outcome);
            });
            outcome
        }
    };
    let landed = outcome.wait_for(Option::is_some).await;
    match landed.ok().and_then(|outcome| outcome.clone()) {
        Some(outcome) => outcome,
        None => unavailable("who asked went away"),
    }
}

async fn ask(login: &LoginPlan, session: &Session, now: Timestamp) -> Outcome {
    let unavailable = |why: String| Unrenewed::Unavailable(why.into());
    let ended = |why: String| Unrenewed::Ended(why.into());
    let before = session
        .verified(None)
        .ok_or_else(|| ended("the ID token cannot be read".to_owned()))?;
    let refresh = session
        .refresh_token
        .as_ref()
        .ok_or_else(|| ended("there is no refresh token".to_owned()))?;
    let endpoints = login.endpoints().await.map_err(unavailable)?;
    let endpoint = endpoints
        .token
        .ok_or_else(|| unavailable(format!("`{}` names no token endpoint", login.issuer)))?;
    let request = login.client.refresh(refresh);
    let tokens = redeem(login, &endpoint, &request)
        .await
        .map_err(|error| match error {
            Redeemed::Unavailable(why) => unavailable(why),
            Redeemed::Answer(error @ TokensError::Refused(_)) => ended(error.to_string()),
            Redeemed::Answer(error) => unavailable(error.to_string()),
        })?;
    let id_token = match tokens.id_token.clone() {
        None => None,
        Some(token) => {
            let access = tokens.access_token.expose();
            let verified = identify(login, token.expose(), &before, access, now).await;
            let verified = verified.map_err(|failure| match failure {
                Failure::Refused(why) => ended(why),
                Failure::Unavailable(why) => unavailable(why),
            })?;
            Some((token, verified.expires))
        }
    };
    Ok(Arc::new(session.renewed(tokens, id_token, now)))
}

async fn identify(
    login: &LoginPlan,
    token: &str,
    before: &Verified,
    access_token: &str,
    now: Timestamp,
) -> Result<Verified, Failure> {
    let verifier = &login.id_tokens;
    login
        .identify(|keys| verifier.verify_refreshed(token, keys, before, access_token, now))
        .await
}
