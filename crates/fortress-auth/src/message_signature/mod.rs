//! HTTP message signatures (RFC 9421) on requests, and digests of their content (RFC 9530).
//!
//! The order is fixed, as with tokens: syntax, key, signature, and only then what the signature
//! claims. What is not understood is refused: an unknown parameter, a component of a response, a
//! structured field whose type is not known. Deliberately not here: signing, `Accept-Signature`,
//! and remembering what came already; [`Signed::replay`] is what to remember, until
//! [`Signed::until`].

mod component;
mod content_digest;
mod key;

use std::time::Duration;

use fortress_model::{Reason, Timestamp};
use http::{HeaderMap, HeaderName};

pub use component::Component;
pub use content_digest::{ContentDigest, DigestCheck, DigestError};
pub use key::{Key, Keys, MIN_SECRET, SignatureAlgorithm};

use crate::{
    Shown,
    structured::{self, Bare, Dictionary, Item, MAX_FIELD, Member, Parameters},
    verify::sha256,
};

/// The most signatures of one request, those of others included.
pub const MAX_SIGNATURES: usize = 8;
/// The most components that one signature covers.
pub const MAX_COMPONENTS: usize = 64;
/// The longest nonce, in bytes.
pub const MAX_NONCE: usize = 256;

/// Why a signature was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The request is not signed.
    #[error("the request has no `{0}`")]
    Missing(&'static str),
    /// A field is not the structured field that it should be, or too large.
    #[error("`{0}` is malformed: {1}")]
    Field(&'static str, &'static str),
    /// No signature has the tag that is demanded and a key that is known.
    #[error("no signature is by a known key{0}")]
    NoKey(Tagged),
    /// Two signatures could be meant.
    #[error("more than one signature is by a known key; send one, or give them different tags")]
    Ambiguous,
    /// A covered component is unknown, stands twice, or has no value in this request.
    #[error("the signed component `{0}` {1}")]
    Component(Shown, &'static str),
    /// A parameter of the signature is unknown or has a wrong type.
    #[error("the signature's parameter `{0}` {1}")]
    Parameter(Shown, &'static str),
    /// `alg` is not the key's algorithm.
    #[error("the signature's `alg` is not {0}, its key's algorithm")]
    Algorithm(SignatureAlgorithm),
    /// The key does not verify it.
    #[error("the request's signature does not verify")]
    Signature,
    /// Something that must be signed is not.
    #[error("the signature does not cover `{0}`")]
    Uncovered(Box<str>),
    /// There is content, and the signature does not cover its digest.
    #[error("the signature covers no `content-digest`, and the request has content")]
    ContentUncovered,
    /// A parameter that must be there is not.
    #[error("the signature has no `{0}`")]
    ParameterMissing(&'static str),
    /// Older than allowed, or past its `expires`.
    #[error("the signature expired {0} s ago")]
    Expired(u64),
    /// `expires` lies before `created`.
    #[error("the signature's `expires` lies before its `created`")]
    EndsBeforeItBegins,
    /// `created` is to come.
    #[error("the signature was made {0} s from now")]
    InFuture(u64),
}

/// The tag that was looked for, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tagged(Option<Box<str>>);

impl std::fmt::Display for Tagged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(tag) => write!(f, " under the tag `{tag}`"),
            None => Ok(()),
        }
    }
}

impl SignatureError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing(_) => Reason::CredentialMissing,
            Self::Field(..)
            | Self::Component(..)
            | Self::Parameter(..)
            | Self::EndsBeforeItBegins => Reason::CredentialMalformed,
            Self::NoKey(_)
            | Self::Ambiguous
            | Self::Algorithm(_)
            | Self::Signature
            | Self::Uncovered(_)
            | Self::ContentUncovered
            | Self::ParameterMissing(_) => Reason::CredentialInvalid,
            Self::Expired(_) | Self::InFuture(_) => Reason::CredentialExpired,
        }
    }
}

/// A request as its signer saw it.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method, in its own case.
    pub method: &'a str,
    /// `https` or `http`, as the client spoke it.
    pub scheme: &'a str,
    /// Host and port as the client wrote them; case and a default port do not matter.
    pub authority: &'a str,
    /// The path as the client sent it, before any normalisation that changes bytes.
    pub path: &'a str,
    /// What stands after `?`, if there is one.
    pub query: Option<&'a str>,
    /// The header fields as they came.
    pub fields: &'a HeaderMap,
    /// Whether content follows.
    pub content: Content,
}

