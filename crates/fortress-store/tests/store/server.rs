//! A PostgreSQL of the test's own: started, given databases, and ended with the test.

use std::{
    fs,
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use fortress_model::{Secret, config::StorePlace};

use crate::support::{Home, skipped, until};

pub(crate) struct Server {
    directory: Arc<tempfile::TempDir>,
    binaries: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    child: Child,
    databases: AtomicU32,
}

impl Server {
    /// `None`, and a word about it, where there is none on this machine.
    pub(crate) fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            skipped("there is no PostgreSQL; install it: apt-get install postgresql");
            return None;
        };
        let directory = Arc::new(tempfile::tempdir().unwrap());
        // It refuses to run as root.
        let user = is_root().then(|| (number("-u"), number("-g")));
        if let Some((user, group)) = user {
            let path = directory.path();
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
        let port = free_port();
        let made = command(&binaries.join("initdb"), user, directory.path())
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D", "data"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        certificate(directory.path(), user);
        let child = run(&binaries, user, directory.path(), port);
        let server = Self {
            directory,
            binaries,
            port,
            user,
            child,
            databases: AtomicU32::new(0),
        };
        server.wait();
        Some(server)
    }

    fn wait(&self) {
        until("PostgreSQL answers", || {
            postgres::Client::connect(&self.url("postgres"), postgres::NoTls).is_ok()
        });
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.directory.path().join("server.crt")
    }

    /// A database that is empty.
    pub(crate) fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.ask(&format!("CREATE DATABASE {name}"));
        name
    }

    pub(crate) fn ask(&self, sql: &str) {
        let url = self.url("postgres");
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        client.batch_execute(sql).unwrap();
    }

    pub(crate) fn home(&self) -> Home {
        let url = Secret::new(self.url(&self.database()));
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Home::with(directory, StorePlace::Postgres { url, ca: None })
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        // SIGQUIT: at once, without a word to clients and without a checkpoint.
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-QUIT", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = run(&self.binaries, self.user, self.directory.path(), self.port);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.child.wait());
    }
}

/// Nothing listens there when this returns.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn run(binaries: &Path, user: Option<(u32, u32)>, directory: &Path, port: u16) -> Child {
    let log = fs::File::create(directory.join("log")).unwrap();
    command(&binaries.join("postgres"), user, directory)
        .args(["-D", "data", "-h", "127.0.0.1", "-k", ""])
        .args(["-p", &port.to_string(), "-c", "ssl=on", "-c", "fsync=off"])
        .args([
            "-c",
            "ssl_cert_file=../server.crt",
            "-c",
            "ssl_key_file=../server.key",
        ])
        .stderr(log)
        .spawn()
        .unwrap()
}

fn command(program: &Path, user: Option<(u32, u32)>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(directory)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}

fn certificate(directory: &Path, user: Option<(u32, u32)>) {
    use std::os::unix::fs::PermissionsExt;
    let made =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".into()]).unwrap();
    for (name, text) in [
        ("server.crt", made.cert.pem()),
        ("server.key", made.signing_key.serialize_pem()),
    ] {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        if let Some((user, group)) = user {
            std::os::unix::fs::chown(&path, Some(user), Some(group)).unwrap();
        }
    }
}

/// The newest that is installed.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|path| path.join("initdb").is_file())
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    number_of(&["-u"]) == 0
}

/// Of the user that Debian's package makes.
fn number(which: &str) -> u32 {
    number_of(&[which, "postgres"])
}

fn number_of(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}
