//! Key sets of token issuers: living things that survive a reload.
//!
//! A set from a file is read when the configuration is compiled (and again when the file changes,
//! which is a reload). A set from a URL is fetched by one task outside the request path: before it
//! gets old, and when a token names a key that is not there, a bounded number of times, so that
//! nobody can make Fortress flood an issuer. An issuer that is down does not lock out anybody: the
//! last good set is used until the hard limit.

mod asking;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use fortress_auth::{Cache, JwkSet, Nonces, OpaqueCache, ReplayCache, replay::Replays};
use fortress_model::{
    Secret, SystemClock,
    config::{Config, StoreSettings},
};
use fortress_store::{Feed, StoreError};
use http::Uri;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use self::asking::Asking;
use crate::{
    browser_login::LoginMemory,
    compile,
    defence::Logins,
    fetch::{self, Fetcher},
    hashers::Hashers,
    limits::Counts,
    load::Loads,
    networks::Feeds,
    shared_counts::Log,
};

/// How often a set is fetched anew.
const REFRESH: Duration = Duration::from_secs(300);
/// How soon after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The same while there are no keys at all and every request has to be refused.
const RETRY_WITHOUT: Duration = Duration::from_secs(1);
/// A set that could not be refreshed for this long is not used any more.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a nonce of ours is good at least.
const NONCE_PERIOD: Duration = Duration::from_secs(120);
/// How long an issuer's metadata are believed before they are asked for anew.
const METADATA_LIFE: Duration = Duration::from_secs(60 * 60);
/// Bytes of an issuer's metadata.
const MAX_METADATA: usize = 64 << 10;
/// How often the tables of logins are looked through.
const TIDY_DEFENCE: Duration = Duration::from_secs(30);
/// How long a request waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(3);

/// All key sets, by where they come from, and what else of identities survives a reload.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    sets: Arc<Mutex<HashMap<String, Arc<Keys>>>>,
    memories: Arc<Mutex<HashMap<String, Arc<Memory>>>>,
    counts: Arc<Mutex<Option<Arc<Counts>>>>,
    defence: Arc<Mutex<Option<Arc<Logins>>>>,
    store: StoreFeed,
    proofs: Proofs,
    /// Signed requests that came already, by the entry of `identity`.
    replays: Arc<Mutex<HashMap<String, Arc<Replays>>>>,
    hashers: Hashers,
    /// What must not happen twice in logins, by the entry of `identity`.
    logins: Arc<Mutex<HashMap<String, Arc<LoginMemory>>>>,
    feeds: Feeds,
    loads: Loads,
}

/// What the store tells of API keys and revocations, once it is open; living, like key sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreFeed(Arc<ArcSwapOption<Feed>>);

impl StoreFeed {
    /// `None` where the configuration names no store, or it is not open yet.
    pub(crate) fn get(&self) -> Option<Arc<Feed>> {
        self.0.load_full()
    }
}

/// Where a key set comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Source {
    /// A file, read again when it changes.
    File(PathBuf),
    /// An https URL, or http on loopback.
    Url(String),
    /// The metadata of an issuer name it (OpenID Connect Discovery, section 4; RFC 8414).
    Discovery(String),
    /// The configuration itself: a shared key of the identity of this name.
    Shared(String),
}

impl Source {
    /// It never changes by itself, and does not get old.
    fn is_settled(&self) -> bool {
        match self {
            Self::File(_) | Self::Shared(_) => true,
            Self::Url(_) | Self::Discovery(_) => false,
        }
    }
}

/// What an identity remembers of the tokens that it saw.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Tokens that were verified.
    pub(crate) verified: Cache,
    /// What the issuer said of opaque tokens.
    pub(crate) opaque: OpaqueCache,
    /// Proofs of possession that were used, with all identities.
    pub(crate) proofs: Arc<ReplayCache>,
    /// Nonces for the next ones.
    pub(crate) nonces: Nonces,
}

/// Proofs of possession that were used. One memory for all identities: a proof is known by its key and
/// its id alone, so that it counts once whatever a reload makes of the entries of `identity`.
#[derive(Clone, Debug)]
struct Proofs(Arc<ReplayCache>);

