//! `fortress keys hash-password`: what stands for a password in a file of users.

use std::io::{BufRead, IsTerminal, Read};

use anyhow::{Context, Result};
use fortress_auth::basic;
use fortress_model::Secret;
use serde_json::json;

use crate::{
    command::{End, Usage},
    screen::Screen,
};

/// Bytes of a password.
const LONGEST: usize = 1024;

/// Reads one line, and writes its hash; with a name, as a line of the file.
pub(super) fn run(name: Option<&str>, screen: &Screen) -> Result<End> {
    if name.is_some_and(|name| name.contains(':')) {
        return Err(Usage("a user's name has no `:` (RFC 7617, section 2)".into()).into());
    }
    let input = std::io::stdin();
    if input.is_terminal() {
        screen.note("type the password, then Enter; it is shown while it is typed");
    }
    let mut line = Secret::new(String::with_capacity(LONGEST + 2));
    let most = u64::try_from(LONGEST).unwrap_or_default() + 2;
    input
        .lock()
        .take(most)
        .read_line(line.expose_mut())
        .context("cannot read the password")?;
    let password = Secret::new(line.expose().trim_end_matches(['\r', '\n']).to_owned());
    if password.expose().is_empty() || password.expose().len() > LONGEST {
        let message = format!("give a password of at most {LONGEST} bytes on standard input");
        return Err(Usage(message).into());
    }
    let mut salt = [0; 16];
    super::random(&mut salt)?;
    let hash = basic::hash(&password, salt)?;
    if screen.is_json() {
        screen.line(json!({ "name": name, "hash": hash }).to_string());
    } else {
        screen.line(match name {
            Some(name) => format!("{name}:{hash}"),
            None => hash,
        });
    }
    Ok(End::Fine)
}
