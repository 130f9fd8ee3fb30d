//! `in: body` and `in: formData` as a `requestBody`.

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Member, Node, Span},
};

use super::{At, Conversion, array, boolean, entry, is_in, object, string};

const MULTIPART: &str = "multipart/form-data";
const URL_ENCODED: &str = "application/x-www-form-urlencoded";

impl<'d> Conversion<'_, 'd> {
    /// The request body of an operation, if its parameters declare one.
    pub(super) fn request_body(
        &mut self,
        operation: &'d Node,
        parameters: &[At<'d>],
    ) -> Option<Node> {
        let of = |place: &str| -> Vec<&At<'d>> {
            parameters
                .iter()
                .filter(|parameter| is_in(parameter.node(), &[place]))
                .collect()
        };
        let (bodies, fields) = (of("body"), of("formData"));
        match (bodies.as_slice(), fields.as_slice()) {
            ([], []) => None,
            ([body], []) => Some(self.body(operation, body)),
            ([], fields) => Some(self.form(operation, fields)),
            ([first, ..], _) => {
                let message = if fields.is_empty() {
                    "an operation can have only one parameter with `in: body`"
                } else {
                    "an operation cannot have parameters in `body` and in `formData`"
                };
                self.diagnostics
                    .push(Diagnostic::error(first.node().span, message));
                None
            }
        }
    }

    fn body(&mut self, operation: &'d Node, parameter: &At<'d>) -> Node {
        let node = parameter.node();
        let span = node.span;
        let mut media_type = Vec::new();
        match parameter.get("schema") {
            Some(schema) => media_type.push(entry("schema", schema.reference())),
            None => self.diagnostics.push(Diagnostic::error(
                span,
                "this body parameter has no `schema`",
            )),
        }
        let mut consumes = self.media_types(operation, "consumes");
        if consumes.is_empty() {
            consumes.push((span, "application/json"));
        }
        let content = consumes
            .iter()
            .map(|(span, name)| entry(name, object(*span, media_type.clone())))
            .collect();
        let mut members = vec![entry("content", object(span, content))];
        for key in ["description", "required"] {
            members.extend(node.member(key).cloned());
        }
        object(span, members)
    }

    fn form(&mut self, operation: &'d Node, fields: &[&At<'d>]) -> Node {
        let span = fields
            .first()
            .map_or(operation.span, |field| field.node().span);
        let mut properties: Vec<Member> = Vec::new();
        let mut required = Vec::new();
        let mut encoding = Vec::new();
        let mut has_file = false;
        for field in fields {
            let node = field.node();
            let Some(name) = node.get("name").and_then(Node::as_str) else {
                self.diagnostics
                    .push(Diagnostic::error(node.span, "this parameter has no `name`"));
                continue;
            };
            if properties.iter().any(|property| *property.key == *name) {
                self.diagnostics.push(Diagnostic::error(
                    node.span,
                    format!("the formData parameter `{name}` is declared twice"),
                ));
                continue;
            }
            has_file |= node.get("type").and_then(Node::as_str) == Some("file");
            match self.parameter_schema(node) {
                Some(schema) => properties.push(entry(name, schema)),
                None => self.diagnostics.push(Diagnostic::error(
                    node.span,
                    format!("the formData parameter `{name}` has no `type`"),
                )),
            }
            if node.get("required").and_then(Node::as_bool) == Some(true) {
                required.push(string(node.span, name));
            }
            let style = self.style(node, "formData");
            if !style.is_empty() {
                encoding.push(entry(name, object(node.span, style)));
            }
        }
        let is_required = !required.is_empty();
        let mut schema = vec![
            entry("type", string(span, "object")),
            entry("properties", object(span, properties)),
        ];
        if is_required {
            schema.push(entry("required", array(span, required)));
        }
        let mut media_type = vec![entry("schema", object(span, schema))];
        if !encoding.is_empty() {
            media_type.push(entry("encoding", object(span, encoding)));
        }
        let content = self
            .form_types(operation, has_file, span)
            .into_iter()
            .map(|(span, name)| entry(name, object(span, media_type.clone())))
            .collect();
        object(
            span,
            vec![
                entry("content", object(span, content)),
                entry("required", boolean(span, is_required)),
            ],
        )
    }

    /// Those of `consumes` that can carry a form; files need multipart.
    fn form_types(
        &mut self,
        operation: &'d Node,
        has_file: bool,
        span: Span,
    ) -> Vec<(Span, &'d str)> {
        let mut types = self.media_types(operation, "consumes");
        types.retain(|(_, name)| {
            name.eq_ignore_ascii_case(MULTIPART)
                || (!has_file && name.eq_ignore_ascii_case(URL_ENCODED))
        });
        if types.is_empty() {
            types.push((span, if has_file { MULTIPART } else { URL_ENCODED }));
        }
        types
    }
}
