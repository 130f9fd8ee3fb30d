//! A running gateway: its threads and sockets, putting a new configuration in force, and stopping.
//!
//! Each worker is a thread with a runtime of its own and a socket of its own on every address
//! (`SO_REUSEPORT`). One more thread keeps the issuers' keys fresh, off the request path.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use arc_swap::ArcSwap;
use fortress_model::{Clock as _, SystemClock, config::Config};
use tokio::{
    runtime::LocalRuntime,
    sync::{mpsc, watch},
    time::Instant,
};

use crate::{
    compile::{Compiled, Gateway, compile_after},
    connection,
    connections::{Connections, Rates},
    defence::Keeping,
    journal::{Journal, JournalHandle},
    keys::KeyRing,
    listen::{self, ListenerPlan},
    metrics::Metrics,
    worker::{self, Shared, TIDY, Worker},
};

/// Why a gateway does not start, or does not take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
    /// A journal's file cannot be written.
    #[error("{0}")]
    Journal(io::Error),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] fortress_store::StoreError),
    /// No thread or no runtime could be made.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

/// Where a listener really listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listening {
    /// `https`, `http`, `redirect` or `operations`.
    pub scheme: &'static str,
    /// The address, with the port that was taken.
    pub address: SocketAddr,
}

/// A running gateway. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    keys: KeyRing,
    stop: watch::Sender<bool>,
    commands: Vec<mpsc::Sender<Command>>,
    bound: Mutex<HashMap<Arc<str>, Bound>>,
    threads: Vec<JoinHandle<()>>,
    journal: Option<Journal>,
    /// Writes what is known of logins, where there is a store.
    logins: Option<Keeping>,
    drain_time: Duration,
    revision: AtomicU64,
}

#[derive(Debug)]
struct Bound {
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

/// What a worker is told.
#[derive(Debug)]
enum Command {
    Listen {
        name: Arc<str>,
        socket: std::net::TcpListener,
        stop: watch::Receiver<bool>,
    },
}

/// Works outside of the runtime in which a start or a reload runs: the client of PostgreSQL has one of its
/// own, and there is no runtime within a runtime.
fn outside<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, ServerError> {
    let done = thread::scope(|scope| scope.spawn(work).join());
    done.map_err(|_| ServerError::Worker(io::Error::other("the start of a store panicked")))
}

/// Commands that may wait for a worker.
const COMMANDS: usize = 256;

impl Server {
    /// Starts to serve.
    ///
    /// # Errors
    /// [`ServerError`]; nothing is left running then.
    pub fn start(
        gateway: Gateway,
        config: &Config,
        keys: KeyRing,
        workers: usize,
    ) -> Result<Self, ServerError> {
        let workers = workers.clamp(1, 256);
        let open = |store| {
            keys.open_store(store)?;
            Keeping::start(store, keys.clone()).map_err(ServerError::from)
        };
        let logins = match &config.store {
            Some(store) => Some(outside(|| open(store))??),
            None => None,
        };
        let (journal, handles) =
            Journal::start(&config.journal, workers).map_err(ServerError::Journal)?;
        let metrics = Metrics::new(workers, SystemClock.now());
        metrics.attach_journal(journal.counters());
        metrics.attach_keys(keys.clone());
        keys.feeds().attach(journal.notes());
        let (stop, stopping) = watch::channel(false);
        let drain_time = gateway.bounds.drain_time;
        let revision = AtomicU64::new(gateway.revision);
        let gateway = Arc::new(gateway);
        let shared = Arc::new(Shared {
            gateway: Arc::new(ArcSwap::new(Arc::clone(&gateway))),
            connections: Connections::default(),
            rates: Rates::default(),
            metrics,
            stopping,
            in_flight: AtomicU64::new(0),
        });
        let counts_logins = keys.known_defence().is_some();
        let mut server = Self {
            shared,
            keys,
            stop,
            commands: Vec::new(),
            bound: Mutex::default(),
            threads: Vec::new(),
            journal: Some(journal),
            logins,
            drain_time,
            revision,
        };
        for (index, handle) in handles.into_iter().enumerate() {
            server.start_worker(index, handle)?;
        }
        server.start_keeper()?;
        server.start_counts()?;
        if let Some(logins) = server.logins.as_ref().filter(|_| counts_logins) {
            logins.wait();
        }
        server.listen(&gateway)?;
        Ok(server)
    }

