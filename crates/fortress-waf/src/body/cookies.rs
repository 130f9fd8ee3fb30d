//! The `Cookie` field as ModSecurity reads it in its format 0: pairs between semicolons, trimmed,
//! not decoded. Quotes belong to the value, since servers differ on whether they are stripped.

use memchr::memchr;

use super::{Argument, Fault, Limits};
use crate::store::{Store, Text};

/// Adds the cookies of one field. One without `=` is a name with an empty value.
pub(crate) fn cookies(
    store: &Store,
    input: Text,
    limits: &Limits,
    out: &mut Vec<Argument>,
) -> Option<Fault> {
    let field = store.get(input);
    let mut start = 0;
    while start < field.len() {
        let rest = field.get(start..).unwrap_or_default();
        let length = memchr(b';', rest).unwrap_or(rest.len());
        let end = start + length;
        let pair = rest.get(..length).unwrap_or_default();
        if !pair.trim_ascii().is_empty() {
            if out.len() >= limits.arguments {
                return Some(Fault {
                    processor: "COOKIES",
                    what: "more cookies than the limit",
                    at: start,
                });
            }
            let equals = memchr(b'=', pair).map_or(end, |at| start + at);
            out.push(Argument {
                name: trimmed(store, input.part(start, equals)),
                value: trimmed(store, input.part(equals + 1, end)),
            });
        }
        start = end + 1;
    }
    None
}

/// Without white space at its ends.
pub(super) fn trimmed(store: &Store, text: Text) -> Text {
    let bytes = store.get(text);
    let end = bytes.trim_ascii_end().len();
    text.part(bytes.len() - bytes.trim_ascii_start().len(), end)
}
