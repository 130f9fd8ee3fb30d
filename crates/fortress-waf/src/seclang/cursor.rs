//! Reading one argument of a directive from left to right.
//!
//! What the words mean is for those who read.

/// What is left to read of a text, and how far it is read.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.skip(next.len_utf8());
        Some(next)
    }

    /// Reads `expected` if it comes next.
    pub(super) fn eat(&mut self, expected: char) -> bool {
        let comes = self.peek() == Some(expected);
        if comes {
            self.skip(expected.len_utf8());
        }
        comes
    }

    /// Reads as long as the characters are of the kind.
    pub(super) fn take_while(&mut self, mut is_of_kind: impl FnMut(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|character| !is_of_kind(character))
            .unwrap_or(self.rest.len());
        self.skip(end)
    }

    pub(super) fn skip_blanks(&mut self) {
        self.take_while(|character| character.is_ascii_whitespace());
    }

    /// Reads what stands between quotes, the first of which comes next. Before a quote a backslash
    /// escapes; before anything else both stay. `None` if the second quote is missing.
    pub(super) fn quoted(&mut self, quote: char) -> Option<String> {
        if !self.eat(quote) {
            return None;
        }
        let mut text = String::new();
        loop {
            match self.next()? {
                character if character == quote => return Some(text),
                '\\' => match self.next()? {
                    escaped if escaped == quote => text.push(quote),
                    other => text.extend(['\\', other]),
                },
                character => text.push(character),
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> &'a str {
        let (read, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.at += read.len();
        self.rest = rest;
        read
    }
}
