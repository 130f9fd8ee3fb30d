//! Lines of a file and their arguments: comments, continuation by `\`, quotes.
//!
//! Where the servers that read SecLang disagree about a line (a comment that ends in `\`, a comment
//! amid a directive), it is refused instead of guessed: one reading would lose a rule silently.

use super::mistake::{Wrong, shown};

/// The directives' lines of a text, each with what continues it.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: u32,
}

/// A line that is wrong: its number, and why.
pub(super) type WrongAt = (u32, Wrong);

/// A directive's line, its continuations joined.
#[derive(Debug, Default)]
pub(super) struct Line {
    text: String,
    starts: Starts,
}

/// An argument (or the name) of a directive, without its quotes.
#[derive(Debug, Default)]
pub(super) struct Argument {
    pub(super) text: String,
    starts: Starts,
}

impl Argument {
    /// The line of the file that the byte at `offset` stands on.
    pub(super) fn line_at(&self, offset: usize) -> u32 {
        self.starts.line_at(offset)
    }
}

/// Which line of the file begins at which offset of a text.
#[derive(Debug, Default)]
struct Starts(Vec<(usize, u32)>);

impl Starts {
    fn line_at(&self, offset: usize) -> u32 {
        let Self(starts) = self;
        let after = starts.partition_point(|(start, _)| *start <= offset);
        starts
            .get(after.saturating_sub(1))
            .map_or(1, |(_, line)| *line)
    }

    fn push(&mut self, offset: usize, line: u32) {
        if self.0.last().is_none_or(|(_, last)| *last != line) {
            self.0.push((offset, line));
        }
    }
}

pub(super) fn lines(text: &[u8]) -> Lines<'_> {
    Lines {
        rest: Some(text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)),
        number: 0,
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, WrongAt>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let first = self.physical()?.trim_ascii_start();
            if first.is_empty() {
                continue;
            }
            if first.starts_with(b"#") {
                if let Some(wrong) = self.continued_comment(first) {
                    return Some(Err(wrong));
                }
                continue;
            }
            return Some(self.directive(first));
        }
    }
}

impl<'a> Lines<'a> {
    /// The next line of the file, without its end.
    fn physical(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        self.number = self.number.saturating_add(1);
        let line = match memchr::memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
            Some((line, end)) => {
                self.rest = end.get(1..);
                line
            }
            None => {
                self.rest = None;
                rest
            }
        };
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// A directive that begins with `first`, and what continues it.
    fn directive(&mut self, first: &'a [u8]) -> Result<Line, WrongAt> {
        let mut bytes = Vec::new();
        let mut starts = Starts::default();
        let mut part = first;
        let mut wrong = None;
        loop {
            starts.push(bytes.len(), self.number);
            let is_comment = part.trim_ascii_start().starts_with(b"#");
            if is_comment {
                wrong = wrong.or(Some((
                    self.number,
                    "a comment inside of a directive that `\\` continues; put it before the directive",
                )));
            }
            let continued = part.strip_suffix(b"\\");
            bytes.extend_from_slice(continued.unwrap_or(part));
            // What follows such a comment was most likely meant to belong to the directive.
            if continued.is_none() && !is_comment {
                break;
            }
            let Some(next) = self.physical() else {
                wrong = wrong.or(Some((
                    self.number,
                    "the last line ends in `\\`, but nothing follows",
                )));
                break;
            };
            part = next;
        }
        if let Some((line, message)) = wrong {
            return Err((line, Wrong::new(message)));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Line { text, starts }),
            Err(error) => {
                let line = starts.line_at(error.utf8_error().valid_up_to());
                Err((
                    line,
                    Wrong::new(
                        "this is not UTF-8; write other bytes as `\\xhh` of a regular expression",
                    ),
                ))
            }
        }
    }

    /// Apache continues a comment that ends in `\`, others do not: both agree only if what follows
    /// is a comment or nothing.
    fn continued_comment(&mut self, comment: &'a [u8]) -> Option<WrongAt> {
        if !comment.ends_with(b"\\") {
            return None;
        }
        let line = self.number;
        let mut ahead = Lines {
            rest: self.rest,
            number: line,
        };
        let mut next = ahead.physical()?;
        if next.trim_ascii().is_empty() || next.trim_ascii_start().starts_with(b"#") {
            return None;
        }
        // Its continuations belong to the same mistake.
        while next.ends_with(b"\\")
            && let Some(more) = ahead.physical()
        {
            next = more;
        }
        *self = ahead;
        Some((
            line,
            Wrong::new(
                "a comment that ends in `\\` is continued by some servers and not by others; \
                 begin the next line with `#`, too, or end this one otherwise",
            ),
        ))
    }
}

impl Line {
    /// The number of its first line.
    pub(super) fn number(&self) -> u32 {
        self.starts.line_at(0)
    }

    /// The directive's name and its arguments.
    pub(super) fn arguments(&self) -> Result<Vec<Argument>, WrongAt> {
        let mut arguments = Vec::new();
        let mut characters = self.text.char_indices().peekable();
        loop {
            while characters
                .next_if(|(_, character)| character.is_ascii_whitespace())
                .is_some()
            {}
            let Some((start, first)) = characters.next() else {
                return Ok(arguments);
            };
            let mut argument = Argument::default();
            let mut push = |at: usize, character: char| {
                argument
                    .starts
                    .push(argument.text.len(), self.starts.line_at(at));
                argument.text.push(character);
            };
            if first != '"' && first != '\'' {
                push(start, first);
                while let Some((at, character)) =
                    characters.next_if(|(_, character)| !character.is_ascii_whitespace())
                {
                    push(at, character);
                }
                arguments.push(argument);
                continue;
            }
            // Before the quote a backslash escapes; before anything else both stay, for regular
            // expressions are full of them.
            loop {
                let Some((at, character)) = characters.next() else {
                    return Err((self.starts.line_at(start), self.unclosed(first)));
                };
                if character == first {
                    break;
                }
                if character == '\\'
                    && let Some((at, escaped)) = characters.next()
                {
                    if escaped != first {
                        push(at, '\\');
                    }
                    push(at, escaped);
                    continue;
                }
                push(at, character);
            }
            if argument.text.is_empty() {
                argument.starts.push(0, self.starts.line_at(start));
            }
            if let Some((at, next)) = characters.peek()
                && !next.is_ascii_whitespace()
            {
                let rest = self.text.get(*at..).unwrap_or_default();
                return Err((
                    self.starts.line_at(*at),
                    Wrong::new(format!(
                        "`{}` follows the closing `{first}`; write `\\{first}` for a quote inside of quotes",
                        shown(rest)
                    )),
                ));
            }
            arguments.push(argument);
        }
    }

    fn unclosed(&self, quote: char) -> Wrong {
        if self.text.trim_ascii_end().ends_with('\\') {
            return Wrong::new(format!(
                "the `{quote}` that opens here does not close: white space follows the `\\` at the end of a line"
            ));
        }
        Wrong::new(format!(
            "the `{quote}` that opens here does not close; `\\` at the end of a line continues it"
        ))
    }
}
