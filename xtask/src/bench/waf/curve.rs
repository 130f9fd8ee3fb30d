//! Requests that grow: how an engine's cost rises with objects, one long string, arguments, headers,
//! nesting and XML, from 1 KB to 10 MB. A cost that rises faster than the body is a denial of
//! service that any client can order.

use super::scenario::{Varied, post, raw};

/// Sizes of bodies, in bytes.
const BYTES: &[usize] = &[1_000, 10_000, 100_000, 1_000_000, 10_000_000];
/// Numbers of arguments and of headers.
const COUNTS: &[usize] = &[10, 100, 1_000, 10_000];
/// How deep one value stands in `Nested`.
const DEPTH: usize = 32;

/// What grows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Series {
    Objects,
    Text,
    Nested,
    Deep,
    Xml,
    Arguments,
    Headers,
}

impl Series {
    pub(super) const ALL: &'static [Self] = &[
        Self::Objects,
        Self::Text,
        Self::Nested,
        Self::Deep,
        Self::Xml,
        Self::Arguments,
        Self::Headers,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Objects => "json-objects",
            Self::Text => "json-string",
            Self::Nested => "json-nested",
            Self::Deep => "json-deep",
            Self::Xml => "xml",
            Self::Arguments => "arguments",
            Self::Headers => "headers",
        }
    }

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Objects => "JSON, small objects (1 MB holds about 54,000 values)",
            Self::Text => "JSON, one string of words",
            Self::Nested => "JSON, 32 deep with a value at each level",
            Self::Deep => "JSON, as deep as it is long",
            Self::Xml => "XML, small elements with an attribute",
            Self::Arguments => "arguments of a form, by number",
            Self::Headers => "headers, by number",
        }
    }

    /// Whether a point's size is a number of things, rather than of bytes.
    pub(super) fn is_counted(self) -> bool {
        matches!(self, Self::Arguments | Self::Headers)
    }

    pub(super) fn sizes(self) -> &'static [usize] {
        if self.is_counted() { COUNTS } else { BYTES }
    }

    /// The request of a size. Cut to it where the form allows; otherwise the least that reaches it.
    pub(super) fn request(self, size: usize) -> Vec<u8> {
        let mut varied = Varied::new(7);
        match self {
            Self::Objects => json(&objects(&mut varied, size)),
            Self::Text => json(&text(&mut varied, size)),
            Self::Nested => json(&nested(&mut varied, size)),
            Self::Deep => json(&deep(size)),
            Self::Xml => post(
                "/api/v1/orders",
                "text/xml",
                xml(&mut varied, size).as_bytes(),
            ),
            Self::Arguments => {
                let kind = "application/x-www-form-urlencoded";
                post("/search", kind, arguments(&mut varied, size).as_bytes())
            }
            Self::Headers => headers(&mut varied, size),
        }
    }
}

fn json(body: &str) -> Vec<u8> {
    post("/api/v1/orders", "application/json", body.as_bytes())
}

fn objects(varied: &mut Varied, size: usize) -> String {
    let mut body = String::from("[");
    while body.len() + 2 < size {
        let (sku, count) = (varied.below(100_000), 1000 + varied.below(9000));
        body.push_str(&format!(
            "{{\"sku\":\"ARTICLE-{sku:05}\",\"count\":{count}}},"
        ));
    }
    close(body, ']')
}

fn text(varied: &mut Varied, size: usize) -> String {
    let mut body = String::from("{\"note\":\"");
    while body.len() + 2 < size {
        body.push_str(varied.word());
        body.push(' ');
    }
    body.push_str("\"}");
    body
}

fn nested(varied: &mut Varied, size: usize) -> String {
    let mut body = String::from("[");
    while body.len() + 2 < size {
        for _ in 0..DEPTH {
            body.push_str(&format!("{{\"v\":{},\"in\":", 1 + varied.below(900)));
        }
        body.push('0');
        body.extend(std::iter::repeat_n('}', DEPTH));
        body.push(',');
    }
    close(body, ']')
}

fn deep(size: usize) -> String {
    let depth = size / 6;
    format!("{}0{}", "{\"a\":".repeat(depth), "}".repeat(depth))
}

fn xml(varied: &mut Varied, size: usize) -> String {
    let mut body = String::from("<?xml version=\"1.0\"?><orders>");
    while body.len() + 9 < size {
        let (sku, count) = (varied.below(10_000), varied.below(1000));
        body.push_str(&format!(
            "<line sku=\"A-{sku:05}\">{} {count}</line>",
            varied.word()
        ));
    }
    body.push_str("</orders>");
    body
}

fn arguments(varied: &mut Varied, count: usize) -> String {
    let mut body = String::new();
    for number in 0..count {
        body.push_str(&format!(
            "field{number}={}+{}&",
            varied.word(),
            varied.below(1000)
        ));
    }
    body.pop();
    body
}

fn headers(varied: &mut Varied, count: usize) -> Vec<u8> {
    let headers: Vec<(String, String)> = (0..count)
        .map(|number| {
            let value = format!("{} {}", varied.word(), varied.below(1000));
            (format!("X-Note-{number}"), value)
        })
        .collect();
    let mut all = vec![("User-Agent", "orders-client/2.4.1"), ("Accept", "*/*")];
    all.extend(
        headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    raw("GET", "/api/v1/orders/17", &all, b"")
}

/// Ends a list with `end` in place of its last comma.
fn close(mut list: String, end: char) -> String {
    list.pop();
    list.push(end);
    list
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn requests_have_the_size_that_was_asked_for() {
        for series in Series::ALL.iter().filter(|series| !series.is_counted()) {
            let length = series.request(100_000).len();
            assert!((99_000..102_000).contains(&length), "{series:?}: {length}");
        }
        let lines = |series: Series| series.request(1000).split(|byte| *byte == b'\n').count();
        assert!(lines(Series::Headers) > 1000);
        let arguments = Series::Arguments.request(1000);
        let equals = arguments.iter().filter(|byte| **byte == b'=').count();
        assert_eq!(equals, 1000);
    }

    #[test]
    fn a_megabyte_of_objects_holds_54_000_values() {
        let body = objects(&mut Varied::new(7), 1_000_000);
        let value: Value = serde_json::from_str(&body).unwrap();
        let count = value.as_array().unwrap().len() * 2;
        assert!((53_000..55_000).contains(&count), "{count}");
    }

    #[test]
    fn json_is_json() {
        let mut varied = Varied::new(7);
        for body in [
            text(&mut varied, 1000),
            nested(&mut varied, 1000),
            deep(500),
        ] {
            assert!(serde_json::from_str::<Value>(&body).is_ok(), "{body}");
        }
    }
}
