//! A strict reader for the JSON inside tokens and key sets: RFC 8259 to the letter, every value
//! owned, nesting bounded, no member twice (`"a"` and `"\u0061"` are the same name).
//!
//! Deliberately not a general JSON library: no positions, no numbers beyond what a claim needs,
//! and bodies are read elsewhere.

use std::{borrow::Cow, fmt};

use crate::sign::quoted;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(Number),
    /// A string, unescaped.
    String(Box<str>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

impl Value {
    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self {
            Some(items)
        } else {
            None
        }
    }

    /// The members, if this is an object.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self {
            Some(object)
        } else {
            None
        }
    }

    /// The truth, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self {
            Some(*truth)
        } else {
            None
        }
    }

    /// The number, if this is one and it is finite.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self {
            number.as_f64()
        } else {
            None
        }
    }
}

/// Writes JSON without white space, numbers as they were written.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Number(number) => f.write_str(number.as_str()),
            Self::String(text) => f.write_str(&quoted(text)),
            Self::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Object(object) => {
                f.write_str("{")?;
                for (index, (name, value)) in object.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{}:{value}", quoted(name))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A number that keeps its spelling, so that nothing is lost before its meaning is known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Number(Box<str>);

impl Number {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The nearest double, unless it is out of a double's range (`1e400`).
    pub fn as_f64(&self) -> Option<f64> {
        self.0
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }

    /// The integer, if it was written as one.
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }
}

/// The members of an object, in their order, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(Box<str>, Value)>);

/// Objects and arrays that may be open at once in [`Object::read`].
const MAX_DEPTH: usize = 16;

impl Object {
    /// Reads a whole document that is one object, as strictly as tokens are read.
    ///
    /// # Errors
    /// What is wrong with it; never any of the text.
    pub fn read(document: &[u8]) -> Result<Self, &'static str> {
        read_object(document, MAX_DEPTH).map_err(Rejected::what)
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter()
            .find(|(member, _)| *member == name)
            .map(|(_, value)| value)
    }

    /// All members, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There is no member.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why a text is not the JSON that is accepted here. Never holds any of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rejected {
    what: &'static str,
}

impl Rejected {
    /// What is wrong, in words that may be printed.
    pub(crate) fn what(self) -> &'static str {
        self.what
    }
}

/// Reads one object and nothing after it. `depth` is how many objects and arrays may be open at
/// once. Takes time linear in the text but for the search for duplicates (n log n in the members).
///
/// # Errors
/// Anything that RFC 8259 does not allow, invalid UTF-8, a member twice, a lone surrogate, too
/// much nesting, a value that is not an object.
pub(crate) fn read_object(bytes: &[u8], depth: usize) -> Result<Object, Rejected> {
    let text = std::str::from_utf8(bytes).map_err(|_| reject("invalid UTF-8"))?;
    let mut reader = Reader { rest: text };
    reader.skip_space();
    if !reader.rest.starts_with('{') {
        return Err(reject("not an object"));
    }
    let object = reader.object(depth)?;
    reader.skip_space();
    if reader.rest.is_empty() {
        Ok(object)
    } else {
        Err(reject("bytes after the object"))
    }
}

