//! Attacks that follow from a description: what the description forbids is tried, on each
//! operation, with one thing wrong at a time, so that a refusal means what it seems to mean; and
//! where it allows any text, the texts that attackers write.
//!
//! [`plan`] makes the attacks, [`run`] sends them, [`report`] counts them. What is valid is sent before
//! the attacks, and some of it again after them, each from an address of its own where [`Sources`] has
//! several: a gateway that takes whoever attacks it for an attacker is right, and one that then refuses
//! everybody else is not. Deliberately not here:
//! attacks that need knowledge of the API's data (whose object is whose) or of its business flows;
//! [`Plan::not_tried`] says so.

mod bodies;
mod framing;
mod guesses;
mod headers;
mod inputs;
mod kind;
mod paths;
mod payloads;
mod plan;
mod pressure;
pub mod report;
mod request;
mod run;
mod send;
mod sources;
mod tokens;
mod trust;
mod valid;

use std::sync::Arc;

use fortress_model::Risk;
use fortress_spec::ApiDescription;

pub use kind::Kind;
pub use plan::{Plan, Subject, plan};
pub use pressure::{Pressed, press};
pub use report::{Count, Report, Row, Through};
pub use request::{Body, Request};
pub use run::{Pace, Verdict, run};
pub use send::{Answer, Failure, Target};
pub use sources::{Source, Sources};
pub use tokens::{Credential, Stolen, Tokens, Wrong};
pub use trust::{Reach, TargetError, target};

/// One request that ought to be refused, or (of [`Kind::Valid`]) answered.
#[derive(Clone, Debug)]
pub struct Attack {
    /// What is tried.
    pub kind: Kind,
    /// On which operation, where it is one.
    pub operation: Option<Arc<str>>,
    /// This one of its kind, in a few words.
    pub what: String,
    /// What is sent.
    pub message: Message,
    /// When it counts as stopped.
    pub judge: Judge,
}

impl Attack {
    /// The risk that it belongs to.
    pub fn risk(&self) -> Risk {
        self.kind.risk()
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Message {
    /// A well-formed request.
    Request(Request),
    /// Bytes that are no well-formed request; `{host}` is put in when they are sent.
    Raw(Vec<u8>),
}

impl Message {
    /// The bytes for a target.
    pub fn encode(&self, host: &str) -> Vec<u8> {
        match self {
            Self::Request(request) => request.encode(host),
            Self::Raw(bytes) => {
                const PLACE: &[u8] = b"{host}";
                let mut encoded = Vec::with_capacity(bytes.len() + host.len());
                let mut rest = bytes.as_slice();
                while let Some(at) = rest.windows(PLACE.len()).position(|part| part == PLACE) {
                    encoded.extend_from_slice(rest.get(..at).unwrap_or_default());
                    encoded.extend_from_slice(host.as_bytes());
                    rest = rest.get(at + PLACE.len()..).unwrap_or_default();
                }
                encoded.extend_from_slice(rest);
                encoded
            }
        }
    }
}

/// When an attack counts as stopped.
#[derive(Clone, Debug)]
pub enum Judge {
    /// It gets a 4xx, a 501 or a 505, or the connection is closed without an answer.
    Refused,
    /// That, or it has the same effect as the plain request: the same status, the same shape of
    /// answer, and no sign that the upstream saw `canary`.
    NoEffect {
        /// The request without the trick.
        plain: Request,
        /// What must not come back.
        canary: Option<String>,
    },
    /// The answer holds nothing that the operation does not declare.
    NoLeak {
        /// The contract.
        description: Arc<ApiDescription>,
        /// The operation's place in it.
        index: usize,
    },
    /// Whoever goes on is made to wait (429), or is not answered any more, before the series is over.
    Slowed {
        /// What is sent, one after the other; the attack's message is the first.
        series: Vec<Request>,
        /// Who sends it.
        by: By,
    },
    /// It is answered: by the API, whatever it says, and not by a refusal or a failure.
    Answered,
}

/// Who sends a series.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum By {
    /// One address.
    One,
    /// An address for each request.
    Many,
}

/// A valid request of an operation, from which its attacks are made.
#[derive(Clone, Debug)]
pub(crate) struct Basis {
    /// The operation's id.
    pub(crate) operation: Arc<str>,
    /// Its place in the description.
    pub(crate) index: usize,
    /// Complete, with its credential.
    pub(crate) request: Request,
    /// Whether the operation asks for a bearer token, and with which scopes.
    pub(crate) bearer: Option<Vec<String>>,
}

impl Basis {
    /// Whether it holds a credential where one is asked for.
    pub(crate) fn is_authorized(&self) -> bool {
        let mut names = self.request.headers.iter().map(|(name, _)| name);
        self.bearer.is_none() || names.any(|name| name == "Authorization")
    }

    /// The same for somebody else.
    pub(crate) fn by(&self, credential: &Credential) -> Self {
        let request = self.request.clone().without("authorization");
        Self {
            request: request.with("Authorization", format!("Bearer {}", credential.token)),
            ..self.clone()
        }
    }

    /// Another request with this one's credential.
    pub(crate) fn authorized(&self, mut request: Request) -> Request {
        for (name, value) in &self.request.headers {
            if name == "Authorization" {
                request = request.with("Authorization", value.clone());
            }
        }
        request
    }

    /// An attack on this operation by a request that is to be refused.
    pub(crate) fn refused(&self, kind: Kind, what: impl Into<String>, request: Request) -> Attack {
        Attack {
            kind,
            operation: Some(Arc::clone(&self.operation)),
            what: what.into(),
            message: Message::Request(request),
            judge: Judge::Refused,
        }
    }
}
