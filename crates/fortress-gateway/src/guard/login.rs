//! Attempts to log in: whether one may be made now, and what its answer says that it was.
//!
//! An attempt that was let through counts as a failure until the upstream's answer says otherwise.
//! **Dropping it leaves it one**, so that no way out of a request, a client that hangs up least of all,
//! is an attempt for nothing. Deliberately not here: counting (`fortress-limits`).

use std::{sync::Arc, time::Duration};

use fortress_limits::{
    defence::{Attempt as Was, Charge, Keys, Learnt, Refused as Early, Sign, Who, Why},
    headers::retry_after,
    key::Subject as _,
};
use fortress_model::{
    Decision, Mode, Reason,
    config::{LimitFault, LoginKind},
    decision::LoginRecord,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;

use super::{inspect::Inspected, limit::Asked, principal::Caller};
use crate::{
    compile::OperationPlan,
    defence::{CountedBy, Held, LoginPlan, Verdict},
    reply::{self, Reply, ReplyBody},
    route::Routed,
    serve::Refused,
    shared_counts::Away,
};

/// The longest that an answer to a failure is held, so that its time tells nothing.
const LONGEST_HOLD: Duration = Duration::from_secs(2);

/// The longest that a refused attempt is held.
const LONGEST_TARPIT: Duration = Duration::from_secs(5);

/// What the upstream is told of an attempt that looks like an attack. What a client says in it is
/// taken away.
const TOLD: HeaderName = HeaderName::from_static("fortress-login");

/// The proof that an attempt may be made, or that the operation lets nobody in.
#[derive(Debug)]
pub(crate) struct Allowed {
    suspect: bool,
}

impl Allowed {
    /// Tells the upstream.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        headers.remove(&TOLD);
        if self.suspect {
            headers.insert(TOLD, HeaderValue::from_static("stuffing"));
        }
    }
}

/// An attempt, from when it was let through until it is known what it was.
#[derive(Debug, Default)]
pub(crate) struct Attempt(Option<Open>);

#[derive(Debug)]
struct Open {
    plan: Arc<OperationPlan>,
    charge: Charge,
    counted: CountedBy,
    began: Instant,
    /// To be looked up if the attempt succeeds.
    password: Option<Box<[u8]>>,
    settled: bool,
}

impl Attempt {
    /// Whether the request may go on as an attempt.
    ///
    /// # Errors
    /// `login.*`, `breaches.unavailable`.
    pub(crate) async fn ask(
        &mut self,
        decision: &mut Decision,
        routed: &Routed,
        inspected: &Inspected,
        caller: Option<&Caller>,
    ) -> Result<Allowed, Refused> {
        let plan = routed.plan();
        let Some(login) = &plan.login else {
            return Ok(Allowed { suspect: false });
        };
        let (request, body) = inspected.parts();
        let asked = Asked::new(decision.client, (routed, request), caller, Some(body));
        let account = asked.name(&login.account);
        let password = login
            .password
            .as_ref()
            .and_then(|part| asked.part(part))
            .filter(|password| !password.is_empty());
        let client = decision.ja4.clone();
        let who = Who {
            scope: &plan.api.name,
            account: account.as_deref(),
            address: decision.client,
            client: client.as_deref(),
            password: password.as_deref(),
        };
        let (charge, counted) = match charge(decision, login, &who).await {
            Ok(charged) => charged,
            Err(refused) => {
                let wait = decision.login.as_ref().and_then(|login| login.wait);
                let wait = wait.unwrap_or_default().min(LONGEST_TARPIT);
                login.logins.tarpit(login.hold, wait).await;
                return Err(refused);
            }
        };
        let suspect = charge.suspect.is_some();
        let keeps = login.breached.is_some() && login.kind == LoginKind::Login;
        self.0 = Some(Open {
            plan: Arc::clone(plan),
            charge,
            counted,
            began: Instant::now(),
            password: password.as_deref().filter(|_| keeps).map(Box::<[u8]>::from),
            settled: false,
        });
        if login.kind != LoginKind::Login
            && let Some(password) = &password
            && let Err(refused) = breached(decision, login, password, login.mode).await
        {
            // It has cost a look-up, and told something of the password.
            self.tell(Was::Failed, decision);
            return Err(refused);
        }
        Ok(Allowed { suspect })
    }

    /// What the answer's head says. A failure gets the one answer that all failures get.
    ///
    /// # Errors
    /// `login.rejected`, `login.breached`.
    pub(crate) async fn judge_head(
        &mut self,
        decision: &mut Decision,
        (status, headers): (StatusCode, &HeaderMap),
    ) -> Result<(), Refused> {
        let Some(login) = self.open() else {
            return Ok(());
        };
        match login.answers.head(status, headers) {
            Verdict::Known(was) => self.judged(decision, was).await,
            Verdict::InTheBody => Ok(()),
        }
    }

