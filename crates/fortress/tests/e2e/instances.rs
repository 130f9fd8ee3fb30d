//! Instances of the real program that share one configuration, and a client that counts what passes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use crate::program::{Place, Program};

/// One instance.
pub(crate) struct Instance {
    pub(crate) program: Program,
    pub(crate) place: Place,
    pub(crate) address: SocketAddr,
    operations: SocketAddr,
}

/// What every configuration here begins with; `UPSTREAM` is filled in.
pub(crate) const LISTEN: &str = "version: 1
listen: [{ address: 127.0.0.1:0 }, { address: 127.0.0.1:0, serve: operations }]
journal: [{ file: journal.ndjson }]
";

impl Instance {
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_in(Place::new(), configuration, |_| {})
    }

    pub(crate) fn start_in(
        place: Place,
        configuration: &str,
        set: impl FnOnce(&mut Command),
    ) -> Self {
        place.write("fortress.yaml", configuration);
        let mut command = place.command(&["run"]);
        set(&mut command);
        let program = Program::spawn(command);
        let ready = program.line(|line| line.contains(" ready: "));
        let find = |scheme: &str| -> SocketAddr {
            let words: Vec<&str> = ready.split([' ', ',', ';']).collect();
            let at = words.iter().position(|word| *word == scheme).expect(scheme);
            words[at + 1].parse().expect("an address")
        };
        Self {
            address: find("http"),
            operations: find("operations"),
            program,
            place,
        }
    }

    /// Starts again, after it ended, where it was.
    pub(crate) fn again(self, configuration: &str) -> Self {
        let Self { place, program, .. } = self;
        drop(program);
        Self::start_in(place, configuration, |_| {})
    }

    /// The sum of a metric's samples whose labels have all of these.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let text = Client::to(self.operations).get("/metrics", "").body;
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
                && labels.iter().all(|label| line.contains(label))
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .map(|value| format!("{value:.0}").parse::<u64>().expect("a count"))
            .sum()
    }

    pub(crate) fn journal(&self) -> String {
        std::fs::read_to_string(self.place.work().join("journal.ndjson")).unwrap_or_default()
    }

    /// Calls to Redis so far.
    pub(crate) fn calls(&self) -> u64 {
        self.metric("fortress_redis_calls_total", &["answered"])
    }
}

/// A client with one connection, which it opens anew when that ends.
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

/// An answer, and how long it took.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// `who` is what `X-Client` says.
    pub(crate) fn get(&mut self, path: &str, who: &str) -> Answer {
        self.try_get(path, who).expect("answered")
    }

    /// `None` where the instance is gone.
    pub(crate) fn try_get(&mut self, path: &str, who: &str) -> Option<Answer> {
        let began = Instant::now();
        // A connection that the other side has closed meanwhile is no answer.
        let answer = self.exchange(path, who).or_else(|| {
            self.stream = None;
            self.exchange(path, who)
        })?;
        Some(Answer {
            took: began.elapsed(),
            ..answer
        })
    }

    fn exchange(&mut self, path: &str, who: &str) -> Option<Answer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.address).ok()?;
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .ok()?;
            stream.set_nodelay(true).ok()?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nX-Client: {who}\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut seen = Vec::new();
        let mut piece = [0; 16_384];
        let (head, start, length) = loop {
            if let Some(at) = seen.windows(4).position(|end| end == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&seen[..at]).into_owned();
                let length = head
                    .lines()
                    .find_map(|line| {
                        let (name, value) = line.split_once(':')?;
                        let is_it = name.eq_ignore_ascii_case("content-length");
                        is_it.then(|| value.trim().parse::<usize>().expect("a length"))
                    })
                    .unwrap_or(0);
                break (head, at + 4, length);
            }
            match stream.read(&mut piece).ok()? {
                0 => return None,
                count => seen.extend_from_slice(&piece[..count]),
            }
        };
        while seen.len() < start + length {
            match stream.read(&mut piece).ok()? {
                0 => return None,
                count => seen.extend_from_slice(&piece[..count]),
            }
        }
        Some(Answer {
            status: head.get(9..12)?.parse().ok()?,
            body: String::from_utf8_lossy(&seen[start..]).into_owned(),
            head,
            took: Duration::ZERO,
        })
    }
}
