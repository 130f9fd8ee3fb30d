//! From a client's certificate to a principal: which of its names counts is said by rules, the
//! first that fits decides. Also the certificate's thumbprint (RFC 8705, section 3.1) and the
//! header fields `Client-Cert` and `Client-Cert-Chain` (RFC 9440).
//!
//! INVARIANT: the chain was verified before, by rustls or by the proxy that passes the certificate
//! on. Deliberately not here: signatures, validity, key usage and revocation.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Reason, config::Network};

use crate::{
    der::{Der, Malformed},
    structured::{self, Bare, Member},
    verify::sha256,
};

/// The largest certificate that is looked at, in bytes of DER.
pub const MAX_CERTIFICATE: usize = 16 << 10;
/// The most names that a certificate may have.
pub const MAX_NAMES: usize = 64;
/// The most certificates in a `Client-Cert-Chain`.
pub const MAX_CHAIN: usize = 8;

/// Why a certificate gives no principal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Longer than [`MAX_CERTIFICATE`].
    #[error("the client's certificate is longer than {MAX_CERTIFICATE} bytes")]
    TooLarge,
    /// More names than [`MAX_NAMES`].
    #[error("the client's certificate has more than {MAX_NAMES} names")]
    TooManyNames,
    /// Not a certificate in DER, or a name in it is not the text that it should be.
    #[error("the client's certificate is malformed")]
    Malformed,
    /// `Client-Cert` or `Client-Cert-Chain` is not what RFC 9440 says.
    #[error("`{0}` is malformed: {1}")]
    Field(&'static str, &'static str),
    /// No rule fits one of its names.
    #[error("no name in the client's certificate is one that the configuration accepts")]
    NoName,
}

impl CertificateError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge | Self::TooManyNames | Self::Malformed | Self::Field(..) => {
                Reason::CredentialMalformed
            }
            Self::NoName => Reason::CredentialInvalid,
        }
    }
}

impl From<Malformed> for CertificateError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What of a certificate says whose it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate<'a> {
    der: &'a [u8],
    /// The subject alternative names of the kinds that rules know, in the certificate's order.
    pub names: Vec<Name<'a>>,
    /// The subject's common name, if it has exactly one.
    pub common_name: Option<&'a str>,
}

/// A subject alternative name (RFC 5280, section 4.2.1.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Name<'a> {
    /// `uniformResourceIdentifier`; a SPIFFE id is one.
    Uri(&'a str),
    /// `dNSName`.
    Dns(&'a str),
    /// `rfc822Name`.
    Email(&'a str),
    /// `iPAddress`.
    Ip(IpAddr),
}

impl<'a> ClientCertificate<'a> {
    /// Reads the names of a certificate in DER.
    ///
    /// # Errors
    /// It is too large, is no certificate, has too many names, or one that is not printable ASCII
    /// (a NUL in a name has fooled others).
    pub fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(CertificateError::TooLarge);
        }
        let mut whole = Der::new(der);
        let mut certificate = Der::new(whole.take(SEQUENCE)?);
        let mut signed = Der::new(certificate.take(SEQUENCE)?);
        certificate.take(SEQUENCE)?;
        certificate.take(BIT_STRING)?;
        if !whole.is_empty() || !certificate.is_empty() {
            return Err(CertificateError::Malformed);
        }
        signed.take_if(VERSION)?;
        signed.take(INTEGER)?;
        signed.take(SEQUENCE)?; // the signature's algorithm
        signed.take(SEQUENCE)?; // the issuer
        signed.take(SEQUENCE)?; // the validity
        let common_name = common_name(signed.take(SEQUENCE)?)?;
        signed.take(SEQUENCE)?; // the public key
        signed.take_if(ISSUER_ID)?;
        signed.take_if(SUBJECT_ID)?;
        let names = match signed.take_if(EXTENSIONS)? {
            Some(extensions) => names(extensions)?,
            None => Vec::new(),
        };
        if !signed.is_empty() {
            return Err(CertificateError::Malformed);
        }
        Ok(Self {
            der,
            names,
            common_name,
        })
    }

    /// SHA-256 of the certificate.
    pub fn thumbprint(&self) -> [u8; 32] {
        thumbprint(self.der)
    }
}

/// SHA-256 of a certificate in DER: what a token's `cnf.x5t#S256` is bound to.
pub fn thumbprint(der: &[u8]) -> [u8; 32] {
    sha256(&[der])
}

/// [`thumbprint`] as `x5t#S256` has it (RFC 8705, section 3.1).
pub fn x5t_s256(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(thumbprint(der))
}

/// Rules from a certificate's names to a principal.
#[derive(Clone, Debug, Default)]
pub struct CertificateRules(Vec<NameRule>);

