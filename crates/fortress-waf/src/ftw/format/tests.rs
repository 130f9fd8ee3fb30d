//! Test files mean what go-ftw takes them for, and mistakes in them have a place.

use super::*;

fn parse(text: &str) -> Result<TestFile, String> {
    let mut sources = Sources::default();
    let id = sources.add("tests/942100.yaml", text);
    TestFile::read(id, &sources).map_err(|diagnostics| {
        let told = diagnostics.iter().map(|diagnostic| {
            let line = diagnostic.span.and_then(|span| sources.position(span));
            let line = line.map_or(0, |position| position.line);
            let help = diagnostic.help.as_deref().unwrap_or_default();
            format!("{line}: {} {help}", diagnostic.message)
        });
        told.collect::<Vec<_>>().join("\n")
    })
}

/// A file whose one stage has this input and output.
fn stage_of(input: &str, output: &str) -> String {
    format!(
        "rule_id: 1\ntests:\n  - stages:\n      - input: {{{input}}}\n        output: {{{output}}}\n"
    )
}

#[track_caller]
fn only(input: &str, output: &str) -> Stage {
    let mut file = parse(&stage_of(input, output)).unwrap();
    file.tests.remove(0).stages.remove(0)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let told = parse(text).map(|_| "accepted").unwrap_err();
    assert!(told.contains(expected), "{told}");
}

#[test]
fn what_is_not_given_is_what_go_ftw_takes() {
    let stage = only("", "");
    let input = stage.input;
    assert_eq!(
        (input.address.as_str(), input.port, input.method.as_str()),
        ("localhost", 80, "GET")
    );
    assert_eq!(
        (input.uri.as_str(), input.version.as_str()),
        ("/", "HTTP/1.1")
    );
    assert!(input.autocomplete && input.encoded.is_none() && input.headers.is_empty());
    let output = stage.output;
    assert!(output.status.is_empty() && output.expect_ids.is_empty() && !output.expect_error);
}

#[test]
fn a_whole_file_is_read() {
    let text = "---\nmeta:\n  author: x\nrule_id: 942101\ntests:\n  - desc: first\n    stages:\n      - input: {uri: /a}\n        output: {status: 200}\n  - test_id: 7\n    stages:\n      - input: {}\n        output: {log: {expect_ids: [1, 2]}}\n";
    let file = parse(text).unwrap();
    assert_eq!(file.rule, 942_101);
    let names: Vec<_> = file.tests.iter().map(Test::name).collect();
    assert_eq!(names, ["942101-1", "942101-7"]);
    assert_eq!(file.tests[1].stages[0].output.expect_ids, [1, 2]);
    assert_eq!(file.tests[0].description, "first");
}

#[test]
fn the_rule_is_taken_from_the_files_name_if_need_be() {
    let file = parse("tests:\n  - stages: [{input: {}, output: {}}]\n").unwrap();
    assert_eq!(file.tests[0].name(), "942100-1");
    assert!(parse("# nothing but a comment\n").unwrap().tests.is_empty());
}

#[test]
fn header_fields_have_an_order() {
    let stage = only("headers: {b: 1, A: x, C: null}", "");
    let expected = [("A", "x"), ("C", ""), ("b", "1")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(stage.input.headers, expected);
    let stage = only(
        "ordered_headers: [{name: b, value: 1}, {name: b, value: 0}]",
        "",
    );
    let expected = [("b", "1"), ("b", "0")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(stage.input.headers, expected);
}

#[test]
fn bodies_are_text_templates_or_base64() {
    #[track_caller]
    fn check(input: &str, expected: &str) {
        let data = only(input, "").input.data;
        assert_eq!(String::from_utf8(data).unwrap(), expected);
    }
    check("data: a=b", "a=b");
    check(r#"data: 'x{{ "ab" | repeat 3 }}y'"#, "xabababy");
    check(r#"data: '{{"-"|repeat 2}}{{ "" | repeat 9 }}'"#, "--");
    check("data: 'no } template {'", "no } template {");
    check("encoded_data: SGk=", "Hi");
    assert_eq!(
        only("encoded_request: R0VUIC8=", "").input.encoded.unwrap(),
        b"GET /"
    );
    for wrong in [
        "data: '{{ env \"HOME\" }}'",
        "data: '{{ \"a\" | repeat 99999999999 }}'",
        "data: '{{ \"a\" | repeat 3'",
    ] {
        refused(&stage_of(wrong, ""), "4: this template is not supported");
    }
    refused(
        &stage_of("encoded_data: '!'", ""),
        "`encoded_data` is not base64",
    );
    refused(
        &stage_of("encoded_request: SGk=, data: x", ""),
        "the whole request",
    );
}

#[test]
fn autocompletion_has_an_older_name() {
    assert!(!only("autocomplete_headers: false", "").input.autocomplete);
    assert!(!only("stop_magic: true", "").input.autocomplete);
    assert!(
        only("stop_magic: true, autocomplete_headers: true", "")
            .input
            .autocomplete
    );
    refused(
        &stage_of("autocomplete_headers: 1", ""),
        "must be `true` or `false`",
    );
}

#[test]
fn expectations_are_read() {
    let output = only(
        "",
        r#"status: [400, 403], expect_error: true, isolated: true, retry_once: true, response_contains: x,
           log: {expect_ids: [5], no_expect_ids: [6], match_regex: 'id "\d+"', no_match_regex: y}"#,
    )
    .output;
    assert_eq!(output.status, [400, 403]);
    assert_eq!(
        (output.expect_ids, output.no_expect_ids),
        (vec![5], vec![6])
    );
    assert!(output.expect_error && output.isolated && output.retry_once);
    assert_eq!((output.matches.len(), output.no_matches.len()), (1, 1));
    assert_eq!(output.response_contains.as_deref(), Some("x"));
    assert_eq!(
        only("", "log_contains: a, no_log_contains: b")
            .output
            .matches
            .len(),
        1
    );
    refused(&stage_of("", "isolated: true"), "exactly one id");
    refused(
        &stage_of("", "log: {match_regex: '('}"),
        "not a regular expression",
    );
    refused(
        &stage_of("", "status: ok"),
        "`status` must be a whole number, not a string",
    );
}

#[test]
fn unknown_keys_are_mistakes_with_a_place() {
    refused(
        &stage_of("verison: x", ""),
        "4: unknown key `verison` in `input` did you mean `version`?",
    );
    refused(
        &stage_of("", "log: {expected_ids: [1]}"),
        "5: unknown key `expected_ids` in `log` did you mean `expect_ids`?",
    );
    refused("rule: 1\n", "1: unknown key `rule` in the file");
    refused(
        &stage_of("save_cookie: true", ""),
        "`save_cookie` is not supported",
    );
    refused(&stage_of("uris: [/]", ""), "`uris` is not supported");
    refused("rule_id: 1\ntests:\n  - test_id: 1\n", "at least one stage");
    refused("rule_id: 1\ntests: 5\n", "`tests` must be a list");
    assert!(parse(&stage_of("save_cookie: false", "")).is_ok());
}
