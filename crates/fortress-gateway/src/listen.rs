//! Where the gateway listens: what a listener's configuration means, its sockets, and the loop that
//! accepts connections.

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use fortress_model::{
    Diagnostic,
    config::{Http2, Listener, ProxyProtocol, Serve},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    client_certificate::ClientTrust,
    compile, connection,
    networks::NetworksPlan,
    worker::{self, Worker},
};

/// A listener, compiled.
#[derive(Debug)]
pub(crate) struct ListenerPlan {
    /// The address as it was configured: the listener's name in the journal and the metrics.
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) service: Service,
    pub(crate) proxy_protocol: ProxyProtocol,
    /// From where its clients may come.
    pub(crate) networks: NetworksPlan,
}

/// What is served.
#[derive(Debug)]
pub(crate) enum Service {
    Apis {
        tls: Option<Arc<rustls::ServerConfig>>,
        /// Whose certificates are trusted, where clients are asked for one.
        clients: Option<Arc<ClientTrust>>,
        http2: Http2,
    },
    /// To https on this port.
    Redirect {
        port: u16,
    },
    Operations,
}

impl ListenerPlan {
    pub(crate) fn compile(
        name: Arc<str>,
        listener: &Listener,
        all: &[Listener],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let service = match &listener.serve {
            Serve::Apis { tls, http2, .. } => {
                let (tls, clients) = match tls {
                    None => (None, None),
                    Some(tls) => {
                        let (config, clients) = compile::server_tls(tls, *http2, diagnostics)?;
                        (Some(config), clients)
                    }
                };
                Service::Apis {
                    tls,
                    clients,
                    http2: *http2,
                }
            }
            Serve::RedirectHttps => Service::Redirect {
                port: https_port(all),
            },
            Serve::Operations => Service::Operations,
        };
        Some(Self {
            name,
            address: listener.address.value,
            service,
            proxy_protocol: listener.proxy_protocol,
            networks: NetworksPlan::default(),
        })
    }

    /// Whose certificates are trusted, where clients are asked for one.
    pub(crate) fn clients(&self) -> Option<&Arc<ClientTrust>> {
        match &self.service {
            Service::Apis { clients, .. } => clients.as_ref(),
            Service::Redirect { .. } | Service::Operations => None,
        }
    }

    /// `https`, `http`, `operations` or `redirect`, for the line that says that all is ready.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.service {
            Service::Apis { tls: Some(_), .. } => "https",
            Service::Apis { tls: None, .. } => "http",
            Service::Redirect { .. } => "redirect",
            Service::Operations => "operations",
        }
    }
}

/// The port of the first listener that speaks TLS.
fn https_port(all: &[Listener]) -> u16 {
    all.iter()
        .find(|listener| matches!(listener.serve, Serve::Apis { tls: Some(_), .. }))
        .map_or(443, |listener| listener.address.value.port())
}

/// Waiting connections per socket.
const BACKLOG: i32 = 1024;

/// One socket for each worker, all on one address; the kernel spreads connections over them. With
/// `exclusive` nobody else may listen there, not even an older listener of ours.
///
/// # Errors
/// When the address cannot be bound.
pub(crate) fn bind(
    address: SocketAddr,
    workers: usize,
    exclusive: bool,
) -> io::Result<(SocketAddr, Vec<std::net::TcpListener>)> {
    if exclusive && address.port() != 0 {
        // Sharing an address is for the workers: without this, two gateways would share it unawares.
        drop(socket(address, Sharing::Never)?);
    }
    let first = socket(address, Sharing::Workers)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(socket(bound, Sharing::Workers)?);
    }
    Ok((bound, sockets))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Sharing {
    Never,
    Workers,
}

fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Workers)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections until it is to stop; those that wait by then are still served.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    name: Arc<str>,
    socket: std::net::TcpListener,
    stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let stop = worker::stop(stopping);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((tcp, peer)) => connection::begin(&worker, &name, tcp, peer),
                Err(error) => {
                    // Out of descriptors, most likely: take a breath instead of spinning.
                    tracing::warn!(%error, listener = %name, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    while let Ok(Ok((tcp, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await {
        connection::begin(&worker, &name, tcp, peer);
    }
    Ok(())
}
