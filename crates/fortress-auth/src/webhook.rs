//! Webhooks signed by HMAC under a shared secret: what GitHub, Stripe, Slack and the Standard
//! Webhooks send, and others that are like them.
//!
//! The body is hashed as it arrives. Deliberately not here: remembering which messages came
//! already; [`Accepted::replay`] is what to remember, until [`Accepted::until`].

use std::{fmt, time::Duration};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use fortress_model::{Reason, Secret, Timestamp};
use http::{HeaderMap, HeaderName};

use crate::verify::sha256;

/// The shortest secret that is taken, in bytes.
pub const MIN_SECRET: usize = 16;
/// The most secrets that are valid at once.
pub const MAX_SECRETS: usize = 4;
/// The most signatures of one message that are looked at.
pub const MAX_SIGNATURES: usize = 8;
/// The longest header field that is looked at, in bytes.
const MAX_FIELD: usize = 4 << 10;
/// The longest message id, in bytes.
const MAX_ID: usize = 256;

/// Why a webhook was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// A header field that must be there is not.
    #[error("the webhook has no `{0}`")]
    Missing(HeaderName),
    /// A header field cannot be read.
    #[error("the webhook's `{0}` is malformed: {1}")]
    Malformed(HeaderName, &'static str),
    /// Older than the tolerance.
    #[error("the webhook was signed {0} s ago")]
    TooOld(u64),
    /// Newer than the tolerance.
    #[error("the webhook was signed {0} s from now")]
    InFuture(u64),
    /// No secret makes one of its signatures.
    #[error("the webhook's signature does not verify")]
    Signature,
}

impl WebhookError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing(_) => Reason::CredentialMissing,
            Self::Malformed(..) => Reason::CredentialMalformed,
            Self::TooOld(_) | Self::InFuture(_) => Reason::CredentialExpired,
            Self::Signature => Reason::CredentialInvalid,
        }
    }
}

/// The form of a webhook's signature.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// The field with the signature.
    pub header: HeaderName,
    /// How the field is written.
    pub layout: Layout,
    /// How a signature is written.
    pub encoding: Encoding,
    /// The hash under the HMAC.
    pub hash: Hash,
    /// What is signed before the body.
    pub content: Content,
    /// The field with the time in seconds since 1970; `None` if there is none, or it stands in the
    /// signature's own field.
    pub timestamp: Option<HeaderName>,
    /// The field with the message's id.
    pub id: Option<HeaderName>,
    /// How far the signer's time may be from ours. Needs a time.
    pub tolerance: Duration,
}

/// How a signature's field is written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Layout {
    /// One signature, after this prefix (`sha256=`), which may be empty.
    Plain(Box<str>),
    /// `t=TIME,v1=SIGNATURE`: a time, and signatures under this name (`v1`); others are passed
    /// over.
    Pairs(Box<str>),
    /// `v1,SIGNATURE v1,SIGNATURE`: signatures under this name, separated by spaces.
    Versions(Box<str>),
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// Two digits a byte, in either case.
    Hex,
    /// RFC 4648, section 4, with padding.
    Base64,
}

/// The hash under the HMAC. SHA-1 is not offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// What is signed: text with `{timestamp}` and `{id}`, and then the body.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Content(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(Box<str>),
    Timestamp,
    Id,
}

impl Content {
    /// Reads a template such as `{timestamp}.{body}`. The body stands at the end, once.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(template: &str) -> Result<Self, &'static str> {
        const HELP: &str =
            "write what is signed, with `{body}` at its end, such as `{timestamp}.{body}`";
        let mut rest = template.strip_suffix("{body}").ok_or(HELP)?;
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("{timestamp}") {
                pieces.push(Piece::Timestamp);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{id}") {
                pieces.push(Piece::Id);
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let (text, after) = rest.split_at_checked(end).ok_or(HELP)?;
                if text.is_empty() || text.contains('}') {
                    return Err(HELP);
                }
                pieces.push(Piece::Text(text.into()));
                rest = after;
            }
        }
        Ok(Self(pieces))
    }

    fn has(&self, piece: &Piece) -> bool {
        self.0.contains(piece)
    }
}

