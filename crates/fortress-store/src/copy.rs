//! Backups: a file of the embedded kind, made while others write, whichever database it is from;
//! and brought back into either.
//!
//! Records are copied as they lie, sealed. A backup opens with the key that the store had when it was
//! made.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Sqlite, Store, StoreError,
    driver::{Connection, Driver, Transaction, Value},
    schema::{self, Column, Meta, TABLES, Table},
    seal::sync_directory,
    store::random_number,
};

impl Store {
    /// Writes a backup to a file that must not exist yet. It is one state of the store; the file is
    /// there when it is complete and durable, or not at all. Gives the number of records.
    ///
    /// # Errors
    /// If there is a file, and what the databases said.
    pub fn backup(&self, path: &Path) -> Result<u64, StoreError> {
        if path.exists() {
            return Err(StoreError::Present(path.to_owned()));
        }
        let part = beside(path);
        let copied = self.copy_to_file(&part);
        let placed = copied.and_then(|rows| {
            place(&part, path)?;
            Ok(rows)
        });
        if placed.is_err() {
            drop(fs::remove_file(&part));
        }
        placed
    }

    fn copy_to_file(&self, part: &Path) -> Result<u64, StoreError> {
        let mut target = Sqlite::scratch(part)?;
        let epoch = random_number()?;
        let mut rows = 0;
        target.transaction(Transaction::Write, &mut |to| {
            schema::migrate(to, None, epoch)?;
            rows = self.read(|from| copy(from, to))?;
            Ok(())
        })?;
        Ok(rows)
    }

    /// Replaces everything by what a backup holds, in one transaction: whoever reads sees the one or
    /// the other, and instances that run notice within a second. Gives the number of records.
    ///
    /// # Errors
    /// If the backup is damaged; if what it holds cannot be opened with this store's key; and what
    /// the databases said. Nothing has changed then.
    pub fn restore(&self, backup: &Self) -> Result<u64, StoreError> {
        if let Some(fault) = backup.check()?.into_iter().next() {
            return Err(StoreError::Damaged(fault));
        }
        let epoch = random_number()?;
        let rows = self.transaction(Transaction::Write, |to| {
            // Whoever else writes waits.
            Meta::Sequence.add(to, 0)?;
            for table in TABLES {
                to.execute(&format!("DELETE FROM {}", table.name), &[])?;
            }
            let rows = backup.read(|from| copy(from, to))?;
            Meta::Epoch.set(to, epoch)?;
            Ok(rows)
        })?;
        self.forget_ring();
        Ok(rows)
    }
}

/// Gives a new file its name, if nobody else has taken it meanwhile.
pub(crate) fn place(part: &Path, path: &Path) -> Result<(), StoreError> {
    let placed = fs::File::open(part)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::hard_link(part, path))
        .and_then(|()| fs::remove_file(part))
        .and_then(|()| sync_directory(path));
    placed.map_err(|error| StoreError::making(path, &error))
}

/// A name for a file until it is complete, which is free: what is there was left by a process of the
/// same number that was killed.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let named = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".part-{}{end}", std::process::id()));
        PathBuf::from(name)
    };
    for end in ["", "-journal"] {
        drop(fs::remove_file(named(end)));
    }
    named("")
}

fn copy(from: &mut dyn Connection, to: &mut dyn Connection) -> Result<u64, StoreError> {
    let mut rows = 0;
    for table in TABLES {
        rows += copy_table(from, to, table)?;
    }
    for meta in Meta::COPIED {
        let value = meta.get(from)?;
        meta.set(to, value)?;
    }
    Ok(rows)
}

/// A cell, kept between the two databases.
enum Cell {
    Number(Option<i64>),
    Text(String),
    Bytes(Vec<u8>),
}

fn copy_table(
    from: &mut dyn Connection,
    to: &mut dyn Connection,
    table: &Table,
) -> Result<u64, StoreError> {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let places: Vec<String> = (1..=table.columns.len()).map(|n| format!("${n}")).collect();
    let select = format!("SELECT {names} FROM {}", table.name);
    let insert = format!(
        "INSERT INTO {} ({names}) VALUES ({})",
        table.name,
        places.join(", ")
    );
    let mut rows = 0;
    from.query(&select, &[], &mut |row| {
        let mut cells = Vec::with_capacity(table.columns.len());
        for (index, (_, column)) in table.columns.iter().enumerate() {
            cells.push(match column {
                Column::Number => Cell::Number(row.number(index)?),
                Column::Text => Cell::Text(row.text(index)?),
                Column::Bytes => Cell::Bytes(row.bytes(index)?),
            });
        }
        let values: Vec<Value<'_>> = cells
            .iter()
            .map(|cell| match cell {
                Cell::Number(number) => Value::from(*number),
                Cell::Text(text) => Value::Text(text),
                Cell::Bytes(bytes) => Value::Bytes(bytes),
            })
            .collect();
        rows += to.execute(&insert, &values)?;
        Ok(())
    })?;
    Ok(rows)
}
