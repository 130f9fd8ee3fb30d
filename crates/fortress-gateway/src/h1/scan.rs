//! Finds the end of a message head, and refuses what can never become one as early as it can be
//! told. Each byte is looked at once, however few arrive at a time.
//!
//! A line ends with CRLF and nothing else: RFC 9112 section 2.2 lets a recipient take a bare LF,
//! and that leniency, differing along a chain of parsers, is how requests are smuggled.

use super::{HeadBounds, Refused};
use bytes::{Bytes, BytesMut};
use fortress_model::Reason;
use smallvec::SmallVec;

/// How far a head has been read. One per connection and direction; it is ready for the next head
/// once one was returned.
#[derive(Clone, Debug, Default)]
pub struct ScanState {
    /// Where to go on looking for a line end.
    position: usize,
    /// Where the line begins that has not ended yet.
    line_start: usize,
    /// Offsets of the CRs that end the lines so far.
    line_ends: SmallVec<[usize; 32]>,
    /// An empty line before the request line was skipped; there may be only one.
    skipped_line: bool,
}

/// A whole head, and where its lines end.
pub(super) struct Head {
    pub(super) bytes: Bytes,
    line_ends: SmallVec<[usize; 32]>,
}

/// What the scan's caller knows about the first line.
pub(super) trait FirstLine {
    /// Judges a complete first line while the rest of the head has not arrived.
    fn check(&self, line: &[u8]) -> Result<(), Refused>;
    /// Judges the beginning of a first line.
    fn check_partial(&self, line: &[u8]) -> Result<(), Refused>;
    /// An empty line before the first one may be skipped (RFC 9112, section 2.2: clients used to
    /// send one after a request's body).
    const SKIPS_EMPTY_LINE: bool;
}

impl ScanState {
    /// Splits the next head off `buffer`, or says that more bytes are needed.
    pub(super) fn next_head(
        &mut self,
        buffer: &mut BytesMut,
        bounds: &HeadBounds,
        first_line: &impl FirstLine,
    ) -> Result<Option<Head>, Refused> {
        if self.position == 0 && first_line_is_empty(buffer) && !self.skipped_line {
            if !skip_allowed(first_line) {
                return Err(malformed("an empty line stands before the message"));
            }
            self.skipped_line = true;
            bytes::Buf::advance(buffer, 2);
        }
        let lines_before = self.line_ends.len();
        let Some(length) = self.find_end(buffer, bounds)? else {
            if lines_before == 0 {
                self.check_first_line(buffer, first_line)?;
            }
            if buffer.len() > bounds.head {
                return Err(self.too_large(buffer, first_line));
            }
            return Ok(None);
        };
        if length > bounds.head {
            return Err(self.too_large(buffer, first_line));
        }
        let head = Head {
            bytes: buffer.split_to(length).freeze(),
            line_ends: std::mem::take(&mut self.line_ends),
        };
        *self = Self::default();
        Ok(Some(head))
    }

    /// The length of the head, its empty line included.
    fn find_end(&mut self, buffer: &[u8], bounds: &HeadBounds) -> Result<Option<usize>, Refused> {
        loop {
            let rest = buffer.get(self.position..).unwrap_or_default();
            let Some(offset) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.position = buffer.len();
                return Ok(None);
            };
            let at = self.position.saturating_add(offset);
            if rest.get(offset) == Some(&b'\n') {
                return Err(malformed("a line ends with LF, without CR"));
            }
            match rest.get(offset.saturating_add(1)) {
                None => {
                    self.position = at;
                    return Ok(None);
                }
                Some(b'\n') => {}
                Some(_) => return Err(malformed("a CR stands alone")),
            }
            let next = at.saturating_add(2);
            if at == self.line_start {
                if self.line_ends.is_empty() {
                    return Err(malformed("an empty line stands before the message"));
                }
                return Ok(Some(next));
            }
            // The first line is no field.
            if self.line_ends.len() > bounds.headers {
                return Err(Refused::new(
                    Reason::HeadTooLarge,
                    format!("the head has more than {} fields", bounds.headers),
                ));
            }
            self.line_ends.push(at);
            self.line_start = next;
            self.position = next;
        }
    }

    /// Called once with the complete line, and before that with what there is of it.
    fn check_first_line(&self, buffer: &[u8], first_line: &impl FirstLine) -> Result<(), Refused> {
        match self.line_ends.first() {
            Some(&end) => first_line.check(buffer.get(..end).unwrap_or_default()),
            None => first_line.check_partial(buffer),
        }
    }

    /// A head that is too large because of its first line is refused for that.
    fn too_large(&self, buffer: &[u8], first_line: &impl FirstLine) -> Refused {
        match self.check_first_line(buffer, first_line) {
            Err(refused) => refused,
            Ok(()) => Refused::new(Reason::HeadTooLarge, "the head is larger than its bound"),
        }
    }
}

impl Head {
    /// The first line, without its CRLF.
    pub(super) fn first_line(&self) -> &[u8] {
        let end = self.line_ends.first().copied().unwrap_or_default();
        self.bytes.get(..end).unwrap_or_default()
    }

    /// How many field lines follow the first line.
    pub(super) fn field_count(&self) -> usize {
        self.line_ends.len().saturating_sub(1)
    }

    /// Start and end of each field line, without its CRLF.
    pub(super) fn field_lines(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let starts = self.line_ends.iter().map(|end| end.saturating_add(2));
        starts.zip(self.line_ends.iter().skip(1).copied())
    }
}

fn first_line_is_empty(buffer: &[u8]) -> bool {
    buffer.starts_with(b"\r\n")
}

fn skip_allowed<F: FirstLine>(_: &F) -> bool {
    F::SKIPS_EMPTY_LINE
}

fn malformed(detail: &'static str) -> Refused {
    Refused::new(Reason::HeadMalformed, detail)
}
