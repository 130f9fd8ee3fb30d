//! YAML 1.2 into nodes, on the events of `saphyr-parser`.
//!
//! What YAML has and JSON has not is either resolved here (anchors, aliases, merge keys, core tags)
//! or refused with its place (other tags, several documents, collections as keys), so that the rest
//! of Fortress knows one kind of tree. Deliberately not here: what a plain scalar means; see
//! `scalar.rs`.

use std::{borrow::Cow, collections::HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{
    Member, Node, Span, Value,
    json::Keys,
    read::{Input, MAX_DEPTH, MAX_DIAGNOSTICS, MAX_EXPANSION, duplicate},
    scalar,
};
use crate::diagnostic::Diagnostic;

/// Reads one document and nothing after it.
pub(super) fn read(input: &Input<'_>) -> (Option<Node>, Vec<Diagnostic>) {
    let mut builder = Builder {
        input,
        offsets: Offsets::new(input.text),
        open: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        expanded: 0,
        diagnostics: Vec::new(),
    };
    if builder.refuse_control() || builder.run().is_err() {
        return (None, builder.diagnostics);
    }
    let root = builder.root.unwrap_or_else(|| Node {
        span: input.span(0, 0),
        value: Value::Null,
    });
    (Some(root), builder.diagnostics)
}

/// The reason is already among the diagnostics.
struct Stop;

type Anchored<'e> = (usize, Option<Cow<'e, Tag>>);

struct Builder<'a> {
    input: &'a Input<'a>,
    offsets: Offsets<'a>,
    /// The collections that are not closed yet, outermost first.
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Anchor>,
    /// Bytes of memory that anchors and aliases have cost.
    expanded: usize,
    diagnostics: Vec<Diagnostic>,
}

/// What an alias stands for.
struct Anchor {
    node: Node,
    weight: usize,
    height: usize,
}

/// A collection that is not closed yet.
struct Open {
    start: usize,
    /// The last byte of the last thing in it, so far.
    end: usize,
    anchor: usize,
    kind: Kind,
}

enum Kind {
    List(Vec<Node>),
    Map {
        members: Vec<Member>,
        seen: Keys,
        /// `<<`: what is to be merged in.
        merges: Vec<Node>,
        key: Option<Key>,
    },
}

struct Key {
    text: Box<str>,
    span: Span,
    is_merge: bool,
}

impl<'a> Builder<'a> {
    /// YAML allows no control characters but tab and line breaks; the parser would take a NUL for
    /// the end of the file and leave the rest unread.
    fn refuse_control(&mut self) -> bool {
        let is_refused =
            |byte: u8| byte == 0x7F || byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
        let Some(at) = self.input.text.bytes().position(is_refused) else {
            return false;
        };
        let byte = self
            .input
            .text
            .as_bytes()
            .get(at)
            .copied()
            .unwrap_or_default();
        let message = format!("not valid YAML: control character U+{byte:04X}");
        let span = self.input.span(at, at + 1);
        let help = "remove it, or write it as an escape inside double quotes";
        self.diagnostics
            .push(Diagnostic::error(span, message).help(help));
        true
    }

