//! The reader itself: one pass over the bytes, nested values on the stack.

use std::borrow::Cow;

use super::{
    Document, ErrorKind, JsonError, Kind, Limits, MAX_DEPTH, Member, Range, Value, number, small,
};

/// Reads a JSON text.
///
/// # Errors
/// A text that is not strictly JSON, or larger than `limits`; see [`ErrorKind`].
pub fn read<'a>(text: &'a [u8], limits: &Limits) -> Result<Document<'a>, JsonError> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(plain(ErrorKind::Malformed, "a byte order mark"));
    }
    if u32::try_from(text.len()).is_err() {
        return Err(plain(ErrorKind::TooComplex, "more than 4 GiB"));
    }
    let text = std::str::from_utf8(text).map_err(|error| JsonError {
        kind: ErrorKind::Malformed,
        detail: format!("invalid UTF-8{}", position(text, error.valid_up_to())),
    })?;
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        limits,
        depth: 0,
        members: Vec::new(),
        items: Vec::new(),
        open_members: Vec::new(),
        open_items: Vec::new(),
    };
    match reader.document() {
        Ok(root) => Ok(Document {
            root,
            members: reader.members,
            items: reader.items,
        }),
        Err(Fault { kind, what, at }) => Err(JsonError {
            kind,
            detail: format!("{what}{}", position(reader.bytes, at)),
        }),
    }
}

fn plain(kind: ErrorKind, what: &str) -> JsonError {
    JsonError {
        kind,
        detail: what.to_owned(),
    }
}

/// ` at line 1, column 5`; columns count characters.
fn position(text: &[u8], at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = memchr::memchr_iter(b'\n', before).count() + 1;
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let column = before
        .iter()
        .skip(line_start)
        .filter(|byte| !matches!(byte, 0x80..=0xbf))
        .count()
        + 1;
    format!(" at line {line}, column {column}")
}

struct Reader<'a, 'l> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    limits: &'l Limits,
    depth: usize,
    members: Vec<Member<'a>>,
    items: Vec<Value<'a>>,
    /// Members of objects that are not closed yet, innermost last.
    open_members: Vec<Member<'a>>,
    open_items: Vec<Value<'a>>,
}

struct Fault {
    kind: ErrorKind,
    what: &'static str,
    at: usize,
}

type Step<T> = Result<T, Fault>;

