//! Towards the APIs: one pool of connections per worker, HTTP/1.1 by our own codec, HTTP/2 by hyper.
//!
//! [`Upstreams::send`] takes nothing but a [`Cleared`], so no request gets here that a guard did not
//! pass. Deliberately not here: judging the answer, which `reply` does.

mod connect;
mod h1;
mod h2;
mod pool;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use fortress_limits::budget::Reservation;
use fortress_model::{Reason, Secret, config::Timeouts};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::Instant;

pub(crate) use connect::client_tls;

use crate::{load::Load, path::NormalizedPath, serve::Cleared, worker};

/// Where an API's requests go, compiled.
#[derive(Debug, Default)]
pub(crate) struct UpstreamPlan {
    pub(crate) endpoints: Vec<Arc<EndpointPlan>>,
    /// Indices into `endpoints`, each as often as its weight says.
    pub(crate) schedule: Vec<usize>,
    pub(crate) timeouts: Timeouts,
    /// How many requests it gets; `None` for all.
    pub(crate) load: Option<Arc<Load>>,
}

/// One upstream address, compiled.
#[derive(Debug)]
pub(crate) struct EndpointPlan {
    /// Equal for equal addresses with equal TLS settings: connections are shared by it and survive
    /// a reload.
    pub(crate) key: Arc<str>,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `Host` and `:authority`: the endpoint's own, so that no client chooses it.
    pub(crate) authority: HeaderValue,
    /// Put before each request's path.
    pub(crate) prefix: String,
    pub(crate) tls: Option<TlsPlan>,
    pub(crate) http2: bool,
}

/// TLS towards an endpoint.
#[derive(Debug)]
pub(crate) struct TlsPlan {
    pub(crate) config: Arc<rustls::ClientConfig>,
    pub(crate) server_name: rustls::pki_types::ServerName<'static>,
}

/// A request as it goes out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    /// Without the endpoint's prefix.
    pub(crate) path: NormalizedPath,
    pub(crate) query: Option<Box<str>>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What the body takes of the memory of all bodies, given back with it.
    #[expect(dead_code, reason = "it is held, and dropped with the body")]
    pub(crate) memory: Option<Reservation>,
}

impl Outgoing {
    /// Sending it twice means the same as sending it once (RFC 9110, section 9.2.2).
    fn idempotent(&self) -> bool {
        [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::PUT,
            Method::DELETE,
        ]
        .contains(&self.method)
    }
}

/// An answer whose body is still on the wire.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: UpstreamBody,
}

/// The rest of an answer.
#[derive(Debug)]
pub(crate) enum UpstreamBody {
    Empty,
    H1(Box<h1::Body>),
    H2(Box<h2::Body>),
}

impl UpstreamBody {
    /// The next piece, or `None` at the end. One that is not there yet must come before `deadline`.
    pub(crate) async fn chunk(
        &mut self,
        deadline: impl FnOnce() -> Instant,
    ) -> Result<Option<Bytes>, UpstreamError> {
        let next = async {
            match self {
                Self::Empty => Ok(None),
                Self::H1(body) => body.chunk().await,
                Self::H2(body) => body.chunk().await,
            }
        };
        match worker::before(deadline, next).await {
            Ok(piece) => piece,
            Err(_) => Err(UpstreamError::Timeout("body")),
        }
    }

    /// How many bytes are announced, if that is known.
    pub(crate) fn announced(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::H1(body) => body.announced(),
            Self::H2(body) => body.announced(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// No connection.
    #[error("cannot connect to {endpoint}: {cause}")]
    Unreachable { endpoint: String, cause: String },
    /// Too slow.
    #[error("no {0} in time")]
    Timeout(&'static str),
    /// Broke off, or is not HTTP.
    #[error("{0}")]
    Broken(String),
    /// A connection from the pool had been closed meanwhile; nothing of an answer was seen.
    #[error("the connection was closed before an answer")]
    Stale,
}

impl UpstreamError {
    /// The refusal that it means for the client.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Unreachable { .. } => Reason::UpstreamUnreachable,
            Self::Timeout(_) => Reason::UpstreamTimeout,
            Self::Broken(_) | Self::Stale => Reason::UpstreamBroken,
        }
    }
}

/// How long one exchange may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// When it was about to begin.
    began: Instant,
    /// For all of it.
    deadline: Instant,
    /// From the request's last byte to the answer's head.
    first_byte: Duration,
}

