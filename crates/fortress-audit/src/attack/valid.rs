//! Valid requests, from the description's examples and schemas.
//!
//! How a value is written (`style`, `explode`, `encoding`) is found by asking the description's own
//! checks which of the ways it takes: there is one definition of what is valid, and it is theirs.

use fortress_spec::{
    Operation, Part, Policy, RequestParts, Segment, Violation, parameter::Location,
    schema::SchemaId,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Body, Request, plan::Subject};

/// A request in the parts that a description speaks of.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) method: String,
    pub(super) base: String,
    /// Name and encoded text of each path parameter.
    pub(super) path: Vec<(String, String)>,
    /// Name and encoded `name=value` text, which may be several pairs.
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) cookies: Vec<(String, String)>,
    pub(super) content_type: Option<String>,
    pub(super) body: Option<Vec<u8>>,
}

impl Draft {
    /// As it is sent.
    pub(super) fn request(&self, operation: &Operation) -> Request {
        let mut path = self.base.clone();
        for segment in &operation.template.segments {
            path.push('/');
            match segment {
                Segment::Literal(text) => path.push_str(text),
                Segment::Pattern(parts) => {
                    for part in parts {
                        match part {
                            Part::Literal(text) => path.push_str(text),
                            Part::Parameter { name, .. } => path.push_str(self.path_value(name)),
                        }
                    }
                }
            }
        }
        let mut request = Request::new(self.method.clone(), path);
        request.query = self.query_text();
        request.headers.clone_from(&self.headers);
        if !self.cookies.is_empty() {
            request = request.with("Cookie", self.cookie_text());
        }
        if let Some(kind) = &self.content_type {
            request = request.with("Content-Type", kind.clone());
        }
        request.body = self.body.clone().map(Body::plain);
        request
    }

    fn path_value(&self, name: &str) -> &str {
        self.path
            .iter()
            .find(|(declared, _)| declared == name)
            .map_or("1", |(_, text)| text.as_str())
    }

    fn query_text(&self) -> String {
        let pairs: Vec<&str> = self.query.iter().map(|(_, text)| text.as_str()).collect();
        pairs.join("&")
    }

    fn cookie_text(&self) -> String {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    /// What the description has against the parameters.
    pub(super) fn check_parameters(
        &self,
        subject: &Subject,
        operation: &Operation,
    ) -> Vec<Violation> {
        let mut headers = HeaderMap::new();
        let cookie = (!self.cookies.is_empty()).then(|| ("Cookie".to_owned(), self.cookie_text()));
        for (name, value) in self.headers.iter().chain(&cookie) {
            if let (Ok(name), Ok(value)) = (
                HeaderName::try_from(name.as_str()),
                HeaderValue::from_str(value),
            ) {
                headers.append(name, value);
            }
        }
        let path: Vec<(&str, &str)> = self
            .path
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let query = self.query_text();
        let parts = RequestParts {
            path_values: &path,
            query: (!query.is_empty()).then_some(query.as_str()),
            headers: &headers,
        };
        let mut found = Vec::new();
        operation.check_parameters(
            &subject.description.schemas,
            &parts,
            &subject.policy,
            &mut found,
        );
        found
    }

    /// What the description has against the body.
    pub(super) fn check_body(&self, subject: &Subject, operation: &Operation) -> Vec<Violation> {
        check_body(
            subject,
            operation,
            &subject.policy,
            self.content_type.as_deref(),
            self.body.as_deref().unwrap_or_default(),
        )
    }
}

/// Whether the description takes another body in the place of a request's.
pub(super) fn takes_body(
    subject: &Subject,
    operation: &Operation,
    request: &Request,
    body: &[u8],
) -> bool {
    let kind = request
        .headers
        .iter()
        .find(|(name, _)| name == "Content-Type");
    let kind = kind.map(|(_, value)| value.as_str());
    check_body(subject, operation, &subject.policy, kind, body).is_empty()
}

fn check_body(
    subject: &Subject,
    operation: &Operation,
    policy: &Policy,
    content_type: Option<&str>,
    body: &[u8],
) -> Vec<Violation> {
    let mut found = Vec::new();
    operation.check_body(
        &subject.description.schemas,
        content_type.map(str::as_bytes),
        body,
        policy,
        &mut found,
    );
    found
}

/// The base path of an operation's requests.
pub(super) fn base(subject: &Subject, operation: Option<&Operation>) -> String {
    let of_operation =
        operation.and_then(|operation| subject.description.base_paths_of(operation).first());
    subject
        .base_path
        .as_ref()
        .or(of_operation)
        .cloned()
        .unwrap_or_default()
}

/// With every parameter, and with the required ones alone, where that differs. Empty if nothing
/// valid could be made.
pub(super) fn drafts(subject: &Subject, operation: &Operation) -> Vec<Draft> {
    let mut found: Vec<Draft> = Vec::new();
    for required_only in [Optional::Included, Optional::LeftOut] {
        let Some(draft) = draft(subject, operation, required_only) else {
            continue;
        };
        let request = draft.request(operation);
        if !found
            .iter()
            .any(|other| other.request(operation) == request)
        {
            found.push(draft);
        }
    }
    found
}

/// The same, as requests.
pub(super) fn requests(subject: &Subject, operation: &Operation) -> Vec<Request> {
    drafts(subject, operation)
        .iter()
        .map(|draft| draft.request(operation))
        .collect()
}

/// What need not be there.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Optional {
    Included,
    LeftOut,
}

