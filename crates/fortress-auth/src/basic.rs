//! Basic authentication (RFC 7617) against argon2id hashes.
//!
//! A hash costs tens of milliseconds and megabytes on purpose, so a credential that was verified is
//! remembered for a short while, by a keyed hash of the whole of it. Deliberately not here: the
//! bound on how many hashes are computed at once, and that the connection is TLS; both are the
//! gateway's.

use std::{fmt, sync::Arc, time::Duration};

use argon2::Argon2;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use fortress_model::{Reason, Secret, Timestamp};
use quick_cache::sync;

/// The longest credential that is looked at, in bytes of base64.
pub const MAX_CREDENTIAL: usize = 1 << 10;
/// The most users of one entry of `identity`.
pub const MAX_USERS: usize = 10_000;

/// OWASP's minima for argon2id (Password Storage Cheat Sheet): memory in KiB and passes, each pair
/// as strong as the others.
const MINIMA: [(u32, u32); 5] = [
    (47_104, 1),
    (19_456, 2),
    (12_288, 3),
    (9_216, 4),
    (7_168, 5),
];
/// The most memory that one hash may take, in KiB, so that a slip in a hash cannot take the
/// machine down.
const MAX_MEMORY: u32 = 256 << 10;
/// The most passes.
const MAX_PASSES: u32 = 16;
/// The most lanes.
const MAX_LANES: u32 = 8;

/// Why a credential was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BasicError {
    /// Longer than [`MAX_CREDENTIAL`].
    #[error("the basic credential is longer than {MAX_CREDENTIAL} bytes")]
    TooLarge,
    /// Not `name:password` in base64 (RFC 7617, section 2).
    #[error("the basic credential is malformed: {0}")]
    Malformed(&'static str),
    /// No such user, or another password: which of the two is not said.
    #[error("the name or the password is wrong")]
    Wrong,
    /// The hash could not be computed, for want of memory.
    #[error("the password could not be hashed")]
    Failed,
}

impl BasicError {
    /// The refusal that this is.
    pub fn reason(&self) -> Reason {
        match self {
            Self::TooLarge | Self::Malformed(_) => Reason::CredentialMalformed,
            Self::Wrong | Self::Failed => Reason::CredentialInvalid,
        }
    }
}

/// A name and a password that somebody claims.
pub struct BasicCredential {
    whole: Secret<Vec<u8>>,
    name: Box<str>,
    /// Where the password begins in `whole`.
    password: usize,
}

impl BasicCredential {
    /// Reads what stands after `Basic ` in `Authorization`.
    ///
    /// # Errors
    /// Too long, not base64, not UTF-8, a control character (RFC 7617, section 2), no colon, or an
    /// empty name.
    pub fn parse(value: &str) -> Result<Self, BasicError> {
        if value.len() > MAX_CREDENTIAL {
            return Err(BasicError::TooLarge);
        }
        let whole = STANDARD
            .decode(value)
            .map(Secret::new)
            .map_err(|_| BasicError::Malformed("it is not base64"))?;
        let text = std::str::from_utf8(whole.expose())
            .map_err(|_| BasicError::Malformed("it is not UTF-8"))?;
        if text.contains(char::is_control) {
            return Err(BasicError::Malformed("it has a control character"));
        }
        let (name, password) = text
            .split_once(':')
            .ok_or(BasicError::Malformed("it has no colon"))?;
        if name.is_empty() {
            return Err(BasicError::Malformed("it has no name"));
        }
        let (name, password) = (name.into(), text.len() - password.len());
        Ok(Self {
            whole,
            name,
            password,
        })
    }

    /// The name that is claimed.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn password(&self) -> &[u8] {
        self.whole.expose().get(self.password..).unwrap_or_default()
    }
}

impl fmt::Debug for BasicCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredential([redacted])")
    }
}

/// A password's hash with what it was made with: a PHC string
/// `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
#[derive(Clone)]
pub struct PasswordHash {
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    hash: Secret<Vec<u8>>,
}

