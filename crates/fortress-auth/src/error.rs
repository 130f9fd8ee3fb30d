//! Why a token or a key set was refused. A refusal never repeats what was refused, save the names
//! in `alg`, `kid` and `typ`: cut, and escaped to printable ASCII, since an attacker writes them.

use std::fmt::{self, Write as _};

use fortress_model::Reason;

use crate::Algorithm;

/// Why a token was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN`](crate::MAX_TOKEN).
    #[error("the token is longer than {} bytes", crate::MAX_TOKEN)]
    TooLarge,
    /// Not `header.payload.signature`, each strict base64url (RFC 7515, sections 2 and 7.1).
    #[error("the token is not a compact JWS: {0}")]
    NotCompact(&'static str),
    /// The header is not strict JSON, or a parameter of it has the wrong type.
    #[error("the token's header is malformed: {0}")]
    Header(&'static str),
    /// A header parameter that would change what is verified, or with which key.
    #[error("the token's header has `{0}`, which is never accepted")]
    HeaderForbidden(&'static str),
    /// `alg` is `none`, symmetric, or a name that is not known.
    #[error("the token's algorithm `{0}` is never accepted")]
    AlgorithmUnknown(Shown),
    /// The configuration does not list the algorithm.
    #[error("the token's algorithm `{0}` is not in the configured `algorithms`")]
    AlgorithmRefused(Algorithm),
    /// The key that the token names is not a key for its algorithm.
    #[error("the token's algorithm `{algorithm}` does not fit the key `{key_id}`")]
    KeyMismatch {
        /// The token's `alg`.
        algorithm: Algorithm,
        /// The token's `kid`.
        key_id: Shown,
    },
    /// No key has the token's `kid`, or, where it names none, no key is one for its algorithm.
    ///
    /// The issuer may have a new key: fetching its keys again may help.
    #[error("no key {} for the token's algorithm `{algorithm}`", Named(.key_id.as_ref()))]
    UnknownKey {
        /// The token's `alg`.
        algorithm: Algorithm,
        /// The token's `kid`.
        key_id: Option<Shown>,
    },
    /// `typ` is not the one that is demanded.
    #[error("the token's type {} is not accepted here", Named(.0.as_ref()))]
    Type(Option<Shown>),
    /// No key verifies the signature.
    #[error("the token's signature does not verify")]
    Signature,
    /// The payload is not strict JSON.
    #[error("the token's payload is malformed: {0}")]
    Payload(&'static str),
    /// A claim that must be there is not.
    #[error("the token has no `{0}`")]
    ClaimMissing(&'static str),
    /// A claim has the wrong type, or a value that its type cannot have.
    #[error("the token's `{claim}` is not {expected}")]
    ClaimMalformed {
        /// The claim's name; one of those that Fortress reads.
        claim: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// `iss` is not the configured issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` names none of the configured audiences.
    #[error("the token is for another audience")]
    Audience,
    /// `exp` has passed.
    #[error("the token expired {0} s ago")]
    Expired(u64),
    /// `nbf` is to come.
    #[error("the token is not valid before {0} s from now")]
    NotYetValid(u64),
    /// `iat` is to come.
    #[error("the token says that it was issued {0} s from now")]
    IssuedInFuture(u64),
    /// The issuer, asked about the token, says that it does not count (RFC 7662, section 2.2).
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// Not what RFC 6750, section 2.1, calls a token: its issuer is not asked about it.
    #[error("the token has characters that no bearer token has")]
    NotOpaque,
    /// `cnf` binds it to something that cannot be checked here (RFC 7800), so that nobody can be
    /// known to be its holder.
    #[error("the token is bound (`cnf`) in a way that is not verified here")]
    Unbindable,
    /// The issuer says that it is a token of another kind, such as a refresh token.
    #[error("the issuer says that the token is no access token")]
    NotAccessToken,
    /// It was revoked here.
    #[error("the token was revoked: {0}")]
    Revoked(RevokedBy),
}

/// Which revocation a token fell under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevokedBy {
    /// One of this very token.
    Token,
    /// One of its subject.
    Subject,
    /// One of the client that it was issued to.
    Client,
    /// One of its issuer.
    Issuer,
    /// One of every token.
    Everything,
}

impl fmt::Display for RevokedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token => "by its id",
            Self::Subject => "by its subject",
            Self::Client => "by its client",
            Self::Issuer => "by its issuer",
            Self::Everything => "with all others of its time",
        })
    }
}

