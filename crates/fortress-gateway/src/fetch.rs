//! Getting a small document from an https URL, or from http on loopback: the keys of an issuer.
//!
//! No redirects, no cookies, no proxies: the address is the one that the operator wrote.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use http::Uri;
use tokio::time::Instant;

use crate::{
    compile::machine_roots,
    upstream::{self, UpstreamBody},
};

/// How much, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// Fetches documents.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Fetcher {
    pub(crate) fn new() -> Self {
        Self {
            tls: upstream::client_tls(machine_roots(), None, false)
                .ok()
                .map(Arc::new),
        }
    }

    /// The document's bytes.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub(crate) async fn get(&self, url: &str, limits: Limits) -> Result<BytesMut, String> {
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        let deadline = Instant::now() + limits.time;
        let answer = tokio::time::timeout_at(deadline, upstream::get(&uri, self.tls.as_ref()))
            .await
            .map_err(|_| format!("no answer within {:?}", limits.time))?
            .map_err(|error| error.to_string())?;
        if answer.status != http::StatusCode::OK {
            return Err(format!("the answer has status {}", answer.status.as_u16()));
        }
        read(answer.body, limits, deadline).await
    }
}

async fn read(
    mut body: UpstreamBody,
    limits: Limits,
    deadline: Instant,
) -> Result<BytesMut, String> {
    let mut document = BytesMut::new();
    while let Some(piece) = body
        .chunk(deadline)
        .await
        .map_err(|error| error.to_string())?
    {
        document.extend_from_slice(&piece);
        if document.len() > limits.bytes {
            return Err(format!("the answer is larger than {} bytes", limits.bytes));
        }
    }
    Ok(document)
}