    /// What the whole answer says, where its head said nothing.
    ///
    /// # Errors
    /// `login.rejected`, `login.breached`.
    pub(crate) async fn judge_whole(
        &mut self,
        decision: &mut Decision,
        reply: &Reply,
    ) -> Result<(), Refused> {
        let Some(login) = self.open() else {
            return Ok(());
        };
        let body = match &reply.body {
            ReplyBody::Full(body) => Some(&**body),
            ReplyBody::Empty { .. } => Some(&[][..]),
            // It goes through as it comes: nobody knows what it says.
            ReplyBody::Stream(_) => None,
        };
        let was = login.answers.whole(reply.status, &reply.headers, body);
        self.judged(decision, was).await
    }

    /// Of a forgotten password and a new account neither the status nor the body nor the time may tell
    /// whether there is such an account: with `uniform` each answer about it is the same.
    pub(crate) async fn level(&self, decision: &mut Decision, reply: Reply) -> Reply {
        /// Answers about the form of a request, and those of a server that failed, tell nothing.
        const OF_FORM: &[u16] = &[408, 413, 414, 415, 429, 431];
        let Some(open) = &self.0 else {
            return reply;
        };
        let Some(login) = open.plan.login.as_ref().filter(|login| login.is_level()) else {
            return reply;
        };
        let status = reply.status;
        if status.is_server_error() || OF_FORM.contains(&status.as_u16()) {
            return reply;
        }
        let note = format!(
            "one answer for all: the upstream answered {}",
            status.as_u16()
        );
        decision.notes.push(note);
        let hold = login.pace.hold(LONGEST_HOLD);
        tokio::time::sleep_until(open.began + hold).await;
        reply::accepted()
    }

    /// The request was refused before an answer was judged. If there was none, nobody has judged the
    /// attempt: an upstream that is overloaded must not delay those who came to log in.
    pub(crate) fn end(&mut self, decision: &mut Decision) {
        let was = match decision.upstream_status {
            Some(_) => Was::Failed,
            None => Was::Unjudged,
        };
        self.tell(was, decision);
    }

    /// The client did not wait for the answer.
    pub(crate) fn abandon(&mut self, decision: &mut Decision) {
        if self.open().is_some() {
            self.tell(Was::Failed, decision);
            if let Some(record) = &mut decision.login {
                record.outcome = "abandoned";
            }
        }
    }

    /// The plan of an attempt that is not settled yet.
    fn open(&self) -> Option<&LoginPlan> {
        let open = self.0.as_ref().filter(|open| !open.settled)?;
        open.plan.login.as_ref()
    }

    async fn judged(&mut self, decision: &mut Decision, was: Was) -> Result<(), Refused> {
        self.settle(was, decision).await;
        let Some(open) = &self.0 else {
            return Ok(());
        };
        let Some(login) = &open.plan.login else {
            return Ok(());
        };
        if was != Was::Unjudged {
            login.pace.note(open.began.elapsed(), login.logins.now());
        }
        match was {
            Was::Failed if login.uniform && !login.rules.kind.counts_all() => {
                let detail = match decision.upstream_status {
                    Some(status) => format!("the upstream answered {status}"),
                    None => "the upstream did not let the account in".to_owned(),
                };
                let verdict = decision.refuse_under(login.mode, Reason::LoginRejected, detail);
                if verdict.is_err() {
                    let hold = login.pace.hold(LONGEST_HOLD);
                    tokio::time::sleep_until(open.began + hold).await;
                }
                Ok(verdict?)
            }
            Was::Succeeded => match &open.password {
                Some(password) => {
                    let refuse = login.breached.as_ref().is_some_and(|of| of.refuse_login);
                    let mode = if refuse { login.mode } else { Mode::REPORTING };
                    breached(decision, login, password, mode).await
                }
                None => Ok(()),
            },
            Was::Failed | Was::Unjudged => Ok(()),
        }
    }

    /// Says what the attempt was, and records what was learnt from it.
    async fn settle(&mut self, was: Was, decision: &mut Decision) {
        let Some(open) = self.0.as_mut().filter(|open| !open.settled) else {
            return;
        };
        open.settled = true;
        let learnt = match &open.plan.login {
            Some(login) => login.settle(&open.charge, was, open.counted).await,
            None => return,
        };
        record(was, learnt, decision);
    }

    /// The same where nothing waits.
    fn tell(&mut self, was: Was, decision: &mut Decision) {
        let open = self.0.as_mut().filter(|open| !open.settled);
        if let Some(learnt) = open.and_then(|open| open.tell(was)) {
            record(was, learnt, decision);
        }
    }
}

impl Open {
    fn tell(&mut self, was: Was) -> Option<Learnt> {
        let login = self.plan.login.as_ref()?;
        self.settled = true;
        Some(login.tell(&self.charge, was, self.counted))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.settled {
            self.tell(Was::Failed);
        }
    }
}

fn record(was: Was, learnt: Learnt, decision: &mut Decision) {
    if let Some(record) = &mut decision.login {
        record.outcome = match was {
            Was::Failed => "failed",
            Was::Succeeded => "succeeded",
            Was::Unjudged => "unjudged",
        };
        record.found = if learnt.locked {
            Some("the account was locked")
        } else {
            let fall = learnt.fall.map(|_| Sign::Ratio);
            learnt.found.or(fall).map(Sign::name)
        };
    }
}

