//! From nodes of a description to the arena: each schema once, however often it is referred to.
//!
//! A queue instead of recursion, since descriptions refer to themselves. Deliberately not here: what
//! single keywords mean, which is `keywords`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Node, Span, Value},
};

use super::{Base, NodeKey, Place, Resolve, Schema, SchemaId, Schemas};
use crate::{description::Dialect, pattern::Pattern};

/// Compiles schemas, each once, and those that they refer to.
pub struct SchemaCompiler<'a> {
    resolve: &'a dyn Resolve<'a>,
    pub(super) dialect: Dialect,
    schemas: Schemas,
    known: HashMap<NodeKey, SchemaId>,
    queue: Vec<(SchemaId, Place<'a>)>,
    patterns: HashMap<Box<str>, Option<Arc<Pattern>>>,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Things that are worth one warning, not one for each place.
    mentioned: HashSet<String>,
    /// Names of `$dynamicRef`s, and the resources in which their anchors may stand.
    dynamic_names: Vec<Box<str>>,
    bases: HashSet<Base>,
    /// Which component schemas include a schema by `allOf`, for each document.
    children: HashMap<NodeKey, Children<'a>>,
}

/// Component schemas with their names, by the schema that they include.
type Children<'a> = HashMap<NodeKey, Vec<(Box<str>, Place<'a>)>>;

/// References that follow each other directly; more are taken for a circle.
const MAX_HOPS: usize = 64;

/// What is heard beside a `$ref` even in 3.0.
pub(super) const BESIDE_REFERENCES: [&str; 3] = ["nullable", "readOnly", "writeOnly"];

impl<'a> SchemaCompiler<'a> {
    /// Begins a description.
    pub fn new(resolve: &'a dyn Resolve<'a>, dialect: Dialect) -> Self {
        Self {
            resolve,
            dialect,
            schemas: Schemas::default(),
            known: HashMap::new(),
            queue: Vec::new(),
            patterns: HashMap::new(),
            diagnostics: Vec::new(),
            mentioned: HashSet::new(),
            dynamic_names: Vec::new(),
            bases: HashSet::new(),
            children: HashMap::new(),
        }
    }

    /// Compiles the schema at `place`, and all that it refers to, if that is not done yet.
    pub fn schema(&mut self, place: Place<'a>) -> SchemaId {
        let id = self.reserve(self.resolve.enter(place));
        self.drain();
        id
    }

    /// The id of a schema that everything matches.
    pub(crate) fn anything(&mut self) -> SchemaId {
        self.add(Schema {
            fixed: Some(true),
            ..Schema::default()
        })
    }

    /// The schemas so far. Whatever [`schema`](Self::schema) gave is complete in it.
    pub fn schemas(&self) -> &Schemas {
        &self.schemas
    }

    /// All schemas, and what was wrong with them.
    pub fn finish(mut self) -> (Schemas, Vec<Diagnostic>) {
        self.anchors();
        self.refuse_circles();
        (self.schemas, self.diagnostics)
    }

    /// Follows the `$ref` of a Reference Object that is not a schema, such as a parameter's.
    pub(crate) fn follow(&mut self, place: Place<'a>) -> Option<Place<'a>> {
        let mut place = place;
        for _ in 0..MAX_HOPS {
            let Some(reference) = place.node.get("$ref") else {
                return Some(place);
            };
            place = self.target(place, reference)?;
        }
        self.circle(place.node.span);
        None
    }

    /// The id of a schema that may not be compiled yet.
    pub(super) fn child(&mut self, parent: Place<'a>, node: &'a Node) -> SchemaId {
        self.reserve(self.resolve.enter(parent.at(node)))
    }

    /// The id of the schema that a reference leads to; a schema that nothing matches if it leads
    /// nowhere, since there is a diagnostic then.
    pub(super) fn referred(&mut self, from: Place<'a>, reference: &Node) -> SchemaId {
        match self.target(from, reference) {
            Some(place) => self.reserve(place),
            None => self.add(Schema {
                fixed: Some(false),
                ..Schema::default()
            }),
        }
    }

    pub(super) fn resolve_quietly(&self, from: Base, reference: &str) -> Option<Place<'a>> {
        self.resolve.resolve(from, reference, Span::default()).ok()
    }

    pub(super) fn reserve_at(&mut self, place: Place<'a>) -> SchemaId {
        self.reserve(place)
    }

    pub(super) fn dynamic_name(&mut self, name: &str) {
        if !self.dynamic_names.iter().any(|known| **known == *name) {
            self.dynamic_names.push(name.into());
        }
    }

