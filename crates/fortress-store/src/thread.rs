//! The end of threads that talk to a store.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a stop waits for a store: one that is silent must not keep the program from ending.
const FAREWELL: Duration = Duration::from_secs(5);

/// Waits for a thread that was told to end, five seconds at most. `what` is what it does, for the log.
pub fn end(thread: JoinHandle<()>, what: &str) {
    let end = Instant::now() + FAREWELL;
    while !thread.is_finished() {
        if Instant::now() >= end {
            tracing::error!(
                "the thread that {what} waits for a store that does not answer; what it had to write is lost"
            );
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    if thread.join().is_err() {
        tracing::error!("the thread that {what} has panicked");
    }
}