impl PasswordHash {
    /// Reads a PHC string.
    ///
    /// # Errors
    /// It is not one of argon2id version 19, weaker than OWASP's minimum, so costly that it would
    /// harm this machine, or its salt or hash is too short. The text says what to do and nothing of
    /// the hash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('$');
        let form = "it is not `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`; make one with `fortress keys hash-password`";
        if parts.next() != Some("") || parts.next() != Some("argon2id") {
            return Err(form.into());
        }
        if parts.next() != Some("v=19") {
            return Err(form.into());
        }
        let (memory, passes, lanes) = parts.next().and_then(parameters).ok_or(form)?;
        let mut bytes = || STANDARD_NO_PAD.decode(parts.next()?).ok();
        let (salt, hash) = (bytes().ok_or(form)?, bytes().ok_or(form)?);
        if parts.next().is_some() {
            return Err(form.into());
        }
        if !MINIMA
            .iter()
            .any(|(least, times)| memory >= *least && passes >= *times)
        {
            return Err(format!(
                "argon2id with m={memory},t={passes} is too weak; at least m=19456,t=2 is needed"
            ));
        }
        if memory > MAX_MEMORY || passes > MAX_PASSES || !(1..=MAX_LANES).contains(&lanes) {
            return Err(format!(
                "argon2id with m={memory},t={passes},p={lanes} is too costly; at most m={MAX_MEMORY},t={MAX_PASSES},p={MAX_LANES}"
            ));
        }
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) {
            return Err("a salt has 8 to 64 bytes and a hash 16 to 64".into());
        }
        Ok(Self {
            memory,
            passes,
            lanes,
            salt,
            hash: Secret::new(hash),
        })
    }

    /// Whether a password has this hash. Takes tens of milliseconds and `m` KiB of memory.
    fn verifies(&self, password: &[u8]) -> Result<bool, BasicError> {
        let length = self.hash.expose().len();
        let hash = derive(
            password,
            &self.salt,
            self.memory,
            self.passes,
            self.lanes,
            length,
        )?;
        Ok(verify_slices_are_equal(hash.expose(), self.hash.expose()).is_ok())
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (m, t, p) = (self.memory, self.passes, self.lanes);
        write!(f, "PasswordHash(argon2id m={m},t={t},p={p})")
    }
}

/// Makes the PHC string of a password, with OWASP's parameters (19 MiB, two passes) and this salt,
/// which must be random.
///
/// # Errors
/// There is not enough memory.
pub fn hash(password: &Secret<String>, salt: [u8; 16]) -> Result<String, BasicError> {
    let (memory, passes, lanes) = (19_456, 2, 1);
    let hash = derive(
        password.expose().as_bytes(),
        &salt,
        memory,
        passes,
        lanes,
        32,
    )?;
    let (salt, hash) = (
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash.expose()),
    );
    Ok(format!(
        "$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}"
    ))
}

/// The users of one entry of `identity`, and those of their credentials that were verified lately.
pub struct BasicUsers {
    users: Vec<(Arc<str>, PasswordHash)>,
    /// Names credentials in the cache: whoever reads this process's memory finds no password
    /// there that can be guessed at without it.
    key: hmac::Key,
    verified: sync::Cache<[u8; 32], (Arc<str>, Timestamp)>,
    /// How long a verified credential is believed without hashing it again.
    remember: Duration,
}

impl BasicUsers {
    /// Takes users by name with their hashes; a random key; how many verified credentials are
    /// remembered, and for how long.
    ///
    /// # Errors
    /// No user, more than [`MAX_USERS`], a name twice, empty, with a colon or a control character.
    pub fn new(
        users: Vec<(String, PasswordHash)>,
        key: &[u8; 32],
        entries: usize,
        remember: Duration,
    ) -> Result<Self, String> {
        if users.is_empty() || users.len() > MAX_USERS {
            return Err(format!("name one to {MAX_USERS} users"));
        }
        let mut users: Vec<(Arc<str>, PasswordHash)> = users
            .into_iter()
            .map(|(name, hash)| (name.into(), hash))
            .collect();
        users.sort_by(|one, other| one.0.cmp(&other.0));
        let pairs = users.iter().zip(users.iter().skip(1));
        if let Some((twice, _)) = pairs.into_iter().find(|(one, next)| one.0 == next.0) {
            return Err(format!("`{}` stands twice", twice.0));
        }
        let odd =
            |name: &str| name.is_empty() || name.contains(':') || name.contains(char::is_control);
        if users.iter().any(|(name, _)| odd(name)) {
            return Err("a name is not empty, and has no colon and no control character".into());
        }
        Ok(Self {
            users,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            verified: sync::Cache::new(entries),
            remember,
        })
    }

