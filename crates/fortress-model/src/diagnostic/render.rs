//! Diagnostics for people (the line with the mistake underlined) and for machines (a line of JSON).
//!
//! Everything shown comes from files that may hold anything, so control and direction characters
//! never reach the terminal. Deliberately not here: whether there is colour, and how wide the
//! terminal is.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Effects, Style};

use super::{Diagnostic, Severity};
use crate::document::{Source, Sources, Span};

/// Narrower terminals are treated as this wide.
const NARROWEST: usize = 40;

/// All diagnostics as a text for people, one empty line between two, with a line break at the end.
/// Lines are at most `width` columns, except for words that are longer on their own.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, colour: bool, width: usize) -> String {
    let paper = Paper {
        colour,
        width: width.max(NARROWEST),
    };
    let mut text = String::new();
    for (number, diagnostic) in diagnostics.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        paper.diagnostic(&mut text, diagnostic, sources);
    }
    text
}

/// One diagnostic as a JSON object on one line, without a line break: `severity`, `message`,
/// `file`, `line`, `column` (from 1, in characters) and `help`; what there is not is `null`.
pub fn to_json(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let position = diagnostic.span.and_then(|span| sources.position(span));
    let mut json = format!(
        "{{\"severity\":\"{}\",\"message\":",
        label(diagnostic.severity)
    );
    quote(&mut json, Some(&diagnostic.message));
    json.push_str(",\"file\":");
    quote(&mut json, position.map(|position| position.name));
    for (key, value) in [
        ("line", position.map(|position| position.line)),
        ("column", position.map(|position| position.column)),
    ] {
        let value = value.map_or_else(|| "null".to_owned(), |value| value.to_string());
        json.push_str(",\"");
        json.push_str(key);
        json.push_str("\":");
        json.push_str(&value);
    }
    json.push_str(",\"help\":");
    quote(&mut json, diagnostic.help.as_deref());
    json.push('}');
    json
}

fn label(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Appends a JSON string, or `null`.
pub fn quote(json: &mut String, text: Option<&str>) {
    let Some(text) = text else {
        json.push_str("null");
        return;
    };
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            // Line separators are legal in JSON but end lines for many readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                let code = u32::from(c);
                // INVARIANT: writing to a `String` cannot fail.
                write!(json, "\\u{code:04x}").unwrap_or_default();
            }
            c => json.push(c),
        }
    }
    json.push('"');
}

/// How and how wide to write.
struct Paper {
    colour: bool,
    width: usize,
}

impl Paper {
    fn diagnostic(&self, text: &mut String, diagnostic: &Diagnostic, sources: &Sources) {
        let strong = severity_style(diagnostic.severity);
        let label = label(diagnostic.severity);
        text.push_str(&self.paint(label, strong));
        text.push_str(&self.paint(": ", Style::new().bold()));
        let message = printable(&diagnostic.message);
        text.push_str(&self.paint(&message, Style::new().bold()));
        text.push('\n');
        let place = diagnostic.span.and_then(|span| {
            let position = sources.position(span)?;
            Some((span, position, sources.get(span.source)?))
        });
        let Some((span, position, source)) = place else {
            if let Some(help) = &diagnostic.help {
                self.lines(text, "  ", &printable(help));
            }
            return;
        };
        let number = position.line.to_string();
        let gutter = " ".repeat(number.len());
        let edge = Style::new().fg_color(Some(AnsiColor::Blue.into()));
        let name = printable(position.name);
        let corner = self.paint(&format!("{gutter} ╭─"), edge);
        text.push_str(&format!(
            "{corner} {name}:{}:{}\n",
            position.line, position.column
        ));
        let excerpt = Excerpt::new(source, span, self.width.saturating_sub(number.len() + 3));
        let bar = self.paint(&format!("{number} │"), edge);
        text.push_str(format!("{bar} {}", excerpt.line).trim_end());
        text.push('\n');
        let bar = self.paint(&format!("{gutter} │"), edge);
        let indent = " ".repeat(excerpt.start);
        let underline = self.paint(&"─".repeat(excerpt.length), strong);
        let help = diagnostic
            .help
            .as_deref()
            .map(printable)
            .unwrap_or_default();
        let used = number.len() + 3 + excerpt.start + excerpt.length;
        if !help.is_empty() && used + 2 + columns(&help) <= self.width {
            text.push_str(&format!("{bar} {indent}{underline}  {help}\n"));
            return;
        }
        text.push_str(&format!("{bar} {indent}{underline}\n"));
        if !help.is_empty() {
            // A long help begins below its mark if that leaves it room, or else at the left.
            let room = self.width.saturating_sub(number.len() + 3 + excerpt.start);
            let indent = if room >= 40 { indent } else { String::new() };
            self.lines_after(
                text,
                &format!("{bar} {indent}"),
                number.len() + 3 + indent.len(),
                &help,
            );
        }
    }

