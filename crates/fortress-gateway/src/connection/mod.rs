//! A connection from its first byte to its last: admission, TLS, and which HTTP it speaks.

mod admission;
mod h1;
mod h2;
mod meter;
mod operations;
mod overheard;
mod proxied;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

pub(crate) use admission::tell_refused;
use fortress_model::{
    Bounds, Outcome,
    config::{Http2, ProxyProtocol},
};
use overheard::Overheard;
use proxied::Ended;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::AbortHandle,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    client_certificate::{self, PeerCertificate, Untrusted},
    connections::Place,
    listen::{ListenerPlan, Service},
    request::{Arrival, Standing},
    worker::{Recorder, Worker, within},
};

/// Until when a connection may wait for a request, and its task.
type Task = (Rc<Waiting>, AbortHandle);

/// Whether a connection waits for nothing but a request.
///
/// The worker looks after the waiting ones once a second, which costs less than a timer for each
/// request.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Cell<Option<Wait>>);

#[derive(Clone, Copy, Debug)]
struct Wait {
    since: Instant,
    until: Instant,
}

impl Waiting {
    fn begin(&self, since: Instant, patience: Duration) {
        self.0.set(Some(Wait {
            since,
            until: since + patience,
        }));
    }

    fn end(&self) {
        self.0.set(None);
    }
}

/// A worker's open connections, so that those that wait for nothing but a request can be ended: by
/// a stop, or because they have waited for too long.
#[derive(Debug, Default)]
pub(crate) struct Open {
    next: Cell<u64>,
    connections: RefCell<HashMap<u64, Task>>,
    /// Refused connections whose client may still read the refusal.
    refused: Cell<usize>,
    refusals: admission::Refusals,
}

/// A stop leaves a connection this long for a request that is on its way.
const SETTLE: Duration = Duration::from_millis(250);
/// So many refused connections of a worker are kept, and for so long, until their clients have read
/// the refusal: what they have sent would otherwise turn it into a reset.
const REFUSED: usize = 64;
const REFUSED_TIME: Duration = Duration::from_secs(1);

impl Open {
    /// Ends the connections that are between two requests.
    pub(crate) fn end_idle(&self) {
        for (waiting, task) in self.connections.borrow().values() {
            if waiting
                .0
                .get()
                .is_some_and(|wait| wait.since.elapsed() > SETTLE)
            {
                task.abort();
            }
        }
    }

    /// Ends the connections that have waited for too long.
    pub(crate) fn tidy(&self) {
        let now = Instant::now();
        for (waiting, task) in self.connections.borrow().values() {
            if waiting.0.get().is_some_and(|wait| wait.until < now) {
                task.abort();
            }
        }
    }

    /// Ends all.
    pub(crate) fn end_all(&self) {
        for (_, task) in self.connections.borrow().values() {
            task.abort();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.connections.borrow().is_empty()
    }
}

/// Takes the connection's entry away, however its task ends.
struct Entry {
    worker: Rc<Worker>,
    id: u64,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.worker.open.connections.borrow_mut().remove(&self.id);
    }
}

/// Everything that a connection knows of itself.
struct Context {
    worker: Rc<Worker>,
    arrival: Arrival,
    plan: Arc<ListenerPlan>,
    bounds: Bounds,
    waiting: Rc<Waiting>,
    /// What is given back when the connection ends.
    place: Option<Place>,
}

/// Starts to serve a connection, or refuses it.
pub(crate) fn begin(worker: &Rc<Worker>, name: &Arc<str>, tcp: TcpStream, peer: SocketAddr) {
    let gateway = worker.gateway();
    let Some(plan) = gateway
        .listeners
        .iter()
        .find(|plan| plan.name == *name)
        .cloned()
    else {
        return;
    };
    let arrival = Arrival {
        peer,
        // Whoever is gone already needs no truth.
        own: tcp.local_addr().unwrap_or(plan.address),
        listener: Arc::clone(name),
        tls: matches!(plan.service, Service::Apis { tls: Some(_), .. }),
        certificate: None,
        ja4: None,
        standing: Standing::Known,
    };
    let place = match admission::enter(worker, &gateway, &plan, &arrival) {
        Ok(place) => place,
        Err(refusal) => {
            admission::refuse(worker, &arrival, tcp, &refusal);
            return;
        }
    };
    let waiting = Rc::<Waiting>::default();
    let context = Context {
        worker: Rc::clone(worker),
        arrival,
        plan,
        bounds: gateway.bounds.clone(),
        waiting: Rc::clone(&waiting),
        place,
    };
    let id = worker.open.next.get();
    worker.open.next.set(id + 1);
    let entry = Entry {
        worker: Rc::clone(worker),
        id,
    };
    let open = worker.shard.listener(name).open();
    let task = tokio::task::spawn_local(async move {
        let held: (Entry, _) = (entry, open);
        run(context, tcp).await;
        drop(held);
    });
    worker
        .open
        .connections
        .borrow_mut()
        .insert(id, (waiting, task.abort_handle()));
}

