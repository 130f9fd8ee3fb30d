//! Values that stand elsewhere: variables (`env:NAME`), what commands write (`exec:COMMAND`), and
//! secrets of a vault (`vault:MOUNT/PATH#KEY`).
//!
//! What reaches beyond files comes in as an argument. Deliberately not here: running commands and asking
//! a vault.

use std::hash::Hash as _;

use super::{
    reader::{Entry, Reader},
    secrets::VaultSettings,
};
use crate::{document::read::shorten, secret::Secret};

/// Words that a command may have.
const MAX_WORDS: usize = 64;

/// Where values come from that stand outside of files.
///
/// An error is a text for the operator and never holds a part of a value or of a command's output.
pub trait References {
    /// The variable of the environment that `env:NAME` means.
    fn variable(&self, name: &str) -> Option<String>;

    /// What the command of `exec:COMMAND` writes, without the line break at its end. The first word
    /// is the program; no shell is between.
    ///
    /// # Errors
    /// It cannot be run, fails, takes too long or writes too much.
    fn run(&self, command: &[&str]) -> Result<Secret<String>, String>;

    /// A value of a vault's key-value engine.
    ///
    /// # Errors
    /// The vault cannot be reached, is sealed, refuses, or has no such value.
    fn vault(
        &self,
        vault: &VaultSettings,
        reference: &VaultReference<'_>,
    ) -> Result<Secret<String>, String>;
}

/// `vault:MOUNT/PATH#KEY`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VaultReference<'t> {
    /// Where the key-value engine (version 2) is mounted: one segment.
    pub mount: &'t str,
    /// The secret's path in it.
    pub path: &'t str,
    /// The key of the value in the secret.
    pub key: &'t str,
}

impl<'t> VaultReference<'t> {
    /// Reads what stands after `vault:`.
    pub fn parse(text: &'t str) -> Option<Self> {
        let (place, key) = text.split_once('#')?;
        let (mount, path) = place.split_once('/')?;
        let fits = is_plain_path(place) && is_plain_path(key) && !key.contains('/');
        fits.then_some(Self { mount, path, key })
    }
}

/// Each segment is plain, so that what is asked for is what is written.
pub(super) fn is_plain_path(path: &str) -> bool {
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    path.split('/').all(plain)
}

/// Variables alone: for what must not run commands nor ask a vault.
pub(super) struct Variables<'e>(pub(super) &'e dyn Fn(&str) -> Option<String>);

impl References for Variables<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn run(&self, _: &[&str]) -> Result<Secret<String>, String> {
        Err("commands are not run here".into())
    }

    fn vault(&self, _: &VaultSettings, _: &VaultReference<'_>) -> Result<Secret<String>, String> {
        Err("no vault is asked here".into())
    }
}

impl Reader<'_> {
    /// `exec:COMMAND`.
    pub(super) fn output(&mut self, entry: &Entry<'_>, text: &str) -> Option<String> {
        let Some(references) = self.references else {
            self.no_reference(entry);
            return None;
        };
        let command = text.strip_prefix("exec:").unwrap_or(text);
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        // A shell's signs would be handed to the program as they are, to everybody's surprise.
        let is_shell =
            command.contains(['|', '>', '<', '&', ';', '$', '`', '\'', '"', '\\', '*', '(']);
        if words.is_empty() || words.len() > MAX_WORDS || is_shell {
            let message = format!("`{}`: `{}` is not a command", entry.path, shorten(text));
            let help = "write a program and its arguments, separated by spaces; no shell reads them, so put anything else into a script";
            self.error(entry.node.span, message, help);
            return None;
        }
        match references.run(&words) {
            Ok(output) => {
                output.expose().hash(&mut self.asked);
                Some(output.expose().clone())
            }
            Err(why) => {
                let message = format!("`{}`: `{}`: {why}", entry.path, shorten(text));
                let help = "run it by hand as the user that Fortress runs as";
                self.error(entry.node.span, message, help);
                None
            }
        }
    }

    /// `vault:MOUNT/PATH#KEY`.
    pub(super) fn vault_value(&mut self, entry: &Entry<'_>, text: &str) -> Option<String> {
        let Some(references) = self.references else {
            self.no_reference(entry);
            return None;
        };
        let Some(reference) = text.strip_prefix("vault:").and_then(VaultReference::parse) else {
            let message = format!(
                "`{}`: `{}` names no value of a vault",
                entry.path,
                shorten(text)
            );
            let help = "write `vault:MOUNT/PATH#KEY`, such as `vault:secret/fortress#idp`";
            self.error(entry.node.span, message, help);
            return None;
        };
        let Some(vault) = &self.vault else {
            let message = format!("`{}`: no vault is named that could be asked", entry.path);
            let help = "add `secrets: { vault: { address: https://…, auth: … } }`; what its own block needs comes from elsewhere";
            self.error(entry.node.span, message, help);
            return None;
        };
        match references.vault(vault, &reference) {
            Ok(value) => {
                value.expose().hash(&mut self.asked);
                Some(value.expose().clone())
            }
            Err(why) => {
                let message = format!("`{}`: `{}`: {why}", entry.path, shorten(text));
                let help = "see whether the vault answers, and what Fortress's role may read";
                self.error(entry.node.span, message, help);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vault_is_asked_for_is_what_is_written() {
        let reference = VaultReference {
            mount: "secret",
            path: "team/fortress",
            key: "idp.secret",
        };
        let found = VaultReference::parse("secret/team/fortress#idp.secret");
        assert_eq!(found, Some(reference));
        for text in [
            "",
            "secret",
            "secret#a",
            "secret/a",
            "secret/a#",
            "/a#b",
            "secret/#b",
            "a//b#c",
            "a/../b#c",
            "a/./b#c",
            "a/b%2f#c",
            "a/b?c#d",
            "a/b c#d",
            "a/b#c#d",
            "a/b/#c",
            "a/b#..",
            "a/b#c/d",
        ] {
            assert_eq!(VaultReference::parse(text), None, "{text}");
        }
    }
}
