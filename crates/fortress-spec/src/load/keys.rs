//! The keys that each object of OpenAPI may have, to find those that were mistyped: a `parametres`
//! that is silently ignored would leave an operation without its checks.

use fortress_model::{diagnostic::Diagnostic, document::Node};

pub(super) const DOCUMENT: &[&str] = &[
    "openapi",
    "info",
    "jsonSchemaDialect",
    "servers",
    "paths",
    "webhooks",
    "components",
    "security",
    "tags",
    "externalDocs",
    "$self",
];
pub(super) const INFO: &[&str] = &[
    "title",
    "summary",
    "description",
    "termsOfService",
    "contact",
    "license",
    "version",
];
pub(super) const COMPONENTS: &[&str] = &[
    "schemas",
    "responses",
    "parameters",
    "examples",
    "requestBodies",
    "headers",
    "securitySchemes",
    "links",
    "callbacks",
    "pathItems",
    "mediaTypes",
];
pub(super) const METHODS: &[&str] = &[
    "get", "put", "post", "delete", "options", "head", "patch", "trace",
];
pub(super) const PATH_ITEM: &[&str] = &[
    "$ref",
    "summary",
    "description",
    "servers",
    "parameters",
    "get",
    "put",
    "post",
    "delete",
    "options",
    "head",
    "patch",
    "trace",
    "query",
    "additionalOperations",
];
pub(super) const OPERATION: &[&str] = &[
    "tags",
    "summary",
    "description",
    "externalDocs",
    "operationId",
    "parameters",
    "requestBody",
    "responses",
    "callbacks",
    "deprecated",
    "security",
    "servers",
];
pub(super) const PARAMETER: &[&str] = &[
    "name",
    "in",
    "description",
    "required",
    "deprecated",
    "allowEmptyValue",
    "style",
    "explode",
    "allowReserved",
    "schema",
    "example",
    "examples",
    "content",
];
pub(super) const REQUEST_BODY: &[&str] = &["description", "content", "required"];
pub(super) const MEDIA_TYPE: &[&str] = &[
    "schema",
    "itemSchema",
    "example",
    "examples",
    "encoding",
    "prefixEncoding",
    "itemEncoding",
];
pub(super) const RESPONSE: &[&str] = &["summary", "description", "headers", "content", "links"];
pub(super) const SECURITY_SCHEME: &[&str] = &[
    "type",
    "description",
    "name",
    "in",
    "scheme",
    "bearerFormat",
    "flows",
    "openIdConnectUrl",
    "oauth2MetadataUrl",
    "deprecated",
];
pub(super) const FLOW: &[&str] = &[
    "authorizationUrl",
    "deviceAuthorizationUrl",
    "tokenUrl",
    "refreshUrl",
    "scopes",
];
pub(super) const SERVER: &[&str] = &["url", "description", "variables", "name"];
pub(super) const SERVER_VARIABLE: &[&str] = &["enum", "default", "description"];

/// Warns of each key of `node` that is not one of `known` but looks like one. Keys that begin with
/// `x-` are extensions, and keys that resemble nothing are other tools' own.
pub(super) fn check_keys(node: &Node, known: &[&str], diagnostics: &mut Vec<Diagnostic>) {
    for member in node.members() {
        let key = &*member.key;
        if key.starts_with("x-") || known.contains(&key) {
            continue;
        }
        if let Some(meant) = closest(key, known.iter().copied())
            && node.get(meant).is_none()
        {
            diagnostics.push(
                Diagnostic::warning(member.key_span, format!("unknown key `{key}` is ignored"))
                    .help(format!("did you mean `{meant}`?")),
            );
        }
    }
}

/// The candidate that `text` is most likely a slip of, if any is near enough.
pub(super) fn closest<'c>(
    text: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // The comparison is quadratic in the length; no key that is meant is this long.
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let folded = text.to_ascii_lowercase().replace(['_', '-'], "");
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let distance = strsim::osa_distance(
                &folded,
                &candidate.to_ascii_lowercase().replace(['_', '-'], ""),
            );
            let near = 1.max(candidate.len() / 4);
            (distance <= near && candidate.len() > 1).then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(closest(text, OPERATION.iter().copied()), expect);
    }

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        check("parametres", Some("parameters"));
        check("Parameters", Some("parameters"));
        check("request_body", Some("requestBody"));
        check("operationID", Some("operationId"));
        check("securty", Some("security"));
        check("tag", Some("tags"));
        check("custom", None);
        check("", None);
        check(&"security".repeat(1_000), None);
    }
}