    fn lines(&self, text: &mut String, indent: &str, words: &str) {
        self.lines_after(text, indent, indent.len(), words);
    }

    /// Breaks a text at spaces; each line begins with `indent`, which is `indent_columns` wide.
    fn lines_after(&self, text: &mut String, indent: &str, indent_columns: usize, words: &str) {
        let room = self.width.saturating_sub(indent_columns).max(1);
        let mut used = 0;
        for word in words.split(' ') {
            let wide = columns(word);
            if used > 0 && used + 1 + wide > room {
                text.push('\n');
                used = 0;
            }
            if used == 0 {
                text.push_str(indent);
            } else {
                text.push(' ');
                used += 1;
            }
            text.push_str(word);
            used += wide;
        }
        text.push('\n');
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.colour {
            format!("{}{text}{}", style.render(), style.render_reset())
        } else {
            text.to_owned()
        }
    }
}

fn severity_style(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Error => AnsiColor::Red,
        Severity::Warning => AnsiColor::Yellow,
    };
    Style::new()
        .fg_color(Some(colour.into()))
        .effects(Effects::BOLD)
}

/// The line that holds a span's start, made printable and cut to a width.
struct Excerpt {
    line: String,
    /// Columns before the underline.
    start: usize,
    /// Columns of the underline, at least one.
    length: usize,
}

impl Excerpt {
    /// Only the neighbourhood of the span is looked at: the line may be a whole minified file.
    fn new(source: &Source, span: Span, width: usize) -> Self {
        let size = |at: u32| {
            usize::try_from(at)
                .unwrap_or(usize::MAX)
                .min(source.text.len())
        };
        let (start, end) = (size(span.start), size(span.end));
        let (_, line_start) = source.line_of(start);
        let before = source.text.get(line_start..start).unwrap_or_default();
        let before = before.trim_start_matches('\u{feff}');
        let after = source.text.get(start..).unwrap_or_default();
        // No character that is shown has more bytes than this.
        let after = after
            .get(..after.floor_char_boundary(width * 16))
            .unwrap_or_default();
        let marked = after.get(..end.saturating_sub(start)).unwrap_or(after);
        let marked = marked.split(['\n', '\r']).next().unwrap_or_default();
        // A key that was pasted into the file must not travel on into logs of this.
        let after = without_pem(after);
        let marked = without_pem(marked);
        // One column is kept for each `…`.
        let room = width.saturating_sub(2).max(1);
        let (marked, is_marked_cut) = fill(marked.chars(), room);
        let length = columns(&marked).max(1);
        let rest = after.chars().skip(marked.chars().count());
        // As much of the beginning as fits, but a long one leaves a third for what follows.
        let left = (room - length.min(room)).max(1);
        let (before_text, is_before_cut) = fill_back(before, left, left * 2 / 3);
        let left = left.saturating_sub(columns(&before_text));
        let (rest_text, is_rest_cut) = if is_marked_cut {
            (String::new(), true)
        } else {
            fill(rest, left)
        };
        let mut line = String::new();
        if is_before_cut {
            line.push('…');
        }
        line.push_str(&before_text);
        let indent = columns(&line);
        line.push_str(&marked);
        line.push_str(&rest_text);
        if is_rest_cut {
            line.push('…');
        }
        Self {
            line,
            start: indent,
            length,
        }
    }
}

