//! HTTP/2 towards an endpoint: one connection per worker carries all requests.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Body as _, client::conn::http2};
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{
    EndpointPlan, Incoming, Outgoing, Patience, UpstreamBody, UpstreamError, connect::Stream,
};
use crate::worker::LocalExecutor;

/// How often a connection with requests on it is asked whether it lives, and how long that takes.
const PING: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub(super) struct Sender(http2::SendRequest<Full<Bytes>>);

pub(super) async fn handshake(stream: Stream) -> Result<Sender, String> {
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(PING))
        .keep_alive_timeout(PING)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "upstream connection ended");
        }
    });
    Ok(Sender(sender))
}

impl Sender {
    pub(super) fn is_ready(&self) -> bool {
        !self.0.is_closed()
    }

    pub(super) async fn exchange(
        mut self,
        endpoint: &EndpointPlan,
        request: &Outgoing,
        patience: Patience,
    ) -> Result<Incoming, UpstreamError> {
        let outgoing = outgoing(endpoint, request)?;
        let answer = patience
            .answered(self.0.send_request(outgoing))
            .await?
            .map_err(|error| match error.is_canceled() || error.is_closed() {
                true => UpstreamError::Stale,
                false => UpstreamError::Broken(format!("HTTP/2: {error}")),
            })?;
        let (head, body) = answer.into_parts();
        let body = if body.is_end_stream() {
            UpstreamBody::Empty
        } else {
            UpstreamBody::H2(Box::new(Body(body)))
        };
        Ok(Incoming {
            status: head.status,
            headers: head.headers,
            body,
        })
    }
}

fn outgoing(
    endpoint: &EndpointPlan,
    request: &Outgoing,
) -> Result<Request<Full<Bytes>>, UpstreamError> {
    let mut target = format!("{}{}", endpoint.prefix, request.path.as_str());
    if let Some(query) = &request.query {
        target.push('?');
        target.push_str(query);
    }
    let uri = Uri::builder()
        .scheme(if endpoint.tls.is_some() {
            "https"
        } else {
            "http"
        })
        .authority(endpoint.authority.as_bytes())
        .path_and_query(target)
        .build()
        .map_err(|error| UpstreamError::Broken(format!("cannot be said in HTTP/2: {error}")))?;
    let mut outgoing = Request::new(Full::new(request.body.clone()));
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = uri;
    *outgoing.version_mut() = Version::HTTP_2;
    *outgoing.headers_mut() = request.headers.clone();
    outgoing.headers_mut().remove(header::HOST);
    Ok(outgoing)
}

#[derive(Debug)]
pub(crate) struct Body(hyper::body::Incoming);

impl Body {
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            match self.0.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    return Err(UpstreamError::Broken(format!("broke off: {error}")));
                }
                Some(Ok(frame)) => {
                    // Trailers are dropped: nothing checks them.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    pub(super) fn announced(&self) -> Option<u64> {
        self.0.size_hint().exact()
    }
}
