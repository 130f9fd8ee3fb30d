//! What a browser's login with OpenID Connect needs to remember, in the browser: encrypted cookies
//! that only this gateway reads, the secrets of one login (PKCE, `state`, `nonce`), and the token
//! against forged requests.
//!
//! A cookie is `version ‖ nonce ‖ AES-256-GCM(expiry ‖ content)` in base64url, with its name and
//! version as associated data: a value does not pass under another name. Deliberately not here: the
//! login's requests, and what a session holds.

use std::{fmt, time::Duration};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time::verify_slices_are_equal,
    digest, hkdf, hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Secret, Timestamp};

/// The most bytes of a cookie's name and value: browsers keep 4096 with the attributes.
pub const MAX_COOKIE: usize = 3_900;
/// Bytes of a key.
pub const KEY: usize = 32;
/// The longest path to return to.
pub const MAX_RETURN: usize = 1 << 10;

const VERSION: u8 = 1;
const EXPIRY: usize = 8;

/// Why there is no session.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The content does not fit a cookie.
    #[error("the session does not fit a cookie of {MAX_COOKIE} bytes")]
    TooLarge,
    /// Not one of our cookies, changed, under another name, or by a key that is gone.
    #[error("the session's cookie cannot be read")]
    Unreadable,
    /// Its time is over.
    #[error("the session expired {0} s ago")]
    Expired(u64),
}

/// Writes and reads the cookies of one name.
pub struct SessionCookie {
    /// With `__Host-`: browsers then take it only over TLS, from this very host, for every path.
    name: Box<str>,
    current: Keys,
    previous: Option<Keys>,
    lifetime: Duration,
}

struct Keys {
    cookie: LessSafeKey,
    csrf: hmac::Key,
}

/// What was in a cookie.
pub struct Opened {
    /// The content.
    pub content: Secret<Vec<u8>>,
    /// When it ends.
    pub expires: Timestamp,
    /// Written with the key before the present one: write it anew.
    pub is_stale: Stale,
}

/// Whether a cookie should be written anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stale {
    /// It was written with the present key.
    No,
    /// It was written with the key before.
    Yes,
}

impl SessionCookie {
    /// Takes a name (`__Host-` is put before it), the key, during a rotation the key before it, and
    /// how long a cookie is valid.
    ///
    /// # Errors
    /// The name is not one of letters, digits, `-` and `_`; a key does not have [`KEY`] bytes; or
    /// the lifetime is zero.
    pub fn new(
        name: &str,
        key: &Secret<Vec<u8>>,
        previous: Option<&Secret<Vec<u8>>>,
        lifetime: Duration,
    ) -> Result<Self, &'static str> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err("a session's cookie has a name of letters, digits, `-` and `_`");
        }
        if lifetime < Duration::from_secs(1) {
            return Err("a session lasts at least a second");
        }
        Ok(Self {
            name: format!("__Host-{name}").into(),
            current: Keys::new(key)?,
            previous: previous.map(Keys::new).transpose()?,
            lifetime,
        })
    }

    /// The whole name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Encrypts content. `nonce` must be random.
    ///
    /// # Errors
    /// The content does not fit a cookie.
    pub fn seal(
        &self,
        content: &Secret<Vec<u8>>,
        nonce: [u8; NONCE_LEN],
        now: Timestamp,
    ) -> Result<String, SessionError> {
        let lifetime = u64::try_from(self.lifetime.as_nanos()).unwrap_or(u64::MAX);
        let expires = now.0.saturating_add(lifetime);
        let mut sealed = Vec::with_capacity(EXPIRY + content.expose().len() + 16);
        sealed.extend(expires.to_be_bytes());
        sealed.extend(content.expose());
        self.current
            .cookie
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated()),
                &mut sealed,
            )
            .map_err(|_| SessionError::TooLarge)?;
        let whole = [&[VERSION][..], &nonce, &sealed].concat();
        let value = URL_SAFE_NO_PAD.encode(whole);
        if self.name.len() + value.len() > MAX_COOKIE {
            return Err(SessionError::TooLarge);
        }
        Ok(value)
    }

    /// Decrypts a cookie's value.
    ///
    /// # Errors
    /// It was not written here under this name with one of the keys, or its time is over.
    pub fn open(&self, value: &str, now: Timestamp) -> Result<Opened, SessionError> {
        if value.len() > MAX_COOKIE {
            return Err(SessionError::Unreadable);
        }
        let whole = URL_SAFE_NO_PAD
            .decode(value)
            .map_err(|_| SessionError::Unreadable)?;
        let read = || {
            let (&version, rest) = whole.split_first()?;
            let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
            (version == VERSION).then_some((nonce, sealed))
        };
        let (nonce, sealed) = read().ok_or(SessionError::Unreadable)?;
        let keys = [
            (Some(&self.current), Stale::No),
            (self.previous.as_ref(), Stale::Yes),
        ];
        let (plain, is_stale) = keys
            .into_iter()
            .find_map(|(keys, stale)| Some((self.decrypt(keys?, nonce, sealed)?, stale)))
            .ok_or(SessionError::Unreadable)?;
        let (expires, content) = plain
            .expose()
            .split_first_chunk::<EXPIRY>()
            .ok_or(SessionError::Unreadable)?;
        let expires = Timestamp(u64::from_be_bytes(*expires));
        if now >= expires {
            return Err(SessionError::Expired(now.since(expires).as_secs()));
        }
        Ok(Opened {
            content: Secret::new(content.to_vec()),
            expires,
            is_stale,
        })
    }

    /// The value of `Set-Cookie` that stores a sealed value for as long as it is valid. `Lax`: the
    /// provider sends the browser back from another site.
    pub fn set(&self, value: &str) -> String {
        let (name, seconds) = (&self.name, self.lifetime.as_secs());
        format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax")
    }

    /// The value of `Set-Cookie` that removes it.
    pub fn remove(&self) -> String {
        let name = &self.name;
        format!("{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
    }

    /// The token that a page of this session sends with each request that changes something, in a
    /// header field or a form; bound to the session's id, so that another's does not do.
    pub fn csrf_token(&self, session: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.current.csrf, session))
    }

    /// Whether a token is this session's, by either key.
    pub fn is_csrf_token(&self, session: &[u8], token: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .any(|keys| hmac::verify(&keys.csrf, session, &tag).is_ok())
    }

    fn decrypt(
        &self,
        keys: &Keys,
        nonce: &[u8; NONCE_LEN],
        sealed: &[u8],
    ) -> Option<Secret<Vec<u8>>> {
        let mut buffer = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = keys
            .cookie
            .open_in_place(nonce, Aad::from(self.associated()), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(plain);
        Some(Secret::new(buffer))
    }

    fn associated(&self) -> Vec<u8> {
        [self.name.as_bytes(), &[0, VERSION]].concat()
    }
}

