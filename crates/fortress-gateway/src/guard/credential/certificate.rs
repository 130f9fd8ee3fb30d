//! Client certificates.

use std::sync::Arc;

use fortress_auth::certificate::ClientCertificate;

use super::{Caller, Refusal, Shown};
use crate::{
    client_certificate::ShownCertificate,
    compile::{CertificatePlan, IdentityPlan},
    guard::principal::Proof,
};

/// Judges the certificate that counts for a request.
pub(super) fn judge(
    identity: &Arc<IdentityPlan>,
    plan: &CertificatePlan,
    shown: &Shown<'_>,
) -> Result<Caller, Refusal> {
    let certificate = match shown.certificate {
        ShownCertificate::None => return Err(Refusal::missing("no client certificate")),
        ShownCertificate::Bad(why) => return Err(Refusal::new(why.reason, why.detail.clone())),
        ShownCertificate::Good(certificate) => certificate,
    };
    if certificate.field().is_some() && certificate.field() != plan.header.as_ref() {
        let detail = "a certificate that a proxy passes on, which this entry does not read";
        return Err(Refusal::missing(detail));
    }
    let refusal = |error: fortress_auth::certificate::CertificateError| {
        Refusal::new(error.reason(), error.to_string())
    };
    let parsed = ClientCertificate::parse(certificate.der()).map_err(refusal)?;
    let principal = plan.rules.principal(&parsed).map_err(refusal)?;
    Ok(Caller {
        id: principal.id.into(),
        identity: Arc::clone(identity),
        proof: Proof::Certificate(Arc::clone(certificate)),
    })
}
