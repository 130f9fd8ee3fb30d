//! What an OpenAPI description says, normalised once and immutable from then on.
//!
//! Deliberately not here: how a description is read (`load`), how a request is judged by it
//! (`check`), and anything of the file's own form: references, versions, inheritance of `security`,
//! `servers` and `parameters` are all resolved before one of these exists.

use std::{fmt, path::PathBuf, sync::Arc};

use fortress_model::document::{Node, Span};

use crate::{
    body::{RequestBody, Responses},
    parameter::Parameters,
    schema::Schemas,
};

/// A whole API, as its description declares it.
#[derive(Debug)]
pub struct ApiDescription {
    /// `info.title`.
    pub title: String,
    /// `info.version`: the API's version, not OpenAPI's.
    pub version: String,
    /// Which rules its schemas follow. A converted Swagger 2.0 document follows those of 3.0.
    pub dialect: Dialect,
    /// The paths of `servers`, with variables expanded. Each is empty or begins with `/`, none ends
    /// with `/`; percent-encoding is normalised. Never empty; without `servers` it is `[""]`.
    pub base_paths: Vec<String>,
    /// All operations, in the file's order. No two have the same method and the same
    /// [shape](PathTemplate::shape), unless their own `servers` keep them apart.
    pub operations: Vec<Operation>,
    /// All schemas of all operations.
    pub schemas: Arc<Schemas>,
    /// `components.securitySchemes`, in the file's order.
    pub security_schemes: Vec<(String, SecurityScheme)>,
    /// `x-fortress` of the document.
    pub extension: Option<Node>,
    /// Every file that was read, the description itself first.
    pub files: Vec<PathBuf>,
}

impl ApiDescription {
    /// The operation with this id.
    pub fn operation(&self, id: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|operation| &*operation.id == id)
    }

    /// The declaration of a security scheme.
    pub fn security_scheme(&self, name: &str) -> Option<&SecurityScheme> {
        self.security_schemes
            .iter()
            .find_map(|(declared, scheme)| (declared == name).then_some(scheme))
    }

    /// Where requests for this operation may begin: its own servers' base paths, else the document's.
    pub fn base_paths_of<'a>(&'a self, operation: &'a Operation) -> &'a [String] {
        operation.base_paths.as_deref().unwrap_or(&self.base_paths)
    }
}

/// The version of OpenAPI whose rules hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Dialect {
    /// OpenAPI 3.0: its own subset of JSON Schema (`nullable`, boolean `exclusiveMinimum`, siblings
    /// of `$ref` are ignored).
    V30,
    /// OpenAPI 3.1: JSON Schema 2020-12 with the OAS base vocabulary.
    V31,
}

/// One method of one path.
#[derive(Debug)]
pub struct Operation {
    /// `operationId`, else `METHOD /template`. Unique within the description.
    pub id: Arc<str>,
    /// The method.
    pub method: http::Method,
    /// The path, without the servers' base path.
    pub template: PathTemplate,
    /// `tags`.
    pub tags: Vec<String>,
    /// `summary`, or nothing.
    pub summary: String,
    /// `deprecated: true`.
    pub deprecated: bool,
    /// The path's and the operation's parameters together, compiled.
    pub parameters: Parameters,
    /// What may be sent; `None` where no request body is declared.
    pub body: Option<RequestBody>,
    /// What may come back.
    pub responses: Responses,
    /// Who may call it.
    pub security: Security,
    /// Base paths of the path's or the operation's own `servers`, in the form of
    /// [`ApiDescription::base_paths`].
    pub base_paths: Option<Vec<String>>,
    /// `x-fortress`: the path's, then the operation's. The later one wins.
    pub extension: Vec<Node>,
    /// The key of the method in the file.
    pub span: Span,
}

/// What an operation's `security`, or else the document's, demands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Security {
    /// Neither says anything. Nobody decided, which is not the same as public.
    Undeclared,
    /// An explicit `security: []`.
    Public,
    /// One of these suffices. Never empty.
    AnyOf(Vec<Requirement>),
}

