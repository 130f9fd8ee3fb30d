//! Lines, comments, continuation and quotes.

use super::{super::*, link, mistakes, read};

/// The message of the only rule.
#[track_caller]
fn check(text: &str, expected: &str) {
    let found = link(text).actions;
    let message = Action::Message(Template::plain(expected.as_bytes()));
    assert!(found.contains(&message), "{found:?}");
}

#[test]
fn continued_lines() {
    check("SecAction \"id:1,msg:a\"", "a");
    check("\u{FEFF}SecAction \"id:1,msg:a\"\r\n\r\n", "a");
    check("SecAction \\\n    \"id:1,\\\n    msg:'a'\"\n", "a");
    check("SecAction \\\r\n    \"id:1,\\\r\n    msg:'a'\"\r\n", "a");
    check("SecAction \"id:1,msg:'a \\\nb'\"", "a b");
    check("SecAction 'id:1,msg:a'", "a");
    check("SecAction id:1,msg:a", "a");
    check(
        "\tSecAction\t\tid:1,msg:a # no comment\n".trim_end_matches(" # no comment\n"),
        "a",
    );
    check(
        "# a comment\n   # another \\\n#\n\nSecAction id:1,msg:a",
        "a",
    );
    check("# a comment \\\n\nSecAction id:1,msg:a", "a");
    check(r#"SecAction "id:1,msg:'say \"a\"'""#, r#"say "a""#);
    check(r#"SecAction "id:1,msg:'a\\b'""#, r"a\\b");
    check(r#"SecAction "id:1,msg:'#a'""#, "#a");
}

#[test]
fn nothing_is_said() {
    for text in ["", "\n", "\r\n", "#", "  \t ", "# a\n#b", "\u{FEFF}"] {
        assert_eq!(read(text), [], "{text:?}");
    }
}

#[test]
fn a_place_is_the_first_line() {
    let ruleset = Ruleset::parse(
        "a.conf",
        "#\nSecAction \\\n id:1\nSecMarker A",
        &mut NoFiles,
    );
    let ruleset = ruleset.unwrap();
    let lines: Vec<u32> = ruleset
        .directives()
        .iter()
        .map(|directive| directive.place.line)
        .collect();
    assert_eq!(lines, [2, 4]);
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    assert_eq!(mistakes(text.as_bytes()), [expected]);
}

#[test]
fn lines_that_are_refused() {
    refused(
        "SecAction \"id:1",
        "1: the `\"` that opens here does not close; `\\` at the end of a line continues it",
    );
    refused(
        "SecAction \\\n'id:1",
        "2: the `'` that opens here does not close; `\\` at the end of a line continues it",
    );
    refused(
        "SecAction \"id:1,\\ \nSecMarker A",
        "1: the `\"` that opens here does not close: white space follows the `\\` at the end of a line",
    );
    refused(
        "SecAction \"id:1\"x",
        "1: `x` follows the closing `\"`; write `\\\"` for a quote inside of quotes",
    );
    refused(
        "SecAction id:1 \\",
        "1: the last line ends in `\\`, but nothing follows",
    );
    refused(
        "SecAction \\\n# now\nid:1",
        "2: a comment inside of a directive that `\\` continues; put it before the directive",
    );
    refused(
        "# a \\\nSecAction \\\nid:1\nSecMarker A",
        "1: a comment that ends in `\\` is continued by some servers and not by others; \
         begin the next line with `#`, too, or end this one otherwise",
    );
}

#[test]
fn bytes_that_are_no_text() {
    const WRONG: &str = "this is not UTF-8; write other bytes as `\\xhh` of a regular expression";
    let found = mistakes(b"SecAction id:1\nSecRule ARGS \\\n  \"\xFF\" \\\n  id:2\nSecMarkr A");
    assert_eq!(
        found,
        [
            format!("3: {WRONG}"),
            "5: unknown directive `SecMarkr`; did you mean `SecMarker`?".to_owned(),
        ]
    );
    // In a comment nobody reads them.
    assert!(Ruleset::parse("a.conf", b"# \xFF\n", &mut NoFiles).is_ok());
}
