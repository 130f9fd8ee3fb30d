//! Lists that come from elsewhere: fetched outside the request path, again and again.
//!
//! What was had last is kept while a source cannot be had, and a page that is no list (an error of a
//! web server that answers 200) replaces nothing. Of CrowdSec's decisions each ends by itself.

use std::{
    net::IpAddr,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use fortress_limits::networks::{Listing, Networks};
use fortress_model::{
    Clock, Secret, SystemClock,
    config::{CrowdSec, Verdict},
};
use tokio::time::Instant;

use super::crowdsec::{Book, Changed, Changes};
use crate::{
    compile,
    fetch::{Fetcher, Limits},
    journal::{NoteStatus, Notes},
};

/// What a document or an answer may be, and how long it may take.
const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    time: Duration::from_secs(60),
};
/// How soon after a failure a source is asked again, if not sooner anyway.
const RETRY: Duration = Duration::from_secs(30);
/// How often is looked which source is due.
const LOOK: Duration = Duration::from_millis(200);
/// How often a list and CrowdSec are asked, unless it is said.
const LIST_REFRESH: Duration = Duration::from_secs(3_600);
const CROWDSEC_REFRESH: Duration = Duration::from_secs(10);

/// All lists that come from elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Feeds {
    all: Arc<Mutex<Vec<Arc<Feed>>>>,
    notes: Arc<OnceLock<Notes>>,
}

/// Where a list comes from.
#[derive(Clone, Debug)]
pub(crate) enum Wish<'c> {
    Url(&'c str),
    CrowdSec(&'c CrowdSec),
}

#[derive(Debug)]
enum Source {
    Url(String),
    CrowdSec { url: String, key: Secret<String> },
}

impl Source {
    fn of(wish: &Wish<'_>) -> Self {
        match wish {
            Wish::Url(url) => Self::Url((*url).to_owned()),
            Wish::CrowdSec(crowdsec) => Self::CrowdSec {
                url: crowdsec.url.value.trim_end_matches('/').to_owned(),
                key: crowdsec.key.clone(),
            },
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Url(url), Self::Url(other)) => url == other,
            (
                Self::CrowdSec { url, key },
                Self::CrowdSec {
                    url: other,
                    key: theirs,
                },
            ) => url == other && key.expose() == theirs.expose(),
            (Self::Url(_), Self::CrowdSec { .. }) | (Self::CrowdSec { .. }, Self::Url(_)) => false,
        }
    }

    fn usual_refresh(&self) -> Duration {
        match self {
            Self::Url(_) => LIST_REFRESH,
            Self::CrowdSec { .. } => CROWDSEC_REFRESH,
        }
    }
}

/// When a source is asked.
#[derive(Debug)]
struct Timing {
    due: Instant,
    refresh: Duration,
}

/// A list that comes from elsewhere. CrowdSec tells each bouncer only what changed since it asked
/// last, so that all lists of one key share one feed.
#[derive(Debug)]
pub(crate) struct Feed {
    /// The first list that named it.
    pub(crate) name: Arc<str>,
    source: Source,
    trust: String,
    fetcher: Fetcher,
    timing: Mutex<Timing>,
    fetching: AtomicBool,
    /// By verdict; what is no decision is a ban.
    current: [ArcSwap<Networks>; Verdict::ALL.len()],
    book: Mutex<Book>,
    /// The next question is for all that holds.
    anew: AtomicBool,
    /// It could not be had last.
    away: AtomicBool,
    pub(crate) fetched: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Seconds since the epoch; 0 for never.
    pub(crate) last: AtomicU64,
}

impl Feeds {
    /// The feed of a source; it is fetched from then on.
    ///
    /// # Errors
    /// The authorities' file cannot be read.
    pub(crate) fn get(
        &self,
        name: &str,
        wish: &Wish<'_>,
        ca: Option<&Path>,
        refresh: Option<Duration>,
    ) -> Result<Arc<Feed>, String> {
        let (fetcher, trust) = match ca {
            None => (Fetcher::new(), String::new()),
            Some(ca) => {
                let (roots, fingerprint) = compile::roots_of(ca)?;
                (Fetcher::trusting(roots), fingerprint)
            }
        };
        let source = Source::of(wish);
        let refresh = refresh.unwrap_or(source.usual_refresh());
        let mut feeds = self.all();
        let known = feeds
            .iter()
            .find(|feed| feed.source.is(&source) && feed.trust == trust);
        if let Some(known) = known {
            known.ask_each(refresh);
            return Ok(Arc::clone(known));
        }
        let feed = Arc::new(Feed {
            name: name.into(),
            source,
            trust,
            fetcher,
            timing: Mutex::new(Timing {
                due: Instant::now(),
                refresh,
            }),
            fetching: AtomicBool::new(false),
            current: Default::default(),
            book: Mutex::default(),
            anew: AtomicBool::new(true),
            away: AtomicBool::new(false),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            last: AtomicU64::new(0),
        });
        feeds.push(Arc::clone(&feed));
        Ok(feed)
    }

