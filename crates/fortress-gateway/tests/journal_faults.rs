//! What the journal does when its file goes away, its disk is full, its reader hangs, or more
//! comes than it can take: it loses records at worst, says so, and never holds up a request.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

#[path = "journal_support/mod.rs"]
mod support;

use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use fortress_gateway::journal::{Closed, Counters, Journal, JournalHandle, QUEUE_RECORDS, read};
use fortress_model::config::JournalSink;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde_json::Value;
use support::{
    events, forwarded,
    ocsf::{faults, schema},
    parse, tally, wait_for,
};

const LONG: Duration = Duration::from_secs(20);

struct Running {
    journal: Journal,
    handle: JournalHandle,
}

#[track_caller]
fn start(path: &Path) -> Running {
    let (journal, mut handles) = Journal::start(&[JournalSink::File(path.into())], 1).unwrap();
    Running {
        journal,
        handle: handles.remove(0),
    }
}

impl Running {
    fn record(&mut self, numbers: std::ops::Range<u128>) {
        for number in numbers {
            self.handle.record(forwarded(number));
        }
    }

    fn written(&self) -> u64 {
        self.journal.counters().sinks()[0].written()
    }

    #[track_caller]
    fn wait_written(&self, count: u64) {
        wait_for("records in the file", || {
            (self.written() >= count).then_some(())
        });
    }

    #[track_caller]
    fn wait_dropped(&self, count: u64) {
        let counters = self.journal.counters();
        wait_for("counted losses", || {
            (counters.dropped() >= count).then_some(())
        });
    }

    #[track_caller]
    fn close(self) -> std::sync::Arc<Counters> {
        let counters = self.journal.counters();
        assert_eq!(self.journal.close(LONG), Closed::Drained);
        counters
    }
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal.ndjson");
    (directory, path)
}

#[test]
fn a_record_is_in_the_file_without_closing_and_after_a_pause() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    running.record(0..1);
    wait_for("the first", || (events(&path).len() == 1).then_some(()));
    // Longer than the writer stays awake: the next record has to wake it.
    thread::sleep(Duration::from_millis(200));
    running.record(1..2);
    wait_for("the second", || (events(&path).len() == 2).then_some(()));
    running.close();
}

#[test]
fn the_file_is_for_the_owner_and_group_alone_and_is_appended_to() {
    let (_directory, path) = directory();
    for number in 0..2 {
        let mut running = start(&path);
        running.record(number..number + 1);
        running.close();
    }
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777 & !0o640,
        0
    );
    assert_eq!(events(&path).len(), 2);
}

#[test]
fn a_file_that_cannot_be_opened_stops_the_start_by_name() {
    let (directory, _) = directory();
    let path = directory.path().join("missing/journal.ndjson");
    let error = Journal::start(&[JournalSink::File(path.clone())], 1).unwrap_err();
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
    let error = Journal::start(&[JournalSink::File(directory.path().into())], 1).unwrap_err();
    assert!(error.to_string().contains("cannot be opened"), "{error}");
}

#[test]
fn no_sink_is_no_loss() {
    let (journal, mut handles) = Journal::start(&[], 2).unwrap();
    handles[1].record(forwarded(1));
    let counters = journal.counters();
    assert_eq!(journal.close(LONG), Closed::Drained);
    assert_eq!(counters.dropped(), 0);
}

#[test]
fn every_worker_and_every_sink_gets_all() {
    let (directory, path) = directory();
    let second = directory.path().join("second.ndjson");
    let sinks = [
        JournalSink::File(path.clone()),
        JournalSink::File(second.clone()),
    ];
    let (journal, handles) = Journal::start(&sinks, 3).unwrap();
    thread::scope(|scope| {
        for (worker, mut handle) in (0..).zip(handles) {
            scope.spawn(move || {
                (0..1_000).for_each(|number| handle.record(forwarded(worker * 1_000 + number)));
            });
        }
    });
    let counters = journal.counters();
    assert_eq!(journal.close(LONG), Closed::Drained);
    assert_eq!(counters.dropped(), 0);
    for path in [path, second] {
        let mut ids: Vec<String> = events(&path)
            .iter()
            .map(|e| e["metadata"]["uid"].to_string())
            .collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 3_000);
    }
}

