//! `fortress keys`: API keys, from their making to their end. A key is shown once, when it is made;
//! what is kept of it is a digest.
//!
//! Deliberately not here: which operations a key opens (the gateway), and where keys are kept
//! (`fortress-store`).

mod check;
mod import;
mod password;
mod shown;

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Result, bail};
use fortress_auth::api_key::{
    Access, ApiKey, Environment, KeyId, KeyRecord, KeyState, Label, NoRandomness, Pepper,
};
use fortress_gateway::{KeyRing, compile};
use fortress_model::{
    Clock, Secret, SystemClock, Timestamp,
    config::{self, Network},
};
use fortress_store::{Presence, Store, StoreError};
use serde_json::json;

use crate::{
    command::{End, Usage},
    references::Machine,
    screen::{CARE, GOOD, QUIET, Screen, safe},
    store,
    times::{self, End as Expiry},
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress keys create --owner 'Example Ltd' --scope orders:read --expires 90d
  fortress keys list --state active
  fortress keys show 4bQ7xUo1Zd
  fortress keys rotate 4bQ7xUo1Zd --overlap 7d
  fortress keys revoke 4bQ7xUo1Zd
  fortress keys check --revoke < leaked.txt
  fortress keys import keys.csv
  fortress keys hash-password alice < password.txt >> users";

const IMPORT: &str = "Each record has an `owner`, and of the key one of
  key     the key itself: of Fortress, or 20 to 256 visible ASCII characters
  sha256  its SHA-256 in hexadecimal, where the key itself is not known; with an
          `id` if it is a key of Fortress
and may have `env`, `roles`, `scopes`, `operations`, `addresses` (in CSV several
are separated by `;`), `created`, `expires` and `revoked` (such as 2027-01-31 or
2027-01-31T12:00:00Z). Others are errors, and then nothing is imported.

Examples:
  fortress keys import keys.csv --dry-run
  fortress keys import keys.ndjson";

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    store: store::Named,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Makes a key, and shows it once
    Create(Create),
    /// Lists the keys
    List(List),
    /// Says what is known of a key
    Show {
        /// The key's id
        id: KeyId,
    },
    /// Gives a key a new secret, and shows it once; the old one goes on for a while
    Rotate(Rotate),
    /// Ends keys, on every instance within a second and for ever
    Revoke {
        /// The keys' ids
        #[arg(required = true)]
        ids: Vec<KeyId>,
        /// Asks nothing
        #[arg(long)]
        yes: bool,
    },
    /// Takes keys over from elsewhere: from CSV with a heading, or a JSON object a line
    #[command(after_help = IMPORT)]
    Import(import::Flags),
    /// Says whose a leaked key is, and revokes it
    Check(check::Flags),
    /// Makes the hash of a password on standard input, for a line of `basic.users`
    HashPassword {
        /// The user's name; the whole line is written then
        #[arg(value_parser = label)]
        name: Option<Label>,
    },
}

#[derive(Debug, clap::Args)]
struct Create {
    /// Whose it is
    #[arg(long, value_parser = label)]
    owner: Label,
    /// What it is for; it is part of the key's text
    #[arg(long, default_value = "live", value_parser = environment)]
    env: Environment,
    /// Roles; several separated by commas or given one by one
    #[arg(long = "role", value_name = "ROLE", value_delimiter = ',', value_parser = label)]
    roles: Vec<Label>,
    /// Scopes
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', value_parser = scope)]
    scopes: Vec<Label>,
    /// Operations that it may call (operationId, `METHOD /template`, `tag:NAME`); without, all
    #[arg(long = "operation", value_name = "NAME", value_parser = label)]
    operations: Vec<Label>,
    /// Networks that it may be used from, such as 192.0.2.0/24; without, all
    #[arg(long = "address", value_name = "NETWORK", value_delimiter = ',', value_parser = network)]
    addresses: Vec<Network>,
    /// How long it is accepted: `90d`, `24h`, or until a date such as 2027-01-31; without, until it
    /// is revoked
    #[arg(long, value_name = "TIME", value_parser = times::end)]
    expires: Option<Expiry>,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only those of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only those for this environment
    #[arg(long)]
    env: Option<String>,
    /// Only those in this state
    #[arg(long, value_parser = ["active", "expired", "revoked"])]
    state: Option<String>,
    /// Only those that were not used for so long, such as 90d
    #[arg(long, value_name = "TIME", value_parser = times::duration)]
    unused: Option<Duration>,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// The key's id
    id: KeyId,
    /// How long the old secret goes on being accepted; `0s` ends it now
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = times::duration)]
    overlap: Duration,
}