fn draft(subject: &Subject, operation: &Operation, optional: Optional) -> Option<Draft> {
    let mut draft = Draft {
        method: operation.method.to_string(),
        base: base(subject, Some(operation)),
        ..Draft::default()
    };
    for parameter in operation.parameters.iter() {
        let wanted = parameter.required
            || parameter.location == Location::Path
            || optional == Optional::Included;
        if wanted && let Some(value) = example(subject, parameter.schema, optional) {
            add(
                subject,
                operation,
                &mut draft,
                parameter.location,
                &parameter.name,
                &value,
            );
        }
    }
    // What no way of writing it makes valid is left out, one by one, if that helps.
    draft.query.retain(|(name, _)| !is_key(subject, name));
    if !draft.check_parameters(subject, operation).is_empty() {
        return None;
    }
    if let Some(body) = &operation.body
        && (body.required || optional == Optional::Included)
    {
        let written = write_body(subject, operation, optional);
        if written.is_none() && body.required {
            return None;
        }
        (draft.content_type, draft.body) = written.unzip();
    }
    Some(draft)
}

/// A value that the schema takes.
fn example(subject: &Subject, schema: SchemaId, optional: Optional) -> Option<Value> {
    let schemas = &subject.description.schemas;
    let text = match optional {
        Optional::Included => schemas.full_example(schema),
        Optional::LeftOut => schemas.example(schema),
    };
    serde_json::from_str(&text?).ok()
}

/// An API key's parameter is a credential, and none of ours.
fn is_key(subject: &Subject, name: &str) -> bool {
    subject.description.security_schemes.iter().any(|(_, scheme)| {
        matches!(scheme, fortress_spec::SecurityScheme::ApiKey { name: key, .. } if key == name)
    })
}

/// Adds a parameter in the first way of writing it that the description takes.
fn add(
    subject: &Subject,
    operation: &Operation,
    draft: &mut Draft,
    location: Location,
    name: &str,
    value: &Value,
) {
    let before = draft.check_parameters(subject, operation).len();
    let missing = |draft: &Draft| {
        draft
            .check_parameters(subject, operation)
            .iter()
            .filter(|violation| violation.reason != fortress_model::Reason::ParameterMissing)
            .count()
    };
    for text in written(location, name, value) {
        let mut tried = draft.clone();
        let list = match location {
            Location::Path => &mut tried.path,
            Location::Query => &mut tried.query,
            Location::Header => &mut tried.headers,
            Location::Cookie => &mut tried.cookies,
        };
        list.push((name.to_owned(), text));
        if missing(&tried) == 0 && tried.check_parameters(subject, operation).len() <= before {
            *draft = tried;
            return;
        }
    }
}

