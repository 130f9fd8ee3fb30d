//! Asks an issuer for the tokens that an upstream takes (RFC 8693): each token once, however many
//! requests carry it, and again only when what it got is over.
//!
//! An issuer that is down refuses nobody: it makes requests fail that need it, and those alone whose
//! token was not exchanged yet. Deliberately not here: what is asked and how an answer is read
//! (`fortress-auth`).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_lc_rs::digest;
use fortress_auth::{
    client_authorization,
    exchange::{ExchangeCache, ExchangeError, ExchangeFor, Exchanged, MAX_ANSWER, read_answer},
};
use fortress_model::{Secret, Timestamp};
use http::StatusCode;
use quick_cache::sync::Cache;
use tokio::sync::watch;

use crate::{
    fetch::{Fetcher, Limits},
    upstream::Question,
};

/// How long the issuer may take for an answer.
const TIME: Duration = Duration::from_secs(3);
/// Tokens of the issuer that are kept.
const TOKENS: usize = 10_000;
/// Tokens that the issuer would not exchange, and how long it is not asked about them again.
const REFUSALS: usize = 1_000;
const REFUSED: Duration = Duration::from_secs(10);
/// Questions that may be under way at once; more are refused rather than queued.
const QUESTIONS: usize = 256;
/// How often a request asks anew when the one that asked for it went away.
const TURNS: usize = 3;

/// Errors that say nothing of the caller's token, but of us or of the issuer (RFC 6749, section 5.2).
const NOT_THE_CALLERS: [&str; 5] = [
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "server_error",
    "temporarily_unavailable",
];

/// Why there is no token. Told to all who wait for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Failure {
    /// The issuer does not want to.
    Refused(Arc<str>),
    /// The issuer could not be asked, or does not answer as it should.
    Unavailable(Arc<str>),
}

/// Whom is asked, by whom, for what.
pub(crate) struct Settings {
    pub(crate) endpoint: String,
    pub(crate) authorization: Secret<String>,
    pub(crate) to: ExchangeFor,
}

impl Settings {
    pub(crate) fn new(
        endpoint: &str,
        client_id: &str,
        client_secret: &Secret<String>,
        to: ExchangeFor,
    ) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            authorization: client_authorization(client_id, client_secret),
            to,
        }
    }

    fn equals(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint
            && self.authorization.expose() == other.authorization.expose()
            && self.to == other.to
    }
}

/// Exchanges tokens for one upstream.
pub(crate) struct Exchanger {
    settings: Settings,
    fetcher: Fetcher,
    got: ExchangeCache,
    refused: Cache<[u8; 32], (Timestamp, Arc<str>)>,
    flights: Mutex<HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>>,
}

type Outcome = Result<Arc<Exchanged>, Failure>;

impl fmt::Debug for Exchanger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanger")
            .field("endpoint", &self.settings.endpoint)
            .field("to", &self.settings.to)
            .finish_non_exhaustive()
    }
}

/// What a request does about a token that is not there.
enum Role<'e> {
    Ask(Flight<'e>),
    Wait(watch::Receiver<Option<Outcome>>),
    GiveUp,
}

/// A question under way. Dropping it without an outcome lets those who wait ask themselves.
struct Flight<'e> {
    exchanger: &'e Exchanger,
    name: [u8; 32],
    outcome: watch::Sender<Option<Outcome>>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.exchanger.flights().remove(&self.name);
    }
}

impl Exchanger {
    pub(crate) fn new(settings: Settings, fetcher: Fetcher) -> Self {
        Self {
            settings,
            fetcher,
            got: ExchangeCache::new(TOKENS),
            refused: Cache::new(REFUSALS),
            flights: Mutex::default(),
        }
    }

    /// It asks the same: what it got may be kept.
    pub(crate) fn serves(&self, settings: &Settings) -> bool {
        self.settings.equals(settings)
    }

