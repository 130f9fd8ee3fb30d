//! `@detectSQLi`: whether a database could read a value as a piece of SQL.
//!
//! A value is read into tokens ([`lexer`]), folded to five at most ([`fold`]), and their kinds looked
//! up in a table of shapes that attacks have ([`verdict`]): as it stands, and as if a quote had been
//! opened before it. The answers are the C library's, byte for byte of the fingerprint; reading is
//! our own, because the Rust port is several times slower and quadratic in long dotted names.

mod alphabet;
mod fold;
mod lexer;
mod token;
mod verdict;
mod words;

use std::fmt;

use memchr::memchr;

use self::{
    lexer::{Context, Dialect, Lexer},
    token::Kind,
};
use crate::ByteSet;

/// The fingerprint of the value, if it is one of SQL.
#[must_use]
pub fn detect(text: &[u8]) -> Option<Fingerprint> {
    if is_single(text) {
        return None;
    }
    detect_in(text, Context::Bare).or_else(|| {
        [b'\'', b'"']
            .into_iter()
            .filter(|&quote| memchr(quote, text).is_some())
            .find_map(|quote| detect_in(text, Context::Quoted(quote)))
    })
}

/// Whether a value made of these bytes alone could be found: if not, it need not be read. More bytes
/// only ever make it so.
#[must_use]
pub fn possible(bytes: &ByteSet) -> bool {
    alphabet::possible(bytes)
}

/// Reads the value as one dialect and, if a comment is one to the other only, as that one too. What
/// a double quote opens is read as MySQL does: elsewhere it is a name.
fn detect_in(text: &[u8], context: Context) -> Option<Fingerprint> {
    let dialect = match context {
        Context::Quoted(b'"') => Dialect::MySql,
        Context::Bare | Context::Quoted(_) => Dialect::Ansi,
    };
    let mut lexer = Lexer::new(text, context, dialect);
    let folded = fold::fold(&mut lexer)?;
    let found = verdict::judge(text, &folded);
    if found.is_some() || !lexer.ambiguous || dialect == Dialect::MySql {
        return found;
    }
    let mut lexer = Lexer::new(text, context, Dialect::MySql);
    verdict::judge(text, &fold::fold(&mut lexer)?)
}

/// Whether the whole value is one name or word, which is no attack: what most names of arguments are.
/// Others may be so too.
#[must_use]
pub(crate) fn is_single(text: &[u8]) -> bool {
    words::is_single(text)
}

/// The shape of what was found: a letter a token, five at most.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Fingerprint([u8; 8]);

impl Fingerprint {
    fn new(kinds: &[Kind]) -> Self {
        let mut letters = [0; 8];
        for (letter, kind) in letters.iter_mut().zip(kinds) {
            *letter = kind.letter();
        }
        Self(letters)
    }

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