    /// Compiles a configuration against what is running. Changes nothing.
    pub fn compile(&self, config: &Config, sources: &mut fortress_model::Sources) -> Compiled {
        compile_after(
            Some(&self.shared.gateway.load()),
            config,
            sources,
            &self.keys,
            self.revision.load(Ordering::Relaxed) + 1,
        )
    }

    /// Puts a configuration in force. Requests in flight finish on the one that they began with.
    ///
    /// # Errors
    /// [`ServerError::Listen`] for a new address, [`ServerError::Worker`] if no thread can be made; the
    /// old configuration stays in force then.
    pub fn apply(&self, gateway: Gateway) -> Result<u64, ServerError> {
        let gateway = Arc::new(gateway);
        let applied = self.start_counts().and_then(|()| self.listen(&gateway));
        if let Err(error) = applied {
            self.shared.metrics.reload_failed();
            return Err(error);
        }
        let revision = gateway.revision;
        self.revision.store(revision, Ordering::Relaxed);
        self.shared.gateway.store(Arc::clone(&gateway));
        self.forget_listeners(&gateway);
        self.shared.metrics.reload_succeeded(SystemClock.now());
        Ok(revision)
    }

    /// A configuration was refused before it could be applied.
    pub fn refused(&self) {
        self.shared.metrics.reload_failed();
    }

    /// Opens the journal's files anew, after they were rotated.
    pub fn reopen_journal(&self) {
        if let Some(journal) = &self.journal {
            journal.reopen();
        }
    }

    /// Where the listeners listen, in the configuration's order.
    pub fn listening(&self) -> Vec<Listening> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let gateway = self.shared.gateway.load();
        let place = |plan: &Arc<ListenerPlan>| {
            let bound = bound.get(&plan.name)?;
            Some(Listening {
                scheme: plan.scheme(),
                address: bound.address,
            })
        };
        gateway.listeners.iter().filter_map(place).collect()
    }

