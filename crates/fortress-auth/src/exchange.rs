//! Token exchange (RFC 8693): the question that gets a caller's token exchanged for one that is
//! meant for an upstream, the answer read strictly, and the answers kept while they are valid.
//!
//! Deliberately not here: asking.

use std::{fmt, sync::Arc, time::Duration};

use fortress_model::{Secret, Timestamp};
use quick_cache::sync;

use crate::{
    MAX_TOKEN, Object, Shown, Value, introspection::form_encode, json::read_object, verify::sha256,
};

/// The longest answer that is read, in bytes.
pub const MAX_ANSWER: usize = 32 << 10;
/// Objects and arrays that may be open at once in an answer.
const DEPTH: usize = 4;
/// A token is not used in its last seconds: it still has to reach the upstream.
const MARGIN: Duration = Duration::from_secs(10);
/// However long an issuer says, a day is enough.
const MAX_LIFETIME: u64 = 86_400;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// Why an exchange gave no token.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError {
    /// Longer than [`MAX_ANSWER`].
    #[error("the answer of the token exchange is longer than {MAX_ANSWER} bytes")]
    TooLarge,
    /// Not what RFC 8693, section 2.2 says.
    #[error("the answer of the token exchange is malformed: {0}")]
    Malformed(&'static str),
    /// The issuer does not want to.
    #[error("the token exchange was refused: `{0}`")]
    Refused(Shown),
}

/// For what a token is exchanged.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExchangeFor {
    /// `audience`: the upstream by its name at the issuer.
    pub audience: Option<String>,
    /// `resource`: the upstream by its URL.
    pub resource: Option<String>,
    /// `scope`: what the new token may do; if empty, what the issuer thinks fit.
    pub scopes: Vec<String>,
}

impl ExchangeFor {
    /// The body of the question (RFC 8693, section 2.1), as `application/x-www-form-urlencoded`.
    pub fn form(&self, subject_token: &str) -> Secret<String> {
        let scope = self.scopes.join(" ");
        let optional = [
            ("audience", self.audience.as_deref()),
            ("resource", self.resource.as_deref()),
            (
                "scope",
                Some(scope.as_str()).filter(|scope| !scope.is_empty()),
            ),
        ];
        let fixed = [
            ("grant_type", Some(GRANT)),
            ("subject_token", Some(subject_token)),
            ("subject_token_type", Some(ACCESS_TOKEN)),
            ("requested_token_type", Some(ACCESS_TOKEN)),
        ];
        let mut form = String::with_capacity(subject_token.len() + 512);
        for (name, value) in fixed.into_iter().chain(optional) {
            let Some(value) = value else { continue };
            if !form.is_empty() {
                form.push('&');
            }
            form.push_str(name);
            form.push('=');
            form_encode(value, &mut form);
        }
        Secret::new(form)
    }
}

/// A token that was got for another.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The new token.
    pub token: Secret<String>,
    /// Until when it may be used; now, if the issuer does not say.
    pub until: Timestamp,
}

/// Reads the answer to an exchange, whatever its status: an error is known by its `error`.
///
/// # Errors
/// The answer is too long or malformed, the issuer refused, or the token is not one to be sent as
/// `Bearer`.
pub fn read_answer(body: &[u8], now: Timestamp) -> Result<Exchanged, ExchangeError> {
    if body.len() > MAX_ANSWER {
        return Err(ExchangeError::TooLarge);
    }
    let malformed = ExchangeError::Malformed;
    let answer = read_object(body, DEPTH).map_err(|rejected| malformed(rejected.what()))?;
    if let Some(error) = answer.get("error") {
        let error = error.as_str().ok_or(malformed("`error` is not a string"))?;
        return Err(ExchangeError::Refused(Shown::new(error)));
    }
    let token = text(&answer, "access_token", "no string `access_token`")?;
    // It becomes part of a header field.
    let sendable = token.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if token.is_empty() || token.len() > MAX_TOKEN || !sendable {
        return Err(malformed("`access_token` cannot be sent"));
    }
    if !text(&answer, "token_type", "no string `token_type`")?.eq_ignore_ascii_case("bearer") {
        return Err(malformed("`token_type` is not `Bearer`"));
    }
    let issued = text(
        &answer,
        "issued_token_type",
        "no string `issued_token_type`",
    )?;
    if ![ACCESS_TOKEN, JWT].contains(&issued) {
        return Err(malformed("`issued_token_type` is not an access token's"));
    }
    let lifetime = match answer.get("expires_in") {
        None => Duration::ZERO,
        Some(Value::Number(number)) => number
            .as_i64()
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(|seconds| Duration::from_secs(seconds.min(MAX_LIFETIME)))
            .ok_or(malformed("`expires_in` is not a number of seconds"))?,
        Some(_) => return Err(malformed("`expires_in` is not a number of seconds")),
    };
    let usable = lifetime.saturating_sub(MARGIN).as_nanos();
    let until = now
        .0
        .saturating_add(u64::try_from(usable).unwrap_or(u64::MAX));
    Ok(Exchanged {
        token: Secret::new(token.to_owned()),
        until: Timestamp(until),
    })
}

/// Tokens that were got, while they are valid. Shared freely between threads.
pub struct ExchangeCache {
    entries: sync::Cache<[u8; 32], Arc<Exchanged>>,
}

impl ExchangeCache {
    /// Remembers at most this many tokens; the ones used least go first.
    pub fn new(entries: usize) -> Self {
        Self {
            entries: sync::Cache::new(entries),
        }
    }

    /// What a token was exchanged for before, while it is valid. INVARIANT: the caller's token was
    /// verified for this request; an entry outlives neither its own token nor tells of the other.
    pub fn get(&self, to: &ExchangeFor, token: &str, now: Timestamp) -> Option<Arc<Exchanged>> {
        let name = name(to, token);
        let found = self.entries.get(&name)?;
        if now < found.until {
            return Some(found);
        }
        self.entries.remove(&name);
        None
    }

    /// Keeps what a token was exchanged for, unless it is not valid for long enough.
    pub fn insert(&self, to: &ExchangeFor, token: &str, got: Arc<Exchanged>, now: Timestamp) {
        if now < got.until {
            self.entries.insert(name(to, token), got);
        }
    }

    /// Forgets everything: after a revocation.
    pub fn flush(&self) {
        self.entries.clear();
    }

    /// How many tokens are kept, those expired but not yet replaced included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No token is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for ExchangeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExchangeCache({} tokens)", self.len())
    }
}

fn name(to: &ExchangeFor, token: &str) -> [u8; 32] {
    // `Debug` of strings escapes quotes, so that no two purposes print alike.
    sha256(&[format!("{to:?}").as_bytes(), &[0], token.as_bytes()])
}

fn text<'a>(
    answer: &'a Object,
    name: &str,
    otherwise: &'static str,
) -> Result<&'a str, ExchangeError> {
    answer
        .get(name)
        .and_then(Value::as_str)
        .ok_or(ExchangeError::Malformed(otherwise))
}
