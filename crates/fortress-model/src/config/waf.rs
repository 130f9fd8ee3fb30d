//! `waf`: the typed settings of the rule engine, how they are read, and how the nearer ones win.
//!
//! Deliberately not here: whether the files that are named hold rules, and whether a rule that is
//! left out exists. That is the gateway's `compile`.

use std::{collections::BTreeSet, fmt, path::PathBuf};

use super::{
    Spanned,
    reader::{Entry, Fields, PathUse, Reader},
};
use crate::{
    decision::Mode,
    diagnostic::did_you_mean,
    document::{Span, read::shorten},
};

/// `waf`, as far as it is said at one place. `None` is unsaid.
#[derive(Clone, Debug, Default)]
pub struct WafPatch {
    /// Which rules run.
    pub rules: Option<Spanned<WafRules>>,
    /// Where the Core Rule Set is.
    pub directory: Option<Spanned<PathBuf>>,
    /// Enforce, monitor or off; never stricter than the operation's own mode.
    pub mode: Option<Mode>,
    /// 1 to 4.
    pub paranoia: Option<u8>,
    /// The score at which a request is refused.
    pub threshold: Option<u32>,
    /// The score at which a response is replaced.
    pub response_threshold: Option<u32>,
    /// What the description proved is not searched.
    pub schema_aware: Option<bool>,
    /// Rules that do not count.
    pub exclude: Option<Vec<Spanned<Exclusion>>>,
    /// Files in SecLang.
    pub files: Option<Vec<Spanned<PathBuf>>>,
    /// Where `waf` itself was written.
    pub place: Option<Span>,
}

/// What holds for an operation, everything said.
#[derive(Clone, Debug)]
pub struct WafSettings {
    /// Which rules run; unsaid is the Core Rule Set where it is installed, else the built-in rules.
    pub rules: Option<Spanned<WafRules>>,
    /// Where the Core Rule Set is, if that was said.
    pub directory: Option<Spanned<PathBuf>>,
    /// Enforce, monitor or off; never stricter than the operation's own mode.
    pub mode: Mode,
    /// 1 to 4; unsaid is what the rules' own set-up says.
    pub paranoia: Option<u8>,
    /// The score at which a request is refused; unsaid is what the rules' own set-up says.
    pub threshold: Option<u32>,
    /// The score at which a response is replaced; unsaid is what the rules' own set-up says.
    pub response_threshold: Option<u32>,
    /// What the description proved is not searched.
    pub schema_aware: bool,
    /// Rules that do not count.
    pub exclude: Vec<Spanned<Exclusion>>,
    /// Files in SecLang.
    pub files: Vec<Spanned<PathBuf>>,
    /// Where the nearest `waf` was written.
    pub place: Option<Span>,
}

impl Default for WafSettings {
    fn default() -> Self {
        Self {
            rules: None,
            directory: None,
            mode: Mode::Enforce,
            paranoia: None,
            threshold: None,
            response_threshold: None,
            schema_aware: true,
            exclude: Vec::new(),
            files: Vec::new(),
            place: None,
        }
    }
}

impl WafSettings {
    /// Sets what a nearer place says and leaves the rest: maps merge, lists replace.
    pub fn apply(&mut self, patch: &WafPatch) {
        fn set<T: Clone>(field: &mut T, said: &Option<T>) {
            if let Some(said) = said {
                field.clone_from(said);
            }
        }
        fn set_option<T: Clone>(field: &mut Option<T>, said: &Option<T>) {
            if said.is_some() {
                field.clone_from(said);
            }
        }
        set_option(&mut self.rules, &patch.rules);
        set_option(&mut self.directory, &patch.directory);
        set(&mut self.mode, &patch.mode);
        set_option(&mut self.paranoia, &patch.paranoia);
        set_option(&mut self.threshold, &patch.threshold);
        set_option(&mut self.response_threshold, &patch.response_threshold);
        set(&mut self.schema_aware, &patch.schema_aware);
        set(&mut self.exclude, &patch.exclude);
        set(&mut self.files, &patch.files);
        set_option(&mut self.place, &patch.place);
    }
}

/// `waf.rules`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum WafRules {
    /// The OWASP Core Rule Set.
    Crs,
    /// The small set that comes with Fortress.
    Builtin,
    /// Only those of `files`.
    None,
}

/// An entry of `waf.exclude`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Exclusion {
    /// Which rules.
    pub rule: RuleSelector,
    /// Where they do not look; `None` for nowhere at all.
    pub parameter: Option<Parameter>,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parameter {
            None => self.rule.fmt(f),
            Some(parameter) => write!(f, "{} for {parameter}", self.rule),
        }
    }
}

/// Which rules an exclusion means.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RuleSelector {
    /// Ids from the first to the last, both included.
    Ids(u64, u64),
    /// Rules with exactly this tag.
    Tag(String),
}

