//! `fortress waf test`: what it says and how it ends, with a rule set of two lines; and the Core Rule
//! Set through a gateway.

use crate::program::{Ended, Place, shared};

const RULES: &str = "SecRule ARGS \"@streq evil\" \\
    \"id:100001,phase:2,deny,log,msg:'Evil',tag:'paranoia-level/1'\"\n";

/// The third test expects what does not come.
const TESTS: &str = "rule_id: 100001
tests:
  - test_id: 1
    stages:
      - input: { uri: '/?q=evil', headers: { Host: localhost } }
        output: { log: { expect_ids: [100001] } }
  - test_id: 2
    stages:
      - input: { uri: '/?q=good', headers: { Host: localhost } }
        output: { status: 200, log: { no_expect_ids: [100001] } }
  - test_id: 3
    desc: Expects too much
    stages:
      - input: { uri: '/?q=fine', headers: { Host: localhost } }
        output: { log: { expect_ids: [100001] } }
";

fn place() -> Place {
    let place = Place::new();
    for folder in ["crs/rules", "crs/tests/regression/tests"] {
        std::fs::create_dir_all(place.work().join(folder)).expect("a folder");
    }
    place.write("crs/crs-setup.conf", "SecComponentSignature x\n");
    place.write("crs/rules/a.conf", RULES);
    place.write("crs/tests/regression/tests/a.yaml", TESTS);
    for (name, test) in [("one.yaml", 1), ("three.yaml", 3)] {
        let text = format!(
            "test_overrides: [{{ rule_id: 100001, test_ids: [{test}], reason: because }}]\n"
        );
        place.write(name, &text);
    }
    place
}

#[track_caller]
fn ends(place: &Place, flags: &[&str], code: i32, line: &str) -> Ended {
    let flags = [&["waf", "test"], flags].concat();
    let ended = place.run(&flags).expect(code);
    let last = ended.out.lines().last().unwrap_or_default();
    assert_eq!(last, line, "{}", ended.out);
    ended
}

#[test]
fn a_run_ends_with_its_numbers_and_shows_what_failed() {
    let place = place();
    let ended = ends(&place, &[], 1, "2 passed, 1 failed, 0 excused");
    for shown in [
        "100001-3  Expects too much",
        "expected rule 100001",
        "GET /?q=fine HTTP/1.1",
        "200; rules: none",
    ] {
        assert!(ended.out.contains(shown), "{shown}: {}", ended.out);
    }
    assert!(!ended.out.contains("q=good"));
    let only = ["--only", "100001-1", "--show"];
    let ended = ends(&place, &only, 0, "1 passed, 0 failed, 0 excused");
    assert!(ended.out.contains("200; rules: 100001"), "{}", ended.out);
    let json = place.run(&["waf", "test", "--json"]).expect(1).json();
    assert_eq!((&json["passed"], &json["failed"]), (&2.into(), &1.into()));
    assert_eq!(json["failures"][0]["test"], "100001-3");
    assert_eq!(json["failures"][0]["stages"][0]["status"], 200);
}

#[test]
fn excuses_are_taken_only_where_they_are_needed() {
    let place = place();
    let three = ["--excused", "three.yaml"];
    let ended = ends(&place, &three, 0, "2 passed, 0 failed, 1 excused");
    assert!(ended.out.contains("excused: because"), "{}", ended.out);
    let one = ["--only", "100001-1", "--excused", "one.yaml"];
    let ended = ends(&place, &one, 1, "1 passed, 0 failed, 0 excused");
    assert!(
        ended.out.contains("the excuse is not needed"),
        "{}",
        ended.out
    );
}

#[test]
fn both_ways_of_asking_and_refusing_are_compared() {
    let place = place();
    let ended = place.run(&["waf", "test", "--compare"]).expect(0);
    assert!(ended.out.starts_with("0 differences"), "{}", ended.out);
    let ended = place.run(&["waf", "test", "--table"]).expect(1);
    assert!(ended.out.contains("| 1 | 3 | 2 | 1 | 0 |"), "{}", ended.out);
    let json = place
        .run(&["waf", "test", "--blocking", "--json"])
        .expect(1)
        .json();
    assert_eq!((&json["attacks"], &json["refused"]), (&2.into(), &1.into()));
}

#[test]
fn what_is_not_there_is_said() {
    let place = place();
    let only = ["waf", "test", "--only", "1"];
    assert!(place.run(&only).expect(2).err.contains("no such test"));
    let missing = ["waf", "test", "--crs", "nowhere"];
    assert!(
        place
            .run(&missing)
            .expect(3)
            .err
            .contains("no Core Rule Set in `nowhere`")
    );
    place.write("crs/rules/b.conf", "SecRul x y\n");
    assert!(
        place
            .run(&["waf", "test"])
            .expect(3)
            .err
            .contains("b.conf:1: ")
    );
}

/// Hundreds of connections a second, and every rule: the same outcome as in process.
#[test]
fn the_core_rule_set_passes_on_the_wire() {
    let Some(crs) = shared("crs") else { return };
    let crs = crs.to_str().expect("text");
    let ended = Place::new()
        .run(&["waf", "test", "--crs", crs, "--wire"])
        .expect(0);
    let last = ended.out.lines().last().unwrap_or_default();
    assert!(last.contains(" passed, 0 failed, "), "{last}");
}