    /// Whose credential this is, if it was verified lately. Costs one HMAC.
    pub fn remembered(&self, credential: &BasicCredential, now: Timestamp) -> Option<Arc<str>> {
        let name = self.cache_name(credential);
        let (user, until) = self.verified.get(&name)?;
        if now < until {
            return Some(user);
        }
        self.verified.remove(&name);
        None
    }

    /// Whose credential this is. Takes tens of milliseconds of one core and tens of megabytes, so
    /// ask [`Self::remembered`] first, bound how many run at once, and keep it off the threads that
    /// serve.
    ///
    /// # Errors
    /// The name or the password is wrong; an unknown name costs as much as a wrong password.
    pub fn verify(
        &self,
        credential: &BasicCredential,
        now: Timestamp,
    ) -> Result<Arc<str>, BasicError> {
        let found = self
            .users
            .binary_search_by(|(name, _)| (**name).cmp(credential.name()))
            .ok()
            .and_then(|index| self.users.get(index));
        let (user, hash) = match found {
            Some((user, hash)) => (Some(user), Some(hash)),
            None => (None, self.stand_in(credential.name())),
        };
        // INVARIANT: hashed before it is known whether there is such a user.
        let verifies = hash
            .ok_or(BasicError::Wrong)?
            .verifies(credential.password())?;
        let user = user.filter(|_| verifies).ok_or(BasicError::Wrong)?;
        let nanoseconds = u64::try_from(self.remember.as_nanos()).unwrap_or(u64::MAX);
        let until = Timestamp(now.0.saturating_add(nanoseconds));
        self.verified
            .insert(self.cache_name(credential), (Arc::clone(user), until));
        Ok(Arc::clone(user))
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// There is no user; never the case.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The hash that is computed for an unknown name: always the same user's for one name, and over
    /// all names spread like the users' own, so that its cost does not tell unknown names apart
    /// where users' parameters differ.
    pub(crate) fn stand_in(&self, name: &str) -> Option<&PasswordHash> {
        let tag = hmac::sign(&self.key, name.as_bytes());
        let number = tag
            .as_ref()
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let count = u64::try_from(self.users.len()).ok()?;
        let index = usize::try_from(number.checked_rem(count)?).ok()?;
        self.users.get(index).map(|(_, hash)| hash)
    }

    fn cache_name(&self, credential: &BasicCredential) -> [u8; 32] {
        let mut name = [0; 32];
        let tag = hmac::sign(&self.key, credential.whole.expose());
        name.copy_from_slice(tag.as_ref());
        name
    }
}

impl fmt::Debug for BasicUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BasicUsers({} users)", self.len())
    }
}

fn derive(
    password: &[u8],
    salt: &[u8],
    memory: u32,
    passes: u32,
    lanes: u32,
    length: usize,
) -> Result<Secret<Vec<u8>>, BasicError> {
    let parameters =
        argon2::Params::new(memory, passes, lanes, Some(length)).map_err(|_| BasicError::Failed)?;
    let argon2 = Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        parameters,
    );
    let mut hash = vec![0; length];
    argon2
        .hash_password_into(password, salt, &mut hash)
        .map_err(|_| BasicError::Failed)?;
    Ok(Secret::new(hash))
}

/// `m=…,t=…,p=…`, in this order, as every writer of PHC strings has it.
fn parameters(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(',');
    let mut number = |prefix: &str| {
        let digits = parts.next()?.strip_prefix(prefix)?;
        let plain = !digits.starts_with(['0', '+']) && digits.len() <= 9;
        digits.parse::<u32>().ok().filter(|_| plain)
    };
    let found = (number("m=")?, number("t=")?, number("p=")?);
    parts.next().is_none().then_some(found)
}
