//! Walks a tree by the tables of `keys.rs`: unknown and missing keys, references, and scalars of
//! the right kind and range. Every mistake is noted and the walk goes on.
//!
//! Deliberately not here: which blocks there are and what keys mean together.

use std::{
    collections::BTreeSet,
    fmt::Display,
    hash::DefaultHasher,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Spanned,
    keys::{Block, Kind, owners},
    references::References,
    scalar::{self, Bad},
    secrets::VaultSettings,
};
use crate::{
    diagnostic::{Diagnostic, did_you_mean},
    document::{Member, Node, Span, Value, read::shorten},
};

/// Bytes that a value taken from a file may have.
const MAX_REFERENCE: u64 = 64 << 10;

/// How references begin.
pub(super) const REFERENCES: &[&str] = &["env:", "file:", "vault:", "exec:"];

/// What every part of the loader writes into.
pub(super) struct Reader<'e> {
    /// Gives what stands outside of files; `None` in a description, which has no references.
    pub(super) references: Option<&'e dyn References>,
    /// What `vault:` references are asked of.
    pub(super) vault: Option<VaultSettings>,
    /// Of all that commands and the vault gave.
    pub(super) asked: DefaultHasher,
    /// What relative paths are relative to.
    pub(super) directory: PathBuf,
    /// Files that were named, to be watched.
    pub(super) files: Vec<PathBuf>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// A value with all that is known about its place.
#[derive(Clone)]
pub(super) struct Entry<'n> {
    pub(super) node: &'n Node,
    pub(super) kind: &'static Kind,
    /// Where to point when the value as a whole is meant: its key, or the item itself.
    pub(super) place: Span,
    /// `identity.idp`, for messages; empty for the whole file.
    pub(super) path: String,
}

/// An object whose keys are known to be its block's.
pub(super) struct Fields<'n> {
    entry: Entry<'n>,
    block: &'static Block,
}

impl<'n> Fields<'n> {
    /// The value of a key, if it is there. The name must be in the table.
    pub(super) fn get(&self, name: &str) -> Option<Entry<'n>> {
        let key = self.block.key(name);
        debug_assert!(key.is_some(), "`{}` has no `{name}`", self.block.name);
        let member = self.entry.node.member(name)?;
        Some(Entry {
            node: &member.value,
            kind: &key?.kind,
            place: member.key_span,
            path: join(&self.entry.path, name),
        })
    }

    /// Whether the table has a key; one that it has not was reported as unknown.
    pub(super) fn has(&self, name: &str) -> bool {
        self.block.key(name).is_some()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &'n Member> {
        self.entry.node.members().iter()
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A scalar's text, references resolved.
pub(super) struct Scalar {
    pub(super) text: String,
    /// As it may be shown: never the value behind a reference.
    pub(super) shown: String,
    literal: Literal,
}

/// How a scalar was written.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Literal {
    Text,
    Number,
    Bool,
    /// Not in the file itself, and so without a type.
    Reference,
}

