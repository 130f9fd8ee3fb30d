//! XML 1.0 as far as rules need it: the text and the attribute values, from well-formed documents.
//!
//! Written here and not left to a general parser, since what rules look at are spans of the body
//! and what matters is what is refused: every entity but the predefined, a document type with more
//! than a name, encodings that are not looked at. Not checked: that attributes are unique and
//! namespaces declared. All values are seen, whichever of them a server takes.

mod prolog;
mod run;

use memchr::{memchr, memchr_iter, memmem};

use self::run::Run;
use super::{Collected, Fault, Limits, cursor::Cursor};
use crate::store::{Store, Text};

/// Room to work in: the names of the elements that have begun.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    open: Vec<Text>,
}

/// Reads the body as XML.
///
/// Text is given as Coraza does it, one value for each stretch of text between two tags: rules that
/// look at the beginning of a value work on each. Comments, instructions and the edges of CDATA
/// sections do not end a stretch, for they do not in a document tree either, and `sel<!---->ect`
/// must be seen as a server sees it.
pub(crate) fn xml(store: &mut Store, limits: &Limits, out: &mut Collected) {
    let body = store.body().clone();
    // Vectors that double would take half as much again while they move.
    let tags = memchr_iter(b'<', &body).count().min(limits.arguments);
    let equals = memchr_iter(b'=', &body).count().min(limits.arguments);
    out.xml_texts.reserve_exact(tags);
    out.xml_attributes.reserve_exact(equals);
    let mut reader = Reader {
        cursor: Cursor::new(&body, "XML"),
        run: Run::default(),
        utf8: true,
        store,
        limits,
        out,
    };
    reader.out.xml.open.clear();
    let read = reader.document();
    let ended = reader.end_run();
    let utf8 = reader.utf8;
    if let Err(fault) = read.and(ended) {
        out.fail(fault);
    } else if utf8 && let Err(error) = std::str::from_utf8(&body) {
        out.fail(Cursor::new(&body, "XML").fault_at("invalid UTF-8", error.valid_up_to()));
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    /// The text since the last tag.
    run: Run,
    /// Whether the document is in UTF-8, as it is unless it says otherwise.
    utf8: bool,
    store: &'a mut Store,
    limits: &'a Limits,
    out: &'a mut Collected,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        self.cursor.eat(b"\xEF\xBB\xBF");
        self.utf8 = prolog::declaration(&mut self.cursor)?;
        let mut document_type = prolog::DocumentType::Possible;
        self.between(&mut document_type)?;
        if !self.cursor.eat(b"<") {
            return Err(self.cursor.fault("expected the root element"));
        }
        self.start_tag()?;
        while !self.out.xml.open.is_empty() {
            self.text()?;
            self.markup()?;
        }
        self.between(&mut prolog::DocumentType::Past)?;
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.cursor.fault("content after the root element")),
        }
    }

    /// Passes white space, comments and instructions outside of the root element.
    fn between(&mut self, document_type: &mut prolog::DocumentType) -> Result<(), Fault> {
        loop {
            self.cursor.skip_while(is_space);
            if self.cursor.eat(b"<!--") {
                self.comment()?;
            } else if self.cursor.eat(b"<?") {
                self.instruction()?;
            } else if self.cursor.rest().starts_with(b"<!DOCTYPE") {
                document_type.pass(&mut self.cursor)?;
            } else {
                return Ok(());
            }
        }
    }

    /// Text up to the next `<`, its references resolved.
    fn text(&mut self) -> Result<(), Fault> {
        let rest = self.cursor.rest();
        let length = memchr(b'<', rest).unwrap_or(rest.len());
        let text = rest.get(..length).unwrap_or_default();
        if memchr(b']', text).is_some() && memmem::find(text, b"]]>").is_some() {
            return Err(self.cursor.fault("`]]>` in text"));
        }
        self.characters(length)?;
        match self.cursor.peek() {
            Some(_) => Ok(()),
            None => Err(self.cursor.fault("an element has no end")),
        }
    }

    /// Adds `length` bytes to the run, their references resolved.
    fn characters(&mut self, length: usize) -> Result<(), Fault> {
        let end = self.cursor.at() + length;
        while self.cursor.at() < end {
            let start = self.cursor.at();
            let rest = self.cursor.rest().get(..end - start).unwrap_or_default();
            let plain = memchr(b'&', rest).unwrap_or(rest.len());
            self.literal(plain)?;
            if self.cursor.at() < end {
                let character = run::reference(&mut self.cursor, end)?;
                self.run.push(character, self.store);
            }
        }
        Ok(())
    }

    /// Adds `length` bytes to the run as they stand.
    fn literal(&mut self, length: usize) -> Result<(), Fault> {
        let start = self.cursor.at();
        let bytes = self.cursor.rest().get(..length).unwrap_or_default();
        if let Some(at) = bytes.iter().position(|byte| is_control(*byte)) {
            return Err(self.cursor.fault_at("control character", start + at));
        }
        self.cursor.skip(length);
        self.run.extend(start, start + length, self.store);
        Ok(())
    }

    /// A tag, comment, instruction or CDATA section; the cursor is at its `<`.
    fn markup(&mut self) -> Result<(), Fault> {
        if self.cursor.eat(b"<!--") {
            self.comment()
        } else if self.cursor.eat(b"<![CDATA[") {
            let length = self.until(b"]]>", "CDATA section without end")?;
            self.literal(length)?;
            self.cursor.skip(3);
            Ok(())
        } else if self.cursor.eat(b"<?") {
            self.instruction()
        } else if self.cursor.eat(b"</") {
            self.end_run()?;
            self.end_tag()
        } else {
            self.end_run()?;
            self.cursor.eat(b"<");
            self.start_tag()
        }
    }

    fn start_tag(&mut self) -> Result<(), Fault> {
        let name = self.name()?;
        loop {
            let space = self.cursor.skip_while(is_space);
            if self.cursor.eat(b"/>") {
                return Ok(());
            }
            if self.cursor.eat(b">") {
                if self.out.xml.open.len() >= self.limits.depth {
                    return Err(self.cursor.fault("nested deeper than the limit"));
                }
                self.out.xml.open.push(name);
                return Ok(());
            }
            if space == 0 {
                return Err(self.cursor.fault("expected white space, `>` or `/>`"));
            }
            self.attribute()?;
        }
    }

    fn attribute(&mut self) -> Result<(), Fault> {
        self.name()?;
        self.cursor.skip_while(is_space);
        if !self.cursor.eat(b"=") {
            return Err(self.cursor.fault("expected `=`"));
        }
        self.cursor.skip_while(is_space);
        let quote = match self.cursor.next() {
            Some(quote @ (b'"' | b'\'')) => quote,
            _ => return Err(self.cursor.fault("expected a quote")),
        };
        let length = self.until(&[quote], "attribute without end")?;
        let value = self.cursor.rest().get(..length).unwrap_or_default();
        if let Some(at) = memchr(b'<', value) {
            let at = self.cursor.at() + at;
            return Err(self.cursor.fault_at("`<` in an attribute", at));
        }
        let read = self.characters(length);
        self.cursor.skip(1);
        let value = self.run.take();
        if value.len() > 0 {
            self.is_within_limit()?;
            self.out.xml_attributes.push(value);
        }
        read
    }

    fn end_tag(&mut self) -> Result<(), Fault> {
        let at = self.cursor.at();
        let name = self.name()?;
        self.cursor.skip_while(is_space);
        if !self.cursor.eat(b">") {
            return Err(self.cursor.fault("expected `>`"));
        }
        match self.out.xml.open.pop() {
            Some(open) if self.store.get(open) == self.store.get(name) => Ok(()),
            _ => Err(self.cursor.fault_at("an end tag without its start tag", at)),
        }
    }

    /// An element's, attribute's or instruction's name.
    fn name(&mut self) -> Result<Text, Fault> {
        let start = self.cursor.at();
        let first = self.cursor.peek();
        if !first.is_some_and(|byte| byte.is_ascii_alphabetic() || is_name_byte(byte)) {
            return Err(self.cursor.fault("expected a name"));
        }
        self.cursor.skip_while(|byte| {
            byte.is_ascii_alphanumeric() || is_name_byte(byte) || matches!(byte, b'-' | b'.')
        });
        Ok(Text::of_body(start, self.cursor.at()))
    }

    fn comment(&mut self) -> Result<(), Fault> {
        let length = self.until(b"--", "comment without end")?;
        self.cursor.skip(length);
        match self.cursor.eat(b"-->") {
            true => Ok(()),
            false => Err(self.cursor.fault("`--` in a comment")),
        }
    }

    fn instruction(&mut self) -> Result<(), Fault> {
        let at = self.cursor.at();
        let target = self.name()?;
        if self.store.get(target).eq_ignore_ascii_case(b"xml") {
            return Err(self
                .cursor
                .fault_at("XML declaration not at the beginning", at));
        }
        let length = self.until(b"?>", "instruction without end")?;
        let data = self.cursor.rest().first();
        if length > 0 && !data.is_some_and(|byte| is_space(*byte)) {
            return Err(self.cursor.fault("expected white space or `?>`"));
        }
        self.cursor.skip(length + 2);
        Ok(())
    }

    /// How far it is to `what`.
    fn until(&self, what: &[u8], missing: &'static str) -> Result<usize, Fault> {
        let rest = self.cursor.rest();
        let found = match what {
            [byte] => memchr(*byte, rest),
            what => memmem::find(rest, what),
        };
        found.ok_or_else(|| self.cursor.fault(missing))
    }

    /// What the text since the last tag comes to.
    fn end_run(&mut self) -> Result<(), Fault> {
        let text = super::cookies::trimmed(self.store, self.run.take());
        if text.len() > 0 {
            self.is_within_limit()?;
            self.out.xml_texts.push(text);
        }
        Ok(())
    }

    fn is_within_limit(&self) -> Result<(), Fault> {
        if self.out.xml_texts.len() + self.out.xml_attributes.len() < self.limits.arguments {
            return Ok(());
        }
        Err(self
            .cursor
            .fault("more texts and attributes than the limit"))
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !is_space(byte)
}

/// Bytes of names besides letters, digits, `-` and `.`; those of other scripts are not told apart.
fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'_' | b':' | 0x80..)
}
