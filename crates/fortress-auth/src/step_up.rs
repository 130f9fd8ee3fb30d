//! How a caller must have authenticated for what it asks (RFC 9470): a token may be valid, and
//! still not be proof enough.

use std::time::Duration;

use fortress_model::Timestamp;

use crate::{Verified, error::TokenError, registered};

/// What an operation demands of the way in which its caller authenticated.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StepUp {
    acr: Vec<Box<str>>,
    max_age: Option<Duration>,
    leeway: Duration,
}

/// A value cannot be demanded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an authentication context class is visible ASCII without spaces, quotes and backslashes")]
pub struct BadAcr;

/// How an authentication falls short.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepUpError {
    /// `acr` is absent, or none of those that are demanded.
    #[error("the authentication was of another class (`acr`) than the operation demands")]
    Class,
    /// The token does not say when its subject authenticated, which is then not known.
    #[error("the token has no `auth_time`, and the operation demands a recent authentication")]
    AgeUnknown,
    /// The authentication is longer ago than is allowed.
    #[error("the authentication was {0} s ago, which is longer than the operation allows")]
    TooOld(u64),
}

impl StepUp {
    /// One of these authentication context classes, if any is given; and an authentication no
    /// longer ago than `max_age`, give or take the clocks' `leeway`.
    ///
    /// # Errors
    /// A class could not be named in a challenge.
    pub fn new(
        acr: impl IntoIterator<Item = String>,
        max_age: Option<Duration>,
        leeway: Duration,
    ) -> Result<Self, BadAcr> {
        let acr: Vec<Box<str>> = acr.into_iter().map(String::into_boxed_str).collect();
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        let can_be_named = |one: &str| !one.is_empty() && one.bytes().all(is_plain);
        if !acr.iter().all(|one| can_be_named(one)) {
            return Err(BadAcr);
        }
        Ok(Self {
            acr,
            max_age,
            leeway,
        })
    }

    /// Whether the token's subject authenticated well and recently enough.
    ///
    /// # Errors
    /// Not so; [`Self::challenge`] says what to do.
    pub fn check(&self, verified: &Verified, now: Timestamp) -> Result<(), StepUpError> {
        let claims = verified.claims.all();
        if !self.acr.is_empty() {
            let given = claims.get("acr").and_then(|acr| acr.as_str());
            if !given.is_some_and(|given| self.acr.iter().any(|one| **one == *given)) {
                return Err(StepUpError::Class);
            }
        }
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        check_age(verified, max_age, self.leeway, now).map_err(|error| match error {
            Age::Unknown => StepUpError::AgeUnknown,
            Age::TooOld(seconds) => StepUpError::TooOld(seconds),
        })
    }

    /// The parameters of the challenge (RFC 9470, section 3), to stand behind the scheme of
    /// `WWW-Authenticate`. The answer is a 401.
    pub fn challenge(&self) -> String {
        let mut challenge = String::from(
            "error=\"insufficient_user_authentication\", \
             error_description=\"a different authentication is required\"",
        );
        if !self.acr.is_empty() {
            challenge.push_str(", acr_values=\"");
            challenge.push_str(&self.acr.join(" "));
            challenge.push('"');
        }
        if let Some(max_age) = self.max_age {
            challenge.push_str(", max_age=\"");
            challenge.push_str(&max_age.as_secs().to_string());
            challenge.push('"');
        }
        challenge
    }
}

/// Why an authentication is not recent.
pub(crate) enum Age {
    Unknown,
    TooOld(u64),
}

/// `auth_time` is no longer ago than `max_age`. One that is to come is as good as none: it would
/// stay recent for as long as its author liked.
pub(crate) fn check_age(
    verified: &Verified,
    max_age: Duration,
    leeway: Duration,
    now: Timestamp,
) -> Result<(), Age> {
    let at: Result<Option<Duration>, TokenError> =
        registered::date(verified.claims.all(), "auth_time");
    let now = Duration::from_nanos(now.0);
    match at {
        Ok(Some(at)) if at <= now.saturating_add(leeway) => {
            let age = now.saturating_sub(at);
            if age <= max_age.saturating_add(leeway) {
                Ok(())
            } else {
                Err(Age::TooOld(age.as_secs()))
            }
        }
        Ok(_) | Err(_) => Err(Age::Unknown),
    }
}
