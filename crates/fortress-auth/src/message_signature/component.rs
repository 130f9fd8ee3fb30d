//! What a signature covers: derived components and header fields of a request (RFC 9421,
//! section 2), by their identifiers, and the values that they have.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderName;

use super::{SignedRequest, combined};
use crate::{
    introspection::form_encode,
    structured::{self, Bare, Item, Member, Parameters},
};

/// A component of a request, written as a signature's input has it, without the quotes around its
/// name: `@method`, `content-digest`, `@query-param;name="id"`, `priority;key="u"`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Component(Source);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Source {
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// By its name, percent-encoded.
    QueryParam(Box<str>),
    Field(HeaderName, Form),
}

/// How a field's value is taken.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Form {
    /// All lines, joined.
    Combined,
    /// In its canonical form as a structured field (`sf`).
    Structured(Kind),
    /// One member of a dictionary (`key`).
    Key(Box<str>),
    /// Each line as a byte sequence (`bs`).
    Bytes,
}

/// The type of a structured field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Item,
    List,
    Dictionary,
}

/// Structured fields of requests; a signer and a verifier must agree on the type, so that of an
/// unknown field cannot be guessed.
const FIELDS: &[(&str, Kind)] = &[
    ("accept-signature", Kind::Dictionary),
    ("cdn-cache-control", Kind::Dictionary),
    ("client-cert", Kind::Item),
    ("client-cert-chain", Kind::List),
    ("content-digest", Kind::Dictionary),
    ("idempotency-key", Kind::Item),
    ("priority", Kind::Dictionary),
    ("repr-digest", Kind::Dictionary),
    ("signature", Kind::Dictionary),
    ("signature-input", Kind::Dictionary),
    ("want-content-digest", Kind::Dictionary),
    ("want-repr-digest", Kind::Dictionary),
];

impl FromStr for Component {
    type Err = String;

    /// # Errors
    /// What is wrong with it.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = match text.split_once(';') {
            Some((name, parameters)) => (name, format!(";{parameters}")),
            None => (text, String::new()),
        };
        let quoted = format!("\"{}\"{parameters}", name.trim_matches('"'));
        structured::item(&quoted)
            .and_then(|item| Self::of(&item))
            .map_err(|why| format!("`{text}` is not a component that can be signed: it {why}"))
    }
}

impl Component {
    /// The method and the whole target: what a signature must cover where nothing else is said.
    pub(super) fn whole_target() -> Vec<Self> {
        [
            Source::Method,
            Source::Authority,
            Source::Path,
            Source::Query,
        ]
        .map(Self)
        .into()
    }

    pub(super) fn of(item: &Item) -> Result<Self, &'static str> {
        let Bare::String(name) = &item.bare else {
            return Err("is not a string");
        };
        let source = match name.strip_prefix('@') {
            Some(derived) => derived_source(derived, &item.parameters)?,
            None => field_source(name, &item.parameters)?,
        };
        Ok(Self(source))
    }

    pub(super) fn is_field(&self, expected: &str) -> bool {
        match &self.0 {
            Source::Field(name, form) => name.as_str() == expected && !matches!(form, Form::Key(_)),
            Source::Method
            | Source::TargetUri
            | Source::Authority
            | Source::Scheme
            | Source::RequestTarget
            | Source::Path
            | Source::Query
            | Source::QueryParam(_) => false,
        }
    }

    /// Whether signing `self` fixes `other` too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        match &self.0 {
            Source::TargetUri => matches!(
                other.0,
                Source::Authority
                    | Source::Scheme
                    | Source::RequestTarget
                    | Source::Path
                    | Source::Query
                    | Source::QueryParam(_)
            ),
            Source::RequestTarget => {
                matches!(
                    other.0,
                    Source::Path | Source::Query | Source::QueryParam(_)
                )
            }
            Source::Query => matches!(other.0, Source::QueryParam(_)),
            Source::Field(name, form) => {
                !matches!(form, Form::Key(_))
                    && matches!(&other.0, Source::Field(other, _) if other == name)
            }
            Source::Method
            | Source::Authority
            | Source::Scheme
            | Source::Path
            | Source::QueryParam(_) => false,
        }
    }

    /// The value of this component in a request, for the signature base.
    pub(super) fn value(&self, request: &SignedRequest<'_>) -> Result<String, &'static str> {
        let path = if request.path.is_empty() {
            "/"
        } else {
            request.path
        };
        let target = || match request.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let scheme = request.scheme.to_ascii_lowercase();
        match &self.0 {
            Source::Method => Ok(request.method.to_owned()),
            Source::TargetUri => {
                let authority = authority(&scheme, request.authority);
                Ok(format!("{scheme}://{authority}{}", target()))
            }
            Source::Authority => Ok(authority(&scheme, request.authority)),
            Source::Scheme => Ok(scheme),
            Source::RequestTarget => Ok(target()),
            Source::Path => Ok(path.to_owned()),
            Source::Query => Ok(format!("?{}", request.query.unwrap_or_default())),
            Source::QueryParam(name) => query_param(request.query.unwrap_or_default(), name),
            Source::Field(name, form) => field_value(request, name, form),
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.0 {
            Source::Method => "@method",
            Source::TargetUri => "@target-uri",
            Source::Authority => "@authority",
            Source::Scheme => "@scheme",
            Source::RequestTarget => "@request-target",
            Source::Path => "@path",
            Source::Query => "@query",
            Source::QueryParam(name) => return write!(f, "@query-param;name={}", quoted(name)),
            Source::Field(name, form) => {
                f.write_str(name.as_str())?;
                return match form {
                    Form::Combined => Ok(()),
                    Form::Structured(_) => f.write_str(";sf"),
                    Form::Key(key) => write!(f, ";key={}", quoted(key)),
                    Form::Bytes => f.write_str(";bs"),
                };
            }
        };
        f.write_str(name)
    }
}

/// As a structured field's string.
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    let item = Item {
        bare: Bare::String(text.to_owned()),
        parameters: Parameters::default(),
    };
    structured::write_item(&mut quoted, &item);
    quoted
}

