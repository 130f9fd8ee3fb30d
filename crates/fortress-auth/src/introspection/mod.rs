//! Tokens that only their issuer can read (RFC 7662): the question to it, and its answer, plain or
//! signed (RFC 9701), judged into the same [`Verified`] as a signed token.
//!
//! Asking, and the connection that vouches for the answer, are not here. Whoever asks must do so
//! over TLS and as an authenticated client.

mod cache;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_model::{Reason, Secret, Timestamp};

use crate::{
    Algorithm, Claims, Confirmation, Expectations, JwkSet, MAX_TOKEN, Verified, Verifier,
    error::TokenError,
    json::{self, Object, Value},
    registered::{self, Claimed, text},
    verify::{Proven, fingerprint, is_type},
};

pub use cache::OpaqueCache;

/// The longest answer that is looked at, in bytes.
pub const MAX_INTROSPECTION: usize = 64 << 10;

/// How old a signed answer may be: it answers a question that was asked just now.
const MAX_ANSWER_AGE: Duration = Duration::from_secs(60);
/// Objects and arrays that may be open at once in an answer.
const DEPTH: usize = 16;

/// What a token must be to be accepted, by what its issuer says of it.
#[derive(Clone, Debug, Default)]
pub struct AnswerExpectations {
    /// The issuer whose endpoint is asked. `iss` may be absent, since the connection says whose
    /// answer it is; if it stands there it must be this. Empty: no plain answer is held against
    /// it, and no signed one is accepted.
    pub issuer: String,
    /// `aud` must be there and have one of these, exactly. Empty: for whom a token is, is not
    /// looked at, which is right only where the issuer tells its resource servers apart and says
    /// `active` to none but the right one (RFC 7662, section 4).
    pub audience: Vec<String>,
    /// How far this clock and the issuer's may be apart.
    pub leeway: Duration,
    /// The member that holds the scopes, as a dotted path; if none, `scope`, else `scp`.
    pub scope_claim: Option<String>,
}

/// Asks about tokens, and judges the answers.
#[derive(Debug)]
pub struct Introspector {
    expected: AnswerExpectations,
    fingerprint: [u8; 32],
}

/// What is known of a token after its issuer was asked.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It may be believed.
    Active(Arc<Verified>),
    /// It may not: not active, expired, or for somebody else.
    Refused(TokenError),
}

/// Why an answer is none. The issuer failed, not the client; nothing is known of the token, which
/// is not accepted, and nothing is cached.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// Longer than [`MAX_INTROSPECTION`].
    #[error("the issuer's answer is longer than {MAX_INTROSPECTION} bytes")]
    TooLarge,
    /// Not strict JSON: a member twice, for example.
    #[error("the issuer's answer is malformed: {0}")]
    Malformed(&'static str),
    /// RFC 7662, section 2.2: `active` is a boolean, and must be there.
    #[error("the issuer's answer does not say `active`: true or false")]
    NoActive,
    /// A member has the wrong type.
    #[error("the issuer's answer, read as a token, is malformed: {0}")]
    Member(TokenError),
    /// A signed answer that cannot be believed. With [`TokenError::UnknownKey`] newer keys may
    /// help.
    #[error("the issuer's signed answer is refused: {0}")]
    Signed(TokenError),
    /// A signed answer that was made for an earlier question.
    #[error("the issuer's signed answer is {0} s old")]
    Stale(u64),
}

impl IntrospectionError {
    /// Whether what is wrong may be one token's alone: the issuer answered, and not so that it could
    /// be understood. Else it would answer no other question either.
    #[must_use]
    pub fn is_about_the_token(&self) -> bool {
        match self {
            Self::TooLarge | Self::Malformed(_) | Self::NoActive | Self::Member(_) => true,
            Self::Signed(_) | Self::Stale(_) => false,
        }
    }

    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        Reason::KeysUnavailable
    }
}

/// The body of the question (RFC 7662, section 2.1), as `application/x-www-form-urlencoded`.
///
/// # Errors
/// The token is longer than [`MAX_TOKEN`], or not one by RFC 6750, section 2.1: nobody is asked
/// about those.
pub fn introspection_body(token: &str) -> Result<Secret<String>, TokenError> {
    if token.len() > MAX_TOKEN {
        return Err(TokenError::TooLarge);
    }
    let stem = token.trim_end_matches('=');
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if stem.is_empty() || !stem.bytes().all(is_token) {
        return Err(TokenError::NotOpaque);
    }
    let mut body = String::from("token=");
    form_encode(token, &mut body);
    body.push_str("&token_type_hint=access_token");
    Ok(Secret::new(body))
}

/// The value of `Authorization` for a client with a secret (RFC 6749, section 2.3.1: both are
/// form-encoded first, so that a colon in an id does not move the border).
pub fn client_authorization(id: &str, secret: &Secret<String>) -> Secret<String> {
    let mut pair = String::new();
    form_encode(id, &mut pair);
    pair.push(':');
    form_encode(secret.expose(), &mut pair);
    let pair = Secret::new(pair);
    let mut value = String::from("Basic ");
    STANDARD.encode_string(pair.expose(), &mut value);
    Secret::new(value)
}

/// The encoding of a form (RFC 6749, appendix B).
pub(crate) fn form_encode(text: &str, to: &mut String) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or_default();
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'*' | b'-' | b'.' | b'_' => {
                to.push(char::from(byte));
            }
            b' ' => to.push('+'),
            _ => to.extend(['%', digit(byte >> 4), digit(byte & 0x0f)]),
        }
    }
}

impl Introspector {
    /// Takes what is expected of a token.
    pub fn new(expected: AnswerExpectations) -> Self {
        let fingerprint = fingerprint(&expected);
        Self {
            expected,
            fingerprint,
        }
    }

