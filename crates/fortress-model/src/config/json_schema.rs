//! The configuration's JSON Schema (2020-12) for editors, made from the tables that the loader
//! reads. It knows form, not sense: what keys mean together only the loader knows.

use super::keys::{Block, Kind, ROOT};
use crate::diagnostic::quote;

/// The schema as a JSON text of several lines.
pub fn json_schema() -> String {
    let mut members = vec![
        (
            "$schema".to_owned(),
            Json::text("https://json-schema.org/draft/2020-12/schema"),
        ),
        ("title".to_owned(), Json::text("fortress.yaml")),
    ];
    members.push(("description".to_owned(), Json::text(ROOT.doc)));
    members.extend(block(&ROOT));
    members.push((
        "$defs".to_owned(),
        Json::Object(vec![(
            "reference".to_owned(),
            Json::Object(vec![
                ("type".to_owned(), Json::text("string")),
                (
                    "pattern".to_owned(),
                    Json::text("^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|exec:.+|vault:.+)$"),
                ),
                (
                    "description".to_owned(),
                    Json::text(
                        "`env:NAME`, `file:PATH` relative to the configuration, `exec:COMMAND`, or `vault:MOUNT/PATH#KEY`.",
                    ),
                ),
            ]),
        )]),
    ));
    let mut text = String::new();
    Json::Object(members).write(&mut text, 0);
    text.push('\n');
    text
}

fn block(block: &Block) -> Vec<(String, Json)> {
    let properties = block.keys().map(|key| {
        let mut members = vec![("description".to_owned(), Json::text(key.doc))];
        members.extend(kind(&key.kind));
        (key.name.to_owned(), Json::Object(members))
    });
    let required = block.keys().filter(|key| key.required);
    let required: Vec<_> = required.map(|key| Json::text(key.name)).collect();
    let mut members = vec![
        ("type".to_owned(), Json::text("object")),
        ("properties".to_owned(), Json::Object(properties.collect())),
        (
            "additionalProperties".to_owned(),
            Json::Raw("false".to_owned()),
        ),
    ];
    if !required.is_empty() {
        members.push(("required".to_owned(), Json::Array(required)));
    }
    members
}

/// A kind that stands below no key, whose description it could have.
fn described(of: &Kind) -> Vec<(String, Json)> {
    let mut members = Vec::new();
    if let Kind::Block(block) = of {
        members.push(("description".to_owned(), Json::text(block.doc)));
    }
    members.extend(kind(of));
    members
}

#[expect(clippy::too_many_lines, reason = "a table with a row for each kind")]
fn kind(of: &Kind) -> Vec<(String, Json)> {
    let array = |items: &Kind, least: &str| {
        vec![
            ("type".to_owned(), Json::text("array")),
            ("items".to_owned(), Json::Object(described(items))),
            ("minItems".to_owned(), Json::Raw(least.to_owned())),
        ]
    };
    match of {
        Kind::Bool => any_of(vec![typed("boolean")]),
        Kind::Text | Kind::Host | Kind::Network | Kind::File | Kind::KeySet => typed_text(),
        Kind::Word(words) => any_of(vec![words_schema(words)]),
        Kind::Rules => {
            let mut id = typed("integer");
            id.push(("minimum".to_owned(), Json::Raw("1".to_owned())));
            any_of(vec![
                id,
                pattern("^([0-9]+( *- *[0-9]+)?|[A-Za-z][A-Za-z0-9_./:-]*)$"),
            ])
        }
        Kind::Frequency => {
            pattern("^([0-9]+ */ *(s|min|h|day|month)|env:.+|file:.+|exec:.+|vault:.+)$")
        }
        Kind::LimitPart => pattern(
            "^(client|principal|key|tenant|operation|ja4|(claim|header|query|body)\\..+|env:.+|file:.+|exec:.+|vault:.+)$",
        ),
        Kind::Cost => {
            let mut plain = typed("integer");
            plain.push(("minimum".to_owned(), Json::Raw("1".to_owned())));
            any_of(vec![
                plain,
                pattern(
                    "^([0-9]+|(query|path|header|body|response\\.header)\\.[^ ]+)( +[*/+] +([0-9]+|(query|path|header|body|response\\.header)\\.[^ ]+))*$",
                ),
            ])
        }
        Kind::Zone => pattern("^[A-Za-z][A-Za-z0-9_+/:.-]*$"),
        Kind::Percent => pattern("^([0-9]{1,2} *%|env:.+|file:.+|exec:.+|vault:.+)$"),
        Kind::Distinct => {
            pattern("^([0-9]+ */ *([0-9]*(s|min|h|d)|day)|env:.+|file:.+|exec:.+|vault:.+)$")
        }
        Kind::Sign => {
            let mut status = typed("integer");
            status.push(("minimum".to_owned(), Json::Raw("200".to_owned())));
            status.push(("maximum".to_owned(), Json::Raw("599".to_owned())));
            any_of(vec![
                status,
                pattern("^((status +)?[1-5]([0-9][0-9]|xx)|response\\..+)$"),
            ])
        }
        Kind::Parameter => {
            pattern("^((query|body|header|cookie)\\..+|path|env:.+|file:.+|exec:.+|vault:.+)$")
        }
        Kind::Algorithm => pattern("^[A-Za-z0-9]+$"),
        Kind::Count(low, high) => {
            let mut members = typed("integer");
            members.push(("minimum".to_owned(), Json::Raw(low.to_string())));
            members.push(("maximum".to_owned(), Json::Raw(high.to_string())));
            any_of(vec![members])
        }
        Kind::Duration(..) => pattern("^([0-9]+(ms|s|min|h|d)|env:.+|file:.+|exec:.+|vault:.+)$"),
        Kind::Size(low, high) => {
            let mut plain = typed("integer");
            plain.push(("minimum".to_owned(), Json::Raw(low.to_string())));
            plain.push(("maximum".to_owned(), Json::Raw(high.to_string())));
            any_of(vec![plain, pattern("^[0-9]+(B|KiB|MiB|GiB)?$")])
        }
        Kind::Rate(..) => pattern("^([0-9]+(B|KiB|MiB|GiB)?/s|env:.+|file:.+|exec:.+|vault:.+)$"),
        Kind::Address => pattern("^(.+:[0-9]+|env:.+|file:.+|exec:.+|vault:.+)$"),
        Kind::BasePath => pattern("^(/|env:.+|file:.+|exec:.+|vault:.+)"),
        Kind::Url => pattern("^(https?://|env:.+|file:.+|exec:.+|vault:.+)"),
        Kind::SecretFile => pattern("^(file:|env:).+$"),
        Kind::RedisUrl => pattern("^(rediss?://[^@]+|env:.+|file:.+|exec:.+|vault:.+)$"),
        Kind::SecretSource => pattern("^(file:|env:).+$"),
        Kind::Secret => pattern("^(file:|env:|vault:|exec:).+$"),
        Kind::HttpsUrl => pattern("^(https?://|env:.+|file:.+|exec:.+|vault:.+)"),
        Kind::Block(inner) => block(inner),
        Kind::List(inner) => array(inner, "1"),
        Kind::Items(inner) => array(inner, "0"),
        Kind::OneOrList(inner) => one_of_two(kind(inner), array(inner, "1")),
        Kind::OneOrItems(inner) => one_of_two(kind(inner), array(inner, "0")),
        Kind::Map(_, inner) => vec![
            ("type".to_owned(), Json::text("object")),
            (
                "additionalProperties".to_owned(),
                Json::Object(described(inner)),
            ),
        ],
        Kind::Either(short, long) => one_of_two(kind(short), kind(long)),
    }
}

