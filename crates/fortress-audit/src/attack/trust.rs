//! From a URL to a place to connect to, and whom to trust there.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use super::{Source, send::Target};

/// A target that cannot be attacked.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a URL of a server.
    #[error("`{0}` is not a URL like http://127.0.0.1:8080")]
    Url(String),
    /// No such host.
    #[error("`{0}` has no address")]
    Unknown(String),
    /// Somebody else's, as far as anybody knows.
    #[error("`{0}` is not a loopback address; if it is yours, say --i-own-this-target")]
    NotLoopback(String),
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust cannot be read: {0}")]
    Trust(String),
}

/// Whose machine may be attacked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// This one alone.
    Loopback,
    /// Any; the operator said that it is theirs.
    Anywhere,
}

/// Finds the target. `ca` is PEM text of certificates to trust; a loopback address is trusted with
/// any certificate, since what is there is this machine's own.
///
/// # Errors
/// See [`TargetError`].
pub async fn target(url: &str, reach: Reach, ca: Option<&[u8]>) -> Result<Target, TargetError> {
    let wrong = || TargetError::Url(url.to_owned());
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) | None => return Err(wrong()),
    };
    let authority = uri.authority().ok_or_else(wrong)?;
    if authority.as_str().contains('@') {
        return Err(wrong());
    }
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let address = resolve(name, port, reach).await?;
    let tls = if tls {
        let config = client(address, ca)?;
        let name = ServerName::try_from(name.to_owned()).map_err(|_| wrong())?;
        Some((Arc::new(config), name))
    } else {
        None
    };
    Ok(Target {
        base: format!("{}://{authority}", uri.scheme_str().unwrap_or("http")),
        host: authority.to_string(),
        address,
        tls,
        source: Source::Own,
    })
}

async fn resolve(name: &str, port: u16, reach: Reach) -> Result<SocketAddr, TargetError> {
    let found = tokio::net::lookup_host((name, port)).await;
    let addresses: Vec<SocketAddr> = found
        .map_err(|_| TargetError::Unknown(name.to_owned()))?
        .collect();
    let chosen = match reach {
        Reach::Anywhere => addresses.first(),
        // Every address, not only the one that we would take: a name that resolves elsewhere too
        // is not this machine's.
        Reach::Loopback if addresses.iter().all(|address| address.ip().is_loopback()) => addresses
            .iter()
            .find(|address| address.is_ipv4())
            .or(addresses.first()),
        Reach::Loopback => return Err(TargetError::NotLoopback(name.to_owned())),
    };
    chosen
        .copied()
        .ok_or_else(|| TargetError::Unknown(name.to_owned()))
}

fn client(address: SocketAddr, ca: Option<&[u8]>) -> Result<ClientConfig, TargetError> {
    let trust = |error: &dyn std::fmt::Display| TargetError::Trust(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| trust(&error))?;
    let mut config = match ca {
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| trust(&error))?;
                roots.add(certificate).map_err(|error| trust(&error))?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        None if address.ip().is_loopback() => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Own(provider)))
            .with_no_client_auth(),
        None => {
            let mut roots = RootCertStore::empty();
            let loaded = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(loaded.certs);
            if added == 0 {
                return Err(trust(&"the machine has none; give them with --ca"));
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    // Raw HTTP/1.1 is what the attacks are made of.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Takes any certificate: only for loopback, where nobody stands in between.
#[derive(Debug)]
struct Own(Arc<CryptoProvider>);

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(result: Result<Target, TargetError>, expect: &str) {
        let message = result.expect_err("refused").to_string();
        assert!(message.contains(expect), "{message}");
    }

    #[tokio::test]
    async fn only_loopback_is_attacked_unasked() {
        let local = target("http://127.0.0.1:8080", Reach::Loopback, None)
            .await
            .unwrap();
        assert_eq!(
            (local.host.as_str(), local.base.as_str()),
            ("127.0.0.1:8080", "http://127.0.0.1:8080")
        );
        assert!(
            target("https://[::1]:8443/x", Reach::Loopback, None)
                .await
                .unwrap()
                .tls
                .is_some()
        );
        refused(
            target("http://192.0.2.1/", Reach::Loopback, None).await,
            "--i-own-this-target",
        );
        refused(
            target("http://[2001:db8::1]:80", Reach::Loopback, None).await,
            "--i-own-this-target",
        );
        assert!(
            target("http://192.0.2.1/", Reach::Anywhere, None)
                .await
                .is_ok()
        );
    }

    #[tokio::test]
    async fn what_is_no_target_is_refused() {
        for url in [
            "",
            "127.0.0.1",
            "ftp://127.0.0.1",
            "http://a@127.0.0.1",
            "http://",
        ] {
            refused(target(url, Reach::Loopback, None).await, "is not a URL");
        }
    }
}
