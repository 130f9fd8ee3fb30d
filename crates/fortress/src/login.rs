//! `fortress login`: accounts that are locked, and lifting a lock.
//!
//! Deliberately not here: when an account is locked (`login.lock` of an operation).

use std::path::Path;

use anyhow::Result;
use fortress_limits::{
    Key,
    defence::{Kept, Kind, account_key, kept},
    key::Secret,
};
use fortress_model::{Clock, SystemClock, Timestamp};
use fortress_store::{Presence, Store};
use serde_json::{Value, json};

use crate::{
    command::{End, Usage},
    screen::{CARE, GOOD, QUIET, Screen, count, safe},
    store,
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress login list
  fortress login unlock ann@example.com --api shop
  fortress login unlock 7be2e52dbf494cd67e43be16d6341332";

/// How long a running instance may take to hear of it, and one that is down.
const LIFE: u64 = 86_400 * 1_000_000_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    store: store::Named,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Lists locked accounts, as the journal names them
    List,
    /// Forgets the failures of an account and lifts its lock, on every instance
    Unlock(Unlock),
}

#[derive(Debug, clap::Args)]
struct Unlock {
    /// The account as it is written when it logs in, or as the journal names it
    account: String,
    /// The API that it logs in to
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// What it was locked at: `login` or `otp`
    #[arg(long, value_name = "KIND", default_value = "login", value_parser = ["login", "otp", "reset", "registration"])]
    kind: String,
}

/// Does it.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    let settings = store::settings(&flags.store.config)?;
    let store = store::opened(&settings, Presence::Demanded, screen)?;
    match &flags.action {
        Action::List => list(&store, screen),
        Action::Unlock(unlocked) => unlock(&store, &flags.store.config, unlocked, screen),
    }
}

/// What the instances have written of logins.
fn kept(store: &Store, now: Timestamp) -> Result<Vec<Kept>> {
    let mut states = Vec::new();
    for number in 0..kept::MOST_PIECES {
        let id = kept::piece(number);
        let Some(piece) = store.state(kept::STORE_KIND, &id, now)? else {
            break;
        };
        states.extend(kept::read(piece.expose(), now));
    }
    Ok(states)
}

fn list(store: &Store, screen: &Screen) -> Result<End> {
    let now = SystemClock.now();
    let locked: Vec<(Key, u64)> = kept(store, now)?
        .into_iter()
        .filter_map(|state| match state {
            Kept::Lock { key, left } => Some((key, left.as_secs())),
            Kept::Failures { .. } | Kept::Known { .. } => None,
        })
        .collect();
    if screen.is_json() {
        let list: Vec<Value> = locked
            .iter()
            .map(|(key, left)| json!({ "account": format!("{key:?}"), "seconds": left }))
            .collect();
        screen.line(json!({ "locked": list }).to_string());
        return Ok(End::Fine);
    }
    for (key, left) in &locked {
        screen.line(format!("{key:?}  {left} s"));
    }
    screen.line(format!(
        "{QUIET}{} locked, as of a few seconds ago{QUIET:#}",
        count(locked.len(), "account")
    ));
    Ok(End::Fine)
}

fn unlock(store: &Store, file: &Path, flags: &Unlock, screen: &Screen) -> Result<End> {
    let now = SystemClock.now();
    let key = match named(&flags.account) {
        Some(key) => key,
        None => written(store, file, flags, now)?,
    };
    let is_known = kept(store, now)?.iter().any(|state| match state {
        Kept::Failures { key: known, .. } | Kept::Lock { key: known, .. } => *known == key,
        Kept::Known { .. } => false,
    });
    let (kind, id) = (kept::STORE_KIND, kept::STORE_UNLOCKED);
    let known = store.state(kind, id, now)?;
    let mut unlocked = known
        .map(|bytes| kept::read_unlocked(bytes.expose()))
        .unwrap_or_default();
    unlocked.push((key, now));
    let end = Timestamp(now.0.saturating_add(LIFE));
    store.put_state(kind, id, &kept::write_unlocked(&unlocked), end)?;
    if screen.is_json() {
        let told = json!({ "unlocked": format!("{key:?}"), "known": is_known });
        screen.line(told.to_string());
        return Ok(End::Fine);
    }
    let account = safe(&flags.account);
    screen.line(format!(
        "{GOOD}unlocked{GOOD:#} {account}; instances hear of it within seconds"
    ));
    if !is_known {
        screen.note(format!(
            "{CARE}warning{CARE:#}: the store knows of no failure of {account}, as of ten seconds ago: is it written as it logs in, and the `--kind` right?"
        ));
    }
    Ok(End::Fine)
}

/// An account as the journal names it.
fn named(text: &str) -> Option<Key> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (high, low) = text.split_at_checked(16)?;
    let half = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Key::from_halves(half(high)?, half(low)?))
}

/// An account as people write it.
fn written(store: &Store, file: &Path, flags: &Unlock, now: Timestamp) -> Result<Key> {
    let Some(api) = &flags.api else {
        return Err(Usage("name the API that the account logs in to: --api NAME".into()).into());
    };
    let apis = store::apis(file);
    if !apis.is_empty() && !apis.contains(api) {
        let known = apis.join("`, `");
        let message = format!(
            "there is no API `{}`; the configuration has `{known}`",
            safe(api)
        );
        return Err(Usage(message).into());
    }
    let secret = store.state(kept::STORE_KIND, kept::STORE_SECRET, now)?;
    let secret: Option<[u8; 16]> =
        secret.and_then(|secret| secret.expose().as_slice().try_into().ok());
    let Some(secret) = secret else {
        anyhow::bail!("the store knows of no logins: no instance with a login has used it yet");
    };
    let kind = match flags.kind.as_str() {
        "otp" => Kind::Otp,
        "reset" => Kind::Reset,
        "registration" => Kind::Registration,
        _ => Kind::Login,
    };
    Ok(account_key(
        &Secret::new(secret),
        api,
        kind,
        flags.account.as_bytes(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_as_the_journal_names_them() {
        let key = named("7be2e52dbf494cd67e43be16d6341332").unwrap();
        assert_eq!(format!("{key:?}"), "7be2e52dbf494cd67e43be16d6341332");
        assert!(named("ann").is_none());
        assert!(named("7be2e52dbf494cd67e43be16d634133x").is_none());
    }
}