#[test]
fn rotation_by_renaming_loses_nothing() {
    let (_directory, path) = directory();
    let rotated = path.with_extension("ndjson.1");
    let mut running = start(&path);
    running.record(0..10);
    running.wait_written(10);
    fs::rename(&path, &rotated).unwrap();
    running.record(10..20);
    running.wait_written(20);
    assert_eq!((events(&rotated).len(), events(&path).len()), (10, 10));
    running.close();
}

#[test]
fn a_rotated_file_is_let_go_even_without_traffic_and_on_demand() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    running.record(0..1);
    running.wait_written(1);
    fs::remove_file(&path).unwrap();
    wait_for("the file to be made again", || path.exists().then_some(()));
    fs::rename(&path, path.with_extension("old")).unwrap();
    running.journal.reopen();
    wait_for("the file to be made again", || path.exists().then_some(()));
    running.close();
}

#[test]
fn a_directory_that_went_away_keeps_the_old_file() {
    let (directory, _) = directory();
    let below = directory.path().join("logs");
    let moved = directory.path().join("moved");
    fs::create_dir(&below).unwrap();
    let mut running = start(&below.join("journal.ndjson"));
    running.record(0..1);
    running.wait_written(1);
    fs::rename(&below, &moved).unwrap();
    running.record(1..2);
    running.wait_written(2);
    assert_eq!(events(&moved.join("journal.ndjson")).len(), 2);
    fs::create_dir(&below).unwrap();
    running.record(2..3);
    running.wait_written(3);
    assert_eq!(events(&below.join("journal.ndjson")).len(), 1);
    assert_eq!(running.close().dropped(), 0);
}

#[test]
fn truncation_in_place_leaves_no_hole() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    running.record(0..100);
    running.wait_written(100);
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    running.record(100..101);
    running.wait_written(101);
    assert_eq!(events(&path).len(), 1);
    running.close();
}

#[test]
fn a_line_that_a_crash_cut_off_does_not_spoil_the_next() {
    let (_directory, path) = directory();
    fs::write(&path, "{\"metadata\":{\"uid\":\"01K").unwrap();
    let mut running = start(&path);
    running.record(0..1);
    running.close();
    let text = fs::read_to_string(&path).unwrap();
    let (broken, rest) = text.split_once('\n').unwrap();
    assert_eq!(broken, "{\"metadata\":{\"uid\":\"01K");
    assert_eq!(parse(rest).len(), 1);
    assert!(
        read::find(&path, &forwarded(0).id.to_string())
            .unwrap()
            .is_some()
    );
}

#[test]
fn a_device_without_space_loses_and_counts_every_record() {
    let mut running = start(Path::new("/dev/full"));
    running.record(0..50);
    running.wait_dropped(50);
    assert_eq!(running.written(), 0);
    assert_eq!(running.close().sinks()[0].dropped(), 50);
}

#[track_caller]
fn assert_losses_are_valid(events: &[Value]) {
    let schema = schema();
    let losses = events.iter().filter(|event| event["class_uid"] == 6008);
    for loss in losses {
        assert_eq!(faults(&schema, loss), Vec::<String>::new(), "{loss}");
        assert_eq!(loss["count"], loss["unmapped"]["fortress"]["lost"]);
        let message = loss["message"].as_str().unwrap();
        assert!(message.contains("records lost between"), "{message}");
        assert!(loss["start_time"].as_u64() <= loss["end_time"].as_u64());
    }
}

