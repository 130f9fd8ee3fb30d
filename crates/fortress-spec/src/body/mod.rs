//! Bodies: which media types are declared, and how their bytes become values.
//!
//! Deliberately not here: the well-formedness of XML and YAML, which are checked for UTF-8 only, and
//! `Content-Encoding`, which is undone before.

mod form;
mod media;
pub mod multipart;
mod request;
mod response;

use std::ops::RangeInclusive;

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Member, Node},
};

use crate::{
    parameter::{self, Style},
    schema::{Place, SchemaCompiler, SchemaId},
};

pub use media::Content;
use media::MediaName;
pub(crate) use request::check as check_request;
pub(crate) use response::{Response, check as check_response};

/// A Request Body Object, compiled.
#[derive(Debug, Default)]
pub struct RequestBody {
    /// Whether a request must have a body.
    pub required: bool,
    media_types: Vec<MediaType>,
}

/// A Media Type Object, compiled.
#[derive(Debug)]
pub struct MediaType {
    /// The media type or range, as declared, in lower case and without parameters.
    pub name: Box<str>,
    /// What the body must match; `None` where no schema is declared.
    pub schema: Option<SchemaId>,
    declared: MediaName,
    encodings: Vec<Encoding>,
}

/// An Encoding Object: how one property of a form is written.
#[derive(Debug)]
struct Encoding {
    property: Box<str>,
    /// Media types that its part may have; empty for any.
    content_types: Vec<MediaName>,
    /// Headers that its part must have or may have: name, whether required, schema.
    headers: Vec<(Box<str>, bool, SchemaId)>,
    style: Option<Style>,
    explode: Option<bool>,
}

/// A Responses Object, compiled.
#[derive(Debug, Default)]
pub struct Responses {
    list: Vec<DeclaredResponse>,
}

#[derive(Debug)]
struct DeclaredResponse {
    statuses: RangeInclusive<u16>,
    /// How exactly the statuses are named: 2 for one, 1 for a range, 0 for `default`.
    rank: u8,
    media_types: Vec<MediaType>,
}

impl RequestBody {
    /// Compiles the Request Body Object at `place`, which may still be a reference.
    pub fn compile<'a>(
        place: Place<'a>,
        compiler: &mut SchemaCompiler<'a>,
    ) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let Some(place) = compiler.follow(place) else {
            return (Self::default(), diagnostics);
        };
        let required = place.node.get("required").and_then(Node::as_bool);
        let body = Self {
            required: required.unwrap_or(false),
            media_types: media_types(place, compiler, &mut diagnostics),
        };
        (body, diagnostics)
    }

    /// The declared media types, in the file's order.
    pub fn media_types(&self) -> impl Iterator<Item = &MediaType> {
        self.media_types.iter()
    }
}

impl MediaType {
    /// How bodies of this media type are read.
    pub fn content(&self) -> Content {
        self.declared.content()
    }

    /// Whether it is a range, such as `*/*` or `application/*`.
    fn is_range(&self) -> bool {
        self.declared.kind == "*" || self.declared.subtype.starts_with('*')
    }

    fn encoding(&self, property: &str) -> Option<&Encoding> {
        self.encodings
            .iter()
            .find(|encoding| *encoding.property == *property)
    }

    /// Whether a message may name this charset. UTF-8, and ASCII as a part of it, always.
    fn takes_charset(&self, charset: &str) -> bool {
        ["utf-8", "utf8", "us-ascii"]
            .iter()
            .any(|known| charset.eq_ignore_ascii_case(known))
            || self
                .declared
                .parameter("charset")
                .is_some_and(|declared| declared.eq_ignore_ascii_case(charset))
    }
}

/// The declared media type that covers a message's most exactly.
fn choose<'m>(declared: &'m [MediaType], message: &MediaName) -> Option<&'m MediaType> {
    declared
        .iter()
        .filter_map(|media_type| Some((media_type.declared.covers(message)?, media_type)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, media_type)| media_type)
}

