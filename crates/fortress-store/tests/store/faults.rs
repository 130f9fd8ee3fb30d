//! Files that were cut, torn, emptied, changed; no room; a file in use. What was acknowledged is
//! there, or an error says that it is not: never fewer keys without a word.

use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use fortress_auth::api_key::KeyRecord;
use fortress_model::config::StorePlace;
use fortress_store::{Presence, Store, StoreError, open};

use crate::support::{Home, NOW, keys, skipped};

/// A closed store with some keys, in one file.
fn filled(count: usize) -> (Home, Vec<KeyRecord>) {
    let home = Home::embedded();
    let records = keys(count);
    home.open().insert_keys(&records).unwrap();
    let log = PathBuf::from(format!("{}-wal", home.file().display()));
    assert!(!log.exists(), "closing takes the log into the file");
    (home, records)
}

/// All keys, as the gateway reads them.
fn read(home: &Home) -> Result<Vec<KeyRecord>, StoreError> {
    home.try_open(Presence::Made)?.keys()
}

#[test]
fn a_file_that_was_cut_is_an_error_at_every_length() {
    let (home, records) = filled(300);
    let whole = fs::read(home.file()).unwrap();
    assert_eq!(read(&home).unwrap(), records);
    for cut in (0..whole.len())
        .step_by(1_777)
        .chain([1, 99, 511, 512, 4_096, whole.len() - 1])
    {
        fs::write(home.file(), &whole[..cut]).unwrap();
        let error = read(&home).expect_err(&format!("cut at {cut} of {}", whole.len()));
        let is_clear = matches!(error, StoreError::Damaged(_) | StoreError::NotAStore(_));
        assert!(is_clear, "{cut}: {error}");
    }
    fs::write(home.file(), &whole).unwrap();
    assert_eq!(read(&home).unwrap(), records);
}

#[test]
fn a_torn_page_is_an_error_or_changes_nothing() {
    let (home, records) = filled(300);
    let whole = fs::read(home.file()).unwrap();
    let (mut errors, mut unharmed) = (0, 0);
    for page in 0..whole.len() / 4_096 {
        for (from, to, fill) in [
            (0, 4_096, 0),
            (2_048, 4_096, 0),
            (0, 512, 0xFF),
            (3_584, 4_096, 0xA5),
        ] {
            let mut torn = whole.clone();
            torn[page * 4_096 + from..page * 4_096 + to].fill(fill);
            fs::write(home.file(), &torn).unwrap();
            match read(&home) {
                Ok(found) => {
                    unharmed += 1;
                    assert_eq!(found, records, "page {page} {from}..{to}");
                }
                Err(error) => {
                    errors += 1;
                    let is_clear =
                        matches!(error, StoreError::Damaged(_) | StoreError::NotAStore(_));
                    assert!(is_clear, "page {page} {from}..{to}: {error}");
                }
            }
        }
    }
    assert!(errors > unharmed, "{errors} errors, {unharmed} unharmed");
}

#[test]
fn a_page_that_was_torn_while_the_log_was_taken_in_comes_back_from_the_log() {
    let home = Home::embedded();
    let store = home.open();
    let records = keys(50);
    store.insert_keys(&records).unwrap();
    // The machine goes down now: what is on the disk is copied, and the file's pages are torn.
    let copy = Home::embedded();
    fs::copy(&home.key, &copy.key).unwrap();
    let beside = |file: &Path| PathBuf::from(format!("{}-wal", file.display()));
    fs::copy(home.file(), copy.file()).unwrap();
    fs::copy(beside(home.file()), beside(copy.file())).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(copy.file())
        .unwrap();
    let pages = file.metadata().unwrap().len() / 4_096;
    let mut torn = 0;
    for page in 1..pages {
        // Only pages that the log has are written when it is taken in.
        if in_log(&beside(copy.file()), page + 1) {
            file.write_all_at(&[0xA5; 2_048], page * 4_096 + 2_048)
                .unwrap();
            torn += 1;
        }
    }
    assert!(torn > 0);
    let copied = copy.try_open(Presence::Demanded).unwrap();
    assert_eq!(copied.keys().unwrap(), records);
    assert_eq!(copied.check().unwrap(), Vec::<String>::new());
}

/// Whether a write-ahead log has a page (its format: a head of 32 bytes, then frames of 24 + 4,096).
fn in_log(log: &Path, page: u64) -> bool {
    let bytes = fs::read(log).unwrap();
    bytes[32..]
        .chunks_exact(24 + 4_096)
        .any(|frame| u64::from(u32::from_be_bytes(frame[..4].try_into().unwrap())) == page)
}