impl fmt::Display for RuleSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ids(first, last) if first == last => first.fmt(f),
            Self::Ids(first, last) => write!(f, "{first}-{last}"),
            Self::Tag(tag) => f.write_str(tag),
        }
    }
}

/// A part of a request by name, as the configuration writes it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Parameter {
    /// `query.q`.
    Query(String),
    /// `body.comment`, `body.items.note`: a form's field, or a property with its path. Items of an
    /// array have no step of their own.
    Body(String),
    /// `header.X-Note`.
    Header(String),
    /// `cookie.draft`.
    Cookie(String),
    /// `path`: the whole path.
    Path,
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Body(name) => write!(f, "body.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Cookie(name) => write!(f, "cookie.{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

impl Reader<'_> {
    pub(super) fn waf(&mut self, entry: &Entry<'_>) -> WafPatch {
        let Some(fields) = self.fields(entry) else {
            return WafPatch::default();
        };
        let mut patch = self.waf_settings(&fields);
        patch.place = Some(entry.place);
        // A description's table has no files.
        if fields.has("directory") {
            patch.directory = fields
                .get("directory")
                .and_then(|entry| self.path(&entry, PathUse::Written));
            patch.files = fields.get("files").map(|entry| self.waf_files(&entry));
        }
        patch
    }

    fn waf_settings(&mut self, fields: &Fields<'_>) -> WafPatch {
        let mut patch = WafPatch::default();
        if let Some(entry) = fields.get("rules") {
            let value = match self.word(&entry) {
                Some("crs") => Some(WafRules::Crs),
                Some("builtin") => Some(WafRules::Builtin),
                Some("none") => Some(WafRules::None),
                Some(_) | None => None,
            };
            let span = entry.node.span;
            patch.rules = value.map(|value| Spanned { value, span });
        }
        patch.mode = fields.get("mode").and_then(|entry| self.mode(&entry));
        let mut number = |name: &str| {
            let entry = fields.get(name)?;
            self.number(&entry)
        };
        let (paranoia, threshold) = (number("paranoia"), number("threshold"));
        let response_threshold = number("response_threshold");
        // INVARIANT: the ranges of the table keep the values well within these types.
        patch.paranoia = paranoia.and_then(|value| u8::try_from(value).ok());
        patch.threshold = threshold.and_then(|value| u32::try_from(value).ok());
        patch.response_threshold = response_threshold.and_then(|value| u32::try_from(value).ok());
        patch.schema_aware = fields
            .get("schema_aware")
            .and_then(|entry| self.boolean(&entry));
        patch.exclude = fields.get("exclude").map(|entry| self.exclusions(&entry));
        patch
    }

    fn waf_files(&mut self, entry: &Entry<'_>) -> Vec<Spanned<PathBuf>> {
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        for item in self.items(entry) {
            if let Some(file) = self.path(&item, PathUse::Read)
                && self.once(
                    &mut seen,
                    &file.value.display().to_string(),
                    file.span,
                    &entry.path,
                )
            {
                files.push(file);
            }
        }
        files
    }

    fn exclusions(&mut self, entry: &Entry<'_>) -> Vec<Spanned<Exclusion>> {
        let mut seen = BTreeSet::new();
        let mut exclusions = Vec::new();
        for item in self.items(entry) {
            let Some(fields) = self.fields(&item) else {
                continue;
            };
            let rule = fields
                .get("rule")
                .and_then(|entry| self.parsed(&entry, rules));
            let parameter = fields
                .get("parameter")
                .map(|entry| self.parsed(&entry, parameter));
            // INVARIANT: a parameter that cannot be read must not become an exclusion of all.
            let (Some(rule), None | Some(Some(_))) = (rule, &parameter) else {
                continue;
            };
            let exclusion = Exclusion {
                rule: rule.value,
                parameter: parameter.flatten().map(|parameter| parameter.value),
            };
            if self.once(&mut seen, &exclusion, item.place, &entry.path) {
                exclusions.push(Spanned {
                    value: exclusion,
                    span: item.place,
                });
            }
        }
        exclusions
    }
}

/// `942100`, `942100-942199`, or a tag.
fn rules(text: &str) -> Result<RuleSelector, String> {
    const HELP: &str =
        "write a rule's id, a range such as `942100-942199`, or a tag such as `attack-sqli`";
    let id = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|id| *id > 0);
        value.filter(|_| digits).ok_or_else(|| HELP.to_owned())
    };
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        let Some((first, last)) = text.split_once('-') else {
            return id(text).map(|id| RuleSelector::Ids(id, id));
        };
        let (first, last) = (id(first.trim())?, id(last.trim())?);
        if first > last {
            return Err(format!("the smaller one stands first: `{last}-{first}`"));
        }
        return Ok(RuleSelector::Ids(first, last));
    }
    let of_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(of_tag) {
        return Ok(RuleSelector::Tag(text.to_owned()));
    }
    Err(HELP.to_owned())
}

