//! The regression tests of the OWASP Core Rule Set, in process: all of them, and the same requests
//! where rules refuse.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may fail, and say what they skip"
)]

mod material;

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
    thread,
};

use fortress_model::Sources;
use fortress_waf::{
    engine::{Engine, Screening, Verdict},
    ftw::{
        EXCUSED, EXCUSED_ON_THE_WIRE, Levels, Mode, Observed, Outcome, Overrides, Process, Report,
        RuleFile, RuleFiles, Setup, Suite, Tally, Test, TestFile, compare, in_parallel, refusing,
    },
    seclang::Ruleset,
};
use material::{Disk, folder, listed};

/// Tests that may be excused, at most: the lists are for what HTTP itself forbids.
const MOST_EXCUSED: usize = 5;
/// What the gateway refuses before any rule, and what CRS excuses for nginx too.
const MOST_EXCUSED_ON_THE_WIRE: usize = 60;

/// The rules and their tests.
struct Crs {
    files: RuleFiles,
    suite: Suite,
}

static CRS: LazyLock<Option<Crs>> = LazyLock::new(|| {
    let crs = folder("FORTRESS_SHARED", "../shared", "crs")?;
    Some(Crs {
        files: RuleFiles {
            setup: file(&crs.join("crs-setup.conf.example")),
            rules: listed(&crs.join("rules"), &[".conf"])
                .iter()
                .map(|path| file(path))
                .collect(),
        },
        suite: Suite {
            tests: tests(&crs.join("tests/regression/tests")),
            overrides: Overrides::default(),
            excused: overrides(EXCUSED),
        },
    })
});

fn file(path: &Path) -> RuleFile {
    RuleFile {
        name: path.to_str().unwrap().to_owned(),
        text: fs::read(path).unwrap(),
    }
}

fn tests(folder: &Path) -> Vec<Test> {
    let mut sources = Sources::default();
    let mut tests = Vec::new();
    for folder in listed(folder, &[""]).iter().filter(|path| path.is_dir()) {
        for path in listed(folder, &[".yaml"]) {
            let text = fs::read_to_string(&path).unwrap();
            let id = sources.add(path.to_str().unwrap(), text);
            let file = TestFile::read(id, &sources);
            tests.extend(
                file.unwrap_or_else(|wrong| panic!("{path:?}: {wrong:#?}"))
                    .tests,
            );
        }
    }
    tests
}

