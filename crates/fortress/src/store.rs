//! `fortress store`: makes, checks, saves and brings back the store, and replaces the key that seals
//! it. And how every command comes from a configuration to its open store.
//!
//! Deliberately not here: what is in it (`fortress keys`).

pub(crate) mod look;

use std::{
    io::{BufRead, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, bail};
use fortress_model::config::{self, SecretSource, StorePlace, StoreSettings};
use fortress_store::{MasterKeys, Presence, Seal, Store, StoreError};
use serde_json::json;

use crate::{
    check::readable,
    command::{End, Usage},
    environment,
    screen::{BAD, CARE, GOOD, HEAD, QUIET, Screen, count, safe},
};

pub(crate) const EXAMPLES: &str = "Examples:
  fortress store init
  fortress store check
  fortress store backup /backups/fortress-2026-11-29.db
  fortress store restore /backups/fortress-2026-11-29.db
  fortress store rotate-key

The configuration says where it is:
  store: { embedded: a.db, key: file:store.key, pepper: file:pepper.key }";

/// Rows that a store of ours has at least: its own key.
const NONE_BUT_ITS_KEY: u64 = 1;

/// Which configuration names the store.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The configuration that names the store
    #[arg(
        long,
        value_name = "FILE",
        default_value = "fortress.yaml",
        global = true
    )]
    pub(crate) config: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    store: Named,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Makes what is missing: the key, the pepper, the store; leaves what is there
    Init,
    /// Reads and opens every record, and says what is damaged
    Check,
    /// Writes a copy to a file while the store is in use
    Backup {
        /// Where; there must be no such file yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Replaces everything in the store by a backup, at once or not at all
    Restore {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Asks nothing
        #[arg(long)]
        yes: bool,
    },
    /// Seals the store with a new key, written into the key's file; the old one is then good for
    /// old backups alone
    RotateKey {
        /// Takes the new key from this file instead, for stores with several instances: give them the
        /// file with both keys first
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
}

/// Does it.
pub(crate) fn run(flags: &Flags, screen: &Screen) -> Result<End> {
    let settings = settings(&flags.store.config)?;
    match &flags.action {
        Action::Init => init(&settings, screen),
        Action::Check => check(&settings, screen),
        Action::Backup { file } => {
            let store = opened(&settings, Presence::Demanded, screen)?;
            let records = store.backup(file)?;
            let shown = file.display().to_string();
            if screen.is_json() {
                screen.line(json!({ "backup": shown, "records": records }).to_string());
            } else {
                screen.line(format!(
                    "{GOOD}saved{GOOD:#} {} to {}; it opens with the key of {}",
                    counted(records),
                    safe(&shown),
                    source(&settings.key.value)
                ));
            }
            Ok(End::Fine)
        }
        Action::Restore { file, yes } => restore(&settings, file, *yes, screen),
        Action::RotateKey { to } => rotate(&settings, to.as_deref(), screen),
    }
}

/// What a configuration says of the store. Errors elsewhere in it do not hinder.
pub(crate) fn settings(file: &Path) -> Result<StoreSettings> {
    readable(file)?;
    let (loaded, _, diagnostics) = config::load_partly(file, &environment::variable);
    let has_redis = loaded.as_ref().is_some_and(|config| config.redis.is_some());
    if let Some(settings) = loaded.and_then(|config| config.store) {
        return Ok(settings);
    }
    let shown = file.display();
    if has_redis {
        bail!(
            "the store of `{shown}` is Redis alone, which keeps counts; add a place for what is kept to it, and make it with `fortress store init`:\n  store: {{ redis: …, embedded: fortress.db, key: file:store.key, pepper: file:pepper.key }}"
        );
    }
    let of_store = |message: &str| message.contains("`store");
    match diagnostics.iter().find(|found| of_store(&found.message)) {
        Some(found) => bail!(
            "`{shown}`: {}\n  `fortress check {shown}` shows where",
            found.message
        ),
        None => bail!(
            "`{shown}` names no store; add this line to it, and then make it with `fortress store init`:\n  store: {{ embedded: fortress.db, key: file:store.key, pepper: file:pepper.key }}"
        ),
    }
}

/// The names of the APIs of a configuration, as far as it can be read.
pub(crate) fn apis(file: &Path) -> Vec<String> {
    let (loaded, _, _) = config::load_partly(file, &environment::variable);
    let apis = loaded.map(|config| config.apis).unwrap_or_default();
    apis.into_iter().map(|api| api.name.value).collect()
}

/// The key of a store, with a word about files that others can read.
pub(crate) fn seal(settings: &StoreSettings, screen: &Screen) -> Result<MasterKeys> {
    let keys = fortress_store::master_keys(&settings.key.value)?;
    if let Some(warning) = keys.warning() {
        screen.note(format!("{CARE}warning{CARE:#}: {}", safe(&warning)));
    }
    Ok(keys)
}

/// The open store.
pub(crate) fn opened(
    settings: &StoreSettings,
    presence: Presence,
    screen: &Screen,
) -> Result<Store> {
    let seal = Arc::new(seal(settings, screen)?);
    Ok(fortress_store::open(&settings.place.value, seal, presence)?)
}

/// Whether a person says yes; nobody is asked where `sure` is said already. Where nobody can be
/// asked, it has to be said.
pub(crate) fn confirmed(question: &str, sure: bool, screen: &Screen) -> Result<bool> {
    if sure {
        return Ok(true);
    }
    if !screen.can_ask() {
        return Err(Usage("nobody can be asked here; say --yes".into()).into());
    }
    let mut asking = anstream::stderr().lock();
    write!(asking, "{HEAD}{question} (yes/no)?{HEAD:#} ")?;
    asking.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let answer = line.trim();
    Ok(answer.eq_ignore_ascii_case("yes") || answer.eq_ignore_ascii_case("y"))
}

fn init(settings: &StoreSettings, screen: &Screen) -> Result<End> {
    let mut made = Vec::new();
    let is_new = |path: &Path| !path.exists();
    if let SecretSource::File(path) = &settings.key.value
        && is_new(path)
    {
        // A new key would not open a store that is there.
        if let StorePlace::Embedded(store) = &settings.place.value
            && store.exists()
        {
            bail!(
                "there is a store at `{}` and no key at `{}`: bring the key back; a new one would not open it",
                store.display(),
                path.display()
            );
        }
        MasterKeys::create(path)?;
        made.push(("key", path.display().to_string()));
    }
    let is_made = match &settings.place.value {
        StorePlace::Embedded(path) => is_new(path),
        StorePlace::Postgres { .. } => false,
    };
    let store = opened(settings, Presence::Made, screen)?;
    if let SecretSource::File(path) = &settings.pepper.value
        && is_new(path)
    {
        // With a new pepper none of the store's keys could be verified.
        if !store.takes_any_pepper()? {
            bail!(
                "there are API keys in {} and no pepper at `{}`: bring the pepper back; with a new one none of them could be verified",
                store.place(),
                path.display()
            );
        }
        fortress_store::make_pepper(path)?;
        made.push(("pepper", path.display().to_string()));
    }
    let pepper = fortress_store::pepper(&settings.pepper.value)?;
    store.use_pepper(&pepper)?;
    if is_made {
        made.push(("store", store.place().to_owned()));
    }
    if screen.is_json() {
        let made: serde_json::Map<_, _> = made
            .into_iter()
            .map(|(what, place)| (what.to_owned(), json!(place)))
            .collect();
        screen.line(json!({ "store": store.place(), "made": made }).to_string());
        return Ok(End::Fine);
    }
    for (what, place) in &made {
        screen.line(format!("{GOOD}made{GOOD:#} the {what} {}", safe(place)));
    }
    screen.line(format!("The store {} is ready.", safe(store.place())));
    if !made.is_empty() {
        screen.line(format!(
            "{CARE}Keep a copy of key and pepper apart from the store{CARE:#}: without the key nobody reads it, without the pepper no API key is accepted."
        ));
    }
    Ok(End::Fine)
}

fn check(settings: &StoreSettings, screen: &Screen) -> Result<End> {
    let damaged = |error: StoreError| {
        if let StoreError::Damaged(what) = error {
            Ok(vec![what])
        } else if matches!(error, StoreError::NotAStore(_)) {
            Ok(vec![error.to_string()])
        } else {
            Err(error)
        }
    };
    let seal = Arc::new(seal(settings, screen)?);
    let opened = fortress_store::open(&settings.place.value, seal, Presence::Demanded);
    let (place, faults) = match opened {
        Ok(store) => {
            let faults = store.check().or_else(damaged)?;
            (store.place().to_owned(), faults)
        }
        Err(error) => (String::from("the store"), damaged(error)?),
    };
    if screen.is_json() {
        screen.line(json!({ "store": place, "faults": faults }).to_string());
    } else if faults.is_empty() {
        screen.line(format!(
            "{GOOD}fine{GOOD:#}: every record of {} opens",
            safe(&place)
        ));
    } else {
        for fault in &faults {
            screen.line(format!("{BAD}damaged{BAD:#}: {}", safe(fault)));
        }
        screen.line("Bring back a backup with `fortress store restore FILE`. A file that is no database any more has to be moved away first.");
    }
    Ok(if faults.is_empty() {
        End::Fine
    } else {
        End::Findings
    })
}

fn restore(settings: &StoreSettings, file: &Path, sure: bool, screen: &Screen) -> Result<End> {
    let seal: Arc<dyn Seal> = Arc::new(seal(settings, screen)?);
    let place = &settings.place.value;
    let backup = fortress_store::open_backup(file, Arc::clone(&seal))?;
    let is_new = match place {
        StorePlace::Embedded(path) => !path.exists(),
        StorePlace::Postgres { .. } => false,
    };
    let store = fortress_store::open(place, seal, Presence::Made)?;
    let question = format!(
        "Replace everything in {} by {}",
        safe(store.place()),
        safe(&file.display().to_string())
    );
    if !is_new && store.records()? > NONE_BUT_ITS_KEY && !confirmed(&question, sure, screen)? {
        screen.note("nothing was changed");
        return Ok(End::Findings);
    }
    let records = store.restore(&backup)?;
    if screen.is_json() {
        screen.line(json!({ "store": store.place(), "records": records }).to_string());
    } else {
        screen.line(format!(
            "{GOOD}restored{GOOD:#} {} into {}; instances that run notice within a second",
            counted(records),
            safe(store.place())
        ));
    }
    Ok(End::Fine)
}

fn rotate(settings: &StoreSettings, to: Option<&Path>, screen: &Screen) -> Result<End> {
    let old = seal(settings, screen)?;
    let store = fortress_store::open(
        &settings.place.value,
        Arc::new(fortress_store::master_keys(&settings.key.value)?),
        Presence::Demanded,
    )?;
    // The new key is durable before anything is sealed with it; whatever happens in between, the
    // file opens the store.
    let keys = match to {
        Some(path) => MasterKeys::from_file(path)?,
        None => old.add_key()?,
    };
    let new = Arc::new(keys);
    let name = new.name();
    let seal: Arc<dyn Seal> = Arc::<MasterKeys>::clone(&new);
    let rewrapped = store.rotate_key(seal)?;
    if to.is_none() {
        new.keep_first()?;
    }
    if screen.is_json() {
        screen.line(json!({ "key": name, "rewrapped": rewrapped }).to_string());
        return Ok(End::Fine);
    }
    screen.line(format!(
        "{GOOD}sealed{GOOD:#} {} with the key {name}",
        safe(store.place())
    ));
    match to {
        Some(path) => screen.line(format!(
            "Now write `key: file:{}` in the configuration. Until then the store cannot be opened.",
            safe(&path.display().to_string())
        )),
        None => screen.line(format!(
            "{QUIET}{} holds the new key alone. Backups made before open with the old key alone: make a new one.{QUIET:#}",
            source(&settings.key.value)
        )),
    }
    Ok(End::Fine)
}

fn source(source: &SecretSource) -> String {
    match source {
        SecretSource::File(path) => safe(&path.display().to_string()),
        SecretSource::Value(_) => "the configuration".into(),
    }
}

fn counted(records: u64) -> String {
    count(usize::try_from(records).unwrap_or(usize::MAX), "record")
}
