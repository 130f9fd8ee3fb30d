//! Media types (RFC 9110, section 8.3.1): reading them strictly, and choosing among declared ones.

/// A media type of a message or a description.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MediaName {
    /// In lower case.
    pub(crate) kind: String,
    /// In lower case.
    pub(crate) subtype: String,
    /// Names in lower case, values without quotes. No name twice.
    pub(crate) parameters: Vec<(String, String)>,
}

/// How the bytes of a media type are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// `application/json`, `application/*+json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data`.
    Multipart,
    /// `text/*`, and XML: characters, whose well-formedness is not checked.
    Text,
    /// A sequence of events or lines without an end: checked by nobody.
    Stream,
    /// Anything else.
    Binary,
}

impl MediaName {
    /// Reads a media type, which may be a range where a description declares it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (full, mut rest) = text.find(';').map_or((text, ""), |at| text.split_at(at));
        let (kind, subtype) = full.trim_matches([' ', '\t']).split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some(after) = rest.strip_prefix(';') {
            let after = after.trim_start_matches([' ', '\t']);
            if after.is_empty() || after.starts_with(';') {
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('=')?;
            let (value, after) = parameter_value(after)?;
            let name = name.to_ascii_lowercase();
            let twice = parameters.iter().any(|(known, _)| *known == name);
            if !is_token(&name) || twice {
                return None;
            }
            parameters.push((name, value));
            rest = after.trim_start_matches([' ', '\t']);
        }
        rest.is_empty().then(|| Self {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            parameters,
        })
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }

    /// How exactly this, as declared, covers a message's media type; `None` if it does not.
    pub(crate) fn covers(&self, message: &Self) -> Option<usize> {
        let exact = if self.kind == message.kind && self.subtype == message.subtype {
            4
        } else if let Some(suffix) = self.subtype.strip_prefix("*+") {
            let same = message
                .subtype
                .rsplit_once('+')
                .is_some_and(|(_, found)| found == suffix);
            (same && self.kind == message.kind).then_some(3)?
        } else if self.subtype == "*" && self.kind == message.kind {
            2
        } else if self.subtype == "*" && self.kind == "*" {
            1
        } else {
            return None;
        };
        let demanded = self.parameters.iter().filter(|(name, _)| name != "charset");
        let mut count = 0;
        for (name, value) in demanded {
            let same = message
                .parameter(name)
                .is_some_and(|found| found.eq_ignore_ascii_case(value));
            // The boundary of a multipart body is the client's to choose.
            if !same && name != "boundary" {
                return None;
            }
            count += 1;
        }
        Some(exact * 16 + count)
    }

    pub(crate) fn content(&self) -> Content {
        let suffix = self.subtype.rsplit_once('+').map(|(_, suffix)| suffix);
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("application" | "text", "json") => Content::Json,
            (_, _) if suffix == Some("json") => Content::Json,
            ("application", "x-www-form-urlencoded") => Content::Form,
            ("multipart", "form-data") => Content::Multipart,
            ("text", "event-stream") => Content::Stream,
            (
                "application",
                "x-ndjson" | "ndjson" | "jsonl" | "x-jsonlines" | "json-seq" | "stream+json"
                | "x-json-stream" | "grpc" | "grpc-web",
            ) => Content::Stream,
            ("text", _) => Content::Text,
            ("application", "xml" | "yaml" | "x-yaml" | "javascript" | "graphql" | "sql") => {
                Content::Text
            }
            (_, _) if suffix == Some("xml") || suffix == Some("yaml") => Content::Text,
            _ => Content::Binary,
        }
    }
}

/// A token or a quoted string, and what stands behind it.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return is_token(value).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, next)) = characters.next() {
        match next {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            '\t' | ' '..='~' | '\u{80}'.. => value.push(next),
            _ => return None,
        }
    }
    None
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn covers(declared: &str, message: &str, expect: bool) {
        let declared = MediaName::parse(declared).expect("a media type");
        let message = MediaName::parse(message).expect("a media type");
        assert_eq!(
            declared.covers(&message).is_some(),
            expect,
            "{declared:?} {message:?}"
        );
    }

    #[test]
    fn reading() {
        let name = MediaName::parse("Application/JSON ; Charset=\"utf-8\";v=1").expect("valid");
        assert_eq!(
            (name.kind.as_str(), name.subtype.as_str()),
            ("application", "json")
        );
        assert_eq!(name.parameter("charset"), Some("utf-8"));
        for text in [
            "",
            "json",
            "/",
            "application/",
            "application/json, text/plain",
            "application/json;charset",
            "application/json;charset=a;charset=b",
            "application/json;Charset=a;charset=a",
            "a b/c",
            "application/json x",
            "application/json;a=\"b",
            "application/json;a=b c",
            "application/json;=b",
            "application/json;a b=c",
            "té/x",
        ] {
            assert_eq!(MediaName::parse(text), None, "{text}");
        }
        assert!(MediaName::parse("application/json;").is_some());
    }

    #[test]
    fn covering() {
        covers("application/json", "application/json; charset=utf-8", true);
        covers("application/json; charset=utf-8", "application/json", true);
        covers("application/json; v=1", "application/json", false);
        covers("application/json; v=1", "application/json; v=1", true);
        covers("application/*", "application/json", true);
        covers("application/*+json", "application/a+json", true);
        covers("application/*+json", "application/json", false);
        covers("*/*", "image/png", true);
        covers("text/*", "application/json", false);
        covers("application/json", "application/problem+json", false);
    }

    #[test]
    fn the_most_specific_wins() {
        let message = MediaName::parse("application/a+json; v=1").expect("valid");
        let rank = |text: &str| MediaName::parse(text).and_then(|name| name.covers(&message));
        let order = [
            "*/*",
            "application/*",
            "application/*+json",
            "application/a+json",
            "application/a+json;v=1",
        ];
        let ranks: Vec<_> = order.iter().map(|text| rank(text)).collect();
        assert!(
            ranks.is_sorted() && ranks.iter().all(Option::is_some),
            "{ranks:?}"
        );
    }

    #[test]
    fn contents() {
        let content = |text: &str| MediaName::parse(text).map(|name| name.content());
        assert_eq!(content("application/problem+json"), Some(Content::Json));
        assert_eq!(content("text/csv"), Some(Content::Text));
        assert_eq!(content("application/soap+xml"), Some(Content::Text));
        assert_eq!(content("text/event-stream"), Some(Content::Stream));
        assert_eq!(content("image/png"), Some(Content::Binary));
    }
}
