//! What the gateway asks of an operation: may these parameters, this body, this response pass?
//!
//! Plain functions on borrowed data. Deliberately not here: decoding of `Content-Encoding`, sizes
//! and what a violation leads to.

use fortress_model::{
    Reason,
    config::{Cookies, RequestUndeclared, ResponseUndeclared},
};

use crate::{
    body,
    description::Operation,
    json::Document,
    parameter,
    schema::{self, FaultKind, MAX_FAULTS, Mark, Schemas, Verdict},
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
    /// Properties of one object.
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
    /// The parameters, by their place among those declared, whose value is a number, a boolean, a
    /// text of a strict format or a plain word of an `enum`: no attack fits into it. Means something
    /// only beside no violation.
    pub proven: Vec<u16>,
}

/// What checking a body leads to, beside violations.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BodyOutcome {
    /// The same of a JSON body: from the first byte of each such value to one past its last, without
    /// quotes, ascending.
    pub proven: Vec<(u32, u32)>,
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

impl Operation {
    /// Checks path, query, header and cookie parameters. At most 16 violations are added to `found`.
    pub fn check_parameters(
        &self,
        schemas: &Schemas,
        request: &RequestParts<'_>,
        policy: &Policy,
        found: &mut Vec<Violation>,
    ) -> ParameterOutcome {
        parameter::check(&self.parameters, schemas, request, policy, found)
    }

    /// Checks a request body, already decoded from its `Content-Encoding`; empty if there is none.
    /// `content_type` is the value of the one `Content-Type` field.
    pub fn check_body(
        &self,
        schemas: &Schemas,
        content_type: Option<&[u8]>,
        content: &[u8],
        policy: &Policy,
        found: &mut Vec<Violation>,
    ) -> BodyOutcome {
        body::check_request(
            self.body.as_ref(),
            schemas,
            content_type,
            content,
            policy,
            found,
        )
    }

    /// Checks a response, already decoded from its `Content-Encoding`. A body of 204, 304 and of any
    /// response to `HEAD` is none.
    pub fn check_response(
        &self,
        schemas: &Schemas,
        status: u16,
        content_type: Option<&[u8]>,
        content: &[u8],
        undeclared: ResponseUndeclared,
        found: &mut Vec<Violation>,
    ) -> ResponseOutcome {
        let response = body::Response {
            status,
            content_type,
            content,
            undeclared,
        };
        body::check_response(&self.responses, schemas, &response, found)
    }

    /// Whether a response is declared as something that is not held back for checking: binary
    /// content, or a stream of events or lines.
    pub fn response_streams(&self, status: u16, content_type: Option<&[u8]>) -> bool {
        self.responses.streams(status, content_type)
    }
}

/// Which reasons the faults of a value lead to.
pub(crate) struct Reasons {
    pub(crate) invalid: Reason,
    pub(crate) undeclared: Reason,
    /// `None` where `readOnly` means nothing.
    pub(crate) read_only: Option<Reason>,
    pub(crate) too_complex: Reason,
}

/// Whether no more violations are collected.
pub(crate) fn is_full(found: &[Violation]) -> bool {
    found.len() >= MAX_FAULTS
}

/// Adds what a verdict says about a request's value: first what the client may not set at all, then
/// what does not match.
pub(crate) fn report(
    document: &Document<'_>,
    verdict: &Verdict,
    undeclared: RequestUndeclared,
    prefix: &dyn Fn() -> String,
    reasons: &Reasons,
    found: &mut Vec<Violation>,
) {
    let mut add = |reason: Reason, location: &dyn Fn() -> String, detail: &str| {
        // Finding a location costs a look through the whole, so it waits until it is needed.
        if !is_full(found) {
            found.push(Violation {
                reason,
                location: format!("{}{}", prefix(), location()),
                detail: detail.to_owned(),
            });
        }
    };
    if let Some(reason) = reasons.read_only {
        for mark in &verdict.trail {
            if let Mark::ReadOnly(index) = mark {
                let location = || schema::location(document, *index);
                add(reason, &location, "only the server may set this property");
            }
        }
    }
    // Without any declared object there is nothing to look for; the usual case for parameters.
    if undeclared == RequestUndeclared::Refuse && !verdict.incomplete && document.member_count() > 0
    {
        for index in schema::undeclared(document, &verdict.trail) {
            let location = || schema::location(document, index);
            add(
                reasons.undeclared,
                &location,
                "the property is not declared",
            );
        }
    }
    for fault in &verdict.faults {
        let reason = match fault.kind {
            FaultKind::Invalid => reasons.invalid,
            FaultKind::Undeclared => reasons.undeclared,
            FaultKind::TooComplex => reasons.too_complex,
        };
        add(reason, &|| fault.location.clone(), &fault.detail);
    }
}
