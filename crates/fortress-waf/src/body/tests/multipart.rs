//! Each flag and fault of multipart bodies, with what is no fault beside it.

use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/form-data; boundary=b";

/// A body of which `|` are the line ends.
fn body(text: &str) -> Vec<u8> {
    text.replace('|', "\r\n").into_bytes()
}

fn read(content_type: &str, text: &str) -> (Vec<String>, Flags, Option<&'static str>) {
    let (store, out) = collect(
        BodyProcessor::Multipart,
        content_type,
        &body(text),
        &Limits::default(),
    );
    let show = |text| store.get(text).escape_ascii().to_string();
    let mut told: Vec<String> = Vec::new();
    told.extend(
        out.arguments
            .iter()
            .map(|a| format!("{}={}", show(a.name), show(a.value))),
    );
    told.extend(
        out.files
            .iter()
            .map(|f| format!("{}:{}={}", show(f.name), show(f.filename), show(f.content))),
    );
    (told, out.flags, out.fault.map(|fault| fault.what))
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let told = read(TYPE, text);
    assert_eq!(
        told,
        (
            expected.iter().map(|s| (*s).to_owned()).collect(),
            Flags::default(),
            None
        ),
        "{text}"
    );
}

/// The flags that are raised, and only those; a fault goes with its flags.
#[track_caller]
fn flagged(
    content_type: &str,
    text: &str,
    expected: &[&str],
    fault: Option<&str>,
    set: impl Fn(&mut Flags),
) {
    let (told, flags, what) = read(content_type, text);
    let mut wanted = Flags::default();
    set(&mut wanted);
    wanted.reqbody_processor_error = fault.is_some();
    wanted.strict_error = Flags {
        unmatched_boundary: 0,
        ..wanted
    } != Flags::default();
    assert_eq!(
        (told, flags, what),
        (
            expected.iter().map(|s| (*s).to_owned()).collect(),
            wanted,
            fault
        ),
        "{text}"
    );
}

const FIELD: &str = "--b|Content-Disposition: form-data; name=\"a\"||x|--b--|";

#[test]
fn fields_and_files() {
    check(FIELD, &["a=x"]);
    check(
        "--b|Content-Disposition: form-data; name=\"a\"||x|--b--",
        &["a=x"],
    );
    check(
        "--b|content-disposition: FORM-DATA; Name=a||x|--b--|",
        &["a=x"],
    );
    check(
        "--b|Content-Disposition:form-data;name=\"a\"||x|--b|Content-Disposition: form-data; name=\"c\"||y||z|--b--|",
        &["a=x", "c=y\\r\\n\\r\\nz"],
    );
    check(
        "--b|Content-Disposition: form-data; name=\"a\"|||--b--|",
        &["a="],
    );
    check(
        "--b|Content-Disposition: form-data; name=\"a\"||--b--|",
        &["a="],
    );
    check(
        "--b|Content-Disposition: form-data; name=\"\"||x|--b--|",
        &["=x"],
    );
    check(
        "--b|Content-Type: text/plain|Content-Disposition: form-data; name=\"f\"; filename=\"x.txt\"||data|--b--|",
        &["f:x.txt=data"],
    );
    check(
        "--b|Content-Disposition: form-data; name=\"f\"; filename=\"\"|||--b--|",
        &["f:="],
    );
    check(
        "--b|Content-Disposition: form-data; filename=x.txt; name=f||--x--b|--b--|"
            .replace("||--x", "||x")
            .as_str(),
        &["f:x.txt=x--b"],
    );
    check(
        "--b|Content-Disposition: form-data; name=\"f\"; size=3; filename=\"x\"||d|--b--|",
        &["f:x=d"],
    );
}

