//! Responses of 2.0, whose media types stand in `produces`.

use fortress_model::document::{Member, Node, Span, Value};

use super::{At, Conversion, entry, object, with_value};

impl<'d> Conversion<'_, 'd> {
    /// The `responses` of an operation that answers in the media types `produces`.
    pub(super) fn responses(&mut self, responses: &At<'d>, produces: &[(Span, &str)]) -> Node {
        if !matches!(responses.node().value, Value::Object(_)) {
            return responses.node().clone();
        }
        let mut members = Vec::new();
        for member in responses.node().members() {
            if member.key.starts_with("x-") {
                members.push(member.clone());
                continue;
            }
            let found = responses.get(&member.key);
            if let Some(response) = found.and_then(|response| self.follow(response)) {
                members.push(with_value(member, self.response(&response, produces)));
            }
        }
        object(responses.node().span, members)
    }

    fn response(&mut self, response: &At<'d>, produces: &[(Span, &str)]) -> Node {
        let node = response.node();
        if !matches!(node.value, Value::Object(_)) {
            return node.clone();
        }
        let mut members: Vec<Member> = node.member("description").cloned().into_iter().collect();
        if let Some(headers) = node.member("headers") {
            let converted = headers.value.members().iter().map(|header| {
                let schema = self.parameter_schema(&header.value);
                let schema = schema.map(|schema| entry("schema", schema));
                let description = header.value.member("description").cloned();
                let members = description.into_iter().chain(schema).collect();
                with_value(header, object(header.value.span, members))
            });
            let converted = converted.collect();
            members.push(with_value(headers, object(headers.value.span, converted)));
        }
        if let Some(schema) = response.get("schema") {
            let media_type = object(
                schema.node().span,
                vec![entry("schema", schema.reference())],
            );
            // Without `produces` nothing is said about the media type, and so it may be any.
            let any = [(schema.node().span, "*/*")];
            let types = if produces.is_empty() {
                &any[..]
            } else {
                produces
            };
            let content: Vec<Member> = types
                .iter()
                .map(|(span, name)| Member {
                    key: (*name).into(),
                    key_span: *span,
                    value: media_type.clone(),
                })
                .collect();
            members.push(entry("content", object(schema.node().span, content)));
        }
        object(node.span, members)
    }
}
