//! The rules of `waf` over a request and its answer: what they get to see, and what becomes of their
//! verdicts.
//!
//! They see what the upstream will get and the fields that a client says to the gateway itself, and
//! of the answer what the client will get. Deliberately not here: what a rule means (`fortress-waf`), which rules an operation has (`compile`), and what of a
//! match is kept (`record`).

mod record;
mod trial;

use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use fortress_model::{Decision, Denial, Mode, Reason, decision::RulesRecord};
use fortress_spec::{Operation, parameter::Location};
use fortress_waf::engine::{
    Desk, Engine, Limit, Memory, Opening, Refusal, RefusalKind, TooLarge, Transaction, Verdict,
};
use http::{HeaderName, header};

use percent_encoding::percent_decode_str;

use crate::{
    compile::Gateway,
    decode::Coding,
    reply::{Reply, ReplyBody},
    request::Request,
    worker::Worker,
};

pub use record::parameter;
pub use trial::{RawRequest, Trial, TrialError, load, try_rules};

/// The rules of one operation.
#[derive(Clone, Debug)]
pub struct Rules {
    pub(crate) engine: Arc<Engine>,
    /// Of the rules alone; the operation's own can only be weaker.
    pub(crate) mode: Mode,
    pub(crate) schema_aware: bool,
    /// `bounds.inspection`.
    pub(crate) budget: u64,
}

impl Rules {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.engine.rules()
    }

    /// What they call themselves, such as `OWASP_CRS/4.28.0`.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.engine.components()
    }

    /// The paranoia level, as they themselves say it: of the configuration, or of their own set-up.
    pub fn paranoia(&self) -> Option<u8> {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let opening = Opening {
            client: nobody,
            server: nobody,
            now: UNIX_EPOCH,
            id: "",
            budget: self.budget,
        };
        let mut trial = Transaction::new(Arc::clone(&self.engine), Box::default(), &opening);
        trial.request_line(b"GET", b"/", b"HTTP/1.1");
        let _verdict: Verdict = trial.request_head(&mut Desk::default());
        // The other is the name that it has in the Core Rule Set 3.
        let level = ["blocking_paranoia_level", "paranoia_level"]
            .iter()
            .find_map(|key| trial.tx(key))?;
        String::from_utf8(level).ok()?.parse().ok()
    }
}

impl Gateway {
    /// The rules that run, each set of them once.
    pub fn rules(&self) -> Vec<&Rules> {
        let mut sets: Vec<&Rules> = Vec::new();
        for rules in self.plans.iter().filter_map(|plan| plan.rules.as_ref()) {
            let is_known = |known: &&Rules| Arc::ptr_eq(&known.engine, &rules.engine);
            if !sets.iter().any(is_known) {
                sets.push(rules);
            }
        }
        sets
    }
}

/// The examination of a request, from when its operation is known. Whatever becomes of the request,
/// the memory that it took goes back to the worker.
#[derive(Debug)]
pub(crate) struct Examination {
    worker: Rc<Worker>,
    own: SocketAddr,
    run: Option<Run>,
}

impl Examination {
    /// Of a request that came to this address of ours.
    pub(crate) fn new(worker: &Rc<Worker>, own: SocketAddr) -> Self {
        Self {
            worker: Rc::clone(worker),
            own,
            run: None,
        }
    }

    /// Begins it.
    pub(crate) fn begin(&mut self, decision: &Decision, rules: &Rules) -> &mut Run {
        let (memory, desk) = (self.worker.lend_memory(), self.worker.desk());
        self.run
            .insert(Run::new(rules, (memory, desk), decision, self.own))
    }

    /// What was begun; `None` where no rules run.
    pub(crate) fn run(&mut self) -> Option<&mut Run> {
        self.run.as_mut()
    }

    /// Ends it, where it was begun. What rules find that only log is recorded.
    pub(crate) fn end(&mut self, decision: &mut Decision) {
        if let Some(run) = &mut self.run {
            run.end(decision);
        }
    }

