//! From a path to a [`Config`], with every mistake that there is.
//!
//! This is the only place that reads the environment, and it does so through an argument.
//! Deliberately not here: whether the files that are named hold what they should.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hasher as _},
    io::Read,
    path::Path,
};

use super::{
    Config, Detect, JournalSink, Settings,
    keys::{Kind, ROOT},
    reader::{Entry, Fields, PathUse, Reader},
    references::{References, Variables},
    scalar,
    settings::Level,
};
use crate::{
    diagnostic::{Diagnostic, Severity},
    document::{Format, Node, SourceId, Sources, Span, Value, read::shorten, read_partly},
};

/// Bytes that a configuration may have.
const MAX_BYTES: u64 = 4 << 20;

/// Reads `fortress.yaml`. There is a configuration only if there is no error; warnings do not hinder
/// it. The diagnostics are in the file's order.
///
/// `environment` gives the variables that `env:NAME` refers to; commands (`exec:`) are refused.
pub fn load(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    load_with(path, &Variables(environment))
}

/// Like [`load`], with more than variables to refer to.
pub fn load_with(
    path: &Path,
    references: &dyn References,
) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    let (config, sources, diagnostics) = load_partly_with(path, references);
    let has_error = diagnostics
        .iter()
        .any(|found| found.severity == Severity::Error);
    (config.filter(|_| !has_error), sources, diagnostics)
}

/// Like [`load`], but gives what could be read even if there are errors, so that a report can go on
/// to the descriptions and show all mistakes at once. What could not be read is absent: never serve
/// with this.
pub fn load_partly(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    load_partly_with(path, &Variables(environment))
}

/// Like [`load_partly`], with more than variables to refer to.
pub fn load_partly_with(
    path: &Path,
    references: &dyn References,
) -> (Option<Config>, Sources, Vec<Diagnostic>) {
    let mut sources = Sources::default();
    let (id, mut diagnostics) = match read_file(path, &mut sources) {
        Ok(found) => found,
        Err(diagnostic) => return (None, sources, vec![diagnostic]),
    };
    let (node, found) = read_partly(id, &sources, Format::Auto);
    diagnostics.extend(found);
    let Some(node) = node else {
        return (None, sources, diagnostics);
    };
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut reader = Reader {
        references: Some(references),
        vault: None,
        asked: DefaultHasher::new(),
        directory,
        files: vec![path.to_owned()],
        diagnostics,
    };
    let config = reader.config(&node, id);
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.start, span.end)));
    (config, sources, diagnostics)
}

fn read_file(
    path: &Path,
    sources: &mut Sources,
) -> Result<(SourceId, Vec<Diagnostic>), Diagnostic> {
    let name = path.display().to_string();
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?
            .take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().map_err(|error| {
        let help =
            "write one with `fortress init openapi.yaml --upstream URL`, or name another file";
        Diagnostic::error(None, format!("cannot read `{name}`: {error}")).help(help)
    })?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        let message = format!("`{name}` has more than {}", scalar::show_size(MAX_BYTES));
        return Err(Diagnostic::error(None, message));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((sources.add(name, text), Vec::new())),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let id = sources.add(name, text);
            let start = u32::try_from(at).unwrap_or(u32::MAX);
            let span = Span {
                source: id,
                start,
                end: start.saturating_add(3),
            };
            let diagnostic =
                Diagnostic::error(span, "this is not UTF-8").help("save the file as UTF-8");
            Ok((id, vec![diagnostic]))
        }
    }
}