impl TokenError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge
            | Self::NotOpaque
            | Self::NotCompact(_)
            | Self::Header(_)
            | Self::Payload(_)
            | Self::ClaimMalformed { .. } => Reason::CredentialMalformed,
            Self::HeaderForbidden(_)
            | Self::AlgorithmUnknown(_)
            | Self::AlgorithmRefused(_)
            | Self::KeyMismatch { .. }
            | Self::UnknownKey { .. }
            | Self::Type(_)
            | Self::Signature
            | Self::ClaimMissing(_)
            | Self::Issuer
            | Self::Audience
            | Self::Inactive
            | Self::NotAccessToken
            | Self::Unbindable
            | Self::Revoked(_) => Reason::CredentialInvalid,
            Self::Expired(_) | Self::NotYetValid(_) | Self::IssuedInFuture(_) => {
                Reason::CredentialExpired
            }
        }
    }
}

/// Why a key set was refused as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// Longer than [`MAX_KEY_SET`](crate::MAX_KEY_SET).
    #[error("the key set is longer than {} bytes", crate::MAX_KEY_SET)]
    TooLarge,
    /// More keys than [`MAX_KEYS`](crate::MAX_KEYS).
    #[error("the key set has {0} keys; at most {max} are accepted", max = crate::MAX_KEYS)]
    TooManyKeys(usize),
    /// Not a JWK Set (RFC 7517, section 5).
    #[error("the key set is malformed: {0}")]
    Malformed(&'static str),
}

/// A name out of a token or key set that is safe to print: at most 48 characters of printable
/// ASCII, none of which is a quote, a backquote or a backslash that was not put there to escape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown(Box<str>);

impl Shown {
    /// Cuts and escapes a name.
    pub fn new(name: &str) -> Self {
        const LENGTH: usize = 48;
        const CUT: &str = "...";
        let mut shown = String::new();
        for character in name.chars() {
            let before = shown.len();
            match character {
                '`' | '"' | '\'' | '\\' => shown.extend(['\\', character]),
                ' '..='~' => shown.push(character),
                _ => shown.extend(character.escape_unicode()),
            }
            if shown.len() > LENGTH - CUT.len() {
                shown.truncate(before);
                shown.push_str(CUT);
                break;
            }
        }
        Self(shown.into_boxed_str())
    }

    /// The name as it is printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name, or that there is none.
struct Named<'a>(Option<&'a Shown>);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => {
                f.write_char('`')?;
                f.write_str(name.as_str())?;
                f.write_char('`')
            }
            None => f.write_str("(none given)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shown(name: &str, expected: &str) {
        assert_eq!(Shown::new(name).as_str(), expected);
    }

    #[test]
    fn names_are_cut_and_escaped() {
        shown("", "");
        shown("2026-01 key/1", "2026-01 key/1");
        shown("a\r\nb\0", "a\\u{d}\\u{a}b\\u{0}");
        shown("\u{1b}[31m", "\\u{1b}[31m");
        shown("é\u{202e}", "\\u{e9}\\u{202e}");
        shown("`'\"\\", "\\`\\'\\\"\\\\");
        shown(&"k".repeat(45), &"k".repeat(45));
        shown(&"k".repeat(46), &format!("{}...", "k".repeat(45)));
        shown(
            &"\u{10ffff}".repeat(1000),
            &format!("{}...", "\\u{10ffff}".repeat(4)),
        );
    }

    #[test]
    fn an_absent_name_cannot_be_given() {
        let named = |name: Option<&str>| TokenError::Type(name.map(Shown::new)).to_string();
        assert_eq!(
            named(None),
            "the token's type (none given) is not accepted here"
        );
        assert_eq!(
            named(Some("(none given)")),
            "the token's type `(none given)` is not accepted here"
        );
    }
}
