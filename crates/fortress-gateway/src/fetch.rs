//! Getting a small document from an https URL, or from http on loopback: the keys of an issuer, and a
//! release of the Core Rule Set.
//!
//! No cookies, no proxies. Keys are taken from the address that the operator wrote and from no other;
//! only a download follows redirects, since what it brings is compared with checksums.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use fortress_model::Secret;
use http::{StatusCode, Uri, header};
use tokio::time::Instant;

use crate::{
    compile::machine_roots,
    upstream::{self, Incoming, Question, UpstreamBody},
};

/// How much, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the document.
    pub bytes: usize,
    /// From the first connection to the last byte.
    pub time: Duration,
}

/// An answer to a form.
#[derive(Debug)]
pub(crate) struct Posted {
    pub(crate) status: StatusCode,
    /// In lower case, without parameters.
    pub(crate) media_type: String,
    pub(crate) body: BytesMut,
}

/// How often a download may be sent on.
const REDIRECTS: usize = 5;

/// Fetches documents.
#[derive(Clone, Debug)]
pub struct Fetcher {
    tls: Option<Arc<rustls::ClientConfig>>,
}

impl Default for Fetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetcher {
    /// One that trusts the certificates that this machine trusts.
    pub fn new() -> Self {
        Self {
            tls: upstream::client_tls(machine_roots(), None, false)
                .ok()
                .map(Arc::new),
        }
    }

    /// One that trusts the certificates of these roots alone.
    pub(crate) fn trusting(roots: rustls::RootCertStore) -> Self {
        Self {
            tls: upstream::client_tls(roots, None, false).ok().map(Arc::new),
        }
    }

    /// The answer to a form that is sent by POST: its status, media type and bytes.
    ///
    /// # Errors
    /// What went wrong, for the operator; it names neither the form nor the credentials.
    pub(crate) async fn post(
        &self,
        url: &str,
        question: Question<'_>,
        limits: Limits,
    ) -> Result<Posted, String> {
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        permitted(&uri)?;
        let deadline = Instant::now() + limits.time;
        let answer = self.put(&uri, question, limits.time, deadline).await?;
        let media_type = answer.headers.get(header::CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        let media_type = media_type.and_then(|value| value.split(';').next());
        let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
        Ok(Posted {
            status: answer.status,
            media_type,
            body: read(answer.body, limits, deadline).await?,
        })
    }

    /// The document's bytes.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub(crate) async fn get(&self, url: &str, limits: Limits) -> Result<BytesMut, String> {
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        let deadline = Instant::now() + limits.time;
        self.document(&uri, None, limits, deadline).await
    }

    /// The document's bytes, from whoever knows this key.
    ///
    /// # Errors
    /// What went wrong, for the operator; it does not name the key.
    pub(crate) async fn get_with_key(
        &self,
        url: &str,
        key: &Secret<String>,
        limits: Limits,
    ) -> Result<BytesMut, String> {
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        permitted(&uri)?;
        let deadline = Instant::now() + limits.time;
        self.document(&uri, Some(key), limits, deadline).await
    }

    async fn document(
        &self,
        uri: &Uri,
        key: Option<&Secret<String>>,
        limits: Limits,
        deadline: Instant,
    ) -> Result<BytesMut, String> {
        let answer = self
            .ask(uri, "application/json", key, (limits.time, deadline))
            .await?;
        if answer.status != StatusCode::OK {
            return Err(format!("the answer has status {}", answer.status.as_u16()));
        }
        read(answer.body, limits, deadline).await
    }

    /// A range of a list of breached passwords, in plain text.
    ///
    /// # Errors
    /// What went wrong, for the operator; not the address, which tells a part of a hash.
    pub(crate) async fn range(&self, url: &str, limits: Limits) -> Result<BytesMut, String> {
        let uri: Uri = url
            .parse()
            .map_err(|_| "the address is no URL".to_owned())?;
        permitted(&uri).map_err(|_| "the address is no https URL".to_owned())?;
        let deadline = Instant::now() + limits.time;
        let times = (limits.time, deadline);
        let answer = self.ask(&uri, upstream::RANGE, None, times);
        let answer = answer
            .await
            .map_err(|_| "the range service cannot be asked".to_owned())?;
        if answer.status != StatusCode::OK {
            return Err(format!("the answer has status {}", answer.status.as_u16()));
        }
        read(answer.body, limits, deadline).await
    }

