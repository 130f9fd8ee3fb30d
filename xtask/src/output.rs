//! The two lines of text that leave this program. A closed pipe (`cargo xtask bench | head`) ends
//! it quietly.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints a line to standard output.
pub(crate) fn say(line: impl Display) {
    finish(writeln!(io::stdout().lock(), "{line}"));
}

/// Prints a line to standard error: progress and faults, never results.
pub(crate) fn complain(line: impl Display) {
    finish(writeln!(io::stderr().lock(), "{line}"));
}

fn finish(written: io::Result<()>) {
    if written.is_err() {
        std::process::exit(3);
    }
}
