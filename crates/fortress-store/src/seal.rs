//! The key that the store does not hold: it wraps the keys that seal the records.
//!
//! Today it comes from a file; a service that wraps without giving its key away can implement
//! [`Seal`] as well.

use std::{
    fmt, fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use fortress_model::Secret;

use crate::cipher::{self, DataKey};

/// Bytes that the file of the key may have.
const MAX_FILE: u64 = 4 << 10;
/// Keys that the file may hold: the one in use, and those before it.
const MAX_KEYS: usize = 8;

/// Why a key could not be wrapped or unwrapped.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no key file.
    #[error(
        "there is no key at `{0}`; if there is a store, bring its key back; if not, make both with `fortress store init` (the key is then needed for ever: keep a copy apart from the store)"
    )]
    Missing(PathBuf),
    /// There is no pepper.
    #[error(
        "there is no pepper at `{0}`; if API keys were made with one, bring it back: without it none of them can be verified; if not, make one with `fortress store init` (and keep a copy apart from the store)"
    )]
    NoPepper(PathBuf),
    /// It cannot be read, or holds no key.
    #[error("`{place}` holds no key: {why}")]
    Unreadable {
        /// Where it was looked for.
        place: String,
        /// Why not.
        why: String,
    },
    /// The store was sealed with another key.
    #[error(
        "wrong key: the store is sealed with the key {sealed}, and {place} holds {held}; nothing was read or written"
    )]
    WrongKey {
        /// The name of the key that is needed.
        sealed: String,
        /// Where it was looked for.
        place: String,
        /// The names of the keys that are there.
        held: String,
    },
    /// The right key by its name, but what it wrapped was changed.
    #[error("the store's own key {0} was changed or damaged: it cannot be unwrapped")]
    Damaged(i64),
    /// Something that should not fail did.
    #[error("sealing failed: {0}")]
    Failed(String),
}

/// Wraps the store's own keys. What it wraps is bound to `id`.
pub trait Seal: Send + Sync + fmt::Debug {
    /// The name of the key that wraps now: no secret, and different for different keys.
    fn name(&self) -> String;

    /// Wraps a key.
    ///
    /// # Errors
    /// If it cannot be had.
    fn wrap(&self, id: i64, key: &Secret<[u8; 32]>) -> Result<Vec<u8>, SealError>;

    /// Unwraps a key that the key with this name wrapped.
    ///
    /// # Errors
    /// If there is no such key, or what it wrapped was changed.
    fn unwrap(&self, name: &str, id: i64, wrapped: &[u8]) -> Result<Secret<[u8; 32]>, SealError>;
}

/// Master keys of 32 bytes, one a line in base64 or hexadecimal. The first wraps; the others only
/// unwrap, so that a rotation can be interrupted. Read again when a key is missing: another process
/// may have rotated it.
pub struct MasterKeys {
    path: Option<PathBuf>,
    keys: RwLock<Vec<Master>>,
}

struct Master {
    name: String,
    text: Secret<String>,
    key: DataKey,
}

impl fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKeys")
            .field("path", &self.path)
            .field("names", &self.names())
            .finish()
    }
}

