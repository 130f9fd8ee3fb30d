//! From text to values: what a parameter or a form field is, before its types are known, and the
//! value that its schema makes of it.
//!
//! Text is a number or a boolean only where the schema has that type and the text is exactly JSON's
//! form of it: `5`, not `+5`, `05`, `0x5`, `5 ` or, for an integer, `5.0`. Where several types are
//! declared, each is tried.

use std::borrow::Cow;

use fortress_model::config::RequestUndeclared;

use crate::{
    json::{Builder, Decimal, Document, Kind, Value},
    schema::{Rules, SchemaId, Schemas, Side, Types, Verdict},
};

/// A value whose leaves are still text.
#[derive(Debug)]
pub(crate) enum Raw<'a> {
    Text(Cow<'a, str>),
    List(Vec<Raw<'a>>),
    /// INVARIANT: the names differ.
    Map(Vec<(Cow<'a, str>, Raw<'a>)>),
    /// Already a value.
    Json(Document<'a>),
}

/// How text is read where a schema allows both a string and something else.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Prefer {
    Typed,
    String,
}

/// Makes the value that fits the schema best, and judges it.
pub(crate) fn judge<'a>(
    schemas: &Schemas,
    schema: SchemaId,
    raw: &Raw<'a>,
    undeclared: RequestUndeclared,
) -> (Document<'a>, Verdict) {
    let rules = Rules {
        side: Side::Request,
        closed_branches: undeclared == RequestUndeclared::Refuse,
        lenient: false,
    };
    let first = build(schemas, schema, raw, Prefer::Typed);
    let verdict = schemas.judge(schema, &first, rules);
    if verdict.faults.is_empty() {
        return (first, verdict);
    }
    let second = build(schemas, schema, raw, Prefer::String);
    let other = schemas.judge(schema, &second, rules);
    if other.faults.is_empty() {
        (second, other)
    } else {
        (first, verdict)
    }
}

fn build<'a>(schemas: &Schemas, schema: SchemaId, raw: &Raw<'a>, prefer: Prefer) -> Document<'a> {
    let mut making = Making {
        schemas,
        prefer,
        builder: Builder::default(),
    };
    let root = making.value(raw, &[schema]);
    making.builder.finish(root)
}

struct Making<'s, 'a> {
    schemas: &'s Schemas,
    prefer: Prefer,
    builder: Builder<'a>,
}

impl<'a> Making<'_, 'a> {
    /// Recursion is bounded by the depth that brackets and JSON may have.
    fn value(&mut self, raw: &Raw<'a>, schemas: &[SchemaId]) -> Value<'a> {
        match raw {
            Raw::Text(text) => Value::built(self.scalar(text, schemas)),
            Raw::Json(document) => self.builder.adopt(document.clone()),
            Raw::List(list) => {
                let mut items = Vec::with_capacity(list.len());
                for (index, item) in list.iter().enumerate() {
                    let inner = self.inner(schemas, |all, id| all.item_schemas(id, index));
                    items.push(self.value(item, &inner));
                }
                self.builder.array(items)
            }
            Raw::Map(map) if self.is_indexed(map, schemas) => {
                let mut items = Vec::with_capacity(map.len());
                for (index, (_, item)) in map.iter().enumerate() {
                    let inner = self.inner(schemas, |all, id| all.item_schemas(id, index));
                    items.push(self.value(item, &inner));
                }
                self.builder.array(items)
            }
            Raw::Map(map) => {
                let mut members = Vec::with_capacity(map.len());
                for (name, value) in map {
                    let inner = self.inner(schemas, |all, id| all.property_schemas(id, name));
                    members.push((name.clone(), self.value(value, &inner)));
                }
                self.builder.object(members)
            }
        }
    }

    /// `p[0]=a&p[1]=b` where an array is declared.
    fn is_indexed(&self, map: &[(Cow<'a, str>, Raw<'a>)], schemas: &[SchemaId]) -> bool {
        let types = types(self.schemas, schemas);
        types.has(Types::ARRAY)
            && !types.has(Types::OBJECT)
            && map
                .iter()
                .enumerate()
                .all(|(index, (name, _))| name.parse() == Ok(index))
    }

    fn inner(
        &self,
        schemas: &[SchemaId],
        of: impl Fn(&Schemas, SchemaId) -> Vec<SchemaId>,
    ) -> Vec<SchemaId> {
        schemas
            .iter()
            .flat_map(|id| of(self.schemas, *id))
            .collect()
    }

    fn scalar(&self, text: &Cow<'a, str>, schemas: &[SchemaId]) -> Kind<'a> {
        let types = types(self.schemas, schemas);
        let string_first = if types == Types::ALL {
            // Nothing is said about it, so it is the text that it is.
            self.prefer == Prefer::Typed
        } else {
            self.prefer == Prefer::String && types.has(Types::STRING)
        };
        if string_first {
            return Kind::String(text.clone());
        }
        match &**text {
            "true" if types.has(Types::BOOLEAN) => Kind::Bool(true),
            "false" if types.has(Types::BOOLEAN) => Kind::Bool(false),
            "null" if types.has(Types::NULL) => Kind::Null,
            number if is_number(number, types) => Kind::Number(text.clone()),
            _ => Kind::String(text.clone()),
        }
    }
}

/// The types that any of the schemas allows, or that its author means.
pub(crate) fn types(schemas: &Schemas, ids: &[SchemaId]) -> Types {
    if ids.is_empty() {
        return Types::ALL;
    }
    ids.iter()
        .fold(Types::NONE, |types, id| types.or(schemas.meant_types(*id)))
}

/// Whether these are the types of a list, which may also be null.
pub(crate) fn is_list_only(types: Types) -> bool {
    let others = Types::STRING
        .or(Types::NUMBER)
        .or(Types::BOOLEAN)
        .or(Types::OBJECT);
    types.has(Types::ARRAY) && !types.meets(others)
}

fn is_number(text: &str, types: Types) -> bool {
    if !types.has(Types::INTEGER) || !crate::json::is_fitting_number(text) {
        return false;
    }
    types.has(Types::NUMBER) && Decimal::parse(text).is_some()
        || text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_digit())
}
