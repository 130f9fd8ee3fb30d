//! A request that a person has in a file, run through the rules in process: what
//! `fortress waf explain` shows.
//!
//! Deliberately not here: every other guard. Nothing is sent, and nothing is recorded.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use fortress_model::{
    Bounds, Clock as _, Decision, Diagnostic, Mode, Sources, SystemClock, config::WafSettings,
    decision::RequestId,
};

use super::{Length, Rules, Run};
use crate::{
    compile::{Gateway, OperationPlan, RuleSets},
    guard::inspect,
    h1::{self, HeadBounds, ScanState, Target},
    path::split_target,
    request::{self, Head, Request},
    route::{self, Routed},
};

/// A request as a file holds it.
#[derive(Debug)]
pub struct RawRequest {
    head: Head,
    body: Bytes,
}

/// Why a file is no request that rules could look at.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TrialError {
    /// It has no whole head.
    #[error("there is no empty line after the header fields")]
    NoHead,
    /// The gateway refuses it before any rule.
    #[error("the gateway refuses it before any rule: {code}: {detail}")]
    Refused {
        /// The reason's code.
        code: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// Its body is not written as it is meant.
    #[error("write the body plainly, without `{0}`")]
    Coded(&'static str),
    /// Nothing says which rules are meant.
    #[error("no operation of the configuration has this host, path and method")]
    NoOperation,
    /// No operation has this name.
    #[error("there is no operation `{0}`")]
    UnknownOperation(String),
    /// Its `waf` is off.
    #[error("no rules run for `{0}`: `waf.mode` or `mode` is `off`")]
    Off(String),
}

/// What came of it.
#[derive(Debug)]
pub struct Trial {
    /// The record, as far as the rules fill it: findings, matches, API and operation.
    pub decision: Box<Decision>,
    /// How many rules there were.
    pub rules: usize,
}

impl RawRequest {
    /// Reads one. Lines may end as the editor ends them; `Host` and `Content-Length` may be left out.
    ///
    /// # Errors
    /// [`TrialError`]
    pub fn parse(file: &[u8]) -> Result<Self, TrialError> {
        let (head, body) = split(file).ok_or(TrialError::NoHead)?;
        let has = |name: &str| {
            head.lines().skip(1).any(|line| {
                line.split_once(':')
                    .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
            })
        };
        for coded in ["Transfer-Encoding", "Content-Encoding"] {
            if has(coded) {
                return Err(TrialError::Coded(coded));
            }
        }
        let mut text = head.lines().collect::<Vec<_>>().join("\r\n");
        if !has("host") {
            text.push_str("\r\nHost: localhost");
        }
        if !has("content-length") && !body.is_empty() {
            text.push_str(&format!("\r\nContent-Length: {}", body.len()));
        }
        text.push_str("\r\n\r\n");
        let mut buffer = BytesMut::from(text.as_bytes());
        let bounds = HeadBounds::from(&Bounds::default());
        let read = h1::parse_request(&mut buffer, &bounds, &mut ScanState::default())
            .map_err(|refused| TrialError::Refused {
                code: refused.reason.code(),
                detail: refused.detail,
            })?
            .ok_or(TrialError::NoHead)?;
        let length = match read.framing {
            h1::Framing::Length(length) => usize::try_from(length).unwrap_or(usize::MAX),
            h1::Framing::None | h1::Framing::Chunked => 0,
        };
        let target = match read.target {
            Target::Origin(text) => text,
            Target::Asterisk | Target::Authority => "*".into(),
        };
        Ok(Self {
            head: Head {
                method: read.method,
                target,
                host: read.host.as_str().into(),
                headers: read.headers,
                version: "HTTP/1.1",
                bytes: read.bytes,
            },
            body: Bytes::copy_from_slice(body.get(..length).unwrap_or(body)),
        })
    }

    /// Method and path, for people.
    pub fn title(&self) -> String {
        let (path, _) = split_target(&self.head.target);
        format!("{} {path}", self.head.method)
    }
}

/// The head as text and the body. Where lines end with a bare LF, an editor has put one at the end.
fn split(file: &[u8]) -> Option<(String, &[u8])> {
    let find = |end: &[u8]| file.windows(end.len()).position(|window| window == end);
    let (head, body) = match (find(b"\r\n\r\n"), find(b"\n\n")) {
        (Some(place), other) if other.is_none_or(|other| place < other) => {
            (file.get(..place)?, file.get(place + 4..)?)
        }
        (_, Some(place)) => {
            let body = file.get(place + 2..)?;
            (file.get(..place)?, body.strip_suffix(b"\n").unwrap_or(body))
        }
        // A request without a body need not end with an empty line in a file.
        (_, None) => (file.trim_ascii_end(), &[][..]),
    };
    (!head.is_empty()).then(|| (String::from_utf8_lossy(head).into_owned(), body))
}

impl Gateway {
    /// Runs a request through the rules of the operation that it goes to, or of the one named (with
    /// its API, if several have one of that name: `orders.getOrder`).
    ///
    /// # Errors
    /// [`TrialError`]
    pub fn try_rules(
        &self,
        request: RawRequest,
        operation: Option<&str>,
    ) -> Result<Trial, TrialError> {
        let mut decision = begin(&request.head);
        let (mut parsed, host) = request::parse(&mut decision, request.head).map_err(refused)?;
        let found = route::find(self, &mut decision, &host, &parsed.method, &parsed.path)
            .ok()
            .filter(|routed| operation.is_none_or(|name| is_named(routed.plan(), name)));
        let plan = match (&found, operation) {
            (Some(routed), _) => Arc::clone(routed.plan()),
            (None, None) => return Err(TrialError::NoOperation),
            (None, Some(name)) => {
                let named = self.plans.iter().find(|plan| is_named(plan, name));
                Arc::clone(named.ok_or_else(|| TrialError::UnknownOperation(name.to_owned()))?)
            }
        };
        decision.findings.clear();
        decision.api = Some(Arc::clone(&plan.api.name));
        decision.operation = Some(Arc::clone(&plan.id));
        decision.mode = plan.mode;
        let Some(rules) = &plan.rules else {
            return Err(TrialError::Off(plan.id.to_string()));
        };
        // What breaks the description is another command's to tell; here it only proves nothing.
        let before = parsed.headers.clone();
        let mut proven = Vec::new();
        let mut spans = Vec::new();
        if let Some(routed) = &found {
            proven = proven_by(&mut decision, routed, &mut parsed);
            spans = inspect::described(&mut decision, &plan, &parsed.headers, &request.body)
                .unwrap_or_default();
        }
        parsed.headers = before;
        decision.findings.clear();
        decision.notes.clear();
        let described = plan.operation().map(|(_, operation)| operation);
        let mut run = Run::new(rules, Default::default(), &decision, OWN);
        let head = run.head(&mut decision, &parsed, Length::Known, described, &proven);
        finish(run, decision, head.is_ok(), &parsed, request.body, &spans)
    }
}

fn proven_by(decision: &mut Decision, routed: &Routed, request: &mut Request) -> Vec<u16> {
    inspect::parameters(decision, routed, request).unwrap_or_default()
}

/// Where a trial seems to have come to.
const OWN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// Runs a request through rules that belong to no operation.
///
/// # Errors
/// [`TrialError`]
pub fn try_rules(rules: &Rules, request: RawRequest) -> Result<Trial, TrialError> {
    let mut decision = begin(&request.head);
    let (parsed, _) = request::parse(&mut decision, request.head).map_err(refused)?;
    let mut run = Run::new(rules, Default::default(), &decision, OWN);
    let head = run.head(&mut decision, &parsed, Length::Known, None, &[]);
    finish(run, decision, head.is_ok(), &parsed, request.body, &[])
}

/// The rest, unless the head was refused already.
fn finish(
    mut run: Run,
    mut decision: Box<Decision>,
    goes_on: bool,
    request: &Request,
    body: Bytes,
    spans: &[(u32, u32)],
) -> Result<Trial, TrialError> {
    if goes_on {
        // The decision has it, whether it is a refusal or not.
        drop(run.body(&mut decision, request.query.as_deref(), body, spans));
    }
    run.end(&mut decision);
    Ok(Trial {
        decision,
        rules: run.rules.count(),
    })
}

/// Compiles the Core Rule Set of a directory, which belongs to no operation.
pub fn load(
    directory: &Path,
    paranoia: Option<u8>,
    sources: &mut Sources,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Rules> {
    let settings = WafSettings {
        paranoia,
        ..WafSettings::default()
    };
    let engine = RuleSets::at(directory.to_owned()).installed(&settings, sources, diagnostics)?;
    Some(Rules {
        engine,
        mode: Mode::Enforce,
        schema_aware: false,
        budget: Bounds::default().inspection,
    })
}

fn begin(head: &Head) -> Box<Decision> {
    let now = SystemClock.now();
    let id = RequestId::new(now, 0);
    let mut decision = Box::new(Decision::begin(id, now, Ipv4Addr::LOCALHOST.into()));
    decision.version = head.version;
    decision.host.push_str(&head.host);
    head.method.as_str().clone_into(&mut decision.method);
    decision
}

fn refused(denial: fortress_model::Denial) -> TrialError {
    TrialError::Refused {
        code: denial.reason.code(),
        detail: denial.detail,
    }
}

fn is_named(plan: &OperationPlan, name: &str) -> bool {
    *plan.id == *name
        || name
            .strip_prefix(&*plan.api.name)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|id| *plan.id == *id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, title: &str, body: &str) {
        let request = RawRequest::parse(file.as_bytes()).unwrap();
        assert_eq!(request.title(), title);
        assert_eq!(request.body, body);
    }

    #[test]
    fn a_file_is_a_request() {
        check("GET /a?b HTTP/1.1\n", "GET /a", "");
        check("GET /a HTTP/1.1\nHost: x\n\n", "GET /a", "");
        check("POST /a HTTP/1.1\n\nb=c\n", "POST /a", "b=c");
        check(
            "POST /a HTTP/1.1\r\nHost: x\r\n\r\nb=c\n",
            "POST /a",
            "b=c\n",
        );
        let cut = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nb=c";
        check(cut, "POST /a", "b=");
        for wrong in ["", "nonsense", "GET /a HTTP/1.1\nHost : x\n", "GET a\n"] {
            assert!(RawRequest::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        let chunked = "POST /a HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n";
        let wrong = RawRequest::parse(chunked.as_bytes()).unwrap_err();
        assert_eq!(wrong, TrialError::Coded("Transfer-Encoding"));
    }
}
