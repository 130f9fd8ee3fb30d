//! A PostgreSQL of the test's own, and the program with its store in it.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    defence::Gate,
    program::{Place, until},
    redis::skipped,
};

struct Postgres {
    child: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Postgres {
    /// `None`, and a word about it, where there is none.
    fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            skipped("there is no PostgreSQL; install it: apt-get install postgresql");
            return None;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = port.local_addr().expect("an address").port();
        // It refuses to run as root.
        let user = (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        if let Some((user, group)) = user {
            chown(directory.path(), Some(user), Some(group)).expect("given away");
        }
        let command = |program: &str| {
            let mut command = Command::new(binaries.join(program));
            command.current_dir(directory.path()).env("LC_ALL", "C");
            command.stdin(Stdio::null()).stdout(Stdio::null());
            if let Some((user, group)) = user {
                command.uid(user).gid(group);
            }
            command
        };
        let made = command("initdb")
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D", "data"])
            .output()
            .expect("initdb");
        assert!(made.status.success(), "{made:?}");
        let log = fs::File::create(directory.path().join("log")).expect("a log");
        let child = command("postgres")
            .args(["-D", "data", "-h", "127.0.0.1", "-k", "", "-c", "fsync=off"])
            .args(["-p", &port.to_string()])
            .stderr(log)
            .spawn()
            .expect("postgres");
        Some(Self {
            child,
            port,
            _directory: directory,
        })
    }

    fn url(&self) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }
}

impl Postgres {
    /// To all of its processes.
    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let signal = format!("-{name}");
        drop(Command::new("pkill").args([&signal, "-P", &pid]).status());
        drop(Command::new("kill").args([&signal, &pid]).status());
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal("CONT");
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.child.wait());
    }
}

/// The newest that is installed.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    found.filter(|path| path.join("initdb").is_file()).max()
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().parse().expect("a number")
}

#[test]
fn the_program_serves_with_its_store_in_postgres() {
    const STORE: &str =
        "store: { postgres: file:url.txt, key: file:store.key, pepper: file:pepper.key }\n";
    const LOCKED: &str = "{ login: { login: { account: body.username, failure: [401], lock: { after: 3, for: 10min } } }, getThing: { limits: [{ name: few, per: client, quota: 3/month }] } }";
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let place = Place::new();
    place.write("url.txt", &postgres.url());
    place.write(
        "store.yaml",
        &format!("version: 1\nlisten: [{{ address: '127.0.0.1:0' }}]\napis: {{ a: {{ spec: none, public: true, upstream: 'http://127.0.0.1:1' }} }}\n{STORE}"),
    );
    until("PostgreSQL answers and takes the store", || {
        let made = place.run(&["store", "init", "--config", "store.yaml"]);
        made.code == 0
    });
    let gate = Gate::start_with(LOCKED, place, STORE);
    let mut client = gate.client();
    for number in 0..3 {
        let from = format!("203.0.{number}.1");
        let got = client.login("/login", &from, "ann", "guess");
        assert_eq!(got.code, "login.rejected");
        assert_eq!(client.get("/things/1", "198.51.100.7").status, 200);
    }
    let quota = client.get("/things/1", "198.51.100.7");
    assert_eq!((quota.status, quota.code.as_str()), (429, "limit.quota"));
    let locked = client.login("/login", "198.51.100.7", "ann", "right");
    assert_eq!(locked.code, "login.locked");
    // What was counted, and the lock, are there again after a restart.
    let place = gate.end();
    let gate = Gate::start_with(LOCKED, place, STORE);
    let mut client = gate.client();
    let locked = client.login("/login", "198.51.100.7", "ann", "right");
    assert_eq!(locked.code, "login.locked");
    assert_eq!(client.get("/things/1", "198.51.100.7").status, 429);
    // A reload goes through the store too, and a stop does not wait for one that is silent.
    gate.program.signal("HUP");
    gate.program.logged("reloaded in");
    assert_eq!(client.get("/things/1", "198.51.100.7").status, 429);
    postgres.signal("STOP");
    let began = Instant::now();
    drop(gate.end());
    let took = began.elapsed();
    postgres.signal("CONT");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
