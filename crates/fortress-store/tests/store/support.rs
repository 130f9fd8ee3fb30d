//! Stores in directories of their own, and keys to put into them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use fortress_auth::api_key::{ApiKey, Environment, KeyRecord, Label, NoRandomness, Pepper};
use fortress_model::{Secret, Timestamp, config::StorePlace};
use fortress_store::{MasterKeys, Presence, Store, StoreError, open};

pub(crate) const NOW: Timestamp = Timestamp(1_790_000_000 * 1_000_000_000);

/// A place for one store, with the key that opens it.
pub(crate) struct Home {
    pub(crate) place: StorePlace,
    pub(crate) key: PathBuf,
    _directory: Arc<tempfile::TempDir>,
}

impl Home {
    /// In a file.
    pub(crate) fn embedded() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let place = StorePlace::Embedded(directory.path().join("fortress.db"));
        Self::with(directory, place)
    }

    /// Elsewhere, with the key in a directory.
    pub(crate) fn with(directory: Arc<tempfile::TempDir>, place: StorePlace) -> Self {
        let key = directory.path().join(format!("{}.key", rand()));
        MasterKeys::create(&key).unwrap();
        Self {
            place,
            key,
            _directory: directory,
        }
    }

    pub(crate) fn file(&self) -> &Path {
        match &self.place {
            StorePlace::Embedded(path) => path,
            StorePlace::Postgres { .. } => panic!("not a file"),
        }
    }

    /// A path beside the key.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.key.with_file_name(name)
    }

    pub(crate) fn seal(&self) -> Arc<MasterKeys> {
        Arc::new(MasterKeys::from_file(&self.key).unwrap())
    }

    pub(crate) fn try_open(&self, presence: Presence) -> Result<Store, StoreError> {
        open(&self.place, self.seal(), presence)
    }

    /// One more handle, as another process has it.
    pub(crate) fn open(&self) -> Store {
        self.try_open(Presence::Made).unwrap()
    }
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).unwrap();
    u64::from_le_bytes(bytes)
}

pub(crate) fn pepper() -> Pepper {
    Pepper::new(&Secret::new(vec![5; 32])).unwrap()
}

pub(crate) fn label(name: &str) -> Label {
    Label::new(name).unwrap()
}

/// A new key and its text.
pub(crate) fn key(owner: &str) -> (KeyRecord, String) {
    let environment = Environment::new("live").unwrap();
    let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness);
    let (id, text) = ApiKey::generate(&environment, &mut random).unwrap();
    let digest = pepper().digest(text.expose());
    let record = KeyRecord::new(id, environment, label(owner), digest, NOW);
    (record, text.expose().clone())
}

pub(crate) fn keys(count: usize) -> Vec<KeyRecord> {
    (0..count).map(|n| key(&format!("owner {n}")).0).collect()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Says why a test does nothing; where everything is demanded, that is a failure.
pub(crate) fn skipped(why: &str) {
    let all = std::env::var("FORTRESS_REQUIRE_ALL");
    assert!(all.as_deref() != Ok("1"), "{why}");
    drop(std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!("skipped: {why}\n"),
    ));
}
