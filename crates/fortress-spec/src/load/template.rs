//! Path templates: `/files/{name}.{ext}` into segments and parts.

use std::sync::Arc;

use fortress_model::{diagnostic::Diagnostic, document::Span};

use super::uri;
use crate::description::{Part, PathTemplate, Segment};

/// How many segments a template may have, and how many parts a segment.
const MAX_PARTS: usize = 256;

/// Reads a key of `paths`.
///
/// # Errors
/// A template that no request could match, or that could be matched in more than one way.
pub(super) fn parse(text: &str, span: Span) -> Result<PathTemplate, Diagnostic> {
    let error = |message: &str| Diagnostic::error(span, format!("the path `{text}` {message}"));
    let Some(inside) = text.strip_prefix('/') else {
        return Err(error("does not begin with `/`").help(format!("write `/{text}`")));
    };
    if text.contains(['?', '#']) && !inside_braces(text) {
        return Err(error("contains a query or fragment")
            .help("declare query parameters under `parameters`, with `in: query`"));
    }
    let count = inside.split('/').count();
    if count > MAX_PARTS {
        return Err(error("has too many segments"));
    }
    let mut segments = Vec::with_capacity(count);
    let mut names: Vec<Arc<str>> = Vec::new();
    for (at, raw) in inside.split('/').enumerate() {
        if raw.is_empty() && at + 1 < count {
            return Err(error("has an empty segment"));
        }
        segments.push(segment(raw, &mut names).map_err(|message| error(&message))?);
    }
    Ok(PathTemplate {
        text: text.to_owned(),
        segments,
    })
}

/// Whether each `?` and `#` of the text stands between braces, where the parameter's name is wrong
/// instead.
fn inside_braces(text: &str) -> bool {
    let mut depth = 0_usize;
    text.chars().all(|character| {
        match character {
            '{' => depth = depth.saturating_add(1),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0 || !matches!(character, '?' | '#')
    })
}

fn segment(raw: &str, names: &mut Vec<Arc<str>>) -> Result<Segment, String> {
    let mut parts = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let (literal, after) = match rest.split_once('{') {
            Some((literal, after)) => (literal, Some(after)),
            None => (rest, None),
        };
        if literal.contains('}') {
            return Err("has a `}` without `{`".to_owned());
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(self::literal(literal)?.into()));
        }
        let Some(after) = after else { break };
        let Some((name, after)) = after.split_once('}') else {
            return Err("has a `{` without `}`".to_owned());
        };
        if matches!(parts.last(), Some(Part::Parameter { .. })) {
            return Err("has two parameters side by side, which cannot be told apart".to_owned());
        }
        parts.push(parameter(name, names)?);
        rest = after;
    }
    if parts.len() > MAX_PARTS {
        return Err("has too many parameters in one segment".to_owned());
    }
    let spans = |part: &Part| {
        matches!(
            part,
            Part::Parameter {
                spans_segments: true,
                ..
            }
        )
    };
    if parts.len() > 1 && parts.iter().any(spans) {
        return Err("has a parameter over several segments beside other text".to_owned());
    }
    Ok(match <[Part; 1]>::try_from(parts) {
        Ok([Part::Literal(text)]) if matches!(&*text, "." | "..") => {
            return Err(format!(
                "has the segment `{text}`, which no request can have"
            ));
        }
        Ok([Part::Literal(text)]) => Segment::Literal(text),
        Ok(parts) => Segment::Pattern(parts.into()),
        Err(parts) if parts.is_empty() => Segment::Literal("".into()),
        Err(parts) => Segment::Pattern(parts),
    })
}

fn literal(raw: &str) -> Result<String, String> {
    let Some(normal) = uri::normalise_segment(raw) else {
        return Err("has broken percent-encoding".to_owned());
    };
    if normal.contains("%2F") || normal.contains("%5C") || normal.contains("%00") {
        return Err("has an encoded slash, backslash or NUL, which no request may have".to_owned());
    }
    Ok(normal)
}

