//! The ID token of a browser's login (OpenID Connect Core, section 3.1.3.7): that it answers this
//! login, at this client, and belongs to the access token that came with it.
//!
//! An ID token says who logged in. It is never accepted as an access token, nor the other way.

use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Reason, Timestamp};

use crate::{
    Algorithm, Expectations, JwkSet, Verified, Verifier,
    error::TokenError,
    registered::{Claimed, text},
    step_up::{Age, check_age},
    verify::is_type,
};

/// Verifies the ID tokens of one client at one issuer.
#[derive(Debug)]
pub struct IdTokenVerifier {
    verifier: Verifier,
    client_id: String,
    leeway: Duration,
}

/// The login that an ID token must answer.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The nonce that was sent along with the browser.
    pub nonce: &'a str,
    /// The access token that came with the ID token.
    pub access_token: Option<&'a str>,
    /// The `max_age` that was asked for, if one was.
    pub max_age: Option<Duration>,
}

/// Why an ID token is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdTokenError {
    /// What would be wrong with any token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// `nonce` is absent, or that of another login.
    #[error("the ID token answers another login")]
    Nonce,
    /// `azp` is another client, or absent where the token has several audiences.
    #[error("the ID token was issued to another client")]
    AuthorizedParty,
    /// `at_hash` does not fit the access token.
    #[error("the ID token came with another access token")]
    AccessToken,
    /// A refreshed ID token is somebody else's.
    #[error("the ID token is of another person")]
    Subject,
    /// `max_age` was asked for, and `auth_time` is absent or longer ago.
    #[error("the ID token's login is not recent enough")]
    Age,
}

impl IdTokenError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Token(error) => error.reason(),
            Self::Nonce | Self::AuthorizedParty | Self::AccessToken | Self::Subject => {
                Reason::CredentialInvalid
            }
            Self::Age => Reason::CredentialExpired,
        }
    }
}

impl IdTokenVerifier {
    /// For the client of this id at this issuer. `algorithms` as in [`Expectations`].
    pub fn new(
        issuer: String,
        client_id: String,
        algorithms: Vec<Algorithm>,
        leeway: Duration,
    ) -> Self {
        let verifier = Verifier::new(Expectations {
            issuer,
            audience: vec![client_id.clone()],
            algorithms,
            leeway,
            ..Expectations::default()
        });
        Self {
            verifier,
            client_id,
            leeway,
        }
    }

    /// Verifies an ID token as the answer to a login.
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn verify(
        &self,
        token: &str,
        keys: &JwkSet,
        login: &Login<'_>,
        now: Timestamp,
    ) -> Result<Verified, IdTokenError> {
        let (algorithm, verified) = self.identified(token, keys, now)?;
        let nonce = text(verified.claims.all(), "nonce")?.unwrap_or_default();
        let is_ours = !login.nonce.is_empty()
            && constant_time::verify_slices_are_equal(nonce.as_bytes(), login.nonce.as_bytes())
                .is_ok();
        if !is_ours {
            return Err(IdTokenError::Nonce);
        }
        if let Some(access_token) = login.access_token {
            check_access_token(&verified, algorithm, access_token)?;
        }
        if let Some(max_age) = login.max_age {
            check_age(&verified, max_age, self.leeway, now)
                .map_err(|(Age::Unknown | Age::TooOld(_))| IdTokenError::Age)?;
        }
        Ok(verified)
    }

    /// Verifies an ID token that came with refreshed tokens (OpenID Connect Core, section 12.2): of
    /// the same person, for the same login as the one before, which was verified.
    ///
    /// # Errors
    /// Whatever is wrong first.
    pub fn verify_refreshed(
        &self,
        token: &str,
        keys: &JwkSet,
        before: &Verified,
        access_token: &str,
        now: Timestamp,
    ) -> Result<Verified, IdTokenError> {
        let (algorithm, verified) = self.identified(token, keys, now)?;
        if verified.subject != before.subject {
            return Err(IdTokenError::Subject);
        }
        let (old, new) = (before.claims.all(), verified.claims.all());
        // Neither need be there, but where one is, it speaks of the login that there was.
        for (name, error) in [
            ("nonce", IdTokenError::Nonce),
            ("auth_time", IdTokenError::Age),
        ] {
            if let (Some(old), Some(new)) = (old.get(name), new.get(name))
                && old != new
            {
                return Err(error);
            }
        }
        check_access_token(&verified, algorithm, access_token)?;
        Ok(verified)
    }

    /// What holds for every ID token of this client.
    fn identified(
        &self,
        token: &str,
        keys: &JwkSet,
        now: Timestamp,
    ) -> Result<(Algorithm, Verified), IdTokenError> {
        let is_id_token = |given: Option<&str>| given.is_none_or(|given| is_type(given, &["JWT"]));
        let (header, claims) = self.verifier.signed(token, keys, is_id_token)?;
        let algorithm = header.algorithm;
        let verified = self.verifier.judge(header, claims, now)?;
        for name in ["sub", "iat"] {
            if verified.claims.all().get(name).is_none() {
                return Err(TokenError::ClaimMissing(name).into());
            }
        }
        self.check_party(&verified)?;
        Ok((algorithm, verified))
    }

    /// Checks 3 to 5: with several audiences the token must say whom it was issued to, and where
    /// it does, that must be this client.
    fn check_party(&self, verified: &Verified) -> Result<(), IdTokenError> {
        let claims = verified.claims.all();
        let several = Claimed::read(claims)?
            .audience
            .is_some_and(|audience| audience.len() > 1);
        match text(claims, "azp")? {
            None if several => Err(IdTokenError::AuthorizedParty),
            Some(party) if party != self.client_id => Err(IdTokenError::AuthorizedParty),
            None | Some(_) => Ok(()),
        }
    }
}

/// `at_hash` is the left half of the access token's hash (OpenID Connect Core, section 3.1.3.6). In
/// the code flow it may be absent (section 3.1.3.8): both tokens came over one connection.
fn check_access_token(
    verified: &Verified,
    algorithm: Algorithm,
    access_token: &str,
) -> Result<(), IdTokenError> {
    let Some(claimed) = text(verified.claims.all(), "at_hash")? else {
        return Ok(());
    };
    let hash = algorithm.token_hash().ok_or(IdTokenError::AccessToken)?;
    let hash = digest::digest(hash, access_token.as_bytes());
    let (half, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    if URL_SAFE_NO_PAD.encode(half) == claimed {
        Ok(())
    } else {
        Err(IdTokenError::AccessToken)
    }
}
