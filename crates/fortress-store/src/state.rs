//! Counters over windows of time, and sealed blobs that expire (the state of a login under way).

use fortress_model::{Secret, Timestamp};

use crate::{
    Store, StoreError,
    driver::{Connection, Transaction, Value, number},
    store::{context, no_randomness},
};

const STATE: &str = "fortress_state";
/// Bytes of a blob.
const MAX_STATE: usize = 64 << 10;
/// Bytes of a counter's name, and of a blob's id.
const MAX_NAME: usize = 256;

/// Something to count.
#[derive(Clone, Copy, Debug)]
pub struct Count<'c> {
    /// What is counted: opaque, at most 256 bytes, kept as it is. Hash what nobody is to read.
    pub name: &'c str,
    /// When the window began, by the caller's reckoning.
    pub began: Timestamp,
    /// How many more; may be negative.
    pub more: i64,
    /// From here on the counter may be removed.
    pub expires: Timestamp,
}

impl Store {
    /// Counts, all in one transaction, and gives each counter as it is then.
    ///
    /// # Errors
    /// If a name is too long, and what the database said.
    pub fn count(&self, counts: &[Count<'_>]) -> Result<Vec<i64>, StoreError> {
        if counts.iter().any(|count| count.name.len() > MAX_NAME) {
            return Err(StoreError::TooLarge("a counter's name"));
        }
        // In one order everywhere, so that two instances never wait for each other.
        let mut order: Vec<(usize, &Count<'_>)> = counts.iter().enumerate().collect();
        order.sort_by_key(|(_, count)| (count.name, count.began));
        self.transaction(Transaction::Write, |connection| {
            let mut values = vec![0; counts.len()];
            for (index, count) in &order {
                let sql = "INSERT INTO fortress_counters (name, began, value, expires)
                  VALUES ($1, $2, $3, $4) ON CONFLICT (name, began) DO UPDATE
                  SET value = fortress_counters.value + excluded.value RETURNING value";
                let parameters = [
                    Value::Text(count.name),
                    time(count.began),
                    Value::Integer(count.more),
                    time(count.expires),
                ];
                let now = number(connection, sql, &parameters)?;
                if let Some(value) = values.get_mut(*index) {
                    *value = now.unwrap_or(0);
                }
            }
            Ok(values)
        })
    }

    /// A counter as it is: zero if nothing was counted.
    ///
    /// # Errors
    /// What the database said.
    pub fn counted(&self, name: &str, began: Timestamp) -> Result<i64, StoreError> {
        self.read(|connection| {
            let sql = "SELECT value FROM fortress_counters WHERE name = $1 AND began = $2";
            let value = number(connection, sql, &[Value::Text(name), time(began)])?;
            Ok(value.unwrap_or(0))
        })
    }

    /// Every counter whose name begins with `prefix`, which is of letters and `:`, and that has not
    /// expired, those that began last first: its name, when its window began, and its value.
    ///
    /// # Errors
    /// What the database said, or `each`.
    pub fn counters(
        &self,
        prefix: &str,
        now: Timestamp,
        each: &mut dyn FnMut(&str, Timestamp, i64),
    ) -> Result<(), StoreError> {
        let pattern = format!("{prefix}%");
        self.read(|connection| {
            let sql = "SELECT name, began, value FROM fortress_counters
              WHERE name LIKE $1 AND expires > $2 ORDER BY began DESC";
            let values = [Value::Text(&pattern), time(now)];
            connection.query(sql, &values, &mut |row| {
                let began = u64::try_from(row.integer(1)?).unwrap_or(0);
                each(&row.text(0)?, Timestamp(began), row.integer(2)?);
                Ok(())
            })
        })
    }

    /// Keeps a blob, sealed, in place of one of the same kind and id.
    ///
    /// # Errors
    /// If it is larger than 64 KiB, and what the database said.
    pub fn put_state(
        &self,
        kind: &str,
        id: &[u8],
        blob: &[u8],
        expires: Timestamp,
    ) -> Result<(), StoreError> {
        if blob.len() > MAX_STATE {
            return Err(StoreError::TooLarge("a login's state"));
        }
        if kind.len().max(id.len()) > MAX_NAME {
            return Err(StoreError::TooLarge("a login's id"));
        }
        self.transaction(Transaction::Write, |connection| {
            let (data_key, key) = self.active_key(connection, 1)?;
            let end = i64::try_from(expires.0).unwrap_or(i64::MAX);
            let sealed = key
                .seal(&bound(kind, id, end), blob)
                .map_err(|_| no_randomness())?;
            let sql = "INSERT INTO fortress_state (kind, id, data_key, sealed, expires)
              VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, id) DO UPDATE
              SET data_key = excluded.data_key, sealed = excluded.sealed,
                  expires = excluded.expires";
            let values = [
                Value::Text(kind),
                Value::Bytes(id),
                Value::Integer(data_key),
                Value::Bytes(&sealed),
                Value::Integer(end),
            ];
            connection.execute(sql, &values)?;
            Ok(())
        })
    }

    /// A blob that has not expired.
    ///
    /// # Errors
    /// That it is damaged, and what the database said.
    pub fn state(
        &self,
        kind: &str,
        id: &[u8],
        now: Timestamp,
    ) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        self.read(|connection| {
            let sql = "SELECT data_key, sealed, expires FROM fortress_state
              WHERE kind = $1 AND id = $2";
            self.blob(connection, sql, kind, id, now)
        })
    }