    /// Forgets it with its memory, of which nobody knows what a panic left of it.
    pub(crate) fn discard(&mut self) {
        self.run = None;
    }
}

impl Drop for Examination {
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            self.worker.take_back(run.transaction.into_memory());
        }
    }
}

/// A request on its way through the rules.
#[derive(Debug)]
pub(crate) struct Run {
    transaction: Transaction,
    /// The worker's; borrowed while rules run, which wait for nothing.
    desk: Rc<RefCell<Desk>>,
    rules: Rules,
    /// Findings that were recorded.
    told: usize,
}

/// Which message a verdict is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Message {
    Request,
    Answer,
}

impl Run {
    pub(crate) fn new(
        rules: &Rules,
        (memory, desk): (Box<Memory>, Rc<RefCell<Desk>>),
        decision: &Decision,
        own: SocketAddr,
    ) -> Self {
        let opening = Opening {
            client: SocketAddr::new(decision.client, decision.client_port),
            server: own,
            now: UNIX_EPOCH + Duration::from_nanos(decision.received.0),
            id: &decision.id.to_string(),
            budget: rules.budget,
        };
        Self {
            transaction: Transaction::new(Arc::clone(&rules.engine), memory, &opening),
            desk,
            rules: rules.clone(),
            told: 0,
        }
    }

    /// The value of a parameter in the path: an argument like any other, by the name `path.NAME`.
    pub(crate) fn path_value(&mut self, name: &str, value: &str) {
        let decoded = percent_decode_str(value).collect::<Vec<u8>>();
        self.transaction
            .path_argument(path_argument(name).as_bytes(), &decoded);
    }

    /// The head. `proven` are the places, among the operation's parameters, of those that the
    /// description proved harmless.
    ///
    /// # Errors
    /// `waf.*`.
    pub(crate) fn head(
        &mut self,
        decision: &mut Decision,
        request: &Request,
        length: Length,
        operation: Option<&Operation>,
        proven: &[u16],
    ) -> Result<(), Denial> {
        let target = match &request.query {
            Some(query) => format!("{}?{query}", request.path.as_str()),
            None => request.path.as_str().to_owned(),
        };
        self.transaction.request_line(
            request.method.as_str().as_bytes(),
            target.as_bytes(),
            decision.version.as_bytes(),
        );
        // HTTP/2 has it in `:authority`.
        self.transaction
            .request_field(b"host", decision.host.as_bytes());
        // A body that came packed is searched unpacked; what is not undone here goes on as it came.
        let is_undone = Coding::of(&request.headers).is_ok();
        let sent = request.headers.iter().filter(|(name, _)| {
            !(is_ours(name) || is_undone && **name == header::CONTENT_ENCODING)
        });
        let ended = request.ended.iter().map(|(name, value)| (name, value));
        for (name, value) in sent.chain(ended) {
            self.transaction
                .request_field(name.as_str().as_bytes(), value.as_bytes());
        }
        if length == Length::Unknown && decision.version == "HTTP/1.1" {
            // Taken away as what ends at this hop; a body without either would look smuggled.
            self.transaction
                .request_field(b"transfer-encoding", b"chunked");
        }
        if let Some(operation) = operation.filter(|_| self.rules.schema_aware) {
            self.prove(operation, proven);
        }
        let verdict = self.transaction.request_head(&mut self.desk.borrow_mut());
        self.judge(
            decision,
            verdict,
            Message::Request,
            request.query.as_deref(),
        )
    }

    fn prove(&mut self, operation: &Operation, proven: &[u16]) {
        let parameters = proven
            .iter()
            .filter_map(|place| operation.parameters.get(usize::from(*place)));
        for parameter in parameters {
            let name = parameter.name.as_bytes();
            match parameter.location {
                Location::Query => self.transaction.prove_query(name),
                Location::Cookie => self.transaction.prove_cookie(name),
                Location::Header => self.transaction.prove_field(name),
                Location::Path => {
                    let name = path_argument(&parameter.name);
                    self.transaction.prove_query(name.as_bytes());
                }
            }
        }
    }

