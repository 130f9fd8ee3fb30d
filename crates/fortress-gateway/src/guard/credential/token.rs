//! Tokens of an issuer: verified by its keys, or asked about at the issuer, and bound to whoever may
//! show them.

use std::sync::{Arc, atomic::Ordering};

use fortress_auth::{
    Answer, BindError, DpopError, IntrospectionError, MAX_INTROSPECTION, Proof as DpopProof,
    ProofTarget, TokenError, TokenScheme, Verified, bind, introspection_body, names_a_key,
    peek_issuer, proof_field,
};
use fortress_model::{Reason, Timestamp, config::WhichTokens};
use http::{StatusCode, header};

use super::{Caller, Presented, Refusal, Shown, present};
use crate::{
    compile::{DpopPlan, IdentityPlan, IntrospectionPlan, Place, TokenPlan},
    fetch::Limits,
    guard::{challenge::Hint, principal::Proof},
    keys::Newer,
    upstream::Question,
};

/// An issuer that failed is left alone for so long (nanoseconds): who waits for it would only wait
/// longer.
const LEFT_ALONE: u64 = 1_000_000_000;

/// Judges the token that a request shows.
pub(super) async fn judge(
    identity: &Arc<IdentityPlan>,
    plan: &TokenPlan,
    place: &Place,
    shown: &Shown<'_>,
) -> Result<Caller, Refusal> {
    let in_cookie = matches!(place, Place::Cookie(_));
    if plan.login.is_some() && (in_cookie || !shown.headers.contains_key(header::AUTHORIZATION)) {
        return session(identity, shown);
    }
    let presented = present(place, shown)?;
    let (scheme, token) = text(plan, &presented)?;
    let judged = judge_token(identity, plan, scheme, token, shown).await;
    let verified = judged.map_err(|refusal| match scheme {
        TokenScheme::Dpop => refusal.under_dpop(),
        TokenScheme::Bearer => refusal,
    })?;
    Ok(Caller {
        id: Arc::clone(&verified.subject),
        identity: Arc::clone(identity),
        proof: Proof::Token(verified),
    })
}

/// Who logged in with this browser.
fn session(identity: &Arc<IdentityPlan>, shown: &Shown<'_>) -> Result<Caller, Refusal> {
    match shown.sessions.of(identity) {
        None => Err(Refusal::missing("no session")),
        Some(Err((reason, why))) => Err(Refusal::new(*reason, why.clone())),
        Some(Ok(live)) => Ok(Caller {
            id: Arc::clone(&live.verified.subject),
            identity: Arc::clone(identity),
            proof: Proof::Session(Arc::clone(live)),
        }),
    }
}

async fn judge_token(
    identity: &IdentityPlan,
    plan: &TokenPlan,
    scheme: TokenScheme,
    token: &str,
    shown: &Shown<'_>,
) -> Result<Arc<Verified>, Refusal> {
    let verified = match &plan.introspection {
        Some(asked) if asked.tokens == WhichTokens::All || peek_issuer(token).is_err() => {
            ask(identity, plan, asked, token, shown.now).await?
        }
        Some(_) | None => verify(identity, plan, token, shown.now).await?,
    };
    // After the caches: a revocation holds at once.
    let issuer = &plan.verifier.expectations().issuer;
    if let Some(store) = plan.store.get() {
        store
            .revocations()
            .check(&verified, issuer, shown.now)
            .map_err(|error| Refusal::new(Reason::CredentialRevoked, error.to_string()))?;
    }
    check_binding(plan, scheme, token, &verified, shown)?;
    Ok(verified)
}

/// The token itself, and the scheme that it was shown under (RFC 6750, section 2.1; RFC 9449,
/// section 7.1). In a field of its own or in a cookie it is a bearer token.
fn text<'p>(
    plan: &TokenPlan,
    presented: &'p Presented<'_>,
) -> Result<(TokenScheme, &'p str), Refusal> {
    let Some(scheme) = presented.scheme else {
        return Ok((TokenScheme::Bearer, &presented.text));
    };
    let scheme = TokenScheme::from_name(scheme)
        .filter(|scheme| *scheme == TokenScheme::Bearer || plan.dpop.is_some())
        .ok_or_else(|| Refusal::missing("a credential of another scheme"))?;
    let name = scheme.name();
    if presented.text.is_empty() {
        return Err(Refusal::malformed(format!("`{name}` without a token")));
    }
    if presented.text.contains([' ', ',', '\t']) {
        return Err(Refusal::malformed(format!("not `{name}` and one token")));
    }
    Ok((scheme, &presented.text))
}

