//! `limits`: rates, quotas and concurrency, as they are written and already typed.
//!
//! Deliberately not here: counting (`fortress-limits`), and which operations a limit stands for.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::{
    Network, Spanned,
    cost::{Cost, cost, header},
    reader::{Entry, Fields, Reader},
    scalar,
};
use crate::{bounds::Frequency, decision::Mode, diagnostic::did_you_mean, document::read::shorten};

/// Limits of one list. An operation's limits are evaluated together, without allocating.
pub const MOST_LIMITS: usize = 8;

/// Parts of `per`.
const MOST_PARTS: usize = 4;

/// The longest that a burst may take to be earned back: a year.
const LONGEST_BURST: u64 = 366 * 86_400 * NANOS;

const NANOS: u64 = 1_000_000_000;

/// One limit.
#[derive(Clone, Debug)]
pub struct LimitRule {
    /// What headers and the journal call it; unique in its list.
    pub name: String,
    /// What is counted by; at least one.
    pub per: Vec<LimitPart>,
    /// How many.
    pub measure: LimitMeasure,
    /// Units that a request takes.
    pub cost: Cost,
    /// One count over all operations that it stands for, or one for each.
    pub shared: bool,
    /// For requests that lack something of `per`.
    pub missing: MissingPart,
    /// Enforce, monitor or off; never stricter than the operation's own mode.
    pub mode: Mode,
    /// When the store that instances share is away; `None` leaves it to what is further away.
    pub on_fault: Option<LimitFault>,
    /// Networks that it does not hold for.
    pub exempt_networks: Vec<Network>,
    /// Principals that it does not hold for.
    pub exempt_principals: Vec<String>,
    /// Lists of networks: it holds for clients in one of them alone. Empty: for all.
    pub networks: Vec<Spanned<String>>,
    /// Bits of an IPv4 address that are one client, 8 to 32.
    pub client_v4: u8,
    /// Bits of an IPv6 address that are one client, 16 to 128.
    pub client_v6: u8,
    /// How clients are told.
    pub headers: LimitHeaders,
}

/// How many.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LimitMeasure {
    /// `count` units in each `period`, evenly, of which `burst` can be taken at once.
    Rate {
        /// Units.
        count: u64,
        /// The time in which they are earned back.
        period: Duration,
        /// Units at once.
        burst: u64,
    },
    /// So many units in each window of the calendar.
    Quota {
        /// Units.
        limit: u64,
        /// The window.
        unit: QuotaUnit,
        /// Whose calendar: an IANA name that the built-in database has.
        zone: String,
        /// What happens at a window's edge.
        edge: QuotaEdge,
    },
    /// Requests in flight.
    Concurrent(u64),
}

/// A part of a request that a limit counts by.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum LimitPart {
    /// The client's address.
    Client,
    /// Who the caller is.
    Principal,
    /// The API key that was shown.
    ApiKey,
    /// The caller's tenant.
    Tenant,
    /// The operation of the description.
    Operation,
    /// The fingerprint of the client's TLS.
    Ja4,
    /// A claim of the token, as a dotted path.
    Claim(Box<str>),
    /// A header field of the request, in lower case.
    Header(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A property of the body, as a dotted path.
    Body(Box<str>),
}

impl fmt::Display for LimitPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => f.write_str("client"),
            Self::Principal => f.write_str("principal"),
            Self::ApiKey => f.write_str("key"),
            Self::Tenant => f.write_str("tenant"),
            Self::Operation => f.write_str("operation"),
            Self::Ja4 => f.write_str("ja4"),
            Self::Claim(name) => write!(f, "claim.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Body(name) => write!(f, "body.{name}"),
        }
    }
}

/// A window of the calendar.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum QuotaUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the first of the next.
    Month,
}

impl QuotaUnit {
    /// How long it usually is, in seconds; a month is 30 days.
    pub fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Month => 30 * 86_400,
        }
    }

    /// As it is written after the `/`.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "min",
            Self::Hour => "h",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// `window`: what happens at a window's edge.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum QuotaEdge {
    /// All is there anew.
    #[default]
    Calendar,
    /// What the window before took fades over this one.
    Sliding,
}

/// `missing`: what holds for a request that lacks a part.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum MissingPart {
    /// The client's address stands in for it: whoever leaves a header out, or has no identity, is
    /// counted alone, and gains nothing by it that others could not have.
    #[default]
    Client,
    /// All requests that lack it are counted together.
    Share,
    /// The limit does not hold for it.
    Skip,
    /// It is refused.
    Refuse,
}

