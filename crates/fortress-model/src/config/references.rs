//! Values that stand elsewhere: variables (`env:NAME`) and what commands write (`exec:COMMAND`).
//!
//! What reaches beyond files comes in as an argument. Deliberately not here: running commands.

use super::reader::{Entry, Reader};
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
}

/// Variables alone: for what must not run commands.
pub(super) struct Variables<'e>(pub(super) &'e dyn Fn(&str) -> Option<String>);

impl References for Variables<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }

    fn run(&self, _: &[&str]) -> Result<Secret<String>, String> {
        Err("commands are not run here".into())
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
            Ok(output) => Some(output.expose().clone()),
            Err(why) => {
                let message = format!("`{}`: `{}`: {why}", entry.path, shorten(text));
                let help = "run it by hand as the user that Fortress runs as";
                self.error(entry.node.span, message, help);
                None
            }
        }
    }
}