fn reject(what: &'static str) -> Rejected {
    Rejected { what }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    // INVARIANT: `depth` shrinks with each level, which bounds the recursion of `value`.
    fn value(&mut self, depth: usize) -> Result<Value, Rejected> {
        match self.peek() {
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.array(depth).map(Value::Array),
            Some(b'"') => self
                .string()
                .map(|text| Value::String(text.into_owned().into_boxed_str())),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            Some(_) => Err(reject("not a JSON value")),
            None => Err(reject("ends early")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object, Rejected> {
        let depth = depth.checked_sub(1).ok_or(reject("nested too deeply"))?;
        self.expect(b'{', "not an object")?;
        let mut members = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?.into_owned().into_boxed_str();
            self.skip_space();
            self.expect(b':', "no colon after a member's name")?;
            self.skip_space();
            members.push((name, self.value(depth)?));
            self.skip_space();
            if self.take(b'}') {
                break;
            }
            self.expect(b',', "no comma between members")?;
        }
        if has_duplicate(&members) {
            return Err(reject("a member stands twice"));
        }
        Ok(Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value>, Rejected> {
        let depth = depth.checked_sub(1).ok_or(reject("nested too deeply"))?;
        self.expect(b'[', "not an array")?;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(items);
        }
        loop {
            self.skip_space();
            items.push(self.value(depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(items);
            }
            self.expect(b',', "no comma between items")?;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Rejected> {
        self.expect(b'"', "not a string")?;
        let plain = self.plain();
        if self.take(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            if self.take(b'"') {
                return Ok(Cow::Owned(text));
            }
            self.expect(b'\\', "a control character or no end in a string")?;
            text.push(self.escape()?);
            text.push_str(self.plain());
        }
    }

    /// What stands before the next quote, backslash, control character or the end.
    fn plain(&mut self) -> &'a str {
        let end = self
            .rest
            .bytes()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
            .unwrap_or(self.rest.len());
        // All of these are ASCII, so `end` lies between two characters.
        let (plain, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        plain
    }

    fn escape(&mut self) -> Result<char, Rejected> {
        let escaped = match self.next() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            Some(_) | None => return Err(reject("an unknown escape in a string")),
        };
        Ok(escaped)
    }

    fn unicode(&mut self) -> Result<char, Rejected> {
        let first = self.hex4()?;
        if let 0xd800..=0xdbff = first {
            if !(self.take(b'\\') && self.take(b'u')) {
                return Err(reject("a lone surrogate in a string"));
            }
            let second = self.hex4()?;
            return char::decode_utf16([first, second])
                .next()
                .and_then(Result::ok)
                .ok_or(reject("a lone surrogate in a string"));
        }
        char::from_u32(u32::from(first)).ok_or(reject("a lone surrogate in a string"))
    }

    fn hex4(&mut self) -> Result<u16, Rejected> {
        let bad = reject("a bad \\u escape in a string");
        let (digits, rest) = self.rest.split_at_checked(4).ok_or(bad)?;
        // `from_str_radix` would take a sign.
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad);
        }
        self.rest = rest;
        u16::from_str_radix(digits, 16).map_err(|_| bad)
    }

    fn number(&mut self) -> Result<Number, Rejected> {
        let start = self.rest;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'-') {
                self.take(b'+');
            }
            self.digits()?;
        }
        let length = start.len() - self.rest.len();
        let (number, _) = start.split_at_checked(length).unwrap_or((start, ""));
        Ok(Number(number.into()))
    }

    fn digits(&mut self) -> Result<(), Rejected> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == self.rest.len() {
            return Err(reject("a bad number"));
        }
        self.rest = rest;
        Ok(())
    }

    fn literal(&mut self, word: &str, value: Value) -> Result<Value, Rejected> {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.ok_or(reject("not a JSON value"))?;
        Ok(value)
    }

    fn skip_space(&mut self) {
        // Tokens hardly ever have any, and this is asked six times a member.
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        }
    }

    fn peek(&self) -> Option<u8> {
        self.rest.bytes().next()
    }

    /// Takes an ASCII byte; any other ends the reading.
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek().filter(u8::is_ascii)?;
        let (_, rest) = self.rest.split_at_checked(1)?;
        self.rest = rest;
        Some(byte)
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        if there {
            self.next();
        }
        there
    }

    fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Rejected> {
        if self.take(byte) {
            Ok(())
        } else if self.rest.is_empty() {
            Err(reject("ends early"))
        } else {
            Err(reject(otherwise))
        }
    }
}