    /// A token for the upstream in exchange for a caller's, which was verified for this request.
    ///
    /// # Errors
    /// [`Failure`], within [`TIME`] of the last who asked.
    pub(crate) async fn exchange(&self, token: &Secret<String>, now: Timestamp) -> Outcome {
        let to = &self.settings.to;
        if let Some(got) = self.got.get(to, token.expose(), now) {
            return Ok(got);
        }
        let name = name(token);
        if let Some((until, why)) = self.refused.get(&name)
            && now < until
        {
            return Err(Failure::Refused(why));
        }
        for _ in 0..TURNS {
            match self.role(name) {
                Role::GiveUp => {
                    let why = format!("{QUESTIONS} tokens are being exchanged already");
                    return Err(Failure::Unavailable(why.into()));
                }
                Role::Wait(mut outcome) => {
                    let outcome = outcome.wait_for(Option::is_some).await;
                    if let Some(outcome) = outcome.ok().and_then(|outcome| outcome.clone()) {
                        return outcome;
                    }
                    // Its client went away, and it with it: somebody else has to ask.
                }
                Role::Ask(flight) => {
                    let outcome = self.ask(token, now).await;
                    self.remember(token, name, &outcome, now);
                    flight.outcome.send_replace(Some(outcome.clone()));
                    return outcome;
                }
            }
        }
        Err(Failure::Unavailable("those who asked went away".into()))
    }

    fn role(&self, name: [u8; 32]) -> Role<'_> {
        let mut flights = self.flights();
        if let Some(under_way) = flights.get(&name) {
            return Role::Wait(under_way.clone());
        }
        if flights.len() >= QUESTIONS {
            return Role::GiveUp;
        }
        let (outcome, waiting) = watch::channel(None);
        flights.insert(name, waiting);
        Role::Ask(Flight {
            exchanger: self,
            name,
            outcome,
        })
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<[u8; 32], watch::Receiver<Option<Outcome>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, token: &Secret<String>, name: [u8; 32], outcome: &Outcome, now: Timestamp) {
        match outcome {
            Ok(got) => {
                let to = &self.settings.to;
                self.got.insert(to, token.expose(), Arc::clone(got), now);
            }
            Err(Failure::Refused(why)) => {
                let span = u64::try_from(REFUSED.as_nanos()).unwrap_or(0);
                let until = Timestamp(now.0.saturating_add(span));
                self.refused.insert(name, (until, Arc::clone(why)));
            }
            // It may be over in a moment.
            Err(Failure::Unavailable(_)) => {}
        }
    }

    async fn ask(&self, token: &Secret<String>, now: Timestamp) -> Outcome {
        let unavailable = |why: String| Failure::Unavailable(why.into());
        let form = self.settings.to.form(token.expose());
        let question = Question {
            accept: "application/json",
            authorization: Some(&self.settings.authorization),
            api_key: None,
            form: Some(&form),
        };
        let limits = Limits {
            bytes: MAX_ANSWER,
            time: TIME,
        };
        let posted = self.fetcher.post(&self.settings.endpoint, question, limits);
        let posted = posted.await.map_err(unavailable)?;
        let status = posted.status;
        let failed = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
        let of_status = || {
            let status = status.as_u16();
            unavailable(format!(
                "the answer of the token exchange has status {status}"
            ))
        };
        if failed {
            return Err(of_status());
        }
        match read_answer(&posted.body, now) {
            Ok(exchanged) if status == StatusCode::OK => Ok(Arc::new(exchanged)),
            Ok(_) => Err(of_status()),
            Err(refused @ ExchangeError::Refused(_)) => {
                let said = refused.to_string();
                let ours = NOT_THE_CALLERS
                    .iter()
                    .any(|error| said.contains(&format!("`{error}`")));
                Err(if ours {
                    unavailable(said)
                } else {
                    Failure::Refused(said.into())
                })
            }
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}

fn name(token: &Secret<String>) -> [u8; 32] {
    let mut name = [0; 32];
    let digest = digest::digest(&digest::SHA256, token.expose().as_bytes());
    for (into, byte) in name.iter_mut().zip(digest.as_ref()) {
        *into = *byte;
    }
    name
}
