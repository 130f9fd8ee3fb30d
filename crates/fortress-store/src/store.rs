//! The store: opened, its own keys unwrapped, every record sealed and opened in one place.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use fortress_auth::api_key::Pepper;
use fortress_model::Secret;

use crate::{
    Seal, SealError, StoreError,
    cipher::{self, DataKey, MAX_USES},
    driver::{Connection, Driver, Transaction, Value, number},
    schema::{self, Meta, TABLES},
};

/// API keys that a store may hold.
pub const MAX_API_KEYS: i64 = 5_000_000;

/// What outlives the process. Shared freely between threads; each call blocks until it is done.
pub struct Store {
    driver: Mutex<Box<dyn Driver>>,
    seal: RwLock<Arc<dyn Seal>>,
    /// Those that were unwrapped, by id.
    ring: Mutex<HashMap<i64, Arc<DataKey>>>,
    place: String,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.place)
    }
}

impl Store {
    /// Opens a store that is there, and takes the steps to the present version.
    ///
    /// # Errors
    /// If it is no store, damaged, of a later version, or sealed with another key.
    pub fn open(driver: impl Driver + 'static, seal: Arc<dyn Seal>) -> Result<Self, StoreError> {
        let store = Self::around(Box::new(driver), seal);
        if !store.driver().has_tables()? {
            return Err(StoreError::NotAStore(store.place));
        }
        // Who only reads waits for nobody.
        let is_known = store
            .read(|connection| Ok(Meta::Version.get(connection)? == schema::known_version()))?;
        if !is_known {
            store.transaction(Transaction::Write, |connection| {
                let found = Meta::Version.get(connection)?;
                schema::migrate(connection, Some(found), 0)
            })?;
        }
        store.read(|connection| store.load_ring(connection))?;
        Ok(store)
    }

    /// Makes the tables of a new store.
    ///
    /// # Errors
    /// If there are tables already, or they cannot be made.
    pub fn create(driver: impl Driver + 'static, seal: Arc<dyn Seal>) -> Result<Self, StoreError> {
        let store = Self::around(Box::new(driver), seal);
        let epoch = random_number()?;
        store.transaction(Transaction::Write, |connection| {
            schema::migrate(connection, None, epoch)?;
            store.new_data_key(connection)?;
            Ok(())
        })?;
        Ok(store)
    }

    fn around(driver: Box<dyn Driver>, seal: Arc<dyn Seal>) -> Self {
        Self {
            place: driver.place(),
            driver: Mutex::new(driver),
            seal: RwLock::new(seal),
            ring: Mutex::new(HashMap::new()),
        }
    }

    /// Where it is, without a password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Demands that the store's keys were digested under this pepper; an empty store takes it.
    ///
    /// # Errors
    /// [`StoreError::WrongPepper`], and what the database said.
    pub fn use_pepper(&self, pepper: &Pepper) -> Result<(), StoreError> {
        let own = pepper_mark(pepper);
        let known = self.read(|connection| Meta::Pepper.get(connection))?;
        if known == own {
            return Ok(());
        }
        self.transaction(Transaction::Write, |connection| {
            let known = Meta::Pepper.get(connection)?;
            let is_free = known == 0 || Meta::Keys.get(connection)? == 0;
            if known == own {
                Ok(())
            } else if is_free {
                Meta::Pepper.set(connection, own)
            } else {
                Err(StoreError::WrongPepper)
            }
        })
    }

    /// Looks whether a store would open with these keys and this pepper, and writes nothing: a store
    /// of an earlier version is not brought to the present one.
    pub(crate) fn look(
        driver: impl Driver + 'static,
        seal: Arc<dyn Seal>,
        pepper: &Pepper,
    ) -> Result<(), StoreError> {
        let store = Self::around(Box::new(driver), seal);
        if !store.driver().has_tables()? {
            return Err(StoreError::NotAStore(store.place));
        }
        let (found, known) = (
            store.read(|connection| Meta::Version.get(connection))?,
            schema::known_version(),
        );
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        store.read(|connection| store.load_ring(connection))?;
        let own = pepper_mark(pepper);
        let is_right = store.read(|connection| Ok(Meta::Pepper.get(connection)? == own))?;
        if is_right || store.takes_any_pepper()? {
            Ok(())
        } else {
            Err(StoreError::WrongPepper)
        }
    }

