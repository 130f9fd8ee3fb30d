//! Runs `cases/*.md`: prose with fenced blocks for configuration, description, request, and what is
//! to be decided.
//!
//! ```yaml config``` and ```yaml description``` hold until the next one of their kind;
//! ```conf NAME``` is a file of rules beside the configuration, from the next of these on; ```text keys```
//! makes a store (`STORE` in the configuration is its folder) with API keys, one a line: a name, and
//! what it is bound to (`{{key NAME}}` in a request is its text); `revoke NAME` ends a subject's tokens;
//! ```http response``` is what the upstream answers from then on; ```http request``` is sent, and
//! the ```text expect``` after it says what must come of it (`closed` in the first line: no answer, and
//! the journal says why). In a request marked `raw`, line ends
//! of the file do not count, and `\r \n \t \\ \xHH` are bytes.

use std::{fs, path::Path};

use fortress_auth::api_key::Label;
use fortress_model::Timestamp;

use super::{
    api_keys::Place,
    signers,
    support::{EMPTY, Gateway, Received, Response, Tokens, Upstream, send},
};

#[test]
fn every_case_is_decided_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cases");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let runs: Vec<_> = files
        .into_iter()
        .map(|file| std::thread::spawn(move || run_file(&file)))
        .collect();
    let mut ran = 0;
    let mut wrong = Vec::new();
    for run in runs {
        let (count, found) = run.join().unwrap();
        ran += count;
        wrong.extend(found);
    }
    assert!(ran > 0, "no cases in {}", folder.display());
    assert!(
        wrong.is_empty(),
        "{} faults in {ran} cases:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// How many expectations a file holds, and those that were not met.
fn run_file(file: &Path) -> (usize, Vec<String>) {
    let text = fs::read_to_string(file).unwrap();
    let (mut ran, mut wrong, mut run) = (0, Vec::new(), Run::new());
    for block in blocks(&text) {
        let place = format!("{}:{}", file.file_name().unwrap().display(), block.line);
        match block.info.as_str() {
            "yaml config" => run.set_config(&block.text),
            "yaml description" => run.set_description(&block.text),
            "http response" => run.response = response(&block.text),
            "http request" => {
                let text = run.with_keys(&block.text);
                run.request(request(&text));
            }
            "text keys" => run.set_keys(&block.text),
            "http request raw" => run.request(unescape(&block.text.replace('\n', ""))),
            "text expect" => {
                ran += 1;
                let found = run.expect(&block.text);
                wrong.extend(
                    found
                        .into_iter()
                        .map(|why| format!("{place}: {}: {why}", block.title)),
                );
            }
            other if other.starts_with("conf ") => {
                run.set_file(other.trim_start_matches("conf "), &block.text);
            }
            other => wrong.push(format!(
                "{place}: a fence that the harness does not know: `{other}`"
            )),
        }
    }
    (ran, wrong)
}

struct Block {
    title: String,
    info: String,
    line: usize,
    text: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut title = String::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, Some(info)) => {
                let (title, info) = (title.clone(), info.trim().to_owned());
                open = Some(Block {
                    title,
                    info,
                    line: index + 1,
                    text: String::new(),
                });
            }
            (None, None) => {
                if let Some(heading) = line.strip_prefix('#') {
                    title = heading.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

struct Run {
    upstream: Upstream,
    config: String,
    description: String,
    files: Vec<(String, String)>,
    response: Vec<u8>,
    gateway: Option<Gateway>,
    keys: Option<(Place, Vec<(String, String)>)>,
    sent: Option<(Vec<Response>, Vec<Received>)>,
}

const CONFIG: &str = r"
version: 1
listen: [{ address: 127.0.0.1:0 }]
apis:
  test: { spec: openapi.yaml, upstream: UPSTREAM }
identity:
  idp: { issuer: https://idp.test, audience: test, jwks: file:jwks.json }
";

impl Run {
    fn new() -> Self {
        Self {
            upstream: Upstream::start(),
            config: CONFIG.into(),
            description: String::new(),
            files: Vec::new(),
            response: EMPTY.to_vec(),
            gateway: None,
            keys: None,
            sent: None,
        }
    }

    /// `acme role=admin scope=a operation=listOrders address=10.0.0.0/8 expired revoked`
    fn set_keys(&mut self, text: &str) {
        let place = Place::new();
        let mut made = Vec::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let name = words.next().unwrap();
            if name == "revoke" {
                place.revoke(words.next().unwrap());
                continue;
            }
            let (_, key) = place.key(name, |record| {
                let label = |name: &str| vec![Label::new(name).unwrap()];
                for word in words {
                    match word.split_once('=') {
                        Some(("role", role)) => record.access.roles = label(role),
                        Some(("scope", scope)) => record.access.scopes = label(scope),
                        Some(("operation", name)) => record.access.operations = label(name),
                        Some(("address", network)) => {
                            record.access.addresses = vec![network.parse().unwrap()];
                        }
                        None if word == "expired" => record.expires = Some(Timestamp(1)),
                        None if word == "revoked" => record.revoked = Some(Timestamp(1)),
                        other => panic!("unknown wish {other:?}"),
                    }
                }
            });
            made.push((name.to_owned(), key));
        }
        self.keys = Some((place, made));
        self.gateway = None;
    }

    /// A request's text with its keys put in.
    fn with_keys(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, key) in self.keys.iter().flat_map(|(_, keys)| keys) {
            text = text.replace(&format!("{{{{key {name}}}}}"), key);
        }
        text
    }

    fn set_config(&mut self, text: &str) {
        text.clone_into(&mut self.config);
        self.gateway = None;
    }

    fn set_description(&mut self, text: &str) {
        text.clone_into(&mut self.description);
        self.gateway = None;
    }

    fn set_file(&mut self, name: &str, text: &str) {
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.to_owned(), text.to_owned()));
        self.gateway = None;
    }

    fn request(&mut self, bytes: Vec<u8>) {
        let origin = format!("http://{}", self.upstream.address);
        let gateway = self.gateway.get_or_insert_with(|| {
            let mut config = self.config.replace("UPSTREAM", &origin);
            if let Some((place, _)) = &self.keys {
                config = config.replace("STORE", &place.path().display().to_string());
            }
            let config = format!("{config}\njournal: [{{ file: journal.ndjson }}]\n");
            let mut files = vec![
                ("fortress.yaml", config.as_str()),
                ("openapi.yaml", &self.description),
            ];
            let more = self.files.iter();
            files.extend(more.map(|(name, text)| (name.as_str(), text.as_str())));
            Gateway::start(&files)
        });
        self.upstream.answers(&self.response);
        let responses = send(gateway.addresses[0], &bytes);
        self.sent = Some((responses, self.upstream.received()));
    }

    fn expect(&mut self, text: &str) -> Vec<String> {
        let Some((responses, received)) = self.sent.take() else {
            return vec!["nothing was sent".into()];
        };
        let gateway = self.gateway.as_ref().unwrap();
        if let Some(lines) = text.strip_prefix("closed\n") {
            return closed(lines, &responses, &received, gateway);
        }
        let [response] = responses.as_slice() else {
            return vec![format!("{} responses: {responses:?}", responses.len())];
        };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let mut wrong: Vec<String> = lines
            .filter_map(|line| {
                fault(line, response, &received, gateway).map(|why| format!("`{line}`, but {why}"))
            })
            .collect();
        if !wrong.is_empty() {
            wrong.push(format!(
                "the answer was {} {}",
                response.head,
                String::from_utf8_lossy(&response.body)
            ));
        }
        wrong
    }
}