fn has_duplicate(members: &[(Box<str>, Value)]) -> bool {
    // Comparing all pairs is the faster way for the few members that tokens have; an attacker
    // sends thousands.
    const FEW: usize = 16;
    if members.len() <= FEW {
        return members.iter().enumerate().any(|(index, (name, _))| {
            members
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == name)
        });
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names
        .iter()
        .zip(names.iter().skip(1))
        .any(|(one, next)| one == next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepted(text: &str) -> Object {
        read_object(text.as_bytes(), 8).unwrap_or_else(|error| panic!("{text}: {}", error.what()))
    }

    #[track_caller]
    fn refused(text: impl AsRef<[u8]>, why: &str) {
        match read_object(text.as_ref(), 8) {
            Ok(object) => panic!("read {object:?}"),
            Err(error) => assert_eq!(error.what(), why),
        }
    }

    #[track_caller]
    fn string(escaped: &str, expected: &str) {
        let object = accepted(&format!("{{\"a\":\"{escaped}\"}}"));
        assert_eq!(object.get("a").and_then(Value::as_str), Some(expected));
    }

    #[test]
    fn objects_and_only_those() {
        assert!(accepted("{}").is_empty());
        assert!(accepted(" \t\r\n{ } \n").is_empty());
        assert_eq!(accepted(r#"{"a":1,"b":[true,false,null,{}]}"#).len(), 2);
        refused("", "not an object");
        refused("[]", "not an object");
        refused("\"a\"", "not an object");
        refused("null", "not an object");
        refused("\u{feff}{}", "not an object");
        refused("{}{}", "bytes after the object");
        refused("{}\0", "bytes after the object");
        refused("{} //", "bytes after the object");
        refused("{}\u{a0}", "bytes after the object");
        refused("{", "ends early");
        refused("{\"a\"", "ends early");
        refused("{\"a\":", "ends early");
        refused("{\"a\":1", "ends early");
        refused("{\"a\":1,", "ends early");
        refused("{\"a\":1,}", "not a string");
        refused("{,}", "not a string");
        refused("{a:1}", "not a string");
        refused("{'a':1}", "not a string");
        refused("{\"a\" 1}", "no colon after a member's name");
        refused("{\"a\":1 \"b\":2}", "no comma between members");
        refused("{\"a\":[1 2]}", "no comma between items");
        refused("{\"a\":[1,]}", "not a JSON value");
        refused("{\"a\":}", "not a JSON value");
        refused("{\"a\":\u{b}1}", "not a JSON value");
        refused("{\"a\":TRUE}", "not a JSON value");
        refused("{\"a\":nul}", "not a JSON value");
        refused("{\"a\":NaN}", "not a JSON value");
        refused("{\"a\":Infinity}", "not a JSON value");
        refused("{\"a\":/**/1}", "not a JSON value");
        refused(b"{\"a\":\"\xff\"}", "invalid UTF-8");
        refused(b"{\"a\":\"\xc0\xaf\"}", "invalid UTF-8");
        refused(b"{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8");
    }

    #[test]
    fn a_member_stands_once_however_it_is_spelt() {
        accepted(r#"{"a":1,"A":2,"":3}"#);
        accepted(r#"{"a":{"a":{"a":1}}}"#);
        refused(r#"{"a":1,"a":1}"#, "a member stands twice");
        refused(r#"{"a":1,"\u0061":2}"#, "a member stands twice");
        refused(r#"{"b":{"a":1,"\u0061":2}}"#, "a member stands twice");
        refused(r#"{"b":[{"":1,"":2}]}"#, "a member stands twice");
        refused(r#"{"\ud83d\ude00":1,"😀":2}"#, "a member stands twice");
        let many: Vec<String> = (0..500).map(|n| format!("\"m{n}\":{n}")).collect();
        accepted(&format!("{{{}}}", many.join(",")));
        refused(
            format!("{{{},\"m7\":0}}", many.join(",")),
            "a member stands twice",
        );
    }

    #[test]
    fn strings() {
        string("", "");
        string("plain ünïcode", "plain ünïcode");
        string(r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t");
        string(r"a\u0041\u00e9z", "aAéz");
        string(r"\ud83d\ude00", "😀");
        string(r"\u0000", "\0");
        refused(r#"{"a":"\x"}"#, "an unknown escape in a string");
        refused("{\"a\":\"\\é\"}", "an unknown escape in a string");
        refused(r#"{"a":"\ud83d"}"#, "a lone surrogate in a string");
        refused(r#"{"a":"\ude00"}"#, "a lone surrogate in a string");
        refused(r#"{"a":"\ud83d\u0041"}"#, "a lone surrogate in a string");
        refused(r#"{"a":"\ud83dx"}"#, "a lone surrogate in a string");
        refused(r#"{"a":"\u+041"}"#, "a bad \\u escape in a string");
        refused(r#"{"a":"\u00é"}"#, "a bad \\u escape in a string");
        refused(r#"{"a":"\u00"#, "a bad \\u escape in a string");
        refused(
            "{\"a\":\"\n\"}",
            "a control character or no end in a string",
        );
        refused(
            "{\"a\":\"b\0\"}",
            "a control character or no end in a string",
        );
        refused("{\"a\":\"b", "ends early");
        refused("{\"a\":\"b\\", "an unknown escape in a string");
    }

    #[test]
    fn numbers() {
        for number in [
            "0", "-0", "1", "-1", "10", "1.5", "1e3", "1E-3", "1e+3", "0.10e01",
        ] {
            let object = accepted(&format!("{{\"a\":{number}}}"));
            assert_eq!(object.get("a").and_then(Value::as_f64), number.parse().ok());
        }
        let huge = accepted(r#"{"a":1e400}"#);
        assert_eq!(huge.get("a").and_then(Value::as_f64), None);
        refused("{\"a\":01}", "no comma between members");
        refused("{\"a\":-}", "a bad number");
        refused("{\"a\":1.}", "a bad number");
        refused("{\"a\":1e}", "a bad number");
        refused("{\"a\":1e+}", "a bad number");
        refused("{\"a\":1e+-1}", "a bad number");
        refused("{\"a\":+1}", "not a JSON value");
        refused("{\"a\":.5}", "not a JSON value");
        refused("{\"a\":0x10}", "no comma between members");
        refused("{\"a\":1_000}", "no comma between members");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        accepted(&nested(7));
        refused(nested(8), "nested too deeply");
        refused("{\"a\":".repeat(100_000), "nested too deeply");
        refused(
            format!("{{\"a\":{}", "[".repeat(100_000)),
            "nested too deeply",
        );
    }
}
