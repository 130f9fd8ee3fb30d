//! Lists of networks that come from elsewhere: a document on a server, and CrowdSec's decisions.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "says what was skipped; the environment says what must be there"
)]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use super::support::{DESCRIPTION, Gateway, Upstream, send, until};

fn gateway(upstream: &Upstream, lists: &str, rules: &str) -> Gateway {
    let config = format!(
        r#"
version: 1
listen: [{{ address: 127.0.0.1:0 }}, {{ address: 127.0.0.1:0, serve: operations }}]
trusted_proxies: [127.0.0.1/32]
networks:
{lists}
apis:
  raw: {{ spec: openapi.yaml, upstream: "http://{}", networks: {{ {rules} }} }}
journal: [{{ file: journal.ndjson }}]
"#,
        upstream.address
    );
    Gateway::start(&[
        ("fortress.yaml", &config),
        ("openapi.yaml", DESCRIPTION),
        ("key", "gw-secret"),
    ])
}

fn status(gateway: &Gateway, client: &str) -> u16 {
    let text = format!(
        "GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {client}\r\nConnection: close\r\n\r\n"
    );
    send(gateway.addresses[0], text.as_bytes())[0].status
}

fn metrics(gateway: &Gateway) -> String {
    let text = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    String::from_utf8(send(gateway.addresses[1], text)[0].body.clone()).unwrap()
}

fn document(text: &str) -> Vec<u8> {
    let length = text.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}").into()
}