impl Reader<'_> {
    fn config(&mut self, node: &Node, id: SourceId) -> Option<Config> {
        static KIND: Kind = Kind::Block(&ROOT);
        let place = Span {
            source: id,
            start: node.span.start,
            end: node.span.start,
        };
        if matches!(node.value, Value::Null) {
            let help = "write one with `fortress init openapi.yaml --upstream URL`";
            self.error(place, "the configuration is empty", help);
            return None;
        }
        let root = Entry {
            node,
            kind: &KIND,
            place,
            path: String::new(),
        };
        let fields = self.fields(&root)?;
        self.first(&fields);
        let trusted_proxies = self.or_none(&fields, "trusted_proxies", Self::networks);
        let listen = fields
            .get("listen")
            .map(|entry| self.listen(&entry, trusted_proxies.len()))
            .unwrap_or_default();
        let identity_entry = fields.get("identity");
        let names: Vec<&str> = identity_entry
            .as_ref()
            .map(|entry| {
                entry
                    .node
                    .members()
                    .iter()
                    .map(|member| &*member.key)
                    .collect()
            })
            .unwrap_or_default();
        let apis = fields
            .get("apis")
            .map(|entry| self.apis(&entry, &names))
            .unwrap_or_default();
        let identity = identity_entry
            .map(|entry| self.identity(&entry))
            .unwrap_or_default();
        let networks = self.or_none(&fields, "networks", Self::network_lists);
        let internal_tokens = fields
            .get("internal_tokens")
            .map(|entry| self.internal_tokens(&entry));
        let (store, redis) = self.stores(&fields);
        let (defaults, detect) = self.everywhere(&fields);
        let journal = self.or_none(&fields, "journal", Self::journal);
        Some(Config {
            listen,
            trusted_proxies,
            networks,
            apis,
            identity,
            internal_tokens: internal_tokens.flatten().unwrap_or_default(),
            store,
            redis,
            defaults,
            detect,
            journal,
            directory: self.directory.clone(),
            asked: self.asked.finish(),
            vault: self.vault.take(),
            files: std::mem::take(&mut self.files),
        })
    }

    /// What a key holds; nothing where it is not there.
    fn or_none<T: Default>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        read: impl FnOnce(&mut Self, &Entry<'_>) -> T,
    ) -> T {
        let entry = fields.get(name);
        entry.map(|entry| read(self, &entry)).unwrap_or_default()
    }

    /// What says how the rest is read.
    fn first(&mut self, fields: &Fields<'_>) {
        if let Some(entry) = fields.get("version") {
            self.version(&entry);
        }
        // INVARIANT: before all that may hold a reference by `vault:`.
        self.vault = fields
            .get("secrets")
            .and_then(|entry| self.vault_settings(&entry));
    }

    fn version(&mut self, entry: &Entry<'_>) {
        // A later version is likelier than a slip, and has another remedy.
        if let Some(number) = entry.node.as_number()
            && number != "1"
        {
            let message = format!("`version` is `{number}`; this Fortress reads version 1");
            self.error(
                entry.node.span,
                message,
                "write `version: 1`, or take the Fortress that the file was written for",
            );
            return;
        }
        self.word(entry);
    }

    fn networks(&mut self, entry: &Entry<'_>) -> Vec<super::Network> {
        let mut networks = Vec::new();
        let mut seen = BTreeSet::new();
        for item in self.items(entry) {
            let Some(network) = self.parsed(&item, scalar::network) else {
                continue;
            };
            let shown = format!("{}/{}", network.value.address, network.value.prefix);
            if network.value.prefix == 0 {
                let message = format!("`{shown}` believes every client's `Forwarded`");
                self.warn(
                    network.span,
                    message,
                    "name the networks of your own proxies",
                );
            }
            if self.once(&mut seen, &shown, network.span, &entry.path) {
                networks.push(network.value);
            }
        }
        networks
    }

    /// What holds everywhere.
    fn everywhere(&mut self, root: &Fields<'_>) -> (Settings, Detect) {
        let defaults = root
            .get("defaults")
            .and_then(|entry| self.fields(&entry))
            .map(|fields| self.settings(&fields, Level::Wide));
        let detect = root.get("detect").map(|entry| self.detect(&entry));
        (defaults.unwrap_or_default(), detect.unwrap_or_default())
    }

    fn journal(&mut self, entry: &Entry<'_>) -> Vec<JournalSink> {
        let mut sinks = Vec::new();
        let mut seen = BTreeSet::new();
        for item in self.items(entry) {
            let Some(fields) = self.fields(&item) else {
                continue;
            };
            if let Some(format) = fields.get("format") {
                self.word(&format);
            }
            let (file, stdout) = (fields.get("file"), fields.get("stdout"));
            let sink = match (&file, &stdout) {
                (Some(_), Some(stdout)) => {
                    let message = format!("`{}` has both `file` and `stdout`", item.path);
                    self.error(stdout.place, message, "write two entries");
                    None
                }
                (None, None) => {
                    let message = format!("`{}` says not where to write", item.path);
                    self.error(
                        item.place,
                        message,
                        "add `file: journal.ndjson` or `stdout: true`",
                    );
                    None
                }
                (Some(file), None) => self
                    .path(file, PathUse::Written)
                    .map(|path| (JournalSink::File(path.value), path.span)),
                (None, Some(stdout)) => self.stdout(stdout).map(|sink| (sink, stdout.place)),
            };
            let Some((sink, span)) = sink else {
                continue;
            };
            let shown = match &sink {
                JournalSink::File(path) => path.display().to_string(),
                JournalSink::Stdout => "stdout".to_owned(),
            };
            if self.once(&mut seen, &shown, span, &entry.path) {
                sinks.push(sink);
            }
        }
        sinks
    }

    fn stdout(&mut self, entry: &Entry<'_>) -> Option<JournalSink> {
        if self.boolean(entry)? {
            return Some(JournalSink::Stdout);
        }
        let message = format!("`{}` can only be `true`", entry.path);
        self.error(
            entry.node.span,
            message,
            "remove the entry to write nothing to standard output",
        );
        None
    }
}

impl Reader<'_> {
    /// Whether a name can stand in metrics, records and messages; reports it if not.
    pub(super) fn identifier(&mut self, name: &str, span: Span, what: &str) -> bool {
        const LONGEST: usize = 64;
        let is_identifier = name.len() <= LONGEST
            && name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !is_identifier {
            let message = format!("`{}` is not a name for {what}", shorten(name));
            let help =
                "begin with a letter, go on with letters, digits, `_` and `-`, at most 64 in all";
            self.error(span, message, help);
        }
        is_identifier
    }
}
