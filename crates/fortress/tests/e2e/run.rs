//! `fortress run`: ready, reloaded, drained.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    thread,
    time::Duration,
};

use crate::program::{Place, Program, ask, status, until};

const DESCRIPTION: &str = "openapi: 3.0.3
info: { title: Small, version: '1' }
paths:
  /a: { get: { operationId: getA, security: [], responses: { '200': { description: ok } } } }
";

const MORE: &str =
    "  /b: { get: { operationId: getB, security: [], responses: { '200': { description: ok } } } }
";

fn configuration(upstream: &str) -> String {
    format!(
        "version: 1
listen: [{{ address: 127.0.0.1:0 }}]
apis: {{ small: {{ spec: openapi.yaml, upstream: {upstream} }} }}
"
    )
}

fn start(place: &Place, upstream: &str) -> (Program, String) {
    place.write("openapi.yaml", DESCRIPTION);
    place.write("fortress.yaml", &configuration(upstream));
    let program = place.start(&["run"]);
    let ready = program.line(|line| line.contains(" ready: "));
    assert!(
        ready.starts_with("fortress 0.1.0 ready: http 127.0.0.1:"),
        "{ready}"
    );
    assert!(
        ready.contains("; 1 API, 1 operation (0 protected, 1 public), enforce; built-in rules; "),
        "{ready}"
    );
    let address = ready
        .split("http ")
        .nth(1)
        .and_then(|rest| rest.split(';').next())
        .expect("an address");
    (program, format!("http://{address}"))
}

#[test]
fn a_changed_file_is_put_in_force_and_a_broken_one_is_not() {
    let place = Place::new();
    let (program, url) = start(&place, "http://127.0.0.1:9");
    assert_eq!(status(&ask(&url, "GET /b HTTP/1.1", "")), 404);
    fs::write(
        place.work().join("openapi.yaml"),
        format!("{DESCRIPTION}{MORE}"),
    )
    .expect("written");
    until("the new operation", || {
        status(&ask(&url, "GET /b HTTP/1.1", "")) == 502
    });
    fs::write(place.work().join("openapi.yaml"), "broken: [").expect("written");
    program.logged("not reloaded");
    assert_eq!(status(&ask(&url, "GET /b HTTP/1.1", "")), 502);
}

#[test]
fn hangup_reloads() {
    let place = Place::new();
    let (program, _) = start(&place, "http://127.0.0.1:9");
    program.signal("HUP");
    program.logged("reloaded in");
}

#[test]
fn what_is_in_flight_is_finished_and_then_it_ends() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("bound");
    let place = Place::new();
    let (mut program, url) = start(
        &place,
        &format!("http://{}", upstream.local_addr().expect("an address")),
    );
    let client = thread::spawn(move || ask(&url, "GET /a HTTP/1.1", ""));
    let (mut stream, _) = upstream.accept().expect("a request");
    let mut head = [0; 1024];
    assert!(stream.read(&mut head).expect("a request") > 0);
    program.signal("TERM");
    program.logged("stopping");
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .expect("answered");
    assert_eq!(status(&client.join().expect("answered")), 200);
    assert!(program.wait().success());
}

#[test]
fn a_second_signal_ends_at_once() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("bound");
    let place = Place::new();
    let (mut program, url) = start(
        &place,
        &format!("http://{}", upstream.local_addr().expect("an address")),
    );
    let address = url.strip_prefix("http://").expect("plain http");
    let mut client = TcpStream::connect(address).expect("connected");
    write!(client, "GET /a HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("sent");
    let _unanswered = upstream.accept().expect("a request");
    program.signal("TERM");
    program.logged("stopping");
    program.signal("TERM");
    program.logged("stopped at once");
    program.wait();
}

#[test]
fn a_supervisor_is_told() {
    let place = Place::new();
    place.write("openapi.yaml", DESCRIPTION);
    place.write("fortress.yaml", &configuration("http://127.0.0.1:9"));
    let path = place.work().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("set");
    let mut child = place
        .command(&["run"])
        .env("NOTIFY_SOCKET", &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let mut buffer = [0; 512];
    let length = socket.recv(&mut buffer).expect("told");
    child.kill().expect("ended");
    child.wait().expect("ended");
    assert!(buffer[..length].starts_with(b"READY=1\nSTATUS=fortress "));
}

#[test]
fn a_configuration_with_errors_does_not_start() {
    let place = Place::new();
    place.write("fortress.yaml", "version: 1\nlisten: []\n");
    let ended = place.run(&["run"]).expect(3);
    assert!(ended.err.contains("fortress.yaml:"), "{}", ended.err);
}
