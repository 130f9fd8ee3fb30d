//! `fortress keys check`: a key that was found somewhere it should not be. Whose is it, is it still
//! accepted, and away with it.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result};
use fortress_auth::api_key::{ApiKey, KeyError, KeyRecord, KeyState, MAX_KEY};
use fortress_model::Secret;
use serde_json::json;

use super::{Keys, coloured, shown};
use crate::{
    command::{End, Usage},
    screen::{BAD, CARE, GOOD, Screen, safe},
    store,
};

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// The key; better given on standard input, since other users of this machine can see arguments
    key: Option<String>,
    /// Revokes it if it is accepted
    #[arg(long)]
    revoke: bool,
    /// Asks nothing
    #[arg(long, requires = "revoke")]
    yes: bool,
}

/// What a text turned out to be.
enum Found {
    /// No key at all.
    Malformed(&'static str),
    /// No key of ours, or none any more.
    Unknown,
    /// The id is of this key, the secret is not: mistyped with care, or replaced long ago.
    OtherSecret(Box<KeyRecord>),
    /// This key, and whether this secret is accepted.
    Known(Box<KeyRecord>, KeyState),
}

impl Found {
    /// What says more about a text that holds several parts weighs more.
    fn weight(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Malformed(_) => 1,
            Self::OtherSecret(_) => 2,
            Self::Known(_, KeyState::Expired | KeyState::Revoked) => 3,
            Self::Known(_, KeyState::Active) => 4,
        }
    }
}

pub(super) fn run(keys: &Keys, flags: &Flags, screen: &Screen) -> Result<End> {
    let text = match &flags.key {
        Some(key) => {
            screen.note(format!(
                "{CARE}warning{CARE:#}: arguments are seen in the list of processes and stay in the shell's history; give the key on standard input"
            ));
            Secret::new(key.clone())
        }
        None => typed(screen)?,
    };
    let found = find(keys, text.expose().trim())?;
    let mut revoked = false;
    let mut accepted = false;
    if let Found::Known(key, state) = &found {
        accepted = *state == KeyState::Active;
        let question = format!("Revoke {} of {} for ever", key.id, safe(&key.owner));
        let is_asked = flags.revoke || screen.can_ask();
        if accepted && is_asked {
            if !screen.is_json() {
                screen.line(said(&found));
            }
            let sure = flags.yes || (flags.revoke && !screen.can_ask());
            if store::confirmed(&question, sure, screen)? {
                keys.end(key.id)?;
                revoked = true;
            }
        } else if !screen.is_json() {
            screen.line(said(&found));
        }
    } else if !screen.is_json() {
        screen.line(said(&found));
    }
    if screen.is_json() {
        screen.line(json(keys, &found, revoked)?.to_string());
    } else if revoked {
        screen.line(format!(
            "{GOOD}revoked{GOOD:#}: no instance accepts it from a second on"
        ));
    } else if accepted {
        screen.line("Revoke it: fortress keys check --revoke");
    }
    Ok(if accepted && !revoked {
        End::Findings
    } else {
        End::Fine
    })
}

/// A line or a few, from standard input.
fn typed(screen: &Screen) -> Result<Secret<String>> {
    if std::io::stdin().is_terminal() {
        screen.note("The leaked key, and then Enter:");
        let mut line = Secret::new(String::with_capacity(4 * MAX_KEY));
        std::io::stdin().read_line(line.expose_mut())?;
        return Ok(line);
    }
    // Longer than any key with white space around it.
    let most = 4 * MAX_KEY;
    let mut text = Secret::new(String::with_capacity(most + 1));
    std::io::stdin()
        .take(u64::try_from(most).unwrap_or(0) + 1)
        .read_to_string(text.expose_mut())
        .context("standard input is not text")?;
    if text.expose().trim().is_empty() {
        return Err(Usage("there is no key on standard input".into()).into());
    }
    if text.expose().len() > most {
        return Err(Usage("give one key alone on standard input".into()).into());
    }
    Ok(text)
}

