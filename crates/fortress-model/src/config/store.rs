//! `store`: where API keys and what else outlives the process are kept, and what opens them; and where
//! instances share their counts (`redis.rs`).
//!
//! Deliberately not here: opening it (`fortress-store`). Files are named, not read: `fortress store
//! init` makes those that are missing.

use std::path::PathBuf;

use super::{
    RedisSettings, Spanned,
    keys::{Block, Key, Kind},
    reader::{Entry, Fields, PathUse, Reader},
    redis::REDIS,
};
use crate::{document::read::shorten, secret::Secret};

/// `store`.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Where it is.
    pub place: Spanned<StorePlace>,
    /// The key that everything in it is sealed with, in the end.
    pub key: Spanned<SecretSource>,
    /// The pepper that API keys are digested under.
    pub pepper: Spanned<SecretSource>,
}

/// Where a store is.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// A file.
    Embedded(PathBuf),
    /// PostgreSQL.
    Postgres {
        /// `postgres://user:password@host/database`.
        url: Secret<String>,
        /// Trust these certificates alone, instead of the machine's.
        ca: Option<PathBuf>,
    },
}

/// Where a secret is taken from.
#[derive(Clone, Debug)]
pub enum SecretSource {
    /// A file, which need not be there yet.
    File(PathBuf),
    /// A value that was given otherwise.
    Value(Secret<String>),
}

pub(super) static STORE: Block = Block {
    name: "store",
    doc: "Where API keys, revocations, counters and the state of logins are kept (`embedded` or `postgres`), and where instances share the counts of limits (`redis`).",
    groups: &[&[
        Key::new(
            "embedded",
            Kind::File,
            "A file, for one instance; SQLite with a write-ahead log.",
        ),
        Key::new(
            "postgres",
            Kind::SecretSource,
            "For several instances, PostgreSQL 15 or newer: a reference to `postgres://user:password@host/database`.",
        ),
        Key::new(
            "ca",
            Kind::File,
            "With `postgres`: trust the certificates of this PEM file alone (default: those of the machine).",
        ),
        Key::new(
            "key",
            Kind::SecretSource,
            "With `embedded` and `postgres`: the key that seals the store, made by `fortress store init`: 32 bytes in base64 or hexadecimal, as a reference.",
        ),
        Key::new(
            "pepper",
            Kind::SecretSource,
            "What API keys are digested under, and the keys of limits that are stored: made by `fortress store init`, 32 bytes or more, as a reference. Needed with `embedded` and `postgres`; instances that share a store have the same.",
        ),
        Key::new(
            "redis",
            Kind::Either(&Kind::RedisUrl, &Kind::Block(&REDIS)),
            "Where instances share the counts of `limits`: `redis://host:6379`, a reference to `redis://user:password@host:6379/0`, or the long form. Alone or beside the others.",
        ),
    ]],
    later: &["seal"],
};

