//! Certificates, keys and trust, read from PEM files when the configuration is compiled.

use std::{collections::HashMap, io, path::Path, sync::Arc};

use aws_lc_rs::digest;
use fortress_model::{
    Clock as _, Diagnostic, SystemClock, Timestamp,
    config::{Certificate, Clients, Endpoint, Http2, Origin, Spanned, Tls, TlsVersion, Upstream},
};
use http::HeaderValue;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, pem::PemObject,
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use crate::{
    client_certificate::{ClientTrust, Demand},
    upstream::{EndpointPlan, TlsPlan, UpstreamPlan, client_tls},
};

/// A chain and its key.
pub(crate) type Credentials = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Compiles an upstream.
pub(super) fn upstream(
    upstream: &Upstream,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<UpstreamPlan> {
    let roots = roots(upstream, diagnostics)?;
    let credentials = match &upstream.tls.certificate {
        None => None,
        Some(certificate) => Some(credentials(certificate, diagnostics)?),
    };
    let config = match client_tls(roots, credentials, upstream.http2) {
        Ok(config) => Arc::new(config),
        Err(error) => {
            let span = upstream
                .tls
                .certificate
                .as_ref()
                .map(|certificate| certificate.chain.span);
            diagnostics.push(Diagnostic::error(
                span,
                format!("the client certificate cannot be used: {error}"),
            ));
            return None;
        }
    };
    let mut endpoints = Vec::new();
    let mut schedule = Vec::new();
    for endpoint in &upstream.endpoints {
        let plan = endpoint_plan(upstream, endpoint, &config, diagnostics)?;
        for _ in 0..endpoint.weight.clamp(1, 100) {
            schedule.push(endpoints.len());
        }
        endpoints.push(Arc::new(plan));
    }
    Some(UpstreamPlan {
        endpoints,
        schedule,
        timeouts: upstream.timeouts.clone(),
        load: None,
    })
}

fn endpoint_plan(
    upstream: &Upstream,
    endpoint: &Endpoint,
    config: &Arc<rustls::ClientConfig>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<EndpointPlan> {
    let origin = &endpoint.url.value;
    let authority = authority(origin);
    let Ok(authority) = HeaderValue::from_str(&authority) else {
        diagnostics.push(Diagnostic::error(
            endpoint.url.span,
            format!("`{authority}` is no host"),
        ));
        return None;
    };
    let tls = if origin.tls {
        let (name, span) = match &upstream.tls.server_name {
            Some(name) => (name.value.clone(), name.span),
            None => (origin.host.clone(), endpoint.url.span),
        };
        let Ok(server_name) = ServerName::try_from(name.clone()) else {
            diagnostics.push(Diagnostic::error(
                span,
                format!("`{name}` is no server name"),
            ));
            return None;
        };
        Some(TlsPlan {
            config: Arc::clone(config),
            server_name,
        })
    } else {
        None
    };
    Some(EndpointPlan {
        key: key(upstream, origin).into(),
        host: origin.host.clone(),
        port: origin.port,
        authority,
        prefix: origin.prefix.clone(),
        tls,
        http2: upstream.http2,
    })
}

/// Host and port as a client writes them: the default port is left out.
fn authority(origin: &Origin) -> String {
    let host = if origin.host.contains(':') {
        format!("[{}]", origin.host)
    } else {
        origin.host.clone()
    };
    let default = if origin.tls { 443 } else { 80 };
    if origin.port == default {
        host
    } else {
        format!("{host}:{}", origin.port)
    }
}

/// Connections may be shared where address and TLS settings are equal.
fn key(upstream: &Upstream, origin: &Origin) -> String {
    let path = |path: &Option<Spanned<std::path::PathBuf>>| match path {
        Some(path) => path.value.display().to_string(),
        None => String::new(),
    };
    let tls = &upstream.tls;
    format!(
        "{}://{}:{} h2={} ca={} name={} cert={}",
        if origin.tls { "https" } else { "http" },
        origin.host,
        origin.port,
        upstream.http2,
        path(&tls.ca),
        tls.server_name
            .as_ref()
            .map_or("", |name| name.value.as_str()),
        tls.certificate
            .as_ref()
            .map_or(String::new(), |certificate| certificate
                .chain
                .value
                .display()
                .to_string()),
    )
}

fn roots(upstream: &Upstream, diagnostics: &mut Vec<Diagnostic>) -> Option<RootCertStore> {
    if !upstream
        .endpoints
        .iter()
        .any(|endpoint| endpoint.url.value.tls)
    {
        return Some(RootCertStore::empty());
    }
    let Some(file) = &upstream.tls.ca else {
        let roots = machine_roots();
        if roots.is_empty() {
            let span = upstream.endpoints.first().map(|endpoint| endpoint.url.span);
            let message =
                "this machine has no trusted certificates, so no https upstream can be verified";
            diagnostics.push(
                Diagnostic::error(span, message).help("name them: upstream.tls.ca: file:ca.pem"),
            );
            return None;
        }
        return Some(roots);
    };
    let mut roots = RootCertStore::empty();
    match certificates(&file.value) {
        Ok(chain) => {
            let (added, _) = roots.add_parsable_certificates(chain);
            if added > 0 {
                return Some(roots);
            }
            let message = format!("`{}` holds no certificate", file.value.display());
            diagnostics.push(Diagnostic::error(file.span, message));
        }
        Err(message) => diagnostics.push(Diagnostic::error(file.span, message)),
    }
    None
}

/// The certificates of a file, to be trusted, and what tells them from others.
///
/// # Errors
/// Says what is wrong with the file.
pub(crate) fn roots_of(file: &Path) -> Result<(RootCertStore, String), String> {
    let chain = certificates(file)?;
    let mut context = digest::Context::new(&digest::SHA256);
    for certificate in &chain {
        context.update(certificate);
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(chain);
    if added == 0 {
        return Err(format!("`{}` holds no certificate", file.display()));
    }
    Ok((roots, format!("{:?}", context.finish())))
}

/// What the machine trusts.
pub(crate) fn machine_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a trusted certificate of this machine cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            format!(
                "`{}` is not a PEM file of certificates: {error}",
                path.display()
            )
        })
}

