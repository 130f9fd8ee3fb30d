//! `multipart/form-data` (RFC 7578), read so that no other parser can read it differently.
//!
//! Lines end in CRLF, the first boundary begins the body, the last one ends it, each part has a name,
//! and none is a multipart of its own: RFC 2046 allows more, which is what attacks on parsers use.

use std::borrow::Cow;

use fortress_model::Reason;

use super::{Content, Encoding, MediaName, MediaType};
use crate::{
    check::{Policy, Violation},
    json::{self, Limits},
    parameter::{
        decode::{Plus, decode},
        value::{Raw, is_list_only, judge, types},
    },
    schema::{Schemas, Types, push_key},
};

/// Bytes of the header fields of one part.
const MAX_PART_HEAD: usize = 8 << 10;
/// Header fields of one part.
const MAX_PART_FIELDS: usize = 16;

struct Part<'a> {
    name: Cow<'a, str>,
    media_type: Option<MediaName>,
    fields: Vec<(&'a str, &'a str)>,
    content: &'a [u8],
}

/// Reads a form as one object.
pub(super) fn read<'a>(
    content: &'a [u8],
    boundary: Option<&str>,
    media_type: &MediaType,
    schemas: &Schemas,
    policy: &Policy,
) -> Result<Raw<'a>, Violation> {
    let boundary = boundary
        .filter(|boundary| is_boundary(boundary))
        .ok_or_else(|| malformed("body", "the boundary is missing or malformed"))?;
    let parts = parts(content, boundary, policy.parts)?;
    let reading = Reading {
        media_type,
        schemas,
        policy,
    };
    reading.object(parts)
}

/// The values of a form by their names, in its order; `None` if it is no form, or has more than `most`
/// parts. `content_type` is the field's value.
pub fn values<'a>(
    content_type: &str,
    content: &'a [u8],
    most: usize,
) -> Option<Vec<(Cow<'a, str>, &'a [u8])>> {
    let name = MediaName::parse(content_type)?;
    if name.content() != Content::Multipart {
        return None;
    }
    let boundary = name
        .parameter("boundary")
        .filter(|text| is_boundary(text))?;
    // Why it is none was said where the body was checked.
    let parts = parts(content, boundary, most).ok()?;
    let values = parts.into_iter().map(|part| (part.name, part.content));
    Some(values.collect())
}

/// RFC 2046, section 5.1.1.
fn is_boundary(text: &str) -> bool {
    (1..=70).contains(&text.len())
        && !text.ends_with(' ')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte))
}

fn parts<'a>(content: &'a [u8], boundary: &str, max: usize) -> Result<Vec<Part<'a>>, Violation> {
    let opening = format!("--{boundary}");
    let mut rest = content
        .strip_prefix(opening.as_bytes())
        .ok_or_else(|| malformed("body", "something before the first boundary"))?;
    let delimiter = format!("\r\n--{boundary}");
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    let mut parts = Vec::new();
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            if !(end.is_empty() || end == b"\r\n") {
                return Err(malformed("body", "something after the last boundary"));
            }
            return Ok(parts);
        }
        let Some(begin) = rest.strip_prefix(b"\r\n") else {
            return Err(malformed("body", "a boundary does not end its line"));
        };
        if parts.len() >= max {
            return Err(fault(Reason::BodyTooComplex, "body", "too many parts"));
        }
        let Some(end) = finder.find(begin) else {
            return Err(malformed("body", "the last boundary is missing"));
        };
        let (part, behind) = begin.split_at(end);
        parts.push(self::part(part)?);
        rest = behind.get(delimiter.len()..).unwrap_or(&[]);
    }
}

fn part(bytes: &[u8]) -> Result<Part<'_>, Violation> {
    // A part without fields begins with its empty line.
    let end = memchr::memmem::find(bytes, b"\r\n\r\n");
    let Some((head, content)) =
        end.and_then(|end| Some((bytes.get(..end)?, bytes.get(end + 4..)?)))
    else {
        return Err(malformed("body", "a part has no fields"));
    };
    if head.len() > MAX_PART_HEAD {
        return Err(fault(
            Reason::BodyTooComplex,
            "body",
            "a part has too many fields",
        ));
    }
    let head = std::str::from_utf8(head)
        .map_err(|_| malformed("body", "invalid UTF-8 in the fields of a part"))?;
    let fields = fields(head)?;
    let field = |wanted: &str| {
        let mut fields = fields.iter();
        fields
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| *value)
    };
    let name = field("content-disposition")
        .and_then(disposition_name)
        .ok_or_else(|| {
            malformed(
                "body",
                "a part needs `Content-Disposition: form-data` with a name",
            )
        })?;
    let media_type = match field("content-type") {
        None => None,
        Some(text) => Some(
            MediaName::parse(text)
                .ok_or_else(|| malformed(&location(&name), "not a media type"))?,
        ),
    };
    if media_type
        .as_ref()
        .is_some_and(|media_type| media_type.kind == "multipart")
    {
        return Err(malformed(
            &location(&name),
            "a multipart inside a multipart",
        ));
    }
    if let Some(coding) = field("content-transfer-encoding")
        && !["7bit", "8bit", "binary"]
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known))
    {
        return Err(malformed(&location(&name), "an encoded part"));
    }
    Ok(Part {
        name,
        media_type,
        fields,
        content,
    })
}

