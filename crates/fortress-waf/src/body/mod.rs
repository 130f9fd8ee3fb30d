//! Body processors: what a body says, as spans of it, and every doubt about it as a flag.
//!
//! Nothing is dropped in silence: what cannot be read, or goes over a limit, raises
//! `REQBODY_PROCESSOR_ERROR` with a message that says where, and what was read before it stays.
//! Deliberately not here: which processor a rule chose, and what a flag leads to.

mod cookies;
mod cursor;
mod json;
mod multipart;
mod reading;
#[cfg(test)]
mod tests;
mod urlencoded;
mod xml;

use std::fmt;

pub use self::reading::{Reading, read_body};
pub(crate) use self::{
    cookies::cookies, json::json, multipart::multipart, urlencoded::urlencoded, xml::xml,
};
use crate::{
    seclang::BodyProcessor,
    store::{Store, Text},
};

/// A name with its value: an argument, a cookie, a header of a part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Argument {
    pub(crate) name: Text,
    pub(crate) value: Text,
}

/// A part that carries a file. A part that names its file twice (`filename` and another
/// `filename*`) is there twice, the second time without content.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct FilePart {
    /// The form field.
    pub(crate) name: Text,
    /// The name that the client gave the file.
    pub(crate) filename: Text,
    /// The file; its length is its size.
    pub(crate) content: Text,
}

/// What the processors may spend. Going over a limit is a [`Fault`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Arguments, or texts and attribute values of an XML document.
    pub(crate) arguments: usize,
    /// Nesting of JSON and XML.
    pub(crate) depth: usize,
    /// Parts of a multipart body.
    pub(crate) parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            arguments: 100_000,
            depth: 512,
            parts: 1_000,
        }
    }
}

/// Why a body could not be read as what it claims to be, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// The processor.
    pub(crate) processor: &'static str,
    /// What is wrong.
    pub(crate) what: &'static str,
    /// The offset in the body.
    pub(crate) at: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} at byte {}", self.processor, self.what, self.at)
    }
}

/// ModSecurity's flags, by its names. All but the first two are of multipart bodies.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Flags {
    pub(crate) reqbody_processor_error: bool,
    pub(crate) urlencoded_error: bool,
    /// Any of the others, except for the unmatched boundary, which rules ask for by itself.
    pub(crate) strict_error: bool,
    /// 1 if the first or the final boundary is missing, 2 if both are there but other lines look
    /// like boundaries (a PEM file does).
    pub(crate) unmatched_boundary: u8,
    pub(crate) boundary_quoted: bool,
    pub(crate) boundary_whitespace: bool,
    pub(crate) data_before: bool,
    pub(crate) data_after: bool,
    pub(crate) header_folding: bool,
    pub(crate) invalid_header_folding: bool,
    pub(crate) lf_line: bool,
    pub(crate) crlf_lf_lines: bool,
    pub(crate) missing_semicolon: bool,
    pub(crate) invalid_quoting: bool,
    pub(crate) invalid_part: bool,
    pub(crate) file_limit_exceeded: bool,
}

/// What a body says. [`Self::clear`] keeps the memory, so in steady state nothing is allocated.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// `ARGS_POST`.
    pub(crate) arguments: Vec<Argument>,
    /// `FILES` and what goes with it.
    pub(crate) files: Vec<FilePart>,
    /// `MULTIPART_PART_HEADERS`: the field's name and the whole header line.
    pub(crate) part_headers: Vec<Argument>,
    /// `XML:/*`: the text content, one for each run of text between two tags, trimmed.
    pub(crate) xml_texts: Vec<Text>,
    /// `XML://@*`.
    pub(crate) xml_attributes: Vec<Text>,
    /// `MULTIPART_NAME`: the last part's field.
    pub(crate) last_name: Text,
    /// `MULTIPART_FILENAME`: the last file's name.
    pub(crate) last_filename: Text,
    pub(crate) flags: Flags,
    /// The first fault: `REQBODY_PROCESSOR_ERROR_MSG`.
    pub(crate) fault: Option<Fault>,
    /// Room to work in.
    json: json::Scratch,
    xml: xml::Scratch,
    multipart: multipart::Scratch,
}

impl Collected {
    /// Forgets everything, keeping memory for `keep` values of each kind.
    pub(crate) fn clear(&mut self, keep: usize) {
        fn empty<T>(list: &mut Vec<T>, keep: usize) {
            list.clear();
            list.shrink_to(keep);
        }
        empty(&mut self.arguments, keep);
        empty(&mut self.files, keep);
        empty(&mut self.part_headers, keep);
        empty(&mut self.xml_texts, keep);
        empty(&mut self.xml_attributes, keep);
        self.last_name = Text::default();
        self.last_filename = Text::default();
        self.flags = Flags::default();
        self.fault = None;
    }

    /// Raises the flag; the first message stays, for what follows is often its consequence.
    pub(crate) fn fail(&mut self, fault: Fault) {
        self.flags.reqbody_processor_error = true;
        self.fault.get_or_insert(fault);
    }
}

/// Reads the store's body. An empty body says nothing and is no error: there is nothing in it that
/// rules could miss.
pub(crate) fn process(
    processor: BodyProcessor,
    store: &mut Store,
    content_type: &[u8],
    separator: u8,
    limits: &Limits,
    out: &mut Collected,
) {
    if store.body().is_empty() {
        return;
    }
    match processor {
        BodyProcessor::UrlEncoded => {
            let input = Text::of_body(0, store.body().len());
            let told = urlencoded(store, input, separator, limits, &mut out.arguments);
            out.flags.urlencoded_error |= told.invalid_encoding;
            if let Some(fault) = told.fault {
                out.fail(fault);
            }
        }
        BodyProcessor::Multipart => multipart(store, content_type, limits, out),
        BodyProcessor::Json => json(store, limits, out),
        BodyProcessor::Xml => xml(store, limits, out),
    }
}

impl BodyProcessor {
    /// The one that ModSecurity's recommended rules choose for a media type, and for those with the
    /// structured suffixes `+json` and `+xml`, which the recommended rules leave to the operator.
    #[must_use]
    pub fn for_content_type(content_type: &[u8]) -> Option<Self> {
        let essence = content_type
            .trim_ascii_start()
            .split(|byte| matches!(byte, b';' | b',' | b' ' | b'\t'))
            .next()
            .unwrap_or_default();
        let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
        let ends = |suffix: &[u8]| {
            let start = essence.len().saturating_sub(suffix.len());
            essence
                .get(start..)
                .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        if is(b"application/x-www-form-urlencoded") {
            Some(Self::UrlEncoded)
        } else if is(b"multipart/form-data") {
            Some(Self::Multipart)
        } else if is(b"application/json") || ends(b"+json") {
            Some(Self::Json)
        } else if is(b"text/xml") || is(b"application/xml") || ends(b"+xml") {
            Some(Self::Xml)
        } else {
            None
        }
    }
}