/// A line up to where a PEM block begins in it.
fn without_pem(text: &str) -> &str {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    line.split_once("-----BEGIN")
        .map_or(line, |(before, _)| before)
}

/// As many characters as fit, printable, and whether some were left out.
fn fill(text: impl Iterator<Item = char>, room: usize) -> (String, bool) {
    let mut filled = String::new();
    let mut used = 0;
    for c in text {
        let wide = wide(c);
        if used + wide > room {
            return (filled, true);
        }
        used += wide;
        show(&mut filled, c);
    }
    (filled, false)
}

/// The whole text if it fits into `room`; otherwise as much of its end as fits into `if_cut`.
fn fill_back(text: &str, room: usize, if_cut: usize) -> (String, bool) {
    let (whole, is_cut) = fill(text.chars(), room);
    if !is_cut {
        return (whole, false);
    }
    let mut used = 0;
    let tail: Vec<char> = text
        .chars()
        .rev()
        .take_while(|c| {
            used += wide(*c);
            used <= if_cut
        })
        .collect();
    (fill(tail.into_iter().rev(), if_cut).0, true)
}

fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        show(&mut shown, if c == '\n' { ' ' } else { c });
    }
    shown
}

fn show(text: &mut String, c: char) {
    match c {
        '\t' => text.push_str(TAB),
        c if is_hidden(c) => text.push('\u{fffd}'),
        c => text.push(c),
    }
}

const TAB: &str = "    ";

/// Characters that would move the cursor, end the line or turn the text around.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn columns(text: &str) -> usize {
    text.chars().map(wide).sum()
}