/// Charges an attempt, and begins its record.
async fn charge(
    decision: &mut Decision,
    login: &LoginPlan,
    who: &Who<'_>,
) -> Result<(Charge, CountedBy), Refused> {
    let account = who
        .account
        .map(|account| login.logins.account(who.scope, login.rules.kind, account));
    let mut record = LoginRecord {
        kind: login.kind.name(),
        account,
        outcome: "refused",
        ..LoginRecord::default()
    };
    let keys = login.keys(who);
    let charged = match decide(decision, login, &keys, &mut record).await {
        Ok(charged) => charged,
        Err(refused) => {
            decision.login = Some(Box::new(record));
            return Err(refused);
        }
    };
    let (charge, _) = &charged;
    record.failures = charge.failures;
    record.outcome = "unjudged";
    record.found = charge.suspect.map(Sign::name);
    decision.login = Some(Box::new(record));
    Ok(charged)
}

/// Asks whether an attempt may be made, and counts it if it is made.
async fn decide(
    decision: &mut Decision,
    login: &LoginPlan,
    keys: &Keys,
    record: &mut LoginRecord,
) -> Result<(Charge, CountedBy), Refused> {
    let mut counted = login.counted_by();
    let mut verdict = match login.ask(keys, true).await {
        Ok(verdict) => verdict,
        Err(Away) => {
            counted = CountedBy::Here;
            alone(decision, login, keys)?
        }
    };
    if let Err(early) = &verdict
        && let Why::Stuffing(_) = early.why
    {
        record.wait = Some(early.wait);
        refuse(decision, login.stuffing_mode, early)?;
        // What is only watched for delays nobody; the delays themselves hold on.
        verdict = match login.ask(keys, false).await {
            Ok(verdict) => verdict,
            Err(Away) => {
                counted = CountedBy::Here;
                login.ask_alone(keys, false)
            }
        };
    }
    match verdict {
        Ok(charge) => {
            record.wait = None;
            Ok((charge, counted))
        }
        Err(early) => {
            record.wait = Some(early.wait);
            refuse(decision, login.mode, &early)?;
            Ok(login.note(keys).await)
        }
    }
}

/// What holds of an attempt while nobody knows what the other instances know.
fn alone(
    decision: &mut Decision,
    login: &LoginPlan,
    keys: &Keys,
) -> Result<Result<Charge, Early>, Refused> {
    login.fell_back();
    match login.on_fault {
        LimitFault::Closed => {
            let detail =
                "Redis does not say what other instances know, and `login.on_fault` is `closed`";
            decision.refuse_under(login.mode, Reason::LoginUncounted, detail.to_owned())?;
            Ok(login.ask_alone(keys, true))
        }
        LimitFault::Local => {
            let note = "login counted by this instance alone: Redis is away";
            decision.notes.push(note.to_owned());
            Ok(login.ask_alone(keys, true))
        }
        LimitFault::Open => {
            let note = "login let through: Redis is away, and `login.on_fault` is `open`";
            decision.notes.push(note.to_owned());
            Ok(Ok(login.note_alone(keys)))
        }
    }
}

fn refuse(decision: &mut Decision, mode: Mode, early: &Early) -> Result<(), Refused> {
    let seconds = retry_after(early.wait);
    let (reason, detail) = match early.why {
        Why::Delayed { by, failures } => (
            Reason::LoginDelayed,
            format!(
                "{failures} failures of this {}, next attempt in {seconds} s",
                by.name()
            ),
        ),
        Why::Locked => (
            Reason::LoginLocked,
            format!("the account is locked for {seconds} s more"),
        ),
        Why::Stuffing(sign) => (
            Reason::LoginStuffing,
            format!("{}, next attempt in {seconds} s", sign.name()),
        ),
    };
    decision
        .refuse_under(mode, reason, detail)
        .map_err(|denial| {
            let mut refused = Refused::from(denial);
            let value = HeaderValue::from(seconds);
            refused.headers.push((header::RETRY_AFTER, value));
            refused
        })
}

/// Looks a password up, where the configuration says where.
async fn breached(
    decision: &mut Decision,
    login: &LoginPlan,
    password: &[u8],
    mode: Mode,
) -> Result<(), Refused> {
    let Some(breached) = &login.breached else {
        return Ok(());
    };
    match breached.list.holds(password).await {
        Ok(Held::Clean) => Ok(()),
        Ok(Held::Breached(count)) => {
            let detail = format!("the password was seen in breaches, {count} times");
            Ok(decision.refuse_under(mode, Reason::LoginBreached, detail)?)
        }
        Err(why) if breached.closed => {
            Ok(decision.refuse_under(mode, Reason::BreachesUnavailable, why)?)
        }
        Err(why) => {
            decision
                .notes
                .push(format!("password not looked up: {why}"));
            Ok(())
        }
    }
}
