//! Runs tests in this process: their bytes through [`front`], the rules and [`backend`].
//!
//! Deliberately not here: whether the outcome is right (`judge`), and sockets.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::{
    backend::{Answer, Backend},
    format::Test,
    front,
    judge::Observed,
    log,
};
use crate::engine::{Desk, Engine, Memory, Opening, Transaction, Verdict};

/// Runs tests, one at a time.
#[derive(Debug)]
pub struct Process {
    engine: Arc<Engine>,
    memory: Box<Memory>,
    desk: Desk,
}

impl Process {
    /// With these rules.
    #[must_use]
    pub fn new(engine: Arc<Engine>) -> Self {
        Self {
            engine,
            memory: Box::default(),
            desk: Desk::default(),
        }
    }

    /// What comes of each stage. Every test finds a server that was just started.
    pub fn observe(&mut self, test: &Test) -> Vec<Observed> {
        let mut backend = Backend::default();
        let stages = test.stages.iter();
        stages
            .map(|stage| self.send(&stage.input.bytes(), &mut backend))
            .collect()
    }

    /// What comes of the bytes that a client sends on a connection.
    pub fn exchange(&mut self, bytes: &[u8]) -> Observed {
        self.send(bytes, &mut Backend::default())
    }

    fn send(&mut self, bytes: &[u8], backend: &mut Backend) -> Observed {
        let request = match front::read(bytes) {
            Ok(request) => request,
            Err(refusal) => return refused_by_http(refusal),
        };
        let engine = Arc::clone(&self.engine);
        let memory = std::mem::take(&mut self.memory);
        let mut transaction = Transaction::new(engine, memory, &opening());
        let (answer, verdict) = run(&mut transaction, &mut self.desk, &request, backend);
        transaction.end(&mut self.desk);
        let findings = transaction.findings().to_vec();
        self.memory = transaction.into_memory();
        // To HTTP/0.9 the answer has no head, which a client takes for no HTTP.
        let status = answer.as_ref().map(|answer| answer.status);
        Observed {
            status: status.filter(|_| !request.is_simple()),
            answer: answer.as_ref().map(shown).unwrap_or_default(),
            rules: findings.iter().map(|finding| finding.rule).collect(),
            log: findings
                .iter()
                .map(|finding| log::entry(finding, &request.target))
                .collect(),
            findings,
            verdict: Some(verdict),
        }
    }
}

/// All tests (or what is made of them), on as many threads: what comes of each, in their order.
/// `worker` makes what runs them on a thread.
pub fn in_parallel<'t, I, T, W>(
    tests: &'t [I],
    threads: usize,
    worker: impl Fn() -> W + Sync,
) -> Vec<T>
where
    I: Sync,
    T: Send,
    W: FnMut(&'t I) -> T,
{
    let next = AtomicUsize::new(0);
    let work = || {
        let mut run = worker();
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(test) = tests.get(index) else {
                return done;
            };
            done.push((index, run(test)));
        }
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut done = Vec::with_capacity(tests.len());
        for worker in workers {
            match worker.join() {
                Ok(part) => done.extend(part),
                Err(panicked) => panic::resume_unwind(panicked),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// A client that is not on the own machine, for which CRS makes an exception, and a fixed time.
fn opening() -> Opening<'static> {
    let address = |last, port| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), port);
    Opening {
        client: address(1, 40_000),
        server: address(2, 80),
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000),
        id: "ftw",
        // Tests ask what the rules find, not what that costs.
        budget: 1 << 40,
    }
}

fn refused_by_http(refusal: front::Refusal) -> Observed {
    let answer = Answer {
        status: 400,
        fields: Vec::new(),
        body: refusal.0.into(),
    };
    Observed {
        status: Some(answer.status),
        answer: shown(&answer),
        ..Observed::default()
    }
}

/// The answer, and what the rules said; no answer if they did not come to their end.
fn run(
    transaction: &mut Transaction,
    desk: &mut Desk,
    request: &front::Request,
    backend: &mut Backend,
) -> (Option<Answer>, Verdict) {
    transaction.request_line(&request.method, &request.target, &request.protocol);
    for (name, value) in &request.fields {
        transaction.request_field(name, value);
    }
    let mut verdict = transaction.request_head(desk);
    if verdict == Verdict::Pass {
        verdict = transaction.request_body(desk, Bytes::copy_from_slice(&request.body));
    }
    if verdict != Verdict::Pass {
        return (refused(&verdict), verdict);
    }
    let answer = backend.answer(&request.method, &request.target, &request.body);
    transaction.response_line(answer.status, b"HTTP/1.1");
    for (name, value) in &answer.fields {
        transaction.response_field(name.as_bytes(), value.as_bytes());
    }
    verdict = transaction.response_head(desk);
    if verdict == Verdict::Pass {
        // Rules of phase 4 run in any case; the body they see only if they want it.
        let wanted = transaction.wants_response_body();
        let body = Bytes::copy_from_slice(if wanted { &answer.body } else { &[] });
        verdict = transaction.response_body(desk, body);
    }
    if verdict == Verdict::Pass {
        (Some(answer), verdict)
    } else {
        (refused(&verdict), verdict)
    }
}

fn refused(verdict: &Verdict) -> Option<Answer> {
    let Verdict::Refuse(refusal) = verdict else {
        return None;
    };
    Some(Answer {
        status: refusal.status,
        fields: Vec::new(),
        body: Vec::new(),
    })
}

fn shown(answer: &Answer) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", answer.status).into_bytes();
    for (name, value) in &answer.fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&answer.body);
    bytes
}
