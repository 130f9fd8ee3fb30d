//! All that people and machines read on standard output and standard error. Colour only on a
//! terminal and without `NO_COLOR`; a reader that closes the pipe ends the output, quietly.

use std::{
    io::{ErrorKind, IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What was stopped, or is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What got through, or is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What asks for a look.
pub(crate) const CARE: Style = AnsiColor::Yellow.on_default();
/// What leads the eye.
pub(crate) const HEAD: Style = Style::new().bold();
/// What steps back.
pub(crate) const QUIET: Style = Style::new().dimmed();

/// Widths that tables are made for where the terminal does not say.
const WIDTH: usize = 100;

/// Where output goes.
#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    closed: AtomicBool,
    lost: AtomicBool,
}

impl Screen {
    /// For people, or for machines.
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            closed: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether standard output takes colour.
    pub(crate) fn has_colour(&self) -> bool {
        !self.json && AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
    }

    /// Whether a person sits there who can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.json && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Columns of the terminal.
    pub(crate) fn width(&self) -> usize {
        rustix::termios::tcgetwinsize(std::io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns >= 40)
            .unwrap_or(WIDTH)
    }

    /// A line, or several, to standard output.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if self.closed.load(Ordering::Relaxed) {
            return;
        }
        let mut out = anstream::stdout().lock();
        let written = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
        if let Err(error) = written {
            self.closed.store(true, Ordering::Relaxed);
            if error.kind() != ErrorKind::BrokenPipe {
                self.lost.store(true, Ordering::Relaxed);
                self.note(format!(
                    "{BAD}error{BAD:#}: cannot write to standard output: {error}"
                ));
            }
        }
    }

    /// Whether output was lost other than by a reader that had enough.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// A line to standard error: what a pipe's reader must not get.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        drop(writeln!(anstream::stderr().lock(), "{}", text.as_ref()));
    }

    /// A bar on standard error for what takes its time; none for machines.
    pub(crate) fn progress(&self, title: &str, total: usize) -> ProgressBar {
        let target = if self.json {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(u64::try_from(total).ok(), target);
        let style = ProgressStyle::with_template("{msg} ▕{bar:16}▏ {pos}/{len}  {elapsed}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("█▌ "));
        }
        bar.set_message(title.to_owned());
        bar
    }

    /// Why the command could not run.
    pub(crate) fn error(&self, message: &str) {
        if self.json {
            self.line(serde_json::json!({ "error": message }).to_string());
        } else {
            self.note(format!("{BAD}error{BAD:#}: {message}"));
        }
    }
}

/// `1 error`, `2 errors`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// `99,871`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Text that came from the network or a file, without what a terminal would obey.
pub(crate) fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_counted() {
        for (number, expect) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), expect);
        }
        assert_eq!(
            (count(1, "error"), count(0, "error")),
            ("1 error".into(), "0 errors".into())
        );
    }

    #[test]
    fn terminals_obey_nothing_that_came_from_outside() {
        assert_eq!(safe("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(safe("naïve ✓"), "naïve ✓");
    }
}
