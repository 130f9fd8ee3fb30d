//! Structured field values (RFC 8941): read strictly, written in their one canonical form.
//!
//! Stricter than the RFC in one point: a key that stands twice in a dictionary or in parameters is
//! refused, where the RFC takes the last, because a reader further on may take the first. The
//! dates and display strings of RFC 9651 are not read.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The longest field value that is looked at, in bytes.
pub(crate) const MAX_FIELD: usize = 32 << 10;
/// Members of a list, an inner list or a dictionary, and parameters of one item.
const MAX_MEMBERS: usize = 128;

/// Why a text is not the structured field that was expected. Never holds any of it.
pub(crate) type Rejected = &'static str;

/// A bare item.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Bare {
    Integer(i64),
    /// In its canonical spelling.
    Decimal(String),
    String(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

/// Parameters in their order, each key once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Parameters(pub(crate) Vec<(String, Bare)>);

/// A bare item with its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Item {
    pub(crate) bare: Bare,
    pub(crate) parameters: Parameters,
}

/// What stands in a list or a dictionary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Member {
    Item(Item),
    InnerList(Vec<Item>, Parameters),
}

/// A dictionary in its order, each key once.
pub(crate) type Dictionary = Vec<(String, Member)>;

impl Parameters {
    pub(crate) fn get(&self, key: &str) -> Option<&Bare> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }
}

/// Reads a dictionary (RFC 8941, section 4.2.2).
pub(crate) fn dictionary(text: &str) -> Result<Dictionary, Rejected> {
    let mut reader = Reader::new(text)?;
    let mut members = Dictionary::new();
    if reader.rest.is_empty() {
        return Ok(members);
    }
    loop {
        let key = reader.key()?;
        if members.iter().any(|(known, _)| *known == key) {
            return Err("a key stands twice");
        }
        let member = if reader.take('=') {
            reader.member()?
        } else {
            Member::Item(Item {
                bare: Bare::Boolean(true),
                parameters: reader.parameters()?,
            })
        };
        members.push((key, member));
        if reader.ends_members(members.len())? {
            return Ok(members);
        }
    }
}

/// Reads a list (RFC 8941, section 4.2.1).
pub(crate) fn list(text: &str) -> Result<Vec<Member>, Rejected> {
    let mut reader = Reader::new(text)?;
    let mut members = Vec::new();
    if reader.rest.is_empty() {
        return Ok(members);
    }
    loop {
        members.push(reader.member()?);
        if reader.ends_members(members.len())? {
            return Ok(members);
        }
    }
}

