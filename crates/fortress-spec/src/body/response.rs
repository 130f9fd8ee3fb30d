//! Checks one response, and leaves out what it should not show.
//!
//! Undeclared and `writeOnly` properties are cut out of the original bytes. What a schema forbids by
//! `additionalProperties: false` is undeclared too, so it is cut rather than taken for a breach; the
//! result is then checked again, strictly, before it may pass.

use fortress_model::{
    Reason,
    config::{RequestUndeclared, ResponseUndeclared},
};

use super::{Content, MediaType, Responses, choose, request::media_type};
use crate::{
    check::{ResponseOutcome, Violation, is_full},
    json::{self, Document, Limits, MAX_DEPTH},
    schema::{self, Fault, FaultKind, Mark, Rules, SchemaId, Schemas, Side, Verdict},
};

/// A response to check.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) content: &'a [u8],
    pub(crate) undeclared: ResponseUndeclared,
}

/// Bodies of responses are bounded in bytes; only nesting needs a bound of its own.
const LIMITS: Limits = Limits {
    depth: MAX_DEPTH,
    properties: usize::MAX,
    items: usize::MAX,
};

/// See [`crate::Operation::check_response`].
pub(crate) fn check(
    declared: &Responses,
    schemas: &Schemas,
    response: &Response<'_>,
    found: &mut Vec<Violation>,
) -> ResponseOutcome {
    // `304` says that the `200` which the client holds is still right, and carries nothing.
    let not_modified = response.status == 304 && declared.media_types(200).is_some();
    let Some(media_types) = declared.media_types(response.status) else {
        if not_modified {
            return ResponseOutcome::Unchanged;
        }
        return undeclared(found, "the status is not declared");
    };
    let never = matches!(response.status, 100..=199 | 204 | 205 | 304);
    if never || response.content.is_empty() {
        return ResponseOutcome::Unchanged;
    }
    if media_types.is_empty() {
        return match response.undeclared {
            ResponseUndeclared::Drop => ResponseOutcome::Trimmed {
                body: Vec::new(),
                dropped: vec!["response".to_owned()],
            },
            ResponseUndeclared::Refuse => undeclared(found, "the response declares no content"),
            ResponseUndeclared::Allow => {
                ResponseOutcome::NotChecked("a body where no content is declared")
            }
        };
    }
    let Ok(message) = media_type(response.content_type) else {
        return undeclared(found, "the media type is missing or malformed");
    };
    let Some(media_type) = choose(media_types, &message) else {
        return undeclared(found, "the media type is not declared");
    };
    match message.content() {
        Content::Json => json_body(media_type, schemas, response, found),
        Content::Text => text(media_type, schemas, response, found),
        Content::Stream => ResponseOutcome::NotChecked("a stream of events"),
        Content::Binary => ResponseOutcome::NotChecked("binary content"),
        Content::Form | Content::Multipart => ResponseOutcome::NotChecked("a form"),
    }
}

fn undeclared(found: &mut Vec<Violation>, detail: &str) -> ResponseOutcome {
    found.push(Violation {
        reason: Reason::ResponseUndeclared,
        location: "response".to_owned(),
        detail: detail.to_owned(),
    });
    ResponseOutcome::Unchanged
}

fn invalid(found: &mut Vec<Violation>, location: &str, detail: &str) {
    refuse(found, Reason::ResponseInvalid, location, detail);
}

fn refuse(found: &mut Vec<Violation>, reason: Reason, location: &str, detail: &str) {
    if !is_full(found) {
        found.push(Violation {
            reason,
            location: format!("response{location}"),
            detail: detail.to_owned(),
        });
    }
}

/// Text that is not UTF-8 passes: its charset is between the upstream and the client.
fn text(
    media_type: &MediaType,
    schemas: &Schemas,
    response: &Response<'_>,
    found: &mut Vec<Violation>,
) -> ResponseOutcome {
    let (Some(schema), Ok(text)) = (media_type.schema, std::str::from_utf8(response.content))
    else {
        return ResponseOutcome::NotChecked("text without a schema");
    };
    if !schemas.types(schema).has(schema::Types::STRING) {
        return ResponseOutcome::NotChecked("text that is not a string");
    }
    let raw = crate::parameter::value::Raw::Text(text.into());
    let (_, verdict) =
        crate::parameter::value::judge(schemas, schema, &raw, RequestUndeclared::Allow);
    for fault in verdict.faults {
        invalid(found, &fault.location, &fault.detail);
    }
    ResponseOutcome::Unchanged
}

