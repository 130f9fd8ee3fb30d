//! Several files: includes, relative names, bounds, and what only the whole shows.

use super::{super::*, Memory};

/// The markers that are read, or the mistakes.
#[track_caller]
fn check(files: &[(&'static str, &'static [u8])], expected: &[&str]) {
    let mut memory = Memory::of(files);
    let (name, text) = files[0];
    let found = match Ruleset::parse(name, text, &mut memory) {
        Ok(ruleset) => ruleset
            .directives()
            .iter()
            .map(|directive| format!("{:?}", directive.kind))
            .collect(),
        Err(mistakes) => mistakes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    };
    assert_eq!(found, expected);
}

#[test]
fn includes() {
    const A: &str = r#"Marker("A")"#;
    const B: &str = r#"Marker("B")"#;
    check(
        &[("main", b"Include a\nSecMarker B"), ("a", b"SecMarker A")],
        &[A, B],
    );
    check(
        &[
            ("d/main", b"Include \"e/*.conf\""),
            ("d/e/1.conf", b"Include 2.inc"),
            ("d/e/2.inc", b"SecMarker A"),
            ("d/e/3.conf", b"SecMarker B"),
            ("d/f.conf", b"SecMarker C"),
        ],
        &[A, B],
    );
    check(
        &[(
            "main",
            b"IncludeOptional x\nIncludeOptional y*\nSecMarker A",
        )],
        &[A],
    );
    check(
        &[("main", b"Include x")],
        &["main:1: `Include`: cannot read `x`: no such file"],
    );
    check(
        &[("main", b"Include x*")],
        &["main:1: `Include`: no file matches `x*`"],
    );
    check(
        &[("main", b"Include")],
        &["main:1: `Include`: 1 argument is expected, not 0"],
    );
    check(
        &[("main", b"Include main")],
        &["main:1: `Include`: `main` includes itself"],
    );
    check(
        &[("main", b"Include a"), ("a", b"\nInclude main")],
        &["a:2: `Include`: `main` includes itself"],
    );
    check(
        &[
            ("d/main", b"Include a"),
            ("d/a", b"SecRule ARGS \"@pmFromFile b\" id:1"),
        ],
        &["d/a:1: cannot read `b`: no such file"],
    );
}

#[test]
fn chains_end_with_their_file() {
    check(
        &[
            ("main", b"Include a\nSecRule ARGS b"),
            ("a", b"SecRule ARGS a id:1,chain"),
        ],
        &[
            "a:1: `chain` needs another rule to follow",
            "main:2: the rule has no id",
        ],
    );
    check(
        &[
            ("main", b"SecRule ARGS a id:1,chain\nInclude a"),
            ("a", b""),
        ],
        &["main:1: `chain` needs another rule to follow"],
    );
}

/// Each file names itself anew, so only the bounds end it.
struct Endless;

impl Files for Endless {
    fn read(&mut self, name: &str, _: &str) -> Result<Vec<u8>, String> {
        Ok(format!("Include {name}a\nInclude {name}b\n").into_bytes())
    }

    fn list(&mut self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Ok(vec![])
    }
}

#[test]
fn includes_are_bounded() {
    let mistakes = Ruleset::parse("main", "Include a", &mut Endless).unwrap_err();
    assert_eq!(mistakes.len(), 1_000);
    assert!(
        mistakes[0]
            .message
            .ends_with("files include each other more than 16 deep")
    );
}

#[test]
fn several_files_are_one() {
    let mut builder = RulesetBuilder::default();
    builder.add_file(
        "a.conf",
        "SecAction id:1,skipAfter:END\nSecAction id:2",
        &mut NoFiles,
    );
    builder.add_file(
        "b.conf",
        "SecMarker END\n\nSecAction id:2\nSecAction",
        &mut NoFiles,
    );
    builder.add_file(
        "c.conf",
        "SecAction id:3,skipAfter:END\nSecAction id:4,skipAfter:EMD",
        &mut NoFiles,
    );
    let mistakes = builder.build().unwrap_err();
    let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "b.conf:3: the id 2 belongs to the rule at a.conf:2",
            "b.conf:4: `SecAction`: 1 argument is expected, not 0",
            "c.conf:1: `skipAfter`: the marker `END` stands before this rule",
            "c.conf:2: unknown marker `EMD`; did you mean `END`?",
        ]
    );
}

#[test]
fn no_files() {
    let mistakes = Ruleset::parse("a", "SecRule ARGS '@pmFromFile b' id:1", &mut NoFiles);
    assert_eq!(
        mistakes.unwrap_err()[0].message,
        "cannot read `b`: rules that stand here can name no files"
    );
}