/// Whether a request has content.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// None, or of no bytes.
    Absent,
    /// Some.
    Present,
}

/// What a signature must be to be accepted.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What must be covered. `@target-uri` covers scheme, authority, path and query,
    /// `@request-target` path and query. The digest of content must be covered in any case.
    pub required: Vec<Component>,
    /// Only signatures with this `tag` count; if none is named, the tag does not matter.
    pub tag: Option<Box<str>>,
    /// How old a signature may be.
    pub max_age: Duration,
    /// How far the signer's clock may be ahead: `created` may lie so far in the future. Age and
    /// `expires` hold as they are written.
    pub leeway: Duration,
    /// Whether there must be a `nonce`.
    pub nonce: Nonce,
}

/// Whether there must be a `nonce`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Nonce {
    /// There may be one.
    #[default]
    Optional,
    /// There must be one.
    Required,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            required: Component::whole_target(),
            tag: None,
            max_age: Duration::from_secs(300),
            leeway: Duration::from_secs(30),
            nonce: Nonce::Optional,
        }
    }
}

/// A request whose signature verifies. Its content is not judged yet: see
/// [`Signed::content_digest`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signed {
    /// The key's name.
    pub key_id: Box<str>,
    /// `created`, in seconds since 1970.
    pub created: u64,
    /// `nonce`, if it has one.
    pub nonce: Option<Box<str>>,
    /// Equal for two copies of one request: by the key and its nonce, without one by all that is
    /// signed.
    pub replay: [u8; 32],
    /// From then on a copy is refused for its age.
    pub until: Timestamp,
    /// The digest that the signature covers. Content may be believed only after it was checked
    /// against this.
    pub content_digest: Option<ContentDigest>,
}

/// Verifies the one signature of a request that has a known key, and the tag that is demanded.
///
/// # Errors
/// Whatever is wrong first.
pub fn verify(
    request: &SignedRequest<'_>,
    keys: &Keys,
    rules: &Rules,
    now: Timestamp,
) -> Result<Signed, SignatureError> {
    let inputs = field(request.fields, "Signature-Input")?;
    let signatures = field(request.fields, "Signature")?;
    let (label, items, parameters, key) = candidate(&inputs, keys, rules)?;
    let signature = signature_of(&signatures, label)?;
    let parameters_read = Read::new(parameters)?;
    let components = components(items)?;
    let base = signature_base(request, items, &components, parameters)?;
    if let Some(name) = parameters_read.algorithm
        && name != key.algorithm().name()
    {
        return Err(SignatureError::Algorithm(key.algorithm()));
    }
    if !key.verifies(base.as_bytes(), signature) {
        return Err(SignatureError::Signature);
    }
    check_coverage(request, &components, rules)?;
    let (created, until) = check_times(&parameters_read, rules, now)?;
    if parameters_read.nonce.is_none() && rules.nonce == Nonce::Required {
        return Err(SignatureError::ParameterMissing("nonce"));
    }
    let covers_digest = components.iter().any(|one| one.is_field("content-digest"));
    let content_digest = covers_digest
        .then(|| ContentDigest::of(request.fields))
        .transpose()
        .map_err(|error| SignatureError::Field("Content-Digest", error.why()))?;
    Ok(Signed {
        key_id: key.id().into(),
        created,
        nonce: parameters_read.nonce.map(Into::into),
        replay: replay(key.id(), parameters_read.nonce, &base),
        until,
        content_digest,
    })
}

/// A field's lines as one dictionary.
fn field(fields: &HeaderMap, name: &'static str) -> Result<Dictionary, SignatureError> {
    let malformed = |why| SignatureError::Field(name, why);
    let mut whole = String::new();
    for line in fields.get_all(name) {
        let line = line.to_str().map_err(|_| malformed("it is not ASCII"))?;
        if whole.len() + line.len() > MAX_FIELD {
            return Err(malformed("it is too long"));
        }
        if !whole.is_empty() {
            whole.push_str(", ");
        }
        whole.push_str(line);
    }
    if whole.is_empty() {
        return Err(SignatureError::Missing(name));
    }
    let members = structured::dictionary(&whole).map_err(malformed)?;
    if members.len() > MAX_SIGNATURES {
        return Err(malformed("it has too many signatures"));
    }
    Ok(members)
}

