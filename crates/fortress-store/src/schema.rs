//! The tables, and how an older store becomes a newer one: numbered steps, each in one transaction
//! with its number, so that a crash leaves one version or the next.
//!
//! The text is PostgreSQL's; SQLite's types are put in by its driver.

use crate::{
    StoreError,
    driver::{Connection, Value, number},
};

/// The steps, the first of which makes an empty store. Never changed once released; a new version is
/// a new step.
const STEPS: &[&str] = &["
CREATE TABLE fortress_data_keys (
  id BIGINT NOT NULL PRIMARY KEY, seal TEXT NOT NULL, wrapped BYTEA NOT NULL,
  uses BIGINT NOT NULL, active BIGINT NOT NULL);
CREATE TABLE fortress_api_keys (
  id BIGINT NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, data_key BIGINT NOT NULL,
  sealed BYTEA NOT NULL, last_used BIGINT);
CREATE INDEX fortress_api_keys_seq ON fortress_api_keys (seq);
CREATE TABLE fortress_revocations (
  id BYTEA NOT NULL PRIMARY KEY, seq BIGINT NOT NULL, data_key BIGINT NOT NULL,
  sealed BYTEA NOT NULL, expires BIGINT NOT NULL);
CREATE INDEX fortress_revocations_seq ON fortress_revocations (seq);
CREATE INDEX fortress_revocations_expires ON fortress_revocations (expires);
CREATE TABLE fortress_counters (
  name TEXT NOT NULL, began BIGINT NOT NULL, value BIGINT NOT NULL, expires BIGINT NOT NULL,
  PRIMARY KEY (name, began));
CREATE INDEX fortress_counters_expires ON fortress_counters (expires);
CREATE TABLE fortress_state (
  kind TEXT NOT NULL, id BYTEA NOT NULL, data_key BIGINT NOT NULL,
  sealed BYTEA NOT NULL, expires BIGINT NOT NULL, PRIMARY KEY (kind, id));
CREATE INDEX fortress_state_expires ON fortress_state (expires);
"];

const META: &str = "CREATE TABLE fortress_meta (
  name TEXT NOT NULL PRIMARY KEY, value BIGINT NOT NULL);";

/// What a column holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Column {
    /// A whole number, possibly none.
    Number,
    /// A text.
    Text,
    /// Bytes.
    Bytes,
}

/// A table with its columns, for copies.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Column)],
}

/// Every table but `fortress_meta`.
pub(crate) const TABLES: &[Table] = {
    use Column::{Bytes, Number, Text};
    &[
        Table {
            name: "fortress_data_keys",
            columns: &[
                ("id", Number),
                ("seal", Text),
                ("wrapped", Bytes),
                ("uses", Number),
                ("active", Number),
            ],
        },
        Table {
            name: "fortress_api_keys",
            columns: &[
                ("id", Number),
                ("seq", Number),
                ("data_key", Number),
                ("sealed", Bytes),
                ("last_used", Number),
            ],
        },
        Table {
            name: "fortress_revocations",
            columns: &[
                ("id", Bytes),
                ("seq", Number),
                ("data_key", Number),
                ("sealed", Bytes),
                ("expires", Number),
            ],
        },
        Table {
            name: "fortress_counters",
            columns: &[
                ("name", Text),
                ("began", Number),
                ("value", Number),
                ("expires", Number),
            ],
        },
        Table {
            name: "fortress_state",
            columns: &[
                ("kind", Text),
                ("id", Bytes),
                ("data_key", Number),
                ("sealed", Bytes),
                ("expires", Number),
            ],
        },
    ]
};

/// The numbers that are kept of the store as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Meta {
    /// How many steps were taken.
    Version,
    /// Another one after a backup was brought back: what was read before counts no more.
    Epoch,
    /// The number of the last change.
    Sequence,
    /// How many API keys there are.
    Keys,
    /// How many revocations there are.
    Revocations,
    /// Tells which pepper the API keys were digested under; zero until there is a key.
    Pepper,
}

impl Meta {
    /// All but the version.
    pub(crate) const COPIED: [Self; 4] =
        [Self::Sequence, Self::Keys, Self::Revocations, Self::Pepper];

    fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Epoch => "epoch",
            Self::Sequence => "sequence",
            Self::Keys => "keys",
            Self::Revocations => "revocations",
            Self::Pepper => "pepper",
        }
    }

    /// What it is now.
    pub(crate) fn get(self, connection: &mut dyn Connection) -> Result<i64, StoreError> {
        let sql = "SELECT value FROM fortress_meta WHERE name = $1";
        number(connection, sql, &[Value::Text(self.name())])?
            .ok_or_else(|| StoreError::Damaged(format!("it has lost its `{}`", self.name())))
    }

    /// Adds to it, and gives what it is then. In PostgreSQL whoever does this first is alone until
    /// its transaction ends, so that sequence numbers become visible in their order.
    pub(crate) fn add(self, connection: &mut dyn Connection, more: i64) -> Result<i64, StoreError> {
        let sql = "UPDATE fortress_meta SET value = value + $1 WHERE name = $2 RETURNING value";
        let values = [Value::Integer(more), Value::Text(self.name())];
        number(connection, sql, &values)?
            .ok_or_else(|| StoreError::Damaged(format!("it has lost its `{}`", self.name())))
    }

    /// Sets it.
    pub(crate) fn set(self, connection: &mut dyn Connection, to: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO fortress_meta (name, value) VALUES ($1, $2)
          ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        connection.execute(sql, &[Value::Text(self.name()), Value::Integer(to)])?;
        Ok(())
    }
}

/// The version that all steps lead to.
pub(crate) fn known_version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// Takes the steps that are missing. `found` is `None` for a store that is to be made.
pub(crate) fn migrate(
    connection: &mut dyn Connection,
    found: Option<i64>,
    epoch: i64,
) -> Result<(), StoreError> {
    steps(connection, found, epoch, STEPS)
}

fn steps(
    connection: &mut dyn Connection,
    found: Option<i64>,
    epoch: i64,
    steps: &[&str],
) -> Result<(), StoreError> {
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if let Some(found) = found
        && found > known
    {
        return Err(StoreError::Newer { found, known });
    }
    if found.is_none() {
        connection.define(META)?;
        for meta in Meta::COPIED {
            meta.set(connection, 0)?;
        }
        Meta::Epoch.set(connection, epoch)?;
    }
    let taken = usize::try_from(found.unwrap_or(0)).unwrap_or(0);
    for step in steps.iter().skip(taken) {
        connection.define(step)?;
    }
    if found != Some(known) {
        Meta::Version.set(connection, known)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Driver, Sqlite, driver::Transaction};

    fn take(driver: &mut Sqlite, found: Option<i64>, list: &[&str]) -> Result<(), StoreError> {
        driver.transaction(Transaction::Write, &mut |connection| {
            steps(connection, found, 7, list)
        })
    }

    fn version_of(driver: &mut Sqlite) -> i64 {
        let mut version = 0;
        driver
            .transaction(Transaction::Read, &mut |connection| {
                version = Meta::Version.get(connection)?;
                Ok(())
            })
            .unwrap();
        version
    }

    #[test]
    fn steps_are_taken_once_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut driver = Sqlite::scratch(&directory.path().join("a.db")).unwrap();
        let one = "CREATE TABLE a (id BIGINT NOT NULL);";
        let two = "ALTER TABLE a ADD COLUMN b BIGINT;";
        take(&mut driver, None, &[one]).unwrap();
        assert_eq!(version_of(&mut driver), 1);
        take(&mut driver, Some(1), &[one, two]).unwrap();
        assert_eq!(version_of(&mut driver), 2);
        take(&mut driver, Some(2), &[one, two]).unwrap();
        let newer = take(&mut driver, Some(2), &[one]);
        assert!(matches!(
            newer,
            Err(StoreError::Newer { found: 2, known: 1 })
        ));
    }

    #[test]
    fn a_step_that_fails_leaves_the_version_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut driver = Sqlite::scratch(&directory.path().join("a.db")).unwrap();
        let one = "CREATE TABLE a (id BIGINT NOT NULL);";
        take(&mut driver, None, &[one]).unwrap();
        let half = "CREATE TABLE b (id BIGINT NOT NULL); CREATE TABLE a (id BIGINT NOT NULL);";
        assert!(take(&mut driver, Some(1), &[one, half]).is_err());
        assert_eq!(version_of(&mut driver), 1);
        take(
            &mut driver,
            Some(1),
            &[one, "CREATE TABLE b (id BIGINT NOT NULL);"],
        )
        .unwrap();
    }

    #[test]
    fn the_tables_have_the_columns_that_copies_name() {
        for table in TABLES {
            for (column, _) in table.columns {
                assert!(
                    STEPS
                        .iter()
                        .any(|step| step.contains(table.name) && step.contains(column))
                );
            }
        }
    }
}
