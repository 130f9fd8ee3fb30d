//! A place in the body that moves forward. Every processor reads through it, so no offset is ever
//! out of bounds and none is computed twice.

use super::Fault;

/// A text and how far it has been read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// The processor, for what it says of faults.
    processor: &'static str,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    pub(super) fn new(text: &'a [u8], processor: &'static str) -> Self {
        Self {
            text,
            at: 0,
            processor,
        }
    }

    /// Bytes that have been read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next byte.
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes the next byte.
    pub(super) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes `count` bytes.
    pub(super) fn skip(&mut self, count: usize) {
        self.at = (self.at + count).min(self.text.len());
    }

    /// Passes the bytes for which `accept` holds; says how many.
    pub(super) fn skip_while(&mut self, accept: impl Fn(u8) -> bool) -> usize {
        let rest = self.rest();
        let count = rest
            .iter()
            .position(|byte| !accept(*byte))
            .unwrap_or(rest.len());
        self.skip(count);
        count
    }

    /// Passes the text if it is what comes next.
    pub(super) fn eat(&mut self, text: &[u8]) -> bool {
        let is_next = self.rest().starts_with(text);
        if is_next {
            self.skip(text.len());
        }
        is_next
    }

    /// What has been read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// What is wrong here.
    pub(super) fn fault(&self, what: &'static str) -> Fault {
        self.fault_at(what, self.at)
    }

    /// What is wrong there.
    pub(super) fn fault_at(&self, what: &'static str, at: usize) -> Fault {
        Fault {
            processor: self.processor,
            what,
            at,
        }
    }
}