/// A file, for messages that say why not.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    fortress_model::file::read(path)
        .map_err(|error| format!("cannot read `{}`: {}", path.display(), said(&error)))
}

fn said(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        "there is no such file".into()
    } else {
        error.to_string()
    }
}

fn credentials(
    certificate: &Certificate,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Credentials> {
    let chain = match certificates(&certificate.chain.value) {
        Ok(chain) if chain.is_empty() => {
            let message = format!(
                "`{}` holds no certificate",
                certificate.chain.value.display()
            );
            diagnostics.push(Diagnostic::error(certificate.chain.span, message));
            None
        }
        Ok(chain) => {
            diagnostics.extend(untimely(certificate, &chain, SystemClock.now()));
            Some(chain)
        }
        Err(message) => {
            diagnostics.push(Diagnostic::error(certificate.chain.span, message));
            None
        }
    };
    let key = read(&certificate.key.value).and_then(|pem| {
        // The parser's own error could show a piece of the key.
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            format!(
                "`{}` holds no private key in PEM",
                certificate.key.value.display()
            )
        })
    });
    match key {
        Ok(key) => Some((chain?, key)),
        Err(message) => {
            diagnostics.push(Diagnostic::error(certificate.key.span, message));
            None
        }
    }
}

/// A word about a chain with a certificate that does not hold now: peers will not take it.
fn untimely(
    certificate: &Certificate,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
) -> Option<Diagnostic> {
    let times = chain.iter().filter_map(|one| fortress_auth::validity(one));
    let mut words = times.filter_map(|(first, last)| {
        if now < first {
            Some("is not valid yet")
        } else {
            (last.seconds() < now.seconds()).then_some("has expired")
        }
    });
    let message = format!(
        "a certificate of `{}` {}",
        certificate.chain.value.display(),
        words.next()?
    );
    Some(Diagnostic::warning(certificate.chain.span, message).help("get another one"))
}

