//! What a description leaves open: who may call its operations, and which inputs have no bound.
//!
//! Deliberately not here: what the configuration adds to it, and how it is shown.

use std::{collections::HashSet, sync::Arc};

use fortress_model::document::{Node, Span};

use crate::{
    description::{ApiDescription, Operation, Security},
    parameter::Location,
    schema::{SchemaId, Schemas, Types},
};

/// How many unbounded inputs are listed.
const MAX_UNBOUNDED: usize = 10_000;

/// How deep properties and items are followed.
const MAX_DEPTH: usize = 32;

/// What `check` and `init` say about a description.
#[derive(Clone, Debug, Default)]
pub struct Posture {
    /// How many operations there are.
    pub operations: usize,
    /// The ids of those that demand a credential.
    pub protected: Vec<Arc<str>>,
    /// Those that are declared public: `security: []`, a requirement `{}` among others, or
    /// `public: true` in `x-fortress`.
    pub public: Vec<Arc<str>>,
    /// Those about which nothing is said. They stop the start unless the configuration marks them.
    pub undecided: Vec<Arc<str>>,
    /// Inputs that may be of any size or shape, as far as the description goes; at most 10,000.
    ///
    /// Numbers are not among them: how many digits one may have is bounded anyway.
    pub unbounded: Vec<Unbounded>,
}

/// An input without a bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unbounded {
    /// The id of the operation that takes it.
    pub operation: Arc<str>,
    /// `query.q`, `header.X-Note`, `body.items[].name`.
    pub location: String,
    /// `an unbounded string`, `an unbounded list`, `a free-form object` …
    pub what: &'static str,
    /// Its schema.
    pub span: Span,
}

impl ApiDescription {
    /// Sums up what the description leaves open.
    pub fn posture(&self) -> Posture {
        let mut posture = Posture {
            operations: self.operations.len(),
            ..Posture::default()
        };
        for operation in &self.operations {
            let list = match &operation.security {
                _ if is_marked_public(operation) => &mut posture.public,
                Security::Undeclared => &mut posture.undecided,
                Security::Public => &mut posture.public,
                Security::AnyOf(any) if any.iter().any(|one| one.is_anonymous()) => {
                    &mut posture.public
                }
                Security::AnyOf(_) => &mut posture.protected,
            };
            list.push(Arc::clone(&operation.id));
            self.unbounded_inputs(operation, &mut posture.unbounded);
        }
        posture
    }

    fn unbounded_inputs(&self, operation: &Operation, found: &mut Vec<Unbounded>) {
        let mut walk = Walk {
            schemas: &self.schemas,
            operation,
            seen: HashSet::new(),
            found,
        };
        for parameter in operation.parameters.iter() {
            let place = match parameter.location {
                Location::Path => "path",
                Location::Query => "query",
                Location::Header => "header",
                Location::Cookie => "cookie",
            };
            walk.visit(parameter.schema, format!("{place}.{}", parameter.name), 0);
        }
        let media_types = operation.body.iter().flat_map(|body| body.media_types());
        for schema in media_types.filter_map(|media_type| media_type.schema) {
            walk.visit(schema, "body".to_owned(), 0);
        }
    }
}

/// `x-fortress: { public: true }` on the operation, or on its path where the operation says nothing.
fn is_marked_public(operation: &Operation) -> bool {
    operation
        .extension
        .iter()
        .rev()
        .find_map(|extension| extension.get("public"))
        .and_then(Node::as_bool)
        .unwrap_or(false)
}

/// Walks over the schemas of one operation, each once.
struct Walk<'a> {
    schemas: &'a Schemas,
    operation: &'a Operation,
    seen: HashSet<SchemaId>,
    found: &'a mut Vec<Unbounded>,
}

impl Walk<'_> {
    fn visit(&mut self, schema: SchemaId, location: String, depth: usize) {
        if depth > MAX_DEPTH || self.found.len() >= MAX_UNBOUNDED || !self.seen.insert(schema) {
            return;
        }
        let types = self.schemas.types(schema);
        if self.schemas.is_enumerated(schema) {
            return;
        }
        if types.has(Types::ALL) && self.schemas.is_free_form(schema) {
            self.report(schema, location, "a value of any type");
            return;
        }
        if types.has(Types::STRING) {
            let bounds = self.schemas.string_bounds(schema);
            if bounds.max_length.is_none() && !bounds.closed {
                self.report(schema, location.clone(), "an unbounded string");
            }
        }
        if types.has(Types::ARRAY) {
            if self.schemas.max_items(schema).is_none() {
                self.report(schema, location.clone(), "an unbounded list");
            }
            if let Some(items) = self.schemas.items(schema) {
                self.visit(items, format!("{location}[]"), depth + 1);
            }
        }
        if types.has(Types::OBJECT) {
            self.object(schema, &location, depth);
        }
    }

    fn object(&mut self, schema: SchemaId, location: &str, depth: usize) {
        if self.schemas.is_free_form(schema) {
            self.report(schema, location.to_owned(), "a free-form object");
            return;
        }
        if self.schemas.is_open(schema) {
            let what = "an object with properties of any name";
            self.report(schema, location.to_owned(), what);
        }
        for property in self.schemas.properties(schema) {
            // A request cannot have it.
            if !property.read_only {
                let location = format!("{location}.{}", property.name);
                self.visit(property.schema, location, depth + 1);
            }
        }
    }

    fn report(&mut self, schema: SchemaId, location: String, what: &'static str) {
        if self.found.len() < MAX_UNBOUNDED {
            self.found.push(Unbounded {
                operation: Arc::clone(&self.operation.id),
                location,
                what,
                span: self.schemas.span(schema).unwrap_or(self.operation.span),
            });
        }
    }
}