#[test]
fn names_in_quotes() {
    check(
        r#"--b|Content-Disposition: form-data; name="a\"b\\c\d;e=f"||x|--b--|"#,
        &[r#"a\"b\\c\\d;e=f=x"#],
    );
    check(
        r#"--b|Content-Disposition: form-data; name="it's"||x|--b--|"#,
        &[r"it\'s=x"],
    );
    check(
        r#"--b|Content-Disposition: form-data; name="f"; filename="C:\a\b.txt"||x|--b--|"#,
        &[r"f:C:\\a\\b.txt=x"],
    );
    check(
        "--b|Content-Disposition: form-data; name=f; filename*=UTF-8''%e2%82%ac.txt||x|--b--|",
        &[r"f:\xe2\x82\xac.txt=x"],
    );
    check(
        "--b|Content-Disposition: form-data; name=f; filename=x; filename*=utf-8'en'x||d|--b--|",
        &["f:x=d"],
    );
    check(
        "--b|Content-Disposition: form-data; name=f; filename=x; filename*=utf-8''y||d|--b--|",
        &["f:x=d", "f:y="],
    );
}

#[test]
fn part_headers() {
    let text = "--b|Content-Disposition: form-data; name=\"_charset_\"|Content-Type: text/plain; charset=utf-7||x|--b--|";
    let read = read_body(
        BodyProcessor::Multipart,
        TYPE.as_bytes(),
        Bytes::from(body(text)),
    );
    assert_eq!(
        shown(&read.part_headers),
        [
            "_charset_=Content-Disposition: form-data; name=\\\"_charset_\\\"",
            "_charset_=Content-Type: text/plain; charset=utf-7",
        ]
    );
    assert_eq!((read.error, read.written), (None, 0));
}

#[test]
fn the_boundary_parameter() {
    for content_type in [
        "multipart/form-data;boundary=b",
        "Multipart/Form-Data;  BOUNDARY=b",
        "multipart/form-data; charset=utf-8; boundary=b",
        "multipart/form-data; boundary=b; charset=utf-8",
    ] {
        let (told, flags, fault) = read(content_type, FIELD);
        assert_eq!(
            (told, flags, fault),
            (vec!["a=x".to_owned()], Flags::default(), None),
            "{content_type}"
        );
    }
    flagged(
        "multipart/form-data; boundary=\"b\"",
        FIELD,
        &["a=x"],
        None,
        |f| f.boundary_quoted = true,
    );
    flagged(
        "multipart/form-data; boundary= b",
        FIELD,
        &["a=x"],
        None,
        |f| f.boundary_whitespace = true,
    );
    flagged(
        "multipart/form-data; boundary =b",
        FIELD,
        &["a=x"],
        None,
        |f| f.boundary_whitespace = true,
    );
    flagged(
        "multipart/form-data boundary=b",
        FIELD,
        &["a=x"],
        None,
        |f| f.missing_semicolon = true,
    );
}

#[test]
fn what_is_no_boundary_parameter() {
    let none = |_: &mut Flags| {};
    let refused = |content_type: &str, fault: &str, set: &dyn Fn(&mut Flags)| {
        flagged(content_type, FIELD, &[], Some(fault), |f| {
            f.unmatched_boundary = 1;
            set(f);
        });
    };
    refused(
        "multipart/form-data; boundary=b;",
        "malformed parameter",
        &none,
    );
    refused("multipart/form-data", "no boundary", &none);
    refused("multipart/form-data; charset=utf-8", "no boundary", &none);
    refused("multipart/form-data; boundary", "expected `=`", &none);
    refused(
        "multipart/form-data; boundary=",
        "a boundary must have 1 to 70 characters",
        &none,
    );
    refused(
        &format!("multipart/form-data; boundary={}", "b".repeat(71)),
        "a boundary must have 1 to 70 characters",
        &none,
    );
    refused(
        "multipart/form-data; boundary=b; boundary=c",
        "more than one boundary",
        &none,
    );
    refused(
        "multipart/form-data; boundary*0=b",
        "malformed parameter",
        &none,
    );
    refused(
        "multipart/form-data; boundary=b#",
        "a character that boundaries cannot have",
        &none,
    );
    refused(
        "multipart/form-data; boundary=b\0",
        "a character that boundaries cannot have",
        &none,
    );
    refused(
        "multipart/form-data; boundary=\"b",
        "a quote without its end",
        &|f| {
            f.invalid_quoting = true;
            f.boundary_quoted = true;
        },
    );
    refused(
        "multipart/form-data; boundary=b\"",
        "a quote within a value",
        &|f| f.invalid_quoting = true,
    );
    refused(
        "multipart/form-data; boundary=\"b \"",
        "a character that boundaries cannot have",
        &|f| {
            f.boundary_quoted = true;
            f.boundary_whitespace = true;
        },
    );
}

#[test]
fn before_and_after() {
    flagged(TYPE, &format!("x|{FIELD}"), &["a=x"], None, |f| {
        f.data_before = true
    });
    flagged(TYPE, &format!("|{FIELD}"), &["a=x"], None, |f| {
        f.data_before = true
    });
    flagged(TYPE, &format!("{FIELD}x"), &["a=x"], None, |f| {
        f.data_after = true
    });
    flagged(TYPE, &format!("{FIELD}|"), &["a=x"], None, |f| {
        f.data_after = true
    });
    flagged(
        TYPE,
        &format!("{FIELD}{FIELD}"),
        &["a=x", "a=x"],
        Some("a boundary after the final one"),
        |f| f.data_after = true,
    );
}

#[test]
fn boundaries() {
    let disposition = "Content-Disposition: form-data; name=\"a\"";
    flagged(
        TYPE,
        &format!("--b|{disposition}||x"),
        &["a=x"],
        Some("no final boundary"),
        |f| f.unmatched_boundary = 1,
    );
    flagged(TYPE, "x", &[], Some("no boundary"), |f| {
        f.unmatched_boundary = 1;
        f.data_before = true;
    });
    flagged(
        TYPE,
        &format!("--c|{disposition}||x|--c--|"),
        &[],
        Some("no boundary"),
        |f| {
            f.unmatched_boundary = 1;
            f.data_before = true;
        },
    );
    // A PEM file, say.
    flagged(
        TYPE,
        &format!("--b|{disposition}||x|-----BEGIN|--b--|"),
        &["a=x\\r\\n-----BEGIN"],
        None,
        |f| f.unmatched_boundary = 2,
    );
    check(&format!("--b|{disposition}||x|-y|--b--|"), &["a=x\\r\\n-y"]);
    check(&format!("--b|{disposition}||x --b|--b--|"), &["a=x --b"]);
    flagged(
        TYPE,
        &format!("--b|{disposition}||x\r--b|--b--|"),
        &["a=x\\r--b"],
        None,
        |f| f.unmatched_boundary = 1,
    );
    let goes_on = Some("a boundary that goes on in its line");
    flagged(
        TYPE,
        &format!("--b|{disposition}||x|--bc|--b--|"),
        &["a=x\\r\\n--bc"],
        goes_on,
        |_| {},
    );
    flagged(
        TYPE,
        &format!("--b|{disposition}||x|--b |--b--|"),
        &["a=x\\r\\n--b "],
        goes_on,
        |_| {},
    );
    flagged(
        TYPE,
        &format!("--b|{disposition}||x|--b--y|--b--|"),
        &["a=x\\r\\n--b--y"],
        goes_on,
        |_| {},
    );
    flagged(
        TYPE,
        &format!("--b|{disposition}||x|--b\r\r\n--b--|"),
        &["a=x\\r\\n--b\\r"],
        goes_on,
        |_| {},
    );
}

#[test]
fn line_ends() {
    flagged(
        TYPE,
        "--b\nContent-Disposition: form-data; name=\"a\"\n\nx\n--b--\n",
        &["a=x"],
        None,
        |f| f.lf_line = true,
    );
    flagged(
        TYPE,
        "--b\r\nContent-Disposition: form-data; name=\"a\"\n\r\nx\r\n--b--",
        &["a=x"],
        None,
        |f| {
            f.lf_line = true;
            f.crlf_lf_lines = true;
        },
    );
    flagged(
        TYPE,
        "--b|Content-Disposition: form-data; name=\"a\"||x\n--b--|",
        &["a=x"],
        None,
        |f| {
            f.lf_line = true;
            f.crlf_lf_lines = true;
        },
    );
    check(
        "--b|Content-Disposition: form-data; name=\"a\"||x\ny|--b--|",
        &["a=x\\ny"],
    );
}

#[test]
fn folding() {
    flagged(
        TYPE,
        "--b|Content-Disposition: form-data;| name=\"a\";|\tfilename=f||x|--b--|",
        &["a:f=x"],
        None,
        |f| f.header_folding = true,
    );
    flagged(
        TYPE,
        "--b|Content-Disposition: form-data;|\x0Bname=\"a\"||x|--b--|",
        &["=x"],
        Some("a part's header with an invalid character"),
        |f| {
            f.header_folding = true;
            f.invalid_part = true;
            f.invalid_header_folding = true;
        },
    );
    flagged(
        TYPE,
        "--b| X: y|Content-Disposition: form-data; name=\"a\"||x|--b--|",
        &["a=x"],
        Some("a header line continues none"),
        |f| {
            f.header_folding = true;
            f.invalid_header_folding = true;
        },
    );
}

#[test]
fn quoting() {
    let with =
        |parameters: &str| format!("--b|Content-Disposition: form-data; {parameters}||x|--b--|");
    flagged(TYPE, &with("name='a'"), &["\\'a\\'=x"], None, |f| {
        f.invalid_quoting = true
    });
    flagged(TYPE, &with("name=\"a"), &["a=x"], None, |f| {
        f.invalid_quoting = true
    });
    flagged(TYPE, &with("name=\"a\\\""), &["a\\\\\\\"=x"], None, |f| {
        f.invalid_quoting = true
    });
    flagged(TYPE, &with("name=\"a\"b\""), &["a\\\"b\\\"=x"], None, |f| {
        f.invalid_quoting = true
    });
    flagged(TYPE, &with("name=a\"b"), &["a\\\"b=x"], None, |f| {
        f.invalid_quoting = true
    });
    flagged(
        TYPE,
        &with("name=\"a\"; filename=\"x\"; y.php\""),
        &["a:x=x"],
        Some("expected `=` after a parameter's name"),
        |_| {},
    );
    flagged(
        TYPE,
        "--b|Content-Disposition: form-data name=\"a\"||x|--b--|",
        &["a=x"],
        None,
        |f| f.missing_semicolon = true,
    );
}

#[test]
fn invalid_parts() {
    let unnamed = |header: &str| format!("--b|{header}||x|--b--|");
    flagged(
        TYPE,
        &unnamed("Content-Disposition: form-data"),
        &["=x"],
        Some("a part without a name"),
        |f| f.invalid_part = true,
    );
    flagged(
        TYPE,
        &unnamed("Content-Type: text/plain"),
        &["=x"],
        Some("a part without a name"),
        |f| f.invalid_part = true,
    );
    flagged(
        TYPE,
        "--b||x|--b--|",
        &["=x"],
        Some("a part without a name"),
        |f| f.invalid_part = true,
    );
    flagged(
        TYPE,
        "--b|--b--|",
        &["="],
        Some("the headers of a part do not end"),
        |f| f.invalid_part = true,
    );
    flagged(
        TYPE,
        "--b|Content-Disposition: form-data; name=a|--b--|",
        &["a="],
        Some("the headers of a part do not end"),
        |f| f.invalid_part = true,
    );
    flagged(
        TYPE,
        &unnamed("Content-Disposition: form-data; name=a|nonsense"),
        &["a=x"],
        Some("a part's header without a colon"),
        |f| f.invalid_part = true,
    );
    let many = format!(
        "--b|{}Content-Disposition: form-data; name=a||x|--b--|",
        "A: b|".repeat(40)
    );
    let (_, flags, _) = read(TYPE, &many);
    assert!(flags.invalid_part && flags.reqbody_processor_error);
}

#[track_caller]
fn refused(headers: &str, expected: &[&str], fault: &str) {
    let text = format!("--b|{headers}||x|--b--|");
    flagged(TYPE, &text, expected, Some(fault), |_| {});
}

#[test]
fn faults_of_headers() {
    let disposition = "Content-Disposition: form-data; name=a";
    let invalid = "a part's header with an invalid character";
    refused(
        &format!("\x0E{disposition}; filename=f|{disposition}"),
        &["a=x"],
        invalid,
    );
    refused(&format!("X\x7F: y|{disposition}"), &["a=x"], invalid);
    refused(
        &format!("Content- Type: y|{disposition}"),
        &["a=x"],
        invalid,
    );
    refused(&format!("X: y\0|{disposition}"), &["a=x"], invalid);
    refused(&format!("X: y\rz|{disposition}"), &["a=x"], invalid);
    refused(&format!(": y|{disposition}"), &["a=x"], invalid);
    refused(
        &format!("{disposition}|Content-Disposition: form-data; name=c; filename=d"),
        &["a=x"],
        "a part's header more than once",
    );
    refused(
        &format!("X: y|x: z|{disposition}"),
        &["a=x"],
        "a part's header more than once",
    );
}

#[test]
fn faults_of_dispositions() {
    refused(
        "Content-Disposition: attachment; name=a",
        &["a=x"],
        "a disposition other than `form-data`",
    );
    refused(
        "Content-Disposition: form-data; name=a; name=c",
        &["a=x"],
        "`name` more than once",
    );
    refused(
        "Content-Disposition: form-data; name=a; filename=f; filename=g",
        &["a:f=x"],
        "`filename` more than once",
    );
    refused(
        "Content-Disposition: form-data; name=a; filename*=UTF-8''f; filename*=UTF-8''g",
        &["a:f=x"],
        "`filename*` more than once",
    );
    refused(
        "Content-Disposition: form-data; name=a; filename*=UTF-7''f",
        &["a=x"],
        "malformed `filename*`",
    );
    refused(
        "Content-Disposition: form-data; name=a; filename*=f",
        &["a=x"],
        "malformed `filename*`",
    );
    refused(
        "Content-Disposition: form-data; name=a; filename*0=f",
        &["a=x"],
        "malformed parameter",
    );
    refused(
        "Content-Disposition: form-data; name =a; name=c",
        &["c=x"],
        "expected `=` after a parameter's name",
    );
    check(
        "--b|Content-Disposition: form-data; name=a; ||x|--b--|",
        &["a=x"],
    );
    flagged(
        TYPE,
        "--b|Content-Disposition: form-data; name=a; filename*=UTF-8''%zz||x|--b--|",
        &["a:%zz=x"],
        None,
        |f| f.invalid_quoting = true,
    );
}

#[test]
fn limits() {
    let part = "--b|Content-Disposition: form-data; name=a||x|";
    let limits = Limits {
        parts: 2,
        ..Limits::default()
    };
    let two = body(&format!("{part}{part}--b--|"));
    let (_, out) = collect(BodyProcessor::Multipart, TYPE, &two, &limits);
    assert_eq!((out.fault, out.flags.file_limit_exceeded), (None, false));
    let three = body(&format!("{part}{part}{part}--b--|"));
    let (_, out) = collect(BodyProcessor::Multipart, TYPE, &three, &limits);
    assert_eq!(
        out.fault.map(|fault| fault.what),
        Some("more parts than the limit")
    );
    assert!(out.flags.file_limit_exceeded && out.flags.strict_error);
    let limits = Limits {
        arguments: 2,
        ..Limits::default()
    };
    let (_, out) = collect(BodyProcessor::Multipart, TYPE, &three, &limits);
    assert_eq!(
        out.fault.map(|fault| fault.what),
        Some("more arguments than the limit")
    );
    assert_eq!(out.arguments.len(), 2);
}

#[test]
fn folded_headers_are_copied_once() {
    let text = format!(
        "--b|X: {}{}|Content-Disposition: form-data; name=a||x|--b--|",
        "y".repeat(100_000),
        "| z".repeat(20)
    );
    let read = read_body(
        BodyProcessor::Multipart,
        TYPE.as_bytes(),
        Bytes::from(body(&text)),
    );
    assert_eq!(read.error, None);
    assert!(read.written < 101_000, "{}", read.written);
}

proptest! {
    #[test]
    fn parts_are_read_as_written(parts in prop::collection::vec(("[a-z]{1,5}", "[a-z\r\n \\-]{0,20}", prop::option::of("[a-z.]{1,6}")), 1..6)) {
        let mut text = String::new();
        let (mut fields, mut files) = (Vec::new(), Vec::new());
        for (name, value, filename) in &parts {
            let file = filename.as_ref().map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
            text.push_str(&format!("--bound\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n"));
            match filename {
                Some(filename) => files.push((name.clone().into_bytes(), filename.clone().into_bytes(), value.clone().into_bytes())),
                None => fields.push((name.clone().into_bytes(), value.clone().into_bytes())),
            }
        }
        text.push_str("--bound--\r\n");
        let read = read_body(BodyProcessor::Multipart, b"multipart/form-data; boundary=bound", Bytes::from(text));
        prop_assert_eq!((read.arguments, read.files, read.error, read.written), (fields, files, None, 0));
    }

    #[test]
    fn any_pieces_are_survived(pieces in "(--b|--b--|\r\n|\n|\r|: |;|\"|\\\\|Content-Disposition: form-data|name=|filename=|filename\\*=UTF-8''|a| |%41){0,40}") {
        let read = read_body(BodyProcessor::Multipart, TYPE.as_bytes(), Bytes::from(pieces.clone()));
        for (_, value) in &read.arguments {
            prop_assert!(value.is_empty() || memchr::memmem::find(pieces.as_bytes(), value).is_some());
        }
    }

    #[test]
    fn any_bytes_are_survived(content_type: Vec<u8>, body: Vec<u8>) {
        drop(read_body(BodyProcessor::Multipart, &content_type, Bytes::from(body)));
    }
}
