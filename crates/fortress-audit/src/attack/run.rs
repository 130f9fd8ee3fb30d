//! Sends a plan and judges the answers: several at a time, at a bounded rate, each once. Valid
//! requests, attacks, series and valid requests again come one part after the other, and from
//! addresses of their own where there are several.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fortress_model::{Reason, config::ResponseUndeclared};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    Attack, By, Judge, Kind, Message, Plan, Request, Source, Sources,
    send::{Answer, Failure, Target, Watch, send},
};

/// How fast.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Connections at a time.
    pub at_once: usize,
    /// Requests a second, at most.
    pub rate: u32,
    /// What is not sent by then is not sent.
    pub time: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            at_once: 8,
            rate: 500,
            time: Duration::from_secs(600),
        }
    }
}

/// How an attack ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// As it should be: refused, without effect, or, of a valid request, answered.
    Stopped,
    /// It got through, or a valid request was not answered; in a few words.
    Through(String),
    /// A valid request was told to come back: a limit or a defence remembers what was sent before.
    Held(String),
    /// It was not sent: nothing listens, or the time was up.
    Unsent,
}

/// Sends a plan in its order, and calls `progress` for each that is done. The verdicts are in the
/// same order.
pub async fn run(
    plan: &Plan,
    (target, sources): (&Target, Sources),
    pace: Pace,
    progress: Arc<dyn Fn() + Send + Sync>,
) -> Vec<Verdict> {
    let mut ticker = interval(Duration::from_secs(1) / pace.rate.max(1));
    ticker.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let ticker = Arc::new(Mutex::new(ticker));
    let deadline = Instant::now() + pace.time;
    let mut all = vec![Verdict::Unsent; plan.all.len()];
    let ends = [plan.valid, plan.valid + plan.attacks(), plan.all.len()];
    let mut begin = 0;
    for (end, number) in ends.into_iter().zip(0..) {
        let next = Arc::new(AtomicUsize::new(begin));
        begin = end;
        let mut workers = JoinSet::new();
        for _ in 0..pace.at_once.max(1) {
            let attacks = Arc::clone(&plan.all);
            let target = target.from(sources.source(number));
            let (ticker, next, progress) = (
                Arc::clone(&ticker),
                Arc::clone(&next),
                Arc::clone(&progress),
            );
            workers.spawn(async move {
                let mut verdicts = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(attack) = attacks.get(..end).and_then(|part| part.get(index)) else {
                        return verdicts;
                    };
                    if Instant::now() < deadline {
                        ticker.lock().await.tick().await;
                        let own = Own {
                            sources,
                            before: end - index,
                        };
                        verdicts.push((index, attempt(attack, &target, own).await));
                    }
                    progress();
                }
            });
        }
        while let Some(ended) = workers.join_next().await {
            for (index, verdict) in ended.unwrap_or_default() {
                if let Some(place) = all.get_mut(index) {
                    *place = verdict;
                }
            }
        }
    }
    all
}

/// Addresses of a series's own: what one is remembered for is not the other's.
#[derive(Clone, Copy)]
struct Own {
    sources: Sources,
    /// Places before the end of its part; the series are the last of theirs.
    before: usize,
}

