//! API keys and revocations: written with a sequence number, so that every instance can ask what
//! changed since it last looked.

use aws_lc_rs::digest;
use fortress_auth::{
    MAX_REVOCATIONS, Revocation,
    api_key::{KeyId, KeyRecord},
};
use fortress_model::Timestamp;

use crate::{
    MAX_API_KEYS, Store, StoreError,
    driver::{Connection, Row, Transaction, Value},
    record,
    schema::Meta,
    store::{context, no_randomness},
};

const KEYS: &str = "fortress_api_keys";
const REVOCATIONS: &str = "fortress_revocations";
/// Bytes of a name that is revoked.
const MAX_NAME: usize = 1024;
/// Records that [`Store::changes_since`] gives at once.
const MAX_CHANGES: i64 = 10_000;

/// Up to where the changes of a store are known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    epoch: i64,
    sequence: i64,
}

/// What changed in a store.
#[derive(Debug)]
pub enum Changes {
    /// Nothing.
    None,
    /// These records are new or changed; there may be more beyond `position`.
    Some {
        /// API keys.
        keys: Vec<KeyRecord>,
        /// Revocations.
        revocations: Vec<Revocation>,
        /// Up to where the changes are known now.
        position: Position,
    },
    /// A backup was brought back: all that was read before counts no more.
    Everything,
}

/// A record as it lies in a table.
struct Lying {
    id: Vec<u8>,
    number: i64,
    sequence: i64,
    data_key: i64,
    sealed: Vec<u8>,
    beside: Option<i64>,
}

/// Called for each record, opened; an error ends the reading.
type EachRecord<'f> = dyn FnMut(Lying, &[u8]) -> Result<(), StoreError> + 'f;

impl Store {
    /// Adds keys, all or none.
    ///
    /// # Errors
    /// If an id is taken or there are too many.
    pub fn insert_keys(&self, records: &[KeyRecord]) -> Result<(), StoreError> {
        self.transaction(Transaction::Write, |connection| {
            let more = i64::try_from(records.len()).unwrap_or(i64::MAX);
            let last = Meta::Sequence.add(connection, more)?;
            if Meta::Keys.add(connection, more)? > MAX_API_KEYS {
                return Err(StoreError::TooMany("API keys"));
            }
            let (data_key, key) = self.active_key(connection, more)?;
            for (sequence, record) in (last - more + 1..).zip(records) {
                let id = database_id(record.id);
                let plain = record::write_key(record)?;
                let bound = context(KEYS, &id.to_be_bytes(), sequence);
                let sealed = key
                    .seal(&bound, plain.expose())
                    .map_err(|_| no_randomness())?;
                let sql = "INSERT INTO fortress_api_keys (id, seq, data_key, sealed, last_used)
                  VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";
                let used = record.last_used.and_then(|time| i64::try_from(time.0).ok());
                let values = [
                    Value::Integer(id),
                    Value::Integer(sequence),
                    Value::Integer(data_key),
                    Value::Bytes(&sealed),
                    Value::from(used),
                ];
                if connection.execute(sql, &values)? == 0 {
                    return Err(StoreError::Exists(record.id));
                }
            }
            Ok(())
        })
    }

