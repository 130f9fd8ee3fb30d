//! The release of the Core Rule Set that this version was tested with: its name, where it is, and
//! the checksum of each of its files.
//!
//! Files are pinned, not the archive: the same files come from the release, from a mirror's own
//! packing of it, and from a checkout, and each is proven. See `docs/decisions`.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};

/// The release.
pub(super) const VERSION: &str = "4.28.0";

/// Where the project publishes it: the rules without their tests.
pub(super) const URL: &str = "https://github.com/coreruleset/coreruleset/releases/download/v4.28.0/coreruleset-4.28.0-minimal.tar.gz";

/// As `sha256sum` writes it.
const SUMS: &str = include_str!("4.28.0.sha256");

/// Files by their path in the release.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// Path and checksum of each file.
pub(super) fn pinned() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = SUMS.lines().filter_map(|line| line.split_once("  "));
    lines.map(|(sum, path)| (path, sum))
}

/// How many files there are.
pub(super) fn count() -> usize {
    pinned().count()
}

/// Whether these bytes are those of the release.
pub(super) fn is_released(bytes: &[u8], sum: &str) -> bool {
    let found = digest(&SHA256, bytes);
    let shown: String = found
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    shown == sum
}

/// The files of the release and no others, each as it was released.
///
/// # Errors
/// Which file is missing, or is another.
pub(super) fn proven(mut files: Files) -> Result<Files, String> {
    let mut proven = Files::new();
    for (path, sum) in pinned() {
        let Some(bytes) = files.remove(path) else {
            return Err(format!("`{path}` is missing"));
        };
        if !is_released(&bytes, sum) {
            return Err(format!("`{path}` has another content"));
        }
        proven.insert(path.to_owned(), bytes);
    }
    Ok(proven)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_names_no_place_outside() {
        let mut seen = std::collections::BTreeSet::new();
        for (path, sum) in pinned() {
            assert!(seen.insert(path), "{path} twice");
            assert!(sum.len() == 64 && sum.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let name = path.strip_prefix("rules/").unwrap_or(path);
            assert!(
                !name.contains(['/', '\\']) && !name.starts_with('.'),
                "{path}"
            );
        }
        assert_eq!(SUMS.lines().count(), count());
        assert!(seen.contains("crs-setup.conf.example") && seen.contains("LICENSE"));
        assert!(count() > 50);
        assert!(URL.contains(VERSION));
    }

    #[test]
    fn checksums_are_compared() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(is_released(b"", empty));
        assert!(!is_released(b"a", empty));
        let why = proven(Files::new()).unwrap_err();
        assert_eq!(why, "`LICENSE` is missing");
        let wrong = [("LICENSE".to_owned(), b"mine".to_vec())];
        let why = proven(Files::from(wrong)).unwrap_err();
        assert_eq!(why, "`LICENSE` has another content");
    }
}
