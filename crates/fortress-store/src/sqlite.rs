//! The embedded database: one file with a write-ahead log beside it, each transaction on the disk
//! when it is acknowledged.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{
    ErrorCode, OpenFlags, ToSql,
    types::{ToSqlOutput, ValueRef},
};

use crate::{
    StoreError,
    driver::{Connection, Driver, EachRow, Row, Transaction, Value},
};

/// How often we look whether another process has let go of the file, and how long we wait in between:
/// some five seconds in all.
const TRIES: i32 = 1_700;
const PAUSE: Duration = Duration::from_millis(3);
/// Faults that are listed.
const MAX_FAULTS: i64 = 20;

/// A file of SQLite.
pub struct Sqlite {
    connection: rusqlite::Connection,
    path: PathBuf,
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sqlite({})", self.path.display())
    }
}

/// What becomes of a transaction before it is in the file.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Journal {
    /// Readers and a writer do not wait for each other.
    WriteAhead,
    /// One file, for copies.
    Rollback,
}

impl Sqlite {
    /// Opens a file that is there.
    ///
    /// # Errors
    /// If there is none, it is none of SQLite, or damaged.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let size = fs::metadata(path).map(|file| file.len());
        match size {
            // An empty file is a valid database without tables, but we never make one.
            Ok(0) => return Err(StoreError::NotAStore(path.display().to_string())),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Missing(path.to_owned()));
            }
            Err(error) => {
                let message = format!("cannot read `{}`: {error}", path.display());
                return Err(StoreError::Unreachable(message));
            }
        }
        Self::connect(path, Journal::WriteAhead)
    }

    /// Makes a file that only this user reads, without tables and without a write-ahead log.
    ///
    /// # Errors
    /// If there is one, or it cannot be made.
    pub fn scratch(path: &Path) -> Result<Self, StoreError> {
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        made.map_err(|error| StoreError::making(path, &error))?;
        Self::connect(path, Journal::Rollback)
    }

    fn connect(path: &Path, journal: Journal) -> Result<Self, StoreError> {
        // Neither URIs in place of paths, nor a file that comes to be by opening it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = rusqlite::Connection::open_with_flags(path, flags)
            .map_err(|error| said(&error, path))?;
        connection
            .busy_handler(Some(wait))
            .map_err(|error| said(&error, path))?;
        connection.set_prepared_statement_cache_capacity(64);
        let mode = match journal {
            Journal::WriteAhead => "wal",
            Journal::Rollback => "delete",
        };
        // FULL: on the disk before it is acknowledged, also with a write-ahead log.
        let pragmas = format!(
            "PRAGMA journal_mode = {mode}; PRAGMA synchronous = FULL;
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
        );
        connection
            .execute_batch(&pragmas)
            .map_err(|error| said(&error, path))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.connection
            .execute_batch(sql)
            .map_err(|error| said(&error, &self.path))
    }
}

impl Driver for Sqlite {
    fn transaction(
        &mut self,
        kind: Transaction,
        work: &mut dyn FnMut(&mut dyn Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.run(match kind {
            Transaction::Read => "BEGIN",
            Transaction::Write => "BEGIN IMMEDIATE",
        })?;
        let done = work(&mut Within(self)).and_then(|()| self.run("COMMIT"));
        // After some errors (no room, for one) SQLite has rolled back by itself.
        if done.is_err() && !self.connection.is_autocommit() {
            self.run("ROLLBACK")?;
        }
        done
    }

    fn has_tables(&mut self) -> Result<bool, StoreError> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'fortress_meta'";
        let count: Result<i64, _> = self.connection.query_row(sql, [], |row| row.get(0));
        Ok(count.map_err(|error| said(&error, &self.path))? == 1)
    }

    fn faults(&mut self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let sql = format!("PRAGMA integrity_check({MAX_FAULTS})");
        let asked = self.transaction(Transaction::Read, &mut |connection| {
            connection.query(&sql, &[], &mut |row| {
                found.push(row.text(0)?);
                Ok(())
            })
        });
        match asked {
            Ok(()) => {}
            Err(StoreError::Damaged(what)) => found.push(what),
            Err(error) => return Err(error),
        }
        found.retain(|line| line != "ok");
        Ok(found)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

/// SQLite's own waiting sleeps longer and longer, so that a process that writes without a pause
/// leaves others no chance.
fn wait(tries: i32) -> bool {
    std::thread::sleep(PAUSE);
    tries < TRIES
}

struct Within<'d>(&'d Sqlite);

impl Connection for Within<'_> {
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let done = self
            .0
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(values)));
        match done {
            Ok(rows) => Ok(u64::try_from(rows).unwrap_or(0)),
            Err(error) => Err(said(&error, &self.0.path)),
        }
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), StoreError> {
        let said = |error: rusqlite::Error| said(&error, &self.0.path);
        let mut statement = self.0.connection.prepare_cached(sql).map_err(said)?;
        let mut rows = statement
            .query(rusqlite::params_from_iter(values))
            .map_err(said)?;
        while let Some(row) = rows.next().map_err(said)? {
            each(&Cells(row))?;
        }
        Ok(())
    }

    fn define(&mut self, sql: &str) -> Result<(), StoreError> {
        let sql = sql.replace("BIGINT", "INTEGER").replace("BYTEA", "BLOB");
        for statement in sql
            .split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty())
        {
            // Types that are kept, as in other databases.
            let strict = if statement.starts_with("CREATE TABLE") {
                " STRICT"
            } else {
                ""
            };
            self.0.run(&format!("{statement}{strict}"))?;
        }
        Ok(())
    }
}

struct Cells<'r>(&'r rusqlite::Row<'r>);

impl Cells<'_> {
    fn get(&self, column: usize) -> Result<ValueRef<'_>, StoreError> {
        self.0
            .get_ref(column)
            .map_err(|error| StoreError::Database(error.to_string()))
    }
}

impl Row for Cells<'_> {
    fn number(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.get(column)? {
            ValueRef::Null => Ok(None),
            ValueRef::Integer(number) => Ok(Some(number)),
            ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => Err(other_type()),
        }
    }

    fn text(&self, column: usize) -> Result<String, StoreError> {
        self.get(column)?
            .as_str()
            .map(str::to_owned)
            .map_err(|_| other_type())
    }

    fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        self.get(column)?
            .as_blob()
            .map(<[u8]>::to_vec)
            .map_err(|_| other_type())
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

fn other_type() -> StoreError {
    StoreError::Damaged("a value has another type than its column".into())
}

/// What SQLite said, as one of our errors.
fn said(error: &rusqlite::Error, path: &Path) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
        Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged(error.to_string()),
        Some(ErrorCode::NotADatabase) => StoreError::NotAStore(path.display().to_string()),
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure,
        ) => StoreError::Unreachable(format!("`{}`: {error}", path.display())),
        Some(_) | None => StoreError::Database(error.to_string()),
    }
}
