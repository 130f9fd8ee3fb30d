//! `login`, `enumeration` and `detect`, as they are written and already typed.
//!
//! Deliberately not here: counting (`fortress-limits`), and reading answers (the gateway).

use std::{fmt, path::PathBuf, time::Duration};

use super::{
    LimitFault, LimitPart, Spanned,
    cost::header,
    limits::limit_fault,
    reader::{Entry, Fields, PathUse, Reader},
    scalar,
};
use crate::{decision::Mode, diagnostic::did_you_mean, document::read::shorten};

/// `login`: an operation that lets people in.
#[derive(Clone, Debug)]
pub struct LoginDefence {
    /// What names the account.
    pub account: LimitPart,
    /// What proves it; `None` is unsaid.
    pub password: Option<LimitPart>,
    /// Answers to failures; empty is unsaid.
    pub failure: Vec<Sign>,
    /// Answers to successes; empty is unsaid.
    pub success: Vec<Sign>,
    /// What it is for.
    pub kind: LoginKind,
    /// Failures that cost nothing.
    pub after: u32,
    /// The first delay.
    pub first: Duration,
    /// The longest delay.
    pub most: Duration,
    /// Refused attempts that are held at once.
    pub hold: u32,
    /// The half-life of failures.
    pub forget: Duration,
    /// How long an address is known.
    pub known: Duration,
    /// Locks accounts.
    pub lock: Option<AccountLock>,
    /// `None` is unsaid.
    pub stuffing: Option<Stuffing>,
    /// Looks passwords up.
    pub breached: Option<Breached>,
    /// What holds while what instances share cannot be had.
    pub on_fault: LimitFault,
    /// One answer for all failures.
    pub uniform: bool,
    /// Never stricter than the operation's.
    pub mode: Mode,
}

/// What an operation is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LoginKind {
    /// Name and password.
    #[default]
    Login,
    /// A one-time code.
    Otp,
    /// A forgotten password.
    Reset,
    /// A new account.
    Registration,
}

impl LoginKind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Otp => "otp",
            Self::Reset => "reset",
            Self::Registration => "registration",
        }
    }
}

/// Something in an answer that tells how an attempt ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sign {
    /// A status between two, both included.
    Status(u16, u16),
    /// A property of the body, as a dotted path: there, or of this value.
    Body(Box<str>, Option<Box<str>>),
    /// A header field in lower case: there, or of this value.
    Header(Box<str>, Option<Box<str>>),
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |f: &mut fmt::Formatter<'_>, value: &Option<Box<str>>| match value {
            Some(value) => write!(f, " == {value}"),
            None => Ok(()),
        };
        match self {
            Self::Status(low, high) if low == high => write!(f, "{low}"),
            Self::Status(low, _) => write!(f, "{}xx", low / 100),
            Self::Body(path, value) => {
                write!(f, "response.{path}")?;
                of(f, value)
            }
            Self::Header(name, value) => {
                write!(f, "response.header.{name}")?;
                of(f, value)
            }
        }
    }
}

/// `login.lock`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AccountLock {
    /// Failures.
    pub after: u32,
    /// How long it lasts.
    pub hold: Duration,
}

/// `login.stuffing` and `detect.stuffing`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stuffing {
    /// Accounts that fail from one address.
    pub accounts: u32,
    /// Accounts for which one password fails.
    pub passwords: u32,
    /// Per cent of what is usual.
    pub fall: u32,
    /// The time over which is counted.
    pub within: Duration,
    /// How long a source is held to be an attacker's.
    pub hold: Duration,
    /// What happens then.
    pub action: StuffingAction,
    /// Never stricter than the operation's.
    pub mode: Mode,
}

impl Default for Stuffing {
    fn default() -> Self {
        Self {
            accounts: 10,
            passwords: 10,
            fall: 50,
            within: Duration::from_secs(600),
            hold: Duration::from_secs(900),
            action: StuffingAction::Block,
            mode: Mode::Enforce,
        }
    }
}

/// `stuffing.action`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StuffingAction {
    /// Refused.
    #[default]
    Block,
    /// Each attempt comes a second time.
    Slow,
    /// The upstream is told.
    Challenge,
}

/// `login.breached`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Breached {
    /// Where passwords are looked up.
    pub source: BreachSource,
    /// Refuses what could not be looked up.
    pub closed: bool,
    /// Refuses logins too, not only new passwords.
    pub refuse_login: bool,
}

/// Where breached passwords are.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum BreachSource {
    /// A file or directory.
    File(PathBuf),
    /// A range service.
    Url(String),
}