impl Default for Proofs {
    fn default() -> Self {
        Self(Arc::new(ReplayCache::new(PROOFS, Duration::ZERO)))
    }
}

/// How long an identity remembers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    /// An active opaque token.
    pub(crate) active: Duration,
    /// An inactive one.
    pub(crate) inactive: Duration,
}

/// Verified tokens that one identity keeps.
const CACHED_TOKENS: usize = 10_000;
/// Proofs that are remembered within their window.
const PROOFS: usize = 1_000_000;

/// What an issuer's metadata say (RFC 8414, section 2), as far as it is used here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Metadata {
    pub(crate) jwks_uri: String,
    pub(crate) introspection_endpoint: Option<String>,
    pub(crate) authorization_endpoint: Option<String>,
    pub(crate) token_endpoint: Option<String>,
    pub(crate) end_session_endpoint: Option<String>,
    pub(crate) revocation_endpoint: Option<String>,
    /// It names itself in its answers to browsers (RFC 9207, section 3).
    pub(crate) names_itself: bool,
}

/// One issuer's keys.
pub(crate) struct Keys {
    source: Source,
    fetcher: Fetcher,
    metadata: ArcSwapOption<Metadata>,
    current: ArcSwapOption<KeySet>,
    wanted: Notify,
    /// The last fetch that ended.
    ended: watch::Sender<Ended>,
    asking: Mutex<Asking>,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, Default)]
struct Ended {
    /// They are counted from 1.
    number: u64,
    succeeded: bool,
}

/// What came of asking for newer keys.
#[derive(Debug)]
pub(crate) enum Newer {
    Keys(Arc<KeySet>),
    /// The issuer has said since that there are no others.
    None,
    /// The issuer could not be asked, or did not answer in time: nobody knows.
    Unknown,
}

/// The keys at one time.
#[derive(Debug)]
pub(crate) struct KeySet {
    pub(crate) set: JwkSet,
    pub(crate) generation: u64,
    fetched: Instant,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// The keys of a source, and which keys of a file were left out. A file is read now; a URL is
    /// fetched by the task that [`KeyRing::keep_fresh`] runs, trusting the roots of the file `ca`.
    ///
    /// # Errors
    /// Says what is wrong with a file.
    pub(crate) fn get(
        &self,
        source: &Source,
        ca: Option<&Path>,
    ) -> Result<(Arc<Keys>, Vec<String>), String> {
        /// Keys of which it is said why they are left out, where all are.
        const SHOWN: usize = 5;
        let mut left_out = Vec::new();
        let parsed = match source {
            Source::Url(_) | Source::Discovery(_) | Source::Shared(_) => None,
            Source::File(path) => {
                let shown = path.display();
                let text = fortress_model::file::read(path)
                    .map_err(|error| format!("cannot read `{shown}`: {error}"))?;
                let (set, without) = JwkSet::parse(&text)
                    .map_err(|error| format!("`{shown}` is no key set: {error}"))?;
                if set.is_empty() {
                    let mut message = format!("`{shown}` holds no key that could verify a token");
                    for why in without.iter().take(SHOWN) {
                        message.push_str(&format!("; {why}"));
                    }
                    return Err(message);
                }
                left_out.extend(
                    without
                        .into_iter()
                        .map(|why| format!("a key of `{shown}` is left out: {why}")),
                );
                Some(set)
            }
        };
        let (fetcher, trust) = match ca {
            None => (Fetcher::new(), String::new()),
            Some(ca) => {
                let (roots, fingerprint) = compile::roots_of(ca)?;
                (Fetcher::trusting(roots), fingerprint)
            }
        };
        let mut ring = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = ring
            .entry(format!("{source:?} {trust}"))
            .or_insert_with(|| Arc::new(Keys::new(source.clone(), fetcher)));
        if let Some(set) = parsed {
            keys.install(set);
        }
        Ok((Arc::clone(keys), left_out))
    }

    /// A set that holds shared keys alone.
    pub(crate) fn shared(&self, identity: &str, set: JwkSet) -> Arc<Keys> {
        let source = Source::Shared(identity.to_owned());
        let mut ring = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = ring
            .entry(format!("{source:?}"))
            .or_insert_with(|| Arc::new(Keys::new(source, Fetcher::new())));
        keys.install(set);
        Arc::clone(keys)
    }