fn derived_source(name: &str, parameters: &Parameters) -> Result<Source, &'static str> {
    if name == "query-param" {
        return match parameters.0.as_slice() {
            [(key, Bare::String(name))] if key == "name" => {
                Ok(Source::QueryParam(name.as_str().into()))
            }
            _ => Err("needs a `name`, and nothing else"),
        };
    }
    if !parameters.0.is_empty() {
        return Err("has a parameter that is not supported");
    }
    match name {
        "method" => Ok(Source::Method),
        "target-uri" => Ok(Source::TargetUri),
        "authority" => Ok(Source::Authority),
        "scheme" => Ok(Source::Scheme),
        "request-target" => Ok(Source::RequestTarget),
        "path" => Ok(Source::Path),
        "query" => Ok(Source::Query),
        "status" => Err("belongs to a response"),
        _ => Err("is not known"),
    }
}

fn field_source(name: &str, parameters: &Parameters) -> Result<Source, &'static str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("is not in lower case");
    }
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is not a field's name")?;
    let mut form = Form::Combined;
    for (parameter, value) in &parameters.0 {
        let wanted = match (parameter.as_str(), value) {
            ("sf", Bare::Boolean(true)) => Form::Structured(kind(name)?),
            ("bs", Bare::Boolean(true)) => Form::Bytes,
            ("key", Bare::String(key)) => Form::Key(key.as_str().into()),
            ("req" | "tr", _) => return Err("is not of this request's header"),
            _ => return Err("has a parameter that is not supported"),
        };
        form = match (form, wanted) {
            (Form::Combined, wanted) => wanted,
            // RFC 9421, section 2.1.3: bytes are not parsed, the others are.
            (Form::Bytes, _) | (_, Form::Bytes) => return Err("has both `bs` and another form"),
            // The member of a dictionary is canonical anyway.
            (Form::Structured(_), key) | (key, _) => key,
        };
    }
    Ok(Source::Field(header, form))
}

fn kind(name: &str) -> Result<Kind, &'static str> {
    FIELDS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, kind)| *kind)
        .ok_or("has `sf`, and is not known to be a structured field")
}

/// Lower case, without the scheme's default port (RFC 9421, section 2.2.3).
fn authority(scheme: &str, authority: &str) -> String {
    let authority = authority.to_ascii_lowercase();
    let default = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => return authority,
    };
    match authority.strip_suffix(default) {
        Some(host) => host.to_owned(),
        None => authority,
    }
}

fn field_value(
    request: &SignedRequest<'_>,
    name: &HeaderName,
    form: &Form,
) -> Result<String, &'static str> {
    match form {
        Form::Combined => combined(request.fields, name),
        Form::Structured(kind) => canonical(*kind, &combined(request.fields, name)?),
        Form::Key(key) => {
            let whole = combined(request.fields, name)?;
            let members = structured::dictionary(&whole).map_err(|_| "is not a dictionary")?;
            let member = members
                .iter()
                .find(|(name, _)| **name == **key)
                .ok_or("has no such key")?;
            let mut value = String::new();
            structured::write_member(&mut value, &member.1);
            Ok(value)
        }
        Form::Bytes => {
            let lines: Vec<String> = request
                .fields
                .get_all(name)
                .iter()
                .map(|line| format!(":{}:", STANDARD.encode(line.as_bytes().trim_ascii())))
                .collect();
            if lines.is_empty() {
                return Err("is not in the request");
            }
            Ok(lines.join(", "))
        }
    }
}

fn canonical(kind: Kind, value: &str) -> Result<String, &'static str> {
    let malformed = |_| "is not the structured field that it should be";
    let mut written = String::new();
    match kind {
        Kind::Item => {
            structured::write_item(&mut written, &structured::item(value).map_err(malformed)?);
        }
        Kind::List => {
            let members: Vec<Member> = structured::list(value).map_err(malformed)?;
            structured::write_list(&mut written, &members);
        }
        Kind::Dictionary => {
            let members = structured::dictionary(value).map_err(malformed)?;
            structured::write_dictionary(&mut written, &members);
        }
    }
    Ok(written)
}

/// The one value of a query parameter, decoded as a form has it and encoded again (RFC 9421,
/// section 2.2.8).
fn query_param(query: &str, name: &str) -> Result<String, &'static str> {
    let mut found = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if reencoded(key)? == name && found.replace(value).is_some() {
            // Which of them the application takes is not known here.
            return Err("stands twice in the query");
        }
    }
    reencoded(found.ok_or("is not in the query")?)
}

fn reencoded(text: &str) -> Result<String, &'static str> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let byte = match first {
            b'+' => b' ',
            b'%' => {
                // A form's parser takes a lone `%` as it is; then two readers could disagree.
                let ([high, low], after) = rest.split_first_chunk().ok_or("is badly encoded")?;
                let byte = digit(*high)
                    .zip(digit(*low))
                    .map(|(high, low)| high << 4 | low);
                rest = after;
                byte.ok_or("is badly encoded")?
            }
            byte => byte,
        };
        decoded.push(byte);
    }
    let decoded = std::str::from_utf8(&decoded).map_err(|_| "is badly encoded")?;
    let mut encoded = String::with_capacity(text.len());
    form_encode(decoded, &mut encoded);
    Ok(encoded.replace('+', "%20"))
}