/// A principal, by a name in its certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificatePrincipal {
    /// The name, as the certificate has it (a DNS name and an email's domain in lower case; a
    /// common name after `CN=`, so that it cannot be taken for another kind of name).
    pub id: String,
    /// SHA-256 of the certificate.
    pub thumbprint: [u8; 32],
}

impl CertificateRules {
    /// Takes rules; the first that fits a name decides, whatever order the names have.
    pub fn new(rules: Vec<NameRule>) -> Self {
        Self(rules)
    }

    /// Whose certificate this is: the first rule's first name, in the certificate's order.
    ///
    /// # Errors
    /// No rule fits.
    pub fn principal(
        &self,
        certificate: &ClientCertificate<'_>,
    ) -> Result<CertificatePrincipal, CertificateError> {
        let id = self.0.iter().find_map(|rule| rule.id(certificate));
        Ok(CertificatePrincipal {
            id: id.ok_or(CertificateError::NoName)?,
            thumbprint: certificate.thumbprint(),
        })
    }
}

/// Which names of one kind are accepted.
///
/// Written `spiffe://example.com/*` (or another URI), `dns:*.example.com`, `email:*@example.com`,
/// `ip:10.0.0.0/8`, `cn:NAME` or `cn:*`. In a URI, `*` stands for one segment of the path, at its
/// end for one or more. In a DNS name it stands for the first label, in an email address for all
/// before the `@`. A common name is looked at only by `cn:`.
#[derive(Clone, Debug)]
pub struct NameRule(Pattern);

#[derive(Clone, Debug)]
enum Pattern {
    Uri(Box<str>),
    /// The name, or, if the flag is set, what comes after the first label.
    Dns(Wild, Box<str>),
    /// The local part, if it is not free, and the domain.
    Email(Option<Box<str>>, Box<str>),
    Ip(Network),
    CommonName(Option<Box<str>>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wild {
    Exact,
    FirstLabel,
}

impl FromStr for NameRule {
    type Err = String;

    /// # Errors
    /// What to write instead.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err("write a pattern in printable ASCII, such as `dns:*.example.com`".into());
        }
        let pattern = match text.split_once(':') {
            Some(("dns", name)) => dns_pattern(name)?,
            Some(("email", address)) => email_pattern(address)?,
            Some(("ip", block)) => Pattern::Ip(network(block)?),
            Some(("cn", "*")) => Pattern::CommonName(None),
            Some(("cn", name)) if !name.is_empty() => Pattern::CommonName(Some(name.into())),
            Some((_, rest)) if rest.starts_with("//") => uri_pattern(text)?,
            Some(("urn", rest)) if !rest.is_empty() && !rest.contains('*') => {
                Pattern::Uri(text.into())
            }
            Some(_) | None => {
                return Err(
                    "write `spiffe://…`, `https://…`, `dns:…`, `email:…`, `ip:…` or `cn:…`".into(),
                );
            }
        };
        Ok(Self(pattern))
    }
}

impl NameRule {
    fn id(&self, certificate: &ClientCertificate<'_>) -> Option<String> {
        let mut names = certificate.names.iter();
        match &self.0 {
            Pattern::CommonName(expected) => certificate
                .common_name
                .filter(|name| expected.as_deref().is_none_or(|expected| expected == *name))
                .map(|name| format!("CN={name}")),
            Pattern::Uri(pattern) => names.find_map(|name| match name {
                Name::Uri(uri) if uri_fits(pattern, uri) => Some((*uri).to_owned()),
                Name::Uri(_) | Name::Dns(_) | Name::Email(_) | Name::Ip(_) => None,
            }),
            Pattern::Dns(wild, expected) => names.find_map(|name| match name {
                Name::Dns(name) => dns_id(*wild, expected, name),
                Name::Uri(_) | Name::Email(_) | Name::Ip(_) => None,
            }),
            Pattern::Email(local, domain) => names.find_map(|name| match name {
                Name::Email(address) => email_id(local.as_deref(), domain, address),
                Name::Uri(_) | Name::Dns(_) | Name::Ip(_) => None,
            }),
            Pattern::Ip(block) => names.find_map(|name| match name {
                Name::Ip(address) if block.contains(*address) => Some(address.to_string()),
                Name::Uri(_) | Name::Dns(_) | Name::Email(_) | Name::Ip(_) => None,
            }),
        }
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Uri(pattern) => f.write_str(pattern),
            Pattern::Dns(Wild::Exact, name) => write!(f, "dns:{name}"),
            Pattern::Dns(Wild::FirstLabel, rest) => write!(f, "dns:*.{rest}"),
            Pattern::Email(local, domain) => {
                write!(f, "email:{}@{domain}", local.as_deref().unwrap_or("*"))
            }
            Pattern::Ip(block) => write!(f, "ip:{}/{}", block.address, block.prefix),
            Pattern::CommonName(name) => write!(f, "cn:{}", name.as_deref().unwrap_or("*")),
        }
    }
}

