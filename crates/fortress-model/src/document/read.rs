//! Text into [`Node`]s: the one entry for YAML and JSON files.
//!
//! All mistakes that can be found without guessing are found at once; a syntax error ends the
//! reading where it stands. Deliberately not here: files (the caller reads them) and meaning.

use super::{Node, SourceId, Sources, Span, json, yaml};
use crate::diagnostic::{Diagnostic, Severity};

/// How deep lists and objects may nest in a file.
pub const MAX_DEPTH: usize = 200;

/// Bytes that a file may have. Spans count in 32 bits; no honest description comes near.
pub const MAX_BYTES: usize = 64 << 20;

/// Bytes of memory that a YAML file's aliases and merge keys may add, so that a file of a few
/// hundred bytes cannot unfold into gigabytes ("billion laughs").
pub const MAX_EXPANSION: usize = 64 << 20;

/// Diagnostics after which a reader stops looking for more.
pub(super) const MAX_DIAGNOSTICS: usize = 100;

/// How a text is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// YAML 1.2 with the core schema, merge keys included; one document.
    Yaml,
    /// JSON (RFC 8259), strictly, without duplicate keys.
    Json,
    /// By the file's name and first character: `.json` is JSON; anything else that begins with `{`
    /// or `[` is JSON if it can be read so, and YAML if not.
    #[default]
    Auto,
}

/// Reads a source into a tree.
///
/// # Errors
/// Every mistake that was found. Nothing is ever returned beside an error; see [`read_partly`].
pub fn read(id: SourceId, sources: &Sources, format: Format) -> Result<Node, Vec<Diagnostic>> {
    let (node, diagnostics) = read_partly(id, sources, format);
    match node {
        Some(node) if diagnostics.is_empty() => Ok(node),
        Some(_) | None => Err(diagnostics),
    }
}

/// Reads a source into a tree as far as it can be read, for callers that go on to find more
/// mistakes. A duplicate key's first value is kept. There is a tree, or at least one error.
pub fn read_partly(
    id: SourceId,
    sources: &Sources,
    format: Format,
) -> (Option<Node>, Vec<Diagnostic>) {
    let Some(source) = sources.get(id) else {
        return (
            None,
            vec![Diagnostic::error(None, "this file was not read")],
        );
    };
    if source.text.len() > MAX_BYTES {
        let message = format!(
            "`{}` has {} bytes; a file may have {MAX_BYTES}",
            source.name,
            source.text.len()
        );
        return (None, vec![Diagnostic::error(None, message)]);
    }
    // Editors on some systems begin files with a byte order mark; it means nothing in UTF-8.
    let (text, base) = match source.text.strip_prefix('\u{feff}') {
        Some(text) => (text, '\u{feff}'.len_utf8()),
        None => (&*source.text, 0),
    };
    let input = Input { text, base, id };
    match format {
        Format::Json => json::read(&input),
        Format::Yaml => yaml::read(&input),
        Format::Auto => guess(&input, &source.name),
    }
}

fn guess(input: &Input<'_>, name: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    if extension.eq_ignore_ascii_case("json") {
        return json::read(input);
    }
    if !input.text.trim_start().starts_with(['{', '[']) {
        return yaml::read(input);
    }
    let as_json = json::read(input);
    if as_json.0.is_some() {
        return as_json;
    }
    let as_yaml = yaml::read(input);
    let is_yaml_by_name =
        extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml");
    if as_yaml.0.is_some() || is_yaml_by_name {
        as_yaml
    } else {
        as_json
    }
}

/// A text and where it stands in its source.
#[derive(Debug)]
pub(super) struct Input<'a> {
    /// Without a byte order mark.
    pub(super) text: &'a str,
    /// Bytes before it in the source.
    pub(super) base: usize,
    /// The source.
    pub(super) id: SourceId,
}

impl Input<'_> {
    /// The span of some bytes of the text.
    pub(super) fn span(&self, start: usize, end: usize) -> Span {
        // INVARIANT: `read_partly` refuses texts whose offsets do not fit.
        let offset = |at: usize| u32::try_from(at + self.base).unwrap_or(u32::MAX);
        Span {
            source: self.id,
            start: offset(start),
            end: offset(end),
        }
    }
}

/// The diagnostics of two members with one key: at the second, naming the first's line.
pub(super) fn duplicate(input: &Input<'_>, key: &str, first: Span, second: Span) -> Diagnostic {
    let start = usize::try_from(first.start).unwrap_or(usize::MAX);
    let before = input.text.get(..start.saturating_sub(input.base));
    let before = before.unwrap_or_default().as_bytes();
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    let column = input
        .text
        .get(line_start..start.saturating_sub(input.base))
        .map_or(0, |text| text.chars().count())
        + 1;
    let shown = shorten(key);
    Diagnostic {
        severity: Severity::Error,
        message: format!("duplicate key `{shown}`"),
        span: Some(second),
        help: Some(format!(
            "first written at {line}:{column}; keep one of the two"
        )),
    }
}

/// A piece of the operator's text for a message: on one line, and not longer than a line.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text
        .chars()
        .take(LONGEST)
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}
