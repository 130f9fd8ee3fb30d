//! Rule sets and their tests that are not part of the project: where they are, and how they are read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fortress_waf::seclang::Files;

/// The files of a folder, as names are meant in its rules.
pub(crate) struct Disk;

impl Files for Disk {
    fn read(&mut self, name: &str, from: &str) -> Result<Vec<u8>, String> {
        let folder = Path::new(from).parent().unwrap_or(Path::new(""));
        fs::read(folder.join(name)).map_err(|error| error.to_string())
    }

    fn list(&mut self, pattern: &str, _: &str) -> Result<Vec<String>, String> {
        Err(format!("`{pattern}` is not to be listed"))
    }
}

/// A folder that the environment names, or the usual one; `None`, said aloud, where it is not there.
pub(crate) fn folder(variable: &str, usual: &str, inside: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = workspace
        .join(option(variable).unwrap_or_else(|| usual.to_owned()))
        .join(inside);
    if path.exists() {
        return Some(path);
    }
    assert!(
        option("FORTRESS_REQUIRE_ALL").as_deref() != Some("1"),
        "{} is missing",
        path.display()
    );
    println!("skipped: {} is missing", path.display());
    None
}

/// The files of a folder whose names end so, in order.
pub(crate) fn listed(folder: &Path, suffixes: &[&str]) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.to_str().unwrap();
            suffixes.iter().any(|suffix| name.ends_with(suffix))
        })
        .collect();
    files.sort();
    files
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by the environment where things are"
)]
fn option(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