/// Does it.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    // It needs neither a configuration nor a store.
    if let Action::HashPassword { name } = &flags.action {
        return password::run(name.as_deref(), screen);
    }
    let settings = store::settings(&flags.store.config)?;
    let presence = match flags.action {
        Action::Create(_) | Action::Import(_) => Presence::Made,
        Action::List(_)
        | Action::Show { .. }
        | Action::Rotate(_)
        | Action::Revoke { .. }
        | Action::HashPassword { .. }
        | Action::Check(_) => Presence::Demanded,
    };
    let pepper = fortress_store::pepper(&settings.pepper.value)?;
    let store = store::opened(&settings, presence, screen)?;
    store.use_pepper(&pepper)?;
    let keys = Keys {
        store,
        pepper,
        now: SystemClock.now(),
    };
    match &flags.action {
        Action::Create(wanted) => {
            warn_of_unknown(&wanted.operations, &flags.store.config, screen);
            keys.create(wanted, screen)
        }
        Action::List(flags) => keys.list(flags, screen),
        Action::Show { id } => keys.show(*id, screen),
        Action::Rotate(flags) => keys.rotate(flags, screen),
        Action::Revoke { ids, yes } => keys.revoke(ids, *yes, screen),
        Action::Import(flags) => import::run(&keys, flags, screen),
        Action::Check(flags) => check::run(&keys, flags, screen),
        Action::HashPassword { name } => password::run(name.as_deref(), screen),
    }
}

/// What every action needs.
struct Keys {
    store: Store,
    pepper: Pepper,
    now: Timestamp,
}

