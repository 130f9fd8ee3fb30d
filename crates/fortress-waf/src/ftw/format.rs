//! The format of go-ftw's test files: which keys there are, and what they default to.
//!
//! Deliberately not here: the bytes of a request (`request`) and how an outcome is judged
//! (`judge`). Keys of the format that need more than one connection with a rule engine behind it
//! (`save_cookie`, `follow_redirect`, `response`, `uris`) are refused by name, not ignored.

use fortress_model::{
    Diagnostic, Node, SourceId, Sources, Span,
    document::{Format, Value, read},
};
use regex::bytes::Regex;

use super::fields::Fields;

/// A file: tests of one rule.
#[derive(Debug)]
pub struct TestFile {
    /// The rule that the tests are about.
    pub rule: u64,
    /// Its tests, in order.
    pub tests: Vec<Test>,
}

/// A test.
#[derive(Debug)]
pub struct Test {
    /// The rule.
    pub rule: u64,
    /// The number of the test among those of its rule; with the rule, its name.
    pub id: u64,
    /// What it shows.
    pub description: String,
    /// Requests, one after another.
    pub stages: Vec<Stage>,
    /// Where it is written.
    pub span: Span,
}

impl Test {
    /// `942100-7`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.rule, self.id)
    }
}

/// A request, and what is to come of it.
#[derive(Debug)]
pub struct Stage {
    /// The request.
    pub input: Input,
    /// What is to come of it.
    pub output: Output,
}

/// A request.
#[derive(Debug)]
pub struct Input {
    /// The address that it is sent to.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The method, unchecked.
    pub method: String,
    /// The request target, unchecked.
    pub uri: String,
    /// The protocol, unchecked.
    pub version: String,
    /// Header fields: those of `headers` by name, those of `ordered_headers` as they stand.
    pub headers: Vec<(String, String)>,
    /// The body, before anything is completed.
    pub data: Vec<u8>,
    /// Whether what a browser would add is added.
    pub autocomplete: bool,
    /// The whole request instead of all that.
    pub encoded: Option<Vec<u8>>,
}

/// What is to come of a request; what is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Output {
    /// One of these.
    pub status: Vec<u16>,
    /// No answer, or one that is not HTTP.
    pub expect_error: bool,
    /// These rules are logged.
    pub expect_ids: Vec<u64>,
    /// These are not.
    pub no_expect_ids: Vec<u64>,
    /// A log entry matches each.
    pub matches: Vec<Regex>,
    /// No log entry matches any.
    pub no_matches: Vec<Regex>,
    /// The answer, head and body, contains this.
    pub response_contains: Option<String>,
    /// No other rule than the expected one is logged.
    pub isolated: bool,
    /// The stage is tried once more if it fails. It is a remedy for log files that are read too
    /// early; outcomes that are complete need none.
    pub retry_once: bool,
}

impl TestFile {
    /// Reads a file of tests. One that holds nothing but comments has none.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(id: SourceId, sources: &Sources) -> Result<Self, Vec<Diagnostic>> {
        let node = read(id, sources, Format::Yaml)?;
        let name = sources.get(id).map_or("", |source| source.name.as_str());
        let mut fields = Fields::default();
        let file = file(&node, name, &mut fields);
        if fields.diagnostics.is_empty() {
            Ok(file)
        } else {
            Err(fields.diagnostics)
        }
    }
}

fn file(node: &Node, name: &str, fields: &mut Fields) -> TestFile {
    let mut rule = 0;
    let mut listed: &[Node] = &[];
    for member in fields.object(node, "the file", &["meta", "author", "rule_id", "tests"]) {
        let value = &member.value;
        match &*member.key {
            "meta" => meta(value, fields),
            "rule_id" => rule = fields.number(value, "`rule_id`"),
            "tests" => listed = fields.list(value, "`tests`"),
            _ => {}
        }
    }
    if rule == 0 {
        rule = digits(name).unwrap_or_default();
        if rule == 0 && !listed.is_empty() {
            fields.wrong(
                node.span,
                "`rule_id` is missing, and the file's name has no number",
            );
        }
    }
    let tests = listed
        .iter()
        .zip(1..)
        .map(|(node, position)| test(node, rule, position, fields))
        .collect();
    TestFile { rule, tests }
}

fn meta(node: &Node, fields: &mut Fields) {
    let known = [
        "author",
        "enabled",
        "name",
        "description",
        "version",
        "tags",
    ];
    fields.object(node, "`meta`", &known);
}

