//! The engine: an immutable program, and transactions that run it.
//!
//! A caller opens a [`Transaction`], says what the request holds, and asks for a [`Verdict`] after
//! the head and after the body, then the same for the response. Deliberately not here: reading
//! SecLang (`seclang`), files, sockets, clocks and threads.

mod verdict;

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::Bytes;

pub use self::verdict::{Finding, Matched, Refusal, RefusalKind, Verdict};
use crate::seclang::{Mistake, Ruleset};

/// How a program finds the rules that can match.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Screening {
    /// Rules that cannot match a value are not asked.
    #[default]
    Prefiltered,
    /// Every rule is asked: slow, and what the other is compared with.
    Exhaustive,
}

/// Rules, compiled: immutable, shared by all threads.
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Compiles rules.
    ///
    /// # Errors
    /// Every mistake that shows only now: regular expressions, networks, ranges.
    pub fn compile(ruleset: &Ruleset, screening: Screening) -> Result<Self, Vec<Mistake>> {
        let (_, _) = (ruleset, screening);
        Ok(Self {})
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        0
    }
}

/// Memory of a transaction, kept from one to the next, so that in steady state nothing is allocated.
#[derive(Debug, Default)]
pub struct Memory {}

/// What is known before the request.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// The client (`REMOTE_ADDR`, `REMOTE_PORT`).
    pub client: SocketAddr,
    /// The own address (`SERVER_ADDR`, `SERVER_PORT`).
    pub server: SocketAddr,
    /// The time (`TIME…`).
    pub now: SystemTime,
    /// `UNIQUE_ID`.
    pub id: &'a str,
    /// Work that the request may cost, in bytes looked at; so may the response, once more.
    pub budget: u64,
}

/// A request and its response on their way through the rules.
#[derive(Debug)]
pub struct Transaction {
    engine: Arc<Engine>,
    memory: Box<Memory>,
}

impl Transaction {
    /// Begins a transaction.
    #[must_use]
    pub fn new(engine: Arc<Engine>, memory: Box<Memory>, opening: &Opening<'_>) -> Self {
        let _ = opening;
        Self { engine, memory }
    }

    /// The request line: method, target and protocol (`HTTP/1.1`) as they came.
    pub fn request_line(&mut self, method: &[u8], target: &[u8], protocol: &[u8]) {
        let (_, _, _) = (method, target, protocol);
    }

    /// One header field of the request, in order.
    pub fn request_field(&mut self, name: &[u8], value: &[u8]) {
        let (_, _) = (name, value);
    }

    /// Says that the description proved the value of this query parameter harmless (a number, a
    /// UUID, a date, a member of an enumeration): rules that look for texts skip it. A name that
    /// occurs twice is not skipped.
    pub fn prove_query(&mut self, name: &[u8]) {
        let _ = name;
    }

    /// The same of a cookie.
    pub fn prove_cookie(&mut self, name: &[u8]) {
        let _ = name;
    }

    /// The same of a header field.
    pub fn prove_field(&mut self, name: &[u8]) {
        let _ = name;
    }

    /// The same of a scalar in the body: the bytes `start..end` of it, without quotes.
    pub fn prove_body(&mut self, start: usize, end: usize) {
        let (_, _) = (start, end);
    }

    /// Runs the rules of phase 1.
    pub fn request_head(&mut self) -> Verdict {
        Verdict::Pass
    }

    /// Takes the whole body (which may be empty) and runs the rules of phase 2.
    pub fn request_body(&mut self, body: Bytes) -> Verdict {
        drop(body);
        Verdict::Pass
    }

    /// The status of the response and its protocol.
    pub fn response_line(&mut self, status: u16, protocol: &[u8]) {
        let (_, _) = (status, protocol);
    }

    /// One header field of the response.
    pub fn response_field(&mut self, name: &[u8], value: &[u8]) {
        let (_, _) = (name, value);
    }

    /// Runs the rules of phase 3.
    pub fn response_head(&mut self) -> Verdict {
        Verdict::Pass
    }

    /// Whether rules of phase 4 want to see this response's body (by its media type).
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        false
    }

    /// Takes the response's body and runs the rules of phase 4.
    pub fn response_body(&mut self, body: Bytes) -> Verdict {
        drop(body);
        Verdict::Pass
    }

    /// Runs the rules of phase 5.
    pub fn end(&mut self) {}

    /// The rules that matched and are to be logged, in order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &[]
    }

    /// How many values were not searched because the description had proved them harmless.
    #[must_use]
    pub fn proven(&self) -> usize {
        0
    }

    /// Ends the transaction; the memory serves the next.
    #[must_use]
    pub fn into_memory(self) -> Box<Memory> {
        drop(self.engine);
        self.memory
    }
}
