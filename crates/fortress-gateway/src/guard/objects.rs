//! Who walks through ids: whether a caller asked for too many objects that were refused or not there.
//!
//! What counts is the answer that the client got, whoever gave it. Deliberately not here: counting
//! (`fortress-limits`), and whose object is whose.

use std::sync::Arc;

use fortress_limits::Key;
use fortress_model::{Decision, Outcome, Reason, Risk};
use http::{HeaderValue, header};

use super::principal::Caller;
use crate::{compile::OperationPlan, serve::Refused};

/// The proof that a caller did not ask for too many objects that it may not see.
#[derive(Debug)]
pub(crate) struct Unwalked(());

/// What is noted once the answer is known.
#[derive(Debug, Default)]
pub(crate) struct Objects(Option<(Arc<OperationPlan>, Key)>);

impl Objects {
    /// Whether the caller may ask for an object at all.
    ///
    /// # Errors
    /// `object.enumeration`.
    pub(crate) fn check(
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
        self.0 = Some((Arc::clone(plan), who));
        if let Some(wait) = logins.walks.refused(who, &objects.rule, logins.now()) {
            let detail = format!(
                "{} or more different objects in {} s were refused or not there",
                objects.rule.distinct,
                objects.rule.within.as_secs()
            );
            let verdict = decision.refuse_under(objects.mode, Reason::ObjectEnumeration, detail);
            verdict.map_err(|denial| {
                // What is refused for this is none of the objects.
                self.0 = None;
                let mut refused = Refused::from(denial);
                let seconds = fortress_limits::headers::retry_after(wait);
                refused
                    .headers
                    .push((header::RETRY_AFTER, HeaderValue::from(seconds)));
                refused
            })?;
        }
        Ok(Unwalked(()))
    }

    /// Notes the object if the answer says that it is not the caller's, or not there.
    pub(crate) fn note(&self, decision: &Decision) {
        let Some((plan, who)) = &self.0 else {
            return;
        };
        // What was refused for its form says nothing of the object.
        let is_of_object = decision.upstream_status.is_some()
            || match decision.outcome {
                Outcome::Denied(reason) => [Risk::Api1, Risk::Api5].contains(&reason.risk()),
                Outcome::Forwarded | Outcome::Answered | Outcome::Abandoned => false,
            };
        let status = decision.upstream_status.unwrap_or(decision.status);
        if is_of_object
            && matches!(status, 403 | 404 | 410)
            && let Some(objects) = &plan.objects
        {
            let object = objects.logins.object(&plan.api.name, &decision.path);
            objects.note(*who, object);
        }
    }
}
