//! From where a request may come: the lists of networks of its listener and of its operation.
//!
//! A connection is asked too, before TLS (`connection`); but it may last for long, and behind a proxy
//! it is many clients'. So each request is asked, by the client's address.

use fortress_model::{Decision, Denial, Reason};

use crate::{
    compile::{Gateway, OperationPlan},
    request::Arrival,
};

/// The proof that the client may come from where it does.
#[derive(Debug)]
pub(crate) struct Admitted(());

/// Before the operation is known.
///
/// # Errors
/// `client.denied`.
pub(crate) fn at_listener(
    decision: &mut Decision,
    gateway: &Gateway,
    arrival: &Arrival,
) -> Result<(), Denial> {
    match gateway.listener(&arrival.listener) {
        None => Ok(()),
        Some(plan) => plan
            .networks
            .judge(decision.client)
            .or_else(|detail| decision.refuse(Reason::ClientDenied, detail)),
    }
}

/// Once the operation is known.
///
/// # Errors
/// `client.denied`.
pub(crate) fn check(decision: &mut Decision, plan: &OperationPlan) -> Result<Admitted, Denial> {
    plan.networks
        .judge(decision.client)
        .or_else(|detail| decision.refuse(Reason::ClientDenied, detail))?;
    Ok(Admitted(()))
}