fn fields(head: &str) -> Result<Vec<(&str, &str)>, Violation> {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for line in head.split("\r\n") {
        let (name, value) = line
            .split_once(':')
            .filter(|(name, value)| {
                super::media::is_token(name)
                    && !value.bytes().any(|byte| byte < b' ' && byte != b'\t')
            })
            .ok_or_else(|| malformed("body", "a malformed field of a part"))?;
        let twice = fields
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name));
        if twice || fields.len() >= MAX_PART_FIELDS {
            return Err(malformed("body", "a part has a field twice, or too many"));
        }
        fields.push((name, value.trim_matches([' ', '\t'])));
    }
    Ok(fields)
}

/// The name in `form-data; name="a"; filename="b"` (RFC 7578, section 4.2; browsers write quotes as
/// `%22`). A `filename*` (RFC 8187), which some clients write for other letters than ASCII, has to be
/// UTF-8; those of RFC 2183 about a file are let be; others, `name*` among them, are refused.
fn disposition_name(text: &str) -> Option<Cow<'_, str>> {
    let rest = text
        .get(..9)
        .filter(|kind| kind.eq_ignore_ascii_case("form-data"))
        .and_then(|_| text.get(9..))?;
    let mut rest = rest.trim_start_matches([' ', '\t']);
    let (mut name, mut seen) = (None, Vec::new());
    while let Some(after) = rest.strip_prefix(';') {
        let (key, after) = after.trim_start_matches([' ', '\t']).split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find([';', ' ', '\t']).unwrap_or(after.len());
                let (value, after) = after.split_at_checked(end)?;
                (
                    super::media::is_token(value).then_some(Cow::Borrowed(value))?,
                    after,
                )
            }
        };
        let key = key.to_ascii_lowercase();
        if seen.contains(&key) {
            return None;
        }
        match key.as_str() {
            "name" => name = Some(value),
            "filename*" if !is_extended(&value) => return None,
            "filename" | "filename*" | "size" | "creation-date" | "modification-date"
            | "read-date" => {}
            _ => return None,
        }
        seen.push(key);
        rest = after.trim_start_matches([' ', '\t']);
    }
    name.filter(|name| rest.is_empty() && !name.is_empty())
}

/// `UTF-8'en'na%C3%AFve` (RFC 8187, section 3.2).
fn is_extended(value: &str) -> bool {
    let mut parts = value.splitn(3, '\'');
    let charset = parts.next().unwrap_or_default();
    let language = parts.next().unwrap_or_default();
    let text = parts.next();
    charset.eq_ignore_ascii_case("utf-8")
        && language
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && text.is_some_and(|text| decode(text, Plus::Plus).is_ok())
}

/// A quoted string without its opening quote, and what stands behind it.
fn quoted_value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, next)) = characters.next() {
        match next {
            '"' => return Some((Cow::Owned(value), text.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(next),
        }
    }
    None
}

struct Reading<'r> {
    media_type: &'r MediaType,
    schemas: &'r Schemas,
    policy: &'r Policy,
}

