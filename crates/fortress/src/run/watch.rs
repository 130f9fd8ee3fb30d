//! Whether a file changed, by looking. It works on every file system and through the symbolic links
//! that orchestrators swap, where notifications do not.

use std::{fs, os::unix::fs::MetadataExt, path::PathBuf};

/// Files, and how they were when they were last looked at.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    /// What is in force.
    settled: Vec<Stamp>,
    /// What was seen last. A file that is still being written differs from look to look.
    seen: Vec<Stamp>,
}

/// What changes when a file does; `None` for a file that is not there.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

impl Watch {
    /// Watches these from now on.
    pub(crate) fn new(mut files: Vec<PathBuf>) -> Self {
        files.sort();
        files.dedup();
        let settled = stamps(&files);
        Self {
            seen: settled.clone(),
            settled,
            files,
        }
    }

    /// Watches others. What changed while they were read is noticed by the next look.
    pub(crate) fn follow(&mut self, mut files: Vec<PathBuf>) {
        files.sort();
        files.dedup();
        if files != self.files {
            *self = Self::new(files);
        }
    }

    /// Whether something changed since the last time that this was true, and has stayed as it is
    /// since the last look.
    pub(crate) fn changed(&mut self) -> bool {
        let now = stamps(&self.files);
        let changed = now != self.settled && now == self.seen;
        if changed {
            self.settled.clone_from(&now);
        }
        self.seen = now;
        changed
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    files
        .iter()
        .map(|file| {
            let found = fs::metadata(file).ok()?;
            Some((
                found.dev(),
                found.ino(),
                found.size(),
                found.mtime(),
                found.mtime_nsec(),
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Directory;

    #[test]
    fn a_change_is_seen_once_and_only_when_it_settled() {
        let directory = Directory::new("test").unwrap();
        let file = directory.path().join("a");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new(vec![file.clone()]);
        assert!(!watch.changed());
        fs::write(&file, "22").unwrap();
        assert!(!watch.changed(), "may still be written");
        assert!(watch.changed());
        assert!(!watch.changed());
        fs::remove_file(&file).unwrap();
        assert!(!watch.changed());
        assert!(watch.changed(), "a file that went away is a change");
    }

    /// Kubernetes changes a mounted secret by swapping one link, `..data`, that all files go through.
    #[test]
    fn a_swapped_link_is_a_change() {
        use std::os::unix::fs::symlink;
        let directory = Directory::new("test").unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, content) in [("1", "old"), ("2", "new")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("secret"), content).unwrap();
        }
        symlink("1", at("..data")).unwrap();
        symlink("..data/secret", at("secret")).unwrap();
        let mut watch = Watch::new(vec![at("secret")]);
        assert!(!watch.changed());
        symlink("2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert!(!watch.changed(), "may still be swapped");
        assert!(watch.changed());
        assert_eq!(fs::read_to_string(at("secret")).unwrap(), "new");
    }
}
