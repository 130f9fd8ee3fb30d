//! `application/x-www-form-urlencoded` (WHATWG URL, section 5.1), with the `encoding` of its
//! properties.
//!
//! A field that is declared as a single value and comes twice is refused, whatever its spelling.

use std::borrow::Cow;

use fortress_model::Reason;

use super::MediaType;
use crate::{
    check::{Policy, Violation},
    json::{self, Limits, MAX_DEPTH},
    parameter::{
        Form, Shape, Style,
        decode::{Plus, decode},
        query::{DeepBounds, DeepError, DeepSchemas, Pair, PairError, deep, pairs},
        read_style,
        value::{Raw, types},
    },
    schema::{SchemaId, Schemas, Types, push_key},
};

/// Reads a form as one object.
pub(super) fn read<'a>(
    content: &'a [u8],
    media_type: &MediaType,
    schemas: &Schemas,
    policy: &Policy,
) -> Result<Raw<'a>, Violation> {
    let text = std::str::from_utf8(content)
        .map_err(|_| fault(Reason::BodyMalformed, "body", "invalid UTF-8"))?;
    // A form encodes these; unencoded they are a sign of a body that is no form.
    // (`;` would also divide fields for some servers.)
    if text
        .bytes()
        .any(|byte| byte <= b' ' || byte == 0x7f || byte == b';')
    {
        let what = "a character that a form has to encode";
        return Err(fault(Reason::BodyMalformed, "body", what));
    }
    let mut pairs = pairs(text, policy.parts).map_err(|error| match error {
        PairError::TooMany => fault(Reason::BodyTooComplex, "body", "too many fields"),
        PairError::Malformed(what) => fault(Reason::BodyMalformed, "body", what),
    })?;
    let reading = Reading {
        media_type,
        schemas,
        policy,
    };
    reading.object(&mut pairs)
}

struct Reading<'r> {
    media_type: &'r MediaType,
    schemas: &'r Schemas,
    policy: &'r Policy,
}