type Candidate<'a> = (&'a str, &'a [Item], &'a Parameters, &'a Key);

/// The signature that is judged. Those of others, by keys that are not known here, are passed over:
/// a request may be signed for several readers (RFC 9421, section 3.2.1).
fn candidate<'a>(
    inputs: &'a Dictionary,
    keys: &'a Keys,
    rules: &Rules,
) -> Result<Candidate<'a>, SignatureError> {
    let text = |parameters: &'a Parameters, name| match parameters.get(name) {
        Some(Bare::String(text)) => Some(text.as_str()),
        Some(_) | None => None,
    };
    let mut found = None;
    for (label, member) in inputs {
        let Member::InnerList(items, parameters) = member else {
            let why = "a signature's input is not a list of components";
            return Err(SignatureError::Field("Signature-Input", why));
        };
        if rules.tag.is_some() && rules.tag.as_deref() != text(parameters, "tag") {
            continue;
        }
        let Some(key) = text(parameters, "keyid").and_then(|id| keys.get(id)) else {
            continue;
        };
        if found
            .replace((label.as_str(), items.as_slice(), parameters, key))
            .is_some()
        {
            return Err(SignatureError::Ambiguous);
        }
    }
    found.ok_or_else(|| SignatureError::NoKey(Tagged(rules.tag.clone())))
}

fn signature_of<'a>(signatures: &'a Dictionary, label: &str) -> Result<&'a [u8], SignatureError> {
    let found = signatures.iter().find(|(name, _)| name == label);
    match found {
        Some((
            _,
            Member::Item(Item {
                bare: Bare::Bytes(bytes),
                ..
            }),
        )) => Ok(bytes),
        Some(_) => Err(SignatureError::Field(
            "Signature",
            "it is not a byte sequence",
        )),
        None => Err(SignatureError::Field(
            "Signature",
            "it has no signature for the input's label",
        )),
    }
}

fn components(items: &[Item]) -> Result<Vec<Component>, SignatureError> {
    if items.len() > MAX_COMPONENTS {
        return Err(SignatureError::Field(
            "Signature-Input",
            "it covers too many components",
        ));
    }
    let mut components: Vec<Component> = Vec::with_capacity(items.len());
    for item in items {
        let component =
            Component::of(item).map_err(|why| SignatureError::Component(shown(item), why))?;
        // RFC 9421, section 2: each component identifier occurs once.
        if components.contains(&component) {
            return Err(SignatureError::Component(shown(item), "stands twice"));
        }
        components.push(component);
    }
    Ok(components)
}

/// What is signed (RFC 9421, section 2.5).
fn signature_base(
    request: &SignedRequest<'_>,
    items: &[Item],
    components: &[Component],
    parameters: &Parameters,
) -> Result<String, SignatureError> {
    let mut base = String::new();
    for (item, component) in items.iter().zip(components) {
        structured::write_item(&mut base, item);
        base.push_str(": ");
        let value = component
            .value(request)
            .map_err(|why| SignatureError::Component(shown(item), why))?;
        // INVARIANT: no value has a line break, or one component could pretend to be two.
        if value.contains(['\r', '\n']) {
            return Err(SignatureError::Component(shown(item), "has a line break"));
        }
        base.push_str(&value);
        base.push('\n');
    }
    base.push_str("\"@signature-params\": ");
    structured::write_inner_list(&mut base, items, parameters);
    Ok(base)
}

/// The parameters of a signature (RFC 9421, section 2.3).
#[derive(Default)]
struct Read<'a> {
    created: Option<u64>,
    expires: Option<u64>,
    nonce: Option<&'a str>,
    algorithm: Option<&'a str>,
}