    /// The key with an id, if there is one.
    ///
    /// # Errors
    /// What the database said, or that the record is damaged.
    pub fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.read(|connection| self.find_key(connection, id))
    }

    /// Changes a key, alone: what others change meanwhile is not lost. Gives it as it is then, or
    /// `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with what `change` said, what the database said, or that the record is
    /// damaged.
    pub fn update_key(
        &self,
        id: KeyId,
        mut change: impl FnMut(&mut KeyRecord) -> Result<(), String>,
    ) -> Result<Option<KeyRecord>, StoreError> {
        self.transaction(Transaction::Write, |connection| {
            let sequence = Meta::Sequence.add(connection, 1)?;
            let Some(mut record) = self.find_key(connection, id)? else {
                return Ok(None);
            };
            change(&mut record).map_err(StoreError::Refused)?;
            record.id = id;
            let (data_key, key) = self.active_key(connection, 1)?;
            let number = database_id(id);
            let plain = record::write_key(&record)?;
            let bound = context(KEYS, &number.to_be_bytes(), sequence);
            let sealed = key
                .seal(&bound, plain.expose())
                .map_err(|_| no_randomness())?;
            let sql = "UPDATE fortress_api_keys SET seq = $1, data_key = $2, sealed = $3
              WHERE id = $4";
            let values = [
                Value::Integer(sequence),
                Value::Integer(data_key),
                Value::Bytes(&sealed),
                Value::Integer(number),
            ];
            connection.execute(sql, &values)?;
            Ok(Some(record))
        })
    }

    /// Writes when keys were last used, all in one transaction. An earlier time than the one that is
    /// known is left out. This is not a change that others are told.
    ///
    /// # Errors
    /// What the database said.
    pub fn note_used(&self, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        self.transaction(Transaction::Write, |connection| {
            for (id, time) in used {
                let time = i64::try_from(time.0).unwrap_or(i64::MAX);
                let sql = "UPDATE fortress_api_keys SET last_used = $1
                  WHERE id = $2 AND (last_used IS NULL OR last_used < $1)";
                connection.execute(
                    sql,
                    &[Value::Integer(time), Value::Integer(database_id(*id))],
                )?;
            }
            Ok(())
        })
    }

    /// Revokes tokens. The same said again replaces what was said.
    ///
    /// # Errors
    /// If there are too many revocations that have not expired.
    pub fn revoke(&self, revocation: &Revocation, now: Timestamp) -> Result<(), StoreError> {
        let named = record::named(&revocation.target);
        if named.iter().flatten().any(|name| name.len() > MAX_NAME) {
            return Err(StoreError::TooLarge("a name"));
        }
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        self.transaction(Transaction::Write, |connection| {
            let sequence = Meta::Sequence.add(connection, 1)?;
            forget_revocations(connection, now)?;
            let id = revocation_id(revocation);
            let (data_key, key) = self.active_key(connection, 1)?;
            let plain = record::write_revocation(revocation)?;
            let bound = context(REVOCATIONS, &id, sequence);
            let sealed = key
                .seal(&bound, plain.expose())
                .map_err(|_| no_randomness())?;
            let gone = connection.execute(
                "DELETE FROM fortress_revocations WHERE id = $1",
                &[Value::Bytes(&id)],
            )?;
            if gone == 0 {
                let most = i64::try_from(MAX_REVOCATIONS).unwrap_or(i64::MAX);
                if Meta::Revocations.add(connection, 1)? > most {
                    return Err(StoreError::TooMany("revocations"));
                }
            }
            let sql = "INSERT INTO fortress_revocations (id, seq, data_key, sealed, expires)
              VALUES ($1, $2, $3, $4, $5)";
            let until = revocation.until.map_or(u64::MAX, |until| until.0);
            let expires = i64::try_from(until).unwrap_or(i64::MAX);
            let values = [
                Value::Bytes(&id),
                Value::Integer(sequence),
                Value::Integer(data_key),
                Value::Bytes(&sealed),
                Value::Integer(expires),
            ];
            connection.execute(sql, &values)?;
            Ok(())
        })
    }

    /// Everything, record by record, and up to where the changes are known thereby.
    ///
    /// # Errors
    /// If a record is damaged, or some are missing.
    pub fn load(
        &self,
        key: &mut dyn FnMut(KeyRecord),
        revocation: &mut dyn FnMut(Revocation),
    ) -> Result<Position, StoreError> {
        self.read(|connection| {
            let position = position(connection)?;
            let (mut keys, mut revocations) = (0, 0);
            self.each(connection, KEYS, 0, i64::MAX, &mut |lying, plain| {
                keys += 1;
                key(parsed_key(&lying, plain)?);
                Ok(())
            })?;
            self.each(connection, REVOCATIONS, 0, i64::MAX, &mut |lying, plain| {
                revocations += 1;
                revocation(parsed_revocation(&lying, plain)?);
                Ok(())
            })?;
            expect(connection, Meta::Keys, keys, "API keys")?;
            expect(connection, Meta::Revocations, revocations, "revocations")?;
            Ok(position)
        })
    }

    /// All keys, by when they were made or changed.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let mut keys = Vec::new();
        self.load(&mut |key| keys.push(key), &mut |_| {})?;
        Ok(keys)
    }

    /// What changed since a position. Cheap where nothing did.
    ///
    /// # Errors
    /// What the database said, or that a record is damaged.
    pub fn changes_since(&self, known: Position) -> Result<Changes, StoreError> {
        self.read(|connection| {
            let now = position(connection)?;
            if now.epoch != known.epoch || now.sequence < known.sequence {
                return Ok(Changes::Everything);
            }
            if now.sequence == known.sequence {
                return Ok(Changes::None);
            }
            let (mut keys, mut revocations) = (Vec::new(), Vec::new());
            self.each(
                connection,
                KEYS,
                known.sequence,
                MAX_CHANGES,
                &mut |lying, plain| {
                    keys.push((lying.sequence, parsed_key(&lying, plain)?));
                    Ok(())
                },
            )?;
            self.each(
                connection,
                REVOCATIONS,
                known.sequence,
                MAX_CHANGES,
                &mut |lying, plain| {
                    revocations.push((lying.sequence, parsed_revocation(&lying, plain)?));
                    Ok(())
                },
            )?;
            // Where there was more than is given at once, the position is what both lists reach.
            let full = usize::try_from(MAX_CHANGES).unwrap_or(usize::MAX);
            let mut reached = now.sequence;
            if keys.len() >= full {
                reached = reached.min(keys.last().map_or(reached, |(sequence, _)| *sequence));
            }
            if revocations.len() >= full {
                reached = reached.min(
                    revocations
                        .last()
                        .map_or(reached, |(sequence, _)| *sequence),
                );
            }
            Ok(Changes::Some {
                keys: keys.into_iter().map(|(_, key)| key).collect(),
                revocations: revocations.into_iter().map(|(_, one)| one).collect(),
                position: Position {
                    epoch: now.epoch,
                    sequence: reached,
                },
            })
        })
    }

    /// Removes what has expired: revocations, counters, the state of logins. Gives how many.
    ///
    /// # Errors
    /// What the database said.
    pub fn remove_expired(&self, now: Timestamp) -> Result<u64, StoreError> {
        let now = i64::try_from(now.0).unwrap_or(i64::MAX);
        self.transaction(Transaction::Write, |connection| {
            let mut removed = forget_revocations(connection, now)?;
            for table in ["fortress_counters", "fortress_state"] {
                let sql = format!("DELETE FROM {table} WHERE expires <= $1");
                removed += connection.execute(&sql, &[Value::Integer(now)])?;
            }
            Ok(removed)
        })
    }

    /// Records that do not open, or are missing.
    pub(crate) fn record_faults(&self) -> Result<Vec<String>, StoreError> {
        let mut faults = Vec::new();
        match self.load(&mut |_| {}, &mut |_| {}) {
            Ok(_) => {}
            Err(StoreError::Damaged(what)) => faults.push(what),
            Err(error) => return Err(error),
        }
        faults.extend(self.state_faults()?);
        Ok(faults)
    }

    fn find_key(
        &self,
        connection: &mut dyn Connection,
        id: KeyId,
    ) -> Result<Option<KeyRecord>, StoreError> {
        let mut found = None;
        let sql = "SELECT id, seq, data_key, sealed, last_used FROM fortress_api_keys
          WHERE id = $1";
        connection.query(sql, &[Value::Integer(database_id(id))], &mut |row| {
            found = Some(lying(row, KEYS)?);
            Ok(())
        })?;
        let Some(lying) = found else { return Ok(None) };
        let plain = self.opened(connection, KEYS, &lying)?;
        parsed_key(&lying, plain.expose()).map(Some)
    }

    /// Each record of a table after a sequence number, in their order, opened.
    fn each(
        &self,
        connection: &mut dyn Connection,
        table: &'static str,
        after: i64,
        most: i64,
        each: &mut EachRecord<'_>,
    ) -> Result<(), StoreError> {
        let beside = if table == KEYS {
            "last_used"
        } else {
            "expires"
        };
        let sql = format!(
            "SELECT id, seq, data_key, sealed, {beside} FROM {table} WHERE seq > $1
              ORDER BY seq LIMIT $2"
        );
        // A key of our own that is not known yet cannot be fetched while rows come: such rows wait.
        let mut waiting = Vec::new();
        connection.query(
            &sql,
            &[Value::Integer(after), Value::Integer(most)],
            &mut |row| {
                let lying = lying(row, table)?;
                if !waiting.is_empty() {
                    waiting.push(lying);
                    return Ok(());
                }
                match self.known_key(lying.data_key) {
                    Some(key) => {
                        let plain = open(&key, table, &lying)?;
                        each(lying, plain.expose())
                    }
                    None => {
                        waiting.push(lying);
                        Ok(())
                    }
                }
            },
        )?;
        for lying in waiting {
            let plain = self.opened(connection, table, &lying)?;
            each(lying, plain.expose())?;
        }
        Ok(())
    }

    fn opened(
        &self,
        connection: &mut dyn Connection,
        table: &'static str,
        lying: &Lying,
    ) -> Result<fortress_model::Secret<Vec<u8>>, StoreError> {
        let key = self.data_key(connection, lying.data_key)?;
        open(&key, table, lying)
    }
}

