//! Logging people in with a browser (OpenID Connect): sending them to the issuer, taking them back,
//! and knowing them by an encrypted cookie from then on.
//!
//! A session is in the browser alone, so that it outlives a restart and holds at every instance with
//! the same key. What must not happen twice is remembered here, within bounds ([`memory`]).
//! Deliberately not here: what is checked of an answer and how cookies are written (`fortress-auth`).

mod begin;
mod ends;
mod memory;
mod renew;
mod sessions;

use std::{net::IpAddr, sync::Arc};

use fortress_auth::{
    IdTokenError, IdTokenVerifier, JwkSet, TokenError, Verified,
    login::{Announces, Client, Fetch, Lifetimes, Session},
    session::{self, Sealer},
};
use fortress_model::{
    Decision, Outcome, Reason, Timestamp, config::LoginEndpoints, decision::Stage,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    compile::Gateway,
    cookie,
    forwarded::{self, Scheme},
    guard::client,
    keys::{Keys, Metadata, Newer, StoreFeed},
    path::split_target,
    reply::{Reply, ReplyBody},
    request::{Arrival, Head, Request},
    serve::Refused,
    told::remove_cookies,
};

pub(crate) use begin::send_away;
pub(crate) use memory::LoginMemory;
pub(crate) use sessions::{Live, Sessions, recognise};

/// What all names of our cookies begin with.
const COOKIES: &str = "__Host-fortress-";

/// Where the gateway answers by itself.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) login: String,
    pub(crate) callback: String,
    pub(crate) logout: String,
    pub(crate) after_logout: String,
}

/// How one issuer logs people in, compiled.
#[derive(Debug)]
pub(crate) struct LoginPlan {
    /// The entry of `identity`.
    pub(crate) name: Arc<str>,
    pub(crate) issuer: String,
    pub(crate) client: Client,
    pub(crate) sealer: Sealer,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) id_tokens: IdTokenVerifier,
    pub(crate) keys: Arc<Keys>,
    /// Those that are configured.
    pub(crate) endpoints: LoginEndpoints,
    pub(crate) paths: Paths,
    /// As browsers call the gateway, if it cannot be told from the request.
    pub(crate) origin: Option<String>,
    pub(crate) logout_at_issuer: bool,
    pub(crate) prompt: Option<&'static str>,
    /// Where the scopes are beside those that were granted.
    pub(crate) scope_claim: Option<String>,
    pub(crate) memory: Arc<LoginMemory>,
    /// Knows who was revoked.
    pub(crate) store: StoreFeed,
}

/// The logins of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Logins(pub(crate) Vec<Arc<LoginPlan>>);

/// A request, as far as a login is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page<'r> {
    pub(crate) method: &'r Method,
    /// In lower case, with the port if one was given.
    pub(crate) host: &'r str,
    /// Path and query as they came.
    pub(crate) target: &'r str,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) scheme: Scheme,
    pub(crate) peer: IpAddr,
    pub(crate) now: Timestamp,
}

/// What a browser is told of its session, whatever becomes of its request.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    /// What it is to change.
    cookies: Vec<HeaderValue>,
    /// It is somebody's.
    is_known: bool,
}

impl Browser {
    /// Tells it, before the answer is dressed.
    pub(crate) fn tell(&mut self, headers: &mut HeaderMap) {
        if self.is_known && !headers.contains_key(header::REFERRER_POLICY) {
            // Under `no-referrer` older browsers say `Origin: null` for the page's own forms, which
            // would be refused as another site's.
            let own = HeaderValue::from_static("same-origin");
            headers.insert(header::REFERRER_POLICY, own);
        }
        if self.cookies.is_empty() {
            return;
        }
        // Whatever the upstream says: a cache in front would give one person's session to all.
        let never = HeaderValue::from_static("no-store");
        headers.insert(header::CACHE_CONTROL, never);
        for cookie in self.cookies.drain(..) {
            headers.append(header::SET_COOKIE, cookie);
        }
    }
}

/// Why the issuer is of no help.
#[derive(Debug)]
enum Failure {
    /// It says no, or what it says does not count.
    Refused(String),
    /// It cannot be asked, or does not answer as it should.
    Unavailable(String),
}

/// Where an issuer is asked.
#[derive(Debug)]
struct Endpoints {
    authorization: Option<String>,
    token: Option<String>,
    end_session: Option<String>,
    revocation: Option<String>,
    announces: Announces,
}