/// That the token is shown by whom it was issued to (RFC 9449, section 7.1; RFC 8705, section 3).
fn check_binding(
    plan: &TokenPlan,
    scheme: TokenScheme,
    token: &str,
    verified: &Verified,
    shown: &Shown<'_>,
) -> Result<(), Refusal> {
    let unbound = |detail: &str| Refusal::new(Reason::CredentialUnbound, detail);
    let confirmation = &verified.confirmation;
    let proof = match (&plan.dpop, scheme) {
        (Some(dpop), TokenScheme::Dpop) => Some(proof(plan, dpop, token, shown)?),
        (Some(dpop), TokenScheme::Bearer) if dpop.required => {
            return Err(unbound("the token was shown without a proof of possession"));
        }
        (Some(_) | None, TokenScheme::Bearer | TokenScheme::Dpop) => None,
    };
    let certificate = shown.certificate_sha256();
    bind(confirmation, proof.as_ref(), certificate.as_ref(), scheme).map_err(|error| {
        let refusal = unbound(&error.to_string());
        if matches!(error, BindError::ProofMissing | BindError::ProofKey) {
            refusal.hint(Hint::dpop("invalid_dpop_proof", None))
        } else {
            refusal
        }
    })?;
    if plan.certificate_bound && confirmation.certificate_sha256.is_none() {
        return Err(unbound("the token is bound to no certificate"));
    }
    match &proof {
        Some(proof) => {
            let remembered = plan.memory.proofs.remember(proof, shown.now);
            remembered.map_err(|error| refused_proof(plan, &error, shown.now))
        }
        None => Ok(()),
    }
}

/// The proof of possession that came with a token.
fn proof(
    plan: &TokenPlan,
    dpop: &DpopPlan,
    token: &str,
    shown: &Shown<'_>,
) -> Result<DpopProof, Refusal> {
    let refused = |error: DpopError| refused_proof(plan, &error, shown.now);
    let values = shown.headers.get_all("dpop").iter();
    let text = proof_field(values.map(http::HeaderValue::as_bytes)).map_err(refused)?;
    let text = text.ok_or_else(|| {
        Refusal::new(
            Reason::CredentialUnbound,
            "the token was shown as `DPoP`, but no proof came with it",
        )
        .hint(Hint::dpop("invalid_dpop_proof", None))
    })?;
    let mut result = Err(DpopError::Uri);
    for uri in shown.uris() {
        let target = ProofTarget {
            method: shown.method.as_str(),
            uri: &uri,
            token: Some(token),
            nonces: dpop.nonce.then_some(&plan.memory.nonces),
        };
        result = dpop.proofs.verify(text, &target, shown.now);
        if !matches!(result, Err(DpopError::Uri)) {
            break;
        }
    }
    result.map_err(refused)
}

fn refused_proof(plan: &TokenPlan, error: &DpopError, now: Timestamp) -> Refusal {
    let replayed = matches!(error, DpopError::Replayed | DpopError::ReplayCacheFull);
    let reason = if replayed {
        Reason::CredentialReplayed
    } else {
        error.reason()
    };
    let wants_nonce = matches!(error, DpopError::NonceMissing | DpopError::Nonce);
    let nonce = wants_nonce.then(|| plan.memory.nonces.issue(now));
    let nonce = nonce.and_then(|nonce| http::HeaderValue::from_str(&nonce).ok());
    Refusal::new(reason, error.to_string()).hint(Hint::dpop(error.code(), nonce))
}

async fn verify(
    identity: &IdentityPlan,
    plan: &TokenPlan,
    token: &str,
    now: Timestamp,
) -> Result<Arc<Verified>, Refusal> {
    let refusal = |error: &TokenError| Refusal::new(error.reason(), error.to_string());
    let unavailable = || {
        let detail = format!("the keys of `{}` could not be had", identity.name);
        Refusal::new(Reason::KeysUnavailable, detail)
    };
    let keys = match plan.keys.current() {
        Some(keys) => keys,
        None => plan.keys.first().await.ok_or_else(unavailable)?,
    };
    let cache = &plan.memory.verified;
    match plan.verifier.verify_cached(token, &keys.set, now, cache) {
        Ok(verified) => Ok(verified),
        Err(unknown) if may_be_newer(&unknown, token) => {
            // The issuer may have rotated its keys: ask once, together with all who wait.
            let fresh = match plan.keys.newer(keys.generation).await {
                Newer::Keys(fresh) => fresh,
                Newer::None => return Err(refusal(&unknown)),
                // Whoever is told that a token is invalid throws it away.
                Newer::Unknown => return Err(unavailable()),
            };
            plan.verifier
                .verify_cached(token, &fresh.set, now, cache)
                .map_err(|error| refusal(&error))
        }
        Err(error) => Err(refusal(&error)),
    }
}

/// Whether a key that the issuer has begun to use meanwhile would verify the token.
fn may_be_newer(error: &TokenError, token: &str) -> bool {
    matches!(error, TokenError::UnknownKey { .. })
        || *error == TokenError::Signature && !names_a_key(token)
}