/// Reads an item (RFC 8941, section 4.2.3).
pub(crate) fn item(text: &str) -> Result<Item, Rejected> {
    let mut reader = Reader::new(text)?;
    let item = reader.item()?;
    if reader.rest.is_empty() {
        Ok(item)
    } else {
        Err("something follows the item")
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Self, Rejected> {
        if text.len() > MAX_FIELD {
            return Err("it is too long");
        }
        if !text.is_ascii() {
            return Err("it is not ASCII");
        }
        let rest = text.trim_matches(' ');
        Ok(Self { rest })
    }

    /// After a member: the end, or a comma and another member.
    fn ends_members(&mut self, count: usize) -> Result<bool, Rejected> {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.is_empty() {
            return Ok(true);
        }
        if !self.take(',') {
            return Err("no comma between members");
        }
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        if self.rest.is_empty() {
            return Err("it ends with a comma");
        }
        if count >= MAX_MEMBERS {
            return Err("it has too many members");
        }
        Ok(false)
    }

    fn member(&mut self) -> Result<Member, Rejected> {
        if !self.take('(') {
            return self.item().map(Member::Item);
        }
        let mut items = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches(' ');
            if self.take(')') {
                return Ok(Member::InnerList(items, self.parameters()?));
            }
            if items.len() >= MAX_MEMBERS {
                return Err("it has too many members");
            }
            items.push(self.item()?);
            if !self.rest.starts_with([' ', ')']) {
                return Err("no space between the items of an inner list");
            }
        }
    }

    fn item(&mut self) -> Result<Item, Rejected> {
        Ok(Item {
            bare: self.bare()?,
            parameters: self.parameters()?,
        })
    }

    fn parameters(&mut self) -> Result<Parameters, Rejected> {
        let mut parameters = Parameters::default();
        while self.take(';') {
            self.rest = self.rest.trim_start_matches(' ');
            let key = self.key()?;
            if parameters.get(&key).is_some() {
                return Err("a parameter stands twice");
            }
            if parameters.0.len() >= MAX_MEMBERS {
                return Err("it has too many parameters");
            }
            let value = if self.take('=') {
                self.bare()?
            } else {
                Bare::Boolean(true)
            };
            parameters.0.push((key, value));
        }
        Ok(parameters)
    }

    fn key(&mut self) -> Result<String, Rejected> {
        if !self
            .rest
            .starts_with(|c: char| c.is_ascii_lowercase() || c == '*')
        {
            return Err("a key does not begin with a lower-case letter or `*`");
        }
        let key = self.take_while(|c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '.' | '*')
        });
        Ok(key.to_owned())
    }

    fn bare(&mut self) -> Result<Bare, Rejected> {
        match self.rest.chars().next() {
            Some('-' | '0'..='9') => self.number(),
            Some('"') => self.string().map(Bare::String),
            Some(':') => self.bytes().map(Bare::Bytes),
            Some('?') => self.boolean().map(Bare::Boolean),
            Some(c) if c.is_ascii_alphabetic() || c == '*' => {
                let token = self
                    .take_while(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c));
                Ok(Bare::Token(token.to_owned()))
            }
            Some(_) | None => Err("no value where one must be"),
        }
    }

    fn number(&mut self) -> Result<Bare, Rejected> {
        let negative = self.take('-');
        let whole = self.take_while(|c| c.is_ascii_digit());
        let sign = if negative { "-" } else { "" };
        if whole.is_empty() {
            return Err("a number has no digits");
        }
        if !self.take('.') {
            if whole.len() > 15 {
                return Err("a number has too many digits");
            }
            let number = whole.parse::<i64>().map_err(|_| "a bad number")?;
            return Ok(Bare::Integer(if negative { -number } else { number }));
        }
        let fraction = self.take_while(|c| c.is_ascii_digit());
        if whole.len() > 12 || !(1..=3).contains(&fraction.len()) {
            return Err("a decimal has too many digits, or none after its point");
        }
        let number = whole.parse::<u64>().map_err(|_| "a bad number")?;
        let fraction = match fraction.trim_end_matches('0') {
            "" => "0",
            digits => digits,
        };
        Ok(Bare::Decimal(format!("{sign}{number}.{fraction}")))
    }

    fn string(&mut self) -> Result<String, Rejected> {
        self.take('"');
        let mut text = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => match characters.next() {
                    Some(c @ ('"' | '\\')) => text.push(c),
                    Some(_) | None => return Err("a bad escape in a string"),
                },
                Some(c @ ' '..='~') => text.push(c),
                Some(_) => return Err("a control character in a string"),
                None => return Err("a string does not end"),
            }
        }
        self.rest = characters.as_str();
        Ok(text)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Rejected> {
        self.take(':');
        let encoded = self.take_while(|c| c != ':');
        if !self.take(':') {
            return Err("a byte sequence does not end");
        }
        STANDARD
            .decode(encoded)
            .map_err(|_| "a byte sequence is not base64")
    }

    fn boolean(&mut self) -> Result<bool, Rejected> {
        self.take('?');
        if self.take('1') {
            Ok(true)
        } else if self.take('0') {
            Ok(false)
        } else {
            Err("a boolean is neither `?0` nor `?1`")
        }
    }

    fn take(&mut self, expected: char) -> bool {
        let rest = self.rest.strip_prefix(expected);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_while(&mut self, accepted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start_matches(accepted);
        let length = self.rest.len() - rest.len();
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// Writes an item in its canonical form (RFC 8941, section 4.1.3).
pub(crate) fn write_item(out: &mut String, item: &Item) {
    write_bare(out, &item.bare);
    write_parameters(out, &item.parameters);
}

/// Writes a member of a list or a dictionary.
pub(crate) fn write_member(out: &mut String, member: &Member) {
    match member {
        Member::Item(item) => write_item(out, item),
        Member::InnerList(items, parameters) => write_inner_list(out, items, parameters),
    }
}

/// Writes an inner list with its parameters.
pub(crate) fn write_inner_list(out: &mut String, items: &[Item], parameters: &Parameters) {
    out.push('(');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(' ');
        }
        write_item(out, item);
    }
    out.push(')');
    write_parameters(out, parameters);
}

/// Writes a list.
pub(crate) fn write_list(out: &mut String, members: &[Member]) {
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_member(out, member);
    }
}

/// Writes a dictionary; a member that is true is its key alone (RFC 8941, section 4.1.2).
pub(crate) fn write_dictionary(out: &mut String, members: &Dictionary) {
    for (index, (key, member)) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        out.push_str(key);
        match member {
            Member::Item(item) if item.bare == Bare::Boolean(true) => {
                write_parameters(out, &item.parameters);
            }
            Member::Item(_) | Member::InnerList(..) => {
                out.push('=');
                write_member(out, member);
            }
        }
    }
}

