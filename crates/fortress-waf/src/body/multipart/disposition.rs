//! `Content-Disposition` of a part: which field it is, and which file.
//!
//! A backslash escapes only a quote or another backslash, since browsers of old send paths of
//! Windows as they are. What cannot be read by the grammar is flagged, and its value is kept whole
//! for the rules to see.

use super::super::{Fault, Flags, cursor::Cursor, urlencoded::byte_of};
use super::boundary::is_blank;
use crate::store::{Store, Text};

/// What the field says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Disposition {
    pub(super) name: Option<Text>,
    pub(super) filename: Option<Text>,
    /// `filename*`, decoded (RFC 8187).
    pub(super) extended: Option<Text>,
}

/// Reads the value of the header `line`, which begins at its byte `from`.
pub(super) fn disposition(
    line: Text,
    from: usize,
    at: usize,
    store: &mut Store,
    flags: &mut Flags,
    scratch: &mut Vec<u8>,
) -> (Disposition, Option<Fault>) {
    // A header that is folded stands in the arena, which is written to below.
    scratch.clear();
    scratch.extend_from_slice(store.get(line));
    let mut reader = Reader {
        cursor: Cursor::new(scratch, "MULTIPART"),
        line,
        at,
        store,
        flags,
        found: Disposition::default(),
    };
    reader.cursor.skip(from);
    let fault = reader.parameters().err();
    (reader.found, fault)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    line: Text,
    /// Where the header begins in the body.
    at: usize,
    store: &'a mut Store,
    flags: &'a mut Flags,
    found: Disposition,
}

impl Reader<'_> {
    fn parameters(&mut self) -> Result<(), Fault> {
        let mut first = None;
        self.cursor.skip_while(is_blank);
        let start = self.cursor.at();
        self.cursor
            .skip_while(|byte| !is_blank(byte) && byte != b';');
        if !self.cursor.since(start).eq_ignore_ascii_case(b"form-data") {
            first.get_or_insert(self.fault("a disposition other than `form-data`"));
        }
        loop {
            self.cursor.skip_while(is_blank);
            if self.cursor.peek().is_none() {
                break;
            }
            if !self.cursor.eat(b";") {
                self.flags.missing_semicolon = true;
            }
            self.cursor.skip_while(is_blank);
            // A semicolon may end the list, as it does from some clients.
            if self.cursor.peek().is_none() {
                break;
            }
            if let Err(fault) = self.parameter() {
                first.get_or_insert(fault);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// One parameter. What is wrong with it does not keep the others from being read.
    fn parameter(&mut self) -> Result<(), Fault> {
        let start = self.cursor.at();
        self.cursor
            .skip_while(|byte| !is_blank(byte) && !matches!(byte, b'=' | b';' | b'"'));
        let name = self.cursor.since(start);
        if self.cursor.peek() != Some(b'=') {
            self.cursor.skip_while(|byte| byte != b';');
            return Err(self.fault("expected `=` after a parameter's name"));
        }
        self.cursor.skip(1);
        if name.eq_ignore_ascii_case(b"name") {
            let value = self.value();
            once(&mut self.found.name, value).ok_or_else(|| self.fault("`name` more than once"))
        } else if name.eq_ignore_ascii_case(b"filename") {
            let value = self.value();
            once(&mut self.found.filename, value)
                .ok_or_else(|| self.fault("`filename` more than once"))
        } else if name.eq_ignore_ascii_case(b"filename*") {
            let value = self.extended()?;
            once(&mut self.found.extended, value)
                .ok_or_else(|| self.fault("`filename*` more than once"))
        } else {
            self.value();
            // A continuation or a charset (RFC 2231): some servers put them together.
            match name.is_empty() || name.contains(&b'*') {
                true => Err(self.fault("malformed parameter")),
                false => Ok(()),
            }
        }
    }

    /// A value, its quotes taken off.
    fn value(&mut self) -> Text {
        let start = self.cursor.at();
        if !self.cursor.eat(b"\"") {
            self.cursor.skip_while(|byte| byte != b';');
            let value = self.cursor.since(start).trim_ascii_end();
            self.flags.invalid_quoting |= value.iter().any(|byte| matches!(byte, b'"' | b'\''));
            return self.line.part(start, start + value.len());
        }
        let mut escaped = false;
        loop {
            self.cursor.skip_while(|byte| !matches!(byte, b'"' | b'\\'));
            match self.cursor.rest() {
                [b'\\', b'"' | b'\\', ..] => {
                    escaped = true;
                    self.cursor.skip(2);
                }
                [b'\\', ..] => self.cursor.skip(1),
                _ => break,
            }
        }
        let end = self.cursor.at();
        let closed = self.cursor.eat(b"\"");
        let mut ahead = self.cursor;
        ahead.skip_while(is_blank);
        if !closed || !matches!(ahead.peek(), None | Some(b';')) {
            self.flags.invalid_quoting = true;
            self.cursor.skip_while(|byte| byte != b';');
            return self.line.part(start + 1, self.cursor.at());
        }
        if !escaped {
            return self.line.part(start + 1, end);
        }
        let raw = self.cursor.since(start + 1);
        let raw = raw.strip_suffix(b"\"").unwrap_or(raw);
        self.store.write(|arena| unescape(raw, arena))
    }

    /// `charset'language'percent-encoded`.
    fn extended(&mut self) -> Result<Text, Fault> {
        let start = self.cursor.at();
        self.cursor.skip_while(|byte| byte != b';');
        let value = self.cursor.since(start).trim_ascii_end();
        let mut parts = value.splitn(3, |byte| *byte == b'\'');
        let charset = parts.next().unwrap_or_default();
        let encoded = parts.nth(1);
        let known = [&b"UTF-8"[..], b"ISO-8859-1"];
        let Some(encoded) = encoded.filter(|_| {
            known
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        }) else {
            return Err(self.fault("malformed `filename*`"));
        };
        let mut valid = true;
        let decoded = self.store.write(|arena| {
            let mut cursor = Cursor::new(encoded, "MULTIPART");
            while let Some(byte) = cursor.next() {
                let decoded = match (byte, cursor.rest()) {
                    (b'%', [high, low, ..]) => byte_of(*high, *low),
                    _ => None,
                };
                if decoded.is_some() {
                    cursor.skip(2);
                }
                valid &= decoded.is_some() || !matches!(byte, b'%' | b'"' | b'\'');
                arena.push(decoded.unwrap_or(byte));
            }
        });
        self.flags.invalid_quoting |= !valid;
        Ok(decoded)
    }

    fn fault(&self, what: &'static str) -> Fault {
        self.cursor.fault_at(what, self.at)
    }
}

/// Puts the value there if none is; None if one is.
fn once(place: &mut Option<Text>, value: Text) -> Option<()> {
    match place {
        Some(_) => None,
        None => {
            *place = Some(value);
            Some(())
        }
    }
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    let mut cursor = Cursor::new(raw, "MULTIPART");
    while let Some(byte) = cursor.next() {
        let escaped = match (byte, cursor.peek()) {
            (b'\\', Some(next @ (b'"' | b'\\'))) => Some(next),
            _ => None,
        };
        if escaped.is_some() {
            cursor.skip(1);
        }
        out.push(escaped.unwrap_or(byte));
    }
}
