//! The login of a browser (OpenID Connect Core, authorization code flow; RFC 6749, 7636, 9207,
//! 9700): the address that it is sent to, and whether the answer that it comes back with is the one
//! to its own login.
//!
//! Deliberately not here: IO, the cookies' encryption ([`session`](crate::session)), and the ID
//! token's checks ([`IdTokenVerifier`](crate::IdTokenVerifier)).

mod fields;
mod live;
mod origin;
mod tokens;

use std::time::Duration;

use fortress_model::{Reason, Secret, Timestamp};

use crate::{
    IdTokenError, Shown, introspection::form_encode, session::LoginSecrets, session::same_state,
};
use fields::{Reader, Writer};

pub use live::{Lifetimes, Session};
pub use origin::{Fetch, is_navigation, is_same_origin};
pub use tokens::{Client, ClientSecret, MAX_TOKENS, Request, Tokens, TokensError, read_tokens};

/// How long a login may take, from the redirect to the answer.
pub const MAX_LOGIN: Duration = Duration::from_secs(600);
/// Logins of one browser that may be under way at once: in several tabs.
pub const MAX_LOGINS: usize = 5;
/// Bytes of an answer's query.
const MAX_QUERY: usize = 8 << 10;
/// Characters of `state` that name the cookie of its login.
const NAME: usize = 8;

/// A login that was begun: what the browser keeps of it, encrypted.
#[derive(Clone, Debug)]
pub struct Pending {
    /// What nobody else knows.
    pub secrets: LoginSecrets,
    /// Where the issuer sends the browser back, as it was told.
    pub redirect_uri: String,
    /// Where the browser goes then: a path of this host.
    pub return_to: String,
    /// How recent the login must be, if that was asked for.
    pub max_age: Option<Duration>,
    /// When it was begun.
    pub begun: Timestamp,
}

/// What is asked of the issuer beyond a login (OpenID Connect Core, section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Authentication context classes, one of them.
    pub acr: &'a [String],
    /// How long ago the person may have logged in.
    pub max_age: Option<Duration>,
    /// `login`, `consent` or `select_account`.
    pub prompt: Option<&'a str>,
}

impl Pending {
    /// For the browser's cookie.
    pub fn encode(&self) -> Secret<Vec<u8>> {
        let mut writer = Writer::default();
        writer.time(self.begun);
        writer.text(&self.secrets.state);
        writer.text(&self.secrets.nonce);
        writer.text(self.secrets.verifier.expose());
        writer.text(&self.redirect_uri);
        writer.text(&self.return_to);
        writer.number(self.max_age.map_or(u64::MAX, |age| age.as_secs()));
        writer.into_secret()
    }

    /// What [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let begun = reader.time()?;
        let secrets = LoginSecrets {
            state: reader.text()?,
            nonce: reader.text()?,
            verifier: Secret::new(reader.text()?),
        };
        let (redirect_uri, return_to) = (reader.text()?, reader.text()?);
        let max_age = Some(reader.number()?).filter(|age| *age != u64::MAX);
        reader.end()?;
        Some(Self {
            secrets,
            redirect_uri,
            return_to,
            max_age: max_age.map(Duration::from_secs),
            begun,
        })
    }

    /// Where the browser is sent (OpenID Connect Core, section 3.1.2.1; RFC 7636, section 4.3).
    pub fn location(&self, endpoint: &str, client: &Client, wanted: &Wanted<'_>) -> String {
        let scope = client.scopes.join(" ");
        let acr = wanted.acr.join(" ");
        let max_age = self.max_age.map(|age| age.as_secs().to_string());
        let challenge = self.secrets.challenge();
        let fields = [
            ("response_type", Some("code")),
            ("client_id", Some(client.id.as_str())),
            ("redirect_uri", Some(self.redirect_uri.as_str())),
            ("scope", Some(scope.as_str())),
            ("state", Some(self.secrets.state.as_str())),
            ("nonce", Some(self.secrets.nonce.as_str())),
            ("code_challenge", Some(challenge.as_str())),
            ("code_challenge_method", Some("S256")),
            (
                "acr_values",
                Some(acr.as_str()).filter(|acr| !acr.is_empty()),
            ),
            ("max_age", max_age.as_deref()),
            ("prompt", wanted.prompt),
        ];
        with_query(endpoint, &fields)
    }

    /// Whether this answer is the one to this login; gives the code.
    ///
    /// # Errors
    /// Whatever is wrong first: the state, the time, the issuer, the issuer's own error.
    pub fn code(
        &self,
        answer: &Answer,
        issuer: &str,
        announces: Announces,
        now: Timestamp,
    ) -> Result<Secret<String>, LoginError> {
        if !same_state(&self.secrets.state, &answer.state) {
            return Err(LoginError::State);
        }
        let taken = now.since(self.begun);
        if taken > MAX_LOGIN {
            return Err(LoginError::Late(taken.as_secs()));
        }
        // RFC 9207, section 2.4: against an issuer that answers in another's name. It holds for
        // errors too.
        match (&answer.issuer, announces) {
            (Some(named), _) if named != issuer => return Err(LoginError::Issuer),
            (None, Announces::Issuer) => return Err(LoginError::IssuerMissing),
            (Some(_), _) | (None, Announces::Nothing) => {}
        }
        if let Some(error) = &answer.error {
            return Err(LoginError::Refused(Shown::new(error)));
        }
        match &answer.code {
            Some(code) if !code.expose().is_empty() => Ok(code.clone()),
            Some(_) | None => Err(LoginError::Malformed("no `code`")),
        }
    }
}