fn json_body(
    media_type: &MediaType,
    schemas: &Schemas,
    response: &Response<'_>,
    found: &mut Vec<Violation>,
) -> ResponseOutcome {
    let document = match json::read(response.content, &LIMITS) {
        Ok(document) => document,
        Err(error) => {
            invalid(found, "", &error.detail);
            return ResponseOutcome::Unchanged;
        }
    };
    let Some(schema) = media_type.schema else {
        return ResponseOutcome::NotChecked("JSON without a schema");
    };
    match response.undeclared {
        ResponseUndeclared::Drop => dropping(schemas, schema, &document, response.content, found),
        ResponseUndeclared::Refuse | ResponseUndeclared::Allow => {
            let lenience = match response.undeclared {
                ResponseUndeclared::Allow => Lenience::Plain,
                ResponseUndeclared::Drop | ResponseUndeclared::Refuse => Lenience::Strict,
            };
            let verdict = judge(schemas, schema, &document, lenience);
            faults(&verdict.faults, response.undeclared, found);
            for mark in &verdict.trail {
                // Each location costs a look through the whole.
                if is_full(found) {
                    break;
                }
                if let Mark::WriteOnly(index) = mark {
                    let location = schema::location(&document, *index);
                    invalid(
                        found,
                        &location,
                        "the property is not for the client to see",
                    );
                }
            }
            if response.undeclared == ResponseUndeclared::Refuse && !verdict.incomplete {
                for index in schema::undeclared(&document, &verdict.trail) {
                    if is_full(found) {
                        break;
                    }
                    let location = schema::location(&document, index);
                    refuse(
                        found,
                        Reason::ResponseUndeclared,
                        &location,
                        "the property is not declared",
                    );
                }
            }
            ResponseOutcome::Unchanged
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Lenience {
    /// JSON Schema's verdict.
    Plain,
    /// The same, with branches of `oneOf` taken as closed.
    Strict,
    /// What will be dropped is no fault.
    Lenient,
}

fn judge(
    schemas: &Schemas,
    schema: SchemaId,
    document: &Document<'_>,
    lenience: Lenience,
) -> Verdict {
    let rules = Rules {
        side: Side::Response,
        closed_branches: lenience != Lenience::Plain,
        lenient: lenience == Lenience::Lenient,
    };
    schemas.judge(schema, document, rules)
}

/// What a schema forbids is undeclared where that refuses an answer; else it breaks the schema.
fn faults(faults: &[Fault], undeclared: ResponseUndeclared, found: &mut Vec<Violation>) {
    let refuses = undeclared == ResponseUndeclared::Refuse;
    for fault in faults {
        let reason = if refuses && fault.kind == FaultKind::Undeclared {
            Reason::ResponseUndeclared
        } else {
            Reason::ResponseInvalid
        };
        refuse(found, reason, &fault.location, &fault.detail);
    }
}

/// Rounds of cutting: leaving something out may change which branch holds, and so what is declared.
const MAX_ROUNDS: usize = 4;

fn dropping(
    schemas: &Schemas,
    schema: SchemaId,
    document: &Document<'_>,
    content: &[u8],
    found: &mut Vec<Violation>,
) -> ResponseOutcome {
    let verdict = judge(schemas, schema, document, Lenience::Strict);
    if verdict.faults.is_empty() && to_drop(document, &verdict).is_empty() {
        return ResponseOutcome::Unchanged;
    }
    let mut bytes = content.to_vec();
    let mut dropped = Vec::new();
    for _ in 0..MAX_ROUNDS {
        let next = {
            let Ok(document) = json::read(&bytes, &LIMITS) else {
                break;
            };
            let strict = judge(schemas, schema, &document, Lenience::Strict);
            let strict_drop = to_drop(&document, &strict);
            if strict.faults.is_empty() && strict_drop.is_empty() {
                None
            } else {
                let drop = if strict.faults.is_empty() {
                    strict_drop
                } else {
                    let lenient = judge(schemas, schema, &document, Lenience::Lenient);
                    let drop = to_drop(&document, &lenient);
                    if !lenient.faults.is_empty() || drop.is_empty() {
                        let why = if lenient.faults.is_empty() {
                            &strict.faults
                        } else {
                            &lenient.faults
                        };
                        faults(why, ResponseUndeclared::Drop, found);
                        return ResponseOutcome::Unchanged;
                    }
                    drop
                };
                for index in drop
                    .iter()
                    .take(schema::MAX_FAULTS.saturating_sub(dropped.len()))
                {
                    dropped.push(format!("response{}", schema::location(&document, *index)));
                }
                Some(json::without(&bytes, &document, &|index| {
                    drop.binary_search(&index).is_ok()
                }))
            }
        };
        match next {
            None => {
                return ResponseOutcome::Trimmed {
                    body: bytes,
                    dropped,
                };
            }
            Some(trimmed) => bytes = trimmed,
        }
    }
    invalid(
        found,
        "",
        "leaving out undeclared properties does not make it match",
    );
    ResponseOutcome::Unchanged
}

/// Undeclared, forbidden and `writeOnly` members. Ascending.
fn to_drop(document: &Document<'_>, verdict: &Verdict) -> Vec<u32> {
    let mut drop = if verdict.incomplete {
        Vec::new()
    } else {
        schema::undeclared(document, &verdict.trail)
    };
    for mark in &verdict.trail {
        if let Mark::Forbidden(index) | Mark::WriteOnly(index) = mark {
            drop.push(*index);
        }
    }
    drop.sort_unstable();
    drop.dedup();
    drop
}
