//! What an upstream's answer says that an attempt was.
//!
//! Deliberately not here: what follows from it.

use fortress_limits::defence::Attempt;
use fortress_model::config::Sign;
use fortress_spec::json;
use http::{HeaderMap, StatusCode};

use crate::guard::body_value::Body;

/// How failures and successes look.
#[derive(Debug)]
pub(crate) struct Answers {
    failure: Box<[Sign]>,
    success: Box<[Sign]>,
}

/// What an answer's head says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// All that there is to know.
    Known(Attempt),
    /// It stands in the body.
    InTheBody,
}

/// Answers that say nothing of the password: too early, too large, of a wrong kind, too many.
const NEITHER: &[u16] = &[408, 409, 413, 415, 429];

impl Answers {
    pub(crate) fn new(failure: &[Sign], success: &[Sign]) -> Self {
        Self {
            failure: failure.into(),
            success: success.into(),
        }
    }

    /// What the head alone says.
    pub(crate) fn head(&self, status: StatusCode, headers: &HeaderMap) -> Verdict {
        let in_body = |sign: &Sign| matches!(sign, Sign::Body(..));
        if self
            .failure
            .iter()
            .any(|sign| seen(sign, status, headers, None))
        {
            return Verdict::Known(Attempt::Failed);
        }
        if self.failure.iter().chain(&self.success).any(in_body) {
            return Verdict::InTheBody;
        }
        Verdict::Known(self.whole(status, headers, Some(&[])))
    }

    /// What the whole answer says. A body that nobody could read is no success where the body is
    /// what tells.
    pub(crate) fn whole(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Attempt {
        let limits = json::Limits {
            depth: 32,
            properties: 10_000,
            items: 10_000,
        };
        let read = body.map(|body| Body::read(headers, body, &limits));
        let any = |signs: &[Sign]| {
            let mut signs = signs.iter();
            signs.any(|sign| seen(sign, status, headers, read.as_ref()))
        };
        if any(&self.failure) {
            return Attempt::Failed;
        }
        let is_good = status.is_success() || status.is_redirection();
        let in_body = |sign: &Sign| matches!(sign, Sign::Body(..));
        let is_read = matches!(read, Some(Body::Json(..) | Body::Form(_)));
        if !is_read && is_good && self.failure.iter().chain(&self.success).any(in_body) {
            return Attempt::Failed;
        }
        if any(&self.success) || (self.success.is_empty() && is_good) {
            return Attempt::Succeeded;
        }
        let by_default = self.failure.is_empty()
            && status.is_client_error()
            && !NEITHER.contains(&status.as_u16());
        // Where success has a sign, what lacks it and was no failure of the server is a failure.
        let lacks = !self.success.is_empty() && is_good;
        if by_default || lacks {
            Attempt::Failed
        } else {
            Attempt::Unjudged
        }
    }
}

fn seen(sign: &Sign, status: StatusCode, headers: &HeaderMap, body: Option<&Body<'_>>) -> bool {
    match sign {
        Sign::Status(low, high) => (*low..=*high).contains(&status.as_u16()),
        Sign::Header(name, value) => {
            let mut values = headers.get_all(&**name).iter();
            values.any(|found| {
                value
                    .as_deref()
                    .is_none_or(|value| found.as_bytes() == value.as_bytes())
            })
        }
        Sign::Body(path, value) => body.and_then(|body| body.part(path)).is_some_and(|found| {
            value
                .as_deref()
                .is_none_or(|value| *found == *value.as_bytes())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderValue, header};

    fn answers(failure: &[Sign], success: &[Sign]) -> Answers {
        Answers::new(failure, success)
    }

    #[track_caller]
    fn check(answers: &Answers, status: u16, body: &str, expect: Attempt) {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let status = StatusCode::from_u16(status).unwrap();
        let was = match answers.head(status, &headers) {
            Verdict::Known(was) => was,
            Verdict::InTheBody => answers.whole(status, &headers, Some(body.as_bytes())),
        };
        assert_eq!(was, expect, "{status} {body}");
    }

    #[test]
    fn by_default_a_client_error_is_a_failure() {
        let plain = answers(&[], &[]);
        check(&plain, 200, "", Attempt::Succeeded);
        check(&plain, 302, "", Attempt::Succeeded);
        for status in [400, 401, 403, 404, 422] {
            check(&plain, status, "", Attempt::Failed);
        }
        for status in [408, 409, 429, 500, 503] {
            check(&plain, status, "", Attempt::Unjudged);
        }
    }

    #[test]
    fn by_statuses_as_written() {
        let written = answers(&[Sign::Status(401, 401)], &[]);
        check(&written, 401, "", Attempt::Failed);
        check(&written, 200, "", Attempt::Succeeded);
        check(&written, 400, "", Attempt::Unjudged);
    }

    #[test]
    fn by_the_body_of_those_who_always_answer_200() {
        let marker = answers(&[Sign::Body("ok".into(), Some("false".into()))], &[]);
        check(&marker, 200, r#"{"ok":false}"#, Attempt::Failed);
        check(&marker, 200, r#"{"ok":true}"#, Attempt::Succeeded);
        check(&marker, 200, "<html>", Attempt::Failed);
        check(&marker, 503, "", Attempt::Unjudged);
        let token = answers(&[], &[Sign::Body("token".into(), None)]);
        check(&token, 200, r#"{"token":"x"}"#, Attempt::Succeeded);
        check(&token, 200, r#"{"error":"x"}"#, Attempt::Failed);
        let status = StatusCode::OK;
        let streamed = marker.whole(status, &HeaderMap::new(), None);
        assert_eq!(streamed, Attempt::Failed);
    }

    #[test]
    fn by_a_header() {
        let answers = answers(&[Sign::Header("x-failed".into(), None)], &[]);
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| answers.head(StatusCode::OK, headers);
        assert_eq!(of(&headers), Verdict::Known(Attempt::Succeeded));
        headers.insert("x-failed", HeaderValue::from_static("1"));
        assert_eq!(of(&headers), Verdict::Known(Attempt::Failed));
    }
}