fn dns_pattern(name: &str) -> Result<Pattern, String> {
    let (wild, rest) = match name.strip_prefix("*.") {
        Some(rest) => (Wild::FirstLabel, rest),
        None => (Wild::Exact, name),
    };
    // `*.com` would accept whoever has a name at all.
    let enough = wild == Wild::Exact || rest.contains('.');
    if !enough || !is_dns_name(rest) {
        return Err("write `dns:api.example.com` or `dns:*.example.com`".into());
    }
    Ok(Pattern::Dns(wild, rest.to_ascii_lowercase().into()))
}

fn email_pattern(address: &str) -> Result<Pattern, String> {
    let help = "write `email:alice@example.com` or `email:*@example.com`";
    let (local, domain) = address.rsplit_once('@').ok_or(help)?;
    if !is_dns_name(domain) || local.is_empty() || (local.contains('*') && local != "*") {
        return Err(help.into());
    }
    let local = (local != "*").then(|| local.into());
    Ok(Pattern::Email(local, domain.to_ascii_lowercase().into()))
}

fn uri_pattern(text: &str) -> Result<Pattern, String> {
    let help = "write a URI; a segment of its path may be `*`, as in `spiffe://example.com/*`";
    let (scheme, rest) = text.split_once("://").ok_or(help)?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |text: &str| !text.is_empty() && !text.contains('*');
    let segments = path
        .split('/')
        .all(|part| part == "*" || !part.contains('*'));
    if !plain(scheme) || !plain(authority) || !segments {
        return Err(help.into());
    }
    Ok(Pattern::Uri(text.into()))
}

fn network(block: &str) -> Result<Network, String> {
    let help = "write `ip:10.1.2.3` or `ip:10.0.0.0/8`";
    let (address, prefix) = match block.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (block, None),
    };
    let address: IpAddr = address.parse().map_err(|_| help)?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse::<u8>().ok().filter(|prefix| *prefix <= bits)
        }
        Some(_) => None,
        None => Some(bits),
    };
    let prefix = prefix.ok_or(help)?;
    Ok(Network { address, prefix })
}

/// Compared byte by byte. What a `*` stands for is plain: nothing encoded, no empty or dot segment,
/// no query, so that no reader further on takes it for another path.
fn uri_fits(pattern: &str, uri: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == uri;
    }
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte))
    };
    let mut parts = uri.split('/');
    let mut expected = pattern.split('/').peekable();
    while let Some(segment) = expected.next() {
        let Some(part) = parts.next() else {
            return false;
        };
        let fits = if segment == "*" {
            plain(part)
        } else {
            segment == part
        };
        if !fits {
            return false;
        }
        if segment == "*" && expected.peek().is_none() {
            return parts.all(plain);
        }
    }
    parts.next().is_none()
}

fn dns_id(wild: Wild, expected: &str, name: &str) -> Option<String> {
    // A certificate for `*.example.com` names no one host: it is nobody's name here.
    if !is_dns_name(name) {
        return None;
    }
    let compared = match wild {
        Wild::Exact => name,
        Wild::FirstLabel => name.split_once('.')?.1,
    };
    compared
        .eq_ignore_ascii_case(expected)
        .then(|| name.to_ascii_lowercase())
}

fn email_id(local: Option<&str>, domain: &str, address: &str) -> Option<String> {
    let (found, host) = address.rsplit_once('@')?;
    let fits = !found.is_empty()
        && host.eq_ignore_ascii_case(domain)
        && local.is_none_or(|local| local == found);
    fits.then(|| format!("{found}@{}", host.to_ascii_lowercase()))
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(label)
}

const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const BOOLEAN: u8 = 0x01;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

/// 2.5.29.17
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

fn names(extensions: &[u8]) -> Result<Vec<Name<'_>>, CertificateError> {
    let mut outer = Der::new(extensions);
    let mut list = Der::new(outer.take(SEQUENCE)?);
    if !outer.is_empty() {
        return Err(CertificateError::Malformed);
    }
    let mut found = None;
    while !list.is_empty() {
        let mut extension = Der::new(list.take(SEQUENCE)?);
        let id = extension.take(OID)?;
        extension.take_if(BOOLEAN)?;
        let value = extension.take(OCTET_STRING)?;
        // RFC 5280, section 4.2: an extension stands once. With two, each reader could take
        // another.
        if id == SUBJECT_ALTERNATIVE_NAME && found.replace(value).is_some() {
            return Err(CertificateError::Malformed);
        }
    }
    let Some(value) = found else {
        return Ok(Vec::new());
    };
    let mut outer = Der::new(value);
    let mut list = Der::new(outer.take(SEQUENCE)?);
    let mut names = Vec::new();
    while !list.is_empty() {
        let (tag, value) = list.next()?;
        if let Some(name) = name(tag, value)? {
            if names.len() >= MAX_NAMES {
                return Err(CertificateError::TooManyNames);
            }
            names.push(name);
        }
    }
    Ok(names)
}

