//! `GLOBAL`, `IP`, `SESSION`, `USER` and `RESOURCE`: collections that outlive a transaction, in the
//! memory of the program. Bounded; what is not written for `SecCollectionTimeout` is forgotten.
//!
//! Deliberately not here: sharing between processes.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::seclang::Variable;

/// Collections, and the keys of each. Beyond that the one that would be forgotten first makes room.
const MOST_COLLECTIONS: usize = 16_384;
const MOST_KEYS: usize = 256;
/// Bytes of a name, a key or a value.
const LONGEST: usize = 1_024;

/// All collections.
#[derive(Debug)]
pub(super) struct Kept {
    /// Seconds.
    timeout: i64,
    all: Mutex<HashMap<(Variable, Vec<u8>), Collection>>,
}

#[derive(Debug, Default)]
struct Collection {
    /// When it is forgotten, in seconds since 1970.
    until: i64,
    keys: HashMap<Vec<u8>, Entry>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    value: Vec<u8>,
    until: Option<i64>,
}

/// A collection that a transaction has opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) variable: Variable,
    pub(super) name: Vec<u8>,
}

impl Kept {
    pub(super) fn new(timeout: i64) -> Self {
        Self {
            timeout,
            all: Mutex::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<(Variable, Vec<u8>), Collection>> {
        // Nothing that is done under the lock can leave it half done.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a collection, which is there from then on.
    pub(super) fn open(&self, variable: Variable, name: &[u8], now: i64) -> Opened {
        let opened = Opened {
            variable,
            name: cut(name),
        };
        let mut all = self.all();
        let key = (variable, opened.name.clone());
        if !all.contains_key(&key) && all.len() >= MOST_COLLECTIONS {
            all.retain(|_, collection| collection.until > now);
            if all.len() >= MOST_COLLECTIONS {
                let oldest = all.iter().min_by_key(|(_, collection)| collection.until);
                if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                    all.remove(&oldest);
                }
            }
        }
        let collection = all.entry(key).or_default();
        if collection.until <= now {
            collection.keys.clear();
        }
        collection.until = now.saturating_add(self.timeout);
        opened
    }

    /// All keys with their values, in order.
    pub(super) fn list(&self, opened: &Opened, now: i64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = self.all();
        let collection = all.get(&(opened.variable, opened.name.clone()));
        let entries = collection
            .into_iter()
            .flat_map(|collection| &collection.keys);
        let mut list: Vec<_> = entries
            .filter(|(_, entry)| entry.until.is_none_or(|until| until > now))
            .map(|(key, entry)| (key.clone(), entry.value.clone()))
            .collect();
        list.sort();
        list
    }

    /// Changes the value of a key under the lock, so that no addition is lost. `None` removes it.
    pub(super) fn change(
        &self,
        opened: &Opened,
        key: &[u8],
        now: i64,
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) {
        let mut all = self.all();
        let Some(collection) = all.get_mut(&(opened.variable, opened.name.clone())) else {
            return;
        };
        collection.until = now.saturating_add(self.timeout);
        let key = cut(key);
        let held = collection.keys.get(&key);
        let held = held.filter(|entry| entry.until.is_none_or(|until| until > now));
        match change(held.map(|entry| entry.value.as_slice())) {
            None => {
                collection.keys.remove(&key);
            }
            Some(value) => {
                if held.is_none() && collection.keys.len() >= MOST_KEYS {
                    return;
                }
                let until = held.and_then(|entry| entry.until);
                let value = cut(&value);
                collection.keys.insert(key, Entry { value, until });
            }
        }
    }

    /// Lets a key expire.
    pub(super) fn expire(&self, opened: &Opened, key: &[u8], until: i64) {
        let mut all = self.all();
        let collection = all.get_mut(&(opened.variable, opened.name.clone()));
        if let Some(entry) = collection.and_then(|collection| collection.keys.get_mut(key)) {
            entry.until = Some(until);
        }
    }
}

fn cut(text: &[u8]) -> Vec<u8> {
    text.get(..LONGEST).unwrap_or(text).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collections_outlive_transactions_and_expire() {
        let kept = Kept::new(60);
        let opened = kept.open(Variable::Ip, b"192.0.2.1", 1_000);
        let add = |held: Option<&[u8]>| Some([held.unwrap_or_default(), b"x"].concat());
        kept.change(&opened, b"n", 1_000, add);
        let again = kept.open(Variable::Ip, b"192.0.2.1", 1_050);
        kept.change(&again, b"n", 1_050, add);
        assert_eq!(kept.list(&again, 1_050), [(b"n".to_vec(), b"xx".to_vec())]);
        kept.expire(&again, b"n", 1_060);
        assert_eq!(kept.list(&again, 1_060), []);
        let other = kept.open(Variable::Ip, b"192.0.2.2", 1_060);
        assert_eq!(kept.list(&other, 1_060), []);
        let late = kept.open(Variable::Ip, b"192.0.2.1", 2_000);
        assert_eq!(kept.list(&late, 2_000), []);
        kept.change(&late, b"n", 2_000, |_| None);
        assert_eq!(kept.list(&late, 2_000), []);
    }

    #[test]
    fn collections_are_bounded() {
        let kept = Kept::new(60);
        for number in 0..MOST_COLLECTIONS + 10 {
            let until = i64::try_from(number).unwrap();
            let opened = kept.open(Variable::Ip, number.to_string().as_bytes(), until / 1_000);
            if number > 10 {
                continue;
            }
            for key in 0..MOST_KEYS + 10 {
                kept.change(&opened, key.to_string().as_bytes(), 0, |_| {
                    Some(vec![b'v'; 5_000])
                });
            }
            let list = kept.list(&opened, 0);
            assert_eq!(list.len(), MOST_KEYS);
            assert!(list.iter().all(|(_, value)| value.len() == LONGEST));
        }
        assert!(kept.all().len() <= MOST_COLLECTIONS);
    }
}