impl Reading<'_> {
    fn object<'a>(&self, pairs: &mut [Pair<'a>]) -> Result<Raw<'a>, Violation> {
        let mut members: Vec<(Cow<'a, str>, Raw<'a>)> = Vec::new();
        for name in self.bracketed(pairs) {
            if let Some(raw) = self.deep(pairs, &name)? {
                members.push((Cow::Owned(name), raw));
            }
        }
        let mut rest: Vec<(Cow<'a, str>, Vec<&'a str>)> = Vec::new();
        let mut at: std::collections::HashMap<Cow<'a, str>, usize> =
            std::collections::HashMap::new();
        for pair in pairs.iter().filter(|pair| !pair.used) {
            let index = *at.entry(pair.name.clone()).or_insert(rest.len());
            match rest.get_mut(index) {
                Some((_, values)) => values.push(pair.value),
                None => rest.push((pair.name.clone(), vec![pair.value])),
            }
        }
        for (name, values) in rest {
            if members.iter().any(|(known, _)| *known == name) {
                return Err(twice(&name));
            }
            let value = self.property(&name, &values)?;
            members.push((name, value));
        }
        Ok(Raw::Map(members))
    }

    /// Declared properties that come as `name[key]=…`.
    fn bracketed(&self, pairs: &[Pair<'_>]) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for pair in pairs {
            let Some((base, _)) = pair.name.split_once('[') else {
                continue;
            };
            let (schemas, types) = self.declared(base);
            let nested = types.meets(Types::OBJECT.or(Types::ARRAY)) && !schemas.is_empty();
            // `tags[]` may be a name of its own.
            let own = !self.declared(&pair.name).0.is_empty();
            if nested && !own && !names.iter().any(|known| known == base) {
                names.push(base.to_owned());
            }
        }
        names
    }

    fn deep<'a>(&self, pairs: &mut [Pair<'a>], name: &str) -> Result<Option<Raw<'a>>, Violation> {
        let bounds = DeepBounds {
            depth: self.policy.depth.min(MAX_DEPTH),
            properties: self.policy.properties,
            items: self.policy.items,
        };
        let (of, _) = self.declared(name);
        let schemas = DeepSchemas {
            all: self.schemas,
            of: &of,
        };
        deep(pairs, name, schemas, bounds).map_err(|error| {
            let (reason, what) = match error {
                DeepError::TooComplex(what) => (Reason::BodyTooComplex, what),
                DeepError::Duplicate(what) => (Reason::BodyDuplicateKey, what),
                DeepError::Malformed(what) => (Reason::BodyMalformed, what),
            };
            fault(reason, &location(name), what)
        })
    }

    fn declared(&self, name: &str) -> (Vec<SchemaId>, Types) {
        let schemas = self
            .media_type
            .schema
            .map(|schema| self.schemas.property_schemas(schema, name))
            .unwrap_or_default();
        let types = types(self.schemas, &schemas);
        (schemas, types)
    }

    fn property<'a>(&self, name: &str, values: &[&'a str]) -> Result<Raw<'a>, Violation> {
        let malformed = |what| fault(Reason::BodyMalformed, &location(name), what);
        let (schemas, types) = self.declared(name);
        let encoding = self.media_type.encoding(name);
        let style = encoding
            .and_then(|encoding| encoding.style)
            .unwrap_or(Style::Form);
        let explode = encoding
            .and_then(|encoding| encoding.explode)
            .unwrap_or(style == Style::Form);
        let any = types == Types::ALL;
        let array = types.has(Types::ARRAY) && !any;
        let object = types.has(Types::OBJECT) && !any;
        let decoded = |value: &'a str| decode(value, Plus::Space).map_err(malformed);
        let form = Form {
            style,
            explode: false,
            plus: Plus::Space,
            name,
            // Serialisers of forms encode commas, be they delimiters or not.
            split_encoded: true,
            literal: false,
        };
        match values {
            [value] if array && !explode => {
                read_style(value, Shape::Array, &form).map_err(malformed)
            }
            [value]
                if array && !types.meets(Types::STRING.or(Types::NUMBER).or(Types::BOOLEAN)) =>
            {
                Ok(Raw::List(vec![Raw::Text(decoded(value)?)]))
            }
            [value] if object => self.nested(name, decoded(value)?),
            [value] => Ok(Raw::Text(decoded(value)?)),
            // What nobody declares is refused for that, not for coming twice.
            values if (array && explode) || schemas.is_empty() => {
                if values.len() > self.policy.items {
                    let what = "too many items in an array";
                    return Err(fault(Reason::BodyTooComplex, &location(name), what));
                }
                let list: Result<Vec<_>, _> = values
                    .iter()
                    .map(|value| decoded(value).map(Raw::Text))
                    .collect();
                Ok(Raw::List(list?))
            }
            _ => Err(twice(name)),
        }
    }

    /// An object in one field is JSON, as it is by default in other forms.
    fn nested<'a>(&self, name: &str, text: Cow<'a, str>) -> Result<Raw<'a>, Violation> {
        let limits = Limits {
            depth: self.policy.depth,
            properties: self.policy.properties,
            items: self.policy.items,
        };
        match text {
            Cow::Borrowed(text) => json::read(text.as_bytes(), &limits).map(Raw::Json),
            Cow::Owned(text) => json::read(text.as_bytes(), &limits)
                .map(|document| Raw::Json(document.into_owned())),
        }
        .map_err(|error| {
            let reason = super::request::json_reason(error.kind);
            fault(reason, &location(name), &error.detail)
        })
    }
}

fn twice(name: &str) -> Violation {
    fault(
        Reason::BodyDuplicateKey,
        &location(name),
        "given more than once",
    )
}

fn location(name: &str) -> String {
    let mut location = "body".to_owned();
    push_key(&mut location, name);
    location
}

fn fault(reason: Reason, location: &str, detail: &str) -> Violation {
    Violation {
        reason,
        location: location.to_owned(),
        detail: detail.to_owned(),
    }
}