/// `on_fault` of a limit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum LimitFault {
    /// Each instance goes on alone with its part of the limit.
    #[default]
    Local,
    /// Requests are refused.
    Closed,
    /// Requests are let through.
    Open,
}

/// `headers` of a limit.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum LimitHeaders {
    /// `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10 and later.
    #[default]
    Draft,
    /// Four fields, as draft 6 had them.
    Draft6,
    /// Two fields, as draft 7 had them.
    Draft7,
    /// `X-RateLimit-…`.
    Legacy,
    /// None.
    None,
}

/// `on_fault` of a limit, by its word.
pub(super) fn limit_fault(word: &str) -> Option<LimitFault> {
    match word {
        "local" => Some(LimitFault::Local),
        "closed" => Some(LimitFault::Closed),
        "open" => Some(LimitFault::Open),
        _ => None,
    }
}

impl Reader<'_> {
    pub(super) fn limits(&mut self, entry: &Entry<'_>) -> Vec<Spanned<LimitRule>> {
        let items = self.items(entry);
        if let Some(item) = items.get(MOST_LIMITS) {
            let message = format!("`{}` has more than {MOST_LIMITS} limits", entry.path);
            self.error(item.place, message, "put some of them on other operations");
        }
        let mut limits: Vec<Spanned<LimitRule>> = Vec::new();
        let mut names = BTreeSet::new();
        for item in items.into_iter().take(MOST_LIMITS) {
            let Some(value) = self.limit(&item) else {
                continue;
            };
            let span = item.place;
            if let Some(first) = limits.first()
                && first.value.headers != value.headers
            {
                let message = format!(
                    "`{}` tells clients in another form than the first of the list",
                    item.path
                );
                self.error(
                    span,
                    message,
                    "write the same `headers` in each: an answer has one form",
                );
            }
            if self.once(&mut names, &value.name, span, &entry.path) {
                limits.push(Spanned { value, span });
            }
        }
        limits
    }

    fn limit(&mut self, entry: &Entry<'_>) -> Option<LimitRule> {
        let fields = self.fields(entry)?;
        let per = fields.get("per").and_then(|entry| self.parts(&entry));
        let measure = self.measure(entry, &fields);
        let cost = self.limit_cost(&fields, measure.as_ref());
        let name = fields.get("name").map(|entry| self.limit_name(&entry));
        let rule = self.limit_settings(&fields);
        // INVARIANT: what cannot be read must not become a wider limit: the list has an error then.
        let (per, measure, cost) = (per?, measure?, cost?);
        let name = match name {
            Some(name) => name?,
            None => default_name(&per, &measure),
        };
        Some(LimitRule {
            name,
            per,
            measure,
            cost,
            ..rule
        })
    }

    fn parts(&mut self, entry: &Entry<'_>) -> Option<Vec<LimitPart>> {
        let mut seen = BTreeSet::new();
        let items = self.items(entry);
        let count = items.len();
        if let Some(item) = items.get(MOST_PARTS) {
            let message = format!("`{}` has more than {MOST_PARTS} parts", entry.path);
            self.error(item.place, message, "count by fewer");
        }
        let mut parts = Vec::new();
        for item in items {
            if let Some(found) = self.parsed(&item, part)
                && self.once(&mut seen, &found.value, found.span, &entry.path)
            {
                parts.push(found.value);
            }
        }
        (count > 0 && parts.len() == count && count <= MOST_PARTS).then_some(parts)
    }

    /// Exactly one of `rate`, `quota` and `concurrent`, with what belongs to it.
    fn measure(&mut self, entry: &Entry<'_>, fields: &Fields<'_>) -> Option<LimitMeasure> {
        let said = ["rate", "quota", "concurrent"].map(|name| (name, fields.get(name)));
        let mut said = said
            .into_iter()
            .filter_map(|(name, entry)| Some((name, entry?)));
        let Some((kind, of)) = said.next() else {
            let message = format!("`{}` says not how many", entry.path);
            self.error(
                entry.place,
                message,
                "add `rate: 10/s`, `quota: 1000/day` or `concurrent: 5`",
            );
            return None;
        };
        if let Some((other, second)) = said.next() {
            let message = format!("`{}` has both `{kind}` and `{other}`", entry.path);
            self.error(
                second.place,
                message,
                "write two limits: all of a list hold",
            );
            return None;
        }
        for (name, owner) in [("burst", "rate"), ("zone", "quota"), ("window", "quota")] {
            if let Some(stray) = fields.get(name)
                && owner != kind
            {
                let message = format!("`{}` goes with `{owner}`, not with `{kind}`", stray.path);
                self.error(stray.place, message, "remove it");
            }
        }
        match kind {
            "rate" => self.rate(&of, fields),
            "quota" => self.quota(&of, fields),
            _ => self.number(&of).map(LimitMeasure::Concurrent),
        }
    }

    fn rate(&mut self, entry: &Entry<'_>, fields: &Fields<'_>) -> Option<LimitMeasure> {
        let found = self.parsed(entry, frequency);
        let burst = fields.get("burst").map(|entry| self.number(&entry));
        let found = found?;
        let (count, unit) = found.value;
        if unit == QuotaUnit::Month {
            let message = format!(
                "`{}`: a rate has no months, which differ in length",
                entry.path
            );
            self.error(
                entry.node.span,
                message,
                "write it by the day, or write `quota`",
            );
            return None;
        }
        let burst = match burst {
            Some(burst) => burst?,
            None => count,
        };
        let seconds = unit.seconds();
        let interval = (seconds * NANOS).div_ceil(count);
        if interval.saturating_mul(burst) > LONGEST_BURST {
            let message = format!(
                "`{}` takes more than a year to earn back a burst of {burst}",
                entry.path
            );
            self.error(entry.node.span, message, "raise the rate, or lower `burst`");
            return None;
        }
        Some(LimitMeasure::Rate {
            count,
            period: Duration::from_secs(seconds),
            burst,
        })
    }

    /// How often something may happen that no limit counts: connections, handshakes.
    pub(super) fn bound_rate(&mut self, entry: &Entry<'_>) -> Option<Frequency> {
        let (count, unit) = self.parsed(entry, frequency)?.value;
        let (Ok(count), true) = (u32::try_from(count), unit != QuotaUnit::Month) else {
            let message = format!(
                "`{}`: a rate has no months, which differ in length",
                entry.path
            );
            self.error(entry.node.span, message, "write it by the day");
            return None;
        };
        let seconds = u32::try_from(unit.seconds()).unwrap_or(1);
        Some(Frequency { count, seconds })
    }

    fn quota(&mut self, entry: &Entry<'_>, fields: &Fields<'_>) -> Option<LimitMeasure> {
        let found = self.parsed(entry, frequency);
        let zone = fields.get("zone").map(|entry| self.parsed(&entry, zone));
        let edge = match fields.get("window").map(|entry| self.word(&entry)) {
            None | Some(Some("calendar")) => Some(QuotaEdge::Calendar),
            Some(Some("sliding")) => Some(QuotaEdge::Sliding),
            Some(Some(_) | None) => None,
        };
        let (limit, unit) = found?.value;
        Some(LimitMeasure::Quota {
            limit,
            unit,
            zone: match zone {
                Some(zone) => zone?.value,
                None => "UTC".to_owned(),
            },
            edge: edge?,
        })
    }

    fn limit_cost(&mut self, fields: &Fields<'_>, measure: Option<&LimitMeasure>) -> Option<Cost> {
        let Some(entry) = fields.get("cost") else {
            return Some(Cost::default());
        };
        if fields.get("concurrent").is_some() {
            let message = format!(
                "`{}` goes with `rate` and `quota`, not with `concurrent`",
                entry.path
            );
            self.error(
                entry.place,
                message,
                "remove it: a request in flight is one",
            );
            return None;
        }
        let found = self.parsed(&entry, cost)?;
        let most = match measure {
            Some(LimitMeasure::Rate { burst, .. }) => Some((*burst, "burst")),
            Some(LimitMeasure::Quota { limit, .. }) => Some((*limit, "quota")),
            Some(LimitMeasure::Concurrent(_)) | None => None,
        };
        if let Some(fixed) = found.value.fixed() {
            let wrong = match most {
                _ if fixed == 0 => Some((
                    "takes nothing".to_owned(),
                    "write at least 1, or remove the limit".to_owned(),
                )),
                Some((most, of)) if fixed > most => Some((
                    format!("is more than the {of} of {most}: no request could pass"),
                    format!("lower it, or raise `{of}`"),
                )),
                Some(_) | None => None,
            };
            if let Some((message, help)) = wrong {
                self.error(found.span, format!("`{}` {message}", entry.path), help);
                return None;
            }
        }
        Some(found.value)
    }

    /// A name that can stand in a structured field and in metrics.
    fn limit_name(&mut self, entry: &Entry<'_>) -> Option<String> {
        let name = self.text(entry)?;
        self.identifier(&name.value, name.span, "a limit")
            .then_some(name.value)
    }

    /// What has a default.
    fn limit_settings(&mut self, fields: &Fields<'_>) -> LimitRule {
        let mut rule = LimitRule {
            name: String::new(),
            per: Vec::new(),
            measure: LimitMeasure::Concurrent(1),
            cost: Cost::default(),
            shared: true,
            missing: MissingPart::default(),
            mode: Mode::Enforce,
            on_fault: None,
            exempt_networks: Vec::new(),
            exempt_principals: Vec::new(),
            networks: Vec::new(),
            client_v4: 32,
            client_v6: 64,
            headers: LimitHeaders::default(),
        };
        if let Some(shared) = fields.get("shared").and_then(|entry| self.boolean(&entry)) {
            rule.shared = shared;
        }
        if let Some(mode) = fields.get("mode").and_then(|entry| self.mode(&entry)) {
            rule.mode = mode;
        }
        let mut word = |name: &str| fields.get(name).and_then(|entry| self.word(&entry));
        rule.missing = match word("missing") {
            Some("share") => MissingPart::Share,
            Some("skip") => MissingPart::Skip,
            Some("refuse") => MissingPart::Refuse,
            Some(_) | None => MissingPart::Client,
        };
        rule.on_fault = word("on_fault").and_then(limit_fault);
        rule.headers = match word("headers") {
            Some("draft-6") => LimitHeaders::Draft6,
            Some("draft-7") => LimitHeaders::Draft7,
            Some("x-ratelimit") => LimitHeaders::Legacy,
            Some("none") => LimitHeaders::None,
            Some(_) | None => LimitHeaders::Draft,
        };
        if let Some(entry) = fields.get("exempt")
            && let Some(exempt) = self.fields(&entry)
        {
            self.exempt(&exempt, &mut rule);
        }
        if let Some(entry) = fields.get("networks") {
            rule.networks = self.spanned_texts(&entry);
        }
        if let Some(entry) = fields.get("client")
            && let Some(client) = self.fields(&entry)
        {
            // INVARIANT: the ranges of the table fit.
            let mut bits = |name: &str| {
                let bits = client.get(name).and_then(|entry| self.number(&entry));
                bits.and_then(|bits| u8::try_from(bits).ok())
            };
            rule.client_v4 = bits("ipv4").unwrap_or(rule.client_v4);
            rule.client_v6 = bits("ipv6").unwrap_or(rule.client_v6);
        }
        rule
    }

    fn exempt(&mut self, fields: &Fields<'_>, rule: &mut LimitRule) {
        let mut seen = BTreeSet::new();
        if let Some(entry) = fields.get("networks") {
            for item in self.items(&entry) {
                let Some(network) = self.parsed(&item, scalar::network) else {
                    continue;
                };
                if network.value.prefix == 0 {
                    let message = format!("`{}` exempts everybody", item.path);
                    self.error(network.span, message, "remove the limit, or name a network");
                    continue;
                }
                let shown = format!("{}/{}", network.value.address, network.value.prefix);
                if self.once(&mut seen, &shown, network.span, &entry.path) {
                    rule.exempt_networks.push(network.value);
                }
            }
        }
        if let Some(entry) = fields.get("principals") {
            for item in self.items(&entry) {
                if let Some(name) = self.text(&item)
                    && self.once(&mut seen, &name.value, name.span, &entry.path)
                {
                    rule.exempt_principals.push(name.value);
                }
            }
        }
    }
}