impl Patience {
    fn new(timeouts: &Timeouts, began: Instant) -> Self {
        Self {
            began,
            deadline: began + timeouts.total,
            first_byte: timeouts.first_byte,
        }
    }

    /// Sends the request: bounded by the whole alone.
    async fn sent<T>(self, work: impl Future<Output = T>) -> Result<T, UpstreamError> {
        worker::before(|| self.deadline, work)
            .await
            .map_err(|_| UpstreamError::Timeout("end of the request"))
    }

    /// Waits for the answer's head.
    async fn answered<T>(self, work: impl Future<Output = T>) -> Result<T, UpstreamError> {
        let deadline = || self.deadline.min(Instant::now() + self.first_byte);
        worker::before(deadline, work)
            .await
            .map_err(|_| UpstreamError::Timeout("answer"))
    }
}

/// A worker's connections.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    pool: pool::Pool,
    multiplexed: RefCell<HashMap<Arc<str>, h2::Sender>>,
    turn: Cell<usize>,
}

impl Upstreams {
    /// Sends a request that passed every guard, a moment ago.
    ///
    /// # Errors
    /// [`UpstreamError`]. A connection that turns out to be stale is replaced once, if nothing was
    /// received and the request may be repeated; an endpoint that cannot be reached is skipped.
    pub(crate) async fn send(
        &self,
        plan: &UpstreamPlan,
        cleared: Cleared,
        began: Instant,
    ) -> Result<Incoming, UpstreamError> {
        let mut request = cleared.into_outgoing();
        let patience = Patience::new(&plan.timeouts, began);
        let mut last = UpstreamError::Unreachable {
            endpoint: "upstream".into(),
            cause: "no endpoint".into(),
        };
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        for attempt in 0..plan.endpoints.len().min(ATTEMPTS) {
            let Some(endpoint) = choose(plan, turn, attempt) else {
                break;
            };
            request
                .headers
                .insert(header::HOST, endpoint.authority.clone());
            match self.send_to(endpoint, plan, &request, patience).await {
                Err(unreachable @ UpstreamError::Unreachable { .. }) => last = unreachable,
                done => return done,
            }
        }
        Err(last)
    }

    async fn send_to(
        &self,
        endpoint: &EndpointPlan,
        plan: &UpstreamPlan,
        request: &Outgoing,
        patience: Patience,
    ) -> Result<Incoming, UpstreamError> {
        if endpoint.http2 {
            return self.send_h2(endpoint, plan, request, patience).await;
        }
        let idle = self.pool.of(&endpoint.key);
        while let Some(connection) = idle.take(patience.began) {
            match h1::exchange(connection, endpoint, request, patience, &idle).await {
                Err(UpstreamError::Stale) if request.idempotent() => {}
                done => return done,
            }
        }
        let stream = within(plan.timeouts.connect, endpoint, connect::connect(endpoint)).await?;
        let connection = h1::Connection::new(stream);
        h1::exchange(connection, endpoint, request, patience, &idle).await
    }

    async fn send_h2(
        &self,
        endpoint: &EndpointPlan,
        plan: &UpstreamPlan,
        request: &Outgoing,
        patience: Patience,
    ) -> Result<Incoming, UpstreamError> {
        let known = self.multiplexed.borrow().get(&endpoint.key).cloned();
        if let Some(sender) = known.filter(h2::Sender::is_ready) {
            match sender.exchange(endpoint, request, patience).await {
                // The upstream may have been about to leave (GOAWAY), or refused the stream.
                Err(UpstreamError::Stale | UpstreamError::Broken(_)) if request.idempotent() => {}
                Err(UpstreamError::Timeout(what)) => {
                    // Perhaps nobody is there any more: the next request finds out anew.
                    self.multiplexed.borrow_mut().remove(&endpoint.key);
                    return Err(UpstreamError::Timeout(what));
                }
                done => return done,
            }
        }
        let stream = within(plan.timeouts.connect, endpoint, connect::connect(endpoint)).await?;
        let sender = within(plan.timeouts.connect, endpoint, h2::handshake(stream)).await?;
        self.multiplexed
            .borrow_mut()
            .insert(Arc::clone(&endpoint.key), sender.clone());
        sender.exchange(endpoint, request, patience).await
    }

    /// Closes what has been idle for too long.
    pub(crate) fn tidy(&self) {
        self.pool.tidy();
        self.multiplexed
            .borrow_mut()
            .retain(|_, sender| sender.is_ready());
    }
}

