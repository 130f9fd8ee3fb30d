//! One part: its headers, and whether it is a field or a file.

use super::super::{Argument, Collected, Fault, FilePart, Limits, cookies::trimmed};
use super::disposition::{Disposition, disposition};
use crate::store::{Store, Text};
use memchr::memchr;

/// Header lines that a part may have; browsers send two or three.
const HEADERS: usize = 32;

/// Reads the part whose headers begin at the first of `span` and whose content ends at the second.
/// Headers may go on to the third, where the boundary's line begins: the line break before it may
/// be that of the empty line.
pub(super) fn part(
    span: (usize, usize, usize),
    store: &mut Store,
    limits: &Limits,
    lines: &mut super::Lines,
    scratch: &mut Vec<u8>,
    out: &mut Collected,
) {
    let (start, ..) = span;
    let first_header = out.part_headers.len();
    let mut reader = Headers {
        store,
        scratch,
        out,
        begun: None,
        disposition: None,
        first_header,
    };
    let content = reader.read(span, lines);
    let disposition = reader.disposition.unwrap_or_default();
    if disposition.name.is_none() {
        out.flags.invalid_part = true;
        out.fail(fault("a part without a name", start));
    }
    let name = disposition.name.unwrap_or_default();
    for header in out.part_headers.iter_mut().skip(first_header) {
        header.name = name;
    }
    out.last_name = name;
    if out.arguments.len() + out.files.len() >= limits.arguments {
        out.fail(fault("more arguments than the limit", start));
        return;
    }
    add(&disposition, name, content, store, out);
}

/// Adds what the part is: a field, or a file under each of its names.
fn add(disposition: &Disposition, name: Text, content: Text, store: &Store, out: &mut Collected) {
    let plain = disposition.filename;
    let extended = disposition
        .extended
        .filter(|extended| plain.is_none_or(|plain| store.get(plain) != store.get(*extended)));
    if plain.is_none() && extended.is_none() {
        out.arguments.push(Argument {
            name,
            value: content,
        });
    }
    let mut content = content;
    for filename in [plain, extended].into_iter().flatten() {
        out.last_filename = filename;
        out.files.push(FilePart {
            name,
            filename,
            content,
        });
        content = content.part(0, 0);
    }
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    line: Text,
    /// Where it begins in the body.
    at: usize,
    /// Where it begins in the arena, once it is folded.
    written: Option<usize>,
}

struct Headers<'a> {
    store: &'a mut Store,
    scratch: &'a mut Vec<u8>,
    out: &'a mut Collected,
    /// A header that the next line may continue.
    begun: Option<Begun>,
    disposition: Option<Disposition>,
    first_header: usize,
}

impl Headers<'_> {
    /// Reads the header lines; what follows the empty line is the content.
    fn read(
        &mut self,
        (start, end, most): (usize, usize, usize),
        lines: &mut super::Lines,
    ) -> Text {
        let body = self.store.body().clone();
        let mut at = start;
        for _ in 0..=HEADERS {
            let rest = body.get(at..most).unwrap_or_default();
            let Some(length) = memchr(b'\n', rest) else {
                break;
            };
            let line = rest.get(..length).unwrap_or_default();
            let line = match line.strip_suffix(b"\r") {
                Some(line) => {
                    lines.crlf = true;
                    line
                }
                None => {
                    lines.lf = true;
                    line
                }
            };
            let next = at + length + 1;
            if line.is_empty() {
                self.finish();
                return Text::of_body(next, end);
            }
            let text = Text::of_body(at, at + line.len());
            match line.first() {
                Some(b' ' | b'\t' | 0x0B | 0x0C) => self.fold(text, at),
                _ => {
                    self.finish();
                    self.begin(text, at);
                }
            }
            at = next;
        }
        // Too many headers, or none of them the last. What is left may be anything; as a value, it
        // is seen.
        self.finish();
        self.out.flags.invalid_part = true;
        self.out.fail(fault("the headers of a part do not end", at));
        Text::of_body(at, end)
    }

    /// A line that continues the header before it.
    fn fold(&mut self, line: Text, at: usize) {
        self.out.flags.header_folding = true;
        let blank = matches!(self.store.get(line), [b' ' | b'\t', ..]);
        let Some(begun) = &mut self.begun else {
            self.out.flags.invalid_header_folding = true;
            self.out.fail(fault("a header line continues none", at));
            self.begin(line, at);
            return;
        };
        self.out.flags.invalid_header_folding |= !blank;
        let written = match begun.written {
            Some(written) => written,
            None => {
                let start = self.store.used();
                self.store.append(begun.line);
                start
            }
        };
        self.store.append(line);
        begun.line = self.store.since(written);
        begun.written = Some(written);
    }

    fn begin(&mut self, line: Text, at: usize) {
        self.begun = Some(Begun {
            line,
            at,
            written: None,
        });
    }

    /// The header that has begun is whole.
    fn finish(&mut self) {
        let Some(Begun { line, at, .. }) = self.begun.take() else {
            return;
        };
        self.out.part_headers.push(Argument {
            name: Text::default(),
            value: line,
        });
        let bytes = self.store.get(line);
        let Some(colon) = memchr(b':', bytes) else {
            self.out.flags.invalid_part = true;
            self.out.fail(fault("a part's header without a colon", at));
            return;
        };
        let (name, value) = bytes.split_at_checked(colon).unwrap_or_default();
        let is_valid = !name.is_empty()
            && name.iter().all(u8::is_ascii_graphic)
            && value
                .iter()
                .all(|byte| !matches!(byte, 0..=0x08 | 0x0A..=0x1F | 0x7F));
        if !is_valid {
            self.out
                .fail(fault("a part's header with an invalid character", at));
        }
        if self.is_repeated(line, colon) {
            self.out.fail(fault("a part's header more than once", at));
        }
        let name = self.store.get(trimmed(self.store, line.part(0, colon)));
        if !name.eq_ignore_ascii_case(b"content-disposition") || self.disposition.is_some() {
            return;
        }
        let flags = &mut self.out.flags;
        let (found, wrong) = disposition(line, colon + 1, at, self.store, flags, self.scratch);
        self.disposition = Some(found);
        if let Some(wrong) = wrong {
            self.out.fail(wrong);
        }
    }

    /// Whether the part has had a header of the same name. There are at most [`HEADERS`].
    fn is_repeated(&self, line: Text, colon: usize) -> bool {
        let name = self.store.get(line.part(0, colon));
        let others = self.out.part_headers.iter().skip(self.first_header);
        let mut same = others.filter(|other| {
            let other = self.store.get(other.value);
            matches!(other.split_at_checked(colon), Some((other, [b':', ..])) if other.eq_ignore_ascii_case(name))
        });
        same.nth(1).is_some()
    }
}

fn fault(what: &'static str, at: usize) -> Fault {
    Fault {
        processor: "MULTIPART",
        what,
        at,
    }
}