/// `principal-10-s`: what the limit says, in characters of a name.
fn default_name(per: &[LimitPart], measure: &LimitMeasure) -> String {
    let parts: Vec<String> = per
        .iter()
        .map(|part| {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
            part.to_string().chars().map(plain).collect()
        })
        .collect();
    let parts = parts.join("-");
    match measure {
        LimitMeasure::Rate { count, period, .. } => {
            let seconds = period.as_secs();
            let units = [
                QuotaUnit::Second,
                QuotaUnit::Minute,
                QuotaUnit::Hour,
                QuotaUnit::Day,
            ];
            let unit = units.iter().find(|unit| unit.seconds() == seconds);
            format!("{parts}-{count}-{}", unit.map_or("s", |unit| unit.symbol()))
        }
        LimitMeasure::Quota { limit, unit, .. } => format!("{parts}-{limit}-{}", unit.symbol()),
        LimitMeasure::Concurrent(count) => format!("{parts}-{count}-at-once"),
    }
}

/// `10/s`, `100/min`, `1000/h`, `1000/day`, `10000/month`; the number is at least 1.
fn frequency(text: &str) -> Result<(u64, QuotaUnit), String> {
    const LARGEST: u64 = 1_000_000_000;
    let Some((number, unit)) = text.split_once('/') else {
        let number = if scalar::count(text).is_ok() {
            text
        } else {
            "10"
        };
        return Err(format!("say in what time: `{number}/s` or `{number}/min`"));
    };
    let (number, unit) = (number.trim(), unit.trim());
    let count = match scalar::count(number) {
        Ok(0) => {
            return Err(
                "at least 1: nothing at all is `mode: enforce` without the operation".into(),
            );
        }
        Ok(count) if count <= LARGEST => count,
        Ok(_) | Err(scalar::Bad::Large) => return Err(format!("it goes up to {LARGEST}")),
        Err(scalar::Bad::Form(_)) => {
            return Err("write a whole number, `/` and a unit, such as `10/s`".into());
        }
    };
    let unit = match unit {
        "s" => QuotaUnit::Second,
        "min" => QuotaUnit::Minute,
        "h" => QuotaUnit::Hour,
        "day" => QuotaUnit::Day,
        "month" => QuotaUnit::Month,
        "m" | "minute" | "mins" | "minutes" => return Err(format!("write `{count}/min`")),
        "sec" | "second" | "seconds" | "S" => return Err(format!("write `{count}/s`")),
        "hour" | "hr" | "hours" => return Err(format!("write `{count}/h`")),
        "d" | "days" | "24h" => return Err(format!("write `{count}/day`")),
        "mo" | "months" => return Err(format!("write `{count}/month`")),
        _ => return Err("the units are `s`, `min`, `h`, `day` and `month`".into()),
    };
    Ok((count, unit))
}