/// The endpoint whose turn it is; for a further attempt of the same request, one that it did not try.
fn choose(plan: &UpstreamPlan, turn: usize, attempt: usize) -> Option<&EndpointPlan> {
    if let [only] = plan.endpoints.as_slice() {
        return Some(only);
    }
    let first = *plan.schedule.get(turn.checked_rem(plan.schedule.len())?)?;
    let index = (first + attempt).checked_rem(plan.endpoints.len())?;
    plan.endpoints.get(index).map(|endpoint| &**endpoint)
}

/// At most this many endpoints are tried for one request.
const ATTEMPTS: usize = 3;

async fn within<T>(
    limit: Duration,
    endpoint: &EndpointPlan,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, UpstreamError> {
    let cause = match tokio::time::timeout(limit, work).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(cause)) => cause,
        Err(_) => format!("no connection within {limit:?}"),
    };
    Err(UpstreamError::Unreachable {
        endpoint: format!("{}:{}", endpoint.host, endpoint.port),
        cause,
    })
}

/// What a range of a list of breached passwords is.
pub(crate) const RANGE: &str = "text/plain";

/// What a server outside of the request path is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'q> {
    pub(crate) accept: &'static str,
    pub(crate) authorization: Option<&'q Secret<String>>,
    /// Sent as `X-Api-Key`.
    pub(crate) api_key: Option<&'q Secret<String>>,
    /// Sent by POST; without one it is a GET.
    pub(crate) form: Option<&'q Secret<String>>,
}

/// One GET outside any client's request, on a connection of its own: for the issuers' keys, and for
/// the Core Rule Set.
///
/// # Errors
/// [`UpstreamError`]; also for a URL that is neither https nor http on loopback.
pub(crate) async fn ask(
    uri: &http::Uri,
    question: Question<'_>,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Incoming, UpstreamError> {
    let wrong = |why: &str| UpstreamError::Unreachable {
        endpoint: uri.to_string(),
        cause: why.into(),
    };
    let host = uri.host().ok_or_else(|| wrong("the URL has no host"))?;
    let bare = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let https = uri.scheme_str() == Some("https");
    let tls = if https {
        let config = tls.ok_or_else(|| wrong("TLS cannot be set up"))?;
        let server_name = bare
            .clone()
            .try_into()
            .map_err(|_| wrong("the URL's host is no server name"))?;
        Some(TlsPlan {
            config: Arc::clone(config),
            server_name,
        })
    } else {
        None
    };
    let endpoint = EndpointPlan {
        key: Arc::from(""),
        host: bare,
        port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        authority: uri
            .authority()
            .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
            .ok_or_else(|| wrong("the URL has no host"))?,
        prefix: String::new(),
        tls,
        http2: false,
    };
    let request =
        outgoing(uri, &question, endpoint.authority.clone()).map_err(|why| wrong(&why))?;
    let timeouts = Timeouts::default();
    let stream = within(timeouts.connect, &endpoint, connect::connect(&endpoint)).await?;
    let connection = h1::Connection::new(stream);
    h1::exchange(
        connection,
        &endpoint,
        &request,
        Patience::new(&timeouts, Instant::now()),
        &Rc::default(),
    )
    .await
}

fn outgoing(
    uri: &http::Uri,
    question: &Question<'_>,
    authority: HeaderValue,
) -> Result<Outgoing, String> {
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let (path, query) = crate::path::split_target(path);
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, authority);
    headers.insert(header::ACCEPT, HeaderValue::from_static(question.accept));
    let agent = concat!("fortress/", env!("CARGO_PKG_VERSION"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    if question.accept == RANGE {
        // The length of an answer without padding would tell which of the ranges it is.
        headers.insert("add-padding", HeaderValue::from_static("true"));
    }
    let form = "application/x-www-form-urlencoded";
    if question.form.is_some() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    }
    let credentials = [
        (header::AUTHORIZATION, question.authorization),
        (HeaderName::from_static("x-api-key"), question.api_key),
    ];
    for (name, secret) in credentials {
        let Some(secret) = secret else { continue };
        let mut value = HeaderValue::from_str(secret.expose())
            .map_err(|_| "the client's credentials cannot be sent".to_owned())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(Outgoing {
        method: if question.form.is_some() {
            Method::POST
        } else {
            Method::GET
        },
        path: NormalizedPath::parse(path, crate::path::Semicolons::Refused)
            .map_err(|refused| refused.detail)?,
        query: query.map(Box::from),
        headers,
        body: question
            .form
            .map(|form| Bytes::copy_from_slice(form.expose().as_bytes()))
            .unwrap_or_default(),
        memory: None,
    })
}