/// Each kind of connection is boxed: the task of a plain one need not be as large as that of the
/// largest.
async fn run(mut context: Context, mut tcp: TcpStream) {
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    let plan = Arc::clone(&context.plan);
    if plan.proxy_protocol == ProxyProtocol::Required {
        match Box::pin(proxied::learn(&mut context, &mut tcp)).await {
            Ok(()) => {}
            Err(Ended::Gone) => return,
            Err(Ended::Refused(refusal)) => {
                admission::refuse(&context.worker, &context.arrival, tcp, &refusal);
                return;
            }
        }
    }
    match &plan.service {
        Service::Apis {
            tls: Some(config), ..
        } => {
            let metrics = context.worker.shard.listener(&plan.name);
            let accepting = TlsAcceptor::from(Arc::clone(config)).accept(Overheard::new(tcp));
            match tokio::time::timeout(context.bounds.head_time, accepting).await {
                Ok(Ok(stream)) => {
                    metrics.handshake_succeeded();
                    context.arrival.ja4 = stream.get_ref().0.ja4();
                    let chain = stream.get_ref().1.peer_certificates();
                    context.arrival.certificate = chain
                        .and_then(|chain| PeerCertificate::of_connection(chain.to_vec()))
                        .map(Arc::new);
                    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                        Box::pin(h2::run(context, stream)).await;
                    } else {
                        Box::pin(h1::run(context, stream)).await;
                    }
                }
                Ok(Err(error)) => {
                    metrics.handshake_failed();
                    tracing::debug!(%error, peer = %context.arrival.peer, "TLS handshake failed");
                    if let Some(why) = client_certificate::refused_in_handshake(&error) {
                        record_untrusted(&context, why);
                    }
                }
                Err(_) => metrics.handshake_failed(),
            }
        }
        Service::Apis {
            tls: None,
            http2: Http2::PriorKnowledge,
            ..
        } => {
            match tokio::time::timeout(context.bounds.head_time, begins_with_preface(&tcp)).await {
                // Boxed, so that one of HTTP/1.1 does not pay for its size.
                Ok(true) => Box::pin(h2::run(context, tcp)).await,
                Ok(false) => Box::pin(h1::run(context, tcp)).await,
                Err(_) => {}
            }
        }
        Service::Apis { tls: None, .. } | Service::Redirect { .. } | Service::Operations => {
            Box::pin(h1::run(context, tcp)).await
        }
    }
}

/// Records that a client was turned away for its certificate, as any other refusal is. It got no
/// answer but TLS's own alert.
fn record_untrusted(context: &Context, why: Untrusted) {
    let (worker, arrival) = (&context.worker, &context.arrival);
    let mut decision = arrival.decision(worker, arrival.peer_address());
    let denial = decision.fail(why.reason, why.detail);
    decision.outcome = Outcome::Denied(denial.reason);
    decision.status = 0;
    drop(Recorder::new(worker, Box::new(decision), Instant::now()));
}

/// HTTP/2 by prior knowledge begins with `PRI * HTTP/2.0` (RFC 9113, section 3.4); no other
/// request begins with these three letters.
async fn begins_with_preface(tcp: &TcpStream) -> bool {
    let mut seen = [0; 3];
    loop {
        match tcp.peek(&mut seen).await {
            Ok(0) | Err(_) => return false,
            Ok(read) if read < seen.len() => {
                let part = seen.get(..read).unwrap_or_default();
                if !b"PRI".starts_with(part) {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Ok(_) => return seen == *b"PRI",
        }
    }
}

/// Writes all, giving up when nothing moves for `patience`.
async fn write_all(
    io: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    patience: Duration,
) -> Result<(), ()> {
    while !bytes.is_empty() {
        match within(patience, io.write(bytes)).await {
            Ok(Ok(written)) if written > 0 => bytes = bytes.get(written..).unwrap_or_default(),
            Ok(Ok(_) | Err(_)) | Err(_) => return Err(()),
        }
    }
    match within(patience, io.flush()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(()),
    }
}

/// What a connection is made of.
trait Io: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Io for T {}
