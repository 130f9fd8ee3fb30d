//! `@detectXSS`: whether a browser could find script in a value.

use crate::ByteSet;

/// Whether a value made of these bytes alone could be found.
///
/// The HTML reader begins as text or inside of an attribute. From text nothing but `<` leads to a
/// tag; from attributes nothing but `=` leads to a value that is looked at.
#[must_use]
pub fn possible(bytes: &ByteSet) -> bool {
    bytes.intersects(ByteSet::of(b"<="))
}

/// Whether the value carries script.
#[must_use]
pub fn detect(text: &[u8]) -> bool {
    memchr::memchr2(b'<', b'=', text).is_some() && libinjectionrs::detect_xss(text).is_injection()
}