    fn run(&mut self) -> Result<(), Stop> {
        let mut parser: Parser<'a, StrInput<'a>> = Parser::new_from_str(self.input.text);
        let mut documents = 0;
        while let Some(next) = parser.next_event() {
            let (event, place) = next.map_err(|error| self.syntax(&error))?;
            let start = self.offsets.byte(place.start.index());
            let end = self.offsets.byte(place.end.index()).max(start);
            match event {
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let message = "a second document begins here; a file may hold one";
                        let help = "put it into a file of its own";
                        let span = self.input.span(start, end);
                        return Err(self.fatal(Diagnostic::error(span, message).help(help)));
                    }
                }
                Event::Alias(id) => self.alias(id, start, end)?,
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(&text, style, (anchor, tag), start, end)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    let start = if start == end {
                        self.first_dash(start)
                    } else {
                        start
                    };
                    self.collection((anchor, tag), Kind::List(Vec::new()), start, end)?;
                }
                Event::MappingStart(anchor, tag) => {
                    let kind = Kind::Map {
                        members: Vec::new(),
                        seen: Keys::default(),
                        merges: Vec::new(),
                        key: None,
                    };
                    self.collection((anchor, tag), kind, start, end)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(start, end)?,
            }
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        (anchor, tag): Anchored<'_>,
        start: usize,
        end: usize,
    ) -> Result<(), Stop> {
        let written = self.input.text.get(start..end).unwrap_or_default();
        let is_plain = matches!(style, ScalarStyle::Plain);
        // The parser counts the spaces and the comment behind a scalar as part of it.
        let end = match style {
            ScalarStyle::Plain => start + written.trim_end().len(),
            ScalarStyle::SingleQuoted => start + quoted_length(written, b'\''),
            ScalarStyle::DoubleQuoted => start + quoted_length(written, b'"'),
            ScalarStyle::Literal | ScalarStyle::Folded => end,
        };
        let span = self.input.span(start, end);
        if self.wants_key() {
            if is_plain && tag.is_none() && text.is_empty() {
                self.report(Diagnostic::error(span, "a key is missing before `:`"))?;
            }
            let is_merge = is_plain && tag.is_none() && text == "<<";
            self.key(Key {
                text: text.into(),
                span,
                is_merge,
            });
            if anchor != 0 {
                let value = Value::String(text.into());
                self.anchor(anchor, &Node { span, value })?;
            }
            return Ok(());
        }
        let value = match &tag {
            Some(tag) => scalar::tagged(text, tag),
            None if is_plain => scalar::plain(text),
            None => Ok(Value::String(text.into())),
        };
        let value = match value {
            Ok(value) => value,
            Err(wrong) => {
                let diagnostic = Diagnostic::error(span, wrong.message);
                self.report(diagnostic.help(wrong.help))?;
                Value::String(text.into())
            }
        };
        self.finish(Node { span, value }, anchor, end)
    }

    fn collection(
        &mut self,
        (anchor, tag): Anchored<'_>,
        kind: Kind,
        start: usize,
        end: usize,
    ) -> Result<(), Stop> {
        let span = self
            .input
            .span(start, end.max(start + 1).min(self.input.text.len()));
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(self.fatal(Diagnostic::error(span, message)));
        }
        if let Some(tag) = tag {
            let expected = if matches!(kind, Kind::List(_)) {
                "seq"
            } else {
                "map"
            };
            let is_non_specific = tag.handle.is_empty() && tag.suffix == "!";
            let is_expected = tag.is_yaml_core_schema() && tag.suffix == expected;
            if !is_non_specific && !is_expected {
                let wrong = scalar::unknown_tag(&tag);
                self.report(Diagnostic::error(span, wrong.message).help(wrong.help))?;
            }
        }
        if self.wants_key() {
            let message = "a list or object cannot be a key";
            let help = "if this is a template such as `{name}`, put it in quotes";
            return Err(self.fatal(Diagnostic::error(span, message).help(help)));
        }
        self.open.push(Open {
            start,
            end: start,
            anchor,
            kind,
        });
        Ok(())
    }

    /// Where a block list begins. The parser gives the place of its first item if the list is not
    /// indented below its key; then the dash stands between the key and that place.
    fn first_dash(&self, start: usize) -> usize {
        let Some(
            open @ Open {
                kind: Kind::Map { .. },
                ..
            },
        ) = self.open.last()
        else {
            return start;
        };
        let between = self.input.text.get(open.end..start).unwrap_or_default();
        let mut in_comment = false;
        for (at, byte) in between.bytes().enumerate() {
            match byte {
                b'\n' => in_comment = false,
                b'#' => in_comment = true,
                b'-' if !in_comment => return open.end + at,
                _ => {}
            }
        }
        start
    }

    fn close(&mut self, start: usize, end: usize) -> Result<(), Stop> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        // A block collection's end event stands where the next thing begins; a flow collection's is
        // its bracket.
        let found = self.input.text.get(start..end).unwrap_or_default();
        let end = if found.starts_with([']', '}']) {
            start + 1
        } else {
            open.end
        };
        let value = match open.kind {
            Kind::List(mut items) => {
                items.shrink_to_fit();
                Value::Array(items)
            }
            Kind::Map {
                members, merges, ..
            } => Value::Object(self.merge(members, merges)?),
        };
        let span = self.input.span(open.start, end);
        self.finish(Node { span, value }, open.anchor, end)
    }

    /// Adds what `<<` brings: the file's own keys win, then the earlier of the merged.
    fn merge(&mut self, mut members: Vec<Member>, merges: Vec<Node>) -> Result<Vec<Member>, Stop> {
        if merges.is_empty() {
            members.shrink_to_fit();
            return Ok(members);
        }
        let mut seen: HashMap<Box<str>, ()> = members
            .iter()
            .map(|member| (member.key.clone(), ()))
            .collect();
        for merge in merges {
            let span = merge.span;
            let maps = match merge.value {
                Value::Array(items) => items,
                value @ (Value::Object(_)
                | Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)) => vec![Node { span, value }],
            };
            for map in maps {
                let Value::Object(merged) = map.value else {
                    let message = format!("`<<` merges objects, and this is {}", map.kind());
                    let help = "write `<<: *anchor`, or quote the key: `\"<<\"`";
                    self.report(Diagnostic::error(map.span, message).help(help))?;
                    continue;
                };
                for member in merged {
                    if seen.insert(member.key.clone(), ()).is_none() {
                        members.push(member);
                    }
                }
            }
        }
        Ok(members)
    }

    fn alias(&mut self, id: usize, start: usize, end: usize) -> Result<(), Stop> {
        let span = self.input.span(start, end);
        let Some(anchor) = self.anchors.get(&id) else {
            let message = "this alias stands inside what it names, without end";
            return Err(self.fatal(Diagnostic::error(span, message)));
        };
        if self.open.len() + anchor.height > MAX_DEPTH {
            let message =
                format!("with what this alias names, nested deeper than {MAX_DEPTH} levels");
            return Err(self.fatal(Diagnostic::error(span, message)));
        }
        self.expanded = self.expanded.saturating_add(anchor.weight);
        if self.expanded > MAX_EXPANSION {
            return Err(self.too_much(span));
        }
        let node = anchor.node.clone();
        if self.wants_key() {
            let Some(text) = node.as_str().or_else(|| node.as_number()) else {
                let message = "this alias cannot be a key: it names no string";
                return Err(self.fatal(Diagnostic::error(span, message)));
            };
            self.key(Key {
                text: text.into(),
                span,
                is_merge: false,
            });
            return Ok(());
        }
        self.add(node, end)
    }

    /// Remembers a node under its anchor.
    fn anchor(&mut self, id: usize, node: &Node) -> Result<(), Stop> {
        let (weight, height) = measure(node);
        self.expanded = self.expanded.saturating_add(weight);
        if self.expanded > MAX_EXPANSION {
            return Err(self.too_much(node.span));
        }
        let node = node.clone();
        self.anchors.insert(
            id,
            Anchor {
                node,
                weight,
                height,
            },
        );
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize, end: usize) -> Result<(), Stop> {
        if anchor != 0 {
            self.anchor(anchor, &node)?;
        }
        self.add(node, end)
    }

    /// Puts a value where it belongs: into the innermost open collection.
    fn add(&mut self, node: Node, end: usize) -> Result<(), Stop> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.end = open.end.max(end);
        match &mut open.kind {
            Kind::List(items) => items.push(node),
            Kind::Map {
                members,
                seen,
                merges,
                key,
            } => {
                let Some(key) = key.take() else {
                    return Ok(());
                };
                if key.is_merge {
                    merges.push(node);
                } else if let Some(first) = seen.first_of(&key.text, key.span, members) {
                    let diagnostic = duplicate(self.input, &key.text, first, key.span);
                    return self.report(diagnostic);
                } else {
                    members.push(Member {
                        key: key.text,
                        key_span: key.span,
                        value: node,
                    });
                }
            }
        }
        Ok(())
    }

    /// The next thing is a key.
    fn wants_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                kind: Kind::Map { key: None, .. },
                ..
            })
        )
    }

    fn key(&mut self, new: Key) {
        if let Some(open) = self.open.last_mut() {
            let end = usize::try_from(new.span.end).unwrap_or(usize::MAX);
            open.end = open.end.max(end.saturating_sub(self.input.base));
            if let Kind::Map { key, .. } = &mut open.kind {
                *key = Some(new);
            }
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

    fn fatal(&mut self, diagnostic: Diagnostic) -> Stop {
        self.diagnostics.push(diagnostic);
        Stop
    }

    fn too_much(&mut self, span: Span) -> Stop {
        let message = format!("anchors and aliases unfold to more than {MAX_EXPANSION} bytes");
        self.fatal(Diagnostic::error(span, message).help("write less with aliases"))
    }

    fn syntax(&mut self, error: &ScanError) -> Stop {
        let at = self.offsets.byte(error.marker().index());
        let before = self.input.text.get(..at).unwrap_or_default();
        let at = if error.info().contains("tab") {
            before.trim_end_matches('\t').len()
        } else {
            at
        };
        let rest = self.input.text.get(at..).unwrap_or_default();
        let found = rest.chars().next().filter(|c| *c != '\n' && *c != '\r');
        let span = self.input.span(at, at + found.map_or(0, char::len_utf8));
        let info = error.info();
        let diagnostic = Diagnostic::error(span, format!("not valid YAML: {info}"));
        let diagnostic = match found {
            Some('\t') => diagnostic.help("indent with spaces, not with tabs"),
            Some('@' | '`' | '%') => diagnostic.help("put the value in quotes"),
            Some(_) | None if info.contains("tab") => {
                diagnostic.help("indent with spaces, not with tabs")
            }
            Some(_) | None if info.contains("unknown anchor") => diagnostic.help(
                "an alias `*name` needs `&name` before it; quote a value that begins with `*`",
            ),
            Some(_) | None if info.contains("mapping values are not allowed") => {
                diagnostic.help("put a value that holds `: ` in quotes, and check the indentation")
            }
            Some(_) | None if info.contains("did not find expected key") => {
                diagnostic.help("check the indentation: keys of one object begin in one column")
            }
            Some(_) | None => diagnostic,
        };
        self.fatal(diagnostic)
    }
}

/// Bytes of memory that a copy of a node takes, and how deep it nests. Recursion is bounded: the
/// node nests at most [`MAX_DEPTH`] levels.
fn measure(node: &Node) -> (usize, usize) {
    let own = size_of::<Node>();
    match &node.value {
        Value::Null | Value::Bool(_) => (own, 0),
        Value::Number(text) | Value::String(text) => (own + text.len(), 0),
        Value::Array(items) => items.iter().map(measure).fold(
            (own, 1),
            |(weight, height), (item_weight, item_height)| {
                (
                    weight.saturating_add(item_weight),
                    height.max(item_height + 1),
                )
            },
        ),
        Value::Object(members) => members.iter().fold((own, 1), |(weight, height), member| {
            let (value_weight, value_height) = measure(&member.value);
            let key_weight = size_of::<Member>() - own + member.key.len();
            (
                weight
                    .saturating_add(value_weight)
                    .saturating_add(key_weight),
                height.max(value_height + 1),
            )
        }),
    }
}

/// Bytes of a quoted scalar, with the anchor and tag before it, up to its closing quote.
fn quoted_length(written: &str, quote: u8) -> usize {
    let mut properties = 0;
    // Neither an anchor nor a tag holds a space; both may hold quotes.
    while let Some(rest) = written.get(properties..)
        && rest.starts_with(['&', '!'])
    {
        let property = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (_, behind) = rest.split_at_checked(property).unwrap_or((rest, ""));
        properties += property + behind.len() - behind.trim_start().len();
    }
    let mut bytes = written.bytes().enumerate().skip(properties + 1).peekable();
    while let Some((at, byte)) = bytes.next() {
        let is_doubled = bytes.peek().is_some_and(|(_, next)| *next == quote);
        if byte == b'\\' && quote == b'"' || byte == quote && quote == b'\'' && is_doubled {
            bytes.next();
        } else if byte == quote {
            return at + 1;
        }
    }
    written.trim_end().len()
}

/// Finds the byte of a character by its number: the parser counts characters, spans count bytes.
struct Offsets<'a> {
    text: &'a str,
    /// The byte of each [`Offsets::STRIDE`]th character; empty if bytes and characters agree.
    marks: Vec<usize>,
}

impl<'a> Offsets<'a> {
    const STRIDE: usize = 32;

    fn new(text: &'a str) -> Self {
        let marks = if text.is_ascii() {
            Vec::new()
        } else {
            let starts = text.char_indices().map(|(at, _)| at);
            starts.step_by(Self::STRIDE).collect()
        };
        Self { text, marks }
    }

    fn byte(&self, character: usize) -> usize {
        if self.marks.is_empty() {
            return character.min(self.text.len());
        }
        let Some(mark) = self.marks.get(character / Self::STRIDE) else {
            return self.text.len();
        };
        let rest = self.text.get(*mark..).unwrap_or_default();
        rest.char_indices()
            .nth(character % Self::STRIDE)
            .map_or(self.text.len(), |(at, _)| mark + at)
    }
}
