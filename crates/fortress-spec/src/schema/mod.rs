//! JSON Schema, as OpenAPI 3.0 and 3.1 have it: one arena for a whole description, compiled once.
//!
//! An own engine, for three reasons: whether a property is declared is a fact about a place of the
//! instance over all the schemas applied there; responses are trimmed by the same walk; and a
//! description of 13 MB has to compile in two seconds. Deliberately not here: where references lead
//! ([`Resolve`]) and how text becomes a value (`json`, `parameter`, `body`).

mod branch;
mod compile;
mod constant;
mod evaluate;
mod example;
mod inspect;
mod keywords;
pub mod resolve;
mod sample;
mod strict;

use std::sync::Arc;

use fortress_model::document::Span;

use crate::{
    format::{NumberFormat, StringFormat},
    json::Decimal,
    pattern::Pattern,
};

pub use compile::SchemaCompiler;
pub(crate) use constant::Constant;
pub(crate) use evaluate::{Fault, FaultKind, MAX_FAULTS, Mark, Rules, Side, Verdict, push_key};
pub use inspect::{NumberBounds, Property, StringBounds, Types};
pub use resolve::{Base, NodeKey, Place, Resolve};
pub(crate) use strict::{location, undeclared};

/// A compiled schema of a [`Schemas`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SchemaId(u32);

/// All schemas of a description, compiled. A reference is an index, so schemas may be cyclic.
#[derive(Debug, Default)]
pub struct Schemas {
    list: Vec<Schema>,
    /// `$dynamicAnchor`s by name and by the schema resource that they stand in.
    anchors: Vec<(Box<str>, Base, SchemaId)>,
    /// Whether any schema has `unevaluatedItems`: only then evaluated items are noted down.
    notes_items: bool,
}

impl Schemas {
    /// How many schemas there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where the schema stands.
    pub fn span(&self, id: SchemaId) -> Option<Span> {
        self.get(id).map(|schema| schema.span)
    }

    fn get(&self, id: SchemaId) -> Option<&Schema> {
        self.list.get(usize::try_from(id.0).ok()?)
    }
}

/// One Schema Object.
#[derive(Debug, Default)]
struct Schema {
    span: Span,
    base: Base,
    /// A boolean schema, or one without any keyword: what it always says.
    fixed: Option<bool>,
    types: Types,
    /// OpenAPI 3.0: null passes, whatever else is said.
    nullable: bool,
    read_only: bool,
    write_only: bool,
    /// `enum` and `const`.
    values: Vec<Values>,
    number: Option<Box<NumberRules>>,
    string: Option<Box<StringRules>>,
    array: Option<Box<ArrayRules>>,
    object: Option<Box<ObjectRules>>,
    applied: Option<Box<Applied>>,
    /// `example`, `examples`, `default`, as JSON text: candidates for [`Schemas::example`].
    samples: Vec<Box<str>>,
}

/// One `enum` or `const`.
#[derive(Debug, Default)]
struct Values {
    /// Sorted.
    strings: Vec<Box<str>>,
    others: Vec<Constant>,
}

#[derive(Debug, Default)]
struct NumberRules {
    minimum: Option<Decimal>,
    exclusive_minimum: Option<Decimal>,
    maximum: Option<Decimal>,
    exclusive_maximum: Option<Decimal>,
    multiple_of: Option<Decimal>,
    format: Option<NumberFormat>,
}

#[derive(Debug, Default)]
struct StringRules {
    min_length: Option<u64>,
    max_length: Option<u64>,
    pattern: Option<Arc<Pattern>>,
    format: Option<StringFormat>,
}

#[derive(Debug, Default)]
struct ArrayRules {
    min_items: Option<u64>,
    max_items: Option<u64>,
    unique: bool,
    prefix: Vec<SchemaId>,
    items: Option<SchemaId>,
    contains: Option<Contains>,
    unevaluated: Option<SchemaId>,
}

#[derive(Debug)]
struct Contains {
    schema: SchemaId,
    min: u64,
    max: Option<u64>,
}

#[derive(Debug, Default)]
struct ObjectRules {
    /// Sorted by name.
    properties: Vec<PropertyRule>,
    /// How many of `properties` are required.
    required: usize,
    /// Required names that `properties` lacks.
    required_elsewhere: Vec<Box<str>>,
    patterns: Vec<(Arc<Pattern>, SchemaId)>,
    additional: Option<SchemaId>,
    names: Option<SchemaId>,
    min_properties: Option<u64>,
    max_properties: Option<u64>,
    dependent_required: Vec<(Box<str>, Vec<Box<str>>)>,
    dependent_schemas: Vec<(Box<str>, SchemaId)>,
    unevaluated: Option<SchemaId>,
}

#[derive(Debug)]
struct PropertyRule {
    name: Box<str>,
    schema: SchemaId,
    required: bool,
}

/// Schemas applied to the same place of the instance.
#[derive(Debug, Default)]
struct Applied {
    reference: Option<SchemaId>,
    dynamic: Option<DynamicReference>,
    all: Vec<SchemaId>,
    any: Vec<SchemaId>,
    one: Vec<SchemaId>,
    not: Option<SchemaId>,
    condition: Option<SchemaId>,
    then: Option<SchemaId>,
    otherwise: Option<SchemaId>,
    discriminator: Option<Discriminator>,
}

#[derive(Debug)]
struct DynamicReference {
    /// Where it leads read as a plain `$ref`.
    fixed: SchemaId,
    /// Its anchor, if the fixed target has it as a `$dynamicAnchor`; only then the outermost
    /// resource that has it too takes over.
    anchor: Option<Box<str>>,
}

#[derive(Debug)]
struct Discriminator {
    property: Box<str>,
    /// Sorted by the property's value.
    mapping: Vec<(Box<str>, SchemaId)>,
    /// Whether it stands beside the schemas that it chooses from (`oneOf`, `anyOf`), rather than in
    /// the base of schemas that include it by `allOf`.
    beside_branches: bool,
}

impl ObjectRules {
    fn property(&self, name: &str) -> Option<&PropertyRule> {
        let index = self
            .properties
            .binary_search_by(|rule| (*rule.name).cmp(name))
            .ok()?;
        self.properties.get(index)
    }

    /// Whether a property that it does not evaluate is undeclared, rather than part of a free-form
    /// object.
    fn declares(&self) -> bool {
        !self.properties.is_empty() || !self.patterns.is_empty()
    }
}