/// What is wrong where a connection is to end without an answer. The journal has no request to
/// look for: what it is to say must stand in a record of its own.
fn closed(
    lines: &str,
    responses: &[Response],
    received: &[Received],
    gateway: &Gateway,
) -> Vec<String> {
    if !responses.is_empty() || !received.is_empty() {
        return vec![format!("{responses:?}, and the upstream got {received:?}")];
    }
    let says = |line: &&str| {
        gateway
            .event(line.trim_start_matches("journal "))
            .is_object()
    };
    assert!(lines.lines().all(|line| line.starts_with("journal ")));
    assert!(lines.lines().filter(says).count() > 0);
    Vec::new()
}

/// What is wrong with a line of expectations, if anything.
fn fault(
    line: &str,
    response: &Response,
    received: &[Received],
    gateway: &Gateway,
) -> Option<String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let body = || String::from_utf8_lossy(&response.body).into_owned();
    match word {
        "status" => (response.status.to_string() != rest).then(|| response.status.to_string()),
        "code" => {
            (response.code().as_deref() != Some(rest)).then(|| format!("{:?}", response.code()))
        }
        "header" => {
            let (name, value) = rest.split_once(": ").unwrap();
            (response.header(name) != Some(value)).then(|| format!("{:?}", response.header(name)))
        }
        "header-has" => {
            let (name, part) = rest.split_once(": ").unwrap();
            let found = response.header(name);
            let has = found.is_some_and(|value| value.contains(part));
            (!has).then(|| format!("{found:?}"))
        }
        "no-header" => response
            .header(rest)
            .map(|value| format!("it is `{value}`")),
        "body" => (body() != rest).then(body),
        "body-has" => (!body().contains(rest)).then(body),
        "body-lacks" => body().contains(rest).then(body),
        word if word.starts_with("upstream") => upstream_fault(word, rest, received),
        "journal" => {
            let event = gateway
                .event(response.header("x-request-id").unwrap_or_default())
                .to_string();
            (!event.contains(rest)).then_some(event)
        }
        "journal-lacks" => {
            let event = gateway
                .event(response.header("x-request-id").unwrap_or_default())
                .to_string();
            event.contains(rest).then_some(event)
        }
        other => Some(format!("the harness does not know `{other}`")),
    }
}