fn open(
    key: &crate::cipher::DataKey,
    table: &'static str,
    lying: &Lying,
) -> Result<fortress_model::Secret<Vec<u8>>, StoreError> {
    let bound = context(table, &lying.id, lying.sequence);
    key.open(&bound, &lying.sealed)
        .ok_or_else(|| damaged(table, lying.number))
}

fn parsed_key(lying: &Lying, plain: &[u8]) -> Result<KeyRecord, StoreError> {
    let id = u64::try_from(lying.number).map(KeyId::from_number);
    id.ok()
        .and_then(|id| record::read_key(id, plain, lying.beside))
        .ok_or_else(|| damaged(KEYS, lying.number))
}

fn parsed_revocation(lying: &Lying, plain: &[u8]) -> Result<Revocation, StoreError> {
    record::read_revocation(plain).ok_or_else(|| damaged(REVOCATIONS, lying.sequence))
}

fn damaged(table: &str, number: i64) -> StoreError {
    let id = u64::try_from(number).map(|number| KeyId::from_number(number).to_string());
    StoreError::Damaged(match id {
        Ok(id) if table == KEYS => format!("the record of the API key `{id}` was changed"),
        Ok(_) | Err(_) => format!("record {number} of `{table}` was changed"),
    })
}

fn lying(row: &dyn Row, table: &'static str) -> Result<Lying, StoreError> {
    let sequence = row.integer(1)?;
    let (id, number) = if table == KEYS {
        let number = row.integer(0)?;
        (number.to_be_bytes().to_vec(), number)
    } else {
        (row.bytes(0)?, sequence)
    };
    Ok(Lying {
        id,
        number,
        sequence,
        data_key: row.integer(2)?,
        sealed: row.bytes(3)?,
        beside: row.number(4)?,
    })
}