impl MasterKeys {
    /// From a file, which is watched in so far as it is read again when a key is missing.
    ///
    /// # Errors
    /// If there is none, or it holds anything but keys.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        Ok(Self {
            keys: RwLock::new(read(path)?),
            path: Some(path.to_owned()),
        })
    }

    /// From a text, such as a variable's.
    ///
    /// # Errors
    /// If it holds anything but keys.
    pub fn from_text(text: &Secret<String>) -> Result<Self, SealError> {
        let keys = parse(text.expose()).map_err(|why| SealError::Unreadable {
            place: "the configured value".into(),
            why,
        })?;
        Ok(Self {
            path: None,
            keys: RwLock::new(keys),
        })
    }

    /// Makes a file with a new key, readable for this user alone. A file that is there is not
    /// touched.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(path: &Path) -> Result<Self, SealError> {
        let text = new_key()?;
        write_new(path, text.expose()).map_err(|error| unreadable(path, &error.to_string()))?;
        Self::from_file(path)
    }

    /// What is worth a warning: a file that others can read.
    pub fn warning(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let mode = fs::metadata(path).ok()?.mode() & 0o777;
        (mode & 0o077 != 0).then(|| {
            format!(
                "`{0}` can be read by others (mode {mode:04o}); chmod 600 {0}",
                path.display()
            )
        })
    }

    /// The names of the keys, the one that wraps first.
    pub fn names(&self) -> Vec<String> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| key.name.clone()).collect()
    }

    /// Puts a new key before those in the file, as a whole, and returns the keys as they are then.
    /// The file goes on opening what the old keys sealed.
    ///
    /// # Errors
    /// If the keys are not from a file, or it cannot be written.
    pub fn add_key(&self) -> Result<Self, SealError> {
        let path = self.file()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MAX_KEYS {
            let why = format!("it has {MAX_KEYS} keys already; remove those that are not needed");
            return Err(unreadable(path, &why));
        }
        let mut text = Secret::new(String::with_capacity(4096));
        text.expose_mut().push_str(new_key()?.expose());
        for key in keys.iter() {
            text.expose_mut().push_str(key.text.expose());
            text.expose_mut().push('\n');
        }
        drop(keys);
        replace(path, text.expose())?;
        Self::from_file(path)
    }

    /// Leaves only the first key in the file.
    ///
    /// # Errors
    /// If the keys are not from a file, or it cannot be written.
    pub fn keep_first(&self) -> Result<(), SealError> {
        let path = self.file()?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let text = Secret::new(format!("{}\n", first.text.expose()));
        replace(path, text.expose())?;
        keys.truncate(1);
        Ok(())
    }

    fn file(&self) -> Result<&Path, SealError> {
        self.path.as_deref().ok_or_else(|| SealError::Unreadable {
            place: "the configured value".into(),
            why: "only a key in a file can be replaced".into(),
        })
    }

    fn place(&self) -> String {
        match &self.path {
            Some(path) => format!("`{}`", path.display()),
            None => "the configured value".into(),
        }
    }

    fn find(
        &self,
        name: &str,
        id: i64,
        wrapped: &[u8],
    ) -> Option<Result<Secret<[u8; 32]>, SealError>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let key = keys.iter().find(|key| key.name == name)?;
        let opened = key.key.open(&context(id), wrapped);
        let bytes = opened.and_then(|bytes| <[u8; 32]>::try_from(bytes.expose().as_slice()).ok());
        Some(bytes.map(Secret::new).ok_or(SealError::Damaged(id)))
    }
}

impl Seal for MasterKeys {
    fn name(&self) -> String {
        self.names().into_iter().next().unwrap_or_default()
    }

    fn wrap(&self, id: i64, key: &Secret<[u8; 32]>) -> Result<Vec<u8>, SealError> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let first = keys
            .first()
            .ok_or_else(|| SealError::Failed("there is no key".into()))?;
        first
            .key
            .seal(&context(id), key.expose())
            .map_err(|_| SealError::Failed("no randomness".into()))
    }

    fn unwrap(&self, name: &str, id: i64, wrapped: &[u8]) -> Result<Secret<[u8; 32]>, SealError> {
        if let Some(found) = self.find(name, id, wrapped) {
            return found;
        }
        if let Some(path) = &self.path {
            let fresh = read(path)?;
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = fresh;
            if let Some(found) = self.find(name, id, wrapped) {
                return found;
            }
        }
        Err(SealError::WrongKey {
            sealed: name.to_owned(),
            place: self.place(),
            held: self.names().join(", "),
        })
    }
}

/// A new random key as a line of text.
///
/// # Errors
/// If there is no randomness.
pub(crate) fn new_key() -> Result<Secret<String>, SealError> {
    let key = cipher::random::<32>().map_err(|_| SealError::Failed("no randomness".into()))?;
    let mut text = Secret::new(String::with_capacity(64));
    STANDARD.encode_string(key.expose(), text.expose_mut());
    text.expose_mut().push('\n');
    Ok(text)
}

/// Makes a file with a text that only this user reads. Fails if there is one.
pub(crate) fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    sync_directory(path)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::File::open(directory)?.sync_all()
}

/// Replaces a file as a whole: a crash leaves the old one or the new one.
fn replace(path: &Path, text: &str) -> Result<(), SealError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    // Left by a process of the same number that was killed.
    drop(fs::remove_file(&beside));
    let written = write_new(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| sync_directory(path));
    written.map_err(|error| {
        drop(fs::remove_file(&beside));
        unreadable(path, &format!("it cannot be replaced: {error}"))
    })
}

fn unreadable(path: &Path, why: &str) -> SealError {
    SealError::Unreadable {
        place: path.display().to_string(),
        why: why.to_owned(),
    }
}

fn read(path: &Path) -> Result<Vec<Master>, SealError> {
    let mut text = Secret::new(String::with_capacity(
        usize::try_from(MAX_FILE).unwrap_or(0) + 1,
    ));
    let opened = fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_string(text.expose_mut()));
    match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SealError::Missing(path.to_owned()))
        }
        Err(error) => Err(unreadable(path, &error.to_string())),
        Ok(length) if u64::try_from(length).unwrap_or(u64::MAX) > MAX_FILE => {
            Err(unreadable(path, "it is larger than 4 KiB"))
        }
        Ok(_) => parse(text.expose()).map_err(|why| unreadable(path, &why)),
    }
}

