//! One operation: everything that its path item, the document and itself say about it.

use std::sync::Arc;

use fortress_model::{
    diagnostic::Diagnostic,
    document::{Member, Node, Value},
};

use super::{Reader, keys, parameter::Declared};
use crate::{
    body::{RequestBody, Responses},
    description::{KeyLocation, Operation, PathTemplate, Requirement, Security, SecurityScheme},
    parameter::Parameters,
    schema::Place,
};

/// What all operations of a path have in common.
pub(super) struct Common<'c, 'a> {
    pub(super) template: &'c PathTemplate,
    pub(super) shared: &'c [Declared<'a>],
    pub(super) base_paths: Option<&'c [String]>,
    pub(super) extension: Option<&'c Node>,
    pub(super) inherited: &'c Security,
}

impl<'a> Reader<'a, '_> {
    /// Reads the operation `place`, whose key is `member`. `None`, with diagnostics, if what it
    /// demands is not clear.
    pub(super) fn operation(
        &mut self,
        member: &'a Member,
        place: Place<'a>,
        common: &Common<'_, 'a>,
    ) -> Option<Operation> {
        let node = place.node;
        let span = member.key_span;
        if !matches!(node.value, Value::Object(_)) {
            self.error(
                node.span,
                format!("an operation should be an object, this is {}", node.kind()),
            );
            return None;
        }
        self.check_keys(node, keys::OPERATION);
        let method = http::Method::from_bytes(member.key.to_ascii_uppercase().as_bytes()).ok()?;
        let mut template = common.template.clone();
        let own = self.parameters(place);
        let declared = self.merge(common.shared, own, &mut template, span);
        let security = match node.get("security") {
            Some(node) => self.security(node, "this operation")?,
            None => common.inherited.clone(),
        };
        let places: Vec<Place<'a>> = declared.iter().map(|declared| declared.place).collect();
        let keys = api_keys(&self.schemes, &security);
        let (parameters, found) = Parameters::compile(&places, &keys, &mut self.compiler);
        self.diagnostics.extend(found);
        let body = self.request_body(place, &method)?;
        let responses = self.responses(place, member);
        let base_paths = match node.get("servers") {
            Some(servers) => Some(self.base_paths(servers)),
            None => common.base_paths.map(<[String]>::to_vec),
        };
        let extension = node.get("x-fortress");
        Some(Operation {
            id: self.id(node, &method, &template),
            tags: self.tags(node),
            summary: text(node, "summary"),
            deprecated: self.flag(node, "deprecated"),
            method,
            template,
            parameters,
            body,
            responses,
            security,
            base_paths,
            extension: common
                .extension
                .into_iter()
                .chain(extension)
                .cloned()
                .collect(),
            span,
        })
    }

    fn id(&mut self, node: &Node, method: &http::Method, template: &PathTemplate) -> Arc<str> {
        let made = || format!("{method} {template}").into();
        match node.get("operationId") {
            None => made(),
            Some(id) => match id.as_str().filter(|id| !id.trim().is_empty()) {
                Some(id) => id.into(),
                None => {
                    self.error(
                        id.span,
                        "`operationId` should be a string that is not empty",
                    );
                    made()
                }
            },
        }
    }

    /// `None` if there is a body, but it is not clear what it may be.
    fn request_body(
        &mut self,
        operation: Place<'a>,
        method: &http::Method,
    ) -> Option<Option<RequestBody>> {
        let Some(place) = operation.get("requestBody") else {
            return Some(None);
        };
        let span = operation
            .node
            .member("requestBody")
            .map_or(place.node.span, |member| member.key_span);
        if *method == http::Method::TRACE {
            self.error(
                span,
                "a TRACE request must not have a body (RFC 9110, section 9.3.8)",
            );
            return None;
        }
        if *method == http::Method::GET || *method == http::Method::HEAD {
            self.diagnostics.push(
                Diagnostic::warning(span, format!("a body in a {method} request has no meaning in HTTP (RFC 9110, section 9.3)"))
                    .help("servers and proxies may drop or refuse it; use POST, or query parameters"),
            );
        }
        let place = self.reference_object(place)?;
        if !matches!(place.node.value, Value::Object(_)) {
            self.error(
                place.node.span,
                format!(
                    "`requestBody` should be an object, this is {}",
                    place.node.kind()
                ),
            );
            return None;
        }
        self.check_keys(place.node, keys::REQUEST_BODY);
        let Some(content) = self.object(place, "content") else {
            if place.node.get("content").is_none() {
                self.error(place.node.span, "this request body has no `content`");
            }
            return None;
        };
        if content.node.members().is_empty() {
            self.error(
                content.node.span,
                "this request body declares no media type",
            );
            return None;
        }
        self.check_media_types(content.node);
        let (body, found) = RequestBody::compile(place, &mut self.compiler);
        self.diagnostics.extend(found);
        Some(Some(body))
    }

    fn responses(&mut self, operation: Place<'a>, member: &Member) -> Responses {
        let Some(place) = operation.get("responses") else {
            self.diagnostics.push(
                Diagnostic::warning(member.key_span, "this operation declares no `responses`")
                    .help("without any, the answers of the upstream cannot be checked"),
            );
            return Responses::default();
        };
        if !matches!(place.node.value, Value::Object(_)) {
            self.error(
                place.node.span,
                format!(
                    "`responses` should be an object, this is {}",
                    place.node.kind()
                ),
            );
            return Responses::default();
        }
        let mut clear = true;
        for member in place.node.members() {
            if !member.key.starts_with("x-") {
                clear &= self.response(place, member);
            }
        }
        if !clear {
            return Responses::default();
        }
        let (responses, found) = Responses::compile(place, &mut self.compiler);
        self.diagnostics.extend(found);
        responses
    }

    fn response(&mut self, responses: Place<'a>, member: &'a Member) -> bool {
        if !is_status(&member.key) {
            self.diagnostics.push(
                Diagnostic::error(member.key_span, format!("`{}` is not a status", member.key))
                    .help("write a code such as `200`, a range such as `2XX`, or `default`"),
            );
            return false;
        }
        let Some(place) = self.reference_object(responses.at(&member.value)) else {
            return false;
        };
        if !matches!(place.node.value, Value::Object(_)) {
            self.error(
                place.node.span,
                format!(
                    "a response should be an object, this is {}",
                    place.node.kind()
                ),
            );
            return false;
        }
        self.check_keys(place.node, keys::RESPONSE);
        if let Some(content) = place.node.get("content") {
            self.check_media_types(content);
        }
        true
    }

    fn check_media_types(&mut self, content: &Node) {
        for media_type in content.members() {
            self.check_keys(&media_type.value, keys::MEDIA_TYPE);
        }
    }

    /// What stands where OpenAPI allows an object or a reference to one. `None`, with a diagnostic,
    /// if the reference leads nowhere.
    pub(super) fn reference_object(&mut self, place: Place<'a>) -> Option<Place<'a>> {
        if place.node.get("$ref").is_none() {
            return Some(place);
        }
        for member in place.node.members() {
            // In 3.1 these two replace the target's; in 3.0 they are ignored. Neither has any effect
            // on what is checked.
            let documentation = matches!(&*member.key, "$ref" | "summary" | "description");
            if !documentation && !member.key.starts_with("x-") {
                self.warn(
                    member.key_span,
                    format!("`{}` beside `$ref` is ignored", member.key),
                );
            }
        }
        match self.resolver.follow(place) {
            Ok(target) => Some(target),
            Err(found) => {
                self.diagnostics.push(found);
                None
            }
        }
    }

    fn tags(&mut self, node: &Node) -> Vec<String> {
        let Some(tags) = node.get("tags") else {
            return Vec::new();
        };
        if !matches!(tags.value, Value::Array(_) | Value::Null) {
            self.error(
                tags.span,
                format!("`tags` should be a list, this is {}", tags.kind()),
            );
        }
        let mut found = Vec::with_capacity(tags.items().len());
        for tag in tags.items() {
            match tag.as_str().or(tag.as_number()) {
                Some(tag) => found.push(tag.to_owned()),
                None => self.error(
                    tag.span,
                    format!("a tag should be a string, this is {}", tag.kind()),
                ),
            }
        }
        found
    }

    fn flag(&mut self, node: &Node, key: &str) -> bool {
        let Some(found) = node.get(key) else {
            return false;
        };
        found.as_bool().unwrap_or_else(|| {
            self.warn(
                found.span,
                format!("`{key}` should be true or false, this is {}", found.kind()),
            );
            false
        })
    }
}

/// `200`, `2XX` or `default`.
fn is_status(key: &str) -> bool {
    key == "default"
        || matches!(
            key.as_bytes(),
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] | [b'1'..=b'5', b'X' | b'x', b'X' | b'x']
        )
}

/// Where the API keys stand that may satisfy `security`.
fn api_keys<'s>(
    schemes: &'s [(String, SecurityScheme)],
    security: &Security,
) -> Vec<(KeyLocation, &'s str)> {
    let requirements: &[Requirement] = match security {
        Security::Undeclared | Security::Public => &[],
        Security::AnyOf(requirements) => requirements,
    };
    let mut keys: Vec<(KeyLocation, &str)> = Vec::new();
    for (name, _) in requirements.iter().flat_map(|requirement| &requirement.0) {
        let scheme = schemes.iter().find(|(declared, _)| declared == name);
        if let Some((_, SecurityScheme::ApiKey { location, name })) = scheme
            && !keys.contains(&(*location, name.as_str()))
        {
            keys.push((*location, name));
        }
    }
    keys
}

fn text(node: &Node, key: &str) -> String {
    node.get(key)
        .and_then(Node::as_str)
        .unwrap_or_default()
        .to_owned()
}
