//! The engine: an immutable program, and transactions that run it.
//!
//! A caller opens a [`Transaction`], says what the request holds, and asks for a [`Verdict`] after
//! the head and after the body, then the same for the response. Deliberately not here: reading
//! SecLang (`seclang`), files, sockets, clocks and threads.

mod act;
mod collect;
mod compile;
mod desk;
mod known;
mod look;
mod memo;
mod moment;
mod persist;
mod program;
mod run;
mod screen;
#[cfg(test)]
mod tests;
mod values;
mod verdict;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

pub use self::desk::Desk;
pub use self::verdict::{Finding, Limit, Matched, Refusal, RefusalKind, TooLarge, Verdict};
use self::{
    desk::Turn,
    program::Program,
    run::{Runner, Running},
    values::{Bucket, Peer, State},
};
use crate::{
    bits::Bits,
    body::Argument,
    seclang::{Mistake, Phase, Ruleset},
    store::Text,
};

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
pub struct Engine {
    program: Program,
}

impl Engine {
    /// Compiles rules.
    ///
    /// # Errors
    /// Every mistake that shows only now: regular expressions, networks, ranges.
    pub fn compile(ruleset: &Ruleset, screening: Screening) -> Result<Self, Vec<Mistake>> {
        let program = compile::compile(ruleset, screening)?;
        Ok(Self { program })
    }

    /// How many rules there are.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.program.rules.len()
    }

    /// How many rules need no turn, because they were decided while compiling.
    #[must_use]
    pub fn folded(&self) -> usize {
        self.program.folded
    }

    /// What its rule sets call themselves (`SecComponentSignature`), such as `OWASP_CRS/4.28.0`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        let components = &self.program.settings.components;
        components.iter().map(AsRef::as_ref)
    }

    /// The tags of a rule, as far as they have no macros.
    #[must_use]
    pub fn tags(&self, id: u64) -> Vec<&[u8]> {
        let rule = self.program.rules.iter().find(|rule| rule.id == id);
        let tags = rule.into_iter().flat_map(|rule| &rule.tags);
        let fixed = tags.filter_map(|tag| match tag {
            program::TemplatePlan::Fixed(number, _) => Some(self.program.constants.get(*number)),
            program::TemplatePlan::Slot(_) | program::TemplatePlan::Pieces(_) => None,
        });
        fixed.collect()
    }

    /// Where a rule stands.
    #[must_use]
    pub fn place(&self, id: u64) -> Option<&crate::seclang::Place> {
        let rule = self.program.rules.iter().find(|rule| rule.id == id)?;
        Some(&rule.place)
    }
}

/// Memory of a transaction, kept from one to the next, so that in steady state nothing is allocated.
/// What is only needed while rules run is the [`Desk`]'s.
#[derive(Debug, Default)]
pub struct Memory {
    state: State,
    running: Running,
}

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

/// Findings that memory is kept for.
const KEPT_FINDINGS: usize = 64;

impl Transaction {
    /// Begins a transaction.
    #[must_use]
    pub fn new(engine: Arc<Engine>, mut memory: Box<Memory>, opening: &Opening<'_>) -> Self {
        let Memory { state, running } = &mut *memory;
        let program = &engine.program;
        state.reset(program);
        let now = opening.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        state.peer = Peer {
            client: Some(opening.client),
            server: Some(opening.server),
            id: state.store.add(opening.id.as_bytes()),
            now: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
        };
        running.turn = Turn::default();
        running.request.reset(&program.request);
        running.response.reset(&program.response);
        running.work = 0;
        running.budget = opening.budget;
        running.undecided = false;
        running.matched = None;
        running.matched_vars.clear();
        running.findings.clear();
        running.findings.shrink_to(KEPT_FINDINGS);
        if running.removed.length() != program.rules.len() {
            running.removed = Bits::new(program.rules.len());
        } else if running.any_removed {
            running.removed.fill(false);
        }
        running.any_removed = false;
        running.removed_targets.clear();
        running.allowed = None;
        Self { engine, memory }
    }