/// The first number in the file's own name: go-ftw falls back on it.
fn digits(name: &str) -> Option<u64> {
    let own = name.rsplit(['/', '\\']).next()?;
    let from = own.trim_start_matches(|c: char| !c.is_ascii_digit());
    let digits: String = from.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn test(node: &Node, rule: u64, position: u64, fields: &mut Fields) -> Test {
    let mut test = Test {
        rule,
        id: position,
        description: String::new(),
        stages: Vec::new(),
        span: node.span,
    };
    let known = ["test_title", "test_id", "desc", "stages", "tags"];
    for member in fields.object(node, "a test", &known) {
        let value = &member.value;
        match &*member.key {
            "test_id" => test.id = fields.number(value, "`test_id`"),
            "desc" => test.description = fields.text(value, "`desc`"),
            "stages" => {
                let stages = fields.list(value, "`stages`").iter();
                test.stages = stages.map(|node| stage(node, fields)).collect();
            }
            _ => {}
        }
    }
    if test.stages.is_empty() {
        fields.wrong(node.span, "a test needs at least one stage");
    }
    test
}

fn stage(node: &Node, fields: &mut Fields) -> Stage {
    let nothing = Node {
        span: node.span,
        value: Value::Null,
    };
    let (mut given, mut expected) = (&nothing, &nothing);
    let known = ["description", "input", "output"];
    for member in fields.object(node, "a stage", &known) {
        match &*member.key {
            "input" => given = &member.value,
            "output" => expected = &member.value,
            _ => {}
        }
    }
    let output = output(expected, fields);
    if output.isolated && output.expect_ids.len() != 1 {
        fields.wrong(
            expected.span,
            "`isolated` needs exactly one id in `expect_ids`",
        );
    }
    Stage {
        input: input(given, fields),
        output,
    }
}

const INPUT: [&str; 19] = [
    "dest_addr",
    "port",
    "protocol",
    "method",
    "uri",
    "version",
    "headers",
    "ordered_headers",
    "data",
    "encoded_data",
    "encoded_request",
    "autocomplete_headers",
    "stop_magic",
    "virtual_host_mode",
    "save_cookie",
    "follow_redirect",
    "raw_request",
    "response",
    "uris",
];

fn input(node: &Node, fields: &mut Fields) -> Input {
    let mut input = Input {
        address: "localhost".into(),
        port: 80,
        method: "GET".into(),
        uri: "/".into(),
        version: "HTTP/1.1".into(),
        headers: Vec::new(),
        data: Vec::new(),
        autocomplete: true,
        encoded: None,
    };
    let members = fields.object(node, "`input`", &INPUT);
    // The older name, with the opposite sense, counts only where the newer one is not given.
    let has_autocomplete = node.get("autocomplete_headers").is_some();
    for member in members {
        let (value, what) = (&member.value, format!("`{}`", member.key));
        match &*member.key {
            "dest_addr" => input.address = fields.text(value, &what),
            "port" => input.port = fields.number(value, &what),
            "method" => input.method = fields.text(value, &what),
            "uri" => input.uri = fields.text(value, &what),
            "version" => input.version = fields.text(value, &what),
            "headers" => input.headers.extend(headers(value, fields)),
            "ordered_headers" => input.headers.extend(ordered(value, fields)),
            "data" => input.data = data(value, fields),
            "encoded_data" => input.data = fields.base64(value, &what),
            "encoded_request" => input.encoded = Some(fields.base64(value, &what)),
            "autocomplete_headers" => input.autocomplete = fields.boolean(value, &what),
            "stop_magic" if !has_autocomplete => {
                input.autocomplete = !fields.boolean(value, &what);
            }
            "protocol" if fields.text(value, &what) != "http" => {
                fields.wrong(value.span, "`protocol` can only be `http` here");
            }
            // Where the log's markers go: there are none here.
            "virtual_host_mode" => _ = fields.boolean(value, &what),
            "save_cookie" | "follow_redirect" if fields.boolean(value, &what) => {
                fields.wrong(member.key_span, format!("{what} is not supported"));
            }
            "raw_request" | "response" | "uris" => {
                fields.wrong(member.key_span, format!("{what} is not supported"));
            }
            _ => {}
        }
    }
    if input.encoded.is_some() && !input.data.is_empty() {
        let message = "`encoded_request` is the whole request; `data` cannot be given with it";
        fields.wrong(node.span, message);
    }
    input
}

/// An object has no order: go-ftw sends its fields sorted by name, so that runs are alike.
fn headers(node: &Node, fields: &mut Fields) -> Vec<(String, String)> {
    if !matches!(node.value, Value::Object(_) | Value::Null) {
        fields.wrong(node.span, "`headers` must be an object");
    }
    let mut headers: Vec<_> = node
        .members()
        .iter()
        .map(|member| {
            let value = fields.text(&member.value, "the value of a header field");
            (member.key.to_string(), value)
        })
        .collect();
    headers.sort();
    headers
}

fn ordered(node: &Node, fields: &mut Fields) -> Vec<(String, String)> {
    let items = fields.list(node, "`ordered_headers`").iter();
    items
        .map(|item| {
            let (mut name, mut value) = (String::new(), String::new());
            for member in fields.object(item, "a header field", &["name", "value"]) {
                let text = fields.text(&member.value, "a header field");
                if &*member.key == "name" {
                    name = text;
                } else {
                    value = text;
                }
            }
            (name, value)
        })
        .collect()
}

/// `data` is a Go template. The one function that tests use is `repeat`, for bodies that would
/// fill a screen; any other is refused rather than sent as it stands.
fn data(node: &Node, fields: &mut Fields) -> Vec<u8> {
    let text = fields.text(node, "`data`");
    let mut made = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        made.push_str(before);
        let filled = after
            .split_once("}}")
            .and_then(|(expression, tail)| Some((repeat(expression)?, tail)));
        let Some((filled, tail)) = filled else {
            let message = "this template is not supported; write `{{ \"text\" | repeat 3 }}`";
            fields.wrong(node.span, message);
            return Vec::new();
        };
        made.push_str(&filled);
        rest = tail;
    }
    made.push_str(rest);
    made.into_bytes()
}

