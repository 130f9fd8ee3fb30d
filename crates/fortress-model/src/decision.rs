//! What Fortress decided about one request, and why. The journal, the metrics and `explain` are
//! functions of this record; no guard logs or counts on its own.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use crate::{clock::Timestamp, reason::Reason};

/// A refusal on its way out. Guards return it with `?`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// Which one.
    pub reason: Reason,
    /// For the operator; never sent to the client.
    pub detail: String,
}

/// What a guard does with the refusals that it finds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Mode {
    /// Refuse.
    #[default]
    Enforce,
    /// Record the refusal and let the request go on.
    Monitor,
    /// Look for nothing.
    Off,
}

impl Mode {
    /// Records, and refuses nothing: for whatever is only to be reported.
    pub const REPORTING: Self = Self::Monitor;

    /// The one of two that refuses less: both must enforce for a refusal.
    pub fn weaker(self, other: Self) -> Self {
        match (self, other) {
            (Self::Off, _) | (_, Self::Off) => Self::Off,
            (Self::Monitor, _) | (_, Self::Monitor) => Self::Monitor,
            (Self::Enforce, Self::Enforce) => Self::Enforce,
        }
    }

    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Monitor => "monitor",
            Self::Off => "off",
        }
    }
}

/// The stations of a request's life, in order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Reading the head.
    Parse,
    /// Finding the operation.
    Route,
    /// How much a client may do, whoever it is: before any cryptography.
    Throttle,
    /// Who calls.
    Authenticate,
    /// How much the caller may do.
    Quota,
    /// May they.
    Authorize,
    /// Parameters and body against the description.
    Inspect,
    /// The upstream's answer.
    Forward,
    /// The answer against the description.
    Reply,
}

impl Stage {
    /// All, in order.
    pub const ALL: &'static [Self] = &[
        Self::Parse,
        Self::Route,
        Self::Throttle,
        Self::Authenticate,
        Self::Quota,
        Self::Authorize,
        Self::Inspect,
        Self::Forward,
        Self::Reply,
    ];

    /// As the journal writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::Route => "route",
            Self::Throttle => "throttle",
            Self::Authenticate => "authenticate",
            Self::Quota => "quota",
            Self::Authorize => "authorize",
            Self::Inspect => "inspect",
            Self::Forward => "forward",
            Self::Reply => "reply",
        }
    }
}

/// Something that a guard noticed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Where in the request's life.
    pub stage: Stage,
    /// Which refusal this is, or would have been.
    pub reason: Reason,
    /// For the operator. Holds no secret and no whole value of the request's data.
    pub detail: String,
    /// Whether the request ended here, or went on under `monitor`.
    pub enforced: bool,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Refused.
    Denied(Reason),
    /// The client got the upstream's answer.
    Forwarded,
    /// The gateway answered by itself, without a refusal (a redirect).
    Answered,
    /// The client went away first.
    Abandoned,
}

/// A request's name: 128 bits, printed as 26 characters of Crockford's base 32 that sort by time.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl RequestId {
    /// 48 bits of milliseconds, then 80 bits of chance, as in a ULID.
    pub fn new(now: Timestamp, random: u128) -> Self {
        Self((u128::from(now.millis()) << 80) | (random & ((1 << 80) - 1)))
    }

    /// As it is printed, all of it ASCII.
    pub fn text(self) -> [u8; 26] {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let mut text = [b'0'; 26];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            let digit = usize::try_from(rest & 31).unwrap_or_default();
            *place = ALPHABET.get(digit).copied().unwrap_or(b'0');
            rest >>= 5;
        }
        text
    }
}

/// Who called, as far as the journal is concerned.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PrincipalRecord {
    /// The subject.
    pub id: Arc<str>,
    /// The entry of `identity` that vouched for it.
    pub identity: Arc<str>,
    /// How it was verified, for `explain`: algorithm and key id.
    pub method: String,
    /// When the credential ends, in seconds since the epoch.
    pub expires: Option<u64>,
}

/// Time spent, in the order of [`Stage::ALL`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timings {
    spent: [u32; 9],
}

impl Timings {
    /// Adds the time spent in a stage (saturates at 71 minutes).
    pub fn add(&mut self, stage: Stage, spent: Duration) {
        let micros = u32::try_from(spent.as_micros()).unwrap_or(u32::MAX);
        if let Some(place) = self.spent.get_mut(stage.index()) {
            *place = place.saturating_add(micros);
        }
    }