/// The ways of writing a value; of a query parameter with its name.
fn written(location: Location, name: &str, value: &Value) -> Vec<String> {
    let joined = |separator: &str| match value {
        Value::Array(items) => items
            .iter()
            .map(|item| encode(&text(item)))
            .collect::<Vec<_>>()
            .join(separator),
        Value::Object(members) => members
            .iter()
            .map(|(key, item)| format!("{}{separator}{}", encode(key), encode(&text(item))))
            .collect::<Vec<_>>()
            .join(separator),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => encode(&text(value)),
    };
    let json = value.to_string();
    let key = encode(name);
    match location {
        Location::Path => vec![
            joined(","),
            format!(".{}", joined(".")),
            format!(";{key}={}", joined(",")),
            encode(&json),
        ],
        Location::Header => vec![plain(value), json],
        Location::Cookie => vec![joined(","), encode(&json)],
        Location::Query => {
            let exploded = match value {
                Value::Array(items) => items
                    .iter()
                    .map(|item| format!("{key}={}", encode(&text(item))))
                    .collect::<Vec<_>>()
                    .join("&"),
                Value::Object(members) => members
                    .iter()
                    .map(|(name, item)| format!("{}={}", encode(name), encode(&text(item))))
                    .collect::<Vec<_>>()
                    .join("&"),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                    format!("{key}={}", joined(","))
                }
            };
            let mut ways = vec![exploded];
            ways.extend(
                [",", "%20", "%7C"].map(|separator| format!("{key}={}", joined(separator))),
            );
            if let Value::Object(members) = value {
                let pairs: Vec<String> = members
                    .iter()
                    .map(|(inner, item)| {
                        format!("{key}%5B{}%5D={}", encode(inner), encode(&text(item)))
                    })
                    .collect();
                ways.push(pairs.join("&"));
            }
            ways.push(format!("{key}={}", encode(&json)));
            ways
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Object(members) => members
            .iter()
            .map(|(key, item)| format!("{key},{}", text(item)))
            .collect::<Vec<_>>()
            .join(","),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text(value),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A body in the first declared media type of which a valid one can be made.
fn write_body(
    subject: &Subject,
    operation: &Operation,
    optional: Optional,
) -> Option<(String, Vec<u8>)> {
    let body = operation.body.as_ref()?;
    for media_type in body.media_types() {
        let example = media_type
            .schema
            .and_then(|schema| example(subject, schema, optional));
        let value = example.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        for (kind, bytes) in bodies(&media_type.name, &value) {
            if check_body(subject, operation, &subject.policy, Some(&kind), &bytes).is_empty() {
                return Some((kind, bytes));
            }
        }
    }
    None
}

fn bodies(name: &str, value: &Value) -> Vec<(String, Vec<u8>)> {
    // Ranges stand for one of their own.
    let name = match name {
        "*/*" | "application/*" => "application/json",
        "text/*" => "text/plain",
        "image/*" => "image/png",
        name => name,
    };
    let kind = name.to_owned();
    match name {
        "application/x-www-form-urlencoded" => vec![(kind, form(value).into_bytes())],
        "multipart/form-data" => {
            let boundary = "fortress-boundary";
            vec![(
                format!("{name}; boundary={boundary}"),
                multipart(value, boundary),
            )]
        }
        name if name.ends_with("/json") || name.ends_with("+json") => {
            vec![(kind, value.to_string().into_bytes())]
        }
        _ => vec![
            (kind.clone(), text(value).into_bytes()),
            (kind, b"fortress".to_vec()),
        ],
    }
}

fn form(value: &Value) -> String {
    let Value::Object(members) = value else {
        return String::new();
    };
    let mut pairs = Vec::new();
    for (name, item) in members {
        match item {
            Value::Array(items) => pairs.extend(
                items
                    .iter()
                    .map(|item| format!("{}={}", encode(name), encode(&text(item)))),
            ),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => {
                pairs.push(format!("{}={}", encode(name), encode(&text(item))));
            }
        }
    }
    pairs.join("&")
}

fn multipart(value: &Value, boundary: &str) -> Vec<u8> {
    let mut body = String::new();
    if let Value::Object(members) = value {
        for (name, item) in members {
            let kind = match item {
                Value::Object(_) | Value::Array(_) => "Content-Type: application/json\r\n",
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => "",
            };
            let name = name.replace('"', "%22");
            body.push_str(&format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n{kind}\r\n{}\r\n",
                text(item)
            ));
        }
    }
    body.push_str(&format!("--{boundary}--\r\n"));
    body.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_style_is_among_the_ways() {
        let query = |value: Value| written(Location::Query, "a b", &value);
        assert!(query(json!([1, "x&y"])).contains(&"a%20b=1&a%20b=x%26y".to_owned()));
        assert!(query(json!([1, 2])).contains(&"a%20b=1,2".to_owned()));
        assert!(query(json!({ "k": 1 })).contains(&"a%20b%5Bk%5D=1".to_owned()));
        assert!(written(Location::Path, "p", &json!([1, 2])).contains(&".1.2".to_owned()));
        assert!(written(Location::Path, "p", &json!(3)).contains(&";p=3".to_owned()));
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&json!({ "a": "x y", "b": [1, 2] })), "a=x%20y&b=1&b=2");
        let body = String::from_utf8(multipart(&json!({ "a": "x" }), "B")).unwrap();
        assert_eq!(
            body,
            "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--B--\r\n"
        );
    }
}
