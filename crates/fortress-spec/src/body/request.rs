//! Checks one request body.

use fortress_model::{Reason, config::RequestUndeclared};

use super::{Content, MediaName, MediaType, RequestBody, choose, form, multipart};
use crate::{
    check::{BodyOutcome, Policy, Reasons, Violation, is_full, report},
    json::{self, ErrorKind, Limits},
    parameter::value::{Raw, judge},
    schema::{Rules, Schemas, Side, Types},
};

/// What the faults of a body lead to.
pub(super) const REASONS: Reasons = Reasons {
    invalid: Reason::BodyInvalid,
    undeclared: Reason::BodyUndeclared,
    read_only: Some(Reason::BodyReadOnly),
    too_complex: Reason::BodyTooComplex,
};

/// See [`crate::Operation::check_body`].
pub(crate) fn check(
    declared: Option<&RequestBody>,
    schemas: &Schemas,
    content_type: Option<&[u8]>,
    content: &[u8],
    policy: &Policy,
    found: &mut Vec<Violation>,
) -> BodyOutcome {
    let nothing = BodyOutcome::default();
    let Some(declared) = declared else {
        if !content.is_empty() {
            let what = "the operation takes no body";
            refuse(found, Reason::BodyUnexpected, "body", what);
        }
        return nothing;
    };
    if content.is_empty() {
        if declared.required {
            let what = "the operation needs a body";
            refuse(found, Reason::BodyMissing, "body", what);
        }
        return nothing;
    }
    // Bytes without a name are what RFC 9110, section 8.3, takes them for, if that is declared.
    let unnamed = content_type.is_none();
    let takes_bytes = |known: &MediaType| &*known.name == "application/octet-stream";
    if unnamed
        && let Some(media_type) = declared.media_types.iter().find(|known| takes_bytes(known))
    {
        Reading::new(schemas, media_type, policy, found).binary(content);
        return nothing;
    }
    let (message, media_type) = match chosen(declared, content_type) {
        Ok(chosen) => chosen,
        Err((reason, what)) => {
            refuse(found, reason, "header.Content-Type", what);
            return nothing;
        }
    };
    if media_type.is_range() && !can_check(&message, media_type, schemas) {
        let what = "a media type that the declared range covers, but its schema cannot describe";
        let reason = Reason::ContentTypeUndeclared;
        refuse(found, reason, "header.Content-Type", what);
        return nothing;
    }
    let mut reading = Reading::new(schemas, media_type, policy, found);
    match message.content() {
        Content::Json => {
            return BodyOutcome {
                proven: reading.json(content),
            };
        }
        Content::Form => reading.form(content),
        Content::Multipart => reading.multipart(content, message.parameter("boundary")),
        Content::Text => {
            let is_plain = message.kind == "text" && message.subtype == "plain";
            reading.text(content, message.parameter("charset"), is_plain);
        }
        Content::Stream | Content::Binary => reading.binary(content),
    }
    nothing
}

/// The body's media type, and the declared one that covers it.
fn chosen<'d>(
    declared: &'d RequestBody,
    content_type: Option<&[u8]>,
) -> Result<(MediaName, &'d MediaType), (Reason, &'static str)> {
    let message = media_type(content_type).map_err(|what| (Reason::ContentTypeUndeclared, what))?;
    let media_type = choose(&declared.media_types, &message).ok_or((
        Reason::ContentTypeUndeclared,
        "the media type is not one that the operation declares",
    ))?;
    let charset = message.parameter("charset");
    if charset.is_some_and(|charset| !media_type.takes_charset(charset)) {
        return Err((
            Reason::CharsetUndeclared,
            "the charset is neither UTF-8 nor one that the operation declares",
        ));
    }
    Ok((message, media_type))
}

/// Whether a body of this media type can be held against the schema: under `*/*`, an object that
/// calls itself `text/x` or `application/x` would else pass unchecked.
fn can_check(message: &MediaName, media_type: &MediaType, schemas: &Schemas) -> bool {
    let scalar = Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN);
    let structured = media_type
        .schema
        .is_some_and(|schema| !schemas.meant_types(schema).meets(scalar));
    match message.content() {
        Content::Json | Content::Form | Content::Multipart => true,
        Content::Text if message.kind == "text" && message.subtype == "plain" => true,
        Content::Text | Content::Stream | Content::Binary => !structured,
    }
}

/// Reads a `Content-Type`.
pub(super) fn media_type(content_type: Option<&[u8]>) -> Result<MediaName, &'static str> {
    let text = content_type.ok_or("a body needs a media type")?;
    std::str::from_utf8(text)
        .ok()
        .and_then(MediaName::parse)
        .filter(|message| message.kind != "*" && !message.subtype.starts_with('*'))
        .ok_or("not a media type")
}

