//! What the client and the issuer say to each other without the browser: codes and refresh tokens
//! are redeemed (RFC 6749, sections 4.1.3 and 6), tokens revoked (RFC 7009).

use std::{fmt, time::Duration};

use fortress_model::Secret;

use crate::{
    MAX_TOKEN, Object, Shown, Value, client_authorization, introspection::form_encode,
    json::read_object,
};

use super::Pending;

/// Bytes of an answer.
pub const MAX_TOKENS: usize = 64 << 10;
/// An answer is an object of scalars; providers put a few objects of their own in.
const DEPTH: usize = 8;
/// Ten years: what lasts longer is a mistake.
const MAX_LIFETIME: u64 = 10 * 365 * 24 * 3600;

/// How a client proves who it is (RFC 6749, section 2.3; OpenID Connect Core, section 9).
#[derive(Clone, Debug)]
pub enum ClientSecret {
    /// `client_secret_basic`.
    Basic(Secret<String>),
    /// `client_secret_post`.
    Post(Secret<String>),
    /// A public client: PKCE alone proves that the one who began ends it.
    None,
}

/// The client as the issuer knows it.
#[derive(Clone, Debug)]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// Scopes that it asks for, `openid` among them.
    pub scopes: Vec<String>,
    /// What proves who it is.
    pub secret: ClientSecret,
}

/// A form for the issuer.
#[derive(Debug)]
pub struct Request {
    /// The body.
    pub form: Secret<String>,
    /// The value of `Authorization`.
    pub authorization: Option<Secret<String>>,
}

impl Client {
    /// Redeems a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5).
    pub fn redeem(&self, code: &Secret<String>, pending: &Pending) -> Request {
        self.request(&[
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &pending.redirect_uri),
            ("code_verifier", pending.secrets.verifier.expose()),
        ])
    }

    /// Redeems a refresh token (RFC 6749, section 6). The scope stays what it was.
    pub fn refresh(&self, token: &Secret<String>) -> Request {
        self.request(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
        ])
    }

    /// Revokes a token (RFC 7009, section 2.1).
    pub fn revoke(&self, token: &Secret<String>, kind: &'static str) -> Request {
        self.request(&[("token", token.expose()), ("token_type_hint", kind)])
    }

    fn request(&self, fields: &[(&str, &str)]) -> Request {
        let own: &[(&str, &str)] = match &self.secret {
            ClientSecret::Basic(_) => &[],
            ClientSecret::Post(secret) => {
                &[("client_id", &self.id), ("client_secret", secret.expose())]
            }
            ClientSecret::None => &[("client_id", &self.id)],
        };
        let mut form = String::new();
        for (name, value) in fields.iter().chain(own) {
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            form_encode(value, &mut form);
        }
        let authorization = match &self.secret {
            ClientSecret::Basic(secret) => Some(client_authorization(&self.id, secret)),
            ClientSecret::Post(_) | ClientSecret::None => None,
        };
        Request {
            form: Secret::new(form),
            authorization,
        }
    }
}

/// What the issuer gives for a code or a refresh token.
#[derive(Clone)]
pub struct Tokens {
    /// For the upstream.
    pub access_token: Secret<String>,
    /// Who logged in.
    pub id_token: Option<Secret<String>>,
    /// For the next tokens.
    pub refresh_token: Option<Secret<String>>,
    /// How long the access token holds, if the issuer says so.
    pub lifetime: Option<Duration>,
    /// What was granted, if that is not what was asked for.
    pub scope: Option<String>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens([redacted])")
    }
}

/// Why there are none.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokensError {
    /// The issuer does not want to: the code or the refresh token does not count (`invalid_grant`).
    #[error("the issuer answers `{0}`")]
    Refused(Shown),
    /// The issuer says that something else is wrong, with this client or with itself.
    #[error("the issuer answers `{0}`")]
    Error(Shown),
    /// The answer is not what RFC 6749 describes.
    #[error("the issuer's answer is malformed: {0}")]
    Malformed(&'static str),
}

/// Reads the token endpoint's answer, whatever its status: an error is known by its `error`.
///
/// # Errors
/// [`TokensError`].
pub fn read_tokens(body: &[u8]) -> Result<Tokens, TokensError> {
    let malformed = TokensError::Malformed;
    if body.len() > MAX_TOKENS {
        return Err(malformed("it is too long"));
    }
    let answer = read_object(body, DEPTH).map_err(|rejected| malformed(rejected.what()))?;
    if let Some(error) = answer.get("error") {
        let error = error.as_str().ok_or(malformed("`error` is not a string"))?;
        let shown = Shown::new(error);
        return Err(if error == "invalid_grant" {
            TokensError::Refused(shown)
        } else {
            TokensError::Error(shown)
        });
    }
    let kind = answer.get("token_type").and_then(Value::as_str);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(malformed("`token_type` is not `Bearer`"));
    }
    let lifetime = match answer.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(Value::Number(number)) => number
            .as_i64()
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(|seconds| Some(Duration::from_secs(seconds.min(MAX_LIFETIME))))
            .ok_or(malformed("`expires_in` is not a number of seconds"))?,
        // Some write it as a string.
        Some(Value::String(text)) => {
            let seconds = text.parse::<u64>();
            let seconds =
                seconds.map_err(|_| malformed("`expires_in` is not a number of seconds"))?;
            Some(Duration::from_secs(seconds.min(MAX_LIFETIME)))
        }
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(malformed("`expires_in` is not a number of seconds"));
        }
    };
    Ok(Tokens {
        access_token: token(&answer, "access_token")?.ok_or(malformed("no `access_token`"))?,
        id_token: token(&answer, "id_token")?,
        refresh_token: token(&answer, "refresh_token")?,
        lifetime,
        scope: match answer.get("scope") {
            None | Some(Value::Null) => None,
            Some(scope) => {
                let scope = scope.as_str().ok_or(malformed("`scope` is not a string"))?;
                Some(scope.to_owned())
            }
        },
    })
}

/// A token that can stand in a header field and in a form.
fn token(answer: &Object, name: &str) -> Result<Option<Secret<String>>, TokensError> {
    let malformed = TokensError::Malformed("a token cannot be sent");
    match answer.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or(malformed.clone())?;
            let sendable = text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
            if text.is_empty() || text.len() > MAX_TOKEN || !sendable {
                return Err(malformed);
            }
            Ok(Some(Secret::new(text.to_owned())))
        }
    }
}
