//! `Content-Digest` (RFC 9530), checked while the content arrives.

use std::fmt;

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use fortress_model::Reason;
use http::{HeaderMap, HeaderName};

use super::combined;
use crate::structured::{self, Bare, Member};

/// Why a digest was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DigestError {
    /// Not a dictionary of byte sequences, a digest of the wrong length, or none that is known.
    #[error("`Content-Digest` is malformed: {0}")]
    Malformed(&'static str),
    /// The content has another digest.
    #[error("the content is not what `Content-Digest` says")]
    Mismatch,
}

impl DigestError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Malformed(_) => Reason::CredentialMalformed,
            Self::Mismatch => Reason::CredentialInvalid,
        }
    }

    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Malformed(why) => why,
            Self::Mismatch => "it is another content's",
        }
    }
}

/// What the content must hash to. Digests by algorithms other than SHA-256 and SHA-512 are passed
/// over (RFC 9530, section 2), but one of these must be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContentDigest {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

impl ContentDigest {
    /// Reads the field of a request.
    ///
    /// # Errors
    /// It is missing or malformed, or has no digest by SHA-256 or SHA-512.
    pub fn of(fields: &HeaderMap) -> Result<Self, DigestError> {
        let name = HeaderName::from_static("content-digest");
        let whole = combined(fields, &name).map_err(DigestError::Malformed)?;
        let members = structured::dictionary(&whole).map_err(DigestError::Malformed)?;
        let mut found = Self {
            sha256: None,
            sha512: None,
        };
        for (algorithm, member) in members {
            let Member::Item(item) = member else {
                return Err(DigestError::Malformed("a digest is not a byte sequence"));
            };
            let Bare::Bytes(bytes) = item.bare else {
                return Err(DigestError::Malformed("a digest is not a byte sequence"));
            };
            let (place, length) = match algorithm.as_str() {
                "sha-256" => (&mut found.sha256, 32),
                "sha-512" => (&mut found.sha512, 64),
                _ => continue,
            };
            if bytes.len() != length {
                return Err(DigestError::Malformed("a digest has the wrong length"));
            }
            *place = Some(bytes);
        }
        if found.sha256.is_none() && found.sha512.is_none() {
            let why = "it has no digest by `sha-256` or `sha-512`";
            return Err(DigestError::Malformed(why));
        }
        Ok(found)
    }

    /// Begins to check content.
    pub fn check(self) -> DigestCheck {
        let with = |algorithm, expected: Option<Vec<u8>>| {
            expected.map(|expected| (digest::Context::new(algorithm), expected))
        };
        let digests = [
            with(&digest::SHA256, self.sha256),
            with(&digest::SHA512, self.sha512),
        ];
        DigestCheck {
            digests: digests.into_iter().flatten().collect(),
        }
    }
}

/// Content being hashed.
pub struct DigestCheck {
    digests: Vec<(digest::Context, Vec<u8>)>,
}

impl DigestCheck {
    /// Takes the next bytes of the content, as they came (with its `Content-Encoding`).
    pub fn update(&mut self, content: &[u8]) {
        for (context, _) in &mut self.digests {
            context.update(content);
        }
    }

    /// Judges the whole: every digest must be right.
    ///
    /// # Errors
    /// One is not.
    pub fn finish(self) -> Result<(), DigestError> {
        for (context, expected) in self.digests {
            verify_slices_are_equal(context.finish().as_ref(), &expected)
                .map_err(|_| DigestError::Mismatch)?;
        }
        Ok(())
    }
}

impl fmt::Debug for DigestCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DigestCheck({} digests)", self.digests.len())
    }
}
