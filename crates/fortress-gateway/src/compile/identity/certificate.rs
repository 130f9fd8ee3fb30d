//! Client certificates: the rules that name their holders.

use fortress_auth::certificate::{CertificateRules, NameRule};
use fortress_model::{
    Diagnostic,
    config::{ClientCertificates, Config, Identity, IdentityKind, Serve, Spanned},
};
use http::HeaderName;

/// Which certificates are accepted, and whom they name.
#[derive(Debug)]
pub(crate) struct CertificatePlan {
    pub(crate) rules: CertificateRules,
    /// The field in which trusted proxies pass certificates on.
    pub(crate) header: Option<HeaderName>,
}

/// Whether any certificate could reach the gateway: a listener asks for them, or a trusted proxy may
/// pass them on.
pub(crate) fn any_could_come(config: &Config) -> bool {
    let asked = config.listen.iter().any(|listener| match &listener.serve {
        Serve::Apis { tls, .. } => tls.as_ref().is_some_and(|tls| tls.clients.is_some()),
        Serve::RedirectHttps | Serve::Operations => false,
    });
    asked || (!config.trusted_proxies.is_empty() && headers(config).next().is_some())
}

/// The field in which trusted proxies pass certificates on. One for all entries: a proxy that is
/// told of one name removes what clients write in that one alone.
pub(crate) fn field(config: &Config, diagnostics: &mut Vec<Diagnostic>) -> Option<HeaderName> {
    let mut found: Option<HeaderName> = None;
    for header in headers(config) {
        let Ok(name) = HeaderName::from_bytes(header.value.as_bytes()) else {
            let message = format!("`{}` is no name of a header field", header.value);
            diagnostics.push(Diagnostic::error(header.span, message));
            continue;
        };
        if config.trusted_proxies.is_empty() {
            let message = format!(
                "`{}` is believed from `trusted_proxies` alone, and there are none",
                header.value
            );
            diagnostics.push(
                Diagnostic::warning(header.span, message)
                    .help("list the proxies that verify certificates, or remove `header`"),
            );
        }
        match &found {
            None => found = Some(name),
            Some(known) if *known == name => {}
            Some(known) => {
                let message = format!("another entry of `identity` names `{known}` here");
                diagnostics.push(
                    Diagnostic::error(header.span, message)
                        .help("let the proxies pass certificates on in one field"),
                );
            }
        }
    }
    found
}

fn headers(config: &Config) -> impl Iterator<Item = &Spanned<String>> {
    config
        .identity
        .iter()
        .filter_map(|identity| match &identity.kind {
            IdentityKind::Certificate(certificate) => certificate.header.as_ref(),
            IdentityKind::Issuer(_)
            | IdentityKind::ApiKey(_)
            | IdentityKind::Basic(_)
            | IdentityKind::Signature(_)
            | IdentityKind::Webhook(_) => None,
        })
}

pub(super) fn compile(
    config: &Config,
    identity: &Identity,
    certificates: &ClientCertificates,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<CertificatePlan> {
    let mut rules = Vec::new();
    let mut sound = true;
    for pattern in &certificates.san {
        match pattern.value.parse::<NameRule>() {
            Ok(rule) => rules.push(rule),
            Err(help) => {
                sound = false;
                let message = format!("`{}` is no pattern of a name", pattern.value);
                diagnostics.push(Diagnostic::error(pattern.span, message).help(help));
            }
        }
    }
    if !any_could_come(config) {
        sound = false;
        let message = format!(
            "`{}` judges client certificates, and no listener asks for them",
            identity.name.value
        );
        diagnostics.push(Diagnostic::error(identity.name.span, message).help(
            "add `tls.clients: { ca: file:… }` to a listener, or `header` here and the proxies in `trusted_proxies`",
        ));
    }
    let header = certificates
        .header
        .as_ref()
        .and_then(|name| HeaderName::from_bytes(name.value.as_bytes()).ok());
    sound.then(|| CertificatePlan {
        rules: CertificateRules::new(rules),
        header,
    })
}
