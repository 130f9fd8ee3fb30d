//! Leaving members out of a JSON text without writing it anew: every byte that stays is the one that
//! came, so numbers, escapes and spacing reach the client as the upstream wrote them.

use super::{Document, Kind, Member, Range, Value};

/// The text without the members for which `drop` holds (by their index over the document). What is
/// inside a dropped member goes with it.
pub(crate) fn without(text: &[u8], document: &Document<'_>, drop: &dyn Fn(u32) -> bool) -> Vec<u8> {
    let mut cuts = Vec::new();
    collect(document, document.root(), drop, &mut cuts);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in cuts {
        out.extend_from_slice(text.get(at..start).unwrap_or(&[]));
        at = end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or(&[]));
    out
}

/// The stretches to cut, in the text's order. Recursion is bounded by the reader's depth.
fn collect(
    document: &Document<'_>,
    value: &Value<'_>,
    drop: &dyn Fn(u32) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    match &value.kind {
        Kind::Array(range) => {
            for item in document.items(*range) {
                collect(document, item, drop, cuts);
            }
        }
        Kind::Object(range) => members(document, *range, drop, cuts),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) => {}
    }
}

fn members(
    document: &Document<'_>,
    range: Range,
    drop: &dyn Fn(u32) -> bool,
    cuts: &mut Vec<(usize, usize)>,
) {
    let members = document.members(range);
    let mut previous: Option<&Member<'_>> = None;
    let mut kept = false;
    let mut following = members.iter().skip(1);
    for (index, member) in (range.start..).zip(members) {
        let next = following.next();
        if !drop(index) {
            kept = true;
            collect(document, &member.value, drop, cuts);
        } else if let (true, Some(previous)) = (kept, previous) {
            // Behind one that stays: the comma before goes.
            cuts.push((offset(previous.value.end), offset(member.value.end)));
        } else {
            // Before the first that stays: the comma behind goes.
            let end = next.map_or(member.value.end, |next| next.start);
            cuts.push((offset(member.start), offset(end)));
        }
        previous = Some(member);
    }
}

fn offset(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limits, read};

    #[track_caller]
    fn check(text: &str, names: &[&str], expect: &str) {
        let limits = Limits {
            depth: 20,
            properties: 100,
            items: 100,
        };
        let document = read(text.as_bytes(), &limits).expect("JSON");
        let drop = |index: u32| {
            document
                .member(index)
                .is_some_and(|member| names.contains(&&*member.key))
        };
        let trimmed = without(text.as_bytes(), &document, &drop);
        assert_eq!(String::from_utf8_lossy(&trimmed), expect);
        assert!(read(&trimmed, &limits).is_ok());
    }

    #[test]
    fn members_are_cut_with_one_comma() {
        check(r#"{"a":1,"b":2,"c":3}"#, &["a"], r#"{"b":2,"c":3}"#);
        check(r#"{"a":1,"b":2,"c":3}"#, &["b"], r#"{"a":1,"c":3}"#);
        check(r#"{"a":1,"b":2,"c":3}"#, &["c"], r#"{"a":1,"b":2}"#);
        check(r#"{"a":1,"b":2,"c":3}"#, &["a", "b"], r#"{"c":3}"#);
        check(r#"{"a":1,"b":2,"c":3}"#, &["b", "c"], r#"{"a":1}"#);
        check(r#"{"a":1,"b":2,"c":3}"#, &["a", "c"], r#"{"b":2}"#);
        check(r#"{"a":1,"b":2,"c":3}"#, &["a", "b", "c"], "{}");
        check(r#"{ "a" : 1 , "b" : 2 }"#, &["a"], r#"{ "b" : 2 }"#);
        check(r#"{ "a" : 1.50 , "b" : 2 }"#, &["b"], r#"{ "a" : 1.50 }"#);
    }

    #[test]
    fn nested_members_are_cut() {
        check(
            r#"{"x":[{"a":1,"y":{"a":2}},{"z":0}],"a":{"a":{"q":1}},"w":1}"#,
            &["a"],
            r#"{"x":[{"y":{}},{"z":0}],"w":1}"#,
        );
        check(r#"[{"a":{"b":1}}]"#, &["c"], r#"[{"a":{"b":1}}]"#);
    }
}