    /// Whether it takes any pepper: none of its API keys was digested under one.
    ///
    /// # Errors
    /// What the database said.
    pub fn takes_any_pepper(&self) -> Result<bool, StoreError> {
        self.read(|connection| {
            Ok(Meta::Pepper.get(connection)? == 0 || Meta::Keys.get(connection)? == 0)
        })
    }

    /// How many records it holds, its own keys included.
    ///
    /// # Errors
    /// What the database said.
    pub fn records(&self) -> Result<u64, StoreError> {
        self.read(|connection| {
            let mut all = 0;
            for table in TABLES {
                let sql = format!("SELECT count(*) FROM {}", table.name);
                let rows = number(connection, &sql, &[])?.unwrap_or(0);
                all += u64::try_from(rows).unwrap_or(0);
            }
            Ok(all)
        })
    }

    /// Wraps the store's own keys anew, by another seal, and seals new records with a new key. In
    /// one transaction: a crash leaves the old seal or the new one.
    ///
    /// # Errors
    /// If one of the keys cannot be unwrapped or wrapped; then nothing has changed.
    pub fn rotate_key(&self, new: Arc<dyn Seal>) -> Result<usize, StoreError> {
        let mut wrapped = 0;
        self.transaction(Transaction::Write, |connection| {
            let old = self.seal();
            let keys = data_keys(connection)?;
            wrapped = keys.len();
            for (id, seal, bytes) in keys {
                let key = old.unwrap(&seal, id, &bytes)?;
                let again = new.wrap(id, &key)?;
                let sql = "UPDATE fortress_data_keys SET seal = $1, wrapped = $2 WHERE id = $3";
                let name = new.name();
                let values = [Value::Text(&name), Value::Bytes(&again), Value::Integer(id)];
                connection.execute(sql, &values)?;
            }
            self.new_data_key_by(connection, &*new)?;
            Ok(())
        })?;
        *self.seal.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(wrapped)
    }