fn parameter(written: &str, names: &mut Vec<Arc<str>>) -> Result<Part, String> {
    // Gateways and routers write a parameter over several segments in these ways.
    let bare = written
        .strip_suffix(['+', '*'])
        .or_else(|| written.strip_prefix(['+', '*']));
    let name = bare.unwrap_or(written);
    if name.is_empty() {
        return Err("has a parameter without a name".to_owned());
    }
    if name.contains(['{', '?', '#']) {
        return Err(format!("has a parameter named `{name}`, which is no name"));
    }
    if names.iter().any(|known| **known == *name) {
        return Err(format!("has the parameter `{name}` twice"));
    }
    let name: Arc<str> = name.into();
    names.push(Arc::clone(&name));
    Ok(Part::Parameter {
        name,
        spans_segments: bare.is_some(),
    })
}

/// Marks the parameters that `x-multi-segment` says may contain slashes. Those that share a segment
/// with other text cannot, and are given back.
pub(super) fn mark_spanning<'n>(template: &mut PathTemplate, marked: &[&'n str]) -> Vec<&'n str> {
    let mut refused = Vec::new();
    for segment in &mut template.segments {
        let Segment::Pattern(parts) = segment else {
            continue;
        };
        let alone = parts.len() == 1;
        for part in parts {
            if let Part::Parameter {
                name,
                spans_segments,
            } = part
                && let Some(marked) = marked.iter().find(|marked| **marked == &**name)
            {
                if alone {
                    *spans_segments = true;
                } else {
                    refused.push(*marked);
                }
            }
        }
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a template with each part in its own way: `literal`, `<name>`, `<name...>`.
    fn show(template: &PathTemplate) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => format!("'{text}'"),
            Part::Parameter {
                name,
                spans_segments: false,
            } => format!("<{name}>"),
            Part::Parameter {
                name,
                spans_segments: true,
            } => format!("<{name}...>"),
        };
        template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => format!("/{text}"),
                Segment::Pattern(parts) => {
                    format!("/{}", parts.iter().map(part).collect::<String>())
                }
            })
            .collect()
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let parsed = parse(text, Span::default()).map_err(|diagnostic| diagnostic.message);
        match parsed {
            Ok(template) => assert_eq!(show(&template), expect),
            Err(message) => assert!(message.contains(expect), "{message}"),
        }
    }

    #[test]
    fn templates_are_read() {
        check("/", "/");
        check("/orders", "/orders");
        check("/orders/", "/orders/");
        check("/orders/{id}", "/orders/<id>");
        check("/files/{name}.{ext}", "/files/<name>'.'<ext>");
        check("/compare/{base}...{head}", "/compare/<base>'...'<head>");
        check("/a/{id}.json", "/a/<id>'.json'");
        check("/a/v{n}/b", "/a/'v'<n>/b");
        check("/a/{path+}", "/a/<path...>");
        check("/a/{+path}", "/a/<path...>");
        check("/a/{path*}/b", "/a/<path...>/b");
        check("/caf\u{e9}/%7euser/a%3ab", "/caf%C3%A9/~user/a%3Ab");
    }

    #[test]
    fn templates_that_cannot_be_matched_are_refused() {
        check("orders", "does not begin with `/`");
        check("", "does not begin with `/`");
        check("/a?b=c", "contains a query");
        check("/a#b", "contains a query or fragment");
        check("/a//b", "empty segment");
        check("/a/{id", "`{` without `}`");
        check("/a/id}", "`}` without `{`");
        check("/a/{}", "without a name");
        check("/a/{a{b}}", "is no name");
        check("/a/{a}{b}", "side by side");
        check("/a/{a}/b/{a}", "twice");
        check("/a/%zz", "broken percent-encoding");
        check("/a/../b", "no request can have");
        check("/a/%2e%2e/b", "no request can have");
        check("/a%2fb", "encoded slash");
        check("/a/{b+}.json", "beside other text");
        check(&"/a".repeat(300), "too many segments");
    }

    #[test]
    fn parameters_marked_as_spanning_must_stand_alone() {
        let mut template = parse("/a/{path}/{name}.json", Span::default()).expect("a template");
        let refused = mark_spanning(&mut template, &["path", "name"]);
        assert_eq!(refused, ["name"]);
        assert_eq!(show(&template), "/a/<path...>/<name>'.json'");
    }
}
