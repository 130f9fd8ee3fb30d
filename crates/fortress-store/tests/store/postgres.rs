//! A PostgreSQL of a test's own, of whatever version is installed: started, hurt, and ended with the
//! test. The end-to-end tests of the program use the same file.

use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What says that there is none.
pub(crate) const MISSING: &str = "there is no PostgreSQL; install it: apt-get install postgresql";

pub(crate) struct Postgres {
    directory: tempfile::TempDir,
    binaries: PathBuf,
    port: u16,
    /// It refuses to run as root.
    user: Option<(u32, u32)>,
    settings: Vec<String>,
    child: Child,
}

impl Postgres {
    /// With more settings (`NAME=VALUE`), and files that `prepare` puts into its directory; `None` where
    /// there is none on this machine. It may not answer yet.
    pub(crate) fn start(settings: &[&str], prepare: impl FnOnce(&Path)) -> Option<Self> {
        let binaries = binaries()?;
        let directory = tempfile::tempdir().expect("a directory");
        let user = (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        prepare(directory.path());
        if let Some((user, group)) = user {
            let files = fs::read_dir(directory.path()).expect("a directory");
            let files = files.map(|file| file.expect("a file").path());
            for path in files.chain([directory.path().to_owned()]) {
                chown(path, Some(user), Some(group)).expect("given away");
            }
        }
        let made = command(&binaries.join("initdb"), user, directory.path())
            .args(["-A", "trust", "-U", "postgres", "--no-sync", "-D", "data"])
            .output()
            .expect("initdb");
        assert!(made.status.success(), "{made:?}");
        // Nothing listens there when this returns.
        let port = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = port.local_addr().expect("an address").port();
        let settings: Vec<String> = settings.iter().map(|one| (*one).to_owned()).collect();
        let child = run(&binaries, user, directory.path(), (port, &settings));
        Some(Self {
            directory,
            binaries,
            port,
            user,
            settings,
            child,
        })
    }

    pub(crate) fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// To all of its processes.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let signal = format!("-{name}");
        drop(Command::new("pkill").args([&signal, "-P", &pid]).status());
        drop(Command::new("kill").args([&signal, &pid]).status());
    }

    /// Ends it as a crash would: at once, without a word to clients and without a checkpoint.
    pub(crate) fn kill(&mut self) {
        let pid = self.child.id().to_string();
        drop(Command::new("kill").args(["-QUIT", &pid]).status());
        drop(self.child.wait());
    }

    /// Starts it again where it was. It may not answer yet.
    pub(crate) fn restart(&mut self) {
        let place = (self.port, &*self.settings);
        self.child = run(&self.binaries, self.user, self.directory.path(), place);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.signal("CONT");
        self.kill();
    }
}

fn run(
    binaries: &Path,
    user: Option<(u32, u32)>,
    directory: &Path,
    (port, settings): (u16, &[String]),
) -> Child {
    let log = fs::File::create(directory.join("log")).expect("a log");
    let mut command = command(&binaries.join("postgres"), user, directory);
    command
        .args(["-D", "data", "-h", "127.0.0.1", "-k", ""])
        .args(["-p", &port.to_string(), "-c", "fsync=off"])
        .stderr(log);
    for setting in settings {
        command.args(["-c", setting]);
    }
    command.spawn().expect("postgres")
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

/// The newest that is installed.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    found.filter(|path| path.join("initdb").is_file()).max()
}

/// Of this user, or of the one that Debian's package makes.
fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id");
    let text = String::from_utf8(output.stdout).expect("text");
    text.trim().parse().expect("a number")
}