impl Own {
    /// The address of one of its requests.
    fn source(self, by: By, number: usize) -> Source {
        /// More than a series has requests, and more than there are parts.
        const EACH: usize = 128;
        let number = match by {
            By::One => 0,
            By::Many => number,
        };
        let number = self.before.saturating_mul(EACH).saturating_add(number);
        self.sources
            .source(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

async fn attempt(attack: &Attack, target: &Target, own: Own) -> Verdict {
    let (watch, bytes) = match &attack.message {
        Message::Raw(_) => (Watch::Second, attack.message.encode(&target.host)),
        Message::Request(request) => (Watch::First, target.encode(request)),
    };
    if let Judge::Slowed { series, by } = &attack.judge {
        let walks = attack.kind == Kind::ObjectWalked;
        let source = |number| own.source(*by, number);
        return slowed(series, target, source, walks).await;
    }
    let mut answer = send(target, &bytes, watch).await;
    if let (Judge::Answered, Some(wait)) = (&attack.judge, told_to_wait(&answer))
        && wait <= PATIENCE
    {
        // As whoever means well does.
        tokio::time::sleep(wait).await;
        answer = send(target, &bytes, watch).await;
    }
    if answer.failure == Some(Failure::Unreachable) {
        return Verdict::Unsent;
    }
    match &attack.judge {
        Judge::Refused => refused(&answer),
        Judge::NoEffect { plain, canary } => {
            if refused(&answer) == Verdict::Stopped {
                return Verdict::Stopped;
            }
            let plain = send(target, &target.encode(plain), Watch::First).await;
            if plain.status == Some(429) {
                // Whoever is made to wait meanwhile cannot compare.
                return Verdict::Unsent;
            }
            no_effect(&answer, &plain, canary.as_deref())
        }
        Judge::NoLeak { description, index } => no_leak(&answer, description, *index),
        // Sent above, one after the other.
        Judge::Slowed { .. } => Verdict::Unsent,
        Judge::Answered => answered(&answer),
    }
}

/// Sends a series until somebody makes its sender wait. Whoever walks through ids and gets each of them,
/// also those that nobody has, learns nothing by it.
async fn slowed(
    series: &[Request],
    target: &Target,
    source: impl Fn(usize) -> Source,
    walks: bool,
) -> Verdict {
    let mut learns = !walks;
    for (number, request) in series.iter().enumerate() {
        let target = target.from(source(number));
        let answer = send(&target, &target.encode(request), Watch::First).await;
        match (answer.status, answer.failure) {
            (_, Some(Failure::Unreachable)) => return Verdict::Unsent,
            (Some(429), _) | (None, Some(Failure::Closed)) => return Verdict::Stopped,
            (Some(status), _) => learns |= !(200..300).contains(&status),
            (None, _) => {}
        }
    }
    if !learns {
        return Verdict::Stopped;
    }
    Verdict::Through(format!("answered all {}", series.len()))
}

fn refused(answer: &Answer) -> Verdict {
    if answer.second {
        return Verdict::Through(String::from("read as two requests"));
    }
    match (answer.status, answer.failure) {
        (Some(400..=499 | 501 | 505), _) | (None, Some(Failure::Closed)) => Verdict::Stopped,
        (Some(status), _) => Verdict::Through(format!("answered {status}")),
        (None, Some(Failure::Silent)) => Verdict::Through(String::from("accepted, then silent")),
        (None, Some(Failure::Garbled | Failure::Unreachable) | None) => {
            Verdict::Through(String::from("answered with something that is not HTTP"))
        }
    }
}

fn no_effect(answer: &Answer, plain: &Answer, canary: Option<&str>) -> Verdict {
    let seen = canary.is_some_and(|canary| {
        let in_headers = answer
            .headers
            .iter()
            .any(|(_, value)| value.contains(canary));
        in_headers || String::from_utf8_lossy(&answer.body).contains(canary)
    });
    if seen {
        Verdict::Through(String::from("the upstream saw it"))
    } else if answer.status != plain.status {
        let status = |answer: &Answer| {
            answer
                .status
                .map_or(String::from("nothing"), |status| status.to_string())
        };
        Verdict::Through(format!(
            "answered {} instead of {}",
            status(answer),
            status(plain)
        ))
    } else if shape(answer) != shape(plain) {
        Verdict::Through(String::from("answered with something else"))
    } else {
        Verdict::Stopped
    }
}

/// What kind of thing an answer is: its keys, if it is an object.
fn shape(answer: &Answer) -> String {
    match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(members)) => members.keys().cloned().collect::<Vec<_>>().join(" "),
        Ok(Value::Array(_)) => String::from("[]"),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) | Err(_) => {
            String::new()
        }
    }
}

fn no_leak(answer: &Answer, description: &fortress_spec::ApiDescription, index: usize) -> Verdict {
    let (Some(status), Some(operation)) = (answer.status, description.operations.get(index)) else {
        return Verdict::Stopped;
    };
    if refusal(answer).is_some() {
        return Verdict::Stopped;
    }
    let mut found = Vec::new();
    let outcome = operation.check_response(
        &description.schemas,
        status,
        answer.header("content-type").map(str::as_bytes),
        &answer.body,
        ResponseUndeclared::Drop,
        &mut found,
    );
    match outcome {
        fortress_spec::ResponseOutcome::Trimmed { dropped, .. } => Verdict::Through(format!(
            "answered {status} with undeclared {}",
            dropped.join(", ")
        )),
        fortress_spec::ResponseOutcome::Unchanged
        | fortress_spec::ResponseOutcome::NotChecked(_) => Verdict::Stopped,
    }
}