impl Reader<'_> {
    pub(super) fn stores(
        &mut self,
        root: &Fields<'_>,
    ) -> (Option<StoreSettings>, Option<Spanned<RedisSettings>>) {
        let Some(entry) = &root.get("store") else {
            return (None, None);
        };
        let Some(fields) = self.fields(entry) else {
            return (None, None);
        };
        let place = self.store_place(entry, &fields);
        let has_place = fields.get("embedded").or(fields.get("postgres")).is_some();
        let mut secret = |name: &str, what: &str| {
            let found = fields.get(name);
            if found.is_none() && has_place {
                let message = format!("`{}` has no `{name}`", entry.path);
                let help = format!("add `{name}: file:{name}.key`: {what}");
                self.error(entry.place, message, help);
            }
            found.and_then(|entry| self.secret_source(&entry))
        };
        let key = secret(
            "key",
            "the key that seals the store, made by `fortress store init`",
        );
        let pepper = secret(
            "pepper",
            "what API keys are digested under, made by `fortress store init`",
        );
        let redis = fields.get("redis").and_then(|entry| {
            let pepper = pepper.as_ref().map(|pepper| pepper.value.clone());
            self.redis(&entry, pepper)
        });
        let store = place.zip(key).zip(pepper);
        let store = store.map(|((place, key), pepper)| StoreSettings { place, key, pepper });
        (store, redis)
    }

    fn store_place(
        &mut self,
        entry: &Entry<'_>,
        fields: &Fields<'_>,
    ) -> Option<Spanned<StorePlace>> {
        let (embedded, postgres) = (fields.get("embedded"), fields.get("postgres"));
        let ca = fields.get("ca");
        if let (Some(ca), None) = (&ca, &postgres) {
            let message = format!("`{}` is for `postgres`", ca.path);
            self.error(ca.place, message, "remove it");
            return None;
        }
        match (embedded, postgres) {
            (Some(_), Some(postgres)) => {
                let message = format!("`{}` has both `embedded` and `postgres`", entry.path);
                self.error(postgres.place, message, "keep one of the two");
                None
            }
            (None, None) => {
                let is_other = ["redis", "seal"]
                    .iter()
                    .any(|other| entry.node.member(other).is_some());
                if !is_other {
                    let message = format!("`{}` says not where", entry.path);
                    let help = "add `embedded: fortress.db`, `postgres: env:DATABASE_URL`, or `redis: env:REDIS_URL`";
                    self.error(entry.place, message, help);
                }
                None
            }
            (Some(embedded), None) => {
                let path = self.path(&embedded, PathUse::Written)?;
                Some(Spanned {
                    value: StorePlace::Embedded(path.value),
                    span: path.span,
                })
            }
            (None, Some(postgres)) => {
                let url = self.referred(&postgres)?;
                let ca = ca.map(|entry| self.path(&entry, PathUse::Read));
                let ca = match ca {
                    Some(path) => Some(path?.value),
                    None => None,
                };
                if !["postgres://", "postgresql://"]
                    .iter()
                    .any(|scheme| url.value.expose().starts_with(scheme))
                {
                    let message = format!("`{}` holds no address of PostgreSQL", postgres.path);
                    let help = "it must hold `postgres://user:password@host/database`";
                    self.error(url.span, message, help);
                    return None;
                }
                Some(Spanned {
                    value: StorePlace::Postgres { url: url.value, ca },
                    span: url.span,
                })
            }
        }
    }

    /// A reference to a secret, whose file is not read yet.
    fn secret_source(&mut self, entry: &Entry<'_>) -> Option<Spanned<SecretSource>> {
        if let Some(path) = entry
            .node
            .as_str()
            .and_then(|text| text.strip_prefix("file:"))
        {
            if path.trim().is_empty() || path.chars().any(char::is_control) {
                let message = format!("`{}`: `file:{}` is not a path", entry.path, shorten(path));
                let help = "write `file:` and a path, relative to this file";
                self.error(entry.node.span, message, help);
                return None;
            }
            return Some(Spanned {
                value: SecretSource::File(self.directory.join(path)),
                span: entry.node.span,
            });
        }
        let value = self.referred(entry)?;
        Some(Spanned {
            value: SecretSource::Value(value.value),
            span: value.span,
        })
    }

    /// What a reference holds; a secret that stands in the file itself is refused unseen.
    fn referred(&mut self, entry: &Entry<'_>) -> Option<Spanned<Secret<String>>> {
        const REFERENCES: [&str; 4] = ["env:", "file:", "vault:", "exec:"];
        let text = entry.node.as_str().unwrap_or_default();
        if !REFERENCES.iter().any(|scheme| text.starts_with(scheme)) {
            let message = format!("`{}` takes a reference, not a value", entry.path);
            let help = "put the secret into a file that only Fortress reads and write `file:PATH`, or into a variable and write `env:NAME`";
            self.error(entry.place, message, help);
            return None;
        }
        let value = self.text(entry)?;
        Some(Spanned {
            value: Secret::new(value.value),
            span: value.span,
        })
    }
}