/// An IANA time zone of the built-in database.
fn zone(text: &str) -> Result<String, String> {
    let database = jiff::tz::TimeZoneDatabase::bundled();
    if let Ok(found) = database.get(text) {
        return Ok(found.iana_name().unwrap_or(text).to_owned());
    }
    let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
    Err(match did_you_mean(text, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "write a name of the time zone database, such as `Europe/Berlin` or `UTC`".into(),
    })
}

/// `client`, `principal`, `header.X-Team` and so on.
pub(super) fn part(text: &str) -> Result<LimitPart, String> {
    const PLAIN: &[&str] = &["client", "principal", "key", "tenant", "operation", "ja4"];
    const NAMED: &[&str] = &["claim", "header", "query", "body"];
    const LONGEST_NAME: usize = 256;
    let (place, name) = match text.split_once('.') {
        Some((place, name)) => (place, Some(name)),
        None => (text, None),
    };
    if let Some(name) = name
        && (name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control))
    {
        return Err(format!(
            "write a name of 1 to {LONGEST_NAME} bytes after `{}.`",
            shorten(place)
        ));
    }
    match (place, name) {
        ("client", None) => Ok(LimitPart::Client),
        ("principal", None) => Ok(LimitPart::Principal),
        ("key", None) => Ok(LimitPart::ApiKey),
        ("tenant", None) => Ok(LimitPart::Tenant),
        ("operation", None) => Ok(LimitPart::Operation),
        ("ja4", None) => Ok(LimitPart::Ja4),
        ("claim", Some(name)) => Ok(LimitPart::Claim(name.into())),
        ("header", Some(name)) => Ok(LimitPart::Header(header(name)?)),
        ("query", Some(name)) => Ok(LimitPart::Query(name.into())),
        ("body", Some(name)) => Ok(LimitPart::Body(name.into())),
        (plain, Some(_)) if PLAIN.contains(&plain) => Err(format!("write `{plain}` alone")),
        (named, None) if NAMED.contains(&named) => {
            Err(format!("write the name too: `{named}.NAME`"))
        }
        ("ip" | "address", _) => Err("did you mean `client`?".into()),
        ("user" | "sub", _) => Err("did you mean `principal`?".into()),
        (other, name) => {
            let known = PLAIN.iter().chain(NAMED).copied();
            Err(match did_you_mean(other, known) {
                Some(near) if NAMED.contains(&near) => {
                    format!("did you mean `{near}.{}`?", shorten(name.unwrap_or("NAME")))
                }
                Some(near) => format!("did you mean `{near}`?"),
                None => "write `client`, `principal`, `key`, `tenant`, `operation`, `claim.NAME`, `header.NAME`, `query.NAME` or `body.NAME`".into(),
            })
        }
    }
}

/// The nearest list of limits: lists replace.
pub fn nearest_limits<'a>(
    layers: impl IntoIterator<Item = &'a super::Settings>,
) -> &'a [Spanned<LimitRule>] {
    let said = layers
        .into_iter()
        .filter_map(|layer| layer.limits.as_deref());
    said.last().unwrap_or_default()
}
