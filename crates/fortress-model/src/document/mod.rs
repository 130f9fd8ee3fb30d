//! YAML and JSON files as trees whose every node knows where it stands.
//!
//! One reader serves the configuration and the descriptions. Deliberately not here: request bodies,
//! which have a stricter and faster reader of their own in `fortress-spec`.

mod json;
pub mod read;
mod scalar;
#[cfg(test)]
mod tests;
mod yaml;

use std::sync::{Arc, OnceLock};

pub use read::{Format, read, read_partly};

/// Which of the [`Sources`] a span belongs to.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SourceId(pub u32);

/// A stretch of a source, in bytes.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Span {
    /// The file.
    pub source: SourceId,
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes, to slice the source with.
    pub fn bytes(self) -> std::ops::Range<usize> {
        let size = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        size(self.start)..size(self.end)
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// How people know the file: its path as they wrote it.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
    /// Where each line begins; made when the first position is asked for.
    lines: OnceLock<Lines>,
}

/// What makes positions cheap: descriptions of many megabytes have thousands of diagnostics, and
/// may stand on one line.
#[derive(Clone, Debug)]
struct Lines {
    /// The first byte of each line.
    starts: Box<[usize]>,
    /// Bytes and characters are the same.
    is_ascii: bool,
}

impl Source {
    /// The number of the line (from 0) that holds a byte, and where the line begins.
    pub fn line_of(&self, byte: usize) -> (usize, usize) {
        let starts = &self.lines().starts;
        let line = starts
            .partition_point(|start| *start <= byte)
            .saturating_sub(1);
        (line, starts.get(line).copied().unwrap_or_default())
    }

    fn lines(&self) -> &Lines {
        self.lines.get_or_init(|| {
            let breaks = memchr::memchr_iter(b'\n', self.text.as_bytes());
            Lines {
                starts: std::iter::once(0).chain(breaks.map(|at| at + 1)).collect(),
                is_ascii: self.text.is_ascii(),
            }
        })
    }

    /// The column (from 0, in characters) of a byte, in the line that begins at `line_start`.
    fn column(&self, line_start: usize, byte: usize) -> Option<usize> {
        if self.lines().is_ascii {
            return Some(byte - line_start.min(byte));
        }
        let before = self.text.get(line_start..byte)?;
        Some(before.trim_start_matches('\u{feff}').chars().count())
    }
}

/// All files that were read, by id.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    sources: Vec<Source>,
}

impl Sources {
    /// Adds a file and gives its id.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        self.sources.push(Source {
            name: name.into(),
            text: text.into(),
            lines: OnceLock::new(),
        });
        id
    }

    /// The file behind an id.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        usize::try_from(id.0)
            .ok()
            .and_then(|index| self.sources.get(index))
    }

    /// The name of the file, and line and column (from 1; columns count characters) of a span's start.
    pub fn position(&self, span: Span) -> Option<Position<'_>> {
        let source = self.get(span.source)?;
        let start = usize::try_from(span.start).ok()?.min(source.text.len());
        let (line, line_start) = source.line_of(start);
        let column = source.column(line_start, start)? + 1;
        Some(Position {
            name: &source.name,
            line: line + 1,
            column,
        })
    }
}

/// Where a span starts, for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position<'a> {
    /// The file's name.
    pub name: &'a str,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value stands, brackets and quotes included; of a YAML block scalar, its lines. What
    /// an alias brings keeps the place where it was written.
    pub span: Span,
    /// What it is.
    pub value: Value,
}

/// What a [`Node`] holds. YAML's core schema and JSON give the same.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it was written, already known to be a JSON number (YAML's hexadecimal and octal
    /// integers are rewritten in decimal; `.inf` and `.nan` are errors).
    Number(Box<str>),
    /// A string.
    String(Box<str>),
    /// A sequence.
    Array(Vec<Node>),
    /// A mapping, in the file's order; its keys are unique.
    Object(Vec<Member>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub struct Member {
    /// The key's text.
    pub key: Box<str>,
    /// Where the key stands.
    pub key_span: Span,
    /// Its value.
    pub value: Node,
}

impl Node {
    /// The value of `key`, if this is an object that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|member| &member.value)
    }

    /// The member `key`, with the place of the key itself.
    pub fn member(&self, key: &str) -> Option<&Member> {
        self.members().iter().find(|member| &*member.key == key)
    }

    /// The members of an object; of anything else, none.
    pub fn members(&self) -> &[Member] {
        if let Value::Object(members) = &self.value {
            members
        } else {
            &[]
        }
    }

    /// The items of an array; of anything else, none.
    pub fn items(&self) -> &[Node] {
        if let Value::Array(items) = &self.value {
            items
        } else {
            &[]
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Value::String(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Value::Bool(value) = self.value {
            Some(value)
        } else {
            None
        }
    }

    /// The text of a number.
    pub fn as_number(&self) -> Option<&str> {
        if let Value::Number(text) = &self.value {
            Some(text)
        } else {
            None
        }
    }

    /// `an object`, `a string` and so on, for messages.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}
