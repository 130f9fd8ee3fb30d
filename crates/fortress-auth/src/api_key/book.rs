//! All keys in memory, for the request path: immutable, so that a request sees one state, and made
//! of shards, so that a change copies a two-thousandth of it.
//!
//! A shard holds its keys sorted by a hash of their ids, which is even; where a hash should stand is
//! reckoned from it, and looked for nearby. That is as fast as a hash table and leaves no slot empty.

use std::{
    collections::{BTreeMap, HashSet},
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fortress_model::Timestamp;

use super::{Access, ApiKey, Digest, KeyError, KeyId, KeyRecord, Label, MAX_KEY, Pepper};

const SHARD_BITS: u32 = 11;
const SHARDS: usize = 1 << SHARD_BITS;
/// Places on either side of the reckoned one that are looked at first: four standard deviations of
/// a shard of 250 keys, two of one of 1,000.
const NEARBY: usize = 32;
/// How exactly it is known when a key was last used, in seconds.
const USE_RESOLUTION: u32 = 60;
/// What a digest is compared with where there is none: no HMAC is all zero but by a chance of 2⁻²⁵⁶,
/// and then still nobody is found.
const NOBODY: Digest = Digest([0; 32]);

/// Bytes that a key made elsewhere must have at least.
const MIN_FOREIGN: usize = 20;

/// All keys at one time.
#[derive(Clone)]
pub struct KeyBook {
    shards: Box<[Arc<Shard>]>,
    keys: usize,
}

impl fmt::Debug for KeyBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBook({} keys)", self.keys)
    }
}

/// Whose a key is and what it may do: what a request that showed the key is allowed to know.
#[derive(Debug)]
pub struct KeyHolder {
    /// The key's id.
    pub id: KeyId,
    /// Whose it is.
    pub owner: Label,
    /// What it may do.
    pub access: Arc<Access>,
    /// Seconds since the epoch; zero for never.
    used: AtomicU32,
}

impl KeyHolder {
    /// Notes that the key was used, and says whether that is to be written: at most once a minute.
    pub fn note_use(&self, now: Timestamp) -> bool {
        let now = u32::try_from(now.seconds()).unwrap_or(u32::MAX);
        let last = self.used.load(Ordering::Relaxed);
        now >= last.saturating_add(USE_RESOLUTION)
            && self
                .used
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// When it was last used, if it ever was.
    pub fn last_used(&self) -> Option<Timestamp> {
        match self.used.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(Timestamp(u64::from(seconds) * 1_000_000_000)),
        }
    }
}

/// Sorted by hash; the two slices are equally long.
#[derive(Clone, Default)]
struct Shard {
    hashes: Box<[u64]>,
    entries: Box<[Entry]>,
}

/// One key, in a cache line.
#[derive(Clone)]
struct Entry {
    digest: Digest,
    /// The end of the first secret, or of the whole key.
    ends: Ends,
    holder: Arc<KeyHolder>,
    /// Rare: only while a key is rotated.
    second: Option<Box<(Digest, Ends)>>,
}

/// When a secret ends, in nanoseconds; never is the greatest, revoked is zero.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Ends(u64);

impl Ends {
    const REVOKED: Self = Self(0);

    fn of(record: &KeyRecord, secret: Option<Timestamp>) -> Self {
        if record.revoked.is_some() {
            return Self::REVOKED;
        }
        let end = |at: Option<Timestamp>| at.map_or(u64::MAX, |at| at.0.max(1));
        Self(end(record.expires).min(end(secret)))
    }

    fn check(self, now: Timestamp) -> Result<(), KeyError> {
        if self == Self::REVOKED {
            Err(KeyError::Revoked)
        } else if self.0 <= now.0 {
            Err(KeyError::Expired)
        } else {
            Ok(())
        }
    }
}

impl Default for KeyBook {
    fn default() -> Self {
        BookBuilder::default().finish()
    }
}