impl fmt::Debug for SessionCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionCookie({})", self.name)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened([redacted])")
    }
}

impl Keys {
    /// One key for each purpose, derived from the one that is configured.
    fn new(key: &Secret<Vec<u8>>) -> Result<Self, &'static str> {
        const LENGTH: &str = "a session's key has 32 random bytes";
        if key.expose().len() != KEY {
            return Err(LENGTH);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"fortress session");
        let root = salt.extract(key.expose());
        let derive = |purpose: &'static [u8]| {
            let mut derived = [0; KEY];
            root.expand(&[purpose], hkdf::HKDF_SHA256)
                .and_then(|expanded| expanded.fill(&mut derived))
                .map_err(|_| LENGTH)?;
            Ok::<_, &'static str>(Secret::new(derived))
        };
        let cookie =
            UnboundKey::new(&AES_256_GCM, derive(b"cookie")?.expose()).map_err(|_| LENGTH)?;
        Ok(Self {
            cookie: LessSafeKey::new(cookie),
            csrf: hmac::Key::new(hmac::HMAC_SHA256, derive(b"csrf")?.expose()),
        })
    }
}

/// The secrets of one login, from 96 random bytes.
#[derive(Clone, Debug)]
pub struct LoginSecrets {
    /// `state` (RFC 6749, section 10.12): ties the provider's answer to this browser.
    pub state: String,
    /// `nonce` (OpenID Connect Core, section 3.1.2.1): ties the ID token to this login.
    pub nonce: String,
    /// `code_verifier` (RFC 7636): only who began the login can end it.
    pub verifier: Secret<String>,
}

impl LoginSecrets {
    /// Takes random bytes.
    pub fn new(random: &[[u8; 32]; 3]) -> Self {
        let [state, nonce, verifier] = random.each_ref().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
        Self {
            state,
            nonce,
            verifier: Secret::new(verifier),
        }
    }

    /// `code_challenge` by the method `S256`.
    pub fn challenge(&self) -> String {
        challenge(self.verifier.expose())
    }
}

/// `code_challenge` of a `code_verifier` by the method `S256` (RFC 7636, section 4.2).
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()))
}

/// Whether the `state` in the provider's answer is the one that was sent, in constant time.
pub fn same_state(sent: &str, returned: &str) -> bool {
    verify_slices_are_equal(sent.as_bytes(), returned.as_bytes()).is_ok()
}

/// Whether a browser may be sent to this target after login: a path of this host. Anything that a
/// browser could read as another host is not, nor is what could break a header field.
pub fn is_local_target(target: &str) -> bool {
    target.len() <= MAX_RETURN
        && target.starts_with('/')
        && !target.starts_with("//")
        && target
            .bytes()
            .all(|byte| matches!(byte, b'!'..=b'~') && !matches!(byte, b'\\' | b'"' | b'<' | b'>'))
}
