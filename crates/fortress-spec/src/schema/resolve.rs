//! What the schema compiler needs to know of the documents: where a reference leads.
//!
//! Deliberately not here: files, JSON pointers and the limits on both. The loader implements the
//! trait over its documents; tests may implement it over a single node.

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Node, Span},
};

/// A node of a document, with the base of the references inside it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The node.
    pub node: &'a Node,
    /// What references inside it are relative to.
    pub base: Base,
}

/// A document, or a schema in it that has an `$id` of its own. Only the resolver knows which.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Base(pub u32);

/// The identity of a node: two references lead to the same schema if, and only if, these are equal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeKey(usize);

impl<'a> Place<'a> {
    /// A node inside this one: the same base, until [`Resolve::enter`] says otherwise.
    #[must_use]
    pub fn at(self, node: &'a Node) -> Self {
        Self { node, ..self }
    }

    /// The node's identity, for as long as the documents stay where they are.
    pub fn key(self) -> NodeKey {
        NodeKey(std::ptr::from_ref(self.node).addr())
    }

    /// The member `key` of the node, as a place.
    pub fn get(self, key: &str) -> Option<Self> {
        self.node.get(key).map(|node| self.at(node))
    }
}

/// Leads from a reference to what it refers to. `'a` is the life of the documents.
pub trait Resolve<'a> {
    /// Follows `reference` (the text of a `$ref`, or `$dynamicRef` in its static reading) one step,
    /// relative to `from`. The place that it gives has been [entered](Self::enter).
    ///
    /// # Errors
    /// A reference that leads nowhere, to another machine, or out of bounds; the diagnostic stands
    /// at `span`.
    fn resolve(&self, from: Base, reference: &str, span: Span) -> Result<Place<'a>, Diagnostic>;

    /// The place with the base that its own `$id` sets (3.1), if it has one. To be called for each
    /// subschema on the way down.
    fn enter(&self, place: Place<'a>) -> Place<'a>;

    /// The schema that carries `$dynamicAnchor: name` in the schema resource `base`.
    fn dynamic_anchor(&self, base: Base, name: &str) -> Option<Place<'a>>;
}