/// The key that a text is, or that stands in it: leaked keys come with quotes, the name of a field
/// or the rest of a line around them.
fn find(keys: &Keys, text: &str) -> Result<Found> {
    let mut best = find_exactly(keys, text)?;
    for part in parts(text) {
        let found = find_exactly(keys, part)?;
        match (&best, &found) {
            (Found::Known(one, KeyState::Active), Found::Known(other, KeyState::Active))
                if one.id != other.id =>
            {
                return Err(
                    Usage("the text holds several keys; give them one by one".into()).into(),
                );
            }
            _ if found.weight() > best.weight() => best = found,
            _ => {}
        }
    }
    Ok(best)
}

/// What within a text may be a key: each text in the form of our own, and what stands between the
/// signs that people and files put around keys.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let own = text
        .match_indices("frt_")
        .filter_map(|(at, _)| text.get(at..))
        .map(|rest| {
            let is_of_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
            rest.split(|c: char| !is_of_key(c)).next().unwrap_or(rest)
        });
    let quotes = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`');
    let signs = move |c: char| quotes(c) || ",;&?<>()[]{}".contains(c);
    let pieces = text.split(quotes).chain(text.split(signs));
    let values = pieces.flat_map(|piece| {
        let after = |sign| piece.split_once(sign).map(|(_, value)| value);
        [Some(piece), after('='), after(':')].into_iter().flatten()
    });
    own.chain(values.filter(|part| !part.is_empty()))
}

fn find_exactly(keys: &Keys, text: &str) -> Result<Found> {
    let (id, digest) = match keys.pepper.read(text) {
        Ok(read) => read,
        Err(KeyError::Malformed(why)) => return Ok(Found::Malformed(why)),
        Err(error) => return Err(error.into()),
    };
    let Some(key) = keys.store.key(id)? else {
        return Ok(Found::Unknown);
    };
    let secret = key.secrets.iter().find(|secret| secret.digest == digest);
    let Some(secret) = secret else {
        let is_own = ApiKey::is_own(text);
        return Ok(if is_own {
            Found::OtherSecret(Box::new(key))
        } else {
            Found::Unknown
        });
    };
    let is_over = secret.expires.is_some_and(|end| end <= keys.now);
    let state = match key.state(keys.now) {
        KeyState::Active if is_over => KeyState::Expired,
        state @ (KeyState::Active | KeyState::Expired | KeyState::Revoked) => state,
    };
    Ok(Found::Known(Box::new(key), state))
}

fn said(found: &Found) -> String {
    match found {
        Found::Malformed(why) => format!("{GOOD}no key{GOOD:#} that could be accepted: {why}"),
        Found::Unknown => format!("{GOOD}not known{GOOD:#}: no key of this store"),
        Found::OtherSecret(key) => format!(
            "{GOOD}not accepted{GOOD:#}: the id is of {}'s key {} ({}), the secret is not, or was replaced",
            safe(&key.owner),
            key.id,
            coloured_state(key)
        ),
        Found::Known(key, KeyState::Active) => format!(
            "{BAD}accepted{BAD:#}: the key {} of {} ({})",
            key.id,
            safe(&key.owner),
            key.access.environment
        ),
        Found::Known(key, state @ (KeyState::Expired | KeyState::Revoked)) => format!(
            "{GOOD}not accepted any more{GOOD:#}: the key {} of {} ({}) is {}",
            key.id,
            safe(&key.owner),
            key.access.environment,
            coloured(*state)
        ),
    }
}

fn coloured_state(key: &KeyRecord) -> String {
    let revoked = key.revoked.map(|_| KeyState::Revoked);
    coloured(revoked.unwrap_or(KeyState::Active))
}

fn json(keys: &Keys, found: &Found, revoked: bool) -> Result<serde_json::Value> {
    let (word, key) = match found {
        Found::Malformed(_) => ("malformed", None),
        Found::Unknown => ("unknown", None),
        Found::OtherSecret(key) => ("other_secret", Some(key)),
        Found::Known(key, KeyState::Active) => ("accepted", Some(key)),
        Found::Known(key, KeyState::Expired) => ("expired", Some(key)),
        Found::Known(key, KeyState::Revoked) => ("revoked", Some(key)),
    };
    let key = match key {
        Some(key) => keys.store.key(key.id)?,
        None => None,
    };
    let key = key.map(|key| shown::json(&key, keys.now));
    Ok(json!({ "found": word, "revoked": revoked, "key": key }))
}