/// A form that is known by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preset {
    /// `X-Hub-Signature-256: sha256=HEX` over the body. GitHub sends no time, so that only
    /// remembering [`Accepted::replay`] stops a replay.
    Github,
    /// `Stripe-Signature: t=TIME,v1=HEX` over `TIME.BODY`.
    Stripe,
    /// `X-Slack-Signature: v0=HEX` over `v0:TIME:BODY`.
    Slack,
    /// `webhook-signature: v1,BASE64` over `ID.TIME.BODY` (Standard Webhooks 1.0).
    StandardWebhooks,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 4] = [
        Self::Github,
        Self::Stripe,
        Self::Slack,
        Self::StandardWebhooks,
    ];

    /// As the configuration names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Stripe => "stripe",
            Self::Slack => "slack",
            Self::StandardWebhooks => "standard-webhooks",
        }
    }

    /// The preset of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// The form that it stands for.
    pub fn scheme(self) -> Scheme {
        let named = HeaderName::from_static;
        let text = |text: &str| Piece::Text(text.into());
        let tolerance = Duration::from_secs(300);
        let (header, layout, content) = match self {
            Self::Github => (
                named("x-hub-signature-256"),
                Layout::Plain("sha256=".into()),
                vec![],
            ),
            Self::Stripe => (
                named("stripe-signature"),
                Layout::Pairs("v1".into()),
                vec![Piece::Timestamp, text(".")],
            ),
            Self::Slack => (
                named("x-slack-signature"),
                Layout::Plain("v0=".into()),
                vec![text("v0:"), Piece::Timestamp, text(":")],
            ),
            Self::StandardWebhooks => (
                named("webhook-signature"),
                Layout::Versions("v1".into()),
                vec![Piece::Id, text("."), Piece::Timestamp, text(".")],
            ),
        };
        let (timestamp, id) = match self {
            Self::Github | Self::Stripe => (None, None),
            Self::Slack => (Some(named("x-slack-request-timestamp")), None),
            Self::StandardWebhooks => (Some(named("webhook-timestamp")), Some(named("webhook-id"))),
        };
        let encoding = match self {
            Self::Github | Self::Stripe | Self::Slack => Encoding::Hex,
            Self::StandardWebhooks => Encoding::Base64,
        };
        Scheme {
            header,
            layout,
            encoding,
            hash: Hash::Sha256,
            content: Content(content),
            timestamp,
            id,
            tolerance,
        }
    }

    /// The bytes of a secret as the sender shows it: the Standard Webhooks write `whsec_` and
    /// base64, the others the bytes themselves.
    ///
    /// # Errors
    /// What it should be.
    pub fn secret(self, shown: &str) -> Result<Secret<Vec<u8>>, &'static str> {
        match self {
            Self::Github | Self::Stripe | Self::Slack => Ok(Secret::new(shown.as_bytes().to_vec())),
            Self::StandardWebhooks => STANDARD
                .decode(shown.strip_prefix("whsec_").unwrap_or(shown))
                .map(Secret::new)
                .map_err(|_| "it is not `whsec_` and base64"),
        }
    }
}

/// Verifies the webhooks of one sender.
pub struct Webhook {
    scheme: Scheme,
    /// Several during a rotation.
    keys: Vec<hmac::Key>,
}

/// A webhook that may be believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// Which of the secrets made the signature, from 0.
    pub secret: usize,
    /// When it was signed, in seconds since 1970, if it says so.
    pub signed: Option<u64>,
    /// Equal for two copies of one message.
    pub replay: [u8; 32],
    /// From then on a copy is refused for its age; `None` if it has no time.
    pub until: Option<Timestamp>,
}

