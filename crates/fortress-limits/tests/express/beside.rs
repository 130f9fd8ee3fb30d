//! The older forms of the headers, byte for byte beside express-rate-limit 8 on Node.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "says what was skipped; the environment says what must be there"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fortress_limits::headers::{Told, write};
use fortress_model::{clock::Timestamp, config::LimitHeaders};

const SERVER: &str = r"
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const app = express();
const windowMs = 90500;
for (const [path, legacyHeaders, standardHeaders] of [
  ['/draft-6', false, 'draft-6'], ['/draft-7', false, 'draft-7'], ['/legacy', true, false],
]) {
  app.use(path, rateLimit({ windowMs, limit: 3, legacyHeaders, standardHeaders }), (q, r) => r.end('x'));
}
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// Installs the package once, and starts the server.
fn server() -> Result<Server, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("express-rate-limit-8");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    if !folder
        .join("node_modules/express-rate-limit/package.json")
        .exists()
    {
        let install = Command::new("npm")
            .args([
                "install",
                "--no-audit",
                "--no-fund",
                "--prefix",
                ".",
                "express@5",
                "express-rate-limit@8",
            ])
            .current_dir(&folder)
            .output()
            .map_err(|error| format!("no npm: {error}"))?;
        if !install.status.success() {
            return Err(String::from_utf8_lossy(&install.stderr).into_owned());
        }
    }
    let mut child = Command::new("node")
        .args(["-e", SERVER])
        .current_dir(&folder)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("no node: {error}"))?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("no output")?;
    BufReader::new(output)
        .read_line(&mut line)
        .map_err(|error| error.to_string())?;
    let port = line
        .trim()
        .parse()
        .map_err(|_| format!("node said `{line}`"))?;
    Ok(Server { child, port })
}

/// The fields about limits in an answer, in its order, and its `Date`.
fn ask(server: &Server, path: &str) -> (u16, Vec<(String, String)>) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let fields = head.lines().skip(1).filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let name = name.to_ascii_lowercase();
        let is_ours = name.contains("ratelimit") || name == "retry-after";
        is_ours.then(|| (name, value.to_owned()))
    });
    (status, fields.collect())
}

#[test]
fn older_forms_are_what_express_rate_limit_sends() {
    let server = match server() {
        Ok(server) => server,
        Err(why) => {
            let required = std::env::var("FORTRESS_REQUIRE_ALL").as_deref() == Ok("1");
            assert!(!required, "{why}");
            println!("skipped: {why}");
            return;
        }
    };
    for (path, form) in [
        ("/draft-6", LimitHeaders::Draft6),
        ("/draft-7", LimitHeaders::Draft7),
        ("/legacy", LimitHeaders::Legacy),
    ] {
        for request in 1..=5_u64 {
            let (status, theirs) = ask(&server, path);
            assert_eq!(status, if request > 3 { 429 } else { 200 });
            // What time it is there, and so how long is left, only their answer says.
            let (reset, now) = reset_of(form, &theirs);
            let told = Told {
                name: "unnamed",
                quota: 3,
                window: Some(Duration::from_millis(90_500)),
                remaining: 3_u64.saturating_sub(request),
                reset,
            };
            let mut ours = Vec::new();
            write(form, &[told], now, &mut String::new(), |name, value| {
                ours.push((name.to_owned(), value.to_owned()));
            });
            if status == 429 {
                let wait = fortress_limits::headers::retry_after(if form == LimitHeaders::Legacy {
                    retry_of(&theirs)
                } else {
                    reset
                });
                ours.push(("retry-after".to_owned(), wait.to_string()));
            }
            assert_eq!(ours, theirs, "{path} {request}");
        }
    }
}

/// From the field that only a clock explains: how long is left, and what the time is.
fn reset_of(form: LimitHeaders, fields: &[(String, String)]) -> (Duration, Timestamp) {
    let value = |name: &str| {
        fields
            .iter()
            .find(|(known, _)| known == name)
            .unwrap()
            .1
            .clone()
    };
    let number = if form == LimitHeaders::Draft6 {
        value("ratelimit-reset")
    } else if form == LimitHeaders::Draft7 {
        value("ratelimit").rsplit('=').next().unwrap().to_owned()
    } else {
        value("x-ratelimit-reset")
    };
    let number: u64 = number.parse().unwrap();
    if form == LimitHeaders::Legacy {
        assert!(number > 1_700_000_000, "{number}");
        return (
            Duration::from_secs(90),
            Timestamp((number - 90) * 1_000_000_000),
        );
    }
    assert!((85..=91).contains(&number), "{number}");
    (Duration::from_secs(number), Timestamp(0))
}

fn retry_of(fields: &[(String, String)]) -> Duration {
    let found = fields.iter().find(|(name, _)| name == "retry-after");
    let seconds: u64 = found.unwrap().1.parse().unwrap();
    assert!((85..=91).contains(&seconds), "{seconds}");
    Duration::from_secs(seconds)
}