/// Writes bytes as a byte sequence (RFC 8941, section 4.1.8).
pub(crate) fn write_bytes(out: &mut String, bytes: &[u8]) {
    out.push(':');
    STANDARD.encode_string(bytes, out);
    out.push(':');
}

fn write_parameters(out: &mut String, parameters: &Parameters) {
    for (key, value) in &parameters.0 {
        out.push(';');
        out.push_str(key);
        if *value != Bare::Boolean(true) {
            out.push('=');
            write_bare(out, value);
        }
    }
}

fn write_bare(out: &mut String, bare: &Bare) {
    match bare {
        // Writing to a string cannot fail.
        Bare::Integer(number) => write!(out, "{number}").unwrap_or_default(),
        Bare::Decimal(text) | Bare::Token(text) => out.push_str(text),
        Bare::String(text) => {
            out.push('"');
            for character in text.chars() {
                if matches!(character, '"' | '\\') {
                    out.push('\\');
                }
                out.push(character);
            }
            out.push('"');
        }
        Bare::Bytes(bytes) => write_bytes(out, bytes),
        Bare::Boolean(truth) => out.push_str(if *truth { "?1" } else { "?0" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, canonical: &str) {
        let members = dictionary(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let mut written = String::new();
        write_dictionary(&mut written, &members);
        assert_eq!(written, canonical);
        assert_eq!(dictionary(&written).as_ref(), Ok(&members));
    }

    #[track_caller]
    fn refuses(text: &str, why: &str) {
        assert_eq!(dictionary(text), Err(why), "{text}");
    }

    #[test]
    fn dictionaries_have_one_canonical_form() {
        reads("", "");
        reads("a", "a");
        reads("a=?1", "a");
        reads("  a=1 ,\tb=-2;x;y=?0 ", "a=1, b=-2;x;y=?0");
        reads(
            "a=(  1 \"b\";q  t/x );z=:AQI=:",
            "a=(1 \"b\";q t/x);z=:AQI=:",
        );
        reads("a=007, b=1.500, c=-0.0", "a=7, b=1.5, c=-0.0");
        reads(r#"a="\"\\""#, r#"a="\"\\""#);
        reads("a=(), *b-._1=tok", "a=(), *b-._1=tok");
    }

    #[test]
    fn what_rfc_8941_does_not_allow_is_refused() {
        refuses("a,", "it ends with a comma");
        refuses("a b", "no comma between members");
        refuses(
            "A=1",
            "a key does not begin with a lower-case letter or `*`",
        );
        refuses("a=1,a=2", "a key stands twice");
        refuses("a=1;b;b", "a parameter stands twice");
        refuses("a=", "no value where one must be");
        refuses("a=(1", "no space between the items of an inner list");
        refuses("a=(1\"b\")", "no space between the items of an inner list");
        refuses("a=((1))", "no value where one must be");
        refuses("a=\"b", "a string does not end");
        refuses("a=\"\\n\"", "a bad escape in a string");
        refuses("a=\"\t\"", "a control character in a string");
        refuses("a=:AQI:", "a byte sequence is not base64");
        refuses("a=:AQI=", "a byte sequence does not end");
        refuses("a=:AQJ=:", "a byte sequence is not base64");
        refuses("a=?2", "a boolean is neither `?0` nor `?1`");
        refuses("a=1234567890123456", "a number has too many digits");
        refuses(
            "a=1.",
            "a decimal has too many digits, or none after its point",
        );
        refuses(
            "a=1.2345",
            "a decimal has too many digits, or none after its point",
        );
        refuses("a=-", "a number has no digits");
        refuses("a=@1", "no value where one must be");
        refuses("a=\u{e9}", "it is not ASCII");
        refuses(&"a".repeat(MAX_FIELD + 1), "it is too long");
        let many: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("a{n}")).collect();
        refuses(&many.join(","), "it has too many members");
    }

    #[test]
    fn items_and_lists_end_where_they_end() {
        assert!(item(":AQI=:").is_ok());
        assert_eq!(item(":AQI=:, :AQI=:"), Err("something follows the item"));
        assert_eq!(item(""), Err("no value where one must be"));
        assert_eq!(list(":AQI=:, 1").map(|members| members.len()), Ok(2));
        assert_eq!(list(":AQI=:,"), Err("it ends with a comma"));
    }
}
