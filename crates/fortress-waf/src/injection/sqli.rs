//! `@detectSQLi`: whether a database could read a value as a piece of SQL.

use std::fmt;

use crate::ByteSet;

/// The shape of what was found: a letter a token, five at most.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    /// Its letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let letters = self.0.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(letters).unwrap_or_default()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

const WORD: ByteSet = ByteSet::range(b'a', b'z')
    .union(ByteSet::range(b'A', b'Z'))
    .union(ByteSet::range(b'0', b'9'))
    .with(b'_');

/// Whether a value made of these bytes alone could be found.
#[must_use]
pub fn possible(bytes: &ByteSet) -> bool {
    !bytes.minus(WORD).is_empty()
}

/// The fingerprint of the value, if it is one of SQL.
#[must_use]
pub fn detect(text: &[u8]) -> Option<Fingerprint> {
    if text.iter().all(|&byte| WORD.contains(byte)) {
        return None;
    }
    let found = libinjectionrs::detect_sqli(text);
    if !found.is_injection() {
        return None;
    }
    let letters = found.fingerprint?.as_bytes().try_into().ok()?;
    Some(Fingerprint(letters))
}
