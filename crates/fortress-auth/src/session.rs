//! What a browser remembers of a login with OpenID Connect: encrypted cookies that only this gateway
//! reads, and the secrets of one login (PKCE, `state`, `nonce`).
//!
//! A value is `version ‖ nonce ‖ AES-256-GCM(expiry ‖ content)` in base64url, with the cookie's name
//! and the client that it is for as associated data: a value passes under no other name, and for no
//! other client or issuer. A session that is longer than browsers keep is cut into several cookies;
//! the first begins with their number. Deliberately not here: the login's requests (`login`).

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    constant_time::verify_slices_are_equal,
    digest, hkdf,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use fortress_model::{Secret, Timestamp};

/// The most bytes of a cookie's name and value: browsers keep 4096 with the attributes.
pub const MAX_COOKIE: usize = 3_900;
/// Cookies that one session may be cut into.
pub const MAX_PIECES: usize = 4;
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
    /// The content does not fit the cookies.
    #[error("the session does not fit {MAX_PIECES} cookies of {MAX_COOKIE} bytes")]
    TooLarge,
    /// Not one of our cookies, changed, under another name, for another client, or by a key that is
    /// gone.
    #[error("the session's cookie cannot be read")]
    Unreadable,
    /// Its time is over.
    #[error("the session expired {0} s ago")]
    Expired(u64),
}

/// Encrypts what cookies hold, for one client of one issuer.
pub struct Sealer {
    current: LessSafeKey,
    previous: Option<LessSafeKey>,
    client: Box<str>,
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

impl Sealer {
    /// Takes the key, during a rotation the key before it, and what tells the client from others.
    ///
    /// # Errors
    /// A key does not have [`KEY`] bytes.
    pub fn new(
        key: &Secret<Vec<u8>>,
        previous: Option<&Secret<Vec<u8>>>,
        client: &str,
    ) -> Result<Self, &'static str> {
        Ok(Self {
            current: derive(key)?,
            previous: previous.map(derive).transpose()?,
            client: client.into(),
        })
    }

    /// Encrypts content for the cookie of this name. `nonce` must be random.
    ///
    /// # Errors
    /// The content does not fit [`MAX_PIECES`] cookies.
    pub fn seal(
        &self,
        name: &str,
        content: &Secret<Vec<u8>>,
        nonce: [u8; NONCE_LEN],
        expires: Timestamp,
    ) -> Result<String, SessionError> {
        let mut sealed = Vec::with_capacity(EXPIRY + content.expose().len() + 16);
        sealed.extend(expires.0.to_be_bytes());
        sealed.extend(content.expose());
        self.current
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.associated(name)),
                &mut sealed,
            )
            .map_err(|_| SessionError::TooLarge)?;
        let whole = [&[VERSION][..], &nonce, &sealed].concat();
        let value = URL_SAFE_NO_PAD.encode(whole);
        if value.len() > MAX_PIECES * room(name) {
            return Err(SessionError::TooLarge);
        }
        Ok(value)
    }

    /// Decrypts what was sealed for the cookie of this name.
    ///
    /// # Errors
    /// It was not written here under this name with one of the keys, or its time is over.
    pub fn open(&self, name: &str, value: &str, now: Timestamp) -> Result<Opened, SessionError> {
        if value.len() > MAX_PIECES * MAX_COOKIE {
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
            .find_map(|(key, stale)| Some((self.decrypt(key?, name, nonce, sealed)?, stale)))
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

    fn decrypt(
        &self,
        key: &LessSafeKey,
        name: &str,
        nonce: &[u8; NONCE_LEN],
        sealed: &[u8],
    ) -> Option<Secret<Vec<u8>>> {
        let mut buffer = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key
            .open_in_place(nonce, Aad::from(self.associated(name)), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(plain);
        Some(Secret::new(buffer))
    }

    // A name has no NUL, so that no two pairs are alike.
    fn associated(&self, name: &str) -> Vec<u8> {
        [name.as_bytes(), &[0, VERSION], self.client.as_bytes()].concat()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer([redacted])")
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened([redacted])")
    }
}

/// A key for this purpose alone, from the one that is configured.
fn derive(key: &Secret<Vec<u8>>) -> Result<LessSafeKey, &'static str> {
    const LENGTH: &str = "a session's key has 32 random bytes";
    if key.expose().len() != KEY {
        return Err(LENGTH);
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"fortress session");
    let mut derived = Secret::new([0; KEY]);
    salt.extract(key.expose())
        .expand(&[b"cookie"], hkdf::HKDF_SHA256)
        .and_then(|expanded| expanded.fill(derived.expose_mut()))
        .map_err(|_| LENGTH)?;
    let key = UnboundKey::new(&AES_256_GCM, derived.expose()).map_err(|_| LENGTH)?;
    Ok(LessSafeKey::new(key))
}

/// Bytes of a value that one cookie of this name holds, its number and the digit before the first
/// aside.
fn room(name: &str) -> usize {
    MAX_COOKIE.saturating_sub(name.len() + 3)
}

/// The name of a piece, from 0 on.
pub fn piece_name(name: &str, index: usize) -> String {
    match index {
        0 => name.to_owned(),
        _ => format!("{name}.{index}"),
    }
}

/// Cuts a sealed value into the values of cookies.
pub fn pieces(name: &str, value: &str) -> Vec<String> {
    let room = room(name).max(1);
    let cut: Vec<&[u8]> = value.as_bytes().chunks(room).collect();
    let count = cut.len();
    let pieces = cut.into_iter().enumerate().map(|(index, piece)| {
        // Base64 has no character of several bytes.
        let piece = String::from_utf8_lossy(piece);
        match index {
            0 => format!("{count}{piece}"),
            _ => piece.into_owned(),
        }
    });
    pieces.collect()
}

/// Puts a sealed value together again; `None` where there is no first piece, and something unreadable
/// where another is missing.
pub fn join<'c>(name: &str, find: impl Fn(&str) -> Option<&'c str>) -> Option<String> {
    let first = find(name)?;
    let mut characters = first.chars();
    let count = characters.next().and_then(|digit| digit.to_digit(10));
    let count = count.map_or(0, |count| usize::try_from(count).unwrap_or(0));
    let mut whole = characters.as_str().to_owned();
    for index in 1..count.min(MAX_PIECES) {
        whole.push_str(find(&piece_name(name, index)).unwrap_or("?"));
    }
    Some(if (1..=MAX_PIECES).contains(&count) {
        whole
    } else {
        String::new()
    })
}

/// The value of `Set-Cookie` that stores a value. With the prefix `__Host-` in its name a browser
/// takes it only over TLS, from this very host, for every path. `Lax`: the provider sends the browser
/// back from another site.
pub fn set_cookie(name: &str, value: &str, seconds: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax")
}

/// The value of `Set-Cookie` that removes it.
pub fn remove_cookie(name: &str) -> String {
    format!("{name}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
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
