//! The environment, read in one place: for `config::load`, and the few names that are the
//! program's own (`XDG_RUNTIME_DIR`, `NOTIFY_SOCKET`, and what `--token env:NAME` names).

/// The value of a variable, if it is set and is text.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place of the program that reads the environment; config::load is handed it"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