impl Logins {
    /// Answers a request for one of the gateway's own paths.
    pub(crate) async fn answer(
        &self,
        gateway: &Gateway,
        decision: &mut Decision,
        arrival: &Arrival,
        head: &Head,
    ) -> Option<Result<Reply, Refused>> {
        let (path, query) = split_target(&head.target);
        let query = query.unwrap_or_default();
        let of = |login: &&Arc<LoginPlan>| {
            let paths = &login.paths;
            let own = [&paths.login, &paths.callback, &paths.logout];
            own.into_iter().any(|own| *own == *path)
        };
        let login = self.0.iter().find(of)?;
        decision.stage = Stage::Authenticate;
        if let Err(denial) = client::at_listener(decision, gateway, arrival) {
            return Some(Err(denial.into()));
        }
        let peer = arrival.peer_address();
        let trusted = arrival.trusted(gateway);
        let page = Page {
            method: &head.method,
            host: &head.host,
            target: &head.target,
            headers: &head.headers,
            scheme: forwarded::client_scheme(arrival.tls, peer, &head.headers, trusted),
            peer,
            now: decision.received,
        };
        let is_logout = path == login.paths.logout;
        if page.method != Method::GET && !(is_logout && page.method == Method::POST) {
            let denial = decision.fail(Reason::MethodUndeclared, "not a method of this page");
            let mut refused = Refused::from(denial);
            let allowed = if is_logout { "GET, POST" } else { "GET" };
            let allowed = HeaderValue::from_static(allowed);
            refused.headers.push((header::ALLOW, allowed));
            return Some(Err(refused));
        }
        let answered = if is_logout {
            ends::logout(decision, login, &page).await
        } else if path == login.paths.callback {
            ends::callback(decision, login, &page, query).await
        } else {
            begin::page(decision, login, &page, query).await
        };
        Some(answered.inspect(|_| decision.outcome = Outcome::Answered))
    }

    /// The paths at which it answers.
    pub(crate) fn pages(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|login| {
            let paths = &login.paths;
            [&paths.login, &paths.callback, &paths.logout].map(Clone::clone)
        })
    }

    /// Takes our cookies away: they are for nobody else.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if !self.0.is_empty() && headers.contains_key(header::COOKIE) {
            remove_cookies(headers, |name| name.starts_with(COOKIES.as_bytes()));
        }
    }
}

impl LoginPlan {
    /// The name of the session's cookie.
    pub(crate) fn cookie(&self) -> String {
        format!("{COOKIES}{}", self.name)
    }

    /// What the names of the cookies of logins begin with.
    fn login_cookies(&self) -> String {
        format!("{COOKIES}{}.login", self.name)
    }

    /// Scheme, host and port as the browser knows them. `None` where it would not take our cookies:
    /// in plain text, unless from this very machine.
    fn origin(&self, page: &Page<'_>) -> Option<String> {
        if let Some(origin) = &self.origin {
            return Some(origin.clone());
        }
        let is_kept = page.scheme == Scheme::Https || page.peer.is_loopback();
        is_kept.then(|| {
            let (scheme, host) = (page.scheme.as_str(), page.host);
            let port = match page.scheme {
                Scheme::Https => ":443",
                Scheme::Http => ":80",
            };
            format!("{scheme}://{}", host.strip_suffix(port).unwrap_or(host))
        })
    }

    /// Where the issuer is asked: as configured, else as discovered, for which one may have to wait.
    async fn endpoints(&self) -> Result<Endpoints, String> {
        let discovered = if self.keys.is_discovered() {
            Some(
                self.metadata()
                    .await
                    .ok_or_else(|| format!("the metadata of `{}` could not be had", self.issuer))?,
            )
        } else {
            None
        };
        let discovered = discovered.as_deref();
        let either = |written: &Option<String>, found: fn(&Metadata) -> &Option<String>| {
            let found = discovered.and_then(|metadata| found(metadata).clone());
            written.clone().or(found)
        };
        let written = &self.endpoints;
        Ok(Endpoints {
            authorization: either(&written.authorization, |found| {
                &found.authorization_endpoint
            }),
            token: either(&written.token, |found| &found.token_endpoint),
            end_session: either(&written.end_session, |found| &found.end_session_endpoint),
            revocation: either(&written.revocation, |found| &found.revocation_endpoint),
            announces: match discovered {
                Some(found) if found.names_itself => Announces::Issuer,
                Some(_) | None => Announces::Nothing,
            },
        })
    }