fn overrides(text: &str) -> Overrides {
    let mut sources = Sources::default();
    let id = sources.add("excused.yaml", text);
    Overrides::read(id, &sources).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

impl Crs {
    fn ruleset(&self, setup: Setup) -> Ruleset {
        let ruleset = self.files.ruleset(&setup, &mut Disk);
        ruleset.unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
    }

    /// What comes of each test when it is sent for the last time of so many.
    fn observe(&self, ruleset: &Ruleset, screening: Screening, times: usize) -> Vec<Vec<Observed>> {
        let engine = Engine::compile(ruleset, screening);
        let engine = Arc::new(engine.unwrap_or_else(|mistakes| panic!("{mistakes:#?}")));
        let threads = thread::available_parallelism().unwrap().get();
        in_parallel(&self.suite.tests, threads, || {
            let mut process = Process::new(Arc::clone(&engine));
            move |test: &Test| {
                for _ in 1..times {
                    process.observe(test);
                }
                process.observe(test)
            }
        })
    }
}

/// Everything that is not as it should be, as text.
fn told(suite: &Suite, report: &Report, observed: &[Vec<Observed>]) -> String {
    let mut told = String::new();
    for ((test, outcome), observed) in suite.tests.iter().zip(&report.outcomes).zip(observed) {
        if let Outcome::Failed(complaints) = outcome {
            for complaint in complaints {
                let rules = &observed.get(complaint.stage).unwrap().rules;
                let (name, what) = (test.name(), complaint.differences.join("; "));
                writeln!(told, "{name}: {what} (rules {rules:?})").unwrap();
            }
        }
    }
    for one in &report.unneeded {
        writeln!(told, "{}: the excuse is not needed", one.test).unwrap();
    }
    told
}

#[test]
fn every_test_of_crs_passes() {
    let Some(crs) = &*CRS else { return };
    let ruleset = crs.ruleset(Setup::default());
    let observed = crs.observe(&ruleset, Screening::Prefiltered, 1);
    let report = crs.suite.judge(&observed);
    let tally = Tally::of(&report.outcomes);
    println!(
        "{} passed, {} failed, {} excused",
        tally.passed, tally.failed, tally.excused
    );
    assert!(
        report.is_clean(),
        "\n{}",
        told(&crs.suite, &report, &observed)
    );
    assert!(tally.tests() >= 4_966, "{tally:?}");
    assert!(tally.excused <= MOST_EXCUSED, "{tally:?}");
    let table = report.table(&crs.suite, &Levels::new(&ruleset));
    let readme = include_str!("../README.md");
    let (_, after) = readme.split_once("<!-- conformance -->\n").unwrap();
    let (written, _) = after.split_once("<!-- /conformance -->").unwrap();
    assert_eq!(
        written, table,
        "README.md is out of date: fortress waf test --crs DIR --table"
    );
}

/// What APIs are sent all day, at the level that people run.
const HARMLESS: [&str; 6] = [
    "GET /orders?status=open&limit=20&sort=-created_at HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: okhttp/4.12.0\r\nAccept: application/json\r\n\r\n",
    "GET /users/6f9619ff-8b86-d011-b42d-00c04fc964ff HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: python-requests/2.32\r\nAccept: */*\r\nAuthorization: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln\r\n\r\n",
    "POST /comments HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: x/1\r\nAccept: application/json\r\nContent-Type: application/json\r\nContent-Length: 75\r\n\r\n{\"text\":\"It's the user's choice; O'Brien likes it.\",\"stars\":5,\"tags\":[\"a\"]}",
    "POST /login HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: x/1\r\nAccept: application/json\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 41\r\n\r\nname=alice%40example.com&password=hunter2",
    "GET /search?q=caf%C3%A9+%26+bar&page=2 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0\r\nAccept: text/html,*/*;q=0.8\r\nCookie: session=0123456789abcdef; theme=dark\r\n\r\n",
    "POST /files HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: x/1\r\nAccept: */*\r\nContent-Type: multipart/form-data; boundary=bound\r\nContent-Length: 115\r\n\r\n--bound\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--bound--\r\n",
];

#[test]
fn harmless_requests_set_off_nothing() {
    let Some(crs) = &*CRS else { return };
    let setup = Setup {
        paranoia: 1,
        mode: Mode::Refuse,
    };
    let engine = Engine::compile(&crs.ruleset(setup), Screening::Prefiltered).unwrap();
    let mut process = Process::new(Arc::new(engine));
    for request in HARMLESS {
        let observed = process.exchange(request.as_bytes());
        assert_eq!(observed.status, Some(200), "{request}: {:?}", observed.log);
        assert_eq!(observed.rules, [], "{request}: {:?}", observed.log);
    }
}

#[test]
fn few_tests_are_excused_on_the_wire() {
    let excused = overrides(EXCUSED_ON_THE_WIRE).entries;
    assert!(excused.iter().all(|entry| !entry.tests.is_empty()));
    let tests: usize = excused.iter().map(|entry| entry.tests.len()).sum();
    assert!(tests <= MOST_EXCUSED_ON_THE_WIRE, "{tests}");
}

#[test]
fn attacks_are_refused_and_other_requests_are_not() {
    let Some(crs) = &*CRS else { return };
    let setup = Setup {
        paranoia: 1,
        mode: Mode::Refuse,
    };
    let ruleset = crs.ruleset(setup);
    let observed = crs.observe(&ruleset, Screening::Prefiltered, 1);
    let levels = Levels::new(&ruleset);
    let sum = refusing(&crs.suite.tests, &observed, &levels, setup.paranoia);
    println!(
        "{} of {} attacks refused, {} below the threshold; {} of {} other requests passed",
        sum.refused, sum.attacks, sum.light, sum.passed, sum.clean
    );
    assert!(sum.wrong.is_empty(), "\n{}", sum.wrong.join("\n"));
    assert_eq!(sum.refused + sum.light, sum.attacks);
    // Requests of which tests say that no rule at all is set off.
    for (test, observed) in crs.suite.tests.iter().zip(&observed) {
        for (stage, observed) in test.stages.iter().zip(observed) {
            let mut none = stage.output.no_matches.iter();
            if none.any(|regex| regex.as_str() == r#"\[id "\d+"\]"#) {
                let verdict = observed.verdict.as_ref();
                assert!(
                    verdict.is_none_or(|verdict| *verdict == Verdict::Pass),
                    "{}",
                    test.name()
                );
            }
        }
    }
}

/// With fewer rules, others come first. Others: `fortress waf test --compare --paranoia N`.
#[test]
fn rules_that_are_not_asked_would_not_have_matched() {
    let Some(crs) = &*CRS else { return };
    for paranoia in [1, 4] {
        let setup = Setup {
            paranoia,
            mode: Mode::Detect,
        };
        let ruleset = crs.ruleset(setup);
        // The third time every value is known, without the hits that the second one refuted.
        let one = crs.observe(&ruleset, Screening::Prefiltered, 3);
        let other = crs.observe(&ruleset, Screening::Exhaustive, 1);
        let differences = compare(&crs.suite.tests, &one, &other);
        assert!(differences.is_empty(), "level {paranoia}: {differences:#?}");
    }
}

/// A form with one value: the words that push it beyond 64 KiB, and what a test sends in its query.
fn padded(test: &Test) -> Option<Vec<u8>> {
    const WORDS: &str = "please+leave+it+with+the+neighbours+";
    let request = test.stages.first()?.input.bytes();
    let line = request.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (_, query) = line.split(' ').nth(1)?.split_once('?')?;
    let (_, value) = query.split('&').next()?.split_once('=')?;
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let padding = WORDS.repeat((64 << 10) / WORDS.len() + 1);
    let body = format!("note={padding}{value}");
    let length = body.len();
    let head = format!(
        "POST /notes HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: x/1\r\nAccept: */*\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
    );
    Some([head, body].concat().into_bytes())
}

/// Values of more than 64 KiB are transformed one result at a time.
#[test]
fn attacks_in_large_values_are_found_as_by_every_rule() {
    const EVERY: usize = 20;
    let Some(crs) = &*CRS else { return };
    let setup = Setup {
        paranoia: 2,
        mode: Mode::Detect,
    };
    let ruleset = crs.ruleset(setup);
    let padded = crs.suite.tests.iter().filter_map(padded);
    let requests: Vec<Vec<u8>> = padded.step_by(EVERY).collect();
    let [one, other] = [Screening::Prefiltered, Screening::Exhaustive].map(|screening| {
        let engine = Arc::new(Engine::compile(&ruleset, screening).unwrap());
        in_parallel(&requests, 2, || {
            let mut process = Process::new(Arc::clone(&engine));
            move |request: &Vec<u8>| process.exchange(request).rules
        })
    });
    assert!(one.len() >= 50, "{}", one.len());
    for ((request, one), other) in requests.iter().zip(&one).zip(&other) {
        let sent = String::from_utf8_lossy(request.get(64 << 10..).unwrap());
        assert!(!one.is_empty(), "{sent}");
        assert_eq!(one, other, "{sent}");
    }
}