/// Bytes that one template may make.
const REPEATED: usize = 16 << 20;

/// `"text" | repeat 3`.
fn repeat(expression: &str) -> Option<String> {
    let (quoted, call) = expression.trim().rsplit_once('|')?;
    let text = quoted.trim().strip_prefix('"')?.strip_suffix('"')?;
    let times: usize = call.trim().strip_prefix("repeat ")?.trim().parse().ok()?;
    let fits = !text.contains(['"', '\\']) && text.len().checked_mul(times)? <= REPEATED;
    fits.then(|| text.repeat(times))
}

const OUTPUT: [&str; 8] = [
    "status",
    "response_contains",
    "log_contains",
    "no_log_contains",
    "log",
    "expect_error",
    "retry_once",
    "isolated",
];

/// An `output` of a test, or one that replaces it.
pub(super) fn output(node: &Node, fields: &mut Fields) -> Output {
    let mut output = Output::default();
    for member in fields.object(node, "`output`", &OUTPUT) {
        let (value, what) = (&member.value, format!("`{}`", member.key));
        match &*member.key {
            "status" => {
                output.status = fields.numbers(value, &what);
                // 0 is how the format says nothing.
                output.status.retain(|status| *status != 0);
            }
            "response_contains" => {
                let text = fields.text(value, &what);
                output.response_contains = (!text.is_empty()).then_some(text);
            }
            "log_contains" => output.matches.extend(fields.regex(value, &what)),
            "no_log_contains" => output.no_matches.extend(fields.regex(value, &what)),
            "log" => log(value, &mut output, fields),
            "expect_error" => output.expect_error = fields.boolean(value, &what),
            "retry_once" => output.retry_once = fields.boolean(value, &what),
            "isolated" => output.isolated = fields.boolean(value, &what),
            _ => {}
        }
    }
    output
}

fn log(node: &Node, output: &mut Output, fields: &mut Fields) {
    let known = [
        "expect_ids",
        "no_expect_ids",
        "match_regex",
        "no_match_regex",
    ];
    for member in fields.object(node, "`log`", &known) {
        let (value, what) = (&member.value, format!("`{}`", member.key));
        match &*member.key {
            "expect_ids" => output.expect_ids = fields.numbers(value, &what),
            "no_expect_ids" => output.no_expect_ids = fields.numbers(value, &what),
            "match_regex" => output.matches.extend(fields.regex(value, &what)),
            "no_match_regex" => output.no_matches.extend(fields.regex(value, &what)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
