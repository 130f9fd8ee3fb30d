//! What the two databases have in common: transactions, statements with `$1`, and rows.
//!
//! Deliberately not here: what the tables mean.

use crate::StoreError;

/// A value of a statement.
#[derive(Clone, Copy)]
pub enum Value<'v> {
    /// `NULL`, of a column of whole numbers.
    Null,
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(&'v str),
    /// Bytes.
    Bytes(&'v [u8]),
}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Integer(_) => "a number",
            Self::Text(_) => "a text",
            Self::Bytes(_) => "bytes",
        })
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Integer)
    }
}

/// A row of an answer. Columns count from zero.
pub trait Row {
    /// A whole number, if there is one.
    ///
    /// # Errors
    /// If the column holds something else.
    fn number(&self, column: usize) -> Result<Option<i64>, StoreError>;

    /// A text.
    ///
    /// # Errors
    /// If the column holds something else.
    fn text(&self, column: usize) -> Result<String, StoreError>;

    /// Bytes.
    ///
    /// # Errors
    /// If the column holds something else.
    fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError>;

    /// A whole number that must be there.
    ///
    /// # Errors
    /// If there is none.
    fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.number(column)?
            .ok_or_else(|| StoreError::Damaged("a number is missing".into()))
    }
}

/// Called for each row; an error ends the answer.
pub type EachRow<'f> = dyn FnMut(&dyn Row) -> Result<(), StoreError> + 'f;

/// A database within a transaction.
pub trait Connection {
    /// Runs a statement, and says how many rows it changed.
    ///
    /// # Errors
    /// What the database said.
    fn execute(&mut self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError>;

    /// Asks, and hands over each row as it comes.
    ///
    /// # Errors
    /// What the database said, or `each`.
    fn query(
        &mut self,
        sql: &str,
        values: &[Value<'_>],
        each: &mut EachRow<'_>,
    ) -> Result<(), StoreError>;

    /// Runs statements without values: what defines the tables.
    ///
    /// # Errors
    /// What the database said.
    fn define(&mut self, sql: &str) -> Result<(), StoreError>;
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Transaction {
    /// Sees one state of the whole store.
    Read,
    /// Alone: others that write wait for its end.
    Write,
}

/// One database.
pub trait Driver: Send {
    /// Runs `work` in a transaction. It is committed if `work` succeeds, and durable when this
    /// returns; otherwise nothing happened.
    ///
    /// # Errors
    /// What the database said, or `work`.
    fn transaction(
        &mut self,
        kind: Transaction,
        work: &mut dyn FnMut(&mut dyn Connection) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Whether there are tables of a store.
    ///
    /// # Errors
    /// What the database said.
    fn has_tables(&mut self) -> Result<bool, StoreError>;

    /// What the database itself finds wrong with its files.
    ///
    /// # Errors
    /// If it cannot even look.
    fn faults(&mut self) -> Result<Vec<String>, StoreError>;

    /// Where it is, without a password.
    fn place(&self) -> String;
}

/// The one number that a statement answers, if it answers.
pub(crate) fn number(
    connection: &mut dyn Connection,
    sql: &str,
    values: &[Value<'_>],
) -> Result<Option<i64>, StoreError> {
    let mut found = None;
    connection.query(sql, values, &mut |row| {
        found = row.number(0)?;
        Ok(())
    })?;
    Ok(found)
}