/// Security schemes that must all be satisfied; without any, the request may be anonymous (`{}`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Requirement(
    /// Names of declared schemes, each with the scopes (or, in 3.1, roles) that it demands.
    pub Vec<(String, Vec<String>)>,
);

impl Requirement {
    /// Whether a request without any credential satisfies this.
    pub fn is_anonymous(&self) -> bool {
        self.0.is_empty()
    }
}

/// How callers authenticate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecurityScheme {
    /// `type: http`, `scheme: bearer` (RFC 6750).
    Bearer {
        /// `bearerFormat`, such as `JWT`: a hint for people.
        format: Option<String>,
    },
    /// `type: http`, `scheme: basic` (RFC 7617).
    Basic,
    /// `type: http` with another scheme of the IANA registry, in lower case.
    HttpOther(String),
    /// `type: apiKey`.
    ApiKey {
        /// Where the key stands.
        location: KeyLocation,
        /// The name of the header, query parameter or cookie.
        name: String,
    },
    /// `type: oauth2` (RFC 6749).
    OAuth2 {
        /// The scopes that any of its flows declares, sorted, each once.
        scopes: Vec<String>,
    },
    /// `type: openIdConnect`.
    OpenIdConnect {
        /// `openIdConnectUrl`.
        url: String,
    },
    /// `type: mutualTLS` (3.1).
    MutualTls,
}

/// Where an API key stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyLocation {
    /// A query parameter.
    Query,
    /// A header field.
    Header,
    /// A cookie.
    Cookie,
}

/// The path of an operation with its parameters. Matching is the router's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PathTemplate {
    /// As written.
    pub text: String,
    /// What stands between the slashes. `/` is one empty literal; a slash at the end makes the last
    /// segment an empty literal, since `/a` and `/a/` are different paths.
    pub segments: Vec<Segment>,
}

/// What stands between two slashes of a [`PathTemplate`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Segment {
    /// Exactly this text, with its percent-encoding normalised: unreserved characters stand for
    /// themselves, all that RFC 3986 does not allow in a segment is encoded, in upper case.
    Literal(Box<str>),
    /// At least one parameter, with or without literals around it: `{id}`, `{name}.{ext}`,
    /// `{base}...{head}`. Two parameters never touch.
    Pattern(Vec<Part>),
}

/// A piece of a [`Segment::Pattern`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Part {
    /// Exactly this text, normalised like [`Segment::Literal`]; not empty.
    Literal(Box<str>),
    /// At least one character.
    Parameter {
        /// The declared path parameter.
        name: Arc<str>,
        /// Whether its value may contain slashes, and so spans one or more segments: the parameter
        /// is marked `x-multi-segment: true`, or written as `{name+}`, `{+name}` or `{name*}`.
        /// It then is the only part of its segment.
        spans_segments: bool,
    },
}

impl PathTemplate {
    /// The names of its parameters, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.segments.iter().flat_map(|segment| {
            let parts: &[Part] = match segment {
                Segment::Literal(_) => &[],
                Segment::Pattern(parts) => parts,
            };
            parts.iter().filter_map(|part| match part {
                Part::Literal(_) => None,
                Part::Parameter { name, .. } => Some(name),
            })
        })
    }

    /// The template with its parameters' names left out: equal for templates that match the same
    /// paths.
    pub fn shape(&self) -> String {
        let mut shape = String::with_capacity(self.text.len());
        for segment in &self.segments {
            shape.push('/');
            match segment {
                Segment::Literal(text) => shape.push_str(text),
                Segment::Pattern(parts) => {
                    for part in parts {
                        match part {
                            Part::Literal(text) => shape.push_str(text),
                            Part::Parameter {
                                spans_segments: false,
                                ..
                            } => shape.push_str("{}"),
                            Part::Parameter {
                                spans_segments: true,
                                ..
                            } => shape.push_str("{+}"),
                        }
                    }
                }
            }
        }
        shape
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
