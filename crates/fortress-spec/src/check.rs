//! What the gateway asks of an operation: may these parameters, this body, this response pass?
//!
//! Plain functions on borrowed data. Deliberately not here: decoding of `Content-Encoding`, sizes
//! and what a violation leads to.

use fortress_model::{
    Reason,
    config::{Cookies, RequestUndeclared},
};

/// What is refused beside violations of the schemas, and the bounds of a body.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Undeclared query parameters and properties.
    pub undeclared: RequestUndeclared,
    /// Undeclared cookies.
    pub cookies: Cookies,
    /// Nesting of a body or `deepObject` parameter.
    pub depth: usize,
    /// Properties of a body or `deepObject` parameter, over all its objects.
    pub properties: usize,
    /// Items of one array.
    pub items: usize,
    /// Parts of a multipart body, and parameters of a query or form.
    pub parts: usize,
}

/// One thing in which a message breaks its contract.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// The refusal that it leads to.
    pub reason: Reason,
    /// `query.limit`, `path.id`, `header.X-A`, `cookie.sid`, `body.items[3].name`.
    pub location: String,
    /// What was expected; never the client's value.
    pub detail: String,
}

/// A request as far as parameters go.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    /// Name and text of each path parameter; the text is normalised, and still percent-encoded
    /// where it has to be.
    pub path_values: &'a [(&'a str, &'a str)],
    /// The query as it came, without `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a http::HeaderMap,
}

/// What checking the parameters leads to, beside violations.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ParameterOutcome {
    /// What the upstream gets instead of all `Cookie` fields; empty if no cookie is left.
    pub cookie: Option<String>,
}

/// What checking a response leads to, beside violations.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ResponseOutcome {
    /// It passes as it is.
    Unchanged,
    /// It passes as these bytes.
    Trimmed {
        /// The body without the undeclared properties.
        body: Vec<u8>,
        /// Their locations, at most 16.
        dropped: Vec<String>,
    },
    /// It passes, but nothing can be said about its content.
    NotChecked(&'static str),
}