impl Reader<'_> {
    pub(super) fn error(
        &mut self,
        span: Span,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics
            .push(Diagnostic::error(span, message).help(help));
    }

    pub(super) fn warn(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.diagnostics
            .push(Diagnostic::warning(span, message).help(help));
    }

    /// An object with fixed keys. Unknown and missing keys are reported.
    pub(super) fn fields<'n>(&mut self, entry: &Entry<'n>) -> Option<Fields<'n>> {
        let block = entry.kind.block()?;
        if !self.is_object(entry, block.keys().map(|key| key.name)) {
            return None;
        }
        for member in entry.node.members() {
            if block.key(&member.key).is_none() {
                self.unknown(&member.key, member.key_span, block, &entry.path);
            }
        }
        // Whoever uses what is not there yet needs no list of what is missing instead.
        let is_later = |member: &Member| block.later.contains(&&*member.key);
        let is_other_form = entry.node.members().iter().any(is_later) && !entry.path.is_empty();
        for key in block.keys().filter(|key| key.required && !is_other_form) {
            if entry.node.get(key.name).is_none() {
                let message = match entry.path.as_str() {
                    "" => format!("`{}` is missing", key.name),
                    path => format!("`{path}` has no `{}`", key.name),
                };
                let help = format!("add `{}`: {}", key.name, first_sentence(key.doc));
                self.error(entry.place, message, help);
            }
        }
        Some(Fields {
            entry: entry.clone(),
            block,
        })
    }

    fn is_object<'k>(&mut self, entry: &Entry<'_>, keys: impl Iterator<Item = &'k str>) -> bool {
        if matches!(entry.node.value, Value::Object(_)) {
            return true;
        }
        let keys: Vec<_> = keys.map(|key| format!("`{key}`")).collect();
        let help = if let Kind::Map(of, _) = entry.kind {
            format!("write `name: …` below it, one for each {of}")
        } else {
            format!("its keys are {}", keys.join(", "))
        };
        self.wrong_kind(entry, "an object", &help);
        false
    }

    /// Says that a value has the wrong kind.
    fn wrong_kind(&mut self, entry: &Entry<'_>, expected: &str, help: &str) {
        let path = if entry.path.is_empty() {
            "the configuration".to_owned()
        } else {
            format!("`{}`", entry.path)
        };
        if matches!(entry.node.value, Value::Null) {
            let help = format!("write {expected}, or remove the key");
            self.error(entry.place, format!("{path} has no value"), help);
            return;
        }
        let found = entry.node.kind();
        self.error(
            entry.node.span,
            format!("{path} takes {expected}, not {found}"),
            help,
        );
    }

    fn unknown(&mut self, key: &str, span: Span, block: &Block, path: &str) {
        let shown = shorten(key);
        let message = if path.is_empty() {
            format!("unknown key `{shown}`")
        } else {
            format!("unknown key `{shown}` in `{path}`")
        };
        let names = || block.keys().map(|key| key.name);
        let help = if block.later.contains(&key) {
            format!("`{key}` is not available in this version")
        } else if let Some(near) = did_you_mean(key, names()) {
            format!("did you mean `{near}`?")
        } else {
            let known: Vec<_> = names().map(|name| format!("`{name}`")).collect();
            let known = known.join(", ");
            match owners(key).as_slice() {
                [] if is_ever_later(key) => format!("`{key}` is not available in this version"),
                [] => format!("known are {known}"),
                owners => format!(
                    "`{key}` belongs in `{}`; known here are {known}",
                    owners.join("` or `")
                ),
            }
        };
        self.error(span, message, help);
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, entry: &Entry<'n>) -> Vec<Entry<'n>> {
        let (kind, may_be_empty, may_be_one) = if let Kind::List(kind) = entry.kind {
            (*kind, false, false)
        } else if let Kind::Items(kind) = entry.kind {
            (*kind, true, false)
        } else if let Kind::OneOrList(kind) = entry.kind {
            (*kind, false, true)
        } else if let Kind::OneOrItems(kind) = entry.kind {
            (*kind, true, true)
        } else {
            return Vec::new();
        };
        let Value::Array(nodes) = &entry.node.value else {
            if may_be_one && !matches!(entry.node.value, Value::Null | Value::Object(_)) {
                let kind_entry = Entry {
                    kind,
                    ..entry.clone()
                };
                return vec![kind_entry];
            }
            let help = if matches!(kind, Kind::Block(_)) {
                "put `- ` before each item"
            } else {
                "put it in brackets: `[…]`"
            };
            self.wrong_kind(entry, "a list", help);
            return Vec::new();
        };
        if nodes.is_empty() && !may_be_empty {
            let message = format!("`{}` is an empty list", entry.path);
            self.error(entry.node.span, message, "add an item, or remove the key");
        }
        let item = |(number, node): (usize, &'n Node)| Entry {
            node,
            kind,
            place: node.span,
            path: format!("{}[{number}]", entry.path),
        };
        nodes.iter().enumerate().map(item).collect()
    }

    /// The entry as its long form, if it is written so.
    pub(super) fn long_form<'n>(&self, entry: &Entry<'n>) -> Option<Entry<'n>> {
        let Kind::Either(_, long) = entry.kind else {
            return None;
        };
        matches!(entry.node.value, Value::Object(_)).then(|| Entry {
            kind: long,
            ..entry.clone()
        })
    }

    /// The entry as its short form.
    pub(super) fn short_form<'n>(&self, entry: &Entry<'n>) -> Entry<'n> {
        let kind = if let Kind::Either(short, _) = entry.kind {
            short
        } else {
            entry.kind
        };
        Entry {
            kind,
            ..entry.clone()
        }
    }

    /// The members of an object whose keys are names.
    pub(super) fn entries<'n>(&mut self, entry: &Entry<'n>) -> Vec<(Spanned<String>, Entry<'n>)> {
        let Kind::Map(_, kind) = entry.kind else {
            return Vec::new();
        };
        if !self.is_object(entry, std::iter::empty()) {
            return Vec::new();
        }
        let member = |member: &'n Member| {
            let name = Spanned {
                value: member.key.to_string(),
                span: member.key_span,
            };
            let inner = Entry {
                node: &member.value,
                kind,
                place: member.key_span,
                path: join(&entry.path, &shorten(&member.key)),
            };
            (name, inner)
        };
        entry.node.members().iter().map(member).collect()
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let scalar = self.scalar(entry)?;
        let value = match scalar.text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        if value.is_some() && matches!(scalar.literal, Literal::Bool | Literal::Reference) {
            return value;
        }
        let help = match scalar.text.to_ascii_lowercase().as_str() {
            "true" | "false" => "write it without quotes, in small letters",
            "yes" | "on" | "y" if scalar.literal == Literal::Text => "write `true`",
            "no" | "off" | "n" if scalar.literal == Literal::Text => "write `false`",
            _ => "write `true` or `false`",
        };
        self.not_a(entry, &scalar, "`true` or `false`", help);
        None
    }

    /// One of the words of the table.
    pub(super) fn word(&mut self, entry: &Entry<'_>) -> Option<&'static str> {
        let Kind::Word(words) = entry.kind else {
            return None;
        };
        let scalar = self.scalar(entry)?;
        if let Some(word) = words.iter().find(|word| **word == scalar.text) {
            return Some(word);
        }
        let known: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
        let known = known.join(" or ");
        let near = match scalar.literal {
            Literal::Reference => None,
            Literal::Text | Literal::Number | Literal::Bool => {
                did_you_mean(&scalar.text, words.iter().copied())
            }
        };
        let help = match near {
            Some(near) => format!("did you mean `{near}`? It takes {known}"),
            None => format!("write {known}"),
        };
        let message = format!("`{}` cannot be `{}`", entry.path, scalar.shown);
        self.error(entry.node.span, message, help);
        None
    }

    /// A count, size, rate or duration (in nanoseconds), in the range of the table.
    pub(super) fn number(&mut self, entry: &Entry<'_>) -> Option<u64> {
        let scalar = self.scalar(entry)?;
        let text = scalar.text.as_str();
        let (found, low, high, show): (_, _, _, fn(u64) -> String) =
            if let Kind::Count(low, high) = entry.kind {
                (scalar::count(text), *low, *high, |value| value.to_string())
            } else if let Kind::Size(low, high) = entry.kind {
                (scalar::size(text), *low, *high, scalar::show_size)
            } else if let Kind::Rate(low, high) = entry.kind {
                (scalar::rate(text), *low, *high, scalar::show_rate)
            } else if let Kind::Duration(low, high) = entry.kind {
                (scalar::duration(text), *low, *high, scalar::show_duration)
            } else {
                return None;
            };
        match found {
            Ok(value) if (low..=high).contains(&value) => Some(value),
            Ok(_) | Err(Bad::Large) => {
                let message = format!("`{}` cannot be `{}`", entry.path, scalar.shown);
                let help = format!("it goes from {} to {}", show(low), show(high));
                self.error(entry.node.span, message, help);
                None
            }
            Err(Bad::Form(help)) => {
                self.not_a(entry, &scalar, entry.kind.expects(), &help);
                None
            }
        }
    }

    pub(super) fn duration(&mut self, entry: &Entry<'_>) -> Option<Duration> {
        self.number(entry).map(Duration::from_nanos)
    }

    /// A string that is not empty and has no control characters.
    pub(super) fn text(&mut self, entry: &Entry<'_>) -> Option<Spanned<String>> {
        let scalar = self.scalar(entry)?;
        if matches!(scalar.literal, Literal::Number | Literal::Bool) {
            self.not_a(entry, &scalar, "text", "put it in quotes");
            return None;
        }
        if scalar.text.trim().is_empty() || scalar.text.chars().any(char::is_control) {
            let what = "text without line breaks";
            self.not_a(
                entry,
                &scalar,
                what,
                "write at least one character, on one line",
            );
            return None;
        }
        Some(Spanned {
            value: scalar.text,
            span: entry.node.span,
        })
    }

    /// A text that a function of `scalar.rs` understands.
    pub(super) fn parsed<T>(
        &mut self,
        entry: &Entry<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Spanned<T>> {
        let scalar = self.scalar(entry)?;
        match parse(&scalar.text) {
            Ok(value) => Some(Spanned {
                value,
                span: entry.node.span,
            }),
            Err(help) => {
                // What a reference holds is not for the eyes: a help could quote it.
                let is_reference = scalar.literal == Literal::Reference;
                let help = if is_reference {
                    format!("it must hold {}", entry.kind.expects())
                } else {
                    help
                };
                self.not_a(entry, &scalar, entry.kind.expects(), &help);
                None
            }
        }
    }

    /// A path, relative to the configuration. It is watched unless it is written to.
    pub(super) fn path(&mut self, entry: &Entry<'_>, use_of: PathUse) -> Option<Spanned<PathBuf>> {
        let (text, shown, literal) = self.path_text(entry)?;
        let named = text.strip_prefix("file:");
        if literal == Literal::Text && use_of == PathUse::Secret && named.is_none() {
            let message = format!("`{}` takes a reference, not a value", entry.path);
            let help = format!(
                "write `file:{}`, where that file holds the key in PEM",
                shorten(&text)
            );
            self.error(entry.node.span, message, help);
            return None;
        }
        let path = named.unwrap_or(&text);
        if path.trim().is_empty() || path.chars().any(char::is_control) {
            let message = format!("`{}`: `{shown}` is not a path", entry.path);
            self.error(
                entry.node.span,
                message,
                "write a path, relative to this file",
            );
            return None;
        }
        if path.contains("://") && literal != Literal::Reference {
            let message = format!("`{}`: `{shown}` is not a path", entry.path);
            self.error(
                entry.node.span,
                message,
                "download it and write the path: nothing is fetched here",
            );
            return None;
        }
        let value = self.place(entry, path)?;
        if use_of != PathUse::Written {
            self.watch(&value);
        }
        Some(Spanned {
            value,
            span: entry.node.span,
        })
    }

    /// Where a path leads: relative to the configuration, or to the credentials of a systemd unit.
    fn place(&mut self, entry: &Entry<'_>, path: &str) -> Option<PathBuf> {
        let Some(credential) = path.strip_prefix("$CREDENTIALS_DIRECTORY/") else {
            return Some(self.directory.join(path));
        };
        let directory = self
            .references
            .and_then(|references| references.variable("CREDENTIALS_DIRECTORY"));
        if directory.is_none() {
            let message = format!(
                "`{}`: the environment has no `CREDENTIALS_DIRECTORY`",
                entry.path
            );
            let help = "systemd sets it for units with `LoadCredential=`; elsewhere write the path";
            self.error(entry.node.span, message, help);
        }
        Some(PathBuf::from(directory?).join(credential))
    }

    /// The text of a path, in which `file:` is part of the text; a key in place of a path is
    /// refused without showing it.
    pub(super) fn path_text(&mut self, entry: &Entry<'_>) -> Option<(String, String, Literal)> {
        let Value::String(text) = &entry.node.value else {
            self.wrong_kind(entry, entry.kind.expects(), "write a path");
            return None;
        };
        let (text, shown, literal) = if text.starts_with("env:") {
            let value = self.variable(entry, text)?;
            (value, text.to_string(), Literal::Reference)
        } else {
            (text.to_string(), show(text), Literal::Text)
        };
        if text.contains("-----BEGIN") {
            let message = format!(
                "`{}` takes a file's path, not what is in the file",
                entry.path
            );
            let help = "put the PEM into a file of its own, readable for Fortress alone, and write `file:` and its path";
            self.error(entry.place, message, help);
            return None;
        }
        let is_value = ["exec:", "vault:"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        if literal == Literal::Text && is_value {
            let message = format!("`{}` takes a file, and `{shown}` is a value", entry.path);
            let help =
                "let the value be written to a file before the start, and name it: `file:PATH`";
            self.error(entry.node.span, message, help);
            return None;
        }
        Some((text, shown, literal))
    }

    pub(super) fn watch(&mut self, path: &Path) {
        if !self.files.iter().any(|known| known == path) {
            self.files.push(path.to_owned());
        }
    }

    /// Reports the second of two equal things.
    pub(super) fn once<T: Display + Ord + Clone>(
        &mut self,
        seen: &mut BTreeSet<T>,
        value: &T,
        span: Span,
        path: &str,
    ) -> bool {
        let is_new = seen.insert(value.clone());
        if !is_new {
            let message = format!("`{path}` says `{value}` a second time");
            self.error(span, message, "remove one of the two");
        }
        is_new
    }

    fn not_a(&mut self, entry: &Entry<'_>, scalar: &Scalar, expected: &str, help: &str) {
        let shown = &scalar.shown;
        let message = if scalar.literal == Literal::Reference {
            format!("`{}`: `{shown}` does not hold {expected}", entry.path)
        } else {
            format!("`{}`: `{shown}` is not {expected}", entry.path)
        };
        self.error(entry.node.span, message, help);
    }

    pub(super) fn scalar(&mut self, entry: &Entry<'_>) -> Option<Scalar> {
        let plain = |text: &str, literal| {
            Some(Scalar {
                text: text.to_owned(),
                shown: show(text),
                literal,
            })
        };
        match &entry.node.value {
            Value::Bool(value) => plain(if *value { "true" } else { "false" }, Literal::Bool),
            Value::Number(text) => plain(text, Literal::Number),
            Value::String(text) => {
                let value = if text.starts_with("env:") {
                    self.variable(entry, text)?
                } else if text.starts_with("file:") {
                    self.content(entry, text)?
                } else if text.starts_with("exec:") {
                    self.output(entry, text)?
                } else if text.starts_with("vault:") {
                    self.vault_value(entry, text)?
                } else if text.contains("-----BEGIN") {
                    let message = format!(
                        "`{}` holds a PEM block, and takes {}",
                        entry.path,
                        entry.kind.expects()
                    );
                    self.error(
                        entry.place,
                        message,
                        "keys and certificates stand in files of their own: `file:PATH`",
                    );
                    return None;
                } else {
                    return plain(text, Literal::Text);
                };
                Some(Scalar {
                    text: value,
                    shown: shorten(text),
                    literal: Literal::Reference,
                })
            }
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let help = format!("write {}", entry.kind.expects());
                self.wrong_kind(entry, entry.kind.expects(), &help);
                None
            }
        }
    }

    /// `env:NAME`.
    fn variable(&mut self, entry: &Entry<'_>, text: &str) -> Option<String> {
        let name = text.strip_prefix("env:").unwrap_or(text);
        let Some(references) = self.references else {
            self.no_reference(entry);
            return None;
        };
        let is_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !is_name {
            let message = format!("`{}`: `{}` names no variable", entry.path, shorten(text));
            self.error(
                entry.node.span,
                message,
                "write `env:NAME`, in letters, digits and `_`",
            );
            return None;
        }
        let value = references.variable(name);
        if value.is_none() {
            let message = format!("`{}`: the environment has no `{name}`", entry.path);
            self.error(
                entry.node.span,
                message,
                format!("set `{name}` before the start"),
            );
        }
        value
    }

    /// `file:PATH` where a value is expected: the file's text without the line break at its end.
    fn content(&mut self, entry: &Entry<'_>, text: &str) -> Option<String> {
        if self.references.is_none() {
            self.no_reference(entry);
            return None;
        }
        let path = text.strip_prefix("file:").unwrap_or(text);
        let path = self.place(entry, path)?;
        self.watch(&path);
        let read = || {
            let mut content = String::new();
            let file = crate::file::open(&path)?;
            file.take(MAX_REFERENCE + 1).read_to_string(&mut content)?;
            std::io::Result::Ok(content)
        };
        match read() {
            Ok(content) if content.len() > usize::try_from(MAX_REFERENCE).unwrap_or(usize::MAX) => {
                let message = format!(
                    "`{}`: `{}` holds more than 64 KiB",
                    entry.path,
                    shorten(text)
                );
                self.error(
                    entry.node.span,
                    message,
                    "name a file that holds the value alone",
                );
                None
            }
            Ok(content) => Some(content.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                let message = format!(
                    "`{}`: cannot read `{}`: {error}",
                    entry.path,
                    path.display()
                );
                self.error(entry.node.span, message, "paths are relative to this file");
                None
            }
        }
    }

    pub(super) fn no_reference(&mut self, entry: &Entry<'_>) {
        let message = format!(
            "`{}` is a reference, and a description has none",
            entry.path
        );
        self.error(entry.node.span, message, "write it in the configuration");
    }
}

/// What is done with a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathUse {
    /// Read, and watched for changes.
    Read,
    /// The same, and only a reference will do.
    Secret,
    /// Written.
    Written,
}

/// A key that some block will have one day, written elsewhere.
fn is_ever_later(key: &str) -> bool {
    fn walk(block: &'static Block, key: &str) -> bool {
        block.later.contains(&key)
            || block
                .keys()
                .filter_map(|key| key.kind.block())
                .any(|inner| walk(inner, key))
    }
    walk(&super::keys::ROOT, key)
}

/// A value for a message, without the password of a URL.
fn show(text: &str) -> String {
    let shown = shorten(text);
    match (shown.split_once("://"), shown.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (Some(_), None) | (None, _) => shown,
    }
}

/// The beginning of a doc, to go on after a colon.
fn first_sentence(doc: &str) -> String {
    let sentence = doc.split(". ").next().unwrap_or(doc).trim_end_matches('.');
    let mut characters = sentence.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