    /// The whole body, decoded. `proven` are the stretches that the description proved harmless.
    ///
    /// # Errors
    /// `waf.*`, `waf.body_limit` among them, and `body.malformed` for what the rules cannot read.
    pub(crate) fn body(
        &mut self,
        decision: &mut Decision,
        query: Option<&str>,
        body: Bytes,
        proven: &[(u32, u32)],
    ) -> Result<(), Denial> {
        if self.rules.schema_aware {
            for (start, end) in proven {
                let wide = |place: u32| usize::try_from(place).unwrap_or(usize::MAX);
                self.transaction.prove_body(wide(*start), wide(*end));
            }
        }
        let verdict = self
            .transaction
            .request_body(&mut self.desk.borrow_mut(), body);
        self.judge(decision, verdict, Message::Request, query)
    }

    /// The answer, as the client will get it: what was dropped from it cannot leak any more, and
    /// must not cost the rest. A body that is not held is not searched.
    ///
    /// # Errors
    /// `waf.response_score`, `waf.response_exhausted`, `waf.response_limit`.
    pub(crate) fn answer(&mut self, decision: &mut Decision, reply: &Reply) -> Result<(), Denial> {
        let transaction = &mut self.transaction;
        transaction.response_line(reply.status.as_u16(), decision.version.as_bytes());
        for (name, value) in &reply.headers {
            transaction.response_field(name.as_str().as_bytes(), value.as_bytes());
        }
        let verdict = transaction.response_head(&mut self.desk.borrow_mut());
        self.judge(decision, verdict, Message::Answer, None)?;
        let body = match &reply.body {
            // What is still encoded passed under `monitor`, and would be noise.
            ReplyBody::Full(body) if !reply.headers.contains_key(header::CONTENT_ENCODING) => {
                Some(body).filter(|_| self.transaction.wants_response_body())
            }
            ReplyBody::Full(_) | ReplyBody::Empty { .. } | ReplyBody::Stream(_) => None,
        };
        // Without a body too: what the head scored is counted by rules of this phase.
        let verdict = self.transaction.response_body(
            &mut self.desk.borrow_mut(),
            body.cloned().unwrap_or_default(),
        );
        self.judge(decision, verdict, Message::Answer, None)
    }

    pub(crate) fn end(&mut self, decision: &mut Decision) {
        self.transaction.end(&mut self.desk.borrow_mut());
        self.record(decision, None);
    }

    fn judge(
        &mut self,
        decision: &mut Decision,
        verdict: Verdict,
        message: Message,
        query: Option<&str>,
    ) -> Result<(), Denial> {
        self.record(decision, query);
        match verdict {
            Verdict::Pass => match self.transaction.too_large() {
                // Their own mode (`SecRuleEngine DetectionOnly`) is to tell.
                Some(body) => too_large(decision, Mode::REPORTING, body),
                None => Ok(()),
            },
            Verdict::TooLarge(body) => too_large(decision, self.rules.mode, body),
            Verdict::Refuse(refusal) => {
                let (reason, detail) = refused(decision, &refusal, message);
                decision.refuse_under(self.rules.mode, reason, detail)
            }
            Verdict::Exhausted => self.exhausted(decision, message),
        }
    }

    /// What was not looked at to the end is not known to be harmless.
    fn exhausted(&self, decision: &mut Decision, message: Message) -> Result<(), Denial> {
        decision.rules.get_or_insert_default().exhausted = true;
        let budget = self.rules.budget;
        let reason = match message {
            Message::Request => Reason::WafExhausted,
            Message::Answer => Reason::WafResponseExhausted,
        };
        decision.refuse_under(
            self.rules.mode,
            reason,
            format!("the rules did not come to their end within {budget} bytes of work"),
        )
    }

