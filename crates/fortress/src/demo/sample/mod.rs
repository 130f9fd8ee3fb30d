//! The sample API: orders, users, a login. A real HTTP server, weak on purpose in the ways that
//! real services are: it decodes tokens without verifying them, takes every property that a client
//! sends, answers with everything that it knows, believes override headers, and has endpoints that
//! nobody wrote down. Each weakness stands beside its comment.
//!
//! Deliberately not here: anything that Fortress itself uses. It listens on loopback only, keeps
//! everything in memory, and forgets it at the end.

mod handle;
mod shop;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::watch};

pub(crate) use handle::Sample;

/// The description that Fortress gets: the contract to which the service does not keep.
pub(crate) const DESCRIPTION: &str = include_str!("openapi.yaml");

/// The service has no bound of its own; this one only keeps an attack from taking the machine that
/// runs the demo along.
const BODY: usize = 64 << 20;

/// Serves until `stop` changes.
pub(crate) async fn serve(
    listener: TcpListener,
    sample: Arc<Sample>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let sample = Arc::clone(&sample);
        let mut stop = stop.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&sample), request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // A client that breaks off is its own affair.
            tokio::select! {
                ended = connection => drop(ended),
                _ = stop.changed() => {}
            }
        });
    }
}

async fn answer(
    sample: Arc<Sample>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let answered = match Limited::new(body, BODY).collect().await {
        Ok(body) => sample.handle(&head, &body.to_bytes()),
        Err(error) => handle::problem(
            http::StatusCode::BAD_REQUEST,
            "broken body",
            &error.to_string(),
        ),
    };
    Ok(answered.map(Full::new))
}