/// Whether the issuer's metadata say that its answers name it
/// (`authorization_response_iss_parameter_supported`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Announces {
    /// They do: an answer without `iss` is not its own.
    Issuer,
    /// They do not.
    Nothing,
}

/// What the issuer sends a browser back with (RFC 6749, section 4.1.2).
#[derive(Clone, Debug)]
pub struct Answer {
    /// The `state`.
    pub state: String,
    code: Option<Secret<String>>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Answer {
    /// Reads the query of a callback.
    ///
    /// # Errors
    /// It is too long, cannot be decoded, has no `state`, or names something twice (RFC 6749, section
    /// 3.1).
    pub fn read(query: &str) -> Result<Self, LoginError> {
        let malformed = LoginError::Malformed;
        if query.len() > MAX_QUERY {
            return Err(malformed("it is too long"));
        }
        let [mut state, mut code, mut issuer, mut error] = [const { None }; 4];
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match name {
                "state" => &mut state,
                "code" => &mut code,
                "iss" => &mut issuer,
                "error" => &mut error,
                _ => continue,
            };
            let value = form_decode(value).ok_or(malformed("it cannot be decoded"))?;
            if place.replace(value).is_some() {
                return Err(malformed("something is given twice"));
            }
        }
        Ok(Self {
            state: state
                .filter(|state| !state.is_empty())
                .ok_or(malformed("no `state`"))?,
            code: code.map(Secret::new),
            issuer,
            error,
        })
    }
}

/// What tells the cookie of one login from those of others: the beginning of its `state`. `None` for
/// a `state` that is none of ours.
pub fn cookie_suffix(state: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let (suffix, _) = state.split_at_checked(NAME)?;
    suffix.bytes().all(is_plain).then_some(suffix)
}

/// Why a browser that came back is not logged in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The callback's query is not the answer that RFC 6749 describes.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// `state` is none that this browser was sent away with.
    #[error("the answer belongs to no login of this browser")]
    State,
    /// `state` came before.
    #[error("the answer was given before")]
    Again,
    /// The login took too long.
    #[error("the answer came after {0} s")]
    Late(u64),
    /// `iss` names another issuer.
    #[error("the answer is from another issuer")]
    Issuer,
    /// The issuer announces that it names itself, and the answer does not.
    #[error("the answer does not name its issuer")]
    IssuerMissing,
    /// The issuer says so.
    #[error("the issuer answers `{0}`")]
    Refused(Shown),
    /// The issuer does not redeem the code.
    #[error("the code is not redeemed: {0}")]
    Code(TokensError),
    /// It redeemed the code without an ID token.
    #[error("the issuer gave no ID token")]
    NoIdToken,
    /// The ID token does not answer this login.
    #[error(transparent)]
    IdToken(#[from] IdTokenError),
    /// What the issuer gave does not fit the cookies.
    #[error(transparent)]
    TooLarge(#[from] crate::session::SessionError),
}

impl LoginError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        Reason::LoginFailed
    }
}

/// Where a browser is sent to end its session at the issuer (OpenID Connect RP-Initiated Logout,
/// section 2). An ID token that would make the address too long is left out.
pub fn logout_location(
    endpoint: &str,
    client: &Client,
    id_token: &Secret<String>,
    return_to: &str,
) -> String {
    /// Addresses beyond 8 KiB are refused by many servers.
    const HINT: usize = 6 << 10;
    let hint = Some(id_token.expose().as_str()).filter(|token| token.len() <= HINT);
    let fields = [
        ("id_token_hint", hint),
        ("client_id", Some(client.id.as_str())),
        ("post_logout_redirect_uri", Some(return_to)),
    ];
    with_query(endpoint, &fields)
}

/// An endpoint may have a query of its own, which stays (RFC 6749, section 3.1).
fn with_query(endpoint: &str, fields: &[(&str, Option<&str>)]) -> String {
    let mut url = endpoint.to_owned();
    let mut separator = if endpoint.contains('?') { '&' } else { '?' };
    for (name, value) in fields {
        let Some(value) = value else { continue };
        url.push(separator);
        url.push_str(name);
        url.push('=');
        form_encode(value, &mut url);
        separator = '&';
    }
    url
}

/// The value of a parameter (WHATWG URL, `application/x-www-form-urlencoded`); `None` if it is
/// malformed.
pub fn form_decode(text: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
                u8::try_from(value).ok()?
            }
            _ => byte,
        });
    }
    String::from_utf8(decoded).ok()
}