    /// What is expected of a token.
    pub fn expectations(&self) -> &AnswerExpectations {
        &self.expected
    }

    /// Differs between introspectors that could judge one token differently.
    pub(crate) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Judges a plain answer, `application/json`.
    ///
    /// # Errors
    /// It is no answer; nothing is known of the token.
    pub fn judge(&self, body: &[u8], now: Timestamp) -> Result<Answer, IntrospectionError> {
        if body.len() > MAX_INTROSPECTION {
            return Err(IntrospectionError::TooLarge);
        }
        let answer = json::read_object(body, DEPTH)
            .map_err(|rejected| IntrospectionError::Malformed(rejected.what()))?;
        self.judge_members(answer, now)
    }

    /// Judges a signed answer, `application/token-introspection+jwt` (RFC 9701, section 5): from
    /// the issuer, for `resource_server` (the id as which was asked), and fresh.
    ///
    /// # Errors
    /// It is no answer, or cannot be believed; nothing is known of the token.
    pub fn judge_signed(
        &self,
        answer: &str,
        resource_server: &str,
        algorithms: &[Algorithm],
        keys: &JwkSet,
        now: Timestamp,
    ) -> Result<Answer, IntrospectionError> {
        let verifier = Verifier::new(Expectations {
            issuer: self.expected.issuer.clone(),
            algorithms: algorithms.to_vec(),
            ..Expectations::default()
        });
        let is_answer = |given: Option<&str>| {
            given.is_some_and(|given| is_type(given, &["token-introspection+jwt"]))
        };
        let (_, claims) = verifier
            .signed(answer.trim_ascii(), keys, is_answer)
            .map_err(IntrospectionError::Signed)?;
        self.check_answer(&claims, resource_server, now)?;
        let inner = claims
            .get("token_introspection")
            .and_then(Value::as_object)
            .ok_or(IntrospectionError::Malformed(
                "no object `token_introspection`",
            ))?;
        self.judge_members(inner.clone(), now)
    }

    fn check_answer(
        &self,
        claims: &Object,
        resource_server: &str,
        now: Timestamp,
    ) -> Result<(), IntrospectionError> {
        let refused = IntrospectionError::Signed;
        let missing = |name| refused(TokenError::ClaimMissing(name));
        let claimed = Claimed::read(claims).map_err(refused)?;
        let issuer = claimed.issuer.ok_or(missing("iss"))?;
        if issuer.is_empty() || issuer != self.expected.issuer {
            return Err(refused(TokenError::Issuer));
        }
        let audience = claimed.audience.as_deref().ok_or(missing("aud"))?;
        if !registered::names_one(audience, &[resource_server.to_owned()]) {
            return Err(refused(TokenError::Audience));
        }
        let issued = claimed.issued.ok_or(missing("iat"))?;
        claimed
            .check_times(self.expected.leeway, now)
            .map_err(refused)?;
        let age = Duration::from_nanos(now.0).saturating_sub(issued);
        if age > MAX_ANSWER_AGE.saturating_add(self.expected.leeway) {
            return Err(IntrospectionError::Stale(age.as_secs()));
        }
        Ok(())
    }

    fn judge_members(&self, answer: Object, now: Timestamp) -> Result<Answer, IntrospectionError> {
        let active = answer.get("active").and_then(Value::as_bool);
        if !active.ok_or(IntrospectionError::NoActive)? {
            return Ok(Answer::Refused(TokenError::Inactive));
        }
        match self.accept(answer, now) {
            Ok(verified) => Ok(Answer::Active(Arc::new(verified))),
            // The issuer broke its own rules: that says nothing about the token.
            Err(error @ TokenError::ClaimMalformed { .. }) => {
                Err(IntrospectionError::Member(error))
            }
            Err(error) => Ok(Answer::Refused(error)),
        }
    }

    fn accept(&self, answer: Object, now: Timestamp) -> Result<Verified, TokenError> {
        let claimed = Claimed::read(&answer)?;
        let is_dpop = is_dpop(&answer)?;
        let confirmation = Confirmation::read(&answer)?;
        let subject = registered::subject(&answer)?;

        let ours = &self.expected;
        if !ours.issuer.is_empty() && claimed.issuer.is_some_and(|issuer| issuer != ours.issuer) {
            return Err(TokenError::Issuer);
        }
        if !ours.audience.is_empty() {
            let audience = claimed.audience.as_deref();
            let audience = audience.ok_or(TokenError::ClaimMissing("aud"))?;
            if !registered::names_one(audience, &ours.audience) {
                return Err(TokenError::Audience);
            }
        }
        claimed.check_times(ours.leeway, now)?;
        if is_dpop && confirmation.key_thumbprint.is_none() {
            return Err(TokenError::ClaimMissing("cnf"));
        }
        let expires = claimed.expires.map(|expires| expires.as_secs());
        let claims = Claims::new(answer);
        let scopes = registered::scopes(&claims, ours.scope_claim.as_deref())?;
        Ok(Verified {
            subject,
            scopes,
            expires,
            proven: Proven::Introspection,
            confirmation,
            claims,
        })
    }
}

/// `token_type`, where it stands, is that of an access token (RFC 6749, section 7.1); not that of
/// a refresh token, about which an issuer may be asked, too.
fn is_dpop(answer: &Object) -> Result<bool, TokenError> {
    match text(answer, "token_type")? {
        None => Ok(false),
        Some(name) if name.eq_ignore_ascii_case("Bearer") => Ok(false),
        Some(name) if name.eq_ignore_ascii_case("DPoP") => Ok(true),
        Some(_) => Err(TokenError::NotAccessToken),
    }
}
