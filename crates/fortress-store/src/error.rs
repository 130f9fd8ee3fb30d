//! Why the store could not do what it was asked. Nothing that is kept sealed appears here.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use fortress_auth::api_key::KeyId;

use crate::SealError;

/// Why the store could not do what it was asked. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no store at `{0}`; make one with `fortress store init`")]
    Missing(PathBuf),
    /// There is one already.
    #[error("there is a file at `{0}` already")]
    Present(PathBuf),
    /// It is something else, or nothing.
    #[error(
        "`{0}` is not a store of Fortress; if it was one, it is damaged: bring back a backup with `fortress store restore`"
    )]
    NotAStore(String),
    /// Made by a later version.
    #[error(
        "the store has version {found}, and this Fortress knows {known}; take a newer Fortress"
    )]
    Newer {
        /// The store's.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// The key that opens it is not there, or it cannot be had.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store's keys were digested under another pepper.
    #[error(
        "the store's API keys were made under another pepper than the one configured; with this one none of them could be verified"
    )]
    WrongPepper,
    /// What is there cannot be what was written.
    #[error(
        "the store is damaged: {0}; see `fortress store check`, and bring back a backup with `fortress store restore`"
    )]
    Damaged(String),
    /// Another process held it for longer than we wait.
    #[error("the store is in use by another process; try again")]
    Busy,
    /// No room.
    #[error("no room is left for the store; nothing was written")]
    Full,
    /// The database cannot be reached.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// There is a key of that id.
    #[error("there is a key `{0}` already")]
    Exists(KeyId),
    /// A bound was reached.
    #[error("the store holds as many {0} as it may")]
    TooMany(&'static str),
    /// Larger than a bound.
    #[error("{0} is larger than the store takes")]
    TooLarge(&'static str),
    /// The caller's own change said no.
    #[error("{0}")]
    Refused(String),
    /// Anything else that the database said.
    #[error("the database refused: {0}")]
    Database(String),
}

impl StoreError {
    /// What the file system said when a file was to be made.
    pub(crate) fn making(path: &Path, error: &std::io::Error) -> Self {
        let kind = error.kind();
        if kind == ErrorKind::AlreadyExists {
            Self::Present(path.to_owned())
        } else if kind == ErrorKind::StorageFull {
            Self::Full
        } else {
            Self::Unreachable(format!("cannot write `{}`: {error}", path.display()))
        }
    }
}
