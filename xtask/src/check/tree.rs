//! The project's text files by path, as git sees them: committed, or new and not ignored.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Result, ensure};

/// Paths (relative to the root, with `/`) and texts. Files that are not UTF-8 have an empty text.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
}

impl Tree {
    /// Reads the working copy at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let listed = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()?;
        ensure!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr).trim()
        );
        let mut tree = Self::default();
        for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            // Listed but gone: deleted in the working copy.
            if let Ok(bytes) = fs::read(root.join(path)) {
                tree.insert(path, &String::from_utf8(bytes).unwrap_or_default());
            }
        }
        Ok(tree)
    }

    /// Adds or replaces a file.
    pub(crate) fn insert(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), text.to_owned());
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Whether a file or folder of this path exists.
    pub(crate) fn exists(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        self.files.contains_key(path) || self.files.keys().any(|file| file.starts_with(&folder))
    }

    /// The files with this ending, such as `.rs`.
    pub(crate) fn ending<'a>(
        &'a self,
        ending: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.ends_with(ending))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

#[cfg(test)]
impl Tree {
    /// The smallest tree that breaks no rule.
    pub(crate) fn sample() -> Self {
        Self::of(&[
            ("README.md", "# Fortress\n"),
            ("ARCHITECTURE.md", "# Architecture\n"),
            ("CONTRIBUTING.md", "# Contributing\n"),
            ("SECURITY.md", "# Security\n"),
            ("LICENSE", "Apache License\n"),
            ("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n"),
        ])
    }

    /// A tree of these files.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.insert(path, text);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_exist_by_their_files() {
        let tree = Tree::of(&[("docs/a/b.md", "")]);
        assert!(tree.exists("docs/a/b.md") && tree.exists("docs/a/") && tree.exists("docs"));
        assert!(!tree.exists("docs/b.md") && !tree.exists("doc"));
    }
}
