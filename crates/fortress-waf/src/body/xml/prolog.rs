//! What may stand before the root element: the XML declaration and a document type.
//!
//! No document type is read. One with an internal subset or an external identifier can define what
//! entities mean, so it is refused: that is where billion laughs and external entities come from.

use super::is_space;
use crate::body::{Fault, cursor::Cursor};

/// Whether a document type may come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DocumentType {
    Possible,
    Past,
}

impl DocumentType {
    /// Passes `<!DOCTYPE name>`.
    pub(super) fn pass(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        if *self == Self::Past {
            return Err(cursor.fault("a document type out of its place"));
        }
        *self = Self::Past;
        let at = cursor.at();
        cursor.eat(b"<!DOCTYPE");
        let space = cursor.skip_while(is_space);
        let name = cursor.skip_while(|byte| !is_space(byte) && !matches!(byte, b'>' | b'['));
        cursor.skip_while(is_space);
        match cursor.eat(b">") {
            true if space > 0 && name > 0 => Ok(()),
            _ => Err(cursor.fault_at("a document type that could define entities", at)),
        }
    }
}

/// Reads the XML declaration, if there is one. Says whether the document is in UTF-8.
pub(super) fn declaration(cursor: &mut Cursor<'_>) -> Result<bool, Fault> {
    if !matches!(cursor.rest(), [b'<', b'?', b'x', b'm', b'l', next, ..] if is_space(*next)) {
        return Ok(true);
    }
    cursor.skip(5);
    let version = pseudo_attribute(cursor, b"version")?;
    if !matches!(version, Some(b"1.0" | b"1.1")) {
        return Err(cursor.fault("expected the XML version 1.0 or 1.1"));
    }
    let encoding = pseudo_attribute(cursor, b"encoding")?;
    let utf8 = match encoding {
        None => true,
        Some(encoding) => {
            is_utf8(encoding).ok_or_else(|| cursor.fault("an encoding that is not looked at"))?
        }
    };
    let standalone = pseudo_attribute(cursor, b"standalone")?;
    if !matches!(standalone, None | Some(b"yes" | b"no")) {
        return Err(cursor.fault("expected `yes` or `no`"));
    }
    cursor.skip_while(is_space);
    match cursor.eat(b"?>") {
        true => Ok(utf8),
        false => Err(cursor.fault("expected `?>`")),
    }
}

fn pseudo_attribute<'a>(cursor: &mut Cursor<'a>, name: &[u8]) -> Result<Option<&'a [u8]>, Fault> {
    let mut ahead = *cursor;
    if ahead.skip_while(is_space) == 0 || !ahead.eat(name) {
        return Ok(None);
    }
    ahead.skip_while(is_space);
    if !ahead.eat(b"=") {
        return Err(ahead.fault("expected `=`"));
    }
    ahead.skip_while(is_space);
    let quote = match ahead.next() {
        Some(quote @ (b'"' | b'\'')) => quote,
        _ => return Err(ahead.fault("expected a quote")),
    };
    let start = ahead.at();
    ahead.skip_while(|byte| byte != quote && byte != b'<');
    let value = ahead.since(start);
    if ahead.next() != Some(quote) {
        return Err(ahead.fault("attribute without end"));
    }
    *cursor = ahead;
    Ok(Some(value))
}

/// True for UTF-8 and what is part of it, false for other encodings whose ASCII is ASCII. None for
/// the rest: in UTF-7 or UTF-16, an attack would not look like itself.
fn is_utf8(encoding: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| encoding.eq_ignore_ascii_case(name);
    if is(b"UTF-8") || is(b"US-ASCII") || is(b"ASCII") {
        return Some(true);
    }
    let numbered = |family: &[u8]| {
        encoding
            .split_at_checked(family.len())
            .is_some_and(|(begin, number)| {
                begin.eq_ignore_ascii_case(family)
                    && matches!(number.len(), 1..=2)
                    && number.iter().all(u8::is_ascii_digit)
            })
    };
    (numbered(b"ISO-8859-") || numbered(b"windows-12")).then_some(false)
}