struct Reading<'r> {
    schemas: &'r Schemas,
    media_type: &'r MediaType,
    policy: &'r Policy,
    found: &'r mut Vec<Violation>,
}

impl<'r> Reading<'r> {
    fn new(
        schemas: &'r Schemas,
        media_type: &'r MediaType,
        policy: &'r Policy,
        found: &'r mut Vec<Violation>,
    ) -> Self {
        Self {
            schemas,
            media_type,
            policy,
            found,
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            depth: self.policy.depth,
            properties: self.policy.properties,
            items: self.policy.items,
        }
    }

    /// Gives what was proven harmless.
    fn json(&mut self, content: &[u8]) -> Vec<(u32, u32)> {
        let document = match json::read(content, &self.limits()) {
            Ok(document) => document,
            Err(error) => {
                refuse(self.found, json_reason(error.kind), "body", &error.detail);
                return Vec::new();
            }
        };
        let Some(schema) = self.media_type.schema else {
            return Vec::new();
        };
        let rules = Rules {
            side: Side::Request,
            closed_branches: self.policy.undeclared == RequestUndeclared::Refuse,
            lenient: false,
        };
        let verdict = self.schemas.judge(schema, &document, rules);
        report(
            &document,
            &verdict,
            self.policy.undeclared,
            &|| "body".to_owned(),
            &REASONS,
            self.found,
        );
        verdict.into_proven()
    }

    fn form(&mut self, content: &[u8]) {
        match form::read(content, self.media_type, self.schemas, self.policy) {
            Ok(raw) => self.judge(&raw),
            Err(violation) => self.found.push(violation),
        }
    }

    fn multipart(&mut self, content: &[u8], boundary: Option<&str>) {
        let raw = multipart::read(
            content,
            boundary,
            self.media_type,
            self.schemas,
            self.policy,
        );
        match raw {
            Ok(raw) => self.judge(&raw),
            Err(violation) => self.found.push(violation),
        }
    }

    fn text(&mut self, content: &[u8], charset: Option<&str>, is_plain: bool) {
        let declared_other = charset.is_some_and(|charset| {
            !["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        });
        match std::str::from_utf8(content) {
            // What the description declares in another charset is not ours to read.
            Err(_) if declared_other => {}
            Err(_) => refuse(self.found, Reason::BodyMalformed, "body", "invalid UTF-8"),
            Ok(text) if text.starts_with('\u{feff}') => {
                refuse(
                    self.found,
                    Reason::BodyMalformed,
                    "body",
                    "a byte order mark",
                );
            }
            Ok(text) => {
                // An XML schema describes what the text means, which nobody checks here.
                let types = self
                    .media_type
                    .schema
                    .map(|id| self.schemas.meant_types(id));
                let scalar = Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN);
                if types.is_some_and(|types| types.meets(scalar)) {
                    self.judge(&Raw::Text(text.into()));
                } else if types.is_some() && is_plain {
                    // Plain text that is an array or an object can only be JSON.
                    drop(self.json(content));
                }
            }
        }
    }

    /// The bounds of a binary string count bytes.
    fn binary(&mut self, content: &[u8]) {
        let Some(schema) = self.media_type.schema else {
            return;
        };
        let bounds = self.schemas.string_bounds(schema);
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if bounds.min_length.is_some_and(|min| length < min)
            || bounds.max_length.is_some_and(|max| length > max)
        {
            refuse(
                self.found,
                Reason::BodyInvalid,
                "body",
                "the content is too short or too long",
            );
        }
    }

    fn judge(&mut self, raw: &Raw<'_>) {
        let Some(schema) = self.media_type.schema else {
            return;
        };
        let (document, verdict) = judge(self.schemas, schema, raw, self.policy.undeclared);
        report(
            &document,
            &verdict,
            self.policy.undeclared,
            &|| "body".to_owned(),
            &REASONS,
            self.found,
        );
    }
}

pub(super) fn json_reason(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::Malformed => Reason::BodyMalformed,
        ErrorKind::DuplicateKey => Reason::BodyDuplicateKey,
        ErrorKind::TooComplex => Reason::BodyTooComplex,
    }
}

fn refuse(found: &mut Vec<Violation>, reason: Reason, location: &str, detail: &str) {
    if !is_full(found) {
        found.push(Violation {
            reason,
            location: location.to_owned(),
            detail: detail.to_owned(),
        });
    }
}