    async fn metadata(&self) -> Option<Arc<Metadata>> {
        if self.keys.metadata().is_none() {
            // Only for its coming: the keys themselves come with what is discovered.
            drop(self.keys.first().await);
        }
        self.keys.metadata()
    }

    /// Verifies an ID token by the issuer's keys, with new ones if it names one that is not known.
    async fn identify(
        &self,
        verify: impl Fn(&JwkSet) -> Result<Verified, IdTokenError>,
    ) -> Result<Verified, Failure> {
        let unavailable = || {
            let why = format!("the keys of `{}` could not be had", self.issuer);
            Failure::Unavailable(why)
        };
        let keys = match self.keys.current() {
            Some(keys) => keys,
            None => self.keys.first().await.ok_or_else(unavailable)?,
        };
        let verified = match verify(&keys.set) {
            Err(IdTokenError::Token(TokenError::UnknownKey { .. })) => {
                match self.keys.newer(keys.generation).await {
                    Newer::Keys(fresh) => verify(&fresh.set),
                    Newer::None => verify(&keys.set),
                    Newer::Unknown => return Err(unavailable()),
                }
            }
            verified => verified,
        };
        verified.map_err(|error| Failure::Refused(error.to_string()))
    }

    /// Writes a session into the browser's cookies, and takes away those that it does not need.
    fn write(
        &self,
        session: &Session,
        page: &Page<'_>,
        cookies: &mut Vec<HeaderValue>,
    ) -> Result<(), Failure> {
        let name = self.cookie();
        let expires = session.ends(&self.lifetimes);
        let nonce = random()?;
        let sealed = self.sealer.seal(&name, &session.encode(), nonce, expires);
        let sealed = sealed.map_err(|error| Failure::Refused(error.to_string()))?;
        let pieces = session::pieces(&name, &sealed);
        // A browser forgets one of no seconds before it is over.
        let seconds = expires.since(page.now).as_secs() + 1;
        for (index, piece) in pieces.iter().enumerate() {
            let piece_name = session::piece_name(&name, index);
            push(cookies, &session::set_cookie(&piece_name, piece, seconds));
        }
        self.clear_from(pieces.len(), page, cookies);
        Ok(())
    }

    /// Takes the session's cookies away, as far as the browser has them.
    fn clear(&self, page: &Page<'_>, cookies: &mut Vec<HeaderValue>) {
        self.clear_from(0, page, cookies);
    }

    fn clear_from(&self, first: usize, page: &Page<'_>, cookies: &mut Vec<HeaderValue>) {
        let name = self.cookie();
        for index in first..session::MAX_PIECES {
            let piece = session::piece_name(&name, index);
            if !matches!(cookie::find(page.headers, &piece), cookie::Found::None) {
                push(cookies, &session::remove_cookie(&piece));
            }
        }
    }
}

impl<'r> Page<'r> {
    /// A request for an operation.
    pub(crate) fn new(
        request: &'r Request,
        (host, scheme): (&'r str, Scheme),
        arrival: &Arrival,
        now: Timestamp,
    ) -> Self {
        Self {
            method: &request.method,
            host,
            target: &request.target,
            headers: &request.headers,
            scheme,
            peer: arrival.peer_address(),
            now,
        }
    }

    /// What the browser says of the request.
    fn fetch(&self) -> Fetch<'_> {
        let field = |name: &'static str| {
            let mut values = self.headers.get_all(HeaderName::from_static(name)).iter();
            let value = values.next()?;
            // What is said twice is nobody's word: no browser does it.
            if values.next().is_some() {
                return Some("");
            }
            Some(value.to_str().unwrap_or_default())
        };
        Fetch {
            site: field("sec-fetch-site"),
            mode: field("sec-fetch-mode"),
            destination: field("sec-fetch-dest"),
            origin: field("origin"),
            accept: field("accept"),
        }
    }
}

/// The value of a `Set-Cookie` of ours, which is ASCII.
fn push(cookies: &mut Vec<HeaderValue>, cookie: &str) {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        cookies.push(value);
    }
}

/// Bytes that nobody can foresee.
fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Failure::Unavailable("the system has no randomness".to_owned()))?;
    Ok(bytes)
}

/// Sends a browser elsewhere.
pub(crate) fn redirect(status: StatusCode, location: HeaderValue) -> Reply {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::LOCATION, location);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Reply {
        status,
        headers,
        body: ReplyBody::Full(bytes::Bytes::new()),
    }
}

fn add_cookies(reply: &mut Reply, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        reply.headers.append(header::SET_COOKIE, cookie);
    }
}
