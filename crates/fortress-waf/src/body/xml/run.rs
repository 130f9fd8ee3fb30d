//! A stretch of text that may come in pieces: a span of the body as long as it is in one piece, a
//! text of the arena once it is not.

use crate::{
    body::{Fault, cursor::Cursor},
    store::{Store, Text},
};

/// The pieces so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Run {
    #[default]
    Empty,
    /// These bytes of the body.
    Body(usize, usize),
    /// In the arena, where nothing else is written until the stretch ends.
    Arena(Text, usize),
}

impl Run {
    /// Adds these bytes of the body.
    pub(super) fn extend(&mut self, start: usize, end: usize, store: &mut Store) {
        if start == end {
            return;
        }
        match *self {
            Self::Empty => *self = Self::Body(start, end),
            Self::Body(first, last) if last == start => *self = Self::Body(first, end),
            Self::Body(..) | Self::Arena(..) => {
                let begun = self.written(store);
                store.append(Text::of_body(start, end));
                *self = Self::Arena(store.since(begun), begun);
            }
        }
    }

    /// Adds a character that stands in the body otherwise.
    pub(super) fn push(&mut self, character: char, store: &mut Store) {
        let begun = self.written(store);
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            store.push(byte);
        }
        *self = Self::Arena(store.since(begun), begun);
    }

    /// Its beginning in the arena, where it stands then.
    fn written(&self, store: &mut Store) -> usize {
        match *self {
            Self::Arena(_, begun) => begun,
            Self::Empty => store.used(),
            Self::Body(start, end) => {
                let begun = store.used();
                store.append(Text::of_body(start, end));
                begun
            }
        }
    }

    /// The text; the run is empty again.
    pub(super) fn take(&mut self) -> Text {
        match std::mem::take(self) {
            Self::Empty => Text::default(),
            Self::Body(start, end) => Text::of_body(start, end),
            Self::Arena(text, _) => text,
        }
    }
}

/// A reference, `&…;`, that ends before `end`. Only the predefined entities have a meaning, since
/// no document type is read.
pub(super) fn reference(cursor: &mut Cursor<'_>, end: usize) -> Result<char, Fault> {
    /// `&#x10FFFF;` with room for leading zeros.
    const LONGEST: usize = 16;
    let rest = cursor.rest();
    let within = rest
        .get(1..(end - cursor.at()).min(LONGEST))
        .unwrap_or_default();
    let Some(length) = within.iter().position(|byte| *byte == b';') else {
        return Err(cursor.fault("`&` without `;`"));
    };
    let name = within.get(..length).unwrap_or_default();
    let character = match name {
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"amp" => Some('&'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        [b'#', b'x', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ => return Err(cursor.fault("an entity that is not predefined")),
    };
    let Some(character) = character else {
        return Err(cursor.fault("a reference to no character"));
    };
    cursor.skip(length + 2);
    Ok(character)
}

/// The character with this number, if XML has it.
fn number(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok()?;
    // The standard library would take a sign.
    if !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(digits, radix).ok()?;
    char::from_u32(code)
        .filter(|code| !matches!(code, '\0'..='\x08' | '\x0B' | '\x0C' | '\x0E'..='\x1F'))
        .filter(|code| !matches!(code, '\u{FFFE}' | '\u{FFFF}'))
}