/// The same for what the upstream got.
fn upstream_fault(word: &str, rest: &str, received: &[Received]) -> Option<String> {
    match word {
        "upstream" => {
            let count = match rest {
                "none" => 0,
                "one" => 1,
                other => panic!("upstream none | one, not {other}"),
            };
            (received.len() != count).then(|| format!("it got {}", received.len()))
        }
        "upstream-line" => {
            let line = received
                .first()
                .and_then(|request| request.head.lines().next())
                .unwrap_or_default();
            (line != rest).then(|| line.to_owned())
        }
        "upstream-header" => {
            let (name, value) = rest.split_once(": ").unwrap();
            let found = received.first().and_then(|request| request.header(name));
            (found != Some(value)).then(|| format!("{found:?}"))
        }
        "upstream-has" => {
            let (name, part) = rest.split_once(": ").unwrap();
            let found = received.first().and_then(|request| request.header(name));
            let has = found.is_some_and(|value| value.starts_with(part));
            (!has).then(|| format!("{found:?}"))
        }
        "upstream-lacks" => {
            let found = received.first().and_then(|request| request.header(rest));
            found.map(|value| format!("it is `{value}`"))
        }
        "upstream-body" => {
            let found = received
                .first()
                .map(|request| String::from_utf8_lossy(&request.body).into_owned());
            (found.as_deref() != Some(rest)).then(|| format!("{found:?}"))
        }
        other => Some(format!("the harness does not know `{other}`")),
    }
}

/// Lines become CRLF lines; `{{token …}}` becomes a token, `{{sign …}}`, `{{stripe …}}`, `{{session …}}`
/// and `{{certificate …}}` what `signers` makes; a body gets its length.
fn request(text: &str) -> Vec<u8> {
    let text = tokens(text);
    let (head, body) = text
        .split_once("\n\n")
        .unwrap_or((text.trim_end_matches('\n'), ""));
    let body = body.strip_suffix('\n').unwrap_or(body);
    let lower = head.to_ascii_lowercase();
    let mut out = head.replace('\n', "\r\n");
    if !lower.contains("\nhost:") {
        out.push_str("\r\nHost: api.test");
    }
    if !body.is_empty()
        && !lower.contains("\ncontent-length:")
        && !lower.contains("\ntransfer-encoding:")
    {
        out.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    out.push_str("\r\n\r\n");
    out.push_str(body);
    out.into_bytes()
}

fn response(text: &str) -> Vec<u8> {
    let text = tokens(text);
    let (head, body) = text
        .split_once("\n\n")
        .unwrap_or((text.trim_end_matches('\n'), ""));
    let body = body.strip_suffix('\n').unwrap_or(body);
    let mut out = head.replace('\n', "\r\n");
    if !head.to_ascii_lowercase().contains("\ncontent-length:") {
        out.push_str(&format!("\r\nContent-Length: {}", body.len()));
    }
    out.push_str("\r\n\r\n");
    out.push_str(body);
    out.into_bytes()
}

fn tokens(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (wish, after) = after.split_once("}}").unwrap();
        out.push_str(before);
        match wish.split_once(' ') {
            Some(("repeat", what)) => {
                let (count, what) = what.split_once(' ').unwrap();
                out.push_str(&what.repeat(count.parse().unwrap()));
            }
            Some(("sign", wish)) => out.push_str(&signers::sign(wish.trim_end())),
            Some(("stripe", wish)) => out.push_str(&signers::stripe(wish.trim_end())),
            Some(("session", wish)) => out.push_str(&signers::session(wish)),
            Some(("certificate", uri)) => out.push_str(&signers::certificate(uri)),
            _ => out.push_str(&Tokens::shared().make(wish.strip_prefix("token").unwrap())),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

fn unescape(text: &str) -> Vec<u8> {
    let text = tokens(text);
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next().unwrap() {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'\\' => out.push(b'\\'),
            b'x' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            }
            other => panic!("unknown escape {other}"),
        }
    }
    out
}