impl Responses {
    /// Compiles the Responses Object at `place`; each of its responses may be a reference.
    pub fn compile<'a>(
        place: Place<'a>,
        compiler: &mut SchemaCompiler<'a>,
    ) -> (Self, Vec<Diagnostic>) {
        let mut diagnostics = Vec::new();
        let mut list = Vec::new();
        for member in place.node.members() {
            if member.key.starts_with("x-") {
                continue;
            }
            let Some((statuses, rank)) = statuses(&member.key) else {
                diagnostics.push(
                    Diagnostic::error(member.key_span, format!("`{}` is not a status", member.key))
                        .help("write a status such as `200`, a range such as `2XX`, or `default`"),
                );
                continue;
            };
            if let Some(response) = compiler.follow(place.at(&member.value)) {
                list.push(DeclaredResponse {
                    statuses,
                    rank,
                    media_types: media_types(response, compiler, &mut diagnostics),
                });
            }
        }
        (Self { list }, diagnostics)
    }

    /// The media types that a response of this status may have; `None` if the status is not declared.
    pub fn media_types(&self, status: u16) -> Option<&[MediaType]> {
        self.list
            .iter()
            .filter(|response| response.statuses.contains(&status))
            .max_by_key(|response| response.rank)
            .map(|response| response.media_types.as_slice())
    }

    /// The statuses that are declared by themselves, ascending.
    pub fn statuses(&self) -> Vec<u16> {
        let mut statuses: Vec<u16> = self
            .list
            .iter()
            .filter(|response| response.rank == 2)
            .map(|response| *response.statuses.start())
            .collect();
        statuses.sort_unstable();
        statuses
    }

    pub(crate) fn streams(&self, status: u16, content_type: Option<&[u8]>) -> bool {
        let message = content_type
            .and_then(|text| std::str::from_utf8(text).ok())
            .and_then(MediaName::parse);
        let declared = self.media_types(status);
        let (Some(message), Some(declared)) = (message, declared) else {
            return false;
        };
        choose(declared, &message).is_some()
            && matches!(
                message.content(),
                Content::Stream | Content::Binary | Content::Multipart
            )
    }
}

fn statuses(key: &str) -> Option<(RangeInclusive<u16>, u8)> {
    if key == "default" {
        return Some((0..=u16::MAX, 0));
    }
    if let Some(class) = key.strip_suffix("XX").or_else(|| key.strip_suffix("xx")) {
        let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
        return Some((class * 100..=class * 100 + 99, 1));
    }
    let status: u16 = key
        .parse()
        .ok()
        .filter(|status| (100..=599).contains(status))?;
    (key.len() == 3).then_some((status..=status, 2))
}

/// The media types of a Request Body or Response Object.
fn media_types<'a>(
    place: Place<'a>,
    compiler: &mut SchemaCompiler<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<MediaType> {
    let Some(content) = place.get("content") else {
        return Vec::new();
    };
    let mut list = Vec::new();
    for member in content.node.members() {
        let Some(declared) = MediaName::parse(&member.key) else {
            diagnostics.push(
                Diagnostic::error(
                    member.key_span,
                    format!("`{}` is not a media type", member.key),
                )
                .help("write it as `type/subtype`, such as `application/json`"),
            );
            continue;
        };
        let Some(object) = compiler.follow(content.at(&member.value)) else {
            continue;
        };
        let schema = object.get("schema").map(|schema| compiler.schema(schema));
        if let Some(schema) = schema {
            compiler.offer_examples(schema, object);
        }
        let mut encodings = Vec::new();
        if let Some(all) = object.get("encoding") {
            for encoding in all.node.members() {
                encodings.push(encoding_of(all, encoding, compiler, diagnostics));
            }
        }
        list.push(MediaType {
            name: format!("{}/{}", declared.kind, declared.subtype).into(),
            schema,
            declared,
            encodings,
        });
    }
    list
}

fn encoding_of<'a>(
    place: Place<'a>,
    member: &'a Member,
    compiler: &mut SchemaCompiler<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Encoding {
    let node = &member.value;
    let content_types = node.get("contentType").and_then(Node::as_str).map(|text| {
        text.split(',')
            .filter_map(|one| MediaName::parse(one.trim()))
            .collect()
    });
    let mut headers = Vec::new();
    for header in node.get("headers").map_or(&[][..], Node::members) {
        let Some(object) = compiler.follow(place.at(&header.value)) else {
            continue;
        };
        match parameter::schema(object, compiler) {
            // The part's media type is said by `contentType` alone.
            Ok(_) if header.key.eq_ignore_ascii_case("content-type") => {}
            Ok((schema, _)) => {
                let required = object.node.get("required").and_then(Node::as_bool);
                headers.push((header.key.clone(), required.unwrap_or(false), schema));
            }
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    Encoding {
        property: member.key.clone(),
        content_types: content_types.unwrap_or_default(),
        headers,
        style: node
            .get("style")
            .and_then(Node::as_str)
            .and_then(Style::named),
        explode: node.get("explode").and_then(Node::as_bool),
    }
}
