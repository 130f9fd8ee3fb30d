//! Where a transaction's texts live: spans of one arena that is reused from transaction to
//! transaction, or of the body as it came. A collected value costs its span and no allocation.

use bytes::Bytes;

/// A text of the transaction: a span of the arena, of the request's body, or of the response's.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Text {
    start: u32,
    /// The length; the two top bits say where the span is.
    length: u32,
}

const ORIGIN: u32 = 3 << 30;
const IN_BODY: u32 = 1 << 30;
const IN_RESPONSE: u32 = 2 << 30;

impl Text {
    /// The span `start..end` of the body that the store holds.
    pub(crate) fn of_body(start: usize, end: usize) -> Self {
        Self {
            start: narrow(start),
            length: narrow(end.saturating_sub(start)) | IN_BODY,
        }
    }

    /// The span `start..end` of the response's body.
    pub(crate) fn of_response(start: usize, end: usize) -> Self {
        Self {
            start: narrow(start),
            length: narrow(end.saturating_sub(start)) | IN_RESPONSE,
        }
    }

    /// Length in bytes.
    pub(crate) fn len(self) -> usize {
        widen(self.length & !ORIGIN)
    }

    /// Where it begins in the request's body, if it is there.
    pub(crate) fn start_in_body(self) -> Option<usize> {
        (self.length & ORIGIN == IN_BODY).then(|| widen(self.start))
    }

    /// A number that tells texts apart, for tables.
    pub(crate) fn key(self) -> u64 {
        u64::from(self.start) << 32 | u64::from(self.length)
    }

    /// Its bytes `start..end`, cut to what there is.
    pub(crate) fn part(self, start: usize, end: usize) -> Self {
        let end = narrow(end).min(self.length & !ORIGIN);
        let start = narrow(start).min(end);
        Self {
            start: self.start.saturating_add(start),
            length: (end - start) | (self.length & ORIGIN),
        }
    }
}

/// Bodies and arenas are bounded far below 1 GiB; what were larger would be cut, not wrapped.
fn narrow(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(!ORIGIN).min(!ORIGIN)
}

fn widen(size: u32) -> usize {
    usize::try_from(size).unwrap_or_default()
}

/// A text of more bytes is not worth as many again for others that may follow.
const LARGE: usize = 64 << 10;

/// The texts of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Store {
    arena: Vec<u8>,
    body: Bytes,
    response: Bytes,
}

impl Store {
    /// Forgets every text, keeping the memory up to `keep` bytes.
    pub(crate) fn clear(&mut self, keep: usize) {
        self.arena.clear();
        self.arena.shrink_to(keep);
        self.body = Bytes::new();
        self.response = Bytes::new();
    }

    /// Takes the response's body over.
    pub(crate) fn set_response(&mut self, body: Bytes) {
        self.response = body;
    }

    /// Takes the body over, without copying it.
    pub(crate) fn set_body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// The body as it came.
    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// The bytes of a text.
    pub(crate) fn get(&self, text: Text) -> &[u8] {
        let of = match text.length & ORIGIN {
            IN_BODY => &self.body,
            IN_RESPONSE => &self.response,
            _ => self.arena.as_slice(),
        };
        let start = widen(text.start);
        of.get(start..start + text.len()).unwrap_or_default()
    }

    /// Copies `bytes` into the arena.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Text {
        let start = self.arena.len();
        if bytes.len() > LARGE {
            self.arena.reserve_exact(bytes.len());
        }
        self.arena.extend_from_slice(bytes);
        self.since(start)
    }

    /// Lets `write` append to the arena; what it appended is the text.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Text {
        let start = self.arena.len();
        write(&mut self.arena);
        self.since(start)
    }

    /// Lets `write` append at most so many bytes to the arena; they are the text, unless it says that
    /// there is none.
    pub(crate) fn derive(
        &mut self,
        most: usize,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Option<Text> {
        let start = self.arena.len();
        self.arena.reserve_exact(most);
        if write(&mut self.arena) {
            return Some(self.since(start));
        }
        self.arena.truncate(start);
        None
    }

    /// Sets aside room for `more` bytes.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.arena.reserve(more);
    }

    /// Appends one byte to the arena, for a text that [`Self::since`] will name.
    pub(crate) fn push(&mut self, byte: u8) {
        self.arena.push(byte);
    }

    /// Appends the bytes of a text to the arena, wherever it stands.
    pub(crate) fn append(&mut self, text: Text) {
        let (start, end) = (widen(text.start), widen(text.start) + text.len());
        if text.length & ORIGIN == 0 {
            let most = self.arena.len();
            self.arena
                .extend_from_within(start.min(most)..end.min(most));
        } else {
            let of = if text.length & ORIGIN == IN_BODY {
                &self.body
            } else {
                &self.response
            };
            self.arena
                .extend_from_slice(of.get(start..end).unwrap_or_default());
        }
    }

    /// Forgets what was appended since the arena held `start` bytes: no text of it may be used again.
    pub(crate) fn truncate(&mut self, start: usize) {
        self.arena.truncate(start);
    }

    /// Bytes in the arena.
    pub(crate) fn used(&self) -> usize {
        self.arena.len()
    }

    /// What was appended to the arena since it held `start` bytes.
    pub(crate) fn since(&self, start: usize) -> Text {
        Text {
            start: narrow(start),
            length: narrow(self.arena.len().saturating_sub(start)),
        }
    }
}
