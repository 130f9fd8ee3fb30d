//! The boundary that `Content-Type` declares.
//!
//! Servers differ on how they read an odd parameter, and a part that is seen by only one of two
//! readers is a part that hides. So the field is read by RFC 9110's grammar, and every deviation is
//! a flag or a fault.

use super::super::{Fault, Flags, cursor::Cursor};

/// RFC 2046, section 5.1.1.
const LONGEST: usize = 70;

/// Finds the boundary. Offsets of faults are offsets in the field here.
pub(super) fn boundary<'a>(content_type: &'a [u8], flags: &mut Flags) -> Result<&'a [u8], Fault> {
    let mut cursor = Cursor::new(content_type, "MULTIPART: Content-Type");
    let mut found = None;
    cursor.skip_while(is_blank);
    cursor.skip_while(|byte| !is_blank(byte) && byte != b';');
    loop {
        cursor.skip_while(is_blank);
        if cursor.peek().is_none() {
            break;
        }
        if !cursor.eat(b";") {
            flags.missing_semicolon = true;
        }
        cursor.skip_while(is_blank);
        let at = cursor.at();
        cursor.skip_while(|byte| !is_blank(byte) && !matches!(byte, b'=' | b';'));
        let name = cursor.since(at);
        let is_boundary = name.eq_ignore_ascii_case(b"boundary");
        // RFC 2231 would let it come in pieces (`boundary*0=`), which some servers put together.
        if name.is_empty() || name.contains(&b'*') {
            return Err(cursor.fault_at("malformed parameter", at));
        }
        let mut blanks = cursor.skip_while(is_blank);
        if !cursor.eat(b"=") {
            return Err(cursor.fault("expected `=`"));
        }
        blanks += cursor.skip_while(is_blank);
        let value = value(&mut cursor, is_boundary, flags)?;
        if is_boundary {
            flags.boundary_whitespace |= blanks > 0;
            if found.replace(value).is_some() {
                return Err(cursor.fault_at("more than one boundary", at));
            }
        }
    }
    let boundary = found.ok_or_else(|| cursor.fault("no boundary"))?;
    if boundary.is_empty() || boundary.len() > LONGEST {
        return Err(cursor.fault("a boundary must have 1 to 70 characters"));
    }
    if boundary.iter().any(|byte| is_blank(*byte)) {
        flags.boundary_whitespace = true;
    }
    let ends_in_blank = boundary.last().is_some_and(|byte| is_blank(*byte));
    if ends_in_blank || !boundary.iter().all(|byte| is_boundary_byte(*byte)) {
        return Err(cursor.fault("a character that boundaries cannot have"));
    }
    Ok(boundary)
}

/// A parameter's value, in quotes or not.
fn value<'a>(
    cursor: &mut Cursor<'a>,
    is_boundary: bool,
    flags: &mut Flags,
) -> Result<&'a [u8], Fault> {
    let at = cursor.at();
    if cursor.eat(b"\"") {
        let start = cursor.at();
        cursor.skip_while(|byte| !matches!(byte, b'"' | b'\\'));
        let value = cursor.since(start);
        flags.boundary_quoted |= is_boundary;
        if !cursor.eat(b"\"") {
            flags.invalid_quoting = true;
            return Err(cursor.fault_at("a quote without its end", at));
        }
        return Ok(value);
    }
    cursor.skip_while(|byte| byte != b';');
    let value = cursor.since(at).trim_ascii_end();
    if value.contains(&b'"') {
        flags.invalid_quoting = true;
        return Err(cursor.fault_at("a quote within a value", at));
    }
    Ok(value)
}

fn is_boundary_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte)
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