#[test]
fn an_empty_file_or_another_one_is_never_taken_for_a_new_store() {
    let home = Home::embedded();
    fs::write(home.file(), "").unwrap();
    assert!(matches!(read(&home), Err(StoreError::NotAStore(_))));
    fs::write(
        home.file(),
        "a text that is no database, and long enough to be looked at".repeat(20),
    )
    .unwrap();
    assert!(matches!(read(&home), Err(StoreError::NotAStore(_))));
    fs::remove_file(home.file()).unwrap();
    let other = rusqlite::Connection::open(home.file()).unwrap();
    other.execute_batch("CREATE TABLE a (b)").unwrap();
    drop(other);
    assert!(matches!(read(&home), Err(StoreError::NotAStore(_))));
    fs::remove_file(home.file()).unwrap();
    let missing = home.try_open(Presence::Demanded);
    assert!(
        matches!(missing, Err(StoreError::Missing(_))),
        "{missing:?}"
    );
}

#[test]
fn records_that_are_moved_changed_or_removed_are_noticed() {
    for (sql, what) in [
        (
            "UPDATE fortress_api_keys SET sealed = (SELECT sealed FROM fortress_api_keys ORDER BY id LIMIT 1)",
            "was changed",
        ),
        (
            "UPDATE fortress_api_keys SET id = 5 WHERE id = (SELECT max(id) FROM fortress_api_keys)",
            "was changed",
        ),
        (
            "UPDATE fortress_api_keys SET seq = 99 WHERE seq = 3",
            "was changed",
        ),
        (
            "DELETE FROM fortress_api_keys WHERE seq = 3",
            "9 API keys, and 10 were written",
        ),
        (
            "UPDATE fortress_meta SET value = 11 WHERE name = 'keys'",
            "10 API keys, and 11 were written",
        ),
        (
            "DELETE FROM fortress_meta WHERE name = 'sequence'",
            "lost its `sequence`",
        ),
        ("DELETE FROM fortress_data_keys", "lost its own key"),
        (
            "UPDATE fortress_data_keys SET wrapped = zeroblob(60)",
            "cannot be unwrapped",
        ),
        (
            "UPDATE fortress_data_keys SET id = id - 1",
            "cannot be unwrapped",
        ),
        (
            "UPDATE fortress_meta SET value = 99 WHERE name = 'version'",
            "take a newer Fortress",
        ),
    ] {
        let (home, _) = filled(10);
        let file = rusqlite::Connection::open(home.file()).unwrap();
        assert!(file.execute(sql, []).unwrap() > 0, "{sql}");
        drop(file);
        let error = read(&home).expect_err(sql).to_string();
        assert!(error.contains(what), "{sql}: {error}");
    }
}

#[test]
fn nothing_of_a_key_is_in_the_file() {
    let home = Home::embedded();
    let store = home.open();
    let (mut record, text) = crate::support::key("Example Ltd");
    record.access.scopes = vec![crate::support::label("very:special")];
    store.insert_keys(&[record]).unwrap();
    store
        .put_state("login", b"id", b"a very private state", NOW)
        .unwrap();
    let directory = home.file().parent().unwrap();
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        bytes.extend(fs::read(entry.unwrap().path()).unwrap());
    }
    let has = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    assert!(has(b"fortress_api_keys"));
    let secret = text.rsplit('_').next().unwrap();
    for needle in ["Example Ltd", "very:special", "very private", secret] {
        assert!(!has(needle.as_bytes()), "{needle}");
    }
    assert!(!has(&crate::support::pepper().digest(&text).0));
}

#[test]
fn a_store_that_another_process_holds_is_busy_after_a_while() {
    let (home, records) = filled(1);
    let store = home.open();
    let other = rusqlite::Connection::open(home.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Reading goes on.
    assert_eq!(store.keys().unwrap(), records);
    assert!(matches!(store.insert_keys(&keys(1)), Err(StoreError::Busy)));
    other.execute_batch("ROLLBACK").unwrap();
    store.insert_keys(&keys(1)).unwrap();
}

/// A file system of 2 MiB.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(directory.path())
            .output();
        if mounted.is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(directory));
        }
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.0.path()).status());
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let Some(small) = Small::mount() else {
        let why = "a full disk needs a file system that may be mounted here";
        if is_root() {
            skipped(why);
        }
        return;
    };
    let home = Home::embedded();
    let place = StorePlace::Embedded(small.0.path().join("fortress.db"));
    let filler = small.0.path().join("filler");
    fs::write(&filler, vec![0; 600 << 10]).unwrap();
    let store: Store = open(&place, home.seal(), Presence::Made).unwrap();
    let mut acknowledged = Vec::new();
    let error = loop {
        let more = keys(40);
        match store.insert_keys(&more) {
            Ok(()) => acknowledged.extend(more),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 100_000, "the disk is never full");
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(!acknowledged.is_empty());
    assert_eq!(store.keys().unwrap(), acknowledged);
    // With room again it goes on, in this process and in the next.
    fs::remove_file(&filler).unwrap();
    let more = keys(1);
    store.insert_keys(&more).unwrap();
    acknowledged.extend(more);
    drop(store);
    let store = open(&place, home.seal(), Presence::Demanded).unwrap();
    assert_eq!(store.keys().unwrap(), acknowledged);
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
}