    /// Microseconds spent in a stage.
    pub fn micros(&self, stage: Stage) -> u32 {
        self.spent.get(stage.index()).copied().unwrap_or_default()
    }
}

impl Stage {
    fn index(self) -> usize {
        match self {
            Self::Parse => 0,
            Self::Route => 1,
            Self::Throttle => 2,
            Self::Authenticate => 3,
            Self::Quota => 4,
            Self::Authorize => 5,
            Self::Inspect => 6,
            Self::Forward => 7,
            Self::Reply => 8,
        }
    }
}

/// What a limit said of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LimitRecord {
    /// Where in the request's life it was asked.
    pub stage: Stage,
    /// What the configuration calls it.
    pub name: Arc<str>,
    /// What it measures: `rate`, `quota` or `concurrent`.
    pub kind: &'static str,
    /// Units in all.
    pub most: u64,
    /// The time in which they are there again; `None` for requests in flight.
    pub window: Option<Duration>,
    /// Units left.
    pub left: u64,
    /// When all of them are there again.
    pub full_in: Duration,
    /// When what the request costs will be there, where that is known.
    pub retry_in: Option<Duration>,
    /// It had too little left.
    pub refused: bool,
    /// It refuses; others are watched alone.
    pub enforced: bool,
    /// By which count: this instance's (`here`), the one that instances share (`shared`), or, while that
    /// is away, this instance's part (`alone`) or none (`open`, `closed`).
    pub counted: &'static str,
}

/// What became of an attempt to log in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LoginRecord {
    /// What the operation is for: `login`, `otp`, `reset` or `registration`.
    pub kind: &'static str,
    /// A keyed hash of the account, the same for the same account; `None` if none was named.
    pub account: Option<String>,
    /// Failures of the account at this address before.
    pub failures: u32,
    /// `succeeded`, `failed`, `unjudged`, `refused`, or `abandoned` if the client did not wait.
    pub outcome: &'static str,
    /// How long whoever was refused is to wait.
    pub wait: Option<Duration>,
    /// What this attempt showed to be an attack.
    pub found: Option<&'static str>,
}

/// What rules said of a request and its answer. Everything in it is cut to size, and what may be a
/// secret was left out before it came here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RulesRecord {
    /// Rules that matched, in order; the first [`RulesRecord::MATCHES`] of them.
    pub matches: Vec<RuleMatch>,
    /// Rules that matched beyond those.
    pub more: u32,
    /// What the rules that looked at the request added to its anomaly score.
    pub score: i64,
    /// The score at which a request is refused, as far as that is known before it runs.
    pub threshold: Option<u32>,
    /// The same of the answer.
    pub response_score: i64,
    /// The score at which an answer is replaced.
    pub response_threshold: Option<u32>,
    /// Values that were not searched, since the description had proved them harmless.
    pub proven: u32,
    /// The rules did not come to their end within `bounds.inspection`.
    pub exhausted: bool,
}

impl RulesRecord {
    /// Matches that a record keeps.
    pub const MATCHES: usize = 20;
    /// Values that it keeps of one match.
    pub const VALUES: usize = 4;

    /// Whether there is nothing to tell.
    pub fn is_quiet(&self) -> bool {
        self.matches.is_empty() && !self.exhausted
    }
}

/// A rule that matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RuleMatch {
    /// The rule's id.
    pub rule: u64,
    /// 1 to 5.
    pub phase: u8,
    /// What it looks for, in words of a table of ours: `sqli`, `xss`, `other`.
    pub kind: &'static str,
    /// Its message.
    pub message: String,
    /// Its `logdata`; empty if it could hold a secret.
    pub data: String,
    /// What it added to the anomaly score.
    pub score: i64,
    /// Where it matched, in order.
    pub values: Vec<MatchedValue>,
}

/// A place at which a rule matched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MatchedValue {
    /// What the rule calls it: `ARGS:q`.
    pub variable: String,
    /// What `waf.exclude` calls it, where it has such a name: `query.q`.
    pub parameter: Option<String>,
    /// The beginning of the value as the rule saw it; `None` if it could be a secret.
    pub excerpt: Option<String>,
    /// What was done to it before.
    pub transformations: Vec<&'static str>,
}