impl Reading<'_> {
    fn object<'a>(&self, parts: Vec<Part<'a>>) -> Result<Raw<'a>, Violation> {
        let mut members: Vec<(Cow<'a, str>, Raw<'a>)> = Vec::new();
        let mut at: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        for part in parts {
            let (list, declared) = self.is_list(&part.name);
            let value = self.value(&part)?;
            match at
                .get(&*part.name)
                .and_then(|index| members.get_mut(*index))
            {
                None => {
                    at.insert(part.name.to_string(), members.len());
                    let value = if list { Raw::List(vec![value]) } else { value };
                    members.push((part.name, value));
                }
                Some((_, Raw::List(items))) if list => {
                    if items.len() >= self.policy.items {
                        let what = "too many items in an array";
                        return Err(fault(Reason::BodyTooComplex, &location(&part.name), what));
                    }
                    items.push(value);
                }
                // What nobody declares is refused for that, not for coming twice.
                Some(_) if !declared && self.media_type.schema.is_some() => {}
                Some(_) => {
                    let what = "given more than once";
                    return Err(fault(Reason::BodyDuplicateKey, &location(&part.name), what));
                }
            }
        }
        Ok(Raw::Map(members))
    }

    /// Whether parts of this name make an array, and whether anyone declares the name.
    fn is_list(&self, name: &str) -> (bool, bool) {
        let schemas = self
            .media_type
            .schema
            .map(|schema| self.schemas.property_schemas(schema, name))
            .unwrap_or_default();
        let types = types(self.schemas, &schemas);
        (is_list_only(types), !schemas.is_empty())
    }

    fn value<'a>(&self, part: &Part<'a>) -> Result<Raw<'a>, Violation> {
        let place = location(&part.name);
        let encoding = self.media_type.encoding(&part.name);
        if let Some(encoding) = encoding {
            self.encoding(encoding, part, &place)?;
        }
        let charset = part
            .media_type
            .as_ref()
            .and_then(|name| name.parameter("charset"));
        if charset.is_some_and(|charset| !self.media_type.takes_charset(charset)) {
            return Err(fault(
                Reason::CharsetUndeclared,
                &place,
                "the charset is not declared",
            ));
        }
        let (types, is_object) = self.types(&part.name);
        let says_json = part
            .media_type
            .as_ref()
            .is_some_and(|media_type| media_type.content() == super::Content::Json);
        if is_object || (says_json && !types.has(Types::STRING)) {
            let limits = Limits {
                depth: self.policy.depth,
                properties: self.policy.properties,
                items: self.policy.items,
            };
            return json::read(part.content, &limits)
                .map(Raw::Json)
                .map_err(|error| {
                    fault(
                        super::request::json_reason(error.kind),
                        &place,
                        &error.detail,
                    )
                });
        }
        match std::str::from_utf8(part.content) {
            Ok(text) => Ok(Raw::Text(Cow::Borrowed(text))),
            // Each byte counts as a character of a binary string.
            Err(_) if types.has(Types::STRING) => {
                let bytes = part.content.iter().map(|byte| char::from(*byte));
                Ok(Raw::Text(Cow::Owned(bytes.collect())))
            }
            Err(_) => Err(malformed(&place, "invalid UTF-8")),
        }
    }

    /// The types of one part, and whether it is an object, which is JSON by default.
    fn types(&self, name: &str) -> (Types, bool) {
        let Some(schema) = self.media_type.schema else {
            return (Types::ALL, false);
        };
        let mut schemas = self.schemas.property_schemas(schema, name);
        let mut found = types(self.schemas, &schemas);
        if is_list_only(found) {
            schemas = schemas
                .iter()
                .flat_map(|id| self.schemas.item_schemas(*id, 0))
                .collect();
            found = types(self.schemas, &schemas);
        }
        let scalar = Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN);
        (found, found.has(Types::OBJECT) && !found.meets(scalar))
    }

    /// `contentType` and `headers` of an Encoding Object.
    fn encoding(&self, encoding: &Encoding, part: &Part<'_>, place: &str) -> Result<(), Violation> {
        if !encoding.content_types.is_empty() {
            let plain = MediaName {
                kind: "text".to_owned(),
                subtype: "plain".to_owned(),
                parameters: Vec::new(),
            };
            // A part that says nothing is text (RFC 7578, section 4.4).
            let message = part.media_type.as_ref().unwrap_or(&plain);
            let declared = encoding
                .content_types
                .iter()
                .any(|declared| declared.covers(message).is_some());
            if !declared {
                let what = "the part's media type is not declared";
                return Err(fault(Reason::ContentTypeUndeclared, place, what));
            }
        }
        for (name, required, schema) in &encoding.headers {
            let value = part
                .fields
                .iter()
                .find(|(field, _)| field.eq_ignore_ascii_case(name))
                .map(|(_, value)| *value);
            let right = match value {
                None => !required,
                Some(value) => {
                    let raw = Raw::Text(Cow::Borrowed(value));
                    judge(self.schemas, *schema, &raw, self.policy.undeclared)
                        .1
                        .faults
                        .is_empty()
                }
            };
            if !right {
                let what = "a field of the part is missing or does not match";
                return Err(fault(Reason::BodyInvalid, place, what));
            }
        }
        Ok(())
    }
}

fn location(name: &str) -> String {
    let mut location = "body".to_owned();
    push_key(&mut location, name);
    location
}

fn malformed(location: &str, detail: &str) -> Violation {
    fault(Reason::BodyMalformed, location, detail)
}

fn fault(reason: Reason, location: &str, detail: &str) -> Violation {
    Violation {
        reason,
        location: location.to_owned(),
        detail: detail.to_owned(),
    }
}
