//! The registered claims (RFC 7519, section 4.1; RFC 8693, section 4), each with the one type that
//! it may have, wherever they come from: a signed token or an issuer's answer about one.
//!
//! What their values must be is judged by those who asked for them.

use std::{sync::Arc, time::Duration};

use fortress_model::Timestamp;

use crate::{
    Claims,
    error::TokenError,
    json::{Object, Value},
};

/// The last second of the year 9999. A date beyond it is most likely one in milliseconds, which
/// would be a token that never expires.
const MAX_DATE: u64 = 253_402_300_799;

/// The claims that say for whom, by whom and when.
pub(crate) struct Claimed<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: Option<Vec<&'a str>>,
    pub(crate) expires: Option<Duration>,
    not_before: Option<Duration>,
    pub(crate) issued: Option<Duration>,
}

impl<'a> Claimed<'a> {
    /// # Errors
    /// One of them, or `jti`, `client_id` or `azp`, has the wrong type.
    pub(crate) fn read(claims: &'a Object) -> Result<Self, TokenError> {
        let claimed = Self {
            issuer: text(claims, "iss")?,
            audience: audience(claims)?,
            expires: date(claims, "exp")?,
            not_before: date(claims, "nbf")?,
            issued: date(claims, "iat")?,
        };
        for name in ["jti", "client_id", "azp"] {
            text(claims, name)?;
        }
        Ok(claimed)
    }

    /// The dates that there are hold now. Whether one may be absent is another question.
    pub(crate) fn check_times(&self, leeway: Duration, now: Timestamp) -> Result<(), TokenError> {
        let now = Duration::from_nanos(now.0);
        // RFC 7519, section 4.1.4: the token must not be accepted on or after its expiry.
        if let Some(expires) = self.expires
            && now >= expires.saturating_add(leeway)
        {
            return Err(TokenError::Expired(now.saturating_sub(expires).as_secs()));
        }
        let latest = now.saturating_add(leeway);
        let ahead = |date: Duration| date.saturating_sub(now).as_secs();
        if let Some(date) = self.not_before.filter(|date| *date > latest) {
            return Err(TokenError::NotYetValid(ahead(date)));
        }
        if let Some(date) = self.issued.filter(|date| *date > latest) {
            return Err(TokenError::IssuedInFuture(ahead(date)));
        }
        Ok(())
    }
}

/// One of the audiences is one of ours. An empty name is nobody's.
pub(crate) fn names_one(audience: &[&str], ours: &[String]) -> bool {
    audience
        .iter()
        .any(|one| !one.is_empty() && ours.iter().any(|our| our == one))
}

/// Who the token speaks for. An empty name or one with control characters is nobody's, and would
/// only be good for fooling whatever compares or prints it later.
pub(crate) fn subject(claims: &Object) -> Result<Arc<str>, TokenError> {
    let subject = match text(claims, "sub")? {
        Some(subject) => Some(("sub", subject)),
        None => ["client_id", "azp"]
            .into_iter()
            .find_map(|name| Some((name, claims.get(name)?.as_str()?))),
    };
    match subject {
        None => Ok(Arc::from("")),
        Some((_, name)) if !name.is_empty() && !name.contains(char::is_control) => {
            Ok(Arc::from(name))
        }
        Some((claim, _)) => Err(TokenError::ClaimMalformed {
            claim,
            expected: "a non-empty string without control characters",
        }),
    }
}

/// What the token allows: the claim at `path`, or `scope`, else `scp`.
pub(crate) fn scopes(claims: &Claims, path: Option<&str>) -> Result<Vec<Box<str>>, TokenError> {
    let (claim, value) = match path {
        Some(path) => ("configured scope claim", claims.get(path)),
        None => claims
            .all()
            .get("scope")
            .map_or(("scp", claims.all().get("scp")), |value| {
                ("scope", Some(value))
            }),
    };
    let malformed = TokenError::ClaimMalformed {
        claim,
        expected: "a string or an array of strings",
    };
    match value {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(text
            .split(' ')
            .filter(|scope| !scope.is_empty())
            .map(Into::into)
            .collect()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(Into::into))
            .collect::<Option<_>>()
            .ok_or(malformed),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(malformed),
    }
}

fn audience(claims: &Object) -> Result<Option<Vec<&str>>, TokenError> {
    let malformed = TokenError::ClaimMalformed {
        claim: "aud",
        expected: "a string or an array of strings",
    };
    match claims.get("aud") {
        None => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one])),
        Some(Value::Array(items)) => items
            .iter()
            .map(Value::as_str)
            .collect::<Option<_>>()
            .map(Some)
            .ok_or(malformed),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(malformed),
    }
}

/// A `NumericDate` (RFC 7519, section 2) as the time since the epoch.
pub(crate) fn date(claims: &Object, claim: &'static str) -> Result<Option<Duration>, TokenError> {
    let malformed = TokenError::ClaimMalformed {
        claim,
        expected: "a number of seconds since 1970, up to the year 9999",
    };
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::Number(number)) => number
            .as_f64()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|date| date.as_secs() <= MAX_DATE)
            .map(Some)
            .ok_or(malformed),
        Some(
            Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_),
        ) => Err(malformed),
    }
}

pub(crate) fn text<'a>(
    claims: &'a Object,
    claim: &'static str,
) -> Result<Option<&'a str>, TokenError> {
    match claims.get(claim) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(TokenError::ClaimMalformed {
            claim,
            expected: "a string",
        }),
    }
}
