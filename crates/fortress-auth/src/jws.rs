//! The compact form of a signed token (RFC 7515, section 7.1), taken apart without believing a
//! word of it. What the parts mean is judged elsewhere.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    Algorithm,
    error::{Shown, TokenError},
    json::{self, Object, Value},
};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 << 10;

/// Objects and arrays that may be open at once in a payload.
const PAYLOAD_DEPTH: usize = 16;
/// The same for a header; the only registered parameters that nest are refused anyway.
const HEADER_DEPTH: usize = 4;

/// Header parameters that are never accepted, whatever their value: they change what is verified
/// (`crit`, `b64`, `zip`), bring a key along (RFC 8725, section 3.10), or belong to an encrypted
/// token.
const FORBIDDEN: &[&str] = &[
    "crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c", "epk",
];

/// A token taken apart; every part is strict base64url.
pub(crate) struct Compact<'a> {
    /// What the signature is over: header and payload as they came.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    header: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// # Errors
    /// Too long, not three parts, or a part that is not base64url without padding, white space and
    /// non-zero trailing bits: two spellings of one token would defeat every list of used or
    /// revoked ones.
    pub(crate) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLarge);
        }
        let parts = token.bytes().filter(|&byte| byte == b'.').count() + 1;
        if parts == 5 {
            return Err(TokenError::NotCompact("five parts: it is encrypted (JWE)"));
        }
        let three = (parts == 3)
            .then(|| token.rsplit_once('.'))
            .flatten()
            .and_then(|(signed, signature)| Some((signed, signed.split_once('.')?, signature)));
        let Some((signed, (header, payload), signature)) = three else {
            return Err(TokenError::NotCompact("not three parts"));
        };
        Ok(Self {
            signed: signed.as_bytes(),
            signature: decode(signature, "the signature is not base64url")?,
            header: decode(header, "the header is not base64url")?,
            payload: decode(payload, "the payload is not base64url")?,
        })
    }

    pub(crate) fn header(&self) -> Result<Header, TokenError> {
        Header::read(&self.header_members()?, FORBIDDEN)
    }

    /// The header of a proof, and the key that the proof brings along: it shows who holds that
    /// key, and nothing else (RFC 9449, section 4.2). To be called for proofs alone: a token that
    /// brought its key could be anyone's.
    pub(crate) fn proof_header(&self) -> Result<(Header, Object), TokenError> {
        let members = self.header_members()?;
        let forbidden: Vec<&'static str> = FORBIDDEN
            .iter()
            .copied()
            .filter(|name| *name != "jwk")
            .collect();
        let header = Header::read(&members, &forbidden)?;
        let key = members
            .get("jwk")
            .and_then(Value::as_object)
            .ok_or(TokenError::Header("no object `jwk`"))?;
        Ok((header, key.clone()))
    }

    fn header_members(&self) -> Result<Object, TokenError> {
        json::read_object(&self.header, HEADER_DEPTH)
            .map_err(|rejected| TokenError::Header(rejected.what()))
    }

    pub(crate) fn payload(&self) -> Result<Object, TokenError> {
        json::read_object(&self.payload, PAYLOAD_DEPTH)
            .map_err(|rejected| TokenError::Payload(rejected.what()))
    }
}

fn decode(part: &str, otherwise: &'static str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::NotCompact(otherwise))
}

/// The header parameters that matter.
pub(crate) struct Header {
    pub(crate) algorithm: Algorithm,
    /// Opaque: compared, never parsed, never part of a path or a query.
    pub(crate) key_id: Option<Box<str>>,
    pub(crate) token_type: Option<Box<str>>,
}

impl Header {
    fn read(object: &Object, forbidden: &[&'static str]) -> Result<Self, TokenError> {
        let found = forbidden.iter().find(|name| object.get(name).is_some());
        if let Some(name) = found {
            return Err(TokenError::HeaderForbidden(name));
        }
        let token_type = text(object, "typ", "`typ` is not a string")?;
        text(object, "cty", "`cty` is not a string")?;
        let key_id = text(object, "kid", "`kid` is not a string")?;
        let name =
            text(object, "alg", "`alg` is not a string")?.ok_or(TokenError::Header("no `alg`"))?;
        let algorithm = Algorithm::from_name(&name)
            .ok_or_else(|| TokenError::AlgorithmUnknown(Shown::new(&name)))?;
        Ok(Self {
            algorithm,
            key_id,
            token_type,
        })
    }
}

fn text(
    object: &Object,
    name: &str,
    otherwise: &'static str,
) -> Result<Option<Box<str>>, TokenError> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Header(otherwise)),
    }
}