    pub(super) fn note_items(&mut self) {
        self.schemas.notes_items = true;
    }

    pub(super) fn pattern(&mut self, text: &str, span: Span) -> Option<Arc<Pattern>> {
        if let Some(known) = self.patterns.get(text) {
            return known.clone();
        }
        let pattern = match Pattern::new(text) {
            Ok(pattern) => Some(Arc::new(pattern)),
            Err(why) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        span,
                        format!("the pattern `{text}` cannot be compiled: {why}"),
                    )
                    .help("write it in the syntax of ECMA-262 regular expressions"),
                );
                None
            }
        };
        self.patterns.insert(text.into(), pattern.clone());
        pattern
    }

    /// Warns of something the first time it is met.
    pub(super) fn mention(&mut self, what: &str, warning: impl FnOnce() -> Diagnostic) {
        if self.mentioned.insert(what.to_owned()) {
            self.diagnostics.push(warning());
        }
    }

    /// Component schemas of the same document that include the schema at `place` by `allOf`.
    pub(super) fn included_by(&mut self, place: Place<'a>) -> Vec<(Box<str>, Place<'a>)> {
        let Some(components) = self.resolve_quietly(place.base, "#/components/schemas") else {
            return Vec::new();
        };
        let document = components.key();
        if !self.children.contains_key(&document) {
            let children = self.index_children(components);
            self.children.insert(document, children);
        }
        self.children
            .get(&document)
            .and_then(|children| children.get(&place.key()))
            .cloned()
            .unwrap_or_default()
    }

    /// The name of a component schema.
    pub(super) fn component_name(&self, place: Place<'a>) -> Option<Box<str>> {
        let components = self.resolve_quietly(place.base, "#/components/schemas")?;
        let mut members = components.node.members().iter();
        members
            .find(|member| std::ptr::eq(&raw const member.value, place.node))
            .map(|member| member.key.clone())
    }

    fn index_children(&self, components: Place<'a>) -> Children<'a> {
        let mut direct: Children<'a> = HashMap::new();
        for member in components.node.members() {
            let child = self.resolve.enter(components.at(&member.value));
            let included = member.value.get("allOf").map_or(&[][..], Node::items);
            for reference in included
                .iter()
                .filter_map(|part| part.get("$ref").and_then(Node::as_str))
            {
                if let Some(parent) = self.resolve_quietly(child.base, reference) {
                    let list = direct.entry(parent.key()).or_default();
                    list.push((member.key.clone(), child));
                }
            }
        }
        // Children of children belong to the grandparent too.
        let mut all = Children::new();
        for parent in direct.keys() {
            let mut found: Vec<(Box<str>, Place<'a>)> = Vec::new();
            let mut open = vec![*parent];
            while let Some(key) = open.pop() {
                for (name, place) in direct.get(&key).into_iter().flatten() {
                    if !found.iter().any(|(known, _)| known == name) {
                        found.push((name.clone(), *place));
                        open.push(place.key());
                    }
                }
            }
            all.insert(*parent, found);
        }
        all
    }

    /// `place` has been entered.
    fn reserve(&mut self, place: Place<'a>) -> SchemaId {
        let mut place = place;
        let mut aliases = Vec::new();
        let id = loop {
            if let Some(known) = self.known.get(&place.key()) {
                break *known;
            }
            aliases.push(place.key());
            if aliases.len() > MAX_HOPS {
                self.circle(place.node.span);
                break self.add(Schema {
                    fixed: Some(false),
                    ..Schema::default()
                });
            }
            let Some(reference) = self.only_reference(place.node) else {
                let id = self.add(Schema {
                    span: place.node.span,
                    base: place.base,
                    ..Schema::default()
                });
                self.queue.push((id, place));
                break id;
            };
            match self.target(place, reference) {
                Some(target) => place = target,
                None => {
                    break self.add(Schema {
                        fixed: Some(false),
                        ..Schema::default()
                    });
                }
            }
        };
        for alias in aliases {
            self.known.insert(alias, id);
        }
        id
    }

    /// The `$ref` of a schema that says nothing else. In 3.0 what stands beside a `$ref` is ignored,
    /// but for what its author cannot have meant otherwise, and a reader would take for granted.
    fn only_reference(&self, node: &'a Node) -> Option<&'a Node> {
        let reference = node.get("$ref")?;
        let silent = |key: &str| {
            matches!(
                key,
                "$ref" | "description" | "summary" | "title" | "$comment" | "deprecated"
            )
        };
        let heard = |key: &str| match self.dialect {
            Dialect::V30 => BESIDE_REFERENCES.contains(&key),
            Dialect::V31 => !silent(key),
        };
        let only = !node.members().iter().any(|member| heard(&member.key));
        only.then_some(reference)
    }

    fn target(&mut self, from: Place<'a>, reference: &Node) -> Option<Place<'a>> {
        let Some(text) = reference.as_str() else {
            self.diagnostics.push(Diagnostic::error(
                reference.span,
                format!("`$ref` is {}, not a string", reference.kind()),
            ));
            return None;
        };
        match self.resolve.resolve(from.base, text, reference.span) {
            Ok(place) => Some(place),
            Err(diagnostic) => {
                self.diagnostics.push(diagnostic);
                None
            }
        }
    }

    fn add(&mut self, schema: Schema) -> SchemaId {
        let id = SchemaId(crate::json::small(self.schemas.list.len()));
        self.schemas.list.push(schema);
        id
    }

    pub(super) fn compiled_mut(&mut self, id: SchemaId) -> Option<&mut Schema> {
        let index = usize::try_from(id.0).ok()?;
        self.schemas.list.get_mut(index)
    }

    fn drain(&mut self) {
        while let Some((id, place)) = self.queue.pop() {
            self.bases.insert(place.base);
            let schema = self.build(place);
            if let Some(slot) = self.compiled_mut(id) {
                *slot = schema;
            }
        }
    }

    fn build(&mut self, place: Place<'a>) -> Schema {
        let mut schema = Schema {
            span: place.node.span,
            base: place.base,
            ..Schema::default()
        };
        match &place.node.value {
            Value::Bool(value) => schema.fixed = Some(*value),
            Value::Object(members) if members.is_empty() => schema.fixed = Some(true),
            Value::Object(_) => self.keywords(place, &mut schema),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                self.diagnostics.push(Diagnostic::error(
                    place.node.span,
                    format!("expected a schema, found {}", place.node.kind()),
                ));
                schema.fixed = Some(false);
            }
        }
        schema
    }

    /// Compiles the `$dynamicAnchor`s of all resources that were met, until no new ones turn up.
    fn anchors(&mut self) {
        let mut done: HashSet<(Base, usize)> = HashSet::new();
        loop {
            let mut bases: Vec<_> = self.bases.iter().copied().collect();
            bases.sort_unstable_by_key(|base| base.0);
            let mut news = false;
            for base in bases {
                for index in 0..self.dynamic_names.len() {
                    if !done.insert((base, index)) {
                        continue;
                    }
                    news = true;
                    let Some(name) = self.dynamic_names.get(index).cloned() else {
                        continue;
                    };
                    if let Some(place) = self.resolve.dynamic_anchor(base, &name) {
                        let id = self.reserve(place);
                        self.schemas.anchors.push((name, base, id));
                    }
                }
            }
            self.drain();
            if !news {
                return;
            }
        }
    }

    /// A schema that includes itself without consuming anything of the instance matches nothing.
    fn refuse_circles(&mut self) {
        let mut state = vec![0_u8; self.schemas.list.len()];
        for start in 0..self.schemas.list.len() {
            let mut open = vec![(start, false)];
            while let Some((index, left)) = open.pop() {
                let Some(mark) = state.get_mut(index) else {
                    continue;
                };
                if left {
                    *mark = 2;
                    continue;
                }
                if *mark == 1 {
                    let span = self.schemas.list.get(index).map(|schema| schema.span);
                    self.circle(span.unwrap_or_default());
                    *state.get_mut(index).unwrap_or(&mut 0) = 2;
                    continue;
                }
                if *mark == 2 {
                    continue;
                }
                *mark = 1;
                open.push((index, true));
                let applied = self
                    .schemas
                    .list
                    .get(index)
                    .and_then(|schema| schema.applied.as_deref());
                for id in applied
                    .into_iter()
                    .flat_map(|applied| applied.reference.iter().chain(&applied.all))
                {
                    open.push((usize::try_from(id.0).unwrap_or(usize::MAX), false));
                }
            }
        }
    }

    fn circle(&mut self, span: Span) {
        self.diagnostics.push(
            Diagnostic::error(
                span,
                "the schema is made of nothing but itself, so no value matches it",
            )
            .help("break the circle of `$ref` and `allOf`"),
        );
    }
}

impl std::fmt::Debug for SchemaCompiler<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SchemaCompiler")
            .field("dialect", &self.dialect)
            .field("schemas", &self.schemas.len())
            .finish_non_exhaustive()
    }
}