impl KeyBook {
    /// A book of these keys.
    pub fn of(records: impl IntoIterator<Item = KeyRecord>) -> Self {
        let mut builder = BookBuilder::default();
        for record in records {
            builder.add(&record);
        }
        builder.finish()
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// See [`KeyError`]. That a key is revoked or expired is told only to who knows its secret.
    pub fn verify(
        &self,
        text: &str,
        pepper: &Pepper,
        now: Timestamp,
    ) -> Result<Arc<KeyHolder>, KeyError> {
        let (id, digest) = pepper.read(text)?;
        let found = self.find(id);
        // The same work whether there is such a key or not, and whichever secret it is.
        let (first, second) = match found {
            Some(entry) => (
                (entry.digest, entry.ends),
                entry
                    .second
                    .as_deref()
                    .copied()
                    .unwrap_or((NOBODY, Ends::REVOKED)),
            ),
            None => ((NOBODY, Ends::REVOKED), (NOBODY, Ends::REVOKED)),
        };
        let (is_first, is_second) = (digest == first.0, digest == second.0);
        match found {
            Some(entry) if is_first | is_second => {
                let ends = if is_first { first.1 } else { second.1 };
                ends.check(now)?;
                Ok(Arc::clone(&entry.holder))
            }
            Some(_) | None => Err(KeyError::Unknown),
        }
    }

    /// Who holds the key with an id, whatever its state. Proves nothing: for reports.
    pub fn holder(&self, id: KeyId) -> Option<&Arc<KeyHolder>> {
        self.find(id).map(|entry| &entry.holder)
    }

    /// This book with some keys new or changed.
    #[must_use]
    pub fn with(&self, changed: &[KeyRecord]) -> Self {
        let mut by_shard: BTreeMap<usize, Vec<&KeyRecord>> = BTreeMap::new();
        for record in changed {
            by_shard
                .entry(shard_of(hash(record.id)))
                .or_default()
                .push(record);
        }
        let mut book = self.clone();
        for (number, records) in by_shard {
            if let Some(shard) = book.shards.get_mut(number) {
                let before = shard.hashes.len();
                let after = shard.with(&records);
                book.keys += after.hashes.len() - before;
                *shard = Arc::new(after);
            }
        }
        book
    }

    /// How many keys it holds, those revoked and expired included.
    pub fn len(&self) -> usize {
        self.keys
    }

    /// It holds none.
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    fn find(&self, id: KeyId) -> Option<&Entry> {
        let hash = hash(id);
        self.shards.get(shard_of(hash))?.find(hash)
    }
}

/// A book in the making.
pub struct BookBuilder {
    shards: Vec<Vec<(u64, Entry)>>,
    accesses: HashSet<Arc<Access>>,
}

impl fmt::Debug for BookBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BookBuilder")
    }
}

impl Default for BookBuilder {
    fn default() -> Self {
        Self {
            shards: vec![Vec::new(); SHARDS],
            accesses: HashSet::new(),
        }
    }
}

impl BookBuilder {
    /// Adds a key; of several with one id the last counts.
    pub fn add(&mut self, record: &KeyRecord) {
        let access = match self.accesses.get(&record.access) {
            Some(access) => Arc::clone(access),
            None => {
                let access = Arc::new(record.access.clone());
                self.accesses.insert(Arc::clone(&access));
                access
            }
        };
        let hash = hash(record.id);
        if let Some(shard) = self.shards.get_mut(shard_of(hash)) {
            shard.push((hash, Entry::new(record, access, 0)));
        }
    }

    /// The book.
    pub fn finish(self) -> KeyBook {
        let mut keys = 0;
        let shards = self.shards.into_iter().map(|mut entries| {
            // Of equal hashes the last added comes first, and the others go.
            entries.reverse();
            entries.sort_by_key(|(hash, _)| *hash);
            entries.dedup_by_key(|(hash, _)| *hash);
            keys += entries.len();
            Arc::new(Shard::of(entries))
        });
        KeyBook {
            shards: shards.collect(),
            keys,
        }
    }
}

