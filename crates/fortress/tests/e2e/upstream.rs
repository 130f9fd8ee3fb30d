//! A small HTTP service to stand behind Fortress: it answers what a function says, and remembers
//! what it was asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

/// A request as the service saw it.
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a str,
    /// Without the query.
    pub(crate) path: &'a str,
    pub(crate) body: &'a str,
}

/// A status, and a JSON body or none.
pub(crate) type Answer = (u16, &'static str);

/// The service, on a port of its own until the test ends.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    pub(crate) fn start(answer: fn(&Asked<'_>) -> Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let log = Arc::clone(&log);
                // What cannot be read ends the connection: nobody is told, as of a crude service.
                thread::spawn(move || while serve(&stream, answer, &log).is_some() {});
            }
        });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since the last call: `GET /a`.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().expect("unpoisoned"))
    }
}

/// One request of a connection; `None` when there are no more.
fn serve(
    stream: &TcpStream,
    answer: fn(&Asked<'_>) -> Answer,
    log: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut header) = (0, String::new());
    loop {
        header.clear();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body).ok()?;
    let path = target.split('?').next().unwrap_or_default();
    log.lock().ok()?.push(format!("{method} {path}"));
    let (status, json) = answer(&Asked {
        method: &method,
        path,
        body: &String::from_utf8_lossy(&body),
    });
    let typed = if json.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let length = if status == 204 {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", json.len())
    };
    let body = if method == "HEAD" { "" } else { json };
    let mut stream = stream;
    // In one piece: several would wait for each other's acknowledgement.
    let answer = format!("HTTP/1.1 {status} X\r\nServer: crude/0.1\r\n{typed}{length}\r\n{body}");
    stream.write_all(answer.as_bytes()).ok()
}
