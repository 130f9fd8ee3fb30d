//! Who may have a connection: how many there are and how fast they come, before anything is done
//! for them; and how those that may not are told and recorded.
//!
//! A flood of refused connections must not become a flood of records: beyond some in a second they
//! are counted, and the count is recorded.

use std::{borrow::Cow, cell::RefCell, rc::Rc};

use fortress_model::{Outcome, Reason, config::ProxyProtocol};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::{REFUSED, REFUSED_TIME, h1};
use crate::{
    compile::Gateway,
    connections::{Place, Rated},
    listen::{ListenerPlan, Service},
    reply,
    request::Arrival,
    worker::{Recorder, Worker},
};

/// Why a connection is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: Cow<'static, str>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: "connection refused".into(),
        }
    }
}

/// Takes a place for a connection that has just come. `None` is for those that need none.
///
/// # Errors
/// There is none for it.
pub(super) fn enter(
    worker: &Worker,
    gateway: &Gateway,
    plan: &ListenerPlan,
    arrival: &Arrival,
) -> Result<Option<Place>, Refusal> {
    // The operator must be able to look in while an attack is on.
    if matches!(plan.service, Service::Operations) {
        return Ok(None);
    }
    let mut place = worker.shared.connections.place(&gateway.bounds)?;
    match plan.proxy_protocol {
        ProxyProtocol::Off => let_in(worker, gateway, (plan, arrival), &mut place)?,
        // Whose it is will be told.
        ProxyProtocol::Required if arrival.is_proxied(gateway) => {}
        ProxyProtocol::Required => {
            return Err(Refusal {
                reason: Reason::ProxyUntrusted,
                detail: "the peer is none of `trusted_proxies`".into(),
            });
        }
    }
    Ok(Some(place))
}

/// Gives a place to the client that the connection is from. A trusted proxy speaks for many
/// clients, and is none.
///
/// # Errors
/// The client has as many connections as it may, or opens them too fast.
pub(super) fn let_in(
    worker: &Worker,
    gateway: &Gateway,
    (plan, arrival): (&ListenerPlan, &Arrival),
    place: &mut Place,
) -> Result<(), Refusal> {
    if arrival.is_proxied(gateway) {
        return Ok(());
    }
    let denied = plan.networks.judge(arrival.peer_address());
    denied.map_err(|detail| Refusal {
        reason: Reason::ClientDenied,
        detail: detail.into(),
    })?;
    let (client, bounds) = (arrival.peer_address(), &gateway.bounds);
    let rates = &worker.shared.rates;
    rates.take(Rated::Connection, client, bounds)?;
    if arrival.tls {
        rates.take(Rated::Handshake, client, bounds)?;
    }
    place.give(client, bounds)?;
    Ok(())
}

/// Turns a connection away. Its client is told where that costs nothing: not under TLS, and not
/// whoever does not speak as the listener expects.
pub(super) fn refuse(worker: &Rc<Worker>, arrival: &Arrival, tcp: TcpStream, refusal: &Refusal) {
    let reason = refusal.reason;
    worker.shard.listener(&arrival.listener).refuse(reason);
    let mut decision = arrival.decision(worker, arrival.peer_address());
    let denial = decision.fail(reason, &*refusal.detail);
    decision.outcome = Outcome::Denied(denial.reason);
    let is_silent = matches!(reason, Reason::ProxyUntrusted | Reason::ProxyMalformed);
    if !arrival.tls && !is_silent {
        let answer = reply::problem(&decision, reason);
        let text = h1::whole(&answer, &worker.date());
        // The socket's buffer is empty: either it takes this at once, or the client does without.
        if tcp.try_write(&text).is_ok() {
            decision.status = reason.status().as_u16();
            let_read(worker, tcp);
        }
    }
    if worker.open.refusals.note(reason, arrival) {
        drop(Recorder::new(worker, Box::new(decision), Instant::now()));
    }
}

/// Closes a refused connection when its client has read the refusal, or soon.
fn let_read(worker: &Rc<Worker>, mut tcp: TcpStream) {
    let refused = &worker.open.refused;
    if refused.get() >= REFUSED {
        return;
    }
    refused.set(refused.get() + 1);
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let reading = async {
            let mut unread = [0; 512];
            tcp.shutdown().await?;
            while tcp.read(&mut unread).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        drop(tokio::time::timeout(REFUSED_TIME, reading).await);
        let refused = &worker.open.refused;
        refused.set(refused.get().saturating_sub(1));
    });
}

/// Refused connections of a reason that a worker records one by one between two looks at them.
const TOLD: u32 = 20;

/// A worker's refused connections since the last look.
#[derive(Debug, Default)]
pub(super) struct Refusals(RefCell<Vec<Refused>>);

#[derive(Debug)]
struct Refused {
    reason: Reason,
    told: u32,
    untold: u64,
    /// The last that was not told.
    last: Arrival,
}

impl Refusals {
    /// Notes one more; says whether it is to be recorded by itself.
    fn note(&self, reason: Reason, arrival: &Arrival) -> bool {
        let mut all = self.0.borrow_mut();
        // As many as there are reasons to refuse a connection.
        let Some(refused) = all.iter_mut().find(|refused| refused.reason == reason) else {
            all.push(Refused {
                reason,
                told: 1,
                untold: 0,
                last: arrival.clone(),
            });
            return true;
        };
        if refused.told < TOLD {
            refused.told += 1;
            return true;
        }
        refused.untold += 1;
        refused.last = arrival.clone();
        false
    }
}

/// Records how many connections were refused beyond those that were recorded one by one. To be
/// called once a second.
pub(crate) fn tell_refused(worker: &Rc<Worker>) {
    let refused = worker.open.refusals.0.take();
    for Refused {
        reason,
        untold,
        last,
        ..
    } in refused
    {
        if untold == 0 {
            continue;
        }
        let mut decision = last.decision(worker, last.peer_address());
        let denial = decision.fail(
            reason,
            format!("{untold} more connections refused, this address the last of them"),
        );
        decision.outcome = Outcome::Denied(denial.reason);
        drop(Recorder::new(worker, Box::new(decision), Instant::now()));
    }
}