/// Asks the issuer about a token (RFC 7662), unless it was asked a moment ago.
async fn ask(
    identity: &IdentityPlan,
    plan: &TokenPlan,
    asked: &IntrospectionPlan,
    token: &str,
    now: Timestamp,
) -> Result<Arc<Verified>, Refusal> {
    let known = || plan.memory.opaque.get(token, &asked.introspector, now);
    if let Some(answer) = known() {
        return settled(answer);
    }
    let form = introspection_body(token)
        .map_err(|error| Refusal::new(error.reason(), error.to_string()))?;
    let unavailable = |why: String| {
        let detail = format!(
            "`{}` could not be asked about the token: {why}",
            identity.name
        );
        Refusal::new(Reason::IntrospectionUnavailable, detail)
    };
    if now.0 < asked.left_alone.load(Ordering::Relaxed) {
        return Err(unavailable("it failed a moment ago".to_owned()));
    }
    let waiting = tokio::time::timeout(asked.timeout, asked.under_way.leave(token));
    let Ok(Some(place)) = waiting.await else {
        return Err(unavailable("too many questions are under way".to_owned()));
    };
    // Whoever had the turn before may have asked about the same token.
    if let Some(answer) = known() {
        return settled(answer);
    }
    if now.0 < asked.left_alone.load(Ordering::Relaxed) {
        return Err(unavailable("it failed a moment ago".to_owned()));
    }
    let answer = question(plan, asked, &form, now).await;
    let judged = match answer {
        Ok(answer) => {
            plan.memory
                .opaque
                .insert(token, &asked.introspector, &answer, now);
            settled(answer)
        }
        Err(failure) => {
            let (NoAnswer::AboutThisToken(why) | NoAnswer::AtAll(why)) = &failure;
            tracing::warn!(identity = &*identity.name, why, "introspection failed");
            // One token that the issuer has something odd to say of is no fault of the others.
            if let NoAnswer::AtAll(_) = &failure {
                let until = now.0.saturating_add(LEFT_ALONE);
                asked.left_alone.store(until, Ordering::Relaxed);
            }
            Err(unavailable(why.clone()))
        }
    };
    // Not before the answer is known to those who wait.
    drop(place);
    judged
}

fn settled(answer: Answer) -> Result<Arc<Verified>, Refusal> {
    match answer {
        Answer::Active(verified) => Ok(verified),
        Answer::Refused(error) => Err(Refusal::new(error.reason(), error.to_string())),
    }
}

/// Why an issuer said nothing of a token.
enum NoAnswer {
    /// It answered, and not so that it could be understood.
    AboutThisToken(String),
    /// It would say as little of any other.
    AtAll(String),
}

impl<T: Into<String>> From<T> for NoAnswer {
    fn from(why: T) -> Self {
        Self::AtAll(why.into())
    }
}

async fn question(
    plan: &TokenPlan,
    asked: &IntrospectionPlan,
    form: &fortress_model::Secret<String>,
    now: Timestamp,
) -> Result<Answer, NoAnswer> {
    const SIGNED: &str = "application/token-introspection+jwt";
    let metadata = plan.keys.metadata();
    let discovered = metadata
        .as_ref()
        .and_then(|metadata| metadata.introspection_endpoint.as_deref());
    let url = asked
        .endpoint
        .as_deref()
        .or(discovered)
        .ok_or("its introspection endpoint is not known")?;
    let question = Question {
        accept: if asked.signed {
            SIGNED
        } else {
            "application/json"
        },
        authorization: Some(&asked.authorization),
        api_key: None,
        form: Some(form),
    };
    let limits = Limits {
        bytes: MAX_INTROSPECTION,
        time: asked.timeout,
    };
    let posted = plan.keys.fetcher().post(url, question, limits).await?;
    if posted.status != StatusCode::OK {
        let why = format!("the answer has status {}", posted.status.as_u16());
        // RFC 7662, section 2.3: what is wrong with the gateway's own credentials, or with the issuer,
        // is wrong with every question.
        return Err(match posted.status {
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::CONFLICT
            | StatusCode::UNPROCESSABLE_ENTITY => NoAnswer::AboutThisToken(why),
            _ => NoAnswer::AtAll(why),
        });
    }
    let odd = |error: IntrospectionError| {
        if error.is_about_the_token() {
            NoAnswer::AboutThisToken(error.to_string())
        } else {
            NoAnswer::AtAll(error.to_string())
        }
    };
    if !asked.signed {
        if posted.media_type != "application/json" {
            return Err("the answer is not JSON".into());
        }
        return asked.introspector.judge(&posted.body, now).map_err(odd);
    }
    if posted.media_type != SIGNED {
        return Err("the answer is not signed".into());
    }
    let text = std::str::from_utf8(&posted.body).map_err(|_| "the answer is not UTF-8")?;
    let keys = match plan.keys.current() {
        Some(keys) => keys,
        None => plan.keys.first().await.ok_or("its keys could not be had")?,
    };
    asked
        .introspector
        .judge_signed(text, &asked.client_id, &asked.algorithms, &keys.set, now)
        .map_err(odd)
}