fn position(connection: &mut dyn Connection) -> Result<Position, StoreError> {
    Ok(Position {
        epoch: Meta::Epoch.get(connection)?,
        sequence: Meta::Sequence.get(connection)?,
    })
}

fn expect(
    connection: &mut dyn Connection,
    meta: Meta,
    found: i64,
    what: &str,
) -> Result<(), StoreError> {
    let written = meta.get(connection)?;
    if written == found {
        return Ok(());
    }
    Err(StoreError::Damaged(format!(
        "it has {found} {what}, and {written} were written"
    )))
}

fn forget_revocations(connection: &mut dyn Connection, now: i64) -> Result<u64, StoreError> {
    let sql = "DELETE FROM fortress_revocations WHERE expires <= $1";
    let removed = connection.execute(sql, &[Value::Integer(now)])?;
    let fewer = i64::try_from(removed).unwrap_or(0);
    if fewer > 0 {
        Meta::Revocations.add(connection, -fewer)?;
    }
    Ok(removed)
}

/// A key's id as the databases keep it; ids are below 2⁶³.
fn database_id(id: KeyId) -> i64 {
    i64::try_from(id.number()).unwrap_or(i64::MAX)
}

/// What tells revocations apart, without a name in it.
fn revocation_id(revocation: &Revocation) -> Vec<u8> {
    let mut text = Vec::new();
    for part in record::named(&revocation.target) {
        let length = part.map_or(u64::MAX, |part| u64::try_from(part.len()).unwrap_or(0));
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(part.unwrap_or_default().as_bytes());
    }
    digest::digest(&digest::SHA256, &text).as_ref().to_vec()
}
