//! The files of one description, read when a reference first leads into them, and where each
//! reference leads.
//!
//! Documents are never moved nor dropped while a description is read, so that a node's address is
//! its identity.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    path::{Path, PathBuf},
};

use fortress_model::{
    diagnostic::{Diagnostic, Severity},
    document::{Format, Member, Node, SourceId, Sources, Span, Value, read},
};

use super::{
    files::{Files, MAX_BYTES, MAX_FILES},
    keys::closest,
    pointer::Index,
    swagger, uri,
};
use crate::{
    description::Dialect,
    schema::{Base, NodeKey, Place, Resolve},
};

/// How many references may follow each other before something that is not one.
const LONGEST_CHAIN: usize = 64;

/// How many schemas with an `$id` of their own a description may have.
const MAX_RESOURCES: usize = 100_000;

/// How many references that lead nowhere get a suggestion.
const MAX_SUGGESTIONS: usize = 100;

/// Begins a reference that the Swagger conversion makes: the number of a document follows. It can
/// reach nothing that was not read already.
const INTERNAL: &str = "fortress-document:";

/// Where the documents stay. Separate from [`Resolver`], which borrows them.
pub(super) struct Documents {
    slots: Box<[OnceCell<Node>]>,
    used: Cell<usize>,
}

impl Documents {
    pub(super) fn new() -> Self {
        // One more for what the Swagger conversion makes.
        let slots = std::iter::repeat_with(OnceCell::new).take(MAX_FILES + 1);
        Self {
            slots: slots.collect(),
            used: Cell::new(0),
        }
    }

    fn add(&self, node: Node) -> Option<&Node> {
        let slot = self.slots.get(self.used.get())?;
        self.used.set(self.used.get() + 1);
        Some(slot.get_or_init(|| node))
    }
}

/// A document, or a schema with an `$id` in it.
struct Resource<'d> {
    root: &'d Node,
    /// The file that it is in.
    path: PathBuf,
    /// Its `$id`, resolved, if that is absolute.
    uri: Option<String>,
    anchors: HashMap<&'d str, Place<'d>>,
    dynamic_anchors: HashMap<&'d str, Place<'d>>,
}

/// Follows references, and reads the files that they lead to.
pub(super) struct Resolver<'d> {
    documents: &'d Documents,
    files: &'d dyn Files,
    sources: RefCell<&'d mut Sources>,
    root: PathBuf,
    /// Every file that was tried, with why it could not be read.
    opened: RefCell<HashMap<PathBuf, Result<Base, String>>>,
    read: RefCell<Vec<PathBuf>>,
    bytes: Cell<usize>,
    resources: RefCell<Vec<Resource<'d>>>,
    by_node: RefCell<HashMap<NodeKey, Base>>,
    by_uri: RefCell<HashMap<String, Base>>,
    index: RefCell<Index<'d>>,
    known: RefCell<HashMap<Base, HashMap<Box<str>, Place<'d>>>>,
    /// Set for 3.1, where schemas have `$id` and anchors.
    anchors: Cell<bool>,
    /// Set for Swagger 2.0, whose schemas are rewritten as each file is read.
    swagger: Cell<bool>,
    suggested: Cell<usize>,
    found: RefCell<Vec<Diagnostic>>,
}

impl<'d> Resolver<'d> {
    pub(super) fn new(
        documents: &'d Documents,
        files: &'d dyn Files,
        sources: &'d mut Sources,
        root: &Path,
    ) -> Self {
        Self {
            documents,
            files,
            sources: RefCell::new(sources),
            root: uri::normalise(root),
            opened: RefCell::default(),
            read: RefCell::default(),
            bytes: Cell::new(0),
            resources: RefCell::default(),
            by_node: RefCell::default(),
            by_uri: RefCell::default(),
            index: RefCell::default(),
            known: RefCell::default(),
            anchors: Cell::new(false),
            swagger: Cell::new(false),
            suggested: Cell::new(0),
            found: RefCell::default(),
        }
    }