    /// What is wrong with the store: what the database finds, and every record that does not open.
    ///
    /// # Errors
    /// If it cannot even be read.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        let mut faults = self.driver().faults()?;
        faults.extend(self.record_faults()?);
        Ok(faults)
    }

    pub(crate) fn driver(&self) -> MutexGuard<'_, Box<dyn Driver>> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seal(&self) -> Arc<dyn Seal> {
        Arc::clone(&self.seal.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets the store's own keys, after others took their place.
    pub(crate) fn forget_ring(&self) {
        self.ring().clear();
    }

    fn ring(&self) -> MutexGuard<'_, HashMap<i64, Arc<DataKey>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn transaction<T>(
        &self,
        kind: Transaction,
        mut work: impl FnMut(&mut dyn Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut result = None;
        self.driver().transaction(kind, &mut |connection| {
            result = Some(work(connection)?);
            Ok(())
        })?;
        result.ok_or_else(|| StoreError::Database("the transaction did nothing".into()))
    }

    pub(crate) fn read<T>(
        &self,
        work: impl FnMut(&mut dyn Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.transaction(Transaction::Read, work)
    }

    /// Unwraps all of the store's own keys, and so proves that the seal is the right one.
    fn load_ring(&self, connection: &mut dyn Connection) -> Result<(), StoreError> {
        let keys = data_keys(connection)?;
        if keys.is_empty() {
            return Err(StoreError::Damaged("it has lost its own keys".into()));
        }
        let seal = self.seal();
        for (id, name, wrapped) in keys {
            let key = seal.unwrap(&name, id, &wrapped)?;
            self.ring().insert(id, Arc::new(data_key(&key)?));
        }
        Ok(())
    }

    /// The key with an id, if it was unwrapped before.
    pub(crate) fn known_key(&self, id: i64) -> Option<Arc<DataKey>> {
        self.ring().get(&id).map(Arc::clone)
    }

    /// The key with an id, unwrapped now if another process made it.
    pub(crate) fn data_key(
        &self,
        connection: &mut dyn Connection,
        id: i64,
    ) -> Result<Arc<DataKey>, StoreError> {
        if let Some(key) = self.known_key(id) {
            return Ok(key);
        }
        self.load_ring(connection)?;
        self.known_key(id)
            .ok_or_else(|| StoreError::Damaged(format!("it has lost its own key {id}")))
    }

    /// The key that seals now, counted as used so many times more.
    pub(crate) fn active_key(
        &self,
        connection: &mut dyn Connection,
        uses: i64,
    ) -> Result<(i64, Arc<DataKey>), StoreError> {
        let sql = "UPDATE fortress_data_keys SET uses = uses + $1 WHERE active = 1
          RETURNING id, uses";
        let mut active = None;
        // Asked twice: PostgreSQL waits for a rotation that is under way, and then finds the key that
        // it waited for inactive, and the new one only when asked anew.
        for _ in 0..2 {
            if active.is_none() {
                connection.query(sql, &[Value::Integer(uses)], &mut |row| {
                    active = Some((row.integer(0)?, row.integer(1)?));
                    Ok(())
                })?;
            }
        }
        let (id, used) =
            active.ok_or_else(|| StoreError::Damaged("it has lost its own key".into()))?;
        let id = if used > MAX_USES {
            self.new_data_key(connection)?
        } else {
            id
        };
        Ok((id, self.data_key(connection, id)?))
    }

    fn new_data_key(&self, connection: &mut dyn Connection) -> Result<i64, StoreError> {
        self.new_data_key_by(connection, &*self.seal())
    }

    /// INVARIANT: one key is active.
    fn new_data_key_by(
        &self,
        connection: &mut dyn Connection,
        seal: &dyn Seal,
    ) -> Result<i64, StoreError> {
        let key = cipher::random::<32>().map_err(|_| no_randomness())?;
        // Not reused even if a backup is brought back: random, and positive.
        let id = random_number()?;
        let wrapped = seal.wrap(id, &key)?;
        connection.execute("UPDATE fortress_data_keys SET active = 0", &[])?;
        let sql = "INSERT INTO fortress_data_keys (id, seal, wrapped, uses, active)
          VALUES ($1, $2, $3, 0, 1)";
        let name = seal.name();
        let values = [
            Value::Integer(id),
            Value::Text(&name),
            Value::Bytes(&wrapped),
        ];
        connection.execute(sql, &values)?;
        self.ring().insert(id, Arc::new(data_key(&key)?));
        Ok(id)
    }
}

/// Which pepper it is. Zero means that there is none yet.
fn pepper_mark(pepper: &Pepper) -> i64 {
    i64::from_be_bytes(pepper.fingerprint()) | 1
}

/// What a sealed record is bound to: its table, its id, and its version. A record that is moved, or
/// given another number, does not open.
pub(crate) fn context(table: &str, id: &[u8], version: i64) -> Vec<u8> {
    let mut context = Vec::with_capacity(table.len() + id.len() + 17);
    context.extend_from_slice(table.as_bytes());
    context.push(0);
    let length = u64::try_from(id.len()).unwrap_or(u64::MAX);
    context.extend_from_slice(&length.to_be_bytes());
    context.extend_from_slice(id);
    context.extend_from_slice(&version.to_be_bytes());
    context
}

/// A positive random number.
pub(crate) fn random_number() -> Result<i64, StoreError> {
    let bytes = cipher::random::<8>().map_err(|_| no_randomness())?;
    Ok((i64::from_be_bytes(*bytes.expose()) & i64::MAX).max(1))
}

pub(crate) fn no_randomness() -> StoreError {
    SealError::Failed("no randomness".into()).into()
}

fn data_key(key: &Secret<[u8; 32]>) -> Result<DataKey, StoreError> {
    DataKey::new(key).map_err(|_| SealError::Failed("a key cannot be used".into()).into())
}

type Wrapped = (i64, String, Vec<u8>);

fn data_keys(connection: &mut dyn Connection) -> Result<Vec<Wrapped>, StoreError> {
    let mut keys = Vec::new();
    let sql = "SELECT id, seal, wrapped FROM fortress_data_keys ORDER BY id";
    connection.query(sql, &[], &mut |row| {
        keys.push((row.integer(0)?, row.text(1)?, row.bytes(2)?));
        Ok(())
    })?;
    Ok(keys)
}