    /// The bytes of a file, wherever its address sends us on to.
    ///
    /// # Errors
    /// What went wrong, for the operator.
    pub async fn download(&self, url: &str, limits: Limits) -> Result<BytesMut, String> {
        let mut uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        let deadline = Instant::now() + limits.time;
        for _ in 0..=REDIRECTS {
            permitted(&uri)?;
            let times = (limits.time, deadline);
            let answer = self.ask(&uri, "*/*", None, times).await?;
            if answer.status == StatusCode::OK {
                return read(answer.body, limits, deadline).await;
            }
            let location = answer.headers.get(header::LOCATION);
            let location = location.filter(|_| answer.status.is_redirection());
            let Some(location) = location.and_then(|location| location.to_str().ok()) else {
                return Err(format!("the answer has status {}", answer.status.as_u16()));
            };
            uri = sent_on(&uri, location)?;
        }
        Err(format!("`{url}` is sent on more than {REDIRECTS} times"))
    }

    async fn ask(
        &self,
        uri: &Uri,
        accept: &'static str,
        api_key: Option<&Secret<String>>,
        (time, deadline): (Duration, Instant),
    ) -> Result<Incoming, String> {
        let question = Question {
            accept,
            authorization: None,
            api_key,
            form: None,
        };
        self.put(uri, question, time, deadline).await
    }

    async fn put(
        &self,
        uri: &Uri,
        question: Question<'_>,
        time: Duration,
        deadline: Instant,
    ) -> Result<Incoming, String> {
        tokio::time::timeout_at(deadline, upstream::ask(uri, question, self.tls.as_ref()))
            .await
            .map_err(|_| format!("no answer within {time:?}"))?
            .map_err(|error| error.to_string())
    }
}

/// What comes in plain text could be replaced on its way.
///
/// # Errors
/// It is neither https nor http on loopback.
pub(crate) fn permitted(uri: &Uri) -> Result<(), String> {
    let host = uri.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare == "localhost"
        || bare
            .parse()
            .is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => Ok(()),
        Some("http") if loopback => Ok(()),
        _ => Err(format!("`{uri}` is not an https URL")),
    }
}

/// Where a redirect leads: never from https to plain text.
fn sent_on(from: &Uri, location: &str) -> Result<Uri, String> {
    let wrong = || format!("`{from}` is sent on to `{location}`, which is no https URL");
    // The fragment is the reader's (RFC 9110, section 10.2.2).
    let location = location.split('#').next().unwrap_or(location);
    let absolute = if location.starts_with('/') && !location.starts_with("//") {
        let authority = from.authority().ok_or_else(wrong)?;
        let scheme = from.scheme_str().unwrap_or("https");
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    };
    let uri: Uri = absolute.parse().map_err(|_| wrong())?;
    if from.scheme_str() == Some("https") && uri.scheme_str() != Some("https") {
        return Err(wrong());
    }
    permitted(&uri).map_err(|_| wrong())?;
    Ok(uri)
}

async fn read(
    mut body: UpstreamBody,
    limits: Limits,
    deadline: Instant,
) -> Result<BytesMut, String> {
    let mut document = BytesMut::new();
    while let Some(piece) = body
        .chunk(|| deadline)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, location: &str, expect: Option<&str>) {
        let found = sent_on(&from.parse().unwrap(), location);
        assert_eq!(
            found.ok().map(|uri| uri.to_string()).as_deref(),
            expect,
            "{from} {location}"
        );
    }

    #[test]
    fn redirects_never_lead_to_plain_text() {
        let (github, local) = ("https://github.test/a/b", "http://127.0.0.1:8/a");
        check(github, "https://c.test/d?e=f", Some("https://c.test/d?e=f"));
        check(github, "https://c.test/d#e", Some("https://c.test/d"));
        check(github, "/d?e", Some("https://github.test/d?e"));
        check(local, "/d", Some("http://127.0.0.1:8/d"));
        check(local, "http://[::1]:8/d", Some("http://[::1]:8/d"));
        check(local, "https://c.test/d", Some("https://c.test/d"));
        check(github, "http://c.test/d", None);
        check(github, "http://127.0.0.1/d", None);
        check(local, "http://c.test/d", None);
        check(local, "http://localhost.c.test/d", None);
        check(github, "//c.test/d", None);
        check(github, "file:///etc/passwd", None);
        check(github, "d", None);
        check(github, "", None);
    }
}