    fn runner(&mut self) -> Runner<'_> {
        let Memory { state, running } = &mut *self.memory;
        Runner {
            program: &self.engine.program,
            state,
            run: running,
            rule: None,
        }
    }

    fn parts(&mut self) -> (&Program, &mut State) {
        (&self.engine.program, &mut self.memory.state)
    }

    /// The request line: method, target and protocol (`HTTP/1.1`) as they came.
    pub fn request_line(&mut self, method: &[u8], target: &[u8], protocol: &[u8]) {
        let (program, state) = self.parts();
        state.set_line(program, method, target, protocol);
    }

    /// An argument that the path carries, decoded: what a description calls a path parameter. Rules
    /// see it among `ARGS` and `ARGS_GET`.
    pub fn path_argument(&mut self, name: &[u8], value: &[u8]) {
        let state = &mut self.memory.state;
        let (name, value) = (state.store.add(name), state.store.add(value));
        state.query.push(Argument { name, value });
    }

    /// One header field of the request, in order.
    pub fn request_field(&mut self, name: &[u8], value: &[u8]) {
        let (program, state) = self.parts();
        state.add_field(program, name, value);
    }

    /// Says that the description proved the value of this query parameter harmless (a number, a
    /// UUID, a date, a member of an enumeration): rules that look for attacks skip it. A name that
    /// occurs twice is not skipped.
    pub fn prove_query(&mut self, name: &[u8]) {
        self.prove(Bucket::Query, name);
    }

    /// The same of a cookie.
    pub fn prove_cookie(&mut self, name: &[u8]) {
        self.prove(Bucket::Cookie, name);
    }

    /// The same of a header field.
    pub fn prove_field(&mut self, name: &[u8]) {
        self.prove(Bucket::Field, name);
    }

    fn prove(&mut self, bucket: Bucket, name: &[u8]) {
        let state = &mut self.memory.state;
        let name = state.store.add(name);
        state.proven_names.push((bucket, name));
    }

    /// The same of a scalar in the body: the bytes `start..end` of it, without quotes. Spans come in
    /// the order in which they stand.
    pub fn prove_body(&mut self, start: usize, end: usize) {
        if let (Ok(start), Ok(end)) = (u32::try_from(start), u32::try_from(end)) {
            self.memory.state.proven_spans.push((start, end));
        }
    }

    /// Runs the rules of phase 1.
    pub fn request_head(&mut self, desk: &mut Desk) -> Verdict {
        let (program, state) = self.parts();
        state.end_head(program);
        state.settle_proven();
        self.at(desk, |runner| {
            if !runner.is_on() {
                return Verdict::Pass;
            }
            runner.screen(Bucket::HEAD);
            runner.phase(Phase::RequestHeaders)
        })
    }

    /// Runs rules at a desk.
    fn at<T>(&mut self, desk: &mut Desk, run: impl FnOnce(&mut Runner<'_>) -> T) -> T {
        let number = self.engine.program.number;
        desk.lend(&mut self.memory.running, number);
        let done = run(&mut self.runner());
        desk.take_back(&mut self.memory.running);
        done
    }

    /// Takes the whole body (which may be empty) and runs the rules of phase 2; none where it is
    /// [too large](Verdict::TooLarge).
    pub fn request_body(&mut self, desk: &mut Desk, body: Bytes) -> Verdict {
        if !self.runner().is_on() {
            return Verdict::Pass;
        }
        let (program, state) = self.parts();
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        state.read_body(program, body);
        if let Some(verdict) = state.refused_for_size() {
            return verdict;
        }
        state.proven_spans.sort_unstable();
        self.at(desk, |runner| {
            runner.run.work = runner.run.work.saturating_add(length);
            runner.screen(Bucket::BODY);
            runner.phase(Phase::RequestBody)
        })
    }

    /// The status of the response and its protocol.
    pub fn response_line(&mut self, status: u16, protocol: &[u8]) {
        let state = &mut self.memory.state;
        state.status = Some(status);
        state.answer_protocol = state.store.add(protocol);
        state.too_large = None;
        // The response has a budget of its own.
        self.memory.running.work = 0;
    }

    /// One header field of the response.
    pub fn response_field(&mut self, name: &[u8], value: &[u8]) {
        let (program, state) = self.parts();
        state.add_answer_field(program, name, value);
    }

    /// Runs the rules of phase 3.
    pub fn response_head(&mut self, desk: &mut Desk) -> Verdict {
        self.at(desk, |runner| {
            if !runner.is_on() {
                return Verdict::Pass;
            }
            runner.screen(Bucket::ANSWER_HEAD);
            runner.phase(Phase::ResponseHeaders)
        })
    }

    /// Whether rules of phase 4 want to see this response's body (by its media type).
    #[must_use]
    pub fn wants_response_body(&self) -> bool {
        let state = &self.memory.state;
        if !state.response_body_access {
            return false;
        }
        let types = &self.engine.program.settings.response_types;
        let Some(written) = state.answer_header(b"content-type") else {
            // An answer that does not say what it is may be anything.
            return types.is_empty();
        };
        let written = state.store.get(written).split(|byte| *byte == b';').next();
        let written = written.unwrap_or_default().trim_ascii();
        types.is_empty()
            || types
                .iter()
                .any(|kind| written.eq_ignore_ascii_case(kind.as_bytes()))
    }

    /// Takes the response's body and runs the rules of phase 4. Without a body that
    /// [`Self::wants_response_body`], an empty one is given. Nothing runs where it is
    /// [too large](Verdict::TooLarge).
    pub fn response_body(&mut self, desk: &mut Desk, body: Bytes) -> Verdict {
        if !self.runner().is_on() {
            return Verdict::Pass;
        }
        let settings = &self.engine.program.settings;
        let limit = usize::try_from(settings.response_limit).unwrap_or(usize::MAX);
        let state = &mut self.memory.state;
        let body = if body.len() > limit {
            state.outbound_error = true;
            if settings.response_reject {
                state.exceed(Limit::Response, settings.response_limit, body.len());
            }
            if let Some(verdict) = state.refused_for_size() {
                return verdict;
            }
            body.slice(..limit)
        } else {
            body
        };
        state.answer_body = Text::of_response(0, body.len());
        state.store.set_response(body);
        self.at(desk, |runner| {
            runner.screen(&[Bucket::AnswerBody]);
            runner.phase(Phase::ResponseBody)
        })
    }

    /// Runs the rules of phase 5.
    pub fn end(&mut self, desk: &mut Desk) {
        // Nothing is refused any more, and nothing is left unlogged for its cost.
        self.memory.running.work = 0;
        self.memory.running.undecided = false;
        let _verdict: Verdict = self.at(desk, |runner| runner.phase(Phase::Logging));
    }

    /// The body that the settings refuse, of the message at hand: what a verdict said, or would have
    /// said if rules did not only tell (`SecRuleEngine DetectionOnly`).
    #[must_use]
    pub fn too_large(&self) -> Option<TooLarge> {
        self.memory.state.too_large
    }

    /// The rules that matched and are to be logged, in order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.memory.running.findings
    }

    /// How many values were not searched because the description had proved them harmless.
    #[must_use]
    pub fn proven(&self) -> usize {
        self.memory.running.request.proven
    }

    /// The value of a key of `TX` (in lower case), such as `blocking_inbound_anomaly_score`.
    #[must_use]
    pub fn tx(&self, key: &str) -> Option<Vec<u8>> {
        let Memory { state, .. } = &*self.memory;
        let program = &self.engine.program;
        let value = match program.slots.find(key.as_bytes()) {
            Some(slot) => *state.tx.get(usize::try_from(slot).ok()?)?,
            None => state.named.get(state.named(key.as_bytes())?)?.value,
        };
        if value == program::Val::None {
            return None;
        }
        let mut digits = run::Digits::default();
        Some(run::bytes_of(program, &state.store, value, &mut digits).to_vec())
    }

    /// Bytes that were looked at so far.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.memory.running.work
    }

    /// Ends the transaction; the memory serves the next.
    #[must_use]
    pub fn into_memory(self) -> Box<Memory> {
        drop(self.engine);
        self.memory
    }
}
