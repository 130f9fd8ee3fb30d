//! Files in memory, and descriptions around the one line that a test is about.

use std::{
    collections::HashMap,
    io::{Error, ErrorKind},
    path::{Path, PathBuf},
};

use fortress_model::{diagnostic::Severity, document::Sources};
use fortress_spec::{ApiDescription, Files, Loaded, load};

/// Files by path.
#[derive(Debug, Default)]
pub(crate) struct Memory(HashMap<PathBuf, String>);

impl Memory {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let owned = |(path, text): &(&str, &str)| (PathBuf::from(path), (*text).to_owned());
        Self(files.iter().map(owned).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        let missing = || Error::new(ErrorKind::NotFound, "no such file");
        self.0.get(path).cloned().ok_or_else(missing)
    }
}

/// Loads the first of `files`.
pub(crate) fn load_files(files: &[(&str, &str)]) -> (Loaded, Sources) {
    let mut sources = Sources::default();
    let loaded = load(Path::new(files[0].0), &Memory::new(files), &mut sources);
    let failed = loaded
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.severity == Severity::Error);
    assert_eq!(failed, loaded.description.is_none(), "{loaded:?}");
    (loaded, sources)
}

/// The messages, each as `error openapi.yaml:3:4 message (help)`.
pub(crate) fn messages(loaded: &Loaded, sources: &Sources) -> Vec<String> {
    let show = |diagnostic: &fortress_model::diagnostic::Diagnostic| {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let position = diagnostic.span.and_then(|span| sources.position(span));
        let position = position.map_or("-".to_owned(), |position| {
            format!("{}:{}:{}", position.name, position.line, position.column)
        });
        let help = diagnostic.help.as_deref().unwrap_or_default();
        format!("{severity} {position} {} ({help})", diagnostic.message)
    };
    loaded.diagnostics.iter().map(show).collect()
}

/// Loads files that must be right.
#[track_caller]
pub(crate) fn description(files: &[(&str, &str)]) -> ApiDescription {
    let (loaded, sources) = load_files(files);
    let messages = messages(&loaded, &sources);
    loaded
        .description
        .unwrap_or_else(|| panic!("{messages:#?}"))
}

/// Loads files, and demands exactly one message that contains `expect`; or none for `ok`.
#[track_caller]
pub(crate) fn check_files(files: &[(&str, &str)], expect: &str) {
    let (loaded, sources) = load_files(files);
    let messages = messages(&loaded, &sources);
    if expect == "ok" {
        assert!(messages.is_empty(), "{messages:#?}");
    } else {
        assert_eq!(messages.len(), 1, "{messages:#?}");
        assert!(messages[0].contains(expect), "{messages:#?}");
    }
}