fn typed(name: &str) -> Vec<(String, Json)> {
    vec![("type".to_owned(), Json::text(name))]
}

fn typed_text() -> Vec<(String, Json)> {
    let mut members = typed("string");
    members.push(("minLength".to_owned(), Json::Raw("1".to_owned())));
    members
}

fn pattern(pattern: &str) -> Vec<(String, Json)> {
    let mut members = typed("string");
    members.push(("pattern".to_owned(), Json::text(pattern)));
    members
}

/// Words are compared by their text, so that `1.2` and `"1.2"` are the same.
fn words_schema(words: &[&str]) -> Vec<(String, Json)> {
    let mut values = Vec::new();
    for word in words {
        if matches!(*word, "true" | "false") {
            values.push(Json::Raw((*word).to_owned()));
            continue;
        }
        if word.parse::<f64>().is_ok() {
            values.push(Json::Raw((*word).to_owned()));
        }
        values.push(Json::text(word));
    }
    vec![("enum".to_owned(), Json::Array(values))]
}

/// These, or a reference.
fn any_of(schemas: Vec<Vec<(String, Json)>>) -> Vec<(String, Json)> {
    let reference = vec![("$ref".to_owned(), Json::text("#/$defs/reference"))];
    let schemas = schemas.into_iter().chain([reference]).map(Json::Object);
    vec![("anyOf".to_owned(), Json::Array(schemas.collect()))]
}

fn one_of_two(first: Vec<(String, Json)>, second: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let schemas = vec![Json::Object(first), Json::Object(second)];
    vec![("anyOf".to_owned(), Json::Array(schemas))]
}

/// As much of JSON as a schema needs.
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    /// A number or boolean.
    Raw(String),
}

impl Json {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Text(text) => quote(out, Some(text)),
            Self::Array(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    line(out, number, depth + 1);
                    item.write(out, depth + 1);
                }
                close(out, items.is_empty(), depth, ']');
            }
            Self::Object(members) => {
                out.push('{');
                for (number, (key, value)) in members.iter().enumerate() {
                    line(out, number, depth + 1);
                    quote(out, Some(key));
                    out.push_str(": ");
                    value.write(out, depth + 1);
                }
                close(out, members.is_empty(), depth, '}');
            }
        }
    }
}

fn line(out: &mut String, number: usize, depth: usize) {
    if number > 0 {
        out.push(',');
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}

fn close(out: &mut String, is_empty: bool, depth: usize, bracket: char) {
    if !is_empty {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    }
    out.push(bracket);
}