impl<'a> Read<'a> {
    fn new(parameters: &'a Parameters) -> Result<Self, SignatureError> {
        let mut read = Self::default();
        for (name, value) in &parameters.0 {
            let wrong = |why| SignatureError::Parameter(Shown::new(name), why);
            let time = || match value {
                Bare::Integer(time) => u64::try_from(*time).map_err(|_| wrong("is negative")),
                Bare::Decimal(_)
                | Bare::String(_)
                | Bare::Token(_)
                | Bare::Bytes(_)
                | Bare::Boolean(_) => Err(wrong("is not an integer")),
            };
            let text = || match value {
                Bare::String(text) => Ok(text.as_str()),
                Bare::Integer(_)
                | Bare::Decimal(_)
                | Bare::Token(_)
                | Bare::Bytes(_)
                | Bare::Boolean(_) => Err(wrong("is not a string")),
            };
            match name.as_str() {
                "created" => read.created = Some(time()?),
                "expires" => read.expires = Some(time()?),
                "nonce" => read.nonce = Some(text()?),
                "alg" => read.algorithm = Some(text()?),
                "keyid" | "tag" => drop(text()?),
                _ => return Err(wrong("is not known")),
            }
        }
        if read
            .nonce
            .is_some_and(|nonce| nonce.is_empty() || nonce.len() > MAX_NONCE)
        {
            let name = Shown::new("nonce");
            return Err(SignatureError::Parameter(name, "is empty or too long"));
        }
        Ok(read)
    }
}

fn check_coverage(
    request: &SignedRequest<'_>,
    components: &[Component],
    rules: &Rules,
) -> Result<(), SignatureError> {
    for required in &rules.required {
        if !components.iter().any(|one| one.covers(required)) {
            return Err(SignatureError::Uncovered(required.to_string().into()));
        }
    }
    let covers_digest = components.iter().any(|one| one.is_field("content-digest"));
    if request.content == Content::Present && !covers_digest {
        return Err(SignatureError::ContentUncovered);
    }
    Ok(())
}

/// When it was made, and from when on it is refused.
fn check_times(
    parameters: &Read<'_>,
    rules: &Rules,
    now: Timestamp,
) -> Result<(u64, Timestamp), SignatureError> {
    let created = parameters
        .created
        .ok_or(SignatureError::ParameterMissing("created"))?;
    let now = Duration::from_nanos(now.0);
    let made = Duration::from_secs(created);
    if made > now.saturating_add(rules.leeway) {
        return Err(SignatureError::InFuture(made.saturating_sub(now).as_secs()));
    }
    if parameters.expires.is_some_and(|expires| expires < created) {
        return Err(SignatureError::EndsBeforeItBegins);
    }
    let oldest = made.saturating_add(rules.max_age);
    let until = parameters
        .expires
        .map_or(oldest, |expires| oldest.min(Duration::from_secs(expires)));
    if now >= until {
        return Err(SignatureError::Expired(now.saturating_sub(until).as_secs()));
    }
    let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
    Ok((created, Timestamp(until)))
}

/// Not by the signature itself: from one ECDSA signature anybody can make a second.
fn replay(key_id: &str, nonce: Option<&str>, base: &str) -> [u8; 32] {
    let (kind, text) = nonce.map_or(("base", base), |nonce| ("nonce", nonce));
    // With their lengths, so that no two triples are hashed alike.
    let length = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes();
    sha256(&[
        &length(kind),
        kind.as_bytes(),
        &length(key_id),
        key_id.as_bytes(),
        text.as_bytes(),
    ])
}

fn shown(item: &Item) -> Shown {
    match &item.bare {
        Bare::String(name) | Bare::Token(name) | Bare::Decimal(name) => Shown::new(name),
        Bare::Integer(_) | Bare::Bytes(_) | Bare::Boolean(_) => Shown::new("(no name)"),
    }
}

/// A field's lines as one value (RFC 9421, section 2.1).
fn combined(fields: &HeaderMap, name: &HeaderName) -> Result<String, &'static str> {
    let mut whole: Option<String> = None;
    for line in fields.get_all(name) {
        let line = line.to_str().map_err(|_| "is not ASCII")?;
        let line = line.trim_matches([' ', '\t']);
        match &mut whole {
            Some(whole) => {
                whole.push_str(", ");
                whole.push_str(line);
            }
            None => whole = Some(line.to_owned()),
        }
    }
    whole.ok_or("is not in the request")
}
