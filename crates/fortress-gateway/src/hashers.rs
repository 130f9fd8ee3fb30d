//! Passwords' hashes, computed beside the threads that serve requests.
//!
//! A hash takes tens of milliseconds and megabytes on purpose, so whoever sends wrong passwords could
//! take a gateway's processors and memory. **So many run at once, so many wait, and the rest are
//! refused**; passwords that were right a moment ago need no hash and pass meanwhile.

use std::{num::NonZero, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

/// Hashes that wait for their turn, over all workers and entries of `identity`.
const WAITING: usize = 64;
/// How long one waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that run at once: at argon2's costliest accepted parameters they take 256 MiB each.
const MAX_RUNNING: usize = 8;

/// Computes hashes, a bounded number at once. One for all entries of `identity`; survives a reload.
#[derive(Clone, Debug)]
pub(crate) struct Hashers {
    /// Who runs or waits.
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// Why a hash was not computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Busy {
    #[error("{WAITING} passwords wait to be checked already")]
    Full,
    #[error("the password waited for {} s to be checked", PATIENCE.as_secs())]
    Slow,
    #[error("the check of the password ended in a fault")]
    Fault,
}

impl Default for Hashers {
    /// Half of the processors, so that requests go on while passwords are guessed at.
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self::new(processors.div_ceil(2).min(MAX_RUNNING), WAITING)
    }
}

impl Hashers {
    fn new(running: usize, waiting: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(running + waiting)),
            running: Arc::new(Semaphore::new(running)),
        }
    }

    /// Runs `work` on a thread of its own when its turn comes.
    ///
    /// # Errors
    /// There is no place, or its turn does not come.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Busy::Full)?;
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.running).acquire_owned());
        let turn = turn
            .await
            .map_err(|_| Busy::Slow)?
            .map_err(|_| Busy::Fault)?;
        // INVARIANT: the permits go with the work: a client that goes away does not make room for
        // another hash before its own is done.
        let task = tokio::task::spawn_blocking(move || {
            let done = work();
            drop((place, turn));
            done
        });
        task.await.map_err(|_| Busy::Fault)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinHandle;

    use super::*;

    /// A hash that runs until it is released.
    async fn held(hashers: &Hashers) -> (JoinHandle<Result<i32, Busy>>, mpsc::Sender<()>) {
        let (release, held) = mpsc::channel();
        let (started, runs) = tokio::sync::oneshot::channel();
        let work = move || {
            started.send(()).unwrap();
            held.recv().unwrap();
            1
        };
        let hashers = hashers.clone();
        let running = tokio::spawn(async move { hashers.run(work).await });
        runs.await.unwrap();
        (running, release)
    }

    #[tokio::test]
    async fn so_many_run_so_many_wait_and_the_rest_are_refused() {
        let hashers = Hashers::new(1, 1);
        let (first, release) = held(&hashers).await;
        let second = {
            let hashers = hashers.clone();
            tokio::spawn(async move { hashers.run(|| 2).await })
        };
        while hashers.places.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashers.run(|| 3).await, Err(Busy::Full));
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(1));
        assert_eq!(second.await.unwrap(), Ok(2));
        assert_eq!(hashers.run(|| 3).await, Ok(3));
    }

    #[tokio::test]
    async fn a_client_that_goes_away_makes_no_room() {
        let hashers = Hashers::new(1, 0);
        let (gone, release) = held(&hashers).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(hashers.run(|| 1).await, Err(Busy::Full));
        release.send(()).unwrap();
        while hashers.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashers.run(|| 1).await, Ok(1));
    }
}
