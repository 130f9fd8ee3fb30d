//! What references of the configuration reach for from this machine: variables, what commands
//! write, and a vault.
//!
//! A command gets no shell, no input, a bounded time and a bounded output; what it writes is never
//! shown, not even when it fails, since it may be half a secret.

use std::{
    cell::RefCell,
    io::Read,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use fortress_model::{
    Secret,
    config::{References, VaultReference, VaultSettings},
};

use crate::{environment, vault::Session};

/// How long a command may take.
const TIME: Duration = Duration::from_secs(10);
/// Bytes that a command may write.
const OUTPUT: u64 = 64 << 10;
/// Between two looks whether a command that closed its output has ended.
const LOOK: Duration = Duration::from_millis(5);

/// This machine, for one load of a configuration.
#[derive(Default)]
pub(crate) struct Machine {
    /// Opened by the first reference that needs it, and ended with the load.
    session: RefCell<Option<Session>>,
}

impl References for Machine {
    fn variable(&self, name: &str) -> Option<String> {
        environment::variable(name)
    }

    fn run(&self, command: &[&str]) -> Result<Secret<String>, String> {
        run(command, TIME)
    }

    fn vault(
        &self,
        vault: &VaultSettings,
        reference: &VaultReference<'_>,
    ) -> Result<Secret<String>, String> {
        let mut session = self.session.borrow_mut();
        let session = match &mut *session {
            Some(session) => session,
            none @ None => none.insert(Session::open(vault)?),
        };
        session.value(reference)
    }
}

fn run(command: &[&str], time: Duration) -> Result<Secret<String>, String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run `{program}`: {error}"))?;
    let output = child.stdout.take().ok_or("its output cannot be read")?;
    let finished = finish(&mut child, output, Instant::now() + time);
    if finished.is_err() {
        // It may have ended by itself in the meantime; then there is nothing to kill.
        drop(child.kill());
        drop(child.wait());
    }
    let (status, output) = finished.map_err(|fault| fault.told(time))?;
    if !status.success() {
        return Err(match status.code() {
            Some(code) => format!("the command failed with status {code}"),
            None => "the command was killed".to_owned(),
        });
    }
    let text = std::str::from_utf8(output.expose())
        .map_err(|_| "the command's output is not UTF-8")?
        .trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("the command wrote nothing".to_owned());
    }
    Ok(Secret::new(text.to_owned()))
}

enum Fault {
    Time,
    Output,
    Read(std::io::Error),
}

impl Fault {
    fn told(self, time: Duration) -> String {
        match self {
            Self::Time => format!("the command took longer than {time:?}"),
            Self::Output => "the command wrote more than 64 KiB".to_owned(),
            Self::Read(error) => format!("its output cannot be read: {error}"),
        }
    }
}

/// Reads to the end and waits, both until the deadline.
fn finish(
    child: &mut Child,
    output: ChildStdout,
    deadline: Instant,
) -> Result<(ExitStatus, Secret<Vec<u8>>), Fault> {
    let (done, read) = mpsc::channel();
    // A thread of its own, since a read has no deadline. Killing the command ends it, unless a
    // process that the command left behind keeps the output open; then it is left to that.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let outcome = output.take(OUTPUT + 1).read_to_end(&mut bytes);
        // Nobody waits any more after the deadline.
        drop(done.send(outcome.map(|_| Secret::new(bytes))));
    });
    let bytes = read
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        .map_err(|_| Fault::Time)?
        .map_err(Fault::Read)?;
    if u64::try_from(bytes.expose().len()).unwrap_or(u64::MAX) > OUTPUT {
        return Err(Fault::Output);
    }
    loop {
        if let Some(status) = child.try_wait().map_err(Fault::Read)? {
            return Ok((status, bytes));
        }
        if Instant::now() >= deadline {
            return Err(Fault::Time);
        }
        thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn fails(command: &[&str], why: &str) {
        let found = run(command, Duration::from_secs(10)).expect_err("a failure");
        assert!(found.contains(why), "{found}");
        assert!(!found.contains("hunter2"), "{found}");
    }

    #[test]
    fn the_output_is_the_value() {
        let value = |command: &[&str]| run(command, TIME).map(|value| value.expose().clone());
        assert_eq!(value(&["echo", "hunter2"]).as_deref(), Ok("hunter2"));
        assert_eq!(
            value(&["printf", "a b\\n c\\r\\n"]).as_deref(),
            Ok("a b\n c")
        );
        // No shell: the signs of one are arguments.
        assert_eq!(
            value(&["echo", "$HOME", ";", "x"]).as_deref(),
            Ok("$HOME ; x")
        );
        // No input either.
        assert!(Machine::default().run(&["cat"]).is_err());
    }

    #[test]
    fn what_fails_shows_nothing_of_its_output() {
        fails(
            &["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"],
            "status 3",
        );
        fails(&["sh", "-c", "echo hunter2; kill -9 $$"], "was killed");
        fails(&["true"], "wrote nothing");
        fails(&["printf", "\\n\\n"], "wrote nothing");
        fails(&["printf", "hunter2\\377"], "not UTF-8");
        fails(&["/nowhere/to/be/found"], "cannot run");
        fails(&["head", "-c", "65537", "/dev/zero"], "more than 64 KiB");
        fails(&[], "no command");
    }

    #[test]
    fn a_command_that_hangs_is_killed() {
        let brief = Duration::from_millis(100);
        for command in [
            &["sleep", "60"][..],
            &["yes"],
            &["sh", "-c", "exec >&-; exec sleep 60"],
        ] {
            let began = Instant::now();
            assert!(run(command, brief).is_err(), "{command:?}");
            assert!(began.elapsed() < Duration::from_secs(30), "{command:?}");
        }
    }
}
