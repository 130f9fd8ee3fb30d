//! A strict reader of JSON bodies (RFC 8259): one pass, borrowed strings, a span for every value.
//!
//! It refuses whatever two parsers could read differently: duplicate keys (also behind `\u`
//! escapes), lone surrogates, numbers that do not fit, a byte order mark, anything after the value.
//! Deliberately not here: documents that people write, which `fortress_model::document` reads with
//! places and explanations, and what a value must look like, which is `schema`.

mod number;
mod read;
mod trim;

use std::borrow::Cow;

pub use number::Decimal;
pub use read::read;
pub(crate) use trim::without;

/// What a document may have at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Arrays and objects inside each other; more than [`MAX_DEPTH`] counts as that.
    pub depth: usize,
    /// Properties of one object.
    pub properties: usize,
    /// Items of one array.
    pub items: usize,
}

/// The deepest nesting that any configuration allows: reading and checking recurse.
pub const MAX_DEPTH: usize = 128;

/// A JSON text that was read.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    root: Value<'a>,
    members: Vec<Member<'a>>,
    items: Vec<Value<'a>>,
}

/// A value of a [`Document`].
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// Its first byte in the text.
    pub start: u32,
    /// One past its last byte.
    pub end: u32,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What a [`Value`] is.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written; [`Decimal::parse`] accepts it.
    Number(Cow<'a, str>),
    /// A string, with its escapes resolved.
    String(Cow<'a, str>),
    /// An array; its items are [`Document::items`].
    Array(Range),
    /// An object; its members are [`Document::members`].
    Object(Range),
}

/// A stretch of a document's items or members.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Range {
    /// The index of the first.
    pub start: u32,
    /// How many.
    pub len: u32,
}

/// A property of an object.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its name, with its escapes resolved.
    pub key: Cow<'a, str>,
    /// Where the name's opening quote stands.
    pub start: u32,
    /// Its value.
    pub value: Value<'a>,
}

/// Why a text was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct JsonError {
    /// Which rule it breaks.
    pub kind: ErrorKind,
    /// What and where, without any of the text.
    pub detail: String,
}

/// Which rule a refused text breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// It is not JSON, or not JSON that everyone reads alike.
    Malformed,
    /// An object has a name twice.
    DuplicateKey,
    /// It is larger than the [`Limits`].
    TooComplex,
}

impl<'a> Document<'a> {
    /// The outermost value.
    pub fn root(&self) -> &Value<'a> {
        &self.root
    }

    /// The members of an object, in the text's order.
    pub fn members(&self, range: Range) -> &[Member<'a>] {
        slice(&self.members, range)
    }

    /// The items of an array.
    pub fn items(&self, range: Range) -> &[Value<'a>] {
        slice(&self.items, range)
    }

    /// A member by its index over the whole document.
    pub fn member(&self, index: u32) -> Option<&Member<'a>> {
        self.members.get(usize::try_from(index).ok()?)
    }

    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Document<'static> {
        Document {
            root: self.root.into_owned(),
            members: self
                .members
                .into_iter()
                .map(|member| Member {
                    key: Cow::Owned(member.key.into_owned()),
                    start: member.start,
                    value: member.value.into_owned(),
                })
                .collect(),
            items: self.items.into_iter().map(Value::into_owned).collect(),
        }
    }

    /// How many members all objects have together.
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// How many items all arrays have together.
    pub fn item_count(&self) -> usize {
        self.items.len()
    }
}

fn slice<T>(all: &[T], range: Range) -> &[T] {
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let len = usize::try_from(range.len).unwrap_or(usize::MAX);
    all.get(start..start.saturating_add(len)).unwrap_or(&[])
}

/// Makes a document out of values that did not come as JSON: parameters, forms.
#[derive(Debug, Default)]
pub(crate) struct Builder<'a> {
    members: Vec<Member<'a>>,
    items: Vec<Value<'a>>,
}

impl<'a> Builder<'a> {
    pub(crate) fn array(&mut self, items: Vec<Value<'a>>) -> Value<'a> {
        let range = Range {
            start: small(self.items.len()),
            len: small(items.len()),
        };
        self.items.extend(items);
        Value::built(Kind::Array(range))
    }

    /// INVARIANT: the keys differ; whoever builds an object has refused duplicates.
    pub(crate) fn object(&mut self, members: Vec<(Cow<'a, str>, Value<'a>)>) -> Value<'a> {
        let range = Range {
            start: small(self.members.len()),
            len: small(members.len()),
        };
        self.members
            .extend(members.into_iter().map(|(key, value)| Member {
                key,
                start: 0,
                value,
            }));
        Value::built(Kind::Object(range))
    }

    /// Takes over a value of another document with all that is in it.
    pub(crate) fn adopt(&mut self, other: Document<'a>) -> Value<'a> {
        let (members, items) = (small(self.members.len()), small(self.items.len()));
        let moved = |mut value: Value<'a>| {
            match &mut value.kind {
                Kind::Array(range) => range.start += items,
                Kind::Object(range) => range.start += members,
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {}
            }
            value
        };
        self.members
            .extend(other.members.into_iter().map(|member| Member {
                value: moved(member.value),
                ..member
            }));
        self.items.extend(other.items.into_iter().map(moved));
        moved(other.root)
    }

    pub(crate) fn finish(self, root: Value<'a>) -> Document<'a> {
        Document {
            root,
            members: self.members,
            items: self.items,
        }
    }
}

impl<'a> Value<'a> {
    pub(crate) fn built(kind: Kind<'a>) -> Self {
        Self {
            start: 0,
            end: 0,
            kind,
        }
    }

    fn into_owned(self) -> Value<'static> {
        let kind = match self.kind {
            Kind::Null => Kind::Null,
            Kind::Bool(value) => Kind::Bool(value),
            Kind::Number(text) => Kind::Number(Cow::Owned(text.into_owned())),
            Kind::String(text) => Kind::String(Cow::Owned(text.into_owned())),
            Kind::Array(range) => Kind::Array(range),
            Kind::Object(range) => Kind::Object(range),
        };
        Value {
            start: self.start,
            end: self.end,
            kind,
        }
    }

    pub(crate) fn string(text: impl Into<Cow<'a, str>>) -> Self {
        Self::built(Kind::String(text.into()))
    }

    /// `an object`, `a string` and so on, for messages.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a boolean",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "an array",
            Kind::Object(_) => "an object",
        }
    }
}

/// Whether a text is a JSON number, whole, that means the same to everyone.
pub(crate) fn is_fitting_number(text: &str) -> bool {
    !text.is_empty() && number::length(text.as_bytes()) == text.len() && number::fits(text)
}

/// A count or offset that was checked, or is bounded by something checked, to fit 32 bits.
pub(crate) fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