    /// The same, and it is gone: of several who take it, one gets it.
    ///
    /// # Errors
    /// That it is damaged, and what the database said.
    pub fn take_state(
        &self,
        kind: &str,
        id: &[u8],
        now: Timestamp,
    ) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        self.transaction(Transaction::Write, |connection| {
            let sql = "DELETE FROM fortress_state WHERE kind = $1 AND id = $2
              RETURNING data_key, sealed, expires";
            self.blob(connection, sql, kind, id, now)
        })
    }

    fn blob(
        &self,
        connection: &mut dyn Connection,
        sql: &str,
        kind: &str,
        id: &[u8],
        now: Timestamp,
    ) -> Result<Option<Secret<Vec<u8>>>, StoreError> {
        let mut found = None;
        connection.query(sql, &[Value::Text(kind), Value::Bytes(id)], &mut |row| {
            found = Some((row.integer(0)?, row.bytes(1)?, row.integer(2)?));
            Ok(())
        })?;
        let Some((data_key, sealed, expires)) = found else {
            return Ok(None);
        };
        let key = self.data_key(connection, data_key)?;
        let blob = key
            .open(&bound(kind, id, expires), &sealed)
            .ok_or_else(|| damaged(kind))?;
        let end = u64::try_from(expires).unwrap_or(0);
        Ok((now.0 < end).then_some(blob))
    }

    /// Blobs that do not open.
    pub(crate) fn state_faults(&self) -> Result<Vec<String>, StoreError> {
        self.read(|connection| {
            let mut blobs = Vec::new();
            let sql = "SELECT kind, id, data_key, sealed, expires FROM fortress_state";
            connection.query(sql, &[], &mut |row| {
                let (kind, id) = (row.text(0)?, row.bytes(1)?);
                blobs.push((kind, id, row.integer(2)?, row.bytes(3)?, row.integer(4)?));
                Ok(())
            })?;
            let mut faults = Vec::new();
            for (kind, id, data_key, sealed, expires) in blobs {
                let key = self.data_key(connection, data_key)?;
                if key.open(&bound(&kind, &id, expires), &sealed).is_none() {
                    faults.push(damaged(&kind).to_string());
                }
            }
            Ok(faults)
        })
    }
}

fn damaged(kind: &str) -> StoreError {
    StoreError::Damaged(format!("a record of `{STATE}` ({kind}) was changed"))
}

fn bound(kind: &str, id: &[u8], expires: i64) -> Vec<u8> {
    let name = [kind.as_bytes(), &[0], id].concat();
    context(STATE, &name, expires)
}

fn time(time: Timestamp) -> Value<'static> {
    Value::Integer(i64::try_from(time.0).unwrap_or(i64::MAX))
}