    /// Those that are named by a configuration that is in use.
    pub(crate) fn list(&self) -> Vec<Arc<Feed>> {
        self.all().clone()
    }

    /// Fetches what is due, for ever. Runs outside the request path, on a thread of local tasks.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            let due: Vec<Arc<Feed>> = {
                let mut feeds = self.all();
                // What no configuration in use names any more is held here alone.
                feeds.retain(|feed| Arc::strong_count(feed) > 1);
                feeds.iter().filter(|feed| feed.begin()).cloned().collect()
            };
            for feed in due {
                let notes = self.notes.get().cloned();
                tokio::task::spawn_local(async move { feed.fetch(notes).await });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Feed>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is told that a list cannot be had, and that it can be had again; the first call counts.
    pub(crate) fn attach(&self, notes: Notes) {
        self.notes.get_or_init(|| notes);
    }
}

impl Feed {
    /// Whether an address is on it, by one of these verdicts.
    pub(crate) fn contains(&self, address: IpAddr, verdicts: &[Verdict]) -> bool {
        let mut sets = Verdict::ALL.iter().zip(&self.current);
        sets.any(|(verdict, set)| verdicts.contains(verdict) && set.load().contains(address))
    }

    /// Ranges of addresses that are on it.
    pub(crate) fn len(&self) -> usize {
        self.current.iter().map(|set| set.load().len()).sum()
    }

    /// One source has one feed, and what it had is kept: how often it is asked may change.
    fn ask_each(&self, refresh: Duration) {
        let mut timing = self.timing();
        timing.refresh = refresh;
        timing.due = timing.due.min(Instant::now() + refresh);
    }

    fn timing(&self) -> std::sync::MutexGuard<'_, Timing> {
        self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be fetched now; if so, by whoever asked.
    fn begin(&self) -> bool {
        self.timing().due <= Instant::now() && !self.fetching.swap(true, Relaxed)
    }

    async fn fetch(&self, notes: Option<Notes>) {
        let fetched = match &self.source {
            Source::Url(url) => self.fetch_list(url).await,
            Source::CrowdSec { url, key } => self.fetch_decisions(url, key).await,
        };
        let longest = match fetched {
            Ok(()) => {
                self.fetched.fetch_add(1, Relaxed);
                self.last.store(SystemClock.now().seconds(), Relaxed);
                if self.away.swap(false, Relaxed)
                    && let Some(notes) = notes
                {
                    let detail = format!("the list `{}` can be had again", self.name);
                    notes.note("networks.available", NoteStatus::Success, &detail);
                }
                Duration::MAX
            }
            Err(why) => {
                self.failed.fetch_add(1, Relaxed);
                let list = &*self.name;
                tracing::warn!(list, why, "a list of networks could not be fetched");
                if !self.away.swap(true, Relaxed)
                    && let Some(notes) = notes
                {
                    let detail = format!("the list `{list}` cannot be had: {why}");
                    notes.note("networks.unavailable", NoteStatus::Failure, &detail);
                }
                RETRY
            }
        };
        let mut timing = self.timing();
        timing.due = Instant::now() + timing.refresh.min(longest);
        drop(timing);
        self.fetching.store(false, Relaxed);
    }

    async fn fetch_list(&self, url: &str) -> Result<(), String> {
        let text = self.fetcher.download(url, LIMITS).await?;
        let listing = Listing::read(&text);
        let shown: Vec<String> = listing
            .wrong
            .iter()
            .map(|(line, text)| format!("line {line} `{text}`"))
            .collect();
        let shown = shown.join(", ");
        if listing.wrong_lines > listing.networks.len() {
            return Err(format!("it is no list of networks: {shown}"));
        }
        if listing.wrong_lines > 0 {
            let (list, lines) = (&*self.name, listing.wrong_lines);
            tracing::warn!(list, lines, shown, "lines of a list are no networks");
        }
        let [bans, ..] = &self.current;
        bans.store(Arc::new(Networks::new(listing.networks)));
        Ok(())
    }

    async fn fetch_decisions(&self, url: &str, key: &Secret<String>) -> Result<(), String> {
        // Whatever goes wrong, an answer may have been lost, and what it told is told once.
        let anew = self.anew.swap(true, Relaxed);
        let url = format!("{url}/v1/decisions/stream?startup={anew}");
        let answer = self.fetcher.get_with_key(&url, key, LIMITS).await;
        let changes = answer.and_then(|answer| Changes::read(&answer));
        let now = Instant::now();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, told) = match changes {
            Ok(changes) if anew => {
                book.replace(changes, now);
                (Changed::Yes, Ok(()))
            }
            Ok(changes) => (book.apply(changes, now), Ok(())),
            Err(why) => (Changed::No, Err(why)),
        };
        self.anew.store(told.is_err(), Relaxed);
        if book.expire(now) == Changed::Yes || changed == Changed::Yes {
            for (verdict, set) in Verdict::ALL.iter().zip(&self.current) {
                set.store(Arc::new(book.networks(*verdict)));
            }
        }
        told
    }
}
