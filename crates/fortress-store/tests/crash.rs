//! kill -9 in a loop while two processes write: what was acknowledged is there, and the store opens,
//! whatever was going on, a change of its key included.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fortress_auth::api_key::{ApiKey, Environment, KeyId, KeyRecord, Label, NoRandomness, Pepper};
use fortress_model::{Secret, Timestamp, config::StorePlace};
use fortress_store::{Count, MasterKeys, Presence, Store, open};

const ROUNDS: u64 = 24;
/// Rounds in which the store is hardly there yet.
const EARLY: u64 = 4;
const NOW: Timestamp = Timestamp(1_790_000_000 * 1_000_000_000);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "write") {
        Some(at) => {
            let directory = arguments.get(at + 1).unwrap();
            let number = arguments.get(at + 2).unwrap();
            write(Path::new(directory), number);
        }
        None => {
            let written = kill_while_writing();
            let mut out = std::io::stdout();
            let told =
                format!("crash: {ROUNDS} rounds, {written} acknowledged changes, none lost\n");
            out.write_all(told.as_bytes()).unwrap();
        }
    }
}

fn opened(directory: &Path) -> Store {
    let keys = MasterKeys::from_file(&directory.join("store.key")).unwrap();
    open(&place(directory), Arc::new(keys), Presence::Made).unwrap()
}

fn place(directory: &Path) -> StorePlace {
    StorePlace::Embedded(directory.join("fortress.db"))
}

/// Says each change on standard output once it is acknowledged; never ends by itself.
fn write(directory: &Path, number: &str) {
    let store = opened(directory);
    let environment = Environment::new("live").unwrap();
    let pepper = Pepper::new(&Secret::new(vec![1; 32])).unwrap();
    let mut random = |bytes: &mut [u8]| aws_lc_rs::rand::fill(bytes).map_err(|_| NoRandomness);
    let mut out = std::io::stdout().lock();
    for turn in 1_u64.. {
        let (id, text) = ApiKey::generate(&environment, &mut random).unwrap();
        let owner = Label::new("owner").unwrap();
        let digest = pepper.digest(text.expose());
        let record = KeyRecord::new(id, environment.clone(), owner, digest, NOW);
        store.insert_keys(&[record]).unwrap();
        writeln!(out, "key {id}").unwrap();
        let changed = store.update_key(id, |key| {
            key.revoked = Some(NOW);
            Ok(())
        });
        changed.unwrap().unwrap();
        writeln!(out, "revoked {id}").unwrap();
        let count = Count {
            name: number,
            began: NOW,
            more: 1,
            expires: Timestamp(NOW.0 + 1),
        };
        let counted = store.count(&[count]).unwrap();
        writeln!(out, "count {}", counted.first().unwrap()).unwrap();
        // One of the two changes the key that seals everything.
        if number == "0" && turn % 3 == 0 {
            let keys = MasterKeys::from_file(&directory.join("store.key")).unwrap();
            let new = Arc::new(keys.add_key().unwrap());
            store.rotate_key(new.clone()).unwrap();
            new.keep_first().unwrap();
            writeln!(out, "sealed").unwrap();
        }
    }
}

fn kill_while_writing() -> usize {
    let directory = tempfile::tempdir().unwrap();
    MasterKeys::create(&directory.path().join("store.key")).unwrap();
    let (mut keys, mut counts) = (HashMap::new(), HashMap::new());
    let mut all = 0;
    for round in 0..ROUNDS {
        let writers: Vec<_> = ["0", "1"]
            .map(|number| start(directory.path(), number))
            .into();
        // The first ones while the store is being made, the others in the midst of writing.
        match round.checked_sub(EARLY) {
            None => thread::sleep(Duration::from_millis(3 + round * 7)),
            Some(round) => {
                let least = usize::try_from(5 + round * 11 % 60).unwrap();
                let until = Instant::now() + Duration::from_secs(60);
                while writers.iter().any(|writer| writer.said() < least) {
                    assert!(Instant::now() < until, "the writers are stuck");
                    thread::sleep(Duration::from_millis(1));
                }
                thread::sleep(Duration::from_micros(round * 371 % 5_000));
            }
        }
        for (number, writer) in ["0", "1"].into_iter().zip(writers) {
            for line in writer.killed() {
                all += 1;
                let (what, value) = line.split_once(' ').unwrap_or((&line, ""));
                match what {
                    "key" => drop(keys.insert(value.parse::<KeyId>().unwrap(), false)),
                    "revoked" => drop(keys.insert(value.parse::<KeyId>().unwrap(), true)),
                    "count" => drop(counts.insert(number, value.parse::<i64>().unwrap())),
                    other => assert_eq!(other, "sealed"),
                }
            }
        }
        let store = opened(directory.path());
        assert_eq!(store.check().unwrap(), Vec::<String>::new());
        let found: HashMap<_, _> = store
            .keys()
            .unwrap()
            .into_iter()
            .map(|key| (key.id, key.revoked.is_some()))
            .collect();
        for (id, is_revoked) in &keys {
            let found = found.get(id).unwrap_or_else(|| lost(&format!("key {id}")));
            assert!(*found || !is_revoked, "the revocation of {id} is lost");
        }
        for (number, count) in &counts {
            let found = store.counted(number, NOW).unwrap();
            assert!(
                found >= *count,
                "count {number} is {found}, and {count} was acknowledged"
            );
        }
    }
    all
}

#[expect(clippy::panic, reason = "a test fails by panicking")]
fn lost(what: &str) -> ! {
    panic!("{what} is lost")
}

/// A process that writes, and what it said so far.
struct Writer {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

fn start(directory: &Path, number: &str) -> Writer {
    let own: PathBuf = std::env::current_exe().unwrap();
    let mut child = Command::new(own)
        .arg("write")
        .arg(directory)
        .arg(number)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let lines = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&lines);
    let reader = thread::spawn(move || {
        let mut line = String::new();
        // What was cut off was not acknowledged.
        while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
            into.lock().unwrap().push(line.trim_end().to_owned());
            line.clear();
        }
    });
    Writer {
        child,
        lines,
        reader,
    }
}

impl Writer {
    fn said(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Kills it, and gives each whole line that it said.
    fn killed(mut self) -> Vec<String> {
        // SIGKILL.
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert!(
            status.code().is_none(),
            "the writer ended by itself: {status}"
        );
        self.reader.join().unwrap();
        std::mem::take(&mut *self.lines.lock().unwrap())
    }
}