impl Webhook {
    /// Takes a form and one to [`MAX_SECRETS`] secrets.
    ///
    /// # Errors
    /// A secret shorter than [`MIN_SECRET`], too few or too many, or content that needs a field
    /// which the form does not name.
    pub fn new(scheme: Scheme, secrets: &[Secret<Vec<u8>>]) -> Result<Self, &'static str> {
        if secrets.is_empty() || secrets.len() > MAX_SECRETS {
            return Err("a webhook has one to four secrets");
        }
        if secrets
            .iter()
            .any(|secret| secret.expose().len() < MIN_SECRET)
        {
            return Err("a webhook's secret has at least 16 bytes");
        }
        let in_field = matches!(scheme.layout, Layout::Pairs(_));
        let has_time = in_field || scheme.timestamp.is_some();
        if scheme.content.has(&Piece::Timestamp) != has_time {
            // A time that is not signed can be changed by whoever replays the message.
            return Err(
                "a time must be signed, and what is signed must be sent: name `timestamp` and write `{timestamp}`, or neither",
            );
        }
        if scheme.content.has(&Piece::Id) != scheme.id.is_some() {
            return Err(
                "an id must be signed, and what is signed must be sent: name `id` and write `{id}`, or neither",
            );
        }
        let algorithm = match scheme.hash {
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        let keys = secrets
            .iter()
            .map(|secret| hmac::Key::new(algorithm, secret.expose()))
            .collect();
        Ok(Self { scheme, keys })
    }

    /// Reads the header fields, before the body is there.
    ///
    /// # Errors
    /// A field is missing or malformed, or the time is out of the tolerance.
    pub fn begin(&self, fields: &HeaderMap, now: Timestamp) -> Result<Checking, WebhookError> {
        let scheme = &self.scheme;
        let value = only(fields, &scheme.header)?;
        let (time, signatures) = self.signatures(value)?;
        let time = match &scheme.timestamp {
            Some(name) => Some((name, only(fields, name)?)),
            None => time.map(|time| (&scheme.header, time)),
        };
        let signed = time
            .map(|(name, digits)| seconds(name, digits))
            .transpose()?;
        if let Some(signed) = signed {
            self.check_time(signed, now)?;
        }
        let id = match &scheme.id {
            Some(name) => message_id(name, only(fields, name)?)?,
            None => "",
        };
        let mut contexts: Vec<hmac::Context> =
            self.keys.iter().map(hmac::Context::with_key).collect();
        for context in &mut contexts {
            for piece in &scheme.content.0 {
                let text = match piece {
                    Piece::Text(text) => text,
                    Piece::Timestamp => time.map_or("", |(_, digits)| digits),
                    Piece::Id => id,
                };
                context.update(text.as_bytes());
            }
        }
        let until = signed.map(|signed| {
            let last = Duration::from_secs(signed).saturating_add(scheme.tolerance);
            Timestamp(u64::try_from(last.as_nanos()).unwrap_or(u64::MAX))
        });
        Ok(Checking {
            contexts,
            signatures,
            signed,
            until,
        })
    }

    /// The time, if the layout has one, and the signatures of a field.
    fn signatures<'v>(
        &self,
        value: &'v str,
    ) -> Result<(Option<&'v str>, Vec<Vec<u8>>), WebhookError> {
        let header = &self.scheme.header;
        let malformed = |why| WebhookError::Malformed(header.clone(), why);
        let mut time = None;
        let mut written = Vec::new();
        match &self.scheme.layout {
            Layout::Plain(prefix) => {
                let signature = value.strip_prefix(&**prefix);
                written.push(signature.ok_or_else(|| malformed("it has another prefix"))?);
            }
            Layout::Pairs(version) => {
                for pair in value.split(',') {
                    let (name, value) = pair
                        .trim_matches(' ')
                        .split_once('=')
                        .ok_or_else(|| malformed("a part has no `=`"))?;
                    if name == "t" && time.replace(value).is_some() {
                        return Err(malformed("it has two times"));
                    }
                    if *name == **version {
                        written.push(value);
                    }
                }
                if time.is_none() {
                    return Err(malformed("it has no time"));
                }
            }
            Layout::Versions(version) => {
                for part in value.split(' ') {
                    let (name, signature) = part
                        .split_once(',')
                        .ok_or_else(|| malformed("a part has no `,`"))?;
                    if *name == **version {
                        written.push(signature);
                    }
                }
            }
        }
        if written.is_empty() || written.len() > MAX_SIGNATURES {
            return Err(malformed(
                "it has no signature of a known version, or too many",
            ));
        }
        let signatures = written
            .into_iter()
            .map(|text| {
                self.decode(text)
                    .ok_or_else(|| malformed("a signature is badly encoded"))
            })
            .collect::<Result<_, _>>()?;
        Ok((time, signatures))
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        match self.scheme.encoding {
            Encoding::Hex => hex(text),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        }
    }

    fn check_time(&self, signed: u64, now: Timestamp) -> Result<(), WebhookError> {
        let now = now.seconds();
        let tolerance = self.scheme.tolerance.as_secs();
        let (age, ahead) = (now.saturating_sub(signed), signed.saturating_sub(now));
        if age > tolerance {
            return Err(WebhookError::TooOld(age));
        }
        if ahead > tolerance {
            return Err(WebhookError::InFuture(ahead));
        }
        Ok(())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Webhook({}, {} secrets)",
            self.scheme.header,
            self.keys.len()
        )
    }
}

