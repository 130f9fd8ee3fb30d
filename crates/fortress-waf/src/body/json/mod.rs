//! JSON, strictly by RFC 8259, flattened into arguments without recursion.
//!
//! `{"a":{"b":[1,2]}}` gives `json.a.b.0` and `json.a.b.1`, the names that CRS and its exclusions
//! expect. Every member of an object is kept, the repeated too. An empty object or array below the
//! top is an argument without value, and so is a member that is an array, after its elements: rules
//! that look at how a name ends (`…__in`) see it as the client wrote it. (Coraza makes that one too,
//! with the array's length as its value.)

mod text;

use memchr::memchr_iter;

use self::text::unescape;
use super::{Argument, Collected, Fault, Limits, cursor::Cursor};
use crate::store::{Store, Text};

/// Names may be this many times as long as the body, all together, and [`NAMES_LEAST`] more. A deep
/// document has names of two or three times its length; a long key above a long array would make
/// their length the square of the body's.
const NAMES_PER_BODY: usize = 4;
const NAMES_LEAST: usize = 64 << 10;

/// What is set aside for the name of each value.
const TYPICAL_NAME: usize = 16;

/// Room to work in.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The name of the value that is being read.
    path: Vec<u8>,
    open: Vec<Open>,
}

/// An object or array that has begun.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// The length of its own name within the path.
    path: usize,
    /// Where its elements stand, if it is an array.
    index: Option<u32>,
}

/// Reads the body as JSON.
pub(crate) fn json(store: &mut Store, limits: &Limits, out: &mut Collected) {
    let body = store.body().clone();
    let mut scratch = std::mem::take(&mut out.json);
    // Vectors that double would take half as much again while they move. Every value but the first
    // has a comma before it; no more is set aside than twice the body.
    let commas = memchr_iter(b',', &body).count();
    let most = commas.min(limits.arguments).min(body.len() / TYPICAL_NAME) + 1;
    out.arguments.reserve_exact(most);
    store.reserve(most * TYPICAL_NAME);
    scratch.open.clear();
    scratch.path.clear();
    scratch.path.extend_from_slice(b"json");
    let mut reader = Reader {
        cursor: Cursor::new(&body, "JSON"),
        store,
        arguments: &mut out.arguments,
        limits,
        names: body.len() * NAMES_PER_BODY + NAMES_LEAST,
        scratch: &mut scratch,
    };
    let read = reader.document();
    out.json = scratch;
    if let Err(fault) = read {
        out.fail(fault);
    } else if let Err(error) = std::str::from_utf8(&body) {
        // Last, so that all values are there for the rules all the same.
        out.fail(Cursor::new(&body, "JSON").fault_at("invalid UTF-8", error.valid_up_to()));
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    store: &'a mut Store,
    arguments: &'a mut Vec<Argument>,
    limits: &'a Limits,
    /// Bytes that names may still take.
    names: usize,
    scratch: &'a mut Scratch,
}

/// Whether a value has been read whole, or only begun.
enum Value {
    Whole,
    Begun,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        loop {
            self.space();
            if matches!(self.value()?, Value::Whole) && !self.next()? {
                break;
            }
        }
        self.space();
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.cursor.fault("expected the end")),
        }
    }

    /// Reads a value, or the beginning of one up to its first element.
    fn value(&mut self) -> Result<Value, Fault> {
        let start = self.cursor.at();
        match self.cursor.peek() {
            Some(b'{') => return self.begin(None, b'}'),
            Some(b'[') => return self.begin(Some(0), b']'),
            Some(b'"') => {
                let raw = text::string(&mut self.cursor)?;
                let value = if raw.escaped {
                    let bytes = raw.bytes();
                    self.store.write(|arena| unescape(bytes, arena))
                } else {
                    Text::of_body(raw.start, raw.end)
                };
                self.add(value)?;
            }
            Some(b'-' | b'0'..=b'9') => {
                text::number(&mut self.cursor)?;
                self.add(Text::of_body(start, self.cursor.at()))?;
            }
            Some(b't' | b'f' | b'n') => {
                let literals: [&[u8]; 3] = [b"true", b"false", b"null"];
                if !literals.iter().any(|literal| self.cursor.eat(literal)) {
                    return Err(self.cursor.fault("expected `true`, `false` or `null`"));
                }
                self.add(Text::of_body(start, self.cursor.at()))?;
            }
            Some(_) => return Err(self.cursor.fault("expected a value")),
            None => return Err(self.cursor.fault("expected a value, found the end")),
        }
        Ok(Value::Whole)
    }

    /// Begins an object or array, up to its first value.
    fn begin(&mut self, index: Option<u32>, close: u8) -> Result<Value, Fault> {
        if self.scratch.open.len() >= self.limits.depth {
            return Err(self.cursor.fault("nested deeper than the limit"));
        }
        self.cursor.skip(1);
        self.space();
        if self.cursor.eat(&[close]) {
            if !self.scratch.open.is_empty() {
                self.add(Text::default())?;
            }
            return Ok(Value::Whole);
        }
        let path = self.scratch.path.len();
        self.scratch.open.push(Open { path, index });
        self.name(index)?;
        Ok(Value::Begun)
    }

    /// After a value: goes to the next one, closing what ends. False at the end of the document.
    fn next(&mut self) -> Result<bool, Fault> {
        while let Some(open) = self.scratch.open.last_mut() {
            let path = open.path;
            open.index = open.index.map(|index| index.saturating_add(1));
            let index = open.index;
            self.scratch.path.truncate(path);
            self.space();
            match (self.cursor.peek(), index) {
                (Some(b','), _) => {
                    self.cursor.skip(1);
                    self.space();
                    self.name(index)?;
                    return Ok(true);
                }
                (Some(b'}'), None) => {
                    self.cursor.skip(1);
                    self.scratch.open.pop();
                }
                (Some(b']'), Some(_)) => {
                    self.cursor.skip(1);
                    self.scratch.open.pop();
                    let above = self.scratch.open.last();
                    if above.is_some_and(|above| above.index.is_none()) {
                        self.add(Text::default())?;
                    }
                }
                (_, None) => return Err(self.cursor.fault("expected `,` or `}`")),
                (_, Some(_)) => return Err(self.cursor.fault("expected `,` or `]`")),
            }
        }
        Ok(false)
    }

    /// Appends the next element's key or index to the path.
    fn name(&mut self, index: Option<u32>) -> Result<(), Fault> {
        let path = &mut self.scratch.path;
        path.push(b'.');
        if let Some(index) = index {
            text::decimal(index, path);
            return Ok(());
        }
        if self.cursor.peek() != Some(b'"') {
            return Err(self.cursor.fault("expected a key in quotes"));
        }
        let key = text::string(&mut self.cursor)?;
        if key.escaped {
            unescape(key.bytes(), path);
        } else {
            path.extend_from_slice(key.bytes());
        }
        self.space();
        if !self.cursor.eat(b":") {
            return Err(self.cursor.fault("expected `:`"));
        }
        Ok(())
    }

    fn add(&mut self, value: Text) -> Result<(), Fault> {
        let path = &self.scratch.path;
        if self.arguments.len() >= self.limits.arguments {
            return Err(self.cursor.fault("more values than the limit"));
        }
        self.names = self
            .names
            .checked_sub(path.len())
            .ok_or_else(|| self.cursor.fault("names longer than the limit"))?;
        let name = self.store.add(path);
        self.arguments.push(Argument { name, value });
        Ok(())
    }

    fn space(&mut self) {
        self.cursor
            .skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }
}