/// The one record of a request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Its name.
    pub id: RequestId,
    /// When its head was complete.
    pub received: Timestamp,
    /// From then to the response's last byte.
    pub duration: Duration,
    /// Who sent it: the peer, or what a trusted proxy says of it.
    pub client: IpAddr,
    /// The peer's port.
    pub client_port: u16,
    /// The address that accepted it.
    pub listener: Arc<str>,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// TLS was used.
    pub tls: bool,
    /// The fingerprint of the client's TLS (JA4), where the client itself spoke it.
    pub ja4: Option<Arc<str>>,
    /// The method, as far as it could be read.
    pub method: String,
    /// The host asked for.
    pub host: String,
    /// The normalised path, without the query; as it came where it could not be normalised.
    pub path: String,
    /// The `User-Agent`, cut at 256 bytes.
    pub user_agent: String,
    /// Configured name of the API.
    pub api: Option<Arc<str>>,
    /// The operation's id.
    pub operation: Option<Arc<str>>,
    /// The mode that applied.
    pub mode: Mode,
    /// Who called.
    pub principal: Option<PrincipalRecord>,
    /// Everything the guards noticed, in the order in which they noticed it.
    pub findings: Vec<Finding>,
    /// What the rules of `waf` said of it, if they ran.
    pub rules: Option<Box<RulesRecord>>,
    /// What became of it as an attempt to log in, where it was one.
    pub login: Option<Box<LoginRecord>>,
    /// What each limit that holds for it said, in the order in which they were asked.
    pub limits: Vec<LimitRecord>,
    /// What could not be checked, or was changed on the way: `response over 4 MiB, not checked`.
    pub notes: Vec<String>,
    /// The last stage that was entered.
    pub stage: Stage,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the client got; 0 if none.
    pub status: u16,
    /// The status that the upstream gave.
    pub upstream_status: Option<u16>,
    /// Bytes of the request's head.
    pub head_bytes: u64,
    /// Bytes of the request's body as received.
    pub request_bytes: u64,
    /// Bytes of the response's body as sent.
    pub response_bytes: u64,
    /// Where the time went.
    pub timings: Timings,
}

impl Decision {
    /// A request that has just arrived.
    pub fn begin(id: RequestId, received: Timestamp, client: IpAddr) -> Self {
        Self {
            id,
            received,
            duration: Duration::ZERO,
            client,
            client_port: 0,
            listener: Arc::default(),
            version: "HTTP/1.1",
            tls: false,
            ja4: None,
            method: String::new(),
            host: String::new(),
            path: String::new(),
            user_agent: String::new(),
            api: None,
            operation: None,
            mode: Mode::Enforce,
            principal: None,
            findings: Vec::new(),
            rules: None,
            login: None,
            limits: Vec::new(),
            notes: Vec::new(),
            stage: Stage::Parse,
            outcome: Outcome::Abandoned,
            status: 0,
            upstream_status: None,
            head_bytes: 0,
            request_bytes: 0,
            response_bytes: 0,
            timings: Timings::default(),
        }
    }

    /// Refuses, if the mode is to. Under [`Mode::Monitor`] the caller goes on.
    ///
    /// # Errors
    /// The denial itself, when it is enforced.
    pub fn refuse(&mut self, reason: Reason, detail: impl Into<String>) -> Result<(), Denial> {
        self.refuse_under(Mode::Enforce, reason, detail)
    }

    /// As [`Decision::refuse`], for a guard that has a mode of its own, which can only make the
    /// request's mode weaker. The only place where a mode is read.
    ///
    /// # Errors
    /// The denial itself, when it is enforced.
    pub fn refuse_under(
        &mut self,
        own: Mode,
        reason: Reason,
        detail: impl Into<String>,
    ) -> Result<(), Denial> {
        let detail = detail.into();
        match self.mode.weaker(own) {
            Mode::Off => Ok(()),
            Mode::Monitor => {
                self.find(reason, detail, false);
                Ok(())
            }
            Mode::Enforce => {
                self.find(reason, detail.clone(), true);
                Err(Denial { reason, detail })
            }
        }
    }

    /// Refuses whatever the mode: for what cannot go on at all, such as a broken message.
    pub fn fail(&mut self, reason: Reason, detail: impl Into<String>) -> Denial {
        let detail = detail.into();
        self.find(reason, detail.clone(), true);
        Denial { reason, detail }
    }

    fn find(&mut self, reason: Reason, detail: String, enforced: bool) {
        // An attacker chooses how many findings there are under `monitor`.
        const FINDINGS: usize = 32;
        if self.findings.len() < FINDINGS {
            self.findings.push(Finding {
                stage: self.stage,
                reason,
                detail,
                enforced,
            });
        }
    }
}
