//! JSON (RFC 8259) into nodes, fast: the largest descriptions are JSON of many megabytes.
//!
//! Strict: no comments, no trailing commas, no duplicate keys, no lone surrogates. Deliberately not
//! here: request bodies, whose reader works on bytes from the network.

use std::collections::HashMap;

use super::{
    Member, Node, Span, Value,
    read::{Input, MAX_DEPTH, MAX_DIAGNOSTICS, duplicate},
};
use crate::diagnostic::Diagnostic;

/// Reads one value and nothing after it.
pub(super) fn read(input: &Input<'_>) -> (Option<Node>, Vec<Diagnostic>) {
    let mut reader = Reader {
        input,
        bytes: input.text.as_bytes(),
        at: 0,
        diagnostics: Vec::new(),
    };
    let node = reader.document().ok();
    (node, reader.diagnostics)
}

/// The reason is already among the diagnostics.
struct Stop;

struct Reader<'a> {
    input: &'a Input<'a>,
    bytes: &'a [u8],
    at: usize,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let node = self.value(0)?;
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(self.unexpected("the end of the file"));
        }
        Ok(node)
    }

    fn value(&mut self, depth: usize) -> Result<Node, Stop> {
        self.skip_space();
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) | None => return Err(self.unexpected("a value")),
        };
        Ok(Node {
            span: self.input.span(start, self.at),
            value,
        })
    }

    fn object(&mut self, depth: usize) -> Result<Value, Stop> {
        self.open(depth)?;
        let mut members: Vec<Member> = Vec::new();
        let mut seen = Keys::default();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let key = self.string()?;
            let key_span = self.input.span(start, self.at);
            self.skip_space();
            if !self.take(b':') {
                return Err(self.unexpected("`:`"));
            }
            let value = self.value(depth + 1)?;
            if let Some(first) = seen.first_of(&key, key_span, &members) {
                self.report(duplicate(self.input, &key, first, key_span))?;
            } else {
                members.push(Member {
                    key,
                    key_span,
                    value,
                });
            }
            self.skip_space();
            if self.take(b'}') {
                members.shrink_to_fit();
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Stop> {
        self.open(depth)?;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                items.shrink_to_fit();
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    /// Steps over an opening bracket.
    fn open(&mut self, depth: usize) -> Result<(), Stop> {
        if depth >= MAX_DEPTH {
            let span = self.input.span(self.at, self.at + 1);
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            self.diagnostics.push(Diagnostic::error(span, message));
            return Err(Stop);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Box<str>, Stop> {
        self.at += 1;
        let start = self.at;
        let mut unescaped: Option<String> = None;
        let mut piece_start = start;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                self.at = start - 1;
                let span = self.input.span(start - 1, start);
                let message = "this string has no end";
                self.diagnostics
                    .push(Diagnostic::error(span, message).help("close it with `\"`"));
                return Err(Stop);
            };
            self.refuse_control(self.at, found)?;
            self.at += found;
            let piece = self
                .input
                .text
                .get(piece_start..self.at)
                .unwrap_or_default();
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(match unescaped {
                    None => piece.into(),
                    Some(text) => (text + piece).into_boxed_str(),
                });
            }
            let text = unescaped.get_or_insert_default();
            text.push_str(piece);
            text.push(self.escape()?);
            piece_start = self.at;
        }
    }

    fn refuse_control(&mut self, start: usize, length: usize) -> Result<(), Stop> {
        let piece = self.bytes.get(start..start + length).unwrap_or_default();
        let Some(at) = piece.iter().position(|byte| *byte < 0x20) else {
            return Ok(());
        };
        let span = self.input.span(start + at, start + at + 1);
        let diagnostic = Diagnostic::error(
            span,
            "a string may not hold a line break or other control character",
        )
        .help("close the string with `\"`, or write the character as `\\n` or `\\u00XX`");
        self.diagnostics.push(diagnostic);
        Err(Stop)
    }

    /// The character behind a `\`, which is the current byte.
    fn escape(&mut self) -> Result<char, Stop> {
        let start = self.at;
        let letter = self.bytes.get(start + 1).copied();
        self.at += 2;
        let found = match letter {
            Some(b'"') => Some('"'),
            Some(b'\\') => Some('\\'),
            Some(b'/') => Some('/'),
            Some(b'b') => Some('\u{8}'),
            Some(b'f') => Some('\u{c}'),
            Some(b'n') => Some('\n'),
            Some(b'r') => Some('\r'),
            Some(b't') => Some('\t'),
            Some(b'u') => self.unicode(),
            Some(_) | None => None,
        };
        found.ok_or_else(|| {
            let end = (start + if letter == Some(b'u') { 6 } else { 2 }).min(self.bytes.len());
            let diagnostic = Diagnostic::error(self.input.span(start, end), "unknown escape")
                .help(r#"JSON has `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`, `\t` and `\uXXXX` (UTF-16, surrogates in pairs)"#);
            self.diagnostics.push(diagnostic);
            Stop
        })
    }

    /// The character of `\uXXXX`, or of two of them that are a surrogate pair.
    fn unicode(&mut self) -> Option<char> {
        let high = self.four_digits()?;
        let code = match high {
            0xD800..=0xDBFF => {
                if self.bytes.get(self.at..self.at + 2) != Some(br"\u") {
                    return None;
                }
                self.at += 2;
                let low = self.four_digits()?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    return None;
                }
                0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => high,
        };
        char::from_u32(code)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 4)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.at += 4;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let start = self.at;
        self.take(b'-');
        // No leading zero: `012` is ten to some readers and twelve to others.
        if !self.take(b'0') && self.digits() == 0 {
            return Err(self.unexpected("a digit"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.unexpected("a digit"));
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            if self.digits() == 0 {
                return Err(self.unexpected("a digit"));
            }
        }
        let text = self.input.text.get(start..self.at).unwrap_or_default();
        if matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'+' | b'_')
        ) {
            return Err(self.unexpected("the end of the number"));
        }
        Ok(Value::Number(text.into()))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Stop> {
        if self.bytes.get(self.at..self.at + word.len()) != Some(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        if matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_')
        ) {
            return Err(self.unexpected(&format!("nothing after `{word}`")));
        }
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
        }
        found
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) -> Result<(), Stop> {
        self.diagnostics.push(diagnostic);
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            Ok(())
        } else {
            Err(Stop)
        }
    }

    /// Says what stands at the current byte where something else should.
    fn unexpected(&mut self, expected: &str) -> Stop {
        let rest = self.input.text.get(self.at..).unwrap_or_default();
        let diagnostic = match rest.chars().next() {
            None => Diagnostic::error(
                self.input.span(self.at, self.at),
                format!("not valid JSON: expected {expected}, found the end of the file"),
            ),
            Some(found) => {
                let span = self.input.span(self.at, self.at + found.len_utf8());
                let found_text = found.escape_debug();
                let message = format!("not valid JSON: expected {expected}, found `{found_text}`");
                let diagnostic = Diagnostic::error(span, message);
                match found {
                    '\'' => diagnostic.help("strings stand in double quotes"),
                    '/' | '#' => diagnostic.help("JSON has no comments"),
                    '}' | ']' => diagnostic.help("remove the comma before it, if there is one"),
                    _ => diagnostic,
                }
            }
        };
        self.diagnostics.push(diagnostic);
        Stop
    }
}

/// Finds a key's first member without becoming quadratic on large objects and without hashing on
/// small ones.
#[derive(Default)]
pub(super) struct Keys {
    index: HashMap<Box<str>, Span>,
}

impl Keys {
    /// Where `key` was seen before, if it was; remembers it if not. `members` holds exactly the
    /// members whose keys were new.
    pub(super) fn first_of(&mut self, key: &str, span: Span, members: &[Member]) -> Option<Span> {
        const FEW: usize = 16;
        if members.len() < FEW {
            return members
                .iter()
                .find(|member| *member.key == *key)
                .map(|member| member.key_span);
        }
        if self.index.is_empty() {
            let known = members.iter();
            self.index = known
                .map(|member| (member.key.clone(), member.key_span))
                .collect();
        }
        if let Some(first) = self.index.get(key) {
            return Some(*first);
        }
        self.index.insert(key.into(), span);
        None
    }
}