    /// Takes over what was found since the last time.
    fn record(&mut self, decision: &mut Decision, query: Option<&str>) {
        let findings = self.transaction.findings();
        let new = findings.get(self.told..).unwrap_or_default();
        for finding in new.iter().filter(|finding| record::tells(finding)) {
            let kept = decision.rules.get_or_insert_default();
            record::add(kept, finding, query);
        }
        self.told = findings.len();
        if let Some(kept) = &mut decision.rules {
            kept.proven = u32::try_from(self.transaction.proven()).unwrap_or(u32::MAX);
            self.sum_up(kept);
        }
    }

    /// The scores as the rules themselves counted them: not every match counts at every paranoia
    /// level. Rules of the Core Rule Set 3 have no such sums, and each match is added up instead.
    fn sum_up(&self, record: &mut RulesRecord) {
        let number = |key: &str| {
            let text = String::from_utf8(self.transaction.tx(key)?).ok()?;
            text.parse::<i64>().ok()
        };
        let threshold = |key: &str| number(key).and_then(|value| u32::try_from(value).ok());
        record.threshold = threshold("inbound_anomaly_score_threshold");
        record.response_threshold = threshold("outbound_anomaly_score_threshold");
        let sums = [
            ("blocking_inbound_anomaly_score", &mut record.score),
            (
                "blocking_outbound_anomaly_score",
                &mut record.response_score,
            ),
        ];
        for (key, score) in sums {
            if let Some(sum) = number(key).filter(|sum| *sum > 0) {
                *score = sum;
            }
        }
    }
}

/// What is longer than the rules' own settings accept was not looked at.
fn too_large(decision: &mut Decision, mode: Mode, body: TooLarge) -> Result<(), Denial> {
    let TooLarge {
        limit,
        most,
        length,
    } = body;
    let (reason, what) = match limit {
        Limit::Request => (Reason::WafBodyLimit, "the body has"),
        Limit::WithoutFiles => (Reason::WafBodyLimit, "without its files the body has"),
        Limit::Response => (Reason::WafResponseLimit, "the answer's body has"),
    };
    let detail = format!(
        "{what} {length} bytes, and the rules accept {most} (`{}`)",
        limit.word()
    );
    decision.refuse_under(mode, reason, detail)
}

/// How much the client said that its body would be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Length {
    /// Its `Content-Length` says so, or there is none.
    Known,
    /// It comes in chunks.
    Unknown,
}

/// Fields that the gateway itself wrote.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host" | "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-request-id"
    )
}

/// The reason that a rule's refusal leads to, and what the operator reads.
fn refused(decision: &Decision, refusal: &Refusal, message: Message) -> (Reason, String) {
    let by_itself = || {
        let text = record::cut(&refusal.message, record::MESSAGE);
        format!("rule {}: {text}", refusal.rule)
    };
    match (message, refusal.kind) {
        (Message::Request, RefusalKind::Score) => (
            Reason::WafAnomalyScore,
            record::score(decision.rules.as_deref(), message, &refusal.message),
        ),
        (Message::Request, RefusalKind::Rule) => (Reason::WafRule, by_itself()),
        (Message::Request, RefusalKind::Body) => (
            Reason::BodyMalformed,
            record::cut(&refusal.message, record::MESSAGE),
        ),
        (Message::Answer, RefusalKind::Score) => (
            Reason::WafResponseScore,
            record::score(decision.rules.as_deref(), message, &refusal.message),
        ),
        (Message::Answer, RefusalKind::Rule | RefusalKind::Body) => {
            (Reason::WafResponseScore, by_itself())
        }
    }
}

/// What an argument from the path is called.
fn path_argument(name: &str) -> String {
    format!("{PATH_ARGUMENT}{name}")
}

/// Before the names of arguments from the path.
pub(crate) const PATH_ARGUMENT: &str = "path.";
