//! `multipart/form-data` (RFC 7578), as strict as ModSecurity: what one server could read otherwise
//! than another is flagged, by ModSecurity's names.
//!
//! A flag does not end the reading: what looks like a part is read as one, so that rules see as
//! much as any server would. Not here: decoding of `Content-Transfer-Encoding`, which CRS refuses.

mod boundary;
mod disposition;
mod part;

use memchr::memmem;

use super::{Collected, Fault, Limits};
use crate::store::Store;

/// Room to work in.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// What begins the line of a boundary: `--boundary`.
    delimiter: Vec<u8>,
    header: Vec<u8>,
}

/// How the lines end that are not content.
#[derive(Debug, Default)]
struct Lines {
    crlf: bool,
    lf: bool,
}

/// What the lines before this one belong to.
#[derive(Clone, Copy, Debug)]
enum Within {
    Preamble,
    /// The part that begins here.
    Part(usize),
    Epilogue,
}

/// Reads the body as the parts that the boundary in `content_type` separates.
pub(crate) fn multipart(
    store: &mut Store,
    content_type: &[u8],
    limits: &Limits,
    out: &mut Collected,
) {
    let mut scratch = std::mem::take(&mut out.multipart);
    match boundary::boundary(content_type, &mut out.flags) {
        Ok(boundary) => {
            scratch.delimiter.clear();
            scratch.delimiter.extend_from_slice(b"--");
            scratch.delimiter.extend_from_slice(boundary);
            parts(store, limits, &mut scratch, out);
        }
        Err(fault) => {
            out.flags.unmatched_boundary = 1;
            out.fail(fault);
        }
    }
    out.multipart = scratch;
    let flags = &mut out.flags;
    flags.strict_error = flags.reqbody_processor_error
        | flags.boundary_quoted
        | flags.boundary_whitespace
        | flags.data_before
        | flags.data_after
        | flags.header_folding
        | flags.invalid_header_folding
        | flags.lf_line
        | flags.crlf_lf_lines
        | flags.missing_semicolon
        | flags.invalid_quoting
        | flags.invalid_part
        | flags.file_limit_exceeded;
}

fn parts(store: &mut Store, limits: &Limits, scratch: &mut Scratch, out: &mut Collected) {
    let body = store.body().clone();
    let Scratch { delimiter, header } = scratch;
    let delimiter = delimiter.as_slice();
    let mut lines = Lines::default();
    let mut within = Within::Preamble;
    let mut count = 0;
    let mut complete = false;
    let mut looks_alike = false;
    for at in dashed_lines(&body) {
        let line = match line(&body, at, delimiter) {
            Line::Other => {
                looks_alike = true;
                continue;
            }
            Line::Malformed => {
                out.fail(fault("a boundary that goes on in its line", at));
                continue;
            }
            Line::Boundary(line) => line,
        };
        note_break(&body, at, &mut lines);
        if line.lf {
            lines.lf = true;
        }
        lines.crlf |= line.crlf;
        match within {
            Within::Preamble => out.flags.data_before |= at > 0,
            Within::Part(start) => {
                if count >= limits.parts {
                    out.flags.file_limit_exceeded = true;
                    out.fail(fault("more parts than the limit", start));
                    return;
                }
                count += 1;
                let span = (start, content_end(&body, at), at);
                part::part(span, store, limits, &mut lines, header, out);
            }
            Within::Epilogue => out.fail(fault("a boundary after the final one", at)),
        }
        within = match line.is_final {
            true => Within::Epilogue,
            false => Within::Part(line.end),
        };
        complete |= line.is_final;
        out.flags.data_after |= line.is_final && line.end < body.len();
    }
    match within {
        Within::Preamble => {
            out.flags.data_before = true;
            out.fail(fault("no boundary", 0));
        }
        Within::Part(start) => {
            out.fail(fault("no final boundary", body.len()));
            let span = (start, body.len(), body.len());
            part::part(span, store, limits, &mut lines, header, out);
        }
        Within::Epilogue => {}
    }
    out.flags.unmatched_boundary = match (complete, looks_alike) {
        _ if has_lone(&body, delimiter) => 1,
        (false, _) => 1,
        (true, true) => 2,
        (true, false) => 0,
    };
    out.flags.lf_line |= lines.lf;
    out.flags.crlf_lf_lines |= lines.lf && lines.crlf;
}

/// Where lines begin that begin with `--`, which are all that can be boundaries.
fn dashed_lines(body: &[u8]) -> impl Iterator<Item = usize> {
    let first = body.starts_with(b"--").then_some(0);
    first
        .into_iter()
        .chain(memmem::find_iter(body, b"\n--").map(|at| at + 1))
}

/// Whether a boundary follows a carriage return alone, where some servers see a line end, too.
fn has_lone(body: &[u8], delimiter: &[u8]) -> bool {
    memmem::find_iter(body, b"\r--").any(|at| {
        body.get(at + 1..)
            .is_some_and(|line| line.starts_with(delimiter))
    })
}

/// What a line with `--` is.
enum Line {
    Boundary(Boundary),
    /// Begins like the boundary, but does not end with it.
    Malformed,
    Other,
}

struct Boundary {
    is_final: bool,
    /// What follows the line.
    end: usize,
    crlf: bool,
    lf: bool,
}

fn line(body: &[u8], at: usize, delimiter: &[u8]) -> Line {
    let line = body.get(at..).unwrap_or_default();
    let Some(rest) = line.strip_prefix(delimiter) else {
        return Line::Other;
    };
    let last = rest.strip_prefix(b"--");
    let after = last.unwrap_or(rest);
    let (crlf, lf) = (after.starts_with(b"\r\n"), after.starts_with(b"\n"));
    // The final boundary may end the body, and only that one.
    if !(crlf || lf || (last.is_some() && after.is_empty())) {
        return Line::Malformed;
    }
    let line_break = if crlf { 2 } else { usize::from(lf) };
    Line::Boundary(Boundary {
        is_final: last.is_some(),
        end: body.len() - after.len() + line_break,
        crlf,
        lf,
    })
}

/// The line break before a boundary belongs to it (RFC 2046, section 5.1.1).
fn content_end(body: &[u8], at: usize) -> usize {
    match body.get(..at) {
        Some([.., b'\r', b'\n']) => at - 2,
        Some([.., b'\n']) => at - 1,
        _ => at,
    }
}

fn note_break(body: &[u8], at: usize, lines: &mut Lines) {
    match at - content_end(body, at) {
        2 => lines.crlf = true,
        1 => lines.lf = true,
        _ => {}
    }
}

fn fault(what: &'static str, at: usize) -> Fault {
    Fault {
        processor: "MULTIPART",
        what,
        at,
    }
}
