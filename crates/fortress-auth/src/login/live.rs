//! A session: who logged in, with which tokens, and for how long.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Secret, Timestamp};

use super::{
    Tokens,
    fields::{Reader, Writer},
};
use crate::{
    Claims, Confirmation, Verified, json::read_object, registered, verify::Proven, verify::sha256,
};

/// Tokens are renewed so long before they are over, or in the last fifth of their life if that is
/// shorter: a request that takes a while still finds them valid.
const AHEAD: Duration = Duration::from_secs(60);
/// Where the issuer does not say how long its tokens hold, and the ID token's `exp` is unknown.
const UNSAID: Duration = Duration::from_secs(300);
/// The claims were bounded when they were verified.
const DEPTH: usize = 32;

/// How long sessions last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lifetimes {
    /// Without a request.
    pub idle: Duration,
    /// From login on.
    pub absolute: Duration,
}

/// A session, as its cookie holds it.
#[derive(Clone)]
pub struct Session {
    /// Random: its name for this gateway alone.
    pub id: String,
    /// When the person logged in here.
    pub started: Timestamp,
    /// When it was last used, give or take a part of the idle time.
    pub seen: Timestamp,
    /// When its tokens were got.
    pub got: Timestamp,
    /// When they are over.
    pub expires: Timestamp,
    /// For the upstream.
    pub access_token: Secret<String>,
    /// For the next tokens.
    pub refresh_token: Option<Secret<String>>,
    /// Who logged in: it was verified before it came here.
    pub id_token: Secret<String>,
    /// What was granted, with spaces between.
    pub scope: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("started", &self.started)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session that begins now, with tokens whose ID token was verified. `asked` are the scopes
    /// that hold where the issuer names none (RFC 6749, section 5.1).
    pub fn begin(
        id: &[u8; 16],
        tokens: Tokens,
        (id_token, id_expires): (Secret<String>, Option<u64>),
        asked: &[String],
        now: Timestamp,
    ) -> Self {
        Self {
            id: URL_SAFE_NO_PAD.encode(id),
            started: now,
            seen: now,
            got: now,
            expires: over(tokens.lifetime, id_expires, now),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token,
            id_token,
            scope: tokens.scope.unwrap_or_else(|| asked.join(" ")),
        }
    }

    /// The same session with new tokens. An issuer that gives no new refresh token means the old one
    /// to be used on (RFC 6749, section 6), and one that gives no ID token says nothing new.
    /// `id_token` was verified as this session's.
    pub fn renewed(
        &self,
        tokens: Tokens,
        id_token: Option<(Secret<String>, Option<u64>)>,
        now: Timestamp,
    ) -> Self {
        let id_expires = id_token.as_ref().and_then(|(_, expires)| *expires);
        Self {
            id: self.id.clone(),
            started: self.started,
            seen: now,
            got: now,
            expires: over(tokens.lifetime, id_expires, now),
            access_token: tokens.access_token,
            refresh_token: tokens.refresh_token.or_else(|| self.refresh_token.clone()),
            id_token: id_token.map_or_else(|| self.id_token.clone(), |(token, _)| token),
            scope: tokens.scope.unwrap_or_else(|| self.scope.clone()),
        }
    }

    /// When it ends, if nobody uses it any more.
    pub fn ends(&self, lifetimes: &Lifetimes) -> Timestamp {
        let idle = later(self.seen, lifetimes.idle);
        idle.min(later(self.started, lifetimes.absolute))
    }

    /// Whether its use should be noted: not for each request, since each time is a cookie.
    pub fn is_to_be_noted(&self, lifetimes: &Lifetimes, now: Timestamp) -> bool {
        now.since(self.seen) >= lifetimes.idle / 8
    }

    /// Whether it is time for new tokens.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = self.expires.since(self.got);
        let ahead = AHEAD.min(life / 5);
        later(now, ahead) >= self.expires
    }

    /// Its tokens are over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.expires
    }

    /// Tells one state of a session from another, without telling its tokens: what renewing it is
    /// called by.
    pub fn fingerprint(&self) -> [u8; 32] {
        let refresh = self.refresh_token.as_ref();
        let refresh = refresh.map_or("", |token| token.expose().as_str());
        sha256(&[self.id.as_bytes(), &[0], refresh.as_bytes()])
    }

    /// For the cookie.
    pub fn encode(&self) -> Secret<Vec<u8>> {
        let mut writer = Writer::default();
        for time in [self.started, self.seen, self.got, self.expires] {
            writer.time(time);
        }
        writer.text(&self.id);
        writer.text(self.access_token.expose());
        let refresh = self.refresh_token.as_ref();
        writer.text(refresh.map_or("", |token| token.expose()));
        writer.text(self.id_token.expose());
        writer.text(&self.scope);
        writer.into_secret()
    }

    /// What [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let (started, seen) = (reader.time()?, reader.time()?);
        let (got, expires) = (reader.time()?, reader.time()?);
        let (id, access_token) = (reader.text()?, reader.text()?);
        let (refresh, id_token) = (reader.text()?, reader.text()?);
        let scope = reader.text()?;
        reader.end()?;
        Some(Self {
            id,
            started,
            seen,
            got,
            expires,
            access_token: Secret::new(access_token),
            refresh_token: Some(refresh)
                .filter(|token| !token.is_empty())
                .map(Secret::new),
            id_token: Secret::new(id_token),
            scope,
        })
    }

    /// Who this is, as for a token: by the claims of the ID token, which is not verified again.
    /// INVARIANT: the session was decrypted, so that its ID token was verified when it came.
    ///
    /// `None` if the ID token cannot be read, which then cannot be.
    pub fn verified(&self, scope_claim: Option<&str>) -> Option<Verified> {
        let payload = self.id_token.expose().split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let claims = read_object(&payload, DEPTH).ok()?;
        let subject: Arc<str> = registered::subject(&claims).ok()?;
        let claims = Claims::new(claims);
        let mut scopes: Vec<Box<str>> = self
            .scope
            .split(' ')
            .filter(|scope| !scope.is_empty())
            .map(Into::into)
            .collect();
        if scope_claim.is_some() {
            scopes.extend(registered::scopes(&claims, scope_claim).ok()?);
        }
        Some(Verified {
            subject,
            scopes,
            expires: Some(self.expires.seconds()),
            proven: Proven::Session,
            confirmation: Confirmation::default(),
            claims,
        })
    }
}

fn over(lifetime: Option<Duration>, id_expires: Option<u64>, now: Timestamp) -> Timestamp {
    match (lifetime, id_expires) {
        (Some(lifetime), _) => later(now, lifetime),
        (None, Some(seconds)) => Timestamp(seconds.saturating_mul(1_000_000_000)),
        (None, None) => later(now, UNSAID),
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(time.0.saturating_add(by))
}