    /// Reads the description itself.
    pub(super) fn open_root(&self, written: &Path) -> Result<Place<'d>, Vec<Diagnostic>> {
        let path = self.root.clone();
        let text = self.files.read(written).map_err(|error| {
            vec![Diagnostic::error(
                None,
                format!("cannot read `{}`: {error}", written.display()),
            )]
        })?;
        let base = self.add(&path, written, text)?;
        self.opened.borrow_mut().insert(path, Ok(base));
        self.place(base).ok_or_else(Vec::new)
    }

    /// Keeps a converted document; its references are relative to the description's.
    pub(super) fn keep(&self, node: Node) -> Option<&'d Node> {
        self.documents.add(node)
    }

    /// From now on, `$id` and anchors count (OpenAPI 3.1).
    pub(super) fn index_anchors(&self) {
        self.anchors.set(true);
        if let Some(place) = self.place(Base(0)) {
            self.scan(place);
        }
    }

    /// Follows `$ref`s until something that is not a reference.
    ///
    /// # Errors
    /// As [`Resolve::resolve`]; and references that refer to each other.
    pub(super) fn follow<'a>(&self, from: Place<'a>) -> Result<Place<'a>, Diagnostic>
    where
        'd: 'a,
    {
        let mut place = from;
        for _ in 0..LONGEST_CHAIN {
            let Some(reference) = place.node.get("$ref") else {
                return Ok(place);
            };
            let Some(text) = reference.as_str() else {
                return Err(Diagnostic::error(
                    reference.span,
                    format!("`$ref` should be a string, this is {}", reference.kind()),
                ));
            };
            place = self.target(place.base, text, reference.span)?;
            if place.key() == from.key() {
                break;
            }
        }
        Err(
            Diagnostic::error(from.node.span, "this reference leads back to itself").help(
                "schemas may refer to themselves; parameters, responses and path items cannot",
            ),
        )
    }

    /// Follows each reference of the description itself, used or not, and warns of those that lead
    /// nowhere, and, by the rules of 3.0, of what stands beside one. To be called when the operations
    /// are compiled, so that what they use is an error first.
    pub(super) fn check_references(&self, dialect: Dialect) {
        let Some(root) = self.place(Base(0)) else {
            return;
        };
        let shared = ["components", "definitions", "parameters", "responses"];
        let mut pending: Vec<_> = shared
            .into_iter()
            .filter_map(|key| Some((root.get(key)?, Members::of(key)?)))
            .collect();
        // A path item's own `$ref` may have siblings; what is inside a path item is like the rest.
        for item in root
            .get("paths")
            .iter()
            .flat_map(|paths| paths.node.members())
        {
            pending.extend(inside(root.at(&item.value), Members::Keywords));
        }
        while let Some((place, members)) = pending.pop() {
            // A schema's own `$id` counts for its `$ref` too.
            let place = self.enter(place);
            if let (Members::Keywords, Some(reference)) = (members, place.node.get("$ref"))
                && let Some(text) = reference.as_str()
            {
                if let Err(mut found) = self.target(place.base, text, reference.span) {
                    found.severity = Severity::Warning;
                    self.found.borrow_mut().push(found);
                }
                if dialect == Dialect::V30 {
                    self.found.borrow_mut().extend(ignored(place.node));
                }
            }
            pending.extend(inside(place, members));
        }
    }

    /// A reference text that leads to `pointer` (percent-encoded) in the document of `base`, from
    /// anywhere.
    pub(super) fn internal_reference(base: Base, pointer: &str) -> String {
        if base == Base(0) {
            format!("#{pointer}")
        } else {
            format!("{INTERNAL}{}#{pointer}", base.0)
        }
    }

    /// Every file that was read, in that order.
    pub(super) fn files_read(&self) -> Vec<PathBuf> {
        self.read.borrow().clone()
    }

    /// What was odd about the files.
    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }

    fn place(&self, base: Base) -> Option<Place<'d>> {
        let resources = self.resources.borrow();
        let resource = resources.get(usize::try_from(base.0).ok()?)?;
        Some(Place {
            node: resource.root,
            base,
        })
    }

    fn target(&self, from: Base, reference: &str, span: Span) -> Result<Place<'d>, Diagnostic> {
        if let Some(known) = self
            .known
            .borrow()
            .get(&from)
            .and_then(|known| known.get(reference))
        {
            return Ok(*known);
        }
        let (resource, fragment) = uri::split(reference);
        let base = if resource.is_empty() {
            from
        } else {
            self.resource(from, resource, span)?
        };
        let place = self.fragment(base, fragment, reference, span)?;
        self.known
            .borrow_mut()
            .entry(from)
            .or_default()
            .insert(reference.into(), place);
        Ok(place)
    }

    /// The document or `$id` that the part before `#` names.
    fn resource(&self, from: Base, reference: &str, span: Span) -> Result<Base, Diagnostic> {
        if let Some(number) = reference.strip_prefix(INTERNAL) {
            let base = number.parse().ok().map(Base);
            return base
                .filter(|base| self.place(*base).is_some())
                .ok_or_else(|| remote(reference, span));
        }
        let (path, within) = {
            let resources = self.resources.borrow();
            let resource = usize::try_from(from.0)
                .ok()
                .and_then(|from| resources.get(from));
            match resource {
                Some(resource) => (resource.path.clone(), resource.uri.clone()),
                None => (self.root.clone(), None),
            }
        };
        let absolute = match within {
            Some(within) => Some(uri::join(&within, reference)),
            None => uri::is_absolute(reference).then(|| reference.to_owned()),
        };
        if let Some(absolute) = absolute {
            let known = self.by_uri.borrow().get(&absolute).copied();
            return known.ok_or_else(|| remote(&absolute, span));
        }
        let file = uri::decode(reference).filter(|file| !file.contains('\0'));
        let Some(file) = file else {
            return Err(Diagnostic::error(
                span,
                format!("`{reference}` is not a valid reference: its percent-encoding is broken"),
            ));
        };
        if file.starts_with(['/', '\\']) {
            return Err(Diagnostic::error(
                span,
                format!("the reference `{reference}` names a file by its absolute path"),
            )
            .help("name it by its path relative to this file"));
        }
        self.open(&uri::file(&path, &file), reference, span)
    }

    /// The document at a path, read if it was not yet.
    fn open(&self, path: &Path, reference: &str, span: Span) -> Result<Base, Diagnostic> {
        let known = self.opened.borrow().get(path).cloned();
        let opened = known.unwrap_or_else(|| {
            let opened = self.open_first(path);
            if opened.is_ok() && uri::is_outside(&self.root, path) {
                self.found.borrow_mut().push(Diagnostic::warning(
                    span,
                    format!("`{reference}` lies outside the description's directory"),
                ));
            }
            let path = path.to_path_buf();
            self.opened.borrow_mut().insert(path, opened.clone());
            opened
        });
        opened.map_err(|why| {
            Diagnostic::error(span, format!("cannot read `{reference}`: {why}"))
                .help("references are relative to the file that they stand in")
        })
    }

    fn open_first(&self, path: &Path) -> Result<Base, String> {
        if self.read.borrow().len() >= MAX_FILES {
            return Err(format!("a description may have at most {MAX_FILES} files"));
        }
        let text = self.files.read(path).map_err(|error| error.to_string())?;
        let base = self.add(path, path, text).map_err(|found| {
            self.found.borrow_mut().extend(found);
            "it does not parse".to_owned()
        })?;
        if self.anchors.get()
            && let Some(place) = self.place(base)
        {
            self.scan(place);
        }
        Ok(base)
    }

    /// Parses a text and keeps it as a document.
    fn add(&self, path: &Path, written: &Path, text: String) -> Result<Base, Vec<Diagnostic>> {
        let bytes = self.bytes.get().saturating_add(text.len());
        let too_large = || {
            let message = format!(
                "`{}` makes the description larger than {} MiB",
                written.display(),
                MAX_BYTES >> 20
            );
            vec![Diagnostic::error(None, message)]
        };
        if bytes > MAX_BYTES {
            return Err(too_large());
        }
        self.bytes.set(bytes);
        let id: SourceId = self
            .sources
            .borrow_mut()
            .add(written.display().to_string(), text);
        self.read.borrow_mut().push(written.to_path_buf());
        let mut node = read(id, &self.sources.borrow(), Format::Auto)?;
        if self.resources.borrow().is_empty() && node.get("swagger").is_some() {
            self.swagger.set(true);
        }
        if self.swagger.get() {
            swagger::rewrite(&mut node);
        }
        let root = self.documents.add(node).ok_or_else(too_large)?;
        let resource = Resource {
            root,
            path: path.to_path_buf(),
            uri: None,
            anchors: HashMap::new(),
            dynamic_anchors: HashMap::new(),
        };
        self.push(resource).ok_or_else(too_large)
    }

    fn push(&self, resource: Resource<'d>) -> Option<Base> {
        let mut resources = self.resources.borrow_mut();
        if resources.len() >= MAX_RESOURCES {
            return None;
        }
        let base = Base(u32::try_from(resources.len()).ok()?);
        resources.push(resource);
        Some(base)
    }

    /// What the part after `#` leads to in `base`.
    fn fragment(
        &self,
        base: Base,
        fragment: Option<&str>,
        reference: &str,
        span: Span,
    ) -> Result<Place<'d>, Diagnostic> {
        let Some(root) = self.place(base) else {
            return Err(remote(reference, span));
        };
        let fragment = fragment.unwrap_or_default();
        if fragment.is_empty() {
            return Ok(self.entered(root));
        }
        if fragment.starts_with('/') {
            let found = self.index.borrow_mut().find(root.node, fragment);
            return match found {
                Ok(node) => Ok(self.entered(root.at(node))),
                Err((missing, parent)) => {
                    let error = Diagnostic::error(
                        span,
                        format!("`{reference}` leads nowhere: there is no `{missing}`"),
                    );
                    // Each costs a comparison with every name, and a broken file may need thousands.
                    let suggests = self.suggested.get() < MAX_SUGGESTIONS;
                    self.suggested.set(self.suggested.get().saturating_add(1));
                    let names = parent.members().iter().map(|member| &*member.key);
                    Err(match closest(&missing, names.filter(|_| suggests)) {
                        Some(meant) => error.help(format!("did you mean `{meant}`?")),
                        None => error,
                    })
                }
            };
        }
        let resources = self.resources.borrow();
        let resource = usize::try_from(base.0)
            .ok()
            .and_then(|base| resources.get(base));
        let anchor = uri::decode(fragment);
        resource
            .zip(anchor)
            .and_then(|(resource, anchor)| {
                let anchors = [&resource.anchors, &resource.dynamic_anchors];
                anchors
                    .into_iter()
                    .find_map(|anchors| anchors.get(&*anchor).copied())
            })
            .ok_or_else(|| {
                let error = Diagnostic::error(
                    span,
                    format!("`{reference}` leads nowhere: there is no anchor `{fragment}`"),
                );
                error.help("a place in a file is written as `#/components/schemas/Name`")
            })
    }

    fn entered(&self, place: Place<'d>) -> Place<'d> {
        if !self.anchors.get() {
            return place;
        }
        // A pointer may lead across an `$id`; then the base is that of the innermost resource. Such
        // references are discouraged by JSON Schema (2020-12, core, 9.2.1), and only the resource's
        // own root is recognised here.
        let base = self.by_node.borrow().get(&place.key()).copied();
        base.map_or(place, |base| Place { base, ..place })
    }

    /// Finds each `$id`, `$anchor` and `$dynamicAnchor` below `root`, which is a document.
    fn scan(&self, root: Place<'d>) {
        let mut pending = vec![(root, Members::Keywords)];
        while let Some((place, members)) = pending.pop() {
            let place = match members {
                Members::Keywords => self.identify(place),
                Members::Names => place,
            };
            pending.extend(inside(place, members));
        }
    }

    /// Notes the node's own `$id` and anchors; gives it with the base that holds inside.
    fn identify(&self, place: Place<'d>) -> Place<'d> {
        let text = |key| place.node.get(key).and_then(Node::as_str);
        let mut place = place;
        if let Some(id) = text("$id") {
            let id = uri::split(id).0;
            let entered = self.identified(place, id);
            place.base = entered.unwrap_or(place.base);
        }
        let mut resources = self.resources.borrow_mut();
        let resource = usize::try_from(place.base.0)
            .ok()
            .and_then(|base| resources.get_mut(base));
        if let Some(resource) = resource {
            if let Some(anchor) = text("$anchor") {
                resource.anchors.entry(anchor).or_insert(place);
            }
            if let Some(anchor) = text("$dynamicAnchor") {
                resource.dynamic_anchors.entry(anchor).or_insert(place);
            }
        }
        place
    }

    fn identified(&self, place: Place<'d>, id: &str) -> Option<Base> {
        let (path, within) = {
            let resources = self.resources.borrow();
            let resource = resources.get(usize::try_from(place.base.0).ok()?)?;
            (resource.path.clone(), resource.uri.clone())
        };
        let absolute = match &within {
            Some(within) => Some(uri::join(within, id)),
            None => uri::is_absolute(id).then(|| id.to_owned()),
        };
        let path = if absolute.is_none() {
            uri::file(&path, id)
        } else {
            path
        };
        let base = self.push(Resource {
            root: place.node,
            path: path.clone(),
            uri: absolute.clone(),
            anchors: HashMap::new(),
            dynamic_anchors: HashMap::new(),
        })?;
        self.by_node.borrow_mut().insert(place.key(), base);
        if let Some(absolute) = absolute {
            self.by_uri.borrow_mut().insert(absolute, base);
        } else {
            // A file of that name keeps it.
            self.opened.borrow_mut().entry(path).or_insert(Ok(base));
        }
        Some(base)
    }
}

/// What the keys of an object are, as far as finding schemas needs to know.
#[derive(Clone, Copy)]
enum Members {
    /// Words of OpenAPI or JSON Schema.
    Keywords,
    /// Names that the description's author chose.
    Names,
}

impl Members {
    /// What stands under a keyword; `None` for values that are no part of the description.
    fn of(keyword: &str) -> Option<Self> {
        match keyword {
            "example" | "examples" | "default" | "enum" | "const" => None,
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas"
            | "schemas" | "responses" | "parameters" | "requestBodies" | "headers" | "paths"
            | "pathItems" | "content" | "callbacks" => Some(Self::Names),
            extension if extension.starts_with("x-") => None,
            _ => Some(Self::Keywords),
        }
    }
}

/// What stands beside a `$ref` of 3.0 and looks as if it had an effect.
fn ignored(node: &Node) -> impl Iterator<Item = Diagnostic> {
    let has_effect = |member: &&Member| {
        !matches!(
            &*member.key,
            "$ref"
                | "summary"
                | "description"
                | "title"
                | "example"
                | "examples"
                | "deprecated"
                | "nullable"
                | "readOnly"
                | "writeOnly"
        ) && !member.key.starts_with("x-")
    };
    node.members().iter().filter(has_effect).map(|member| {
        let message = format!("`{}` beside `$ref` is ignored", member.key);
        Diagnostic::warning(member.key_span, message)
            .help("in a schema put the reference inside `allOf: [{ $ref: … }]`, then both count")
    })
}

/// What stands directly inside a node, as far as it is part of the description.
fn inside(place: Place<'_>, members: Members) -> Vec<(Place<'_>, Members)> {
    match &place.node.value {
        Value::Object(list) => list
            .iter()
            .filter_map(|member| {
                let inside = match members {
                    Members::Names => Some(Members::Keywords),
                    Members::Keywords => Members::of(&member.key),
                };
                Some((place.at(&member.value), inside?))
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| (place.at(item), Members::Keywords))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn remote(reference: &str, span: Span) -> Diagnostic {
    Diagnostic::error(
        span,
        format!("the remote reference `{reference}` is not fetched"),
    )
    .help("save the file beside the description and refer to it by its relative path")
}

impl<'a, 'd: 'a> Resolve<'a> for Resolver<'d> {
    fn resolve(&self, from: Base, reference: &str, span: Span) -> Result<Place<'a>, Diagnostic> {
        self.target(from, reference, span)
    }

    fn enter(&self, place: Place<'a>) -> Place<'a> {
        if !self.anchors.get() {
            return place;
        }
        let base = self.by_node.borrow().get(&place.key()).copied();
        base.map_or(place, |base| Place { base, ..place })
    }

    fn dynamic_anchor(&self, base: Base, name: &str) -> Option<Place<'a>> {
        let resources = self.resources.borrow();
        let resource = resources.get(usize::try_from(base.0).ok()?)?;
        resource.dynamic_anchors.get(name).copied()
    }
}

impl std::fmt::Debug for Resolver<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Resolver")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}
