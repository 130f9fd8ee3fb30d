//! Idle HTTP/1.1 connections of one worker.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use tokio::time::{Duration, Instant};

use super::h1::Connection;

/// How long a connection may wait for its next request. Below the five seconds after which Node's
/// server closes one, since a request that meets the closing is lost.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections kept per endpoint and worker.
const KEPT: usize = 256;

/// A connection, and since when it waits.
type Idle = (Connection, Instant);

#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<Arc<str>, Vec<Idle>>>,
}

impl Pool {
    /// The connection that was used last, if it is still open.
    pub(super) fn take(&self, key: &str) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(key)?;
        let now = Instant::now();
        while let Some((connection, since)) = connections.pop() {
            if now.duration_since(since) < IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    pub(super) fn put(self: &Rc<Self>, key: &Arc<str>, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        let connections = match idle.get_mut(key) {
            Some(connections) => connections,
            None => idle.entry(Arc::clone(key)).or_default(),
        };
        if connections.len() < KEPT {
            connections.push((connection, Instant::now()));
        }
    }

    pub(super) fn tidy(&self) {
        let now = Instant::now();
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|(_, since)| now.duration_since(*since) < IDLE);
            !connections.is_empty()
        });
    }
}