fn name(tag: u8, value: &[u8]) -> Result<Option<Name<'_>>, CertificateError> {
    let name = match tag {
        0x81 => Name::Email(printable(value)?),
        0x82 => Name::Dns(printable(value)?),
        0x86 => Name::Uri(printable(value)?),
        0x87 => Name::Ip(address(value)?),
        // Other kinds of name (of directories, of EDI parties, registered ids) name nobody here.
        _ => return Ok(None),
    };
    Ok(Some(name))
}

fn address(value: &[u8]) -> Result<IpAddr, CertificateError> {
    let four = <[u8; 4]>::try_from(value).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    let sixteen = || <[u8; 16]>::try_from(value).map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)));
    four.or_else(|_| sixteen())
        .map_err(|_| CertificateError::Malformed)
}

fn printable(value: &[u8]) -> Result<&str, CertificateError> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'~')))
        .ok_or(CertificateError::Malformed)
}

/// The common name, if there is exactly one and it is text without control characters.
fn common_name(subject: &[u8]) -> Result<Option<&str>, CertificateError> {
    let mut found = None;
    let mut names = 0_usize;
    let mut sets = Der::new(subject);
    while !sets.is_empty() {
        let mut set = Der::new(sets.take(SET)?);
        while !set.is_empty() {
            let mut attribute = Der::new(set.take(SEQUENCE)?);
            let id = attribute.take(OID)?;
            let (tag, value) = attribute.next()?;
            if id == COMMON_NAME {
                names += 1;
                let is_text = matches!(tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
                found = std::str::from_utf8(value)
                    .ok()
                    .filter(|text| is_text && !text.is_empty() && !text.contains(char::is_control));
            }
        }
    }
    Ok(found.filter(|_| names == 1))
}

/// The value of `Client-Cert` (RFC 9440, section 2.2) for a certificate in DER.
pub fn client_cert(der: &[u8]) -> String {
    let mut value = String::new();
    structured::write_bytes(&mut value, der);
    value
}

/// The value of `Client-Cert-Chain` (RFC 9440, section 2.3): the certificates after the client's
/// own, in DER.
pub fn client_cert_chain(chain: &[&[u8]]) -> String {
    let mut value = String::new();
    for (index, der) in chain.iter().enumerate() {
        if index > 0 {
            value.push_str(", ");
        }
        structured::write_bytes(&mut value, der);
    }
    value
}

/// The certificate in a `Client-Cert` that a trusted proxy wrote, in DER. Believe it only of a peer
/// in `trusted_proxies`.
///
/// # Errors
/// It is not one byte sequence without parameters, or too long.
pub fn parse_client_cert(value: &str) -> Result<Vec<u8>, CertificateError> {
    let malformed = |why| CertificateError::Field("Client-Cert", why);
    let item = structured::item(value).map_err(malformed)?;
    certificate_of(Member::Item(item)).map_err(malformed)
}

/// The certificates in a `Client-Cert-Chain`, in DER. Several lines of the field are joined by `, `
/// before.
///
/// # Errors
/// It is not a list of byte sequences, or has more than [`MAX_CHAIN`].
pub fn parse_client_cert_chain(value: &str) -> Result<Vec<Vec<u8>>, CertificateError> {
    let malformed = |why| CertificateError::Field("Client-Cert-Chain", why);
    let members = structured::list(value).map_err(malformed)?;
    if members.len() > MAX_CHAIN {
        return Err(malformed("it has too many certificates"));
    }
    members
        .into_iter()
        .map(|member| certificate_of(member).map_err(malformed))
        .collect()
}

fn certificate_of(member: Member) -> Result<Vec<u8>, &'static str> {
    match member {
        Member::Item(item) => match item.bare {
            Bare::Bytes(der) if item.parameters.0.is_empty() && der.len() <= MAX_CERTIFICATE => {
                Ok(der)
            }
            Bare::Bytes(_)
            | Bare::Integer(_)
            | Bare::Decimal(_)
            | Bare::String(_)
            | Bare::Token(_)
            | Bare::Boolean(_) => Err("it is not a certificate as a byte sequence"),
        },
        Member::InnerList(..) => Err("it is not a certificate as a byte sequence"),
    }
}