impl Keys {
    fn create(&self, flags: &Create, screen: &Screen) -> Result<End> {
        let expires = flags.expires.map(|end| end.at(self.now));
        if expires.is_some_and(|end| end <= self.now) {
            return Err(Usage("`--expires` has passed already".into()).into());
        }
        // Ids collide once in millions of keys; then another one is drawn.
        for _ in 0..3 {
            let (id, text) = ApiKey::generate(&flags.env, &mut random)?;
            let digest = self.pepper.digest(text.expose());
            let mut record =
                KeyRecord::new(id, flags.env.clone(), flags.owner.clone(), digest, self.now);
            record.access = Access {
                environment: flags.env.clone(),
                roles: flags.roles.clone(),
                scopes: flags.scopes.clone(),
                operations: flags.operations.clone(),
                addresses: flags.addresses.clone(),
            };
            record.expires = expires;
            match self.store.insert_keys(std::slice::from_ref(&record)) {
                Ok(()) => {
                    self.issued("made", &record, &text, screen);
                    return Ok(End::Fine);
                }
                Err(StoreError::Exists(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bail!("three ids in a row were taken already: the source of randomness is broken")
    }

    fn list(&self, flags: &List, screen: &Screen) -> Result<End> {
        let mut keys = self.store.keys()?;
        keys.retain(|key| {
            let unused = |time: Duration| {
                let last = key.last_used.unwrap_or(key.created);
                self.now.since(last) >= time
            };
            let access = &key.access;
            flags
                .owner
                .as_deref()
                .is_none_or(|owner| *key.owner == *owner)
                && flags
                    .env
                    .as_deref()
                    .is_none_or(|env| access.environment.as_str() == env)
                && flags
                    .state
                    .as_deref()
                    .is_none_or(|state| key.state(self.now).word() == state)
                && flags.unused.is_none_or(unused)
        });
        keys.sort_by(|a, b| (&*a.owner, a.created).cmp(&(&*b.owner, b.created)));
        if screen.is_json() {
            let list: Vec<_> = keys.iter().map(|key| shown::json(key, self.now)).collect();
            screen.line(json!({ "keys": list }).to_string());
        } else {
            screen.line(shown::table(&keys, self.now, screen.width()));
        }
        Ok(End::Fine)
    }

    fn show(&self, id: KeyId, screen: &Screen) -> Result<End> {
        let key = self.known(id)?;
        if screen.is_json() {
            screen.line(shown::json(&key, self.now).to_string());
        } else {
            screen.line(shown::details(&key, self.now));
        }
        Ok(End::Fine)
    }

    fn rotate(&self, flags: &Rotate, screen: &Screen) -> Result<End> {
        let environment = self.known(flags.id)?.access.environment;
        let text = ApiKey::issue(&environment, flags.id, &mut random)?;
        let digest = self.pepper.digest(text.expose());
        let rotated = self.store.update_key(flags.id, |key| {
            key.rotate(digest, self.now, flags.overlap)
                .map_err(|error| format!("`{}`: {error}", flags.id))
        });
        let record = match rotated {
            Ok(record) => record.ok_or_else(|| unknown(flags.id))?,
            Err(StoreError::Refused(why)) => bail!(
                "{why}\n  `fortress keys show {}` says more; --overlap 0s ends every older secret now",
                flags.id
            ),
            Err(error) => return Err(error.into()),
        };
        self.issued("rotated", &record, &text, screen);
        Ok(End::Fine)
    }

    /// Shows a key, this once.
    fn issued(&self, what: &str, record: &KeyRecord, text: &Secret<String>, screen: &Screen) {
        if screen.is_json() {
            let mut value = shown::json(record, self.now);
            if let Some(members) = value.as_object_mut() {
                members.insert("key".into(), json!(text.expose()));
            }
            screen.line(value.to_string());
            return;
        }
        screen.line(format!(
            "{GOOD}{what}{GOOD:#} {} for {}\n\n  {}\n",
            record.id,
            safe(&record.owner),
            text.expose()
        ));
        screen.line(format!(
            "{CARE}It is shown this once{CARE:#}: the store keeps a digest of it."
        ));
        let old = record.secrets.get(1).and_then(|secret| secret.expires);
        if let Some(end) = old {
            screen.line(format!(
                "{QUIET}The old one is accepted until {}.{QUIET:#}",
                times::moment(end)
            ));
        }
    }

    fn revoke(&self, ids: &[KeyId], sure: bool, screen: &Screen) -> Result<End> {
        let keys = ids
            .iter()
            .map(|id| self.known(*id))
            .collect::<Result<Vec<_>>>()?;
        let owners: Vec<_> = keys
            .iter()
            .map(|key| format!("{} of {}", key.id, safe(&key.owner)))
            .collect();
        // Who is not asked has named the ids, which is as good.
        let sure = sure || !screen.can_ask();
        let question = format!("Revoke {} for ever", owners.join(", "));
        if !store::confirmed(&question, sure, screen)? {
            screen.note("nothing was changed");
            return Ok(End::Findings);
        }
        let mut revoked = Vec::new();
        for key in &keys {
            revoked.push(self.end(key.id)?);
        }
        if screen.is_json() {
            let list: Vec<_> = revoked
                .iter()
                .map(|key| shown::json(key, self.now))
                .collect();
            screen.line(json!({ "revoked": list }).to_string());
        } else {
            for key in &revoked {
                screen.line(format!(
                    "{GOOD}revoked{GOOD:#} {} of {}",
                    key.id,
                    safe(&key.owner)
                ));
            }
        }
        Ok(End::Fine)
    }

    /// Revokes a key; one that is revoked keeps the time when it was.
    fn end(&self, id: KeyId) -> Result<KeyRecord> {
        let ended = self.store.update_key(id, |key| {
            key.revoked = Some(key.revoked.unwrap_or(self.now));
            Ok(())
        })?;
        ended.ok_or_else(|| unknown(id))
    }

    fn known(&self, id: KeyId) -> Result<KeyRecord> {
        self.store.key(id)?.ok_or_else(|| unknown(id))
    }
}

/// A word about operations that no description has: a key with a mistyped one opens nothing. Nothing is
/// said where some API has no description that could be read, since its operations are not known.
fn warn_of_unknown(operations: &[Label], file: &Path, screen: &Screen) {
    if operations.is_empty() {
        return;
    }
    let (config, mut sources, _) = config::load_partly_with(file, &Machine::default());
    let Some(config) = config else { return };
    let compiled = compile(&config, &mut sources, &KeyRing::default(), 0);
    if compiled.descriptions.len() < config.apis.len() {
        return;
    }
    let known: BTreeSet<Box<str>> = compiled.operation_names().collect();
    for operation in operations.iter().filter(|one| !known.contains(&***one)) {
        screen.note(format!(
            "{CARE}warning{CARE:#}: no description has the operation `{}`; `fortress keys revoke` ends the key if that is a mistake",
            safe(operation)
        ));
    }
}

fn unknown(id: KeyId) -> anyhow::Error {
    anyhow::anyhow!("there is no key `{id}`; `fortress keys list` shows all")
}

fn random(bytes: &mut [u8]) -> Result<(), NoRandomness> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness)
}

fn label(text: &str) -> Result<Label, String> {
    Label::new(text).map_err(|error| error.to_string())
}

fn environment(text: &str) -> Result<Environment, String> {
    Environment::new(text).map_err(|error| error.to_string())
}

/// Scopes are listed with spaces between them elsewhere (RFC 6749, section 3.3).
fn scope(text: &str) -> Result<Label, String> {
    if text.contains(char::is_whitespace) {
        return Err("a scope has no spaces; separate several by commas".into());
    }
    label(text)
}

fn network(text: &str) -> Result<Network, String> {
    text.parse()
}

/// What people call a state, in its colour.
fn coloured(state: KeyState) -> String {
    use crate::screen::BAD;
    let word = state.word();
    match state {
        KeyState::Active => format!("{GOOD}{word}{GOOD:#}"),
        KeyState::Expired => format!("{QUIET}{word}{QUIET:#}"),
        KeyState::Revoked => format!("{BAD}{word}{BAD:#}"),
    }
}