    /// Proofs of possession are remembered for so long at least, from now on.
    pub(crate) fn widen_proofs(&self, window: Duration) {
        self.proofs.0.widen(window);
    }

    /// What the identity of a name remembers; what it remembered under other spans is forgotten.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn memory(&self, identity: &str, spans: Spans) -> Result<Arc<Memory>, String> {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.retain(|_, memory| Arc::strong_count(memory) > 1);
        let name = format!("{identity} {spans:?}");
        if let Some(memory) = memories.get(&name) {
            return Ok(Arc::clone(memory));
        }
        let mut key = Secret::new([0; 32]);
        aws_lc_rs::rand::fill(key.expose_mut())
            .map_err(|_| "the system has no randomness".to_owned())?;
        let memory = Arc::new(Memory {
            verified: Cache::new(CACHED_TOKENS),
            opaque: OpaqueCache::new(CACHED_TOKENS, spans.active, spans.inactive),
            proofs: Arc::clone(&self.proofs.0),
            nonces: Nonces::new(&key, NONCE_PERIOD),
        });
        memories.insert(name, Arc::clone(&memory));
        Ok(memory)
    }

    /// What limits count; made when the first configuration has any.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn counts(&self, config: &Config) -> Result<Arc<Counts>, String> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = &*counts {
            return Ok(Arc::clone(counts));
        }
        let made = Counts::new(config)?;
        *counts = Some(Arc::clone(&made));
        Ok(made)
    }

    /// What limits count, if any configuration had limits.
    pub(crate) fn known_counts(&self) -> Option<Arc<Counts>> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.clone()
    }

    /// What is known of those who log in, and where instances share it; made when the first
    /// configuration has a login.
    ///
    /// # Errors
    /// The system has no randomness.
    pub(crate) fn defence(
        &self,
        config: &Config,
    ) -> Result<(Arc<Logins>, Option<Arc<Log>>), String> {
        let counts = match &config.redis {
            Some(_) => Some(self.counts(config)?),
            None => None,
        };
        let log = counts.as_ref().and_then(|counts| counts.log());
        let mut logins = self.defence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(logins) = &*logins {
            // One that came to Redis later hashes under a secret of its own until the restart.
            let log = log.filter(|log| log.is_of(logins));
            return Ok((Arc::clone(logins), log));
        }
        let secret = counts.as_ref().filter(|_| log.is_some());
        let made = Logins::new(secret.map(|counts| counts.logins.clone()))?;
        if let Some(log) = &log {
            log.share(&made);
        }
        *logins = Some(Arc::clone(&made));
        Ok((made, log))
    }

    /// What is known of those who log in and where instances share it, if any configuration had a login.
    pub(crate) fn known_defence(&self) -> Option<(Arc<Logins>, Option<Arc<Log>>)> {
        let logins = self.defence.lock().unwrap_or_else(PoisonError::into_inner);
        let logins = logins.clone()?;
        let log = self.known_counts().and_then(|counts| counts.log());
        let log = log.filter(|log| log.is_of(&logins));
        Some((logins, log))
    }

    /// Empties what is over in the tables of logins, for ever, so that no hash outlives its use.
    pub(crate) async fn keep_defence(&self) {
        loop {
            tokio::time::sleep(TIDY_DEFENCE).await;
            if let Some((logins, _)) = self.known_defence() {
                logins.tidy();
            }
        }
    }

    /// What the store tells, from when it is open.
    pub(crate) fn store(&self) -> StoreFeed {
        self.store.clone()
    }

    /// Opens the store, and keeps what it tells fresh from then on. Blocks; not within a runtime. A
    /// store that is open stays open: another one needs a restart.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub(crate) fn open_store(&self, settings: &StoreSettings) -> Result<(), StoreError> {
        if self.store.get().is_some() {
            return Ok(());
        }
        let (feed, warning) = Feed::open(settings, Arc::new(SystemClock))?;
        if let Some(warning) = warning {
            tracing::warn!("{warning}");
        }
        self.store.0.store(Some(Arc::new(feed)));
        Ok(())
    }

    /// The signed requests of an identity that came already.
    pub(crate) fn replays(&self, identity: &str) -> Arc<Replays> {
        let mut known = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, replays| Arc::strong_count(replays) > 1);
        let replays = known
            .entry(identity.to_owned())
            .or_insert_with(|| Arc::new(Replays::new(compile::SIGNED_REQUESTS)));
        Arc::clone(replays)
    }

    /// What the login of an identity remembers.
    pub(crate) fn login(&self, identity: &str) -> Arc<LoginMemory> {
        let mut known = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, memory| Arc::strong_count(memory) > 1);
        Arc::clone(known.entry(identity.to_owned()).or_default())
    }

    /// What computes passwords' hashes, for all identities.
    pub(crate) fn hashers(&self) -> Hashers {
        self.hashers.clone()
    }

    /// What protects from too much at once.
    pub(crate) fn loads(&self) -> Loads {
        self.loads.clone()
    }

    /// Lists of networks that come from elsewhere.
    pub(crate) fn feeds(&self) -> Feeds {
        self.feeds.clone()
    }

    /// Fetches the sets that come from URLs, for ever. Runs outside the request path.
    pub(crate) async fn keep_fresh(&self) {
        let mut running: HashMap<String, tokio::task::JoinHandle<()>> = HashMap::new();
        loop {
            running.retain(|_, task| !task.is_finished());
            let known: Vec<(String, Arc<Keys>)> = {
                let mut ring = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
                // What no configuration in use names any more is held here and by its task alone.
                ring.retain(|name, keys| {
                    Arc::strong_count(keys) > 1 + usize::from(running.contains_key(name))
                });
                running.retain(|name, task| {
                    let kept = ring.contains_key(name);
                    if !kept {
                        task.abort();
                    }
                    kept
                });
                ring.iter()
                    .map(|(name, keys)| (name.clone(), Arc::clone(keys)))
                    .collect()
            };
            for (name, keys) in known {
                if !keys.source.is_settled() && !running.contains_key(&name) {
                    running.insert(name, tokio::task::spawn_local(keys.fetch_for_ever()));
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Keys {
    fn new(source: Source, fetcher: Fetcher) -> Self {
        Self {
            source,
            fetcher,
            metadata: ArcSwapOption::empty(),
            current: ArcSwapOption::empty(),
            wanted: Notify::new(),
            ended: watch::Sender::default(),
            // The first fetch begins by itself.
            asking: Mutex::new(Asking::new(Instant::now())),
        }
    }

    /// The keys, if there are any that are not too old.
    pub(crate) fn current(&self) -> Option<Arc<KeySet>> {
        let keys = self.current.load_full()?;
        let usable = self.source.is_settled() || keys.fetched.elapsed() < STALE;
        usable.then_some(keys)
    }

    /// The keys, once the fetch that runs has ended, if there are none yet. `None` if none can be had.
    pub(crate) async fn first(&self) -> Option<Arc<KeySet>> {
        let mut ended = self.ended.subscribe();
        if let Some(keys) = self.current() {
            return Some(keys);
        }
        // Without any keys the next fetch comes soon by itself.
        if !self.source.is_settled() && self.asking().under_way {
            let waited = tokio::time::timeout(PATIENCE, ended.changed()).await;
            if waited.is_err() {
                tracing::debug!("no keys within {PATIENCE:?}");
            }
        }
        self.current()
    }

    /// Keys that are newer than `generation`, fetched together with all others who ask.
    pub(crate) async fn newer(&self, generation: u64) -> Newer {
        let newer = || self.current().filter(|keys| keys.generation > generation);
        if let Some(keys) = newer() {
            return Newer::Keys(keys);
        }
        if self.source.is_settled() {
            return Newer::None;
        }
        let mut ended = self.ended.subscribe();
        // A fetch that runs already may have read the keys before they changed.
        let wanted = {
            let mut asking = self.asking();
            asking.under_way = true;
            asking.begun + 1
        };
        self.wanted.notify_one();
        let known = async {
            loop {
                if let Some(keys) = newer() {
                    return Newer::Keys(keys);
                }
                let last = *ended.borrow_and_update();
                if last.number >= wanted {
                    return if last.succeeded {
                        Newer::None
                    } else {
                        Newer::Unknown
                    };
                }
                if ended.changed().await.is_err() {
                    return Newer::Unknown;
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, known).await;
        waited.unwrap_or(Newer::Unknown)
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, set: JwkSet) {
        let known = self.current.load_full();
        if known
            .as_ref()
            .is_some_and(|known| known.set.fingerprint() == set.fingerprint())
        {
            let generation = known.map_or(0, |known| known.generation);
            self.current.store(Some(Arc::new(KeySet {
                set,
                generation,
                fetched: Instant::now(),
            })));
            return;
        }
        let generation = known.map_or(1, |known| known.generation + 1);
        self.current.store(Some(Arc::new(KeySet {
            set,
            generation,
            fetched: Instant::now(),
        })));
    }

    /// Waits until a token asks for a fetch, and until it may have one.
    async fn asked_for(&self) {
        self.wanted.notified().await;
        loop {
            let taken = self.asking().take(Instant::now());
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    async fn fetch_for_ever(self: Arc<Self>) {
        let mut found: Option<(String, Instant)> = None;
        loop {
            let number = {
                let mut asking = self.asking();
                asking.under_way = true;
                asking.begun += 1;
                asking.begun
            };
            let fetched = self.fetch_once(&mut found).await;
            let succeeded = fetched.is_ok();
            let pause = match fetched {
                Ok(()) => REFRESH,
                Err(why) => {
                    // The next attempt asks where the keys are, too: they may have moved.
                    found = None;
                    tracing::warn!(source = ?self.source, why, "keys could not be fetched");
                    if self.current().is_some() {
                        RETRY
                    } else {
                        RETRY_WITHOUT
                    }
                }
            };
            self.asking().under_way = false;
            self.ended.send_replace(Ended { number, succeeded });
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.asked_for() => {}
            }
        }
    }

    /// `found` is where the keys of an issuer were last said to be.
    async fn fetch_once(&self, found: &mut Option<(String, Instant)>) -> Result<(), String> {
        let url = match &self.source {
            Source::File(_) | Source::Shared(_) => return Ok(()),
            Source::Url(url) => url.clone(),
            Source::Discovery(issuer) => match found {
                Some((url, at)) if at.elapsed() < METADATA_LIFE => url.clone(),
                Some(_) | None => {
                    let metadata = self.discover(issuer).await?;
                    let url = metadata.jwks_uri.clone();
                    self.metadata.store(Some(Arc::new(metadata)));
                    *found = Some((url.clone(), Instant::now()));
                    url
                }
            },
        };
        let limits = fetch::Limits {
            bytes: fortress_auth::MAX_KEY_SET,
            time: PATIENCE,
        };
        let body = self.fetcher.get(&url, limits).await?;
        let (set, left_out) = JwkSet::parse(&body).map_err(|error| error.to_string())?;
        for why in left_out {
            tracing::debug!(url, why, "a key is left out");
        }
        if set.is_empty() {
            return Err("the set holds no key that could verify a token".into());
        }
        self.install(set);
        Ok(())
    }

    /// The issuer's metadata, by OpenID Connect Discovery, else by RFC 8414.
    async fn discover(&self, issuer: &str) -> Result<Metadata, String> {
        let limits = fetch::Limits {
            bytes: MAX_METADATA,
            time: PATIENCE,
        };
        let [first, second] = metadata_urls(issuer)?;
        let document = match self.fetcher.get(&first, limits).await {
            Ok(document) => document,
            Err(why) => match self.fetcher.get(&second, limits).await {
                Ok(document) => document,
                Err(_) => return Err(format!("`{first}`: {why}")),
            },
        };
        read_metadata(&document, issuer)
    }

    /// Its metadata say where it is asked.
    pub(crate) fn is_discovered(&self) -> bool {
        matches!(self.source, Source::Discovery(_))
    }

    /// Where the issuer is asked about tokens and the like, as far as it was discovered.
    pub(crate) fn metadata(&self) -> Option<Arc<Metadata>> {
        self.metadata.load_full()
    }

    /// Reaches the issuer.
    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }
}

/// Where an issuer's metadata stand: the path of OpenID Connect Discovery goes behind the issuer's,
/// that of RFC 8414, section 3.1, before it.
fn metadata_urls(issuer: &str) -> Result<[String; 2], String> {
    let uri: Uri = issuer
        .parse()
        .map_err(|_| format!("the issuer `{issuer}` is no URL"))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(format!("the issuer `{issuer}` is no URL"));
    };
    let path = uri.path().trim_end_matches('/');
    Ok([
        format!("{scheme}://{authority}{path}/.well-known/openid-configuration"),
        format!("{scheme}://{authority}/.well-known/oauth-authorization-server{path}"),
    ])
}

/// Reads metadata. Their `issuer` must be the one that was asked (RFC 8414, section 3.3), and what
/// they name must be on its host: a document that sends us elsewhere is not followed.
fn read_metadata(document: &[u8], issuer: &str) -> Result<Metadata, String> {
    let members = fortress_auth::Object::read(document)
        .map_err(|why| format!("the issuer's metadata are malformed: {why}"))?;
    let text = |name: &str| members.get(name).and_then(fortress_auth::Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err("the metadata are of another issuer".to_owned());
    }
    let host = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        Some(uri.host()?.to_ascii_lowercase())
    };
    let ours = host(issuer);
    let endpoint = |name: &str| -> Result<Option<String>, String> {
        let Some(url) = text(name) else {
            return Ok(None);
        };
        let uri: Uri = url
            .parse()
            .map_err(|_| format!("the metadata's `{name}` is no URL"))?;
        fetch::permitted(&uri)?;
        if host(url) != ours {
            return Err(format!(
                "the metadata's `{name}` is on another host than the issuer; write it into the configuration if that is right"
            ));
        }
        Ok(Some(url.to_owned()))
    };
    // An endpoint elsewhere is only missed where it is needed.
    let optional = |name: &str| endpoint(name).ok().flatten();
    Ok(Metadata {
        jwks_uri: endpoint("jwks_uri")?.ok_or("the metadata have no `jwks_uri`")?,
        introspection_endpoint: optional("introspection_endpoint"),
        authorization_endpoint: optional("authorization_endpoint"),
        token_endpoint: optional("token_endpoint"),
        end_session_endpoint: optional("end_session_endpoint"),
        revocation_endpoint: optional("revocation_endpoint"),
        names_itself: members
            .get("authorization_response_iss_parameter_supported")
            .and_then(fortress_auth::Value::as_bool)
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_looked_for_at_the_issuer() {
        assert_eq!(
            metadata_urls("https://idp.example.com/realms/a/").unwrap(),
            [
                "https://idp.example.com/realms/a/.well-known/openid-configuration",
                "https://idp.example.com/.well-known/oauth-authorization-server/realms/a"
            ]
        );
        assert!(metadata_urls("urn:idp").is_err());
    }

    #[test]
    fn metadata_lead_nowhere_else() {
        let read = |text: &str| read_metadata(text.as_bytes(), "https://idp.test");
        let good = r#"{"issuer":"https://idp.test","jwks_uri":"https://idp.test/k","token_endpoint":"https://idp.test/t","introspection_endpoint":"https://evil.test/i"}"#;
        let metadata = read(good).unwrap();
        assert_eq!(metadata.jwks_uri, "https://idp.test/k");
        assert_eq!(
            metadata.token_endpoint.as_deref(),
            Some("https://idp.test/t")
        );
        assert_eq!(metadata.introspection_endpoint, None);
        for (bad, why) in [
            (
                r#"{"issuer":"https://idp.test/","jwks_uri":"https://idp.test/k"}"#,
                "another issuer",
            ),
            (r#"{"jwks_uri":"https://idp.test/k"}"#, "another issuer"),
            (r#"{"issuer":"https://idp.test"}"#, "no `jwks_uri`"),
            (
                r#"{"issuer":"https://idp.test","jwks_uri":"https://evil.test/k"}"#,
                "another host",
            ),
            (
                r#"{"issuer":"https://idp.test","jwks_uri":"http://idp.test/k"}"#,
                "not an https URL",
            ),
            (
                r#"{"issuer":"https://idp.test","jwks_uri":"https://idp.test/k","issuer":"https://idp.test"}"#,
                "malformed",
            ),
            ("[]", "malformed"),
        ] {
            let found = read(bad).unwrap_err();
            assert!(found.contains(why), "{bad}: {found}");
        }
    }
}
