//! `paths`: which paths there are, path items and their references, and that no two operations can
//! be taken for each other.

use std::collections::HashMap;

use fortress_model::{
    diagnostic::{Diagnostic, Severity},
    document::{Member, Value},
};

use super::{Reader, keys, start_of, template};
use crate::{
    description::{Dialect, Operation, Security},
    schema::Place,
};

/// How many operations a description may have.
const MAX_OPERATIONS: usize = 100_000;

impl<'a> Reader<'a, '_> {
    /// All operations of the document. `None` if there are no `paths`.
    pub(super) fn paths(
        &mut self,
        root: Place<'a>,
        inherited: &Security,
    ) -> Option<Vec<Operation>> {
        let Some(paths) = root.get("paths") else {
            let elsewhere = root.node.get("components").or(root.node.get("webhooks"));
            if self.dialect == Dialect::V31 && elsewhere.is_some() {
                self.warn(
                    start_of(root.node),
                    "the description has no `paths`: nothing is served",
                );
                return Some(Vec::new());
            }
            self.error(start_of(root.node), "the description has no `paths`");
            return None;
        };
        if !matches!(paths.node.value, Value::Object(_)) {
            self.error(
                paths.node.span,
                format!("`paths` should be an object, this is {}", paths.node.kind()),
            );
            return None;
        }
        let mut operations = Vec::new();
        let found_before = self.diagnostics.len();
        for member in paths.node.members() {
            if member.key.starts_with("x-") {
                continue;
            }
            let template = match template::parse(&member.key, member.key_span) {
                Ok(template) => template,
                Err(found) => {
                    self.diagnostics.push(found);
                    continue;
                }
            };
            let Some(item) = self.path_item(paths.at(&member.value)) else {
                continue;
            };
            self.operations(member, &template, &item, inherited, &mut operations);
            if operations.len() > MAX_OPERATIONS {
                self.error(
                    member.key_span,
                    format!("more than {MAX_OPERATIONS} operations"),
                );
                break;
            }
        }
        let failed = self
            .diagnostics
            .iter()
            .skip(found_before)
            .any(|found| found.severity == Severity::Error);
        if operations.is_empty() && !failed {
            self.warn(
                paths.node.span,
                "the description declares no operation: nothing is served",
            );
        }
        self.check_ids(&operations);
        self.check_conflicts(&operations);
        Some(operations)
    }

    fn operations(
        &mut self,
        path: &'a Member,
        template: &crate::PathTemplate,
        item: &PathItem<'a>,
        inherited: &Security,
        operations: &mut Vec<Operation>,
    ) {
        let shared: Vec<_> = item
            .layers
            .iter()
            .flat_map(|layer| self.parameters(*layer))
            .collect();
        let base_paths = item
            .find("servers")
            .map(|servers| self.base_paths(servers.node));
        let extension = item.find("x-fortress").map(|place| place.node.clone());
        let common = super::operation::Common {
            template,
            shared: &shared,
            base_paths: base_paths.as_deref(),
            extension: extension.as_ref(),
            inherited,
        };
        let before = operations.len();
        for layer in &item.layers {
            for member in layer.node.members() {
                if keys::METHODS.contains(&&*member.key) {
                    operations.extend(self.operation(member, layer.at(&member.value), &common));
                } else if matches!(&*member.key, "query" | "additionalOperations") {
                    self.warn(
                        member.key_span,
                        format!("`{}` belongs to OpenAPI 3.2 and is not served", member.key),
                    );
                }
            }
        }
        if operations.len() == before && shared.iter().len() > 0 {
            self.warn(
                path.key_span,
                format!("the path `{}` has no operation", path.key),
            );
        }
    }

    /// A path item with what its `$ref` refers to.
    fn path_item(&mut self, place: Place<'a>) -> Option<PathItem<'a>> {
        let mut layers = vec![place];
        if place.node.get("$ref").is_some() {
            match self.resolver.follow(place) {
                Ok(target) => layers.push(target),
                Err(found) => {
                    self.diagnostics.push(found);
                    return None;
                }
            }
        }
        for layer in &layers {
            if !matches!(layer.node.value, Value::Object(_)) {
                self.error(
                    layer.node.span,
                    format!(
                        "a path item should be an object, this is {}",
                        layer.node.kind()
                    ),
                );
                return None;
            }
            self.check_keys(layer.node, keys::PATH_ITEM);
        }
        if let [own, target] = layers.as_slice() {
            let conflict = own.node.members().iter().find(|member| {
                !matches!(&*member.key, "$ref" | "summary" | "description")
                    && target.node.get(&member.key).is_some()
            });
            if let Some(member) = conflict {
                let error = Diagnostic::error(
                    member.key_span,
                    format!("`{}` stands here and in what `$ref` refers to", member.key),
                );
                self.diagnostics
                    .push(error.help("OpenAPI does not say which of them counts; keep one"));
                return None;
            }
        }
        Some(PathItem { layers })
    }

    /// Each id names one operation.
    fn check_ids(&mut self, operations: &[Operation]) {
        let mut seen: HashMap<&str, &Operation> = HashMap::with_capacity(operations.len());
        for operation in operations {
            if let Some(first) = seen.insert(&operation.id, operation) {
                self.error(
                    operation.span,
                    format!(
                        "the operationId `{}` is also that of `{} {}`",
                        operation.id, first.method, first.template
                    ),
                );
            }
        }
    }

    /// No two operations match the same requests.
    fn check_conflicts(&mut self, operations: &[Operation]) {
        let mut seen: HashMap<String, Vec<&Operation>> = HashMap::with_capacity(operations.len());
        for operation in operations {
            let same = seen.entry(operation.template.shape()).or_default();
            let other = same
                .iter()
                .find(|other| other.template.text != operation.template.text);
            if let Some(other) = other {
                let message = format!(
                    "`{}` matches the same paths as `{}`",
                    operation.template, other.template
                );
                let together = same.iter().find(|other| {
                    other.method == operation.method
                        && share_base_path(
                            other.base_paths.as_deref(),
                            operation.base_paths.as_deref(),
                        )
                });
                self.diagnostics.push(match together {
                    Some(_) => Diagnostic::error(
                        operation.span,
                        format!("{message}, both with `{}`", operation.method),
                    )
                    .help("give the parameters the same names and keep one of the two"),
                    None => Diagnostic::warning(operation.span, message)
                        .help("give the parameters the same names and make one path of the two"),
                });
            }
            same.push(operation);
        }
    }
}

/// Whether two operations are served below a common base path; `None` is the document's.
fn share_base_path(one: Option<&[String]>, other: Option<&[String]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|path| other.contains(path)),
        (None, None) => true,
        // The document's own base paths may well be among them.
        (Some(_), None) | (None, Some(_)) => true,
    }
}

/// A path item: itself, and what its `$ref` refers to.
struct PathItem<'a> {
    layers: Vec<Place<'a>>,
}

impl<'a> PathItem<'a> {
    fn find(&self, key: &str) -> Option<Place<'a>> {
        self.layers.iter().find_map(|layer| layer.get(key))
    }
}