/// A file system of 64 KiB, unmounted on drop; `None` where we may not mount.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(place.path())
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self(place))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(self.0.path())
            .status()
            .unwrap();
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "says why the test checked nothing")]
fn a_full_disk_loses_whole_records_and_says_so_when_space_returns() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: mounting a small tmpfs needs root");
        return;
    };
    let path = small.0.path().join("journal.ndjson");
    let ballast = small.0.path().join("ballast");
    fs::write(&ballast, vec![0; 16 << 10]).unwrap();
    let mut running = start(&path);
    let mut sent = 0;
    while running.journal.counters().dropped() == 0 {
        running.record(sent..sent + 10);
        sent += 10;
        thread::sleep(Duration::from_millis(6));
    }
    // Whatever is in the file now is whole, though the disk is full to the last page.
    wait_for("the broken line to be cut off", || {
        fs::read_to_string(&path)
            .is_ok_and(|text| text.ends_with('\n'))
            .then_some(())
    });
    let dropped = running.journal.counters().dropped();
    running.record(sent..sent + 10);
    sent += 10;
    running.wait_dropped(dropped + 1);
    // Space returns, and nobody sends anything: the loss is announced nevertheless.
    fs::remove_file(&ballast).unwrap();
    wait_for("the announcement", || {
        (tally(&events(&path)).1 > 0).then_some(())
    });
    running.record(sent..sent + 1);
    sent += 1;
    let counters = running.close();
    let events = events(&path);
    let (requests, lost) = tally(&events);
    assert_eq!(u128::from(requests + lost), sent);
    assert_eq!(requests, counters.sinks()[0].written());
    assert_eq!(lost, counters.dropped());
    assert_losses_are_valid(&events);
}

#[test]
fn more_than_the_writer_can_take_is_counted_and_announced() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    let mut sent = 0;
    let counters = running.journal.counters();
    while counters.overflowed() == 0 {
        let burst = QUEUE_RECORDS as u128 * 2;
        running.record(sent..sent + burst);
        sent += burst;
    }
    let counters = running.close();
    let events = events(&path);
    let (requests, lost) = tally(&events);
    assert_eq!(u128::from(requests + lost), sent);
    assert_eq!(lost, counters.dropped());
    assert_losses_are_valid(&events);
}

#[test]
fn a_reader_that_hangs_loses_records_but_blocks_nobody() {
    let (_directory, path) = directory();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // Opened without waiting for a writer, and not read for now.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let mut reader = File::from(rustix::fs::open(&path, flags, Mode::empty()).unwrap());
    let mut running = start(&path);
    let mut sent: u128 = 0;
    while running.journal.counters().sinks()[0].dropped() == 0 {
        running.record(sent..sent + 100);
        sent += 100;
        thread::sleep(Duration::from_millis(1));
    }
    let quiet = running.written();
    let collected = thread::spawn(move || {
        let mut text = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return String::from_utf8(text).unwrap(),
                Ok(count) => text.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    wait_for("the pipe to move", || {
        (running.written() > quiet).then_some(())
    });
    running.record(sent..sent + 1);
    sent += 1;
    let counters = running.close();
    let text = collected.join().unwrap();
    // A pipe cannot be cut back: a line that broke off stays, on a line of its own.
    let whole: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    assert!(text.lines().count() - whole.len() <= counters.dropped() as usize);
    let (requests, lost) = tally(&whole);
    assert_eq!(u128::from(requests + lost), sent);
    assert_eq!(lost, counters.dropped());
    assert_losses_are_valid(&whole);
}

#[test]
fn a_pipe_that_nobody_reads_is_refused_at_the_start_instead_of_hanging() {
    let (_directory, path) = directory();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let error = Journal::start(&[JournalSink::File(path)], 1).unwrap_err();
    assert!(error.to_string().contains("cannot be opened"), "{error}");
}

#[test]
fn closing_gives_up_at_its_deadline() {
    let (_directory, path) = directory();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let _never_read = File::from(rustix::fs::open(&path, flags, Mode::empty()).unwrap());
    let mut running = start(&path);
    // More than a pipe holds.
    running.record(0..1_000);
    let closed = running.journal.close(Duration::from_millis(20));
    assert_eq!(closed, Closed::TimedOut);
}

#[test]
fn records_after_the_close_are_counted_as_lost() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    running.record(0..1);
    let counters = running.journal.counters();
    let mut handle = running.handle;
    assert_eq!(running.journal.close(LONG), Closed::Drained);
    handle.record(forwarded(1));
    assert_eq!(counters.dropped(), 1);
    assert_eq!(events(&path).len(), 1);
}

/// Not a test of its own: the process that the two below start.
#[test]
#[ignore = "writes to standard output for the tests of it"]
fn child_that_writes_to_standard_output() {
    let (journal, mut handles) = Journal::start(&[JournalSink::Stdout], 1).unwrap();
    std::io::stderr().write_all(b"ready\n").unwrap();
    let mut go = [0];
    std::io::stdin().read_exact(&mut go).unwrap();
    for number in 0..100 {
        handles[0].record(forwarded(number));
    }
    let counters = journal.counters();
    assert_eq!(journal.close(LONG), Closed::Drained);
    let sink = &counters.sinks()[0];
    assert_eq!(sink.name(), "stdout");
    let report = format!("written {} dropped {}\n", sink.written(), sink.dropped());
    std::io::stderr().write_all(report.as_bytes()).unwrap();
}

fn child() -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "child_that_writes_to_standard_output",
            "--nocapture",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn standard_output_gets_a_line_for_each_request() {
    let mut child = child();
    child.stdin.take().unwrap().write_all(b"g").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("written 100 dropped 0"), "{said}");
    // The test harness prints around them.
    let text = String::from_utf8(output.stdout).unwrap();
    let records = text
        .lines()
        .filter(|line| line.starts_with("{\"metadata\""));
    assert_eq!(parse(&records.collect::<Vec<_>>().join("\n")).len(), 100);
}