/// Columns of a character on a terminal: East Asian wide characters and emoji take two, marks that
/// sit on the character before them none. The blocks, not each character: enough for an underline.
fn wide(c: char) -> usize {
    match c {
        '\t' => TAB.len(),
        c if is_hidden(c) => 1,
        '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200d}' | '\u{fe00}'..='\u{fe0f}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A diagnostic on the first occurrence of `marked` in `text`.
    fn at(text: &str, marked: &str, help: Option<&str>) -> (Diagnostic, Sources) {
        let mut sources = Sources::default();
        let source = sources.add("fortress.yaml", text);
        let start = u32::try_from(text.find(marked).unwrap()).unwrap();
        let end = start + u32::try_from(marked.len()).unwrap();
        let mut diagnostic = Diagnostic::error(Span { source, start, end }, "wrong `x`");
        diagnostic.help = help.map(str::to_owned);
        (diagnostic, sources)
    }

    #[track_caller]
    fn check(text: &str, marked: &str, help: Option<&str>, width: usize, expect: &[&str]) {
        let (diagnostic, sources) = at(text, marked, help);
        let shown = render(&[diagnostic], &sources, false, width);
        assert_eq!(shown.lines().collect::<Vec<_>>(), expect, "\n{shown}");
    }

    #[test]
    fn a_line_is_shown_with_its_mark() {
        let text = "\n".repeat(13) + "    isuer: https://idp.example.com\nnext: 1\n";
        let expect = [
            "error: wrong `x`",
            "   ╭─ fortress.yaml:14:5",
            "14 │     isuer: https://idp.example.com",
            "   │     ─────  did you mean `issuer`?",
        ];
        check(&text, "isuer", Some("did you mean `issuer`?"), 80, &expect);
        let expect = [
            "error: wrong `x`",
            "  ╭─ fortress.yaml:1:1",
            "1 │ a: b",
            "  │ ─",
        ];
        check("a: b", "a", None, 80, &expect);
    }

    #[test]
    fn marks_stand_below_what_they_mark() {
        let expect = [
            "error: wrong `x`",
            "  ╭─ fortress.yaml:1:6",
            "1 │ 日本é: x",
            "  │        ─",
        ];
        check("日本é: x", "x", None, 80, &expect);
        let expect = [
            "error: wrong `x`",
            "  ╭─ fortress.yaml:1:2",
            "1 │     x",
            "  │     ─",
        ];
        check("\tx", "x", None, 80, &expect);
        let expect = [
            "error: wrong `x`",
            "  ╭─ fortress.yaml:1:4",
            "1 │ a: [b,",
            "  │    ───",
        ];
        check("a: [b,\n  c]", "[b,\n  c]", None, 80, &expect);
        let expect = [
            "error: wrong `x`",
            "  ╭─ fortress.yaml:1:3",
            "1 │ a:",
            "  │   ─",
        ];
        check("a:\r\nb", "\r\n", None, 80, &expect);
    }

    #[test]
    fn long_lines_are_cut_around_the_mark() {
        let text = format!(
            "[{}\"mark\",{}]",
            "\"aaaa\",".repeat(10_000),
            "\"bbbb\",".repeat(10_000)
        );
        let (diagnostic, sources) = at(&text, "mark", None);
        let shown = render(&[diagnostic], &sources, false, 60);
        let lines: Vec<_> = shown.lines().collect();
        assert!(lines.iter().all(|line| columns(line) <= 60), "{shown}");
        let at = columns(lines[2].split_once("mark").unwrap().0);
        assert_eq!(columns(lines[3].split_once('─').unwrap().0), at, "{shown}");
        assert_eq!(lines[3].matches('─').count(), 4, "{shown}");
        let (diagnostic, sources) = at_all(&text);
        let shown = render(&[diagnostic], &sources, false, 60);
        assert!(shown.lines().all(|line| columns(line) <= 60), "{shown}");
    }

    fn at_all(text: &str) -> (Diagnostic, Sources) {
        at(text, text, None)
    }

    #[test]
    fn a_long_help_is_broken_at_spaces() {
        let expect = [
            "error: wrong `x`",
            "  ╭─ fortress.yaml:1:1",
            "1 │ delete: x",
            "  │ ──────",
            "  │ add `security`, or mark it in the",
            "  │ configuration",
        ];
        let help = "add `security`, or mark it in the configuration";
        check("delete: x", "delete", Some(help), 40, &expect);
    }

    #[test]
    fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
        let (mut diagnostic, sources) = at("a: \u{1b}[31m\u{202e}x", "x", Some("\u{1b}]0;t\u{7}"));
        diagnostic.message.push('\u{1b}');
        let shown = render(&[diagnostic], &sources, false, 80);
        assert!(
            !shown.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{shown:?}"
        );
    }

    #[test]
    fn colour_is_only_there_if_wanted() {
        let (diagnostic, sources) = at("a: b", "a", None);
        let diagnostics = [diagnostic];
        assert!(render(&diagnostics, &sources, true, 80).contains("\u{1b}["));
        assert!(!render(&diagnostics, &sources, false, 80).contains("\u{1b}["));
    }

    #[test]
    fn without_a_place_there_is_still_a_help() {
        let diagnostic = Diagnostic::warning(None, "no file").help("write one");
        let shown = render(
            &[diagnostic.clone(), diagnostic],
            &Sources::default(),
            false,
            80,
        );
        assert_eq!(
            shown,
            "warning: no file\n  write one\n\nwarning: no file\n  write one\n"
        );
    }

    #[test]
    fn json_has_one_line_and_all_keys() {
        let (diagnostic, sources) = at("ü: \"b\"", "\"b\"", Some("a\n\"b\"\u{2028}\u{1}"));
        assert_eq!(
            to_json(&diagnostic, &sources),
            r#"{"severity":"error","message":"wrong `x`","file":"fortress.yaml","line":1,"column":4,"help":"a\n\"b\"\u2028\u0001"}"#
        );
        assert_eq!(
            to_json(&Diagnostic::warning(None, "m"), &sources),
            r#"{"severity":"warning","message":"m","file":null,"line":null,"column":null,"help":null}"#
        );
    }
}
