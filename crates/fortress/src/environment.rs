//! The environment, read in one place: for `config::load`, and the few names that are the
//! program's own (`XDG_RUNTIME_DIR`, `NOTIFY_SOCKET`, `PATH`, and what `--token env:NAME` names).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The value of a variable, if it is set and is text.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the program that reads the environment; config::load is handed it"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How this program is typed: `fortress` where a shell finds this very program under that name, else
/// its path, so that a printed command works as printed, in any directory.
pub(crate) fn program() -> String {
    let Ok(own) = std::env::current_exe().and_then(fs::canonicalize) else {
        return String::from("fortress");
    };
    typed(&own, &variable("PATH").unwrap_or_default())
}

fn typed(own: &Path, path: &str) -> String {
    let found = std::env::split_paths(path)
        .map(|directory: PathBuf| directory.join("fortress"))
        .find(|candidate| candidate.is_file());
    let is_own = |found: PathBuf| fs::canonicalize(found).is_ok_and(|found| found == own);
    if found.is_some_and(is_own) {
        return String::from("fortress");
    }
    let text = own.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Directory;

    #[test]
    fn the_program_is_named_as_a_shell_finds_it() {
        let directory = Directory::new("test").unwrap();
        let own = fs::canonicalize(directory.path()).unwrap().join("fortress");
        fs::write(&own, "").unwrap();
        let path = format!("/nowhere:{}", directory.path().display());
        assert_eq!(typed(&own, &path), "fortress");
        assert_eq!(typed(&own, "/nowhere"), own.display().to_string());
        assert_eq!(typed(Path::new("/a b/it's"), &path), r"'/a b/it'\''s'");
    }
}
