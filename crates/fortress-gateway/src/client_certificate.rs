//! The certificates that clients show: what a listener trusts, what a connection or a trusted proxy
//! showed, and whether that still counts when a request comes.
//!
//! **A handshake's verdict does not outlive what it rested on.** It is judged again when the
//! configuration changed (other authorities, a newer list of revoked certificates) and once in
//! [`RECHECK`], so that a connection that stays open cannot outlive its certificate. Deliberately not
//! here: whom a certificate names (`guard::credential::certificate`).

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fortress_auth::certificate;
use fortress_model::{Decision, Denial, Reason, Timestamp};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::{
    CertificateError,
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use smallvec::SmallVec;

use crate::{compile::Gateway, request::Arrival};

/// How long a verdict on a connection's certificate is believed, so that one that expires while the
/// connection lasts is noticed.
const RECHECK: Duration = Duration::from_secs(60);

/// What a listener trusts: the authorities, and the lists of what they revoked.
pub(crate) struct ClientTrust {
    verifier: Arc<dyn ClientCertVerifier>,
    demand: Demand,
}

/// Whether a listener lets in who shows no certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Demand {
    Optional,
    Required,
}

impl ClientTrust {
    pub(crate) fn new(verifier: Arc<dyn ClientCertVerifier>, demand: Demand) -> Self {
        Self { verifier, demand }
    }

    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

impl fmt::Debug for ClientTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientTrust({:?})", self.demand)
    }
}

/// Why a certificate does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Untrusted {
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

/// A certificate that a client proved to hold, to this gateway or to a trusted proxy.
#[derive(Debug)]
pub(crate) struct PeerCertificate {
    /// The client's own first.
    chain: Vec<CertificateDer<'static>>,
    sha256: [u8; 32],
    /// Where it stood, if a proxy passes it on.
    field: Option<HeaderName>,
    verdict: Mutex<Option<Verdict>>,
}

/// What was last thought of a chain.
#[derive(Clone, Debug)]
struct Verdict {
    by: Arc<ClientTrust>,
    at: Timestamp,
    is: Result<(), Untrusted>,
}

impl PeerCertificate {
    /// The chain that a connection showed; `None` if it is empty.
    pub(crate) fn of_connection(chain: Vec<CertificateDer<'static>>) -> Option<Self> {
        let sha256 = certificate::thumbprint(chain.first()?);
        Some(Self {
            chain,
            sha256,
            field: None,
            verdict: Mutex::default(),
        })
    }

    /// What a trusted proxy passes on.
    fn of_field(name: &HeaderName, der: Vec<u8>) -> Self {
        let sha256 = certificate::thumbprint(&der);
        Self {
            chain: vec![CertificateDer::from(der)],
            sha256,
            field: Some(name.clone()),
            verdict: Mutex::default(),
        }
    }

    /// The field in which a trusted proxy passed it on; `None` for the connection's own.
    pub(crate) fn field(&self) -> Option<&HeaderName> {
        self.field.as_ref()
    }

    /// The client's own certificate.
    pub(crate) fn der(&self) -> &[u8] {
        self.chain.first().map_or(&[], |leaf| leaf)
    }

    /// SHA-256 of the client's own certificate.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Whether a listener trusts it, now.
    fn stands(&self, trust: &Arc<ClientTrust>, now: Timestamp) -> Result<(), Untrusted> {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*verdict
            && Arc::ptr_eq(&last.by, trust)
            && now.0.saturating_sub(last.at.0) < u64::try_from(RECHECK.as_nanos()).unwrap_or(0)
        {
            return last.is.clone();
        }
        let is = self.verify(trust, now);
        *verdict = Some(Verdict {
            by: Arc::clone(trust),
            at: now,
            is: is.clone(),
        });
        is
    }

    fn verify(&self, trust: &ClientTrust, now: Timestamp) -> Result<(), Untrusted> {
        let missing = || Untrusted {
            reason: Reason::CertificateMissing,
            detail: "no client certificate".into(),
        };
        let (leaf, others) = self.chain.split_first().ok_or_else(missing)?;
        let now = UnixTime::since_unix_epoch(Duration::from_nanos(now.0));
        match trust.verifier.verify_client_cert(leaf, others, now) {
            Ok(_) => Ok(()),
            Err(error) => Err(untrusted(&error).unwrap_or_else(|| Untrusted {
                reason: Reason::CredentialInvalid,
                detail: format!("the client's certificate cannot be verified: {error}"),
            })),
        }
    }
}

/// How it is told from others, as `openssl x509 -fingerprint -sha256` does.
impl fmt::Display for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificate ")?;
        self.sha256
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// What an error of TLS says of a client's certificate; `None` if it speaks of something else.
fn untrusted(error: &rustls::Error) -> Option<Untrusted> {
    if matches!(error, rustls::Error::NoCertificatesPresented) {
        let detail = "the listener demands a client certificate".into();
        let reason = Reason::CertificateMissing;
        return Some(Untrusted { reason, detail });
    }
    let rustls::Error::InvalidCertificate(error) = error else {
        return None;
    };
    let (reason, what) = if *error == CertificateError::Revoked {
        (Reason::CredentialRevoked, "was revoked")
    } else if matches!(
        error,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
    ) {
        (Reason::CredentialExpired, "is outside its time")
    } else if *error == CertificateError::UnknownRevocationStatus {
        let what = "is on no list that says whether it was revoked";
        (Reason::CredentialInvalid, what)
    } else if matches!(
        error,
        CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. }
    ) {
        let what = "cannot be looked up: the list of revoked certificates is out of date";
        (Reason::CredentialInvalid, what)
    } else if *error == CertificateError::UnknownIssuer {
        let what = "is of an authority that is not trusted";
        (Reason::CredentialInvalid, what)
    } else {
        (Reason::CredentialInvalid, "cannot be verified")
    };
    let detail = format!("the client's certificate {what}");
    Some(Untrusted { reason, detail })
}