#[test]
fn a_closed_pipe_on_standard_output_does_not_kill() {
    let mut child = child();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    // The test harness in the child has written its own lines by then.
    assert!(said.any(|line| line.unwrap() == "ready"));
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(b"g").unwrap();
    assert!(said.any(|line| line.unwrap() == "written 0 dropped 100"));
    child.wait().unwrap();
}

// ---- reading

#[test]
fn records_are_found_by_the_beginning_of_their_id() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    for number in 0..500_u128 {
        running.handle.record(forwarded(number << 70));
    }
    running.close();
    let id = forwarded(123 << 70).id.to_string();
    let found = |prefix: &str| {
        let line = read::find(&path, prefix).unwrap()?;
        let event: Value = serde_json::from_str(&line).unwrap();
        Some(event["metadata"]["uid"].as_str().unwrap().to_owned())
    };
    assert_eq!(found(&id), Some(id.clone()));
    assert_eq!(found(id.get(..14).unwrap()), Some(id.clone()));
    assert_eq!(found(&id.to_lowercase()), Some(id.clone()));
    assert_eq!(found(&id.replace('0', "O").replace('1', "l")), Some(id));
    assert_eq!(found("7ZZZ"), None);
    assert_eq!(found(""), None);
    assert_eq!(found("01\",\""), None);
    // The newest of several.
    assert_eq!(found("01"), Some(forwarded(499 << 70).id.to_string()));
}

#[test]
fn reading_goes_on_into_the_rotated_file_and_skips_what_is_no_record() {
    let (_directory, path) = directory();
    let rotated = path.with_extension("ndjson.1");
    let mut running = start(&path);
    running.record(0..3);
    running.wait_written(3);
    fs::rename(&path, &rotated).unwrap();
    running.record(3..6);
    running.close();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"\n\xff\xfe\nnot json\n").unwrap();
    file.write_all(&vec![b'x'; 3 << 20]).unwrap();
    file.write_all(b"\n{\"metadata\":{\"uid\":\"half").unwrap();
    let lines: Vec<String> = read::lines(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 6);
    let newest = read::last(&path, |_| true).unwrap().unwrap();
    assert!(newest.contains(&forwarded(5).id.to_string()));
    let oldest = read::find(&path, &forwarded(0).id.to_string()).unwrap();
    assert!(oldest.is_some());
    assert_eq!(read::last(&path, |_| false).unwrap(), None);
    fs::remove_file(&rotated).unwrap();
    assert_eq!(read::lines(&path).unwrap().count(), 3);
    fs::remove_file(&path).unwrap();
    assert!(read::lines(&path).is_err());
}

#[test]
fn reading_backwards_equals_reading_forwards() {
    let (_directory, path) = directory();
    let mut running = start(&path);
    running.record(0..2_000);
    running.close();
    assert!(fs::metadata(&path).unwrap().size() > 20 * (64 << 10));
    let mut backwards: Vec<String> = read::lines(&path).unwrap().map(Result::unwrap).collect();
    backwards.reverse();
    let mut text = String::new();
    File::open(&path)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert!(text.lines().eq(backwards.iter()));
}