/// A listener's TLS.
pub(crate) fn server(
    tls: &Tls,
    http2: Http2,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(Arc<ServerConfig>, Option<Arc<ClientTrust>>)> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut keys = Vec::new();
    for certificate in &tls.certificates {
        let (chain, key) = credentials(certificate, diagnostics)?;
        match CertifiedKey::from_der(chain, key, &provider) {
            Ok(certified) => keys.push(Arc::new(certified)),
            Err(error) => {
                let message = format!("certificate and key do not fit together: {error}");
                diagnostics.push(Diagnostic::error(certificate.chain.span, message));
            }
        }
    }
    let clients = match &tls.clients {
        Some(clients) => Some(trust(clients, &provider, diagnostics)?),
        None => None,
    };
    let by_name = ByName::of(keys)?;
    let versions: &[_] = match tls.minimum {
        TlsVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V13 => &[&rustls::version::TLS13],
    };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let mut config = match builder {
        Ok(builder) => match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::new(by_name)),
        Err(error) => {
            diagnostics.push(Diagnostic::error(
                None,
                format!("TLS cannot be set up: {error}"),
            ));
            return None;
        }
    };
    config.alpn_protocols = match http2 {
        Http2::Off => vec![b"http/1.1".to_vec()],
        Http2::Alpn | Http2::PriorKnowledge => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    config.max_early_data_size = 0;
    config.send_half_rtt_data = false;
    if clients.is_some() {
        // A resumed session would carry on a certificate that was verified before, past its end and
        // past a newer list of revoked ones. A whole handshake for each connection is the price.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Some((Arc::new(config), clients))
}

/// Whom a listener trusts. Once a list of revoked certificates is named, a certificate that no list
/// tells of is refused, and so is each one whose list is out of date (RFC 5280, section 6.3.3).
fn trust(
    clients: &Clients,
    provider: &Arc<CryptoProvider>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Arc<ClientTrust>> {
    let roots = authorities(&clients.ca, diagnostics);
    let crls = revocation_lists(&clients.crl, diagnostics);
    let (roots, crls) = (roots?, crls?);
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .with_crls(crls)
            .enforce_revocation_expiration();
    let (builder, demand) = if clients.required {
        (builder, Demand::Required)
    } else {
        (builder.allow_unauthenticated(), Demand::Optional)
    };
    match builder.build() {
        Ok(verifier) => Some(Arc::new(ClientTrust::new(verifier, demand))),
        Err(error) => {
            let span = clients.ca.first().map(|file| file.span);
            let message = format!("client certificates cannot be verified: {error}");
            diagnostics.push(Diagnostic::error(span, message));
            None
        }
    }
}

fn authorities(
    files: &[Spanned<std::path::PathBuf>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let mut sound = true;
    for file in files {
        let shown = file.value.display();
        let message = match certificates(&file.value) {
            Ok(chain) if chain.is_empty() => format!("`{shown}` holds no certificate"),
            Ok(chain) => match chain.into_iter().try_for_each(|one| roots.add(one)) {
                Ok(()) => continue,
                Err(error) => {
                    format!("`{shown}` holds a certificate that is no authority: {error}")
                }
            },
            Err(message) => message,
        };
        sound = false;
        diagnostics.push(Diagnostic::error(file.span, message));
    }
    sound.then_some(roots)
}

fn revocation_lists(
    files: &[Spanned<std::path::PathBuf>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let mut lists = Vec::new();
    let mut sound = true;
    for file in files {
        match revocation_list(&file.value) {
            Ok(found) => lists.extend(found),
            Err(message) => {
                sound = false;
                diagnostics.push(Diagnostic::error(file.span, message));
            }
        }
    }
    sound.then_some(lists)
}

/// The lists in a file, in PEM or DER.
fn revocation_list(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let shown = path.display();
    let bytes = read(path)?;
    // DER begins with the tag of a sequence, which is no character that a PEM file begins with.
    let lists = if bytes.first() == Some(&0x30) {
        vec![CertificateRevocationListDer::from(bytes)]
    } else {
        CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("`{shown}` is no PEM file of revoked certificates: {error}"))?
    };
    if lists.is_empty() {
        return Err(format!("`{shown}` holds no list of revoked certificates"));
    }
    for list in &lists {
        webpki::BorrowedCertRevocationList::from_der(list)
            .map_err(|error| format!("`{shown}` holds a list that cannot be read: {error}"))?;
    }
    Ok(lists)
}

/// Chooses a certificate by SNI; the first is for clients that name none, or an unknown one.
#[derive(Debug)]
struct ByName {
    /// Exact names, and wildcards as `*.example.com`, in lower case.
    names: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl ByName {
    fn of(keys: Vec<Arc<CertifiedKey>>) -> Option<Self> {
        let default = Arc::clone(keys.first()?);
        let mut names = HashMap::new();
        for key in &keys {
            for name in names_of(key) {
                names.entry(name).or_insert_with(|| Arc::clone(key));
            }
        }
        Some(Self { names, default })
    }
}

/// The DNS names in a certificate's subject alternative names.
fn names_of(key: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = key.cert.first() else {
        return Vec::new();
    };
    match webpki::EndEntityCert::try_from(leaf) {
        Ok(certificate) => certificate
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect(),
        // It is still served to those who ask for no name, or for one that nothing else has.
        Err(_) => Vec::new(),
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let key = hello
            .server_name()
            .map(str::to_ascii_lowercase)
            .and_then(|name| {
                let wildcard = || {
                    name.split_once('.')
                        .and_then(|(_, suffix)| self.names.get(&format!("*.{suffix}")))
                };
                self.names.get(&name).or_else(wildcard)
            });
        Some(Arc::clone(key.unwrap_or(&self.default)))
    }
}