/// `query.q`, `body.comment`, `header.X-Note`, `cookie.draft`, `path`.
fn parameter(text: &str) -> Result<Parameter, String> {
    const PLACES: &[&str] = &["query", "body", "header", "cookie", "path"];
    let (place, name) = text.split_once('.').unwrap_or((text, ""));
    if text == "path" {
        return Ok(Parameter::Path);
    }
    let lower = place.to_ascii_lowercase();
    let Some(known) = PLACES.iter().find(|known| **known == place) else {
        // What rules call it.
        let near = match lower.as_str() {
            "args_get" | "args" => Some("query"),
            "args_post" | "json" => Some("body"),
            "request_headers" | "headers" => Some("header"),
            "request_cookies" | "cookies" => Some("cookie"),
            _ => did_you_mean(place, PLACES.iter().copied()),
        };
        return Err(match near {
            Some("path") => "did you mean `path`?".to_owned(),
            Some(near) => format!("did you mean `{near}.{}`?", shorten(or_name(name))),
            None => {
                "write `query.NAME`, `body.NAME`, `header.NAME`, `cookie.NAME` or `path`".into()
            }
        });
    };
    if *known == "path" {
        return Err("write `path`: the whole of it is meant".into());
    }
    if name.is_empty() {
        return Err(format!("write the name too: `{known}.NAME`"));
    }
    // What cannot stand in a SecLang target in either of its forms.
    if name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(format!(
            "a name has no control characters and at most {LONGEST_NAME} bytes"
        ));
    }
    let name = name.to_owned();
    match *known {
        "query" => Ok(Parameter::Query(name)),
        "body" => Ok(Parameter::Body(name)),
        "cookie" => Ok(Parameter::Cookie(name)),
        _ if http::HeaderName::from_bytes(name.as_bytes()).is_err() => {
            Err("that is no name of a header field".into())
        }
        _ => Ok(Parameter::Header(name)),
    }
}

/// Bytes that a parameter's name may have.
const LONGEST_NAME: usize = 256;

fn or_name(name: &str) -> &str {
    if name.is_empty() { "NAME" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rules(text: &str, expect: Option<&str>) {
        let found = rules(text).ok().map(|found| found.to_string());
        assert_eq!(found.as_deref(), expect, "{text}");
    }

    #[test]
    fn rules_are_ids_ranges_and_tags() {
        check_rules("942100", Some("942100"));
        check_rules("942100-942199", Some("942100-942199"));
        check_rules("942100 - 942199", Some("942100-942199"));
        check_rules("7-7", Some("7"));
        check_rules("attack-sqli", Some("attack-sqli"));
        check_rules("paranoia-level/1", Some("paranoia-level/1"));
        check_rules("OWASP_CRS", Some("OWASP_CRS"));
        for wrong in [
            "",
            "0",
            "-1",
            "+5",
            "942100-",
            "-942100",
            "9-1",
            "942100.5",
            "a b",
            "\"",
            "942100,942110",
            "99999999999999999999",
            "1e5",
            "%{tx.a}",
            "attack-(sqli|xss)",
        ] {
            check_rules(wrong, None);
        }
    }

    #[track_caller]
    fn check_parameter(text: &str, expect: Result<Parameter, &str>) {
        match (parameter(text), expect) {
            (Ok(found), Ok(expect)) => {
                assert_eq!(found, expect);
                assert_eq!(found.to_string(), text);
            }
            (Err(help), Err(part)) => assert!(help.contains(part), "{text}: {help}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn parameters_have_a_place_and_a_name() {
        check_parameter("query.q", Ok(Parameter::Query("q".into())));
        check_parameter("query.a.b", Ok(Parameter::Query("a.b".into())));
        check_parameter(
            "query.filter[name]",
            Ok(Parameter::Query("filter[name]".into())),
        );
        check_parameter("body.comment", Ok(Parameter::Body("comment".into())));
        check_parameter("body.items.note", Ok(Parameter::Body("items.note".into())));
        check_parameter("header.X-Note", Ok(Parameter::Header("X-Note".into())));
        check_parameter("cookie.draft", Ok(Parameter::Cookie("draft".into())));
        check_parameter("path", Ok(Parameter::Path));
        check_parameter("", Err("`query.NAME`"));
        check_parameter("q", Err("`query.NAME`"));
        check_parameter("query", Err("`query.NAME`"));
        check_parameter("query.", Err("`query.NAME`"));
        check_parameter("qeury.q", Err("did you mean `query.q`?"));
        check_parameter("ARGS.q", Err("did you mean `query.q`?"));
        check_parameter("headers.X-Note", Err("did you mean `header.X-Note`?"));
        check_parameter("header.X Note", Err("no name of a header field"));
        check_parameter("path.id", Err("write `path`"));
        check_parameter("paths", Err("did you mean `path`?"));
        check_parameter("body.a\nb", Err("control characters"));
        check_parameter(&format!("body.{}", "a".repeat(257)), Err("256 bytes"));
    }
}
