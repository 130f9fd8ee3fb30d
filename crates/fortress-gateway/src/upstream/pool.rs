//! Idle HTTP/1.1 connections of one worker.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use tokio::time::{Duration, Instant};

use super::h1::Connection;

/// How long a connection may wait for its next request. Below the five seconds after which Node's
/// server closes one, since a request that meets the closing is lost.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections kept per endpoint and worker.
const KEPT: usize = 256;

/// The idle connections of all endpoints.
#[derive(Debug, Default)]
pub(super) struct Pool {
    endpoints: RefCell<HashMap<Arc<str>, Rc<Idle>>>,
}

impl Pool {
    /// Those of an endpoint, which a request looks up once.
    pub(super) fn of(&self, key: &Arc<str>) -> Rc<Idle> {
        let mut endpoints = self.endpoints.borrow_mut();
        match endpoints.get(key) {
            Some(idle) => Rc::clone(idle),
            None => Rc::clone(endpoints.entry(Arc::clone(key)).or_default()),
        }
    }

    pub(super) fn tidy(&self) {
        let now = Instant::now();
        self.endpoints.borrow_mut().retain(|_, idle| {
            let is_empty = idle.tidy(now);
            // A request may be about to put one back.
            !is_empty || Rc::strong_count(idle) > 1
        });
    }
}

/// The idle connections of one endpoint, each with since when it waits.
#[derive(Debug, Default)]
pub(super) struct Idle(RefCell<Vec<(Connection, Instant)>>);

impl Idle {
    /// The connection that was used last, if it is still open.
    pub(super) fn take(&self, now: Instant) -> Option<Connection> {
        let mut connections = self.0.borrow_mut();
        while let Some((connection, since)) = connections.pop() {
            if now.duration_since(since) < IDLE && connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    pub(super) fn put(&self, connection: Connection) {
        let mut connections = self.0.borrow_mut();
        if connections.len() < KEPT {
            connections.push((connection, Instant::now()));
        }
    }

    /// Closes those that have waited for too long; says whether none is left.
    fn tidy(&self, now: Instant) -> bool {
        let mut connections = self.0.borrow_mut();
        connections.retain(|(_, since)| now.duration_since(*since) < IDLE);
        connections.is_empty()
    }
}