/// A webhook whose header fields were read and whose body is being read.
pub struct Checking {
    /// One for each secret.
    contexts: Vec<hmac::Context>,
    signatures: Vec<Vec<u8>>,
    signed: Option<u64>,
    until: Option<Timestamp>,
}

impl Checking {
    /// Takes the next bytes of the body, as they came (before `Content-Encoding` is undone).
    pub fn update(&mut self, body: &[u8]) {
        for context in &mut self.contexts {
            context.update(body);
        }
    }

    /// Judges the whole.
    ///
    /// # Errors
    /// No secret makes one of the signatures.
    pub fn finish(self) -> Result<Accepted, WebhookError> {
        let tags: Vec<hmac::Tag> = self.contexts.into_iter().map(hmac::Context::sign).collect();
        let mut verified = None;
        // Each secret is compared with each signature, so that the time tells nothing of which.
        for (secret, tag) in tags.iter().enumerate() {
            for signature in &self.signatures {
                if verify_slices_are_equal(tag.as_ref(), signature).is_ok() {
                    verified = Some(secret);
                }
            }
        }
        let (Some(secret), Some(first)) = (verified, tags.first()) else {
            return Err(WebhookError::Signature);
        };
        // By the first secret, whichever made the signature: a message that is signed under two
        // is still one message.
        Ok(Accepted {
            secret,
            signed: self.signed,
            replay: sha256(&[first.as_ref()]),
            until: self.until,
        })
    }
}

impl fmt::Debug for Checking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checking({} signatures)", self.signatures.len())
    }
}

/// The one value of a field.
fn only<'f>(fields: &'f HeaderMap, name: &HeaderName) -> Result<&'f str, WebhookError> {
    let malformed = |why| WebhookError::Malformed(name.clone(), why);
    let mut values = fields.get_all(name).iter();
    let value = values
        .next()
        .ok_or_else(|| WebhookError::Missing(name.clone()))?;
    if values.next().is_some() {
        return Err(malformed("it stands twice"));
    }
    if value.len() > MAX_FIELD {
        return Err(malformed("it is too long"));
    }
    value.to_str().map_err(|_| malformed("it is not ASCII"))
}

fn seconds(name: &HeaderName, digits: &str) -> Result<u64, WebhookError> {
    let is_number =
        (1..=12).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| digits.parse().ok()).flatten();
    number.ok_or_else(|| {
        WebhookError::Malformed(name.clone(), "its time is not in seconds since 1970")
    })
}

fn message_id<'v>(name: &HeaderName, id: &'v str) -> Result<&'v str, WebhookError> {
    // What is signed is `id.time.body`: a dot in the id would let one message be read as another.
    if id.is_empty() || id.len() > MAX_ID || id.contains('.') {
        let why = "an id is short, not empty, and has no `.`";
        return Err(WebhookError::Malformed(name.clone(), why));
    }
    Ok(id)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}