/// Whether the API itself answered. What it says is its own affair: an example's id may not exist.
fn answered(answer: &Answer) -> Verdict {
    match (answer.status, refusal(answer)) {
        (Some(429), Some(code)) if let Some(wait) = told_to_wait(answer) => {
            Verdict::Held(format!("refused 429 {code}, retry in {} s", wait.as_secs()))
        }
        (Some(status), Some(code)) => Verdict::Through(format!("refused {status} {code}")),
        (Some(status), None) if status < 500 => Verdict::Stopped,
        (Some(status), None) => Verdict::Through(format!("failed {status}")),
        (None, _) => Verdict::Through(String::from("not answered")),
    }
}

/// How long the sender of a valid request waits to send it once more.
const PATIENCE: Duration = Duration::from_secs(5);

/// When whoever came too often or too early may come again.
fn told_to_wait(answer: &Answer) -> Option<Duration> {
    let seconds = answer
        .header("retry-after")
        .filter(|_| answer.status == Some(429))?;
    seconds.parse().ok().map(Duration::from_secs)
}

/// The code of Fortress's own problem, if that is what the answer is.
fn refusal(answer: &Answer) -> Option<&'static str> {
    let kind = answer.header("content-type")?;
    if !kind.starts_with("application/problem+json") {
        return None;
    }
    let problem: Value = serde_json::from_slice(&answer.body).ok()?;
    let code = problem.get("code")?.as_str()?;
    // That an account was not let in is the API's own answer, in Fortress's words.
    let refusals = Reason::ALL.iter();
    let refusals = refusals.filter(|reason| **reason != Reason::LoginRejected);
    let known = refusals.map(|reason| reason.code());
    known.into_iter().find(|known| *known == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, kind: &str, body: &str) -> Answer {
        Answer {
            status: Some(status),
            headers: vec![("content-type".into(), kind.into())],
            body: body.as_bytes().to_vec(),
            ..Answer::default()
        }
    }

    #[test]
    fn only_a_refusal_stops() {
        for status in [400, 401, 404, 413, 431, 501, 505] {
            assert_eq!(
                refused(&answer(status, "", "")),
                Verdict::Stopped,
                "{status}"
            );
        }
        for status in [200, 204, 302, 500, 502] {
            assert_ne!(
                refused(&answer(status, "", "")),
                Verdict::Stopped,
                "{status}"
            );
        }
        let two = Answer {
            second: true,
            ..answer(400, "", "")
        };
        assert_ne!(refused(&two), Verdict::Stopped);
        let closed = Answer {
            failure: Some(Failure::Closed),
            ..Answer::default()
        };
        assert_eq!(refused(&closed), Verdict::Stopped);
        let silent = Answer {
            failure: Some(Failure::Silent),
            ..Answer::default()
        };
        assert_ne!(refused(&silent), Verdict::Stopped);
    }

    #[test]
    fn an_effect_is_another_status_another_shape_or_the_canary() {
        let plain = answer(200, "", "{\"a\":1}");
        assert_eq!(
            no_effect(&answer(200, "", "{\"a\":2}"), &plain, Some("canary")),
            Verdict::Stopped
        );
        assert_ne!(
            no_effect(&answer(204, "", ""), &plain, None),
            Verdict::Stopped
        );
        assert_ne!(
            no_effect(&answer(200, "", "{\"b\":1}"), &plain, None),
            Verdict::Stopped
        );
        assert_ne!(
            no_effect(
                &answer(200, "", "{\"a\":\"canary\"}"),
                &plain,
                Some("canary")
            ),
            Verdict::Stopped
        );
    }

    #[test]
    fn whoever_is_told_to_come_back_is_held_and_not_refused_for_good() {
        let mut answer = answer(
            429,
            "application/problem+json",
            "{\"code\":\"object.enumeration\"}",
        );
        assert!(matches!(answered(&answer), Verdict::Through(_)));
        answer.headers.push(("retry-after".into(), "540".into()));
        let held = "refused 429 object.enumeration, retry in 540 s";
        assert_eq!(answered(&answer), Verdict::Held(held.into()));
        answer.status = Some(403);
        assert!(matches!(answered(&answer), Verdict::Through(_)));
    }

    #[test]
    fn a_refusal_of_the_gateway_is_no_answer() {
        let kind = "application/problem+json";
        assert_eq!(
            answered(&answer(404, kind, "{\"title\":\"no such order\"}")),
            Verdict::Stopped
        );
        assert_ne!(
            answered(&answer(404, kind, "{\"code\":\"route.unknown\"}")),
            Verdict::Stopped
        );
        assert_ne!(answered(&answer(502, "text/html", "")), Verdict::Stopped);
    }
}