impl Shard {
    fn of(entries: Vec<(u64, Entry)>) -> Self {
        let (hashes, entries): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        Self {
            hashes: hashes.into_boxed_slice(),
            entries: entries.into_boxed_slice(),
        }
    }

    fn find(&self, hash: u64) -> Option<&Entry> {
        let length = self.hashes.len();
        let guess = reckoned(hash, length);
        let (low, high) = (
            guess.saturating_sub(NEARBY),
            guess.saturating_add(NEARBY).min(length),
        );
        let begins_before = low == 0 || self.hashes.get(low).is_some_and(|first| *first <= hash);
        let ends_after = self.hashes.get(high).is_none_or(|next| hash < *next);
        // Ids that were chosen by somebody may be anywhere.
        let (low, high) = if begins_before && ends_after {
            (low, high)
        } else {
            (0, length)
        };
        let found = self.hashes.get(low..high)?.binary_search(&hash).ok()?;
        self.entries.get(low + found)
    }

    fn with(&self, changed: &[&KeyRecord]) -> Self {
        let both = self.hashes.iter().copied();
        let mut entries: BTreeMap<u64, Entry> = both.zip(self.entries.iter().cloned()).collect();
        for record in changed {
            let hash = hash(record.id);
            let before = entries.get(&hash).map(|entry| &entry.holder);
            let used = before.map_or(0, |holder| holder.used.load(Ordering::Relaxed));
            let access = match before {
                Some(holder) if *holder.access == record.access => Arc::clone(&holder.access),
                Some(_) | None => Arc::new(record.access.clone()),
            };
            let entry = Entry::new(record, access, used);
            entries.insert(hash, entry);
        }
        Self::of(entries.into_iter().collect())
    }
}

impl Entry {
    fn new(record: &KeyRecord, access: Arc<Access>, used: u32) -> Self {
        let mut secrets = record
            .secrets
            .iter()
            .map(|secret| (secret.digest, Ends::of(record, secret.expires)));
        // A key without a secret opens to nothing.
        let (digest, ends) = secrets.next().unwrap_or((NOBODY, Ends::REVOKED));
        let written = record.last_used.map_or(0, Timestamp::seconds);
        let written = u32::try_from(written).unwrap_or(u32::MAX);
        Self {
            digest,
            ends,
            holder: Arc::new(KeyHolder {
                id: record.id,
                owner: record.owner.clone(),
                access,
                used: AtomicU32::new(written.max(used)),
            }),
            second: secrets.next().map(Box::new),
        }
    }
}

impl Pepper {
    /// The id that a key is found by, and what is kept of it. A key made elsewhere is 20 to 256
    /// bytes of visible ASCII.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] if the text can be no key.
    pub fn read(&self, text: &str) -> Result<(KeyId, Digest), KeyError> {
        if ApiKey::is_own(text) {
            let id = ApiKey::parse(text)?.id();
            return Ok((id, self.digest(text)));
        }
        if !(MIN_FOREIGN..=MAX_KEY).contains(&text.len()) {
            return Err(KeyError::Malformed("its length is no key's"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Malformed("it has characters that no key has"));
        }
        let digest = self.digest(text);
        Ok((digest.foreign_id(), digest))
    }
}

/// Spreads ids evenly, and differs for different ids: the factor is odd.
fn hash(id: KeyId) -> u64 {
    id.number().wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> (u64::BITS - SHARD_BITS)).unwrap_or(0)
}

/// Where among `length` sorted hashes of a shard this one should stand.
fn reckoned(hash: u64, length: usize) -> usize {
    let within = (hash << SHARD_BITS) >> 32;
    let length = u64::try_from(length).unwrap_or(0) & 0xFFFF_FFFF;
    usize::try_from((within * length) >> 32).unwrap_or(0)
}

const _: () = assert!(mem::size_of::<Entry>() == 56);

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
