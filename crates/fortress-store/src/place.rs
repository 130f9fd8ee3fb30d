//! From the configuration to an open store.

use std::{path::Path, sync::Arc};

use fortress_auth::api_key::Pepper;
use fortress_model::{
    Secret,
    config::{SecretSource, StorePlace},
};

use crate::{
    MasterKeys, Postgres, Seal, SealError, Sqlite, Store, StoreError,
    copy::{beside, place},
    driver::Driver,
    seal,
};

/// What happens where there is no store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// An error.
    Demanded,
    /// It is made.
    Made,
}

/// Opens the store at a place.
///
/// # Errors
/// See [`StoreError`]. A file that is damaged or empty is never replaced by a new one.
pub fn open(at: &StorePlace, seal: Arc<dyn Seal>, presence: Presence) -> Result<Store, StoreError> {
    match at {
        StorePlace::Embedded(path) => {
            if presence == Presence::Made && !path.exists() {
                make_file(path, Arc::clone(&seal))?;
            }
            Store::open(Sqlite::open(path)?, seal)
        }
        StorePlace::Postgres { url, ca } => {
            let mut driver = Postgres::connect(url, ca.as_deref())?;
            if presence == Presence::Demanded || driver.has_tables()? {
                return Store::open(driver, seal);
            }
            Store::create(driver, Arc::clone(&seal)).or_else(|error| {
                // Another instance may have made the tables meanwhile.
                let mut driver = Postgres::connect(url, ca.as_deref())?;
                if driver.has_tables()? {
                    Store::open(driver, seal)
                } else {
                    Err(error)
                }
            })
        }
    }
}

/// Looks whether the store at a place would open with these keys and this pepper. Changes nothing.
///
/// # Errors
/// See [`StoreError`].
pub fn look(at: &StorePlace, seal: Arc<dyn Seal>, pepper: &Pepper) -> Result<(), StoreError> {
    match at {
        StorePlace::Embedded(path) => Store::look(Sqlite::open(path)?, seal, pepper),
        StorePlace::Postgres { url, ca } => {
            Store::look(Postgres::connect(url, ca.as_deref())?, seal, pepper)
        }
    }
}

/// Opens a backup, to be brought back.
///
/// # Errors
/// See [`StoreError`].
pub fn open_backup(path: &Path, seal: Arc<dyn Seal>) -> Result<Store, StoreError> {
    Store::open(Sqlite::open(path)?, seal)
}

/// A new file comes under its name when it is complete: a crash leaves no half of a store.
fn make_file(path: &Path, seal: Arc<dyn Seal>) -> Result<(), StoreError> {
    let part = beside(path);
    let made = Sqlite::scratch(&part)
        .and_then(|driver| Store::create(driver, seal))
        .and_then(|store| {
            drop(store);
            match place(&part, path) {
                // Another process was faster, and its store is as good.
                Err(StoreError::Present(_)) => std::fs::remove_file(&part)
                    .map_err(|error| StoreError::Database(error.to_string())),
                done => done,
            }
        });
    if made.is_err() {
        drop(std::fs::remove_file(&part));
    }
    made
}

/// The keys that the configuration names.
///
/// # Errors
/// See [`SealError`].
pub fn master_keys(source: &SecretSource) -> Result<MasterKeys, SealError> {
    match source {
        SecretSource::File(path) => MasterKeys::from_file(path),
        SecretSource::Value(text) => MasterKeys::from_text(text),
    }
}

/// The pepper that the configuration names: a text of 32 bytes or more; white space at its ends does
/// not count.
///
/// # Errors
/// If it cannot be read or is too short.
pub fn pepper(source: &SecretSource) -> Result<Pepper, SealError> {
    let (place, text) = match source {
        SecretSource::File(path) => {
            let shown = path.display().to_string();
            let read = std::fs::read(path);
            let bytes = read.map_err(|error| {
                if error.kind() == std::io::ErrorKind::NotFound {
                    SealError::NoPepper(path.clone())
                } else {
                    unreadable(&shown, error.to_string())
                }
            })?;
            (shown, Secret::new(bytes))
        }
        SecretSource::Value(text) => (
            "the configured value".to_owned(),
            Secret::new(text.expose().clone().into_bytes()),
        ),
    };
    let trimmed = Secret::new(text.expose().trim_ascii().to_vec());
    Pepper::new(&trimmed).map_err(|error| unreadable(&place, error.to_string()))
}

/// Makes a file with a new pepper, readable for this user alone.
///
/// # Errors
/// If there is a file, or it cannot be written.
pub fn make_pepper(path: &Path) -> Result<(), SealError> {
    let text = seal::new_key()?;
    let shown = path.display().to_string();
    seal::write_new(path, text.expose()).map_err(|error| unreadable(&shown, error.to_string()))
}

fn unreadable(place: &str, why: String) -> SealError {
    SealError::Unreadable {
        place: place.to_owned(),
        why,
    }
}