/// `enumeration`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Enumeration {
    /// Different objects.
    pub distinct: u32,
    /// In this time.
    pub within: Duration,
    /// Never stricter than the operation's.
    pub mode: Mode,
}

impl Default for Enumeration {
    fn default() -> Self {
        Self {
            distinct: 50,
            within: Duration::from_secs(600),
            mode: Mode::Enforce,
        }
    }
}

/// `detect`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Detect {
    /// Where a login says nothing of its own.
    pub stuffing: Option<Stuffing>,
    /// Where nothing nearer is said.
    pub enumeration: Option<Enumeration>,
}

impl Reader<'_> {
    pub(super) fn detect(&mut self, entry: &Entry<'_>) -> Detect {
        let Some(fields) = self.fields(entry) else {
            return Detect::default();
        };
        Detect {
            stuffing: fields
                .get("stuffing")
                .and_then(|entry| self.stuffing(&entry)),
            enumeration: fields
                .get("enumeration")
                .and_then(|entry| self.enumeration(&entry)),
        }
    }

    pub(super) fn enumeration(&mut self, entry: &Entry<'_>) -> Option<Enumeration> {
        let fields = self.fields(entry)?;
        let mut found = Enumeration::default();
        if let Some(entry) = fields.get("distinct") {
            let distinct = self.parsed(&entry, distinct)?;
            (found.distinct, found.within) = distinct.value;
        }
        found.mode = self.own_mode(&fields);
        Some(found)
    }

    pub(super) fn login_defence(&mut self, entry: &Entry<'_>) -> Option<Spanned<LoginDefence>> {
        let fields = self.fields(entry)?;
        let account = fields.get("account").and_then(|entry| self.who(&entry));
        let password = fields.get("password").map(|entry| self.who(&entry));
        let failure = self.signs(&fields, "failure");
        let success = self.signs(&fields, "success");
        let kind = match fields.get("kind").and_then(|entry| self.word(&entry)) {
            Some("otp") => LoginKind::Otp,
            Some("reset") => LoginKind::Reset,
            Some("registration") => LoginKind::Registration,
            Some(_) | None => LoginKind::Login,
        };
        let has_answers = matches!(kind, LoginKind::Login | LoginKind::Otp);
        let uniform = fields
            .get("uniform")
            .and_then(|entry| self.boolean(&entry))
            .unwrap_or(has_answers);
        let mut found = LoginDefence {
            account: LimitPart::Client,
            password: password.flatten(),
            failure,
            success,
            kind,
            after: 3,
            first: Duration::from_secs(1),
            most: Duration::from_secs(900),
            hold: 0,
            forget: self.time(&fields, "forget", Duration::from_secs(3_600)),
            known: self.time(&fields, "known", Duration::from_secs(30 * 86_400)),
            lock: None,
            stuffing: fields
                .get("stuffing")
                .and_then(|entry| self.stuffing(&entry)),
            breached: None,
            on_fault: fields
                .get("on_fault")
                .and_then(|entry| self.word(&entry))
                .and_then(limit_fault)
                .unwrap_or(LimitFault::Closed),
            uniform,
            mode: self.own_mode(&fields),
        };
        self.delay(&fields, &mut found);
        found.lock = match fields.get("lock") {
            Some(entry) => self.lock(&entry),
            None if kind == LoginKind::Otp => Some(AccountLock {
                after: 10,
                hold: Duration::from_secs(900),
            }),
            None => None,
        };
        if fields.has("breached")
            && let Some(entry) = fields.get("breached")
        {
            found.breached = self.breached(&entry);
        }
        // INVARIANT: a login without its account has an error.
        found.account = account?;
        Some(Spanned {
            value: found,
            span: entry.place,
        })
    }

    /// Where a name or a password stands: in the request, or with whoever sends it.
    fn who(&mut self, entry: &Entry<'_>) -> Option<LimitPart> {
        let found = self.parsed(entry, super::limits::part)?;
        let wrong = match &found.value {
            LimitPart::Client | LimitPart::Operation | LimitPart::Ja4 => true,
            LimitPart::Principal
            | LimitPart::ApiKey
            | LimitPart::Tenant
            | LimitPart::Claim(_)
            | LimitPart::Header(_)
            | LimitPart::Query(_)
            | LimitPart::Body(_) => false,
        };
        if wrong {
            let message = format!("`{}`: `{}` names no account", entry.path, found.value);
            let help = "write where it stands in the request, such as `body.username`";
            self.error(found.span, message, help);
            return None;
        }
        Some(found.value)
    }

    fn signs(&mut self, fields: &Fields<'_>, name: &str) -> Vec<Sign> {
        let Some(entry) = fields.get(name) else {
            return Vec::new();
        };
        let items = self.items(&entry);
        if let Some(item) = items.get(MOST_SIGNS) {
            let message = format!("`{}` has more than {MOST_SIGNS} signs", entry.path);
            self.error(item.place, message, "a class such as `4xx` stands for many");
        }
        let items = items.iter().take(MOST_SIGNS);
        items
            .filter_map(|item| Some(self.parsed(item, sign)?.value))
            .collect()
    }

    fn delay(&mut self, fields: &Fields<'_>, found: &mut LoginDefence) {
        let Some(entry) = fields.get("delay") else {
            return;
        };
        let Some(delay) = self.fields(&entry) else {
            return;
        };
        found.after = self.small(&delay, "after", found.after);
        found.hold = self.small(&delay, "hold", found.hold);
        found.first = self.time(&delay, "first", found.first);
        found.most = self.time(&delay, "most", found.most);
        if found.first > found.most {
            let message = format!("`{}`: `first` is longer than `most`", entry.path);
            self.error(entry.place, message, "raise `most`, or lower `first`");
        }
    }

    fn lock(&mut self, entry: &Entry<'_>) -> Option<AccountLock> {
        let fields = self.fields(entry)?;
        let after = fields.get("after").and_then(|entry| self.number(&entry));
        Some(AccountLock {
            hold: self.time(&fields, "for", Duration::from_secs(900)),
            after: u32::try_from(after?).ok()?,
        })
    }

    fn stuffing(&mut self, entry: &Entry<'_>) -> Option<Stuffing> {
        let fields = self.fields(entry)?;
        let usual = Stuffing::default();
        Some(Stuffing {
            accounts: self.small(&fields, "accounts", usual.accounts),
            passwords: self.small(&fields, "passwords", usual.passwords),
            fall: match fields.get("fall") {
                Some(entry) => self.percent(&entry)?,
                None => usual.fall,
            },
            within: self.time(&fields, "within", usual.within),
            hold: self.time(&fields, "for", usual.hold),
            action: match fields.get("action").and_then(|entry| self.word(&entry)) {
                Some("slow") => StuffingAction::Slow,
                Some("challenge") => StuffingAction::Challenge,
                Some(_) | None => StuffingAction::Block,
            },
            mode: self.own_mode(&fields),
        })
    }

    fn breached(&mut self, entry: &Entry<'_>) -> Option<Breached> {
        let fields = self.fields(entry)?;
        let (file, url) = (fields.get("file"), fields.get("url"));
        let source = match (&file, &url) {
            (Some(_), Some(url)) => {
                let message = format!("`{}` has both `file` and `url`", entry.path);
                self.error(url.place, message, "keep one of them");
                None
            }
            (None, None) => {
                let message = format!("`{}` says not where to look", entry.path);
                self.error(
                    entry.place,
                    message,
                    "add `file: breached/` or `url: https://…`",
                );
                None
            }
            // Gigabytes that only grow: a change needs no reload.
            (Some(file), None) => self
                .path(file, PathUse::Written)
                .map(|path| BreachSource::File(path.value)),
            (None, Some(url)) => self.https_url(url).map(|url| BreachSource::Url(url.value)),
        };
        let mut word = |name: &str| fields.get(name).and_then(|entry| self.word(&entry));
        let closed = word("on_fault") == Some("closed");
        let refuse_login = word("login") == Some("refuse");
        Some(Breached {
            source: source?,
            closed,
            refuse_login,
        })
    }

    fn own_mode(&mut self, fields: &Fields<'_>) -> Mode {
        let mode = fields.get("mode").and_then(|entry| self.mode(&entry));
        mode.unwrap_or(Mode::Enforce)
    }

    fn time(&mut self, fields: &Fields<'_>, name: &str, usual: Duration) -> Duration {
        let found = fields.get(name).and_then(|entry| self.duration(&entry));
        found.unwrap_or(usual)
    }

    fn small(&mut self, fields: &Fields<'_>, name: &str, usual: u32) -> u32 {
        let found = fields.get(name).and_then(|entry| self.number(&entry));
        // INVARIANT: the ranges of the table fit.
        found
            .and_then(|found| u32::try_from(found).ok())
            .unwrap_or(usual)
    }

    fn percent(&mut self, entry: &Entry<'_>) -> Option<u32> {
        let found = self.parsed(entry, percent)?;
        Some(found.value)
    }
}