/// Why a handshake failed, if it is for the client's certificate.
pub(crate) fn refused_in_handshake(error: &io::Error) -> Option<Untrusted> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    untrusted(error)
}

/// The certificate that counts for a request.
#[derive(Clone, Debug, Default)]
pub(crate) enum ShownCertificate {
    /// None was shown.
    #[default]
    None,
    /// It was verified, by this gateway or by the proxy that passes it on.
    Good(Arc<PeerCertificate>),
    /// It was shown, and does not count.
    Bad(Untrusted),
}

impl ShownCertificate {
    /// The one that was verified.
    pub(crate) fn good(&self) -> Option<&Arc<PeerCertificate>> {
        match self {
            Self::Good(certificate) => Some(certificate),
            Self::None | Self::Bad(_) => None,
        }
    }
}

/// The values of the field in which a trusted proxy passes the client's certificate on.
pub(crate) type Vouched = SmallVec<[HeaderValue; 1]>;

/// RFC 9440's own names: nobody but a proxy in front of the upstream may say these.
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Takes the fields in which proxies pass certificates on out of a request's head, and gives what a
/// trusted proxy says in the one that is configured.
///
/// INVARIANT: done before `Connection` is read, or a client could make one vanish with it.
pub(crate) fn take_fields(
    gateway: &Gateway,
    arrival: &Arrival,
    decision: &mut Decision,
    headers: &mut HeaderMap,
) -> Vouched {
    let mut vouched = Vouched::new();
    let believed = believed_field(gateway, arrival);
    let configured = gateway.certificate_field();
    for name in configured
        .into_iter()
        .chain([&CLIENT_CERT, &CLIENT_CERT_CHAIN])
    {
        if !headers.contains_key(name) {
            continue;
        }
        if believed == Some(name) {
            vouched.extend(headers.get_all(name).iter().cloned());
        } else {
            decision.notes.push(format!("header `{name}` removed"));
        }
        headers.remove(name);
    }
    vouched
}

/// The field that is believed of this peer.
fn believed_field<'g>(gateway: &'g Gateway, arrival: &Arrival) -> Option<&'g HeaderName> {
    let name = gateway.certificate_field()?;
    arrival.is_proxied(gateway).then_some(name)
}

/// The certificate that counts for a request.
///
/// Behind a trusted proxy, where a field is configured, it is what the field says and nothing else:
/// the connection's own certificate is the proxy's there.
///
/// # Errors
/// The listener demands a certificate of the connection, and it has none that counts (any more).
pub(crate) fn of_request(
    gateway: &Gateway,
    arrival: &Arrival,
    decision: &mut Decision,
    vouched: &[HeaderValue],
) -> Result<ShownCertificate, Denial> {
    let own = of_connection(gateway, arrival, decision)?;
    Ok(match believed_field(gateway, arrival) {
        Some(name) => passed_on(name, vouched),
        None => own,
    })
}

/// What the connection itself showed.
fn of_connection(
    gateway: &Gateway,
    arrival: &Arrival,
    decision: &mut Decision,
) -> Result<ShownCertificate, Denial> {
    if !arrival.tls {
        return Ok(ShownCertificate::None);
    }
    // A listener that asks for no certificate any more trusts none.
    let Some(trust) = gateway.clients(&arrival.listener) else {
        return Ok(ShownCertificate::None);
    };
    let shown = match &arrival.certificate {
        None => ShownCertificate::None,
        Some(certificate) => match certificate.stands(trust, decision.received) {
            Ok(()) => ShownCertificate::Good(Arc::clone(certificate)),
            Err(why) => ShownCertificate::Bad(why),
        },
    };
    if trust.demand == Demand::Required && shown.good().is_none() {
        // As the handshake would: a mode weakens what operations demand, not who may connect.
        let (reason, detail) = match shown {
            ShownCertificate::Bad(why) => (why.reason, why.detail),
            ShownCertificate::None | ShownCertificate::Good(_) => (
                Reason::CertificateMissing,
                "the listener demands a client certificate".to_owned(),
            ),
        };
        return Err(decision.fail(reason, detail));
    }
    Ok(shown)
}

/// What a trusted proxy says in its field (RFC 9440, section 2.2).
fn passed_on(name: &HeaderName, vouched: &[HeaderValue]) -> ShownCertificate {
    let read = |value: &HeaderValue| {
        let text = value
            .to_str()
            .map_err(|_| format!("`{name}` is not ASCII"))?;
        certificate::parse_client_cert(text).map_err(|error| error.to_string())
    };
    let read = match vouched {
        [] => return ShownCertificate::None,
        [value] => read(value),
        [_, _, ..] => Err(format!("`{name}` is given twice")),
    };
    match read {
        Ok(der) => ShownCertificate::Good(Arc::new(PeerCertificate::of_field(name, der))),
        Err(detail) => ShownCertificate::Bad(Untrusted {
            reason: Reason::CredentialMalformed,
            detail,
        }),
    }
}