    /// Open connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.open()
    }

    /// Answers that are being sent.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Stops: takes no new connections, lets requests in flight finish, at most `bounds.drain_time`
    /// long, and writes the journal out. Blocks until then.
    pub fn stop(mut self) {
        self.stop.send_replace(true);
        for thread in std::mem::take(&mut self.threads) {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
        if let Some(counts) = self.keys.known_counts() {
            counts.stop();
        }
        drop(self.logins.take());
        if let Some(journal) = self.journal.take() {
            journal.close(Duration::from_secs(5));
        }
    }

    fn start_worker(&mut self, index: usize, journal: JournalHandle) -> Result<(), ServerError> {
        let (commands, orders) = mpsc::channel(COMMANDS);
        let shared = Arc::clone(&self.shared);
        let drain_time = self.drain_time;
        let thread = thread(format!("worker-{index}"), move |runtime| {
            runtime.block_on(async move {
                let shard = shared.metrics.shard(index);
                let worker = Worker::new(shared, journal, shard);
                work(&worker, orders, drain_time).await;
            });
        })?;
        self.threads.push(thread);
        self.commands.push(commands);
        Ok(())
    }

    /// Starts what counts beside the requests, once there are limits.
    fn start_counts(&self) -> Result<(), ServerError> {
        let (Some(counts), Some(journal)) = (self.keys.known_counts(), &self.journal) else {
            return Ok(());
        };
        let notes = journal.notes();
        outside(|| counts.start(notes))?
    }

    fn start_keeper(&mut self) -> Result<(), ServerError> {
        let keys = self.keys.clone();
        let feeds = self.keys.feeds();
        let gateway = Arc::clone(&self.shared.gateway);
        let stopping = self.shared.stopping.clone();
        let thread = thread("keys".into(), move |runtime| {
            runtime.block_on(async move {
                tokio::select! {
                    () = keys.keep_fresh() => {}
                    () = feeds.keep_fresh() => {}
                    () = keep_rotating(&gateway) => {}
                    () = keys.keep_defence() => {}
                    () = worker::stop(stopping) => {}
                }
            });
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Binds the addresses that are not bound yet; all of them, or none.
    fn listen(&self, gateway: &Gateway) -> Result<(), ServerError> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        // A reload may move a listener from an address to one that overlaps with it.
        let exclusive = bound.is_empty();
        let mut new = Vec::new();
        for plan in gateway
            .listeners
            .iter()
            .filter(|plan| !bound.contains_key(&plan.name))
        {
            let (address, sockets) = listen::bind(plan.address, self.commands.len(), exclusive)
                .map_err(|cause| ServerError::Listen {
                    address: plan.address,
                    cause,
                })?;
            new.push((Arc::clone(&plan.name), address, sockets));
        }
        for (name, address, sockets) in new {
            let (stop, stopped) = watch::channel(false);
            for (commands, socket) in self.commands.iter().zip(sockets) {
                let command = Command::Listen {
                    name: Arc::clone(&name),
                    socket,
                    stop: stopped.clone(),
                };
                if commands.try_send(command).is_err() {
                    let cause = io::Error::other("a worker does not take orders");
                    return Err(ServerError::Listen { address, cause });
                }
            }
            bound.insert(name, Bound { address, stop });
        }
        Ok(())
    }

    fn forget_listeners(&self, gateway: &Gateway) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.retain(|name, listener| {
            let kept = gateway.listeners.iter().any(|plan| plan.name == *name);
            if !kept {
                listener.stop.send_replace(true);
            }
            kept
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Starts a thread with a runtime of its own, whose tasks never leave it. (A `LocalSet` in an ordinary
/// runtime would do the same, at the price of a second scheduler.)
pub(crate) fn thread(
    name: String,
    work: impl FnOnce(&LocalRuntime) + Send + 'static,
) -> Result<JoinHandle<()>, ServerError> {
    let (ready, started) = std::sync::mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(name)
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(tokio::runtime::LocalOptions::default());
            match runtime {
                Err(error) => drop(ready.send(Err(error))),
                Ok(runtime) => {
                    // An error means that nobody waits for this worker any more.
                    if ready.send(Ok(())).is_ok() {
                        work(&runtime);
                    }
                }
            }
        })
        .map_err(ServerError::Worker)?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(ServerError::Worker(error)),
        Err(_) => Err(ServerError::Worker(io::Error::other("the thread ended"))),
    }
}

/// Replaces the keys of internal tokens when they are due, for ever.
async fn keep_rotating(gateway: &ArcSwap<Gateway>) {
    loop {
        let voices = gateway.load().voices.clone();
        if let Some(speaker) = voices.speaker {
            speaker.tend(voices.rotate, SystemClock.now());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A worker's life.
async fn work(
    worker: &std::rc::Rc<Worker>,
    mut orders: mpsc::Receiver<Command>,
    drain_time: Duration,
) {
    let stopping = worker::stop(worker.shared.stopping.clone());
    tokio::pin!(stopping);
    let mut tidy = tokio::time::interval(TIDY);
    loop {
        tokio::select! {
            () = &mut stopping => break,
            _ = tidy.tick() => {
                worker.upstreams.tidy();
                worker.open.tidy();
                connection::tell_refused(worker);
            }
            order = orders.recv() => match order {
                None => break,
                Some(Command::Listen { name, socket, stop }) => listen_on(worker, name, socket, stop),
            },
        }
    }
    let deadline = Instant::now() + drain_time;
    while !worker.open.is_empty() && Instant::now() < deadline {
        worker.open.end_idle();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if !worker.open.is_empty() {
        tracing::warn!("requests were still in flight after {drain_time:?}, and are cut off");
        worker.open.end_all();
        tokio::task::yield_now().await;
    }
    connection::tell_refused(worker);
}

fn listen_on(
    worker: &std::rc::Rc<Worker>,
    name: Arc<str>,
    socket: std::net::TcpListener,
    stop: watch::Receiver<bool>,
) {
    let accepting = std::rc::Rc::clone(worker);
    let all = worker.shared.stopping.clone();
    tokio::task::spawn_local(async move {
        let either = either(stop, all);
        if let Err(error) = listen::accept(accepting, Arc::clone(&name), socket, either).await {
            tracing::error!(%error, listener = %name, "the listener failed");
        }
    });
}

/// Turns true when one of both does.
fn either(one: watch::Receiver<bool>, other: watch::Receiver<bool>) -> watch::Receiver<bool> {
    let (both, receiver) = watch::channel(false);
    tokio::task::spawn_local(async move {
        tokio::select! {
            () = worker::stop(one) => {}
            () = worker::stop(other) => {}
        }
        both.send_replace(true);
    });
    receiver
}