/// Signs of one list.
const MOST_SIGNS: usize = 16;

/// `50%`.
fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').map(str::trim);
    match number.and_then(|number| number.parse().ok()) {
        Some(number @ 1..=99) => Ok(number),
        Some(_) => Err("it goes from 1% to 99%".into()),
        None => Err("write a whole number and `%`, such as `50%`".into()),
    }
}

/// `50/10min`.
fn distinct(text: &str) -> Result<(u32, Duration), String> {
    const FORM: &str = "write how many and in what time, such as `50/10min`";
    let (number, time) = text.split_once('/').ok_or(FORM)?;
    let number = match number.trim().parse() {
        Ok(number @ 2..=5_000) => number,
        Ok(_) => return Err("it goes from 2 to 5000 objects".into()),
        Err(_) => return Err(FORM.into()),
    };
    let time = time.trim();
    // A unit alone is one of it, as in `limits`.
    let spelled = if time.starts_with(|c: char| c.is_ascii_digit()) {
        time.to_owned()
    } else {
        format!("1{}", time.replace("day", "d"))
    };
    let nanos = scalar::duration(&spelled).map_err(|_| FORM.to_owned())?;
    let time = Duration::from_nanos(nanos);
    if time < Duration::from_secs(10) || time > Duration::from_secs(86_400) {
        return Err("the time goes from 10s to 1d".into());
    }
    Ok((number, time))
}