/// Objects with at most this many members look for duplicates one by one; larger ones sort.
const FEW_MEMBERS: usize = 12;

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Step<Value<'a>> {
        self.space();
        if self.at == self.bytes.len() {
            return self.malformed("no JSON value");
        }
        let root = self.value()?;
        self.space();
        if self.at < self.bytes.len() {
            return self.malformed("something after the JSON value");
        }
        Ok(root)
    }

    fn value(&mut self) -> Step<Value<'a>> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => Kind::String(self.string()?),
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true", Kind::Bool(true))?,
            Some(b'f') => self.word("false", Kind::Bool(false))?,
            Some(b'n') => self.word("null", Kind::Null)?,
            Some(_) => return self.malformed("expected a JSON value"),
            None => return self.malformed("the JSON value breaks off"),
        };
        Ok(Value {
            start: small(start),
            end: small(self.at),
            kind,
        })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Step<Kind<'a>>) -> Step<Kind<'a>> {
        if self.depth >= self.limits.depth.min(MAX_DEPTH) {
            return self.fault(ErrorKind::TooComplex, "nested too deep");
        }
        self.depth += 1;
        self.at += 1;
        let kind = read(self)?;
        self.depth -= 1;
        Ok(kind)
    }

    fn object(&mut self) -> Step<Kind<'a>> {
        let first = self.open_members.len();
        self.space();
        if self.take(b'}') {
            return Ok(Kind::Object(self.close_object(first)?));
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return self.malformed("expected a property name");
            }
            let key = self.string()?;
            // Of this object alone: what all objects hold together, the size of the body bounds.
            if self.open_members.len().saturating_sub(first) >= self.limits.properties {
                self.at = start;
                return self.fault(ErrorKind::TooComplex, "too many properties");
            }
            self.space();
            if !self.take(b':') {
                return self.malformed("expected `:`");
            }
            self.space();
            let value = self.value()?;
            self.open_members.push(Member {
                key,
                start: small(start),
                value,
            });
            self.space();
            if self.take(b'}') {
                return Ok(Kind::Object(self.close_object(first)?));
            }
            if !self.take(b',') {
                return self.malformed("expected `,` or `}`");
            }
            self.space();
        }
    }

    fn close_object(&mut self, first: usize) -> Step<Range> {
        let members = self.open_members.get(first..).unwrap_or(&[]);
        if let Some(start) = duplicate(members) {
            return Err(Fault {
                kind: ErrorKind::DuplicateKey,
                what: "a property name that the object has already",
                at: usize::try_from(start).unwrap_or_default(),
            });
        }
        let range = Range {
            start: small(self.members.len()),
            len: small(members.len()),
        };
        self.members.extend(self.open_members.drain(first..));
        Ok(range)
    }

    fn array(&mut self) -> Step<Kind<'a>> {
        let first = self.open_items.len();
        self.space();
        if !self.take(b']') {
            loop {
                if self.open_items.len() - first >= self.limits.items {
                    return self.fault(ErrorKind::TooComplex, "too many items in an array");
                }
                let value = self.value()?;
                self.open_items.push(value);
                self.space();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return self.malformed("expected `,` or `]`");
                }
                self.space();
            }
        }
        let range = Range {
            start: small(self.items.len()),
            len: small(self.open_items.len() - first),
        };
        self.items.extend(self.open_items.drain(first..));
        Ok(Kind::Array(range))
    }

    fn number(&mut self) -> Step<Kind<'a>> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        let length = number::length(rest);
        let text = self.text.get(start..start + length).unwrap_or("");
        // What follows a number is a delimiter; anything else was meant to be part of it.
        let follows = rest.get(length).copied();
        let ends = matches!(
            follows,
            None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
        );
        if length == 0 || !ends {
            return self.malformed("not a JSON number");
        }
        if !number::fits(text) {
            return self.malformed("a number that does not fit");
        }
        self.at += length;
        Ok(Kind::Number(Cow::Borrowed(text)))
    }

    fn word(&mut self, word: &'static str, kind: Kind<'a>) -> Step<Kind<'a>> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        if !rest.starts_with(word.as_bytes()) {
            return self.malformed("expected a JSON value");
        }
        self.at += word.len();
        Ok(kind)
    }

    fn string(&mut self) -> Step<Cow<'a, str>> {
        let start = self.at + 1;
        self.at = start;
        self.plain_run()?;
        if self.peek() == Some(b'"') {
            let text = self.text.get(start..self.at).unwrap_or("");
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        let mut owned = self.text.get(start..self.at).unwrap_or("").to_owned();
        loop {
            if self.take(b'"') {
                return Ok(Cow::Owned(owned));
            }
            self.at += 1;
            owned.push(self.escape()?);
            let run = self.at;
            self.plain_run()?;
            owned.push_str(self.text.get(run..self.at).unwrap_or(""));
        }
    }

    /// Goes to the next quote or backslash.
    fn plain_run(&mut self) -> Step<()> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let Some(length) = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))
        else {
            self.at = self.bytes.len();
            return self.malformed("the string breaks off");
        };
        self.at += length;
        if self.peek().is_some_and(|byte| byte < 0x20) {
            return self.malformed("a control character in a string");
        }
        Ok(())
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Step<char> {
        let Some(byte) = self.peek() else {
            return self.malformed("the string breaks off");
        };
        let plain = match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return self.malformed("an unknown escape in a string"),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Step<char> {
        let first = self.code_unit()?;
        if let Some(plain) = char::from_u32(first) {
            return Ok(plain);
        }
        // Only a high surrogate with a low one behind it is a character (RFC 8259, section 7).
        if first < 0xdc00 && self.take(b'\\') && self.peek() == Some(b'u') {
            let second = self.code_unit()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                if let Some(pair) = char::from_u32(code) {
                    return Ok(pair);
                }
            }
        }
        self.malformed("a lone surrogate in a string")
    }

    /// `u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Step<u32> {
        let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or(&[]);
        let mut code = 0;
        for byte in digits {
            let Some(digit) = char::from(*byte).to_digit(16) else {
                return self.malformed("an unknown escape in a string");
            };
            code = code << 4 | digit;
        }
        if digits.len() < 4 {
            return self.malformed("an unknown escape in a string");
        }
        self.at += 5;
        Ok(code)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn malformed<T>(&self, what: &'static str) -> Step<T> {
        self.fault(ErrorKind::Malformed, what)
    }

    fn fault<T>(&self, kind: ErrorKind, what: &'static str) -> Step<T> {
        Err(Fault {
            kind,
            what,
            at: self.at,
        })
    }
}

