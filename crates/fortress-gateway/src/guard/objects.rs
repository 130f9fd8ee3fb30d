//! Who walks through ids: whether a caller asked for too many objects that were refused or not there.
//!
//! What counts is the answer that the client got, whoever gave it. Whoever has as many objects in
//! flight as may be waits for answers, and is refused only if the wait is long and it missed some
//! before, or if thousands of requests wait like that: a page of pictures is slower, and never broken.
//! Deliberately not here: counting (`fortress-limits`), and whose object is whose.

use std::{sync::Arc, time::Duration};

use fortress_limits::{
    Key,
    defence::{InFlight, NotNow},
};
use fortress_model::{Decision, Outcome, Reason, Risk};
use http::{HeaderValue, header};
use tokio::time::Instant;

use super::principal::Caller;
use crate::{compile::OperationPlan, defence::ObjectsPlan, serve::Refused};

/// The proof that a caller did not ask for too many objects that it may not see.
#[derive(Debug)]
pub(crate) struct Unwalked(());

/// What is noted once the answer is known. Dropped before that, the object is in flight for a while
/// longer.
#[derive(Debug, Default)]
pub(crate) struct Objects(Option<Asked>);

#[derive(Debug)]
struct Asked {
    plan: Arc<OperationPlan>,
    who: Key,
    in_flight: InFlight,
}

impl Objects {
    /// Whether the caller may ask for an object at all, and now.
    ///
    /// # Errors
    /// `object.enumeration`.
    pub(crate) async fn check(
        &mut self,
        decision: &mut Decision,
        plan: &Arc<OperationPlan>,
        caller: Option<&Caller>,
    ) -> Result<Unwalked, Refused> {
        let Some(objects) = &plan.objects else {
            return Ok(Unwalked(()));
        };
        let logins = &objects.logins;
        let name = caller.map(|caller| (&*caller.identity.name, &*caller.id));
        let who = logins.caller(name, decision.client);
        let in_flight = match ask(objects, who).await {
            Ok(in_flight) => in_flight,
            Err(not_now) => {
                refuse(decision, objects, not_now)?;
                logins.walks.ask_anyway(who, logins.now())
            }
        };
        self.0 = Some(Asked {
            plan: Arc::clone(plan),
            who,
            in_flight,
        });
        Ok(Unwalked(()))
    }

    /// Notes the object if the answer says that it is not the caller's, or not there.
    pub(crate) fn note(&mut self, decision: &Decision) {
        let Some(asked) = self.0.take() else {
            return;
        };
        let Some(objects) = &asked.plan.objects else {
            return;
        };
        // What was refused for its form says nothing of the object.
        let is_of_object = decision.upstream_status.is_some()
            || match decision.outcome {
                Outcome::Denied(reason) => [Risk::Api1, Risk::Api5].contains(&reason.risk()),
                Outcome::Forwarded | Outcome::Answered | Outcome::Abandoned => false,
            };
        let status = decision.upstream_status.unwrap_or(decision.status);
        let logins = &objects.logins;
        let object = || logins.object(&asked.plan.api.name, &decision.path);
        let mut own = None;
        match status {
            403 | 404 | 410 if is_of_object => {
                objects.note(asked.who, object());
            }
            200..=299 | 304 if is_of_object => own = Some(object()),
            _ => {}
        }
        // After the miss, so that it counts all the time.
        logins.walks.judged(asked.who, asked.in_flight, own);
    }
}

/// Asks for an object, and waits while too many are in flight.
async fn ask(objects: &ObjectsPlan, who: Key) -> Result<InFlight, NotNow> {
    let logins = &objects.logins;
    let asked = || logins.walks.ask(who, &objects.rule, logins.now());
    let begins = Instant::now();
    let mut waiting = None;
    loop {
        let misses = match asked() {
            Err(NotNow::InFlight(misses)) if objects.waits => misses,
            asked => return asked,
        };
        waiting = waiting.or_else(|| logins.wait_for_objects());
        // Where too many wait nobody passes for that: one caller alone could bring it about.
        if waiting.is_none() {
            return Err(NotNow::InFlight(misses));
        }
        if begins.elapsed() >= LONGEST {
            return if misses == 0 {
                // The upstream is slow, and nothing says that these are not the caller's own.
                Ok(logins.walks.ask_anyway(who, logins.now()))
            } else {
                Err(NotNow::InFlight(misses))
            };
        }
        tokio::time::sleep(STEP).await;
    }
}

fn refuse(decision: &mut Decision, objects: &ObjectsPlan, not_now: NotNow) -> Result<(), Refused> {
    let (detail, wait) = match not_now {
        NotNow::Walked(wait) => {
            let detail = format!(
                "{} or more different objects in {} s were refused or not there",
                objects.rule.distinct,
                objects.rule.within.as_secs()
            );
            (detail, wait)
        }
        // Where nobody waits nobody is held up either: it is only watched.
        NotNow::InFlight(_) if !objects.waits => return Ok(()),
        NotNow::InFlight(misses) => {
            let detail = format!(
                "as many different objects as may be are not answered yet, and {misses} were refused or not there"
            );
            (detail, STEP)
        }
    };
    let verdict = decision.refuse_under(objects.mode, Reason::ObjectEnumeration, detail);
    verdict.map_err(|denial| {
        let mut refused = Refused::from(denial);
        let seconds = fortress_limits::headers::retry_after(wait);
        refused
            .headers
            .push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        refused
    })
}

/// How long a request waits at most for objects of the same caller to be answered.
const LONGEST: Duration = Duration::from_secs(10);

/// How often it looks. Answers come on other threads too, and what hangs up tells nobody.
const STEP: Duration = Duration::from_millis(20);