/// `401`, `4xx`, `status 401`, `response.ok == false`, `response.header.X-Failed`.
fn sign(text: &str) -> Result<Sign, String> {
    const LONGEST: usize = 256;
    let bare = text.strip_prefix("status").map_or(text, str::trim_start);
    if let Some(class) = bare.strip_suffix("xx")
        && let Ok(class @ 1..=5) = class.parse::<u16>()
    {
        return Ok(Sign::Status(class * 100, class * 100 + 99));
    }
    if let Ok(status) = bare.parse::<u16>() {
        return match status {
            200..=599 => Ok(Sign::Status(status, status)),
            _ => Err("a status goes from 200 to 599".into()),
        };
    }
    let (place, value) = match text.split_once("==") {
        Some((place, value)) => (place.trim(), Some(value.trim().trim_matches('"'))),
        None => (text.trim(), None),
    };
    if place.contains('=') || place.contains(' ') || place.len() > LONGEST {
        return Err("write `response.NAME == VALUE`".into());
    }
    // An empty text is meant only where it is written as one.
    if text
        .split_once("==")
        .is_some_and(|(_, value)| value.trim().is_empty())
    {
        return Err("write the value behind `==`: `response.NAME == VALUE`".into());
    }
    let value = value.map(Box::from);
    match place.strip_prefix("response.") {
        Some(rest) => match rest.strip_prefix("header.") {
            Some(name) => Ok(Sign::Header(header(name)?, value)),
            None if rest.is_empty() => Err("write the property: `response.NAME`".into()),
            None => Ok(Sign::Body(rest.into(), value)),
        },
        None => {
            let near = did_you_mean(
                place.split('.').next().unwrap_or(place),
                ["response", "status"],
            );
            Err(match near {
                Some("status") => "write `status 401`, or the status alone".into(),
                Some(_) | None => format!(
                    "write a status such as `401` or `4xx`, or `response.{} == VALUE`",
                    shorten(place.rsplit('.').next().unwrap_or("NAME"))
                ),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Sign) {
        assert_eq!(sign(text), Ok(expect), "{text}");
    }

    #[test]
    fn signs() {
        check("401", Sign::Status(401, 401));
        check("status 401", Sign::Status(401, 401));
        check("4xx", Sign::Status(400, 499));
        check("status 5xx", Sign::Status(500, 599));
        check("response.error", Sign::Body("error".into(), None));
        check(
            "response.result.ok == false",
            Sign::Body("result.ok".into(), Some("false".into())),
        );
        check(
            "response.state == \"not found\"",
            Sign::Body("state".into(), Some("not found".into())),
        );
        check(
            "response.header.X-Failed",
            Sign::Header("x-failed".into(), None),
        );
        for wrong in [
            "",
            "99",
            "600",
            "9xx",
            "fail",
            "body.ok == false",
            "response.",
            "response.a = b",
        ] {
            assert!(sign(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts_of_objects() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        assert_eq!(distinct("50/10min"), Ok((50, minutes(10))));
        assert_eq!(distinct("200/h"), Ok((200, minutes(60))));
        assert_eq!(distinct("200/day"), Ok((200, minutes(24 * 60))));
        for wrong in [
            "50",
            "1/10min",
            "9999/h",
            "50/1s",
            "50/90d",
            "x/min",
            "50/fortnight",
        ] {
            assert!(distinct(wrong).is_err(), "{wrong}");
        }
        assert_eq!(percent("50%"), Ok(50));
        assert!(percent("0%").is_err() && percent("50").is_err());
    }
}