/// The place of a member whose key another member has too.
fn duplicate(members: &[Member<'_>]) -> Option<u32> {
    if members.len() <= FEW_MEMBERS {
        let mut before: &[Member<'_>] = &[];
        for (index, member) in members.iter().enumerate() {
            if before.iter().any(|other| other.key == member.key) {
                return Some(member.start);
            }
            before = members.get(..=index).unwrap_or(&[]);
        }
        return None;
    }
    // Sorting instead of hashing: no choice of keys makes it slow.
    let mut keys: Vec<(&str, u32)> = members
        .iter()
        .map(|member| (&*member.key, member.start))
        .collect();
    keys.sort_unstable();
    keys.windows(2).find_map(|pair| match pair {
        [(one, _), (other, start)] if one == other => Some(*start),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        depth: 4,
        properties: 20,
        items: 5,
    };

    #[track_caller]
    fn accept(text: &str) {
        if let Err(error) = read(text.as_bytes(), &LIMITS) {
            panic!("{text}: {error}");
        }
    }

    #[track_caller]
    fn refuse(text: impl AsRef<[u8]>, kind: ErrorKind) {
        let text = text.as_ref();
        match read(text, &LIMITS) {
            Ok(_) => panic!("accepted {}", String::from_utf8_lossy(text)),
            Err(error) => assert_eq!(error.kind, kind, "{error}"),
        }
    }

    #[track_caller]
    fn malformed(text: impl AsRef<[u8]>) {
        refuse(text, ErrorKind::Malformed);
    }

    #[test]
    fn values() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "1.5",
            "1e3",
            "1E+3",
            "\"\"",
            "[]",
            "{}",
            " [ 1 , 2 ] ",
            "\r\n\t{\"a\":{\"b\":[null]}}",
            "\"\\u00e9\\n\\/\"",
            "\"\\ud83d\\ude00\"",
            "\"\u{7f}\"",
            "9223372036854775807",
            "18446744073709551615",
            "-9223372036854775808",
            "1e300",
            "0.1",
        ] {
            accept(text);
        }
    }

    #[test]
    fn not_json() {
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "True",
            "NaN",
            "Infinity",
            "-Infinity",
            "-",
            "+1",
            "01",
            "-01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "0x10",
            "1_000",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\":1,}",
            "{a:1}",
            "{'a':1}",
            "{\"a\" 1}",
            "{\"a\":}",
            "{,}",
            "[",
            "{",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\t\"",
            "\"\u{0}\"",
            "1 2",
            "{} {}",
            "[]]",
            "/* a */ 1",
            "1 // a",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\ud800\"",
            "\"\\ud800x\"",
            "\u{a0}1",
            "\u{feff}1",
            "1\0",
        ] {
            malformed(text);
        }
        malformed(b"\xff\xfe1\0");
        malformed(b"\"\xc3\x28\"");
        malformed(b"\"\xed\xa0\x80\"");
    }

    #[test]
    fn numbers_that_do_not_fit() {
        for text in [
            "1e400",
            "-1e400",
            "18446744073709551616",
            "-9223372036854775809",
            "1e-400",
        ] {
            malformed(text);
        }
        malformed("1".repeat(400));
        malformed(format!("0.{}", "1".repeat(60)));
        accept("0e400");
    }

    #[test]
    fn duplicate_keys() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"[{"b":{"x":1,"y":2,"x":1}}]"#,
            r#"{"":1,"":1}"#,
        ] {
            refuse(text, ErrorKind::DuplicateKey);
        }
        let many = |last: &str| {
            let members: Vec<_> = (0..15).map(|n| format!("\"k{n}\":0")).collect();
            format!("{{{},\"{last}\":0}}", members.join(","))
        };
        refuse(many("\\u006b3"), ErrorKind::DuplicateKey);
        accept(&many("k99"));
        accept(r#"{"a":1,"A":2}"#);
    }

    #[test]
    fn bounds() {
        accept("[[[[]]]]");
        refuse("[[[[[]]]]]", ErrorKind::TooComplex);
        accept("[1,2,3,4,5]");
        refuse("[1,2,3,4,5,6]", ErrorKind::TooComplex);
        let object = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("\"k{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        accept(&object(20));
        refuse(object(21), ErrorKind::TooComplex);
        accept(&format!("[{},{}]", object(20), object(20)));
        refuse(format!("{{\"a\":{}}}", object(21)), ErrorKind::TooComplex);
        let wide = Limits {
            depth: usize::MAX,
            ..LIMITS
        };
        let deep = "[".repeat(100_000);
        assert_eq!(
            read(deep.as_bytes(), &wide).expect_err("too deep").kind,
            ErrorKind::TooComplex
        );
    }

    #[test]
    fn errors_say_where_and_never_what() {
        let error = read(b"{\n \"\xc3\xa9\": secret}", &LIMITS).expect_err("not JSON");
        assert_eq!(error.detail, "expected a JSON value at line 2, column 7");
    }

    #[test]
    fn strings_are_borrowed_where_they_can_be() {
        let document = read(br#"{"a":"b","c":"\u0064"}"#, &LIMITS).expect("JSON");
        let Kind::Object(range) = document.root().kind else {
            panic!("an object")
        };
        let borrowed: Vec<_> = document
            .members(range)
            .iter()
            .map(|member| match &member.value.kind {
                Kind::String(text) => (matches!(text, Cow::Borrowed(_)), text.to_string()),
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Array(_) | Kind::Object(_) => {
                    panic!("{:?}", member.value)
                }
            })
            .collect();
        assert_eq!(borrowed, [(true, "b".to_owned()), (false, "d".to_owned())]);
    }
}