/// How often the list was fetched, and how often it could not be.
fn fetches(gateway: &Gateway) -> (u64, u64) {
    let metrics = metrics(gateway);
    let count = |result: &str| {
        let start =
            format!("fortress_networks_fetches_total{{list=\"drop\",result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap().parse().unwrap()
    };
    (count("success"), count("failure"))
}

#[test]
fn a_document_is_fetched_again_and_the_last_good_one_is_kept() {
    let (server, upstream) = (Upstream::start(), Upstream::start());
    server.answers(&document("# drop\n203.0.113.0/24\nmistake\n"));
    let lists = format!(
        "  drop: {{ url: \"http://{}/drop.txt\", refresh: 1s }}",
        server.address
    );
    let gateway = gateway(&upstream, &lists, "deny: drop");
    until("the list", || status(&gateway, "203.0.113.9") == 403);
    assert_eq!(status(&gateway, "198.51.100.9"), 200);
    assert!(metrics(&gateway).contains("fortress_networks{list=\"drop\"} 1"));
    server.answers(&document("198.51.100.0/24 ; other\n"));
    until("the change", || status(&gateway, "203.0.113.9") == 200);
    assert_eq!(status(&gateway, "198.51.100.9"), 403);
    // Neither an error nor a page of a web server that says 200 takes the list away.
    for answer in [
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            .to_vec(),
        document("<html>\n<p>\nmaintenance"),
    ] {
        let (_, failures) = fetches(&gateway);
        server.answers(&answer);
        until("a failure", || fetches(&gateway).1 > failures);
        assert_eq!(status(&gateway, "198.51.100.9"), 403);
    }
    let journal = || std::fs::read_to_string(gateway.journal()).unwrap();
    let said = |code: &str| journal().matches(code).count();
    assert_eq!(
        said("\"status_code\":\"networks.unavailable\""),
        1,
        "{}",
        journal()
    );
    // A reload keeps what was fetched.
    gateway.reload();
    assert_eq!(status(&gateway, "198.51.100.9"), 403);
    // An empty list is one.
    server.answers(&document("# nobody\n"));
    until("nobody", || status(&gateway, "198.51.100.9") == 200);
    until("the good news", || {
        said("\"status_code\":\"networks.available\"") == 1
    });
}

#[test]
fn decisions_are_kept_when_only_how_often_they_are_asked_for_changes() {
    let (server, upstream) = (Upstream::start(), Upstream::start());
    let decision = r#"{"duration":"4h","scope":"Ip","type":"ban","value":"203.0.113.9"}"#;
    server.answers(&document(&format!(
        r#"{{"new":[{decision}],"deleted":null}}"#
    )));
    let lists = format!(
        "  drop: {{ crowdsec: \"http://{}/\", key: file:key, refresh: 1h }}",
        server.address
    );
    let gateway = gateway(&upstream, &lists, "deny: drop");
    until("the list", || status(&gateway, "203.0.113.9") == 403);
    assert_eq!(server.received().len(), 1);
    // It tells each bouncer once what changed: a second reader would take that from the first.
    server.answers(
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let file = gateway.directory.path().join("fortress.yaml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, config.replace("1h", "2h")).unwrap();
    gateway.reload();
    assert_eq!(status(&gateway, "203.0.113.9"), 403);
    assert_eq!(fetches(&gateway), (1, 0));
}

#[test]
fn a_list_that_was_never_had_allows_nobody() {
    let upstream = Upstream::start();
    let lists = "  drop: { url: \"http://127.0.0.1:1/\", refresh: 1s }";
    let gateway = gateway(&upstream, lists, "allow: drop");
    until("an attempt", || fetches(&gateway).1 > 0);
    assert_eq!(status(&gateway, "203.0.113.9"), 403);
}

/// CrowdSec's local API, without its agent and without the internet.
struct CrowdSec {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
}

impl Drop for CrowdSec {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl CrowdSec {
    /// `None`, said aloud, where it is not installed.
    fn start() -> Option<Self> {
        if Command::new("cscli").arg("version").output().is_err() {
            assert!(std::env::var("FORTRESS_REQUIRE_ALL").is_err(), "crowdsec");
            eprintln!("skipped: no crowdsec");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        configure(directory.path(), port);
        let config = directory.path().join("config.yaml");
        let url = format!("http://127.0.0.1:{port}");
        let login = directory.path().join("login.yaml");
        let login = login.to_str().unwrap();
        for arguments in [
            &[
                "machines",
                "add",
                "test",
                "--password",
                "test",
                "--file",
                login,
                "--force",
                "--url",
                &url,
            ][..],
            &["bouncers", "add", "fortress", "-k", "gw-secret"],
        ] {
            run(&config, arguments);
        }
        let child = serve(&config);
        let crowdsec = Self {
            child,
            directory,
            port,
        };
        crowdsec.answers();
        Some(crowdsec)
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("config.yaml")
    }

    fn answers(&self) {
        until("crowdsec", || {
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
    }

    fn decide(&self, arguments: &[&str]) {
        run(&self.config(), &[&["decisions"], arguments].concat());
    }
}

fn configure(directory: &Path, port: u16) {
    let at = directory.display();
    let config = format!(
        "common: {{ daemonize: false, log_media: stdout, log_level: error, log_dir: {at} }}
config_paths: {{ config_dir: {at}, data_dir: {at}, hub_dir: {at}, index_path: {at}/index.json, simulation_path: {at}/simulation.yaml, notification_dir: {at}, plugin_dir: {at} }}
crowdsec_service: {{ enable: false }}
cscli: {{ output: raw }}
db_config: {{ type: sqlite, db_path: {at}/crowdsec.db }}
api:
  client: {{ credentials_path: {at}/login.yaml }}
  server: {{ log_level: error, listen_uri: \"127.0.0.1:{port}\", profiles_path: {at}/profiles.yaml }}
prometheus: {{ enabled: false }}
"
    );
    let profiles = "name: none\nfilters: [\"false\"]\ndecisions: []\non_success: break\n";
    for (name, text) in [
        ("config.yaml", config.as_str()),
        ("simulation.yaml", "simulation: false\n"),
        ("profiles.yaml", profiles),
        ("index.json", "{}"),
    ] {
        std::fs::write(directory.join(name), text).unwrap();
    }
}

fn run(config: &Path, arguments: &[&str]) {
    let output = Command::new("cscli")
        .arg("-c")
        .arg(config)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

fn serve(config: &Path) -> Child {
    Command::new("crowdsec")
        .arg("-c")
        .arg(config)
        .arg("-no-cs")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn decisions_of_crowdsec_are_followed_and_outlive_it() {
    let Some(mut crowdsec) = CrowdSec::start() else {
        return;
    };
    crowdsec.decide(&["add", "--ip", "203.0.113.9", "--duration", "1h"]);
    let upstream = Upstream::start();
    let at = format!(
        "crowdsec: \"http://127.0.0.1:{}\", key: env:SECRET, refresh: 1s",
        crowdsec.port
    );
    let lists =
        format!("  banned: {{ {at} }}\n  doubtful: {{ {at}, decisions: [captcha, throttle] }}");
    let gateway = gateway(&upstream, &lists, "deny: [banned, doubtful]");
    // All that holds, then what changes: bans and others, addresses and ranges.
    until("the ban", || status(&gateway, "203.0.113.9") == 403);
    assert_eq!(status(&gateway, "203.0.113.10"), 200);
    crowdsec.decide(&[
        "add",
        "--range",
        "198.51.100.0/24",
        "--duration",
        "1h",
        "--type",
        "captcha",
    ]);
    crowdsec.decide(&["add", "--ip", "2001:db8::7", "--duration", "6s"]);
    until("the range", || status(&gateway, "198.51.100.77") == 403);
    until("the short ban", || status(&gateway, "2001:db8::7") == 403);
    crowdsec.decide(&["delete", "--ip", "203.0.113.9"]);
    until("the pardon", || status(&gateway, "203.0.113.9") == 200);
    // Away, its decisions hold until they are over.
    crowdsec.child.kill().unwrap();
    crowdsec.child.wait().unwrap();
    until("the short ban's end", || {
        status(&gateway, "2001:db8::7") == 200
    });
    assert_eq!(status(&gateway, "198.51.100.77"), 403);
    assert!(metrics(&gateway).contains("fortress_networks{list=\"banned\"} 1"));
    // Back, what changed meanwhile is learnt.
    crowdsec.child = serve(&crowdsec.config());
    crowdsec.answers();
    crowdsec.decide(&["add", "--ip", "203.0.113.10", "--duration", "1h"]);
    until("a new ban", || status(&gateway, "203.0.113.10") == 403);
    assert_eq!(status(&gateway, "198.51.100.77"), 403);
}
