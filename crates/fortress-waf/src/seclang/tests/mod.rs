//! SecLang's texts against what they mean, or what is said about them.

mod accepted;
mod files;
mod lines;
mod properties;
mod refused;

use std::collections::BTreeMap;

use super::{DirectiveKind, Files, Link, Rule, Ruleset};

/// Files in memory, by their full names.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<&'static str, &'static [u8]>);

impl Memory {
    pub(super) fn of(files: &[(&'static str, &'static [u8])]) -> Self {
        Self(files.iter().copied().collect())
    }

    fn full(name: &str, from: &str) -> String {
        match from.rsplit_once('/') {
            Some((folder, _)) if !name.starts_with('/') => format!("{folder}/{name}"),
            _ => name.to_owned(),
        }
    }
}

impl Files for Memory {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        let found = self.0.get(Self::full(name, from).as_str());
        found.map_or(Err("no such file".to_owned()), |text| Ok(text.to_vec()))
    }

    fn list(&mut self, pattern: &str, from: &str) -> Result<Vec<String>, String> {
        let folder = Self::full("", from);
        let (before, after) = pattern.split_once('*').unwrap();
        let names = self.0.keys().filter_map(|name| name.strip_prefix(&folder));
        let matching = names.filter(|name| name.starts_with(before) && name.ends_with(after));
        Ok(matching.map(str::to_owned).collect())
    }
}

/// What a text without mistakes says.
#[track_caller]
pub(super) fn read(text: &str) -> Vec<DirectiveKind> {
    let files = &mut Memory::of(&[
        ("words.data", b"one\n# no\n  two words \n\n\xFFthree\r\n"),
        ("more.data", b"four"),
    ]);
    match Ruleset::parse("test.conf", text, files) {
        Ok(ruleset) => {
            let kinds = ruleset.directives().iter();
            kinds.map(|directive| directive.kind.clone()).collect()
        }
        Err(mistakes) => {
            let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            panic!("{text}\n{}", shown.join("\n"))
        }
    }
}

/// The only rule of a text.
#[track_caller]
pub(super) fn rule(text: &str) -> Rule {
    let mut kinds = read(text);
    match (kinds.pop(), kinds.is_empty()) {
        (Some(DirectiveKind::Rule(rule)), true) => rule,
        other => panic!("{other:?}"),
    }
}

/// Its only link.
#[track_caller]
pub(super) fn link(text: &str) -> Link {
    let mut links = rule(text).links;
    assert_eq!(links.len(), 1);
    links.remove(0)
}

/// Every mistake of a text, without the file's name.
#[track_caller]
pub(super) fn mistakes(text: &[u8]) -> Vec<String> {
    let files = &mut Memory::of(&[("words.data", b"one")]);
    let mistakes = Ruleset::parse("test.conf", text, files).expect_err("a mistake");
    let shown = mistakes.iter().map(ToString::to_string);
    shown
        .map(|mistake| mistake.strip_prefix("test.conf:").unwrap().to_owned())
        .collect()
}