/// Lines that are empty or begin with `#` are not looked at.
fn parse(text: &str) -> Result<Vec<Master>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    let mut keys = Vec::new();
    for (number, line) in lines {
        let bytes = key_bytes(line.trim()).ok_or_else(|| {
            format!(
                "line {} is not 32 bytes in base64 or hexadecimal",
                number + 1
            )
        })?;
        let hash = digest::digest(
            &digest::SHA256,
            &[b"fortress master key", &bytes.expose()[..]].concat(),
        );
        let name = hash
            .as_ref()
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"));
        keys.push(Master {
            name: name.collect(),
            text: Secret::new(line.trim().to_owned()),
            key: DataKey::new(&bytes).map_err(|_| "it cannot be used".to_owned())?,
        });
    }
    match keys.len() {
        0 => Err("it is empty".into()),
        1..=MAX_KEYS => Ok(keys),
        _ => Err(format!("it has more than {MAX_KEYS} keys")),
    }
}

fn key_bytes(line: &str) -> Option<Secret<[u8; 32]>> {
    let mut key = Secret::new([0; 32]);
    if line.len() == 64 && line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digits = line.as_bytes().chunks(2);
        for (byte, digits) in key.expose_mut().iter_mut().zip(digits) {
            let digits = std::str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        return Some(key);
    }
    let length = STANDARD.decode_slice(line, key.expose_mut()).ok()?;
    (length == 32).then_some(key)
}

fn context(id: i64) -> Vec<u8> {
    [&b"fortress data key\0"[..], &id.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn text(text: &str) -> Result<MasterKeys, SealError> {
        MasterKeys::from_text(&Secret::new(text.to_owned()))
    }

    #[test]
    fn keys_are_read_in_both_writings() {
        let hex = text(&"07".repeat(32)).unwrap();
        let base64 = text(&format!("# the key\n\n{}\n", STANDARD.encode([7; 32]))).unwrap();
        assert_eq!(hex.names(), base64.names());
        assert_ne!(hex.names(), text(&"08".repeat(32)).unwrap().names());
        for wrong in [
            "",
            "# nothing",
            "07",
            &"07".repeat(31),
            &"07".repeat(33),
            &STANDARD.encode([7; 31]),
            &STANDARD.encode([7; 33]),
            "not a key",
            &format!("{}\nx", "07".repeat(32)),
        ] {
            let error = text(wrong).unwrap_err().to_string();
            assert!(error.contains("holds no key"), "{wrong}: {error}");
            assert!(wrong.len() < 3 || !error.contains(wrong), "{error}");
        }
        assert!(text(&format!("{}\n", "07".repeat(32)).repeat(9)).is_err());
    }

    #[test]
    fn what_is_wrapped_is_unwrapped_by_the_same_key_and_for_the_same_id_alone() {
        let (one, two) = (
            text(&"01".repeat(32)).unwrap(),
            text(&"02".repeat(32)).unwrap(),
        );
        let wrapped = one.wrap(5, &Secret::new([9; 32])).unwrap();
        assert_eq!(
            one.unwrap(&one.name(), 5, &wrapped).unwrap().expose(),
            &[9; 32]
        );
        assert_eq!(
            one.unwrap(&one.name(), 6, &wrapped).unwrap_err(),
            SealError::Damaged(6)
        );
        let error = two.unwrap(&one.name(), 5, &wrapped).unwrap_err();
        assert!(
            matches!(&error, SealError::WrongKey { sealed, .. } if *sealed == one.name()),
            "{error}"
        );
        let mut changed = wrapped;
        changed[20] ^= 1;
        assert!(one.unwrap(&one.name(), 5, &changed).is_err());
    }

    #[test]
    fn a_file_is_made_private_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.key");
        assert!(matches!(
            MasterKeys::from_file(&path),
            Err(SealError::Missing(_))
        ));
        let made = MasterKeys::create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(made.warning(), None);
        assert!(MasterKeys::create(&path).is_err());
        assert_eq!(MasterKeys::from_file(&path).unwrap().names(), made.names());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(made.warning().unwrap().contains("0640"));
    }

    #[test]
    fn a_key_that_another_process_added_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.key");
        let old = MasterKeys::create(&path).unwrap();
        let new = old.add_key().unwrap();
        assert_eq!(new.names().len(), 2);
        let wrapped = new.wrap(1, &Secret::new([3; 32])).unwrap();
        assert_eq!(
            old.unwrap(&new.name(), 1, &wrapped).unwrap().expose(),
            &[3; 32]
        );
        new.keep_first().unwrap();
        assert_eq!(MasterKeys::from_file(&path).unwrap().names(), [new.name()]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
